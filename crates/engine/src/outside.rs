//! What lies outside the server, as engines and auth methods see it: one trait for each kind of system, filled by the
//! program around the core. No engine names a wire library, opens a socket or reads a file; a test puts a system of its own here.
//!
//! A handler that changes something outside says so first with [`Ctx::intend`](crate::Ctx::intend).

mod database;
mod datagram;
mod directory;
mod filter;
mod http;

pub use database::{Database, Line, NoDatabase, Protocol, Rows, Script, Target, Tls};
pub use datagram::{Datagrams, Question};
pub use directory::{Aliases, Directory, DirectorySecurity, DirectoryServer, DirectorySession, Entry, Scope, Search};
pub use filter::{Filter, FilterFault};
pub use http::{Headers, Http, HttpReply, HttpRequest, Method, Roots, TlsClient};

use coffer_types::{Error, Kind};
use std::borrow::Cow;
use std::fmt;

/// The systems that a server can reach.
pub trait Outside: Send + Sync + fmt::Debug {
    fn http(&self) -> &dyn Http;

    fn database(&self) -> &dyn Database {
        &NoDatabase
    }

    fn directory(&self) -> &dyn Directory {
        &Nothing
    }

    fn datagrams(&self) -> &dyn Datagrams {
        &Nothing
    }

    /// What Kubernetes gives the pod that this program runs in.
    ///
    /// # Errors
    /// It runs in none.
    fn pod(&self) -> Result<Pod, Fault> {
        Err(Fault::new(FaultKind::Settings, "this server does not run in a Kubernetes pod"))
    }
}

/// A pod's service account, as it stands now: both are renewed while the pod runs.
/// <https://kubernetes.io/docs/concepts/storage/projected-volumes/#serviceaccounttoken>
#[derive(Debug)]
pub struct Pod {
    pub token: coffer_types::Secret<String>,
    /// The API server's authority, PEM.
    pub ca: String,
}

/// Why a system outside did not do what was asked. Its text names the system and what was wrong, and holds no secret: never a
/// statement, a password or a body that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    pub text: Cow<'static, str>,
}

/// What a caller may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// What we were told is wrong: an address that is none, a certificate that does not parse.
    Settings,
    /// Nobody answers there, or not in time.
    Unreachable,
    /// It answers and does not know us: a wrong password, an untrusted certificate.
    Credentials,
    /// It understood and refused.
    Refused,
    /// It refused since something that it was told to act on is not there.
    Absent,
    /// It said something that its protocol does not know, or more than we take.
    Protocol,
    /// This program was built without the client for it.
    NotBuilt,
}

impl Fault {
    pub fn new(kind: FaultKind, text: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, text: text.into() }
    }
}

impl Fault {
    /// Whether it was an answer: what was asked did not happen, and others may be asked on the same connection.
    pub const fn is_refusal(&self) -> bool {
        matches!(self.kind, FaultKind::Refused | FaultKind::Absent)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Fault {}

/// Settings are the client's fault, the rest is of what we asked.
impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        let kind = match fault.kind {
            FaultKind::Settings => Kind::BadRequest,
            FaultKind::NotBuilt => Kind::NotImplemented,
            _ => Kind::Upstream,
        };
        Self::new(kind, fault.text.clone()).with_cause(fault)
    }
}

/// A server that reaches nothing: a test's, unless it brings its own.
#[derive(Debug)]
pub struct Nothing;

impl Outside for Nothing {
    fn http(&self) -> &dyn Http {
        self
    }
}

impl Http for Nothing {
    fn send(&self, _: HttpRequest) -> crate::BoxFuture<'_, Result<HttpReply, Fault>> {
        Box::pin(async { Err(Fault::new(FaultKind::Unreachable, "this server reaches nothing outside")) })
    }
}

impl Directory for Nothing {
    fn connect<'a>(&'a self, _: &'a DirectoryServer) -> crate::BoxFuture<'a, Result<Box<dyn DirectorySession>, Fault>> {
        Box::pin(async { Err(Fault::new(FaultKind::Unreachable, "this server reaches nothing outside")) })
    }
}

impl Datagrams for Nothing {
    fn ask<'a>(&'a self, _: Question<'a>) -> crate::BoxFuture<'a, Result<coffer_types::secret::Bytes, Fault>> {
        Box::pin(async { Err(Fault::new(FaultKind::Unreachable, "this server reaches nothing outside")) })
    }
}
