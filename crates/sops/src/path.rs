//! Tree paths: `["key"]['key'][0]`, and what is read, set and taken out by them.

use crate::error::{Error, Fault, Result};
use crate::tree::{Branch, Element, Line, Value};

/// One step into a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Key(String),
    Index(usize),
}

/// Reads a path. A key can hold anything but `[`, as in the reference.
///
/// # Errors
/// `Fault::TreePath`; a negative index too, on which the reference crashes.
pub fn parse(text: &str) -> Result<Vec<Step>> {
    let fault = |what: String| Error::new(Fault::TreePath, format!("{text:?} is no tree path: {what}; write it as [\"key\"][0]"));
    let mut parts = text.split('[');
    if parts.next().is_none_or(|before| !before.is_empty()) {
        return Err(fault("it must start with [".to_owned()));
    }
    let steps: Vec<Step> = parts
        .map(|part| {
            let inside = part.trim_end().strip_suffix(']').ok_or_else(|| fault(format!("a ] must follow {part:?}")))?;
            for quote in ['"', '\''] {
                if let Some(key) = inside.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
                    return Ok(Step::Key(key.to_owned()));
                }
            }
            inside
                .parse()
                .map(Step::Index)
                .map_err(|_| fault(format!("{inside:?} is neither a key in quotes nor a number from 0")))
        })
        .collect::<Result<_>>()?;
    if steps.is_empty() { Err(fault("it has no step".to_owned())) } else { Ok(steps) }
}

/// What stands at the path.
///
/// # Errors
/// `Fault::Generic`: no such key or index, or a step into a single value.
pub fn get<'a>(branch: &'a Branch, path: &[Step]) -> Result<&'a Value> {
    let Some((first, rest)) = path.split_first() else {
        return Err(Error::generic("the path is empty"));
    };
    let mut value = match first {
        Step::Key(key) => branch.get(key).ok_or_else(|| no_key(key))?,
        Step::Index(index) => return Err(no_list(*index)),
    };
    for step in rest {
        value = match (step, value) {
            (Step::Key(key), Value::Map(branch)) => branch.get(key).ok_or_else(|| no_key(key))?,
            (Step::Index(index), Value::List(list)) => {
                let mut values = list.iter().filter_map(|element| match element {
                    Element::Value(value, _) => Some(value),
                    Element::Comment(_) => None,
                });
                values.nth(*index).ok_or_else(|| no_index(*index))?
            }
            (Step::Index(index), _) => return Err(no_list(*index)),
            (Step::Key(key), other) => {
                return Err(Error::generic(format!("{key:?} is looked for in a {}: only maps have keys", other.kind())));
            }
        };
    }
    Ok(value)
}

/// Puts a value at the path. Maps and lists that are missing on the way are made; an index from the length on appends. A key below a
/// single value replaces it by a map, and an index into a map changes nothing, as in the reference.
///
/// # Errors
/// `Fault::Generic` for a key in a list, on which the reference crashes.
pub fn set(branch: &mut Branch, path: &[Step], value: Value) -> Result<()> {
    let Some((step, rest)) = path.split_first() else {
        return Err(Error::generic("the path is empty"));
    };
    let Step::Key(key) = step else {
        return Ok(());
    };
    match branch.get_mut(key) {
        Some(held) => set_value(held, rest, value),
        None => {
            let mut held = Value::Null;
            set_value(&mut held, rest, value)?;
            branch.push(key.clone(), held);
            Ok(())
        }
    }
}

fn set_value(held: &mut Value, path: &[Step], value: Value) -> Result<()> {
    let Some((step, rest)) = path.split_first() else {
        *held = value;
        return Ok(());
    };
    match (&mut *held, step) {
        (Value::Map(branch), _) => set(branch, path, value),
        (Value::List(list), Step::Index(index)) => {
            let mut values = list.iter_mut().filter_map(|element| match element {
                Element::Value(value, _) => Some(value),
                Element::Comment(_) => None,
            });
            if let Some(held) = values.nth(*index) {
                return set_value(held, rest, value);
            }
            let mut new = Value::Null;
            set_value(&mut new, rest, value)?;
            list.push(Element::Value(new, Line(0)));
            Ok(())
        }
        (Value::List(_), Step::Key(key)) => {
            Err(Error::generic(format!("{key:?} cannot be set in a list: lists have indexes, such as [0]")))
        }
        (_, Step::Key(_)) => {
            let mut branch = Branch::new();
            set(&mut branch, path, value)?;
            *held = Value::Map(branch);
            Ok(())
        }
        (_, Step::Index(_)) => {
            let mut new = Value::Null;
            set_value(&mut new, rest, value)?;
            *held = Value::List(vec![Element::Value(new, Line(0))]);
            Ok(())
        }
    }
}

/// Takes out what stands at the path.
///
/// # Errors
/// `Fault::Generic`: it isn't there.
pub fn unset(branch: &mut Branch, path: &[Step]) -> Result<()> {
    get(branch, path)?;
    let Some((last, way)) = path.split_last() else {
        return Ok(());
    };
    let mut whole = Value::Map(std::mem::take(branch));
    let mut held = &mut whole;
    for step in way {
        held = match (held, step) {
            (Value::Map(branch), Step::Key(key)) => branch.get_mut(key).ok_or_else(|| no_key(key))?,
            (Value::List(list), Step::Index(index)) => match position(list, *index).and_then(|at| list.get_mut(at)) {
                Some(Element::Value(value, _)) => value,
                _ => return Err(no_index(*index)),
            },
            (_, Step::Index(index)) => return Err(no_list(*index)),
            (_, Step::Key(key)) => return Err(no_key(key)),
        };
    }
    match (held, last) {
        (Value::Map(branch), Step::Key(key)) => {
            let at = branch.items.iter().position(|item| matches!(item, crate::tree::Item::Entry(entry) if entry.key.is(key)));
            at.map(|at| branch.items.remove(at));
        }
        (Value::List(list), Step::Index(index)) => {
            position(list, *index).map(|at| list.remove(at));
        }
        _ => {}
    }
    if let Value::Map(own) = whole {
        *branch = own;
    }
    Ok(())
}

/// Where the value with this number stands among the elements, of which comments don't count.
fn position(list: &[Element], index: usize) -> Option<usize> {
    list.iter().enumerate().filter(|(_, element)| matches!(element, Element::Value(..))).map(|(at, _)| at).nth(index)
}

fn no_key(key: &str) -> Error {
    Error::generic(format!("Key not found: {key}"))
}

fn no_index(index: usize) -> Error {
    Error::generic(format!("Index not found: {index}: the list is shorter"))
}

fn no_list(index: usize) -> Error {
    Error::generic(format!("Index not found: {index}: only lists have indexes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Format, Json};

    fn tree(source: &str) -> Branch {
        Json::default().load_plain(source.as_bytes()).unwrap().remove(0)
    }

    const SOURCE: &str = r#"{"a":1,"l":["x","y"],"m":{"k":"v"}}"#;

    fn after(change: impl FnOnce(&mut Branch) -> Result<()>) -> Result<String> {
        let mut branch = tree(SOURCE);
        change(&mut branch)?;
        Ok(String::from_utf8(Json { indent: 0 }.emit(&[branch], None).unwrap().to_vec()).unwrap().trim_end().to_owned())
    }

    #[test]
    fn paths_are_keys_in_quotes_and_indexes() {
        assert_eq!(parse(r#"["a"]['b c'][0]"#).unwrap(), [Step::Key("a".into()), Step::Key("b c".into()), Step::Index(0)]);
        for bad in ["", "b", "[", "[a]", "[-1]", "[\"a\"", "[\"a\"]x", "a[\"b\"]", "[1.5]", "[]", "[\"]"] {
            assert_eq!(parse(bad).err().map(|error| error.exit_code()), Some(91), "{bad}");
        }
    }

    #[test]
    fn what_is_there_is_read_and_what_is_not_is_refused() {
        let branch = tree(SOURCE);
        assert_eq!(get(&branch, &parse(r#"["l"][1]"#).unwrap()), Ok(&"y".into()));
        for bad in [r#"["n"]"#, r#"["l"][2]"#, r#"["a"]["k"]"#, r#"["l"]["k"]"#, r#"["m"][0]"#, "[0]"] {
            assert_eq!(get(&branch, &parse(bad).unwrap()).err().map(|error| error.exit_code()), Some(1), "{bad}");
            assert!(unset(&mut branch.clone(), &parse(bad).unwrap()).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_are_set_and_taken_out_as_the_reference_does() {
        let set_at = |path: &str| after(|branch| set(branch, &parse(path).unwrap(), "N".into()));
        assert_eq!(set_at(r#"["a"]"#).unwrap(), SOURCE.replace('1', "\"N\""));
        assert_eq!(set_at(r#"["l"][1]"#).unwrap(), SOURCE.replace("\"y\"", "\"N\""));
        assert_eq!(set_at(r#"["l"][9]"#).unwrap(), SOURCE.replace("\"y\"", "\"y\",\"N\""));
        assert_eq!(set_at(r#"["x"]["y"][3]"#).unwrap(), SOURCE.replace("}}", "},\"x\":{\"y\":[\"N\"]}}"));
        assert_eq!(set_at(r#"["a"]["k"]"#).unwrap(), SOURCE.replace('1', "{\"k\":\"N\"}"));
        assert_eq!(set_at(r#"["m"][0]"#).unwrap(), SOURCE);
        assert_eq!(set_at(r#"["l"]["k"]"#).unwrap_err().exit_code(), 1);
        let unset_at = |path: &str| after(|branch| unset(branch, &parse(path).unwrap()));
        assert_eq!(unset_at(r#"["a"]"#).unwrap(), SOURCE.replace("\"a\":1,", ""));
        assert_eq!(unset_at(r#"["l"][0]"#).unwrap(), SOURCE.replace("\"x\",", ""));
        assert_eq!(unset_at(r#"["m"]["k"]"#).unwrap(), SOURCE.replace("\"k\":\"v\"", ""));
    }
}
