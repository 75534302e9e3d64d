//! The engines against what the reference was recorded to answer, without a server around them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod kv;
mod recorded;
mod surface;
