//! Names from outside on their way into a directory: user names, distinguished names (RFC 4514), filters' templates.

use coffer_engine::outside::{Filter, FilterFault};
use coffer_types::{Error, Result};

/// A user's name as one may log in with it. A directory overlooks case and spaces at the ends, and takes many spaces for one
/// (RFC 4518), so a name with such spaces is refused: it would be another name of the same person to whoever counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UserName(String);

/// Longest user name, in bytes.
const MAX_NAME: usize = 256;

impl UserName {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let plain = text.split(' ').all(|word| !word.is_empty());
        // White space of other kinds, and what does not print, is in no one's name.
        let clean = text.chars().all(|c| c == ' ' || !c.is_whitespace() && !c.is_control() && !is_folded(c));
        (plain && clean && !text.is_empty() && text.len() <= MAX_NAME).then(|| Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Characters that a directory maps to nothing or to plainer ones (RFC 4518 sections 2.2 and 2.3): wide letters, ligatures,
/// letters in circles.
fn is_folded(c: char) -> bool {
    matches!(c, '\u{a8}' | '\u{aa}' | '\u{ad}' | '\u{af}' | '\u{b2}'..='\u{b5}' | '\u{b8}'..='\u{ba}' | '\u{bc}'..='\u{be}' | '\u{34f}'
        | '\u{1806}' | '\u{180b}'..='\u{180e}' | '\u{1d2c}'..='\u{1d6a}' | '\u{2000}'..='\u{218f}' | '\u{2460}'..='\u{24ff}'
        | '\u{3000}'..='\u{303f}' | '\u{3200}'..='\u{33ff}' | '\u{fb00}'..='\u{fb4f}' | '\u{fe00}'..='\u{fe0f}' | '\u{fe30}'..='\u{ffef}'
        | '\u{fff9}'..='\u{fffc}' | '\u{1d400}'..='\u{1d7ff}' | '\u{1ee00}'..='\u{1eeff}' | '\u{1f100}'..='\u{1f2ff}' | '\u{e0000}'..='\u{e0fff}')
}

/// How this mount keeps names of users and groups.
pub(super) fn normal(name: &str, case_sensitive: bool) -> String {
    if case_sensitive { name.to_owned() } else { name.to_lowercase() }
}

/// A value inside a distinguished name. Besides what RFC 4514 section 2.4 asks for, `#` and `=` are escaped everywhere, as
/// Active Directory wants.
pub(super) fn escape_dn(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 8);
    let last = value.chars().count().saturating_sub(1);
    for (at, c) in value.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '#' | '=' => out.extend(['\\', c]),
            ' ' if at == 0 || at == last => out.push_str("\\ "),
            c if c.is_control() => {
                let mut utf8 = [0; 4];
                for byte in c.encode_utf8(&mut utf8).bytes() {
                    out.push_str(&format!("\\{byte:02x}"));
                }
            }
            c => out.push(c),
        }
    }
    out
}

/// The common name in a distinguished name: of `cn=Admins,ou=Groups`, `Admins`. Nothing where it has none or is no such name.
pub(super) fn common_name(dn: &str) -> Option<String> {
    let mut at = 0;
    let bytes = dn.as_bytes();
    let mut starts = vec![0];
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b',' | b'+' => starts.push(at + 1),
            _ => {}
        }
        at += 1;
    }
    let mut found = None;
    for (i, from) in starts.iter().enumerate() {
        let to = starts.get(i + 1).map_or(dn.len(), |next| next - 1);
        let (attribute, value) = dn.get(*from..to)?.split_once('=')?;
        if found.is_none() && attribute.trim().eq_ignore_ascii_case("cn") {
            found = Some(unescape(value)?);
        }
    }
    found.filter(|name| !name.is_empty())
}

fn unescape(value: &str) -> Option<String> {
    let value = value.trim_start_matches(' ');
    let mut out = Vec::with_capacity(value.len());
    let mut kept = 0;
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'\\' {
            let first = bytes.next()?;
            let byte = match char::from(first).to_digit(16) {
                Some(high) => {
                    let low = bytes.next().and_then(|b| char::from(b).to_digit(16))?;
                    u8::try_from(high << 4 | low).ok()?
                }
                None => first,
            };
            kept = out.len() + 1;
            byte
        } else {
            byte
        };
        out.push(byte);
    }
    // Spaces at the end count only where they are escaped.
    while out.len() > kept && out.last() == Some(&b' ') {
        out.pop();
    }
    String::from_utf8(out).ok()
}

/// The text of a Windows security identifier, `S-1-5-…`, from its bytes.
pub(super) fn sid(bytes: &[u8]) -> Option<String> {
    let (head, parts) = bytes.split_at_checked(8)?;
    if parts.len() != usize::from(head[1]) * 4 {
        return None;
    }
    let authority = head[2..].iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
    let mut text = format!("S-{}-{authority}", head[0]);
    for part in parts.chunks_exact(4) {
        let number = part.iter().rev().fold(0u32, |n, b| n << 8 | u32::from(*b));
        text.push_str(&format!("-{number}"));
    }
    Some(text)
}

/// A filter with places for values: `({{.UserAttr}}={{.Username}})`. The attribute's name is the administrator's and part of the
/// text; values are put into the filter once it is read, so that no value changes what it asks.
#[derive(Debug)]
pub(super) struct Template(Filter);

impl Template {
    /// # Errors
    /// A variable that there is not, or a text that is no filter.
    pub(super) fn parse(field: &str, text: &str, attribute: &str, variables: &[&str]) -> Result<Self> {
        let mut filter = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            filter.push_str(before);
            let (variable, after) = after.split_once("}}").ok_or_else(|| bad(field, "a '{{' is not closed"))?;
            match variable.trim() {
                ".UserAttr" => filter.push_str(attribute),
                // Written alike, whatever the spaces: this is how the value is found again.
                known if variables.contains(&known) => filter.push_str(&format!("{{{{{known}}}}}")),
                _ => return Err(bad(field, "a template can have {{.UserAttr}}, {{.Username}} and, for groups, {{.UserDN}}")),
            }
            rest = after;
        }
        filter.push_str(rest);
        Filter::parse(&filter).map(Self).map_err(|fault: FilterFault| bad(field, &fault.to_string()))
    }

    /// The filter with these values. What stands in a value is not looked at again.
    pub(super) fn fill(&self, values: &[(&str, &str)]) -> Filter {
        self.0.map_values(&|text| {
            let mut out = Vec::with_capacity(text.len());
            let mut rest = text;
            while !rest.is_empty() {
                let found = values.iter().find_map(|(name, value)| {
                    let place = rest.strip_prefix(b"{{")?.strip_prefix(name.as_bytes())?.strip_prefix(b"}}")?;
                    Some((place, value))
                });
                match found {
                    Some((after, value)) => {
                        out.extend_from_slice(value.as_bytes());
                        rest = after;
                    }
                    None => {
                        out.push(rest[0]);
                        rest = &rest[1..];
                    }
                }
            }
            out
        })
    }
}

fn bad(field: &str, why: &str) -> Error {
    Error::bad_request(format!("{field}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_directory_takes_for_others_are_refused() {
        for good in ["alice", "Alice Liddell", "a,b", "*", "(x)", "\\", "#a", "ünïcode"] {
            assert_eq!(UserName::parse(good).unwrap().as_str(), good);
        }
        let long = "a".repeat(257);
        for bad in [
            "",
            " ",
            " alice",
            "alice ",
            "al  ice",
            "al\tice",
            "alice\n",
            "al\0ice",
            "al\u{a0}ice",
            "al\u{200b}ice",
            "al\u{ad}ice",
            "\u{ff41}lice",
            "\u{fb01}n",
            &long,
        ] {
            assert_eq!(UserName::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn values_stay_inside_their_place_in_a_dn() {
        for (value, escaped) in [
            ("alice", "alice"),
            ("a,ou=admins", "a\\,ou\\=admins"),
            ("#1", "\\#1"),
            (" a ", "\\ a\\ "),
            (" ", "\\ "),
            ("a b", "a b"),
            ("\\", "\\\\"),
            ("a\0b", "a\\00b"),
            ("\"+;<>", "\\\"\\+\\;\\<\\>"),
            ("*()", "*()"),
        ] {
            assert_eq!(escape_dn(value), escaped);
            assert_eq!(common_name(&format!("cn={escaped},dc=x")).as_deref(), Some(value));
        }
    }

    #[test]
    fn common_names_are_found() {
        for (dn, name) in [
            ("cn=Admins,ou=x", Some("Admins")),
            ("CN=Admins", Some("Admins")),
            ("uid=a+cn=b,dc=c", Some("b")),
            ("ou=x, cn = Admins ,dc=y", Some("Admins")),
            ("ou=cn\\=no,dc=x", None),
            ("ou=a\\,cn=b,dc=x", None),
            ("Admins", None),
            ("", None),
            ("cn=", None),
            ("cn=a\\", None),
            ("cn=a\\zz,x", None),
            ("cn=\\C3\\A9", Some("é")),
            ("cn=\\C3", None),
        ] {
            assert_eq!(common_name(dn).as_deref(), name, "{dn}");
        }
    }

    #[test]
    fn security_identifiers_have_their_text() {
        let bytes = [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0];
        assert_eq!(sid(&bytes).as_deref(), Some("S-1-5-32-544"));
        assert_eq!(sid(&bytes[..12]), None);
        assert_eq!(sid(&[]), None);
    }

    #[test]
    fn no_value_changes_a_filter() {
        let template = Template::parse(
            "f",
            "(&(objectClass=person)({{.UserAttr}}={{ .Username }})(m=x{{.UserDN}}y))",
            "uid",
            &[".Username", ".UserDN"],
        )
        .unwrap();
        let hostile = "*)(|(uid=*\\2a{{.UserDN}}\0";
        let filled = template.fill(&[(".Username", hostile), (".UserDN", "cn=a")]);
        let equal = |a: &str, v: &str| Filter::Equal(a.into(), v.into());
        assert_eq!(filled, Filter::And(vec![equal("objectClass", "person"), equal("uid", hostile), equal("m", "xcn=ay")]));
    }

    #[test]
    fn templates_that_are_none_are_refused() {
        for bad in [
            "",
            "uid={{.Username}}",
            "(uid={{.Username}",
            "(uid={{.Username)",
            "({{.Username}}=x)",
            "(uid={{.Password}})",
            "(uid={{if}})",
        ] {
            assert!(Template::parse("f", bad, "uid", &[".Username"]).is_err(), "{bad}");
        }
        assert!(Template::parse("f", "(m={{.UserDN}})", "uid", &[".Username"]).is_err());
    }
}
