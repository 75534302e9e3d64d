//! The whole server in one process, against what was recorded of the reference.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod config;
mod explain;
mod extremes;
mod kv_races;
mod kv_upgrade;
mod list_filter;
mod metrics;
mod quotas;
mod recorded;
mod review_races;
mod review_seal;
mod review_tokens;
mod routes;
mod tokens;
