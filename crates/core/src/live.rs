//! What exists while the barrier is open. Whoever holds an [`Unsealed`] has proof that it was when the call began.

use crate::barrier::Barrier;
use crate::core::Core;
use crate::identity::{Identities, IdentityEngine, IdentityStore};
use crate::mounts::{self, MountRecord};
use crate::policies::{Compiled, PolicyCache};
use crate::quotas::{self, Quotas};
use crate::registry::Registry;
use crate::router::{Mounted, Router};
use crate::settings::{self, Cors};
use crate::sys::Sys;
use crate::tokens::TokenStore;
use crate::tokens::batch::BatchSealer;
use crate::wrapping::WrappingSigner;
use arc_swap::{ArcSwap, ArcSwapOption};
use coffer_crypto::memory::LockedKey;
use coffer_crypto::random::Random;
use coffer_engine::Principal;
use coffer_engine::declare::Declared;
use coffer_engine::view::{Record, View};
use coffer_types::{Error, Result, Timestamp};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Weak};
use zeroize::Zeroizing;

/// An open server.
pub struct Live {
    pub barrier: Arc<Barrier>,
    pub router: ArcSwap<Router>,
    pub policies: PolicyCache,
    pub identities: Identities,
    pub quotas: Quotas,
    pub lockout: crate::lockout::Tries,
    pub leases: crate::leases::Counts,
    /// What calls under way have noted before they act outside.
    pub notes: crate::intents::Notes,
    pub(crate) tidying: crate::tidy::UnderWay,
    /// Prefixes that a call is revoking and waits for.
    pub(crate) sweeping: parking_lot::Mutex<std::collections::HashSet<String>>,
    /// The origins whose pages may call, where that was set over the API.
    pub cors: ArcSwapOption<Cors>,
    pub tokens: TokenStore,
    pub batch: BatchSealer,
    pub wrapping: WrappingSigner,
    /// Seals the keyring; needed when that grows.
    root_key: RwLock<LockedKey>,
    /// Serialises what is rebuilt after commits, so that an older state never replaces a newer one.
    rebuild: tokio::sync::Mutex<()>,
    core: Weak<Core>,
}

/// Proof that the barrier was open. Only [`Core::unsealed`] gives one.
#[derive(Clone)]
pub struct Unsealed(pub(crate) Arc<Live>);

impl std::ops::Deref for Unsealed {
    type Target = Live;
    fn deref(&self) -> &Live {
        &self.0
    }
}

/// Keys of their own for every kind of sealed thing that leaves, and the salt of token keys.
#[derive(Serialize, Deserialize)]
pub struct ServerKeys {
    pub token_salt: Zeroizing<[u8; 32]>,
    pub batch_tokens: Zeroizing<[u8; 32]>,
    /// PKCS#8 of the key that signs wrapping tokens in JWT form.
    #[serde(default)]
    pub wrapping_jwt: Zeroizing<Vec<u8>>,
}

/// Where they stand.
pub const SERVER_KEYS: &str = "core/server-keys";

impl Record for ServerKeys {
    const FORMAT: u8 = 1;
}

impl ServerKeys {
    pub fn generate(random: &dyn Random) -> Result<Self> {
        let jwt = coffer_crypto::jwt::Es512Key::generate().and_then(|k| k.to_pkcs8()).map_err(Error::internal)?;
        Ok(Self {
            token_salt: coffer_crypto::random::bytes(random),
            batch_tokens: coffer_crypto::random::bytes(random),
            wrapping_jwt: Zeroizing::new(jwt.to_vec()),
        })
    }
}

impl Live {
    /// Opens the server on an open barrier: reads its keys and mounts.
    pub async fn open(core: &Arc<Core>, barrier: Arc<Barrier>, root_key: &[u8; 32]) -> Result<Arc<Self>> {
        let view = barrier.begin().root_view();
        let keys: ServerKeys = view.get(SERVER_KEYS).await?.ok_or_else(|| Error::internal("the server's keys are missing"))?;
        let live = Arc::new(Self {
            barrier,
            router: ArcSwap::default(),
            policies: PolicyCache::default(),
            identities: Identities::new(IdentityStore::new(&keys.token_salt)),
            quotas: Quotas::default(),
            lockout: crate::lockout::Tries::default(),
            leases: crate::leases::Counts::default(),
            notes: crate::intents::Notes::default(),
            tidying: crate::tidy::UnderWay::default(),
            sweeping: parking_lot::Mutex::default(),
            cors: ArcSwapOption::empty(),
            tokens: TokenStore::new(&keys.token_salt),
            batch: BatchSealer::new(&keys.batch_tokens),
            wrapping: WrappingSigner::new(&keys.wrapping_jwt)?,
            root_key: RwLock::new(LockedKey::new(root_key)),
            rebuild: tokio::sync::Mutex::new(()),
            core: Arc::downgrade(core),
        });
        live.rebuild_router().await?;
        live.quotas.load(&view).await?;
        live.leases.load(&view).await?;
        live.cors.store(settings::load(core, &view).await?.map(Arc::new));
        let txn = live.barrier.begin();
        crate::audit_store::restore(core, &txn.root_view()).await?;
        crate::sys::status::note_version(&txn.root_view(), core.clock.now()).await?;
        txn.commit().await?;
        Ok(live)
    }

    pub fn core(&self) -> Result<Arc<Core>> {
        self.core.upgrade().ok_or_else(|| Error::internal("the server is shutting down"))
    }

    /// Brings up to date what is derived from the keys that a commit wrote, before the commit is acknowledged.
    pub async fn after_commit(&self, keys: &[String]) -> Result<()> {
        if keys.iter().any(|k| k.starts_with(mounts::PREFIX)) {
            self.rebuild_router().await?;
        }
        if keys.iter().any(|k| k.starts_with(crate::policies::PREFIX)) {
            self.policies.clear();
        }
        self.identities.after_commit(keys);
        if keys.iter().any(|k| k.starts_with(quotas::PREFIX)) {
            let _one_at_a_time = self.rebuild.lock().await;
            self.quotas.load(&self.view()).await?;
            self.leases.load(&self.view()).await?;
        }
        if keys.iter().any(|k| k.starts_with(settings::PREFIX)) {
            let _one_at_a_time = self.rebuild.lock().await;
            self.cors.store(settings::load(&*self.core()?, &self.view()).await?.map(Arc::new));
        }
        crate::leases::follow_up(self, keys).await;
        Ok(())
    }

    /// What the policies of a principal come to.
    pub async fn compiled(&self, principal: &Principal, now: Timestamp) -> Result<Arc<Compiled>> {
        let identity = match &*principal.entity_id {
            "" => None,
            id => self.identities.get(&self.barrier, id).await?,
        };
        self.policies.compiled(&self.barrier, &principal.policies, identity.as_deref(), now).await
    }

    async fn rebuild_router(&self) -> Result<()> {
        let _one_at_a_time = self.rebuild.lock().await;
        let core = self.core()?;
        let view = self.barrier.begin().root_view();
        let mut mounted = Vec::new();
        for record in mounts::load(&view).await? {
            if !record.going {
                mounted.push(mount(&core, record)?);
            }
        }
        self.router.store(Arc::new(Router::new(mounted)));
        Ok(())
    }

    /// The key that seals the keyring.
    pub(crate) fn root_key(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(*self.root_key.read().expose())
    }

    pub(crate) fn set_root_key(&self, key: &[u8; 32]) {
        *self.root_key.write() = LockedKey::new(key);
    }

    /// A view of everything, for the server's own housekeeping.
    pub fn view(&self) -> View {
        self.barrier.begin().root_view()
    }
}

/// Opens the engine of a mount record.
pub fn mount(core: &Arc<Core>, record: MountRecord) -> Result<Mounted> {
    let mount = Arc::new(record.mount(core.config.default_lease_ttl, core.config.max_lease_ttl, &core.config.lockout));
    let engine = match record.kind.as_str() {
        "system" => system::<Sys>(core, Sys::new)?,
        "token" => system::<crate::tokens::engine::TokenEngine>(core, crate::tokens::engine::TokenEngine::new)?,
        "identity" => system::<IdentityEngine>(core, IdentityEngine::new)?,
        kind => factory(&core.registry, &record, kind)?.open(&mount)?,
    };
    Ok(Mounted { prefix: record.prefix().into(), intents: record.intents().into(), mount, engine, record })
}

fn system<E: coffer_engine::Engine>(core: &Arc<Core>, make: fn(Weak<Core>) -> E) -> Result<Arc<dyn coffer_engine::Erased>> {
    let declared = Declared::<E>::new().map_err(|faults| Error::internal(faults.join("; ")))?;
    Ok(declared.on(Arc::new(make(Arc::downgrade(core)))))
}

fn factory<'r>(registry: &'r Registry, record: &MountRecord, kind: &str) -> Result<&'r Arc<dyn coffer_engine::route::Factory>> {
    let version = record.options.get("version").map(String::as_str);
    registry
        .find(record.class, kind, version)
        .ok_or_else(|| Error::bad_request(format!("plugin not found in the catalog: {kind}")))
}
