//! A request becomes a call.

use super::body::{self, Body, BodyLimits, media_type};
use super::query;
use super::refusal::Refusal;
use coffer_engine::{Call, Credential, Fields, ListenerTraits, Remote, RequestId, WrapAsk};
use coffer_types::{Dialect, Operation, Path, Secret, Span};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, header};
use std::sync::Arc;

/// What the server knows of a request besides its text.
pub struct DecodeContext<'a> {
    pub id: RequestId,
    pub remote: Remote,
    pub listener: Arc<ListenerTraits>,
    pub limits: &'a BodyLimits,
}

/// Makes a call of a request, or says why it is none. `body` is whole; where the operation takes none it is
/// not looked at.
pub fn decode(parts: &Parts, body: &[u8], cx: DecodeContext<'_>) -> Result<Call, Refusal> {
    let path = super::path::decode(parts.uri.path(), parts.uri.query())?;
    let query = query::parse(parts.uri.query().unwrap_or_default())?;
    let operation = operation(&parts.method, &query)?;
    check_namespace(&parts.headers)?;
    let mut fields = Fields::default();
    if operation.writes() {
        check_write(operation, &path, &parts.headers)?;
        match body::read(&parts.headers, body, cx.limits)? {
            Body::Fields(object) => fields.body = object,
            Body::Raw(raw) => fields.raw = Some(raw),
        }
    } else {
        fields.query = query.fields;
    }
    Ok(Call {
        id: cx.id,
        dialect: Dialect::Vault,
        credential: credential(&parts.headers)?,
        operation,
        path,
        verb: None,
        fields,
        wrap: wrap(&parts.headers)?,
        remote: cx.remote,
        listener: cx.listener,
        headers: kept(&parts.headers),
    })
}

/// POST and PUT are one: whether an update creates is the route's question. HEAD reads (RFC 9110 §9.3.2); the
/// rendering leaves the body out.
fn operation(method: &Method, query: &query::Query) -> Result<Operation, Refusal> {
    let by_method = match method.as_str() {
        "GET" | "HEAD" if query.list => Operation::List,
        "GET" | "HEAD" if query.scan => Operation::Scan,
        "GET" | "HEAD" => Operation::Read,
        "POST" | "PUT" => Operation::Update,
        "PATCH" => Operation::Patch,
        "DELETE" => Operation::Delete,
        "LIST" => Operation::List,
        "SCAN" => Operation::Scan,
        "OPTIONS" => return Err(Refusal::bad_request("cannot handle internal-only request operation")),
        _ => return Err(Refusal::with(StatusCode::METHOD_NOT_ALLOWED, "")),
    };
    Ok(if query.help { Operation::Help } else { by_method })
}

fn check_write(operation: Operation, path: &Path, headers: &HeaderMap) -> Result<(), Refusal> {
    if path.as_str().ends_with('/') {
        return Err(Refusal::bad_request("cannot write to a path ending in '/'"));
    }
    if operation == Operation::Patch {
        let kind = media_type(headers).ok_or_else(|| Refusal::bad_request("mime: no media type"))?;
        if !kind.eq_ignore_ascii_case("application/merge-patch+json") {
            let message = "PATCH requires Content-Type of application/merge-patch+json";
            return Err(Refusal::with(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
    }
    Ok(())
}

/// There is the root namespace and no other.
fn check_namespace(headers: &HeaderMap) -> Result<(), Refusal> {
    match headers.get("x-vault-namespace").map(|value| value.as_bytes()) {
        None | Some(b"" | b"/" | b"root" | b"root/" | b"/root" | b"/root/") => Ok(()),
        Some(_) => Err(Refusal::with(StatusCode::NOT_FOUND, "namespace not found")),
    }
}

fn credential(headers: &HeaderMap) -> Result<Credential, Refusal> {
    let malformed = || Refusal::bad_request("the token's header is not visible ASCII text");
    if let Some(value) = headers.get("x-vault-token").filter(|value| !value.is_empty()) {
        return Ok(Credential::Token(Secret::from(value.to_str().map_err(|_| malformed())?)));
    }
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(Credential::None) };
    if let Some((scheme, pair)) = value.as_bytes().split_at_checked(6)
        && scheme.eq_ignore_ascii_case(b"basic ")
        && let Ok(pair) = std::str::from_utf8(pair.trim_ascii())
        && pair.bytes().all(|b| b.is_ascii_graphic())
    {
        return Ok(Credential::Basic(Secret::from(pair)));
    }
    let bearer = match value.as_bytes().split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token.trim_ascii(),
        _ => return Ok(Credential::None),
    };
    match std::str::from_utf8(bearer) {
        Ok("") => Ok(Credential::None),
        Ok(token) if token.bytes().all(|b| b.is_ascii_graphic()) => Ok(Credential::Token(Secret::from(token))),
        _ => Err(malformed()),
    }
}

fn wrap(headers: &HeaderMap) -> Result<Option<WrapAsk>, Refusal> {
    let Some(value) = headers.get("x-vault-wrap-ttl").filter(|value| !value.is_empty()) else { return Ok(None) };
    let bad = |why: &str| Refusal::bad_request(format!("error parsing X-Vault-Wrap-TTL header: {why}"));
    let text = value.to_str().map_err(|_| bad("it is not ASCII text"))?;
    let ttl = Span::parse(text).map_err(|e| bad(e.public()))?;
    if ttl.is_negative() {
        return Err(bad("requested wrap ttl cannot be negative"));
    }
    let jwt = headers.get("x-vault-wrap-format").is_some_and(|format| format.as_bytes().eq_ignore_ascii_case(b"jwt"));
    Ok((!ttl.is_zero()).then_some(WrapAsk { ttl, jwt }))
}

/// Headers that may go on to the audit log: not those that carry credentials, nor what only the connection needs.
fn kept(headers: &HeaderMap) -> Vec<(Box<str>, Box<str>)> {
    const DROPPED: [header::HeaderName; 9] = [
        header::AUTHORIZATION,
        header::PROXY_AUTHORIZATION,
        header::COOKIE,
        header::HOST,
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::TE,
        header::UPGRADE,
    ];
    headers
        .iter()
        .filter(|(name, _)| name.as_str() != "x-vault-token" && !DROPPED.contains(name))
        .map(|(name, value)| (name.as_str().into(), String::from_utf8_lossy(value.as_bytes()).into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_types::Json;
    use http::Request;
    use proptest::prelude::*;

    fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        request.body(()).unwrap().into_parts().0
    }

    fn send(method: &str, uri: &str, headers: &[(&str, &str)], body: &str) -> Result<Call, Refusal> {
        let cx = DecodeContext {
            id: "0-0".into(),
            remote: Remote { ip: None, port: 0, certificate: None },
            listener: Arc::default(),
            limits: &BodyLimits::default(),
        };
        decode(&parts(method, uri, headers), body.as_bytes(), cx)
    }

    fn call(method: &str, uri: &str, headers: &[(&str, &str)], body: &str) -> Call {
        send(method, uri, headers, body).unwrap_or_else(|r| panic!("{method} {uri}: {r:?}"))
    }

    fn refused(method: &str, uri: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        match send(method, uri, headers, body) {
            Err(Refusal::Error { status, message }) => (status.as_u16(), message.into_owned()),
            Err(other) => panic!("{method} {uri}: {other:?}"),
            Ok(call) => panic!("{method} {uri}: accepted as {} {}", call.operation, call.path),
        }
    }

    #[test]
    fn methods_become_operations() {
        for (method, uri, operation) in [
            ("GET", "/v1/a/b", Operation::Read),
            ("HEAD", "/v1/a/b", Operation::Read),
            ("GET", "/v1/a/b?list=true", Operation::List),
            ("HEAD", "/v1/a/b?list=1", Operation::List),
            ("GET", "/v1/a/b?list=false", Operation::Read),
            ("GET", "/v1/a/b?scan=true", Operation::Scan),
            ("LIST", "/v1/a/b/", Operation::List),
            ("SCAN", "/v1/a/b/", Operation::Scan),
            ("POST", "/v1/a/b", Operation::Update),
            ("PUT", "/v1/a/b", Operation::Update),
            ("POST", "/v1/a/b?list=true", Operation::Update),
            ("DELETE", "/v1/a/b/", Operation::Delete),
            ("GET", "/v1/a/b?help=1", Operation::Help),
            ("GET", "/v1/a/?help=1", Operation::Help),
            ("POST", "/v1/a/b?help=true", Operation::Help),
        ] {
            assert_eq!(call(method, uri, &[], "").operation, operation, "{method} {uri}");
        }
        assert_eq!(refused("OPTIONS", "/v1/a", &[], ""), (400, "cannot handle internal-only request operation".into()));
        for method in ["TRACE", "FOO", "list", "get", "RENEW", "REVOKE", "ROLLBACK", "CREATE", "HELP"] {
            assert_eq!(refused(method, "/v1/a", &[], ""), (405, String::new()), "{method}");
        }
        assert_eq!(refused("GET", "/v1/a?list=perhaps", &[], "").0, 400);
    }

    #[test]
    fn reads_take_the_query_and_writes_the_body() {
        let read = call("GET", "/v1/secret/data/a?version=2&list=0", &[], "{bad");
        assert_eq!(read.fields.query.get("version").map(|v| &**v), Some("2"));
        assert!(!read.fields.query.contains_key("list") && read.fields.body.is_empty());
        for method in ["DELETE", "LIST", "SCAN", "HEAD"] {
            let call = call(method, "/v1/secret/a?x=1", &[], "{\"y\":1}");
            assert!(call.fields.body.is_empty() && call.fields.query.len() == 1, "{method}");
        }
        let write = call("PUT", "/v1/secret/data/a?version=2", &[], "{\"data\":{\"n\":1.10}}");
        assert!(write.fields.query.is_empty() && write.fields.raw.is_none());
        assert_eq!(write.fields.body.get("data").and_then(|d| d.get("n")).map(Json::to_bytes).unwrap().as_slice(), b"1.10");
        assert!(call("POST", "/v1/a", &[], "").fields.body.is_empty());
        let raw = call("POST", "/v1/pki/ocsp", &[("content-type", "application/ocsp-request")], "0\u{1}");
        assert_eq!(raw.fields.raw.as_deref(), Some(&b"0\x01"[..]));
        assert_eq!(refused("POST", "/v1/a", &[], "{\"a\":1,\"a\":2}").0, 400);
        assert_eq!(refused("PUT", "/v1/a", &[], "{\"a\":1} x").0, 400);
    }

    #[test]
    fn writes_are_not_for_folders() {
        for method in ["POST", "PUT", "PATCH"] {
            let patch = [("content-type", "application/merge-patch+json")];
            assert_eq!(refused(method, "/v1/kv1/a/", &patch, "{}"), (400, "cannot write to a path ending in '/'".into()));
        }
        assert!(send("DELETE", "/v1/kv1/a/", &[], "").is_ok());
    }

    #[test]
    fn patches_say_what_they_are() {
        let good = [("content-type", "application/merge-patch+json; charset=utf-8")];
        assert_eq!(call("PATCH", "/v1/a", &good, "{\"x\":null}").operation, Operation::Patch);
        assert_eq!(refused("PATCH", "/v1/a", &[], "{}"), (400, "mime: no media type".into()));
        assert_eq!(refused("PATCH", "/v1/a", &[("content-type", ";;")], "{}"), (400, "mime: no media type".into()));
        assert_eq!(refused("PATCH", "/v1/a", &[("content-type", "application/json")], "{}").0, 415);
    }

    fn token(headers: &[(&str, &str)]) -> Option<String> {
        match call("GET", "/v1/a", headers, "").credential {
            Credential::None => None,
            Credential::Basic(pair) => Some(format!("basic {}", pair.expose())),
            Credential::Token(token) => Some(token.expose().clone()),
        }
    }

    #[test]
    fn tokens_come_in_two_headers() {
        assert_eq!(token(&[]), None);
        assert_eq!(token(&[("x-vault-token", "")]), None);
        assert_eq!(token(&[("x-vault-token", "hvs.a")]).as_deref(), Some("hvs.a"));
        assert_eq!(token(&[("authorization", "Bearer hvs.b")]).as_deref(), Some("hvs.b"));
        assert_eq!(token(&[("authorization", "bearer  hvs.b ")]).as_deref(), Some("hvs.b"));
        assert_eq!(token(&[("authorization", "Bearer hvs.b"), ("x-vault-token", "hvs.a")]).as_deref(), Some("hvs.a"));
        assert_eq!(token(&[("authorization", "Basic aHVzOng=")]).as_deref(), Some("basic aHVzOng="));
        assert_eq!(token(&[("authorization", "basic aHVzOng="), ("x-vault-token", "hvs.a")]).as_deref(), Some("hvs.a"));
        for other in ["Basic", "Basic é", "Bearer", "Bearer ", "hvs.b", "", "AWS4-HMAC-SHA256 Credential=x"] {
            assert_eq!(token(&[("authorization", other)]), None, "{other}");
        }
        for header in [("x-vault-token", "é"), ("authorization", "Bearer a b"), ("authorization", "Bearer \u{e9}")] {
            assert_eq!(refused("GET", "/v1/a", &[header], "").0, 400);
        }
    }

    #[test]
    fn wrapping_is_asked_for_in_headers() {
        let ask = |headers: &[(&str, &str)]| call("GET", "/v1/a", headers, "").wrap;
        assert_eq!(ask(&[]), None);
        assert_eq!(ask(&[("x-vault-wrap-ttl", "0")]), None);
        assert_eq!(ask(&[("x-vault-wrap-ttl", "")]), None);
        assert_eq!(ask(&[("x-vault-wrap-format", "jwt")]), None);
        assert_eq!(ask(&[("x-vault-wrap-ttl", "60")]), Some(WrapAsk { ttl: Span::from_secs(60), jwt: false }));
        let jwt = [("x-vault-wrap-ttl", "5m"), ("x-vault-wrap-format", "jwt")];
        assert_eq!(ask(&jwt), Some(WrapAsk { ttl: Span::from_secs(300), jwt: true }));
        let bad = |value: &str| refused("GET", "/v1/a", &[("x-vault-wrap-ttl", value)], "").1;
        assert_eq!(bad("bogus"), "error parsing X-Vault-Wrap-TTL header: time: invalid duration \"bogus\"");
        assert_eq!(bad("-5"), "error parsing X-Vault-Wrap-TTL header: requested wrap ttl cannot be negative");
        assert!(bad("1.5").starts_with("error parsing X-Vault-Wrap-TTL header: "));
        assert!(bad("\u{e9}").starts_with("error parsing X-Vault-Wrap-TTL header: "));
    }

    #[test]
    fn there_is_one_namespace() {
        for name in ["", "/", "root", "root/"] {
            assert!(send("GET", "/v1/a", &[("x-vault-namespace", name)], "").is_ok(), "{name}");
        }
        for name in ["ns1", "ns1/", "ROOT", "root/x", "../root", "\u{e9}"] {
            assert_eq!(refused("GET", "/v1/a", &[("x-vault-namespace", name)], ""), (404, "namespace not found".into()));
        }
    }

    #[test]
    fn no_credential_stands_among_the_headers() {
        let sent = [
            ("X-Vault-Token", "canary1"),
            ("Authorization", "Basic canary2"),
            ("Proxy-Authorization", "canary3"),
            ("Cookie", "canary4"),
            ("User-Agent", "curl"),
            ("X-Request-Id", "é"),
        ];
        let kept = call("GET", "/v1/a", &sent, "").headers;
        let kept: Vec<(&str, &str)> = kept.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(kept, [("user-agent", "curl"), ("x-request-id", "é")]);
    }

    proptest! {
        #[test]
        fn no_request_panics(
            method in "GET|POST|PUT|PATCH|LIST|DELETE",
            path in "(%[0-9a-f]{2}|[a./%2e;]){0,12}",
            query in "(list=|help=|&|=|%[0-9a-g]{2}|[a1]){0,8}",
            body in prop::collection::vec(any::<u8>(), 0..24),
            kind in "application/(json|merge-patch\\+json|x-www-form-urlencoded|octet-stream)|;|",
        ) {
            let Ok(uri) = format!("/v1/{path}?{query}").parse::<http::Uri>() else { return Ok(()) };
            let request = Request::builder().method(method.as_str()).uri(uri).header("content-type", kind).body(()).unwrap();
            let cx = DecodeContext {
                id: "0".into(),
                remote: Remote { ip: None, port: 0, certificate: None },
                listener: Arc::default(),
                limits: &BodyLimits::default(),
            };
            if let Ok(call) = decode(&request.into_parts().0, &body, cx) {
                prop_assert_eq!(Path::parse(call.path.as_str()), Ok(call.path));
            }
        }
    }
}
