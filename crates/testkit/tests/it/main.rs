//! The whole server in one process, against what was recorded of the reference.

mod recorded;
mod routes;
