//! Configuration, listeners, TLS, telemetry and the registry of engines.

pub mod config;
pub mod logging;
pub mod process;
pub mod registry;
pub mod signals;
pub mod start;
pub mod telemetry;
pub mod wire;
