//! `identity/`: entities, aliases and groups, called like an engine.

mod alias;
mod enforcement;
mod entity;
mod group;
mod group_alias;
mod lookup;
mod merge;
mod mfa;
mod show;

use super::mfa::pending::sweep;
use super::store::IdentityStore;
use crate::core::Core;
use crate::live::Unsealed;
use crate::tokens::issue::normal_policies;
use crate::tokens::record::ROOT_POLICY;
use coffer_engine::{Ctx, Declare, Engine, Mount};
use coffer_types::{Error, Result};
use std::sync::{Arc, Weak};

/// The engine at `identity/`. Its view is the whole barrier, since logins and tokens act on the same records.
pub struct IdentityEngine {
    core: Weak<Core>,
}

impl IdentityEngine {
    pub fn new(core: Weak<Core>) -> Self {
        Self { core }
    }

    pub fn core(&self) -> Result<Arc<Core>> {
        self.core.upgrade().ok_or_else(|| Error::internal("the server is shutting down"))
    }

    pub fn live(&self) -> Result<Unsealed> {
        self.core()?.unsealed()
    }
}

impl Engine for IdentityEngine {
    const KIND: &'static str = "identity";

    fn open(_: &Mount) -> Result<Self> {
        Err(Error::internal("identity is mounted by the server itself"))
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Who principals are: entities, their aliases, groups, second factors.");
        entity::declare(d);
        merge::declare(d);
        alias::declare(d);
        group::declare(d);
        group_alias::declare(d);
        lookup::declare(d);
        mfa::declare(d);
        enforcement::declare(d);
        crate::identity::oidc::declare(d);
        d.beat(|cx: Ctx<Self>| async move { Ok(sweep(&cx.view, cx.now()).await? | crate::identity::oidc::beat(cx).await?) });
    }
}

/// A handler's context with what every handler here needs.
pub(in crate::identity) struct Of {
    pub(in crate::identity) cx: Ctx<IdentityEngine>,
    pub(in crate::identity) core: Arc<Core>,
    pub(in crate::identity) live: Unsealed,
}

impl Of {
    pub(in crate::identity) fn new(cx: Ctx<IdentityEngine>) -> Result<Self> {
        let core = cx.engine.core()?;
        let live = core.unsealed()?;
        Ok(Self { cx, core, live })
    }

    pub(in crate::identity) fn store(&self) -> &IdentityStore {
        &self.live.identities.store
    }

    fn new_id(&self) -> String {
        coffer_crypto::random::uuid(&*self.core.random)
    }

    /// Is there a mount with this accessor, and is it local to its cluster?
    fn mount_is_local(&self, accessor: &str) -> Result<bool> {
        let router = self.live.router.load();
        let mounted = router.by_accessor(accessor);
        mounted.map(|m| m.record.local).ok_or_else(|| Error::bad_request(format!("invalid mount accessor {accessor:?}")))
    }
}

/// Policies that an entity or a group is to have. Whoever may write here may hand out any policy but root: that comes from
/// a root token alone.
fn assignable(policies: &[String]) -> Result<Vec<String>> {
    let policies = normal_policies(policies, false);
    if policies.iter().any(|p| p == ROOT_POLICY) {
        return Err(Error::bad_request("policies cannot contain root"));
    }
    Ok(policies)
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_engine::MountClass;
    use coffer_engine::declare::Declared;
    use coffer_engine::openapi::{Document, Mounted};
    use coffer_engine::route::Factory;
    use coffer_types::Json;
    use coffer_types::json::{Limits, parse};

    /// Every recorded path below `identity/` but those of the token issuer: method, fields with their types, marks.
    #[test]
    fn the_recorded_surface_is_declared() {
        let declared = Declared::<IdentityEngine>::new().unwrap();
        let mut document = Document::new(false);
        let routes = declared.routes();
        document.add(&Mounted { class: MountClass::Engine, path: "identity/", kind: "identity", routes });
        let document = document.finish();
        let surface = concat!(env!("CARGO_MANIFEST_DIR"), "/../../clients/golden/vault-surface.jsonl");
        let (mut compared, mut faults) = (0, Vec::new());
        for line in std::fs::read_to_string(surface).unwrap().lines() {
            let row = parse(line.as_bytes(), &Limits::NONE).unwrap();
            let path = row.get("path").and_then(Json::as_str).unwrap();
            if !path.starts_with("/identity/") || path.starts_with("/identity/oidc") {
                continue;
            }
            // Their fields mean nothing to a server that does not support them.
            if ["duo", "okta", "pingid"].iter().any(|kind| path.starts_with(&format!("/identity/mfa/method/{kind}"))) {
                continue;
            }
            compared += 1;
            let method = row.get("method").and_then(Json::as_str).unwrap().to_lowercase();
            let at = format!("{method} {path}");
            let item = document.get("paths").and_then(|p| p.get(path));
            let Some((item, operation)) = item.and_then(|item| Some((item, item.get(&method)?))) else {
                faults.push(format!("{at} is missing"));
                continue;
            };
            for (mark, shown) in [("sudo", "x-vault-sudo"), ("unauthenticated", "x-vault-unauthenticated")] {
                let flag = |of: &Json, name: &str| of.get(name).and_then(Json::as_bool).unwrap_or_default();
                if flag(&row, mark) != flag(item, shown) {
                    faults.push(format!("{at}: {mark}"));
                }
            }
            let schema = operation
                .at("requestBody/content")
                .and_then(|c| c.get("application/json")?.get("schema")?.get("$ref")?.as_str())
                .and_then(|name| document.get("components")?.get("schemas")?.get(name.strip_prefix("#/components/schemas/")?));
            for (name, kind) in row.get("fields").and_then(Json::as_object).unwrap().iter() {
                let field = schema.and_then(|s| s.get("properties")?.get(name));
                let shown = field.and_then(|f| f.get("format").or_else(|| f.get("type"))).and_then(Json::as_str);
                // Maps of texts are maps here.
                let recorded = kind.as_str().map(|kind| if kind == "kvpairs" { "map" } else { kind });
                if shown != recorded {
                    faults.push(format!("{at}: {name} is {shown:?}, recorded {recorded:?}"));
                }
            }
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        assert_eq!(compared, 55);
    }
}
