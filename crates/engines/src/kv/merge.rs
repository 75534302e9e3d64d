//! JSON merge patch (RFC 7386).

use coffer_types::{Json, Object};

/// Applies `patch` to `target`: objects merge, `null` removes, all else replaces.
pub(super) fn merge(target: &mut Object, patch: Object) {
    for (name, change) in patch {
        match change {
            Json::Null => drop(target.remove(&name)),
            Json::Object(change) => {
                if let Some(Json::Object(inner)) = target.get_mut(&name) {
                    merge(inner, change);
                } else {
                    let mut fresh = Object::new();
                    merge(&mut fresh, change);
                    target.insert(name, fresh);
                }
            }
            value => drop(target.insert(name, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_types::json::{Limits, parse};

    fn merged(target: &str, patch: &str) -> String {
        let object = |text: &str| parse(text.as_bytes(), &Limits::NONE).unwrap().into_object().unwrap();
        let mut target = object(target);
        merge(&mut target, object(patch));
        String::from_utf8(Json::Object(target).to_bytes().to_vec()).unwrap()
    }

    /// The object cases of RFC 7386 appendix A.
    #[test]
    fn follows_the_rfc() {
        for (target, patch, result) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
            (r#"{"n":1.10}"#, r#"{"m":12345678901234567890}"#, r#"{"n":1.10,"m":12345678901234567890}"#),
        ] {
            assert_eq!(merged(target, patch), result, "{target} {patch}");
        }
    }
}
