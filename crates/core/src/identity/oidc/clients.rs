//! What the OIDC provider is made of: assignments (who may log in to a client), scopes (what claims), clients, providers.
//! <https://developer.hashicorp.com/vault/api-docs/secret/identity/oidc-provider>

use super::keys::{self, DEFAULT, folder};
use super::template::{Template, decoded};
use super::{ALGORITHMS, Config, IdentityEngine, check_issuer, document_of};
use crate::identity::cache::Identity;
use crate::identity::engine::Of;
use coffer_crypto::random::base62;
use coffer_engine::view::Record;
use coffer_engine::{Ctx, Declare, NoInput, Reply, Request};
use coffer_types::{Error, Json, Name, Object, Result, Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use zeroize::Zeroizing;

/// The assignment that lets everyone in.
pub(super) const ALLOW_ALL: &str = "allow_all";
const DAY: i64 = 24 * 3600;

pub(super) fn declare(d: &mut Declare<IdentityEngine>) {
    d.at("oidc/assignment").about("List assignments.").list(list_assignments);
    d.at("oidc/assignment/{name}")
        .about("Who may log in to the clients that have this assignment.")
        .plain(&["entity_ids", "group_ids"])
        .read(read_assignment)
        .write(write_assignment)
        .exists(assignment_exists)
        .delete(delete_assignment);
    d.at("oidc/scope").about("List scopes.").list(list_scopes);
    d.at("oidc/scope/{name}")
        .about("What claims a scope adds.")
        .plain(&["template", "description"])
        .read(read_scope)
        .write(write_scope)
        .exists(scope_exists)
        .delete(delete_scope);
    d.at("oidc/client").about("List clients.").list(list_clients);
    d.at("oidc/client/{name}")
        .about("A program that people log in to.")
        .plain(&["key", "redirect_uris", "assignments", "client_type", "id_token_ttl", "access_token_ttl"])
        .read(read_client)
        .write(write_client)
        .exists(client_exists)
        .delete(delete_client);
    d.at("oidc/provider").about("List providers.").list(list_providers);
    d.at("oidc/provider/{name}")
        .about("A provider: its issuer, clients and scopes.")
        .plain(&["issuer", "allowed_client_ids", "scopes_supported"])
        .read(read_provider)
        .write(write_provider)
        .exists(provider_exists)
        .delete(delete_provider);
    d.at("oidc/provider/{name}/.well-known/openid-configuration")
        .about("What clients need to know of a provider.")
        .public()
        .read(description);
    d.at("oidc/provider/{name}/.well-known/keys").about("The public keys of a provider.").public().read(key_set);
}

/// As stored, format 1.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Assignment {
    entity_ids: Vec<String>,
    group_ids: Vec<String>,
}

impl Record for Assignment {
    const FORMAT: u8 = 1;
}

/// As stored, format 1.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Scope {
    pub(super) template: String,
    description: String,
}

impl Record for Scope {
    const FORMAT: u8 = 1;
}

/// As stored, format 1.
#[derive(Serialize, Deserialize)]
pub(super) struct Client {
    pub(super) client_id: String,
    /// Empty for a public client.
    pub(super) client_secret: Zeroizing<String>,
    pub(super) key: String,
    pub(super) redirect_uris: Vec<String>,
    assignments: Vec<String>,
    pub(super) public: bool,
    pub(super) id_token_ttl: Span,
    pub(super) access_token_ttl: Span,
}

impl Record for Client {
    const FORMAT: u8 = 1;
}

/// Leads from a client's id to its name; format 1.
#[derive(Serialize, Deserialize)]
struct ClientName {
    name: String,
}

impl Record for ClientName {
    const FORMAT: u8 = 1;
}

/// As stored, format 1.
#[derive(Serialize, Deserialize)]
pub(super) struct Provider {
    issuer: String,
    allowed_client_ids: Vec<String>,
    pub(super) scopes_supported: Vec<String>,
}

impl Record for Provider {
    const FORMAT: u8 = 1;
}

/// Name one.
#[derive(Request)]
struct Named {
    /// Its name.
    #[field(path)]
    name: Name,
}

/// Create or change an assignment.
#[derive(Request)]
struct WriteAssignment {
    /// Its name.
    #[field(path)]
    name: Name,
    /// The entities that it lets in; `*` for all.
    entity_ids: Option<Vec<String>>,
    /// The groups whose members it lets in; `*` for all.
    group_ids: Option<Vec<String>>,
}

/// Create or change a scope.
#[derive(Request)]
struct WriteScope {
    /// Its name.
    #[field(path)]
    name: Name,
    /// The claims: JSON with places, as it is or as base64.
    template: Option<String>,
    /// For people.
    description: Option<String>,
}

/// Create or change a client.
#[derive(Request)]
struct WriteClient {
    /// Its name.
    #[field(path)]
    name: Name,
    /// The key that signs its ID tokens; it stays the same.
    key: Option<String>,
    /// Where logins may lead back to.
    redirect_uris: Option<Vec<String>>,
    /// Who may log in.
    assignments: Option<Vec<String>>,
    /// `confidential`, with a secret, or `public`, which must use PKCE; it stays the same.
    client_type: Option<String>,
    /// How long ID tokens are good.
    id_token_ttl: Option<Span>,
    /// How long access tokens are good.
    access_token_ttl: Option<Span>,
    /// Logins with codes; always on.
    authorization_code: Option<bool>,
    /// Tokens for the client itself; there are none.
    client_credentials: Option<bool>,
}

/// List providers.
#[derive(Request)]
struct ListProviders {
    /// Only those that let this client log in.
    #[field(query, default)]
    allowed_client_id: String,
}

/// Create or change a provider.
#[derive(Request)]
struct WriteProvider {
    /// Its name.
    #[field(path)]
    name: Name,
    /// Scheme, host and port of its issuer; empty for the server's own address.
    issuer: Option<String>,
    /// The clients that may use it; `*` for all.
    allowed_client_ids: Option<Vec<String>>,
    /// The scopes that clients may ask for.
    scopes_supported: Option<Vec<String>>,
}

fn key(what: &str, name: &str) -> String {
    format!("{}{name}", folder(what))
}

async fn names(cx: &Ctx<IdentityEngine>, what: &str, always: Option<&str>) -> Result<Vec<String>> {
    let names = cx.view.children(&folder(what), None, usize::MAX).await?;
    Ok(names.into_iter().chain(always.map(str::to_owned)).collect::<BTreeSet<_>>().into_iter().collect())
}

fn unique(list: Vec<String>) -> Vec<String> {
    let set: BTreeSet<String> = list.iter().map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect();
    set.into_iter().collect()
}

fn refuse_if_used(what: &str, name: &str, by: &str, users: &[String]) -> Result<()> {
    if users.is_empty() {
        return Ok(());
    }
    let users = users.join(", ");
    Err(Error::bad_request(format!("unable to delete {what} {name:?} because it is currently referenced by these {by}: {users}")))
}

// ---- assignments

pub(super) async fn assignment(cx: &Ctx<IdentityEngine>, name: &str) -> Result<Option<Assignment>> {
    if name == ALLOW_ALL {
        let all = || vec!["*".to_owned()];
        return Ok(Some(Assignment { entity_ids: all(), group_ids: all() }));
    }
    cx.view.get(&key("assignment", name)).await
}

impl Assignment {
    fn admits(&self, identity: &Identity) -> bool {
        let entity = |id: &String| id == "*" || *id == identity.entity.id;
        let group = |id: &String| identity.groups.iter().any(|group| *id == group.id);
        self.entity_ids.iter().any(entity) || self.group_ids.iter().any(group)
    }
}

async fn list_assignments(cx: Ctx<IdentityEngine>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(names(&cx, "assignment", Some(ALLOW_ALL)).await?))
}

async fn read_assignment(cx: Ctx<IdentityEngine>, ask: Named) -> Result<Reply> {
    let found = assignment(&cx, ask.name.as_str()).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(Object::new().with("entity_ids", found.entity_ids).with("group_ids", found.group_ids)))
}

async fn assignment_exists(cx: Ctx<IdentityEngine>, ask: Named) -> Result<bool> {
    Ok(assignment(&cx, ask.name.as_str()).await?.is_some())
}

async fn write_assignment(cx: Ctx<IdentityEngine>, ask: WriteAssignment) -> Result<Reply<()>> {
    let name = ask.name.as_str();
    if name == ALLOW_ALL {
        return Err(Error::bad_request(format!("modification of assignment {name:?} not allowed")));
    }
    let mut found = assignment(&cx, name).await?.unwrap_or_default();
    found.entity_ids = ask.entity_ids.map(unique).unwrap_or(found.entity_ids);
    found.group_ids = ask.group_ids.map(unique).unwrap_or(found.group_ids);
    cx.view.put(&key("assignment", name), &found)?;
    Ok(Reply::empty())
}

async fn delete_assignment(cx: Ctx<IdentityEngine>, ask: Named) -> Result<Reply<()>> {
    let name = ask.name.as_str();
    if name == ALLOW_ALL {
        return Err(Error::bad_request(format!("deletion of assignment {name:?} not allowed")));
    }
    let users: Vec<String> =
        clients(&cx).await?.into_iter().filter(|(_, c)| c.assignments.iter().any(|a| a == name)).map(|(n, _)| n).collect();
    refuse_if_used("assignment", name, "clients", &users)?;
    cx.view.delete(&key("assignment", name));
    Ok(Reply::empty())
}

// ---- scopes

pub(super) async fn scope(cx: &Ctx<IdentityEngine>, name: &str) -> Result<Option<Scope>> {
    cx.view.get(&key("scope", name)).await
}

async fn list_scopes(cx: Ctx<IdentityEngine>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(names(&cx, "scope", None).await?))
}

async fn read_scope(cx: Ctx<IdentityEngine>, ask: Named) -> Result<Reply> {
    let found = scope(&cx, ask.name.as_str()).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(Object::new().with("description", found.description).with("template", found.template)))
}

async fn scope_exists(cx: Ctx<IdentityEngine>, ask: Named) -> Result<bool> {
    Ok(scope(&cx, ask.name.as_str()).await?.is_some())
}

async fn write_scope(cx: Ctx<IdentityEngine>, ask: WriteScope) -> Result<Reply<()>> {
    let name = ask.name.as_str();
    if name == "openid" {
        return Err(Error::bad_request(format!("the {name:?} scope name is reserved")));
    }
    let mut found = scope(&cx, name).await?.unwrap_or_default();
    found.template = ask.template.as_deref().map(decoded).unwrap_or(found.template);
    found.description = ask.description.unwrap_or(found.description);
    Template::parse(&found.template)?;
    cx.view.put(&key("scope", name), &found)?;
    Ok(Reply::empty())
}

async fn delete_scope(cx: Ctx<IdentityEngine>, ask: Named) -> Result<Reply<()>> {
    let name = ask.name.as_str();
    let mut users = Vec::new();
    for other in names(&cx, "provider", Some(DEFAULT)).await? {
        if provider(&cx, &other).await?.is_some_and(|p| p.scopes_supported.iter().any(|s| s == name)) {
            users.push(other);
        }
    }
    refuse_if_used("scope", name, "providers", &users)?;
    cx.view.delete(&key("scope", name));
    Ok(Reply::empty())
}

// ---- clients

pub(super) async fn client(cx: &Ctx<IdentityEngine>, name: &str) -> Result<Option<Client>> {
    cx.view.get(&key("client", name)).await
}

pub(super) async fn client_by_id(cx: &Ctx<IdentityEngine>, id: &str) -> Result<Option<Client>> {
    // Ids are the server's own; others stand for none.
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Ok(None);
    }
    match cx.view.get::<ClientName>(&key("client-id", id)).await? {
        Some(found) => client(cx, &found.name).await,
        None => Ok(None),
    }
}

async fn clients(cx: &Ctx<IdentityEngine>) -> Result<Vec<(String, Client)>> {
    let mut all = Vec::new();
    for name in names(cx, "client", None).await? {
        if let Some(found) = client(cx, &name).await? {
            all.push((name, found));
        }
    }
    Ok(all)
}

/// The clients whose ID tokens a key signs.
pub(super) async fn using(cx: &Ctx<IdentityEngine>, key: &str) -> Result<Vec<String>> {
    Ok(clients(cx).await?.into_iter().filter(|(_, client)| client.key == key).map(|(name, _)| name).collect())
}

/// The longest life of an ID token that a key signs.
pub(super) async fn longest_ttl(cx: &Ctx<IdentityEngine>, key: &str) -> Result<Span> {
    let ttls = clients(cx).await?.into_iter().filter(|(_, client)| client.key == key).map(|(_, client)| client.id_token_ttl);
    Ok(ttls.max().unwrap_or(Span::ZERO))
}

impl Client {
    /// Everything but its secret.
    fn shown(&self) -> Object {
        Object::new()
            .with("access_token_ttl", self.access_token_ttl.secs())
            .with("assignments", self.assignments.clone())
            .with("authorization_code", true)
            .with("client_credentials", false)
            .with("client_id", self.client_id.as_str())
            .with("client_type", if self.public { "public" } else { "confidential" })
            .with("id_token_ttl", self.id_token_ttl.secs())
            .with("key", self.key.as_str())
            .with("redirect_uris", self.redirect_uris.clone())
    }

    /// Whether one of its assignments lets this entity in.
    pub(super) async fn admits(&self, cx: &Ctx<IdentityEngine>, identity: &Identity) -> Result<bool> {
        for name in &self.assignments {
            if assignment(cx, name).await?.is_some_and(|assignment| assignment.admits(identity)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

async fn list_clients(cx: Ctx<IdentityEngine>, _: NoInput) -> Result<Reply> {
    let all = clients(&cx).await?;
    let info = all.iter().map(|(name, client)| (name.as_str(), Json::Object(client.shown()))).collect();
    Ok(Reply::list_with(all.iter().map(|(name, _)| name.clone()).collect(), info))
}

async fn read_client(cx: Ctx<IdentityEngine>, ask: Named) -> Result<Reply> {
    let found = client(&cx, ask.name.as_str()).await?.ok_or_else(Error::not_found)?;
    let mut shown = found.shown();
    if !found.public {
        shown.insert("client_secret", found.client_secret.as_str());
    }
    Ok(Reply::data(shown))
}

async fn client_exists(cx: Ctx<IdentityEngine>, ask: Named) -> Result<bool> {
    Ok(client(&cx, ask.name.as_str()).await?.is_some())
}

async fn write_client(cx: Ctx<IdentityEngine>, ask: WriteClient) -> Result<Reply<()>> {
    let core = cx.engine.core()?;
    let name = ask.name.as_str();
    let was = client(&cx, name).await?;
    let public = match ask.client_type.as_deref() {
        None => was.as_ref().is_some_and(|client| client.public),
        Some("confidential") => false,
        Some("public") => true,
        Some(other) => return Err(Error::bad_request(format!("invalid client_type {other:?}"))),
    };
    let new = was.is_none();
    let mut found = was.unwrap_or_else(|| Client {
        client_id: base62(&*core.random, 32).to_string(),
        client_secret: if public {
            Zeroizing::default()
        } else {
            Zeroizing::new(format!("hvo_secret_{}", *base62(&*core.random, 64)))
        },
        key: ask.key.clone().unwrap_or_else(|| DEFAULT.to_owned()),
        redirect_uris: Vec::new(),
        assignments: Vec::new(),
        public,
        id_token_ttl: Span::from_secs(DAY),
        access_token_ttl: Span::from_secs(DAY),
    });
    if found.public != public {
        return Err(Error::bad_request("client_type modification is not allowed"));
    }
    if ask.key.is_some_and(|key| key != found.key) {
        return Err(Error::bad_request("key modification is not allowed"));
    }
    if ask.client_credentials == Some(true) || ask.authorization_code == Some(false) {
        return Err(Error::bad_request("clients log people in with authorization codes; client_credentials is not built"));
    }
    found.redirect_uris = ask.redirect_uris.map(unique).unwrap_or(found.redirect_uris);
    found.assignments = ask.assignments.map(unique).unwrap_or(found.assignments);
    found.id_token_ttl = ask.id_token_ttl.unwrap_or(found.id_token_ttl);
    found.access_token_ttl = ask.access_token_ttl.unwrap_or(found.access_token_ttl);
    for name in &found.assignments {
        if assignment(&cx, name).await?.is_none() {
            return Err(Error::bad_request(format!("assignment {name:?} does not exist")));
        }
    }
    let signing = keys::load(&cx, &found.key).await?;
    let mut signing = signing.ok_or_else(|| Error::bad_request(format!("key {:?} does not exist", found.key)))?;
    if found.id_token_ttl.secs() < 1 || found.access_token_ttl.secs() < 1 {
        return Err(Error::bad_request("id_token_ttl and access_token_ttl must be at least a second"));
    }
    if found.id_token_ttl > signing.verification_ttl {
        return Err(Error::bad_request(
            "a client's id_token_ttl cannot be greater than the verification_ttl of the key it references",
        ));
    }
    signing.prepare(&cx, &found.key).await?;
    if new {
        cx.view.put(&key("client-id", &found.client_id), &ClientName { name: name.to_owned() })?;
    }
    cx.view.put(&key("client", name), &found)?;
    Ok(Reply::empty())
}

async fn delete_client(cx: Ctx<IdentityEngine>, ask: Named) -> Result<Reply<()>> {
    if let Some(found) = client(&cx, ask.name.as_str()).await? {
        cx.view.delete(&key("client-id", &found.client_id));
        cx.view.delete(&key("client", ask.name.as_str()));
    }
    Ok(Reply::empty())
}

// ---- providers

/// A provider; the default one is there before it is stored, for all clients.
pub(super) async fn provider(cx: &Ctx<IdentityEngine>, name: &str) -> Result<Option<Provider>> {
    let found = cx.view.get(&key("provider", name)).await?;
    let default = || {
        let all = vec!["*".to_owned()];
        (name == DEFAULT).then(|| Provider { issuer: String::new(), allowed_client_ids: all, scopes_supported: Vec::new() })
    };
    Ok(found.or_else(default))
}

impl Provider {
    pub(super) fn allows(&self, client_id: &str) -> bool {
        self.allowed_client_ids.iter().any(|id| id == "*" || id == client_id)
    }

    /// Its address, which is its issuer's name too.
    pub(super) async fn issuer(&self, of: &Of, name: &str) -> Result<String> {
        let config: Config = of.cx.view.get(super::CONFIG).await?.unwrap_or_default();
        let origin = [&self.issuer, &config.issuer].into_iter().find(|origin| !origin.is_empty());
        let origin = origin.map_or(of.core.config.api_addr.trim_end_matches('/'), String::as_str);
        Ok(format!("{origin}/v1/identity/oidc/provider/{name}"))
    }

    async fn shown(&self, of: &Of, name: &str) -> Result<Object> {
        Ok(Object::new()
            .with("allowed_client_ids", self.allowed_client_ids.clone())
            .with("issuer", self.issuer(of, name).await?)
            .with("scopes_supported", self.scopes_supported.clone()))
    }
}

async fn list_providers(cx: Ctx<IdentityEngine>, ask: ListProviders) -> Result<Reply> {
    let of = Of::new(cx)?;
    let (mut kept, mut info) = (Vec::new(), Object::new());
    for name in names(&of.cx, "provider", Some(DEFAULT)).await? {
        let Some(found) = provider(&of.cx, &name).await? else { continue };
        if ask.allowed_client_id.is_empty() || found.allows(&ask.allowed_client_id) {
            info.insert(name.as_str(), found.shown(&of, &name).await?);
            kept.push(name);
        }
    }
    Ok(Reply::list_with(kept, info))
}

async fn read_provider(cx: Ctx<IdentityEngine>, ask: Named) -> Result<Reply> {
    let of = Of::new(cx)?;
    let found = provider(&of.cx, ask.name.as_str()).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(found.shown(&of, ask.name.as_str()).await?))
}

async fn provider_exists(cx: Ctx<IdentityEngine>, ask: Named) -> Result<bool> {
    Ok(provider(&cx, ask.name.as_str()).await?.is_some())
}

async fn write_provider(cx: Ctx<IdentityEngine>, ask: WriteProvider) -> Result<Reply<()>> {
    let name = ask.name.as_str();
    let mut found = provider(&cx, name).await?.unwrap_or_else(|| Provider {
        issuer: String::new(),
        allowed_client_ids: Vec::new(),
        scopes_supported: Vec::new(),
    });
    if let Some(issuer) = ask.issuer {
        check_issuer(&issuer)?;
        found.issuer = issuer.trim_end_matches('/').to_owned();
    }
    found.allowed_client_ids = ask.allowed_client_ids.map(unique).unwrap_or(found.allowed_client_ids);
    found.scopes_supported = ask.scopes_supported.map(unique).unwrap_or(found.scopes_supported);
    let mut said: BTreeSet<String> = BTreeSet::new();
    let mut twice = Vec::new();
    for name in &found.scopes_supported {
        let scope = scope(&cx, name).await?.ok_or_else(|| Error::bad_request(format!("scope {name:?} does not exist")))?;
        for claim in Template::parse(&scope.template)?.fill(None, Timestamp::from_secs(0))?.names() {
            if !said.insert(claim.to_owned()) {
                twice.push(format!("{claim:?} of scope {name:?}"));
            }
        }
    }
    cx.view.put(&key("provider", name), &found)?;
    let reply = Reply::empty();
    if twice.is_empty() {
        return Ok(reply);
    }
    let twice = twice.join(", ");
    Ok(reply.warn(format!(
        "Found scope templates with conflicting top-level keys: {twice}. This may result in an error if the scopes are requested in \
         an OIDC Authentication Request."
    )))
}

async fn delete_provider(cx: Ctx<IdentityEngine>, ask: Named) -> Result<Reply<()>> {
    let name = ask.name.as_str();
    if name == DEFAULT {
        return Err(Error::bad_request(format!("deletion of OIDC provider {name:?} not allowed")));
    }
    cx.view.delete(&key("provider", name));
    Ok(Reply::empty())
}

async fn description(cx: Ctx<IdentityEngine>, ask: Named) -> Result<Reply> {
    let of = Of::new(cx)?;
    let name = ask.name.as_str();
    let found = provider(&of.cx, name).await?.ok_or_else(Error::not_found)?;
    let issuer = found.issuer(&of, name).await?;
    let origin = issuer.split("/v1/").next().unwrap_or_default();
    let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let mut scopes = found.scopes_supported;
    scopes.push("openid".to_owned());
    let document = Object::new()
        .with("jwks_uri", format!("{issuer}/.well-known/keys"))
        .with("authorization_endpoint", format!("{origin}/ui/vault/identity/oidc/provider/{name}/authorize"))
        .with("token_endpoint", format!("{issuer}/token"))
        .with("userinfo_endpoint", format!("{issuer}/userinfo"))
        .with("issuer", issuer)
        .with("request_parameter_supported", false)
        .with("request_uri_parameter_supported", false)
        .with("id_token_signing_alg_values_supported", list(&ALGORITHMS))
        .with("response_types_supported", list(&["code"]))
        .with("scopes_supported", scopes)
        .with("claims_supported", list(&[]))
        .with("subject_types_supported", list(&["public"]))
        .with("grant_types_supported", list(&["authorization_code"]))
        .with("token_endpoint_auth_methods_supported", list(&["none", "client_secret_basic", "client_secret_post"]))
        .with("code_challenge_methods_supported", list(&["plain", "S256"]));
    Ok(document_of(document, 200).header("cache-control", "max-age=3600"))
}

async fn key_set(cx: Ctx<IdentityEngine>, ask: Named) -> Result<Reply> {
    let found = provider(&cx, ask.name.as_str()).await?.ok_or_else(Error::not_found)?;
    let of_clients = clients(&cx).await?.into_iter().filter(|(_, client)| found.allows(&client.client_id));
    let names: BTreeSet<String> = of_clients.map(|(_, client)| client.key).collect();
    let names: Vec<String> = names.into_iter().collect();
    Ok(document_of(keys::set(&cx, &names).await?, 200))
}
