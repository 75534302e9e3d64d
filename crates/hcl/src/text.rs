//! From the text of a literal to what it means.

/// Resolves the escapes of a quoted string. Nothing when the escapes do not make Unicode text.
///
/// The lexer has checked the form. Inside `${…}` everything stays as it is.
pub(crate) fn unquote(raw: &str) -> Option<String> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(inner.to_owned());
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut braces = 0u32;
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        if braces > 0 || c != '\\' {
            match c {
                '$' if braces == 0 && rest.as_str().starts_with('{') => {
                    rest.next();
                    out.extend_from_slice(b"${");
                    braces = 1;
                    continue;
                }
                '{' if braces > 0 => braces += 1,
                '}' if braces > 0 => braces -= 1,
                _ => {}
            }
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        match rest.next()? {
            'a' => out.push(7),
            'b' => out.push(8),
            'f' => out.push(12),
            'n' => out.push(b'\n'),
            'r' => out.push(b'\r'),
            't' => out.push(b'\t'),
            'v' => out.push(11),
            'x' => out.push(u8::try_from(digits(&mut rest, 0, 2, 16)?).ok()?),
            'u' => push_char(&mut out, digits(&mut rest, 0, 4, 16)?)?,
            'U' => push_char(&mut out, digits(&mut rest, 0, 8, 16)?)?,
            c if c.is_digit(8) => out.push(u8::try_from(digits(&mut rest, c.to_digit(8)?, 2, 8)?).ok()?),
            c @ ('\\' | '"') => out.push(c as u8),
            _ => return None,
        }
    }
    String::from_utf8(out).ok()
}

fn push_char(out: &mut Vec<u8>, code: u32) -> Option<()> {
    out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
    Some(())
}

fn digits(rest: &mut std::str::Chars<'_>, start: u32, count: u32, radix: u32) -> Option<u32> {
    (0..count).try_fold(start, |value, _| value.checked_mul(radix)?.checked_add(rest.next()?.to_digit(radix)?))
}

/// The content of a heredoc `<<ANCHOR` or `<<-ANCHOR`, each line with its line end. The second form takes the indentation of the
/// closing anchor from every line, if every line has it.
pub(crate) fn heredoc(raw: &str) -> Option<String> {
    let (opening, rest) = raw.split_once('\n')?;
    let rest = rest.strip_suffix('\n').unwrap_or(rest);
    let (content, closing) = match rest.rsplit_once('\n') {
        Some((content, closing)) => (&raw[opening.len() + 1..opening.len() + 2 + content.len()], closing),
        None => ("", rest),
    };
    let indent = &closing[..closing.len() - closing.trim_start().len()];
    let lines = || content.split_inclusive('\n');
    if !opening.starts_with("<<-") || indent.is_empty() || !lines().all(|line| line == "\n" || line.starts_with(indent)) {
        return Some(content.to_owned());
    }
    Some(lines().map(|line| line.strip_prefix(indent).unwrap_or(line)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        for (raw, want) in [
            (r#""""#, Some("")),
            (r#""a\n\t\"\\b""#, Some("a\n\t\"\\b")),
            (r#""\101\x42\u0043\U00000044""#, Some("ABCD")),
            (r#""\u00e4\xc3\xa4""#, Some("ää")),
            (r#""${x "\n" {y}}\n""#, Some("${x \"\\n\" {y}}\n")),
            (r#""\xff""#, None),
            (r#""\ud800""#, None),
            (r#""\U00110000""#, None),
            (r#""\777""#, None),
        ] {
            assert_eq!(unquote(raw).as_deref(), want, "{raw}");
        }
    }

    #[test]
    fn heredocs() {
        for (raw, want) in [
            ("<<E\na\n b\nE\n", "a\n b\n"),
            ("<<E\nE\n", ""),
            ("<<-E\n  a\n    b\n\n  E\n", "a\n  b\n\n"),
            ("<<-E\n a\n    b\n  E\n", " a\n    b\n"),
            ("<<E\n a\n  E\n", " a\n"),
        ] {
            assert_eq!(heredoc(raw).as_deref(), Some(want), "{raw}");
        }
    }
}
