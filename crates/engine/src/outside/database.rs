//! Asking a database something. An engine says what is to be said, in the database's own language; here is only who it is said
//! to and how. Connections are kept for the next call, a bounded number for each [`Target::pool`].

use super::{Fault, FaultKind, TlsClient};
use crate::BoxFuture;
use coffer_types::Secret;
use std::fmt;
use std::time::Duration;

/// The clients of databases.
pub trait Database: Send + Sync {
    /// Says the lines in their order and gives back the rows of each. With [`Script::atomic`] all of them happen or none, where
    /// the database can do that. The first line that is refused ends it.
    ///
    /// # Errors
    /// [`FaultKind::Credentials`] where the database does not know the user or the password, [`FaultKind::Refused`] where it
    /// refused a line. The text quotes what the database said, which may quote the line: whoever knows the secrets in it
    /// takes them out before anyone reads it.
    fn run<'a>(&'a self, target: &'a Target, script: Script) -> BoxFuture<'a, Result<Vec<Rows>, Fault>>;

    /// Ends the connections that are kept under this name, whatever their revision.
    fn forget(&self, pool: &str);

    /// Whether the program is built with a client of this protocol. What is said to another is answered [`FaultKind::NotBuilt`].
    fn speaks(&self, _: Protocol) -> bool {
        true
    }
}

/// Rows of text; a null is `None`.
pub type Rows = Vec<Vec<Option<String>>>;

/// Whose protocol is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    PostgreSql,
    MySql,
    /// Redis and Valkey.
    Redis,
    MongoDb,
    SqlServer,
    Cassandra,
}

/// Which database, and who speaks to it.
pub struct Target {
    pub protocol: Protocol,
    pub hosts: Vec<(String, u16)>,
    /// The database (or index) to open; empty is the protocol's own default.
    pub database: String,
    pub user: String,
    pub password: Secret<String>,
    pub tls: Tls,
    /// Settings that the protocol sends when it connects (`application_name`, `options`).
    pub parameters: Vec<(String, String)>,
    /// Connections are kept under this name; empty keeps none.
    pub pool: String,
    /// Connections of another revision under the same name are not used and end.
    pub revision: String,
    /// How many connections there may be at once under this name.
    pub most: usize,
    /// How many may be kept while idle.
    pub idle: usize,
    /// A connection older than this is not used again; zero sets no limit.
    pub lifetime: Duration,
    /// For all of one call, connecting included.
    pub timeout: Duration,
}

/// Whether TLS is spoken.
#[derive(Debug, Default)]
pub enum Tls {
    #[default]
    Off,
    /// If the server offers it; else in clear (libpq's `prefer`).
    Offered(TlsClient),
    On(TlsClient),
}

/// What is said in one go on one connection.
#[derive(Default)]
pub struct Script {
    pub atomic: bool,
    pub lines: Vec<Line>,
}

/// A statement, or for protocols without a language the words of one command.
pub enum Line {
    Statement(Secret<String>),
    Command(Vec<Secret<String>>),
}

impl Script {
    /// Statements that happen together or not at all.
    pub fn atomic(statements: impl IntoIterator<Item = Secret<String>>) -> Self {
        Self { atomic: true, lines: statements.into_iter().map(Line::Statement).collect() }
    }

    /// One statement by itself.
    pub fn one(statement: impl Into<String>) -> Self {
        Self { atomic: false, lines: vec![Line::Statement(Secret::new(statement.into()))] }
    }

    /// Nothing but a connection: is the database there, does it know us?
    pub fn nothing() -> Self {
        Self::default()
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("protocol", &self.protocol).field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("atomic", &self.atomic).field("lines", &self.lines.len()).finish()
    }
}

/// A server without clients of databases.
#[derive(Debug)]
pub struct NoDatabase;

impl Database for NoDatabase {
    fn run<'a>(&'a self, _: &'a Target, _: Script) -> BoxFuture<'a, Result<Vec<Rows>, Fault>> {
        Box::pin(async { Err(Fault::new(FaultKind::Unreachable, "this server reaches no database")) })
    }

    fn forget(&self, _: &str) {}
}
