//! The reader.

use super::{Json, Object, Text};
use std::collections::HashSet;
use std::fmt;
use zeroize::Zeroize;

/// What a text may cost. Checked while reading, so that a hostile one is refused before it is built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Arrays and objects inside one another.
    pub depth: usize,
    /// Length of one string, in bytes.
    pub string: usize,
    /// Strings in all, names of members included.
    pub strings: usize,
    /// Members of one object.
    pub members: usize,
    /// Items of one array.
    pub items: usize,
}

impl Limits {
    /// For texts that Coffer itself wrote. Depth stays bounded: the reader recurses.
    pub const NONE: Self = Self { depth: 512, string: usize::MAX, strings: usize::MAX, members: usize::MAX, items: usize::MAX };
}

/// Why a text was refused. Positions, never the text itself: it may hold a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Not JSON: at this byte something else was expected.
    Syntax {
        at: usize,
        expected: &'static str,
    },
    EndOfInput {
        expected: &'static str,
    },
    NotUtf8 {
        at: usize,
    },
    DuplicateName {
        at: usize,
    },
    TrailingData {
        at: usize,
    },
    TooDeep {
        limit: usize,
    },
    StringTooLong {
        limit: usize,
    },
    TooManyStrings {
        limit: usize,
    },
    TooManyMembers {
        limit: usize,
    },
    TooManyItems {
        limit: usize,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax { at, expected } => write!(f, "byte {at}: {expected} expected"),
            Self::EndOfInput { expected } => write!(f, "unexpected end of JSON input: {expected} expected"),
            Self::NotUtf8 { at } => write!(f, "byte {at}: not UTF-8"),
            Self::DuplicateName { at } => write!(f, "byte {at}: this name stands twice in one object"),
            Self::TrailingData { at } => write!(f, "byte {at}: data after the JSON value"),
            Self::TooDeep { limit } => write!(f, "nested deeper than {limit} levels"),
            Self::StringTooLong { limit } => write!(f, "a string is longer than {limit} bytes"),
            Self::TooManyStrings { limit } => write!(f, "more than {limit} strings"),
            Self::TooManyMembers { limit } => write!(f, "an object has more than {limit} members"),
            Self::TooManyItems { limit } => write!(f, "an array has more than {limit} items"),
        }
    }
}

impl std::error::Error for Fault {}

/// Reads one JSON value and nothing after it but white space.
pub fn parse(input: &[u8], limits: &Limits) -> Result<Json, Fault> {
    let text = std::str::from_utf8(input).map_err(|e| Fault::NotUtf8 { at: e.valid_up_to() })?;
    let mut reader = Reader { text, at: 0, limits, depth: 0, strings: 0 };
    reader.space();
    let value = reader.value()?;
    reader.space();
    if reader.at < input.len() {
        return Err(Fault::TrailingData { at: reader.at });
    }
    Ok(value)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    limits: &'a Limits,
    depth: usize,
    strings: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn fault(&self, expected: &'static str) -> Fault {
        if self.at >= self.text.len() { Fault::EndOfInput { expected } } else { Fault::Syntax { at: self.at, expected } }
    }

    fn value(&mut self) -> Result<Json, Fault> {
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => self.string().map(|s| Json::String(Text::new(s))),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            _ => Err(self.fault("a JSON value")),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Json, Fault>) -> Result<Json, Fault> {
        if self.depth == self.limits.depth {
            return Err(Fault::TooDeep { limit: self.limits.depth });
        }
        self.depth += 1;
        self.at += 1;
        self.space();
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn word(&mut self, word: &'static str, value: Json) -> Result<Json, Fault> {
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(value);
        }
        Err(self.fault("true, false or null"))
    }

    fn object(&mut self) -> Result<Json, Fault> {
        let mut object = Object::new();
        let mut seen: HashSet<Box<str>> = HashSet::new();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(object));
        }
        loop {
            let at = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.fault("a name in double quotes"));
            }
            let name = self.string()?.into_boxed_str();
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.fault("':'"));
            }
            self.at += 1;
            self.space();
            // Few members: compare each. Many: a set, or a hostile body would cost its square.
            let twice = if object.len() < 16 {
                object.contains(&name)
            } else {
                if seen.is_empty() {
                    seen.extend(object.names().map(Into::into));
                }
                !seen.insert(name.clone())
            };
            if twice {
                return Err(Fault::DuplicateName { at });
            }
            if object.len() == self.limits.members {
                return Err(Fault::TooManyMembers { limit: self.limits.members });
            }
            let value = self.value()?;
            object.push(name, value);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Json::Object(object));
                }
                _ => return Err(self.fault("',' or '}'")),
            }
            self.space();
        }
    }

    fn array(&mut self) -> Result<Json, Fault> {
        let mut items = Vec::new();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::Array(items));
        }
        loop {
            if items.len() == self.limits.items {
                return Err(Fault::TooManyItems { limit: self.limits.items });
            }
            items.push(self.value()?);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Json::Array(items));
                }
                _ => return Err(self.fault("',' or ']'")),
            }
            self.space();
        }
    }

    fn number(&mut self) -> Result<Json, Fault> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.fault("a digit")),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.some_digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.some_digits()?;
        }
        if self.at - start > self.limits.string {
            return Err(Fault::StringTooLong { limit: self.limits.string });
        }
        Ok(Json::Number(Text::new(&self.text[start..self.at])))
    }

    fn some_digits(&mut self) -> Result<(), Fault> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.fault("a digit"));
        }
        self.digits();
        Ok(())
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    /// At the opening quote.
    fn string(&mut self) -> Result<String, Fault> {
        self.strings += 1;
        if self.strings > self.limits.strings {
            return Err(Fault::TooManyStrings { limit: self.limits.strings });
        }
        self.at += 1;
        let bytes = self.text.as_bytes();
        let start = self.at;
        let stop = start + super::write::plain_run(&bytes[start..]);
        if stop - start > self.limits.string {
            return Err(Fault::StringTooLong { limit: self.limits.string });
        }
        if bytes.get(stop) == Some(&b'"') {
            self.at = stop + 1;
            return Ok(self.text[start..stop].to_owned());
        }
        // An escape stands in it. The capacity is known to be enough, so no half-built copy is left behind.
        let end = self.closing_quote(stop)?;
        let mut out = String::with_capacity(end - start);
        match self.escaped(start, end, &mut out) {
            Ok(()) if out.len() <= self.limits.string => {
                self.at = end + 1;
                Ok(out)
            }
            Ok(()) => {
                out.zeroize();
                Err(Fault::StringTooLong { limit: self.limits.string })
            }
            Err(fault) => {
                out.zeroize();
                Err(fault)
            }
        }
    }

    fn closing_quote(&self, mut at: usize) -> Result<usize, Fault> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(at) {
                Some(b'"') => return Ok(at),
                Some(b'\\') => at += 2,
                Some(0..=0x1f) => return Err(Fault::Syntax { at, expected: "an escape instead of a control character" }),
                Some(_) => at += 1,
                None => return Err(Fault::EndOfInput { expected: "'\"'" }),
            }
        }
    }

    fn escaped(&self, start: usize, end: usize, out: &mut String) -> Result<(), Fault> {
        let mut at = start;
        while at < end {
            let run = self.text[at..end].find('\\').map_or(end, |n| at + n);
            out.push_str(&self.text[at..run]);
            if run == end {
                break;
            }
            at = run + 2;
            out.push(match self.text.as_bytes()[run + 1] {
                b'"' => '"',
                b'\\' => '\\',
                b'/' => '/',
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                b'u' => {
                    let first = self.hex4(run + 2, end)?;
                    at = run + 6;
                    if (0xd800..0xdc00).contains(&first) {
                        let lone = Fault::Syntax { at: run, expected: "the second half of a surrogate pair" };
                        if self.text.as_bytes().get(at..at + 2) != Some(b"\\u") {
                            return Err(lone);
                        }
                        let second = self.hex4(at + 2, end)?;
                        at += 6;
                        if !(0xdc00..0xe000).contains(&second) {
                            return Err(lone);
                        }
                        char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(lone)?
                    } else {
                        char::from_u32(first).ok_or(Fault::Syntax { at: run, expected: "a code point" })?
                    }
                }
                _ => return Err(Fault::Syntax { at: run, expected: "a known escape" }),
            });
        }
        Ok(())
    }

    fn hex4(&self, at: usize, end: usize) -> Result<u32, Fault> {
        let fault = Fault::Syntax { at, expected: "four hexadecimal digits" };
        let digits = self.text.as_bytes().get(at..at + 4).filter(|_| at + 4 <= end).ok_or(fault)?;
        digits.iter().try_fold(0, |sum, d| Some(sum * 16 + (*d as char).to_digit(16)?)).ok_or(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Json, Fault> {
        parse(text.as_bytes(), &Limits { depth: 8, string: 64, strings: 40, members: 20, items: 20 })
    }

    #[test]
    fn keeps_numbers_as_written() {
        for number in ["12345678901234567890", "1.10", "1e3", "-0", "0.1E-2", "1E+400"] {
            assert_eq!(&*read(number).unwrap().to_bytes(), number.as_bytes());
        }
    }

    #[test]
    fn refuses_what_is_not_json() {
        for text in [
            "",
            " ",
            "{",
            "[",
            "\"",
            "{bad",
            "not json",
            "nul",
            "tru",
            "01",
            "1.",
            "1e",
            "-",
            "+1",
            ".5",
            "'a'",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "[1 2]",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\\udc00\"",
            "\"a\nb\"",
            "\"\t\"",
            "1 2",
            "{} {}",
            "[]]",
            "\"\\",
            "\"\\\"",
            "\"\\u12\"34\"",
            "NaN",
            "Infinity",
            "/* c */ 1",
            "\u{feff}{}",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
        assert_eq!(parse(b"\"\xff\"", &Limits::NONE), Err(Fault::NotUtf8 { at: 1 }));
    }

    #[test]
    fn refuses_duplicates_few_and_many() {
        assert_eq!(read(r#"{"a":1,"a":2}"#), Err(Fault::DuplicateName { at: 7 }));
        assert_eq!(read(r#"{"a":1,"\u0061":2}"#), Err(Fault::DuplicateName { at: 7 }));
        let many: Vec<String> = (0..18).map(|n| format!("\"k{n}\":0")).collect();
        assert!(read(&format!("{{{}}}", many.join(","))).is_ok());
        assert!(matches!(read(&format!("{{{},\"k3\":1}}", many.join(","))), Err(Fault::DuplicateName { .. })));
    }

    #[test]
    fn keeps_to_its_limits() {
        assert!(read("[[[[[[[[1]]]]]]]]").is_ok());
        assert_eq!(read("[[[[[[[[[1]]]]]]]]]"), Err(Fault::TooDeep { limit: 8 }));
        assert_eq!(read(&format!("\"{}\"", "x".repeat(65))), Err(Fault::StringTooLong { limit: 64 }));
        assert_eq!(read(&"1".repeat(65)), Err(Fault::StringTooLong { limit: 64 }));
        assert_eq!(read(&format!("[{}]", ["0"; 21].join(","))), Err(Fault::TooManyItems { limit: 20 }));
        let names: Vec<String> = (0..21).map(|n| format!("\"{n}\":0")).collect();
        assert_eq!(read(&format!("{{{}}}", names.join(","))), Err(Fault::TooManyMembers { limit: 20 }));
        let strings = ["\"\""; 20].join(",");
        assert_eq!(read(&format!("[[{strings}],[{strings}],\"\"]")), Err(Fault::TooManyStrings { limit: 40 }));
        let deep = "[".repeat(1_000_000);
        assert!(matches!(parse(deep.as_bytes(), &Limits::NONE), Err(Fault::TooDeep { .. })));
    }

    #[test]
    fn reads_escapes() {
        assert_eq!(read(r#""a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00z""#).unwrap().as_str(), Some("a\"\\/\u{8}\u{c}\n\r\té😀z"));
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json(text in r#"[\[\]{}:,"a\\u0-9eE.+\- tfnl]{0,40}"#) {
            let ours = parse(text.as_bytes(), &Limits::NONE);
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            match (ours, theirs) {
                (Ok(ours), Ok(theirs)) => prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&ours.to_bytes()).unwrap(), theirs),
                (Err(Fault::DuplicateName { .. }), _) => {}
                (Ok(_), Err(e)) => prop_assert!(e.to_string().contains("out of range"), "{text}: {e}"),
                (Err(e), Ok(_)) => prop_assert!(false, "{text}: {e}"),
                (Err(_), Err(_)) => {}
            }
        }

        #[test]
        fn strings_survive(text in "\\PC{0,40}|[\\x00-\\x1f\"\\\\]{0,12}") {
            let value = Json::string(text.as_str());
            prop_assert_eq!(parse(&value.to_bytes(), &Limits::NONE).unwrap(), value);
        }
    }
}
