//! The process around the core, as far as the API shows it: its log's levels and its metrics.

use coffer_types::{Error, Kind, Result};
use std::fmt::Debug;
use tracing::Level;

/// The loggers: every event of the server names one of them.
pub const LOGGERS: [&str; 8] = ["audit", "config", "core", "expiration", "http", "rollback", "server", "storage"];

/// What the process lets the API see and change.
pub trait Process: Send + Sync + Debug {
    /// All metrics in the text form of Prometheus, if they are kept.
    fn prometheus(&self) -> Option<String>;
    /// The level of one of [`LOGGERS`].
    fn level(&self, logger: &str) -> Level;
    /// Sets the level of one logger or of all; without a level, back to what the configuration says. Until the next start.
    fn set_level(&self, logger: Option<&str>, level: Option<Level>) -> Result<()>;
}

/// A core without a process around it: a test's.
#[derive(Debug)]
pub struct NoProcess;

impl Process for NoProcess {
    fn prometheus(&self) -> Option<String> {
        None
    }

    fn level(&self, _: &str) -> Level {
        Level::INFO
    }

    fn set_level(&self, _: Option<&str>, _: Option<Level>) -> Result<()> {
        Err(Error::new(Kind::NotImplemented, "this server has no log"))
    }
}
