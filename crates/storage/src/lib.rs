//! Where ciphertext lies: the [`Store`] trait and its kinds.
//!
//! A store is one ordered map from keys to opaque values. It is read through [`Snapshot`]s, which never
//! change, and written by [`Batch`]es, which apply whole or not at all and are durable when
//! [`Store::commit`] returns. Each commit has a [`Revision`]; preconditions name the revision that the
//! writer read, so that a lost update is a [`CommitError::Conflict`] and never silent. [`Store::watch`]
//! tells every commit in order, so that caches above can follow, and says when it cannot.
//!
//! Nothing here knows what a value means or how it is sealed. Only the barrier may hold a store.
//!
//! Kinds: [`memory::Memory`] (`inmem`), for dev mode and tests; [`embedded::Embedded`] (`embedded`), the default.
//! With the feature `conformance`: the suite that every kind passes, and a store that fails on demand.

mod error;
mod key;
mod order;
mod store;
mod watch;

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod embedded;
#[cfg(any(test, feature = "conformance"))]
pub mod faults;
pub mod memory;

pub use error::{CommitError, Limit, StoreError};
pub use key::{Key, KeyError, MAX_KEY};
pub use store::{Batch, BoxFuture, Check, Entry, Expect, MAX_BATCH, Revision, Snapshot, Stats, Store, Write};
pub use watch::{Committed, Watch, WatchError};
