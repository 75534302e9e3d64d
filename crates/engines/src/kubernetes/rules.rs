//! The rules of a generated role: `{"rules": […]}` in JSON, or the same in YAML, as people keep them in files.
//!
//! Of YAML it takes one document of maps, lists and scalars. Anchors, aliases, tags and merge keys are refused: what is written is
//! what is there.

use coffer_types::json::{Limits, parse as parse_json};
use coffer_types::{Json, Object};
use saphyr_parser::{Event, Parser, ScalarStyle};

const LIMITS: Limits = Limits { depth: 16, string: 1 << 14, strings: 1 << 14, members: 1024, items: 4096 };
const LARGEST: usize = 1 << 18;

/// The list of rules; nothing where the text is no policy. One without rules has none.
pub(super) fn parse(text: &str) -> Option<Json> {
    let document = document(text)?.into_object()?;
    if document.names().any(|name| !matches!(name, "rules" | "kind" | "apiVersion" | "metadata")) {
        return None;
    }
    let rules = document.get("rules").cloned().unwrap_or_else(|| Json::Array(Vec::new()));
    rules.as_array()?.iter().all(is_rule).then_some(rules)
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/role-v1/>
fn is_rule(rule: &Json) -> bool {
    const LISTS: [&str; 5] = ["apiGroups", "resources", "verbs", "resourceNames", "nonResourceURLs"];
    let texts = |value: &Json| value.as_array().is_some_and(|items| items.iter().all(|item| item.as_str().is_some()));
    rule.as_object()
        .is_some_and(|rule| rule.get("verbs").is_some() && rule.iter().all(|(name, value)| LISTS.contains(&name) && texts(value)))
}

/// JSON, else YAML.
pub(super) fn document(text: &str) -> Option<Json> {
    if text.len() > LARGEST {
        return None;
    }
    if let Ok(json) = parse_json(text.as_bytes(), &LIMITS) {
        return Some(json);
    }
    let mut events = Parser::new_from_str(text);
    let mut next = || events.next()?.ok().map(|(event, _)| event);
    matches!(next()?, Event::StreamStart).then_some(())?;
    matches!(next()?, Event::DocumentStart(_)).then_some(())?;
    let first = next()?;
    let value = value(first, &mut next, 0)?;
    matches!(next()?, Event::DocumentEnd).then_some(())?;
    matches!(next()?, Event::StreamEnd).then_some(value)
}

fn value<'a>(event: Event<'a>, next: &mut impl FnMut() -> Option<Event<'a>>, depth: usize) -> Option<Json> {
    if depth > LIMITS.depth {
        return None;
    }
    match event {
        Event::Scalar(text, style, 0, None) => Some(scalar(&text, style)),
        Event::SequenceStart(0, None) => {
            let mut items = Vec::new();
            loop {
                match next()? {
                    Event::SequenceEnd => return Some(Json::Array(items)),
                    _ if items.len() >= LIMITS.items => return None,
                    event => items.push(value(event, next, depth + 1)?),
                }
            }
        }
        Event::MappingStart(0, None) => {
            let mut object = Object::new();
            loop {
                let name = match next()? {
                    Event::MappingEnd => return Some(Json::Object(object)),
                    Event::Scalar(name, _, 0, None) if name != "<<" && object.len() < LIMITS.members => name.into_owned(),
                    _ => return None,
                };
                let event = next()?;
                // A name that stands twice is refused.
                if object.insert(name, value(event, next, depth + 1)?).is_some() {
                    return None;
                }
            }
        }
        // Aliases, anchors, tags.
        _ => None,
    }
}

/// A plain scalar that YAML's core schema takes for something else than text is no text here either.
fn scalar(text: &str, style: ScalarStyle) -> Json {
    if style != ScalarStyle::Plain {
        return Json::string(text);
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Json::Null,
        "true" | "True" | "TRUE" => Json::Bool(true),
        "false" | "False" | "FALSE" => Json::Bool(false),
        number => match parse_json(number.as_bytes(), &LIMITS) {
            Ok(number @ Json::Number(_)) => number,
            _ => Json::string(text),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(rules: &str) -> Option<String> {
        parse(rules).map(|rules| String::from_utf8_lossy(&rules.to_bytes()).into_owned())
    }

    #[test]
    fn reads_both_forms() {
        let pods = r#"[{"apiGroups":[""],"resources":["pods"],"verbs":["get","list"]}]"#;
        for rules in [
            &format!(r#"{{"rules":{pods}}}"#),
            "rules:\n- apiGroups: ['']\n  resources: [pods]\n  verbs: [get, list]\n",
            "---\nkind: Role\nrules:\n  - apiGroups:\n      - \"\"\n    resources:\n      - pods # all of them\n    verbs: [\"get\", 'list']\n",
        ] {
            assert_eq!(text(rules).as_deref(), Some(pods), "{rules}");
        }
        assert_eq!(text("{}").as_deref(), Some("[]"));
        assert_eq!(
            text("rules:\n- nonResourceURLs: [/healthz]\n  verbs: ['*']\n").as_deref(),
            Some(r#"[{"nonResourceURLs":["/healthz"],"verbs":["*"]}]"#)
        );
    }

    #[test]
    fn refuses_the_rest() {
        for rules in [
            "",
            "zz",
            "[]",
            "3",
            "rules: zz",
            "rules: {}",
            "rules: [zz]",
            "rule: []",
            "rules:\n- verbs: get\n",
            "rules:\n- verbs: [1]\n",
            "rules:\n- verbs: [true]\n",
            "rules:\n- resources: [pods]\n",
            "rules:\n- verbs: [get]\n  verb: [get]\n",
            "rules: []\nrules: []\n",
            "rules: &a []\n",
            "a: &a [x]\nrules: *a\n",
            "rules: !!set []\n",
            "<<: {}\nrules: []\n",
            "rules: []\n---\nrules: []\n",
            "rules:\n\t- verbs: [get]\n",
            "rules: [",
            "? [a]\n: b\n",
            "{\"rules\":[],\"rules\":[]}",
        ] {
            assert_eq!(text(rules), None, "{rules}");
        }
        assert_eq!(text(&format!("rules: {}{}", "[".repeat(5000), "]".repeat(5000))), None);
        assert_eq!(text(&format!("rules: []\n#{}", "x".repeat(LARGEST))), None);
    }
}
