//! The paths of rules, and which of two that match is more specific.

use std::cmp::Ordering;
use std::fmt;

use coffer_types::path::MAX_PATH;

/// The path of a rule.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Pattern {
    /// One path, character by character.
    Exact(Box<str>),
    /// Everything that begins so: the text before a trailing `*`.
    Prefix(Box<str>),
    /// With `+` for one whole segment, perhaps with a trailing `*`: the whole text.
    Segments(Box<str>),
}

/// Why a text can't be the path of a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadPattern {
    /// `+*` would be read differently by different people.
    ForbiddenWildcards,
    /// No call has so long a path; and a rule of a million segments would cost memory for nothing.
    TooLong,
}

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForbiddenWildcards => f.write_str("invalid use of wildcards ('+*' is forbidden)"),
            Self::TooLong => write!(f, "longer than the {MAX_PATH} bytes that a path can have"),
        }
    }
}

impl Pattern {
    /// Reads the path of a rule. One leading `/` is dropped, as calls have none.
    ///
    /// # Errors
    /// [`BadPattern`].
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let text = text.strip_prefix('/').unwrap_or(text);
        if text.len() > MAX_PATH {
            return Err(BadPattern::TooLong);
        }
        if text.contains("+*") {
            return Err(BadPattern::ForbiddenWildcards);
        }
        Ok(if text == "+" || text.starts_with("+/") || text.contains("/+") {
            Self::Segments(text.into())
        } else if let Some(prefix) = text.strip_suffix('*') {
            Self::Prefix(prefix.into())
        } else {
            Self::Exact(text.into())
        })
    }

    /// The text that is compared: without a trailing `*`.
    pub(crate) fn stem(&self) -> &str {
        match self {
            Self::Exact(text) | Self::Prefix(text) => text,
            Self::Segments(text) => text.strip_suffix('*').unwrap_or(text),
        }
    }

    pub(crate) fn ends_in_glob(&self) -> bool {
        match self {
            Self::Exact(_) => false,
            Self::Prefix(_) => true,
            Self::Segments(text) => text.ends_with('*'),
        }
    }

    /// Where the first wildcard stands.
    fn first_wildcard(&self) -> usize {
        match self {
            Self::Exact(_) => usize::MAX,
            Self::Prefix(text) => text.len(),
            Self::Segments(text) => text.find('+').unwrap_or(text.len()),
        }
    }

    fn plus_segments(&self) -> usize {
        match self {
            Self::Segments(_) => self.stem().split('/').filter(|segment| *segment == "+").count(),
            Self::Exact(_) | Self::Prefix(_) => 0,
        }
    }

    /// Which of two patterns that match the same path wins: the greater. The second value says by which rule.
    pub(crate) fn compare(&self, other: &Self) -> (Ordering, &'static str) {
        // Each step is decided only where all before it are equal; the greater is the more specific.
        let steps = [
            (self.first_wildcard().cmp(&other.first_wildcard()), "its first wildcard stands later"),
            (other.ends_in_glob().cmp(&self.ends_in_glob()), "it does not end in *"),
            (other.plus_segments().cmp(&self.plus_segments()), "it has fewer + segments"),
            (self.stem().len().cmp(&other.stem().len()), "it is longer"),
            (self.stem().cmp(other.stem()), "it comes later in the alphabet"),
        ];
        steps.into_iter().find(|(order, _)| order.is_ne()).unwrap_or((Ordering::Equal, "they are the same"))
    }
}

/// As it stands in a policy.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) | Self::Segments(text) => f.write_str(text),
            Self::Prefix(text) => write!(f, "{text}*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        let exact = |t: &str| Pattern::Exact(t.into());
        let prefix = |t: &str| Pattern::Prefix(t.into());
        let segments = |t: &str| Pattern::Segments(t.into());
        for (text, want) in [
            ("a/b", exact("a/b")),
            ("/a", exact("a")),
            ("//a", exact("/a")),
            ("", exact("")),
            ("a*b", exact("a*b")),
            ("a+", exact("a+")),
            ("a+b/c", exact("a+b/c")),
            ("*", prefix("")),
            ("a/*", prefix("a/")),
            ("a**", prefix("a*")),
            ("+", segments("+")),
            ("+/a", segments("+/a")),
            ("a/+", segments("a/+")),
            ("a/+/b*", segments("a/+/b*")),
            ("a/+b", segments("a/+b")),
            ("+a", exact("+a")),
        ] {
            assert_eq!(Pattern::parse(text), Ok(want.clone()), "{text}");
            assert_eq!(want.to_string(), text.strip_prefix('/').unwrap_or(text));
        }
        for text in ["+*", "a/+*", "+*/a", "a+*"] {
            assert_eq!(Pattern::parse(text), Err(BadPattern::ForbiddenWildcards), "{text}");
        }
    }

    #[test]
    fn paths_longer_than_any_call_has_are_refused() {
        assert!(Pattern::parse(&"a".repeat(MAX_PATH)).is_ok());
        assert_eq!(Pattern::parse(&"+/".repeat(MAX_PATH)), Err(BadPattern::TooLong));
    }

    /// The order of Vault's documentation ("Policy syntax", priority matching), least specific first.
    #[test]
    fn the_documented_order() {
        let pattern = |text| Pattern::parse(text).expect("good");
        let order =
            ["*", "+/+/+", "+/b/+", "+/b/c", "a*", "a/+/c*", "a/+/cd*", "a/*", "a/+/+", "a/+/c", "a/b*", "a/b/+", "a/b/c"];
        for (i, low) in order.iter().enumerate() {
            for high in &order[i + 1..] {
                assert_eq!(pattern(high).compare(&pattern(low)).0, Ordering::Greater, "{high} over {low}");
                assert_eq!(pattern(low).compare(&pattern(high)).0, Ordering::Less, "{high} over {low}");
            }
        }
    }
}
