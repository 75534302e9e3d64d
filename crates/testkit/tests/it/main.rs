//! The whole server in one process, against what was recorded of the reference.

mod explain;
mod extremes;
mod kv_upgrade;
mod list_filter;
mod recorded;
mod routes;
mod tokens;
