//! What a body says: a JSON object, a form, or bytes for the routes that take them.

use super::query;
use super::refusal::Refusal;
use coffer_types::json::{self, Limits};
use coffer_types::{Json, Object};
use http::{HeaderMap, header};

/// What a body may cost, from the listener's keys. Its length (`max_request_size`) is the server's to check,
/// before it reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BodyLimits {
    pub json: Limits,
    /// Bytes of memory that the parsed body may take, about: each limit above may hold and a short text still
    /// become a large value (CVE-2025-59043).
    pub memory: usize,
}

/// The server's own defaults, for tests and for whoever has no configuration.
impl Default for BodyLimits {
    fn default() -> Self {
        let json = Limits { depth: 50, string: 32 << 20, strings: 100_000, members: 10_000, items: 10_000 };
        Self { json, memory: (32 << 20) + (512 << 10) }
    }
}

/// A body, read.
#[derive(Debug)]
pub(super) enum Body {
    Fields(Object),
    Raw(Vec<u8>),
}

/// Types that some routes take as bytes (RFC 6960, 5280, 5967, 8555; snapshots). Everything else is JSON,
/// whatever it is called, as for the reference.
const RAW: [&str; 10] = [
    "application/ocsp-request",
    "application/pkix-cert",
    "application/pkix-crl",
    "application/pkcs10",
    "application/pkcs7-mime",
    "application/pem-certificate-chain",
    "application/x-pem-file",
    "application/gzip",
    "application/x-gzip",
    "application/octet-stream",
];

/// Reads the body of a write.
pub(super) fn read(headers: &HeaderMap, body: &[u8], limits: &BodyLimits) -> Result<Body, Refusal> {
    let Some(first) = body.iter().find(|b| !b.is_ascii_whitespace()) else {
        return Ok(Body::Fields(Object::new()));
    };
    let kind = media_type(headers).unwrap_or_default();
    if *first != b'{' && RAW.iter().any(|raw| kind.eq_ignore_ascii_case(raw)) {
        return Ok(Body::Raw(body.to_vec()));
    }
    // curl says "form" of everything that it sends with -d: what begins like JSON is JSON.
    if !matches!(first, b'{' | b'[' | b'"') && kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") && *body != *b"null"
    {
        return form(body, limits).map(Body::Fields);
    }
    object(body, limits).map(Body::Fields)
}

fn object(body: &[u8], limits: &BodyLimits) -> Result<Object, Refusal> {
    let bad = |why: &dyn std::fmt::Display| Refusal::bad_request(format!("failed to decode JSON input: {why}"));
    if memory(body, limits.memory) > limits.memory {
        return Err(bad(&format_args!("it would take more than {} bytes of memory", limits.memory)));
    }
    match json::parse(body, &limits.json).map_err(|fault| bad(&fault))? {
        Json::Object(object) => Ok(object),
        Json::Null => Ok(Object::new()),
        other => Err(bad(&format_args!("an object is expected, not {}", other.kind()))),
    }
}

fn form(body: &[u8], limits: &BodyLimits) -> Result<Object, Refusal> {
    let mut object = Object::new();
    query::pairs(body, |name, value| {
        if object.contains(&name) {
            return Err(Refusal::bad_request("a form field stands twice"));
        }
        // Looking for duplicates is quadratic: few fields, then.
        if object.len() >= limits.json.members.min(1_000) || value.len() > limits.json.string {
            return Err(Refusal::bad_request("the form has too many or too long fields"));
        }
        object.insert(name, Json::string(value));
        Ok(())
    })?;
    Ok(object)
}

/// What the parsed body will take, about: its text and a node for each value and each name.
fn memory(body: &[u8], enough: usize) -> usize {
    const NODE: usize = 64;
    // Nothing has more nodes than bytes, so most bodies need no look.
    if body.len().saturating_mul(1 + NODE) <= enough {
        return 0;
    }
    let (mut nodes, mut quoted, mut escaped) = (1, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' | b':' | b'[' | b'{' if !quoted => nodes += 1,
            _ => {}
        }
    }
    body.len().saturating_add(NODE.saturating_mul(nodes))
}

/// `type/subtype` of the content type, without parameters; `None` if there is none or it is malformed.
pub(super) fn media_type(headers: &HeaderMap) -> Option<&str> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?.split(';').next()?.trim();
    let token = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b));
    let (major, minor) = kind.split_once('/')?;
    (token(major) && token(minor)).then_some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(kind: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if !kind.is_empty() {
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
        }
        headers
    }

    fn fields(kind: &str, body: &str) -> String {
        match read(&headers(kind), body.as_bytes(), &BodyLimits::default()) {
            Ok(Body::Fields(object)) => String::from_utf8(Json::Object(object).to_bytes().to_vec()).unwrap(),
            other => panic!("{body}: {other:?}"),
        }
    }

    fn refused(kind: &str, body: &[u8]) -> String {
        refused_by(&BodyLimits::default(), kind, body)
    }

    fn refused_by(limits: &BodyLimits, kind: &str, body: &[u8]) -> String {
        match read(&headers(kind), body, limits) {
            Err(Refusal::Error { status, message }) => {
                assert_eq!(status, 400);
                message.into_owned()
            }
            other => panic!("{body:?}: {other:?}"),
        }
    }

    const FORM: &str = "application/x-www-form-urlencoded";

    #[test]
    fn reads_json_whatever_it_is_called() {
        for kind in ["", "application/json", FORM, "text/plain", "application/octet-stream", "nonsense"] {
            assert_eq!(fields(kind, " {\"a\": 1.10} "), "{\"a\":1.10}", "{kind}");
            assert_eq!(fields(kind, ""), "{}", "{kind}");
            assert_eq!(fields(kind, " \n"), "{}", "{kind}");
        }
        assert_eq!(fields("", "null"), "{}");
        assert_eq!(fields(FORM, "null"), "{}");
    }

    #[test]
    fn reads_true_forms() {
        assert_eq!(fields(FORM, "a=1&b=x+y%26&c"), r#"{"a":"1","b":"x y&","c":""}"#);
        assert_eq!(fields("application/x-www-form-urlencoded; charset=utf-8", "a=1"), r#"{"a":"1"}"#);
        for body in ["a=1&a=2", "a=%zz", "a=%ff"] {
            refused(FORM, body.as_bytes());
        }
        let many: Vec<String> = (0..1001).map(|n| format!("k{n}=")).collect();
        assert_eq!(refused(FORM, many.join("&").as_bytes()), "the form has too many or too long fields");
    }

    #[test]
    fn keeps_bytes_for_the_routes_that_take_them() {
        for kind in ["application/ocsp-request", "Application/PKCS10", "application/octet-stream"] {
            match read(&headers(kind), b"\x30\x82\xff", &BodyLimits::default()) {
                Ok(Body::Raw(raw)) => assert_eq!(raw, b"\x30\x82\xff"),
                other => panic!("{kind}: {other:?}"),
            }
        }
        assert!(refused("application/json", b"\x30\x82\xff").starts_with("failed to decode JSON input: byte 1: not UTF-8"));
    }

    #[test]
    fn refuses_the_rest_without_echo() {
        for body in [
            "[]",
            "\"canary\"",
            "1",
            "true",
            "not json canary",
            "{bad",
            "{",
            "{\"canary\":1,\"canary\":2}",
            "{} canary",
            "{\"a\":canary}",
        ] {
            let message = refused("", body.as_bytes());
            assert!(message.starts_with("failed to decode JSON input: ") && !message.contains("canary"), "{message}");
        }
        assert_eq!(refused("", b"[]"), "failed to decode JSON input: an object is expected, not array");
        refused("", b"{\"a\":\"\xff\"}");
        refused("", "\u{feff}{}".as_bytes());
    }

    #[test]
    fn keeps_to_the_limits() {
        let nest = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert!(!fields("", &nest(50)).is_empty());
        assert_eq!(refused("", nest(51).as_bytes()), "failed to decode JSON input: nested deeper than 50 levels");
        refused("", nest(64).as_bytes());
        refused("", nest(200_000).as_bytes());
        refused("", "[".repeat(1_000_000).as_bytes());
        let list = |length: usize| format!("{{\"a\":[{}]}}", vec!["0"; length].join(","));
        assert!(!fields("", &list(10_000)).is_empty());
        assert!(refused("", list(10_001).as_bytes()).contains("more than 10000 items"));
        let json = Limits { depth: 50, string: 8, strings: 5, members: 3, items: 10 };
        let small = BodyLimits { json, ..BodyLimits::default() };
        assert!(refused_by(&small, "", br#"{"a":"123456789"}"#).contains("a string is longer than 8 bytes"));
        assert!(refused_by(&small, "", br#"{"a":["","","","",""]}"#).contains("more than 5 strings"));
        assert!(refused_by(&small, "", br#"{"a":0,"b":0,"c":0,"d":0}"#).contains("more than 3 members"));
        for form in ["a=123456789", "a=1&b=2&c=3&d=4"] {
            assert!(refused_by(&small, FORM, form.as_bytes()).contains("too many or too long"), "{form}");
        }
    }

    #[test]
    fn a_small_text_cannot_become_a_big_value() {
        // Each array within its bounds, all together 600,000 values of one digit.
        let row = format!("[{}]", vec!["0"; 10_000].join(","));
        let bomb = format!("{{\"a\":[{}]}}", vec![row; 60].join(","));
        assert!(refused("", bomb.as_bytes()).contains("bytes of memory"));
        // The same number of commas inside strings costs nothing.
        let text = format!("{{\"a\":[{}]}}", vec![format!("\"\\\"{}\"", ",[{:".repeat(100_000)); 2].join(","));
        assert!(!fields("", &text).is_empty());
    }

    #[test]
    fn media_types() {
        for kind in ["application/json", "application/merge-patch+json; charset=utf-8", " a/b ;"] {
            assert!(media_type(&headers(kind)).is_some(), "{kind}");
        }
        for kind in ["", ";;", "json", "/", "a/", "/b", "a b/c", "a/b c"] {
            assert!(media_type(&headers(kind)).is_none(), "{kind}");
        }
    }
}
