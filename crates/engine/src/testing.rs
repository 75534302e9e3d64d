//! A store in a map, a clock that stands still, a host that permits what a test says: enough to run one engine
//! as the pipeline would, each call one transaction. For tests only (feature `testing`).

use crate::BoxFuture;
use crate::call::{Call, Credential, Fields, Permit, Principal, RawFields, Remote};
use crate::context::{Host, Inner, Mount, MountClass};
use crate::declare::{Declared, Engine};
use crate::lease::Terms;
use crate::outside::{Nothing, Outside};
use crate::reply::{Answer, LeaseAsk, Login, TokenKind};
use crate::route::{Erased, Miss};
use crate::view::{Plain, Txn, View};
use coffer_types::json::Limits;
use coffer_types::{Dialect, Error, Json, Kind, Object, Operation, Path, Result, Secret, Span, Timestamp, secret};
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

type Map = BTreeMap<String, Vec<u8>>;

/// One engine on one mount, with all that it needs around it.
pub struct Bench {
    pub engine: Arc<dyn Erased>,
    pub mount: Arc<Mount>,
    pub principal: Option<Principal>,
    /// Where the next calls come from.
    pub remote: Remote,
    world: Arc<World>,
}

/// What stays between calls.
pub struct World {
    stored: Mutex<Map>,
    now: AtomicI64,
    randomness: AtomicU64,
    /// Store reads of all calls so far: values and lists.
    reads: AtomicUsize,
    refused: Mutex<BTreeSet<(Operation, String)>>,
    /// By entity and expression.
    identities: Mutex<BTreeMap<(String, String), String>>,
    failed: Mutex<BTreeMap<String, u32>>,
    computed: AtomicUsize,
    outside: Arc<dyn Outside>,
}

/// A failed call, as tests compare it.
#[derive(Debug, PartialEq, Eq)]
pub struct Failed {
    pub kind: Kind,
    pub public: String,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { kind: error.kind(), public: error.public().to_owned() }
    }
}

impl Bench {
    /// The engine `E` on a mount of this path with these options.
    ///
    /// # Panics
    /// If the declaration is faulty or the engine does not open.
    #[allow(clippy::expect_used, reason = "a test's own set-up")]
    pub fn new<E: Engine>(path: &str, options: &[(&str, &str)]) -> Self {
        let mount = mount::<E>(path, options);
        let engine = E::open(&mount).expect("an engine that opens");
        Self::over(mount, Arc::new(engine), None)
    }

    /// The engine `E` with systems outside that the test brings.
    ///
    /// # Panics
    /// As [`Bench::new`].
    #[allow(clippy::expect_used, reason = "a test's own set-up")]
    pub fn reaching<E: Engine>(path: &str, outside: Arc<dyn Outside>) -> Self {
        let mount = mount::<E>(path, &[]);
        let engine = E::open(&mount).expect("an engine that opens");
        Self::over(mount, Arc::new(engine), Some(outside))
    }

    /// An engine that the test made itself, with what it reaches outside.
    ///
    /// # Panics
    /// If the declaration is faulty.
    pub fn with<E: Engine>(path: &str, engine: Arc<E>) -> Self {
        Self::over(mount::<E>(path, &[]), engine, None)
    }

    #[allow(clippy::expect_used, reason = "a test's own set-up")]
    fn over<E: Engine>(mount: Arc<Mount>, engine: Arc<E>, outside: Option<Arc<dyn Outside>>) -> Self {
        let engine = Declared::<E>::new().expect("a sound declaration").on(engine);
        let world = Arc::new(World {
            stored: Mutex::default(),
            now: AtomicI64::new(Timestamp::from_secs(1_795_404_202).0),
            randomness: AtomicU64::new(1),
            reads: AtomicUsize::new(0),
            refused: Mutex::default(),
            identities: Mutex::default(),
            failed: Mutex::default(),
            computed: AtomicUsize::new(0),
            outside: outside.unwrap_or_else(|| Arc::new(Nothing)),
        });
        Self { engine, mount, principal: Some(service_principal("cubby-1")), remote: nowhere(), world }
    }

    /// Another engine over the same store: a mount after its upgrade.
    pub fn become_engine<E: Engine>(&mut self) {
        let other = Self::new::<E>(&self.mount.path, &[]);
        self.engine = other.engine;
        self.mount = other.mount;
    }

    pub fn now(&self) -> Timestamp {
        self.world.now()
    }

    pub fn pass(&self, span: Span) {
        self.world.now.fetch_add(span.0, Ordering::Relaxed);
    }

    /// Reads of values and lists so far.
    pub fn reads(&self) -> usize {
        self.world.reads.load(Ordering::Relaxed)
    }

    /// Pieces of heavy work ([`Ctx::compute`](crate::Ctx::compute)) so far.
    pub fn computed(&self) -> usize {
        self.world.computed.load(Ordering::Relaxed)
    }

    /// The names under which logins failed, and how often.
    pub fn failed_logins(&self) -> BTreeMap<String, u32> {
        lock(&self.world.failed).clone()
    }

    /// The keys that stand in the store.
    pub fn keys(&self) -> Vec<String> {
        self.world.stored().keys().cloned().collect()
    }

    /// A stored value.
    pub fn stored(&self, key: &str) -> Option<Vec<u8>> {
        self.world.stored().get(key).cloned()
    }

    /// From now on [`Host::permits`] refuses this operation on this path.
    pub fn refuse(&self, operation: Operation, path: &str) {
        lock(&self.world.refused).insert((operation, path.to_owned()));
    }

    /// From now on this entity has this value (`identity.entity.name`).
    pub fn identify(&self, entity: &str, expression: &str, value: &str) {
        lock(&self.world.identities).insert((entity.to_owned(), expression.to_owned()), value.to_owned());
    }

    /// A call with a JSON body (empty for none) on a path that may carry a query.
    pub fn call(&self, operation: Operation, path: &str, body: &str) -> Result<Answer, Failed> {
        let body = if body.is_empty() { Object::new() } else { object(body) };
        self.send(operation, path, Fields { body, ..Fields::default() })
    }

    /// A call as core runs it, without policies: route, existence, handler, commit. Reads get a fresh
    /// transaction each.
    pub fn send(&self, operation: Operation, path: &str, fields: Fields) -> Result<Answer, Failed> {
        self.run(operation, path, fields, true)
    }

    fn run(&self, operation: Operation, path: &str, mut fields: Fields, commit: bool) -> Result<Answer, Failed> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            fields.query.insert(name.into(), value.into());
        }
        let found = match self.engine.routes().find(path, operation) {
            Ok(found) => found,
            Err(miss) => {
                let txn = self.world.begin();
                let inner = self.inner(operation, path, &txn);
                let other = (miss == Miss::NoPath).then(|| self.engine.otherwise(path, txn.view(), inner)).flatten();
                return match (other, miss) {
                    (Some(answer), _) => Ok(block_on(answer)?),
                    (None, Miss::NoOperation) => Err(Error::unsupported().into()),
                    (None, Miss::NoPath) => Err(Error::not_found().into()),
                };
            }
        };
        let raw = || RawFields { captures: found.captures.clone(), fields: fields.clone() };
        let txn = self.world.begin();
        let mut operation = operation;
        let mut existed = true;
        if matches!(operation, Operation::Create | Operation::Update)
            && let Some(check) = self.engine.exists(found.index, raw(), txn.view(), self.inner(operation, path, &txn))
        {
            existed = block_on(check)?;
            operation = if existed { Operation::Update } else { Operation::Create };
        }
        let prepared = self.engine.prepare(found.index, operation, raw())?;
        let mut inner = self.inner(operation, path, &txn);
        if let Some(inner) = Arc::get_mut(&mut inner) {
            inner.existed = existed;
            // A body that is no JSON is read from the call.
            if let Some(call) = inner.call.as_mut().and_then(Arc::get_mut) {
                call.fields.raw.clone_from(&fields.raw);
            }
        }
        let answer = block_on((prepared.run)(txn.view(), inner))?;
        if commit {
            txn.commit();
        }
        Ok(answer)
    }

    /// As [`Bench::call`], but the process ends before the commit: what the handler did outside stays, what it
    /// wrote does not.
    pub fn call_and_crash(&self, operation: Operation, path: &str, body: &str) -> Result<Answer, Failed> {
        let fields = Fields { body: if body.is_empty() { Object::new() } else { object(body) }, ..Fields::default() };
        self.run(operation, path, fields, false)
    }

    /// Renews a lease that a reply asked for.
    pub fn renew(&self, lease: &LeaseAsk) -> Result<Terms, Failed> {
        let now = self.now();
        self.within(|view, mut inner| {
            if let Some(inner) = Arc::get_mut(&mut inner) {
                let last_end = now.plus(inner.mount.max_lease_ttl.duration());
                inner.renewal = Some(crate::Renewal { issued: now, last_end, increment: Span::ZERO });
            }
            self.engine.renew_lease(lease.kind, &lease.internal, view, inner).unwrap_or_else(undeclared)
        })
    }

    /// Asks an auth method again for a login that it vouched for, as a renewal of its token does.
    pub fn renew_login(&self, login: &Login) -> Result<Login, Failed> {
        self.within(|view, inner| self.engine.renew_login(login.clone(), view, inner).unwrap_or_else(undeclared))
    }

    /// Revokes a lease that a reply asked for.
    pub fn revoke(&self, lease: &LeaseAsk) -> Result<(), Failed> {
        self.within(|view, inner| self.engine.revoke_lease(lease.kind, &lease.internal, view, inner).unwrap_or_else(undeclared))
    }

    /// Rolls back what intents are left over, as core does in the background; how many could not be.
    pub fn roll_back(&self) -> usize {
        let mut left = 0;
        for name in self.engine.intents() {
            let prefix = format!("intents/{name}/");
            for key in self.keys().into_iter().filter(|k| k.starts_with(&prefix)) {
                let record = self.stored(&key).unwrap_or_default();
                let done = self.within(|view, inner| {
                    inner.intents.delete(key.strip_prefix("intents/").unwrap_or(&key));
                    self.engine.roll_back(name, &record, view, inner).unwrap_or_else(undeclared)
                });
                left += usize::from(done.is_err());
            }
        }
        left
    }

    /// What the mount does by the clock, until nothing is left of it.
    pub fn beat(&self) -> Result<(), Failed> {
        while self.within(|view, inner| self.engine.beat(view, inner).unwrap_or_else(undeclared))? {}
        Ok(())
    }

    /// A verb of a protocol without paths: the reply, and what policies would decide on.
    pub fn verb(&self, verb: &str, body: &str) -> Result<(Answer, Vec<(Operation, String)>), Failed> {
        let found = self.engine.routes().find_verb(verb).ok_or_else(Error::unsupported)?;
        let raw = RawFields { captures: Vec::new(), fields: Fields { body: object(body), ..Fields::default() } };
        let prepared = self.engine.prepare(found.index, Operation::Update, raw)?;
        let txn = self.world.begin();
        let answer = block_on((prepared.run)(txn.view(), self.inner(Operation::Update, "", &txn)))?;
        txn.commit();
        Ok((answer, prepared.resources))
    }

    /// Runs `work` in one transaction and commits it if it succeeds.
    pub fn within<T, Fut: Future<Output = Result<T>>>(&self, work: impl FnOnce(View, Arc<Inner>) -> Fut) -> Result<T, Failed> {
        let txn = self.world.begin();
        let value = block_on(work(txn.view(), self.inner(Operation::Update, "", &txn)))?;
        txn.commit();
        Ok(value)
    }

    fn inner(&self, operation: Operation, path: &str, txn: &Arc<MapTxn>) -> Arc<Inner> {
        Arc::new(Inner {
            mount: self.mount.clone(),
            intents: View::new(txn.clone(), "intents/".into()),
            principal: self.principal.clone(),
            permit: Some(Permit::granted_by_the_decider(operation, Arc::from([Box::from("test")]))),
            call: Some(Arc::new(Call { remote: self.remote.clone(), ..call(operation, &format!("{}{path}", self.mount.path)) })),
            existed: true,
            host: self.world.clone(),
            now: self.world.now(),
            renewal: None,
        })
    }
}

fn mount<E: Engine>(path: &str, options: &[(&str, &str)]) -> Arc<Mount> {
    Arc::new(Mount {
        class: MountClass::Engine,
        path: path.into(),
        kind: E::KIND.into(),
        accessor: format!("{}_0000", E::KIND).into(),
        uuid: "00000000-0000-0000-0000-000000000000".into(),
        options: options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        default_lease_ttl: Span::from_secs(2_764_800),
        max_lease_ttl: Span::from_secs(2_764_800),
        lockout: crate::attempt::Lockout::default(),
    })
}

/// A principal with a cubbyhole of this name.
pub fn service_principal(cubbyhole: &str) -> Principal {
    Principal {
        entity_id: "".into(),
        display_name: "test".into(),
        policies: Arc::from([Box::from("test")]),
        accessor: "accessor".into(),
        kind: TokenKind::Service,
        cubbyhole: Some(cubbyhole.into()),
        token_key: "token".into(),
        root: false,
    }
}

/// A JSON object from its text.
///
/// # Panics
/// If it is none.
#[allow(clippy::expect_used, reason = "a test's own text")]
pub fn object(text: &str) -> Object {
    coffer_types::json::parse(text.as_bytes(), &Limits::NONE).ok().and_then(Json::into_object).expect("a JSON object")
}

/// The data of a reply as compact text, empty for none.
pub fn text(answer: &Answer) -> String {
    let Some(data) = &answer.data else { return String::new() };
    String::from_utf8_lossy(&Json::Object(data.clone()).to_bytes()).into_owned()
}

/// Runs a future that never waits for anything outside.
///
/// # Panics
/// If it does wait.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..1000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return value;
        }
    }
    panic!("a future of a unit test waits");
}

fn undeclared<T: Send + 'static>() -> BoxFuture<'static, Result<T>> {
    Box::pin(async { Err(Error::internal("no such kind is declared")) })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const fn nowhere() -> Remote {
    Remote { ip: None, port: 0, certificate: None }
}

#[allow(clippy::expect_used, reason = "a test's own path")]
fn call(operation: Operation, path: &str) -> Call {
    Call {
        id: "00000000-0000-0000-0000-000000000000".into(),
        dialect: Dialect::Vault,
        credential: Credential::None,
        operation,
        path: Path::parse(path).expect("a clean path"),
        verb: None,
        fields: Fields::default(),
        wrap: None,
        remote: nowhere(),
        listener: Arc::default(),
        headers: Vec::new(),
    }
}

impl World {
    fn stored(&self) -> MutexGuard<'_, Map> {
        lock(&self.stored)
    }

    fn begin(self: &Arc<Self>) -> Arc<MapTxn> {
        Arc::new(MapTxn { world: self.clone(), writes: Mutex::default() })
    }
}

impl Host for World {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::Relaxed))
    }

    /// A counter's bytes: never the same twice.
    fn fill_random(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let next = self.randomness.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).to_be_bytes();
            chunk.copy_from_slice(&next[..chunk.len()]);
        }
    }

    fn permits(&self, operation: Operation, path: &str) -> Option<Permit> {
        let refused = lock(&self.refused).contains(&(operation, path.to_owned()));
        (!refused).then(|| Permit::granted_by_the_decider(operation, Arc::from([Box::from("test")])))
    }

    fn has_sudo(&self, operation: Operation, path: &str) -> bool {
        self.permits(operation, path).is_some()
    }

    fn commit_now<'a>(&'a self, key: String, value: Option<secret::Bytes>) -> BoxFuture<'a, Result<()>> {
        match value {
            Some(value) => drop(self.stored().insert(key, value.to_vec())),
            None => drop(self.stored().remove(&key)),
        }
        Box::pin(async { Ok(()) })
    }

    fn identity_value<'a>(&'a self, entity: &'a str, expression: &'a str) -> BoxFuture<'a, Result<Option<String>>> {
        let value = lock(&self.identities).get(&(entity.to_owned(), expression.to_owned())).cloned();
        // Every name is `alice` where the test says nothing else.
        let value = value.or_else(|| (expression == "identity.entity.name").then(|| "alice".to_owned()));
        Box::pin(async move { Ok(value) })
    }

    fn password<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Secret<String>>> {
        Box::pin(async { Ok(Secret::from("generated")) })
    }

    fn outside(&self) -> &dyn Outside {
        &*self.outside
    }

    fn compute(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'_, Result<()>> {
        self.computed.fetch_add(1, Ordering::Relaxed);
        work();
        Box::pin(async { Ok(()) })
    }

    /// No time is lost: the clock is turned.
    fn pause(&self, span: std::time::Duration) -> BoxFuture<'_, ()> {
        self.now.fetch_add(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX), Ordering::Relaxed);
        Box::pin(async {})
    }

    fn is_locked_out(&self, mount: &Mount, alias: &str) -> bool {
        mount.lockout.threshold > 0 && lock(&self.failed).get(alias).is_some_and(|n| *n >= mount.lockout.threshold)
    }

    fn count_failed_login(&self, _: &Mount, alias: &str) {
        *lock(&self.failed).entry(alias.to_owned()).or_default() += 1;
    }

    fn forget_failed_logins(&self, _: &Mount, alias: &str) {
        lock(&self.failed).remove(alias);
    }
}

struct MapTxn {
    world: Arc<World>,
    writes: Mutex<BTreeMap<String, Option<Vec<u8>>>>,
}

impl MapTxn {
    fn view(self: &Arc<Self>) -> View {
        View::new(self.clone(), "".into())
    }

    fn commit(&self) {
        let mut stored = self.world.stored();
        for (key, value) in lock(&self.writes).iter() {
            match value {
                Some(value) => drop(stored.insert(key.clone(), value.clone())),
                None => drop(stored.remove(key)),
            }
        }
    }

    /// Keys as this transaction sees them.
    fn below(&self, prefix: &str) -> Vec<String> {
        self.world.reads.fetch_add(1, Ordering::Relaxed);
        let mut keys: BTreeSet<String> = self.world.stored().keys().cloned().collect();
        for (key, value) in lock(&self.writes).iter() {
            if value.is_some() {
                keys.insert(key.clone())
            } else {
                keys.remove(key)
            };
        }
        keys.into_iter().filter(|k| k.starts_with(prefix)).collect()
    }
}

impl Txn for MapTxn {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Plain>>> {
        self.world.reads.fetch_add(1, Ordering::Relaxed);
        let value = match lock(&self.writes).get(key) {
            Some(written) => written.clone(),
            None => self.world.stored().get(key).cloned(),
        };
        Box::pin(async move { Ok(value.map(|v| Arc::new(secret::Bytes::new(v)))) })
    }

    fn put(&self, key: String, value: secret::Bytes) {
        lock(&self.writes).insert(key, Some(value.to_vec()));
    }

    fn delete(&self, key: String) {
        lock(&self.writes).insert(key, None);
    }

    fn children<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, limit: usize) -> BoxFuture<'a, Result<Vec<String>>> {
        let names: BTreeSet<String> = self
            .below(prefix)
            .iter()
            .map(|key| {
                let rest = &key[prefix.len()..];
                rest.find('/').map_or(rest, |at| &rest[..=at]).to_owned()
            })
            .filter(|name| after.is_none_or(|after| name.as_str() > after))
            .collect();
        Box::pin(async move { Ok(names.into_iter().take(limit).collect()) })
    }

    fn keys<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, limit: usize) -> BoxFuture<'a, Result<Vec<String>>> {
        let keys = self.below(prefix).into_iter().filter(|key| after.is_none_or(|after| key.as_str() > after)).take(limit);
        let keys = keys.collect();
        Box::pin(async move { Ok(keys) })
    }
}
