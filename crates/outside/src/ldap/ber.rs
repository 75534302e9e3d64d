//! The subset of BER (ITU-T X.690) that LDAP allows: one-byte tags and definite lengths (RFC 4511 section 5.1).

use coffer_types::secret;

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// Writes values one after the other. What it holds may be a password, so it is wiped.
pub(super) struct Writer {
    out: secret::Bytes,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { out: secret::Bytes::new(Vec::with_capacity(1024)) }
    }

    pub(super) fn value(&mut self, tag: u8, content: &[u8]) -> &mut Self {
        self.out.push(tag);
        match content.len() {
            short @ 0..0x80 => self.out.push(short.to_le_bytes()[0]),
            long => {
                let bytes = long.to_be_bytes();
                let bytes = &bytes[bytes.iter().take_while(|b| **b == 0).count()..];
                self.out.push(0x80 | bytes.len().to_le_bytes()[0]);
                self.out.extend_from_slice(bytes);
            }
        }
        self.out.extend_from_slice(content);
        self
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.value(OCTETS, text.as_bytes())
    }

    /// An INTEGER or ENUMERATED in its shortest form.
    pub(super) fn number(&mut self, tag: u8, number: u32) -> &mut Self {
        let bytes = i64::from(number).to_be_bytes();
        // A leading zero stays where the next byte would make it negative.
        let skip = bytes.windows(2).take_while(|pair| pair[0] == 0 && pair[1] & 0x80 == 0).count();
        self.value(tag, &bytes[skip..])
    }

    pub(super) fn boolean(&mut self, tag: u8, value: bool) -> &mut Self {
        self.value(tag, &[if value { 0xff } else { 0 }])
    }

    pub(super) fn nest(&mut self, tag: u8, write: impl FnOnce(&mut Self)) -> &mut Self {
        let mut inner = Self::new();
        write(&mut inner);
        self.value(tag, &inner.out)
    }

    pub(super) fn finish(self) -> secret::Bytes {
        self.out
    }
}

/// The bytes are no such value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Reads values one after the other.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next value's tag and content.
    pub(super) fn any(&mut self) -> Result<(u8, &'a [u8]), Malformed> {
        let (header, length) = header(self.rest)?.ok_or(Malformed)?;
        let tag = self.rest[0];
        let content = self.rest.get(header..header + length).ok_or(Malformed)?;
        self.rest = &self.rest[header + length..];
        Ok((tag, content))
    }

    pub(super) fn expect(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        match self.any()? {
            (found, content) if found == tag => Ok(content),
            _ => Err(Malformed),
        }
    }

    pub(super) fn nested(&mut self, tag: u8) -> Result<Self, Malformed> {
        self.expect(tag).map(Self::new)
    }

    pub(super) fn text(&mut self) -> Result<String, Malformed> {
        self.expect(OCTETS).and_then(|bytes| String::from_utf8(bytes.to_vec()).map_err(|_| Malformed))
    }

    /// A number that is not negative.
    pub(super) fn number(&mut self, tag: u8) -> Result<u32, Malformed> {
        let bytes = self.expect(tag)?;
        if bytes.is_empty() || bytes.len() > 5 || bytes[0] & 0x80 != 0 {
            return Err(Malformed);
        }
        let number = bytes.iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
        u32::try_from(number).map_err(|_| Malformed)
    }
}

/// How many bytes tag and length take, and the length; `None` while the bytes don't yet say.
pub(super) fn header(bytes: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let (Some(tag), Some(first)) = (bytes.first(), bytes.get(1)) else { return Ok(None) };
    if tag & 0x1f == 0x1f {
        return Err(Malformed);
    }
    match first {
        0..=0x7f => Ok(Some((2, usize::from(*first)))),
        // A length that is not said; then, more digits of it than anyone may send.
        0x80 => Err(Malformed),
        ..=0x84 => {
            let digits = usize::from(first & 0x7f);
            let Some(bytes) = bytes.get(2..2 + digits) else { return Ok(None) };
            Ok(Some((2 + digits, bytes.iter().fold(0, |n, b| n << 8 | usize::from(*b)))))
        }
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_numbers_go_both_ways() {
        for length in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let mut writer = Writer::new();
            writer.value(OCTETS, &vec![7; length]);
            let bytes = writer.finish();
            assert_eq!(Reader::new(&bytes).expect(OCTETS).unwrap().len(), length);
            assert_eq!(Reader::new(&bytes[..bytes.len() - 1]).any(), Err(Malformed));
        }
        for number in [0, 1, 127, 128, 255, 256, 0x7fff_ffff, u32::MAX] {
            let mut writer = Writer::new();
            writer.number(INTEGER, number);
            assert_eq!(Reader::new(&writer.finish()).number(INTEGER), Ok(number));
        }
    }

    #[test]
    fn the_shortest_form_is_written() {
        let written = |number| {
            let mut writer = Writer::new();
            writer.number(INTEGER, number);
            writer.finish().to_vec()
        };
        assert_eq!(written(0), [2, 1, 0]);
        assert_eq!(written(128), [2, 2, 0, 128]);
        assert_eq!(written(256), [2, 2, 1, 0]);
    }

    #[test]
    fn other_forms_are_refused() {
        // A long tag, a length that is not said, one of five digits, no length, no digits of it.
        for bad in [&[0x1f, 1, 0][..], &[0x30, 0x80, 0, 0], &[4, 0x85, 0, 0, 0, 0, 1, 0], &[4], &[4, 0x82, 1], &[]] {
            assert_eq!(Reader::new(bad).any(), Err(Malformed), "{bad:?}");
        }
        for bad in [&[2, 1, 0x80][..], &[2, 0], &[2, 6, 0, 0, 0, 0, 0, 1], &[2, 5, 1, 0, 0, 0, 0], &[4, 1, 1]] {
            assert_eq!(Reader::new(bad).number(INTEGER), Err(Malformed), "{bad:?}");
        }
    }
}
