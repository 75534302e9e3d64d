//! `listener` stanzas: where and how the server listens.

use super::setting::{Reading, Setting, choice, labelled, stanza};
use super::tree::{At, Node};
use coffer_types::Span;
use coffer_types::json::Limits;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// One listener.
#[derive(Debug)]
pub struct Listener {
    /// Where the stanza stands.
    pub at: At,
    pub bind: Bind,
    /// What the stanza says, key by key. Prefer the methods of [`Listener`], which interpret it.
    pub keys: ListenerKeys,
}

/// What a listener binds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Bind {
    /// `host:port`; the host may be empty (all addresses), a name, or an address.
    Tcp {
        host: String,
        port: u16,
    },
    Unix(PathBuf),
}

/// The files of a listener that speaks TLS. They are read again on SIGHUP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFiles {
    /// PEM: the certificate, then its intermediates.
    pub certificates: PathBuf,
    /// PEM.
    pub key: PathBuf,
    pub min: TlsVersion,
    pub max: TlsVersion,
    pub clients: ClientCertificates,
}

/// What a TLS listener asks of clients.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientCertificates {
    /// No certificate is asked for.
    Refused,
    /// One may come; who it belongs to is for the auth method to decide.
    Asked,
    /// A certificate signed by these authorities (PEM; the system's where `None`) must come.
    Required { authorities: Option<PathBuf> },
}

choice! {
    /// A version of TLS.
    pub enum TlsVersion {
        V12 = "tls12",
        V13 = "tls13",
    }
}

choice! {
    /// A wire protocol that a listener speaks.
    pub enum Speaks {
        Vault = "vault",
        Aws = "aws",
        Azure = "azure",
        Gcp = "gcp",
    }
}

stanza! {
    /// A listener's keys: those of `listener "tcp"` and `listener "unix"`.
    pub struct ListenerKeys in "listener" {
        /// Where to listen: `host:port`, or the socket's path for `unix`.
        address: String = "127.0.0.1:8200";
        /// The wire protocols that this listener speaks.
        dialects: Vec<Speaks> = "vault, aws, azure, gcp";
        /// Serve plain HTTP.
        tls_disable: bool = "false";
        /// The certificate with its intermediates, PEM.
        tls_cert_file: Option<PathBuf> = "";
        /// The certificate's private key, PEM.
        tls_key_file: Option<PathBuf> = "";
        /// The lowest version of TLS to accept.
        tls_min_version: TlsVersion = "tls12";
        /// The highest version of TLS to offer.
        tls_max_version: TlsVersion = "tls13";
        /// Refuse clients without a certificate that the client authorities signed.
        tls_require_and_verify_client_cert: bool = "false";
        /// The authorities that sign clients' certificates, PEM.
        tls_client_ca_file: Option<PathBuf> = "";
        /// Do not ask clients for a certificate.
        tls_disable_client_certs: bool = "false";
        /// How long a connection may be idle between requests; 0 takes `http_read_timeout`.
        http_idle_timeout: Span = "5m";
        /// How long the headers of a request may take.
        http_read_header_timeout: Span = "10s";
        /// How long a whole request may take to arrive.
        http_read_timeout: Span = "30s";
        /// How long a reply may take to send; 0 is without limit.
        http_write_timeout: Span = "0";
        /// The largest body of a request, in bytes; negative is without limit.
        max_request_size: i64 = "33554432";
        /// How long the server may work on one request; unset takes `default_max_request_duration`.
        max_request_duration: Option<Span> = "";
        /// How deep the JSON of a request may nest; negative is without limit.
        max_json_depth: i64 = "50";
        /// The longest string in the JSON of a request, in bytes; negative is without limit.
        max_json_string_value_length: i64 = "33554432";
        /// How many members one JSON object of a request may have; negative is without limit.
        max_json_object_entry_count: i64 = "10000";
        /// How many items one JSON array of a request may have; negative is without limit.
        max_json_array_element_count: i64 = "10000";
        /// How many strings, names included, the JSON of a request may have; negative is without limit.
        max_request_json_strings: i64 = "100000";
        /// Refuse requests without the header `X-Vault-Request: true`.
        require_request_header: bool = "false";
        /// Believe `X-Forwarded-For` from these addresses and networks.
        x_forwarded_for_authorized_addrs: Vec<String> = "";
        /// How many addresses to skip from the end of `X-Forwarded-For`.
        x_forwarded_for_hop_skips: u64 = "0";
        /// Refuse `X-Forwarded-For` from other addresses, rather than ignore it.
        x_forwarded_for_reject_not_authorized: bool = "true";
        /// Refuse authorized addresses that send no `X-Forwarded-For`.
        x_forwarded_for_reject_not_present: bool = "true";
        /// Headers added to replies, by status: `default`, `2xx`, `404`.
        custom_response_headers: BTreeMap<String, BTreeMap<String, Vec<String>>> = "";
        /// Let browsers of other origins call.
        cors_enabled: bool = "false";
        /// The origins that may call; `*` is all.
        cors_allowed_origins: Vec<String> = "";
        /// Headers that they may send besides the usual ones.
        cors_allowed_headers: Vec<String> = "";
        /// Permissions of the socket of a `unix` listener, octal.
        socket_mode: Option<String> = "";
        /// Owner of the socket, by name or number.
        socket_user: Option<String> = "";
        /// Group of the socket, by name or number.
        socket_group: Option<String> = "";
        /// Refuse the rekey paths that ask no token.
        disable_unauthed_rekey_endpoints: bool = "true";
        /// Refuse the generate-root paths that ask no token.
        disable_unauthed_generate_root_endpoints: bool = "true";
        /// Who may read metrics on this listener.
        telemetry: ListenerTelemetry = "";
        /// Who may profile on this listener.
        profiling: ListenerProfiling = "";
        /// Who may list requests in flight on this listener.
        inflight_requests_logging: ListenerInflight = "";
    }
    later {
        /// TLS 1.2 cipher suites by name.
        tls_cipher_suites: "a list of strings";
        /// Key exchange groups by name.
        tls_key_exchange_preferences: "a list of strings";
        /// Read changed certificate files without SIGHUP.
        tls_auto_reload: "a boolean";
        /// How often to look for changed certificate files.
        tls_auto_reload_interval: "a duration";
        /// The ACME directory to get certificates from.
        tls_acme_ca_directory: "a string";
        /// A second ACME directory, for trials.
        tls_acme_test_ca_directory: "a string";
        /// The authority of the ACME directory.
        tls_acme_ca_root: "a path";
        /// Where ACME certificates are kept.
        tls_acme_cache_path: "a path";
        /// The host of ACME challenges.
        tls_acme_challenge_host: "a string";
        /// The port of ACME's TLS-ALPN challenge.
        tls_acme_alpn_challenge_port: "a whole number";
        /// The port of ACME's HTTP challenge.
        tls_acme_http_challenge_port: "a whole number";
        /// Do not use ACME's TLS-ALPN challenge.
        tls_acme_disable_alpn_challenge: "a boolean";
        /// Do not use ACME's HTTP challenge.
        tls_acme_disable_http_challenge: "a boolean";
        /// The domains to get ACME certificates for.
        tls_acme_domains: "a list of strings";
        /// ACME external account binding: key id.
        tls_acme_eab_key_id: "a string";
        /// ACME external account binding: key.
        tls_acme_eab_mac_key: "a string";
        /// The contact of the ACME account.
        tls_acme_email: "a string";
        /// The kind of key of ACME certificates.
        tls_acme_key_type: "a string";
        /// Take the client's address from the PROXY protocol.
        proxy_protocol_behavior: "a string";
        /// Whom to believe the PROXY protocol.
        proxy_protocol_authorized_addrs: "a list of strings";
        /// The header in which a proxy hands on the client's certificate.
        x_forwarded_for_client_cert_header: "a string";
        /// How that header is encoded.
        x_forwarded_for_client_cert_header_decoders: "a list of strings";
        /// How that header is encoded (OpenBao's name).
        x_forwarded_for_client_cert_decoders: "a list of strings";
        /// Keep that header on requests that were not forwarded.
        x_forwarded_for_client_cert_keep_not_forwarded: "a boolean";
        /// Keep that header from addresses that are not authorized.
        x_forwarded_for_client_cert_keep_unauthorized: "a boolean";
        /// Serve one namespace only.
        chroot_namespace: "a string";
        /// Leave addresses out of replies to callers without a token.
        redact_addresses: "a boolean";
        /// Leave the cluster's name out of replies to callers without a token.
        redact_cluster_name: "a boolean";
        /// Leave the version out of replies to callers without a token.
        redact_version: "a boolean";
        /// Refuse the replication status paths that ask no token.
        disable_replication_status_endpoints: "a boolean";
        /// What the listener of an agent serves.
        role: "a string";
        /// An agent's own API.
        agent_api: "a block";
        /// A proxy's own API.
        proxy_api: "a block";
    }
    ignored {
        /// Where other nodes of a cluster reach this one.
        cluster_address = "there is one node";
        /// Whether the server's order of cipher suites counts.
        tls_prefer_server_cipher_suites = "the server's order always counts";
        /// An estimate of the memory that the JSON of a request may take.
        max_request_json_memory = "the limits on size, depth, strings, members and items bound the memory";
        /// The longest name of a member in the JSON of a request.
        max_json_object_entry_name_length = "names are strings, and limited as such";
        /// How many tokens the JSON of a request may have.
        max_json_token = "the limits on strings, members and items bound them";
        /// Do not slow down under load.
        disable_request_limiter = "there is no adaptive limiter; see rate limit quotas";
    }
}

stanza! {
    /// `telemetry` in a listener.
    pub struct ListenerTelemetry in "listener.telemetry" {
        /// Serve `sys/metrics` without a token.
        unauthenticated_metrics_access: bool = "false";
        /// Serve metrics and nothing else.
        metrics_only: bool = "false";
        /// Do not serve metrics.
        disallow_metrics: bool = "false";
    }
    later {
        /// Another path for metrics.
        metrics_path: "a string";
    }
}

stanza! {
    /// `profiling` in a listener.
    pub struct ListenerProfiling in "listener.profiling" {
        /// Serve `sys/in-flight-req` without a token.
        unauthenticated_in_flight_request_access / unauthenticated_in_flight_requests_access: bool = "false";
    }
    later {
        /// Serve `sys/pprof` without a token.
        unauthenticated_pprof_access: "a boolean";
    }
}

stanza! {
    /// `inflight_requests_logging` in a listener.
    pub struct ListenerInflight in "listener.inflight_requests_logging" {
        /// Serve `sys/in-flight-req` without a token.
        unauthenticated_in_flight_requests_access / unauthenticated_in_flight_request_access: bool = "false";
    }
}

impl Listener {
    /// A plain listener on loopback with every default, for starts without a configuration.
    pub fn loopback(host: &str, port: u16) -> Self {
        let keys = ListenerKeys { tls_disable: true, ..ListenerKeys::default() };
        Self { at: Node::text("built in", "").at, bind: Bind::Tcp { host: host.to_owned(), port }, keys }
    }

    /// The TLS files, or `None` where the listener serves plain HTTP. A socket file always does.
    pub fn tls(&self) -> Option<TlsFiles> {
        if self.keys.tls_disable || matches!(self.bind, Bind::Unix(_)) {
            return None;
        }
        let clients = match (self.keys.tls_disable_client_certs, self.keys.tls_require_and_verify_client_cert) {
            (true, _) => ClientCertificates::Refused,
            (false, false) => ClientCertificates::Asked,
            (false, true) => ClientCertificates::Required { authorities: self.keys.tls_client_ca_file.clone() },
        };
        Some(TlsFiles {
            certificates: self.keys.tls_cert_file.clone()?,
            key: self.keys.tls_key_file.clone()?,
            min: self.keys.tls_min_version,
            max: self.keys.tls_max_version,
            clients,
        })
    }

    /// The largest body in bytes; `None` is without limit.
    pub fn max_body(&self) -> Option<usize> {
        limit(self.keys.max_request_size, 33_554_432)
    }

    /// What the JSON of a request may cost.
    pub fn json_limits(&self) -> Limits {
        let bound = |value, standard| limit(value, standard).unwrap_or(usize::MAX);
        Limits {
            // The reader recurses, so that depth is never without limit.
            depth: bound(self.keys.max_json_depth, 50).min(Limits::NONE.depth),
            string: bound(self.keys.max_json_string_value_length, 33_554_432),
            strings: bound(self.keys.max_request_json_strings, 100_000),
            members: bound(self.keys.max_json_object_entry_count, 10_000),
            items: bound(self.keys.max_json_array_element_count, 10_000),
        }
    }

    /// How long the server may work on one request, where this listener says so.
    pub fn max_duration(&self) -> Option<Duration> {
        self.keys.max_request_duration.filter(|span| !span.is_zero()).map(Span::duration)
    }

    /// How long a connection may be idle, by Vault's rule: 0 takes the read timeout, and that the header timeout.
    pub fn idle_timeout(&self) -> Option<Duration> {
        [self.keys.http_idle_timeout, self.keys.http_read_timeout, self.keys.http_read_header_timeout]
            .into_iter()
            .find(|span| !span.is_zero())
            .map(Span::duration)
    }

    /// Whether `sys/in-flight-req` answers without a token here.
    pub fn open_in_flight(&self) -> bool {
        self.keys.profiling.unauthenticated_in_flight_request_access
            || self.keys.inflight_requests_logging.unauthenticated_in_flight_requests_access
    }

    /// The address as it is shown: `host:port` or the path.
    pub fn address(&self) -> String {
        match &self.bind {
            Bind::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Bind::Tcp { host, port } => format!("{host}:{port}"),
            Bind::Unix(path) => path.display().to_string(),
        }
    }

    /// Whether the system picks the port, so that two such listeners don't collide.
    pub(super) fn any_port(&self) -> bool {
        matches!(self.bind, Bind::Tcp { port: 0, .. })
    }

    /// What makes no sense across keys.
    fn check(&self, cx: &mut Reading) {
        let keys = &self.keys;
        let tcp = matches!(self.bind, Bind::Tcp { .. });
        if tcp && !keys.tls_disable {
            for (name, file) in [("tls_cert_file", &keys.tls_cert_file), ("tls_key_file", &keys.tls_key_file)] {
                if file.is_none() {
                    cx.error(
                        &self.at,
                        format!("listener.{name} is not set; a tcp listener needs it, or tls_disable = true for plain HTTP"),
                    );
                }
            }
            if keys.tls_min_version > keys.tls_max_version {
                cx.error(&self.at, "listener.tls_min_version is above tls_max_version");
            }
            if keys.tls_disable_client_certs && keys.tls_require_and_verify_client_cert {
                cx.error(
                    &self.at,
                    "listener.tls_disable_client_certs and tls_require_and_verify_client_cert exclude one another",
                );
            }
        }
        if !tcp && keys.tls_cert_file.is_some() {
            cx.note(&self.at, "a unix listener serves plain HTTP: its TLS keys have no effect");
        }
        if tcp && (keys.socket_mode.is_some() || keys.socket_user.is_some() || keys.socket_group.is_some()) {
            cx.warn(&self.at, "socket_mode, socket_user and socket_group have no effect on a tcp listener");
        }
        if keys.socket_mode.as_deref().is_some_and(|mode| u32::from_str_radix(mode, 8).map_or(true, |mode| mode > 0o777)) {
            cx.error(&self.at, "listener.socket_mode takes octal permissions, like \"0600\"");
        }
        if keys.telemetry.metrics_only && keys.telemetry.disallow_metrics {
            cx.error(&self.at, "listener.telemetry.metrics_only and disallow_metrics exclude one another");
        }
        for network in &keys.x_forwarded_for_authorized_addrs {
            if parse_network(network).is_none() {
                cx.error(&self.at, "listener.x_forwarded_for_authorized_addrs takes addresses and networks, like 10.0.0.0/8");
            }
        }
        for (status, headers) in &keys.custom_response_headers {
            if !is_status(status) {
                cx.error(
                    &self.at,
                    "listener.custom_response_headers takes \"default\", a status like \"404\" or a class like \"2xx\"",
                );
            }
            for name in headers.keys().filter(|name| name.to_ascii_lowercase().starts_with("x-vault-")) {
                cx.warn(&self.at, format!("listener.custom_response_headers: {name} is reserved and not sent"));
            }
        }
    }
}

/// An address or a network: `10.0.0.1`, `10.0.0.0/8`, `::1/128`.
pub fn parse_network(text: &str) -> Option<(std::net::IpAddr, u8)> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: std::net::IpAddr = address.trim().parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Some(most), |bits| bits.parse().ok())?;
    (bits <= most).then_some((address, bits))
}

/// `host:port`, where the host may be empty or an address in brackets.
pub fn parse_address(text: &str) -> Result<(String, u16), &'static str> {
    if text.contains("{{") {
        return Err("address templates are not built yet; write the address itself");
    }
    let (host, port) = text.rsplit_once(':').ok_or("the port is missing, as in 127.0.0.1:8200")?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or("a bracket is missing")?,
        None if host.contains(':') => return Err("an IPv6 address stands in brackets, as in [::1]:8200"),
        None => host,
    };
    Ok((host.to_owned(), port.parse().map_err(|_| "the port is not a number up to 65535")?))
}

fn is_status(text: &str) -> bool {
    let bytes = text.as_bytes();
    text == "default"
        || bytes.len() == 3
            && matches!(bytes[0], b'1'..=b'5')
            && (&bytes[1..] == b"xx" || bytes[1..].iter().all(u8::is_ascii_digit))
}

/// Vault's rule for limits: 0 is the default, negative is none.
fn limit(value: i64, standard: usize) -> Option<usize> {
    match value {
        0 => Some(standard),
        value => usize::try_from(value).ok(),
    }
}

impl Setting for Vec<Speaks> {
    const KIND: &'static str = "a list of dialects";

    fn read(key: &str, node: &Node, cx: &mut Reading) -> Option<Self> {
        let words = Vec::<String>::read(key, node, cx)?;
        let found: Option<Self> = words.iter().map(|word| Speaks::from_word(word)).collect();
        if found.as_ref().is_none_or(Vec::is_empty) {
            cx.error(&node.at, format!("{key} takes a list of vault, aws, azure and gcp"));
            return None;
        }
        found
    }
}

impl Setting for Vec<Listener> {
    const KIND: &'static str = "blocks";
    const ADDS_UP: bool = true;

    fn read(key: &str, node: &Node, cx: &mut Reading) -> Option<Self> {
        let blocks = labelled(key, node, cx)?;
        let mut listeners = Self::new();
        let mut failed = false;
        for (label, block) in blocks {
            let Some(keys) = ListenerKeys::read(key, block, cx) else {
                failed = true;
                continue;
            };
            let bind = match label.name.as_str() {
                "tcp" => match parse_address(&keys.address) {
                    Ok((host, port)) => Bind::Tcp { host, port },
                    Err(why) => {
                        cx.error(&label.at, format!("listener.address: {why}"));
                        failed = true;
                        continue;
                    }
                },
                "unix" => Bind::Unix(PathBuf::from(&keys.address)),
                other => {
                    cx.error(&label.at, format!("unknown kind of listener {other:?}; there are tcp and unix"));
                    failed = true;
                    continue;
                }
            };
            let listener = Listener { at: label.at.clone(), bind, keys };
            listener.check(cx);
            listeners.push(listener);
        }
        (!failed).then_some(listeners)
    }

    fn unset(_: &str, _: &str, _: &mut Reading) -> Option<Self> {
        Some(Self::new())
    }

    fn merge(mut self, later: Self) -> Self {
        self.extend(later);
        self
    }
}
