//! `sys/capabilities…`: what a token may do on paths.

use super::Sys;
use crate::leases::end::standing;
use crate::policies::{Compiled, compile_named};
use crate::tokens::TokenRecord;
use crate::tokens::authenticate::{entity, principal};
use coffer_engine::{Ctx, Declare, Reply, Request};
use coffer_types::{Error, Kind, Object, Result, Secret};

pub(super) fn declare(d: &mut Declare<Sys>) {
    d.at("capabilities").about("What a token may do on paths.").plain(PLAIN).write(of_token);
    d.at("capabilities-self").about("What the caller may do on paths.").plain(PLAIN).write(of_self);
    d.at("capabilities-accessor").about("What the token of an accessor may do on paths.").plain(PLAIN).write(of_accessor);
}

const PLAIN: &[&str] = &["path", "paths"];

/// What a token may do on paths.
#[derive(Request)]
struct Ask {
    /// The token; not for -self and -accessor.
    token: Option<Secret<String>>,
    /// The accessor; for -accessor.
    accessor: Option<String>,
    /// The paths.
    #[field(default)]
    paths: Vec<String>,
    /// The older name of paths.
    #[field(default)]
    path: Vec<String>,
}

impl Ask {
    fn paths(&self) -> Result<&[String]> {
        match (self.paths.is_empty(), self.path.is_empty()) {
            (false, _) => Ok(&self.paths),
            (true, false) => Ok(&self.path),
            (true, true) => Err(Error::bad_request("paths must be supplied")),
        }
    }
}

fn list(error: &str) -> Error {
    Error::bad_request(format!("1 error occurred:\n\t* {error}\n\n"))
}

async fn of_token(cx: Ctx<Sys>, ask: Ask) -> Result<Reply> {
    let paths = ask.paths()?;
    let live = cx.engine.core()?.unsealed()?;
    let text = ask.token.as_ref().map(|t| t.expose().as_str()).unwrap_or_default();
    let token = if text.starts_with(crate::tokens::batch::PREFIX) {
        live.batch.open(text)
    } else {
        live.tokens.get(&cx.view, text).await?
    };
    let token = standing(&live.tokens, &cx.view, token.filter(|t| t.is_live(cx.now())), cx.now()).await?;
    let token = token.ok_or_else(|| list("invalid token"))?;
    answer(&cx, &token, paths).await
}

async fn of_accessor(cx: Ctx<Sys>, ask: Ask) -> Result<Reply> {
    let paths = ask.paths()?;
    let live = cx.engine.core()?.unsealed()?;
    let token = live.tokens.by_accessor(&cx.view, ask.accessor.as_deref().unwrap_or_default()).await?;
    let token = standing(&live.tokens, &cx.view, token.filter(|t| t.is_live(cx.now())), cx.now()).await?;
    answer(&cx, &token.ok_or_else(|| list("invalid accessor"))?, paths).await
}

async fn of_self(cx: Ctx<Sys>, ask: Ask) -> Result<Reply> {
    let principal = cx.principal().ok_or_else(Error::denied)?;
    let live = cx.engine.core()?.unsealed()?;
    let compiled = live.compiled(principal, cx.now()).await?;
    Ok(shown(&compiled, ask.paths()?))
}

async fn answer(cx: &Ctx<Sys>, token: &TokenRecord, paths: &[String]) -> Result<Reply> {
    let live = cx.engine.core()?.unsealed()?;
    // The token of an entity that is disabled or gone is as good as none.
    let identity = entity(&live, token).await.map_err(|e| if e.kind() == Kind::Denied { list("invalid token") } else { e })?;
    let principal = principal(token, identity.as_deref());
    let compiled = compile_named(&cx.view, &principal.policies, identity.as_deref(), cx.now()).await?;
    Ok(shown(&compiled, paths))
}

fn shown(compiled: &Compiled, paths: &[String]) -> Reply {
    let mut shown = Object::new();
    for path in paths {
        let capabilities: Vec<&str> = compiled.capabilities(path.trim_start_matches('/'));
        if paths.len() == 1 {
            shown.insert("capabilities", capabilities.clone());
        }
        shown.insert(path.as_str(), capabilities);
    }
    Reply::data(shown).mirrored()
}
