//! Writing lines from many tasks without a channel hop: whoever finds the output idle writes its own line where
//! it stands; lines that come meanwhile are gathered and written by it in one go. A writer that turns out
//! slow is moved to a thread that may block, so that the runtime's own never wait for a disk twice.

use super::device::{Delivery, Fault, Pulse, Sink};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// A write that takes longer marks the output as slow.
const SLOW: Duration = Duration::from_millis(20);
/// Bytes that may wait. Beyond, a line is refused at once.
const MAX_PENDING: usize = 16 << 20;
/// Rounds of others' lines that a task writes before it hands the rest to a thread.
const ROUNDS: usize = 4;

/// Where lines go, one caller at a time. Blocking.
pub(super) trait Output: Send + 'static {
    /// Writes whole lines. On failure, how many bytes of them are known to stand in the output nevertheless.
    fn write(&mut self, lines: &[u8]) -> Result<(), (usize, io::Error)>;
    fn reopen(&mut self) -> io::Result<()>;
}

/// An output that many tasks write to.
pub(super) struct Group<O>(Arc<Shared<O>>);

struct Shared<O> {
    queue: Mutex<Queue>,
    output: Mutex<O>,
    slow: AtomicBool,
    pulse: Arc<Pulse>,
}

#[derive(Default)]
struct Queue {
    /// Somebody is writing, and looks here again before leaving.
    busy: bool,
    lines: Vec<u8>,
    /// Where each line ends in `lines`, and who waits for it.
    waiters: Vec<(usize, oneshot::Sender<Result<(), Fault>>)>,
}

impl<O: Output> Group<O> {
    pub(super) fn new(output: O, pulse: Arc<Pulse>) -> Self {
        Self(Arc::new(Shared { queue: Mutex::default(), output: Mutex::new(output), slow: AtomicBool::new(false), pulse }))
    }
}

impl<O: Output> Sink for Group<O> {
    fn submit(&self, line: &[u8]) -> Delivery {
        self.0.submit(line)
    }

    /// Once the write under way is done.
    fn reopen(&self) -> Result<(), Fault> {
        let result = self.0.output.lock().reopen();
        result.map_err(|e| self.0.failed(Fault::new(e.to_string())))
    }
}

impl<O: Output> Shared<O> {
    /// Writes `line` (which ends in its newline) or leaves it to who is writing.
    fn submit(self: &Arc<Self>, line: &[u8]) -> Delivery {
        let slow = self.slow.load(Ordering::Relaxed);
        let mut queue = self.queue.lock();
        if queue.busy || slow {
            if !queue.lines.is_empty() && queue.lines.len() + line.len() > MAX_PENDING {
                return Delivery::Done(Err(self.failed(Fault::new("too many lines wait for a slow device"))));
            }
            let (tell, told) = oneshot::channel();
            queue.lines.extend_from_slice(line);
            let end = queue.lines.len();
            queue.waiters.push((end, tell));
            let idle = !std::mem::replace(&mut queue.busy, true);
            drop(queue);
            if idle {
                self.hand_over();
            }
            return Delivery::Waiting(told);
        }
        queue.busy = true;
        drop(queue);
        let result = self.write(line).map_err(|(_, fault)| fault);
        self.drain(ROUNDS);
        Delivery::Done(result)
    }

    /// Writes what is gathered until nothing is. Only who has set `busy` may call this.
    fn drain(self: &Arc<Self>, rounds: usize) {
        for round in 0.. {
            let mut queue = self.queue.lock();
            if queue.lines.is_empty() {
                queue.busy = false;
                return;
            }
            if round == rounds {
                drop(queue);
                return self.hand_over();
            }
            let lines = std::mem::take(&mut queue.lines);
            let waiters = std::mem::take(&mut queue.waiters);
            drop(queue);
            let (written, fault) = match self.write(&lines) {
                Ok(()) => (lines.len(), None),
                Err((written, fault)) => (written, Some(fault)),
            };
            for (end, tell) in waiters {
                let result = fault.clone().filter(|_| end > written).map_or(Ok(()), Err);
                // Who has given up waiting was already told that the line is not there.
                drop(tell.send(result));
            }
        }
    }

    fn hand_over(self: &Arc<Self>) {
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                let group = Arc::clone(self);
                // The thread ends by itself when nothing is left to write.
                drop(runtime.spawn_blocking(move || group.drain(usize::MAX)));
            }
            Err(_) => self.drain(usize::MAX),
        }
    }

    fn write(&self, lines: &[u8]) -> Result<(), (usize, Fault)> {
        let started = Instant::now();
        let result = self.output.lock().write(lines);
        let slow = started.elapsed() > SLOW;
        if slow != self.slow.load(Ordering::Relaxed) {
            self.slow.store(slow, Ordering::Relaxed);
        }
        match result {
            Ok(()) => {
                self.pulse.works();
                Ok(())
            }
            Err((written, error)) => Err((written, self.failed(Fault::new(error.to_string())))),
        }
    }

    fn failed(&self, fault: Fault) -> Fault {
        self.pulse.fails(&fault);
        fault
    }
}
