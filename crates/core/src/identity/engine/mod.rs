//! `identity/`: entities, aliases and groups, called like an engine.

mod alias;
mod enforcement;
mod entity;
mod group;
mod group_alias;
mod lookup;
mod merge;
mod mfa;
mod show;

use super::mfa::pending::sweep;
use super::store::IdentityStore;
use crate::core::Core;
use crate::live::Unsealed;
use crate::tokens::issue::normal_policies;
use crate::tokens::record::ROOT_POLICY;
use coffer_engine::{Ctx, Declare, Engine, Mount};
use coffer_types::{Error, Result};
use std::sync::{Arc, Weak};

/// The engine at `identity/`. Its view is the whole barrier, since logins and tokens act on the same records.
pub struct IdentityEngine {
    core: Weak<Core>,
}

impl IdentityEngine {
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

impl Engine for IdentityEngine {
    const KIND: &'static str = "identity";

    fn open(_: &Mount) -> Result<Self> {
        Err(Error::internal("identity is mounted by the server itself"))
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Who principals are: entities, their aliases, groups, second factors.");
        entity::declare(d);
        merge::declare(d);
        alias::declare(d);
        group::declare(d);
        group_alias::declare(d);
        lookup::declare(d);
        mfa::declare(d);
        enforcement::declare(d);
        d.beat(|cx: Ctx<Self>| async move { sweep(&cx.view, cx.now()).await });
    }
}

/// A handler's context with what every handler here needs.
struct Of {
    cx: Ctx<IdentityEngine>,
    core: Arc<Core>,
    live: Unsealed,
}

impl Of {
    fn new(cx: Ctx<IdentityEngine>) -> Result<Self> {
        let core = cx.engine.core()?;
        let live = core.unsealed()?;
        Ok(Self { cx, core, live })
    }

    fn store(&self) -> &IdentityStore {
        &self.live.identities.store
    }

    fn new_id(&self) -> String {
        coffer_crypto::random::uuid(&*self.core.random)
    }

    /// Is there a mount with this accessor, and is it local to its cluster?
    fn mount_is_local(&self, accessor: &str) -> Result<bool> {
        let router = self.live.router.load();
        let mounted = router.by_accessor(accessor);
        mounted.map(|m| m.record.local).ok_or_else(|| Error::bad_request(format!("invalid mount accessor {accessor:?}")))
    }
}

/// Policies that an entity or a group is to have. Whoever may write here may hand out any policy but root: that comes from
/// a root token alone.
fn assignable(policies: &[String]) -> Result<Vec<String>> {
    let policies = normal_policies(policies, false);
    if policies.iter().any(|p| p == ROOT_POLICY) {
        return Err(Error::bad_request("policies cannot contain root"));
    }
    Ok(policies)
}
