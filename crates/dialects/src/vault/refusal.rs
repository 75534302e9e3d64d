//! Answers that the dialect gives by itself, because no call can be made of the request.

use super::encode::{json_response, render_errors};
use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use std::borrow::Cow;

/// Why a request did not become a call. No principal was looked at and nothing was executed.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The path stands for another one: the client is told that one (307, so that method and body stay).
    Redirect { location: String },
    /// The request is wrong as it stands. The message never shows what was sent; empty says nothing.
    Error { status: StatusCode, message: Cow<'static, str> },
}

impl Refusal {
    pub(super) fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::Error { status: StatusCode::BAD_REQUEST, message: message.into() }
    }

    pub(super) fn with(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self::Error { status, message: message.into() }
    }

    /// Nothing is served at this path: 404 without a word.
    pub const fn nothing_here() -> Self {
        Self::Error { status: StatusCode::NOT_FOUND, message: Cow::Borrowed("") }
    }

    /// The body passes `max_request_size`. For the server, which sees the size first.
    pub fn too_large(limit: u64) -> Self {
        Self::with(StatusCode::PAYLOAD_TOO_LARGE, format!("request body too large: max_request_size is {limit} bytes"))
    }

    /// The body did not arrive in time. For the server.
    pub const fn too_slow() -> Self {
        Self::Error { status: StatusCode::REQUEST_TIMEOUT, message: Cow::Borrowed("the request did not arrive in time") }
    }

    /// The body ended before it was whole. For the server.
    pub const fn broken_off() -> Self {
        Self::Error { status: StatusCode::BAD_REQUEST, message: Cow::Borrowed("the request's body broke off") }
    }

    /// More is under way than the server has room for. For the server.
    pub const fn busy() -> Self {
        Self::Error {
            status: StatusCode::SERVICE_UNAVAILABLE,
            message: Cow::Borrowed("too many large requests at once; try again"),
        }
    }

    /// A rule of the listener forbids the request. For the server.
    pub fn by_listener(status: StatusCode, message: &'static str) -> Self {
        Self::with(status, message)
    }

    /// The call took longer than `max_request_duration`. For the server.
    pub const fn took_too_long() -> Self {
        Self::Error {
            status: StatusCode::SERVICE_UNAVAILABLE,
            message: Cow::Borrowed("the request took longer than max_request_duration"),
        }
    }

    /// The answer to a request by `method`.
    pub fn into_response(self, method: &Method) -> Response<Bytes> {
        match self {
            Self::Redirect { location } => redirect(&location, method),
            Self::Error { status, message } => json_response(status, render_errors(&message), *method == Method::HEAD),
        }
    }
}

/// As the reference words it: an HTML page for those who read, nothing for those who write.
fn redirect(location: &str, method: &Method) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    // A location is made of a request's path, which held no character that a header could not.
    let Ok(value) = HeaderValue::from_str(location) else {
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, value);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::STRICT_TRANSPORT_SECURITY, super::encode::HSTS);
    if matches!(*method, Method::GET | Method::HEAD) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    }
    if *method == Method::GET {
        *response.body_mut() = Bytes::from(format!("<a href=\"{}\">Temporary Redirect</a>.\n\n", escape_html(location)));
    }
    response
}

fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(method: &Method) -> Response<Bytes> {
        Refusal::Redirect { location: "/v1/secret/data/app/sub".into() }.into_response(method)
    }

    #[test]
    fn redirects_as_recorded() {
        let response = moved(&Method::GET);
        assert_eq!(response.status(), 307);
        assert_eq!(response.headers()["location"], "/v1/secret/data/app/sub");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
        assert_eq!(response.body().as_ref(), b"<a href=\"/v1/secret/data/app/sub\">Temporary Redirect</a>.\n\n");
        let written = moved(&Method::POST);
        assert!(written.body().is_empty());
        assert!(!written.headers().contains_key("content-type"));
        assert!(moved(&Method::HEAD).body().is_empty());
    }

    #[test]
    fn a_redirect_carries_no_markup_or_header() {
        let response = Refusal::Redirect { location: "/v1/<script>&\"'".into() }.into_response(&Method::GET);
        assert_eq!(&response.body()[..], b"<a href=\"/v1/&lt;script&gt;&amp;&#34;&#39;\">Temporary Redirect</a>.\n\n");
        let response = Refusal::Redirect { location: "/v1/a\r\nset-cookie: a".into() }.into_response(&Method::GET);
        assert_eq!(response.status(), 400);
        assert!(response.headers().is_empty() && response.body().is_empty());
    }

    #[test]
    fn a_silent_refusal_has_an_empty_list() {
        let response = Refusal::nothing_here().into_response(&Method::GET);
        assert_eq!((response.status().as_u16(), &response.body()[..]), (404, &b"{\"errors\":[]}\n"[..]));
        assert_eq!(Refusal::too_large(7).into_response(&Method::PUT).status(), 413);
        assert_eq!(Refusal::too_slow().into_response(&Method::PUT).status(), 408);
        assert_eq!(Refusal::took_too_long().into_response(&Method::PUT).status(), 503);
    }
}
