//! `creds/{name}`: an account that is made under a lease, and goes with it.
//!
//! The note of an account is durable before the database is told of it, and goes with the commit that registers its lease. So an account
//! without a lease has a note, and is removed when notes are rolled back: a crash at any point leaves none.

use super::certificate::{self, Holder};
use super::credential::{self, Credential, Kind};
use super::plugin::{Accounts, Failure};
use super::role::{self, Role};
use super::{Database, config, failed, failure, is_allowed, root};
use crate::username::{HostRandom, Source, Template};
use coffer_engine::{Ctx, Intent, LeaseKind, Record, Reply, Terms};
use coffer_types::{Error, Object, Result, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use time::OffsetDateTime;
use time::macros::format_description;

/// What a template of names may speak of.
pub(super) const FIELDS: &[&str] = &["DisplayName", "RoleName"];
/// So much later than its lease an account ends by itself.
const MARGIN: Duration = Duration::from_secs(5);

/// What renewing and revoking need to know.
#[derive(Serialize, Deserialize)]
pub(super) struct Creds {
    username: String,
    role: String,
    db_name: String,
    revocation_statements: Vec<String>,
}

impl Record for Creds {
    const FORMAT: u8 = 1;
}

impl LeaseKind for Creds {
    const NAME: &'static str = "creds";
}

/// The note of an account about to be made.
#[derive(Serialize, Deserialize)]
pub(super) struct Making {
    username: String,
    db_name: String,
    /// What undoes it: the role's rollback statements, else what revokes its logins.
    statements: Vec<String>,
}

impl Record for Making {
    const FORMAT: u8 = 1;
}

impl Intent for Making {
    const NAME: &'static str = "making";
}

pub(super) async fn make(cx: Ctx<Database>, q: role::Named) -> Result<Reply> {
    let name = q.name.as_str();
    let role: Option<Role> = cx.view.get(&role::key(name)).await?;
    let role = role.ok_or_else(|| Error::bad_request(format!("unknown role: {name}")))?;
    let config = config::find(&cx, &role.db_name).await?;
    if !is_allowed(&config.allowed_roles, name) {
        return Err(failed(format!("{name:?} is not an allowed role")));
    }
    let plugin = config.plugin()?;
    role.credential_type.must_suit(plugin.protocol, &role.creation_statements)?;
    if role.creation_statements.is_empty() && !plugin.has_usual_creation() {
        return Err(failed("empty creation statements"));
    }
    let target = root::target(&cx, &role.db_name, &config).await?;
    let template = config.text("username_template")?;
    let template = Template::parse(template.as_deref().unwrap_or(plugin.template), FIELDS)?;
    let display = cx.principal().map_or("", |principal| &principal.display_name);
    let random = HostRandom(&cx);
    let username =
        template.render(&[("DisplayName", display), ("RoleName", name)], &Source { now: cx.now(), random: &random })?;
    plugin.check_name(&username)?;

    let terms = Terms { ttl: role.default_ttl, max_ttl: role.max_ttl, renewable: true };
    let end = expected_end(&cx, &terms);
    let expiration = written(end);
    let credential = match role.credential_type {
        Kind::Password => {
            Credential::Password(credential::password(&cx, &role.credential_config, &config.password_policy).await?)
        }
        Kind::RsaPrivateKey => credential::key(&cx, &role.credential_config).await?,
        Kind::ClientCertificate => {
            let holder = Holder { display, role: name, username: &username };
            certificate::issue(&cx, &role.credential_config, &holder, end).await?
        }
    };
    let undo = if role.rollback_statements.is_empty() { &role.revocation_statements } else { &role.rollback_statements };
    let accounts = Accounts { database: cx.outside().database(), target: &target, manner: config.manner()? };
    // One that is there is someone else's: it must neither be handed out nor be removed when making it fails.
    let wrong = |why| failure("failed to make the account: ", why, &[target.password.expose()]);
    if accounts.is_taken(&role.creation_statements, &username).await.map_err(wrong)? {
        return Err(failed(
            "failed to make the account: one of that name is there already; username_template should hold something random",
        ));
    }
    let noted =
        cx.intend(&Making { username: username.clone(), db_name: role.db_name.clone(), statements: undo.clone() }).await?;
    if let Err((why, maybe)) = accounts.create(&role.creation_statements, &username, &credential, &expiration).await {
        // What a database does not take back by itself is taken back here; where that fails, the note stays.
        let unanswered = matches!(&why, Failure::Database(fault) if !fault.is_refusal());
        if !maybe || !unanswered && accounts.remove(undo, &username).await.is_ok() {
            cx.undone(noted).await?;
        }
        return Err(failure("failed to make the account: ", why, &[credential.secret().expose(), target.password.expose()]));
    }
    cx.done(noted);
    let lease = Creds {
        username: username.clone(),
        role: name.to_owned(),
        db_name: role.db_name,
        revocation_statements: role.revocation_statements,
    };
    let mut made = Object::new();
    credential.show(&mut made);
    made.insert("username", username);
    Reply::leased(made, &lease, terms)
}

pub(super) async fn renew(cx: Ctx<Database>, lease: Creds) -> Result<Terms> {
    let role: Option<Role> = cx.view.get(&role::key(&lease.role)).await?;
    let role = role.ok_or_else(|| failed(format!("error during renew: could not find role with name {:?}", lease.role)))?;
    let config = config::find(&cx, &lease.db_name).await?;
    let terms = Terms { ttl: role.default_ttl, max_ttl: role.max_ttl, renewable: true };
    let end = cx.renewal().map(|renewal| renewal.end(&terms, cx.mount().default_lease_ttl, cx.mount(), cx.now()).0);
    let end = end.unwrap_or_else(|| expected_end(&cx, &terms));
    if end <= cx.now() {
        return Ok(terms);
    }
    let target = root::target(&cx, &lease.db_name, &config).await?;
    let accounts = Accounts { database: cx.outside().database(), target: &target, manner: config.manner()? };
    let extended = accounts.extend(&role.renew_statements, &lease.username, &written(end.plus(MARGIN))).await;
    extended.map_err(|why| failure("failed to renew the account: ", why, &[target.password.expose()]))?;
    Ok(terms)
}

pub(super) async fn revoke(cx: Ctx<Database>, lease: Creds) -> Result<()> {
    let role: Option<Role> = cx.view.get(&role::key(&lease.role)).await?;
    let statements = role.map_or(lease.revocation_statements, |role| role.revocation_statements);
    remove(&cx, &lease.db_name, &lease.username, &statements).await
}

pub(super) async fn roll_back(cx: Ctx<Database>, note: Making) -> Result<()> {
    remove(&cx, &note.db_name, &note.username, &note.statements).await
}

async fn remove(cx: &Ctx<Database>, db_name: &str, username: &str, statements: &[String]) -> Result<()> {
    let config = config::find(cx, db_name).await?;
    let target = root::target(cx, db_name, &config).await?;
    let accounts = Accounts { database: cx.outside().database(), target: &target, manner: config.manner()? };
    let removed = accounts.remove(statements, username).await;
    removed.map_err(|why| failure("failed to remove the account: ", why, &[target.password.expose()]))
}

/// When the lease that core is going to register ends, and a little.
fn expected_end(cx: &Ctx<Database>, terms: &Terms) -> Timestamp {
    let mount = cx.mount();
    let ttl = if terms.ttl.is_zero() { mount.default_lease_ttl } else { terms.ttl };
    let most = if terms.max_ttl.is_zero() { mount.max_lease_ttl } else { terms.max_ttl.min(mount.max_lease_ttl) };
    cx.now().plus(ttl.min(most).duration()).plus(MARGIN)
}

/// As the reference writes it, and databases read it: `2026-11-23 22:36:13+0000`.
fn written(time: Timestamp) -> String {
    OffsetDateTime::from_unix_timestamp(time.secs())
        .ok()
        .and_then(|t| t.format(format_description!("[year]-[month]-[day] [hour]:[minute]:[second]+0000")).ok())
        .unwrap_or_else(|| "9999-12-31 23:59:59+0000".to_owned())
}
