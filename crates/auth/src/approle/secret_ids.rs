//! The secret ids of a role: making, listing, looking up, destroying.

use super::AppRole;
use super::secret_id::Wanted;
use super::store::{Names, Role, SecretId, accessors, no_role, uuid};
use coffer_engine::{Ctx, Declare, Reply, Request};
use coffer_types::{Error, Kind, Name, Object, Result, Secret, Span};

pub(super) fn declare(d: &mut Declare<AppRole>) {
    d.at("role/{role_name}/secret-id").about("Makes a secret id; lists the accessors of all.").write(generate).list(list);
    d.at("role/{role_name}/custom-secret-id").about("Makes a secret id of one's own choice.").write(custom);
    d.at("role/{role_name}/secret-id/lookup").about("What is known of a secret id.").write(lookup);
    d.at("role/{role_name}/secret-id/destroy").about("Destroys a secret id.").write(destroy).delete(destroy);
    d.at("role/{role_name}/secret-id-accessor/lookup").about("What is known of a secret id, by its accessor.").write(lookup_by);
    d.at("role/{role_name}/secret-id-accessor/destroy")
        .about("Destroys a secret id by its accessor.")
        .write(destroy_by)
        .delete(destroy_by);
}

/// Make a secret id.
#[derive(Request)]
struct Generate {
    /// The role's name.
    #[field(path)]
    role_name: Name,
    /// Networks that logins with it may come from; inside the role's.
    #[field(default)]
    cidr_list: Vec<String>,
    /// What its tokens carry: a JSON object of strings, as text.
    metadata: Option<String>,
    /// How often it may be used; 0 is without limit. No more than the role's.
    num_uses: Option<i64>,
    /// Networks that its tokens may be used from, in the place of the role's; inside them.
    #[field(default)]
    token_bound_cidrs: Vec<String>,
    /// How long it lives; 0 is without end. No longer than the role's.
    ttl: Option<Span>,
}

/// Make a secret id of one's own choice.
#[derive(Request)]
struct Custom {
    /// The secret id.
    secret_id: Option<Secret<String>>,
    #[field(flatten)]
    rest: Generate,
}

/// List accessors.
#[derive(Request)]
struct List {
    /// The role's name.
    #[field(path)]
    role_name: Name,
    /// Only accessors after this one.
    #[field(query, default)]
    after: String,
    /// At most so many; all without.
    #[field(query, default)]
    limit: i64,
}

/// A secret id of a role.
#[derive(Request)]
struct Of {
    /// The role's name.
    #[field(path)]
    role_name: Name,
    /// The secret id.
    secret_id: Option<Secret<String>>,
}

/// A secret id by its accessor.
#[derive(Request)]
struct By {
    /// The role's name.
    #[field(path)]
    role_name: Name,
    /// The accessor.
    secret_id_accessor: Option<String>,
}

async fn generate(cx: Ctx<AppRole>, q: Generate) -> Result<Reply> {
    let secret_id = Secret::new(uuid(&cx));
    make(&cx, q, secret_id).await
}

async fn custom(cx: Ctx<AppRole>, q: Custom) -> Result<Reply> {
    let secret_id = q.secret_id.filter(|s| !s.expose().is_empty()).ok_or_else(|| Error::bad_request("missing secret_id"))?;
    if secret_id.expose().len() > 1024 {
        return Err(Error::bad_request("a secret id has at most 1024 bytes"));
    }
    make(&cx, q.rest, secret_id).await
}

async fn make(cx: &Ctx<AppRole>, q: Generate, secret_id: Secret<String>) -> Result<Reply> {
    let role = Role::find(&cx.view, q.role_name.as_str()).await?;
    let role = role.ok_or_else(|| Error::new(Kind::NotFound, format!("role {:?} does not exist", q.role_name.as_str())))?;
    let wanted = Wanted {
        metadata: q.metadata,
        cidr_list: q.cidr_list,
        token_bound_cidrs: q.token_bound_cidrs,
        num_uses: q.num_uses,
        ttl: q.ttl,
    };
    let record = wanted.record(&role, uuid(cx), cx.mount().max_lease_ttl, cx.now())?;
    let mac = Names::read(&cx.view).await?.secret_id(&role, secret_id.expose());
    if let Some(there) = SecretId::find(&cx.view, &role.folder, &mac).await? {
        if there.is_live(cx.now()) {
            return Err(crate::as_vault_500("failed to store secret_id: SecretID is already registered"));
        }
        there.remove(&cx.view, &role.folder, &mac);
    }
    record.add(&cx.view, &role, &mac)?;
    Ok(Reply::data(
        Object::new()
            .with("secret_id", secret_id.expose().as_str())
            .with("secret_id_accessor", record.accessor)
            .with("secret_id_num_uses", record.num_uses)
            .with("secret_id_ttl", record.ttl.secs()),
    ))
}

async fn list(cx: Ctx<AppRole>, q: List) -> Result<Reply> {
    let role = Role::find(&cx.view, q.role_name.as_str()).await?;
    let role = role.ok_or_else(|| Error::bad_request(format!("role {:?} does not exist", q.role_name.as_str())))?;
    let after = (!q.after.is_empty()).then_some(q.after.as_str());
    let limit = usize::try_from(q.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    Ok(Reply::list(cx.view.children(&accessors(&role), after, limit).await?))
}

async fn lookup(cx: Ctx<AppRole>, q: Of) -> Result<Reply> {
    let found = find(&cx, q).await?.filter(|(_, _, secret_id)| secret_id.is_live(cx.now()));
    Ok(found.map_or_else(Reply::empty, |(_, _, secret_id)| Reply::data(shown(&secret_id))))
}

async fn destroy(cx: Ctx<AppRole>, q: Of) -> Result<Reply<()>> {
    if let Some((role, mac, secret_id)) = find(&cx, q).await? {
        secret_id.remove(&cx.view, &role.folder, &mac);
    }
    Ok(Reply::empty())
}

async fn find(cx: &Ctx<AppRole>, q: Of) -> Result<Option<(Role, String, SecretId)>> {
    let secret_id = q.secret_id.filter(|s| !s.expose().is_empty()).ok_or_else(|| Error::bad_request("missing secret_id"))?;
    let role = Role::find(&cx.view, q.role_name.as_str()).await?.ok_or_else(|| no_role(q.role_name.as_str()))?;
    let mac = Names::read(&cx.view).await?.secret_id(&role, secret_id.expose());
    let found = SecretId::find(&cx.view, &role.folder, &mac).await?;
    Ok(found.map(|secret_id| (role, mac, secret_id)))
}

async fn lookup_by(cx: Ctx<AppRole>, q: By) -> Result<Reply> {
    let (_, accessor, found) = find_by(&cx, q).await?;
    Ok(match found.filter(|(_, secret_id)| secret_id.is_live(cx.now())) {
        Some((_, secret_id)) => Reply::data(shown(&secret_id)),
        None => Reply::missing_with(Object::new().with("error", no_accessor(&accessor))),
    })
}

async fn destroy_by(cx: Ctx<AppRole>, q: By) -> Result<Reply<()>> {
    let (role, accessor, found) = find_by(&cx, q).await?;
    let (mac, secret_id) = found.ok_or_else(|| crate::as_vault_500(no_accessor(&accessor)))?;
    secret_id.remove(&cx.view, &role.folder, &mac);
    Ok(Reply::empty())
}

async fn find_by(cx: &Ctx<AppRole>, q: By) -> Result<(Role, String, Option<(String, SecretId)>)> {
    let accessor =
        q.secret_id_accessor.filter(|a| !a.is_empty()).ok_or_else(|| Error::bad_request("missing secret_id_accessor"))?;
    let role = Role::find(&cx.view, q.role_name.as_str()).await?.ok_or_else(|| no_role(q.role_name.as_str()))?;
    let found = if accessor.contains('/') { None } else { SecretId::by_accessor(&cx.view, &role, &accessor).await? };
    Ok((role, accessor, found))
}

fn no_accessor(accessor: &str) -> String {
    format!("failed to find accessor entry for secret_id_accessor: {accessor:?}")
}

fn shown(secret_id: &SecretId) -> Object {
    Object::new()
        .with("cidr_list", secret_id.cidr_list.clone())
        .with("creation_time", secret_id.created.rfc3339())
        .with("expiration_time", secret_id.expires.rfc3339())
        .with("last_updated_time", secret_id.updated.rfc3339())
        .with("metadata", secret_id.metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Object>())
        .with("secret_id_accessor", secret_id.accessor.as_str())
        .with("secret_id_num_uses", secret_id.num_uses)
        .with("secret_id_ttl", secret_id.ttl.secs())
        .with("token_bound_cidrs", secret_id.token_bound_cidrs.clone())
}
