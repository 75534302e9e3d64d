//! The extensions of certificates and requests (RFC 5280 section 4.2), typed: written here, and read where certificates are.

use super::certificate::Extension;
use super::der::{BIT_STRING, Malformed, OCTET_STRING, OID, Reader, Result, SEQUENCE, constructed, primitive};
use super::oid::Oid;
use super::write::{UTF8_STRING, Writer};
use std::net::IpAddr;
use std::ops::BitOr;

/// What a key may be used for: keyUsage's bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyUses(u16);

impl KeyUses {
    pub const DIGITAL_SIGNATURE: Self = Self(1);
    pub const CONTENT_COMMITMENT: Self = Self(1 << 1);
    pub const KEY_ENCIPHERMENT: Self = Self(1 << 2);
    pub const DATA_ENCIPHERMENT: Self = Self(1 << 3);
    pub const KEY_AGREEMENT: Self = Self(1 << 4);
    pub const CERT_SIGN: Self = Self(1 << 5);
    pub const CRL_SIGN: Self = Self(1 << 6);
    pub const ENCIPHER_ONLY: Self = Self(1 << 7);
    pub const DECIPHER_ONLY: Self = Self(1 << 8);
    pub const NONE: Self = Self(0);

    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// These uses but those.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) fn read(value: &[u8]) -> Result<Self> {
        let bad = Malformed("key usage");
        let mut reader = Reader::new(value, "key usage");
        let bits = reader.body(BIT_STRING)?;
        reader.end()?;
        let [unused @ 0..=7, bytes @ ..] = bits else { return Err(bad) };
        if bytes.is_empty() && *unused != 0 {
            return Err(bad);
        }
        let bit = |n: usize| bytes.get(n / 8).is_some_and(|byte| byte >> (7 - n % 8) & 1 == 1);
        Ok(Self((0..9).filter(|n| bit(*n)).fold(0, |all, n| all | 1 << n)))
    }
}

impl BitOr for KeyUses {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// basicConstraints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BasicConstraints {
    pub authority: bool,
    /// How many authorities may follow below.
    pub path_length: Option<u32>,
}

/// The subject's alternative names, of the kinds that are known here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub dns: Vec<String>,
    pub email: Vec<String>,
    pub uri: Vec<String>,
    pub ip: Vec<IpAddr>,
    /// otherName with a text, such as Microsoft's principal name.
    pub other: Vec<(Oid, String)>,
}

impl Names {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Reads subjectAltName's value. A name of a kind that is not known here is left out, unless it is in a form that it can't have.
    pub(super) fn read(value: &[u8]) -> Result<Self> {
        let mut inner = Reader::only(value, SEQUENCE, "subject alternative name")?;
        let mut names = Self::default();
        while !inner.is_empty() {
            let one = inner.any()?;
            let ascii = || {
                let text = std::str::from_utf8(one.body).ok().filter(|text| text.is_ascii());
                text.map(str::to_owned).ok_or(Malformed("subject alternative name"))
            };
            match one.tag {
                0x81 => names.email.push(ascii()?),
                0x82 => names.dns.push(ascii()?),
                0x86 => names.uri.push(ascii()?),
                0x87 => {
                    let four = <[u8; 4]>::try_from(one.body).map(IpAddr::from);
                    let ip = four.or_else(|_| <[u8; 16]>::try_from(one.body).map(IpAddr::from));
                    names.ip.push(ip.map_err(|_| Malformed("subject alternative name"))?);
                }
                0xa0 => {
                    let mut other = Reader::new(one.body, "subject alternative name");
                    let oid = other.identifier()?;
                    let mut wrapped = other.inside(constructed(0))?;
                    other.end()?;
                    let value = wrapped.any()?;
                    wrapped.end()?;
                    if value.tag == UTF8_STRING {
                        let text = String::from_utf8(value.body.to_vec()).map_err(|_| Malformed("subject alternative name"))?;
                        names.other.push((oid, text));
                    }
                }
                _ => {}
            }
        }
        Ok(names)
    }

    fn write(&self, w: &mut Writer) {
        w.nest(SEQUENCE, |w| {
            for (oid, text) in &self.other {
                w.nest(constructed(0), |w| {
                    w.oid(oid);
                    w.nest(constructed(0), |w| w.put(UTF8_STRING, text.as_bytes()));
                });
            }
            self.dns.iter().for_each(|name| w.put(primitive(2), name.as_bytes()));
            self.email.iter().for_each(|name| w.put(primitive(1), name.as_bytes()));
            for ip in &self.ip {
                match ip {
                    IpAddr::V4(ip) => w.put(primitive(7), &ip.octets()),
                    IpAddr::V6(ip) => w.put(primitive(7), &ip.octets()),
                }
            }
            self.uri.iter().for_each(|name| w.put(primitive(6), name.as_bytes()));
        });
    }
}

/// A range of addresses, as name constraints have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    pub address: IpAddr,
    /// Leading bits that count.
    pub prefix: u8,
}

/// One side of name constraints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subtrees {
    /// `example.com` for it and all below, `.example.com` for what is below only.
    pub dns: Vec<String>,
    pub email: Vec<String>,
    /// Hosts of URIs.
    pub uri: Vec<String>,
    pub ip: Vec<AddressRange>,
}

impl Subtrees {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn write(&self, tag: u8, w: &mut Writer) {
        if self.is_empty() {
            return;
        }
        w.nest(tag, |w| {
            let texts = [(2, &self.dns), (1, &self.email), (6, &self.uri)];
            for (kind, text) in texts.into_iter().flat_map(|(kind, list)| list.iter().map(move |text| (kind, text))) {
                w.nest(SEQUENCE, |w| w.put(primitive(kind), text.as_bytes()));
            }
            for range in &self.ip {
                let octets = match range.address {
                    IpAddr::V4(ip) => ip.octets().to_vec(),
                    IpAddr::V6(ip) => ip.octets().to_vec(),
                };
                let mask = (0..octets.len()).map(|i| {
                    let bits = usize::from(range.prefix).saturating_sub(i * 8).min(8);
                    (0xff00u16 >> bits) as u8
                });
                let mask: Vec<u8> = mask.collect();
                let address: Vec<u8> = octets.iter().zip(&mask).map(|(octet, mask)| octet & mask).collect();
                w.nest(SEQUENCE, |w| w.put(primitive(7), &[address, mask].concat()));
            }
        });
    }

    fn read(mut list: Reader<'_>) -> Result<Self> {
        let mut trees = Self::default();
        while !list.is_empty() {
            let mut one = list.inside(SEQUENCE)?;
            let base = one.any()?;
            // minimum 0 is left out, maximum must not be there (RFC 5280 section 4.2.1.10).
            let bad = one.bad();
            one.end()?;
            let text = || std::str::from_utf8(base.body).ok().filter(|text| text.is_ascii()).map(str::to_owned).ok_or(bad);
            match base.tag {
                0x81 => trees.email.push(text()?),
                0x82 => trees.dns.push(text()?),
                0x86 => trees.uri.push(text()?),
                0x87 => trees.ip.push(range(base.body).ok_or(bad)?),
                _ => {}
            }
        }
        Ok(trees)
    }
}

/// nameConstraints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameConstraints {
    pub permitted: Subtrees,
    pub excluded: Subtrees,
}

impl NameConstraints {
    pub fn is_empty(&self) -> bool {
        self.permitted.is_empty() && self.excluded.is_empty()
    }

    pub(super) fn read(value: &[u8]) -> Result<Self> {
        let mut inner = Reader::only(value, SEQUENCE, "name constraints")?;
        let mut side = |tag| inner.optional_inside(tag)?.map(Subtrees::read).transpose().map(Option::unwrap_or_default);
        let constraints = Self { permitted: side(constructed(0))?, excluded: side(constructed(1))? };
        inner.end()?;
        Ok(constraints)
    }
}

fn range(bytes: &[u8]) -> Option<AddressRange> {
    let (address, mask) = bytes.split_at(bytes.len() / 2);
    let address = match bytes.len() {
        8 => IpAddr::from(<[u8; 4]>::try_from(address).ok()?),
        32 => IpAddr::from(<[u8; 16]>::try_from(address).ok()?),
        _ => return None,
    };
    let ones = mask.iter().flat_map(|byte| (0..8).rev().map(move |n| byte >> n & 1 == 1));
    let prefix = ones.clone().take_while(|one| *one).count();
    let solid = ones.skip(prefix).all(|one| !one);
    solid.then_some(AddressRange { address, prefix: u8::try_from(prefix).ok()? })
}

/// A policy, with the qualifiers that RFC 5280 knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub oid: Oid,
    /// URI of the practice statement.
    pub cps: Option<String>,
    /// A text for people.
    pub notice: Option<String>,
}

/// Extensions in the order in which they are added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions(Writer);

pub(super) const KEY_USAGE: Oid = Oid::of(&[0x55, 0x1d, 15]);
pub(super) const EXTENDED_KEY_USAGE: Oid = Oid::of(&[0x55, 0x1d, 37]);
pub(super) const BASIC_CONSTRAINTS: Oid = Oid::of(&[0x55, 0x1d, 19]);
pub(super) const SUBJECT_KEY_ID: Oid = Oid::of(&[0x55, 0x1d, 14]);
pub(super) const AUTHORITY_KEY_ID: Oid = Oid::of(&[0x55, 0x1d, 35]);
pub(super) const AUTHORITY_ACCESS: Oid = Oid::of(&[0x2b, 6, 1, 5, 5, 7, 1, 1]);
pub(super) const ALTERNATIVE_NAMES: Oid = Oid::of(&[0x55, 0x1d, 17]);
pub(super) const POLICIES: Oid = Oid::of(&[0x55, 0x1d, 32]);
pub(super) const NAME_CONSTRAINTS: Oid = Oid::of(&[0x55, 0x1d, 30]);
pub(super) const CRL_POINTS: Oid = Oid::of(&[0x55, 0x1d, 31]);
pub(super) const FRESHEST_CRL: Oid = Oid::of(&[0x55, 0x1d, 46]);

impl Extensions {
    pub fn is_empty(&self) -> bool {
        self.0.bytes().is_empty()
    }

    pub fn key_usage(&mut self, uses: KeyUses) {
        // Named bits have no zeros at the end (X.690 section 11.2.2).
        let last = (0..9u8).rev().find(|n| uses.0 >> n & 1 == 1);
        let bits = (0..9u8).filter(|n| uses.0 >> n & 1 == 1).fold(0u16, |all, n| all | 0x8000 >> n).to_be_bytes();
        self.add(&KEY_USAGE, true, |w| match last {
            None => w.put(BIT_STRING, &[0]),
            Some(last) if last < 8 => w.put(BIT_STRING, &[7 - last, bits[0]]),
            Some(_) => w.put(BIT_STRING, &[7, bits[0], bits[1]]),
        });
    }

    /// extKeyUsage; nothing where there is no use.
    pub fn extended_key_usage(&mut self, uses: &[Oid]) {
        if !uses.is_empty() {
            self.add(&EXTENDED_KEY_USAGE, false, |w| w.nest(SEQUENCE, |w| uses.iter().for_each(|oid| w.oid(oid))));
        }
    }

    pub fn basic_constraints(&mut self, constraints: BasicConstraints) {
        self.add(&BASIC_CONSTRAINTS, true, |w| {
            w.nest(SEQUENCE, |w| {
                if constraints.authority {
                    w.yes();
                    if let Some(length) = constraints.path_length {
                        w.small(u64::from(length));
                    }
                }
            });
        });
    }

    pub fn subject_key_id(&mut self, id: &[u8]) {
        self.add(&SUBJECT_KEY_ID, false, |w| w.octets(id));
    }

    pub fn authority_key_id(&mut self, id: &[u8]) {
        self.add(&AUTHORITY_KEY_ID, false, |w| w.nest(SEQUENCE, |w| w.put(primitive(0), id)));
    }

    /// authorityInfoAccess: where OCSP answers, where the issuer's certificate is. Nothing where both are empty.
    pub fn authority_access(&mut self, ocsp: &[String], issuers: &[String]) {
        if ocsp.is_empty() && issuers.is_empty() {
            return;
        }
        self.add(&AUTHORITY_ACCESS, false, |w| {
            w.nest(SEQUENCE, |w| {
                for (method, urls) in [(1, ocsp), (2, issuers)] {
                    for url in urls {
                        w.nest(SEQUENCE, |w| {
                            w.put(OID, &[0x2b, 6, 1, 5, 5, 7, 0x30, method]);
                            w.put(primitive(6), url.as_bytes());
                        });
                    }
                }
            });
        });
    }

    /// subjectAltName; nothing without names. Critical where the subject is empty (RFC 5280 section 4.2.1.6).
    pub fn alternative_names(&mut self, names: &Names, critical: bool) {
        if !names.is_empty() {
            self.add(&ALTERNATIVE_NAMES, critical, |w| names.write(w));
        }
    }

    /// certificatePolicies; nothing without one.
    pub fn policies(&mut self, policies: &[Policy]) {
        if policies.is_empty() {
            return;
        }
        self.add(&POLICIES, false, |w| w.nest(SEQUENCE, |w| policies.iter().for_each(|policy| policy_information(w, policy))));
    }

    /// nameConstraints; nothing without any.
    pub fn name_constraints(&mut self, constraints: &NameConstraints) {
        if !constraints.is_empty() {
            self.add(&NAME_CONSTRAINTS, true, |w| {
                w.nest(SEQUENCE, |w| {
                    constraints.permitted.write(constructed(0), w);
                    constraints.excluded.write(constructed(1), w);
                });
            });
        }
    }

    /// cRLDistributionPoints; nothing without one.
    pub fn crl_points(&mut self, urls: &[String]) {
        self.points(&CRL_POINTS, urls);
    }

    /// freshestCRL, where delta lists are; nothing without one.
    pub fn freshest_crl(&mut self, urls: &[String]) {
        self.points(&FRESHEST_CRL, urls);
    }

    /// One of any kind, of an OID that was not added yet.
    pub fn other(&mut self, oid: &Oid, critical: bool, value: &[u8]) {
        self.add(oid, critical, |w| w.raw(value));
    }

    /// One as it was read elsewhere.
    pub fn copy(&mut self, extension: &Extension) {
        // It was read from DER, so its OID parses.
        if let Some(oid) = Oid::parse(&extension.oid) {
            self.other(&oid, extension.critical, &extension.value);
        }
    }

    /// All of `other` behind these.
    pub fn append(&mut self, other: &Self) {
        self.0.raw(other.bytes());
    }

    /// The extensions themselves, without a sequence around them.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    fn points(&mut self, oid: &Oid, urls: &[String]) {
        if urls.is_empty() {
            return;
        }
        self.add(oid, false, |w| {
            w.nest(SEQUENCE, |w| {
                for url in urls {
                    w.nest(SEQUENCE, |w| {
                        w.nest(constructed(0), |w| w.nest(constructed(0), |w| w.put(primitive(6), url.as_bytes())));
                    });
                }
            });
        });
    }

    pub(super) fn add(&mut self, oid: &Oid, critical: bool, value: impl FnOnce(&mut Writer)) {
        self.0.nest(SEQUENCE, |w| {
            w.oid(oid);
            if critical {
                w.yes();
            }
            w.nest(OCTET_STRING, value);
        });
    }
}

fn policy_information(w: &mut Writer, policy: &Policy) {
    let qualifier = |w: &mut Writer, kind: u8, value: &dyn Fn(&mut Writer)| {
        w.nest(SEQUENCE, |w| {
            w.put(OID, &[0x2b, 6, 1, 5, 5, 7, 2, kind]);
            value(w);
        });
    };
    w.nest(SEQUENCE, |w| {
        w.oid(&policy.oid);
        if policy.cps.is_some() || policy.notice.is_some() {
            w.nest(SEQUENCE, |w| {
                if let Some(cps) = &policy.cps {
                    qualifier(w, 1, &|w| w.put(super::write::IA5_STRING, cps.as_bytes()));
                }
                if let Some(notice) = &policy.notice {
                    qualifier(w, 2, &|w| w.nest(SEQUENCE, |w| w.put(UTF8_STRING, notice.as_bytes())));
                }
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(extensions: &Extensions) -> Extension {
        super::super::certificate::extensions(Reader::new(extensions.bytes(), "test")).unwrap().remove(0)
    }

    #[test]
    fn key_usage_has_no_zeros_at_its_end() {
        for (uses, bits) in [
            (KeyUses::NONE, &[3u8, 1, 0][..]),
            (KeyUses::DIGITAL_SIGNATURE, &[3, 2, 7, 0x80]),
            (KeyUses::CERT_SIGN | KeyUses::CRL_SIGN, &[3, 2, 1, 0x06]),
            (KeyUses::ENCIPHER_ONLY, &[3, 2, 0, 0x01]),
            (KeyUses::DECIPHER_ONLY | KeyUses::KEY_AGREEMENT, &[3, 3, 7, 0x08, 0x80]),
        ] {
            let mut extensions = Extensions::default();
            extensions.key_usage(uses);
            let written = first(&extensions);
            assert_eq!((&*written.value, written.critical), (bits, true));
            assert_eq!(KeyUses::read(bits), Ok(uses));
        }
        for bad in [&[][..], &[3, 1, 4], &[3, 2, 8, 0], &[3, 0]] {
            assert!(KeyUses::read(bad).is_err());
        }
    }

    #[test]
    fn names_and_their_constraints_read_as_they_were_written() {
        let names = Names {
            dns: vec!["a.example".to_owned(), "*.b.example".to_owned()],
            email: vec!["a@example".to_owned()],
            uri: vec!["spiffe://a/b".to_owned()],
            ip: vec![[10, 0, 0, 1].into(), "2001:db8::1".parse().unwrap()],
            other: vec![(Oid::parse("1.3.6.1.4.1.311.20.2.3").unwrap(), "ä@b".to_owned())],
        };
        let mut extensions = Extensions::default();
        extensions.alternative_names(&names, false);
        assert_eq!(Names::read(&first(&extensions).value), Ok(names));
        let trees = Subtrees {
            dns: vec![".example".to_owned()],
            email: vec!["@a.example".to_owned()],
            uri: vec!["host".to_owned()],
            ip: vec![
                AddressRange { address: [10, 1, 0, 0].into(), prefix: 12 },
                AddressRange { address: "2001:db8::".parse().unwrap(), prefix: 33 },
            ],
        };
        let constraints = NameConstraints { permitted: trees, excluded: Subtrees::default() };
        let mut extensions = Extensions::default();
        extensions.name_constraints(&constraints);
        let mut read = NameConstraints::read(&first(&extensions).value).unwrap();
        assert_eq!(read.permitted.ip[0].address, IpAddr::from([10, 0, 0, 0]), "what the mask does not cover is zero");
        read.permitted.ip[0].address = [10, 1, 0, 0].into();
        assert_eq!(read, constraints);
    }

    #[test]
    fn malformed_names_are_refused() {
        for bad in [
            &b"\x30\x04\x82\x02\xc3\xa4"[..],
            b"\x30\x05\x87\x03\x01\x02\x03",
            b"\x30\x02\xa0\x00",
            b"\x30\x03\x82\x05a",
            b"\x30\x0b\xa0\x09\x06\x03\x55\x04\x03\xa0\x02\x0c\x01",
        ] {
            assert!(Names::read(bad).is_err(), "{bad:02x?}");
        }
        for bad in [
            &b"\x30\x0e\xa0\x0c\x30\x0a\x87\x08\x0a\x00\x00\x00\xff\x00\xff\x00"[..],
            b"\x30\x04\xa0\x02\x30\x00",
            b"\x30\x02\xa2\x00",
        ] {
            assert!(NameConstraints::read(bad).is_err(), "{bad:02x?}");
        }
    }
}
