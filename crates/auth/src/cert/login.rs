//! Logging in, and being asked again.

use super::roles::{Role, Trust};
use super::{Cert, Config, lists, ocsp, roles};
use crate::again;
use coffer_crypto::x509::{Certificate, Untrusted, check_pinned, client_path, extension_text};
use coffer_engine::{Ctx, Login, Reply, Request};
use coffer_types::{Error, Result};
use std::collections::BTreeMap;

/// Log in.
#[derive(Request)]
pub(super) struct Ask {
    /// The role; without it the first that takes the certificate.
    #[field(default)]
    name: String,
}

/// What the connection showed.
struct Presented {
    leaf: Certificate,
    others: Vec<Certificate>,
}

/// The key in a token's private data under which the leaf's fingerprint stands.
const FINGERPRINT: &str = "fingerprint";
const ROLE: &str = "role";

pub(super) async fn login(cx: Ctx<Cert>, q: Ask) -> Result<Reply<()>> {
    let shown = presented(&cx)?;
    let (name, role) = find(&cx, &shown, &q.name.to_lowercase()).await?;
    let address = cx.call().and_then(|call| call.remote.ip);
    let mut login = role.token.login_from(address)?;
    login.metadata = metadata(&name, &role, &shown.leaf);
    if Config::load(&cx).await?.enable_identity_alias_metadata {
        login.alias_metadata = login.metadata.clone();
    }
    login.alias = shown.leaf.common_name();
    login.display_name = if role.display_name.is_empty() { name.clone() } else { role.display_name };
    login.internal.insert(FINGERPRINT.to_owned(), shown.leaf.fingerprint());
    login.internal.insert(ROLE.to_owned(), name);
    Ok(Reply::login(login))
}

/// The connection that renews must show the very certificate that logged in, and it must still be taken.
pub(super) async fn renew(cx: Ctx<Cert>, mut login: Login) -> Result<Login> {
    let name = login.internal.get(ROLE).cloned().unwrap_or_default();
    if !Config::load(&cx).await?.disable_binding {
        let shown = presented(&cx)?;
        if login.internal.get(FINGERPRINT) != Some(&shown.leaf.fingerprint()) {
            return Err(refused());
        }
        if roles::load(&cx, &name).await?.is_some() {
            find(&cx, &shown, &name).await?;
        }
    }
    let role = roles::load(&cx, &name).await?.ok_or_else(Error::not_found)?;
    if !again::same(&role.token.policies, &login.policies) {
        return Err(Error::bad_request("policies have changed, not renewing"));
    }
    (login.ttl, login.max_ttl, login.period) = (role.token.ttl, role.token.max_ttl, role.token.period);
    Ok(login)
}

fn presented(cx: &Ctx<Cert>) -> Result<Presented> {
    let certificate = cx.call().and_then(|call| call.remote.certificate.as_deref());
    let shown = certificate.ok_or_else(|| Error::bad_request("no client certificate found"))?;
    let leaf = Certificate::from_der(&shown.leaf).map_err(|e| refused().with_cause(e))?;
    // What it sent along and can't be read leads nowhere; there is no need of more than a path may have.
    let others = shown.others.iter().take(16).filter_map(|der| Certificate::from_der(der).ok()).collect();
    Ok(Presented { leaf, others })
}

fn refused() -> Error {
    Error::bad_request("invalid certificate or no client certificate supplied")
}

/// How far the roles that were asked came with a certificate; the furthest words the refusal.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Came {
    Nowhere,
    Untrusted(&'static str),
    Excluded,
}

/// The first role, or the named one, that trusts and takes the certificate.
async fn find(cx: &Ctx<Cert>, shown: &Presented, wanted: &str) -> Result<(String, Role)> {
    let names = if wanted.is_empty() { roles::names(cx).await? } else { vec![wanted.to_owned()] };
    let mut came = Came::Nowhere;
    for name in names {
        let Some(role) = roles::load(cx, &name).await? else { continue };
        let trust = role.trust()?;
        let now = match path(&trust, shown, cx) {
            Ok(path) => {
                if role.allowed.takes(&shown.leaf) && stands(cx, &role, &trust, &path, shown).await? {
                    return Ok((name, role));
                }
                Came::Excluded
            }
            Err(Untrusted::Issuer) => Came::Nowhere,
            Err(why) => Came::Untrusted(words(why)),
        };
        came = came.max(now);
    }
    Err(match came {
        Came::Nowhere => refused(),
        Came::Untrusted(why) => Error::bad_request(format!("failed to verify client's certificate: {why}")),
        Came::Excluded => Error::bad_request("no chain matching all constraints could be found for this login certificate"),
    })
}

fn words(why: Untrusted) -> &'static str {
    match why {
        Untrusted::Time => "it, or an authority above it, has expired or is not yet valid",
        Untrusted::Usage => "it is not for client authentication",
        Untrusted::Critical => "it has a critical extension that is not understood",
        Untrusted::Issuer => "it was signed by an unknown authority",
        Untrusted::Path => "an authority above it may not sign it",
        Untrusted::Malformed => "it does not parse",
    }
}

/// From the leaf to what the role trusts. A leaf that the role has itself, whole, needs nobody above it.
fn path<'c>(trust: &'c Trust, shown: &'c Presented, cx: &Ctx<Cert>) -> Result<Vec<&'c Certificate>, Untrusted> {
    let leaf = &shown.leaf;
    match trust {
        Trust::Itself(own) if own.first().is_some_and(|own| own.der() == leaf.der()) => {
            check_pinned(leaf, cx.now()).map(|()| vec![leaf])
        }
        Trust::Authorities(own) if own.iter().any(|own| own.der() == leaf.der()) => {
            check_pinned(leaf, cx.now()).map(|()| vec![leaf])
        }
        Trust::Itself(_) => Err(Untrusted::Issuer),
        Trust::Authorities(anchors) => client_path(leaf, &shown.others, anchors, cx.now()),
    }
}

/// Whether nothing on the path was revoked.
async fn stands(cx: &Ctx<Cert>, role: &Role, trust: &Trust, path: &[&Certificate], shown: &Presented) -> Result<bool> {
    let (Trust::Authorities(own) | Trust::Itself(own)) = trust;
    // Who signed the last of the path, if it is known: only its key counts, so it may come from anywhere.
    let issuer_of = |certificate: &Certificate| {
        let is_issuer = |candidate: &&Certificate| candidate.subject() == certificate.issuer() && candidate.signed(certificate);
        own.iter().chain(&shown.others).find(is_issuer)
    };
    let issuer = |at: usize| path.get(at + 1).copied().or_else(|| issuer_of(path[at]));
    for (at, certificate) in path.iter().enumerate() {
        if lists::revoked(cx, certificate, issuer(at)).await? {
            return Ok(false);
        }
    }
    ocsp::admits(cx, &role.ocsp, path[0], issuer(0)).await
}

fn metadata(name: &str, role: &Role, leaf: &Certificate) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::from([
        ("cert_name".to_owned(), name.to_owned()),
        ("common_name".to_owned(), leaf.common_name()),
        ("serial_number".to_owned(), leaf.serial()),
        ("subject_key_id".to_owned(), leaf.subject_key_id()),
        ("authority_key_id".to_owned(), leaf.authority_key_id()),
    ]);
    for oid in role.allowed_metadata_extensions.iter().flatten() {
        let extension = leaf.extensions().iter().find(|extension| extension.oid == *oid);
        if let Some(text) = extension.and_then(|extension| extension_text(&extension.value)) {
            metadata.insert(oid.replace('.', "-"), text);
        }
    }
    metadata
}
