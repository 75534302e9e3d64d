//! Accounts of SQL Server: logins with their users in databases or, with `contained_db`, users of one database.

use super::plugin::Accounts;
use super::statement::{Lexis, identifier, literal};
use coffer_engine::outside::Fault;

/// The template of accounts' names.
pub(super) const NAME: &str = r#"{{ printf "v-%s-%s-%s-%s" (.DisplayName | truncate 20) (.RoleName | truncate 20) (random 20) (unix_time) | truncate 128 }}"#;

const LEXIS: Lexis = Lexis::SqlServer;

impl Accounts<'_> {
    /// What changes a password where nothing else is said.
    pub(super) fn change_of_sqlserver(&self) -> String {
        let what = if self.manner.contained { "USER" } else { "LOGIN" };
        format!("ALTER {what} [{{{{username}}}}] WITH PASSWORD = N'{{{{password}}}}'")
    }

    pub(super) async fn is_in_sqlserver(&self, user: &str) -> Result<bool, Fault> {
        let principals = if self.manner.contained { "database_principals" } else { "server_principals" };
        Ok(!self.rows(format!("SELECT 1 FROM sys.{principals} WHERE name = {}", literal(LEXIS, user))).await?.is_empty())
    }

    /// First nobody can come in, then those inside go, then the users in all databases, then the login.
    pub(super) async fn remove_from_sqlserver(&self, user: &str) -> Result<(), Fault> {
        let (name, text) = (identifier(LEXIS, user), literal(LEXIS, user));
        if self.manner.contained {
            self.rows(format!("DROP USER {name}")).await?;
            return self.end_sessions(&text).await;
        }
        self.rows(format!("ALTER LOGIN {name} DISABLE")).await?;
        self.end_sessions(&text).await?;
        let databases = self.rows("SELECT name FROM sys.databases WHERE state = 0 AND HAS_DBACCESS(name) = 1".to_owned()).await?;
        for database in databases.into_iter().filter_map(|row| row.into_iter().next().flatten()) {
            let database = identifier(LEXIS, &database);
            let users =
                self.rows(format!("SELECT name FROM {database}.sys.database_principals WHERE sid = SUSER_SID({text})")).await?;
            for user in users.into_iter().filter_map(|row| row.into_iter().next().flatten()) {
                let drop = literal(LEXIS, &format!("DROP USER {}", identifier(LEXIS, &user)));
                self.rows(format!("EXEC {database}.sys.sp_executesql {drop}")).await?;
            }
        }
        self.rows(format!("DROP LOGIN {name}")).await.map(|_| ())
    }

    /// As far as the connection's account sees them and may.
    async fn end_sessions(&self, text: &str) -> Result<(), Fault> {
        let open = self.rows(format!("SELECT session_id FROM sys.dm_exec_sessions WHERE login_name = {text}")).await;
        for row in open.or_else(|fault| if fault.is_refusal() { Ok(Vec::new()) } else { Err(fault) })? {
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
}
