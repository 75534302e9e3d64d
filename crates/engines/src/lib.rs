//! The engines and the kernels under them, one folder each.

pub mod cubbyhole;
pub mod kv;
pub mod records;
pub mod username;
