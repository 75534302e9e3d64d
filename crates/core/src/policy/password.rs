//! Password policies: how long a generated password is and which characters it must have.

use std::fmt;

use coffer_crypto::Zeroizing;
use coffer_crypto::random::{Random, below};
use coffer_hcl::{Body, ParseError};
use coffer_types::Secret;

use super::parse::errors_occurred;

/// Shortest and longest password, in characters.
const LENGTHS: std::ops::RangeInclusive<u32> = 4..=100;

/// How often a password is drawn whole before one is put together.
const DRAWS: u32 = 1000;

/// A password policy: `length = 20` and `rule "charset" { charset = "abc" min-chars = 1 }`, repeated.
#[derive(Debug)]
pub struct PasswordPolicy {
    length: u32,
    rules: Vec<Charset>,
    /// All characters, each once, in order.
    all: Vec<char>,
}

#[derive(Debug)]
struct Charset {
    chars: Vec<char>,
    min: u32,
}

/// Why a text is no password policy, in the words in which the API answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordPolicyError(String);

impl fmt::Display for PasswordPolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PasswordPolicyError {}

impl PasswordPolicyError {
    fn new(what: &str) -> Self {
        Self(errors_occurred(&[what]))
    }

    fn invalid(what: impl fmt::Display) -> Self {
        Self::new(&format!("invalid password policy: {what}"))
    }
}

impl PasswordPolicy {
    /// Reads a policy in HCL or JSON.
    ///
    /// # Errors
    /// A text that does not parse, unknown keys and rules, no characters to choose from or unprintable ones, a length outside 4 to 100 or
    /// below what the rules need together.
    pub fn parse(text: &str) -> Result<Self, PasswordPolicyError> {
        if text.is_empty() {
            return Err(PasswordPolicyError::new("missing policy"));
        }
        let document =
            coffer_hcl::parse(text).map_err(|error| PasswordPolicyError::invalid(format!("unable to decode: {error}")))?;
        let body = &document.body;
        check_keys(body, &["length", "rule"])?;
        let length = whole_number(body, "length", "failed to decode configuration")?.unwrap_or(0);
        let blocks =
            body.labelled("rule").map_err(|error| PasswordPolicyError::invalid(format!("unable to parse rules: {error}")))?;
        let mut rules = Vec::new();
        for block in blocks {
            let kind = &block.label.name;
            if kind != "charset" {
                let what = format!("unable to parse rules: unable to parse rule {kind}: unrecognized rule type {kind}");
                return Err(PasswordPolicyError::invalid(what));
            }
            rules.push(Charset::parse(block.body)?);
        }
        Self::checked(length, rules)
    }

    fn checked(length: i64, rules: Vec<Charset>) -> Result<Self, PasswordPolicyError> {
        let mut all: Vec<char> = rules.iter().flat_map(|rule| rule.chars.iter().copied()).collect();
        all.sort_unstable();
        all.dedup();
        let needed: i64 = rules.iter().map(|rule| i64::from(rule.min)).sum();
        let mut wrong = Vec::new();
        if length <= 0 {
            wrong.push("length must be > 0".to_owned());
        } else if length < needed {
            wrong.push(format!("specified rules require at least {needed} characters but {length} is specified"));
        }
        if all.is_empty() {
            wrong.push("no charset specified".to_owned());
        } else if !all.iter().all(|c| is_printable(*c)) {
            wrong.push("non-printable character in charset".to_owned());
        }
        if rules.iter().any(|rule| rule.min > 0 && rule.chars.is_empty()) {
            wrong.push("a rule without characters can't be met".to_owned());
        }
        if !wrong.is_empty() {
            return Err(PasswordPolicyError::invalid(errors_occurred(&wrong)));
        }
        match u32::try_from(length) {
            Ok(length) if LENGTHS.contains(&length) => Ok(Self { length, rules, all }),
            _ => Err(PasswordPolicyError::new("passwords must be between 4 and 100 characters")),
        }
    }

    /// A password.
    ///
    /// Whole passwords are drawn evenly from all characters until one meets the rules, so that each that meets them is as likely as any
    /// other. Rules that hardly any meets by chance (after a thousand draws) are met by drawing what each asks for, then the rest,
    /// and shuffling.
    pub fn generate(&self, random: &dyn Random) -> Secret<String> {
        let mut candidate = Zeroizing::new(vec![' '; self.length as usize]);
        for _ in 0..DRAWS {
            for c in candidate.iter_mut() {
                *c = pick(random, &self.all);
            }
            if self.rules.iter().all(|rule| rule.is_met(&candidate)) {
                return whole(&candidate);
            }
        }
        let wanted = self.rules.iter().flat_map(|rule| std::iter::repeat_n(&rule.chars, rule.min as usize));
        let wanted = wanted.chain(std::iter::repeat(&self.all));
        for (c, from) in candidate.iter_mut().zip(wanted) {
            *c = pick(random, from);
        }
        for last in (1..self.length).rev() {
            candidate.swap(last as usize, below(random, last + 1) as usize);
        }
        whole(&candidate)
    }
}

impl Charset {
    fn parse(body: &Body) -> Result<Self, PasswordPolicyError> {
        check_keys(body, &["charset", "min-chars"])?;
        let context = "unable to parse rules: unable to parse rule charset: failed to parse charset restriction";
        let mut chars: Vec<char> = match body.get("charset") {
            None => Vec::new(),
            Some(item) => match item.value.as_str() {
                Some(text) => text.chars().collect(),
                None => {
                    let what = format!("charset must be a string, not a {}", item.value.type_name());
                    return Err(PasswordPolicyError::invalid(format!("{context}: {}", ParseError::new(item.value.pos, what))));
                }
            },
        };
        chars.sort_unstable();
        chars.dedup();
        let min = whole_number(body, "min-chars", context)?.unwrap_or(0).max(0);
        Ok(Self { chars, min: u32::try_from(min).unwrap_or(u32::MAX) })
    }

    fn is_met(&self, password: &[char]) -> bool {
        let has = password.iter().filter(|c| self.chars.binary_search(c).is_ok()).count();
        has >= self.min as usize
    }
}

/// The text, in one allocation, so that no part of it stays behind in freed memory.
fn whole(chars: &[char]) -> Secret<String> {
    let mut text = String::with_capacity(chars.len() * 4);
    text.extend(chars);
    Secret::new(text)
}

fn pick(random: &dyn Random, from: &[char]) -> char {
    let count = u32::try_from(from.len()).unwrap_or(u32::MAX); // there are fewer characters in Unicode
    from[below(random, count) as usize]
}

fn check_keys(body: &Body, valid: &[&str]) -> Result<(), PasswordPolicyError> {
    match body.items.iter().find(|item| !valid.contains(&item.name())) {
        None => Ok(()),
        Some(item) => Err(PasswordPolicyError::invalid(format!("invalid key {:?} on line {}", item.name(), item.pos().line))),
    }
}

fn whole_number(body: &Body, name: &str, context: &str) -> Result<Option<i64>, PasswordPolicyError> {
    let Some(item) = body.get(name) else { return Ok(None) };
    item.value.as_i64().map(Some).ok_or_else(|| {
        let what = format!("{name} must be a whole number, not a {}", item.value.type_name());
        PasswordPolicyError::invalid(format!("{context}: {}", ParseError::new(item.value.pos, what)))
    })
}

/// Letters, digits, punctuation, symbols and the plain space.
fn is_printable(c: char) -> bool {
    c == ' '
        || !c.is_control() && !c.is_whitespace() && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_crypto::random::SeededRandom;

    fn generate(text: &str, seed: u64) -> String {
        let policy = PasswordPolicy::parse(text).expect(text);
        policy.generate(&SeededRandom::for_tests_only(seed)).expose().clone()
    }

    #[test]
    fn passwords_meet_their_rules() {
        let text = "length = 20\nrule \"charset\" { charset = \"abcdef\" min-chars = 3 }\nrule \"charset\" { charset = \"019ü\" min-chars = 9 }
            rule \"charset\" { charset = \"-\" }";
        for seed in 0..200 {
            let password = generate(text, seed);
            assert_eq!(password.chars().count(), 20);
            assert!(password.chars().filter(|c| "abcdef".contains(*c)).count() >= 3, "{password}");
            assert!(password.chars().filter(|c| "019ü".contains(*c)).count() >= 9, "{password}");
            assert!(password.chars().all(|c| "abcdef019ü-".contains(c)), "{password}");
        }
        assert_ne!(generate(text, 1), generate(text, 2));
    }

    #[test]
    fn rules_that_chance_hardly_meets_are_met() {
        let letters: String = ('!'..='~').filter(|c| *c != '0').collect();
        let letters = letters.replace(['\\', '"', '$'], "");
        let text = format!(
            "length = 30\nrule \"charset\" {{ charset = \"0\" min-chars = 29 }}\nrule \"charset\" {{ charset = \"{letters}\" }}"
        );
        let places: std::collections::BTreeSet<_> = (0..100).map(|seed| generate(&text, seed).find(|c| c != '0')).collect();
        assert!(places.len() > 15, "the odd one out stands anywhere: {places:?}");
    }

    #[test]
    fn every_password_is_as_likely_as_any_other() {
        // Of the 16 texts of four characters, 15 have at least one b.
        let policy =
            PasswordPolicy::parse("length=4\nrule \"charset\" {charset=\"ab\"}\nrule \"charset\" {charset=\"b\" min-chars=1}")
                .expect("reads");
        let random = SeededRandom::for_tests_only(7);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..15_000 {
            *counts.entry(policy.generate(&random).expose().clone()).or_insert(0u32) += 1;
        }
        assert_eq!(counts.len(), 15);
        // A thousand of each expected; six standard deviations are about 190.
        assert!(counts.values().all(|count| (810..1190).contains(count)), "{counts:?}");
    }

    #[test]
    fn forms() {
        for text in [
            "length=4\nrule \"charset\" { charset=\"abc\" }",
            "{\"length\":20,\"rule\":{\"charset\":{\"charset\":\"abc\"}}}",
            "{\"length\":20,\"rule\":[{\"charset\":{\"charset\":\"abc\",\"min-chars\":2}}]}",
            "length=20 rule \"charset\" {charset=\"aab\", min-chars=-1}",
        ] {
            assert!(PasswordPolicy::parse(text).is_ok(), "{text}");
        }
    }

    /// Word for word what the reference answers.
    #[test]
    fn mistakes() {
        let invalid = |what: &str| format!("1 error occurred:\n\t* invalid password policy: {what}\n\n");
        let rules = "rule \"charset\" {charset=\"abc\"}";
        for (text, want) in [
            ("length=1\n".to_owned(), invalid("1 error occurred:\n\t* no charset specified\n\n")),
            (
                format!("length=3\n{rules}"),
                "1 error occurred:\n\t* passwords must be between 4 and 100 characters\n\n".to_owned(),
            ),
            (
                format!("length=101\n{rules}"),
                "1 error occurred:\n\t* passwords must be between 4 and 100 characters\n\n".to_owned(),
            ),
            (rules.to_owned(), invalid("1 error occurred:\n\t* length must be > 0\n\n")),
            (format!("length=-1\n{rules}"), invalid("1 error occurred:\n\t* length must be > 0\n\n")),
            ("length=0".to_owned(), invalid("2 errors occurred:\n\t* length must be > 0\n\t* no charset specified\n\n")),
            (
                "length=20\nrule \"charset\" {charset=\"abc\" min-chars=11}\nrule \"charset\" {charset=\"def\" min-chars=11}"
                    .to_owned(),
                invalid("1 error occurred:\n\t* specified rules require at least 22 characters but 20 is specified\n\n"),
            ),
            (
                "length=20\nrule \"charset\" {charset=\"a\\nb\"}".to_owned(),
                invalid("1 error occurred:\n\t* non-printable character in charset\n\n"),
            ),
            (
                "length=20\nrule \"foo\" {charset=\"abc\"}".to_owned(),
                invalid("unable to parse rules: unable to parse rule foo: unrecognized rule type foo"),
            ),
            (String::new(), "1 error occurred:\n\t* missing policy\n\n".to_owned()),
        ] {
            assert_eq!(PasswordPolicy::parse(&text).expect_err(&text).to_string(), want, "{text}");
        }
    }

    /// Refused, in words of our own; the reference takes some of these and drops what it does not know.
    #[test]
    fn more_mistakes() {
        let rules = "rule \"charset\" {charset=\"abc\"}";
        for text in [
            "length=",
            "length=20\nrule {charset=\"abc\"}",
            "length=20\nrule \"charset\" {charset=[\"a\"]}",
            "length=20\nrule \"charset\" {charset=\"abc\" min_chars=1}",
            "length=20\nrule \"charset\" {charset=\"abc\" min-chars=\"2\"}",
            "length=20\nrule \"charset\" {charset=\"abc\"}\nrule \"charset\" {min-chars=1}",
            &format!("length=\"20\"\n{rules}"),
            &format!("length=5.5\n{rules}"),
            &format!("length=20\nlength=30\n{rules}"),
            &format!("length=20\nfoo=1\n{rules}"),
            &format!("length=99999999999\n{rules}"),
        ] {
            assert!(PasswordPolicy::parse(text).is_err(), "{text}");
        }
    }
}
