//! `sys/leases/…` and its older names `sys/renew`, `sys/revoke…`.

use super::LeaseRecord;
use super::record::{self, RECORDS, STUCK, Stuck, Subject};
use super::revoke::{self, below, housekeeping};
use crate::sys::Sys;
use crate::tokens::engine::{Page, renew_record};
use coffer_engine::reply::{Answer, Leased};
use coffer_engine::view::View;
use coffer_engine::{Ctx, Declare, NoInput, Renewal, Reply, Request};
use coffer_types::{Error, Object, Result, Span};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) fn declare(d: &mut Declare<Sys>) {
    d.at("leases").about("The leases that could not be revoked, and why.").sudo().read(irrevocable);
    d.at("leases/count").about("Count the leases of each mount.").read(count);
    d.at("leases/lookup").about("Look a lease up.").plain(&["lease_id"]).write(lookup);
    d.at("leases/lookup/{prefix...}").about("List leases below a path.").sudo().list(list);
    d.at("leases/renew").about("Renew a lease.").plain(&["lease_id"]).write(renew);
    d.at("leases/renew/{url_lease_id...}").about("Renew a lease.").plain(&["lease_id"]).write(renew);
    d.at("leases/revoke").about("Revoke a lease.").plain(&["lease_id"]).write(revoke_one);
    d.at("leases/revoke/{url_lease_id...}").about("Revoke a lease.").plain(&["lease_id"]).write(revoke_one);
    d.at("leases/revoke-prefix/{prefix...}").about("Revoke all leases below a path.").sudo().write(revoke_prefix);
    d.at("leases/revoke-force/{prefix...}").about("Forget all leases below a path, revoked or not.").sudo().write(revoke_force);
    d.at("leases/tidy").about("Remove index entries without a lease.").write(tidy);
    d.at("renew").about("Renew a lease.").plain(&["lease_id"]).write(renew);
    d.at("renew/{url_lease_id...}").about("Renew a lease.").plain(&["lease_id"]).write(renew);
    d.at("revoke").about("Revoke a lease.").plain(&["lease_id"]).write(revoke_one);
    d.at("revoke/{url_lease_id...}").about("Revoke a lease.").plain(&["lease_id"]).write(revoke_one);
    d.at("revoke-prefix/{prefix...}").about("Revoke all leases below a path.").sudo().write(revoke_prefix);
    d.at("revoke-force/{prefix...}").about("Forget all leases below a path, revoked or not.").sudo().write(revoke_force);
}

/// Look a lease up.
#[derive(Request)]
struct Lookup {
    /// The lease.
    lease_id: Option<String>,
}

/// List leases below a path.
#[derive(Request)]
struct List {
    /// The path.
    #[field(path)]
    prefix: String,
    /// Names after this one.
    #[field(query)]
    after: Option<String>,
    /// At most so many.
    #[field(query)]
    limit: Option<i64>,
}

/// A lease in the path or in the body.
#[derive(Request)]
struct OneLease {
    /// The lease, in the path.
    #[field(path, default)]
    url_lease_id: String,
    /// The lease.
    lease_id: Option<String>,
    /// By how much.
    #[field(default)]
    increment: Span,
    /// Answer when it is revoked, not when it is queued.
    #[field(default)]
    sync: bool,
}

/// Revoke all leases below a path.
#[derive(Request)]
struct Prefix {
    /// The path.
    #[field(path)]
    prefix: String,
    /// Answer when they are revoked, not when they are queued.
    #[field(default)]
    sync: bool,
}

impl OneLease {
    fn id(&self) -> Result<&str> {
        let id = self.lease_id.as_deref().filter(|id| !id.is_empty()).unwrap_or(&self.url_lease_id).trim_end_matches('/');
        if id.is_empty() { Err(Error::bad_request("lease_id must be specified")) } else { Ok(id) }
    }
}

async fn find(cx: &Ctx<Sys>, id: &str) -> Result<LeaseRecord> {
    let found = record::get(&cx.view, id).await?.filter(|l| l.expires > cx.now() || l.failures > 0);
    found.ok_or_else(|| Error::bad_request("invalid lease"))
}

async fn lookup(cx: Ctx<Sys>, ask: Lookup) -> Result<Reply> {
    let id = ask.lease_id.filter(|id| !id.is_empty()).ok_or_else(|| Error::bad_request("lease_id must be specified"))?;
    let lease = find(&cx, &id).await?;
    let mut shown = revoke::show(&lease, cx.now());
    if let Some(stuck) = cx.view.get::<Stuck>(&format!("{STUCK}{id}")).await? {
        shown.insert("revoke_error", stuck.reason);
    }
    Ok(Reply::data(shown))
}

async fn list(cx: Ctx<Sys>, ask: List) -> Result<Reply> {
    let prefix = if ask.prefix.is_empty() { String::new() } else { format!("{}/", ask.prefix.trim_end_matches('/')) };
    let limit = ask.limit.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(usize::MAX);
    let after = ask.after.as_deref().filter(|a| !a.is_empty());
    Ok(Reply::list(cx.view.children(&format!("{RECORDS}{prefix}"), after, limit).await?))
}

async fn renew(cx: Ctx<Sys>, ask: OneLease) -> Result<Reply> {
    let id = ask.id()?;
    let core = cx.engine.core()?;
    let live = core.unsealed()?;
    let mut lease =
        record::get(&cx.view, id).await?.filter(|l| l.expires > cx.now()).ok_or_else(|| Error::bad_request("lease not found"))?;
    if !lease.renewable {
        return Err(Error::bad_request("lease is not renewable"));
    }
    let now = cx.now();
    let (mount, kind, private) = match &lease.subject {
        Subject::Token(key) => {
            let token = live.tokens.get_key(&cx.view, key).await?.ok_or_else(|| Error::bad_request("lease not found"))?;
            let (_, granted, warnings) = renew_record(&cx, token, ask.increment).await?;
            let leased = Leased { id: id.to_owned(), seconds: granted.secs(), renewable: true };
            return Ok(Reply::from_answer(Answer { leased: Some(leased), warnings, ..Answer::default() }).status(200));
        }
        Subject::Engine { mount, kind, record } => (mount, kind, record),
    };
    let router = live.router.load_full();
    let mounted = router.by_uuid(mount).ok_or_else(|| Error::bad_request("lease not found"))?;
    let txn = cx.view.transaction().ok_or_else(|| Error::internal("sys sees everything"))?;
    let view = View::new(txn.clone(), mounted.prefix.clone());
    let mut inner = housekeeping(&core, &live, &txn, mounted, now);
    let renewal = Renewal { issued: lease.issued, last_end: lease.last_end, increment: ask.increment };
    if let Some(inner) = Arc::get_mut(&mut inner) {
        inner.renewal = Some(renewal);
    }
    let terms = match mounted.engine.renew_lease(kind, private, view, inner) {
        Some(terms) => terms.await?,
        None => return Err(Error::bad_request("lease is not renewable")),
    };
    let (expires, less_than_asked) = renewal.end(&terms, lease.ttl, &mounted.mount, now);
    if expires <= now {
        return Err(Error::bad_request("past the max TTL, cannot renew"));
    }
    lease.expires = expires;
    lease.last_renewed = now;
    let seconds = lease.seconds_left(now);
    record::move_to(&cx.view, &mut lease, expires)?;
    let mut reply =
        Reply::from_answer(Answer { leased: Some(Leased { id: lease.id, seconds, renewable: true }), ..Answer::default() })
            .status(200);
    if less_than_asked {
        reply = reply.warn("the lease was renewed only up to its max TTL");
    }
    Ok(reply)
}

/// Due now: the expirer revokes it within its beat; with `sync` before this returns.
async fn revoke_one(cx: Ctx<Sys>, ask: OneLease) -> Result<Reply> {
    queue(&cx, vec![ask.id()?.to_owned()], ask.sync).await
}

async fn revoke_prefix(cx: Ctx<Sys>, ask: Prefix) -> Result<Reply> {
    let ids = below(&cx.view, &prefix(&ask.prefix)?, usize::MAX).await?;
    queue(&cx, ids, ask.sync).await
}

fn prefix(text: &str) -> Result<String> {
    let text = text.trim_end_matches('/');
    if text.is_empty() { Err(Error::bad_request("prefix must be specified")) } else { Ok(format!("{text}/")) }
}

async fn queue(cx: &Ctx<Sys>, ids: Vec<String>, sync: bool) -> Result<Reply> {
    let core = cx.engine.core()?;
    let live = core.unsealed()?;
    if sync {
        for id in ids {
            revoke::revoke(&core, &live, &id).await?;
        }
        return Ok(Reply::empty());
    }
    for id in ids {
        if let Some(mut lease) = record::get(&cx.view, &id).await? {
            // A token stops at once; what an engine must undo outside is queued.
            if let Subject::Token(key) = &lease.subject
                && let Some(token) = live.tokens.get_key(&cx.view, key).await?
            {
                revoke::end_token(&live, &cx.view, &token, cx.now()).await?;
            } else {
                record::move_to(&cx.view, &mut lease, cx.now())?;
            }
        }
    }
    Ok(Reply::empty().status(202))
}

async fn revoke_force(cx: Ctx<Sys>, ask: Prefix) -> Result<Reply> {
    let core = cx.engine.core()?;
    let live = core.unsealed()?;
    revoke::revoke_below(&core, &live, &prefix(&ask.prefix)?, true).await?;
    Ok(Reply::empty())
}

/// A lease and its entries change in one commit, so there is nothing to find unless the store was changed by hand.
async fn tidy(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    for index in [record::TIMES, record::BY_TOKEN] {
        for key in cx.view.keys(index, None, usize::MAX).await? {
            let id = key[index.len()..].split_once('/').map_or("", |(_, id)| id);
            if record::get(&cx.view, id).await?.is_none() {
                cx.view.delete(&key);
            }
        }
    }
    Ok(Reply::empty()
        .status(202)
        .warn("Tidy operation successfully started. Any information from the operation will be printed to the server's logs."))
}

async fn irrevocable(cx: Ctx<Sys>, _page: Page) -> Result<Reply> {
    let mut leases = Vec::new();
    for key in cx.view.keys(STUCK, None, 10_000).await? {
        if let Some(stuck) = cx.view.get::<Stuck>(&key).await? {
            let shown = Object::new()
                .with("lease_id", &key[STUCK.len()..])
                .with("error", stuck.reason)
                .with("since", stuck.since.rfc3339())
                .with("failures", stuck.failures);
            leases.push(shown);
        }
    }
    Ok(Reply::data(Object::new().with("lease_count", leases.len()).with("leases", leases)))
}

async fn count(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    let live = cx.engine.core()?.unsealed()?;
    let router = live.router.load_full();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for mounted in router.all() {
        let found = below(&cx.view, &mounted.mount.path, usize::MAX).await?.len();
        if found > 0 {
            counts.insert(mounted.mount.path.to_string(), found);
        }
    }
    let total: usize = counts.values().sum();
    Ok(Reply::data(Object::new().with("lease_count", total).with("counts", counts.into_iter().collect::<Object>())))
}
