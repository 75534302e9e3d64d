//! From a plan to a server: the store, the seal, the core, and, where that is the way to start, initialised and open.

use super::plan::Plan;
use super::solo::{self, Places, SealKey};
use super::{StartError, dev};
use crate::config::{Audit, Seal, StorageKind};
use crate::registry::registry;
use base64::Engine as _;
use coffer_core::audit::AuditDeviceSpec;
use coffer_core::process::{NoProcess, Process};
use coffer_core::seal::{InitAsk, SealConfig, SealKind, change_static_key};
use coffer_core::{Core, CoreConfig, Mode};
use coffer_crypto::random::{Random, SystemRandom};
use coffer_storage::embedded::{Embedded, Options};
use coffer_storage::memory::Memory;
use coffer_storage::{Revision, Store};
use coffer_types::{Clock, Kind, Secret, SystemClock};
use std::sync::Arc;

/// An opened server.
pub struct Opened {
    pub core: Arc<Core>,
    pub store: Arc<dyn Store>,
    /// What initialisation gave, if this start initialised.
    pub first: Option<FirstKeys>,
}

/// What a person must be told once.
pub struct FirstKeys {
    pub root_token: Secret<String>,
    /// The unseal key (dev) or the recovery key (without configuration), base64.
    pub key: Secret<String>,
}

/// What the server is given from outside.
pub struct Sources {
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    /// What the API shows of the process.
    pub process: Arc<dyn Process>,
}

impl Default for Sources {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), random: Arc::new(SystemRandom), process: Arc::new(NoProcess) }
    }
}

/// A server whose store is open and locked, and of which nothing was initialised or unsealed yet.
pub struct Prepared {
    core: Arc<Core>,
    store: Arc<dyn Store>,
}

impl Prepared {
    /// Opens the store and reads the seal's key.
    ///
    /// # Errors
    /// Everything that keeps them from opening; what was there before is not changed then.
    pub async fn new(
        plan: &Plan,
        sources: Sources,
        variable: &(dyn Fn(&str) -> Option<String> + Sync),
    ) -> Result<Self, StartError> {
        let store = store(plan).await?;
        let seal = match (&plan.mode, &plan.places) {
            (Mode::Solo, Some(places)) => {
                let SealKey { id, key, .. } = solo::seal_key(places, store.revision() == Revision(0), &*sources.random)?;
                SealKind::Static { key_id: id, key }
            }
            _ => configured_seal(&plan.config.seal, &*store, &*sources.random, variable).await?,
        };
        let core =
            Core::open(core_config(plan, sources.process)?, seal, Arc::clone(&store), registry()?, sources.clock, sources.random)
                .await
                .map_err(StartError::core("the store can't be served"))?;
        Ok(Self { core, store })
    }

    /// Initialises and unseals where that is the way to start.
    ///
    /// # Errors
    /// The seal's key is not the one of the data; the store fails.
    pub async fn finish(self, plan: &Plan) -> Result<Opened, StartError> {
        let Self { core, store } = self;
        let first = match plan.mode {
            Mode::Configured => {
                unseal(&core, plan).await?;
                None
            }
            Mode::Solo if core.seal.is_initialized() => {
                unseal(&core, plan).await?;
                None
            }
            Mode::Solo => {
                let first = initialize(&core).await?;
                dev::mount_kv(&core, &first.root_token).await?;
                Some(first)
            }
            Mode::Dev => {
                let first = initialize(&core).await?;
                let wished = plan.dev.as_ref().and_then(|dev| dev.root_token_id.as_ref());
                let root_token = dev::furnish(&core, first.root_token, wished).await?;
                Some(FirstKeys { root_token, key: first.key })
            }
        };
        Ok(Opened { core, store, first })
    }
}

async fn store(plan: &Plan) -> Result<Arc<dyn Store>, StartError> {
    let Some(storage) = &plan.config.storage else {
        return Err(StartError::Usage("a storage backend must be specified".to_owned()));
    };
    match &storage.kind {
        StorageKind::Memory => Ok(Arc::new(Memory::new())),
        StorageKind::Embedded { path, .. } => {
            let path = path.clone();
            // Opening reads the journal, which may take its time.
            let opened = tokio::task::spawn_blocking(move || Embedded::open(&path, Options::default())).await;
            let store = opened
                .map_err(|cause| StartError::Io { what: "opening the store".to_owned(), cause: std::io::Error::other(cause) })?
                .map_err(StartError::Store)?;
            Ok(Arc::new(store))
        }
    }
}

async fn configured_seal(
    seal: &Seal,
    store: &dyn Store,
    random: &dyn Random,
    variable: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<SealKind, StartError> {
    let Seal::Static(seal) = seal else { return Ok(SealKind::Shamir) };
    let key = seal.current.source.load(variable).map_err(StartError::SealKey)?;
    let step = "the store's seal";
    let stored = SealConfig::stored(store).await.map_err(StartError::core(step))?;
    if let Some(stored) = stored.filter(|stored| stored.kind == "static" && stored.key_id != seal.current.id) {
        let Some(previous) = seal.previous.as_ref().filter(|previous| previous.id == stored.key_id) else {
            return Err(StartError::Usage(format!(
                "the data are sealed under the key {:?}, and seal \"static\" names {:?} as the current key; name the old one as previous_key",
                stored.key_id, seal.current.id
            )));
        };
        let old = previous.source.load(variable).map_err(StartError::SealKey)?;
        change_static_key(store, old.expose(), &seal.current.id, key.expose(), random)
            .await
            .map_err(StartError::core("the seal's key could not be changed for the current one"))?;
        tracing::info!(target: "core", from = %previous.id, to = %seal.current.id, "the root key is sealed under the current key now");
    }
    Ok(SealKind::Static { key_id: seal.current.id.clone(), key })
}

fn core_config(plan: &Plan, process: Arc<dyn Process>) -> Result<CoreConfig, StartError> {
    let config = &plan.config;
    let device = |device: &Audit| {
        AuditDeviceSpec::new(&device.path, &device.kind, &device.keys.description, device.keys.options.clone())
            .map_err(StartError::core("an audit device of the configuration"))
    };
    Ok(CoreConfig {
        mode: plan.mode,
        api_addr: plan.api_addr(),
        cluster_addr: config.cluster_addr.clone().unwrap_or_default(),
        cluster_name: config.cluster_name.clone().unwrap_or_default(),
        default_lease_ttl: config.default_lease_ttl,
        max_lease_ttl: config.max_lease_ttl,
        raw_storage_endpoint: config.raw_storage_endpoint,
        allow_api_audit: config.unsafe_allow_api_audit_creation,
        cache_bytes: config.cache_bytes(),
        audit: config.audit.iter().map(device).collect::<Result<_, _>>()?,
        sanitized: config.sanitized().into(),
        lockout: config.user_lockout.settings(),
        process,
        outside: Arc::new(coffer_outside::World::new()),
        ..CoreConfig::default()
    })
}

/// Opens the barrier with the seal's own key, where it has one.
async fn unseal(core: &Arc<Core>, plan: &Plan) -> Result<(), StartError> {
    match core.unseal_by_itself().await {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == Kind::BadRequest => Err(wrong_key(plan)),
        Err(error) => Err(StartError::Core { step: "the store can't be unsealed", error }),
    }
}

fn wrong_key(plan: &Plan) -> StartError {
    let key = match (&plan.places, &plan.config.seal) {
        (Some(Places { seal_key, .. }), _) => seal_key.display().to_string(),
        (None, Seal::Static(seal)) => format!("seal \"static\" ({:?})", seal.current.source),
        (None, Seal::Shamir) => "the configuration".to_owned(),
    };
    let data = match plan.config.storage.as_ref().map(|storage| &storage.kind) {
        Some(StorageKind::Embedded { path, .. }) => path.display().to_string(),
        _ => "the store".to_owned(),
    };
    StartError::WrongKey { data, key }
}

/// The first start: one share of one key, since one person stands before the machine.
async fn initialize(core: &Arc<Core>) -> Result<FirstKeys, StartError> {
    let step = "the store can't be initialised";
    let made = core.initialize(InitAsk { shares: 1, threshold: 1 }).await.map_err(StartError::core(step))?;
    let share = made.shares.first().map(|share| share.as_slice()).unwrap_or_default();
    if core.is_sealed() {
        core.unseal(share).await.map_err(StartError::core("the new store can't be unsealed"))?;
    }
    Ok(FirstKeys { root_token: made.root_token, key: Secret::from(base64::prelude::BASE64_STANDARD.encode(share)) })
}

#[cfg(test)]
mod tests {
    use super::super::local;
    use super::super::plan::ServerOptions;
    use super::super::solo::{SoloError, SoloOptions};
    use super::*;
    use coffer_storage::embedded::OpenError;
    use coffer_types::{Object, Operation};
    use std::path::Path;

    fn solo_plan(home: &Path) -> Plan {
        let home = home.to_str().unwrap().to_owned();
        Plan::make(ServerOptions::default(), &move |name| (name == "HOME").then(|| home.clone())).unwrap()
    }

    fn configured(dir: &Path, text: &str) -> Plan {
        let file = dir.join("c.hcl");
        std::fs::write(&file, format!("{text}\nlistener \"tcp\" {{ tls_disable = true }}")).unwrap();
        Plan::make(ServerOptions { configs: vec![file], ..ServerOptions::default() }, &|_| None).unwrap()
    }

    async fn opened(plan: &Plan) -> Result<Opened, StartError> {
        Prepared::new(plan, Sources::default(), &|_| None).await?.finish(plan).await
    }

    async fn closed(opened: Opened) {
        opened.core.seal_now().await;
        opened.store.close().await.unwrap();
    }

    async fn whoami(core: &Arc<Core>, token: &Secret<String>) -> bool {
        local::call(core, token, Operation::Read, "auth/token/lookup-self", Object::new()).await.is_ok()
    }

    #[tokio::test]
    async fn without_configuration_it_initialises_once_and_comes_back_unsealed() {
        let home = tempfile::tempdir().unwrap();
        let plan = solo_plan(home.path());
        let first = opened(&plan).await.unwrap();
        assert!(!first.core.is_sealed());
        let token = first.first.as_ref().expect("the first start initialises").root_token.duplicate();
        assert!(whoami(&first.core, &token).await);
        closed(first).await;
        let second = opened(&plan).await.unwrap();
        assert!(second.first.is_none(), "initialised anew");
        assert!(!second.core.is_sealed());
        assert!(whoami(&second.core, &token).await, "the root token of before still holds");
        closed(second).await;
    }

    #[tokio::test]
    async fn data_without_their_key_or_with_another_are_refused_and_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let plan = solo_plan(home.path());
        let key = plan.places.as_ref().unwrap().seal_key.clone();
        let first = opened(&plan).await.unwrap();
        let token = first.first.as_ref().unwrap().root_token.duplicate();
        closed(first).await;
        let right = std::fs::read(&key).unwrap();

        std::fs::remove_file(&key).unwrap();
        let missing = opened(&plan).await.err().unwrap();
        assert!(matches!(missing, StartError::Solo(SoloError::KeyMissing { .. })), "{missing}");
        assert!(!key.exists(), "no new key was made over old data");

        std::fs::write(&key, "A".repeat(43)).unwrap();
        std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let wrong = opened(&plan).await.err().unwrap();
        assert!(matches!(wrong, StartError::WrongKey { .. }), "{wrong}");
        assert!(!wrong.to_string().contains("AAAA"));

        std::fs::write(&key, right).unwrap();
        let back = opened(&plan).await.unwrap();
        assert!(whoami(&back.core, &token).await);
        closed(back).await;
    }

    #[tokio::test]
    async fn one_server_at_a_time() {
        let home = tempfile::tempdir().unwrap();
        let plan = solo_plan(home.path());
        let first = opened(&plan).await.unwrap();
        let second = opened(&plan).await.err().unwrap();
        assert!(matches!(second, StartError::Store(OpenError::Locked { .. })), "{second}");
        assert!(second.to_string().contains(&std::process::id().to_string()), "{second}");
        closed(first).await;
    }

    #[tokio::test]
    async fn another_directory_has_another_server_under_the_same_key() {
        let home = tempfile::tempdir().unwrap();
        let other = |name: &str| {
            let home = home.path().to_str().unwrap().to_owned();
            let solo = SoloOptions { data: Some(Path::new(&home).join(name)), ..SoloOptions::default() };
            Plan::make(ServerOptions { solo, ..ServerOptions::default() }, &move |name| (name == "HOME").then(|| home.clone()))
                .unwrap()
        };
        for name in ["a", "b"] {
            let opened = opened(&other(name)).await.unwrap();
            assert!(opened.first.is_some());
            closed(opened).await;
        }
    }

    #[tokio::test]
    async fn a_configured_shamir_server_starts_uninitialised_and_then_sealed() {
        let dir = tempfile::tempdir().unwrap();
        let plan = configured(dir.path(), &format!("storage \"embedded\" {{ path = \"{}\" }}", dir.path().join("d").display()));
        let first = opened(&plan).await.unwrap();
        assert!(first.first.is_none() && first.core.is_sealed() && !first.core.seal.is_initialized());
        let made = first.core.initialize(InitAsk { shares: 1, threshold: 1 }).await.unwrap();
        first.core.unseal(&made.shares[0]).await.unwrap();
        assert!(!first.core.is_sealed());
        closed(first).await;
        let second = opened(&plan).await.unwrap();
        assert!(second.core.is_sealed() && second.core.seal.is_initialized());
        closed(second).await;
    }

    #[tokio::test]
    async fn a_configured_static_seal_unseals_by_itself_and_refuses_another_key_or_kind() {
        let dir = tempfile::tempdir().unwrap();
        let storage = format!("storage \"raft\" {{ path = \"{}\" }}\n", dir.path().join("d").display());
        let seal =
            |digit: &str| format!("{storage}seal \"static\" {{ current_key_id = \"a\" current_key = \"{}\" }}", digit.repeat(64));
        let plan = configured(dir.path(), &seal("1"));
        let first = opened(&plan).await.unwrap();
        first.core.initialize(InitAsk { shares: 1, threshold: 1 }).await.unwrap();
        closed(first).await;
        let second = opened(&plan).await.unwrap();
        assert!(!second.core.is_sealed());
        closed(second).await;
        let wrong = opened(&configured(dir.path(), &seal("2"))).await.err().unwrap();
        assert!(matches!(wrong, StartError::WrongKey { .. }), "{wrong}");
        let shamir = opened(&configured(dir.path(), &storage)).await.err().unwrap();
        assert!(shamir.to_string().contains("static seal"), "{shamir}");
        let missing = format!("{storage}seal \"static\" {{ current_key_id = \"a\" current_key = \"env://NONE\" }}");
        let missing = opened(&configured(dir.path(), &missing)).await.err().unwrap();
        assert!(matches!(missing, StartError::SealKey(_)), "{missing}");
    }

    #[tokio::test]
    async fn a_static_seals_key_is_changed_at_start() {
        let dir = tempfile::tempdir().unwrap();
        let storage = format!("storage \"file\" {{ path = \"{}\" }}\n", dir.path().join("d").display());
        let key =
            |which: &str, id: &str, digit: &str| format!("{which}_key_id = \"{id}\"\n{which}_key = \"{}\"\n", digit.repeat(64));
        let one = key("current", "one", "1");
        let two = key("current", "two", "2");
        let plan = |keys: &str| configured(dir.path(), &format!("{storage}seal \"static\" {{\n{keys}}}"));
        let first = opened(&plan(&one)).await.unwrap();
        let made = first.core.initialize(InitAsk { shares: 1, threshold: 1 }).await.unwrap();
        closed(first).await;
        let unnamed = opened(&plan(&two)).await.err().unwrap();
        assert!(unnamed.to_string().contains("previous_key"), "{unnamed}");
        let wrong = opened(&plan(&format!("{two}{}", key("previous", "one", "3")))).await.err().unwrap();
        assert!(matches!(wrong, StartError::Core { .. }), "{wrong}");
        // Changed with both, then the new one is enough and the old one is nothing.
        for keys in [format!("{two}{}", key("previous", "one", "1")), two] {
            let server = opened(&plan(&keys)).await.unwrap();
            assert!(!server.core.is_sealed());
            assert!(whoami(&server.core, &made.root_token).await);
            closed(server).await;
        }
        assert!(opened(&plan(&one)).await.is_err());
    }

    #[tokio::test]
    async fn what_is_no_store_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "not a directory").unwrap();
        let error = opened(&configured(dir.path(), &format!("storage \"file\" {{ path = \"{}\" }}", file.display())))
            .await
            .err()
            .unwrap();
        assert!(matches!(error, StartError::Store(_)), "{error}");
    }
}
