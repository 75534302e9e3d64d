//! `identity/group…`

use super::entity::page_of_names;
use super::{IdentityEngine, Of, assignable, show};
use crate::identity::record::{Group, GroupKind, Membership};
use crate::tokens::engine::Page;
use coffer_engine::{Ctx, Declare, Reply, Request};
use coffer_types::{Error, Json, Object, Result};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn declare(d: &mut Declare<IdentityEngine>) {
    d.at("group").about("Create or change a group.").plain(PLAIN).write(write);
    d.at("group/id").about("List the groups by id.").list(list_ids);
    d.at("group/id/{id}").about("A group by its id.").plain(PLAIN).read(read_id).write(write_id).delete(delete_id);
    d.at("group/name").about("List the groups by name.").list(list_names);
    d.at("group/name/{name...}").about("A group by its name.").plain(PLAIN).read(read_name).write(write_name).delete(delete_name);
}

const PLAIN: &[&str] = &["type", "member_entity_ids", "member_group_ids"];

/// Create or change a group.
#[derive(Request)]
struct Write {
    /// The id of one to change.
    #[field(default)]
    id: String,
    /// Its name.
    #[field(default)]
    name: String,
    /// `internal`, or `external`: an auth method says who is in it.
    #[field(default, rename = "type")]
    kind: String,
    /// Metadata.
    metadata: Option<BTreeMap<String, String>>,
    /// Policies of its members.
    policies: Option<Vec<String>>,
    /// The groups that are in it.
    member_group_ids: Option<Vec<String>>,
    /// The entities that are in it.
    member_entity_ids: Option<Vec<String>>,
}

/// Change a group.
#[derive(Request)]
struct WriteId {
    /// Its id.
    #[field(path)]
    id: String,
    /// Its name.
    #[field(default)]
    name: String,
    /// It stays what it is.
    #[field(default, rename = "type")]
    kind: String,
    /// Metadata.
    metadata: Option<BTreeMap<String, String>>,
    /// Policies of its members.
    policies: Option<Vec<String>>,
    /// The groups that are in it.
    member_group_ids: Option<Vec<String>>,
    /// The entities that are in it.
    member_entity_ids: Option<Vec<String>>,
}

/// Create or change a group by its name.
#[derive(Request)]
struct WriteName {
    /// Its name.
    #[field(path)]
    name: String,
    /// Kept for clients; the name says which group.
    #[field(default, rename = "id")]
    _id: String,
    /// `internal`, or `external`: an auth method says who is in it.
    #[field(default, rename = "type")]
    kind: String,
    /// Metadata.
    metadata: Option<BTreeMap<String, String>>,
    /// Policies of its members.
    policies: Option<Vec<String>>,
    /// The groups that are in it.
    member_group_ids: Option<Vec<String>>,
    /// The entities that are in it.
    member_entity_ids: Option<Vec<String>>,
}

/// Name a group by its id.
#[derive(Request)]
struct Id {
    /// Its id.
    #[field(path)]
    id: String,
}

/// Name a group.
#[derive(Request)]
struct Named {
    /// Its name.
    #[field(path)]
    name: String,
}

async fn write(cx: Ctx<IdentityEngine>, ask: Write) -> Result<Reply> {
    let of = Of::new(cx)?;
    let found = match (&*ask.id, &*ask.name) {
        ("", "") => None,
        ("", name) => of.store().group_by_name(&of.cx.view, name).await?,
        (id, _) => {
            let found = of.store().group(&of.cx.view, id).await?;
            Some(found.ok_or_else(|| Error::bad_request("invalid group ID"))?)
        }
    };
    change(&of, found, ask).await
}

async fn write_id(cx: Ctx<IdentityEngine>, ask: WriteId) -> Result<Reply> {
    let WriteId { id, name, kind, metadata, policies, member_group_ids, member_entity_ids } = ask;
    write(cx, Write { id, name, kind, metadata, policies, member_group_ids, member_entity_ids }).await
}

async fn write_name(cx: Ctx<IdentityEngine>, ask: WriteName) -> Result<Reply> {
    let WriteName { name, _id, kind, metadata, policies, member_group_ids, member_entity_ids } = ask;
    write(cx, Write { id: String::new(), name, kind, metadata, policies, member_group_ids, member_entity_ids }).await
}

fn refuse(why: &str) -> Error {
    Error::bad_request(format!("1 error occurred:\n\t* {why}\n\n"))
}

async fn change(of: &Of, was: Option<Group>, ask: Write) -> Result<Reply> {
    let (view, now, store) = (&of.cx.view, of.cx.now(), of.store());
    let kind = match &*ask.kind {
        "" => was.as_ref().map(|w| w.kind).unwrap_or_default(),
        "internal" => GroupKind::Internal,
        "external" => GroupKind::External,
        other => return Err(Error::bad_request(format!("invalid group type {other:?}"))),
    };
    if was.as_ref().is_some_and(|w| w.kind != kind) {
        return Err(Error::bad_request("group type cannot be changed"));
    }
    if kind == GroupKind::External {
        if ask.member_entity_ids.as_ref().is_some_and(|m| !m.is_empty()) {
            return Err(Error::bad_request("member entities can't be set manually for external groups"));
        }
        if ask.member_group_ids.as_ref().is_some_and(|m| !m.is_empty()) {
            return Err(Error::bad_request("member groups can't be set for external groups"));
        }
    }
    let mut is = match &was {
        Some(group) => group.clone(),
        None => Group { id: of.new_id(), kind, created: now, ..Group::default() },
    };
    if !ask.name.is_empty() {
        is.name = ask.name;
    }
    if is.name.is_empty() {
        is.name = store.new_group_name(view, &*of.core.random).await?;
    }
    if let Some(metadata) = ask.metadata {
        is.metadata = metadata;
    }
    if let Some(policies) = &ask.policies {
        is.policies = assignable(policies)?;
    }
    if let Some(members) = ask.member_group_ids.filter(|_| kind == GroupKind::Internal) {
        set_member_groups(of, &mut is, members).await?;
    }
    if let Some(members) = ask.member_entity_ids.filter(|_| kind == GroupKind::Internal) {
        set_members(of, &is.id, members).await?;
    }
    is.modify_index += 1;
    is.updated = now;
    store.put_group(view, was.as_ref(), &is).await?;
    if was.is_some() {
        return Ok(Reply::empty());
    }
    Ok(Reply::data(Object::new().with("id", is.id).with("name", is.name)))
}

/// The groups inside of a group become these.
async fn set_member_groups(of: &Of, group: &mut Group, members: Vec<String>) -> Result<()> {
    let (view, store) = (&of.cx.view, of.store());
    let wanted: BTreeSet<String> = members.into_iter().collect();
    let had: BTreeSet<String> = group.members.iter().cloned().collect();
    let above = above(of, group).await?;
    for id in &wanted {
        if *id == group.id {
            return Err(refuse(&format!("member group ID {id:?} is same as the ID of the group")));
        }
        let Some(member) = store.group(view, id).await? else {
            return Err(refuse(&format!("invalid member group ID {id:?}")));
        };
        if above.contains(id) {
            return Err(Error::bad_request(format!("cyclic relationship detected for member group ID {id:?}")));
        }
        if !had.contains(id) {
            let mut inside = member.clone();
            inside.parents.push(group.id.clone());
            inside.modify_index += 1;
            store.put_group(view, Some(&member), &inside).await?;
        }
    }
    for id in had.difference(&wanted) {
        if let Some(member) = store.group(view, id).await? {
            let mut outside = member.clone();
            outside.parents.retain(|p| *p != group.id);
            outside.modify_index += 1;
            store.put_group(view, Some(&member), &outside).await?;
        }
    }
    group.members = wanted.into_iter().collect();
    Ok(())
}

/// The groups that a group is inside of, at any depth. They are read in this transaction, so two calls that would close a
/// circle together conflict.
async fn above(of: &Of, group: &Group) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut wave = group.parents.clone();
    while let Some(id) = wave.pop() {
        if found.insert(id.clone())
            && let Some(parent) = of.store().group(&of.cx.view, &id).await?
        {
            wave.extend(parent.parents);
        }
    }
    Ok(found)
}

/// The entities of an internal group become these.
async fn set_members(of: &Of, group: &str, members: Vec<String>) -> Result<()> {
    let (view, store) = (&of.cx.view, of.store());
    let wanted: BTreeSet<String> = members.into_iter().collect();
    let had: BTreeSet<String> = store.members(view, group).await?.into_iter().collect();
    for id in &wanted {
        let Some(was) = store.entity(view, id).await? else {
            return Err(refuse(&format!("invalid entity ID {id:?}")));
        };
        if !was.is_member(group) {
            let mut is = was.clone();
            is.groups.push(Membership { group: group.to_owned(), via: None });
            store.put_entity(view, Some(&was), &is).await?;
        }
    }
    for id in had.difference(&wanted) {
        store.leave(view, id, group).await?;
    }
    Ok(())
}

async fn read_id(cx: Ctx<IdentityEngine>, ask: Id) -> Result<Reply> {
    let of = Of::new(cx)?;
    let found = of.store().group(&of.cx.view, &ask.id).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(show::group(&of, &found).await?))
}

async fn read_name(cx: Ctx<IdentityEngine>, ask: Named) -> Result<Reply> {
    let of = Of::new(cx)?;
    let found = of.store().group_by_name(&of.cx.view, &ask.name).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(show::group(&of, &found).await?))
}

async fn list_ids(cx: Ctx<IdentityEngine>, page: Page) -> Result<Reply> {
    let of = Of::new(cx)?;
    let found = of.store().groups(&of.cx.view, page.after(), page.limit()).await?;
    let router = of.live.router.load_full();
    let mut infos = Object::new();
    for group in &found {
        let members = of.store().members(&of.cx.view, &group.id).await?.len();
        let mut info = Object::new();
        if let Some(alias) = &group.alias {
            let mounted = router.by_accessor(&alias.mount_accessor);
            let shown = Object::new()
                .with("id", alias.id.as_str())
                .with("mount_accessor", alias.mount_accessor.as_str())
                .with("mount_path", mounted.map_or("", |m| &m.mount.path))
                .with("mount_type", mounted.map_or("", |m| &m.mount.kind))
                .with("name", alias.name.as_str());
            info.insert("alias", shown);
        }
        info.insert("name", group.name.as_str());
        info.insert("num_member_entities", members);
        info.insert("num_parent_groups", group.parents.len());
        infos.insert(group.id.as_str(), Json::Object(info));
    }
    Ok(Reply::list_with(found.iter().map(|g| g.id.clone()).collect(), infos))
}

async fn list_names(cx: Ctx<IdentityEngine>, page: Page) -> Result<Reply> {
    let of = Of::new(cx)?;
    let names = of.store().groups(&of.cx.view, None, usize::MAX).await?.into_iter().map(|g| g.name).collect();
    Ok(Reply::list(page_of_names(names, &page)))
}

async fn delete_id(cx: Ctx<IdentityEngine>, ask: Id) -> Result<Reply> {
    let of = Of::new(cx)?;
    if let Some(found) = of.store().group(&of.cx.view, &ask.id).await? {
        of.store().delete_group(&of.cx.view, &found).await?;
    }
    Ok(Reply::empty())
}

async fn delete_name(cx: Ctx<IdentityEngine>, ask: Named) -> Result<Reply> {
    let of = Of::new(cx)?;
    if let Some(found) = of.store().group_by_name(&of.cx.view, &ask.name).await? {
        of.store().delete_group(&of.cx.view, &found).await?;
    }
    Ok(Reply::empty())
}
