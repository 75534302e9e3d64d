//! The life of a server process: start, serve, reload on SIGHUP, stop on SIGTERM.

use super::certificate::DevCertificate;
use super::open::{Opened, Prepared, Sources};
use super::plan::{Plan, ServerOptions};
use super::{StartError, banner, dev, solo};
use crate::config::{Finding, Level, Listener};
use crate::logging::Logging;
use crate::process::Handles;
use crate::signals::{Signal, Signals, raise_file_limit};
use crate::telemetry::Metrics;
use crate::wire::{self, Bound, Defaults, Wire};
use coffer_core::leases::expire;
use coffer_core::{Core, Mode};
use coffer_crypto::memory::{Hardening, harden_process};
use coffer_types::Object;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long calls in flight may take to end when the server stops.
const GRACE: Duration = Duration::from_secs(10);

/// Where the server speaks to the person who started it, and what it knows of them.
pub struct Console<'a> {
    pub out: &'a mut dyn Write,
    /// Whether a person reads `out` as it is written: then secrets are shown once, else they are left in private files.
    pub terminal: bool,
    /// A variable of the environment.
    pub variable: &'a (dyn Fn(&str) -> Option<String> + Sync),
}

/// Starts a server and serves until it is told to stop.
///
/// The exit status is 0 after SIGTERM or SIGINT, and 1 where it did not start; then `out` says why.
pub fn run(options: ServerOptions, console: &mut Console<'_>) -> u8 {
    match start(options, console) {
        Ok(()) => 0,
        Err(error) => {
            console.say(&format!("{error}\n"));
            1
        }
    }
}

impl Console<'_> {
    /// Writes; nobody may be reading any more, and that is no reason not to serve.
    fn say(&mut self, text: &str) {
        self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()).unwrap_or_default();
    }
}

fn start(options: ServerOptions, console: &mut Console<'_>) -> Result<(), StartError> {
    let plan = Plan::make(options, console.variable)?;
    let hardening = harden_process(lock_all(&plan));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|cause| StartError::Io { what: "the runtime could not be started".to_owned(), cause })?;
    runtime.block_on(live(plan, &hardening, console))
}

/// Says where the program went wrong. What a panic says beyond a fixed text may hold a value, and so a secret: it is left out.
fn tell_panic(info: &std::panic::PanicHookInfo<'_>) {
    let place = info.location().map_or("an unknown place".to_owned(), |at| format!("{}:{}", at.file(), at.line()));
    let what = info.payload().downcast_ref::<&'static str>().copied().unwrap_or("(its text is not shown)");
    tracing::error!(target: "core", %place, "panic: {what}");
}

/// All memory is locked where that can't make a later allocation fail; keys are locked one by one in any case.
fn lock_all(plan: &Plan) -> bool {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock).current;
    plan.mode == Mode::Configured && !plan.config.disable_mlock && limit.is_none()
}

async fn live(mut plan: Plan, hardening: &Hardening, console: &mut Console<'_>) -> Result<(), StartError> {
    let logging =
        Logging::start(&plan.config).map_err(|cause| StartError::Io { what: "the log could not be opened".to_owned(), cause })?;
    std::panic::set_hook(Box::new(tell_panic));
    let metrics = Metrics::start(&plan.config.telemetry, &hostname()).map_err(|error| StartError::Usage(error.to_string()))?;
    if let Some(metrics) = metrics.clone() {
        tokio::spawn(metrics.upkeep());
    }
    tell(&plan.findings);
    tell_hardening(hardening);
    let files = raise_file_limit();
    tracing::debug!(target: "core", files, "files that may be open");
    // Watched from here on, so that a signal during the start is not lost and does not end it half-way.
    let signals = Signals::new().map_err(|cause| StartError::Io { what: "signals can't be watched".to_owned(), cause })?;
    let certificate = dev_certificate(&mut plan)?;
    let sources = Sources { process: Arc::new(Handles { logging: logging.clone(), metrics }), ..Sources::default() };
    let prepared = Prepared::new(&plan, sources, console.variable).await?;
    // Bound before anything is initialised: a port that is taken must not leave a half-told first start behind.
    let defaults = defaults(&plan);
    let (bound, addresses) = bind(&plan, &defaults).await?;
    let opened = prepared.finish(&plan).await?;
    let address = addresses.first().map_or("", String::as_str);
    let left = leave(&plan, &opened, address, certificate.as_ref(), console)?;
    let pid_file = plan.config.pid_file.as_deref().map(PidFile::write).transpose()?;
    // Ends by itself when the core is gone.
    tokio::spawn(expire::run(Arc::downgrade(&opened.core)));
    let wire = Wire::start(bound, &opened.core, &opened.core.random, defaults);
    console.say(&banner::configuration(&plan, &addresses));
    console.say(&introduce(&plan, &opened, &left, certificate.as_ref(), address));
    until_stopped(&plan, &opened.core, &wire, &logging, signals).await;
    console.say("==> Coffer shutdown triggered\n");
    if !wire.stop(GRACE).await {
        tracing::warn!(target: "core", "calls were still in flight after {} s and were cut off", GRACE.as_secs());
    }
    opened.core.seal_now().await;
    if let Err(error) = opened.store.close().await {
        tracing::error!(target: "storage", %error, "the store did not close cleanly");
    }
    drop(pid_file);
    Ok(())
}

fn dev_certificate(plan: &mut Plan) -> Result<Option<DevCertificate>, StartError> {
    let Some(options) = plan.dev.as_ref().filter(|options| options.tls) else { return Ok(None) };
    let Some(listener) = plan.config.listener.first_mut() else { return Ok(None) };
    let host = match &listener.bind {
        crate::config::Bind::Tcp { host, .. } => host.clone(),
        crate::config::Bind::Unix(_) => String::new(),
    };
    let unique = coffer_crypto::random::uuid(&coffer_crypto::random::SystemRandom);
    let made = DevCertificate::make(options.tls_cert_dir.as_deref(), &host, &options.tls_san, &unique)?;
    listener.keys.tls_cert_file = Some(made.certificate.clone());
    listener.keys.tls_key_file = Some(made.key.clone());
    Ok(Some(made))
}

fn defaults(plan: &Plan) -> Defaults {
    let duration = plan.config.default_max_request_duration;
    Defaults {
        max_request_duration: (!duration.is_zero()).then(|| duration.duration()),
        hostname: plan.config.enable_response_header_hostname.then(hostname),
    }
}

fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Binds every listener; their addresses are the real ones, also where any port was asked for.
async fn bind(plan: &Plan, defaults: &Defaults) -> Result<(Vec<Bound>, Vec<String>), StartError> {
    let mut bound = Vec::new();
    let mut addresses = Vec::new();
    for listener in &plan.config.listener {
        let one = wire::bind(listener, defaults).await.map_err(StartError::Listen)?;
        addresses.push(one.address().map_or_else(|| listener.address(), |address| address.to_string()));
        bound.push(one);
    }
    Ok((bound, addresses))
}

/// What was left in files, and where.
#[derive(Default)]
struct Left {
    /// `-dev`: the root token, for the command line.
    dev_token: Option<PathBuf>,
    /// Without configuration and without a terminal: root token and recovery key.
    keys: Option<(PathBuf, PathBuf)>,
}

/// Leaves the first keys where they belong. Before anything is answered: whoever sees the server up finds them.
fn leave(
    plan: &Plan,
    opened: &Opened,
    address: &str,
    certificate: Option<&DevCertificate>,
    console: &Console<'_>,
) -> Result<Left, StartError> {
    let Some(first) = &opened.first else { return Ok(Left::default()) };
    if let Some(options) = &plan.dev {
        if let Some(path) = &options.cluster_json {
            write_cluster_json(path, address, first, certificate)
                .map_err(|cause| StartError::Io { what: format!("-dev-cluster-json: {}", path.display()), cause })?;
        }
        let home = (console.variable)("HOME").map(PathBuf::from).filter(|home| home.is_absolute() && !options.no_store_token);
        let dev_token = home.and_then(|home| match dev::store_token(&home, &first.root_token) {
            Ok(path) => Some(path),
            Err(error) => {
                tracing::warn!(target: "core", %error, "the root token could not be left in {}", home.display());
                None
            }
        });
        return Ok(Left { dev_token, keys: None });
    }
    let Some(places) = plan.places.as_ref().filter(|_| !console.terminal) else { return Ok(Left::default()) };
    let failed = |path: &Path| {
        let what = format!(
            "the server was initialised, and its keys could not be left in {}; move {} away to begin anew",
            path.display(),
            places.data.display()
        );
        move |cause| StartError::Io { what, cause }
    };
    let token = solo::leave(&places.root_token, &first.root_token).map_err(failed(&places.root_token))?;
    let key = solo::leave(&places.recovery_key, &first.key).map_err(failed(&places.recovery_key))?;
    Ok(Left { dev_token: None, keys: Some((token, key)) })
}

/// Tells the person what they need to begin.
fn introduce(plan: &Plan, opened: &Opened, left: &Left, certificate: Option<&DevCertificate>, address: &str) -> String {
    let mut text = plan.places.as_ref().map_or(String::new(), |places| banner::solo(places, address));
    if let Some(first) = &opened.first {
        text.push_str(&match (&plan.dev, &left.keys) {
            (Some(_), _) => banner::dev(plan, address, first, certificate, left.dev_token.as_deref()),
            (None, Some((token, key))) => banner::left(token, key),
            (None, None) => banner::shown_once(first),
        });
    }
    let (sealed, initialized) = (opened.core.is_sealed(), opened.core.seal.is_initialized());
    text.push_str(banner::needs_operator(plan.mode, sealed, initialized).unwrap_or_default());
    text
}

/// Addresses and token for a test that started this server.
fn write_cluster_json(
    path: &Path,
    address: &str,
    first: &super::open::FirstKeys,
    certificate: Option<&DevCertificate>,
) -> io::Result<()> {
    let scheme = if certificate.is_some() { "https" } else { "http" };
    let node = Object::new().with("APIAddress", format!("{scheme}://{address}"));
    let authority = certificate.map_or(String::new(), |certificate| certificate.authority.display().to_string());
    let document = Object::new()
        .with("Nodes", vec![coffer_types::Json::from(node)])
        .with("CACertPath", authority)
        .with("RootToken", first.root_token.expose().as_str());
    let mut options = std::fs::OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create(true).truncate(true), 0o600);
    options.open(path)?.write_all(&coffer_types::Json::from(document).to_bytes())
}

/// Serves until SIGTERM or SIGINT; SIGHUP reloads.
async fn until_stopped(plan: &Plan, core: &Core, wire: &Wire<Arc<Core>>, logging: &Logging, mut signals: Signals) {
    loop {
        match signals.next().await {
            Signal::Stop => return,
            Signal::Reload => reload(plan, core, wire, logging).await,
        }
    }
}

/// Takes what may change under a running server: log level, certificates and the listeners' rules; audit files are opened anew.
/// A configuration that does not read changes nothing.
async fn reload(plan: &Plan, core: &Core, wire: &Wire<Arc<Core>>, logging: &Logging) {
    tracing::info!(target: "core", "reload triggered");
    match plan.reread() {
        Ok(None) => {
            logging.reload(&plan.config);
            replace_listeners(wire, &plan.config.listener);
        }
        Ok(Some(fresh)) => {
            logging.reload(&fresh.config);
            tell(&fresh.findings);
            if !same_places(&plan.config.listener, &fresh.config.listener) {
                tracing::warn!(target: "config", "listeners that are new, gone or moved wait for a restart");
            }
            replace_listeners(wire, &fresh.config.listener);
        }
        Err(error) => tracing::error!(target: "core", %error, "the configuration was not reloaded"),
    }
    tracing::debug!(target: "core", level = logging.level().as_str(), "log level after the reload");
    // Whatever the files say now, a rotated audit file must be let go of.
    if let Err(error) = core.audit.reopen().await {
        tracing::error!(target: "audit", %error, "an audit device could not be opened anew");
    }
}

/// Whether both listen in the same places.
fn same_places(now: &[Listener], then: &[Listener]) -> bool {
    let within =
        |some: &[Listener], others: &[Listener]| some.iter().all(|one| others.iter().any(|other| other.bind == one.bind));
    within(now, then) && within(then, now)
}

fn replace_listeners(wire: &Wire<Arc<Core>>, listeners: &[Listener]) {
    for error in wire.reload(listeners) {
        tracing::error!(target: "core", %error, "a listener keeps what it had");
    }
}

fn tell(findings: &[Finding]) {
    for finding in findings {
        let (at, text) = (&finding.at, &finding.text);
        match finding.level {
            Level::Note => tracing::info!(target: "config", "{at}: {text}"),
            Level::Warning => tracing::warn!(target: "config", "{at}: {text}"),
            Level::Error => tracing::error!(target: "config", "{at}: {text}"),
        }
    }
}

fn tell_hardening(hardening: &Hardening) {
    if let Err(error) = &hardening.dumps_off {
        tracing::warn!(target: "core", %error, "core dumps could not be turned off: a crash may write keys to the disk");
    }
    if let Some(Err(error)) = &hardening.memory_locked {
        tracing::warn!(target: "core", %error, "memory could not be locked as a whole; keys are locked one by one");
    }
}

/// Holds the process id while the server runs.
struct PidFile(PathBuf);

impl PidFile {
    fn write(path: &Path) -> Result<Self, StartError> {
        std::fs::write(path, format!("{}\n", std::process::id()))
            .map_err(|cause| StartError::Io { what: format!("the pid file {} could not be written", path.display()), cause })?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(target: "core", path = %self.0.display(), %error, "the pid file could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_that_moved_are_noticed() {
        let at = |port| Listener::loopback("127.0.0.1", port);
        assert!(same_places(&[at(1), at(2)], &[at(2), at(1)]));
        assert!(!same_places(&[at(1)], &[at(1), at(2)]));
        assert!(!same_places(&[at(1), at(2)], &[at(1)]));
        assert!(!same_places(&[at(1)], &[at(2)]));
    }

    #[test]
    fn a_pid_file_goes_with_its_server_and_a_bad_place_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let file = PidFile::write(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().trim(), std::process::id().to_string());
        drop(file);
        assert!(!path.exists());
        assert!(PidFile::write(&dir.path().join("none/pid")).is_err());
    }
}
