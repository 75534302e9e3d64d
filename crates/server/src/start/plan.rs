//! What to start, before anything is touched: all three ways come down to one configuration.

use super::StartError;
use super::dev::DevOptions;
use super::solo::{Places, SoloOptions, loopback};
use crate::config::{
    self, Audit, Bind, Config, Finding, Listener, LoadError, Loaded, Override, PREFIXES, Storage, StorageKind, environment, load,
    parse_address,
};
use coffer_core::Mode;
use std::path::PathBuf;

/// What the command line says to `server`.
#[derive(Default)]
pub struct ServerOptions {
    /// `-config`: files and directories, in order.
    pub configs: Vec<PathBuf>,
    /// `-dev` and what belongs to it.
    pub dev: Option<DevOptions>,
    /// What holds without `-config` and `-dev`.
    pub solo: SoloOptions,
    /// Flags that win over configuration and environment: `("log_level", "debug")`.
    pub flags: Vec<(&'static str, String)>,
}

/// What will be started.
pub struct Plan {
    pub mode: Mode,
    pub config: Config,
    /// What a reload reads again: files and directories, and what wins over them.
    configs: Vec<PathBuf>,
    overrides: Vec<Override>,
    /// Notes and warnings to tell.
    pub findings: Vec<Finding>,
    pub dev: Option<DevOptions>,
    pub places: Option<Places>,
}

/// Where `-dev` and a server without configuration listen.
const STANDARD_ADDRESS: &str = "127.0.0.1:8200";

impl Plan {
    /// Reads options, files and environment.
    ///
    /// # Errors
    /// Whatever of it makes no sense.
    pub fn make(options: ServerOptions, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, StartError> {
        let mut overrides = environment(variable);
        overrides.extend(options.flags.iter().map(|(key, value)| Override {
            origin: format!("the flag -{}", key.replace('_', "-")),
            key,
            value: value.clone(),
        }));
        let mut plan = match options.dev {
            Some(dev) => Self::dev(dev, &options.configs, &overrides, variable)?,
            None if options.configs.is_empty() => Self::solo(&options.solo, &overrides, variable)?,
            None => Self::configured(options.configs, &overrides)?,
        };
        if plan.mode != Mode::Solo && (options.solo.data.is_some() || options.solo.seal_key.is_some()) {
            return Err(StartError::Usage("-data and -seal-key belong to a server without -config and -dev".to_owned()));
        }
        plan.overrides = overrides;
        Ok(plan)
    }

    /// The configuration as its files say it now; `None` where there are none to read again.
    ///
    /// # Errors
    /// It does not read any more.
    pub fn reread(&self) -> Result<Option<Loaded>, LoadError> {
        match self.mode {
            Mode::Configured => load(&self.configs, &self.overrides).map(Some),
            Mode::Dev | Mode::Solo => Ok(None),
        }
    }

    fn configured(configs: Vec<PathBuf>, overrides: &[Override]) -> Result<Self, StartError> {
        let loaded = load(&configs, overrides)?;
        Ok(Self {
            mode: Mode::Configured,
            config: loaded.config,
            configs,
            overrides: Vec::new(),
            findings: loaded.findings,
            dev: None,
            places: None,
        })
    }

    fn solo(
        options: &SoloOptions,
        overrides: &[Override],
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, StartError> {
        let places = Places::find(options, variable)?;
        let address = options.listen.clone().or_else(|| first(variable, "LISTEN_ADDRESS"));
        let (host, port) = loopback(address.as_deref().unwrap_or(STANDARD_ADDRESS))?;
        let base = config::load_overrides(overrides)?;
        let mut config = base.config;
        let at = config::At { file: "built in".into(), line: 0 };
        config.storage =
            Some(Storage { at: at.clone(), kind: StorageKind::Embedded { path: places.store.clone(), written_as: "embedded" } });
        config.audit = vec![Audit::file("file/", &places.audit)];
        let listener = Listener::loopback(&host, port);
        config.api_addr.get_or_insert_with(|| format!("http://{}", listener.address()));
        config.listener = vec![listener];
        Ok(Self {
            mode: Mode::Solo,
            config,
            configs: Vec::new(),
            overrides: Vec::new(),
            findings: base.findings,
            dev: None,
            places: Some(places),
        })
    }

    fn dev(
        mut dev: DevOptions,
        configs: &[PathBuf],
        overrides: &[Override],
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, StartError> {
        dev.fill_from_environment(variable);
        let address = dev.listen_address.clone().unwrap_or_else(|| STANDARD_ADDRESS.to_owned());
        let (host, port) = parse_address(&address)
            .map_err(|why| StartError::Usage(format!("-dev-listen-address: {address:?} is no address: {why}")))?;
        // The files add to what -dev stands for; they can't make it durable.
        let base = config::load_over_dev(configs, overrides)?;
        let mut config = base.config;
        let at = config::At { file: "built in".into(), line: 0 };
        config.storage = Some(Storage { at, kind: StorageKind::Memory });
        let mut listener = Listener::loopback(&host, port);
        listener.keys.tls_disable = !dev.tls;
        listener.keys.disable_unauthed_rekey_endpoints = false;
        listener.keys.disable_unauthed_generate_root_endpoints = false;
        config.unsafe_allow_api_audit_creation = true;
        config.api_addr.get_or_insert_with(|| format!("{}://{}", if dev.tls { "https" } else { "http" }, listener.address()));
        config.listener.insert(0, listener);
        Ok(Self {
            mode: Mode::Dev,
            config,
            configs: configs.to_vec(),
            overrides: Vec::new(),
            findings: base.findings,
            dev: Some(dev),
            places: None,
        })
    }

    /// The address that clients are told: `api_addr`, else the first listener's.
    pub fn api_addr(&self) -> String {
        if let Some(address) = &self.config.api_addr {
            return address.clone();
        }
        match self.config.listener.iter().find(|listener| matches!(listener.bind, Bind::Tcp { .. })) {
            Some(listener) => {
                let scheme = if listener.tls().is_some() { "https" } else { "http" };
                // A listener on every address can be reached on loopback, as far as anybody knows here.
                let address = listener.address();
                let address = ["0.0.0.0:", "[::]:", ":"]
                    .into_iter()
                    .find_map(|all| address.strip_prefix(all).map(|port| format!("127.0.0.1:{port}")))
                    .unwrap_or(address);
                format!("{scheme}://{address}")
            }
            None => "http://127.0.0.1:8200".to_owned(),
        }
    }
}

/// The first variable that is set, of all prefixes.
pub(super) fn first(variable: &dyn Fn(&str) -> Option<String>, rest: &str) -> Option<String> {
    PREFIXES.iter().find_map(|prefix| variable(&format!("{prefix}{rest}")).filter(|value| !value.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn plan(options: ServerOptions, set: &[(&str, &str)]) -> Result<Plan, StartError> {
        let set: BTreeMap<String, String> = set.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Plan::make(options, &move |name| set.get(name).cloned())
    }

    fn dev(options: DevOptions) -> ServerOptions {
        ServerOptions { dev: Some(options), ..ServerOptions::default() }
    }

    #[test]
    fn without_anything_it_is_durable_and_on_loopback() {
        let plan = plan(ServerOptions::default(), &[("HOME", "/h"), ("COFFER_LOG_LEVEL", "debug")]).unwrap();
        assert_eq!(plan.mode, Mode::Solo);
        let storage = plan.config.storage.as_ref().unwrap();
        assert_eq!(storage.kind, StorageKind::Embedded { path: "/h/.local/share/coffer/store".into(), written_as: "embedded" });
        assert_eq!(plan.config.listener[0].address(), "127.0.0.1:8200");
        assert_eq!(plan.api_addr(), "http://127.0.0.1:8200");
        assert_eq!(plan.config.log_level, config::LogLevel::Debug);
        assert_eq!(plan.config.audit[0].option("file_path"), Some("/h/.local/share/coffer/audit.log"));
    }

    #[test]
    fn dev_takes_flags_before_variables() {
        let set = [("VAULT_DEV_ROOT_TOKEN_ID", "env"), ("VAULT_DEV_LISTEN_ADDRESS", "127.0.0.1:1")];
        let from_env = plan(dev(DevOptions::default()), &set).unwrap();
        assert_eq!(from_env.mode, Mode::Dev);
        assert_eq!(from_env.config.listener[0].address(), "127.0.0.1:1");
        assert_eq!(from_env.dev.unwrap().root_token_id.unwrap().expose(), "env");
        let options = DevOptions {
            root_token_id: Some("flag".into()),
            listen_address: Some("127.0.0.1:2".into()),
            ..DevOptions::default()
        };
        let from_flags = plan(dev(options), &set).unwrap();
        assert_eq!(from_flags.api_addr(), "http://127.0.0.1:2");
        assert_eq!(from_flags.dev.unwrap().root_token_id.unwrap().expose(), "flag");
        assert_eq!(from_flags.config.storage.unwrap().kind, StorageKind::Memory);
    }

    #[test]
    fn dev_takes_audit_and_listeners_of_files_but_stays_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("dev.hcl");
        std::fs::write(
            &file,
            "storage \"embedded\" { path = \"/d\" }\nlistener \"unix\" { address = \"/s\" }\naudit \"file\" { options { file_path = \"/a\" } }",
        )
        .unwrap();
        let options = ServerOptions { configs: vec![file], ..dev(DevOptions::default()) };
        let plan = plan(options, &[]).unwrap();
        assert_eq!(plan.config.storage.unwrap().kind, StorageKind::Memory);
        assert_eq!(plan.config.listener.len(), 2);
        assert_eq!(plan.config.audit.len(), 1);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let data = SoloOptions { data: Some("/d".into()), ..SoloOptions::default() };
        let listen = |address: &str| SoloOptions { listen: Some(address.to_owned()), ..SoloOptions::default() };
        let refused = |options: ServerOptions, set: &[(&str, &str)]| plan(options, set).err().expect("refused").to_string();
        let both = refused(ServerOptions { solo: data, ..dev(DevOptions::default()) }, &[]);
        assert!(both.contains("-data"), "{both}");
        assert!(refused(ServerOptions::default(), &[]).contains("-data"));
        let open = refused(ServerOptions { solo: listen("0.0.0.0:8200"), ..ServerOptions::default() }, &[("HOME", "/h")]);
        assert!(open.contains("TLS"), "{open}");
        let options = DevOptions { listen_address: Some("nowhere".into()), ..DevOptions::default() };
        assert!(refused(dev(options), &[]).contains("port is missing"));
        let missing = refused(ServerOptions { configs: vec!["/x/none.hcl".into()], ..ServerOptions::default() }, &[]);
        assert_eq!(missing, "error loading configuration from /x/none.hcl: stat /x/none.hcl: no such file or directory");
        let flag = ServerOptions { flags: vec![("log_level", "loud".to_owned())], ..ServerOptions::default() };
        let flag = refused(flag, &[("HOME", "/h")]);
        assert!(flag.contains("the flag -log-level: log_level takes one of"), "{flag}");
    }

    #[test]
    fn flags_win_over_variables_and_files() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.hcl");
        std::fs::write(
            &file,
            "storage \"inmem\" {}\nlistener \"tcp\" { address = \":8300\" tls_disable = true }\nlog_level = \"warn\"",
        )
        .unwrap();
        let options = |flags| ServerOptions { configs: vec![file.clone()], flags, ..ServerOptions::default() };
        let level = |flags, set: &[(&str, &str)]| plan(options(flags), set).unwrap().config.log_level;
        assert_eq!(level(vec![], &[]), config::LogLevel::Warn);
        assert_eq!(level(vec![], &[("VAULT_LOG_LEVEL", "error")]), config::LogLevel::Error);
        assert_eq!(level(vec![("log_level", "trace".to_owned())], &[("VAULT_LOG_LEVEL", "error")]), config::LogLevel::Trace);
        assert_eq!(plan(options(vec![]), &[]).unwrap().api_addr(), "http://127.0.0.1:8300");
    }
}
