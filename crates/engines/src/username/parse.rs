//! Reads a template into nodes.

/// Parentheses and conditions inside one another.
const MAX_DEPTH: usize = 32;

#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Action(Pipeline),
    /// Conditions in order, each with what stands under it, and what stands under `else`.
    If {
        branches: Vec<(Pipeline, Vec<Node>)>,
        otherwise: Vec<Node>,
    },
}

/// Commands; the value of each is the last argument of the next.
pub(super) type Pipeline = Vec<Command>;

#[derive(Debug)]
pub(super) enum Command {
    Value(Operand),
    Call { function: Function, args: Vec<Operand> },
}

#[derive(Debug)]
pub(super) enum Operand {
    Text(String),
    Number(i64),
    Field(String),
    Call(Function),
    Inner(Pipeline),
}

macro_rules! functions {
    ($($name:literal $variant:ident),+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Function { $($variant),+ }

        impl Function {
            fn named(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }

            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

functions! {
    "random" Random, "truncate" Truncate, "truncate_sha256" TruncateSha256, "uppercase" Uppercase, "lowercase" Lowercase,
    "replace" Replace, "sha256" Sha256, "base64" Base64, "unix_time" UnixTime, "unix_time_millis" UnixTimeMillis,
    "timestamp" Timestamp, "uuid" Uuid, "printf" Printf, "len" Len, "eq" Eq, "ne" Ne, "and" And, "or" Or, "not" Not
}

/// # Errors
/// What is wrong, in words for whoever wrote the template.
pub(super) fn template(text: &str, fields: &[&str]) -> Result<Vec<Node>, String> {
    if text.len() > super::MAX_TEMPLATE {
        return Err(format!("it is over {} bytes", super::MAX_TEMPLATE));
    }
    let pieces = split(text)?;
    let mut parser = Parser { pieces: pieces.into_iter(), fields };
    let (nodes, end) = parser.nodes(0)?;
    match end {
        Stop::Text => Ok(nodes),
        Stop::End => Err("an {{end}} without an {{if}}".into()),
        Stop::Else(_) => Err("an {{else}} without an {{if}}".into()),
    }
}

enum Piece {
    Text(String),
    Action(Vec<Token>),
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Text(String),
    Number(i64),
    Field(String),
    Word(String),
    Open,
    Close,
    Pipe,
}

/// Text and actions in turn; `{{-` and `-}}` eat the white space on their side.
fn split(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut eat = false;
    while let Some(at) = rest.find("{{") {
        let (mut before, after) = (&rest[..at], &rest[at + 2..]);
        let mut inner = after;
        if eat {
            before = before.trim_start();
        }
        if let Some(tail) = inner.strip_prefix('-').filter(|t| t.starts_with(char::is_whitespace)) {
            before = before.trim_end();
            inner = tail;
        }
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        let (tokens, tail, trims) = action(inner)?;
        if let Some(tokens) = tokens {
            pieces.push(Piece::Action(tokens));
        }
        rest = tail;
        eat = trims;
    }
    let last = if eat { rest.trim_start() } else { rest };
    if !last.is_empty() {
        pieces.push(Piece::Text(last.to_owned()));
    }
    Ok(pieces)
}

/// The tokens up to `}}`, nothing for a comment; what follows; and whether its white space is eaten.
fn action(text: &str) -> Result<(Option<Vec<Token>>, &str, bool), String> {
    let mut rest = text.trim_start();
    if let Some(comment) = rest.strip_prefix("/*") {
        let (_, after) = comment.split_once("*/").ok_or("unclosed comment")?;
        let after = after.trim_start();
        let (trims, after) = after.strip_prefix('-').map_or((false, after), |tail| (true, tail));
        return Ok((None, after.strip_prefix("}}").ok_or("a comment must end its action")?, trims));
    }
    let mut tokens = Vec::new();
    loop {
        let spaced = rest.starts_with(char::is_whitespace);
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix("}}") {
            return Ok((Some(tokens), after, false));
        }
        if spaced && let Some(after) = rest.strip_prefix("-}}") {
            return Ok((Some(tokens), after, true));
        }
        let (token, after) = token(rest)?;
        tokens.push(token);
        rest = after;
    }
}

fn token(text: &str) -> Result<(Token, &str), String> {
    let word = |text: &str| text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let first = text.chars().next().ok_or("unclosed action")?;
    match first {
        '(' => Ok((Token::Open, &text[1..])),
        ')' => Ok((Token::Close, &text[1..])),
        '|' => Ok((Token::Pipe, &text[1..])),
        '"' => quoted(&text[1..]),
        '`' => {
            let (inner, after) = text[1..].split_once('`').ok_or("unterminated raw string")?;
            Ok((Token::Text(inner.to_owned()), after))
        }
        '.' => {
            let end = word(&text[1..]) + 1;
            let after = &text[end..];
            if end == 1 || after.starts_with('.') {
                return Err("only fields of the form .Name are known".into());
            }
            Ok((Token::Field(text[1..end].to_owned()), after))
        }
        '-' | '0'..='9' => {
            let end = word(&text[1..]) + 1;
            let number = text[..end].parse().map_err(|_| "a number that is none, or too large")?;
            Ok((Token::Number(number), &text[end..]))
        }
        c if c.is_ascii_alphabetic() || c == '_' => {
            let end = word(text);
            Ok((Token::Word(text[..end].to_owned()), &text[end..]))
        }
        '$' | ':' | '=' | ',' => Err("variables are not known here".into()),
        _ => Err("an unexpected character in an action".into()),
    }
}

fn quoted(text: &str) -> Result<(Token, &str), String> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((Token::Text(value), &text[at + 1..])),
            '\n' => break,
            '\\' => match chars.next().map(|(_, c)| c) {
                Some(c @ ('\\' | '"')) => value.push(c),
                Some('n') => value.push('\n'),
                Some('t') => value.push('\t'),
                _ => return Err("an escape that is not known in a string".into()),
            },
            c => value.push(c),
        }
    }
    Err("unterminated quoted string".into())
}

struct Parser<'a> {
    pieces: std::vec::IntoIter<Piece>,
    fields: &'a [&'a str],
}

/// What ended a run of nodes.
enum Stop {
    Text,
    End,
    /// With the condition of an `else if`.
    Else(Option<Pipeline>),
}

impl Parser<'_> {
    fn nodes(&mut self, depth: usize) -> Result<(Vec<Node>, Stop), String> {
        if depth > MAX_DEPTH {
            return Err("conditions stand too deep in one another".into());
        }
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let tokens = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action(tokens) => tokens,
            };
            let mut tokens = Tokens { rest: &tokens, fields: self.fields };
            match tokens.keyword() {
                Some("end") => return tokens.nothing_more().map(|()| (nodes, Stop::End)),
                Some("else") => {
                    let condition = match tokens.keyword() {
                        Some("if") => Some(tokens.whole()?),
                        _ => None,
                    };
                    return tokens.nothing_more().map(|()| (nodes, Stop::Else(condition)));
                }
                Some("if") => {
                    let condition = tokens.whole()?;
                    nodes.push(self.condition(condition, depth + 1)?);
                }
                Some(other) => return Err(format!("{other} is not known here")),
                None => nodes.push(Node::Action(tokens.whole()?)),
            }
        }
        Ok((nodes, Stop::Text))
    }

    fn condition(&mut self, first: Pipeline, depth: usize) -> Result<Node, String> {
        let mut branches = Vec::new();
        let mut condition = Some(first);
        loop {
            let (nodes, end) = self.nodes(depth)?;
            let (otherwise, next) = match condition.take() {
                Some(condition) => {
                    branches.push((condition, nodes));
                    (Vec::new(), true)
                }
                None => (nodes, false),
            };
            match end {
                Stop::End => return Ok(Node::If { branches, otherwise }),
                Stop::Else(following) if next => condition = following,
                Stop::Else(_) => return Err("an {{else}} after the {{else}}".into()),
                Stop::Text => return Err("an {{if}} without an {{end}}".into()),
            }
        }
    }
}

struct Tokens<'a> {
    rest: &'a [Token],
    fields: &'a [&'a str],
}

impl<'a> Tokens<'a> {
    /// Takes a word of the language, if one comes.
    fn keyword(&mut self) -> Option<&'a str> {
        const WORDS: [&str; 12] =
            ["if", "else", "end", "range", "with", "define", "template", "block", "break", "continue", "nil", "true"];
        let Some((Token::Word(word), rest)) = self.rest.split_first() else { return None };
        WORDS.contains(&word.as_str()).then(|| {
            self.rest = rest;
            word.as_str()
        })
    }

    fn nothing_more(&self) -> Result<(), String> {
        if self.rest.is_empty() { Ok(()) } else { Err("more than belongs into this action".into()) }
    }

    fn whole(&mut self) -> Result<Pipeline, String> {
        let pipeline = self.pipeline(0)?;
        self.nothing_more()?;
        Ok(pipeline)
    }

    fn pipeline(&mut self, depth: usize) -> Result<Pipeline, String> {
        if depth > MAX_DEPTH {
            return Err("parentheses stand too deep in one another".into());
        }
        let mut commands = Vec::new();
        loop {
            let operands = self.operands(depth)?;
            commands.push(command(operands, commands.is_empty())?);
            match self.rest.split_first() {
                Some((Token::Pipe, rest)) => self.rest = rest,
                _ => return Ok(commands),
            }
        }
    }

    fn operands(&mut self, depth: usize) -> Result<Vec<Operand>, String> {
        let mut operands = Vec::new();
        while let Some((token, rest)) = self.rest.split_first() {
            let operand = match token {
                Token::Pipe | Token::Close => break,
                Token::Text(text) => Operand::Text(text.clone()),
                Token::Number(number) => Operand::Number(*number),
                Token::Field(name) if self.fields.contains(&name.as_str()) => Operand::Field(name.clone()),
                Token::Field(name) => return Err(format!("there is no field .{name}; known are {}", self.known())),
                Token::Word(name) => {
                    Operand::Call(Function::named(name).ok_or_else(|| format!("function {name:?} not defined"))?)
                }
                Token::Open => {
                    self.rest = rest;
                    let inner = self.pipeline(depth + 1)?;
                    match self.rest.first() {
                        Some(Token::Close) => Operand::Inner(inner),
                        _ => return Err("unclosed left paren".into()),
                    }
                }
            };
            self.rest = &self.rest[1..];
            operands.push(operand);
        }
        Ok(operands)
    }

    fn known(&self) -> String {
        self.fields.iter().map(|f| format!(".{f}")).collect::<Vec<_>>().join(", ")
    }
}

fn command(operands: Vec<Operand>, first: bool) -> Result<Command, String> {
    let mut operands = operands.into_iter();
    match operands.next() {
        None => Err("missing value for command".into()),
        Some(Operand::Call(function)) => Ok(Command::Call { function, args: operands.collect() }),
        Some(value) if first && operands.len() == 0 => Ok(Command::Value(value)),
        Some(_) => Err("what is called is no function".into()),
    }
}
