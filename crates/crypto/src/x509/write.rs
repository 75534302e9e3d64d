//! Writing DER (ITU-T X.690): one buffer, lengths filled in when an element ends.

use super::der::{BIT_STRING, BOOLEAN, GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, SEQUENCE, UTC_TIME};
use super::oid::Oid;
use time::OffsetDateTime;

pub(super) const UTF8_STRING: u8 = 0x0c;
pub(super) const PRINTABLE_STRING: u8 = 0x13;
pub(super) const IA5_STRING: u8 = 0x16;

/// The last second that a certificate can name: 9999-12-31T23:59:59Z.
pub const LAST_SECOND: i64 = 253_402_300_799;

/// Elements one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }

    /// Bytes that are DER already.
    pub(super) fn raw(&mut self, der: &[u8]) {
        self.0.extend_from_slice(der);
    }

    /// An element around what `inside` writes.
    pub(super) fn nest(&mut self, tag: u8, inside: impl FnOnce(&mut Self)) {
        self.0.push(tag);
        let start = self.0.len();
        self.0.push(0);
        inside(self);
        let length = self.0.len() - start - 1;
        if length < 0x80 {
            self.0[start] = length as u8;
        } else {
            let bytes = length.to_be_bytes();
            let skip = bytes.iter().take_while(|b| **b == 0).count();
            let digits = &bytes[skip..];
            self.0[start] = 0x80 | digits.len() as u8;
            self.0.splice(start + 1..start + 1, digits.iter().copied());
        }
    }

    pub(super) fn put(&mut self, tag: u8, body: &[u8]) {
        self.nest(tag, |w| w.raw(body));
    }

    /// An INTEGER that is not negative, of big-endian bytes.
    pub(super) fn unsigned(&mut self, bytes: &[u8]) {
        let digits = &bytes[bytes.iter().take_while(|b| **b == 0).count()..];
        self.nest(INTEGER, |w| {
            if digits.first().is_none_or(|first| *first >= 0x80) {
                w.0.push(0);
            }
            w.raw(digits);
        });
    }

    pub(super) fn small(&mut self, number: u64) {
        self.unsigned(&number.to_be_bytes());
    }

    /// TRUE; false is what DER leaves out.
    pub(super) fn yes(&mut self) {
        self.put(BOOLEAN, &[0xff]);
    }

    pub(super) fn oid(&mut self, oid: &Oid) {
        self.put(OID, oid.body());
    }

    pub(super) fn octets(&mut self, body: &[u8]) {
        self.put(OCTET_STRING, body);
    }

    /// A BIT STRING of whole bytes.
    pub(super) fn bits(&mut self, body: &[u8]) {
        self.nest(BIT_STRING, |w| {
            w.0.push(0);
            w.raw(body);
        });
    }

    /// PrintableString where the text is one, else UTF8String.
    pub(super) fn text(&mut self, text: &str) {
        let printable = text.bytes().all(|b| b.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&b));
        self.put(if printable { PRINTABLE_STRING } else { UTF8_STRING }, text.as_bytes());
    }

    /// UTCTime until 2049, GeneralizedTime from then on (RFC 5280 section 4.1.2.5). `seconds` since 1970 are held to the years
    /// 1950 to 9999.
    pub(super) fn time(&mut self, seconds: i64) {
        let at =
            OffsetDateTime::from_unix_timestamp(seconds.clamp(-631_152_000, LAST_SECOND)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let rest = [u8::from(at.month()), at.day(), at.hour(), at.minute(), at.second()];
        let short = at.year() < 2050;
        self.nest(if short { UTC_TIME } else { GENERALIZED_TIME }, |w| {
            let year = at.year().unsigned_abs();
            if !short {
                w.two((year / 100) as u8);
            }
            w.two((year % 100) as u8);
            for number in rest {
                w.two(number);
            }
            w.0.push(b'Z');
        });
    }

    /// GeneralizedTime, to the second; held to the same years.
    pub(super) fn generalized(&mut self, seconds: i64) {
        let at =
            OffsetDateTime::from_unix_timestamp(seconds.clamp(-631_152_000, LAST_SECOND)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let year = at.year().unsigned_abs();
        self.nest(GENERALIZED_TIME, |w| {
            for number in
                [(year / 100) as u8, (year % 100) as u8, u8::from(at.month()), at.day(), at.hour(), at.minute(), at.second()]
            {
                w.two(number);
            }
            w.0.push(b'Z');
        });
    }

    /// One extension.
    pub(super) fn extension(&mut self, oid: &Oid, critical: bool, value: impl FnOnce(&mut Self)) {
        self.nest(SEQUENCE, |w| {
            w.oid(oid);
            if critical {
                w.yes();
            }
            w.nest(OCTET_STRING, value);
        });
    }

    fn two(&mut self, number: u8) {
        self.0.extend_from_slice(&[b'0' + number / 10 % 10, b'0' + number % 10]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::der::Reader;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_minimal_and_positive() {
        for (bytes, written) in [
            (&[][..], &[2u8, 1, 0][..]),
            (&[0, 0], &[2, 1, 0]),
            (&[0, 5], &[2, 1, 5]),
            (&[0x80], &[2, 2, 0, 0x80]),
            (&[0x7f, 0xff], &[2, 2, 0x7f, 0xff]),
        ] {
            let mut writer = Writer::default();
            writer.unsigned(bytes);
            assert_eq!(writer.bytes(), written);
        }
    }

    #[test]
    fn the_year_2050_changes_the_form() {
        let written = |seconds| {
            let mut writer = Writer::default();
            writer.time(seconds);
            writer.finish()
        };
        assert_eq!(written(2_524_607_999), b"\x17\x0d491231235959Z");
        assert_eq!(written(2_524_608_000), b"\x18\x0f20500101000000Z");
        assert_eq!(written(i64::MAX), b"\x18\x0f99991231235959Z");
        assert_eq!(written(i64::MIN), b"\x17\x0d500101000000Z");
        let mut writer = Writer::default();
        writer.generalized(1_795_435_200);
        assert_eq!(writer.bytes(), b"\x18\x0f20261123120000Z");
    }

    proptest! {
        #[test]
        fn what_nests_reads(body in proptest::collection::vec(any::<u8>(), 0..70_000)) {
            let mut writer = Writer::default();
            writer.nest(SEQUENCE, |w| w.nest(SEQUENCE, |w| w.octets(&body)));
            let mut outer = Reader::only(writer.bytes(), SEQUENCE, "test").unwrap();
            let mut inner = outer.inside(SEQUENCE).unwrap();
            prop_assert_eq!(inner.body(OCTET_STRING).unwrap(), &body[..]);
            prop_assert!(inner.end().is_ok() && outer.end().is_ok());
        }
    }
}
