//! What is asked of mounts.

use super::check_ttls;
use crate::core::Core;
use crate::mounts::Tune;
use coffer_engine::{MountClass, Request};
use coffer_types::{Error, Json, Object, Result, Span, lenient};
use std::collections::BTreeMap;

/// A mount by its path.
#[derive(Request)]
pub(super) struct Named {
    /// The path of the mount.
    #[field(path)]
    pub path: String,
}

/// Enable an engine or an auth method.
#[derive(Request)]
pub(super) struct Enable {
    /// Where.
    #[field(path)]
    pub path: String,
    /// Which: `kv`, `kv-v2`, `transit`, `userpass`, …
    #[field(rename = "type", default)]
    pub kind: String,
    /// A note for people.
    #[field(default)]
    pub description: String,
    /// Its tuning.
    #[field(default)]
    pub config: TuneFields,
    /// Kept for clients: every mount is local to one cluster.
    #[field(default)]
    pub local: bool,
    /// Kept for clients: every value is sealed by the barrier.
    #[field(default)]
    pub seal_wrap: bool,
    /// Kept for clients.
    #[field(default)]
    pub external_entropy_access: bool,
    /// Kept for clients.
    #[field(default, rename = "plugin_name")]
    pub _plugin_name: String,
    /// Kept for clients.
    #[field(default, rename = "plugin_version")]
    pub _plugin_version: String,
    /// The engine's own options.
    #[field(default)]
    pub options: BTreeMap<String, String>,
}

/// Tune a mount.
#[derive(Request)]
pub(super) struct TuneAsk {
    /// The path of the mount.
    #[field(path)]
    pub path: String,
    /// A note for people.
    pub description: Option<String>,
    /// TTL of leases that name none; 0 or `system` is the server's.
    pub default_lease_ttl: Option<Json>,
    /// The longest TTL; 0 or `system` is the server's.
    pub max_lease_ttl: Option<Json>,
    /// Request fields that the audit log shows as they are.
    pub audit_non_hmac_request_keys: Option<Vec<String>>,
    /// Response fields that the audit log shows as they are.
    pub audit_non_hmac_response_keys: Option<Vec<String>>,
    /// `unauth`, `hidden` or empty: who sees it listed.
    pub listing_visibility: Option<String>,
    /// Request headers that the engine may read.
    pub passthrough_request_headers: Option<Vec<String>>,
    /// Response headers that the engine may set.
    pub allowed_response_headers: Option<Vec<String>>,
    /// Auth methods: the kind of their tokens.
    pub token_type: Option<String>,
    /// Auth methods: lockout after failed logins.
    pub user_lockout_config: Option<BTreeMap<String, String>>,
    /// The engine's own options.
    pub options: Option<BTreeMap<String, String>>,
    /// Kept for clients.
    #[field(default, rename = "plugin_version")]
    pub _plugin_version: String,
}

impl TuneAsk {
    pub(super) fn fields(self) -> TuneFields {
        TuneFields {
            default_lease_ttl: self.default_lease_ttl,
            max_lease_ttl: self.max_lease_ttl,
            force_no_cache: None,
            audit_non_hmac_request_keys: self.audit_non_hmac_request_keys,
            audit_non_hmac_response_keys: self.audit_non_hmac_response_keys,
            listing_visibility: self.listing_visibility,
            passthrough_request_headers: self.passthrough_request_headers,
            allowed_response_headers: self.allowed_response_headers,
            token_type: self.token_type,
            user_lockout: self.user_lockout_config,
        }
    }
}

/// The tunable fields, from the body of a tune or the `config` of an enable.
#[derive(Default)]
pub(super) struct TuneFields {
    default_lease_ttl: Option<Json>,
    max_lease_ttl: Option<Json>,
    force_no_cache: Option<bool>,
    audit_non_hmac_request_keys: Option<Vec<String>>,
    audit_non_hmac_response_keys: Option<Vec<String>>,
    listing_visibility: Option<String>,
    passthrough_request_headers: Option<Vec<String>>,
    allowed_response_headers: Option<Vec<String>>,
    token_type: Option<String>,
    user_lockout: Option<BTreeMap<String, String>>,
}

impl coffer_engine::FromField for TuneFields {
    const KIND: coffer_engine::FieldKind = coffer_engine::FieldKind::Map;

    fn from_field(value: Json) -> Result<Self> {
        let mut config = match value {
            Json::Null => Object::new(),
            other => {
                lenient::map(&other)?;
                other.into_object().unwrap_or_default()
            }
        };
        let mut strings = |name: &str| config.remove(name).map(|v| lenient::comma_strings(&v)).transpose();
        let audit_non_hmac_request_keys = strings("audit_non_hmac_request_keys")?;
        let audit_non_hmac_response_keys = strings("audit_non_hmac_response_keys")?;
        let passthrough_request_headers = strings("passthrough_request_headers")?;
        let allowed_response_headers = strings("allowed_response_headers")?;
        Ok(Self {
            audit_non_hmac_request_keys,
            audit_non_hmac_response_keys,
            passthrough_request_headers,
            allowed_response_headers,
            default_lease_ttl: config.remove("default_lease_ttl"),
            max_lease_ttl: config.remove("max_lease_ttl"),
            force_no_cache: config.remove("force_no_cache").map(|v| lenient::bool(&v)).transpose()?,
            listing_visibility: config.remove("listing_visibility").map(|v| lenient::string(&v)).transpose()?,
            token_type: config.remove("token_type").map(|v| lenient::string(&v)).transpose()?,
            user_lockout: config.remove("user_lockout_config").map(|v| lenient::pairs(&v)).transpose()?,
        })
    }
}

fn ttl(value: Option<&Json>) -> Result<Option<Span>> {
    match value {
        None | Some(Json::Null) => Ok(None),
        Some(value) if value.as_str() == Some("system") => Ok(Some(Span::ZERO)),
        Some(value) => {
            let span = lenient::span(value)?;
            if span.is_negative() { Err(Error::bad_request("a lease TTL cannot be negative")) } else { Ok(Some(span)) }
        }
    }
}

impl TuneFields {
    /// Changes what was given and refuses what does not hold together.
    pub(super) fn apply(self, tune: &mut Tune, core: &Core, tuned: Option<MountClass>) -> Result<()> {
        if let Some(span) = ttl(self.default_lease_ttl.as_ref())? {
            tune.default_lease_ttl = span;
        }
        if let Some(span) = ttl(self.max_lease_ttl.as_ref())? {
            tune.max_lease_ttl = span;
        }
        check_ttls(tune, core)?;
        if let Some(force) = self.force_no_cache {
            tune.force_no_cache = force;
        }
        if let Some(keys) = self.audit_non_hmac_request_keys {
            tune.audit_non_hmac_request_keys = keys;
        }
        if let Some(keys) = self.audit_non_hmac_response_keys {
            tune.audit_non_hmac_response_keys = keys;
        }
        if let Some(visibility) = self.listing_visibility {
            if !["", "hidden", "unauth"].contains(&visibility.as_str()) {
                return Err(Error::bad_request(format!("invalid listing_visibility {visibility}")));
            }
            tune.listing_visibility = if visibility == "hidden" { String::new() } else { visibility };
        }
        if let Some(headers) = self.passthrough_request_headers {
            tune.passthrough_request_headers = headers;
        }
        if let Some(headers) = self.allowed_response_headers {
            tune.allowed_response_headers = headers;
        }
        if let Some(kind) = self.token_type {
            if tuned == Some(MountClass::Engine) {
                return Err(Error::bad_request("'token_type' can only be modified on auth mounts"));
            }
            if !["", "default-service", "default-batch", "service", "batch"].contains(&kind.as_str()) {
                return Err(Error::bad_request("invalid value for 'token_type'"));
            }
            tune.token_type = kind;
        }
        if let Some(lockout) = self.user_lockout {
            crate::lockout::Partial::tune(&mut tune.user_lockout, &lockout)?;
        }
        Ok(())
    }
}
