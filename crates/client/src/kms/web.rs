//! One request to one URL, with what key services need of HTTP/1.1: a bound on time and size, no redirects, a second try where the
//! service is busy, and no secret in what is said about it.

use super::fault::{Fault, Result};
use crate::connect::{Refused, connect};
use crate::{Address, Environment, Proxy, Tls};
use bytes::Bytes;
use coffer_types::json::{Json, Limits, parse};
use http_body_util::{BodyExt, Full, Limited};
use std::time::Duration;
use zeroize::Zeroizing;

/// What an answer may hold. They are some hundred bytes.
const MOST: usize = 1 << 20;

/// How often one request is sent at most.
const TRIES: u32 = 3;

/// How much of a service's own words is shown.
const WORDS: usize = 400;

pub(super) struct Web<'a> {
    pub(super) env: &'a Environment,
    pub(super) timeout: Duration,
    pub(super) pause: Duration,
}

/// A request. Header values count as secrets.
pub(super) struct Ask {
    pub(super) method: &'static str,
    pub(super) url: String,
    headers: Vec<(&'static str, Zeroizing<String>)>,
    body: Zeroizing<Vec<u8>>,
    tls: Tls,
    /// What the answer's words must not repeat.
    secrets: Vec<Zeroizing<String>>,
    /// Shorter than usual for what answers at once or isn't there.
    timeout: Option<Duration>,
    tries: u32,
}

impl Ask {
    pub(super) fn new(method: &'static str, url: impl Into<String>) -> Self {
        Self {
            method,
            url: url.into(),
            headers: Vec::new(),
            body: Zeroizing::default(),
            tls: Tls::default(),
            secrets: Vec::new(),
            timeout: None,
            tries: TRIES,
        }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, Zeroizing::new(value.into())));
        self
    }

    /// A header that proves who asks: its value is never repeated, nor is the part behind its scheme.
    pub(super) fn secret_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let value = Zeroizing::new(value.into());
        let bare = value.split_once(' ').map_or(value.as_str(), |(_, rest)| rest).to_owned();
        self.secrets.push(Zeroizing::new(bare));
        self.headers.push((name, value));
        self
    }

    pub(super) fn json(self, body: &Json) -> Self {
        self.body("application/json", body.to_bytes())
    }

    /// `application/x-www-form-urlencoded`; every value counts as secret.
    pub(super) fn form(mut self, fields: &[(&str, &str)]) -> Self {
        let mut body = Zeroizing::new(Vec::new());
        for (name, value) in fields {
            if !body.is_empty() {
                body.push(b'&');
            }
            body.extend_from_slice(escape(name).as_bytes());
            body.push(b'=');
            body.extend_from_slice(Zeroizing::new(escape(value)).as_bytes());
            if value.len() >= 16 {
                self.secrets.push(Zeroizing::new((*value).to_owned()));
            }
        }
        self.body("application/x-www-form-urlencoded", body)
    }

    pub(super) fn body(mut self, content_type: &'static str, body: Zeroizing<Vec<u8>>) -> Self {
        self.body = body;
        self.header("content-type", content_type)
    }

    /// What must not come back in an error.
    pub(super) fn secret(mut self, text: &str) -> Self {
        self.secrets.push(Zeroizing::new(text.to_owned()));
        self
    }

    pub(super) fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// One try, and not for long: an address that is only there on some machines.
    pub(super) const fn once_within(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self.tries = 1;
        self
    }

    /// The part of the URL that may be shown.
    pub(super) fn place(&self) -> &str {
        let start = self.url.find("://").map_or(0, |at| at + 3);
        let end = self.url[start..].find(['/', '?', '#']).map_or(self.url.len(), |at| start + at);
        &self.url[..end]
    }

    pub(super) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (*name, value.as_str()))
    }

    pub(super) fn payload(&self) -> &[u8] {
        &self.body
    }

    /// A service's own words, on one line, short, and without what was sent to it.
    pub(super) fn words(&self, text: &str) -> String {
        let mut text = text.trim().to_owned();
        for secret in self.secrets.iter().filter(|s| s.len() >= 4) {
            text = text.replace(secret.as_str(), "(not shown)");
        }
        let mut out: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS).collect();
        if text.chars().count() > WORDS {
            out.push('…');
        }
        out
    }
}

/// What came back.
pub(super) struct Said {
    pub(super) status: u16,
    headers: http::HeaderMap,
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl Said {
    pub(super) const fn is_good(&self) -> bool {
        self.status >= 200 && self.status < 300
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON, if it is.
    pub(super) fn json(&self) -> Option<Json> {
        parse(&self.body, &Limits::NONE).ok()
    }

    /// The member at `path` of a JSON answer: a text.
    pub(super) fn text(&self, ask: &Ask, path: &str) -> Result<Zeroizing<String>> {
        let json = self.json().ok_or_else(|| Fault::protocol(format!("{} answered with what is no JSON", ask.place())))?;
        let found = json.at(path).and_then(Json::as_str).filter(|text| !text.is_empty());
        found
            .map(|text| Zeroizing::new(text.to_owned()))
            .ok_or_else(|| Fault::protocol(format!("{} answered without {path:?}", ask.place())))
    }
}

impl Web<'_> {
    /// Sends and reads; again where there was no answer, or one of a service that is busy (429, 5xx).
    pub(super) async fn ask(&self, ask: &Ask) -> Result<Said> {
        let mut tries = 1;
        loop {
            let timeout = ask.timeout.unwrap_or(self.timeout);
            let outcome = match tokio::time::timeout(timeout, self.once(ask)).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    Err(Fault::unreachable(format!("{} gave no whole answer within {} s", ask.place(), timeout.as_secs_f32())))
                }
            };
            let again = match &outcome {
                Ok(said) => said.status == 429 || (said.status >= 500 && said.status != 501),
                Err(fault) => fault.kind == super::FaultKind::Unreachable,
            };
            if !again || tries >= ask.tries {
                return outcome;
            }
            tokio::time::sleep(self.pause * (1 << (tries - 1))).await;
            tries += 1;
        }
    }

    async fn once(&self, ask: &Ask) -> Result<Said> {
        let (base, target) = split(&ask.url);
        let address = Address::parse(base).map_err(Fault::setup)?;
        let proxy = Proxy::find(self.env, &address).map_err(|e| Fault::setup(e.to_string()))?;
        let mut tls = ask.tls.clone();
        if tls.ca_file.is_none() && tls.ca_pem.is_none() && tls.ca_dir.is_none() {
            // As Go programs have it: these authorities in place of the system's.
            tls.ca_file = self.env.raw("SSL_CERT_FILE");
        }
        let mut sender = connect(&address, &tls, proxy.as_ref()).await.map_err(|refused| match refused {
            Refused::Setup(error) => Fault::setup(format!("{}: {error}", ask.place())),
            Refused::Unreachable(why, _) => Fault::unreachable(format!("{} can't be reached: {why}", ask.place())),
        })?;
        let mut builder = http::Request::builder()
            .method(ask.method)
            .uri(match &proxy {
                Some(_) if !address.is_tls() => format!("{base}{target}"),
                _ => target.to_owned(),
            })
            .header("host", address.authority())
            .header("user-agent", concat!("coffer/", env!("CARGO_PKG_VERSION")));
        let authorization = proxy.as_ref().and_then(|p| p.authorization.as_ref()).filter(|_| !address.is_tls());
        if let Some(authorization) = authorization {
            builder = builder.header("proxy-authorization", authorization.expose().as_str());
        }
        for (name, value) in ask.headers() {
            builder = builder.header(name, value);
        }
        let message = builder.body(Full::new(Bytes::copy_from_slice(&ask.body))).map_err(|_| {
            Fault::setup(format!("a header or the path of a request to {} holds what HTTP can't carry", ask.place()))
        })?;
        let broke = |e: &dyn std::fmt::Display| Fault::unreachable(format!("{} broke off: {e}", ask.place()));
        let reply = sender.send_request(message).await.map_err(|e| broke(&e))?;
        let (head, body) = reply.into_parts();
        let body = Limited::new(body, MOST).collect().await.map_err(|_| {
            Fault::protocol(format!("{} broke off within its answer, or gave one over {MOST} bytes", ask.place()))
        })?;
        Ok(Said { status: head.status.as_u16(), headers: head.headers, body: Zeroizing::new(body.to_bytes().to_vec()) })
    }
}

/// `https://h:1/a?b` → `https://h:1` and `/a?b`.
fn split(url: &str) -> (&str, &str) {
    let start = url.find("://").map_or(0, |at| at + 3);
    match url[start..].find('/') {
        Some(at) => url.split_at(start + at),
        None => (url, "/"),
    }
}

/// All but RFC 3986's unreserved characters become `%XX`.
pub(super) fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            write!(out, "%{byte:02X}").unwrap_or_default();
        }
        out
    })
}

/// Standard base64, which is how services carry bytes.
pub(super) fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(bytes)
}

/// `what` names the text in the error.
pub(super) fn from_base64(text: &str, what: &str) -> Result<Zeroizing<Vec<u8>>> {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD
        .decode(text.trim())
        .map(Zeroizing::new)
        .map_err(|_| Fault::input(format!("{what} is no base64")))
}

#[cfg(test)]
mod tests {
    use super::super::scripted::{Script, quick};
    use super::super::{FaultKind, Kms};
    use super::*;

    #[tokio::test]
    async fn a_busy_service_is_asked_again_and_a_refusal_is_not() {
        let server = Script::of(vec![(503, "busy"), (429, "slow"), (200, "{\"a\":{\"b\":\"c\"}}")]).await;
        let kms = quick(&[]);
        let ask = Ask::new("GET", server.url("/x?y"));
        let said = kms.web().ask(&ask).await.unwrap();
        assert_eq!((said.status, said.text(&ask, "a/b").unwrap().as_str()), (200, "c"));
        assert_eq!(said.text(&ask, "a").unwrap_err().kind, FaultKind::Protocol);
        assert_eq!(server.seen().len(), 3);
        let server = Script::of(vec![(403, "no"), (200, "never")]).await;
        assert_eq!(kms.web().ask(&Ask::new("GET", server.url("/"))).await.unwrap().status, 403);
        assert_eq!(server.seen().len(), 1);
    }

    #[tokio::test]
    async fn silence_ends() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/secret?canary", silent.local_addr().unwrap());
        let kms: Kms = quick(&[]).with_timeout(Duration::from_millis(30));
        let fault = kms.web().ask(&Ask::new("GET", url)).await.err().unwrap();
        assert_eq!(fault.kind, FaultKind::Unreachable);
        assert!(!fault.text.contains("canary") && fault.text.contains("0.03 s"), "{fault}");
    }

    #[tokio::test]
    async fn no_connection_no_address_no_redirect() {
        let kms = quick(&[]);
        for (url, kind) in [
            ("http://127.0.0.1:1/a", FaultKind::Unreachable),
            ("ftp://x/", FaultKind::Setup),
            ("http://u:canary@h/", FaultKind::Setup),
        ] {
            let fault = kms.web().ask(&Ask::new("GET", url)).await.err().unwrap();
            assert_eq!(fault.kind, kind, "{url}: {fault}");
        }
        let server = Script::of(vec![(302, "")]).await;
        assert_eq!(kms.web().ask(&Ask::new("GET", server.url("/"))).await.unwrap().status, 302);
    }

    #[test]
    fn what_is_repeated_is_not_shown() {
        let ask = Ask::new("GET", "http://h/").secret_header("authorization", "Bearer s3cret-token").secret("data-key");
        assert_eq!(ask.words(" no: s3cret-token\nand data-key "), "no: (not shown) and (not shown)");
        assert!(ask.words(&"x".repeat(2000)).chars().count() <= WORDS + 1);
        assert_eq!(ask.place(), "http://h");
    }
}
