//! The whole server in one process, against what was recorded of the reference.

mod absent;
mod config;
mod explain;
mod extremes;
mod kv_races;
mod kv_upgrade;
mod list_filter;
mod metrics;
mod quotas;
mod raw;
mod recorded;
mod review_races;
mod review_seal;
mod review_tokens;
mod routes;
mod tokens;
mod unaudited;
