//! `sys/internal/…`: what user interfaces and clients ask before they ask anything else.

use super::Sys;
use super::mounts::shown_in_ui;
use crate::policies::Compiled;
use crate::router::Mounted;
use crate::tokens::record::RECORDS;
use coffer_engine::{Ctx, Declare, MountClass, NoInput, Reply, Request};
use coffer_types::{Error, Kind, Object, Path, Result};
use std::sync::Arc;

pub(super) fn declare(d: &mut Declare<Sys>) {
    d.at("internal/ui/mounts").about("The mounts that the caller may see.").public().read(mounts);
    d.at("internal/ui/mounts/{path...}").about("The mount of a path, if the caller may see it.").public().read(mount);
    d.at("internal/ui/resultant-acl").about("What the caller's policies come to.").read(resultant_acl);
    d.at("internal/ui/namespaces").about("There are no namespaces.").public().read(namespaces);
    d.at("internal/counters/tokens").about("How many service tokens there are.").read(tokens);
    d.at("internal/counters/entities").about("How many entities there are.").read(entities);
    d.at("internal/counters/requests").about("Requests are counted by sys/metrics.").read(requests);
}

async fn compiled(cx: &Ctx<Sys>) -> Result<Option<Arc<Compiled>>> {
    let Some(principal) = cx.principal() else { return Ok(None) };
    let live = cx.engine.core()?.unsealed()?;
    live.compiled(principal, cx.now()).await.map(Some)
}

async fn mounts(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    let live = cx.engine.core()?.unsealed()?;
    let compiled = compiled(&cx).await?;
    let (mut secret, mut auth) = (Object::new(), Object::new());
    let router = live.router.load_full();
    for mounted in router.all() {
        let listed = mounted.record.tune.listing_visibility == "unauth";
        let reaches = compiled.as_ref().is_some_and(|c| c.reaches_into(&mounted.mount.path));
        if listed || reaches {
            let shown = shown_in_ui(&mounted.record, compiled.is_some());
            match mounted.record.class {
                MountClass::Engine => secret.insert(mounted.record.path.as_str(), shown),
                MountClass::Auth => auth.insert(mounted.record.path.as_str(), shown),
            };
        }
    }
    Ok(Reply::data(Object::new().with("secret", secret).with("auth", auth)))
}

/// A path inside a mount.
#[derive(Request)]
struct Inside {
    /// The path.
    #[field(path)]
    path: String,
}

async fn mount(cx: Ctx<Sys>, ask: Inside) -> Result<Reply> {
    // Without a token there is nothing to see, not even whether there is something.
    let compiled = compiled(&cx).await?.ok_or_else(Error::denied)?;
    let live = cx.engine.core()?.unsealed()?;
    let router = live.router.load_full();
    let found: Option<&Arc<Mounted>> = Path::parse(&ask.path).ok().as_ref().and_then(|p| router.resolve(p).map(|(m, _)| m));
    let refused = || {
        let path = ask.path.trim_end_matches('/');
        let text =
            format!("preflight capability check returned 403, please ensure client's policies grant access to path \"{path}/\"");
        Error::new(Kind::Denied, text)
    };
    let mounted = found.filter(|m| compiled.reaches_into(&m.mount.path)).ok_or_else(refused)?;
    let shown = shown_in_ui(&mounted.record, true).with("path", mounted.mount.path.as_ref());
    Ok(Reply::data(shown))
}

async fn resultant_acl(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    let compiled = compiled(&cx).await?.ok_or_else(Error::denied)?;
    if compiled.is_root() {
        return Ok(Reply::data(Object::new().with("root", true)));
    }
    let (mut exact, mut globs) = (Object::new(), Object::new());
    for rule in compiled.rules() {
        let capabilities: Vec<&str> = rule.capabilities.iter().map(crate::policy::Capability::as_str).collect();
        let text = rule.pattern.to_string();
        let shown = Object::new().with("capabilities", capabilities);
        match &rule.pattern {
            crate::policy::Pattern::Exact(_) => exact.insert(text, shown),
            _ => globs.insert(text.trim_end_matches('*').to_owned(), shown),
        };
    }
    Ok(Reply::data(Object::new().with("root", false).with("exact_paths", exact).with("glob_paths", globs)))
}

async fn namespaces(_cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    Ok(Reply::data(Object::new().with("keys", Vec::<String>::new())))
}

async fn tokens(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    let total = crate::listing::count(&cx.view, RECORDS).await?;
    let counters = Object::new().with("service_tokens", Object::new().with("total", total));
    Ok(Reply::data(Object::new().with("counters", counters)))
}

async fn entities(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    let total = cx.view.children(crate::identity::record::ENTITIES, None, usize::MAX).await?.len();
    let counters = Object::new().with("entities", Object::new().with("total", total));
    Ok(Reply::data(Object::new().with("counters", counters)))
}

async fn requests(_cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    Ok(Reply::data(Object::new().with("counters", Vec::<String>::new())))
}
