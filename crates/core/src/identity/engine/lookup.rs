//! `identity/lookup/…`: by id, by name, or by alias.

use super::{IdentityEngine, Of, show};
use coffer_engine::{Ctx, Declare, Reply, Request};
use coffer_types::{Error, Result};

pub(super) fn declare(d: &mut Declare<IdentityEngine>) {
    d.at("lookup/entity").about("Look an entity up.").plain(PLAIN).write(entity);
    d.at("lookup/group").about("Look a group up.").plain(PLAIN).write(group);
}

const PLAIN: &[&str] = &["id", "alias_id", "alias_mount_accessor"];

/// Look an entity or a group up by one of these.
#[derive(Request)]
struct Ask {
    /// Its id.
    #[field(default)]
    id: String,
    /// Its name.
    #[field(default)]
    name: String,
    /// The id of an alias of it.
    #[field(default)]
    alias_id: String,
    /// The name of an alias of it; with `alias_mount_accessor`.
    #[field(default)]
    alias_name: String,
    /// The accessor of the alias's mount; with `alias_name`.
    #[field(default)]
    alias_mount_accessor: String,
}

/// The one thing that is asked by.
enum By<'a> {
    Id(&'a str),
    Name(&'a str),
    AliasId(&'a str),
    Alias(&'a str, &'a str),
}

impl Ask {
    fn by(&self) -> Result<By<'_>> {
        let factors = !self.alias_name.is_empty() || !self.alias_mount_accessor.is_empty();
        let given = [!self.id.is_empty(), !self.name.is_empty(), !self.alias_id.is_empty(), factors];
        match given.iter().filter(|g| **g).count() {
            0 => return Err(Error::bad_request("query parameter not supplied")),
            1 => {}
            _ => return Err(Error::bad_request("query parameter conflict; please supply distinct set of query parameters")),
        }
        Ok(match given {
            [true, ..] => By::Id(&self.id),
            [_, true, ..] => By::Name(&self.name),
            [_, _, true, _] => By::AliasId(&self.alias_id),
            _ if self.alias_name.is_empty() || self.alias_mount_accessor.is_empty() => {
                return Err(Error::bad_request("both 'alias_name' and 'alias_mount_accessor' needs to be set"));
            }
            _ => By::Alias(&self.alias_mount_accessor, &self.alias_name),
        })
    }
}

async fn entity(cx: Ctx<IdentityEngine>, ask: Ask) -> Result<Reply> {
    let of = Of::new(cx)?;
    let (store, view) = (of.store(), &of.cx.view);
    let found = match ask.by()? {
        By::Id(id) => store.entity(view, id).await?,
        By::Name(name) => store.entity_by_name(view, name).await?,
        By::AliasId(id) => store.entity_by_alias_id(view, id).await?,
        By::Alias(accessor, name) => store.entity_by_alias(view, accessor, name).await?,
    };
    match found {
        Some(found) => Ok(Reply::data(show::entity(&of, &found).await?)),
        None => Ok(Reply::empty()),
    }
}

async fn group(cx: Ctx<IdentityEngine>, ask: Ask) -> Result<Reply> {
    let of = Of::new(cx)?;
    let (store, view) = (of.store(), &of.cx.view);
    let found = match ask.by()? {
        By::Id(id) => store.group(view, id).await?,
        By::Name(name) => store.group_by_name(view, name).await?,
        By::AliasId(id) => store.group_by_alias_id(view, id).await?,
        By::Alias(accessor, name) => store.group_by_alias(view, accessor, name).await?,
    };
    match found {
        Some(found) => Ok(Reply::data(show::group(&of, &found).await?)),
        None => Ok(Reply::empty()),
    }
}
