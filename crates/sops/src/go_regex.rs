//! Regular expressions as Go reads them.
//!
//! Go's RE2 and the `regex` crate are siblings; where they differ, the expression is rewritten: `\d`, `\s`, `\w` and `\b` are ASCII in
//! Go, `[`, `&&`, `--` and `~~` are nothing special within a class, `\Q…\E` quotes, `{` that begins no repetition is itself, and `\<` is `<`.

use regex::Regex;

/// Compiles what Go would compile, for searching; nothing where Go refuses it.
pub(crate) fn compile(pattern: &str) -> Option<Regex> {
    Regex::new(&translate(pattern)?).ok()
}

fn translate(pattern: &str) -> Option<String> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        if c == '\\' {
            rest = escape(after, in_class, &mut out)?;
            continue;
        }
        rest = after;
        if in_class {
            match c {
                '[' if after.starts_with(':') && after.contains(":]") => {
                    let end = after.find(":]")? + 2;
                    out.push('[');
                    out.push_str(&after[..end]);
                    rest = &after[end..];
                }
                '[' | '&' | '~' => {
                    out.push('\\');
                    out.push(c);
                }
                '-' if after.starts_with('-') => out.push_str("\\-"),
                _ => {
                    in_class = c != ']';
                    out.push(c);
                }
            }
            continue;
        }
        match c {
            '[' => {
                in_class = true;
                out.push('[');
                if let Some(negated) = rest.strip_prefix('^') {
                    out.push('^');
                    rest = negated;
                }
                // A bracket that stands first is itself.
                if let Some(bracket) = rest.strip_prefix(']') {
                    out.push_str("\\]");
                    rest = bracket;
                }
            }
            '{' if !begins_repetition(after) => out.push_str("\\{"),
            '}' if !ends_repetition(&out) => out.push_str("\\}"),
            '(' if after.starts_with('?') => {
                // Flags that Go lacks (`x`, `u`, `R`) make the expression invalid there.
                let flags = after[1..].split([')', ':']).next()?;
                let named = flags.starts_with("P<") || flags.starts_with('<');
                if !named && !flags.chars().all(|flag| "imsU-".contains(flag)) {
                    return None;
                }
                out.push('(');
            }
            _ => out.push(c),
        }
    }
    Some(out)
}

/// What follows a backslash; gives what follows that.
fn escape<'a>(after: &'a str, in_class: bool, out: &mut String) -> Option<&'a str> {
    let c = after.chars().next()?;
    let rest = &after[c.len_utf8()..];
    let class = |positive: &str, negative: bool| match (in_class, negative) {
        (true, false) => positive.to_owned(),
        (_, true) => format!("[^{positive}]"),
        (false, false) => format!("[{positive}]"),
    };
    match c {
        'd' | 'D' => out.push_str(&class("0-9", c == 'D')),
        's' | 'S' => out.push_str(&class(r"\t\n\x0C\r ", c == 'S')),
        'w' | 'W' => out.push_str(&class("0-9A-Za-z_", c == 'W')),
        'b' => out.push_str(r"(?-u:\b)"),
        // Not a word boundary of ASCII may fall within a character, which a search in texts can't express; Unicode's is near.
        'B' => out.push_str(r"\B"),
        'Q' if !in_class => {
            let (quoted, rest) = rest.split_once(r"\E").unwrap_or((rest, ""));
            out.push_str(&regex::escape(quoted));
            return Some(rest);
        }
        '<' | '>' => out.push(c),
        '0'..='7' => {
            let digits = after.chars().take(3).take_while(|c| ('0'..='7').contains(c)).count();
            // A digit from 1 that stands alone would be a reference back, which Go refuses.
            if c != '0' && digits < 2 {
                return None;
            }
            let code = u32::from_str_radix(&after[..digits], 8).ok()?;
            out.push_str(&format!("\\x{{{code:x}}}"));
            return Some(&after[digits..]);
        }
        'u' | 'U' => return None,
        'p' | 'P' | 'x' if rest.starts_with('{') => {
            let (name, rest) = rest.split_once('}')?;
            out.push('\\');
            out.push(c);
            out.push_str(name);
            out.push('}');
            return Some(rest);
        }
        _ => {
            out.push('\\');
            out.push(c);
        }
    }
    Some(rest)
}

fn begins_repetition(after: &str) -> bool {
    let Some((inside, _)) = after.split_once('}') else {
        return false;
    };
    let (low, high) = inside.split_once(',').unwrap_or((inside, ""));
    !low.is_empty() && (low.to_owned() + high).bytes().all(|b| b.is_ascii_digit())
}

/// Whether the brace to come ends a repetition that stands open.
fn ends_repetition(out: &str) -> bool {
    match out.rfind('{') {
        Some(open) => !out[..open].ends_with('\\') && !out[open..].contains('}'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn expressions_mean_what_they_mean_in_go() {
        for (pattern, text, found) in [
            ("^(data|stringData)$", "data", true),
            ("^(data|stringData)$", "metadata", false),
            ("pass", "my_password", true),
            (r"^\d+$", "12", true),
            (r"^\d+$", "١٢", false),
            (r"^\w+$", "é", false),
            (r"[\w.-]+x", "a.x", true),
            (r"^[^\d]$", "5", false),
            (r"^[\D]$", "a", true),
            ("[[]", "[", true),
            ("[a&&b]", "&", true),
            ("[]a]", "]", true),
            ("a{", "a{", true),
            ("a{,2}", "a{,2}", true),
            ("a{2}", "aa", true),
            (r"\Qa.b\Ec", "a.bc", true),
            (r"\Qa.b\Ec", "axbc", false),
            (r"\<a\>", "<a>", true),
            (r"\x{61}", "a", true),
            (r"\pL", "é", true),
            (r"\p{Greek}", "λ", true),
            ("(?i)ABC", "abc", true),
            ("[[:alpha:]]", "a", true),
            (r"\.yaml$", "a.yaml", true),
            (r"\141", "a", true),
            ("", "x", true),
            (r"\bkey\b", "a key b", true),
            ("a}", "a}", true),
            ("x--[a--]", "x---", true),
            ("(?P<n>a)", "a", true),
        ] {
            assert_eq!(compile(pattern).unwrap_or_else(|| panic!("{pattern}")).is_match(text), found, "{pattern} in {text}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for pattern in ["(", "a)", "[", "*", "a**b(", r"\", r"\1", r"(?x)a", r"(?=a)", r"(?!a)", r"\u0061", "[b-a]", r"\8"] {
            assert!(compile(pattern).is_none(), "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(pattern in r"[\[\]{}()\\\^\-a-z0-9?&~:é,QE<]{0,24}") {
            if let Some(regex) = compile(&pattern) {
                let _unused = regex.is_match("any text");
            }
        }
    }
}
