//! Number formats: how a spreadsheet shows a number (ECMA-376 part 1, 18.8.30 and 18.8.31).

mod date;
mod decimal;

pub(crate) use date::serial;

use date::DatePart;
use decimal::Decimal;

/// What kind of number a format shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shows {
    /// Whatever it is (`General`, or the text format `@`).
    #[default]
    Anything,
    /// Plain or grouped digits.
    Number,
    /// Hundredths.
    Percent,
    /// A currency.
    Currency,
    /// A power of ten.
    Scientific,
    /// A day, perhaps with a time.
    Date,
    /// A time of day, or a duration.
    Time,
}

#[derive(Clone, Debug, PartialEq)]
enum Item {
    Literal(String),
    /// `0`, `#` or `?`.
    Digit(u8),
    Point,
    Comma,
    Percent,
    /// `E+` or `E-`: whether a plus is shown.
    Exponent(bool),
    Slash,
    General,
    Text,
    Date(DatePart),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Test {
    Less,
    AtMost,
    Equal,
    Not,
    AtLeast,
    More,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Section {
    condition: Option<(Test, f64)>,
    items: Vec<Item>,
}

/// A format code, parsed.
///
/// ```
/// use scant_prompt_compress::sheet::NumberFormat;
/// let show = |code: &str, x: f64| {
///     let mut out = String::new();
///     NumberFormat::new(code, false).show(x, &mut out);
///     out
/// };
/// assert_eq!(show("#,##0.00", 1234567.891), "1,234,567.89");
/// assert_eq!(show("0.0%", 0.1234), "12.3%");
/// assert_eq!(show("yyyy-mm-dd hh:mm", 45000.75), "2023-03-15 18:00");
/// assert_eq!(show("#,##0;(#,##0)", -1500.0), "(1,500)");
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NumberFormat {
    code: String,
    sections: Vec<Section>,
    from_1904: bool,
}

impl NumberFormat {
    /// Parses a code; what cannot be understood is shown as literal text. `from_1904`: days count from 1904, not 1900.
    pub fn new(code: &str, from_1904: bool) -> NumberFormat {
        let sections = if is_general(code) { vec![] } else { split(code).iter().map(|s| parse(s)).collect() };
        NumberFormat { code: code.to_owned(), sections, from_1904 }
    }

    /// The format with a built-in number (ECMA-376 part 1, 18.8.30), as the American edition shows it.
    pub fn built_in(id: u32) -> Option<&'static str> {
        Some(match id {
            0 => "General",
            1 => "0",
            2 => "0.00",
            3 => "#,##0",
            4 => "#,##0.00",
            5 => "$#,##0;($#,##0)",
            6 => "$#,##0;[Red]($#,##0)",
            7 => "$#,##0.00;($#,##0.00)",
            8 => "$#,##0.00;[Red]($#,##0.00)",
            9 => "0%",
            10 => "0.00%",
            11 => "0.00E+00",
            12 => "# ?/?",
            13 => "# ??/??",
            14 | 27..=31 | 36 | 50..=58 => "m/d/yyyy",
            15 => "d-mmm-yy",
            16 => "d-mmm",
            17 => "mmm-yy",
            18 => "h:mm AM/PM",
            19 => "h:mm:ss AM/PM",
            20 | 32 => "h:mm",
            21 | 33 => "h:mm:ss",
            22 => "m/d/yyyy h:mm",
            37 => "#,##0;(#,##0)",
            38 => "#,##0;[Red](#,##0)",
            39 => "#,##0.00;(#,##0.00)",
            40 => "#,##0.00;[Red](#,##0.00)",
            41 => "_(* #,##0_);_(* (#,##0);_(* \"-\"_);_(@_)",
            42 => "_($* #,##0_);_($* (#,##0);_($* \"-\"_);_(@_)",
            43 => "_(* #,##0.00_);_(* (#,##0.00);_(* \"-\"??_);_(@_)",
            44 => "_($* #,##0.00_);_($* (#,##0.00);_($* \"-\"??_);_(@_)",
            45 => "mm:ss",
            46 => "[h]:mm:ss",
            47 => "mm:ss.0",
            48 => "##0.0E+0",
            49 => "@",
            _ => return None,
        })
    }

    /// The code; empty for the default format.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The kind of number it shows, by its first section.
    pub fn shows(&self) -> Shows {
        let Some(first) = self.sections.first() else { return Shows::Anything };
        let has = |f: fn(&Item) -> bool| first.items.iter().any(f);
        if has(|i| matches!(i, Item::Date(d) if d.is_day())) {
            Shows::Date
        } else if has(|i| matches!(i, Item::Date(_))) {
            Shows::Time
        } else if has(|i| matches!(i, Item::Percent)) {
            Shows::Percent
        } else if has(|i| matches!(i, Item::Exponent(_))) {
            Shows::Scientific
        } else if !has(|i| matches!(i, Item::Digit(_))) {
            Shows::Anything
        } else if has(|i| matches!(i, Item::Literal(t) if t.contains(['$', '€', '£', '¥', '₹', '₽', '₩']))) {
            Shows::Currency
        } else {
            Shows::Number
        }
    }

    /// Appends `x` as it is shown, without padding at the ends.
    pub fn show(&self, x: f64, out: &mut String) {
        if !x.is_finite() {
            out.push_str("#NUM!");
            return;
        }
        let Some((section, bare)) = self.section(x) else { return decimal::general(x, out) };
        let start = out.len();
        if section.items.iter().any(|i| matches!(i, Item::Date(_))) {
            if !date::show(x, self.from_1904, &section.items, out) {
                out.truncate(start);
                decimal::general(x, out);
            }
            return trim(out, start);
        }
        show_number(section, if bare { x.abs() } else { x }, out);
        trim(out, start);
    }

    /// Appends a text as it is shown: as it is, unless the format has a section for texts.
    pub fn show_text(&self, text: &str, out: &mut String) {
        let Some(section) = self.sections.get(3).or(match &self.sections[..] {
            [only] if only.items.contains(&Item::Text) => Some(only),
            _ => None,
        }) else {
            out.push_str(text);
            return;
        };
        for item in &section.items {
            match item {
                Item::Text => out.push_str(text),
                Item::Literal(t) => out.push_str(t),
                _ => {}
            }
        }
    }

    /// The section for `x`, and whether it shows the sign itself.
    fn section(&self, x: f64) -> Option<(&Section, bool)> {
        let s = &self.sections;
        if s.iter().any(|s| s.condition.is_some()) {
            let found = s.iter().take(3).find(|s| s.condition.is_none_or(|(test, y)| holds(test, x, y)));
            return found.or(s.last()).map(|s| (s, s.condition.is_some_and(|(_, y)| x < 0.0 && y <= 0.0)));
        }
        match s.len() {
            0 => None,
            1 => Some((&s[0], false)),
            _ if x < 0.0 => Some((&s[1], true)),
            2 => Some((&s[0], false)),
            _ if x == 0.0 => Some((&s[2], false)),
            _ => Some((&s[0], false)),
        }
    }
}

fn is_general(code: &str) -> bool {
    code.is_empty() || code.eq_ignore_ascii_case("general")
}

fn holds(test: Test, x: f64, y: f64) -> bool {
    match test {
        Test::Less => x < y,
        Test::AtMost => x <= y,
        Test::Equal => x == y,
        Test::Not => x != y,
        Test::AtLeast => x >= y,
        Test::More => x > y,
    }
}

/// Cuts the result's padding.
fn trim(out: &mut String, start: usize) {
    let kept = out[start..].trim();
    if kept.len() != out.len() - start {
        let kept = kept.to_owned();
        out.truncate(start);
        out.push_str(&kept);
    }
}

/// Sections of a code: cut at `;` outside of quotes and brackets.
fn split(code: &str) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (vec![], 0, false, false);
    for (i, c) in code.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '"' => quoted = !quoted,
            '\\' if !quoted => escaped = true,
            ';' if !quoted => {
                parts.push(&code[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&code[start..]);
    parts
}

fn parse(code: &str) -> Section {
    let mut section = Section::default();
    let mut rest = code;
    while let Some(c) = rest.chars().next() {
        let literal = |items: &mut Vec<Item>, text: &str| match items.last_mut() {
            Some(Item::Literal(t)) => t.push_str(text),
            _ => items.push(Item::Literal(text.to_owned())),
        };
        let mut used = c.len_utf8();
        let items = &mut section.items;
        let starts = |word: &str| rest.get(..word.len()).is_some_and(|r| r.eq_ignore_ascii_case(word));
        match c {
            '"' => {
                let end = rest[1..].find('"').map_or(rest.len(), |e| e + 1);
                literal(items, &rest[1..end]);
                used = (end + 1).min(rest.len());
            }
            '\\' | '_' | '*' => {
                let next = rest[1..].chars().next();
                used = 1 + next.map_or(0, char::len_utf8);
                if c == '\\' {
                    literal(items, &rest[1..used]);
                }
            }
            '[' => {
                let end = rest.find(']').map_or(rest.len(), |e| e);
                let inside = &rest[1..end];
                used = (end + 1).min(rest.len());
                if let Some(symbol) = inside.strip_prefix('$') {
                    literal(items, symbol.split('-').next().unwrap_or(""));
                } else if let Some(part) = DatePart::elapsed(inside) {
                    items.push(Item::Date(part));
                } else if let Some(condition) = condition(inside) {
                    section.condition = Some(condition);
                }
            }
            '0' | '#' | '?' => items.push(Item::Digit(c as u8)),
            '.' => items.push(Item::Point),
            ',' => items.push(Item::Comma),
            '%' => items.push(Item::Percent),
            '/' => items.push(Item::Slash),
            '@' => items.push(Item::Text),
            _ if starts("general") => {
                items.push(Item::General);
                used = 7;
            }
            'E' | 'e' if matches!(rest.as_bytes().get(1), Some(b'+' | b'-')) => {
                items.push(Item::Exponent(rest.as_bytes()[1] == b'+'));
                used = 2;
            }
            _ => match DatePart::leading(rest) {
                Some((part, len)) => {
                    items.push(Item::Date(part));
                    used = len;
                }
                None => literal(items, &rest[..used]),
            },
        }
        rest = &rest[used..];
    }
    if section.items.iter().any(|i| matches!(i, Item::Date(_))) {
        date::settle(&mut section.items);
    } else {
        settle_number(&mut section.items);
    }
    section
}

fn condition(text: &str) -> Option<(Test, f64)> {
    const TESTS: [(&str, Test); 6] =
        [("<=", Test::AtMost), (">=", Test::AtLeast), ("<>", Test::Not), ("<", Test::Less), (">", Test::More), ("=", Test::Equal)];
    TESTS.iter().find_map(|(sign, test)| Some((*test, text.strip_prefix(sign)?.trim().parse().ok()?)))
}

/// A slash or comma away from digits is a literal.
fn settle_number(items: &mut [Item]) {
    let digit = |i: Option<&Item>| matches!(i, Some(Item::Digit(_)));
    for i in 0..items.len() {
        // The denominator may be a number written out: `?/8`.
        let number = matches!(items.get(i + 1), Some(Item::Literal(t)) if t.starts_with(|c: char| c.is_ascii_digit()));
        let fraction = i > 0 && digit(items.get(i - 1)) && (digit(items.get(i + 1)) || number);
        if items[i] == Item::Slash && !fraction {
            items[i] = Item::Literal("/".to_owned());
        }
    }
}

fn show_number(section: &Section, x: f64, out: &mut String) {
    let items = &section.items;
    if let Some(slash) = items.iter().position(|i| *i == Item::Slash) {
        return decimal::fraction(items, slash, x, out);
    }
    let last_digit = items.iter().rposition(|i| matches!(i, Item::Digit(_)));
    let exponent = items.iter().position(|i| matches!(i, Item::Exponent(_)));
    let point = items.iter().position(|i| *i == Item::Point);
    let mantissa_end = exponent.unwrap_or(items.len());
    let int_end = point.unwrap_or(mantissa_end).min(mantissa_end);
    let count = |range: &[Item]| range.iter().filter(|i| matches!(i, Item::Digit(_))).count();
    let (ints, decimals) = (count(&items[..int_end]), count(&items[int_end..mantissa_end]));

    // Commas after the last digit divide by 1,000; one between digits groups.
    let mut power = 2 * items.iter().filter(|i| **i == Item::Percent).count() as i32;
    let mut grouped = false;
    for (i, item) in items[..mantissa_end].iter().enumerate() {
        if *item == Item::Comma {
            let digits_after = items[i..int_end.max(i)].iter().any(|i| matches!(i, Item::Digit(_)));
            if digits_after {
                grouped = true;
            } else if last_digit.is_some_and(|d| d < i) || point.is_some_and(|p| p >= i) {
                power -= 3;
            }
        }
    }
    let mut number = Decimal::new(x.abs());
    number.exponent += power;
    let mut shift = 0;
    if exponent.is_some() && !number.is_zero() {
        // With several integer places the exponent is a multiple of their number.
        shift = number.exponent - 1;
        shift = if ints > 1 { shift.div_euclid(ints as i32) * ints as i32 } else { shift - (ints as i32 - 1).min(0) };
        number.exponent -= shift;
        let before = number.exponent;
        number.round(decimals);
        if number.exponent > before && number.exponent > ints.max(1) as i32 {
            let step = ints.max(1) as i32;
            number.exponent -= step;
            shift += step;
        }
    }
    number.round(decimals);
    if x < 0.0 && last_digit.is_some() && !number.is_zero() {
        out.push('-');
    }
    let digits = decimal::Layout { items, int_end, mantissa_end, ints, grouped };
    digits.show(&number, x, out);
    if let Some(at) = exponent {
        let plus = items[at] == Item::Exponent(true);
        out.push('E');
        if shift < 0 {
            out.push('-');
        } else if plus {
            out.push('+');
        }
        let width = count(&items[at..]);
        out.push_str(&format!("{:0width$}", shift.abs()));
        for item in &items[at..] {
            if let Item::Literal(t) = item {
                out.push_str(t);
            }
        }
    }
}
