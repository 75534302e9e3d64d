//! Logging in, with a second factor if Okta wants one, and being asked again.

use super::api::{Api, Factor, Transaction};
use super::config::{self, Config};
use super::{Okta, people};
use crate::again;
use crate::names::{normal, set};
use coffer_engine::{Ctx, Login, Record, Reply, Request, Response};
use coffer_types::{Error, Name, Result, Secret, Timestamp, secret};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Log in.
#[derive(Request)]
pub(super) struct Ask {
    /// The person's name at Okta. Case makes no difference.
    #[field(path)]
    username: String,
    /// The password.
    password: Option<Secret<String>>,
    /// A one-time code; without one the phone is asked.
    totp: Option<Secret<String>>,
    /// Whose one-time code it is: "OKTA" or "GOOGLE".
    provider: Option<String>,
    /// A name of the client's choosing for this login, by which it asks for the number to choose on the phone.
    nonce: Option<Name>,
}

/// How often the phone is asked about, and how often at most.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSES: u32 = 60;

/// Under these Okta's id of the person stands in the login's private data.
const USER: &str = "user";

pub(super) async fn login(cx: Ctx<Okta>, q: Ask) -> Result<Reply<()>> {
    let name = normal(&q.username)?;
    let password = q.password.as_ref().filter(|password| !password.expose().is_empty());
    let password = password.ok_or_else(|| Error::bad_request("missing password"))?;
    let config = config::load(&cx).await?.ok_or_else(|| Error::bad_request("the Okta auth method is not configured"))?;
    let mut login = config.token.login_from(cx.call().and_then(|call| call.remote.ip))?;
    let attempt = cx.attempt(&name)?;
    let api = Api::new(&cx, &config);
    let Some(begun) = api.authenticate(&name, password.expose()).await? else {
        return Err(attempt.failed(failed()));
    };
    let user = begun.embedded.user.as_ref().map(|user| user.id.clone()).unwrap_or_default();
    match begun.status.as_str() {
        "SUCCESS" | "PASSWORD_WARN" => {}
        "MFA_REQUIRED" | "MFA_ENROLL" | "MFA_ENROLL_ACTIVATE" | "PASSWORD_EXPIRED" if config.bypass_mfa => {}
        "MFA_REQUIRED" => {
            let number = Number::new(&cx, q.nonce.as_ref());
            let passed = second_factor(&api, &begun, &q, &number).await;
            number.forget().await?;
            if !passed? {
                return Err(attempt.failed(failed()));
            }
        }
        "LOCKED_OUT" => return Err(attempt.failed(failed())),
        "PASSWORD_EXPIRED" => return Err(Error::bad_request("okta auth failed: the password has expired")),
        "MFA_ENROLL" | "MFA_ENROLL_ACTIVATE" => {
            return Err(Error::bad_request("okta auth failed: a second factor must be set up at Okta first"));
        }
        _ => return Err(Error::bad_request("okta auth failed: Okta wants something that is not known here")),
    }
    attempt.passed()?;
    add_groups(&cx, &config, &mut login, &name, &user).await?;
    login.internal.insert(USER.to_owned(), user);
    login.display_name.clone_from(&name);
    login.alias = name;
    Ok(Reply::login(login))
}

/// The person must still be active at Okta, with the same policies. Without a token for Okta's API there is nobody to ask, and what
/// is kept here decides.
pub(super) async fn renew(cx: Ctx<Okta>, login: Login) -> Result<Login> {
    let config = config::load(&cx).await?.ok_or_else(Error::not_found)?;
    let mut now = config.token.login_from(cx.call().and_then(|call| call.remote.ip))?;
    let user = login.internal.get(USER).cloned().unwrap_or_default();
    if !config.api_token.is_empty() && !Api::new(&cx, &config).is_active(&user).await? {
        return Err(failed());
    }
    add_groups(&cx, &config, &mut now, &login.alias, &user).await?;
    if !again::same(&now.policies, &login.policies) {
        return Err(Error::bad_request("policies have changed, not renewing"));
    }
    (now.display_name, now.alias, now.internal) = (login.display_name, login.alias, login.internal);
    Ok(now)
}

/// One text for what must not be told apart.
fn failed() -> Error {
    Error::bad_request("okta auth failed")
}

async fn add_groups(cx: &Ctx<Okta>, config: &Config, login: &mut Login, name: &str, user: &str) -> Result<()> {
    let groups = if config.api_token.is_empty() { Vec::new() } else { Api::new(cx, config).groups(user).await? };
    let (policies, groups) = people::policies(cx, name, groups).await?;
    login.policies = set(std::mem::take(&mut login.policies).into_iter().chain(policies.iter().cloned()));
    login.metadata.insert("username".to_owned(), name.to_owned());
    login.metadata.insert("policies".to_owned(), policies.join(","));
    login.group_aliases = groups;
    Ok(())
}

/// Whether the second factor is there.
async fn second_factor(api: &Api<'_>, begun: &Transaction, q: &Ask, number: &Number<'_>) -> Result<bool> {
    let code = q.totp.as_ref().map(|code| code.expose().as_str()).filter(|code| !code.is_empty());
    let factor = choose(&begun.embedded.factors, code.is_some(), q.provider.as_deref())?;
    let Some(mut stands) = api.factor(&begun.state_token, &factor.id, code).await? else { return Ok(false) };
    for _ in 0..PAUSES {
        match (stands.status.as_str(), stands.factor_result.as_str()) {
            ("SUCCESS", _) => return Ok(true),
            ("MFA_CHALLENGE", "WAITING") if code.is_none() => {}
            _ => return Ok(false),
        }
        if let Some(answer) = stands.embedded.factor.as_ref().and_then(Factor::number) {
            number.tell(answer).await?;
        }
        number.cx.host().pause(PAUSE).await;
        match api.factor(&begun.state_token, &factor.id, None).await? {
            Some(now) => stands = now,
            None => return Ok(false),
        }
    }
    Ok(false)
}

fn choose<'f>(factors: &'f [Factor], code: bool, provider: Option<&str>) -> Result<&'f Factor> {
    let provider = provider.filter(|provider| !provider.is_empty()).map(str::to_ascii_uppercase);
    if provider.as_deref().is_some_and(|provider| !matches!(provider, "OKTA" | "GOOGLE")) {
        return Err(Error::bad_request("provider must be OKTA or GOOGLE"));
    }
    let kind = if code { "token:software:totp" } else { "push" };
    let fits = |factor: &&Factor| {
        let whose = provider.as_deref().filter(|_| code);
        factor.factor_type == kind
            && whose.map_or(matches!(factor.provider.as_str(), "OKTA" | "GOOGLE"), |p| factor.provider == p)
    };
    factors.iter().find(fits).ok_or_else(|| {
        Error::bad_request(if code {
            "okta auth failed: no one-time codes of this provider are set up at Okta"
        } else {
            "okta auth failed: a second factor is needed; give totp, or set up Okta Verify's push"
        })
    })
}

/// The number to choose on the phone, told to whoever knows the login's nonce while the login waits. It is written at once, beside the
/// login's own transaction, since the login is not over.
struct Number<'c> {
    cx: &'c Ctx<Okta>,
    key: Option<String>,
    told: std::sync::atomic::AtomicBool,
}

#[derive(Serialize, Deserialize)]
struct Told {
    answer: i64,
    until: Timestamp,
}

impl Record for Told {
    const FORMAT: u8 = 1;
}

fn key(nonce: &Name) -> String {
    format!("nonce/{nonce}")
}

impl<'c> Number<'c> {
    fn new(cx: &'c Ctx<Okta>, nonce: Option<&Name>) -> Self {
        Self { cx, key: nonce.map(|nonce| cx.view.whole_key(&key(nonce))), told: false.into() }
    }

    async fn tell(&self, answer: i64) -> Result<()> {
        let Some(key) = &self.key else {
            return Err(Error::bad_request("okta auth failed: Okta shows a number to choose, so a nonce is needed"));
        };
        if self.told.swap(true, std::sync::atomic::Ordering::Relaxed) {
            return Ok(());
        }
        let told = Told { answer, until: self.cx.now().plus(PAUSE * (PAUSES + 5)) };
        let mut bytes: secret::Bytes = vec![Told::FORMAT].into();
        serde_json::to_writer(&mut *bytes, &told).map_err(|e| Error::internal("a number").with_cause(e))?;
        self.cx.host().commit_now(key.clone(), Some(bytes)).await
    }

    async fn forget(&self) -> Result<()> {
        match &self.key {
            Some(key) if self.told.load(std::sync::atomic::Ordering::Relaxed) => {
                self.cx.host().commit_now(key.clone(), None).await
            }
            _ => Ok(()),
        }
    }
}

/// Ask for the number.
#[derive(Request)]
pub(super) struct Verify {
    /// The nonce that the login gave.
    #[field(path)]
    nonce: Name,
}

/// The number to choose.
#[derive(Response)]
pub(super) struct Shown {
    /// The number that is right.
    correct_answer: i64,
}

pub(super) async fn verify(cx: Ctx<Okta>, q: Verify) -> Result<Reply<Shown>> {
    let told: Option<Told> = cx.view.get(&key(&q.nonce)).await?;
    let told = told.filter(|told| told.until > cx.now()).ok_or_else(Error::not_found)?;
    Ok(Reply::data(Shown { correct_answer: told.answer }))
}
