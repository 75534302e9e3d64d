//! What a renewal asks again.

use std::collections::BTreeSet;

/// Whether a login would get the same policies now. A token's policies do not change while it lives: if they would, it is not renewed.
pub(crate) fn same(now: &[String], then: &[String]) -> bool {
    let normal = |policy: &String| policy.trim().to_lowercase();
    let set = |policies: &[String]| policies.iter().map(normal).filter(|p| p != "default").collect::<BTreeSet<_>>();
    set(now) == set(then)
}
