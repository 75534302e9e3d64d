//! Values as texts, for formats that have nothing else.

use crate::tree::{Element, Item, Value};

/// A leaf as the reference writes it in dotenv and INI files: floats with a point or an exponent, null as `<nil>`; lists and maps, which
/// those formats lack, as Go prints them.
pub(crate) fn plain_text(value: &Value) -> String {
    match value {
        Value::Float(number) => float(*number),
        Value::Time(time) => whole_seconds(time.as_str()),
        other => printed(other),
    }
}

/// RFC 3339 without the fraction, which the reference drops here.
fn whole_seconds(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, rest)) => seconds.to_owned() + rest.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => time.to_owned(),
    }
}

/// Go's `%v`.
fn printed(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => general(*number, 21, 'e'),
        Value::Text(text) | Value::Bytes(text) => text.lossy().to_string(),
        Value::Time(time) => time.as_str().to_owned(),
        Value::Unsupported { text, .. } => text.clone(),
        Value::List(list) => {
            let parts: Vec<String> = list
                .iter()
                .map(|element| match element {
                    Element::Value(value, _) => printed(value),
                    Element::Comment(comment) => format!("{{{} {}}}", *comment.text.lossy(), comment.inline),
                })
                .collect();
            format!("[{}]", parts.join(" "))
        }
        Value::Map(branch) => {
            let parts: Vec<String> = branch
                .items
                .iter()
                .map(|item| match item {
                    Item::Entry(entry) => format!("{{{} {}}}", entry.key.text(), printed(&entry.value)),
                    Item::Comment(comment) => format!("{{{{{} {}}} <nil>}}", *comment.text.lossy(), comment.inline),
                })
                .collect();
            format!("[{}]", parts.join(" "))
        }
    }
}

/// `G` with the shortest digits, and `.0` where it would look like an integer.
fn float(number: f64) -> String {
    let text = general(number, 6, 'E');
    if number.is_finite() && !text.contains(['.', 'E']) { text + ".0" } else { text }
}

/// Shortest digits; with an exponent of two digits at least where it is below -4 or from `from` on.
fn general(number: f64, from: i32, sign: char) -> String {
    if !number.is_finite() || number == 0.0 {
        return crate::value::float_text(number);
    }
    let text = format!("{number:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..from).contains(&exponent) {
        return number.to_string();
    }
    format!("{digits}{sign}{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_look_like_floats() {
        for (number, text) in [
            (1.0, "1.0"),
            (1000.0, "1000.0"),
            (6.022e23, "6.022E+23"),
            (1e-7, "1E-07"),
            (3.25, "3.25"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
            (0.0, "0.0"),
        ] {
            assert_eq!(plain_text(&Value::Float(number)), text);
        }
    }
}
