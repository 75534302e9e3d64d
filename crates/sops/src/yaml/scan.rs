//! Text to tokens, with the comments that stand between them.
//!
//! The grammar is YAML 1.1's. Where a comment belongs is decided as go-yaml v3 decides it: by the positions of the comment and of
//! tokens around it, looked at three tokens ahead ([`comment`]).

mod comment;
mod directive;
mod scalar;
mod text;

use std::collections::VecDeque;

pub(super) use comment::{Comment, Lines};

use super::Fault;
use super::source::Piece;

/// How deep collections may stand in one another.
pub(super) const MAX_DEPTH: usize = 100;

/// A place in the text: byte from 0, line from 0, column in characters (from 0 but where a comment's own start is counted from 1).
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) at: usize,
    pub(super) line: u32,
    pub(super) column: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Single,
    Double,
    Literal,
    Folded,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind<'a> {
    StreamEnd,
    Version { right: bool },
    TagDirective { handle: &'a str, prefix: Piece<'a> },
    DocumentStart,
    DocumentEnd,
    BlockSequenceStart,
    BlockMappingStart,
    BlockEnd,
    FlowSequenceStart,
    FlowSequenceEnd,
    FlowMappingStart,
    FlowMappingEnd,
    BlockEntry,
    FlowEntry,
    Key,
    Value,
    Alias(&'a str),
    Anchor(&'a str),
    Tag { handle: &'a str, suffix: Piece<'a> },
    Scalar { style: Style, value: Piece<'a> },
}

#[derive(Clone, Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind<'a>,
    pub(super) start: Mark,
    pub(super) end: Mark,
}

/// A token that may turn out to be a key, when a `:` follows it on its line.
#[derive(Clone, Copy, Default)]
struct SimpleKey {
    possible: bool,
    required: bool,
    token: usize,
    mark: Mark,
}

pub(super) struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    mark: Mark,
    /// Line breaks since the last character that is no blank.
    newlines: u32,
    /// Tokens made and not yet taken are those from `head` on; at least two of those before it are kept, for comments.
    tokens: Vec<Token<'a>>,
    head: usize,
    /// Tokens taken so far.
    taken: usize,
    ended: bool,
    pub(super) comments: VecDeque<Comment>,
    indent: i32,
    indents: Vec<i32>,
    flow: usize,
    key_allowed: bool,
    keys: Vec<SimpleKey>,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            bytes: text.as_bytes(),
            mark: Mark::default(),
            newlines: 0,
            tokens: Vec::new(),
            head: 0,
            taken: 0,
            ended: false,
            comments: VecDeque::new(),
            indent: -1,
            indents: Vec::new(),
            flow: 0,
            key_allowed: true,
            keys: vec![SimpleKey::default()],
        }
    }

    /// Makes tokens until the next one can't change any more and comments behind it have been seen.
    pub(super) fn fill(&mut self) -> Result<(), Fault> {
        while !self.ended && (self.tokens.len() < self.head + 3 || self.head_may_become_key()?) {
            self.fetch()?;
        }
        Ok(())
    }

    /// The next token, after `fill`.
    pub(super) fn head(&self) -> Option<&Token<'a>> {
        self.tokens.get(self.head)
    }

    /// Takes the next token, after `fill`.
    pub(super) fn take(&mut self) -> Option<Token<'a>> {
        let token = self.tokens.get_mut(self.head)?;
        // What comments ask of a token that is gone is its kind and place, never its text.
        let left = match &mut token.kind {
            Kind::Scalar { style, value } => Kind::Scalar { style: *style, value: std::mem::take(value) },
            other => other.clone(),
        };
        let token = Token { kind: left, ..*token };
        self.taken += 1;
        self.head += 1;
        if self.head > 64 {
            self.tokens.drain(..self.head - 2);
            self.head = 2;
        }
        Some(token)
    }

    fn head_may_become_key(&mut self) -> Result<bool, Fault> {
        let Some(found) = self.keys.iter().rposition(|key| key.possible && key.token == self.taken) else { return Ok(false) };
        self.key_is_valid(found)
    }

    fn push(&mut self, kind: Kind<'a>, start: Mark) {
        self.tokens.push(Token { kind, start, end: self.mark });
    }

    fn fetch(&mut self) -> Result<(), Fault> {
        let scan = self.mark;
        self.skip_to_token()?;
        self.unroll_indent(self.mark.column, scan);
        let start = self.mark;
        let c = self.peek(0);
        if c == 0 {
            return self.fetch_stream_end();
        }
        if start.column == 0 {
            if c == b'%' {
                self.unroll_indent(-1, start);
                self.remove_key()?;
                self.key_allowed = false;
                return self.directive();
            }
            let indicator = match c {
                b'-' if self.is_document_indicator() => Some(Kind::DocumentStart),
                b'.' if self.is_document_indicator() => Some(Kind::DocumentEnd),
                _ => None,
            };
            if let Some(kind) = indicator {
                self.unroll_indent(-1, start);
                self.remove_key()?;
                self.key_allowed = false;
                self.skip_bytes(3);
                self.push(kind, start);
                return Ok(());
            }
        }
        let moved = self.flow == 0 && c == b':' || self.flow > 0 && c == b',';
        let comment_mark = self.tokens.last().filter(|_| moved).map_or(start, |last| last.start);
        self.fetch_content(c, start)?;
        if !matches!(self.tokens.last(), Some(Token { kind: Kind::BlockEntry, .. })) {
            self.line_comment(comment_mark);
        }
        Ok(())
    }

    fn fetch_content(&mut self, c: u8, start: Mark) -> Result<(), Fault> {
        let blank_next = self.is_blankz(1);
        match c {
            b'[' => self.flow_start(Kind::FlowSequenceStart, start),
            b'{' => self.flow_start(Kind::FlowMappingStart, start),
            b']' => self.flow_end(Kind::FlowSequenceEnd, start),
            b'}' => self.flow_end(Kind::FlowMappingEnd, start),
            b',' => {
                self.remove_key()?;
                self.key_allowed = true;
                self.skip_bytes(1);
                self.push(Kind::FlowEntry, start);
                Ok(())
            }
            b'-' if blank_next => self.block_entry(start),
            b'?' if self.flow > 0 || blank_next => self.explicit_key(start),
            b':' if self.flow > 0 || blank_next => self.value(start),
            b'*' | b'&' => {
                self.save_key()?;
                self.key_allowed = false;
                self.anchor(c == b'*')
            }
            b'!' => {
                self.save_key()?;
                self.key_allowed = false;
                self.tag()
            }
            b'|' | b'>' if self.flow == 0 => {
                self.remove_key()?;
                self.key_allowed = true;
                self.block_scalar(c == b'|')
            }
            b'\'' | b'"' => {
                self.save_key()?;
                self.key_allowed = false;
                self.quoted(c == b'\'')
            }
            _ => {
                let indicator = b"-?:,[]{}#&*!|>'\"%@`".contains(&c) || self.is_blankz(0);
                let dash = c == b'-' && !matches!(self.peek(1), b' ' | b'\t');
                let sign = self.flow == 0 && (c == b'?' || c == b':') && !blank_next;
                if indicator && !dash && !sign {
                    return Err(self.fault(start, "this character cannot start a value; quote it"));
                }
                self.save_key()?;
                self.key_allowed = false;
                self.plain()
            }
        }
    }

    fn key_is_valid(&mut self, index: usize) -> Result<bool, Fault> {
        let key = self.keys[index];
        if !key.possible {
            return Ok(false);
        }
        if key.mark.line < self.mark.line || self.is_far(key.mark.at) {
            if key.required {
                return Err(self.fault(key.mark, "a key without ':'"));
            }
            self.keys[index].possible = false;
            return Ok(false);
        }
        Ok(true)
    }

    /// More than 1024 characters since: too far for a key.
    fn is_far(&self, from: usize) -> bool {
        let passed = &self.bytes[from..self.mark.at];
        passed.len() > 4096 || passed.len() > 1024 && text::characters(passed) > 1024
    }

    fn save_key(&mut self) -> Result<(), Fault> {
        let required = self.flow == 0 && self.indent == self.mark.column;
        if self.key_allowed {
            self.remove_key()?;
            let token = self.taken + self.tokens.len() - self.head;
            if let Some(last) = self.keys.last_mut() {
                *last = SimpleKey { possible: true, required, token, mark: self.mark };
            }
        }
        Ok(())
    }

    fn remove_key(&mut self) -> Result<(), Fault> {
        if let Some(key) = self.keys.last_mut()
            && key.possible
        {
            if key.required {
                let mark = key.mark;
                return Err(self.fault(mark, "a key without ':'"));
            }
            key.possible = false;
        }
        Ok(())
    }

    /// Opens a block collection at this column if it is deeper than the one around it; `at` is the index of the token to come before.
    fn roll_indent(&mut self, column: i32, at: usize, kind: Kind<'a>, mark: Mark) -> Result<(), Fault> {
        if self.flow > 0 || self.indent >= column {
            return Ok(());
        }
        self.indents.push(self.indent);
        self.indent = column;
        self.check_depth()?;
        self.tokens.insert(at, Token { kind, start: mark, end: mark });
        Ok(())
    }

    /// Closes the block collections that are deeper than this column. A comment before the end, in the column of what ends, goes with it.
    fn unroll_indent(&mut self, column: i32, scan: Mark) {
        if self.flow > 0 {
            return;
        }
        let mut mark = scan;
        mark.at = text::previous(self.bytes, mark.at);
        while self.indent > column {
            let mut stop = mark.at;
            for comment in self.comments.iter().rev() {
                if comment.end.at < stop {
                    break;
                }
                if comment.start.column == self.indent + 1 {
                    mark = comment.start;
                }
                stop = comment.scan.at;
            }
            self.tokens.push(Token { kind: Kind::BlockEnd, start: mark, end: mark });
            self.indent = self.indents.pop().unwrap_or(-1);
        }
    }

    fn check_depth(&self) -> Result<(), Fault> {
        if self.flow + self.indents.len() > MAX_DEPTH {
            return Err(self.fault(self.mark, "nested too deeply; 100 levels are the limit"));
        }
        Ok(())
    }

    fn fetch_stream_end(&mut self) -> Result<(), Fault> {
        if self.mark.column != 0 {
            self.mark.column = 0;
            self.mark.line += 1;
        }
        self.unroll_indent(-1, self.mark);
        self.remove_key()?;
        self.key_allowed = false;
        self.push(Kind::StreamEnd, self.mark);
        self.ended = true;
        Ok(())
    }

    fn flow_start(&mut self, kind: Kind<'a>, start: Mark) -> Result<(), Fault> {
        self.save_key()?;
        self.keys.push(SimpleKey::default());
        self.flow += 1;
        self.check_depth()?;
        self.key_allowed = true;
        self.skip_bytes(1);
        self.push(kind, start);
        Ok(())
    }

    fn flow_end(&mut self, kind: Kind<'a>, start: Mark) -> Result<(), Fault> {
        self.remove_key()?;
        if self.flow > 0 {
            self.flow -= 1;
            self.keys.pop();
        }
        self.key_allowed = false;
        self.skip_bytes(1);
        self.push(kind, start);
        Ok(())
    }

    fn block_entry(&mut self, start: Mark) -> Result<(), Fault> {
        if self.flow == 0 {
            if !self.key_allowed {
                return Err(self.fault(start, "a list entry cannot stand here"));
            }
            self.roll_indent(start.column, self.tokens.len(), Kind::BlockSequenceStart, start)?;
        }
        self.remove_key()?;
        self.key_allowed = true;
        self.skip_bytes(1);
        self.push(Kind::BlockEntry, start);
        Ok(())
    }

    fn explicit_key(&mut self, start: Mark) -> Result<(), Fault> {
        if self.flow == 0 {
            if !self.key_allowed {
                return Err(self.fault(start, "a key cannot stand here"));
            }
            self.roll_indent(start.column, self.tokens.len(), Kind::BlockMappingStart, start)?;
        }
        self.remove_key()?;
        self.key_allowed = self.flow == 0;
        self.skip_bytes(1);
        self.push(Kind::Key, start);
        Ok(())
    }

    fn value(&mut self, start: Mark) -> Result<(), Fault> {
        let last = self.keys.len() - 1;
        if self.key_is_valid(last)? {
            let key = self.keys[last];
            let at = self.head + key.token - self.taken;
            self.tokens.insert(at, Token { kind: Kind::Key, start: key.mark, end: key.mark });
            self.roll_indent(key.mark.column, at, Kind::BlockMappingStart, key.mark)?;
            self.keys[last].possible = false;
            self.key_allowed = false;
        } else {
            if self.flow == 0 {
                if !self.key_allowed {
                    return Err(self.fault(start, "a map's value cannot stand here; a text with ': ' in it needs quotes"));
                }
                self.roll_indent(start.column, self.tokens.len(), Kind::BlockMappingStart, start)?;
            }
            self.key_allowed = self.flow == 0;
        }
        self.skip_bytes(1);
        self.push(Kind::Value, start);
        Ok(())
    }

    fn skip_to_token(&mut self) -> Result<(), Fault> {
        let scan = self.mark;
        loop {
            if self.mark.at == 0 && self.text.starts_with('\u{feff}') {
                self.skip_char();
            }
            while self.peek(0) == b' ' || (self.flow > 0 || !self.key_allowed) && self.peek(0) == b'\t' {
                self.skip_bytes(1);
            }
            self.entry_comment_is_head();
            if self.peek(0) == b'#' {
                self.comments(scan);
            }
            if !self.is_break(0) {
                return Ok(());
            }
            self.skip_line();
            if self.flow == 0 {
                self.key_allowed = true;
            }
        }
    }

    fn is_document_indicator(&self) -> bool {
        matches!(&self.bytes[self.mark.at..], [b'-', b'-', b'-', ..] | [b'.', b'.', b'.', ..]) && self.is_blankz(3)
    }

    fn fault(&self, mark: Mark, problem: &'static str) -> Fault {
        Fault::new(mark.line + 1, u32::try_from(mark.column).unwrap_or(0) + 1, problem)
    }
}
