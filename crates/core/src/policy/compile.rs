//! The policies of one principal, made ready to decide.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use coffer_hcl::Pos;
use coffer_types::Timestamp;

use super::capability::{Capabilities, Capability};
use super::index::Index;
use super::merge::merge;
use super::parse::{Constraints, PathRule, Place, Policy};
use super::pattern::Pattern;
use super::template::Subject;

/// A set of policies, compiled. It holds until [`Compiled::valid_until`] and as long as the policies and the identity stay the same.
#[derive(Debug)]
pub struct Compiled {
    /// What grants everything, if `root` is the policy.
    pub(crate) root: Option<Arc<[Box<str>]>>,
    /// Those with wildcards ascend from the least to the most specific.
    pub(crate) rules: Vec<Rule>,
    pub(crate) index: Index,
    skipped: Vec<Skipped>,
    valid_until: Option<Timestamp>,
}

/// What all policies of the set say together of one path.
#[derive(Debug)]
pub struct Rule {
    pub pattern: Pattern,
    pub capabilities: Capabilities,
    /// The blocks that it was made of.
    pub sources: Vec<Source>,
    pub(crate) constraints: Constraints,
    pub(crate) granting: Vec<(Capability, Arc<[Box<str>]>)>,
}

/// A `path` block of a policy.
#[derive(Clone, Debug)]
pub struct Source {
    pub policy: Box<str>,
    /// The path as it was written, templates included.
    pub written: Box<str>,
    pub pos: Pos,
    pub capabilities: Capabilities,
}

/// A block that takes no part, and why.
#[derive(Debug)]
pub struct Skipped {
    pub source: Source,
    pub why: String,
}

/// Why a set can't be compiled. Its principal then may do nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CompileError {
    RootAmongOthers,
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("other policies present along with root")
    }
}

impl std::error::Error for CompileError {}

/// Compiles a set of policies for one principal at one time.
///
/// A policy named `root` is the one that grants everything, whatever its text. `subject` fills identity templates; a block whose
/// template it can't fill, and one that has expired at `now`, takes no part.
///
/// # Errors
/// [`CompileError::RootAmongOthers`].
pub fn compile(policies: &[Arc<Policy>], subject: &dyn Subject, now: Timestamp) -> Result<Compiled, CompileError> {
    if policies.iter().any(|policy| &*policy.name == "root") {
        if policies.len() > 1 {
            return Err(CompileError::RootAmongOthers);
        }
        return Ok(Compiled { root: Some(["root".into()].into()), ..Compiled::from_rules(Vec::new()) });
    }
    let mut rules = Vec::new();
    let mut numbers = HashMap::new();
    let mut skipped = Vec::new();
    let mut valid_until: Option<Timestamp> = None;
    for policy in policies {
        for path in &policy.paths {
            match pattern(policy, path, subject, now) {
                Ok(pattern) => add(&mut rules, &mut numbers, policy, path, pattern),
                Err(why) => skipped.push(Skipped { source: Source::of(policy, path), why }),
            }
            if let Some(expires) = path.expires.filter(|expires| *expires > now) {
                valid_until = Some(valid_until.map_or(expires, |first| first.min(expires)));
            }
        }
    }
    Ok(Compiled { skipped, valid_until, ..Compiled::from_rules(rules) })
}

fn pattern(policy: &Policy, path: &PathRule, subject: &dyn Subject, now: Timestamp) -> Result<Pattern, String> {
    if path.expires.is_some_and(|expires| expires <= now) {
        return Err("it has expired".to_owned());
    }
    match &path.place {
        Place::Fixed(pattern) => Ok(pattern.clone()),
        Place::Templated(template) => {
            let (wildcards, slashes) = (policy.allow_wildcards_in_identity_templates, policy.allow_slashes_in_identity_templates);
            let filled = template.fill(subject, wildcards, slashes).map_err(|unfilled| unfilled.to_string())?;
            Pattern::parse(&filled).map_err(|bad| format!("filled, its path is no path of a rule: {bad}"))
        }
    }
}

fn add(rules: &mut Vec<Rule>, numbers: &mut HashMap<Pattern, usize>, policy: &Policy, path: &PathRule, pattern: Pattern) {
    let number = *numbers.entry(pattern.clone()).or_insert(rules.len());
    if number == rules.len() {
        rules.push(Rule {
            pattern,
            capabilities: path.capabilities,
            sources: vec![Source::of(policy, path)],
            constraints: path.constraints.clone(),
            granting: Vec::new(),
        });
        return;
    }
    let rule = &mut rules[number];
    rule.sources.push(Source::of(policy, path));
    let mut both = (rule.capabilities, std::mem::take(&mut rule.constraints));
    merge(&mut both, (path.capabilities, &path.constraints));
    (rule.capabilities, rule.constraints) = both;
}

impl Source {
    fn of(policy: &Policy, path: &PathRule) -> Self {
        let (policy, written) = (policy.name.clone(), path.written.clone());
        Self { policy, written, pos: path.pos, capabilities: path.capabilities }
    }
}

impl Rule {
    /// The policies that grant a capability on this path, in the order in which the principal has them.
    pub fn granting(&self, capability: Capability) -> Option<&Arc<[Box<str>]>> {
        self.granting.iter().find(|(granted, _)| *granted == capability).map(|(_, policies)| policies)
    }

    fn find_granting(&mut self) {
        let grants = |capability: Capability| {
            let mut names: Vec<Box<str>> = Vec::new();
            for source in self.sources.iter().filter(|source| source.capabilities.has(capability)) {
                if !names.contains(&source.policy) {
                    names.push(source.policy.clone());
                }
            }
            (capability, names.into())
        };
        self.granting = self.capabilities.iter().map(grants).collect();
    }
}

impl Compiled {
    pub(crate) fn from_rules(mut rules: Vec<Rule>) -> Self {
        rules.sort_by(|a, b| match (&a.pattern, &b.pattern) {
            (Pattern::Exact(a), Pattern::Exact(b)) => a.cmp(b),
            (Pattern::Exact(_), _) => Ordering::Less,
            (_, Pattern::Exact(_)) => Ordering::Greater,
            (a, b) => a.compare(b).0,
        });
        rules.iter_mut().for_each(Rule::find_granting);
        let index = Index::new(rules.iter().map(|rule| &rule.pattern));
        Self { root: None, rules, index, skipped: Vec::new(), valid_until: None }
    }

    /// Whether the set is `root` and grants everything.
    pub fn is_root(&self) -> bool {
        self.root.is_some()
    }

    /// All rules: exact ones by path, then those with wildcards from the least to the most specific. None for root.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The blocks that take no part.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// When the first of its rules expires, and the set is to be compiled again.
    pub fn valid_until(&self) -> Option<Timestamp> {
        self.valid_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::template::Expression;

    fn policy(name: &str, text: &str) -> Arc<Policy> {
        Arc::new(Policy::parse(name, text).expect(text))
    }

    #[test]
    fn root_stands_alone() {
        let root = Arc::new(Policy::root());
        assert!(compile(std::slice::from_ref(&root), &(), Timestamp::NEVER).expect("compiles").is_root());
        let error = compile(&[root, policy("a", "")], &(), Timestamp::NEVER).err();
        assert_eq!(error, Some(CompileError::RootAmongOthers));
        assert!(!compile(&[policy("Root", "")], &(), Timestamp::NEVER).expect("compiles").is_root());
    }

    #[test]
    fn expired_blocks_take_no_part() {
        let text = "path \"a\" { capabilities = [\"read\"] expiration = 100 }\npath \"b\" { capabilities = [\"read\"] expiration = 200 }";
        let at = |secs| compile(&[policy("p", text)], &(), Timestamp::from_secs(secs)).expect("compiles");
        assert_eq!((at(99).rules().len(), at(99).valid_until()), (2, Some(Timestamp::from_secs(100))));
        assert_eq!((at(100).rules().len(), at(100).valid_until()), (1, Some(Timestamp::from_secs(200))));
        assert_eq!((at(300).rules().len(), at(300).valid_until()), (0, None));
        assert_eq!(at(300).skipped().len(), 2);
    }

    struct Named(&'static str);

    impl Subject for Named {
        fn value(&self, expression: &Expression) -> Option<String> {
            (*expression == Expression::EntityName).then(|| self.0.to_owned())
        }
    }

    #[test]
    fn unfilled_templates_take_no_part() {
        let text =
            "path \"u/{{identity.entity.name}}/*\" { capabilities = [\"read\"] }\npath \"g/{{identity.groups.names.x.id}}\" { }";
        let rules = |name| compile(&[policy("p", text)], &Named(name), Timestamp::NEVER).expect("compiles");
        assert_eq!(rules("ann").rules()[0].pattern, Pattern::Prefix("u/ann/".into()));
        assert_eq!(rules("ann").skipped().len(), 1);
        assert!(rules("*").rules().is_empty());
        assert!(rules("a/b").rules().is_empty());
        assert!(compile(&[policy("p", text)], &(), Timestamp::NEVER).expect("compiles").rules().is_empty());
    }

    #[test]
    fn granting_policies_are_named_once_and_in_order() {
        let rules = compile(
            &[
                policy("b", "path \"x\" { capabilities = [\"read\"] }\npath \"x\" { capabilities = [\"read\", \"list\"] }"),
                policy("a", "path \"x\" { capabilities = [\"read\"] }"),
            ],
            &(),
            Timestamp::NEVER,
        )
        .expect("compiles");
        let rule = &rules.rules()[0];
        assert_eq!(rule.granting(Capability::Read).map(|names| &**names), Some(&["b".into(), "a".into()][..]));
        assert_eq!(rule.granting(Capability::List).map(|names| &**names), Some(&["b".into()][..]));
        assert!(rule.granting(Capability::Sudo).is_none());
        assert_eq!(rule.sources.len(), 3);
    }
}
