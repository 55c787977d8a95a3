//! Sites saved into a container and loaded again: every form of every format, and files that lie.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the answer")]

use half::{bf16, f16};
use ndarray::Array2;
use scant_tensor_core::file::{Bytes, Dtype, File, Writer};
use scant_tensor_core::format::{
    Codebook, CodebookSpec, Csr, Dense, DenseType, Grid, GridSpec, Palette, RowOffset, RowStat, SiteDescriptor,
};
use scant_tensor_core::rng::Rng;
use scant_tensor_core::{Error, Hadamard, Linear, Post, Pre, Site, Step, Term};

const SHAPE: [usize; 2] = [19, 96];
const GROUPS: usize = 3;

fn random(rng: &mut Rng, shape: (usize, usize)) -> Array2<f32> {
    Array2::from_shape_simple_fn(shape, || rng.normal())
}

fn codes(rng: &mut Rng, bits: u32, shape: (usize, usize)) -> Array2<u8> {
    Array2::from_shape_simple_fn(shape, || (rng.next_u64() & ((1 << bits) - 1)) as u8)
}

/// One of each.
fn stats(rng: &mut Rng) -> Vec<RowStat> {
    let dim = (SHAPE[0], GROUPS);
    let mut all = vec![
        RowStat::F32(random(rng, dim)),
        RowStat::F16(random(rng, dim).mapv(f16::from_f32)),
        RowStat::Bf16(random(rng, dim).mapv(bf16::from_f32)),
    ];
    all.extend([1, 3, 8].map(|bits| RowStat::Codes { bits, codes: codes(rng, bits, dim) }));
    for (per, based) in [(1, true), (2, false), (2, true), (8, false)] {
        let supers = (SHAPE[0], GROUPS.div_ceil(per));
        let step = random(rng, supers).mapv(f16::from_f32);
        let base = based.then(|| random(rng, supers).mapv(f16::from_f32));
        all.push(RowStat::Levels { bits: 6, centre: 32, codes: codes(rng, 6, dim), per, step, base });
    }
    let tiles = (SHAPE[0].div_ceil(16), GROUPS);
    let [step, base] = [(); 2].map(|()| random(rng, tiles).mapv(f16::from_f32));
    all.push(RowStat::Tiles { bits: 3, codes: codes(rng, 3, dim), step, base });
    all.swap(1, 8); // so that the first grids have two levels
    all
}

fn terms() -> Vec<Term> {
    let rng = &mut Rng::new(1);
    let dim = (SHAPE[0], SHAPE[1]);
    let mut terms = vec![];
    for kind in [DenseType::F32, DenseType::F16, DenseType::Bf16] {
        terms.push(Dense::new(random(rng, dim).view(), kind).unwrap().into());
    }
    for (i, scale) in stats(rng).into_iter().enumerate() {
        let offsets = stats(rng).into_iter().flat_map(|s| [RowOffset::Zero(s.clone()), RowOffset::Min(s)]);
        for offset in offsets.chain([RowOffset::Symmetric]) {
            let bits = 1 + i as u32 % 8;
            let spec = GridSpec::new(SHAPE, bits, 32).unwrap();
            terms.push(Grid::pack(spec, codes(rng, bits, dim).view(), &scale, &offset).unwrap().into());
        }
    }
    // Among the first, which the site of these tests takes.
    for scale in stats(rng) {
        let palette = Palette::pack(std::array::from_fn(|i| i as i8 * 7 - 60), codes(rng, 4, dim).view(), 32, &scale).unwrap();
        terms.insert(4, palette.into());
    }
    let sparse = random(rng, dim).mapv(|w| if w > 1.0 { w } else { 0.0 });
    terms.insert(6, Csr::from_dense(sparse.view()).unwrap().into());
    for (bits, group_size) in [(8, 8), (5, 4), (9, 16)] {
        let spec = CodebookSpec::new(SHAPE, 2, bits, group_size).unwrap();
        let codes: Vec<u16> = (0..spec.m * spec.groups() * 2).map(|_| rng.below(1 << bits) as u16).collect();
        let halves = |len: usize, rng: &mut Rng| (0..len).map(|_| f16::from_f32(rng.normal())).collect::<Vec<_>>();
        let words = halves(2 * spec.words() * group_size, rng);
        terms.insert(8, Codebook::pack(spec, &codes, words, halves(spec.m, rng)).unwrap().into());
    }
    terms
}

fn pre() -> Pre {
    let n = SHAPE[1];
    let scale = Step::Scale((1..=n).map(|j| j as f32 - 0.5).collect());
    let order = Step::Permute((0..n as u32).rev().collect());
    Pre::new(vec![scale, order, Step::Hadamard(Hadamard::random(n, 7))]).unwrap()
}

/// Three matrices: with each kind of Post, with and without bias, and of several terms.
fn site() -> Site {
    let mut all = terms().into_iter();
    let m = SHAPE[0];
    let posts = [
        Post::None,
        Post::Step(Step::Hadamard(Hadamard::random(m, 9))),
        Post::Step(Step::Scale(vec![0.5; m].into())),
        Post::Step(Step::Permute((0..m as u32).rev().collect())),
    ];
    let mut linear = |(i, post): (usize, Post)| {
        let bias = (i % 2 == 1).then(|| (0..m).map(|i| i as f32).collect());
        Linear::new(all.by_ref().take(2 + i).collect(), post, bias).unwrap()
    };
    Site::new(pre(), posts.into_iter().enumerate().map(&mut linear).collect()).unwrap()
}

fn save(site: &Site) -> (Bytes, SiteDescriptor) {
    let names: Vec<String> = (0..site.linears().len()).map(|i| format!("m{i}")).collect();
    let mut writer = Writer::new("test", 1);
    let descriptor = site.save_into(&mut writer, "site", &names).unwrap();
    (writer.parameters(&descriptor).unwrap().to_bytes().unwrap(), descriptor)
}

fn load(bytes: Bytes) -> Result<Site, Error> {
    let file = File::from_bytes(bytes)?;
    Site::load_from(&file, "site", &file.require_kind("test", 1)?.parameters()?)
}

fn dense(term: &Term) -> Array2<f32> {
    let mut w = Array2::zeros((SHAPE[0], SHAPE[1]));
    term.op().add_to(w.view_mut());
    w
}

#[test]
fn every_form_comes_back_bit_by_bit() {
    for term in terms() {
        let what = format!("{term:?}");
        let site = Site::new(Pre::none(), vec![Linear::from_term(term.clone()).unwrap()]).unwrap();
        let (bytes, _) = save(&site);
        let again = load(bytes.clone()).unwrap();
        match (&term, &again.linears()[0].terms()[0]) {
            (Term::Dense(a), Term::Dense(b)) => assert_eq!(a, b),
            (Term::Grid(a), Term::Grid(b)) => assert_eq!(a, b),
            (Term::Palette(a), Term::Palette(b)) => assert_eq!(a, b),
            (Term::Csr(a), Term::Csr(b)) => assert_eq!(a, b),
            (Term::Codebook(a), Term::Codebook(b)) => assert_eq!(a, b),
            _ => panic!("{what} came back as {again:?}"),
        }
        assert_eq!(dense(&again.linears()[0].terms()[0]), dense(&term), "{what}");
        assert!(save(&again).0 == bytes, "{what}: saved again, the file differs");
    }
}

#[test]
fn transforms_and_biases_come_back() {
    let site = site();
    let (bytes, _) = save(&site);
    let again = load(bytes.clone()).unwrap();
    assert_eq!(again.pre(), site.pre());
    assert_eq!(again.footprint(), site.footprint());
    for (a, b) in again.linears().iter().zip(site.linears()) {
        assert_eq!((a.post(), a.bias(), a.shape(), a.terms().len()), (b.post(), b.bias(), b.shape(), b.terms().len()));
    }
    assert!(save(&again).0 == bytes);
}

#[test]
fn what_is_saved_weighs_what_the_footprint_says() {
    let site = site();
    let file = File::from_bytes(save(&site).0).unwrap();
    let tensors: usize = file.names().map(|name| file.tensor(name).unwrap().bytes.len()).sum();
    assert_eq!(tensors as u64, site.footprint().total());
}

/// The file with the description changed, or a tensor; checksums agree.
fn changed(describe: impl Fn(String) -> String, tensor: impl Fn(&str, Vec<u8>) -> Vec<u8>) -> Result<Site, Error> {
    let (bytes, descriptor) = save(&site());
    let text = describe(serde_json::to_string(&descriptor).unwrap());
    let parameters: serde_json::Value = serde_json::from_str(&text).unwrap();
    let file = File::from_bytes(bytes).unwrap();
    let mut writer = Writer::new("test", 1).parameters(&parameters).unwrap();
    for name in file.names() {
        let old = file.tensor(name).unwrap();
        let data = tensor(name, old.bytes.to_vec());
        let shape = if data.len() == old.bytes.len() { old.shape } else { vec![data.len() / old.dtype.size()] };
        writer.add(name, old.dtype, shape, data).unwrap();
    }
    load(writer.to_bytes().unwrap())
}

#[test]
fn numbers_that_no_site_has_are_refused() {
    changed(|d| d, |_, x| x).unwrap();
    let bad = |name: &str, value: &[u8]| {
        changed(
            |d| d,
            |n, mut x| {
                if n == name {
                    x[..value.len()].copy_from_slice(value);
                }
                x
            },
        )
        .expect_err(name)
        .to_string()
    };
    assert!(bad("m0.0.values", &f32::NAN.to_le_bytes()).contains("not finite"));
    assert!(bad("m1.1.scale", &f32::INFINITY.to_le_bytes()).contains("not finite"));
    assert!(bad("m1.bias", &f32::NAN.to_le_bytes()).contains("not finite"));
    assert!(bad("site.pre.0", &0f32.to_le_bytes()).contains("1 / scale"));
    assert!(bad("site.pre.1", &96u32.to_le_bytes()).contains("index 96 is not below 96"));
    assert!(bad("site.pre.1", &0u32.to_le_bytes()).contains("twice"));
    assert!(bad("m3.post", &0u32.to_le_bytes()).contains("twice"));
    assert!(bad("m2.post", &0f32.to_le_bytes()).contains("1 / scale"));
    for name in ["m0.0.values", "m1.1.codes", "m1.1.scale", "site.pre.2", "m1.post"] {
        let cut = |n: &str, mut x: Vec<u8>| {
            if n == name {
                x.truncate(x.len().saturating_sub(4)); // a few signs are fewer bytes
            }
            x
        };
        assert!(changed(|d| d, cut).expect_err(name).to_string().contains(name));
    }
}

#[test]
fn descriptors_that_lie_are_refused() {
    for (from, to) in [
        ("[19,96]", "[20,96]"),
        ("[19,96]", "[19,128]"),
        ("[19,96]", "[0,96]"),
        ("[19,96]", "[18446744073709551615,18446744073709551615]"),
        ("[19,96]", "[2147483648,2147483648]"),
        ("\"group_size\":32", "\"group_size\":16"),
        ("\"group_size\":32", "\"group_size\":17"),
        ("\"group_size\":32", "\"group_size\":0"),
        ("\"bits\":1", "\"bits\":2"),
        ("\"bits\":1", "\"bits\":0"),
        ("\"bits\":1", "\"bits\":4294967295"),
        ("\"per\":2", "\"per\":0"),
        ("\"per\":2", "\"per\":1"),
        ("\"name\":\"m1\"", "\"name\":\"m4\""),
        ("\"bias\":false", "\"bias\":true"),
        ("\"dtype\":\"f32\"", "\"dtype\":\"f16\""),
        ("[\"scale\",\"permute\",\"hadamard\"]", "[\"permute\",\"scale\",\"hadamard\"]"),
        ("[\"scale\",\"permute\",\"hadamard\"]", "[\"scale\",\"permute\",\"hadamard\",\"scale\"]"),
        ("\"terms\":[", "\"terms\":[{\"kind\":\"dense\",\"dtype\":\"f32\"},"),
    ] {
        let describe = |d: String| {
            assert!(d.contains(from), "{from}: {d}");
            d.replace(from, to)
        };
        assert!(changed(describe, |_, x| x).is_err(), "{from} -> {to}");
    }
    assert!(
        Site::load_from(&File::from_bytes(save(&site()).0).unwrap(), "site", &SiteDescriptor { pre: vec![], matrices: vec![] }).is_err()
    );
}

/// Any one bit of the description, with checksums that agree: an error or a site, never a panic.
#[test]
fn flipped_bits_of_the_descriptor_do_no_harm() {
    let (bytes, descriptor) = save(&site());
    let file = File::from_bytes(bytes).unwrap();
    let text = serde_json::to_vec(&descriptor).unwrap();
    let mut loaded = 0;
    for bit in 0..8 * text.len() {
        let mut text = text.clone();
        text[bit / 8] ^= 1 << (bit % 8);
        if let Ok(descriptor) = serde_json::from_slice(&text) {
            loaded += usize::from(Site::load_from(&file, "site", &descriptor).is_ok());
        }
    }
    // A centre may be any byte, and an optional key under another name counts as absent.
    assert!(100 * loaded < 8 * text.len() * 10, "{loaded} of {}", 8 * text.len());
}

#[test]
fn names_are_one_for_each_matrix_and_not_taken() {
    let site = site();
    let mut writer = Writer::new("test", 1);
    assert!(matches!(site.save_into(&mut writer, "site", &[]), Err(Error::Shape { .. })));
    writer.add("m0.0.values", Dtype::U8, [1], vec![0]).unwrap();
    let names: Vec<String> = (0..4).map(|i| format!("m{i}")).collect();
    assert!(matches!(site.save_into(&mut writer, "site", &names), Err(Error::File(_))));
}
