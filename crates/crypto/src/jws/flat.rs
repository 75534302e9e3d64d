//! The flattened JSON form (RFC 7515 section 7.2.2) as ACME sends it: one signature, everything protected.

use super::token::{STRICT, object};
use super::{Algorithm, PublicKey, Refused};
use crate::digest::Algorithm as Digest;
use crate::mac::{ct_eq, hmac};
use base64::Engine;
use coffer_types::{Json, Object};
use std::fmt;
use zeroize::Zeroizing;

/// A signed message of which nothing is verified yet: its header says which key to try, and only [`Flat::verify`] and
/// [`Flat::verify_mac`] give the payload.
pub struct Flat {
    header: Object,
    algorithm: String,
    signed: Zeroizing<String>,
    payload: Zeroizing<Vec<u8>>,
    signature: Vec<u8>,
}

impl Flat {
    /// Takes the three members, each base64url.
    ///
    /// # Errors
    /// [`Refused`]: an encoding that is not the strict one, a header that is no JSON object, has no `alg` or demands extensions (`crit`,
    /// `b64`).
    pub fn read(protected: &str, payload: &str, signature: &str) -> Result<Self, Refused> {
        if protected.len() + payload.len() + signature.len() > super::MAX_TOKEN_BYTES {
            return Err(Refused::TooLong);
        }
        let header = object(protected).map_err(|e| if e == Refused::Claims { Refused::Header } else { e })?;
        if header.contains("crit") || header.contains("b64") {
            return Err(Refused::Critical);
        }
        let algorithm = header.get("alg").and_then(Json::as_str).ok_or(Refused::Header)?.to_owned();
        Ok(Self {
            header,
            algorithm,
            signed: Zeroizing::new(format!("{protected}.{payload}")),
            payload: Zeroizing::new(STRICT.decode(payload).map_err(|_| Refused::Encoding)?),
            signature: STRICT.decode(signature).map_err(|_| Refused::Encoding)?,
        })
    }

    /// The protected header. Not verified: to find the key by, never to decide on before.
    pub fn header(&self) -> &Object {
        &self.header
    }

    /// The payload, whose signature is this key's.
    ///
    /// # Errors
    /// [`Refused::Unsupported`] for `none`, every HMAC and what is not known; [`Refused::NoKey`] where the algorithm does not fit the
    /// key; [`Refused::Signature`].
    pub fn verify(&self, key: &PublicKey) -> Result<&[u8], Refused> {
        let algorithm = Algorithm::parse(&self.algorithm).ok_or(Refused::Unsupported)?;
        if !key.fits(algorithm) {
            return Err(Refused::NoKey);
        }
        if key.verify(algorithm, self.signed.as_bytes(), &self.signature) { Ok(&self.payload) } else { Err(Refused::Signature) }
    }

    /// The payload, whose MAC is of this shared key: HS256, HS384 or HS512.
    ///
    /// # Errors
    /// [`Refused::Unsupported`] for every other algorithm, [`Refused::Signature`].
    pub fn verify_mac(&self, key: &[u8]) -> Result<&[u8], Refused> {
        let digest = match &*self.algorithm {
            "HS256" => Digest::Sha256,
            "HS384" => Digest::Sha384,
            "HS512" => Digest::Sha512,
            _ => return Err(Refused::Unsupported),
        };
        let right = ct_eq(&hmac(digest, key, self.signed.as_bytes()), &self.signature);
        if right { Ok(&self.payload) } else { Err(Refused::Signature) }
    }
}

/// Prints neither payload nor signature.
impl fmt::Debug for Flat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flat").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pk::{KeyKind, Message, PrivateKey, Scheme};
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    fn b64(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn signed(key: &PrivateKey, header: &str, payload: &str) -> (String, String, String) {
        let (header, payload) = (b64(header.as_bytes()), b64(payload.as_bytes()));
        let message = format!("{header}.{payload}");
        let signature = key.sign(Scheme::EcdsaFixed(Digest::Sha256), Message::Whole(message.as_bytes())).unwrap();
        (header, payload, b64(&signature))
    }

    fn public(key: &PrivateKey) -> PublicKey {
        PublicKey::from_spki(key.public().unwrap().spki()).unwrap()
    }

    #[test]
    fn only_its_key_and_algorithm_open_it() {
        let (key, other) = (PrivateKey::generate(KeyKind::P256).unwrap(), PrivateKey::generate(KeyKind::P256).unwrap());
        let wide = PrivateKey::generate(KeyKind::P384).unwrap();
        let (h, p, s) = signed(&key, r#"{"alg":"ES256","nonce":"n"}"#, "{}");
        let flat = Flat::read(&h, &p, &s).unwrap();
        assert_eq!(flat.verify(&public(&key)), Ok(&b"{}"[..]));
        assert_eq!(flat.header().get("nonce").and_then(Json::as_str), Some("n"));
        assert_eq!(flat.verify(&public(&other)), Err(Refused::Signature));
        assert_eq!(flat.verify(&public(&wide)), Err(Refused::NoKey));
        assert_eq!(flat.verify_mac(b"k"), Err(Refused::Unsupported));
        assert_eq!(Flat::read(&h, &b64(b"{ }"), &s).unwrap().verify(&public(&key)), Err(Refused::Signature));
        for algorithm in ["none", "HS256", "RS256", "ES384", "es256", ""] {
            let (h, p, s) = signed(&key, &format!(r#"{{"alg":"{algorithm}"}}"#), "{}");
            assert!(Flat::read(&h, &p, &s).unwrap().verify(&public(&key)).is_err(), "{algorithm}");
        }
    }

    #[test]
    fn a_shared_key_is_for_macs_alone() {
        let (h, p) = (b64(br#"{"alg":"HS256"}"#), b64(b"{}"));
        let mac = b64(&hmac(Digest::Sha256, b"key", format!("{h}.{p}").as_bytes()));
        let flat = Flat::read(&h, &p, &mac).unwrap();
        assert_eq!(flat.verify_mac(b"key"), Ok(&b"{}"[..]));
        assert_eq!(flat.verify_mac(b"yek"), Err(Refused::Signature));
        assert_eq!(flat.verify(&public(&PrivateKey::generate(KeyKind::P256).unwrap())), Err(Refused::Unsupported));
        assert_eq!(Flat::read(&h, &p, "").unwrap().verify_mac(b"key"), Err(Refused::Signature));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let h = b64(br#"{"alg":"ES256"}"#);
        assert!(Flat::read(&h, "", "").is_ok(), "an empty payload is ACME's way to read");
        for (header, payload, signature, why) in [
            ("", "", "", Refused::Header),
            ("e30", "", "", Refused::Header),
            ("W10", "", "", Refused::Header),
            ("{}", "", "", Refused::Encoding),
            (&h, "a=", "", Refused::Encoding),
            (&h, "", "+/", Refused::Encoding),
            (&b64(br#"{"alg":5}"#), "", "", Refused::Header),
            (&b64(br#"{"alg":"ES256","crit":["b64"]}"#), "", "", Refused::Critical),
            (&b64(br#"{"alg":"ES256","b64":false}"#), "", "", Refused::Critical),
            (&b64(br#"{"alg":"ES256","alg":"none"}"#), "", "", Refused::Header),
            (&h, &"A".repeat(70_000), "", Refused::TooLong),
        ] {
            assert_eq!(Flat::read(header, payload, signature).map(|_| ()), Err(why), "{header}");
        }
    }

    /// The example of RFC 7638 section 3.1.
    #[test]
    fn a_thumbprint_is_the_rfcs() {
        let jwk = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;
        let jwk = coffer_types::json::parse(jwk.as_bytes(), &coffer_types::json::Limits::NONE).unwrap().into_object().unwrap();
        assert_eq!(PublicKey::from_jwk(&jwk).unwrap().thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }
}
