//! What comes back, before a dialect renders it.

use crate::field::Response;
use crate::lease::{LeaseKind, Terms};
use crate::view::{encode, is_default};
use coffer_types::{Json, Object, Result, Secret, Span, secret};
use std::collections::BTreeMap;

/// Which kind of token a login gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenKind {
    #[default]
    Service,
    Batch,
}

impl TokenKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Batch => "batch",
        }
    }
}

/// A login that an auth method vouches for: the pipeline makes the token.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Login {
    #[serde(skip_serializing_if = "is_default")]
    pub display_name: String,
    #[serde(skip_serializing_if = "is_default")]
    pub policies: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub no_default_policy: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub metadata: BTreeMap<String, String>,
    /// The name of the alias under this mount; empty makes no entity.
    #[serde(skip_serializing_if = "is_default")]
    pub alias: String,
    #[serde(skip_serializing_if = "is_default")]
    pub alias_metadata: BTreeMap<String, String>,
    /// Names of the groups that the method found the person in: aliases of external groups under this mount.
    #[serde(skip_serializing_if = "is_default")]
    pub group_aliases: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub ttl: Span,
    #[serde(skip_serializing_if = "is_default")]
    pub max_ttl: Span,
    #[serde(skip_serializing_if = "is_default")]
    pub explicit_max_ttl: Span,
    #[serde(skip_serializing_if = "is_default")]
    pub period: Span,
    #[serde(skip_serializing_if = "is_default")]
    pub renewable: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub num_uses: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub kind: TokenKind,
    /// The role leaves the kind of token to what the mount is tuned to.
    #[serde(skip_serializing_if = "is_default")]
    pub kind_by_mount: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub bound_cidrs: Vec<String>,
    /// What renewal needs to know; handed back to the method's renew handler.
    #[serde(skip_serializing_if = "is_default")]
    pub internal: BTreeMap<String, String>,
}

/// A handler's reply with typed data.
pub struct Reply<T: Response = Object>(pub(crate) Answer, std::marker::PhantomData<fn(T)>);

/// A reply without its type: what goes up the pipeline.
#[derive(Default)]
pub struct Answer {
    /// `None`: 200 with data, 204 without.
    pub status: Option<u16>,
    pub data: Option<Object>,
    pub warnings: Vec<String>,
    pub lease: Option<LeaseAsk>,
    pub login: Option<Box<Login>>,
    /// A token that the handler made itself (`auth/token/create`), rendered as `auth`.
    pub auth: Option<Box<Auth>>,
    /// What a login asks for before it gives a token: rendered in place of that as `auth.mfa_requirement`.
    pub mfa: Option<Object>,
    pub raw: Option<RawAnswer>,
    /// Rendered as `wrap_info` when the pipeline wrapped this reply.
    pub wrap: Option<WrapInfo>,
    /// The lease that the pipeline registered, with its seconds and whether it renews; with an empty id, advice
    /// of the engine's own on how long the data may be kept.
    pub leased: Option<Leased>,
    /// Old clients read the data also at the top of the document (`sys/mounts`, `sys/auth`).
    pub mirrored: bool,
    /// A document that is the reply by itself, without Vault's envelope (`sys/seal-status`, wrapped replies).
    pub bare: bool,
    pub headers: Vec<(&'static str, String)>,
}

/// The `auth` of a reply.
pub struct Auth {
    pub client_token: Secret<String>,
    pub accessor: String,
    pub policies: Vec<String>,
    pub token_policies: Vec<String>,
    pub identity_policies: Vec<String>,
    pub metadata: Option<BTreeMap<String, String>>,
    pub lease_duration: i64,
    pub renewable: bool,
    pub entity_id: String,
    pub kind: TokenKind,
    pub orphan: bool,
    pub num_uses: u64,
    pub display_name: String,
}

/// A wrapped reply's handle.
pub struct WrapInfo {
    pub token: Secret<String>,
    pub accessor: String,
    pub ttl: i64,
    pub creation_time: String,
    pub creation_path: String,
    pub wrapped_accessor: String,
}

#[derive(Clone, Debug)]
pub struct Leased {
    pub id: String,
    pub seconds: i64,
    pub renewable: bool,
}

/// A lease to register with the commit.
pub struct LeaseAsk {
    pub kind: &'static str,
    pub internal: secret::Bytes,
    pub terms: Terms,
}

/// A body in the engine's own form: DER, PEM, CRLs, HTML.
pub struct RawAnswer {
    pub content_type: &'static str,
    pub body: Vec<u8>,
}

impl<T: Response> Reply<T> {
    fn of(answer: Answer) -> Self {
        Self(answer, std::marker::PhantomData)
    }

    pub fn data(data: T) -> Self {
        Self::of(Answer { data: Some(data.into_object()), ..Answer::default() })
    }

    /// Done, nothing to say: 204.
    pub fn empty() -> Self {
        Self::of(Answer::default())
    }

    /// 404 that still shows something, as KV v2 does of a deleted version.
    pub fn missing_with(data: T) -> Self {
        Self::of(Answer { status: Some(404), data: Some(data.into_object()), ..Answer::default() })
    }

    /// Data with a lease that this mount's declared lease kind `L` renews and revokes.
    pub fn leased<L: LeaseKind>(data: T, internal: &L, terms: Terms) -> Result<Self> {
        let lease = LeaseAsk { kind: L::NAME, internal: encode(internal)?, terms };
        Ok(Self::of(Answer { data: Some(data.into_object()), lease: Some(lease), ..Answer::default() }))
    }

    pub fn login(login: Login) -> Self {
        Self::of(Answer { login: Some(Box::new(login)), ..Answer::default() })
    }

    pub fn auth(auth: Auth) -> Self {
        Self::of(Answer { auth: Some(Box::new(auth)), ..Answer::default() })
    }

    pub fn raw(content_type: &'static str, body: Vec<u8>) -> Self {
        Self::of(Answer { raw: Some(RawAnswer { content_type, body }), ..Answer::default() })
    }

    /// Says how long the data may be kept, without a lease behind it (KV v1's `ttl`).
    #[must_use]
    pub fn advises(mut self, ttl: Span) -> Self {
        self.0.leased = Some(Leased { id: String::new(), seconds: ttl.secs(), renewable: false });
        self
    }

    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self
    }

    #[must_use]
    pub fn warn(mut self, warning: impl Into<String>) -> Self {
        self.0.warnings.push(warning.into());
        self
    }

    #[must_use]
    pub fn warnings(mut self, warnings: impl IntoIterator<Item = String>) -> Self {
        self.0.warnings.extend(warnings);
        self
    }

    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.headers.push((name, value.into()));
        self
    }

    /// See [`Answer::mirrored`].
    #[must_use]
    pub fn mirrored(mut self) -> Self {
        self.0.mirrored = true;
        self
    }

    /// See [`Answer::bare`].
    #[must_use]
    pub fn bare(mut self) -> Self {
        self.0.bare = true;
        self
    }

    pub fn into_answer(self) -> Answer {
        self.0
    }
}

impl Reply<Object> {
    /// The names of a list, 404 if there are none, as every list of Vault's API.
    pub fn list(keys: Vec<String>) -> Self {
        if keys.is_empty() {
            return Self::of(Answer { status: Some(404), ..Answer::default() });
        }
        Self::data(Object::new().with("keys", keys))
    }

    /// A list with details by name.
    pub fn list_with(keys: Vec<String>, info: Object) -> Self {
        if keys.is_empty() {
            return Self::list(keys);
        }
        Self::data(Object::new().with("keys", keys).with("key_info", Json::Object(info)))
    }

    pub fn from_answer(answer: Answer) -> Self {
        Self::of(answer)
    }
}
