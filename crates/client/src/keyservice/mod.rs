//! SOPS' key service: `Encrypt` and `Decrypt` of data keys over gRPC, in both roles. Plain HTTP/2 over TCP or a Unix socket, no
//! authentication: whoever reaches it may use the keys, so it belongs on loopback or behind a socket's permissions.
//!
//! Two unary calls of small messages do not ask for a framework: the messages are read and written in [`protobuf`], the frames of
//! gRPC (its "PROTOCOL-HTTP2" page) in [`frame`], and HTTP/2 is hyper's.

mod caller;
mod frame;
mod protobuf;
mod server;

pub use caller::Caller;
pub use server::{Bound, Keys};

use crate::kms::RemoteKey;
use std::fmt;
use std::path::PathBuf;

/// The key that a call is about, as the message `Key` carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    Remote(RemoteKey),
    /// A fingerprint.
    Pgp(String),
    /// A recipient.
    Age(String),
}

/// What both roles call the two calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Encrypt,
    Decrypt,
}

impl Verb {
    const fn path(self) -> &'static str {
        match self {
            Self::Encrypt => "/KeyService/Encrypt",
            Self::Decrypt => "/KeyService/Decrypt",
        }
    }
}

/// Where a key service listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `HOST:PORT`
    Tcp(String),
    Unix(PathBuf),
}

impl Place {
    /// Reads `tcp://HOST:PORT` or `unix:///PATH`.
    ///
    /// # Errors
    /// With the forms that are right.
    pub fn parse(uri: &str) -> Result<Self, String> {
        match uri.split_once("://") {
            Some((network, address)) => Self::of(network, address),
            None => Err(format!("the key service {uri:?} has no scheme; write it as tcp://HOST:PORT or unix:///PATH")),
        }
    }

    /// From `--network` and `--address`.
    ///
    /// # Errors
    /// As [`Place::parse`].
    pub fn of(network: &str, address: &str) -> Result<Self, String> {
        let port = || address.rsplit_once(':').filter(|(host, port)| !host.contains('/') && port.parse::<u16>().is_ok());
        match network {
            "tcp" | "tcp4" | "tcp6" if port().is_some() => Ok(Self::Tcp(address.to_owned())),
            "tcp" | "tcp4" | "tcp6" => Err(format!("the address {address:?} of a key service must be HOST:PORT")),
            "unix" if !address.is_empty() => Ok(Self::Unix(address.into())),
            "unix" => Err("a key service on a Unix socket needs the socket's path".to_owned()),
            other => Err(format!("the network {other:?} of a key service is not known; it is tcp or unix")),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// How a call ended badly: a code of gRPC and a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub code: Code,
    pub message: String,
}

impl Status {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rpc error: code = {} desc = {}", self.code.name(), self.message)
    }
}

impl std::error::Error for Status {}

/// gRPC's codes ("Status codes and their use in gRPC").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unimplemented,
    Internal,
    Unavailable,
    Other(u32),
}

impl Code {
    const KNOWN: [(Self, u32, &'static str); 9] = [
        (Self::Unknown, 2, "Unknown"),
        (Self::InvalidArgument, 3, "InvalidArgument"),
        (Self::DeadlineExceeded, 4, "DeadlineExceeded"),
        (Self::NotFound, 5, "NotFound"),
        (Self::PermissionDenied, 7, "PermissionDenied"),
        (Self::ResourceExhausted, 8, "ResourceExhausted"),
        (Self::Unimplemented, 12, "Unimplemented"),
        (Self::Internal, 13, "Internal"),
        (Self::Unavailable, 14, "Unavailable"),
    ];

    fn from_number(number: u32) -> Self {
        Self::KNOWN.iter().find(|(_, n, _)| *n == number).map_or(Self::Other(number), |(code, _, _)| *code)
    }

    fn number(self) -> u32 {
        if let Self::Other(number) = self {
            return number;
        }
        Self::KNOWN.iter().find(|(code, _, _)| *code == self).map_or(2, |(_, number, _)| *number)
    }

    fn name(self) -> String {
        Self::KNOWN
            .iter()
            .find(|(code, _, _)| *code == self)
            .map_or_else(|| format!("Code({})", self.number()), |(_, _, name)| (*name).to_owned())
    }
}

#[cfg(test)]
mod tests;
