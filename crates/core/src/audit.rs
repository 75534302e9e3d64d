//! The audit log: who did what to which path, one JSON object per line, every secret leaf as an HMAC.
//!
//! The [`Broker`] stands in the pipeline twice: [`Broker::begin`] before a call is handled and [`Broker::end`]
//! before its reply leaves. Both succeed if at least one device wrote the line; with no device at all
//! they succeed and cost nothing. The form, what is masked and the rules of the devices stand in
//! docs/design/audit.md.

mod broker;
mod device;
mod entry;
mod file;
mod group;
mod line;
mod mask;
mod queue;
mod remote;
mod spec;

pub use broker::{Broker, Headers, Health, Listed, Opened, Salt, Unaudited};
pub use entry::{Decision, Entry, MountInfo, TokenInfo, client_id};
pub use spec::{AuditDeviceSpec, Origin};

#[cfg(test)]
mod tests;
