//! `auth/token/`: the token store, called like an auth method.

use crate::core::Core;
use coffer_engine::{Declare, Engine, Mount};
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
}

impl Engine for TokenEngine {
    const KIND: &'static str = "token";

    fn open(_: &Mount) -> Result<Self> {
        Err(Error::internal("auth/token is mounted by the server itself"))
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Tokens: create, look up, renew, revoke.");
    }
}
