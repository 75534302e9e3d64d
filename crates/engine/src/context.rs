//! What a handler owns while it runs.

use crate::BoxFuture;
use crate::call::{Call, Permit, Principal};
use crate::lease::Intent;
use crate::outside::Outside;
use crate::view::{View, encode};
use coffer_types::{Operation, Result, Span, Timestamp, secret};
use std::sync::Arc;

/// Which of the three trees a mount stands in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountClass {
    /// `secret/`, `sys/`, …
    Engine,
    /// Below `auth/`.
    Auth,
}

/// A mount as its engine sees it.
#[derive(Clone, Debug)]
pub struct Mount {
    pub class: MountClass,
    /// The whole path with its trailing slash: `secret/`, `auth/userpass/`.
    pub path: Box<str>,
    pub kind: Box<str>,
    pub accessor: Box<str>,
    pub uuid: Box<str>,
    pub options: std::collections::BTreeMap<String, String>,
    pub default_lease_ttl: Span,
    pub max_lease_ttl: Span,
    /// Auth methods: when it locks names out.
    pub lockout: crate::attempt::Lockout,
}

/// What an engine may ask of the server around it. Filled by `core`.
pub trait Host: Send + Sync {
    fn now(&self) -> Timestamp;
    fn fill_random(&self, out: &mut [u8]);
    /// May the caller do this elsewhere? For lists that show only what may be seen.
    fn permits(&self, operation: Operation, path: &str) -> Option<Permit>;
    /// Has the caller `sudo` besides?
    fn has_sudo(&self, operation: Operation, path: &str) -> bool;
    /// Commits one key by itself, now: the write-ahead of an effect outside.
    fn commit_now<'a>(&'a self, key: String, value: Option<secret::Bytes>) -> BoxFuture<'a, Result<()>>;
    /// The value of an expression such as `identity.entity.name` for an entity; `None` where it has none, or is none.
    fn identity_value<'a>(&'a self, entity: &'a str, expression: &'a str) -> BoxFuture<'a, Result<Option<String>>>;
    /// A password by a named policy.
    fn password<'a>(&'a self, policy: &'a str) -> BoxFuture<'a, Result<coffer_types::Secret<String>>>;
    /// What lies outside the server.
    fn outside(&self) -> &dyn Outside;
    /// Runs what keeps a processor busy for milliseconds (a password hash, an RSA key) where it holds up no other call.
    fn compute(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'_, Result<()>>;
    /// Waits: between two questions to a system outside that has no answer yet.
    fn pause(&self, span: std::time::Duration) -> BoxFuture<'_, ()>;
    /// For [`Ctx::attempt`]: is this name of this mount locked out?
    fn is_locked_out(&self, mount: &Mount, alias: &str) -> bool;
    fn count_failed_login(&self, mount: &Mount, alias: &str);
    fn forget_failed_logins(&self, mount: &Mount, alias: &str);
}

/// A handler's context: the engine, its view, and the call. Owned, a few `Arc`s.
pub struct Ctx<E> {
    pub engine: Arc<E>,
    pub view: View,
    pub(crate) inner: Arc<Inner>,
}

/// What is the same for every step of one call. Built by `core`.
pub struct Inner {
    pub mount: Arc<Mount>,
    /// Where this mount's notes of effects outside stand, in the same transaction.
    pub intents: View,
    /// `None` on public routes without a token, and in renewals and revocations that the clock starts.
    pub principal: Option<Principal>,
    pub permit: Option<Permit>,
    pub call: Option<Arc<Call>>,
    pub existed: bool,
    pub host: Arc<dyn Host>,
    pub now: Timestamp,
    /// While a lease is renewed: what is asked, and how long it can last at most.
    pub renewal: Option<Renewal>,
}

/// The renewal of a lease.
#[derive(Clone, Copy, Debug)]
pub struct Renewal {
    pub issued: Timestamp,
    /// The end that no renewal passes.
    pub last_end: Timestamp,
    /// What the caller asked for; zero leaves it to the lease's own terms.
    pub increment: Span,
}

impl Renewal {
    /// When a lease renewed now on these terms ends: never past its last end, its terms' longest and the mount's. And whether that
    /// is earlier than what is asked. `otherwise` stands in where neither the caller nor the terms say how long.
    pub fn end(&self, terms: &crate::lease::Terms, otherwise: Span, mount: &Mount, now: Timestamp) -> (Timestamp, bool) {
        let wanted = [self.increment, terms.ttl].into_iter().find(|span| !span.is_zero()).unwrap_or(otherwise);
        let mut end = self.last_end.min(self.issued.plus(mount.max_lease_ttl.duration()));
        if !terms.max_ttl.is_zero() {
            end = end.min(self.issued.plus(terms.max_ttl.duration()));
        }
        let wanted = now.plus(wanted.duration());
        (wanted.min(end), wanted > end)
    }
}

impl<E> Clone for Ctx<E> {
    fn clone(&self) -> Self {
        Self { engine: self.engine.clone(), view: self.view.clone(), inner: self.inner.clone() }
    }
}

impl<E> Ctx<E> {
    pub fn new(engine: Arc<E>, view: View, inner: Arc<Inner>) -> Self {
        Self { engine, view, inner }
    }

    /// The time of the call; the same for every step of it.
    pub fn now(&self) -> Timestamp {
        self.inner.now
    }

    pub fn fill_random(&self, out: &mut [u8]) {
        self.inner.host.fill_random(out);
    }

    pub fn mount(&self) -> &Mount {
        &self.inner.mount
    }

    pub fn principal(&self) -> Option<&Principal> {
        self.inner.principal.as_ref()
    }

    pub fn call(&self) -> Option<&Call> {
        self.inner.call.as_deref()
    }

    /// The same, for a step of the server's own that runs on behalf of this call.
    pub fn shared_call(&self) -> Option<Arc<Call>> {
        self.inner.call.clone()
    }

    pub fn host(&self) -> &dyn Host {
        &*self.inner.host
    }

    /// Systems outside the server: the only way of an engine to them.
    pub fn outside(&self) -> &dyn Outside {
        self.inner.host.outside()
    }

    /// The result of work that keeps a processor busy for milliseconds, done where it holds up no other call.
    pub async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let place = Arc::new(std::sync::Mutex::new(None));
        let result = place.clone();
        let work = Box::new(move || {
            let value = work();
            *result.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(value);
        });
        self.inner.host.compute(work).await?;
        let value = place.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        value.ok_or_else(|| coffer_types::Error::internal("the work left no result"))
    }

    /// What the route's existence check found, in this same transaction.
    pub fn existed(&self) -> bool {
        self.inner.existed
    }

    /// Create or update, list or scan: what was decided on.
    pub fn operation(&self) -> Operation {
        self.inner.permit.as_ref().map_or(Operation::Read, Permit::operation)
    }

    /// Notes an effect outside before it happens; durable when this returns. Give the note back with
    /// [`Ctx::done`] in the same handler once the lease that replaces it is part of the reply: its removal
    /// commits together with the lease. What is left after a crash is rolled back by the declared handler.
    pub async fn intend<I: Intent>(&self, intent: &I) -> Result<Noted> {
        let mut id = [0u8; 16];
        self.fill_random(&mut id);
        let id = id.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let key = format!("{}/{:020}-{id}", I::NAME, self.now().secs());
        self.inner.host.commit_now(self.inner.intents.whole_key(&key), Some(encode(intent)?)).await?;
        Ok(Noted { key })
    }

    /// The effect did not come about, or was undone by its own call: the note goes at once, whatever becomes of the call.
    pub async fn undone(&self, noted: Noted) -> Result<()> {
        self.inner.host.commit_now(self.inner.intents.whole_key(&noted.key), None).await
    }

    /// While a lease is renewed: what is asked of it.
    pub fn renewal(&self) -> Option<Renewal> {
        self.inner.renewal
    }

    /// The effect is covered by what this call commits: the note goes with the same commit.
    pub fn done(&self, noted: Noted) {
        self.inner.intents.delete(&noted.key);
    }
}

/// The receipt of [`Ctx::intend`].
#[must_use = "give it to Ctx::done when the lease is in the reply"]
pub struct Noted {
    key: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::Terms;

    #[test]
    fn a_renewal_ends_no_later_than_any_limit() {
        let mount = Mount {
            class: MountClass::Engine,
            path: "db/".into(),
            kind: "database".into(),
            accessor: "a".into(),
            uuid: "u".into(),
            options: std::collections::BTreeMap::new(),
            default_lease_ttl: Span::from_secs(100),
            max_lease_ttl: Span::from_secs(1000),
            lockout: crate::attempt::Lockout::default(),
        };
        let at = Timestamp::from_secs;
        let renewal = |increment| Renewal { issued: at(0), last_end: at(900), increment: Span::from_secs(increment) };
        let terms = |ttl, max| Terms { ttl: Span::from_secs(ttl), max_ttl: Span::from_secs(max), renewable: true };
        let end = |increment, ttl, max| renewal(increment).end(&terms(ttl, max), Span::from_secs(7), &mount, at(50));
        assert_eq!(end(0, 0, 0), (at(57), false));
        assert_eq!(end(0, 60, 0), (at(110), false));
        assert_eq!(end(30, 60, 0), (at(80), false));
        assert_eq!(end(300, 60, 200), (at(200), true));
        assert_eq!(end(5000, 60, 0), (at(900), true));
    }
}
