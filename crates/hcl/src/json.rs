//! JSON (RFC 8259) into the same tree as HCL, with places.

use coffer_types::json::Text;

use crate::ast::{Body, Document, Item, Key, Pos, Value, ValueKind};
use crate::parse::{MAX_DEPTH, ParseError};

/// Reads one JSON object and nothing after it.
pub(crate) fn parse(source: &str) -> Result<Document, ParseError> {
    let mut reader = Reader { rest: source.chars(), pos: Pos { line: 1, column: 1 }, depth: 0 };
    reader.space();
    let value = reader.value()?;
    reader.space();
    if let Some(c) = reader.peek() {
        return Err(reader.error(&format!("expected the end of the text after the object, got {c:?}")));
    }
    match value.kind {
        ValueKind::Object(body) => Ok(Document { body, comments: Vec::new() }),
        _ => Err(ParseError::new(value.pos, "expected an object")),
    }
}

struct Reader<'a> {
    rest: std::str::Chars<'a>,
    pos: Pos,
    depth: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        if c == '\n' {
            self.pos = Pos { line: self.pos.line + 1, column: 1 };
        } else {
            self.pos.column += 1;
        }
        Some(c)
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.bump();
        }
    }

    fn error(&self, message: &str) -> ParseError {
        ParseError::new(self.pos, message)
    }

    fn expect(&mut self, wanted: char) -> Result<(), ParseError> {
        match self.peek() {
            Some(c) if c == wanted => {
                self.bump();
                Ok(())
            }
            Some(c) => Err(self.error(&format!("expected {wanted:?} got {c:?}"))),
            None => Err(self.error(&format!("expected {wanted:?} got the end of the text"))),
        }
    }

    fn value(&mut self) -> Result<Value, ParseError> {
        let pos = self.pos;
        let kind = match self.peek() {
            Some('{') => self.nested(Self::object)?,
            Some('[') => self.nested(Self::list)?,
            Some('"') => ValueKind::String(Text::new(self.string()?)),
            Some('-' | '0'..='9') => ValueKind::Number(Text::new(self.number()?)),
            Some('a'..='z') => match self.word().as_str() {
                "true" => ValueKind::Bool(true),
                "false" => ValueKind::Bool(false),
                "null" => ValueKind::Null,
                _ => return Err(ParseError::new(pos, "expected a value")),
            },
            Some(_) => return Err(self.error("expected a value")),
            None => return Err(self.error("expected a value got the end of the text")),
        };
        Ok(Value::new(kind, pos, ""))
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<ValueKind, ParseError>) -> Result<ValueKind, ParseError> {
        if self.depth == MAX_DEPTH {
            return Err(self.error(&format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.depth += 1;
        self.bump();
        self.space();
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn object(&mut self) -> Result<ValueKind, ParseError> {
        let mut items: Vec<Item> = Vec::new();
        let mut names = std::collections::HashSet::new();
        while self.peek() != Some('}') {
            if !items.is_empty() {
                self.expect(',')?;
                self.space();
            }
            let pos = self.pos;
            let name = self.string()?;
            if !names.insert(name.clone()) {
                return Err(ParseError::new(pos, format!("the key {name:?} stands twice in one object")));
            }
            self.space();
            self.expect(':')?;
            self.space();
            let value = self.value()?;
            self.space();
            let key = Key { raw: String::new(), name, pos };
            items.push(Item { keys: vec![key], value, assigned: true, lead: None, line: None });
        }
        let end = self.pos;
        self.bump();
        Ok(ValueKind::Object(Body { items, end }))
    }

    fn list(&mut self) -> Result<ValueKind, ParseError> {
        let mut values = Vec::new();
        while self.peek() != Some(']') {
            if !values.is_empty() {
                self.expect(',')?;
                self.space();
            }
            values.push(self.value()?);
            self.space();
        }
        self.bump();
        Ok(ValueKind::List(values))
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(c) = self.peek().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')) {
            word.push(c);
            self.bump();
        }
        word
    }

    fn number(&mut self) -> Result<String, ParseError> {
        let pos = self.pos;
        let word = self.word();
        // A grammar of three parts: digits without a leading zero, a fraction, an exponent.
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let (mantissa, exponent) = word.split_once(['e', 'E']).map_or((word.as_str(), "0"), |(m, e)| (m, e));
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let mantissa = mantissa.strip_prefix('-').unwrap_or(mantissa);
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
        let whole_is_good = digits(whole) && (whole == "0" || !whole.starts_with('0'));
        if whole_is_good && digits(fraction) && digits(exponent) {
            Ok(word)
        } else {
            Err(ParseError::new(pos, "expected a number"))
        }
    }

    fn string(&mut self) -> Result<String, ParseError> {
        self.expect('"')?;
        let mut out = String::new();
        loop {
            let pos = self.pos;
            match self.bump() {
                None => return Err(self.error("literal not terminated")),
                Some('"') => return Ok(out),
                Some(c) if c < ' ' => return Err(ParseError::new(pos, "control character in a string")),
                Some('\\') => out.push(self.escape().ok_or_else(|| ParseError::new(pos, "illegal char escape"))?),
                Some(c) => out.push(c),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        Some(match self.bump()? {
            c @ ('"' | '\\' | '/') => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let first = self.hex4()?;
                if !(0xd800..0xdc00).contains(&first) {
                    return char::from_u32(first);
                }
                if self.bump()? != '\\' || self.bump()? != 'u' {
                    return None;
                }
                let second = self.hex4()?;
                if !(0xdc00..0xe000).contains(&second) {
                    return None;
                }
                char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))?
            }
            _ => return None,
        })
    }

    fn hex4(&mut self) -> Option<u32> {
        (0..4).try_fold(0, |value, _| Some(value * 16 + self.bump()?.to_digit(16)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_the_same_as_hcl() {
        let document =
            parse(r#"{"path": {"secret/*": {"capabilities": ["read"]}, "b": [{"k": null}, {"k": 1.5e3}]}}"#).expect("reads");
        let blocks = document.body.labelled("path").expect("blocks");
        let labels: Vec<&str> = blocks.iter().map(|block| block.label.name.as_str()).collect();
        assert_eq!(labels, ["secret/*", "b", "b"]);
        assert_eq!(blocks[2].body.get("k").and_then(|item| item.value.scalar()), Some("1.5e3"));
        let document = parse(r#"{"path": [{"a": {}}, {"b": {}}]}"#).expect("reads");
        assert_eq!(document.body.labelled("path").expect("blocks").len(), 2);
    }

    #[test]
    fn strings() {
        let document = parse(r#"{"k": "\"\\\/\b\f\n\r\t\u00e4\ud83d\ude00"}"#).expect("reads");
        assert_eq!(document.body.items[0].value.as_str(), Some("\"\\/\u{8}\u{c}\n\r\tä😀"));
    }

    #[test]
    fn mistakes_are_refused() {
        for source in [
            "{",
            "{}x",
            "{} {}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{,}",
            "{a:1}",
            "{\"a\":01}",
            "{\"a\":1.}",
            "{\"a\":.5}",
            "{\"a\":-}",
            "{\"a\":+1}",
            "{\"a\":1e}",
            "{\"a\":tru}",
            "{\"a\":nulll}",
            "{\"a\":[1,]}",
            "{\"a\":[1 2]}",
            "{\"a\":\"\\q\"}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\\udc00\"}",
            "{\"a\":\"\n\"}",
            "{\"a\":\"",
            "{\"a\":1,\"a\":2}",
            "{\"a\":1,\"\\u0061\":2}",
            "{\"a\":{\"b\":1,\"b\":1}}",
            "{\"a\":'b'}",
            "{\"a\":1} // no comments",
            "{\"path\":",
        ] {
            assert!(parse(source).is_err(), "{source}");
        }
        assert_eq!(parse("{\n \"a\": x}").expect_err("bad").to_string(), "At 2:7: expected a value");
    }
}
