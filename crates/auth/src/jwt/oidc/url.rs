//! Forms, and which addresses a role allows.

use std::fmt::Write as _;

/// A text as it stands in a form (WHATWG URL, application/x-www-form-urlencoded): letters, digits and `-_.*` as they are, space as `+`.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            // Writing to a string does not fail.
            _ => write!(out, "%{byte:02X}").unwrap_or_default(),
        }
    }
    out
}

pub(super) fn form(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    pairs.join("&")
}

/// Whether a role allows an address: byte for byte; the port of an address on the own machine may be another (RFC 8252 section 7.3).
pub(super) fn allowed(list: &[String], asked: &str) -> bool {
    list.iter().any(|one| one == asked || own_machine(one).is_some_and(|known| own_machine(asked) == Some(known)))
}

/// Host, and what follows the port, of an `http` address on the own machine.
fn own_machine(address: &str) -> Option<(&str, &str)> {
    let rest = address.strip_prefix("http://")?;
    let host = ["localhost", "127.0.0.1", "[::1]"].into_iter().find(|host| rest.starts_with(host))?;
    let rest = &rest[host.len()..];
    let (port, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let port = if port.is_empty() { "80" } else { port.strip_prefix(':')? };
    (port.parse::<u16>().is_ok() && port.bytes().all(|b| b.is_ascii_digit())).then_some((host, path))
}

/// A provider's error code, which may stand in ours; what is none is not repeated.
pub(super) fn word(text: &str) -> String {
    let plain = !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if plain { text.to_owned() } else { "the provider refused".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_encoded() {
        assert_eq!(form(&[("a b", "c&d=é"), ("x", "/:?#\u{0}\"")]), "a+b=c%26d%3D%C3%A9&x=%2F%3A%3F%23%00%22");
    }

    #[test]
    fn only_the_port_of_the_own_machine_may_differ() {
        let list: Vec<String> = ["http://localhost:8250/cb", "https://a.example/cb", "https://a.example/*", "http://[::1]/cb"]
            .map(str::to_owned)
            .into();
        for good in [
            "http://localhost:8250/cb",
            "http://localhost:1/cb",
            "http://localhost/cb",
            "https://a.example/cb",
            "http://[::1]:9/cb",
        ] {
            assert!(allowed(&list, good), "{good}");
        }
        for bad in [
            "",
            "http://localhost:8250/",
            "http://localhost:8250/cb/",
            "http://localhost:8250/cb?x=1",
            "http://localhost:8250/cb#x",
            "http://localhost:8250/CB",
            "https://localhost:8250/cb",
            "http://localhost.evil.example:8250/cb",
            "http://localhost@evil.example/cb",
            "http://localhost:1@evil.example/cb",
            "http://localhost:+1/cb",
            "http://127.0.0.1:8250/cb",
            "https://a.example:444/cb",
            "https://a.example/other",
            "https://a.example/cb/../x",
        ] {
            assert!(!allowed(&list, bad), "{bad}");
        }
    }

    #[test]
    fn only_codes_of_errors_are_repeated() {
        assert_eq!(word("access_denied"), "access_denied");
        for bad in ["", "<script>", "Access denied", "a b", "x\r\ny", &"a".repeat(65)] {
            assert_eq!(word(bad), "the provider refused", "{bad}");
        }
    }
}
