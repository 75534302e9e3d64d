//! Declaring an engine.

use crate::BoxFuture;
use crate::call::{LeftOver, RawFields};
use crate::context::{Ctx, Inner, Mount};
use crate::field::{Request, Response};
use crate::lease::{Intent, LeaseKind, Terms};
use crate::reply::{Answer, Login, Reply};
use crate::route::{Compiled, Endpoint, Erased, Factory, OperationInfo, Prepared, Start};
use crate::view::{View, decode};
use coffer_types::{Error, Operation, Result};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

/// What answers calls under one mount.
pub trait Engine: Send + Sync + Sized + 'static {
    /// The type of `sys/mounts`: `kv`, `transit`.
    const KIND: &'static str;
    /// Where one kind has several engines: the mount's option `version`.
    const VERSION: Option<&'static str> = None;

    /// The engine of one mount. Cheap and pure: state is in the store.
    fn open(mount: &Mount) -> Result<Self>;
    fn declare(d: &mut Declare<Self>);
}

type Run<E> = Box<dyn Fn(RawFields<'_>) -> Result<Bound<E>> + Send + Sync>;
type Exists<E> = Box<dyn Fn(RawFields<'_>, Ctx<E>) -> BoxFuture<'static, Result<bool>> + Send + Sync>;
type OnRecord<E, T> = Box<dyn Fn(&[u8], Ctx<E>) -> BoxFuture<'static, Result<T>> + Send + Sync>;
type Otherwise<E> = Box<dyn Fn(&str, Ctx<E>) -> BoxFuture<'static, Result<Answer>> + Send + Sync>;
type Upkeep<E> = Box<dyn Fn(Ctx<E>) -> BoxFuture<'static, Result<bool>> + Send + Sync>;
type Beat<E> = Box<dyn Fn(Ctx<E>) -> BoxFuture<'static, Result<bool>> + Send + Sync>;
type RenewLogin<E> = Box<dyn Fn(Login, Ctx<E>) -> BoxFuture<'static, Result<Login>> + Send + Sync>;

struct Bound<E> {
    resources: Vec<(Operation, String)>,
    left: LeftOver,
    run: Box<dyn FnOnce(Ctx<E>) -> BoxFuture<'static, Result<Answer>> + Send>,
}

/// The declaration under way.
pub struct Declare<E: Engine> {
    routes: Compiled,
    handlers: Vec<Run<E>>,
    exists: BTreeMap<usize, Exists<E>>,
    renew: BTreeMap<&'static str, OnRecord<E, Terms>>,
    revoke: BTreeMap<&'static str, OnRecord<E, ()>>,
    roll_back: BTreeMap<&'static str, OnRecord<E, ()>>,
    otherwise: Option<Otherwise<E>>,
    upkeep: Option<Upkeep<E>>,
    beat: Option<Beat<E>>,
    renew_login: Option<RenewLogin<E>>,
    faults: Vec<String>,
}

impl<E: Engine> Declare<E> {
    /// One line: what the engine is for.
    pub fn about(&mut self, about: &'static str) {
        self.routes.about = about;
    }

    /// A path below the mount: literal segments, `{name}` for one, `{path...}` for the rest, last or
    /// before literal segments.
    pub fn at(&mut self, pattern: &'static str) -> Route<'_, E> {
        Route::new(self, pattern, false)
    }

    /// An operation of a protocol that has names instead of paths.
    pub fn verb(&mut self, name: &'static str) -> Route<'_, E> {
        Route::new(self, name, true)
    }

    /// A kind of lease with what renews and what revokes it. Both may run more than once.
    pub fn lease<L: LeaseKind>(&mut self) -> Lease<'_, E, L> {
        Lease { declare: self, kind: std::marker::PhantomData }
    }

    /// A kind of note written ahead of an effect outside, and what undoes the effect; may run more than once,
    /// also when the effect never happened.
    pub fn intent<I: Intent, F, Fut>(&mut self, roll_back: F)
    where
        F: Fn(Ctx<E>, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        if self.roll_back.insert(I::NAME, on_record(roll_back)).is_some() {
            self.faults.push(format!("intent {} is declared twice", I::NAME));
        }
    }

    /// The engine's own words for a path that it does not have.
    pub fn otherwise<F, Fut>(&mut self, answer: F)
    where
        F: Fn(Ctx<E>, String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Reply>> + Send + 'static,
    {
        self.otherwise = Some(Box::new(move |path, cx| {
            let reply = answer(cx, path.to_owned());
            Box::pin(async move { reply.await.map(Reply::into_answer) })
        }));
    }

    /// Work that a mount does by itself once it is there, a batch a transaction, while it says `true`: turning the data
    /// of an older version into its own. It runs again after each start, so it must bear that at any point.
    pub fn upkeep<F, Fut>(&mut self, batch: F)
    where
        F: Fn(Ctx<E>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<bool>> + Send + 'static,
    {
        self.upkeep = Some(Box::new(move |cx| Box::pin(batch(cx))));
    }

    /// Work that a mount does by the clock: asked every second or so, a transaction each time, and again at once while it says
    /// that there is more. So it must find out cheaply that nothing is due. Mounts do not wait for one another, and one
    /// that fails is asked again with the next beat.
    pub fn beat<F, Fut>(&mut self, beat: F)
    where
        F: Fn(Ctx<E>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<bool>> + Send + 'static,
    {
        self.beat = Some(Box::new(move |cx| Box::pin(beat(cx))));
    }

    /// For auth methods: checks again, when a token is renewed, that its login still stands.
    pub fn renew_login<F, Fut>(&mut self, renew: F)
    where
        F: Fn(Ctx<E>, Login) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Login>> + Send + 'static,
    {
        self.renew_login = Some(Box::new(move |login, cx| Box::pin(renew(cx, login))));
    }
}

fn on_record<E, R, T, F, Fut>(f: F) -> OnRecord<E, T>
where
    R: crate::view::Record,
    F: Fn(Ctx<E>, R) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T>> + Send + 'static,
    T: 'static,
{
    Box::new(move |bytes, cx| match decode::<R>(bytes) {
        Ok(record) => Box::pin(f(cx, record)),
        Err(error) => Box::pin(async move { Err(error) }),
    })
}

/// See [`Declare::lease`].
pub struct Lease<'d, E: Engine, L: LeaseKind> {
    declare: &'d mut Declare<E>,
    kind: std::marker::PhantomData<L>,
}

impl<E: Engine, L: LeaseKind> Lease<'_, E, L> {
    #[must_use = "a lease that nothing revokes is refused"]
    pub fn renew<F, Fut>(self, f: F) -> Self
    where
        F: Fn(Ctx<E>, L) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Terms>> + Send + 'static,
    {
        self.declare.renew.insert(L::NAME, on_record(f));
        self
    }

    pub fn revoke<F, Fut>(self, f: F)
    where
        F: Fn(Ctx<E>, L) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        if self.declare.revoke.insert(L::NAME, on_record(f)).is_some() {
            self.declare.faults.push(format!("lease {} is declared twice", L::NAME));
        }
    }
}

/// A route under declaration; it is added when this value goes.
pub struct Route<'d, E: Engine> {
    declare: &'d mut Declare<E>,
    endpoint: Option<Endpoint>,
    exists: Option<Exists<E>>,
}

macro_rules! operation {
    ($(#[$doc:meta])* $name:ident, $op:ident) => {
        $(#[$doc])*
        pub fn $name<Q, R, F, Fut>(self, handler: F) -> Self
        where
            Q: Request + 'static,
            R: Response + 'static,
            F: Fn(Ctx<E>, Q) -> Fut + Send + Sync + Clone + 'static,
            Fut: Future<Output = Result<Reply<R>>> + Send + 'static,
        {
            self.handle(Operation::$op, handler, |_: &Q| Vec::new())
        }
    };
}

#[allow(clippy::return_self_not_must_use, reason = "a route is added when it goes out of scope")]
impl<'d, E: Engine> Route<'d, E> {
    fn new(declare: &'d mut Declare<E>, pattern: &'static str, verb: bool) -> Self {
        let endpoint = Endpoint {
            pattern,
            about: "",
            public: false,
            sudo: false,
            raw_body: false,
            plain: &[],
            asks_existence: false,
            verb,
            operations: BTreeMap::new(),
        };
        Self { declare, endpoint: Some(endpoint), exists: None }
    }

    fn with(mut self, set: impl FnOnce(&mut Endpoint)) -> Self {
        if let Some(endpoint) = &mut self.endpoint {
            set(endpoint);
        }
        self
    }

    /// One line of help for the path; each operation has its request's own.
    pub fn about(self, about: &'static str) -> Self {
        self.with(|e| e.about = about)
    }

    /// Answers without a token. Every public route stands in `docs/public-routes.txt`.
    pub fn public(self) -> Self {
        self.with(|e| e.public = true)
    }

    /// Needs the `sudo` capability.
    pub fn sudo(self) -> Self {
        self.with(|e| e.sudo = true)
    }

    /// Takes bodies that are not JSON, as [`Fields::raw`](crate::Fields::raw).
    pub fn raw_body(self) -> Self {
        self.with(|e| e.raw_body = true)
    }

    /// Body fields that the audit log shows as they are.
    pub fn plain(self, fields: &'static [&'static str]) -> Self {
        self.with(|e| e.plain = fields)
    }

    operation!(read, Read);
    operation!(
        /// Answers `list` (and `GET ?list=true`).
        list, List);
    operation!(
        /// Answers `scan`: a recursive list.
        scan, Scan);
    operation!(patch, Patch);
    operation!(delete, Delete);
    operation!(
        /// Answers POST and PUT. With [`Route::exists`] the call is a create where nothing was.
        write, Update);

    /// The create-or-update question, asked in the handler's own transaction.
    pub fn exists<Q, F, Fut>(mut self, check: F) -> Self
    where
        Q: Request + 'static,
        F: Fn(Ctx<E>, Q) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<bool>> + Send + 'static,
    {
        self.exists = Some(Box::new(move |mut raw, cx| match Q::read(&mut raw) {
            Ok(request) => Box::pin(check(cx, request)),
            Err(error) => Box::pin(async move { Err(error) }),
        }));
        self.with(|e| e.asks_existence = true)
    }

    /// For verbs: the handler, and the canonical operations and paths (below the mount) that policies decide on.
    pub fn acts<Q, R, F, Fut, P>(self, handler: F, on: P) -> Self
    where
        Q: Request + 'static,
        R: Response + 'static,
        F: Fn(Ctx<E>, Q) -> Fut + Send + Sync + Clone + 'static,
        Fut: Future<Output = Result<Reply<R>>> + Send + 'static,
        P: Fn(&Q) -> Vec<(Operation, String)> + Send + Sync + 'static,
    {
        self.handle(Operation::Update, handler, on)
    }

    fn handle<Q, R, F, Fut, P>(mut self, operation: Operation, handler: F, on: P) -> Self
    where
        Q: Request + 'static,
        R: Response + 'static,
        F: Fn(Ctx<E>, Q) -> Fut + Send + Sync + Clone + 'static,
        Fut: Future<Output = Result<Reply<R>>> + Send + 'static,
        P: Fn(&Q) -> Vec<(Operation, String)> + Send + Sync + 'static,
    {
        let index = self.declare.handlers.len();
        self.declare.handlers.push(Box::new(move |mut raw| {
            let request = Q::read(&mut raw)?;
            let resources = on(&request);
            let handler = handler.clone();
            Ok(Bound {
                resources,
                left: raw.left_over(),
                run: Box::new(move |cx| {
                    let reply = handler(cx, request);
                    Box::pin(async move { reply.await.map(Reply::into_answer) })
                }),
            })
        }));
        let info = OperationInfo { about: Q::ABOUT, fields: Q::fields(), response: R::fields(), handler: index };
        if let Some(endpoint) = &mut self.endpoint
            && endpoint.operations.insert(operation, info).is_some()
        {
            self.declare.faults.push(format!("{}: {operation} is declared twice", endpoint.pattern));
        }
        self
    }
}

impl<E: Engine> Drop for Route<'_, E> {
    fn drop(&mut self) {
        if let Some(endpoint) = self.endpoint.take() {
            if endpoint.operations.is_empty() {
                self.declare.faults.push(format!("{}: no operation", endpoint.pattern));
            }
            match self.declare.routes.add(endpoint) {
                Ok(index) => {
                    if let Some(exists) = self.exists.take() {
                        self.declare.exists.insert(index, exists);
                    }
                }
                Err(fault) => self.declare.faults.push(fault),
            }
        }
    }
}

/// An engine's declaration, ready to make mounts.
pub struct Declared<E: Engine>(Arc<Declare<E>>);

impl<E: Engine> Declared<E> {
    /// Runs the declaration; the errors name each route that is ambiguous or declared twice.
    pub fn new() -> std::result::Result<Self, Vec<String>> {
        let mut declare = Declare {
            routes: Compiled::new(""),
            handlers: Vec::new(),
            exists: BTreeMap::new(),
            renew: BTreeMap::new(),
            revoke: BTreeMap::new(),
            roll_back: BTreeMap::new(),
            otherwise: None,
            upkeep: None,
            beat: None,
            renew_login: None,
            faults: Vec::new(),
        };
        E::declare(&mut declare);
        for name in declare.renew.keys() {
            if !declare.revoke.contains_key(name) {
                declare.faults.push(format!("lease {name} has nothing that revokes it"));
            }
        }
        if declare.faults.is_empty() { Ok(Self(Arc::new(declare))) } else { Err(declare.faults) }
    }

    /// The engine on a mount, from a value that the caller made: for the server's own engines.
    pub fn on(&self, engine: Arc<E>) -> Arc<dyn Erased> {
        Arc::new(OnMount { engine, declare: self.0.clone() })
    }
}

impl<E: Engine> Factory for Declared<E> {
    fn kind(&self) -> &'static str {
        E::KIND
    }
    fn version(&self) -> Option<&'static str> {
        E::VERSION
    }
    fn about(&self) -> &'static str {
        self.0.routes.about
    }
    fn routes(&self) -> &Compiled {
        &self.0.routes
    }
    fn open(&self, mount: &Mount) -> Result<Arc<dyn Erased>> {
        Ok(self.on(Arc::new(E::open(mount)?)))
    }
}

struct OnMount<E: Engine> {
    engine: Arc<E>,
    declare: Arc<Declare<E>>,
}

impl<E: Engine> OnMount<E> {
    fn cx(&self, view: View, inner: Arc<Inner>) -> Ctx<E> {
        Ctx::new(self.engine.clone(), view, inner)
    }
}

impl<E: Engine> Erased for OnMount<E> {
    fn routes(&self) -> &Compiled {
        &self.declare.routes
    }

    fn prepare(&self, index: usize, operation: Operation, raw: RawFields<'_>) -> Result<Prepared> {
        let endpoint = &self.declare.routes.endpoints()[index];
        let info = endpoint.operation(operation).ok_or_else(Error::unsupported)?;
        let mut bound = self.declare.handlers[info.handler](raw)?;
        // A field of another operation on the same path is known, only of no use here.
        bound.left.unknown.retain(|name| !endpoint.knows(name));
        let engine = self.engine.clone();
        let run: Start = Box::new(move |view, inner| {
            let answer = (bound.run)(Ctx::new(engine, view, inner));
            Box::pin(async move {
                let mut answer = answer.await?;
                // A reply that says nothing stays one: 204 has no place for warnings.
                if answer.data.is_some() {
                    answer.warnings.extend(bound.left.into_warnings());
                }
                Ok(answer)
            })
        });
        Ok(Prepared { resources: bound.resources, run })
    }

    fn exists(
        &self,
        index: usize,
        raw: RawFields<'_>,
        view: View,
        inner: Arc<Inner>,
    ) -> Option<BoxFuture<'static, Result<bool>>> {
        let check = self.declare.exists.get(&index)?;
        Some(check(raw, self.cx(view, inner)))
    }

    fn otherwise(&self, path: &str, view: View, inner: Arc<Inner>) -> Option<BoxFuture<'static, Result<Answer>>> {
        let answer = self.declare.otherwise.as_ref()?;
        Some(answer(path, self.cx(view, inner)))
    }

    fn upkeep(&self, view: View, inner: Arc<Inner>) -> Option<BoxFuture<'static, Result<bool>>> {
        let batch = self.declare.upkeep.as_ref()?;
        Some(batch(self.cx(view, inner)))
    }

    fn beat(&self, view: View, inner: Arc<Inner>) -> Option<BoxFuture<'static, Result<bool>>> {
        let beat = self.declare.beat.as_ref()?;
        Some(beat(self.cx(view, inner)))
    }

    fn has_beat(&self) -> bool {
        self.declare.beat.is_some()
    }

    fn renew_lease(&self, kind: &str, record: &[u8], view: View, inner: Arc<Inner>) -> Option<BoxFuture<'static, Result<Terms>>> {
        Some(self.declare.renew.get(kind)?(record, self.cx(view, inner)))
    }

    fn revoke_lease(&self, kind: &str, record: &[u8], view: View, inner: Arc<Inner>) -> Option<BoxFuture<'static, Result<()>>> {
        Some(self.declare.revoke.get(kind)?(record, self.cx(view, inner)))
    }

    fn roll_back(&self, intent: &str, record: &[u8], view: View, inner: Arc<Inner>) -> Option<BoxFuture<'static, Result<()>>> {
        Some(self.declare.roll_back.get(intent)?(record, self.cx(view, inner)))
    }

    fn renew_login(&self, login: Login, view: View, inner: Arc<Inner>) -> Option<BoxFuture<'static, Result<Login>>> {
        let renew = self.declare.renew_login.as_ref()?;
        Some(renew(login, self.cx(view, inner)))
    }

    fn intents(&self) -> Vec<&'static str> {
        self.declare.roll_back.keys().copied().collect()
    }
}
