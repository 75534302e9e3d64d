//! What a server answers: a stream of tokens (MS-TDS 2.2.7), of which rows, refusals and what changes the session are kept.

use super::super::MOST_ROWS;
use coffer_engine::outside::Rows;

/// An answer, read.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub rows: Rows,
    /// The first one.
    pub refusal: Option<Refusal>,
    pub logged_in: bool,
    /// The transaction that is open from now on; zeros for none.
    pub transaction: Option<[u8; 8]>,
    /// The length of packets from now on.
    pub packet: Option<usize>,
    /// Another server, that the login should go to.
    pub elsewhere: Option<String>,
}

/// An error of the server.
#[derive(Debug)]
pub(super) struct Refusal {
    pub number: i32,
    /// How bad it is: up to 10 is information, from 20 on the connection ends.
    pub class: u8,
    pub text: String,
}

/// A column's type, as far as it takes to find where its values end.
enum Type {
    /// Always so many bytes; whether it is a whole number.
    Fixed(usize, bool),
    /// One byte of length; whole numbers and Unicode are marked.
    Short { number: bool },
    /// Two bytes of length.
    Long { unicode: bool },
    /// In pieces.
    Pieces { unicode: bool },
    /// A pointer, a time, four bytes of length.
    Pointed { unicode: bool },
    /// Four bytes of length.
    Variant,
}

/// Reads a whole message. `None` where it can't be read, or has too many rows.
pub(super) fn read(message: &[u8]) -> Option<Answer> {
    let mut rest = Reader(message);
    let mut answer = Answer::default();
    let mut columns: Vec<Type> = Vec::new();
    while !rest.0.is_empty() {
        match rest.u8()? {
            0x81 => columns = metadata(&mut rest)?,
            token @ (0xd1 | 0xd2) => {
                if answer.rows.len() == MOST_ROWS || columns.is_empty() {
                    return None;
                }
                let nulls = if token == 0xd2 { rest.take(columns.len().div_ceil(8))? } else { &[] };
                let mut row = Vec::with_capacity(columns.len());
                for (number, column) in columns.iter().enumerate() {
                    let null = nulls.get(number / 8).is_some_and(|byte| byte >> (number % 8) & 1 == 1);
                    row.push(if null { None } else { column.value(&mut rest)? });
                }
                answer.rows.push(row);
            }
            0xaa => {
                let length = rest.u16()?;
                let mut body = Reader(rest.take(length.into())?);
                let (number, _, class) = (body.i32()?, body.u8()?, body.u8()?);
                let text = body.text_of_u16()?;
                answer.refusal = answer.refusal.or(Some(Refusal { number, class, text }));
            }
            0xe3 => {
                let length = rest.u16()?;
                change(Reader(rest.take(length.into())?), &mut answer)?;
            }
            0xad => {
                let length = rest.u16()?;
                rest.take(length.into())?;
                answer.logged_in = true;
            }
            // Information, order, names of tables and columns, SSPI.
            0xab | 0xa9 | 0xa4 | 0xa5 | 0xed => {
                let length = rest.u16()?;
                rest.take(length.into())?;
            }
            0xe4 | 0xee => {
                let length = rest.u32()?;
                rest.take(usize::try_from(length).ok()?)?;
            }
            0x79 => drop(rest.take(4)?),
            0xfd..=0xff => drop(rest.take(12)?),
            0xac => {
                rest.u16()?;
                rest.text_of_u8()?;
                rest.take(7)?;
                type_of(&mut rest)?.value(&mut rest)?;
            }
            0xae => {
                while rest.u8()? != 0xff {
                    let length = rest.u32()?;
                    rest.take(usize::try_from(length).ok()?)?;
                }
            }
            _ => return None,
        }
    }
    Some(answer)
}

fn change(mut body: Reader<'_>, answer: &mut Answer) -> Option<()> {
    match body.u8()? {
        4 => answer.packet = body.text_of_u8()?.parse().ok(),
        8 => {
            let length = body.u8()?;
            answer.transaction = Some(body.take(length.into())?.try_into().ok()?);
        }
        9 | 10 | 17 => answer.transaction = Some([0; 8]),
        20 => {
            body.u16()?;
            body.u8()?;
            let port = body.u16()?;
            answer.elsewhere = Some(format!("{}:{port}", body.text_of_u16()?));
        }
        _ => {}
    }
    Some(())
}

fn metadata(rest: &mut Reader<'_>) -> Option<Vec<Type>> {
    let count = rest.u16()?;
    if count == 0xffff {
        return Some(Vec::new());
    }
    (0..count)
        .map(|_| {
            rest.take(6)?;
            let found = type_of(rest)?;
            if matches!(found, Type::Pointed { .. }) {
                for _ in 0..rest.u8()? {
                    rest.text_of_u16()?;
                }
            }
            rest.text_of_u8()?;
            Some(found)
        })
        .collect()
}

fn type_of(rest: &mut Reader<'_>) -> Option<Type> {
    Some(match rest.u8()? {
        0x1f => Type::Fixed(0, false),
        0x30 | 0x32 => Type::Fixed(1, true),
        0x34 => Type::Fixed(2, true),
        0x38 => Type::Fixed(4, true),
        0x7f => Type::Fixed(8, true),
        0x3a | 0x3b | 0x7a => Type::Fixed(4, false),
        0x3c..=0x3e => Type::Fixed(8, false),
        0x26 | 0x68 => {
            rest.u8()?;
            Type::Short { number: true }
        }
        0x28 => Type::Short { number: false },
        0x24 | 0x6d | 0x6e | 0x6f | 0x29 | 0x2a | 0x2b | 0x25 | 0x27 | 0x2d | 0x2f => {
            rest.u8()?;
            Type::Short { number: false }
        }
        0x37 | 0x3f | 0x6a | 0x6c => {
            rest.take(3)?;
            Type::Short { number: false }
        }
        kind @ (0xa5 | 0xad | 0xa7 | 0xaf | 0xe7 | 0xef) => {
            let most = rest.u16()?;
            if !matches!(kind, 0xa5 | 0xad) {
                rest.take(5)?;
            }
            let unicode = matches!(kind, 0xe7 | 0xef);
            if most == 0xffff { Type::Pieces { unicode } } else { Type::Long { unicode } }
        }
        kind @ (0x22 | 0x23 | 0x63) => {
            rest.u32()?;
            if kind != 0x22 {
                rest.take(5)?;
            }
            Type::Pointed { unicode: kind == 0x63 }
        }
        0xf1 => {
            if rest.u8()? != 0 {
                rest.text_of_u8()?;
                rest.text_of_u8()?;
                rest.text_of_u16()?;
            }
            Type::Pieces { unicode: true }
        }
        0xf0 => {
            rest.u16()?;
            for _ in 0..3 {
                rest.text_of_u8()?;
            }
            rest.text_of_u16()?;
            Type::Pieces { unicode: false }
        }
        0x62 => {
            rest.u32()?;
            Type::Variant
        }
        _ => return None,
    })
}

impl Type {
    /// The next value, as text.
    fn value(&self, rest: &mut Reader<'_>) -> Option<Option<String>> {
        let plain = |bytes: &[u8]| Some(String::from_utf8_lossy(bytes).into_owned());
        let text = |bytes: &[u8], is_unicode: bool| if is_unicode { Some(unicode(bytes)) } else { plain(bytes) };
        Some(match self {
            Self::Fixed(length, true) => Some(whole(rest.take(*length)?)),
            Self::Fixed(length, false) => plain(rest.take(*length)?),
            Self::Short { number } => match rest.u8()? {
                0 => None,
                length => {
                    let bytes = rest.take(length.into())?;
                    if *number { Some(whole(bytes)) } else { plain(bytes) }
                }
            },
            Self::Long { unicode } => match rest.u16()? {
                0xffff => None,
                length => text(rest.take(length.into())?, *unicode),
            },
            Self::Pieces { unicode } => {
                if rest.u64()? == u64::MAX {
                    return Some(None);
                }
                let mut bytes = Vec::new();
                loop {
                    let length = usize::try_from(rest.u32()?).ok()?;
                    if length == 0 {
                        break text(&bytes, *unicode);
                    }
                    bytes.extend_from_slice(rest.take(length)?);
                }
            }
            Self::Pointed { unicode } => match rest.u8()? {
                0 => None,
                pointer => {
                    rest.take(usize::from(pointer) + 8)?;
                    let length = usize::try_from(rest.u32()?).ok()?;
                    text(rest.take(length)?, *unicode)
                }
            },
            Self::Variant => match usize::try_from(rest.u32()?).ok()? {
                0 => None,
                length => plain(rest.take(length)?),
            },
        })
    }
}

/// A whole number, little-endian; one byte has no sign.
fn whole(bytes: &[u8]) -> String {
    if let [byte] = bytes {
        return byte.to_string();
    }
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    bytes.iter().zip(&mut wide).for_each(|(byte, place)| *place = *byte);
    i64::from_le_bytes(wide).to_string()
}

fn unicode(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// Reads from the front; `None` where there is too little.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take(4)?.try_into().ok().map(i32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    fn text_of_u8(&mut self) -> Option<String> {
        let length = self.u8()?;
        self.take(usize::from(length) * 2).map(unicode)
    }

    fn text_of_u16(&mut self) -> Option<String> {
        let length = self.u16()?;
        self.take(usize::from(length) * 2).map(unicode)
    }
}
