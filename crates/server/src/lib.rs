//! Configuration, listeners, TLS, telemetry and the registry of engines.

pub mod config;
pub mod signals;
pub mod wire;
