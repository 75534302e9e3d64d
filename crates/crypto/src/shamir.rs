//! Shamir's secret sharing in the format of Vault's unseal keys.
//!
//! Each byte of the secret is the constant term of its own polynomial over GF(2^8) with the polynomial of AES
//! (x^8 + x^4 + x^3 + x + 1, 0x11b). A share is the values of all polynomials at one non-zero point x, followed by x itself:
//! one byte more than the secret. No table look-up and no branch depends on a secret byte; the points x are public.

use std::fmt;

use zeroize::Zeroizing;

use crate::random::Random;

/// Why shares could not be made or joined. Says nothing about the bytes in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShamirError {
    /// The secret has no byte.
    EmptySecret,
    /// Fewer than 2 or more than 255 shares, a threshold below 2 or above the number of shares.
    BadCounts,
    /// Fewer than two shares were given.
    TooFewShares,
    /// A share is too short to hold a byte and its point, or its length differs from the others'.
    BadLength,
    /// Two shares have the same point, or one has the point 0, which would be the secret itself.
    BadPoint,
}

impl fmt::Display for ShamirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptySecret => "cannot split an empty secret",
            Self::BadCounts => "shares must be 2 to 255 and the threshold 2 to the number of shares",
            Self::TooFewShares => "less than two parts cannot be used to reconstruct the secret",
            Self::BadLength => "all parts must be the same length, of at least two bytes",
            Self::BadPoint => "duplicate or invalid part detected",
        })
    }
}

impl std::error::Error for ShamirError {}

/// Splits `secret` into `shares` shares, any `threshold` of which give it back and fewer say nothing about it.
///
/// # Errors
/// [`ShamirError::EmptySecret`], [`ShamirError::BadCounts`].
pub fn split(random: &dyn Random, secret: &[u8], shares: u8, threshold: u8) -> Result<Vec<Zeroizing<Vec<u8>>>, ShamirError> {
    if secret.is_empty() {
        return Err(ShamirError::EmptySecret);
    }
    if shares < 2 || threshold < 2 || threshold > shares {
        return Err(ShamirError::BadCounts);
    }
    let points = distinct_points(random, usize::from(shares));
    let mut out: Vec<Zeroizing<Vec<u8>>> = points.iter().map(|_| Zeroizing::new(Vec::with_capacity(secret.len() + 1))).collect();
    let mut coefficients = Zeroizing::new(vec![0u8; usize::from(threshold)]);
    for byte in secret {
        // Every coefficient is uniform, the leading one too: to exclude zero there would tell something about the secret.
        random.fill(&mut coefficients[1..]);
        coefficients[0] = *byte;
        for (share, x) in out.iter_mut().zip(&points) {
            let y = coefficients.iter().rev().fold(0, |sum, coefficient| multiply(sum, *x) ^ coefficient);
            share.push(y);
        }
    }
    for (share, x) in out.iter_mut().zip(&points) {
        share.push(*x);
    }
    Ok(out)
}

/// Joins shares made by [`split`]. Too few of them, or shares of different secrets, give a wrong secret and no error:
/// only the use of the result can tell.
///
/// # Errors
/// [`ShamirError::TooFewShares`], [`ShamirError::BadLength`], [`ShamirError::BadPoint`].
pub fn combine<S: AsRef<[u8]>>(shares: &[S]) -> Result<Zeroizing<Vec<u8>>, ShamirError> {
    let [first, _, ..] = shares else {
        return Err(ShamirError::TooFewShares);
    };
    let length = first.as_ref().len();
    if length < 2 || shares.iter().any(|share| share.as_ref().len() != length) {
        return Err(ShamirError::BadLength);
    }
    let points: Vec<u8> = shares.iter().map(|share| share.as_ref()[length - 1]).collect();
    for (i, x) in points.iter().enumerate() {
        if *x == 0 || points[..i].contains(x) {
            return Err(ShamirError::BadPoint);
        }
    }
    let mut secret = Zeroizing::new(vec![0u8; length - 1]);
    for (i, share) in shares.iter().enumerate() {
        // The Lagrange basis at 0. Subtraction is addition here, so each factor is x_j / (x_j + x_i).
        let mut basis = 1;
        for (j, x) in points.iter().enumerate() {
            if i != j {
                basis = multiply(basis, multiply(*x, invert(*x ^ points[i])));
            }
        }
        for (byte, y) in secret.iter_mut().zip(share.as_ref()) {
            *byte ^= multiply(*y, basis);
        }
    }
    Ok(secret)
}

/// `count` different points of 1..=255, in random order: a partial Fisher-Yates shuffle. Points are public.
fn distinct_points(random: &dyn Random, count: usize) -> Vec<u8> {
    let mut all: Vec<u8> = (1..=255).collect();
    for i in 0..count {
        let left = (all.len() - i) as u32; // at most 255
        let pick = i + crate::random::below(random, left) as usize;
        all.swap(i, pick);
    }
    all.truncate(count);
    all
}

/// The product in GF(2^8)/0x11b: eight rounds of masks, the same for every operand.
fn multiply(a: u8, b: u8) -> u8 {
    let (mut a, mut b, mut product) = (a, b, 0u8);
    for _ in 0..8 {
        product ^= a & 0u8.wrapping_sub(b & 1);
        let overflow = 0u8.wrapping_sub(a >> 7);
        a = (a << 1) ^ (0x1b & overflow);
        b >>= 1;
    }
    product
}

/// The inverse, as a^254; 0 for 0.
fn invert(a: u8) -> u8 {
    // 254 = 0b1111_1110: square and multiply seven times, then square once.
    let mut power = a;
    for _ in 0..6 {
        power = multiply(multiply(power, power), a);
    }
    multiply(power, power)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;
    use proptest::prelude::*;

    /// The schoolbook product: polynomials multiplied bit by bit, then divided by 0x11b. Shares no code with `multiply`.
    fn long_multiply(a: u8, b: u8) -> u8 {
        let mut product = 0u16;
        for i in 0..8 {
            if b >> i & 1 == 1 {
                product ^= u16::from(a) << i;
            }
        }
        for i in (8..16).rev() {
            if product >> i & 1 == 1 {
                product ^= 0x11b << (i - 8);
            }
        }
        product as u8
    }

    #[test]
    fn the_field_is_that_of_aes() {
        assert_eq!(multiply(0x57, 0x83), 0xc1, "FIPS 197 section 4.2");
        for a in 0..=255u8 {
            for b in 0..=255u8 {
                assert_eq!(multiply(a, b), long_multiply(a, b), "{a} * {b}");
            }
            assert_eq!(multiply(a, invert(a)), u8::from(a != 0), "1 / {a}");
        }
    }

    #[test]
    fn bad_requests_are_refused() {
        let random = SeededRandom::for_tests_only(1);
        for (secret, shares, threshold, error) in [
            (&b""[..], 3, 2, ShamirError::EmptySecret),
            (b"s", 0, 0, ShamirError::BadCounts),
            (b"s", 1, 1, ShamirError::BadCounts),
            (b"s", 3, 1, ShamirError::BadCounts),
            (b"s", 3, 0, ShamirError::BadCounts),
            (b"s", 3, 4, ShamirError::BadCounts),
        ] {
            assert_eq!(split(&random, secret, shares, threshold).err(), Some(error));
        }
    }

    #[test]
    fn bad_shares_are_refused() {
        let cases: [(&[&[u8]], ShamirError); 8] = [
            (&[], ShamirError::TooFewShares),
            (&[&[1, 2]], ShamirError::TooFewShares),
            (&[&[1], &[2]], ShamirError::BadLength),
            (&[&[], &[]], ShamirError::BadLength),
            (&[&[1, 1], &[1, 1, 2]], ShamirError::BadLength),
            (&[&[1, 1], &[2, 1]], ShamirError::BadPoint),
            (&[&[1, 1], &[1, 1]], ShamirError::BadPoint),
            (&[&[1, 0], &[1, 1]], ShamirError::BadPoint),
        ];
        for (shares, error) in cases {
            assert_eq!(combine(shares).err(), Some(error), "{shares:?}");
        }
    }

    #[test]
    fn the_largest_split_works() {
        let random = SeededRandom::for_tests_only(5);
        let shares = split(&random, b"all of them", 255, 255).expect("splits");
        let mut points: Vec<u8> = shares.iter().map(|share| share[share.len() - 1]).collect();
        points.sort_unstable();
        assert_eq!(points, (1..=255).collect::<Vec<u8>>());
        assert_eq!(combine(&shares).expect("joins").as_slice(), b"all of them");
    }

    /// With one share short, each value of the secret byte stays possible: for a fixed share, all 256 secrets have a partner.
    #[test]
    fn one_share_short_says_nothing() {
        let known = [0x5a, 0x11];
        let mut seen = [false; 256];
        for y in 0..=255u8 {
            seen[usize::from(combine(&[known, [y, 0x22]]).expect("joins")[0])] = true;
        }
        assert!(seen.iter().all(|possible| *possible));
    }

    proptest! {
        #[test]
        fn any_threshold_of_shares_joins_and_fewer_do_not(
            seed in any::<u64>(),
            secret in proptest::collection::vec(any::<u8>(), 8..40),
            shares in 2u8..12,
            threshold_pick in any::<u8>(),
            order in any::<u64>(),
        ) {
            let threshold = 2 + threshold_pick % (shares - 1);
            let random = SeededRandom::for_tests_only(seed);
            let mut made = split(&random, &secret, shares, threshold).expect("splits");
            prop_assert!(made.iter().all(|share| share.len() == secret.len() + 1));
            let shuffle = SeededRandom::for_tests_only(order);
            for i in (1..made.len()).rev() {
                made.swap(i, crate::random::below(&shuffle, i as u32 + 1) as usize);
            }
            for used in 2..=usize::from(shares) {
                let joined = combine(&made[..used]).expect("joins");
                // A wrong secret of 8 bytes equals the right one by chance once in 2^64.
                prop_assert_eq!(joined.as_slice() == secret.as_slice(), used >= usize::from(threshold));
            }
        }
    }
}
