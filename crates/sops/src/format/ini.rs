//! INI as gopkg.in/ini.v1 reads and writes it: sections in order and repeated where they are, `DEFAULT` first, comments with the key or
//! section that follows them.

use zeroize::Zeroizing;

use super::flat::{flatten, unflatten};
use super::{Format, Kind, Loaded, plain_text};
use crate::error::{Error, Fault, Result};
use crate::tree::{Branch, Comment, Entry, Item, Key, Line, Text, Value};

const DEFAULT: &str = "DEFAULT";

#[derive(Debug, Clone, Copy, Default)]
pub struct Ini;

impl Format for Ini {
    fn kind(&self) -> Kind {
        Kind::Ini
    }

    fn load_plain(&self, source: &[u8]) -> Result<Vec<Branch>> {
        Ok(vec![Reader::read(source)?])
    }

    fn load_encrypted(&self, source: &[u8]) -> Result<Loaded> {
        let mut branch = Reader::read(source)?;
        let at = branch.items.iter().position(|item| matches!(item, Item::Entry(entry) if entry.key.is("sops")));
        let missing =
            || Error::new(Fault::Generic, "sops metadata not found: the file is not encrypted, or its metadata were removed");
        let Item::Entry(Entry { value: Value::Map(section), .. }) = branch.items.remove(at.ok_or_else(missing)?) else {
            return Err(missing());
        };
        let pairs = section.entries().map(|entry| {
            let text = entry.value.as_text().map(Text::lossy).unwrap_or_default();
            (entry.key.text().to_owned(), text)
        });
        Ok(Loaded { metadata: unflatten(pairs)?, documents: vec![branch] })
    }

    fn emit(&self, documents: &[Branch], metadata: Option<&Branch>) -> Result<Zeroizing<Vec<u8>>> {
        let mut out = Zeroizing::new(Vec::new());
        for entry in documents.first().into_iter().flat_map(Branch::entries) {
            let Value::Map(section) = &entry.value else {
                return Err(Error::dumping(format!(
                    "Error marshaling to INI: Error encoding section: Section values should always be TreeBranches; {} is a {}",
                    entry.key.text(),
                    entry.value.kind()
                )));
            };
            write_section(entry.key.text(), section, &mut out);
        }
        if let Some(metadata) = metadata {
            let mut section = Branch::new();
            for (key, text) in flatten(metadata) {
                section.push(key, Value::Text(text.into()));
            }
            write_section("sops", &section, &mut out);
        }
        Ok(out)
    }

    fn emit_value(&self, value: &Value) -> Result<Zeroizing<Vec<u8>>> {
        match value {
            Value::Map(_) | Value::List(_) => {
                Err(Error::dumping(format!("a {} is no single value of an INI file", value.kind())))
            }
            leaf => Ok(Zeroizing::new(plain_text(leaf).into_bytes())),
        }
    }

    fn example(&self) -> Vec<Branch> {
        let mut section = Branch::new();
        section.items.push(Item::Comment(Comment::new("Welcome to SOPS! Edit this file as you please!", 0)));
        section.push("hello", "Welcome to SOPS! Edit this file as you please!");
        section.push("example_key", "example_value");
        let mut branch = Branch::new();
        branch.push("Welcome", section);
        vec![branch]
    }
}

struct Reader {
    branch: Branch,
    name: String,
    line: u32,
    section: Branch,
    /// Comments since the last key or section, with their signs.
    comment: Zeroizing<Vec<u8>>,
    numbered: usize,
}

impl Reader {
    fn read(source: &[u8]) -> Result<Branch> {
        let source = source.strip_prefix(b"\xef\xbb\xbf").unwrap_or(source);
        let mut reader = Self {
            branch: Branch::new(),
            name: DEFAULT.to_owned(),
            line: 1,
            section: Branch::new(),
            comment: Zeroizing::default(),
            numbered: 0,
        };
        let mut lines = (1..).zip(source.split(|byte| *byte == b'\n'));
        while let Some((number, whole)) = lines.next() {
            let line = whole.trim_ascii_start();
            match line.first() {
                None => {}
                Some(b'#' | b';') => {
                    reader.comment.extend_from_slice(line);
                    reader.comment.push(b'\n');
                }
                Some(b'[') => reader.begin(number, line)?,
                Some(_) => reader.key(number, line, &mut lines)?,
            }
        }
        reader.end();
        Ok(reader.branch)
    }

    fn begin(&mut self, number: u32, line: &[u8]) -> Result<()> {
        let close = line
            .iter()
            .rposition(|byte| *byte == b']')
            .ok_or_else(|| Error::reading(number, "unclosed section: a ] must follow its name"))?;
        let name = text_of(&line[1..close], number)?;
        if name.is_empty() {
            return Err(Error::reading(number, "empty section name"));
        }
        self.end();
        self.name = name;
        self.line = number;
        self.numbered = 0;
        if let Some(at) = line[close + 1..].iter().position(|byte| matches!(byte, b'#' | b';')) {
            let rest = &line[close + 1 + at..];
            self.comment.extend_from_slice(rest);
        }
        if let Some(comment) = self.take_comment(number) {
            self.section.items.push(comment);
        }
        Ok(())
    }

    fn end(&mut self) {
        let section = std::mem::take(&mut self.section);
        let key = Key::Text(std::mem::take(&mut self.name));
        self.branch.items.push(Item::Entry(Entry { key, value: Value::Map(section), line: Line(self.line) }));
    }

    /// What was commented, without the first sign and the spaces around it.
    fn take_comment(&mut self, number: u32) -> Option<Item> {
        let whole = std::mem::take(&mut self.comment);
        let mut text = whole.trim_ascii();
        if text.is_empty() {
            return None;
        }
        for sign in *b"; # " {
            while let [first, rest @ ..] = text
                && *first == sign
            {
                text = rest;
            }
        }
        Some(Item::Comment(Comment::new(text.to_vec(), number)))
    }

    fn key<'a>(&mut self, number: u32, line: &'a [u8], lines: &mut impl Iterator<Item = (u32, &'a [u8])>) -> Result<()> {
        let no_delimiter = || Error::reading(number, "key-value delimiter not found: write key = value, or ; before a comment");
        let quote: &[u8] = match line {
            [b'"', b'"', b'"', _, _, _, _, ..] => b"\"\"\"",
            [b'"', ..] => b"\"",
            [b'`', ..] => b"`",
            _ => b"",
        };
        let (name, rest) = if quote.is_empty() {
            let at = line.iter().position(|byte| matches!(byte, b'=' | b':')).ok_or_else(no_delimiter)?;
            (line[..at].trim_ascii(), &line[at + 1..])
        } else {
            let inside = &line[quote.len()..];
            let end = find(inside, quote).ok_or_else(|| Error::reading(number, "a key's closing quote is missing"))?;
            let rest = &inside[end + quote.len()..];
            let at = rest.iter().position(|byte| matches!(byte, b'=' | b':')).ok_or_else(no_delimiter)?;
            (inside[..end].trim_ascii(), &rest[at + 1..])
        };
        if name.is_empty() {
            return Err(Error::reading(number, "empty key name"));
        }
        let mut name = text_of(name, number)?;
        if name == "-" {
            self.numbered += 1;
            name = format!("#{}", self.numbered);
        }
        let text = self.value(number, rest, lines)?;
        match self.section.get_mut(&name) {
            // The last value counts, at the place of the first.
            Some(value) => *value = Value::Text(text),
            None => {
                let entry = Entry { key: Key::Text(name), value: Value::Text(text), line: Line(number) };
                self.section.items.push(Item::Entry(entry));
            }
        }
        let comment = self.take_comment(number);
        self.section.items.extend(comment);
        Ok(())
    }

    fn value<'a>(&mut self, number: u32, rest: &'a [u8], lines: &mut impl Iterator<Item = (u32, &'a [u8])>) -> Result<Text> {
        let line = rest.trim_ascii_start();
        let quote: &[u8] = match line {
            [b'"', b'"', b'"', _, ..] => b"\"\"\"",
            [b'`', ..] => b"`",
            _ => b"",
        };
        if !quote.is_empty() {
            let inside = &line[quote.len()..];
            if let Some(end) = rfind(inside, quote) {
                return Ok(inside[..end].to_vec().into());
            }
            // It goes on over lines, up to the quote.
            let mut text = Zeroizing::new(inside.to_vec());
            for (_, next) in lines {
                text.push(b'\n');
                if let Some(end) = rfind(next, quote) {
                    text.extend_from_slice(&next[..end]);
                    return Ok(text.into());
                }
                text.extend_from_slice(next);
            }
            return Err(Error::reading(number, "a value's closing quote is missing"));
        }
        let mut text = Zeroizing::new(line.trim_ascii().to_vec());
        if text.ends_with(b"\\") {
            // A line that ends in a backslash goes on in the next one.
            text.pop();
            for (_, next) in lines {
                let next = next.trim_ascii();
                if next.is_empty() {
                    break;
                }
                text.extend_from_slice(next.strip_suffix(b"\\").unwrap_or(next));
                if !next.ends_with(b"\\") {
                    break;
                }
            }
            return Ok(text.into());
        }
        if let Some(at) = text.iter().position(|byte| matches!(byte, b'#' | b';')) {
            self.comment.extend_from_slice(&text[at..]);
            let length = text[..at].trim_ascii_end().len();
            text.truncate(length);
        }
        for quote in [b'\'', b'"'] {
            if text.len() > 1 && text[0] == quote && text[1..].iter().position(|byte| *byte == quote) == Some(text.len() - 2) {
                return Ok(text[1..text.len() - 1].to_vec().into());
            }
        }
        Ok(text.into())
    }
}

fn text_of(bytes: &[u8], line: u32) -> Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::reading(line, "a name is not UTF-8"))
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

fn rfind(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).rposition(|window| window == part)
}

/// A section with its comment, its keys aligned; a blank line before it, unless it is the first.
fn write_section(name: &str, section: &Branch, out: &mut Vec<u8>) {
    // What follows a key in the tree is its comment; what stands first is the section's.
    let mut items = section.items.iter().peekable();
    let above = match items.peek() {
        Some(Item::Comment(comment)) => {
            items.next();
            Some(comment)
        }
        _ => None,
    };
    let mut keys: Vec<(String, &Value, Option<&Comment>)> = Vec::new();
    for item in items {
        match item {
            Item::Entry(entry) => keys.push((key_text(entry.key.text()), &entry.value, None)),
            Item::Comment(comment) => {
                if let Some((_, _, own)) = keys.last_mut() {
                    *own = Some(comment);
                }
            }
        }
    }
    if name == DEFAULT && out.is_empty() && keys.is_empty() {
        return;
    }
    if !out.is_empty() {
        out.push(b'\n');
    }
    if let Some(comment) = above {
        write_comment(comment, out);
    }
    if name != DEFAULT || !out.is_empty() && above.is_none() {
        out.extend_from_slice(format!("[{name}]\n").as_bytes());
    }
    let width = keys.iter().map(|(key, ..)| key.len()).max().unwrap_or(0);
    for (key, value, comment) in keys {
        if let Some(comment) = comment {
            write_comment(comment, out);
        }
        out.extend_from_slice(key.as_bytes());
        out.resize(out.len() + width - key.len(), b' ');
        out.extend_from_slice(b" = ");
        write_value(value, out);
        out.push(b'\n');
    }
}

fn key_text(key: &str) -> String {
    if key.starts_with('#') && key[1..].bytes().all(|byte| byte.is_ascii_digit()) && key.len() > 1 {
        "-".to_owned()
    } else if key.contains(['"', '=', ':']) {
        format!("`{key}`")
    } else if key.contains('`') {
        format!("\"\"\"{key}\"\"\"")
    } else {
        key.to_owned()
    }
}

fn write_comment(comment: &Comment, out: &mut Vec<u8>) {
    for line in comment.text.as_bytes().split(|byte| *byte == b'\n') {
        let (sign, rest) = match line {
            [sign @ (b'#' | b';'), rest @ ..] => (*sign, rest),
            _ => (b';', line),
        };
        out.extend_from_slice(&[sign, b' ']);
        out.extend_from_slice(rest.trim_ascii());
        out.push(b'\n');
    }
}

fn write_value(value: &Value, out: &mut Vec<u8>) {
    let text = match value {
        Value::Text(text) | Value::Bytes(text) => Zeroizing::new(text.as_bytes().to_vec()),
        other => Zeroizing::new(plain_text(other).into_bytes()),
    };
    let has = |signs: &[u8]| text.iter().any(|byte| signs.contains(byte));
    let quote: &[u8] = if has(b"\n`") {
        b"\"\"\""
    } else if has(b"#;") {
        b"`"
    } else if text.trim_ascii().len() != text.len() {
        b"\""
    } else {
        b""
    };
    out.extend_from_slice(quote);
    out.extend_from_slice(&text);
    out.extend_from_slice(quote);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(source: &str) -> String {
        let documents = Ini.load_plain(source.as_bytes()).unwrap();
        String::from_utf8(Ini.emit(&documents, None).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn it_reads_and_aligns_as_the_reference() {
        let source = "; global\nroot = r\n\n[db]\n; host\nhost = h\npass = \"quoted # x\"\nlong_key=v ; inline\nempty =\n[sec two]\nm = `a`\nn = 'q'\n";
        let written = "; global\nroot = r\n\n[db]\n; host\nhost     = h\n; x\"\npass     = \"quoted\n; inline\nlong_key = v\nempty    = \n\n[sec two]\nm = a\nn = q\n";
        assert_eq!(again(source), written);
    }

    #[test]
    fn sections_repeat_and_values_are_quoted_where_they_must_be() {
        assert_eq!(again("[a]\nx=1\n[a]\ny=2"), "[a]\nx = 1\n\n[a]\ny = 2\n");
        assert_eq!(again("a=`x;y`\nb=\"\"\"l1\nl2\"\"\"\nc=\" s \""), "a = `x;y`\nb = \"\"\"l1\nl2\"\"\"\nc = \" s \"\n");
        assert_eq!(again("a = 1 \\\n 2\nb: 3\n-=x\n"), "a = 1 2\nb = 3\n- = x\n");
    }

    #[test]
    fn what_is_malformed_is_refused_with_its_line() {
        for (source, line) in
            [("a=1\nnovalue", 2), ("[open", 1), ("[]", 1), ("= 1", 1), ("a=`open\nb=1", 1), ("\"a = 1", 1), ("\"a\" 1", 1)]
        {
            let error = Ini.load_plain(source.as_bytes()).err().unwrap_or_else(|| panic!("{source}"));
            assert_eq!((error.exit_code(), error.line), (2, Some(line)), "{source}");
        }
        assert_eq!(Ini.load_encrypted(b"[a]\nb=1").unwrap_err().exit_code(), 1);
        let mut branch = Branch::new();
        branch.push("a", 1);
        assert_eq!(Ini.emit(&[branch], None).unwrap_err().exit_code(), 4);
    }
}
