//! `sys/policies/explain`: which rule of which policy decided, and why others did not.

use super::Sys;
use crate::identity::Identity;
use crate::leases::end::standing;
use crate::policies::{asked_path, compile_named};
use crate::policy::{Ask as PolicyAsk, NoParameters, Parameters};
use crate::router::Router;
use crate::tokens::authenticate::{entity, principal};
use crate::tokens::issue::normal_policies;
use coffer_engine::{Ctx, Declare, Reply, Request};
use coffer_types::{Error, Kind, Object, Operation, Path, Result, Secret, Span};
use std::sync::Arc;

pub(super) fn declare(d: &mut Declare<Sys>) {
    d.at("policies/explain").about("Which rule decides on an operation on a path, and why.").plain(PLAIN).write(explain);
}

const PLAIN: &[&str] = &["path", "operation", "policies", "accessor", "wrap_ttl"];

/// Ask why.
#[derive(Request)]
struct Ask {
    /// The path below /v1/.
    #[field(default)]
    path: String,
    /// create, read, update, patch, delete, list or scan.
    #[field(default = "read".to_owned())]
    operation: String,
    /// A token; one that is not the caller's own needs sudo.
    token: Option<Secret<String>>,
    /// The accessor of a token; needs sudo.
    accessor: Option<String>,
    /// Policies instead of a token; needs sudo.
    policies: Option<Vec<String>>,
    /// The fields that the call would have.
    parameters: Option<Object>,
    /// The TTL of the response wrapping that the call would ask for.
    wrap_ttl: Option<Span>,
}

async fn explain(cx: Ctx<Sys>, ask: Ask) -> Result<Reply> {
    let path = ask.path.trim_start_matches('/');
    let path = path.strip_prefix("v1/").unwrap_or(path);
    if path.is_empty() {
        return Err(Error::bad_request("path must be supplied: the one below /v1/, like secret/data/app"));
    }
    let operation = Operation::parse(&ask.operation)
        .filter(|op| *op != Operation::Help)
        .ok_or_else(|| Error::bad_request("operation must be create, read, update, patch, delete, list or scan"))?;
    let (policies, identity, of) = policies(&cx, &ask).await?;
    let compiled = compile_named(&cx.view, &policies, identity.as_deref(), cx.now()).await?;
    let live = cx.engine.core()?.unsealed()?;
    let router = live.router.load_full();
    let kv2: Vec<&str> =
        router.all().filter(|m| m.record.options.get("version").is_some_and(|v| v == "2")).map(|m| &*m.mount.path).collect();
    let asked = asked_path(operation, path);
    let (public, sudo) = route(&router, operation, path)?;
    let mut shown = {
        let parameters: &dyn Parameters = ask.parameters.as_ref().map_or(&NoParameters as &dyn Parameters, |p| p);
        let question = PolicyAsk { operation, path: &asked, parameters, wrap_ttl: ask.wrap_ttl, sudo };
        let mut explanation = compiled.explain(&question, &kv2);
        if public {
            explanation.allowed = true;
            explanation.because = "the route answers everyone, whatever policies say".to_owned();
            explanation.hints.clear();
        }
        explanation.to_json()
    };
    shown.insert("path", &*asked);
    shown.insert("operation", operation.as_str());
    shown.insert("policies", policies.iter().map(|p| &**p).collect::<Vec<_>>());
    shown.insert("of", of);
    let missing: Vec<&str> = {
        let mut missing = Vec::new();
        for policy in policies.iter() {
            if !crate::policies::exists(&cx.view, policy).await? {
                missing.push(&**policy);
            }
        }
        missing
    };
    shown.insert("missing_policies", missing);
    Ok(Reply::data(shown))
}

/// Whether the route there answers without a token, and whether it asks for sudo besides: both are part of the decision on a real call.
fn route(router: &Router, operation: Operation, path: &str) -> Result<(bool, bool)> {
    let path = Path::parse(path).map_err(|_| Error::bad_request("the path is not one that a call could have"))?;
    // Routes know a create as the update of what is not there yet.
    let operation = if operation == Operation::Create { Operation::Update } else { operation };
    let Some((mounted, inside)) = router.resolve(&path) else { return Ok((false, false)) };
    let found = mounted.engine.routes().find(inside, operation);
    Ok(found.map_or((false, false), |found| (found.endpoint.public, found.endpoint.sudo)))
}

/// The names of policies, the identity that fills their templates, and a word for whose they are.
type Whose = (Arc<[Box<str>]>, Option<Arc<Identity>>, &'static str);

/// Whose policies: the caller's own, or, with sudo on this path, those of another token or a set by name.
async fn policies(cx: &Ctx<Sys>, ask: &Ask) -> Result<Whose> {
    let own = cx.principal().ok_or_else(Error::denied)?;
    let live = cx.engine.core()?.unsealed()?;
    let sudo = || {
        let allowed = cx.host().has_sudo(Operation::Update, "sys/policies/explain");
        if allowed { Ok(()) } else { Err(crate::decide::refused()) }
    };
    let own_identity = async || match &*own.entity_id {
        "" => Ok(None),
        id => live.identities.get(&live.barrier, id).await,
    };
    if let Some(names) = &ask.policies {
        sudo()?;
        let names: Arc<[Box<str>]> = normal_policies(names, false).iter().map(|n| n.as_str().into()).collect();
        return Ok((names, None, "policies"));
    }
    let other = match (&ask.token, &ask.accessor) {
        (Some(text), _) if crate::tokens::engine::own_text(cx)? == text.expose() => {
            return Ok((own.policies.clone(), own_identity().await?, "self"));
        }
        (Some(text), _) => {
            sudo()?;
            let text = text.expose();
            let batch = text.starts_with(crate::tokens::batch::PREFIX);
            let found = if batch { live.batch.open(text) } else { live.tokens.get(&cx.view, text).await? };
            let found = standing(&live.tokens, &cx.view, found, cx.now()).await?;
            found.ok_or_else(|| Error::bad_request("1 error occurred:\n\t* invalid token\n\n"))?
        }
        (None, Some(accessor)) => {
            sudo()?;
            let found = live.tokens.by_accessor(&cx.view, accessor).await?;
            let found = standing(&live.tokens, &cx.view, found, cx.now()).await?;
            found.ok_or_else(|| Error::bad_request("1 error occurred:\n\t* invalid accessor\n\n"))?
        }
        (None, None) => return Ok((own.policies.clone(), own_identity().await?, "self")),
    };
    let refused =
        |e: Error| if e.kind() == Kind::Denied { Error::bad_request("the entity of that token is disabled or gone") } else { e };
    let identity = entity(&live, &other).await.map_err(refused)?;
    Ok((principal(&other, identity.as_deref()).policies, identity, "token"))
}
