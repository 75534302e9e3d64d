//! Which dialect a request speaks. By path first, so that no header can turn a Vault path into something else.

use crate::{unbuilt, vault};
use bytes::Bytes;
use http::request::Parts;
use http::{Response, header};

/// The dialects that a listener speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Speaks {
    pub vault: bool,
    pub aws: bool,
    pub azure: bool,
    pub gcp: bool,
}

impl Speaks {
    /// Vault's alone.
    pub const VAULT: Self = Self { vault: true, aws: false, azure: false, gcp: false };
    /// All of them: what a listener speaks when its configuration names none.
    pub const ALL: Self = Self { vault: true, aws: true, azure: true, gcp: true };
}

/// Who answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spoken {
    Vault,
    Aws(AwsForm),
    Azure,
    Gcp {
        grpc: bool,
    },
    /// `/ui/` and the way there.
    Ui,
    /// No dialect has this path.
    Nobody,
}

/// How an AWS client wrote its request, and so how it reads errors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AwsForm {
    /// JSON 1.0 or 1.1: the operation is in `X-Amz-Target`.
    Json,
    /// Query: the operation is `Action=`, the reply XML.
    Query,
}

/// The first segments of Azure Key Vault's data plane.
const AZURE: [&str; 7] = ["secrets", "keys", "certificates", "deletedsecrets", "deletedkeys", "deletedcertificates", "storage"];

/// Looks at path, method and headers, never at a body.
pub fn pick(parts: &Parts, speaks: Speaks) -> Spoken {
    let path = parts.uri.path();
    // Whatever the path would be once cleaned: the Vault dialect redirects there.
    if !vault::is_clean(path) {
        return if speaks.vault { Spoken::Vault } else { Spoken::Nobody };
    }
    let content_type = parts.headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    if speaks.gcp && content_type.starts_with(b"application/grpc") {
        return Spoken::Gcp { grpc: true };
    }
    if let Some(below) = path.strip_prefix("/v1/") {
        let projects = below == "projects" || below.starts_with("projects/");
        return match speaks {
            Speaks { gcp: true, .. } if projects => Spoken::Gcp { grpc: false },
            Speaks { vault: true, .. } => Spoken::Vault,
            _ => Spoken::Nobody,
        };
    }
    if path == "/ui" || path.starts_with("/ui/") {
        return Spoken::Ui;
    }
    if speaks.aws
        && (path == "/" || path.starts_with("/2015-03-31/"))
        && let Some(form) = aws_form(parts, content_type, path)
    {
        return Spoken::Aws(form);
    }
    if path == "/" {
        return Spoken::Ui;
    }
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    if speaks.azure && AZURE.contains(&first.to_ascii_lowercase().as_str()) && has_parameter(parts, "api-version") {
        return Spoken::Azure;
    }
    Spoken::Nobody
}

fn aws_form(parts: &Parts, content_type: &[u8], path: &str) -> Option<AwsForm> {
    if parts.headers.contains_key("x-amz-target") || path != "/" {
        return Some(AwsForm::Json);
    }
    let form = parts.method == http::Method::POST && content_type.starts_with(b"application/x-www-form-urlencoded");
    (form || has_parameter(parts, "Action") || has_parameter(parts, "X-Amz-Signature")).then_some(AwsForm::Query)
}

fn has_parameter(parts: &Parts, name: &str) -> bool {
    parts.uri.query().is_some_and(|query| query.split('&').any(|pair| pair.split('=').next() == Some(name)))
}

/// The answer of a dialect that is known and not built, in its own words; `None` for those that are.
pub fn not_built(spoken: Spoken) -> Option<Response<Bytes>> {
    match spoken {
        Spoken::Aws(AwsForm::Json) => Some(unbuilt::aws_json()),
        Spoken::Aws(AwsForm::Query) => Some(unbuilt::aws_query()),
        Spoken::Azure => Some(unbuilt::azure()),
        Spoken::Gcp { grpc: true } => Some(unbuilt::gcp_grpc()),
        Spoken::Gcp { grpc: false } => Some(unbuilt::gcp_rest()),
        Spoken::Vault | Spoken::Ui | Spoken::Nobody => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn of(method: &str, uri: &str, headers: &[(&str, &str)], speaks: Speaks) -> Spoken {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        pick(&request.body(()).unwrap().into_parts().0, speaks)
    }

    const TARGET: (&str, &str) = ("x-amz-target", "secretsmanager.GetSecretValue");
    const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");

    #[test]
    fn paths_below_v1_are_vaults_whatever_headers_come() {
        for headers in [&[TARGET][..], &[FORM], &[("authorization", "AWS4-HMAC-SHA256 Credential=x")]] {
            for uri in [
                "/v1/secret/data/a",
                "/v1/?Action=GetCallerIdentity",
                "/v1/keys?api-version=7.4",
                "/v1/sys/health",
                "/v1/projectsx",
            ] {
                assert_eq!(of("POST", uri, headers, Speaks::ALL), Spoken::Vault, "{uri}");
            }
        }
        assert_eq!(of("GET", "/v1/projects/p/secrets", &[], Speaks::VAULT), Spoken::Vault);
    }

    #[test]
    fn others_by_their_marks() {
        let all = |method: &str, uri: &str, headers: &[(&str, &str)]| of(method, uri, headers, Speaks::ALL);
        assert_eq!(all("POST", "/", &[TARGET]), Spoken::Aws(AwsForm::Json));
        assert_eq!(all("POST", "/", &[FORM]), Spoken::Aws(AwsForm::Query));
        assert_eq!(all("GET", "/?Action=GetCallerIdentity&Version=2011-06-15", &[]), Spoken::Aws(AwsForm::Query));
        assert_eq!(all("GET", "/?X-Amz-Signature=0", &[]), Spoken::Aws(AwsForm::Query));
        assert_eq!(all("GET", "/2015-03-31/functions", &[]), Spoken::Aws(AwsForm::Json));
        assert_eq!(all("GET", "/secrets/db?api-version=7.4", &[]), Spoken::Azure);
        assert_eq!(all("GET", "/v1/projects/p/secrets/s", &[]), Spoken::Gcp { grpc: false });
        assert_eq!(
            all("POST", "/google.cloud.kms.v1.KeyManagementService/Encrypt", &[("content-type", "application/grpc")]),
            Spoken::Gcp { grpc: true }
        );
    }

    #[test]
    fn a_listener_speaks_only_what_it_names() {
        for (uri, headers) in [("/2015-03-31/functions", &[TARGET][..]), ("/secrets/db?api-version=7.4", &[])] {
            assert_eq!(of("POST", uri, headers, Speaks::VAULT), Spoken::Nobody, "{uri}");
        }
        assert_eq!(of("POST", "/", &[TARGET], Speaks::VAULT), Spoken::Ui);
        let aws = Speaks { vault: false, aws: true, azure: false, gcp: false };
        for uri in ["/v1/sys/health", "//v1/x", "/v1/projects/p"] {
            assert_eq!(of("GET", uri, &[], aws), Spoken::Nobody, "{uri}");
        }
    }

    #[test]
    fn the_rest_is_nobodys() {
        for uri in
            ["/v1", "/v2/x", "/foo", "/secrets/db", "/V1/x", "/uix", "/secretsx?api-version=1", "/secrets/x?xapi-version=1"]
        {
            assert_eq!(of("GET", uri, &[], Speaks::ALL), Spoken::Nobody, "{uri}");
        }
        for uri in ["/", "/ui", "/ui/", "/ui/vault/secrets"] {
            assert_eq!(of("GET", uri, &[], Speaks::ALL), Spoken::Ui, "{uri}");
        }
    }

    #[test]
    fn no_unclean_path_hides_from_the_redirect() {
        for uri in ["//v1/secret", "/ui/../v1/sys/seal", "/v1/projects/../sys/seal", "/secrets/..//x?api-version=1", "/./"] {
            assert_eq!(of("GET", uri, &[TARGET], Speaks::ALL), Spoken::Vault, "{uri}");
        }
    }

    #[test]
    fn what_is_not_built_says_so_in_its_own_words() {
        for (spoken, status, kind, word) in [
            (Spoken::Aws(AwsForm::Json), 400, "application/x-amz-json-1.1", "UnknownOperationException"),
            (Spoken::Aws(AwsForm::Query), 400, "text/xml", "InvalidAction"),
            (Spoken::Azure, 501, "application/json", "NotImplemented"),
            (Spoken::Gcp { grpc: false }, 501, "application/json", "UNIMPLEMENTED"),
        ] {
            let response = not_built(spoken).unwrap();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()["content-type"], kind);
            assert!(std::str::from_utf8(response.body()).unwrap().contains(word), "{word}");
        }
        let grpc = not_built(Spoken::Gcp { grpc: true }).unwrap();
        assert_eq!((grpc.status().as_u16(), grpc.headers()["grpc-status"].to_str().unwrap()), (200, "12"));
        for spoken in [Spoken::Vault, Spoken::Ui, Spoken::Nobody] {
            assert!(not_built(spoken).is_none());
        }
    }
}
