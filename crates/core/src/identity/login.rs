//! What a login does to identity: its entity is found, or made at the first login; its alias follows what the auth method
//! says; its external groups are those that the method names. A login that changes nothing writes nothing.

use super::record::{Alias, Entity, Membership};
use super::store::IdentityStore;
use coffer_crypto::random::{Random, uuid};
use coffer_engine::view::View;
use coffer_types::{Error, Result, Timestamp};
use std::collections::BTreeMap;

/// What an auth method says of who logged in.
#[derive(Clone, Copy, Debug)]
pub struct Asserted<'a> {
    /// Of the auth method's mount.
    pub accessor: &'a str,
    /// The mount is local to its cluster.
    pub local: bool,
    /// The name that the method knows it by.
    pub alias: &'a str,
    /// What the alias is to carry from now on; `None` leaves it as it is.
    pub metadata: Option<&'a BTreeMap<String, String>>,
    /// The names of groups, as the method knows them; `None` leaves memberships as they are.
    pub groups: Option<&'a [String]>,
}

/// The entity behind a login, found or made, in the login's own transaction.
///
/// # Errors
/// Denied where the entity is disabled.
pub async fn on_login(
    store: &IdentityStore,
    view: &View,
    random: &dyn Random,
    asserted: &Asserted<'_>,
    now: Timestamp,
) -> Result<Entity> {
    let was = store.entity_by_alias(view, asserted.accessor, asserted.alias).await?;
    let mut is = match &was {
        Some(entity) if entity.disabled => return Err(Error::denied()),
        Some(entity) => entity.clone(),
        None => new_entity(store, view, random, now).await?,
    };
    match is.aliases.iter_mut().find(|a| a.mount_accessor == asserted.accessor) {
        Some(alias) => {
            if let Some(metadata) = asserted.metadata.filter(|m| **m != alias.metadata) {
                alias.metadata = metadata.clone();
                alias.updated = now;
            }
        }
        None => is.aliases.push(Alias {
            id: uuid(random),
            name: asserted.alias.to_owned(),
            mount_accessor: asserted.accessor.to_owned(),
            metadata: asserted.metadata.cloned().unwrap_or_default(),
            local: asserted.local,
            created: now,
            updated: now,
            ..Alias::default()
        }),
    }
    if let Some(groups) = asserted.groups {
        refresh_groups(store, view, &mut is, asserted.accessor, groups).await?;
    }
    if was.as_ref() != Some(&is) {
        store.put_entity(view, was.as_ref(), &is).await?;
    }
    Ok(is)
}

/// A renewal whose method asked again and heard of other groups than it said before. One that heard nothing new says nothing:
/// a later login may have, and is not undone by an older token.
pub async fn on_renewal(store: &IdentityStore, view: &View, entity: &str, accessor: &str, groups: &[String]) -> Result<()> {
    let Some(was) = store.entity_or_heir(view, entity).await? else { return Ok(()) };
    let mut is = was.clone();
    refresh_groups(store, view, &mut is, accessor, groups).await?;
    if is != was {
        store.put_entity(view, Some(&was), &is).await?;
    }
    Ok(())
}

/// An entity with a name of the server's choice, not stored yet.
pub async fn new_entity(store: &IdentityStore, view: &View, random: &dyn Random, now: Timestamp) -> Result<Entity> {
    let name = store.new_entity_name(view, random).await?;
    Ok(Entity { id: uuid(random), name, created: now, updated: now, ..Entity::default() })
}

/// The entity's external groups of one auth method become those that the method names. Groups of other methods and internal
/// ones stay; a name without a group counts for nothing.
pub async fn refresh_groups(
    store: &IdentityStore,
    view: &View,
    entity: &mut Entity,
    accessor: &str,
    names: &[String],
) -> Result<()> {
    let mut wanted: Vec<String> = Vec::new();
    for name in names {
        if let Some(group) = store.group_by_alias(view, accessor, name).await?
            && !wanted.contains(&group.id)
        {
            wanted.push(group.id);
        }
    }
    entity.groups.retain(|m| m.via.as_deref() != Some(accessor) || wanted.contains(&m.group));
    for group in wanted {
        if !entity.is_member(&group) {
            entity.groups.push(Membership { group, via: Some(accessor.to_owned()) });
        }
    }
    Ok(())
}
