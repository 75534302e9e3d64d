//! Serial numbers of certificates: random ones, and their texts.

use super::Cx;

/// A new serial number, big-endian: 159 random bits, so that no one can foresee or repeat it. Above zero and of 20 bytes, as RFC 5280
/// section 4.1.2.2 wants.
pub(super) fn new(cx: &Cx) -> [u8; 20] {
    let mut serial = [0u8; 20];
    cx.fill_random(&mut serial);
    serial[0] = serial[0] & 0x7f | 0x01;
    serial
}

/// `1e:a9:…`, as the API shows it. Takes an INTEGER's bytes too.
pub(super) fn show(bytes: &[u8]) -> String {
    let digits = strip(bytes);
    let mut out = String::with_capacity(digits.len() * 3);
    for (i, byte) in digits.iter().enumerate() {
        if i > 0 {
            out.push(':');
        }
        push_hex(&mut out, *byte);
    }
    out
}

/// `1ea9…`, as it stands in the store's keys.
pub(super) fn key(bytes: &[u8]) -> String {
    let digits = strip(bytes);
    let mut out = String::with_capacity(digits.len() * 2);
    digits.iter().for_each(|byte| push_hex(&mut out, *byte));
    out
}

/// The store's form of what a caller writes: hexadecimal in pairs, with `:` or `-` between them, or with nothing.
pub(super) fn parse(text: &str) -> Option<String> {
    let digits: String = if text.contains([':', '-']) {
        let pairs: Vec<&str> = text.split([':', '-']).collect();
        if pairs.iter().any(|pair| pair.len() != 2) {
            return None;
        }
        pairs.concat()
    } else {
        text.to_owned()
    };
    let fits = !digits.is_empty() && digits.len().is_multiple_of(2) && digits.len() <= 64;
    (fits && digits.bytes().all(|b| b.is_ascii_hexdigit())).then(|| digits.to_ascii_lowercase())
}

/// The shown form of the store's.
pub(super) fn show_key(key: &str) -> String {
    let mut out = String::with_capacity(key.len() * 3 / 2);
    for (i, c) in key.chars().enumerate() {
        if i > 0 && i % 2 == 0 {
            out.push(':');
        }
        out.push(c);
    }
    out
}

/// Without the zero that keeps an INTEGER positive.
fn strip(bytes: &[u8]) -> &[u8] {
    match bytes {
        [0, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    }
}

fn push_hex(out: &mut String, byte: u8) {
    for nibble in [byte >> 4, byte & 15] {
        out.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_serials() {
        assert_eq!(show(&[0, 0x9a, 1]), "9a:01");
        assert_eq!(key(&[0x9a, 1]), "9a01");
        assert_eq!(show_key("9a01"), "9a:01");
        for text in ["9A:01", "9a-01", "9a01"] {
            assert_eq!(parse(text).as_deref(), Some("9a01"));
        }
        for bad in ["", "9", "9a:1", "9a:", "zz", "9a/01", "9a::01", "../9a", &"ab".repeat(33)] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
