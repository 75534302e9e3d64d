//! Roles.

use super::AppRole;
use super::store::{Names, ROLES, Role, uuid};
use crate::token::TokenAsk;
use coffer_engine::{Ctx, Declare, NoInput, Reply, Request, Response as _};
use coffer_types::{Cidr, Error, Json, Kind, Name, Object, Result, Span};

pub(super) fn declare(d: &mut Declare<AppRole>) {
    d.at("role").about("Lists the names of roles.").list(list);
    d.at("role/{role_name}").about("Reads, writes and deletes a role.").read(read).write(write).exists(exists).delete(delete);
    d.at("role/{role_name}/role-id").about("Reads or chooses the role id.").read(read_id).write(write_id);
}

/// A role by its name.
#[derive(Request)]
pub(super) struct Named {
    /// The role's name. Case makes no difference.
    #[field(path)]
    pub role_name: Name,
}

/// Write a role.
#[derive(Request)]
struct Write {
    /// The role's name. Case makes no difference.
    #[field(path)]
    role_name: Name,
    /// A role id of one's own choice in the place of a random one.
    role_id: Option<String>,
    #[field(flatten)]
    ask: Ask,
}

/// What a write says of a role; what it leaves out stays as it is.
#[derive(Request, Default)]
pub(super) struct Ask {
    /// Whether a login needs a secret id.
    pub bind_secret_id: Option<bool>,
    /// Older name of `secret_id_bound_cidrs`.
    pub bound_cidr_list: Option<Vec<String>>,
    /// Keep secret ids on this cluster alone. Only when the role is made.
    pub local_secret_ids: Option<bool>,
    /// Older name of `token_period`.
    pub period: Option<Span>,
    /// Older name of `token_policies`.
    pub policies: Option<Vec<String>>,
    /// Networks that logins may come from.
    pub secret_id_bound_cidrs: Option<Vec<String>>,
    /// How often a new secret id may be used; 0 is without limit.
    pub secret_id_num_uses: Option<i64>,
    /// How long a new secret id lives; 0 is without end.
    pub secret_id_ttl: Option<Span>,
    #[field(flatten)]
    pub token: TokenAsk,
}

async fn list(cx: Ctx<AppRole>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(cx.view.children(ROLES, None, usize::MAX).await?))
}

async fn exists(cx: Ctx<AppRole>, q: Named) -> Result<bool> {
    Ok(Role::find(&cx.view, q.role_name.as_str()).await?.is_some())
}

async fn read(cx: Ctx<AppRole>, q: Named) -> Result<Reply> {
    let role = Role::find(&cx.view, q.role_name.as_str()).await?.ok_or_else(Error::not_found)?;
    let shown = shown(&role);
    Ok(match ttl_warning(&cx, &role) {
        Some(warning) => Reply::data(shown).warn(warning),
        None => Reply::data(shown),
    })
}

async fn write(cx: Ctx<AppRole>, q: Write) -> Result<Reply<()>> {
    let name = q.role_name.as_str().to_lowercase();
    let names = Names::make(&cx).await?;
    let before = Role::find(&cx.view, &name).await?;
    if before.is_some() && q.ask.local_secret_ids.is_some() {
        return Err(Error::bad_request("local_secret_ids can only be modified during role creation"));
    }
    let made = before.is_none();
    let mut role = before.unwrap_or_else(|| Role::new(name, uuid(&cx), uuid(&cx)));
    update(&mut role, q.ask)?;
    match q.role_id {
        Some(chosen) => choose_id(&cx, &names, &mut role, chosen, made).await?,
        None if made => names.put_role_id(&cx.view, &role)?,
        None => {}
    }
    role.put(&cx.view)?;
    Ok(match ttl_warning(&cx, &role) {
        Some(warning) => Reply::empty().status(200).warn(warning),
        None => Reply::empty(),
    })
}

async fn delete(cx: Ctx<AppRole>, q: Named) -> Result<Reply<()>> {
    if let Some(role) = Role::find(&cx.view, q.role_name.as_str()).await? {
        Names::read(&cx.view).await?.delete_role_id(&cx.view, &role.role_id);
        role.delete(&cx.view)?;
    }
    Ok(Reply::empty())
}

async fn read_id(cx: Ctx<AppRole>, q: Named) -> Result<Reply> {
    let role = Role::find(&cx.view, q.role_name.as_str()).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(Object::new().with("role_id", role.role_id)))
}

/// Choose a role id.
#[derive(Request)]
struct RoleId {
    /// The role's name.
    #[field(path)]
    role_name: Name,
    /// The role id.
    role_id: Option<String>,
}

async fn write_id(cx: Ctx<AppRole>, q: RoleId) -> Result<Reply<()>> {
    let mut role = Role::find(&cx.view, q.role_name.as_str()).await?.ok_or_else(no_path)?;
    let chosen = q.role_id.filter(|id| !id.is_empty()).ok_or_else(|| Error::bad_request("missing role_id"))?;
    let names = Names::make(&cx).await?;
    choose_id(&cx, &names, &mut role, chosen, false).await?;
    role.put(&cx.view)?;
    Ok(Reply::empty())
}

/// A role id is one role's alone.
async fn choose_id(cx: &Ctx<AppRole>, names: &Names, role: &mut Role, chosen: String, made: bool) -> Result<()> {
    if chosen.is_empty() {
        return Err(Error::bad_request("invalid role_id supplied, or failed to generate a role_id"));
    }
    if chosen.len() > 1024 {
        return Err(Error::bad_request("a role id has at most 1024 bytes"));
    }
    if chosen != role.role_id {
        if names.role_id_taken(&cx.view, &chosen).await? {
            return Err(crate::as_vault_500("role_id already in use"));
        }
        if !made {
            names.delete_role_id(&cx.view, &role.role_id);
        }
        role.role_id = chosen;
    }
    names.put_role_id(&cx.view, role)
}

/// Takes over what was given.
pub(super) fn update(role: &mut Role, mut ask: Ask) -> Result<()> {
    if let Some(bind) = ask.bind_secret_id {
        role.bind_secret_id = bind;
    }
    if let Some(local) = ask.local_secret_ids {
        role.local_secret_ids = local;
    }
    if let Some(cidrs) = ask.secret_id_bound_cidrs.or(ask.bound_cidr_list) {
        role.secret_id_bound_cidrs = networks(cidrs)?;
    }
    if let Some(uses) = ask.secret_id_num_uses {
        role.secret_id_num_uses = u64::try_from(uses).map_err(|_| Error::bad_request("secret_id_num_uses cannot be negative"))?;
    }
    if let Some(ttl) = ask.secret_id_ttl {
        role.secret_id_ttl = not_negative(ttl)?;
    }
    crate::older(&mut ask.token.token_policies, ask.policies, &mut role.policies);
    crate::older(&mut ask.token.token_period, ask.period, &mut role.period);
    role.token.update(ask.token)?;
    if !role.bind_secret_id && role.secret_id_bound_cidrs.is_empty() && role.token.bound_cidrs.is_empty() {
        return Err(crate::as_vault_500("at least one constraint should be enabled on the role"));
    }
    Ok(())
}

/// The networks of a list, each checked.
pub(super) fn networks(cidrs: Vec<String>) -> Result<Vec<String>> {
    match cidrs.iter().all(|c| c.contains('/') && Cidr::parse(c).is_some()) {
        true => Ok(cidrs),
        false => Err(Error::bad_request("failed to validate CIDR blocks: each must be a network like 10.0.0.0/8")),
    }
}

pub(super) fn not_negative(ttl: Span) -> Result<Span> {
    if ttl.is_negative() { Err(Error::bad_request("a TTL cannot be negative")) } else { Ok(ttl) }
}

/// A role as it is read.
pub(super) fn shown(role: &Role) -> Object {
    let mut shown = role
        .token
        .shown()
        .into_object()
        .with("bind_secret_id", role.bind_secret_id)
        .with("local_secret_ids", role.local_secret_ids)
        .with("secret_id_bound_cidrs", or_null(&role.secret_id_bound_cidrs))
        .with("secret_id_num_uses", role.secret_id_num_uses)
        .with("secret_id_ttl", role.secret_id_ttl.secs());
    if !role.policies.is_empty() {
        shown.insert("policies", role.policies.clone());
    }
    if !role.period.is_zero() {
        shown.insert("period", role.period.secs());
    }
    shown
}

/// A list as Vault shows it where none was ever given.
pub(super) fn or_null(list: &[String]) -> Json {
    if list.is_empty() { Json::Null } else { Json::from(list.to_vec()) }
}

fn ttl_warning(cx: &Ctx<AppRole>, role: &Role) -> Option<String> {
    let max = cx.mount().max_lease_ttl;
    (role.token.max_ttl > max)
        .then(|| format!("token_max_ttl of {} is longer than the mount's maximum of {}, which counts", role.token.max_ttl, max))
}

/// What the parts of a role that is not there answer to writes.
pub(super) fn no_path() -> Error {
    Error::new(Kind::NotFound, "1 error occurred:\n\t* unsupported path\n\n")
}
