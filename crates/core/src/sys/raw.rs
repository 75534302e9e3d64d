//! `sys/raw`: the records of the barrier as they stand, for repairs, where the configuration lets it
//! (`raw_storage_endpoint`).
//!
//! What opens other things stays out: with the keyring, the root key or the keys of tokens in hand one would not need this
//! server any more. Records are written as they come: who writes here may break what reads them.

use super::Sys;
use crate::barrier::{KEYRING_KEY, ROOT_KEY, SEAL_CONFIG_KEY};
use crate::live::SERVER_KEYS;
use crate::seal::RECOVERY_KEY;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coffer_engine::{Ctx, Declare, Reply, Request};
use coffer_types::json::Text;
use coffer_types::{Error, Kind, Object, Result};
use zeroize::Zeroizing;

pub(super) fn declare(d: &mut Declare<Sys>) {
    d.at("raw").about("The records of the barrier.").sudo().plain(PLAIN).read(read).list(list).write(write).delete(delete);
    d.at("raw/{path...}")
        .about("A record of the barrier.")
        .sudo()
        .plain(PLAIN)
        .read(read_at)
        .list(list_at)
        .write(write_at)
        .delete(delete_at);
}

const PLAIN: &[&str] = &["path", "encoding", "compressed", "compression_type", "after", "limit"];
/// Keys of keys: neither read nor written nor removed here.
const KEYS: [&str; 5] = [KEYRING_KEY, ROOT_KEY, SEAL_CONFIG_KEY, SERVER_KEYS, RECOVERY_KEY];

/// A record by a field.
#[derive(Request)]
struct Ask {
    /// Its key.
    #[field(default)]
    path: String,
    /// Nothing, or `base64`.
    #[field(default)]
    encoding: String,
    /// Kept for clients: no record is compressed.
    #[field(rename = "compressed", default)]
    _compressed: bool,
    /// Nothing: no compression is known.
    #[field(default)]
    compression_type: String,
    /// The record.
    value: Option<Text>,
    /// List what comes after this name.
    #[field(default)]
    after: String,
    /// List so many at most; all without.
    #[field(default)]
    limit: i64,
}

/// A record by its place.
#[derive(Request)]
struct AskAt {
    /// Its key.
    #[field(path)]
    path: String,
    /// Nothing, or `base64`.
    #[field(default)]
    encoding: String,
    /// Kept for clients: no record is compressed.
    #[field(rename = "compressed", default)]
    _compressed: bool,
    /// Nothing: no compression is known.
    #[field(default)]
    compression_type: String,
    /// The record.
    value: Option<Text>,
    /// List what comes after this name.
    #[field(default)]
    after: String,
    /// List so many at most; all without.
    #[field(default)]
    limit: i64,
}

impl From<AskAt> for Ask {
    fn from(ask: AskAt) -> Self {
        let AskAt { path, encoding, _compressed, compression_type, value, after, limit } = ask;
        Self { path, encoding, _compressed, compression_type, value, after, limit }
    }
}

fn allowed(cx: &Ctx<Sys>) -> Result<()> {
    if cx.engine.core()?.config.raw_storage_endpoint {
        return Ok(());
    }
    // As if it were not there, which is what the configuration says.
    Err(Error::new(Kind::NotFound, "1 error occurred:\n\t* unsupported path\n\n"))
}

/// The key of one record that may be touched.
fn key(cx: &Ctx<Sys>, ask: &Ask) -> Result<String> {
    allowed(cx)?;
    if ask.path.split('/').any(|segment| ["", ".", ".."].contains(&segment)) {
        return Err(Error::bad_request("the path of a record is like core/mounts/name"));
    }
    if KEYS.contains(&ask.path.as_str()) {
        return Err(Error::bad_request(format!("cannot access {:?}", ask.path)));
    }
    Ok(ask.path.clone())
}

/// Whether the record goes or comes as base64.
fn base64(ask: &Ask) -> Result<bool> {
    if !ask.compression_type.is_empty() {
        return Err(Error::bad_request("invalid compression type: records are not compressed"));
    }
    match ask.encoding.as_str() {
        "" => Ok(false),
        "base64" => Ok(true),
        _ => Err(Error::bad_request("invalid encoding: base64, or none")),
    }
}

async fn read_at(cx: Ctx<Sys>, ask: AskAt) -> Result<Reply> {
    read(cx, ask.into()).await
}

async fn read(cx: Ctx<Sys>, ask: Ask) -> Result<Reply> {
    let (key, base64) = (key(&cx, &ask)?, base64(&ask)?);
    let stored = cx.view.get_bytes(&key).await?.ok_or_else(Error::not_found)?;
    let text = if base64 {
        STANDARD.encode(&**stored)
    } else {
        let text = std::str::from_utf8(&stored).ok();
        text.ok_or_else(|| Error::bad_request("the record is no text: ask for it with encoding=base64"))?.to_owned()
    };
    Ok(Reply::data(Object::new().with("value", text)))
}

async fn list_at(cx: Ctx<Sys>, ask: AskAt) -> Result<Reply> {
    list(cx, ask.into()).await
}

async fn list(cx: Ctx<Sys>, ask: Ask) -> Result<Reply> {
    allowed(&cx)?;
    let folder = ask.path.trim_matches('/');
    let folder = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let limit = usize::try_from(ask.limit).ok().filter(|n| *n > 0).unwrap_or(usize::MAX);
    let after = Some(ask.after.as_str()).filter(|a| !a.is_empty());
    Ok(Reply::list(cx.view.children(&folder, after, limit).await?))
}

async fn write_at(cx: Ctx<Sys>, ask: AskAt) -> Result<Reply> {
    write(cx, ask.into()).await
}

async fn write(cx: Ctx<Sys>, ask: Ask) -> Result<Reply> {
    let (key, base64) = (key(&cx, &ask)?, base64(&ask)?);
    let value = ask.value.ok_or_else(|| Error::bad_request("the 'value' of the record is missing"))?;
    let bytes = if base64 {
        STANDARD.decode(value.as_str()).map_err(|_| Error::bad_request("illegal base64 data"))?
    } else {
        value.as_str().as_bytes().to_vec()
    };
    tracing::warn!(target: "core", key, "a record was written over sys/raw");
    cx.view.put_bytes(&key, Zeroizing::new(bytes));
    Ok(Reply::empty())
}

async fn delete_at(cx: Ctx<Sys>, ask: AskAt) -> Result<Reply> {
    delete(cx, ask.into()).await
}

async fn delete(cx: Ctx<Sys>, ask: Ask) -> Result<Reply> {
    let key = key(&cx, &ask)?;
    tracing::warn!(target: "core", key, "a record was removed over sys/raw");
    cx.view.delete(&key);
    Ok(Reply::empty())
}
