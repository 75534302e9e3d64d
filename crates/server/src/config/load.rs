//! Configuration files, directories of them, and what overrides them.

use super::setting::{Finding, Level, Reading};
use super::tree::{Entry, Node};
use super::{Config, source};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A configuration that can be started.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    /// Notes and warnings; no errors.
    pub findings: Vec<Finding>,
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
}

/// Why there is no configuration.
#[derive(Debug)]
pub enum LoadError {
    /// A file or directory could not be read.
    File {
        /// As it was given.
        path: PathBuf,
        /// What was tried (`stat`, `open`) and on what.
        tried: (&'static str, PathBuf),
        cause: std::io::Error,
    },
    /// A file is neither HCL nor JSON.
    Text { path: PathBuf, line: u32, message: String },
    /// What the files say can't be done. Holds every finding, at least one an error.
    Refused(Vec<Finding>),
}

/// One value from outside the files, which wins over theirs.
pub struct Override {
    /// What to call it in messages: `the variable VAULT_API_ADDR`, `the flag -log-level`.
    pub origin: String,
    /// The key of the top level.
    pub key: &'static str,
    pub value: String,
}

/// Keys that the environment overrides, and the rest of the variable's name after `COFFER_`, `VAULT_` or `BAO_`.
pub const ENVIRONMENT: [(&str, &str); 7] = [
    ("api_addr", "API_ADDR"),
    ("cluster_addr", "CLUSTER_ADDR"),
    ("cluster_name", "CLUSTER_NAME"),
    ("log_level", "LOG_LEVEL"),
    ("log_format", "LOG_FORMAT"),
    ("ui", "UI"),
    ("disable_mlock", "DISABLE_MLOCK"),
];

/// The prefixes of variables; the first that is set counts.
pub const PREFIXES: [&str; 3] = ["COFFER_", "VAULT_", "BAO_"];

/// Reads and merges files, and directories' `*.hcl` and `*.json` in the order of their names, as Vault merges them: a later file
/// wins, switches that any turns on are on, the longest lease time counts, listeners and audit devices add up.
///
/// # Errors
/// Everything that keeps the server from starting, found in one run.
pub fn load(paths: &[PathBuf], overrides: &[Override]) -> Result<Loaded, LoadError> {
    load_files(paths, overrides, Whole::Yes)
}

/// Whether the configuration must be enough to start a server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whole {
    Yes,
    No,
}

fn load_files(paths: &[PathBuf], overrides: &[Override], whole: Whole) -> Result<Loaded, LoadError> {
    let mut files = Vec::new();
    for path in paths {
        for file in expand(path)? {
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    let mut entries = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(file).map_err(|cause| fail(file, "open", file, cause))?;
        entries.extend(read(&file.display().to_string(), &text)?);
    }
    let mut loaded = assemble(entries, overrides, whole)?;
    loaded.files = files;
    Ok(loaded)
}

/// As [`load`], for a server that brings storage and listeners of its own (`-dev`): files need not name any.
///
/// # Errors
/// As for [`load`].
pub fn load_over_dev(paths: &[PathBuf], overrides: &[Override]) -> Result<Loaded, LoadError> {
    load_files(paths, overrides, Whole::No)
}

/// What flags and environment say alone.
///
/// # Errors
/// As for [`load`].
pub fn load_overrides(overrides: &[Override]) -> Result<Loaded, LoadError> {
    assemble(Vec::new(), overrides, Whole::No)
}

/// As [`load`], for one text.
///
/// # Errors
/// As for [`load`].
pub fn load_text(name: &str, text: &str, overrides: &[Override]) -> Result<Loaded, LoadError> {
    assemble(read(name, text)?, overrides, Whole::Yes)
}

/// What the environment overrides.
pub fn environment(variable: impl Fn(&str) -> Option<String>) -> Vec<Override> {
    let find = |key: &'static str, rest: &str| {
        PREFIXES.iter().find_map(|prefix| {
            let name = format!("{prefix}{rest}");
            let value = variable(&name).filter(|value| !value.is_empty())?;
            Some(Override { origin: format!("the variable {name}"), key, value })
        })
    };
    ENVIRONMENT.iter().filter_map(|(key, rest)| find(key, rest)).collect()
}

fn read(name: &str, text: &str) -> Result<Vec<Entry>, LoadError> {
    source::parse(&Arc::from(name), text).map_err(|error| LoadError::Text {
        path: PathBuf::from(name),
        line: error.pos.line,
        message: if error.repeats_text() {
            // A value without its quotes may be a secret, and the parser would repeat it.
            "what stands here is neither a key nor a value; are quotes missing?".to_owned()
        } else {
            error.message().to_owned()
        },
    })
}

fn assemble(mut entries: Vec<Entry>, overrides: &[Override], whole: Whole) -> Result<Loaded, LoadError> {
    entries.extend(overrides.iter().map(|given| {
        let node = Node::text(&given.origin, &given.value);
        Entry { name: given.key.to_owned(), at: node.at.clone(), node }
    }));
    let mut cx = Reading::default();
    let config = Config::from_entries(&entries, &mut cx);
    if let Some(config) = &config {
        config.check(&mut cx);
        if whole == Whole::Yes {
            config.check_whole(&mut cx);
        }
    }
    match config {
        Some(config) if cx.findings.iter().all(|finding| finding.level < Level::Error) => {
            Ok(Loaded { config, findings: cx.findings, files: Vec::new() })
        }
        _ => Err(LoadError::Refused(cx.findings)),
    }
}

/// A file is itself; a directory is its configuration files. What editors leave behind is passed over.
fn expand(path: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let found = std::fs::metadata(path).map_err(|cause| fail(path, "stat", path, cause))?;
    if !found.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    let listing = std::fs::read_dir(path).map_err(|cause| fail(path, "open", path, cause))?;
    for entry in listing {
        let entry = entry.map_err(|cause| fail(path, "open", path, cause))?.path();
        let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let extension = entry.extension().and_then(std::ffi::OsStr::to_str);
        if !name.starts_with('.') && !name.starts_with('#') && matches!(extension, Some("hcl" | "json")) && !entry.is_dir() {
            files.push(entry);
        }
    }
    files.sort();
    Ok(files)
}

fn fail(path: &Path, tried: &'static str, on: &Path, cause: std::io::Error) -> LoadError {
    LoadError::File { path: path.to_owned(), tried: (tried, on.to_owned()), cause }
}

impl LoadError {
    /// Notes and warnings that came with the refusal.
    pub fn findings(&self) -> &[Finding] {
        if let Self::Refused(findings) = self { findings } else { &[] }
    }
}

/// One line for each error.
impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, tried: (verb, on), cause } => {
                write!(f, "error loading configuration from {}: {verb} {}: {}", path.display(), on.display(), reason(cause))
            }
            Self::Text { path, line, message } => {
                write!(f, "error loading configuration from {}: line {line}: {message}", path.display())
            }
            Self::Refused(findings) => {
                let mut errors = findings.iter().filter(|finding| finding.level == Level::Error);
                if let Some(first) = errors.next() {
                    write!(f, "error loading configuration: {}: {}", first.at, first.text)?;
                }
                errors.try_for_each(|error| write!(f, "\nerror loading configuration: {}: {}", error.at, error.text))
            }
        }
    }
}

/// The system's reason in the words that other programs use for it.
fn reason(cause: &std::io::Error) -> String {
    match cause.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::NotADirectory => "not a directory".to_owned(),
        std::io::ErrorKind::InvalidData => "the file is not UTF-8 text".to_owned(),
        _ => cause.to_string(),
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Self::File { cause, .. } = self { Some(cause) } else { None }
    }
}
