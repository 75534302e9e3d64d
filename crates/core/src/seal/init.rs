//! Initialisation: the first keys, the first mounts, the first token. One commit, so there is no half of it.

use super::{Seal, SealConfig, SealKind, seal_root};
use crate::barrier::{Barrier, Committed, KEYRING_KEY, Keyring, ROOT_KEY, SEAL_CONFIG_KEY, commit_error, key};
use crate::core::Core;
use crate::live::{SERVER_KEYS, ServerKeys};
use crate::mounts::{self, MountRecord, Tune};
use crate::tokens::TokenStore;
use crate::tokens::record::{ROOT_POLICY, TokenRecord, new_accessor, new_token};
use coffer_crypto::{random, shamir};
use coffer_engine::view::View;
use coffer_engine::{MountClass, TokenKind};
use coffer_storage::{Batch, Expect};
use coffer_types::{Error, Result, Secret, Span};
use std::sync::Arc;
use zeroize::Zeroizing;

/// What an operator asks for.
#[derive(Clone, Copy, Debug)]
pub struct InitAsk {
    pub shares: u8,
    pub threshold: u8,
}

/// What initialisation gives, once.
pub struct Initialized {
    /// Shares of the unseal key (Shamir) or of the recovery key (static).
    pub shares: Vec<Zeroizing<Vec<u8>>>,
    pub root_token: Secret<String>,
}

/// Refuses a number of shares or a threshold that makes no sense, in the reference's words.
pub(super) fn check_shares(ask: InitAsk) -> Result<()> {
    let fault = |what: &str| Err(Error::bad_request(format!("invalid seal configuration: {what}")));
    match (ask.shares, ask.threshold) {
        (0, _) => fault("shares must be at least one"),
        (_, 0) => fault("threshold must be at least one"),
        (shares, threshold) if threshold > shares => fault("threshold cannot be larger than shares"),
        (shares, 1) if shares > 1 => fault("threshold must be greater than one for multiple shares"),
        _ => Ok(()),
    }
}

impl Core {
    /// Makes the store a server's. The barrier stays sealed, but for a static seal.
    pub async fn initialize(self: &Arc<Self>, ask: InitAsk) -> Result<Initialized> {
        let _one_at_a_time = self.seal.state.lock().await;
        if self.seal.is_initialized() {
            return Err(Error::bad_request("Vault is already initialized"));
        }
        check_shares(ask)?;
        let unseal_key: Zeroizing<[u8; 32]> = match self.seal.kind() {
            SealKind::Shamir => random::bytes(&*self.random),
            SealKind::Static { key, .. } => Zeroizing::new(*key.expose()),
        };
        let shared: Zeroizing<[u8; 32]> = match self.seal.kind() {
            SealKind::Shamir => unseal_key.clone(),
            // The recovery key opens nothing; its shares prove an operator's right to make a root token.
            SealKind::Static { .. } => random::bytes(&*self.random),
        };
        let shares = if ask.shares == 1 {
            vec![Zeroizing::new(shared.to_vec())]
        } else {
            shamir::split(&*self.random, &*shared, ask.shares, ask.threshold).map_err(Error::internal)?
        };
        let config = SealConfig {
            format: SealConfig::FORMAT,
            kind: self.seal.kind().name().to_owned(),
            shares: ask.shares,
            threshold: ask.threshold,
            key_id: match self.seal.kind() {
                SealKind::Shamir => String::new(),
                SealKind::Static { key_id, .. } => key_id.clone(),
            },
            cluster_id: random::uuid(&*self.random),
            cluster_name: if self.config.cluster_name.is_empty() {
                format!("vault-cluster-{}", &random::uuid(&*self.random)[..8])
            } else {
                self.config.cluster_name.clone()
            },
        };
        let root_key: Zeroizing<[u8; 32]> = random::bytes(&*self.random);
        let keyring = Keyring::first(&*self.random, self.clock.now());
        let sealed_keyring = keyring.seal(&root_key, &*self.random)?;
        let barrier = Arc::new(Barrier::new(self.store.clone(), keyring, self.random.clone(), self.cache.clone()));

        // First what the barrier holds, last the keys without which it is nothing: a crash in between leaves a
        // store that is not initialised, and the next try overwrites it.
        let txn = barrier.begin();
        let root_token = self.first_state(&txn.root_view(), &shared, &config).await?;
        match txn.commit().await? {
            Committed::Done(_) => {}
            Committed::Conflict => return Err(Error::internal("another server initialises this store")),
        }
        let batch = Batch::default()
            .check(key(SEAL_CONFIG_KEY)?, Expect::Absent)
            .put(key(KEYRING_KEY)?, sealed_keyring)
            .put(key(ROOT_KEY)?, seal_root(&unseal_key, &root_key, &*self.random))
            .put(key(SEAL_CONFIG_KEY)?, serde_json::to_vec(&config).map_err(Error::internal)?);
        self.store.commit(batch).await.map_err(commit_error)?;
        self.seal.set_config(config);
        drop(_one_at_a_time);
        if matches!(self.seal.kind(), SealKind::Static { .. }) {
            self.unseal_with(&unseal_key).await?;
        }
        Ok(Initialized { shares, root_token })
    }

    /// What a new barrier holds: the server's keys, its mounts, the recovery key's proof, the root token.
    async fn first_state(&self, view: &View, shared: &[u8; 32], config: &SealConfig) -> Result<Secret<String>> {
        for key in view.keys("", None, usize::MAX).await? {
            // What an initialisation that crashed has left.
            if ![KEYRING_KEY, ROOT_KEY, SEAL_CONFIG_KEY].contains(&key.as_str()) {
                view.delete(&key);
            }
        }
        let keys = ServerKeys::generate(&*self.random)?;
        view.put(SERVER_KEYS, &keys)?;
        if config.kind == "static" {
            view.put_bytes(super::unseal::RECOVERY_KEY, Zeroizing::new(shared.to_vec()));
        }
        for (class, path, kind, description) in [
            (MountClass::Engine, "sys/", "system", "system endpoints used for control, policy and debugging"),
            (MountClass::Engine, "cubbyhole/", "cubbyhole", "per-token private secret storage"),
            (MountClass::Engine, "identity/", "identity", "identity store"),
            (MountClass::Auth, "token/", "token", "token based credentials"),
        ] {
            let mount = self.new_mount(class, path, kind, description);
            if mount.is_system() || self.registry.find(class, kind, None).is_some() {
                mounts::add(view, &mount).await?;
            }
        }
        let text = new_token(&*self.random);
        let tokens = TokenStore::new(&keys.token_salt);
        let now = self.clock.now();
        tokens.put(
            view,
            &TokenRecord {
                key: tokens.key(text.expose()),
                accessor: new_accessor(&*self.random),
                kind: TokenKind::Service,
                policies: vec![ROOT_POLICY.to_owned()],
                path: "auth/token/root".to_owned(),
                display_name: "root".to_owned(),
                meta: std::collections::BTreeMap::new(),
                created: now,
                ttl: Span::ZERO,
                expires: coffer_types::Timestamp::NEVER,
                last_renewed: coffer_types::Timestamp::NEVER,
                explicit_max_ttl: Span::ZERO,
                period: Span::ZERO,
                num_uses: 0,
                parent: String::new(),
                role: String::new(),
                bound_cidrs: Vec::new(),
                entity_id: String::new(),
                renewable: false,
                cubbyhole: random::uuid(&*self.random),
                login: None,
                mount_accessor: String::new(),
                wrapping: false,
                marked: true,
            },
        )?;
        Ok(text)
    }

    /// A mount record with new identifiers.
    pub fn new_mount(&self, class: MountClass, path: &str, kind: &str, description: &str) -> MountRecord {
        let mut suffix = [0u8; 4];
        self.random.fill(&mut suffix);
        let prefix = if class == MountClass::Auth { format!("auth_{kind}") } else { kind.to_owned() };
        MountRecord {
            class,
            path: path.to_owned(),
            kind: kind.to_owned(),
            accessor: format!("{prefix}_{}", hex::encode(suffix)),
            uuid: random::uuid(&*self.random),
            description: description.to_owned(),
            options: std::collections::BTreeMap::new(),
            tune: Tune::default(),
            local: matches!(kind, "cubbyhole"),
            seal_wrap: false,
            external_entropy_access: false,
            plugin_version: String::new(),
            going: false,
        }
    }
}

impl Seal {
    pub(super) fn set_config(&self, config: SealConfig) {
        self.config.store(Some(Arc::new(config)));
    }
}
