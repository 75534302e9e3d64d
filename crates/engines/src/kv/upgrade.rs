//! From version 1 to version 2, one batch a transaction.
//!
//! The mount becomes one of version 2 first (its option `version` is committed); from then on its calls go to
//! version 2, which sees what still stands under `v1/`. Then [`batch`] runs until it says that it is done: after a
//! crash, just again. A value moves from its old key to its new ones in one commit, so that it is never in none and
//! never in both.

use super::{V1_ROOT, v1_json};
use crate::records::{Records, Shape};
use coffer_engine::View;
use coffer_engine::view::Record;
use coffer_types::{Result, Timestamp};
use serde::{Deserialize, Serialize};

/// There once an upgrade began. Version 1 writes nothing more where it stands.
pub(super) const MARK: &str = "upgrade";

/// Names of one batch: small enough that a commit stays far below the limits of every store.
pub const BATCH: usize = 128;

#[derive(Serialize, Deserialize)]
struct Mark {
    begun: Timestamp,
}

impl Record for Mark {
    const FORMAT: u8 = 1;
}

/// Converts up to `limit` names in the transaction of `view`; false when none is left. `random` fills the ids of
/// the new records.
pub async fn batch(view: &View, now: Timestamp, random: impl Fn(&mut [u8]) + Send, limit: usize) -> Result<bool> {
    if !view.exists(MARK).await? {
        view.put(MARK, &Mark { begun: now })?;
    }
    let records = Records::new(view, now);
    let keys = view.keys(V1_ROOT, None, limit).await?;
    for key in &keys {
        let name = &key[V1_ROOT.len()..];
        let Some(stored) = view.get_bytes(key).await? else { continue };
        // A name that version 2 has written keeps what was written there.
        if records.load(name).await?.is_none() {
            let mut id = [0u8; 16];
            random(&mut id);
            let mut record = records.sketch(id, Shape::Json);
            records.take_over(name, &mut record, v1_json(&stored)?)?;
        }
        view.delete(key);
    }
    Ok(keys.len() == limit)
}
