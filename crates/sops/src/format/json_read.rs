//! Reads JSON to a tree, with the place of every value, so that a patch knows what to replace.

use std::ops::Range;

use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::tree::{Branch, Element, Entry, Item, Key, Line, Value};

/// How deep values may be nested: what is deeper would exhaust the stack of whoever walks it.
const DEEPEST: usize = 500;

/// A value and where it stands.
pub(super) struct Node {
    pub(super) span: Range<usize>,
    pub(super) line: u32,
    pub(super) held: Held,
}

pub(super) enum Held {
    Leaf(Value),
    List(Vec<Node>),
    Map(Vec<Pair>),
}

pub(super) struct Pair {
    pub(super) key: String,
    /// Of the key with its quotes.
    pub(super) start: usize,
    pub(super) node: Node,
}

/// Reads the object that a file starts with; what follows it is not looked at.
pub(super) fn read(source: &[u8]) -> Result<Branch> {
    match tree(parse(source)?).0 {
        Value::Map(branch) => Ok(branch),
        _ => Ok(Branch::new()),
    }
}

/// The same with places. It is always a map.
pub(super) fn parse(source: &[u8]) -> Result<Node> {
    let mut reader = Reader { source, at: 0, line: 1, counted: 0 };
    reader.space();
    if reader.peek() != Some(b'{') {
        return Err(reader.fault(if reader.peek() == Some(b'[') {
            "Could not unmarshal input data: SOPS only supports JSON files with a top-level object (starting with '{'): wrap the list in one, for example {\"data\": [...]}"
        } else {
            "Could not unmarshal input data: a JSON file must hold an object (starting with '{')"
        }));
    }
    reader.value(0)
}

pub(super) fn tree(node: Node) -> (Value, Line) {
    let line = Line(node.line);
    let value = match node.held {
        Held::Leaf(value) => value,
        Held::List(list) => Value::List(
            list.into_iter()
                .map(|node| {
                    let (value, line) = tree(node);
                    Element::Value(value, line)
                })
                .collect(),
        ),
        Held::Map(pairs) => Value::Map(Branch {
            items: pairs
                .into_iter()
                .map(|pair| {
                    let (value, line) = tree(pair.node);
                    Item::Entry(Entry { key: Key::Text(pair.key), value, line })
                })
                .collect(),
        }),
    };
    (value, line)
}

struct Reader<'a> {
    source: &'a [u8],
    at: usize,
    line: u32,
    /// Up to where lines are counted.
    counted: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.source.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// The line of where it stands.
    fn line(&mut self) -> u32 {
        let at = self.at.min(self.source.len());
        if let Some(passed) = self.source.get(self.counted..at) {
            let lines = passed.iter().filter(|byte| **byte == b'\n').count();
            self.line = self.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
            self.counted = at;
        }
        self.line
    }

    fn fault(&mut self, what: &str) -> Error {
        let line = self.line();
        Error::reading(line, what)
    }

    fn expect(&mut self, byte: u8) -> Result<()> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        let what = if self.at >= self.source.len() { "the file ends in the middle" } else { "something else stands here" };
        Err(self.fault(&format!("malformed JSON: {what}, where a {:?} must be", char::from(byte))))
    }

    fn value(&mut self, depth: usize) -> Result<Node> {
        if depth > DEEPEST {
            return Err(self.fault(&format!("values are nested more than {DEEPEST} levels deep")));
        }
        self.space();
        let (start, line) = (self.at, self.line());
        let held = match self.peek() {
            Some(b'{') => Held::Map(self.map(depth)?),
            Some(b'[') => Held::List(self.list(depth)?),
            Some(b'"') => Held::Leaf(Value::Text(self.text()?.into())),
            Some(b'-' | b'0'..=b'9') => Held::Leaf(self.number()?),
            _ => Held::Leaf(self.word()?),
        };
        Ok(Node { span: start..self.at, line, held })
    }

    fn map(&mut self, depth: usize) -> Result<Vec<Pair>> {
        self.at += 1;
        let mut pairs = Vec::new();
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(pairs);
        }
        loop {
            self.space();
            let start = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.fault("malformed JSON: a key in double quotes must stand here"));
            }
            let key = self.text()?.to_string();
            self.space();
            self.expect(b':')?;
            let node = self.value(depth + 1)?;
            pairs.push(Pair { key, start, node });
            self.space();
            if self.peek() != Some(b',') {
                self.expect(b'}')?;
                return Ok(pairs);
            }
            self.at += 1;
        }
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>> {
        self.at += 1;
        let mut nodes = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(nodes);
        }
        loop {
            nodes.push(self.value(depth + 1)?);
            self.space();
            if self.peek() != Some(b',') {
                self.expect(b']')?;
                return Ok(nodes);
            }
            self.at += 1;
        }
    }

    fn word(&mut self) -> Result<Value> {
        for (word, value) in [("true", Value::Bool(true)), ("false", Value::Bool(false)), ("null", Value::Null)] {
            if self.source[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.fault("malformed JSON: a value must stand here"))
    }

    fn digits(&mut self) -> Result<()> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.fault("malformed JSON: a number lacks its digits")) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<Value> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = std::str::from_utf8(&self.source[start..self.at]).unwrap_or_default();
        if let Ok(number) = text.parse() {
            return Ok(Value::Int(number));
        }
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::Float(number)),
            _ => Err(self.fault("a number is too large for 64 bits: put it in quotes to make it a text")),
        }
    }

    /// A text, from quote to quote. Bytes and escapes that are no characters become U+FFFD, as in Go.
    fn text(&mut self) -> Result<Zeroizing<String>> {
        self.at += 1;
        let mut out = Zeroizing::new(String::new());
        loop {
            let start = self.at;
            while let Some(byte) = self.peek() {
                if byte == b'"' || byte == b'\\' || byte < 0x20 {
                    break;
                }
                self.at += 1;
            }
            match std::str::from_utf8(&self.source[start..self.at]) {
                Ok(text) => out.push_str(text),
                Err(_) => {
                    for chunk in self.source[start..self.at].utf8_chunks() {
                        out.push_str(chunk.valid());
                        out.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
                    }
                }
            }
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    let c = self.escape()?;
                    out.push(c);
                }
                Some(_) => {
                    return Err(self.fault(
                        "malformed JSON: a control character in a text must be escaped, for example a line break as \\n",
                    ));
                }
                None => return Err(self.fault("malformed JSON: the file ends in a text")),
            }
        }
    }

    fn escape(&mut self) -> Result<char> {
        let byte = self.peek();
        self.at += 1;
        Ok(match byte {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let high = self.unit()?;
                if (0xd800..0xdc00).contains(&high) && self.source[self.at..].starts_with(b"\\u") {
                    let back = self.at;
                    self.at += 2;
                    let low = self.unit()?;
                    if (0xdc00..0xe000).contains(&low) {
                        let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                        return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                    }
                    self.at = back;
                }
                char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => {
                self.at -= 1;
                return Err(self.fault("malformed JSON: an unknown escape in a text"));
            }
        })
    }

    fn unit(&mut self) -> Result<u32> {
        let digits = self.source.get(self.at..self.at + 4).and_then(|digits| std::str::from_utf8(digits).ok());
        let hex = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match hex.and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
            Some(unit) => {
                self.at += 4;
                Ok(unit)
            }
            None => Err(self.fault("malformed JSON: \\u takes four hexadecimal digits")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_malformed_is_refused_with_its_line() {
        for (source, line) in [
            ("", 1),
            ("[1]", 1),
            ("1", 1),
            ("\"a\"", 1),
            ("{", 1),
            ("{\n\"a\"", 2),
            ("{\"a\":1,}", 1),
            ("{a:1}", 1),
            ("{\"a\":01}", 1),
            ("{\"a\":1.}", 1),
            ("{\"a\":\n\n+1}", 3),
            ("{\"a\":\"\n\"}", 1),
            ("{\"a\":\"\\x\"}", 1),
            ("{\"a\":\"\\u12g4\"}", 1),
            ("{\"a\":tru}", 1),
            ("{\"a\":1e999}", 1),
            ("{\"a\":[1 2]}", 1),
            ("{\"a\":\"", 1),
            ("{\"a\":\"\\", 1),
            ("{\"a\":-}", 1),
            ("// c\n{}", 1),
            ("{\"a\":\"\\u12", 1),
        ] {
            let error = read(source.as_bytes()).err().unwrap_or_else(|| panic!("{source}"));
            assert_eq!((error.exit_code(), error.line), (2, Some(line)), "{source}");
        }
        let deep = "{\"a\":".repeat(100_000);
        assert_eq!(read(deep.as_bytes()).unwrap_err().exit_code(), 2);
    }

    proptest! {
        #[test]
        fn nothing_panics(source in proptest::collection::vec(proptest::sample::select(b"{}[]\",:\\u0de+-.1 \n\xff".to_vec()), 0..60)) {
            let mut whole = b"{\"a\":".to_vec();
            whole.extend(source);
            let _unused = read(&whole).is_ok();
        }
    }
}
