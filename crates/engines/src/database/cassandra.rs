//! Accounts of Cassandra: what is said where a role says nothing.

use super::plugin::Accounts;
use super::statement::{Lexis, literal};
use coffer_engine::outside::Fault;

/// The template of accounts' names: what stands outside of quotes in a statement holds no dash; for the quote see
/// [`check_name`](super::statement::check_name).
pub(super) const NAME: &str = r#"{{ printf "v_%s_%s_%s_%s" (.DisplayName | truncate 15) (.RoleName | truncate 15) (random 20) (unix_time) | truncate 100 | replace "-" "_" | replace "'" "" | lowercase }}"#;

pub(super) const CREATE: &str = "CREATE USER '{{username}}' WITH PASSWORD '{{password}}' NOSUPERUSER";
pub(super) const CHANGE: &str = "ALTER USER '{{username}}' WITH PASSWORD '{{password}}'";
pub(super) const REMOVE: &str = "DROP USER IF EXISTS '{{username}}'";

impl Accounts<'_> {
    /// Looking asks for the right `DESCRIBE`.
    pub(super) async fn is_in_cassandra(&self, user: &str) -> Result<bool, Fault> {
        match self.rows(format!("LIST ROLES OF {} NORECURSIVE", literal(Lexis::Cql, user))).await {
            Ok(rows) => Ok(!rows.is_empty()),
            // Its number for what is not there.
            Err(fault) if fault.kind == coffer_engine::outside::FaultKind::Absent => Ok(false),
            Err(fault) => Err(fault),
        }
    }
}
