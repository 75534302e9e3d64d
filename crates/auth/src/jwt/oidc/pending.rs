//! Logins under way. Each is a record under the digest of its state, which ends five minutes after it began; there are at most a thousand
//! in a mount, since whoever begins one needs no token.

use super::exchange::Answered;
use crate::jwt::Method;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coffer_crypto::mac::sha256;
use coffer_engine::{Ctx, Login, Record};
use coffer_types::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use zeroize::Zeroizing;

/// Stands in an address where the state will.
pub(super) const STATE_HERE: &str = "state-goes-here";

const LASTS: Duration = Duration::from_secs(300);
pub(super) const MOST: usize = 1000;
/// How many that have ended are cleared away by one that begins.
const CLEARED: usize = 100;
const FOLDER: &str = "pending/";

#[derive(Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) role: String,
    pub(super) redirect_uri: String,
    /// Must stand in the provider's token.
    pub(super) nonce: String,
    /// PKCE's secret (RFC 7636).
    pub(super) verifier: Zeroizing<String>,
    /// The digest of the client's own word.
    pub(super) client_nonce: [u8; 32],
    /// The address that began it, to show to the person.
    pub(super) from: String,
    /// Seconds since 1970.
    expires: i64,
    pub(super) stage: Stage,
}

#[derive(Serialize, Deserialize)]
pub(super) enum Stage {
    /// The browser is at the provider.
    Begun,
    /// The provider's answer came as a form, and waits for the client.
    Posted { answered: Answered },
    /// The provider's answer is here; the person has not said yes yet.
    Confirming { answered: Answered, word: Zeroizing<String> },
    /// The provider is asked with this code.
    Device { code: Zeroizing<String> },
    /// Whoever polls gets it.
    Done { login: Box<Login> },
}

impl Record for Pending {
    const FORMAT: u8 = 1;
}

/// The key of a record.
pub(super) struct Place(String);

impl Pending {
    pub(super) fn new<const O: bool>(cx: &Ctx<Method<O>>, role: String, redirect_uri: String, client_nonce: [u8; 32]) -> Self {
        let from = cx.call().and_then(|call| call.remote.ip).map_or_else(|| "this machine".to_owned(), |ip| ip.to_string());
        Self {
            role,
            redirect_uri,
            nonce: format!("n_{}", random(cx)),
            verifier: random(cx).into(),
            client_nonce,
            from,
            expires: cx.now().plus(LASTS).secs(),
            stage: Stage::Begun,
        }
    }

    /// Ends after this many seconds, within reason.
    pub(super) fn lasts(&mut self, seconds: i64) {
        self.expires += seconds.clamp(60, 900) - LASTS.as_secs().cast_signed();
    }

    /// Stores it; gives its state.
    pub(super) fn keep<const O: bool>(&self, cx: &Ctx<Method<O>>) -> Result<String> {
        let state = format!("st_{:x}_{}", self.expires, random(cx));
        cx.view.put(&place(&state).ok_or_else(lost)?.0, self)?;
        Ok(state)
    }

    /// Clears away some of those that have ended, and says whether there is room for one more.
    ///
    /// # Errors
    /// There are too many.
    pub(super) async fn room<const O: bool>(cx: &Ctx<Method<O>>) -> Result<()> {
        let keys = cx.view.keys(FOLDER, None, MOST + CLEARED).await?;
        let now = format!("{FOLDER}{:012}", cx.now().secs());
        let ended = keys.iter().take_while(|key| **key < now).take(CLEARED);
        let mut left = keys.len();
        for key in ended {
            cx.view.delete(key);
            left -= 1;
        }
        if left >= MOST {
            return Err(Error::new(Kind::TooMany, "too many logins are under way in this mount; try again in some minutes"));
        }
        Ok(())
    }

    /// The login of this state.
    ///
    /// # Errors
    /// There is none, or it has ended.
    pub(super) async fn find<const O: bool>(cx: &Ctx<Method<O>>, state: &str) -> Result<(Place, Self)> {
        let place = place(state).ok_or_else(lost)?;
        let found: Self = cx.view.get(&place.0).await?.ok_or_else(lost)?;
        if found.expires < cx.now().secs() { Err(lost()) } else { Ok((place, found)) }
    }

    /// Another stage of the same login.
    pub(super) fn put_back<const O: bool>(&self, cx: &Ctx<Method<O>>, place: &Place) -> Result<()> {
        cx.view.put(&place.0, self)
    }
}

pub(super) fn forget<const O: bool>(cx: &Ctx<Method<O>>, place: &Place) {
    cx.view.delete(&place.0);
}

/// What is said of every state that leads nowhere.
pub(super) fn lost() -> Error {
    Error::bad_request("login failed. Expired or missing OAuth state.")
}

/// 256 random bits as text.
pub(super) fn random<const O: bool>(cx: &Ctx<Method<O>>) -> String {
    let mut bytes = Zeroizing::new([0; 32]);
    cx.fill_random(&mut *bytes);
    URL_SAFE_NO_PAD.encode(*bytes)
}

/// Keys are in the order of their end. They can be read in the store, so they do not give the state away.
fn place(state: &str) -> Option<Place> {
    let expires = state.strip_prefix("st_")?.split('_').next()?;
    let expires = i64::from_str_radix(expires, 16).ok().filter(|e| (0..1_000_000_000_000).contains(e))?;
    let digest = sha256(&[b"state:", state.as_bytes()]);
    Some(Place(format!("{FOLDER}{expires:012}-{}", hex::encode(digest))))
}
