//! What the store keeps of audit devices: the ones that were enabled over the API, and a salt for each device, so that a
//! value's HMAC stays the same over restarts.

use crate::audit::{AuditDeviceSpec, Origin, Salt};
use crate::core::Core;
use coffer_engine::view::{Record, View};
use coffer_types::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use zeroize::Zeroizing;

/// `core/audit/device/<path>`: a device of the API.
pub const DEVICES: &str = "core/audit/device/";
/// `core/audit/salt/<path>`: the salt of a device of the configuration.
pub const SALTS: &str = "core/audit/salt/";

/// A device of the API.
#[derive(Serialize, Deserialize)]
pub struct DeviceRecord {
    pub path: String,
    pub kind: String,
    pub description: String,
    pub options: BTreeMap<String, String>,
    pub salt: Zeroizing<[u8; 32]>,
}

impl Record for DeviceRecord {
    const FORMAT: u8 = 1;
}

/// A salt by itself.
#[derive(Serialize, Deserialize)]
pub struct SaltRecord {
    pub salt: Zeroizing<[u8; 32]>,
}

impl Record for SaltRecord {
    const FORMAT: u8 = 1;
}

/// The barrier has opened: devices of the store come into use, those of the configuration get their salts.
pub async fn restore(core: &Arc<Core>, view: &View) -> Result<()> {
    for key in view.keys(DEVICES, None, usize::MAX).await? {
        if let Some(device) = view.get::<DeviceRecord>(&key).await? {
            let spec = AuditDeviceSpec::new(&device.path, &device.kind, &device.description, device.options)?;
            core.audit.restore(spec, &Salt::from_bytes(*device.salt))?;
        }
    }
    for listed in core.audit.list() {
        if listed.origin == Origin::Configuration {
            let key = format!("{SALTS}{}", listed.spec.path.trim_matches('/'));
            let salt = match view.get::<SaltRecord>(&key).await? {
                Some(found) => Salt::from_bytes(*found.salt),
                None => {
                    let salt = Salt::generate(&*core.random);
                    view.put(&key, &SaltRecord { salt: Zeroizing::new(*salt.bytes()) })?;
                    salt
                }
            };
            core.audit.set_salt(&listed.spec.path, &salt);
        }
    }
    Ok(())
}
