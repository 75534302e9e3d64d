//! JSON as the reference prints it: two spaces, names of data in order, `<`, `>` and `&` escaped.

use coffer_types::Json;
use std::fmt::Write as _;

/// Indented, without a newline at the end. Members stand as they are in the object: sort what is data.
pub(crate) fn pretty(value: &Json) -> String {
    let mut out = String::new();
    write(value, 0, &mut out);
    out
}

/// The same value with the members of every object sorted by name.
pub(crate) fn sorted(value: &Json) -> Json {
    match value {
        Json::Array(items) => Json::Array(items.iter().map(sorted).collect()),
        Json::Object(object) => {
            let mut members: Vec<_> = object.iter().collect();
            members.sort_by(|a, b| a.0.cmp(b.0));
            Json::Object(members.into_iter().map(|(name, value)| (name, sorted(value))).collect())
        }
        other => other.clone(),
    }
}

/// The members named first in that order, then the others by name.
pub(crate) fn ordered(value: &Json, first: &[&str]) -> Json {
    let Some(object) = value.as_object() else { return value.clone() };
    let known = first.iter().filter_map(|name| Some((*name, object.get(name)?)));
    let mut rest: Vec<_> = object.iter().filter(|(name, _)| !first.contains(name)).collect();
    rest.sort_by(|a, b| a.0.cmp(b.0));
    // What stands in the order given is not sorted again inside.
    Json::Object(known.chain(rest).map(|(name, value)| (name, value.clone())).collect())
}

fn write(value: &Json, depth: usize, out: &mut String) {
    let line = |depth: usize, out: &mut String| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    match value {
        Json::Null => out.push_str("null"),
        Json::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Json::Number(n) => out.push_str(n.as_str()),
        Json::String(s) => string(s.as_str(), out),
        Json::Array(items) if items.is_empty() => out.push_str("[]"),
        Json::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                line(depth + 1, out);
                write(item, depth + 1, out);
            }
            line(depth, out);
            out.push(']');
        }
        Json::Object(object) if object.is_empty() => out.push_str("{}"),
        Json::Object(object) => {
            out.push('{');
            for (i, (name, value)) in object.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                line(depth + 1, out);
                string(name, out);
                out.push_str(": ");
                write(value, depth + 1, out);
            }
            line(depth, out);
            out.push('}');
        }
    }
}

fn string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                write!(out, "\\u{:04x}", u32::from(c)).unwrap_or_default()
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_types::json::{Limits, parse};

    #[test]
    fn numbers_stay_and_html_is_escaped() {
        let value = parse(
            br#"{"b":12345678901234567890,"a":{"h":"<a&b>\u0001\n\"","f":1.10,"l":[],"o":{}},"c":[1,null]}"#,
            &Limits::NONE,
        )
        .unwrap();
        let want = "{\n  \"a\": {\n    \"f\": 1.10,\n    \"h\": \"\\u003ca\\u0026b\\u003e\\u0001\\n\\\"\",\n    \"l\": [],\n    \"o\": {}\n  },\n  \"b\": 12345678901234567890,\n  \"c\": [\n    1,\n    null\n  ]\n}";
        assert_eq!(pretty(&sorted(&value)), want);
    }
}
