//! Cross-origin requests (<https://fetch.spec.whatwg.org/#http-cors-protocol>), where the listener allows them.

use bytes::Bytes;
use coffer_dialects::vault::Refusal;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

/// Which origins may call, and with which headers besides the usual ones.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Cors {
    origins: Vec<String>,
    headers: HeaderValue,
}

const METHODS: HeaderValue = HeaderValue::from_static("DELETE,GET,OPTIONS,POST,PUT,PATCH,LIST");
const HEADERS: &str = "Content-Type,X-Requested-With,X-Vault-AWS-IAM-Server-ID,X-Vault-MFA,X-Vault-No-Request-Forwarding,\
                       X-Vault-Wrap-Format,X-Vault-Wrap-TTL,X-Vault-Policy-Override,Authorization,X-Vault-Token";

impl Cors {
    pub(super) fn new(origins: &[String], headers: &[String]) -> Self {
        let mut all = HEADERS.to_owned();
        for header in headers {
            all.push(',');
            all.push_str(header);
        }
        let headers = HeaderValue::try_from(all).unwrap_or(HeaderValue::from_static(HEADERS));
        Self { origins: origins.to_vec(), headers }
    }

    /// The origin to name in the reply, if the request names one; one that may not call is refused.
    pub(super) fn check(&self, parts: &Parts) -> Result<Option<HeaderValue>, Refusal> {
        let Some(origin) = parts.headers.get(header::ORIGIN).filter(|value| !value.is_empty()) else { return Ok(None) };
        let allowed =
            self.origins.iter().any(|allowed| allowed == "*" || allowed.as_bytes().eq_ignore_ascii_case(origin.as_bytes()));
        if allowed { Ok(Some(origin.clone())) } else { Err(Refusal::by_listener(StatusCode::FORBIDDEN, "origin not allowed")) }
    }

    /// The answer to a browser that asks before it sends.
    pub(super) fn preflight(&self, parts: &Parts) -> Option<Response<Bytes>> {
        if parts.method != Method::OPTIONS || !parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, self.headers.clone());
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("300"));
        Some(response)
    }
}

/// Lets the browser of `origin` read the reply.
pub(super) fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(method: Method, headers: &[(header::HeaderName, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn only_named_origins_may_call() {
        let cors = Cors::new(&["https://ui.example".to_owned()], &[]);
        let of = |origin: &str| cors.check(&parts(Method::GET, &[(header::ORIGIN, origin)]));
        assert_eq!(of("https://ui.example").unwrap().unwrap(), "https://ui.example");
        for origin in ["https://evil.example", "https://ui.example.evil.example", "http://ui.example", "null"] {
            assert!(matches!(of(origin), Err(Refusal::Error { status: StatusCode::FORBIDDEN, .. })), "{origin}");
        }
        assert!(cors.check(&parts(Method::GET, &[])).unwrap().is_none());
        assert!(Cors::new(&["*".to_owned()], &[]).check(&parts(Method::GET, &[(header::ORIGIN, "null")])).is_ok());
        assert!(Cors::new(&[], &[]).check(&parts(Method::GET, &[(header::ORIGIN, "https://ui.example")])).is_err());
    }

    #[test]
    fn preflights_are_answered_without_the_core() {
        let cors = Cors::new(&["*".to_owned()], &["X-Extra".to_owned()]);
        let asks = parts(Method::OPTIONS, &[(header::ACCESS_CONTROL_REQUEST_METHOD, "PUT")]);
        let response = cors.preflight(&asks).unwrap();
        assert_eq!(response.status(), 204);
        assert!(response.headers()[header::ACCESS_CONTROL_ALLOW_HEADERS].to_str().unwrap().ends_with(",X-Vault-Token,X-Extra"));
        assert!(cors.preflight(&parts(Method::OPTIONS, &[])).is_none());
        assert!(cors.preflight(&parts(Method::GET, &[(header::ACCESS_CONTROL_REQUEST_METHOD, "PUT")])).is_none());
    }
}
