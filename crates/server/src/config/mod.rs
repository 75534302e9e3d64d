//! The configuration: Vault's keys, from HCL or JSON, into types.
//!
//! Every key is declared once, in a [`stanza!`](setting); see [`Config`] for the top level. Files are read by [`load`].

mod audit;
mod docs;
mod listener;
mod load;
mod lockout;
mod sanitized;
mod seal;
mod setting;
mod source;
mod storage;
mod suggest;
mod telemetry;
mod tree;

pub use audit::{Audit, AuditKeys};
pub use docs::page;
pub use listener::{
    Bind, ClientCertificates, Listener, ListenerInflight, ListenerKeys, ListenerProfiling, ListenerTelemetry, Speaks, TlsFiles,
    TlsVersion, parse_address, parse_network,
};
pub use load::{ENVIRONMENT, LoadError, Loaded, Override, PREFIXES, environment, load, load_over_dev, load_overrides, load_text};
pub use lockout::{LockoutKeys, UserLockout};
pub use seal::{KeyError, KeySource, Seal, StaticKey, StaticSeal, StaticSealKeys};
pub use setting::{Finding, Key, Level, Status};
pub use storage::{EmbeddedKeys, RaftKeys, Storage, StorageKind};
pub use suggest::nearest;
pub use telemetry::{LogFormat, LogLevel, Telemetry};
pub use tree::At;

use coffer_types::Span;
use setting::{Reading, stanza};
use std::path::PathBuf;

stanza! {
    /// A server's configuration: the keys of the top level.
    pub struct Config in "" {
        /// Where ciphertext lies.
        storage / backend: Option<Storage> = "";
        /// Where the server listens; may come several times.
        listener: Vec<Listener> = "";
        /// What guards the root key; Shamir's shares if unset.
        seal: Seal = "";
        /// Audit devices; may come several times.
        audit: Vec<Audit> = "";
        /// When users are locked out who fail to log in; may come once for `all` and once for each kind.
        user_lockout: UserLockout = "";
        /// Metrics.
        telemetry: Telemetry = "";
        /// The address that clients are told: `https://vault.example.com:8200`.
        api_addr: Option<String> = "";
        /// The address that other nodes are told.
        cluster_addr: Option<String> = "";
        /// The cluster's name; one is made up if unset.
        cluster_name: Option<String> = "";
        /// Serve the web interface at `/ui`; there is none yet.
        ui: bool = "false";
        /// How much is logged.
        log_level: LogLevel = "info";
        /// How log lines look.
        log_format: LogFormat = "standard";
        /// Log to this file (or into this directory) besides the standard error.
        log_file: Option<PathBuf> = "";
        /// Start a new log file after this time.
        log_rotate_duration: Span = "24h";
        /// Start a new log file after this many bytes; 0 is without limit.
        log_rotate_bytes: u64 = "0";
        /// How many rotated log files to keep; 0 is all, negative none.
        log_rotate_max_files: i64 = "0";
        /// A file that holds the server's process id while it runs.
        pid_file: Option<PathBuf> = "";
        /// How long leases and tokens live unless their mount says otherwise.
        default_lease_ttl: Span = "768h";
        /// How long they may live at most unless their mount says otherwise.
        max_lease_ttl: Span = "768h";
        /// How long the server may work on one request.
        default_max_request_duration: Span = "90s";
        /// Serve `sys/raw`, which reads and writes below every policy but sudo.
        raw_storage_endpoint: bool = "false";
        /// Do not lock memory.
        disable_mlock: bool = "false";
        /// Do not cache what the store holds.
        disable_cache: bool = "false";
        /// How many entries of the store are cached, of 256 bytes each.
        cache_size: u64 = "131072";
        /// Allow `sys/audit` to make audit devices.
        unsafe_allow_api_audit_creation: bool = "false";
        /// Send the host's name in `X-Vault-Hostname`.
        enable_response_header_hostname: bool = "false";
    }
    later {
        /// Serve `sys/internal/inspect`.
        introspection_endpoint: "a boolean";
        /// Allow audit devices with a prefix before their lines.
        allow_audit_log_prefixing: "a boolean";
        /// A second store that only elects the active node.
        ha_storage: "a block";
        /// A second store that only elects the active node (older name).
        ha_backend: "a block";
        /// Announce the server in Consul or Kubernetes.
        service_registration: "a block";
        /// Requests to run when the server initialises itself.
        initialize: "blocks";
        /// A plugin to load.
        plugin: "blocks";
        /// A library for a key-managing device.
        kms_library: "blocks";
        /// Log the start of requests at this level.
        log_requests_level: "a level";
        /// Where plugins lie.
        plugin_directory: "a path";
        /// Where plugins' temporary files lie.
        plugin_tmpdir: "a path";
        /// Fetch plugins.
        plugin_auto_download: "a boolean";
        /// Sealed wrapping with an external seal.
        enable_multiseal: "a boolean";
        /// A licence file.
        license_path: "a path";
        /// Limits that adapt to load.
        request_limiter: "a block";
        /// Reporting to HashiCorp.
        reporting: "a block";
        /// Allow workflows without a token.
        allow_unauthenticated_workflows: "a boolean";
        /// What the root token may not do when unauthenticated.
        administrative_namespace_path: "a path";
        /// Experiments.
        experiments: "a list of strings";
        /// Send the raft node's name in `X-Vault-Raft-Node-ID`.
        enable_response_header_raft_node_id: "a boolean";
        /// The entropy source.
        entropy: "a block";
        /// Forward requests in HashiCorp's cloud.
        cloud: "a block";
    }
    ignored {
        /// Do not forward between nodes.
        disable_clustering = "there is one node";
        /// Do not seal-wrap values.
        disable_sealwrap = "values are not seal-wrapped";
        /// Do not check names for printable characters.
        disable_printable_check = "names are checked by the path rules";
        /// Do not answer reads on standby nodes.
        disable_standby_reads = "there is one node";
        /// Do not run performance standby nodes.
        disable_performance_standby = "there is one node";
        /// Do not make server-side consistent tokens.
        disable_ssct_tokens = "tokens are not server-side consistent";
        /// Do not index entities' names.
        disable_indexing = "there is no index to turn off";
        /// Watch locks for deadlocks.
        detect_deadlocks = "no lock is held while another is waited for";
        /// Count leases by role loosely.
        imprecise_lease_role_tracking = "each lease knows its role, and counts are exact";
        /// Who owns plugin files.
        plugin_file_uid = "there are no plugin files";
        /// The permissions of plugin files.
        plugin_file_permissions = "there are no plugin files";
        /// Register fetched plugins.
        plugin_auto_register = "there are no plugins to fetch";
        /// What a failed fetch of a plugin means.
        plugin_download_behavior = "there are no plugins to fetch";
        /// Remove secrets' licence warnings.
        enable_post_unseal_trace = "there is no Go trace";
        /// Where traces are written.
        post_unseal_trace_directory = "there is no Go trace";
        /// Remove irrevocable leases.
        remove_irrevocable_lease_after = "leases that can't be revoked are kept until they can";
    }
}

/// What an entry of the cache is taken to be, in bytes.
const CACHED_ENTRY: u64 = 256;

impl Config {
    /// How much of the store is cached, in bytes.
    pub fn cache_bytes(&self) -> u64 {
        // Vault takes 0 as its default.
        let entries = if self.cache_size == 0 { 131_072 } else { self.cache_size };
        if self.disable_cache { 0 } else { entries.saturating_mul(CACHED_ENTRY) }
    }

    /// What a server can't be without.
    fn check_whole(&self, cx: &mut Reading) {
        let whole = At { file: "configuration".into(), line: 0 };
        if self.storage.is_none() {
            cx.error(&whole, "a storage stanza is missing, like storage \"embedded\" { path = \"/var/lib/coffer\" }");
        }
        if self.listener.is_empty() {
            cx.error(&whole, "a listener stanza is missing, like listener \"tcp\" { address = \"127.0.0.1:8200\" }");
        }
        if matches!(self.storage, Some(Storage { kind: StorageKind::Memory, .. })) {
            cx.note(&whole, "storage \"inmem\" forgets everything when the server stops");
        }
    }

    /// What makes no sense across keys.
    fn check(&self, cx: &mut Reading) {
        let whole = At { file: "configuration".into(), line: 0 };
        for (n, listener) in self.listener.iter().enumerate() {
            if let Some(same) = self.listener[..n].iter().find(|other| other.bind == listener.bind && !listener.any_port()) {
                cx.error(&listener.at, format!("the listener at {} listens on {} already", same.at, listener.address()));
            }
        }
        if self.ui {
            cx.note(&whole, "ui is on, and there is no web interface yet: nothing answers at /ui");
        }
        if self.default_lease_ttl > self.max_lease_ttl {
            cx.error(
                &whole,
                format!("default_lease_ttl ({}) is longer than max_lease_ttl ({})", self.default_lease_ttl, self.max_lease_ttl),
            );
        }
        if self.api_addr.as_deref().is_some_and(|address| !is_url(address)) {
            cx.error(&whole, "api_addr takes a URL with its scheme, like https://vault.example.com:8200");
        }
    }
}

/// `http://` or `https://` and a host.
fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', ':']) && !rest.contains(char::is_whitespace))
}

#[cfg(test)]
mod tests;
