//! Settings of a mount and of one secret, and what they come to together.

use crate::records::Record;
use coffer_engine::view::Record as Stored;
use coffer_engine::{Ctx, View};
use coffer_types::{Object, Result, Span, Timestamp};
use serde::{Deserialize, Serialize};

/// Kept where neither the mount nor the secret says otherwise.
const MAX_VERSIONS: u32 = 10;

/// The mount's settings; stored in format 1 under `config`.
#[derive(Serialize, Deserialize, Default, Clone, Copy)]
pub(super) struct Config {
    /// 0 for none.
    pub(super) max_versions: u32,
    pub(super) cas_required: bool,
    pub(super) metadata_cas_required: bool,
    /// 0 for none; below, no secret of the mount deletes its versions by time.
    pub(super) delete_version_after: Span,
}

impl Stored for Config {
    const FORMAT: u8 = 1;
}

const KEY: &str = "config";

impl Config {
    pub(super) async fn load(view: &View) -> Result<Self> {
        Ok(view.get(KEY).await?.unwrap_or_default())
    }

    pub(super) async fn exists(view: &View) -> Result<bool> {
        view.exists(KEY).await
    }

    pub(super) fn save(&self, view: &View) -> Result<()> {
        view.put(KEY, self)
    }

    /// How many versions of a secret are kept: the larger of what the mount and the secret say.
    pub(super) fn keep(&self, record: &Record) -> u32 {
        match self.max_versions.max(record.max_versions) {
            0 => MAX_VERSIONS,
            n => n,
        }
    }

    /// When a version that is made (or brought back) now will count as deleted: the shorter of the two times.
    pub(super) fn deletes_at<E>(&self, cx: &Ctx<E>, settings: &Settings) -> Timestamp {
        let after = match (self.delete_version_after, settings.delete_version_after) {
            (mount, _) if mount.is_negative() => return Timestamp::NEVER,
            (mount, secret) if mount.is_zero() => secret,
            (mount, secret) if secret.is_zero() => mount,
            (mount, secret) => mount.min(secret),
        };
        if after.is_zero() { Timestamp::NEVER } else { cx.now().plus(after.duration()) }
    }
}

/// A secret's own settings: what KV knows of a record and no other dialect does.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) cas_required: bool,
    pub(super) metadata_cas_required: bool,
    /// 0 for none.
    pub(super) delete_version_after: Span,
}

/// Names the dialect among the record's attributes.
const DIALECT: &str = "kv";

impl Settings {
    pub(super) fn of(record: &Record) -> Self {
        let Some(attrs) = record.attrs.get(DIALECT) else { return Self::default() };
        let flag = |name: &str| attrs.get(name).and_then(coffer_types::Json::as_bool).unwrap_or_default();
        Self {
            cas_required: flag("cas_required"),
            metadata_cas_required: flag("metadata_cas_required"),
            delete_version_after: Span(
                attrs.get("delete_version_after").and_then(coffer_types::Json::as_i64).unwrap_or_default(),
            ),
        }
    }

    pub(super) fn put(self, record: &mut Record) {
        if self == Self::default() {
            record.attrs.remove(DIALECT);
            return;
        }
        let attrs = Object::new()
            .with("cas_required", self.cas_required)
            .with("metadata_cas_required", self.metadata_cas_required)
            .with("delete_version_after", self.delete_version_after.0);
        record.attrs.insert(DIALECT.to_owned(), attrs.into());
    }
}
