//! SOPS files: encrypted values in readable files.
//!
//! A file is a list of documents ([`tree::Branch`]) and, where it is encrypted, [`metadata::Metadata`]. A [`format::Format`] makes
//! the one of bytes and back; [`keys::KeyService`] is how callers wrap and unwrap data keys. Nothing here does I/O or is async:
//! the clock, randomness and key services are arguments.

pub mod error;
pub mod file;
pub mod format;
mod go_regex;
pub mod groups;
pub mod keys;
pub mod metadata;
pub mod path;
pub mod tree;
pub mod value;
pub mod walk;
pub mod yaml;

pub use error::{Error, Fault, Result};
pub use format::{Format, Kind, Loaded, Patch, Patched, Spellings};
pub use keys::{KeyService, MasterKey};
pub use metadata::Metadata;
pub use tree::{Branch, Comment, Element, Entry, Item, Key, Line, Text, Time, Value};
