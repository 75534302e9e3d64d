//! Paths and names, parsed once.

use crate::error::{Error, Result};
use std::fmt;

/// The path of a call below `/v1/`: no leading slash, no empty, `.` or `..` segment, no control character.
/// A trailing slash is kept: `secret/` and `secret` are different questions. What policy decides on and what
/// the router executes is this one value (CVE-2026-3605 was two).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Path(Box<str>);

/// Why a text is not a [`Path`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathFault {
    /// Cleaning gives another path: redirect to it or refuse, never execute it.
    NotClean,
    ControlCharacter,
    TooLong,
}

/// Longest path, in bytes.
pub const MAX_PATH: usize = 2048;

impl Path {
    pub fn parse(text: &str) -> std::result::Result<Self, PathFault> {
        if text.len() > MAX_PATH {
            return Err(PathFault::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(PathFault::ControlCharacter);
        }
        let body = text.strip_suffix('/').unwrap_or(text);
        if text.starts_with('/') || !body.is_empty() && body.split('/').any(|s| s.is_empty() || s == "." || s == "..") {
            return Err(PathFault::NotClean);
        }
        Ok(Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_folder(&self) -> bool {
        self.0.is_empty() || self.0.ends_with('/')
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What `path.Clean` makes of a path, a trailing slash kept: where a redirect points to.
pub fn clean(text: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in text.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    let mut cleaned = kept.join("/");
    if text.ends_with('/') && !cleaned.is_empty() {
        cleaned.push('/');
    }
    cleaned
}

/// Where an engine stands: like a [`Path`], always with a trailing slash (`secret/`, `team/a/kv/`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct MountPath(Box<str>);

impl MountPath {
    /// Takes `secret`, `/secret/`, `team/a/kv`; refuses what would not be one path and what policies
    /// could not name: wildcard characters and spaces at the ends.
    pub fn parse(text: &str) -> Result<Self> {
        let body = text.trim_matches('/');
        let fault = || Error::bad_request("invalid mount path: it must be a clean path without wildcards or control characters");
        if body.is_empty() || body.trim() != body || body.contains(['*', '+', '%', '?', '#', '\\']) {
            return Err(fault());
        }
        let path = Path::parse(&format!("{body}/")).map_err(|_| fault())?;
        Ok(Self(path.0))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the trailing slash.
    pub fn bare(&self) -> &str {
        self.0.strip_suffix('/').unwrap_or(&self.0)
    }
}

impl fmt::Display for MountPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a thing in one path segment: `[A-Za-z0-9_]` at the ends, also `.`, `-`, `@`, `:` inside.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Name(Box<str>);

impl Name {
    pub fn parse(text: &str) -> Result<Self> {
        let edge = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let inner = |b: u8| edge(b) || matches!(b, b'.' | b'-' | b'@' | b':');
        let bytes = text.as_bytes();
        let good = !bytes.is_empty()
            && bytes.len() <= 512
            && edge(bytes[0])
            && edge(bytes[bytes.len() - 1])
            && bytes.iter().all(|b| inner(*b));
        if good {
            Ok(Self(text.into()))
        } else {
            Err(Error::bad_request("invalid name: letters, digits, '_' and, inside, '.', '-', '@', ':'"))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_cleaning_changes() {
        for text in ["/a", "a//b", "a/./b", "a/../b", "..", ".", "a/..", "//", "../", "a/b//"] {
            assert_eq!(Path::parse(text), Err(PathFault::NotClean), "{text}");
        }
        for text in ["a\0b", "a\nb", "a\u{7f}"] {
            assert_eq!(Path::parse(text), Err(PathFault::ControlCharacter), "{text:?}");
        }
        for text in ["", "a", "a/", "a/b/c", "a/..b", "a/...", "ü/€ x"] {
            assert!(Path::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn mounts_and_names() {
        assert_eq!(MountPath::parse("/team/a/kv/").unwrap().as_str(), "team/a/kv/");
        for text in ["", "/", "a/../b", "a//b", "a*", "a+b/", " a", "a\0"] {
            assert!(MountPath::parse(text).is_err(), "{text:?}");
        }
        for text in ["", "-a", "a-", "a b", "a/b", "a*", "ü"] {
            assert!(Name::parse(text).is_err(), "{text:?}");
        }
        assert!(Name::parse("app-role.v1").is_ok());
    }

    proptest! {
        #[test]
        fn cleaning_gives_a_path(text in "[a./]{0,24}") {
            let cleaned = clean(&text);
            prop_assert!(Path::parse(&cleaned).is_ok());
            if Path::parse(&text).is_ok() && text != "/" {
                prop_assert_eq!(cleaned, text);
            }
        }
    }
}
