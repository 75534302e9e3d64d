//! The parser: tokens to [`Document`], comments kept for the formatter.

use std::fmt;

use coffer_types::json::Text;

use crate::ast::{Body, Comment, CommentGroup, Document, Item, Key, Pos, Value, ValueKind};
use crate::lex::{Kind, Lexer, Token};
use crate::text;

/// Longest text, in bytes. Policies come over the API, so the limit is part of what keeps the server's memory bounded.
pub const MAX_BYTES: usize = 4 << 20;
/// Deepest nesting of objects and lists.
pub const MAX_DEPTH: usize = 64;

/// Where a text is wrong and what was expected. Quotes keys; values only where [`ParseError::repeats_text`] says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    pub pos: Pos,
    message: String,
    place_is_in_message: bool,
    repeats_text: bool,
}

impl ParseError {
    /// An error at a place; also for the readers of a [`Document`] who find that a value has the wrong shape.
    pub fn new(pos: Pos, message: impl Into<String>) -> Self {
        Self { pos, message: message.into(), place_is_in_message: false, repeats_text: false }
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the message repeats a piece of the text that may be a value which lost its quotes. Where texts hold secrets, such a
    /// message is for nobody's log.
    pub fn repeats_text(&self) -> bool {
        self.repeats_text
    }

    fn repeating(mut self) -> Self {
        self.repeats_text = true;
        self
    }

    fn duplicate(key: &Key) -> Self {
        let message =
            format!("The argument {:?} at {} was already set. Each argument can only be defined once", key.raw, key.pos);
        Self { pos: key.pos, message, place_is_in_message: true, repeats_text: false }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place_is_in_message { f.write_str(&self.message) } else { write!(f, "At {}: {}", self.pos, self.message) }
    }
}

impl std::error::Error for ParseError {}

/// Reads a text: JSON when its first character is `{`, else HCL.
///
/// # Errors
/// The first mistake, with line and column. A key assigned twice in one object, more than [`MAX_BYTES`] or [`MAX_DEPTH`] included.
pub fn parse(source: &str) -> Result<Document, ParseError> {
    if source.trim_start().starts_with('{') { crate::json::parse(check_size(source)?) } else { parse_hcl(source) }
}

/// Reads HCL only.
pub(crate) fn parse_hcl(source: &str) -> Result<Document, ParseError> {
    check_size(source)?;
    let normal;
    let source = if source.contains("\r\n") {
        normal = source.replace("\r\n", "\n");
        normal.as_str()
    } else {
        source
    };
    let start = Token { kind: Kind::Eof, pos: Pos { line: 0, column: 0 }, text: "" };
    let mut parser =
        Parser { lexer: Lexer::new(source), token: start, unread: false, depth: 0, comments: Vec::new(), lead: None, line: None };
    let body = parser.items(false)?;
    Ok(Document { body, comments: parser.comments })
}

fn check_size(source: &str) -> Result<&str, ParseError> {
    if source.len() > MAX_BYTES {
        return Err(ParseError::new(Pos { line: 1, column: 1 }, format!("the text is longer than {MAX_BYTES} bytes")));
    }
    Ok(source)
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The token read last; `unread` says that it is to be read again.
    token: Token<'a>,
    unread: bool,
    depth: usize,
    comments: Vec<CommentGroup>,
    /// The comments directly above what comes next, and beside what came last, until an item or list value takes them.
    lead: Option<usize>,
    line: Option<usize>,
}

impl<'a> Parser<'a> {
    /// The next token that is no comment.
    fn scan(&mut self) -> Result<Token<'a>, ParseError> {
        if std::mem::take(&mut self.unread) {
            return Ok(self.token);
        }
        let before = self.token.pos.line;
        self.token = self.lexer.next_token()?;
        if self.token.kind == Kind::Comment {
            self.comments_after(before)?;
        }
        Ok(self.token)
    }

    fn peek(&mut self) -> Result<Token<'a>, ParseError> {
        let token = self.scan()?;
        self.unread = true;
        Ok(token)
    }

    /// Groups the comments that follow a token on line `before`, and says whose they are.
    fn comments_after(&mut self, before: u32) -> Result<(), ParseError> {
        let mut last = None;
        if self.token.pos.line == before {
            let (group, end) = self.comment_group(0)?;
            if self.token.pos.line != end {
                self.line = Some(group);
            }
        }
        while self.token.kind == Kind::Comment {
            last = Some(self.comment_group(1)?);
        }
        let closes = matches!(self.token.kind, Kind::RightBrace | Kind::RightBracket);
        if let Some((group, end)) = last
            && end + 1 == self.token.pos.line
            && !closes
        {
            self.lead = Some(group);
        }
        Ok(())
    }

    /// Reads comments as long as each begins at most `gap` lines below the one before; gives the group and its last line.
    fn comment_group(&mut self, gap: u32) -> Result<(usize, u32), ParseError> {
        let mut comments = Vec::new();
        let mut end = self.token.pos.line;
        while self.token.kind == Kind::Comment && self.token.pos.line <= end + gap {
            let breaks = self.token.text.matches('\n').count();
            end = self.token.pos.line + u32::try_from(breaks).unwrap_or(u32::MAX - self.token.pos.line);
            comments.push(Comment { pos: self.token.pos, text: self.token.text.to_owned() });
            self.token = self.lexer.next_token()?;
        }
        self.comments.push(CommentGroup { comments });
        Ok((self.comments.len() - 1, end))
    }

    /// Items up to a closing brace (left unread) in an object, or to the end of the text.
    fn items(&mut self, in_object: bool) -> Result<Body, ParseError> {
        let mut items: Vec<Item> = Vec::new();
        let mut assigned = std::collections::HashSet::new();
        loop {
            let token = self.peek()?;
            if token.kind == Kind::Eof || in_object && token.kind == Kind::RightBrace {
                return Ok(Body { items, end: token.pos });
            }
            let item = self.item()?;
            if item.assigned && !assigned.insert(item.name().to_owned()) {
                return Err(ParseError::duplicate(&item.keys[0]));
            }
            items.push(item);
            if self.peek()?.kind == Kind::Comma {
                self.scan()?;
            }
        }
    }

    fn item(&mut self) -> Result<Item, ParseError> {
        let keys = self.keys()?;
        let lead = self.lead.take();
        let token = self.token;
        let value = match token.kind {
            Kind::Assign => self.value()?,
            Kind::LeftBrace => self.object(token)?,
            kind if !keys.is_empty() && matches!(kind, Kind::Eof | Kind::RightBrace) => {
                let names: Vec<&str> = keys.iter().map(|key| key.raw.as_str()).collect();
                let message = format!("key '{}' expected start of object ('{{') or assignment ('=')", names.join(" "));
                return Err(ParseError::new(token.pos, message).repeating());
            }
            kind => {
                let message = format!("expected: IDENT | STRING | ASSIGN | LBRACE got: {}", kind.name());
                return Err(ParseError::new(token.pos, message));
            }
        };
        let mut line = self.line.take();
        // Looking ahead finds the comment beside the item.
        self.peek()?;
        if value.pos.line == keys[0].pos.line && self.line.is_some() {
            line = self.line.take();
        }
        Ok(Item { keys, value, assigned: token.kind == Kind::Assign, lead, line })
    }

    /// Keys up to the token that ends them, which is left in `self.token`.
    fn keys(&mut self) -> Result<Vec<Key>, ParseError> {
        let mut keys = Vec::new();
        loop {
            let token = self.scan()?;
            match token.kind {
                Kind::Ident | Kind::String => keys.push(key(token)?),
                Kind::Assign if keys.is_empty() => return Err(ParseError::new(token.pos, "no object keys found!")),
                Kind::Assign if keys.len() > 1 => {
                    let message = "nested object expected: LBRACE got: ASSIGN";
                    return Err(ParseError::new(token.pos, message));
                }
                Kind::LeftBrace if keys.is_empty() => {
                    return Err(ParseError::new(token.pos, "expected: IDENT | STRING got: LBRACE"));
                }
                _ => return Ok(keys),
            }
        }
    }

    fn value(&mut self) -> Result<Value, ParseError> {
        let token = self.scan()?;
        match token.kind {
            Kind::LeftBrace => self.object(token),
            Kind::LeftBracket => self.list(token),
            kind if is_literal(kind) => literal(token),
            Kind::Eof => Err(ParseError::new(token.pos, "expected a value got: EOF")),
            kind => {
                let message = format!("Unknown token: {} {} {}", token.pos, kind.name(), token.text);
                Err(ParseError::new(token.pos, message).repeating())
            }
        }
    }

    fn object(&mut self, open: Token<'a>) -> Result<Value, ParseError> {
        self.enter(open.pos)?;
        let mut body = self.items(true)?;
        // The end of the text was looked at already; reading it again moves the column, as the original does.
        if self.token.kind == Kind::Eof {
            self.unread = false;
        }
        let close = self.scan()?;
        if close.kind != Kind::RightBrace {
            let message = format!("object expected closing RBRACE got: {}", close.kind.name());
            return Err(ParseError::new(close.pos, message));
        }
        body.end = close.pos;
        self.depth -= 1;
        Ok(Value::new(ValueKind::Object(body), open.pos, ""))
    }

    fn list(&mut self, open: Token<'a>) -> Result<Value, ParseError> {
        self.enter(open.pos)?;
        let mut values: Vec<Value> = Vec::new();
        let mut comma_due = false;
        loop {
            let token = self.scan()?;
            if comma_due && !matches!(token.kind, Kind::Comma | Kind::RightBracket) {
                let message = format!("error parsing list, expected comma or list end, got: {}", token.kind.name());
                return Err(ParseError::new(token.pos, message));
            }
            let inside = |what: &str, error: ParseError| {
                let repeats_text = error.repeats_text;
                let message = format!("error while trying to parse {what} within list: {error}");
                ParseError { repeats_text, ..ParseError::new(token.pos, message) }
            };
            comma_due = true;
            match token.kind {
                Kind::RightBracket => {
                    self.depth -= 1;
                    return Ok(Value::new(ValueKind::List(values), open.pos, ""));
                }
                Kind::Comma => {
                    // Looking ahead finds the comment beside the value before the comma.
                    self.peek()?;
                    if let Some(value) =
                        values.last_mut().filter(|value| !matches!(value.kind, ValueKind::Object(_) | ValueKind::List(_)))
                        && self.line.is_some()
                    {
                        value.line = self.line.take();
                    }
                    comma_due = false;
                }
                Kind::LeftBrace => values.push(self.object(token).map_err(|error| inside("object", error))?),
                Kind::LeftBracket => values.push(self.list(token).map_err(|error| inside("list", error))?),
                kind if is_literal(kind) => {
                    let mut value = literal(token)?;
                    value.lead = self.lead.take();
                    values.push(value);
                }
                kind => {
                    let message = format!("unexpected token while parsing list: {}", kind.name());
                    return Err(ParseError::new(token.pos, message));
                }
            }
        }
    }

    fn enter(&mut self, pos: Pos) -> Result<(), ParseError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ParseError::new(pos, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(())
    }
}

fn key(token: Token<'_>) -> Result<Key, ParseError> {
    let name = if token.kind == Kind::String { string(token)? } else { token.text.to_owned() };
    Ok(Key { name, pos: token.pos, raw: token.text.to_owned() })
}

fn string(token: Token<'_>) -> Result<String, ParseError> {
    text::unquote(token.text).ok_or_else(|| ParseError::new(token.pos, "the escapes do not make UTF-8 text"))
}

const fn is_literal(kind: Kind) -> bool {
    matches!(kind, Kind::String | Kind::Heredoc | Kind::Number | Kind::Float | Kind::Bool)
}

fn literal(token: Token<'_>) -> Result<Value, ParseError> {
    let kind = match token.kind {
        Kind::Bool => ValueKind::Bool(token.text == "true"),
        Kind::Heredoc => ValueKind::String(Text::new(text::heredoc(token.text).unwrap_or_default())),
        Kind::String => ValueKind::String(Text::new(string(token)?)),
        _ => ValueKind::Number(Text::new(token.text)),
    };
    let mut value = Value::new(kind, token.pos, token.text);
    value.heredoc = token.kind == Kind::Heredoc;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(source: &str) -> String {
        parse(source).expect_err(source).to_string()
    }

    #[test]
    fn reads_the_forms_of_policies_and_configuration() {
        let source = r#"
            # comment
            path "secret/*" { capabilities = ["read", "list",] "quoted" = "v" }   // beside
            path plain { a = 1, b = -1.5e3, c = 0x1f, d = true, e = {} f = [[1], {g = 2}], }
            listener "tcp" { address = "${x "y" z}:{{port}}" /* inside */ }
            text = <<EOT
two
lines
EOT
            nested { deeper { k = "v" } }
        "#;
        let document = parse(source).expect("reads");
        let blocks = document.body.labelled("path").expect("blocks");
        assert_eq!(blocks.iter().map(|block| block.label.name.as_str()).collect::<Vec<_>>(), ["secret/*", "plain"]);
        let list = blocks[0].body.get("capabilities").and_then(|item| item.value.as_list()).expect("a list");
        assert_eq!(list.iter().map(|value| value.as_str().expect("text")).collect::<Vec<_>>(), ["read", "list"]);
        assert_eq!(blocks[0].body.get("quoted").expect("there").value.as_str(), Some("v"));
        let plain = blocks[1].body;
        assert_eq!(plain.get("a").and_then(|item| item.value.as_i64()), Some(1));
        assert_eq!(plain.get("b").and_then(|item| item.value.scalar()), Some("-1.5e3"));
        assert_eq!(plain.get("c").and_then(|item| item.value.as_i64()), Some(31));
        assert_eq!(plain.get("d").and_then(|item| item.value.as_bool()), Some(true));
        let listener = document.body.labelled("listener").expect("blocks");
        assert_eq!(listener[0].body.get("address").expect("there").value.as_str(), Some("${x \"y\" z}:{{port}}"));
        assert_eq!(document.body.get("text").expect("there").value.as_str(), Some("two\nlines\n"));
        assert_eq!(document.body.plain("nested").expect("blocks").len(), 1);
        assert_eq!(document.body.get("text").expect("there").pos(), Pos { line: 6, column: 13 });
    }

    #[test]
    fn numbers() {
        let value = |digits: &str| parse(&format!("a = {digits}")).expect(digits).body.items[0].value.as_i64();
        for (digits, want) in
            [("5", Some(5)), ("-5", Some(-5)), ("0", Some(0)), ("017", Some(15)), ("0xFF", Some(255)), ("1.0", None)]
        {
            assert_eq!(value(digits), want, "{digits}");
        }
        assert_eq!(value("99999999999999999999"), None);
    }

    /// The texts and places are those that the reference answers.
    #[test]
    fn mistakes_are_named_with_their_place() {
        for (source, want) in [
            ("path \"x\" {", "At 1:12: object expected closing RBRACE got: EOF"),
            ("path \"x\" {\n", "At 2:2: object expected closing RBRACE got: EOF"),
            ("path \"x\" {\n  capabilities", "At 2:16: key 'capabilities' expected start of object ('{') or assignment ('=')"),
            ("path \"x\" { capabilities = [\"read\" }", "At 1:35: error parsing list, expected comma or list end, got: RBRACE"),
            ("path \"x\" { capabilities = [\"read\"", "At 1:34: error parsing list, expected comma or list end, got: EOF"),
            ("path \"x\" { capabilities = [read] }", "At 1:28: unexpected token while parsing list: IDENT"),
            ("foo", "At 1:5: key 'foo' expected start of object ('{') or assignment ('=')"),
            ("foo bar", "At 1:9: key 'foo bar' expected start of object ('{') or assignment ('=')"),
            ("path \"x\" { comment=\"a\\qb\" }", "At 1:23: illegal char escape"),
            ("path \"x\" { comment=\"a\nb\" }", "At 1:22: literal not terminated"),
            ("path \"x\" { comment=<<E\nfoo\n", "At 3:1: heredoc not terminated"),
            ("}", "At 1:1: expected: IDENT | STRING | ASSIGN | LBRACE got: RBRACE"),
            ("[1]", "At 1:1: expected: IDENT | STRING | ASSIGN | LBRACE got: LBRACK"),
            ("path \"x\" = { }", "At 1:10: nested object expected: LBRACE got: ASSIGN"),
            ("path \"x\" { } /* unterminated", "At 1:29: comment not terminated"),
            ("path \"x\" { } / foo", "At 1:14: expected '/' for comment"),
            ("path \"x\" { comment = - }", "At 1:22: Unknown token: 1:22 SUB -"),
            ("path \"x\" { comment = $ }", "At 1:22: illegal char"),
            ("a = 1\na = 2", "The argument \"a\" at 2:1 was already set. Each argument can only be defined once"),
            ("a = 1\n\"a\" = 2", "The argument \"\\\"a\\\"\" at 2:1 was already set. Each argument can only be defined once"),
            ("a =", "At 1:4: expected a value got: EOF"),
            ("= 1", "At 1:1: no object keys found!"),
            ("a = 0x", "At 1:6: illegal hexadecimal number"),
            ("a = 09", "At 1:6: illegal octal number"),
            ("a = \"\\xff\"", "At 1:5: the escapes do not make UTF-8 text"),
            ("a = <E", "At 1:6: heredoc expected second '<', didn't see it"),
            ("a = <<\nE\n", "At 1:7: zero-length heredoc anchor"),
            (
                "a = [[1 2]]",
                "At 1:6: error while trying to parse list within list: At 1:9: error parsing list, expected comma or list end, got: NUMBER",
            ),
        ] {
            assert_eq!(error(source), want, "{source}");
        }
    }

    #[test]
    fn hostile_depth_and_size_are_refused() {
        for (open, key) in [("{", "a "), ("[", ""), ("{", "a = "), ("[{a=", "")] {
            let source = format!("x = [{}", format!("{key}{open}").repeat(100_000));
            assert!(parse(&source).is_err());
        }
        let source = format!("a {}", "{ a ".repeat(100_000));
        assert!(error(&source).ends_with("nested deeper than 64 levels"));
        let source = format!("{{\"a\":{}", "[".repeat(1_000_000));
        assert!(error(&source).ends_with("nested deeper than 64 levels"));
        assert!(error(&" ".repeat(MAX_BYTES + 1)).contains("longer than"));
        let deep = format!("a = {}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert!(parse(&deep).is_ok());
    }

    #[test]
    fn blocks_of_the_wrong_shape_are_refused() {
        for source in ["path = 1", "path { capabilities = [\"read\"] }", "path \"a\" \"b\" { }", "path = [[{}]]", "path = [1]"] {
            assert!(parse(source).expect(source).body.labelled("path").is_err(), "{source}");
        }
        for source in ["t \"a\" { }", "t = 1", "t = [1]"] {
            assert!(parse(source).expect(source).body.plain("t").is_err(), "{source}");
        }
    }

    #[test]
    fn values_do_not_print_themselves() {
        let document = parse("token = \"canary\" other = [4711]").expect("reads");
        assert_eq!(format!("{:?}", document.body.items), "[token (string at 1:9), other (list at 1:26)]");
    }

    #[test]
    fn an_error_that_may_repeat_a_value_says_so() {
        for text in ["a = canary", "a = [canary]", "a = [{ b = canary }]", "canary"] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.to_string().contains("canary"), error.repeats_text(), "{text}: {error}");
        }
        for text in ["a = \"canary", "a = \"canary\" }", "a = [\"canary\" 1]", "a = 1canary\na = 2", "{\"a\": canary}"] {
            let error = parse(text).unwrap_err();
            assert!(!error.to_string().contains("canary") || error.repeats_text(), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(source in "[a-c \"{}\\[\\]=,#/*<\\-0-9.\\n\\\\$xEe]{0,60}") {
            let _outcome = parse(&source);
            let _outcome = parse(&format!("{{{source}"));
        }

        #[test]
        fn no_unicode_panics(source in any::<String>()) {
            let _outcome = parse(&source);
        }
    }
}
