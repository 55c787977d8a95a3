//! Decimal digits of numbers: 15 of them count, halves are rounded away from zero.

use super::Item;
use std::fmt::Write;

/// `0.d1 d2 d3 ... x 10^exponent`, at most 15 digits.
#[derive(Clone, Debug)]
pub(super) struct Decimal {
    digits: [u8; 15],
    len: usize,
    pub(super) exponent: i32,
}

impl Decimal {
    /// The 15 leading digits of `x >= 0`.
    pub(super) fn new(x: f64) -> Decimal {
        let mut number = Decimal { digits: [0; 15], len: 0, exponent: 0 };
        if x == 0.0 {
            return number;
        }
        let mut buffer = Buffer { bytes: [0; 32], len: 0 };
        // The buffer holds any such text, so this cannot fail.
        let _ = write!(buffer, "{x:.14e}");
        let text = &buffer.bytes[..buffer.len];
        let e = text.iter().position(|&b| b == b'e').unwrap_or(text.len());
        for &b in text[..e].iter().filter(|b| b.is_ascii_digit()) {
            number.digits[number.len] = b - b'0';
            number.len += 1;
        }
        let power: i32 = std::str::from_utf8(&text[(e + 1).min(text.len())..]).ok().and_then(|t| t.parse().ok()).unwrap_or(0);
        number.exponent = power + 1;
        number.cut();
        number
    }

    pub(super) fn is_zero(&self) -> bool {
        self.len == 0
    }

    /// The digit before (`place` 0, 1, ...: units, tens) or after (-1, -2, ...) the point.
    fn digit(&self, place: i32) -> u8 {
        let at = self.exponent - 1 - place;
        if at >= 0 && (at as usize) < self.len { self.digits[at as usize] } else { 0 }
    }

    /// Rounds to `decimals` digits after the point.
    pub(super) fn round(&mut self, decimals: usize) {
        let keep = i64::from(self.exponent) + decimals as i64;
        if keep < 0 {
            self.len = 0;
            return;
        }
        let keep = keep as usize;
        if keep >= self.len {
            return;
        }
        let up = self.digits[keep] >= 5;
        self.len = keep;
        if up {
            let mut at = keep;
            loop {
                if at == 0 {
                    self.digits[0] = 1;
                    self.len = 1;
                    self.exponent += 1;
                    break;
                }
                at -= 1;
                self.digits[at] += 1;
                if self.digits[at] < 10 {
                    self.len = at + 1;
                    break;
                }
            }
        }
        self.cut();
    }

    /// Cuts zeros at the end.
    fn cut(&mut self) {
        while self.len > 0 && self.digits[self.len - 1] == 0 {
            self.len -= 1;
        }
    }

    /// Digits before the point.
    fn whole(&self) -> i32 {
        if self.is_zero() { 0 } else { self.exponent.max(0) }
    }
}

struct Buffer {
    bytes: [u8; 32],
    len: usize,
}

impl Write for Buffer {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        let end = self.len + s.len();
        self.bytes.get_mut(self.len..end).ok_or(std::fmt::Error)?.copy_from_slice(s.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// Where the digits of a number go.
pub(super) struct Layout<'a> {
    pub(super) items: &'a [Item],
    pub(super) int_end: usize,
    pub(super) mantissa_end: usize,
    /// Digit places before the point.
    pub(super) ints: usize,
    pub(super) grouped: bool,
}

impl Layout<'_> {
    pub(super) fn show(&self, number: &Decimal, x: f64, out: &mut String) {
        let mut place = self.ints as i32;
        let mut first = true;
        for item in &self.items[..self.int_end] {
            match item {
                Item::Digit(kind) => {
                    place -= 1;
                    // The first place takes all digits that are left over.
                    let from = if first { place.max(number.whole() - 1) } else { place };
                    first = false;
                    for p in (place..=from).rev() {
                        if p < number.whole() || *kind == b'0' {
                            out.push(char::from(b'0' + number.digit(p)));
                            if self.grouped && p > 0 && p % 3 == 0 {
                                out.push(',');
                            }
                        } else if *kind == b'?' {
                            out.push(' ');
                        }
                    }
                }
                _ => literal(item, x, out),
            }
        }
        if self.ints == 0 && number.whole() > 0 && self.items[..self.mantissa_end].iter().any(|i| matches!(i, Item::Digit(_))) {
            for p in (0..number.whole()).rev() {
                out.push(char::from(b'0' + number.digit(p)));
            }
        }
        let mut place = 0;
        for item in &self.items[self.int_end..self.mantissa_end] {
            match item {
                Item::Digit(kind) => {
                    place -= 1;
                    let more = number.len as i32 - number.exponent >= -place;
                    if *kind == b'0' || (more && !number.is_zero()) {
                        out.push(char::from(b'0' + number.digit(place)));
                    } else if *kind == b'?' {
                        out.push(' ');
                    }
                }
                Item::Point => out.push('.'),
                _ => literal(item, x, out),
            }
        }
    }
}

fn literal(item: &Item, x: f64, out: &mut String) {
    match item {
        Item::Literal(t) => out.push_str(t),
        Item::Percent => out.push('%'),
        Item::General | Item::Text => general(x, out),
        _ => {}
    }
}

/// A number in the general format: at most 11 characters in a cell that is wide enough.
pub(crate) fn general(x: f64, out: &mut String) {
    if x < 0.0 {
        out.push('-');
    }
    let a = x.abs();
    if a < 1e11 && a.fract() == 0.0 {
        // Exact: below 2^53.
        let _ = write!(out, "{}", a as u64);
        return;
    }
    let mut number = Decimal::new(a);
    if (-8..=11).contains(&number.exponent) && a < 1e11 {
        let before = number.whole().max(1) as usize;
        number.round(10 - before.min(10));
        let (whole, decimals) = (number.whole().max(1), number.len as i32 - number.exponent);
        for p in (0..whole).rev() {
            out.push(char::from(b'0' + number.digit(p)));
        }
        if decimals > 0 && !number.is_zero() {
            out.push('.');
            for p in 1..=decimals {
                out.push(char::from(b'0' + number.digit(-p)));
            }
        }
        return;
    }
    let power = number.exponent - 1;
    number.exponent = 1;
    number.round(5);
    let power = power + number.exponent - 1;
    out.push(char::from(b'0' + number.digits[0]));
    if number.len > 1 {
        out.push('.');
        out.extend(number.digits[1..number.len].iter().map(|&d| char::from(b'0' + d)));
    }
    let _ = write!(out, "E{}{:02}", if power < 0 { '-' } else { '+' }, power.abs());
}

/// `# ?/?` and `# ?/8`.
pub(super) fn fraction(items: &[Item], slash: usize, x: f64, out: &mut String) {
    let a = x.abs();
    let places = items[slash..].iter().filter(|i| matches!(i, Item::Digit(_))).count().min(4) as u32;
    let fixed = items.get(slash + 1).and_then(|i| match i {
        Item::Literal(t) => t.trim_end().parse::<u64>().ok().filter(|&d| (1..=10_000).contains(&d)),
        _ => None,
    });
    // An integer part stands apart from the numerator: a literal lies between two runs of digits.
    let numerator = items[..slash].iter().rposition(|i| !matches!(i, Item::Digit(_)));
    let mixed = numerator.is_some_and(|n| items[..n].iter().any(|i| matches!(i, Item::Digit(_))));
    if a >= 1e15 {
        return general(x, out);
    }
    let (mut whole, rest) = if mixed { (a.trunc(), a.fract()) } else { (0.0, a) };
    let denominators = fixed.map_or(1..=10u64.pow(places.max(1)) - 1, |d| d..=d);
    let (mut best, mut error) = ((0.0, 1), f64::INFINITY);
    for d in denominators {
        let n = (rest * d as f64).round();
        let e = (rest - n / d as f64).abs();
        if e < error - 1e-15 {
            (best, error) = ((n, d), e);
        }
    }
    if mixed && best.0 == best.1 as f64 {
        whole += 1.0;
        best = (0.0, 1);
    }
    if x < 0.0 {
        out.push('-');
    }
    if mixed && (whole > 0.0 || best.0 == 0.0) {
        let _ = write!(out, "{whole}");
    }
    if !mixed || best.0 > 0.0 {
        let gap = if mixed && whole > 0.0 { " " } else { "" };
        let _ = write!(out, "{gap}{}/{}", best.0, best.1);
    }
}
