//! `config`: settings for all secrets of the mount.

use super::V2;
use super::settings::Config;
use crate::kv::field::Given;
use coffer_engine::{Ctx, NoInput, Reply, Request, Response};
use coffer_types::{Result, Span};

#[derive(Response)]
pub(super) struct Shown {
    /// Whether every write must say which version it replaces.
    cas_required: bool,
    /// After this time a version counts as deleted.
    delete_version_after: String,
    /// How many versions are kept.
    max_versions: u32,
    /// Whether every change of metadata must say which revision it replaces.
    metadata_cas_required: bool,
}

/// Read the mount's settings.
#[derive(Request)]
pub(super) struct Read {}

pub(super) async fn read(cx: Ctx<V2>, _: Read) -> Result<Reply<Shown>> {
    let config = Config::load(&cx.view).await?;
    Ok(Reply::data(Shown {
        cas_required: config.cas_required,
        delete_version_after: config.delete_version_after.to_string(),
        max_versions: config.max_versions,
        metadata_cas_required: config.metadata_cas_required,
    }))
}

/// Change the mount's settings; those that are not named stay, null sets back.
#[derive(Request)]
pub(super) struct Write {
    /// How many versions of each secret are kept; 10 if this is 0.
    #[field(default)]
    max_versions: Given<u32>,
    /// Whether every write must say which version it replaces.
    #[field(default)]
    cas_required: Given<bool>,
    /// Whether every change of metadata must say which revision it replaces.
    #[field(default)]
    metadata_cas_required: Given<bool>,
    /// The time after which a version counts as deleted. 0 clears it; below 0, no secret of this mount deletes its
    /// versions by time.
    delete_version_after: Option<Span>,
}

pub(super) async fn write(cx: Ctx<V2>, q: Write) -> Result<Reply<()>> {
    let mut config = Config::load(&cx.view).await?;
    set(&mut config.max_versions, q.max_versions.or_default());
    set(&mut config.cas_required, q.cas_required.or_default());
    set(&mut config.metadata_cas_required, q.metadata_cas_required.or_default());
    set(&mut config.delete_version_after, q.delete_version_after);
    config.save(&cx.view)?;
    Ok(Reply::empty())
}

pub(super) async fn exists(cx: Ctx<V2>, _: NoInput) -> Result<bool> {
    Config::exists(&cx.view).await
}

fn set<T>(setting: &mut T, given: Option<T>) {
    if let Some(value) = given {
        *setting = value;
    }
}
