//! Google Cloud KMS over REST: `projects.locations.keyRings.cryptoKeys.encrypt` and `.decrypt` (Cloud KMS API, v1), and how to get a
//! token for it (Google Cloud, "Application Default Credentials"; RFC 7523 for service accounts).

use super::Kms;
use super::fault::{Fault, FaultKind, Result};
use super::web::{Ask, Said, base64, from_base64};
use coffer_crypto::jws::{Algorithm, Signer};
use coffer_crypto::pk::PrivateKey;
use coffer_types::json::{Limits, parse};
use coffer_types::{Json, Object, Secret};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// A key of Google Cloud KMS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcpKey {
    /// `projects/P/locations/L/keyRings/R/cryptoKeys/K`
    pub resource: String,
}

/// What a token may be used for.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
/// Only machines of Google's cloud have that server.
const METADATA: Duration = Duration::from_secs(2);

impl Kms {
    pub(super) async fn gcp_encrypt(&self, key: &GcpKey, plaintext: &[u8]) -> Result<String> {
        let text = Zeroizing::new(base64(plaintext));
        let (ask, said) = self.gcp_call(key, "encrypt", Object::new().with("plaintext", text.as_str()), &text).await?;
        let found = said.text(&ask, "ciphertext")?;
        from_base64(&found, "GCP KMS: the ciphertext").map_err(|f| Fault::protocol(f.text))?;
        Ok(found.as_str().to_owned())
    }

    pub(super) async fn gcp_decrypt(&self, key: &GcpKey, enc: &str) -> Result<Zeroizing<Vec<u8>>> {
        from_base64(enc, "GCP KMS: the encrypted data key")?;
        let (ask, said) = self.gcp_call(key, "decrypt", Object::new().with("ciphertext", enc.trim()), "").await?;
        from_base64(&said.text(&ask, "plaintext")?, "GCP KMS: the plaintext")
    }

    async fn gcp_call(&self, key: &GcpKey, verb: &str, body: Object, secret: &str) -> Result<(Ask, Said)> {
        check(&key.resource)?;
        let token = self.gcp_token().await?;
        let url = format!("{}/v1/{}:{verb}", self.gcp_endpoint()?, key.resource);
        let ask =
            Ask::new("POST", url).secret_header("authorization", format!("Bearer {}", token.expose())).json(&Json::Object(body));
        let ask = if secret.is_empty() { ask } else { ask.secret(secret) };
        let said = self.web().ask(&ask).await?;
        if said.is_good() { Ok((ask, said)) } else { Err(refusal(&format!("GCP KMS {verb} with {}", key.resource), &ask, &said)) }
    }

    /// `SOPS_GCP_KMS_ENDPOINT` (a URL, or a host that is spoken to with TLS), else that of the universe's domain.
    fn gcp_endpoint(&self) -> Result<String> {
        let fits = |domain: &str| domain.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'));
        match (self.env.raw("SOPS_GCP_KMS_ENDPOINT"), self.env.raw("SOPS_GCP_KMS_UNIVERSE_DOMAIN")) {
            (Some(url), _) if url.contains("://") => Ok(url.trim_end_matches('/').to_owned()),
            (Some(host), _) => Ok(format!("https://{}", host.trim_end_matches('/'))),
            (None, Some(domain)) if fits(&domain) => Ok(format!("https://cloudkms.{domain}")),
            (None, Some(domain)) => Err(Fault::setup(format!("SOPS_GCP_KMS_UNIVERSE_DOMAIN: {domain:?} is no domain"))),
            (None, None) => Ok("https://cloudkms.googleapis.com".to_owned()),
        }
    }

    /// `GOOGLE_CREDENTIALS`, `GOOGLE_OAUTH_ACCESS_TOKEN`, then the application default credentials: the file of
    /// `GOOGLE_APPLICATION_CREDENTIALS`, gcloud's, the metadata server.
    async fn gcp_token(&self) -> Result<Arc<Secret<String>>> {
        if let Some(kept) = self.tokens.get("gcp", self.now()) {
            return Ok(kept);
        }
        if let Some(text) = self.env.raw("GOOGLE_CREDENTIALS") {
            let name = "GOOGLE_CREDENTIALS";
            // A path, or the JSON itself.
            return match std::fs::read_to_string(&text) {
                Ok(file) => self.gcp_credentials(name, &Zeroizing::new(file)).await,
                Err(e) if !text.trim_start().starts_with('{') => {
                    Err(Fault::setup(format!("{name} names no file that can be read ({e}) and is no JSON")))
                }
                Err(_) => self.gcp_credentials(name, &Zeroizing::new(text)).await,
            };
        }
        if let Some(token) = self.env.raw("GOOGLE_OAUTH_ACCESS_TOKEN") {
            return Ok(Arc::new(Secret::from(token)));
        }
        if let Some(path) = self.env.raw("GOOGLE_APPLICATION_CREDENTIALS") {
            let file = std::fs::read_to_string(&path)
                .map_err(|e| Fault::setup(format!("GOOGLE_APPLICATION_CREDENTIALS: {path}: {e}")))?;
            return self.gcp_credentials("GOOGLE_APPLICATION_CREDENTIALS", &Zeroizing::new(file)).await;
        }
        let folder = self.env.raw("CLOUDSDK_CONFIG").map(PathBuf::from).or_else(|| Some(self.env.home()?.join(".config/gcloud")));
        if let Some(path) = folder.map(|folder| folder.join("application_default_credentials.json")) {
            match std::fs::read_to_string(&path) {
                Ok(file) => return self.gcp_credentials(&path.display().to_string(), &Zeroizing::new(file)).await,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(Fault::setup(format!("{}: {e}", path.display()))),
            }
        }
        self.gcp_metadata().await
    }

    async fn gcp_credentials(&self, from: &str, text: &str) -> Result<Arc<Secret<String>>> {
        let json = parse(text.as_bytes(), &Limits::NONE).map_err(|fault| Fault::setup(format!("{from}: no JSON: {fault}")))?;
        let field = |name: &str| {
            let found = json.get(name).and_then(Json::as_str).filter(|text| !text.is_empty());
            found.ok_or_else(|| Fault::setup(format!("{from}: the credentials have no {name:?}")))
        };
        let uri = field("token_uri").unwrap_or(TOKEN_URI);
        let ask = match field("type")? {
            "service_account" => {
                let assertion =
                    self.gcp_assertion(from, field("client_email")?, field("private_key")?, field("private_key_id").ok(), uri)?;
                Ask::new("POST", uri)
                    .form(&[("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", assertion.as_str())])
            }
            "authorized_user" => Ask::new("POST", uri).form(&[
                ("grant_type", "refresh_token"),
                ("client_id", field("client_id")?),
                ("client_secret", field("client_secret")?),
                ("refresh_token", field("refresh_token")?),
            ]),
            other => {
                return Err(Fault::setup(format!("{from}: credentials of the type {other:?} are not built here"))
                    .hint("Pass a token: GOOGLE_OAUTH_ACCESS_TOKEN=$(gcloud auth print-access-token)"));
            }
        };
        let said = self.web().ask(&ask).await?;
        if !said.is_good() {
            return Err(refusal(&format!("{from}: no token for these credentials"), &ask, &said));
        }
        self.gcp_keep(&ask, &said)
    }

    /// The signed statement of a service account (RFC 7523 section 3).
    fn gcp_assertion(&self, from: &str, email: &str, pem: &str, id: Option<&str>, audience: &str) -> Result<Zeroizing<String>> {
        let wrong = || Fault::setup(format!("{from}: \"private_key\" is no RSA key in PEM"));
        let pkcs8 = PrivateKey::from_pem(pem).and_then(|key| key.to_pkcs8()).map_err(|_| wrong())?;
        let signer = Signer::from_pkcs8(Algorithm::Rs256, &pkcs8).map_err(|_| wrong())?;
        let now = self.now().secs();
        let claims =
            Object::new().with("iss", email).with("scope", SCOPE).with("aud", audience).with("iat", now).with("exp", now + 3600);
        let mut header = Object::new().with("alg", "RS256").with("typ", "JWT");
        if let Some(id) = id {
            header.insert("kid", id);
        }
        signer.token_with(header, &Json::Object(claims).to_bytes()).map(Zeroizing::new).map_err(|_| wrong())
    }

    async fn gcp_metadata(&self) -> Result<Arc<Secret<String>>> {
        let host = self.env.raw("GCE_METADATA_HOST").unwrap_or_else(|| "metadata.google.internal".to_owned());
        let url = format!("http://{host}/computeMetadata/v1/instance/service-accounts/default/token");
        let ask = Ask::new("GET", url).header("metadata-flavor", "Google").once_within(METADATA);
        match self.web().ask(&ask).await {
            Ok(said) if said.is_good() => self.gcp_keep(&ask, &said),
            Ok(said) => Err(refusal("GCP: this machine's service account", &ask, &said)),
            Err(_) => Err(Fault::setup("GCP: there are no credentials").hint(
                "Set GOOGLE_CREDENTIALS or GOOGLE_APPLICATION_CREDENTIALS to a credentials file, GOOGLE_OAUTH_ACCESS_TOKEN to a token, or run \"gcloud auth application-default login\"",
            )),
        }
    }

    fn gcp_keep(&self, ask: &Ask, said: &Said) -> Result<Arc<Secret<String>>> {
        let token = said.text(ask, "access_token")?;
        let lasts = said.json().and_then(|json| json.get("expires_in")?.as_i64()).and_then(|secs| u64::try_from(secs).ok());
        let until = self.now().plus(Duration::from_secs(lasts.unwrap_or(0)));
        Ok(self.tokens.put("gcp", Secret::from(token.as_str()), Some(until)))
    }
}

/// The name goes into a path, so only its own form will do.
fn check(resource: &str) -> Result<()> {
    let parts: Vec<&str> = resource.split('/').collect();
    let plain =
        |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':'));
    let fits = matches!(parts[..], ["projects", _, "locations", _, "keyRings", _, "cryptoKeys", _])
        && parts.iter().all(plain)
        && !parts.iter().any(|part| matches!(*part, "." | ".."));
    if fits {
        return Ok(());
    }
    Err(Fault { kind: FaultKind::Input, text: format!("GCP KMS: no valid resource ID found in {resource:?}"), hint: None }
        .hint("Write it as projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY"))
}

/// Google's errors are `{"error":{"status","message"}}`, those of its token server `{"error","error_description"}`.
fn refusal(what: &str, ask: &Ask, said: &Said) -> Fault {
    let json = said.json().unwrap_or_default();
    let text = |path: &str| json.at(path).and_then(Json::as_str).map(|text| ask.words(text));
    let status = text("error/status").or_else(|| text("error")).map(|s| format!(" {s}")).unwrap_or_default();
    let message = text("error/message").or_else(|| text("error_description")).map(|s| format!(": {s}")).unwrap_or_default();
    let fault = Fault::refused(format!("{what}: {} answered {}{status}{message}", ask.place(), said.status));
    match said.status {
        401 => fault.hint("The token is not valid or too old: log in again"),
        403 => fault.hint("These credentials need cloudkms.cryptoKeyVersions.useToEncrypt or useToDecrypt on the key"),
        404 => fault.hint("There is no such key, or these credentials may not see it"),
        _ => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::super::RemoteKey;
    use super::super::scripted::{Script, quick};
    use super::*;
    use coffer_crypto::pk::KeyKind;

    const KEY: &str = "projects/p/locations/global/keyRings/r/cryptoKeys/k";

    fn key() -> RemoteKey {
        RemoteKey::Gcp(GcpKey { resource: KEY.into() })
    }

    #[tokio::test]
    async fn encrypts_and_decrypts_as_the_service_has_it() {
        let server = Script::of(vec![(200, r#"{"ciphertext":"Y2lwaGVy"}"#), (200, r#"{"plaintext":"ZGF0YQ=="}"#)]).await;
        let url = server.url("/");
        let kms = quick(&[("SOPS_GCP_KMS_ENDPOINT", &url), ("GOOGLE_OAUTH_ACCESS_TOKEN", "tok")]);
        assert_eq!(kms.wrap(&key(), b"data").await.unwrap(), "Y2lwaGVy");
        assert_eq!(&**kms.unwrap(&key(), "Y2lwaGVy").await.unwrap(), b"data");
        let seen = server.seen();
        assert_eq!(seen[0].line, format!("POST /v1/{KEY}:encrypt HTTP/1.1"));
        assert_eq!((seen[0].header("authorization"), seen[0].body.as_str()), ("Bearer tok", r#"{"plaintext":"ZGF0YQ=="}"#));
        assert_eq!(
            (seen[1].line.as_str(), seen[1].body.as_str()),
            (&*format!("POST /v1/{KEY}:decrypt HTTP/1.1"), r#"{"ciphertext":"Y2lwaGVy"}"#)
        );
    }

    #[tokio::test]
    async fn a_service_account_signs_for_its_token_and_keeps_it() {
        let signer = PrivateKey::generate(KeyKind::Rsa(2048)).unwrap();
        let pem = signer.to_pkcs8_pem().unwrap();
        let server = Script::of(vec![
            (200, r#"{"access_token":"made","expires_in":3600}"#),
            (200, r#"{"ciphertext":"Y2lwaGVy"}"#),
            (200, r#"{"ciphertext":"Y2lwaGVy"}"#),
        ])
        .await;
        let account = Json::Object(
            Object::new()
                .with("type", "service_account")
                .with("client_email", "a@p.example")
                .with("private_key_id", "kid1")
                .with("private_key", pem.as_str())
                .with("token_uri", server.url("/token").as_str()),
        );
        let url = server.url("");
        let text = String::from_utf8(account.to_bytes().to_vec()).unwrap();
        let kms = quick(&[("SOPS_GCP_KMS_ENDPOINT", &url), ("GOOGLE_CREDENTIALS", &text)]);
        for _ in 0..2 {
            kms.wrap(&key(), b"data").await.unwrap();
        }
        let seen = server.seen();
        assert_eq!((seen[0].line.as_str(), seen[2].header("authorization")), ("POST /token HTTP/1.1", "Bearer made"));
        let assertion = seen[0].body.split("assertion=").nth(1).unwrap();
        let public = Signer::from_pkcs8(Algorithm::Rs256, &signer.to_pkcs8().unwrap()).unwrap().public_key().unwrap();
        let (signed, signature) = assertion.rsplit_once('.').unwrap();
        use base64::Engine as _;
        let raw = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert!(public.verify(Algorithm::Rs256, signed.as_bytes(), &raw));
        let claims = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(signed.split('.').nth(1).unwrap()).unwrap();
        let claims = parse(&claims, &Limits::NONE).unwrap();
        assert_eq!(
            (claims.get("iss").unwrap().as_str(), claims.get("iat").unwrap().as_i64()),
            (Some("a@p.example"), Some(1_767_323_045))
        );
    }

    #[tokio::test]
    async fn a_user_and_a_machine_get_tokens() {
        let server =
            Script::of(vec![(200, r#"{"access_token":"user","expires_in":3600}"#), (200, r#"{"ciphertext":"Y2lwaGVy"}"#)]).await;
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(".config/gcloud");
        std::fs::create_dir_all(&folder).unwrap();
        let file = format!(
            r#"{{"type":"authorized_user","client_id":"id","client_secret":"s/1","refresh_token":"r+t","token_uri":"{}"}}"#,
            server.url("/t")
        );
        std::fs::write(folder.join("application_default_credentials.json"), file).unwrap();
        let (path, url) = (home.path().display().to_string(), server.url(""));
        quick(&[("HOME", &path), ("SOPS_GCP_KMS_ENDPOINT", &url)]).wrap(&key(), b"d").await.unwrap();
        assert_eq!(server.seen()[0].body, "grant_type=refresh_token&client_id=id&client_secret=s%2F1&refresh_token=r%2Bt");

        let server =
            Script::of(vec![(200, r#"{"access_token":"box","expires_in":3600}"#), (200, r#"{"ciphertext":"Y2lwaGVy"}"#)]).await;
        let (host, url) = (server.url("").replace("http://", ""), server.url(""));
        quick(&[("GCE_METADATA_HOST", &host), ("SOPS_GCP_KMS_ENDPOINT", &url)]).wrap(&key(), b"d").await.unwrap();
        assert_eq!(server.seen()[0].header("metadata-flavor"), "Google");
        assert_eq!(server.seen()[1].header("authorization"), "Bearer box");
    }

    #[tokio::test]
    async fn refusals_say_what_to_do_and_no_secret() {
        let body = r#"{"error":{"code":403,"status":"PERMISSION_DENIED","message":"not with canary-token or ZGF0YQ=="}}"#;
        let server = Script::of(vec![(403, body)]).await;
        let url = server.url("");
        let kms = quick(&[("SOPS_GCP_KMS_ENDPOINT", &url), ("GOOGLE_OAUTH_ACCESS_TOKEN", "canary-token")]);
        let text = kms.wrap(&key(), b"data").await.unwrap_err().to_string();
        assert!(text.contains("PERMISSION_DENIED") && text.contains("useToEncrypt"), "{text}");
        assert!(!text.contains("canary") && !text.contains("ZGF0YQ"), "{text}");

        for (credentials, want) in [
            ("/nowhere/canary.json", "no file"),
            ("{", "no JSON"),
            ("{}", "\"type\""),
            (r#"{"type":"service_account","client_email":"a","private_key":"canary"}"#, "private_key"),
            (r#"{"type":"service_account","private_key":"canary"}"#, "client_email"),
            (r#"{"type":"authorized_user","client_id":"canary"}"#, "client_secret"),
            (r#"{"type":"external_account"}"#, "external_account"),
        ] {
            let fault = quick(&[("GOOGLE_CREDENTIALS", credentials)]).wrap(&key(), b"d").await.unwrap_err();
            assert_eq!(fault.kind, FaultKind::Setup);
            assert!(fault.text.contains(want) && !fault.text.contains("canary"), "{fault}");
        }
        let fault = quick(&[("GCE_METADATA_HOST", "127.0.0.1:1")]).wrap(&key(), b"d").await.unwrap_err();
        assert!(fault.kind == FaultKind::Setup && fault.text.contains("no credentials"), "{fault}");
    }

    #[test]
    fn only_names_of_keys_go_into_a_path() {
        check(KEY).unwrap();
        check("projects/a.com:p/locations/l/keyRings/r/cryptoKeys/k").unwrap();
        for name in [
            "",
            "projects/p",
            "projects/p/locations/l/keyRings/r/cryptoKeys/",
            "projects/p/locations/l/keyRings/r/cryptoKeys/k/x",
            "projects/../locations/l/keyRings/r/cryptoKeys/k",
            "projects/p/locations/l/keyRings/r/cryptoKeys/k?x=y",
            "projects/p/locations/l/keyRings/r/cryptoKeys/k#",
        ] {
            assert_eq!(check(name).unwrap_err().kind, FaultKind::Input, "{name}");
        }
    }
}
