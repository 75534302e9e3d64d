//! The decider.

use std::ops::ControlFlow;
use std::sync::Arc;

use coffer_types::path::MAX_PATH;
use coffer_types::{Json, Operation, Span};

use super::capability::Capability;
use super::compile::{Compiled, Rule};
use super::parameters::{NoParameters, Parameter, Parameters, allows, denies};
use super::parse::Constraints;
use super::pattern::Pattern;

/// What a principal wants to do.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    pub operation: Operation,
    /// The whole path below `/v1/`.
    pub path: &'a str,
    pub parameters: &'a dyn Parameters,
    /// The TTL of the response wrapping that is asked for.
    pub wrap_ttl: Option<Span>,
    /// The route asks for `sudo` besides.
    pub sudo: bool,
}

/// The answer.
#[derive(Debug)]
pub struct Verdict<'a> {
    pub allowed: bool,
    pub reason: Reason,
    /// The rule that decided: the most specific that matches, whether it grants or refuses.
    pub rule: Option<&'a Rule>,
    /// How it matches.
    pub matched: Option<Match>,
    /// Whether the rule grants `sudo`.
    pub sudo: bool,
    /// What the call must do about its `limit`.
    pub page_limit: PageLimit,
    granting: Option<&'a Arc<[Box<str>]>>,
}

/// How a path came to its rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Match {
    Exact,
    /// A list of `a/` that the rule on `a` decides.
    ExactWithoutSlash,
    Wild,
    WildWithoutSlash,
}

/// Why. Names of fields come from the call, never values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    Root,
    /// Help is for everyone.
    Help,
    Granted,
    NoRule,
    PathTooLong,
    Denied,
    NoCapability(Capability),
    /// All is granted but the `sudo` that the route asks for besides.
    NoSudo,
    /// Not wrapped, or for longer or shorter than the rule says.
    WrapTtl {
        min: Span,
        max: Span,
    },
    MissingParameter(Box<str>),
    DeniedParameter(Box<str>),
    NotAllowedParameter(Box<str>),
    /// The page is larger than this, negative, or no number; or the rule requires `limit`.
    PageLimit(u32),
}

/// What the `limit` of a list becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageLimit {
    AsAsked,
    /// Replace it, or add it; 0 stands for all.
    Set(u32),
}

impl Verdict<'_> {
    /// The policies that grant the operation, for the audit line; none where it is refused.
    pub fn granting(&self) -> Option<&Arc<[Box<str>]>> {
        self.granting
    }

    /// The template that hides keys from the answer of a list.
    pub fn list_filter(&self) -> Option<&super::ListFilter> {
        self.rule.filter(|_| self.allowed)?.constraints.list_filter.as_ref()
    }
}

impl Compiled {
    /// Decides. Allocates only to say which field it refuses.
    pub fn decide(&self, ask: &Ask<'_>) -> Verdict<'_> {
        let mut verdict = Verdict {
            allowed: false,
            reason: Reason::NoRule,
            rule: None,
            matched: None,
            sudo: false,
            page_limit: PageLimit::AsAsked,
            granting: None,
        };
        if let Some(root) = &self.root {
            return Verdict { allowed: true, reason: Reason::Root, sudo: true, granting: Some(root), ..verdict };
        }
        let Some(needed) = Capability::needed_by(ask.operation) else {
            return Verdict { allowed: true, reason: Reason::Help, ..verdict };
        };
        if ask.path.len() > MAX_PATH {
            return Verdict { reason: Reason::PathTooLong, ..verdict };
        }
        let Some((rule, matched)) = self.find(ask.operation, ask.path) else { return verdict };
        verdict.rule = Some(rule);
        verdict.matched = Some(matched);
        verdict.sudo = rule.capabilities.has(Capability::Sudo);
        let refused = if rule.capabilities.denies() {
            Some(Reason::Denied)
        } else if !rule.capabilities.has(needed) {
            Some(Reason::NoCapability(needed))
        } else {
            let refused = check_constraints(&rule.constraints, ask, &mut verdict.page_limit).break_value();
            refused.or((ask.sudo && !verdict.sudo).then_some(Reason::NoSudo))
        };
        match refused {
            Some(reason) => verdict.reason = reason,
            None => {
                verdict.allowed = true;
                verdict.reason = Reason::Granted;
                verdict.granting = rule.granting(needed);
            }
        }
        verdict
    }

    /// What `sys/capabilities` answers: the words in the order of the alphabet, `["root"]`, or `["deny"]`.
    pub fn capabilities(&self, path: &str) -> Vec<&'static str> {
        if self.is_root() {
            return vec!["root"];
        }
        // A list, so that the rule on `a` answers for `a/` too.
        let ask = Ask { operation: Operation::List, path, parameters: &NoParameters, wrap_ttl: None, sudo: false };
        match self.decide(&ask).rule.map(|rule| rule.capabilities) {
            Some(capabilities) if !capabilities.is_empty() && !capabilities.denies() => {
                capabilities.iter().map(Capability::as_str).collect()
            }
            _ => vec!["deny"],
        }
    }

    /// Whether anything is granted at or below a mount (a path with a trailing slash): whether user interfaces show it.
    pub fn reaches_into(&self, mount: &str) -> bool {
        let grants = |rule: &Rule| !rule.capabilities.is_empty() && !rule.capabilities.denies();
        self.capabilities(mount) != ["deny"]
            || self.rules.iter().any(|rule| {
                grants(rule)
                    && match &rule.pattern {
                        Pattern::Exact(text) | Pattern::Prefix(text) => text.starts_with(mount),
                        Pattern::Segments(_) => segments_reach(&rule.pattern, mount),
                    }
            })
    }

    /// The rule that decides on a path: an exact one, else the most specific with wildcards. A list of `a/` also asks the rules on `a`,
    /// after those on `a/`, which are the more specific: a `deny` on `a/*` is not passed by a grant on `a*` (GHSA-xp3c-3jw3-4vcr).
    fn find(&self, operation: Operation, path: &str) -> Option<(&Rule, Match)> {
        let path = path.trim_start_matches('/');
        let lists = matches!(operation, Operation::List | Operation::Scan);
        let bare = path.strip_suffix('/').filter(|_| lists);
        let number = None
            .or_else(|| self.index.exact(path).map(|rule| (rule, Match::Exact)))
            .or_else(|| self.index.exact(bare?).map(|rule| (rule, Match::ExactWithoutSlash)))
            .or_else(|| self.index.wild(path).map(|rule| (rule, Match::Wild)))
            .or_else(|| self.index.wild(bare?).map(|rule| (rule, Match::WildWithoutSlash)));
        number.map(|(number, matched)| (&self.rules[number as usize], matched))
    }
}

fn segments_reach(pattern: &Pattern, mount: &str) -> bool {
    let parts: Vec<&str> = pattern.stem().split('/').collect();
    let mount = mount.strip_suffix('/').unwrap_or(mount);
    for (i, segment) in mount.split('/').enumerate() {
        match parts.get(i) {
            Some(part) if *part == "+" || *part == segment => {}
            Some(part) => return pattern.ends_in_glob() && i + 1 == parts.len() && segment.starts_with(part),
            None => return false,
        }
    }
    true
}

/// Goes on if all constraints of the rule hold.
fn check_constraints(constraints: &Constraints, ask: &Ask<'_>, page_limit: &mut PageLimit) -> ControlFlow<Reason> {
    check_wrapping(constraints, ask.wrap_ttl)?;
    match ask.operation {
        Operation::Read | Operation::Create | Operation::Update | Operation::Patch => {
            check_parameters(constraints, ask.parameters)
        }
        Operation::List | Operation::Scan => check_page(constraints, ask.parameters, page_limit),
        Operation::Delete | Operation::Help => ControlFlow::Continue(()),
    }
}

fn check_wrapping(constraints: &Constraints, asked: Option<Span>) -> ControlFlow<Reason> {
    let (min, max) = (constraints.min_wrapping_ttl, constraints.max_wrapping_ttl);
    if min.is_zero() && max.is_zero() {
        return ControlFlow::Continue(());
    }
    // Merging can leave a minimum above the maximum: then nothing fits.
    let fits = asked.is_some_and(|asked| asked >= min && (max.is_zero() || asked <= max));
    if fits { ControlFlow::Continue(()) } else { ControlFlow::Break(Reason::WrapTtl { min, max }) }
}

fn check_parameters(constraints: &Constraints, parameters: &dyn Parameters) -> ControlFlow<Reason> {
    for name in &constraints.required {
        if parameters.find(&name.to_lowercase()).is_none() {
            return ControlFlow::Break(Reason::MissingParameter(name.clone()));
        }
    }
    if constraints.denied.is_empty() && constraints.allowed.is_empty() {
        return ControlFlow::Continue(());
    }
    let deny_all = constraints.denied.get("*").is_some();
    let allow_all = constraints.allowed.is_empty() || constraints.allowed.get("*").is_some();
    let mut refused = None;
    let outcome = parameters.each(&mut |name, value| {
        if deny_all || constraints.denied.get(name).is_some_and(|list| denies(list, value)) {
            refused = Some(Reason::DeniedParameter(name.into()));
            return ControlFlow::Break(());
        }
        let allowed = match constraints.allowed.get(name) {
            Some(list) => allows(list, value),
            None => allow_all,
        };
        if !allowed {
            refused = Some(Reason::NotAllowedParameter(name.into()));
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    match (outcome, refused) {
        (ControlFlow::Break(()), Some(reason)) => ControlFlow::Break(reason),
        _ => ControlFlow::Continue(()),
    }
}

/// The limit of a page. `max` asks for as much as is allowed, with or without a limit in the rule.
fn check_page(constraints: &Constraints, parameters: &dyn Parameters, page_limit: &mut PageLimit) -> ControlFlow<Reason> {
    let most = constraints.pagination_limit;
    let asked = match parameters.find("limit") {
        None => None,
        Some(Parameter::Text(text)) => Some(text),
        Some(Parameter::Json(Json::String(text) | Json::Number(text))) => Some(text.as_str()),
        Some(Parameter::Json(_)) => Some("?"),
    };
    if most == 0 {
        // Without a limit in the rule, what `limit` means is the engine's affair.
        if asked == Some("max") {
            *page_limit = PageLimit::Set(0);
        }
        return ControlFlow::Continue(());
    }
    let refused = ControlFlow::Break(Reason::PageLimit(most));
    match asked {
        // A client that knows of no pages is refused only where the rule asks it to know.
        None if constraints.required.iter().any(|name| name.eq_ignore_ascii_case("limit")) => refused,
        None | Some("max" | "") => {
            *page_limit = PageLimit::Set(most);
            ControlFlow::Continue(())
        }
        Some(text) => match text.parse::<u32>() {
            Ok(0) => {
                *page_limit = PageLimit::Set(most);
                ControlFlow::Continue(())
            }
            Ok(asked) if asked <= most => ControlFlow::Continue(()),
            _ => refused,
        },
    }
}
