//! Stored policies, and the compiled sets of them.

use crate::decide::Question;
use crate::live::Live;
use coffer_crypto::random::Random;
use coffer_engine::view::View;
use coffer_types::{Error, Result, Secret};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;

/// Below this stand the policies; a commit that touches it clears the compiled sets.
pub const PREFIX: &str = "core/policy/";
/// `core/policy/acl/<name>`: the text as it was written.
pub const ACL: &str = "core/policy/acl/";

/// A set of policies, compiled.
pub struct Compiled {
    root: bool,
}

impl Compiled {
    /// The policies that grant it, if any does.
    pub fn grants(&self, _question: &Question<'_>) -> Option<Arc<[Box<str>]>> {
        self.root.then(|| Arc::from(["root".into()]))
    }
}

/// Compiled sets, by the names of their policies. Emptied whenever a policy changes.
#[derive(Default)]
pub struct PolicyCache {
    sets: RwLock<HashMap<Arc<[Box<str>]>, Arc<Compiled>>>,
}

impl PolicyCache {
    pub fn clear(&self) {
        self.sets.write().clear();
    }

    /// The set of these policies.
    pub async fn compiled(&self, _view: &View, names: &Arc<[Box<str>]>) -> Result<Arc<Compiled>> {
        if let Some(found) = self.sets.read().get(names) {
            return Ok(found.clone());
        }
        Ok(Arc::new(Compiled { root: names.iter().any(|n| &**n == "root") }))
    }
}

/// Is there such a policy?
pub async fn exists(view: &View, name: &str) -> Result<bool> {
    Ok(name == "root" || view.exists(&format!("{ACL}{name}")).await?)
}

/// A password by a named password policy.
pub async fn password(_live: &Live, _random: &dyn Random, _policy: &str) -> Result<Secret<String>> {
    Err(Error::not_found())
}
