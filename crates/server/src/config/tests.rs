use super::*;
use std::path::Path;

fn text(text: &str) -> Result<Loaded, LoadError> {
    load_text("t.hcl", text, &[])
}

/// The smallest that starts, and `more`.
fn with(more: &str) -> Result<Loaded, LoadError> {
    text(&format!("storage \"inmem\" {{}}\nlistener \"tcp\" {{\n  tls_disable = true\n}}\n{more}"))
}

fn findings(result: &Result<Loaded, LoadError>, level: Level) -> Vec<String> {
    let findings = match result {
        Ok(loaded) => &loaded.findings,
        Err(error) => error.findings(),
    };
    findings.iter().filter(|f| f.level == level).map(|f| format!("{}: {}", f.at, f.text)).collect()
}

#[test]
fn every_default_reads() {
    for (name, unset) in [
        ("config", format!("{:?}", Config::default())),
        ("listener", format!("{:?}", ListenerKeys::default())),
        ("telemetry", format!("{:?}", Telemetry::default())),
        ("audit", format!("{:?}", AuditKeys::default())),
        ("seal", format!("{:?}", StaticSealKeys::default())),
        ("embedded", format!("{:?}", EmbeddedKeys::default())),
        ("raft", format!("{:?}", RaftKeys::default())),
    ] {
        assert!(!unset.is_empty(), "{name}");
    }
    let listener = Listener::loopback("127.0.0.1", 8200);
    assert_eq!(listener.max_body(), Some(32 << 20));
    assert_eq!(listener.json_limits().depth, 50);
    assert_eq!(listener.idle_timeout(), Some(std::time::Duration::from_secs(300)));
    assert_eq!(listener.keys.dialects, [Speaks::Vault, Speaks::Aws, Speaks::Azure, Speaks::Gcp]);
    assert!(listener.tls().is_none());
}

#[test]
fn a_whole_configuration_reads() {
    let loaded = text(
        r#"
        ui            = true
        api_addr      = "https://vault.example.com:8200"
        cluster_addr  = "https://10.0.0.1:8201"
        cluster_name  = "east"
        disable_mlock = true
        log_level     = "debug"
        log_format    = "json"
        pid_file      = "/run/coffer.pid"
        default_lease_ttl = "24h"
        max_lease_ttl     = 172800
        raw_storage_endpoint = "true"
        storage "embedded" {
          path = "/var/lib/coffer"
        }
        listener "tcp" {
          address       = "[::1]:8200"
          tls_cert_file = "/etc/coffer/cert.pem"
          tls_key_file  = "/etc/coffer/key.pem"
          tls_min_version = "tls13"
          tls_require_and_verify_client_cert = "true"
          tls_client_ca_file = "/etc/coffer/ca.pem"
          max_request_size = 1024
          max_request_duration = "30s"
          x_forwarded_for_authorized_addrs = "10.0.0.0/8, ::1"
          custom_response_headers {
            "default" = {
              "Content-Security-Policy" = ["connect-src https://a.example, https://b.example"]
            }
            "4xx" = { "X-Note" = "a, b" }
          }
          telemetry {
            unauthenticated_metrics_access = true
          }
          dialects = ["vault"]
        }
        listener "unix" {
          address = "/run/coffer.sock"
          socket_mode = "0600"
        }
        seal "static" {
          current_key_id = "a"
          current_key    = "file:///etc/coffer/seal.key"
          previous_key_id = "b"
          previous_key   = "env://OLD_KEY"
        }
        audit "file" "main" {
          description = "all"
          options = {
            file_path = "/var/log/audit.log"
            log_raw   = true
          }
        }
        audit "syslog" "sys" {
          options { tag = "coffer" }
        }
        telemetry {
          prometheus_retention_time = "30s"
        }
        "#,
    )
    .unwrap();
    assert_eq!(loaded.findings.len(), 1, "nothing to remark but that there is no web interface: {:?}", loaded.findings);
    let config = loaded.config;
    assert!(config.ui && config.disable_mlock && config.raw_storage_endpoint && !config.disable_cache);
    assert_eq!(config.api_addr.as_deref(), Some("https://vault.example.com:8200"));
    assert_eq!((config.default_lease_ttl, config.max_lease_ttl), (Span::from_secs(86_400), Span::from_secs(172_800)));
    assert_eq!((config.log_level, config.log_format), (LogLevel::Debug, LogFormat::Json));
    let storage = config.storage.unwrap();
    assert_eq!(storage.kind, StorageKind::Embedded { path: "/var/lib/coffer".into(), written_as: "embedded" });
    assert_eq!(storage.at.to_string(), "t.hcl:13");
    let [tcp, unix] = config.listener.as_slice() else { panic!("two listeners") };
    assert_eq!(tcp.bind, Bind::Tcp { host: "::1".into(), port: 8200 });
    assert_eq!(tcp.address(), "[::1]:8200");
    let tls = tcp.tls().unwrap();
    assert_eq!((tls.min, tls.max), (TlsVersion::V13, TlsVersion::V13));
    assert_eq!(tls.clients, ClientCertificates::Required { authorities: Some("/etc/coffer/ca.pem".into()) });
    assert_eq!(tcp.max_body(), Some(1024));
    assert_eq!(tcp.max_duration(), Some(std::time::Duration::from_secs(30)));
    assert_eq!(tcp.keys.x_forwarded_for_authorized_addrs, ["10.0.0.0/8", "::1"]);
    let headers = &tcp.keys.custom_response_headers;
    assert_eq!(headers["default"]["Content-Security-Policy"], ["connect-src https://a.example, https://b.example"]);
    assert_eq!(headers["4xx"]["X-Note"], ["a, b"]);
    assert!(tcp.keys.telemetry.unauthenticated_metrics_access);
    assert_eq!(tcp.keys.dialects, [Speaks::Vault]);
    assert_eq!(unix.bind, Bind::Unix("/run/coffer.sock".into()));
    assert!(unix.tls().is_none());
    let Seal::Static(seal) = config.seal else { panic!("static") };
    assert_eq!((seal.current.id.as_str(), seal.current.source.file()), ("a", Some(Path::new("/etc/coffer/seal.key"))));
    assert!(matches!(seal.previous.unwrap().source, KeySource::Environment(name) if name == "OLD_KEY"));
    let devices: Vec<_> = config.audit.iter().map(|d| (d.kind.as_str(), d.path.as_str(), d.option("log_raw"))).collect();
    assert_eq!(devices, [("file", "main/", Some("true")), ("syslog", "sys/", None)]);
    assert_eq!(config.telemetry.prometheus_retention_time, Span::from_secs(30));
}

#[test]
fn old_json_reads() {
    for json in [
        r#"{"backend":{"inmem":{}}, "listener":{"tcp":{"address":"127.0.0.1:8300","tls_disable":1}}, "disable_mlock":true}"#,
        r#"{"storage":{"inmem":{}}, "listener":[{"tcp":{"address":"127.0.0.1:8300","tls_disable":"true"}}], "disable_mlock":"1"}"#,
        r#"{"storage":[{"inmem":[{}]}], "listener":[{"tcp":[{"address":"127.0.0.1:8300","tls_disable":true}]}], "disable_mlock":true}"#,
    ] {
        let config = text(json).unwrap().config;
        assert_eq!(config.storage.unwrap().kind, StorageKind::Memory, "{json}");
        assert_eq!(config.listener[0].bind, Bind::Tcp { host: "127.0.0.1".into(), port: 8300 }, "{json}");
        assert!(config.listener[0].keys.tls_disable && config.disable_mlock, "{json}");
    }
    let two = text(
        r#"{"storage":{"inmem":{}},"listener":{"tcp":[{"address":":1","tls_disable":1},{"address":":2","tls_disable":1}]}}"#,
    )
    .unwrap();
    assert_eq!(two.config.listener.len(), 2);
}

#[test]
fn audit_in_every_form() {
    for (form, expected) in [
        ("audit \"file\" \"a\" { options = { file_path = \"/a\" } }", ("file", "a/")),
        ("audit \"file\" { options = { file_path = \"/a\" } }", ("file", "file/")),
        ("audit \"file\" { path = \"b/\" options { file_path = \"/a\" } }", ("file", "b/")),
        ("audit = [{ type = \"file\", path = \"c\", options = { file_path = \"/a\" } }]", ("file", "c/")),
        ("audit { file { deep { options = { file_path = \"/a\" } } } }", ("file", "deep/")),
    ] {
        let loaded = with(form).unwrap_or_else(|error| panic!("{form}: {error}"));
        let device = &loaded.config.audit[0];
        assert_eq!((device.kind.as_str(), device.path.as_str()), expected, "{form}");
        assert_eq!(device.option("file_path"), Some("/a"), "{form}");
    }
}

/// What is refused, and the words that must tell why, with the line.
#[test]
fn refusals_name_the_key_and_the_line() {
    for (more, words) in [
        ("default_lease_ttl = \"soon\"", &["t.hcl:5", "default_lease_ttl", "duration"][..]),
        ("default_lease_ttl = \"-5m\"", &["t.hcl:5", "not negative"]),
        ("default_lease_ttl = [1]", &["t.hcl:5", "a list"]),
        ("default_lease_ttl = \"800h\"", &["longer than max_lease_ttl"]),
        ("ui = \"maybe\"", &["t.hcl:5", "ui", "boolean"]),
        ("ui { }", &["t.hcl:5", "ui", "a block"]),
        ("cache_size = \"many\"", &["t.hcl:5", "cache_size"]),
        ("cache_size = -1", &["t.hcl:5", "not negative"]),
        ("log_level = \"loud\"", &["t.hcl:5", "log_level", "trace"]),
        ("api_addr = \"vault.example.com\"", &["api_addr", "scheme"]),
        ("api_addr = \"https://\"", &["api_addr", "scheme"]),
        ("storage \"inmem\" {}", &["t.hcl:5", "storage is set twice", "line 1"]),
        ("backend \"inmem\" {}", &["t.hcl:5", "storage is set twice"]),
        ("listener \"tcp\" { tls_disable = true }", &["t.hcl:5", "listens on 127.0.0.1:8200 already"]),
        ("listener \"udp\" { tls_disable = true }", &["t.hcl:5", "udp"]),
        ("listener \"tcp\" { address = \"10.0.0.1\" tls_disable = true }", &["t.hcl:5", "port is missing"]),
        ("listener \"tcp\" { address = \"::1:8200\" tls_disable = true }", &["t.hcl:5", "brackets"]),
        ("listener \"tcp\" { address = \"h:99999\" tls_disable = true }", &["t.hcl:5", "65535"]),
        ("listener \"tcp\" { address = \"{{ GetPrivateIP }}:1\" tls_disable = true }", &["t.hcl:5", "not built yet"]),
        ("listener \"tcp\" { address = \"h:1\" }", &["t.hcl:5", "tls_cert_file", "tls_disable"]),
        (
            "listener \"tcp\" { address = \"h:1\" tls_disable = true proxy_protocol_behavior = \"use_always\" }",
            &["t.hcl:5", "proxy_protocol_behavior is not built yet"],
        ),
        ("listener \"tcp\" { address = \"h:1\" tls_disable = true dialects = [\"ldap\"] }", &["t.hcl:5", "vault, aws"]),
        (
            "listener \"tcp\" { address = \"h:1\" tls_disable = true x_forwarded_for_authorized_addrs = \"10.0.0.0/40\" }",
            &["addresses and networks"],
        ),
        (
            "listener \"tcp\" { address = \"h:1\" tls_disable = true custom_response_headers { \"9xx\" = {} } }",
            &["custom_response_headers"],
        ),
        ("listener \"tcp\" { address = \"h:1\" tls_min_version = \"tls11\" }", &["t.hcl:5", "tls12"]),
        ("listener \"unix\" { address = \"/s\" socket_mode = \"rw\" }", &["t.hcl:5", "octal"]),
        ("listener { address = \"h:1\" }", &["t.hcl:5", "must name its kind"]),
        ("listener = \"tcp\"", &["t.hcl:5", "listener"]),
        ("ha_storage \"consul\" { path = \"x\" }", &["t.hcl:5", "ha_storage is not built yet"]),
        ("seal \"awskms\" { kms_key_id = \"x\" }", &["t.hcl:5", "awskms", "not built yet"]),
        ("seal \"rot13\" {}", &["t.hcl:5", "unknown kind of seal"]),
        ("seal \"static\" {}", &["t.hcl:5", "current_key_id"]),
        ("seal \"static\" { current_key_id = \"a\" }", &["t.hcl:5", "belong together"]),
        ("seal \"static\" { current_key_id = \"a\" current_key = \"canary-short\" }", &["t.hcl:5", "32 bytes"]),
        ("seal \"static\" {}\nseal \"shamir\" {}", &["t.hcl:6", "seal is set twice"]),
        ("audit \"file\" \"a\" {}", &["t.hcl:5", "file_path"]),
        ("audit \"carrier\" \"a\" { description = \"x\" }", &["t.hcl:5", "carrier"]),
        ("audit \"http\" \"a\" { description = \"x\" }", &["t.hcl:5", "not built yet"]),
        ("audit \"file\" \"a\" { options = { file_path = [\"/a\"] } }", &["t.hcl:5", "audit.options.file_path"]),
        ("telemetry {}\ntelemetry {}", &["t.hcl:6", "telemetry is set twice"]),
        ("telemetry { statsd_address = \"h:1\" }", &["t.hcl:5", "statsd_address is not built yet"]),
        ("user_lockout \"jwt\" { lockout_threshold = 5 }", &["t.hcl:5", "one of all, approle, ldap, userpass"]),
        ("user_lockout \"all\" { lockout_threshold = 0 }", &["t.hcl:5", "disable_lockout"]),
        ("user_lockout \"all\" { lockout_duration = \"soon\" }", &["t.hcl:5", "duration"]),
        ("user_lockout \"all\" { lockout_duration = \"-1m\" }", &["t.hcl:5", "negative"]),
        ("user_lockout { lockout_threshold = 5 }", &["t.hcl:5", "must name its kind"]),
    ] {
        let result = with(more);
        let error = result.as_ref().err().unwrap_or_else(|| panic!("{more} must be refused")).to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{more}: {error}");
        assert!(error.lines().all(|line| line.starts_with("error loading configuration: ")), "{error}");
        assert!(!error.contains("canary"), "{error}");
    }
}

#[test]
fn storage_kinds() {
    let storage = |stanza: &str| text(&format!("listener \"tcp\" {{ tls_disable = true }}\n{stanza}"));
    for (stanza, written_as) in
        [("storage \"file\" { path = \"/d\" }", "file"), ("storage \"raft\" { path = \"/d\" node_id = \"n\" }", "raft")]
    {
        let result = storage(stanza);
        assert_eq!(
            result.as_ref().unwrap().config.storage.as_ref().unwrap().kind,
            StorageKind::Embedded { path: "/d".into(), written_as }
        );
        assert!(
            findings(&result, Level::Note).iter().any(|note| note.contains("t.hcl:2") && note.contains("embedded")),
            "{stanza}"
        );
    }
    for (stanza, words) in [
        ("", "storage stanza is missing"),
        ("storage \"embedded\" {}", "needs a path"),
        ("storage \"raft\" { path = \"/d\" retry_join { leader_api_addr = \"https://b\" } }", "several nodes is not built yet"),
        ("storage \"consul\" { address = \"x\" }", "\"consul\" is not built yet"),
        ("storage \"etcd\" {}", "\"etcd\" is not built yet"),
        ("storage \"embeded\" { path = \"/d\" }", "unknown storage type embeded; did you mean embedded?"),
        ("storage \"file\" { path = \"/d\" }\nstorage \"raft\" { path = \"/d\" }", "storage is set twice"),
        ("storage { path = \"/d\" }", "must name its kind"),
        ("storage { inmem {} file { path = \"/d\" } }", "only one kind of storage"),
    ] {
        let error = storage(stanza).unwrap_err().to_string();
        assert!(error.contains(words), "{stanza}: {error}");
    }
}

#[test]
fn unknown_keys_warn_with_the_nearest_name() {
    let result =
        with("api_adr = \"https://x\"\nzebra = 1\nlistener \"tcp\" { address = \"h:1\" tls_disabel = true tls_disable = true }");
    assert!(result.is_ok());
    let warnings = findings(&result, Level::Warning);
    assert_eq!(
        warnings,
        [
            "t.hcl:5: unknown key api_adr has no effect; did you mean api_addr?",
            "t.hcl:6: unknown key zebra has no effect",
            "t.hcl:7: unknown key listener.tls_disabel has no effect; did you mean tls_disable?",
        ]
    );
}

#[test]
fn keys_without_effect_are_noted_and_those_that_ask_for_nothing_pass() {
    let result = with("disable_clustering = true\nplugin_directory = \"\"\nlog_requests_level = \"\"\ndetect_deadlocks = \"\"");
    assert_eq!(findings(&result, Level::Warning).len(), 0);
    let notes = findings(&result, Level::Note);
    assert!(notes[0].contains("t.hcl:5: disable_clustering has no effect"), "{notes:?}");
}

#[test]
fn the_cache_is_counted_in_entries() {
    let bytes = |more: &str| with(more).unwrap().config.cache_bytes();
    assert_eq!((bytes(""), bytes("cache_size = 0"), bytes("cache_size = \"1024\"")), (32 << 20, 32 << 20, 256 << 10));
    assert_eq!(bytes("disable_cache = true"), 0);
}

#[test]
fn every_mistake_is_told_in_one_run() {
    let error = with("ui = \"maybe\"\nlog_level = \"loud\"\nha_storage \"consul\" { x = 1 }").unwrap_err().to_string();
    assert_eq!(error.lines().count(), 3, "{error}");
}

#[test]
fn malformed_texts_name_the_line() {
    for bad in ["storage \"inmem\" {", "a = = b", "{\"storage\": }", "ui = true\nui = false"] {
        let error = text(bad).unwrap_err().to_string();
        assert!(error.starts_with("error loading configuration from t.hcl: line "), "{bad}: {error}");
    }
}

#[test]
fn files_and_directories_merge_as_vault_merges_them() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write(
        "10.hcl",
        "storage \"inmem\" {}\nlistener \"tcp\" { tls_disable = true }\nui = true\ncluster_name = \"a\"\ndefault_lease_ttl = \"2h\"\naudit \"file\" \"x\" { options { file_path = \"/1\" } }",
    );
    write(
        "20.json",
        r#"{"storage":{"embedded":{"path":"/d"}},"listener":{"unix":{"address":"/s"}},"ui":false,"cluster_name":"b","default_lease_ttl":"1h","audit":{"file":{"x":{"options":{"file_path":"/2"}}}}}"#,
    );
    write("README.txt", "not a configuration");
    write(".hidden.hcl", "zebra = 1");
    std::fs::create_dir(dir.path().join("30.hcl")).unwrap();
    let loaded = load(&[dir.path().to_owned()], &[]).unwrap();
    assert_eq!(loaded.files, [dir.path().join("10.hcl"), dir.path().join("20.json")]);
    let config = loaded.config;
    assert!(matches!(config.storage.unwrap().kind, StorageKind::Embedded { .. }), "the later storage");
    assert_eq!(config.listener.len(), 2);
    assert!(config.ui, "a switch that any file turns on is on");
    assert_eq!(config.cluster_name.as_deref(), Some("b"));
    assert_eq!(config.default_lease_ttl, Span::from_secs(7200), "the longest");
    assert_eq!(config.audit.iter().map(|d| d.option("file_path")).collect::<Vec<_>>(), [Some("/2")]);

    let reversed = load(&[dir.path().join("20.json"), dir.path().join("10.hcl"), dir.path().join("10.hcl")], &[]).unwrap();
    assert_eq!(reversed.config.cluster_name.as_deref(), Some("a"));
    assert_eq!(reversed.files.len(), 2, "a file that is named twice is read once");
}

#[test]
fn missing_and_unreadable_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let none = dir.path().join("none.hcl");
    let error = load(std::slice::from_ref(&none), &[]).unwrap_err().to_string();
    let none = none.display();
    assert_eq!(error, format!("error loading configuration from {none}: stat {none}: no such file or directory"));
    let binary = dir.path().join("b.hcl");
    std::fs::write(&binary, [0xff, 0xfe]).unwrap();
    let error = load(&[binary], &[]).unwrap_err().to_string();
    assert!(error.contains("not UTF-8"), "{error}");
    let empty = tempfile::tempdir().unwrap();
    let error = load(&[empty.path().to_owned()], &[]).unwrap_err().to_string();
    assert!(error.contains("storage stanza is missing") && error.contains("listener stanza is missing"), "{error}");
}

#[test]
fn the_environment_wins_over_files() {
    let overrides = |set: &[(&str, &str)]| {
        let set: std::collections::BTreeMap<String, String> =
            set.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        environment(move |name| set.get(name).cloned())
    };
    let base = "storage \"inmem\" {}\nlistener \"tcp\" { tls_disable = true }\napi_addr = \"https://file\"\nlog_level = \"warn\"";
    let load = |set: &[(&str, &str)]| load_text("t.hcl", base, &overrides(set));
    let config =
        load(&[("VAULT_API_ADDR", "https://v"), ("BAO_API_ADDR", "https://b"), ("BAO_LOG_LEVEL", "trace"), ("VAULT_UI", "true")])
            .unwrap()
            .config;
    assert_eq!(config.api_addr.as_deref(), Some("https://v"));
    assert_eq!(config.log_level, LogLevel::Trace);
    assert!(config.ui);
    let config =
        load(&[("VAULT_API_ADDR", "https://v"), ("COFFER_API_ADDR", "https://c"), ("COFFER_CLUSTER_NAME", "")]).unwrap().config;
    assert_eq!(config.api_addr.as_deref(), Some("https://c"));
    assert_eq!(load(&[]).unwrap().config.api_addr.as_deref(), Some("https://file"));
    let error = load(&[("VAULT_LOG_LEVEL", "loud")]).unwrap_err().to_string();
    assert!(error.contains("the variable VAULT_LOG_LEVEL: log_level takes one of"), "{error}");
}

#[test]
fn a_secret_without_its_quotes_is_not_repeated() {
    for broken in ["current_key = canary", "current_key canary", "current_key = [canary]", "current_key = \"canary"] {
        let error = with(&format!("seal \"static\" {{\n  current_key_id = \"a\"\n  {broken}\n}}")).unwrap_err().to_string();
        assert!(error.contains("t.hcl: line ") && !error.contains("canary"), "{error}");
    }
}

/// Damaged configurations are refused or read, and what they say of it never repeats the seal's key.
#[test]
fn damage_is_survived_and_secrets_are_not_repeated() {
    use coffer_crypto::random::{Random as _, SeededRandom, below};
    let key = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00";
    let whole = format!(
        "api_addr = \"https://h:1\"\nstorage \"embedded\" {{ path = \"/d\" }}\nlistener \"tcp\" {{\n  address = \"h:1\"\n  tls_disable = true\n  \
         custom_response_headers {{ \"2xx\" = {{ \"A\" = [\"b\"] }} }}\n}}\nseal \"static\" {{\n  current_key_id = \"a\"\n  current_key = \"{key}\"\n}}\n\
         audit \"file\" \"x\" {{ options = {{ file_path = \"/a\" }} }}\nmax_lease_ttl = \"800h\"\n"
    );
    let json = format!(
        "{{\"storage\":{{\"inmem\":{{}}}},\"listener\":[{{\"tcp\":{{\"address\":\"h:1\",\"tls_disable\":1}}}}],\
         \"seal\":{{\"static\":{{\"current_key_id\":\"a\",\"current_key\":\"{key}\"}}}},\"ui\":true}}"
    );
    assert!(text(&whole).is_ok() && text(&json).is_ok());
    let random = SeededRandom::for_tests_only(7);
    let at = |length: usize| usize::try_from(below(&random, u32::try_from(length).unwrap().max(1))).unwrap();
    let (mut read, mut refused) = (0, 0);
    for round in 0..4000 {
        let mut bytes = if round % 2 == 0 { whole.clone() } else { json.clone() }.into_bytes();
        for _ in 0..=at(3) {
            let place = at(bytes.len());
            match at(4) {
                0 => drop(bytes.remove(place)),
                1 => bytes.insert(place, b"{}[]\"=,:\n a0\\"[at(13)]),
                2 => random.fill(&mut bytes[place..=place]),
                _ => {
                    let piece = bytes[place..(place + at(20)).min(bytes.len())].to_vec();
                    let to = at(bytes.len());
                    bytes.splice(to..to, piece);
                }
            }
        }
        let damaged = String::from_utf8_lossy(&bytes).into_owned();
        let said = match text(&damaged) {
            Ok(loaded) => {
                read += 1;
                format!("{:?} {:?} {}", loaded.config, loaded.findings, loaded.config.sanitized())
            }
            Err(error) => {
                refused += 1;
                format!("{error} {error:?}")
            }
        };
        assert!(!said.contains(&key[..48]), "{said}");
    }
    assert!(read > 200 && refused > 200, "{read} read, {refused} refused");
}

#[test]
fn lockout_is_read_by_kind() {
    let loaded = with(
        "user_lockout \"all\" { lockout_duration = \"10m\" }\nuser_lockout \"userpass\" { lockout_threshold = 25 disable_lockout = true }",
    );
    let settings = loaded.unwrap().config.user_lockout.settings();
    assert_eq!(settings.0["all"].duration, Some(coffer_types::Span::from_secs(600)));
    assert_eq!((settings.0["userpass"].threshold, settings.0["userpass"].disable), (Some(25), Some(true)));
    assert!(with("").unwrap().config.user_lockout.settings().0.is_empty());
}
