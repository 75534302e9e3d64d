//! Names of hosts: which texts are some, and Unicode in them (Punycode, RFC 3492).

/// Whether it is a host's name of letters, digits and inner hyphens, of 253 characters at most and labels of 63; the leftmost label may be
/// `*`. No dot ends it: in a certificate that would be another name (RFC 5280 section 4.2.1.6).
pub(super) fn is_host(name: &str) -> bool {
    let rest = name.strip_prefix("*.").unwrap_or(name);
    name.len() <= 253 && !rest.is_empty() && rest.split('.').all(is_label)
}

/// A leftmost label with one `*` in it beside other letters (`a*`, `*b`), or being it, before a host's name: RFC 6125 section 6.4.3.
/// Gives the label and what follows the dot.
pub(super) fn wildcard(name: &str) -> Option<(&str, &str)> {
    let (first, rest) = name.split_once('.')?;
    let one = first.matches('*').count() == 1;
    let letters = first.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'*');
    (one && letters && first.len() <= 63 && is_host(rest) && !rest.starts_with("*.")).then_some((first, rest))
}

fn is_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    label.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
}

/// The same name with labels outside ASCII in Punycode; nothing if that can't be. Nothing is mapped: what is not in its final form
/// (capitals outside ASCII) is refused, not guessed.
pub(super) fn to_ascii(name: &str) -> Option<String> {
    if name.is_ascii() {
        return Some(name.to_owned());
    }
    let labels: Option<Vec<String>> = name
        .split('.')
        .map(|label| {
            if label.is_ascii() {
                return Some(label.to_owned());
            }
            let plain = label.chars().all(|c| c.is_alphanumeric() && !c.is_uppercase() || c == '-');
            plain.then(|| punycode(label)).flatten().map(|code| format!("xn--{code}"))
        })
        .collect();
    labels.map(|labels| labels.join("."))
}

/// RFC 3492 section 6.3.
fn punycode(label: &str) -> Option<String> {
    let mut out: String = label.chars().filter(char::is_ascii).collect();
    let basic = u32::try_from(out.len()).ok()?;
    if basic > 0 {
        out.push('-');
    }
    let (mut n, mut delta, mut bias, mut handled) = (128u32, 0u32, 72u32, basic);
    let total = u32::try_from(label.chars().count()).ok()?;
    while handled < total {
        let next = label.chars().map(u32::from).filter(|c| *c >= n).min()?;
        delta = delta.checked_add((next - n).checked_mul(handled + 1)?)?;
        n = next;
        for c in label.chars().map(u32::from) {
            if c < n {
                delta = delta.checked_add(1)?;
            }
            if c == n {
                let mut q = delta;
                let mut k = 36u32;
                loop {
                    let t = k.saturating_sub(bias).clamp(1, 26);
                    if q < t {
                        break;
                    }
                    out.push(digit(t + (q - t) % (36 - t)));
                    q = (q - t) / (36 - t);
                    k += 36;
                }
                out.push(digit(q));
                bias = adapt(delta, handled + 1, handled == basic);
                delta = 0;
                handled += 1;
            }
        }
        delta = delta.checked_add(1)?;
        n += 1;
    }
    Some(out)
}

fn digit(value: u32) -> char {
    // Below 36 by the algorithm.
    char::from(b"abcdefghijklmnopqrstuvwxyz0123456789"[value as usize % 36])
}

const fn adapt(delta: u32, points: u32, first: bool) -> u32 {
    let mut delta = if first { delta / 700 } else { delta / 2 };
    delta += delta / points;
    let mut k = 0;
    while delta > 455 {
        delta /= 35;
        k += 36;
    }
    k + 36 * delta / (delta + 38)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let long = "a".repeat(64);
        for good in ["a", "a.b", "A-1.example.com", "*.example.com", "xn--bcher-kva.example", &"a".repeat(63)] {
            assert!(is_host(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "a..b",
            "a.b.",
            "-a",
            "a-",
            "a_b",
            "a b",
            "*",
            "*.",
            "a.*.b",
            "*a.b",
            "a\0b",
            "a/b",
            "b@c",
            "ä",
            &long,
            &"a.".repeat(128),
        ] {
            assert!(!is_host(bad), "{bad}");
        }
    }

    #[test]
    fn wildcards() {
        assert_eq!(wildcard("*.a.b"), Some(("*", "a.b")));
        assert_eq!(wildcard("w*.a.b"), Some(("w*", "a.b")));
        for bad in ["*", "a.b", "**.a", "*.*.a", "a.*.b", "*.", "*.a..b", "w_*.a"] {
            assert_eq!(wildcard(bad), None, "{bad}");
        }
    }

    #[test]
    fn unicode_becomes_punycode() {
        assert_eq!(to_ascii("bücher.example").as_deref(), Some("xn--bcher-kva.example"));
        assert_eq!(to_ascii("faß.de").as_deref(), Some("xn--fa-hia.de"));
        assert_eq!(to_ascii("例え.テスト").as_deref(), Some("xn--r8jz45g.xn--zckzah"));
        assert_eq!(to_ascii("a_b").as_deref(), Some("a_b"));
        for bad in ["Ä.example", "a\u{200b}b.example", "a\u{2024}b", "ü ü.example"] {
            assert_eq!(to_ascii(bad), None, "{bad}");
        }
    }
}
