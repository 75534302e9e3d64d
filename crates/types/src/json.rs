//! JSON as requests and secrets need it: numbers kept as they were written, duplicate keys refused, depth,
//! strings and items bounded before anything is built, every leaf wiped on drop, nothing printable.
//!
//! serde_json would lose the first (numbers go through floats, or through a private marker map that a client
//! could forge), the second and the wiping; hence our own (RFC 8259).

mod parse;
mod write;

pub use parse::{Fault, Limits, parse};
pub use write::{object_size_bound, size_bound, string_size_bound, write, write_object, write_string};

use std::fmt;
use zeroize::Zeroizing;

/// A JSON value. Leaves are wiped on drop; `Debug` shows the shape only.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Json {
    #[default]
    Null,
    Bool(bool),
    /// The digits as they stood in the text.
    Number(Text),
    String(Text),
    Array(Vec<Json>),
    Object(Object),
}

/// A string that is wiped on drop.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Text(Zeroizing<String>);

/// The members of an object, in the order in which they stood, no name twice.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Object(Vec<(Box<str>, Json)>);

impl Json {
    pub fn string(text: impl Into<String>) -> Self {
        Self::String(Text::new(text))
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text.as_str()) } else { None }
    }

    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(b) = self { Some(*b) } else { None }
    }

    /// A whole number that fits.
    pub fn as_i64(&self) -> Option<i64> {
        if let Self::Number(n) = self { n.as_str().parse().ok() } else { None }
    }

    pub fn as_array(&self) -> Option<&[Self]> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }

    pub fn as_object(&self) -> Option<&Object> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }

    pub fn into_object(self) -> Option<Object> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }

    /// The member `name` of an object.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.as_object()?.get(name)
    }

    /// The member at `a/b/c` below this value.
    pub fn at(&self, path: &str) -> Option<&Self> {
        path.split('/').try_fold(self, |value, step| match value {
            Self::Object(object) => object.get(step),
            Self::Array(items) => items.get(step.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// The word for messages: `string`, `number`, …
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }

    /// The text of this value, compact.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(size_bound(self)));
        write(self, &mut out);
        out
    }
}

impl Text {
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

impl Object {
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    pub fn with_capacity(members: usize) -> Self {
        Self(Vec::with_capacity(members))
    }

    pub fn get(&self, name: &str) -> Option<&Json> {
        self.0.iter().find(|(k, _)| &**k == name).map(|(_, v)| v)
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Json> {
        self.0.iter_mut().find(|(k, _)| &**k == name).map(|(_, v)| v)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Sets `name`, in its old place if it was there; gives back the old value.
    pub fn insert(&mut self, name: impl Into<Box<str>>, value: impl Into<Json>) -> Option<Json> {
        let (name, value) = (name.into(), value.into());
        if let Some(old) = self.get_mut(&name) {
            return Some(std::mem::replace(old, value));
        }
        self.0.push((name, value));
        None
    }

    /// The builder's form of [`Object::insert`].
    #[must_use]
    pub fn with(mut self, name: impl Into<Box<str>>, value: impl Into<Json>) -> Self {
        self.insert(name, value);
        self
    }

    /// Adds a member that the caller knows to be new.
    pub(crate) fn push(&mut self, name: Box<str>, value: Json) {
        self.0.push((name, value));
    }

    pub fn remove(&mut self, name: &str) -> Option<Json> {
        let at = self.0.iter().position(|(k, _)| &**k == name)?;
        Some(self.0.remove(at).1)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.0.iter().map(|(k, v)| (&**k, v))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Json)> {
        self.0.iter_mut().map(|(k, v)| (&**k, v))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(k, _)| &**k)
    }

    /// By name, as Go writes maps.
    pub fn sort(&mut self) {
        self.0.sort_by(|a, b| a.0.cmp(&b.0));
    }
}

impl IntoIterator for Object {
    type Item = (Box<str>, Json);
    type IntoIter = std::vec::IntoIter<Self::Item>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Later members win, as in [`Object::insert`].
impl<K: Into<Box<str>>, V: Into<Json>> FromIterator<(K, V)> for Object {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(members: I) -> Self {
        let mut object = Self::new();
        for (name, value) in members {
            object.insert(name, value);
        }
        object
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(object) => object.fmt(f),
            Self::Array(items) => write!(f, "array of {}", items.len()),
            other => f.write_str(other.kind()),
        }
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "object of {}", self.len())
    }
}

macro_rules! from_number {
    ($($kind:ty),*) => {$(
        impl From<$kind> for Json {
            fn from(number: $kind) -> Self {
                Self::Number(Text::new(number.to_string()))
            }
        }
    )*};
}
from_number!(i32, i64, u8, u16, u32, u64, usize);

impl From<bool> for Json {
    fn from(b: bool) -> Self {
        Self::Bool(b)
    }
}
impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::string(text)
    }
}
impl From<&String> for Json {
    fn from(text: &String) -> Self {
        Self::string(text.as_str())
    }
}
impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::string(text)
    }
}
impl From<Object> for Json {
    fn from(object: Object) -> Self {
        Self::Object(object)
    }
}
impl<T: Into<Json>> From<Vec<T>> for Json {
    fn from(items: Vec<T>) -> Self {
        Self::Array(items.into_iter().map(Into::into).collect())
    }
}
impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// serde's side, for records that hold JSON: through the text, so that numbers stay exact.
impl serde::Serialize for Json {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = String::from_utf8(self.to_bytes().to_vec()).map_err(serde::ser::Error::custom)?;
        serde_json::value::RawValue::from_string(text).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Json {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<serde_json::value::RawValue>::deserialize(deserializer)?;
        parse(raw.get().as_bytes(), &Limits::NONE).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_keep_numbers_exact() {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Record {
            data: Json,
        }
        let text = r#"{"data":{"n":12345678901234567890,"f":1.10,"e":1e3,"s":"x"}}"#;
        let record: Record = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), text);
    }

    #[test]
    fn debug_shows_the_shape_only() {
        let value = parse(br#"{"k":"canary","n":[4711]}"#, &Limits::NONE).unwrap();
        assert_eq!(format!("{value:?} {:?} {:?}", value.get("k"), value.get("n")), "object of 2 Some(string) Some(array of 1)");
    }

    #[test]
    fn writing_never_outgrows_its_bound() {
        for text in
            [r#"{"a\"":"\u0001\\\n","b":[1,-2.5e3,null,true,[],{}],"":{}}"#, "[[[]]]", r#""\u0000\u001f\"""#, "false", "[]"]
        {
            let value = parse(text.as_bytes(), &Limits::NONE).unwrap();
            assert!(value.to_bytes().len() <= size_bound(&value), "{text}");
        }
    }

    #[test]
    fn walks() {
        let value = parse(br#"{"a":{"b":[{"c":7}]}}"#, &Limits::NONE).unwrap();
        assert_eq!(value.at("a/b/0/c").and_then(Json::as_i64), Some(7));
        assert!(value.at("a/x").is_none());
    }
}
