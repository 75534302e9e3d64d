//! One device in use: its settings, its key, where its lines go, and whether they arrive.

use super::broker::Salt;
use super::file::{FileOutput, StdoutOutput};
use super::group::Group;
use super::mask::Mask;
use super::queue::Queue;
use super::spec::{AuditDeviceSpec, Origin, Settings, SinkSettings};
use arc_swap::ArcSwap;
use coffer_crypto::mac::HmacKey;
use coffer_types::{Error, Result};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::oneshot;

pub(super) struct Device {
    pub(super) spec: AuditDeviceSpec,
    pub(super) settings: Settings,
    pub(super) origin: Origin,
    /// Changes when the barrier opens and closes.
    pub(super) key: ArcSwap<HmacKey>,
    pub(super) sink: Box<dyn Sink>,
    pub(super) pulse: Arc<Pulse>,
}

/// Where a device's lines go.
pub(super) trait Sink: Send + Sync {
    /// Takes one line, which ends in its newline. Never waits: what can't be done at once is promised.
    fn submit(&self, line: &[u8]) -> Delivery;
    /// Opens anew what can be opened anew. Blocking.
    fn reopen(&self) -> Result<(), Fault>;
}

/// What became of a line.
pub(super) enum Delivery {
    Done(Result<(), Fault>),
    Waiting(oneshot::Receiver<Result<(), Fault>>),
}

/// Why a line was not written, in words for the log and `sys/health`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fault(pub(super) Arc<str>);

impl Fault {
    pub(super) fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }
}

impl Device {
    /// Opens what the declaration names. `later`: a file that can't be opened now is opened with the first line,
    /// as sockets always are.
    pub(super) fn build(
        spec: AuditDeviceSpec,
        settings: Settings,
        origin: Origin,
        salt: &Salt,
        later: bool,
    ) -> Result<Arc<Self>> {
        let pulse = Arc::new(Pulse::new(&spec.path));
        let failed = |e: std::io::Error| Error::bad_request(format!("audit device {}: {e}", spec.path));
        let sink: Box<dyn Sink> = match &settings.sink {
            SinkSettings::File { path, mode } => {
                let output = match FileOutput::open(path, *mode) {
                    Ok(output) => output,
                    Err(e) if later => {
                        pulse.fails(&Fault::new(e.to_string()));
                        FileOutput::closed(path, *mode)
                    }
                    Err(e) => return Err(failed(e)),
                };
                Box::new(Group::new(output, Arc::clone(&pulse)))
            }
            SinkSettings::Stdout => Box::new(Group::new(StdoutOutput::open().map_err(failed)?, Arc::clone(&pulse))),
            SinkSettings::Remote { target, patience } => {
                Box::new(Queue::start(target.clone(), *patience, Arc::clone(&pulse)).map_err(failed)?)
            }
        };
        Ok(Arc::new(Self { spec, settings, origin, key: ArcSwap::from_pointee(salt.key()), sink, pulse }))
    }

    pub(super) fn mask<'k>(&self, key: &'k HmacKey) -> Mask<'k> {
        Mask { key, raw: self.settings.raw, accessors: self.settings.mask_accessors }
    }
}

/// Whether a device works, by its last line. Changes are logged, not every failure.
pub(super) struct Pulse {
    path: String,
    failing: AtomicBool,
    reason: Mutex<Option<Fault>>,
}

impl Pulse {
    pub(super) fn new(path: &str) -> Self {
        Self { path: path.to_owned(), failing: AtomicBool::new(false), reason: Mutex::new(None) }
    }

    pub(super) fn works(&self) {
        if self.failing.load(Ordering::Relaxed) && self.failing.swap(false, Ordering::Relaxed) {
            *self.reason.lock() = None;
            tracing::info!(device = self.path, "audit device writes again");
        }
    }

    pub(super) fn fails(&self, fault: &Fault) {
        metrics::counter!("coffer_audit_lines_failed", "device" => self.path.clone()).increment(1);
        *self.reason.lock() = Some(fault.clone());
        if !self.failing.swap(true, Ordering::Relaxed) {
            tracing::error!(device = self.path, reason = &*fault.0, "audit device can't write");
        }
    }

    pub(super) fn failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Why the last line was not written; `None` if it was.
    pub(super) fn reason(&self) -> Option<Arc<str>> {
        self.failing().then(|| self.reason.lock().as_ref().map_or_else(|| "".into(), |f| f.0.clone()))
    }
}
