//! Scalars: plain, quoted and block ones.

use std::borrow::Cow;

use super::{Kind, Mark, Scanner, Style};
use crate::yaml::Fault;
use crate::yaml::source::Piece;

/// Text that is a slice of the source for as long as it can be.
struct Building<'a> {
    whole: &'a str,
    copy: Option<String>,
    start: usize,
    end: usize,
}

impl<'a> Building<'a> {
    const fn new(whole: &'a str, start: usize) -> Self {
        Self { whole, copy: None, start, end: start }
    }

    /// Appends the source from `from` to `to`.
    fn slice(&mut self, from: usize, to: usize) {
        match &mut self.copy {
            Some(copy) => copy.push_str(&self.whole[from..to]),
            None if self.start == self.end => (self.start, self.end) = (from, to),
            None if self.end == from => self.end = to,
            None => {
                let whole = self.whole;
                self.own().push_str(&whole[from..to]);
            }
        }
    }

    fn push(&mut self, text: &str) {
        if !text.is_empty() {
            self.own().push_str(text);
        }
    }

    fn push_char(&mut self, c: char) {
        self.own().push(c);
    }

    fn own(&mut self) -> &mut String {
        let so_far = &self.whole[self.start..self.end];
        self.copy.get_or_insert_with(|| so_far.to_owned())
    }

    fn done(self) -> Piece<'a> {
        match self.copy {
            Some(copy) => Cow::Owned(copy),
            None => Cow::Borrowed(&self.whole[self.start..self.end]),
        }
    }
}

/// White space between words of a flow scalar: blanks, or breaks that are folded.
#[derive(Default)]
struct Gap<'a> {
    blanks: (usize, usize),
    /// The first break, and those after it.
    first: Option<&'a str>,
    rest: String,
}

impl<'a> Gap<'a> {
    fn write(&mut self, out: &mut Building<'a>) {
        match self.first.take() {
            Some("\n") if self.rest.is_empty() => out.push(" "),
            Some("\n") => out.push(&self.rest),
            Some(first) => {
                out.push(first);
                out.push(&self.rest);
            }
            None if self.blanks.0 < self.blanks.1 => out.slice(self.blanks.0, self.blanks.1),
            None => {}
        }
        self.rest.clear();
        self.blanks = (0, 0);
    }
}

impl<'a> Scanner<'a> {
    pub(super) fn plain(&mut self) -> Result<(), Fault> {
        let start = self.mark;
        let mut end = start;
        let mut out = Building::new(self.text, start.at);
        let mut gap = Gap::default();
        let indent = self.indent + 1;
        loop {
            if self.mark.column == 0 && self.is_document_indicator() || self.peek(0) == b'#' {
                break;
            }
            let run = self.plain_run();
            if run > 0 {
                gap.write(&mut out);
                let from = self.mark.at;
                self.advance(run);
                out.slice(from, self.mark.at);
                end = self.mark;
            }
            if !(self.is_blank(0) || self.is_break(0)) {
                break;
            }
            self.gap(&mut gap, Some(indent))?;
            if self.flow == 0 && self.mark.column < indent {
                break;
            }
        }
        if gap.first.is_some() {
            self.key_allowed = true;
        }
        self.push_scalar(Style::Plain, out.done(), start, end);
        Ok(())
    }

    /// Bytes that a plain scalar goes on for without white space.
    fn plain_run(&self) -> usize {
        let rest = &self.bytes[self.mark.at..];
        let mut at = 0;
        while let Some(&c) = rest.get(at) {
            let ends = match c {
                b' ' | b'\t' | b'\n' | b'\r' => true,
                0xc2 | 0xe2 => self.is_break(at),
                b':' => self.is_blankz(at + 1),
                b',' | b'?' | b'[' | b']' | b'{' | b'}' => self.flow > 0,
                _ => false,
            };
            if ends {
                break;
            }
            at += 1;
        }
        at
    }

    /// White space, from here to the next character that is none. In a plain scalar no tab may stand in its indentation.
    fn gap(&mut self, gap: &mut Gap<'a>, indent: Option<i32>) -> Result<(), Fault> {
        let before = self.mark;
        loop {
            if self.is_blank(0) {
                if gap.first.is_some() && indent.is_some_and(|indent| self.mark.column < indent) && self.peek(0) == b'\t' {
                    return Err(self.fault(self.mark, "a tab cannot indent; use spaces"));
                }
                self.skip_bytes(1);
                if gap.first.is_none() {
                    gap.blanks = (before.at, self.mark.at);
                }
            } else if self.is_break(0) {
                let text = self.skip_line();
                if gap.first.is_none() {
                    gap.first = Some(text);
                } else {
                    gap.rest.push_str(text);
                }
            } else {
                return Ok(());
            }
        }
    }

    pub(super) fn quoted(&mut self, single: bool) -> Result<(), Fault> {
        let start = self.mark;
        let quote = if single { b'\'' } else { b'"' };
        self.skip_bytes(1);
        let mut out = Building::new(self.text, self.mark.at);
        let mut gap = Gap::default();
        loop {
            if self.mark.column == 0 && self.is_document_indicator() {
                return Err(self.fault(start, "this quoted text runs into a document's end; a quote is missing"));
            }
            if self.peek(0) == 0 {
                return Err(self.fault(start, "this quoted text never ends; a quote is missing"));
            }
            let folded = self.quoted_run(single, &mut out, start)?;
            if folded {
                // An escaped break: it and the blanks after it are nothing.
                gap.first = Some("");
            }
            if self.peek(0) == quote {
                // What stands between is already written: blanks before the quote too.
                gap.write(&mut out);
                break;
            }
            self.gap(&mut gap, None)?;
            gap.write(&mut out);
        }
        self.skip_bytes(1);
        let style = if single { Style::Single } else { Style::Double };
        self.push_scalar(style, out.done(), start, self.mark);
        Ok(())
    }

    /// A quoted scalar up to white space or its end; whether it stopped behind an escaped break.
    fn quoted_run(&mut self, single: bool, out: &mut Building<'a>, start: Mark) -> Result<bool, Fault> {
        loop {
            let rest = &self.bytes[self.mark.at..];
            let run = rest.iter().position(|&b| matches!(b, b' ' | b'\t' | b'\n' | b'\r' | b'\'' | b'"' | b'\\' | 0xc2 | 0xe2));
            let run = run.unwrap_or(rest.len());
            if run > 0 {
                let from = self.mark.at;
                self.advance(run);
                out.slice(from, self.mark.at);
            }
            if self.is_blankz(0) {
                return Ok(false);
            }
            match (self.peek(0), self.peek(1)) {
                (b'\'', b'\'') if single => {
                    out.push_char('\'');
                    self.skip_bytes(2);
                }
                (b'\'', _) if single => return Ok(false),
                (b'"', _) if !single => return Ok(false),
                (b'\\', _) if !single => {
                    if self.is_break(1) {
                        self.skip_bytes(1);
                        self.skip_line();
                        return Ok(true);
                    }
                    let c = self.escape(start)?;
                    out.push_char(c);
                }
                _ => {
                    let from = self.mark.at;
                    self.skip_char();
                    out.slice(from, self.mark.at);
                }
            }
        }
    }

    fn escape(&mut self, start: Mark) -> Result<char, Fault> {
        let digits = match self.peek(1) {
            b'x' => 2,
            b'u' => 4,
            b'U' => 8,
            other => {
                let c = match other {
                    b'0' => '\0',
                    b'a' => '\x07',
                    b'b' => '\x08',
                    b't' | b'\t' => '\t',
                    b'n' => '\n',
                    b'v' => '\x0b',
                    b'f' => '\x0c',
                    b'r' => '\r',
                    b'e' => '\x1b',
                    b' ' => ' ',
                    b'"' => '"',
                    b'\'' => '\'',
                    b'\\' => '\\',
                    b'N' => '\u{85}',
                    b'_' => '\u{a0}',
                    b'L' => '\u{2028}',
                    b'P' => '\u{2029}',
                    _ => return Err(self.fault(self.mark, "no such escape in double quotes; write \\\\ for a backslash")),
                };
                self.skip_bytes(2);
                return Ok(c);
            }
        };
        let hex =
            self.text.get(self.mark.at + 2..self.mark.at + 2 + digits).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(hex) = hex else {
            return Err(self.fault(self.mark, "an escape of too few hexadecimal digits"));
        };
        let c = u32::from_str_radix(hex, 16).ok().and_then(char::from_u32);
        let c = c.ok_or_else(|| self.fault(start, "an escape that is no character"))?;
        self.skip_bytes(2 + digits);
        Ok(c)
    }

    pub(super) fn block_scalar(&mut self, literal: bool) -> Result<(), Fault> {
        let start = self.mark;
        self.skip_bytes(1);
        let mut keep = None;
        let mut increment = 0;
        for _ in 0..2 {
            match self.peek(0) {
                c @ (b'+' | b'-') if keep.is_none() => {
                    keep = Some(c == b'+');
                    self.skip_bytes(1);
                }
                b'0' if increment == 0 => return Err(self.fault(start, "a block text cannot be indented by 0")),
                c @ b'1'..=b'9' if increment == 0 => {
                    increment = i32::from(c - b'0');
                    self.skip_bytes(1);
                }
                _ => break,
            }
        }
        while self.is_blank(0) {
            self.skip_bytes(1);
        }
        if self.peek(0) == b'#' {
            self.line_comment(start);
        }
        if !self.is_breakz(0) {
            return Err(self.fault(start, "only a comment may stand on the line that begins a block text"));
        }
        self.skip_line();
        let mut indent = if increment > 0 { self.indent.max(0) + increment } else { 0 };
        let mut end = self.mark;
        let mut out = String::new();
        // The break of the last line, and the empty lines after it.
        let mut leading: &str = "";
        let mut trailing = String::new();
        let mut after_blank = false;
        self.empty_lines(&mut indent, &mut trailing, start, &mut end)?;
        while self.mark.column == indent && self.peek(0) != 0 {
            let blank = self.is_blank(0);
            if !literal && !after_blank && !blank && leading == "\n" {
                if trailing.is_empty() {
                    out.push(' ');
                }
            } else {
                out.push_str(leading);
            }
            out.push_str(&trailing);
            trailing.clear();
            after_blank = blank;
            out.push_str(self.advance(self.to_break()));
            leading = self.skip_line();
            self.empty_lines(&mut indent, &mut trailing, start, &mut end)?;
        }
        if keep != Some(false) {
            out.push_str(leading);
        }
        if keep == Some(true) {
            out.push_str(&trailing);
        }
        let style = if literal { Style::Literal } else { Style::Folded };
        self.push_scalar(style, Cow::Owned(out), start, end);
        Ok(())
    }

    /// Empty lines of a block scalar and the indentation of the line after them; finds the scalar's own where it is 0.
    fn empty_lines(&mut self, indent: &mut i32, breaks: &mut String, start: Mark, end: &mut Mark) -> Result<(), Fault> {
        *end = self.mark;
        let mut widest = 0;
        loop {
            let rest = &self.bytes[self.mark.at..];
            let room = if *indent == 0 { usize::MAX } else { usize::try_from(*indent - self.mark.column).unwrap_or(0) };
            let spaces = rest.iter().take(room).take_while(|&&b| b == b' ').count();
            self.advance(spaces);
            widest = widest.max(self.mark.column);
            if (*indent == 0 || self.mark.column < *indent) && self.peek(0) == b'\t' {
                return Err(self.fault(start, "a tab in the indentation of this block text; use spaces"));
            }
            if !self.is_break(0) {
                break;
            }
            breaks.push_str(self.skip_line());
            *end = self.mark;
        }
        if *indent == 0 {
            *indent = widest.max(self.indent + 1).max(1);
        }
        Ok(())
    }

    fn push_scalar(&mut self, style: Style, value: Piece<'a>, start: Mark, end: Mark) {
        self.push(Kind::Scalar { style, value }, start);
        if let Some(last) = self.tokens.last_mut() {
            last.end = end;
        }
    }
}
