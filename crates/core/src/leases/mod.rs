//! Leases: what ends by itself. Each is a record under its id, an entry in an index by time, and one under the token
//! that it belongs to. Nothing of it is kept in memory, so start-up and size do not grow with their number.

pub mod counts;
pub mod end;
pub mod expire;
pub mod record;
pub mod revoke;
pub mod routes;
pub mod sweep;

pub use counts::Counts;
pub use end::{end_token, end_token_keep_children};
pub use record::{LeaseRecord, Subject, register, register_token};

use crate::live::Live;

/// What a commit has begun and its call waits for: the rest of tokens that it ended, prefixes that it revokes. Bounded; what
/// is left stays noted in the store and is done by the beat.
pub(crate) async fn follow_up(live: &Live, written: &[String]) {
    let below = |prefix: &str| written.iter().filter_map(|k| k.strip_prefix(prefix)).map(str::to_owned).collect::<Vec<_>>();
    let (ended, swept) = (below(end::ENDING), below(sweep::SWEEPS));
    if !ended.is_empty()
        && let Err(error) = end::work_off(live, ended, end::BEFORE_ANSWER).await
    {
        tracing::warn!(target: "expiration", %error, "what ended tokens made is not all revoked yet; it will be tried again");
    }
    for name in swept {
        if let Err(error) = sweep::go_on_with(live, &name, sweep::BEFORE_ANSWER).await {
            tracing::warn!(target: "expiration", %error, "a prefix is not all revoked yet; it will be tried again");
        }
    }
}
