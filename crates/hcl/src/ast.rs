//! What a text says: keys, values and where they stand.

use std::fmt;

use coffer_types::json::Text;

use crate::parse::ParseError;

/// A place in a text: line and column, both from 1, columns counted in characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Pos {
    pub line: u32,
    pub column: u32,
}

impl fmt::Display for Pos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A whole text.
#[derive(Debug)]
pub struct Document {
    pub body: Body,
    /// All comments in the order in which they stand; items and list values refer to them by index.
    pub(crate) comments: Vec<CommentGroup>,
}

/// What stands between two braces, or in the whole document.
#[derive(Debug)]
pub struct Body {
    pub items: Vec<Item>,
    /// Where the closing brace stands; in a document, its end.
    pub end: Pos,
}

/// `key = value`, `key { … }` or `key "label" { … }`.
pub struct Item {
    /// At least one; those after the first are labels.
    pub keys: Vec<Key>,
    pub value: Value,
    /// Whether an equals sign stood between.
    pub assigned: bool,
    pub(crate) lead: Option<usize>,
    pub(crate) line: Option<usize>,
}

/// One key or label.
#[derive(Debug)]
pub struct Key {
    /// Without quotes and escapes.
    pub name: String,
    pub pos: Pos,
    pub(crate) raw: String,
}

/// A value and where it begins. Its text is wiped on drop, as configuration files hold secrets, and not shown by `Debug`.
pub struct Value {
    pub kind: ValueKind,
    pub pos: Pos,
    /// The text of a literal as it was written.
    pub(crate) raw: Text,
    pub(crate) heredoc: bool,
    pub(crate) lead: Option<usize>,
    pub(crate) line: Option<usize>,
}

/// What a value can be.
pub enum ValueKind {
    /// A quoted string or a heredoc, escapes resolved.
    String(Text),
    /// The digits as they were written: `5`, `-1.5e3`, `0x1f`.
    Number(Text),
    Bool(bool),
    /// Only in JSON.
    Null,
    List(Vec<Value>),
    Object(Body),
}

/// Adjacent comments.
#[derive(Debug)]
pub(crate) struct CommentGroup {
    pub(crate) comments: Vec<Comment>,
}

#[derive(Debug)]
pub(crate) struct Comment {
    pub(crate) pos: Pos,
    pub(crate) text: String,
}

/// A block with one label, in whichever form it was written.
#[derive(Debug)]
pub struct Block<'a> {
    pub label: &'a Key,
    pub body: &'a Body,
}

impl Item {
    /// The first key.
    pub fn name(&self) -> &str {
        &self.keys[0].name // the parser makes no item without a key
    }

    pub fn pos(&self) -> Pos {
        self.keys[0].pos
    }
}

impl Body {
    /// The items whose first key is `name`.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Item> {
        self.items.iter().filter(move |item| item.name() == name)
    }

    /// The first item whose first key is `name`.
    pub fn get(&self, name: &str) -> Option<&Item> {
        self.items.iter().find(|item| item.name() == name)
    }

    /// The blocks `name "label" { … }`. Also takes `name { label { … } }`, `name = { label = { … } }`, and in JSON
    /// `"name": { "label": { … } }` and lists of that, which mean the same.
    ///
    /// # Errors
    /// An item `name` that is none of these: no label, several labels, or no object.
    pub fn labelled<'a>(&'a self, name: &str) -> Result<Vec<Block<'a>>, ParseError> {
        let mut blocks = Vec::new();
        for item in self.items.iter().filter(|item| item.name() == name) {
            match item.keys.as_slice() {
                [_] => nested_labels(name, &item.value, &mut blocks)?,
                [_, label] => bodies(name, label, &item.value, &mut blocks)?,
                [_, _, extra, ..] => return Err(ParseError::new(extra.pos, format!("{name} takes one label"))),
                [] => {}
            }
        }
        Ok(blocks)
    }

    /// The bodies of the blocks `name { … }`. Also takes `name = { … }` and lists of objects.
    ///
    /// # Errors
    /// An item `name` that is none of these.
    pub fn plain<'a>(&'a self, name: &str) -> Result<Vec<&'a Self>, ParseError> {
        let mut found = Vec::new();
        for item in self.items.iter().filter(|item| item.name() == name) {
            if let Some(label) = item.keys.get(1) {
                return Err(ParseError::new(label.pos, format!("{name} takes no label")));
            }
            match &item.value.kind {
                ValueKind::Object(body) => found.push(body),
                ValueKind::List(values) => {
                    for value in values {
                        found.push(value.as_body().ok_or_else(|| no_block(name, value.pos))?);
                    }
                }
                _ => return Err(no_block(name, item.value.pos)),
            }
        }
        Ok(found)
    }
}

fn no_block(name: &str, pos: Pos) -> ParseError {
    ParseError::new(pos, format!("{name} must be a block: {name} \"...\" {{ ... }}"))
}

fn nested_labels<'a>(name: &str, value: &'a Value, blocks: &mut Vec<Block<'a>>) -> Result<(), ParseError> {
    match &value.kind {
        ValueKind::Object(body) => {
            for item in &body.items {
                let [label] = item.keys.as_slice() else { return Err(no_block(name, item.pos())) };
                bodies(name, label, &item.value, blocks)?;
            }
            Ok(())
        }
        ValueKind::List(values) => {
            for value in values {
                // Lists within lists mean nothing here, and would be depth without end.
                value.as_body().ok_or_else(|| no_block(name, value.pos))?;
                nested_labels(name, value, blocks)?;
            }
            Ok(())
        }
        _ => Err(no_block(name, value.pos)),
    }
}

fn bodies<'a>(name: &str, label: &'a Key, value: &'a Value, blocks: &mut Vec<Block<'a>>) -> Result<(), ParseError> {
    match &value.kind {
        ValueKind::Object(body) => blocks.push(Block { label, body }),
        ValueKind::List(values) if !values.is_empty() => {
            for value in values {
                let body = value.as_body().ok_or_else(|| no_block(name, value.pos))?;
                blocks.push(Block { label, body });
            }
        }
        _ => return Err(no_block(name, value.pos)),
    }
    Ok(())
}

impl Value {
    pub(crate) fn new(kind: ValueKind, pos: Pos, raw: &str) -> Self {
        Self { kind, pos, raw: Text::new(raw), heredoc: false, lead: None, line: None }
    }

    /// The content of a string.
    pub fn as_str(&self) -> Option<&str> {
        if let ValueKind::String(text) = &self.kind { Some(text.as_str()) } else { None }
    }

    pub fn as_bool(&self) -> Option<bool> {
        if let ValueKind::Bool(value) = self.kind { Some(value) } else { None }
    }

    pub fn as_list(&self) -> Option<&[Self]> {
        if let ValueKind::List(values) = &self.kind { Some(values) } else { None }
    }

    pub fn as_body(&self) -> Option<&Body> {
        if let ValueKind::Object(body) = &self.kind { Some(body) } else { None }
    }

    /// A whole number, decimal, `0x…` or `0…` (octal).
    pub fn as_i64(&self) -> Option<i64> {
        let ValueKind::Number(text) = &self.kind else { return None };
        let (sign, digits) = match text.as_str().strip_prefix('-') {
            Some(digits) => ("-", digits),
            None => ("", text.as_str()),
        };
        let (radix, digits) = match digits.as_bytes() {
            [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
            [b'0', _, ..] => (8, &digits[1..]),
            _ => (10, digits),
        };
        i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
    }

    /// The text of a string, the digits of a number, `true` or `false`: what fields accept that convert leniently.
    pub fn scalar(&self) -> Option<&str> {
        match &self.kind {
            ValueKind::String(text) | ValueKind::Number(text) => Some(text.as_str()),
            ValueKind::Bool(value) => Some(if *value { "true" } else { "false" }),
            ValueKind::Null | ValueKind::List(_) | ValueKind::Object(_) => None,
        }
    }

    /// The word for messages.
    pub const fn type_name(&self) -> &'static str {
        match self.kind {
            ValueKind::String(_) => "string",
            ValueKind::Number(_) => "number",
            ValueKind::Bool(_) => "boolean",
            ValueKind::Null => "null",
            ValueKind::List(_) => "list",
            ValueKind::Object(_) => "object",
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.type_name(), self.pos)
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.name(), self.value)
    }
}
