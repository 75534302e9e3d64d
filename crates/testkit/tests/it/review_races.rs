//! Calls that overlap with what takes their ground away: a policy that changes, a token that ends, a mount that goes.

use coffer_core::leases::expire::expire_due;
use coffer_core::{CoreConfig, Registry, leases};
use coffer_engine::{Ctx, Declare, Engine, LeaseKind, Mount, Record, Reply, Request, Terms};
use coffer_testkit::engines::{Accounts, MemoryDatabase};
use coffer_testkit::{Server, registry};
use coffer_types::{Error, Name, Object, Result, Span};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// An engine whose calls stop half-way until the test lets them go on.
struct Gated(Arc<Gate>);

struct Gate {
    entered: Semaphore,
    go: Semaphore,
    revoked: Semaphore,
}

static GATES: Mutex<BTreeMap<String, Arc<Gate>>> = Mutex::new(BTreeMap::new());

impl Gate {
    fn named(name: &str) -> Arc<Self> {
        let new = || Arc::new(Self { entered: Semaphore::new(0), go: Semaphore::new(0), revoked: Semaphore::new(0) });
        GATES.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_insert_with(new).clone()
    }

    async fn pass(&self) {
        self.entered.add_permits(1);
        self.go.acquire().await.unwrap().forget();
    }

    async fn wait_for_one(&self) {
        self.entered.acquire().await.unwrap().forget();
    }
}

#[derive(Request)]
struct Named {
    /// Anything.
    #[field(path)]
    name: Name,
}

#[derive(Serialize, Deserialize)]
struct Held {}

impl Record for Held {
    const FORMAT: u8 = 1;
}

impl LeaseKind for Held {
    const NAME: &'static str = "held";
}

impl Engine for Gated {
    const KIND: &'static str = "gated";

    fn open(mount: &Mount) -> Result<Self> {
        let name = mount.options.get("gate").ok_or_else(|| Error::bad_request("the option gate is missing"))?;
        Ok(Self(Gate::named(name)))
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Waits.");
        d.at("asked/{name}").about("Waits before the policy is asked.").write(write).exists(slow_exists);
        d.at("free/{name}").about("Does not wait.").read(read);
        d.at("kept/{name}").about("Writes, then waits.").write(slow_write);
        d.at("leased/{name}").about("Waits, then leases.").read(slow_lease);
        d.lease::<Held>().revoke(revoke);
    }
}

async fn slow_exists(cx: Ctx<Gated>, _: Named) -> Result<bool> {
    cx.engine.0.pass().await;
    Ok(false)
}

async fn write(cx: Ctx<Gated>, q: Named) -> Result<Reply<()>> {
    cx.view.put(&format!("x/{}", q.name), &Held {})?;
    Ok(Reply::empty())
}

async fn slow_write(cx: Ctx<Gated>, q: Named) -> Result<Reply<()>> {
    cx.view.put(&format!("x/{}", q.name), &Held {})?;
    cx.engine.0.pass().await;
    Ok(Reply::empty())
}

async fn read(_: Ctx<Gated>, _: Named) -> Result<Reply> {
    Ok(Reply::data(Object::new().with("free", true)))
}

async fn slow_lease(cx: Ctx<Gated>, _: Named) -> Result<Reply> {
    cx.engine.0.pass().await;
    let terms = Terms { ttl: Span::from_secs(600), ..Terms::default() };
    Reply::leased(Object::new().with("held", true), &Held {}, terms)
}

async fn revoke(cx: Ctx<Gated>, _: Held) -> Result<()> {
    cx.engine.0.revoked.add_permits(1);
    Ok(())
}

async fn server(gate: &str) -> (Arc<Server>, Arc<Gate>) {
    let engines = registry().engine::<Gated>().and_then(Registry::engine::<Accounts>).expect("sound declarations");
    let server = Arc::new(Server::ready(engines, CoreConfig::default()).await);
    mount(&server, gate).await;
    (server, Gate::named(gate))
}

async fn mount(server: &Server, gate: &str) {
    let body = format!(r#"{{"type":"gated","options":{{"gate":"{gate}"}}}}"#);
    let mounted = server.call("POST", "sys/mounts/gate", &server.root, &body).await;
    assert_eq!(mounted.status, 204, "{}", mounted.text);
}

fn start(server: &Arc<Server>, method: &'static str, path: &'static str, token: &str) -> tokio::task::JoinHandle<u16> {
    let (server, token) = (server.clone(), token.to_owned());
    tokio::spawn(async move { server.call(method, path, &token, "").await.status })
}

async fn write_policy(server: &Server, text: &str) {
    let body = Object::new().with("policy", text);
    let body = String::from_utf8(coffer_types::Json::from(body).to_bytes().to_vec()).unwrap();
    assert_eq!(server.call("PUT", "sys/policies/acl/p", &server.root, &body).await.status, 204);
}

async fn token(server: &Server, body: &str) -> String {
    let made = server.call("POST", "auth/token/create", &server.root, body).await;
    assert_eq!(made.status, 200, "{}", made.text);
    made.text_at("auth/client_token").to_owned()
}

#[tokio::test]
async fn a_call_that_began_before_a_policy_changed_keeps_no_old_rights_for_later_ones() {
    let (server, gate) = server("policy").await;
    write_policy(&server, r#"path "gate/*" { capabilities = ["create", "read"] }"#).await;
    let held = token(&server, r#"{"policies":["p"],"no_default_policy":true}"#).await;
    let early = start(&server, "POST", "gate/asked/x", &held);
    gate.wait_for_one().await;
    write_policy(&server, r#"path "gate/*" { capabilities = ["deny"] }"#).await;
    gate.go.add_permits(8);
    early.await.unwrap();
    let later = server.call("GET", "gate/free/x", &held, "").await;
    assert_eq!(later.status, 403, "{}", later.text);
}

#[tokio::test]
async fn what_a_token_makes_while_it_is_revoked_ends_too() {
    let (server, _) = server("revoked").await;
    let database = MemoryDatabase::named("review-revoked");
    let body = r#"{"type":"accounts","options":{"database":"review-revoked"}}"#;
    assert_eq!(server.call("POST", "sys/mounts/db", &server.root, body).await.status, 204);
    assert_eq!(server.call("POST", "db/roles/app", &server.root, "{}").await.status, 204);
    // Whether or not it has made something before.
    for before in [false, true] {
        let parent = token(&server, r#"{"policies":["root"],"ttl":"1h"}"#).await;
        if before {
            assert_eq!(server.call("POST", "auth/token/create", &parent, r#"{"ttl":"1h"}"#).await.status, 200);
        }
        // The revocation has its snapshot; the token is used; the revocation commits.
        let live = server.core.unsealed().unwrap();
        let mut child = String::new();
        loop {
            let txn = live.barrier.begin();
            let view = txn.root_view();
            let record = live.tokens.get(&view, &parent).await.unwrap().unwrap();
            let now = coffer_types::Clock::now(&*server.clock);
            leases::end_token(&live, &view, &record, now).await.unwrap();
            if child.is_empty() {
                let made = server.call("POST", "auth/token/create", &parent, r#"{"policies":["default"]}"#).await;
                made.text_at("auth/client_token").clone_into(&mut child);
                assert_eq!(server.call("GET", "db/creds/app", &parent, "").await.status, 200);
            }
            match txn.commit().await.unwrap() {
                coffer_core::barrier::Committed::Done(keys) => break live.after_commit(&keys).await.unwrap(),
                // What it made first says that there is something to end: the revocation is run again, as a call is.
                coffer_core::barrier::Committed::Conflict => assert!(!before),
            }
        }
        assert_eq!(server.call("GET", "auth/token/lookup-self", &parent, "").await.status, 403);
        assert_eq!(server.call("GET", "auth/token/lookup-self", &child, "").await.status, 403, "the child lives");
        expire_due(&server.core).await.unwrap();
        assert!(database.accounts().is_empty(), "the account outlives its token");
    }
}

#[tokio::test]
async fn a_call_under_way_leaves_nothing_in_a_mount_that_has_gone() {
    let (server, gate) = server("going").await;
    let root = server.root.clone();
    let (kept, leased) = (start(&server, "POST", "gate/kept/x", &root), start(&server, "GET", "gate/leased/x", &root));
    gate.wait_for_one().await;
    gate.wait_for_one().await;
    assert_eq!(server.call("DELETE", "sys/mounts/gate", &root, "").await.status, 204);
    gate.go.add_permits(8);
    assert_eq!(kept.await.unwrap(), 404);
    assert_eq!(leased.await.unwrap(), 404);
    let live = server.core.unsealed().unwrap();
    assert!(live.view().keys("lease/id/gate/", None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_removal_of_a_mount_leaves_its_successor_alone_and_revokes_what_came_late() {
    let (server, gate) = server("successor").await;
    gate.go.add_permits(8);
    let root = server.root.clone();
    assert_eq!(server.call("GET", "gate/leased/old", &root, "").await.status, 200);
    // As if that lease had come after the disabling revoked the others: only the record is marked.
    let live = server.core.unsealed().unwrap();
    let txn = live.barrier.begin();
    let view = txn.root_view();
    let path = coffer_types::MountPath::parse("gate").unwrap();
    let mut record =
        coffer_core::mounts::find(&view, coffer_engine::MountClass::Engine, &path).await.unwrap().expect("it is mounted");
    record.going = true;
    coffer_core::mounts::update(&view, &record).await.unwrap();
    let coffer_core::barrier::Committed::Done(keys) = txn.commit().await.unwrap() else { panic!("a conflict") };
    live.after_commit(&keys).await.unwrap();
    mount(&server, "successor-2").await;
    Gate::named("successor-2").go.add_permits(8);
    let new = server.call("GET", "gate/leased/new", &root, "").await;
    let lookup = format!(r#"{{"lease_id":"{}"}}"#, new.text_at("lease_id"));

    let beat = tokio::spawn(leases::expire::run(Arc::downgrade(&server.core)));
    tokio::time::timeout(std::time::Duration::from_secs(20), async {
        while coffer_core::mounts::load(&live.view()).await.unwrap().iter().any(|m| m.going) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("the removal ends");
    beat.abort();
    assert_eq!(server.call("POST", "sys/leases/lookup", &root, &lookup).await.status, 200, "the new mount's lease is gone");
    assert_eq!(gate.revoked.available_permits(), 1, "the old mount's engine was not asked");
    assert_eq!(Gate::named("successor-2").revoked.available_permits(), 0);
    assert_eq!(live.view().keys("lease/id/gate/", None, 10).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_sixteen_who_mount_on_one_path_one_does() {
    let (server, _) = server("sixteen").await;
    for round in 0..4 {
        let tasks: Vec<_> = (0..16)
            .map(|n| {
                let server = server.clone();
                // Every second one asks for a path inside.
                let path = if n % 2 == 0 { format!("sys/mounts/one{round}") } else { format!("sys/mounts/one{round}/inside") };
                tokio::spawn(async move { server.call("POST", &path, &server.root, r#"{"type":"kv"}"#).await.status })
            })
            .collect();
        let mut statuses = Vec::new();
        for task in tasks {
            statuses.push(task.await.unwrap());
        }
        assert_eq!(statuses.iter().filter(|s| **s == 204).count(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|s| [204, 400].contains(s)), "{statuses:?}");
    }
}
