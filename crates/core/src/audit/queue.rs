//! Devices that another program reads: sockets and syslog. One task per device owns the connection; calls hand
//! it their lines through a bounded queue and are told what became of them. While the other side does not
//! answer, lines are refused at once instead of each waiting its turn to fail.

use super::device::{Delivery, Fault, Pulse, Sink};
use super::remote::{Connection, Target};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

const MAX_LINES: usize = 1024;
const MAX_BYTES: usize = 16 << 20;
/// The shortest pause between two attempts to reach the other side.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Queue {
    lines: mpsc::Sender<Line>,
    /// Bytes that wait.
    held: Arc<AtomicUsize>,
    pulse: Arc<Pulse>,
}

struct Line {
    text: Box<[u8]>,
    tell: oneshot::Sender<Result<(), Fault>>,
}

impl Queue {
    /// Starts the device's task; it ends with the queue. Needs a runtime.
    pub(super) fn start(target: Target, patience: Duration, pulse: Arc<Pulse>) -> io::Result<Self> {
        let runtime = tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
        let (lines, waiting) = mpsc::channel(MAX_LINES);
        let held = Arc::new(AtomicUsize::new(0));
        let sender = Sender { target, patience, pulse: Arc::clone(&pulse), held: Arc::clone(&held), connection: None };
        drop(runtime.spawn(sender.run(waiting)));
        Ok(Self { lines, held, pulse })
    }

    fn refuse(&self, why: &'static str) -> Delivery {
        let fault = Fault::new(why);
        self.pulse.fails(&fault);
        Delivery::Done(Err(fault))
    }
}

impl Sink for Queue {
    fn submit(&self, line: &[u8]) -> Delivery {
        let before = self.held.fetch_add(line.len(), Ordering::Relaxed);
        if before > 0 && before + line.len() > MAX_BYTES {
            self.held.fetch_sub(line.len(), Ordering::Relaxed);
            return self.refuse("too many lines wait for a slow device");
        }
        let (tell, told) = oneshot::channel();
        match self.lines.try_send(Line { text: line.into(), tell }) {
            Ok(()) => Delivery::Waiting(told),
            Err(_) => {
                self.held.fetch_sub(line.len(), Ordering::Relaxed);
                self.refuse("too many lines wait for a slow device")
            }
        }
    }

    fn reopen(&self) -> Result<(), Fault> {
        Ok(())
    }
}

/// The device's task.
struct Sender {
    target: Target,
    /// For one attempt to connect or to write.
    patience: Duration,
    pulse: Arc<Pulse>,
    held: Arc<AtomicUsize>,
    connection: Option<Connection>,
}

impl Sender {
    async fn run(mut self, mut waiting: mpsc::Receiver<Line>) {
        // Until then the other side is not asked again.
        let mut pause: Option<(Instant, Fault)> = None;
        while let Some(Line { text, tell }) = waiting.recv().await {
            let result = match &pause {
                Some((until, fault)) if Instant::now() < *until => Err(fault.clone()),
                _ => {
                    let started = Instant::now();
                    let result = self.deliver(&text).await;
                    pause = result.as_ref().err().map(|fault| {
                        // As long as the attempt took, so that a device that hangs costs at most half the time.
                        (Instant::now() + started.elapsed().max(PAUSE), fault.clone())
                    });
                    result
                }
            };
            self.held.fetch_sub(text.len(), Ordering::Relaxed);
            match &result {
                Ok(()) => self.pulse.works(),
                Err(fault) => self.pulse.fails(fault),
            }
            // Who has given up waiting was already told that the line is not there.
            drop(tell.send(result));
        }
    }

    /// Over the open connection; over a new one if that turns out dead, as it may have died since the last line.
    async fn deliver(&mut self, line: &[u8]) -> Result<(), Fault> {
        let attempt = async {
            if let Some(mut open) = self.connection.take()
                && open.alive()
                && open.send(line).await.is_ok()
            {
                return Ok(open);
            }
            let mut fresh = self.target.connect().await?;
            fresh.send(line).await?;
            Ok::<_, io::Error>(fresh)
        };
        match timeout(self.patience, attempt).await {
            Ok(Ok(connection)) => {
                self.connection = Some(connection);
                Ok(())
            }
            Ok(Err(e)) => Err(Fault::new(format!("{}: {e}", self.target))),
            // What was sent of the line is cut off with its connection.
            Err(_) => Err(Fault::new(format!("{}: no answer in {:?}", self.target, self.patience))),
        }
    }
}
