//! NumPy's percentile, in its own number types, of values that stand for several equal ones.

/// A number that NumPy would hold as `float32` or, if `wide`, as `float64`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Number {
    pub(crate) value: f64,
    pub(crate) wide: bool,
}

impl Number {
    pub(crate) fn narrow(value: f32) -> Number {
        Number { value: f64::from(value), wide: false }
    }

    pub(crate) fn wide(value: f64) -> Number {
        Number { value, wide: true }
    }
}

/// The mean of `values` as `sum(values) / len(values)` gives it, where `None` is a Python `1.0` and the others are of `float32`.
pub(crate) fn mean(values: impl Iterator<Item = Option<f32>>, numpy1: bool) -> Number {
    let (mut narrow, mut wide, mut n, mut any) = (0f32, 0f64, 0u32, false);
    for value in values {
        n += 1;
        any |= value.is_some();
        narrow += value.unwrap_or(1.0);
        wide += f64::from(value.unwrap_or(1.0));
    }
    if numpy1 || !any { Number::wide(wide / f64::from(n)) } else { Number::narrow(narrow / n as f32) }
}

/// The `percent`th percentile with linear interpolation of every value repeated by its count; sorts `values`. `None` if the counts are all 0.
///
/// One wide value among them makes all of them wide, as in `numpy.percentile(list, percent)`.
pub(crate) fn percentile(values: &mut [(Number, u32)], percent: u32) -> Option<f64> {
    values.sort_unstable_by(|a, b| a.0.value.total_cmp(&b.0.value));
    let n: u64 = values.iter().map(|(_, count)| u64::from(*count)).sum();
    let last = n.checked_sub(1)?;
    let wide = values.iter().any(|(v, count)| v.wide && *count > 0);
    let at = f64::from(percent) / 100.0 * last as f64;
    let i = (at.floor() as u64).min(last);
    let (mut a, mut b, mut seen) = (None, None, 0);
    for (value, count) in values.iter() {
        seen += u64::from(*count);
        if a.is_none() && seen > i {
            a = Some(value.value);
        }
        if seen > (i + 1).min(last) {
            b = Some(value.value);
            break;
        }
    }
    let (a, b) = (a?, b?);
    let gamma = at - at.floor();
    Some(if wide {
        let d = b - a;
        if gamma < 0.5 { a + d * gamma } else { b - d * (1.0 - gamma) }
    } else {
        let (a, b) = (a as f32, b as f32);
        let d = b - a;
        f64::from(if gamma < 0.5 { a + d * gamma as f32 } else { b - d * (1.0 - gamma) as f32 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_percentile_of_the_expanded_list() {
        let values = [(0.9f32, 3), (0.1, 1), (0.5, 0), (0.4, 2)];
        let expanded = [0.1f64, 0.4, 0.4, 0.9, 0.9, 0.9];
        for percent in 0..=100 {
            let mut wide = values.map(|(v, n)| (Number::wide(f64::from((v * 10.0).round()) / 10.0), n));
            let at = f64::from(percent) / 100.0 * 5.0;
            let i = at.floor() as usize;
            let want = expanded[i] + (expanded[(i + 1).min(5)] - expanded[i]) * (at - at.floor());
            let got = percentile(&mut wide, percent).unwrap();
            assert!((got - want).abs() < 1e-12, "{percent}: {got} {want}");
        }
        assert_eq!(percentile(&mut [(Number::wide(1.0), 0)], 50), None);
    }

    #[test]
    fn narrow_values_round_at_every_step() {
        let mut values = [(Number::narrow(0.1), 1), (Number::narrow(0.7), 1)];
        assert_eq!(percentile(&mut values, 34), Some(f64::from(0.1f32 + (0.7f32 - 0.1f32) * 0.34)));
    }

    #[test]
    fn the_mean_of_forced_tokens_is_wide() {
        assert_eq!(mean([None, None].into_iter(), false), Number::wide(1.0));
        assert_eq!(mean([None, Some(0.25f32)].into_iter(), false), Number::narrow(0.625));
        assert!(mean([Some(0.25f32)].into_iter(), true).wide);
    }
}
