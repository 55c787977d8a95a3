//! Importance matrices of both forms, whole and damaged.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the answer")]

use scant_quant::Error;
use scant_quant::gguf::{BlockType, Writer};
use scant_quant::imatrix::{Imatrix, InputSums};

fn sample() -> Imatrix {
    let mut imatrix = Imatrix::new(512);
    imatrix.chunks = 4;
    imatrix.datasets = vec!["some-text.txt".to_owned()];
    imatrix.insert("blk.0.attn_q.weight", InputSums::from_mean_sq(&[0.5, 2.0, 0.0], 2048.0).unwrap());
    let experts = InputSums::new(vec![8.0, 16.0, 0.0, 0.0], Some(vec![-4.0, 2.0, 0.0, 0.0]), vec![4.0, 0.0]).unwrap();
    imatrix.insert("blk.0.ffn_down_exps.weight", experts);
    imatrix
}

/// The older form by hand: one matrix of two inputs, three chunks.
fn dat() -> Vec<u8> {
    let mut bytes = vec![];
    for x in [1i32, 5] {
        bytes.extend(x.to_le_bytes());
    }
    bytes.extend(b"blk.w");
    for x in [3i32, 2] {
        bytes.extend(x.to_le_bytes());
    }
    for x in [1.5f32, 6.0] {
        bytes.extend(x.to_le_bytes());
    }
    for x in [3i32, 4] {
        bytes.extend(x.to_le_bytes());
    }
    bytes.extend(b"text");
    bytes
}

#[test]
fn what_is_written_as_gguf_is_read_again() {
    let imatrix = sample();
    let again = Imatrix::from_bytes(imatrix.to_gguf().unwrap()).unwrap();
    assert_eq!(again, imatrix);
    let experts = again.get("blk.0.ffn_down_exps.weight").unwrap();
    assert_eq!((experts.matrices(), experts.inputs()), (2, 2));
    // The second has seen nothing.
    assert_eq!(experts.mean_sq(), [2.0, 4.0, 1.0, 1.0]);
    assert_eq!(experts.mean().unwrap(), [-1.0, 0.5, 0.0, 0.0]);
}

#[test]
fn the_older_form_keeps_means() {
    let read = Imatrix::from_bytes(dat()).unwrap();
    assert_eq!(read.get("blk.w").unwrap().mean_sq(), [0.5, 2.0]);
    assert_eq!((read.chunks, &read.datasets[..]), (3, &["text".to_owned()][..]));
    let again = Imatrix::from_bytes(sample().to_dat().unwrap()).unwrap();
    assert_eq!((again.chunks, again.datasets.len(), again.iter().len()), (4, 1, 2));
    for (name, sums) in sample().iter() {
        assert_eq!(again.get(name).unwrap().mean_sq(), sums.mean_sq(), "{name}");
    }
    assert_eq!(again.get("blk.0.attn_q.weight").unwrap().counts(), [4.0]);
    // Files from before the last two numbers.
    assert_eq!(Imatrix::from_bytes(&dat()[..29]).unwrap().chunks, 0);
}

#[test]
fn damaged_files_are_refused_or_well_formed() {
    let bytes = dat();
    for len in (0..bytes.len()).filter(|len| *len != 29) {
        assert!(Imatrix::from_bytes(&bytes[..len]).is_err(), "{len} bytes");
    }
    for bytes in [bytes, sample().to_gguf().unwrap()] {
        for bit in 0..8 * bytes.len() {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(imatrix) = Imatrix::from_bytes(&bytes[..]) {
                for (name, sums) in imatrix.iter() {
                    assert!(sums.mean_sq().iter().all(|x| *x >= 0.0), "bit {bit}: {name}");
                }
            }
        }
    }
}

#[test]
fn wrong_numbers_are_named() {
    let refused = |sq: &[f32], sum: Option<Vec<f32>>, counts: &[f32]| InputSums::new(sq.to_vec(), sum, counts.to_vec()).unwrap_err();
    assert!(matches!(refused(&[1.0, -1.0], None, &[1.0]), Error::Importance { column: 1, .. }));
    assert!(matches!(refused(&[1.0, f32::NAN], None, &[1.0]), Error::Importance { column: 1, .. }));
    assert!(matches!(refused(&[1.0, 1.0, 1.0], None, &[1.0, 1.0]), Error::ShapeMismatch { .. }));
    assert!(matches!(refused(&[1.0, 1.0], None, &[]), Error::ShapeMismatch { .. }));
    assert!(matches!(refused(&[1.0], Some(vec![]), &[1.0]), Error::ShapeMismatch { .. }));
    let mut writer = Writer::new("llama", BlockType::F32);
    writer.set("general.type", "model").unwrap();
    let error = Imatrix::from_bytes(writer.to_bytes()).unwrap_err().to_string();
    assert!(error.contains("`model`"), "{error}");
}
