//! Entities, aliases and groups as replies show them.

use super::Of;
use crate::identity::record::{Alias, Entity, Group};
use crate::router::Router;
use coffer_types::{Json, Object, Result};
use std::collections::BTreeMap;

/// Which of the reference's forms of an alias.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// By itself.
    Alone,
    /// Among an entity's.
    OfEntity,
    /// A group's.
    OfGroup,
}

pub(super) fn map(map: &BTreeMap<String, String>) -> Json {
    if map.is_empty() { Json::Null } else { pairs(map) }
}

fn pairs(map: &BTreeMap<String, String>) -> Json {
    Json::Object(map.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Object>())
}

fn custom(alias: &Alias) -> Json {
    alias.custom_metadata.as_ref().map_or(Json::Null, pairs)
}

fn strings(list: &[String]) -> Json {
    if list.is_empty() { Json::Null } else { Json::from(list.to_vec()) }
}

pub(super) fn alias(router: &Router, alias: &Alias, canonical: &str, form: Form) -> Object {
    let mut shown = Object::new().with("canonical_id", canonical).with("creation_time", alias.created.rfc3339());
    if form != Form::OfGroup {
        shown.insert("custom_metadata", custom(alias));
    }
    shown.insert("id", alias.id.as_str());
    shown.insert("last_update_time", alias.updated.rfc3339());
    if form != Form::OfGroup {
        shown.insert("local", alias.local);
    }
    shown.insert("merged_from_canonical_ids", strings(&alias.merged_from));
    shown.insert("metadata", map(&alias.metadata));
    shown.insert("mount_accessor", alias.mount_accessor.as_str());
    // A mount that is no more has no path; its aliases stay, since another mount never gets its accessor.
    if let Some(mounted) = router.by_accessor(&alias.mount_accessor) {
        shown.insert("mount_path", &*mounted.mount.path);
        shown.insert("mount_type", &*mounted.mount.kind);
    }
    shown.insert("name", alias.name.as_str());
    if form == Form::Alone {
        shown.insert("namespace_id", "root");
    }
    shown
}

/// What lists tell of an alias.
pub(super) fn alias_info(router: &Router, alias: &Alias, canonical: &str) -> Object {
    let mounted = router.by_accessor(&alias.mount_accessor);
    Object::new()
        .with("canonical_id", canonical)
        .with("custom_metadata", custom(alias))
        .with("local", alias.local)
        .with("metadata", map(&alias.metadata))
        .with("mount_accessor", alias.mount_accessor.as_str())
        .with("mount_path", mounted.map_or("", |m| &m.mount.path))
        .with("mount_type", mounted.map_or("", |m| &m.mount.kind))
        .with("name", alias.name.as_str())
}

pub(super) async fn entity(of: &Of, entity: &Entity) -> Result<Object> {
    let router = of.live.router.load_full();
    let aliases: Vec<Json> = entity.aliases.iter().map(|a| Json::Object(alias(&router, a, &entity.id, Form::OfEntity))).collect();
    let groups = of.store().groups_of(&of.cx.view, entity).await?;
    let ids = |direct: bool| -> Vec<String> {
        groups.iter().filter(|g| entity.is_member(&g.id) == direct).map(|g| g.id.clone()).collect()
    };
    let (direct, inherited) = (ids(true), ids(false));
    let all: Vec<String> = direct.iter().chain(&inherited).cloned().collect();
    Ok(Object::new()
        .with("aliases", Json::Array(aliases))
        .with("creation_time", entity.created.rfc3339())
        .with("direct_group_ids", direct)
        .with("disabled", entity.disabled)
        .with("group_ids", all)
        .with("id", entity.id.as_str())
        .with("inherited_group_ids", inherited)
        .with("last_update_time", entity.updated.rfc3339())
        .with("merged_entity_ids", strings(&entity.merged))
        .with("metadata", map(&entity.metadata))
        .with("name", entity.name.as_str())
        .with("namespace_id", "root")
        .with("policies", entity.policies.clone()))
}

pub(super) async fn group(of: &Of, group: &Group) -> Result<Object> {
    let router = of.live.router.load_full();
    let members = of.store().members(&of.cx.view, &group.id).await?;
    let shown = group.alias.as_ref().map_or_else(Object::new, |a| alias(&router, a, &group.id, Form::OfGroup));
    Ok(Object::new()
        .with("alias", shown)
        .with("creation_time", group.created.rfc3339())
        .with("id", group.id.as_str())
        .with("last_update_time", group.updated.rfc3339())
        .with("member_entity_ids", strings(&members))
        .with("member_group_ids", strings(&group.members))
        .with("metadata", map(&group.metadata))
        .with("modify_index", group.modify_index)
        .with("name", group.name.as_str())
        .with("namespace_id", "root")
        .with("parent_group_ids", strings(&group.parents))
        .with("policies", strings(&group.policies))
        .with("type", group.kind.as_str()))
}
