//! A new access key for the engine itself. The new key is noted before it is made: until it is committed, the note takes it away
//! again; once it is, the old key stands in the same commit as retired, and is deleted by the clock until that succeeds. So at every
//! point exactly the key that the configuration holds works.

use super::config::{self, Retired};
use super::wire::{Params, Refused, Service, call};
use super::{Aws, iam};
use coffer_engine::{Ctx, Intent, NoInput, Record, Reply, Response};
use coffer_types::{Error, Result};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The note of a key about to be made.
#[derive(Serialize, Deserialize)]
pub(super) struct Rotating {
    user: String,
    /// The keys that the user had before.
    before: Vec<String>,
}

impl Record for Rotating {
    const FORMAT: u8 = 1;
}

impl Intent for Rotating {
    const NAME: &'static str = "rotation";
}

/// The key that is used from now on.
#[derive(Response)]
pub(super) struct Rotated {
    /// Its id.
    access_key: String,
}

pub(super) async fn rotate(cx: Ctx<Aws>, _: NoInput) -> Result<Reply<Rotated>> {
    let mut root = config::root(&cx).await?;
    // Without a name AWS tells whose the key is.
    let user =
        call(&cx, &root, Service::Iam, "GetUser", Params::new(), |r| Ok(r.one("User")?.text("UserName")?.to_owned())).await?;
    let before = iam::access_keys(&cx, &root, &user).await?;
    if before != [root.access_key.clone()] {
        return Err(Error::bad_request(
            "the configured key must be the only access key of its user: AWS allows two, and the second is needed for the rotation",
        ));
    }
    let noted = cx.intend(&Rotating { user: user.clone(), before }).await?;
    let (access_key, secret_key) = match iam::create_access_key(&cx, &root, &user).await {
        Ok(made) => made,
        Err(refused) => {
            if refused.is_certain() {
                cx.undone(noted).await?;
            }
            return Err(refused.into());
        }
    };
    root.retired.push(Retired { user, access_key: std::mem::replace(&mut root.access_key, access_key.clone()) });
    root.secret_key = Zeroizing::new(secret_key.expose().clone());
    config::put_root(&cx, &root)?;
    cx.done(noted);
    Ok(Reply::data(Rotated { access_key }))
}

/// The rotation was not committed: what is new goes.
pub(super) async fn roll_back(cx: Ctx<Aws>, note: Rotating) -> Result<()> {
    let Some(root) = config::find_root(&cx).await? else { return Ok(()) };
    for key in iam::access_keys(&cx, &root, &note.user).await? {
        if key != root.access_key && !note.before.contains(&key) {
            iam::delete_access_key(&cx, &root, &note.user, &key).await?;
        }
    }
    Ok(())
}

/// Deletes a retired key, if there is one; whether there are more.
pub(super) async fn finish(cx: Ctx<Aws>) -> Result<bool> {
    let Some(mut root) = config::find_root(&cx).await? else { return Ok(false) };
    let Some(retired) = root.retired.first().cloned() else { return Ok(false) };
    // A key that the configuration has come back to is in use.
    if retired.access_key != root.access_key {
        match iam::delete_access_key(&cx, &root, &retired.user, &retired.access_key).await {
            Ok(()) => {}
            // The new key is not known everywhere at once.
            Err(refused @ Refused::Code { .. }) if refused.is("InvalidClientTokenId") => return Ok(false),
            Err(refused) => return Err(refused.into()),
        }
    }
    root.retired.remove(0);
    let more = !root.retired.is_empty();
    config::put_root(&cx, &root)?;
    Ok(more)
}
