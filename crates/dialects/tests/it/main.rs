//! The dialects against what the reference said.
#![allow(clippy::unwrap_used, reason = "tests")]

mod recorded;
