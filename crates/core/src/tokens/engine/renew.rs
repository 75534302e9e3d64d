//! Renewing tokens.

use super::TokenEngine;
use crate::core::Core;
use crate::identity::Identity;
use crate::identity::login::on_renewal;
use crate::leases::record;
use crate::leases::revoke::housekeeping;
use crate::live::Unsealed;
use crate::router::Mounted;
use crate::tokens::issue::{add_identity, auth, renewed};
use crate::tokens::record::TokenRecord;
use coffer_engine::{Ctx, Declare, Login, Reply, Request, TokenKind, View};
use coffer_types::{Error, Kind, Result, Secret, Span};
use std::sync::Arc;

pub(super) fn declare(d: &mut Declare<TokenEngine>) {
    d.at("renew").about("Renew a token.").write(renew);
    d.at("renew-self").about("Renew the caller's own token.").write(renew_self);
    d.at("renew-accessor").about("Renew a token by its accessor.").write(renew_accessor);
}

/// Renew a token.
#[derive(Request)]
struct Renew {
    /// The token; the caller's own where it is left out.
    token: Option<Secret<String>>,
    /// By how much.
    #[field(default)]
    increment: Span,
}

/// Renew the caller's own token.
#[derive(Request)]
struct RenewSelf {
    /// By how much.
    #[field(default)]
    increment: Span,
}

/// Renew a token by its accessor.
#[derive(Request)]
struct RenewAccessor {
    /// The accessor.
    accessor: Option<String>,
    /// By how much.
    #[field(default)]
    increment: Span,
}

async fn renew(cx: Ctx<TokenEngine>, ask: Renew) -> Result<Reply> {
    match ask.token.as_ref().map(|t| t.expose().as_str()).filter(|t| !t.is_empty()) {
        None => renew_self(cx, RenewSelf { increment: ask.increment }).await,
        Some(text) => {
            let token = super::find(&cx, text).await?.ok_or_else(|| Error::bad_request("token not found"))?;
            run(&cx, token, text, ask.increment).await
        }
    }
}

async fn renew_self(cx: Ctx<TokenEngine>, ask: RenewSelf) -> Result<Reply> {
    let text = super::own_text(&cx)?.to_owned();
    let token = super::find(&cx, &text).await?.ok_or_else(Error::denied)?;
    run(&cx, token, &text, ask.increment).await
}

async fn renew_accessor(cx: Ctx<TokenEngine>, ask: RenewAccessor) -> Result<Reply> {
    let accessor = ask.accessor.filter(|a| !a.is_empty()).ok_or_else(|| Error::bad_request("missing accessor"))?;
    let token = super::find_accessor(&cx, &accessor).await?;
    run(&cx, token, "", ask.increment).await
}

async fn run(cx: &Ctx<TokenEngine>, token: TokenRecord, text: &str, increment: Span) -> Result<Reply> {
    let (record, granted, warnings) = match renew_record(cx, token, increment).await {
        // Vault's methods say nothing where who logged in is gone: no error, and no longer life.
        Err(error) if error.kind() == Kind::NotFound => return Ok(Reply::empty()),
        renewed => renewed?,
    };
    let mut auth = auth(text, &record, granted.secs());
    let live = cx.engine.live()?;
    // As this call leaves it, which the cache can't know yet.
    let store = &live.identities.store;
    if let Some(entity) = store.entity_or_heir(&cx.view, &record.entity_id).await? {
        add_identity(&mut auth, &Identity::load(store, &cx.view, entity).await?);
    }
    Ok(Reply::auth(auth).warnings(warnings))
}

/// Renews a token in this transaction; its auth method is asked first whether its login still stands.
pub(crate) async fn renew_record<E>(
    cx: &Ctx<E>,
    mut token: TokenRecord,
    increment: Span,
) -> Result<(TokenRecord, Span, Vec<String>)>
where
    E: HasCore,
{
    if token.kind == TokenKind::Batch {
        return Err(Error::bad_request("batch tokens cannot be renewed"));
    }
    let core = cx.engine.core()?;
    let live = core.unsealed()?;
    let Some(mut lease) = record::get(&cx.view, &record::token_lease_id(&token)).await? else {
        return Err(Error::bad_request("invalid lease ID"));
    };
    if !token.renewable {
        return Err(Error::bad_request("lease is not renewable"));
    }
    let router = live.router.load_full();
    let mounted = router.by_accessor(&token.mount_accessor).or_else(|| router.at("auth/token/"));
    let (default, max) = mounted.map_or((core.config.default_lease_ttl, core.config.max_lease_ttl), |m| {
        (m.mount.default_lease_ttl, m.mount.max_lease_ttl)
    });
    if let Some(before) = token.login.take() {
        let said = before.group_aliases.clone();
        let login = still_stands(cx, &core, &live, mounted, before).await?;
        if login.group_aliases != said {
            on_renewal(&live.identities.store, &cx.view, &token.entity_id, &token.mount_accessor, &login.group_aliases).await?;
        }
        token.login = Some(login);
    }
    let max = match &token.login {
        Some(login) if !login.max_ttl.is_zero() => login.max_ttl.min(max),
        _ => max,
    };
    let (granted, warnings) = match &token.login {
        // What the role says now counts.
        Some(login) => {
            token.period = login.period;
            let asked = TokenRecord { ttl: if login.ttl.is_zero() { default } else { login.ttl }, ..token.clone() };
            renewed(&asked, increment, default, max, cx.now())
        }
        None => renewed(&token, increment, default, max, cx.now()),
    };
    if granted.is_zero() {
        return Err(Error::bad_request("past the max TTL, cannot renew"));
    }
    token.expires = cx.now().plus(granted.duration());
    token.last_renewed = cx.now();
    live.tokens.update(&cx.view, &token)?;
    lease.expires = token.expires;
    lease.last_renewed = token.last_renewed;
    record::move_to(&cx.view, &mut lease, token.expires)?;
    Ok((token, granted, warnings))
}

/// Asks the method that a login came from. Not found: who logged in is gone.
async fn still_stands<E>(
    cx: &Ctx<E>,
    core: &Arc<Core>,
    live: &Unsealed,
    mounted: Option<&Arc<Mounted>>,
    login: Login,
) -> Result<Login> {
    let (Some(mounted), Some(txn)) = (mounted, cx.view.transaction()) else { return Ok(login) };
    let mut inner = housekeeping(core, live, &txn, mounted, cx.now());
    if let Some(inner) = Arc::get_mut(&mut inner) {
        inner.call = cx.shared_call();
    }
    let view = View::new(txn, mounted.prefix.clone());
    match mounted.engine.renew_login(login.clone(), view, inner) {
        Some(answer) => answer.await,
        None => Ok(login),
    }
}

/// An engine of the server itself.
pub(crate) trait HasCore {
    fn core(&self) -> Result<std::sync::Arc<crate::core::Core>>;
}

impl HasCore for TokenEngine {
    fn core(&self) -> Result<std::sync::Arc<crate::core::Core>> {
        Self::core(self)
    }
}

impl HasCore for crate::sys::Sys {
    fn core(&self) -> Result<std::sync::Arc<crate::core::Core>> {
        Self::core(self)
    }
}
