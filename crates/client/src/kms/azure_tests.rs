//! Azure's calls need https, so the vault here is a TLS server of its own; tokens come from plain ones.

use super::super::scripted::{Script, quick};
use super::super::{FaultKind, RemoteKey};
use super::*;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A vault that asks for a token in its first answer, then gives the answers of the script.
struct Vault {
    port: u16,
    ca: tempfile::NamedTempFile,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Vault {
    async fn of(answers: Vec<(u16, &str)>) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["v.vault.localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let ca = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ca.path(), made.cert.pem()).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = seen.clone();
        let challenge = format!(
            "HTTP/1.1 401 X\r\nWWW-Authenticate: Bearer authorization=\"https://login.microsoftonline.com/t\", resource=\"https://0.0.1:{port}\"\r\nContent-Length: 0\r\n\r\n"
        );
        let mut answers: Vec<String> = answers
            .into_iter()
            .map(|(status, body)| format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
            .collect();
        answers.insert(0, challenge);
        tokio::spawn(async move {
            for answer in answers {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut got = vec![0; 16384];
                let mut length = 0;
                loop {
                    let n = stream.read(&mut got[length..]).await.unwrap();
                    length += n;
                    let text = String::from_utf8_lossy(&got[..length]).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let want = head
                        .lines()
                        .find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
                        .unwrap_or(0);
                    if n == 0 || body.len() >= want {
                        break;
                    }
                }
                kept.lock().unwrap().push(String::from_utf8_lossy(&got[..length]).into_owned());
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap_or_default();
            }
        });
        Self { port, ca, seen }
    }

    fn key(&self, version: &str) -> RemoteKey {
        RemoteKey::Azure(AzureKey {
            vault_url: format!("https://127.0.0.1:{}", self.port),
            name: "k".into(),
            version: version.into(),
        })
    }

    fn ca(&self) -> String {
        self.ca.path().display().to_string()
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

const WRAPPED: &str = r#"{"kid":"x","value":"Y2lwaGVy"}"#;
const TOKEN: &str = r#"{"access_token":"tok","expires_in":3600,"token_type":"Bearer"}"#;

#[tokio::test]
async fn the_challenge_is_answered_once_and_the_data_key_goes_only_with_a_token() {
    let vault = Vault::of(vec![(200, WRAPPED), (200, r#"{"value":"ZGF0YQ"}"#)]).await;
    let login = Script::of(vec![(200, TOKEN)]).await;
    let (ca, host) = (vault.ca(), login.url(""));
    let kms = quick(&[
        ("SSL_CERT_FILE", &ca),
        ("AZURE_AUTHORITY_HOST", &host),
        ("AZURE_TENANT_ID", "t"),
        ("AZURE_CLIENT_ID", "c"),
        ("AZURE_CLIENT_SECRET", "s3cret/"),
    ]);
    assert_eq!(kms.wrap(&vault.key("v1"), b"data").await.unwrap(), "Y2lwaGVy");
    assert_eq!(&**kms.unwrap(&vault.key("v1"), "Y2lwaGVy").await.unwrap(), b"data");
    let seen = vault.seen();
    assert_eq!(seen.len(), 3);
    assert!(!seen[0].contains("ZGF0YQ") && !seen[0].contains("authorization"), "{}", seen[0]);
    assert!(
        seen[1].starts_with("POST /keys/k/v1/encrypt?api-version=7.4 HTTP/1.1\r\n")
            && seen[1].contains("authorization: Bearer tok\r\n")
    );
    assert!(seen[1].ends_with(r#"{"alg":"RSA-OAEP-256","value":"ZGF0YQ"}"#), "{}", seen[1]);
    assert!(seen[2].starts_with("POST /keys/k/v1/decrypt?") && seen[2].ends_with(r#"{"alg":"RSA-OAEP-256","value":"Y2lwaGVy"}"#));
    let asked = &login.seen()[0];
    assert_eq!(asked.line, "POST /t/oauth2/v2.0/token HTTP/1.1");
    let scope = format!("scope=https%3A%2F%2F0.0.1%3A{}%2F.default", vault.port);
    assert_eq!(asked.body, format!("grant_type=client_credentials&client_id=c&{scope}&client_secret=s3cret%2F"));
}

#[tokio::test]
async fn a_key_without_a_version_gets_the_newest() {
    let vault = Vault::of(vec![(200, r#"{"key":{"kid":"https://v/keys/k/abc123"}}"#)]).await;
    let identity = Script::of(vec![(200, r#"{"access_token":"tok","expires_on":"1767330000"}"#)]).await;
    let (ca, url) = (vault.ca(), identity.url("/token"));
    let kms = quick(&[("SSL_CERT_FILE", &ca), ("IDENTITY_ENDPOINT", &url), ("IDENTITY_HEADER", "canary-header")]);
    let RemoteKey::Azure(key) = vault.key("") else { unreachable!() };
    assert_eq!(kms.pin(&key).await.unwrap().version, "abc123");
    let asked = &identity.seen()[0];
    assert_eq!(asked.header("x-identity-header"), "canary-header");
    assert_eq!(asked.line, format!("GET /token?api-version=2019-08-01&resource=https%3A%2F%2F0.0.1%3A{} HTTP/1.1", vault.port));
    assert!(vault.seen()[1].starts_with("GET /keys/k/?api-version=7.4 HTTP/1.1\r\n"));
}

#[tokio::test]
async fn workloads_and_certificates_assert_who_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let signing = coffer_crypto::pk::PrivateKey::generate(coffer_crypto::pk::KeyKind::Rsa(2048)).unwrap().to_pkcs8_pem().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["client".to_owned()]).unwrap();
    let (pem, jwt) = (folder.path().join("c.pem"), folder.path().join("jwt"));
    std::fs::write(&pem, format!("{}{}", made.cert.pem(), signing.as_str())).unwrap();
    std::fs::write(&jwt, "canary.federated.token\n").unwrap();
    let (pem, jwt) = (pem.display().to_string(), jwt.display().to_string());
    for proof in [("AZURE_CLIENT_CERTIFICATE_PATH", &pem), ("AZURE_FEDERATED_TOKEN_FILE", &jwt)] {
        let vault = Vault::of(vec![(200, WRAPPED)]).await;
        let login = Script::of(vec![(200, TOKEN)]).await;
        let (ca, host) = (vault.ca(), login.url(""));
        let env = [
            ("SSL_CERT_FILE", ca.as_str()),
            ("AZURE_AUTHORITY_HOST", &host),
            ("AZURE_TENANT_ID", "t"),
            ("AZURE_CLIENT_ID", "c"),
            (proof.0, proof.1),
        ];
        quick(&env).wrap(&vault.key("v"), b"data").await.unwrap();
        let body = login.seen()[0].body.clone();
        assert!(body.contains("client_assertion_type=urn%3Aietf") && body.contains("&client_assertion="), "{body}");
        assert_eq!(body.contains("canary.federated.token"), proof.0 == "AZURE_FEDERATED_TOKEN_FILE");
    }
}

#[tokio::test]
async fn the_command_line_of_azure_is_asked_last() {
    let folder = tempfile::tempdir().unwrap();
    let az = folder.path().join("az");
    std::fs::write(
        &az,
        "#!/bin/sh\necho \"$@\" > \"$(dirname \"$0\")/args\"\necho '{\"accessToken\":\"cli\",\"expires_on\":1767330000}'\n",
    )
    .unwrap();
    std::fs::set_permissions(&az, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let vault = Vault::of(vec![(200, WRAPPED)]).await;
    let (ca, path) = (vault.ca(), format!("{}:/usr/bin:/bin", folder.path().display()));
    let env = [("SSL_CERT_FILE", ca.as_str()), ("PATH", &path), ("AZURE_TOKEN_CREDENTIALS", "dev")];
    quick(&env).wrap(&vault.key("v"), b"data").await.unwrap();
    let args = std::fs::read_to_string(folder.path().join("args")).unwrap();
    assert_eq!(args.trim(), format!("account get-access-token -o json --resource https://0.0.1:{}", vault.port));
    assert!(vault.seen()[1].contains("authorization: Bearer cli\r\n"));
}

#[tokio::test]
async fn refusals_say_what_to_do_and_no_secret() {
    let vault = Vault::of(vec![(403, r#"{"error":{"code":"Forbidden","message":"no canary-token, ZGF0YQ"}}"#)]).await;
    let login = Script::of(vec![(200, r#"{"access_token":"canary-token","expires_in":3600}"#)]).await;
    let (ca, host) = (vault.ca(), login.url(""));
    let base = [("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c"), ("AZURE_CLIENT_SECRET", "canary-secret-of-the-client")];
    let mut env = base.to_vec();
    env.extend([("SSL_CERT_FILE", ca.as_str()), ("AZURE_AUTHORITY_HOST", &host)]);
    let text = quick(&env).wrap(&vault.key("v"), b"data").await.unwrap_err().to_string();
    assert!(text.contains("403 Forbidden") && text.contains("permissions"), "{text}");
    assert!(!text.contains("canary") && !text.contains("ZGF0YQ"), "{text}");

    let vault = Vault::of(vec![]).await;
    let login =
        Script::of(vec![(401, r#"{"error":"invalid_client","error_description":"bad canary-secret-of-the-client"}"#)]).await;
    let (ca, host) = (vault.ca(), login.url(""));
    let mut env = base.to_vec();
    env.extend([("SSL_CERT_FILE", ca.as_str()), ("AZURE_AUTHORITY_HOST", &host)]);
    let text = quick(&env).wrap(&vault.key("v"), b"data").await.unwrap_err().to_string();
    assert!(text.contains("invalid_client") && !text.contains("canary"), "{text}");

    let vault = Vault::of(vec![]).await;
    let ca = vault.ca();
    let nobody =
        [("SSL_CERT_FILE", ca.as_str()), ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1"), ("PATH", "/nowhere")];
    let fault = quick(&nobody).wrap(&vault.key("v"), b"data").await.unwrap_err();
    assert!(fault.kind == FaultKind::Setup && fault.text.contains("not installed"), "{fault}");
    let vault = Vault::of(vec![]).await;
    let ca = vault.ca();
    let odd = [("SSL_CERT_FILE", ca.as_str()), ("AZURE_TOKEN_CREDENTIALS", "Mine")];
    assert!(quick(&odd).wrap(&vault.key("v"), b"data").await.unwrap_err().text.contains("\"Mine\""));
}

#[tokio::test]
async fn plain_http_and_odd_vaults_are_refused_before_anything_is_sent() {
    for url in ["http://127.0.0.1:1", "https://", "https://h/x", "https://u@h", "h"] {
        let key = RemoteKey::Azure(AzureKey { vault_url: url.into(), name: "k".into(), version: "v".into() });
        assert_eq!(quick(&[]).wrap(&key, b"d").await.unwrap_err().kind, FaultKind::Input, "{url}");
    }
    let key = RemoteKey::Azure(AzureKey { vault_url: "https://h".into(), name: "k".into(), version: "v".into() });
    assert_eq!(quick(&[]).unwrap(&key, "no base64!").await.unwrap_err().kind, FaultKind::Input);
}

#[test]
fn a_vault_may_only_ask_for_tokens_of_its_own_service() {
    let ask = |resource: &str, place: &str| challenge(&format!("Bearer authorization=\"https://l/t\", {resource}"), place);
    let azure = "https://v.vault.azure.net";
    assert_eq!(ask("resource=\"https://vault.azure.net\"", azure).as_deref(), Some("https://vault.azure.net"));
    assert_eq!(ask("scope=\"https://vault.azure.net/.default\"", azure).as_deref(), Some("https://vault.azure.net"));
    for (resource, place) in [
        ("resource=\"https://management.azure.com\"", azure),
        ("resource=\"https://vault.azure.net\"", "https://evilvault.azure.net"),
        ("resource=\"https://vault.azure.net\"", "https://v.vault.azure.net.evil.example"),
        ("resource=\"http://vault.azure.net\"", azure),
        ("resource=\"https://\"", azure),
        ("", azure),
    ] {
        assert_eq!(ask(resource, place), None, "{resource} {place}");
    }
    assert_eq!(challenge("Basic realm=\"x\"", azure), None);
}
