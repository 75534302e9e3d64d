//! What removes itself: expired secret ids, and those of roles that are gone. A bounded number at a time.

use super::AppRole;
use super::store::{GONE, SecretId, TIMES, secrets};
use coffer_engine::{Ctx, NoInput, Reply};
use coffer_types::Result;

/// Secret ids removed in one transaction.
const BATCH: usize = 128;

/// One batch; whether there is more.
pub(super) async fn beat(cx: Ctx<AppRole>) -> Result<bool> {
    Ok(expired(&cx).await? || of_gone_roles(&cx).await?)
}

pub(super) async fn tidy(cx: Ctx<AppRole>, _: NoInput) -> Result<Reply<()>> {
    beat(cx).await?;
    Ok(Reply::empty()
        .status(202)
        .warn("Tidy operation successfully started. Any information from the operation will be printed to the server's logs."))
}

async fn expired(cx: &Ctx<AppRole>) -> Result<bool> {
    let keys = cx.view.keys(TIMES, None, BATCH).await?;
    let full = keys.len() == BATCH;
    for key in keys {
        let mut parts = key[TIMES.len()..].splitn(3, '/');
        let (Some(seconds), Some(folder), Some(mac)) = (parts.next(), parts.next(), parts.next()) else { continue };
        if seconds.parse::<i64>().is_ok_and(|s| s >= cx.now().secs()) {
            return Ok(false);
        }
        match SecretId::find(&cx.view, folder, mac).await? {
            Some(secret_id) if !secret_id.is_live(cx.now()) => secret_id.remove(&cx.view, folder, mac),
            _ => cx.view.delete(&key),
        }
    }
    Ok(full)
}

async fn of_gone_roles(cx: &Ctx<AppRole>) -> Result<bool> {
    let gone = cx.view.keys(GONE, None, 1).await?;
    let Some(folder) = gone.first().and_then(|key| key.strip_prefix(GONE)) else { return Ok(false) };
    let under = secrets(folder);
    let keys = cx.view.keys(&under, None, BATCH).await?;
    if keys.is_empty() {
        cx.view.delete(&format!("{GONE}{folder}"));
    }
    for key in &keys {
        let mac = &key[under.len()..];
        if let Some(secret_id) = SecretId::find(&cx.view, folder, mac).await? {
            secret_id.remove(&cx.view, folder, mac);
        }
    }
    Ok(true)
}
