//! An answer becomes a response.
//!
//! The document is written straight into one buffer whose size is known beforehand: no tree in between, no
//! reallocation that would leave a copy of a secret behind. The buffer is wiped when the response was sent.

use bytes::Bytes;
use coffer_engine::Answer;
use coffer_engine::reply::{Auth, RawAnswer, WrapInfo};
use coffer_types::json::{object_size_bound, string_size_bound, write, write_object, write_string};
use coffer_types::{Error, Kind};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use std::io::Write as _;
use zeroize::Zeroizing;

/// What rendering needs to know of the request.
#[derive(Clone, Copy, Debug)]
pub struct Rendering<'a> {
    /// The id of the call, shown as `request_id`.
    pub id: &'a str,
    /// The request was a HEAD: same headers, no body.
    pub head: bool,
}

/// Renders what the core gave.
pub fn encode(result: Result<Answer, Error>, to: Rendering<'_>) -> Response<Bytes> {
    match result {
        Ok(answer) => render(answer, to),
        Err(error) => json_response(status(error.kind()), render_errors(error.public()), to.head),
    }
}

/// Whose fault becomes which status. A failed check-and-set is 400 in Vault.
pub const fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::BadRequest | Kind::Precondition => StatusCode::BAD_REQUEST,
        Kind::Denied => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Unsupported => StatusCode::METHOD_NOT_ALLOWED,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::TooMany => StatusCode::TOO_MANY_REQUESTS,
        Kind::Sealed | Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
        // What failed outside is a failure like any other in Vault's API.
        Kind::Upstream | Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

pub(super) const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000; includeSubDomains");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

fn render(mut answer: Answer, to: Rendering<'_>) -> Response<Bytes> {
    let headers = std::mem::take(&mut answer.headers);
    let mut response = match answer.raw.take() {
        Some(raw) => raw_response(answer.status, raw, to.head),
        None => document_response(&answer, to),
    };
    for (name, value) in headers {
        // What an engine names wrongly is left out: the answer itself is good.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn document_response(answer: &Answer, to: Rendering<'_>) -> Response<Bytes> {
    let says = answer.data.is_some()
        || answer.auth.is_some()
        || answer.mfa.is_some()
        || answer.wrap.is_some()
        || answer.leased.is_some()
        || !answer.warnings.is_empty();
    let code = answer.status.map_or(if says { StatusCode::OK } else { StatusCode::NO_CONTENT }, checked);
    let body = if matches!(code, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        Zeroizing::default()
    } else if !says && code.as_u16() >= 400 {
        render_errors("")
    } else if answer.bare {
        bare(answer)
    } else {
        envelope(answer, to.id)
    };
    json_response(code, body, to.head)
}

/// A status that an engine chose. One that is no final answer can't be sent.
fn checked(code: u16) -> StatusCode {
    StatusCode::from_u16(code).ok().filter(|_| (200..600).contains(&code)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn bare(answer: &Answer) -> Zeroizing<Vec<u8>> {
    let Some(data) = &answer.data else { return Zeroizing::default() };
    let mut out = Zeroizing::new(Vec::with_capacity(object_size_bound(data) + 1));
    write_object(data, &mut out);
    out.push(b'\n');
    out
}

/// The members that every reply has.
const ENVELOPE: [&str; 8] = ["request_id", "lease_id", "renewable", "lease_duration", "data", "wrap_info", "warnings", "auth"];

fn envelope(answer: &Answer, id: &str) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(bound(answer, id)));
    let buffer = &mut *out;
    buffer.push(b'{');
    if answer.mirrored
        && let Some(data) = &answer.data
    {
        for (name, value) in data.iter().filter(|(name, _)| !ENVELOPE.contains(name)) {
            write_string(name, buffer);
            buffer.push(b':');
            write(value, buffer);
            buffer.push(b',');
        }
    }
    // What is wrapped says nothing of the call that it came from.
    text(buffer, "\"request_id\":", if answer.wrap.is_some() { "" } else { id });
    let (lease, seconds, renewable) = answer.leased.as_ref().map_or(("", 0, false), |l| (&*l.id, l.seconds, l.renewable));
    text(buffer, ",\"lease_id\":", lease);
    flag(buffer, ",\"renewable\":", renewable);
    number(buffer, ",\"lease_duration\":", seconds);
    buffer.extend_from_slice(b",\"data\":");
    match &answer.data {
        Some(data) => write_object(data, buffer),
        None => buffer.extend_from_slice(b"null"),
    }
    buffer.extend_from_slice(b",\"wrap_info\":");
    match &answer.wrap {
        Some(wrap) => wrap_info(buffer, wrap),
        None => buffer.extend_from_slice(b"null"),
    }
    buffer.extend_from_slice(b",\"warnings\":");
    if answer.warnings.is_empty() {
        buffer.extend_from_slice(b"null");
    } else {
        texts(buffer, &answer.warnings);
    }
    buffer.extend_from_slice(b",\"auth\":");
    match (&answer.auth, &answer.mfa) {
        (Some(auth), _) => write_auth(buffer, auth),
        (None, Some(required)) => {
            // A login without a token yet: every member is there, and says nothing.
            buffer.extend_from_slice(b"{\"client_token\":\"\",\"accessor\":\"\",\"policies\":null,\"metadata\":null,");
            buffer.extend_from_slice(b"\"lease_duration\":0,\"renewable\":false,\"entity_id\":\"\",\"token_type\":\"default\",");
            buffer.extend_from_slice(b"\"orphan\":false,\"num_uses\":0,\"mfa_requirement\":");
            write_object(required, buffer);
            buffer.push(b'}');
        }
        (None, None) => buffer.extend_from_slice(b"null"),
    }
    buffer.extend_from_slice(b"}\n");
    out
}

fn wrap_info(out: &mut Vec<u8>, wrap: &WrapInfo) {
    text(out, "{\"token\":", wrap.token.expose());
    text(out, ",\"accessor\":", &wrap.accessor);
    number(out, ",\"ttl\":", wrap.ttl);
    text(out, ",\"creation_time\":", &wrap.creation_time);
    text(out, ",\"creation_path\":", &wrap.creation_path);
    if !wrap.wrapped_accessor.is_empty() {
        text(out, ",\"wrapped_accessor\":", &wrap.wrapped_accessor);
    }
    out.push(b'}');
}

fn write_auth(out: &mut Vec<u8>, auth: &Auth) {
    text(out, "{\"client_token\":", auth.client_token.expose());
    text(out, ",\"accessor\":", &auth.accessor);
    out.extend_from_slice(b",\"policies\":");
    texts(out, &auth.policies);
    out.extend_from_slice(b",\"token_policies\":");
    texts(out, &auth.token_policies);
    if !auth.identity_policies.is_empty() {
        out.extend_from_slice(b",\"identity_policies\":");
        texts(out, &auth.identity_policies);
    }
    out.extend_from_slice(b",\"metadata\":");
    match &auth.metadata {
        None => out.extend_from_slice(b"null"),
        Some(metadata) => {
            out.push(b'{');
            for (n, (name, value)) in metadata.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                write_string(name, out);
                out.push(b':');
                write_string(value, out);
            }
            out.push(b'}');
        }
    }
    number(out, ",\"lease_duration\":", auth.lease_duration);
    flag(out, ",\"renewable\":", auth.renewable);
    text(out, ",\"entity_id\":", &auth.entity_id);
    text(out, ",\"token_type\":", auth.kind.as_str());
    flag(out, ",\"orphan\":", auth.orphan);
    out.extend_from_slice(b",\"mfa_requirement\":null");
    out.extend_from_slice(b",\"num_uses\":");
    decimal(out, auth.num_uses);
    out.push(b'}');
}

/// At least the length of the envelope: names and punctuation, and every text at its longest.
fn bound(answer: &Answer, id: &str) -> usize {
    let list = |texts: &[String]| 2 + texts.iter().map(|t| 1 + string_size_bound(t)).sum::<usize>();
    let data = answer.data.as_ref().map_or(4, object_size_bound);
    let mut bound = 256 + string_size_bound(id) + data * if answer.mirrored { 2 } else { 1 } + list(&answer.warnings);
    if let Some(leased) = &answer.leased {
        bound += string_size_bound(&leased.id);
    }
    if let Some(wrap) = &answer.wrap {
        let texts = [wrap.token.expose(), &wrap.accessor, &wrap.creation_time, &wrap.creation_path, &wrap.wrapped_accessor];
        bound += 128 + texts.iter().map(|t| string_size_bound(t)).sum::<usize>();
    }
    if let Some(required) = &answer.mfa {
        bound += 320 + object_size_bound(required);
    }
    if let Some(auth) = &answer.auth {
        bound += 320 + string_size_bound(auth.client_token.expose()) + string_size_bound(&auth.accessor);
        bound += string_size_bound(&auth.entity_id);
        bound += list(&auth.policies) + list(&auth.token_policies) + list(&auth.identity_policies);
        bound += auth.metadata.iter().flatten().map(|(k, v)| 2 + string_size_bound(k) + string_size_bound(v)).sum::<usize>();
    }
    bound
}

fn text(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    write_string(value, out);
}

fn flag(out: &mut Vec<u8>, name: &str, value: bool) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

fn number(out: &mut Vec<u8>, name: &str, value: i64) {
    out.extend_from_slice(name.as_bytes());
    decimal(out, value);
}

fn decimal(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    // Writing to a vector does not fail.
    if write!(out, "{value}").is_err() {
        out.push(b'0');
    }
}

fn texts(out: &mut Vec<u8>, texts: &[String]) {
    out.push(b'[');
    for (n, text) in texts.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_string(text, out);
    }
    out.push(b']');
}

/// `{"errors":[…]}`; an empty message is an empty list.
pub(super) fn render_errors(message: &str) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(16 + string_size_bound(message)));
    out.extend_from_slice(b"{\"errors\":[");
    if !message.is_empty() {
        write_string(message, &mut out);
    }
    out.extend_from_slice(b"]}\n");
    out
}

pub(super) fn json_response(status: StatusCode, body: Zeroizing<Vec<u8>>, head: bool) -> Response<Bytes> {
    response(status, JSON, body, head)
}

/// The engine's own body; an empty one without a status of its own is 204, and 200 where the request was a HEAD (RFC 8555 section 7.2).
fn raw_response(status: Option<u16>, raw: RawAnswer, head: bool) -> Response<Bytes> {
    let kind = HeaderValue::try_from(raw.content_type).unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let nothing = raw.body.is_empty() && !head;
    let code = status.map_or(if nothing { StatusCode::NO_CONTENT } else { StatusCode::OK }, checked);
    let body = if code == StatusCode::NO_CONTENT { Vec::new() } else { raw.body };
    response(code, kind, Zeroizing::new(body), head)
}

fn response(status: StatusCode, kind: HeaderValue, body: Zeroizing<Vec<u8>>, head: bool) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(6);
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
    if head {
        // What the GET would have sent.
        if !body.is_empty() {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
    } else if !body.is_empty() {
        *response.body_mut() = Bytes::from_owner(Sent::from(body));
    }
    response
}

/// A rendered body on its way. Dropped, and so wiped, when its last byte was handed to the connection: at once and not byte by
/// byte, as `Zeroizing` does with vectors. What lies behind its end was never written.
struct Sent(Vec<u8>);

impl From<Zeroizing<Vec<u8>>> for Sent {
    fn from(mut rendered: Zeroizing<Vec<u8>>) -> Self {
        Self(std::mem::take(&mut *rendered))
    }
}

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        zeroize::zeroize_bytes(&mut self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_engine::TokenKind;
    use coffer_engine::reply::{Leased, Reply};
    use coffer_types::json::{Limits, parse};
    use coffer_types::{Json, Object, Secret};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const TO: Rendering<'static> = Rendering { id: "e1c4416b-2841-66b1-e1e0-d9287b10f817", head: false };

    fn sent(answer: Answer) -> (u16, String) {
        let response = encode(Ok(answer), TO);
        (response.status().as_u16(), String::from_utf8(response.body().to_vec()).unwrap())
    }

    fn json(text: &str) -> Json {
        parse(text.as_bytes(), &Limits::NONE).unwrap()
    }

    fn object(text: &str) -> Object {
        json(text).into_object().unwrap()
    }

    #[test]
    fn an_envelope_is_as_recorded() {
        let (status, body) = sent(Reply::data(object(r#"{"keys":["a","b<&>"]}"#)).into_answer());
        assert_eq!(status, 200);
        assert_eq!(
            body,
            concat!(
                r#"{"request_id":"e1c4416b-2841-66b1-e1e0-d9287b10f817","lease_id":"","renewable":false,"lease_duration":0,"#,
                r#""data":{"keys":["a","b<&>"]},"wrap_info":null,"warnings":null,"auth":null}"#,
                "\n"
            )
        );
    }

    #[test]
    fn every_answer_has_the_headers() {
        for result in [Ok(Reply::<()>::empty().into_answer()), Ok(Reply::data(Object::new()).into_answer()), Err(Error::denied())]
        {
            let response = encode(result, TO);
            assert_eq!(response.headers()["cache-control"], "no-store");
            assert_eq!(response.headers()["content-type"], "application/json");
            assert_eq!(response.headers()["strict-transport-security"], "max-age=31536000; includeSubDomains");
        }
    }

    #[test]
    fn statuses_follow_from_what_is_said() {
        assert_eq!(sent(Answer::default()), (204, String::new()));
        assert_eq!(sent(Reply::list(Vec::new()).into_answer()), (404, "{\"errors\":[]}\n".into()));
        assert_eq!(sent(Answer { status: Some(204), ..Reply::data(object(r#"{"a":1}"#)).into_answer() }), (204, String::new()));
        let (status, body) = sent(Reply::missing_with(object(r#"{"data":null}"#)).into_answer());
        assert_eq!((status, json(&body).at("data/data")), (404, Some(&Json::Null)));
        let (status, body) = sent(Reply::<()>::empty().status(404).warn("Invalid path").into_answer());
        assert_eq!((status, json(&body).get("data")), (404, Some(&Json::Null)));
        assert_eq!(json(&body).at("warnings/0"), Some(&Json::string("Invalid path")));
        assert_eq!(sent(Reply::<()>::empty().status(202).warn("started").into_answer()).0, 202);
        for impossible in [0, 99, 100, 150, 199, 600, 999, 1000] {
            assert_eq!(sent(Reply::<()>::empty().status(impossible).into_answer()).0, 500, "{impossible}");
        }
    }

    #[test]
    fn every_kind_has_its_status() {
        for (kind, code) in [
            (Kind::BadRequest, 400),
            (Kind::Denied, 403),
            (Kind::NotFound, 404),
            (Kind::Unsupported, 405),
            (Kind::Precondition, 400),
            (Kind::TooLarge, 413),
            (Kind::TooMany, 429),
            (Kind::Sealed, 503),
            (Kind::Unavailable, 503),
            (Kind::NotImplemented, 501),
            (Kind::Upstream, 500),
            (Kind::Internal, 500),
        ] {
            let response = encode(Err(Error::new(kind, "why \"so\"")), TO);
            assert_eq!(response.status(), code, "{kind:?}");
            assert_eq!(&response.body()[..], b"{\"errors\":[\"why \\\"so\\\"\"]}\n");
        }
    }

    #[test]
    fn a_cause_is_for_the_log_only() {
        let response = encode(Err(Error::internal("canary-cause").with_code("Canary")), TO);
        assert_eq!(&response.body()[..], b"{\"errors\":[\"internal error\"]}\n");
        assert_eq!(&encode(Err(Error::not_found()), TO).body()[..], b"{\"errors\":[]}\n");
    }

    #[test]
    fn mirrored_members_stand_on_top_and_never_twice() {
        let data = object(r#"{"secret/":{"type":"kv"},"auth":["deny"],"data":["deny"]}"#);
        let (_, body) = sent(Reply::data(data).mirrored().into_answer());
        let body = json(&body);
        assert_eq!(body.at("secret%").or(body.get("secret/")).and_then(|m| m.get("type")), Some(&Json::string("kv")));
        assert_eq!(body.at("data/auth/0"), Some(&Json::string("deny")));
        assert_eq!(body.get("auth"), Some(&Json::Null));
    }

    #[test]
    fn bare_documents_are_the_reply() {
        let (status, body) = sent(Reply::data(object(r#"{"initialized":false}"#)).bare().status(501).into_answer());
        assert_eq!((status, &*body), (501, "{\"initialized\":false}\n"));
        assert_eq!(sent(Reply::data(object("{}")).bare().status(204).into_answer()), (204, String::new()));
    }

    fn auth() -> Auth {
        Auth {
            client_token: Secret::from("s.1Qutwm"),
            accessor: "jun8".into(),
            policies: vec!["app".into(), "default".into()],
            token_policies: vec!["app".into(), "default".into()],
            identity_policies: Vec::new(),
            metadata: Some(BTreeMap::from([("team".to_owned(), "x".to_owned())])),
            lease_duration: 3600,
            renewable: true,
            entity_id: String::new(),
            kind: TokenKind::Service,
            orphan: false,
            num_uses: 0,
            display_name: "token".into(),
        }
    }

    #[test]
    fn logins_and_wrapped_replies_are_as_recorded() {
        let (status, body) = sent(Reply::<()>::auth(auth()).into_answer());
        assert_eq!(status, 200);
        let recorded = concat!(
            r#""auth":{"client_token":"s.1Qutwm","accessor":"jun8","policies":["app","default"],"token_policies":["app","default"],"#,
            r#""metadata":{"team":"x"},"lease_duration":3600,"renewable":true,"entity_id":"","token_type":"service","orphan":false,"#,
            r#""mfa_requirement":null,"num_uses":0}}"#
        );
        assert!(body.trim_end().ends_with(recorded), "{body}");
        let wrap = WrapInfo {
            token: Secret::from("s.x59"),
            accessor: "IpBw".into(),
            ttl: 300,
            creation_time: "2026-11-23T03:23:24.648668023Z".into(),
            creation_path: "sys/wrapping/wrap".into(),
            wrapped_accessor: String::new(),
        };
        let (_, body) = sent(Answer { wrap: Some(wrap), ..Answer::default() });
        let recorded = concat!(
            r#"{"request_id":"","lease_id":"","renewable":false,"lease_duration":0,"data":null,"wrap_info":{"token":"s.x59","accessor":"#,
            r#""IpBw","ttl":300,"creation_time":"2026-11-23T03:23:24.648668023Z","creation_path":"sys/wrapping/wrap"},"#,
            r#""warnings":null,"auth":null}"#
        );
        assert_eq!(body.trim_end(), recorded);
    }

    #[test]
    fn leases_are_shown() {
        let leased = Some(Leased { id: "database/creds/app/x".into(), seconds: 3600, renewable: true });
        let body = json(&sent(Answer { leased, ..Reply::data(object("{}")).into_answer() }).1);
        assert_eq!(body.get("lease_id"), Some(&Json::string("database/creds/app/x")));
        assert_eq!(
            (body.get("lease_duration").and_then(Json::as_i64), body.get("renewable")),
            (Some(3600), Some(&Json::Bool(true)))
        );
    }

    #[test]
    fn raw_bodies_go_out_as_they_are() {
        let response = encode(Ok(Reply::<()>::raw("application/pkix-cert", vec![0x30, 0xff]).into_answer()), TO);
        assert_eq!((response.status().as_u16(), &response.body()[..]), (200, &[0x30, 0xff][..]));
        assert_eq!(response.headers()["content-type"], "application/pkix-cert");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let response = encode(Ok(Reply::<()>::raw("application/pem-certificate-chain", Vec::new()).into_answer()), TO);
        assert_eq!(response.status(), 204);
        let missing = encode(Ok(Reply::<()>::raw("application/json", Vec::new()).status(404).into_answer()), TO);
        assert_eq!((missing.status().as_u16(), missing.body().len()), (404, 0));
        let odd = encode(Ok(Reply::<()>::raw("bad\r\ntype", vec![1]).into_answer()), TO);
        assert_eq!(odd.headers()["content-type"], "application/octet-stream");
    }

    #[test]
    fn engines_add_and_replace_headers() {
        let reply = Reply::data(object("{}"))
            .header("cache-control", "max-age=3600")
            .header("Retry-After", "1")
            .header("x\n", "y")
            .header("x", "\n");
        let response = encode(Ok(reply.into_answer()), TO);
        assert_eq!(response.headers()["cache-control"], "max-age=3600");
        assert_eq!(response.headers()["retry-after"], "1");
        assert!(!response.headers().contains_key("x"));
    }

    #[test]
    fn head_says_how_much_there_would_be() {
        let get = encode(Err(Error::denied()), TO);
        let head = encode(Err(Error::denied()), Rendering { head: true, ..TO });
        assert_eq!(head.status(), 403);
        assert!(head.body().is_empty());
        assert_eq!(head.headers()["content-length"], get.body().len().to_string().as_str());
    }

    proptest! {
        #[test]
        fn the_buffer_never_grows(
            texts in prop::collection::vec("[\\x00-\\x1f\"\\\\a-z€]{0,20}", 1..5),
            number in any::<i64>(), uses in any::<u64>(), mirrored in any::<bool>(), wrapped in any::<bool>(), with_auth in any::<bool>(),
        ) {
            let pick = |n: usize| texts[n % texts.len()].clone();
            let answer = Answer {
                data: Some(texts.iter().map(|t| (t.as_str(), Json::string(t.as_str()))).collect()),
                warnings: texts.clone(),
                mirrored,
                leased: Some(Leased { id: pick(0), seconds: number, renewable: false }),
                auth: with_auth.then(|| Box::new(Auth {
                    client_token: Secret::new(pick(1)),
                    accessor: pick(2),
                    policies: texts.clone(),
                    token_policies: texts.clone(),
                    identity_policies: texts.clone(),
                    metadata: Some(texts.iter().map(|t| (t.clone(), t.clone())).collect()),
                    lease_duration: number,
                    entity_id: pick(3),
                    num_uses: uses,
                    ..auth()
                })),
                wrap: wrapped.then(|| WrapInfo {
                    token: Secret::new(pick(1)),
                    accessor: pick(2),
                    ttl: number,
                    creation_time: pick(0),
                    creation_path: pick(3),
                    wrapped_accessor: pick(4),
                }),
                ..Answer::default()
            };
            let buffer = envelope(&answer, &pick(4));
            prop_assert!(buffer.len() <= bound(&answer, &pick(4)));
            prop_assert!(parse(&buffer, &Limits::NONE).is_ok());
        }
    }
}
