//! AWS KMS: `Encrypt` and `Decrypt` in AWS JSON 1.1, signed with Signature Version 4 (AWS KMS API Reference).

use super::aws_profile::Profile;
use super::fault::{Fault, Result};
use super::web::{Ask, Said, base64, from_base64};
use super::{Kms, aws_credentials::Credentials};
use coffer_crypto::{mac, sigv4};
use coffer_types::{Json, Object, Timestamp};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// A key of AWS KMS, by its ARN or that of an alias.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AwsKey {
    /// `arn:aws:kms:REGION:ACCOUNT:key/ID` or `…:alias/NAME`.
    pub arn: String,
    /// The role to assume first, if there is one.
    pub role: Option<String>,
    /// The profile of AWS's configuration files, where it is not the default one.
    pub profile: Option<String>,
    /// The encryption context: bound to the ciphertext, and not secret.
    pub context: BTreeMap<String, String>,
}

impl AwsKey {
    /// The region that the ARN names.
    ///
    /// # Errors
    /// Where this is no ARN of a key.
    pub fn region(&self) -> Result<&str> {
        let wrong = || {
            Fault::input(format!("AWS KMS: no valid ARN found in {:?}", self.arn))
                .hint("Write it as arn:aws:kms:REGION:ACCOUNT:key/ID or arn:aws:kms:REGION:ACCOUNT:alias/NAME")
        };
        let parts: Vec<&str> = self.arn.splitn(6, ':').collect();
        let [arn, partition, service, region, account, resource] = parts.as_slice() else { return Err(wrong()) };
        let partition_fits = partition
            .strip_prefix("aws")
            .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        let fits = *arn == "arn"
            && partition_fits
            && *service == "kms"
            && !region.is_empty()
            && !account.is_empty()
            && account.bytes().all(|b| b.is_ascii_digit())
            && resource.split_once('/').is_some_and(|(kind, name)| matches!(kind, "key" | "alias") && !name.is_empty());
        if fits { Ok(region) } else { Err(wrong()) }
    }
}

impl Kms {
    pub(super) async fn aws_encrypt(&self, key: &AwsKey, plaintext: &[u8]) -> Result<String> {
        let text = Zeroizing::new(base64(plaintext));
        let body = Object::new().with("Plaintext", text.as_str());
        let (ask, said) = self.aws_call(key, "Encrypt", body, &text).await?;
        Ok(said.text(&ask, "CiphertextBlob")?.as_str().to_owned())
    }

    pub(super) async fn aws_decrypt(&self, key: &AwsKey, enc: &str) -> Result<Zeroizing<Vec<u8>>> {
        from_base64(enc, "AWS KMS: the encrypted data key")?;
        let body = Object::new().with("CiphertextBlob", enc.trim());
        let (ask, said) = self.aws_call(key, "Decrypt", body, "").await?;
        from_base64(&said.text(&ask, "Plaintext")?, "AWS KMS: the plaintext")
    }

    async fn aws_call(&self, key: &AwsKey, operation: &str, body: Object, secret: &str) -> Result<(Ask, Said)> {
        let region = key.region()?;
        let profile = Profile::load(&self.env, key.profile.as_deref())?;
        let credentials = self.aws_credentials(key, &profile, region).await?;
        let mut context = Object::new();
        for (name, value) in &key.context {
            context.insert(name.as_str(), value.as_str());
        }
        let body = Json::Object(body.with("KeyId", key.arn.as_str()).with("EncryptionContext", Json::Object(context)));
        let url = format!("{}/", profile.endpoint(&self.env, "kms", region)?);
        let ask = Ask::new("POST", url)
            .tls(profile.tls(&self.env))
            .header("x-amz-target", format!("TrentService.{operation}"))
            .body("application/x-amz-json-1.1", body.to_bytes());
        let ask = if secret.is_empty() { ask } else { ask.secret(secret) };
        let ask = signed(ask, &credentials, "kms", region, self.now());
        let said = self.web().ask(&ask).await?;
        if said.is_good() { Ok((ask, said)) } else { Err(refusal(&format!("AWS KMS {operation}"), &ask, &said)) }
    }
}

/// The request with its date, its token and its signature. The path must be as AWS's services have it: `/`, no query.
pub(super) fn signed(ask: Ask, credentials: &Credentials, service: &str, region: &str, now: Timestamp) -> Ask {
    let time = compact(now);
    let host = ask.place().rsplit('/').next().unwrap_or_default().to_owned();
    // The header carries no port where it is the scheme's own.
    let default = if ask.url.starts_with("https") { ":443" } else { ":80" };
    let host = host.strip_suffix(default).unwrap_or(&host).to_owned();
    let mut ask = ask.header("x-amz-date", time.clone());
    if let Some(token) = &credentials.session_token {
        ask = ask.secret_header("x-amz-security-token", token.as_str());
    }
    let authorization = {
        let mut headers: Vec<(&str, &str)> = ask.headers().collect();
        headers.push(("host", &host));
        let request = sigv4::Request {
            method: ask.method,
            path: "/",
            query: "",
            headers: &headers,
            payload: mac::sha256(&[ask.payload()]),
        };
        let scope = sigv4::Scope { time: &time, region, service };
        sigv4::authorization(&request, &scope, &credentials.key_id, &credentials.secret)
    };
    ask.header("authorization", authorization).secret(&credentials.secret)
}

/// `20260102T030405Z`
pub(super) fn compact(now: Timestamp) -> String {
    now.rfc3339_secs().replace(['-', ':'], "")
}

/// What an AWS service said, in JSON or in XML.
pub(super) fn refusal(what: &str, ask: &Ask, said: &Said) -> Fault {
    let (code, message) = said.json().map_or_else(
        || xml_error(&said.body),
        |json| {
            let text = |names: &[&str]| names.iter().find_map(|name| json.get(name)?.as_str()).unwrap_or_default().to_owned();
            let code = text(&["__type", "code", "Code"]);
            (code.rsplit('#').next().unwrap_or_default().to_owned(), text(&["message", "Message"]))
        },
    );
    let code = if code.is_empty() { String::new() } else { format!(" {}", ask.words(&code)) };
    let message = if message.is_empty() { String::new() } else { format!(": {}", ask.words(&message)) };
    let fault = Fault::refused(format!("{what}: {} answered {}{code}{message}", ask.place(), said.status));
    match code.trim() {
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "InvalidAccessKeyId" => fault.hint("The access key or its secret is not one that the service knows"),
        "ExpiredTokenException" | "ExpiredToken" => fault.hint("Log in to AWS again: the session token is too old"),
        "AccessDeniedException" | "AccessDenied" => {
            fault.hint("These credentials may not use this key or role: its policy must allow it")
        }
        "InvalidCiphertextException" => fault.hint("Was it encrypted under this key, with this encryption context?"),
        "NotFoundException" => fault.hint("There is no such key in this account and region"),
        _ => fault,
    }
}

/// `<Code>` and `<Message>` of the query protocol's errors.
fn xml_error(body: &[u8]) -> (String, String) {
    let text = String::from_utf8_lossy(body);
    let Ok(document) = roxmltree::Document::parse(&text) else { return <_>::default() };
    let find = |name: &str| {
        document
            .descendants()
            .find(|node| node.tag_name().name() == name)
            .and_then(|node| node.text())
            .unwrap_or_default()
            .to_owned()
    };
    (find("Code"), find("Message"))
}

#[cfg(test)]
mod tests {
    use super::super::scripted::{Script, quick};
    use super::super::{FaultKind, RemoteKey};
    use super::*;

    const ARN: &str = "arn:aws:kms:eu-west-1:123456789:key/my-key";

    fn key() -> RemoteKey {
        let context = [("app".to_owned(), "shop".to_owned())].into();
        RemoteKey::Aws(AwsKey { arn: ARN.into(), context, ..AwsKey::default() })
    }

    fn env(url: &str) -> [(&str, &str); 3] {
        [("AWS_ENDPOINT_URL", url), ("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "canary-secret")]
    }

    #[tokio::test]
    async fn encrypts_and_decrypts_as_the_service_has_it() {
        let server =
            Script::of(vec![(200, r#"{"CiphertextBlob":"Y2lwaGVy","KeyId":"k"}"#), (200, r#"{"Plaintext":"ZGF0YQ=="}"#)]).await;
        let url = server.url("");
        let kms = quick(&env(&url));
        assert_eq!(kms.wrap(&key(), b"data").await.unwrap(), "Y2lwaGVy");
        assert_eq!(&**kms.unwrap(&key(), "Y2lwaGVy").await.unwrap(), b"data");
        let seen = server.seen();
        assert_eq!(seen[0].line, "POST / HTTP/1.1");
        assert_eq!(seen[0].header("x-amz-target"), "TrentService.Encrypt");
        assert_eq!(seen[0].header("content-type"), "application/x-amz-json-1.1");
        assert_eq!(seen[0].header("x-amz-date"), "20260102T030405Z");
        assert_eq!(seen[0].body, format!(r#"{{"Plaintext":"ZGF0YQ==","KeyId":"{ARN}","EncryptionContext":{{"app":"shop"}}}}"#));
        assert_eq!(seen[1].header("x-amz-target"), "TrentService.Decrypt");
        // The signature is the one of exactly this request.
        let headers: Vec<(&str, &str)> =
            ["content-type", "host", "x-amz-date", "x-amz-target"].map(|n| (n, seen[0].header(n))).into();
        let request = sigv4::Request {
            method: "POST",
            path: "/",
            query: "",
            headers: &headers,
            payload: mac::sha256(&[seen[0].body.as_bytes()]),
        };
        let scope = sigv4::Scope { time: "20260102T030405Z", region: "eu-west-1", service: "kms" };
        assert_eq!(seen[0].header("authorization"), sigv4::authorization(&request, &scope, "AKID", "canary-secret"));
    }

    #[tokio::test]
    async fn refusals_name_what_was_wrong_and_no_secret() {
        for (status, body, want) in [
            (
                400,
                r#"{"__type":"com.amazon#AccessDeniedException","Message":"not you, canary-secret, ZGF0YQ=="}"#,
                "AccessDeniedException",
            ),
            (400, r#"{"__type":"InvalidCiphertextException"}"#, "InvalidCiphertextException"),
            (500, "<html>canary</html>", "500"),
            (403, "", "403"),
        ] {
            let server = Script::of(vec![(status, body), (status, body), (status, body)]).await;
            let url = server.url("");
            let fault = quick(&env(&url)).wrap(&key(), b"data").await.unwrap_err();
            assert_eq!(fault.kind, FaultKind::Refused);
            let text = fault.to_string();
            assert!(text.contains(want) && !text.contains("canary") && !text.contains("ZGF0YQ"), "{text}");
        }
        for body in ["", "{}", r#"{"CiphertextBlob":7}"#, "nonsense"] {
            let server = Script::of(vec![(200, body)]).await;
            let url = server.url("");
            assert_eq!(quick(&env(&url)).wrap(&key(), b"data").await.unwrap_err().kind, FaultKind::Protocol, "{body}");
        }
        let fault = quick(&env("http://127.0.0.1:1")).unwrap(&key(), "no base64!").await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Input);
    }

    #[test]
    fn what_is_an_arn_of_a_key() {
        let region = |arn: &str| AwsKey { arn: arn.into(), ..AwsKey::default() }.region().map(str::to_owned);
        assert_eq!(region(ARN).unwrap(), "eu-west-1");
        assert_eq!(region("arn:aws-us-gov:kms:us-gov-west-1:107501996527:alias/a/b").unwrap(), "us-gov-west-1");
        for arn in [
            "",
            "key",
            "arn:aws:kms:eu-west-1:1",
            "arn:aws:s3:eu-west-1:1:key/a",
            "arn:aws:kms::1:key/a",
            "arn:aws:kms:eu-west-1::key/a",
            "arn:aws:kms:eu-west-1:a:key/a",
            "arn:aws:kms:eu-west-1:1:key/",
            "arn:aws:kms:eu-west-1:1:grant/a",
            "arn:evil:kms:eu-west-1:1:key/a",
        ] {
            assert_eq!(region(arn).unwrap_err().kind, FaultKind::Input, "{arn}");
        }
    }
}
