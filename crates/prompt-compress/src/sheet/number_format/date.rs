//! Dates and times: serial numbers of days, and the parts that formats show.

use super::Item;
use std::fmt::Write;

/// A part of a date, time or duration; the number is the count of letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DatePart {
    Year(usize),
    Month(usize),
    Day(usize),
    Hour(usize),
    Minute(usize),
    Second(usize),
    /// Digits of a second's fraction.
    Fraction(usize),
    /// `AM/PM`, or `A/P` if short.
    Noon {
        short: bool,
    },
    /// `[h]`, `[m]`, `[s]`: seconds in the unit, and the count of letters.
    Elapsed(u32, usize),
}

const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl DatePart {
    /// Whether it is part of a day, not of a time.
    pub(super) fn is_day(self) -> bool {
        matches!(self, DatePart::Year(_) | DatePart::Month(_) | DatePart::Day(_))
    }

    /// What stands between brackets.
    pub(super) fn elapsed(inside: &str) -> Option<DatePart> {
        let first = inside.bytes().next()?.to_ascii_lowercase();
        let seconds = match first {
            b'h' => 3600,
            b'm' => 60,
            b's' => 1,
            _ => return None,
        };
        inside.bytes().all(|b| b.to_ascii_lowercase() == first).then_some(DatePart::Elapsed(seconds, inside.len()))
    }

    /// The part that `text` begins with, and its length.
    pub(super) fn leading(text: &str) -> Option<(DatePart, usize)> {
        for (word, short) in [("AM/PM", false), ("A/P", true)] {
            if text.get(..word.len()).is_some_and(|t| t.eq_ignore_ascii_case(word)) {
                return Some((DatePart::Noon { short }, word.len()));
            }
        }
        let first = text.bytes().next()?.to_ascii_lowercase();
        let n = text.bytes().take_while(|b| b.to_ascii_lowercase() == first).count();
        let part = match first {
            b'y' | b'e' => DatePart::Year(if first == b'e' { 4 } else { n }),
            b'm' => DatePart::Month(n),
            b'd' => DatePart::Day(n),
            b'h' => DatePart::Hour(n),
            b's' => DatePart::Second(n),
            _ => return None,
        };
        Some((part, n))
    }
}

/// Settles what depends on the neighbours: an `m` after hours or before seconds is minutes, zeros after seconds are a fraction.
pub(super) fn settle(items: &mut Vec<Item>) {
    let parts: Vec<(usize, DatePart)> =
        items.iter().enumerate().filter_map(|(i, item)| if let Item::Date(p) = item { Some((i, *p)) } else { None }).collect();
    for (k, &(i, part)) in parts.iter().enumerate() {
        let DatePart::Month(n) = part else { continue };
        let before = k.checked_sub(1).map(|b| parts[b].1);
        let after = parts.get(k + 1).map(|a| a.1);
        let hours = matches!(before, Some(DatePart::Hour(_) | DatePart::Elapsed(3600, _)));
        if n <= 2 && (hours || matches!(after, Some(DatePart::Second(_) | DatePart::Elapsed(1, _)))) {
            items[i] = Item::Date(DatePart::Minute(n));
        }
    }
    let mut settled: Vec<Item> = Vec::with_capacity(items.len());
    let mut point = false;
    for item in items.drain(..) {
        let after_point = std::mem::replace(&mut point, item == Item::Point);
        match (item, settled.last_mut()) {
            (Item::Digit(_), Some(Item::Date(DatePart::Fraction(n)))) => *n += 1,
            (Item::Digit(_), Some(Item::Literal(t))) if after_point => {
                t.pop();
                settled.push(Item::Date(DatePart::Fraction(1)));
            }
            (Item::Digit(d), _) => settled.push(Item::Literal(char::from(d).to_string())),
            (Item::Point, _) => settled.push(Item::Literal(".".to_owned())),
            (Item::Comma, _) => settled.push(Item::Literal(",".to_owned())),
            (Item::Slash, _) => settled.push(Item::Literal("/".to_owned())),
            (other, _) => settled.push(other),
        }
    }
    *items = settled;
}

/// Year, month and day of a serial number's day.
pub(crate) fn civil(day: i64, from_1904: bool) -> (i64, u32, u32) {
    // Day 60 of the 1900 system is a 29 February that never was; before it, days are one short.
    if !from_1904 && day == 60 {
        return (1900, 2, 29);
    }
    let unix = if from_1904 { day - 24107 } else { day - 25569 + i64::from(day < 60) };
    // Days of the proleptic Gregorian calendar, counted in eras of 400 years from 1 March (Hinnant 2013).
    let z = unix + 719_468;
    let (era, of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = (of_year - (153 * shifted + 2) / 5 + 1) as u32;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 } as u32;
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// The serial number (1900 system) of a day.
pub(crate) fn serial(year: i64, month: u32, day: u32) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (y.div_euclid(400), y.rem_euclid(400));
    let shifted = i64::from(if month > 2 { month - 3 } else { month + 9 });
    let of_year = (153 * shifted + 2) / 5 + i64::from(day) - 1;
    let unix = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    unix + 25569 - i64::from(unix + 25569 <= 60)
}

/// Appends a date; `false` if no date has this number.
pub(super) fn show(x: f64, from_1904: bool, items: &[Item], out: &mut String) -> bool {
    let elapsed = items.iter().any(|i| matches!(i, Item::Date(DatePart::Elapsed(..))));
    if x >= 2_958_466.0 || (x < 0.0 && !elapsed) {
        return false;
    }
    let digits = items.iter().find_map(|i| if let Item::Date(DatePart::Fraction(n)) = i { Some((*n).min(9) as u32) } else { None });
    let scale = 10f64.powi(digits.unwrap_or(0) as i32);
    // Ticks of a second, or of its fraction if that is shown.
    let ticks = (x.abs() * 86_400.0 * scale).round() as u64;
    let (seconds, fraction) = (ticks / scale as u64, ticks % scale as u64);
    let (day, second) = ((seconds / 86_400) as i64, seconds % 86_400);
    let (year, month, date) = civil(day, from_1904);
    let noon = items.iter().any(|i| matches!(i, Item::Date(DatePart::Noon { .. })));
    if x < 0.0 {
        out.push('-');
    }
    for item in items {
        let part = match item {
            Item::Date(part) => *part,
            Item::Literal(t) => {
                out.push_str(t);
                continue;
            }
            _ => continue,
        };
        // Writing to a string cannot fail.
        let _ = match part {
            DatePart::Year(n) if n <= 2 => write!(out, "{:02}", year % 100),
            DatePart::Year(_) => write!(out, "{year:04}"),
            DatePart::Month(n) => {
                let name = MONTHS[month as usize - 1];
                match n {
                    1 => write!(out, "{month}"),
                    2 => write!(out, "{month:02}"),
                    3 => out.write_str(&name[..3]),
                    5 => out.write_str(&name[..1]),
                    _ => out.write_str(name),
                }
            }
            DatePart::Day(n) => {
                let weekday = if from_1904 { day + 5 } else { day + 6 };
                let name = DAYS[weekday.rem_euclid(7) as usize];
                match n {
                    1 => write!(out, "{date}"),
                    2 => write!(out, "{date:02}"),
                    3 => out.write_str(&name[..3]),
                    _ => out.write_str(name),
                }
            }
            DatePart::Hour(n) => {
                let hour = second / 3600;
                let hour = if noon { (hour + 11) % 12 + 1 } else { hour };
                write!(out, "{hour:0width$}", width = n.min(2))
            }
            DatePart::Minute(n) => write!(out, "{:0width$}", second / 60 % 60, width = n.min(2)),
            DatePart::Second(n) => write!(out, "{:0width$}", second % 60, width = n.min(2)),
            DatePart::Fraction(n) => write!(out, ".{fraction:0width$}", width = n.min(9)),
            DatePart::Noon { short } => {
                let text = if second < 43_200 { "AM" } else { "PM" };
                out.write_str(if short { &text[..1] } else { text })
            }
            DatePart::Elapsed(unit, n) => write!(out, "{:0width$}", seconds / u64::from(unit), width = n.min(9)),
        };
    }
    true
}
