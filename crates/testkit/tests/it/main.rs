//! The whole server in one process, against what was recorded of the reference.

mod extremes;
mod kv_upgrade;
mod recorded;
mod routes;
