//! The seal's part of `sys/`: key status, rotation, rekey, root tokens, seal. In both Vault's paths (a document by
//! itself, without a token where the listener allows it) and OpenBao's (in the usual envelope, always with a token).

use super::init::InitAsk;
use crate::core::Core;
use crate::outside::parse_share;
use crate::sys::Sys;
use coffer_engine::view::Record;
use coffer_engine::{Ctx, Declare, NoInput, Reply, Request};
use coffer_types::{Error, Kind, Object, Operation, Result, Secret, Span};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use zeroize::Zeroizing;

pub(crate) fn declare(d: &mut Declare<Sys>) {
    d.at("key-status").about("The active key of the barrier.").read(key_status);
    d.at("rotate").about("Add a key to the barrier; new writes use it.").sudo().write(rotate);
    d.at("rotate/keyring").about("Add a key to the barrier; new writes use it.").sudo().write(rotate);
    d.at("rotate/root").about("Replace the root key.").sudo().write(rotate_root_key);
    d.at("rotate/config").about("When the barrier rotates by itself.").read(read_rotation).write(write_rotation);
    d.at("rotate/keyring/config").about("When the barrier rotates by itself.").read(read_rotation).write(write_rotation);
    d.at("seal").about("Close the barrier.").sudo().write(seal);
    d.at("step-down").about("Give up being active; a single node takes over again at once.").sudo().write(step_down);

    // Vault's paths. Public only where the listener says so; else they take a token with sudo.
    for (init, update, verify) in [
        ("rekey/init", "rekey/update", "rekey/verify"),
        ("rekey-recovery-key/init", "rekey-recovery-key/update", "rekey-recovery-key/verify"),
    ] {
        d.at(init).about("A rekey of the seal.").public().read(rekey_status).write(rekey_start).delete(rekey_cancel);
        d.at(update).about("Give a share for the rekey.").public().write(rekey_update);
        d.at(verify).about("Give a new share back.").public().read(verify_status).write(verify_update).delete(verify_restart);
    }
    d.at("rekey/backup").about("Shares are not kept encrypted by the server.").read(no_backup).delete(done);
    d.at("rekey/recovery-key-backup").about("Shares are not kept encrypted by the server.").read(no_backup).delete(done);
    for attempt in ["generate-root", "generate-root/attempt"] {
        d.at(attempt).about("A new root token under way.").public().read(root_status).write(root_start).delete(root_cancel);
    }
    d.at("generate-root/update").about("Give a share for a root token.").public().write(root_update);

    // OpenBao's.
    for (init, update, verify, backup) in [
        ("rotate/root/init", "rotate/root/update", "rotate/root/verify", "rotate/root/backup"),
        ("rotate/recovery/init", "rotate/recovery/update", "rotate/recovery/verify", "rotate/recovery/backup"),
    ] {
        d.at(init).about("A rekey of the seal.").sudo().read(rotate_status).write(rotate_start).delete(rotate_cancel);
        d.at(update).about("Give a share for the rekey.").sudo().write(rotate_update);
        d.at(verify)
            .about("Give a new share back.")
            .sudo()
            .read(rotate_verify_status)
            .write(rotate_verify)
            .delete(rotate_verify_restart);
        d.at(backup).about("Shares are not kept encrypted by the server.").read(no_backup).delete(done);
    }
    d.at("generate-root-token/attempt")
        .about("A new root token under way.")
        .sudo()
        .read(token_status)
        .write(token_start)
        .delete(token_cancel);
    d.at("generate-root-token/update").about("Give a share for a root token.").sudo().write(token_update);
}

/// Begin a rekey.
#[derive(Request)]
struct RekeyStart {
    /// How many shares.
    #[field(default)]
    secret_shares: u8,
    /// How many of them are needed.
    #[field(default)]
    secret_threshold: u8,
    /// The new shares must be given back before they are in force.
    #[field(default)]
    require_verification: bool,
    /// Not supported.
    pgp_keys: Option<Vec<String>>,
    /// Not supported.
    #[field(default)]
    backup: bool,
}

/// Give a share.
#[derive(Request)]
struct Share {
    /// The share, in hexadecimal or base64.
    key: Option<Secret<String>>,
    /// The nonce of what it is for.
    #[field(default)]
    nonce: String,
}

/// Begin a root token.
#[derive(Request)]
struct RootStart {
    /// A one-time password of the caller's own.
    otp: Option<Secret<String>>,
    /// Not supported.
    #[field(default)]
    pgp_key: String,
}

impl RekeyStart {
    fn ask(&self) -> Result<InitAsk> {
        if self.pgp_keys.as_ref().is_some_and(|k| !k.is_empty()) || self.backup {
            return Err(Error::new(
                Kind::NotImplemented,
                "pgp_keys and backup are not supported: take the shares as they are and encrypt them yourself",
            ));
        }
        Ok(InitAsk { shares: self.secret_shares, threshold: self.secret_threshold })
    }
}

impl Share {
    fn bytes(&self) -> Result<Zeroizing<Vec<u8>>> {
        let text = self.key.as_ref().map(|k| k.expose().as_str()).filter(|k| !k.is_empty());
        parse_share(text.ok_or_else(|| Error::bad_request("'key' must be specified in request body as JSON"))?)
    }
}

/// Vault's paths: the listener lets everyone in, or the caller has sudo.
fn allowed(cx: &Ctx<Sys>, rekey: bool) -> Result<Arc<Core>> {
    let core = cx.engine.core()?;
    let Some(call) = cx.call() else { return Err(Error::internal("a route without a call")) };
    let open = if rekey { call.listener.unauthed_rekey } else { call.listener.unauthed_generate_root };
    if open || cx.host().has_sudo(Operation::Update, call.path.as_str()) {
        return Ok(core);
    }
    // As the reference answers where these are switched off.
    Err(Error::new(
        Kind::Unsupported,
        "this path is off without a token: give one with sudo, or use sys/rotate/root or sys/generate-root-token",
    ))
}

async fn key_status(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    let term = cx.engine.core()?.unsealed()?.barrier.key_term();
    let shown = Object::new()
        .with("term", term.term)
        .with("install_time", term.installed.rfc3339())
        .with("encryptions", term.encryptions);
    Ok(Reply::data(shown).mirrored())
}

async fn rotate(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    cx.engine.core()?.rotate_keyring().await?;
    Ok(Reply::empty())
}

/// Only a seal that opens by itself can seal a new root key without its share holders.
async fn rotate_root_key(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    cx.engine.core()?.rotate_root_key().await?;
    Ok(Reply::empty())
}

async fn seal(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    let core = cx.engine.core()?;
    // After this call has answered: it holds the barrier open until then.
    core.seal_now().await;
    Ok(Reply::empty())
}

async fn step_down(_cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    Ok(Reply::empty())
}

async fn done(_cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    Ok(Reply::empty())
}

async fn no_backup(_cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    Err(Error::not_found())
}

/// When to rotate.
#[derive(Serialize, Deserialize)]
pub(super) struct Rotation {
    pub enabled: bool,
    pub interval: Span,
    pub max_operations: i64,
}

impl Record for Rotation {
    const FORMAT: u8 = 1;
}

const ROTATION: &str = "core/rotation";
/// Nonces are random: at 2^32 messages under one key their collision nears 2^-32 (NIST SP 800-38D §8.3), so this much
/// before it, as the reference.
const MAX_OPERATIONS: i64 = 3_865_470_566;

/// When the barrier rotates by itself.
#[derive(Request)]
struct WriteRotation {
    /// Rotate by itself?
    enabled: Option<bool>,
    /// After this time; 0 never.
    interval: Option<Span>,
    /// After so many values.
    max_operations: Option<i64>,
}

async fn rotation(cx: &Ctx<Sys>) -> Result<Rotation> {
    let usual = Rotation { enabled: true, interval: Span::ZERO, max_operations: MAX_OPERATIONS };
    Ok(cx.view.get(ROTATION).await?.unwrap_or(usual))
}

async fn read_rotation(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    let r = rotation(&cx).await?;
    Ok(Reply::data(
        Object::new().with("enabled", r.enabled).with("interval", r.interval.secs()).with("max_operations", r.max_operations),
    ))
}

async fn write_rotation(cx: Ctx<Sys>, ask: WriteRotation) -> Result<Reply> {
    let mut r = rotation(&cx).await?;
    r.enabled = ask.enabled.unwrap_or(r.enabled);
    if let Some(interval) = ask.interval {
        if !interval.is_zero() && interval < Span::from_secs(24 * 3600) {
            return Err(Error::bad_request("interval must be at least 24 hours, or 0"));
        }
        r.interval = interval;
    }
    if let Some(most) = ask.max_operations {
        if !(1_000_000..=MAX_OPERATIONS).contains(&most) {
            return Err(Error::bad_request(format!("max_operations must be between 1000000 and {MAX_OPERATIONS}")));
        }
        r.max_operations = most;
    }
    cx.view.put(ROTATION, &r)?;
    Ok(Reply::empty())
}

async fn rekey_status(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    Ok(Reply::data(allowed(&cx, true)?.rekey_status()).bare())
}

async fn rekey_start(cx: Ctx<Sys>, ask: RekeyStart) -> Result<Reply> {
    let core = allowed(&cx, true)?;
    core.rekey_start(ask.ask()?, ask.require_verification)?;
    Ok(Reply::data(core.rekey_status()).bare())
}

async fn rekey_cancel(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    allowed(&cx, true)?.rekey_cancel();
    Ok(Reply::empty())
}

async fn rekey_update(cx: Ctx<Sys>, ask: Share) -> Result<Reply> {
    let core = allowed(&cx, true)?;
    let done = core.rekey_update(ask.bytes()?, &ask.nonce).await?;
    Ok(Reply::data(done.unwrap_or_else(|| core.rekey_status())).bare())
}

async fn verify_status(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    Ok(Reply::data(allowed(&cx, true)?.rekey_verify_status()?).bare())
}

async fn verify_update(cx: Ctx<Sys>, ask: Share) -> Result<Reply> {
    Ok(Reply::data(allowed(&cx, true)?.rekey_verify(ask.bytes()?, &ask.nonce).await?).bare())
}

async fn verify_restart(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    Ok(Reply::data(allowed(&cx, true)?.rekey_verify_restart()?).bare())
}

async fn root_status(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    Ok(Reply::data(allowed(&cx, false)?.root_token_status()).bare())
}

async fn root_start(cx: Ctx<Sys>, ask: RootStart) -> Result<Reply> {
    let core = allowed(&cx, false)?;
    Ok(Reply::data(start(&core, &ask)?).bare())
}

async fn root_cancel(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    allowed(&cx, false)?.root_token_cancel();
    Ok(Reply::empty())
}

async fn root_update(cx: Ctx<Sys>, ask: Share) -> Result<Reply> {
    let core = allowed(&cx, false)?;
    Ok(Reply::data(core.root_token_update(&cx.view, ask.bytes()?, &ask.nonce, cx.now()).await?).bare())
}

fn start(core: &Arc<Core>, ask: &RootStart) -> Result<Object> {
    if !ask.pgp_key.is_empty() {
        return Err(Error::new(Kind::NotImplemented, "pgp_key is not supported: use a one-time password"));
    }
    core.root_token_start(ask.otp.as_ref().map(|o| o.expose().as_str()).filter(|o| !o.is_empty()))
}

async fn rotate_status(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    Ok(Reply::data(cx.engine.core()?.rekey_status()))
}

async fn rotate_start(cx: Ctx<Sys>, ask: RekeyStart) -> Result<Reply> {
    let core = cx.engine.core()?;
    core.rekey_start(ask.ask()?, ask.require_verification)?;
    Ok(Reply::data(core.rekey_status()))
}

async fn rotate_cancel(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    cx.engine.core()?.rekey_cancel();
    Ok(Reply::empty())
}

async fn rotate_update(cx: Ctx<Sys>, ask: Share) -> Result<Reply> {
    let core = cx.engine.core()?;
    let done = core.rekey_update(ask.bytes()?, &ask.nonce).await?;
    Ok(Reply::data(done.unwrap_or_else(|| core.rekey_status())))
}

async fn rotate_verify_status(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    Ok(Reply::data(cx.engine.core()?.rekey_verify_status()?))
}

async fn rotate_verify(cx: Ctx<Sys>, ask: Share) -> Result<Reply> {
    Ok(Reply::data(cx.engine.core()?.rekey_verify(ask.bytes()?, &ask.nonce).await?))
}

async fn rotate_verify_restart(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    Ok(Reply::data(cx.engine.core()?.rekey_verify_restart()?))
}

async fn token_status(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    Ok(Reply::data(cx.engine.core()?.root_token_status()))
}

async fn token_start(cx: Ctx<Sys>, ask: RootStart) -> Result<Reply> {
    Ok(Reply::data(start(&cx.engine.core()?, &ask)?))
}

async fn token_cancel(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    cx.engine.core()?.root_token_cancel();
    Ok(Reply::empty())
}

async fn token_update(cx: Ctx<Sys>, ask: Share) -> Result<Reply> {
    let core = cx.engine.core()?;
    Ok(Reply::data(core.root_token_update(&cx.view, ask.bytes()?, &ask.nonce, cx.now()).await?))
}
