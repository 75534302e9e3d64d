//! Custom metadata: names and values of the user's own, within Vault's limits.

use coffer_types::{Error, Json, Object, Result, lenient};
use std::collections::BTreeMap;

pub(super) type Custom = BTreeMap<String, String>;

const MAX_NAMES: usize = 64;
/// In bytes, as Vault counts.
const MAX_NAME: usize = 128;
const MAX_VALUE: usize = 512;

/// Custom metadata from a request: text, or what reads as text.
pub(super) fn read(object: &Object) -> Result<Custom> {
    let custom = object.iter().map(|(name, value)| Ok((name.to_owned(), text(value)?))).collect::<Result<Custom>>()?;
    check(&custom)?;
    Ok(custom)
}

/// Custom metadata with changes: null removes a name.
pub(super) fn patch(old: &Custom, changes: Object) -> Result<Custom> {
    let mut custom = old.clone();
    for (name, value) in changes {
        match value {
            Json::Null => drop(custom.remove(&*name)),
            value => drop(custom.insert(name.into(), text(&value)?)),
        }
    }
    check(&custom)?;
    Ok(custom)
}

fn text(value: &Json) -> Result<String> {
    match value {
        // An empty value, which the check names.
        Json::Null => Ok(String::new()),
        value => {
            lenient::string(value).map_err(|e| Error::bad_request(format!("custom_metadata validation failed: {}", e.public())))
        }
    }
}

/// All faults at once, in the form of Vault's lists of errors. Names are quoted: they are no secrets. Values are not.
fn check(custom: &Custom) -> Result<()> {
    if custom.len() > MAX_NAMES {
        return Err(failed(&[format!("payload must contain at most {MAX_NAMES} keys, provided {}", custom.len())]));
    }
    let mut faults = Vec::new();
    for (name, value) in custom {
        if name.is_empty() || name.len() > MAX_NAME {
            faults.push(format!("length of key {name:?} is {} but must be 0 < len(key) <= {MAX_NAME}", name.len()));
        }
        if value.is_empty() || value.len() > MAX_VALUE {
            faults.push(format!("length of value for key {name:?} is {} but must be 0 < len(value) <= {MAX_VALUE}", value.len()));
        }
        if !printable(name) {
            faults.push(format!("key {name:?} contains unprintable characters"));
        }
        if !printable(value) {
            faults.push(format!("value for key {name:?} contains unprintable characters"));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(failed(&faults)) }
}

fn failed(faults: &[String]) -> Error {
    let count = if faults.len() == 1 { "1 error".to_owned() } else { format!("{} errors", faults.len()) };
    let lines: String = faults.iter().map(|fault| format!("\t* custom_metadata validation failed: {fault}\n")).collect();
    Error::bad_request(format!("{count} occurred:\n{lines}\n"))
}

fn printable(text: &str) -> bool {
    let invisible = |c: char| matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    text.chars().all(|c| c == ' ' || !(c.is_control() || c.is_whitespace() || invisible(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn custom(pairs: &[(&str, Json)]) -> Result<Custom> {
        read(&pairs.iter().map(|(k, v)| (*k, v.clone())).collect())
    }

    #[test]
    fn takes_what_reads_as_text() {
        let longest = "k".repeat(128);
        let read = custom(&[("a", "x".into()), ("n", 5.into()), ("b", true.into()), (&longest, "v".repeat(512).into())]).unwrap();
        assert_eq!((read["n"].as_str(), read["b"].as_str(), read.len()), ("5", "1", 4));
    }

    #[test]
    fn names_every_fault_and_no_value() {
        for (pairs, fault) in [
            (vec![("", Json::from("x"))], "length of key \"\" is 0"),
            (vec![("a", "".into())], "length of value for key \"a\" is 0"),
            (vec![("a", Json::Null)], "length of value for key \"a\" is 0"),
            (vec![("a", "v".repeat(513).into())], "is 513 but must be 0 < len(value) <= 512"),
            (vec![("a\n", "v".into())], "key \"a\\n\" contains unprintable"),
            (vec![("a", "canary\u{1}".into())], "value for key \"a\" contains unprintable"),
            (vec![("a", Json::Array(vec![]))], "expected type 'string'"),
            (vec![("a", Object::new().into())], "expected type 'string'"),
        ] {
            let error = custom(&pairs).unwrap_err();
            assert!(error.public().contains(fault), "{}", error.public());
            assert!(!error.public().contains("canary"));
        }
        let many: Vec<(String, Json)> = (0..65).map(|n| (n.to_string(), "v".into())).collect();
        let error = read(&many.into_iter().collect()).unwrap_err();
        assert!(error.public().contains("at most 64 keys, provided 65"));
        let error = custom(&[("", "".into())]).unwrap_err();
        assert!(error.public().starts_with("2 errors occurred:\n\t* "), "{}", error.public());
    }

    #[test]
    fn patches() {
        let old = custom(&[("a", "1".into()), ("b", "2".into())]).unwrap();
        let new = patch(&old, Object::new().with("a", Json::Null).with("c", "3")).unwrap();
        assert_eq!(new.keys().collect::<Vec<_>>(), ["b", "c"]);
        assert!(patch(&old, Object::new().with("c", "")).is_err());
    }
}
