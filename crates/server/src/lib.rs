//! Configuration, listeners, TLS, telemetry and the registry of engines.

pub mod config;
