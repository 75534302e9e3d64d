//! Mounts as they are shown.

use crate::core::Core;
use crate::mounts::MountRecord;
use coffer_engine::MountClass;
use coffer_types::{Json, Object, Span, version};

/// The whole record, as `sys/mounts` shows it.
pub(super) fn record(m: &MountRecord) -> Object {
    let mut config = Object::new()
        .with("default_lease_ttl", m.tune.default_lease_ttl.secs())
        .with("force_no_cache", m.tune.force_no_cache)
        .with("max_lease_ttl", m.tune.max_lease_ttl.secs());
    let lists = [
        ("audit_non_hmac_request_keys", &m.tune.audit_non_hmac_request_keys),
        ("audit_non_hmac_response_keys", &m.tune.audit_non_hmac_response_keys),
        ("passthrough_request_headers", &m.tune.passthrough_request_headers),
        ("allowed_response_headers", &m.tune.allowed_response_headers),
    ];
    for (name, list) in lists {
        if !list.is_empty() {
            config.insert(name, list.clone());
        }
    }
    match m.kind.as_str() {
        "identity" if m.tune.passthrough_request_headers.is_empty() => {
            config.insert("passthrough_request_headers", vec!["Authorization"]);
        }
        "system" if m.tune.passthrough_request_headers.is_empty() => {
            config.insert("passthrough_request_headers", vec!["Accept"]);
        }
        _ => {}
    }
    if !m.tune.listing_visibility.is_empty() {
        config.insert("listing_visibility", m.tune.listing_visibility.as_str());
    }
    if m.class == MountClass::Auth {
        config.insert("token_type", token_type(m));
        let lockout = lockout(m);
        if !lockout.is_empty() {
            config.insert("user_lockout_config", lockout.into_iter().collect::<Object>());
        }
    }
    let built_in = ["system", "identity", "cubbyhole", "token"].contains(&m.kind.as_str());
    let mut shown = Object::new().with("accessor", m.accessor.as_str()).with("config", config);
    if !built_in {
        shown.insert("deprecation_status", "supported");
    }
    shown
        .with("description", m.description.as_str())
        .with("external_entropy_access", m.external_entropy_access)
        .with("local", m.local)
        .with("options", options(m, built_in))
        .with("plugin_version", m.plugin_version.as_str())
        .with("running_plugin_version", format!("v{}+builtin.coffer", version::COFFER))
        .with("running_sha256", "")
        .with("seal_wrap", m.seal_wrap || m.kind == "system")
        .with("type", m.kind.as_str())
        .with("uuid", m.uuid.as_str())
}

fn token_type(m: &MountRecord) -> &str {
    if m.tune.token_type.is_empty() { "default-service" } else { &m.tune.token_type }
}

/// What the tuning says of lockout; nothing where it says nothing.
fn lockout(m: &MountRecord) -> Vec<(&str, Json)> {
    let value = |text: &str| match text.parse::<i64>() {
        Ok(number) => Json::from(number),
        Err(_) => Json::from(text == "true"),
    };
    let mut shown: Vec<(&str, Json)> = m.tune.user_lockout.iter().map(|(name, text)| (name.as_str(), value(text))).collect();
    if !shown.is_empty() {
        for (name, unset) in [
            ("user_lockout_counter_reset_duration", Json::from(0)),
            ("user_lockout_disable", Json::from(false)),
            ("user_lockout_duration", Json::from(0)),
            ("user_lockout_threshold", Json::from(0)),
        ] {
            if !m.tune.user_lockout.contains_key(name) {
                shown.push((name, unset));
            }
        }
    }
    shown
}

/// The server's own mounts have none; an engine's may be empty, for an auth method an empty object.
fn options(m: &MountRecord, built_in: bool) -> Json {
    if built_in || m.options.is_empty() && m.class == MountClass::Engine && m.kind != "kv" {
        return Json::Null;
    }
    Json::Object(m.options.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect())
}

/// The tuning, with what is in force for TTLs.
pub(super) fn tune(m: &MountRecord, core: &Core) -> Object {
    let or = |own: Span, system: Span| if own.is_zero() { system } else { own };
    let mut shown = Object::new()
        .with("default_lease_ttl", or(m.tune.default_lease_ttl, core.config.default_lease_ttl).secs())
        .with("description", m.description.as_str())
        .with("force_no_cache", m.tune.force_no_cache)
        .with("max_lease_ttl", or(m.tune.max_lease_ttl, core.config.max_lease_ttl).secs());
    let lists = [
        ("audit_non_hmac_request_keys", &m.tune.audit_non_hmac_request_keys),
        ("audit_non_hmac_response_keys", &m.tune.audit_non_hmac_response_keys),
        ("passthrough_request_headers", &m.tune.passthrough_request_headers),
        ("allowed_response_headers", &m.tune.allowed_response_headers),
    ];
    for (name, list) in lists {
        if !list.is_empty() {
            shown.insert(name, list.clone());
        }
    }
    if !m.tune.listing_visibility.is_empty() {
        shown.insert("listing_visibility", m.tune.listing_visibility.as_str());
    }
    if !m.options.is_empty() {
        shown.insert("options", options(m, false));
    }
    if m.class == MountClass::Auth {
        shown.insert("token_type", token_type(m));
        for (name, value) in lockout(m) {
            shown.insert(name, value);
        }
    }
    shown
}

/// What `sys/internal/ui/mounts` shows: everything to who has a token, little to who has none.
pub(crate) fn shown_in_ui(m: &MountRecord, whole: bool) -> Object {
    if whole {
        return record(m);
    }
    let built_in = ["system", "identity", "cubbyhole", "token"].contains(&m.kind.as_str());
    Object::new().with("description", m.description.as_str()).with("options", options(m, built_in)).with("type", m.kind.as_str())
}
