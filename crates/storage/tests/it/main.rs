//! Every kind of store against one suite, and the embedded one against crashes.

#![allow(clippy::unwrap_used, reason = "a broken expectation is a failed test")]

mod crash;
mod embedded;
mod kinds;
mod load;
