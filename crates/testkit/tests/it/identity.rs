//! Identity: who logs in becomes an entity, what it may do follows its entity and groups, and nobody becomes another.

use coffer_core::CoreConfig;
use coffer_engine::{Ctx, Declare, Engine, Login, Mount, Reply, Request, TokenKind};
use coffer_testkit::{Replied, Server, registry};
use coffer_types::{Result, Span};
use std::collections::BTreeMap;

/// An auth method that vouches for whatever it is told.
pub(crate) struct Claims;

/// Log in as anyone.
#[derive(Request)]
struct Claim {
    /// The alias.
    #[field(default)]
    alias: String,
    /// Its metadata.
    #[field(default)]
    metadata: BTreeMap<String, String>,
    /// Groups.
    #[field(default)]
    groups: Vec<String>,
    /// The token's own policies.
    #[field(default)]
    policies: Vec<String>,
    /// A batch token.
    #[field(default)]
    batch: bool,
}

impl Engine for Claims {
    const KIND: &'static str = "claims";

    fn open(_: &Mount) -> Result<Self> {
        Ok(Self)
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Vouches for whatever it is told.");
        d.at("login").about("Log in as anyone.").public().write(login);
        d.at("say").about("What renewals hear of groups.").write(say);
        d.renew_login(renew);
    }
}

/// What renewals hear from now on.
#[derive(Request, serde::Serialize, serde::Deserialize)]
struct Say {
    /// Groups.
    groups: Vec<String>,
}

impl coffer_engine::Record for Say {
    const FORMAT: u8 = 1;
}

async fn say(cx: Ctx<Claims>, said: Say) -> Result<Reply> {
    cx.view.put("said", &said)?;
    Ok(Reply::empty())
}

async fn renew(cx: Ctx<Claims>, login: Login) -> Result<Login> {
    let said = cx.view.get::<Say>("said").await?;
    Ok(Login { group_aliases: said.map_or(login.group_aliases.clone(), |s| s.groups), ..login })
}

async fn login(_cx: Ctx<Claims>, ask: Claim) -> Result<Reply> {
    Ok(Reply::login(Login {
        display_name: ask.alias.clone(),
        alias: ask.alias,
        alias_metadata: ask.metadata,
        group_aliases: ask.groups,
        policies: ask.policies,
        ttl: Span::from_secs(3600),
        renewable: !ask.batch,
        kind: if ask.batch { TokenKind::Batch } else { TokenKind::Service },
        ..Login::default()
    }))
}

/// A server with two mounts of the method.
pub(crate) struct Stage {
    pub(crate) server: Server,
    /// The accessors of `auth/one/` and `auth/two/`.
    pub(crate) one: String,
    pub(crate) two: String,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let registry = registry().auth::<Claims>().unwrap();
        let server = Server::ready(registry, CoreConfig { allow_api_audit: true, ..CoreConfig::default() }).await;
        let kv = r#"{"type":"kv","options":{"version":"1"}}"#;
        assert_eq!(server.call("POST", "sys/mounts/kv", &server.root, kv).await.status, 204);
        for mount in ["one", "two"] {
            let enabled = server.call("POST", &format!("sys/auth/{mount}"), &server.root, r#"{"type":"claims"}"#).await;
            assert_eq!(enabled.status, 204, "{}", enabled.text);
        }
        let shown = server.call("GET", "sys/auth", &server.root, "").await;
        let accessor = |mount: &str| {
            let found = shown.body.at("data").and_then(|d| d.get(mount)).and_then(|m| m.at("accessor")).and_then(|a| a.as_str());
            found.unwrap_or_default().to_owned()
        };
        let (one, two) = (accessor("one/"), accessor("two/"));
        assert!(one.starts_with("auth_claims_") && two.starts_with("auth_claims_") && one != two, "{}", shown.text);
        Self { server, one, two }
    }

    pub(crate) async fn root(&self, method: &str, path: &str, body: &str) -> Replied {
        self.server.call(method, path, &self.server.root, body).await
    }

    /// As root, and it must succeed.
    pub(crate) async fn ok(&self, method: &str, path: &str, body: &str) -> Replied {
        let replied = self.root(method, path, body).await;
        assert!(replied.status < 300, "{method} {path} {body}: {} {}", replied.status, replied.text);
        replied
    }

    pub(crate) async fn policy(&self, name: &str, text: &str) {
        let body = format!(r#"{{"policy":{}}}"#, serde_json::to_string(text).unwrap());
        self.ok("PUT", &format!("sys/policies/acl/{name}"), &body).await;
    }

    pub(crate) async fn try_login(&self, mount: &str, body: &str) -> Replied {
        self.server.call("POST", &format!("auth/{mount}/login"), "", body).await
    }

    pub(crate) async fn login(&self, mount: &str, body: &str) -> (String, String) {
        let replied = self.try_login(mount, body).await;
        assert_eq!(replied.status, 200, "{}", replied.text);
        (replied.text_at("auth/client_token").to_owned(), replied.text_at("auth/entity_id").to_owned())
    }

    pub(crate) async fn reads(&self, token: &str, path: &str) -> bool {
        let status = self.server.call("GET", path, token, "").await.status;
        assert!(matches!(status, 200 | 404 | 403), "{status}");
        status != 403
    }

    /// How many records of identity stand in the store, with their revisions: what a write would change.
    pub(crate) async fn records(&self) -> Vec<(String, u64)> {
        let snapshot = self.server.store.snapshot();
        let mut found = Vec::new();
        for key in snapshot.list(b"identity/", None, usize::MAX).await.unwrap() {
            let entry = snapshot.get(key.as_bytes()).await.unwrap().unwrap();
            found.push((String::from_utf8_lossy(key.as_bytes()).into_owned(), entry.revision.0));
        }
        found
    }
}

fn list(replied: &Replied, place: &str) -> Vec<String> {
    let items = replied.body.at(place).and_then(coffer_types::Json::as_array).unwrap_or_default();
    items.iter().filter_map(|i| i.as_str()).map(str::to_owned).collect()
}

const READ_OWN: &str = r#"path "kv/{{identity.entity.name}}/*" { capabilities = ["read"] }"#;

#[tokio::test]
async fn a_login_has_one_entity_and_its_name_fills_policies() {
    let s = Stage::new().await;
    s.policy("own", READ_OWN).await;
    let (token, id) = s.login("one", r#"{"alias":"Bob","policies":["own"]}"#).await;
    assert_eq!(id.len(), 36);
    let (_, again) = s.login("one", r#"{"alias":"bOB"}"#).await;
    assert_eq!(again, id, "names of aliases differ by more than case");
    let (_, other) = s.login("two", r#"{"alias":"Bob"}"#).await;
    assert_ne!(other, id, "another mount's Bob is another");
    let (_, nobody) = s.login("one", r#"{"policies":["own"]}"#).await;
    assert_eq!(nobody, "", "a method that names no alias makes no entity");
    s.ok("POST", &format!("identity/entity/id/{id}"), r#"{"name":"bob"}"#).await;
    assert!(s.reads(&token, "kv/bob/x").await);
    assert!(!s.reads(&token, "kv/alice/x").await);
    // The name changes: so does what the token may do, at once.
    s.ok("POST", &format!("identity/entity/id/{id}"), r#"{"name":"alice"}"#).await;
    assert!(s.reads(&token, "kv/alice/x").await);
    assert!(!s.reads(&token, "kv/bob/x").await);
    for bad in ["a/b", "*", "+", "x*", "..", "a,b", "{{x}}"] {
        s.ok("POST", &format!("identity/entity/id/{id}"), &format!(r#"{{"name":"{bad}"}}"#)).await;
        for path in ["kv/a/b/x", "kv/alice/x", "kv/x/y", "kv/bob/x"] {
            assert!(!s.reads(&token, path).await, "{bad} {path}");
        }
    }
}

#[tokio::test]
async fn a_login_that_changes_nothing_writes_nothing_to_identity() {
    let s = Stage::new().await;
    s.ok("POST", "identity/group", r#"{"name":"ext","type":"external"}"#).await;
    let ext = s.ok("GET", "identity/group/name/ext", "").await.text_at("data/id").to_owned();
    s.ok("POST", "identity/group-alias", &format!(r#"{{"name":"G","mount_accessor":"{}","canonical_id":"{ext}"}}"#, s.one)).await;
    let claim = r#"{"alias":"bob","metadata":{"a":"1"},"groups":["g","unknown"]}"#;
    s.login("one", claim).await;
    let before = s.records().await;
    assert!(before.len() >= 5, "{before:?}");
    for _ in 0..5 {
        s.login("one", claim).await;
        s.login("one", r#"{"alias":"BOB","metadata":{"a":"1"},"groups":["unknown","G","g"],"batch":true}"#).await;
    }
    assert_eq!(s.records().await, before);
    // And one that changes something does, in the entity's own record alone.
    s.login("one", r#"{"alias":"bob","metadata":{"a":"2"},"groups":["g"]}"#).await;
    let changed: Vec<_> = s.records().await.into_iter().filter(|r| !before.contains(r)).collect();
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert!(changed[0].0.starts_with("identity/entity/"));
}

#[tokio::test]
async fn no_name_stands_in_the_keys_of_the_store() {
    let s = Stage::new().await;
    s.login("one", r#"{"alias":"canary-alias"}"#).await;
    s.ok("POST", "identity/entity", r#"{"name":"canary-entity"}"#).await;
    s.ok("POST", "identity/group", r#"{"name":"canary-group"}"#).await;
    assert!(s.records().await.iter().all(|(key, _)| !key.contains("canary")));
}

#[tokio::test]
async fn policies_of_entity_and_groups_are_in_force_at_once() {
    let s = Stage::new().await;
    for name in ["e", "g", "top"] {
        s.policy(name, &format!(r#"path "kv/{name}" {{ capabilities = ["read"] }}"#)).await;
    }
    let (token, id) = s.login("one", r#"{"alias":"bob"}"#).await;
    let (batch, _) = s.login("one", r#"{"alias":"bob","batch":true}"#).await;
    assert!(!s.reads(&token, "kv/e").await);
    s.ok("POST", &format!("identity/entity/id/{id}"), r#"{"policies":["E","e"]}"#).await;
    assert!(s.reads(&token, "kv/e").await && s.reads(&batch, "kv/e").await);
    let group =
        s.ok("POST", "identity/group", &format!(r#"{{"name":"in","policies":["g"],"member_entity_ids":["{id}"]}}"#)).await;
    let group = group.text_at("data/id").to_owned();
    let top =
        s.ok("POST", "identity/group", &format!(r#"{{"name":"top","policies":["top"],"member_group_ids":["{group}"]}}"#)).await;
    let top = top.text_at("data/id").to_owned();
    for path in ["kv/e", "kv/g", "kv/top"] {
        assert!(s.reads(&token, path).await && s.reads(&batch, path).await, "{path}");
    }
    let own = s.server.call("GET", "auth/token/lookup-self", &token, "").await;
    assert_eq!(list(&own, "data/identity_policies"), ["e", "g", "top"], "{}", own.text);
    assert_eq!(list(&own, "data/policies"), ["default"]);
    let again = s.try_login("one", r#"{"alias":"bob"}"#).await;
    assert_eq!(list(&again, "auth/policies"), ["default", "e", "g", "top"]);
    assert_eq!(list(&again, "auth/token_policies"), ["default"]);
    assert_eq!(list(&again, "auth/identity_policies"), ["e", "g", "top"]);
    let renewed = s.server.call("POST", "auth/token/renew-self", &token, "{}").await;
    assert_eq!(list(&renewed, "auth/identity_policies"), ["e", "g", "top"], "{}", renewed.text);
    let asked = s.server.call("POST", "sys/capabilities-self", &token, r#"{"paths":["kv/top","kv/none"]}"#).await;
    assert!(asked.text.contains(r#""kv/top":["read"]"#) && asked.text.contains(r#""kv/none":["deny"]"#), "{}", asked.text);
    let asked = s.ok("POST", "sys/capabilities", &format!(r#"{{"token":"{token}","paths":["kv/g"]}}"#)).await;
    assert_eq!(list(&asked, "data/capabilities"), ["read"]);
    // The child of a token has its entity, an orphan has none.
    s.ok("POST", &format!("identity/entity/id/{id}"), r#"{"policies":["e","mk"]}"#).await;
    s.policy("mk", r#"path "auth/token/create" { capabilities = ["update","sudo"] }"#).await;
    let child = s.server.call("POST", "auth/token/create", &token, "{}").await;
    assert_eq!(child.text_at("auth/entity_id"), id, "{}", child.text);
    let orphan = s.server.call("POST", "auth/token/create", &token, r#"{"no_parent":true}"#).await;
    assert_eq!(orphan.text_at("auth/entity_id"), "", "{}", orphan.text);
    assert!(!s.reads(orphan.text_at("auth/client_token"), "kv/e").await);
    // What gave is taken back, from the top down.
    s.ok("POST", &format!("identity/group/id/{top}"), r#"{"member_group_ids":[]}"#).await;
    assert!(!s.reads(&token, "kv/top").await && s.reads(&token, "kv/g").await);
    s.ok("DELETE", &format!("identity/group/id/{group}"), "").await;
    assert!(!s.reads(&token, "kv/g").await && s.reads(&token, "kv/e").await);
    s.ok("POST", &format!("identity/entity/id/{id}"), r#"{"policies":[]}"#).await;
    assert!(!s.reads(&token, "kv/e").await && !s.reads(&batch, "kv/e").await);
}

#[tokio::test]
async fn a_disabled_or_deleted_entity_lets_nobody_in() {
    let s = Stage::new().await;
    let (token, id) = s.login("one", r#"{"alias":"bob"}"#).await;
    let (batch, _) = s.login("one", r#"{"alias":"bob","batch":true}"#).await;
    let alive = async |token: &str| s.server.call("GET", "auth/token/lookup-self", token, "").await.status;
    assert_eq!((alive(&token).await, alive(&batch).await), (200, 200));
    s.ok("POST", &format!("identity/entity/id/{id}"), r#"{"disabled":true}"#).await;
    assert_eq!((alive(&token).await, alive(&batch).await), (403, 403));
    let refused = s.try_login("one", r#"{"alias":"BOB"}"#).await;
    assert_eq!((refused.status, refused.error()), (403, "permission denied"));
    let asked = s.root("POST", "sys/capabilities", &format!(r#"{{"token":"{token}","paths":["kv/g"]}}"#)).await;
    assert_eq!(asked.status, 400, "{}", asked.text);
    s.ok("POST", &format!("identity/entity/id/{id}"), r#"{"disabled":false}"#).await;
    assert_eq!((alive(&token).await, alive(&batch).await), (200, 200));
    s.ok("DELETE", &format!("identity/entity/id/{id}"), "").await;
    assert_eq!((alive(&token).await, alive(&batch).await), (403, 403));
    let (_, new) = s.login("one", r#"{"alias":"bob"}"#).await;
    assert_ne!(new, id);
    assert_eq!(alive(&token).await, 403, "the old token is not the new entity's");
}

#[tokio::test]
async fn root_is_assigned_to_nobody() {
    let s = Stage::new().await;
    let (token, id) = s.login("one", r#"{"alias":"bob"}"#).await;
    s.ok("POST", "identity/group", &format!(r#"{{"name":"g","member_entity_ids":["{id}"]}}"#)).await;
    for root in [r#""root""#, r#"" Root""#, r#""ROOT\t""#, r#""a,root""#, r#"["a","rOOt "]"#, r#"["root"]"#] {
        let body = format!(r#"{{"name":"x","policies":{root}}}"#);
        for path in ["identity/entity", "identity/entity/name/x", "identity/group", "identity/group/name/g"] {
            let refused = s.root("POST", path, &body).await;
            assert_eq!((refused.status, refused.error()), (400, "policies cannot contain root"), "{path} {body}");
        }
        let refused = s.root("POST", &format!("identity/entity/id/{id}"), &format!(r#"{{"policies":{root}}}"#)).await;
        assert_eq!(refused.status, 400, "{}", refused.text);
    }
    assert_eq!(s.server.call("GET", "sys/policies/acl", &token, "").await.status, 403);
}

#[tokio::test]
async fn external_groups_follow_what_their_mount_says_last() {
    let s = Stage::new().await;
    s.policy("ops", r#"path "kv/ops" { capabilities = ["read"] }"#).await;
    let group = s.ok("POST", "identity/group", r#"{"name":"ops","type":"external","policies":["ops"]}"#).await;
    let group = group.text_at("data/id").to_owned();
    let alias = format!(r#"{{"name":"Ops","mount_accessor":"{}","canonical_id":"{group}"}}"#, s.one);
    let alias = s.ok("POST", "identity/group-alias", &alias).await.text_at("data/id").to_owned();
    let (token, id) = s.login("one", r#"{"alias":"bob","groups":["OPS"]}"#).await;
    assert!(s.reads(&token, "kv/ops").await);
    // Another mount that says so says nothing of this group.
    let (other, _) = s.login("two", r#"{"alias":"bob","groups":["ops"]}"#).await;
    assert!(!s.reads(&other, "kv/ops").await);
    // An internal group that it is in as well stays.
    s.ok("POST", "identity/group", &format!(r#"{{"name":"in","member_entity_ids":["{id}"]}}"#)).await;
    s.login("one", r#"{"alias":"bob"}"#).await;
    assert!(!s.reads(&token, "kv/ops").await, "the mount names it no more");
    assert_eq!(list(&s.ok("GET", &format!("identity/entity/id/{id}"), "").await, "data/group_ids").len(), 1);
    s.login("one", r#"{"alias":"bob","groups":["ops"]}"#).await;
    assert!(s.reads(&token, "kv/ops").await);
    assert_eq!(
        list(&s.ok("GET", &format!("identity/group/id/{group}"), "").await, "data/member_entity_ids"),
        std::slice::from_ref(&id)
    );
    // The name that the mount knows it by changes: what was said of the old one is void.
    s.ok("POST", &format!("identity/group-alias/id/{alias}"), r#"{"name":"admins"}"#).await;
    assert!(!s.reads(&token, "kv/ops").await);
    s.login("one", r#"{"alias":"bob","groups":["admins"]}"#).await;
    assert!(s.reads(&token, "kv/ops").await);
    s.ok("DELETE", &format!("identity/group-alias/id/{alias}"), "").await;
    assert!(!s.reads(&token, "kv/ops").await);
    for (body, why) in [
        (
            format!(r#"{{"name":"ops","member_entity_ids":["{id}"]}}"#),
            "member entities can't be set manually for external groups",
        ),
        (r#"{"name":"ops","member_group_ids":["x"]}"#.to_owned(), "member groups can't be set for external groups"),
        (r#"{"name":"ops","type":"internal"}"#.to_owned(), "group type cannot be changed"),
    ] {
        let refused = s.root("POST", "identity/group", &body).await;
        assert_eq!((refused.status, refused.error()), (400, why));
    }
}

#[tokio::test]
async fn renewals_follow_groups_and_bring_none_back() {
    let s = Stage::new().await;
    s.policy("ops", r#"path "kv/ops" { capabilities = ["read"] }"#).await;
    let group = s.ok("POST", "identity/group", r#"{"name":"ops","type":"external","policies":["ops"]}"#).await;
    let group = group.text_at("data/id").to_owned();
    let alias = format!(r#"{{"name":"ops","mount_accessor":"{}","canonical_id":"{group}"}}"#, s.one);
    s.ok("POST", "identity/group-alias", &alias).await;
    let renew = async |token: &str| {
        let renewed = s.server.call("POST", "auth/token/renew-self", token, "{}").await;
        assert_eq!(renewed.status, 200, "{}", renewed.text);
        list(&renewed, "auth/identity_policies")
    };
    let (old, _) = s.login("one", r#"{"alias":"bob","groups":["ops"]}"#).await;
    let (new, _) = s.login("one", r#"{"alias":"bob"}"#).await;
    assert!(renew(&old).await.is_empty());
    assert!(!s.reads(&old, "kv/ops").await && !s.reads(&new, "kv/ops").await, "an old token's renewal knows nothing newer");
    // The method asks again and hears of it.
    s.ok("POST", "auth/one/say", r#"{"groups":["ops"]}"#).await;
    assert_eq!(renew(&new).await, ["ops"]);
    assert!(s.reads(&new, "kv/ops").await);
    s.ok("POST", "auth/one/say", r#"{"groups":[]}"#).await;
    assert!(renew(&new).await.is_empty());
    assert!(!s.reads(&new, "kv/ops").await && !s.reads(&old, "kv/ops").await);
}

#[tokio::test]
async fn templates_take_each_mounts_own_alias() {
    let s = Stage::new().await;
    let text = format!(
        r#"path "kv/one/{{{{identity.entity.aliases.{}.name}}}}" {{ capabilities = ["read"] }}
           path "kv/two/{{{{identity.entity.aliases.{}.metadata.team}}}}" {{ capabilities = ["read"] }}"#,
        s.one, s.two
    );
    s.policy("t", &text).await;
    let (token, id) = s.login("one", r#"{"alias":"bob","policies":["t"],"metadata":{"team":"red"}}"#).await;
    assert!(s.reads(&token, "kv/one/bob").await);
    for path in ["kv/two/red", "kv/two/bob", "kv/one/red", "kv/one/alice"] {
        assert!(!s.reads(&token, path).await, "{path}");
    }
    let body = format!(r#"{{"name":"alice","mount_accessor":"{}","canonical_id":"{id}"}}"#, s.two);
    s.ok("POST", "identity/entity-alias", &body).await;
    assert!(s.reads(&token, "kv/one/bob").await && !s.reads(&token, "kv/one/alice").await);
    let (_, same) = s.login("two", r#"{"alias":"Alice","metadata":{"team":"blue"}}"#).await;
    assert_eq!(same, id);
    assert!(s.reads(&token, "kv/two/blue").await && !s.reads(&token, "kv/two/red").await);
    // A second alias of one mount is refused; else either would fill.
    let body = format!(r#"{{"name":"carol","mount_accessor":"{}","canonical_id":"{id}"}}"#, s.one);
    assert_eq!(s.root("POST", "identity/entity-alias", &body).await.status, 400);
    // The mount goes: its alias lets nobody in and fills on, as the reference has it; its accessor never comes back.
    s.ok("DELETE", "sys/auth/two", "").await;
    s.ok("POST", "sys/auth/two", r#"{"type":"claims"}"#).await;
    let (_, new) = s.login("two", r#"{"alias":"alice"}"#).await;
    assert_ne!(new, id);
}

#[tokio::test]
async fn an_alias_moves_with_what_it_carries_and_is_never_twice() {
    let s = Stage::new().await;
    let (_, bob) = s.login("one", r#"{"alias":"bob"}"#).await;
    let (_, eve) = s.login("two", r#"{"alias":"eve"}"#).await;
    let shown = s.ok("GET", &format!("identity/entity/id/{bob}"), "").await;
    let alias = shown.text_at("data/aliases/0/id").to_owned();
    assert_eq!(shown.text_at("data/aliases/0/mount_path"), "auth/one/");
    // Renamed to a name that is another's.
    s.login("one", r#"{"alias":"carol"}"#).await;
    let refused = s.root("POST", &format!("identity/entity-alias/id/{alias}"), r#"{"name":"CAROL"}"#).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    let (_, still) = s.login("one", r#"{"alias":"bob"}"#).await;
    assert_eq!(still, bob);
    // Moved to another entity.
    let moved = s.ok("POST", &format!("identity/entity-alias/id/{alias}"), &format!(r#"{{"canonical_id":"{eve}"}}"#)).await;
    assert_eq!(moved.text_at("data/canonical_id"), eve);
    assert_eq!(s.login("one", r#"{"alias":"bob"}"#).await.1, eve);
    assert_eq!(s.ok("GET", &format!("identity/entity-alias/id/{alias}"), "").await.text_at("data/canonical_id"), eve);
    assert_eq!(s.ok("GET", &format!("identity/entity/id/{bob}"), "").await.body.at("data/aliases/0"), None);
    // Renamed: the old name is a new person's.
    s.ok("POST", &format!("identity/entity-alias/id/{alias}"), r#"{"name":"robert"}"#).await;
    let (_, stranger) = s.login("one", r#"{"alias":"bob"}"#).await;
    assert!(stranger != eve && stranger != bob);
    assert_eq!(s.login("one", r#"{"alias":"robert"}"#).await.1, eve);
    s.ok("DELETE", &format!("identity/entity-alias/id/{alias}"), "").await;
    assert_ne!(s.login("one", r#"{"alias":"robert"}"#).await.1, eve);
    assert_eq!(s.root("GET", &format!("identity/entity-alias/id/{alias}"), "").await.status, 404);
    for (body, why) in [
        (r#"{"name":"x"}"#, "'id' or 'mount_accessor' and 'name' must be provided"),
        (r#"{"name":"x","mount_accessor":"nope"}"#, "invalid mount accessor \"nope\""),
        (r#"{"id":"nope","name":"x"}"#, "invalid alias ID provided"),
    ] {
        let refused = s.root("POST", "identity/entity-alias", body).await;
        assert_eq!((refused.status, refused.error()), (400, why));
    }
}

#[tokio::test]
async fn merging_takes_aliases_and_groups_and_no_policies() {
    let s = Stage::new().await;
    for name in ["mine", "theirs", "group"] {
        s.policy(name, &format!(r#"path "kv/{name}" {{ capabilities = ["read"] }}"#)).await;
    }
    let (_, to) = s.login("one", r#"{"alias":"bob"}"#).await;
    let (token, from) = s.login("two", r#"{"alias":"bob"}"#).await;
    let (_, third) = s.login("one", r#"{"alias":"carol"}"#).await;
    s.ok("POST", &format!("identity/entity/id/{to}"), r#"{"policies":["mine"]}"#).await;
    s.ok("POST", &format!("identity/entity/id/{from}"), r#"{"policies":["theirs"],"name":"gone"}"#).await;
    s.ok("POST", "identity/group", &format!(r#"{{"name":"g","policies":["group"],"member_entity_ids":["{from}"]}}"#)).await;
    assert!(s.reads(&token, "kv/theirs").await);
    for (body, why) in [
        (r#"{"to_entity_id":"x"}"#.to_owned(), "missing entity ids to merge from"),
        (r#"{"from_entity_ids":["x"]}"#.to_owned(), "missing entity id to merge to"),
        (format!(r#"{{"from_entity_ids":["{from}"],"to_entity_id":"x"}}"#), "entity id to merge to is invalid"),
        (format!(r#"{{"from_entity_ids":["x"],"to_entity_id":"{to}"}}"#), "entity id to merge from is invalid"),
        (
            format!(r#"{{"from_entity_ids":["{to}"],"to_entity_id":"{to}"}}"#),
            "to_entity_id should not be present in from_entity_ids",
        ),
    ] {
        let refused = s.root("POST", "identity/entity/merge", &body).await;
        assert_eq!((refused.status, refused.error()), (400, why));
    }
    s.ok("POST", "identity/entity/merge", &format!(r#"{{"from_entity_ids":["{from}"],"to_entity_id":"{to}"}}"#)).await;
    assert!(s.reads(&token, "kv/mine").await && s.reads(&token, "kv/group").await && !s.reads(&token, "kv/theirs").await);
    assert_eq!(s.root("GET", &format!("identity/entity/id/{from}"), "").await.status, 404);
    assert_eq!(s.root("GET", "identity/entity/name/gone", "").await.status, 404);
    assert_eq!(s.login("two", r#"{"alias":"bob"}"#).await.1, to);
    // Both have an alias of one mount: nothing is done until somebody says which stays.
    let refused =
        s.root("POST", "identity/entity/merge", &format!(r#"{{"from_entity_ids":["{third}"],"to_entity_id":"{to}"}}"#)).await;
    assert_eq!(refused.status, 400);
    assert_eq!(s.login("one", r#"{"alias":"carol"}"#).await.1, third);
    let keep = s.ok("GET", &format!("identity/entity/id/{third}"), "").await.text_at("data/aliases/0/id").to_owned();
    let body = format!(r#"{{"from_entity_ids":["{third}"],"to_entity_id":"{to}","conflicting_alias_ids_to_keep":["{keep}"]}}"#);
    s.ok("POST", "identity/entity/merge", &body).await;
    assert_eq!(s.login("one", r#"{"alias":"carol"}"#).await.1, to);
    assert_ne!(s.login("one", r#"{"alias":"bob"}"#).await.1, to, "the alias that was not kept is a stranger's");
    assert_eq!(
        list(&s.ok("GET", &format!("identity/entity/id/{to}"), "").await, "data/merged_entity_ids"),
        [from.clone(), third]
    );
    // The one goes: so do the tokens of those that it took in.
    s.ok("DELETE", &format!("identity/entity/id/{to}"), "").await;
    assert_eq!(s.server.call("GET", "auth/token/lookup-self", &token, "").await.status, 403);
}

#[tokio::test]
async fn groups_are_no_circles_and_their_members_are_there() {
    let s = Stage::new().await;
    let make = async |body: &str| s.ok("POST", "identity/group", body).await.text_at("data/id").to_owned();
    let a = make(r#"{"name":"a"}"#).await;
    let b = make(&format!(r#"{{"name":"b","member_group_ids":["{a}"]}}"#)).await;
    let c = make(&format!(r#"{{"name":"c","member_group_ids":["{b}"]}}"#)).await;
    for body in [
        format!(r#"{{"member_group_ids":["{c}"]}}"#),
        format!(r#"{{"member_group_ids":["{a}"]}}"#),
        r#"{"member_group_ids":["nope"]}"#.to_owned(),
        r#"{"member_entity_ids":["nope"]}"#.to_owned(),
        r#"{"name":"B"}"#.to_owned(),
    ] {
        let refused = s.root("POST", &format!("identity/group/id/{a}"), &body).await;
        assert_eq!(refused.status, 400, "{body} {}", refused.text);
    }
    assert_eq!(s.root("POST", "identity/group", r#"{"name":"x","type":"weird"}"#).await.error(), "invalid group type \"weird\"");
    // What was refused left nothing half done.
    assert_eq!(list(&s.ok("GET", "identity/group/name/A", "").await, "data/parent_group_ids"), std::slice::from_ref(&b));
    s.ok("DELETE", "identity/group/name/B", "").await;
    assert!(list(&s.ok("GET", "identity/group/name/a", "").await, "data/parent_group_ids").is_empty());
    assert!(list(&s.ok("GET", &format!("identity/group/id/{c}"), "").await, "data/member_group_ids").is_empty());
}

#[tokio::test]
async fn tokens_act_as_an_alias_that_their_role_allows() {
    let s = Stage::new().await;
    s.ok("POST", "auth/token/roles/r", r#"{"allowed_entity_aliases":["app-*","exact"],"allowed_policies":["default"]}"#).await;
    let made = s.ok("POST", "auth/token/create/r", r#"{"entity_alias":"App-1"}"#).await;
    let id = made.text_at("auth/entity_id").to_owned();
    assert_eq!(id.len(), 36, "{}", made.text);
    let batch = s.ok("POST", "auth/token/create/r", r#"{"entity_alias":"app-1","type":"batch"}"#).await;
    assert_eq!(batch.text_at("auth/entity_id"), id);
    for body in [r#"{"entity_alias":"other"}"#, r#"{"entity_alias":"exact2"}"#] {
        assert_eq!(s.root("POST", "auth/token/create/r", body).await.error(), "invalid 'entity_alias' value");
    }
    assert_eq!(s.root("POST", "auth/token/create", r#"{"entity_alias":"app-1"}"#).await.status, 400);
    s.ok("POST", &format!("identity/entity/id/{id}"), r#"{"disabled":true}"#).await;
    let refused = s.root("POST", "auth/token/create/r", r#"{"entity_alias":"app-1"}"#).await;
    assert_eq!((refused.status, refused.error()), (403, "entity from given entity alias is disabled"));
    assert_eq!(s.server.call("GET", "auth/token/lookup-self", batch.text_at("auth/client_token"), "").await.status, 403);
}

#[tokio::test]
async fn two_first_logins_at_once_are_one_entity() {
    let s = Stage::new().await;
    let claim = r#"{"alias":"bob"}"#;
    let (a, b, c, d) =
        tokio::join!(s.login("one", claim), s.login("one", claim), s.login("one", claim), s.login("one", r#"{"alias":"BOB"}"#));
    assert!([&b.1, &c.1, &d.1].iter().all(|id| **id == a.1));
    assert_eq!(list(&s.ok("LIST", "identity/entity/id", "").await, "data/keys"), [a.1]);
}

#[tokio::test]
async fn lookups_take_one_question() {
    let s = Stage::new().await;
    let (_, id) = s.login("one", r#"{"alias":"bob"}"#).await;
    let found =
        s.ok("POST", "identity/lookup/entity", &format!(r#"{{"alias_name":"BOB","alias_mount_accessor":"{}"}}"#, s.one)).await;
    assert_eq!(found.text_at("data/id"), id);
    let other = format!(r#"{{"alias_name":"bob","alias_mount_accessor":"{}"}}"#, s.two);
    assert_eq!(s.ok("POST", "identity/lookup/entity", &other).await.status, 204);
    for body in [
        "{}".to_owned(),
        r#"{"alias_name":"bob"}"#.to_owned(),
        format!(r#"{{"alias_mount_accessor":"{}"}}"#, s.one),
        format!(r#"{{"id":"{id}","name":"x"}}"#),
    ] {
        for what in ["entity", "group"] {
            assert_eq!(s.root("POST", &format!("identity/lookup/{what}"), &body).await.status, 400, "{what} {body}");
        }
    }
}

#[tokio::test]
async fn a_wrapped_login_shows_what_it_has_of_its_entity() {
    let s = Stage::new().await;
    let (_, id) = s.login("one", r#"{"alias":"bob"}"#).await;
    s.ok("POST", &format!("identity/entity/id/{id}"), r#"{"policies":["e"]}"#).await;
    let headers = [("X-Vault-Wrap-TTL", "60")];
    let wrapped = s.server.request("POST", "/v1/auth/one/login", &headers, br#"{"alias":"bob"}"#).await;
    let token = wrapped.text_at("wrap_info/token").to_owned();
    let inside = s.server.call("POST", "sys/wrapping/unwrap", &token, "").await;
    assert_eq!(inside.text_at("auth/entity_id"), id, "{}", inside.text);
    assert_eq!(list(&inside, "auth/identity_policies"), ["e"]);
    assert_eq!(list(&inside, "auth/policies"), ["default", "e"]);
}

#[tokio::test]
async fn a_batch_token_does_not_carry_what_its_login_said() {
    let s = Stage::new().await;
    let (small, _) = s.login("one", r#"{"alias":"bob","batch":true}"#).await;
    let groups: Vec<String> = (0..500).map(|n| format!(r#""group-{n}""#)).collect();
    let (large, _) = s.login("one", &format!(r#"{{"alias":"bob","batch":true,"groups":[{}]}}"#, groups.join(","))).await;
    assert_eq!(small.len(), large.len());
}

/// Readers keep filling the caches while one writer gives and takes: what was acknowledged is in force for the next call.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_reader_brings_an_old_identity_back() {
    let s = std::sync::Arc::new(Stage::new().await);
    s.policy("e", r#"path "kv/{{identity.entity.metadata.place}}" { capabilities = ["read"] }"#).await;
    let (token, id) = s.login("one", r#"{"alias":"bob","policies":["e"]}"#).await;
    let group = s.ok("POST", "identity/group", &format!(r#"{{"name":"g","member_entity_ids":["{id}"]}}"#)).await;
    let group = group.text_at("data/id").to_owned();
    s.policy("g", r#"path "kv/group" { capabilities = ["read"] }"#).await;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut readers = Vec::new();
    for _ in 0..6 {
        let (s, token, stop) = (s.clone(), token.clone(), stop.clone());
        readers.push(tokio::spawn(async move {
            let mut reads = 0u32;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                s.server.call("GET", "kv/group", &token, "").await;
                reads += 1;
                tokio::task::yield_now().await;
            }
            reads
        }));
    }
    for round in 0..150i32 {
        let place = format!("p{round}");
        s.ok("POST", &format!("identity/entity/id/{id}"), &format!(r#"{{"metadata":{{"place":"{place}"}}}}"#)).await;
        assert!(s.reads(&token, &format!("kv/{place}")).await, "{round}");
        assert!(!s.reads(&token, &format!("kv/p{}", round - 1)).await, "{round}");
        let policies = if round % 2 == 0 { r#"["g"]"# } else { "[]" };
        s.ok("POST", &format!("identity/group/id/{group}"), &format!(r#"{{"policies":{policies}}}"#)).await;
        assert_eq!(s.reads(&token, "kv/group").await, round % 2 == 0, "{round}");
        if round % 10 == 0 {
            s.ok("POST", &format!("identity/entity/id/{id}"), r#"{"disabled":true}"#).await;
            assert_eq!(s.server.call("GET", "auth/token/lookup-self", &token, "").await.status, 403, "{round}");
            s.ok("POST", &format!("identity/entity/id/{id}"), r#"{"disabled":false}"#).await;
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.unwrap() > 100, "the readers read");
    }
}

#[tokio::test]
async fn explain_knows_who_it_is() {
    let s = Stage::new().await;
    s.policy("own", READ_OWN).await;
    let (token, id) = s.login("one", r#"{"alias":"bob","policies":["own"]}"#).await;
    s.ok("POST", &format!("identity/entity/id/{id}"), r#"{"name":"bob"}"#).await;
    let ask = |path: &str| format!(r#"{{"token":"{token}","path":"{path}"}}"#);
    let told = s.ok("POST", "sys/policies/explain", &ask("kv/bob/x")).await;
    assert_eq!(told.body.at("data/allowed").and_then(coffer_types::Json::as_bool), Some(true), "{}", told.text);
    let told = s.ok("POST", "sys/policies/explain", &ask("kv/eve/x")).await;
    assert_eq!(told.body.at("data/allowed").and_then(coffer_types::Json::as_bool), Some(false), "{}", told.text);
    s.ok("POST", &format!("identity/entity/id/{id}"), r#"{"disabled":true}"#).await;
    assert_eq!(s.root("POST", "sys/policies/explain", &ask("kv/bob/x")).await.status, 400);
}

#[tokio::test]
async fn lines_say_which_entity_and_what_it_adds() {
    let s = Stage::new().await;
    let folder = tempfile::tempdir().unwrap();
    let (token, id) = s.login("one", r#"{"alias":"bob"}"#).await;
    s.ok("POST", &format!("identity/entity/id/{id}"), r#"{"policies":["e"]}"#).await;
    let path = folder.path().join("audit.log");
    let body = format!(r#"{{"type":"file","options":{{"file_path":"{}"}}}}"#, path.display());
    s.ok("PUT", "sys/audit/f", &body).await;
    s.server.call("GET", "auth/token/lookup-self", &token, "").await;
    s.login("one", r#"{"alias":"bob"}"#).await;
    let lines = std::fs::read_to_string(&path).unwrap();
    let lookup = lines.lines().find(|l| l.contains("lookup-self") && l.contains(r#""type":"request""#)).unwrap();
    for part in [
        &*format!(r#""entity_id":"{id}""#),
        r#""identity_policies":["e"]"#,
        r#""token_policies":["default"]"#,
        r#""policies":["default","e"]"#,
    ] {
        assert!(lookup.contains(part), "{part} in {lookup}");
    }
    let login = lines.lines().rfind(|l| l.contains("auth/one/login") && l.contains(r#""type":"response""#)).unwrap();
    assert!(login.contains(&format!(r#""entity_id":"{id}""#)) && login.contains(r#""identity_policies":["e"]"#), "{login}");
}
