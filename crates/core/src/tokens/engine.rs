//! `auth/token/`: the token store, called like an auth method.

mod create;
mod lookup;
mod renew;
mod revoke;
mod roles;

pub(crate) use renew::renew_record;
pub(crate) use roles::Page;

use crate::core::Core;
use crate::leases::end::standing;
use crate::live::Unsealed;
use crate::tokens::record::TokenRecord;
use coffer_engine::{Credential, Ctx, Declare, Engine, Mount};
use coffer_types::{Error, Result};
use std::sync::{Arc, Weak};

/// The engine at `auth/token/`. Its view is the whole barrier.
pub struct TokenEngine {
    core: Weak<Core>,
}

impl TokenEngine {
    pub fn new(core: Weak<Core>) -> Self {
        Self { core }
    }

    pub fn core(&self) -> Result<Arc<Core>> {
        self.core.upgrade().ok_or_else(|| Error::internal("the server is shutting down"))
    }

    pub fn live(&self) -> Result<Unsealed> {
        self.core()?.unsealed()
    }
}

impl Engine for TokenEngine {
    const KIND: &'static str = "token";

    fn open(_: &Mount) -> Result<Self> {
        Err(Error::internal("auth/token is mounted by the server itself"))
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Tokens: create, look up, renew, revoke.");
        create::declare(d);
        lookup::declare(d);
        renew::declare(d);
        revoke::declare(d);
        roles::declare(d);
    }
}

/// The text of the caller's own token.
pub(crate) fn own_text<E>(cx: &Ctx<E>) -> Result<&str> {
    match cx.call().map(|c| &c.credential) {
        Some(Credential::Token(text)) => Ok(text.expose()),
        _ => Err(Error::denied()),
    }
}

/// The record of a token's text, service or batch, that has not ended.
async fn find(cx: &Ctx<TokenEngine>, text: &str) -> Result<Option<TokenRecord>> {
    let live = cx.engine.live()?;
    let found =
        if text.starts_with(super::batch::PREFIX) { live.batch.open(text) } else { live.tokens.get(&cx.view, text).await? };
    standing(&live.tokens, &cx.view, found, cx.now()).await
}

async fn find_accessor(cx: &Ctx<TokenEngine>, accessor: &str) -> Result<TokenRecord> {
    let live = cx.engine.live()?;
    let found = live.tokens.by_accessor(&cx.view, accessor).await?;
    let found = standing(&live.tokens, &cx.view, found, cx.now()).await?;
    found.ok_or_else(|| Error::bad_request("1 error occurred:\n\t* invalid accessor\n\n"))
}
