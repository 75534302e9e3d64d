//! One rate limit: how many calls of one client pass in an interval.
//!
//! A bucket of `rate` tokens that fills up again evenly over the interval, kept as one number for each client: the time at
//! which its bucket is full again (the generic cell rate algorithm). A client is an address; of IPv6 the network of /64,
//! since whoever has one address there has all of them.

use coffer_types::Timestamp;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// Clients that one limit remembers. More at once share one bucket, so that memory is bounded and nobody gets past the
/// limit by coming from ever new addresses.
const CLIENTS: usize = 65_536;

/// The limit of one rule.
pub struct Limiter {
    /// Calls in an interval; the burst that passes at once.
    rate: f64,
    interval: Duration,
    /// How long a client that went over the limit is refused, whatever its bucket says.
    block: Duration,
    clients: Mutex<Clients>,
}

#[derive(Default)]
struct Clients {
    known: HashMap<Option<IpAddr>, Bucket>,
    /// Of all clients that came while there was no place.
    others: Bucket,
    /// When full buckets were last forgotten.
    swept: Timestamp,
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    /// When it is full again.
    full_at: i64,
    blocked_until: i64,
}

/// What a limit says to a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Take {
    pub allowed: bool,
    /// Calls that pass at once.
    pub limit: u64,
    /// Calls that would pass now.
    pub remaining: u64,
    /// Until the bucket is full again; for a refused call, until the next one passes.
    pub wait: Duration,
}

impl Limiter {
    /// `rate` is above zero and finite, `interval` is not zero.
    pub fn new(rate: f64, interval: Duration, block: Duration) -> Self {
        Self { rate, interval, block, clients: Mutex::default() }
    }

    /// A call of `client` at `now`.
    pub fn take(&self, client: Option<IpAddr>, now: Timestamp) -> Take {
        let mut clients = self.clients.lock();
        let bucket = clients.bucket(network(client), now, self.interval);
        self.draw(bucket, now.0)
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "bounded by i64 of nanoseconds"
    )]
    fn draw(&self, bucket: &mut Bucket, now: i64) -> Take {
        let span = nanos(self.interval);
        let one = ((span as f64 / self.rate).ceil() as i64).max(1);
        // A rate below one call an interval still lets one call pass.
        let depth = span.max(one);
        let limit = (depth / one).unsigned_abs();
        if now < bucket.blocked_until {
            return Take { allowed: false, limit, remaining: 0, wait: between(now, bucket.blocked_until) };
        }
        let from = bucket.full_at.max(now);
        let after = from.saturating_add(one);
        if after.saturating_sub(now) > depth {
            let mut free_at = after.saturating_sub(depth);
            if !self.block.is_zero() {
                bucket.blocked_until = now.saturating_add(nanos(self.block));
                free_at = free_at.max(bucket.blocked_until);
            }
            return Take { allowed: false, limit, remaining: 0, wait: between(now, free_at) };
        }
        bucket.full_at = after;
        let remaining = ((depth - (after - now)) / one).unsigned_abs();
        Take { allowed: true, limit, remaining, wait: between(now, after) }
    }
}

impl Clients {
    fn bucket(&mut self, client: Option<IpAddr>, now: Timestamp, interval: Duration) -> &mut Bucket {
        let full = self.known.len() >= CLIENTS;
        // Going through all of them is done once an interval at most.
        if full && now.since(self.swept) >= interval {
            self.swept = now;
            self.known.retain(|_, b| b.full_at > now.0 || b.blocked_until > now.0);
        }
        if self.known.len() >= CLIENTS && !self.known.contains_key(&client) {
            return &mut self.others;
        }
        self.known.entry(client).or_default()
    }
}

fn network(client: Option<IpAddr>) -> Option<IpAddr> {
    match client?.to_canonical() {
        IpAddr::V6(address) => Some(IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64))),
        v4 @ IpAddr::V4(_) => Some(v4),
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn between(now: i64, then: i64) -> Duration {
    Duration::from_nanos(u64::try_from(then.saturating_sub(now)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(millis: i64) -> Timestamp {
        Timestamp(1_700_000_000_000_000_000 + millis * 1_000_000)
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn passes(limiter: &Limiter, millis: i64) -> bool {
        limiter.take(ip("192.0.2.1"), at(millis)).allowed
    }

    #[test]
    fn a_burst_passes_and_then_one_for_each_token_that_comes_back() {
        let limiter = Limiter::new(4.0, SECOND, Duration::ZERO);
        for n in 0..4 {
            assert!(passes(&limiter, n), "{n}");
        }
        assert!(!passes(&limiter, 4));
        assert!(!passes(&limiter, 240));
        assert!(passes(&limiter, 251));
        assert!(!passes(&limiter, 252));
        assert!(passes(&limiter, 501));
        assert!(!passes(&limiter, 502));
    }

    #[test]
    fn less_than_one_an_interval_is_one_now_and_then() {
        let limiter = Limiter::new(0.5, SECOND, Duration::ZERO);
        assert!(passes(&limiter, 0));
        assert!(!passes(&limiter, 1500));
        assert!(passes(&limiter, 2001));
    }

    #[test]
    fn a_client_that_went_over_is_blocked_whatever_comes_back() {
        let limiter = Limiter::new(1.0, SECOND, Duration::from_secs(10));
        assert!(passes(&limiter, 0));
        assert_eq!(limiter.take(ip("192.0.2.1"), at(1)).wait, Duration::from_secs(10));
        assert!(!passes(&limiter, 5_000));
        assert!(!passes(&limiter, 10_000), "asking while blocked neither helps nor harms");
        assert!(passes(&limiter, 10_002));
    }

    #[test]
    fn clients_have_buckets_of_their_own_and_a_network_of_ipv6_has_one() {
        let limiter = Limiter::new(1.0, SECOND, Duration::ZERO);
        let take = |address: &str| limiter.take(ip(address), at(0)).allowed;
        assert!(take("192.0.2.1") && take("192.0.2.2"));
        assert!(!take("::ffff:192.0.2.1"), "an IPv4 address in IPv6 is the same client");
        assert!(take("2001:db8::1"));
        assert!(!take("2001:db8::2"));
        assert!(take("2001:db8:0:1::2"));
        assert!(limiter.take(None, at(0)).allowed);
        assert!(!limiter.take(None, at(0)).allowed, "all of a unix socket are one");
    }

    #[test]
    fn new_addresses_do_not_get_past_a_full_memory() {
        let limiter = Limiter::new(1.0, SECOND, Duration::ZERO);
        let nth = |n: u32| Some(IpAddr::from(std::net::Ipv4Addr::from_bits(n)));
        let many = u32::try_from(CLIENTS).unwrap();
        for n in 0..many {
            assert!(limiter.take(nth(n), at(0)).allowed);
        }
        assert!(limiter.take(nth(many), at(0)).allowed, "the first of the others");
        assert!(!limiter.take(nth(many + 1), at(0)).allowed);
        assert_eq!(limiter.clients.lock().known.len(), CLIENTS);
        assert!(limiter.take(nth(many + 1), at(2_000)).allowed, "buckets that are full again are forgotten");
        assert_eq!(limiter.clients.lock().known.len(), 1);
    }

    #[test]
    fn it_says_how_much_is_left_and_how_long_to_wait() {
        let limiter = Limiter::new(2.0, SECOND, Duration::ZERO);
        let take = |millis| limiter.take(None, at(millis));
        assert_eq!(take(0), Take { allowed: true, limit: 2, remaining: 1, wait: Duration::from_millis(500) });
        assert_eq!(take(0), Take { allowed: true, limit: 2, remaining: 0, wait: SECOND });
        assert_eq!(take(100), Take { allowed: false, limit: 2, remaining: 0, wait: Duration::from_millis(400) });
    }

    proptest! {
        /// Over any stretch no more passes than what was there and what came back, and never nothing for ever.
        #[test]
        fn no_more_than_the_rate_passes(rate in 0.1f64..500.0, steps in proptest::collection::vec(0i64..300, 1..400)) {
            let limiter = Limiter::new(rate, SECOND, Duration::ZERO);
            let (mut now, mut passed) = (0i64, 0f64);
            for step in &steps {
                now += step;
                if passes(&limiter, now) {
                    passed += 1.0;
                }
            }
            #[allow(clippy::cast_precision_loss, reason = "small")]
            let most = rate.max(1.0) + rate * (now as f64 / 1000.0) + 1e-6;
            prop_assert!(passed <= most, "{passed} of {most}");
            prop_assert!(passes(&limiter, now + 11_000));
        }
    }
}
