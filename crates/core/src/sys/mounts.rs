//! `sys/mounts`, `sys/auth`: what stands where, and its tuning.

mod ask;
mod go;
mod show;

pub(crate) use go::finish_removals;
pub(crate) use show::shown_in_ui;

use super::Sys;
use crate::core::Core;
use crate::leases::sweep::{self, Sweep};
use crate::mounts::{self, MountRecord, Tune};
use ask::{Enable, Named, TuneAsk};
use coffer_engine::{Ctx, Declare, MountClass, NoInput, Reply};
use coffer_types::{Error, MountPath, Object, Result, Span};
use std::sync::Arc;

pub(super) fn declare(d: &mut Declare<Sys>) {
    d.at("mounts").about("The secrets engines.").read(list_engines);
    d.at("mounts/{path...}")
        .about("A secrets engine.")
        .plain(PLAIN)
        .read(read_engine)
        .write(enable_engine)
        .delete(disable_engine);
    d.at("mounts/{path...}/tune").about("How a secrets engine is tuned.").plain(PLAIN).read(read_engine_tune).write(tune_engine);
    d.at("auth").about("The auth methods.").read(list_auth);
    d.at("auth/{path...}").about("An auth method.").sudo().plain(PLAIN).read(read_auth).write(enable_auth).delete(disable_auth);
    d.at("auth/{path...}/tune").about("How an auth method is tuned.").sudo().plain(PLAIN).read(read_auth_tune).write(tune_auth);
}

const PLAIN: &[&str] = &["type"];
/// Paths that are the server's own.
const RESERVED: [&str; 6] = ["sys/", "auth/", "cubbyhole/", "identity/", "audit/", "projects/"];

async fn list_engines(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    list(&cx, MountClass::Engine).await
}

async fn list_auth(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    list(&cx, MountClass::Auth).await
}

async fn list(cx: &Ctx<Sys>, class: MountClass) -> Result<Reply> {
    let all = mounts::load(&cx.view).await?;
    let shown = all.iter().filter(|m| m.class == class && !m.going).map(|m| (m.path.as_str(), show::record(m)));
    Ok(Reply::data(shown.collect::<Object>()).mirrored())
}

async fn find(cx: &Ctx<Sys>, class: MountClass, path: &str) -> Result<Option<MountRecord>> {
    let Ok(path) = MountPath::parse(path) else { return Ok(None) };
    Ok(mounts::find(&cx.view, class, &path).await?.filter(|m| !m.going))
}

async fn read_engine(cx: Ctx<Sys>, ask: Named) -> Result<Reply> {
    let found = find(&cx, MountClass::Engine, &ask.path).await?;
    let found = found.ok_or_else(|| Error::bad_request(format!("No secret engine mount at {}/", ask.path.trim_matches('/'))))?;
    Ok(Reply::data(show::record(&found)).mirrored())
}

async fn read_auth(cx: Ctx<Sys>, ask: Named) -> Result<Reply> {
    let found = find(&cx, MountClass::Auth, &ask.path).await?;
    let found = found.ok_or_else(|| Error::bad_request(format!("No auth engine at {}/", ask.path.trim_matches('/'))))?;
    Ok(Reply::data(show::record(&found)).mirrored())
}

async fn enable_engine(cx: Ctx<Sys>, ask: Enable) -> Result<Reply> {
    enable(&cx, MountClass::Engine, ask).await
}

async fn enable_auth(cx: Ctx<Sys>, ask: Enable) -> Result<Reply> {
    enable(&cx, MountClass::Auth, ask).await
}

async fn enable(cx: &Ctx<Sys>, class: MountClass, ask: Enable) -> Result<Reply> {
    let core = cx.engine.core()?;
    if ask.kind.is_empty() {
        return Err(Error::bad_request("backend type must be specified as a string"));
    }
    let path = MountPath::parse(&ask.path)?;
    refuse_reserved(class, &path, "mount")?;
    let (kind, version) = match (class, ask.kind.as_str()) {
        (MountClass::Engine, "kv-v2") => ("kv", Some("2")),
        (MountClass::Engine, "kv-v1" | "generic") => ("kv", Some("1")),
        (MountClass::Engine, "sys" | "system" | "cubbyhole" | "identity") => {
            return Err(Error::bad_request(format!("mount type of {:?} is not mountable", ask.kind)));
        }
        (MountClass::Auth, "token") => return Err(Error::bad_request("token credential backend cannot be instantiated")),
        (_, kind) => (kind, None),
    };
    let mut record = core.new_mount(class, path.as_str(), kind, &ask.description);
    record.options = ask.options;
    if let Some(version) = version {
        record.options.insert("version".to_owned(), version.to_owned());
    }
    if core.registry.find(class, kind, record.options.get("version").map(String::as_str)).is_none() {
        return Err(Error::bad_request(format!("plugin not found in the catalog: {}", ask.kind)));
    }
    record.local = ask.local;
    record.seal_wrap = ask.seal_wrap;
    record.external_entropy_access = ask.external_entropy_access;
    ask.config.apply(&mut record.tune, &core, None)?;
    // A bad option is refused by the engine itself before anything is stored.
    crate::live::mount(&core, record.clone())?;
    mounts::add(&cx.view, &record).await?;
    Ok(Reply::empty())
}

pub(super) fn refuse_reserved(class: MountClass, path: &MountPath, verb: &str) -> Result<()> {
    let text = path.as_str();
    let reserved = class == MountClass::Engine && RESERVED.iter().any(|r| text.starts_with(r));
    if reserved { Err(Error::bad_request(format!("cannot {verb} {text:?}"))) } else { Ok(()) }
}

async fn disable_engine(cx: Ctx<Sys>, ask: Named) -> Result<Reply> {
    let Ok(path) = MountPath::parse(&ask.path) else { return Ok(Reply::empty()) };
    refuse_reserved(MountClass::Engine, &path, "unmount")?;
    disable(&cx, MountClass::Engine, &path).await
}

async fn disable_auth(cx: Ctx<Sys>, ask: Named) -> Result<Reply> {
    let Ok(path) = MountPath::parse(&ask.path) else { return Ok(Reply::empty()) };
    if path.as_str() == "token/" {
        return Err(Error::bad_request("token credential backend cannot be disabled"));
    }
    disable(&cx, MountClass::Auth, &path).await
}

/// From this commit on the mount does not answer. Its leases and its data go after it; see [`go`].
async fn disable(cx: &Ctx<Sys>, class: MountClass, path: &MountPath) -> Result<Reply> {
    let core = cx.engine.core()?;
    let live = core.unsealed()?;
    let Some(mut record) = mounts::find(&cx.view, class, path).await?.filter(|m| !m.going) else { return Ok(Reply::empty()) };
    // What only the engine can revoke is revoked while it still answers.
    if let Some(refused) = sweep::run_now(&core, &live, &Sweep::of_mount(&record, cx.now())).await? {
        return Err(refused.into_error());
    }
    record.going = true;
    mounts::update(&cx.view, &record).await?;
    crate::quotas::follow_mount(&cx.view, &record.whole_path(), None).await?;
    Ok(Reply::empty())
}

async fn read_engine_tune(cx: Ctx<Sys>, ask: Named) -> Result<Reply> {
    let (class, path) = tuned(&ask.path);
    read_tune(&cx, class, path).await
}

/// Vault's command line tunes auth methods below `sys/mounts/auth/`.
fn tuned(path: &str) -> (MountClass, &str) {
    match path.strip_prefix("auth/") {
        Some(path) => (MountClass::Auth, path),
        None => (MountClass::Engine, path),
    }
}

async fn read_auth_tune(cx: Ctx<Sys>, ask: Named) -> Result<Reply> {
    read_tune(&cx, MountClass::Auth, &ask.path).await
}

fn no_view(class: MountClass, path: &str) -> Error {
    let auth = if class == MountClass::Auth { "auth/" } else { "" };
    Error::bad_request(format!("cannot fetch sysview for path \"{auth}{}/\"", path.trim_matches('/')))
}

async fn read_tune(cx: &Ctx<Sys>, class: MountClass, path: &str) -> Result<Reply> {
    let core = cx.engine.core()?;
    let record = find(cx, class, path).await?.ok_or_else(|| no_view(class, path))?;
    Ok(Reply::data(show::tune(&record, &core)).mirrored())
}

async fn tune_engine(cx: Ctx<Sys>, mut ask: TuneAsk) -> Result<Reply> {
    let (class, path) = tuned(&ask.path);
    ask.path = path.to_owned();
    tune(&cx, class, ask).await
}

async fn tune_auth(cx: Ctx<Sys>, ask: TuneAsk) -> Result<Reply> {
    tune(&cx, MountClass::Auth, ask).await
}

async fn tune(cx: &Ctx<Sys>, class: MountClass, ask: TuneAsk) -> Result<Reply> {
    let core = cx.engine.core()?;
    let mut record = find(cx, class, &ask.path).await?.ok_or_else(|| no_view(class, &ask.path))?;
    let description = ask.description.clone();
    let options = ask.options.clone();
    if ask.user_lockout_config.is_some() && !crate::lockout::KINDS.contains(&record.kind.as_str()) {
        let message = format!("tuning of user lockout configuration for auth type \"{}\" not allowed", record.kind);
        return Err(Error::bad_request(message));
    }
    ask.fields().apply(&mut record.tune, &core, Some(class))?;
    if let Some(description) = description {
        record.description = description;
    }
    let mut upgraded = false;
    if let Some(options) = options {
        upgraded = change_options(&core, &mut record, options)?;
    }
    mounts::update(&cx.view, &record).await?;
    let reply = Reply::empty();
    Ok(if upgraded {
        reply
            .status(200)
            .warn("Upgrading mount from version 1 to version 2. This mount stays readable while its data is converted.")
    } else {
        reply
    })
}

/// Options that may change: a KV mount's version, upwards. Gives back whether it did.
fn change_options(
    core: &Arc<Core>,
    record: &mut MountRecord,
    options: std::collections::BTreeMap<String, String>,
) -> Result<bool> {
    let was = record.options.get("version").cloned();
    for (name, value) in options {
        if name == "version" && record.kind == "kv" {
            match (was.as_deref().unwrap_or("1"), value.as_str()) {
                ("2", "1") => return Err(Error::bad_request("cannot downgrade mount from version 2")),
                (_, "1" | "2") => {}
                _ => return Err(Error::bad_request("unknown or unsupported version of the kv engine: 1 or 2")),
            }
        }
        record.options.insert(name, value);
    }
    let upgraded =
        record.kind == "kv" && was.as_deref().unwrap_or("1") == "1" && record.options.get("version").is_some_and(|v| v == "2");
    crate::live::mount(core, record.clone())?;
    Ok(upgraded)
}

/// The TTLs of a mount after a change hold together.
fn check_ttls(tune: &Tune, core: &Core) -> Result<()> {
    let or = |own: Span, system: Span| if own.is_zero() { system } else { own };
    let max = or(tune.max_lease_ttl, core.config.max_lease_ttl);
    if !tune.default_lease_ttl.is_zero() && tune.default_lease_ttl > max {
        let message = format!(
            "backend max lease TTL of {} would be less than backend default lease TTL of {}",
            max.secs(),
            tune.default_lease_ttl.secs()
        );
        return Err(Error::bad_request(message));
    }
    Ok(())
}
