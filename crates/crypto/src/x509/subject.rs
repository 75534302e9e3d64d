//! Distinguished names (RFC 5280 section 4.1.2.4) as the fields that people fill in.

use super::der::{self, Malformed, Reader, Result, SEQUENCE, SET};
use super::oid::Oid;
use super::write::Writer;
use std::fmt;

/// A name. Fields with several values are written as one relative distinguished name of several attributes, in this order; the rest
/// have one of their own each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    pub country: Vec<String>,
    pub organization: Vec<String>,
    pub unit: Vec<String>,
    pub locality: Vec<String>,
    pub province: Vec<String>,
    pub street: Vec<String>,
    pub postal_code: Vec<String>,
    /// Empty for none.
    pub common_name: String,
    /// The name's serialNumber, which is not the certificate's. Empty for none.
    pub serial_number: String,
    /// `uid` of RFC 4519.
    pub user_ids: Vec<String>,
    /// Attributes of other kinds, each with its text.
    pub others: Vec<(Oid, String)>,
}

const COMMON_NAME: Oid = Oid::of(&[0x55, 4, 3]);
const SERIAL_NUMBER: Oid = Oid::of(&[0x55, 4, 5]);
const COUNTRY: Oid = Oid::of(&[0x55, 4, 6]);
const LOCALITY: Oid = Oid::of(&[0x55, 4, 7]);
const PROVINCE: Oid = Oid::of(&[0x55, 4, 8]);
const STREET: Oid = Oid::of(&[0x55, 4, 9]);
const ORGANIZATION: Oid = Oid::of(&[0x55, 4, 10]);
const UNIT: Oid = Oid::of(&[0x55, 4, 11]);
const POSTAL_CODE: Oid = Oid::of(&[0x55, 4, 17]);
const USER_ID: Oid = Oid::of(&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01]);

impl Subject {
    /// DER of the name.
    pub fn to_der(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(128);
        writer.nest(SEQUENCE, |w| {
            for (oid, values) in [
                (COUNTRY, &self.country),
                (PROVINCE, &self.province),
                (LOCALITY, &self.locality),
                (STREET, &self.street),
                (POSTAL_CODE, &self.postal_code),
                (ORGANIZATION, &self.organization),
                (UNIT, &self.unit),
            ] {
                relative(w, &oid, values);
            }
            for (oid, value) in [(COMMON_NAME, &self.common_name), (SERIAL_NUMBER, &self.serial_number)] {
                if !value.is_empty() {
                    relative(w, &oid, std::slice::from_ref(value));
                }
            }
            for value in &self.user_ids {
                relative(w, &USER_ID, std::slice::from_ref(value));
            }
            for (oid, value) in &self.others {
                relative(w, oid, std::slice::from_ref(value));
            }
        });
        writer.finish()
    }

    /// Reads DER of a name. Of several common names or serial numbers the last one stands, as the fields have one place.
    ///
    /// # Errors
    /// What is no name, and an attribute whose value is no text.
    pub fn from_der(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut parts = Reader::only(bytes, SEQUENCE, "name")?;
        let mut name = Self::default();
        while !parts.is_empty() {
            let mut set = parts.inside(SET)?;
            if set.is_empty() {
                return Err(set.bad());
            }
            while !set.is_empty() {
                let mut pair = set.inside(SEQUENCE)?;
                let oid = pair.identifier()?;
                let value = der::text(&pair.any()?).ok_or(pair.bad())?;
                pair.end()?;
                name.add(oid, value);
            }
        }
        Ok(name)
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn add(&mut self, oid: Oid, value: String) {
        let list = [
            (COUNTRY, &mut self.country),
            (ORGANIZATION, &mut self.organization),
            (UNIT, &mut self.unit),
            (LOCALITY, &mut self.locality),
            (PROVINCE, &mut self.province),
            (STREET, &mut self.street),
            (POSTAL_CODE, &mut self.postal_code),
            (USER_ID, &mut self.user_ids),
        ];
        if let Some((_, values)) = list.into_iter().find(|(known, _)| *known == oid) {
            values.push(value);
        } else if oid == COMMON_NAME {
            self.common_name = value;
        } else if oid == SERIAL_NUMBER {
            self.serial_number = value;
        } else {
            self.others.push((oid, value));
        }
    }
}

/// RFC 4514: the last part first, what has a meaning there escaped.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = Vec::new();
        for (label, values) in [
            ("C", &self.country),
            ("ST", &self.province),
            ("L", &self.locality),
            ("STREET", &self.street),
            ("POSTALCODE", &self.postal_code),
            ("O", &self.organization),
            ("OU", &self.unit),
        ] {
            if !values.is_empty() {
                parts.push(values.iter().map(|value| format!("{label}={}", escaped(value))).collect::<Vec<_>>().join("+"));
            }
        }
        for (label, value) in [("CN", &self.common_name), ("SERIALNUMBER", &self.serial_number)] {
            if !value.is_empty() {
                parts.push(format!("{label}={}", escaped(value)));
            }
        }
        parts.extend(self.user_ids.iter().map(|id| format!("UID={}", escaped(id))));
        parts.extend(self.others.iter().map(|(oid, value)| format!("{oid}={}", escaped(value))));
        parts.reverse();
        f.write_str(&parts.join(","))
    }
}

fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut out = String::with_capacity(value.len());
    for (i, c) in value.chars().enumerate() {
        if matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';') || c == ' ' && (i == 0 || i == last) || c == '#' && i == 0 {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// One relative distinguished name, its attributes in the order that DER has for sets.
fn relative(w: &mut Writer, oid: &Oid, values: &[String]) {
    if values.is_empty() {
        return;
    }
    let pair = |w: &mut Writer, value: &str| {
        w.nest(SEQUENCE, |w| {
            w.oid(oid);
            w.text(value);
        });
    };
    w.nest(SET, |w| match values {
        [value] => pair(w, value),
        values => {
            let mut written: Vec<Vec<u8>> = values
                .iter()
                .map(|value| {
                    let mut one = Writer::default();
                    pair(&mut one, value);
                    one.finish()
                })
                .collect();
            written.sort_unstable();
            written.iter().for_each(|one| w.raw(one));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_stand_in_their_order() {
        let name = Subject {
            common_name: "a.example".to_owned(),
            organization: vec!["B".to_owned(), "A".to_owned()],
            country: vec!["CH".to_owned()],
            ..Subject::default()
        };
        let der = name.to_der();
        let mut expected =
            b"\x30\x35\x31\x0b\x30\x09\x06\x03\x55\x04\x06\x13\x02CH\x31\x14\x30\x08\x06\x03\x55\x04\x0a\x13\x01A".to_vec();
        expected.extend(b"\x30\x08\x06\x03\x55\x04\x0a\x13\x01B\x31\x12\x30\x10\x06\x03\x55\x04\x03\x13\x09a.example");
        expected[1] = u8::try_from(expected.len() - 2).unwrap();
        assert_eq!(der, expected);
        assert_eq!(Subject::default().to_der(), [0x30, 0]);
    }

    #[test]
    fn for_people() {
        let name = Subject {
            common_name: "a, b".to_owned(),
            unit: vec!["x".to_owned(), "#y".to_owned()],
            country: vec!["CH".to_owned()],
            ..Subject::default()
        };
        assert_eq!(name.to_string(), "CN=a\\, b,OU=x+OU=\\#y,C=CH");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in [
            &b""[..],
            b"\x30\x02\x31\x00",
            b"\x31\x00",
            b"\x30\x04\x31\x02\x30\x00",
            b"\x30\x00\x00",
            b"\x30\x0b\x31\x09\x30\x07\x06\x03\x55\x04\x03\x04\x00",
        ] {
            assert!(Subject::from_der(bad).is_err(), "{bad:02x?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads(cn in "\\PC{0,20}", o in proptest::collection::vec("[a-z*ä]{1,8}", 0..4), uid in proptest::collection::vec("\\PC{1,9}", 0..3)) {
            let mut name = Subject { common_name: cn, organization: o, user_ids: uid, others: vec![(Oid::of(&[0x55, 4, 12]), "t".to_owned())], ..Subject::default() };
            let read = Subject::from_der(&name.to_der()).unwrap();
            name.organization.sort_by(|a, b| {
                let key = |s: &String| { let mut w = Writer::default(); w.text(s); let b = w.finish(); (b.len(), b) };
                key(a).cmp(&key(b))
            });
            prop_assert_eq!(read, name);
        }
    }
}
