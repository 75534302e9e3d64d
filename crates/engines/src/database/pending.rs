//! Passwords on their way: written down, by themselves and at once, before a database is told of them.
//!
//! A password is told to the database, and then committed. Whoever dies between the two leaves a note here; which of the passwords works is
//! found out by trying. Notes stand under `pending/<folder>/<name>/<seconds>-<random>`; lists are no preconditions of a commit, so a note
//! that a call writes for itself does not disturb the call's own transaction.

use super::{Database, token};
use coffer_engine::view::encode;
use coffer_engine::{Ctx, Record};
use coffer_types::{Result, Secret, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use zeroize::Zeroizing;

/// A call that wrote a note has ended after so long, one way or the other.
pub(super) const AGE: Duration = Duration::from_secs(150);

/// A password that a database may know by now.
#[derive(Serialize, Deserialize)]
pub(super) struct Pending {
    pub password: Zeroizing<String>,
    /// Which of a role's accounts it is for.
    #[serde(default)]
    pub slot: usize,
}

impl Record for Pending {
    const FORMAT: u8 = 1;
}

/// A note that stands in the store.
pub(super) struct Note {
    pub key: String,
    pub written: Timestamp,
}

impl Note {
    pub(super) async fn read(&self, cx: &Ctx<Database>) -> Result<Option<Pending>> {
        cx.view.get(&self.key).await
    }

    pub(super) fn is_of_age(&self, now: Timestamp) -> bool {
        now.since(self.written) >= AGE
    }
}

/// Writes a note; durable when this returns.
pub(super) async fn note(cx: &Ctx<Database>, folder: &str, name: &str, password: &Secret<String>, slot: usize) -> Result<Note> {
    let key = format!("pending/{folder}/{name}/{:020}-{}", cx.now().secs(), token(cx));
    let pending = Pending { password: Zeroizing::new(password.expose().clone()), slot };
    cx.host().commit_now(cx.view.whole_key(&key), Some(encode(&pending)?)).await?;
    Ok(Note { key, written: cx.now() })
}

/// Takes a note back whose password the database surely does not know.
pub(super) async fn take_back(cx: &Ctx<Database>, note: &Note) -> Result<()> {
    cx.host().commit_now(cx.view.whole_key(&note.key), None).await
}

pub(super) async fn of_root(cx: &Ctx<Database>, connection: &str) -> Result<Vec<Note>> {
    below(cx, &format!("pending/config/{connection}/")).await
}

pub(super) async fn of_role(cx: &Ctx<Database>, role: &str) -> Result<Vec<Note>> {
    below(cx, &format!("pending/role/{role}/")).await
}

/// Names with notes.
pub(super) async fn names(cx: &Ctx<Database>, folder: &str) -> Result<Vec<String>> {
    let names = cx.view.children(&format!("pending/{folder}/"), None, 1000).await?;
    Ok(names.into_iter().map(|name| name.trim_end_matches('/').to_owned()).collect())
}

/// The newest last.
async fn below(cx: &Ctx<Database>, folder: &str) -> Result<Vec<Note>> {
    let keys = cx.view.keys(folder, None, 1000).await?;
    let note = |key: String| {
        let written =
            key[folder.len()..].split('-').next().and_then(|s| s.parse().ok()).map_or(Timestamp::NEVER, Timestamp::from_secs);
        Note { key, written }
    };
    Ok(keys.into_iter().map(note).collect())
}
