//! Making certificates (RFC 5280 section 4.1), and PEM around what is made.

use super::der::{Malformed, SEQUENCE, constructed};
use super::extensions::Extensions;
use super::signature::{SignatureAlgorithm, split};
use super::write::Writer;
use crate::pk::{PkError, PrivateKey};
use aws_lc_rs::digest;
use zeroize::Zeroizing;

/// A certificate before it is signed. It says what it is told: who fills it in decides what may stand there.
pub struct Draft<'a> {
    /// Big-endian, without a sign. RFC 5280 wants it above zero and of at most 20 bytes.
    pub serial: &'a [u8],
    /// DER of the issuer's name, as the issuer's certificate has it for its subject.
    pub issuer: &'a [u8],
    /// DER of the subject's name.
    pub subject: &'a [u8],
    /// Seconds since 1970, both included.
    pub not_before: i64,
    pub not_after: i64,
    /// DER of the subject's SubjectPublicKeyInfo.
    pub spki: &'a [u8],
    pub extensions: &'a Extensions,
}

impl Draft<'_> {
    /// DER of the certificate. An RSA signature takes up to milliseconds: not on an async thread.
    ///
    /// # Errors
    /// [`PkError::Mismatch`] where the algorithm does not fit the key.
    pub fn sign(&self, key: &PrivateKey, algorithm: SignatureAlgorithm) -> Result<Vec<u8>, PkError> {
        let mut writer =
            Writer::with_capacity(self.issuer.len() + self.subject.len() + self.spki.len() + self.extensions.bytes().len() + 128);
        writer.nest(SEQUENCE, |w| {
            w.nest(constructed(0), |w| w.small(2));
            w.unsigned(self.serial);
            w.put(SEQUENCE, algorithm.identifier().as_ref());
            w.raw(self.issuer);
            w.nest(SEQUENCE, |w| {
                w.time(self.not_before);
                w.time(self.not_after);
            });
            w.raw(self.subject);
            w.raw(self.spki);
            if !self.extensions.is_empty() {
                w.nest(constructed(3), |w| w.put(SEQUENCE, self.extensions.bytes()));
            }
        });
        algorithm.sign(writer.bytes(), key)
    }
}

/// The key identifier of RFC 5280 section 4.2.1.2 (1): SHA-1 of the key's bits. It names a key and proves nothing.
///
/// # Errors
/// No SubjectPublicKeyInfo.
pub fn key_id(spki: &[u8]) -> Result<[u8; 20], Malformed> {
    let (_, bits) = split(spki)?;
    let sum = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bits);
    sum.as_ref().try_into().map_err(|_| Malformed("key identifier"))
}

/// PEM (RFC 7468) of something public, with a newline at its end.
pub fn pem(label: &str, der: &[u8]) -> String {
    crate::pk::pem(label, der).to_string()
}

/// A block of PEM: its label, and its bytes, which may be a private key's.
pub type PemBlock = (String, Zeroizing<Vec<u8>>);

/// The blocks of a PEM text, label and bytes, in their order; text between them is passed over.
///
/// # Errors
/// A block that does not read. No block at all is an empty list.
pub fn pem_blocks(text: &str) -> Result<Vec<PemBlock>, Malformed> {
    let blocks = ::pem::parse_many(text).map_err(|_| Malformed("PEM"))?;
    Ok(blocks.into_iter().map(|block| (block.tag().to_owned(), Zeroizing::new(block.into_contents()))).collect())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Party, client};
    use super::super::{BasicConstraints, Certificate, KeyUses, Names, Request, Subject, client_path, request};
    use super::*;
    use crate::pk::KeyKind;
    use coffer_types::Timestamp;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_secs(1_795_400_000);

    struct Made {
        key: PrivateKey,
        certificate: Certificate,
        name: Vec<u8>,
    }

    fn root(kind: KeyKind, algorithm: SignatureAlgorithm, path_length: Option<u32>) -> Made {
        let key = PrivateKey::generate(kind).unwrap();
        let name =
            Subject { common_name: "root".to_owned(), organization: vec!["A".to_owned(), "B".to_owned()], ..Subject::default() }
                .to_der();
        let spki = key.public().unwrap().spki().to_vec();
        let mut extensions = Extensions::default();
        extensions.key_usage(KeyUses::CERT_SIGN | KeyUses::CRL_SIGN);
        extensions.basic_constraints(BasicConstraints { authority: true, path_length });
        extensions.subject_key_id(&key_id(&spki).unwrap());
        let draft = Draft {
            serial: &[0x80, 1],
            issuer: &name,
            subject: &name,
            not_before: NOW.secs() - 30,
            not_after: super::super::LAST_SECOND,
            spki: &spki,
            extensions: &extensions,
        };
        let certificate = Certificate::from_der(&draft.sign(&key, algorithm).unwrap()).unwrap();
        Made { key, certificate, name }
    }

    fn leaf(issuer: &Made, algorithm: SignatureAlgorithm) -> Certificate {
        let key = PrivateKey::generate(KeyKind::P256).unwrap();
        let spki = key.public().unwrap().spki().to_vec();
        let mut extensions = Extensions::default();
        extensions.key_usage(KeyUses::DIGITAL_SIGNATURE);
        extensions.extended_key_usage(&[super::super::Oid::parse("1.3.6.1.5.5.7.3.2").unwrap()]);
        extensions.authority_key_id(issuer.certificate.subject_key_id_bytes().unwrap());
        extensions.authority_access(&["http://o/".to_owned()], &["http://i/".to_owned()]);
        extensions.alternative_names(&Names { dns: vec!["a.example".to_owned()], ..Names::default() }, false);
        extensions.crl_points(&["http://c/".to_owned()]);
        extensions.freshest_crl(&["http://d/".to_owned()]);
        let draft = Draft {
            serial: &[0, 7],
            issuer: &issuer.name,
            subject: &Subject { common_name: "leaf".to_owned(), ..Subject::default() }.to_der(),
            not_before: NOW.secs() - 30,
            not_after: NOW.secs() + 3600,
            spki: &spki,
            extensions: &extensions,
        };
        Certificate::from_der(&draft.sign(&issuer.key, algorithm).unwrap()).unwrap()
    }

    #[test]
    fn what_is_made_verifies_with_every_algorithm_that_fits() {
        let rsa = [
            SignatureAlgorithm::RsaSha256,
            SignatureAlgorithm::RsaSha384,
            SignatureAlgorithm::RsaPssSha256,
            SignatureAlgorithm::RsaPssSha512,
        ];
        let ec = [SignatureAlgorithm::EcdsaSha256, SignatureAlgorithm::EcdsaSha384, SignatureAlgorithm::EcdsaSha512];
        let cases = [
            (KeyKind::Rsa(2048), &rsa[..]),
            (KeyKind::P256, &ec[..]),
            (KeyKind::P384, &ec[..]),
            (KeyKind::P521, &ec[2..]),
            (KeyKind::Ed25519, &[SignatureAlgorithm::Ed25519][..]),
        ];
        for (kind, algorithms) in cases {
            for &algorithm in algorithms {
                let root = root(kind, algorithm, None);
                assert!(root.certificate.is_self_signed(), "{kind:?} {algorithm:?}");
                assert_eq!(root.certificate.not_after_secs(), super::super::LAST_SECOND);
                assert_eq!(root.certificate.signature_algorithm(), Some(algorithm));
                assert_eq!(root.certificate.serial(), "32769");
                let leaf = leaf(&root, algorithm);
                assert_eq!(
                    client_path(&leaf, &[], &[root.certificate], NOW).map(|path| path.len()),
                    Ok(2),
                    "{kind:?} {algorithm:?}"
                );
                assert_eq!(leaf.ocsp_servers(), ["http://o/"]);
            }
        }
    }

    #[test]
    fn algorithms_of_other_keys_are_refused() {
        let key = PrivateKey::generate(KeyKind::P256).unwrap();
        for algorithm in SignatureAlgorithm::ALL {
            let made = request(&[0x30, 0], &Extensions::default(), &key, algorithm);
            assert_eq!(made.is_ok(), algorithm.fits(KeyKind::P256), "{algorithm:?}");
            assert_eq!(SignatureAlgorithm::from_name(&algorithm.name().to_lowercase()), Some(algorithm));
        }
        assert_eq!(SignatureAlgorithm::for_key(KeyKind::P256, 224, false), None);
        assert_eq!(SignatureAlgorithm::for_key(KeyKind::P521, 0, true), Some(SignatureAlgorithm::EcdsaSha512));
        assert_eq!(SignatureAlgorithm::for_key(KeyKind::Rsa(2048), 512, true), Some(SignatureAlgorithm::RsaPssSha512));
        assert_eq!(SignatureAlgorithm::from_name("SHA1WithRSA"), None);
    }

    #[test]
    fn a_path_length_of_zero_holds() {
        let root = root(KeyKind::P256, SignatureAlgorithm::EcdsaSha256, Some(0));
        assert_eq!(root.certificate.path_length(), Some(0));
        assert!(root.certificate.may_sign_certificates() && root.certificate.may_sign_lists());
    }

    fn asking() -> (PrivateKey, Vec<u8>) {
        let key = PrivateKey::generate(KeyKind::P256).unwrap();
        let mut extensions = Extensions::default();
        extensions.alternative_names(
            &Names { dns: vec!["a.example".to_owned()], ip: vec![[10, 0, 0, 1].into()], ..Names::default() },
            false,
        );
        extensions.basic_constraints(BasicConstraints { authority: true, path_length: None });
        extensions.key_usage(KeyUses::CERT_SIGN);
        extensions.extended_key_usage(&[super::super::Oid::parse("1.3.6.1.5.5.7.3.1").unwrap()]);
        let name = Subject { common_name: "a".to_owned(), unit: vec!["x".to_owned()], ..Subject::default() };
        let der = request(&name.to_der(), &extensions, &key, SignatureAlgorithm::EcdsaSha256).unwrap();
        (key, der)
    }

    #[test]
    fn a_request_reads_as_it_was_made() {
        let (key, der) = asking();
        let read = Request::from_pem(&pem("CERTIFICATE REQUEST", &der)).unwrap();
        assert_eq!(read.key(), &key.public().unwrap());
        assert_eq!((&*read.name().common_name, &*read.name().unit), ("a", &["x".to_owned()][..]));
        assert_eq!(read.names().dns, ["a.example"]);
        assert_eq!(read.key_uses(), Some(KeyUses::CERT_SIGN));
        assert_eq!(read.basic_constraints().map(|c| c.authority), Some(true));
        assert_eq!(read.extended_key_usage(), ["1.3.6.1.5.5.7.3.1"]);
        assert_eq!(read.extensions().len(), 4);
        let plain = request(&[0x30, 0], &Extensions::default(), &key, SignatureAlgorithm::EcdsaSha256).unwrap();
        assert!(Request::from_der(&plain).is_ok_and(|read| read.extensions().is_empty() && read.name().is_empty()));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let (_, der) = asking();
        let text = pem("CERTIFICATE REQUEST", &der);
        for bad in
            [String::new(), "junk".to_owned(), text.repeat(2), pem("CERTIFICATE", &der), pem("CERTIFICATE REQUEST", &der[1..])]
        {
            assert!(Request::from_pem(&bad).is_err());
        }
        for cut in 0..der.len() {
            assert!(Request::from_der(&der[..cut]).is_err());
        }
        for at in 0..der.len() {
            let mut bad = der.clone();
            bad[at] ^= 1;
            assert!(Request::from_der(&bad).is_err(), "byte {at}");
        }
        assert!(Request::from_der(Party::authority("a").issue(client("b")).certificate.der()).is_err());
        assert!(Request::from_der(&[der, vec![0]].concat()).is_err());
    }

    #[test]
    fn pem_blocks_keep_their_order() {
        let both = format!("text\n{}between\n{}", pem("A", b"1"), pem("B", b"2"));
        let read = pem_blocks(&both).unwrap();
        assert_eq!(read.iter().map(|(label, bytes)| (&**label, &***bytes)).collect::<Vec<_>>(), [("A", &b"1"[..]), ("B", b"2")]);
        assert_eq!(pem_blocks("nothing"), Ok(Vec::new()));
        assert!(pem_blocks("-----BEGIN A-----\n!\n-----END A-----\n").is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// Bytes changed, taken out or put in: never a panic, never a request that counts as signed.
        #[test]
        fn mutated_requests_never_count(edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 1..5)) {
            thread_local! { static GOOD: Vec<u8> = asking().1; }
            GOOD.with(|good| {
                let mut bytes = good.clone();
                for (index, value, kind) in &edits {
                    let at = index.index(bytes.len());
                    match kind {
                        0 => bytes[at] = *value,
                        1 => drop(bytes.remove(at)),
                        _ => bytes.insert(at, *value),
                    }
                }
                prop_assert!(bytes == *good || Request::from_der(&bytes).is_err());
                Ok(())
            })?;
        }
    }
}
