//! What must work while sealed, and nothing else: health, seal status, init, unseal, leader. No other call is answered
//! outside the pipeline.

use crate::core::Core;
use coffer_engine::{Answer, Call};
use coffer_types::Result;
use std::sync::Arc;

/// Answers the call if it is one of these.
pub async fn serve(_core: &Arc<Core>, _call: &Call) -> Option<Result<Answer>> {
    None
}
