//! One call of the query protocol: signed, sent to exactly the configured endpoint, answered or refused.

use super::Aws;
use super::config::Root;
use super::xml::{self, Element};
use crate::remote::{ask, escape};
use coffer_crypto::mac::sha256;
use coffer_crypto::sigv4::{self, Scope};
use coffer_engine::Ctx;
use coffer_engine::outside::{HttpReply, HttpRequest, Method};
use coffer_types::{Error, Kind, Result, Timestamp};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Iam,
    Sts,
}

/// The largest reply that is taken.
const LIMIT: usize = 1 << 20;
/// Repetitions where `max_retries` is left to us.
const RETRIES: i64 = 2;

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// The parameters of a call, lists as AWS numbers them.
#[derive(Default)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    pub(super) fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.push((name.to_owned(), value.into()));
        self
    }

    /// Left out where it is empty.
    #[must_use]
    pub(super) fn with_some(self, name: &str, value: &str) -> Self {
        if value.is_empty() { self } else { self.with(name, value) }
    }
}

/// Why a call did not do what was asked.
pub(super) enum Refused {
    /// AWS understood and said no: its own code.
    Code { action: &'static str, status: u16, code: String },
    /// Whether it was done is not known.
    Other(Error),
}

impl Refused {
    pub(super) fn is(&self, wanted: &str) -> bool {
        matches!(self, Self::Code { code, .. } if code == wanted)
    }

    /// Whether certainly nothing was done.
    pub(super) fn is_certain(&self) -> bool {
        matches!(self, Self::Code { status: 400..=499, .. })
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Code { action, status, code } => {
                Self::new(Kind::Upstream, format!("AWS refused {action}: {code} (status {status})"))
            }
            Refused::Other(error) => error,
        }
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// Calls an action and reads its result.
pub(super) async fn call<T>(
    cx: &Ctx<Aws>,
    root: &Root,
    service: Service,
    action: &'static str,
    params: Params,
    read: impl FnOnce(Element<'_, '_>) -> Result<T>,
) -> Result<T, Refused> {
    let mut form = format!("Action={action}&Version={}", service.version());
    for (name, value) in &params.0 {
        form.push_str(&format!("&{}={}", escape(name), escape(value)));
    }
    // What makes something is never repeated: the first may have been heard.
    let repeats = if action.starts_with("Create") { 0 } else { root.max_retries };
    let repeats = if repeats < 0 { RETRIES } else { repeats.min(10) };
    let mut reply = ask(cx, request(root, service, &form, cx.now())?).await.map_err(Error::from)?;
    for _ in 0..repeats {
        if reply.status < 500 {
            break;
        }
        reply = ask(cx, request(root, service, &form, cx.now())?).await.map_err(Error::from)?;
    }
    if reply.is_success() {
        return Ok(xml::result(action, &reply.body, read)?);
    }
    Err(refused(action, &reply))
}

fn refused(action: &'static str, reply: &HttpReply) -> Refused {
    if let Some(code) = xml::error_code(&reply.body) {
        return Refused::Code { action, status: reply.status, code };
    }
    let why = if (300..400).contains(&reply.status) { ": it points elsewhere, and no redirect is followed" } else { "" };
    Refused::Other(Error::new(
        Kind::Upstream,
        format!("AWS answered {action} with status {} and no error of its protocol{why}", reply.status),
    ))
}

fn request(root: &Root, service: Service, form: &str, now: Timestamp) -> Result<HttpRequest> {
    let (endpoint, region) = service.place(root);
    let url = if endpoint.splitn(4, '/').nth(3).is_some() { endpoint } else { format!("{endpoint}/") };
    let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let time = basic_time(now);
    let signed = sigv4::Request {
        method: "POST",
        path,
        query: "",
        headers: &[("content-type", FORM), ("host", host), ("x-amz-date", &time)],
        payload: sha256(&[form.as_bytes()]),
    };
    let scope = Scope { time: &time, region: &region, service: service.name() };
    let authorization = sigv4::authorization(&signed, &scope, &root.access_key, &root.secret_key);
    let mut request = HttpRequest::new(Method::Post, url.as_str())
        .header("host", host)
        .header("x-amz-date", time.as_str())
        .header("authorization", authorization)
        .body(FORM, form.as_bytes().to_vec());
    request.limit = LIMIT;
    Ok(request)
}

/// `20150830T123600Z`
fn basic_time(now: Timestamp) -> String {
    now.rfc3339_secs().chars().filter(|c| !matches!(c, '-' | ':')).collect()
}

impl Service {
    const fn name(self) -> &'static str {
        match self {
            Self::Iam => "iam",
            Self::Sts => "sts",
        }
    }

    const fn version(self) -> &'static str {
        match self {
            Self::Iam => "2010-05-08",
            Self::Sts => "2011-06-15",
        }
    }

    /// The endpoint and the region of the signature. IAM is one for each partition and signs for that partition's own region.
    fn place(self, root: &Root) -> (String, String) {
        let own = if root.region.is_empty() { "us-east-1" } else { &root.region };
        match self {
            Self::Iam if !root.iam_endpoint.is_empty() => (root.iam_endpoint.clone(), own.to_owned()),
            Self::Iam if own.starts_with("cn-") => ("https://iam.cn-north-1.amazonaws.com.cn".into(), "cn-north-1".into()),
            Self::Iam if own.starts_with("us-gov-") => ("https://iam.us-gov.amazonaws.com".into(), "us-gov-west-1".into()),
            Self::Iam => ("https://iam.amazonaws.com".into(), "us-east-1".into()),
            Self::Sts => {
                let region = if root.sts_region.is_empty() { own } else { &root.sts_region };
                let end = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
                let endpoint =
                    if root.sts_endpoint.is_empty() { format!("https://sts.{region}.{end}") } else { root.sts_endpoint.clone() };
                (endpoint, region.to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let place = |service: Service, region: &str, sts: &str| {
            service.place(&Root { region: region.into(), sts_region: sts.into(), ..Root::default() })
        };
        let of = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(place(Service::Iam, "", ""), of("https://iam.amazonaws.com", "us-east-1"));
        assert_eq!(place(Service::Iam, "eu-central-1", ""), of("https://iam.amazonaws.com", "us-east-1"));
        assert_eq!(place(Service::Iam, "cn-northwest-1", ""), of("https://iam.cn-north-1.amazonaws.com.cn", "cn-north-1"));
        assert_eq!(place(Service::Sts, "", ""), of("https://sts.us-east-1.amazonaws.com", "us-east-1"));
        assert_eq!(place(Service::Sts, "eu-central-1", ""), of("https://sts.eu-central-1.amazonaws.com", "eu-central-1"));
        assert_eq!(place(Service::Sts, "eu-central-1", "us-west-2"), of("https://sts.us-west-2.amazonaws.com", "us-west-2"));
        assert_eq!(place(Service::Sts, "cn-north-1", ""), of("https://sts.cn-north-1.amazonaws.com.cn", "cn-north-1"));
    }

    #[test]
    fn the_url_is_the_endpoint_and_the_host_is_signed() {
        let root = Root { iam_endpoint: "http://127.0.0.1:5000".into(), access_key: "AKID".into(), ..Root::default() };
        let request =
            request(&root, Service::Iam, "Action=GetUser&Version=2010-05-08", Timestamp::from_secs(1_440_938_160)).unwrap();
        assert_eq!(request.url, "http://127.0.0.1:5000/");
        let header = |name: &str| request.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.expose().clone()).unwrap();
        assert_eq!(header("x-amz-date"), "20150830T123600Z");
        assert_eq!(header("host"), "127.0.0.1:5000");
        assert!(header("authorization").starts_with("AWS4-HMAC-SHA256 Credential=AKID/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature="));
        let root = Root { sts_endpoint: "https://proxy.example.org/aws/sts".into(), ..Root::default() };
        assert_eq!(
            super::request(&root, Service::Sts, "", Timestamp::from_secs(1)).unwrap().url,
            "https://proxy.example.org/aws/sts"
        );
    }
}
