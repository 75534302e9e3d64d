//! Templates for the names of accounts that engines make outside: the part of Go's `text/template` that such names need, with
//! the functions of Vault's [username templating](https://developer.hashicorp.com/vault/docs/concepts/username-templating).
//!
//! `{{ printf "v-%s-%s" (.DisplayName | truncate 8) (random 20) | lowercase }}`: text, fields, strings, whole numbers, calls,
//! parentheses, pipelines and `if`/`else if`/`else`/`end`. Variables, loops and nested templates are refused when the template
//! is written, as are fields that the engine does not have and values that a function does not take.

mod eval;
mod layout;
mod parse;

use coffer_crypto::random::Random;
use coffer_engine::Ctx;
use coffer_types::{Error, Result, Timestamp};

/// The longest template, in bytes.
pub const MAX_TEMPLATE: usize = 8192;
/// The longest name that one may make, in bytes.
pub const MAX_NAME: usize = 4096;

/// A template that has been read and tried.
#[derive(Debug)]
pub struct Template {
    nodes: Vec<parse::Node>,
}

/// What a template may ask for besides its fields.
pub struct Source<'a> {
    pub now: Timestamp,
    pub random: &'a dyn Random,
}

impl Template {
    /// Reads a template that may name these fields (`DisplayName`, without the dot).
    ///
    /// # Errors
    /// Bad request, naming the place: no template, something that is not here, or one that fails on plain values.
    pub fn parse(text: &str, fields: &[&str]) -> Result<Self> {
        let nodes =
            parse::template(text, fields).map_err(|fault| Error::bad_request(format!("unable to parse template: {fault}")))?;
        let template = Self { nodes };
        let sample: Vec<(&str, &str)> = fields.iter().map(|name| (*name, "sample")).collect();
        template.render(&sample, &Source { now: Timestamp::from_secs(1), random: &Zeros })?;
        Ok(template)
    }

    /// As [`Template::parse`], and two names that it makes differ even at the same time for the same fields, or at another time: what is
    /// made under a name that was not there before can be taken away by its name.
    ///
    /// # Errors
    /// Bad request, also where neither randomness nor time is in the name.
    pub fn parse_distinct(text: &str, fields: &[&str]) -> Result<Self> {
        let template = Self::parse(text, fields)?;
        let sample: Vec<(&str, &str)> = fields.iter().map(|name| (*name, "sample")).collect();
        let one = template.render(&sample, &Source { now: Timestamp::from_secs(1), random: &Zeros })?;
        let other = template.render(&sample, &Source { now: Timestamp(86_461_001_000_000), random: &Ones })?;
        if one == other {
            return Err(Error::bad_request(
                "the template makes the same name twice: let random, uuid or unix_time_millis stand in it",
            ));
        }
        Ok(template)
    }

    /// The name for these fields.
    ///
    /// # Errors
    /// Bad request: a function was given what it does not take, or the name is empty or over [`MAX_NAME`] bytes.
    pub fn render(&self, fields: &[(&str, &str)], source: &Source<'_>) -> Result<String> {
        let wrong = |fault: String| Error::bad_request(format!("the template failed: {fault}"));
        let name = eval::run(&self.nodes, fields, source).map_err(wrong)?;
        if name.is_empty() {
            return Err(wrong("it makes an empty name".into()));
        }
        Ok(name)
    }
}

/// The host's randomness as a [`Random`].
pub struct HostRandom<'a, E>(pub &'a Ctx<E>);

impl<E: Send + Sync> Random for HostRandom<'_, E> {
    fn fill(&self, out: &mut [u8]) {
        self.0.fill_random(out);
    }
}

/// For the trial when a template is written.
struct Zeros;

impl Random for Zeros {
    fn fill(&self, out: &mut [u8]) {
        out.fill(0);
    }
}

/// Other randomness.
struct Ones;

impl Random for Ones {
    fn fill(&self, out: &mut [u8]) {
        out.fill(0x5a);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_crypto::random::SeededRandom;

    const FIELDS: &[&str] = &["DisplayName", "RoleName", "Type"];

    fn made(text: &str, display: &str) -> Result<String> {
        let random = SeededRandom::for_tests_only(1);
        let source = Source { now: Timestamp(1_795_404_202_752_717_010), random: &random };
        Template::parse(text, FIELDS)?.render(&[("DisplayName", display), ("RoleName", "Reader"), ("Type", "STS")], &source)
    }

    #[test]
    fn makes_names() {
        for (text, name) in [
            ("plain", "plain"),
            ("{{.DisplayName}}-{{.RoleName}}", "token-app-Reader"),
            ("{{ .RoleName | lowercase }}", "reader"),
            ("{{ .RoleName | uppercase | truncate 3 }}", "REA"),
            ("{{ truncate 3 .RoleName }}", "Rea"),
            ("{{ replace \"-\" \"_\" .DisplayName }}", "token_app"),
            ("{{ .DisplayName | replace \"-\" `` }}", "tokenapp"),
            ("{{ unix_time }}/{{ unix_time_millis }}", "1795404202/1795404202752"),
            ("{{ timestamp \"2006-01-02T15:04:05Z\" }}", "2026-11-23T03:23:22Z"),
            ("{{ timestamp \"Mon Jan _2 3:04PM 06\" }}", "Mon Nov 23 3:23AM 26"),
            ("{{ base64 .RoleName }}", "UmVhZGVy"),
            ("{{ sha256 \"abc\" }}", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            ("{{ \"abcdefghijkl\" | truncate_sha256 10 }}", "ab3615b840"),
            ("{{ \"short\" | truncate_sha256 10 }}", "short"),
            ("{{ if (eq .Type \"STS\") }}s{{ else }}u{{ end }}", "s"),
            ("{{ if eq .Type \"x\" }}s{{ else if ne .Type \"STS\" }}t{{ else }}u{{ end }}", "u"),
            ("a {{- /* no spaces */ -}} b", "ab"),
            ("a  {{- .RoleName -}}  b", "aReaderb"),
            ("{{ printf \"%s-%d-%v%%\" .RoleName 7 (len .Type) }}", "Reader-7-3%"),
            ("{{ if and .Type (not \"\") }}x{{ end }}", "x"),
            ("{{ \"a\\\"b\" }}", "a\"b"),
        ] {
            assert_eq!(made(text, "token-app").unwrap(), name, "{text}");
        }
    }

    #[test]
    fn randomness_is_as_long_as_asked() {
        let name = made("{{ random 20 }}", "x").unwrap();
        assert!(name.len() == 20 && name.bytes().all(|b| b.is_ascii_alphanumeric()), "{name}");
        assert_ne!(
            made("{{ random 20 }}{{ random 20 }}", "x").unwrap()[..20],
            made("{{ random 20 }}{{ random 20 }}", "x").unwrap()[20..]
        );
        let uuid = made("{{ uuid }}", "x").unwrap();
        assert_eq!(uuid.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
    }

    #[test]
    fn the_defaults_of_the_reference_render() {
        let sts = "{{ if (eq .Type \"STS\") }}{{ printf \"vault-%s-%s\" (unix_time) (random 20) | truncate 32 }}{{ else }}\
            {{ printf \"vault-%s-%s-%s\" (printf \"%s-%s\" (.DisplayName) (.RoleName) | truncate 42) (unix_time) (random 20) | truncate 64 }}{{ end }}";
        let name = made(sts, "d").unwrap();
        assert!(name.starts_with("vault-1795404202-") && name.len() == 32, "{name}");
        let database = "{{ printf \"v-%s-%s-%s-%s\" (.DisplayName | truncate 8) (.RoleName | truncate 8) (random 20) (unix_time) | truncate 63 }}";
        let name = made(database, "token-application").unwrap();
        assert!(name.starts_with("v-token-ap-Reader-") && name.ends_with("-1795404202"), "{name}");
    }

    #[test]
    fn fields_are_values_and_never_templates() {
        assert_eq!(made("{{.DisplayName}}", "{{ random 3 }}'; DROP").unwrap(), "{{ random 3 }}'; DROP");
        assert_eq!(made("{{ printf .DisplayName }}", "100%").err().map(|e| e.kind()), Some(coffer_types::Kind::BadRequest));
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        assert_eq!(made("{{ .DisplayName | truncate 2 }}", "aü").unwrap(), "a");
        assert_eq!(made("{{ .DisplayName | truncate 3 }}", "aü").unwrap(), "aü");
        assert!(made("{{ .DisplayName | truncate_sha256 9 }}", "üüüüüü").unwrap().len() <= 9);
    }

    #[test]
    fn names_of_accounts_differ() {
        for text in ["{{ random 4 }}", "{{.RoleName}}-{{ uuid }}", "x{{ unix_time }}", "{{ timestamp \"0102150405\" }}"] {
            assert!(Template::parse_distinct(text, FIELDS).is_ok(), "{text}");
        }
        for text in [
            "admin",
            "{{.DisplayName}}-{{.RoleName}}",
            "{{ if eq .Type \"x\" }}{{ random 3 }}{{ else }}admin{{ end }}",
            "{{ random 4 | truncate 4 | sha256 | replace \"a\" \"b\" | len }}",
        ] {
            assert!(Template::parse_distinct(text, FIELDS).is_err(), "{text}");
        }
    }

    #[test]
    fn refuses_when_written() {
        for text in [
            "{{",
            "{{ }}",
            "{{ . }}",
            "{{ .Nothing }}",
            "{{ nothing }}",
            "{{ if .Type }}x",
            "{{ end }}",
            "{{ else }}",
            "}}{{ \"a }}",
            "{{ $x := 1 }}",
            "{{ range .Type }}x{{ end }}",
            "{{ with .Type }}x{{ end }}",
            "{{ template \"x\" }}",
            "{{ define \"x\" }}{{ end }}",
            "{{ random }}",
            "{{ random 0 }}",
            "{{ random -1 }}",
            "{{ random 100000 }}",
            "{{ random \"a\" }}",
            "{{ random 1 2 }}",
            "{{ truncate 0 .Type }}",
            "{{ truncate .Type }}",
            "{{ truncate_sha256 8 .Type }}",
            "{{ replace \"a\" .Type }}",
            "{{ printf \"%s\" }}",
            "{{ printf \"%s\" 1 2 }}",
            "{{ printf \"%d\" \"a\" }}",
            "{{ printf \"%z\" 1 }}",
            "{{ printf 1 }}",
            "{{ printf \"%\" }}",
            "{{ .Type | \"x\" }}",
            "{{ .Type .Type }}",
            "{{ (.Type }}",
            "{{ .Type) }}",
            "{{ .Type | }}",
            "{{ | .Type }}",
            "{{ .Type.Name }}",
            "{{ 99999999999999999999 }}",
            "{{ eq .Type 1 }}",
            "{{ eq .Type }}",
            "{{ if .Type }}a{{ else }}b{{ else }}c{{ end }}",
            "",
            "{{ \"\" }}",
            "{{ \"a\nb\" }}",
            "{{ '\u{e4}' }}",
            "{{/* a }}",
        ] {
            assert!(made(text, "x").is_err(), "{text}");
        }
        assert!(Template::parse(&"x".repeat(MAX_TEMPLATE + 1), FIELDS).is_err());
        assert!(Template::parse(&format!("{{{{ {}1{} }}}}", "(".repeat(2000), ")".repeat(2000)), FIELDS).is_err(), "deep");
        assert!(Template::parse(&"{{ if .Type }}".repeat(500), FIELDS).is_err());
        assert!(Template::parse(&"{{ random 500 }}".repeat(10), FIELDS).is_err(), "long");
    }
}
