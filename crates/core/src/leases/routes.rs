//! `sys/leases/…` and `sys/wrapping/…`.
use crate::sys::Sys;
use coffer_engine::Declare;

pub(crate) fn declare(_d: &mut Declare<Sys>) {}
