//! As much DER (X.690) and PEM (RFC 7468) as a public key needs: SubjectPublicKeyInfo, PKCS#1, and the key out of a certificate.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Reads one element after the other. Lengths are definite and minimal, tags have one byte.
pub(super) struct Der<'a>(pub(super) &'a [u8]);

pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OID: u8 = 0x06;

impl<'a> Der<'a> {
    /// The next element: its tag, its content, and the whole of it.
    fn next(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let length = if first < 0x80 {
            usize::from(first)
        } else {
            let bytes = usize::from(first & 0x7f);
            if bytes == 0 || bytes > 3 || rest.len() < bytes {
                return None;
            }
            let (digits, tail) = rest.split_at(bytes);
            rest = tail;
            let length = digits.iter().fold(0usize, |n, &d| n << 8 | usize::from(d));
            if length < 0x80 || digits[0] == 0 {
                return None;
            }
            length
        };
        if rest.len() < length {
            return None;
        }
        let (content, tail) = rest.split_at(length);
        let whole = &self.0[..self.0.len() - tail.len()];
        self.0 = tail;
        Some((tag, content, whole))
    }

    /// The content of the next element, which must have this tag.
    pub(super) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(t, ..)| *t == tag).map(|(_, content, _)| content)
    }

    /// The only element, of this tag.
    pub(super) fn only(input: &'a [u8], tag: u8) -> Option<&'a [u8]> {
        let mut der = Self(input);
        let content = der.take(tag)?;
        der.0.is_empty().then_some(content)
    }

    /// A positive number, without its sign byte.
    pub(super) fn positive(&mut self) -> Option<&'a [u8]> {
        let digits = self.take(INTEGER)?;
        match digits {
            [0, rest @ ..] if rest.first().is_some_and(|b| b & 0x80 != 0) => Some(rest),
            [first, ..] if *first != 0 && first & 0x80 == 0 => Some(digits),
            _ => None,
        }
    }

    fn skip_if(&mut self, tag: u8) {
        if self.0.first() == Some(&tag) {
            self.next();
        }
    }
}

/// The SubjectPublicKeyInfo of an X.509 certificate (RFC 5280 section 4.1). Nothing else of it is looked at: the key was given by an
/// administrator, the certificate is its wrapping.
pub(super) fn key_of_certificate(der: &[u8]) -> Option<&[u8]> {
    let mut certificate = Der(Der::only(der, SEQUENCE)?);
    let mut body = Der(certificate.take(SEQUENCE)?);
    body.skip_if(0xa0); // version
    body.take(INTEGER)?; // serial number
    for _ in 0..4 {
        body.take(SEQUENCE)?; // signature, issuer, validity, subject
    }
    let (tag, _, whole) = body.next()?;
    (tag == SEQUENCE).then_some(whole)
}

/// The blocks of a PEM text: label and bytes. `None` where a block is broken off or no base64.
pub(super) fn pem(text: &str) -> Option<Vec<(&str, Vec<u8>)>> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("-----BEGIN ") {
        rest = &rest[at + "-----BEGIN ".len()..];
        let (label, after) = rest.split_once("-----")?;
        let (body, after) = after.split_once(format!("-----END {label}-----").as_str())?;
        let digits: String = body.split_ascii_whitespace().collect();
        blocks.push((label, STANDARD.decode(digits).ok()?));
        rest = after;
    }
    Some(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_are_not_minimal_or_run_over_are_refused() {
        assert_eq!(Der::only(&[0x30, 0x02, 1, 2], SEQUENCE), Some(&[1u8, 2][..]));
        for bad in [
            &[0x30u8][..],
            &[0x30, 0x02, 1],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x81, 0x02, 1, 2],
            &[0x30, 0x82, 0x00, 0x02, 1, 2],
            &[0x30, 0x84, 0, 0, 0, 2, 1, 2],
            &[0x30, 0x01, 1, 2],
            &[0x31, 0x01, 1],
        ] {
            assert_eq!(Der::only(bad, SEQUENCE), None, "{bad:?}");
        }
    }

    #[test]
    fn numbers_are_positive_and_minimal() {
        assert_eq!(Der(&[2, 2, 0, 0x80]).positive(), Some(&[0x80u8][..]));
        assert_eq!(Der(&[2, 1, 5]).positive(), Some(&[5u8][..]));
        for bad in [&[2u8, 1, 0][..], &[2, 1, 0x80], &[2, 2, 0, 5], &[2, 0]] {
            assert_eq!(Der(bad).positive(), None, "{bad:?}");
        }
    }

    #[test]
    fn pem_blocks_and_what_is_none() {
        let text = "noise\n-----BEGIN A-----\nAQ\nI=\n-----END A-----\n-----BEGIN B C-----\nAw==\n-----END B C-----";
        assert_eq!(pem(text), Some(vec![("A", vec![1, 2]), ("B C", vec![3])]));
        assert_eq!(pem("nothing"), Some(vec![]));
        assert_eq!(pem("-----BEGIN A-----\nAQI="), None);
        assert_eq!(pem("-----BEGIN A-----\n*\n-----END A-----"), None);
        assert_eq!(pem("-----BEGIN A-----\nAQ==\n-----END B-----"), None);
    }
}
