//! Unkeyed digests: SHA-2 (FIPS 180-4) and SHA-3 (FIPS 202), by the names of Vault's `sys/tools/hash`.

use aws_lc_rs::digest;

/// A digest algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
    Sha3_224,
    Sha3_256,
    Sha3_384,
    Sha3_512,
}

impl Algorithm {
    /// All of them, in the order in which messages list them.
    pub const ALL: [Self; 8] =
        [Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512, Self::Sha3_224, Self::Sha3_256, Self::Sha3_384, Self::Sha3_512];

    /// The algorithm that Vault's API calls `name` (`sha2-256`), or nothing.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// The name in Vault's API: `sha2-256`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha224 => "sha2-224",
            Self::Sha256 => "sha2-256",
            Self::Sha384 => "sha2-384",
            Self::Sha512 => "sha2-512",
            Self::Sha3_224 => "sha3-224",
            Self::Sha3_256 => "sha3-256",
            Self::Sha3_384 => "sha3-384",
            Self::Sha3_512 => "sha3-512",
        }
    }

    /// How long its digests are.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Sha224 | Self::Sha3_224 => 28,
            Self::Sha256 | Self::Sha3_256 => 32,
            Self::Sha384 | Self::Sha3_384 => 48,
            Self::Sha512 | Self::Sha3_512 => 64,
        }
    }

    /// The digest of all parts joined: 28 to 64 bytes.
    pub fn digest(self, parts: &[&[u8]]) -> Vec<u8> {
        let library = match self {
            Self::Sha224 => &digest::SHA224,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
            // The library lacks this one size alone.
            Self::Sha3_224 => return keccak::sha3(28, parts),
            Self::Sha3_256 => &digest::SHA3_256,
            Self::Sha3_384 => &digest::SHA3_384,
            Self::Sha3_512 => &digest::SHA3_512,
        };
        let mut context = digest::Context::new(library);
        for part in parts {
            context.update(part);
        }
        context.finish().as_ref().to_vec()
    }
}

/// SHA-512 of what comes in pieces.
pub struct Sha512(digest::Context);

impl Sha512 {
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA512))
    }

    pub fn update(&mut self, part: &[u8]) {
        self.0.update(part);
    }

    pub fn finish(self) -> [u8; 64] {
        let mut out = [0; 64];
        out.copy_from_slice(self.0.finish().as_ref());
        out
    }
}

impl Default for Sha512 {
    fn default() -> Self {
        Self::new()
    }
}

/// The sponge of FIPS 202, for the one size that the library lacks. Not for secrets in bulk: it is plain, not fast.
mod keccak {
    /// SHA-3 with a digest of `size` bytes.
    pub(super) fn sha3(size: usize, parts: &[&[u8]]) -> Vec<u8> {
        let rate = 200 - 2 * size;
        let mut state = [0u64; 25];
        let mut at = 0;
        for byte in parts.iter().copied().flatten() {
            absorb(&mut state, at, *byte);
            at += 1;
            if at == rate {
                permute(&mut state);
                at = 0;
            }
        }
        // The suffix 01 and the padding 10*1, in one byte or two.
        absorb(&mut state, at, 0x06);
        absorb(&mut state, rate - 1, 0x80);
        permute(&mut state);
        // Every size is below its rate, so one squeeze is enough.
        state.iter().flat_map(|lane| lane.to_le_bytes()).take(size).collect()
    }

    fn absorb(state: &mut [u64; 25], at: usize, byte: u8) {
        state[at / 8] ^= u64::from(byte) << (8 * (at % 8));
    }

    /// Keccak-f[1600]: 24 rounds of theta, rho and pi, chi, iota. Lane (x, y) stands at `x + 5 * y`.
    fn permute(a: &mut [u64; 25]) {
        // The round constants are bits of a linear feedback shift register (FIPS 202, algorithm 5).
        let mut register = 1u8;
        for _ in 0..24 {
            let mut parity = [0u64; 5];
            for (i, lane) in a.iter().enumerate() {
                parity[i % 5] ^= lane;
            }
            for (i, lane) in a.iter_mut().enumerate() {
                *lane ^= parity[(i + 4) % 5] ^ parity[(i + 1) % 5].rotate_left(1);
            }
            // The walk of rho and pi goes from (1, 0) by (x, y) -> (y, 2x + 3y) with triangular offsets.
            let (mut x, mut y, mut carried) = (1, 0, a[1]);
            for t in 1..25u32 {
                (x, y) = (y, (2 * x + 3 * y) % 5);
                carried = std::mem::replace(&mut a[x + 5 * y], carried.rotate_left(t * (t + 1) / 2 % 64));
            }
            for row in a.chunks_exact_mut(5) {
                let old = [row[0], row[1], row[2], row[3], row[4]];
                for (i, lane) in row.iter_mut().enumerate() {
                    *lane = old[i] ^ (!old[(i + 1) % 5] & old[(i + 2) % 5]);
                }
            }
            for bit in 0..7 {
                if register & 1 == 1 {
                    a[0] ^= 1 << ((1u32 << bit) - 1);
                }
                register = (register << 1) ^ (0x71 & 0u8.wrapping_sub(register >> 7));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_go_both_ways_and_others_are_refused() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_name(algorithm.name()), Some(algorithm));
        }
        for name in ["", "sha1", "sha256", "SHA2-256", "sha2-256 ", "sha3-128"] {
            assert_eq!(Algorithm::from_name(name), None, "{name:?}");
        }
    }

    #[test]
    fn pieces_give_the_digest_of_the_whole() {
        let mut running = Sha512::new();
        running.update(b"ab");
        running.update(b"");
        running.update(b"c");
        assert_eq!(running.finish().to_vec(), Algorithm::Sha512.digest(&[b"abc"]));
    }

    proptest! {
        /// Our sponge gives what the library gives in the three sizes that both have, so the fourth stands on the same ground.
        #[test]
        fn the_sponge_agrees_with_the_library(data in proptest::collection::vec(any::<u8>(), 0..600), cut in 0usize..600) {
            let (a, b) = data.split_at(cut.min(data.len()));
            for (size, algorithm) in [(32, Algorithm::Sha3_256), (48, Algorithm::Sha3_384), (64, Algorithm::Sha3_512)] {
                prop_assert_eq!(keccak::sha3(size, &[a, b]), algorithm.digest(&[a, b]));
            }
        }
    }
}
