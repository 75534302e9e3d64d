//! Asking a directory over LDAP version 3 (RFC 4511).

use super::{Fault, Filter, TlsClient};
use crate::BoxFuture;
use coffer_types::Secret;
use std::time::Duration;

/// A client of LDAP. It follows no referral: what was named is what is asked.
pub trait Directory: Send + Sync {
    /// Connects, and secures the connection as the server's description says, before anything else is said.
    fn connect<'a>(&'a self, to: &'a DirectoryServer) -> BoxFuture<'a, Result<Box<dyn DirectorySession>, Fault>>;
}

/// One connection, asked one thing after the other. A fault of kind [`Unreachable`](super::FaultKind::Unreachable) or
/// [`Protocol`](super::FaultKind::Protocol) ends it.
pub trait DirectorySession: Send {
    /// Proves a name with its password (simple bind). An empty password or name is refused here: a directory takes either
    /// for an anonymous bind, and says yes to it (RFC 4513 section 5.1.2).
    ///
    /// # Errors
    /// [`Credentials`](super::FaultKind::Credentials) if the directory does not take them, whatever its reason.
    fn bind<'a>(&'a mut self, dn: &'a str, password: &'a Secret<String>) -> BoxFuture<'a, Result<(), Fault>>;

    /// Becomes nobody.
    fn bind_anonymously(&mut self) -> BoxFuture<'_, Result<(), Fault>>;

    /// The entries that a search finds, in the directory's order. A base that is not there finds none.
    fn search<'a>(&'a mut self, search: &'a Search) -> BoxFuture<'a, Result<Vec<Entry>, Fault>>;

    /// Gives an entry a new password in place of all that it has.
    fn replace_password<'a>(&'a mut self, dn: &'a str, new: &'a Secret<String>) -> BoxFuture<'a, Result<(), Fault>>;
}

/// Where a directory is and how to speak to it.
#[derive(Debug)]
pub struct DirectoryServer {
    pub host: String,
    pub port: u16,
    pub security: DirectorySecurity,
    pub tls: TlsClient,
    /// For the connection with its TLS.
    pub connect_timeout: Duration,
    /// For each question.
    pub request_timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectorySecurity {
    /// `ldap://`, in clear.
    Plain,
    /// `ldap://`, then TLS before anything else.
    StartTls,
    /// `ldaps://`
    Tls,
}

#[derive(Clone, Debug)]
pub struct Search {
    pub base: String,
    pub scope: Scope,
    pub aliases: Aliases,
    pub filter: Filter,
    /// Which attributes to return; none means no attributes, not all.
    pub attributes: Vec<String>,
    /// More entries than this are a fault; no directory fills our memory.
    pub limit: usize,
    /// Entries asked for at a time (RFC 2696); 0 asks for all at once.
    pub page: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Base,
    Subtree,
}

/// When the directory follows aliases of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aliases {
    #[default]
    Never,
    Searching,
    Finding,
    Always,
}

/// What was found. Values are bytes: not every attribute is a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    pub dn: String,
    pub attributes: Vec<(String, Vec<Vec<u8>>)>,
}

impl Entry {
    /// The values of an attribute; its name is compared without regard to case.
    pub fn values(&self, attribute: &str) -> impl Iterator<Item = &[u8]> {
        let of_this = self.attributes.iter().filter(move |(name, _)| name.eq_ignore_ascii_case(attribute));
        of_this.flat_map(|(_, values)| values.iter().map(Vec::as_slice))
    }

    /// Its values that are texts.
    pub fn texts(&self, attribute: &str) -> impl Iterator<Item = &str> {
        self.values(attribute).filter_map(|value| std::str::from_utf8(value).ok())
    }
}
