//! SSH's data types (RFC 4251 section 5).

use super::SshError;

/// Reads from the front.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], SshError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(SshError::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn u32(&mut self) -> Result<u32, SshError> {
        Ok(self.take(4)?.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
    }

    pub(super) fn string(&mut self) -> Result<&'a [u8], SshError> {
        let length = self.u32()?;
        self.take(usize::try_from(length).map_err(|_| SshError::Short)?)
    }

    /// A number above zero, without leading zeros. Only the shortest form.
    pub(super) fn positive(&mut self) -> Result<&'a [u8], SshError> {
        match self.string()? {
            [0, rest @ ..] if rest.first().is_some_and(|first| first & 0x80 != 0) => Ok(rest),
            number @ [first, ..] if *first != 0 && first & 0x80 == 0 => Ok(number),
            _ => Err(SshError::Malformed),
        }
    }

    pub(super) fn end(&self) -> Result<(), SshError> {
        if self.0.is_empty() { Ok(()) } else { Err(SshError::Malformed) }
    }
}

/// # Panics
/// Never: no string here comes near 4 GiB.
pub(super) fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// A number that is not negative, big-endian.
pub(super) fn put_number(out: &mut Vec<u8>, unsigned: &[u8]) {
    let start = unsigned.iter().position(|byte| *byte != 0).unwrap_or(unsigned.len());
    let digits = &unsigned[start..];
    if digits.first().is_some_and(|first| first & 0x80 != 0) {
        let length = u32::try_from(digits.len() + 1).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.push(0);
        out.extend_from_slice(digits);
    } else {
        put_string(out, digits);
    }
}
