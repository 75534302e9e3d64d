//! What a file holds, whatever its format: ordered maps, lists, leaves and comments.
//!
//! Texts and comments are wiped on drop, and nothing here prints a value.

use std::fmt;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

/// A line of the source, from 1; 0 where there is none. It says where something stood and is no part of what it is: all
/// lines are equal.
#[derive(Debug, Clone, Copy, Default)]
pub struct Line(pub u32);

impl PartialEq for Line {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// A map in the order of its file: a document, or a map within one. Keys may repeat where the format lets them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Branch {
    pub items: Vec<Item>,
}

impl Branch {
    pub const fn new() -> Self {
        Self { items: Vec::new() }
    }

    /// The entries, without comments.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.items.iter().filter_map(|item| match item {
            Item::Entry(entry) => Some(entry),
            Item::Comment(_) => None,
        })
    }

    /// The value of the first entry with this key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries().find(|entry| entry.key.is(key)).map(|entry| &entry.value)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.items.iter_mut().find_map(|item| match item {
            Item::Entry(entry) if entry.key.is(key) => Some(&mut entry.value),
            _ => None,
        })
    }

    /// Appends an entry, whether or not there is one with this key.
    pub fn push(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        self.items.push(Item::Entry(Entry { key: Key::Text(key.into()), value: value.into(), line: Line(0) }));
    }
}

/// What stands in a map: an entry, or a comment on a line of its own or after the line of the entry that follows it here.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    Entry(Entry),
    Comment(Comment),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub key: Key,
    pub value: Value,
    pub line: Line,
}

/// A key. Others than texts can be loaded (YAML), and are refused by the walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    Text(String),
    /// The key as it is written, and what Go calls its type: `int`, `bool`, `float64`.
    Other {
        text: String,
        kind: &'static str,
    },
}

impl Key {
    pub fn is(&self, text: &str) -> bool {
        matches!(self, Self::Text(own) if own == text)
    }

    /// The key as it is written.
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Other { text, .. } => text,
        }
    }
}

/// A comment: the text after the comment sign, the space after the sign included.
#[derive(Clone, PartialEq)]
pub struct Comment {
    pub text: Text,
    /// It stands on the same line as the item that follows it here, behind that item.
    pub inline: bool,
    pub line: Line,
}

impl Comment {
    pub fn new(text: impl Into<Text>, line: u32) -> Self {
        Self { text: text.into(), inline: false, line: Line(line) }
    }
}

impl fmt::Debug for Comment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.inline { "Comment(inline)" } else { "Comment" })
    }
}

/// What stands in a list.
#[derive(Debug, Clone, PartialEq)]
pub enum Element {
    Value(Value, Line),
    Comment(Comment),
}

/// A value. Floats compare as numbers.
#[derive(Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Text),
    Time(Time),
    /// Only ever made by decrypting `type:bytes`.
    Bytes(Text),
    List(Vec<Element>),
    Map(Branch),
    /// A leaf that can be loaded but not walked: the number as it is written and Go's name of its type (`uint64`).
    Unsupported {
        text: String,
        kind: &'static str,
    },
}

impl Value {
    pub fn text(text: impl Into<Text>) -> Self {
        Self::Text(text.into())
    }

    pub fn as_text(&self) -> Option<&Text> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_map(&self) -> Option<&Branch> {
        match self {
            Self::Map(branch) => Some(branch),
            _ => None,
        }
    }

    /// Neither a list nor a map.
    pub const fn is_leaf(&self) -> bool {
        !matches!(self, Self::List(_) | Self::Map(_))
    }

    /// What it is, for messages.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "text",
            Self::Time(_) => "time",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Unsupported { kind, .. } => kind,
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(list) => f.debug_list().entries(list).finish(),
            Self::Map(branch) => branch.fmt(f),
            leaf => f.write_str(leaf.kind()),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Branch> for Value {
    fn from(branch: Branch) -> Self {
        Self::Map(branch)
    }
}

/// A text as Go has it: bytes that are UTF-8 in all formats but `binary`, `dotenv` and `ini`. Wiped on drop.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Text(Zeroizing<Vec<u8>>);

impl Text {
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The text with U+FFFD for every byte that is no UTF-8, as Go's `range` over a string sees it.
    pub fn lossy(&self) -> Zeroizing<String> {
        let mut out = Zeroizing::new(String::with_capacity(self.0.len()));
        for chunk in self.0.utf8_chunks() {
            out.push_str(chunk.valid());
            out.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
        }
        out
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Text(..)")
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Zeroizing::new(text.as_bytes().to_vec()))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text.into_bytes()))
    }
}

impl From<Zeroizing<String>> for Text {
    fn from(mut text: Zeroizing<String>) -> Self {
        Self(Zeroizing::new(std::mem::take(&mut *text).into_bytes()))
    }
}

impl From<Vec<u8>> for Text {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl From<Zeroizing<Vec<u8>>> for Text {
    fn from(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }
}

/// A point in time in the form of Go's `RFC3339Nano`: as many fractional digits as are needed, its own offset kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Time(Zeroizing<String>);

impl Time {
    /// Reads RFC 3339; nothing if it is none. What it gives back is in one form whatever was read: no trailing zeros in the
    /// fraction, `Z` for UTC.
    pub fn parse(text: &str) -> Option<Self> {
        OffsetDateTime::parse(text, &Rfc3339).ok().and_then(Self::new)
    }

    /// Nothing if the year or the offset has no form in RFC 3339.
    pub fn new(at: OffsetDateTime) -> Option<Self> {
        at.format(&Rfc3339).ok().map(|text| Self(Zeroizing::new(text)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_prints_a_value() {
        let mut branch = Branch::new();
        branch.items.push(Item::Comment(Comment::new("canary-1", 1)));
        branch.push("key", "canary-2");
        branch.push("list", Value::List(vec![Element::Value(Value::Int(4711), Line(3))]));
        let shown = format!("{branch:?} {:?}", Time::parse("2023-01-02T03:04:05.600Z"));
        assert!(!shown.contains("canary") && !shown.contains("4711") && !shown.contains("2023"), "{shown}");
    }

    #[test]
    fn times_have_one_form() {
        assert_eq!(Time::parse("2023-01-02T03:04:05.600Z").unwrap().as_str(), "2023-01-02T03:04:05.6Z");
        assert_eq!(Time::parse("2023-01-02T03:04:05+00:00").unwrap().as_str(), "2023-01-02T03:04:05Z");
        assert_eq!(Time::parse("2023-01-02T03:04:05.123456789+02:00").unwrap().as_str(), "2023-01-02T03:04:05.123456789+02:00");
        for bad in ["", "2023-01-02", "2023-13-02T03:04:05Z", "x"] {
            assert!(Time::parse(bad).is_none(), "{bad}");
        }
    }
}
