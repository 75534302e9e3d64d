//! A second factor at login: who must give one, and whether what was given is right.
//!
//! Enforcements say whose logins need which methods. A login that needs one either brings its codes along, or is kept as a
//! [`PendingLogin`] until they come: then it is the login that it was, with nothing decided again but this.
//!
//! A code is good once. Its step is remembered in the same commit that hands the token out, so two calls with one code
//! conflict, and the second finds it used.

pub mod attempts;
pub mod pending;
pub mod record;

pub use pending::PendingLogin;
pub use record::{Enforcement, Method, TotpSecret};

use super::cache::Identity;
use crate::live::Live;
use coffer_crypto::totp::Totp;
use coffer_engine::{Call, View};
use coffer_types::{Error, Kind, Object, Result, Timestamp};
use record::{Enforcements, Methods, secret_key};
use std::collections::BTreeMap;

/// What a login must give: the enforcements that concern it, each with its methods.
pub struct Required {
    of: Vec<(Enforcement, Vec<Method>)>,
}

/// Codes by the id or the name of a method.
pub type Codes = BTreeMap<String, Vec<String>>;

/// The enforcements that concern a login, read in its transaction. `None` where nothing does.
pub async fn required(view: &View, accessor: &str, kind: &str, identity: Option<&Identity>) -> Result<Option<Required>> {
    let enforcements = Enforcements::read(view).await?;
    let mut of = Vec::new();
    for enforcement in enforcements.0.into_iter().filter(|e| e.concerns(accessor, kind, identity)) {
        let methods = Methods::read(view).await?.0;
        let methods = methods.into_iter().filter(|m| enforcement.methods.contains(&m.id)).collect();
        of.push((enforcement, methods));
    }
    Ok((!of.is_empty()).then_some(Required { of }))
}

impl Required {
    /// The `mfa_requirement` of a reply.
    pub fn show(&self, request: &str) -> Object {
        let mut constraints = Object::new();
        for (enforcement, methods) in &self.of {
            let any: Vec<coffer_types::Json> = methods.iter().map(|m| m.show_choice().into()).collect();
            constraints.insert(enforcement.name.as_str(), Object::new().with("any", any));
        }
        Object::new().with("mfa_request_id", request).with("mfa_constraints", constraints)
    }

    /// Checks the codes: each enforcement wants one right code of any of its methods. Marks them used in this transaction.
    ///
    /// # Errors
    /// Denied, in the words that a validation is refused with.
    pub async fn check(
        &self,
        live: &Live,
        view: &View,
        call: &Call,
        identity: &Identity,
        codes: &Codes,
        now: Timestamp,
    ) -> Result<()> {
        // One code may stand for several enforcements, and is checked once.
        let mut checked: BTreeMap<&str, Result<(), String>> = BTreeMap::new();
        for (enforcement, methods) in &self.of {
            let mut faults = Vec::new();
            let mut satisfied = false;
            for method in methods {
                let Some(given) = codes.get(&method.id).or_else(|| codes.get(&method.name).filter(|_| !method.name.is_empty()))
                else {
                    continue;
                };
                if !checked.contains_key(&*method.id) {
                    let outcome = check_totp(live, view, call, method, identity, given, now).await?;
                    checked.insert(&method.id, outcome);
                }
                match &checked[&*method.id] {
                    Ok(()) => satisfied = true,
                    Err(why) => faults.push(why.clone()),
                }
                if satisfied {
                    break;
                }
            }
            if !satisfied {
                return Err(refused(enforcement, methods, faults));
            }
        }
        Ok(())
    }
}

fn refused(enforcement: &Enforcement, methods: &[Method], mut faults: Vec<String>) -> Error {
    let ids: Vec<&str> = methods.iter().map(|m| &*m.id).collect();
    if faults.is_empty() {
        faults.push("MFA credentials not supplied or incorrect".to_owned());
    }
    faults.push(format!("login MFA validation failed for methodID: [{}]", ids.join(" ")));
    let list: String = faults.iter().map(|fault| format!("\t* {fault}\n")).collect();
    let text = format!("failed to satisfy enforcement {}. error: {} errors occurred:\n{list}\n", enforcement.name, faults.len());
    Error::new(Kind::Denied, text)
}

/// One method's codes; the inner error says what a client may know.
async fn check_totp(
    live: &Live,
    view: &View,
    call: &Call,
    method: &Method,
    identity: &Identity,
    given: &[String],
    now: Timestamp,
) -> Result<Result<(), String>> {
    let entity = &identity.entity.id;
    let key = secret_key(&method.id, entity);
    let Some(mut secret) = view.get::<TotpSecret>(&key).await? else {
        return Ok(Err(format!("MFA secret for method name {:?} not present in entity {entity:?}", method.name)));
    };
    // The attempt counts before it is looked at, so that many at once are no more than they may be.
    let limit = attempts::Limit { attempts: method.max_attempts, wait: secret.period };
    if let Err(wait) = live.identities.attempts.take(&key, &call.id, limit, now) {
        return Ok(Err(format!(
            "maximum TOTP validation attempts exceeded the allowed attempts {}. Please try again in {wait} seconds",
            method.max_attempts
        )));
    }
    let incorrect = || Ok(Err("MFA credentials not supplied or incorrect".to_owned()));
    let [text] = given else { return incorrect() };
    let text = text.strip_prefix("passcode=").unwrap_or(text);
    let (Some(entered), Some(shared)) = (secret.digits().parse(text), secret.shared()) else { return incorrect() };
    let totp = Totp { key: &shared, algorithm: secret.algorithm(), digits: secret.digits(), period: secret.period };
    let Some(step) = totp.find(entered, now.secs(), method.skew).filter(|step| !secret.used.contains(step)) else {
        return incorrect();
    };
    let oldest = totp.step(now.secs()).saturating_sub(2);
    secret.used.retain(|used| *used >= oldest);
    secret.used.push(step);
    view.put(&key, &secret)?;
    live.identities.attempts.forget(&key);
    Ok(Ok(()))
}

/// The codes that came along with a login, in headers `X-Vault-MFA: <id or name>[:<code>]`.
pub fn codes_of(call: &Call) -> Codes {
    let mut codes = Codes::new();
    for (_, value) in call.headers.iter().filter(|(name, _)| &**name == "x-vault-mfa") {
        let (method, code) = value.split_once(':').unwrap_or((value, ""));
        codes.entry(method.trim().to_owned()).or_default().extend((!code.is_empty()).then(|| code.trim().to_owned()));
    }
    codes
}
