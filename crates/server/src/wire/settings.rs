//! What a listener's stanza means for its connections and requests. SIGHUP makes a new one.

use super::activity::Timeouts;
use super::cors::Cors;
use super::forwarded::Forwarded;
use super::headers::Headers;
use crate::config::{Listener, Speaks as Word};
use coffer_dialects::pick::Speaks;
use coffer_dialects::vault::BodyLimits;
use coffer_engine::ListenerTraits;
use coffer_types::Span;
use http::HeaderValue;
use std::sync::Arc;
use std::time::Duration;

/// What holds where a listener says nothing.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// `default_max_request_duration`.
    pub max_request_duration: Option<Duration>,
    /// Sent as `X-Vault-Hostname` (`enable_response_header_hostname`).
    pub hostname: Option<String>,
}

pub(super) struct Settings {
    pub(super) speaks: Speaks,
    pub(super) timeouts: Timeouts,
    pub(super) max_body: Option<usize>,
    pub(super) limits: BodyLimits,
    pub(super) max_duration: Option<Duration>,
    pub(super) forwarded: Forwarded,
    pub(super) headers: Headers,
    pub(super) cors: Option<Cors>,
    pub(super) require_request_header: bool,
    pub(super) metrics: Metrics,
    pub(super) traits: Arc<ListenerTraits>,
}

/// What a listener says of `sys/metrics`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Metrics {
    Served,
    Refused,
    /// And nothing else.
    Only,
}

impl Settings {
    pub(super) fn new(listener: &Listener, defaults: &Defaults) -> Self {
        let keys = &listener.keys;
        let time = |span: Span| (!span.is_zero() && !span.is_negative()).then(|| span.duration());
        let speaks = |word| keys.dialects.contains(&word);
        let max_body = listener.max_body();
        let mut headers = Headers::new(&keys.custom_response_headers);
        if let Some(Ok(name)) = defaults.hostname.as_deref().map(HeaderValue::try_from) {
            headers.always(http::HeaderName::from_static("x-vault-hostname"), name);
        }
        Self {
            speaks: Speaks {
                vault: speaks(Word::Vault),
                aws: speaks(Word::Aws),
                azure: speaks(Word::Azure),
                gcp: speaks(Word::Gcp),
            },
            timeouts: Timeouts {
                header: time(keys.http_read_header_timeout),
                body: time(keys.http_read_timeout),
                write: time(keys.http_write_timeout),
                idle: listener.idle_timeout(),
            },
            max_body,
            limits: BodyLimits {
                json: listener.json_limits(),
                // A body of the largest size may be one string; one of many small values may not take much more.
                memory: max_body.map_or(usize::MAX, |bytes| bytes.saturating_add(512 << 10)),
            },
            max_duration: listener.max_duration().or(defaults.max_request_duration),
            forwarded: Forwarded {
                authorized: Forwarded::networks(&keys.x_forwarded_for_authorized_addrs),
                hop_skips: usize::try_from(keys.x_forwarded_for_hop_skips).unwrap_or(usize::MAX - 1),
                reject_not_present: keys.x_forwarded_for_reject_not_present,
                reject_not_authorized: keys.x_forwarded_for_reject_not_authorized,
            },
            headers,
            cors: keys.cors_enabled.then(|| Cors::new(&keys.cors_allowed_origins, &keys.cors_allowed_headers)),
            require_request_header: keys.require_request_header,
            metrics: match (keys.telemetry.metrics_only, keys.telemetry.disallow_metrics) {
                (true, _) => Metrics::Only,
                (false, true) => Metrics::Refused,
                (false, false) => Metrics::Served,
            },
            traits: Arc::new(ListenerTraits {
                unauthed_rekey: !keys.disable_unauthed_rekey_endpoints,
                unauthed_generate_root: !keys.disable_unauthed_generate_root_endpoints,
                unauthed_metrics: keys.telemetry.unauthenticated_metrics_access,
                unauthed_in_flight: listener.open_in_flight(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_says_how_long_and_how_much() {
        let mut listener = Listener::loopback("127.0.0.1", 0);
        let defaults = Defaults { max_request_duration: Some(Duration::from_secs(90)), hostname: None };
        let settings = Settings::new(&listener, &defaults);
        let seconds = |n| Some(Duration::from_secs(n));
        let standard = Timeouts { header: seconds(10), body: seconds(30), write: None, idle: seconds(300) };
        assert_eq!((settings.timeouts, settings.max_duration), (standard, seconds(90)));
        assert_eq!((settings.max_body, settings.limits.memory), (Some(32 << 20), (32 << 20) + (512 << 10)));
        listener.keys.max_request_size = -1;
        listener.keys.http_read_header_timeout = Span::ZERO;
        listener.keys.max_request_duration = Some(Span::from_secs(5));
        let settings = Settings::new(&listener, &defaults);
        assert_eq!((settings.max_body, settings.limits.memory), (None, usize::MAX));
        assert_eq!((settings.timeouts.header, settings.max_duration), (None, seconds(5)));
    }
}
