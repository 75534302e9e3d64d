//! `sys/leases/…` and its older names `sys/renew`, `sys/revoke…`.

use super::LeaseRecord;
use super::end::{end_token, standing};
use super::record::{self, RECORDS, STUCK, Stuck, Subject};
use super::revoke::{self, STUCK_AFTER, housekeeping};
use super::sweep::{self, Refused, Sweep};
use crate::live::Unsealed;
use crate::sys::Sys;
use crate::tokens::engine::renew_record;
use coffer_engine::reply::{Answer, Leased};
use coffer_engine::view::View;
use coffer_engine::{Ctx, Declare, NoInput, Renewal, Reply, Request};
use coffer_types::{Error, Object, Path, Result, Span};
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
    let limit = ask.limit.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    let after = ask.after.as_deref().filter(|a| !a.is_empty());
    crate::listing::children(&cx.view, &format!("{RECORDS}{prefix}"), after, limit).await
}

async fn renew(cx: Ctx<Sys>, ask: OneLease) -> Result<Reply> {
    let id = ask.id()?;
    let core = cx.engine.core()?;
    let live = core.unsealed()?;
    let lease = record::get(&cx.view, id).await?.filter(|l| l.expires > cx.now() && !l.ending);
    let mut lease = lease.ok_or_else(|| Error::bad_request("lease not found"))?;
    if !lease.renewable {
        return Err(Error::bad_request("lease is not renewable"));
    }
    let now = cx.now();
    let (mount, kind, private) = match &lease.subject {
        Subject::Token(key) => {
            let token = standing(&live.tokens, &cx.view, live.tokens.get_key(&cx.view, key).await?, now).await?;
            let token = token.ok_or_else(|| Error::bad_request("lease not found"))?;
            let (_, granted, warnings) = renew_record(&cx, token, ask.increment).await?;
            let leased = Leased { id: id.to_owned(), seconds: granted.secs(), renewable: true };
            return Ok(Reply::from_answer(Answer { leased: Some(leased), warnings, ..Answer::default() }).status(200));
        }
        Subject::Engine { mount, kind, record } => (mount, kind, record),
    };
    // What belongs to a token ends with it, though it may still have to be cleared away.
    if !lease.token.is_empty() {
        let owner = live.tokens.get_key(&cx.view, &lease.token).await?;
        standing(&live.tokens, &cx.view, owner, now).await?.ok_or_else(|| Error::bad_request("lease not found"))?;
    }
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
    let id = ask.id()?;
    let core = cx.engine.core()?;
    let live = core.unsealed()?;
    if ask.sync {
        if let Err(error) = revoke::revoke(&core, &live, id).await {
            return Err(Refused { id: id.to_owned(), error }.into_error());
        }
        return Ok(Reply::empty());
    }
    if let Some(lease) = record::get(&cx.view, id).await? {
        // A token stops at once; what an engine must undo outside is queued.
        if let Subject::Token(key) = &lease.subject
            && let Some(token) = live.tokens.get_key(&cx.view, key).await?
        {
            end_token(&live, &cx.view, &token, cx.now()).await?;
        } else {
            record::end(&cx.view, lease, cx.now())?;
        }
    }
    Ok(Reply::empty().status(202))
}

async fn revoke_prefix(cx: Ctx<Sys>, ask: Prefix) -> Result<Reply> {
    let core = cx.engine.core()?;
    let live = core.unsealed()?;
    let sweep = Sweep::of(folder(&ask.prefix)?, cx.now());
    if !ask.sync {
        sweep::begin(&cx.view, &*core.random, &sweep)?;
        return Ok(Reply::empty().status(202));
    }
    match sweep::run_now(&core, &live, &sweep).await? {
        Some(refused) => Err(refused.into_error()),
        None => Ok(Reply::empty()),
    }
}

fn folder(text: &str) -> Result<String> {
    let text = text.trim_end_matches('/');
    if text.is_empty() { Err(Error::bad_request("prefix must be specified")) } else { Ok(format!("{text}/")) }
}

async fn revoke_force(cx: Ctx<Sys>, ask: Prefix) -> Result<Reply> {
    let core = cx.engine.core()?;
    let live = core.unsealed()?;
    let sweep = Sweep { force: true, ..Sweep::of(folder(&ask.prefix)?, cx.now()) };
    sweep::run_now(&core, &live, &sweep).await?;
    Ok(Reply::empty())
}

async fn tidy(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    crate::tidy::start(&cx.engine.core()?, crate::tidy::What::Leases)
}

/// Ask for what could not be revoked.
#[derive(Request)]
struct Stuckness {
    /// `irrevocable`: after so many tries that a person should look; `failing`: after any.
    #[field(query, rename = "type", default)]
    kind: String,
    /// At most so many, 10,000 without; `none` for no limit of the caller's own.
    #[field(query, default)]
    limit: String,
    /// Leases after this one.
    #[field(query, default)]
    after: String,
}

/// Replies hold at most so many leases.
const MOST: usize = 10_000;
/// Entries read at a time.
const PAGE: usize = 512;

impl Stuckness {
    /// How often the revocation of what is asked for has failed.
    fn at_least(&self) -> Result<Option<u32>> {
        match self.kind.as_str() {
            "irrevocable" => Ok(Some(STUCK_AFTER)),
            "failing" => Ok(Some(1)),
            "" | "all" => Ok(None),
            _ => Err(Error::bad_request("invalid type: it is \"irrevocable\" or \"failing\"")),
        }
    }

    fn limit(&self) -> Result<usize> {
        match self.limit.as_str() {
            "" | "none" => Ok(MOST),
            text => match text.parse::<usize>() {
                Ok(n) if n > 0 => Ok(n.min(MOST)),
                _ => Err(Error::bad_request("limit must be 'none' or a positive integer")),
            },
        }
    }
}

/// Goes through what could not be revoked until `each` has seen enough.
async fn stuck(view: &View, after: &str, mut each: impl FnMut(&str, Stuck) -> bool) -> Result<()> {
    let mut after = (!after.is_empty()).then(|| format!("{STUCK}{after}"));
    loop {
        let keys = view.keys(STUCK, after.as_deref(), PAGE).await?;
        for key in &keys {
            if let Some(stuck) = view.get::<Stuck>(key).await?
                && !each(&key[STUCK.len()..], stuck)
            {
                return Ok(());
            }
        }
        if keys.len() < PAGE {
            return Ok(());
        }
        after = keys.into_iter().next_back();
    }
}

/// The accessor of the mount that a lease id is of.
fn mount_accessor(live: &Unsealed, id: &str) -> String {
    let router = live.router.load();
    let found = Path::parse(id).ok().and_then(|path| router.resolve(&path).map(|(m, _)| m.record.accessor.clone()));
    found.unwrap_or_default()
}

async fn irrevocable(cx: Ctx<Sys>, ask: Stuckness) -> Result<Reply> {
    // The reference knows no other list either: all leases are listed below their paths.
    let at_least = ask.at_least()?.ok_or_else(Error::not_found)?;
    let (limit, live) = (ask.limit()?, cx.engine.core()?.unsealed()?);
    let (mut leases, mut more) = (Vec::new(), false);
    stuck(&cx.view, &ask.after, |id, stuck| {
        if stuck.failures < at_least {
            return true;
        }
        if leases.len() == limit {
            more = true;
            return false;
        }
        leases.push(
            Object::new()
                .with("error", stuck.reason)
                .with("failures", stuck.failures)
                .with("last_attempt", stuck.since.rfc3339())
                .with("lease_id", id)
                .with("mount_id", mount_accessor(&live, id)),
        );
        true
    })
    .await?;
    let reply = Reply::data(Object::new().with("lease_count", leases.len()).with("leases", leases));
    Ok(if more { reply.warn("There are more leases than are listed: ask again with after=, the last lease_id.") } else { reply })
}

/// Leases of each mount by its accessor, as the reference counts those that can't be revoked; without a type, or with
/// `all`, all leases by the paths of their mounts and of their roles.
async fn count(cx: Ctx<Sys>, ask: Stuckness) -> Result<Reply> {
    let live = cx.engine.core()?.unsealed()?;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    if let Some(at_least) = ask.at_least()? {
        stuck(&cx.view, "", |id, stuck| {
            if stuck.failures >= at_least {
                *counts.entry(mount_accessor(&live, id)).or_default() += 1;
            }
            true
        })
        .await?;
        let total: usize = counts.values().sum();
        return Ok(Reply::data(Object::new().with("counts", counts.into_iter().collect::<Object>()).with("lease_count", total)));
    }
    let mut by_path = ByPath::default();
    let router = live.router.load_full();
    let mut after = String::new();
    loop {
        let ids = revoke::below(&cx.view, "", &after, PAGE * 8).await?;
        for id in &ids {
            let mount = Path::parse(id).ok().and_then(|path| router.resolve(&path).map(|(m, _)| m.mount.path.clone()));
            *counts.entry(mount.map_or_else(String::new, |m| m.to_string())).or_default() += 1;
            by_path.add(id);
        }
        match ids.into_iter().next_back() {
            Some(last) => after = last,
            None => break,
        }
        tokio::task::yield_now().await;
    }
    let total: usize = counts.values().sum();
    let shown = Object::new()
        .with("counts", counts.into_iter().collect::<Object>())
        .with("counts_per_path", by_path.counts.into_iter().collect::<Object>())
        .with("lease_count", total);
    let reply = Reply::data(shown);
    Ok(if by_path.left_out { reply.warn("There are more paths than counts_per_path shows.") } else { reply })
}

/// Counts by what leases were asked of: `database/creds/app`, `auth/userpass/login/bob`. Ids come in the order of their
/// paths, so what is small can make room for nothing: the first ones are shown.
#[derive(Default)]
struct ByPath {
    counts: BTreeMap<String, usize>,
    left_out: bool,
}

impl ByPath {
    fn add(&mut self, id: &str) {
        let path = id.rsplit_once('/').map_or(id, |(path, _)| path);
        if let Some(count) = self.counts.get_mut(path) {
            *count += 1;
        } else if self.counts.len() < MOST {
            self.counts.insert(path.to_owned(), 1);
        } else {
            self.left_out = true;
        }
    }
}
