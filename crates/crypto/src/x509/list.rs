//! Making revocation lists (RFC 5280 section 5): complete ones and deltas.

use super::certificate::{Certificate, Extension};
use super::der::{ENUMERATED, INTEGER, SEQUENCE, constructed, primitive};
use super::oid::Oid;
use super::signature::SignatureAlgorithm;
use super::write::Writer;
use crate::pk::{PkError, PrivateKey};
use coffer_types::Timestamp;

const REASON: Oid = Oid::of(&[0x55, 0x1d, 0x15]);
const INVALIDITY_DATE: Oid = Oid::of(&[0x55, 0x1d, 0x18]);
const NUMBER: Oid = Oid::of(&[0x55, 0x1d, 0x14]);
const DELTA: Oid = Oid::of(&[0x55, 0x1d, 0x1b]);
const DISTRIBUTION_POINT: Oid = Oid::of(&[0x55, 0x1d, 0x1c]);
const AUTHORITY_KEY: Oid = Oid::of(&[0x55, 0x1d, 0x23]);

/// Why a certificate was revoked (RFC 5280 section 5.3.1). Lists don't say [`Reason::Unspecified`]: it is the absence of a reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reason {
    #[default]
    Unspecified,
    KeyCompromise,
    CaCompromise,
    AffiliationChanged,
    Superseded,
    CessationOfOperation,
    CertificateHold,
    RemoveFromCrl,
    PrivilegeWithdrawn,
    AaCompromise,
}

impl Reason {
    const ALL: [(Self, u8, &'static str); 10] = [
        (Self::Unspecified, 0, "unspecified"),
        (Self::KeyCompromise, 1, "keyCompromise"),
        (Self::CaCompromise, 2, "cACompromise"),
        (Self::AffiliationChanged, 3, "affiliationChanged"),
        (Self::Superseded, 4, "superseded"),
        (Self::CessationOfOperation, 5, "cessationOfOperation"),
        (Self::CertificateHold, 6, "certificateHold"),
        (Self::RemoveFromCrl, 8, "removeFromCRL"),
        (Self::PrivilegeWithdrawn, 9, "privilegeWithdrawn"),
        (Self::AaCompromise, 10, "aACompromise"),
    ];

    /// Its number; 7 is nobody's.
    pub fn code(self) -> u8 {
        Self::ALL.iter().find(|(reason, ..)| *reason == self).map_or(0, |(_, code, _)| *code)
    }

    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.iter().find(|(_, number, _)| *number == code).map(|(reason, ..)| *reason)
    }

    /// The RFC's name of it.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(reason, ..)| *reason == self).map_or("unspecified", |(.., name)| name)
    }
}

/// One certificate on a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The serial number's bytes, two's complement, as certificates have it.
    pub serial: Box<[u8]>,
    pub revoked: Timestamp,
    pub reason: Reason,
    /// Since when its key is known or thought to be in other hands.
    pub invalid_since: Option<Timestamp>,
}

/// A list to make. Its order is the entries'.
#[derive(Clone, Copy, Debug)]
pub struct ListParams<'a> {
    pub issuer: &'a Certificate,
    pub number: u64,
    /// A delta on the complete list of this number.
    pub delta_base: Option<u64>,
    pub this_update: Timestamp,
    pub next_update: Timestamp,
    pub entries: &'a [Entry],
    /// Where the list is found, URLs; named in a critical extension, which says that the list is of this place only.
    pub places: &'a [String],
    /// What else it says.
    pub extra: &'a [Extension],
}

impl ListParams<'_> {
    /// The list in DER, signed. Some 40 bytes an entry; of many entries, and with RSA keys, not for an async thread.
    ///
    /// # Errors
    /// [`PkError::Mismatch`] where the algorithm does not fit the key; [`PkError::Malformed`] for an extra extension whose OID is none.
    pub fn sign(&self, key: &PrivateKey, algorithm: SignatureAlgorithm) -> Result<Vec<u8>, PkError> {
        let extra = self.extra.iter().map(|e| Oid::parse(&e.oid).map(|oid| (oid, e))).collect::<Option<Vec<_>>>();
        let extra = extra.ok_or(PkError::Malformed)?;
        let mut writer = Writer::with_capacity(512 + 48 * self.entries.len());
        writer.nest(SEQUENCE, |w| {
            w.small(1);
            w.put(SEQUENCE, algorithm.identifier().as_ref());
            w.raw(self.issuer.subject());
            w.time(self.this_update.secs());
            w.time(self.next_update.secs());
            if !self.entries.is_empty() {
                w.nest(SEQUENCE, |w| self.entries.iter().for_each(|entry| entry.write(w)));
            }
            w.nest(constructed(0), |w| w.nest(SEQUENCE, |w| self.extensions(&extra, w)));
        });
        algorithm.sign(writer.bytes(), key)
    }

    fn extensions(&self, extra: &[(Oid, &Extension)], w: &mut Writer) {
        if let Some(id) = self.issuer.subject_key_id_bytes() {
            w.extension(&AUTHORITY_KEY, false, |w| w.nest(SEQUENCE, |w| w.put(primitive(0), id)));
        }
        w.extension(&NUMBER, false, |w| w.small(self.number));
        if let Some(base) = self.delta_base {
            w.extension(&DELTA, true, |w| w.small(base));
        }
        if !self.places.is_empty() {
            w.extension(&DISTRIBUTION_POINT, true, |w| {
                w.nest(SEQUENCE, |w| {
                    w.nest(constructed(0), |w| {
                        w.nest(constructed(0), |w| self.places.iter().for_each(|url| w.put(primitive(6), url.as_bytes())));
                    });
                });
            });
        }
        for (oid, extension) in extra {
            w.extension(oid, extension.critical, |w| w.raw(&extension.value));
        }
    }
}

impl Entry {
    fn write(&self, w: &mut Writer) {
        w.nest(SEQUENCE, |w| {
            w.put(INTEGER, &self.serial);
            w.time(self.revoked.secs());
            if self.reason == Reason::Unspecified && self.invalid_since.is_none() {
                return;
            }
            w.nest(SEQUENCE, |w| {
                if self.reason != Reason::Unspecified {
                    w.extension(&REASON, false, |w| w.put(ENUMERATED, &[self.reason.code()]));
                }
                if let Some(since) = self.invalid_since {
                    w.extension(&INVALIDITY_DATE, false, |w| w.generalized(since.secs()));
                }
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Party, authority, client};
    use super::super::{RevocationList, testing::rcgen};
    use super::*;
    use crate::pk::PrivateKey;
    use rcgen::KeyPair;

    const NOW: Timestamp = Timestamp::from_secs(1_795_435_200);

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_secs(NOW.secs() + hours * 3600)
    }

    fn key(party: &Party) -> PrivateKey {
        PrivateKey::from_pkcs8(&party.key.serialize_der()).unwrap()
    }

    fn params<'a>(issuer: &'a Certificate, entries: &'a [Entry]) -> ListParams<'a> {
        ListParams {
            issuer,
            number: 7,
            delta_base: None,
            this_update: NOW,
            next_update: at(72),
            entries,
            places: &[],
            extra: &[],
        }
    }

    fn entry(of: &Certificate, reason: Reason, invalid_since: Option<Timestamp>) -> Entry {
        Entry { serial: of.serial_bytes().into(), revoked: NOW, reason, invalid_since }
    }

    #[test]
    fn what_is_made_is_read_and_of_its_issuer() {
        use rcgen::{PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};
        let kinds = [&rcgen::PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519, &PKCS_RSA_SHA256];
        for (kind, pss) in kinds.into_iter().map(|kind| (kind, false)).chain([(&PKCS_RSA_SHA256, true)]) {
            let root = Party::with_key(authority("root"), KeyPair::generate_for(kind).unwrap());
            let twin = Party::with_key(authority("root"), KeyPair::generate_for(kind).unwrap());
            let (bad, held, good) = (root.issue(client("a")), root.issue(client("b")), root.issue(client("c")));
            let entries = [
                entry(&bad.certificate, Reason::KeyCompromise, Some(at(-5))),
                entry(&held.certificate, Reason::Unspecified, None),
            ];
            let key = key(&root);
            let algorithm = SignatureAlgorithm::for_key(key.kind(), 0, pss).unwrap();
            let list = RevocationList::from_der(&params(&root.certificate, &entries).sign(&key, algorithm).unwrap()).unwrap();
            assert!(list.is_by(&root.certificate) && !list.is_by(&twin.certificate), "{kind:?} {pss}");
            assert!(list.lists(&bad.certificate) && list.lists(&held.certificate) && !list.lists(&good.certificate));
            assert!(list.is_current(at(1)) && !list.is_current(at(73)) && !list.is_current(at(-1)));
            let empty = RevocationList::from_der(&params(&root.certificate, &[]).sign(&key, algorithm).unwrap()).unwrap();
            assert!(empty.is_by(&root.certificate) && empty.serials().is_empty());
        }
    }

    /// Our own reader takes no delta and no list of a part for a whole one.
    #[test]
    fn a_delta_and_a_list_of_one_place_say_so() {
        let root = Party::authority("root");
        let key = key(&root);
        let algorithm = SignatureAlgorithm::EcdsaSha256;
        assert_eq!(params(&root.certificate, &[]).sign(&key, SignatureAlgorithm::Ed25519), Err(PkError::Mismatch));
        let places = ["http://a/crl".to_owned()];
        let delta = ListParams { delta_base: Some(6), ..params(&root.certificate, &[]) };
        let placed = ListParams { places: &places, ..params(&root.certificate, &[]) };
        for part in [delta, placed] {
            assert!(RevocationList::from_der(&part.sign(&key, algorithm).unwrap()).is_err());
        }
        let odd = [Extension { oid: "no.oid".into(), critical: false, value: Box::from([5, 0]) }];
        assert_eq!(ListParams { extra: &odd, ..params(&root.certificate, &[]) }.sign(&key, algorithm), Err(PkError::Malformed));
    }

    #[test]
    fn reasons_have_their_numbers() {
        for (reason, code, name) in Reason::ALL {
            assert_eq!((reason.code(), reason.name(), Reason::from_code(code)), (code, name, Some(reason)));
        }
        assert_eq!((Reason::from_code(7), Reason::from_code(11)), (None, None));
    }
}
