//! RSA signatures of the kinds that the library does not have, padded by [`super::padding`]. What is public is computed by one
//! arithmetic, what is secret by another, whose time does not depend on its numbers (`crypto-bigint`); a signature leaves only when
//! it was checked with the public half, so that no fault of the machine can show the key.

use super::padding::{Salt, is_pss, longest_salt, pkcs1, pss};
use super::{Message, PkError, RsaNumbers, Scheme, digest_of};
use crate::digest::Algorithm;
use crypto_bigint::BoxedUint;
use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use num_bigint::BigUint;
use zeroize::{Zeroize, Zeroizing};

/// # Errors
/// [`PkError::Mismatch`] where the digest has another length than its kind's, [`PkError::Refused`] where the value or its salt is
/// too long for the key.
pub(super) fn sign(key: &RsaNumbers, scheme: Scheme, message: Message<'_>) -> Result<Vec<u8>, PkError> {
    let length = key.modulus.len();
    let bits = bits_of(&key.modulus)?;
    let with_salt = |algorithm: Algorithm, salt: usize| {
        // The bound is of the key's size, before anything is drawn.
        longest_salt(algorithm, bits - 1).filter(|longest| salt <= *longest).ok_or(PkError::Refused)?;
        let mut drawn = vec![0; salt];
        aws_lc_rs::rand::fill(&mut drawn).map_err(|_| PkError::Failed)?;
        pss(algorithm, &digest_of(algorithm, message)?, &drawn, bits - 1)
    };
    let encoded = match scheme {
        Scheme::Pkcs1(algorithm) => pkcs1(Some(algorithm), &digest_of(algorithm, message)?, length)?,
        Scheme::Pkcs1Bare => pkcs1(None, bare(message)?, length)?,
        Scheme::Pss(algorithm) | Scheme::PssAnySalt(algorithm) => with_salt(algorithm, algorithm.bytes())?,
        Scheme::PssSalt(algorithm, salt) => with_salt(algorithm, salt)?,
        Scheme::PssLongestSalt(algorithm) => with_salt(algorithm, longest_salt(algorithm, bits - 1).ok_or(PkError::Refused)?)?,
        _ => return Err(PkError::Mismatch),
    };
    let signature = private(key, &encoded)?;
    let opened = public(&key.modulus, &key.public_exponent, &signature).ok_or(PkError::Failed)?;
    let (opened, encoded) = (trimmed(&opened), trimmed(&encoded));
    if opened == encoded { Ok(signature) } else { Err(PkError::Failed) }
}

/// # Errors
/// [`PkError::Mismatch`] where the digest has another length than its kind's. A wrong signature is `false`.
pub(super) fn verify(
    modulus: &[u8],
    exponent: &[u8],
    scheme: Scheme,
    message: Message<'_>,
    signature: &[u8],
) -> Result<bool, PkError> {
    let bits = bits_of(modulus)?;
    // The encoded message is as long as the modulus, but for PSS a byte shorter where its first bit is a byte's first.
    let opened = |length: usize| {
        let opened = public(modulus, exponent, signature)?;
        let opened = trimmed(&opened);
        let mut out = vec![0; length.checked_sub(opened.len())?];
        out.extend_from_slice(opened);
        Some(out)
    };
    let of_pss = |algorithm, salt| {
        let digest = digest_of(algorithm, message)?;
        let opened = opened((bits - 1).div_ceil(8));
        Ok(opened.is_some_and(|opened| is_pss(algorithm, &opened, bits - 1, &digest, salt)))
    };
    match scheme {
        Scheme::Pkcs1(algorithm) => {
            let expected = pkcs1(Some(algorithm), &digest_of(algorithm, message)?, modulus.len())?;
            Ok(opened(modulus.len()).is_some_and(|opened| opened == expected))
        }
        Scheme::Pkcs1Bare => {
            let Ok(expected) = pkcs1(None, bare(message)?, modulus.len()) else { return Ok(false) };
            Ok(opened(modulus.len()).is_some_and(|opened| opened == expected))
        }
        Scheme::Pss(algorithm) => of_pss(algorithm, Salt::Exactly(algorithm.bytes())),
        Scheme::PssSalt(algorithm, salt) => of_pss(algorithm, Salt::Exactly(salt)),
        Scheme::PssAnySalt(algorithm) | Scheme::PssLongestSalt(algorithm) => of_pss(algorithm, Salt::Any),
        _ => Err(PkError::Mismatch),
    }
}

fn bare<'m>(message: Message<'m>) -> Result<&'m [u8], PkError> {
    match message {
        Message::Digest(value) => Ok(value),
        Message::Whole(_) => Err(PkError::Mismatch),
    }
}

fn bits_of(modulus: &[u8]) -> Result<usize, PkError> {
    let first = modulus.first().filter(|first| **first != 0).ok_or(PkError::Failed)?;
    Ok(8 * modulus.len() - usize::try_from(first.leading_zeros()).unwrap_or(0))
}

fn trimmed(number: &[u8]) -> &[u8] {
    &number[number.iter().position(|byte| *byte != 0).unwrap_or(number.len())..]
}

/// RSAVP1 (section 5.2.2): nothing where the signature is no number below the modulus, or has another length than it.
fn public(modulus: &[u8], exponent: &[u8], signature: &[u8]) -> Option<Vec<u8>> {
    let (n, s) = (BigUint::from_bytes_be(modulus), BigUint::from_bytes_be(signature));
    (signature.len() == modulus.len() && s < n).then(|| s.modpow(&BigUint::from_bytes_be(exponent), &n).to_bytes_be())
}

/// RSASP1 (section 5.2.1), without the primes: slower than the library's by far, and of constant time in the exponent.
fn private(key: &RsaNumbers, encoded: &[u8]) -> Result<Vec<u8>, PkError> {
    let precision = u32::try_from(key.modulus.len().next_multiple_of(8) * 8).map_err(|_| PkError::Failed)?;
    let number = |bytes: &[u8]| BoxedUint::from_be_slice(trimmed(bytes), precision).map_err(|_| PkError::Failed);
    let modulus = Option::from(number(&key.modulus)?.into_odd()).ok_or(PkError::Failed)?;
    let exponent = Zeroizing::new(number(&key.private_exponent)?);
    let parameters = BoxedMontyParams::new(modulus);
    let mut power = BoxedMontyForm::new(number(encoded)?, &parameters).pow(&exponent);
    let signature = power.retrieve().to_be_bytes();
    power.zeroize();
    let leading = signature.len().checked_sub(key.modulus.len()).ok_or(PkError::Failed)?;
    Ok(signature[leading..].to_vec())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

    use super::super::{KeyKind, PrivateKey};
    use super::*;

    #[test]
    fn what_the_library_checks_and_what_it_makes_fit_what_is_made_and_checked_here() {
        let key = PrivateKey::generate(KeyKind::Rsa(2048)).unwrap();
        let (numbers, public) = (key.rsa_numbers().unwrap(), key.public().unwrap());
        let (modulus, exponent) = public.rsa_parts().unwrap();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512] {
            for scheme in [Scheme::Pkcs1(algorithm), Scheme::Pss(algorithm)] {
                let here = sign(&numbers, scheme, Message::Whole(b"m")).unwrap();
                assert_eq!(public.verify(scheme, Message::Whole(b"m"), &here), Ok(true), "{scheme:?}");
                let there = key.sign(scheme, Message::Whole(b"m")).unwrap();
                assert_eq!(verify(modulus, exponent, scheme, Message::Whole(b"m"), &there), Ok(true), "{scheme:?}");
                assert_eq!(verify(modulus, exponent, scheme, Message::Whole(b"n"), &there), Ok(false), "{scheme:?}");
                if matches!(scheme, Scheme::Pkcs1(_)) {
                    assert_eq!(here, there, "there is but one");
                }
            }
        }
    }

    #[test]
    fn salts_of_every_length_that_fits() {
        let key = PrivateKey::generate(KeyKind::Rsa(2048)).unwrap();
        let public = key.public().unwrap();
        let algorithm = Algorithm::Sha256;
        let check = |scheme, signature: &[u8]| public.verify(scheme, Message::Whole(b"m"), signature);
        for length in [0, 1, 20, 31, 33, 222] {
            let signature = key.sign(Scheme::PssSalt(algorithm, length), Message::Whole(b"m")).unwrap();
            assert_eq!(check(Scheme::PssAnySalt(algorithm), &signature), Ok(true), "{length}");
            assert_eq!(check(Scheme::PssSalt(algorithm, length), &signature), Ok(true), "{length}");
            assert_eq!(check(Scheme::PssSalt(algorithm, length + 1), &signature), Ok(false), "{length}");
            assert_eq!(check(Scheme::Pss(algorithm), &signature), Ok(false), "{length}");
        }
        let longest = key.sign(Scheme::PssLongestSalt(algorithm), Message::Whole(b"m")).unwrap();
        assert_eq!(check(Scheme::PssSalt(algorithm, 222), &longest), Ok(true));
        assert_eq!(key.sign(Scheme::PssSalt(algorithm, 223), Message::Whole(b"m")), Err(PkError::Refused));
        assert_eq!(key.sign(Scheme::PssSalt(algorithm, usize::MAX), Message::Whole(b"m")), Err(PkError::Refused));
    }

    #[test]
    fn a_bare_value_is_signed_as_it_is_given() {
        let key = PrivateKey::generate(KeyKind::Rsa(2048)).unwrap();
        let public = key.public().unwrap();
        for length in [0, 1, 20, 245] {
            let value = vec![7; length];
            let signature = key.sign(Scheme::Pkcs1Bare, Message::Digest(&value)).unwrap();
            assert_eq!(public.verify(Scheme::Pkcs1Bare, Message::Digest(&value), &signature), Ok(true));
            assert_eq!(public.verify(Scheme::Pkcs1Bare, Message::Digest(&[8; 20]), &signature), Ok(false));
            assert_eq!(public.verify(Scheme::Pkcs1Bare, Message::Digest(&[8; 246]), &signature), Ok(false));
        }
        assert_eq!(key.sign(Scheme::Pkcs1Bare, Message::Digest(&[7; 246])), Err(PkError::Refused));
        assert_eq!(key.sign(Scheme::Pkcs1Bare, Message::Whole(b"m")), Err(PkError::Mismatch));
    }

    #[test]
    fn a_signature_that_is_no_number_below_the_modulus_is_wrong() {
        let key = PrivateKey::generate(KeyKind::Rsa(2048)).unwrap().public().unwrap();
        let (modulus, _) = key.rsa_parts().unwrap();
        for bad in [&[][..], &[1], &[0; 256], &[0xff; 256], modulus, &[0; 257]] {
            for scheme in
                [Scheme::Pkcs1(Algorithm::Sha224), Scheme::PssAnySalt(Algorithm::Sha256), Scheme::Pss(Algorithm::Sha3_256)]
            {
                assert_eq!(key.verify(scheme, Message::Whole(b"m"), bad), Ok(false));
            }
        }
    }
}
