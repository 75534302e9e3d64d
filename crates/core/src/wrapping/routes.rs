//! `sys/wrapping/…`.

use super::{Wrapped, find, invalid, show, store};
use crate::leases::end_token;
use crate::sys::Sys;
use coffer_engine::reply::Answer;
use coffer_engine::{Credential, Ctx, Declare, NoInput, Reply, Request};
use coffer_types::{Error, Object, Result, Secret};

pub(crate) fn declare(d: &mut Declare<Sys>) {
    d.at("wrapping/wrap").about("Wrap what the body holds.").write(wrap);
    // Public: the wrapping token is the right to these, given in the body or as the call's own token.
    d.at("wrapping/lookup").about("What a wrapping token opens, and until when.").public().read(lookup_own).write(lookup);
    d.at("wrapping/unwrap").about("Open a wrapping token, once.").public().write(unwrap);
    d.at("wrapping/rewrap").about("Exchange a wrapping token for a new one.").public().write(rewrap);
}

/// Wrap what the body holds.
#[derive(Request)]
struct Wrap {
    /// Any object.
    #[field(rest)]
    data: Object,
}

/// A wrapping token.
#[derive(Request)]
struct Given {
    /// The wrapping token; the call's own where it is left out.
    token: Option<Secret<String>>,
}

/// The data comes back; the pipeline wraps it as it wraps every reply that is asked to be.
async fn wrap(cx: Ctx<Sys>, ask: Wrap) -> Result<Reply> {
    if cx.call().is_none_or(|c| c.wrap.is_none()) {
        return Err(Error::bad_request("endpoint requires response wrapping to be used"));
    }
    Ok(Reply::data(ask.data))
}

fn given<'a>(cx: &'a Ctx<Sys>, ask: &'a Given) -> Result<&'a str> {
    if let Some(text) = ask.token.as_ref().map(|t| t.expose().as_str()).filter(|t| !t.is_empty()) {
        return Ok(text);
    }
    match cx.call().map(|c| &c.credential) {
        Some(Credential::Token(text)) => Ok(text.expose()),
        _ => Err(invalid()),
    }
}

async fn lookup_own(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    lookup(cx, Given { token: None }).await
}

async fn lookup(cx: Ctx<Sys>, ask: Given) -> Result<Reply> {
    let live = cx.engine.core()?.unsealed()?;
    let (_, wrapped) = find(&live, &cx.view, given(&cx, &ask)?, cx.now()).await?;
    Ok(Reply::data(show(&wrapped)))
}

async fn take(cx: &Ctx<Sys>, ask: &Given) -> Result<Wrapped> {
    let live = cx.engine.core()?.unsealed()?;
    let (token, wrapped) = find(&live, &cx.view, given(cx, ask)?, cx.now()).await?;
    end_token(&live, &cx.view, &token, cx.now()).await?;
    Ok(wrapped)
}

async fn unwrap(cx: Ctx<Sys>, ask: Given) -> Result<Reply> {
    Ok(Reply::from_answer(take(&cx, &ask).await?.into_answer()))
}

async fn rewrap(cx: Ctx<Sys>, ask: Given) -> Result<Reply> {
    let mut wrapped = take(&cx, &ask).await?;
    let core = cx.engine.core()?;
    let live = core.unsealed()?;
    wrapped.created = cx.now();
    let accessor = wrapped.accessor();
    let answer: Answer = store(&core, &live, &cx.view, wrapped, accessor, cx.now()).await?;
    Ok(Reply::from_answer(answer))
}
