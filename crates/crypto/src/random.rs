//! Where randomness comes from, and the identifiers made of it.

use std::sync::Mutex;

use zeroize::Zeroizing;

/// A source of random bytes. Handed in as an argument wherever it is needed.
pub trait Random: Send + Sync {
    /// Fills the whole of `out`.
    fn fill(&self, out: &mut [u8]);
}

/// The library's generator, seeded by the operating system and safe across forks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, out: &mut [u8]) {
        // Without entropy there is no safe way on, and no caller could do better than to stop.
        aws_lc_rs::rand::fill(out).expect("the system's random generator answers");
    }
}

/// A reproducible source, for tests. Never for keys that guard anything.
#[derive(Debug)]
pub struct SeededRandom {
    seed: [u8; 8],
    position: Mutex<u64>,
}

impl SeededRandom {
    /// The stream that belongs to `seed`.
    pub fn for_tests_only(seed: u64) -> Self {
        Self { seed: seed.to_be_bytes(), position: Mutex::new(0) }
    }
}

impl Random for SeededRandom {
    fn fill(&self, out: &mut [u8]) {
        // A poisoned lock only means that another test thread panicked; the counter is whole.
        let mut position = self.position.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for chunk in out.chunks_mut(32) {
            let block = crate::mac::sha256(&[&self.seed, &position.to_be_bytes()]);
            chunk.copy_from_slice(&block[..chunk.len()]);
            *position += 1;
        }
    }
}

/// `N` random bytes, wiped on drop.
pub fn bytes<const N: usize>(random: &dyn Random) -> Zeroizing<[u8; N]> {
    let mut out = Zeroizing::new([0u8; N]);
    random.fill(out.as_mut_slice());
    out
}

/// A number drawn evenly from `0..bound`.
///
/// # Panics
/// When `bound` is 0: there is nothing to draw from, which is a mistake of the caller.
pub fn below(random: &dyn Random, bound: u32) -> u32 {
    assert!(bound > 0, "a draw needs at least one choice");
    // Values of the last, incomplete round of `bound` are drawn again, or low numbers would come more often.
    let rounds_end = u32::MAX - u32::MAX.wrapping_sub(bound - 1) % bound;
    loop {
        let mut raw = [0u8; 4];
        random.fill(&mut raw);
        let value = u32::from_be_bytes(raw);
        if value <= rounds_end {
            return value % bound;
        }
    }
}

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// `length` characters of `0-9A-Za-z`, evenly drawn: 5.95 bits each. The text of tokens and accessors.
pub fn base62(random: &dyn Random, length: usize) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(length));
    let mut pool = Zeroizing::new([0u8; 64]);
    while text.len() < length {
        let want = (length - text.len() + 8).min(pool.len());
        random.fill(&mut pool[..want]);
        for byte in &pool[..want] {
            // Six bits, of which 62 and 63 are thrown away.
            let index = usize::from(byte >> 2);
            if index < BASE62.len() && text.len() < length {
                text.push(char::from(BASE62[index]));
            }
        }
    }
    text
}

/// A random UUID, version 4 (RFC 9562 section 5.4), in its usual text form `8-4-4-4-12`.
pub fn uuid(random: &dyn Random) -> String {
    let mut raw = [0u8; 16];
    random.fill(&mut raw);
    raw[6] = raw[6] & 0x0f | 0x40;
    raw[8] = raw[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (i, byte) in raw.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out the given bytes in order, then fails the test.
    struct Script(Mutex<std::collections::VecDeque<u8>>);

    impl Random for Script {
        fn fill(&self, out: &mut [u8]) {
            let mut left = self.0.lock().expect("not poisoned");
            for byte in out {
                *byte = left.pop_front().expect("script is long enough");
            }
        }
    }

    #[test]
    fn seeded_streams_repeat_and_differ_by_seed() {
        let draw = |seed| *bytes::<40>(&SeededRandom::for_tests_only(seed));
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let one = SeededRandom::for_tests_only(1);
        assert_ne!(*bytes::<40>(&one), *bytes::<40>(&one));
    }

    #[test]
    fn the_system_source_does_not_repeat() {
        assert_ne!(*bytes::<32>(&SystemRandom), *bytes::<32>(&SystemRandom));
    }

    #[test]
    fn a_draw_from_the_incomplete_round_is_repeated() {
        // 3 does not divide 2^32 = 4294967296 = 3 * 1431655765 + 1: exactly the top value must be refused.
        let script = Script(Mutex::new([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe].into()));
        assert_eq!(below(&script, 3), 0xffff_fffe % 3);
        // A power of two has no incomplete round.
        let script = Script(Mutex::new([0xff; 4].into()));
        assert_eq!(below(&script, 256), 255);
        let script = Script(Mutex::new([0xff; 4].into()));
        assert_eq!(below(&script, 1), 0);
    }

    #[test]
    fn base62_has_its_length_and_alphabet_and_no_favourites() {
        let random = SeededRandom::for_tests_only(3);
        for length in [0, 1, 24, 95, 500] {
            let text = base62(&random, length);
            assert_eq!(text.len(), length);
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric()));
        }
        let mut counts = std::collections::BTreeMap::new();
        for c in base62(&random, 62_000).chars() {
            *counts.entry(c).or_insert(0u32) += 1;
        }
        assert_eq!(counts.len(), 62);
        // A thousand of each expected; six standard deviations are about 190.
        assert!(counts.values().all(|n| (810..1190).contains(n)), "{counts:?}");
    }

    #[test]
    fn uuids_carry_version_and_variant() {
        let random = SeededRandom::for_tests_only(4);
        for _ in 0..100 {
            let text = uuid(&random);
            let parts: Vec<usize> = text.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12]);
            assert_eq!(text.as_bytes()[14], b'4');
            assert!(matches!(text.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
        }
    }
}
