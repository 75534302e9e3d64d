//! Revoking tokens, and tidying what a crash could have left.

use super::TokenEngine;
use crate::leases::{end_token, end_token_keep_children};
use coffer_engine::{Ctx, Declare, NoInput, Reply, Request, TokenKind};
use coffer_types::{Error, Result, Secret};

pub(super) fn declare(d: &mut Declare<TokenEngine>) {
    d.at("revoke").about("Revoke a token and all that it made.").write(revoke);
    d.at("revoke-self").about("Revoke the caller's own token and all that it made.").write(revoke_self);
    d.at("revoke-accessor").about("Revoke a token by its accessor.").write(revoke_accessor);
    d.at("revoke-orphan").about("Revoke a token; what it made lives on as orphans.").sudo().write(revoke_orphan);
    d.at("tidy").about("Remove accessors and child entries whose token is gone.").write(tidy);
}

/// Revoke a token and all that it made.
#[derive(Request)]
struct Revoke {
    /// The token.
    token: Option<Secret<String>>,
}

/// Revoke a token by its accessor.
#[derive(Request)]
struct RevokeAccessor {
    /// The accessor.
    accessor: Option<String>,
}

fn text(token: Option<&Secret<String>>) -> Result<&str> {
    token.map(|t| t.expose().as_str()).filter(|t| !t.is_empty()).ok_or_else(|| Error::bad_request("missing token ID"))
}

async fn revoke(cx: Ctx<TokenEngine>, ask: Revoke) -> Result<Reply> {
    let live = cx.engine.live()?;
    match super::find(&cx, text(ask.token.as_ref())?).await? {
        None => {}
        Some(token) if token.kind == TokenKind::Batch => return Err(Error::bad_request("batch tokens cannot be revoked")),
        Some(token) => end_token(&live, &cx.view, &token, cx.now()).await?,
    }
    Ok(Reply::empty())
}

async fn revoke_self(cx: Ctx<TokenEngine>, _: NoInput) -> Result<Reply> {
    let live = cx.engine.live()?;
    let token = super::find(&cx, super::own_text(&cx)?).await?.ok_or_else(Error::denied)?;
    if token.kind == TokenKind::Batch {
        return Err(Error::bad_request("batch tokens cannot be revoked"));
    }
    end_token(&live, &cx.view, &token, cx.now()).await?;
    Ok(Reply::empty())
}

async fn revoke_accessor(cx: Ctx<TokenEngine>, ask: RevokeAccessor) -> Result<Reply> {
    let accessor = ask.accessor.filter(|a| !a.is_empty()).ok_or_else(|| Error::bad_request("missing accessor"))?;
    let live = cx.engine.live()?;
    match live.tokens.by_accessor(&cx.view, &accessor).await? {
        None => Ok(Reply::empty().status(200).warn("No token found with this accessor")),
        Some(token) => {
            end_token(&live, &cx.view, &token, cx.now()).await?;
            Ok(Reply::empty())
        }
    }
}

async fn revoke_orphan(cx: Ctx<TokenEngine>, ask: Revoke) -> Result<Reply> {
    let live = cx.engine.live()?;
    match super::find(&cx, text(ask.token.as_ref())?).await? {
        None => return Err(Error::bad_request("token to revoke not found")),
        Some(token) if token.kind == TokenKind::Batch => return Err(Error::bad_request("batch tokens cannot be revoked")),
        Some(token) => end_token_keep_children(&live, &cx.view, &token, cx.now()).await?,
    }
    Ok(Reply::empty())
}

async fn tidy(cx: Ctx<TokenEngine>, _: NoInput) -> Result<Reply> {
    crate::tidy::start(&cx.engine.core()?, crate::tidy::What::Tokens)
}
