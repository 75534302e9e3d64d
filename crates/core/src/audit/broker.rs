//! The broker: which devices there are, and the rule that one of them must have written.

use super::device::{Delivery, Device, Fault};
use super::entry::Entry;
use super::line::{self, Kept};
use super::mask;
use super::spec::{AuditDeviceSpec, Origin, Settings};
use arc_swap::ArcSwap;
use coffer_crypto::mac::HmacKey;
use coffer_crypto::random::{self, Random};
use coffer_engine::reply::Answer;
use coffer_types::{Clock, Error, Kind, Result};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// How long a call waits for a device that does not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The request headers that lines show: name in lower case → whether its values are masked.
pub type Headers = BTreeMap<Box<str>, bool>;

/// All audit devices of this node.
pub struct Broker {
    state: ArcSwap<State>,
    /// Held while the set of devices changes.
    changing: Mutex<()>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

#[derive(Clone, Default)]
struct State {
    devices: Vec<Arc<Device>>,
    headers: Arc<Headers>,
}

/// The key of a device's HMACs: 32 random bytes, kept in the store, different for each device.
#[derive(Clone)]
pub struct Salt(Zeroizing<[u8; 32]>);

impl Salt {
    pub fn generate(random: &dyn Random) -> Self {
        Self(random::bytes(random))
    }

    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// For the store.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(super) fn key(&self) -> HmacKey {
        HmacKey::new(self.0.as_slice())
    }
}

/// A call whose first line is written. Give it to [`Broker::end`] before the reply leaves, whatever became
/// of the call.
#[must_use = "the reply must not leave before Broker::end has written its line"]
pub struct Opened(Option<Box<Begun>>);

struct Begun {
    kept: Kept,
    /// Each device with the part of the line that both lines share.
    parts: Vec<(Arc<Device>, Vec<u8>)>,
}

/// No device wrote the line: the call must not be answered. As an error it is a 503.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unaudited;

impl From<Unaudited> for Error {
    fn from(_: Unaudited) -> Self {
        Self::new(
            Kind::Unavailable,
            "no audit device could write a line for this call, so it is not answered; the server's log and sys/health say why",
        )
    }
}

/// One device as `sys/audit` lists it.
pub struct Listed {
    pub spec: AuditDeviceSpec,
    pub origin: Origin,
}

/// The state of the devices, for `sys/health` and the log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Health {
    pub devices: usize,
    /// Path and reason of each device whose last line could not be written.
    pub failing: Vec<(String, String)>,
}

impl Health {
    /// No call can be answered.
    pub fn blocked(&self) -> bool {
        self.devices > 0 && self.failing.len() == self.devices
    }
}

impl Broker {
    /// With the devices of the configuration, each with a passing salt of its own until [`Broker::set_salt`].
    /// An unusable declaration is an error that names it.
    pub fn new(clock: Arc<dyn Clock>, random: Arc<dyn Random>, configured: Vec<AuditDeviceSpec>) -> Result<Self> {
        let broker = Self { state: ArcSwap::default(), changing: Mutex::new(()), clock, random };
        for spec in configured {
            let device = broker.open(spec, Origin::Configuration, &Salt::generate(&*broker.random))?;
            broker.add(device)?;
        }
        Ok(broker)
    }

    /// Writes the line of the request to every device; fails if none could, unless there is none.
    pub async fn begin(&self, entry: &Entry<'_>) -> std::result::Result<Opened, Unaudited> {
        let Some((begun, sent)) = self.send_request(entry) else { return Ok(Opened(None)) };
        sent.settle().await?;
        Ok(Opened(Some(Box::new(begun))))
    }

    /// Writes the line of the reply, whether it is an answer or a refusal, to the devices that have the line of the request.
    /// On failure the effect stands, the client gets the error, and what was issued must be revoked.
    pub async fn end(&self, opened: Opened, outcome: std::result::Result<&Answer, &Error>) -> std::result::Result<(), Unaudited> {
        let Opened(Some(begun)) = opened else { return Ok(()) };
        self.send_response(&begun, outcome).settle().await
    }

    /// Adds a device that an operator asks for: opens it, writes a test line, and takes it into use. `salt` is
    /// the one that the store keeps with the declaration. A device that is in use as it is asked for gets the salt and
    /// nothing else: the handler that asks may be run again.
    pub async fn enable(&self, spec: AuditDeviceSpec, salt: &Salt) -> Result<()> {
        if self.state.load().same(&spec, salt) {
            return Ok(());
        }
        self.state.load().free(&spec.path)?;
        let device = self.open(spec, Origin::Api, salt)?;
        let mut test = Vec::with_capacity(256);
        line::test(self.clock.now(), &random::uuid(&*self.random), &mut test);
        let mut sent = Sent::default();
        sent.add(&device, &test);
        if sent.settle().await.is_err() {
            let reason = device.pulse.reason().unwrap_or_default();
            return Err(Error::bad_request(format!("the audit device could not write a test line: {reason}")));
        }
        self.add(device)
    }

    /// Takes a device of the store into use when the barrier opens; may be done twice. One that can't be opened is
    /// kept: it counts, shows in [`Broker::health`], and is tried again with every line. One whose path or
    /// target a device of the configuration has taken since gives way to it.
    pub fn restore(&self, spec: AuditDeviceSpec, salt: &Salt) -> Result<()> {
        let state = self.state.load();
        if state.same(&spec, salt) {
            return Ok(());
        }
        let settings = Settings::parse(&spec)?;
        if state.free(&spec.path).is_err() || state.target_taken(&settings).is_some() {
            tracing::warn!(device = spec.path, "this stored audit device gives way to one of the configuration");
            return Ok(());
        }
        self.add(Device::build(spec, settings, Origin::Api, salt, true)?)
    }

    /// Whether there was such a device. Those of the configuration are refused.
    pub fn disable(&self, path: &str) -> Result<bool> {
        let _changing = self.changing.lock();
        let mut state = State::clone(&self.state.load());
        let Some(at) = state.devices.iter().position(|d| same_path(&d.spec.path, path)) else { return Ok(false) };
        if state.devices[at].origin == Origin::Configuration {
            return Err(Error::bad_request("this audit device is declared in the configuration; remove its stanza there"));
        }
        state.devices.remove(at);
        self.state.store(Arc::new(state));
        Ok(true)
    }

    pub fn list(&self) -> Vec<Listed> {
        self.state.load().devices.iter().map(|d| Listed { spec: d.spec.clone(), origin: d.origin }).collect()
    }

    /// The HMAC that the lines of the device at `path` show for `input`.
    pub fn hash(&self, path: &str, input: &str) -> Result<String> {
        let state = self.state.load();
        let Some(device) = state.devices.iter().find(|d| same_path(&d.spec.path, path)) else {
            return Err(Error::bad_request(format!("unknown audit backend \"{}/\"", path.trim_matches('/'))));
        };
        let mut out = Vec::with_capacity(76);
        mask::hash(&device.key.load(), input.as_bytes(), &mut out);
        String::from_utf8(out).map_err(Error::internal)
    }

    /// Gives a device of the configuration the salt that the store keeps for it, once the barrier is open.
    /// Lines before that carry HMACs of a salt that nobody knows any more.
    pub fn set_salt(&self, path: &str, salt: &Salt) {
        for device in self.state.load().devices.iter().filter(|d| same_path(&d.spec.path, path)) {
            device.key.store(Arc::new(salt.key()));
        }
    }

    /// The barrier closes: the devices of the store go, those of the configuration forget their salts.
    pub fn seal(&self) {
        let _changing = self.changing.lock();
        let mut state = State::clone(&self.state.load());
        state.devices.retain(|d| d.origin == Origin::Configuration);
        for device in &state.devices {
            device.key.store(Arc::new(Salt::generate(&*self.random).key()));
        }
        state.headers = Arc::default();
        self.state.store(Arc::new(state));
    }

    /// Which request headers lines show from now on. Names are compared in lower case.
    pub fn set_headers(&self, headers: Headers) {
        let headers = headers.into_iter().map(|(name, masked)| (name.to_ascii_lowercase().into(), masked)).collect();
        let _changing = self.changing.lock();
        let mut state = State::clone(&self.state.load());
        state.headers = Arc::new(headers);
        self.state.store(Arc::new(state));
    }

    pub fn health(&self) -> Health {
        let state = self.state.load();
        let failing = state
            .devices
            .iter()
            .filter_map(|d| d.pulse.reason().map(|reason| (d.spec.path.clone(), reason.to_string())))
            .collect();
        Health { devices: state.devices.len(), failing }
    }

    /// Opens every file anew (SIGHUP). The first failure is given back; all are in [`Broker::health`].
    /// Waits for writes under way.
    pub async fn reopen(&self) -> Result<()> {
        let devices = self.state.load().devices.clone();
        let reopened = tokio::task::spawn_blocking(move || {
            let mut first = Ok(());
            for device in devices {
                if let Err(fault) = device.sink.reopen()
                    && first.is_ok()
                {
                    first = Err(Error::new(Kind::Unavailable, format!("audit device {}: {}", device.spec.path, fault.0)));
                }
            }
            first
        });
        reopened.await.map_err(Error::internal)?
    }

    /// Renders and hands over the request's line. Not async: nothing borrowed lives across an await.
    fn send_request(&self, entry: &Entry<'_>) -> Option<(Begun, Sent)> {
        let state = self.state.load();
        if state.devices.is_empty() {
            return None;
        }
        let now = self.clock.now();
        let mut sent = Sent::default();
        let mut begun = Begun { kept: Kept::of(entry), parts: Vec::with_capacity(state.devices.len()) };
        for device in &state.devices {
            let mut line = Vec::with_capacity(2048);
            line::head(false, now, &mut line);
            let start = line.len();
            line::middle(entry, &device.mask(&device.key.load()), &state.headers, &mut line);
            let end = line.len();
            line::request_end(entry.error, &mut line);
            sent.add(device, &line);
            line.truncate(end);
            line.drain(..start);
            begun.parts.push((Arc::clone(device), line));
        }
        Some((begun, sent))
    }

    fn send_response(&self, begun: &Begun, outcome: std::result::Result<&Answer, &Error>) -> Sent {
        let now = self.clock.now();
        let mut sent = Sent::default();
        for (device, middle) in &begun.parts {
            let mut line = Vec::with_capacity(middle.len() + 1024);
            line::head(true, now, &mut line);
            line.extend_from_slice(middle);
            let elide = device.settings.elide_lists;
            line::response_end(&begun.kept, outcome, &device.mask(&device.key.load()), elide, &mut line);
            sent.add(device, &line);
        }
        sent
    }

    fn open(&self, spec: AuditDeviceSpec, origin: Origin, salt: &Salt) -> Result<Arc<Device>> {
        let settings = Settings::parse(&spec)?;
        for name in spec.unknown_options() {
            tracing::warn!(device = spec.path, option = name, "audit device: unknown option ignored");
        }
        Device::build(spec, settings, origin, salt, false)
    }

    fn add(&self, device: Arc<Device>) -> Result<()> {
        let _changing = self.changing.lock();
        let mut state = State::clone(&self.state.load());
        state.free(&device.spec.path)?;
        if let Some(other) = state.target_taken(&device.settings) {
            return Err(Error::bad_request(format!("the audit device {} writes there already", other.spec.path)));
        }
        state.devices.push(device);
        self.state.store(Arc::new(state));
        Ok(())
    }
}

impl State {
    /// No device stands at `path`, above it or below it.
    fn free(&self, path: &str) -> Result<()> {
        let taken = self.devices.iter().any(|d| d.spec.path.starts_with(path) || path.starts_with(&d.spec.path));
        if taken { Err(Error::bad_request("path already in use")) } else { Ok(()) }
    }

    /// The device that writes where these settings say.
    fn target_taken(&self, settings: &Settings) -> Option<&Arc<Device>> {
        self.devices.iter().find(|d| d.settings.sink == settings.sink)
    }

    /// Gives `salt` to the device of the API that is declared exactly so, if there is one.
    fn same(&self, spec: &AuditDeviceSpec, salt: &Salt) -> bool {
        let found = self.devices.iter().find(|d| d.origin == Origin::Api && d.spec == *spec);
        if let Some(device) = found {
            device.key.store(Arc::new(salt.key()));
        }
        found.is_some()
    }
}

fn same_path(known: &str, asked: &str) -> bool {
    known.trim_end_matches('/') == asked.trim_matches('/')
}

/// A line on its way to all devices.
#[derive(Default)]
struct Sent {
    written: bool,
    waiting: Vec<Wait>,
}

struct Wait {
    device: Arc<Device>,
    /// It failed before: it is not waited for if another device wrote.
    failing: bool,
    told: oneshot::Receiver<std::result::Result<(), Fault>>,
}

impl Sent {
    fn add(&mut self, device: &Arc<Device>, line: &[u8]) {
        let failing = device.pulse.failing();
        match device.sink.submit(line) {
            Delivery::Done(Ok(())) => self.written = true,
            Delivery::Done(Err(_)) => {}
            Delivery::Waiting(told) => self.waiting.push(Wait { device: Arc::clone(device), failing, told }),
        }
    }

    /// Waits for devices that work, then, if none wrote, for the others; all together no longer than [`PATIENCE`].
    async fn settle(self) -> std::result::Result<(), Unaudited> {
        let Self { mut written, mut waiting } = self;
        if !waiting.is_empty() {
            let deadline = Instant::now() + PATIENCE;
            waiting.sort_by_key(|w| w.failing);
            for wait in waiting {
                if wait.failing && written {
                    break;
                }
                match tokio::time::timeout_at(deadline, wait.told).await {
                    Ok(Ok(result)) => written |= result.is_ok(),
                    Ok(Err(_)) => wait.device.pulse.fails(&Fault::new("the device's writer has stopped")),
                    Err(_) => wait.device.pulse.fails(&Fault::new("the device did not take a line in time")),
                }
            }
        }
        if written { Ok(()) } else { Err(Unaudited) }
    }
}
