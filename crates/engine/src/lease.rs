//! What ends by itself, and what reaches outside.

use crate::view::Record;
use coffer_types::Span;

/// The private record of something leased: what its renewal and revocation need to know.
/// Declared with [`Declare::lease`](crate::Declare::lease).
pub trait LeaseKind: Record {
    /// Names the kind in the store and in counts: `creds`, `cert`.
    const NAME: &'static str;
}

/// How long a lease may live. Zero means the mount's own default or maximum.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Terms {
    pub ttl: Span,
    pub max_ttl: Span,
    pub renewable: bool,
}

/// The note of an effect outside, committed before the act, so that a crash between the act and the commit of
/// its lease leaks nothing: what has a note and no lease is rolled back. Declared with
/// [`Declare::intent`](crate::Declare::intent); written with [`Ctx::intend`](crate::Ctx::intend).
pub trait Intent: Record {
    const NAME: &'static str;
}
