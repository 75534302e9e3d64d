//! `sys/plugins/…`: the engines and auth methods that are built in. There are no others: nothing is executed from disk.

use super::Sys;
use coffer_engine::{Ctx, Declare, MountClass, NoInput, Reply, Request};
use coffer_types::{Error, Json, Kind, Object, Result, version};

pub(super) fn declare(d: &mut Declare<Sys>) {
    d.at("plugins/catalog").about("What can be mounted.").read(all).list(all);
    // One segment is a kind to list, or in the oldest form a name to read.
    d.at("plugins/catalog/{kind}")
        .about("What can be mounted of one kind.")
        .sudo()
        .list(of_kind)
        .read(by_name)
        .write(register)
        .delete(register);
    d.at("plugins/catalog/{kind}/{name}").about("One that can be mounted.").sudo().read(one).write(register).delete(register);
    d.at("plugins/reload/backend").about("Nothing is ever loaded, so nothing is reloaded.").sudo().write(reload);
}

/// A kind of plugin.
#[derive(Request)]
struct OfKind {
    /// `secret`, `auth` or `database`.
    #[field(path)]
    kind: String,
}

/// A plugin.
#[derive(Request)]
struct One {
    /// `secret`, `auth` or `database`.
    #[field(path)]
    kind: String,
    /// Its name.
    #[field(path)]
    name: String,
}

fn class(kind: &str) -> Option<MountClass> {
    match kind {
        "secret" => Some(MountClass::Engine),
        "auth" => Some(MountClass::Auth),
        _ => None,
    }
}

fn names(cx: &Ctx<Sys>, wanted: MountClass) -> Result<Vec<String>> {
    let core = cx.engine.core()?;
    let mut names: Vec<String> = core.registry.all().filter(|(c, _)| *c == wanted).map(|(_, f)| f.kind().to_owned()).collect();
    names.retain(|n| !["cubbyhole", "identity"].contains(&n.as_str()));
    names.sort();
    names.dedup();
    Ok(names)
}

fn built_in() -> String {
    format!("v{}+builtin.coffer", version::COFFER)
}

async fn all(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    let (secret, auth) = (names(&cx, MountClass::Engine)?, names(&cx, MountClass::Auth)?);
    let detail = |kind: &'static str| {
        move |name: &String| {
            Object::new()
                .with("builtin", true)
                .with("deprecation_status", "supported")
                .with("name", name.as_str())
                .with("type", kind)
                .with("version", built_in())
        }
    };
    let detailed: Vec<Object> = auth.iter().map(detail("auth")).chain(secret.iter().map(detail("secret"))).collect();
    let shown =
        Object::new().with("auth", auth).with("database", Vec::<String>::new()).with("secret", secret).with("detailed", detailed);
    Ok(Reply::data(shown).mirrored())
}

async fn of_kind(cx: Ctx<Sys>, ask: OfKind) -> Result<Reply> {
    match class(&ask.kind) {
        Some(class) => Ok(Reply::data(Object::new().with("keys", names(&cx, class)?))),
        None if ask.kind == "database" => Ok(Reply::list(Vec::new())),
        None => Err(Error::bad_request("unsupported plugin type: secret, auth or database")),
    }
}

async fn by_name(cx: Ctx<Sys>, ask: OfKind) -> Result<Reply> {
    for kind in ["secret", "auth"] {
        if let Some(class) = class(kind)
            && names(&cx, class)?.contains(&ask.kind)
        {
            return Ok(Reply::data(show(&ask.kind)).mirrored());
        }
    }
    Err(Error::not_found())
}

fn show(name: &str) -> Object {
    Object::new()
        .with("args", Vec::<String>::new())
        .with("builtin", true)
        .with("command", "")
        .with("deprecation_status", "supported")
        .with("name", name)
        .with("sha256", "")
        .with("version", built_in())
}

async fn one(cx: Ctx<Sys>, ask: One) -> Result<Reply> {
    let class = class(&ask.kind).ok_or_else(|| Error::bad_request("unsupported plugin type: secret, auth or database"))?;
    if names(&cx, class)?.contains(&ask.name) { Ok(Reply::data(show(&ask.name)).mirrored()) } else { Err(Error::not_found()) }
}

async fn register(_cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    let text = "plugins are not supported: every engine is part of the program, and nothing is executed from disk";
    Err(Error::new(Kind::NotImplemented, text))
}

/// Reload a plugin, or the mounts of it.
#[derive(Request)]
struct Reload {
    /// The plugin.
    #[field(default)]
    plugin: String,
    /// The mounts.
    #[field(default)]
    mounts: Vec<String>,
}

async fn reload(_cx: Ctx<Sys>, ask: Reload) -> Result<Reply> {
    match (ask.plugin.is_empty(), ask.mounts.is_empty()) {
        (true, true) => return Err(Error::bad_request("plugin or mounts must be provided")),
        (false, false) => return Err(Error::bad_request("plugin and mounts cannot be set at the same time")),
        _ => {}
    }
    Ok(Reply::data(Object::new().with("reload_id", Json::from(""))))
}
