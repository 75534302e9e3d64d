//! A certificate file and its key, looked at before a server or a client stands on them.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;

/// A certificate and its intermediates.
#[derive(Debug)]
pub struct Chain(Vec<CertificateDer<'static>>);

/// Reads a PEM file. The error says what is wrong with it.
pub fn chain(path: &Path) -> Result<Chain, String> {
    let text = std::fs::read(path).map_err(|e| crate::error::go_words(&e))?;
    let certs: Vec<_> = CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    if certs.is_empty() { Err("it holds no certificate".into()) } else { Ok(Chain(certs)) }
}

impl Chain {
    /// Whether the key in this PEM file is the certificate's.
    pub fn belongs_to(&self, key: &Path) -> Result<(), String> {
        let key = PrivateKeyDer::from_pem_file(key).map_err(|e| e.to_string())?;
        let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)
            .map_err(|e| format!("it is of a kind that can't be used: {e}"))?;
        let pair = rustls::sign::CertifiedKey::new(self.0.clone(), signer);
        pair.keys_match().map_err(|e| format!("it does not belong to the certificate: {e}"))
    }

    /// From when until when the certificate is valid, in seconds since 1970.
    pub fn validity(&self) -> Option<(i64, i64)> {
        validity(self.0.first()?)
    }
}

/// `notBefore` and `notAfter` of an X.509 certificate (RFC 5280 section 4.1.2.5), in seconds since 1970.
fn validity(cert: &[u8]) -> Option<(i64, i64)> {
    let (_, cert, _) = element(cert)?;
    let (_, mut body, _) = element(cert)?;
    // The version is there in all but the oldest; then serial number, algorithm and issuer.
    if *body.first()? == 0xa0 {
        body = element(body)?.2;
    }
    for _ in 0..3 {
        body = element(body)?.2;
    }
    let (_, dates, _) = element(body)?;
    let (kind, from, rest) = element(dates)?;
    let (kind_until, until, _) = element(rest)?;
    Some((date(kind, from)?, date(kind_until, until)?))
}

/// Tag, content and what follows of one DER element.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |n, b| n << 8 | usize::from(*b)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// UTCTime (two digits of the year) or GeneralizedTime (four).
fn date(kind: u8, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let text = match kind {
        0x17 if text.len() == 12 => format!("{}{text}", if text < "50" { "20" } else { "19" }),
        0x18 if text.len() == 14 => text.to_owned(),
        _ => return None,
    };
    let part = |from: usize, to: usize| text.get(from..to)?.parse::<u8>().ok();
    let month = time::Month::try_from(part(4, 6)?).ok()?;
    let day = time::Date::from_calendar_date(text.get(..4)?.parse().ok()?, month, part(6, 8)?).ok()?;
    Some(day.with_hms(part(8, 10)?, part(10, 12)?, part(12, 14)?).ok()?.assume_utc().unix_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn der_that_lies_about_its_length_is_refused() {
        for der in [&[][..], &[0x30], &[0x30, 5, 1], &[0x30, 0x85, 1, 1, 1, 1, 1], &[0x30, 0x82, 1]] {
            assert!(element(der).is_none());
        }
        assert!(validity(b"nonsense").is_none());
    }

    #[test]
    fn both_forms_of_dates_are_read() {
        assert_eq!(date(0x17, b"491231235959Z"), date(0x18, b"20491231235959Z"));
        assert_eq!(date(0x17, b"700101000000Z"), Some(0));
        assert!(date(0x17, b"991331000000Z").is_none());
        assert!(date(0x17, b"20491231235959Z").is_none());
    }
}
