//! `delete/…`, `undelete/…`, `destroy/…`: the state of versions by number.

use super::V2;
use super::secrets::{load, load_to_change, refused};
use super::settings::{Config, Settings};
use crate::kv::writable;
use crate::records::{Change, Records};
use coffer_engine::{Ctx, Reply, Request};
use coffer_types::{Error, Result};

/// Mark versions as deleted; their data stays and can be brought back.
#[derive(Request)]
pub(super) struct Delete {
    /// Location of the secret.
    #[field(path)]
    path: String,
    /// The versions.
    #[field(default)]
    versions: Vec<i64>,
}

pub(super) async fn delete(cx: Ctx<V2>, q: Delete) -> Result<Reply<()>> {
    let seqs = numbers(&q.versions, "No version number provided")?;
    change(&cx, &q.path, &seqs, |_, _| Change::Delete).await
}

/// Bring deleted versions back.
#[derive(Request)]
pub(super) struct Undelete {
    /// Location of the secret.
    #[field(path)]
    path: String,
    /// The versions.
    #[field(default)]
    versions: Vec<i64>,
}

pub(super) async fn undelete(cx: Ctx<V2>, q: Undelete) -> Result<Reply<()>> {
    let seqs = numbers(&q.versions, "No version number provided")?;
    change(&cx, &q.path, &seqs, |config, settings| Change::Undelete { deletes_at: config.deletes_at(&cx, &settings) }).await
}

/// Remove the data of versions for good.
#[derive(Request)]
pub(super) struct Destroy {
    /// Location of the secret.
    #[field(path)]
    path: String,
    /// The versions.
    #[field(default)]
    versions: Vec<i64>,
}

pub(super) async fn destroy(cx: Ctx<V2>, q: Destroy) -> Result<Reply<()>> {
    let seqs = numbers(&q.versions, "no version number provided")?;
    change(&cx, &q.path, &seqs, |_, _| Change::Destroy).await
}

/// Asks for the secret, whatever its versions.
#[derive(Request)]
pub(super) struct Whole {
    #[field(path)]
    path: String,
}

pub(super) async fn exists(cx: Ctx<V2>, q: Whole) -> Result<bool> {
    Ok(load(&cx, &q.path).await?.is_some())
}

async fn change(cx: &Ctx<V2>, path: &str, seqs: &[u64], which: impl FnOnce(&Config, Settings) -> Change) -> Result<Reply<()>> {
    let name = writable(path)?;
    let config = Config::load(&cx.view).await?;
    if let Some(mut record) = load_to_change(cx, name).await? {
        let change = which(&config, Settings::of(&record));
        Records::new(&cx.view, cx.now()).set_state(name, &mut record, seqs, change).map_err(refused)?;
    }
    Ok(Reply::empty())
}

/// Numbers that no version can have are passed over, like versions that are not there.
fn numbers(given: &[i64], none: &'static str) -> Result<Vec<u64>> {
    if given.is_empty() {
        return Err(Error::bad_request(none));
    }
    Ok(given.iter().filter_map(|n| u64::try_from(*n).ok()).collect())
}
