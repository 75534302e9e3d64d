//! A text as a QR code in a PNG, for the keys that people photograph with an authenticator.

use qrcodegen::{QrCode, QrCodeEcc};

/// White modules around the code, as ISO 18004 asks for.
const QUIET: usize = 4;
/// Wider pictures than this are refused: nobody needs one, and each takes memory.
pub const MAX_WIDTH: usize = 2000;

/// The PNG, `width` pixels wide and high, black on white, one bit a pixel. `None` if the text does not fit into a QR code or the
/// code not into the width, or the width is above [`MAX_WIDTH`].
pub fn png(text: &str, width: usize) -> Option<Vec<u8>> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
    let modules = usize::try_from(code.size()).ok()?;
    let scale = width / (modules + 2 * QUIET);
    if scale == 0 || width > MAX_WIDTH {
        return None;
    }
    let margin = (width - modules * scale) / 2;
    let dark = |x: usize, y: usize| {
        let module = |at: usize| at.checked_sub(margin).map(|m| m / scale).filter(|m| *m < modules);
        match (module(x), module(y)) {
            (Some(x), Some(y)) => code.get_module(i32::try_from(x).unwrap_or(-1), i32::try_from(y).unwrap_or(-1)),
            _ => false,
        }
    };
    let mut rows = Vec::with_capacity((width.div_ceil(8) + 1) * width);
    for y in 0..width {
        // No filter.
        rows.push(0);
        for byte in 0..width.div_ceil(8) {
            let bit = |n: usize| u8::from(byte * 8 + n < width && !dark(byte * 8 + n, y)) << (7 - n);
            rows.push((0..8).map(bit).sum());
        }
    }
    Some(file(width, &rows))
}

/// PNG (ISO 15948): signature, header, one data chunk, end.
fn file(width: usize, rows: &[u8]) -> Vec<u8> {
    let side = u32::try_from(width).unwrap_or(0).to_be_bytes();
    // Bit depth 1, greyscale, the one compression and filter method, not interlaced.
    let header = [&side[..], &side[..], &[1, 0, 0, 0, 0]].concat();
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [(b"IHDR", header), (b"IDAT", stored(rows)), (b"IEND", Vec::new())] {
        out.extend(u32::try_from(data.len()).unwrap_or(0).to_be_bytes());
        let start = out.len();
        out.extend(kind);
        out.extend(data);
        out.extend(crc(&out[start..]).to_be_bytes());
    }
    out
}

/// zlib (RFC 1950) with stored blocks (RFC 1951): a code of a few kilobytes is not worth a compressor.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let mut blocks = bytes.chunks(0xffff).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(0);
        out.push(u8::from(blocks.peek().is_none()));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(block);
    }
    let (mut a, mut b) = (1u32, 0u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65521;
        b = (b + a) % 65521;
    }
    out.extend(((b << 16) | a).to_be_bytes());
    out
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums() {
        assert_eq!(crc(b"IEND"), 0xae42_6082);
        assert_eq!(crc(b"123456789"), 0xcbf4_3926);
        // Adler-32 of "Wikipedia" is 0x11e60398.
        assert_eq!(stored(b"Wikipedia")[stored(b"Wikipedia").len() - 4..], 0x11e6_0398_u32.to_be_bytes());
    }

    #[test]
    fn a_picture_as_wide_as_asked_or_none() {
        let made = png("otpauth://totp/x:y?secret=ABC", 200).unwrap();
        assert_eq!(made[..8], *b"\x89PNG\r\n\x1a\n");
        assert_eq!(made[16..25], [0, 0, 0, 200, 0, 0, 0, 200, 1]);
        // One byte of filter and 25 of pixels a row, in one stored block.
        assert_eq!(made.len(), 8 + 25 + 12 + (2 + 5 + 26 * 200 + 4) + 12);
        assert!(png("x", 10).is_none());
        assert!(png("x", MAX_WIDTH + 1).is_none());
        assert!(png(&"x".repeat(5000), 200).is_none());
        assert!(png("x", MAX_WIDTH).is_some(), "more than one block");
    }

    #[test]
    fn the_corners_are_finders() {
        let made = png("a", 29).unwrap();
        let rows = &made[8 + 25 + 8 + 7..];
        let dark = |x: usize, y: usize| rows[y * 5 + 1 + x / 8] & (0x80 >> (x % 8)) == 0;
        let finder: String = (0..7).map(|n| if dark(4 + n, 4 + 3) { '#' } else { '.' }).collect();
        assert_eq!(finder, "#.###.#");
        assert!((0..29).all(|n| !dark(n, 0) && !dark(0, n)), "the quiet zone is white");
    }
}
