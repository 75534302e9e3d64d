//! The process as the API sees it: the levels of its log, its metrics.

use crate::config::LogLevel;
use crate::logging::Logging;
use crate::telemetry::Metrics;
use coffer_core::process::Process;
use coffer_types::Result;
use std::fmt;
use tracing::Level;

/// What the core may see and change of this process.
pub struct Handles {
    pub logging: Logging,
    pub metrics: Option<Metrics>,
}

impl fmt::Debug for Handles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handles")
    }
}

impl Process for Handles {
    fn prometheus(&self) -> Option<String> {
        self.metrics.as_ref().map(Metrics::render)
    }

    fn level(&self, logger: &str) -> Level {
        match self.logging.level_of(logger) {
            LogLevel::Trace => Level::TRACE,
            LogLevel::Debug => Level::DEBUG,
            LogLevel::Info => Level::INFO,
            LogLevel::Warn => Level::WARN,
            LogLevel::Error => Level::ERROR,
        }
    }

    fn set_level(&self, logger: Option<&str>, level: Option<Level>) -> Result<()> {
        let level = level.map(|level| match level {
            Level::TRACE => LogLevel::Trace,
            Level::DEBUG => LogLevel::Debug,
            Level::INFO => LogLevel::Info,
            Level::WARN => LogLevel::Warn,
            Level::ERROR => LogLevel::Error,
        });
        match logger {
            Some(logger) => self.logging.set_level_of(logger, level),
            None => self.logging.set_all_levels(level),
        }
        Ok(())
    }
}
