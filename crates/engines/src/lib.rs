//! The engines and the kernels under them, one folder each.

pub mod aws;
pub mod cubbyhole;
pub mod database;
pub mod keyring;
pub mod kubernetes;
pub mod kv;
pub mod pki;
pub mod rabbitmq;
pub mod records;
mod remote;
pub mod ssh;
pub mod totp;
pub mod transit;
pub mod username;

#[cfg(test)]
mod fake;
