//! `identity/mfa/login-enforcement…`: whose logins need a second factor.

use super::{IdentityEngine, Of};
use crate::identity::mfa::Enforcement;
use crate::identity::mfa::record::{Enforcements, Methods};
use crate::tokens::engine::Page;
use coffer_engine::{Ctx, Declare, MountClass, Reply, Request};
use coffer_types::{Error, Object, Result};

pub(super) fn declare(d: &mut Declare<IdentityEngine>) {
    d.at("mfa/login-enforcement").about("List whose logins need a second factor.").list(list);
    d.at("mfa/login-enforcement/{name}")
        .about("Whose logins need which second factor.")
        .plain(&["mfa_method_ids", "auth_method_accessors", "auth_method_types", "identity_group_ids", "identity_entity_ids"])
        .read(read)
        .write(write)
        .delete(delete);
}

/// Enforcements are one record, which every login reads.
const MAX_ENFORCEMENTS: usize = 256;

/// Say whose logins need which second factor.
#[derive(Request)]
struct Write {
    /// Its name.
    #[field(path)]
    name: String,
    /// Methods; one of them must be satisfied.
    mfa_method_ids: Option<Vec<String>>,
    /// Accessors of auth methods.
    auth_method_accessors: Option<Vec<String>>,
    /// Types of auth methods.
    auth_method_types: Option<Vec<String>>,
    /// Groups.
    identity_group_ids: Option<Vec<String>>,
    /// Entities.
    identity_entity_ids: Option<Vec<String>>,
}

/// Name an enforcement.
#[derive(Request)]
struct Named {
    /// Its name.
    #[field(path)]
    name: String,
}

async fn write(cx: Ctx<IdentityEngine>, ask: Write) -> Result<Reply> {
    let of = Of::new(cx)?;
    let (view, store) = (&of.cx.view, of.store());
    let mut all = Enforcements::read(view).await?;
    let known = all.0.iter().position(|e| e.name == ask.name);
    let mut is = match known {
        Some(at) => all.0[at].clone(),
        None => Enforcement {
            id: of.new_id(),
            name: ask.name,
            methods: Vec::new(),
            accessors: Vec::new(),
            kinds: Vec::new(),
            groups: Vec::new(),
            entities: Vec::new(),
        },
    };
    let set = |place: &mut Vec<String>, asked: Option<Vec<String>>| {
        if let Some(mut asked) = asked {
            asked.retain(|a| !a.is_empty());
            *place = asked;
        }
    };
    set(&mut is.methods, ask.mfa_method_ids);
    set(&mut is.accessors, ask.auth_method_accessors);
    set(&mut is.kinds, ask.auth_method_types);
    set(&mut is.groups, ask.identity_group_ids);
    set(&mut is.entities, ask.identity_entity_ids);
    let refuse = |why: &'static str| Err(Error::bad_request(why));
    if is.methods.is_empty() {
        return refuse("missing method ids");
    }
    let methods = Methods::read(view).await?;
    if is.methods.iter().any(|id| methods.by_id(id).is_none()) {
        return refuse("one of the provided method ids doesn't exist");
    }
    if is.accessors.is_empty() && is.kinds.is_empty() && is.groups.is_empty() && is.entities.is_empty() {
        return refuse(
            "One of auth_method_accessors, auth_method_types, identity_group_ids, identity_entity_ids must be specified",
        );
    }
    let router = of.live.router.load_full();
    let is_auth = |accessor: &String| router.by_accessor(accessor).is_some_and(|m| m.record.class == MountClass::Auth);
    if !is.accessors.iter().all(is_auth) {
        return refuse("one of the auth method accessors provided is invalid");
    }
    let is_mounted = |kind: &String| router.all().any(|m| m.record.class == MountClass::Auth && m.record.kind == *kind);
    if !is.kinds.iter().all(is_mounted) {
        return refuse("one of the auth method types provided is invalid");
    }
    for id in &is.entities {
        if store.entity(view, id).await?.is_none() {
            return refuse("one of the provided entity ids doesn't exist");
        }
    }
    for id in &is.groups {
        if store.group(view, id).await?.is_none() {
            return refuse("one of the provided group ids doesn't exist");
        }
    }
    match known {
        Some(at) => all.0[at] = is,
        None if all.0.len() >= MAX_ENFORCEMENTS => return refuse("there are too many login enforcements"),
        None => all.0.push(is),
    }
    all.write(view)?;
    Ok(Reply::empty())
}

async fn read(cx: Ctx<IdentityEngine>, ask: Named) -> Result<Reply> {
    let all = Enforcements::read(&cx.view).await?;
    let found = all.0.iter().find(|e| e.name == ask.name).ok_or_else(Error::not_found)?;
    Ok(Reply::data(found.show()))
}

async fn list(cx: Ctx<IdentityEngine>, page: Page) -> Result<Reply> {
    let mut all = Enforcements::read(&cx.view).await?.0;
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all.retain(|e| page.after().is_none_or(|after| *e.name > *after));
    all.truncate(page.limit());
    let info = all.iter().map(|e| (e.name.as_str(), e.show())).collect::<Object>();
    Ok(Reply::list_with(all.into_iter().map(|e| e.name).collect(), info))
}

async fn delete(cx: Ctx<IdentityEngine>, ask: Named) -> Result<Reply> {
    let mut all = Enforcements::read(&cx.view).await?;
    let before = all.0.len();
    all.0.retain(|e| e.name != ask.name);
    if all.0.len() < before {
        all.write(&cx.view)?;
    }
    Ok(Reply::empty())
}
