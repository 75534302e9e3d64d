//! Lease records and their indexes.

use crate::live::Live;
use crate::tokens::TokenRecord;
use coffer_engine::view::{Record, View, is_default};
use coffer_types::{Result, Span, Timestamp};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// `lease/id/<lease id>`: the record. The id starts with the path that made the lease, so prefixes list and revoke.
pub const RECORDS: &str = "lease/id/";
/// `lease/time/<seconds, 20 digits>/<lease id>`: due when the clock passes it.
pub const TIMES: &str = "lease/time/";
/// `lease/token/<token key>/<lease id>`: goes with the token.
pub const BY_TOKEN: &str = "lease/token/";
/// `lease/stuck/<lease id>`: could not be revoked, with the reason.
pub const STUCK: &str = "lease/stuck/";

/// One lease.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LeaseRecord {
    pub id: String,
    pub subject: Subject,
    pub issued: Timestamp,
    pub expires: Timestamp,
    #[serde(default, skip_serializing_if = "is_default")]
    pub last_renewed: Timestamp,
    pub ttl: Span,
    /// No renewal goes past it.
    pub last_end: Timestamp,
    pub renewable: bool,
    /// The key of the token that it belongs to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub token: String,
    /// How often its revocation failed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub failures: u32,
    /// Its revocation was asked for: it is due, and nothing renews it any more.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ending: bool,
    /// The role that it was asked of, where a limit on leases may name one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub role: String,
    /// When the time index says it is due; after a failure later than `expires`.
    pub due: Timestamp,
}

/// What the lease is on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Subject {
    /// A token, by its key.
    Token(String),
    /// Something of an engine: the mount, the declared kind of lease, its private record.
    Engine { mount: String, kind: String, record: Zeroizing<Vec<u8>> },
}

impl Record for LeaseRecord {
    const FORMAT: u8 = 1;
}

/// An index entry: what it says is in its key.
#[derive(Serialize, Deserialize)]
pub struct Entry {}

impl Record for Entry {
    const FORMAT: u8 = 1;
}

/// Why a lease could not be revoked.
#[derive(Serialize, Deserialize)]
pub struct Stuck {
    pub reason: String,
    pub since: Timestamp,
    pub failures: u32,
}

impl Record for Stuck {
    const FORMAT: u8 = 1;
}

impl LeaseRecord {
    fn time_key(&self) -> String {
        format!("{TIMES}{:020}/{}", self.due.secs(), self.id)
    }

    fn token_key(&self) -> Option<String> {
        (!self.token.is_empty()).then(|| format!("{BY_TOKEN}{}/{}", self.token, self.id))
    }

    pub fn seconds_left(&self, now: Timestamp) -> i64 {
        i64::try_from(self.expires.since(now).as_secs()).unwrap_or(i64::MAX)
    }
}

/// Adds a new lease, where the limits on leases let it.
pub async fn register(live: &Live, view: &View, lease: &LeaseRecord) -> Result<()> {
    super::end::depends(view, &lease.token).await?;
    write(view, lease)?;
    live.leases.admit(live, view, &lease.id, (&lease.role, false)).await
}

fn write(view: &View, lease: &LeaseRecord) -> Result<()> {
    view.put(&format!("{RECORDS}{}", lease.id), lease)?;
    view.put(&lease.time_key(), &Entry {})?;
    if let Some(key) = lease.token_key() {
        view.put(&key, &Entry {})?;
    }
    Ok(())
}

/// The id of a token's own lease.
pub fn token_lease_id(token: &TokenRecord) -> String {
    format!("{}/h{}", token.path, token.key)
}

/// The lease that ends a token; `role` is the one that it logged in with.
pub async fn register_token(live: &Live, view: &View, token: &TokenRecord, role: &str) -> Result<()> {
    let lease = LeaseRecord {
        id: token_lease_id(token),
        subject: Subject::Token(token.key.clone()),
        issued: token.created,
        expires: token.expires,
        last_renewed: token.last_renewed,
        ttl: token.ttl,
        last_end: Timestamp::NEVER,
        renewable: token.renewable,
        token: String::new(),
        failures: 0,
        ending: false,
        role: role.to_owned(),
        due: token.expires,
    };
    write(view, &lease)?;
    live.leases.admit(live, view, &lease.id, (&lease.role, token.is_root())).await
}

pub async fn get(view: &View, id: &str) -> Result<Option<LeaseRecord>> {
    view.get(&format!("{RECORDS}{id}")).await
}

/// Moves a lease in the index of times and writes it back.
pub fn move_to(view: &View, lease: &mut LeaseRecord, due: Timestamp) -> Result<()> {
    view.delete(&lease.time_key());
    lease.due = due;
    write(view, lease)
}

/// Its token has ended: the lease is due, and belongs to nobody from now on.
pub fn detach(view: &View, mut lease: LeaseRecord, now: Timestamp) -> Result<()> {
    if let Some(key) = lease.token_key() {
        view.delete(&key);
    }
    lease.token.clear();
    end(view, lease, now)
}

/// Makes a lease due now; the expirer revokes it. One whose revocation has failed keeps its turn.
pub fn end(view: &View, mut lease: LeaseRecord, now: Timestamp) -> Result<()> {
    lease.ending = true;
    let due = if lease.failures > 0 { lease.due } else { lease.due.min(now) };
    move_to(view, &mut lease, due)
}

/// Takes a lease and its index entries away.
pub fn forget(live: &Live, view: &View, lease: &LeaseRecord) {
    live.leases.forget(view, &lease.id, &lease.role);
    view.delete(&format!("{RECORDS}{}", lease.id));
    view.delete(&lease.time_key());
    if let Some(key) = lease.token_key() {
        view.delete(&key);
    }
    if lease.failures > 0 {
        view.delete(&format!("{STUCK}{}", lease.id));
    }
}
