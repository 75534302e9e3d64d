//! Lengths of time as Vault's fields write them.

use crate::error::{Error, Result};
use std::fmt;
use std::time::Duration;

/// A length of time in a field: `"1h30m"`, `"90"`, `90`, `"2d"`; may be negative where a field says so.
/// Nanoseconds inside.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Span(pub i64);

impl Span {
    pub const ZERO: Self = Self(0);

    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    pub const fn secs(self) -> i64 {
        self.0 / 1_000_000_000
    }

    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    pub fn duration(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }

    /// Go's `time.ParseDuration` with Vault's additions: a bare number is seconds, `d` is a day.
    /// The error quotes the text: durations are not secrets.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = || Error::bad_request(format!("time: invalid duration {text:?}"));
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::ZERO);
        }
        let (sign, mut rest) = match text.as_bytes()[0] {
            b'-' => (-1i128, &text[1..]),
            b'+' => (1, &text[1..]),
            _ => (1, text),
        };
        if rest.is_empty() {
            return Err(bad());
        }
        if rest.bytes().all(|b| b.is_ascii_digit()) {
            let secs: i64 = rest.parse().map_err(|_| bad())?;
            return Self::bounded(sign * i128::from(secs) * 1_000_000_000).ok_or_else(bad);
        }
        let mut total: i128 = 0;
        while !rest.is_empty() {
            let number = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
            let (digits, tail) = rest.split_at(number);
            let unit = tail.bytes().take_while(|b| !b.is_ascii_digit() && *b != b'.').count();
            let (word, tail) = tail.split_at(unit);
            let scale: i128 = match word {
                "ns" => 1,
                "us" | "µs" | "μs" => 1_000,
                "ms" => 1_000_000,
                "s" => 1_000_000_000,
                "m" => 60_000_000_000,
                "h" => 3_600_000_000_000,
                "d" => 86_400_000_000_000,
                _ => return Err(bad()),
            };
            let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
            if whole.is_empty() && fraction.is_empty() || whole.len() > 18 || fraction.contains('.') {
                return Err(bad());
            }
            let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| bad())? };
            total += whole * scale;
            let mut part = scale;
            for digit in fraction.bytes().take(18) {
                part /= 10;
                total += i128::from(digit - b'0') * part;
            }
            rest = tail;
        }
        Self::bounded(sign * total).ok_or_else(bad)
    }

    fn bounded(nanos: i128) -> Option<Self> {
        i64::try_from(nanos).ok().map(Self)
    }
}

/// As Go prints a duration: `1h30m0s`, `5m0s`, `1.5s`, `0s`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        if left == 0 {
            return f.write_str("0s");
        }
        if left < 1_000_000_000 {
            let (unit, scale) = match left {
                n if n < 1_000 => ("ns", 1),
                n if n < 1_000_000 => ("µs", 1_000),
                _ => ("ms", 1_000_000),
            };
            return write!(f, "{}{unit}", decimal(left / scale, left % scale, scale));
        }
        let hours = left / 3_600_000_000_000;
        left %= 3_600_000_000_000;
        let minutes = left / 60_000_000_000;
        left %= 60_000_000_000;
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        write!(f, "{}s", decimal(left / 1_000_000_000, left % 1_000_000_000, 1_000_000_000))
    }
}

fn decimal(whole: u64, part: u64, scale: u64) -> String {
    if part == 0 {
        return whole.to_string();
    }
    let width = scale.ilog10() as usize;
    format!("{whole}.{}", format!("{part:0width$}").trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_gos_and_vaults_forms() {
        for (text, secs) in [("1h30m", 5400), ("90", 90), ("2d", 172_800), ("-5m", -300), ("", 0), ("1.5h", 5400), ("0s", 0)] {
            assert_eq!(Span::parse(text).unwrap(), Span::from_secs(secs), "{text}");
        }
        assert_eq!(Span::parse("1500ms").unwrap().0, 1_500_000_000);
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["abc", "1", "5x", "h", "1h-5m", "--5s", "99999999999999999999", "1..5s", ".", "5 m", "300000000h", "1h30"] {
            if text == "1" {
                continue;
            }
            assert!(Span::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn prints_like_go() {
        for (nanos, text) in
            [(0, "0s"), (300_000_000_000, "5m0s"), (5_400_000_000_000, "1h30m0s"), (1_500_000_000, "1.5s"), (1_500_000, "1.5ms")]
        {
            assert_eq!(Span(nanos).to_string(), text);
        }
    }
}
