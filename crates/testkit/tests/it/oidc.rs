//! Identity tokens and the OIDC provider: keys by the clock, codes once and in their time, and who is let in.

use super::identity::Claims;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use coffer_crypto::jws::{Algorithm, KeySet, verify};
use coffer_crypto::mac::sha256;
use coffer_testkit::{Replied, Server, registry};
use coffer_types::Json;
use std::time::Duration;

/// The keys are of a curve: RSA keys take a processor long.
async fn server() -> (Server, String) {
    let registry = registry().auth::<Claims>().expect("declared");
    let server = Server::ready(registry, Default::default()).await;
    let root = server.root.clone();
    ok(&server.call("POST", "sys/auth/claims", &root, r#"{"type":"claims"}"#).await);
    ok(&server
        .call(
            "PUT",
            "sys/policies/acl/o",
            &root,
            r#"{"policy":"path \"identity/oidc/*\" { capabilities = [\"read\", \"update\"] }"}"#,
        )
        .await);
    ok(&server.call("POST", "identity/oidc/key/k", &root, r#"{"algorithm":"ES256","allowed_client_ids":"*"}"#).await);
    (server, root)
}

async fn beat(server: &Server) {
    coffer_core::upkeep::Upkeep::default().beat_and_wait(&server.core).await.expect("the work by the clock");
}

fn ok(reply: &Replied) {
    assert!(reply.status < 300, "{} {}", reply.status, reply.text);
}

async fn person(server: &Server, name: &str) -> (String, String) {
    let reply = server.call("POST", "auth/claims/login", "", &format!(r#"{{"alias":"{name}","policies":["o"]}}"#)).await;
    (reply.text_at("auth/client_token").to_owned(), reply.text_at("auth/entity_id").to_owned())
}

async fn keys(server: &Server, path: &str) -> KeySet {
    KeySet::parse(server.call("GET", path, "", "").await.text.as_bytes()).expect("a key set")
}

async fn verifies(server: &Server, token: &str) -> bool {
    verify(token, &keys(server, "identity/oidc/.well-known/keys").await, &Algorithm::ALL).is_ok()
}

const NONE: &str = "";

async fn active(server: &Server, token: &str, more: &str) -> Json {
    let reply = server.call("POST", "identity/oidc/introspect", &server.root, &format!(r#"{{"token":"{token}"{more}}}"#)).await;
    assert_eq!(reply.status, 200);
    reply.body.at("active").cloned().unwrap_or(Json::Null)
}

#[tokio::test]
async fn a_token_says_who_and_is_verified_by_the_published_keys() {
    let (server, root) = server().await;
    let template = r#"{\"name\": {{identity.entity.name}}, \"groups\": {{identity.entity.groups.names}}}"#;
    ok(&server
        .call(
            "POST",
            "identity/oidc/role/r",
            &root,
            &format!(r#"{{"key":"k","client_id":"app","ttl":600,"template":"{template}"}}"#),
        )
        .await);
    let (token, entity) = person(&server, "alice").await;
    ok(&server.call("POST", "identity/group", &root, &format!(r#"{{"name":"staff","member_entity_ids":["{entity}"]}}"#)).await);
    let reply = server.call("GET", "identity/oidc/token/r", &token, "").await;
    ok(&reply);
    let jwt = reply.text_at("data/token");
    let claims =
        verify(jwt, &keys(&server, "identity/oidc/.well-known/keys").await, &[Algorithm::Es256]).expect("verifies").claims;
    let claims = Json::Object(claims);
    let text = |name: &str| claims.at(name).and_then(Json::as_str).unwrap_or_default().to_owned();
    assert_eq!(
        (text("sub"), text("aud"), text("iss")),
        (entity, "app".to_owned(), "http://127.0.0.1:8200/v1/identity/oidc".to_owned())
    );
    assert_eq!(claims.at("groups/0").and_then(Json::as_str), Some("staff"));
    assert_eq!(claims.at("exp").and_then(Json::as_i64).unwrap() - claims.at("iat").and_then(Json::as_i64).unwrap(), 600);
    assert_eq!(active(&server, jwt, NONE).await, Json::from(true));
    assert_eq!(active(&server, jwt, r#","client_id":"app""#).await, Json::from(true));
    assert_eq!(active(&server, jwt, r#","client_id":"other""#).await, Json::from(false));
    assert_eq!(active(&server, &jwt[..jwt.len() - 4], NONE).await, Json::from(false));
    assert_eq!(active(&server, "x.y.z", NONE).await, Json::from(false));
    // Root is nobody, another's role is no key's.
    assert_eq!(server.call("GET", "identity/oidc/token/r", &root, "").await.status, 400);
    ok(&server.call("POST", "identity/oidc/key/k", &root, r#"{"allowed_client_ids":"other"}"#).await);
    assert_eq!(server.call("GET", "identity/oidc/token/r", &token, "").await.status, 400);
    server.clock.advance(Duration::from_secs(600));
    assert_eq!(active(&server, jwt, NONE).await, Json::from(false));
}

#[tokio::test]
async fn a_disabled_person_s_token_is_not_active() {
    let (server, root) = server().await;
    ok(&server.call("POST", "identity/oidc/role/r", &root, r#"{"key":"k"}"#).await);
    let (token, entity) = person(&server, "alice").await;
    let jwt = server.call("GET", "identity/oidc/token/r", &token, "").await.text_at("data/token").to_owned();
    assert_eq!(active(&server, &jwt, NONE).await, Json::from(true));
    ok(&server.call("POST", &format!("identity/entity/id/{entity}"), &root, r#"{"disabled":true}"#).await);
    assert_eq!(active(&server, &jwt, NONE).await, Json::from(false));
    assert_eq!(server.call("GET", "identity/oidc/token/r", &token, "").await.status, 403);
}

#[tokio::test]
async fn keys_rotate_by_the_clock_and_old_ones_verify_for_their_time() {
    let (server, root) = server().await;
    ok(&server.call("POST", "identity/oidc/key/k", &root, r#"{"rotation_period":"1h","verification_ttl":"2h"}"#).await);
    ok(&server.call("POST", "identity/oidc/role/r", &root, r#"{"key":"k","ttl":"2h"}"#).await);
    let said = async || {
        let (token, _) = person(&server, "alice").await;
        server.call("GET", "identity/oidc/token/r", &token, "").await.text_at("data/token").to_owned()
    };
    let first = said().await;
    let kid = |jwt: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(jwt.split('.').next().unwrap()).unwrap()).unwrap();
    beat(&server).await;
    assert_eq!(kid(&said().await), kid(&first));
    // What signs next is announced before.
    let announced = server.call("GET", "identity/oidc/.well-known/keys", "", "").await.text;
    server.clock.advance(Duration::from_secs(3600));
    beat(&server).await;
    let second = said().await;
    assert_ne!(kid(&second), kid(&first));
    let id = kid(&second).split("\"kid\":\"").nth(1).unwrap()[..36].to_owned();
    assert!(announced.contains(&id));
    assert!(verifies(&server, &first).await && verifies(&server, &second).await);
    // Somewhat less than two hours later the first key has verified all that it may have signed.
    server.clock.advance(Duration::from_secs(7199));
    assert!(verifies(&server, &first).await);
    server.clock.advance(Duration::from_secs(1));
    assert!(!verifies(&server, &first).await);
    ok(&server.call("POST", "identity/oidc/key/k/rotate", &root, r#"{"verification_ttl":0}"#).await);
    assert!(!verifies(&server, &second).await);
}

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

struct Provider {
    server: Server,
    root: String,
    token: String,
    entity: String,
    id: String,
    secret: String,
}

impl Provider {
    async fn new(client: &str) -> Self {
        let (server, root) = server().await;
        let (token, entity) = person(&server, "alice").await;
        ok(&server.call("POST", "identity/oidc/assignment/a", &root, &format!(r#"{{"entity_ids":"{entity}"}}"#)).await);
        ok(&server
            .call("POST", "identity/oidc/scope/profile", &root, r#"{"template":"{\"name\":{{identity.entity.name}}}"}"#)
            .await);
        let made = format!(r#"{{"key":"k","assignments":"a","redirect_uris":"https://app/cb"{client}}}"#);
        ok(&server.call("POST", "identity/oidc/client/c", &root, &made).await);
        let shown = server.call("GET", "identity/oidc/client/c", &root, "").await;
        let (id, secret) = (shown.text_at("data/client_id").to_owned(), shown.text_at("data/client_secret").to_owned());
        ok(&server
            .call(
                "POST",
                "identity/oidc/provider/p",
                &root,
                &format!(r#"{{"allowed_client_ids":"{id}","scopes_supported":"profile"}}"#),
            )
            .await);
        Self { server, root, token, entity, id, secret }
    }

    async fn authorize(&self, provider: &str, token: &str, more: &str) -> Replied {
        let body = format!(
            r#"{{"client_id":"{}","redirect_uri":"https://app/cb","response_type":"code","scope":"openid profile","state":"s","nonce":"n"{more}}}"#,
            self.id
        );
        self.server.call("POST", &format!("identity/oidc/provider/{provider}/authorize"), token, &body).await
    }

    async fn code(&self, more: &str) -> String {
        let reply = self.authorize("p", &self.token, more).await;
        ok(&reply);
        reply.text_at("code").to_owned()
    }

    async fn exchange_at(&self, provider: &str, code: &str, redirect: &str, secret: &str, more: &str) -> Replied {
        let body = format!(
            r#"{{"grant_type":"authorization_code","code":"{code}","redirect_uri":"{redirect}","client_id":"{}","client_secret":"{secret}"{more}}}"#,
            self.id
        );
        self.server.call("POST", &format!("identity/oidc/provider/{provider}/token"), "", &body).await
    }

    async fn exchange(&self, code: &str, more: &str) -> Replied {
        self.exchange_at("p", code, "https://app/cb", &self.secret, more).await
    }
}

fn refused(reply: &Replied, status: u16, error: &str) {
    assert_eq!((reply.status, reply.text_at("error")), (status, error), "{}", reply.text);
}

#[tokio::test]
async fn a_login_ends_in_tokens_that_say_who() {
    let p = Provider::new("").await;
    let code = p.code("").await;
    let reply = p.exchange(&code, "").await;
    ok(&reply);
    let set = keys(&p.server, "identity/oidc/provider/p/.well-known/keys").await;
    let claims = Json::Object(verify(reply.text_at("id_token"), &set, &[Algorithm::Es256]).expect("verifies").claims);
    let text = |name: &str| claims.at(name).and_then(Json::as_str).unwrap_or_default();
    assert_eq!((text("sub"), text("aud"), text("nonce")), (p.entity.as_str(), p.id.as_str(), "n"));
    assert_eq!(text("iss"), "http://127.0.0.1:8200/v1/identity/oidc/provider/p");
    assert!(text("name").starts_with("entity_"));
    let half = |text: &str| URL_SAFE_NO_PAD.encode(&sha256(&[text.as_bytes()])[..16]);
    assert_eq!((text("at_hash"), text("c_hash")), (half(reply.text_at("access_token")).as_str(), half(&code).as_str()));
    let access = reply.text_at("access_token");
    let shown = p.server.call("GET", "identity/oidc/provider/p/userinfo", access, "").await;
    assert_eq!((shown.status, shown.text_at("sub")), (200, p.entity.as_str()));
    assert!(shown.text_at("name").starts_with("entity_"));
    // As a token of the server it may do nothing, its person's policies notwithstanding.
    for path in ["auth/token/lookup-self", "identity/oidc/token/x", "identity/oidc/key/k", "sys/mounts"] {
        assert_eq!(p.server.call("GET", path, access, "").await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn a_code_is_good_once_and_for_five_minutes() {
    let p = Provider::new("").await;
    let code = p.code("").await;
    ok(&p.exchange(&code, "").await);
    refused(&p.exchange(&code, "").await, 400, "invalid_grant");
    let code = p.code("").await;
    p.server.clock.advance(Duration::from_secs(299));
    ok(&p.exchange(&code, "").await);
    let code = p.code("").await;
    p.server.clock.advance(Duration::from_secs(300));
    refused(&p.exchange(&code, "").await, 400, "invalid_grant");
    // A code that was tried with something wrong is used up.
    let code = p.code("").await;
    refused(&p.exchange_at("p", &code, "https://other/cb", &p.secret, "").await, 400, "invalid_grant");
    refused(&p.exchange(&code, "").await, 400, "invalid_grant");
}

#[tokio::test]
async fn what_is_wrong_with_an_exchange_is_refused() {
    let p = Provider::new("").await;
    refused(&p.exchange_at("p", &p.code("").await, "https://app/cb", "wrong", "").await, 401, "invalid_client");
    refused(&p.exchange_at("p", &p.code("").await, "https://app/cb", "", "").await, 401, "invalid_client");
    refused(&p.exchange_at("default", &p.code("").await, "https://app/cb", &p.secret, "").await, 400, "invalid_grant");
    refused(&p.exchange_at("none", &p.code("").await, "https://app/cb", &p.secret, "").await, 400, "invalid_request");
    refused(&p.exchange("no-such-code", "").await, 400, "invalid_grant");
    refused(&p.exchange("", "").await, 400, "invalid_request");
    let challenge = URL_SAFE_NO_PAD.encode(sha256(&[VERIFIER.as_bytes()]));
    let pkce = format!(r#","code_challenge":"{challenge}","code_challenge_method":"S256""#);
    let verifier = |text: &str| format!(r#","code_verifier":"{text}""#);
    ok(&p.exchange(&p.code(&pkce).await, &verifier(VERIFIER)).await);
    refused(&p.exchange(&p.code(&pkce).await, &verifier(&challenge)).await, 400, "invalid_grant");
    refused(&p.exchange(&p.code(&pkce).await, "").await, 400, "invalid_request");
    refused(&p.exchange(&p.code("").await, &verifier(VERIFIER)).await, 400, "invalid_request");
    // Another client's code.
    let code = p.code("").await;
    ok(&p.server.call("POST", "identity/oidc/client/d", &p.root, r#"{"key":"k"}"#).await);
    let other = p.server.call("GET", "identity/oidc/client/d", &p.root, "").await;
    let (id, secret) = (other.text_at("data/client_id"), other.text_at("data/client_secret"));
    let allowed = format!(r#"{{"allowed_client_ids":"{},{id}"}}"#, p.id);
    ok(&p.server.call("POST", "identity/oidc/provider/p", &p.root, &allowed).await);
    let theirs = Provider { id: id.to_owned(), secret: secret.to_owned(), ..p };
    refused(&theirs.exchange(&code, "").await, 400, "invalid_grant");
}

#[tokio::test]
async fn who_may_not_log_in_gets_no_code() {
    let p = Provider::new("").await;
    let error = async |provider: &str, token: &str, more: &str| {
        let reply = p.authorize(provider, token, more).await;
        assert_eq!(reply.status, 400, "{}", reply.text);
        reply.text_at("error").to_owned()
    };
    let (stranger, _) = person(&p.server, "mallory").await;
    assert_eq!(error("p", &stranger, "").await, "access_denied");
    assert_eq!(error("p", &p.root, "").await, "access_denied");
    assert_eq!(error("none", &p.token, "").await, "invalid_request");
    assert_eq!(error("p", &p.token, r#","max_age":0"#).await, "invalid_request");
    assert_eq!(error("p", &p.token, r#","code_challenge":"short""#).await, "invalid_request");
    assert_eq!(error("p", &p.token, r#","request":"x""#).await, "request_not_supported");
    ok(&p.authorize("p", &p.token, r#","max_age":60"#).await);
    p.server.clock.advance(Duration::from_secs(61));
    assert_eq!(error("p", &p.token, r#","max_age":60"#).await, "max_age_violation");
    ok(&p.server.call("POST", "identity/oidc/provider/p", &p.root, r#"{"allowed_client_ids":"other"}"#).await);
    assert_eq!(error("p", &p.token, "").await, "unauthorized_client");
    // Without a token there is no policy to decide by.
    assert_eq!(p.authorize("p", "", "").await.status, 403);
}

#[tokio::test]
async fn what_let_a_person_in_must_still_be_so() {
    let p = Provider::new("").await;
    let access = p.exchange(&p.code("").await, "").await.text_at("access_token").to_owned();
    let status = async || p.server.call("GET", "identity/oidc/provider/p/userinfo", &access, "").await.status;
    assert_eq!(status().await, 200);
    assert_eq!(p.server.call("GET", "identity/oidc/provider/default/userinfo", &access, "").await.status, 401);
    for other in [&p.root, &p.token, "hvb.x", ""] {
        assert_eq!(p.server.call("GET", "identity/oidc/provider/p/userinfo", other, "").await.status, 401);
    }
    let waiting = p.code("").await;
    ok(&p.server.call("POST", "identity/oidc/assignment/a", &p.root, r#"{"entity_ids":"nobody"}"#).await);
    assert_eq!(status().await, 401);
    refused(&p.exchange(&waiting, "").await, 400, "invalid_request");
    ok(&p.server.call("POST", "identity/oidc/assignment/a", &p.root, &format!(r#"{{"entity_ids":"{}"}}"#, p.entity)).await);
    let waiting = p.code("").await;
    ok(&p.server.call("POST", "identity/oidc/key/k", &p.root, r#"{"allowed_client_ids":"other"}"#).await);
    refused(&p.exchange(&waiting, "").await, 400, "invalid_request");
    ok(&p.server.call("POST", &format!("identity/entity/id/{}", p.entity), &p.root, r#"{"disabled":true}"#).await);
    assert_eq!(status().await, 401);
    ok(&p.server.call("POST", &format!("identity/entity/id/{}", p.entity), &p.root, r#"{"disabled":false}"#).await);
    assert_eq!(status().await, 200);
    p.server.clock.advance(Duration::from_secs(24 * 3600));
    assert_eq!(status().await, 401);
}

#[tokio::test]
async fn a_public_client_needs_pkce_and_no_secret() {
    let p = Provider::new(r#","client_type":"public""#).await;
    assert_eq!(p.secret, "");
    let reply = p.authorize("p", &p.token, "").await;
    refused(&reply, 400, "invalid_request");
    let pkce = format!(r#","code_challenge":"{VERIFIER}""#);
    ok(&p.exchange(&p.code(&pkce).await, &format!(r#","code_verifier":"{VERIFIER}""#)).await);
    refused(&p.exchange(&p.code(&pkce).await, "").await, 400, "invalid_request");
}

#[tokio::test]
async fn codes_that_nobody_came_for_are_removed() {
    let p = Provider::new("").await;
    for _ in 0..3 {
        p.code("").await;
    }
    let codes = async || {
        let view = p.server.core.unsealed().expect("open").view();
        view.keys("identity/oidc/code/", None, usize::MAX).await.expect("a list").len()
    };
    assert_eq!(codes().await, 3);
    p.server.clock.advance(Duration::from_secs(300));
    beat(&p.server).await;
    assert_eq!(codes().await, 0);
}

#[tokio::test]
async fn what_is_in_use_stays_and_what_is_fixed_does_too() {
    let p = Provider::new("").await;
    let root = &p.root;
    ok(&p.server.call("POST", "identity/oidc/role/r", root, r#"{"key":"k"}"#).await);
    for path in ["key/k", "key/default", "assignment/a", "assignment/allow_all", "scope/profile", "provider/default"] {
        assert_eq!(p.server.call("DELETE", &format!("identity/oidc/{path}"), root, "").await.status, 400, "{path}");
    }
    for (path, body) in [
        ("assignment/allow_all", "{}"),
        ("scope/openid", "{}"),
        ("client/c", r#"{"client_type":"public"}"#),
        ("client/c", r#"{"key":"default"}"#),
        ("client/c", r#"{"assignments":"none"}"#),
        ("client/c", r#"{"id_token_ttl":"300h"}"#),
        ("client/c", r#"{"client_credentials":true}"#),
        ("provider/p", r#"{"scopes_supported":"none"}"#),
        ("provider/p", r#"{"issuer":"https://x/y"}"#),
        ("key/k", r#"{"algorithm":"HS256"}"#),
        ("key/k", r#"{"algorithm":"none"}"#),
        ("key/k", r#"{"verification_ttl":"1h"}"#),
        ("key/k", r#"{"rotation_period":59}"#),
        ("key/k", r#"{"rotation_period":"1h","verification_ttl":"11h"}"#),
        ("role/r", r#"{"ttl":"25h"}"#),
        ("role/r", r#"{"ttl":0}"#),
        ("role/r", r#"{"template":"{\"iss\":\"me\"}"}"#),
        ("config", r#"{"issuer":"ftp://x"}"#),
        ("config", r#"{"issuer":"https://x?y"}"#),
    ] {
        assert_eq!(p.server.call("POST", &format!("identity/oidc/{path}"), root, body).await.status, 400, "{path} {body}");
    }
}

#[tokio::test]
async fn the_header_proves_a_client_too() {
    let p = Provider::new("").await;
    let status = async |authorization: &str| {
        let code = p.code("").await;
        let body = format!("grant_type=authorization_code&code={code}&redirect_uri=https%3A%2F%2Fapp%2Fcb");
        let headers = [("Authorization", authorization), ("Content-Type", "application/x-www-form-urlencoded")];
        p.server.request("POST", "/v1/identity/oidc/provider/p/token", &headers, body.as_bytes()).await.status
    };
    let pair = |secret: &str| format!("Basic {}", STANDARD.encode(format!("{}:{secret}", p.id)));
    assert_eq!(status(&pair(&p.secret)).await, 200);
    assert_eq!(status(&pair("wrong")).await, 401);
    assert_eq!(status("Basic no-base64").await, 401);
    assert_eq!(status("").await, 400);
}
