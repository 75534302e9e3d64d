//! The server's log: lines as Vault writes them, to standard error and, where configured, a file.
//!
//! `2026-11-23T18:28:04.359Z [INFO]  core: vault is unsealed: key=value`. Only Coffer's own events are written: what
//! libraries would say of a connection at a low level may hold a token. What is absent: no secret is ever given to
//! an event in the first place; nothing here looks for any.

mod file;
mod line;

use crate::config::{Config, LogFormat, LogLevel};
use arc_swap::ArcSwap;
use file::{File, Rotation};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use time::OffsetDateTime;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

/// The log of this process.
#[derive(Clone)]
pub struct Logging {
    shared: Arc<Shared>,
}

struct Shared {
    /// The place of the level in [`LEVELS`].
    level: AtomicU8,
    /// That of the configuration, likewise.
    configured: AtomicU8,
    /// Loggers with a level of their own.
    own: ArcSwap<BTreeMap<String, u8>>,
    json: bool,
    sink: Mutex<Sink>,
}

struct Sink {
    main: Box<dyn io::Write + Send>,
    file: Option<File>,
}

const LEVELS: [LogLevel; 5] = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];

impl Logging {
    /// Starts logging as `config` says, for the whole process. Fails where the file can't be opened, or where
    /// something logs already.
    pub fn start(config: &Config) -> io::Result<Self> {
        let logging = Self::to(Box::new(io::stderr()), config)?;
        let subscriber = tracing_subscriber::registry().with(logging.layer());
        tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)?;
        Ok(logging)
    }

    /// A log that nobody writes to until its [`layer`](Self::layer) is in place.
    fn to(main: Box<dyn io::Write + Send>, config: &Config) -> io::Result<Self> {
        let rotation = Rotation {
            after: (!config.log_rotate_duration.is_zero()).then(|| config.log_rotate_duration.duration()),
            bytes: config.log_rotate_bytes,
            keep: config.log_rotate_max_files,
        };
        let file = config.log_file.as_deref().map(|path| File::open(path, rotation, OffsetDateTime::now_utc())).transpose()?;
        let shared = Shared {
            level: AtomicU8::new(rank(config.log_level)),
            configured: AtomicU8::new(rank(config.log_level)),
            own: ArcSwap::default(),
            json: config.log_format == LogFormat::Json,
            sink: Mutex::new(Sink { main, file }),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    fn layer<S: Subscriber>(&self) -> impl Layer<S> + use<S> {
        Lines(self.shared.clone())
    }

    /// Takes a new level, and opens the file again, which may have been moved away.
    pub fn reload(&self, config: &Config) {
        self.shared.configured.store(rank(config.log_level), Relaxed);
        self.set_level(config.log_level);
        let mut sink = self.shared.sink.lock();
        let failed = sink.file.as_mut().and_then(|file| file.reopen(OffsetDateTime::now_utc()).err());
        drop(sink);
        if let Some(error) = failed {
            tracing::error!(target: "server", %error, "the log file could not be opened again");
        }
    }

    pub fn set_level(&self, level: LogLevel) {
        self.shared.level.store(rank(level), Relaxed);
        tracing::callsite::rebuild_interest_cache();
    }

    /// Gives all loggers one level; without one, that of the configuration.
    pub fn set_all_levels(&self, level: Option<LogLevel>) {
        self.shared.own.store(Arc::default());
        self.set_level(level.unwrap_or_else(|| of_rank(self.shared.configured.load(Relaxed))));
    }

    /// Gives one logger a level of its own; without one, that of all.
    pub fn set_level_of(&self, logger: &str, level: Option<LogLevel>) {
        self.shared.own.rcu(|own| {
            let mut own = BTreeMap::clone(own);
            match level {
                Some(level) => own.insert(logger.to_owned(), rank(level)),
                None => own.remove(logger),
            };
            own
        });
        tracing::callsite::rebuild_interest_cache();
    }

    pub fn level(&self) -> LogLevel {
        of_rank(self.shared.level.load(Relaxed))
    }

    /// The level of one logger.
    pub fn level_of(&self, logger: &str) -> LogLevel {
        of_rank(self.shared.limit(logger))
    }
}

impl Shared {
    fn limit(&self, logger: &str) -> u8 {
        self.own.load().get(logger).copied().unwrap_or_else(|| self.level.load(Relaxed))
    }
}

fn of_rank(rank: u8) -> LogLevel {
    LEVELS[usize::from(rank).min(LEVELS.len() - 1)]
}

fn rank(level: LogLevel) -> u8 {
    match level {
        LogLevel::Error => 0,
        LogLevel::Warn => 1,
        LogLevel::Info => 2,
        LogLevel::Debug => 3,
        LogLevel::Trace => 4,
    }
}

fn rank_of(level: Level) -> u8 {
    match level {
        Level::ERROR => 0,
        Level::WARN => 1,
        Level::INFO => 2,
        Level::DEBUG => 3,
        Level::TRACE => 4,
    }
}

/// Writes events as lines.
struct Lines(Arc<Shared>);

impl<S: Subscriber> Layer<S> for Lines {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        rank_of(*metadata.level()) <= self.0.limit(metadata.target()) && metadata.module_path().is_some_and(is_ours)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let now = OffsetDateTime::now_utc();
        let line = if self.0.json { line::json(event, now) } else { line::standard(event, now) };
        let mut sink = self.0.sink.lock();
        // A log that can't be written must not stop what it tells of.
        drop(sink.main.write_all(line.as_bytes()));
        if let Some(file) = &mut sink.file {
            drop(file.write(line.as_bytes(), now));
        }
    }
}

fn is_ours(module: &str) -> bool {
    module == "coffer" || module.starts_with("coffer_") || module.starts_with("coffer::")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log(config: &Config, act: impl FnOnce(&Logging)) -> String {
        let memory = Memory::default();
        let logging = Logging::to(Box::new(memory.clone()), config).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(logging.layer()), || act(&logging));
        let bytes = memory.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn lines_look_like_vaults() {
        let text = log(&Config::default(), |_| {
            tracing::info!(target: "core", "vault is unsealed");
            tracing::warn!(target: "expiration", lease = "a/b", tries = 3, why = "two words", "not revoked");
            tracing::error!("from a module");
        });
        let lines: Vec<&str> = text.lines().collect();
        let stamp = |line: &str| line.split(' ').next().unwrap().to_owned();
        assert!(lines.iter().all(|l| stamp(l).len() == 24 && stamp(l).ends_with('Z')), "{text}");
        let rest: Vec<&str> = lines.iter().map(|l| &l[24..]).collect();
        assert_eq!(
            rest,
            [
                " [INFO]  core: vault is unsealed",
                " [WARN]  expiration: not revoked: lease=a/b tries=3 why=\"two words\"",
                " [ERROR] server.logging.tests: from a module"
            ]
        );
    }

    #[test]
    fn json_lines_are_objects() {
        let config = Config { log_format: LogFormat::Json, ..Config::default() };
        let text = log(&config, |_| tracing::info!(target: "core", path = "a\"b\n", n = 7, ok = true, "it \"is\""));
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!((&line["@level"], &line["@module"], &line["@message"]), (&"info".into(), &"core".into(), &"it \"is\"".into()));
        assert_eq!((&line["path"], &line["n"], &line["ok"]), (&"a\"b\n".into(), &7.into(), &true.into()));
        assert_eq!(line["@timestamp"].as_str().unwrap().len(), 27);
    }

    #[test]
    fn an_event_is_one_line_whatever_it_holds() {
        let text =
            log(&Config::default(), |_| tracing::info!(target: "core", path = "a\nb [INFO]  core: forged", "x\r\ny\u{1b}[31m"));
        assert_eq!(text.lines().count(), 1);
        assert!(!text.contains('\u{1b}') && !text.contains('\r'), "{text:?}");
    }

    #[test]
    fn levels_hold_and_change() {
        let text = log(&Config::default(), |logging| {
            tracing::debug!(target: "core", "unseen");
            logging.set_level(LogLevel::Debug);
            tracing::debug!(target: "core", "seen");
            tracing::trace!(target: "core", "unseen");
            assert_eq!(logging.level(), LogLevel::Debug);
            logging.set_level(LogLevel::Error);
            tracing::warn!(target: "core", "unseen");
        });
        assert!(text.contains("seen") && !text.contains("unseen"), "{text}");
    }

    #[test]
    fn a_logger_may_have_a_level_of_its_own() {
        let text = log(&Config::default(), |logging| {
            logging.set_level_of("audit", Some(LogLevel::Debug));
            tracing::debug!(target: "audit", "seen");
            tracing::debug!(target: "core", "unheard");
            assert_eq!((logging.level_of("audit"), logging.level_of("core")), (LogLevel::Debug, LogLevel::Info));
            logging.set_level_of("audit", None);
            tracing::debug!(target: "audit", "unheard");
            logging.set_level_of("core", Some(LogLevel::Error));
            tracing::info!(target: "core", "unheard");
            logging.set_all_levels(Some(LogLevel::Debug));
            tracing::debug!(target: "core", "seen");
            logging.set_all_levels(None);
            tracing::debug!(target: "core", "unheard");
            assert_eq!(logging.level_of("core"), LogLevel::Info);
        });
        assert_eq!((text.matches(": seen").count(), text.contains("unheard")), (2, false), "{text}");
    }

    #[test]
    fn libraries_are_not_heard() {
        for (module, ours) in
            [("coffer_core::seal", true), ("coffer", true), ("coffer::cli", true), ("h2::codec", false), ("cofferdam", false)]
        {
            assert_eq!(is_ours(module), ours, "{module}");
        }
    }

    #[test]
    fn the_file_gets_the_same_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("coffer.log");
        let config = Config { log_file: Some(path.clone()), ..Config::default() };
        let text = log(&config, |logging| {
            tracing::info!(target: "core", "one");
            std::fs::rename(&path, folder.path().join("moved")).unwrap();
            logging.reload(&config);
            tracing::info!(target: "core", "two");
        });
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("moved") + &read("coffer.log"), text);
        assert!(read("coffer.log").contains("two"));
        let nowhere = Config { log_file: Some(folder.path().join("none/x.log")), ..Config::default() };
        assert!(Logging::to(Box::new(io::sink()), &nowhere).is_err());
    }
}
