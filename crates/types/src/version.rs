//! Two versions, side by side: the level of Vault's API that Coffer keeps, and Coffer's own.

/// The level of HashiCorp Vault's HTTP API that Coffer answers at. Real clients parse it from
/// `sys/health`, `sys/seal-status` and the second word of `-version` to decide what they may send.
pub const API_LEVEL: &str = "1.19.5";

/// Coffer's own version.
pub const COFFER: &str = env!("CARGO_PKG_VERSION");

/// When this version was released: what `commit_date` says to clients that parse it.
pub const RELEASED: &str = "2026-11-23T00:00:00Z";
