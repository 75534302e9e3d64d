//! One request after parsing, and who it acts for.

use coffer_types::{Dialect, Json, Object, Operation, Path, Secret, Span};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// A request id: 8-4-4-4-12 hexadecimal digits, the same in both audit lines and the reply.
pub type RequestId = Box<str>;

/// A call: what a dialect makes of one request. It goes down the pipeline and is never changed on the way.
pub struct Call {
    pub id: RequestId,
    pub dialect: Dialect,
    pub credential: Credential,
    /// As the dialect reads it; whether an update creates is decided by the route's existence check.
    pub operation: Operation,
    /// Below `/v1/`: mount and path inside it. For a verb without a path: the mount.
    pub path: Path,
    /// The operation's own name in protocols that have names instead of paths (`GetSecretValue`).
    pub verb: Option<Box<str>>,
    pub fields: Fields,
    pub wrap: Option<WrapAsk>,
    pub remote: Remote,
    pub listener: Arc<ListenerTraits>,
    /// Request headers, names in lower case: the audit log may be told to keep some.
    pub headers: Vec<(Box<str>, Box<str>)>,
}

/// A proof that was presented, not yet checked.
pub enum Credential {
    None,
    /// A token of any kind, as it stood in the header.
    Token(Secret<String>),
    /// Name and password of HTTP's Basic scheme, still base64: of clients of an OIDC provider. Nobody is a principal by it.
    Basic(Secret<String>),
}

/// What came with a call: query and body. Path variables are added by the route.
#[derive(Clone, Default)]
pub struct Fields {
    pub query: BTreeMap<Box<str>, Box<str>>,
    pub body: Object,
    /// A body that is not JSON, where a route takes one (DER, forms).
    pub raw: Option<Vec<u8>>,
}

/// What a route's typed request is read from.
pub struct RawFields<'a> {
    pub captures: Vec<(&'static str, &'a str)>,
    pub fields: Fields,
}

impl RawFields<'_> {
    /// The value of `name` from where `source` says; taken out, so that secrets are not copied.
    pub fn take(&mut self, name: &str, source: crate::field::Source) -> Option<Json> {
        use crate::field::Source;
        match source {
            Source::Path => self.captures.iter().find(|(n, _)| *n == name).map(|(_, v)| Json::string(*v)),
            Source::Query => self.query(name).or_else(|| self.fields.body.remove(name)),
            Source::Body => self.fields.body.remove(name).or_else(|| self.query(name)),
            Source::Rest => Some(Json::Object(std::mem::take(&mut self.fields.body))),
        }
    }

    fn query(&mut self, name: &str) -> Option<Json> {
        self.fields.query.remove(name).map(Json::string)
    }

    /// What is left once a request was read: the fields that it does not know, and those that a path variable
    /// of the same name overrode. Both by name, sorted; clients are warned of both.
    pub fn left_over(&self) -> LeftOver {
        let mut left = LeftOver::default();
        for name in self.fields.body.names().chain(self.fields.query.keys().map(|name| &**name)) {
            let list = if self.captures.iter().any(|(n, _)| *n == name) { &mut left.overridden } else { &mut left.unknown };
            list.push(name.to_owned());
        }
        for list in [&mut left.unknown, &mut left.overridden] {
            list.sort_unstable();
            list.dedup();
        }
        left
    }
}

/// See [`RawFields::left_over`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOver {
    pub unknown: Vec<String>,
    pub overridden: Vec<String>,
}

impl LeftOver {
    /// In the words of Vault's API, which clients print.
    pub fn into_warnings(self) -> impl Iterator<Item = String> {
        let warning = |text: &str, names: Vec<String>| (!names.is_empty()).then(|| format!("{text}: [{}]", names.join(" ")));
        [
            warning("Endpoint ignored these unrecognized parameters", self.unknown),
            warning(
                "Endpoint replaced the value of these parameters with the values captured from the endpoint's path",
                self.overridden,
            ),
        ]
        .into_iter()
        .flatten()
    }
}

/// The client wants the reply wrapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WrapAsk {
    pub ttl: Span,
    /// In the form of a signed JWT instead of a token.
    pub jwt: bool,
}

/// Where a call came from.
#[derive(Clone, Debug)]
pub struct Remote {
    /// `None` for a unix socket.
    pub ip: Option<IpAddr>,
    pub port: u16,
    /// The client certificate whose key the TLS handshake proved.
    pub certificate: Option<Arc<ClientCertificate>>,
}

/// What a client presented in a TLS handshake: it holds the leaf's key, and nothing more is known. DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    pub leaf: Box<[u8]>,
    /// What it sent along, in its order: for finding a way to an authority, trusted in nothing.
    pub others: Vec<Box<[u8]>>,
}

/// What the listener that a call came through allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenerTraits {
    /// `sys/rekey/*` without a token (security row 19): off unless the configuration says so.
    pub unauthed_rekey: bool,
    pub unauthed_generate_root: bool,
    pub unauthed_metrics: bool,
    pub unauthed_in_flight: bool,
}

/// Who a call acts for. Only `core`'s authentication makes one.
#[derive(Clone, Debug)]
pub struct Principal {
    pub entity_id: Box<str>,
    pub display_name: Box<str>,
    /// All policies in force, sorted.
    pub policies: Arc<[Box<str>]>,
    pub accessor: Box<str>,
    pub kind: crate::reply::TokenKind,
    /// Names the token's own cubbyhole; batch tokens have none.
    pub cubbyhole: Option<Box<str>>,
    /// The token's key in the store (never the token), empty for a batch token.
    pub token_key: Box<str>,
    /// The token has root's policy.
    pub root: bool,
}

/// The decision that a principal may do an operation on a path. No handler runs without one, and only the
/// decider in `core` grants it.
#[derive(Clone, Debug)]
pub struct Permit {
    operation: Operation,
    granted_by: Arc<[Box<str>]>,
}

impl Permit {
    /// For the decider alone (`cargo xtask tidy` holds every other caller to be an error).
    #[doc(hidden)]
    pub fn granted_by_the_decider(operation: Operation, granted_by: Arc<[Box<str>]>) -> Self {
        Self { operation, granted_by }
    }

    /// The operation that was decided on: create where the thing did not exist.
    pub const fn operation(&self) -> Operation {
        self.operation
    }

    /// The policies that grant it.
    pub fn policies(&self) -> &[Box<str>] {
        &self.granted_by
    }
}
