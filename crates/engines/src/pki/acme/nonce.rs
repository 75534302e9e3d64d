//! Nonces: sealed, so that handing one out writes nothing, and used once, which the store remembers until they end.
//!
//! 8 bytes the second of its end, 16 random ones, 32 of HMAC over both by a key of the mount's. A used one stands at
//! `acme/used/<end>-<random>`: two calls with the same nonce meet there, and one commit fails.

use super::super::{Cx, put_text};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coffer_crypto::mac::HmacKey;
use coffer_types::{Error, Result};
use zeroize::Zeroizing;

/// Seconds.
const LIFE: i64 = 900;

pub(super) async fn new(cx: &Cx) -> Result<String> {
    let mut bytes = [0u8; 24];
    bytes[..8].copy_from_slice(&cx.now().secs().saturating_add(LIFE).to_be_bytes());
    cx.fill_random(&mut bytes[8..]);
    let tag = key(cx).await?.tag(&bytes);
    Ok(URL_SAFE_NO_PAD.encode([&bytes[..], &tag].concat()))
}

/// A nonce of ours that was not used yet.
pub(super) struct Fresh(String);

/// `None` for any other.
pub(super) async fn check(cx: &Cx, text: &str) -> Result<Option<Fresh>> {
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(text) else { return Ok(None) };
    let Some((body, tag)) = bytes.split_first_chunk::<24>() else { return Ok(None) };
    if !key(cx).await?.verify(body, tag) {
        return Ok(None);
    }
    let (end, random) = body.split_at(8);
    let end = i64::from_be_bytes(end.try_into().map_err(Error::internal)?);
    let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let place = format!("acme/used/{end:020}-{random}");
    let fresh = end > cx.now().secs() && !cx.view.exists(&place).await?;
    Ok(fresh.then_some(Fresh(place)))
}

impl Fresh {
    pub(super) fn spend(self, cx: &Cx) {
        put_text(cx, &self.0, "1");
    }
}

/// Forgets used ones that have ended. Says whether there are more.
pub(super) async fn sweep(cx: &Cx) -> Result<bool> {
    const AT_ONCE: usize = 200;
    let names = cx.view.children("acme/used/", None, AT_ONCE).await?;
    let now = format!("{:020}", cx.now().secs());
    let ended: Vec<_> = names.iter().filter(|name| name[..20.min(name.len())] < *now).collect();
    for name in &ended {
        cx.view.delete(&format!("acme/used/{name}"));
    }
    Ok(ended.len() == AT_ONCE)
}

async fn key(cx: &Cx) -> Result<HmacKey> {
    if let Some(bytes) = cx.view.get_bytes("acme/nonce-key").await? {
        return Ok(HmacKey::new(&bytes));
    }
    let mut bytes = Zeroizing::new(vec![0u8; 32]);
    cx.fill_random(&mut bytes);
    let key = HmacKey::new(&bytes);
    cx.view.put_bytes("acme/nonce-key", bytes);
    Ok(key)
}
