//! What the system tells the process, and what the process asks of the system.

use std::io;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// SIGHUP: read configuration and certificates again, reopen files.
    Reload,
    /// SIGTERM or SIGINT: end calls in flight, then the process.
    Stop,
}

/// The signals of the process. From the moment of its making they no longer kill it.
pub struct Signals {
    hangup: Stream,
    terminate: Stream,
    interrupt: Stream,
}

impl Signals {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.hangup.recv() => Signal::Reload,
        }
    }
}

/// Raises how many files the process may have open to what the system allows; gives back how many that is.
pub fn raise_file_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(_) => limit.current.unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn signals_arrive() {
        let mut signals = Signals::new().unwrap();
        let me = rustix::process::getpid();
        for (sent, meaning) in [
            (rustix::process::Signal::HUP, Signal::Reload),
            (rustix::process::Signal::TERM, Signal::Stop),
            (rustix::process::Signal::INT, Signal::Stop),
        ] {
            rustix::process::kill_process(me, sent).unwrap();
            assert_eq!(signals.next().await, meaning);
        }
    }

    #[test]
    fn the_file_limit_is_raised() {
        let limit = raise_file_limit();
        assert!(rustix::process::getrlimit(rustix::process::Resource::Nofile).current.is_none_or(|now| now == limit));
    }
}
