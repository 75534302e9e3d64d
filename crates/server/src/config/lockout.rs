//! `user_lockout` stanzas: when users are locked out who fail to log in.

use super::setting::{Reading, Setting, block, labelled, stanza};
use super::tree::Node;
use coffer_core::lockout::{KINDS, Partial, Settings};
use coffer_types::Span;
use std::collections::BTreeMap;

stanza! {
    /// The keys of one stanza.
    pub struct LockoutKeys in "user_lockout" {
        /// After so many failed logins a name is locked out; 5 if no stanza says it.
        lockout_threshold: Option<u64> = "";
        /// For so long; 15m if no stanza says it.
        lockout_duration: Option<Span> = "";
        /// Failures further back than this do not count; 15m if no stanza says it.
        lockout_counter_reset: Option<Span> = "";
        /// Lock nobody out.
        disable_lockout: Option<bool> = "";
    }
}

/// All stanzas, by kind of auth method or `all`.
#[derive(Debug, Default)]
pub struct UserLockout(BTreeMap<String, LockoutKeys>);

impl UserLockout {
    /// As the core takes them.
    pub fn settings(&self) -> Settings {
        let partial = |keys: &LockoutKeys| Partial {
            threshold: keys.lockout_threshold.map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
            duration: keys.lockout_duration,
            reset: keys.lockout_counter_reset,
            disable: keys.disable_lockout,
        };
        Settings(self.0.iter().map(|(kind, keys)| (kind.clone(), partial(keys))).collect())
    }
}

impl Setting for UserLockout {
    const KIND: &'static str = "blocks";
    const ADDS_UP: bool = true;

    /// `user_lockout "all" { … }`, `user_lockout "userpass" { … }`.
    fn read(key: &str, node: &Node, cx: &mut Reading) -> Option<Self> {
        let mut found = BTreeMap::new();
        let mut failed = false;
        for (label, body) in labelled(key, node, cx)? {
            let kind = label.name.to_ascii_lowercase();
            if kind != "all" && !KINDS.contains(&kind.as_str()) {
                cx.error(&label.at, format!("{key} takes one of all, {}", KINDS.join(", ")));
                failed = true;
                continue;
            }
            let keys = block(key, body, cx).and_then(|entries| LockoutKeys::from_entries(entries, cx));
            match keys {
                Some(keys) if keys.lockout_threshold == Some(0) => {
                    cx.error(
                        &label.at,
                        format!("{key}.lockout_threshold is at least 1; disable_lockout = true locks nobody out"),
                    );
                    failed = true;
                }
                Some(keys) if [keys.lockout_duration, keys.lockout_counter_reset].iter().flatten().any(|s| s.is_negative()) => {
                    cx.error(&label.at, format!("{key} takes durations that are not negative"));
                    failed = true;
                }
                Some(_) if found.contains_key(&kind) => {
                    cx.error(&label.at, format!("{key} \"{kind}\" is set twice"));
                    failed = true;
                }
                Some(keys) => {
                    found.insert(kind, keys);
                }
                None => failed = true,
            }
        }
        (!failed).then_some(Self(found))
    }

    fn unset(_: &str, _: &str, _: &mut Reading) -> Option<Self> {
        Some(Self::default())
    }

    /// A later stanza of the same kind takes the place of an earlier one.
    fn merge(mut self, later: Self) -> Self {
        self.0.extend(later.0);
        self
    }
}
