//! The binary, driven as people drive it, against a server that answers what it is told to.

mod connections;
mod docs;
mod fake;
mod flags;
mod formats;
mod kv;
mod operator;
mod policy;
mod tokens;
