//! Token records and where they stand.

use coffer_crypto::mac::HmacKey;
use coffer_crypto::random::{Random, base62};
use coffer_engine::view::{Record, View, is_default};
use coffer_engine::{Login, TokenKind};
use coffer_types::{Result, Secret, Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `token/id/<key>`: the record. The key is the HMAC of the token's text.
pub const RECORDS: &str = "token/id/";
/// `token/accessor/<accessor>`: the token's key.
pub const ACCESSORS: &str = "token/accessor/";
/// `token/child/<parent key>/<child key>`: revoking a parent revokes what it made.
pub const CHILDREN: &str = "token/child/";
/// `token/role/<name>`
pub const ROLES: &str = "token/role/";
/// The expiry of a token whose last use is being taken: long past, so that nothing else lets it in.
pub const SPENT: Timestamp = Timestamp(1);
/// Cubbyholes: below the cubbyhole mount's data, one folder a token; see [`TokenRecord::cubbyhole`].
pub const ROOT_POLICY: &str = "root";

/// A token, without its text.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenRecord {
    /// The HMAC of the token's text, in hexadecimal; empty for a batch token.
    pub key: String,
    pub accessor: String,
    pub kind: TokenKind,
    /// The token's own policies, sorted, `default` among them unless it was left out.
    pub policies: Vec<String>,
    /// The path that made it: `auth/token/create`, `auth/userpass/login/bob`.
    pub path: String,
    pub display_name: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub meta: BTreeMap<String, String>,
    pub created: Timestamp,
    /// The TTL it was made with.
    pub ttl: Span,
    /// Never for a root token without TTL.
    pub expires: Timestamp,
    #[serde(default, skip_serializing_if = "is_default")]
    pub last_renewed: Timestamp,
    #[serde(default, skip_serializing_if = "is_default")]
    pub explicit_max_ttl: Span,
    #[serde(default, skip_serializing_if = "is_default")]
    pub period: Span,
    /// Uses left; 0 is unlimited. The call that uses the last one ends the token.
    #[serde(default, skip_serializing_if = "is_default")]
    pub num_uses: u64,
    /// The key of the token that made it; empty for an orphan.
    #[serde(default, skip_serializing_if = "is_default")]
    pub parent: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub role: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub bound_cidrs: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub entity_id: String,
    pub renewable: bool,
    /// Names its cubbyhole; a service token's only.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cubbyhole: String,
    /// What the auth method needs to renew it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
    /// The accessor of the mount that made it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mount_accessor: String,
    /// A response-wrapping token: usable for nothing but unwrapping.
    #[serde(default, skip_serializing_if = "is_default")]
    pub wrapping: bool,
    /// What it makes leaves a mark ([`crate::leases::end`]): made by a program that keeps them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub marked: bool,
}

impl Record for TokenRecord {
    const FORMAT: u8 = 1;
}

/// The record behind an accessor.
#[derive(Serialize, Deserialize)]
pub struct AccessorRecord {
    pub key: String,
}

impl Record for AccessorRecord {
    const FORMAT: u8 = 1;
}

impl TokenRecord {
    pub fn is_root(&self) -> bool {
        self.policies.iter().any(|p| p == ROOT_POLICY)
    }

    /// Its last use is being taken: it ends with the call that takes it.
    pub fn is_spent(&self) -> bool {
        self.expires == SPENT
    }

    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires.is_never() || self.expires > now
    }

    pub fn is_orphan(&self) -> bool {
        self.parent.is_empty()
    }

    /// Whole seconds left, 0 for never-ending.
    pub fn seconds_left(&self, now: Timestamp) -> i64 {
        if self.expires.is_never() { 0 } else { i64::try_from(self.expires.since(now).as_secs()).unwrap_or(i64::MAX) }
    }
}

/// Where token records are found. Its key is the barrier's own, so a stolen store names no token.
pub struct TokenStore {
    salt: HmacKey,
}

impl TokenStore {
    pub fn new(salt: &[u8; 32]) -> Self {
        Self { salt: HmacKey::new(salt) }
    }

    /// The store's name for a token's text.
    pub fn key(&self, token: &str) -> String {
        hex::encode(self.salt.tag(token.as_bytes()))
    }

    pub async fn get(&self, view: &View, token: &str) -> Result<Option<TokenRecord>> {
        self.get_key(view, &self.key(token)).await
    }

    pub async fn get_key(&self, view: &View, key: &str) -> Result<Option<TokenRecord>> {
        view.get(&format!("{RECORDS}{key}")).await
    }

    pub async fn by_accessor(&self, view: &View, accessor: &str) -> Result<Option<TokenRecord>> {
        match view.get::<AccessorRecord>(&format!("{ACCESSORS}{accessor}")).await? {
            Some(found) => self.get_key(view, &found.key).await,
            None => Ok(None),
        }
    }

    /// Stores a record and what leads to it.
    pub fn put(&self, view: &View, record: &TokenRecord) -> Result<()> {
        view.put(&format!("{RECORDS}{}", record.key), record)?;
        view.put(&format!("{ACCESSORS}{}", record.accessor), &AccessorRecord { key: record.key.clone() })?;
        if !record.parent.is_empty() {
            view.put(&format!("{CHILDREN}{}/{}", record.parent, record.key), &AccessorRecord { key: String::new() })?;
        }
        Ok(())
    }

    /// Stores a changed record whose accessor and parent stay.
    pub fn update(&self, view: &View, record: &TokenRecord) -> Result<()> {
        view.put(&format!("{RECORDS}{}", record.key), record)
    }
}

/// How long the text of a service token is: 22 characters of 62 are 131 bits, which nobody guesses.
pub const TOKEN_LENGTH: usize = 26;

/// The text of a new service token: `hvs.` and 22 random letters and digits.
pub fn new_token(random: &dyn Random) -> Secret<String> {
    let mut text = String::with_capacity(TOKEN_LENGTH);
    text.push_str("hvs.");
    text.push_str(&base62(random, TOKEN_LENGTH - 4));
    Secret::new(text)
}

/// The text of a new accessor.
pub fn new_accessor(random: &dyn Random) -> String {
    // With a digit in it, always: what looks for identifiers in a text tells them from words by that.
    loop {
        let accessor = base62(random, 24);
        if accessor.bytes().any(|b| b.is_ascii_digit()) {
            return accessor.to_string();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_crypto::random::SeededRandom;

    #[test]
    fn every_accessor_has_a_digit_and_none_comes_twice() {
        let random = SeededRandom::for_tests_only(3);
        let made: std::collections::BTreeSet<String> = (0..5_000).map(|_| new_accessor(&random)).collect();
        assert_eq!(made.len(), 5_000);
        assert!(made.iter().all(|a| a.len() == 24 && a.bytes().any(|b| b.is_ascii_digit())));
    }
}
