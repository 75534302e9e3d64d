//! Values as Go's `%v` prints them, which is how tables have always shown them.

use coffer_types::{Json, Span};

/// `<nil>`, `[a b]`, `map[k:v]`.
pub(crate) fn text(value: &Json) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn write(value: &Json, out: &mut String) {
    match value {
        Json::Null => out.push_str("<nil>"),
        Json::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Json::Number(n) => out.push_str(n.as_str()),
        Json::String(s) => out.push_str(s.as_str()),
        Json::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(' ');
                }
                write(item, out);
            }
            out.push(']');
        }
        Json::Object(object) => {
            out.push_str("map[");
            let mut members: Vec<_> = object.iter().collect();
            members.sort_by(|a, b| a.0.cmp(b.0));
            for (i, (name, value)) in members.into_iter().enumerate() {
                if i > 0 {
                    out.push(' ');
                }
                out.push_str(name);
                out.push(':');
                write(value, out);
            }
            out.push(']');
        }
    }
}

/// A list as Go's `%q`: `["app" "default"]`.
pub(crate) fn quoted(list: &[String]) -> String {
    let items: Vec<String> = list.iter().map(|item| format!("{item:?}")).collect();
    format!("[{}]", items.join(" "))
}

/// Whether a field of this name holds seconds.
pub(crate) fn is_span(name: &str) -> bool {
    matches!(name, "period" | "ttl" | "duration" | "lease_max" | "ttl_max")
        || ["_period", "_ttl", "_duration"].iter().any(|end| name.ends_with(end))
}

/// `1h0m0s` → `1h`, `30m0s` → `30m`.
pub(crate) fn short_span(secs: i64) -> String {
    let text = Span::from_secs(secs).to_string();
    let text = text.strip_suffix("m0s").map_or(text.clone(), |t| format!("{t}m"));
    text.strip_suffix("h0m").map_or(text.clone(), |t| format!("{t}h"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_types::json::{Limits, parse};

    #[test]
    fn prints_like_go() {
        let value = parse(br#"{"z":[1,"two",null,true],"b":{},"n":1.10}"#, &Limits::NONE).unwrap();
        assert_eq!(text(&value), "map[b:map[] n:1.10 z:[1 two <nil> true]]");
        assert_eq!(quoted(&["a".into(), "b\"c".into()]), r#"["a" "b\"c"]"#);
    }

    #[test]
    fn spans_are_short() {
        for (secs, want) in
            [(0, "0s"), (59, "59s"), (60, "1m"), (3600, "1h"), (5400, "1h30m"), (3599, "59m59s"), (2_764_800, "768h")]
        {
            assert_eq!(short_span(secs), want);
        }
        assert!(is_span("secret_id_ttl") && is_span("ttl") && !is_span("num_uses") && !is_span("rattl"));
    }
}
