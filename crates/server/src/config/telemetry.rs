//! The `telemetry` stanza and the `log_*` keys' words.

use super::setting::{choice, stanza};
use coffer_types::Span;

choice! {
    /// How much is logged.
    pub enum LogLevel {
        Trace = "trace",
        Debug = "debug",
        Info = "info" | "notice",
        Warn = "warn" | "warning",
        Error = "error" | "err",
    }
}

choice! {
    /// How log lines look.
    pub enum LogFormat {
        Standard = "standard" | "text",
        Json = "json",
    }
}

stanza! {
    /// The `telemetry` stanza.
    pub struct Telemetry in "telemetry" {
        /// How long idle metrics stay; 0 turns the Prometheus form of `sys/metrics` off.
        prometheus_retention_time: Span = "24h";
        /// The first part of the metrics' names.
        metrics_prefix: String = "vault";
        /// Leave the host's name out of gauges' names.
        disable_hostname: bool = "false";
        /// Label metrics with the host's name.
        enable_hostname_label: bool = "false";
    }
    later {
        /// Where statsite listens.
        statsite_address: "an address";
        /// Where statsd listens.
        statsd_address: "an address";
        /// Where DogStatsD listens.
        dogstatsd_addr: "an address";
        /// Tags for DogStatsD.
        dogstatsd_tags: "a list of strings";
        /// Metrics to send (`+`) and to leave out (`-`), by prefix.
        prefix_filter: "a list of strings";
        /// Circonus' token.
        circonus_api_token: "a string";
        /// Circonus' API.
        circonus_api_url: "a URL";
        /// Where to submit to Circonus.
        circonus_submission_url: "a URL";
        /// Circonus' check.
        circonus_check_id: "a string";
        /// Circonus' broker.
        circonus_broker_id: "a string";
        /// Stackdriver's project.
        stackdriver_project_id: "a string";
    }
    ignored {
        /// How often gauges that count tokens, secrets and entities are taken.
        usage_gauge_period = "tokens, secrets and entities are not counted yet";
        /// The most label values of a gauge.
        maximum_gauge_cardinality = "tokens, secrets and entities are not counted yet";
        /// Whether metrics that no filter names are sent.
        filter_default = "there are no filters yet, and all metrics are kept";
        /// The width of lease-expiry buckets.
        lease_metrics_epsilon = "leases are not counted by expiry yet";
        /// How many lease-expiry buckets there are.
        num_lease_metrics_buckets = "leases are not counted by expiry yet";
        /// Label lease-expiry buckets by namespace.
        add_lease_metrics_namespace_labels = "leases are not counted by expiry yet";
        /// Label mount points in rollback metrics.
        add_mount_point_rollback_metrics = "rollback metrics are not labelled";
        /// Circonus' app.
        circonus_api_app = "metrics are not sent to Circonus";
        /// Circonus' broker tag.
        circonus_broker_select_tag = "metrics are not sent to Circonus";
        /// Circonus' display name.
        circonus_check_display_name = "metrics are not sent to Circonus";
        /// Circonus' activation.
        circonus_check_force_metric_activation = "metrics are not sent to Circonus";
        /// Circonus' instance.
        circonus_check_instance_id = "metrics are not sent to Circonus";
        /// Circonus' search tag.
        circonus_check_search_tag = "metrics are not sent to Circonus";
        /// Circonus' tags.
        circonus_check_tags = "metrics are not sent to Circonus";
        /// Circonus' interval.
        circonus_submission_interval = "metrics are not sent to Circonus";
        /// Stackdriver's location.
        stackdriver_location = "metrics are not sent to Stackdriver";
        /// Stackdriver's namespace.
        stackdriver_namespace = "metrics are not sent to Stackdriver";
        /// Stackdriver's debug log.
        stackdriver_debug_logs = "metrics are not sent to Stackdriver";
    }
}
