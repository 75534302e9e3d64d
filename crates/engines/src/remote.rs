//! What the engines that ask other systems over HTTP share: addresses, escaping, errors.

use coffer_engine::Ctx;
use coffer_engine::outside::{Fault, HttpReply, HttpRequest};
use coffer_types::json::{Limits, parse};
use coffer_types::{Error, Json, Kind, Result};
use std::time::Duration;

/// For one exchange. Several of them must fit into the time after which a note of an effect outside counts as left over.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// What replies in JSON may cost.
const LIMITS: Limits = Limits { depth: 64, string: 1 << 20, strings: 65_536, members: 16_384, items: 16_384 };

/// The address of a system outside: `http://` or `https://`, a host, perhaps a path; no user, query or fragment. Kept
/// without a slash at the end.
///
/// # Errors
/// Bad request, naming `field`.
pub(crate) fn address(field: &str, text: &str) -> Result<String> {
    let wrong = |why: &str| Error::bad_request(format!("{field} must be a URL like https://host:port: {why}"));
    let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
    if !matches!(scheme, "http" | "https") {
        return Err(wrong("only http and https are known"));
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) || text.contains(['"', '<', '>', '\\', '^', '`', '{', '|', '}']) {
        return Err(wrong("it has a character that a URL can't have"));
    }
    if rest.contains(['?', '#']) {
        return Err(wrong("it must have neither query nor fragment"));
    }
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return Err(wrong("it must not hold a user's name; that has a field of its own"));
    }
    if authority.is_empty() || authority.starts_with(':') {
        return Err(wrong("it names no host"));
    }
    if rest.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(wrong("its path must be clean"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// One segment of a path or one value of a query or form: all but RFC 3986's unreserved characters become `%XX`.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Asks; a reply of any status is one.
pub(crate) async fn ask<E>(cx: &Ctx<E>, mut request: HttpRequest) -> Result<HttpReply, Fault> {
    request.timeout = TIMEOUT;
    cx.outside().http().send(request).await
}

/// A reply's document.
///
/// # Errors
/// Upstream: it is no JSON, or more than we take.
pub(crate) fn document(system: &str, reply: &HttpReply) -> Result<Json> {
    parse(&reply.body, &LIMITS).map_err(|fault| {
        Error::new(Kind::Upstream, format!("{system} answered status {} with what is no JSON", reply.status))
            .with_cause(format!("{fault:?}"))
    })
}

/// A word of another system that may stand in our errors: short, printable, without white space or markup. Anything else is left out.
pub(crate) fn word(text: &str) -> Option<&str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b':');
    (!text.is_empty() && text.len() <= 80 && text.bytes().all(plain)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, kept) in [
            ("http://127.0.0.1:15672", "http://127.0.0.1:15672"),
            ("https://mq.example.org/manage/", "https://mq.example.org/manage"),
            ("https://[::1]:8443", "https://[::1]:8443"),
        ] {
            assert_eq!(address("uri", text).unwrap(), kept);
        }
        for text in [
            "",
            "mq",
            "ftp://a",
            "http://",
            "http:///x",
            "http://:80",
            "http://u:canary@a",
            "http://a?b",
            "http://a#b",
            "http://a b",
            "http://a/../b",
            "http://a\r\nX: y",
            "http://ä",
            "file:///etc/passwd",
            "http://a/{b}",
        ] {
            let error = address("uri", text).unwrap_err();
            assert!(error.kind() == Kind::BadRequest && !error.public().contains("canary"), "{text}");
        }
    }

    #[test]
    fn escapes_all_that_could_mean_something() {
        assert_eq!(escape("a-b_c.d~e"), "a-b_c.d~e");
        assert_eq!(escape("/ %2F../?#&=+ü\n"), "%2F%20%252F..%2F%3F%23%26%3D%2B%C3%BC%0A");
    }

    #[test]
    fn words() {
        assert_eq!(word("AccessDenied"), Some("AccessDenied"));
        for text in ["", "a b", "<b>", "a\nb", &"x".repeat(81)] {
            assert_eq!(word(text), None);
        }
    }
}
