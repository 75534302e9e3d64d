//! `sys/`: the server, called like an engine. One file a topic; all of it goes through the pipeline.

mod absent;
mod audit_devices;
mod capabilities;
mod config;
mod explain;
mod internal;
mod locked_users;
mod metrics;
mod mfa;
mod mounts;
mod plugins;
mod policies;
mod quotas;
mod raw;
mod remount;
mod specs;
pub(crate) mod status;
mod tools;

pub(crate) use mounts::finish_removals;

use crate::core::Core;
use coffer_engine::{Declare, Engine, Mount};
use coffer_types::{Error, Result};
use std::sync::{Arc, Weak};

/// The engine at `sys/`. Its view is the whole barrier.
pub struct Sys {
    core: Weak<Core>,
}

impl Sys {
    pub fn new(core: Weak<Core>) -> Self {
        Self { core }
    }

    pub fn core(&self) -> Result<Arc<Core>> {
        self.core.upgrade().ok_or_else(|| Error::internal("the server is shutting down"))
    }
}

impl Engine for Sys {
    const KIND: &'static str = "system";

    fn open(_: &Mount) -> Result<Self> {
        Err(Error::internal("sys is mounted by the server itself"))
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("The server's own operations: mounts, policies, leases, audit, seal.");
        crate::leases::routes::declare(d);
        crate::wrapping::routes::declare(d);
        crate::seal::routes::declare(d);
        mounts::declare(d);
        policies::declare(d);
        capabilities::declare(d);
        audit_devices::declare(d);
        internal::declare(d);
        remount::declare(d);
        status::declare(d);
        specs::declare(d);
        explain::declare(d);
        tools::declare(d);
        plugins::declare(d);
        quotas::declare(d);
        config::declare(d);
        metrics::declare(d);
        mfa::declare(d);
        locked_users::declare(d);
        raw::declare(d);
        absent::declare(d);
    }
}
