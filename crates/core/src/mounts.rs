//! The mount table: which engine stands where.
//!
//! Each mount is one record. Every change also writes the table's version, which every change reads first: two
//! changes at once conflict, so that no two mounts get one path or one inside the other.

use coffer_engine::view::{Record, View};
use coffer_engine::{Mount, MountClass};
use coffer_types::{Error, MountPath, Result, Span};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Below this stand the records; the pipeline rebuilds the router when a commit touches it.
pub const PREFIX: &str = "core/mounts/";
const TABLE: &str = "core/mounts/~version";
/// Data of a mount: `m/<uuid>/…`, its notes of effects outside: `i/<uuid>/…`.
pub const DATA: &str = "m/";
pub const INTENTS: &str = "i/";

/// A mount as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MountRecord {
    pub class: MountClass,
    /// Without `auth/`, with a trailing slash: `secret/`, `userpass/`.
    pub path: String,
    pub kind: String,
    pub accessor: String,
    pub uuid: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    #[serde(default)]
    pub tune: Tune,
    #[serde(default)]
    pub local: bool,
    #[serde(default)]
    pub seal_wrap: bool,
    #[serde(default)]
    pub external_entropy_access: bool,
    #[serde(default)]
    pub plugin_version: String,
    /// Set while its data is being removed: it no longer answers, and removal goes on after a restart.
    #[serde(default)]
    pub going: bool,
}

/// What may be tuned.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tune {
    #[serde(default)]
    pub default_lease_ttl: Span,
    #[serde(default)]
    pub max_lease_ttl: Span,
    #[serde(default)]
    pub force_no_cache: bool,
    #[serde(default)]
    pub audit_non_hmac_request_keys: Vec<String>,
    #[serde(default)]
    pub audit_non_hmac_response_keys: Vec<String>,
    /// `unauth`, `hidden` or empty.
    #[serde(default)]
    pub listing_visibility: String,
    #[serde(default)]
    pub passthrough_request_headers: Vec<String>,
    #[serde(default)]
    pub allowed_response_headers: Vec<String>,
    /// For auth methods: `default-service`, `default-batch`, `service`, `batch`, or empty.
    #[serde(default)]
    pub token_type: String,
    #[serde(default)]
    pub user_lockout: BTreeMap<String, String>,
}

impl Record for MountRecord {
    const FORMAT: u8 = 1;
}

#[derive(Serialize, Deserialize)]
struct Version {
    changes: u64,
}

impl Record for Version {
    const FORMAT: u8 = 1;
}

impl MountRecord {
    /// The whole path: `auth/userpass/` for auth methods.
    pub fn whole_path(&self) -> String {
        match self.class {
            MountClass::Engine => self.path.clone(),
            MountClass::Auth => format!("auth/{}", self.path),
        }
    }

    /// As its engine sees it.
    pub fn mount(&self, system_default: Span, system_max: Span, lockout: &crate::lockout::Settings) -> Mount {
        let or = |own: Span, system: Span| if own.is_zero() { system } else { own };
        Mount {
            class: self.class,
            path: self.whole_path().into(),
            kind: self.kind.as_str().into(),
            accessor: self.accessor.as_str().into(),
            uuid: self.uuid.as_str().into(),
            options: self.options.clone(),
            default_lease_ttl: or(self.tune.default_lease_ttl, system_default),
            max_lease_ttl: or(self.tune.max_lease_ttl, system_max),
            lockout: lockout.of(self),
        }
    }

    /// Where its data stands. The server's own mounts see the whole barrier.
    pub fn prefix(&self) -> String {
        if self.is_system() { String::new() } else { format!("{DATA}{}/", self.uuid) }
    }

    pub fn intents(&self) -> String {
        format!("{INTENTS}{}/", self.uuid)
    }

    /// `sys/`, `auth/token/` and `identity/`: parts of the server that are called like engines.
    pub fn is_system(&self) -> bool {
        matches!(self.kind.as_str(), "system" | "token" | "identity")
    }
}

/// All mounts, by whole path.
pub async fn load(view: &View) -> Result<Vec<MountRecord>> {
    let mut mounts = Vec::new();
    for key in view.keys(PREFIX, None, usize::MAX).await? {
        if key != TABLE
            && let Some(record) = view.get::<MountRecord>(&key).await?
        {
            mounts.push(record);
        }
    }
    mounts.sort_by_key(MountRecord::whole_path);
    Ok(mounts)
}

/// Notes that the table changes: every function that changes it calls this first.
async fn change(view: &View) -> Result<()> {
    let version = view.get::<Version>(TABLE).await?.map_or(0, |v| v.changes);
    view.put(TABLE, &Version { changes: version + 1 })
}

/// Adds a mount; refuses a path that is taken, lies inside a mount, or has a mount inside.
pub async fn add(view: &View, record: &MountRecord) -> Result<()> {
    change(view).await?;
    let path = record.whole_path();
    // A mount that is going still holds no path: it answers nothing, and its data stands under its own uuid.
    for other in load(view).await?.into_iter().filter(|m| !m.going) {
        let taken = other.whole_path();
        if path.starts_with(&taken) || taken.starts_with(&path) {
            return Err(Error::bad_request(format!("path is already in use at {}", other.path)));
        }
    }
    view.put(&key(record), record)
}

/// Writes a changed record back.
pub async fn update(view: &View, record: &MountRecord) -> Result<()> {
    change(view).await?;
    view.put(&key(record), record)
}

/// Removes a record, once its data is gone.
pub async fn remove(view: &View, record: &MountRecord) -> Result<()> {
    change(view).await?;
    view.delete(&key(record));
    Ok(())
}

pub async fn find(view: &View, class: MountClass, path: &MountPath) -> Result<Option<MountRecord>> {
    Ok(load(view).await?.into_iter().find(|m| m.class == class && !m.going && m.path == path.as_str()))
}

/// Also one that is going.
pub async fn by_uuid(view: &View, uuid: &str) -> Result<Option<MountRecord>> {
    view.get(&format!("{PREFIX}{uuid}")).await
}

fn key(record: &MountRecord) -> String {
    format!("{PREFIX}{}", record.uuid)
}
