//! Ending tokens, with all that hangs on them.
//!
//! A token's own records go in the commit that ends it. What it made (children, leases, its cubbyhole) may be more than one
//! commit takes, so that commit only notes that it has to go ([`Ending`]); the rest follows in batches, before the call is
//! answered where it is little, by the beat where it is much, and after a restart. Nothing has to wait for that: a token
//! whose parent's record is gone is refused ([`in_force`]), so the whole tree is out of force with the one commit.
//!
//! Whether a token made anything is said by a mark ([`depends`]), which the first thing it makes writes and its end reads:
//! of an end and a first thing that overlap, one is run again. All later things read the token's record, as each call does
//! that a token makes, so nothing comes after its end, and the batches, which begin after it, miss nothing.

use super::record::{self, BY_TOKEN};
use crate::barrier::Committed;
use crate::live::Live;
use crate::tokens::record::{ACCESSORS, CHILDREN, RECORDS, TokenRecord, TokenStore};
use coffer_engine::TokenKind;
use coffer_engine::view::{Record, View};
use coffer_types::{Error, Kind, Result, Timestamp};
use serde::{Deserialize, Serialize};

/// `lease/ending/<token key>`: the token has ended, what it made has yet to go.
pub const ENDING: &str = "lease/ending/";
/// `token/made/<token key>`: the token has made something.
pub const MADE: &str = "token/made/";
/// Things in one commit.
const BATCH: usize = 128;
/// Batches that a call waits for before it is answered.
pub const BEFORE_ANSWER: usize = 64;
/// A token has at most so many ancestors: each call that it makes reads them all.
pub const MAX_ANCESTORS: usize = 512;

/// What is still to do for a token that has ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ending {
    /// The folder of its cubbyhole; empty if it has none.
    pub cubbyhole: String,
    /// Its children become orphans instead of ending with it.
    pub keep_children: bool,
    pub since: Timestamp,
}

impl Record for Ending {
    const FORMAT: u8 = 1;
}

/// Ends a token in this transaction, and with it all that it made: those tokens are refused from its commit on.
/// Leases of engines that belong to it become due; the expirer revokes them, and tries again where that fails.
pub async fn end_token(live: &Live, view: &View, token: &TokenRecord, now: Timestamp) -> Result<()> {
    end_one(live, view, token, now, false).await
}

/// Ends a token and makes its children orphans, who are never refused meanwhile.
pub async fn end_token_keep_children(live: &Live, view: &View, token: &TokenRecord, now: Timestamp) -> Result<()> {
    end_one(live, view, token, now, true).await
}

/// Ends the token of this text by itself, if it is one of ours that is stored.
pub async fn end_now(live: &Live, text: &str) -> Result<()> {
    loop {
        let txn = live.barrier.begin();
        let view = txn.root_view();
        if let Some(token) = live.tokens.get(&view, text).await? {
            end_token(live, &view, &token, live.core()?.clock.now()).await?;
        }
        if let Committed::Done(keys) = txn.commit().await? {
            return live.after_commit(&keys).await;
        }
    }
}

/// Notes that something belongs to the token of this key from now on, so that its end looks for it.
pub async fn depends(view: &View, token: &str) -> Result<()> {
    let mark = format!("{MADE}{token}");
    if !token.is_empty() && !view.exists(&mark).await? {
        view.put(&mark, &record::Entry {})?;
    }
    Ok(())
}

/// Whether all that a token descends from is still there. What is read for it is a precondition of the call.
pub async fn in_force(tokens: &TokenStore, view: &View, token: &TokenRecord, now: Timestamp) -> Result<bool> {
    let mut parent = token.parent.clone();
    for nth in 0..MAX_ANCESTORS {
        if parent.is_empty() {
            return Ok(true);
        }
        match tokens.get_key(view, &parent).await? {
            Some(found) if found.is_live(now) => parent = found.parent,
            Some(_) => return Ok(false),
            None => {
                // It may have ended without its children, who are not all orphans yet. A batch token is nowhere listed, so it
                // goes with the parent that it names in any case.
                let listed = nth > 0 || token.kind == TokenKind::Service;
                let ending: Option<Ending> = if listed { view.get(&format!("{ENDING}{parent}")).await? } else { None };
                return Ok(ending.is_some_and(|e| e.keep_children));
            }
        }
    }
    Ok(false)
}

/// A token that was found, if it is good for anything. What has expired stands until it is cleared away, and so does what
/// descends from a token that has ended; nobody sees it or brings it back in between.
pub async fn standing(
    tokens: &TokenStore,
    view: &View,
    found: Option<TokenRecord>,
    now: Timestamp,
) -> Result<Option<TokenRecord>> {
    let Some(token) = found.filter(|t| t.is_live(now) || t.is_spent()) else { return Ok(None) };
    Ok(in_force(tokens, view, &token, now).await?.then_some(token))
}

/// Refuses a child to a token that has as many ancestors as any may have.
pub async fn room_for_a_child(tokens: &TokenStore, view: &View, token: &TokenRecord) -> Result<()> {
    let (mut ancestors, mut parent) = (0, token.parent.clone());
    while !parent.is_empty() {
        ancestors += 1;
        parent = tokens.get_key(view, &parent).await?.map(|p| p.parent).unwrap_or_default();
    }
    if ancestors + 1 < MAX_ANCESTORS {
        return Ok(());
    }
    Err(Error::bad_request(format!("this token descends from too many others: at most {MAX_ANCESTORS} stand in one line")))
}

/// Refuses a text for a new token while what an earlier token of that text made is still being ended.
pub async fn refuse_ending(view: &View, key: &str) -> Result<()> {
    if view.exists(&format!("{ENDING}{key}")).await? {
        let text = "a token of this ID was revoked and what it made is still being revoked; try again later";
        return Err(Error::new(Kind::Unavailable, text));
    }
    Ok(())
}

async fn end_one(live: &Live, view: &View, token: &TokenRecord, now: Timestamp, keep_children: bool) -> Result<()> {
    view.delete(&format!("{RECORDS}{}", token.key));
    view.delete(&format!("{ACCESSORS}{}", token.accessor));
    if !token.parent.is_empty() {
        view.delete(&format!("{CHILDREN}{}/{}", token.parent, token.key));
    }
    if token.wrapping {
        view.delete(&format!("{}{}", crate::wrapping::CONTENT, token.key));
    }
    if let Some(lease) = record::get(view, &record::token_lease_id(token)).await? {
        record::forget(live, view, &lease);
    }
    // A token of a program that kept no marks may have made anything.
    if !token.marked || view.exists(&format!("{MADE}{}", token.key)).await? {
        let ending = Ending { cubbyhole: token.cubbyhole.clone(), keep_children, since: now };
        view.put(&format!("{ENDING}{}", token.key), &ending)?;
    }
    Ok(())
}

/// Goes on with tokens that have ended, at most `batches` commits long. What is left stays noted.
pub async fn work_off(live: &Live, mut ended: Vec<String>, batches: usize) -> Result<()> {
    let mut left = batches;
    while let Some(key) = ended.pop() {
        loop {
            if left == 0 {
                return Ok(());
            }
            left -= 1;
            let step = step(live, &key).await?;
            ended.extend(step.also_ended);
            if !step.more {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

/// Those that a crash or a long list has left. Called with the beat.
pub async fn go_on(live: &Live, batches: usize) -> Result<()> {
    let keys = live.view().keys(ENDING, None, batches).await?;
    work_off(live, keys.into_iter().map(|k| k[ENDING.len()..].to_owned()).collect(), batches).await
}

struct Step {
    more: bool,
    also_ended: Vec<String>,
}

/// One commit's worth of what a token made.
async fn step(live: &Live, key: &str) -> Result<Step> {
    let nothing = || Step { more: false, also_ended: Vec::new() };
    let txn = live.barrier.begin();
    let view = txn.root_view();
    let name = format!("{ENDING}{key}");
    let Some(ending) = view.get::<Ending>(&name).await? else { return Ok(nothing()) };
    let now = live.core()?.clock.now();
    let mut room = BATCH;
    let mut also_ended = Vec::new();
    for child in view.children(&format!("{CHILDREN}{key}/"), None, room).await? {
        room -= 1;
        view.delete(&format!("{CHILDREN}{key}/{child}"));
        let Some(mut child) = live.tokens.get_key(&view, &child).await?.filter(|c| c.parent == key) else { continue };
        if ending.keep_children {
            child.parent.clear();
            live.tokens.update(&view, &child)?;
        } else {
            end_one(live, &view, &child, now, false).await?;
            also_ended.push(child.key);
        }
    }
    let owned = format!("{BY_TOKEN}{key}/");
    for entry in view.keys(&owned, None, room).await? {
        room -= 1;
        match record::get(&view, &entry[owned.len()..]).await? {
            Some(lease) => record::detach(&view, lease, now)?,
            None => view.delete(&entry),
        }
    }
    if room > 0
        && !ending.cubbyhole.is_empty()
        && let Some(cubbyhole) = live.router.load().at("cubbyhole/").map(|m| m.prefix.clone())
    {
        for secret in view.keys(&format!("{cubbyhole}{}/", ending.cubbyhole), None, room).await? {
            room -= 1;
            view.delete(&secret);
        }
    }
    let more = room == 0;
    if !more {
        view.delete(&name);
        view.delete(&format!("{MADE}{key}"));
    }
    match txn.commit().await? {
        Committed::Done(_) => Ok(Step { more, also_ended }),
        Committed::Conflict => Ok(Step { more: true, also_ended: Vec::new() }),
    }
}
