//! The client: sends a request, follows one redirect, tries again where that is safe, reads the answer.

use crate::connect::{Refused, Sender, connect};
use crate::error::Api;
use crate::request::{As, Method};
use crate::{Address, Answer, Environment, Error, Proxy, Request, Result, Tls, instead};
use bytes::Bytes;
use coffer_types::json::{Json, Limits, parse};
use coffer_types::{Secret, Span};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// What one body may hold. A larger one is a server that does not mean us.
const MAX_BODY: usize = 64 << 20;

/// How long a connection is kept between requests: servers close what is idle, and a request should not meet that moment.
const KEPT: Duration = Duration::from_secs(1);

/// Where and as whom.
#[derive(Debug)]
pub struct Config {
    pub address: Address,
    pub tls: Tls,
    /// Set by [`Config::proxy_from`], once the address is the one that counts.
    pub proxy: Option<Proxy>,
    pub token: Option<Secret<String>>,
    pub namespace: Option<String>,
    /// Asks for the answer to be wrapped, for so long.
    pub wrap_ttl: Option<Span>,
    pub mfa: Vec<String>,
    /// Sent with every request; none begins with `X-Vault-`.
    pub headers: Vec<(String, String)>,
    /// To the last byte of an answer.
    pub timeout: Duration,
    /// How often a request is sent again after a 5xx (501 aside), a 412 or no answer.
    pub retries: u32,
    pub follow_redirects: bool,
    pub policy_override: bool,
    /// Show a request as curl would send it, or as the policy it needs, in place of sending it.
    pub show: Option<Show>,
    /// The name under which the program was called, for `$(program print token)`.
    pub program: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Show {
    Curl,
    Policy,
}

impl Config {
    /// From the environment alone, with the library's defaults (two retries).
    pub fn from_environment(env: &Environment) -> Result<Self> {
        let setup = Error::Setup;
        let address = env.get("AGENT_ADDR").or_else(|| env.get("ADDR")).unwrap_or_else(|| "https://127.0.0.1:8200".into());
        let number = |name: &str, otherwise: u32| match env.named(name) {
            None => Ok(otherwise),
            Some((full, value)) => value.parse().map_err(|_| Error::setup(format!("{full}: {value:?} is no whole number"))),
        };
        let timeout = match env.named("CLIENT_TIMEOUT") {
            None => Duration::from_secs(60),
            Some((full, value)) => {
                let span = Span::parse(&value).map_err(|e| Error::setup(format!("{full}: {e}")))?;
                // Zero means no bound; a year is as good.
                if span.is_zero() { Duration::from_secs(31_536_000) } else { span.duration() }
            }
        };
        let wrap_ttl = match env.named("WRAP_TTL") {
            None => None,
            Some((full, value)) => Some(Span::parse(&value).map_err(|e| Error::setup(format!("{full}: {e}")))?),
        };
        Ok(Self {
            address: Address::parse(&address).map_err(setup)?,
            tls: Tls {
                ca_file: env.get("CACERT"),
                ca_pem: env.get("CACERT_BYTES"),
                ca_dir: env.get("CAPATH"),
                client_cert: env.get("CLIENT_CERT"),
                client_key: env.get("CLIENT_KEY"),
                server_name: env.get("TLS_SERVER_NAME"),
                skip_verify: env.switch("SKIP_VERIFY").map_err(setup)?,
            },
            proxy: None,
            token: env.get("TOKEN").map(Secret::from),
            namespace: env.get("NAMESPACE"),
            wrap_ttl,
            mfa: env.get("MFA").map(|m| m.split(',').map(str::to_owned).collect()).unwrap_or_default(),
            headers: Vec::new(),
            timeout,
            retries: number("MAX_RETRIES", 2)?,
            follow_redirects: !env.switch("DISABLE_REDIRECTS").map_err(setup)?,
            policy_override: false,
            show: None,
            program: "coffer".into(),
        })
    }
}

impl Config {
    /// Takes the proxy that the environment names for the address.
    pub fn proxy_from(&mut self, env: &Environment) -> Result<()> {
        self.proxy = Proxy::find(env, &self.address)?;
        Ok(())
    }
}

/// An answer whose status is below 400.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub body: Zeroizing<Vec<u8>>,
    method: &'static str,
    url: String,
}

impl Response {
    /// The body as JSON; an empty one is `null`.
    pub fn json(&self) -> Result<Json> {
        if self.body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Json::Null);
        }
        parse(&self.body, &Limits::NONE).map_err(|fault| Error::NoAnswer {
            method: self.method,
            url: self.url.clone(),
            why: format!("the answer is not JSON: {fault}"),
            hint: Some("Is that the address of a Coffer or Vault server?".into()),
        })
    }

    /// The body as the API's envelope; `None` where there is none (204).
    pub fn answer(&self) -> Result<Option<Answer>> {
        Ok(Answer::read(self.json()?))
    }
}

/// A body that is read as it comes.
pub struct Stream {
    body: Incoming,
}

impl Stream {
    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(e)) => return Err(Error::setup(format!("the stream broke off: {e}"))),
            }
        }
    }
}

/// Sends requests over one connection that it keeps.
pub struct Client {
    config: Config,
    /// The connection that the last answer left, to whom, and since when.
    idle: Mutex<Option<(Address, Sender, Instant)>>,
}

impl Client {
    /// Fails where the configuration can't work whatever is asked.
    pub fn new(config: Config) -> Result<Self> {
        config.tls.check()?;
        if let Some((name, _)) = config.headers.iter().find(|(name, _)| name.to_ascii_lowercase().starts_with("x-vault-")) {
            return Err(Error::setup(format!(
                "failed to setup Headers[{name}]: Header starting by 'X-Vault-' are for internal usage only"
            )));
        }
        Ok(Self { config, idle: Mutex::new(None) })
    }

    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// From now on as this token.
    pub fn set_token(&mut self, token: Option<Secret<String>>) {
        self.config.token = token;
    }

    /// Sends the request and reads the answer. A status of 400 and above is an [`Error::Api`].
    pub async fn send(&self, request: &Request) -> Result<Response> {
        if let (Some(show), false) = (self.config.show, request.aside) {
            return Err(Error::Instead(self.show(request, show)));
        }
        let timeout = request.timeout.unwrap_or(self.config.timeout);
        let mut tries = 0;
        loop {
            let outcome = match tokio::time::timeout(timeout, self.whole(request)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(self.no_answer(
                    request,
                    format!("context deadline exceeded: no whole answer within {}s", timeout.as_secs()),
                    None,
                )),
            };
            let again = match &outcome {
                Ok((status, _, _)) => *status == 412 || (*status >= 500 && *status != 501),
                Err(error) => matches!(error, Error::NoAnswer { .. }),
            };
            if again && tries < self.config.retries {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(250 << tries.min(4))).await;
                continue;
            }
            let (status, body, url) = outcome?;
            if status >= 400 {
                return Err(Error::Api(Box::new(self.refusal(request, url, status, &body))));
            }
            return Ok(Response { status, body, method: request.method.as_str(), url });
        }
    }

    /// Sends the request and hands out the body as it comes; nothing bounds how long.
    pub async fn open(&self, request: &Request) -> Result<Stream> {
        if let (Some(show), false) = (self.config.show, request.aside) {
            return Err(Error::Instead(self.show(request, show)));
        }
        let (response, url) = self.one(request, &self.config.address, &request.target()).await?;
        let status = response.status().as_u16();
        if status >= 400 {
            let body = self.collect(request, response.into_body()).await?;
            return Err(Error::Api(Box::new(self.refusal(request, url, status, &body))));
        }
        Ok(Stream { body: response.into_body() })
    }

    /// Status, body and the URL that gave them, one redirect followed.
    async fn whole(&self, request: &Request) -> Result<(u16, Zeroizing<Vec<u8>>, String)> {
        let (mut response, mut url) = self.one(request, &self.config.address, &request.target()).await?;
        if matches!(response.status().as_u16(), 301 | 302 | 307 | 308) && self.config.follow_redirects {
            let to = response.headers().get("location").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
            let (address, target) = self.redirect(request, &to)?;
            // What the first answer still holds is of no use; its connection must be free for the second.
            self.collect(request, response.into_body()).await?;
            (response, url) = self.one(request, &address, &target).await?;
        }
        let status = response.status().as_u16();
        let body = self.collect(request, response.into_body()).await?;
        Ok((status, body, url))
    }

    /// A redirect leads to another node of the cluster, or to the cleaned path; never from TLS to plain text,
    /// since the token goes with it.
    fn redirect(&self, request: &Request, to: &str) -> Result<(Address, String)> {
        if to.starts_with('/') {
            return Ok((self.config.address.clone(), to.to_owned()));
        }
        let parsed = Address::parse(to.split(['?', '#']).next().unwrap_or_default())
            .map_err(|_| self.no_answer(request, format!("redirected to {to:?}, which is no address"), None))?;
        if self.config.address.is_tls() && !parsed.is_tls() {
            return Err(self.no_answer(
                request,
                format!("redirect from https to {to:?} would send the token in plain text; not followed"),
                None,
            ));
        }
        let (Address::Net { tls, host, port, .. }, true) = (parsed, to.contains("/v1")) else {
            return Err(self.no_answer(request, format!("redirected to {to:?}, which is no path of the API"), None));
        };
        let start = to.find("://").map_or(0, |at| at + 3);
        let target = to[start..].find('/').map_or("/", |at| &to[start + at..]);
        let target = target.split('#').next().unwrap_or_default().to_owned();
        Ok((Address::Net { tls, host, port, prefix: String::new() }, target))
    }

    /// One exchange. `target` is the path with query.
    async fn one(&self, request: &Request, address: &Address, target: &str) -> Result<(hyper::Response<Incoming>, String)> {
        let url = format!("{}{target}", address.base());
        if let Some(mut sender) = self.kept(address).await {
            match sender.send_request(self.message(request, address, target)?).await {
                Ok(response) => return Ok((self.keep(address, sender, response), url)),
                // The server closed it in this very moment. What was not sent, or only asks, is sent once more.
                Err(e) if e.is_canceled() || e.is_closed() || (request.method == Method::Get && !e.is_parse()) => {}
                Err(e) => return Err(broke_off(request, address, url, &e)),
            }
        }
        let mut sender =
            connect(address, &self.config.tls, self.config.proxy.as_ref()).await.map_err(|refused| match refused {
                Refused::Setup(error) => error,
                Refused::Unreachable(why, hint) => {
                    Error::NoAnswer { method: request.method.as_str(), url: url.clone(), why, hint }
                }
            })?;
        match sender.send_request(self.message(request, address, target)?).await {
            Ok(response) => Ok((self.keep(address, sender, response), url)),
            Err(e) => Err(broke_off(request, address, url, &e)),
        }
    }

    /// The request as HTTP.
    fn message(&self, request: &Request, address: &Address, target: &str) -> Result<hyper::Request<Full<Bytes>>> {
        let prefix = if let Address::Net { prefix, .. } = address { prefix.as_str() } else { "" };
        let mut builder = hyper::Request::builder()
            .method(request.method.as_str())
            .uri(match &self.config.proxy {
                // A proxy must be told where the request goes (RFC 9112 section 3.2.2).
                Some(_) if !address.is_tls() => format!("{}{target}", address.base()),
                _ => format!("{prefix}{target}"),
            })
            .header("Host", address.authority())
            .header("User-Agent", concat!("coffer/", env!("CARGO_PKG_VERSION")));
        let proxy = self.config.proxy.as_ref().and_then(|p| p.authorization.as_ref());
        if let (Some(authorization), false) = (proxy, address.is_tls()) {
            builder = builder.header("Proxy-Authorization", authorization.expose().as_str());
        }
        for (name, value) in self.headers(request) {
            builder = builder.header(name, value);
        }
        let body = request.body.as_ref().map(|b| Bytes::copy_from_slice(b)).unwrap_or_default();
        builder.body(Full::new(body)).map_err(|e| Error::setup(format!("a header or the path holds what HTTP can't carry: {e}")))
    }

    /// The connection that is there, if it is to the same address, young and still open.
    async fn kept(&self, address: &Address) -> Option<Sender> {
        let kept = self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let (to, mut sender, since) = kept?;
        let usable = to == *address && since.elapsed() < KEPT && sender.ready().await.is_ok();
        usable.then_some(sender)
    }

    /// Puts the connection aside for the next request; it is free once the answer's body was read.
    fn keep(&self, address: &Address, sender: Sender, response: hyper::Response<Incoming>) -> hyper::Response<Incoming> {
        let kept = Some((address.clone(), sender, Instant::now()));
        *self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = kept;
        response
    }

    async fn collect(&self, request: &Request, mut body: Incoming) -> Result<Zeroizing<Vec<u8>>> {
        let mut out = Zeroizing::new(Vec::new());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| self.no_answer(request, format!("the answer broke off: {e}"), None))?;
            if let Some(data) = frame.data_ref() {
                if out.len() + data.len() > MAX_BODY {
                    return Err(self.no_answer(request, format!("the answer is larger than {} MiB", MAX_BODY >> 20), None));
                }
                out.extend_from_slice(data);
            }
        }
        Ok(out)
    }

    fn headers(&self, request: &Request) -> Vec<(String, String)> {
        let config = &self.config;
        let mut out = vec![("X-Vault-Request".to_owned(), "true".to_owned())];
        let mut put = |name: &str, value: &str| out.push((name.to_owned(), value.to_owned()));
        if let Some(kind) = request.content_type {
            put("Content-Type", kind);
        }
        match &request.identity {
            As::Own => {
                if let Some(token) = &config.token {
                    put("X-Vault-Token", token.expose());
                }
            }
            As::Nobody => {}
            As::Other(token) => put("X-Vault-Token", token.expose()),
        }
        if let (Some(namespace), false) = (&config.namespace, request.root_namespace) {
            put("X-Vault-Namespace", &namespace_path(namespace));
        }
        if let (Some(ttl), false) = (config.wrap_ttl, request.aside) {
            put("X-Vault-Wrap-TTL", &ttl.to_string());
        }
        for mfa in &config.mfa {
            put("X-Vault-MFA", mfa);
        }
        if config.policy_override {
            put("X-Vault-Policy-Override", "true");
        }
        for (name, value) in &config.headers {
            put(name, value);
        }
        out
    }

    fn show(&self, request: &Request, show: Show) -> crate::Instead {
        match show {
            Show::Policy => instead::policy(request),
            Show::Curl => {
                let url = format!("{}{}", self.config.address.base(), request.target());
                instead::curl(request, &url, &self.headers(request), &self.config.program)
            }
        }
    }

    fn no_answer(&self, request: &Request, why: String, hint: Option<String>) -> Error {
        let url = format!("{}{}", self.config.address.base(), request.target());
        Error::NoAnswer { method: request.method.as_str(), url, why, hint }
    }

    fn refusal(&self, request: &Request, url: String, status: u16, body: &[u8]) -> Api {
        let errors = parse(body, &Limits::NONE).ok().and_then(|json| {
            let errors = json.get("errors")?.as_array()?;
            Some(errors.iter().filter_map(Json::as_str).map(str::to_owned).collect())
        });
        let hint = match status {
            403 if matches!(request.identity, As::Own) && self.config.token.is_none() => {
                Some(format!("No token was sent. Log in with \"{} login\", or set VAULT_TOKEN.", self.config.program))
            }
            400 if errors.is_none() && !self.config.address.is_tls() => {
                Some("If the server there speaks TLS, the address must begin with https://.".to_owned())
            }
            _ => None,
        };
        Api {
            method: request.method.as_str(),
            url,
            namespace: self.config.namespace.as_deref().filter(|_| !request.root_namespace).map(namespace_path),
            status,
            errors,
            raw: String::from_utf8_lossy(body).into_owned(),
            hint,
        }
    }
}

/// Why an exchange ended without an answer.
fn broke_off(request: &Request, address: &Address, url: String, error: &hyper::Error) -> Error {
    let why = if error.is_incomplete_message() {
        "EOF".to_owned()
    } else if error.is_parse() {
        format!("malformed HTTP response: {error}")
    } else {
        let io = std::error::Error::source(error).and_then(|e| e.downcast_ref::<std::io::Error>());
        io.map_or_else(|| error.to_string(), crate::error::go_words)
    };
    let hint = (!address.is_tls()).then(|| "If the server there speaks TLS, the address must begin with https://.".to_owned());
    Error::NoAnswer { method: request.method.as_str(), url, why, hint }
}

/// `ns1`, `/ns1/` → `ns1/`.
fn namespace_path(namespace: &str) -> String {
    let inner = namespace.trim_matches('/');
    if inner.is_empty() { String::new() } else { format!("{inner}/") }
}

/// The same for callers without a runtime: each call runs to its end on this thread.
pub struct Blocking {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Blocking {
    pub fn new(config: Config) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::setup(format!("the system gives no event loop: {e}")))?;
        Ok(Self { runtime, client: Client::new(config)? })
    }

    pub const fn config(&self) -> &Config {
        self.client.config()
    }

    pub fn set_token(&mut self, token: Option<Secret<String>>) {
        self.client.set_token(token);
    }

    /// [`Client::send`].
    pub fn send(&self, request: &Request) -> Result<Response> {
        self.runtime.block_on(self.client.send(request))
    }

    /// Hands each piece of the body to `each` until that says to stop, the body ends or `limit` is over.
    pub fn stream(&self, request: &Request, limit: Option<Duration>, mut each: impl FnMut(&[u8]) -> bool) -> Result<()> {
        let read = async {
            let mut stream = self.client.open(request).await?;
            while let Some(piece) = stream.next().await? {
                if !each(&piece) {
                    break;
                }
            }
            Ok(())
        };
        self.runtime.block_on(async {
            match limit {
                None => read.await,
                Some(limit) => tokio::time::timeout(limit, read).await.unwrap_or(Ok(())),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str) -> Client {
        let env = Environment::fixed(&[("VAULT_ADDR", address), ("VAULT_TOKEN", "s.x")]);
        Client::new(Config::from_environment(&env).expect(address)).expect(address)
    }

    #[test]
    fn a_redirect_keeps_tls_and_leads_to_the_api_only() {
        let request = Request::get("secret/data/x");
        let secure = client("https://a:8200");
        let (to, target) = secure.redirect(&request, "https://b:8200/v1/secret/data/x?version=1#f").expect("follows");
        assert_eq!((to.base().as_str(), target.as_str()), ("https://b:8200", "/v1/secret/data/x?version=1"));
        let (to, target) = secure.redirect(&request, "/v1/secret/data/y").expect("follows");
        assert_eq!((to.base().as_str(), target.as_str()), ("https://a:8200", "/v1/secret/data/y"));
        for location in [
            "http://b:8200/v1/x",
            "",
            "ftp://b/v1/x",
            "unix:///v1/s",
            "https://b:8200/login",
            "https://u:p@b/v1/x",
            "b:8200/v1/x",
        ] {
            assert!(secure.redirect(&request, location).is_err(), "{location}");
        }
        assert!(client("http://a:8200").redirect(&request, "https://b:8200/v1/x").is_ok());
    }

    #[test]
    fn settings_come_from_the_environment_and_wrong_ones_are_named() {
        let env = Environment::fixed(&[
            ("VAULT_CLIENT_TIMEOUT", "5s"),
            ("BAO_MAX_RETRIES", "7"),
            ("VAULT_NAMESPACE", "team"),
            ("VAULT_WRAP_TTL", "2m"),
        ]);
        let config = Config::from_environment(&env).expect("a configuration");
        assert_eq!((config.timeout, config.retries), (Duration::from_secs(5), 7));
        assert_eq!((config.namespace.as_deref(), config.wrap_ttl), (Some("team"), Some(Span::from_secs(120))));
        assert_eq!(config.address.base(), "https://127.0.0.1:8200");
        for (name, value) in [
            ("VAULT_ADDR", "nowhere"),
            ("VAULT_CLIENT_TIMEOUT", "soon"),
            ("VAULT_MAX_RETRIES", "-1"),
            ("VAULT_SKIP_VERIFY", "maybe"),
        ] {
            let error = Config::from_environment(&Environment::fixed(&[(name, value)])).expect_err(name).to_string();
            assert!(error.contains(value), "{error}");
        }
    }
}
