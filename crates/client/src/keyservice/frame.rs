//! gRPC's frames: a flag, a length of four bytes, one message; and its status in the trailers.

use super::{Code, Status};
use http::HeaderMap;
use std::fmt::Write as _;
use zeroize::Zeroizing;

/// The most that one message holds: a data key, its ciphertext, a key's name.
pub(super) const MOST: usize = 1 << 20;

pub(super) const CONTENT_TYPE: &str = "application/grpc";

pub(super) fn frame(message: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(message.len() + 5));
    out.push(0);
    // A message is far below four gigabytes: MOST holds for those that come in, ours are smaller.
    out.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(message);
    out
}

/// The one message of a unary call.
pub(super) fn unframe(bytes: &[u8]) -> Result<&[u8], Status> {
    let wrong = |why: &str| Status::new(Code::Internal, format!("the frame of a message {why}"));
    let (head, rest) = bytes.split_at_checked(5).ok_or_else(|| wrong("is cut off"))?;
    if head[0] != 0 {
        return Err(Status::new(Code::Unimplemented, "compressed messages are not supported"));
    }
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if rest.len() == length { Ok(rest) } else { Err(wrong("has another length than it says")) }
}

/// `grpc-status` and `grpc-message`.
pub(super) fn trailers(status: Result<(), &Status>) -> HeaderMap {
    let mut map = HeaderMap::new();
    let (number, message) = status.err().map_or((0, ""), |status| (status.code.number(), &status.message));
    map.insert("grpc-status", http::HeaderValue::from(number));
    if !message.is_empty()
        && let Ok(value) = http::HeaderValue::from_str(&escape(message))
    {
        map.insert("grpc-message", value);
    }
    map
}

/// The status in trailers, or in the headers of an answer without a body.
pub(super) fn read_status(map: &HeaderMap) -> Result<(), Status> {
    let number = map.get("grpc-status").and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    match number {
        Some(0) => Ok(()),
        Some(number) => {
            let message = map.get("grpc-message").map(|value| unescape(value.as_bytes())).unwrap_or_default();
            Err(Status::new(Code::from_number(number), message))
        }
        None => Err(Status::new(Code::Internal, "the answer has no status; is that a key service?")),
    }
}

/// All but the printable characters of ASCII, and `%`, become `%XX`.
fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if (0x20..=0x7e).contains(&byte) && byte != b'%' {
            out.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            write!(out, "%{byte:02X}").unwrap_or_default();
        }
        out
    })
}

fn unescape(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = (bytes[at] == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        let byte = digits
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        out.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_hold_one_message() {
        assert_eq!(frame(b"ab").as_slice(), b"\0\0\0\0\x02ab");
        assert_eq!(unframe(b"\0\0\0\0\x02ab").unwrap(), b"ab");
        for (bytes, code) in [
            (&b""[..], Code::Internal),
            (b"\0\0\0\0", Code::Internal),
            (b"\0\0\0\0\x03ab", Code::Internal),
            (b"\0\0\0\0\x01ab", Code::Internal),
            (b"\x01\0\0\0\x02ab", Code::Unimplemented),
        ] {
            assert_eq!(unframe(bytes).unwrap_err().code, code, "{bytes:?}");
        }
    }

    #[test]
    fn a_status_comes_back_with_any_text() {
        for message in ["", "plain", "100 % ä\n\0 end", "%zz", "%4"] {
            let status = Status::new(Code::PermissionDenied, message);
            assert_eq!(read_status(&trailers(Err(&status))).unwrap_err(), status);
        }
        assert_eq!(read_status(&trailers(Ok(()))), Ok(()));
        assert_eq!(read_status(&HeaderMap::new()).unwrap_err().code, Code::Internal);
        assert_eq!(Status::new(Code::Other(99), "x").to_string(), "rpc error: code = Code(99) desc = x");
    }
}
