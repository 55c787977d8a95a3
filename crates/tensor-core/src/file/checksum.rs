//! CRC32C, the checksum of the container.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A CRC32C (Castagnoli polynomial, as in iSCSI and ext4), written as eight hexadecimal digits.
///
/// It finds every burst of up to 32 bits and every error of one or two bits in anything that fits in memory. It is
/// no defence against someone who changes data on purpose.
///
/// ```
/// use scant_tensor_core::file::Crc32c;
/// let sum = Crc32c::of(b"123456789");
/// assert_eq!(sum.to_string(), "e3069283");
/// assert_eq!("e3069283".parse(), Ok(sum));
/// assert_eq!(Crc32c::of(b"12345").append(b"6789"), sum);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Crc32c(u32);

impl Crc32c {
    /// The checksum of `bytes`. One thread, at the CRC instruction's speed where the CPU has it.
    pub fn of(bytes: &[u8]) -> Self {
        Crc32c(crc32c::crc32c(bytes))
    }

    /// The checksum of what was summed so far followed by `bytes`.
    #[must_use]
    pub fn append(self, bytes: &[u8]) -> Self {
        Crc32c(crc32c::crc32c_append(self.0, bytes))
    }
}

impl fmt::Display for Crc32c {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// A text that is not a checksum: something other than eight hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a checksum is eight hexadecimal digits")]
pub struct NotAChecksum;

impl FromStr for Crc32c {
    type Err = NotAChecksum;

    fn from_str(text: &str) -> Result<Self, NotAChecksum> {
        // `from_str_radix` alone would take a sign.
        if text.len() != 8 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(NotAChecksum);
        }
        u32::from_str_radix(text, 16).map(Crc32c).map_err(|_| NotAChecksum)
    }
}

impl Serialize for Crc32c {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Crc32c {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_eight_hexadecimal_digits_parse() {
        for text in ["", "e306928", "+3069283", "e30692833", "g3069283", "é306928"] {
            assert_eq!(text.parse::<Crc32c>(), Err(NotAChecksum), "{text}");
        }
        assert_eq!("E3069283".parse::<Crc32c>(), Ok(Crc32c(0xe306_9283)));
    }
}
