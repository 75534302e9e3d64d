//! What is kept comes back as it was written; what can't be is refused; nobody logs in.

use super::aws::Aws;
use super::azure::Azure;
use super::gcp::Gcp;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coffer_engine::Engine;
use coffer_engine::testing::{Bench, Failed, text};
use coffer_types::{Kind, Operation, Span};

fn bench<E: Engine>() -> Bench {
    Bench::new::<E>("auth/cloud/", &[])
}

fn write(bench: &Bench, path: &str, body: &str) -> Result<(), Failed> {
    bench.call(Operation::Update, path, body).map(|_| ())
}

fn read(bench: &Bench, path: &str) -> String {
    text(&bench.call(Operation::Read, path, "").unwrap())
}

fn refuses(bench: &Bench, path: &str, bodies: &[&str]) {
    for body in bodies {
        let failed = write(bench, path, body).unwrap_err();
        assert!(failed.kind == Kind::BadRequest && !failed.public.contains("canary"), "{path} {body}: {failed:?}");
    }
}

fn holds(shown: &str, parts: &[&str]) {
    for part in parts {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn a_login_says_what_is_missing() {
    for (bench, name) in [(bench::<Aws>(), "aws"), (bench::<Azure>(), "azure"), (bench::<Gcp>(), "gcp")] {
        let failed = write(&bench, "login", r#"{"role":"r","jwt":"x"}"#).unwrap_err();
        assert_eq!(failed.kind, Kind::NotImplemented);
        assert!(failed.public.contains(&format!("logs in once the {name} dialect exists")), "{}", failed.public);
    }
    for (bench, path) in [(bench::<Aws>(), "config/rotate-root"), (bench::<Azure>(), "rotate-root")] {
        assert_eq!(write(&bench, path, "").unwrap_err().kind, Kind::NotImplemented);
    }
}

#[test]
fn aws_is_configured() {
    let aws = bench::<Aws>();
    assert!(aws.call(Operation::Read, "config/client", "").is_err_and(|e| e.kind == Kind::NotFound));
    refuses(
        &aws,
        "config/client",
        &[
            r#"{"endpoint":"ftp://x"}"#,
            r#"{"sts_region":"eu-west-1"}"#,
            r#"{"max_retries":-2}"#,
            r#"{"allowed_sts_header_values":"a b"}"#,
        ],
    );
    write(&aws, "config/client", r#"{"access_key":"AKIA1","secret_key":"canary","iam_server_id_header_value":"v"}"#).unwrap();
    write(&aws, "config/client", r#"{"sts_endpoint":"https://sts","sts_region":"r","allowed_sts_header_values":"B,a"}"#).unwrap();
    holds(
        &read(&aws, "config/client"),
        &[
            r#""access_key":"AKIA1""#,
            r#""iam_server_id_header_value":"v""#,
            r#""sts_region":"r""#,
            r#""allowed_sts_header_values":["a","b"]"#,
            r#""max_retries":-1"#,
        ],
    );
    holds(&read(&aws, "config/identity"), &[r#""iam_alias":"role_id""#, r#""ec2_metadata":["default"]"#]);
    refuses(
        &aws,
        "config/identity",
        &[r#"{"iam_alias":"name"}"#, r#"{"ec2_alias":"unique_id"}"#, r#"{"iam_metadata":"default,account_id"}"#],
    );
    write(&aws, "config/identity", r#"{"iam_alias":"full_arn","ec2_metadata":"region"}"#).unwrap();
    holds(&read(&aws, "config/identity"), &[r#""iam_alias":"full_arn""#, r#""ec2_metadata":["region"]"#]);
    refuses(&aws, "config/sts/123", &[r#"{"sts_role":"arn:aws:iam::1:role/r"}"#]);
    refuses(&aws, "config/sts/123456789012", &["{}", r#"{"sts_role":"r"}"#]);
    write(&aws, "config/sts/123456789012", r#"{"sts_role":"arn:aws:iam::123456789012:role/r","external_id":"e"}"#).unwrap();
    holds(&read(&aws, "config/sts/123456789012"), &[r#""external_id":"e""#]);
    assert_eq!(text(&aws.call(Operation::List, "config/sts", "").unwrap()), r#"{"keys":["123456789012"]}"#);
    let pem = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
    let body = |pem: &str, kind: &str| format!(r#"{{"aws_public_cert":"{}","type":"{kind}"}}"#, STANDARD.encode(pem));
    refuses(&aws, "config/certificate/c", &["{}", r#"{"aws_public_cert":"!"}"#, &body("garbage", "pkcs7"), &body(pem, "x509")]);
    write(&aws, "config/certificate/c", &body(pem, "identity")).unwrap();
    holds(&read(&aws, "config/certificate/c"), &["BEGIN CERTIFICATE", r#""type":"identity""#]);
    refuses(&aws, "config/tidy/identity-accesslist", &[r#"{"safety_buffer":"-1h"}"#]);
    write(&aws, "config/tidy/identity-whitelist", r#"{"safety_buffer":"48h"}"#).unwrap();
    holds(&read(&aws, "config/tidy/identity-accesslist"), &[r#""safety_buffer":172800"#]);
    assert!(aws.call(Operation::Read, "config/tidy/roletag-denylist", "").is_err_and(|e| e.kind == Kind::NotFound));
    for path in ["config/client", "config/sts/123456789012", "config/certificate/c", "config/tidy/identity-accesslist"] {
        aws.call(Operation::Delete, path, "").unwrap();
        assert!(aws.call(Operation::Read, path, "").is_err_and(|e| e.kind == Kind::NotFound), "{path}");
    }
}

#[test]
fn roles_of_aws_have_constraints_of_their_type() {
    let aws = bench::<Aws>();
    let arn = r#""bound_iam_principal_arn":"arn:aws:iam::123456789012:role/*""#;
    let with = |rest: &str| format!("{{{arn}{rest}}}");
    refuses(
        &aws,
        "role/r",
        &[
            "{}",
            r#"{"auth_type":"other"}"#,
            r#"{"bound_iam_principal_arn":"role/x"}"#,
            r#"{"bound_ami_id":"ami-1"}"#,
            r#"{"auth_type":"ec2"}"#,
            r#"{"auth_type":"ec2","bound_ami_id":"a","bound_iam_principal_arn":"arn:x"}"#,
            r#"{"auth_type":"ec2","bound_ami_id":"a","allow_instance_migration":true,"disallow_reauthentication":true}"#,
            r#"{"auth_type":"ec2","role_tag":"a:b"}"#,
            &with(r#","role_tag":"t""#),
            &with(r#","disallow_reauthentication":true"#),
            &with(r#","inferred_entity_type":"ec2_instance""#),
            &with(r#","inferred_aws_region":"r""#),
            &with(r#","inferred_entity_type":"lambda","inferred_aws_region":"r""#),
            &with(r#","token_policies":"root""#),
        ],
    );
    assert!(aws.keys().is_empty());
    write(&aws, "role/Dev", &with(r#","policies":"a,b","ttl":"1h""#)).unwrap();
    let shown = read(&aws, "role/DEV");
    holds(
        &shown,
        &[r#""auth_type":"iam""#, r#""resolve_aws_unique_ids":true"#, r#""token_policies":["a","b"]"#, r#""token_ttl":3600"#],
    );
    refuses(&aws, "role/dev", &[r#"{"auth_type":"ec2"}"#, r#"{"resolve_aws_unique_ids":false}"#]);
    write(&aws, "role/dev", r#"{"token_ttl":"2h"}"#).unwrap();
    assert_eq!(read(&aws, "role/dev"), shown.replace(r#""token_ttl":3600"#, r#""token_ttl":7200"#));
    assert_eq!(text(&aws.call(Operation::List, "roles", "").unwrap()), r#"{"keys":["dev"]}"#);
}

#[test]
fn role_tags_are_made_here_and_refused_here() {
    let aws = bench::<Aws>();
    write(&aws, "role/dev", r#"{"auth_type":"ec2","role_tag":"Tag","token_policies":"a,b","token_max_ttl":"10h"}"#).unwrap();
    write(&aws, "role/plain", r#"{"auth_type":"ec2","bound_ami_id":"x"}"#).unwrap();
    refuses(&aws, "role/plain/tag", &["{}"]);
    refuses(&aws, "role/none/tag", &["{}"]);
    refuses(
        &aws,
        "role/dev/tag",
        &[
            r#"{"policies":"a,c"}"#,
            r#"{"max_ttl":"11h"}"#,
            r#"{"max_ttl":"-1h"}"#,
            r#"{"instance_id":"i:p=root"}"#,
            r#"{"allow_instance_migration":true,"disallow_reauthentication":true}"#,
        ],
    );
    let made = aws.call(Operation::Update, "role/dev/tag", r#"{"policies":"a","max_ttl":"1h"}"#).unwrap().data.unwrap();
    let value = made.get("tag_value").and_then(|v| v.as_str()).unwrap().to_owned();
    assert!(value.starts_with("v1:") && value.contains(":r=dev:p=a:d=false:m=false:t=1h0m0s:"), "{value}");
    let path = |value: &str| format!("roletag-denylist/{}", STANDARD.encode(value));
    for bad in
        [value.replace("p=a", "p=b"), format!("{value}x"), "v1:a:r=dev:".to_owned(), "v1:".to_owned(), "garbage".to_owned()]
    {
        assert!(write(&aws, &path(&bad), "").is_err_and(|e| e.kind == Kind::BadRequest), "{bad}");
    }
    assert!(aws.call(Operation::Read, &path(&value), "").is_err_and(|e| e.kind == Kind::NotFound));
    write(&aws, &path(&value), "").unwrap();
    holds(
        &read(&aws, &path(&value)),
        &[r#""creation_time":"2026-11-23T03:23:22Z""#, r#""expiration_time":"2026-11-23T04:23:22Z""#],
    );
    assert_eq!(
        text(&aws.call(Operation::List, "roletag-blacklist", "").unwrap()),
        format!(r#"{{"keys":["{}"]}}"#, STANDARD.encode(&value))
    );
    aws.pass(Span::from_secs(2 * 3600));
    write(&aws, "tidy/roletag-denylist", r#"{"safety_buffer":"2h"}"#).unwrap();
    assert!(aws.call(Operation::Read, &path(&value), "").is_ok(), "not so soon");
    write(&aws, "tidy/roletag-denylist", r#"{"safety_buffer":"0s"}"#).unwrap();
    assert!(aws.call(Operation::Read, &path(&value), "").is_err());
    assert!(aws.call(Operation::List, "identity-accesslist", "").unwrap().data.is_none());
    assert!(aws.call(Operation::Read, "identity-accesslist/i-1", "").is_err_and(|e| e.kind == Kind::NotFound));
}

#[test]
fn azure_is_configured() {
    let azure = bench::<Azure>();
    refuses(
        &azure,
        "config",
        &["{}", r#"{"tenant_id":"t"}"#, r#"{"resource":"r"}"#, r#"{"tenant_id":"t","resource":"r","environment":"Mine"}"#],
    );
    write(&azure, "config", r#"{"tenant_id":"t","resource":"r","client_id":"c","client_secret":"canary"}"#).unwrap();
    write(&azure, "config", r#"{"environment":"AzureChinaCloud"}"#).unwrap();
    holds(&read(&azure, "config"), &[r#""tenant_id":"t""#, r#""client_id":"c""#, r#""environment":"AzureChinaCloud""#]);
    write(&azure, "role/Dev", r#"{"bound_group_ids":"g1,g2","policies":"a"}"#).unwrap();
    write(&azure, "role/dev", r#"{"bound_scale_sets":["s"],"token_max_ttl":"1h"}"#).unwrap();
    holds(
        &read(&azure, "role/dev"),
        &[
            r#""bound_group_ids":["g1","g2"]"#,
            r#""bound_scale_sets":["s"]"#,
            r#""token_policies":["a"]"#,
            r#""token_max_ttl":3600"#,
        ],
    );
    refuses(&azure, "role/dev", &[r#"{"token_type":"paper"}"#, r#"{"token_policies":"root"}"#]);
    assert_eq!(text(&azure.call(Operation::List, "role", "").unwrap()), r#"{"keys":["dev"]}"#);
    azure.call(Operation::Delete, "role/dev", "").unwrap();
    azure.call(Operation::Delete, "config", "").unwrap();
    assert!(azure.keys().is_empty());
}

#[test]
fn gcp_is_configured() {
    let gcp = bench::<Gcp>();
    let key = r#"{\"type\":\"service_account\",\"client_email\":\"a@b\",\"private_key\":\"canary\",\"project_id\":\"p\"}"#;
    refuses(
        &gcp,
        "config",
        &[
            r#"{"credentials":"canary"}"#,
            r#"{"credentials":"{}"}"#,
            r#"{"iam_alias":"name"}"#,
            r#"{"gce_alias":"unique_id"}"#,
            r#"{"gce_metadata":"color"}"#,
            r#"{"custom_endpoint":{"dns":"x"}}"#,
            r#"{"custom_endpoint":{"iam":""}}"#,
        ],
    );
    write(&gcp, "config", &format!(r#"{{"credentials":"{key}"}}"#)).unwrap();
    write(&gcp, "config", r#"{"iam_alias":"unique_id","custom_endpoint":{"iam":"https://iam"}}"#).unwrap();
    let parts = [
        r#""client_email":"a@b""#,
        r#""project_id":"p""#,
        r#""iam_alias":"unique_id""#,
        r#""custom_endpoint":{"iam":"https://iam"}"#,
    ];
    holds(&read(&gcp, "config"), &parts);
}

#[test]
fn roles_of_gcp_have_fields_of_their_type() {
    let gcp = bench::<Gcp>();
    refuses(
        &gcp,
        "role/r",
        &[
            "{}",
            r#"{"type":"lambda"}"#,
            r#"{"type":"iam"}"#,
            r#"{"type":"iam","bound_service_accounts":"a","bound_zones":"z"}"#,
            r#"{"type":"iam","bound_service_accounts":"a","max_jwt_exp":"2h"}"#,
            r#"{"type":"gce","max_jwt_exp":"5m"}"#,
            r#"{"type":"gce","bound_labels":"nocolon"}"#,
            r#"{"type":"gce","bound_instance_groups":"g"}"#,
        ],
    );
    assert!(gcp.keys().is_empty());
    write(&gcp, "role/Iam", r#"{"type":"iam","bound_service_accounts":"b,a","max_jwt_exp":"5m","policies":"p"}"#).unwrap();
    write(&gcp, "role/gce", r#"{"type":"gce","bound_zones":"z","bound_labels":"k:v,x:y"}"#).unwrap();
    holds(
        &read(&gcp, "role/iam"),
        &[r#""type":"iam""#, r#""bound_service_accounts":["a","b"]"#, r#""max_jwt_exp":300"#, r#""allow_gce_inference":true"#],
    );
    refuses(&gcp, "role/iam", &[r#"{"type":"gce"}"#, r#"{"bound_service_accounts":""}"#]);
    write(&gcp, "role/iam/service-accounts", r#"{"add":"c","remove":"a,b"}"#).unwrap();
    holds(&read(&gcp, "role/iam"), &[r#""bound_service_accounts":["c"]"#]);
    refuses(&gcp, "role/iam/service-accounts", &["{}", r#"{"remove":"c"}"#]);
    refuses(&gcp, "role/gce/service-accounts", &[r#"{"add":"c"}"#]);
    refuses(&gcp, "role/iam/labels", &[r#"{"add":"a:b"}"#]);
    refuses(&gcp, "role/none/labels", &[r#"{"add":"a:b"}"#]);
    write(&gcp, "role/gce/labels", r#"{"add":"new:1","remove":"k,none"}"#).unwrap();
    holds(&read(&gcp, "role/gce"), &[r#""bound_labels":{"new":"1","x":"y"}"#, r#""bound_zones":["z"]"#]);
    assert_eq!(text(&gcp.call(Operation::List, "roles", "").unwrap()), r#"{"keys":["gce","iam"]}"#);
}
