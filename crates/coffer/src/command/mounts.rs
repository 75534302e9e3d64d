//! What `secrets` and `auth` have in common: engines and methods are mounts.

use crate::cli::call::with_slash;
use crate::cli::options::AUDIT_KEYS;
use crate::cli::{Because, Call, Failure, Flag, Kind, Outcome};
use crate::output::{self, go, json, table};
use coffer_client::Request;
use coffer_types::json::Object;
use coffer_types::{Json, Span};
use std::time::Duration;

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    Secrets,
    Auth,
}

impl Sort {
    /// Where the API keeps its mounts.
    pub(crate) const fn root(self) -> &'static str {
        match self {
            Self::Secrets => "sys/mounts",
            Self::Auth => "sys/auth",
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Secrets => "secrets engine",
            Self::Auth => "auth method",
        }
    }
}

/// When a mount is made.
pub(crate) const ENABLE: &[Flag] = &[
    AUDIT_KEYS[0].copy(),
    AUDIT_KEYS[1].copy(),
    AUDIT_KEYS[2].copy(),
    Flag::new(
        "default-lease-ttl",
        Kind::Span,
        "How long leases live where nothing else is said. The server's own default where it is not given.",
    ),
    Flag::new("description", Kind::Text, "What it is for."),
    Flag::new("external-entropy-access", Kind::Switch, "Let it use the server's source of entropy."),
    Flag::new("force-no-cache", Kind::Switch, "Keep nothing of it in the cache."),
    AUDIT_KEYS[3].copy(),
    Flag::new("local", Kind::Switch, "Do not replicate it."),
    Flag::new("max-lease-ttl", Kind::Span, "How long leases may live at most. The server's own limit where it is not given."),
    Flag::new("options", Kind::Pairs, "An option of the engine, as KEY=VALUE. May be given several times."),
    AUDIT_KEYS[4].copy(),
    Flag::new("path", Kind::Text, "Where it will be. The default is its type."),
    Flag::new("plugin-name", Kind::Text, "The plugin, where the type is \"plugin\"."),
    Flag::new("plugin-version", Kind::Text, "The version of the plugin."),
    Flag::new("seal-wrap", Kind::Switch, "Wrap critical values with the seal."),
    Flag::new("token-type", Kind::Text, "The type of the tokens that it gives out, for auth methods.").values(&[
        "default-service",
        "default-batch",
        "service",
        "batch",
    ]),
    Flag::new("version", Kind::Int, "The version of the engine, where it has several.").default("-1"),
];

/// When a mount is changed.
pub(crate) const TUNE: &[Flag] = &[
    AUDIT_KEYS[0].copy(),
    AUDIT_KEYS[1].copy(),
    AUDIT_KEYS[2].copy(),
    Flag::new("default-lease-ttl", Kind::Span, "How long leases live where nothing else is said."),
    Flag::new("description", Kind::Text, "What it is for."),
    AUDIT_KEYS[3].copy(),
    Flag::new("max-lease-ttl", Kind::Span, "How long leases may live at most."),
    Flag::new("options", Kind::Pairs, "An option of the engine, as KEY=VALUE. May be given several times."),
    AUDIT_KEYS[4].copy(),
    Flag::new("plugin-version", Kind::Text, "The version of the plugin."),
    Flag::new("token-type", Kind::Text, "The type of the tokens that it gives out, for auth methods.").values(&[
        "default-service",
        "default-batch",
        "service",
        "batch",
    ]),
    Flag::new("user-lockout-counter-reset-duration", Kind::Span, "After how long failed log-ins are forgotten."),
    Flag::new("user-lockout-disable", Kind::Choice, "Whether users are never locked out."),
    Flag::new("user-lockout-duration", Kind::Span, "How long a user is locked out."),
    Flag::new("user-lockout-threshold", Kind::Int, "After how many failed log-ins a user is locked out."),
    Flag::new("version", Kind::Int, "The version of the engine, where it has several.").default("-1"),
];

pub(crate) const DETAILED: &[Flag] = &[Flag::new("detailed", Kind::Switch, "Show times, versions and identifiers too.")];

/// The path and the type that were enabled.
pub(crate) fn enable(call: &Call<'_>, sort: Sort) -> Outcome<(String, String)> {
    let mut kind = call.arg(0).trim().to_owned();
    if kind == "plugin" {
        kind = call.text("plugin-name").to_owned();
        if kind.is_empty() {
            return Err(Failure::usage("Must specify plugin name with -plugin-name"));
        }
    }
    let path = with_slash(if call.text("path").is_empty() { &kind } else { call.text("path") });
    let ttl = |name: &str| call.span(name).unwrap_or(Span::ZERO).to_string();
    let mut config = Object::new()
        .with("options", Json::Null)
        .with("default_lease_ttl", ttl("default-lease-ttl"))
        .with("max_lease_ttl", ttl("max-lease-ttl"))
        .with("force_no_cache", call.on("force-no-cache"));
    shared(call, &mut config);
    let body = Object::new()
        .with("type", &kind)
        .with("description", call.text("description"))
        .with("config", config)
        .with("local", call.on("local"))
        .with("seal_wrap", call.on("seal-wrap"))
        .with("external_entropy_access", call.on("external-entropy-access"))
        .with("options", options(call));
    let doing = || if sort == Sort::Secrets { "Error enabling".to_owned() } else { format!("Error enabling {kind} auth") };
    call.send(&Request::post(format!("{}/{path}", sort.root())).json(body)).because(doing)?;
    Ok((path, kind))
}

/// Settings that enabling and tuning send alike, only where given.
fn shared(call: &Call<'_>, config: &mut Object) {
    for (flag, name) in [
        ("audit-non-hmac-request-keys", "audit_non_hmac_request_keys"),
        ("audit-non-hmac-response-keys", "audit_non_hmac_response_keys"),
        ("passthrough-request-headers", "passthrough_request_headers"),
        ("allowed-response-headers", "allowed_response_headers"),
    ] {
        if call.given(flag) {
            let list: Vec<String> = call.list(flag).iter().flat_map(|v| v.split(',')).map(str::to_owned).collect();
            config.insert(name, list);
        }
    }
    for (flag, name) in
        [("listing-visibility", "listing_visibility"), ("token-type", "token_type"), ("plugin-version", "plugin_version")]
    {
        if call.given(flag) {
            config.insert(name, call.text(flag));
        }
    }
}

/// `-options` and `-version`; null where there are none.
fn options(call: &Call<'_>) -> Json {
    let mut options: Object = call.pairs("options").iter().map(|(k, v)| (k.as_str(), Json::from(v))).collect();
    if call.int("version") > 0 {
        options.insert("version", call.int("version").to_string());
    }
    if options.is_empty() { Json::Null } else { Json::Object(options) }
}

pub(crate) fn disable(call: &Call<'_>, sort: Sort) -> Outcome<String> {
    let path = with_slash(call.arg(0));
    let doing = || match sort {
        Sort::Secrets => format!("Error disabling secrets engine at {path}"),
        Sort::Auth => format!("Error disabling auth method at {path}"),
    };
    call.send(&Request::delete(format!("{}/{path}", sort.root()))).because(doing)?;
    Ok(path)
}

pub(crate) fn tune(call: &Call<'_>, sort: Sort) -> Outcome<String> {
    let path = with_slash(call.arg(0));
    let ttl = |name: &str| call.span(name).map(|s| s.to_string()).unwrap_or_default();
    let mut body = Object::new().with("options", options(call)).with("default_lease_ttl", ttl("default-lease-ttl"));
    if call.given("description") {
        body.insert("description", call.text("description"));
    }
    body.insert("max_lease_ttl", ttl("max-lease-ttl"));
    body.insert("force_no_cache", false);
    shared(call, &mut body);
    let mut lockout = Object::new();
    if call.given("user-lockout-threshold") {
        lockout.insert("lockout_threshold", call.int("user-lockout-threshold").to_string());
    }
    for (flag, name) in
        [("user-lockout-duration", "lockout_duration"), ("user-lockout-counter-reset-duration", "lockout_counter_reset_duration")]
    {
        if let Some(span) = call.span(flag) {
            lockout.insert(name, span.to_string());
        }
    }
    if let Some(disable) = call.choice("user-lockout-disable") {
        lockout.insert("lockout_disable", disable);
    }
    if !lockout.is_empty() {
        body.insert("user_lockout_config", lockout);
    }
    let inner = if sort == Sort::Auth { "auth/" } else { "" };
    call.send(&Request::post(format!("sys/mounts/{inner}{path}/tune")).json(body))
        .because(|| format!("Error tuning {} {path}", sort.word()))?;
    Ok(path)
}

/// Moves a mount and waits until it has arrived.
pub(crate) fn remount(call: &Call<'_>, sort: Sort) -> Outcome {
    let (from, to) = (with_slash(call.arg(0)), with_slash(call.arg(1)));
    let body = Object::new().with("from", &from).with("to", &to);
    let doing = || format!("Error moving {} {from} to {to}", sort.word());
    let started = call.ask(&Request::post("sys/remount").json(body)).because(doing).map_err(|failure| {
        let lacks = sort == Sort::Auth && failure.status == 400 && !from.starts_with("auth/");
        if lacks {
            failure.hint(format!("Both paths are written from the root: \"auth move auth/{from} auth/{to}\"."))
        } else {
            failure
        }
    })?;
    let started = started.unwrap_or_default();
    let id = started.text("migration_id").to_owned();
    let what = format!("{} {from} to {to}", sort.word());
    if id.is_empty() {
        call.line(&format!("Success! Moved {what}"));
        return Ok(0);
    }
    call.line(&format!("Started moving {what}, with migration ID {id}"));
    loop {
        let status = call
            .ask(&Request::get(format!("sys/remount/status/{id}")))
            .because(|| format!("Error checking migration status of {id}"))?;
        match status.as_ref().and_then(|s| s.get("migration_info")?.get("status")?.as_str()) {
            Some("success") => {
                call.line(&format!("Success! Finished moving {what}, with migration ID {id}"));
                return Ok(0);
            }
            Some("failure") => {
                return Err(Failure::server(format!("Failure! Error encountered moving {what}, with migration ID {id}"))
                    .hint("The server's log says why."));
            }
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// The settings of a mount in the order in which JSON has always shown them.
const CONFIG_ORDER: &[&str] = &["default_lease_ttl", "max_lease_ttl", "force_no_cache"];

/// The fields of a mount in that order. The last stands there even where the server does not send it.
const ORDER: &[&str] = &[
    "uuid",
    "type",
    "description",
    "accessor",
    "config",
    "options",
    "local",
    "seal_wrap",
    "external_entropy_access",
    "plugin_version",
    "running_plugin_version",
    "running_sha256",
    "deprecation_status",
];

pub(crate) fn list(call: &Call<'_>, sort: Sort) -> Outcome {
    let doing = || {
        if sort == Sort::Secrets { "Error listing secrets engines" } else { "Error listing enabled authentications" }.to_owned()
    };
    let found = call.ask_data(&Request::get(sort.root())).because(doing)?;
    // Older servers put the mounts at the top, beside the envelope's own fields: a mount has a type.
    let mounts: Object = found
        .as_object()
        .into_iter()
        .flat_map(Object::iter)
        .filter(|(_, m)| m.get("type").is_some())
        .map(|(path, m)| (path, ordered(m)))
        .collect();
    let mounts = Json::Object(sorted_paths(mounts));
    let detailed = call.on("detailed");
    output::value(call, &mounts, |mounts| rows(mounts, sort, detailed))
}

fn sorted_paths(mut mounts: Object) -> Object {
    mounts.sort();
    mounts
}

fn ordered(mount: &Json) -> Json {
    let Some(object) = mount.as_object() else { return mount.clone() };
    let mut object = object.clone();
    if let Some(config) = object.get_mut("config") {
        *config = json::ordered(config, CONFIG_ORDER);
    }
    if !object.contains("deprecation_status") {
        object.insert("deprecation_status", "");
    }
    json::ordered(&Json::Object(object), ORDER)
}

fn rows(mounts: &Json, sort: Sort, detailed: bool) -> Vec<Vec<String>> {
    let all = mounts.as_object().into_iter().flat_map(Object::iter);
    let text = |mount: &Json, name: &str| mount.get(name).filter(|v| !v.is_null()).map(go::text).unwrap_or_default();
    if !detailed {
        let rows = all.map(|(path, m)| {
            vec![path.to_owned(), text(m, "type"), text(m, "accessor"), text(m, "description"), text(m, "plugin_version")]
        });
        return match sort {
            Sort::Secrets => table::headed(
                ["Path", "Type", "Accessor", "Description"],
                rows.map(|mut r| {
                    r.truncate(4);
                    r
                }),
            ),
            Sort::Auth => table::headed(["Path", "Type", "Accessor", "Description", "Version"], rows),
        };
    }
    let rows = all.map(|(path, m)| {
        let kind = text(m, "type");
        let config = |name: &str| m.get("config").map(|c| text(c, name)).unwrap_or_default();
        let ttl = |name: &str| {
            // These two hold nothing that could be leased.
            if matches!(kind.as_str(), "system" | "cubbyhole") {
                return String::new();
            }
            match m.get("config").and_then(|c| c.get(name)).and_then(Json::as_i64) {
                None | Some(0) => "system".to_owned(),
                Some(secs) => secs.to_string(),
            }
        };
        let plugin = if kind == "plugin" { config("plugin_name") } else { kind.clone() };
        let replication = if text(m, "local") == "true" { "local" } else { "replicated" };
        let options = match m.get("options") {
            None | Some(Json::Null) => "map[]".to_owned(),
            Some(options) => go::text(options),
        };
        let third = if sort == Sort::Secrets { config("force_no_cache") } else { config("token_type") };
        let mut row = vec![
            path.to_owned(),
            plugin,
            text(m, "accessor"),
            ttl("default_lease_ttl"),
            ttl("max_lease_ttl"),
            third,
            replication.to_owned(),
        ];
        row.extend([text(m, "seal_wrap"), text(m, "external_entropy_access"), options]);
        row.extend(
            ["description", "uuid", "plugin_version", "running_plugin_version", "running_sha256", "deprecation_status"]
                .map(|name| text(m, name)),
        );
        row
    });
    let third = if sort == Sort::Secrets { "Force No Cache" } else { "Token Type" };
    table::headed(
        [
            "Path",
            "Plugin",
            "Accessor",
            "Default TTL",
            "Max TTL",
            third,
            "Replication",
            "Seal Wrap",
            "External Entropy Access",
            "Options",
            "Description",
            "UUID",
            "Version",
            "Running Version",
            "Running SHA256",
            "Deprecation Status",
        ],
        rows,
    )
}
