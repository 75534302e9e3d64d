//! The few DER structures around keys (X.690; RFC 5280, 5915, 5958, 8017, 8410): strict, definite lengths only.

use super::KeyKind;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;

const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const PRIME256V1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const SECP384R1: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const SECP521R1: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
/// RFC 9881; behind it 17, 18 or 19 for ML-DSA-44, -65 and -87.
const ML_DSA: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03];

/// The kind of key in a SubjectPublicKeyInfo, if it is a whole one.
pub(super) fn kind_of_spki(document: &[u8]) -> Option<KeyKind> {
    let (algorithm, bits) = spki(document)?;
    let (oid, parameters) = value(algorithm, OID)?;
    if oid == RSA_ENCRYPTION {
        let (modulus, _) = rsa_parts(bits)?;
        let leading = usize::try_from(modulus.first()?.leading_zeros()).ok()?;
        return Some(KeyKind::Rsa(u32::try_from(modulus.len() * 8 - leading).ok()?));
    }
    if oid == ED25519 {
        return (parameters.is_empty() && bits.len() == 32).then_some(KeyKind::Ed25519);
    }
    if let Some((kind, length)) = lattice(oid) {
        return (parameters.is_empty() && bits.len() == length).then_some(kind);
    }
    if oid != EC_PUBLIC_KEY {
        return None;
    }
    let (curve, rest) = value(parameters, OID)?;
    let kind = [(PRIME256V1, KeyKind::P256), (SECP384R1, KeyKind::P384), (SECP521R1, KeyKind::P521)];
    rest.is_empty().then(|| kind.into_iter().find(|(oid, _)| *oid == curve).map(|(_, kind)| kind)).flatten()
}

/// The kind of ML-DSA key, and how long its public half is (FIPS 204 table 2).
fn lattice(oid: &[u8]) -> Option<(KeyKind, usize)> {
    match oid.strip_prefix(ML_DSA)? {
        [17] => Some((KeyKind::MlDsa44, 1312)),
        [18] => Some((KeyKind::MlDsa65, 1952)),
        [19] => Some((KeyKind::MlDsa87, 2592)),
        _ => None,
    }
}

/// The kind, if this is the PKCS#8 document of an ML-DSA key.
pub(super) fn lattice_of_pkcs8(document: &[u8]) -> Option<KeyKind> {
    let (body, _) = value(document, SEQUENCE)?;
    let (_, body) = value(body, INTEGER)?;
    let (algorithm, _) = value(body, SEQUENCE)?;
    Some(lattice(value(algorithm, OID)?.0)?.0)
}

/// The seed in the PKCS#8 document of an ML-DSA key: `[0] IMPLICIT OCTET STRING` (RFC 9881 section 6).
pub(super) fn seed_of_pkcs8(document: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let inner = inside_pkcs8(document)?;
    let (seed, rest) = value(&inner, 0x80)?;
    (rest.is_empty() && seed.len() == 32).then(|| Zeroizing::new(seed.to_vec()))
}

/// What the library takes for a key: the SubjectPublicKeyInfo, of Ed25519 the bare bytes.
pub(super) fn key_material(kind: KeyKind, document: &[u8]) -> &[u8] {
    match kind {
        KeyKind::Rsa(_) => document,
        _ => bits_of_spki(document).unwrap_or_default(),
    }
}

pub(super) fn bits_of_spki(document: &[u8]) -> Option<&[u8]> {
    spki(document).map(|(_, bits)| bits)
}

/// The SubjectPublicKeyInfo of an X.509 certificate (RFC 5280 section 4.1). Nothing else of it is looked at.
pub(super) fn spki_of_certificate(document: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = value(document, SEQUENCE)?;
    let (body, _) = value(certificate, SEQUENCE)?;
    // The version, if it is there; serial number; signature, issuer, validity, subject.
    let body = value(body, 0xa0).map_or(body, |(_, rest)| rest);
    let (_, mut body) = value(body, INTEGER)?;
    for _ in 0..4 {
        (_, body) = value(body, SEQUENCE)?;
    }
    let (_, rest) = value(body, SEQUENCE)?;
    Some(&body[..body.len() - rest.len()])
}

/// Modulus and exponent of a PKCS#1 `RSAPublicKey`.
pub(super) fn rsa_parts(bits: &[u8]) -> Option<(&[u8], &[u8])> {
    let (body, rest) = value(bits, SEQUENCE)?;
    let (modulus, body) = value(body, INTEGER)?;
    let (exponent, end) = value(body, INTEGER)?;
    (rest.is_empty() && end.is_empty()).then_some((positive(modulus)?, positive(exponent)?))
}

/// The key inside a PKCS#8 document: PKCS#1's structure of an RSA key.
pub(super) fn inside_pkcs8(document: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (body, _) = value(document, SEQUENCE)?;
    let (_, body) = value(body, INTEGER)?;
    let (_, body) = value(body, SEQUENCE)?;
    let (inner, _) = value(body, OCTET_STRING)?;
    Some(Zeroizing::new(inner.to_vec()))
}

/// The numbers of a sequence, without their sign bytes.
pub(super) fn numbers(document: &[u8]) -> Option<Vec<&[u8]>> {
    let (mut body, rest) = value(document, SEQUENCE)?;
    let mut numbers = Vec::new();
    while !body.is_empty() {
        let (number, after) = value(body, INTEGER)?;
        numbers.push(if number == [0] { number } else { positive(number)? });
        body = after;
    }
    rest.is_empty().then_some(numbers)
}

/// A sequence of numbers.
pub(super) fn sequence(numbers: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let parts: Vec<Zeroizing<Vec<u8>>> = numbers.iter().map(|number| Zeroizing::new(integer(number))).collect();
    let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_slice()).collect();
    Zeroizing::new(tagged(SEQUENCE, &parts))
}

pub(super) fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let key = tagged(SEQUENCE, &[&integer(modulus), &integer(exponent)]);
    let algorithm = tagged(SEQUENCE, &[&tagged(OID, &[RSA_ENCRYPTION]), &[0x05, 0x00]]);
    tagged(SEQUENCE, &[&algorithm, &tagged(BIT_STRING, &[&[0], &key])])
}

pub(super) fn ec_spki(kind: KeyKind, x: &[u8], y: &[u8]) -> Option<Vec<u8>> {
    let (curve, length) = match kind {
        KeyKind::P256 => (PRIME256V1, 32),
        KeyKind::P384 => (SECP384R1, 48),
        KeyKind::P521 => (SECP521R1, 66),
        _ => return None,
    };
    if x.len() != length || y.len() != length {
        return None;
    }
    let algorithm = tagged(SEQUENCE, &[&tagged(OID, &[EC_PUBLIC_KEY]), &tagged(OID, &[curve])]);
    Some(tagged(SEQUENCE, &[&algorithm, &tagged(BIT_STRING, &[&[0, 4], x, y])]))
}

/// The SubjectPublicKeyInfo of the bare bytes of an ML-DSA key.
pub(super) fn lattice_spki(kind: KeyKind, bytes: &[u8]) -> Option<Vec<u8>> {
    let oid = [ML_DSA, &[17 + u8::from(kind == KeyKind::MlDsa65) + 2 * u8::from(kind == KeyKind::MlDsa87)]].concat();
    let algorithm = tagged(SEQUENCE, &[&tagged(OID, &[&oid])]);
    let (known, length) = lattice(&oid)?;
    (known == kind && bytes.len() == length).then(|| tagged(SEQUENCE, &[&algorithm, &tagged(BIT_STRING, &[&[0], bytes])]))
}

pub(super) fn ed25519_spki(bytes: &[u8]) -> Option<Vec<u8>> {
    let algorithm = tagged(SEQUENCE, &[&tagged(OID, &[ED25519])]);
    (bytes.len() == 32).then(|| tagged(SEQUENCE, &[&algorithm, &tagged(BIT_STRING, &[&[0], bytes])]))
}

/// PEM (RFC 7468) with lines of 64 characters.
pub(crate) fn pem(label: &str, document: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(STANDARD.encode(document));
    let mut out = Zeroizing::new(String::with_capacity(body.len() + body.len() / 64 + 2 * label.len() + 40));
    out.push_str("-----BEGIN ");
    out.push_str(label);
    out.push_str("-----\n");
    let mut rest: &str = &body;
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out.push_str("-----END ");
    out.push_str(label);
    out.push_str("-----\n");
    out
}

/// The algorithm identifier and the bits.
fn spki(document: &[u8]) -> Option<(&[u8], &[u8])> {
    let (body, rest) = value(document, SEQUENCE)?;
    let (algorithm, body) = value(body, SEQUENCE)?;
    let (bits, end) = value(body, BIT_STRING)?;
    let (unused, bits) = bits.split_first()?;
    (rest.is_empty() && end.is_empty() && *unused == 0).then_some((algorithm, bits))
}

/// The content of the first value, which must have this tag, and what stands behind it.
fn value(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = input.split_first()?;
    if *first != tag {
        return None;
    }
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match *length {
        short @ 0..=0x7f => (usize::from(short), rest),
        long @ 0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            let length = bytes.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
            // DER: the shortest form only.
            if length < 0x80 || bytes.first() == Some(&0) {
                return None;
            }
            (length, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// A number above zero without its sign byte; only the shortest form, as DER has it.
fn positive(integer: &[u8]) -> Option<&[u8]> {
    match integer {
        [0, rest @ ..] if rest.first().is_some_and(|first| first & 0x80 != 0) => Some(rest),
        [first, ..] if *first != 0 && first & 0x80 == 0 => Some(integer),
        _ => None,
    }
}

fn integer(unsigned: &[u8]) -> Vec<u8> {
    let start = unsigned.iter().position(|byte| *byte != 0).unwrap_or(unsigned.len());
    let digits = &unsigned[start..];
    match digits.first() {
        None => tagged(INTEGER, &[&[0]]),
        Some(first) if first & 0x80 != 0 => tagged(INTEGER, &[&[0], digits]),
        Some(_) => tagged(INTEGER, &[digits]),
    }
}

fn tagged(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    let bytes = length.to_be_bytes();
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1);
    if length >= 0x80 {
        // At most eight bytes of length.
        out.push(0x80 | u8::try_from(bytes.len() - start).unwrap_or(0));
    }
    out.extend_from_slice(&bytes[start..]);
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_are_not_minimal_or_run_over_are_refused() {
        assert_eq!(value(&[0x30, 0x02, 1, 2, 3], SEQUENCE), Some((&[1u8, 2][..], &[3u8][..])));
        for bad in [
            &[0x30u8][..],
            &[0x30, 0x02, 1],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x81, 0x02, 1, 2],
            &[0x30, 0x82, 0x00, 0x02, 1, 2],
            &[0x30, 0x84, 0, 0, 0, 2, 1, 2],
            &[0x30, 0x85, 0, 0, 0, 0, 2, 1, 2],
            &[0x31, 0x01, 1],
        ] {
            assert_eq!(value(bad, SEQUENCE), None, "{bad:?}");
        }
    }

    #[test]
    fn numbers_are_positive_and_minimal() {
        assert_eq!(positive(&[0, 0x80]), Some(&[0x80u8][..]));
        assert_eq!(positive(&[5]), Some(&[5u8][..]));
        for bad in [&[0u8][..], &[0x80], &[0, 5], &[]] {
            assert_eq!(positive(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn written_numbers_read_back() {
        for digits in [&[1u8, 0, 1][..], &[0x80], &[0xff; 256]] {
            let (content, rest) = value(&integer(digits), INTEGER).map(|(a, b)| (a.to_vec(), b.to_vec())).unwrap_or_default();
            assert_eq!((positive(&content), rest.len()), (Some(digits), 0));
        }
    }
}
