//! Statements as administrators write them, with `{{name}}` and its like in them: cut at their semicolons and filled in.
//!
//! What is filled in comes from people (a display name, a role's name) and from password policies, so where it stands decides how it is
//! written: inside of a quoted text its quotes are doubled (and its backslashes, where the database takes those as escapes), inside of a
//! quoted identifier that one's quotes; outside of any quotes only letters, digits and `_` may stand. Nothing that is filled in can end the
//! quotes that it stands in, and nothing of it is read again.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use coffer_types::{Error, Result, Secret};

/// How a database reads quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lexis {
    /// A backslash is a character like others, but for `E'…'`.
    PostgreSql,
    /// A backslash escapes, `` ` `` quotes identifiers.
    MySql,
    /// Cassandra's: `$$…$$` is a text, `//` begins a comment, comments do not nest.
    Cql,
    /// SQL Server's: `[…]` quotes identifiers.
    SqlServer,
}

impl Lexis {
    /// Whether a comment may stand in a comment.
    const fn nests(self) -> bool {
        matches!(self, Self::PostgreSql | Self::SqlServer)
    }
}

/// What may stand in a template.
pub(super) type Values<'a> = [(&'static str, &'a str)];

/// Where the scanner is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Plain,
    Text {
        escapes: bool,
    },
    Identifier(char),
    LineComment,
    /// So many that are not closed.
    BlockComment(u32),
}

/// The statements of these commands, filled in. A command is one statement or several with semicolons between, or a JSON list of
/// statements, which may be in base64.
///
/// # Errors
/// Bad request where a value can't stand where the template puts it.
pub(super) fn fill(lexis: Lexis, commands: &[String], values: &Values<'_>) -> Result<Vec<Secret<String>>> {
    let mut statements = Vec::new();
    for command in commands {
        match list(command) {
            Some(whole) => {
                for statement in &whole {
                    statements.extend(scan(lexis, statement, values, false)?);
                }
            }
            None => statements.extend(scan(lexis, command, values, true)?),
        }
    }
    Ok(statements)
}

/// The statements of a command that is a JSON list, in base64 or not.
pub(super) fn list(command: &str) -> Option<Vec<String>> {
    let text = command.trim();
    if text.starts_with('[') {
        return serde_json::from_str(text).ok();
    }
    let decoded = BASE64_STANDARD.decode(text).ok().filter(|d| d.first() == Some(&b'['))?;
    serde_json::from_slice(&decoded).ok()
}

/// A text as the database's literal.
pub(super) fn literal(lexis: Lexis, text: &str) -> String {
    let quoted = text.replace('\'', "''");
    match lexis {
        Lexis::PostgreSql if text.contains('\\') => format!("E'{}'", quoted.replace('\\', "\\\\")),
        Lexis::PostgreSql | Lexis::Cql => format!("'{quoted}'"),
        Lexis::SqlServer => format!("N'{quoted}'"),
        Lexis::MySql => format!("'{}'", quoted.replace('\\', "\\\\")),
    }
}

/// A name as the database's identifier.
pub(super) fn identifier(lexis: Lexis, name: &str) -> String {
    match lexis {
        Lexis::PostgreSql | Lexis::Cql => format!("\"{}\"", name.replace('"', "\"\"")),
        Lexis::SqlServer => format!("[{}]", name.replace(']', "]]")),
        Lexis::MySql => format!("`{}`", name.replace('`', "``")),
    }
}

/// The longest name of an account, in bytes: PostgreSQL cuts off what is longer, and it would not be found again.
const LONGEST_NAME: usize = 63;
/// The same for SQL Server, in UTF-16's units (`sysname`).
const LONGEST_SYSNAME: usize = 128;

/// A name that may stand for an account: not empty, not too long, no control character in it.
pub(super) fn check_name(lexis: Lexis, name: &str) -> Result<()> {
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(Error::bad_request("the name of the account is empty or holds a control character"));
    }
    // Cassandra (5.0.2) puts the names of roles into statements of its own as they are: what is right in ours would end quotes in those.
    if lexis == Lexis::Cql && name.contains('\'') {
        return Err(Error::bad_request("the name of an account of Cassandra must not hold a quote"));
    }
    if lexis == Lexis::PostgreSql && name.len() > LONGEST_NAME {
        return Err(Error::bad_request(format!("the name of the account is over {LONGEST_NAME} bytes")));
    }
    if lexis == Lexis::SqlServer && name.encode_utf16().count() > LONGEST_SYSNAME {
        return Err(Error::bad_request(format!("the name of the account is over {LONGEST_SYSNAME} characters")));
    }
    Ok(())
}

fn scan(lexis: Lexis, text: &str, values: &Values<'_>, cut: bool) -> Result<Vec<Secret<String>>> {
    let mut statements = Vec::new();
    let mut out = Secret::new(String::with_capacity(text.len() + 64));
    let (mut at, mut dollar): (At, Option<&str>) = (At::Plain, None);
    let mut place = 0;
    while let Some(c) = text[place..].chars().next() {
        let rest = &text[place..];
        if let Some((name, value)) = rest.strip_prefix("{{").and_then(|r| placeholder(r, values)) {
            push(&mut out, name, value, lexis, at, dollar.is_some())?;
            place += name.len() + 4;
            continue;
        }
        let mut step = c.len_utf8();
        if let Some(tag) = dollar
            && rest.starts_with(tag)
        {
            (dollar, at, step) = (None, At::Plain, tag.len());
        } else {
            match (at, c) {
                (At::Plain, '\'') => {
                    let before = text[..place].chars().next_back();
                    let marked = matches!(before, Some('e' | 'E' | '&')) && lexis == Lexis::PostgreSql;
                    at = At::Text { escapes: marked || lexis == Lexis::MySql };
                }
                (At::Plain, '"') if lexis == Lexis::MySql => at = At::Identifier('"'),
                (At::Plain, '"') => at = At::Identifier('"'),
                (At::Plain, '`') if lexis == Lexis::MySql => at = At::Identifier('`'),
                (At::Plain, '-') if rest.starts_with("--") => at = At::LineComment,
                (At::Plain, '#') if lexis == Lexis::MySql => at = At::LineComment,
                (At::Plain, '/') if lexis == Lexis::Cql && rest.starts_with("//") => at = At::LineComment,
                (At::Plain, '/') if rest.starts_with("/*") => (at, step) = (At::BlockComment(1), 2),
                (At::Plain, '[') if lexis == Lexis::SqlServer => at = At::Identifier(']'),
                (At::Plain, '$') if dollar.is_none() && matches!(lexis, Lexis::PostgreSql | Lexis::Cql) => {
                    if let Some(tag) = dollar_tag(rest).filter(|tag| lexis == Lexis::PostgreSql || tag.len() == 2) {
                        (dollar, step) = (Some(tag), tag.len());
                    }
                }
                (At::Plain, ';') if cut && dollar.is_none() => {
                    finish(&mut statements, &mut out);
                    place += step;
                    continue;
                }
                // What is escaped ends nothing, a quote twice neither: it ends the text and begins it again.
                (At::Text { escapes: true }, '\\') | (At::Identifier('"'), '\\')
                    if lexis == Lexis::MySql || at == (At::Text { escapes: true }) =>
                {
                    step += rest[step..].chars().next().map_or(0, char::len_utf8);
                }
                (At::Text { .. }, '\'') => at = At::Plain,
                (At::Identifier(quote), c) if c == quote => at = At::Plain,
                (At::LineComment, '\n') => at = At::Plain,
                (At::BlockComment(deep), '*') if rest.starts_with("*/") => {
                    (at, step) = (if deep > 1 { At::BlockComment(deep - 1) } else { At::Plain }, 2);
                }
                (At::BlockComment(deep), '/') if lexis.nests() && rest.starts_with("/*") => {
                    (at, step) = (At::BlockComment(deep.saturating_add(1)), 2);
                }
                _ => {}
            }
        }
        out.expose_mut().push_str(&rest[..step]);
        place += step;
    }
    finish(&mut statements, &mut out);
    Ok(statements)
}

fn finish(statements: &mut Vec<Secret<String>>, out: &mut Secret<String>) {
    let statement = std::mem::replace(out, Secret::new(String::new()));
    let trimmed = statement.expose().trim();
    if !trimmed.is_empty() {
        statements.push(Secret::new(trimmed.to_owned()));
    }
}

/// The name of a placeholder that begins here, after its braces, and what stands for it.
fn placeholder<'v>(rest: &str, values: &'v Values<'_>) -> Option<(&'static str, &'v str)> {
    values
        .iter()
        .find(|(name, _)| rest.strip_prefix(name).is_some_and(|r| r.starts_with("}}")))
        .map(|(name, value)| (*name, *value))
}

fn push(out: &mut Secret<String>, name: &str, value: &str, lexis: Lexis, at: At, in_dollar: bool) -> Result<()> {
    let cannot = |why: &str| Err(Error::bad_request(format!("a statement puts {{{{{name}}}}} {why}")));
    if value.contains('\0') {
        return cannot("where the value would hold a zero byte");
    }
    if in_dollar && value.contains('$') {
        return cannot("between dollar signs, and the value holds one");
    }
    let out = out.expose_mut();
    match at {
        At::Plain | At::LineComment | At::BlockComment(_) => {
            if !value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return cannot("outside of quotes, where only letters, digits and '_' can stand");
            }
            out.push_str(value);
        }
        At::Text { .. } | At::Identifier(_) => {
            let quote = if let At::Identifier(quote) = at { quote } else { '\'' };
            let escapes = at == (At::Text { escapes: true }) || (lexis == Lexis::MySql && quote == '"');
            for c in value.chars() {
                if c == quote || (c == '\\' && escapes) {
                    out.push(c);
                }
                out.push(c);
            }
        }
    }
    Ok(())
}

/// `$$` or `$tag$` at the beginning.
fn dollar_tag(text: &str) -> Option<&str> {
    let end = text[1..].find('$')? + 2;
    let tag = &text[1..end - 1];
    let good = tag.chars().all(|c| c.is_alphanumeric() || c == '_') && !tag.starts_with(|c: char| c.is_ascii_digit());
    good.then(|| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filled(lexis: Lexis, text: &str, name: &str, password: &str) -> Result<Vec<String>> {
        let values = [("name", name), ("username", name), ("password", password)];
        Ok(fill(lexis, &[text.to_owned()], &values)?.iter().map(|s| s.expose().clone()).collect())
    }

    #[test]
    fn the_usual_statements() {
        let text = "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO \"{{name}}\";";
        assert_eq!(
            filled(Lexis::PostgreSql, text, "v-a", "p'w").unwrap(),
            ["CREATE ROLE \"v-a\" WITH LOGIN PASSWORD 'p''w'", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO \"v-a\""]
        );
        let text = "CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'; GRANT SELECT ON `{{name}}`.* TO '{{name}}'@'%'";
        assert_eq!(
            filled(Lexis::MySql, text, "a`b", "p\\'w").unwrap(),
            ["CREATE USER 'a`b'@'%' IDENTIFIED BY 'p\\\\''w'", "GRANT SELECT ON `a``b`.* TO 'a`b'@'%'"]
        );
    }

    #[test]
    fn cut_only_where_a_statement_ends() {
        let one = |text: &str| filled(Lexis::PostgreSql, text, "n", "p").unwrap();
        assert_eq!(
            one("SELECT ';'; SELECT \";\";; -- a;b\nSELECT 1 /* ; */"),
            ["SELECT ';'", "SELECT \";\"", "-- a;b\nSELECT 1 /* ; */"]
        );
        assert_eq!(
            one("DO $$ BEGIN EXECUTE 'x'; END $$; SELECT $t$;$$;$t$"),
            ["DO $$ BEGIN EXECUTE 'x'; END $$", "SELECT $t$;$$;$t$"]
        );
        assert_eq!(one("SELECT E'\\';'; SELECT 'it''s;'"), ["SELECT E'\\';'", "SELECT 'it''s;'"]);
        assert_eq!(one("[\"SELECT 1; SELECT 2\", \"SELECT 3\"]"), ["SELECT 1; SELECT 2", "SELECT 3"]);
        assert_eq!(one(&BASE64_STANDARD.encode("[\"SELECT '{{name}}'\"]")), ["SELECT 'n'"]);
        assert_eq!(one("  ;; "), Vec::<String>::new());
        assert_eq!(filled(Lexis::MySql, "SELECT '\\';'; SELECT 1 # ;", "n", "p").unwrap(), ["SELECT '\\';'", "SELECT 1 # ;"]);
    }

    #[test]
    fn hostile_names_stay_inside_their_quotes() {
        let hostile = "a\"; DROP ROLE b; --";
        assert_eq!(
            filled(Lexis::PostgreSql, "DROP ROLE \"{{name}}\"", hostile, "").unwrap(),
            ["DROP ROLE \"a\"\"; DROP ROLE b; --\""]
        );
        assert_eq!(
            filled(Lexis::PostgreSql, "SELECT '{{name}}', E'{{name}}'", "\\'; --", "").unwrap(),
            ["SELECT '\\''; --', E'\\\\''; --'"]
        );
        assert_eq!(filled(Lexis::MySql, "SELECT \"{{name}}\"", "\\\"", "").unwrap(), ["SELECT \"\\\\\"\"\""]);
        for text in ["DROP ROLE {{name}}", "-- {{name}}\nSELECT 1", "/* {{name}} */ SELECT 1"] {
            assert!(filled(Lexis::PostgreSql, text, hostile, "").is_err(), "{text}");
            assert!(filled(Lexis::PostgreSql, text, "plain_1", "").is_ok(), "{text}");
        }
        assert!(filled(Lexis::PostgreSql, "DO $$ BEGIN EXECUTE '{{name}}'; END $$", "a$$; DROP", "").is_err());
        assert!(filled(Lexis::PostgreSql, "SELECT '{{name}}'", "a\0b", "").is_err());
        for lexis in [Lexis::PostgreSql, Lexis::MySql, Lexis::Cql, Lexis::SqlServer] {
            assert!(check_name(lexis, "a\nb").is_err() && check_name(lexis, "").is_err() && check_name(lexis, "a b\"").is_ok());
            assert_eq!(check_name(lexis, "a'b").is_ok(), lexis != Lexis::Cql);
            assert!(check_name(lexis, &"x".repeat(63)).is_ok());
        }
        assert!(check_name(Lexis::PostgreSql, &"x".repeat(64)).is_err());
    }

    #[test]
    fn quotes_of_cassandra_and_sql_server() {
        let hostile = "a]'\"; DROP LOGIN sa; --";
        let text = "CREATE LOGIN [{{name}}] WITH PASSWORD = '{{password}}'; GRANT X TO \"{{name}}\"";
        assert_eq!(
            filled(Lexis::SqlServer, text, hostile, "p'w").unwrap(),
            ["CREATE LOGIN [a]]'\"; DROP LOGIN sa; --] WITH PASSWORD = 'p''w'", "GRANT X TO \"a]'\"\"; DROP LOGIN sa; --\""]
        );
        assert_eq!(filled(Lexis::SqlServer, "SELECT ';]' [;]]]; SELECT 1", "", "").unwrap(), ["SELECT ';]' [;]]]", "SELECT 1"]);
        let text = "CREATE ROLE '{{name}}' WITH PASSWORD = '{{password}}'; GRANT SELECT ON a.b TO \"{{name}}\"";
        assert_eq!(
            filled(Lexis::Cql, text, hostile, "\\'").unwrap(),
            [
                "CREATE ROLE 'a]''\"; DROP LOGIN sa; --' WITH PASSWORD = '\\'''",
                "GRANT SELECT ON a.b TO \"a]'\"\"; DROP LOGIN sa; --\"",
            ]
        );
        assert!(filled(Lexis::Cql, "SELECT $$;{{name}}$$; SELECT 1", "a$b", "").is_err());
        assert_eq!(filled(Lexis::Cql, "SELECT $$;{{name}}$$; SELECT 1", "a", "").unwrap(), ["SELECT $$;a$$", "SELECT 1"]);
        for text in ["// {{name}}\nSELECT 1", "GRANT X TO {{name}}", "/* {{name}} */"] {
            assert!(filled(Lexis::Cql, text, "a;", "").is_err(), "{text}");
        }
        assert!(filled(Lexis::SqlServer, "DROP LOGIN {{name}}", "a]b", "").is_err());
        assert!(check_name(Lexis::SqlServer, &"é".repeat(128)).is_ok());
        assert!(check_name(Lexis::SqlServer, &"é".repeat(129)).is_err());
    }

    #[test]
    fn comments_in_comments() {
        // The quotes stand in the outer comment, where a value could end it.
        let text = "SELECT 1 /* /* */ '{{name}}' */";
        for lexis in [Lexis::PostgreSql, Lexis::SqlServer] {
            assert!(filled(lexis, text, "*/ DROP", "").is_err(), "{lexis:?}");
        }
        assert_eq!(filled(Lexis::Cql, "SELECT 1 /* /* */; SELECT 2", "", "").unwrap().len(), 2);
        assert_eq!(filled(Lexis::PostgreSql, "SELECT 1 /* /* */; */; SELECT 2", "", "").unwrap().len(), 2);
    }

    #[test]
    fn what_is_filled_in_is_not_read_again() {
        assert_eq!(
            filled(Lexis::PostgreSql, "SELECT '{{name}}', '{{other}}'", "{{password}}", "s").unwrap(),
            ["SELECT '{{password}}', '{{other}}'"]
        );
    }

    /// The text of the first literal, as PostgreSQL with standard strings or MySQL would read it, and what follows it.
    fn read(lexis: Lexis, text: &str) -> (String, String) {
        let escapes = lexis == Lexis::MySql || text.starts_with('E');
        let mut rest = text[text.find('\'').unwrap() + 1..].chars().peekable();
        let mut out = String::new();
        while let Some(c) = rest.next() {
            match c {
                '\\' if escapes => out.extend(rest.next()),
                '\'' if rest.peek() == Some(&'\'') => out.extend(rest.next()),
                '\'' => return (out, rest.collect()),
                c => out.push(c),
            }
        }
        panic!("the literal does not end");
    }

    proptest! {
        #[test]
        fn a_literal_reads_back(text in "[^\0]{0,40}") {
            for lexis in [Lexis::PostgreSql, Lexis::MySql, Lexis::Cql, Lexis::SqlServer] {
                prop_assert_eq!(read(lexis, &literal(lexis, &text)), (text.clone(), String::new()));
                let whole = filled(lexis, "SELECT '{{password}}' AS p", "n", &text).unwrap();
                prop_assert_eq!(whole.len(), 1);
                prop_assert_eq!(read(lexis, &whole[0]), (text.clone(), " AS p".to_owned()));
            }
        }

        #[test]
        fn an_identifier_reads_back(name in "[^\0]{1,40}") {
            let quoted = identifier(Lexis::PostgreSql, &name);
            prop_assert_eq!(quoted[1..quoted.len() - 1].replace("\"\"", "\""), name.clone());
            let whole = filled(Lexis::PostgreSql, "DROP ROLE \"{{name}}\"", &name, "").unwrap();
            prop_assert_eq!(&whole[0], &format!("DROP ROLE {quoted}"));
        }

        #[test]
        fn never_panics(text in ".{0,60}", name in ".{0,10}") {
            for lexis in [Lexis::PostgreSql, Lexis::MySql, Lexis::Cql, Lexis::SqlServer] {
                let _either_way = filled(lexis, &text, &name, "p").is_ok();
            }
        }
    }
}
