//! Stored policies, and the compiled sets of them.

use crate::barrier::Barrier;
use crate::decide::Question;
use crate::identity::Identity;
use crate::live::Live;
use crate::policy::password::PasswordPolicy;
use crate::policy::{Ask, DEFAULT_POLICY, NoParameters, Parameters, Policy, Subject, Verdict, compile};
use coffer_crypto::random::Random;
use coffer_engine::view::{Record, View};
use coffer_types::{Error, Operation, Result, Secret, Timestamp};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use crate::policy::Compiled;

/// Below this stand the policies; a commit that touches it clears the compiled sets.
pub const PREFIX: &str = "core/policy/";
/// `core/policy/acl/<name>`: the text as it was written.
pub const ACL: &str = "core/policy/acl/";
/// `core/policy/password/<name>`: the text as it was written.
pub const PASSWORD: &str = "core/policy/password/";

/// What a wrapping token may do, in words, for whoever looks it up; unwrapping itself is a public route.
const RESPONSE_WRAPPING: &str = "path \"sys/wrapping/unwrap\" {\n  capabilities = [\"update\"]\n}\n";

/// A policy as it is stored.
#[derive(Default, Serialize, Deserialize)]
pub struct PolicyText {
    pub text: String,
    #[serde(default)]
    pub modified: Timestamp,
    #[serde(default)]
    pub version: i64,
    #[serde(default)]
    pub cas_required: bool,
    /// It grants and denies nothing any more from then on.
    #[serde(default)]
    pub expires: Timestamp,
    #[serde(default)]
    pub allow_wildcards: bool,
    #[serde(default)]
    pub allow_slashes: bool,
}

impl Record for PolicyText {
    const FORMAT: u8 = 1;
}

/// An ACL policy: the stored one, else the one that the server brings along.
pub async fn find(view: &View, name: &str) -> Result<Option<PolicyText>> {
    if let Some(stored) = view.get::<PolicyText>(&format!("{ACL}{name}")).await? {
        return Ok(Some(stored));
    }
    Ok(match name {
        "default" => {
            Some(PolicyText { text: DEFAULT_POLICY.to_owned(), modified: Timestamp(1), version: 1, ..PolicyText::default() })
        }
        "root" => Some(PolicyText::default()),
        crate::wrapping::POLICY => Some(PolicyText { text: RESPONSE_WRAPPING.to_owned(), version: 1, ..PolicyText::default() }),
        _ => None,
    })
}

/// Is there such a policy?
pub async fn exists(view: &View, name: &str) -> Result<bool> {
    Ok(find(view, name).await?.is_some())
}

/// Compiles policies by name. Names without a policy grant nothing; a text that no longer parses is our fault, and then
/// nothing is granted at all, since what it would have denied is not known.
/// `identity` fills templates; without one they take no part.
pub async fn compile_named(view: &View, names: &[Box<str>], identity: Option<&Identity>, now: Timestamp) -> Result<Compiled> {
    Parsed::read(view, names, now).await?.compile(identity, now)
}

/// The policies of a set, read and parsed, and when the first of them ends by itself.
struct Parsed {
    policies: Vec<Arc<Policy>>,
    ends: Option<Timestamp>,
}

impl Parsed {
    async fn read(view: &View, names: &[Box<str>], now: Timestamp) -> Result<Self> {
        let mut policies = Vec::with_capacity(names.len());
        let mut ends: Option<Timestamp> = None;
        for name in names {
            if &**name == "root" {
                policies.push(Arc::new(Policy::root()));
                continue;
            }
            let Some(stored) = find(view, name).await? else { continue };
            if !stored.expires.is_never() {
                if stored.expires <= now {
                    continue;
                }
                ends = Some(ends.map_or(stored.expires, |first| first.min(stored.expires)));
            }
            let mut policy = Policy::parse(name, &stored.text)
                .map_err(|e| Error::internal(format!("the stored policy {name:?} does not parse: {e}")))?;
            policy.allow_wildcards_in_identity_templates = stored.allow_wildcards;
            policy.allow_slashes_in_identity_templates = stored.allow_slashes;
            policies.push(Arc::new(policy));
        }
        Ok(Self { policies, ends })
    }

    fn compile(&self, identity: Option<&Identity>, now: Timestamp) -> Result<Compiled> {
        let subject: &dyn Subject = identity.map_or(&() as &dyn Subject, |identity| identity);
        compile(&self.policies, subject, now).map_err(|_| Error::denied())
    }
}

/// Compiled sets, by the names of their policies. Emptied whenever a policy changes; bounded. Sets with templates are kept
/// here as they are without an identity, and beside each identity as it fills them.
#[derive(Default)]
pub struct PolicyCache {
    sets: RwLock<HashMap<Names, Arc<Base>>>,
    /// Counts the clearings, so that a set compiled from older texts is not put in after one.
    generation: AtomicU64,
}

/// The names of the policies of a set, sorted.
pub(crate) type Names = Arc<[Box<str>]>;

/// A set as it is without an identity.
struct Base {
    parsed: Parsed,
    compiled: Arc<Compiled>,
    until: Option<Timestamp>,
    /// An identity makes a difference.
    templated: bool,
}

/// A set with templates, as one identity fills them.
pub(crate) struct Kept {
    /// What it was made of: it holds only as long as that is the set of its names.
    base: Arc<Base>,
    compiled: Arc<Compiled>,
    until: Option<Timestamp>,
}

/// More sets than this are not kept: a server has a few hundred.
const SETS: usize = 4096;
/// More sets than this are not kept of one identity: its tokens have one or two.
const SETS_OF_ONE: usize = 16;

fn holds(until: Option<Timestamp>, now: Timestamp) -> bool {
    until.is_none_or(|until| now < until)
}

impl PolicyCache {
    pub fn clear(&self) {
        let mut sets = self.sets.write();
        self.generation.fetch_add(1, Ordering::AcqRel);
        sets.clear();
    }

    /// The set of these policies for one identity, as they are now: a set is compiled from a snapshot of its own, taken after
    /// the count of clearings was read. The snapshot of a call may be older than a change that cleared the sets already, and
    /// what is put in would stand for every later call.
    pub async fn compiled(
        &self,
        barrier: &Arc<Barrier>,
        names: &Arc<[Box<str>]>,
        identity: Option<&Identity>,
        now: Timestamp,
    ) -> Result<Arc<Compiled>> {
        let base = self.base(barrier, names, now).await?;
        let Some(identity) = identity.filter(|_| base.templated) else { return Ok(base.compiled.clone()) };
        if let Some(kept) = identity.sets.read().get(names)
            && Arc::ptr_eq(&kept.base, &base)
            && holds(kept.until, now)
        {
            return Ok(kept.compiled.clone());
        }
        let compiled = Arc::new(base.parsed.compile(Some(identity), now)?);
        let until = base.parsed.ends.into_iter().chain(compiled.valid_until()).min();
        let mut sets = identity.sets.write();
        if sets.len() >= SETS_OF_ONE {
            sets.clear();
        }
        sets.insert(names.clone(), Kept { base, compiled: compiled.clone(), until });
        Ok(compiled)
    }

    async fn base(&self, barrier: &Arc<Barrier>, names: &Arc<[Box<str>]>, now: Timestamp) -> Result<Arc<Base>> {
        if let Some(found) = self.sets.read().get(names)
            && holds(found.until, now)
        {
            return Ok(found.clone());
        }
        let generation = self.generation.load(Ordering::Acquire);
        let parsed = Parsed::read(&barrier.begin().root_view(), names, now).await?;
        let compiled = Arc::new(parsed.compile(None, now)?);
        let until = parsed.ends.into_iter().chain(compiled.valid_until()).min();
        let templated = parsed.policies.iter().any(|p| p.is_templated());
        let base = Arc::new(Base { parsed, compiled, until, templated });
        let mut sets = self.sets.write();
        if self.generation.load(Ordering::Acquire) == generation {
            if sets.len() >= SETS {
                sets.clear();
            }
            sets.insert(names.clone(), base.clone());
        }
        Ok(base)
    }
}

/// Asks the decider a question of the pipeline.
pub fn ask<'c>(compiled: &'c Compiled, question: &Question<'_>) -> Verdict<'c> {
    let path = asked_path(question.operation, question.path);
    let parameters: &dyn Parameters = match question.call {
        Some(call) => &call.fields,
        None => &NoParameters,
    };
    let wrap_ttl = question.call.and_then(|c| c.wrap).map(|w| w.ttl);
    compiled.decide(&Ask { operation: question.operation, path: &path, parameters, wrap_ttl, sudo: question.sudo })
}

/// The path that policies are asked: a list is a question to the folder, however it was written.
pub fn asked_path(operation: Operation, path: &str) -> Cow<'_, str> {
    let listing = matches!(operation, Operation::List | Operation::Scan);
    if listing && !path.ends_with('/') { format!("{path}/").into() } else { path.into() }
}

/// A password by a named password policy.
pub async fn password(live: &Live, random: &dyn Random, name: &str) -> Result<Secret<String>> {
    let stored = live.view().get::<PolicyText>(&format!("{PASSWORD}{name}")).await?;
    let stored = stored.ok_or_else(|| Error::bad_request("the password policy does not exist"))?;
    let policy = PasswordPolicy::parse(&stored.text)
        .map_err(|e| Error::internal(format!("the stored password policy {name:?} does not parse: {e}")))?;
    Ok(policy.generate(random))
}
