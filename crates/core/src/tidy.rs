//! `auth/token/tidy`, `sys/leases/tidy`: index entries whose record is gone. An end and its entries are one commit, so there is
//! nothing to find unless the store was changed by hand. In the background, page by page; one that a crash stops is
//! asked for again.

use crate::barrier::Committed;
use crate::core::Core;
use crate::leases::record as lease;
use crate::live::Unsealed;
use crate::tokens::record::{ACCESSORS, AccessorRecord, CHILDREN, RECORDS};
use coffer_engine::Reply;
use coffer_engine::view::View;
use coffer_types::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Entries in one commit.
const PAGE: usize = 512;

/// What is tidied.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    Tokens,
    Leases,
}

/// Whether each is under way.
#[derive(Default)]
pub struct UnderWay {
    tokens: AtomicBool,
    leases: AtomicBool,
}

impl UnderWay {
    fn flag(&self, what: What) -> &AtomicBool {
        match what {
            What::Tokens => &self.tokens,
            What::Leases => &self.leases,
        }
    }
}

/// Begins, unless it is under way.
pub(crate) fn start(core: &Arc<Core>, what: What) -> Result<Reply> {
    let live = core.unsealed()?;
    if live.tidying.flag(what).swap(true, Ordering::AcqRel) {
        return Ok(Reply::empty().status(202).warn("Tidy operation already in progress."));
    }
    tokio::spawn(async move {
        let folders = match what {
            What::Tokens => [ACCESSORS, CHILDREN],
            What::Leases => [lease::TIMES, lease::BY_TOKEN],
        };
        for folder in folders {
            match tidy(&live, folder).await {
                Ok(removed) => tracing::info!(target: "core", %folder, removed, "tidied"),
                Err(error) => tracing::warn!(target: "core", %folder, %error, "tidying stopped"),
            }
        }
        live.tidying.flag(what).store(false, Ordering::Release);
    });
    let said = "Tidy operation successfully started. Any information from the operation will be printed to the server's logs.";
    Ok(Reply::empty().status(202).warn(said))
}

async fn tidy(live: &Unsealed, folder: &str) -> Result<usize> {
    let (mut after, mut removed): (Option<String>, usize) = (None, 0);
    loop {
        let txn = live.barrier.begin();
        let view = txn.root_view();
        let keys = view.keys(folder, after.as_deref(), PAGE).await?;
        let mut gone = 0;
        for key in &keys {
            if !has_record(&view, folder, key).await? {
                view.delete(key);
                gone += 1;
            }
        }
        if txn.commit().await? == Committed::Conflict {
            continue;
        }
        removed += gone;
        match keys.into_iter().next_back() {
            Some(last) => after = Some(last),
            None => return Ok(removed),
        }
        tokio::task::yield_now().await;
    }
}

async fn has_record(view: &View, folder: &str, key: &str) -> Result<bool> {
    let entry = &key[folder.len()..];
    let below = entry.split_once('/').map_or("", |(_, below)| below);
    match folder {
        ACCESSORS => match view.get::<AccessorRecord>(key).await? {
            Some(found) => view.exists(&format!("{RECORDS}{}", found.key)).await,
            None => Ok(true),
        },
        // Of a parent that is ending they are still needed.
        CHILDREN => view.exists(&format!("{RECORDS}{below}")).await,
        _ => view.exists(&format!("{}{below}", lease::RECORDS)).await,
    }
}
