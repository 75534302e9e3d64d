//! What a record is.

use super::Change;
use coffer_engine::view::{Record as Stored, is_default};
use coffer_types::{Json, Timestamp, secret};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The label of the current version. It is not stored beside it: it is the current version.
pub const CURRENT: &str = "AWSCURRENT";
/// The label of the version that was current before.
pub const PREVIOUS: &str = "AWSPREVIOUS";
/// The label of a version under preparation: never what a default read gives.
pub const PENDING: &str = "AWSPENDING";

/// A named value with numbered versions; stored in format 1.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Record {
    /// 32 hexadecimal digits, random: stands in the keys of the payloads.
    pub id: String,
    pub created: Timestamp,
    /// When a version or the settings changed last.
    pub updated: Timestamp,
    /// Counts every change.
    pub revision: u64,
    /// Counts changes of settings and custom metadata.
    #[serde(default, skip_serializing_if = "is_default")]
    pub settings_revision: u64,
    /// The highest number ever given; never given again.
    pub last: u64,
    /// The current version, 0 for none.
    pub current: u64,
    /// The version that was current before, 0 for none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub previous: u64,
    /// The oldest version kept, once as many stand as are to be kept; before, 0.
    #[serde(default, skip_serializing_if = "is_default")]
    pub oldest: u64,
    /// How many versions are kept; 0 leaves it to the mount.
    #[serde(default, skip_serializing_if = "is_default")]
    pub max_versions: u32,
    /// Labels other than [`CURRENT`] and [`PREVIOUS`].
    #[serde(default, skip_serializing_if = "is_default")]
    pub labels: BTreeMap<String, u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<Deletion>,
    /// Vault's custom metadata.
    #[serde(default, skip_serializing_if = "is_default")]
    pub custom: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub tags: BTreeMap<String, String>,
    /// By dialect: what only it knows of.
    #[serde(default, skip_serializing_if = "is_default")]
    pub attrs: BTreeMap<String, Json>,
    /// By number, ascending.
    #[serde(default)]
    pub versions: Vec<Version>,
}

/// The scheduled end of a record.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deletion {
    pub at: Timestamp,
    pub purge_after: Timestamp,
}

/// One version. Member names are short: a record has many of them, and is read at every call.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Version {
    #[serde(rename = "n")]
    pub seq: u64,
    #[serde(rename = "c")]
    pub created: Timestamp,
    #[serde(rename = "s", default, skip_serializing_if = "is_default")]
    pub shape: Shape,
    /// From then on it counts as deleted: in the past, or ahead. Stays when it is destroyed.
    #[serde(rename = "d", default, skip_serializing_if = "is_default")]
    pub deletion: Timestamp,
    /// When it was destroyed.
    #[serde(rename = "x", default, skip_serializing_if = "is_default")]
    destroyed: Timestamp,
    #[serde(rename = "off", default, skip_serializing_if = "is_default")]
    disabled: bool,
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub native_id: Option<String>,
    #[serde(rename = "nbf", default, skip_serializing_if = "is_default")]
    pub not_before: Timestamp,
    #[serde(rename = "exp", default, skip_serializing_if = "is_default")]
    pub expires: Timestamp,
    #[serde(rename = "a", default, skip_serializing_if = "is_default")]
    pub attrs: BTreeMap<String, Json>,
}

/// How a payload was written. It stands here and never in the value, so that nothing is taken for what it is not.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// A map of Vault's KV: the text of a JSON object (or `null`), numbers as they were sent.
    #[default]
    Json,
    /// Text, byte for byte.
    Text,
    Binary,
}

impl Shape {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "text",
            Self::Binary => "binary",
        }
    }
}

/// The bytes of a version with their shape.
#[derive(Clone)]
pub struct Payload {
    pub shape: Shape,
    pub bytes: secret::Bytes,
}

/// What a version is at a point in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Enabled,
    Disabled,
    Deleted(Timestamp),
    Destroyed(Timestamp),
}

/// Which version is meant. The dialect chooses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Selector<'s> {
    Current,
    Newest,
    Seq(u64),
    Label(&'s str),
    Native(&'s str),
}

impl Stored for Record {
    const FORMAT: u8 = 1;
}

impl Record {
    pub(super) fn new(id: String, now: Timestamp) -> Self {
        Self {
            id,
            created: now,
            updated: now,
            revision: 0,
            settings_revision: 0,
            last: 0,
            current: 0,
            previous: 0,
            oldest: 0,
            max_versions: 0,
            labels: BTreeMap::new(),
            deletion: None,
            custom: BTreeMap::new(),
            tags: BTreeMap::new(),
            attrs: BTreeMap::new(),
            versions: Vec::new(),
        }
    }

    pub fn select(&self, selector: &Selector<'_>) -> Option<&Version> {
        let by_seq = |seq: u64| self.versions.binary_search_by_key(&seq, |v| v.seq).ok().map(|at| &self.versions[at]);
        match *selector {
            Selector::Current => by_seq(self.current),
            Selector::Newest => self.versions.last(),
            Selector::Seq(seq) => by_seq(seq),
            Selector::Label(CURRENT) => by_seq(self.current),
            Selector::Label(PREVIOUS) => by_seq(self.previous),
            Selector::Label(label) => by_seq(*self.labels.get(label)?),
            Selector::Native(id) => self.versions.iter().find(|v| self.native_id(v) == id),
        }
    }

    /// The protocol's id of a version. One that came without has a UUID made of the record's id and its number,
    /// so that it needs no room.
    pub fn native_id(&self, version: &Version) -> String {
        if let Some(id) = &version.native_id {
            return id.clone();
        }
        let id = u128::from_str_radix(&self.id, 16).unwrap_or_default() ^ u128::from(version.seq);
        // Version and variant bits of RFC 9562, so that it passes for what it is: random.
        let id = (id & !(0xf << 76) & !(0b11 << 62)) | (0x4 << 76) | (0b10 << 62);
        let hex = format!("{id:032x}");
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    /// The labels that a version bears.
    pub fn labels_of(&self, seq: u64) -> Vec<&str> {
        let fixed = [(CURRENT, self.current), (PREVIOUS, self.previous)];
        let all = fixed.into_iter().chain(self.labels.iter().map(|(label, seq)| (label.as_str(), *seq)));
        all.filter(|(_, at)| *at == seq && seq != 0).map(|(label, _)| label).collect()
    }

    pub(super) fn make_current(&mut self, seq: u64) {
        if self.current != seq {
            self.previous = self.current;
            self.current = seq;
        }
    }

    /// Drops the oldest versions beyond `keep` and says which. The current version and what bears a label stay;
    /// the previous one goes only where a single version is to be kept, which could not be had otherwise.
    pub(super) fn prune(&mut self, keep: u32) -> Vec<u64> {
        let excess = self.versions.len().saturating_sub(keep as usize);
        if keep == 0 {
            return Vec::new();
        }
        let newest_dropped = excess.checked_sub(1).map_or(0, |at| self.versions[at].seq);
        let held =
            |seq: u64| seq == self.current || (seq == self.previous && keep > 1) || self.labels.values().any(|l| *l == seq);
        let gone: Vec<u64> = self.versions.iter().map(|v| v.seq).filter(|seq| *seq <= newest_dropped && !held(*seq)).collect();
        self.versions.retain(|v| !gone.contains(&v.seq));
        if gone.contains(&self.previous) {
            self.previous = 0;
        }
        // Told from the moment on at which as many stand as are kept.
        if self.last - self.oldest >= u64::from(keep) {
            self.oldest = self.versions.first().map_or(0, |v| v.seq);
        }
        gone
    }
}

impl Version {
    pub(super) fn new(seq: u64, created: Timestamp, shape: Shape) -> Self {
        Self {
            seq,
            created,
            shape,
            deletion: Timestamp::NEVER,
            destroyed: Timestamp::NEVER,
            disabled: false,
            native_id: None,
            not_before: Timestamp::NEVER,
            expires: Timestamp::NEVER,
            attrs: BTreeMap::new(),
        }
    }

    pub fn state(&self, now: Timestamp) -> State {
        if !self.destroyed.is_never() {
            State::Destroyed(self.destroyed)
        } else if !self.deletion.is_never() && self.deletion <= now {
            State::Deleted(self.deletion)
        } else if self.disabled {
            State::Disabled
        } else {
            State::Enabled
        }
    }

    pub const fn is_destroyed(&self) -> bool {
        !self.destroyed.is_never()
    }

    /// True if this changes anything. A destroyed version never changes.
    pub(super) fn change(&mut self, change: Change, now: Timestamp) -> bool {
        if self.is_destroyed() {
            return false;
        }
        let deleted = matches!(self.state(now), State::Deleted(_));
        match change {
            Change::Enable => std::mem::replace(&mut self.disabled, false),
            Change::Disable => !std::mem::replace(&mut self.disabled, true),
            Change::Delete if deleted => false,
            Change::Delete => {
                self.deletion = now;
                true
            }
            // Also what lies ahead: a version that is to be kept after all.
            Change::Undelete { .. } if self.deletion.is_never() => false,
            Change::Undelete { deletes_at } => std::mem::replace(&mut self.deletion, deletes_at) != deletes_at,
            Change::Destroy => {
                self.destroyed = now;
                true
            }
        }
    }
}
