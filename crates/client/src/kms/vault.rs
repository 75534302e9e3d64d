//! The transit engine of a Vault, a Coffer or an OpenBao server.

use super::Kms;
use super::fault::{Fault, FaultKind, Result};
use super::web::{base64, from_base64};
use crate::{Address, Client, Config, Error, Request, token};
use coffer_types::{Json, Object};
use zeroize::Zeroizing;

/// A key of a transit engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultKey {
    /// `https://vault.example:8200`
    pub address: String,
    /// Where the engine is mounted: `transit`, `team/a/transit`.
    pub engine: String,
    pub name: String,
}

impl Kms {
    pub(super) async fn vault_encrypt(&self, key: &VaultKey, plaintext: &[u8]) -> Result<String> {
        let text = Zeroizing::new(base64(plaintext));
        let body = Object::new().with("plaintext", text.as_str());
        let found = self.vault_call(key, "encrypt", body, "ciphertext", &text).await?;
        Ok(found.as_str().to_owned())
    }

    pub(super) async fn vault_decrypt(&self, key: &VaultKey, enc: &str) -> Result<Zeroizing<Vec<u8>>> {
        let body = Object::new().with("ciphertext", enc.trim());
        let found = self.vault_call(key, "decrypt", body, "plaintext", "").await?;
        from_base64(&found, "Vault transit: the plaintext")
    }

    async fn vault_call(&self, key: &VaultKey, verb: &str, body: Object, field: &str, secret: &str) -> Result<Zeroizing<String>> {
        let what = format!("Vault transit {verb} with {}/v1/{}/keys/{}", key.address, key.engine, key.name);
        self.allowed(&key.address)?;
        // Settings of another server are not for this one: only how to trust it, and as whom to speak.
        let mut config = Config::from_environment(&self.env).map_err(|e| of_client(&what, &e, secret))?;
        config.address = Address::parse(&key.address).map_err(Fault::input)?;
        config.wrap_ttl = None;
        config.timeout = config.timeout.min(self.timeout);
        config.proxy_from(&self.env).map_err(|e| of_client(&what, &e, secret))?;
        if config.token.is_none() {
            config.token = match self.env.home() {
                Some(_) => token::Helper::find(&self.env).and_then(|helper| helper.get()).map_err(Fault::setup)?,
                None => None,
            };
        }
        if config.token.is_none() {
            return Err(Fault::setup(format!("{what}: there is no token")).hint("Set VAULT_TOKEN, or log in: \"coffer login\""));
        }
        let client = Client::new(config).map_err(|e| of_client(&what, &e, secret))?;
        let request = Request::put(format!("{}/{verb}/{}", key.engine, key.name)).json(body);
        let reply = client.send(&request).await.map_err(|e| of_client(&what, &e, secret))?;
        let json = reply.json().map_err(|e| of_client(&what, &e, secret))?;
        let found = json.at(&format!("data/{field}")).and_then(Json::as_str).filter(|text| !text.is_empty());
        found
            .map(|text| Zeroizing::new(text.to_owned()))
            .ok_or_else(|| Fault::protocol(format!("{what}: the answer has no data.{field}; is that a transit engine?")))
    }

    /// `SOPS_HC_VAULT_ALLOWLIST`: `all`, `none`, or a comma list of addresses; a file's metadata must not send the token anywhere.
    fn allowed(&self, address: &str) -> Result<()> {
        const NAME: &str = "SOPS_HC_VAULT_ALLOWLIST";
        let list = self.env.raw(NAME).unwrap_or_else(|| "all".to_owned());
        if list == "all" {
            return Ok(());
        }
        let slashed = |text: &str| if text.ends_with('/') { text.to_owned() } else { format!("{text}/") };
        let address = slashed(address);
        if list != "none" {
            for (number, entry) in list.split(',').enumerate() {
                let entry = entry.trim();
                if entry.is_empty() {
                    return Err(Fault::setup(format!("{NAME}: entry {} is empty", number + 1)));
                }
                if address.starts_with(&slashed(entry)) {
                    return Ok(());
                }
            }
        }
        Err(Fault::setup(format!("{NAME} does not allow {address}")).hint("Add the address to that list if it is yours"))
    }
}

fn of_client(what: &str, error: &Error, secret: &str) -> Fault {
    let hide = |text: String| if secret.is_empty() { text } else { text.replace(secret, "(not shown)") };
    match error {
        Error::Api(api) => {
            let words = api.errors.as_ref().map(|errors| errors.join("; ")).unwrap_or_default();
            let mut words: String = hide(words).chars().map(|c| if c.is_control() { ' ' } else { c }).take(400).collect();
            if !words.is_empty() {
                words.insert_str(0, ": ");
            }
            let mut fault = Fault::refused(format!("{what}: the server answered {}{words}", api.status));
            fault.hint = api.hint.clone().or_else(|| match api.status {
                403 => Some("The token is not valid there, or its policies do not grant update on this path".into()),
                404 => Some("Is the transit engine mounted there, and is there such a key?".into()),
                503 => Some("The server is sealed".into()),
                _ => None,
            });
            fault
        }
        Error::NoAnswer { hint, .. } => {
            Fault { kind: FaultKind::Unreachable, text: format!("{what}: {}", hide(error.to_string())), hint: hint.clone() }
        }
        other => Fault::setup(format!("{what}: {}", hide(other.to_string()))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::RemoteKey;
    use super::super::scripted::{Script, quick};
    use super::*;

    fn key(address: String) -> RemoteKey {
        RemoteKey::Vault(VaultKey { address, engine: "team/a/transit".into(), name: "dev".into() })
    }

    #[tokio::test]
    async fn asks_as_the_engine_has_it() {
        let server =
            Script::of(vec![(200, r#"{"data":{"ciphertext":"vault:v1:abc"}}"#), (200, r#"{"data":{"plaintext":"ZGF0YQ=="}}"#)])
                .await;
        // VAULT_ADDR speaks of another server.
        let kms = quick(&[("VAULT_TOKEN", "t0ken"), ("VAULT_ADDR", "http://127.0.0.1:1"), ("VAULT_WRAP_TTL", "60s")]);
        let key = key(server.url(""));
        assert_eq!(kms.wrap(&key, b"data").await.unwrap(), "vault:v1:abc");
        assert_eq!(&**kms.unwrap(&key, "vault:v1:abc").await.unwrap(), b"data");
        let seen = server.seen();
        assert_eq!(seen[0].line, "PUT /v1/team/a/transit/encrypt/dev HTTP/1.1");
        assert_eq!((seen[0].header("x-vault-token"), seen[0].header("x-vault-request")), ("t0ken", "true"));
        assert_eq!((seen[0].body.as_str(), seen[0].header("x-vault-wrap-ttl")), (r#"{"plaintext":"ZGF0YQ=="}"#, ""));
        assert_eq!(
            (seen[1].line.as_str(), seen[1].body.as_str()),
            ("PUT /v1/team/a/transit/decrypt/dev HTTP/1.1", r#"{"ciphertext":"vault:v1:abc"}"#)
        );
    }

    #[tokio::test]
    async fn the_token_of_the_home_is_taken_and_without_one_nothing_is_sent() {
        let server = Script::of(vec![(200, r#"{"data":{"ciphertext":"vault:v1:abc"}}"#)]).await;
        let home = tempfile::tempdir().unwrap();
        let path = home.path().display().to_string();
        let kms = quick(&[("HOME", &path)]);
        let fault = kms.wrap(&key(server.url("")), b"d").await.unwrap_err();
        assert!(fault.kind == FaultKind::Setup && fault.text.contains("no token"), "{fault}");
        std::fs::write(home.path().join(".vault-token"), "of-home\n").unwrap();
        kms.wrap(&key(server.url("")), b"d").await.unwrap();
        assert_eq!(server.seen()[0].header("x-vault-token"), "of-home");
    }

    #[tokio::test]
    async fn the_allowlist_keeps_the_token_at_home() {
        let at = key("http://127.0.0.1:1".into());
        for (list, allowed) in [
            ("none", false),
            ("all", true),
            ("http://127.0.0.1:1", true),
            ("https://a, http://127.0.0.1:1/", true),
            ("http://127.0.0.1", false),
            ("http://127.0.0.1:10", false),
            ("https://a,,http://127.0.0.1:1", false),
        ] {
            let kms = quick(&[("VAULT_TOKEN", "t"), ("VAULT_MAX_RETRIES", "0"), ("SOPS_HC_VAULT_ALLOWLIST", list)]);
            let kind = kms.wrap(&at, b"d").await.unwrap_err().kind;
            assert_eq!(kind, if allowed { FaultKind::Unreachable } else { FaultKind::Setup }, "{list}");
        }
    }

    #[tokio::test]
    async fn refusals_show_the_servers_words_and_no_secret() {
        for (status, body) in [(403, r#"{"errors":["permission denied: ZGF0YQ=="]}"#), (400, "canary"), (404, r#"{"errors":[]}"#)]
        {
            let server = Script::of(vec![(status, body)]).await;
            let fault = quick(&[("VAULT_TOKEN", "canary-token")]).wrap(&key(server.url("")), b"data").await.unwrap_err();
            let text = fault.to_string();
            assert_eq!(fault.kind, FaultKind::Refused);
            assert!(text.contains(&status.to_string()) && !text.contains("canary") && !text.contains("ZGF0YQ"), "{text}");
        }
        for body in ["{}", r#"{"data":{"ciphertext":""}}"#, "no json"] {
            let server = Script::of(vec![(200, body)]).await;
            assert!(quick(&[("VAULT_TOKEN", "t")]).wrap(&key(server.url("")), b"data").await.is_err(), "{body}");
        }
    }
}
