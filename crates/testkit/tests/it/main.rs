//! The whole server in one process, against what was recorded of the reference.
#![allow(clippy::unwrap_used, reason = "a test that can't go on stops")]

mod absent;
mod config;
mod explain;
mod extremes;
mod identity;
mod identity_model;
mod intents;
mod kv_races;
mod kv_upgrade;
mod lease_quotas;
mod leases;
mod list_filter;
mod logins;
mod metrics;
mod mfa;
mod oidc;
mod pki;
mod quotas;
mod raw;
mod recorded;
mod review_races;
mod review_seal;
mod review_tokens;
mod routes;
mod statuses;
mod tokens;
mod totp;
mod transit;
mod transit_keys;
mod unaudited;
