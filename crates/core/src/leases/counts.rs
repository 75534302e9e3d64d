//! Limits on the number of leases: the rules that the store keeps, and the counts that follow it.
//!
//! A token that ends has a lease, so these are limits on tokens too; those that never end are in no count, and none of root's
//! is refused. Of the rules that are stored, the narrowest that fits a lease refuses; the one that every server has refuses
//! besides.
//!
//! Counts are in memory, so that logins do not meet on one record. Each is a number at one revision of the store, counted on
//! a snapshot in the background, and what commits after that revision changed. What a call is about to add is held in
//! reserve until its commit is known, so of any number of calls at once no more get through than fit. A count that a start or
//! a new rule has not finished yet is waited for by the calls that its rule counts; the limit that every server has does not
//! let anyone wait: it holds once it is counted, some seconds after a start.

use super::record::{LeaseRecord, RECORDS};
use crate::live::Live;
use arc_swap::ArcSwap;
use coffer_engine::view::{Record, View};
use coffer_types::{Error, Kind, Result};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Below this stand the rules; a commit that touches it loads them anew.
pub const RULES: &str = "core/quotas/lease-count/";
/// The rule that every server has, until another is stored under its name.
pub const DEFAULT: &str = "default";
/// Leases that a server holds where nobody says otherwise: some gigabytes of storage.
pub const DEFAULT_MAX: u64 = 2_000_000;
/// Keys in one step of counting.
const PAGE: usize = 1024;

/// A limit as it is stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rule {
    /// A mount with its slash, a path in one, such a path with a `*` at its end, or nothing: everything.
    pub path: String,
    /// Leases of this role alone; empty for all.
    #[serde(default)]
    pub role: String,
    /// 0 is no limit; the default rule's only.
    pub max_leases: u64,
    #[serde(default)]
    pub inheritable: bool,
}

impl Record for Rule {
    const FORMAT: u8 = 1;
}

impl Rule {
    fn by_default() -> Self {
        Self { path: String::new(), role: String::new(), max_leases: DEFAULT_MAX, inheritable: true }
    }

    fn counts(&self, id: &str, role: &str) -> bool {
        let fits = match self.path.strip_suffix('*') {
            Some(prefix) => id.starts_with(prefix),
            None => match id.strip_prefix(self.path.as_str()) {
                Some(rest) => self.path.is_empty() || self.path.ends_with('/') || rest.starts_with('/'),
                None => false,
            },
        };
        fits && (self.role.is_empty() || self.role == role)
    }
}

/// All rules by name, the default one among them.
pub async fn rules(view: &View) -> Result<BTreeMap<String, Rule>> {
    let mut rules = stored(view).await?;
    rules.entry(DEFAULT.to_owned()).or_insert_with(Rule::by_default);
    Ok(rules)
}

async fn stored(view: &View) -> Result<BTreeMap<String, Rule>> {
    let mut rules = BTreeMap::new();
    for key in view.keys(RULES, None, usize::MAX).await? {
        if let Some(rule) = view.get::<Rule>(&key).await? {
            rules.insert(key[RULES.len()..].to_owned(), rule);
        }
    }
    Ok(rules)
}

/// A rule by its name.
pub async fn rule(view: &View, name: &str) -> Result<Option<Rule>> {
    let stored = view.get(&format!("{RULES}{name}")).await?;
    Ok(stored.or_else(|| (name == DEFAULT).then(Rule::by_default)))
}

/// Stores a rule. Another one of the same path and role is an error that names it.
pub async fn put(view: &View, name: &str, rule: &Rule) -> Result<()> {
    crate::quotas::change(view).await?;
    let same = |r: &Rule| r.path == rule.path && r.role == rule.role;
    if let Some((other, _)) = stored(view).await?.iter().find(|(other, r)| *other != name && same(r)) {
        return Err(Error::bad_request(format!("quota rule with similar properties exists under the name {other:?}")));
    }
    view.put(&format!("{RULES}{name}"), rule)
}

/// Removes a rule; the default one is as it was at first.
pub async fn remove(view: &View, name: &str) -> Result<()> {
    crate::quotas::change(view).await?;
    view.delete(&format!("{RULES}{name}"));
    Ok(())
}

/// A mount goes, or moves to another path: its rules go or move with it.
pub async fn follow_mount(view: &View, mount: &str, to: Option<&str>) -> Result<()> {
    for (name, mut rule) in stored(view).await? {
        let Some(inside) = rule.path.strip_prefix(mount) else { continue };
        match to {
            None => remove(view, &name).await?,
            Some(to) => {
                rule.path = format!("{to}{inside}");
                put(view, &name, &rule).await?;
            }
        }
    }
    Ok(())
}

/// The counts of a server.
#[derive(Default)]
pub struct Counts {
    counters: ArcSwap<Vec<Arc<Counter>>>,
    /// One count at a time.
    counting: tokio::sync::Mutex<()>,
}

struct Counter {
    name: String,
    rule: Rule,
    /// Nobody stored it.
    built_in: bool,
    /// Shared with the counter that takes this one's place when only the limit changes.
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The revision that was counted at; before that, what has happened since the counter was made.
    counted: Option<u64>,
    waiting: Vec<(u64, i64)>,
    leases: i64,
    /// Held by calls whose commit is not known yet.
    reserved: i64,
}

/// A lease that a call is about to add.
struct Held {
    counter: Arc<Counter>,
    committed: bool,
}

impl Counts {
    /// Reads the rules. Counts go on where only a limit changed.
    pub async fn load(&self, view: &View) -> Result<()> {
        let before = self.counters.load_full();
        let mut counters = Vec::new();
        let stored = stored(view).await?;
        let built_in = (!stored.contains_key(DEFAULT)).then(|| (DEFAULT.to_owned(), Rule::by_default(), true));
        let all = stored.into_iter().map(|(name, rule)| (name, rule, false)).chain(built_in);
        for (name, rule, built_in) in all.filter(|(_, rule, _)| rule.max_leases > 0) {
            let same = |c: &&Arc<Counter>| c.rule.path == rule.path && c.rule.role == rule.role;
            let state = before.iter().find(same).map(|c| c.state.clone()).unwrap_or_default();
            // The narrowest first.
            counters.push(Arc::new(Counter { name, rule, built_in, state }));
        }
        counters.sort_by_key(|c| std::cmp::Reverse((!c.rule.role.is_empty(), c.rule.path.len())));
        self.counters.store(Arc::new(counters));
        Ok(())
    }

    /// Lets a lease into this transaction, or says which limit it is one too many for. One of a root token is counted and not
    /// refused: somebody must be able to raise the limit.
    pub(super) async fn admit(&self, live: &Live, view: &View, id: &str, (role, root): (&str, bool)) -> Result<()> {
        let (mut held, mut refuses) = (Vec::new(), true);
        for counter in self.counters.load_full().iter().filter(|c| c.rule.counts(id, role)) {
            counter.known(self, live).await?;
            held.push(counter.reserve(id, !root && (refuses || counter.built_in))?);
            refuses &= counter.built_in;
        }
        if !held.is_empty() {
            view.on_commit(Box::new(move |at| held.into_iter().for_each(|h| h.committed(at))));
        }
        Ok(())
    }

    /// Refuses a batch token where a lease would be refused: it has none, and stands for work that has.
    pub async fn refuse_if_full(&self, live: &Live, path: &str, role: &str) -> Result<()> {
        let (id, mut refuses) = (format!("{path}/b"), true);
        for counter in self.counters.load_full().iter().filter(|c| c.rule.counts(&id, role)) {
            counter.known(self, live).await?;
            drop(counter.reserve(&id, refuses || counter.built_in)?);
            refuses &= counter.built_in;
        }
        Ok(())
    }

    /// A lease goes with this transaction.
    pub(super) fn forget(&self, view: &View, id: &str, role: &str) {
        let counters: Vec<_> = self.counters.load().iter().filter(|c| c.rule.counts(id, role)).cloned().collect();
        if !counters.is_empty() {
            view.on_commit(Box::new(move |at| counters.iter().for_each(|c| c.state.lock().change(at, -1))));
        }
    }

    /// Counts what has not been counted since the start or since its rule was written.
    pub async fn count(&self, live: &Live) -> Result<()> {
        let _one_at_a_time = self.counting.lock().await;
        for counter in self.counters.load_full().iter() {
            if counter.state.lock().counted.is_none() {
                counter.count(live).await?;
            }
        }
        Ok(())
    }

    /// How many leases a rule counts now; `None` until they are counted.
    pub fn counted(&self, name: &str) -> Option<i64> {
        let counters = self.counters.load();
        let state = counters.iter().find(|c| c.name == name)?.state.lock();
        state.counted.is_some().then_some(state.leases)
    }
}

impl Counter {
    /// Waits for the count of a rule that somebody stored.
    async fn known(&self, counts: &Counts, live: &Live) -> Result<()> {
        let unknown = !self.built_in && self.state.lock().counted.is_none();
        if unknown { counts.count(live).await } else { Ok(()) }
    }

    fn reserve(self: &Arc<Self>, id: &str, refuses: bool) -> Result<Held> {
        let mut state = self.state.lock();
        let most = i64::try_from(self.rule.max_leases).unwrap_or(i64::MAX);
        if refuses && state.counted.is_some() && state.leases.saturating_add(state.reserved) >= most {
            let path = id.rsplit_once('/').map_or(id, |(path, _)| path);
            let (name, most) = (&self.name, self.rule.max_leases);
            return Err(Error::new(
                Kind::TooMany,
                format!(
                    "request path {path:?}: lease count quota exceeded: {name:?} allows {most} leases; wait for some to end, revoke some, \
                     or raise max_leases at sys/quotas/lease-count/{name}"
                ),
            ));
        }
        state.reserved += 1;
        Ok(Held { counter: self.clone(), committed: false })
    }

    /// On one snapshot; what commits meanwhile waits in the state, and counts if it is newer.
    async fn count(&self, live: &Live) -> Result<()> {
        let txn = live.barrier.begin();
        let at = txn.revision();
        let view = txn.root_view();
        let path = self.rule.path.trim_end_matches('*');
        // Keys below a folder; the rest of a pattern or of a path is compared.
        let folder = format!("{RECORDS}{}", &path[..path.rfind('/').map_or(0, |slash| slash + 1)]);
        let (mut found, mut after): (i64, Option<String>) = (0, None);
        loop {
            let page = view.keys(&folder, after.as_deref(), PAGE).await?;
            for key in &page {
                let id = &key[RECORDS.len()..];
                let counts = if self.rule.role.is_empty() {
                    self.rule.counts(id, "")
                } else {
                    let lease: Option<LeaseRecord> = view.get(key).await?;
                    lease.is_some_and(|l| self.rule.counts(id, &l.role))
                };
                found += i64::from(counts);
            }
            txn.forget_reads();
            if page.len() < PAGE {
                break;
            }
            after = page.into_iter().next_back();
            tokio::task::yield_now().await;
        }
        let mut state = self.state.lock();
        state.leases = found;
        state.counted = Some(at);
        for (committed, by) in std::mem::take(&mut state.waiting) {
            state.change(committed, by);
        }
        Ok(())
    }
}

impl State {
    /// A commit of revision `at` brought or took a lease.
    fn change(&mut self, at: u64, by: i64) {
        match self.counted {
            None => self.waiting.push((at, by)),
            // What is not newer was in the snapshot.
            Some(counted) if at > counted => self.leases += by,
            Some(_) => {}
        }
    }
}

impl Held {
    fn committed(mut self, at: u64) {
        let mut state = self.counter.state.lock();
        state.change(at, 1);
        state.reserved -= 1;
        drop(state);
        self.committed = true;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.committed {
            self.counter.state.lock().reserved -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(path: &str, role: &str) -> Rule {
        Rule { path: path.to_owned(), role: role.to_owned(), max_leases: 2, inheritable: false }
    }

    #[test]
    fn a_rule_counts_what_lies_below_its_path() {
        for (path, role, id, of, yes) in [
            ("", "", "db/creds/app/x", "app", true),
            ("db/", "", "db/creds/app/x", "app", true),
            ("db/", "", "dbx/creds/app/x", "app", false),
            ("db/creds/app", "", "db/creds/app/x", "app", true),
            ("db/creds/app", "", "db/creds/application/x", "application", false),
            ("db/creds/app*", "", "db/creds/application/x", "application", true),
            ("auth/approle/", "web", "auth/approle/login/h1", "web", true),
            ("auth/approle/", "web", "auth/approle/login/h1", "other", false),
        ] {
            assert_eq!(rule(path, role).counts(id, of), yes, "{path} {role} {id}");
        }
    }

    #[test]
    fn what_is_held_in_reserve_counts_and_comes_back_if_it_never_commits() {
        let counter = Arc::new(Counter { name: "n".to_owned(), rule: rule("", ""), built_in: false, state: Arc::default() });
        counter.state.lock().counted = Some(10);
        let (one, two) = (counter.reserve("a/b", true).unwrap(), counter.reserve("a/c", true).unwrap());
        let refused = counter.reserve("a/d", true).err().unwrap();
        assert_eq!(refused.kind(), Kind::TooMany);
        assert!(refused.public().contains("sys/quotas/lease-count/n"), "{}", refused.public());
        drop(one);
        two.committed(11);
        let third = counter.reserve("a/d", true).unwrap();
        assert!(counter.reserve("a/e", true).is_err());
        third.committed(12);
        let state = counter.state.lock();
        assert_eq!((state.leases, state.reserved), (2, 0));
    }

    #[test]
    fn what_was_in_the_snapshot_is_not_counted_twice_however_late_it_is_heard_of() {
        let mut state = State::default();
        state.change(5, 1);
        state.change(7, 1);
        state.change(8, -1);
        (state.leases, state.counted) = (3, Some(6));
        for (at, by) in std::mem::take(&mut state.waiting) {
            state.change(at, by);
        }
        state.change(4, 1);
        state.change(9, 1);
        assert_eq!(state.leases, 4);
    }
}
