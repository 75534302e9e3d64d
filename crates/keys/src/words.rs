//! Splitting a command into words without a shell, as Go's `shlex` does: spaces separate, quotes and backslashes keep together, `#` at
//! the start of a word begins a comment. Nothing is expanded.

/// The words of a command.
///
/// # Errors
/// A quote that is not closed, or a backslash at the end.
pub fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '#' if word.is_none() => {
                chars.by_ref().find(|c| *c == '\n');
            }
            '\\' => {
                let next = chars.next().ok_or("the command ends in a backslash")?;
                word.get_or_insert_default().push(next);
            }
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        None => return Err(format!("the command has a {c} that is not closed")),
                        Some(end) if end == c => break,
                        Some('\\') if c == '"' => word.push(chars.next().ok_or("the command ends in a backslash")?),
                        Some(other) => word.push(other),
                    }
                }
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_as_a_shell_would_split_them() {
        for (text, want) in [
            ("", &[][..]),
            ("  a  b\tc\n", &["a", "b", "c"]),
            (r#"op read "op://a b/c" 'd "e"'"#, &["op", "read", "op://a b/c", "d \"e\""]),
            (r#"a\ b "c\"d" '\'e'' "#, &["a b", "c\"d", r"\e"]),
            ("a '' b", &["a", "", "b"]),
            ("a # rest\nb a#b", &["a", "b", "a#b"]),
            ("echo $HOME `id` ; ls | x", &["echo", "$HOME", "`id`", ";", "ls", "|", "x"]),
        ] {
            assert_eq!(split(text).unwrap(), want, "{text}");
        }
    }

    #[test]
    fn what_is_not_closed_is_refused() {
        for text in ["a 'b", "a \"b", "a\\", "\"a\\"] {
            assert!(split(text).is_err(), "{text}");
        }
    }
}
