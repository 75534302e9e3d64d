//! Accounts: a key, and who answers for it.

use super::super::{Cx, failed, fingerprint, new_id, put_text, read_text};
use super::config::Binding;
use super::problem::{Problem, Stop};
use super::{Ask, Outcome, Place, Verified};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coffer_crypto::jws::{Flat, PublicKey};
use coffer_engine::Record;
use coffer_types::json::{Limits, parse};
use coffer_types::{Error, Json, Object, Result};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Account {
    /// `valid`, `deactivated` or `revoked`.
    pub(super) status: String,
    pub(super) contact: Vec<String>,
    /// The public key as a JSON web key.
    jwk: String,
    /// The directory that it was made in, and counts in.
    pub(super) directory: String,
    /// The id of the key that bound it to an account elsewhere.
    pub(super) binding: Option<String>,
    created: i64,
}

impl Record for Account {
    const FORMAT: u8 = 1;
}

impl Account {
    pub(super) async fn find(cx: &Cx, id: &str) -> Result<Option<Self>> {
        if id.is_empty() || id.contains('/') {
            return Ok(None);
        }
        cx.view.get(&format!("acme/account/{id}")).await
    }

    fn put(&self, cx: &Cx, id: &str) -> Result<()> {
        cx.view.put(&format!("acme/account/{id}"), self)
    }

    pub(super) fn key(&self) -> Result<PublicKey> {
        let jwk = parse(self.jwk.as_bytes(), &Limits::NONE).ok().and_then(Json::into_object);
        let key = jwk.and_then(|jwk| PublicKey::from_jwk(&jwk).ok());
        key.ok_or_else(|| Error::internal("an account's key does not read"))
    }

    fn show(&self, place: &Place) -> Object {
        let mut shown = Object::new();
        if !self.contact.is_empty() {
            shown.insert("contact", self.contact.clone());
        }
        shown.with("orders", format!("{}/orders", place.base)).with("status", self.status.as_str())
    }
}

/// Where the id of the account with this key stands.
fn index(directory: &str, key: &PublicKey) -> String {
    format!("acme/key/{}/{}", fingerprint(directory.as_bytes()), key.thumbprint())
}

fn show_jwk(key: &PublicKey) -> String {
    String::from_utf8_lossy(&Json::Object(key.to_jwk()).to_bytes()).into_owned()
}

fn contacts(payload: &Object) -> Result<Option<Vec<String>>, Stop> {
    let Some(list) = payload.get("contact") else { return Ok(None) };
    let list = list.as_array().ok_or_else(|| Problem::malformed("'contact' is no list"))?;
    let mut found = Vec::new();
    for one in list {
        let text = one.as_str().ok_or_else(|| Problem::malformed("'contact' holds what is no text"))?;
        let Some(mail) = text.strip_prefix("mailto:") else {
            return Err(Problem::new("unsupportedContact", "contacts are mailto: addresses").into());
        };
        let good = mail.split_once('@').is_some_and(|(local, host)| !local.is_empty() && !host.is_empty());
        if !good
            || !mail.bytes().all(|b| b.is_ascii_graphic())
            || mail.contains([',', '?'])
            || mail.len() > 320
            || found.len() >= 16
        {
            return Err(Problem::new("invalidContact", "a contact is no plain mailto: address, or there are too many").into());
        }
        found.push(text.to_owned());
    }
    Ok(Some(found))
}

pub(super) async fn create(cx: &Cx, place: &Place, verified: &Verified) -> Result<Outcome, Stop> {
    if verified.account.is_some() {
        return Err(Problem::malformed("a new account is asked for with its 'jwk', not with a 'kid'").into());
    }
    let payload = verified.required()?;
    let index = index(&place.directory, &verified.key);
    if let Some(id) = read_text(cx, &index).await? {
        let known = Account::find(cx, &id).await?.ok_or_else(|| Error::internal("an account is not there"))?;
        return Ok(Outcome::json(known.show(place)).at(format!("{}/account/{id}", place.base)));
    }
    if payload.get("onlyReturnExisting") == Some(&Json::from(true)) {
        return Err(Problem::new("accountDoesNotExist", "an account with this key does not exist").into());
    }
    let contact = contacts(&payload)?.unwrap_or_default();
    let binding = match payload.get("externalAccountBinding") {
        Some(given) => Some(bind(cx, place, verified, given).await?),
        None if place.binding_required() => {
            return Err(Problem::new("externalAccountRequired", "an account needs an external account binding").into());
        }
        None => None,
    };
    let id = new_id(cx);
    let account = Account {
        status: "valid".to_owned(),
        contact,
        jwk: show_jwk(&verified.key),
        directory: place.directory.clone(),
        binding,
        created: cx.now().secs(),
    };
    account.put(cx, &id)?;
    put_text(cx, &index, &id);
    let mut outcome = Outcome::json(account.show(place)).at(format!("{}/account/{id}", place.base));
    outcome.status = 201;
    Ok(outcome)
}

/// An inner message (RFC 8555 sections 7.3.4 and 7.3.5): three texts.
fn inner(given: &Json) -> Result<Flat, Stop> {
    let text = |name: &str| given.get(name).and_then(Json::as_str).unwrap_or_default();
    let flat = Flat::read(text("protected"), text("payload"), text("signature"));
    Ok(flat.map_err(|why| Problem::malformed(format!("the inner message: {why}")))?)
}

fn header<'f>(flat: &'f Flat, name: &str) -> Option<&'f str> {
    flat.header().get(name).and_then(Json::as_str)
}

/// The id of the key that signed this account's key for this address. A key binds one account.
async fn bind(cx: &Cx, place: &Place, verified: &Verified, given: &Json) -> Result<String, Stop> {
    let flat = inner(given)?;
    let refused = || Problem::unauthorized("the external account binding does not hold");
    if header(&flat, "url") != Some(&format!("{}/new-account", place.base)) || flat.header().contains("nonce") {
        return Err(Problem::malformed("the external account binding is for another address, or has a nonce").into());
    }
    let id = header(&flat, "kid").filter(|id| !id.is_empty() && !id.contains('/')).ok_or_else(refused)?.to_owned();
    let at = format!("acme/eab/{id}");
    let binding: Binding = cx.view.get(&at).await?.ok_or_else(refused)?;
    if binding.directory != place.directory {
        return Err(refused().into());
    }
    let key = URL_SAFE_NO_PAD.decode(&binding.key).map_err(Error::internal)?;
    let payload = flat.verify_mac(&key).map_err(|_| refused())?;
    let bound = parse(payload, &Limits::NONE).ok().and_then(Json::into_object).and_then(|jwk| PublicKey::from_jwk(&jwk).ok());
    if bound.as_ref() != Some(&verified.key) {
        return Err(refused().into());
    }
    cx.view.delete(&at);
    Ok(id)
}

pub(super) async fn change(cx: &Cx, place: &Place, ask: &Ask, verified: Verified) -> Result<Outcome, Stop> {
    let (id, account) = verified.account()?;
    if ask.kid != id {
        return Err(Problem::unauthorized("the account is another one").into());
    }
    let mut account = account.clone();
    if let Some(payload) = verified.object()? {
        if let Some(contact) = contacts(&payload)? {
            account.contact = contact;
        }
        match payload.get("status").map(Json::as_str) {
            None | Some(Some("valid")) => {}
            Some(Some("deactivated")) => "deactivated".clone_into(&mut account.status),
            Some(_) => return Err(Problem::malformed("an account's status can become 'deactivated' alone").into()),
        }
        account.put(cx, id)?;
    }
    Ok(Outcome::json(account.show(place)).at(format!("{}/account/{id}", place.base)))
}

pub(super) async fn change_key(cx: &Cx, place: &Place, verified: Verified) -> Result<Outcome, Stop> {
    let (id, account) = verified.account()?;
    let flat = inner(&Json::Object(verified.required()?))?;
    let jwk = flat.header().get("jwk").and_then(Json::as_object).ok_or_else(|| Problem::malformed("the new key is missing"))?;
    let new = PublicKey::from_jwk(jwk).map_err(|why| Problem::new("badPublicKey", why.to_string()))?;
    let payload = flat.verify(&new).map_err(super::refused)?;
    if header(&flat, "url") != Some(&format!("{}/key-change", place.base)) || flat.header().contains("nonce") {
        return Err(Problem::malformed("the inner message is for another address, or has a nonce").into());
    }
    let said = parse(payload, &Limits::NONE).ok().and_then(Json::into_object);
    let said = said.ok_or_else(|| Problem::malformed("the inner payload is no JSON object"))?;
    let old = said.get("oldKey").and_then(Json::as_object).and_then(|jwk| PublicKey::from_jwk(jwk).ok());
    let url = format!("{}/account/{id}", place.base);
    if said.get("account").and_then(Json::as_str) != Some(&url) || old.as_ref() != Some(&verified.key) {
        return Err(Problem::malformed("the inner payload names another account or another old key").into());
    }
    let index_of_new = index(&place.directory, &new);
    if read_text(cx, &index_of_new).await?.is_some() {
        return Err(Problem::new("conflict", "an account has this key already").into());
    }
    let mut account = account.clone();
    account.jwk = show_jwk(&new);
    account.put(cx, id)?;
    cx.view.delete(&index(&place.directory, &verified.key));
    put_text(cx, &index_of_new, id);
    Ok(Outcome::json(account.show(place)).at(url))
}

/// The account's key authorization of a token (RFC 8555 section 8.1).
pub(super) fn authorise(account: &Account, token: &str) -> Result<String> {
    let key = account.key().map_err(|_| failed("an account's key does not read"))?;
    Ok(format!("{token}.{}", key.thumbprint()))
}
