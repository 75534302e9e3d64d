//! HashiCorp Vault's HTTP API.
//!
//! Sources: the recorded calls under `clients/golden`, and <https://developer.hashicorp.com/vault/api-docs>.

mod body;
mod decode;
mod encode;
mod path;
mod query;
mod refusal;

pub use body::BodyLimits;
pub use decode::{DecodeContext, decode};
pub use encode::{Rendering, encode, status};
pub(crate) use path::is_clean;
pub use refusal::Refusal;
