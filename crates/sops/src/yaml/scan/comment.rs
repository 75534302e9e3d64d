//! Comments: which lines are one, and whether they go with what follows (head), what stands before on the line (line) or what
//! came before (foot).

use std::ops::Range;

use super::{Kind, Mark, Scanner, Token};

/// The lines of a comment as byte ranges of the text, `#` first; an empty range is a blank line.
pub(in crate::yaml) type Lines = Vec<Range<usize>>;

/// Comment lines waiting for the token they go with: the first that starts at or after `token`. One of the three kinds has lines.
#[derive(Debug, Default)]
pub(in crate::yaml) struct Comment {
    /// Where the search for it began.
    pub(super) scan: Mark,
    pub(in crate::yaml) token: Mark,
    /// Its first `#`; the column is counted from 1 but for line comments.
    pub(super) start: Mark,
    pub(super) end: Mark,
    pub(in crate::yaml) head: Lines,
    pub(in crate::yaml) line: Lines,
    pub(in crate::yaml) foot: Lines,
}

/// Blanks and breaks are looked through this far for a comment that goes on.
const REACH: usize = 512;

impl Scanner<'_> {
    /// After a token: the comment on the rest of its line.
    pub(super) fn line_comment(&mut self, token: Mark) {
        if self.newlines > 0 {
            return;
        }
        let blanks = (0..REACH).take_while(|&ahead| self.is_blank(ahead)).count();
        if blanks == REACH || self.peek(blanks) != b'#' {
            return;
        }
        self.skip_bytes(blanks);
        let start = self.mark;
        let line = self.comment_text();
        self.comments.push_back(Comment { token, start, line: vec![line], ..Comment::default() });
    }

    /// `- # text` over a nested collection speaks of what follows, not of the dash.
    pub(super) fn entry_comment_is_head(&mut self) {
        let [.., before, last] = self.tokens.as_slice() else { return };
        let first_entry = before.kind == Kind::BlockSequenceStart && last.kind == Kind::BlockEntry;
        if !first_entry || self.is_break(0) {
            return;
        }
        let mark = self.mark;
        if let Some(comment) = self.comments.back_mut()
            && !comment.line.is_empty()
        {
            comment.head = std::mem::take(&mut comment.line);
            if comment.start.line + 1 == mark.line {
                comment.token = mark;
            }
        }
    }

    /// Comments on lines of their own, from a `#` on; `scan` is where the way to the next token began.
    pub(super) fn comments(&mut self, scan: Mark) {
        let mut gather = Gather::new(self, scan);
        let mut ahead = 0;
        while ahead < REACH {
            gather.column += 1;
            if self.is_blank(ahead) {
                ahead += 1;
                continue;
            }
            let here = Mark { at: self.mark.at + ahead, line: gather.line, column: gather.column };
            let closes = self.flow > 0 && matches!(self.peek(ahead), b']' | b'}');
            if closes || self.is_breakz(ahead) {
                let done = gather.line_ends(here, closes, self.peek(ahead) == 0);
                self.comments.extend(done);
                if !self.is_break(ahead) {
                    break;
                }
                gather.next_line();
                ahead += 1;
                continue;
            }
            if !gather.lines.is_empty() && here.column - 1 < gather.indent && here.column != gather.start.column {
                let foot = gather.foot(here);
                self.comments.push_back(foot);
            }
            if self.peek(ahead) != b'#' {
                break;
            }
            if gather.lines.is_empty() {
                gather.start = here;
            }
            gather.seen_blank = false;
            while self.mark.at < here.at {
                if self.is_break(0) {
                    self.skip_line();
                } else {
                    self.skip_bytes(1);
                }
            }
            let text = self.comment_text();
            gather.lines.push(text);
            // The break that ends the line is passed over unseen.
            ahead = 1;
            gather.column = 0;
            gather.line = self.mark.line;
            gather.indent = self.indent.max(0);
        }
        if !gather.lines.is_empty() {
            let end = Mark { at: (self.mark.at + ahead).saturating_sub(1), line: gather.line, column: gather.column };
            self.comments.push_back(Comment {
                scan: gather.scan,
                token: gather.start,
                start: gather.start,
                end,
                head: gather.lines,
                ..Comment::default()
            });
        }
    }

    fn comment_text(&mut self) -> Range<usize> {
        let start = self.mark.at;
        self.advance(self.to_break());
        start..self.mark.at
    }
}

/// The lines gathered so far, and what decides where they go.
struct Gather {
    scan: Mark,
    token: Mark,
    after_value: bool,
    start: Mark,
    lines: Lines,
    /// The column of the block that the comment stands in.
    indent: i32,
    /// On this line a comment closes what came before, if a blank line follows.
    foot_line: i64,
    /// No blank line has been seen, before or between.
    first_blank: bool,
    /// The line before is blank.
    seen_blank: bool,
    line: u32,
    column: i32,
}

impl Gather {
    fn new(scanner: &Scanner<'_>, scan: Mark) -> Self {
        let token = match scanner.tokens.as_slice() {
            [.., before, Token { kind: Kind::FlowEntry, .. }] => Some(before),
            [.., last] => Some(last),
            [] => None,
        };
        let mark = scanner.mark;
        let foot_line = if scan.line == 0 {
            -1
        } else {
            let beside = scanner.newlines == 0 && mark.column > 1;
            i64::from(mark.line) - i64::from(scanner.newlines) + 1 + i64::from(beside)
        };
        Self {
            scan,
            token: token.map_or_else(Mark::default, |token| token.start),
            after_value: token.is_some_and(|token| token.kind == Kind::Value),
            start: Mark::default(),
            lines: Lines::new(),
            indent: scanner.indent.max(0),
            foot_line,
            first_blank: scanner.newlines <= 1,
            seen_blank: false,
            line: mark.line,
            column: mark.column,
        }
    }

    /// A line ends here, or the flow collection does: what is gathered may be the foot of what came before.
    fn line_ends(&mut self, here: Mark, closes: bool, end: bool) -> Option<Comment> {
        if !closes && self.seen_blank {
            return None;
        }
        let outside = self.start.column - 1 < self.indent;
        let closing = self.first_blank && (i64::from(self.start.line) == self.foot_line && !self.after_value || outside);
        if self.lines.is_empty() {
            return None;
        }
        if closes || closing {
            if outside {
                self.token = self.start;
            }
            return Some(self.foot(here));
        }
        if !end {
            self.lines.push(0..0);
        }
        None
    }

    fn foot(&mut self, here: Mark) -> Comment {
        let comment = Comment {
            scan: self.scan,
            token: self.token,
            start: self.start,
            end: here,
            foot: std::mem::take(&mut self.lines),
            ..Comment::default()
        };
        self.scan = here;
        self.token = here;
        comment
    }

    const fn next_line(&mut self) {
        self.first_blank = false;
        self.seen_blank = true;
        self.column = 0;
        self.line += 1;
    }
}
