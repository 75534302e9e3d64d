//! What can go wrong in a store, and whose fault it is.

use crate::Key;
use std::{fmt, io, sync::Arc};

/// Why nothing could be read. Never the caller's fault.
#[derive(Clone, Debug)]
pub enum StoreError {
    /// The medium failed; reading again may work.
    Io {
        /// What the operating system reported.
        cause: Arc<io::Error>,
    },
    /// What lies on the medium is not what was written there.
    Corrupt {
        /// What was found, for the operator.
        what: Arc<str>,
    },
    /// An earlier error made the store refuse all work until it is opened again.
    Poisoned {
        /// The earlier error, for the operator.
        reason: Arc<str>,
    },
    /// The store was closed.
    Closed,
}

/// Why a batch was not applied. Unless a variant says otherwise, nothing of it ever will be.
#[derive(Clone, Debug)]
pub enum CommitError {
    /// A precondition does not hold: another commit came first. Ordinary; read again and retry.
    Conflict {
        /// The first key, in the order of the batch, that is not at the expected revision.
        key: Key,
    },
    /// The batch passes a limit: the caller's fault, and retrying will not help.
    TooLarge {
        /// What is too large.
        what: Limit,
        /// How large it is.
        size: usize,
        /// How large it may be.
        limit: usize,
    },
    /// No space on the medium. The operator must make room.
    Full,
    /// The store was opened for reading only.
    ReadOnly,
    /// An earlier error made the store refuse all work until it is opened again.
    Poisoned {
        /// The earlier error, for the operator.
        reason: Arc<str>,
    },
    /// The medium failed in the middle of this commit. Whether the batch is found, whole, after the store
    /// was opened again is not known.
    Io {
        /// What the operating system reported.
        cause: Arc<io::Error>,
    },
    /// The store was closed.
    Closed,
}

/// What [`CommitError::TooLarge`] speaks of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// The keys and values of one batch together, in bytes.
    Batch,
}

impl CommitError {
    /// Whether another commit came first, so that reading again and retrying is right.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. })
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { cause } => write!(f, "the store's medium failed: {cause}"),
            Self::Corrupt { what } => write!(f, "the store is damaged: {what}"),
            Self::Poisoned { reason } => poisoned(f, reason),
            Self::Closed => write!(f, "the store is closed"),
        }
    }
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict { key } => write!(f, "another commit changed {key} first"),
            Self::TooLarge { what: Limit::Batch, size, limit } => {
                write!(f, "a batch has at most {limit} bytes of keys and values and this one {size}")
            }
            Self::Full => write!(f, "no space is left where the store lies"),
            Self::ReadOnly => write!(f, "the store is open for reading only"),
            Self::Poisoned { reason } => poisoned(f, reason),
            Self::Io { cause } => write!(f, "the store's medium failed: {cause}"),
            Self::Closed => write!(f, "the store is closed"),
        }
    }
}

fn poisoned(f: &mut fmt::Formatter<'_>, reason: &str) -> fmt::Result {
    write!(f, "the store refuses all work until it is opened again, because {reason}")
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { cause } => Some(cause.as_ref()),
            _ => None,
        }
    }
}

impl std::error::Error for CommitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { cause } => Some(cause.as_ref()),
            _ => None,
        }
    }
}
