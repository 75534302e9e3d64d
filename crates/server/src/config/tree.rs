//! What configuration files say, before it means anything: HCL's blocks and JSON's objects in one shape.
//!
//! `listener "tcp" { … }`, `"listener": {"tcp": {…}}` and `"listener": [{"tcp": {…}}]` are three ways to say the same, so labels
//! become objects with one entry.

use coffer_types::json::Text;
use std::fmt;
use std::sync::Arc;

/// A place in a configuration file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct At {
    /// The file as it was named on the command line.
    pub file: Arc<str>,
    /// From 1.
    pub line: u32,
}

/// A value and where it stands.
pub(crate) struct Node {
    pub(crate) at: At,
    pub(crate) value: Value,
}

/// One `name = value` or block; a name may come several times.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) at: At,
    pub(crate) node: Node,
}

pub(crate) enum Value {
    Null,
    Bool(bool),
    /// Decimal digits, as they were written.
    Number(Text),
    String(Text),
    List(Vec<Node>),
    Object(Vec<Entry>),
}

impl Node {
    /// A text that stands in no file: a default, a variable of the environment.
    pub(crate) fn text(origin: &str, text: &str) -> Self {
        Self { at: At { file: origin.into(), line: 0 }, value: Value::String(Text::new(text)) }
    }

    /// The word for messages.
    pub(crate) const fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::List(_) => "a list",
            Value::Object(_) => "a block",
        }
    }

    /// Whether the value asks for nothing: what a key set to `""`, `false`, `0` or `[]` says.
    pub(crate) fn is_off(&self) -> bool {
        match &self.value {
            Value::Null => true,
            Value::Bool(on) => !on,
            Value::Number(text) => text.as_str() == "0",
            Value::String(text) => matches!(text.as_str(), "" | "false" | "0"),
            Value::List(items) => items.is_empty(),
            Value::Object(entries) => entries.is_empty(),
        }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}", self.file),
        }
    }
}
