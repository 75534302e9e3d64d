//! Ending one lease: its token ends, or its engine undoes what it leased.

use super::end::end_token;
use super::record::{self, LeaseRecord, RECORDS, STUCK, Stuck, Subject};
use crate::barrier::{Committed, Transaction};
use crate::core::Core;
use crate::live::Unsealed;
use crate::mounts;
use crate::pipeline::CallHost;
use crate::router::Mounted;
use coffer_engine::context::Inner;
use coffer_engine::view::{Txn, View};
use coffer_types::{Error, Kind, Result, Timestamp};
use std::sync::Arc;
use std::time::Duration;

/// After so many failures a lease is called stuck; it is still tried, at the longest interval.
pub const STUCK_AFTER: u32 = 6;
/// An engine that has not undone what it leased after so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Revokes one lease now. What its engine refuses stays, due again later, with the reason.
pub async fn revoke(core: &Arc<Core>, live: &Unsealed, id: &str) -> Result<()> {
    end_lease(core, live, id, false).await
}

/// The same, unless it was renewed since it was found to be due.
pub async fn revoke_due(core: &Arc<Core>, live: &Unsealed, id: &str) -> Result<()> {
    end_lease(core, live, id, true).await
}

async fn end_lease(core: &Arc<Core>, live: &Unsealed, id: &str, only_due: bool) -> Result<()> {
    for _ in 0..16 {
        let txn = live.barrier.begin();
        let view = txn.root_view();
        let Some(lease) = record::get(&view, id).await? else { return Ok(()) };
        let now = core.clock.now();
        if only_due && lease.due > now {
            return Ok(());
        }
        // Noted before the act outside: a renewal that overlaps is refused, not granted for what is gone.
        if matches!(lease.subject, Subject::Engine { .. }) && !lease.ending {
            record::end(&view, lease, now)?;
            txn.commit().await?;
            continue;
        }
        let outcome = match &lease.subject {
            Subject::Token(key) => match live.tokens.get_key(&view, key).await? {
                Some(token) => end_token(live, &view, &token, now).await,
                None => {
                    record::forget(live, &view, &lease);
                    Ok(())
                }
            },
            Subject::Engine { mount, kind, record } => {
                let revoked = revoke_at_engine(core, live, &txn, mount, kind, record, now).await;
                if revoked.is_ok() {
                    record::forget(live, &view, &lease);
                }
                revoked
            }
        };
        if let Err(error) = outcome {
            return postpone(live, id, &error, now).await.and(Err(error));
        }
        match txn.commit().await? {
            Committed::Done(keys) => return live.after_commit(&keys).await,
            Committed::Conflict => {}
        }
    }
    Err(Error::internal("a lease changes while it is revoked"))
}

async fn revoke_at_engine(
    core: &Arc<Core>,
    live: &Unsealed,
    txn: &Arc<Transaction>,
    mount: &str,
    kind: &str,
    record: &[u8],
    now: Timestamp,
) -> Result<()> {
    // With the mount's record its leases are gone.
    let Some(mounted) = mount_of(core, live, &txn.root_view(), mount).await? else { return Ok(()) };
    let root: Arc<dyn Txn> = txn.clone();
    let inner = housekeeping(core, live, &root, &mounted, now);
    match mounted.engine.revoke_lease(kind, record, txn.view(&mounted.prefix), inner) {
        Some(revoked) => match tokio::time::timeout(PATIENCE, revoked).await {
            Ok(done) => done,
            Err(_) => Err(Error::new(Kind::Upstream, format!("the engine did not answer within {} s", PATIENCE.as_secs()))),
        },
        None => Err(Error::internal(format!("no engine at {} revokes leases of kind {kind}", mounted.mount.path))),
    }
}

/// A mount, also one that is going: it answers no calls, but what it leased or did outside is still its to undo.
pub(crate) async fn mount_of(core: &Arc<Core>, live: &Unsealed, view: &View, uuid: &str) -> Result<Option<Arc<Mounted>>> {
    if let Some(mounted) = live.router.load_full().by_uuid(uuid) {
        return Ok(Some(mounted.clone()));
    }
    match mounts::by_uuid(view, uuid).await? {
        Some(going) => Ok(Some(Arc::new(crate::live::mount(core, going)?))),
        None => Ok(None),
    }
}

/// The context of what the clock starts: no caller, no permit.
pub(crate) fn housekeeping(
    core: &Arc<Core>,
    live: &Unsealed,
    txn: &Arc<dyn Txn>,
    mounted: &Mounted,
    now: Timestamp,
) -> Arc<Inner> {
    Arc::new(Inner {
        mount: mounted.mount.clone(),
        intents: View::new(txn.clone(), mounted.intents.clone()),
        principal: None,
        permit: None,
        call: None,
        existed: false,
        host: Arc::new(CallHost { core: core.clone(), live: live.clone(), compiled: None, now, notes: None }),
        now,
        renewal: None,
    })
}

/// Due again later: after 20 s, doubling up to an hour, a quarter more or less long.
async fn postpone(live: &Unsealed, id: &str, error: &Error, now: Timestamp) -> Result<()> {
    let txn = live.barrier.begin();
    let view = txn.root_view();
    let Some(mut lease) = record::get(&view, id).await? else { return Ok(()) };
    lease.failures += 1;
    let wait = Duration::from_secs((10u64 << lease.failures.min(9)).min(3600));
    let wait = wait + spread(id, lease.failures, wait / 4);
    record::move_to(&view, &mut lease, now.plus(wait))?;
    let stuck = Stuck { reason: error.public().to_owned(), since: now, failures: lease.failures };
    view.put(&format!("{STUCK}{id}"), &stuck)?;
    txn.commit().await.map(|_| ())
}

/// Ids of the leases below a folder, strictly after `after`.
pub async fn below(view: &View, folder: &str, after: &str, limit: usize) -> Result<Vec<String>> {
    let folder = format!("{RECORDS}{folder}");
    let after = (!after.is_empty()).then(|| format!("{RECORDS}{after}"));
    let keys = view.keys(&folder, after.as_deref(), limit).await?;
    Ok(keys.into_iter().map(|k| k[RECORDS.len()..].to_owned()).collect())
}

/// Up to `most`, by the lease: a thousand that failed at once do not all come back at once.
fn spread(id: &str, nth: u32, most: Duration) -> Duration {
    let hash = id.bytes().fold(nth.wrapping_add(0x811c_9dc5), |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    most.mul_f64(f64::from(hash >> 8) / f64::from(1u32 << 24))
}

/// A lease as `sys/leases/lookup` shows it.
pub fn show(lease: &LeaseRecord, now: Timestamp) -> coffer_types::Object {
    coffer_types::Object::new()
        .with("id", lease.id.as_str())
        .with("issue_time", lease.issued.rfc3339())
        .with("expire_time", lease.expires.rfc3339())
        .with("last_renewal", (!lease.last_renewed.is_never()).then(|| lease.last_renewed.rfc3339()))
        // An id is the path that gave the lease, and a word of its own behind it.
        .with("path", lease.id.rsplit_once('/').map_or("", |(path, _)| path))
        .with("renewable", lease.renewable)
        .with("ttl", lease.seconds_left(now))
}
