//! The input as one UTF-8 text: byte order marks off, UTF-16 decoded, forbidden characters refused.

use std::borrow::Cow;

use zeroize::Zeroizing;

use super::Fault;

/// A text to read, and whether positions in it are positions in the file.
pub(super) struct Source<'a> {
    text: Text<'a>,
    /// Bytes of the file before the text: a UTF-8 byte order mark, or nothing.
    pub(super) skipped: usize,
    /// Bytes of the text are bytes of the file, from `skipped` on. Not so for UTF-16.
    pub(super) in_place: bool,
}

enum Text<'a> {
    Borrowed(&'a str),
    Owned(Zeroizing<String>),
}

impl<'a> Source<'a> {
    /// Reads UTF-8, or UTF-16 with a byte order mark.
    ///
    /// # Errors
    /// Bytes that are no text in that encoding, and characters that YAML does not allow: controls, U+FFFE, U+FFFF.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Fault> {
        let wide = match bytes {
            [0xff, 0xfe, rest @ ..] => Some((rest, u16::from_le_bytes as fn([u8; 2]) -> u16)),
            [0xfe, 0xff, rest @ ..] => Some((rest, u16::from_be_bytes as fn([u8; 2]) -> u16)),
            _ => None,
        };
        let source = if let Some((rest, unit)) = wide {
            if rest.len() % 2 == 1 {
                return Err(Fault::new(1, 1, "the last character of this UTF-16 file is cut off"));
            }
            let units = rest.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
            let text: Result<String, _> = char::decode_utf16(units).collect();
            let text = text.map_err(|_| Fault::new(1, 1, "this UTF-16 file has half a surrogate pair"))?;
            Self { text: Text::Owned(Zeroizing::new(text)), skipped: 2, in_place: false }
        } else {
            let skipped = if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
            let text = std::str::from_utf8(&bytes[skipped..]).map_err(|error| {
                let (line, column) = place(&bytes[skipped..], error.valid_up_to());
                Fault::new(line, column, "this is not UTF-8; only UTF-8 and UTF-16 can be read")
            })?;
            Self { text: Text::Borrowed(text), skipped, in_place: true }
        };
        source.check()?;
        Ok(source)
    }

    pub(super) fn text(&self) -> &str {
        match &self.text {
            Text::Borrowed(text) => text,
            Text::Owned(text) => text,
        }
    }

    fn check(&self) -> Result<(), Fault> {
        let bytes = self.text().as_bytes();
        let mut at = 0;
        while let Some(found) = bytes[at..].iter().position(|&b| is_suspect(b)) {
            at += found;
            let bad = match bytes[at] {
                b'\t' | b'\n' | b'\r' => false,
                // U+0080 to U+009F but U+0085.
                0xc2 => bytes[at + 1] < 0xa0 && bytes[at + 1] != 0x85,
                // U+FFFE and U+FFFF.
                0xef => bytes[at + 1] == 0xbf && bytes[at + 2] >= 0xbe,
                _ => true,
            };
            if bad {
                let (line, column) = place(bytes, at);
                return Err(Fault::new(line, column, "control characters are not allowed; write them as \\x.. in double quotes"));
            }
            at += 1;
        }
        Ok(())
    }
}

/// Line and column of a byte, both from 1; columns count characters.
pub(super) fn place(bytes: &[u8], at: usize) -> (u32, u32) {
    let before = &bytes[..at.min(bytes.len())];
    let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
    let start = before.iter().rposition(|&b| b == b'\n').map_or(0, |newline| newline + 1);
    let column = before[start..].iter().filter(|&&b| b & 0xc0 != 0x80).count() + 1;
    (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
}

const fn is_suspect(byte: u8) -> bool {
    byte < 0x20 && byte != b'\n' || byte == 0x7f || byte == 0xc2 || byte == 0xef
}

/// A text in pieces of a source: one piece is borrowed, more make a copy that is wiped.
pub(super) type Piece<'a> = Cow<'a, str>;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<String, Fault> {
        Source::new(bytes).map(|source| source.text().to_owned())
    }

    #[test]
    fn encodings() {
        assert_eq!(read(b"a: 1").unwrap(), "a: 1");
        assert_eq!(read(b"\xef\xbb\xbfa: 1").unwrap(), "a: 1");
        assert_eq!(read(b"\xff\xfea\0:\0").unwrap(), "a:");
        assert_eq!(read(b"\xfe\xff\0a\0:").unwrap(), "a:");
        assert_eq!(read("é\u{85}\u{a0}\u{feff}🔐".as_bytes()).unwrap(), "é\u{85}\u{a0}\u{feff}🔐");
    }

    #[test]
    fn what_is_no_text_is_refused_with_its_place() {
        for (bytes, line, column) in [
            (&b"a: \xff"[..], 1, 4),
            (b"a: 1\nb\xc3", 2, 2),
            (b"a\0b", 1, 2),
            (b"\xc3\xa9\x07", 1, 2),
            (b"\x7f", 1, 1),
            ("a\n\u{80}".as_bytes(), 2, 1),
            ("\u{ffff}".as_bytes(), 1, 1),
            (b"\xff\xfea", 1, 1),
            (b"\xff\xfe\x00\xdc", 1, 1),
        ] {
            let fault = read(bytes).unwrap_err();
            assert_eq!((fault.line, fault.column), (line, column), "{bytes:?}");
        }
    }
}
