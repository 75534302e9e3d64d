//! The kernel under every dialect that keeps named values with numbered versions: Vault's KV, Secrets
//! Manager, Key Vault secrets, Secret Manager.
//!
//! The kernel shares the mechanism, not the meaning. It enforces what no protocol may break: a number is never
//! given twice, a native id stands for one version, a labelled version is not pruned, a record whose deletion is
//! scheduled neither answers nor changes. Names, limits, defaults and error codes are the dialect's.
//!
//! Layout below a mount's view (docs/design/records.md):
//!
//! ```text
//! meta/<name>      the record: one key a name, so that a folder's children are a list of the store
//! ver/<id>/<seq>   the payload of one version; <id> is random, so names stand in one place only
//! ```
//!
//! Every operation runs in the transaction of the view that it was given: all of it is committed, or nothing.

mod model;
mod project;
mod tree;

pub use model::{CURRENT, Deletion, PENDING, PREVIOUS, Payload, Record, Selector, Shape, State, Version};
pub use project::{NotRepresentable, Value, from_bytes, from_map, from_text, to_bytes, to_map, to_text, to_value};
pub use tree::{Page, Tree};

use coffer_engine::View;
use coffer_engine::view::Plain;
use coffer_types::{Error, Json, Timestamp, secret};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Format of a stored payload; its first byte.
const PAYLOAD_FORMAT: u8 = 1;

/// Why the kernel refused. The dialect gives it words and a code.
#[derive(Debug)]
pub enum Fault {
    /// The expected version or revision is not the current one.
    Conflict,
    /// Another version bears this native id with other content.
    NativeIdTaken,
    /// No version is selected by that.
    NoVersion,
    /// The deletion of the record is scheduled: restore it first.
    DeletionScheduled,
    /// Nothing to restore.
    NotScheduled,
    /// The version is destroyed.
    Destroyed,
    Failed(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

pub type Result<T, E = Fault> = std::result::Result<T, E>;

/// What must hold for a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    Anything,
    /// The current version, 0 for none: Vault's `cas`.
    Current(u64),
    /// The record's revision: an etag.
    Revision(u64),
}

/// A new version.
pub struct Put {
    pub payload: Payload,
    pub expect: Expect,
    /// The protocol's own id; `None` derives one from the record's id and the number.
    pub native_id: Option<String>,
    /// Makes it the current version; [`CURRENT`] and [`PREVIOUS`] follow.
    pub current: bool,
    /// Other labels that move to it.
    pub labels: Vec<String>,
    /// How many versions are kept; 0 keeps all.
    pub keep: u32,
    /// From then on it counts as deleted; [`Timestamp::NEVER`] for none.
    pub deletes_at: Timestamp,
    /// The dialect's own.
    pub attrs: BTreeMap<String, Json>,
}

/// What to do with versions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    Enable,
    Disable,
    /// Soft: the payload stays.
    Delete,
    /// Undoes a deletion, until the given time if there is one.
    Undelete {
        deletes_at: Timestamp,
    },
    /// For good: the payload goes with this commit.
    Destroy,
}

/// The records of one mount, within one transaction.
pub struct Records<'v> {
    view: &'v View,
    now: Timestamp,
}

impl<'v> Records<'v> {
    pub const fn new(view: &'v View, now: Timestamp) -> Self {
        Self { view, now }
    }

    /// The record of a name: one read. One whose purge is due is gone, and its keys go with this transaction.
    pub async fn load(&self, name: &str) -> Result<Option<Record>, Error> {
        let Some(record) = self.view.get::<Record>(&meta_key(name)).await? else { return Ok(None) };
        if record.deletion.is_some_and(|d| d.purge_after <= self.now) {
            self.erase(name, &record);
            return Ok(None);
        }
        Ok(Some(record))
    }

    /// A record that does not exist yet. `id` is fresh randomness.
    pub fn create(&self, id: [u8; 16]) -> Record {
        Record::new(hex(&id), self.now)
    }

    /// A record as it will be once a value that is kept elsewhere is its first version. Nothing is written.
    pub fn sketch(&self, id: [u8; 16], shape: Shape) -> Record {
        let mut record = self.create(id);
        record.versions.push(Version::new(1, self.now, shape));
        (record.last, record.current, record.oldest) = (1, 1, 1);
        record
    }

    /// Writes what [`Records::sketch`] drew, with its payload.
    pub fn take_over(&self, name: &str, record: &mut Record, payload: &[u8]) -> Result<(), Error> {
        self.view.put_bytes(&payload_key(&record.id, record.last), sealed_form(payload));
        self.save(name, record)
    }

    /// The payload of a version that is enabled: one read. Deleted and destroyed versions have none to show.
    pub async fn payload(&self, record: &Record, version: &Version) -> Result<Plain> {
        if record.deletion.is_some() {
            return Err(Fault::DeletionScheduled);
        }
        if version.state(self.now) != State::Enabled {
            return Err(Fault::NoVersion);
        }
        let key = payload_key(&record.id, version.seq);
        let stored = self.view.get_bytes(&key).await?;
        stored.ok_or_else(|| Fault::Failed(Error::internal("a version stands in its record and has no payload")))
    }

    /// Writes a new version and prunes old ones.
    pub async fn put(&self, name: &str, record: &mut Record, put: Put) -> Result<u64> {
        self.changeable(record, put.expect)?;
        if let Some(native_id) = &put.native_id
            && let Some(version) = record.select(&Selector::Native(native_id))
        {
            // The same id again is the same request again, if it says the same.
            let seq = version.seq;
            let same = version.shape == put.payload.shape
                && self.view.get_bytes(&payload_key(&record.id, seq)).await?.is_some_and(|old| old[1..] == put.payload.bytes[..]);
            return if same { Ok(seq) } else { Err(Fault::NativeIdTaken) };
        }
        record.last += 1;
        let seq = record.last;
        let mut version = Version::new(seq, self.now, put.payload.shape);
        version.native_id = put.native_id;
        version.deletion = put.deletes_at;
        version.attrs = put.attrs;
        record.versions.push(version);
        if put.current {
            record.make_current(seq);
        }
        for label in put.labels {
            record.labels.insert(label, seq);
        }
        self.view.put_bytes(&payload_key(&record.id, seq), sealed_form(&put.payload.bytes));
        for gone in record.prune(put.keep) {
            self.view.delete(&payload_key(&record.id, gone));
        }
        record.updated = self.now;
        self.save(name, record)?;
        Ok(seq)
    }

    /// Changes the state of versions; numbers that are not there are passed over. True if anything changed.
    pub fn set_state(&self, name: &str, record: &mut Record, seqs: &[u64], change: Change) -> Result<bool> {
        self.changeable(record, Expect::Anything)?;
        let mut changed = false;
        let now = self.now;
        let id = record.id.clone();
        for version in record.versions.iter_mut().filter(|v| seqs.contains(&v.seq)) {
            if !version.change(change, now) {
                continue;
            }
            changed = true;
            if change == Change::Destroy {
                self.view.delete(&payload_key(&id, version.seq));
            }
        }
        if changed {
            self.save(name, record)?;
        }
        Ok(changed)
    }

    /// Moves a label to a version, or takes it away. Moving [`CURRENT`] moves the current version.
    pub fn move_label(&self, name: &str, record: &mut Record, label: &str, to: Option<u64>) -> Result<()> {
        self.changeable(record, Expect::Anything)?;
        match to {
            Some(seq) => {
                let version = record.select(&Selector::Seq(seq)).ok_or(Fault::NoVersion)?;
                if version.is_destroyed() {
                    return Err(Fault::Destroyed);
                }
                match label {
                    CURRENT => record.make_current(seq),
                    PREVIOUS => record.previous = seq,
                    _ => drop(record.labels.insert(label.to_owned(), seq)),
                }
            }
            // A record always has its current version; the dialect says so in its own words.
            None if label == CURRENT => return Err(Fault::Conflict),
            None if label == PREVIOUS => record.previous = 0,
            None => drop(record.labels.remove(label).ok_or(Fault::NoVersion)?),
        }
        Ok(self.save(name, record)?)
    }

    /// Changes settings, custom metadata, tags or attributes of a record that may be new.
    pub fn update_meta(&self, name: &str, record: &mut Record, expect: Expect, change: impl FnOnce(&mut Record)) -> Result<()> {
        self.changeable(record, expect)?;
        change(record);
        record.settings_revision += 1;
        record.updated = self.now;
        Ok(self.save(name, record)?)
    }

    /// Hides the record until it is restored, and ends it at `purge_after`.
    pub fn schedule_delete(&self, name: &str, record: &mut Record, purge_after: Timestamp) -> Result<()> {
        self.changeable(record, Expect::Anything)?;
        record.deletion = Some(Deletion { at: self.now, purge_after });
        Ok(self.save(name, record)?)
    }

    /// Undoes [`Records::schedule_delete`].
    pub fn restore(&self, name: &str, record: &mut Record) -> Result<()> {
        record.deletion.take().ok_or(Fault::NotScheduled)?;
        Ok(self.save(name, record)?)
    }

    /// Ends a record at once: its name, its versions, their payloads. Strictest rule: a record whose deletion
    /// is scheduled waits for its day, except for the dialect that scheduled it (`even_scheduled`).
    pub fn purge(&self, name: &str, record: &Record, even_scheduled: bool) -> Result<()> {
        if !even_scheduled {
            self.changeable(record, Expect::Anything)?;
        }
        self.erase(name, record);
        Ok(())
    }

    fn erase(&self, name: &str, record: &Record) {
        for version in &record.versions {
            self.view.delete(&payload_key(&record.id, version.seq));
        }
        self.view.delete(&meta_key(name));
    }

    fn changeable(&self, record: &Record, expect: Expect) -> Result<()> {
        if record.deletion.is_some() {
            return Err(Fault::DeletionScheduled);
        }
        let holds = match expect {
            Expect::Anything => true,
            Expect::Current(seq) => record.current == seq,
            Expect::Revision(revision) => record.revision == revision,
        };
        if holds { Ok(()) } else { Err(Fault::Conflict) }
    }

    fn save(&self, name: &str, record: &mut Record) -> Result<(), Error> {
        record.revision += 1;
        self.view.put(&meta_key(name), record)
    }
}

/// The bytes of a payload as [`Records::payload`] gives them, without the format.
pub fn payload_bytes(stored: &Plain) -> Result<&[u8], Error> {
    match stored.split_first() {
        Some((&PAYLOAD_FORMAT, bytes)) => Ok(bytes),
        Some((format, _)) => Err(Error::internal(format!("a payload has format {format}, this program knows {PAYLOAD_FORMAT}"))),
        None => Err(Error::internal("an empty stored payload")),
    }
}

fn sealed_form(bytes: &[u8]) -> secret::Bytes {
    let mut stored = Zeroizing::new(Vec::with_capacity(bytes.len() + 1));
    stored.push(PAYLOAD_FORMAT);
    stored.extend_from_slice(bytes);
    stored
}

fn meta_key(name: &str) -> String {
    format!("meta/{name}")
}

fn payload_key(id: &str, seq: u64) -> String {
    format!("ver/{id}/{seq}")
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String does not fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

#[cfg(test)]
mod tests;
