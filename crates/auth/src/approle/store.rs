//! What stands in the store, and where. No secret id and no role id stands in a key or, for secret ids, in a value: keys
//! hold HMACs under a key of the mount's own, so looking one up takes no longer the nearer a guess comes.

use crate::token::TokenParams;
use coffer_crypto::mac::HmacKey;
use coffer_engine::view::View;
use coffer_engine::{Ctx, Record};
use coffer_types::{Error, Result, Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// 32 bytes, made with the first role.
const MAC_KEY: &str = "mac-key";
/// Stand in for the records of a role id that there is not, so that it costs what one costs that there is.
const DECOY_INDEX: &str = "decoy/index";
const DECOY_ROLE: &str = "decoy/role";
/// Never written: what the other side of a look-up that was found reads.
const NOTHING: &str = "decoy/nothing";
pub(super) const ROLES: &str = "role/";

/// A role, below [`ROLES`] under its name in lower case.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Role {
    pub name: String,
    /// What its secret ids stand under: no later role of the same name finds them.
    pub folder: String,
    pub role_id: String,
    pub bind_secret_id: bool,
    pub secret_id_bound_cidrs: Vec<String>,
    pub secret_id_num_uses: u64,
    pub secret_id_ttl: Span,
    pub local_secret_ids: bool,
    pub token: TokenParams,
    /// Set by the older field names, and read back by these.
    #[serde(default)]
    pub policies: Vec<String>,
    #[serde(default)]
    pub period: Span,
}

impl Record for Role {
    const FORMAT: u8 = 1;
}

/// Where a role id leads: `role-id/<hmac>`.
#[derive(Serialize, Deserialize)]
struct Index {
    name: String,
}

impl Record for Index {
    const FORMAT: u8 = 1;
}

/// A secret id without its text: `secret/<folder>/<hmac>`.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct SecretId {
    pub accessor: String,
    pub created: Timestamp,
    /// Never for one without a TTL.
    pub expires: Timestamp,
    pub updated: Timestamp,
    pub ttl: Span,
    /// Logins left; 0 is without limit.
    pub num_uses: u64,
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    #[serde(default)]
    pub cidr_list: Vec<String>,
    #[serde(default)]
    pub token_bound_cidrs: Vec<String>,
}

impl Record for SecretId {
    const FORMAT: u8 = 1;
}

impl SecretId {
    pub(super) fn is_live(&self, now: Timestamp) -> bool {
        self.expires.is_never() || self.expires > now
    }
}

/// What an accessor leads to: `accessor/<folder>/<accessor>`.
#[derive(Serialize, Deserialize)]
struct Pointer {
    mac: String,
}

impl Record for Pointer {
    const FORMAT: u8 = 1;
}

/// An entry whose key says all: `time/<seconds>/<folder>/<hmac>` when a secret id expires, `gone/<folder>` for a role whose
/// secret ids are to be removed.
#[derive(Serialize, Deserialize)]
pub(super) struct Entry {}

impl Record for Entry {
    const FORMAT: u8 = 1;
}

/// The mount's key, and through it the names of things in the store.
pub(super) struct Names(HmacKey);

impl Names {
    /// For reading. A mount without roles has no key, and nothing to find.
    pub(super) async fn read(view: &View) -> Result<Self> {
        Ok(match view.get_bytes(MAC_KEY).await? {
            Some(key) => Self(HmacKey::new(&key)),
            None => Self(HmacKey::new(&[0; 32])),
        })
    }

    /// For writing a role: makes the key, and the decoy, where there are none.
    pub(super) async fn make<E>(cx: &Ctx<E>) -> Result<Self> {
        if let Some(key) = cx.view.get_bytes(MAC_KEY).await? {
            return Ok(Self(HmacKey::new(&key)));
        }
        let mut key = Zeroizing::new(vec![0; 32]);
        cx.fill_random(&mut key);
        let names = Self(HmacKey::new(&key));
        cx.view.put_bytes(MAC_KEY, key);
        cx.view.put(DECOY_INDEX, &Index { name: uuid(cx) })?;
        let decoy = Role::new(String::new(), uuid(cx), uuid(cx));
        cx.view.put(DECOY_ROLE, &Role { token: TokenParams { policies: vec!["app".into()], ..decoy.token }, ..decoy })?;
        Ok(names)
    }

    fn role_id(&self, role_id: &str) -> String {
        format!("role-id/{}", hex::encode(self.0.tag_parts(&[b"role-id\0", role_id.as_bytes()])))
    }

    /// The HMAC of a secret id of a role.
    pub(super) fn secret_id(&self, role: &Role, secret_id: &str) -> String {
        hex::encode(self.0.tag_parts(&[b"secret-id\0", role.folder.as_bytes(), b"\0", secret_id.as_bytes()]))
    }

    /// The role of a role id, for a login. One that there is not takes the same reads, one of them of nothing, and decodes
    /// as much; what comes back then is no role.
    pub(super) async fn role_of(&self, view: &View, role_id: &str) -> Result<Sought> {
        let found: Option<Index> = view.get(&self.role_id(role_id)).await?;
        let known = found.is_some();
        let other: Option<Index> = view.get(if known { NOTHING } else { DECOY_INDEX }).await?;
        let Some(index) = found.or(other) else { return Ok(Sought::None) };
        let key = if known { role_key(&index.name) } else { DECOY_ROLE.to_owned() };
        Ok(match view.get::<Role>(&key).await? {
            Some(role) if known => Sought::Role(role),
            Some(decoy) => Sought::Decoy(decoy),
            None => Sought::None,
        })
    }

    pub(super) async fn role_id_taken(&self, view: &View, role_id: &str) -> Result<bool> {
        view.exists(&self.role_id(role_id)).await
    }

    pub(super) fn put_role_id(&self, view: &View, role: &Role) -> Result<()> {
        view.put(&self.role_id(&role.role_id), &Index { name: role.name.clone() })
    }

    pub(super) fn delete_role_id(&self, view: &View, role_id: &str) {
        view.delete(&self.role_id(role_id));
    }
}

/// See [`Names::role_of`].
pub(super) enum Sought {
    Role(Role),
    /// To do the work of a role's with.
    Decoy(Role),
    /// There is no role at all in this mount.
    None,
}

impl Role {
    pub(super) fn new(name: String, folder: String, role_id: String) -> Self {
        Self {
            name,
            folder,
            role_id,
            bind_secret_id: true,
            secret_id_bound_cidrs: Vec::new(),
            secret_id_num_uses: 0,
            secret_id_ttl: Span::ZERO,
            local_secret_ids: false,
            token: TokenParams::default(),
            policies: Vec::new(),
            period: Span::ZERO,
        }
    }

    pub(super) async fn find(view: &View, name: &str) -> Result<Option<Self>> {
        view.get(&role_key(name)).await
    }

    pub(super) fn put(&self, view: &View) -> Result<()> {
        view.put(&role_key(&self.name), self)
    }

    pub(super) fn delete(&self, view: &View) -> Result<()> {
        view.delete(&role_key(&self.name));
        view.put(&format!("{GONE}{}", self.folder), &Entry {})
    }
}

fn role_key(name: &str) -> String {
    format!("{ROLES}{}", name.to_lowercase())
}

/// Folders of roles that are gone, whose secret ids are to be removed.
pub(super) const GONE: &str = "gone/";
/// Secret ids by the time of their end.
pub(super) const TIMES: &str = "time/";

pub(super) fn secrets(folder: &str) -> String {
    format!("secret/{folder}/")
}

pub(super) fn accessors(role: &Role) -> String {
    format!("accessor/{}/", role.folder)
}

impl SecretId {
    pub(super) async fn find(view: &View, folder: &str, mac: &str) -> Result<Option<Self>> {
        view.get(&format!("{}{mac}", secrets(folder))).await
    }

    /// The HMAC that an accessor leads to, and the secret id.
    pub(super) async fn by_accessor(view: &View, role: &Role, accessor: &str) -> Result<Option<(String, Self)>> {
        let Some(pointer) = view.get::<Pointer>(&format!("{}{accessor}", accessors(role))).await? else { return Ok(None) };
        let found = Self::find(view, &role.folder, &pointer.mac).await?;
        Ok(found.map(|secret_id| (pointer.mac, secret_id)))
    }

    /// Stores a new one with what leads to it.
    pub(super) fn add(&self, view: &View, role: &Role, mac: &str) -> Result<()> {
        view.put(&format!("{}{}", accessors(role), self.accessor), &Pointer { mac: mac.to_owned() })?;
        if let Some(key) = self.time_key(&role.folder, mac) {
            view.put(&key, &Entry {})?;
        }
        self.update(view, &role.folder, mac)
    }

    /// Writes a changed one back. Its end does not change.
    pub(super) fn update(&self, view: &View, folder: &str, mac: &str) -> Result<()> {
        view.put(&format!("{}{mac}", secrets(folder)), self)
    }

    pub(super) fn remove(&self, view: &View, folder: &str, mac: &str) {
        view.delete(&format!("{}{mac}", secrets(folder)));
        view.delete(&format!("accessor/{folder}/{}", self.accessor));
        if let Some(key) = self.time_key(folder, mac) {
            view.delete(&key);
        }
    }

    fn time_key(&self, folder: &str, mac: &str) -> Option<String> {
        (!self.expires.is_never()).then(|| format!("{TIMES}{:020}/{folder}/{mac}", self.expires.secs()))
    }
}

/// A random UUID.
pub(super) fn uuid<E>(cx: &Ctx<E>) -> String {
    let mut bytes = [0; 16];
    cx.fill_random(&mut bytes);
    format_uuid(&bytes)
}

fn format_uuid(bytes: &[u8; 16]) -> String {
    let hex = hex::encode(bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// No role of this name, for a call that needs one.
pub(super) fn no_role(name: &str) -> Error {
    crate::as_vault_500(format!("role {name:?} does not exist"))
}
