//! The parts of a role, each under a path of its own: read one, write one, put one back to what it is in a new role.

use super::AppRole;
use super::role::{Ask, Named, no_path, or_null, shown, update};
use super::store::Role;
use coffer_engine::{Ctx, Declare, Reply, Request};
use coffer_types::{Error, Json, Name, Object, Result, Span};

/// Declares a part: its path, the field that is written, its type, its help, where it goes, and what deleting makes it.
macro_rules! parts {
    ($($module:ident $path:literal $field:ident: $type:ty, $help:literal, |$ask:ident, $value:ident| $set:expr, $reset:expr;)+) => {
        $(mod $module {
            use super::*;

            /// Write this part of a role.
            #[derive(Request)]
            pub(super) struct Write {
                /// The role's name.
                #[field(path)]
                role_name: Name,
                #[doc = $help]
                $field: Option<$type>,
            }

            pub(super) async fn read(cx: Ctx<AppRole>, q: Named) -> Result<Reply> {
                super::read(&cx, &q.role_name, stringify!($field)).await
            }

            pub(super) async fn write(cx: Ctx<AppRole>, q: Write) -> Result<Reply<()>> {
                let role = Role::find(&cx.view, q.role_name.as_str()).await?.ok_or_else(no_path)?;
                let $value = q.$field.ok_or_else(|| Error::bad_request(concat!("missing ", stringify!($field))))?;
                change(&cx, role, |$ask| $set)
            }

            pub(super) async fn delete(cx: Ctx<AppRole>, q: Named) -> Result<Reply<()>> {
                let Some(role) = Role::find(&cx.view, q.role_name.as_str()).await? else { return Ok(Reply::empty()) };
                let $value: $type = $reset;
                change(&cx, role, |$ask| $set)
            }
        })+

        fn declare_parts(d: &mut Declare<AppRole>) {
            $(d.at(concat!("role/{role_name}/", $path)).about($help).read($module::read).write($module::write).delete($module::delete);)+
        }
    };
}

parts! {
    bind "bind-secret-id" bind_secret_id: bool, "Whether a login needs a secret id.",
        |ask, value| ask.bind_secret_id = Some(value), true;
    secret_cidrs "secret-id-bound-cidrs" secret_id_bound_cidrs: Vec<String>, "Networks that logins may come from.",
        |ask, value| ask.secret_id_bound_cidrs = Some(value), Vec::new();
    old_cidrs "bound-cidr-list" bound_cidr_list: Vec<String>, "Older name of secret-id-bound-cidrs.",
        |ask, value| ask.secret_id_bound_cidrs = Some(value), Vec::new();
    token_cidrs "token-bound-cidrs" token_bound_cidrs: Vec<String>, "Networks that a token may be used from.",
        |ask, value| ask.token.token_bound_cidrs = Some(value), Vec::new();
    secret_uses "secret-id-num-uses" secret_id_num_uses: i64, "How often a new secret id may be used; 0 is without limit.",
        |ask, value| ask.secret_id_num_uses = Some(value), 0;
    secret_ttl "secret-id-ttl" secret_id_ttl: Span, "How long a new secret id lives; 0 is without end.",
        |ask, value| ask.secret_id_ttl = Some(value), Span::ZERO;
    token_uses "token-num-uses" token_num_uses: u64, "How often a token may be used; 0 is without limit.",
        |ask, value| ask.token.token_num_uses = Some(value), 0;
    token_ttl "token-ttl" token_ttl: Span, "A token's first life.",
        |ask, value| ask.token.token_ttl = Some(value), Span::ZERO;
    token_max_ttl "token-max-ttl" token_max_ttl: Span, "The longest life of a token.",
        |ask, value| ask.token.token_max_ttl = Some(value), Span::ZERO;
}

pub(super) fn declare(d: &mut Declare<AppRole>) {
    declare_parts(d);
    d.at("role/{role_name}/local-secret-ids").about("Whether secret ids stay on this cluster.").read(read_local);
    d.at("role/{role_name}/policies")
        .about("The policies of a token.")
        .read(read_policies)
        .write(write_policies)
        .delete(delete_policies);
    d.at("role/{role_name}/period")
        .about("The period of periodic tokens.")
        .read(read_period)
        .write(write_period)
        .delete(delete_period);
}

async fn read(cx: &Ctx<AppRole>, name: &Name, field: &str) -> Result<Reply> {
    let role = Role::find(&cx.view, name.as_str()).await?.ok_or_else(Error::not_found)?;
    let value = match field {
        "bound_cidr_list" => or_null(&role.secret_id_bound_cidrs),
        "token_bound_cidrs" => or_null(&role.token.bound_cidrs),
        _ => shown(&role).remove(field).unwrap_or(Json::Null),
    };
    let reply = Reply::data(Object::new().with(field, value));
    Ok(match field {
        "bound_cidr_list" => reply.warn(
            "The \"bound_cidr_list\" field is deprecated and will be removed. Please use \"secret_id_bound_cidrs\" instead.",
        ),
        _ => reply,
    })
}

fn change(cx: &Ctx<AppRole>, mut role: Role, set: impl FnOnce(&mut Ask)) -> Result<Reply<()>> {
    let mut ask = Ask::default();
    set(&mut ask);
    update(&mut role, ask)?;
    role.put(&cx.view)?;
    Ok(Reply::empty())
}

async fn read_local(cx: Ctx<AppRole>, q: Named) -> Result<Reply> {
    read(&cx, &q.role_name, "local_secret_ids").await
}

/// Both names of a part that has an older one, the older only where it was written by it.
async fn read_both(cx: &Ctx<AppRole>, name: &Name, newer: &str, older: &str) -> Result<Reply> {
    let role = Role::find(&cx.view, name.as_str()).await?.ok_or_else(Error::not_found)?;
    let mut all = shown(&role);
    let both = [newer, older].into_iter().filter_map(|n| all.remove(n).map(|v| (n, v)));
    Ok(Reply::data(both.collect::<Object>()))
}

/// Write the policies of a role's tokens.
#[derive(Request)]
struct Policies {
    /// The role's name.
    #[field(path)]
    role_name: Name,
    /// The policies of a token.
    token_policies: Option<Vec<String>>,
    /// Older name of `token_policies`.
    policies: Option<Vec<String>>,
}

async fn read_policies(cx: Ctx<AppRole>, q: Named) -> Result<Reply> {
    read_both(&cx, &q.role_name, "token_policies", "policies").await
}

async fn write_policies(cx: Ctx<AppRole>, q: Policies) -> Result<Reply<()>> {
    let role = Role::find(&cx.view, q.role_name.as_str()).await?.ok_or_else(no_path)?;
    if q.token_policies.is_none() && q.policies.is_none() {
        return Err(Error::bad_request("missing token_policies"));
    }
    change(&cx, role, |ask| (ask.token.token_policies, ask.policies) = (q.token_policies, q.policies))
}

async fn delete_policies(cx: Ctx<AppRole>, q: Named) -> Result<Reply<()>> {
    let Some(role) = Role::find(&cx.view, q.role_name.as_str()).await? else { return Ok(Reply::empty()) };
    change(&cx, role, |ask| ask.token.token_policies = Some(Vec::new()))
}

/// Write the period of a role's tokens.
#[derive(Request)]
struct Period {
    /// The role's name.
    #[field(path)]
    role_name: Name,
    /// A periodic token: each renewal gives this much.
    token_period: Option<Span>,
    /// Older name of `token_period`.
    period: Option<Span>,
}

async fn read_period(cx: Ctx<AppRole>, q: Named) -> Result<Reply> {
    read_both(&cx, &q.role_name, "token_period", "period").await
}

async fn write_period(cx: Ctx<AppRole>, q: Period) -> Result<Reply<()>> {
    let role = Role::find(&cx.view, q.role_name.as_str()).await?.ok_or_else(no_path)?;
    if q.token_period.is_none() && q.period.is_none() {
        return Err(Error::bad_request("missing period"));
    }
    change(&cx, role, |ask| (ask.token.token_period, ask.period) = (q.token_period, q.period))
}

async fn delete_period(cx: Ctx<AppRole>, q: Named) -> Result<Reply<()>> {
    let Some(role) = Role::find(&cx.view, q.role_name.as_str()).await? else { return Ok(Reply::empty()) };
    change(&cx, role, |ask| ask.token.token_period = Some(Span::ZERO))
}
