//! The closed form as a method in a row of others, under the names that it has in the literature.

use crate::error::Error;
use crate::factors::{Factors, Storage};
use crate::fit::Fit;
use crate::weighting::Weighting;
use scant_tensor_core::compress::{BiasFix, Compress, FitError, SiteFit};
use scant_tensor_core::format::DenseType;
use scant_tensor_core::progress::Progress;
use scant_tensor_core::stats::{StatSet, Statistic};
use std::fmt;
use std::str::FromStr;

/// Ranks are multiples of this where there is a choice: the rows of a panel.
const STEP: usize = 16;

/// What errors are weighed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Weight {
    /// Nothing: the plain SVD. `svd`.
    Identity,
    /// The mean size of each input (ASVD, Yuan et al. 2023, arXiv 2312.05821, with exponent 1/2). `asvd`.
    MeanAbs,
    /// The second moment of the inputs (SVD-LLM, Wang et al. 2024, arXiv 2403.07378). `svdllm`.
    Moment,
    /// The same on what earlier terms left over (EoRA, Liu et al. 2024, arXiv 2410.21271): `eora`, which differs in its default of 4-bit factors.
    Residual,
    /// The covariance of the inputs, with a bias for the mean (LoRD, Kaushal et al. 2023, arXiv 2309.14021; atomic feature mimicking, Yu and Wu
    /// 2023). `lord`.
    Centred,
}

/// How large a term is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Size {
    /// Of this rank. `r16`.
    Rank(usize),
    /// Of at most so many bits per weight of the matrix, with a rank that is a multiple of 16, at least 16. `b0.25`.
    Bits(f64),
    /// Of at most this share of the matrix's numbers, with a rank that is a multiple of 16, at least 16. `p0.75`.
    Share(f64),
}

/// Fits a low-rank term to what is left of each matrix. Named by weight, size and factors: `eora-r16-4`, `lord-p0.75-f16`, `svd-b0.5-plain`.
///
/// Factors are in f16 unless the name says `f32`, `bf16` or bits; `eora` has 4 bits unless it says so. Terms that are the first of their matrix
/// and not in a grid are pivoted where that saves 2 % or more, unless the name says `plain`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Factorize {
    /// What errors are weighed with.
    pub weight: Weight,
    /// How large the term is.
    pub size: Size,
    /// How its factors are stored.
    pub factors: Factors,
    /// Whether it is never pivoted.
    pub plain: bool,
}

impl Factorize {
    /// With the default factors.
    pub fn new(weight: Weight, size: Size) -> Factorize {
        let factors = if weight == Weight::Residual { Factors::Grid(4) } else { Factors::Dense(DenseType::F16) };
        Factorize { weight, size, factors, plain: false }
    }

    fn storage(&self, [m, n]: [usize; 2], r: usize, first: bool) -> Storage {
        let dense = matches!(self.factors, Factors::Dense(_));
        if !self.plain && first && dense && 50 * r >= m + n && r < m { Storage::Pivoted } else { Storage::Plain }
    }

    /// The rank for a matrix of this shape.
    fn rank(&self, shape: [usize; 2], first: bool) -> usize {
        let [m, n] = shape;
        let weights = m as f64 * n as f64;
        // Of a matrix with fewer rows or columns than a panel there is only the whole.
        let fits = |cost: &dyn Fn(usize) -> f64, most: f64| {
            let top = m.min(n);
            (1..=top / STEP).map(|i| i * STEP).take_while(|r| cost(*r) <= most).last().unwrap_or(STEP.min(top))
        };
        match self.size {
            Size::Rank(r) => r,
            Size::Bits(bits) => fits(&|r| self.factors.bits_per_weight(shape, r), bits),
            Size::Share(share) => {
                let numbers = |r: usize| match self.storage(shape, r, first) {
                    Storage::Plain => r * (m + n),
                    Storage::Pivoted => r * (m + n - r),
                };
                fits(&|r| numbers(r) as f64, share * weights)
            }
        }
    }

    fn check(&self) -> Result<(), FitError> {
        let (parameter, value, want) = match self.size {
            Size::Rank(r) => ("rank", r as f64, "1 or more"),
            Size::Bits(bits) => ("bits per weight", bits, "more than 0, at most 16"),
            Size::Share(share) => ("share", share, "more than 0, at most 1"),
        };
        let good = match self.size {
            Size::Rank(r) => r > 0,
            Size::Bits(bits) => bits > 0.0 && bits <= 16.0,
            Size::Share(share) => share > 0.0 && share <= 1.0,
        };
        if good { Ok(()) } else { Err(FitError::Parameter { method: self.name(), parameter, value, want }) }
    }

    fn weighting(&self, site: &SiteFit) -> Result<Weighting, FitError> {
        let (stats, n) = (site.stats(), site.stats().inputs());
        let made = match self.weight {
            Weight::Identity => Ok(Weighting::identity(n)),
            Weight::MeanAbs => Ok(Weighting::diagonal(&stats.mean_abs().ok_or_else(|| site.missing(Statistic::MeanAbs))?)),
            Weight::Moment | Weight::Residual => Weighting::moment(site.gram()?.view(), stats.tokens()),
            Weight::Centred => Weighting::centred(site.gram()?.view(), &site.mean()?, stats.tokens()),
        };
        made.map_err(|e| match e {
            Error::TooFewSamples { have, need } => FitError::TooFewSamples { site: site.name().to_owned(), have, need },
            e => FitError::Method { method: self.name(), source: Box::new(e) },
        })
    }
}

impl Compress for Factorize {
    fn name(&self) -> String {
        self.to_string()
    }

    fn needs(&self) -> StatSet {
        match self.weight {
            Weight::Identity => StatSet::NONE,
            Weight::MeanAbs => Statistic::MeanAbs.into(),
            Weight::Moment | Weight::Residual => Statistic::Gram.into(),
            Weight::Centred => StatSet::from(Statistic::Gram).with(Statistic::Mean),
        }
    }

    fn fit(&self, site: &mut SiteFit, progress: &dyn Progress) -> Result<(), FitError> {
        self.check()?;
        let weighting = self.weighting(site)?;
        let total = site.matrices().len() as u64;
        for (matrix, done) in site.matrices_mut().iter_mut().zip(0..) {
            if progress.cancelled() {
                return Err(FitError::Cancelled { matrix: matrix.name().to_owned() });
            }
            progress.step(done, total, matrix.name());
            let (shape, first) = (matrix.shape(), matrix.terms().is_empty());
            let failed = |e: Error| match e {
                Error::Core(source) => FitError::At { name: matrix.name().to_owned(), source },
                e => FitError::Method { method: format!("{} at `{}`", self.name(), matrix.name()), source: Box::new(e) },
            };
            let fit = Fit::new(matrix.residual(), &weighting).map_err(failed)?;
            // A rank that was asked for is an error where there is none; one that was derived goes as far as there is something to gain.
            let r = if let Size::Rank(r) = self.size { r } else { self.rank(shape, first).min(fit.max_rank()) };
            let term = fit.term(r, &weighting, self.factors, self.storage(shape, r, first)).map_err(failed)?;
            let bits = term.op().footprint().bits_per_weight(shape);
            matrix.push(term)?;
            matrix.note("rank", r as f64);
            matrix.note("captured", fit.captured(r));
            matrix.note("a_grid_would", 1.0 - 4f64.powf(-bits));
        }
        if self.weight == Weight::Centred { BiasFix.fit(site, progress) } else { Ok(()) }
    }
}

impl fmt::Display for Factorize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = match self.weight {
            Weight::Identity => "svd",
            Weight::MeanAbs => "asvd",
            Weight::Moment => "svdllm",
            Weight::Residual => "eora",
            Weight::Centred => "lord",
        };
        let size = match self.size {
            Size::Rank(r) => format!("r{r}"),
            Size::Bits(bits) => format!("b{bits}"),
            Size::Share(share) => format!("p{share}"),
        };
        let factors = match self.factors {
            f if f == Factorize::new(self.weight, self.size).factors => String::new(),
            Factors::Dense(DenseType::F32) => "-f32".to_owned(),
            Factors::Dense(DenseType::F16) => "-f16".to_owned(),
            Factors::Dense(DenseType::Bf16) => "-bf16".to_owned(),
            Factors::Grid(bits) => format!("-{bits}"),
        };
        f.pad(&format!("{weight}-{size}{factors}{}", if self.plain { "-plain" } else { "" }))
    }
}

impl FromStr for Factorize {
    type Err = Error;
    fn from_str(s: &str) -> Result<Factorize, Error> {
        let bad = |detail: String| Error::MethodName { name: s.to_owned(), detail };
        let mut parts = s.split('-');
        let weight = match parts.next().unwrap_or_default() {
            "svd" => Weight::Identity,
            "asvd" => Weight::MeanAbs,
            "svdllm" => Weight::Moment,
            "eora" => Weight::Residual,
            "lord" => Weight::Centred,
            other => return Err(bad(format!("`{other}` is none of svd, asvd, svdllm, eora and lord"))),
        };
        let size =
            parts.next().ok_or_else(|| bad("a size is missing: write a rank r16, bits per weight b0.25 or a share p0.75".to_owned()))?;
        let number = |text: &str| text.parse::<f64>().ok().filter(|v| v.is_finite());
        let size = match size.split_at_checked(1) {
            Some(("r", rest)) => rest.parse().ok().map(Size::Rank),
            Some(("b", rest)) => number(rest).map(Size::Bits),
            Some(("p", rest)) => number(rest).map(Size::Share),
            _ => None,
        }
        .ok_or_else(|| bad(format!("`{size}` is no size: write a rank r16, bits per weight b0.25 or a share p0.75")))?;
        let mut method = Factorize::new(weight, size);
        for part in parts {
            match part {
                "f32" => method.factors = Factors::Dense(DenseType::F32),
                "f16" => method.factors = Factors::Dense(DenseType::F16),
                "bf16" => method.factors = Factors::Dense(DenseType::Bf16),
                "plain" => method.plain = true,
                bits => match bits.parse() {
                    Ok(bits @ 2..=8) => method.factors = Factors::Grid(bits),
                    _ => return Err(bad(format!("`{bits}` is none of f32, f16, bf16, 2 to 8 and plain"))),
                },
            }
        }
        Ok(method)
    }
}
