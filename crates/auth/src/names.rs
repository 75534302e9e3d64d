//! Names that other systems give, as keys of what is kept under them.

use coffer_types::{Error, Result};

/// The one form of a name: without spaces around it, in lower case. Names are made so before anything else is done with them, so that
/// no counter, alias or policy sees two names where there is one.
///
/// # Errors
/// An empty name, one that is too long or has characters that no key may have.
pub(crate) fn normal(name: &str) -> Result<String> {
    let name = name.trim().to_lowercase();
    if name.is_empty() || name.len() > 512 || name.chars().any(|c| c.is_control() || c == '/') {
        return Err(Error::bad_request("invalid name: it is empty, too long, or has a character that names may not have"));
    }
    Ok(name)
}

/// Sorted, each once, without empty ones.
pub(crate) fn set(texts: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut texts: Vec<String> = texts.into_iter().filter(|text| !text.is_empty()).collect();
    texts.sort_unstable();
    texts.dedup();
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form() {
        for text in ["bob", " Bob", "BOB\t", "bob "] {
            assert_eq!(normal(text).unwrap(), "bob");
        }
        for text in ["", "  ", "a/b", "a\0b", &"x".repeat(513)] {
            assert!(normal(text).is_err());
        }
    }
}
