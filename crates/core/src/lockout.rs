//! Names that failed to log in too often. Counted in memory, by mount and name, for names that exist and names that don't
//! alike; bounded; forgotten when the server is sealed. Auth methods ask through [`Ctx::attempt`](coffer_engine::Ctx::attempt).
//! <https://developer.hashicorp.com/vault/docs/concepts/user-lockout>

use crate::mounts::MountRecord;
use coffer_crypto::mac::sha256;
use coffer_engine::{Lockout, Mount, MountClass};
use coffer_types::{Error, Result, Span, Timestamp};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};

/// The methods that lock names out. What others check is no guess (a signature), or is counted where it is checked.
pub const KINDS: [&str; 3] = ["approle", "ldap", "userpass"];

/// What was said about lockout, by the configuration or a mount's tuning; what is `None` is left to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Partial {
    pub threshold: Option<u32>,
    pub duration: Option<Span>,
    pub reset: Option<Span>,
    pub disable: Option<bool>,
}

/// The configuration's `user_lockout` stanzas: by kind of auth method, or `all`.
#[derive(Clone, Debug, Default)]
pub struct Settings(pub BTreeMap<String, Partial>);

impl Settings {
    /// What holds for a mount: its tuning, else what is said of its kind, else of all, else five tries and fifteen minutes.
    pub fn of(&self, record: &MountRecord) -> Lockout {
        if record.class != MountClass::Auth || !KINDS.contains(&record.kind.as_str()) {
            return Lockout::default();
        }
        let tuned = Partial::stored(&record.tune.user_lockout);
        let said = [Some(&tuned), self.0.get(&record.kind), self.0.get("all")];
        let said = || said.into_iter().flatten();
        if said().find_map(|s| s.disable) == Some(true) {
            return Lockout::default();
        }
        let quarter = Span::from_secs(15 * 60);
        Lockout {
            threshold: said().find_map(|s| s.threshold).unwrap_or(5),
            duration: said().find_map(|s| s.duration).unwrap_or(quarter),
            reset: said().find_map(|s| s.reset).unwrap_or(quarter),
        }
    }
}

/// The names of a tuning's fields as they are asked for, and as they are stored and shown.
const FIELDS: [(&str, &str); 4] = [
    ("lockout_threshold", "user_lockout_threshold"),
    ("lockout_duration", "user_lockout_duration"),
    ("lockout_counter_reset_duration", "user_lockout_counter_reset_duration"),
    ("lockout_disable", "user_lockout_disable"),
];

impl Partial {
    /// A mount's `user_lockout_config`, over what its tuning said before.
    ///
    /// # Errors
    /// A value that is no number, duration or boolean, as the field asks for.
    pub fn tune(stored: &mut BTreeMap<String, String>, asked: &BTreeMap<String, String>) -> Result<()> {
        for (field, name) in FIELDS {
            let Some(value) = asked.get(field) else { continue };
            let kept = match field {
                "lockout_threshold" => match value.trim().parse::<u32>() {
                    Ok(n) => n.to_string(),
                    Err(_) => return Err(Error::bad_request("lockout_threshold must be a number that is not negative")),
                },
                "lockout_disable" => match value.trim() {
                    "true" | "1" => "true".to_owned(),
                    "false" | "0" | "" => "false".to_owned(),
                    _ => return Err(Error::bad_request("lockout_disable must be true or false")),
                },
                _ => match Span::parse(value) {
                    Ok(span) if !span.is_negative() => span.secs().to_string(),
                    _ => return Err(Error::bad_request(format!("{field} must be a duration that is not negative"))),
                },
            };
            stored.insert(name.to_owned(), kept);
        }
        Ok(())
    }

    /// As a mount's tuning keeps it. Zero stands for "as the server says".
    fn stored(stored: &BTreeMap<String, String>) -> Self {
        let number = |name: &str| stored.get(name)?.parse::<u32>().ok().filter(|n| *n > 0);
        let span = |name: &str| number(name).map(|secs| Span::from_secs(i64::from(secs)));
        Self {
            threshold: number("user_lockout_threshold"),
            duration: span("user_lockout_duration"),
            reset: span("user_lockout_counter_reset_duration"),
            disable: stored.get("user_lockout_disable").map(|d| d == "true"),
        }
    }
}

/// How many names are counted at once, of all mounts.
const MOST: usize = 1 << 16;
/// A longer name is counted under its digest.
const LONGEST: usize = 256;

/// Failed logins, and who is locked out.
#[derive(Default)]
pub struct Tries(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    by_name: HashMap<Key, Tried>,
    /// Which goes first when there are too many: who is not locked out, longest ago.
    order: BTreeMap<(bool, u64), Key>,
    last: u64,
}

/// The accessor of the mount, and the name.
type Key = (Box<str>, Box<str>);

#[derive(Clone, Copy)]
struct Tried {
    failures: u32,
    last: Timestamp,
    /// Locked out until then.
    until: Option<Timestamp>,
    place: (bool, u64),
}

/// The locked names of each mount.
pub type Locked = BTreeMap<String, Vec<String>>;

impl Tries {
    pub fn is_locked(&self, mount: &Mount, alias: &str, now: Timestamp) -> bool {
        if mount.lockout.threshold == 0 {
            return false;
        }
        self.0.lock().by_name.get(&key(&mount.accessor, alias)).is_some_and(|t| t.is_locked(now))
    }

    pub fn count(&self, mount: &Mount, alias: &str, now: Timestamp) {
        let rules = mount.lockout;
        if rules.threshold == 0 {
            return;
        }
        let key = key(&mount.accessor, alias);
        let mut counted = self.0.lock();
        let before = counted.remove(&key).filter(|t| t.still_counts(&rules, now));
        let failures = before.map_or(0, |t| t.failures).saturating_add(1);
        let until = match before.and_then(|t| t.until) {
            // Who was let in to try before the lock fell does not make it longer.
            Some(until) => Some(until),
            None => (failures >= rules.threshold).then(|| now.plus(rules.duration.duration())),
        };
        counted.insert(key, failures, now, until);
    }

    /// After a login that held, or by an operator.
    pub fn forget(&self, accessor: &str, alias: &str) {
        self.0.lock().remove(&key(accessor, alias));
    }

    /// Who is locked out, of one mount or all.
    pub fn locked(&self, accessor: Option<&str>, now: Timestamp) -> Locked {
        let mut locked = Locked::new();
        for ((mount, name), tried) in &self.0.lock().by_name {
            if tried.is_locked(now) && accessor.is_none_or(|a| a == &**mount) {
                locked.entry(mount.to_string()).or_default().push(name.to_string());
            }
        }
        locked.values_mut().for_each(|names| names.sort_unstable());
        locked
    }
}

impl Tried {
    fn is_locked(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    fn still_counts(&self, rules: &Lockout, now: Timestamp) -> bool {
        match self.until {
            Some(until) => now < until,
            None => now < self.last.plus(rules.reset.duration()),
        }
    }
}

impl Counted {
    fn remove(&mut self, key: &Key) -> Option<Tried> {
        let tried = self.by_name.remove(key)?;
        self.order.remove(&tried.place);
        Some(tried)
    }

    fn insert(&mut self, key: Key, failures: u32, last: Timestamp, until: Option<Timestamp>) {
        if self.by_name.len() >= MOST
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.by_name.remove(&oldest);
        }
        self.last += 1;
        let place = (until.is_some(), self.last);
        self.order.insert(place, key.clone());
        self.by_name.insert(key, Tried { failures, last, until, place });
    }
}

fn key(accessor: &str, alias: &str) -> Key {
    let name =
        if alias.len() <= LONGEST { alias.into() } else { format!("sha256:{}", hex::encode(sha256(&[alias.as_bytes()]))).into() };
    (accessor.into(), name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_types::Span;

    fn mount(threshold: u32) -> Mount {
        Mount {
            class: MountClass::Auth,
            path: "auth/userpass/".into(),
            kind: "userpass".into(),
            accessor: "auth_userpass_1".into(),
            uuid: "u".into(),
            options: BTreeMap::new(),
            default_lease_ttl: Span::from_secs(1),
            max_lease_ttl: Span::from_secs(1),
            lockout: Lockout { threshold, duration: Span::from_secs(60), reset: Span::from_secs(30) },
        }
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(1_000_000 + secs)
    }

    #[test]
    fn the_threshold_locks_one_name_of_one_mount_for_its_time() {
        let (tries, mount) = (Tries::default(), mount(3));
        for second in 0..3 {
            assert!(!tries.is_locked(&mount, "bob", at(second)));
            tries.count(&mount, "bob", at(second));
        }
        assert!(tries.is_locked(&mount, "bob", at(3)));
        assert!(!tries.is_locked(&mount, "eve", at(3)));
        let other = Mount { accessor: "auth_userpass_2".into(), ..mount.clone() };
        assert!(!tries.is_locked(&other, "bob", at(3)));
        assert_eq!(tries.locked(None, at(3))["auth_userpass_1"], ["bob"]);
        assert!(tries.locked(Some("auth_userpass_2"), at(3)).is_empty());
        // A guess that was under way does not make it longer, and the count starts anew once it is over.
        tries.count(&mount, "bob", at(50));
        assert!(tries.is_locked(&mount, "bob", at(61)) && !tries.is_locked(&mount, "bob", at(62)));
        tries.count(&mount, "bob", at(63));
        assert!(!tries.is_locked(&mount, "bob", at(63)) && tries.locked(None, at(63)).is_empty());
    }

    #[test]
    fn failures_long_ago_and_those_before_a_success_do_not_count() {
        let (tries, mount) = (Tries::default(), mount(2));
        tries.count(&mount, "bob", at(0));
        tries.count(&mount, "bob", at(31));
        assert!(!tries.is_locked(&mount, "bob", at(31)));
        tries.forget(&mount.accessor, "bob");
        tries.count(&mount, "bob", at(32));
        assert!(!tries.is_locked(&mount, "bob", at(32)));
        tries.count(&mount, "bob", at(33));
        assert!(tries.is_locked(&mount, "bob", at(33)));
        tries.forget(&mount.accessor, "bob");
        assert!(!tries.is_locked(&mount, "bob", at(33)));
    }

    #[test]
    fn many_names_do_not_push_out_who_is_locked_and_take_bounded_memory() {
        let (tries, mount) = (Tries::default(), mount(2));
        tries.count(&mount, "bob", at(0));
        tries.count(&mount, "bob", at(0));
        for n in 0..MOST + 10 {
            tries.count(&mount, &format!("{n}"), at(1));
        }
        tries.count(&mount, &"x".repeat(100_000), at(1));
        assert!(tries.is_locked(&mount, "bob", at(2)));
        let counted = tries.0.lock();
        assert!(counted.by_name.len() <= MOST && counted.order.len() == counted.by_name.len());
        assert!(counted.by_name.keys().all(|(_, name)| name.len() <= LONGEST));
    }

    #[test]
    fn the_mount_says_more_than_the_kind_and_the_kind_more_than_all() {
        let mut record = MountRecord {
            class: MountClass::Auth,
            path: "userpass/".into(),
            kind: "userpass".into(),
            accessor: "a".into(),
            uuid: "u".into(),
            description: String::new(),
            options: BTreeMap::new(),
            tune: crate::mounts::Tune::default(),
            local: false,
            seal_wrap: false,
            external_entropy_access: false,
            plugin_version: String::new(),
            going: false,
        };
        let (five, quarter) = (5, Span::from_secs(900));
        assert_eq!(Settings::default().of(&record), Lockout { threshold: five, duration: quarter, reset: quarter });
        let all = Partial { threshold: Some(7), duration: Some(Span::from_secs(7)), ..Partial::default() };
        let kind = Partial { threshold: Some(6), ..Partial::default() };
        let settings = Settings([("all".to_owned(), all), ("userpass".to_owned(), kind)].into());
        assert_eq!(settings.of(&record), Lockout { threshold: 6, duration: Span::from_secs(7), reset: quarter });
        let ask = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Partial::tune(&mut record.tune.user_lockout, &ask(&[("lockout_threshold", "2"), ("lockout_duration", "1m")])).unwrap();
        assert_eq!(settings.of(&record), Lockout { threshold: 2, duration: Span::from_secs(60), reset: quarter });
        Partial::tune(&mut record.tune.user_lockout, &ask(&[("lockout_disable", "true")])).unwrap();
        assert_eq!(settings.of(&record), Lockout::default());
        for bad in [
            ("lockout_threshold", "-3"),
            ("lockout_duration", "soon"),
            ("lockout_duration", "-1s"),
            ("lockout_disable", "perhaps"),
        ] {
            assert!(Partial::tune(&mut record.tune.user_lockout, &ask(&[bad])).is_err(), "{bad:?}");
        }
        record.kind = "jwt".into();
        assert_eq!(settings.of(&record).threshold, 0);
    }
}
