//! YAML: block style, sorted names, quotes where a reader would else take a text for something else.

use coffer_types::Json;
use std::fmt::Write as _;

/// The document, with a newline at the end.
pub(crate) fn text(value: &Json) -> String {
    let mut out = String::new();
    match value {
        Json::Array(items) if !items.is_empty() => array(items, 0, &mut out),
        Json::Object(object) if !object.is_empty() => members(object, 0, &mut out),
        scalar => {
            leaf(scalar, 0, &mut out);
        }
    }
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

fn indent(depth: usize, out: &mut String) {
    out.extend(std::iter::repeat_n("  ", depth));
}

fn members(object: &coffer_types::Object, depth: usize, out: &mut String) {
    let mut all: Vec<_> = object.iter().collect();
    all.sort_by(|a, b| a.0.cmp(b.0));
    for (i, (name, value)) in all.into_iter().enumerate() {
        // The first member of an object in a list stands behind the dash.
        if i > 0 || !out.ends_with("- ") {
            indent(depth, out);
        }
        string(name, depth, true, out);
        out.push(':');
        match value {
            Json::Array(items) if !items.is_empty() => {
                out.push('\n');
                array(items, depth, out);
            }
            Json::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                members(inner, depth + 1, out);
            }
            scalar => {
                out.push(' ');
                leaf(scalar, depth + 1, out);
                out.push('\n');
            }
        }
    }
}

fn array(items: &[Json], depth: usize, out: &mut String) {
    for (i, item) in items.iter().enumerate() {
        if i > 0 || !out.ends_with("- ") {
            indent(depth, out);
        }
        out.push_str("- ");
        match item {
            Json::Array(inner) if !inner.is_empty() => array(inner, depth + 1, out),
            Json::Object(inner) if !inner.is_empty() => members(inner, depth + 1, out),
            scalar => {
                leaf(scalar, depth + 1, out);
                out.push('\n');
            }
        }
    }
}

fn leaf(value: &Json, depth: usize, out: &mut String) {
    match value {
        Json::Null => out.push_str("null"),
        Json::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Json::Number(n) => out.push_str(n.as_str()),
        Json::String(s) => string(s.as_str(), depth, false, out),
        Json::Array(_) => out.push_str("[]"),
        Json::Object(_) => out.push_str("{}"),
    }
}

fn string(text: &str, depth: usize, is_name: bool, out: &mut String) {
    let odd = text.chars().any(|c| c.is_control() && c != '\n' || matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}' | '\u{85}'));
    let lines_fit = !text.starts_with([' ', '\n']) && text.lines().all(|l| !l.ends_with(' '));
    if text.contains('\n') && !is_name && !odd && lines_fit {
        // A literal block; the mark says what becomes of newlines at the end.
        let tail = text.len() - text.trim_end_matches('\n').len();
        out.push_str(match tail {
            0 => "|-",
            1 => "|",
            _ => "|+",
        });
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            out.push('\n');
            if !line.is_empty() {
                indent(depth.max(1), out);
                out.push_str(line);
            }
        }
    } else if odd || text.contains('\n') || means_other(text) {
        double(text, out);
    } else if plain(text) {
        out.push_str(text);
    } else {
        write!(out, "'{}'", text.replace('\'', "''")).unwrap_or_default();
    }
}

fn double(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}') => match u32::from(c) {
                n @ 0..=0xff => write!(out, "\\x{n:02x}").unwrap_or_default(),
                n => write!(out, "\\u{n:04x}").unwrap_or_default(),
            },
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Whether a reader of YAML 1.1 or 1.2 would take this text for a null, a bool, a number or a time.
fn means_other(text: &str) -> bool {
    const WORDS: &[&str] =
        &["", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", ".nan", ".inf", "-.inf", "+.inf", "<<", "="];
    let lower = text.to_ascii_lowercase();
    if WORDS.contains(&lower.as_str()) {
        return true;
    }
    let first = text.as_bytes().first().copied().unwrap_or(b' ');
    if !(first.is_ascii_digit() || matches!(first, b'-' | b'+' | b'.')) {
        return false;
    }
    let unsigned = lower.trim_start_matches(['-', '+']);
    let bare = unsigned.replace('_', "");
    let based = |prefix: &str, radix: u32| {
        bare.strip_prefix(prefix).is_some_and(|d| !d.is_empty() && d.chars().all(|c| c.is_digit(radix)))
    };
    let sexagesimal = bare.contains(':') && bare.chars().all(|c| c.is_ascii_digit() || matches!(c, ':' | '.'));
    let date =
        text.len() >= 8 && text.as_bytes()[..4].iter().all(u8::is_ascii_digit) && text.as_bytes()[4] == b'-' && is_time(text);
    based("0x", 16)
        || based("0o", 8)
        || based("0b", 2)
        || sexagesimal
        || date
        || (bare.parse::<f64>().is_ok() && bare.starts_with(|c: char| c.is_ascii_digit() || c == '.'))
}

/// `2006-1-2`, alone or with a time of day behind it.
fn is_time(text: &str) -> bool {
    let (date, rest) = text.find(['T', 't', ' ']).map_or((text, ""), |at| text.split_at(at));
    let parts: Vec<&str> = date.split('-').collect();
    let numbers = |parts: &[&str]| parts.iter().all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
    if parts.len() != 3 || !numbers(&parts) || parts[1].len() > 2 || parts[2].len() > 2 {
        return false;
    }
    rest.is_empty() || rest[1..].chars().all(|c| c.is_ascii_digit() || matches!(c, ':' | '.' | '-' | '+' | 'Z' | ' '))
}

/// Whether a text can stand without quotes.
fn plain(text: &str) -> bool {
    let mut chars = text.chars();
    let (Some(first), second) = (chars.next(), chars.next()) else {
        return false;
    };
    let opens = match first {
        '-' | '?' | ':' => second.is_some_and(|c| !c.is_whitespace()) && !text.starts_with("---"),
        ',' | '[' | ']' | '{' | '}' | '#' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => false,
        c => !c.is_whitespace() && !text.starts_with("..."),
    };
    opens && !text.ends_with([' ', ':']) && !text.contains(": ") && !text.contains(" #")
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_types::json::{Limits, parse};

    fn yaml(json: &str) -> String {
        text(&parse(json.as_bytes(), &Limits::NONE).unwrap())
    }

    #[test]
    fn structure() {
        let want = "data:\n  b: {}\n  l: []\n  z:\n  - 1\n  - two\n  - null\n  - - x\n    - \"y\"\n  - k: v\n    m:\n      deep: true\nlease_id: \"\"\n\"n\": 3\n";
        assert_eq!(
            yaml(r#"{"n":3,"lease_id":"","data":{"z":[1,"two",null,["x","y"],{"k":"v","m":{"deep":true}}],"b":{},"l":[]}}"#),
            want
        );
        assert_eq!(yaml(r#"["a","y"]"#), "- a\n- \"y\"\n");
        assert_eq!(yaml("{}"), "{}\n");
    }

    #[test]
    fn texts_stay_texts() {
        for (json, want) in [
            ("1", "\"1\""),
            ("1.10", "\"1.10\""),
            ("0x1f", "\"0x1f\""),
            ("190:20:30", "\"190:20:30\""),
            ("True", "\"True\""),
            ("null", "\"null\""),
            ("2026-11-23T03:15:12.007639438Z", "\"2026-11-23T03:15:12.007639438Z\""),
            ("2026-11-23", "\"2026-11-23\""),
            ("50c986b1-f3a1-dea9-022c-09ac784bb246", "50c986b1-f3a1-dea9-022c-09ac784bb246"),
            ("2.7.2", "2.7.2"),
            ("@lit", "'@lit'"),
            ("a: b", "'a: b'"),
            ("it's", "it's"),
            ("'q", "'''q'"),
            ("- x", "'- x'"),
            ("-x", "-x"),
            ("a #b", "'a #b'"),
            ("<a&b>", "<a&b>"),
            ("ünï", "ünï"),
            ("1e3", "\"1e3\""),
            (" lead", "' lead'"),
        ] {
            let value = Json::Object(coffer_types::Object::new().with("k", json));
            assert_eq!(text(&value), format!("k: {want}\n"), "{json}");
        }
    }

    #[test]
    fn many_lines_are_a_block_and_control_characters_are_escaped() {
        assert_eq!(yaml(r#"{"k":"a\nb"}"#), "k: |-\n  a\n  b\n");
        assert_eq!(yaml(r#"{"k":"a\n\nb\n"}"#), "k: |\n  a\n\n  b\n");
        assert_eq!(yaml(r#"{"k":"a\u0007"}"#), "k: \"a\\x07\"\n");
        assert_eq!(yaml(r#"{"k":" a\nb"}"#), "k: \" a\\nb\"\n");
    }
}
