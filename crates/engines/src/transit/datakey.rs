//! Data keys: random keys that a caller uses itself and keeps sealed.

use super::cipher::{Nonces, Plain, Used, seal};
use super::{Cx, Transit, keyring, usable};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coffer_crypto::Zeroizing;
use coffer_engine::{Declare, Reply, Request};
use coffer_types::json::Text;
use coffer_types::{Error, Json, Object, Result};

pub(super) fn declare(d: &mut Declare<Transit>) {
    d.at("datakey/{plaintext}/{name}").about("A random key, sealed, and in plaintext too if the path says so.").write(datakey);
}

/// Make a data key.
#[derive(Request)]
struct Datakey {
    /// `plaintext` shows the key besides, `wrapped` does not.
    #[field(path)]
    plaintext: String,
    /// The key that seals it.
    #[field(path)]
    name: String,
    /// 128, 256 or 512.
    #[field(default = 256)]
    bits: i64,
    /// The context of a derived key, in base64.
    #[field(default)]
    context: String,
    /// Bound to the ciphertext, in base64.
    #[field(default)]
    associated_data: String,
    /// The version; 0 is the latest.
    #[field(default)]
    key_version: i64,
}

async fn datakey(cx: Cx, ask: Datakey) -> Result<Reply> {
    let shows = match ask.plaintext.as_str() {
        "plaintext" => true,
        "wrapped" => false,
        _ => return Err(Error::bad_request("Invalid path, must be 'plaintext' or 'wrapped'")),
    };
    let ring = keyring(&cx);
    let key = usable(&ring, &ask.name, "encryption key not found").await?;
    let bytes = match ask.bits {
        128 => 16,
        256 => 32,
        512 => 64,
        _ => return Err(Error::bad_request("invalid bit length")),
    };
    let mut made = Zeroizing::new(vec![0; bytes]);
    cx.fill_random(&mut made);
    let item = Object::new()
        .with("context", ask.context)
        .with("associated_data", ask.associated_data)
        .with("key_version", ask.key_version);
    let mut used = Used::new(&ring, &key);
    used.load([u32::try_from(ask.key_version).ok().filter(|v| *v > 0).unwrap_or(key.latest)]).await?;
    let (ciphertext, version) = seal(&used, &item, Plain::Bytes(&made), &mut Nonces::draw(&cx, &key, 1))?;
    let mut reply = Object::new().with("ciphertext", ciphertext).with("key_version", i64::from(version));
    if shows {
        reply.insert("plaintext", Json::String(Text::new(STANDARD.encode(&*made))));
    }
    Ok(Reply::data(reply))
}
