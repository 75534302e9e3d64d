//! The document that a new file starts with.

use crate::tree::{Branch, Comment, Element, Item, Line, Value};

pub(super) fn documents() -> Vec<Branch> {
    let list = |values: [Value; 2]| Value::List(values.map(|value| Element::Value(value, Line(0))).into());
    let mut branch = Branch::new();
    branch.push("hello", "Welcome to SOPS! Edit this file as you please!");
    branch.push("example_key", "example_value");
    branch.items.push(Item::Comment(Comment::new(" Example comment", 0)));
    branch.push("example_array", list(["example_value1".into(), "example_value2".into()]));
    branch.push("example_number", Value::Float(1234.56789));
    branch.push("example_booleans", list([true.into(), false.into()]));
    vec![branch]
}
