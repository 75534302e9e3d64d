//! The server's wires over loopback, with a stand-in for the core.

#![allow(clippy::unwrap_used, reason = "a broken expectation is a failed test")]

mod http1;
mod http2;
mod limits;
mod rules;
mod standin;
mod tls;
