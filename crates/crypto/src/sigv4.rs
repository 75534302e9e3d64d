//! AWS Signature Version 4 (AWS's Signing API requests, "Create a signed AWS API request"): the canonical form of a request and its
//! signature. Whoever signs and whoever verifies computes both the same way; who holds the secret key calls [`SigningKey`].
//!
//! Paths are those of every service but S3: each segment as it stands on the wire is escaped once more, and a path that cleaning
//! would change is not for this function: nobody may sign it.

use std::fmt::Write as _;

use zeroize::Zeroizing;

use crate::mac::{HmacKey, sha256};

/// What every scope ends in.
const TERMINATOR: &str = "aws4_request";
/// The one algorithm.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// A request as it is signed.
pub struct Request<'a> {
    pub method: &'a str,
    /// As it stands on the wire, without the query; begins with `/`.
    pub path: &'a str,
    /// As it stands on the wire, without the `?`.
    pub query: &'a str,
    /// Those that are signed, in any order and case; values without the white space around them.
    pub headers: &'a [(&'a str, &'a str)],
    /// SHA-256 of the body.
    pub payload: [u8; 32],
}

/// Where and when a key may sign.
pub struct Scope<'a> {
    /// `20150830T123600Z`.
    pub time: &'a str,
    pub region: &'a str,
    pub service: &'a str,
}

/// The secret key, derived for one day, region and service.
pub struct SigningKey(HmacKey);

impl Request<'_> {
    /// The canonical request, and the names of the signed headers: `content-type;host;x-amz-date`.
    pub fn canonical(&self) -> (Zeroizing<String>, String) {
        let mut headers: Vec<(String, String)> =
            self.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), one_space(value))).collect();
        // Stable: values of one name stay in the order in which they were sent.
        headers.sort_by(|a, b| a.0.cmp(&b.0));
        let mut lines = Zeroizing::new(String::new());
        let mut names: Vec<&str> = Vec::new();
        for (name, value) in &headers {
            if names.last() == Some(&name.as_str()) {
                lines.pop();
                lines.push(',');
            } else {
                lines.push_str(name);
                lines.push(':');
                names.push(name);
            }
            lines.push_str(value);
            lines.push('\n');
        }
        let names = names.join(";");
        let whole =
            format!("{}\n{}\n{}\n{}\n{names}\n{}", self.method, path(self.path), query(self.query), *lines, hex(&self.payload));
        (Zeroizing::new(whole), names)
    }
}

impl Scope<'_> {
    /// `20150830/us-east-1/iam/aws4_request`
    pub fn text(&self) -> String {
        format!("{}/{}/{}/{TERMINATOR}", self.date(), self.region, self.service)
    }

    /// What is signed, for a canonical request.
    pub fn string_to_sign(&self, canonical: &str) -> String {
        format!("{ALGORITHM}\n{}\n{}\n{}", self.time, self.text(), hex(&sha256(&[canonical.as_bytes()])))
    }

    fn date(&self) -> &str {
        self.time.get(..8).unwrap_or(self.time)
    }
}

impl SigningKey {
    pub fn new(secret: &str, scope: &Scope<'_>) -> Self {
        let secret = Zeroizing::new(format!("AWS4{secret}"));
        let mut key = HmacKey::new(secret.as_bytes());
        for part in [scope.date(), scope.region, scope.service, TERMINATOR] {
            let tag = Zeroizing::new(key.tag(part.as_bytes()));
            key = HmacKey::new(&*tag);
        }
        Self(key)
    }

    /// 64 hexadecimal digits.
    pub fn signature(&self, string_to_sign: &str) -> String {
        hex(&self.0.tag(string_to_sign.as_bytes()))
    }
}

/// The value of the header `Authorization` for a request signed with this key id and secret.
pub fn authorization(request: &Request<'_>, scope: &Scope<'_>, key_id: &str, secret: &str) -> String {
    let (canonical, names) = request.canonical();
    let signature = SigningKey::new(secret, scope).signature(&scope.string_to_sign(&canonical));
    format!("{ALGORITHM} Credential={key_id}/{}, SignedHeaders={names}, Signature={signature}", scope.text())
}

/// White space inside becomes one space.
fn one_space(value: &str) -> String {
    value.split(' ').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

fn path(path: &str) -> String {
    path.split('/').map(|segment| escape(segment.as_bytes())).collect::<Vec<_>>().join("/")
}

/// Names and values escaped in the one way, sorted by name and then by value.
fn query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (escape(&unescape(name)), escape(&unescape(value)))
        })
        .collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// All but RFC 3986's unreserved characters become `%XX`.
fn escape(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(*byte));
        } else {
            // Writing to a String does not fail.
            write!(out, "%{byte:02X}").unwrap_or_default();
        }
        out
    })
}

/// `%XX` becomes its byte; anything else stays.
fn unescape(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        // `from_str_radix` would take a sign.
        match digits.filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit())).and_then(|d| u8::from_str_radix(d, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap_or_default();
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    #[derive(serde::Deserialize)]
    struct Case {
        name: String,
        method: String,
        path: String,
        query: String,
        headers: Vec<(String, String)>,
        body: String,
        canonical: String,
        string_to_sign: String,
        signature: String,
    }

    #[test]
    fn agrees_with_the_published_suite() {
        let scope = Scope { time: "20150830T123600Z", region: "us-east-1", service: "service" };
        let cases: Vec<Case> =
            include_str!("../../../vectors/aws/sigv4.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(cases.len() >= 20, "{}", cases.len());
        for case in cases {
            let headers: Vec<(&str, &str)> = case.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let request = Request {
                method: &case.method,
                path: &case.path,
                query: &case.query,
                headers: &headers,
                payload: sha256(&[case.body.as_bytes()]),
            };
            let (canonical, names) = request.canonical();
            assert_eq!(*canonical, case.canonical, "{}", case.name);
            let string = scope.string_to_sign(&canonical);
            assert_eq!(string, case.string_to_sign, "{}", case.name);
            assert_eq!(SigningKey::new(SECRET, &scope).signature(&string), case.signature, "{}", case.name);
            assert_eq!(
                authorization(&request, &scope, "AKIDEXAMPLE", SECRET),
                format!(
                    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders={names}, Signature={}",
                    case.signature
                )
            );
        }
    }

    #[test]
    fn every_part_counts() {
        let scope = Scope { time: "20150830T123600Z", region: "us-east-1", service: "service" };
        let plain = || Request { method: "GET", path: "/a", query: "b=c", headers: &[("host", "h")], payload: [0; 32] };
        let signed = |request: Request<'_>, scope: &Scope<'_>, secret: &str| authorization(&request, scope, "K", secret);
        let first = signed(plain(), &scope, SECRET);
        for (request, scope, secret) in [
            (Request { method: "POST", ..plain() }, Scope { ..scope }, SECRET),
            (Request { path: "/b", ..plain() }, Scope { ..scope }, SECRET),
            (Request { query: "b=d", ..plain() }, Scope { ..scope }, SECRET),
            (Request { headers: &[("host", "i")], ..plain() }, Scope { ..scope }, SECRET),
            (Request { payload: [1; 32], ..plain() }, Scope { ..scope }, SECRET),
            (plain(), Scope { time: "20150831T123600Z", ..scope }, SECRET),
            (plain(), Scope { time: "20150830T123601Z", ..scope }, SECRET),
            (plain(), Scope { region: "us-east-2", ..scope }, SECRET),
            (plain(), Scope { service: "iam", ..scope }, SECRET),
            (plain(), Scope { ..scope }, "other"),
        ] {
            let signature = |text: &str| text.rsplit('=').next().unwrap().to_owned();
            assert_ne!(signature(&signed(request, &scope, secret)), signature(&first));
        }
    }
}
