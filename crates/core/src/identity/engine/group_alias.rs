//! `identity/group-alias…`: the names that auth methods know external groups by.

use super::{IdentityEngine, Of, show};
use crate::identity::record::{Alias, Group, GroupKind, normal_name};
use crate::tokens::engine::Page;
use coffer_engine::{Ctx, Declare, Reply, Request};
use coffer_types::{Error, Object, Result};

pub(super) fn declare(d: &mut Declare<IdentityEngine>) {
    d.at("group-alias").about("Create or change the alias of an external group.").plain(PLAIN).write(write);
    d.at("group-alias/id").about("List the aliases of groups by id.").list(list);
    d.at("group-alias/id/{id}").about("The alias of a group by its id.").plain(PLAIN).read(read).write(write_id).delete(delete);
}

const PLAIN: &[&str] = &["mount_accessor", "canonical_id"];

/// Create or change the alias of an external group.
#[derive(Request)]
struct Write {
    /// The id of one to change.
    #[field(default)]
    id: String,
    /// The name that the mount knows the group by.
    #[field(default)]
    name: String,
    /// The accessor of the mount.
    #[field(default)]
    mount_accessor: String,
    /// The group; a new one where it is left out.
    #[field(default)]
    canonical_id: String,
}

/// Change the alias of a group.
#[derive(Request)]
struct WriteId {
    /// Its id.
    #[field(path)]
    id: String,
    /// The name that the mount knows the group by.
    #[field(default)]
    name: String,
    /// The accessor of the mount.
    #[field(default)]
    mount_accessor: String,
    /// The group that it is to be of.
    #[field(default)]
    canonical_id: String,
}

/// Name an alias.
#[derive(Request)]
struct Id {
    /// Its id.
    #[field(path)]
    id: String,
}

async fn write_id(cx: Ctx<IdentityEngine>, ask: WriteId) -> Result<Reply> {
    let WriteId { id, name, mount_accessor, canonical_id } = ask;
    write(cx, Write { id, name, mount_accessor, canonical_id }).await
}

async fn write(cx: Ctx<IdentityEngine>, ask: Write) -> Result<Reply> {
    let of = Of::new(cx)?;
    let (view, store, now) = (&of.cx.view, of.store(), of.cx.now());
    let holder = match &*ask.id {
        "" => None,
        id => Some(store.group_by_alias_id(view, id).await?.ok_or_else(|| Error::bad_request("invalid group alias ID"))?),
    };
    let mut alias = match holder.as_ref().and_then(|g| g.alias.clone()) {
        Some(alias) => alias,
        None => Alias { id: of.new_id(), created: now, ..Alias::default() },
    };
    if !ask.name.is_empty() {
        alias.name = ask.name;
    }
    if !ask.mount_accessor.is_empty() {
        alias.mount_accessor = ask.mount_accessor;
    }
    if alias.name.is_empty() {
        return Err(Error::bad_request("missing alias name"));
    }
    if alias.mount_accessor.is_empty() {
        return Err(Error::bad_request("missing mount_accessor"));
    }
    alias.local = of.mount_is_local(&alias.mount_accessor)?;
    alias.updated = now;
    let target = match (&*ask.canonical_id, &holder) {
        ("", Some(holder)) => Some(holder.clone()),
        ("", None) => None,
        (id, _) => {
            let found = store.group(view, id).await?;
            let found = found.ok_or_else(|| Error::bad_request("invalid group ID given in 'canonical_id'"))?;
            if found.kind != GroupKind::External {
                return Err(Error::bad_request("alias can't be set on an internal group"));
            }
            Some(found)
        }
    };
    if let Some(other) = store.group_by_alias(view, &alias.mount_accessor, &alias.name).await?
        && holder.as_ref().is_none_or(|h| h.id != other.id)
    {
        return Err(Error::bad_request("combination of mount and group alias name is already in use"));
    }
    if let Some(holder) = &holder
        && target.as_ref().is_some_and(|t| t.id != holder.id)
    {
        take_away(&of, holder).await?;
    }
    let mut is = match &target {
        Some(group) => group.clone(),
        None => {
            let name = store.new_group_name(view, &*of.core.random).await?;
            Group { id: of.new_id(), name, kind: GroupKind::External, created: now, ..Group::default() }
        }
    };
    // Membership rests on the alias: what an auth method said of another name is not true of this one.
    let same = |old: &Alias| old.mount_accessor == alias.mount_accessor && normal_name(&old.name) == normal_name(&alias.name);
    if target.as_ref().and_then(|t| t.alias.as_ref()).is_some_and(|old| !same(old)) {
        empty(&of, &is.id).await?;
    }
    let id = alias.id.clone();
    is.alias = Some(alias);
    is.modify_index += 1;
    is.updated = now;
    store.put_group(view, target.as_ref(), &is).await?;
    Ok(Reply::data(Object::new().with("canonical_id", is.id).with("id", id)))
}

/// A group loses its alias and the members that it has by it.
async fn take_away(of: &Of, group: &Group) -> Result<()> {
    empty(of, &group.id).await?;
    let mut bare = group.clone();
    bare.alias = None;
    bare.modify_index += 1;
    bare.updated = of.cx.now();
    of.store().put_group(&of.cx.view, Some(group), &bare).await
}

async fn empty(of: &Of, group: &str) -> Result<()> {
    for entity in of.store().members(&of.cx.view, group).await? {
        of.store().leave(&of.cx.view, &entity, group).await?;
    }
    Ok(())
}

async fn read(cx: Ctx<IdentityEngine>, ask: Id) -> Result<Reply> {
    let of = Of::new(cx)?;
    let group = of.store().group_by_alias_id(&of.cx.view, &ask.id).await?.ok_or_else(Error::not_found)?;
    let alias = group.alias.as_ref().ok_or_else(Error::not_found)?;
    Ok(Reply::data(show::alias(&of.live.router.load(), alias, &group.id, show::Form::Alone)))
}

async fn list(cx: Ctx<IdentityEngine>, page: Page) -> Result<Reply> {
    let of = Of::new(cx)?;
    let groups = of.store().groups(&of.cx.view, None, usize::MAX).await?;
    let router = of.live.router.load_full();
    let mut found: Vec<(&str, Object)> = groups
        .iter()
        .filter_map(|g| g.alias.as_ref().map(|a| (a.id.as_str(), show::alias_info(&router, a, &g.id))))
        .filter(|(id, _)| page.after().is_none_or(|after| *id > after))
        .collect();
    found.sort_by(|a, b| a.0.cmp(b.0));
    found.truncate(page.limit());
    let keys = found.iter().map(|(id, _)| (*id).to_owned()).collect();
    Ok(Reply::list_with(keys, found.into_iter().collect()))
}

async fn delete(cx: Ctx<IdentityEngine>, ask: Id) -> Result<Reply> {
    let of = Of::new(cx)?;
    if let Some(group) = of.store().group_by_alias_id(&of.cx.view, &ask.id).await? {
        take_away(&of, &group).await?;
    }
    Ok(Reply::empty())
}
