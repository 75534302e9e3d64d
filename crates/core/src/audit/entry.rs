//! What the pipeline knows of a call when it asks for a line.

use coffer_crypto::mac::sha256;
use coffer_engine::{Call, MountClass, Principal};
use coffer_types::{Error, Operation, Span, Timestamp};
use std::collections::BTreeMap;

/// One call on its way through the pipeline. Everything is borrowed: without a device nothing is copied.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    pub call: &'a Call,
    /// As decided: create where the thing did not exist. The call's own where nothing was decided.
    pub operation: Operation,
    /// `None` where no mount answers the path, and outside the barrier (init, unseal).
    pub mount: Option<MountInfo<'a>>,
    /// `None` without a token or with one that is not good.
    pub token: Option<TokenInfo<'a>>,
    /// `None` where no policy was asked (public routes, what works while sealed).
    pub decision: Option<Decision<'a>>,
    /// Why the call goes no further, if it was refused before a handler ran.
    pub error: Option<&'a Error>,
    /// Top-level fields of the request that the route declares to be no secrets: shown as they are.
    pub plain: &'a [&'static str],
}

/// The mount that answers.
#[derive(Clone, Copy)]
pub struct MountInfo<'a> {
    /// With its trailing slash: `secret/`, `auth/token/`.
    pub point: &'a str,
    pub kind: &'a str,
    pub accessor: &'a str,
    pub class: MountClass,
    /// `mount_running_version`; empty is left out.
    pub version: &'a str,
    /// The mount's `audit_non_hmac_request_keys` and `audit_non_hmac_response_keys`.
    pub clear_request: &'a [String],
    pub clear_response: &'a [String],
}

/// The token that the call came with, checked.
#[derive(Clone, Copy)]
pub struct TokenInfo<'a> {
    pub principal: &'a Principal,
    /// The token's own policies; those that come from its entity stand apart.
    pub token_policies: &'a [String],
    pub identity_policies: &'a [String],
    pub metadata: &'a BTreeMap<String, String>,
    /// As issued; zero (a root token) is left out.
    pub ttl: Span,
    pub issued: Timestamp,
    /// Uses left after this one; `None` if they are not counted.
    pub remaining_uses: Option<u64>,
}

/// What the policies said.
#[derive(Clone, Copy)]
pub struct Decision<'a> {
    pub allowed: bool,
    /// The policies that grant it, as [`coffer_engine::Permit::policies`] names them.
    pub granting: &'a [Box<str>],
}

/// The id under which a client is counted: its entity, else a digest of its policies and namespace.
pub fn client_id(principal: &Principal) -> String {
    use base64::Engine as _;
    if !principal.entity_id.is_empty() {
        return principal.entity_id.to_string();
    }
    let mut parts: Vec<&[u8]> = Vec::with_capacity(2 * principal.policies.len() + 1);
    for (n, policy) in principal.policies.iter().enumerate() {
        if n > 0 {
            parts.push(&[0x7f]);
        }
        parts.push(policy.as_bytes());
    }
    parts.push(b"\0root");
    base64::engine::general_purpose::STANDARD.encode(sha256(&parts))
}
