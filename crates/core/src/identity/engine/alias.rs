//! `identity/entity-alias…`, and the older names of it, `alias` and `persona`.

use super::{IdentityEngine, Of, show};
use crate::identity::login::new_entity;
use crate::identity::record::{Alias, Entity, normal_name};
use crate::tokens::engine::Page;
use coffer_engine::{Ctx, Declare, Reply, Request};
use coffer_types::{Error, Object, Result};
use std::collections::BTreeMap;

pub(super) fn declare(d: &mut Declare<IdentityEngine>) {
    for (one, ids, id) in [
        ("entity-alias", "entity-alias/id", "entity-alias/id/{id}"),
        ("alias", "alias/id", "alias/id/{id}"),
        ("persona", "persona/id", "persona/id/{id}"),
    ] {
        d.at(one).about("Create or change an alias of an entity.").plain(PLAIN).write(write);
        d.at(ids).about("List the aliases of entities by id.").list(list);
        d.at(id).about("An alias of an entity by its id.").plain(PLAIN).read(read).write(write_id).delete(delete);
    }
}

const PLAIN: &[&str] = &["mount_accessor", "canonical_id", "entity_id"];

/// Create or change an alias of an entity.
#[derive(Request)]
struct Write {
    /// The id of one to change.
    #[field(default)]
    id: String,
    /// The name that the mount knows the entity by.
    #[field(default)]
    name: String,
    /// The accessor of the mount.
    #[field(default)]
    mount_accessor: String,
    /// The entity; a new one where it is left out.
    #[field(default)]
    canonical_id: String,
    /// The older name of canonical_id.
    #[field(default)]
    entity_id: String,
    /// Metadata of the administrator's own.
    custom_metadata: Option<BTreeMap<String, String>>,
    /// The older name of custom_metadata, for persona.
    metadata: Option<BTreeMap<String, String>>,
}

/// Change an alias.
#[derive(Request)]
struct WriteId {
    /// Its id.
    #[field(path)]
    id: String,
    /// The name that the mount knows the entity by.
    #[field(default)]
    name: String,
    /// The accessor of the mount.
    #[field(default)]
    mount_accessor: String,
    /// The entity that it is to be of.
    #[field(default)]
    canonical_id: String,
    /// The older name of canonical_id.
    #[field(default)]
    entity_id: String,
    /// Metadata of the administrator's own.
    custom_metadata: Option<BTreeMap<String, String>>,
    /// The older name of custom_metadata, for persona.
    metadata: Option<BTreeMap<String, String>>,
}

/// Name an alias.
#[derive(Request)]
struct Id {
    /// Its id.
    #[field(path)]
    id: String,
}

async fn write_id(cx: Ctx<IdentityEngine>, ask: WriteId) -> Result<Reply> {
    let WriteId { id, name, mount_accessor, canonical_id, entity_id, custom_metadata, metadata } = ask;
    write(cx, Write { id, name, mount_accessor, canonical_id, entity_id, custom_metadata, metadata }).await
}

async fn write(cx: Ctx<IdentityEngine>, mut ask: Write) -> Result<Reply> {
    let of = Of::new(cx)?;
    let (view, store) = (&of.cx.view, of.store());
    if ask.canonical_id.is_empty() {
        ask.canonical_id = std::mem::take(&mut ask.entity_id);
    }
    ask.custom_metadata = ask.custom_metadata.or(ask.metadata.take());
    if let Some(custom) = &ask.custom_metadata {
        check_custom(custom)?;
    }
    let holder = if ask.id.is_empty() {
        if ask.mount_accessor.is_empty() || ask.name.is_empty() {
            return Err(Error::bad_request("'id' or 'mount_accessor' and 'name' must be provided"));
        }
        of.mount_is_local(&ask.mount_accessor)?;
        match store.entity_by_alias(view, &ask.mount_accessor, &ask.name).await? {
            Some(entity) => {
                let alias = entity.alias_of(&ask.mount_accessor).cloned();
                alias.map(|alias| (entity, alias))
            }
            None => None,
        }
    } else {
        let entity = store.entity_by_alias_id(view, &ask.id).await?;
        let found = entity.and_then(|entity| entity.alias_by_id(&ask.id).cloned().map(|alias| (entity, alias)));
        Some(found.ok_or_else(|| Error::bad_request("invalid alias ID provided"))?)
    };
    match holder {
        Some((entity, alias)) => change(&of, entity, alias, ask).await,
        None => create(&of, ask).await,
    }
}

/// As the limits of custom metadata elsewhere: 64 pairs, 128 bytes of key, 512 of value.
fn check_custom(custom: &BTreeMap<String, String>) -> Result<()> {
    let refuse =
        |why: String| Err(Error::bad_request(format!("1 error occurred:\n\t* custom_metadata validation failed: {why}\n\n")));
    if custom.len() > 64 {
        return refuse(format!("payload must contain at most 64 keys, provided {}", custom.len()));
    }
    for (key, value) in custom {
        if key.is_empty() || key.len() > 128 {
            return refuse(format!("length of a key is {} but must be 0 < len(key) <= 128", key.len()));
        }
        if value.is_empty() || value.len() > 512 {
            return refuse(format!("length of value for key {key:?} is {} but must be 0 < len(value) <= 512", value.len()));
        }
        if key.chars().chain(value.chars()).any(char::is_control) {
            return refuse(format!("key {key:?} or its value contains unprintable characters"));
        }
    }
    Ok(())
}

fn shown(id: &str, canonical: &str) -> Reply {
    Reply::data(Object::new().with("canonical_id", canonical).with("id", id))
}

async fn create(of: &Of, ask: Write) -> Result<Reply> {
    let (view, store, now) = (&of.cx.view, of.store(), of.cx.now());
    let was = match &*ask.canonical_id {
        "" => None,
        id => Some(store.entity(view, id).await?.ok_or_else(|| Error::bad_request("invalid canonical ID"))?),
    };
    let mut is = match &was {
        Some(entity) => entity.clone(),
        None => new_entity(store, view, &*of.core.random, now).await?,
    };
    let alias = Alias {
        id: of.new_id(),
        local: of.mount_is_local(&ask.mount_accessor)?,
        name: ask.name,
        mount_accessor: ask.mount_accessor,
        custom_metadata: Some(ask.custom_metadata.unwrap_or_default()),
        created: now,
        updated: now,
        ..Alias::default()
    };
    let id = alias.id.clone();
    is.aliases.push(alias);
    store.put_entity(view, was.as_ref(), &is).await?;
    Ok(shown(&id, &is.id))
}

async fn change(of: &Of, holder: Entity, was: Alias, ask: Write) -> Result<Reply> {
    let (view, store) = (&of.cx.view, of.store());
    let mut is = was.clone();
    if !ask.name.is_empty() {
        is.name = ask.name;
    }
    if !ask.mount_accessor.is_empty() && ask.mount_accessor != is.mount_accessor {
        is.local = of.mount_is_local(&ask.mount_accessor)?;
        is.mount_accessor = ask.mount_accessor;
    }
    // What the auth method said of one name is not true of another.
    if is.mount_accessor != was.mount_accessor || normal_name(&is.name) != normal_name(&was.name) {
        is.metadata.clear();
    }
    if let Some(custom) = ask.custom_metadata {
        is.custom_metadata = Some(custom);
    }
    let moves = !ask.canonical_id.is_empty() && ask.canonical_id != holder.id;
    if is == was && !moves {
        return Ok(Reply::empty());
    }
    is.updated = of.cx.now();
    let id = is.id.clone();
    let mut left = holder.clone();
    if !moves {
        left.aliases.iter_mut().filter(|a| a.id == id).for_each(|a| *a = is.clone());
        store.put_entity(view, Some(&holder), &left).await?;
        return Ok(shown(&id, &left.id));
    }
    let target = store.entity(view, &ask.canonical_id).await?.ok_or_else(|| Error::bad_request("invalid canonical ID"))?;
    let mut joined = target.clone();
    joined.aliases.push(is);
    leave(&mut left, &was);
    store.put_entity(view, Some(&holder), &left).await?;
    store.put_entity(view, Some(&target), &joined).await?;
    Ok(shown(&id, &joined.id))
}

/// An entity loses an alias, and with it the groups that the alias's mount put it into.
fn leave(entity: &mut Entity, alias: &Alias) {
    entity.aliases.retain(|a| a.id != alias.id);
    entity.groups.retain(|m| m.via.as_ref() != Some(&alias.mount_accessor));
}

async fn read(cx: Ctx<IdentityEngine>, ask: Id) -> Result<Reply> {
    let of = Of::new(cx)?;
    let entity = of.store().entity_by_alias_id(&of.cx.view, &ask.id).await?.ok_or_else(Error::not_found)?;
    let alias = entity.alias_by_id(&ask.id).ok_or_else(Error::not_found)?;
    Ok(Reply::data(show::alias(&of.live.router.load(), alias, &entity.id, show::Form::Alone)))
}

async fn list(cx: Ctx<IdentityEngine>, page: Page) -> Result<Reply> {
    let of = Of::new(cx)?;
    let entities = of.store().entities(&of.cx.view, None, usize::MAX).await?;
    let router = of.live.router.load_full();
    let mut found: Vec<(&str, Object)> = entities
        .iter()
        .flat_map(|e| e.aliases.iter().map(|a| (a.id.as_str(), show::alias_info(&router, a, &e.id))))
        .filter(|(id, _)| page.after().is_none_or(|after| *id > after))
        .collect();
    found.sort_by(|a, b| a.0.cmp(b.0));
    found.truncate(page.limit());
    let keys = found.iter().map(|(id, _)| (*id).to_owned()).collect();
    Ok(Reply::list_with(keys, found.into_iter().collect()))
}

async fn delete(cx: Ctx<IdentityEngine>, ask: Id) -> Result<Reply> {
    let of = Of::new(cx)?;
    if let Some(was) = of.store().entity_by_alias_id(&of.cx.view, &ask.id).await?
        && let Some(alias) = was.alias_by_id(&ask.id)
    {
        let mut is = was.clone();
        leave(&mut is, alias);
        is.updated = of.cx.now();
        of.store().put_entity(&of.cx.view, Some(&was), &is).await?;
    }
    Ok(Reply::empty())
}
