//! The engines and the kernels under them, one folder each.

pub mod aws;
pub mod cubbyhole;
pub mod database;
pub mod kv;
pub mod rabbitmq;
pub mod records;
mod remote;
pub mod username;

#[cfg(test)]
mod fake;
