//! Azure Key Vault: `encrypt` and `decrypt` with RSA-OAEP-256, and the version of a key (Key Vault REST API, "Encrypt", "Decrypt",
//! "Get Key").

use super::Kms;
use super::fault::{Fault, Result};
use super::web::{Ask, Said, escape};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use coffer_types::{Json, Object};
use zeroize::Zeroizing;

/// A key of Azure Key Vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AzureKey {
    /// `https://NAME.vault.azure.net`
    pub vault_url: String,
    pub name: String,
    /// 32 hexadecimal digits; empty for the newest.
    pub version: String,
}

const API: &str = "api-version=7.4";
const ALGORITHM: &str = "RSA-OAEP-256";

impl Kms {
    pub(super) async fn azure_encrypt(&self, key: &AzureKey, plaintext: &[u8]) -> Result<String> {
        let text = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(plaintext));
        let (ask, said) = self.azure_crypt(key, "encrypt", &text, true).await?;
        let found = said.text(&ask, "value")?;
        if BASE64_URL_SAFE_NO_PAD.decode(found.as_bytes()).is_err() {
            return Err(Fault::protocol(format!("Azure Key Vault: {} answered with a value that is no base64", ask.place())));
        }
        Ok(found.as_str().to_owned())
    }

    pub(super) async fn azure_decrypt(&self, key: &AzureKey, enc: &str) -> Result<Zeroizing<Vec<u8>>> {
        if BASE64_URL_SAFE_NO_PAD.decode(enc.trim()).is_err() {
            return Err(Fault::input("Azure Key Vault: the encrypted data key is no base64 of the URL-safe form"));
        }
        let (ask, said) = self.azure_crypt(key, "decrypt", enc.trim(), false).await?;
        let found = said.text(&ask, "value")?;
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(found.as_bytes()).map(Zeroizing::new);
        bytes.map_err(|_| Fault::protocol(format!("Azure Key Vault: {} answered with a value that is no base64", ask.place())))
    }

    /// The same key with the version that is the newest now, where none was named: a file must name the version that it needs.
    ///
    /// # Errors
    /// As for wrapping.
    pub async fn pin(&self, key: &AzureKey) -> Result<AzureKey> {
        if !key.version.is_empty() {
            return Ok(key.clone());
        }
        let url = format!("{}/keys/{}/?{API}", host(key)?, escape(&key.name));
        let ask = || Ask::new("GET", url.clone());
        let (ask, said) = self.azure_call("the newest version", key, ask).await?;
        let id = said.text(&ask, "key/kid")?;
        let version = id.rsplit_once("/keys/").and_then(|(_, rest)| rest.split('/').nth(1)).filter(|version| !version.is_empty());
        let version = version.ok_or_else(|| Fault::protocol(format!("Azure Key Vault: {} named no version", ask.place())))?;
        Ok(AzureKey { version: version.to_owned(), ..key.clone() })
    }

    async fn azure_crypt(&self, key: &AzureKey, verb: &str, value: &str, secret: bool) -> Result<(Ask, Said)> {
        let key = &self.pin(key).await?;
        let url = format!("{}/keys/{}/{}/{verb}?{API}", host(key)?, escape(&key.name), escape(&key.version));
        let body = Json::Object(Object::new().with("alg", ALGORITHM).with("value", value));
        let ask = || {
            let ask = Ask::new("POST", url.clone()).json(&body);
            if secret { ask.secret(value) } else { ask }
        };
        self.azure_call(verb, key, ask).await
    }

    /// With the token that is kept for this vault; or first without one, so that the vault says whose token it takes.
    async fn azure_call(&self, verb: &str, key: &AzureKey, ask: impl Fn() -> Ask) -> Result<(Ask, Said)> {
        let what = format!("Azure Key Vault {verb} with {}/keys/{}/{}", key.vault_url, key.name, key.version);
        let kept = format!("azure {}", key.vault_url);
        let with = |token: &str| ask().secret_header("authorization", format!("Bearer {token}"));
        if let Some(token) = self.tokens.get(&kept, self.now()) {
            let ask = with(token.expose());
            let said = self.web().ask(&ask).await?;
            if said.status != 401 {
                return finish(&what, ask, said);
            }
        }
        // Without its body: the vault refuses before it reads one, and the data key stays here.
        let probe = Ask::new(ask().method, ask().url.clone()).header("content-length", "0");
        let said = self.web().ask(&probe).await?;
        if said.status != 401 {
            let fault = refusal(&what, &probe, &said);
            return Err(if said.is_good() {
                Fault::protocol(format!("{what}: answered without asking for a token"))
            } else {
                fault
            });
        }
        let header = said.header("www-authenticate").unwrap_or_default();
        let resource = challenge(header, probe.place()).ok_or_else(|| {
            Fault::protocol(format!(
                "{what}: {} asks for a token in a way that is not known, or for one of another service",
                probe.place()
            ))
        })?;
        let (token, until) = self.azure_token(&resource).await?;
        let token = self.tokens.put(&kept, token, until);
        let ask = with(token.expose());
        let said = self.web().ask(&ask).await?;
        finish(&what, ask, said)
    }
}

fn finish(what: &str, ask: Ask, said: Said) -> Result<(Ask, Said)> {
    if said.is_good() { Ok((ask, said)) } else { Err(refusal(what, &ask, &said)) }
}

/// The vault's own address: a token goes there, so nothing but https will do.
fn host(key: &AzureKey) -> Result<&str> {
    let fits =
        key.vault_url.strip_prefix("https://").is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@']));
    if fits && !key.name.is_empty() {
        return Ok(&key.vault_url);
    }
    Err(Fault::input(format!("Azure Key Vault: could not parse {:?} into a key", format!("{}/keys/{}", key.vault_url, key.name)))
        .hint("Write it as https://NAME.vault.azure.net/keys/KEY/VERSION"))
}

/// The resource that `WWW-Authenticate: Bearer authorization="…", resource="…"` (or `scope`) names, if the vault belongs to it: a vault
/// that asks for a token of another service would get what it could use there.
fn challenge(header: &str, place: &str) -> Option<String> {
    let fields = header.trim().strip_prefix("Bearer ")?;
    let field = |name: &str| {
        let found = fields.split([',', ' ']).find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        found.map(|value| value.trim_matches('"').to_owned())
    };
    let resource = field("resource").or_else(|| field("scope").map(|scope| scope.trim_end_matches("/.default").to_owned()))?;
    let domain = resource.strip_prefix("https://")?.trim_end_matches('/');
    let host = place.strip_prefix("https://")?;
    let below = !domain.is_empty() && host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    below.then(|| resource.trim_end_matches('/').to_owned())
}

/// `{"error":{"code","message"}}`
fn refusal(what: &str, ask: &Ask, said: &Said) -> Fault {
    let json = said.json().unwrap_or_default();
    let text = |path: &str| json.at(path).and_then(Json::as_str).map(|text| ask.words(text));
    let code = text("error/code").map(|code| format!(" {code}")).unwrap_or_default();
    let message = text("error/message").map(|message| format!(": {message}")).unwrap_or_default();
    let fault = Fault::refused(format!("{what}: {} answered {}{code}{message}", ask.place(), said.status));
    match said.status {
        401 => fault.hint("The vault does not take this token; is it of the vault's tenant?"),
        403 => fault.hint("This identity needs the encrypt, decrypt and get permissions on the vault's keys"),
        404 => fault.hint("There is no such key or version in this vault"),
        _ => fault,
    }
}

#[cfg(test)]
#[path = "azure_tests.rs"]
mod tests;
