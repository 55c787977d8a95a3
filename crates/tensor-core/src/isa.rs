//! Which instructions this CPU has proved to have, and the way into code compiled for them.

use crate::simd::{Scalar, WithSimd};
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// A tier of instructions. A tier is above another when every CPU that has it has the other too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Level {
    /// Portable Rust; the reference for every other tier.
    Scalar,
    /// AArch64 Advanced SIMD.
    Neon,
    /// NEON with the dot-product instructions (`sdot`).
    NeonDot,
    /// AVX2 with FMA and F16C (Haswell, Zen 1).
    Avx2,
    /// AVX-512 F, BW, VL, DQ with VNNI, VBMI and VPOPCNTDQ (Ice Lake, Zen 4).
    Avx512,
}

impl Level {
    const ALL: [Level; 5] = [Level::Scalar, Level::Neon, Level::NeonDot, Level::Avx2, Level::Avx512];

    fn name(self) -> &'static str {
        match self {
            Level::Scalar => "scalar",
            Level::Neon => "neon",
            Level::NeonDot => "neon-dot",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
        }
    }

    fn present(self) -> bool {
        match self {
            Level::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => crate::simd::has_avx2(),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => crate::simd::has_avx2() && crate::simd::has_avx512(),
            #[cfg(target_arch = "aarch64")]
            Level::Neon => true,
            #[cfg(target_arch = "aarch64")]
            Level::NeonDot => std::arch::is_aarch64_feature_detected!("dotprod"),
            #[allow(unreachable_patterns, reason = "which tiers remain depends on the target")]
            _ => false,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Level {
    type Err = IsaError;
    fn from_str(s: &str) -> Result<Self, IsaError> {
        let found = Level::ALL.into_iter().find(|l| l.name() == s);
        found.ok_or_else(|| IsaError::Unknown { name: s.to_owned() })
    }
}

/// Why a tier cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IsaError {
    /// The name is none of the tiers.
    #[error("instruction tier `{name}` is unknown: choose scalar, neon, neon-dot, avx2 or avx512")]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The tier exists, but not on this CPU or not below the tier in use.
    #[error("instruction tier `{asked}` is not to be had: the best here is `{best}`")]
    Absent {
        /// What was asked for.
        asked: Level,
        /// The highest tier that can be had.
        best: Level,
    },
}

/// Proof that this CPU has every instruction of a [`Level`]: the field is private and every constructor asks the CPU.
///
/// ```
/// use scant_tensor_core::isa::{Isa, Level};
/// let best = Isa::best();
/// let scalar = best.lower(Level::Scalar)?;
/// assert!(scalar.level() <= best.level());
/// assert!(Isa::available().contains(&best));
/// # Ok::<(), scant_tensor_core::isa::IsaError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Isa(Level);

impl Isa {
    /// The highest tier of this CPU, or the lower one that the environment variable `SCANT_ISA` names.
    ///
    /// # Errors
    /// [`IsaError`] if `SCANT_ISA` is no tier, or one that this CPU lacks.
    pub fn detect() -> Result<Isa, IsaError> {
        static FOUND: OnceLock<Result<Isa, IsaError>> = OnceLock::new();
        FOUND
            .get_or_init(|| {
                let best = Level::ALL.into_iter().rfind(|l| l.present()).unwrap_or(Level::Scalar);
                match std::env::var("SCANT_ISA") {
                    Ok(name) => Isa(best).lower(name.parse()?),
                    Err(_) => Ok(Isa(best)),
                }
            })
            .clone()
    }

    /// As [`Isa::detect`], for programs with nobody to give the error to.
    ///
    /// # Panics
    /// With the error's text, if `SCANT_ISA` is no tier of this CPU.
    pub fn best() -> Isa {
        Isa::detect().unwrap_or_else(|e| panic!("SCANT_ISA: {e}"))
    }

    /// Every tier from scalar up to [`Isa::best`]: what a test runs through.
    ///
    /// # Panics
    /// As [`Isa::best`].
    pub fn available() -> Vec<Isa> {
        let best = Isa::best();
        Level::ALL.into_iter().filter(|l| *l <= best.0 && l.present()).map(Isa).collect()
    }

    /// A lower tier, or the same.
    ///
    /// # Errors
    /// [`IsaError::Absent`] if `level` is above this one or not on this CPU.
    pub fn lower(self, level: Level) -> Result<Isa, IsaError> {
        if level <= self.0 && level.present() { Ok(Isa(level)) } else { Err(IsaError::Absent { asked: level, best: self.0 }) }
    }

    /// The tier.
    pub fn level(self) -> Level {
        self.0
    }

    /// Enters the tier once and runs `work` compiled for it.
    #[inline]
    pub fn run<W: WithSimd>(self, work: W) -> W::Out {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => crate::simd::run_avx512(self, work),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => crate::simd::run_avx2(self, work),
            #[cfg(target_arch = "aarch64")]
            Level::Neon => crate::simd::run_neon(self, work),
            #[cfg(target_arch = "aarch64")]
            Level::NeonDot => crate::simd::run_neon_dot(self, work),
            _ => work.run(Scalar),
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_an_unknown_one_is_named() {
        for level in Level::ALL {
            assert_eq!(level.to_string().parse::<Level>(), Ok(level));
        }
        let err = "sse9".parse::<Level>().unwrap_err();
        assert!(err.to_string().contains("sse9"), "{err}");
    }

    #[test]
    fn a_tier_can_only_be_lowered() {
        let scalar = Isa::best().lower(Level::Scalar).unwrap();
        for level in Level::ALL.into_iter().skip(1) {
            assert_eq!(scalar.lower(level), Err(IsaError::Absent { asked: level, best: Level::Scalar }));
        }
    }
}
