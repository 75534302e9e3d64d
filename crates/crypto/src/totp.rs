//! One-time passwords by the clock: TOTP (RFC 6238) over HOTP (RFC 4226), with HMAC-SHA1, HMAC-SHA256 or HMAC-SHA512.
//!
//! What is compared is a number and what is remembered is a step, never a text: a code that was typed with a space in it is
//! the same code.

use aws_lc_rs::{constant_time, hmac};

/// The digest under the codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// What every authenticator app knows. As a MAC it is still sound.
    Sha1,
    Sha256,
    Sha512,
}

impl Algorithm {
    /// `SHA1`, `SHA256`, `SHA512`, as key URIs have them.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "SHA1" => Some(Self::Sha1),
            "SHA256" => Some(Self::Sha256),
            "SHA512" => Some(Self::Sha512),
            _ => None,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
        }
    }
}

/// How long codes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digits {
    Six,
    Eight,
}

impl Digits {
    pub const fn new(digits: u64) -> Option<Self> {
        match digits {
            6 => Some(Self::Six),
            8 => Some(Self::Eight),
            _ => None,
        }
    }

    pub const fn count(self) -> usize {
        match self {
            Self::Six => 6,
            Self::Eight => 8,
        }
    }

    const fn modulus(self) -> u32 {
        match self {
            Self::Six => 1_000_000,
            Self::Eight => 100_000_000,
        }
    }

    /// The number of a code as a person typed it, or a program sent it: exactly so many ASCII digits, and spaces anywhere.
    pub fn parse(self, text: &str) -> Option<u32> {
        let mut number = 0u32;
        let mut seen = 0;
        for byte in text.bytes().filter(|b| *b != b' ') {
            if !byte.is_ascii_digit() || seen == self.count() {
                return None;
            }
            number = number * 10 + u32::from(byte - b'0');
            seen += 1;
        }
        (seen == self.count()).then_some(number)
    }

    /// A code as it is shown.
    pub fn show(self, code: u32) -> String {
        format!("{code:0width$}", width = self.count())
    }
}

/// A shared key and how codes come of it.
#[derive(Clone, Copy)]
pub struct Totp<'k> {
    pub key: &'k [u8],
    pub algorithm: Algorithm,
    pub digits: Digits,
    /// Seconds of one step; 0 counts as 1.
    pub period: u64,
}

impl Totp<'_> {
    /// The step of a moment, in seconds since 1970.
    pub fn step(&self, seconds: i64) -> u64 {
        u64::try_from(seconds).unwrap_or(0) / self.period.max(1)
    }

    /// The code of a step.
    pub fn code(&self, step: u64) -> u32 {
        let algorithm = match self.algorithm {
            Algorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Algorithm::Sha256 => hmac::HMAC_SHA256,
            Algorithm::Sha512 => hmac::HMAC_SHA512,
        };
        let tag = hmac::sign(&hmac::Key::new(algorithm, self.key), &step.to_be_bytes());
        let tag = tag.as_ref();
        // RFC 4226, 5.3: the low four bits of the last byte say where; the shortest tag has 20 bytes, so 15 + 4 fit.
        let at = usize::from(tag.last().copied().unwrap_or(0) & 0x0f);
        let mut word = [0u8; 4];
        word.copy_from_slice(&tag[at..at + 4]);
        (u32::from_be_bytes(word) & 0x7fff_ffff) % self.digits.modulus()
    }

    /// The step whose code was entered, of those at most `skew` steps from now. The caller remembers it and refuses it next
    /// time. Takes as long whether and where it is found.
    pub fn find(&self, entered: u32, seconds: i64, skew: u64) -> Option<u64> {
        let now = self.step(seconds);
        let mut found = None;
        for step in now.saturating_sub(skew)..=now.saturating_add(skew) {
            let same = constant_time::verify_slices_are_equal(&self.code(step).to_be_bytes(), &entered.to_be_bytes());
            if same.is_ok() {
                found = Some(step);
            }
        }
        found
    }
}

/// A key as key URIs have it: base32 (RFC 4648) without padding.
pub fn base32(key: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut out = String::with_capacity(key.len().div_ceil(5) * 8);
    for chunk in key.chunks(5) {
        let mut bits = [0u8; 8];
        bits[3..3 + chunk.len()].copy_from_slice(chunk);
        let word = u64::from_be_bytes(bits);
        for place in 0..(chunk.len() * 8).div_ceil(5) {
            let index = (word >> (35 - 5 * place)) & 31;
            out.push(char::from(ALPHABET[usize::try_from(index).unwrap_or(0)]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &[u8; 64] = b"1234567890123456789012345678901234567890123456789012345678901234";

    fn rfc(algorithm: Algorithm) -> Totp<'static> {
        let length = match algorithm {
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
            Algorithm::Sha512 => 64,
        };
        Totp { key: &SEED[..length], algorithm, digits: Digits::Eight, period: 30 }
    }

    /// RFC 6238, appendix B.
    #[test]
    fn codes_of_the_rfc() {
        for (seconds, sha1, sha256, sha512) in [
            (59, "94287082", "46119246", "90693936"),
            (1_111_111_109, "07081804", "68084774", "25091201"),
            (1_111_111_111, "14050471", "67062674", "99943326"),
            (1_234_567_890, "89005924", "91819424", "93441116"),
            (2_000_000_000, "69279037", "90698825", "38618901"),
            (20_000_000_000, "65353130", "77737706", "47863826"),
        ] {
            for (algorithm, code) in [(Algorithm::Sha1, sha1), (Algorithm::Sha256, sha256), (Algorithm::Sha512, sha512)] {
                let totp = rfc(algorithm);
                assert_eq!(totp.digits.show(totp.code(totp.step(seconds))), code, "{algorithm:?} {seconds}");
            }
        }
    }

    /// RFC 4226, appendix D.
    #[test]
    fn six_digits_of_the_rfc() {
        let totp = Totp { digits: Digits::Six, ..rfc(Algorithm::Sha1) };
        let codes: Vec<String> = (0..10).map(|step| totp.digits.show(totp.code(step))).collect();
        let expected = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"];
        assert_eq!(codes, expected);
    }

    #[test]
    fn only_codes_near_now_are_found() {
        let totp = rfc(Algorithm::Sha1);
        let now = 1_111_111_109;
        let step = totp.step(now);
        for (away, skew, found) in [(0, 0, true), (1, 0, false), (1, 1, true), (2, 1, false)] {
            for step in [step + away, step - away] {
                assert_eq!(totp.find(totp.code(step), now, skew), found.then_some(step), "{away} {skew}");
            }
        }
        assert_eq!(totp.find(totp.code(0), 0, 1), Some(0), "no step is below 0");
    }

    #[test]
    fn codes_are_digits() {
        for text in ["123456", " 123456", "123 456", "1 2 3 4 5 6 "] {
            assert_eq!(Digits::Six.parse(text), Some(123_456), "{text:?}");
        }
        for text in
            ["", "12345", "1234567", "12345a", "-12345", "+12345", "１２３４５６", "123456\n", "0x1234", "12345678901234567890"]
        {
            assert_eq!(Digits::Six.parse(text), None, "{text:?}");
        }
        assert_eq!(Digits::Eight.parse("00000001"), Some(1));
        assert_eq!(Digits::Eight.show(1), "00000001");
        assert_eq!(Digits::new(7), None);
    }

    /// RFC 4648, section 10, without padding.
    #[test]
    fn base32_of_the_rfc() {
        for (plain, coded) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(plain.as_bytes()), coded);
        }
    }
}
