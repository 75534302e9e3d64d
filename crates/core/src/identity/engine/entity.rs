//! `identity/entity…`

use super::{IdentityEngine, Of, assignable, show};
use crate::identity::mfa::record::forget_entity;
use crate::identity::record::{Entity, normal_name};
use crate::tokens::engine::Page;
use coffer_engine::{Ctx, Declare, Reply, Request};
use coffer_types::{Error, Json, Object, Result};
use std::collections::BTreeMap;

pub(super) fn declare(d: &mut Declare<IdentityEngine>) {
    d.at("entity").about("Create or change an entity.").plain(PLAIN).write(write);
    d.at("entity/id").about("List the entities by id.").list(list_ids);
    d.at("entity/id/{id}").about("An entity by its id.").plain(PLAIN).read(read_id).write(write_id).delete(delete_id);
    d.at("entity/name").about("List the entities by name.").list(list_names);
    d.at("entity/name/{name...}")
        .about("An entity by its name.")
        .plain(PLAIN)
        .read(read_name)
        .write(write_name)
        .delete(delete_name);
    d.at("entity/batch-delete").about("Delete many entities.").plain(&["entity_ids"]).write(batch_delete);
}

const PLAIN: &[&str] = &[];

/// Create or change an entity.
#[derive(Request)]
struct Write {
    /// The id of one to change.
    #[field(default)]
    id: String,
    /// Its name.
    name: Option<String>,
    /// Metadata.
    metadata: Option<BTreeMap<String, String>>,
    /// Policies of whoever is it.
    policies: Option<Vec<String>>,
    /// Neither logins nor tokens of it are good.
    disabled: Option<bool>,
}

/// Change an entity.
#[derive(Request)]
struct WriteId {
    /// Its id.
    #[field(path)]
    id: String,
    /// Its name.
    name: Option<String>,
    /// Metadata.
    metadata: Option<BTreeMap<String, String>>,
    /// Policies of whoever is it.
    policies: Option<Vec<String>>,
    /// Neither logins nor tokens of it are good.
    disabled: Option<bool>,
}

/// Create or change an entity by its name.
#[derive(Request)]
struct WriteName {
    /// Its name.
    #[field(path)]
    name: String,
    /// The id of one to give the name to.
    #[field(default)]
    id: String,
    /// Metadata.
    metadata: Option<BTreeMap<String, String>>,
    /// Policies of whoever is it.
    policies: Option<Vec<String>>,
    /// Neither logins nor tokens of it are good.
    disabled: Option<bool>,
}

/// Name an entity by its id.
#[derive(Request)]
struct Id {
    /// Its id.
    #[field(path)]
    id: String,
}

/// Name an entity.
#[derive(Request)]
struct Named {
    /// Its name.
    #[field(path)]
    name: String,
}

/// Delete many entities.
#[derive(Request)]
struct BatchDelete {
    /// Their ids. Those that are none are passed over.
    #[field(default)]
    entity_ids: Vec<String>,
}

async fn write(cx: Ctx<IdentityEngine>, ask: Write) -> Result<Reply> {
    let of = Of::new(cx)?;
    let found = match (&*ask.id, ask.name.as_deref().filter(|n| !n.is_empty())) {
        ("", None) => None,
        ("", Some(name)) => of.store().entity_by_name(&of.cx.view, name).await?,
        (id, _) => Some(by_id(&of, id).await?),
    };
    change(&of, found, ask).await
}

async fn write_id(cx: Ctx<IdentityEngine>, ask: WriteId) -> Result<Reply> {
    let of = Of::new(cx)?;
    let found = by_id(&of, &ask.id).await?;
    let WriteId { id, name, metadata, policies, disabled } = ask;
    change(&of, Some(found), Write { id, name, metadata, policies, disabled }).await
}

async fn write_name(cx: Ctx<IdentityEngine>, ask: WriteName) -> Result<Reply> {
    let WriteName { name, id, metadata, policies, disabled } = ask;
    write(cx, Write { id, name: Some(name), metadata, policies, disabled }).await
}

async fn by_id(of: &Of, id: &str) -> Result<Entity> {
    let found = of.store().entity(&of.cx.view, id).await?;
    found.ok_or_else(|| Error::bad_request("entity not found from id"))
}

async fn change(of: &Of, was: Option<Entity>, ask: Write) -> Result<Reply> {
    let (view, now, store) = (&of.cx.view, of.cx.now(), of.store());
    let mut is = match &was {
        Some(entity) => entity.clone(),
        None => Entity { id: of.new_id(), created: now, ..Entity::default() },
    };
    if let Some(name) = ask.name.filter(|n| !n.is_empty()) {
        is.name = name;
    }
    if is.name.is_empty() {
        is.name = store.new_entity_name(view, &*of.core.random).await?;
    }
    if let Some(metadata) = ask.metadata {
        is.metadata = metadata;
    }
    if let Some(policies) = &ask.policies {
        is.policies = assignable(policies)?;
    }
    is.disabled = ask.disabled.unwrap_or(is.disabled);
    is.updated = now;
    store.put_entity(view, was.as_ref(), &is).await?;
    if was.is_some() {
        return Ok(Reply::empty());
    }
    Ok(Reply::data(Object::new().with("aliases", Json::Null).with("id", is.id).with("name", is.name)))
}

async fn read_id(cx: Ctx<IdentityEngine>, ask: Id) -> Result<Reply> {
    let of = Of::new(cx)?;
    let found = of.store().entity(&of.cx.view, &ask.id).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(show::entity(&of, &found).await?))
}

async fn read_name(cx: Ctx<IdentityEngine>, ask: Named) -> Result<Reply> {
    let of = Of::new(cx)?;
    let found = of.store().entity_by_name(&of.cx.view, &ask.name).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(show::entity(&of, &found).await?))
}

async fn list_ids(cx: Ctx<IdentityEngine>, page: Page) -> Result<Reply> {
    let of = Of::new(cx)?;
    let found = of.store().entities(&of.cx.view, page.after(), page.limit()).await?;
    let router = of.live.router.load_full();
    let info = |entity: &Entity| {
        let mut info = Object::new().with("name", entity.name.as_str());
        if !entity.aliases.is_empty() {
            let alias = |a| {
                let mut info = show::alias_info(&router, a, &entity.id);
                for more in ["canonical_id", "custom_metadata", "local"] {
                    info.remove(more);
                }
                info.insert("id", a.id.as_str());
                Json::Object(info)
            };
            info.insert("aliases", Json::Array(entity.aliases.iter().map(alias).collect()));
        }
        Json::Object(info)
    };
    let infos = found.iter().map(|e| (e.id.as_str(), info(e))).collect::<Object>();
    Ok(Reply::list_with(found.iter().map(|e| e.id.clone()).collect(), infos))
}

async fn list_names(cx: Ctx<IdentityEngine>, page: Page) -> Result<Reply> {
    let of = Of::new(cx)?;
    let names = of.store().entities(&of.cx.view, None, usize::MAX).await?.into_iter().map(|e| e.name).collect();
    Ok(Reply::list(page_of_names(names, &page)))
}

/// One page of names, in their order without regard to case.
pub(super) fn page_of_names(names: Vec<String>, page: &Page) -> Vec<String> {
    let mut names: Vec<(String, String)> = names.into_iter().map(|name| (normal_name(&name), name)).collect();
    names.sort();
    let after = page.after().map(normal_name);
    let rest = names.into_iter().filter(|(normal, _)| after.as_ref().is_none_or(|a| normal > a));
    rest.take(page.limit()).map(|(_, name)| name).collect()
}

async fn delete_id(cx: Ctx<IdentityEngine>, ask: Id) -> Result<Reply> {
    batch_delete(cx, BatchDelete { entity_ids: vec![ask.id] }).await
}

async fn delete_name(cx: Ctx<IdentityEngine>, ask: Named) -> Result<Reply> {
    let of = Of::new(cx)?;
    if let Some(found) = of.store().entity_by_name(&of.cx.view, &ask.name).await? {
        forget_entity(&of.cx.view, &found.id).await?;
        of.store().delete_entity(&of.cx.view, &found);
    }
    Ok(Reply::empty())
}

async fn batch_delete(cx: Ctx<IdentityEngine>, ask: BatchDelete) -> Result<Reply> {
    let of = Of::new(cx)?;
    if ask.entity_ids.is_empty() {
        return Err(Error::bad_request("missing entity ids to delete"));
    }
    for id in &ask.entity_ids {
        if let Some(found) = of.store().entity(&of.cx.view, id).await? {
            forget_entity(&of.cx.view, id).await?;
            of.store().delete_entity(&of.cx.view, &found);
        }
    }
    Ok(Reply::empty())
}
