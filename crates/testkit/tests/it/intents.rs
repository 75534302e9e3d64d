//! What was done outside is covered by a lease or undone: whenever the server dies, whatever ends while a call runs.

use crate::leases::{ALL, Bounded, database, finish, keys, on, post, restarted, token};
use coffer_core::CoreConfig;
use coffer_core::leases::expire::{expire_due, roll_back_finished, roll_back_intents};
use coffer_engine::{Ctx, Declare, Engine, Intent, LeaseKind, Mount, Record, Reply, Request, Terms};
use coffer_testkit::{Server, registry};
use coffer_types::{Error, Kind, Name, Object, Result, Span};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Makes things outside, and waits before and after each until it is let go on.
struct Slow(Arc<Outside>);

struct Outside {
    before: Semaphore,
    made: Semaphore,
    after: Semaphore,
    things: Mutex<BTreeSet<String>>,
    refuses: Mutex<bool>,
}

static OUTSIDES: Mutex<BTreeMap<String, Arc<Outside>>> = Mutex::new(BTreeMap::new());

impl Outside {
    fn named(name: &str) -> Arc<Self> {
        let new = || {
            Arc::new(Self {
                before: Semaphore::new(0),
                made: Semaphore::new(0),
                after: Semaphore::new(0),
                things: Mutex::default(),
                refuses: Mutex::default(),
            })
        };
        OUTSIDES.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_insert_with(new).clone()
    }

    fn things(&self) -> usize {
        self.things.lock().unwrap().len()
    }

    fn remove(&self, thing: &str) -> Result<()> {
        if *self.refuses.lock().unwrap() {
            return Err(Error::new(Kind::Upstream, "not now"));
        }
        self.things.lock().unwrap().remove(thing);
        Ok(())
    }

    async fn pass(gate: &Semaphore) {
        gate.acquire().await.unwrap().forget();
    }
}

#[derive(Request)]
struct Named {
    /// Anything.
    #[field(path)]
    name: Name,
}

#[derive(Serialize, Deserialize)]
struct Thing {
    name: String,
}

impl Record for Thing {
    const FORMAT: u8 = 1;
}

impl LeaseKind for Thing {
    const NAME: &'static str = "thing";
}

#[derive(Serialize, Deserialize)]
struct Making {
    name: String,
}

impl Record for Making {
    const FORMAT: u8 = 1;
}

impl Intent for Making {
    const NAME: &'static str = "making";
}

impl Engine for Slow {
    const KIND: &'static str = "slow";

    fn open(mount: &Mount) -> Result<Self> {
        Ok(Self(Outside::named(mount.options.get("outside").ok_or_else(|| Error::bad_request("no outside"))?)))
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Makes things.");
        d.at("make/{name}").about("Makes a thing.").write(make);
        d.lease::<Thing>().revoke(revoke);
        d.intent(roll_back);
    }
}

async fn make(cx: Ctx<Slow>, q: Named) -> Result<Reply> {
    let name = q.name.to_string();
    let noted = cx.intend(&Making { name: name.clone() }).await?;
    Outside::pass(&cx.engine.0.before).await;
    if name.starts_with("fail") {
        return Err(Error::new(Kind::Upstream, "it may have been made"));
    }
    cx.engine.0.things.lock().unwrap().insert(name.clone());
    cx.engine.0.made.add_permits(1);
    Outside::pass(&cx.engine.0.after).await;
    cx.done(noted);
    let terms = Terms { ttl: Span::from_secs(600), ..Terms::default() };
    Reply::leased(Object::new().with("made", true), &Thing { name }, terms)
}

async fn revoke(cx: Ctx<Slow>, thing: Thing) -> Result<()> {
    cx.engine.0.remove(&thing.name)
}

async fn roll_back(cx: Ctx<Slow>, making: Making) -> Result<()> {
    cx.engine.0.remove(&making.name)
}

async fn server(outside: &str) -> (Arc<Server>, Arc<Outside>) {
    let engines = registry().engine::<Slow>().expect("sound declarations");
    let server = Server::ready(engines, CoreConfig::default()).await;
    let body = format!(r#"{{"type":"slow","options":{{"outside":"{outside}"}}}}"#);
    assert_eq!(post(&server, "sys/mounts/slow", &body).await.status, 204);
    (Arc::new(server), Outside::named(outside))
}

fn start(server: &Arc<Server>, name: &str, token: &str) -> tokio::task::JoinHandle<u16> {
    let (server, path, token) = (server.clone(), format!("slow/make/{name}"), token.to_owned());
    tokio::spawn(async move { server.call("POST", &path, &token, "").await.status })
}

async fn made(outside: &Outside) {
    outside.before.add_permits(1);
    Outside::pass(&outside.made).await;
}

#[tokio::test]
async fn the_effect_of_a_call_that_still_runs_is_left_alone_however_long_it_takes() {
    let (server, outside) = server("intents-runs").await;
    let call = start(&server, "x", &server.root.clone());
    made(&outside).await;
    server.clock.advance(Duration::from_secs(3600));
    roll_back_intents(&server.core).await.unwrap();
    roll_back_finished(&server.core).await.unwrap();
    assert_eq!((outside.things(), keys(&server, "i/").await.len()), (1, 1));
    outside.after.add_permits(1);
    assert_eq!(call.await.unwrap(), 200);
    assert_eq!((outside.things(), keys(&server, "i/").await.len(), keys(&server, "lease/id/").await.len()), (1, 0, 1));
}

#[tokio::test]
async fn what_a_call_made_whose_token_ended_meanwhile_is_undone_at_once() {
    let (server, outside) = server("intents-token").await;
    let held = token(&server, &server.root, ALL).await;
    let call = start(&server, "x", &held);
    made(&outside).await;
    assert_eq!(post(&server, "auth/token/revoke", &format!(r#"{{"token":"{held}"}}"#)).await.status, 204);
    outside.after.add_permits(1);
    assert_eq!(call.await.unwrap(), 403);
    assert!(keys(&server, "lease/id/slow/").await.is_empty());
    // No time passes: the beat finds it.
    roll_back_finished(&server.core).await.unwrap();
    assert_eq!((outside.things(), keys(&server, "i/").await.len()), (0, 0));
}

#[tokio::test]
async fn what_a_call_may_have_made_is_undone_when_it_can_no_longer_come() {
    let (server, outside) = server("intents-fail").await;
    outside.before.add_permits(1);
    assert!(start(&server, "fail", &server.root.clone()).await.unwrap() >= 500);
    // As if the outside were slow: it comes about after its call has failed.
    outside.things.lock().unwrap().insert("fail".to_owned());
    roll_back_finished(&server.core).await.unwrap();
    roll_back_intents(&server.core).await.unwrap();
    assert_eq!((outside.things(), keys(&server, "i/").await.len()), (1, 1), "too early: it might come after it was undone");
    server.clock.advance(Duration::from_secs(61));
    roll_back_intents(&server.core).await.unwrap();
    assert_eq!((outside.things(), keys(&server, "i/").await.len()), (0, 0));
}

async fn beat(server: &Server, until: impl AsyncFn() -> bool) {
    let beat = tokio::spawn(coffer_core::leases::expire::run(Arc::downgrade(&server.core)));
    tokio::time::timeout(Duration::from_secs(30), async {
        while !until().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("it comes to its end");
    beat.abort();
}

#[tokio::test]
async fn a_mount_goes_when_what_it_did_outside_is_undone_and_not_before() {
    let (server, outside) = server("intents-going").await;
    // A note of a call that failed, and a call under way.
    outside.before.add_permits(1);
    assert!(start(&server, "fail", &server.root.clone()).await.unwrap() >= 500);
    outside.things.lock().unwrap().insert("fail".to_owned());
    let call = start(&server, "x", &server.root.clone());
    made(&outside).await;
    assert_eq!(server.call("DELETE", "sys/mounts/slow", &server.root, "").await.status, 204);
    outside.after.add_permits(1);
    assert_eq!(call.await.unwrap(), 404);
    *outside.refuses.lock().unwrap() = true;
    let going = async || {
        let view = server.core.unsealed().unwrap().view();
        coffer_core::mounts::load(&view).await.unwrap().iter().any(|m| m.going)
    };
    let began = tokio::time::Instant::now();
    beat(&server, async || began.elapsed() > Duration::from_secs(4)).await;
    assert!(going().await, "its record went with something to undo");
    assert_eq!(outside.things(), 2);
    *outside.refuses.lock().unwrap() = false;
    server.clock.advance(Duration::from_secs(61));
    beat(&server, async || !going().await).await;
    assert_eq!((outside.things(), keys(&server, "i/").await.len()), (0, 0));
}

#[tokio::test]
async fn a_lease_that_comes_while_its_mount_moves_does_not_keep_the_old_path() {
    let (server, outside) = server("intents-moves").await;
    let call = start(&server, "x", &server.root.clone());
    made(&outside).await;
    assert_eq!(post(&server, "sys/remount", r#"{"from":"slow","to":"other"}"#).await.status, 200);
    outside.after.add_permits(1);
    assert_eq!(call.await.unwrap(), 404, "the path is no mount's any more");
    roll_back_finished(&server.core).await.unwrap();
    assert_eq!((outside.things(), keys(&server, "lease/id/").await.len()), (0, 0));
    // One that commits after the move has looked for leases and before it commits itself: the move's note finds it.
    outside.before.add_permits(2);
    outside.after.add_permits(2);
    assert_eq!(server.call("POST", "other/make/y", &server.root, "").await.status, 200);
    let live = server.core.unsealed().unwrap();
    let view = live.view();
    let record = coffer_core::mounts::load(&view).await.unwrap().into_iter().find(|m| m.path == "other/").unwrap();
    let txn = live.barrier.begin();
    let sweep = coffer_core::leases::sweep::Sweep::of_mount(&record, coffer_types::Clock::now(&*server.clock));
    coffer_core::leases::sweep::begin(&txn.root_view(), &*server.random, &sweep).unwrap();
    let coffer_core::barrier::Committed::Done(written) = txn.commit().await.unwrap() else { panic!("a conflict") };
    live.after_commit(&written).await.unwrap();
    expire_due(&server.core).await.unwrap();
    assert_eq!((outside.things(), keys(&server, "lease/id/").await.len()), (0, 0));
}

/// Dies before every commit of: making an account, revoking it, undoing one without a lease.
#[tokio::test]
async fn no_account_outlives_its_lease_whenever_the_server_dies() {
    let mut answered = 0;
    for commits in 0..6 {
        let store = Bounded::new();
        let server = on(store.clone()).await;
        let database = database(&server, &format!("intents-crash-{commits}")).await;
        store.die_after(commits);
        let first = server.call("GET", "db/creds/app", &server.root, "").await;
        let lease = first.text_at("lease_id").to_owned();
        let second = server.call("GET", "db/creds/app", &server.root, "").await;
        let revoked = post(&server, "sys/leases/revoke", &format!(r#"{{"lease_id":"{lease}","sync":true}}"#)).await;
        store.live_again();
        let server = restarted(server).await;
        server.clock.advance(Duration::from_secs(61));
        // Undoing is cut short too.
        store.die_after(commits % 2);
        roll_back_intents(&server.core).await.unwrap();
        store.live_again();
        let server = restarted(server).await;
        roll_back_intents(&server.core).await.unwrap();
        assert!(keys(&server, "i/").await.is_empty(), "{commits}");
        let leases = keys(&server, "lease/id/db/").await.len();
        // Revoked outside and not in the store: it is revoked again.
        assert!(database.accounts().len() <= leases, "{commits}: an account without a lease");
        for (made, ended) in [(&first, revoked.status == 204), (&second, false)] {
            if made.status == 200 && !ended && revoked.status == 204 {
                assert!(database.accounts().contains_key(made.text_at("data/username")), "{commits}");
            }
        }
        answered += usize::from(first.status == 200) + usize::from(second.status == 200) + usize::from(revoked.status == 204);
        server.clock.advance(Duration::from_secs(4000));
        expire_due(&server.core).await.unwrap();
        finish(&server).await;
        assert!(database.accounts().is_empty() && keys(&server, "lease/").await.is_empty(), "{commits}");
    }
    assert!((5..12).contains(&answered), "{answered}: some were answered and some were not");
}
