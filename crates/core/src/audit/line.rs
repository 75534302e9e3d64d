//! The two lines of a call, in Vault's form, written straight into a byte buffer.

use super::broker::Headers;
use super::entry::{Entry, MountInfo, TokenInfo, client_id};
use super::mask::{Mask, quote};
use coffer_engine::reply::{Answer, Auth, WrapInfo};
use coffer_engine::{Credential, Fields, MountClass, TokenKind};
use coffer_types::{Dialect, Error, Json, Kind, Object, Operation, Timestamp};
use std::collections::BTreeMap;

/// What the line of the reply needs besides the reply: kept from the line of the request, because by then the
/// call may be gone. Nothing in it is secret.
pub(super) struct Kept {
    /// The members `mount_point` to `mount_class`, with a comma behind each.
    mount: Vec<u8>,
    clear: Vec<String>,
    listing: bool,
}

impl Kept {
    pub(super) fn of(entry: &Entry<'_>) -> Self {
        let mut mount = Vec::new();
        let mut clear = Vec::new();
        if let Some(info) = &entry.mount {
            mount_members(info, "mount_running_plugin_version", &mut mount);
            clear = info.clear_response.to_vec();
        }
        Self { mount, clear, listing: matches!(entry.operation, Operation::List | Operation::Scan) }
    }
}

/// The beginning of a line.
pub(super) fn head(response: bool, now: Timestamp, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"time\":\"");
    rfc3339(now, out);
    out.extend_from_slice(if response { b"\",\"type\":\"response\"," } else { b"\",\"type\":\"request\"," });
}

/// `"auth":{…},"request":{…}`: the same bytes in both lines.
pub(super) fn middle(entry: &Entry<'_>, mask: &Mask<'_>, headers: &Headers, out: &mut Vec<u8>) {
    // Token and accessor stand twice in every line; they are hashed once.
    let mut token = Vec::new();
    if let Credential::Token(text) = &entry.call.credential {
        mask.text(text.expose(), &mut token);
    }
    let mut accessor = Vec::new();
    if let Some(info) = &entry.token
        && !info.principal.accessor.is_empty()
    {
        mask.accessor(&info.principal.accessor, &mut accessor);
    }
    out.extend_from_slice(b"\"auth\":{");
    auth(entry, &token, &accessor, out);
    close(out);
    out.extend_from_slice(b",\"request\":{");
    request(entry, mask, headers, &token, &accessor, out);
    close(out);
}

/// The end of the line of a request: the reason if it goes no further, and the newline.
pub(super) fn request_end(error: Option<&Error>, out: &mut Vec<u8>) {
    if let Some(reason) = error.and_then(reason) {
        out.extend_from_slice(b",\"error\":");
        quote(reason, out);
    }
    out.extend_from_slice(b"}\n");
}

/// The end of the line of a reply.
pub(super) fn response_end(kept: &Kept, outcome: Result<&Answer, &Error>, mask: &Mask<'_>, elide: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"response\":{");
    match outcome {
        Ok(answer) => response(kept, answer, mask, elide, out),
        Err(error) => {
            out.extend_from_slice(&kept.mount);
            if !error.public().is_empty() {
                // The text may quote names from the request, so it is masked; the reason beside it is not.
                out.extend_from_slice(b"\"data\":{\"error\":");
                mask.text(error.public(), out);
                out.push(b'}');
            }
        }
    }
    close(out);
    request_end(outcome.err(), out);
}

/// The line that a new device is tried with.
pub(super) fn test(now: Timestamp, id: &str, out: &mut Vec<u8>) {
    head(false, now, out);
    out.extend_from_slice(b"\"auth\":{\"token_type\":\"default\"},\"request\":{");
    text(out, "id", id);
    text(out, "operation", Operation::Update.as_str());
    out.extend_from_slice(b"\"namespace\":{\"id\":\"root\"},");
    text(out, "path", "sys/audit/test");
    close(out);
    request_end(None, out);
}

/// A fixed text for each kind of error, in the reference's words where it has some: what an auditor may
/// read without any input of the client in it. A miss is no error.
fn reason(error: &Error) -> Option<&'static str> {
    Some(match error.kind() {
        Kind::NotFound if error.public().is_empty() => return None,
        Kind::BadRequest | Kind::Precondition | Kind::TooLarge => "1 error occurred:\n\t* invalid request\n\n",
        Kind::Denied => "1 error occurred:\n\t* permission denied\n\n",
        Kind::NotFound => "1 error occurred:\n\t* unsupported path\n\n",
        Kind::Unsupported => "1 error occurred:\n\t* unsupported operation\n\n",
        Kind::TooMany => "rate limit quota exceeded",
        Kind::Sealed => "Vault is sealed",
        Kind::Unavailable => "service unavailable",
        Kind::NotImplemented => "not implemented",
        Kind::Upstream => "upstream error",
        Kind::Internal => "internal error",
    })
}

fn auth(entry: &Entry<'_>, token: &[u8], accessor: &[u8], out: &mut Vec<u8>) {
    member(out, "client_token", token);
    member(out, "accessor", accessor);
    if let Some(info) = &entry.token {
        text(out, "display_name", &info.principal.display_name);
        texts(out, "policies", &info.principal.policies);
        texts(out, "token_policies", info.token_policies);
        texts(out, "identity_policies", info.identity_policies);
    }
    if let Some(decision) = &entry.decision {
        name(out, "policy_results");
        out.extend_from_slice(if decision.allowed { b"{\"allowed\":true" } else { b"{\"allowed\":false" });
        if decision.allowed && !decision.granting.is_empty() {
            out.extend_from_slice(b",\"granting_policies\":[");
            for (n, policy) in decision.granting.iter().enumerate() {
                out.extend_from_slice(if n > 0 { b",{\"name\":" } else { b"{\"name\":" });
                quote(policy, out);
                out.extend_from_slice(b",\"namespace_id\":\"root\",\"type\":\"acl\"}");
            }
            out.push(b']');
        }
        out.extend_from_slice(b"},");
    }
    match &entry.token {
        None => text(out, "token_type", "default"),
        Some(info) => token_members(info, out),
    }
}

fn token_members(info: &TokenInfo<'_>, out: &mut Vec<u8>) {
    pairs(out, "metadata", info.metadata);
    if let Some(uses) = info.remaining_uses {
        number(out, "remaining_uses", i64::try_from(uses).unwrap_or(i64::MAX));
    }
    text(out, "entity_id", &info.principal.entity_id);
    text(out, "token_type", info.principal.kind.as_str());
    if info.ttl.secs() != 0 {
        number(out, "token_ttl", info.ttl.secs());
    }
    if !info.issued.is_never() {
        name(out, "token_issue_time");
        out.push(b'"');
        rfc3339(Timestamp::from_secs(info.issued.secs()), out);
        out.extend_from_slice(b"\",");
    }
}

fn request(entry: &Entry<'_>, mask: &Mask<'_>, headers: &Headers, token: &[u8], accessor: &[u8], out: &mut Vec<u8>) {
    let call = entry.call;
    text(out, "id", &call.id);
    if let Some(info) = &entry.token {
        text(out, "client_id", &client_id(info.principal));
    }
    text(out, "operation", entry.operation.as_str());
    if let Some(mount) = &entry.mount {
        mount_members(mount, "mount_running_version", out);
    }
    member(out, "client_token", token);
    member(out, "client_token_accessor", accessor);
    out.extend_from_slice(b"\"namespace\":{\"id\":\"root\"},");
    name(out, "path");
    quote(call.path.as_str(), out);
    out.push(b',');
    if call.dialect != Dialect::Vault {
        text(out, "dialect", call.dialect.as_str());
    }
    if let Some(verb) = &call.verb {
        text(out, "verb", verb);
    }
    request_data(&call.fields, entry, mask, out);
    if let Some(ip) = call.remote.ip {
        name(out, "remote_address");
        out.extend_from_slice(format!("\"{ip}\",\"remote_port\":{},", call.remote.port).as_bytes());
    }
    if let Some(wrap) = &call.wrap {
        number(out, "wrap_ttl", wrap.ttl.secs());
    }
    header_members(&call.headers, headers, mask, out);
}

/// Query and body in one object, as a handler sees them; where both have a name, an array of the two.
fn request_data(fields: &Fields, entry: &Entry<'_>, mask: &Mask<'_>, out: &mut Vec<u8>) {
    if fields.query.is_empty() && fields.body.is_empty() && fields.raw.is_none() {
        return;
    }
    let mount_clear = entry.mount.map_or(&[][..], |m| m.clear_request);
    let clear: Vec<&str> = mount_clear.iter().map(String::as_str).chain(entry.plain.iter().copied()).collect();
    name(out, "data");
    if fields.query.is_empty() {
        mask.object(&fields.body, &clear, out);
    } else {
        let mut both = fields.body.clone();
        for (field, text) in &fields.query {
            let value = match both.get_mut(field) {
                None => Json::string(&**text),
                Some(other) => Json::Array(vec![Json::string(&**text), std::mem::take(other)]),
            };
            both.insert(field.clone(), value);
        }
        mask.object(&both, &clear, out);
    }
    if let Some(raw) = &fields.raw {
        out.pop();
        if out.last() != Some(&b'{') {
            out.push(b',');
        }
        out.extend_from_slice(b"\"http_raw_body\":");
        mask.bytes(raw, out);
        out.push(b'}');
    }
    out.push(b',');
}

fn header_members(present: &[(Box<str>, Box<str>)], wanted: &Headers, mask: &Mask<'_>, out: &mut Vec<u8>) {
    let mut any = false;
    for (header, masked) in wanted {
        let mut values = present.iter().filter(|(name, _)| name == header).map(|(_, value)| value).peekable();
        if values.peek().is_none() {
            continue;
        }
        if std::mem::replace(&mut any, true) {
            out.push(b',');
        } else {
            out.extend_from_slice(b"\"headers\":{");
        }
        quote(header, out);
        out.extend_from_slice(b":[");
        for (n, value) in values.enumerate() {
            if n > 0 {
                out.push(b',');
            }
            if *masked { mask.text(value, out) } else { quote(value, out) }
        }
        out.push(b']');
    }
    if any {
        out.extend_from_slice(b"},");
    }
}

fn mount_members(mount: &MountInfo<'_>, version: &'static str, out: &mut Vec<u8>) {
    text(out, "mount_point", mount.point);
    text(out, "mount_type", mount.kind);
    text(out, "mount_accessor", mount.accessor);
    text(out, version, mount.version);
    text(out, "mount_class", if mount.class == MountClass::Auth { "auth" } else { "secret" });
}

fn response(kept: &Kept, answer: &Answer, mask: &Mask<'_>, elide: bool, out: &mut Vec<u8>) {
    if let Some(auth) = &answer.auth {
        response_auth(auth, mask, out);
    }
    out.extend_from_slice(&kept.mount);
    if let Some(lease) = &answer.leased {
        name(out, "secret");
        out.push(b'{');
        text(out, "lease_id", &lease.id);
        close(out);
        out.push(b',');
    }
    if let Some(raw) = &answer.raw {
        name(out, "data");
        out.push(b'{');
        text(out, "http_content_type", raw.content_type);
        name(out, "http_raw_body");
        mask.bytes(&raw.body, out);
        out.push(b',');
        number(out, "http_status_code", i64::from(answer.status.unwrap_or(200)));
        close(out);
        out.push(b',');
    } else if let Some(data) = &answer.data {
        name(out, "data");
        if elide && kept.listing {
            elided(data, &kept.clear, mask, out)
        } else {
            mask.object(data, &kept.clear, out)
        }
        out.push(b',');
    }
    if !answer.warnings.is_empty() {
        name(out, "warnings");
        list(answer.warnings.iter().map(String::as_str), out);
        out.push(b',');
    }
    if let Some(wrap) = &answer.wrap {
        wrap_info(wrap, mask, out);
    }
}

/// `elide_list_responses`: how many instead of which.
fn elided(data: &Object, clear: &[String], mask: &Mask<'_>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (field, value) in data.iter() {
        match (field, value) {
            ("keys", Json::Array(items)) => number(out, "keys", i64::try_from(items.len()).unwrap_or(i64::MAX)),
            ("key_info", Json::Object(items)) => number(out, "key_info", i64::try_from(items.len()).unwrap_or(i64::MAX)),
            _ => {
                quote(field, out);
                out.push(b':');
                mask.field(field, value, clear, out);
                out.push(b',');
            }
        }
    }
    close(out);
}

fn response_auth(auth: &Auth, mask: &Mask<'_>, out: &mut Vec<u8>) {
    name(out, "auth");
    out.push(b'{');
    name(out, "client_token");
    mask.text(auth.client_token.expose(), out);
    out.push(b',');
    if !auth.accessor.is_empty() {
        name(out, "accessor");
        mask.accessor(&auth.accessor, out);
        out.push(b',');
    }
    text(out, "display_name", &auth.display_name);
    texts(out, "policies", &auth.policies);
    texts(out, "token_policies", &auth.token_policies);
    texts(out, "identity_policies", &auth.identity_policies);
    if let Some(metadata) = &auth.metadata {
        pairs(out, "metadata", metadata);
    }
    if auth.num_uses > 0 {
        number(out, "num_uses", i64::try_from(auth.num_uses).unwrap_or(i64::MAX));
    }
    text(out, "entity_id", &auth.entity_id);
    text(
        out,
        "token_type",
        match auth.kind {
            TokenKind::Service => "service",
            TokenKind::Batch => "batch",
        },
    );
    if auth.lease_duration != 0 {
        number(out, "token_ttl", auth.lease_duration);
    }
    close(out);
    out.push(b',');
}

fn wrap_info(wrap: &WrapInfo, mask: &Mask<'_>, out: &mut Vec<u8>) {
    name(out, "wrap_info");
    out.push(b'{');
    number(out, "ttl", wrap.ttl);
    name(out, "token");
    mask.text(wrap.token.expose(), out);
    out.push(b',');
    name(out, "accessor");
    mask.accessor(&wrap.accessor, out);
    out.push(b',');
    text(out, "creation_time", &wrap.creation_time);
    text(out, "creation_path", &wrap.creation_path);
    if !wrap.wrapped_accessor.is_empty() {
        name(out, "wrapped_accessor");
        mask.accessor(&wrap.wrapped_accessor, out);
    }
    close(out);
    out.push(b',');
}

/// Closes an object whose members each left a comma behind.
fn close(out: &mut Vec<u8>) {
    if out.last() == Some(&b',') {
        out.pop();
    }
    out.push(b'}');
}

/// A name that needs no escaping: one of ours.
fn name(out: &mut Vec<u8>, name: &'static str) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// A member of rendered JSON; left out if there is none.
fn member(out: &mut Vec<u8>, key: &'static str, json: &[u8]) {
    if !json.is_empty() {
        name(out, key);
        out.extend_from_slice(json);
        out.push(b',');
    }
}

/// A text member; left out if empty.
fn text(out: &mut Vec<u8>, key: &'static str, value: &str) {
    if !value.is_empty() {
        name(out, key);
        quote(value, out);
        out.push(b',');
    }
}

fn number(out: &mut Vec<u8>, key: &'static str, value: i64) {
    name(out, key);
    out.extend_from_slice(value.to_string().as_bytes());
    out.push(b',');
}

fn texts<T: AsRef<str>>(out: &mut Vec<u8>, key: &'static str, values: &[T]) {
    if !values.is_empty() {
        name(out, key);
        list(values.iter().map(AsRef::as_ref), out);
        out.push(b',');
    }
}

fn list<'t>(values: impl Iterator<Item = &'t str>, out: &mut Vec<u8>) {
    out.push(b'[');
    for (n, value) in values.enumerate() {
        if n > 0 {
            out.push(b',');
        }
        quote(value, out);
    }
    out.push(b']');
}

fn pairs(out: &mut Vec<u8>, key: &'static str, values: &BTreeMap<String, String>) {
    if !values.is_empty() {
        name(out, key);
        out.push(b'{');
        for (field, value) in values {
            quote(field, out);
            out.push(b':');
            quote(value, out);
            out.push(b',');
        }
        close(out);
        out.push(b',');
    }
}

/// As [`Timestamp::rfc3339`] writes, without an allocation: this runs twice a request.
fn rfc3339(time: Timestamp, out: &mut Vec<u8>) {
    let secs = time.secs();
    let days = secs.div_euclid(86_400);
    // Days since 1970 in the proleptic Gregorian calendar, counted from 0000-03-01 so that leap days stand last.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let second = secs.rem_euclid(86_400);
    for (value, width, after) in [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (day, 2, b'T'),
        (second / 3_600, 2, b':'),
        (second / 60 % 60, 2, b':'),
        (second % 60, 2, b'.'),
        (time.0.rem_euclid(1_000_000_000), 9, b'Z'),
    ] {
        digits(value, width, out);
        out.push(after);
    }
    // No trailing zeros in the fraction, nor a fraction of nothing, as Go writes.
    out.pop();
    while out.last() == Some(&b'0') {
        out.pop();
    }
    if out.last() == Some(&b'.') {
        out.pop();
    }
    out.push(b'Z');
}

fn digits(value: i64, width: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + width, b'0');
    let mut rest = value;
    for digit in out[start..].iter_mut().rev() {
        // `rest % 10` is below ten: the cast keeps it.
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}
