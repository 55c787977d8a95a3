//! What tests of several crates share: damaged files, a counting allocator, awkward floats, error bounds.
//!
//! ```
//! use scant_testkit::{bounds, corrupt, floats};
//! let file = [0u8, 1, 2];
//! assert_eq!(corrupt::every_way(&file).count(), 3 + 3 * 8);
//!
//! let (a, b) = (floats::normals(1, 100), floats::normals(2, 100));
//! let dot: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
//! bounds::assert_dot(dot, &a, &b);
//! ```
#![deny(unsafe_code)]

pub mod alloc;
pub mod bounds;
pub mod corrupt;
pub mod floats;
