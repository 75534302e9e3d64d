//! Keys: non-empty byte strings in byte order.

use std::{borrow::Borrow, fmt, ops::Deref, sync::Arc};

/// The longest key, in bytes.
pub const MAX_KEY: usize = 4096;

/// A key of the store: 1 to [`MAX_KEY`] bytes, ordered bytewise. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<[u8]>);

impl Key {
    /// Takes `bytes` as a key.
    ///
    /// # Errors
    /// [`KeyError`] if it is empty or longer than [`MAX_KEY`]: the caller's fault.
    pub fn new(bytes: impl AsRef<[u8]> + Into<Arc<[u8]>>) -> Result<Self, KeyError> {
        match bytes.as_ref().len() {
            0 => Err(KeyError::Empty),
            length if length > MAX_KEY => Err(KeyError::TooLong { length }),
            _ => Ok(Self(bytes.into())),
        }
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A key from bytes that are a key already, or a non-empty part of one.
    pub(crate) fn from_stored(bytes: &[u8]) -> Self {
        debug_assert!(!bytes.is_empty() && bytes.len() <= MAX_KEY);
        Self(bytes.into())
    }
}

/// Why bytes are no key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyError {
    /// No bytes at all.
    Empty,
    /// More than [`MAX_KEY`] bytes.
    TooLong {
        /// How many there were.
        length: usize,
    },
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "a store key must not be empty"),
            Self::TooLong { length } => write!(f, "a store key has at most {MAX_KEY} bytes and this one {length}"),
        }
    }
}

impl std::error::Error for KeyError {}

impl Deref for Key {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<&str> for Key {
    type Error = KeyError;
    fn try_from(text: &str) -> Result<Self, KeyError> {
        Self::new(text.as_bytes())
    }
}

impl TryFrom<&[u8]> for Key {
    type Error = KeyError;
    fn try_from(bytes: &[u8]) -> Result<Self, KeyError> {
        Self::new(bytes)
    }
}

impl TryFrom<Vec<u8>> for Key {
    type Error = KeyError;
    fn try_from(bytes: Vec<u8>) -> Result<Self, KeyError> {
        Self::new(bytes)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.0.escape_ascii())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_neither_empty_nor_longer_than_its_limit() {
        assert_eq!(Key::new(Vec::new()), Err(KeyError::Empty));
        assert_eq!(Key::new(vec![b'a'; MAX_KEY + 1]), Err(KeyError::TooLong { length: MAX_KEY + 1 }));
        assert_eq!(Key::new(vec![b'a'; MAX_KEY]).unwrap().len(), MAX_KEY);
    }

    #[test]
    fn keys_order_bytewise_whatever_their_length() {
        let mut keys: Vec<Key> = ["b", "a/", "a", "a\u{7f}", "a/b"]
            .iter()
            .map(|text| Key::try_from(*text).unwrap())
            .chain([Key::new(vec![0xff]).unwrap(), Key::new(vec![0]).unwrap()])
            .collect();
        keys.sort();
        let texts: Vec<String> = keys.iter().map(Key::to_string).collect();
        assert_eq!(texts, ["\\x00", "a", "a/", "a/b", "a\\x7f", "b", "\\xff"]);
    }
}
