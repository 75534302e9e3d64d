//! `sys/audit`, `sys/audit-hash`: devices over the API, where the configuration lets it.

use super::Sys;
use crate::audit::{AuditDeviceSpec, Salt};
use crate::audit_store::{DEVICES, DeviceRecord};
use crate::core::{Core, Mode};
use coffer_engine::{Ctx, Declare, NoInput, Reply, Request};
use coffer_types::{Error, Json, Kind, Object, Result};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

pub(super) fn declare(d: &mut Declare<Sys>) {
    d.at("audit").about("The audit devices.").sudo().read(list);
    d.at("audit/{path...}").about("An audit device.").sudo().plain(&["type"]).write(enable).delete(disable);
    d.at("audit-hash/{path...}").about("The HMAC that a device's lines show for a text.").write(hash);
}

/// Enable an audit device.
#[derive(Request)]
struct Enable {
    /// Its name.
    #[field(path)]
    path: String,
    /// `file`, `socket` or `syslog`.
    #[field(rename = "type", default)]
    kind: String,
    /// A note for people.
    #[field(default)]
    description: String,
    /// The device's own options.
    #[field(default)]
    options: BTreeMap<String, String>,
    /// Kept for clients: every device is a node's own.
    #[field(rename = "local", default)]
    _local: bool,
}

/// A device by its name.
#[derive(Request)]
struct Named {
    /// Its name.
    #[field(path)]
    path: String,
}

/// A text to hash.
#[derive(Request)]
struct Hash {
    /// The device.
    #[field(path)]
    path: String,
    /// The text.
    input: Option<coffer_types::json::Text>,
}

async fn list(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    let core = cx.engine.core()?;
    let shown = core.audit.list().into_iter().map(|device| {
        let spec = device.spec;
        let options: Object = spec.options.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let shown = Object::new()
            .with("description", spec.description)
            .with("local", spec.local)
            .with("options", Json::Object(options))
            .with("path", spec.path.as_str())
            .with("type", spec.kind);
        (spec.path, Json::Object(shown))
    });
    Ok(Reply::data(shown.collect::<Object>()).mirrored())
}

/// A device writes files as the server: whoever may enable one over the API may write where the server may (CVE-2025-6000).
fn allowed(core: &Core) -> Result<()> {
    if core.config.allow_api_audit || core.config.mode == Mode::Dev {
        return Ok(());
    }
    let text = "audit devices are declared in the configuration (audit \"file\" \"name\" { options { file_path = … } }); over the API only with unsafe_allow_api_audit_creation = true";
    Err(Error::new(Kind::BadRequest, text))
}

async fn enable(cx: Ctx<Sys>, ask: Enable) -> Result<Reply> {
    let core = cx.engine.core()?;
    allowed(&core)?;
    let spec = AuditDeviceSpec::new(&ask.path, &ask.kind, &ask.description, ask.options)?;
    let salt = Salt::generate(&*core.random);
    let key = key(&spec.path);
    if cx.view.exists(&key).await? {
        return Err(Error::bad_request("path already in use"));
    }
    let record = DeviceRecord {
        path: spec.path.clone(),
        kind: spec.kind.clone(),
        description: spec.description.clone(),
        options: spec.options.clone(),
        salt: Zeroizing::new(*salt.bytes()),
    };
    // In use before it is stored: should the commit fail, a device too many writes lines until the next start,
    // never one too few.
    core.audit.enable(spec, &salt).await?;
    cx.view.put(&key, &record)?;
    Ok(Reply::empty())
}

fn key(path: &str) -> String {
    format!("{DEVICES}{}", path.trim_matches('/'))
}

async fn disable(cx: Ctx<Sys>, ask: Named) -> Result<Reply> {
    let core = cx.engine.core()?;
    // The record goes even if the device is gone from memory: this handler may be run again after a conflict.
    core.audit.disable(&ask.path)?;
    cx.view.delete(&key(&ask.path));
    Ok(Reply::empty())
}

async fn hash(cx: Ctx<Sys>, ask: Hash) -> Result<Reply> {
    let input = ask.input.ok_or_else(|| Error::bad_request("the 'input' parameter is empty"))?;
    let hash = cx.engine.core()?.audit.hash(&ask.path, input.as_str())?;
    Ok(Reply::data(Object::new().with("hash", hash)).mirrored())
}
