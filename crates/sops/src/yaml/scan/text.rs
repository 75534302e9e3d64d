//! Characters: what is where, and stepping over it with line, column and the count of breaks kept true.

use super::Scanner;

impl<'a> Scanner<'a> {
    /// The byte so far ahead, 0 past the end: the text has no zeros of its own.
    pub(super) fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.mark.at + ahead).copied().unwrap_or(0)
    }

    pub(super) fn is_blank(&self, ahead: usize) -> bool {
        matches!(self.peek(ahead), b' ' | b'\t')
    }

    /// CR, LF, NEL, LS or PS stands there.
    pub(super) fn is_break(&self, ahead: usize) -> bool {
        self.break_len(ahead) > 0
    }

    pub(super) fn is_breakz(&self, ahead: usize) -> bool {
        self.peek(ahead) == 0 || self.is_break(ahead)
    }

    pub(super) fn is_blankz(&self, ahead: usize) -> bool {
        self.is_blank(ahead) || self.is_breakz(ahead)
    }

    /// Bytes of the break that stands there: CR LF is one.
    pub(super) fn break_len(&self, ahead: usize) -> usize {
        self.bytes.get(self.mark.at + ahead..).map_or(0, break_len)
    }

    /// Steps over ASCII that is no break.
    pub(super) fn skip_bytes(&mut self, count: usize) {
        self.advance(count);
    }

    /// Steps over one character that is no break.
    pub(super) fn skip_char(&mut self) {
        let width = self.text[self.mark.at..].chars().next().map_or(0, char::len_utf8);
        self.advance(width);
    }

    /// Steps over bytes, whole characters and no break among them, and gives them.
    pub(super) fn advance(&mut self, count: usize) -> &'a str {
        let passed = &self.text[self.mark.at..self.mark.at + count];
        if passed.bytes().any(|b| b != b' ' && b != b'\t') {
            self.newlines = 0;
        }
        self.mark.at += count;
        self.mark.column += i32::try_from(characters(passed.as_bytes())).unwrap_or(i32::MAX / 2);
        passed
    }

    /// Steps over the break that stands here, if one does; gives what it stands for: a newline, or LS and PS as they are.
    pub(super) fn skip_line(&mut self) -> &'a str {
        let count = self.break_len(0);
        if count == 0 {
            return "";
        }
        let kept = if count == 3 { &self.text[self.mark.at..self.mark.at + 3] } else { "\n" };
        self.mark.at += count;
        self.mark.column = 0;
        self.mark.line += 1;
        self.newlines += 1;
        kept
    }

    /// Bytes from here to the next break or the end.
    pub(super) fn to_break(&self) -> usize {
        let rest = &self.bytes[self.mark.at..];
        let mut at = 0;
        while let Some(found) = rest[at..].iter().position(|&b| matches!(b, b'\n' | b'\r' | 0xc2 | 0xe2)) {
            at += found;
            if break_len(&rest[at..]) > 0 {
                return at;
            }
            at += 1;
        }
        rest.len()
    }
}

/// Bytes of the break that a text begins with.
pub(super) fn break_len(bytes: &[u8]) -> usize {
    match bytes {
        [b'\r', b'\n', ..] | [0xc2, 0x85, ..] => 2,
        [b'\r' | b'\n', ..] => 1,
        [0xe2, 0x80, 0xa8 | 0xa9, ..] => 3,
        _ => 0,
    }
}

/// How many characters UTF-8 holds.
pub(super) fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&b| b & 0xc0 != 0x80).count()
}

/// Where the character before a place begins.
pub(super) fn previous(bytes: &[u8], at: usize) -> usize {
    let mut at = at.saturating_sub(1);
    while at > 0 && bytes.get(at).is_some_and(|b| b & 0xc0 == 0x80) {
        at -= 1;
    }
    at
}
