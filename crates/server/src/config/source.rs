//! From the text of a file to entries.

use super::tree::{At, Entry, Node, Value};
use coffer_hcl::{Body, Item, ParseError, Pos, ValueKind};
use coffer_types::json::Text;
use std::sync::Arc;

/// Reads HCL or JSON.
///
/// # Errors
/// The first mistake of the text.
pub(crate) fn parse(file: &Arc<str>, text: &str) -> Result<Vec<Entry>, ParseError> {
    Ok(entries(file, &coffer_hcl::parse(text)?.body))
}

fn entries(file: &Arc<str>, body: &Body) -> Vec<Entry> {
    body.items.iter().map(|item| entry(file, item)).collect()
}

/// Labels become objects with one entry, so that a block is what its JSON form is.
fn entry(file: &Arc<str>, item: &Item) -> Entry {
    let mut inner = node(file, &item.value);
    for label in item.keys.iter().skip(1).rev() {
        let at = place(file, label.pos);
        let entry = Entry { name: label.name.clone(), at: at.clone(), node: inner };
        inner = Node { at, value: Value::Object(vec![entry]) };
    }
    Entry { name: item.name().to_owned(), at: place(file, item.pos()), node: inner }
}

fn node(file: &Arc<str>, value: &coffer_hcl::Value) -> Node {
    let read = match &value.kind {
        ValueKind::Null => Value::Null,
        ValueKind::Bool(b) => Value::Bool(*b),
        // Octal and hexadecimal are HCL's; from here on numbers are decimal.
        ValueKind::Number(text) => {
            value.as_i64().map_or_else(|| Value::Number(text.clone()), |n| Value::Number(Text::new(n.to_string())))
        }
        ValueKind::String(text) => Value::String(text.clone()),
        ValueKind::List(items) => Value::List(items.iter().map(|item| node(file, item)).collect()),
        ValueKind::Object(body) => Value::Object(entries(file, body)),
    };
    Node { at: place(file, value.pos), value: read }
}

fn place(file: &Arc<str>, pos: Pos) -> At {
    At { file: Arc::clone(file), line: pos.line }
}
