//! Rate limits: the rules that the store keeps, and the enforcer that every call asks before anything else is done for it.
//!
//! What is counted is in memory and one node's own; a restart begins with full buckets. Of the rules that fit a call one
//! counts: that of its exact path, else of the longest pattern, else of its mount, else the one for everything.

mod limiter;

pub use limiter::{Limiter, Take};

use arc_swap::ArcSwap;
use coffer_engine::view::{Record, View};
use coffer_types::{Error, Kind, Operation, Result, Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Below this stands all of it; a commit that touches it makes the enforcer anew.
pub const PREFIX: &str = "core/quotas/";
const RULES: &str = "core/quotas/rate-limit/";
const CONFIG: &str = "core/quotas/config";
/// Read and written by every change, so that two changes at once conflict and no two rules get one path.
const TABLE: &str = "core/quotas/version";

/// A rate limit as it is stored.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Rule {
    /// A mount with its slash, a path in one, such a path with a `*` at its end, or nothing: everything.
    pub path: String,
    /// Calls of one client in an interval; above zero.
    pub rate: f64,
    /// Above zero.
    pub interval: Span,
    pub block_interval: Span,
    pub inheritable: bool,
}

impl Record for Rule {
    const FORMAT: u8 = 1;
}

/// What holds for all rate limits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Config {
    /// These paths and what is below them are never refused.
    pub exempt: Vec<String>,
    /// Refused calls leave lines in the audit log.
    pub audit: bool,
    /// Replies say what is left of the limit.
    pub headers: bool,
}

impl Default for Config {
    /// What an operator needs to get back in is exempt.
    fn default() -> Self {
        let exempt = [
            "sys/generate-recovery-token/attempt",
            "sys/generate-recovery-token/update",
            "sys/generate-root/attempt",
            "sys/generate-root/update",
            "sys/health",
            "sys/seal-status",
            "sys/unseal",
        ];
        Self { exempt: exempt.map(str::to_owned).to_vec(), audit: false, headers: false }
    }
}

impl Record for Config {
    const FORMAT: u8 = 1;
}

#[derive(Serialize, Deserialize)]
struct Version {
    changes: u64,
}

impl Record for Version {
    const FORMAT: u8 = 1;
}

pub(crate) async fn change(view: &View) -> Result<()> {
    let version = view.get::<Version>(TABLE).await?.map_or(0, |v| v.changes);
    view.put(TABLE, &Version { changes: version + 1 })
}

/// All rules by name.
pub async fn rules(view: &View) -> Result<BTreeMap<String, Rule>> {
    let mut rules = BTreeMap::new();
    for key in view.keys(RULES, None, usize::MAX).await? {
        if let Some(rule) = view.get::<Rule>(&key).await? {
            rules.insert(key[RULES.len()..].to_owned(), rule);
        }
    }
    Ok(rules)
}

pub async fn rule(view: &View, name: &str) -> Result<Option<Rule>> {
    view.get(&format!("{RULES}{name}")).await
}

/// Stores a rule. Another one of the same path is an error that names it.
pub async fn put(view: &View, name: &str, rule: &Rule) -> Result<()> {
    change(view).await?;
    if let Some((other, _)) = rules(view).await?.iter().find(|(other, r)| *other != name && r.path == rule.path) {
        return Err(Error::bad_request(format!("quota rule with similar properties exists under the name {other:?}")));
    }
    view.put(&format!("{RULES}{name}"), rule)
}

pub async fn remove(view: &View, name: &str) -> Result<()> {
    change(view).await?;
    view.delete(&format!("{RULES}{name}"));
    Ok(())
}

/// A mount goes, or moves to another path: its rules go or move with it.
pub async fn follow_mount(view: &View, mount: &str, to: Option<&str>) -> Result<()> {
    for (name, mut rule) in rules(view).await? {
        let Some(inside) = rule.path.strip_prefix(mount) else { continue };
        match to {
            None => remove(view, &name).await?,
            Some(to) => {
                rule.path = format!("{to}{inside}");
                put(view, &name, &rule).await?;
            }
        }
    }
    crate::leases::counts::follow_mount(view, mount, to).await
}

pub async fn config(view: &View) -> Result<Config> {
    Ok(view.get(CONFIG).await?.unwrap_or_default())
}

pub fn set_config(view: &View, config: &Config) -> Result<()> {
    view.put(CONFIG, config)
}

/// The enforcer.
#[derive(Default)]
pub struct Quotas {
    enforced: ArcSwap<Enforced>,
    violations: AtomicU64,
}

#[derive(Default)]
struct Enforced {
    config: Config,
    exact: BTreeMap<String, Arc<Active>>,
    /// Without their stars, the longest first.
    patterns: Vec<(String, Arc<Active>)>,
    mounts: Vec<(String, Arc<Active>)>,
    everything: Option<Arc<Active>>,
}

struct Active {
    name: String,
    rule: Rule,
    limiter: Limiter,
}

/// What the enforcer says to a call that a rule counts.
pub struct Checked {
    pub take: Take,
    /// Whether the reply says what is left.
    pub headers: bool,
    /// Whether a refusal leaves lines in the audit log.
    pub audit: bool,
}

impl Checked {
    /// The headers of the reply, if the configuration wants them.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        if !self.headers {
            return Vec::new();
        }
        // Whole seconds, rounded up: who waits so long is not refused again.
        let wait = u64::try_from(self.take.wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX).to_string();
        let mut headers = vec![
            ("x-ratelimit-limit", self.take.limit.to_string()),
            ("x-ratelimit-remaining", self.take.remaining.to_string()),
            ("x-ratelimit-reset", wait.clone()),
        ];
        if !self.take.allowed {
            headers.push(("retry-after", wait));
        }
        headers
    }
}

/// What a refused client reads.
pub fn exceeded(operation: Operation, path: &str) -> Error {
    let slash = if matches!(operation, Operation::List | Operation::Scan) && !path.ends_with('/') { "/" } else { "" };
    Error::new(Kind::TooMany, format!("request path \"{path}{slash}\": rate limit quota exceeded"))
}

impl Quotas {
    /// Reads the rules. Those that did not change keep what they have counted.
    pub async fn load(&self, view: &View) -> Result<()> {
        let before = self.enforced.load_full();
        let mut enforced = Enforced { config: config(view).await?, ..Enforced::default() };
        for (name, rule) in rules(view).await? {
            let kept = before.all().find(|a| a.name == name && a.rule == rule).cloned();
            enforced.add(kept.unwrap_or_else(|| Arc::new(Active::new(name, rule))));
        }
        enforced.patterns.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        self.enforced.store(Arc::new(enforced));
        Ok(())
    }

    /// How many calls were refused since the barrier opened.
    pub fn violations(&self) -> u64 {
        self.violations.load(Relaxed)
    }

    /// A call of `client` to `path` at `now`; `None` where no rule counts it.
    pub fn check(&self, path: &str, client: Option<IpAddr>, now: Timestamp) -> Option<Checked> {
        let enforced = self.enforced.load();
        let active = enforced.find(path.trim_end_matches('/'))?;
        let take = active.limiter.take(client, now);
        if !take.allowed {
            self.violations.fetch_add(1, Relaxed);
        }
        Some(Checked { take, headers: enforced.config.headers, audit: enforced.config.audit })
    }
}

impl Active {
    fn new(name: String, rule: Rule) -> Self {
        let limiter = Limiter::new(rule.rate, rule.interval.duration(), rule.block_interval.duration());
        Self { name, rule, limiter }
    }
}

impl Enforced {
    fn add(&mut self, active: Arc<Active>) {
        let path = active.rule.path.clone();
        if path.is_empty() {
            self.everything = Some(active);
        } else if let Some(prefix) = path.strip_suffix('*') {
            self.patterns.push((prefix.to_owned(), active));
        } else if path.ends_with('/') {
            self.mounts.push((path, active));
        } else {
            self.exact.insert(path, active);
        }
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Active>> {
        let listed = self.patterns.iter().chain(&self.mounts).map(|(_, a)| a);
        self.exact.values().chain(listed).chain(&self.everything)
    }

    fn find(&self, path: &str) -> Option<&Arc<Active>> {
        let none = self.everything.is_none() && self.exact.is_empty() && self.patterns.is_empty() && self.mounts.is_empty();
        if none || self.config.exempt.iter().any(|e| below(path, e)) {
            return None;
        }
        // A list of the folder itself is one of what is in it.
        let fits = |prefix: &str| path.starts_with(prefix) || prefix.strip_suffix('/') == Some(path);
        let pattern = || self.patterns.iter().find(|(prefix, _)| fits(prefix)).map(|(_, a)| a);
        let mount = || self.mounts.iter().find(|(mount, _)| below(path, mount)).map(|(_, a)| a);
        self.exact.get(path).or_else(pattern).or_else(mount).or(self.everything.as_ref())
    }
}

/// `path` is `place` or lies below it.
fn below(path: &str, place: &str) -> bool {
    let place = place.trim_end_matches('/');
    path.strip_prefix(place).is_some_and(|rest| !place.is_empty() && (rest.is_empty() || rest.starts_with('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enforced(paths: &[&str]) -> Enforced {
        let mut enforced = Enforced { config: Config::default(), ..Enforced::default() };
        for path in paths {
            let interval = Span::from_secs(1);
            let rule = Rule { path: (*path).to_owned(), rate: 1.0, interval, block_interval: Span::ZERO, inheritable: false };
            enforced.add(Arc::new(Active::new((*path).to_owned(), rule)));
        }
        enforced.patterns.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        enforced
    }

    #[test]
    fn the_narrowest_rule_counts() {
        let all = enforced(&["", "secret/", "secret/data/*", "secret/data/app/*", "secret/data/app/one", "auth/token/"]);
        for (path, rule) in [
            ("sys/mounts", ""),
            ("secret", "secret/"),
            ("secret/config", "secret/"),
            ("secretive/config", ""),
            ("secret/data/x", "secret/data/*"),
            ("secret/data", "secret/data/*"),
            ("secret/dat", "secret/"),
            ("secret/data/app/two", "secret/data/app/*"),
            ("secret/data/app/one", "secret/data/app/one"),
            ("secret/data/app/one/more", "secret/data/app/*"),
            ("auth/token/lookup-self", "auth/token/"),
        ] {
            assert_eq!(all.find(path).map(|a| a.name.as_str()), Some(rule), "{path}");
        }
    }

    #[test]
    fn what_is_exempt_is_counted_by_no_rule() {
        let all = enforced(&["", "sys/"]);
        assert!(all.find("sys/health").is_none());
        assert!(all.find("sys/health/x").is_none());
        assert!(all.find("sys/healthy").is_some());
        assert!(all.find("sys/seal").is_some());
        assert!(enforced(&["secret/"]).find("sys/mounts").is_none());
    }

    #[test]
    fn an_exemption_of_nothing_exempts_nothing() {
        let mut all = enforced(&[""]);
        all.config.exempt = vec![String::new(), "/".to_owned()];
        assert!(all.find("sys/mounts").is_some());
    }
}
