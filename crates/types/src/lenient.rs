//! Vault's lenient field conversions: what a field of a type takes, and nothing else. The errors name the
//! field's type and the JSON type that came, never the value.

use crate::error::{Error, Result};
use crate::json::{Json, Object};
use crate::span::Span;
use std::collections::BTreeMap;

fn wrong(expected: &str, got: &Json) -> Error {
    Error::bad_request(format!("expected type '{expected}', got unconvertible type '{}'", got.kind()))
}

/// `true`, `"true"`, `"1"`, `1`, `"t"`, `""` (false).
pub fn bool(value: &Json) -> Result<bool> {
    match value {
        Json::Bool(b) => Ok(*b),
        Json::Number(n) => n.as_str().parse::<f64>().map(|n| n != 0.0).map_err(|_| wrong("bool", value)),
        Json::String(text) => match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" | "" => Ok(false),
            _ => Err(Error::bad_request("cannot parse value as 'bool'")),
        },
        _ => Err(wrong("bool", value)),
    }
}

/// `5`, `"5"`, `5.0`, `true`, `""` (0).
pub fn int(value: &Json) -> Result<i64> {
    let bad = || Error::bad_request("cannot parse value as 'int'");
    match value {
        Json::Number(n) => whole(n.as_str()).ok_or_else(bad),
        Json::String(text) if text.as_str().is_empty() => Ok(0),
        Json::String(text) => text.as_str().trim().parse().map_err(|_| bad()),
        Json::Bool(b) => Ok(i64::from(*b)),
        _ => Err(wrong("int", value)),
    }
}

fn whole(digits: &str) -> Option<i64> {
    digits.parse().ok().or_else(|| {
        let float: f64 = digits.parse().ok()?;
        #[allow(clippy::cast_possible_truncation, reason = "checked to be whole and small")]
        (float.fract() == 0.0 && float.abs() < 9e15).then_some(float as i64)
    })
}

/// Text; numbers and booleans as they were written.
pub fn string(value: &Json) -> Result<String> {
    match value {
        Json::String(text) | Json::Number(text) => Ok(text.as_str().to_owned()),
        Json::Bool(b) => Ok(if *b { "1" } else { "0" }.to_owned()),
        _ => Err(wrong("string", value)),
    }
}

/// Seconds as a number, or a duration text.
pub fn span(value: &Json) -> Result<Span> {
    match value {
        Json::Number(n) => {
            if let Some(secs) = whole(n.as_str()) {
                return Ok(Span::from_secs(secs));
            }
            Err(Error::bad_request("cannot parse value as a duration in seconds"))
        }
        Json::String(text) => Span::parse(text.as_str()),
        Json::Null => Ok(Span::ZERO),
        _ => Err(wrong("duration", value)),
    }
}

/// A list, a comma-separated text, or one value.
pub fn comma_strings(value: &Json) -> Result<Vec<String>> {
    match value {
        Json::Array(items) => items.iter().map(string).map(|s| s.map(|s| s.trim().to_owned())).collect(),
        Json::String(text) => Ok(text.as_str().split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect()),
        Json::Number(_) => Ok(vec![string(value)?]),
        Json::Null => Ok(Vec::new()),
        _ => Err(wrong("[]string", value)),
    }
}

/// A list of whole numbers, a comma-separated text, or one.
pub fn comma_ints(value: &Json) -> Result<Vec<i64>> {
    match value {
        Json::Array(items) => items.iter().map(int).collect(),
        Json::String(text) => {
            text.as_str().split(',').map(str::trim).filter(|s| !s.is_empty()).map(|s| int(&Json::string(s))).collect()
        }
        Json::Number(_) => Ok(vec![int(value)?]),
        Json::Null => Ok(Vec::new()),
        _ => Err(wrong("[]int", value)),
    }
}

/// An object, or `["k=v", …]`, or `"k=v,k=v"`; values become text.
pub fn pairs(value: &Json) -> Result<BTreeMap<String, String>> {
    match value {
        Json::Object(object) => object.iter().map(|(k, v)| Ok((k.to_owned(), string(v)?))).collect(),
        Json::Array(_) | Json::String(_) => comma_strings(value)?
            .into_iter()
            .map(|pair| {
                let (k, v) = pair.split_once('=').ok_or_else(|| Error::bad_request("expected key=value pairs"))?;
                Ok((k.trim().to_owned(), v.trim().to_owned()))
            })
            .collect(),
        Json::Null => Ok(BTreeMap::new()),
        _ => Err(wrong("map[string]string", value)),
    }
}

/// An object as it is.
pub fn map(value: &Json) -> Result<&Object> {
    value.as_object().ok_or_else(|| wrong("map[string]interface {}", value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Limits, parse};

    fn j(text: &str) -> Json {
        parse(text.as_bytes(), &Limits::NONE).unwrap()
    }

    #[test]
    fn takes_vaults_forms() {
        for text in ["true", "\"1\"", "1", "\"true\""] {
            assert!(bool(&j(text)).unwrap(), "{text}");
        }
        for (text, n) in [("5", 5), ("\"5\"", 5), ("5.0", 5), ("1e3", 1000), ("true", 1), ("\"\"", 0)] {
            assert_eq!(int(&j(text)).unwrap(), n, "{text}");
        }
        assert_eq!(span(&j("\"1h\"")).unwrap(), Span::from_secs(3600));
        assert_eq!(span(&j("90")).unwrap(), Span::from_secs(90));
        assert_eq!(comma_strings(&j("\"a, b,\"")).unwrap(), ["a", "b"]);
        assert_eq!(comma_strings(&j("[\"a,b\", 3]")).unwrap(), ["a,b", "3"]);
        assert_eq!(comma_ints(&j("\"1, 2\"")).unwrap(), [1, 2]);
        assert_eq!(pairs(&j("{\"a\":1,\"b\":\"x\"}")).unwrap()["a"], "1");
        assert_eq!(pairs(&j("[\"a=1=2\"]")).unwrap()["a"], "1=2");
    }

    #[test]
    fn refuses_the_rest_without_echoing_it() {
        assert!(bool(&j("\"yes\"")).is_err());
        for text in ["\"abc\"", "1.5", "[]", "{}", "null", "99999999999999999999"] {
            assert!(int(&j(text)).is_err(), "{text}");
        }
        assert!(span(&j("\"abc\"")).is_err());
        assert!(span(&j("1.5")).is_err());
        assert!(span(&j("[]")).is_err());
        assert!(comma_strings(&j("{}")).is_err());
        assert!(comma_strings(&j("[[1]]")).is_err());
        assert!(pairs(&j("[\"novalue\"]")).is_err());
        assert!(map(&j("\"canary\"")).is_err_and(|e| !e.public().contains("canary")));
    }
}
