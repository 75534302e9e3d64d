//! The forms in which certificates and keys go out: PEM, DER in base64, and all in one PEM text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coffer_crypto::Zeroizing;
use coffer_crypto::pk::PrivateKey;
use coffer_crypto::x509::pem;
use coffer_types::json::Text;
use coffer_types::{Error, Result};

/// `format` of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Pem,
    /// In base64.
    Der,
    /// The certificate in one text with its key before it and its chain behind it.
    PemBundle,
}

impl Format {
    pub(super) fn parse(text: &str) -> Result<Self> {
        match text {
            "" | "pem" => Ok(Self::Pem),
            "der" => Ok(Self::Der),
            "pem_bundle" => Ok(Self::PemBundle),
            _ => Err(Error::bad_request("the \"format\" path parameter must be \"pem\", \"der\", or \"pem_bundle\"")),
        }
    }

    /// A certificate by itself.
    pub(super) fn certificate(self, der: &[u8]) -> String {
        self.public("CERTIFICATE", der)
    }

    fn public(self, label: &str, der: &[u8]) -> String {
        match self {
            Self::Der => STANDARD.encode(der),
            Self::Pem | Self::PemBundle => trimmed(pem(label, der)),
        }
    }

    /// A private key: PKCS #8 where that is asked for, else the older form of RSA and EC keys.
    pub(super) fn private_key(self, key: &PrivateKey, pkcs8: bool) -> Result<Text> {
        let text = match (self, pkcs8) {
            (Self::Der, true) => STANDARD.encode(&*key.to_pkcs8().map_err(Error::internal)?),
            (Self::Der, false) => STANDARD.encode(&*key.to_traditional_der().map_err(Error::internal)?),
            (_, true) => key.to_pkcs8_pem().map_err(Error::internal)?.trim_end().to_owned(),
            (_, false) => key.to_traditional_pem().map_err(Error::internal)?.trim_end().to_owned(),
        };
        Ok(Text::new(text))
    }

    /// What stands as `certificate` (or `csr`): by itself, or in one text with the key before it and `chain` behind it.
    pub(super) fn whole(self, label: &str, der: &[u8], key: Option<&PrivateKey>, chain: &[Vec<u8>]) -> Result<Text> {
        if self != Self::PemBundle {
            return Ok(Text::new(self.public(label, der)));
        }
        let mut out = Zeroizing::new(String::with_capacity(1024 + der.len() * 2));
        if let Some(key) = key {
            out.push_str(&key.to_traditional_pem().map_err(Error::internal)?);
        }
        out.push_str(&pem(label, der));
        chain.iter().for_each(|der| out.push_str(&pem("CERTIFICATE", der)));
        Ok(Text::new(out.trim_end()))
    }
}

/// `private_key_format`: only `pkcs8` says something.
pub(super) fn is_pkcs8(text: &str) -> bool {
    text == "pkcs8"
}

/// Without the newline at its end.
pub(super) fn trimmed(mut text: String) -> String {
    text.truncate(text.trim_end().len());
    text
}
