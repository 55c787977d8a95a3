//! What a shown value is, by its look.

use std::fmt;

/// Kinds of data that a range can stand for (Dong et al. 2024, section 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DataType {
    /// A mail address.
    Email,
    /// Hundredths, with a percent sign.
    Percentage,
    /// An amount with a currency sign or code.
    Currency,
    /// A number with a power of ten.
    Scientific,
    /// A day, perhaps with a time.
    Date,
    /// A time of day.
    Time,
    /// A year among years.
    Year,
    /// A whole number.
    Integer,
    /// A number with decimals.
    Float,
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DataType::Email => "EmailData",
            DataType::Percentage => "PercentageNum",
            DataType::Currency => "CurrencyData",
            DataType::Scientific => "ScientificNum",
            DataType::Date => "DateData",
            DataType::Time => "TimeData",
            DataType::Year => "YearData",
            DataType::Integer => "IntNum",
            DataType::Float => "FloatNum",
        })
    }
}

const CURRENCY_SIGNS: [char; 8] = ['$', '€', '£', '¥', '₹', '₽', '₩', '₺'];
const CURRENCY_CODES: [&str; 12] = ["USD", "EUR", "GBP", "JPY", "CNY", "INR", "CHF", "CAD", "AUD", "SEK", "NOK", "BRL"];
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// The type of a shown value; `None` for any other text. Years are whole numbers here: telling them apart needs their neighbours.
///
/// ```
/// use scant_prompt_compress::sheet::{DataType, recognise};
/// assert_eq!(recognise("12.5%"), Some(DataType::Percentage));
/// assert_eq!(recognise("2024-05-01"), Some(DataType::Date));
/// assert_eq!(recognise("(1,200)"), Some(DataType::Integer));
/// assert_eq!(recognise("bolts, 12 mm"), None);
/// ```
pub fn recognise(text: &str) -> Option<DataType> {
    let text = text.trim();
    if text.is_empty() || text.len() > 64 {
        return None;
    }
    if is_email(text) {
        return Some(DataType::Email);
    }
    if text.strip_suffix('%').is_some_and(|t| number(t.trim()).is_some()) {
        return Some(DataType::Percentage);
    }
    if is_currency(text) {
        return Some(DataType::Currency);
    }
    if is_scientific(text) {
        return Some(DataType::Scientific);
    }
    let mut parts = text.splitn(2, [' ', 'T']);
    let (first, rest) = (parts.next().unwrap_or(""), parts.next());
    if is_date(text) || (is_date(first) && rest.is_some_and(is_time)) {
        return Some(DataType::Date);
    }
    if is_time(text) {
        return Some(DataType::Time);
    }
    number(text)
}

/// A plain number: digits, perhaps grouped by commas, perhaps in brackets or with a sign.
fn number(text: &str) -> Option<DataType> {
    let inside = text.strip_prefix('(').and_then(|t| t.strip_suffix(')')).unwrap_or(text);
    let digits = inside.strip_prefix(['-', '+']).unwrap_or(inside);
    let (whole, decimals) = digits.split_once('.').map_or((digits, None), |(w, d)| (w, Some(d)));
    let all_digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    let mut groups = whole.split(',');
    let first = groups.next().unwrap_or("");
    let grouped = whole.contains(',');
    let whole_ok = all_digits(first) && (!grouped || (1..=3).contains(&first.len())) && groups.all(|g| g.len() == 3 && all_digits(g));
    let some = !whole.is_empty() || decimals.is_some_and(|d| !d.is_empty());
    if !whole_ok || !some || !decimals.is_none_or(all_digits) {
        return None;
    }
    // A number such as 007 is a name.
    if decimals.is_none() && !grouped && first.len() > 1 && first.starts_with('0') {
        return None;
    }
    Some(if decimals.is_some() { DataType::Float } else { DataType::Integer })
}

fn is_email(text: &str) -> bool {
    let Some((name, host)) = text.split_once('@') else { return false };
    let ok = |t: &str, more: &[u8]| !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b));
    let last = host.rsplit('.').next().unwrap_or("");
    ok(name, b"._%+-") && ok(host, b".-") && host.contains('.') && last.len() >= 2 && last.bytes().all(|b| b.is_ascii_alphabetic())
}

fn is_currency(text: &str) -> bool {
    let inside = text.strip_prefix('(').and_then(|t| t.strip_suffix(')')).unwrap_or(text);
    let inside = inside.strip_prefix('-').unwrap_or(inside);
    let bare = CURRENCY_SIGNS.iter().find_map(|&c| inside.strip_prefix(c).or(inside.strip_suffix(c)));
    let bare = bare.or_else(|| CURRENCY_CODES.iter().find_map(|c| inside.strip_prefix(c).or(inside.strip_suffix(c))));
    bare.is_some_and(|t| number(t.trim()).is_some())
}

fn is_scientific(text: &str) -> bool {
    let Some((mantissa, power)) = text.split_once(['e', 'E']) else { return false };
    let digits = power.strip_prefix(['+', '-']).unwrap_or(power);
    number(mantissa).is_some() && (1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
}

fn is_time(text: &str) -> bool {
    let text = text.trim_end_matches(['Z']).trim_end();
    let bare = ["AM", "PM", "am", "pm"].iter().find_map(|n| text.strip_suffix(n)).unwrap_or(text).trim_end();
    let mut parts = bare.split(':');
    let small = |t: &str, max: u32| t.len() <= 2 && t.parse::<u32>().is_ok_and(|n| n < max);
    let hours = parts.next().is_some_and(|t| small(t, 24));
    let minutes = parts.next().is_some_and(|t| small(t, 60));
    let seconds = parts.next().is_none_or(|t| t.split('.').next().is_some_and(|t| small(t, 60)));
    hours && minutes && seconds && parts.next().is_none()
}

fn is_date(text: &str) -> bool {
    let year = |t: &str| t.len() == 4 && t.parse::<u32>().is_ok_and(|y| (1000..3000).contains(&y));
    let short = |t: &str, max: u32| (1..=2).contains(&t.len()) && t.parse::<u32>().is_ok_and(|n| (1..=max).contains(&n));
    let month = |t: &str| {
        let lower = t.trim_end_matches('.').to_lowercase();
        lower.len() >= 3 && MONTHS.iter().any(|m| lower.starts_with(m)) && lower.len() <= 9 && lower.bytes().all(|b| b.is_ascii_lowercase())
    };
    for separator in ['-', '/', '.', ' '] {
        let parts: Vec<&str> = text.split(separator).map(|p| p.trim_end_matches(',')).collect();
        match parts[..] {
            [a, b, c] => {
                let numeric = (year(a) && short(b, 12) && short(c, 31))
                    || (short(a, 31) && short(b, 31) && (year(c) || (c.len() == 2 && separator != '.' && c.parse::<u32>().is_ok())));
                let named = (short(a, 31) && month(b) && (year(c) || c.len() == 2)) || (month(a) && short(b, 31) && year(c));
                if (separator != ' ' && numeric) || named {
                    return true;
                }
            }
            [a, b] if (month(a) && (year(b) || (separator == '-' && short(b, 99)))) || (separator == '-' && short(a, 31) && month(b)) => {
                return true;
            }
            _ => {}
        }
    }
    false
}
