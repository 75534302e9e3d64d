//! Directives, tags, anchors and aliases.

use std::borrow::Cow;

use super::{Kind, Mark, Scanner};
use crate::yaml::Fault;
use crate::yaml::source::Piece;

impl<'a> Scanner<'a> {
    /// `%YAML 1.1` or `%TAG handle prefix`, to the end of its line.
    pub(super) fn directive(&mut self) -> Result<(), Fault> {
        let start = self.mark;
        self.skip_bytes(1);
        let name = self.word();
        if !self.is_blankz(0) {
            return Err(self.fault(start, "a directive's name is letters only"));
        }
        self.blanks();
        let kind = match name {
            "YAML" => {
                let major = self.number(start)?;
                if self.peek(0) != b'.' {
                    return Err(self.fault(start, "%YAML needs a version such as 1.1"));
                }
                self.skip_bytes(1);
                let minor = self.number(start)?;
                Kind::Version { right: major == "1" && minor == "1" }
            }
            "TAG" => {
                let handle = self.handle(start, true)?;
                if !self.is_blank(0) {
                    return Err(self.fault(start, "%TAG needs a handle and a prefix"));
                }
                self.blanks();
                let prefix = self.uri(start, "")?;
                if !self.is_blankz(0) {
                    return Err(self.fault(start, "%TAG needs a handle and a prefix"));
                }
                Kind::TagDirective { handle, prefix }
            }
            _ => return Err(self.fault(start, "no such directive; there are %YAML and %TAG")),
        };
        self.push(kind, start);
        self.blanks();
        if self.peek(0) == b'#' {
            self.advance(self.to_break());
        }
        if !self.is_breakz(0) {
            return Err(self.fault(start, "only a comment may stand behind a directive"));
        }
        self.skip_line();
        Ok(())
    }

    pub(super) fn anchor(&mut self, alias: bool) -> Result<(), Fault> {
        let start = self.mark;
        self.skip_bytes(1);
        let name = self.word();
        let ended = self.is_blankz(0) || b"?:,]}%@`".contains(&self.peek(0));
        if name.is_empty() || !ended {
            return Err(
                self.fault(start, "an anchor's name is letters, digits, '-' and '_'; quote a text that begins with '&' or '*'")
            );
        }
        self.push(if alias { Kind::Alias(name) } else { Kind::Anchor(name) }, start);
        Ok(())
    }

    pub(super) fn tag(&mut self) -> Result<(), Fault> {
        let start = self.mark;
        let (handle, suffix) = if self.peek(1) == b'<' {
            self.skip_bytes(2);
            let suffix = self.uri(start, "")?;
            if self.peek(0) != b'>' {
                return Err(self.fault(start, "a tag that begins '!<' ends with '>'"));
            }
            self.skip_bytes(1);
            ("", suffix)
        } else {
            let handle = self.handle(start, false)?;
            if handle.len() > 1 && handle.ends_with('!') {
                (handle, self.uri(start, "")?)
            } else {
                // A handle that is none after all is the beginning of the suffix.
                let suffix = self.uri(start, handle)?;
                if suffix.is_empty() { ("", Cow::Borrowed("!")) } else { ("!", suffix) }
            }
        };
        if !self.is_blankz(0) {
            return Err(self.fault(start, "a tag ends with a space"));
        }
        self.push(Kind::Tag { handle, suffix }, start);
        Ok(())
    }

    fn handle(&mut self, start: Mark, directive: bool) -> Result<&'a str, Fault> {
        let from = self.mark.at;
        if self.peek(0) != b'!' {
            return Err(self.fault(start, "a tag's handle begins with '!'"));
        }
        self.skip_bytes(1);
        self.word();
        if self.peek(0) == b'!' {
            self.skip_bytes(1);
        } else if directive && self.mark.at - from > 1 {
            return Err(self.fault(start, "a tag's handle ends with '!'"));
        }
        Ok(&self.text[from..self.mark.at])
    }

    /// A URI with its escapes undone; `head` is a part of it that was read before, its `!` not counted.
    fn uri(&mut self, start: Mark, head: &'a str) -> Result<Piece<'a>, Fault> {
        let mut from = self.mark.at;
        if head.len() > 1 {
            from -= head.len() - 1;
        }
        let mut out: Option<Vec<u8>> = None;
        loop {
            let c = self.peek(0);
            if c == b'%' {
                let hex = self.text.get(self.mark.at + 1..self.mark.at + 3);
                let octet = hex.filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
                let Some(octet) = octet.and_then(|hex| u8::from_str_radix(hex, 16).ok()) else {
                    return Err(self.fault(start, "a tag's '%' needs two hexadecimal digits"));
                };
                let so_far = &self.bytes[from..self.mark.at];
                out.get_or_insert_with(|| so_far.to_vec()).push(octet);
                self.skip_bytes(3);
            } else if c.is_ascii_alphanumeric() || b"_-;/?:@&=+$,.!~*'()[]".contains(&c) {
                if let Some(out) = &mut out {
                    out.push(c);
                }
                self.skip_bytes(1);
            } else {
                break;
            }
        }
        if self.mark.at == from && head.is_empty() {
            return Err(self.fault(start, "a tag without a name"));
        }
        match out {
            None => Ok(Cow::Borrowed(&self.text[from..self.mark.at])),
            Some(out) => {
                String::from_utf8(out).map(Cow::Owned).map_err(|_| self.fault(start, "a tag whose escapes are no UTF-8"))
            }
        }
    }

    fn word(&mut self) -> &'a str {
        let rest = &self.bytes[self.mark.at..];
        let count = rest.iter().take_while(|&&b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-').count();
        self.advance(count)
    }

    fn number(&mut self, start: Mark) -> Result<&'a str, Fault> {
        let count = self.bytes[self.mark.at..].iter().take_while(|b| b.is_ascii_digit()).count();
        if count == 0 || count > 2 {
            return Err(self.fault(start, "%YAML needs a version such as 1.1"));
        }
        Ok(self.advance(count))
    }

    fn blanks(&mut self) {
        while self.is_blank(0) {
            self.skip_bytes(1);
        }
    }
}
