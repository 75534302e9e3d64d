//! The path of a request becomes the path of a call, decoded once. What decoding would make another path than
//! the one that stands there is refused or redirected, never executed (CVE-2026-3605).

use super::refusal::Refusal;
use coffer_types::Path;
use coffer_types::path::{MAX_PATH, PathFault, clean};
use http::StatusCode;
use std::borrow::Cow;

/// The part of the path below `/v1/`.
pub(super) fn decode(raw: &str, query: Option<&str>) -> Result<Path, Refusal> {
    if !is_clean(raw) {
        let mut location = format!("/{}", clean(raw));
        if let Some(query) = query {
            location.push('?');
            location.push_str(query);
        }
        return Err(Refusal::Redirect { location });
    }
    let Some(below) = raw.strip_prefix("/v1/") else {
        return Err(Refusal::nothing_here());
    };
    let text = percent_decode(below)?;
    Path::parse(&text).map_err(|fault| match fault {
        PathFault::NotClean => Refusal::bad_request("relative paths not supported"),
        PathFault::ControlCharacter => control_character(),
        PathFault::TooLong => Refusal::with(StatusCode::URI_TOO_LONG, format!("the path is longer than {MAX_PATH} bytes")),
    })
}

/// No `//`, no `.` and no `..` segment, as it stands.
pub(crate) fn is_clean(raw: &str) -> bool {
    let bytes = raw.as_bytes();
    bytes.iter().enumerate().filter(|(_, b)| **b == b'/').all(|(at, _)| match &bytes[at + 1..] {
        [b'/', ..] => false,
        [b'.', rest @ ..] => !matches!(rest, [] | [b'/', ..] | [b'.'] | [b'.', b'/', ..]),
        _ => true,
    })
}

fn control_character() -> Refusal {
    Refusal::bad_request("the path has a control character")
}

fn percent_decode(text: &str) -> Result<Cow<'_, str>, Refusal> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'%' {
            out.push(bytes[at]);
            at += 1;
            continue;
        }
        match escape(&bytes[at..]).ok_or_else(|| Refusal::bad_request("the path has a malformed percent escape"))? {
            b'/' => return Err(Refusal::bad_request("the path has an encoded slash")),
            0..=0x1f | 0x7f => return Err(control_character()),
            byte => out.push(byte),
        }
        at += 3;
    }
    String::from_utf8(out).map(Cow::Owned).map_err(|_| Refusal::bad_request("the path is not UTF-8"))
}

/// The byte that `%XX` at the start of `bytes` stands for.
pub(super) fn escape(bytes: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    u8::try_from(digit(1)? * 16 + digit(2)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn good(raw: &str) -> String {
        decode(raw, None).unwrap_or_else(|r| panic!("{raw}: {r:?}")).as_str().to_owned()
    }

    fn moved(raw: &str, query: Option<&str>) -> String {
        match decode(raw, query) {
            Err(Refusal::Redirect { location }) => location,
            other => panic!("{raw}: {other:?}"),
        }
    }

    fn refused(raw: &str) -> (u16, String) {
        match decode(raw, None) {
            Err(Refusal::Error { status, message }) => (status.as_u16(), message.into_owned()),
            other => panic!("{raw}: {other:?}"),
        }
    }

    #[test]
    fn decodes_once() {
        assert_eq!(good("/v1/secret/data/app"), "secret/data/app");
        assert_eq!(good("/v1/secret/metadata/"), "secret/metadata/");
        assert_eq!(good("/v1/"), "");
        assert_eq!(good("/v1/secret/data/app/%E2%82%AC%20uni"), "secret/data/app/€ uni");
        assert_eq!(good("/v1/secret/a%2Eb/..c/d../...%3f%23;x"), "secret/a.b/..c/d../...?#;x");
        assert_eq!(good("/v1/secret/dom%5Cuser"), "secret/dom\\user");
        // Twice encoded stays what it is after one decoding: a name with a percent sign.
        assert_eq!(good("/v1/secret/%252e%252e/x%252f"), "secret/%2e%2e/x%2f");
        assert_eq!(good("/v1/v1/x"), "v1/x");
    }

    #[test]
    fn redirects_what_stands_unclean() {
        assert_eq!(moved("/v1/secret/data//app/sub", None), "/v1/secret/data/app/sub");
        assert_eq!(moved("/v1/secret/data/app/../app/sub", None), "/v1/secret/data/app/sub");
        assert_eq!(moved("/v1/secret/./a", None), "/v1/secret/a");
        assert_eq!(moved("/v1/secret/a/..", None), "/v1/secret");
        assert_eq!(moved("/v1/secret/a/.", None), "/v1/secret/a");
        assert_eq!(moved("/v1/secret//", None), "/v1/secret/");
        assert_eq!(moved("//v1/secret/a", Some("list=true")), "/v1/secret/a?list=true");
        assert_eq!(moved("/v1/../sys/raw", None), "/sys/raw");
        // Never another host.
        assert_eq!(moved("/v1/../..//evil.example/x", None), "/evil.example/x");
        assert_eq!(moved("//evil.example/..", None), "/");
        // The escapes are kept, so the second request is judged as the first would have been.
        assert_eq!(moved("/v1//a%2fb", None), "/v1/a%2fb");
    }

    #[test]
    fn refuses_what_decoding_would_change() {
        for raw in ["%2e%2e/b", "a/%2e%2e/b", "a/%2E./b", "a/.%2e", "a/%2e", "%2e/a", "a/%2e%2e"] {
            assert_eq!(refused(&format!("/v1/secret/{raw}")), (400, "relative paths not supported".into()), "{raw}");
        }
        for raw in ["a%2fb", "a%2Fb", "%2f", "a/%2f/b", "..%2f", "%2f..%2f"] {
            assert_eq!(refused(&format!("/v1/secret/{raw}")).0, 400, "{raw}");
        }
        for raw in ["a%00b", "a%0ab", "%0d", "%1f", "%7f", "a%c2%80", "a\u{85}b", "a\tb"] {
            assert_eq!(refused(&format!("/v1/secret/{raw}")), (400, "the path has a control character".into()), "{raw}");
        }
        for raw in ["%", "%z", "%zz", "%2", "a%2", "%+1", "%-1", "% 1", "%u002e", "é%e"] {
            assert_eq!(refused(&format!("/v1/secret/{raw}")), (400, "the path has a malformed percent escape".into()), "{raw}");
        }
        // Overlong forms of '.', '/' and NUL, lone surrogates, half characters.
        for raw in ["%c0%ae%c0%ae/", "%c0%af", "%c0%80", "%ed%a0%80", "%ff", "%e2%82", "%80"] {
            assert_eq!(refused(&format!("/v1/secret/{raw}")), (400, "the path is not UTF-8".into()), "{raw}");
        }
        assert_eq!(refused(&format!("/v1/{}", "a".repeat(3000))).0, 414);
        assert_eq!(refused("/v1"), (404, String::new()));
        assert_eq!(refused("/v2/x"), (404, String::new()));
        assert_eq!(refused("/V1/x"), (404, String::new()));
    }

    fn encode(path: &str) -> String {
        path.bytes()
            .map(|b| if b.is_ascii_alphanumeric() || b == b'/' { char::from(b).to_string() } else { format!("%{b:02X}") })
            .collect()
    }

    proptest! {
        #[test]
        fn no_text_panics_and_the_accepted_is_what_was_asked(text in "(%[0-9a-f]{2}|[a./%2ef;?\\\\]|\\PC){0,16}") {
            let raw = format!("/v1/{text}");
            if let Ok(path) = decode(&raw, None) {
                // Independent decoding: through bytes, no rule of ours.
                let mut plain = Vec::new();
                let mut bytes = text.bytes();
                while let Some(b) = bytes.next() {
                    if b == b'%' {
                        let two = [bytes.next().unwrap(), bytes.next().unwrap()];
                        plain.push(u8::from_str_radix(std::str::from_utf8(&two).unwrap(), 16).unwrap());
                    } else {
                        plain.push(b);
                    }
                }
                prop_assert_eq!(path.as_str().as_bytes(), &plain[..]);
                prop_assert!(!path.as_str().split('/').any(|s| s == ".." || s == "."));
                // As many segments as stood there: no slash came out of an escape.
                prop_assert_eq!(path.as_str().matches('/').count(), text.matches('/').count());
                prop_assert_eq!(decode(&format!("/v1/{}", encode(path.as_str())), None).unwrap(), path);
            }
        }

        #[test]
        fn a_redirect_is_clean(text in "[av1./]{0,24}") {
            if let Err(Refusal::Redirect { location }) = decode(&format!("/{text}"), None) {
                prop_assert!(is_clean(&location) && location.starts_with('/') && !location.starts_with("//"), "{}", location);
            }
        }
    }
}
