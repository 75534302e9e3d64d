//! Roles: what is signed for whom, and who gets passwords for which hosts.

use super::lengths::Lengths;
use super::{Cx, Ssh, check_name, failed, not_negative};
use coffer_crypto::ssh::Signature;
use coffer_engine::{Declare, NoInput, Record, Reply, Request};
use coffer_types::{Error, Json, Object, Result, Span, cidr::Cidr};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

pub(super) fn declare(d: &mut Declare<Ssh>) {
    d.at("roles").about("Lists roles.").list(list);
    d.at("roles/{role}")
        .about("What a role signs (`key_type=ca`), or for which hosts it gives passwords (`key_type=otp`).")
        .plain(&["key_type", "ttl", "max_ttl", "issuer_ref", "allowed_users", "allowed_domains", "default_user", "cidr_list"])
        .read(read)
        .write(write)
        .delete(delete);
}

/// What a role gives.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Gives {
    /// Certificates.
    Ca,
    /// Passwords that hold once.
    Otp,
}

/// Stored in format 1 under `role/<name>`.
#[derive(Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Role {
    pub(super) gives: Gives,
    pub(super) default_user: String,
    pub(super) default_user_template: bool,
    pub(super) allowed_users: String,
    pub(super) allowed_users_template: bool,
    pub(super) allowed_domains: String,
    pub(super) allowed_domains_template: bool,
    pub(super) allow_bare_domains: bool,
    pub(super) allow_subdomains: bool,
    pub(super) allow_user_certificates: bool,
    pub(super) allow_host_certificates: bool,
    pub(super) allow_empty_principals: bool,
    pub(super) allow_user_key_ids: bool,
    pub(super) allow_commas: bool,
    pub(super) allow_wildcards: bool,
    pub(super) allowed_critical_options: String,
    pub(super) default_critical_options: BTreeMap<String, String>,
    pub(super) allowed_extensions: String,
    pub(super) default_extensions: BTreeMap<String, String>,
    pub(super) default_extensions_template: bool,
    pub(super) allowed_user_key_lengths: Lengths,
    pub(super) key_id_format: String,
    pub(super) algorithm_signer: String,
    pub(super) issuer_ref: String,
    pub(super) ttl: Span,
    pub(super) max_ttl: Span,
    pub(super) not_before: Span,
    pub(super) port: i64,
    pub(super) cidr_list: String,
    pub(super) exclude_cidr_list: String,
}

impl Default for Role {
    fn default() -> Self {
        Self {
            gives: Gives::Otp,
            default_user: String::new(),
            default_user_template: false,
            allowed_users: String::new(),
            allowed_users_template: false,
            allowed_domains: String::new(),
            allowed_domains_template: false,
            allow_bare_domains: false,
            allow_subdomains: false,
            allow_user_certificates: false,
            allow_host_certificates: false,
            allow_empty_principals: false,
            allow_user_key_ids: false,
            allow_commas: false,
            allow_wildcards: false,
            allowed_critical_options: String::new(),
            default_critical_options: BTreeMap::new(),
            allowed_extensions: String::new(),
            default_extensions: BTreeMap::new(),
            default_extensions_template: false,
            allowed_user_key_lengths: Lengths::default(),
            key_id_format: String::new(),
            algorithm_signer: "default".to_owned(),
            issuer_ref: "default".to_owned(),
            ttl: Span::ZERO,
            max_ttl: Span::ZERO,
            not_before: Span::from_secs(30),
            port: 22,
            cidr_list: String::new(),
            exclude_cidr_list: String::new(),
        }
    }
}

impl Record for Role {
    const FORMAT: u8 = 1;
}

/// Names a role.
#[derive(Request)]
pub(super) struct Named {
    /// The role's name.
    #[field(path)]
    pub(super) role: String,
}

/// Write a role.
#[derive(Request)]
struct Write {
    /// The role's name.
    #[field(path)]
    role: String,
    /// `ca` for certificates, `otp` for passwords.
    #[field(default)]
    key_type: String,
    /// The user where a call names none.
    #[field(default)]
    default_user: String,
    /// `default_user` has places for values of the caller's identity.
    #[field(default)]
    default_user_template: bool,
    /// Users that a call may name, separated by commas; `*` for any.
    #[field(default)]
    allowed_users: String,
    /// `allowed_users` has places for values of the caller's identity.
    #[field(default)]
    allowed_users_template: bool,
    /// Domains of hosts, separated by commas; `*` for any.
    #[field(default)]
    allowed_domains: String,
    /// `allowed_domains` has places for values of the caller's identity.
    #[field(default)]
    allowed_domains_template: bool,
    /// Hosts may be called as the domains themselves.
    #[field(default)]
    allow_bare_domains: bool,
    /// Hosts may be called as subdomains.
    #[field(default)]
    allow_subdomains: bool,
    /// Certificates of users are given.
    #[field(default)]
    allow_user_certificates: bool,
    /// Certificates of hosts are given.
    #[field(default)]
    allow_host_certificates: bool,
    /// Certificates may name nobody, and so hold for everyone.
    #[field(default)]
    allow_empty_principals: bool,
    /// A call may say the certificate's key id.
    #[field(default)]
    allow_user_key_ids: bool,
    /// Values of the caller's identity may hold commas.
    #[field(default)]
    allow_commas_in_identity_templates: bool,
    /// Values of the caller's identity may hold `*`.
    #[field(default)]
    allow_wildcards_in_identity_templates: bool,
    /// Critical options that a call may ask for, separated by commas; any where there are none.
    #[field(default)]
    allowed_critical_options: String,
    /// Critical options where a call asks for none.
    #[field(default)]
    default_critical_options: BTreeMap<String, String>,
    /// Extensions that a call may ask for, separated by commas; `*` for any.
    #[field(default)]
    allowed_extensions: String,
    /// Extensions where a call asks for none.
    #[field(default)]
    default_extensions: BTreeMap<String, String>,
    /// Values of `default_extensions` have places for values of the caller's identity.
    #[field(default)]
    default_extensions_template: bool,
    /// Kinds of keys with their lengths that are signed: `{"rsa": [3072, 4096], "ed25519": 0}`.
    #[field(default)]
    allowed_user_key_lengths: Object,
    /// What key ids look like: `{{token_display_name}}`, `{{role_name}}`, `{{public_key_hash}}`.
    #[field(default)]
    key_id_format: String,
    /// How an RSA issuer signs: default, rsa-sha2-256 or rsa-sha2-512.
    #[field(default)]
    algorithm_signer: String,
    /// The issuer that signs.
    #[field(default)]
    issuer_ref: String,
    /// How long certificates hold where a call does not say.
    #[field(default)]
    ttl: Span,
    /// How long they hold at most.
    #[field(default)]
    max_ttl: Span,
    /// How far back their validity starts, for clocks that go behind.
    #[field(default = Span::from_secs(30))]
    not_before_duration: Span,
    /// The port that is told with a password.
    #[field(default = 22)]
    port: i64,
    /// Blocks of the hosts' addresses, separated by commas.
    #[field(default)]
    cidr_list: String,
    /// Blocks that are left out.
    #[field(default)]
    exclude_cidr_list: String,
}

async fn write(cx: Cx, q: Write) -> Result<Reply<()>> {
    check_name(&q.role)?;
    for (field, span) in [("ttl", q.ttl), ("max_ttl", q.max_ttl), ("not_before_duration", q.not_before_duration)] {
        not_negative(field, span)?;
    }
    let role = match &*q.key_type {
        "" => return Err(Error::bad_request("missing key type")),
        "otp" => otp(&q)?,
        "ca" => ca(&q)?,
        "dynamic" => return Err(Error::bad_request("dynamic key type roles are no longer supported")),
        _ => return Err(Error::bad_request("invalid key type")),
    };
    cx.view.put(&format!("role/{}", q.role), &role)?;
    Ok(Reply::empty())
}

fn otp(q: &Write) -> Result<Role> {
    if q.default_user.is_empty() {
        return Err(Error::bad_request("missing default user"));
    }
    let bad = |field: &str, entry: &str| failed(format!("failed to validate {field}: invalid CIDR address: {entry}"));
    for (field, text) in [("cidr_list", &q.cidr_list), ("exclude_cidr_list entry", &q.exclude_cidr_list)] {
        for entry in items(text) {
            // A bare address is no block here.
            if !entry.contains('/') || Cidr::parse(entry).is_none() {
                return Err(bad(field, entry));
            }
        }
    }
    if !(1..=65535).contains(&q.port) {
        return Err(Error::bad_request("port must be between 1 and 65535"));
    }
    Ok(Role {
        gives: Gives::Otp,
        default_user: q.default_user.clone(),
        allowed_users: q.allowed_users.clone(),
        port: q.port,
        cidr_list: q.cidr_list.clone(),
        exclude_cidr_list: q.exclude_cidr_list.clone(),
        ..Role::default()
    })
}

fn ca(q: &Write) -> Result<Role> {
    if !q.allow_user_certificates && !q.allow_host_certificates {
        return Err(Error::bad_request("Either 'allow_user_certificates' or 'allow_host_certificates' must be set to 'true'"));
    }
    if !q.ttl.is_zero() && !q.max_ttl.is_zero() && q.ttl > q.max_ttl {
        return Err(Error::bad_request("\"ttl\" value must be less than \"max_ttl\" when both are specified"));
    }
    let or_default = |text: &str| if text.is_empty() { "default".to_owned() } else { text.to_owned() };
    let algorithm_signer = or_default(&q.algorithm_signer);
    match &*algorithm_signer {
        "default" | "rsa-sha2-256" | "rsa-sha2-512" => {}
        "ssh-rsa" => {
            return Err(Error::bad_request(
                "algorithm_signer \"ssh-rsa\" signs with SHA-1, which is not built: use rsa-sha2-256",
            ));
        }
        other => return Err(failed(format!("unknown algorithm signer {other:?}"))),
    }
    Ok(Role {
        gives: Gives::Ca,
        default_user: q.default_user.clone(),
        default_user_template: q.default_user_template,
        allowed_users: q.allowed_users.clone(),
        allowed_users_template: q.allowed_users_template,
        allowed_domains: q.allowed_domains.clone(),
        allowed_domains_template: q.allowed_domains_template,
        allow_bare_domains: q.allow_bare_domains,
        allow_subdomains: q.allow_subdomains,
        allow_user_certificates: q.allow_user_certificates,
        allow_host_certificates: q.allow_host_certificates,
        allow_empty_principals: q.allow_empty_principals,
        allow_user_key_ids: q.allow_user_key_ids,
        allow_commas: q.allow_commas_in_identity_templates,
        allow_wildcards: q.allow_wildcards_in_identity_templates,
        allowed_critical_options: q.allowed_critical_options.clone(),
        default_critical_options: q.default_critical_options.clone(),
        allowed_extensions: q.allowed_extensions.clone(),
        default_extensions: q.default_extensions.clone(),
        default_extensions_template: q.default_extensions_template,
        allowed_user_key_lengths: Lengths::read(&q.allowed_user_key_lengths)?,
        key_id_format: q.key_id_format.clone(),
        algorithm_signer,
        issuer_ref: or_default(&q.issuer_ref),
        ttl: q.ttl,
        max_ttl: q.max_ttl,
        not_before: q.not_before_duration,
        ..Role::default()
    })
}

async fn read(cx: Cx, q: Named) -> Result<Reply> {
    check_name(&q.role)?;
    let role = find(&cx, &q.role).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(role.show()))
}

async fn delete(cx: Cx, q: Named) -> Result<Reply<()>> {
    check_name(&q.role)?;
    cx.view.delete(&format!("role/{}", q.role));
    super::otp::forget_role(&cx, &q.role).await?;
    Ok(Reply::empty())
}

async fn list(cx: Cx, _: NoInput) -> Result<Reply> {
    let names = cx.view.children("role/", None, usize::MAX).await?;
    let mut details = Object::new();
    for name in &names {
        let Some(role) = find(&cx, name).await? else { continue };
        let about = match role.gives {
            Gives::Otp => Object::new().with("key_type", "otp"),
            Gives::Ca => Object::new().with("key_type", "ca").with("issuer_ref", role.issuer_ref),
        };
        details.insert(&**name, Json::Object(about));
    }
    Ok(Reply::list_with(names, details))
}

pub(super) async fn find(cx: &Cx, name: &str) -> Result<Option<Role>> {
    cx.view.get(&format!("role/{name}")).await
}

impl Role {
    /// Whether passwords may be given for a host of this address.
    pub(super) fn covers(&self, ip: IpAddr) -> bool {
        let within = |list: &str| items(list).any(|entry| Cidr::parse(entry).is_some_and(|block| block.contains(ip)));
        within(&self.cidr_list) && !within(&self.exclude_cidr_list)
    }

    /// How it signs with an issuer's key; nothing where the two don't fit.
    pub(super) fn signature(&self, kind: coffer_crypto::pk::KeyKind) -> Option<Signature> {
        let is_rsa = matches!(kind, coffer_crypto::pk::KeyKind::Rsa(_));
        match &*self.algorithm_signer {
            "default" => Some(Signature::usual(kind)),
            "rsa-sha2-256" if is_rsa => Some(Signature::RsaSha256),
            "rsa-sha2-512" if is_rsa => Some(Signature::RsaSha512),
            _ => None,
        }
    }

    fn show(self) -> Object {
        let pairs = |pairs: BTreeMap<String, String>| Json::Object(pairs.into_iter().map(|(k, v)| (k, Json::from(v))).collect());
        match self.gives {
            Gives::Otp => Object::new()
                .with("allowed_users", self.allowed_users)
                .with("cidr_list", self.cidr_list)
                .with("default_user", self.default_user)
                .with("exclude_cidr_list", self.exclude_cidr_list)
                .with("key_type", "otp")
                .with("port", self.port),
            Gives::Ca => Object::new()
                .with("algorithm_signer", self.algorithm_signer)
                .with("allow_bare_domains", self.allow_bare_domains)
                .with("allow_commas_in_identity_templates", self.allow_commas)
                .with("allow_empty_principals", self.allow_empty_principals)
                .with("allow_host_certificates", self.allow_host_certificates)
                .with("allow_subdomains", self.allow_subdomains)
                .with("allow_user_certificates", self.allow_user_certificates)
                .with("allow_user_key_ids", self.allow_user_key_ids)
                .with("allow_wildcards_in_identity_templates", self.allow_wildcards)
                .with("allowed_critical_options", self.allowed_critical_options)
                .with("allowed_domains", self.allowed_domains)
                .with("allowed_domains_template", self.allowed_domains_template)
                .with("allowed_extensions", self.allowed_extensions)
                .with("allowed_user_key_lengths", self.allowed_user_key_lengths.show())
                .with("allowed_users", self.allowed_users)
                .with("allowed_users_template", self.allowed_users_template)
                .with("default_critical_options", pairs(self.default_critical_options))
                .with("default_extensions", pairs(self.default_extensions))
                .with("default_extensions_template", self.default_extensions_template)
                .with("default_user", self.default_user)
                .with("default_user_template", self.default_user_template)
                .with("issuer_ref", self.issuer_ref)
                .with("key_id_format", self.key_id_format)
                .with("key_type", "ca")
                .with("max_ttl", self.max_ttl.secs())
                .with("not_before_duration", self.not_before.secs())
                .with("ttl", self.ttl.secs()),
        }
    }
}

/// What stands between commas, without spaces around, and not nothing.
pub(super) fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty())
}
