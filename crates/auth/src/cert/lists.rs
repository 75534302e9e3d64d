//! Revocation lists: `crls/{name}`. They are in the store and read with every login, so that they hold from the first request after a
//! start; one that speaks of a certificate's issuer and can't be relied on refuses the login.

use super::{Cert, Named, roles};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coffer_crypto::x509::{Certificate, RevocationList};
use coffer_engine::outside::{HttpRequest, Method};
use coffer_engine::{Ctx, NoInput, Record, Reply, Request};
use coffer_types::{Error, Json, Kind, Name, Object, Result, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Stored in format 1 under `crl/<name>`.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// DER in base64.
    list: String,
    /// Where it is fetched again when it is out of date; empty if it was uploaded.
    url: String,
    fetched: Timestamp,
}

impl Record for Kept {
    const FORMAT: u8 = 1;
}

/// The largest list that is fetched, in bytes.
const LARGEST: usize = 16 << 20;

/// A fetched list that names no next one is fetched again after this.
const FRESH: Duration = Duration::from_secs(3600);

/// Whether a certificate is revoked by the lists of this mount. `issuer` is who signed it, where that is known.
///
/// # Errors
/// There are lists under its issuer's name, and none that its issuer signed is up to date.
pub(super) async fn revoked(cx: &Ctx<Cert>, certificate: &Certificate, issuer: Option<&Certificate>) -> Result<bool> {
    let mut named = Vec::new();
    for name in cx.view.children("crl/", None, usize::MAX).await? {
        let Some(kept) = cx.view.get::<Kept>(&key(&name)).await? else { continue };
        let mut list = kept.parse()?;
        if list.issuer() != certificate.issuer() {
            continue;
        }
        if kept.is_due(&list, cx.now()) {
            list = refresh(cx, &name, &kept, list, issuer).await?;
        }
        named.push(list);
    }
    if named.is_empty() {
        return Ok(false);
    }
    if let Some(issuer) = issuer {
        named.retain(|list| list.is_by(issuer));
        if named.is_empty() {
            return Err(unreliable("a revocation list under the name of the certificate's issuer is not signed by it"));
        }
    }
    if named.iter().any(|list| list.lists(certificate)) {
        return Ok(true);
    }
    if !named.iter().any(|list| list.is_current(cx.now())) {
        return Err(unreliable("the revocation list of the certificate's issuer is out of date"));
    }
    Ok(false)
}

fn unreliable(text: &'static str) -> Error {
    Error::new(Kind::Upstream, text)
}

/// The list as its address has it now; the old one where that can't be had, which counts while it is not out of date.
async fn refresh(
    cx: &Ctx<Cert>,
    name: &str,
    kept: &Kept,
    old: RevocationList,
    issuer: Option<&Certificate>,
) -> Result<RevocationList> {
    let Ok(new) = fetch(cx, &kept.url).await else { return Ok(old) };
    // Whoever answers there can't put another's list in its place.
    if new.issuer() != old.issuer() || issuer.is_some_and(|issuer| !new.is_by(issuer)) {
        return Ok(old);
    }
    cx.view.put(&key(name), &Kept::new(&new, kept.url.clone(), cx.now()))?;
    Ok(new)
}

async fn fetch(cx: &Ctx<Cert>, url: &str) -> Result<RevocationList> {
    let mut request = HttpRequest::new(Method::Get, url);
    request.limit = LARGEST;
    let reply = cx.outside().http().send(request).await?;
    if reply.status != 200 {
        return Err(Error::new(Kind::Upstream, format!("fetching the revocation list gave status {}", reply.status)));
    }
    RevocationList::from_either(&reply.body)
        .map_err(|e| Error::new(Kind::Upstream, "what was fetched is no revocation list").with_cause(e))
}

impl Kept {
    fn new(list: &RevocationList, url: String, fetched: Timestamp) -> Self {
        Self { list: STANDARD.encode(list.der()), url, fetched }
    }

    fn parse(&self) -> Result<RevocationList> {
        let bad = || Error::internal("a stored revocation list does not read");
        let der = STANDARD.decode(&self.list).map_err(|e| bad().with_cause(e))?;
        RevocationList::from_der(&der).map_err(|e| bad().with_cause(e))
    }

    fn is_due(&self, list: &RevocationList, now: Timestamp) -> bool {
        !self.url.is_empty() && list.next_update().map_or(now.since(self.fetched) > FRESH, |next| next < now)
    }
}

fn key(name: &str) -> String {
    format!("crl/{name}")
}

pub(super) fn is_http(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://")
}

/// Put a revocation list.
#[derive(Request)]
pub(super) struct Write {
    /// Name of the list.
    #[field(path)]
    name: Name,
    /// The list, PEM.
    crl: Option<String>,
    /// Where to fetch it, PEM or DER.
    url: Option<String>,
}

pub(super) async fn write(cx: Ctx<Cert>, q: Write) -> Result<Reply<()>> {
    let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    let (list, url) = match (given(q.crl), given(q.url)) {
        (Some(_), Some(_)) => return Err(Error::bad_request("only one of 'crl' or 'url' can be provided")),
        (None, None) => return Err(Error::bad_request("one of 'crl' or 'url' must be provided")),
        (Some(crl), None) => {
            let list = RevocationList::from_either(crl.trim().as_bytes());
            (list.map_err(|e| Error::bad_request(format!("failed to parse CRL: {e}")))?, String::new())
        }
        (None, Some(url)) if is_http(&url) => (fetch(&cx, &url).await?, url),
        (None, Some(_)) => return Err(Error::bad_request("url must begin with http:// or https://")),
    };
    check_signature(&cx, &list).await?;
    cx.view.put(&key(&q.name.as_str().to_lowercase()), &Kept::new(&list, url, cx.now()))?;
    Ok(Reply::empty())
}

/// Where roles have certificates of the list's issuer, one of them must have signed it.
async fn check_signature(cx: &Ctx<Cert>, list: &RevocationList) -> Result<()> {
    let mut known = false;
    for name in roles::names(cx).await? {
        let Some(role) = roles::load(cx, &name).await? else { continue };
        for certificate in role.certificates()? {
            if list.is_by(&certificate) {
                return Ok(());
            }
            known |= certificate.subject() == list.issuer();
        }
    }
    if known { Err(Error::bad_request("the CRL is not signed by the authority that it names")) } else { Ok(()) }
}

pub(super) async fn read(cx: Ctx<Cert>, q: Named) -> Result<Reply> {
    let name = q.normal();
    let kept: Kept = cx.view.get(&key(&name)).await?.ok_or_else(|| missing(&name))?;
    let list = kept.parse()?;
    let serials: Object = list.serials().into_iter().map(|serial| (serial, Json::Object(Object::new()))).collect();
    let mut shown = Object::new().with("serials", Json::Object(serials));
    if !kept.url.is_empty() {
        let until = list.next_update().unwrap_or_else(|| kept.fetched.plus(FRESH)).rfc3339();
        shown = shown.with("cdp", Json::Object(Object::new().with("url", kept.url).with("valid_until", until)));
    }
    Ok(Reply::data(shown))
}

pub(super) async fn list(cx: Ctx<Cert>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(cx.view.children("crl/", None, usize::MAX).await?))
}

pub(super) async fn delete(cx: Ctx<Cert>, q: Named) -> Result<Reply<()>> {
    let name = q.normal();
    if !cx.view.exists(&key(&name)).await? {
        return Err(missing(&name));
    }
    cx.view.delete(&key(&name));
    Ok(Reply::empty())
}

fn missing(name: &str) -> Error {
    Error::bad_request(format!("no such CRL {name}"))
}
