//! Errors as ACME's clients read them: RFC 7807 documents with the types of RFC 8555 section 6.7.

use coffer_types::{Error, Kind, Object};

/// An error that the client is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) status: u16,
    /// Behind `urn:ietf:params:acme:error:`.
    pub(super) kind: &'static str,
    pub(super) detail: String,
}

impl Problem {
    pub(super) fn new(kind: &'static str, detail: impl Into<String>) -> Self {
        let status = match kind {
            "unauthorized" => 401,
            "orderNotReady" => 403,
            "serverInternal" => 500,
            "conflict" => 409,
            _ => 400,
        };
        // There is no type for a conflict of keys: RFC 8555 section 7.3.5 asks for the status alone.
        let kind = if kind == "conflict" { "malformed" } else { kind };
        Self { status, kind, detail: detail.into() }
    }

    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::new("malformed", detail)
    }

    pub(super) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new("unauthorized", detail)
    }

    pub(super) fn show(&self) -> Object {
        Object::new().with("type", format!("urn:ietf:params:acme:error:{}", self.kind)).with("detail", self.detail.as_str())
    }
}

/// Why a request is not done.
pub(super) enum Stop {
    /// The client is told, and its nonce is spent.
    Problem(Problem),
    /// The server's own fault: nothing of the call stays.
    Fault(Error),
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Fault(error)
    }
}

/// What the engine refuses as the caller's fault is a problem of this kind; the rest is ours.
pub(super) fn as_problem(kind: &'static str) -> impl Fn(Error) -> Stop {
    move |error| match error.kind() {
        Kind::BadRequest | Kind::NotFound => Problem::new(kind, error.public()).into(),
        _ => Stop::Fault(error),
    }
}
