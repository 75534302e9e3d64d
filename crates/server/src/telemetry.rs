//! Metrics for Prometheus: what the whole process counts, in the text form that `sys/metrics` serves.

use crate::config::Telemetry;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use metrics_util::MetricKindMask;
use std::fmt;
use std::time::Duration;

/// The metrics of this process.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

/// Why there are no metrics.
#[derive(Debug)]
pub struct TelemetryError(String);

impl fmt::Display for TelemetryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "metrics: {}", self.0)
    }
}

impl std::error::Error for TelemetryError {}

/// How often old metrics are dropped and distributions are put together.
const UPKEEP: Duration = Duration::from_secs(5);

impl Metrics {
    /// Starts counting, for the whole process; `None` where `prometheus_retention_time` is 0. Run
    /// [`upkeep`](Self::upkeep) beside it.
    pub fn start(telemetry: &Telemetry, hostname: &str) -> Result<Option<Self>, TelemetryError> {
        let Some((recorder, metrics)) = build(telemetry, hostname) else { return Ok(None) };
        metrics::set_global_recorder(recorder).map_err(|error| TelemetryError(error.to_string()))?;
        Ok(Some(metrics))
    }

    /// The text of <https://prometheus.io/docs/instrumenting/exposition_formats/>.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Keeps the metrics small, for ever.
    pub async fn upkeep(self) {
        let mut tick = tokio::time::interval(UPKEEP);
        loop {
            tick.tick().await;
            self.handle.run_upkeep();
        }
    }
}

fn build(telemetry: &Telemetry, hostname: &str) -> Option<(Named, Metrics)> {
    let retention = telemetry.prometheus_retention_time;
    if retention.is_zero() || retention.is_negative() {
        return None;
    }
    // A gauge that was set once still holds: only what is counted and measured goes stale.
    let stale = MetricKindMask::COUNTER | MetricKindMask::HISTOGRAM;
    let mut builder = PrometheusBuilder::new().idle_timeout(stale, Some(retention.duration()));
    if telemetry.enable_hostname_label {
        builder = builder.add_global_label("host", hostname);
    }
    let recorder = builder.build_recorder();
    let metrics = Metrics { handle: recorder.handle() };
    let prefix = telemetry.metrics_prefix.clone();
    let host = (!telemetry.disable_hostname && !telemetry.enable_hostname_label).then(|| hostname.to_owned());
    Some((Named { inner: recorder, prefix, host }, metrics))
}

/// Gives metrics their whole names: the configured prefix, and, before what a gauge measures, the host's name.
struct Named {
    inner: PrometheusRecorder,
    prefix: String,
    host: Option<String>,
}

impl Named {
    fn name(&self, name: &str, gauge: bool) -> String {
        let mut whole = String::with_capacity(self.prefix.len() + name.len() + 24);
        let host = self.host.as_deref().filter(|_| gauge);
        for part in [Some(&*self.prefix), host].into_iter().flatten().filter(|part| !part.is_empty()) {
            whole.push_str(part);
            whole.push('_');
        }
        whole.push_str(name);
        whole
    }

    fn key(&self, key: &Key, gauge: bool) -> Key {
        Key::from_parts(self.name(key.name(), gauge), key.labels().cloned().collect::<Vec<_>>())
    }
}

impl Recorder for Named {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.inner.describe_counter(self.name(key.as_str(), false).into(), unit, description);
    }
    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.inner.describe_gauge(self.name(key.as_str(), true).into(), unit, description);
    }
    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.inner.describe_histogram(self.name(key.as_str(), false).into(), unit, description);
    }
    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.inner.register_counter(&self.key(key, false), metadata)
    }
    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.inner.register_gauge(&self.key(key, true), metadata)
    }
    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.inner.register_histogram(&self.key(key, false), metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_types::Span;

    fn rendered(telemetry: &Telemetry) -> String {
        let (recorder, metrics) = build(telemetry, "node-1").unwrap();
        metrics::with_local_recorder(&recorder, || {
            metrics::counter!("core.calls", "kind" => "read").increment(2);
            metrics::gauge!("core.unsealed").set(1.0);
            metrics::histogram!("core.seconds").record(0.5);
        });
        metrics.render()
    }

    #[test]
    fn names_have_the_prefix_and_gauges_the_host() {
        let text = rendered(&Telemetry::default());
        assert!(text.contains("vault_core_calls{kind=\"read\"} 2"), "{text}");
        assert!(text.contains("vault_node_1_core_unsealed 1"), "{text}");
        assert!(text.contains("vault_core_seconds_count 1"), "{text}");
    }

    #[test]
    fn the_host_is_left_out_or_a_label() {
        let text = rendered(&Telemetry { disable_hostname: true, metrics_prefix: "coffer".into(), ..Telemetry::default() });
        assert!(text.contains("coffer_core_unsealed 1") && !text.contains("node"), "{text}");
        let text = rendered(&Telemetry { enable_hostname_label: true, ..Telemetry::default() });
        assert!(text.contains("vault_core_unsealed{host=\"node-1\"} 1"), "{text}");
        let text = rendered(&Telemetry { metrics_prefix: String::new(), ..Telemetry::default() });
        assert!(text.contains("\ncore_calls{"), "{text}");
    }

    #[test]
    fn no_retention_is_no_metrics() {
        assert!(build(&Telemetry { prometheus_retention_time: Span::ZERO, ..Telemetry::default() }, "h").is_none());
    }
}
