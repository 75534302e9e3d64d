//! Files of `KEY=value` lines. No quotes, no `export`, no trimming: what stands there is what there is. A line break in a value is
//! the two characters `\n`.

use zeroize::Zeroizing;

use super::flat::{flatten, unflatten};
use super::{Format, Kind, Loaded, Patch, Patched, Spellings, plain_text};
use crate::error::{Error, Fault, Result};
use crate::tree::{Branch, Comment, Entry, Item, Key, Line, Text, Value};

/// What keys of metadata start with.
const PREFIX: &str = "sops_";

#[derive(Debug, Clone, Copy, Default)]
pub struct Dotenv;

impl Format for Dotenv {
    fn kind(&self) -> Kind {
        Kind::Dotenv
    }

    fn load_plain(&self, source: &[u8]) -> Result<Vec<Branch>> {
        Ok(vec![Branch {
            items: lines(source).filter_map(|(number, line)| read(number, line).transpose()).collect::<Result<_>>()?,
        }])
    }

    fn load_encrypted(&self, source: &[u8]) -> Result<Loaded> {
        let mut branch = Branch::new();
        let mut metadata = Vec::new();
        for (number, line) in lines(source) {
            match read(number, line)? {
                Some(Item::Entry(entry)) if entry.key.text().starts_with(PREFIX) => {
                    let text = entry.value.as_text().map(Text::lossy).unwrap_or_default();
                    metadata.push((entry.key.text()[PREFIX.len()..].to_owned(), text));
                }
                Some(item) => branch.items.push(item),
                None => {}
            }
        }
        if metadata.is_empty() {
            return Err(Error::new(
                Fault::Generic,
                "sops metadata not found: the file is not encrypted, or its metadata were removed",
            ));
        }
        Ok(Loaded { documents: vec![branch], metadata: unflatten(metadata)? })
    }

    fn holds_metadata(&self, documents: &[Branch]) -> bool {
        documents.first().is_some_and(|branch| branch.entries().any(|entry| entry.key.text().starts_with(PREFIX)))
    }

    fn emit(&self, documents: &[Branch], metadata: Option<&Branch>) -> Result<Zeroizing<Vec<u8>>> {
        let mut out = Zeroizing::new(Vec::new());
        for item in documents.first().map(|branch| branch.items.as_slice()).unwrap_or_default() {
            write(item, &mut out)?;
        }
        if let Some(metadata) = metadata {
            write_metadata(metadata, &mut out);
        }
        Ok(out)
    }

    fn emit_value(&self, value: &Value) -> Result<Zeroizing<Vec<u8>>> {
        match value {
            Value::Map(_) | Value::List(_) => {
                Err(Error::dumping(format!("cannot use complex value in dotenv file; it is a {}", value.kind())))
            }
            leaf => Ok(Zeroizing::new(bytes_of(leaf))),
        }
    }

    fn example(&self) -> Vec<Branch> {
        let mut branch = Branch::new();
        branch.items.push(Item::Comment(Comment::new("Welcome to SOPS! Edit this file as you please!", 0)));
        branch.push("example_key", "example_value");
        vec![branch]
    }

    /// Blank lines are all that the reference style loses: they are kept where they stand between lines that are kept.
    fn patch(&self, source: &[u8], patch: &Patch<'_>) -> Result<Option<Patched>> {
        let [document] = patch.documents else {
            return Ok(None);
        };
        let mut out = Zeroizing::new(Vec::new());
        let mut items = document.items.iter().peekable();
        for (number, line) in lines(source) {
            match read(number, line)? {
                None => out.extend_from_slice(b"\n"),
                Some(Item::Entry(entry)) if entry.key.text().starts_with(PREFIX) => {}
                Some(old) => {
                    let kept = match (&old, items.peek()) {
                        (Item::Comment(_), Some(Item::Comment(_))) => true,
                        (Item::Entry(old), Some(Item::Entry(new))) => old.key == new.key,
                        _ => false,
                    };
                    // An entry that is gone is left out; anything else has moved, and is not for a patch.
                    let still = |old: &Entry| items.clone().any(|item| matches!(item, Item::Entry(new) if new.key == old.key));
                    let gone = matches!(&old, Item::Entry(old) if !still(old));
                    match items.next_if(|_| kept) {
                        Some(item) => write(item, &mut out)?,
                        None if gone => {}
                        None => return Ok(None),
                    }
                }
            }
        }
        for item in items {
            write(item, &mut out)?;
        }
        if let Some(metadata) = patch.metadata {
            write_metadata(metadata, &mut out);
        } else if !source.ends_with(b"\n") && out.ends_with(b"\n") && self.load_encrypted(source).is_err() {
            out.pop();
        }
        Ok(Some(Patched { bytes: out, lost: Spellings::new() }))
    }
}

/// The lines with their numbers, without the breaks.
fn lines(source: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let whole = source.strip_suffix(b"\n").unwrap_or(source);
    let lines = (!source.is_empty()).then(|| whole.split(|byte| *byte == b'\n'));
    (1..).zip(lines.into_iter().flatten())
}

fn read(number: u32, line: &[u8]) -> Result<Option<Item>> {
    if line.is_empty() {
        return Ok(None);
    }
    if let Some(comment) = line.strip_prefix(b"#") {
        return Ok(Some(Item::Comment(Comment::new(comment.to_vec(), number))));
    }
    let Some(at) = line.iter().position(|byte| *byte == b'=') else {
        return Err(Error::reading(
            number,
            "invalid dotenv input line: there is no = in it; write KEY=value, or # before a comment",
        ));
    };
    let key = String::from_utf8(line[..at].to_vec())
        .map_err(|_| Error::reading(number, "invalid dotenv input line: its key is not UTF-8"))?;
    let mut text = Zeroizing::new(Vec::with_capacity(line.len() - at));
    let mut rest = &line[at + 1..];
    while let Some(byte) = rest.first() {
        let breaks = rest.starts_with(b"\\n");
        text.push(if breaks { b'\n' } else { *byte });
        rest = &rest[1 + usize::from(breaks)..];
    }
    Ok(Some(Item::Entry(Entry { key: Key::Text(key), value: Value::Text(text.into()), line: Line(number) })))
}

fn write(item: &Item, out: &mut Vec<u8>) -> Result<()> {
    match item {
        Item::Comment(comment) => {
            out.push(b'#');
            out.extend_from_slice(comment.text.as_bytes());
        }
        Item::Entry(entry) => {
            let key = entry.key.text();
            if !entry.value.is_leaf() {
                return Err(Error::dumping(format!("cannot use complex value in dotenv file; offending key {key}")));
            }
            out.extend_from_slice(key.as_bytes());
            out.push(b'=');
            for byte in Zeroizing::new(bytes_of(&entry.value)).iter() {
                match byte {
                    b'\n' => out.extend_from_slice(b"\\n"),
                    byte => out.push(*byte),
                }
            }
        }
    }
    out.push(b'\n');
    Ok(())
}

fn write_metadata(metadata: &Branch, out: &mut Vec<u8>) {
    for (key, text) in flatten(metadata) {
        out.extend_from_slice(format!("{PREFIX}{key}={}\n", *text).as_bytes());
    }
}

fn bytes_of(value: &Value) -> Vec<u8> {
    match value {
        Value::Text(text) | Value::Bytes(text) => text.as_bytes().to_vec(),
        other => plain_text(other).into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "# c\nA=1=2\n\nB = x \nC=l1\\nl2\nD=\n";

    #[test]
    fn lines_are_what_they_are() {
        let documents = Dotenv.load_plain(SOURCE.as_bytes()).unwrap();
        assert_eq!(documents[0].get("A"), Some(&"1=2".into()));
        assert_eq!(documents[0].get("B "), Some(&" x ".into()));
        assert_eq!(documents[0].get("C"), Some(&"l1\nl2".into()));
        assert_eq!(Dotenv.emit(&documents, None).unwrap().as_slice(), SOURCE.replace("\n\n", "\n").as_bytes());
    }

    #[test]
    fn blank_lines_stay_in_a_patch() {
        let mut documents = Dotenv.load_plain(SOURCE.as_bytes()).unwrap();
        let made = |documents: &[Branch]| {
            let patch = Patch { documents, metadata: None, spellings: &Spellings::new() };
            String::from_utf8(Dotenv.patch(SOURCE.as_bytes(), &patch).unwrap().unwrap().bytes.to_vec()).unwrap()
        };
        assert_eq!(made(&documents), SOURCE);
        *documents[0].get_mut("A").unwrap() = "new".into();
        documents[0].items.remove(2);
        documents[0].push("E", "5");
        assert_eq!(made(&documents), "# c\nA=new\n\nC=l1\\nl2\nD=\nE=5\n");
    }

    #[test]
    fn what_is_no_line_is_refused() {
        let error = Dotenv.load_plain(b"A=1\nnovalue\n").unwrap_err();
        assert_eq!((error.exit_code(), error.line), (2, Some(2)));
        assert_eq!(Dotenv.load_encrypted(b"A=1\n").unwrap_err().exit_code(), 1);
        assert_eq!(Dotenv.load_plain(b"\xff=1").unwrap_err().exit_code(), 2);
        let mut branch = Branch::new();
        branch.push("l", Value::List(Vec::new()));
        assert_eq!(Dotenv.emit(&[branch], None).unwrap_err().exit_code(), 4);
        assert!(Dotenv.holds_metadata(&Dotenv.load_plain(b"sops_x=1").unwrap()));
        assert!(!Dotenv.holds_metadata(&Dotenv.load_plain(b"xsops_=1").unwrap()));
    }
}
