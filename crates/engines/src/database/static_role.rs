//! `static-roles/{name}`: accounts that are there, whose passwords change by the clock.
//!
//! With `second_username` a role has two accounts: a change goes to the one that is not handed out, is proven by logging in, and only then
//! that one is handed out. So the login that applications hold works until the change after.

use super::config::{self, Config};
use super::credential::{self, Credential, Kind};
use super::cron::Schedule;
use super::pending;
use super::plugin::{Accounts, Failure};
use super::role::{self, not_unique};
use super::{Database, Strings, failed, failure, is_allowed, root};
use coffer_engine::outside::Protocol;
use coffer_engine::{Ctx, NoInput, Record, Reply, Request};
use coffer_types::{Error, Json, Name, Object, Result, Secret, Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use zeroize::Zeroizing;

/// The shortest period and the shortest window.
const SHORTEST: Span = Span::from_secs(5);
const SHORTEST_WINDOW: Span = Span::from_secs(3600);
/// A change that failed is tried again after so long, twice that, and so on, up to [`LONGEST_WAIT`].
const WAIT: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// A role; stored in format 1 under `static-role/<name>`, due under `due/<seconds>/<name>`.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct StaticRole {
    db_name: String,
    /// The one that is handed out stands at `active`.
    accounts: Vec<Account>,
    active: usize,
    rotation_statements: Vec<String>,
    period: Span,
    schedule: String,
    window: Span,
    credential_type: Kind,
    credential_config: BTreeMap<String, String>,
    rotated: Timestamp,
    due: Timestamp,
    /// When the change was due that has failed since.
    #[serde(default)]
    missed: Timestamp,
    /// Changes in a row that failed, and why the last did.
    failures: u32,
    failure: String,
}

#[derive(Default, Serialize, Deserialize)]
struct Account {
    username: String,
    password: Zeroizing<String>,
}

impl Record for StaticRole {
    const FORMAT: u8 = 1;
}

/// What an entry of the index says is in its key.
#[derive(Serialize, Deserialize)]
struct Due {}

impl Record for Due {
    const FORMAT: u8 = 1;
}

/// Write a role of an account that is there.
#[derive(Request)]
pub(super) struct Write {
    /// Name of the role.
    #[field(path)]
    name: Name,
    /// Name of the connection.
    db_name: Option<String>,
    /// The account in the database.
    username: Option<String>,
    /// A second account with the same rights: the two take turns, so that a login works until the change after (Coffer's own).
    second_username: Option<String>,
    /// The account's password so far, where accounts change their own (connections with self_managed).
    self_managed_password: Option<Secret<String>>,
    /// How often the password changes; at least 5 seconds.
    rotation_period: Option<Span>,
    /// When it changes, in the five fields of cron, in UTC.
    rotation_schedule: Option<String>,
    /// How long after its time a scheduled change may still be made; at least an hour.
    rotation_window: Option<Span>,
    /// Statements that change the password, with {{name}} and {{password}} in them.
    rotation_statements: Option<Strings>,
    /// password.
    credential_type: Option<String>,
    /// How the credential is made.
    credential_config: Option<BTreeMap<String, String>>,
}

pub(super) async fn write(cx: Ctx<Database>, q: Write) -> Result<Reply<()>> {
    let name = q.name.as_str();
    let bad = |why: &'static str| Err(Error::bad_request(why));
    let before: Option<StaticRole> = cx.view.get(&key(name)).await?;
    let is_new = before.is_none();
    let mut role = before.unwrap_or_default();
    let old_due = (!is_new).then_some(role.due);

    role.db_name = q.db_name.filter(|db| !db.is_empty()).unwrap_or(role.db_name);
    if role.db_name.is_empty() {
        return bad("database name is a required field");
    }
    let named = |slot: usize| role.accounts.get(slot).map(|account| account.username.clone()).unwrap_or_default();
    let username = q.username.unwrap_or_else(|| named(0));
    let second = q.second_username.unwrap_or_else(|| named(1));
    if username.is_empty() {
        return bad("username is a required field to create a static account");
    }
    if !is_new && (username != named(0) || second != named(1)) {
        return bad("cannot update static account username");
    }
    if username == second {
        return bad("second_username must be another account");
    }
    let timing = q.rotation_period.is_some() || q.rotation_schedule.is_some() || q.rotation_window.is_some();
    if q.rotation_period.is_some_and(|p| !p.is_zero()) && q.rotation_schedule.as_ref().is_some_and(|s| !s.is_empty()) {
        return bad(
            "mutually exclusive fields rotation_period and rotation_schedule were both specified; only one of them can be provided",
        );
    }
    if let Some(period) = q.rotation_period {
        (role.period, role.schedule, role.window) = (period, String::new(), Span::ZERO);
    }
    if let Some(schedule) = q.rotation_schedule.filter(|s| !s.is_empty()) {
        (role.period, role.schedule) = (Span::ZERO, schedule);
    }
    role.window = q.rotation_window.unwrap_or(role.window);
    if role.schedule.is_empty() {
        if role.period.is_zero() {
            return bad("rotation_period is required to create static accounts");
        }
        if role.period < SHORTEST {
            return bad("rotation_period must be 5 seconds or more");
        }
        if !role.window.is_zero() {
            return bad("rotation_window is invalid with use of rotation_period");
        }
    } else if !role.window.is_zero() && role.window < SHORTEST_WINDOW {
        return bad("rotation_window must be 3600 seconds or more");
    }
    Timing::of(&role)?;
    role.rotation_statements = q.rotation_statements.map_or(role.rotation_statements, |s| s.0);
    (role.credential_type, role.credential_config) =
        role::credentials(q.credential_type, q.credential_config, role.credential_type, role.credential_config)?;
    if cx.view.exists(&role::key(name)).await? {
        return Err(not_unique());
    }
    let config = config::find(&cx, &role.db_name).await?;
    if !is_allowed(&config.allowed_roles, name) {
        return Err(failed(format!("{name:?} is not an allowed role")));
    }
    if is_new {
        let initial = q.self_managed_password.map(|p| Zeroizing::new(p.expose().clone())).unwrap_or_default();
        if config.is_self_managed()? && initial.is_empty() {
            return bad("self_managed_password is required where the connection has self_managed");
        }
        let account = |username: String| Account { username, password: initial.clone() };
        for user in [&username, &second].into_iter().filter(|user| !user.is_empty()) {
            config.plugin()?.check_name(user)?;
        }
        role.accounts = [username, second].into_iter().filter(|user| !user.is_empty()).map(account).collect();
        rotate(&cx, name, &mut role, &config).await.map_err(|why| why.into_error("error setting credentials: "))?;
    } else if timing {
        role.due = Timing::of(&role)?.after(cx.now().max(role.rotated), role.rotated);
    }
    keep(&cx, name, &role, old_due)?;
    Ok(Reply::empty())
}

pub(super) async fn read(cx: Ctx<Database>, q: role::Named) -> Result<Reply> {
    let role: StaticRole = cx.view.get(&key(q.name.as_str())).await?.ok_or_else(Error::not_found)?;
    let mut shown = Object::new()
        .with("credential_type", role.credential_type.as_str())
        .with("db_name", role.db_name.as_str())
        .with("last_vault_rotation", role.rotated.rfc3339());
    role.show_timing(&mut shown);
    shown.insert("rotation_statements", role.rotation_statements.clone());
    shown.insert("username", role.accounts.first().map_or("", |account| &account.username));
    if let Some(second) = role.accounts.get(1) {
        shown.insert("second_username", second.username.as_str());
    }
    if let Some(settings) = credential::show(&role.credential_config) {
        shown.insert("credential_config", Json::Object(settings));
    }
    if role.failures > 0 {
        shown.insert("rotation_failures", role.failures);
        shown.insert("rotation_error", role.failure);
    }
    Ok(Reply::data(shown))
}

pub(super) async fn creds(cx: Ctx<Database>, q: role::Named) -> Result<Reply> {
    let name = q.name.as_str();
    let role: Option<StaticRole> = cx.view.get(&key(name)).await?;
    let role = role.ok_or_else(|| Error::bad_request(format!("unknown role: {name}")))?;
    let account = role.accounts.get(role.active).ok_or_else(|| Error::internal("a static role without an account"))?;
    let password = working_password(&cx, name, &role, account).await?;
    let ttl = i64::try_from(role.due.since(cx.now()).as_secs()).unwrap_or(i64::MAX);
    let field = if role.credential_type == Kind::RsaPrivateKey { "rsa_private_key" } else { "password" };
    let mut shown = Object::new().with("last_vault_rotation", role.rotated.rfc3339()).with(field, password.expose().as_str());
    role.show_timing(&mut shown);
    shown.insert("ttl", ttl);
    shown.insert("username", account.username.as_str());
    Ok(Reply::data(shown))
}

/// After a crash in a change the password that works is found out by trying.
async fn working_password(cx: &Ctx<Database>, name: &str, role: &StaticRole, account: &Account) -> Result<Secret<String>> {
    let stored = Secret::new(account.password.to_string());
    let notes = pending::of_role(cx, name).await?;
    // A key can't be tried here; the beat makes another one, which settles it.
    if notes.is_empty() || role.credential_type != Kind::Password {
        return Ok(stored);
    }
    let config = config::find(cx, &role.db_name).await?;
    if root::works(cx, &mut config.target_of(cx, &account.username, &stored)?).await != Some(false) {
        return Ok(stored);
    }
    for note in notes.iter().rev() {
        let Some(pending) = note.read(cx).await?.filter(|pending| pending.slot == role.active) else { continue };
        let password = Secret::new(pending.password.to_string());
        if root::works(cx, &mut config.target_of(cx, &account.username, &password)?).await == Some(true) {
            return Ok(password);
        }
    }
    Ok(stored)
}

pub(super) async fn exists(cx: Ctx<Database>, q: role::Named) -> Result<bool> {
    cx.view.exists(&key(q.name.as_str())).await
}

/// The account stays in the database, with the password that it has.
pub(super) async fn delete(cx: Ctx<Database>, q: role::Named) -> Result<Reply<()>> {
    let name = q.name.as_str();
    if let Some(role) = cx.view.get::<StaticRole>(&key(name)).await? {
        cx.view.delete(&key(name));
        cx.view.delete(&due_key(role.due, name));
        for note in pending::of_role(&cx, name).await? {
            cx.view.delete(&note.key);
        }
    }
    Ok(Reply::empty())
}

pub(super) async fn list(cx: Ctx<Database>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(cx.view.children("static-role/", None, usize::MAX).await?))
}

pub(super) async fn rotate_now(cx: Ctx<Database>, q: role::Named) -> Result<Reply<()>> {
    let name = q.name.as_str();
    let role: Option<StaticRole> = cx.view.get(&key(name)).await?;
    let mut role = role.ok_or_else(|| Error::bad_request("no static role found for role name"))?;
    let due = role.due;
    let config = config::find(&cx, &role.db_name).await?;
    rotate(&cx, name, &mut role, &config).await.map_err(|why| {
        why.into_error("unable to finish rotating credentials; retries will continue in the background but it is also safe to retry manually: ")
    })?;
    keep(&cx, name, &role, Some(due))?;
    Ok(Reply::empty())
}

/// Changes the password that has been due for longest; whether there was one.
pub(super) async fn rotate_due(cx: &Ctx<Database>) -> Result<bool> {
    let Some(entry) = cx.view.keys("due/", None, 1).await?.into_iter().next() else { return Ok(false) };
    let Some((seconds, name)) = entry["due/".len()..].split_once('/') else {
        cx.view.delete(&entry);
        return Ok(true);
    };
    if seconds.parse::<i64>().is_ok_and(|seconds| seconds > cx.now().secs()) {
        return Ok(false);
    }
    let role: Option<StaticRole> = cx.view.get(&key(name)).await?;
    let Some(mut role) = role.filter(|role| due_key(role.due, name) == entry) else {
        cx.view.delete(&entry);
        return Ok(true);
    };
    let due = role.due;
    if role.failures == 0 {
        role.missed = due;
    }
    let outcome = match Timing::of(&role)?.is_past_window(cx.now(), role.missed, role.window) {
        true => {
            role.due = Timing::of(&role)?.after(cx.now(), cx.now());
            role.failures = 0;
            Ok(())
        }
        false => match config::find(cx, &role.db_name).await {
            Ok(config) => rotate(cx, name, &mut role, &config).await.map_err(|why| why.into_error("")),
            Err(error) => Err(error),
        },
    };
    if let Err(error) = outcome {
        role.failures = role.failures.saturating_add(1);
        role.failure = error.public().to_owned();
        let wait = WAIT.saturating_mul(1 << role.failures.min(7).saturating_sub(1)).min(LONGEST_WAIT);
        role.due = cx.now().plus(wait);
    }
    keep(cx, name, &role, Some(due))?;
    Ok(true)
}

/// Goes on with changes that calls have left which did not come to their end.
pub(super) async fn settle(cx: &Ctx<Database>) -> Result<()> {
    for name in pending::names(cx, "role").await? {
        let notes = pending::of_role(cx, &name).await?;
        if notes.is_empty() || !notes.iter().all(|note| note.is_of_age(cx.now())) {
            continue;
        }
        match cx.view.get::<StaticRole>(&key(&name)).await? {
            // The next beat changes it again, which clears the notes.
            Some(mut role) if role.due > cx.now() && role.failures == 0 => {
                let due = role.due;
                role.due = cx.now();
                keep(cx, &name, &role, Some(due))?;
            }
            Some(_) => {}
            None => notes.iter().for_each(|note| cx.view.delete(&note.key)),
        }
    }
    Ok(())
}

/// Why a change did not come about.
enum NotRotated {
    Failure(Failure, Vec<Secret<String>>),
    Other(Error),
}

impl From<Error> for NotRotated {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl NotRotated {
    fn into_error(self, before: &str) -> Error {
        match self {
            Self::Other(error) => error,
            Self::Failure(why, secrets) => {
                let secrets: Vec<&str> = secrets.iter().map(|secret| secret.expose().as_str()).collect();
                failure(before, why, &secrets)
            }
        }
    }
}

/// Changes the password in the database and in `role`, which the caller stores.
async fn rotate(cx: &Ctx<Database>, name: &str, role: &mut StaticRole, config: &Config) -> Result<(), NotRotated> {
    role.check_kind(config)?;
    let before = pending::of_role(cx, name).await?;
    let slot = if role.accounts.len() > 1 && !role.rotated.is_never() { 1 - role.active.min(1) } else { role.active };
    let self_managed = config.is_self_managed()?;
    let account = role.accounts.get(slot).ok_or_else(|| Error::internal("a static role without an account"))?;
    let username = account.username.clone();
    let target = if self_managed {
        let current = working_password(cx, name, role, account).await?;
        config.target_of(cx, &username, &current)?
    } else {
        root::target(cx, &role.db_name, config).await?
    };
    let credential = match role.credential_type {
        Kind::RsaPrivateKey => credential::key(cx, &role.credential_config).await?,
        _ => Credential::Password(credential::password(cx, &role.credential_config, &config.password_policy).await?),
    };
    let new = credential.secret().duplicate();
    let note = pending::note(cx, "role", name, &new, slot).await?;
    let accounts = Accounts { database: cx.outside().database(), target: &target, manner: config.manner()? };
    if let Err(why) = accounts.change(&role.rotation_statements, &username, &credential).await {
        let surely_not = match (&credential, &why) {
            (Credential::Password(_), _) => root::surely_not(cx, &why, config.target_of(cx, &username, &new)?).await,
            (_, Failure::Template(_)) => true,
            // Its statements happen together or not at all; others may have been half done.
            (_, Failure::Database(fault)) => fault.is_refusal() && target.protocol == Protocol::PostgreSql,
        };
        if surely_not {
            pending::take_back(cx, &note).await?;
        }
        return Err(NotRotated::Failure(why, vec![new, target.password.duplicate()]));
    }
    if role.accounts.len() > 1 && root::works(cx, &mut config.target_of(cx, &username, &new)?).await != Some(true) {
        return Err(failed("the new password could not be proven by logging in; the other account is handed out still").into());
    }
    if let Some(account) = role.accounts.get_mut(slot) {
        account.password = Zeroizing::new(new.expose().clone());
    }
    (role.active, role.rotated) = (slot, cx.now());
    (role.failures, role.failure) = (0, String::new());
    role.due = Timing::of(role)?.after(cx.now(), cx.now());
    for done in before.iter().chain([&note]) {
        cx.view.delete(&done.key);
    }
    Ok(())
}

/// When a role's password changes.
enum Timing {
    Every(Span),
    At(Schedule),
}

impl Timing {
    fn of(role: &StaticRole) -> Result<Self> {
        if role.schedule.is_empty() {
            return Ok(Self::Every(role.period));
        }
        let schedule = Schedule::parse(&role.schedule);
        schedule.map(Self::At).map_err(|why| Error::bad_request(format!("could not parse rotation_schedule: {why}")))
    }

    /// The next time after `now` for a password of `rotated`.
    fn after(&self, now: Timestamp, rotated: Timestamp) -> Timestamp {
        match self {
            Self::Every(period) => rotated.plus(period.duration()),
            Self::At(schedule) => schedule.after(now).unwrap_or(now.plus(Duration::from_secs(86_400))),
        }
    }

    /// Whether a scheduled change has missed its window, and waits for the next time.
    fn is_past_window(&self, now: Timestamp, due: Timestamp, window: Span) -> bool {
        matches!(self, Self::At(_)) && !window.is_zero() && now.since(due) > window.duration()
    }
}

impl StaticRole {
    /// Whether the connection's database can be told of the role's kind of credential.
    fn check_kind(&self, config: &Config) -> Result<()> {
        if self.credential_type == Kind::ClientCertificate {
            return Err(Error::bad_request(
                "unsupported credential_type: \"client_certificate\": a static role has a password or a key",
            ));
        }
        if self.credential_type != Kind::Password && (self.accounts.len() > 1 || config.is_self_managed()?) {
            return Err(Error::bad_request(
                "a key can be proven by no login here: neither second_username nor self_managed go with one",
            ));
        }
        self.credential_type.must_suit(config.plugin()?.protocol, &self.rotation_statements)
    }

    fn show_timing(&self, shown: &mut Object) {
        if self.schedule.is_empty() {
            shown.insert("rotation_period", self.period.secs());
        } else {
            shown.insert("rotation_schedule", self.schedule.as_str());
            if !self.window.is_zero() {
                shown.insert("rotation_window", self.window.secs());
            }
        }
    }
}

/// Stores a role and its entry in the index, and takes its old entry away.
fn keep(cx: &Ctx<Database>, name: &str, role: &StaticRole, old_due: Option<Timestamp>) -> Result<()> {
    if let Some(due) = old_due {
        cx.view.delete(&due_key(due, name));
    }
    cx.view.put(&key(name), role)?;
    cx.view.put(&due_key(role.due, name), &Due {})
}

fn due_key(due: Timestamp, name: &str) -> String {
    format!("due/{:020}/{name}", due.secs())
}

pub(super) fn key(name: &str) -> String {
    format!("static-role/{name}")
}
