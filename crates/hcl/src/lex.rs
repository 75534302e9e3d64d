//! Tokens of HCL1.

use crate::ast::Pos;
use crate::parse::ParseError;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Eof,
    Comment,
    Ident,
    Number,
    Float,
    Bool,
    String,
    Heredoc,
    LeftBracket,
    RightBracket,
    LeftBrace,
    RightBrace,
    Comma,
    Period,
    Assign,
    Add,
    Sub,
}

impl Kind {
    /// The name in error texts.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Eof => "EOF",
            Self::Comment => "COMMENT",
            Self::Ident => "IDENT",
            Self::Number => "NUMBER",
            Self::Float => "FLOAT",
            Self::Bool => "BOOL",
            Self::String => "STRING",
            Self::Heredoc => "HEREDOC",
            Self::LeftBracket => "LBRACK",
            Self::RightBracket => "RBRACK",
            Self::LeftBrace => "LBRACE",
            Self::RightBrace => "RBRACE",
            Self::Comma => "COMMA",
            Self::Period => "PERIOD",
            Self::Assign => "ASSIGN",
            Self::Add => "ADD",
            Self::Sub => "SUB",
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) pos: Pos,
    pub(crate) text: &'a str,
}

/// Reads tokens from a text whose line ends are `\n`.
pub(crate) struct Lexer<'a> {
    source: &'a str,
    at: usize,
    /// The place of the last character read: what errors name. Each attempt to read past the end moves one column on,
    /// as in the original parser, whose positions at the end of a text people have in their scripts.
    last: Pos,
    line: u32,
    column: u32,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(source: &'a str) -> Self {
        Self { source, at: 0, last: Pos { line: 1, column: 0 }, line: 1, column: 0 }
    }

    pub(crate) fn next_token(&mut self) -> Result<Token<'a>, ParseError> {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.bump();
        }
        let start = self.at;
        let first = self.bump();
        let pos = self.last;
        let kind = match first {
            None => Kind::Eof,
            Some('"') => self.string()?,
            Some('#') => self.line_comment(),
            Some('/') => match self.peek() {
                Some('/') => self.line_comment(),
                Some('*') => self.block_comment()?,
                _ => return Err(self.error("expected '/' for comment")),
            },
            Some('<') => self.heredoc()?,
            Some('[') => Kind::LeftBracket,
            Some(']') => Kind::RightBracket,
            Some('{') => Kind::LeftBrace,
            Some('}') => Kind::RightBrace,
            Some(',') => Kind::Comma,
            Some('=') => Kind::Assign,
            Some('+') => Kind::Add,
            Some('.') if self.peek_digit() => {
                self.digits();
                self.exponent();
                Kind::Float
            }
            Some('.') => Kind::Period,
            Some('-') if self.peek_digit() => {
                let digit = self.bump();
                self.number(digit)?
            }
            Some('-') => Kind::Sub,
            Some(c) if is_letter(c) => self.identifier(start),
            Some(c) if c.is_ascii_digit() => self.number(Some(c))?,
            Some(_) => return Err(self.error("illegal char")),
        };
        Ok(Token { kind, pos, text: &self.source[start..self.at] })
    }

    fn peek(&self) -> Option<char> {
        self.source[self.at..].chars().next()
    }

    fn peek_digit(&self) -> bool {
        self.peek().is_some_and(|c| c.is_ascii_digit())
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek();
        self.column += 1;
        self.last = Pos { line: self.line, column: self.column };
        if let Some(c) = c {
            self.at += c.len_utf8();
            if c == '\n' {
                self.line += 1;
                self.column = 0;
            }
        }
        c
    }

    /// Reads while `wanted`. At the end of the text this reads past it once, as the original does.
    fn bump_while(&mut self, wanted: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&wanted) {
            self.bump();
        }
        if self.peek().is_none() {
            self.bump();
        }
    }

    fn error(&self, message: &str) -> ParseError {
        ParseError::new(self.last, message.to_owned())
    }

    fn identifier(&mut self, start: usize) -> Kind {
        self.bump_while(|c| is_letter(c) || c.is_numeric() || c == '-' || c == '.');
        match &self.source[start..self.at] {
            "true" | "false" => Kind::Bool,
            _ => Kind::Ident,
        }
    }

    fn line_comment(&mut self) -> Kind {
        self.bump_while(|c| c != '\n');
        Kind::Comment
    }

    fn block_comment(&mut self) -> Result<Kind, ParseError> {
        self.bump(); // the star
        loop {
            match self.bump() {
                None => return Err(self.error("comment not terminated")),
                Some('*') if self.peek() == Some('/') => {
                    self.bump();
                    return Ok(Kind::Comment);
                }
                Some(_) => {}
            }
        }
    }

    fn digits(&mut self) {
        while self.peek_digit() {
            self.bump();
        }
    }

    fn exponent(&mut self) -> bool {
        if !matches!(self.peek(), Some('e' | 'E')) {
            return false;
        }
        self.bump();
        if matches!(self.peek(), Some('+' | '-')) {
            self.bump();
        }
        self.digits();
        true
    }

    fn number(&mut self, first: Option<char>) -> Result<Kind, ParseError> {
        let start = self.at;
        if first == Some('0') && matches!(self.peek(), Some('x' | 'X')) {
            self.bump();
            let digits = self.at;
            while self.peek().is_some_and(|c| c.is_ascii_hexdigit()) {
                self.bump();
            }
            if self.at == digits {
                return Err(self.error("illegal hexadecimal number"));
            }
            return Ok(Kind::Number);
        }
        self.digits();
        let octal = first == Some('0') && self.source[start..self.at].bytes().any(|b| b >= b'8');
        let mut float = false;
        if self.peek() == Some('.') {
            self.bump();
            self.digits();
            float = true;
        }
        float |= self.exponent();
        if octal && !float {
            return Err(self.error("illegal octal number"));
        }
        if self.peek().is_none() {
            self.bump();
        }
        Ok(if float { Kind::Float } else { Kind::Number })
    }

    /// A quoted string. Inside `${…}` quotes and line ends are plain characters; nothing is interpolated.
    fn string(&mut self) -> Result<Kind, ParseError> {
        let mut braces = 0u32;
        loop {
            let c = self.bump();
            match c {
                None => return Err(self.error("literal not terminated")),
                Some('\n') if braces == 0 => return Err(self.error("literal not terminated")),
                Some('\0') => return Err(self.error("unexpected null character (0x00)")),
                Some('"') if braces == 0 => return Ok(Kind::String),
                Some('$') if braces == 0 && self.peek() == Some('{') => {
                    self.bump();
                    braces = 1;
                }
                Some('{') if braces > 0 => braces += 1,
                Some('}') if braces > 0 => braces -= 1,
                Some('\\') => self.escape()?,
                Some(_) => {}
            }
        }
    }

    fn escape(&mut self) -> Result<(), ParseError> {
        let (radix, count) = match self.bump() {
            Some('a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' | '"') => return Ok(()),
            // The first of three octal digits is read already.
            Some('0'..='7') => (8, 2),
            Some('x') => (16, 2),
            Some('u') => (16, 4),
            Some('U') => (16, 8),
            _ => return Err(self.error("illegal char escape")),
        };
        for _ in 0..count {
            if !self.bump().is_some_and(|c| c.is_digit(radix)) {
                return Err(self.error("illegal char escape"));
            }
        }
        Ok(())
    }

    fn heredoc(&mut self) -> Result<Kind, ParseError> {
        if self.bump() != Some('<') {
            return Err(self.error("heredoc expected second '<', didn't see it"));
        }
        if self.peek() == Some('-') {
            self.bump();
        }
        let start = self.at;
        while self.peek().is_some_and(|c| is_letter(c) || c.is_numeric()) {
            self.bump();
        }
        let anchor = &self.source[start..self.at];
        match self.bump() {
            None => return Err(self.error("heredoc not terminated")),
            Some('\n') if anchor.is_empty() => return Err(self.error("zero-length heredoc anchor")),
            Some('\n') => {}
            Some(_) => return Err(self.error("invalid characters in heredoc anchor")),
        }
        loop {
            let line = self.at;
            while self.peek().is_some_and(|c| c != '\n') {
                self.bump();
            }
            let found = self.source[line..self.at].trim() == anchor;
            match self.bump() {
                Some(_) if found => return Ok(Kind::Heredoc),
                Some(_) => {}
                None => return Err(self.error("heredoc not terminated")),
            }
        }
    }
}

fn is_letter(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}
