//! HCL in its first version (HCL1), as Vault's policies and configuration files use it, and JSON in its place.
//!
//! [`parse`] reads a text into a [`Document`] of keys, values and positions; [`format`] writes a text in canonical form. There are no
//! expressions: `${…}` and `{{…}}` are plain text. Depth and size are bounded before anything is built, so a hostile text costs a
//! bounded stack and memory. The texts of errors follow HashiCorp's parser, which people and scripts know.
//!
//! Why not a library: see `docs/decisions/0002-hcl.md`.

mod ast;
mod format;
mod json;
mod lex;
mod parse;
mod text;

pub use ast::{Block, Body, Document, Item, Key, Pos, Value, ValueKind};
pub use format::format;
pub use parse::{MAX_BYTES, MAX_DEPTH, ParseError, parse};
