//! The server without its wires: barrier, seal, mounts, router, tokens, policies, leases, audit, wrapping, quotas,
//! `sys`, and the one way through them, [`pipeline`].
//!
//! What is absent: HTTP, configuration files, any engine but the server's own (`sys/`, `auth/token/`). Nothing here
//! keeps state that is not in the store: what is in memory is a cache of it or the progress of an unseal.

pub mod audit;
pub mod audit_store;
pub mod barrier;
pub mod core;
pub mod decide;
pub mod housekeeping;
pub mod identity;
pub mod in_flight;
pub mod intents;
pub mod leases;
pub mod listing;
pub mod live;
pub mod lockout;
pub mod mounts;
pub mod outside;
pub mod pipeline;
pub mod policies;
pub mod policy;
pub mod process;
pub mod quotas;
pub mod registry;
pub mod router;
pub mod seal;
pub mod settings;
pub mod settle;
pub mod sys;
pub mod tidy;
pub mod tokens;
pub mod upkeep;
pub mod wrapping;

pub use crate::core::{Core, CoreConfig, Mode};
pub use registry::Registry;
