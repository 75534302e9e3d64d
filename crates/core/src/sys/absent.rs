//! What Vault's API names and this server does not have: answered as a server without it answers, or with what stands in
//! its place, so that clients learn it from the reply and not from a guess.

use super::Sys;
use crate::live::Unsealed;
use crate::router::Mounted;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use coffer_engine::{Ctx, Declare, MountClass, NoInput, Reply, Request};
use coffer_types::{Error, Kind, Object, Result, Secret};
use zeroize::Zeroizing;

pub(super) fn declare(d: &mut Declare<Sys>) {
    let keys = "Keys that stay in a device outside; not built.";
    d.at("external-keys/configs").about(keys).list(nothing);
    d.at("external-keys/configs/{config...}")
        .about(keys)
        .read(external)
        .write(external)
        .patch(external)
        .delete(external)
        .list(nothing);
    let workflows = "Sequences of calls under one name; not built.";
    d.at("workflows/manage").about(workflows).list(nothing);
    d.at("workflows/manage/{path...}").about(workflows).read(missing).write(workflow).delete(workflow).list(nothing);
    d.at("workflows/execute/{path...}").about(workflows).write(workflow);
    d.at("workflows/trace/{path...}").about(workflows).write(workflow);
    let groups = "Approval by others before a call; not built.";
    d.at("control-group/request").about(groups).write(accessor);
    d.at("control-group/authorize").about(groups).write(accessor);
    let profiles = "Profiles of the process; use perf or a debugger on the machine.";
    d.at("pprof").about(profiles).sudo().read(profile);
    d.at("pprof/{name}").about(profiles).sudo().read(profile);
    d.at("monitor").about("The log as it is written; not built.").sudo().read(monitor);
    let namespaces = "There are no namespaces.";
    d.at("namespaces").about(namespaces).list(nothing).scan(nothing);
    d.at("namespaces/api-lock/{verb}").about(namespaces).write(namespace);
    d.at("namespaces/api-lock/{verb}/{path...}").about(namespaces).write(namespace);
    d.at("namespaces/{path...}")
        .about(namespaces)
        .read(missing)
        .write(namespace)
        .patch(namespace)
        .delete(gone)
        .list(nothing)
        .scan(nothing);
    d.at("internal/inspect/router/{tag}").about("What is mounted where, with ids.").sudo().read(router);
    d.at("internal/inspect/request").about("The call as the server sees it; not built.").sudo().read(request);
    d.at("decode-token").about("Takes the one-time password off a new root token.").public().write(decode);
}

fn absent(text: &'static str) -> Result<Reply> {
    Err(Error::new(Kind::NotImplemented, text))
}

async fn nothing(_cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(Vec::new()))
}

async fn missing(_cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    Err(Error::not_found())
}

async fn external(_cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    absent("external keys are not supported: keys are made and kept by this server")
}

async fn workflow(_cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    absent("workflows are not supported: make the calls one by one")
}

/// Ask for an approval.
#[derive(Request)]
struct Accessor {
    /// The accessor of the wrapped reply.
    #[field(default)]
    accessor: String,
}

async fn accessor(_cx: Ctx<Sys>, ask: Accessor) -> Result<Reply> {
    let text = if ask.accessor.is_empty() { "missing accessor" } else { "invalid accessor" };
    Err(Error::bad_request(format!("1 error occurred:\n\t* {text}\n\n")))
}

async fn profile(_cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    absent("profiles are not served: use perf on the machine, sys/metrics for numbers")
}

/// Follow the log.
#[derive(Request)]
struct Monitor {
    /// From which level on.
    #[field(query, default)]
    log_level: String,
}

async fn monitor(_cx: Ctx<Sys>, ask: Monitor) -> Result<Reply> {
    if !["", "trace", "debug", "info", "notice", "warn", "warning", "err", "error"]
        .contains(&&*ask.log_level.to_ascii_lowercase())
    {
        return Err(Error::bad_request("unknown log level"));
    }
    absent("the log is not sent over the API: read the server's standard error or its log_file; sys/loggers sets the levels")
}

async fn namespace(_cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    absent("namespaces are not supported: use mounts and policies of their own, or another server")
}

async fn gone(_cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    Ok(Reply::empty().status(200).warn("requested namespace does not exist"))
}

/// Ask what is mounted.
#[derive(Request)]
struct Tag {
    /// `root`, `uuid`, `accessor` or `storage`.
    #[field(path)]
    tag: String,
}

/// Only where the configuration lets it (`introspection_endpoint`): ids of mounts are of use to nobody else.
fn introspects(cx: &Ctx<Sys>) -> Result<Unsealed> {
    let core = cx.engine.core()?;
    if core.config.introspection_endpoint { core.unsealed() } else { Err(no_such_path()) }
}

fn no_such_path() -> Error {
    Error::new(Kind::NotFound, "1 error occurred:\n\t* unsupported path\n\n")
}

async fn router(cx: Ctx<Sys>, ask: Tag) -> Result<Reply> {
    let live = introspects(&cx)?;
    if !["root", "uuid", "accessor", "storage"].contains(&ask.tag.as_str()) {
        return Err(no_such_path());
    }
    let shown = |m: &Mounted| {
        Object::new()
            .with("accessor", m.record.accessor.as_str())
            .with("mount_namespace", "")
            .with("mount_path", m.record.path.as_str())
            .with("mount_type", m.record.kind.as_str())
            .with("class", if m.record.class == MountClass::Auth { "auth" } else { "secret" })
            .with("storage_prefix", m.prefix.as_ref())
            .with("tainted", m.record.going)
            .with("uuid", m.record.uuid.as_str())
    };
    let router = live.router.load();
    let all: Vec<Object> = router.all().map(|m| shown(m)).collect();
    Ok(Reply::data(Object::new().with(ask.tag, all)))
}

async fn request(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    introspects(&cx)?;
    absent("calls are not shown back: the audit log has them, with their secrets masked")
}

/// Decode a new root token.
#[derive(Request)]
struct Decode {
    /// What generating it gave.
    #[field(default = Secret::from(""))]
    encoded_token: Secret<String>,
    /// The one-time password of the attempt.
    #[field(default = Secret::from(""))]
    otp: Secret<String>,
}

async fn decode(_cx: Ctx<Sys>, ask: Decode) -> Result<Reply> {
    let (encoded, otp) = (ask.encoded_token.expose().trim_end_matches('='), ask.otp.expose().as_bytes());
    if encoded.is_empty() || otp.is_empty() {
        return Err(Error::bad_request("provided 'encoded_token' or 'otp' is empty"));
    }
    let bytes = STANDARD_NO_PAD.decode(encoded).map(Zeroizing::new);
    let bytes = bytes.map_err(|_| Error::bad_request("error decoding base64'd token: illegal base64 data"))?;
    if bytes.len() != otp.len() {
        let (token, otp) = (bytes.len(), otp.len());
        return Err(Error::bad_request(format!("error xoring token: length of byte slices is not equivalent: {token} != {otp}")));
    }
    let token: Vec<u8> = bytes.iter().zip(otp).map(|(a, b)| a ^ b).collect();
    let token = String::from_utf8(token).map_err(|_| Error::bad_request("the token and the password do not belong together"))?;
    Ok(Reply::data(Object::new().with("token", token)))
}
