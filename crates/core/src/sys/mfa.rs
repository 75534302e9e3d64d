//! `sys/mfa/validate`: the second half of a login that needs a second factor.

use super::Sys;
use crate::identity::Identity;
use crate::identity::mfa::{self, Codes, PendingLogin};
use crate::settle::HandingOut;
use coffer_engine::{Ctx, Declare, Reply, Request};
use coffer_types::{Error, Json, Result};

pub(super) fn declare(d: &mut Declare<Sys>) {
    d.at("mfa/validate").about("Give a login its second factor.").public().write(validate);
}

/// Give a login its second factor.
#[derive(Request)]
struct Validate {
    /// The id that the login gave.
    #[field(default)]
    mfa_request_id: String,
    /// By id of the method, the codes.
    #[field(default)]
    mfa_payload: Json,
}

async fn validate(cx: Ctx<Sys>, ask: Validate) -> Result<Reply> {
    let core = cx.engine.core()?;
    let live = core.unsealed()?;
    let (view, now, store) = (&cx.view, cx.now(), &live.identities.store);
    if ask.mfa_request_id.is_empty() {
        return Err(Error::bad_request("missing request ID"));
    }
    let invalid = || Error::bad_request("invalid request ID");
    let codes = codes(&ask.mfa_payload)?;
    let pending = PendingLogin::find(view, &ask.mfa_request_id, now).await?.ok_or_else(invalid)?;
    let router = live.router.load_full();
    let mounted = router.by_uuid(&pending.mount).ok_or_else(invalid)?;
    let entity = store.entity_or_heir(view, &pending.entity).await?.filter(|e| !e.disabled).ok_or_else(Error::denied)?;
    let identity = Identity::load(store, view, entity).await?;
    // As things are now: an enforcement that was taken away since is not asked for, a new one is.
    if let Some(required) = mfa::required(view, &mounted.mount.accessor, &mounted.mount.kind, Some(&identity)).await? {
        let call = cx.call().ok_or_else(|| Error::internal("a validation without a call"))?;
        required.check(&live, view, call, &identity, &codes, now).await?;
    }
    pending.end(view, &ask.mfa_request_id);
    let handing_out = HandingOut { core: &core, live: &live, view, mounted, path: &pending.path, now };
    let (auth, warnings) = handing_out.token(pending.login, Some(&identity)).await?;
    Ok(Reply::auth(auth).warnings(warnings))
}

fn codes(payload: &Json) -> Result<Codes> {
    let invalid = || Error::bad_request("invalid mfa payload");
    let payload = match payload {
        Json::Null => return Ok(Codes::new()),
        Json::Object(payload) => payload,
        _ => return Err(invalid()),
    };
    let mut codes = Codes::new();
    for (method, given) in payload.iter() {
        let given = given.as_array().ok_or_else(invalid)?;
        let texts = given.iter().map(|code| code.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
        codes.insert(method.to_owned(), texts.ok_or_else(invalid)?);
    }
    Ok(codes)
}
