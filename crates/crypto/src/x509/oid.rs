//! Object identifiers (ITU-T X.660), in DER's body form.

use super::der::dotted;
use std::borrow::Cow;
use std::fmt;

/// An object identifier. One that was read or parsed is well-formed; [`Oid::of`] is for constants.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Oid(Cow<'static, [u8]>);

impl Oid {
    /// A constant, by the bytes of its DER body.
    pub const fn of(body: &'static [u8]) -> Self {
        Self(Cow::Borrowed(body))
    }

    /// Reads `2.5.4.3`: two numbers at least, the first 0 to 2, the second below 40 under 0 and 1, none with a leading zero,
    /// each within 56 bits.
    pub fn parse(text: &str) -> Option<Self> {
        let mut arcs = text.split('.').map(|arc| {
            let plain = !arc.is_empty() && arc.bytes().all(|b| b.is_ascii_digit()) && (arc == "0" || !arc.starts_with('0'));
            plain.then(|| arc.parse::<u64>().ok()).flatten().filter(|arc| *arc < 1 << 56)
        });
        let (first, second) = (arcs.next()??, arcs.next()??);
        if first > 2 || first < 2 && second >= 40 {
            return None;
        }
        let mut body = Vec::with_capacity(16);
        push_arc(&mut body, first * 40 + second);
        for arc in arcs {
            push_arc(&mut body, arc?);
        }
        // As long as the reader takes them.
        (body.len() <= 64).then_some(Self(Cow::Owned(body)))
    }

    /// The body of its DER element.
    pub fn body(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn from_body(body: &[u8]) -> Option<Self> {
        dotted(body).map(|_| Self(Cow::Owned(body.to_vec())))
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&dotted(&self.0).unwrap_or_default())
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Oid({self})")
    }
}

fn push_arc(out: &mut Vec<u8>, arc: u64) {
    let groups = (64 - arc.leading_zeros()).div_ceil(7).max(1);
    for group in (0..groups).rev() {
        let bits = (arc >> (7 * group) & 0x7f) as u8;
        out.push(if group == 0 { bits } else { bits | 0x80 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_both_ways() {
        for text in ["2.5.4.3", "1.2.840.113549.1.1.11", "2.999.3", "0.9.2342.19200300.100.1.1", "1.3.6.1.4.1.311.20.2.3", "0.0"]
        {
            assert_eq!(Oid::parse(text).map(|oid| oid.to_string()).as_deref(), Some(text));
        }
        assert_eq!(Oid::parse("2.5.4.3").unwrap().body(), [0x55, 4, 3]);
    }

    #[test]
    fn other_texts_are_refused() {
        let long = format!("1.2{}", ".3".repeat(70));
        for text in [
            "",
            "1",
            "3.1",
            "1.40",
            "0.40",
            "1.2.",
            ".1.2",
            "1..2",
            "1.02",
            "1.-2",
            "1.2.a",
            "+1.2",
            "1.2.99999999999999999999",
            &long,
        ] {
            assert_eq!(Oid::parse(text), None, "{text:?}");
        }
    }
}
