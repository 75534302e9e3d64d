//! Response wrapping: the answer stays here, the client gets a token that opens it once.

pub mod routes;

use crate::core::Core;
use crate::live::Live;
use crate::settle::Settling;
use crate::tokens::TokenRecord;
use crate::tokens::issue::{NewToken, issue};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coffer_crypto::jwt::Es512Key;
use coffer_engine::reply::{Auth, Leased, WrapInfo};
use coffer_engine::view::{Record, View};
use coffer_engine::{Answer, TokenKind, WrapAsk};
use coffer_types::{Error, Json, Object, Result, Secret, Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// `wrap/<token key>`: what the token opens.
pub const CONTENT: &str = "wrap/";
/// The policy of wrapping tokens: they may be unwrapped and nothing else.
pub const POLICY: &str = "response-wrapping";

/// A wrapped answer.
#[derive(Serialize, Deserialize)]
pub struct Wrapped {
    pub creation_path: String,
    pub created: Timestamp,
    pub ttl: Span,
    status: Option<u16>,
    data: Option<Json>,
    warnings: Vec<String>,
    auth: Option<WrappedAuth>,
    lease: Option<(String, i64, bool)>,
    /// The token is given out in JWT form.
    jwt: bool,
}

#[derive(Serialize, Deserialize)]
struct WrappedAuth {
    token: Zeroizing<String>,
    accessor: String,
    policies: Vec<String>,
    token_policies: Vec<String>,
    #[serde(default)]
    identity_policies: Vec<String>,
    metadata: Option<BTreeMap<String, String>>,
    lease_duration: i64,
    renewable: bool,
    entity_id: String,
    kind: TokenKind,
    orphan: bool,
    num_uses: u64,
    display_name: String,
}

impl Record for Wrapped {
    const FORMAT: u8 = 1;
}

impl Wrapped {
    fn of(answer: Answer, path: &str, now: Timestamp, ask: WrapAsk) -> Self {
        Self {
            creation_path: path.to_owned(),
            created: now,
            ttl: ask.ttl,
            status: answer.status,
            data: answer.data.map(Json::Object),
            warnings: answer.warnings,
            auth: answer.auth.map(|a| WrappedAuth {
                token: Zeroizing::new(a.client_token.expose().clone()),
                accessor: a.accessor,
                policies: a.policies,
                token_policies: a.token_policies,
                identity_policies: a.identity_policies,
                metadata: a.metadata,
                lease_duration: a.lease_duration,
                renewable: a.renewable,
                entity_id: a.entity_id,
                kind: a.kind,
                orphan: a.orphan,
                num_uses: a.num_uses,
                display_name: a.display_name,
            }),
            lease: answer.leased.map(|l| (l.id, l.seconds, l.renewable)),
            jwt: ask.jwt,
        }
    }

    pub fn into_answer(self) -> Answer {
        Answer {
            status: self.status,
            data: self.data.and_then(Json::into_object),
            warnings: self.warnings,
            auth: self.auth.map(|a| {
                Box::new(Auth {
                    client_token: Secret::new(a.token.to_string()),
                    accessor: a.accessor,
                    policies: a.policies,
                    token_policies: a.token_policies,
                    identity_policies: a.identity_policies,
                    metadata: a.metadata,
                    lease_duration: a.lease_duration,
                    renewable: a.renewable,
                    entity_id: a.entity_id,
                    kind: a.kind,
                    orphan: a.orphan,
                    num_uses: a.num_uses,
                    display_name: a.display_name,
                })
            }),
            leased: self.lease.map(|(id, seconds, renewable)| Leased { id, seconds, renewable }),
            ..Answer::default()
        }
    }

    /// The accessor of the token inside, if it is one.
    pub fn accessor(&self) -> String {
        self.auth.as_ref().map_or_else(String::new, |a| a.accessor.clone())
    }
}

/// Puts an answer away and gives the handle to it.
pub async fn wrap(settling: &Settling<'_>, answer: Answer, ask: WrapAsk) -> Result<Answer> {
    let of_secret_id = answer.data.as_ref().and_then(|data| data.get("secret_id_accessor")).and_then(Json::as_str);
    let wrapped_accessor = match (&answer.auth, of_secret_id) {
        (Some(auth), _) => auth.accessor.clone(),
        (None, accessor) => accessor.unwrap_or_default().to_owned(),
    };
    let path = settling.call.path.as_str();
    let wrapped = Wrapped::of(answer, path, settling.now, ask);
    store(settling.core, settling.live, &settling.txn.root_view(), wrapped, wrapped_accessor, settling.now).await
}

/// Stores a wrapped answer under a new token.
pub async fn store(
    core: &Core,
    live: &Live,
    view: &View,
    wrapped: Wrapped,
    wrapped_accessor: String,
    now: Timestamp,
) -> Result<Answer> {
    let new = NewToken {
        policies: vec![POLICY.to_owned()],
        path: wrapped.creation_path.clone(),
        display_name: "response-wrapping".to_owned(),
        ttl: wrapped.ttl,
        explicit_max_ttl: wrapped.ttl,
        num_uses: 1,
        wrapping: true,
        ..NewToken::default()
    };
    let (text, token) = issue(live, &*core.random, view, new, now).await?;
    view.put(&format!("{CONTENT}{}", token.key), &wrapped)?;
    let shown = if wrapped.jwt { live.wrapping.sign(text.expose(), &core.config.api_addr, wrapped.ttl, now)? } else { text };
    let info = WrapInfo {
        token: shown,
        accessor: token.accessor,
        ttl: wrapped.ttl.secs(),
        creation_time: wrapped.created.rfc3339(),
        creation_path: wrapped.creation_path,
        wrapped_accessor,
    };
    Ok(Answer { wrap: Some(info), ..Answer::default() })
}

/// The one text for every wrapping token that does not hold, whatever the reason.
pub fn invalid() -> Error {
    Error::bad_request("wrapping token is not valid or does not exist")
}

/// The wrapping token of a text, in either form, with what it opens.
pub async fn find(live: &Live, view: &View, text: &str, now: Timestamp) -> Result<(TokenRecord, Wrapped)> {
    let inner = live.wrapping.open(text);
    let text = inner.as_ref().map_or(text, |t| t.as_str());
    let token = live.tokens.get(view, text).await?.filter(|t| t.wrapping && t.expires > now).ok_or_else(invalid)?;
    let wrapped = view.get::<Wrapped>(&format!("{CONTENT}{}", token.key)).await?.ok_or_else(invalid)?;
    Ok((token, wrapped))
}

/// Makes and reads wrapping tokens in JWT form (ES512, as Vault's).
pub struct WrappingSigner {
    key: Es512Key,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    accessor: String,
    addr: String,
    exp: i64,
    iat: i64,
    jti: Zeroizing<String>,
    nbf: i64,
    r#type: String,
}

const HEADER: &str = r#"{"alg":"ES512","typ":"JWT"}"#;

impl WrappingSigner {
    pub fn new(pkcs8: &[u8]) -> Result<Self> {
        Ok(Self { key: Es512Key::from_pkcs8(pkcs8).map_err(Error::internal)? })
    }

    fn sign(&self, token: &str, address: &str, ttl: Span, now: Timestamp) -> Result<Secret<String>> {
        let claims = Claims {
            accessor: String::new(),
            addr: address.to_owned(),
            exp: now.secs() + ttl.secs(),
            iat: now.secs(),
            jti: Zeroizing::new(token.to_owned()),
            nbf: now.secs() - 5,
            r#type: "wrapping".to_owned(),
        };
        let claims = Zeroizing::new(serde_json::to_vec(&claims).map_err(Error::internal)?);
        let mut text = format!("{}.{}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(&*claims));
        let signature = self.key.sign(text.as_bytes()).map_err(Error::internal)?;
        text.push('.');
        text.push_str(&URL_SAFE_NO_PAD.encode(signature));
        Ok(Secret::new(text))
    }

    /// The token inside a JWT that this server signed; the expiry is the token's own.
    pub fn open(&self, text: &str) -> Option<Zeroizing<String>> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        if URL_SAFE_NO_PAD.decode(header).ok()? != HEADER.as_bytes() {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        if !self.key.verify(signed.as_bytes(), &signature) {
            return None;
        }
        let claims = Zeroizing::new(URL_SAFE_NO_PAD.decode(claims).ok()?);
        let claims: Claims = serde_json::from_slice(&claims).ok()?;
        (claims.r#type == "wrapping").then_some(claims.jti)
    }
}

/// What `sys/wrapping/lookup` shows.
pub fn show(wrapped: &Wrapped) -> Object {
    Object::new()
        .with("creation_path", wrapped.creation_path.as_str())
        .with("creation_time", wrapped.created.rfc3339())
        .with("creation_ttl", wrapped.ttl.secs())
}
