//! The seal: what guards the root key, and how the server gets from sealed to open.
//!
//! The root key seals the barrier's keyring. It is itself sealed under the *unseal key*: for a Shamir seal a key that
//! only a threshold of shares gives back, for a static seal a key from a file. Both are wiped after use.

mod ceremony;
mod init;
mod rekey;
mod root_token;
pub(crate) mod routes;
mod static_key;
mod unseal;

pub use init::{InitAsk, Initialized};
pub use static_key::change_static_key;
pub(crate) use unseal::RECOVERY_KEY;
pub use unseal::Status;

use crate::barrier::{ROOT_KEY, SEAL_CONFIG_KEY, store_error};
use coffer_crypto::aead::Aes256GcmKey;
use coffer_crypto::random::Random;
use coffer_storage::Store;
use coffer_types::{Error, Result, Secret};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Which seal the configuration names.
pub enum SealKind {
    Shamir,
    /// A key that the server reads by itself at start.
    Static {
        key_id: String,
        key: Secret<[u8; 32]>,
    },
}

/// The seal's stored configuration: not secret, and not sealed, since it says how to unseal.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct SealConfig {
    pub format: u8,
    /// `shamir` or `static`.
    pub kind: String,
    /// Of the unseal key's shares; for a static seal of the recovery key's.
    pub shares: u8,
    pub threshold: u8,
    /// For a static seal: which key sealed the root key.
    #[serde(default)]
    pub key_id: String,
    pub cluster_id: String,
    pub cluster_name: String,
}

impl SealConfig {
    pub const FORMAT: u8 = 1;

    /// What a store says of its seal; `None` before initialisation.
    pub async fn stored(store: &dyn Store) -> Result<Option<Self>> {
        let entry = store.snapshot().get(SEAL_CONFIG_KEY.as_bytes()).await.map_err(store_error)?;
        let Some(entry) = entry else { return Ok(None) };
        let config: Self =
            serde_json::from_slice(&entry.value).map_err(|e| Error::internal(format!("{SEAL_CONFIG_KEY} does not read: {e}")))?;
        if config.format != Self::FORMAT {
            return Err(Error::internal(format!(
                "{SEAL_CONFIG_KEY} has format {}, this program knows {}",
                config.format,
                Self::FORMAT
            )));
        }
        Ok(Some(config))
    }
}

const ROOT_LABEL: &[u8] = b"coffer/root-key/v1";

/// The seal of one server.
pub struct Seal {
    kind: SealKind,
    state: tokio::sync::Mutex<State>,
    /// The stored configuration; `None` before initialisation.
    config: arc_swap::ArcSwapOption<SealConfig>,
    progress: parking_lot::Mutex<unseal::Progress>,
    rekey: parking_lot::Mutex<Option<rekey::Rekey>>,
    root_token: parking_lot::Mutex<Option<root_token::RootToken>>,
}

/// Guards init, unseal, seal, rekey: one at a time.
#[derive(Default)]
struct State {}

impl Seal {
    /// Reads what the store says of its seal.
    pub async fn open(kind: SealKind, store: &dyn Store) -> Result<Self> {
        let config = SealConfig::stored(store).await?.map(std::sync::Arc::new);
        if let Some(config) = config.as_ref().filter(|config| config.kind != kind.name()) {
            return Err(Error::bad_request(format!(
                "this store was initialised with a {} seal, the configuration names {}",
                config.kind,
                kind.name()
            )));
        }
        Ok(Self {
            kind,
            state: tokio::sync::Mutex::default(),
            config: arc_swap::ArcSwapOption::new(config),
            progress: parking_lot::Mutex::default(),
            rekey: parking_lot::Mutex::default(),
            root_token: parking_lot::Mutex::default(),
        })
    }

    pub fn kind(&self) -> &SealKind {
        &self.kind
    }

    pub fn config(&self) -> Option<std::sync::Arc<SealConfig>> {
        self.config.load_full()
    }

    pub fn is_initialized(&self) -> bool {
        self.config.load().is_some()
    }
}

impl SealKind {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Shamir => "shamir",
            Self::Static { .. } => "static",
        }
    }
}

/// The root key, sealed under the unseal key.
pub(crate) fn seal_root(unseal_key: &[u8; 32], root_key: &[u8; 32], random: &dyn Random) -> Vec<u8> {
    Aes256GcmKey::new(unseal_key).seal(random, ROOT_LABEL, root_key)
}

/// The root key of this store, if the unseal key is the right one.
pub(crate) async fn open_root(store: &dyn Store, unseal_key: &[u8; 32]) -> Result<Option<Zeroizing<[u8; 32]>>> {
    let entry = store.snapshot().get(ROOT_KEY.as_bytes()).await.map_err(store_error)?;
    let entry = entry.ok_or_else(|| Error::internal("the sealed root key is missing"))?;
    let Ok(plain) = Aes256GcmKey::new(unseal_key).open(ROOT_LABEL, &entry.value) else { return Ok(None) };
    let mut root = Zeroizing::new([0u8; 32]);
    if plain.len() != root.len() {
        return Err(Error::internal("the root key has the wrong length"));
    }
    root.copy_from_slice(&plain);
    Ok(Some(root))
}
