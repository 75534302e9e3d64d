//! The engine API as an engine's author meets it: declaration, routing, requests.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod declaring;
mod request;
mod routing;
