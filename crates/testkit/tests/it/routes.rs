//! For every route that is declared: no token and a wrong policy are refused, help is there, and what is public stands in
//! `docs/public-routes.txt`.

use coffer_core::CoreConfig;
use coffer_engine::{Endpoint, FieldKind, MountClass};
use coffer_testkit::{Server, registry};
use coffer_types::Operation;
use std::fmt::Write as _;

struct Route {
    mount: String,
    pattern: &'static str,
    public: bool,
    about: bool,
    operations: Vec<(Operation, bool)>,
}

async fn server() -> Server {
    let server = Server::ready(registry(), CoreConfig { raw_storage_endpoint: true, ..CoreConfig::default() }).await;
    for (path, version) in [("secret", "2"), ("kv1", "1")] {
        let body = format!(r#"{{"type":"kv","options":{{"version":"{version}"}}}}"#);
        assert_eq!(server.call("POST", &format!("sys/mounts/{path}"), &server.root, &body).await.status, 204);
    }
    // Every engine, also those that nobody thought of here; cubbyhole and the server's own are mounted already.
    let own = ["kv", "cubbyhole", "system", "identity", "token"];
    let engines: Vec<_> = registry().all().filter(|(class, _)| *class == MountClass::Engine).map(|(_, f)| f.kind()).collect();
    for kind in engines.into_iter().filter(|kind| !own.contains(kind)) {
        let body = format!(r#"{{"type":"{kind}"}}"#);
        assert_eq!(server.call("POST", &format!("sys/mounts/{kind}"), &server.root, &body).await.status, 204);
    }
    // Every auth method, also those that nobody thought of here.
    let methods: Vec<_> = registry().all().filter(|(class, _)| *class == MountClass::Auth).map(|(_, f)| f.kind()).collect();
    for kind in methods {
        let body = format!(r#"{{"type":"{kind}"}}"#);
        assert_eq!(server.call("POST", &format!("sys/auth/{kind}"), &server.root, &body).await.status, 204);
    }
    server
}

fn routes(server: &Server) -> Vec<Route> {
    let live = server.core.unsealed().unwrap();
    let router = live.router.load_full();
    let mut routes = Vec::new();
    for mounted in router.all() {
        for endpoint in mounted.engine.routes().endpoints() {
            routes.push(Route {
                mount: mounted.mount.path.to_string(),
                pattern: endpoint.pattern,
                public: endpoint.public,
                about: !endpoint.about.is_empty() || endpoint.operations.values().all(|o| !o.about.is_empty()),
                operations: endpoint.operations.keys().map(|op| (*op, takes_nothing(endpoint, *op))).collect(),
            });
        }
    }
    routes
}

fn takes_nothing(endpoint: &Endpoint, operation: Operation) -> bool {
    endpoint.operation(operation).is_some_and(|info| info.fields.iter().all(|f| f.kind != FieldKind::Any))
}

/// A path of the pattern: each variable gets a plain word.
fn example(route: &Route) -> String {
    let inside: Vec<&str> = route.pattern.split('/').map(|s| if s.starts_with('{') { "word" } else { s }).collect();
    format!("{}{}", route.mount, inside.join("/"))
}

fn method(operation: Operation) -> &'static str {
    match operation {
        Operation::Read => "GET",
        Operation::List => "LIST",
        Operation::Scan => "SCAN",
        Operation::Delete => "DELETE",
        Operation::Patch => "PATCH",
        _ => "POST",
    }
}

#[tokio::test]
async fn every_route_refuses_no_token_a_bad_token_and_a_wrong_policy() {
    let server = server().await;
    let policy = r#"{"policy":"path \"nowhere/*\" { capabilities = [\"read\"] }"}"#;
    assert_eq!(server.call("PUT", "sys/policies/acl/wrong", &server.root, policy).await.status, 204);
    let wrong =
        server.call("POST", "auth/token/create", &server.root, r#"{"policies":["wrong"],"no_default_policy":true}"#).await;
    let wrong = wrong.text_at("auth/client_token").to_owned();
    assert!(!wrong.is_empty());
    let mut checked = 0;
    for route in routes(&server) {
        if route.public {
            continue;
        }
        let path = example(&route);
        for (operation, _) in &route.operations {
            for token in ["", "hvs.nosuchtoken", "hvb.bm9uc2Vuc2U", wrong.as_str()] {
                let headers = [
                    ("X-Vault-Token", token),
                    ("Content-Type", if *operation == Operation::Patch { "application/merge-patch+json" } else { "" }),
                ];
                let replied = server.request(method(*operation), &format!("/v1/{path}"), &headers, b"").await;
                assert_eq!(replied.status, 403, "{operation} {path} with {token:?}: {}", replied.text);
                assert!(replied.error().contains("permission denied"), "{operation} {path}: {}", replied.text);
                checked += 1;
            }
        }
    }
    assert!(checked > 400, "only {checked}");
}

#[tokio::test]
async fn every_route_has_help() {
    let server = server().await;
    let silent: Vec<String> = routes(&server).iter().filter(|r| !r.about).map(|r| format!("{}{}", r.mount, r.pattern)).collect();
    assert!(silent.is_empty(), "{silent:?}");
    let help = server.call("GET", "secret/data/x?help=1", &server.root, "").await;
    assert_eq!(help.status, 200);
    assert!(help.text_at("help").len() > 40, "{}", help.text);
}

/// A new public route shows here, where a reviewer sees it. `UPDATE=1` writes the file anew.
#[tokio::test]
async fn public_routes_are_the_listed_ones() {
    let server = server().await;
    let mut found = String::from(
        "# Routes that answer without a token. Checked by crates/testkit/tests/it/routes.rs (UPDATE=1 rewrites it).\n",
    );
    let mut lines: Vec<String> = ["sys/health", "sys/init", "sys/leader", "sys/seal-status", "sys/unseal"]
        .map(|p| format!("{p} (also while sealed)"))
        .to_vec();
    lines.extend(routes(&server).iter().filter(|r| r.public).map(|r| format!("{}{}", r.mount, r.pattern)));
    lines.sort();
    for line in lines {
        writeln!(found, "{line}").unwrap();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/public-routes.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &found).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), found, "run with UPDATE=1 and review the difference");
}
