//! What a policy can grant on a path.

use coffer_types::Operation;

/// One capability.
///
/// `subscribe` and `recover` are words of Vault Enterprise: they are read so that policies can be carried over, and grant nothing here, as
/// no operation asks for them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Capability {
    Create,
    Delete,
    Deny,
    List,
    Patch,
    Read,
    Recover,
    Scan,
    Subscribe,
    Sudo,
    Update,
}

impl Capability {
    /// All, in the order of the alphabet, which is the order in which the API lists them.
    pub const ALL: [Self; 11] = [
        Self::Create,
        Self::Delete,
        Self::Deny,
        Self::List,
        Self::Patch,
        Self::Read,
        Self::Recover,
        Self::Scan,
        Self::Subscribe,
        Self::Sudo,
        Self::Update,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Deny => "deny",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Read => "read",
            Self::Recover => "recover",
            Self::Scan => "scan",
            Self::Subscribe => "subscribe",
            Self::Sudo => "sudo",
            Self::Update => "update",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|capability| capability.as_str() == word)
    }

    /// What an operation needs; nothing for help, which everyone may ask for.
    pub const fn needed_by(operation: Operation) -> Option<Self> {
        Some(match operation {
            Operation::Create => Self::Create,
            Operation::Read => Self::Read,
            Operation::Update => Self::Update,
            Operation::Patch => Self::Patch,
            Operation::Delete => Self::Delete,
            Operation::List => Self::List,
            Operation::Scan => Self::Scan,
            Operation::Help => return None,
        })
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Capabilities(u16);

impl Capabilities {
    pub const NONE: Self = Self(0);

    /// `deny` alone.
    pub const DENY: Self = Self(1 << Capability::Deny as u16);

    #[must_use]
    pub const fn with(self, capability: Capability) -> Self {
        Self(self.0 | 1 << capability as u16)
    }

    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn has(self, capability: Capability) -> bool {
        self.0 & 1 << capability as u16 != 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub const fn denies(self) -> bool {
        self.has(Capability::Deny)
    }

    /// In the order of the alphabet.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.into_iter().filter(move |capability| self.has(*capability))
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        capabilities.into_iter().fold(Self::NONE, Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_both_ways_and_others_are_refused() {
        for capability in Capability::ALL {
            assert_eq!(Capability::parse(capability.as_str()), Some(capability));
        }
        for word in ["", "Read", "read ", "root", "write", "*", "fly"] {
            assert_eq!(Capability::parse(word), None, "{word:?}");
        }
        let words: Vec<&str> = Capability::ALL.map(Capability::as_str).to_vec();
        assert!(words.is_sorted());
    }

    #[test]
    fn every_operation_but_help_needs_the_capability_of_its_name() {
        for operation in Operation::ALL {
            match Capability::needed_by(operation) {
                Some(capability) => assert_eq!(capability.as_str(), operation.as_str()),
                None => assert_eq!(operation, Operation::Help),
            }
        }
    }
}
