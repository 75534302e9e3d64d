//! A new root token, by agreement of a threshold of share holders. It is given out XORed with a one-time password that
//! only the one who began has.

use super::ceremony::{Ceremony, prove};
use crate::core::Core;
use crate::tokens::issue::{NewToken, issue};
use crate::tokens::record::{ROOT_POLICY, TOKEN_LENGTH};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use coffer_crypto::random::base62;
use coffer_engine::view::View;
use coffer_types::{Error, Kind, Object, Result, Timestamp};
use std::sync::Arc;
use zeroize::Zeroizing;

/// The length of a root token's text, and so of the password.
pub(super) const OTP_LENGTH: usize = TOKEN_LENGTH;

/// A generation under way.
pub(super) struct RootToken {
    ceremony: Ceremony,
    otp: Zeroizing<String>,
}

/// The reference calls this its own fault, and clients know it so.
fn none() -> Error {
    Error::new(Kind::Internal, "1 error occurred:\n\t* no root generation in progress\n\n")
}

impl Core {
    fn root_token_document(&self, progress: usize, nonce: &str, started: bool) -> Object {
        let required = self.seal.config().map_or(0, |c| c.threshold);
        Object::new()
            .with("nonce", nonce)
            .with("started", started)
            .with("progress", progress)
            .with("required", u32::from(required))
            .with("complete", false)
            .with("encoded_token", "")
            .with("encoded_root_token", "")
            .with("pgp_fingerprint", "")
    }

    pub(super) fn root_token_status(&self) -> Object {
        let slot = self.seal.root_token.lock();
        let (progress, nonce) = slot.as_ref().map_or((0, ""), |r| (r.ceremony.progress(), r.ceremony.nonce.as_str()));
        self.root_token_document(progress, nonce, slot.is_some()).with("otp", "").with("otp_length", OTP_LENGTH)
    }

    pub(super) fn root_token_start(&self, otp: Option<&str>) -> Result<Object> {
        let otp = match otp {
            None => base62(&*self.random, OTP_LENGTH),
            Some(given) if given.len() == OTP_LENGTH && given.is_ascii() => Zeroizing::new(given.to_owned()),
            Some(_) => {
                return Err(Error::bad_request(format!(
                    "OTP string is wrong length: it must have {OTP_LENGTH} ASCII characters"
                )));
            }
        };
        let mut slot = self.seal.root_token.lock();
        if slot.is_some() {
            return Err(Error::bad_request("root generation already in progress"));
        }
        let ceremony = Ceremony::new(self);
        let shown = self.root_token_document(0, &ceremony.nonce, true).with("otp", otp.as_str()).with("otp_length", OTP_LENGTH);
        *slot = Some(RootToken { ceremony, otp });
        Ok(shown)
    }

    pub(super) fn root_token_cancel(&self) {
        *self.seal.root_token.lock() = None;
    }

    /// Takes a share; with the last one the token is made in this transaction.
    pub(super) async fn root_token_update(
        self: &Arc<Self>,
        view: &View,
        share: Zeroizing<Vec<u8>>,
        nonce: &str,
        now: Timestamp,
    ) -> Result<Object> {
        let config = self.seal.config().ok_or_else(|| Error::internal("the seal has no configuration"))?;
        let (shares, otp, nonce) = {
            let mut slot = self.seal.root_token.lock();
            let under_way = slot.as_mut().ok_or_else(none)?;
            under_way.ceremony.check_nonce(nonce, "root generation")?;
            match under_way.ceremony.add(share, config.threshold) {
                None => {
                    let (progress, nonce) = (under_way.ceremony.progress(), under_way.ceremony.nonce.clone());
                    drop(slot);
                    return Ok(self.root_token_document(progress, &nonce, true).with("otp", "").with("otp_length", 0));
                }
                Some(shares) => (shares, under_way.otp.clone(), under_way.ceremony.nonce.clone()),
            }
        };
        prove(self, &shares).await?;
        let live = self.unsealed()?;
        let new = NewToken {
            policies: vec![ROOT_POLICY.to_owned()],
            path: "auth/token/root".to_owned(),
            display_name: "root".to_owned(),
            ..NewToken::default()
        };
        let (text, _) = issue(&live, &*self.random, view, new, now).await?;
        let hidden: Vec<u8> = text.expose().bytes().zip(otp.bytes()).map(|(a, b)| a ^ b).collect();
        let encoded = STANDARD_NO_PAD.encode(hidden);
        self.root_token_cancel();
        let mut document =
            self.root_token_document(usize::from(config.threshold), &nonce, true).with("otp", "").with("otp_length", 0);
        document.insert("complete", true);
        document.insert("encoded_token", encoded.as_str());
        document.insert("encoded_root_token", encoded);
        Ok(document)
    }
}
