//! What a connection is doing and since when, so that one that does nothing, or does it too slowly, is closed.
//!
//! A connection waits for a request's headers, has calls in flight, or is idle between requests. Requests only note
//! the moment; one timer a connection looks at it now and then, so that no request pays for a timer of its own.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::Instant;

/// How long a connection may take. `None` is without limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Timeouts {
    /// From the first byte of a request (or the connection's start) to the end of its headers.
    pub(super) header: Option<Duration>,
    /// From the headers to the end of the body.
    pub(super) body: Option<Duration>,
    /// While the client takes no byte of a reply.
    pub(super) write: Option<Duration>,
    /// Between requests.
    pub(super) idle: Option<Duration>,
}

impl Timeouts {
    /// How often to look: as often as the shortest limit, so that what begins in between is seen in time.
    fn tick(&self) -> Duration {
        let shortest = [self.header, self.write, self.idle].into_iter().flatten().min();
        shortest.map_or(RARELY, |limit| limit.max(Duration::from_millis(20)))
    }
}

#[derive(Debug)]
pub(super) struct Activity {
    start: Instant,
    /// Milliseconds from `start` at which the present wait began.
    since: AtomicU64,
    /// Bytes of a request have come whose headers are not whole.
    header: AtomicBool,
    in_flight: AtomicU32,
    /// HTTP/2: bytes come for many reasons, so they start no request.
    multiplexed: AtomicBool,
    /// One more than the millisecond since which no byte could be written; 0 if it can.
    blocked: AtomicU64,
}

/// What the timer finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Look again after this time at the latest.
    Wait(Duration),
    /// Nothing is under way: close with the protocol's own farewell.
    Idle,
    /// The client is too slow: close.
    Slow,
}

/// A call in flight; dropping it ends it.
pub(super) struct InFlight<'a>(&'a Activity);

/// How often a connection without any limit is looked at.
const RARELY: Duration = Duration::from_secs(3600);

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            since: AtomicU64::new(0),
            header: AtomicBool::new(true),
            in_flight: AtomicU32::new(0),
            multiplexed: AtomicBool::new(false),
            blocked: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn has_read(&self) {
        if self.in_flight.load(Relaxed) == 0 && !self.header.load(Relaxed) && !self.multiplexed.load(Relaxed) {
            self.since.store(self.now(), Relaxed);
            self.header.store(true, Relaxed);
        }
    }

    /// Bytes of a reply went. A slow client that takes them is not idle.
    pub(super) fn has_written(&self) {
        if self.blocked.load(Relaxed) != 0 {
            self.blocked.store(0, Relaxed);
            if !self.header.load(Relaxed) {
                self.since.store(self.now(), Relaxed);
            }
        }
    }

    pub(super) fn cannot_write(&self) {
        if self.blocked.load(Relaxed) == 0 {
            self.blocked.store(self.now() + 1, Relaxed);
        }
    }

    /// A request's headers are whole.
    pub(super) fn begin(&self, multiplexed: bool) -> InFlight<'_> {
        if multiplexed {
            self.multiplexed.store(true, Relaxed);
        }
        self.in_flight.fetch_add(1, Relaxed);
        self.header.store(false, Relaxed);
        InFlight(self)
    }

    pub(super) fn verdict(&self, timeouts: &Timeouts) -> Verdict {
        let now = self.now();
        let left = |since: u64, limit: Duration| limit.checked_sub(Duration::from_millis(now.saturating_sub(since)));
        let mut wait = timeouts.tick();
        if let (Some(limit), blocked @ 1..) = (timeouts.write, self.blocked.load(Relaxed)) {
            match left(blocked - 1, limit) {
                Some(left) if !left.is_zero() => wait = wait.min(left),
                _ => return Verdict::Slow,
            }
        }
        let since = self.since.load(Relaxed);
        let (limit, over) = match (self.in_flight.load(Relaxed), self.header.load(Relaxed)) {
            (1.., _) => return Verdict::Wait(wait),
            (0, true) => (timeouts.header, Verdict::Slow),
            (0, false) => (timeouts.idle, Verdict::Idle),
        };
        match limit.map(|limit| left(since, limit)) {
            None => Verdict::Wait(wait),
            Some(Some(left)) if !left.is_zero() => Verdict::Wait(wait.min(left)),
            Some(_) => over,
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.since.store(self.0.now(), Relaxed);
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LIMITS: Timeouts =
        Timeouts { header: Some(SECOND), body: None, write: Some(Duration::from_secs(3)), idle: Some(Duration::from_secs(5)) };

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_says_nothing_is_slow() {
        let activity = Activity::new();
        assert_eq!(activity.verdict(&LIMITS), Verdict::Wait(SECOND));
        activity.has_read();
        pass(1).await;
        assert_eq!(activity.verdict(&LIMITS), Verdict::Slow);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_in_flight_are_waited_for() {
        let activity = Activity::new();
        let first = activity.begin(false);
        pass(100).await;
        assert_eq!(activity.verdict(&LIMITS), Verdict::Wait(SECOND));
        drop(first);
        pass(4).await;
        assert_eq!(activity.verdict(&LIMITS), Verdict::Wait(SECOND));
        pass(1).await;
        assert_eq!(activity.verdict(&LIMITS), Verdict::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_request_has_the_time_of_headers_not_of_idleness() {
        let activity = Activity::new();
        drop(activity.begin(false));
        pass(4).await;
        activity.has_read();
        activity.has_read();
        assert!(matches!(activity.verdict(&LIMITS), Verdict::Wait(_)));
        pass(1).await;
        assert_eq!(activity.verdict(&LIMITS), Verdict::Slow);
    }

    #[tokio::test(start_paused = true)]
    async fn http2_bytes_start_no_request_and_keep_no_connection() {
        let activity = Activity::new();
        drop(activity.begin(true));
        pass(4).await;
        activity.has_read();
        pass(1).await;
        assert_eq!(activity.verdict(&LIMITS), Verdict::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_slow() {
        let activity = Activity::new();
        let _call = activity.begin(false);
        activity.cannot_write();
        pass(2).await;
        activity.cannot_write();
        assert!(matches!(activity.verdict(&LIMITS), Verdict::Wait(_)));
        pass(1).await;
        assert_eq!(activity.verdict(&LIMITS), Verdict::Slow);
        activity.has_written();
        assert!(matches!(activity.verdict(&LIMITS), Verdict::Wait(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_slowly_is_not_idle() {
        let activity = Activity::new();
        drop(activity.begin(false));
        for _ in 0..10 {
            activity.cannot_write();
            pass(2).await;
            activity.has_written();
            assert!(matches!(activity.verdict(&LIMITS), Verdict::Wait(_)));
        }
        pass(5).await;
        assert_eq!(activity.verdict(&LIMITS), Verdict::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn idleness_is_seen_without_other_limits() {
        let idle = Timeouts { header: None, body: None, write: None, idle: Some(5 * SECOND) };
        let activity = Activity::new();
        let call = activity.begin(false);
        assert_eq!(activity.verdict(&idle), Verdict::Wait(5 * SECOND));
        drop(call);
        pass(5).await;
        assert_eq!(activity.verdict(&idle), Verdict::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn no_limit_is_no_limit() {
        let none = Timeouts { header: None, body: None, write: None, idle: None };
        let activity = Activity::new();
        activity.cannot_write();
        pass(1_000_000).await;
        assert_eq!(activity.verdict(&none), Verdict::Wait(RARELY));
        drop(activity.begin(false));
        pass(1_000_000).await;
        assert_eq!(activity.verdict(&none), Verdict::Wait(RARELY));
    }
}
