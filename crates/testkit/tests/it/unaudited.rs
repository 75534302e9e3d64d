//! The reply's line can't be written after the commit: the effect stands, the client gets a 503, and what the lost reply
//! would have handed out is taken back.

use coffer_core::CoreConfig;
use coffer_engine::{Ctx, Declare, Engine, Login, Mount, Reply, Request};
use coffer_testkit::{Server, registry};
use coffer_types::{Object, Result, Span};

/// Its handlers take the audit log's directory away while they run: the line of the request is written, the line of
/// the reply can't be.
struct Saboteur;

impl Engine for Saboteur {
    const KIND: &'static str = "saboteur";

    fn open(_: &Mount) -> Result<Self> {
        Ok(Self)
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Takes the audit log away.");
        d.at("login").about("And logs in.").write(login);
        d.at("data").about("And keeps something.").write(data);
    }
}

/// Where the log is.
#[derive(Request)]
struct Ask {
    /// Its directory.
    directory: String,
}

async fn login(_cx: Ctx<Saboteur>, ask: Ask) -> Result<Reply> {
    std::fs::remove_dir_all(ask.directory).unwrap();
    Ok(Reply::login(Login { policies: vec!["default".to_owned()], ttl: Span::from_secs(600), ..Login::default() }))
}

async fn data(cx: Ctx<Saboteur>, ask: Ask) -> Result<Reply> {
    std::fs::remove_dir_all(ask.directory).unwrap();
    cx.view.put_bytes("kept", b"yes".to_vec().into());
    Ok(Reply::data(Object::new().with("secret", "canary")))
}

async fn accessors(server: &Server) -> usize {
    let listed = server.call("LIST", "auth/token/accessors", &server.root, "").await;
    assert_eq!(listed.status, 200, "{}", listed.text);
    listed.body.at("data/keys").and_then(coffer_types::Json::as_array).map_or(0, <[_]>::len)
}

#[tokio::test]
async fn what_a_lost_reply_would_have_handed_out_is_taken_back() {
    let registry = registry().engine::<Saboteur>().unwrap();
    let server = Server::ready(registry, CoreConfig { allow_api_audit: true, ..CoreConfig::default() }).await;
    let root = server.root.clone();
    let work = tempfile::tempdir().unwrap();
    let directory = work.path().join("log").display().to_string();
    std::fs::create_dir(&directory).unwrap();
    let device = format!(r#"{{"type":"file","options":{{"file_path":"{directory}/audit.log"}}}}"#);
    assert_eq!(server.call("PUT", "sys/audit/file", &root, &device).await.status, 204);
    assert_eq!(server.call("POST", "sys/mounts/bad", &root, r#"{"type":"saboteur"}"#).await.status, 204);
    let ask = format!(r#"{{"directory":"{directory}"}}"#);
    let before = accessors(&server).await;

    for (path, wrap) in [("bad/login", ""), ("bad/login", "60s"), ("bad/data", "60s"), ("bad/data", "")] {
        let headers = [("X-Vault-Token", root.as_str()), ("X-Vault-Wrap-TTL", wrap)];
        let lost = server.request("POST", &format!("/v1/{path}"), &headers, ask.as_bytes()).await;
        assert_eq!(lost.status, 503, "{path} {wrap}: {}", lost.text);
        assert!(!lost.text.contains("canary") && !lost.text.contains("hvs."), "{}", lost.text);
        // Nothing is answered until a device can write again, and health says why.
        assert_eq!(server.call("GET", "sys/mounts", &root, "").await.status, 503);
        let health = server.call("GET", "sys/health", "", "").await;
        assert_eq!(health.status, 503);
        assert!(health.text_at("reason").contains("audit"), "{}", health.text);
        std::fs::create_dir(&directory).unwrap();
        assert_eq!(server.call("GET", "sys/mounts", &root, "").await.status, 200);
        assert_eq!(accessors(&server).await, before, "{path} {wrap}: a token of the lost reply lives");
    }
}
