//! Configuration, listeners, TLS, telemetry and the registry of engines.

pub mod config;
pub mod logging;
pub mod signals;
pub mod telemetry;
pub mod wire;
