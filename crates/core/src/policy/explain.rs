//! Why the decider answers as it does, in words.
//!
//! The decision is the decider's own, and so is each statement whether a rule matches: a rule that lost is put to the same index,
//! alone. Only the wording is made here.

use std::sync::Arc;

use coffer_types::{Json, Object, Operation};

use super::capability::{Capabilities, Capability};
use super::compile::{Compiled, Rule, Source};
use super::decide::{Ask, Match, Reason, Verdict};
use super::pattern::Pattern;

/// A decision and how it came about.
#[derive(Debug)]
pub struct Explanation {
    pub allowed: bool,
    /// One sentence.
    pub because: String,
    /// The path of the rule that decided, as it applies to this principal.
    pub rule: Option<String>,
    /// The blocks that this rule was made of.
    pub decided_by: Vec<Source>,
    pub granting: Option<Arc<[Box<str>]>>,
    /// The other blocks: those that match and are less specific first.
    pub others: Vec<OtherRule>,
    /// How many more there are.
    pub left_out: usize,
    /// What the author or the caller may have meant.
    pub hints: Vec<String>,
}

/// A block that did not decide.
#[derive(Debug)]
pub struct OtherRule {
    pub source: Source,
    pub matches: bool,
    pub why: String,
}

/// Most blocks that an explanation lists.
const MOST_OTHERS: usize = 200;

/// What follows the mount in the paths of KV version 2.
const KV2_VERBS: [&str; 7] = ["data", "metadata", "delete", "undelete", "destroy", "subkeys", "config"];

impl Compiled {
    /// Decides as [`Compiled::decide`] does and says why. `kv2_mounts` are the paths of mounts with KV version 2 (`secret/`), for hints.
    pub fn explain(&self, ask: &Ask<'_>, kv2_mounts: &[&str]) -> Explanation {
        let verdict = self.decide(ask);
        let mut others: Vec<OtherRule> = self
            .rules()
            .iter()
            .filter(|rule| !verdict.rule.is_some_and(|winner| std::ptr::eq(winner, *rule)))
            .flat_map(|rule| rule.sources.iter().map(|source| other(source, rule, &verdict, ask)))
            .chain(self.skipped().iter().map(|skipped| OtherRule {
                source: skipped.source.clone(),
                matches: false,
                why: skipped.why.clone(),
            }))
            .collect();
        others.sort_by_key(|other| !other.matches);
        let left_out = others.len().saturating_sub(MOST_OTHERS);
        others.truncate(MOST_OTHERS);
        Explanation {
            allowed: verdict.allowed,
            because: because(&verdict, ask),
            rule: verdict.rule.map(|rule| rule.pattern.to_string()),
            decided_by: verdict.rule.map(|rule| rule.sources.clone()).unwrap_or_default(),
            granting: verdict.granting().cloned(),
            others,
            left_out,
            hints: self.hints(&verdict, ask, kv2_mounts),
        }
    }

    fn hints(&self, verdict: &Verdict<'_>, ask: &Ask<'_>, kv2_mounts: &[&str]) -> Vec<String> {
        if verdict.allowed {
            return Vec::new();
        }
        let mut hints = Vec::new();
        let mount = kv2_mounts.iter().filter(|mount| ask.path.starts_with(**mount)).max_by_key(|mount| mount.len());
        if let Some(mount) = mount {
            let below = &ask.path[mount.len()..];
            let verb = below.split('/').next().unwrap_or_default();
            if !below.is_empty() && !KV2_VERBS.contains(&verb) {
                let verb = if matches!(ask.operation, Operation::List | Operation::Scan) { "metadata" } else { "data" };
                hints.push(format!(
                    "{mount} is KV version 2: the path of this operation there is {mount}{verb}/{below}, in calls and in policies"
                ));
            }
            for rule in self.rules() {
                if let Some(hint) = lacks_verb(rule, mount, verb, ask) {
                    hints.push(hint);
                }
            }
        }
        if let Reason::NoCapability(needed @ (Capability::Create | Capability::Update)) = verdict.reason {
            let partner = if needed == Capability::Create { Capability::Update } else { Capability::Create };
            if verdict.rule.is_some_and(|rule| rule.capabilities.has(partner)) {
                hints.push(format!(
                    "whether a write is create or update depends on what is there already: the rule grants {} alone",
                    partner.as_str()
                ));
            }
        }
        hints
    }
}

/// Whether the rule would match if its author had written `data/` (or what the call has there) after the mount.
fn lacks_verb(rule: &Rule, mount: &str, verb: &str, ask: &Ask<'_>) -> Option<String> {
    if !KV2_VERBS.contains(&verb) {
        return None;
    }
    let written = rule.pattern.to_string();
    let below = written.strip_prefix(mount)?;
    if KV2_VERBS.contains(&below.split('/').next().unwrap_or_default()) {
        return None;
    }
    let meant = format!("{mount}{verb}/{below}");
    let pattern = Pattern::parse(&meant).ok()?;
    let needed = Capability::needed_by(ask.operation)?;
    let would_help = rule.capabilities.has(needed) && !rule.capabilities.denies() && how_it_matches(&pattern, ask).is_some();
    let policy = &rule.sources.first()?.policy;
    would_help.then(|| {
        format!("the rule on {written:?} of policy {policy:?} lacks {verb}/: on KV version 2 it would have to be {meant:?}")
    })
}

/// Puts one pattern to the index that the decider asks.
fn how_it_matches(pattern: &Pattern, ask: &Ask<'_>) -> Option<Match> {
    let alone = Rule {
        pattern: pattern.clone(),
        capabilities: Capabilities::NONE,
        sources: Vec::new(),
        constraints: Default::default(),
        granting: Vec::new(),
    };
    Compiled::from_rules(vec![alone]).decide(ask).matched
}

fn other(source: &Source, rule: &Rule, verdict: &Verdict<'_>, ask: &Ask<'_>) -> OtherRule {
    let matched = how_it_matches(&rule.pattern, ask);
    let why = match (matched, verdict.rule, verdict.matched) {
        (Some(matched), Some(winner), Some(won)) => {
            let how = if matched == won {
                winner.pattern.compare(&rule.pattern).1
            } else if matches!(won, Match::Exact | Match::ExactWithoutSlash) {
                if matches!(matched, Match::ExactWithoutSlash) { "it has the trailing slash too" } else { "it is the exact path" }
            } else {
                "it matches the path with its trailing slash"
            };
            format!("it matches, but {:?} is more specific: {how}", winner.pattern.to_string())
        }
        // Without a winner nothing can have matched, unless all is refused or granted without a look at the rules.
        (Some(_), ..) => "it matches, but was not asked".to_owned(),
        (None, ..) => format!("it does not match: {}", mismatch(&rule.pattern, ask.path)),
    };
    OtherRule { source: source.clone(), matches: matched.is_some(), why }
}

fn because(verdict: &Verdict<'_>, ask: &Ask<'_>) -> String {
    let operation = ask.operation;
    let rule = verdict.rule.map(|rule| format!("{:?}", rule.pattern.to_string())).unwrap_or_default();
    match &verdict.reason {
        Reason::Root => "the root policy grants everything".to_owned(),
        Reason::Help => "help is for everyone".to_owned(),
        Reason::Granted => format!("the rule on {rule} grants {operation}"),
        Reason::NoRule => "no rule matches the path".to_owned(),
        Reason::PathTooLong => "the path is longer than any call may have".to_owned(),
        Reason::Denied => format!("the rule on {rule} denies everything, which overrides whatever else is granted on that path"),
        Reason::NoCapability(needed) => match verdict.rule.map(|rule| rule.capabilities) {
            Some(capabilities) if !capabilities.is_empty() => {
                let words: Vec<&str> = capabilities.iter().map(Capability::as_str).collect();
                format!("the rule on {rule} grants {}, not {}", words.join(", "), needed.as_str())
            }
            _ => format!("the rule on {rule} grants nothing"),
        },
        Reason::NoSudo => format!("the path needs sudo besides, which the rule on {rule} does not grant"),
        Reason::WrapTtl { min, max } => match (min.is_zero(), max.is_zero()) {
            (false, false) => format!("the rule on {rule} asks for response wrapping with a TTL from {min} to {max}"),
            (false, true) => format!("the rule on {rule} asks for response wrapping with a TTL of at least {min}"),
            _ => format!("the rule on {rule} asks for response wrapping with a TTL of at most {max}"),
        },
        Reason::MissingParameter(name) => format!("the rule on {rule} requires the parameter {name:?}"),
        Reason::DeniedParameter(name) => format!("the rule on {rule} denies the parameter {name:?} or its value"),
        Reason::NotAllowedParameter(name) => format!("the rule on {rule} does not allow the parameter {name:?} or its value"),
        Reason::PageLimit(most) => format!("the rule on {rule} allows pages of at most {most} keys"),
    }
}

/// Where path and pattern part.
fn mismatch(pattern: &Pattern, path: &str) -> String {
    if pattern.stem().eq_ignore_ascii_case(path) && pattern.stem() != path {
        return "it differs in upper and lower case".to_owned();
    }
    let mut segments = path.split('/');
    let parts: Vec<&str> = pattern.stem().split('/').collect();
    for (i, part) in parts.iter().enumerate() {
        let number = i + 1;
        let globs = pattern.ends_in_glob() && number == parts.len();
        match segments.next() {
            None if part.is_empty() && !globs => return "it names the path with a trailing slash".to_owned(),
            None => return "the path ends before it does".to_owned(),
            Some(_) if *part == "+" && matches!(pattern, Pattern::Segments(_)) => {}
            Some(segment) if *part == segment || globs && segment.starts_with(part) => {}
            Some("") => return "the path has a trailing slash, the rule goes on".to_owned(),
            Some(_) if part.is_empty() => return "the rule names the folder with its trailing slash only".to_owned(),
            Some(segment) => {
                let star = if globs { "*" } else { "" };
                return format!("segment {number} of the path is {segment:?}, the rule says \"{part}{star}\"");
            }
        }
    }
    match segments.next() {
        Some("") => "the path has a trailing slash".to_owned(),
        _ => "the path goes on below it, and the rule does not end in *".to_owned(),
    }
}

impl Explanation {
    /// As `sys/policies/explain` answers it.
    pub fn to_json(&self) -> Object {
        let source = |source: &Source| {
            Object::new()
                .with("policy", &*source.policy)
                .with("path", &*source.written)
                .with("line", source.pos.line)
                .with("capabilities", source.capabilities.iter().map(Capability::as_str).collect::<Vec<_>>())
        };
        let others =
            self.others.iter().map(|other| source(&other.source).with("matches", other.matches).with("why", other.why.as_str()));
        let granting = self.granting.iter().flat_map(|names| names.iter()).map(|name| Json::from(&**name));
        Object::new()
            .with("allowed", self.allowed)
            .with("because", self.because.as_str())
            .with("rule", self.rule.as_deref())
            .with("decided_by", self.decided_by.iter().map(source).collect::<Vec<_>>())
            .with("granting_policies", granting.collect::<Vec<_>>())
            .with("others", others.collect::<Vec<_>>())
            .with("others_left_out", self.left_out)
            .with("hints", self.hints.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{NoParameters, Policy, compile};
    use coffer_types::Timestamp;

    fn explain(texts: &[&str], operation: Operation, path: &str) -> Explanation {
        let policies: Vec<Arc<Policy>> = ["one", "two", "three"]
            .iter()
            .zip(texts)
            .map(|(name, text)| Arc::new(Policy::parse(name, text).expect(text)))
            .collect();
        let compiled = compile(&policies, &(), Timestamp::NEVER).expect("compiles");
        compiled.explain(&Ask { operation, path, parameters: &NoParameters, wrap_ttl: None, sudo: false }, &["secret/"])
    }

    #[test]
    fn names_the_rule_that_decided_and_why_others_did_not() {
        let explanation = explain(
            &[
                "path \"secret/*\" { capabilities = [\"read\"] }\npath \"secret/data/+\" { capabilities = [\"read\"] }",
                "path \"secret/data/app\" { capabilities = [\"deny\"] }\npath \"secret/data/b\" { policy = \"read\" }",
            ],
            Operation::Read,
            "secret/data/app",
        );
        assert!(!explanation.allowed);
        assert_eq!(explanation.rule.as_deref(), Some("secret/data/app"));
        assert_eq!((&*explanation.decided_by[0].policy, explanation.decided_by[0].pos.line), ("two", 1));
        assert!(explanation.because.starts_with("the rule on \"secret/data/app\" denies everything"));
        let others: Vec<(&str, bool, &str)> =
            explanation.others.iter().map(|other| (&*other.source.written, other.matches, other.why.as_str())).collect();
        assert_eq!(
            others,
            [
                ("secret/*", true, "it matches, but \"secret/data/app\" is more specific: it is the exact path"),
                ("secret/data/+", true, "it matches, but \"secret/data/app\" is more specific: it is the exact path"),
                ("secret/data/b", false, "it does not match: segment 3 of the path is \"app\", the rule says \"b\""),
            ]
        );
    }

    #[test]
    fn says_when_a_kv2_path_lacks_data() {
        let text = "path \"secret/app/*\" { capabilities = [\"read\"] }";
        let explanation = explain(&[text], Operation::Read, "secret/data/app/x");
        assert_eq!(
            explanation.hints,
            [
                "the rule on \"secret/app/*\" of policy \"one\" lacks data/: on KV version 2 it would have to be \"secret/data/app/*\""
            ]
        );
        let explanation = explain(&["path \"secret/data/app/*\" { capabilities = [\"read\"] }"], Operation::Read, "secret/app/x");
        assert_eq!(
            explanation.hints,
            ["secret/ is KV version 2: the path of this operation there is secret/data/app/x, in calls and in policies"]
        );
        let explanation =
            explain(&["path \"secret/app/*\" { capabilities = [\"list\"] }"], Operation::List, "secret/metadata/app/");
        assert!(explanation.hints[0].contains("\"secret/metadata/app/*\""), "{:?}", explanation.hints);
        // No hint where it would not help, where all is well, and on other mounts.
        assert!(explain(&[text], Operation::Delete, "secret/data/app/x").hints.is_empty());
        assert!(explain(&["path \"*\" { policy = \"read\" }"], Operation::Read, "secret/data/app").hints.is_empty());
        assert!(explain(&["path \"kv/app\" { policy = \"read\" }"], Operation::Read, "kv/data/app").hints.is_empty());
    }

    #[test]
    fn says_what_is_wrong_with_a_call() {
        let because = |fields: &str, operation| explain(&[&format!("path \"a\" {{ {fields} }}")], operation, "a").because;
        assert_eq!(because("capabilities = [\"read\"]", Operation::Delete), "the rule on \"a\" grants read, not delete");
        assert_eq!(because("", Operation::Delete), "the rule on \"a\" grants nothing");
        let fields = "capabilities = [\"update\"] required_parameters = [\"why\"]";
        assert_eq!(because(fields, Operation::Update), "the rule on \"a\" requires the parameter \"why\"");
        let fields = "capabilities = [\"read\"] min_wrapping_ttl = \"1m\" max_wrapping_ttl = \"1h\"";
        assert_eq!(
            because(fields, Operation::Read),
            "the rule on \"a\" asks for response wrapping with a TTL from 1m0s to 1h0m0s"
        );
        assert_eq!(explain(&[], Operation::Read, "a").because, "no rule matches the path");
        let hints = explain(&["path \"a\" { capabilities = [\"update\"] }"], Operation::Create, "a").hints;
        assert_eq!(hints.len(), 1);
    }

    #[test]
    fn says_where_path_and_rule_part() {
        for (pattern, path, want) in [
            ("A/b", "a/b", "it differs in upper and lower case"),
            ("a/b", "a", "the path ends before it does"),
            ("a/", "a", "it names the path with a trailing slash"),
            ("a", "a/", "the path has a trailing slash"),
            ("a", "a/b", "the path goes on below it, and the rule does not end in *"),
            ("a/+/c", "a/x/d", "segment 3 of the path is \"d\", the rule says \"c\""),
            ("a/b*", "a/c", "segment 2 of the path is \"c\", the rule says \"b*\""),
            ("a/", "a/b", "the rule names the folder with its trailing slash only"),
        ] {
            assert_eq!(mismatch(&Pattern::parse(pattern).expect("good"), path), want, "{pattern} {path}");
        }
    }

    #[test]
    fn prints_as_json() {
        let json = explain(&["path \"a\" { policy = \"read\" }"], Operation::Read, "a").to_json();
        let text = String::from_utf8(Json::Object(json).to_bytes().to_vec()).expect("text");
        assert_eq!(
            text,
            r#"{"allowed":true,"because":"the rule on \"a\" grants read","rule":"a","decided_by":[{"policy":"one","path":"a","line":1,"capabilities":["list","read"]}],"granting_policies":["one"],"others":[],"others_left_out":0,"hints":[]}"#
        );
    }
}
