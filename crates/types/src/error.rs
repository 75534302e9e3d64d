//! Errors say whose fault it is; what a client may see and what only the log may see are different fields.

use std::borrow::Cow;
use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whose fault, and so which status in every dialect.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// The request is wrong as it stands.
    BadRequest,
    /// No principal, or one that may not do this. Both are 403 in Vault, so that neither tells which.
    Denied,
    /// Nothing stands at that path, or no engine answers there.
    NotFound,
    /// The path is there, the operation is not.
    Unsupported,
    /// A precondition in the request did not hold (a check-and-set, an etag).
    Precondition,
    /// The request is larger than the limits allow.
    TooLarge,
    /// Over a rate limit or a quota.
    TooMany,
    /// The barrier is sealed, or there is none yet.
    Sealed,
    /// Something that Coffer stands on does not answer: the store, every audit device.
    Unavailable,
    /// Known to the protocol, not built here.
    NotImplemented,
    /// What Coffer asked outside (a database, a cloud) failed.
    Upstream,
    /// Our fault.
    Internal,
}

/// An error on its way to a client.
pub struct Error {
    kind: Kind,
    /// The protocol's own code where a dialect has one (`ResourceExistsException`).
    code: Option<&'static str>,
    /// What the client reads. Never a secret, never the input echoed back.
    public: Cow<'static, str>,
    /// What only the log reads.
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub fn new(kind: Kind, public: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, code: None, public: public.into(), cause: None }
    }

    pub fn bad_request(public: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::BadRequest, public)
    }

    pub fn denied() -> Self {
        Self::new(Kind::Denied, "permission denied")
    }

    /// A miss without a word: `{"errors":[]}` in the Vault dialect.
    pub fn not_found() -> Self {
        Self::new(Kind::NotFound, "")
    }

    pub fn unsupported() -> Self {
        Self::new(Kind::Unsupported, "1 error occurred:\n\t* unsupported operation\n\n")
    }

    /// Our fault: the client reads a fixed text, the log reads the cause.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { kind: Kind::Internal, code: None, public: "internal error".into(), cause: Some(cause.into()) }
    }

    #[must_use]
    pub fn with_code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    pub const fn kind(&self) -> Kind {
        self.kind
    }

    pub const fn code(&self) -> Option<&'static str> {
        self.code
    }

    pub fn public(&self) -> &str {
        &self.public
    }

    /// For the log only.
    pub fn cause(&self) -> Option<&(dyn std::error::Error + Send + Sync)> {
        self.cause.as_deref()
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error").field("kind", &self.kind).field("public", &self.public).field("cause", &self.cause).finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.public)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|c| &**c as &(dyn std::error::Error + 'static))
    }
}
