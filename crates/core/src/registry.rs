//! The engines and auth methods that a server can mount: one line each in `server/registry.rs`.

use coffer_engine::declare::Declared;
use coffer_engine::route::Factory;
use coffer_engine::{Engine, MountClass};
use std::sync::Arc;

/// Built once at start.
#[derive(Clone, Default)]
pub struct Registry {
    factories: Vec<(MountClass, Arc<dyn Factory>)>,
}

impl Registry {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a secrets engine.
    ///
    /// # Errors
    /// What is ambiguous or declared twice in it; a programming error that the first test shows.
    pub fn engine<E: Engine>(self) -> Result<Self, Vec<String>> {
        self.add::<E>(MountClass::Engine)
    }

    /// Adds an auth method.
    ///
    /// # Errors
    /// As [`Registry::engine`].
    pub fn auth<E: Engine>(self) -> Result<Self, Vec<String>> {
        self.add::<E>(MountClass::Auth)
    }

    fn add<E: Engine>(mut self, class: MountClass) -> Result<Self, Vec<String>> {
        if self.find(class, E::KIND, E::VERSION).is_some_and(|f| f.version() == E::VERSION) {
            return Err(vec![format!("{} is registered twice", E::KIND)]);
        }
        self.factories.push((class, Arc::new(Declared::<E>::new()?)));
        Ok(self)
    }

    /// The engine of a kind; without a version the first registered.
    pub fn find(&self, class: MountClass, kind: &str, version: Option<&str>) -> Option<&Arc<dyn Factory>> {
        let of_kind = || self.factories.iter().filter(|(c, f)| *c == class && f.kind() == kind).map(|(_, f)| f);
        match version {
            Some(version) => {
                of_kind().find(|f| f.version() == Some(version)).or_else(|| of_kind().find(|f| f.version().is_none()))
            }
            None => of_kind().next(),
        }
    }

    pub fn all(&self) -> impl Iterator<Item = (MountClass, &Arc<dyn Factory>)> {
        self.factories.iter().map(|(c, f)| (*c, f))
    }
}
