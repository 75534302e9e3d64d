//! Huawei Cloud KMS (Data Encryption Workshop API Reference, "Encrypting Data", "Decrypting Data"), signed with `SDK-HMAC-SHA256` (API
//! Request Signing Guide, "AK/SK Signing and Authentication Algorithm").

use super::Kms;
use super::aws::compact;
use super::fault::{Fault, Result};
use super::web::{Ask, Said, base64, from_base64};
use coffer_crypto::{mac, sigv4};
use coffer_types::{Json, Object, Secret, Timestamp};
use std::fmt::Write as _;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// A key of Huawei Cloud KMS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HuaweiKey {
    pub region: String,
    /// Its UUID.
    pub id: String,
}

struct Credentials {
    key_id: String,
    secret: Zeroizing<String>,
    security_token: Option<Zeroizing<String>>,
    project: Option<String>,
}

impl Kms {
    pub(super) async fn huawei_encrypt(&self, key: &HuaweiKey, plaintext: &[u8]) -> Result<String> {
        let text = Zeroizing::new(base64(plaintext));
        let body = Object::new().with("key_id", key.id.as_str()).with("plain_text", text.as_str());
        let (ask, said) = self.huawei_call(key, "encrypt-data", body, &text).await?;
        Ok(said.text(&ask, "cipher_text")?.as_str().to_owned())
    }

    pub(super) async fn huawei_decrypt(&self, key: &HuaweiKey, enc: &str) -> Result<Zeroizing<Vec<u8>>> {
        let body = Object::new().with("cipher_text", enc.trim()).with("key_id", key.id.as_str());
        let (ask, said) = self.huawei_call(key, "decrypt-data", body, "").await?;
        from_base64(&said.text(&ask, "plain_text")?, "Huawei KMS: the plaintext")
    }

    async fn huawei_call(&self, key: &HuaweiKey, verb: &str, body: Object, secret: &str) -> Result<(Ask, Said)> {
        let what = format!("Huawei KMS {verb} with {}:{}", key.region, key.id);
        let endpoint = self.huawei_endpoint("KMS", &key.region)?;
        let credentials = self.huawei_credentials()?;
        let project = self.huawei_project(key, &credentials).await?;
        let body = body.with("encryption_algorithm", "SYMMETRIC_DEFAULT");
        let ask = Ask::new("POST", format!("{endpoint}/v1.0/{project}/kms/{verb}"))
            .json(&Json::Object(body))
            .header("x-project-id", project);
        let ask = if secret.is_empty() { ask } else { ask.secret(secret) };
        let ask = signed(ask, "", &credentials, self.now());
        let said = self.web().ask(&ask).await?;
        if said.is_good() { Ok((ask, said)) } else { Err(refusal(&what, &ask, &said)) }
    }

    /// `HUAWEICLOUD_SDK_REGION_<SERVICE>_<REGION>`, else Huawei's own.
    fn huawei_endpoint(&self, service: &str, region: &str) -> Result<String> {
        if region.is_empty() || !region.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
            return Err(Fault::input(format!("Huawei KMS: {region:?} is no region")).hint("Write the key as region:uuid"));
        }
        let variable = format!("HUAWEICLOUD_SDK_REGION_{service}_{}", region.replace('-', "_").to_ascii_uppercase());
        if let Some(url) = self.env.raw(&variable) {
            return Ok(url.split(',').next().unwrap_or_default().trim_end_matches('/').to_owned());
        }
        let domain = if region == "eu-west-101" { "myhuaweicloud.eu" } else { "myhuaweicloud.com" };
        Ok(format!("https://{}.{region}.{domain}", service.to_ascii_lowercase()))
    }

    /// The environment, then `[basic]` of the file that `HUAWEICLOUD_SDK_CREDENTIALS_FILE` names (`~/.huaweicloud/credentials`).
    fn huawei_credentials(&self) -> Result<Credentials> {
        let from = |get: &dyn Fn(&str) -> Option<String>, names: [&str; 4]| {
            let [ak, sk, token, project] = names.map(get);
            Some(Credentials { key_id: ak?, secret: Zeroizing::new(sk?), security_token: token.map(Zeroizing::new), project })
        };
        let variables =
            ["HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK", "HUAWEICLOUD_SDK_SECURITY_TOKEN", "HUAWEICLOUD_SDK_PROJECT_ID"];
        if let Some(found) = from(&|name| self.env.raw(name), variables) {
            return Ok(found);
        }
        let path = self
            .env
            .raw("HUAWEICLOUD_SDK_CREDENTIALS_FILE")
            .map(PathBuf::from)
            .or_else(|| Some(self.env.home()?.join(".huaweicloud/credentials")));
        let text = Zeroizing::new(path.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default());
        let in_basic = |name: &str| {
            let mut lines =
                text.lines().map(str::trim).skip_while(|line| *line != "[basic]").skip(1).take_while(|l| !l.starts_with('['));
            lines.find_map(|line| {
                let (key, value) = line.split_once('=')?;
                (key.trim() == name && !value.trim().is_empty()).then(|| value.trim().to_owned())
            })
        };
        from(&in_basic, ["ak", "sk", "security_token", "project_id"]).ok_or_else(|| {
            Fault::setup("Huawei KMS: there are no credentials")
                .hint("Set HUAWEICLOUD_SDK_AK, HUAWEICLOUD_SDK_SK and HUAWEICLOUD_SDK_PROJECT_ID, or write [basic] with ak and sk into ~/.huaweicloud/credentials")
        })
    }

    /// The project of the region: named, or asked of IAM once (API `KeystoneListProjects`).
    async fn huawei_project(&self, key: &HuaweiKey, credentials: &Credentials) -> Result<String> {
        let name = format!("huawei-project {}", key.region);
        let project = match (&credentials.project, self.tokens.get(&name, self.now())) {
            (Some(project), _) => project.clone(),
            (None, Some(kept)) => kept.expose().clone(),
            (None, None) => {
                let endpoint = self.env.raw("HUAWEICLOUD_SDK_IAM_ENDPOINT").unwrap_or_else(|| {
                    let domain = if key.region == "eu-west-101" { "eu-west-101.myhuaweicloud.eu" } else { "myhuaweicloud.com" };
                    format!("https://iam.{domain}")
                });
                let query = format!("name={}", key.region);
                let ask = Ask::new("GET", format!("{}/v3/projects?{query}", endpoint.trim_end_matches('/')));
                let ask = signed(ask, &query, credentials, self.now());
                let said = self.web().ask(&ask).await?;
                if !said.is_good() {
                    return Err(refusal("Huawei IAM: the project of the region", &ask, &said));
                }
                let found = said
                    .text(&ask, "projects/0/id")
                    .map_err(|fault| fault.hint("Set HUAWEICLOUD_SDK_PROJECT_ID to the id of the region's project"))?;
                self.tokens.put(&name, Secret::from(found.as_str()), None);
                found.as_str().to_owned()
            }
        };
        if project.is_empty() || !project.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Err(Fault::setup("Huawei KMS: HUAWEICLOUD_SDK_PROJECT_ID is no project's id"));
        }
        Ok(project)
    }
}

/// As AWS's version 4, but for the scope: the canonical path ends in `/`, and the secret itself is the key.
fn signed(ask: Ask, query: &str, credentials: &Credentials, now: Timestamp) -> Ask {
    let time = compact(now);
    let host = ask.place().rsplit('/').next().unwrap_or_default().to_owned();
    let default = if ask.url.starts_with("https") { ":443" } else { ":80" };
    let host = host.strip_suffix(default).unwrap_or(&host).to_owned();
    let path = ask.url[ask.place().len()..].split('?').next().unwrap_or_default().trim_end_matches('/').to_owned();
    let mut ask = ask.header("x-sdk-date", time.clone());
    if let Some(token) = &credentials.security_token {
        ask = ask.secret_header("x-security-token", token.as_str());
    }
    let authorization = {
        let mut headers: Vec<(&str, &str)> = ask.headers().collect();
        headers.push(("host", &host));
        let request = sigv4::Request {
            method: ask.method,
            path: &format!("{path}/"),
            query,
            headers: &headers,
            payload: mac::sha256(&[ask.payload()]),
        };
        let (canonical, names) = request.canonical();
        let string = format!("SDK-HMAC-SHA256\n{time}\n{}", hex(&mac::sha256(&[canonical.as_bytes()])));
        let signature = hex(&mac::HmacKey::new(credentials.secret.as_bytes()).tag(string.as_bytes()));
        format!("SDK-HMAC-SHA256 Access={}, SignedHeaders={names}, Signature={signature}", credentials.key_id)
    };
    ask.header("authorization", authorization).secret(&credentials.secret)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing to a String does not fail.
        write!(out, "{byte:02x}").unwrap_or_default();
        out
    })
}

/// `{"error_code","error_msg"}`, or that within `"error"`.
fn refusal(what: &str, ask: &Ask, said: &Said) -> Fault {
    let json = said.json().unwrap_or_default();
    let text = |name: &str| {
        let found = json.get(name).or_else(|| json.get("error")?.get(name)).and_then(Json::as_str);
        found.map(|text| ask.words(text))
    };
    let code = text("error_code").map(|code| format!(" {code}")).unwrap_or_default();
    let message = text("error_msg").map(|message| format!(": {message}")).unwrap_or_default();
    let fault = Fault::refused(format!("{what}: {} answered {}{code}{message}", ask.place(), said.status));
    match said.status {
        401 => fault.hint("The access key or its secret is not one that the service knows"),
        403 => fault.hint("These credentials may not use this key"),
        _ => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::super::scripted::{Script, quick};
    use super::super::{FaultKind, RemoteKey};
    use super::*;

    fn key() -> RemoteKey {
        RemoteKey::Huawei(HuaweiKey { region: "tr-west-1".into(), id: "0d0466b0-e727-4d9c-b35d-f84bb474a37f".into() })
    }

    fn env(url: &str) -> Vec<(&str, &str)> {
        vec![
            ("HUAWEICLOUD_SDK_REGION_KMS_TR_WEST_1", url),
            ("HUAWEICLOUD_SDK_AK", "AK"),
            ("HUAWEICLOUD_SDK_SK", "canary-secret"),
            ("HUAWEICLOUD_SDK_PROJECT_ID", "p1"),
        ]
    }

    #[test]
    fn signs_like_the_published_example() {
        // The signing guide's example: two query fields, no body.
        let credentials = Credentials {
            key_id: "QTWAOYTTINDUT2QVKYUC".into(),
            secret: Zeroizing::new("MFyfvK41ba2giqM7Uio6PznpdUKGpownRZlmVmHc".into()),
            security_token: None,
            project: None,
        };
        let query = "limit=2&marker=13551d6b-755d-4757-b956-536f674975c0";
        let url = format!("https://service.region.example.com/v1/77b6a44cba5143ab91d13ab9a8ff44fd/vpcs?{query}");
        let at = Timestamp::parse_rfc3339("2019-11-15T03:36:55Z").unwrap();
        let ask = Ask::new("GET", url).header("content-type", "application/json");
        let ask = signed(ask, query, &credentials, at);
        let authorization = ask.headers().find(|(name, _)| *name == "authorization").unwrap().1.to_owned();
        assert_eq!(
            authorization,
            "SDK-HMAC-SHA256 Access=QTWAOYTTINDUT2QVKYUC, SignedHeaders=content-type;host;x-sdk-date, Signature=7be6668032f70418fcc22abc52071e57aff61b84a1d2381bb430d6870f4f6ebe"
        );
    }

    #[tokio::test]
    async fn asks_as_the_service_has_it() {
        let server =
            Script::of(vec![(200, r#"{"key_id":"k","cipher_text":"AAAA="}"#), (200, r#"{"plain_text":"ZGF0YQ=="}"#)]).await;
        let url = server.url("");
        let kms = quick(&env(&url));
        assert_eq!(kms.wrap(&key(), b"data").await.unwrap(), "AAAA=");
        assert_eq!(&**kms.unwrap(&key(), "AAAA=").await.unwrap(), b"data");
        let seen = server.seen();
        assert_eq!(seen[0].line, "POST /v1.0/p1/kms/encrypt-data HTTP/1.1");
        assert_eq!(
            seen[0].body,
            r#"{"key_id":"0d0466b0-e727-4d9c-b35d-f84bb474a37f","plain_text":"ZGF0YQ==","encryption_algorithm":"SYMMETRIC_DEFAULT"}"#
        );
        assert_eq!((seen[0].header("x-sdk-date"), seen[0].header("x-project-id")), ("20260102T030405Z", "p1"));
        assert_eq!(seen[1].line, "POST /v1.0/p1/kms/decrypt-data HTTP/1.1");
    }

    #[tokio::test]
    async fn the_project_is_asked_for_once_and_the_file_has_the_keys() {
        let server = Script::of(vec![
            (200, r#"{"projects":[{"id":"found","name":"tr-west-1"}]}"#),
            (200, r#"{"cipher_text":"A"}"#),
            (200, r#"{"cipher_text":"A"}"#),
        ])
        .await;
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".huaweicloud")).unwrap();
        std::fs::write(home.path().join(".huaweicloud/credentials"), "[global]\nak=x\n[basic]\nak = FILE\nsk = s\n").unwrap();
        let (path, url) = (home.path().display().to_string(), server.url(""));
        let kms =
            quick(&[("HOME", &path), ("HUAWEICLOUD_SDK_IAM_ENDPOINT", &url), ("HUAWEICLOUD_SDK_REGION_KMS_TR_WEST_1", &url)]);
        for _ in 0..2 {
            kms.wrap(&key(), b"d").await.unwrap();
        }
        let seen = server.seen();
        assert_eq!((seen.len(), seen[0].line.as_str()), (3, "GET /v3/projects?name=tr-west-1 HTTP/1.1"));
        assert!(seen[0].header("authorization").starts_with("SDK-HMAC-SHA256 Access=FILE, "));
        assert_eq!(seen[2].line, "POST /v1.0/found/kms/encrypt-data HTTP/1.1");
    }

    #[tokio::test]
    async fn refusals_say_what_was_wrong_and_no_secret() {
        for body in [
            r#"{"error":{"error_code":"KMS.0205","error_msg":"no canary-secret, ZGF0YQ=="}}"#,
            r#"{"error_code":"KMS.0205","error_msg":"no"}"#,
        ] {
            let server = Script::of(vec![(403, body)]).await;
            let url = server.url("");
            let fault = quick(&env(&url)).wrap(&key(), b"data").await.unwrap_err();
            let text = fault.to_string();
            assert!(fault.kind == FaultKind::Refused && text.contains("KMS.0205"), "{text}");
            assert!(!text.contains("canary") && !text.contains("ZGF0YQ"), "{text}");
        }
        assert_eq!(quick(&[]).wrap(&key(), b"d").await.unwrap_err().kind, FaultKind::Setup);
        let odd = RemoteKey::Huawei(HuaweiKey { region: "evil.example/".into(), id: "x".into() });
        assert_eq!(quick(&env("http://127.0.0.1:1")).wrap(&odd, b"d").await.unwrap_err().kind, FaultKind::Input);
        let mut other = env("http://127.0.0.1:1");
        other[3] = ("HUAWEICLOUD_SDK_PROJECT_ID", "a/../b");
        assert_eq!(quick(&other).wrap(&key(), b"d").await.unwrap_err().kind, FaultKind::Setup);
    }
}
