//! The kinds of databases: what their plug-ins are called in Vault, and what each says to make, change and remove an account.
//!
//! | plug-in | default name of an account | without statements of the role |
//! | --- | --- | --- |
//! | PostgreSQL | `v-<display>-<role>-<random>-<time>`, 63 bytes | sessions end, every grant in the database and the role go |
//! | MySQL, Aurora, RDS | the same, 32 bytes; legacy 16 | the account goes from every host, its sessions end |
//! | Cassandra | `v_<display>_<role>_<random>_<time>`, 100 bytes, lower case | made without rights; removed |
//! | MongoDB | as PostgreSQL's, 100 bytes | removed from `admin` |
//! | SQL Server | as PostgreSQL's, 128 characters | sessions end, the users in all databases and the login go |
//! | Redis, Valkey | `V_<DISPLAY>_<ROLE>_<RANDOM>_<TIME>` | made with `~* +@read`; removed |

use super::credential::Credential;
use super::statement::{Lexis, check_name, fill, identifier, list, literal};
use coffer_engine::outside::{Database, Fault, FaultKind, Line, Protocol, Rows, Script, Target};
use coffer_types::{Error, Object, Result, Secret};

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plugin {
    pub name: &'static str,
    pub protocol: Protocol,
    /// The template of accounts' names.
    pub template: &'static str,
}

const USUAL: &str =
    r#"{{ printf "v-%s-%s-%s-%s" (.DisplayName | truncate 8) (.RoleName | truncate 8) (random 20) (unix_time) | truncate 63 }}"#;
const MYSQL: &str = r#"{{ printf "v-%s-%s-%s-%s" (.DisplayName | truncate 10) (.RoleName | truncate 10) (random 20) (unix_time) | truncate 32 }}"#;
const MYSQL_LEGACY: &str = r#"{{ printf "v-%s-%s-%s" (.RoleName | truncate 4) (random 20) (unix_time) | truncate 16 }}"#;
const REDIS: &str = r#"{{ printf "V_%s_%s_%s_%s" (.DisplayName | uppercase | truncate 64) (.RoleName | uppercase | truncate 64) (random 20 | uppercase) (unix_time) | truncate 128 }}"#;

const PLUGINS: [Plugin; 10] = [
    Plugin { name: "postgresql-database-plugin", protocol: Protocol::PostgreSql, template: USUAL },
    Plugin { name: "mysql-database-plugin", protocol: Protocol::MySql, template: MYSQL },
    Plugin { name: "mysql-aurora-database-plugin", protocol: Protocol::MySql, template: MYSQL },
    Plugin { name: "mysql-rds-database-plugin", protocol: Protocol::MySql, template: MYSQL },
    Plugin { name: "mysql-legacy-database-plugin", protocol: Protocol::MySql, template: MYSQL_LEGACY },
    Plugin { name: "redis-database-plugin", protocol: Protocol::Redis, template: REDIS },
    Plugin { name: "valkey-database-plugin", protocol: Protocol::Redis, template: REDIS },
    Plugin { name: "mongodb-database-plugin", protocol: Protocol::MongoDb, template: super::mongodb::NAME },
    Plugin { name: "mssql-database-plugin", protocol: Protocol::SqlServer, template: super::sqlserver::NAME },
    Plugin { name: "cassandra-database-plugin", protocol: Protocol::Cassandra, template: super::cassandra::NAME },
];

impl Plugin {
    pub(super) fn named(name: &str) -> Option<Self> {
        PLUGINS.into_iter().find(|plugin| plugin.name == name)
    }
}

/// A database that is asked, and how.
pub(super) struct Accounts<'a> {
    pub database: &'a dyn Database,
    pub target: &'a Target,
    pub manner: Manner,
}

/// What a connection's settings say of how accounts are made.
#[derive(Default)]
pub(super) struct Manner {
    /// MongoDB: how many of a set must confirm a command.
    pub write_concern: Option<Object>,
    /// MongoDB: where the accounts of static roles are.
    pub home: String,
    /// SQL Server: whether accounts are users of one database, without logins.
    pub contained: bool,
}

/// Why an account could not be made or changed.
pub(super) enum Failure {
    /// We did not even ask: a template can't be filled in.
    Template(Error),
    Database(Fault),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Template(error)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Database(fault)
    }
}

impl Plugin {
    /// Whether an account of this name could be made and found again.
    pub(super) fn check_name(&self, name: &str) -> Result<()> {
        check_name(lexis(self.protocol), name)
    }

    /// Whether an account can be made without statements of the role.
    pub(super) const fn has_usual_creation(&self) -> bool {
        matches!(self.protocol, Protocol::Redis | Protocol::Cassandra)
    }
}

fn unsuited() -> Failure {
    Failure::Template(Error::bad_request(
        "unsupported credential_type: without statements of its own a password alone can be told",
    ))
}

/// How the database reads statements. Those that take none know no limit of names, nor do they cut anything off.
const fn lexis(protocol: Protocol) -> Lexis {
    match protocol {
        Protocol::PostgreSql => Lexis::PostgreSql,
        Protocol::SqlServer => Lexis::SqlServer,
        Protocol::Cassandra => Lexis::Cql,
        Protocol::MySql | Protocol::Redis | Protocol::MongoDb => Lexis::MySql,
    }
}

impl Accounts<'_> {
    pub(super) fn lexis(&self) -> Lexis {
        lexis(self.target.protocol)
    }

    /// Makes an account. With a failure comes whether there may be one all the same.
    pub(super) async fn create(
        &self,
        statements: &[String],
        user: &str,
        credential: &Credential,
        expiration: &str,
    ) -> Result<(), (Failure, bool)> {
        // What is refused at once made nothing; what is not answered may have.
        let alone = |why: Fault| {
            let maybe = !why.is_refusal();
            (Failure::Database(why), maybe)
        };
        let only_password = || credential.password().ok_or_else(|| (unsuited(), false));
        if self.target.protocol == Protocol::Redis {
            let password = only_password()?;
            let rules = ["reset".to_owned(), "on".to_owned()].into_iter().chain(redis_rules(statements));
            return self.redis_set(user, password, rules).await.map_err(alone);
        }
        if self.target.protocol == Protocol::MongoDb {
            return self.create_in_mongodb(statements, user, only_password()?).await;
        }
        let usual = [super::cassandra::CREATE.to_owned()];
        let statements = if statements.is_empty() && self.target.protocol == Protocol::Cassandra { &usual } else { statements };
        let values = [("name", user), ("username", user), credential.value(), ("expiration", expiration)];
        let mut statements = fill(self.lexis(), statements, &values).map_err(|why| (Failure::Template(why), false))?;
        if matches!(self.target.protocol, Protocol::MySql | Protocol::Cassandra) && !statements.is_empty() {
            // Each commits by itself there: after the first one there may be an account.
            let rest = statements.split_off(1);
            self.say(Script::atomic(statements)).await.map_err(alone)?;
            self.say(Script::atomic(rest)).await.map_err(|why| (Failure::Database(why), true))?;
            return Ok(());
        }
        let ends = |s: &Secret<String>| {
            let word = s.expose().split_whitespace().next().unwrap_or_default();
            ["commit", "end"].iter().any(|end| word.eq_ignore_ascii_case(end))
        };
        // All or nothing, unless they end the transaction themselves.
        let by_itself = statements.iter().any(ends);
        match self.say(Script::atomic(statements)).await {
            Ok(_) => Ok(()),
            Err(why) => {
                let (why, maybe) = alone(why);
                Err((why, maybe || by_itself))
            }
        }
    }

    /// Tells an account that it lives longer.
    pub(super) async fn extend(&self, statements: &[String], user: &str, expiration: &str) -> Result<(), Failure> {
        let usual = [r#"ALTER ROLE "{{username}}" VALID UNTIL '{{expiration}}';"#.to_owned()];
        let statements = match (self.target.protocol, statements) {
            (Protocol::Redis | Protocol::MongoDb, _) => return Ok(()),
            (Protocol::PostgreSql, []) => &usual[..],
            // Its accounts have no end of their own.
            (_, []) => return Ok(()),
            (_, own) => own,
        };
        let values = [("name", user), ("username", user), ("expiration", expiration)];
        let statements = fill(self.lexis(), statements, &values)?;
        self.say(Script::atomic(statements)).await?;
        Ok(())
    }

    /// Gives an account that is there another password, or whatever its own statements say.
    pub(super) async fn change(&self, statements: &[String], user: &str, credential: &Credential) -> Result<(), Failure> {
        let values = [("name", user), ("username", user), credential.value()];
        let password = match credential.password() {
            Some(password) => password,
            None if statements.is_empty() || matches!(self.target.protocol, Protocol::Redis | Protocol::MongoDb) => {
                return Err(unsuited());
            }
            None => {
                self.say(Script::atomic(fill(self.lexis(), statements, &values)?)).await?;
                return Ok(());
            }
        };
        let secret = password.expose().as_str();
        let own = match (self.target.protocol, statements) {
            (Protocol::Redis, _) => {
                if !self.exists(user).await? {
                    return Err(Fault::new(FaultKind::Refused, "the account does not exist").into());
                }
                return Ok(self.redis_set(user, password, std::iter::once("resetpass".to_owned())).await?);
            }
            (Protocol::PostgreSql, []) => {
                fill(self.lexis(), &[r#"ALTER ROLE "{{username}}" WITH PASSWORD '{{password}}';"#.to_owned()], &values)?
            }
            (Protocol::MongoDb, _) => return self.change_in_mongodb(user, password).await,
            (Protocol::SqlServer, []) => fill(self.lexis(), &[self.change_of_sqlserver()], &values)?,
            (Protocol::Cassandra, []) => fill(self.lexis(), &[super::cassandra::CHANGE.to_owned()], &values)?,
            (_, []) => {
                let lexis = self.lexis();
                let hosts = self.hosts(user).await?;
                if hosts.is_empty() {
                    return Err(Fault::new(FaultKind::Refused, "the account does not exist").into());
                }
                let alter = |host: &String| {
                    let (user, host, secret) = (literal(lexis, user), literal(lexis, host), literal(lexis, secret));
                    Secret::new(format!("ALTER USER {user}@{host} IDENTIFIED BY {secret}"))
                };
                hosts.iter().map(alter).collect()
            }
            (_, own) => fill(self.lexis(), own, &values)?,
        };
        self.say(Script::atomic(own)).await?;
        Ok(())
    }

    /// Removes an account, and ends what it still has open. Nothing to do where there is none; but what the role says is said
    /// all the same, since it may be about something else than an account of this database.
    pub(super) async fn remove(&self, statements: &[String], user: &str) -> Result<(), Failure> {
        if self.target.protocol == Protocol::Redis {
            self.command(["ACL", "DELUSER", user]).await?;
            return Ok(());
        }
        if self.target.protocol == Protocol::MongoDb {
            return self.remove_from_mongodb(statements, user).await;
        }
        let usual = [super::cassandra::REMOVE.to_owned()];
        let statements = if statements.is_empty() && self.target.protocol == Protocol::Cassandra { &usual } else { statements };
        let removed = if statements.is_empty() {
            match (self.exists(user).await?, self.target.protocol) {
                (false, _) => Ok(()),
                (true, Protocol::PostgreSql) => self.remove_from_postgres(user).await,
                (true, Protocol::SqlServer) => self.remove_from_sqlserver(user).await,
                (true, _) => self.remove_from_mysql(user).await,
            }
        } else {
            let statements = fill(self.lexis(), statements, &[("name", user), ("username", user)])?;
            self.say(Script::atomic(statements)).await.map(|_| ())
        };
        match removed {
            // It was removed before, or by another call just now.
            Err(fault) if fault.kind == FaultKind::Absent && !self.exists(user).await? => Ok(()),
            other => Ok(other?),
        }
    }

    /// Whether an account of this name is someone else's already. Where we may not look, the database refuses to make a second one.
    pub(super) async fn is_taken(&self, statements: &[String], user: &str) -> Result<bool, Failure> {
        let found = match self.target.protocol {
            Protocol::MongoDb => self.is_in_mongodb(user, &super::mongodb::place(statements)?).await,
            _ => self.exists(user).await,
        };
        match found {
            Err(fault) if fault.is_refusal() && matches!(self.target.protocol, Protocol::MongoDb | Protocol::Cassandra) => {
                Ok(false)
            }
            other => Ok(other?),
        }
    }

    /// Whether there is an account of this name.
    pub(super) async fn exists(&self, user: &str) -> Result<bool, Fault> {
        match self.target.protocol {
            Protocol::Redis => Ok(!self.command(["ACL", "GETUSER", user]).await?.is_empty()),
            Protocol::MySql => Ok(!self.hosts(user).await?.is_empty()),
            Protocol::MongoDb => self.is_in_mongodb(user, super::mongodb::USUAL).await,
            Protocol::Cassandra => self.is_in_cassandra(user).await,
            Protocol::SqlServer => self.is_in_sqlserver(user).await,
            _ => {
                let ask = format!("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = {}", literal(self.lexis(), user));
                Ok(!self.rows(ask).await?.is_empty())
            }
        }
    }

    /// First nobody can come in, then those inside go, then the grants and the role: in one transaction but for the sessions.
    async fn remove_from_postgres(&self, user: &str) -> Result<(), Fault> {
        let lexis = Lexis::PostgreSql;
        let (name, text) = (identifier(lexis, user), literal(lexis, user));
        let granted = format!(
            "WITH r AS (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = {text}) \
             SELECT DISTINCT n.nspname FROM pg_catalog.pg_namespace n, r \
             WHERE EXISTS (SELECT 1 FROM aclexplode(n.nspacl) a WHERE a.grantee = r.oid) \
             OR EXISTS (SELECT 1 FROM pg_catalog.pg_class c, aclexplode(c.relacl) a WHERE c.relnamespace = n.oid AND a.grantee = r.oid) \
             OR EXISTS (SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) a \
             WHERE c.relnamespace = n.oid AND a.grantee = r.oid) \
             OR EXISTS (SELECT 1 FROM pg_catalog.pg_proc p, aclexplode(p.proacl) a WHERE p.pronamespace = n.oid AND a.grantee = r.oid) \
             UNION SELECT 'public' FROM pg_catalog.pg_namespace WHERE nspname = 'public'"
        );
        let schemas = self.rows(granted).await?;
        let database = self.rows("SELECT pg_catalog.current_database()".to_owned()).await?;
        let mut statements = vec![format!("ALTER ROLE {name} NOLOGIN")];
        for schema in schemas.iter().filter_map(|row| row.first()?.as_deref()) {
            let schema = identifier(lexis, schema);
            for what in ["TABLES", "SEQUENCES", "FUNCTIONS"] {
                statements.push(format!("REVOKE ALL PRIVILEGES ON ALL {what} IN SCHEMA {schema} FROM {name}"));
            }
            statements.push(format!("REVOKE ALL PRIVILEGES ON SCHEMA {schema} FROM {name}"));
        }
        if let Some(database) = database.iter().find_map(|row| row.first()?.as_deref()) {
            statements.push(format!("REVOKE ALL PRIVILEGES ON DATABASE {} FROM {name}", identifier(lexis, database)));
        }
        statements.push(format!("DROP ROLE IF EXISTS {name}"));
        // Only some may end the sessions of others; the role goes all the same.
        let end = format!("SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE usename = {text}");
        match self.rows(end).await {
            Err(fault) if !fault.is_refusal() => return Err(fault),
            _ => {}
        }
        self.say(Script::atomic(statements.into_iter().map(Secret::new))).await?;
        Ok(())
    }

    async fn remove_from_mysql(&self, user: &str) -> Result<(), Fault> {
        let lexis = Lexis::MySql;
        let text = literal(lexis, user);
        let drops = self.hosts(user).await?.into_iter().map(|host| {
            let host = literal(lexis, &host);
            Secret::new(format!("DROP USER IF EXISTS {text}@{host}"))
        });
        self.say(Script::atomic(drops)).await?;
        // A session outlives its account there. Not every administrator may end one.
        let open = self.rows(format!("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = {text}")).await;
        for row in open.unwrap_or_default() {
            if let Some(Some(session)) = row.first()
                && session.bytes().all(|b| b.is_ascii_digit())
                && let Err(fault) = self.rows(format!("KILL {session}")).await
                && !fault.is_refusal()
            {
                return Err(fault);
            }
        }
        Ok(())
    }

    async fn hosts(&self, user: &str) -> Result<Vec<String>, Fault> {
        let rows = self.rows(format!("SELECT Host FROM mysql.user WHERE User = {}", literal(Lexis::MySql, user))).await?;
        Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
    }

    async fn redis_set(&self, user: &str, password: &Secret<String>, rules: impl Iterator<Item = String>) -> Result<(), Fault> {
        let mut words: Vec<Secret<String>> = ["ACL", "SETUSER", user].into_iter().map(Secret::from).collect();
        words.extend(rules.map(Secret::new));
        words.push(Secret::new(format!(">{}", password.expose())));
        self.say(Script { atomic: true, lines: vec![Line::Command(words)] }).await?;
        Ok(())
    }

    async fn command<const N: usize>(&self, words: [&str; N]) -> Result<Rows, Fault> {
        let words = words.into_iter().map(Secret::from).collect();
        let rows = self.say(Script { atomic: false, lines: vec![Line::Command(words)] }).await?;
        Ok(rows.into_iter().next().unwrap_or_default())
    }

    pub(super) async fn rows(&self, statement: String) -> Result<Rows, Fault> {
        let rows = self.say(Script::one(statement)).await?;
        Ok(rows.into_iter().next().unwrap_or_default())
    }

    pub(super) async fn say(&self, script: Script) -> Result<Vec<Rows>, Fault> {
        self.database.run(self.target, script).await
    }
}

/// What an account of Redis may do: the rules of the role, or reading.
fn redis_rules(statements: &[String]) -> Vec<String> {
    let rules: Vec<String> = statements
        .iter()
        .flat_map(|text| list(text).unwrap_or_else(|| text.split_whitespace().map(str::to_owned).collect()))
        .filter(|rule| !rule.is_empty())
        .collect();
    if rules.is_empty() { vec!["~*".to_owned(), "+@read".to_owned()] } else { rules }
}

/// The database's words without the secrets that may stand in them: what an error of ours may say.
pub(super) fn scrub(text: &str, secrets: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|s| !s.is_empty()) {
        text = text.replace(secret, "[redacted]");
    }
    // A database quotes what it could not read: a piece of a password that was not quoted, for one.
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(start) = rest.find(['"', '\'', '`']) {
        let quote = &rest[start..=start];
        out.push_str(&rest[..=start]);
        rest = &rest[start + 1..];
        let Some(end) = rest.find(quote) else { break };
        let quoted = &rest[..end];
        out.push_str(if secrets.iter().any(|secret| shares(secret, quoted)) { "[redacted]" } else { quoted });
        out.push_str(quote);
        rest = &rest[end + 1..];
    }
    out.push_str(if secrets.iter().any(|secret| shares(secret, rest)) { "[redacted]" } else { rest });
    out
}

/// Whether four characters in a row of a secret stand in a text, or all of a short one.
fn shares(secret: &str, text: &str) -> bool {
    let bytes = secret.as_bytes();
    let window = bytes.len().clamp(1, 4);
    !bytes.is_empty() && bytes.windows(window).any(|piece| text.as_bytes().windows(window).any(|other| other == piece))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::username::Template;

    #[test]
    fn every_default_name_can_be_made() {
        for plugin in PLUGINS {
            assert!(Template::parse(plugin.template, super::super::creds::FIELDS).is_ok(), "{}", plugin.name);
            assert_eq!(Plugin::named(plugin.name), Some(plugin));
        }
        assert_eq!(Plugin::named("nope"), None);
    }

    #[test]
    fn no_part_of_a_password_is_repeated() {
        let secret = "eUh12hw1wYSrUAGqIft-";
        for said in [
            "ERROR: syntax error at or near \"eUh12hw1wYSrUAGqIft\" (SQLSTATE 42601)",
            "near 'hw1wYS' at line 1",
            "ERR modifier '>eUh12hw1wYSrUAGqIft-': no",
            "unterminated \"eUh12hw1w",
            "plain eUh12hw1wYSrUAGqIft- too",
        ] {
            let shown = scrub(said, &[secret]);
            assert!(!shares(secret, &shown), "{shown}");
        }
        let said = "ERROR: role \"app\" does not exist (SQLSTATE 42704)";
        assert_eq!(scrub(said, &[secret]), said);
    }

    #[test]
    fn rules_of_redis() {
        assert_eq!(redis_rules(&[]), ["~*", "+@read"]);
        assert_eq!(redis_rules(&["[\"+@read\", \"~a b\"]".into()]), ["+@read", "~a b"]);
        assert_eq!(redis_rules(&["+@read ~a*".into(), String::new()]), ["+@read", "~a*"]);
    }
}
