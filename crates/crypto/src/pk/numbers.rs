//! Keys as numbers, for forms that carry them so. The arithmetic library does not wipe its numbers: only keys that leave in plaintext
//! anyway, or come so, pass here.

use super::der;
use num_bigint::BigUint;
use zeroize::Zeroizing;

/// The numbers of an RSA key, big-endian without leading zeros.
pub struct RsaNumbers {
    pub modulus: Vec<u8>,
    pub public_exponent: Vec<u8>,
    pub private_exponent: Zeroizing<Vec<u8>>,
    pub primes: [Zeroizing<Vec<u8>>; 2],
}

/// In digits of ten.
pub fn decimal(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(BigUint::from_bytes_be(bytes).to_str_radix(10))
}

/// Of digits of ten; big-endian without leading zeros.
pub fn from_decimal(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    // A number of 8192 bits has 2467 digits.
    let fits = !text.is_empty() && text.len() <= 2500 && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| BigUint::parse_bytes(text.as_bytes(), 10)).flatten().map(|number| Zeroizing::new(number.to_bytes_be()))
}

/// The PKCS#1 `RSAPrivateKey` (RFC 8017 appendix A.1.2), with the numbers of the Chinese remainder theorem.
pub(super) fn pkcs1(key: &RsaNumbers) -> Option<Zeroizing<Vec<u8>>> {
    let number = |bytes: &[u8]| BigUint::from_bytes_be(bytes);
    let (p, q, d) = (number(&key.primes[0]), number(&key.primes[1]), number(&key.private_exponent));
    let one = BigUint::from(1u8);
    if p <= one || q <= one {
        return None;
    }
    let (dp, dq, qi) = (&d % (&p - &one), &d % (&q - &one), q.modinv(&p)?);
    let bytes = |number: BigUint| Zeroizing::new(number.to_bytes_be());
    let (dp, dq, qi) = (bytes(dp), bytes(dq), bytes(qi));
    Some(der::sequence(&[
        &[0],
        &key.modulus,
        &key.public_exponent,
        &key.private_exponent,
        &key.primes[0],
        &key.primes[1],
        &dp,
        &dq,
        &qi,
    ]))
}

pub(super) fn of_pkcs1(document: &[u8]) -> Option<RsaNumbers> {
    let numbers = der::numbers(document)?;
    let [_, modulus, public_exponent, private_exponent, p, q, _, _, _] = numbers[..] else { return None };
    Some(RsaNumbers {
        modulus: modulus.to_vec(),
        public_exponent: public_exponent.to_vec(),
        private_exponent: Zeroizing::new(private_exponent.to_vec()),
        primes: [Zeroizing::new(p.to_vec()), Zeroizing::new(q.to_vec())],
    })
}

#[cfg(test)]
mod tests {
    use super::super::{KeyKind, PrivateKey};
    use super::*;

    #[test]
    fn keys_come_back_from_their_numbers() {
        let rsa = PrivateKey::generate(KeyKind::Rsa(2048)).expect("generates");
        let again = PrivateKey::from_rsa(&rsa.rsa_numbers().expect("RSA")).expect("a key");
        assert_eq!(rsa.to_pkcs8().expect("writes"), again.to_pkcs8().expect("writes"));
        for kind in [KeyKind::P256, KeyKind::P384, KeyKind::P521] {
            let key = PrivateKey::generate(kind).expect("generates");
            let public = key.public().expect("a public half");
            let scalar = from_decimal(&decimal(&key.ec_scalar().expect("EC"))).expect("digits");
            let again = PrivateKey::from_ec(kind, &scalar, &public).expect("a key");
            assert_eq!(again.public().expect("a public half"), public);
            let other = PrivateKey::generate(kind).expect("generates").public().expect("a public half");
            assert!(PrivateKey::from_ec(kind, &scalar, &other).is_err(), "another's point");
        }
    }

    #[test]
    fn what_makes_no_key_is_refused() {
        let mut numbers = PrivateKey::generate(KeyKind::Rsa(2048)).expect("generates").rsa_numbers().expect("RSA");
        numbers.primes[0][10] ^= 1;
        assert!(PrivateKey::from_rsa(&numbers).is_err());
        numbers.primes[0] = Zeroizing::new(vec![]);
        assert!(PrivateKey::from_rsa(&numbers).is_err());
        for text in ["", "-1", "1e3", "0x1", " 1", &"9".repeat(2501)] {
            assert!(from_decimal(text).is_none(), "{text}");
        }
        assert_eq!(from_decimal("65537").map(|b| b.to_vec()), Some(vec![1, 0, 1]));
    }
}
