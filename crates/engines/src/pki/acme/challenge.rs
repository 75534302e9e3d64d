//! Authorizations and their challenges. Validation is work of the mount's beat: what is to come stands in the store, so a restart goes on.

use super::super::{Cx, put_text};
use super::account::{Account, authorise};
use super::order::Identifier;
use super::problem::{Problem, Stop};
use super::{Ask, Outcome, Place, Verified};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coffer_engine::outside::{HttpRequest, Method, TlsClient};
use coffer_engine::{BoxFuture, Record};
use coffer_types::{Json, Object, Result, Timestamp};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::task::Poll;
use std::time::Duration;

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Authorization {
    identifier: Identifier,
    /// `pending`, `valid`, `invalid` or `deactivated`.
    status: String,
    expires: Timestamp,
    /// Of the one challenge, http-01.
    token: String,
    /// `pending`, `processing`, `valid` or `invalid`.
    challenge: String,
    validated: Option<Timestamp>,
    /// Why the last try failed.
    error: Option<String>,
    tries: u32,
}

impl Record for Authorization {
    const FORMAT: u8 = 1;
}

const KIND: &str = "http-01";
/// Seconds before each try after the first; then it is over.
const PAUSES: [u64; 4] = [3, 5, 10, 20];
/// Validations at once in one beat.
const AT_ONCE: usize = 16;
const TIMEOUT: Duration = Duration::from_secs(10);
const REDIRECTS: usize = 5;

fn key(account: &str, id: &str) -> String {
    format!("acme/authz/{account}/{id}")
}

impl Authorization {
    pub(super) fn create(cx: &Cx, account: &str, identifier: Identifier, expires: Timestamp) -> Result<String> {
        let mut token = [0u8; 32];
        cx.fill_random(&mut token);
        let id = super::super::new_id(cx);
        let made = Self {
            identifier,
            status: "pending".to_owned(),
            expires,
            token: URL_SAFE_NO_PAD.encode(token),
            challenge: "pending".to_owned(),
            validated: None,
            error: None,
            tries: 0,
        };
        cx.view.put(&key(account, &id), &made)?;
        Ok(id)
    }

    pub(super) async fn find(cx: &Cx, account: &str, id: &str) -> Result<Option<Self>> {
        if id.is_empty() || id.contains('/') { Ok(None) } else { cx.view.get(&key(account, id)).await }
    }

    pub(super) fn status_at(&self, now: Timestamp) -> &'static str {
        match &*self.status {
            "pending" | "valid" if self.expires <= now => "expired",
            "pending" => "pending",
            "valid" => "valid",
            "deactivated" => "deactivated",
            _ => "invalid",
        }
    }

    fn show_challenge(&self, place: &Place, id: &str) -> Object {
        let mut shown = Object::new()
            .with("status", self.challenge.as_str())
            .with("token", self.token.as_str())
            .with("type", KIND)
            .with("url", format!("{}/challenge/{id}/{KIND}", place.base));
        if let Some(at) = self.validated {
            shown.insert("validated", at.rfc3339_secs());
        }
        if let Some(why) = &self.error {
            shown.insert("error", Problem::new("incorrectResponse", why.as_str()).show());
        }
        shown
    }

    fn show(&self, place: &Place, id: &str, now: Timestamp) -> Object {
        Object::new()
            .with("challenges", vec![Json::Object(self.show_challenge(place, id))])
            .with("expires", self.expires.rfc3339_secs())
            .with("identifier", self.identifier.show())
            .with("status", self.status_at(now))
            .with("wildcard", false)
    }
}

async fn own(cx: &Cx, verified: &Verified, id: &str) -> Result<(String, Authorization), Stop> {
    let (account, _) = verified.account()?;
    let found = Authorization::find(cx, account, id).await?;
    let found = found.ok_or_else(|| Problem::malformed("the authorization does not exist"))?;
    Ok((account.to_owned(), found))
}

pub(super) async fn authorization(cx: &Cx, place: &Place, ask: &Ask, verified: &Verified) -> Result<Outcome, Stop> {
    let (account, mut found) = own(cx, verified, &ask.auth_id).await?;
    if let Some(payload) = verified.object()? {
        if payload.get("status").and_then(Json::as_str) != Some("deactivated") {
            return Err(Problem::malformed("an authorization's status can become 'deactivated' alone").into());
        }
        "deactivated".clone_into(&mut found.status);
        cx.view.put(&key(&account, &ask.auth_id), &found)?;
    }
    Ok(Outcome::json(found.show(place, &ask.auth_id, cx.now())))
}

pub(super) async fn respond(cx: &Cx, place: &Place, ask: &Ask, verified: &Verified) -> Result<Outcome, Stop> {
    let (account, mut found) = own(cx, verified, &ask.auth_id).await?;
    if ask.challenge_type != KIND {
        return Err(Problem::malformed("the authorization has no challenge of this type").into());
    }
    let starts = verified.object()?.is_some();
    if starts && found.challenge == "pending" && found.status_at(cx.now()) == "pending" {
        "processing".clone_into(&mut found.challenge);
        cx.view.put(&key(&account, &ask.auth_id), &found)?;
        due(cx, &account, &ask.auth_id, cx.now());
    }
    let mut outcome = Outcome::json(found.show_challenge(place, &ask.auth_id));
    outcome.up = Some(format!("{}/authorization/{}", place.base, ask.auth_id));
    Ok(outcome)
}

fn due(cx: &Cx, account: &str, id: &str, at: Timestamp) {
    put_text(cx, &format!("acme/due/{:020}/{account}.{id}", at.secs()), "1");
}

/// Validates what is due, some at once. Says whether there may be more.
pub(super) async fn beat(cx: &Cx) -> Result<bool> {
    let now = format!("{:020}", cx.now().secs());
    let mut work: Vec<BoxFuture<'_, Result<()>>> = Vec::new();
    for entry in cx.view.keys("acme/due/", None, AT_ONCE).await? {
        let mut parts = entry.trim_start_matches("acme/due/").split('/');
        let (Some(at), Some(names)) = (parts.next(), parts.next()) else { continue };
        if *at > *now {
            break;
        }
        cx.view.delete(&entry);
        if let Some((account, id)) = names.split_once('.') {
            let (account, id) = (account.to_owned(), id.to_owned());
            work.push(Box::pin(async move { validate(cx, &account, &id).await }));
        }
    }
    let some = !work.is_empty();
    for done in all(work).await {
        done?;
    }
    Ok(some)
}

/// The results of all, each as soon as it may be.
async fn all<T>(mut work: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    let mut done: Vec<Option<T>> = work.iter().map(|_| None).collect();
    std::future::poll_fn(move |context| {
        for (future, place) in work.iter_mut().zip(&mut done) {
            if place.is_none()
                && let Poll::Ready(value) = future.as_mut().poll(context)
            {
                *place = Some(value);
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(done.drain(..).flatten().collect()) } else { Poll::Pending }
    })
    .await
}

async fn validate(cx: &Cx, account: &str, id: &str) -> Result<()> {
    let Some(mut found) = Authorization::find(cx, account, id).await? else { return Ok(()) };
    let Some(about) = Account::find(cx, account).await? else { return Ok(()) };
    if found.challenge != "processing" || found.status_at(cx.now()) != "pending" || about.status != "valid" {
        return Ok(());
    }
    match fetch(cx, &found, &authorise(&about, &found.token)?).await {
        Ok(()) => {
            "valid".clone_into(&mut found.challenge);
            "valid".clone_into(&mut found.status);
            found.validated = Some(cx.now());
            found.error = None;
        }
        Err(why) => {
            found.error = Some(why);
            let pause = usize::try_from(found.tries).ok().and_then(|n| PAUSES.get(n));
            found.tries += 1;
            match pause {
                Some(seconds) => due(cx, account, id, cx.now().plus(Duration::from_secs(*seconds))),
                None => {
                    "invalid".clone_into(&mut found.challenge);
                    "invalid".clone_into(&mut found.status);
                }
            }
        }
    }
    cx.view.put(&key(account, id), &found)
}

/// http-01 (RFC 8555 section 8.3): port 80 of the name, and where that redirects to, port 443 too. What comes back is compared and never
/// shown.
async fn fetch(cx: &Cx, found: &Authorization, expected: &str) -> std::result::Result<(), String> {
    let host = match &found.identifier {
        Identifier::Dns(name) => name.clone(),
        Identifier::Ip(IpAddr::V6(address)) => format!("[{address}]"),
        Identifier::Ip(address) => address.to_string(),
    };
    let mut url = format!("http://{host}/.well-known/acme-challenge/{}", found.token);
    for _ in 0..=REDIRECTS {
        check_target(&url)?;
        // The certificate is not looked at: whoever asks has none yet.
        let mut request =
            HttpRequest::new(Method::Get, url.as_str()).tls(TlsClient { skip_verify: true, ..TlsClient::default() });
        request.timeout = TIMEOUT;
        request.limit = 4096;
        let reply = cx.outside().http().send(request).await.map_err(|fault| fault.text.into_owned())?;
        match reply.status {
            200 => {
                let right = std::str::from_utf8(&reply.body).is_ok_and(|body| body.trim_end() == expected);
                return if right { Ok(()) } else { Err("the answer is not the key authorization".to_owned()) };
            }
            301 | 302 | 303 | 307 | 308 => {
                let location = reply.header("location").ok_or("a redirect leads nowhere")?;
                url = if location.starts_with('/') && !location.starts_with("//") {
                    let root = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
                    format!("{root}{location}")
                } else {
                    location.to_owned()
                };
            }
            status => return Err(format!("the answer has status {status}")),
        }
    }
    Err("too many redirects".to_owned())
}

/// Where validation may go: the ports of the two schemes, and no address of the link alone, where machines keep what is only for themselves.
fn check_target(url: &str) -> std::result::Result<(), String> {
    let (scheme, rest) = url.split_once("://").ok_or("a redirect leads to what is no address")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let usual = match scheme {
        "http" => "80",
        "https" => "443",
        _ => return Err("a redirect leads to neither http nor https".to_owned()),
    };
    if authority.contains('@') || host.is_empty() || port.is_some_and(|port| port != usual) {
        return Err("validation asks port 80, or 443 over TLS, alone".to_owned());
    }
    let bad = match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => {
            address.is_link_local() || address.is_unspecified() || address.is_multicast() || address.is_broadcast()
        }
        Ok(IpAddr::V6(address)) => {
            let mapped = address.to_ipv4_mapped().is_some_and(|a| a.is_link_local() || a.is_unspecified());
            mapped || address.is_unicast_link_local() || address.is_unspecified() || address.is_multicast()
        }
        Err(_) => false,
    };
    if bad { Err("validation asks no address of this kind".to_owned()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::check_target;

    #[test]
    fn validation_keeps_to_its_ports_and_away_from_the_link() {
        for good in
            ["http://a.example/x", "http://a.example:80/x", "https://a.example/", "http://10.0.0.1/x", "http://[2001:db8::1]/x"]
        {
            assert_eq!(check_target(good), Ok(()), "{good}");
        }
        for bad in [
            "ftp://a/",
            "http:///x",
            "//a/x",
            "http://a:8080/x",
            "http://a:443/x",
            "https://a:80/",
            "http://u@a/",
            "http://169.254.169.254/latest",
            "http://[fe80::1]/x",
            "http://[::ffff:169.254.169.254]/",
            "http://0.0.0.0/",
            "http://[::]/",
            "gopher://a:80/",
        ] {
            assert!(check_target(bad).is_err(), "{bad}");
        }
    }
}
