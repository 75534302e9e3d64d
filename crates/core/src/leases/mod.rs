//! Leases: what ends by itself. Each is a record under its id, an entry in an index by time, and one under the token
//! that it belongs to. Nothing of it is kept in memory, so start-up and size do not grow with their number.

pub mod expire;
pub mod record;
pub mod revoke;
pub mod routes;

pub use record::{LeaseRecord, Subject, register, register_token};
pub use revoke::end_token;
