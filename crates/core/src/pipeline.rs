//! The way of one call, from top to bottom: resolve → authenticate → decide → audit → handle → settle → commit → audit.
//!
//! Every call of every dialect comes through [`Core::serve`], `sys/` included; what must work while sealed stands in
//! [`outside`](crate::outside) and nowhere else. The call goes down and is not changed; the answer comes up. One call is one
//! transaction: where something that it read has changed by the time it commits, it is run again from the top, so a
//! handler has no effect but on its view.

use crate::audit::{Broker, Decision, Entry, MountInfo, Opened, TokenInfo, Unaudited};
use crate::barrier::{Committed, Transaction};
use crate::core::Core;
use crate::decide::{Decided, Question, decide, refused};
use crate::intents::OfOneRun;
use crate::leases;
use crate::live::Unsealed;
use crate::quotas::{self, Checked};
use crate::router::Mounted;
use crate::settle::Settling;
use crate::tokens::{Authenticated, Presented, authenticate};
use coffer_engine::context::{Host, Inner};
use coffer_engine::{Answer, BoxFuture, Call, Endpoint, Fields, Miss, Mount, Permit, RawFields};
use coffer_types::{Error, Kind, Object, Operation, Result, Secret, Timestamp, secret};
use std::sync::Arc;

/// What lines show as the version of the engine that answers: engines are part of the program.
const RUNNING_VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"), "+builtin.coffer");

/// How often a call is run again when what it read has changed under it.
const ATTEMPTS: usize = 64;

impl Core {
    /// Answers one call.
    pub async fn serve(self: &Arc<Self>, call: Call) -> Result<Answer> {
        let core = self.clone();
        let call = Arc::new(call);
        if matches!(call.operation, Operation::Read | Operation::List | Operation::Scan | Operation::Help) {
            return core.answer(call).await;
        }
        // A client that hangs up must not stop a write between its commit and its audit line.
        match tokio::spawn(async move { core.answer(call).await }).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::internal("a handler panicked")),
        }
    }

    async fn answer(self: &Arc<Self>, call: Arc<Call>) -> Result<Answer> {
        let _in_flight = self.in_flight.begin(&call, self.clock.now());
        let Some(checked) = self.quota(&call) else { return self.answer_within_limits(call).await };
        let mut outcome =
            if checked.take.allowed { self.answer_within_limits(call).await } else { self.over_the_limit(&call, &checked).await };
        if let Ok(answer) = &mut outcome {
            answer.headers.extend(checked.headers());
        }
        outcome
    }

    /// Asks the rate limits, before anything else is done for a call.
    fn quota(&self, call: &Call) -> Option<Checked> {
        let live = self.unsealed().ok()?;
        live.quotas.check(call.path.as_str(), call.remote.ip, self.clock.now())
    }

    /// A call too many: nothing is read for it, not even who it is.
    async fn over_the_limit(&self, call: &Call, checked: &Checked) -> Result<Answer> {
        let error = quotas::exceeded(call.operation, call.path.as_str());
        if checked.audit {
            let entry = Entry {
                call,
                operation: call.operation,
                mount: None,
                token: None,
                decision: None,
                error: Some(&error),
                plain: &[],
            };
            let opened = self.audit.begin(&entry).await?;
            self.audit.end(opened, Err(&error)).await?;
        }
        if !checked.headers {
            return Err(error);
        }
        let document = Object::new().with("errors", vec![error.public().to_owned()]);
        Ok(Answer { status: Some(429), data: Some(document), bare: true, ..Answer::default() })
    }

    async fn answer_within_limits(self: &Arc<Self>, call: Arc<Call>) -> Result<Answer> {
        if let Some(answer) = crate::outside::serve(self, &call).await {
            return answer;
        }
        let live = self.unsealed()?;
        tracing::debug!(target: "core", request = %call.id, operation = %call.operation, path = %call.path, "a call");
        let mut journal = Journal { broker: &self.audit, opened: None };
        let outcome = self.attempts(&live, &call, &mut journal).await;
        if let Err(error) = &outcome {
            log_cause(error, &call);
        }
        match journal.close(&outcome).await {
            Ok(()) => outcome,
            // The effect stands, but nobody may use what the lost reply would have handed out.
            Err(unaudited) => {
                self.take_back(&live, outcome).await;
                Err(unaudited.into())
            }
        }
    }

    async fn attempts(self: &Arc<Self>, live: &Unsealed, call: &Arc<Call>, journal: &mut Journal<'_>) -> Result<Answer> {
        for _ in 0..ATTEMPTS {
            let txn = live.barrier.begin();
            let notes = OfOneRun::new(live);
            let step = Step { core: self, live, txn: &txn, call, now: self.clock.now(), notes: &notes };
            let outcome = step.run(journal).await;
            match txn.commit().await? {
                Committed::Conflict => {}
                Committed::Done(keys) => {
                    if outcome.is_ok() {
                        notes.committed();
                    }
                    live.after_commit(&keys).await?;
                    // Sealed and opened again meanwhile: what is live now was read before this commit.
                    if let Ok(now) = self.unsealed()
                        && !Arc::ptr_eq(&now.0, &live.0)
                    {
                        now.after_commit(&keys).await?;
                    }
                    return outcome;
                }
            }
        }
        Err(Error::new(Kind::Unavailable, "too many writers at once on the same records; try again"))
    }

    /// Revokes the token, the lease or the wrapped reply of an answer that does not leave.
    async fn take_back(self: &Arc<Self>, live: &Unsealed, outcome: Result<Answer>) {
        let Ok(answer) = outcome else { return };
        // What a wrapped reply holds is taken back too: whoever has a copy of its token must find nothing.
        let wrapped = match &answer.wrap {
            None => None,
            Some(wrap) => {
                let view = live.view();
                crate::wrapping::find(live, &view, wrap.token.expose(), self.clock.now()).await.ok().map(|(_, w)| w.into_answer())
            }
        };
        let auths = answer.auth.iter().chain(wrapped.iter().filter_map(|w| w.auth.as_ref()));
        let tokens = auths.map(|a| &a.client_token).chain(answer.wrap.iter().map(|w| &w.token));
        for text in tokens {
            let inner = live.wrapping.open(text.expose());
            let text = inner.as_ref().map_or(text.expose().as_str(), |t| t.as_str());
            if let Err(error) = leases::end::end_now(live, text).await {
                tracing::error!(target: "audit", %error, "a token of a reply that could not be audited was not revoked");
            }
        }
        for leased in answer.leased.iter().chain(wrapped.iter().filter_map(|w| w.leased.as_ref())) {
            if let Err(error) = leases::revoke::revoke(self, live, &leased.id).await {
                tracing::error!(target: "audit", lease = %leased.id, %error, "a lease of a reply that could not be audited was not revoked");
            }
        }
    }
}

/// The causes of our own faults and of refusals, for the log only.
fn log_cause(error: &Error, call: &Call) {
    if matches!(error.kind(), Kind::Internal | Kind::Unavailable | Kind::Upstream) {
        let cause = error.cause().map(ToString::to_string).unwrap_or_default();
        tracing::error!(target: "core", request = %call.id, path = %call.path, kind = ?error.kind(), %cause, "a call failed: {error}");
    } else if let Some(cause) = error.cause() {
        // Who is refused is told no more than that; whoever runs the server can read why.
        tracing::warn!(target: "core", request = %call.id, path = %call.path, kind = ?error.kind(), %cause, "a call was refused: {error}");
    }
}

/// The two audit lines of one call, however often it is run.
struct Journal<'a> {
    broker: &'a Broker,
    opened: Option<Opened>,
}

impl Journal<'_> {
    async fn open(&mut self, entry: &Entry<'_>) -> Result<()> {
        if self.opened.is_none() {
            self.opened = Some(self.broker.begin(entry).await?);
        }
        Ok(())
    }

    async fn close(self, outcome: &Result<Answer>) -> std::result::Result<(), Unaudited> {
        match self.opened {
            None => Ok(()),
            Some(opened) => self.broker.end(opened, outcome.as_ref()).await,
        }
    }
}

/// One run of a call over one transaction.
struct Step<'a> {
    core: &'a Arc<Core>,
    live: &'a Unsealed,
    txn: &'a Arc<Transaction>,
    call: &'a Arc<Call>,
    now: Timestamp,
    notes: &'a Arc<OfOneRun>,
}

/// A route of the mount's engine, and what its variables captured.
type Route<'p> = (usize, Vec<(&'static str, &'p str)>);

/// Where a call goes: the mount, the path inside it, and the route, or why there is none.
struct Target<'p> {
    mounted: Arc<Mounted>,
    inside: &'p str,
    route: Result<Route<'p>, Miss>,
}

impl Target<'_> {
    fn endpoint(&self) -> Option<&Endpoint> {
        self.route.as_ref().ok().map(|(index, _)| &self.mounted.engine.routes().endpoints()[*index])
    }

    fn raw(&self, fields: Fields) -> RawFields<'_> {
        let captures = self.route.as_ref().map(|(_, captures)| captures.clone()).unwrap_or_default();
        RawFields { captures, fields }
    }
}

impl Step<'_> {
    async fn run(&self, journal: &mut Journal<'_>) -> Result<Answer> {
        let view = self.txn.root_view();
        let target = self.resolve();
        // A public route takes no use of a token that happens to come along: unwrapping is one.
        let counts = !target.as_ref().and_then(Target::endpoint).is_some_and(|e| e.public);
        let presented = Presented { credential: &self.call.credential, remote: &self.call.remote, counts };
        let authenticated = authenticate(self.live, &view, &presented, self.now).await;
        let mark = self.txn.mark();
        let before = mark.clone();
        let (operation, existed, decided) = match self.judge(target.as_ref(), &authenticated).await {
            Ok(judged) => judged,
            // A call that can't be decided on (the store fails) leaves its lines too.
            Err(error) => {
                let (asked, nothing) = (self.call.operation, (None, Some(&error)));
                self.audit(journal, target.as_ref(), asked, &authenticated, nothing).await?;
                return Err(error);
            }
        };
        let verdict = (decided.asked.then_some(&decided), decided.permit.as_ref().err());
        self.audit(journal, target.as_ref(), operation, &authenticated, verdict).await?;
        let outcome = match decided.permit {
            Ok(ref permit) => self.handle(target, &authenticated, permit.clone(), &decided, existed).await,
            Err(error) => Err(error),
        };
        if outcome.is_err() {
            self.txn.back_to(mark);
        }
        if let Ok(Some(spent)) = &authenticated
            && spent.last_use
            && let Err(error) = leases::end_token(self.live, &view, &spent.token, self.now).await
        {
            // The use is spent all the same: what authentication wrote stays, what the handler wrote goes.
            self.txn.back_to(before);
            return Err(error);
        }
        outcome
    }

    /// Create or update, and whether it may be.
    async fn judge(
        &self,
        target: Option<&Target<'_>>,
        authenticated: &Result<Option<Authenticated>>,
    ) -> Result<(Operation, bool, Decided)> {
        if let Err(error) = authenticated
            && error.kind() != Kind::Denied
        {
            // Not the credential's fault: whoever asks again later may be let in.
            return Err(Error::new(error.kind(), error.public().to_owned()));
        }
        let (operation, existed) = self.operation(target, authenticated).await?;
        let decided = self.decide(target, operation, authenticated).await?;
        Ok((operation, existed, decided))
    }

    async fn audit(
        &self,
        journal: &mut Journal<'_>,
        target: Option<&Target<'_>>,
        operation: Operation,
        authenticated: &Result<Option<Authenticated>>,
        (decided, error): (Option<&Decided>, Option<&Error>),
    ) -> Result<()> {
        let mount = target.map(|t| &t.mounted).map(|m| MountInfo {
            point: &m.mount.path,
            kind: &m.mount.kind,
            accessor: &m.mount.accessor,
            class: m.mount.class,
            version: RUNNING_VERSION,
            clear_request: &m.record.tune.audit_non_hmac_request_keys,
            clear_response: &m.record.tune.audit_non_hmac_response_keys,
        });
        let token = authenticated.as_ref().ok().and_then(Option::as_ref).map(|a| TokenInfo {
            principal: &a.principal,
            token_policies: &a.token.policies,
            identity_policies: a.identity.as_deref().filter(|_| !a.principal.root).map_or(&[], |i| &i.policies),
            metadata: &a.token.meta,
            ttl: a.token.ttl,
            issued: a.token.created,
            remaining_uses: (a.token.num_uses > 0 || a.last_use).then_some(a.token.num_uses),
        });
        let decision = decided
            .map(|d| Decision { allowed: d.permit.is_ok(), granting: d.permit.as_ref().map_or(&[][..], Permit::policies) });
        let entry = Entry {
            call: self.call,
            operation,
            mount,
            token,
            decision,
            error,
            plain: target.and_then(Target::endpoint).map_or(&[], |e| e.plain),
        };
        journal.open(&entry).await
    }

    fn resolve(&self) -> Option<Target<'_>> {
        let router = self.live.router.load();
        let (mounted, inside) = router.resolve(&self.call.path)?;
        let routes = mounted.engine.routes();
        let found = match &self.call.verb {
            Some(verb) => routes.find_verb(verb).ok_or(Miss::NoOperation),
            None => routes.find(inside, self.call.operation),
        };
        Some(Target { mounted: mounted.clone(), inside, route: found.map(|f| (f.index, f.captures)) })
    }

    /// Create or update: asked of the route, in this transaction.
    async fn operation(
        &self,
        target: Option<&Target<'_>>,
        authenticated: &Result<Option<Authenticated>>,
    ) -> Result<(Operation, bool)> {
        let asked = self.call.operation;
        let Some(target) = target else { return Ok((asked, false)) };
        let Some(endpoint) = target.endpoint() else { return Ok((asked, false)) };
        if asked != Operation::Update || !endpoint.asks_existence || !matches!(authenticated, Ok(Some(_))) {
            return Ok((asked, false));
        }
        let Ok((index, _)) = &target.route else { return Ok((asked, false)) };
        let inner = self.inner(&target.mounted, authenticated, None, None, false);
        let view = self.txn.view(&target.mounted.prefix);
        match target.mounted.engine.exists(*index, target.raw(self.call.fields.clone()), view, inner) {
            None => Ok((asked, false)),
            // A request that does not read is refused by its handler, after the policy was asked.
            Some(answer) => match answer.await {
                Ok(true) => Ok((Operation::Update, true)),
                Ok(false) => Ok((Operation::Create, false)),
                Err(error) if error.kind() == Kind::BadRequest => Ok((Operation::Update, false)),
                Err(error) => Err(error),
            },
        }
    }

    async fn decide(
        &self,
        target: Option<&Target<'_>>,
        operation: Operation,
        authenticated: &Result<Option<Authenticated>>,
    ) -> Result<Decided> {
        let endpoint = target.and_then(Target::endpoint);
        if let (Some(target), Ok(Some(_))) = (target, authenticated)
            && let Some(verb) = endpoint.filter(|e| e.verb && !e.public)
        {
            return self.decide_verb(target, verb, authenticated).await;
        }
        let question = Question {
            operation,
            path: self.call.path.as_str(),
            public: endpoint.is_some_and(|e| e.public),
            sudo: endpoint.is_some_and(|e| e.sudo),
            call: Some(self.call),
        };
        decide(self.live, authenticated, &question, self.now).await
    }

    async fn handle(
        &self,
        target: Option<Target<'_>>,
        authenticated: &Result<Option<Authenticated>>,
        permit: Permit,
        decided: &Decided,
        existed: bool,
    ) -> Result<Answer> {
        let path = self.call.path.as_str();
        let Some(target) = target else {
            return Err(no_route(path));
        };
        // A verb has one handler, whatever was decided on.
        let operation = if self.call.verb.is_some() { Operation::Update } else { permit.operation() };
        if operation == Operation::Help {
            return Ok(coffer_engine::help::answer(&target.mounted.mount, target.mounted.engine.routes(), target.inside));
        }
        let view = self.txn.view(&target.mounted.prefix);
        let inner = self.inner(&target.mounted, authenticated, Some(permit), decided.compiled.clone(), existed);
        let index = match &target.route {
            Ok((index, _)) => *index,
            Err(miss) => return self.miss(&target, *miss, view, inner).await,
        };
        let mut fields = self.call.fields.clone();
        if let Some(limit) = decided.page_limit {
            fields.query.insert("limit".into(), limit.to_string().into());
        }
        if fields.raw.is_some() && !target.endpoint().is_some_and(|e| e.raw_body) {
            return Err(Error::bad_request("failed to decode JSON input: this path takes a JSON object"));
        }
        let prepared = target.mounted.engine.prepare(index, operation, target.raw(fields))?;
        let mut answer = (prepared.run)(view, inner).await?;
        self.notes.finished();
        if let (Some(filter), Some(compiled)) = (&decided.list_filter, &decided.compiled) {
            hide_keys(&mut answer, filter, compiled, path);
        }
        let settling = Settling {
            core: self.core,
            live: self.live,
            txn: self.txn,
            call: self.call,
            mounted: &target.mounted,
            authenticated,
            now: self.now,
        };
        let answer = settling.settle(answer).await?;
        self.still_mounted(&target).await?;
        if &*target.mounted.mount.kind == "cubbyhole"
            && self.txn.has_writes()
            && let Ok(Some(owner)) = authenticated
        {
            leases::end::depends(&self.txn.root_view(), &owner.token.key).await?;
        }
        Ok(answer)
    }

    /// What is written needs a mount to belong to: from here on a commit that takes it away is a conflict, and the call is
    /// run again. Else its data would lie there for ever and its lease would have no engine to revoke it.
    async fn still_mounted(&self, target: &Target<'_>) -> Result<()> {
        if target.mounted.record.is_system() || !self.txn.has_writes() {
            return Ok(());
        }
        match crate::mounts::by_uuid(&self.txn.root_view(), &target.mounted.mount.uuid).await? {
            Some(record) if !record.going => Ok(()),
            _ => Err(no_route(self.call.path.as_str())),
        }
    }

    /// A verb names what it acts on in its fields, not in the call's path: policies decide on each of these, and all must
    /// be granted. The permit is the first one's.
    async fn decide_verb(
        &self,
        target: &Target<'_>,
        endpoint: &Endpoint,
        authenticated: &Result<Option<Authenticated>>,
    ) -> Result<Decided> {
        let none = |permit| Decided { permit: Err(permit), asked: true, compiled: None, page_limit: None, list_filter: None };
        let Ok((index, _)) = target.route else { return Ok(none(refused())) };
        let prepared = match target.mounted.engine.prepare(index, Operation::Update, target.raw(self.call.fields.clone())) {
            Ok(prepared) => prepared,
            Err(error) => return Ok(none(error)),
        };
        let mut granted: Option<Decided> = None;
        for (operation, below) in prepared.resources {
            let path = format!("{}{below}", target.mounted.mount.path);
            let question = Question { operation, path: &path, public: false, sudo: endpoint.sudo, call: None };
            let decided = decide(self.live, authenticated, &question, self.now).await?;
            if decided.permit.is_err() {
                return Ok(decided);
            }
            granted.get_or_insert(decided);
        }
        Ok(granted.unwrap_or_else(|| none(refused())))
    }

    async fn miss(&self, target: &Target<'_>, miss: Miss, view: coffer_engine::View, inner: Arc<Inner>) -> Result<Answer> {
        match miss {
            Miss::NoOperation => Err(Error::unsupported()),
            Miss::NoPath => match target.mounted.engine.otherwise(target.inside, view, inner) {
                Some(answer) => answer.await,
                None => Err(Error::new(Kind::NotFound, "1 error occurred:\n\t* unsupported path\n\n")),
            },
        }
    }

    fn inner(
        &self,
        mounted: &Mounted,
        authenticated: &Result<Option<Authenticated>>,
        permit: Option<Permit>,
        compiled: Option<Arc<crate::policies::Compiled>>,
        existed: bool,
    ) -> Arc<Inner> {
        let principal = authenticated.as_ref().ok().and_then(Option::as_ref).map(|a| a.principal.clone());
        let host = CallHost {
            core: self.core.clone(),
            live: self.live.clone(),
            compiled,
            now: self.now,
            notes: Some(self.notes.clone()),
        };
        Arc::new(Inner {
            mount: mounted.mount.clone(),
            intents: self.txn.view(&mounted.intents),
            principal,
            permit,
            call: Some(self.call.clone()),
            existed,
            host: Arc::new(host),
            now: self.now,
            renewal: None,
        })
    }
}

fn no_route(path: &str) -> Error {
    Error::new(Kind::NotFound, format!("no handler for route {path:?}. route entry not found."))
}

/// Takes away the keys of a list that the caller could do nothing with, where its rule says so.
fn hide_keys(answer: &mut Answer, filter: &crate::policy::ListFilter, compiled: &crate::policies::Compiled, path: &str) {
    let Some(data) = &mut answer.data else { return };
    let folder = crate::policies::asked_path(Operation::List, path);
    let seen = |key: &str| {
        let operation = if key.ends_with('/') { Operation::List } else { Operation::Read };
        let path = filter.path(&folder, key);
        crate::decide::permit_by(compiled, &Question { operation, path: &path, public: false, sudo: false, call: None }).is_some()
    };
    if let Some(coffer_types::Json::Array(keys)) = data.get_mut("keys") {
        keys.retain(|key| key.as_str().is_none_or(seen));
    }
    if let Some(coffer_types::Json::Object(details)) = data.get_mut("key_info") {
        *details = std::mem::take(details).into_iter().filter(|(key, _)| seen(key)).collect();
    }
}

/// What an engine may ask of the server during a call.
pub(crate) struct CallHost {
    pub(crate) core: Arc<Core>,
    pub(crate) live: Unsealed,
    pub(crate) compiled: Option<Arc<crate::policies::Compiled>>,
    pub(crate) now: Timestamp,
    /// Where the run of a call remembers what it noted.
    pub(crate) notes: Option<Arc<OfOneRun>>,
}

impl Host for CallHost {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn fill_random(&self, out: &mut [u8]) {
        self.core.random.fill(out);
    }

    fn permits(&self, operation: Operation, path: &str) -> Option<Permit> {
        let question = Question { operation, path, public: false, sudo: false, call: None };
        crate::decide::permit_by(self.compiled.as_deref()?, &question)
    }

    fn has_sudo(&self, operation: Operation, path: &str) -> bool {
        let question = Question { operation, path, public: false, sudo: true, call: None };
        self.compiled.as_deref().is_some_and(|compiled| crate::decide::permit_by(compiled, &question).is_some())
    }

    fn commit_now<'a>(&'a self, key: String, value: Option<secret::Bytes>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if let (Some(notes), Some(_)) = (&self.notes, &value) {
                notes.noted(&key);
            }
            let txn = self.live.barrier.begin();
            let view = txn.root_view();
            match value {
                Some(value) => view.put_bytes(&key, value),
                None => view.delete(&key),
            }
            match txn.commit().await? {
                Committed::Done(_) => Ok(()),
                Committed::Conflict => Err(Error::internal("a blind write conflicted")),
            }
        })
    }

    fn identity_value<'a>(&'a self, entity: &'a str, expression: &'a str) -> BoxFuture<'a, Result<Option<String>>> {
        Box::pin(async move {
            let identity = self.live.identities.get(&self.live.barrier, entity).await?;
            Ok(identity
                .and_then(|identity| crate::policy::Subject::value(&*identity, &crate::policy::Expression::parse(expression))))
        })
    }

    fn password<'a>(&'a self, policy: &'a str) -> BoxFuture<'a, Result<Secret<String>>> {
        Box::pin(crate::policies::password(&self.live, &*self.core.random, policy))
    }

    fn pause(&self, span: std::time::Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(span))
    }

    fn outside(&self) -> &dyn coffer_engine::Outside {
        &*self.core.config.outside
    }

    fn compute(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { tokio::task::spawn_blocking(work).await.map_err(Error::internal) })
    }

    fn is_locked_out(&self, mount: &Mount, alias: &str) -> bool {
        self.live.lockout.is_locked(mount, alias, self.core.clock.now())
    }

    fn count_failed_login(&self, mount: &Mount, alias: &str) {
        self.live.lockout.count(mount, alias, self.core.clock.now());
    }

    fn forget_failed_logins(&self, mount: &Mount, alias: &str) {
        self.live.lockout.forget(&mount.accessor, alias);
    }
}
