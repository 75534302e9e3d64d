//! Like a database engine: reading `creds/{role}` makes an account outside, under a lease.
//!
//! The note of an account is durable before the account is made, and goes with the commit that registers its lease. So an
//! account without a lease has a note, and is taken away when notes are rolled back: a crash at any point leaks none.

use coffer_engine::{Ctx, Declare, Engine, Intent, LeaseKind, Mount, NoInput, Record, Reply, Request, Response, Terms};
use coffer_types::{Error, Kind, Name, Object, Result, Secret, Span};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What stands outside. Every act may be repeated.
pub trait Database: Send + Sync {
    fn create(&self, user: &str, password: &Secret<String>) -> Result<()>;
    /// Also if there is no such account.
    fn remove(&self, user: &str) -> Result<()>;
    /// Notes that the account is still in use.
    fn extend(&self, user: &str) -> Result<()>;
}

/// A database in memory that fails when it is told to.
#[derive(Default)]
pub struct MemoryDatabase {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Account to the number of its renewals.
    accounts: BTreeMap<String, u32>,
    failures: u32,
}

/// What stands outside outlives every server: mounts find it by its name.
static NAMED: Mutex<BTreeMap<String, Arc<MemoryDatabase>>> = Mutex::new(BTreeMap::new());

impl MemoryDatabase {
    /// The database of this name, the same for all who ask.
    pub fn named(name: &str) -> Arc<Self> {
        NAMED.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default().clone()
    }

    /// The next `times` acts fail.
    pub fn fail(&self, times: u32) {
        self.state().failures = times;
    }

    /// Accounts with the number of their renewals.
    pub fn accounts(&self) -> BTreeMap<String, u32> {
        self.state().accounts.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn act(&self) -> Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        if state.failures > 0 {
            state.failures -= 1;
            return Err(Error::new(Kind::Upstream, "the database does not answer"));
        }
        Ok(state)
    }
}

impl Database for MemoryDatabase {
    fn create(&self, user: &str, password: &Secret<String>) -> Result<()> {
        if password.expose().is_empty() {
            return Err(Error::new(Kind::Upstream, "the database wants a password"));
        }
        self.act()?.accounts.insert(user.to_owned(), 0);
        Ok(())
    }

    fn remove(&self, user: &str) -> Result<()> {
        self.act()?.accounts.remove(user);
        Ok(())
    }

    fn extend(&self, user: &str) -> Result<()> {
        match self.act()?.accounts.get_mut(user) {
            Some(renewals) => *renewals += 1,
            None => return Err(Error::new(Kind::Upstream, "the database has no such account")),
        }
        Ok(())
    }
}

/// The engine over one database.
pub struct Accounts {
    database: Arc<dyn Database>,
}

impl Accounts {
    pub fn new(database: Arc<dyn Database>) -> Self {
        Self { database }
    }
}

/// A role; stored in format 1 under `role/<name>`.
#[derive(Serialize, Deserialize)]
struct Role {
    ttl: Span,
    max_ttl: Span,
}

impl Record for Role {
    const FORMAT: u8 = 1;
}

/// What renewing and revoking need to know.
#[derive(Serialize, Deserialize)]
struct Creds {
    user: String,
    role: String,
}

impl Record for Creds {
    const FORMAT: u8 = 1;
}

impl LeaseKind for Creds {
    const NAME: &'static str = "creds";
}

/// The note of an account about to be made.
#[derive(Serialize, Deserialize)]
struct Making {
    user: String,
}

impl Record for Making {
    const FORMAT: u8 = 1;
}

impl Intent for Making {
    const NAME: &'static str = "making";
}

impl Engine for Accounts {
    const KIND: &'static str = "accounts";

    fn open(mount: &Mount) -> Result<Self> {
        let name = mount.options.get("database").ok_or_else(|| Error::bad_request("the option database is missing"))?;
        Ok(Self { database: MemoryDatabase::named(name) })
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Makes accounts in a database, for a while.");
        d.at("roles").about("Lists roles.").list(list);
        d.at("roles/{name}").about("Reads and writes a role.").read(read).write(write).exists(exists).delete(delete);
        d.at("creds/{name}").about("Makes an account.").read(creds);
        d.lease::<Creds>().renew(renew).revoke(revoke);
        d.intent(roll_back);
    }
}

/// Names a role.
#[derive(Request)]
struct Named {
    /// The role.
    #[field(path)]
    name: Name,
}

/// Write a role.
#[derive(Request)]
struct Write {
    /// The role.
    #[field(path)]
    name: Name,
    /// How long an account lives.
    #[field(default = Span::from_secs(3600))]
    ttl: Span,
    /// How long renewals may keep it.
    #[field(default)]
    max_ttl: Span,
}

async fn write(cx: Ctx<Accounts>, q: Write) -> Result<Reply<()>> {
    cx.view.put(&role_key(&q.name), &Role { ttl: q.ttl, max_ttl: q.max_ttl })?;
    Ok(Reply::empty())
}

async fn read(cx: Ctx<Accounts>, q: Named) -> Result<Reply> {
    let role = role(&cx, &q.name).await?;
    Ok(Reply::data(Object::new().with("ttl", role.ttl.secs()).with("max_ttl", role.max_ttl.secs())))
}

async fn exists(cx: Ctx<Accounts>, q: Named) -> Result<bool> {
    cx.view.exists(&role_key(&q.name)).await
}

async fn delete(cx: Ctx<Accounts>, q: Named) -> Result<Reply<()>> {
    cx.view.delete(&role_key(&q.name));
    Ok(Reply::empty())
}

async fn list(cx: Ctx<Accounts>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(cx.view.children("role/", None, usize::MAX).await?))
}

fn role_key(name: &Name) -> String {
    format!("role/{name}")
}

async fn role(cx: &Ctx<Accounts>, name: &Name) -> Result<Role> {
    cx.view.get(&role_key(name)).await?.ok_or_else(|| Error::bad_request("unknown role"))
}

#[derive(Response)]
struct Made {
    /// The account's name.
    username: String,
    /// Its password.
    password: Secret<String>,
}

async fn creds(cx: Ctx<Accounts>, q: Named) -> Result<Reply<Made>> {
    let role = role(&cx, &q.name).await?;
    let mut random = [0u8; 8];
    cx.fill_random(&mut random);
    let user = format!("v-{}-{:016x}", q.name, u64::from_be_bytes(random));
    cx.fill_random(&mut random);
    let password = Secret::new(format!("generated-{:016x}", u64::from_be_bytes(random)));
    let noted = cx.intend(&Making { user: user.clone() }).await?;
    cx.engine.database.create(&user, &password)?;
    cx.done(noted);
    let terms = Terms { ttl: role.ttl, max_ttl: role.max_ttl, renewable: true };
    Reply::leased(Made { username: user.clone(), password }, &Creds { user, role: q.name.to_string() }, terms)
}

async fn renew(cx: Ctx<Accounts>, lease: Creds) -> Result<Terms> {
    let role = role(&cx, &Name::parse(&lease.role)?).await?;
    cx.engine.database.extend(&lease.user)?;
    Ok(Terms { ttl: role.ttl, max_ttl: role.max_ttl, renewable: true })
}

async fn revoke(cx: Ctx<Accounts>, lease: Creds) -> Result<()> {
    cx.engine.database.remove(&lease.user)
}

async fn roll_back(cx: Ctx<Accounts>, note: Making) -> Result<()> {
    cx.engine.database.remove(&note.user)
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_engine::testing::Bench;
    use coffer_types::Operation;

    fn bench() -> (Bench, Arc<MemoryDatabase>) {
        let database = Arc::new(MemoryDatabase::default());
        let bench = Bench::with("db/", Arc::new(Accounts::new(database.clone())));
        bench.call(Operation::Update, "roles/app", r#"{"ttl":"1h","max_ttl":"24h"}"#).unwrap();
        (bench, database)
    }

    fn notes(bench: &Bench) -> usize {
        bench.keys().iter().filter(|k| k.starts_with("intents/making/")).count()
    }

    #[test]
    fn an_account_lives_with_its_lease() {
        let (b, database) = bench();
        let answer = b.call(Operation::Read, "creds/app", "").unwrap();
        let user = answer.data.as_ref().unwrap().get("username").unwrap().as_str().unwrap().to_owned();
        assert_eq!(database.accounts(), BTreeMap::from([(user.clone(), 0)]));
        assert_eq!(notes(&b), 0, "the note goes with the commit of the lease");
        let lease = answer.lease.unwrap();
        assert_eq!((lease.kind, lease.terms.ttl, lease.terms.renewable), ("creds", Span::from_secs(3600), true));
        let terms = b.renew(&lease).unwrap();
        assert_eq!((terms.max_ttl, database.accounts()[&user]), (Span::from_secs(86_400), 1));
        b.revoke(&lease).unwrap();
        b.revoke(&lease).unwrap();
        assert!(database.accounts().is_empty());
        assert!(b.renew(&lease).is_err(), "what is gone does not come back");
    }

    #[test]
    fn a_crash_after_the_act_leaks_nothing() {
        let (b, database) = bench();
        b.call_and_crash(Operation::Read, "creds/app", "").unwrap();
        assert_eq!((database.accounts().len(), notes(&b)), (1, 1));
        database.fail(2);
        assert_eq!((b.roll_back(), b.roll_back()), (1, 1), "tried again until the database answers");
        assert_eq!(notes(&b), 1);
        assert_eq!(b.roll_back(), 0);
        assert_eq!((database.accounts().len(), notes(&b)), (0, 0));
    }

    #[test]
    fn an_act_that_never_happened_is_undone_harmlessly() {
        let (b, database) = bench();
        let kept = b.call(Operation::Read, "creds/app", "").unwrap();
        database.fail(1);
        let failed = b.call(Operation::Read, "creds/app", "").err().unwrap();
        assert_eq!((failed.kind, notes(&b)), (Kind::Upstream, 1));
        assert_eq!(b.roll_back(), 0);
        assert_eq!((database.accounts().len(), notes(&b)), (1, 0));
        b.revoke(&kept.lease.unwrap()).unwrap();
    }

    #[test]
    fn a_revocation_that_fails_can_be_tried_again() {
        let (b, database) = bench();
        let lease = b.call(Operation::Read, "creds/app", "").unwrap().lease.unwrap();
        database.fail(3);
        for _ in 0..3 {
            assert_eq!(b.revoke(&lease).err().map(|e| e.kind), Some(Kind::Upstream));
            assert_eq!(database.accounts().len(), 1);
        }
        b.revoke(&lease).unwrap();
        assert!(database.accounts().is_empty());
    }

    #[test]
    fn refuses() {
        let (b, database) = bench();
        assert_eq!(b.call(Operation::Read, "creds/none", "").err().map(|e| e.kind), Some(Kind::BadRequest));
        let lease = b.call(Operation::Read, "creds/app", "").unwrap().lease.unwrap();
        b.call(Operation::Delete, "roles/app", "").unwrap();
        assert_eq!(b.renew(&lease).err().map(|e| e.kind), Some(Kind::BadRequest), "the role is gone");
        b.revoke(&lease).unwrap();
        assert!(database.accounts().is_empty(), "revoking needs no role");
    }

    #[test]
    fn stored_notes_and_leases_hold_no_password() {
        let (b, _) = bench();
        let answer = b.call_and_crash(Operation::Read, "creds/app", "").unwrap();
        let note = b.keys().into_iter().find(|k| k.starts_with("intents/")).unwrap();
        let lease = answer.lease.unwrap().internal;
        for stored in [&b.stored(&note).unwrap()[..], &lease[..]] {
            assert!(!String::from_utf8_lossy(stored).contains("generated"));
        }
    }
}
