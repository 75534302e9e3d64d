//! Identity: who a principal is, whatever it logged in with.
//!
//! An entity is one person or program; its aliases are the names that auth methods know it by; groups give policies to
//! many. All of it stands in the store ([`record`], [`store`]); a login finds or makes its entity in its own transaction
//! ([`login`]); what a token's entity adds to its policies is kept ready by [`cache`], which follows the commits.
//!
//! The format and the rules: docs/design/identity.md.

pub mod cache;
pub mod engine;
pub mod login;
pub mod mfa;
pub mod oidc;
pub mod record;
pub mod store;

pub use cache::{Identities, Identity};
pub use engine::IdentityEngine;
pub use record::{Alias, Entity, Group, GroupKind, Membership};
pub use store::IdentityStore;
