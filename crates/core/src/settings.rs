//! Settings of the server that are made over the API and kept in the store: request headers that the audit log shows,
//! origins whose pages may call, headers of the user interface.

use crate::core::Core;
use coffer_engine::view::{Record, View};
use coffer_types::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Below this stand the settings; a commit that touches it puts them into effect.
pub const PREFIX: &str = "core/config/";
pub const AUDITED_HEADERS: &str = "core/config/audited-headers";
pub const CORS: &str = "core/config/cors";
pub const UI_HEADERS: &str = "core/config/ui-headers";

/// Request headers that audit lines show: name in lower case → whether values are masked.
#[derive(Default, Serialize, Deserialize)]
pub struct AuditedHeaders(pub BTreeMap<String, bool>);

impl Record for AuditedHeaders {
    const FORMAT: u8 = 1;
}

/// The origins whose pages may call; none without this record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cors {
    /// At least one; `*` is all and stands alone.
    pub origins: Vec<String>,
    /// Request headers that pages may send besides the usual ones.
    pub headers: Vec<String>,
}

impl Record for Cors {
    const FORMAT: u8 = 1;
}

/// Headers of the user interface's replies: name as it is sent → values.
#[derive(Default, Serialize, Deserialize)]
pub struct UiHeaders(pub BTreeMap<String, Vec<String>>);

impl Record for UiHeaders {
    const FORMAT: u8 = 1;
}

/// Puts the audited headers into effect and gives back the origins.
pub(crate) async fn load(core: &Core, view: &View) -> Result<Option<Cors>> {
    let audited = view.get::<AuditedHeaders>(AUDITED_HEADERS).await?.unwrap_or_default();
    core.audit.set_headers(audited.0.into_iter().map(|(name, masked)| (name.into(), masked)).collect());
    view.get(CORS).await
}
