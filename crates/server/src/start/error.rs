//! Why a server did not start, in words that say what to do.

use super::solo::SoloError;
use crate::config::{KeyError, LoadError};
use crate::wire::ListenError;
use coffer_storage::embedded::OpenError;
use coffer_types::{Error, Kind};
use std::fmt;
use std::io;

#[derive(Debug)]
pub enum StartError {
    Configuration(LoadError),
    Solo(SoloError),
    SealKey(KeyError),
    Store(OpenError),
    Listen(ListenError),
    /// The core refused: a step in words, and what it said.
    Core {
        step: &'static str,
        error: Error,
    },
    /// Data that the given key does not open.
    WrongKey {
        data: String,
        key: String,
    },
    /// Flags or variables that make no sense.
    Usage(String),
    Io {
        what: String,
        cause: io::Error,
    },
    /// An engine of the registry is declared wrongly: a programming error.
    Registry(Vec<String>),
}

impl StartError {
    pub(super) fn core(step: &'static str) -> impl FnOnce(Error) -> Self {
        move |error| Self::Core { step, error }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(error) => error.fmt(f),
            Self::Solo(error) => error.fmt(f),
            Self::SealKey(error) => error.fmt(f),
            Self::Store(OpenError::Locked { path, holder }) => {
                let who = holder.map_or("another process".to_owned(), |pid| format!("process {pid}"));
                let path = path.display();
                write!(
                    f,
                    "the data in {path} are in use by {who}: is a server running already? One store takes one server at a time"
                )
            }
            Self::Store(error) => error.fmt(f),
            Self::Listen(ListenError::Bind { address, why }) if why.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "listening on {address}: the address is in use; is a server running already?")
            }
            Self::Listen(error) => error.fmt(f),
            Self::Core { step, error } => match error.cause().filter(|_| error.kind() == Kind::Internal) {
                // On the operator's own console the cause is no secret.
                Some(cause) => write!(f, "{step}: {cause}"),
                None => write!(f, "{step}: {}", error.public()),
            },
            Self::WrongKey { data, key } => write!(
                f,
                "the key in {key} is not the one that sealed the data in {data}; put the right one back from your backup"
            ),
            Self::Usage(text) => f.write_str(text),
            Self::Io { what, cause } => write!(f, "{what}: {cause}"),
            Self::Registry(faults) => write!(f, "an engine is declared wrongly: {}", faults.join("; ")),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Configuration(error) => Some(error),
            Self::Solo(error) => Some(error),
            Self::SealKey(error) => Some(error),
            Self::Store(error) => Some(error),
            Self::Listen(error) => Some(error),
            Self::Core { error, .. } => Some(error),
            Self::Io { cause, .. } => Some(cause),
            Self::WrongKey { .. } | Self::Usage(_) | Self::Registry(_) => None,
        }
    }
}

impl From<LoadError> for StartError {
    fn from(error: LoadError) -> Self {
        Self::Configuration(error)
    }
}

impl From<SoloError> for StartError {
    fn from(error: SoloError) -> Self {
        Self::Solo(error)
    }
}
