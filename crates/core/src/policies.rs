//! Stored policies, and the compiled sets of them.

use crate::barrier::Barrier;
use crate::decide::Question;
use crate::live::Live;
use crate::policy::password::PasswordPolicy;
use crate::policy::{Ask, DEFAULT_POLICY, NoParameters, Parameters, Policy, Verdict, compile};
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
pub async fn compile_named(view: &View, names: &[Box<str>], now: Timestamp) -> Result<Compiled> {
    compile_until(view, names, now).await.map(|(compiled, _)| compiled)
}

/// And until when the result holds: a policy, or one of its blocks, may end by itself.
async fn compile_until(view: &View, names: &[Box<str>], now: Timestamp) -> Result<(Compiled, Option<Timestamp>)> {
    let mut policies = Vec::with_capacity(names.len());
    let mut ends: Vec<Timestamp> = Vec::new();
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
            ends.push(stored.expires);
        }
        let mut policy = Policy::parse(name, &stored.text)
            .map_err(|e| Error::internal(format!("the stored policy {name:?} does not parse: {e}")))?;
        policy.allow_wildcards_in_identity_templates = stored.allow_wildcards;
        policy.allow_slashes_in_identity_templates = stored.allow_slashes;
        policies.push(Arc::new(policy));
    }
    let compiled = compile(&policies, &(), now).map_err(|_| Error::denied())?;
    ends.extend(compiled.valid_until());
    Ok((compiled, ends.into_iter().min()))
}

/// Compiled sets, by the names of their policies. Emptied whenever a policy changes; bounded.
#[derive(Default)]
pub struct PolicyCache {
    sets: RwLock<HashMap<Arc<[Box<str>]>, Cached>>,
    /// Counts the clearings, so that a set compiled from older texts is not put in after one.
    generation: AtomicU64,
}

struct Cached {
    compiled: Arc<Compiled>,
    until: Option<Timestamp>,
}

/// More sets than this are not kept: a server has a few hundred.
const SETS: usize = 4096;

impl PolicyCache {
    pub fn clear(&self) {
        let mut sets = self.sets.write();
        self.generation.fetch_add(1, Ordering::AcqRel);
        sets.clear();
    }

    /// The set of these policies, as they are now: a set is compiled from a snapshot of its own, taken after the count of
    /// clearings was read. The snapshot of a call may be older than a change that cleared the sets already, and what is
    /// put in would stand for every later call.
    pub async fn compiled(&self, barrier: &Arc<Barrier>, names: &Arc<[Box<str>]>, now: Timestamp) -> Result<Arc<Compiled>> {
        if let Some(found) = self.sets.read().get(names)
            && found.until.is_none_or(|until| now < until)
        {
            return Ok(found.compiled.clone());
        }
        let generation = self.generation.load(Ordering::Acquire);
        let (compiled, until) = compile_until(&barrier.begin().root_view(), names, now).await?;
        let compiled = Arc::new(compiled);
        let mut sets = self.sets.write();
        if self.generation.load(Ordering::Acquire) == generation {
            if sets.len() >= SETS {
                sets.clear();
            }
            sets.insert(names.clone(), Cached { compiled: compiled.clone(), until });
        }
        Ok(compiled)
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
