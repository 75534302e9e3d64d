//! `identity/entity/merge`: several entities become one. It keeps its own name, policies and metadata, and takes over the
//! others' aliases and groups; their policies and metadata are not passed on. Their tokens act as it from then on.

use super::{IdentityEngine, Of};
use crate::identity::mfa::TotpSecret;
use crate::identity::mfa::record::{methods_of, secret_key};
use crate::identity::record::{Alias, Entity};
use coffer_engine::{Ctx, Declare, Reply, Request, View};
use coffer_types::{Error, Result};

pub(super) fn declare(d: &mut Declare<IdentityEngine>) {
    d.at("entity/merge").about("Merge entities into one.").plain(PLAIN).write(merge);
}

const PLAIN: &[&str] = &["from_entity_ids", "to_entity_id", "force", "conflicting_alias_ids_to_keep"];

/// Merge entities into one.
#[derive(Request)]
struct Merge {
    /// The entities that end.
    #[field(default)]
    from_entity_ids: Vec<String>,
    /// The one that takes them in.
    #[field(default)]
    to_entity_id: String,
    /// Give up the others' MFA secrets where both have one for the same method.
    #[field(default)]
    force: bool,
    /// Where both have an alias of one mount: the aliases that stay. With one entity to merge from.
    #[field(default)]
    conflicting_alias_ids_to_keep: Vec<String>,
}

async fn merge(cx: Ctx<IdentityEngine>, ask: Merge) -> Result<Reply> {
    let of = Of::new(cx)?;
    let (view, store, now) = (&of.cx.view, of.store(), of.cx.now());
    if ask.from_entity_ids.is_empty() {
        return Err(Error::bad_request("missing entity ids to merge from"));
    }
    if ask.to_entity_id.is_empty() {
        return Err(Error::bad_request("missing entity id to merge to"));
    }
    if ask.from_entity_ids.contains(&ask.to_entity_id) {
        return Err(Error::bad_request("to_entity_id should not be present in from_entity_ids"));
    }
    let keep = &ask.conflicting_alias_ids_to_keep;
    if ask.from_entity_ids.len() > 1 && !keep.is_empty() {
        return Err(Error::bad_request("aliases conflicts cannot be resolved with multiple from entity ids"));
    }
    let was = store.entity(view, &ask.to_entity_id).await?;
    let was = was.ok_or_else(|| Error::bad_request("entity id to merge to is invalid"))?;
    let mut is = was.clone();
    let mut ended: Vec<Entity> = Vec::new();
    for id in &ask.from_entity_ids {
        if ended.iter().any(|e| e.id == *id) {
            continue;
        }
        let from = store.entity(view, id).await?;
        let from = from.ok_or_else(|| Error::bad_request("entity id to merge from is invalid"))?;
        take_in(&mut is, &from, keep)?;
        take_secrets(view, &is, &from, ask.force).await?;
        ended.push(from);
    }
    is.updated = now;
    // What leads to those that end goes before what leads to the one comes.
    for from in &ended {
        store.delete_entity(view, from);
    }
    store.put_entity(view, Some(&was), &is).await?;
    for merged in &is.merged {
        store.put_merged(view, merged, &is)?;
    }
    Ok(Reply::empty())
}

fn take_in(to: &mut Entity, from: &Entity, keep: &[String]) -> Result<()> {
    for alias in &from.aliases {
        let moved = || {
            let mut merged_from = alias.merged_from.clone();
            merged_from.push(from.id.clone());
            Alias { merged_from, ..alias.clone() }
        };
        match to.aliases.iter().position(|a| a.mount_accessor == alias.mount_accessor) {
            None => to.aliases.push(moved()),
            Some(at) => match (keep.contains(&to.aliases[at].id), keep.contains(&alias.id)) {
                (true, false) => {}
                (false, true) => to.aliases[at] = moved(),
                _ => return Err(conflict(to, &to.aliases[at], from, alias)),
            },
        }
    }
    for membership in &from.groups {
        // A group that a mount put it into stays only with that mount's alias.
        let holds = membership.via.as_ref().is_none_or(|via| {
            to.alias_of(via).is_some_and(|a| a.merged_from.last() == Some(&from.id) && from.alias_by_id(&a.id).is_some())
        });
        if holds && !to.is_member(&membership.group) {
            to.groups.push(membership.clone());
        }
    }
    to.merged.extend(from.merged.iter().cloned());
    to.merged.push(from.id.clone());
    Ok(())
}

/// Second factors go over too, where the one has none for the method yet; else the others' are given up, if so asked.
async fn take_secrets(view: &View, to: &Entity, from: &Entity, force: bool) -> Result<()> {
    for method in methods_of(view, &from.id).await? {
        let (old, new) = (secret_key(&method.id, &from.id), secret_key(&method.id, &to.id));
        if view.exists(&new).await? {
            if !force {
                let text = format!("conflicting MFA config ID {:?} in entity ID {:?}", method.id, from.id);
                return Err(Error::bad_request(format!("1 error occurred:\n\t* {text}\n\n")));
            }
        } else if let Some(secret) = view.get::<TotpSecret>(&old).await? {
            view.put(&new, &secret)?;
        }
        view.delete(&old);
    }
    Ok(())
}

fn conflict(to: &Entity, to_alias: &Alias, from: &Entity, from_alias: &Alias) -> Error {
    Error::bad_request(format!(
        "toEntity and at least one fromEntity have aliases with the same mount accessor, repeat the merge request specifying \
         exactly one fromEntity, clashes: mountAccessor: {}, toEntity ID: {}, fromEntity ID: {}, conflicting toEntity alias ID: {}, \
         conflicting fromEntity alias ID: {}; name the one to keep of each in 'conflicting_alias_ids_to_keep'",
        to_alias.mount_accessor, to.id, from.id, to_alias.id, from_alias.id
    ))
}
