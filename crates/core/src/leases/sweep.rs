//! Revoking all leases below a prefix, however many: noted first, then page by page, resumable.

use super::end::end_token;
use super::record::{self, LeaseRecord, Subject};
use super::revoke::{below, revoke};
use crate::barrier::Committed;
use crate::core::Core;
use crate::live::{Live, Unsealed};
use crate::mounts::MountRecord;
use coffer_crypto::random::{Random, base62};
use coffer_engine::BoxFuture;
use coffer_engine::view::{Record, View};
use coffer_types::{Error, Kind, Result, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// `lease/sweep/<random>`: a prefix that is being revoked.
pub const SWEEPS: &str = "lease/sweep/";
/// Leases in one page.
const PAGE: usize = 128;
/// Pages that a call waits for before it is answered.
pub const BEFORE_ANSWER: usize = 64;
/// Revocations under way at once.
const AT_ONCE: usize = 16;

/// What is to be revoked, and how far that is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sweep {
    /// A folder of lease ids: ends in a slash.
    pub folder: String,
    /// Only what was there when it was asked for.
    pub until: Timestamp,
    /// What an engine refuses to revoke is forgotten.
    pub force: bool,
    /// Only leases of this mount.
    pub mount: Option<Owner>,
    /// The last lease that is done with.
    pub after: String,
}

/// A mount, as leases and tokens name it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Owner {
    pub uuid: String,
    pub accessor: String,
}

impl Record for Sweep {
    const FORMAT: u8 = 1;
}

impl Sweep {
    pub fn of(folder: String, until: Timestamp) -> Self {
        Self { folder, until, force: false, mount: None, after: String::new() }
    }

    /// Everything that a mount has leased.
    pub fn of_mount(mount: &MountRecord, until: Timestamp) -> Self {
        let owner = Owner { uuid: mount.uuid.clone(), accessor: mount.accessor.clone() };
        Self { mount: Some(owner), ..Self::of(mount.whole_path(), until) }
    }

    async fn takes(&self, live: &Live, view: &View, lease: &LeaseRecord) -> Result<bool> {
        if lease.issued > self.until {
            return Ok(false);
        }
        let Some(owner) = &self.mount else { return Ok(true) };
        Ok(match &lease.subject {
            Subject::Engine { mount, .. } => *mount == owner.uuid,
            Subject::Token(key) => live.tokens.get_key(view, key).await?.is_none_or(|t| t.mount_accessor == owner.accessor),
        })
    }
}

/// How leases of engines are revoked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// They become due; the expirer does it.
    Due,
    /// At once, waiting for it.
    Now,
}

/// The first lease that could not be revoked.
pub struct Refused {
    pub id: String,
    pub error: Error,
}

impl Refused {
    /// As the caller reads it who waited for the revocation.
    pub fn into_error(self) -> Error {
        let text = format!("failed to revoke {:?}: {}", self.id, self.error.public());
        Error::new(Kind::BadRequest, text).with_cause(self.error)
    }
}

/// Begins with the commit of this transaction; its call goes on with it before it is answered ([`super::follow_up`]).
pub fn begin(view: &View, random: &dyn Random, sweep: &Sweep) -> Result<()> {
    view.put(&format!("{SWEEPS}{}", &*base62(random, 24)), sweep)
}

/// Revokes a prefix to its end before this returns, waiting for the engines. It is noted first, so a crash leaves
/// nothing undone. Gives back the first failure; with `force` there is none, since what fails is forgotten.
pub async fn run_now(core: &Arc<Core>, live: &Unsealed, sweep: &Sweep) -> Result<Option<Refused>> {
    let name = base62(&*core.random, 24).to_string();
    let txn = live.barrier.begin();
    txn.root_view().put(&format!("{SWEEPS}{name}"), sweep)?;
    let _mine = Mine::claim(live, &name);
    txn.commit().await?;
    let mut refused = None;
    while page(live, &name, How::Now, &mut refused).await? {}
    Ok(refused)
}

/// The beat leaves those alone that a call is waiting for.
struct Mine<'l> {
    live: &'l Live,
    name: &'l str,
}

impl<'l> Mine<'l> {
    fn claim(live: &'l Live, name: &'l str) -> Self {
        live.sweeping.lock().insert(name.to_owned());
        Self { live, name }
    }
}

impl Drop for Mine<'_> {
    fn drop(&mut self) {
        self.live.sweeping.lock().remove(self.name);
    }
}

/// Goes on with one, for so many pages.
pub async fn go_on_with(live: &Live, name: &str, pages: usize) -> Result<()> {
    for _ in 0..pages {
        if !page(live, name, How::Due, &mut None).await? {
            break;
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Those that a crash or their length has left. Called with the beat.
pub async fn go_on(live: &Live, pages: usize) -> Result<()> {
    for key in live.view().keys(SWEEPS, None, 64).await? {
        let name = &key[SWEEPS.len()..];
        if !live.sweeping.lock().contains(name) {
            go_on_with(live, name, pages).await?;
        }
    }
    Ok(())
}

/// Ends what a mount that is going has leased, as far as it has not been asked for yet. Whether something is left: what its
/// engine has to undo is due, and stays until that has succeeded.
pub async fn make_due(live: &Live, sweep: &Sweep) -> Result<bool> {
    let (mut after, mut left) = (String::new(), false);
    loop {
        let txn = live.barrier.begin();
        let view = txn.root_view();
        let now = live.core()?.clock.now();
        let ids = below(&view, &sweep.folder, &after, PAGE).await?;
        for id in &ids {
            let Some(lease) = record::get(&view, id).await? else { continue };
            if !sweep.takes(live, &view, &lease).await? {
                continue;
            }
            match &lease.subject {
                Subject::Token(token) => match live.tokens.get_key(&view, token).await? {
                    Some(token) => end_token(live, &view, &token, now).await?,
                    None => record::forget(live, &view, &lease),
                },
                Subject::Engine { .. } => {
                    left = true;
                    if !lease.ending {
                        record::end(&view, lease, now)?;
                    }
                }
            }
        }
        match txn.commit().await? {
            Committed::Conflict => continue,
            Committed::Done(keys) => live.after_commit(&keys).await?,
        }
        match ids.into_iter().next_back() {
            Some(last) => after = last,
            None => return Ok(left),
        }
    }
}

/// One page: tokens end in one commit; leases of engines become due in it, or are revoked after it. Whether there is more.
async fn page(live: &Live, name: &str, how: How, refused: &mut Option<Refused>) -> Result<bool> {
    let key = format!("{SWEEPS}{name}");
    let txn = live.barrier.begin();
    let view = txn.root_view();
    let Some(mut sweep) = view.get::<Sweep>(&key).await? else { return Ok(false) };
    let core = live.core()?;
    let now = core.clock.now();
    let ids = below(&view, &sweep.folder, &sweep.after, PAGE).await?;
    let mut by_engines = Vec::new();
    for id in &ids {
        let Some(lease) = record::get(&view, id).await? else { continue };
        if !sweep.takes(live, &view, &lease).await? {
            continue;
        }
        match &lease.subject {
            Subject::Token(token) => match live.tokens.get_key(&view, token).await? {
                Some(token) => end_token(live, &view, &token, now).await?,
                None => record::forget(live, &view, &lease),
            },
            Subject::Engine { .. } if how == How::Now || sweep.force => by_engines.push(id.clone()),
            Subject::Engine { .. } if !lease.ending => record::end(&view, lease, now)?,
            Subject::Engine { .. } => {}
        }
    }
    let ended = match txn.commit().await? {
        Committed::Conflict => return Ok(true),
        Committed::Done(keys) => keys.iter().filter_map(|k| k.strip_prefix(super::end::ENDING)).map(str::to_owned).collect(),
    };
    super::end::work_off(live, ended, super::end::BEFORE_ANSWER).await?;
    for (id, error) in revoke_all(&core, by_engines).await? {
        if sweep.force {
            tracing::warn!(target: "expiration", lease = %id, %error, "a lease is forgotten without its engine");
            forget_without_asking(live, &id).await?;
        } else if refused.is_none() {
            *refused = Some(Refused { id, error });
        }
    }
    let more = ids.len() == PAGE;
    let txn = live.barrier.begin();
    let view = txn.root_view();
    match ids.into_iter().next_back() {
        Some(last) if more => {
            sweep.after = last;
            view.put(&key, &sweep)?;
        }
        _ => view.delete(&key),
    }
    txn.commit().await?;
    Ok(more)
}

/// Several at once. Gives back which failed.
async fn revoke_all(core: &Arc<Core>, ids: Vec<String>) -> Result<Vec<(String, Error)>> {
    let mut failed = Vec::new();
    if ids.is_empty() {
        return Ok(failed);
    }
    let live = core.unsealed()?;
    let mut under_way = tokio::task::JoinSet::new();
    let mut ids = ids.into_iter();
    loop {
        while under_way.len() < AT_ONCE
            && let Some(id) = ids.next()
        {
            let (core, live) = (core.clone(), live.clone());
            under_way.spawn(revoke_one(core, live, id));
        }
        match under_way.join_next().await {
            None => return Ok(failed),
            Some(Ok(one)) => failed.extend(one),
            Some(Err(_)) => return Err(Error::internal("a revocation panicked")),
        }
    }
}

/// Boxed: what a revocation's commit begins may revoke in its turn.
fn revoke_one(core: Arc<Core>, live: Unsealed, id: String) -> BoxFuture<'static, Option<(String, Error)>> {
    Box::pin(async move { revoke(&core, &live, &id).await.err().map(|error| (id, error)) })
}

async fn forget_without_asking(live: &Live, id: &str) -> Result<()> {
    loop {
        let txn = live.barrier.begin();
        let view = txn.root_view();
        if let Some(lease) = record::get(&view, id).await? {
            record::forget(live, &view, &lease);
        }
        if txn.commit().await? != Committed::Conflict {
            return Ok(());
        }
    }
}
