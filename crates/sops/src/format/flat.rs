//! Metadata of flat formats: nested keys joined with `__map_` and `__list_N`.

use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::tree::{Branch, Element, Line, Value};

/// The leaves of metadata with their joined keys, in order. Line breaks in texts are the two characters `\n`.
pub(super) fn flatten(metadata: &Branch) -> Vec<(String, Zeroizing<String>)> {
    let mut out = Vec::new();
    for entry in metadata.entries() {
        flatten_value(entry.key.text().to_owned(), &entry.value, &mut out);
    }
    out.sort_by(|(a, _), (b, _)| a.cmp(b));
    out
}

fn flatten_value(key: String, value: &Value, out: &mut Vec<(String, Zeroizing<String>)>) {
    match value {
        Value::Map(branch) => {
            for entry in branch.entries() {
                flatten_value(format!("{key}__map_{}", entry.key.text()), &entry.value, out);
            }
        }
        Value::List(list) => {
            let values = list.iter().filter_map(|element| match element {
                Element::Value(value, _) => Some(value),
                Element::Comment(_) => None,
            });
            for (i, value) in values.enumerate() {
                flatten_value(format!("{key}__list_{i}"), value, out);
            }
        }
        leaf => out.push((key, Zeroizing::new(super::plain_text(leaf).replace('\n', "\\n")))),
    }
}

/// The opposite.
///
/// # Errors
/// `Fault::Reading` for a list with a number that is none or lies far out, and for a key that is both a value and a map.
pub(super) fn unflatten(pairs: impl IntoIterator<Item = (String, Zeroizing<String>)>) -> Result<Branch> {
    let mut root = Branch::new();
    for (key, text) in pairs {
        let mut steps = Vec::new();
        for (i, part) in key.split("__").enumerate() {
            steps.push(match (i, part.strip_prefix("map_"), part.strip_prefix("list_")) {
                (0, ..) => Step::Key(part.to_owned()),
                (_, Some(name), _) => Step::Key(name.to_owned()),
                (_, _, Some(number)) => {
                    // No file has so many keys, and what is reserved for it must stay small.
                    let number = number.parse().ok().filter(|number| *number < 10_000);
                    Step::Number(number.ok_or_else(|| {
                        Error::reading(0, format!("{key:?} in the metadata is no key: a number from 0 must follow __list_"))
                    })?)
                }
                _ => return Err(Error::reading(0, format!("{key:?} in the metadata is no key: after __ comes map_ or list_"))),
            });
        }
        let text = Value::from(text.replace("\\n", "\n"));
        let mut holder = Value::Map(std::mem::take(&mut root));
        let placed = place(&mut holder, &steps, text);
        if let Value::Map(branch) = holder {
            root = branch;
        }
        if !placed {
            return Err(Error::reading(
                0,
                format!("{key:?} in the metadata contradicts another key: one makes it a value, one a list or a map"),
            ));
        }
    }
    Ok(root)
}

enum Step {
    Key(String),
    Number(usize),
}

fn place(holder: &mut Value, steps: &[Step], text: Value) -> bool {
    let Some((step, rest)) = steps.split_first() else {
        *holder = text;
        return true;
    };
    let empty = |rest: &[Step]| match rest.first() {
        Some(Step::Key(_)) => Value::Map(Branch::new()),
        Some(Step::Number(_)) => Value::List(Vec::new()),
        None => Value::Null,
    };
    match (holder, step) {
        (Value::Map(branch), Step::Key(key)) => {
            if branch.get(key).is_none() {
                branch.push(key.clone(), empty(rest));
            }
            branch.get_mut(key).is_some_and(|value| place(value, rest, text))
        }
        (Value::List(list), Step::Number(number)) => {
            while list.len() <= *number {
                list.push(Element::Value(empty(rest), Line(0)));
            }
            match &mut list[*number] {
                Element::Value(value, _) => place(value, rest, text),
                Element::Comment(_) => false,
            }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_metadata_come_back() {
        let mut key = Branch::new();
        key.push("enc", "a\nb");
        key.push("recipient", "age1x");
        let mut metadata = Branch::new();
        metadata.push("age", Value::List(vec![Element::Value(key.into(), Line(0))]));
        metadata.push("version", "3");
        let flat = flatten(&metadata);
        let shown: Vec<(&str, &str)> = flat.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
        assert_eq!(shown, [("age__list_0__map_enc", "a\\nb"), ("age__list_0__map_recipient", "age1x"), ("version", "3")]);
        assert!(unflatten(flat).unwrap() == metadata);
    }

    #[test]
    fn keys_that_make_no_tree_are_refused() {
        let read = |keys: &[&str]| unflatten(keys.iter().map(|key| ((*key).to_owned(), Zeroizing::new("x".to_owned()))));
        for keys in [
            &["a__list_x"][..],
            &["a__list_-1"],
            &["a__list_99999999999"],
            &["a__b"],
            &["a", "a__map_b"],
            &["a__map_b", "a__list_0"],
            &["a__list_0", "a__list_0__map_b"],
        ] {
            assert_eq!(read(keys).err().map(|error| error.exit_code()), Some(2), "{keys:?}");
        }
    }
}
