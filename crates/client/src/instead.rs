//! Showing a request instead of sending it: as a curl command line, or as the policy that it needs.

use crate::request::{As, Method, Request};
use std::fmt::Write as _;

/// The text to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instead {
    pub text: String,
}

/// The curl command line that does the same. The token is never in it: `program print token` is.
pub(crate) fn curl(request: &Request, url: &str, headers: &[(String, String)], program: &str) -> Instead {
    let mut text = String::from("curl");
    if request.method != Method::Get {
        write!(text, " -X {}", request.method.as_str()).unwrap_or_default();
    }
    for (name, value) in headers {
        let value = if name.eq_ignore_ascii_case("X-Vault-Token") {
            format!("$({program} print token)")
        } else {
            value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$").replace('`', "\\`")
        };
        write!(text, " -H \"{name}: {value}\"").unwrap_or_default();
    }
    if let Some(body) = &request.body {
        write!(text, " -d '{}'", String::from_utf8_lossy(body).replace('\'', "'\"'\"'")).unwrap_or_default();
    }
    write!(text, " \"{url}\"").unwrap_or_default();
    Instead { text }
}

/// The policy that allows this request and nothing else.
pub(crate) fn policy(request: &Request) -> Instead {
    if matches!(request.identity, As::Nobody) {
        return Instead { text: "# This request carries no token, so it needs no policy.".into() };
    }
    let listing = request.query.iter().any(|(name, _)| name == "list");
    let scanning = request.query.iter().any(|(name, _)| name == "scan");
    let mut capabilities = match request.method {
        Method::Get if scanning => vec!["scan"],
        Method::Get if listing => vec!["list"],
        Method::Get => vec!["read"],
        Method::Put | Method::Post => vec!["create", "update"],
        Method::Patch => vec!["patch"],
        Method::Delete => vec!["delete"],
    };
    if needs_sudo(&request.path) {
        capabilities.push("sudo");
    }
    let list: Vec<String> = capabilities.iter().map(|c| format!("{c:?}")).collect();
    let path = request.path.replace('\\', "\\\\").replace('"', "\\\"");
    Instead { text: format!("path \"{path}\" {{\n  capabilities = [{}]\n}}", list.join(", ")) }
}

/// The paths of the API that ask for `sudo` beside the operation's own capability.
/// `*` stands for one segment, `**` for what follows.
const SUDO: &[&str] = &[
    "auth/token/accessors",
    "auth/token/create-orphan",
    "auth/token/revoke-orphan",
    "sys/audit",
    "sys/audit/**",
    "sys/auth/*",
    "sys/auth/*/tune",
    "sys/config/auditing/request-headers/**",
    "sys/config/cors",
    "sys/config/ui/headers/**",
    "sys/internal/inspect/router/*",
    "sys/leases/lookup/**",
    "sys/leases/revoke-force/**",
    "sys/leases/revoke-prefix/**",
    "sys/plugins/catalog/*/*",
    "sys/raw/**",
    "sys/remount",
    "sys/revoke-force/**",
    "sys/revoke-prefix/**",
    "sys/rotate",
    "sys/rotate/**",
    "sys/seal",
    "sys/step-down",
    "sys/storage/raft/snapshot-auto/config/*",
];

fn needs_sudo(path: &str) -> bool {
    SUDO.iter().any(|pattern| {
        let mut path = path.split('/');
        for want in pattern.split('/') {
            match (want, path.next()) {
                ("**", Some(_)) => return true,
                ("*", Some(_)) => {}
                (want, Some(have)) if want == have => {}
                _ => return false,
            }
        }
        path.next().is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_types::json::Object;

    #[test]
    fn curl_quotes_for_the_shell_and_never_shows_the_token() {
        let request = Request::put("secret/data/x").json(Object::new().with("c", "it's"));
        let headers = [("X-Vault-Token".to_owned(), "s.canary".to_owned()), ("X-Odd".to_owned(), "a\"$(id)`".to_owned())];
        let text = curl(&request, "http://h/v1/secret/data/x", &headers, "coffer").text;
        assert_eq!(
            text,
            r#"curl -X PUT -H "X-Vault-Token: $(coffer print token)" -H "X-Odd: a\"\$(id)\`" -d '{"c":"it'"'"'s"}' "http://h/v1/secret/data/x""#
        );
    }

    #[test]
    fn policies_name_the_capability_and_sudo() {
        for (request, want) in [
            (Request::get("secret/data/x"), r#"["read"]"#),
            (Request::list("secret/metadata"), r#"["list"]"#),
            (Request::put("secret/data/x"), r#"["create", "update"]"#),
            (Request::patch("secret/data/x"), r#"["patch"]"#),
            (Request::put("sys/seal"), r#"["create", "update", "sudo"]"#),
            (Request::put("sys/leases/revoke-prefix/aws/creds"), r#"["create", "update", "sudo"]"#),
            (Request::get("sys/sealed"), r#"["read"]"#),
        ] {
            assert!(policy(&request).text.contains(want), "{}", policy(&request).text);
        }
    }
}
