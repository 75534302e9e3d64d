//! Much to revoke: in bounded commits, out of force at once, finished after a crash between any two of them.

use coffer_core::leases::expire::{expire_due, finish_revocations};
use coffer_core::seal::SealKind;
use coffer_core::{Core, CoreConfig, Registry};
use coffer_storage::memory::Memory;
use coffer_storage::{Batch, BoxFuture, CommitError, Limit, Revision, Snapshot, Stats, Store, StoreError, Watch};
use coffer_testkit::engines::{Accounts, MemoryDatabase};
use coffer_testkit::{Replied, Server, registry};
use coffer_types::Json;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

/// A store that takes less at once than the real one, and dies when it is told to.
pub(crate) struct Bounded {
    inner: Memory,
    most: AtomicUsize,
    /// Commits until it dies.
    left: AtomicI64,
}

impl Bounded {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { inner: Memory::new(), most: AtomicUsize::new(usize::MAX), left: AtomicI64::new(i64::MAX) })
    }

    pub(crate) fn take_at_most(&self, bytes: usize) {
        self.most.store(bytes, SeqCst);
    }

    pub(crate) fn die_after(&self, commits: i64) {
        self.left.store(commits, SeqCst);
    }

    /// As after a restart of the machine.
    pub(crate) fn live_again(&self) {
        self.left.store(i64::MAX, SeqCst);
    }
}

impl Store for Bounded {
    fn snapshot(&self) -> Arc<dyn Snapshot> {
        self.inner.snapshot()
    }

    fn commit<'a>(&'a self, batch: Batch) -> BoxFuture<'a, Result<Revision, CommitError>> {
        let (size, limit) = (batch.size(), self.most.load(SeqCst));
        if size > limit {
            return Box::pin(async move { Err(CommitError::TooLarge { what: Limit::Batch, size, limit }) });
        }
        if self.left.fetch_sub(1, SeqCst) <= 0 {
            return Box::pin(async { Err(CommitError::Poisoned { reason: "dead".into() }) });
        }
        self.inner.commit(batch)
    }

    fn watch(&self) -> Watch {
        self.inner.watch()
    }

    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.close()
    }
}

pub(crate) fn engines() -> Registry {
    registry().engine::<Accounts>().expect("sound declarations")
}

/// A server on this store, initialised.
pub(crate) async fn on(store: Arc<Bounded>) -> Server {
    let mut server = Server::sealed(engines(), CoreConfig::default()).await;
    server.store = store;
    server = again(server).await;
    let init = server.call("PUT", "sys/init", "", r#"{"secret_shares":1,"secret_threshold":1}"#).await;
    server.share = init.text_at("keys/0").to_owned();
    server.root = init.text_at("root_token").to_owned();
    unseal(&server).await;
    server
}

/// Another process on the same store.
async fn again(server: Server) -> Server {
    let core = Core::open(
        CoreConfig::default(),
        SealKind::Shamir,
        server.store.clone(),
        engines(),
        server.clock.clone(),
        server.random.clone(),
    )
    .await
    .unwrap();
    Server { core, ..server }
}

pub(crate) async fn restarted(server: Server) -> Server {
    let server = again(server).await;
    unseal(&server).await;
    server
}

async fn unseal(server: &Server) {
    let open = server.call("PUT", "sys/unseal", "", &format!(r#"{{"key":"{}"}}"#, server.share)).await;
    assert_eq!(open.status, 200, "{}", open.text);
}

pub(crate) async fn token(server: &Server, by: &str, body: &str) -> String {
    let made = server.call("POST", "auth/token/create", by, body).await;
    assert_eq!(made.status, 200, "{}", made.text);
    made.text_at("auth/client_token").to_owned()
}

pub(crate) async fn keys(server: &Server, prefix: &str) -> Vec<String> {
    server.core.unsealed().unwrap().view().keys(prefix, None, usize::MAX).await.unwrap()
}

async fn status(server: &Server, token: &str) -> u16 {
    server.call("GET", "auth/token/lookup-self", token, "").await.status
}

pub(crate) async fn database(server: &Server, name: &str) -> Arc<MemoryDatabase> {
    let body = format!(r#"{{"type":"accounts","options":{{"database":"{name}"}}}}"#);
    let mounted = server.call("POST", "sys/mounts/db", &server.root, &body).await;
    assert_eq!(mounted.status, 204, "{}", mounted.text);
    assert_eq!(server.call("POST", "db/roles/app", &server.root, r#"{"ttl":"1h"}"#).await.status, 204);
    MemoryDatabase::named(name)
}

pub(crate) async fn creds(server: &Server, token: &str) -> Replied {
    let made = server.call("GET", "db/creds/app", token, "").await;
    assert_eq!(made.status, 200, "{}", made.text);
    made
}

pub(crate) async fn post(server: &Server, path: &str, body: &str) -> Replied {
    server.call("POST", path, &server.root, body).await
}

pub(crate) const ALL: &str = r#"{"policies":["root"],"ttl":"1h"}"#;

/// A token with many children, one of which has children, with accounts and secrets of its own.
struct Tree {
    parent: String,
    child: String,
    grandchild: String,
}

async fn tree(server: &Server, children: usize) -> Tree {
    let parent = token(server, &server.root, ALL).await;
    let child = token(server, &parent, ALL).await;
    for _ in 1..children {
        token(server, &parent, ALL).await;
    }
    let mut grandchild = String::new();
    for _ in 0..5 {
        grandchild = token(server, &child, ALL).await;
    }
    for holder in [&parent, &child, &grandchild] {
        creds(server, holder).await;
        for n in 0..3 {
            assert_eq!(server.call("POST", &format!("cubbyhole/{n}"), holder, r#"{"a":"b"}"#).await.status, 204);
        }
    }
    Tree { parent, child, grandchild }
}

/// What the tree has left: nothing but the root token's own and the mounts' data may be there.
async fn nothing_left(server: &Server) {
    let left = keys(server, "lease/").await;
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(keys(server, "token/id/").await.len(), 1);
    assert_eq!(keys(server, "token/accessor/").await.len(), 1);
    assert!(keys(server, "token/child/").await.is_empty());
    assert!(keys(server, "token/made/").await.len() <= 1, "the root token's mark alone");
    let live = server.core.unsealed().unwrap();
    let cubbyhole = live.router.load().at("cubbyhole/").unwrap().prefix.to_string();
    assert!(keys(server, &cubbyhole).await.is_empty());
}

pub(crate) async fn finish(server: &Server) {
    for _ in 0..4 {
        finish_revocations(&server.core).await.unwrap();
        expire_due(&server.core).await.unwrap();
    }
}

#[tokio::test]
async fn a_tree_that_no_commit_takes_at_once_ends_at_once() {
    let store = Bounded::new();
    let server = on(store.clone()).await;
    let database = database(&server, "leases-tree").await;
    let tree = tree(&server, 400).await;
    let batch = token(&server, &tree.grandchild, r#"{"type":"batch","policies":["default"],"ttl":"1h"}"#).await;
    assert_eq!(status(&server, &batch).await, 200);
    store.take_at_most(300_000);
    let revoked = post(&server, "auth/token/revoke", &format!(r#"{{"token":"{}"}}"#, tree.parent)).await;
    assert_eq!(revoked.status, 204, "{}", revoked.text);
    for held in [&tree.parent, &tree.child, &tree.grandchild, &batch] {
        assert_eq!(status(&server, held).await, 403);
    }
    finish(&server).await;
    assert!(database.accounts().is_empty(), "{:?}", database.accounts());
    nothing_left(&server).await;
}

#[tokio::test]
async fn a_tree_ends_whole_whenever_the_server_dies() {
    let mut acknowledged = false;
    for commits in 0..12 {
        let store = Bounded::new();
        let server = on(store.clone()).await;
        let database = database(&server, &format!("leases-crash-{commits}")).await;
        let tree = tree(&server, 140).await;
        store.die_after(commits);
        let revoked = post(&server, "auth/token/revoke", &format!(r#"{{"token":"{}"}}"#, tree.parent)).await;
        acknowledged = revoked.status == 204;
        store.live_again();
        let server = restarted(server).await;
        let dead = status(&server, &tree.parent).await == 403;
        assert_eq!(dead, commits > 0, "{commits}: {}", revoked.text);
        assert!(dead || !acknowledged, "{commits}: it was acknowledged and is undone");
        for held in [&tree.child, &tree.grandchild] {
            assert_eq!(status(&server, held).await == 403, dead, "{commits}: a part of the tree");
        }
        if dead {
            for (path, body) in [
                ("auth/token/lookup", format!(r#"{{"token":"{}"}}"#, tree.grandchild)),
                ("auth/token/renew", format!(r#"{{"token":"{}"}}"#, tree.grandchild)),
            ] {
                let found = post(&server, path, &body).await;
                assert!([400, 403].contains(&found.status), "{commits}: {path}: {}", found.text);
            }
            let asked = format!(r#"{{"token":"{}","paths":["x"],"path":"x"}}"#, tree.grandchild);
            for path in ["sys/capabilities", "sys/policies/explain"] {
                let found = post(&server, path, &asked).await;
                assert_eq!(found.status, 400, "{commits}: {path}: {}", found.text);
            }
            for id in keys(&server, "lease/id/").await {
                let id = id.trim_start_matches("lease/id/");
                let renewed = post(&server, "sys/leases/renew", &format!(r#"{{"lease_id":"{id}"}}"#)).await;
                assert_eq!(renewed.status, 400, "{commits}: {id}: {}", renewed.text);
            }
            finish(&server).await;
            assert!(database.accounts().is_empty(), "{commits}");
            nothing_left(&server).await;
        }
    }
    assert!(acknowledged, "the last run had commits enough");
}

#[tokio::test]
async fn children_that_are_kept_are_never_refused() {
    for commits in [1, 2, 3, i64::MAX] {
        let store = Bounded::new();
        let server = on(store.clone()).await;
        let database = database(&server, &format!("leases-orphan-{commits}")).await;
        let tree = tree(&server, 200).await;
        store.die_after(commits);
        let revoked = post(&server, "auth/token/revoke-orphan", &format!(r#"{{"token":"{}"}}"#, tree.parent)).await;
        assert_eq!(revoked.status, 204, "{}", revoked.text);
        store.live_again();
        let server = restarted(server).await;
        assert_eq!(status(&server, &tree.parent).await, 403);
        for held in [&tree.child, &tree.grandchild] {
            assert_eq!(status(&server, held).await, 200, "{commits}");
        }
        finish(&server).await;
        for held in [&tree.child, &tree.grandchild] {
            assert_eq!(status(&server, held).await, 200, "{commits}");
        }
        let child = server.call("GET", "auth/token/lookup-self", &tree.child, "").await;
        assert_eq!(child.body.at("data/orphan"), Some(&Json::Bool(true)));
        // Root, 200 children, 5 grandchildren; the parent's own account is gone.
        assert_eq!((keys(&server, "token/id/").await.len(), database.accounts().len()), (206, 2));
        assert!(keys(&server, "lease/ending/").await.is_empty());
    }
}

#[tokio::test]
async fn a_text_is_not_used_again_while_its_first_token_is_being_revoked() {
    let store = Bounded::new();
    let server = on(store.clone()).await;
    let named = r#"{"id":"again","policies":["root"],"ttl":"1h"}"#;
    token(&server, &server.root, named).await;
    for _ in 0..140 {
        token(&server, "again", ALL).await;
    }
    store.die_after(1);
    assert_eq!(post(&server, "auth/token/revoke", r#"{"token":"again"}"#).await.status, 204);
    store.live_again();
    let refused = post(&server, "auth/token/create", named).await;
    assert_eq!(refused.status, 503, "{}", refused.text);
    finish(&server).await;
    assert_eq!(post(&server, "auth/token/create", named).await.status, 200);
    assert_eq!(status(&server, "again").await, 200);
}

#[tokio::test]
async fn ancestors_have_a_bound() {
    let server = on(Bounded::new()).await;
    let mut held = server.root.clone();
    for _ in 0..511 {
        held = token(&server, &held, r#"{"policies":["root"]}"#).await;
    }
    assert_eq!(status(&server, &held).await, 200);
    let last = server.call("POST", "auth/token/create", &held, r#"{"policies":["root"]}"#).await;
    assert_eq!(last.status, 400, "{}", last.text);
    assert!(last.error().contains("512"), "{}", last.text);
}

#[tokio::test]
async fn a_prefix_is_revoked_in_pages_and_to_its_end_after_a_crash() {
    for commits in [1, 2, 3, 5, i64::MAX] {
        let store = Bounded::new();
        let server = on(store.clone()).await;
        let database = database(&server, &format!("leases-prefix-{commits}")).await;
        for _ in 0..300 {
            creds(&server, &server.root).await;
        }
        let held = token(&server, &server.root, ALL).await;
        store.take_at_most(200_000);
        store.die_after(commits);
        let revoked = post(&server, "sys/leases/revoke-prefix/db/creds", "").await;
        assert_eq!(revoked.status, 202, "{commits}: {}", revoked.text);
        store.live_again();
        let server = restarted(server).await;
        server.clock.advance(Duration::from_secs(1));
        let made = creds(&server, &server.root).await;
        finish(&server).await;
        // What came after the call is none of its business.
        let left: Vec<String> = database.accounts().into_keys().collect();
        assert_eq!(left, [made.text_at("data/username")], "{commits}");
        assert_eq!(status(&server, &held).await, 200);
        assert!(keys(&server, "lease/sweep/").await.is_empty());
    }
}

#[tokio::test]
async fn what_is_queued_for_revocation_is_not_renewed_away_from_it() {
    let server = on(Bounded::new()).await;
    let database = database(&server, "leases-renew").await;
    for path in ["revoke", "revoke-prefix/db"] {
        let lease = creds(&server, &server.root).await.text_at("lease_id").to_owned();
        let body = format!(r#"{{"lease_id":"{lease}","increment":"2h"}}"#);
        assert_eq!(post(&server, "sys/leases/renew", &body).await.status, 200);
        assert_eq!(post(&server, &format!("sys/leases/{path}"), &body).await.status, 202);
        let renewed = post(&server, "sys/leases/renew", &body).await;
        assert_eq!(renewed.status, 400, "{path}: {}", renewed.text);
        expire_due(&server.core).await.unwrap();
        assert!(database.accounts().is_empty(), "{path}");
    }
}

#[tokio::test]
async fn who_waits_for_a_revocation_reads_why_it_failed_and_force_forgets() {
    let server = on(Bounded::new()).await;
    let database = database(&server, "leases-sync").await;
    let lease = creds(&server, &server.root).await.text_at("lease_id").to_owned();
    for _ in 0..150 {
        creds(&server, &server.root).await;
    }
    database.fail(1);
    let one = post(&server, "sys/leases/revoke", &format!(r#"{{"lease_id":"{lease}","sync":true}}"#)).await;
    assert_eq!(one.status, 400, "{}", one.text);
    assert!(one.error().contains(&lease) && one.error().contains("the database does not answer"), "{}", one.text);
    let shown = post(&server, "sys/leases/lookup", &format!(r#"{{"lease_id":"{lease}"}}"#)).await;
    assert_eq!(shown.text_at("data/revoke_error"), "the database does not answer");
    // All the others go; the one that failed is named.
    database.fail(1);
    let all = post(&server, "sys/leases/revoke-prefix/db", r#"{"sync":true}"#).await;
    assert_eq!((all.status, database.accounts().len()), (400, 1), "{}", all.text);
    assert_eq!(server.call("DELETE", "sys/mounts/db", &server.root, "").await.status, 204, "the database answers again");
    assert!(database.accounts().is_empty());

    database_again(&server).await;
    creds(&server, &server.root).await;
    database.fail(u32::MAX);
    let refused = server.call("DELETE", "sys/mounts/db", &server.root, "").await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert_eq!(post(&server, "sys/leases/revoke-force/db", "").await.status, 204);
    assert!(keys(&server, "lease/").await.is_empty());
    assert_eq!(server.call("DELETE", "sys/mounts/db", &server.root, "").await.status, 204);
    database.fail(0);
}

async fn database_again(server: &Server) {
    // The old mount's data is still going; its path is free.
    let body = r#"{"type":"accounts","options":{"database":"leases-sync"}}"#;
    assert_eq!(post(server, "sys/mounts/db", body).await.status, 204);
    assert_eq!(post(server, "db/roles/app", r#"{"ttl":"1h"}"#).await.status, 204);
}

#[tokio::test]
async fn what_can_not_be_revoked_is_tried_ever_more_rarely_and_listed_with_its_reason() {
    let server = on(Bounded::new()).await;
    let database = database(&server, "leases-stuck").await;
    let lease = creds(&server, &server.root).await.text_at("lease_id").to_owned();
    let list = async |query: &'static str| server.request("GET", query, &[("X-Vault-Token", &*server.root)], b"").await;
    database.fail(u32::MAX);
    let began = server.clock.clone();
    server.clock.advance(Duration::from_secs(3601));
    let (mut tries, mut waits) = (0, Vec::new());
    let mut waited = 0;
    while tries < 14 {
        if expire_due(&server.core).await.unwrap() > 0 {
            tries += 1;
            waits.push(std::mem::take(&mut waited));
        }
        server.clock.advance(Duration::from_secs(10));
        waited += 10;
        assert!(waited < 6000, "it is not tried any more");
    }
    assert!(waits.windows(2).take(8).all(|w| w[0] < w[1]), "{waits:?}");
    assert!(waits.iter().all(|w| *w <= 4510), "{waits:?}");
    drop(began);
    let listed = list("/v1/sys/leases?type=irrevocable&include_child_namespaces=true").await;
    assert_eq!(listed.status, 200, "{}", listed.text);
    assert_eq!(listed.text_at("data/leases/0/lease_id"), lease);
    assert_eq!(listed.text_at("data/leases/0/error"), "the database does not answer");
    assert_eq!(listed.body.at("data/lease_count").and_then(Json::as_i64), Some(1));
    let accessor = listed.text_at("data/leases/0/mount_id").to_owned();
    assert!(accessor.starts_with("accounts_"), "{accessor}");
    let counted = list("/v1/sys/leases/count?type=irrevocable").await;
    assert!(counted.text.contains(&format!(r#""data":{{"counts":{{"{accessor}":1}},"lease_count":1}}"#)), "{}", counted.text);
    for (query, status) in [
        ("/v1/sys/leases", 404),
        ("/v1/sys/leases?type=strange", 400),
        ("/v1/sys/leases?type=irrevocable&limit=-1", 400),
        ("/v1/sys/leases?type=irrevocable&limit=x", 400),
        ("/v1/sys/leases?type=irrevocable&limit=none", 200),
        ("/v1/sys/leases/count?type=strange", 400),
    ] {
        assert_eq!(list(query).await.status, status, "{query}");
    }
    // The database is back: what was stuck goes with its next turn, and from the list.
    database.fail(0);
    server.clock.advance(Duration::from_secs(4600));
    expire_due(&server.core).await.unwrap();
    assert!(database.accounts().is_empty());
    let listed = list("/v1/sys/leases?type=irrevocable").await;
    assert_eq!(listed.body.at("data/lease_count").and_then(Json::as_i64), Some(0), "{}", listed.text);
}

#[tokio::test]
async fn leases_are_counted_by_mount_and_by_role() {
    let server = on(Bounded::new()).await;
    database(&server, "leases-count").await;
    assert_eq!(post(&server, "db/roles/other", "{}").await.status, 204);
    for role in ["app", "app", "other"] {
        assert_eq!(server.call("GET", &format!("db/creds/{role}"), &server.root, "").await.status, 200);
    }
    token(&server, &server.root, ALL).await;
    let counted = server.call("GET", "sys/leases/count", &server.root, "").await;
    let data = r#""counts":{"auth/token/":1,"db/":3},"counts_per_path":{"auth/token/create":1,"db/creds/app":2,"db/creds/other":1},"lease_count":4"#;
    assert!(counted.text.contains(data), "{}", counted.text);
    let tokens = server.call("GET", "sys/internal/counters/tokens", &server.root, "").await;
    assert!(tokens.text.contains(r#""total":2"#), "{}", tokens.text);
}

#[tokio::test]
async fn tidying_takes_entries_without_a_record_and_no_others() {
    let server = on(Bounded::new()).await;
    database(&server, "leases-tidy").await;
    let held = token(&server, &server.root, ALL).await;
    token(&server, &held, ALL).await;
    creds(&server, &held).await;
    let folders = ["lease/", "token/"];
    let before = [keys(&server, folders[0]).await, keys(&server, folders[1]).await];
    let live = server.core.unsealed().unwrap();
    let txn = live.barrier.begin();
    let view = txn.root_view();
    // The bytes of an entry: what it says is in its key.
    let entry = view.get_bytes(before[0].iter().find(|k| k.starts_with("lease/time/")).unwrap()).await.unwrap().unwrap();
    for n in 0..1200 {
        for folder in ["lease/time/00000000009999999999/db/creds/app/", "lease/token/0a/db/creds/app/", "token/child/0a/"] {
            view.put_bytes(&format!("{folder}{n:04}"), (*entry).clone());
        }
    }
    txn.commit().await.unwrap();
    for path in ["sys/leases/tidy", "auth/token/tidy"] {
        let tidied = post(&server, path, "").await;
        assert_eq!(tidied.status, 202, "{}", tidied.text);
        assert!(tidied.text.contains("Tidy operation successfully started"), "{}", tidied.text);
    }
    tokio::time::timeout(Duration::from_secs(20), async {
        while [keys(&server, folders[0]).await, keys(&server, folders[1]).await] != before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("it comes to its end");
}
