//! A model of the documented rules, written to be read and not to be fast, and the decider against it.
//!
//! The rules are those of Vault's page on policies, "Policy syntax": the most specific path wins; of two that match, lower priority has the
//! one whose first wildcard stands earlier, that ends in `*`, that has more `+`, that is shorter, that is smaller in the alphabet. A
//! `deny` in any policy on the winning path refuses. A list of `a/` is also a list of `a`, where no rule speaks of `a/`.

use std::sync::Arc;

use coffer_crypto::random::{Random, SeededRandom, below};
use coffer_types::{Operation, Timestamp};

use super::{Ask, Capability, Compiled, NoParameters, Policy, compile};

const CASES: u32 = 100_000;

struct Model {
    /// Policy, path, words.
    blocks: Vec<(usize, String, Vec<&'static str>)>,
}

impl Model {
    /// Whether the operation is granted, and by which policies.
    fn decide(&self, operation: Operation, path: &str) -> (bool, Vec<usize>) {
        let Some(winner) = self.winner(operation, path) else { return (false, Vec::new()) };
        let on_path: Vec<_> = self.blocks.iter().filter(|(_, written, _)| *written == winner).collect();
        if on_path.iter().any(|(_, _, words)| words.contains(&"deny")) {
            return (false, Vec::new());
        }
        let mut granting: Vec<usize> =
            on_path.iter().filter(|(_, _, words)| words.contains(&operation.as_str())).map(|(policy, _, _)| *policy).collect();
        granting.dedup();
        (!granting.is_empty(), granting)
    }

    fn winner(&self, operation: Operation, path: &str) -> Option<String> {
        let lists = matches!(operation, Operation::List | Operation::Scan);
        let mut paths = vec![path];
        paths.extend(path.strip_suffix('/').filter(|_| lists));
        let is_exact = |written: &str| !written.split('/').any(|segment| segment == "+") && !written.ends_with('*');
        for path in &paths {
            if let Some((_, written, _)) = self.blocks.iter().find(|(_, written, _)| is_exact(written) && written == path) {
                return Some(written.clone());
            }
        }
        for path in &paths {
            let matching = self.blocks.iter().map(|(_, written, _)| written).filter(|w| !is_exact(w) && matches(w, path));
            if let Some(best) = matching.max_by_key(|written| priority(written)) {
                return Some(best.clone());
            }
        }
        None
    }
}

fn matches(written: &str, path: &str) -> bool {
    let (stem, glob) = match written.strip_suffix('*') {
        Some(stem) => (stem, true),
        None => (written, false),
    };
    let (want, have): (Vec<&str>, Vec<&str>) = (stem.split('/').collect(), path.split('/').collect());
    if have.len() < want.len() || !glob && have.len() != want.len() {
        return false;
    }
    want.iter().enumerate().all(|(i, part)| {
        let last_of_glob = glob && i + 1 == want.len();
        *part == "+" || *part == have[i] || last_of_glob && have[i].starts_with(part)
    })
}

fn priority(written: &str) -> (usize, bool, isize, usize, String) {
    let stem = written.trim_end_matches('*');
    let first = written.find(['+', '*']).unwrap_or(written.len());
    let plus = stem.split('/').filter(|segment| *segment == "+").count();
    (first, !written.ends_with('*'), -(plus as isize), stem.len(), stem.to_owned())
}

/// A random path of few words, so that rules meet.
fn path(random: &dyn Random, wild: bool) -> String {
    let words: &[&str] = if wild { &["a", "b", "ab", "+", "+"] } else { &["a", "b", "ab", "abc"] };
    let segments: Vec<&str> = (0..1 + below(random, 4)).map(|_| words[below(random, words.len() as u32) as usize]).collect();
    let mut path = segments.join("/");
    match below(random, 4) {
        0 => path.push('/'),
        1 if wild && !path.ends_with('+') => path.push('*'),
        2 if wild => path.push_str("/*"),
        _ => {}
    }
    path
}

fn policies(random: &dyn Random) -> (Vec<Arc<Policy>>, Model) {
    let words = ["create", "read", "update", "patch", "delete", "list", "scan", "sudo", "list", "read"];
    let mut model = Model { blocks: Vec::new() };
    let mut all = Vec::new();
    for number in 0..1 + below(random, 3) as usize {
        let mut text = String::new();
        for _ in 0..below(random, 6) {
            let path = path(random, true);
            let mut chosen: Vec<&'static str> = words.into_iter().filter(|_| below(random, 3) == 0).collect();
            if below(random, 8) == 0 {
                chosen.push("deny");
            }
            text.push_str(&format!("path {path:?} {{ capabilities = {chosen:?} }}\n"));
            model.blocks.push((number, path, chosen));
        }
        all.push(Arc::new(Policy::parse(&number.to_string(), &text).expect(&text)));
    }
    (all, model)
}

fn describe(model: &Model, operation: Operation, path: &str) -> String {
    let blocks: Vec<String> = model.blocks.iter().map(|(p, w, c)| format!("{p}: {w:?} {c:?}")).collect();
    format!("{operation} on {path:?} with\n{}", blocks.join("\n"))
}

fn ask(operation: Operation, path: &str) -> Ask<'_> {
    Ask { operation, path, parameters: &NoParameters, wrap_ttl: None, sudo: false }
}

/// Runs `check` on 100,000 random questions.
fn for_random_cases(seed: u64, mut check: impl FnMut(&Compiled, &Model, Operation, &str)) {
    let random = SeededRandom::for_tests_only(seed);
    let operations = [Operation::List, Operation::List, Operation::Scan, Operation::Read, Operation::Update, Operation::Delete];
    let questions = 20;
    for _ in 0..CASES / questions {
        let (policies, model) = policies(&random);
        let compiled = compile(&policies, &(), Timestamp::NEVER).expect("no root among them");
        for _ in 0..questions {
            let operation = operations[below(&random, operations.len() as u32) as usize];
            check(&compiled, &model, operation, &path(&random, false));
        }
    }
}

#[test]
fn the_decider_agrees_with_the_model() {
    let (mut granted, mut refused) = (0, 0);
    for_random_cases(1, |compiled, model, operation, path| {
        let verdict = compiled.decide(&ask(operation, path));
        let granting: Vec<usize> =
            verdict.granting().iter().flat_map(|names| names.iter()).map(|name| name.parse().expect("a number")).collect();
        assert_eq!((verdict.allowed, granting), model.decide(operation, path), "{}", describe(model, operation, path));
        if verdict.allowed { granted += 1 } else { refused += 1 }
    });
    // The cases are worth something only if both answers are common.
    assert!(granted > CASES / 20 && refused > CASES / 20, "{granted} granted, {refused} refused");
}

#[test]
fn explain_agrees_with_the_decider() {
    for_random_cases(2, |compiled, model, operation, path| {
        let verdict = compiled.decide(&ask(operation, path));
        let explanation = compiled.explain(&ask(operation, path), &["a/"]);
        let context = || describe(model, operation, path);
        assert_eq!(explanation.allowed, verdict.allowed, "{}", context());
        assert_eq!(explanation.rule, verdict.rule.map(|rule| rule.pattern.to_string()), "{}", context());
        assert_eq!(explanation.granting.as_ref(), verdict.granting(), "{}", context());
        // What it says of the others holds: whoever matches lost to the winner, and without a winner nobody matches.
        for other in &explanation.others {
            let bare = path.strip_suffix('/').filter(|_| matches!(operation, Operation::List | Operation::Scan));
            let matches = [Some(path), bare].into_iter().flatten().any(|path| matches(&other.source.written, path));
            assert_eq!(other.matches, matches, "{:?} {}", other.source.written, context());
            assert!(!other.matches || explanation.rule.is_some(), "{}", context());
        }
        let listed = explanation.others.len() + explanation.decided_by.len();
        assert_eq!(listed, model.blocks.len(), "{}", context());
    });
}

#[test]
fn capabilities_agree_with_the_decider() {
    for_random_cases(3, |compiled, model, _, path| {
        let words = compiled.capabilities(path);
        assert!(words.is_sorted());
        for word in ["list", "scan"] {
            let operation = Operation::parse(word).expect("known");
            assert_eq!(words.contains(&word), model.decide(operation, path).0, "{}", describe(model, operation, path));
        }
        assert_eq!(words == ["deny"], !Capability::ALL.iter().any(|c| *c != Capability::Deny && words.contains(&c.as_str())));
    });
}

/// Where the route asks for it, `sudo` must stand in the same rule; alone it grants nothing.
#[test]
fn sudo_is_asked_besides() {
    let verdict = |words: &str, sudo| {
        let policy = Policy::parse("p", &format!("path \"a\" {{ capabilities = {words} }}\npath \"*\" {{ policy = \"sudo\" }}"))
            .expect(words);
        let compiled = compile(&[policy.into()], &(), Timestamp::NEVER).expect("compiles");
        let verdict = compiled.decide(&Ask { sudo, ..ask(Operation::Read, "a") });
        (verdict.allowed, verdict.granting().is_some())
    };
    assert_eq!(verdict("[\"read\", \"sudo\"]", true), (true, true));
    assert_eq!(verdict("[\"read\"]", true), (false, false));
    assert_eq!(verdict("[\"sudo\"]", true), (false, false));
    assert_eq!(verdict("[\"read\"]", false), (true, true));
}

/// A `deny` below is not passed by listing the folder above it (GHSA-xp3c-3jw3-4vcr).
#[test]
fn a_list_does_not_bypass_a_more_specific_deny() {
    for (rules, path, want) in [
        ("path \"a*\" { capabilities = [\"list\"] }\npath \"a/*\" { capabilities = [\"deny\"] }", "a/", false),
        ("path \"+\" { capabilities = [\"list\"] }\npath \"a/*\" { capabilities = [\"deny\"] }", "a/", false),
        ("path \"a\" { capabilities = [\"list\"] }\npath \"a/\" { capabilities = [\"deny\"] }", "a/", false),
        ("path \"a/*\" { capabilities = [\"list\"] }\npath \"a\" { capabilities = [\"deny\"] }", "a/", false),
        ("path \"a*\" { capabilities = [\"deny\"] }\npath \"a/*\" { capabilities = [\"list\"] }", "a/", true),
        ("path \"a\" { capabilities = [\"list\"] }", "a/", true),
        ("path \"a/\" { capabilities = [\"list\"] }", "a", false),
    ] {
        let policy = Arc::new(Policy::parse("p", rules).expect(rules));
        let compiled = compile(&[policy], &(), Timestamp::NEVER).expect("compiles");
        for operation in [Operation::List, Operation::Scan] {
            let rules = rules.replace("list", operation.as_str());
            let policy = Arc::new(Policy::parse("p", &rules).expect(&rules));
            let compiled = compile(&[policy], &(), Timestamp::NEVER).expect("compiles");
            assert_eq!(compiled.decide(&ask(operation, path)).allowed, want, "{rules}");
        }
        assert!(!compiled.decide(&ask(Operation::Read, path)).allowed);
    }
}
