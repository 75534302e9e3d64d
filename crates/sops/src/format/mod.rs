//! Formats: bytes to a tree and back.
//!
//! There are two ways of writing. [`Format::emit`] writes a tree from nothing, byte for byte as sops' own emitter does: the
//! *reference* style. [`Format::patch`] changes a source as it stands, so that comments, blank lines, quotes and spelling of all
//! that doesn't change stay: the default style, where the format and the file allow it.

mod binary;
mod dotenv;
mod flat;
mod go_text;
mod ini;
mod json;
mod json_patch;
mod json_read;

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::error::Result;
use crate::tree::{Branch, Value};

pub use binary::Binary;
pub use dotenv::Dotenv;
pub(crate) use go_text::plain_text;
pub use ini::Ini;
pub use json::Json;

/// The formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Yaml,
    Json,
    Dotenv,
    Ini,
    Binary,
    /// Ours, not the reference's.
    Toml,
}

impl Kind {
    /// The format that `--input-type` calls by this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "yaml" => Self::Yaml,
            "json" => Self::Json,
            "dotenv" => Self::Dotenv,
            "ini" => Self::Ini,
            "binary" => Self::Binary,
            "toml" => Self::Toml,
            _ => return None,
        })
    }

    /// The format that a file's name says, by its end and in this case of letters; `binary` for all that is none of the others.
    pub fn of_path(path: &str) -> Self {
        let ends = |suffix: &str| path.ends_with(suffix);
        if ends(".yaml") || ends(".yml") {
            Self::Yaml
        } else if ends(".json") {
            Self::Json
        } else if ends(".env") {
            Self::Dotenv
        } else if ends(".ini") {
            Self::Ini
        } else if ends(".toml") {
            Self::Toml
        } else {
            Self::Binary
        }
    }
}

/// An encrypted file, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The documents, without metadata.
    pub documents: Vec<Branch>,
    /// What stands under `sops` in the first document, nested also where the format is flat.
    pub metadata: Branch,
}

/// How a source is to change.
pub struct Patch<'a> {
    /// What the result holds. Where only leaves differ from the source, only their tokens change; entries and elements that are new or
    /// gone are written or left out with the lines that are theirs.
    pub documents: &'a [Branch],
    /// The metadata of the result, to be put into every document that the format puts it in, in place of what is there; `None`
    /// takes it out.
    pub metadata: Option<&'a Branch>,
    /// Leaves of `documents` (see [`Spellings`]) to be written by these tokens instead of the format's own.
    pub spellings: &'a Spellings,
}

/// What a patch made.
pub struct Patched {
    pub bytes: Zeroizing<Vec<u8>>,
    /// Of the leaves that changed: the tokens that a patch back to the source's value would *not* write by itself, such as `0755`
    /// where it would write `493`. A file that is encrypted keeps them, encrypted, so that it can be decrypted to the last byte.
    pub lost: Spellings,
}

/// Source tokens by number of leaf. Leaves are numbered from 0 through all documents in the order of the walk; scalars (null and the
/// empty text too) and comments count one each, maps and lists none.
pub type Spellings = BTreeMap<usize, Zeroizing<String>>;

/// One format, with its options. Errors of reading carry lines.
pub trait Format: Sync {
    fn kind(&self) -> Kind;

    /// Reads a file that is not encrypted. What stands under `sops` is an entry like others; see [`Format::holds_metadata`].
    ///
    /// # Errors
    /// `Fault::Reading`; `Fault::NoDocument` for a file without any.
    fn load_plain(&self, source: &[u8]) -> Result<Vec<Branch>>;

    /// Reads a file that is encrypted.
    ///
    /// # Errors
    /// Those of `load_plain`, and `Fault::Reading` where there is no metadata.
    fn load_encrypted(&self, source: &[u8]) -> Result<Loaded>;

    /// Whether these documents, read by `load_plain`, have an entry in the place of metadata. The first document decides.
    fn holds_metadata(&self, documents: &[Branch]) -> bool {
        documents.first().is_some_and(|branch| branch.get("sops").is_some())
    }

    /// Writes documents in the reference style, with metadata where it is given (its entries in the order given).
    ///
    /// # Errors
    /// `Fault::Dumping` where the format can't say it.
    fn emit(&self, documents: &[Branch], metadata: Option<&Branch>) -> Result<Zeroizing<Vec<u8>>>;

    /// Writes one value that is no text: what `--extract` shows of numbers and lists.
    ///
    /// # Errors
    /// `Fault::Dumping` where the format can't say it.
    fn emit_value(&self, value: &Value) -> Result<Zeroizing<Vec<u8>>>;

    /// The document that a new file starts with in the editor.
    fn example(&self) -> Vec<Branch>;

    /// Changes `source`, which holds metadata or not, into what `patch` says; nothing where this source or this change doesn't
    /// allow it, so that the caller writes it with [`Format::emit`]. What it gives reads back as exactly `patch.documents`.
    ///
    /// # Errors
    /// Those of reading and of `emit`.
    fn patch(&self, source: &[u8], patch: &Patch<'_>) -> Result<Option<Patched>> {
        let _unused = (source, patch);
        Ok(None)
    }
}
