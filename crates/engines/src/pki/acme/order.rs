//! Orders: which names, whether they are proven, and the certificate in the end.

use super::super::allowed::{Allowed, Given};
use super::super::issuer::{self, Use};
use super::super::leaf::{self, sign_request};
use super::super::signer::Signer;
use super::super::stored::Stored;
use super::super::{Cx, new_id, put_text, serial, subject, validity};
use super::challenge::Authorization;
use super::problem::{Problem, Stop, as_problem};
use super::{Ask, Body, Outcome, Place, Verified};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coffer_crypto::x509::{Names, Request as Csr, pem};
use coffer_engine::Record;
use coffer_types::{Json, Object, Result, Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

/// A name that is to be proven.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Identifier {
    Dns(String),
    Ip(IpAddr),
}

impl Identifier {
    pub(super) fn show(&self) -> Object {
        match self {
            Self::Dns(name) => Object::new().with("type", "dns").with("value", name.as_str()),
            Self::Ip(address) => Object::new().with("type", "ip").with("value", address.to_string()),
        }
    }

    fn read(value: &Json) -> Result<Self, Stop> {
        let text = |name: &str| value.get(name).and_then(Json::as_str);
        let (Some(kind), Some(value)) = (text("type"), text("value")) else {
            return Err(Problem::malformed("an identifier has a type and a value").into());
        };
        match kind {
            "ip" => {
                let address: IpAddr = value.parse().map_err(|_| Problem::malformed("an identifier is no IP address"))?;
                Ok(Self::Ip(address))
            }
            "dns" if value.starts_with("*.") => {
                Err(Problem::new("rejectedIdentifier", "a wildcard can be proven by dns-01 alone, which is not offered here")
                    .into())
            }
            "dns" => {
                let name = value.to_ascii_lowercase();
                let label = |label: &str| {
                    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
                    !label.is_empty()
                        && label.len() <= 63
                        && label.bytes().all(inner)
                        && !label.starts_with('-')
                        && !label.ends_with('-')
                };
                // A name that reads as an address would be fetched from that address.
                let good = name.len() <= 253 && name.split('.').all(label) && name.parse::<IpAddr>().is_err();
                let number = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
                if good && !number {
                    Ok(Self::Dns(name))
                } else {
                    Err(Problem::malformed("an identifier is no name of a host").into())
                }
            }
            _ => Err(Problem::new("unsupportedIdentifier", "identifiers are of type dns or ip").into()),
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Order {
    identifiers: Vec<Identifier>,
    /// Ids.
    authorizations: Vec<String>,
    expires: Timestamp,
    directory: String,
    /// The certificate's serial number as the store's keys have it, once it was made.
    certificate: Option<String>,
}

impl Record for Order {
    const FORMAT: u8 = 1;
}

const LIFE: Duration = Duration::from_secs(24 * 3600);
const MOST_NAMES: usize = 100;
/// As the reference: certificates of ACME renew themselves and need no longer life.
const LONGEST: Span = Span::from_secs(90 * 24 * 3600);

fn key(account: &str, id: &str) -> String {
    format!("acme/order/{account}/{id}")
}

impl Order {
    /// Of this account in this directory; whether another has one of this id is not said.
    async fn find(cx: &Cx, verified: &Verified, id: &str) -> Result<Self, Stop> {
        let (account, about) = verified.account()?;
        let found: Option<Self> = if id.is_empty() || id.contains('/') { None } else { cx.view.get(&key(account, id)).await? };
        let found = found.filter(|order| order.directory == about.directory);
        found.ok_or_else(|| Problem::malformed("the order does not exist").into())
    }

    async fn status(&self, cx: &Cx, account: &str) -> Result<&'static str> {
        if self.certificate.is_some() {
            return Ok("valid");
        }
        if self.expires <= cx.now() {
            return Ok("invalid");
        }
        let mut status = "ready";
        for id in &self.authorizations {
            match Authorization::find(cx, account, id).await?.map(|found| found.status_at(cx.now())) {
                Some("valid") => {}
                Some("pending") => status = "pending",
                _ => return Ok("invalid"),
            }
        }
        Ok(status)
    }

    async fn show(&self, cx: &Cx, place: &Place, account: &str, id: &str) -> Result<Object> {
        let at = |id: &String| format!("{}/authorization/{id}", place.base);
        let mut shown = Object::new()
            .with("authorizations", self.authorizations.iter().map(at).collect::<Vec<_>>())
            .with("expires", self.expires.rfc3339_secs())
            .with("finalize", format!("{}/order/{id}/finalize", place.base))
            .with("identifiers", self.identifiers.iter().map(|one| Json::Object(one.show())).collect::<Vec<_>>())
            .with("status", self.status(cx, account).await?);
        if self.certificate.is_some() {
            shown.insert("certificate", format!("{}/order/{id}/cert", place.base));
        }
        Ok(shown)
    }
}

pub(super) async fn create(cx: &Cx, place: &Place, verified: &Verified) -> Result<Outcome, Stop> {
    let (account, _) = verified.account()?;
    let payload = verified.required()?;
    if payload.contains("notBefore") || payload.contains("notAfter") {
        return Err(Problem::malformed("notBefore and notAfter are not supported").into());
    }
    let list = payload.get("identifiers").and_then(Json::as_array).unwrap_or_default();
    if list.is_empty() || list.len() > MOST_NAMES {
        return Err(Problem::malformed("an order has between 1 and 100 identifiers").into());
    }
    let identifiers = list.iter().map(Identifier::read).collect::<Result<BTreeSet<_>, Stop>>()?;
    let mut names = Names::default();
    for one in &identifiers {
        match one {
            Identifier::Dns(name) => names.dns.push(name.clone()),
            Identifier::Ip(address) => names.ip.push(*address),
        }
    }
    let allowed = Allowed::of(cx, &place.role).await?;
    allowed.names(&names, Given::ByCsr).map_err(as_problem("rejectedIdentifier"))?;
    let expires = Timestamp::from_secs(cx.now().plus(LIFE).secs());
    let mut authorizations = Vec::with_capacity(identifiers.len());
    for identifier in &identifiers {
        authorizations.push(Authorization::create(cx, account, identifier.clone(), expires)?);
    }
    let order = Order {
        identifiers: identifiers.into_iter().collect(),
        authorizations,
        expires,
        directory: place.directory.clone(),
        certificate: None,
    };
    let id = new_id(cx);
    cx.view.put(&key(account, &id), &order)?;
    let mut outcome = Outcome::json(order.show(cx, place, account, &id).await?).at(format!("{}/order/{id}", place.base));
    outcome.status = 201;
    Ok(outcome)
}

pub(super) async fn list(cx: &Cx, place: &Place, verified: &Verified) -> Result<Outcome, Stop> {
    let (account, _) = verified.account()?;
    let ids = cx.view.children(&format!("acme/order/{account}/"), None, 1000).await?;
    let urls: Vec<String> = ids.iter().map(|id| format!("{}/order/{id}", place.base)).collect();
    Ok(Outcome::json(Object::new().with("orders", urls)))
}

pub(super) async fn read(cx: &Cx, place: &Place, ask: &Ask, verified: &Verified) -> Result<Outcome, Stop> {
    let (account, _) = verified.account()?;
    let order = Order::find(cx, verified, &ask.order_id).await?;
    let shown = order.show(cx, place, account, &ask.order_id).await?;
    Ok(Outcome::json(shown).at(format!("{}/order/{}", place.base, ask.order_id)))
}

pub(super) async fn finalize(cx: &Cx, place: &Place, ask: &Ask, verified: &Verified) -> Result<Outcome, Stop> {
    let (account, _) = verified.account()?;
    let mut order = Order::find(cx, verified, &ask.order_id).await?;
    let status = order.status(cx, account).await?;
    if status != "ready" {
        return Err(Problem::new("orderNotReady", format!("the order is {status}")).into());
    }
    let payload = verified.required()?;
    let bad = |why: &str| Problem::new("badCSR", why);
    let der = payload.get("csr").and_then(Json::as_str).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let csr =
        Csr::from_der(&der.ok_or_else(|| bad("the request is missing or no base64url"))?).map_err(|why| bad(&why.to_string()))?;
    if csr.key().spki() == verified.key.spki() {
        return Err(bad("the request's key is the account's").into());
    }
    if asked(&csr).as_ref() != Some(&order.identifiers.iter().cloned().collect()) {
        return Err(bad("the request's names are not the order's").into());
    }
    let mut role = place.role.clone();
    role.no_store = false;
    role.generate_lease = false;
    role.use_csr_sans = true;
    role.use_csr_common_name = true;
    role.require_cn = false;
    if !place.config.allow_role_ext_key_usage {
        // Control of a name makes a server, and nothing else.
        role.server_flag = true;
        role.client_flag = false;
        role.code_signing_flag = false;
        role.email_protection_flag = false;
        role.ext_key_usage = Vec::new();
        role.ext_key_usage_oids = Vec::new();
    }
    role.max_ttl = if role.max_ttl.is_zero() { LONGEST } else { role.max_ttl.min(LONGEST) };
    role.ttl = role.ttl.min(role.max_ttl);
    let signer = Signer::open(cx, &place.issuer, Use::Issuing).await?;
    let made = sign_request(cx, &signer, &role, &csr, &nothing_more()).await.map_err(as_problem("badCSR"))?;
    let serial = serial::key(&made.serial);
    put_text(cx, &format!("acme/cert/{serial}"), account);
    order.certificate = Some(serial);
    cx.view.put(&key(account, &ask.order_id), &order)?;
    let shown = order.show(cx, place, account, &ask.order_id).await?;
    Ok(Outcome::json(shown).at(format!("{}/order/{}", place.base, ask.order_id)))
}

/// All names that a request asks for; nothing where it asks for some that no order can hold.
fn asked(csr: &Csr) -> Option<BTreeSet<Identifier>> {
    let names = csr.names();
    if !names.email.is_empty() || !names.uri.is_empty() || !names.other.is_empty() {
        return None;
    }
    let mut found: BTreeSet<Identifier> = names.dns.iter().map(|name| Identifier::Dns(name.to_ascii_lowercase())).collect();
    found.extend(names.ip.iter().copied().map(Identifier::Ip));
    let common = csr.name().common_name.to_ascii_lowercase();
    if !common.is_empty() {
        found.insert(common.parse().map_or(Identifier::Dns(common), Identifier::Ip));
    }
    Some(found)
}

fn nothing_more() -> leaf::Ask {
    leaf::Ask {
        common_name: String::new(),
        names: subject::AskNames {
            alt_names: String::new(),
            ip_sans: Vec::new(),
            uri_sans: Vec::new(),
            other_sans: Vec::new(),
            exclude_cn_from_sans: true,
        },
        serial_number: String::new(),
        user_ids: Vec::new(),
        validity: validity::Ask { ttl: Span::ZERO, not_after: String::new(), not_before: String::new() },
        format: String::new(),
        private_key_format: String::new(),
        remove_roots_from_chain: false,
    }
}

/// The certificate, then its chain.
pub(super) async fn certificate(cx: &Cx, ask: &Ask, verified: &Verified) -> Result<Outcome, Stop> {
    let order = Order::find(cx, verified, &ask.order_id).await?;
    let serial = order.certificate.ok_or_else(|| Problem::new("orderNotReady", "the order has no certificate yet"))?;
    let stored = Stored::find(cx, &serial).await?.ok_or_else(|| Problem::malformed("the certificate is no longer kept"))?;
    let mut text = pem("CERTIFICATE", &stored.der);
    if let Some(issuer) = issuer::by_id(cx, &stored.issuer).await? {
        text.extend(issuer.chain_pem(cx).await?);
    }
    Ok(Outcome { status: 200, body: Body::Chain(text), location: None, up: None })
}
