//! The fields of a call, and the lists of values that a rule allows or denies for them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use coffer_types::{Json, Object};

/// The value of one field: text from the query, or JSON from the body.
#[derive(Clone, Copy)]
pub enum Parameter<'a> {
    Text(&'a str),
    Json(&'a Json),
}

/// The fields of a call, from query and body alike.
pub trait Parameters {
    /// The field `name`, written exactly so.
    fn find(&self, name: &str) -> Option<Parameter<'_>>;

    /// Visits every field until told to stop. A name that stands in query and body is visited twice.
    fn each<'a>(&'a self, visit: &mut dyn FnMut(&'a str, Parameter<'a>) -> ControlFlow<()>) -> ControlFlow<()>;

    fn is_empty(&self) -> bool {
        self.each(&mut |_, _| ControlFlow::Break(())).is_continue()
    }
}

/// A call without fields.
pub struct NoParameters;

impl Parameters for NoParameters {
    fn find(&self, _: &str) -> Option<Parameter<'_>> {
        None
    }

    fn each<'a>(&'a self, _: &mut dyn FnMut(&'a str, Parameter<'a>) -> ControlFlow<()>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

impl Parameters for Object {
    fn find(&self, name: &str) -> Option<Parameter<'_>> {
        self.get(name).map(Parameter::Json)
    }

    fn each<'a>(&'a self, visit: &mut dyn FnMut(&'a str, Parameter<'a>) -> ControlFlow<()>) -> ControlFlow<()> {
        self.iter().try_for_each(|(name, value)| visit(name, Parameter::Json(value)))
    }
}

impl Parameters for coffer_engine::call::Fields {
    fn find(&self, name: &str) -> Option<Parameter<'_>> {
        self.body.find(name).or_else(|| self.query.get(name).map(|value| Parameter::Text(value)))
    }

    fn each<'a>(&'a self, visit: &mut dyn FnMut(&'a str, Parameter<'a>) -> ControlFlow<()>) -> ControlFlow<()> {
        self.query.iter().try_for_each(|(name, value)| visit(name, Parameter::Text(value)))?;
        self.body.each(visit)
    }
}

/// The values listed for each field name, names in lower case. An empty list stands for every value, the name `*` for every field.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct ValueLists(pub(crate) BTreeMap<Box<str>, Vec<Json>>);

impl ValueLists {
    pub(crate) fn get(&self, name: &str) -> Option<&[Json]> {
        // Most names are in lower case already.
        let values =
            if name.chars().any(char::is_uppercase) { self.0.get(name.to_lowercase().as_str()) } else { self.0.get(name) };
        values.map(Vec::as_slice)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what another policy lists: values of one name join, and an empty list, which stands for every value, wins.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (name, values) in &other.0 {
            match self.0.get_mut(name) {
                Some(mine) if mine.is_empty() || values.is_empty() => mine.clear(),
                Some(mine) => mine.extend(values.iter().filter(|value| !mine.contains(value)).cloned().collect::<Vec<_>>()),
                None => {
                    self.0.insert(name.clone(), values.clone());
                }
            }
        }
    }
}

/// Whether a value that is to be allowed stands in the list: same type, text by glob, numbers by value.
pub(crate) fn allows(list: &[Json], value: Parameter<'_>) -> bool {
    list.is_empty()
        || list.iter().any(|listed| match (listed, value) {
            (Json::String(glob), Parameter::Text(text)) => glob_matches(glob.as_str(), text),
            (_, Parameter::Text(_)) => false,
            (Json::String(glob), Parameter::Json(Json::String(text))) => glob_matches(glob.as_str(), text.as_str()),
            (Json::Number(a), Parameter::Json(Json::Number(b))) => same_number(a.as_str(), b.as_str()),
            (listed, Parameter::Json(value)) => listed == value,
        })
}

/// Whether a value that is to be denied stands in the list. Fields convert leniently, so `5`, `"5"` and `["5"]` may all come to mean the
/// same further on: scalars are compared by their text, and a list is denied if one of its values is.
pub(crate) fn denies(list: &[Json], value: Parameter<'_>) -> bool {
    if allows(list, value) {
        return true;
    }
    match value {
        Parameter::Text(text) => list.iter().any(|listed| denies_text(listed, text)),
        Parameter::Json(Json::Array(items)) => items.iter().any(|item| denies_item(list, item)),
        Parameter::Json(value) => denies_item(list, value),
    }
}

fn denies_item(list: &[Json], value: &Json) -> bool {
    let text = match value {
        Json::String(text) | Json::Number(text) => text.as_str(),
        Json::Bool(true) => "true",
        Json::Bool(false) => "false",
        Json::Null | Json::Array(_) | Json::Object(_) => return list.contains(value),
    };
    list.iter().any(|listed| denies_text(listed, text))
}

fn denies_text(listed: &Json, text: &str) -> bool {
    match listed {
        Json::String(glob) => glob_matches(glob.as_str(), text),
        Json::Number(number) => same_number(number.as_str(), text),
        Json::Bool(value) => text == if *value { "true" } else { "false" },
        Json::Null | Json::Array(_) | Json::Object(_) => false,
    }
}

fn same_number(a: &str, b: &str) -> bool {
    a == b || matches!((a.parse::<f64>(), b.parse::<f64>()), (Ok(a), Ok(b)) if a == b)
}

/// `*` at either end of the listed value stands for any text; alone it is itself.
fn glob_matches(glob: &str, text: &str) -> bool {
    if glob.len() < 2 {
        return glob == text;
    }
    match (glob.strip_prefix('*'), glob.strip_suffix('*')) {
        (Some(_), Some(_)) => text.contains(&glob[1..glob.len() - 1]),
        (Some(end), None) => text.ends_with(end),
        (None, Some(start)) => text.starts_with(start),
        (None, None) => glob == text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_types::json::{Limits, parse};

    fn json(text: &str) -> Json {
        parse(text.as_bytes(), &Limits::NONE).expect(text)
    }

    fn list(text: &str) -> Vec<Json> {
        json(text).as_array().expect("a list").to_vec()
    }

    #[test]
    fn globs() {
        for (glob, text, want) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*b", "ab", true),
            ("*b*", "abc", true),
            ("**", "", true),
            ("*", "a", false),
            ("*", "*", true),
            ("", "", true),
            ("", "a", false),
            ("a*c", "abc", false),
        ] {
            assert_eq!(glob_matches(glob, text), want, "{glob} {text}");
        }
    }

    #[test]
    fn allowing_is_by_type() {
        for (listed, value, want) in [
            ("[]", "7", true),
            ("[\"a\"]", "\"a\"", true),
            ("[\"5\"]", "5", false),
            ("[5]", "5", true),
            ("[5]", "5.0", true),
            ("[5]", "\"5\"", false),
            ("[true]", "true", true),
            ("[true]", "\"true\"", false),
            ("[\"a\"]", "[\"a\"]", false),
            ("[[\"a\"]]", "[\"a\"]", true),
            ("[\"a\"]", "null", false),
        ] {
            assert_eq!(allows(&list(listed), Parameter::Json(&json(value))), want, "{listed} {value}");
        }
    }

    #[test]
    fn denying_is_by_text_whatever_the_type() {
        for (listed, value, want) in [
            ("[]", "7", true),
            ("[\"5\"]", "5", true),
            ("[5]", "\"5\"", true),
            ("[5]", "\"5.0\"", true),
            ("[\"root*\"]", "[\"a\", \"rooted\"]", true),
            ("[true]", "\"true\"", true),
            ("[\"a\"]", "\"b\"", false),
            ("[\"a\"]", "[\"b\", 7, {}]", false),
            ("[[\"a\"]]", "[\"a\"]", true),
        ] {
            assert_eq!(denies(&list(listed), Parameter::Json(&json(value))), want, "{listed} {value}");
        }
        assert!(denies(&list("[5]"), Parameter::Text("5")));
        assert!(!denies(&list("[5]"), Parameter::Text("6")));
    }

    #[test]
    fn names_are_compared_in_lower_case() {
        let lists = ValueLists([("äb".into(), Vec::new())].into_iter().collect());
        assert!(lists.get("ÄB").is_some());
        assert!(lists.get("äb").is_some());
        assert!(lists.get("ab").is_none());
    }
}
