//! The plain store: every token's key and value as they are, in f16 or f32.

use crate::attend::{self, Held, Source};
use crate::kernels::Dense;
use crate::{Error, Geometry, KvLayer, LayerBytes, Workspace};
use half::f16;
use half::slice::HalfFloatSliceExt;
use ndarray::{Array2, ArrayView3, ArrayViewMut2, CowArray};
use scant_tensor_core::Ctx;
use scant_tensor_core::simd::Simd;
use std::collections::VecDeque;
use std::ops::Range;

/// Tokens of a slab, the unit of growth and of a task of attention.
pub(crate) const SLAB: usize = 256;

/// A number type of a dense store.
pub trait Stored: sealed::Sealed + Copy + Default + Send + Sync + 'static {
    /// Its name, for messages.
    const NAME: &'static str;
    /// The largest magnitude it holds, before rounding.
    const LIMIT: f32;
    /// Rounds to nearest even.
    fn from_f32(x: f32) -> Self;
    /// Sixteen numbers, widened.
    fn load<S: Simd>(s: S, x: &[Self; 16]) -> S::F;
}

impl Stored for f16 {
    const NAME: &'static str = "f16";
    const LIMIT: f32 = 65519.0;
    fn from_f32(x: f32) -> f16 {
        f16::from_f32(x)
    }
    #[inline(always)]
    fn load<S: Simd>(s: S, x: &[f16; 16]) -> S::F {
        s.load_f16(x.reinterpret_cast().first_chunk().expect("sixteen"))
    }
}

impl Stored for f32 {
    const NAME: &'static str = "f32";
    const LIMIT: f32 = f32::MAX;
    fn from_f32(x: f32) -> f32 {
        x
    }
    #[inline(always)]
    fn load<S: Simd>(s: S, x: &[f32; 16]) -> S::F {
        s.load(x)
    }
}

#[expect(private_interfaces, reason = "nobody outside can name the trait")]
mod sealed {
    use crate::attend::Held;
    use crate::kernels::Dense;
    use half::f16;

    pub trait Sealed: Sized {
        /// A piece of a store of it.
        fn held(piece: Dense<'_, Self>) -> Held<'_>;
    }
    impl Sealed for f16 {
        fn held(piece: Dense<'_, f16>) -> Held<'_> {
            Held::F16(piece)
        }
    }
    impl Sealed for f32 {
        fn held(piece: Dense<'_, f32>) -> Held<'_> {
            Held::F32(piece)
        }
    }
}

/// Keys and values of [`SLAB`] tokens. A lane is a token: a score needs no sum across lanes, so tiers agree bit for bit.
#[derive(Clone)]
pub(crate) struct Slab<T> {
    /// `[kv_heads, SLAB / 16, key_dim, 16]`
    k: Vec<T>,
    /// `[kv_heads, SLAB, value_dim padded to 16]`
    v: Vec<T>,
}

impl<T: Stored> Slab<T> {
    /// Keys of one head in panels of 16 tokens, `[SLAB / 16, key_dim, 16]`.
    pub(crate) fn keys(&self, geometry: &Geometry, head: usize) -> &[T] {
        let len = SLAB * geometry.key_dim;
        &self.k[head * len..][..len]
    }

    /// Values of one head, `[SLAB, padded]`.
    pub(crate) fn values(&self, geometry: &Geometry, head: usize) -> &[T] {
        let len = SLAB * padded(geometry);
        &self.v[head * len..][..len]
    }
}

/// Width of a stored value.
pub(crate) fn padded(geometry: &Geometry) -> usize {
    geometry.value_dim.next_multiple_of(16)
}

/// One layer's keys and values as they are, `T` being f16 or f32.
///
/// Grows by slabs of 256 tokens, nothing is copied when it does. A layer with a window gives up what no later query can see, a slab at a time.
///
/// ```
/// use ndarray::{Array2, Array3};
/// use scant_kvcache::{DenseLayer, Geometry, KvLayer, Workspace};
/// use scant_tensor_core::{Ctx, Mode, isa::Isa, team::Team};
/// let mut layer = DenseLayer::<f32>::new(Geometry::new(4, 2, 8)?)?;
/// let (q, kv) = (Array3::ones((3, 4, 8)), Array3::ones((3, 2, 8)));
/// let mut out = Array2::zeros((3, 32));
/// let ctx = Ctx { isa: Isa::best(), mode: Mode::Exact, team: &Team::new(1) };
/// layer.extend(&ctx, [q.view(), kv.view(), kv.view()], &mut Workspace::default(), out.view_mut())?;
/// assert_eq!((layer.len(), out), (3, Array2::ones((3, 32)))); // all values are alike
/// # Ok::<(), scant_kvcache::Error>(())
/// ```
#[derive(Clone)]
pub struct DenseLayer<T> {
    geometry: Geometry,
    slabs: VecDeque<Slab<T>>,
    /// Position of the first token of the first slab.
    base: usize,
    len: usize,
}

impl<T> std::fmt::Debug for DenseLayer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DenseLayer({:?}, {} tokens)", self.geometry, self.len)
    }
}

impl<T: Stored> DenseLayer<T> {
    /// An empty layer.
    ///
    /// # Errors
    /// [`Error::Zero`] for a geometry with a scale, cap, window or width that is not above zero.
    pub fn new(geometry: Geometry) -> Result<DenseLayer<T>, Error> {
        geometry.check()?;
        Ok(DenseLayer { geometry, slabs: VecDeque::new(), base: 0, len: 0 })
    }

    fn new_slab(&self) -> Slab<T> {
        let g = &self.geometry;
        let make = |width| vec![T::default(); g.kv_heads * SLAB * width];
        Slab { k: make(g.key_dim), v: make(padded(g)) }
    }

    /// Slabs that no query from position `len` on can see go to the back, to be filled again.
    fn recycle(&mut self) {
        let needed = self.geometry.sees_from(self.len);
        let mut full = (self.len - self.base) / SLAB;
        while full > 0 && self.base + SLAB <= needed {
            self.slabs.rotate_left(1);
            self.base += SLAB;
            full -= 1;
        }
    }

    fn check_numbers(&self, what: &'static str, x: &ArrayView3<'_, f32>) -> Result<(), Error> {
        let fits = |x: &f32| x.abs() <= T::LIMIT;
        match x.indexed_iter().find(|(_, x)| !fits(x)) {
            None => Ok(()),
            Some(((token, head, _), value)) => {
                Err(Error::NotFinite { what, token: self.len + token, head, value: *value, stored: T::NAME })
            }
        }
    }
}

impl<T: Stored> Source for DenseLayer<T> {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn pieces(&self) -> usize {
        (self.len - self.base).div_ceil(SLAB)
    }

    fn piece(&self, head: usize, i: usize) -> Option<(Range<usize>, Held<'_>)> {
        let (g, slab) = (&self.geometry, self.slabs.get(i)?);
        let piece = Dense { keys: slab.keys(g, head), values: slab.values(g, head), key_dim: g.key_dim };
        Some((i * SLAB..(i + 1) * SLAB, T::held(piece)))
    }

    fn sees(&self, _: usize, position: usize) -> Range<usize> {
        self.geometry.sees_from(position) - self.base..position + 1 - self.base
    }

    fn bias(&self, _: usize) -> &[f32] {
        &[]
    }

    fn packs(&self) -> bool {
        false
    }
}

impl<T: Stored> KvLayer for DenseLayer<T> {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn len(&self) -> usize {
        self.len
    }

    fn append(&mut self, k: ArrayView3<'_, f32>, v: ArrayView3<'_, f32>) -> Result<(), Error> {
        let g = self.geometry;
        let tokens = k.dim().0;
        Error::check_shape("keys", &[tokens, g.kv_heads, g.key_dim], k.shape())?;
        Error::check_shape("values", &[tokens, g.kv_heads, g.value_dim], v.shape())?;
        self.check_numbers("key", &k)?;
        self.check_numbers("value", &v)?;
        self.recycle();
        self.reserve(self.len + tokens);
        for (token, (k, v)) in k.outer_iter().zip(v.outer_iter()).enumerate() {
            let at = self.len + token - self.base;
            let (slab, at) = (&mut self.slabs[at / SLAB], at % SLAB);
            let panels = slab.k.chunks_exact_mut(SLAB * g.key_dim).map(|k| &mut k[at / 16 * 16 * g.key_dim..][..16 * g.key_dim]);
            for (panel, k) in panels.zip(k.outer_iter()) {
                panel.iter_mut().skip(at % 16).step_by(16).zip(k).for_each(|(lane, x)| *lane = T::from_f32(*x));
            }
            let rows = slab.v.chunks_exact_mut(SLAB * padded(&g)).map(|v| &mut v[at * padded(&g)..][..g.value_dim]);
            for (row, v) in rows.zip(v.outer_iter()) {
                row.iter_mut().zip(v).for_each(|(lane, x)| *lane = T::from_f32(*x));
            }
        }
        self.len += tokens;
        Ok(())
    }

    fn attend(
        &mut self,
        ctx: &Ctx<'_>,
        q: ArrayView3<'_, f32>,
        first: usize,
        ws: &mut Workspace,
        mut out: ArrayViewMut2<'_, f32>,
    ) -> Result<(), Error> {
        let g = &self.geometry;
        let tokens = q.dim().0;
        Error::check_shape("queries", &[tokens, g.heads, g.key_dim], q.shape())?;
        Error::check_shape("output of attention", &[tokens, g.heads * g.value_dim], out.shape())?;
        let end = first + tokens;
        if end > self.len || g.sees_from(first) < self.base {
            return Err(Error::Position { first, end, len: self.len });
        }
        // Products hand out contiguous rows; anything else is put in order first.
        let q = if q.strides()[2] == 1 { CowArray::from(q) } else { q.as_standard_layout() };
        if out.strides()[1] == 1 {
            attend::attend(self, ctx, q.view(), first, ws, out, None);
        } else {
            let mut rows = Array2::zeros(out.dim());
            attend::attend(self, ctx, q.view(), first, ws, rows.view_mut(), None);
            out.assign(&rows);
        }
        Ok(())
    }

    fn truncate(&mut self, len: usize) -> Result<(), Error> {
        // Whoever starts again from nothing needs nothing that was given up.
        let lost = len > 0 && self.geometry.sees_from(len) < self.base;
        if len > self.len || lost && len < self.len {
            return Err(Error::NotTruncatable { requested: len, len: self.len, held_from: self.base });
        }
        self.len = len;
        if len == 0 {
            self.base = 0;
        }
        Ok(())
    }

    fn reserve(&mut self, tokens: usize) {
        while self.base + self.slabs.len() * SLAB < tokens {
            self.slabs.push_back(self.new_slab());
        }
    }

    fn bytes(&self) -> LayerBytes {
        let g = &self.geometry;
        let held = (self.len - self.base) * g.kv_heads * size_of::<T>();
        let (keys, values) = ((held * g.key_dim) as u64, (held * g.value_dim) as u64);
        let slab = g.kv_heads * SLAB * (g.key_dim + padded(g)) * size_of::<T>();
        let owned = (self.slabs.len() * slab + self.slabs.capacity() * size_of::<Slab<T>>()) as u64;
        LayerBytes { keys, values, spare: owned - keys - values, ..LayerBytes::default() }
    }

    fn fork(&self) -> Box<dyn KvLayer> {
        Box::new(self.clone())
    }
}
