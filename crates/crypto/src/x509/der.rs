//! Strict DER (ITU-T X.690): what certificates, revocation lists and OCSP replies are read with.
//!
//! A length that is not the shortest, an indefinite one, a tag of more than one byte, a byte left over: all are errors. Nothing
//! here can panic, allocates by what the input claims, or calls itself.

use coffer_types::Timestamp;
use std::fmt;
use time::{Date, Month, PrimitiveDateTime, Time};

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OID: u8 = 0x06;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// The tag of `[n]` around a whole element, or `[n] IMPLICIT` of a constructed one.
pub(super) const fn constructed(n: u8) -> u8 {
    0xa0 | n
}

/// The tag of `[n] IMPLICIT` of a primitive element.
pub(super) const fn primitive(n: u8) -> u8 {
    0x80 | n
}

/// These bytes are not what they should be. Says where in the structure, and nothing of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub(super) &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed {}", self.0)
    }
}

impl std::error::Error for Malformed {}

pub(super) type Result<T, E = Malformed> = std::result::Result<T, E>;

/// One element.
#[derive(Clone, Copy)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) body: &'a [u8],
    /// With tag and length.
    pub(super) whole: &'a [u8],
}

/// Reads elements one after the other.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    left: &'a [u8],
    /// What is being read, for errors.
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { left: bytes, what }
    }

    pub(super) const fn bad(&self) -> Malformed {
        Malformed(self.what)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    pub(super) fn next_is(&self, tag: u8) -> bool {
        self.left.first() == Some(&tag)
    }

    pub(super) fn any(&mut self) -> Result<Element<'a>> {
        let bad = self.bad();
        let (&tag, rest) = self.left.split_first().ok_or(bad)?;
        if tag & 0x1f == 0x1f {
            return Err(bad);
        }
        let (&first, rest) = rest.split_first().ok_or(bad)?;
        let (length, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            let count = usize::from(first & 0x7f);
            if count == 0 || count > 4 || rest.len() < count {
                return Err(bad);
            }
            let (digits, rest) = rest.split_at(count);
            let length = digits.iter().fold(0usize, |n, d| n << 8 | usize::from(*d));
            if length < 0x80 || digits[0] == 0 {
                return Err(bad);
            }
            (length, rest)
        };
        if rest.len() < length {
            return Err(bad);
        }
        let header = self.left.len() - rest.len();
        let (whole, left) = self.left.split_at(header + length);
        self.left = left;
        Ok(Element { tag, body: &whole[header..], whole })
    }

    pub(super) fn element(&mut self, tag: u8) -> Result<Element<'a>> {
        let element = self.any()?;
        if element.tag == tag { Ok(element) } else { Err(self.bad()) }
    }

    pub(super) fn body(&mut self, tag: u8) -> Result<&'a [u8]> {
        self.element(tag).map(|element| element.body)
    }

    pub(super) fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>> {
        if self.next_is(tag) { self.body(tag).map(Some) } else { Ok(None) }
    }

    /// The elements inside the next one.
    pub(super) fn inside(&mut self, tag: u8) -> Result<Self> {
        Ok(Self::new(self.body(tag)?, self.what))
    }

    pub(super) fn optional_inside(&mut self, tag: u8) -> Result<Option<Self>> {
        Ok(self.optional(tag)?.map(|body| Self::new(body, self.what)))
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<()> {
        if self.left.is_empty() { Ok(()) } else { Err(self.bad()) }
    }

    /// The one element that `bytes` are.
    pub(super) fn only(bytes: &'a [u8], tag: u8, what: &'static str) -> Result<Self> {
        let mut outer = Self::new(bytes, what);
        let inner = outer.inside(tag)?;
        outer.end()?;
        Ok(inner)
    }

    pub(super) fn boolean(&mut self) -> Result<bool> {
        match self.body(BOOLEAN)? {
            [0] => Ok(false),
            [0xff] => Ok(true),
            _ => Err(self.bad()),
        }
    }

    /// The bytes of an INTEGER as it stands: two's complement, shortest form.
    pub(super) fn integer(&mut self) -> Result<&'a [u8]> {
        let bytes = self.body(INTEGER)?;
        match bytes {
            [] => Err(self.bad()),
            [0, second, ..] if *second < 0x80 => Err(self.bad()),
            [0xff, second, ..] if *second >= 0x80 => Err(self.bad()),
            _ => Ok(bytes),
        }
    }

    /// A small number that is not negative.
    pub(super) fn small(&mut self) -> Result<u32> {
        let bytes = self.integer()?;
        if bytes[0] >= 0x80 || bytes.len() > 4 {
            return Err(self.bad());
        }
        Ok(bytes.iter().fold(0, |n, b| n << 8 | u32::from(*b)))
    }

    pub(super) fn oid(&mut self) -> Result<String> {
        let body = self.body(OID)?;
        dotted(body).ok_or(self.bad())
    }

    pub(super) fn identifier(&mut self) -> Result<super::Oid> {
        let body = self.body(OID)?;
        super::Oid::from_body(body).ok_or(self.bad())
    }

    /// The bytes of a BIT STRING that has whole bytes.
    pub(super) fn bits(&mut self) -> Result<&'a [u8]> {
        match self.body(BIT_STRING)? {
            [0, bytes @ ..] => Ok(bytes),
            _ => Err(self.bad()),
        }
    }

    /// UTCTime or GeneralizedTime as RFC 5280 section 4.1.2.5 has them: to the second, in Z.
    pub(super) fn time(&mut self) -> Result<Timestamp> {
        // Beyond what nanoseconds can say (the year 2262) the end of time stands.
        self.seconds().map(Timestamp::from_secs)
    }

    /// The same in seconds since 1970: "99991231235959Z" means no end, and must not be changed.
    pub(super) fn seconds(&mut self) -> Result<i64> {
        let element = self.any()?;
        instant(&element).ok_or(self.bad())
    }
}

pub(super) fn instant(element: &Element<'_>) -> Option<i64> {
    let digits = element.body.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let two = |at: usize| digits.get(at..at + 2).map(|d| (d[0] - b'0') * 10 + (d[1] - b'0'));
    let (year, rest) = match (element.tag, digits.len()) {
        (UTC_TIME, 12) => {
            let year = i32::from(two(0)?);
            (if year < 50 { 2000 + year } else { 1900 + year }, 2)
        }
        (GENERALIZED_TIME, 14) => (i32::from(two(0)?) * 100 + i32::from(two(2)?), 4),
        _ => return None,
    };
    let month = Month::try_from(two(rest)?).ok()?;
    let date = Date::from_calendar_date(year, month, two(rest + 2)?).ok()?;
    let clock = Time::from_hms(two(rest + 4)?, two(rest + 6)?, two(rest + 8)?).ok()?;
    Some(PrimitiveDateTime::new(date, clock).assume_utc().unix_timestamp())
}

/// `2.5.4.3` of an OBJECT IDENTIFIER's body.
pub(super) fn dotted(body: &[u8]) -> Option<String> {
    if body.is_empty() || body.last().is_some_and(|last| last & 0x80 != 0) || body.len() > 64 {
        return None;
    }
    let mut out = String::new();
    let mut arc: u64 = 0;
    let mut fresh = true;
    for byte in body {
        if fresh && *byte == 0x80 || arc > u64::MAX >> 8 {
            return None;
        }
        arc = arc << 7 | u64::from(byte & 0x7f);
        fresh = byte & 0x80 == 0;
        if fresh {
            if out.is_empty() {
                let first = (arc / 40).min(2);
                out = format!("{first}.{}", arc - first * 40);
            } else {
                out.push('.');
                out.push_str(&arc.to_string());
            }
            arc = 0;
        }
    }
    Some(out)
}

/// The text of a string type, nothing if it is none or holds what its type does not know.
pub(super) fn text(element: &Element<'_>) -> Option<String> {
    let ascii = |good: bool| good.then(|| String::from_utf8(element.body.to_vec()).ok()).flatten();
    match element.tag {
        // UTF8String
        0x0c => String::from_utf8(element.body.to_vec()).ok(),
        // NumericString, PrintableString, IA5String, VisibleString
        0x12 | 0x13 | 0x16 | 0x1a => ascii(element.body.is_ascii()),
        // TeletexString, which is used as Latin-1.
        0x14 => Some(element.body.iter().map(|b| char::from(*b)).collect()),
        // BMPString
        0x1e if element.body.len().is_multiple_of(2) => {
            let units: Vec<u16> = element.body.chunks_exact(2).map(|b| u16::from_be_bytes([b[0], b[1]])).collect();
            String::from_utf16(&units).ok()
        }
        _ => None,
    }
}

/// Writes one element.
pub(super) fn write(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = body.len();
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let digits = &bytes[bytes.iter().take_while(|b| **b == 0).count()..];
        out.push(0x80 | digits.len() as u8);
        out.extend_from_slice(digits);
    }
    out.extend_from_slice(body);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_the_shortest_form_is_refused() {
        for bad in [
            &b""[..],
            b"\x30",
            b"\x30\x80\x00\x00",
            b"\x30\x81\x01\x00",
            b"\x30\x82\x00\x80",
            b"\x30\x85\x00\x00\x00\x00\x01\x00",
            b"\x30\x84\xff\xff\xff\xff",
            b"\x30\x01",
            b"\x3f\x81\x01\x00",
        ] {
            assert!(Reader::new(bad, "test").any().is_err(), "{bad:02x?}");
        }
        assert!(Reader::only(b"\x30\x00\x00", SEQUENCE, "test").is_err(), "left over");
        for bad in [&b"\x02\x00"[..], b"\x02\x02\x00\x01", b"\x02\x02\xff\x80"] {
            assert!(Reader::new(bad, "test").integer().is_err());
        }
        for bad in [&b"\x01\x01\x01"[..], b"\x01\x02\x00\x00", b"\x01\x00"] {
            assert!(Reader::new(bad, "test").boolean().is_err());
        }
    }

    #[test]
    fn object_identifiers() {
        let read = |bytes: &[u8]| Reader::new(&write(OID, bytes), "test").oid().ok();
        assert_eq!(read(&[0x55, 4, 3]).as_deref(), Some("2.5.4.3"));
        assert_eq!(read(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11]).as_deref(), Some("1.2.840.113549.1.1.11"));
        assert_eq!(read(&[0x88, 0x37, 3]).as_deref(), Some("2.999.3"));
        for bad in [&[][..], &[0x55, 0x80, 1], &[0x55, 0x84], &[0xff; 70]] {
            assert_eq!(read(bad), None);
        }
    }

    #[test]
    fn times() {
        let read = |tag, text: &str| Reader::new(&write(tag, text.as_bytes()), "test").time().ok().map(Timestamp::secs);
        assert_eq!(read(UTC_TIME, "500101000000Z"), Some(-631_152_000));
        assert_eq!(read(UTC_TIME, "261123120000Z"), Some(1_795_435_200));
        assert_eq!(read(GENERALIZED_TIME, "20261123120000Z"), Some(1_795_435_200));
        assert!(read(GENERALIZED_TIME, "99991231235959Z") > Some(9_000_000_000));
        for (tag, bad) in [
            (UTC_TIME, "2611231200Z"),
            (UTC_TIME, "261123120000"),
            (UTC_TIME, "261123120000+0100"),
            (UTC_TIME, "20261123120000Z"),
            (GENERALIZED_TIME, "20261123120000.5Z"),
            (GENERALIZED_TIME, "20261323120000Z"),
            (GENERALIZED_TIME, "20260230120000Z"),
            (INTEGER, "261123120000Z"),
            (UTC_TIME, ""),
        ] {
            assert_eq!(read(tag, bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader::new(&bytes, "test");
            while let Ok(element) = reader.any() {
                let mut one = Reader::new(element.whole, "test");
                drop((one.time(), Reader::new(element.whole, "test").oid(), Reader::new(element.whole, "test").small(), text(&element)));
            }
        }

        #[test]
        fn what_is_written_reads(body in proptest::collection::vec(any::<u8>(), 0..70_000)) {
            let bytes = write(SEQUENCE, &body);
            prop_assert_eq!(Reader::new(&bytes, "test").body(SEQUENCE), Ok(&body[..]));
        }
    }
}
