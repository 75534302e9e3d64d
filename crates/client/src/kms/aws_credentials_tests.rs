//! The ways to AWS credentials, each against servers that play their part.

use super::super::scripted::{Script, quick};
use super::super::{FaultKind, RemoteKey};
use super::*;

const ARN: &str = "arn:aws:kms:eu-west-1:123456789:key/my-key";
const GOOD: &str = r#"{"CiphertextBlob":"Y2lwaGVy"}"#;

fn key(profile: Option<&str>, role: Option<&str>) -> RemoteKey {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    RemoteKey::Aws(AwsKey { arn: ARN.into(), role: owned(role), profile: owned(profile), ..AwsKey::default() })
}

fn sts(id: &str) -> String {
    format!(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\
         <AccessKeyId>{id}</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>canary-session</SessionToken>\
         <Expiration>2026-01-02T04:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
    )
}

fn home(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

#[tokio::test]
async fn a_role_is_assumed_once_and_its_session_signs() {
    let server = Script::of(vec![(200, sts("ASIA1")), (200, GOOD.into()), (200, GOOD.into())]).await;
    let url = server.url("");
    let kms = quick(&[("AWS_ENDPOINT_URL", &url), ("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "x")]);
    let key = key(None, Some("arn:aws:iam::123456789:role/r"));
    for _ in 0..2 {
        kms.wrap(&key, b"d").await.unwrap();
    }
    let seen = server.seen();
    assert!(
        seen[0].body.starts_with("Action=AssumeRole&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789%3Arole%2Fr&RoleSessionName=sops%40")
    );
    assert!(seen[0].body.ends_with("&Version=2011-06-15"));
    assert!(seen[0].header("authorization").contains("Credential=AKID/20260102/eu-west-1/sts/aws4_request"));
    assert!(seen[1].header("authorization").contains("Credential=ASIA1/20260102/eu-west-1/kms/aws4_request"));
    assert!(seen[1].header("authorization").contains("x-amz-security-token"));
    assert_eq!(seen[1].header("x-amz-security-token"), "canary-session");
    assert_eq!(seen.len(), 3);
}

#[tokio::test]
async fn a_role_that_is_refused_says_which() {
    let body = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not authorized</Message></Error></ErrorResponse>";
    let server = Script::of(vec![(403, body)]).await;
    let url = server.url("");
    let kms = quick(&[("AWS_ENDPOINT_URL", &url), ("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "x")]);
    let fault = kms.wrap(&key(None, Some("arn:aws:iam::1:role/r")), b"d").await.unwrap_err();
    assert!(fault.text.contains("role/r") && fault.text.contains("AccessDenied: not authorized"), "{fault}");
    for body in ["", "<a/>", "<a><Credentials/></a>"] {
        let server = Script::of(vec![(200, body)]).await;
        let url = server.url("");
        let kms = quick(&[("AWS_ENDPOINT_URL", &url), ("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "x")]);
        let fault = kms.wrap(&key(None, Some("arn:aws:iam::1:role/r")), b"d").await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Protocol, "{body}");
    }
}

#[tokio::test]
async fn a_profile_that_was_named_wins_over_the_environment() {
    let server = Script::of(vec![(200, GOOD)]).await;
    let config = format!("[profile dev]\nendpoint_url = {}\n", server.url(""));
    let home = home(&[(".aws/config", &config), (".aws/credentials", "[dev]\naws_access_key_id=DEV\naws_secret_access_key=s\n")]);
    let path = home.path().display().to_string();
    let kms = quick(&[("HOME", &path), ("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "x")]);
    kms.wrap(&key(Some("dev"), None), b"d").await.unwrap();
    assert!(server.seen()[0].header("authorization").contains("Credential=DEV/"));
}

#[tokio::test]
async fn a_profile_takes_its_role_from_another_profile_or_a_process() {
    let server = Script::of(vec![(200, sts("ROLE")), (200, GOOD.into())]).await;
    let config = "[profile prod]\nrole_arn = arn:aws:iam::1:role/prod\nsource_profile = base\nexternal_id = ext\n[profile base]\ncredential_process = printf '{\"Version\":1,\"AccessKeyId\":\"PROC\",\"SecretAccessKey\":\"s\"}'\n";
    let home = home(&[(".aws/config", config)]);
    let (path, url) = (home.path().display().to_string(), server.url(""));
    let kms = quick(&[("HOME", &path), ("AWS_ENDPOINT_URL", &url), ("AWS_PROFILE", "prod")]);
    kms.wrap(&key(None, None), b"d").await.unwrap();
    let seen = server.seen();
    assert!(seen[0].header("authorization").contains("Credential=PROC/") && seen[0].body.contains("ExternalId=ext"), "{seen:?}");
    assert!(seen[1].header("authorization").contains("Credential=ROLE/"));
}

#[tokio::test]
async fn profiles_that_give_nothing_say_why() {
    for (config, want) in [
        ("[profile p]\nrole_arn = arn:aws:iam::1:role/prod\n", "neither"),
        ("[profile p]\nrole_arn = arn:aws:iam::1:role/prod\nsource_profile = p\n", "neither"),
        ("[profile p]\nrole_arn = a\nsource_profile = q\n[profile q]\nrole_arn = a\nsource_profile = p\n", "too many"),
        ("[profile p]\ncredential_process = printf canary; exit 3\n", "exit status: 3"),
        ("[profile p]\ncredential_process = printf canary\n", "no JSON"),
        ("[profile p]\ncredential_process = printf '{}'\n", "no AccessKeyId"),
        ("[profile p]\nsso_session = x\n", "Identity Center"),
        ("[profile p]\n", "no credentials"),
    ] {
        let home = home(&[(".aws/config", config)]);
        let path = home.path().display().to_string();
        let kms = quick(&[("HOME", &path), ("AWS_EC2_METADATA_DISABLED", "true"), ("AWS_ENDPOINT_URL", "http://127.0.0.1:1")]);
        let fault = kms.wrap(&key(Some("p"), None), b"d").await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Setup);
        assert!(fault.text.contains(want) && !fault.text.contains("canary"), "{config}: {fault}");
    }
}

#[tokio::test]
async fn a_web_identity_is_the_proof() {
    let server = Script::of(vec![(200, sts("WEB")), (200, GOOD.into())]).await;
    let home = home(&[("token", "canary-web-identity-token\n")]);
    let (file, url) = (home.path().join("token").display().to_string(), server.url(""));
    let env =
        [("AWS_ENDPOINT_URL", url.as_str()), ("AWS_WEB_IDENTITY_TOKEN_FILE", &file), ("AWS_ROLE_ARN", "arn:aws:iam::1:role/w")];
    quick(&env).wrap(&key(None, None), b"d").await.unwrap();
    let seen = server.seen();
    assert!(
        seen[0].body.contains("Action=AssumeRoleWithWebIdentity")
            && seen[0].body.contains("WebIdentityToken=canary-web-identity-token")
    );
    assert_eq!(seen[0].header("authorization"), "");
    assert!(seen[1].header("authorization").contains("Credential=WEB/"));
    let echo = "<E><Error><Code>InvalidIdentityToken</Code><Message>bad canary-web-identity-token</Message></Error></E>";
    let server = Script::of(vec![(400, echo)]).await;
    let url = server.url("");
    let env =
        [("AWS_ENDPOINT_URL", url.as_str()), ("AWS_WEB_IDENTITY_TOKEN_FILE", &file), ("AWS_ROLE_ARN", "arn:aws:iam::1:role/w")];
    let fault = quick(&env).wrap(&key(None, None), b"d").await.unwrap_err();
    assert!(fault.text.contains("InvalidIdentityToken") && !fault.text.contains("canary"), "{fault}");
}

#[tokio::test]
async fn a_container_and_an_instance_have_their_own() {
    let of_machine = r#"{"AccessKeyId":"BOX","SecretAccessKey":"s","Token":"t","Expiration":"2026-01-02T04:00:00Z"}"#;
    let server = Script::of(vec![(200, of_machine), (200, GOOD)]).await;
    let (url, full) = (server.url(""), server.url("/creds"));
    let env = [
        ("AWS_ENDPOINT_URL", url.as_str()),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &full),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Bearer canary"),
    ];
    quick(&env).wrap(&key(None, None), b"d").await.unwrap();
    assert_eq!(server.seen()[0].header("authorization"), "Bearer canary");
    assert!(server.seen()[1].header("authorization").contains("Credential=BOX/"));

    let server = Script::of(vec![(200, "tok"), (200, "my-role\n"), (200, of_machine), (200, GOOD)]).await;
    let url = server.url("");
    quick(&[("AWS_ENDPOINT_URL", &url), ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url)]).wrap(&key(None, None), b"d").await.unwrap();
    let seen = server.seen();
    assert_eq!(seen[0].line, "PUT /latest/api/token HTTP/1.1");
    assert_eq!(seen[2].line, "GET /latest/meta-data/iam/security-credentials/my-role HTTP/1.1");
    assert_eq!(seen[2].header("x-aws-ec2-metadata-token"), "tok");
}

#[tokio::test]
async fn credentials_are_not_fetched_in_plain_text_from_elsewhere() {
    for url in ["http://evil.example/", "http://169.254.170.2.evil.example/", "ftp://127.0.0.1/", "127.0.0.1"] {
        let env = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", url), ("AWS_ENDPOINT_URL", "http://127.0.0.1:1")];
        assert_eq!(quick(&env).wrap(&key(None, None), b"d").await.unwrap_err().kind, FaultKind::Setup, "{url}");
    }
    for url in
        ["https://any/", "http://127.0.0.1:1/", "http://[::1]/", "http://169.254.170.23/v1/credentials", "http://localhost:1/x"]
    {
        assert!(may_hold_credentials(url), "{url}");
    }
}

#[test]
fn a_session_has_a_name_that_the_service_takes() {
    assert_eq!(session_name("sops@", "my host/ü!"), "sops@myhost");
    assert_eq!(session_name("sops@", &"h".repeat(100)).len(), 64);
}
