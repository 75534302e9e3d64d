//! The ways through the browser (OpenID Connect Core 1.0, authorization code flow with PKCE; RFC 8628 for devices).
//!
//! A login begins at `auth_url`, which notes it ([`pending`]) and names it by a state that nobody can guess. What comes back with that
//! state uses the note up, whatever becomes of it: a failure is an answer that commits, not an error that would leave the
//! note as it was. In direct mode, where the token goes to whoever began and not to whose browser it is, the person is asked
//! first whether they began it.

mod exchange;
mod page;
mod pending;
mod url;

use super::Method;
use super::config::Config;
use super::login::{finish, role_of};
use super::role::{CallbackMode, Role, RoleKind};
use coffer_crypto::mac::{ct_eq, sha256};
use coffer_engine::{Ctx, Reply, Request};
use coffer_types::{Error, Object, Result, Secret};
use exchange::{Answered, Exchange};
use pending::{Pending, Stage};

/// Begin a login through the browser.
#[derive(Request)]
pub(crate) struct Begin {
    /// The role to log in to; the configured one if empty.
    #[field(default)]
    role: String,
    /// Where the provider sends the browser back to; one of the role's.
    #[field(default)]
    redirect_uri: String,
    /// A word of the client's own, to be shown again at the end; needed in direct and device mode.
    #[field(default = Secret::from(""))]
    client_nonce: Secret<String>,
}

/// What the browser or the client brings back.
#[derive(Request)]
pub(crate) struct Back {
    /// Names the login.
    #[field(default)]
    state: String,
    /// The provider's code.
    #[field(default = Secret::from(""))]
    code: Secret<String>,
    /// The provider's token, where it was asked for one.
    #[field(default = Secret::from(""))]
    id_token: Secret<String>,
    /// The client's own word.
    #[field(default = Secret::from(""))]
    client_nonce: Secret<String>,
    /// The person's yes, in direct mode.
    #[field(default = Secret::from(""))]
    confirmation: Secret<String>,
    /// What the provider says went wrong.
    #[field(default)]
    error: String,
    /// The same in words.
    #[field(default)]
    error_description: String,
    /// A page about it; not shown.
    #[field(default)]
    #[allow(
        dead_code,
        reason = "known, so that no client is warned of it, and never shown: it is an address that anyone can write"
    )]
    error_uri: String,
}

/// Ask whether a login is done.
#[derive(Request)]
pub(crate) struct Poll {
    /// Names the login.
    #[field(default)]
    state: String,
    /// The client's own word.
    #[field(default = Secret::from(""))]
    client_nonce: Secret<String>,
}

pub(crate) async fn auth_url<const O: bool>(cx: Ctx<Method<O>>, q: Begin) -> Result<Reply> {
    let config = Config::load(&cx).await?;
    if !config.has_browser() {
        return Err(Error::bad_request("OIDC login is not configured for this mount"));
    }
    let (name, role) = role_of(&cx, &config, &q.role).await?;
    let device = role.callback_mode == CallbackMode::Device;
    if q.redirect_uri.is_empty() && !device {
        return Err(Error::bad_request("missing redirect_uri"));
    }
    if q.client_nonce.expose().is_empty() && role.callback_mode != CallbackMode::Client {
        return Err(Error::bad_request("missing client_nonce"));
    }
    // The reference tells those without a token nothing but that there is no address for them.
    let nowhere = || Reply::data(Object::new().with("auth_url", ""));
    if role.kind != RoleKind::Oidc || !(device || url::allowed(&role.allowed_redirect_uris, &q.redirect_uri)) {
        return Ok(nowhere());
    }
    let Some(remote) = config.remote() else { return Ok(nowhere()) };
    // Before anything is asked of the provider.
    Pending::room(&cx).await?;
    let http = cx.outside().http();
    let Ok(provider) = cx.engine.keys.provider(http, &remote, cx.now()).await else { return Ok(nowhere()) };
    let mut pending = Pending::new(&cx, name, q.redirect_uri, digest(&q.client_nonce));
    let exchange = Exchange { http, remote: &remote, provider: &provider, config: &config };
    let (address, interval) = if device {
        let Ok(device) = exchange.begin_device(&role.scopes).await else { return Ok(nowhere()) };
        pending.lasts(device.expires_in);
        pending.stage = Stage::Device { code: device.code };
        (device.address, device.interval)
    } else {
        let Some(address) = exchange.address(&role, &pending) else { return Ok(nowhere()) };
        (address, 5)
    };
    let state = pending.keep(&cx)?;
    let mut data = Object::new().with("auth_url", address.replace(pending::STATE_HERE, &state));
    if role.callback_mode != CallbackMode::Client {
        let interval = if role.poll_interval == 0 { interval } else { role.poll_interval };
        data.insert("poll_interval", interval.to_string());
        data.insert("state", state);
    }
    Ok(Reply::data(data))
}

pub(crate) async fn callback<const O: bool>(cx: Ctx<Method<O>>, q: Back) -> Result<Reply> {
    let (state, mut pending) = Pending::find(&cx, &q.state).await?;
    let config = Config::load(&cx).await?;
    let (name, role) = role_of(&cx, &config, &pending.role).await?;
    if role.callback_mode == CallbackMode::Device {
        return Err(pending::lost());
    }
    let direct = role.callback_mode == CallbackMode::Direct;
    // From here on the note is used, unless it is put back.
    pending::forget(&cx, &state);
    let failed = |why: String| if direct { page::failed(&why, "") } else { failed(&why) };
    if !q.error.is_empty() {
        let code = url::word(&q.error);
        return Ok(if direct { page::failed(&code, &q.error_description) } else { failed(code) });
    }
    let mut confirmed = false;
    let brought = match (&mut pending.stage, q.confirmation.expose().as_str()) {
        (Stage::Begun, "") => Answered { code: q.code.expose().clone().into(), id_token: q.id_token.expose().clone().into() },
        (Stage::Confirming { answered, word }, said) if direct && !said.is_empty() => {
            if !ct_eq(&sha256(&[word.as_bytes()]), &sha256(&[said.as_bytes()])) {
                return Ok(failed("the confirmation does not fit".to_owned()));
            }
            confirmed = true;
            std::mem::take(answered)
        }
        // What a form brought before the client came for it.
        (Stage::Posted { answered }, "") if !direct => std::mem::take(answered),
        _ => return Ok(failed("unexpected answer".to_owned())),
    };
    if brought.is_empty() {
        return Ok(failed("No code or id_token received.".to_owned()));
    }
    if direct && !confirmed && !role.no_confirmation {
        let word = pending::random(&cx);
        let shown = page::confirm(&cx.mount().path, &name, &pending.from, &q.state, &word);
        pending.stage = Stage::Confirming { answered: brought, word: word.into() };
        pending.put_back(&cx, &state)?;
        return Ok(shown);
    }
    let posted = cx.operation() != coffer_types::Operation::Read;
    if !direct && posted && matches!(pending.stage, Stage::Begun) && q.client_nonce.expose().is_empty() {
        // The browser came with a form: the client that began the login comes for it.
        pending.stage = Stage::Posted { answered: brought };
        pending.put_back(&cx, &state)?;
        return Ok(page::received());
    }
    if !direct && !ct_eq(&pending.client_nonce, &digest(&q.client_nonce)) {
        return Ok(self::failed("invalid client_nonce"));
    }
    let Some(remote) = config.remote() else { return Ok(failed("not configured".to_owned())) };
    let claims = match claims_of(&cx, &config, &remote, &role, &pending, brought).await {
        Ok(claims) => claims,
        Err(error) => return Ok(failed(error.public().to_owned())),
    };
    if direct {
        // Whoever polls gets the token; where they may do so from is judged then.
        match finish(role.token.login(), &name, &role, &claims) {
            Ok(login) => pending.stage = Stage::Done { login: Box::new(login) },
            Err(error) => return Ok(failed(error.public().to_owned())),
        }
        pending.put_back(&cx, &state)?;
        return Ok(page::done());
    }
    Ok(end(&cx, &name, &role, &claims))
}

pub(crate) async fn poll<const O: bool>(cx: Ctx<Method<O>>, q: Poll) -> Result<Reply> {
    let (state, pending) = Pending::find(&cx, &q.state).await?;
    let config = Config::load(&cx).await?;
    let (name, role) = role_of(&cx, &config, &pending.role).await?;
    if role.callback_mode == CallbackMode::Client {
        return Err(pending::lost());
    }
    pending::forget(&cx, &state);
    if !ct_eq(&pending.client_nonce, &digest(&q.client_nonce)) {
        return Ok(failed("invalid client_nonce"));
    }
    match &pending.stage {
        Stage::Done { login } => {
            let Ok(begun) = role.token.login_from(address(&cx)) else { return Ok(failed("permission denied")) };
            let mut login = (**login).clone();
            login.bound_cidrs = begun.bound_cidrs;
            Ok(Reply::login(login))
        }
        Stage::Device { code } => {
            let Some(remote) = config.remote() else { return Ok(failed("not configured")) };
            let http = cx.outside().http();
            let provider = cx.engine.keys.provider(http, &remote, cx.now()).await?;
            let exchange = Exchange { http, remote: &remote, provider: &provider, config: &config };
            match exchange.device(code).await {
                Ok(tokens) => match exchange.claims(&cx, &role, &tokens, None).await {
                    Ok(claims) => Ok(end(&cx, &name, &role, &claims)),
                    Err(error) => Ok(failed(error.public())),
                },
                // Not yet: an error leaves the note as it was.
                Err(exchange::Failed::Wait(word)) => Err(Error::bad_request(word)),
                Err(exchange::Failed::Over(why)) => Ok(failed(why)),
            }
        }
        _ => Err(Error::bad_request("authorization_pending")),
    }
}

/// The claims of who answered, checked as the role says.
async fn claims_of<const O: bool>(
    cx: &Ctx<Method<O>>,
    config: &Config,
    remote: &super::keys::Remote,
    role: &Role,
    pending: &Pending,
    answered: Answered,
) -> Result<Object> {
    let http = cx.outside().http();
    let provider = cx.engine.keys.provider(http, remote, cx.now()).await?;
    let exchange = Exchange { http, remote, provider: &provider, config };
    let tokens = if answered.id_token.is_empty() {
        exchange.code(&answered.code, pending).await.map_err(|failed| Error::bad_request(failed.into_text()))?
    } else if config.responds_with_id_token() {
        exchange::Tokens { id: Secret::new(answered.id_token.to_string()), access: Secret::from("") }
    } else {
        return Err(Error::bad_request("an id_token was not asked for"));
    };
    exchange.claims(cx, role, &tokens, Some(&pending.nonce)).await
}

fn end<const O: bool>(cx: &Ctx<Method<O>>, name: &str, role: &Role, claims: &Object) -> Reply {
    let login = role.token.login_from(address(cx)).and_then(|begun| finish(begun, name, role, claims));
    match login {
        Ok(login) => Reply::login(login),
        Err(error) => failed(error.public()),
    }
}

fn address<const O: bool>(cx: &Ctx<Method<O>>) -> Option<std::net::IpAddr> {
    cx.call().and_then(|call| call.remote.ip)
}

/// A failure that stands: the login is over, and its note stays used.
fn failed(why: impl AsRef<str>) -> Reply {
    let text = match why.as_ref() {
        text @ "invalid client_nonce" => text.to_owned(),
        text => format!("login failed. {text}"),
    };
    Reply::data(Object::new().with("errors", vec![text])).bare().status(400)
}

/// What is kept of the client's word.
fn digest(word: &Secret<String>) -> [u8; 32] {
    sha256(&[b"client nonce:", word.expose().as_bytes()])
}

#[cfg(test)]
mod tests;
