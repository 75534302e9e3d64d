//! What a scalar is: go-yaml v3's mix of YAML 1.1 and 1.2.
//!
//! `0755` and `0o755` are 493, `1_000` is 1000, `yes` and `on` are texts, `2023-01-02` is a time, `1e3` and numbers past 64 bits
//! are floats.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::node::{Node, NodeKind};
use crate::tree::{Text, Time, Value};

/// A scalar's value; nothing where its tag says something that it is not.
pub(super) fn resolve(node: &Node<'_>) -> Option<Value> {
    let NodeKind::Scalar { value, .. } = &node.kind else { return None };
    if node.is_indicated_text() {
        return Some(Value::text(&**value));
    }
    let tag = node.tag.as_deref();
    let found = match tag {
        None => return Some(plain(value)),
        Some("!!binary") => {
            let packed: String = value.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
            return STANDARD.decode(packed).ok().map(|bytes| Value::Text(Text::from(bytes)));
        }
        Some("!!bool" | "!!int" | "!!float" | "!!null" | "!!timestamp") => scalar(value, tag == Some("!!timestamp")),
        Some(_) => return Some(Value::text(&**value)),
    };
    match (tag?, found) {
        ("!!float", Value::Int(int)) => {
            #[allow(clippy::cast_precision_loss, reason = "the tag asks for a float")]
            let float = int as f64;
            Some(Value::Float(float))
        }
        ("!!bool", found @ Value::Bool(_))
        | ("!!int", found @ (Value::Int(_) | Value::Unsupported { .. }))
        | ("!!float", found @ Value::Float(_))
        | ("!!null", found @ Value::Null)
        | ("!!timestamp", found @ Value::Time(_)) => Some(found),
        _ => None,
    }
}

/// What a plain scalar without a tag is.
pub(super) fn plain(text: &str) -> Value {
    scalar(text, true)
}

fn scalar(text: &str, times: bool) -> Value {
    let as_text = || Value::text(text);
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        _ => {}
    }
    match text.as_bytes()[0] {
        b'.' => float(text).map_or_else(as_text, Value::Float),
        b'0'..=b'9' | b'+' | b'-' => {
            if times && let Some(time) = timestamp(text) {
                return Value::Time(time);
            }
            let bare: String;
            let digits = if text.contains('_') {
                bare = text.replace('_', "");
                &bare
            } else {
                text
            };
            integer(digits).or_else(|| float(digits).map(Value::Float)).unwrap_or_else(as_text)
        }
        _ => as_text(),
    }
}

fn integer(text: &str) -> Option<Value> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (Some(true), &text[1..]),
        b'+' => (Some(false), &text[1..]),
        _ => (None, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let size = u64::from_str_radix(digits, radix).ok()?;
    match sign {
        Some(true) => 0i64.checked_sub_unsigned(size).map(Value::Int),
        _ => match (i64::try_from(size), sign) {
            (Ok(int), _) => Some(Value::Int(int)),
            (Err(_), None) => Some(Value::Unsupported { text: size.to_string(), kind: "uint64" }),
            (Err(_), Some(_)) => None,
        },
    }
}

/// Digits, a point, an exponent; nothing where it is too large for a float.
fn float(text: &str) -> Option<f64> {
    let rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(whole, fraction)| (whole, Some(fraction)));
    let well_formed =
        digits(whole) && fraction.is_none_or(digits) && (!whole.is_empty() || fraction.is_some_and(|f| !f.is_empty()));
    let exponent_fits = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['+', '-']).unwrap_or(e);
        !e.is_empty() && digits(e)
    });
    if !well_formed || !exponent_fits {
        return None;
    }
    text.parse().ok().filter(|float: &f64| float.is_finite())
}

/// The forms of time that are read: a date; with `T` or `t`, a time and an offset; with spaces and a time, in UTC.
fn timestamp(text: &str) -> Option<Time> {
    let (year, rest) = text.split_at_checked(4)?;
    if !year.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut rest = rest.strip_prefix('-')?;
    let month = number(&mut rest)?;
    rest = rest.strip_prefix('-')?;
    let day = number(&mut rest)?;
    let date = |clock: &str, zone: &str| Time::parse(&format!("{year}-{month:02}-{day:02}T{clock}{zone}"));
    if rest.is_empty() {
        return date("00:00:00", "Z");
    }
    let spaced = rest.starts_with(' ');
    rest = if spaced { rest.trim_start_matches(' ') } else { rest.strip_prefix(['T', 't'])? };
    let hour = number(&mut rest)?;
    rest = rest.strip_prefix(':')?;
    let minute = number(&mut rest)?;
    rest = rest.strip_prefix(':')?;
    let second = number(&mut rest)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut clock = format!("{hour:02}:{minute:02}:{second:02}");
    if let Some(fraction) = rest.strip_prefix(['.', ',']) {
        let count = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if count == 0 {
            return None;
        }
        clock.push('.');
        clock.push_str(&fraction[..count.min(9)]);
        rest = &fraction[count..];
    }
    if spaced {
        return if rest.is_empty() { date(&clock, "Z") } else { None };
    }
    let zone = rest.as_bytes();
    let offset = zone.len() == 6 && matches!(zone[0], b'+' | b'-') && zone[3] == b':';
    if rest == "Z" || offset { date(&clock, rest) } else { None }
}

/// A number of one or two digits.
fn number(rest: &mut &str) -> Option<u32> {
    let count = rest.bytes().take(2).take_while(u8::is_ascii_digit).count();
    let (digits, after) = rest.split_at(count);
    *rest = after;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (text, int) in [
            ("42", 42),
            ("-17", -17),
            ("+5", 5),
            ("0755", 493),
            ("0o755", 493),
            ("-0o17", -15),
            ("0xFF", 255),
            ("0b1010", 10),
            ("1_000_000", 1_000_000),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert!(plain(text) == Value::Int(int), "{text}");
        }
        for (text, float) in [
            ("08", 8.0),
            ("1.", 1.0),
            (".5", 0.5),
            ("-.5e1", -5.0),
            ("1e3", 1000.0),
            ("123456789012345678901234567890", 1.2345678901234568e29),
        ] {
            assert!(plain(text) == Value::Float(float), "{text}");
        }
        assert!(plain("18446744073709551615") == Value::Unsupported { text: "18446744073709551615".into(), kind: "uint64" });
    }

    #[test]
    fn texts_that_look_like_something_else() {
        for text in [
            "yes",
            "no",
            "on",
            "y",
            "0x",
            "0o8",
            "1e999",
            "--1",
            "1_e",
            "1:30",
            ".",
            "1.2.3",
            "+",
            "nil",
            "0b2",
            "2001-12-14 21:59:43.10 -5",
            "2023-13-01",
            "2023-1",
            "2023-02-30",
        ] {
            assert!(plain(text) == Value::text(text), "{text}");
        }
    }

    #[test]
    fn times() {
        for (text, time) in [
            ("2023-01-02", "2023-01-02T00:00:00Z"),
            ("2023-1-2", "2023-01-02T00:00:00Z"),
            ("2001-12-14t21:59:43.10-05:00", "2001-12-14T21:59:43.1-05:00"),
            ("2001-12-14 21:59:43.1234567891", "2001-12-14T21:59:43.123456789Z"),
        ] {
            assert!(plain(text) == Value::Time(Time::parse(time).unwrap()), "{text}");
        }
    }
}
