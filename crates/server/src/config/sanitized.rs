//! The configuration without its secrets, as `sys/config/state/sanitized` shows it.

use super::{Bind, Config, LogFormat, LogLevel, Seal, StorageKind};
use coffer_types::{Json, Object};

impl Config {
    /// JSON. What is in it was chosen key by key, so that a secret can't come along.
    pub fn sanitized(&self) -> String {
        let listeners: Vec<Json> = self
            .listener
            .iter()
            .map(|listener| {
                let kind = if matches!(listener.bind, Bind::Unix(_)) { "unix" } else { "tcp" };
                let config = Object::new().with("address", listener.address()).with("tls_disable", listener.tls().is_none());
                Object::new().with("type", kind).with("config", config).into()
            })
            .collect();
        let (seal, storage) = (
            match self.seal {
                Seal::Shamir => "shamir",
                Seal::Static(_) => "static",
            },
            self.storage.as_ref().map(|storage| match storage.kind {
                StorageKind::Memory => "inmem",
                StorageKind::Embedded { written_as, .. } => written_as,
            }),
        );
        let audit: Vec<Json> = self
            .audit
            .iter()
            .map(|device| Object::new().with("type", device.kind.as_str()).with("path", device.path.as_str()).into())
            .collect();
        let out = Object::new()
            .with("api_addr", self.api_addr.as_deref().unwrap_or(""))
            .with("audit", audit)
            .with("cache_size", self.cache_size)
            .with("cluster_addr", self.cluster_addr.as_deref().unwrap_or(""))
            .with("cluster_name", self.cluster_name.as_deref().unwrap_or(""))
            .with("default_lease_ttl", self.default_lease_ttl.secs())
            .with("default_max_request_duration", self.default_max_request_duration.secs())
            .with("disable_cache", self.disable_cache)
            .with("disable_mlock", self.disable_mlock)
            .with("enable_ui", self.ui)
            .with("introspection_endpoint", false)
            .with("listeners", listeners)
            .with("log_format", if self.log_format == LogFormat::Json { "json" } else { "standard" })
            .with("log_level", self.log_level.as_str())
            .with("max_lease_ttl", self.max_lease_ttl.secs())
            .with("pid_file", self.pid_file.as_ref().map(|path| path.display().to_string()).unwrap_or_default())
            .with("raw_storage_endpoint", self.raw_storage_endpoint)
            .with("seals", vec![Json::from(Object::new().with("type", seal).with("disabled", false))])
            .with("storage", storage.map(|kind| Object::new().with("type", kind)))
            .with("unsafe_allow_api_audit_creation", self.unsafe_allow_api_audit_creation);
        String::from_utf8_lossy(&Json::from(out).to_bytes()).into_owned()
    }
}

impl LogLevel {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}
