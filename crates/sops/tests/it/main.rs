//! Recorded files of the real sops, in the reference style: what it wrote is read, and what it would write is written, byte for byte.

#![allow(clippy::unwrap_used, reason = "a test that can't go on stops")]

mod golden;
mod kept;
