//! Files that were right once: cut, flipped, changed after the map.

use std::fs;
use std::io::{Seek, SeekFrom, Write};

use scant_tensor_core::file::{Dtype, File, FileError, Writer};
use scant_testkit::corrupt;

use super::{Folder, content, fixture};

#[test]
fn every_cut_and_every_flipped_bit_is_an_error_or_the_same_data() {
    let bytes = fixture();
    assert!((1000..4000).contains(&bytes.len()), "{}", bytes.len());
    let want = content(&File::from_bytes(bytes.clone()).unwrap());
    let (mut errors, mut same) = (0, 0);
    for (damage, damaged) in corrupt::every_way(&bytes) {
        match File::from_bytes(damaged.into()) {
            Err(error) => {
                assert!(!error.to_string().is_empty());
                errors += 1;
            }
            Ok(file) => {
                assert_eq!(content(&file), want, "{damage}");
                same += 1;
            }
        }
    }
    // What may pass: the case of hexadecimal digits in two kinds of checksum, and nothing that comes in numbers.
    assert!(same < 80 && errors > 9 * bytes.len() - 80, "{errors} errors, {same} the same");
}

#[test]
fn damage_to_the_header_is_seen_without_reading_the_tensors() {
    let folder = Folder::new("header");
    let bytes = fixture();
    let file = File::from_bytes(bytes.clone()).unwrap();
    let want = content(&file);
    let data = bytes.len() - file.names().map(|n| file.tensor(n).unwrap().bytes.len()).sum::<usize>();
    let path = folder.path("damaged");
    fs::write(&path, &bytes[..]).unwrap();
    let mut on_disk = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let mut put = |at: usize, byte: u8| {
        on_disk.seek(SeekFrom::Start(at as u64)).unwrap();
        on_disk.write_all(&[byte]).unwrap();
    };
    for at in 0..data {
        for bit in 0..8 {
            put(at, bytes[at] ^ (1 << bit));
            // SAFETY: the file is written again only after the map is gone.
            #[expect(unsafe_code, reason = "maps a file of its own")]
            let mapped = unsafe { File::map(&path) };
            if let Ok(file) = mapped {
                assert_eq!(content(&file), want, "bit {bit} of byte {at}");
            }
        }
        put(at, bytes[at]);
    }
}

#[test]
fn a_mapped_file_is_verified_on_request() {
    let folder = Folder::new("map");
    let path = folder.path("file");
    let bytes = fixture();
    fs::write(&path, &bytes[..]).unwrap();
    // SAFETY: `save` below replaces the file by a rename, which leaves the map its old one.
    #[expect(unsafe_code, reason = "maps a file of its own")]
    let file = unsafe { File::map(&path) }.unwrap();
    file.verify().unwrap();
    let codes = file.expect("0.grid.codes", Dtype::U8, [16, 16]).unwrap();
    assert!(codes.is_mapped());
    assert_eq!(codes.as_ptr().addr() % 64, 0);
    #[cfg(unix)]
    {
        Writer::new("other", 1).save(&path).unwrap();
        assert_eq!(codes[255], 255);
        assert_eq!(File::read(&path).unwrap().names().len(), 0);
    }

    let last = bytes.len() - 1;
    let flip = corrupt::Damage::Flip { byte: last, bit: 0 };
    let other = folder.path("damaged");
    fs::write(&other, flip.apply(&bytes)).unwrap();
    // SAFETY: nobody else knows the file.
    #[expect(unsafe_code, reason = "maps a file of its own")]
    let file = unsafe { File::map(&other) }.unwrap();
    let error = file.verify().unwrap_err();
    assert!(matches!(error, FileError::Checksum { .. }), "{error}");
    let error = File::read(&other).unwrap_err();
    assert!(matches!(error, FileError::Checksum { .. }), "{error}");
}
