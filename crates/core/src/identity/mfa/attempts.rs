//! How often codes may be guessed. Counted in memory: a restart forgives the few guesses that it takes longer than to make, and a
//! refused call leaves nothing in the store.
//!
//! After every `attempts` failures in a row nothing is looked at for `wait` seconds, then for twice as long, and so on up to an
//! hour; the right code begins anew.

use coffer_types::Timestamp;
use parking_lot::Mutex;
use std::collections::HashMap;

const LONGEST: u64 = 3600;
/// With more keys than this those whose waiting is over go.
const KEPT: usize = 10_000;

/// What a method allows.
#[derive(Clone, Copy)]
pub struct Limit {
    pub attempts: u64,
    /// Seconds.
    pub wait: u64,
}

/// Failures by key of the secret.
#[derive(Default)]
pub struct Attempts(Mutex<HashMap<String, Failures>>);

struct Failures {
    in_a_row: u64,
    last: Timestamp,
    wait: u64,
    /// The call that counted last: one that is run again counts once.
    call: Box<str>,
}

impl Attempts {
    /// Takes an attempt: it counts as failed until [`Attempts::forget`] says otherwise.
    ///
    /// # Errors
    /// The seconds to wait.
    pub fn take(&self, key: &str, call: &str, limit: Limit, now: Timestamp) -> Result<(), u64> {
        let mut all = self.0.lock();
        if all.len() >= KEPT {
            all.retain(|_, f| now.since(f.last).as_secs() < f.wait.max(LONGEST));
        }
        let limit = Limit { attempts: limit.attempts.max(1), wait: limit.wait.max(1) };
        let Some(failures) = all.get_mut(key) else {
            all.insert(key.to_owned(), Failures { in_a_row: 1, last: now, wait: 0, call: call.into() }.settled(limit));
            return Ok(());
        };
        if *failures.call == *call {
            return Ok(());
        }
        let gone = now.since(failures.last).as_secs();
        if gone < failures.wait {
            return Err(failures.wait - gone);
        }
        // A day of rest ends a row.
        let in_a_row = if gone >= 24 * LONGEST { 1 } else { failures.in_a_row + 1 };
        *failures = Failures { in_a_row, last: now, wait: 0, call: call.into() }.settled(limit);
        Ok(())
    }

    /// The attempt was right.
    pub fn forget(&self, key: &str) {
        self.0.lock().remove(key);
    }
}

impl Failures {
    /// With the waiting that so many failures have earned.
    fn settled(mut self, limit: Limit) -> Self {
        if self.in_a_row.is_multiple_of(limit.attempts) {
            let times = u32::try_from(self.in_a_row / limit.attempts - 1).unwrap_or(u32::MAX);
            self.wait = limit.wait.saturating_mul(2u64.saturating_pow(times)).min(LONGEST);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_are_few_and_ever_slower() {
        let attempts = Attempts::default();
        let limit = Limit { attempts: 3, wait: 30 };
        let mut call = 0;
        let mut take = |secs: i64| {
            call += 1;
            attempts.take("k", &call.to_string(), limit, Timestamp::from_secs(secs))
        };
        for _ in 0..3 {
            assert_eq!(take(100), Ok(()));
        }
        assert_eq!((take(100), take(129)), (Err(30), Err(1)));
        for _ in 0..3 {
            assert_eq!(take(130), Ok(()));
        }
        assert_eq!((take(130), take(189)), (Err(60), Err(1)));
        assert_eq!(take(190), Ok(()));
        // A day's guesses at most: 3 before each wait, waits of 30, 60, … 1920 seconds and of an hour from then on.
        let (mut made, mut at) = (0, 1_000_000);
        while at < 1_000_000 + 86_400 {
            match take(at) {
                Ok(()) => made += 1,
                Err(wait) => at += i64::try_from(wait).unwrap(),
            }
        }
        assert!(made < 100, "{made}");
        attempts.forget("k");
        assert_eq!(take(at), Ok(()));
    }

    #[test]
    fn a_call_that_is_run_again_counts_once() {
        let attempts = Attempts::default();
        let limit = Limit { attempts: 1, wait: 30 };
        let now = Timestamp::from_secs(5);
        assert_eq!(attempts.take("k", "a", limit, now), Ok(()));
        assert_eq!(attempts.take("k", "a", limit, now), Ok(()));
        assert_eq!(attempts.take("k", "b", limit, now), Err(30));
        assert_eq!(attempts.take("other", "b", limit, now), Ok(()));
    }
}
