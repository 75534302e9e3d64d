//! Small engines that hold the engine API to its extremes. No server registers them: tests do.
//!
//! | engine | extreme |
//! | --- | --- |
//! | [`Certificates`] | public replies in a form of their own, a literal path beside a variable one, bodies that are not JSON |
//! | [`Accounts`] | leases with an effect outside: written ahead, rolled back, renewed, revoked, revoked again when that fails |
//! | [`Secrets`] | verbs instead of paths, whose resource policies decide on is computed; another protocol's view of KV's records |

mod accounts;
mod certificates;
mod secrets;

pub use accounts::{Accounts, Database, MemoryDatabase};
pub use certificates::Certificates;
pub use secrets::Secrets;
