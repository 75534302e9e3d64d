//! The server's one object: what it was started with, its seal, and, while it is open, what is live.

use crate::audit::{AuditDeviceSpec, Broker};
use crate::barrier::Cache;
use crate::in_flight::InFlight;
use crate::live::{Live, Unsealed};
use crate::process::{NoProcess, Process};
use crate::registry::Registry;
use crate::seal::Seal;
use arc_swap::ArcSwapOption;
use coffer_crypto::random::Random;
use coffer_engine::outside::{Nothing, Outside};
use coffer_storage::Store;
use coffer_types::{Clock, Error, Kind, Result, Span};
use std::sync::Arc;

/// How the server was started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    #[default]
    Configured,
    /// `server` without configuration: durable, on loopback, unseals itself.
    Solo,
    /// `server -dev`: in memory.
    Dev,
}

/// What the configuration says to the core.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    pub mode: Mode,
    pub api_addr: String,
    pub cluster_addr: String,
    pub cluster_name: String,
    pub default_lease_ttl: Span,
    pub max_lease_ttl: Span,
    pub raw_storage_endpoint: bool,
    pub introspection_endpoint: bool,
    /// Audit devices may be enabled over the API (`unsafe_allow_api_audit_creation`); dev mode always may.
    pub allow_api_audit: bool,
    pub cache_bytes: u64,
    /// The devices that the configuration declares.
    pub audit: Vec<AuditDeviceSpec>,
    /// What `sys/config/state/sanitized` shows: the configuration without its secrets, as JSON text.
    pub sanitized: Arc<str>,
    /// The log and the metrics of the process.
    pub process: Arc<dyn Process>,
    /// When users are locked out who fail to log in.
    pub lockout: crate::lockout::Settings,
    /// Systems outside the server, for engines and auth methods.
    pub outside: Arc<dyn Outside>,
}

impl Default for CoreConfig {
    fn default() -> Self {
        Self {
            mode: Mode::Configured,
            api_addr: "http://127.0.0.1:8200".to_owned(),
            cluster_addr: String::new(),
            cluster_name: String::new(),
            default_lease_ttl: Span::from_secs(32 * 24 * 3600),
            max_lease_ttl: Span::from_secs(32 * 24 * 3600),
            raw_storage_endpoint: false,
            introspection_endpoint: false,
            allow_api_audit: false,
            cache_bytes: 32 << 20,
            audit: Vec::new(),
            sanitized: "{}".into(),
            process: Arc::new(NoProcess),
            lockout: crate::lockout::Settings::default(),
            outside: Arc::new(Nothing),
        }
    }
}

impl CoreConfig {
    /// `cluster_addr`, else what Vault makes of `api_addr`: the next port, by TLS.
    pub fn cluster_address(&self) -> String {
        if !self.cluster_addr.is_empty() {
            return self.cluster_addr.clone();
        }
        let host = self.api_addr.split("//").nth(1).unwrap_or(&self.api_addr).trim_end_matches('/');
        match host.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?.checked_add(1)?))) {
            Some((host, port)) => format!("https://{host}:{port}"),
            None => String::new(),
        }
    }
}

/// A server: sealed until its barrier is open.
pub struct Core {
    pub config: CoreConfig,
    pub registry: Registry,
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub seal: Seal,
    pub audit: Broker,
    pub in_flight: InFlight,
    pub(crate) cache: Arc<Cache>,
    live: ArcSwapOption<Live>,
}

impl Core {
    /// A sealed server on a store. Fails where the store's seal is not the one that the configuration names.
    pub async fn open(
        config: CoreConfig,
        seal: crate::seal::SealKind,
        store: Arc<dyn Store>,
        registry: Registry,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Arc<Self>> {
        let seal = Seal::open(seal, &*store).await?;
        let audit = Broker::new(clock.clone(), random.clone(), config.audit.clone())?;
        let cache = Arc::new(Cache::new(config.cache_bytes));
        let (in_flight, live) = (InFlight::default(), ArcSwapOption::empty());
        Ok(Arc::new(Self { in_flight, audit, cache, config, registry, store, clock, random, seal, live }))
    }

    /// Proof that the barrier is open.
    pub fn unsealed(&self) -> Result<Unsealed> {
        self.live.load_full().map(Unsealed).ok_or_else(|| Error::new(Kind::Sealed, "Vault is sealed"))
    }

    /// The origins whose pages may call, where that was set over the API.
    pub fn cors(&self) -> Option<Arc<crate::settings::Cors>> {
        self.live.load().as_ref()?.cors.load_full()
    }

    pub fn is_sealed(&self) -> bool {
        self.live.load().is_none()
    }

    /// From now on calls are answered. For the seal alone.
    pub(crate) fn set_live(&self, live: Arc<Live>) {
        self.live.store(Some(live));
    }

    /// From now on no call is answered; those under way hold their proof and end. Keys are wiped with the last.
    pub(crate) fn drop_live(&self) {
        self.live.store(None);
        self.audit.seal();
    }
}
