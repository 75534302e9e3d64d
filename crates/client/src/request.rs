//! One request before it is sent.

use coffer_types::{Json, Secret};
use std::fmt::Write as _;
use std::time::Duration;
use zeroize::Zeroizing;

/// The methods that the API uses. Listing is a GET with `list=true`, which passes every proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    Get,
    Put,
    Post,
    Patch,
    Delete,
}

impl Method {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// Whose token a request carries.
#[derive(Debug)]
pub(crate) enum As {
    /// The client's own.
    Own,
    /// None: a log-in proves itself otherwise.
    Nobody,
    Other(Secret<String>),
}

/// One request. The path is what stands behind `/v1/`, unescaped; it is cleaned (`//`, `.`, `..`) and
/// escaped here, so that what is sent is what is shown.
#[derive(Debug)]
pub struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) body: Option<Zeroizing<Vec<u8>>>,
    pub(crate) content_type: Option<&'static str>,
    pub(crate) aside: bool,
    pub(crate) identity: As,
    pub(crate) timeout: Option<Duration>,
    pub(crate) root_namespace: bool,
}

impl Request {
    fn new(method: Method, path: impl AsRef<str>) -> Self {
        Self {
            method,
            path: clean(path.as_ref()),
            query: Vec::new(),
            body: None,
            content_type: None,
            aside: false,
            identity: As::Own,
            timeout: None,
            root_namespace: false,
        }
    }

    pub fn get(path: impl AsRef<str>) -> Self {
        Self::new(Method::Get, path)
    }
    pub fn put(path: impl AsRef<str>) -> Self {
        Self::new(Method::Put, path)
    }
    pub fn post(path: impl AsRef<str>) -> Self {
        Self::new(Method::Post, path)
    }
    pub fn delete(path: impl AsRef<str>) -> Self {
        Self::new(Method::Delete, path)
    }
    pub fn list(path: impl AsRef<str>) -> Self {
        Self::get(path).query("list", "true")
    }
    /// A recursive list.
    pub fn scan(path: impl AsRef<str>) -> Self {
        Self::get(path).query("scan", "true")
    }
    /// A merge patch (RFC 7396).
    pub fn patch(path: impl AsRef<str>) -> Self {
        let mut request = Self::new(Method::Patch, path);
        request.content_type = Some("application/merge-patch+json");
        request
    }

    #[must_use]
    pub fn query(mut self, name: &str, value: impl Into<String>) -> Self {
        self.query.push((name.to_owned(), value.into()));
        self
    }

    #[must_use]
    pub fn json(mut self, body: impl Into<Json>) -> Self {
        self.body = Some(body.into().to_bytes());
        self
    }

    #[must_use]
    pub fn bytes(mut self, body: Zeroizing<Vec<u8>>) -> Self {
        self.body = Some(body);
        self
    }

    /// A question on the way to the real request: never wrapped, never shown in place of being sent.
    #[must_use]
    pub const fn aside(mut self) -> Self {
        self.aside = true;
        self
    }

    #[must_use]
    pub fn without_token(mut self) -> Self {
        self.identity = As::Nobody;
        self
    }

    #[must_use]
    pub fn with_token(mut self, token: Secret<String>) -> Self {
        self.identity = As::Other(token);
        self
    }

    /// Another bound on the time to the last byte than the client's own.
    #[must_use]
    pub const fn within(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Asked of the root namespace whatever the client's own is.
    #[must_use]
    pub const fn in_root_namespace(mut self) -> Self {
        self.root_namespace = true;
        self
    }

    pub const fn method(&self) -> Method {
        self.method
    }

    /// The cleaned path behind `/v1/`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// `/v1/…` with query, escaped.
    pub(crate) fn target(&self) -> String {
        let mut out = String::from("/v1");
        if !self.path.is_empty() {
            out.push('/');
            escape(&self.path, b"$&+,/:;=@", &mut out);
        }
        let mut query: Vec<&(String, String)> = self.query.iter().collect();
        query.sort_by(|a, b| a.0.cmp(&b.0));
        for (i, (name, value)) in query.into_iter().enumerate() {
            out.push(if i == 0 { '?' } else { '&' });
            escape(name, b"", &mut out);
            out.push('=');
            escape(value, b"", &mut out);
        }
        out
    }
}

/// Escapes all but letters, digits, `-_.~` and what `also` allows.
fn escape(text: &str, also: &[u8], out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || also.contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String can't fail.
            write!(out, "%{byte:02X}").unwrap_or_default();
        }
    }
}

/// Go's `path.Join` under a root: no empty, `.` or `..` segment, no slash at either end.
fn clean(path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_cleaned_and_escaped() {
        for (path, target) in [
            ("secret/data/app", "/v1/secret/data/app"),
            ("/secret//data/./app/", "/v1/secret/data/app"),
            ("secret/../sys/mounts", "/v1/sys/mounts"),
            ("../../sys", "/v1/sys"),
            ("secret/a b?c#d%2f", "/v1/secret/a%20b%3Fc%23d%252f"),
            ("secret/ü", "/v1/secret/%C3%BC"),
            ("a\r\nHost: evil", "/v1/a%0D%0AHost:%20evil"),
            ("", "/v1"),
        ] {
            assert_eq!(Request::get(path).target(), target, "{path}");
        }
    }

    #[test]
    fn queries_are_sorted_by_name() {
        let request = Request::list("cubbyhole").query("after", "x y&z").query("limit", "5");
        assert_eq!(request.target(), "/v1/cubbyhole?after=x%20y%26z&limit=5&list=true");
    }
}
