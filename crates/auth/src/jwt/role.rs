//! Roles: what must stand in a token, and what a login with it gives.

use super::Method;
use super::claims::{ClaimsKind, Leeways, check_bound_values};
use crate::old_names::OldNames;
use crate::token::{TokenAsk, TokenParams, TokenShown};
use coffer_engine::{Ctx, NoInput, Record, Reply, Request, Response};
use coffer_types::{Error, Json, Kind, Object, Result, Span};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a role is logged in to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RoleKind {
    /// With a token that the client has.
    Jwt,
    /// Through the browser.
    #[default]
    Oidc,
}

/// Who receives the provider's answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CallbackMode {
    /// The client, on a port of its own, which hands it on.
    #[default]
    Client,
    /// The server; the client asks with `oidc/poll`.
    Direct,
    /// Nobody: the client asks with `oidc/poll`, the server asks the provider (RFC 8628).
    Device,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Role {
    pub(crate) kind: RoleKind,
    pub(crate) user_claim: String,
    pub(crate) user_claim_json_pointer: bool,
    pub(crate) bound_audiences: Vec<String>,
    pub(crate) bound_subject: String,
    /// An object, or null where none were ever set.
    pub(crate) bound_claims: Json,
    pub(crate) bound_claims_kind: ClaimsKind,
    pub(crate) groups_claim: String,
    pub(crate) claim_mappings: BTreeMap<String, String>,
    pub(crate) leeways: Leeways,
    pub(crate) max_age: Span,
    pub(crate) allowed_redirect_uris: Vec<String>,
    pub(crate) scopes: Vec<String>,
    pub(crate) callback_mode: CallbackMode,
    pub(crate) no_confirmation: bool,
    pub oauth2_metadata: Vec<String>,
    pub(crate) poll_interval: u32,
    pub(crate) template_policies: bool,
    pub(crate) verbose_logging: bool,
    pub(crate) token: TokenParams,
}

impl Record for Role {
    const FORMAT: u8 = 1;
}

impl Role {
    /// The role of this name, in whatever case it was given.
    pub(crate) async fn load<const O: bool>(cx: &Ctx<Method<O>>, name: &str) -> Result<Option<Self>> {
        cx.view.get(&key(name)).await
    }

    pub(crate) fn bound_claims(&self) -> Object {
        self.bound_claims.as_object().cloned().unwrap_or_default()
    }

    fn check(&self) -> Result<()> {
        let bad = |text: &'static str| Err(Error::bad_request(text));
        if self.user_claim.is_empty() {
            return bad("a user claim must be defined on the role");
        }
        let bound = !self.bound_audiences.is_empty()
            || !self.bound_subject.is_empty()
            || !self.bound_claims().is_empty()
            || !self.token.bound_cidrs.is_empty();
        if self.kind == RoleKind::Jwt && !bound {
            return bad("must have at least one bound constraint when creating/updating a role");
        }
        if self.kind == RoleKind::Oidc && self.callback_mode != CallbackMode::Device && self.allowed_redirect_uris.is_empty() {
            return bad("'allowed_redirect_uris' must be set if 'role_type' is 'oidc' or unspecified.");
        }
        let mut taken = std::collections::BTreeSet::new();
        for key in self.claim_mappings.values() {
            if key == "role" {
                return bad("metadata key \"role\" is reserved and may not be a mapping destination");
            }
            if !taken.insert(key) {
                return Err(Error::bad_request(format!("multiple keys are mapped to metadata key {key:?}")));
            }
        }
        if !self.oauth2_metadata.is_empty() {
            return bad(
                "oauth2_metadata: tokens of the provider are not shown, since metadata stands in lookups and audit lines",
            );
        }
        check_bound_values(&self.bound_claims(), self.bound_claims_kind)
    }
}

/// Name a role.
#[derive(Request)]
pub(crate) struct Named {
    /// Name of the role.
    #[field(path)]
    name: String,
}

/// Write a role. What is left out stays as it is, but for role_type and callback_mode.
#[derive(Request)]
pub(crate) struct Write {
    /// Name of the role.
    #[field(path)]
    name: String,
    /// "jwt" or "oidc".
    role_type: Option<String>,
    /// The claim that names who logs in.
    user_claim: Option<String>,
    /// Whether user_claim is a JSON pointer.
    user_claim_json_pointer: Option<bool>,
    /// Audiences of which one must be in the token.
    bound_audiences: Option<Vec<String>>,
    /// The subject that a token must have.
    bound_subject: Option<String>,
    /// Claims, by name or JSON pointer, and the values of which one each must have.
    bound_claims: Option<Object>,
    /// "string" or "glob".
    bound_claims_type: Option<String>,
    /// The claim with the names of groups.
    groups_claim: Option<String>,
    /// Claims to copy, and the metadata keys to copy them to.
    claim_mappings: Option<BTreeMap<String, String>>,
    /// How long a token without exp lasts; 150 seconds where 0, none where negative.
    expiration_leeway: Option<Span>,
    /// How long before exp a token without nbf and iat begins; 150 seconds where 0, none where negative.
    not_before_leeway: Option<Span>,
    /// How far clocks may differ; 60 seconds where 0, none where negative.
    clock_skew_leeway: Option<Span>,
    /// How long ago someone may have shown the provider who they are.
    max_age: Option<Span>,
    /// Addresses that the provider may send the browser to.
    allowed_redirect_uris: Option<Vec<String>>,
    /// Scopes to ask for besides "openid".
    oidc_scopes: Option<Vec<String>>,
    /// "client", "direct" or "device".
    callback_mode: Option<String>,
    /// Do not ask for a confirmation in direct mode.
    oidc_disable_confirmation: Option<bool>,
    /// Tokens of the provider to show in metadata; none are.
    oauth2_metadata: Option<Vec<String>>,
    /// Seconds between two polls.
    poll_interval: Option<u32>,
    /// Whether token_policies hold templates over claims.
    token_policies_template_claims: Option<bool>,
    /// Accepted; tokens and claims are never logged.
    verbose_oidc_logging: Option<bool>,
    #[field(flatten)]
    token: TokenAsk,
    #[field(flatten)]
    old: OldNames,
}

/// A role.
#[derive(Response)]
pub(crate) struct Shown {
    /// Addresses that the provider may send the browser to.
    allowed_redirect_uris: Option<Vec<String>>,
    /// Audiences of which one must be in the token.
    bound_audiences: Option<Vec<String>>,
    /// Claims and their values.
    bound_claims: Json,
    /// "string" or "glob".
    bound_claims_type: String,
    /// The subject that a token must have.
    bound_subject: String,
    /// "client", "direct" or "device".
    callback_mode: String,
    /// Claims to copy into metadata.
    claim_mappings: Option<BTreeMap<String, String>>,
    /// Seconds that clocks may differ.
    clock_skew_leeway: Span,
    /// Seconds that a token without exp lasts.
    expiration_leeway: Span,
    /// The claim with the names of groups.
    groups_claim: String,
    /// Seconds since someone showed the provider who they are.
    max_age: Span,
    /// Seconds before exp that a token without nbf begins.
    not_before_leeway: Span,
    /// Tokens of the provider to show in metadata.
    oauth2_metadata: Option<Vec<String>>,
    /// Whether direct mode goes without a confirmation.
    oidc_disable_confirmation: bool,
    /// Scopes to ask for besides "openid".
    oidc_scopes: Option<Vec<String>>,
    /// "jwt" or "oidc".
    role_type: String,
    #[field(flatten)]
    token: TokenShown,
    /// Whether token_policies hold templates over claims.
    token_policies_template_claims: bool,
    /// The claim that names who logs in.
    user_claim: String,
    /// Whether user_claim is a JSON pointer.
    user_claim_json_pointer: bool,
    /// Accepted; tokens and claims are never logged.
    verbose_oidc_logging: bool,
}

pub(crate) async fn list<const O: bool>(cx: Ctx<Method<O>>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(cx.view.children("role/", None, usize::MAX).await?))
}

pub(crate) async fn exists<const O: bool>(cx: Ctx<Method<O>>, q: Named) -> Result<bool> {
    cx.view.exists(&key(&named(&q.name)?)).await
}

pub(crate) async fn read<const O: bool>(cx: Ctx<Method<O>>, q: Named) -> Result<Reply<Shown>> {
    let role = Role::load(&cx, &named(&q.name)?).await?.ok_or_else(Error::not_found)?;
    let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
    Ok(Reply::data(Shown {
        allowed_redirect_uris: some(role.allowed_redirect_uris),
        bound_audiences: some(role.bound_audiences),
        bound_claims: role.bound_claims,
        bound_claims_type: if role.bound_claims_kind == ClaimsKind::Glob { "glob" } else { "string" }.to_owned(),
        bound_subject: role.bound_subject,
        callback_mode: match role.callback_mode {
            CallbackMode::Client => "client",
            CallbackMode::Direct => "direct",
            CallbackMode::Device => "device",
        }
        .to_owned(),
        claim_mappings: (!role.claim_mappings.is_empty()).then_some(role.claim_mappings),
        clock_skew_leeway: role.leeways.clock_skew,
        expiration_leeway: role.leeways.expiration,
        groups_claim: role.groups_claim,
        max_age: role.max_age,
        not_before_leeway: role.leeways.not_before,
        oauth2_metadata: some(role.oauth2_metadata),
        oidc_disable_confirmation: role.no_confirmation,
        oidc_scopes: some(role.scopes),
        role_type: if role.kind == RoleKind::Jwt { "jwt" } else { "oidc" }.to_owned(),
        token: role.token.shown(),
        token_policies_template_claims: role.template_policies,
        user_claim: role.user_claim,
        user_claim_json_pointer: role.user_claim_json_pointer,
        verbose_oidc_logging: role.verbose_logging,
    }))
}

pub(crate) async fn write<const O: bool>(cx: Ctx<Method<O>>, q: Write) -> Result<Reply<()>> {
    let name = named(&q.name)?;
    let mut role = Role::load(&cx, &name).await?.unwrap_or_default();
    // These two fall back to their defaults where they are left out, as in the reference; all else stays.
    role.kind = match q.role_type.as_deref() {
        None | Some("" | "oidc") => RoleKind::Oidc,
        Some("jwt") => RoleKind::Jwt,
        Some(other) => return Err(Error::bad_request(format!("invalid 'role_type': {other}"))),
    };
    set(&mut role.user_claim, q.user_claim);
    set(&mut role.user_claim_json_pointer, q.user_claim_json_pointer);
    set(&mut role.bound_audiences, q.bound_audiences);
    set(&mut role.bound_subject, q.bound_subject);
    set(&mut role.bound_claims, q.bound_claims.map(Json::Object));
    if let Some(kind) = q.bound_claims_type {
        role.bound_claims_kind = match kind.as_str() {
            "" | "string" => ClaimsKind::String,
            "glob" => ClaimsKind::Glob,
            other => return Err(Error::bad_request(format!("invalid 'bound_claims_type': {other}"))),
        };
    }
    set(&mut role.groups_claim, q.groups_claim);
    set(&mut role.claim_mappings, q.claim_mappings);
    set(&mut role.leeways.expiration, q.expiration_leeway);
    set(&mut role.leeways.not_before, q.not_before_leeway);
    set(&mut role.leeways.clock_skew, q.clock_skew_leeway);
    set(&mut role.max_age, q.max_age);
    set(&mut role.allowed_redirect_uris, q.allowed_redirect_uris);
    set(&mut role.scopes, q.oidc_scopes);
    role.callback_mode = match q.callback_mode.as_deref() {
        None | Some("" | "client") => CallbackMode::Client,
        Some("direct") => CallbackMode::Direct,
        Some("device") => CallbackMode::Device,
        Some(other) => return Err(Error::bad_request(format!("invalid 'callback_mode': {other}"))),
    };
    set(&mut role.no_confirmation, q.oidc_disable_confirmation);
    set(&mut role.oauth2_metadata, q.oauth2_metadata);
    set(&mut role.poll_interval, q.poll_interval);
    set(&mut role.template_policies, q.token_policies_template_claims);
    set(&mut role.verbose_logging, q.verbose_oidc_logging);
    role.token.update(q.old.under(q.token)?)?;
    role.check()?;
    cx.view.put(&key(&name), &role)?;
    Ok(Reply::empty())
}

pub(crate) async fn delete<const O: bool>(cx: Ctx<Method<O>>, q: Named) -> Result<Reply<()>> {
    cx.view.delete(&key(&named(&q.name)?));
    Ok(Reply::empty())
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn key(name: &str) -> String {
    format!("role/{}", name.to_lowercase())
}

/// A role's name in lower case: letters, digits and `_`, inside also `-` and `.`.
fn named(name: &str) -> Result<String> {
    if crate::old_names::is_role_name(name) {
        return Ok(name.to_lowercase());
    }
    Err(Error::new(Kind::NotFound, "1 error occurred:\n\t* unsupported path\n\n"))
}
