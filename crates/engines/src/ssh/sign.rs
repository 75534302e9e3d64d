//! Signing keys of users and hosts.

use super::role::{Role, items};
use super::{Cx, Ssh, check_name, failed, issuer, not_negative, principals, role};
use coffer_crypto::ssh::{Certificate, CertificateKind, SshPublicKey};
use coffer_engine::template::has_places;
use coffer_engine::{Declare, Reply, Request};
use coffer_types::{Error, Object, Result, Span};
use std::collections::BTreeMap;

pub(super) fn declare(d: &mut Declare<Ssh>) {
    d.at("sign/{role}")
        .about("Signs a key.")
        .plain(&["public_key", "valid_principals", "cert_type", "key_id", "ttl"])
        .write(sign);
}

/// Sign a key.
#[derive(Request)]
struct Sign {
    /// The role's name.
    #[field(path)]
    role: String,
    /// The key, as `*.pub` files have it.
    #[field(default)]
    public_key: String,
    #[field(flatten)]
    wish: Wish,
}

/// What a certificate should say.
#[derive(Request)]
pub(super) struct Wish {
    /// Users or hosts, separated by commas.
    #[field(default)]
    valid_principals: String,
    /// `user` or `host`.
    #[field(default = "user".to_owned())]
    cert_type: String,
    /// How long it holds.
    #[field(default)]
    ttl: Span,
    /// The id under which hosts log its use.
    #[field(default)]
    key_id: String,
    /// What restricts its use.
    #[field(default)]
    critical_options: BTreeMap<String, String>,
    /// What its use comes with.
    #[field(default)]
    extensions: BTreeMap<String, String>,
}

async fn sign(cx: Cx, q: Sign) -> Result<Reply> {
    check_name(&q.role)?;
    let role = role::find(&cx, &q.role).await?;
    let role = role.ok_or_else(|| Error::bad_request(format!("Unknown role: {}", q.role)))?;
    if q.public_key.is_empty() {
        return Err(Error::bad_request("missing public_key"));
    }
    let key = SshPublicKey::parse(&q.public_key)
        .map_err(|why| Error::bad_request(format!("failed to parse public_key as SSH key: {why}")))?;
    role.allowed_user_key_lengths
        .check(key.kind())
        .map_err(|why| Error::bad_request(format!("public_key failed to meet the key requirements: {why}")))?;
    let signed = certify(&cx, &q.role, &role, &key, q.wish).await?;
    Ok(Reply::data(signed.data).warnings(signed.warnings))
}

/// A certificate, and what is to be said of it.
pub(super) struct Signed {
    pub(super) data: Object,
    pub(super) warnings: Vec<String>,
}

/// Makes a certificate on a key, as far as the role lets it.
pub(super) async fn certify(cx: &Cx, name: &str, role: &Role, key: &SshPublicKey, wish: Wish) -> Result<Signed> {
    not_negative("ttl", wish.ttl)?;
    let kind = match &*wish.cert_type {
        "user" => CertificateKind::User,
        "host" => CertificateKind::Host,
        _ => return Err(Error::bad_request("cert_type must be either 'user' or 'host'")),
    };
    let is_allowed = match kind {
        CertificateKind::User => role.allow_user_certificates,
        CertificateKind::Host => role.allow_host_certificates,
    };
    if !is_allowed {
        return Err(Error::bad_request(format!("cert_type '{}' is not allowed by role", wish.cert_type)));
    }
    let principals = principals::choose(cx, role, kind, &wish.valid_principals).await?;
    let ttl = lifetime(cx, role, wish.ttl)?;
    let key_id = key_id(cx, name, role, key, &wish.key_id)?;
    let critical_options = critical_options(role, wish.critical_options)?;
    let (extensions, warning) = extensions(cx, role, wish.extensions).await?;
    let issuer = issuer::find(cx, &role.issuer_ref).await?;
    let authority = issuer::material(cx, &issuer).await?;
    let authority_kind = authority.spec.kind().ok_or_else(|| Error::internal("an issuer's key can't sign"))?;
    let signature = role.signature(authority_kind).ok_or_else(|| {
        failed(format!(
            "failed to generate signed SSH key: sign error: ssh: unsupported signature algorithm {:?} for this issuer's key",
            role.algorithm_signer
        ))
    })?;
    let (mut nonce, mut serial) = ([0; 32], [0; 8]);
    cx.fill_random(&mut nonce);
    cx.fill_random(&mut serial);
    let serial = u64::from_be_bytes(serial);
    let seconds = |at: i64| u64::try_from(at).unwrap_or(0);
    let now = cx.now().secs();
    let (from, until) = (seconds(now.saturating_sub(role.not_before.secs())), seconds(now.saturating_add(ttl.secs())));
    let key = key.clone();
    let work = move || {
        let certificate = Certificate {
            key: &key,
            nonce,
            serial,
            kind,
            key_id: &key_id,
            principals: &principals,
            valid_after: from,
            valid_before: until,
            critical_options: &critical_options,
            extensions: &extensions,
        };
        let private = authority.private.as_ref().ok_or(coffer_crypto::pk::PkError::Failed)?;
        certificate.sign(private, signature)
    };
    // An RSA signature takes up to milliseconds.
    let is_slow = matches!(authority_kind, coffer_crypto::pk::KeyKind::Rsa(_));
    let line = if is_slow { cx.compute(work).await? } else { work() }.map_err(Error::internal)?;
    let data =
        Object::new().with("issuer_id", issuer.id).with("serial_number", format!("{serial:016x}")).with("signed_key", line);
    Ok(Signed { data, warnings: warning.into_iter().map(str::to_owned).collect() })
}

/// A call that asks for too much is told so; a role that allows more than the server is cut.
fn lifetime(cx: &Cx, role: &Role, asked: Span) -> Result<Span> {
    let most = if role.max_ttl.is_zero() { cx.mount().max_lease_ttl } else { role.max_ttl };
    if asked > most {
        return Err(Error::bad_request(format!("ttl is larger than maximum allowed {}", most.secs())));
    }
    let usual = [asked, role.ttl].into_iter().find(|span| !span.is_zero()).unwrap_or(cx.mount().default_lease_ttl);
    Ok(usual.min(most))
}

fn key_id(cx: &Cx, name: &str, role: &Role, key: &SshPublicKey, asked: &str) -> Result<String> {
    if !asked.is_empty() {
        if !role.allow_user_key_ids {
            return Err(Error::bad_request("setting key_id is not allowed by role"));
        }
        if asked.chars().any(char::is_control) {
            return Err(Error::bad_request("key_id must not hold control characters"));
        }
        return Ok(asked.to_owned());
    }
    let display = cx.principal().map_or("", |principal| &principal.display_name);
    let fingerprint = key.fingerprint();
    if role.key_id_format.is_empty() {
        let space = if display.is_empty() { "" } else { "-" };
        return Ok(format!("vault{space}{display}-{fingerprint}"));
    }
    // Once from left to right, so that a name that looks like a place is not filled.
    let places = [("{{token_display_name}}", display), ("{{role_name}}", name), ("{{public_key_hash}}", &*fingerprint)];
    let (mut out, mut rest) = (String::new(), &*role.key_id_format);
    while let Some(first) = rest.chars().next() {
        match places.iter().find(|(place, _)| rest.starts_with(place)) {
            Some((place, value)) => {
                out.push_str(value);
                rest = &rest[place.len()..];
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    Ok(out)
}

fn critical_options(role: &Role, asked: BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    if asked.is_empty() {
        return Ok(role.default_critical_options.clone());
    }
    if !role.allowed_critical_options.is_empty() {
        let bad = not_among(&role.allowed_critical_options, &asked);
        if !bad.is_empty() {
            return Err(Error::bad_request(format!("critical options not on allowed list: [{}]", bad.join(" "))));
        }
    }
    Ok(asked)
}

async fn extensions(
    cx: &Cx,
    role: &Role,
    asked: BTreeMap<String, String>,
) -> Result<(BTreeMap<String, String>, Option<&'static str>)> {
    if !asked.is_empty() {
        let bad = not_among(&role.allowed_extensions, &asked);
        if role.allowed_extensions.trim() != "*" && !bad.is_empty() {
            return Err(Error::bad_request(format!("extensions [{}] are not on allowed list", bad.join(" "))));
        }
        return Ok((asked, None));
    }
    if !role.default_extensions_template {
        return Ok((role.default_extensions.clone(), None));
    }
    let (mut out, mut warning) = (BTreeMap::new(), None);
    for (name, value) in &role.default_extensions {
        if has_places(value) && !cx.has_entity() {
            warning = Some(
                "default_extension templating enabled with at least one extension requiring identity templating. However, this request \
                 lacked identity entity information, causing one or more extensions to be skipped from the generated certificate.",
            );
            continue;
        }
        let filled = cx.fill_template(value, &[]).await?;
        let filled = filled.map_err(|why| Error::bad_request(format!("template '{value}' could not be rendered -> {why}")))?;
        out.insert(name.clone(), filled);
    }
    Ok((out, warning))
}

fn not_among<'a>(allowed: &str, asked: &'a BTreeMap<String, String>) -> Vec<&'a str> {
    asked.keys().map(String::as_str).filter(|name| !items(allowed).any(|allowed| allowed == *name)).collect()
}
