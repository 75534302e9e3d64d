//! Who a token's entity is, kept ready: its policies with those of its groups, and what fills templates.
//!
//! Invariant: after a commit that changed an entity or a group is acknowledged, no call sees what was before. Each entry is
//! read from a snapshot taken after the shard's count of changes, and is put in only if that count still stands; a commit
//! counts before it is acknowledged. A change of an entity concerns its shard, one of a group all shards.

use super::mfa::attempts::Attempts;
use super::record::{ENTITIES, Entity, GROUPS, Group, MERGED, PREFIX, Pointer, normal_name};
use super::store::IdentityStore;
use crate::barrier::Barrier;
use crate::policies::{Kept, Names};
use crate::policy::{Expression, Field, GroupBy, Subject};
use crate::tokens::record::ROOT_POLICY;
use coffer_types::Result;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// An entity with its groups, as of one moment.
pub struct Identity {
    pub entity: Entity,
    /// The direct ones first, then those that they are inside of.
    pub groups: Vec<Group>,
    /// Its own policies and those of its groups, sorted, each once; never `root`.
    pub policies: Vec<String>,
    /// Sets of policies whose templates this identity fills.
    pub(crate) sets: RwLock<HashMap<Names, Kept>>,
}

impl Identity {
    pub fn new(entity: Entity, groups: Vec<Group>) -> Self {
        let mut policies: Vec<String> = entity
            .policies
            .iter()
            .chain(groups.iter().flat_map(|g| &g.policies))
            .filter(|p| *p != ROOT_POLICY)
            .cloned()
            .collect();
        policies.sort_unstable();
        policies.dedup();
        Self { entity, groups, policies, sets: RwLock::default() }
    }

    /// The entity with its groups, as a view sees them.
    pub async fn load(store: &IdentityStore, view: &coffer_engine::View, entity: Entity) -> Result<Self> {
        let groups = store.groups_of(view, &entity).await?;
        Ok(Self::new(entity, groups))
    }

    fn group(&self, by: GroupBy, key: &str) -> Option<&Group> {
        self.groups.iter().find(|g| match by {
            GroupBy::Id => g.id == key,
            GroupBy::Name => normal_name(&g.name) == normal_name(key),
        })
    }
}

impl Subject for Identity {
    fn value(&self, expression: &Expression) -> Option<String> {
        match expression {
            Expression::EntityId => Some(self.entity.id.clone()),
            Expression::EntityName => Some(self.entity.name.clone()),
            Expression::EntityMetadata(key) => self.entity.metadata.get(&**key).cloned(),
            Expression::Alias { accessor, field } => {
                let alias = self.entity.alias_of(accessor)?;
                match field {
                    Field::Id => Some(alias.id.clone()),
                    Field::Name => Some(alias.name.clone()),
                    Field::Metadata(key) => alias.metadata.get(&**key).cloned(),
                    Field::CustomMetadata(key) => alias.custom_metadata.as_ref()?.get(&**key).cloned(),
                }
            }
            Expression::Group { by, key, field } => {
                let group = self.group(*by, key)?;
                match field {
                    Field::Id => Some(group.id.clone()),
                    Field::Name => Some(group.name.clone()),
                    Field::Metadata(key) => group.metadata.get(&**key).cloned(),
                    Field::CustomMetadata(_) => None,
                }
            }
            Expression::Unknown(_) => None,
        }
    }
}

const SHARDS: usize = 64;
/// More entities than this a shard are not kept.
const KEPT: usize = 2048;

/// The entities of tokens in use, by the id that the token names.
pub struct Identities {
    pub store: IdentityStore,
    /// Wrong codes of second factors.
    pub attempts: Attempts,
    shards: Vec<RwLock<Shard>>,
    hash: RandomState,
}

#[derive(Default)]
struct Shard {
    changes: u64,
    kept: HashMap<Box<str>, Found>,
}

#[derive(Clone)]
enum Found {
    Here(Arc<Identity>),
    /// It was merged into that one.
    Moved(Box<str>),
}

impl Identities {
    pub fn new(store: IdentityStore) -> Self {
        Self {
            store,
            attempts: Attempts::default(),
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            hash: RandomState::new(),
        }
    }

    fn shard(&self, id: &str) -> &RwLock<Shard> {
        let hash = self.hash.hash_one(id);
        &self.shards[usize::try_from(hash % (SHARDS as u64)).unwrap_or_default()]
    }

    /// The identity behind the entity id of a token, as it is now; `None` if there is no such entity.
    pub async fn get(&self, barrier: &Arc<Barrier>, id: &str) -> Result<Option<Arc<Identity>>> {
        if id.is_empty() {
            return Ok(None);
        }
        if let Some(Found::Here(identity)) = self.shard(id).read().kept.get(id) {
            return Ok(Some(identity.clone()));
        }
        let mut id: Box<str> = id.into();
        // Once: whoever takes an entity in takes over what led to it.
        for _ in 0..2 {
            let found = self.shard(&id).read().kept.get(&id).cloned();
            let found = match found {
                Some(found) => Some(found),
                None => self.load(barrier, &id).await?,
            };
            match found {
                None => return Ok(None),
                Some(Found::Here(identity)) => return Ok(Some(identity)),
                Some(Found::Moved(heir)) => id = heir,
            }
        }
        Ok(None)
    }

    async fn load(&self, barrier: &Arc<Barrier>, id: &str) -> Result<Option<Found>> {
        let changes = self.shard(id).read().changes;
        let view = barrier.begin().root_view();
        let found = match self.store.entity(&view, id).await? {
            Some(entity) => Found::Here(Arc::new(Identity::load(&self.store, &view, entity).await?)),
            None => match view.get::<Pointer>(&format!("{MERGED}{id}")).await? {
                Some(heir) => Found::Moved(heir.id.into()),
                None => return Ok(None),
            },
        };
        let mut shard = self.shard(id).write();
        if shard.changes == changes {
            if shard.kept.len() >= KEPT {
                shard.kept.clear();
            }
            shard.kept.insert(id.into(), found.clone());
        }
        Ok(Some(found))
    }

    /// Forgets what a commit has changed.
    pub fn after_commit(&self, keys: &[String]) {
        for key in keys.iter().filter(|k| k.starts_with(PREFIX)) {
            if key.starts_with(GROUPS) {
                for shard in &self.shards {
                    let mut shard = shard.write();
                    shard.changes += 1;
                    shard.kept.clear();
                }
            } else if let Some(id) = key.strip_prefix(ENTITIES).or_else(|| key.strip_prefix(MERGED)) {
                let mut shard = self.shard(id).write();
                shard.changes += 1;
                shard.kept.remove(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::record::Alias;

    fn alias(accessor: &str, name: &str, key: &str) -> Alias {
        Alias {
            id: format!("id-{name}"),
            name: name.to_owned(),
            mount_accessor: accessor.to_owned(),
            metadata: [("k".to_owned(), key.to_owned())].into(),
            ..Alias::default()
        }
    }

    #[test]
    fn each_mount_fills_from_its_own_alias() {
        let aliases = vec![alias("up_1", "bob", "one"), alias("up_2", "alice", "two")];
        let identity =
            Identity::new(Entity { id: "e".to_owned(), name: "E".to_owned(), aliases, ..Entity::default() }, Vec::new());
        let of = |accessor: &str, field| identity.value(&Expression::Alias { accessor: accessor.into(), field });
        assert_eq!(of("up_1", Field::Name).as_deref(), Some("bob"));
        assert_eq!(of("up_2", Field::Name).as_deref(), Some("alice"));
        assert_eq!(of("up_2", Field::Metadata("k".into())).as_deref(), Some("two"));
        assert_eq!(of("up_2", Field::Metadata("none".into())), None);
        assert_eq!(of("up_2", Field::CustomMetadata("k".into())), None);
        assert_eq!(of("up_3", Field::Name), None);
        assert_eq!(identity.value(&Expression::EntityMetadata("k".into())), None);
    }

    #[test]
    fn root_comes_from_no_entity_and_no_group() {
        let entity = Entity { policies: vec!["b".to_owned(), "root".to_owned()], ..Entity::default() };
        let group = Group { policies: vec!["a".to_owned(), "b".to_owned(), "root".to_owned()], ..Group::default() };
        assert_eq!(Identity::new(entity, vec![group]).policies, ["a", "b"]);
    }
}
