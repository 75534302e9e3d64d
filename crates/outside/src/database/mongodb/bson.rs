//! BSON (<https://bsonspec.org/spec.html>): writing commands, reading answers.

use coffer_types::{Json, Object};
use zeroize::Zeroizing;

/// How deep documents may nest; MongoDB's own limit is 100.
const DEEPEST: usize = 100;

/// A document that is being written.
#[derive(Default)]
pub(super) struct Document(Zeroizing<Vec<u8>>);

impl Document {
    pub(super) fn text(mut self, name: &str, value: &str) -> Option<Self> {
        self.name(0x02, name)?;
        self.string(value)?;
        Some(self)
    }

    pub(super) fn int(mut self, name: &str, value: i32) -> Option<Self> {
        self.name(0x10, name)?;
        self.0.extend_from_slice(&value.to_le_bytes());
        Some(self)
    }

    pub(super) fn bool(mut self, name: &str, value: bool) -> Option<Self> {
        self.name(0x08, name)?;
        self.0.push(value.into());
        Some(self)
    }

    pub(super) fn binary(mut self, name: &str, value: &[u8]) -> Option<Self> {
        self.name(0x05, name)?;
        self.0.extend_from_slice(&i32::try_from(value.len()).ok()?.to_le_bytes());
        self.0.push(0);
        self.0.extend_from_slice(value);
        Some(self)
    }

    pub(super) fn document(mut self, name: &str, value: Self) -> Option<Self> {
        self.name(0x03, name)?;
        self.0.extend_from_slice(&value.finish()?);
        Some(self)
    }

    /// All members of an object. `None` where a name holds a zero byte, which BSON can't say.
    pub(super) fn members(mut self, object: &Object) -> Option<Self> {
        for (name, value) in object.iter() {
            self = self.json(name, value)?;
        }
        Some(self)
    }

    fn json(mut self, name: &str, value: &Json) -> Option<Self> {
        match value {
            Json::Null => {
                self.name(0x0a, name)?;
                Some(self)
            }
            Json::Bool(value) => self.bool(name, *value),
            Json::String(value) => self.text(name, value.as_str()),
            Json::Number(digits) => {
                let digits = digits.as_str();
                if let Ok(value) = digits.parse::<i32>() {
                    return self.int(name, value);
                }
                let (kind, bytes) = match digits.parse::<i64>() {
                    Ok(value) => (0x12, value.to_le_bytes()),
                    Err(_) => (0x01, digits.parse::<f64>().ok()?.to_le_bytes()),
                };
                self.name(kind, name)?;
                self.0.extend_from_slice(&bytes);
                Some(self)
            }
            Json::Object(object) => self.document(name, Self::default().members(object)?),
            Json::Array(items) => {
                let mut array = Self::default();
                for (place, item) in items.iter().enumerate() {
                    array = array.json(&place.to_string(), item)?;
                }
                self.name(0x04, name)?;
                self.0.extend_from_slice(&array.finish()?);
                Some(self)
            }
        }
    }

    /// The document with its length before it and its end behind it.
    pub(super) fn finish(self) -> Option<Zeroizing<Vec<u8>>> {
        let mut out = Zeroizing::new(Vec::with_capacity(self.0.len() + 5));
        out.extend_from_slice(&i32::try_from(self.0.len() + 5).ok()?.to_le_bytes());
        out.extend_from_slice(&self.0);
        out.push(0);
        Some(out)
    }

    fn name(&mut self, kind: u8, name: &str) -> Option<()> {
        if name.contains('\0') {
            return None;
        }
        self.0.push(kind);
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(0);
        Some(())
    }

    fn string(&mut self, value: &str) -> Option<()> {
        self.0.extend_from_slice(&i32::try_from(value.len() + 1).ok()?.to_le_bytes());
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(0);
        Some(())
    }
}

/// What an answer holds, as far as anyone here asks.
#[derive(Debug, PartialEq)]
pub(super) enum Value {
    Number(f64),
    Text(String),
    Bool(bool),
    Binary(Zeroizing<Vec<u8>>),
    /// Documents, and arrays, whose names are numbers.
    Members(Vec<(String, Value)>),
    Other,
}

impl Value {
    /// The first member of that name.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Members(members) = self else { return None };
        members.iter().find(|(n, _)| n == name).map(|(_, value)| value)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        if let Some(Self::Text(text)) = self.get(name) { Some(text) } else { None }
    }

    pub(super) fn number(&self, name: &str) -> Option<f64> {
        if let Some(Self::Number(number)) = self.get(name) { Some(*number) } else { None }
    }

    /// `true`, or a number that is not zero, as servers answer `ok`.
    pub(super) fn is_true(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Self::Bool(true))) || self.number(name).is_some_and(|number| number != 0.0)
    }

    pub(super) fn items(&self) -> impl Iterator<Item = &Self> {
        let members = if let Self::Members(members) = self { members.as_slice() } else { &[] };
        members.iter().map(|(_, value)| value)
    }
}

/// Reads one document that fills the bytes. `None` where it is none.
pub(super) fn read(bytes: &[u8]) -> Option<Value> {
    let mut rest = bytes;
    let value = document(&mut rest, DEEPEST)?;
    rest.is_empty().then_some(value)
}

fn document(rest: &mut &[u8], deep: usize) -> Option<Value> {
    let deep = deep.checked_sub(1)?;
    let length = usize::try_from(i32::from_le_bytes(*rest.first_chunk()?)).ok()?;
    let mut inside = take(rest, length)?.get(4..)?;
    let mut members = Vec::new();
    loop {
        let kind = take(&mut inside, 1)?[0];
        if kind == 0 {
            return inside.is_empty().then_some(Value::Members(members));
        }
        let name = name(&mut inside)?;
        let value = match kind {
            0x01 => Value::Number(f64::from_le_bytes(take(&mut inside, 8)?.try_into().ok()?)),
            0x02 | 0x0d | 0x0e => Value::Text(string(&mut inside)?),
            0x03 | 0x04 => document(&mut inside, deep)?,
            0x05 => {
                let length = length_of(&mut inside)?;
                take(&mut inside, 1)?;
                Value::Binary(Zeroizing::new(take(&mut inside, length)?.to_vec()))
            }
            0x08 => Value::Bool(take(&mut inside, 1)?[0] != 0),
            0x10 => Value::Number(i32::from_le_bytes(take(&mut inside, 4)?.try_into().ok()?).into()),
            // Nothing here asks for a number that a float would round.
            0x12 => Value::Number(i64::from_le_bytes(take(&mut inside, 8)?.try_into().ok()?) as f64),
            0x07 => other(take(&mut inside, 12)?),
            0x09 | 0x11 => other(take(&mut inside, 8)?),
            0x13 => other(take(&mut inside, 16)?),
            0x06 | 0x0a | 0x7f | 0xff => Value::Other,
            0x0b => {
                self::name(&mut inside)?;
                self::name(&mut inside)?;
                Value::Other
            }
            0x0c => {
                string(&mut inside)?;
                other(take(&mut inside, 12)?)
            }
            _ => return None,
        };
        members.push((name, value));
    }
}

const fn other(_: &[u8]) -> Value {
    Value::Other
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(count)?;
    *rest = after;
    Some(taken)
}

fn length_of(rest: &mut &[u8]) -> Option<usize> {
    usize::try_from(i32::from_le_bytes(take(rest, 4)?.try_into().ok()?)).ok()
}

fn string(rest: &mut &[u8]) -> Option<String> {
    let length = length_of(rest)?;
    let text = take(rest, length)?.strip_suffix(&[0])?;
    Some(String::from_utf8_lossy(text).into_owned())
}

fn name(rest: &mut &[u8]) -> Option<String> {
    let end = rest.iter().position(|byte| *byte == 0)?;
    let text = take(rest, end + 1)?;
    Some(String::from_utf8_lossy(&text[..end]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    #[test]
    fn hello_world() {
        let whole = b"\x16\0\0\0\x02hello\0\x06\0\0\0world\0\0";
        assert_eq!(&**Document::default().text("hello", "world").unwrap().finish().unwrap(), whole);
        assert_eq!(read(whole).unwrap().text("hello"), Some("world"));
        for short in 0..whole.len() {
            assert_eq!(read(&whole[..short]), None, "{short}");
        }
    }

    #[test]
    fn json_becomes_bson() {
        let json = Object::new()
            .with("a", vec!["x".to_owned()])
            .with("b", true)
            .with("c", 7)
            .with("d", 5_000_000_000_i64)
            .with("e", Json::Null)
            .with("f", Json::Object(Object::new().with("\"$", "'}")));
        let value = read(&Document::default().members(&json).unwrap().finish().unwrap()).unwrap();
        assert_eq!(value.get("a").unwrap().items().collect::<Vec<_>>(), [&Value::Text("x".into())]);
        assert_eq!((value.is_true("b"), value.number("c"), value.number("d")), (true, Some(7.0), Some(5e9)));
        assert_eq!((value.get("e"), value.get("f").unwrap().text("\"$")), (Some(&Value::Other), Some("'}")));
        assert!(Document::default().members(&Object::new().with("a\0b", 1)).is_none());
    }

    #[test]
    fn what_is_no_document_is_none() {
        for bad in [
            &b"\x05\0\0\0\x01"[..],
            b"\x04\0\0\0",
            b"\xff\xff\xff\xff\0",
            b"\x0c\0\0\0\x02a\0\x09\0\0\0\0",
            b"\x0c\0\0\0\x20a\0\0\0\0\0\0",
            b"\x06\0\0\0\0\0",
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
        let mut deep = Document::default();
        for _ in 0..DEEPEST {
            deep = Document::default().document("a", deep).unwrap();
        }
        assert_eq!(read(&deep.finish().unwrap()), None);
    }
}
