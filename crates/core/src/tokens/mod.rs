//! Tokens: what a principal holds.
//!
//! A service token is a record under the HMAC of its text: the store never holds the text. A batch token is a
//! sealed record that the client carries. Accessors name service tokens without giving their rights.

pub mod authenticate;
pub mod batch;
pub mod engine;
pub mod issue;
pub mod record;

pub use authenticate::{Authenticated, Presented, authenticate};
pub use record::{TokenRecord, TokenStore};
