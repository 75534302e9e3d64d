//! Keys as authenticators have them: `otpauth://totp/ISSUER:ACCOUNT?secret=…`
//! (<https://github.com/google/google-authenticator/wiki/Key-Uri-Format>).

use crate::remote::escape;
use coffer_crypto::Zeroizing;

/// A key before it is checked: what its address says, and what stands in for what it does not say.
pub(super) struct Given {
    pub(super) secret: Zeroizing<String>,
    pub(super) issuer: String,
    pub(super) account: String,
    pub(super) algorithm: String,
    pub(super) digits: i64,
    pub(super) period: i64,
}

/// Reads an address. What it says counts more than `otherwise`; the secret must stand in it.
pub(super) fn read(text: &str, otherwise: Given) -> Result<Given, &'static str> {
    const BROKEN: &str = "an error occurred while parsing url string";
    let text = text.split_once('#').map_or(text, |(before, _)| before);
    let (address, query) = text.split_once('?').unwrap_or((text, ""));
    if address.starts_with(':') || address.chars().any(char::is_control) {
        return Err(BROKEN);
    }
    let path = match address.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => address,
    };
    let path = unescape(path, false).ok_or(BROKEN)?;
    let (issuer, account) = path.split_once(':').unwrap_or(("", &path));
    let mut given = Given {
        secret: Zeroizing::default(),
        issuer: if issuer.is_empty() { otherwise.issuer } else { issuer.to_owned() },
        account: if account.is_empty() { otherwise.account } else { account.to_owned() },
        ..otherwise
    };
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(value) = unescape(value, true).map(Zeroizing::new) else { continue };
        match name {
            _ if value.is_empty() => {}
            "secret" => given.secret = value,
            "issuer" => given.issuer = value.to_string(),
            "algorithm" => given.algorithm = value.to_string(),
            "digits" => given.digits = value.parse().map_err(|_| "an error occurred while parsing digits value in url")?,
            "period" => given.period = value.parse().map_err(|_| "an error occurred while parsing period value in url")?,
            _ => {}
        }
    }
    Ok(given)
}

pub(super) fn write(issuer: &str, account: &str, algorithm: &str, digits: u64, period: u64, secret: &str) -> String {
    let issuer = escape(issuer);
    // Authenticators show addresses of mail as they are.
    let account = escape(account).replace("%40", "@");
    format!(
        "otpauth://totp/{issuer}:{account}?algorithm={algorithm}&digits={digits}&issuer={issuer}&period={period}&secret={secret}"
    )
}

/// The bytes of a base32 text (RFC 4648) in either case, without padding; else the place of what does not belong there.
pub(super) fn from_base32(text: &str) -> Result<Zeroizing<Vec<u8>>, usize> {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() * 5 / 8));
    let (mut bits, mut held) = (0u16, 0);
    for (place, byte) in text.bytes().enumerate() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a',
            b'2'..=b'7' => byte - b'2' + 26,
            _ => return Err(place),
        };
        bits = (bits << 5) | u16::from(value);
        held += 5;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from((bits >> held) & 0xff).unwrap_or(0));
        }
    }
    // One, three or six letters more make no whole byte more.
    if matches!(text.len() % 8, 1 | 3 | 6) || out.is_empty() {
        return Err(text.len());
    }
    Ok(out)
}

fn unescape(text: &str, plus_is_space: bool) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
                out.push(u8::try_from(high * 16 + low).ok()?);
            }
            b'+' if plus_is_space => out.push(b' '),
            byte => out.push(byte),
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_crypto::totp::base32;

    fn otherwise() -> Given {
        Given {
            secret: Zeroizing::default(),
            issuer: "I".to_owned(),
            account: "A".to_owned(),
            algorithm: "SHA1".to_owned(),
            digits: 6,
            period: 30,
        }
    }

    #[test]
    fn addresses_say_what_they_say() {
        for (text, issuer, account) in [
            ("otpauth://totp/V:u?secret=S", "V", "u"),
            ("otpauth://totp/V:u?secret=S&issuer=W", "W", "u"),
            ("otpauth://totp/u?secret=S", "I", "u"),
            ("otpauth://totp/?secret=S", "I", "A"),
            ("otpauth://totp/V%3Au%20x?secret=S&issuer=", "V", "u x"),
            ("otpauth://totp/V:u:w?secret=S", "V", "u:w"),
            ("otpauth://totp/V:u?secret=S&issuer=a+b%26c", "a b&c", "u"),
        ] {
            let given = read(text, otherwise()).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!((&*given.issuer, &*given.account, &**given.secret), (issuer, account, "S"), "{text}");
        }
        for text in ["otpauth://totp/x%zz?secret=S", "otpauth://totp/V:u?digits=x", "otpauth://totp/V:u?period=1.5", ":::"] {
            assert!(read(text, otherwise()).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let text = write("V w/?&:", "u@x &", "SHA256", 8, 60, "S");
        assert_eq!(
            text,
            "otpauth://totp/V%20w%2F%3F%26%3A:u@x%20%26?algorithm=SHA256&digits=8&issuer=V%20w%2F%3F%26%3A&period=60&secret=S"
        );
        let given = read(&text, otherwise()).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!((&*given.issuer, &*given.algorithm, given.digits, given.period), ("V w/?&:", "SHA256", 8, 60));
    }

    #[test]
    fn base32_comes_back() {
        for length in 1..12 {
            let bytes: Vec<u8> = (0..length).map(|n: u8| n.wrapping_mul(37) | 1).collect();
            assert_eq!(from_base32(&base32(&bytes)).map(|b| b.to_vec()), Ok(bytes.clone()));
            assert_eq!(from_base32(&base32(&bytes).to_lowercase()).map(|b| b.to_vec()), Ok(bytes));
        }
        for (text, place) in [("", 0), ("J", 1), ("JBS1", 3), ("JBSW Y3DP", 4), ("JBSWY3DPEHPK3PXP====", 16), ("JBS", 3)] {
            assert_eq!(from_base32(text).map(|b| b.to_vec()), Err(place), "{text}");
        }
    }
}
