//! Logging in to a client: the authorization request, the exchange of its code, and what an access token shows of its person.
//! OpenID Connect Core 1.0 section 3.1, RFC 6749 section 4.1, RFC 7636 (PKCE).
//!
//! Errors here are documents of these protocols, not of Vault's API; a refused exchange is a reply like another, so that the code
//! that it used up goes with its commit.

use super::clients::{Client, Provider, client_by_id, provider, scope};
use super::keys::{self, folder};
use super::template::Template;
use super::{IdentityEngine, document_of, seconds};
use crate::identity::cache::Identity;
use crate::identity::engine::Of;
use crate::tokens::issue::{NewToken, issue};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use coffer_crypto::digest::Algorithm;
use coffer_crypto::mac::{ct_eq, sha256};
use coffer_crypto::random::base62;
use coffer_engine::view::Record;
use coffer_engine::{Credential, Ctx, Declare, Reply, Request, TokenKind};
use coffer_types::{Json, Name, Object, Result, Secret, Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How long a code waits for its exchange.
const CODE_LIFE: Span = Span::from_secs(300);
/// So many codes wait at most: each is a record, and whoever may log in may ask for them.
const MAX_CODES: usize = 10_000;
/// Marks a batch token as an access token: it has no policy, and is of use at `userinfo` alone.
const MARK: &str = "oidc access";
/// Longest text of a request that is kept with a code.
const MAX_TEXT: usize = 4096;

pub(super) fn declare(d: &mut Declare<IdentityEngine>) {
    d.at("oidc/provider/{name}/authorize")
        .about("Asks for a code with which a client logs the caller in.")
        .plain(&["client_id", "redirect_uri", "response_type", "scope", "max_age", "code_challenge_method"])
        .read(authorize)
        .write(authorize);
    d.at("oidc/provider/{name}/token")
        .about("Exchanges a code for tokens; clients prove themselves with their secret.")
        .plain(&["client_id", "redirect_uri", "grant_type"])
        .public()
        .write(exchange);
    d.at("oidc/provider/{name}/userinfo")
        .about("What an access token shows of its person.")
        .public()
        .read(userinfo)
        .write(userinfo);
}

/// A code that waits, under the digest of its text; format 1.
#[derive(Serialize, Deserialize)]
struct Code {
    provider: String,
    client_id: String,
    entity_id: String,
    redirect_uri: String,
    scopes: Vec<String>,
    nonce: String,
    challenge: String,
    method: String,
    /// Where it was asked for: when the person logged in.
    auth_time: Option<Timestamp>,
    expires: Timestamp,
}

impl Record for Code {
    const FORMAT: u8 = 1;
}

/// Asks for a code.
#[derive(Request)]
struct Authorize {
    /// The provider.
    #[field(path)]
    name: Name,
    /// The client.
    #[field(query, default)]
    client_id: String,
    /// Where to lead the person with the code.
    #[field(query, default)]
    redirect_uri: String,
    /// `code`
    #[field(query, default)]
    response_type: String,
    /// `openid` and others, separated by spaces.
    #[field(query, default)]
    scope: String,
    /// Given back as it is.
    #[field(query, default)]
    state: String,
    /// Stands in the ID token as it is.
    #[field(query, default)]
    nonce: String,
    /// How long ago the person may have logged in, in seconds.
    #[field(query)]
    max_age: Option<i64>,
    /// PKCE: what the code's exchange must answer to.
    #[field(query, default)]
    code_challenge: String,
    /// PKCE: `plain` or `S256`.
    #[field(query, default)]
    code_challenge_method: String,
    /// Not supported.
    #[field(query, default)]
    request: String,
    /// Not supported.
    #[field(query, default)]
    request_uri: String,
}

/// Exchanges a code.
#[derive(Request)]
struct Exchange {
    /// The provider.
    #[field(path)]
    name: Name,
    /// The code.
    #[field(default = Secret::from(""))]
    code: Secret<String>,
    /// `authorization_code`
    #[field(default)]
    grant_type: String,
    /// The same as in the authorization request.
    #[field(default)]
    redirect_uri: String,
    /// PKCE: what the challenge was made of.
    #[field(default = Secret::from(""))]
    code_verifier: Secret<String>,
    /// The client, where it stands not in the header.
    #[field(default)]
    client_id: String,
    /// Its secret, where it stands not in the header.
    #[field(default = Secret::from(""))]
    client_secret: Secret<String>,
}

/// Ask about a person.
#[derive(Request)]
struct UserInfo {
    /// The provider.
    #[field(path)]
    name: Name,
}

/// An error of these protocols: its code and what a person reads.
struct Refusal(&'static str, &'static str);

type Outcome<T> = Result<std::result::Result<T, Refusal>>;

/// `?` for a refusal inside an outcome.
macro_rules! accept {
    ($outcome:expr) => {
        match $outcome {
            Ok(value) => value,
            Err(refusal) => return Ok(Err(refusal)),
        }
    };
}

fn refuse<T>(code: &'static str, why: &'static str) -> Outcome<T> {
    Ok(Err(Refusal(code, why)))
}

// ---- the authorization request

async fn authorize(cx: Ctx<IdentityEngine>, ask: Authorize) -> Result<Reply> {
    let unsupported = !ask.request.is_empty() || !ask.request_uri.is_empty();
    let state = if unsupported { String::new() } else { ask.state.clone() };
    let of = Of::new(cx)?;
    Ok(match new_code(&of, ask).await? {
        Ok(code) => document_of(Object::new().with("code", code).with("state", state), 200),
        Err(Refusal(code, why)) => {
            document_of(Object::new().with("error", code).with("error_description", why).with("state", state), 400)
        }
    })
}

async fn new_code(of: &Of, ask: Authorize) -> Outcome<String> {
    let cx = &of.cx;
    if !ask.request.is_empty() {
        return refuse("request_not_supported", "request parameter is not supported");
    }
    if !ask.request_uri.is_empty() {
        return refuse("request_uri_not_supported", "request_uri parameter is not supported");
    }
    let name = ask.name.as_str();
    let Some(provider) = provider(cx, name).await? else { return refuse("invalid_request", "provider not found") };
    let asked: BTreeSet<&str> = ask.scope.split_ascii_whitespace().collect();
    if !asked.contains("openid") {
        return refuse("invalid_request", "scope parameter must contain the \"openid\" value");
    }
    match ask.response_type.as_str() {
        "code" => {}
        "" => return refuse("invalid_request", "response_type parameter is required"),
        _ => return refuse("unsupported_response_type", "unsupported response_type value"),
    }
    if ask.client_id.is_empty() {
        return refuse("invalid_client_id", "client_id parameter is required");
    }
    let Some(client) = client_by_id(cx, &ask.client_id).await? else {
        return refuse("invalid_client_id", "client with client_id not found");
    };
    if ask.redirect_uri.is_empty() {
        return refuse("invalid_request", "redirect_uri parameter is required");
    }
    if !client.redirect_uris.iter().any(|allowed| leads_back(allowed, &ask.redirect_uri)) {
        return refuse("invalid_redirect_uri", "redirect_uri is not allowed for the client");
    }
    if !provider.allows(&client.client_id) {
        return refuse("unauthorized_client", "client is not authorized to use the provider");
    }
    if [&ask.nonce, &ask.state, &ask.redirect_uri].iter().any(|text| text.len() > MAX_TEXT) {
        return refuse("invalid_request", "nonce, state and redirect_uri can have 4096 bytes each");
    }
    let method = accept!(challenge_method(&ask, client.public));
    if ask.max_age.is_some_and(|age| age < 1) {
        return refuse("invalid_request", "max_age must be greater than zero");
    }
    let entity = cx.principal().map(|principal| principal.entity_id.to_string()).unwrap_or_default();
    let Some(entity) = of.store().entity_or_heir(&cx.view, &entity).await? else {
        return refuse("access_denied", "identity entity must be associated with the request");
    };
    let identity = Identity::load(of.store(), &cx.view, entity).await?;
    if identity.entity.disabled || !client.admits(cx, &identity).await? {
        return refuse("access_denied", "identity entity not authorized by client assignment");
    }
    let now = cx.now();
    let mut auth_time = None;
    if let Some(age) = ask.max_age {
        auth_time = logged_in(of).await?;
        let recent = auth_time.is_some_and(|then| seconds(now).saturating_sub(seconds(then)) <= age);
        if !recent {
            return refuse("max_age_violation", "active re-authentication is required by max_age");
        }
    }
    if cx.view.children(&folder("code"), None, MAX_CODES).await?.len() >= MAX_CODES {
        return refuse("temporarily_unavailable", "too many codes wait for their exchange");
    }
    let text = base62(&*of.core.random, 32).to_string();
    let scopes = provider.scopes_supported.iter().filter(|scope| asked.contains(scope.as_str())).cloned().collect();
    let code = Code {
        provider: name.to_owned(),
        client_id: client.client_id,
        entity_id: identity.entity.id,
        redirect_uri: ask.redirect_uri,
        scopes,
        nonce: ask.nonce,
        challenge: ask.code_challenge,
        method,
        auth_time,
        expires: now.plus(CODE_LIFE.duration()),
    };
    cx.view.put(&code_key(&text), &code)?;
    Ok(Ok(text))
}

/// PKCE (RFC 7636 section 4.2, 4.3). A public client has no other proof that the code is its own.
fn challenge_method(ask: &Authorize, public: bool) -> std::result::Result<String, Refusal> {
    if ask.code_challenge.is_empty() {
        return if public { Err(Refusal("invalid_request", "PKCE is required for public clients")) } else { Ok(String::new()) };
    }
    let method = if ask.code_challenge_method.is_empty() { "plain" } else { &ask.code_challenge_method };
    if !matches!(method, "plain" | "S256") {
        return Err(Refusal("invalid_request", "invalid code_challenge_method"));
    }
    if !is_verifier(&ask.code_challenge) {
        return Err(Refusal("invalid_request", "invalid code_challenge"));
    }
    Ok(method.to_owned())
}

/// 43 to 128 unreserved characters (RFC 7636 section 4.1).
fn is_verifier(text: &str) -> bool {
    (43..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'))
}

/// When the caller's token was made.
async fn logged_in(of: &Of) -> Result<Option<Timestamp>> {
    let Some(principal) = of.cx.principal() else { return Ok(None) };
    if principal.kind == TokenKind::Batch {
        let Some(Credential::Token(text)) = of.cx.call().map(|call| &call.credential) else { return Ok(None) };
        return Ok(of.live.batch.open(text.expose()).map(|record| record.created));
    }
    Ok(of.live.tokens.get_key(&of.cx.view, &principal.token_key).await?.map(|record| record.created))
}

/// Whether a login may lead back there: it is what was registered, or differs in its port alone on a loopback address, where a
/// program listens on whatever port it gets (RFC 8252 section 7.3).
fn leads_back(allowed: &str, asked: &str) -> bool {
    allowed == asked || matches!((loopback(allowed), loopback(asked)), (Some(a), Some(b)) if a == b)
}

/// Host and what stands behind the port, of an address on the loopback interface.
fn loopback(uri: &str) -> Option<(&str, &str)> {
    let rest = uri.strip_prefix("http://")?;
    let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (host, port) = match authority.strip_prefix("[::1]") {
        Some(port) => ("[::1]", port),
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port_is_one = port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.parse::<u16>().is_ok());
    (matches!(host, "127.0.0.1" | "[::1]" | "localhost") && port_is_one).then_some((host, behind))
}

fn code_key(text: &str) -> String {
    format!("{}{}", folder("code"), hex::encode(sha256(&[text.as_bytes()])))
}

/// Removes codes whose time is over, a batch at a time.
pub(super) async fn sweep(cx: &Ctx<IdentityEngine>) -> Result<bool> {
    let mut gone = 0;
    for name in cx.view.children(&folder("code"), None, MAX_CODES).await? {
        let key = format!("{}{name}", folder("code"));
        if cx.view.get::<Code>(&key).await?.is_some_and(|code| code.expires <= cx.now()) {
            cx.view.delete(&key);
            gone += 1;
        }
        if gone == 256 {
            return Ok(true);
        }
    }
    Ok(false)
}

// ---- the exchange

async fn exchange(cx: Ctx<IdentityEngine>, ask: Exchange) -> Result<Reply> {
    let of = Of::new(cx)?;
    let reply = match tokens(&of, ask).await? {
        Ok(tokens) => document_of(tokens, 200),
        Err(Refusal(code, why)) => {
            let document = Object::new().with("error", code).with("error_description", why);
            match code {
                "invalid_client" => document_of(document, 401).header("www-authenticate", "Basic"),
                _ => document_of(document, 400),
            }
        }
    };
    Ok(reply.header("pragma", "no-cache"))
}

async fn tokens(of: &Of, ask: Exchange) -> Outcome<Object> {
    let cx = &of.cx;
    let name = ask.name.as_str();
    let Some(provider) = provider(cx, name).await? else { return refuse("invalid_request", "provider not found") };
    let client = accept!(authenticate_client(cx, &ask).await?);
    if !provider.allows(&client.client_id) {
        return refuse("invalid_client", "client is not authorized to use the provider");
    }
    if ask.grant_type != "authorization_code" {
        return refuse("unsupported_grant_type", "unsupported grant_type or parameter is empty value");
    }
    if ask.code.expose().is_empty() {
        return refuse("invalid_request", "code parameter is required");
    }
    if ask.redirect_uri.is_empty() {
        return refuse("invalid_request", "redirect_uri parameter is required");
    }
    let key = code_key(ask.code.expose());
    let Some(code) = cx.view.get::<Code>(&key).await? else {
        return refuse("invalid_grant", "authorization grant is invalid or expired");
    };
    // Once, whatever comes of it.
    cx.view.delete(&key);
    if code.expires <= cx.now() {
        return refuse("invalid_grant", "authorization grant is invalid or expired");
    }
    if code.client_id != client.client_id {
        return refuse("invalid_grant", "authorization code was not issued to the client");
    }
    if code.provider != name {
        return refuse("invalid_grant", "authorization code was not issued by the provider");
    }
    if code.redirect_uri != ask.redirect_uri {
        return refuse("invalid_grant", "redirect_uri does not match the redirect_uri used in the authorization request");
    }
    accept!(verify_challenge(&code, ask.code_verifier.expose()));
    let Some(identity) = person(of, &code.entity_id).await? else {
        return refuse("invalid_request", "identity entity associated with request not found");
    };
    if !client.admits(cx, &identity).await? {
        return refuse("invalid_request", "identity entity not authorized by client assignment");
    }
    let access = access_token(of, name, &client, &code).await?;
    let id_token = accept!(id_token(of, &provider, &client, &code, &identity, (access.expose(), ask.code.expose())).await?);
    Ok(Ok(Object::new()
        .with("access_token", access.expose().as_str())
        .with("expires_in", client.access_token_ttl.secs())
        .with("id_token", id_token)
        .with("token_type", "Bearer")))
}

/// A client by its secret, in the header or in the body; a public one has none, its code is bound by PKCE.
async fn authenticate_client(cx: &Ctx<IdentityEngine>, ask: &Exchange) -> Outcome<Client> {
    let failed = || refuse("invalid_client", "client failed to authenticate");
    let header = match cx.call().map(|call| &call.credential) {
        Some(Credential::Basic(text)) => match basic(text) {
            Some(pair) => Some(pair),
            None => return failed(),
        },
        _ => None,
    };
    let (id, secret) = match &header {
        Some((id, secret)) => (id.as_str(), secret.expose().as_str()),
        None => (ask.client_id.as_str(), ask.client_secret.expose().as_str()),
    };
    if id.is_empty() {
        return refuse("invalid_request", "client_id parameter is required");
    }
    let Some(client) = client_by_id(cx, id).await? else { return failed() };
    if !client.public && !ct_eq(client.client_secret.as_bytes(), secret.as_bytes()) {
        return failed();
    }
    Ok(Ok(client))
}

/// Name and secret of HTTP's Basic scheme, each encoded as in forms besides (RFC 6749 section 2.3.1); ours have only letters,
/// digits and `_`, which stand for themselves.
fn basic(text: &Secret<String>) -> Option<(String, Secret<String>)> {
    let bytes = zeroize::Zeroizing::new(STANDARD.decode(text.expose().trim()).ok()?);
    let (id, secret) = std::str::from_utf8(&bytes).ok()?.split_once(':')?;
    Some((id.to_owned(), Secret::from(secret)))
}

fn verify_challenge(code: &Code, verifier: &str) -> std::result::Result<(), Refusal> {
    match (code.challenge.is_empty(), verifier.is_empty()) {
        (true, true) => return Ok(()),
        (true, false) => return Err(Refusal("invalid_request", "unexpected code_verifier for token exchange")),
        (false, true) => return Err(Refusal("invalid_request", "expected code_verifier for token exchange")),
        (false, false) => {}
    }
    let answer = if code.method == "S256" { URL_SAFE_NO_PAD.encode(sha256(&[verifier.as_bytes()])) } else { verifier.to_owned() };
    if is_verifier(verifier) && ct_eq(answer.as_bytes(), code.challenge.as_bytes()) {
        return Ok(());
    }
    Err(Refusal("invalid_grant", "invalid code_verifier for token exchange"))
}

/// The person as they are now; nobody where they are gone or disabled.
async fn person(of: &Of, id: &str) -> Result<Option<Identity>> {
    match of.store().entity_or_heir(&of.cx.view, id).await? {
        Some(entity) if !entity.disabled => Identity::load(of.store(), &of.cx.view, entity).await.map(Some),
        _ => Ok(None),
    }
}

/// A batch token without policies and without an entity: as a token of the server it may do nothing.
async fn access_token(of: &Of, provider: &str, client: &Client, code: &Code) -> Result<Secret<String>> {
    let meta = BTreeMap::from([
        ("use".to_owned(), MARK.to_owned()),
        ("provider".to_owned(), provider.to_owned()),
        ("client_id".to_owned(), client.client_id.clone()),
        ("entity_id".to_owned(), code.entity_id.clone()),
        ("scopes".to_owned(), code.scopes.join(" ")),
    ]);
    let new = NewToken {
        kind: TokenKind::Batch,
        path: format!("identity/oidc/provider/{provider}/token"),
        display_name: "oidc".to_owned(),
        meta,
        ttl: client.access_token_ttl,
        ..NewToken::default()
    };
    Ok(issue(&of.live, &*of.core.random, &of.cx.view, new, of.cx.now()).await?.0)
}

async fn id_token(
    of: &Of,
    provider: &Provider,
    client: &Client,
    code: &Code,
    identity: &Identity,
    (access, text): (&String, &String),
) -> Outcome<String> {
    let cx = &of.cx;
    let unable = || refuse("invalid_request", "the client's key does not sign for it");
    let Some(mut key) = keys::load(cx, &client.key).await? else { return unable() };
    if !key.allows(&client.client_id) {
        return unable();
    }
    let now = cx.now();
    let ttl = client.id_token_ttl.min(key.verification_ttl);
    let mut claims = Object::new()
        .with("iss", provider.issuer(of, &code.provider).await?)
        .with("sub", identity.entity.id.as_str())
        .with("aud", client.client_id.as_str())
        .with("iat", seconds(now))
        .with("exp", seconds(now.plus(ttl.duration())))
        .with("namespace", "root")
        .with("at_hash", half_hash(&key.algorithm, access))
        .with("c_hash", half_hash(&key.algorithm, text));
    if !code.nonce.is_empty() {
        claims.insert("nonce", code.nonce.as_str());
    }
    if let Some(then) = code.auth_time {
        claims.insert("auth_time", seconds(then));
    }
    let said = accept!(claims_of(cx, &code.scopes, identity).await?);
    for (name, value) in said.iter() {
        claims.insert(name, value.clone());
    }
    key.sign(cx, &client.key, claims).await.map(Ok)
}

/// The left half of a hash, of the size that the signature uses (OpenID Connect Core section 3.1.3.6; SHA-512 for Ed25519).
fn half_hash(algorithm: &str, text: &str) -> String {
    let digest = match algorithm.trim_start_matches(|c: char| c.is_ascii_alphabetic()) {
        "256" => Algorithm::Sha256,
        "384" => Algorithm::Sha384,
        _ => Algorithm::Sha512,
    };
    let hash = digest.digest(&[text.as_bytes()]);
    URL_SAFE_NO_PAD.encode(&hash[..hash.len() / 2])
}

/// What scopes say of a person. Two that say the same claim are refused: which of them counts would be chance.
async fn claims_of(cx: &Ctx<IdentityEngine>, scopes: &[String], identity: &Identity) -> Outcome<Object> {
    let mut claims = Object::new();
    for name in scopes {
        let Some(scope) = scope(cx, name).await? else { continue };
        let said = Template::parse(&scope.template)?.fill(Some(identity), cx.now())?;
        for (claim, value) in said.iter() {
            if claims.insert(claim, value.clone()).is_some() {
                return refuse("invalid_request", "two of the requested scopes have the same claim");
            }
        }
    }
    Ok(Ok(claims))
}

// ---- what an access token shows

async fn userinfo(cx: Ctx<IdentityEngine>, ask: UserInfo) -> Result<Reply> {
    let of = Of::new(cx)?;
    Ok(match shown(&of, ask.name.as_str()).await? {
        Ok(claims) => document_of(claims, 200),
        Err(Refusal(code, why)) => {
            let document = Object::new().with("error", code).with("error_description", why);
            let status = if code == "invalid_token" { 401 } else { 400 };
            document_of(document, status).header("www-authenticate", format!("Bearer error={code:?},error_description={why:?}"))
        }
    })
}

async fn shown(of: &Of, name: &str) -> Outcome<Object> {
    let cx = &of.cx;
    let denied = || refuse("invalid_token", "permission denied");
    let Some(Credential::Token(text)) = cx.call().map(|call| &call.credential) else { return denied() };
    let Some(record) = of.live.batch.open(text.expose()).filter(|record| record.is_live(cx.now())) else { return denied() };
    let said = |what: &str| record.meta.get(what).map_or("", String::as_str);
    // Nobody else makes tokens with this path: those of logins have their mount's, those of tokens `auth/token/…`.
    let path = format!("identity/oidc/provider/{name}/token");
    if said("use") != MARK || record.path != path || !record.policies.is_empty() || said("provider") != name {
        return denied();
    }
    // All that let the person in must still be so.
    let Some(provider) = provider(cx, name).await? else { return denied() };
    let Some(client) = client_by_id(cx, said("client_id")).await? else { return denied() };
    let Some(identity) = person(of, said("entity_id")).await? else { return denied() };
    if !provider.allows(&client.client_id) || !client.admits(cx, &identity).await? {
        return denied();
    }
    let scopes: Vec<String> = said("scopes").split_ascii_whitespace().map(str::to_owned).collect();
    let scopes: Vec<String> = scopes.into_iter().filter(|scope| provider.scopes_supported.contains(scope)).collect();
    let mut claims = accept!(claims_of(cx, &scopes, &identity).await?);
    claims.insert("sub", Json::from(identity.entity.id.as_str()));
    Ok(Ok(claims))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_port_of_a_loopback_address_may_differ() {
        for (allowed, asked) in [
            ("https://a/cb", "https://a/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:999/cb"),
            ("http://127.0.0.1:1/cb?x=1", "http://127.0.0.1:2/cb?x=1"),
            ("http://[::1]:1/cb", "http://[::1]:2/cb"),
            ("http://localhost:5/cb", "http://localhost:77/cb"),
            ("http://localhost", "http://localhost:77"),
        ] {
            assert!(leads_back(allowed, asked), "{allowed} {asked}");
        }
        for (allowed, asked) in [
            ("https://a/cb", "https://a/cb/"),
            ("https://a/cb", "https://a:444/cb"),
            ("https://a/cb", "https://a/cb?x"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:999/other"),
            ("http://127.0.0.1/cb", "https://127.0.0.1:999/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.2/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:99@evil/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1.evil/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:99999/cb"),
            ("http://localhost/cb", "http://127.0.0.1/cb"),
            ("http://localhost/cb", "http://localhost:/evil/cb"),
            ("http://[::1]/cb", "http://[::1]evil/cb"),
            ("http://a/cb", "http://a:1/cb"),
        ] {
            assert!(!leads_back(allowed, asked), "{allowed} {asked}");
        }
    }

    #[test]
    fn verifiers_have_their_form_and_answer_their_challenge() {
        let code = |challenge: &str, method: &str| Code {
            provider: String::new(),
            client_id: String::new(),
            entity_id: String::new(),
            redirect_uri: String::new(),
            scopes: Vec::new(),
            nonce: String::new(),
            challenge: challenge.to_owned(),
            method: method.to_owned(),
            auth_time: None,
            expires: Timestamp::NEVER,
        };
        // RFC 7636 appendix B.
        let (verifier, challenge) =
            ("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        let verify = |code: Code, verifier: &str| verify_challenge(&code, verifier).is_ok();
        assert!(verify(code(challenge, "S256"), verifier));
        assert!(verify(code(verifier, "plain"), verifier));
        assert!(verify(code("", ""), ""));
        assert!(!verify(code(challenge, "S256"), challenge));
        assert!(!verify(code(challenge, "plain"), verifier));
        assert!(!verify(code(challenge, "S256"), ""));
        assert!(!verify(code("", ""), verifier));
        assert!(!verify(code("short", "plain"), "short"));
        assert!(is_verifier(&"a".repeat(128)) && !is_verifier(&"a".repeat(129)) && !is_verifier(&"a".repeat(42)));
        assert!(!is_verifier(&format!("{}+", "a".repeat(43))));
    }

    #[test]
    fn hashes_are_halves_of_the_signatures_own() {
        // OpenID Connect Core appendix A.4 has this pair for RS256.
        assert_eq!(half_hash("RS256", "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"), "77QmUPtjPfzWtF2AnpK9RQ");
        assert_eq!(half_hash("ES384", "x").len(), 32);
        assert_eq!(half_hash("RS512", "x").len(), 43);
        assert_eq!(half_hash("EdDSA", "x"), half_hash("ES512", "x"));
    }
}
