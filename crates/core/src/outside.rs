//! What must work while sealed, and nothing else: health, seal status, leader, init, unseal, and a seal of what is
//! sealed already. No other call is answered outside the pipeline.

use crate::audit::Entry;
use crate::core::Core;
use crate::seal::{InitAsk, Initialized, SealKind, Status};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coffer_engine::{Answer, Call};
use coffer_types::{Error, Json, Kind, Object, Operation, Result, lenient, version};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Answers the call if it is one of these.
pub async fn serve(core: &Arc<Core>, call: &Call) -> Option<Result<Answer>> {
    let read = call.operation == Operation::Read;
    let write = matches!(call.operation, Operation::Update | Operation::Create);
    let wrong = || Err(Error::new(Kind::Unsupported, ""));
    // What changes something leaves its lines on the devices of the configuration; what only asks leaves none.
    let changes = write && matches!(call.path.as_str(), "sys/init" | "sys/unseal");
    let opened = if changes {
        match core.audit.begin(&entry(call)).await {
            Ok(opened) => Some(opened),
            Err(unaudited) => return Some(Err(unaudited.into())),
        }
    } else {
        None
    };
    let outcome = match call.path.as_str() {
        "sys/health" if read => health(core, call),
        "sys/seal-status" if read => Ok(bare(seal_status(&core.seal_status()))),
        "sys/leader" if read => Ok(bare(leader(core))),
        "sys/init" if read => Ok(bare(Object::new().with("initialized", core.seal.is_initialized()))),
        "sys/init" if write => init(core, call).await,
        "sys/unseal" if write => unseal(core, call).await,
        "sys/seal" if write && core.is_sealed() => Ok(Answer::default()),
        "sys/health" | "sys/seal-status" | "sys/leader" | "sys/init" | "sys/unseal" if call.operation != Operation::Help => {
            wrong()
        }
        _ => return None,
    };
    if let Some(opened) = opened
        && let Err(unaudited) = core.audit.end(opened, outcome.as_ref()).await
    {
        return Some(Err(unaudited.into()));
    }
    Some(outcome)
}

fn entry(call: &Call) -> Entry<'_> {
    Entry { call, operation: call.operation, mount: None, token: None, decision: None, error: None, plain: &[] }
}

fn bare(document: Object) -> Answer {
    Answer { data: Some(document), bare: true, ..Answer::default() }
}

/// 200 active, 501 not initialised, 503 sealed; each may be set by a query parameter.
fn health(core: &Core, call: &Call) -> Result<Answer> {
    let code = |name: &str, usual: u16| match call.fields.query.get(name) {
        None => Ok(usual),
        Some(text) => text.parse::<u16>().ok().filter(|c| (200..600).contains(c)).ok_or_else(|| Error::bad_request("")),
    };
    let (active, sealed, uninitialised) = (code("activecode", 200)?, code("sealedcode", 503)?, code("uninitcode", 501)?);
    code("standbycode", 429)?;
    let status = core.seal_status();
    let open = status.initialized && !status.sealed;
    let mut document = Object::new()
        .with("initialized", status.initialized)
        .with("sealed", status.sealed)
        .with("standby", status.sealed)
        .with("performance_standby", false)
        .with("replication_performance_mode", if open { "disabled" } else { "unknown" })
        .with("replication_dr_mode", if open { "disabled" } else { "unknown" })
        .with("server_time_utc", core.clock.now().secs())
        .with("version", version::API_LEVEL)
        .with("coffer_version", version::COFFER)
        .with("enterprise", false);
    if open {
        document.insert("cluster_name", status.cluster_name);
        document.insert("cluster_id", status.cluster_id);
    }
    let audit = core.audit.health();
    if !audit.failing.is_empty() {
        let failing: Object = audit.failing.iter().map(|(path, why)| (path.as_str(), why.as_str())).collect();
        document.insert("audit_failing", failing);
    }
    if open && audit.blocked() {
        document.insert("reason", "no audit device can write a line, so no call is answered");
        return Ok(Answer { status: Some(503), ..bare(document) });
    }
    let status = match (status.initialized, status.sealed) {
        (false, _) => uninitialised,
        (true, true) => sealed,
        (true, false) => active,
    };
    Ok(Answer { status: Some(status), ..bare(document) })
}

/// The document of `sys/seal-status`, also the reply to each share.
pub(crate) fn seal_status(status: &Status) -> Object {
    let mut document = Object::new()
        .with("type", status.kind)
        .with("initialized", status.initialized)
        .with("sealed", status.sealed)
        .with("t", u32::from(status.threshold))
        .with("n", u32::from(status.shares))
        .with("progress", status.progress)
        .with("nonce", status.nonce.as_str())
        .with("version", version::API_LEVEL)
        .with("build_date", "")
        .with("commit_date", version::RELEASED)
        .with("migration", false)
        .with("recovery_seal", status.recovery_seal)
        .with("storage_type", status.storage);
    if !status.cluster_id.is_empty() {
        document.insert("cluster_name", status.cluster_name.as_str());
        document.insert("cluster_id", status.cluster_id.as_str());
    }
    document
}

fn leader(core: &Core) -> Object {
    Object::new()
        .with("ha_enabled", false)
        .with("is_self", false)
        .with("leader_address", "")
        .with("leader_cluster_address", "")
        .with("performance_standby", false)
        .with("storage_type", core.store.kind())
}

async fn init(core: &Arc<Core>, call: &Call) -> Result<Answer> {
    let body = &call.fields.body;
    for refused in ["pgp_keys", "recovery_pgp_keys", "root_token_pgp_key"] {
        if body.get(refused).is_some_and(|v| !v.is_null() && v.as_str() != Some("") && v.as_array().is_none_or(|a| !a.is_empty()))
        {
            return Err(Error::new(
                Kind::NotImplemented,
                format!("{refused} is not supported: take the shares as they are and encrypt them yourself"),
            ));
        }
    }
    let count = |name: &str| -> Result<u8> {
        let n = body.get(name).map_or(Ok(0), lenient::int)?;
        u8::try_from(n).map_err(|_| Error::bad_request(format!("invalid seal configuration: {name} must be between 0 and 255")))
    };
    let ask = match core.seal.kind() {
        SealKind::Shamir => InitAsk { shares: count("secret_shares")?, threshold: count("secret_threshold")? },
        SealKind::Static { .. } => {
            let or_one = |n: u8| if n == 0 { 1 } else { n };
            InitAsk { shares: or_one(count("recovery_shares")?), threshold: or_one(count("recovery_threshold")?) }
        }
    };
    let Initialized { shares, root_token } = core.initialize(ask).await?;
    let mut document = shares_document(&shares, if matches!(core.seal.kind(), SealKind::Shamir) { "" } else { "recovery_" });
    if matches!(core.seal.kind(), SealKind::Static { .. }) {
        document.insert("keys", Json::Array(Vec::new()));
        document.insert("keys_base64", Json::Array(Vec::new()));
    }
    document.insert("root_token", root_token.expose().as_str());
    Ok(bare(document))
}

/// Shares in hexadecimal and in base64.
pub(crate) fn shares_document(shares: &[Zeroizing<Vec<u8>>], prefix: &str) -> Object {
    let hexadecimal: Vec<String> = shares.iter().map(|s| hex::encode(&**s)).collect();
    let base64: Vec<String> = shares.iter().map(|s| STANDARD.encode(&**s)).collect();
    Object::new().with(format!("{prefix}keys"), hexadecimal).with(format!("{prefix}keys_base64"), base64)
}

/// A share as operators type it: hexadecimal or base64.
pub(crate) fn parse_share(text: &str) -> Result<Zeroizing<Vec<u8>>> {
    let bytes = hex::decode(text).ok().or_else(|| STANDARD.decode(text).ok());
    bytes.map(Zeroizing::new).ok_or_else(|| Error::bad_request("'key' must be a valid hex or base64 string"))
}

async fn unseal(core: &Arc<Core>, call: &Call) -> Result<Answer> {
    let body = &call.fields.body;
    if !core.seal.is_initialized() {
        return Err(Error::bad_request("Vault is not initialized"));
    }
    if body.get("reset").map_or(Ok(false), lenient::bool)? {
        core.reset_unseal();
        return Ok(bare(seal_status(&core.seal_status())));
    }
    let key = match body.get("key") {
        Some(Json::String(text)) if !text.as_str().is_empty() => parse_share(text.as_str())?,
        None | Some(Json::Null | Json::String(_)) => {
            return Err(Error::bad_request("'key' must be specified in request body as JSON, or 'reset' set to true"));
        }
        Some(_) => return Err(Error::bad_request("'key' must be a string")),
    };
    let status = core.unseal(&key).await?;
    Ok(bare(seal_status(&status)))
}
