//! Asking something over HTTP.

use super::Fault;
use crate::BoxFuture;
use coffer_types::{Secret, secret};
use std::fmt;
use std::time::Duration;

/// A client of HTTP/1.1 and TLS. It follows no redirect, asks no proxy, keeps no cookie: what was named is what is asked.
pub trait Http: Send + Sync {
    fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpReply, Fault>>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// Names in lower case; values may be secrets.
pub type Headers = Vec<(String, Secret<String>)>;

/// One request. Prints neither headers nor body.
pub struct HttpRequest {
    pub method: Method,
    /// `https://host:port/path?query`
    pub url: String,
    pub headers: Headers,
    pub body: secret::Bytes,
    pub tls: TlsClient,
    /// For the whole exchange, from the connection to the reply's last byte.
    pub timeout: Duration,
    /// The largest reply that is taken, in bytes.
    pub limit: usize,
}

/// How to speak TLS to it.
#[derive(Debug, Default)]
pub struct TlsClient {
    pub roots: Roots,
    /// Certificate chain and private key, PEM.
    pub identity: Option<(String, Secret<String>)>,
    /// The name to ask for and to verify where it is not the address's host.
    pub server_name: Option<String>,
    /// Takes any certificate; only where an administrator wrote so.
    pub skip_verify: bool,
    /// TLS 1.3 only.
    pub only_tls13: bool,
    /// TLS 1.2 only.
    pub only_tls12: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Roots {
    /// The system's authorities.
    #[default]
    System,
    /// These alone, PEM.
    Pem(String),
}

pub struct HttpReply {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: secret::Bytes,
}

impl HttpRequest {
    /// With a span of 30 seconds and a limit of 1 MiB.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self {
            method,
            url: url.into(),
            headers: Vec::new(),
            body: secret::Bytes::default(),
            tls: TlsClient::default(),
            timeout: Duration::from_secs(30),
            limit: 1 << 20,
        }
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_ascii_lowercase(), Secret::new(value.into())));
        self
    }

    #[must_use]
    pub fn tls(mut self, tls: TlsClient) -> Self {
        self.tls = tls;
        self
    }

    #[must_use]
    pub fn body(mut self, content_type: &str, body: impl Into<secret::Bytes>) -> Self {
        self.body = body.into();
        self.header("content-type", content_type)
    }
}

impl HttpReply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub const fn is_success(&self) -> bool {
        self.status >= 200 && self.status < 300
    }
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The query may hold a secret.
        let address = self.url.split('?').next().unwrap_or_default();
        f.debug_struct("HttpRequest").field("method", &self.method).field("address", &address).finish_non_exhaustive()
    }
}

impl fmt::Debug for HttpReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpReply").field("status", &self.status).finish_non_exhaustive()
    }
}
