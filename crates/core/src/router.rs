//! From a path to the mount that answers it: the longest mount path that the path starts with.

use crate::mounts::MountRecord;
use coffer_engine::Mount;
use coffer_engine::route::Erased;
use coffer_types::Path;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A mount that answers calls.
pub struct Mounted {
    pub record: MountRecord,
    pub mount: Arc<Mount>,
    pub engine: Arc<dyn Erased>,
    /// Where its data and its intents stand in the barrier.
    pub prefix: Arc<str>,
    pub intents: Arc<str>,
}

/// The mounts as of one revision of the table. Replaced whole.
#[derive(Default)]
pub struct Router {
    mounts: BTreeMap<Box<str>, Arc<Mounted>>,
}

impl Router {
    pub fn new(mounts: impl IntoIterator<Item = Mounted>) -> Self {
        Self { mounts: mounts.into_iter().map(|m| (m.mount.path.clone(), Arc::new(m))).collect() }
    }

    /// The mount and the path inside it. `secret` without its slash is the mount's root.
    pub fn resolve<'p>(&self, path: &'p Path) -> Option<(&Arc<Mounted>, &'p str)> {
        let text = path.as_str();
        // Mounts never lie inside one another, so each prefix that ends in a slash is asked once.
        for (at, _) in text.match_indices('/') {
            if let Some(found) = self.mounts.get(&text[..=at]) {
                return Some((found, &text[at + 1..]));
            }
        }
        let mut bare = String::with_capacity(text.len() + 1);
        bare.push_str(text);
        bare.push('/');
        self.mounts.get(bare.as_str()).map(|m| (m, ""))
    }

    pub fn at(&self, whole_path: &str) -> Option<&Arc<Mounted>> {
        self.mounts.get(whole_path)
    }

    pub fn by_accessor(&self, accessor: &str) -> Option<&Arc<Mounted>> {
        self.mounts.values().find(|m| m.record.accessor == accessor)
    }

    pub fn by_uuid(&self, uuid: &str) -> Option<&Arc<Mounted>> {
        self.mounts.values().find(|m| m.record.uuid == uuid)
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<Mounted>> {
        self.mounts.values()
    }
}
