//! `config/…`

use super::Aws;
use crate::clouds::{check_choice, check_endpoint, check_metadata};
use crate::names::{normal, set};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coffer_engine::{Ctx, NoInput, Record, Reply, Request, Response};
use coffer_types::{Error, Result, Secret, Span};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Stored in format 1 under `config/client`. Has no `Debug`: it holds a key.
#[derive(Serialize, Deserialize)]
struct Client {
    access_key: String,
    secret_key: Zeroizing<String>,
    endpoint: String,
    iam_endpoint: String,
    sts_endpoint: String,
    sts_region: String,
    use_sts_region_from_client: bool,
    iam_server_id_header_value: String,
    allowed_sts_header_values: Vec<String>,
    max_retries: i64,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            access_key: String::new(),
            secret_key: Zeroizing::default(),
            endpoint: String::new(),
            iam_endpoint: String::new(),
            sts_endpoint: String::new(),
            sts_region: String::new(),
            use_sts_region_from_client: false,
            iam_server_id_header_value: String::new(),
            allowed_sts_header_values: Vec::new(),
            max_retries: -1,
        }
    }
}

impl Record for Client {
    const FORMAT: u8 = 1;
}

/// Configure how AWS is asked. What is left out stays as it is.
#[derive(Request)]
pub(super) struct WriteClient {
    /// The access key's id.
    access_key: Option<String>,
    /// The access key's secret.
    secret_key: Option<Secret<String>>,
    /// Address of EC2.
    endpoint: Option<String>,
    /// Address of IAM.
    iam_endpoint: Option<String>,
    /// Address of STS; needs sts_region.
    sts_endpoint: Option<String>,
    /// Region of that address.
    sts_region: Option<String>,
    /// Ask STS in the region that the client's request names.
    use_sts_region_from_client: Option<bool>,
    /// What the header X-Vault-AWS-IAM-Server-ID of a login must say.
    iam_server_id_header_value: Option<String>,
    /// Further headers that a login's request may have.
    allowed_sts_header_values: Option<Vec<String>>,
    /// How often to try again; -1 leaves it to the client.
    max_retries: Option<i64>,
}

pub(super) async fn write_client(cx: Ctx<Aws>, q: WriteClient) -> Result<Reply<()>> {
    let mut client: Client = cx.view.get("config/client").await?.unwrap_or_default();
    for (given, kept) in [
        (q.access_key, &mut client.access_key),
        (q.endpoint, &mut client.endpoint),
        (q.iam_endpoint, &mut client.iam_endpoint),
        (q.sts_endpoint, &mut client.sts_endpoint),
        (q.sts_region, &mut client.sts_region),
        (q.iam_server_id_header_value, &mut client.iam_server_id_header_value),
    ] {
        if let Some(given) = given {
            *kept = given;
        }
    }
    if let Some(secret) = q.secret_key {
        client.secret_key = Zeroizing::new(secret.expose().clone());
    }
    check_endpoint("endpoint", &client.endpoint)?;
    check_endpoint("iam_endpoint", &client.iam_endpoint)?;
    check_endpoint("sts_endpoint", &client.sts_endpoint)?;
    if !client.sts_region.is_empty() && client.sts_endpoint.is_empty() {
        return Err(Error::bad_request("sts_region is for sts_endpoint, which is not set"));
    }
    client.use_sts_region_from_client = q.use_sts_region_from_client.unwrap_or(client.use_sts_region_from_client);
    if let Some(headers) = q.allowed_sts_header_values {
        if headers.iter().any(|name| name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')) {
            return Err(Error::bad_request("allowed_sts_header_values: each must be the name of a header"));
        }
        client.allowed_sts_header_values = set(headers.into_iter().map(|name| name.to_ascii_lowercase()));
    }
    client.max_retries = q.max_retries.unwrap_or(client.max_retries);
    if client.max_retries < -1 {
        return Err(Error::bad_request("max_retries must be -1 or more"));
    }
    cx.view.put("config/client", &client)?;
    Ok(Reply::empty())
}

/// How AWS is asked; the secret is not shown.
#[derive(Response)]
pub(super) struct ClientShown {
    /// The access key's id.
    access_key: String,
    /// Address of EC2.
    endpoint: String,
    /// Address of IAM.
    iam_endpoint: String,
    /// Address of STS.
    sts_endpoint: String,
    /// Region of that address.
    sts_region: String,
    /// Whether the client's region counts.
    use_sts_region_from_client: bool,
    /// What the server's id must be.
    iam_server_id_header_value: String,
    /// Further headers that are taken.
    allowed_sts_header_values: Vec<String>,
    /// How often is tried again.
    max_retries: i64,
}

pub(super) async fn read_client(cx: Ctx<Aws>, _: NoInput) -> Result<Reply<ClientShown>> {
    let client: Client = cx.view.get("config/client").await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(ClientShown {
        access_key: client.access_key,
        endpoint: client.endpoint,
        iam_endpoint: client.iam_endpoint,
        sts_endpoint: client.sts_endpoint,
        sts_region: client.sts_region,
        use_sts_region_from_client: client.use_sts_region_from_client,
        iam_server_id_header_value: client.iam_server_id_header_value,
        allowed_sts_header_values: client.allowed_sts_header_values,
        max_retries: client.max_retries,
    }))
}

pub(super) async fn client_exists(cx: Ctx<Aws>, _: NoInput) -> Result<bool> {
    cx.view.exists("config/client").await
}

pub(super) async fn delete_client(cx: Ctx<Aws>, _: NoInput) -> Result<Reply<()>> {
    cx.view.delete("config/client");
    Ok(Reply::empty())
}

/// Stored in format 1 under `config/identity`.
#[derive(Serialize, Deserialize)]
struct Identity {
    iam_alias: String,
    iam_metadata: Vec<String>,
    ec2_alias: String,
    ec2_metadata: Vec<String>,
}

impl Default for Identity {
    fn default() -> Self {
        let default = || vec!["default".to_owned()];
        let role = || "role_id".to_owned();
        Self { iam_alias: role(), iam_metadata: default(), ec2_alias: role(), ec2_metadata: default() }
    }
}

impl Record for Identity {
    const FORMAT: u8 = 1;
}

/// Say how identities are named. What is left out stays as it is.
#[derive(Request)]
pub(super) struct WriteIdentity {
    /// What names an identity of an iam role: "role_id", "unique_id", "canonical_arn" or "full_arn".
    iam_alias: Option<String>,
    /// Metadata of an iam role's tokens.
    iam_metadata: Option<Vec<String>>,
    /// What names an identity of an ec2 role: "role_id", "instance_id" or "image_id".
    ec2_alias: Option<String>,
    /// Metadata of an ec2 role's tokens.
    ec2_metadata: Option<Vec<String>>,
}

const IAM_METADATA: [&str; 8] = [
    "account_id",
    "auth_type",
    "canonical_arn",
    "client_arn",
    "client_user_id",
    "inferred_aws_region",
    "inferred_entity_id",
    "inferred_entity_type",
];
const EC2_METADATA: [&str; 5] = ["account_id", "auth_type", "ami_id", "instance_id", "region"];

pub(super) async fn write_identity(cx: Ctx<Aws>, q: WriteIdentity) -> Result<Reply<()>> {
    let mut identity: Identity = cx.view.get("config/identity").await?.unwrap_or_default();
    identity.iam_alias = q.iam_alias.unwrap_or(identity.iam_alias);
    identity.ec2_alias = q.ec2_alias.unwrap_or(identity.ec2_alias);
    identity.iam_metadata = q.iam_metadata.unwrap_or(identity.iam_metadata);
    identity.ec2_metadata = q.ec2_metadata.unwrap_or(identity.ec2_metadata);
    check_choice("iam_alias", &identity.iam_alias, &["role_id", "unique_id", "canonical_arn", "full_arn"])?;
    check_choice("ec2_alias", &identity.ec2_alias, &["role_id", "instance_id", "image_id"])?;
    check_metadata("iam_metadata", &identity.iam_metadata, &IAM_METADATA)?;
    check_metadata("ec2_metadata", &identity.ec2_metadata, &EC2_METADATA)?;
    cx.view.put("config/identity", &identity)?;
    Ok(Reply::empty())
}

/// How identities are named.
#[derive(Response)]
pub(super) struct IdentityShown {
    /// What names an identity of an iam role.
    iam_alias: String,
    /// Metadata of an iam role's tokens.
    iam_metadata: Vec<String>,
    /// What names an identity of an ec2 role.
    ec2_alias: String,
    /// Metadata of an ec2 role's tokens.
    ec2_metadata: Vec<String>,
}

pub(super) async fn read_identity(cx: Ctx<Aws>, _: NoInput) -> Result<Reply<IdentityShown>> {
    let identity: Identity = cx.view.get("config/identity").await?.unwrap_or_default();
    Ok(Reply::data(IdentityShown {
        iam_alias: identity.iam_alias,
        iam_metadata: identity.iam_metadata,
        ec2_alias: identity.ec2_alias,
        ec2_metadata: identity.ec2_metadata,
    }))
}

/// Stored in format 1 under `config/certificate/<name>`.
#[derive(Serialize, Deserialize)]
struct PublicCertificate {
    /// PEM.
    pem: String,
    kind: String,
}

impl Record for PublicCertificate {
    const FORMAT: u8 = 1;
}

/// Put a certificate.
#[derive(Request)]
pub(super) struct WriteCertificate {
    /// Its name.
    #[field(path)]
    cert_name: String,
    /// The certificate in PEM, in base64.
    aws_public_cert: String,
    /// What it signs: "pkcs7" or "identity".
    #[field(rename = "type", default = "pkcs7".to_owned())]
    kind: String,
}

/// Names a certificate.
#[derive(Request)]
pub(super) struct CertificateName {
    /// Its name.
    #[field(path)]
    cert_name: String,
}

fn certificate_key(name: &str) -> Result<String> {
    Ok(format!("config/certificate/{}", normal(name)?))
}

pub(super) async fn write_certificate(cx: Ctx<Aws>, q: WriteCertificate) -> Result<Reply<()>> {
    check_choice("type", &q.kind, &["pkcs7", "identity"])?;
    let bad = || Error::bad_request("aws_public_cert must be a certificate in PEM, in base64");
    let pem = STANDARD.decode(q.aws_public_cert.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(bad)?;
    let inside =
        pem.trim().strip_prefix("-----BEGIN CERTIFICATE-----").and_then(|rest| rest.strip_suffix("-----END CERTIFICATE-----"));
    let der = inside.and_then(|text| STANDARD.decode(text.split_whitespace().collect::<String>()).ok());
    // AWS's own for DSA are of a version that our reader of certificates does not take: the form is all that is checked here.
    if der.is_none_or(|der| der.first() != Some(&0x30)) {
        return Err(bad());
    }
    cx.view.put(&certificate_key(&q.cert_name)?, &PublicCertificate { pem, kind: q.kind })?;
    Ok(Reply::empty())
}

/// A certificate.
#[derive(Response)]
pub(super) struct CertificateShown {
    /// PEM.
    aws_public_cert: String,
    /// What it signs.
    #[field(rename = "type")]
    kind: String,
}

pub(super) async fn read_certificate(cx: Ctx<Aws>, q: CertificateName) -> Result<Reply<CertificateShown>> {
    let kept: PublicCertificate = cx.view.get(&certificate_key(&q.cert_name)?).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(CertificateShown { aws_public_cert: kept.pem, kind: kept.kind }))
}

pub(super) async fn certificate_exists(cx: Ctx<Aws>, q: CertificateName) -> Result<bool> {
    cx.view.exists(&certificate_key(&q.cert_name)?).await
}

pub(super) async fn delete_certificate(cx: Ctx<Aws>, q: CertificateName) -> Result<Reply<()>> {
    cx.view.delete(&certificate_key(&q.cert_name)?);
    Ok(Reply::empty())
}

pub(super) async fn list_certificates(cx: Ctx<Aws>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(cx.view.children("config/certificate/", None, usize::MAX).await?))
}

/// Stored in format 1 under `config/sts/<account>`.
#[derive(Serialize, Deserialize)]
struct Sts {
    role: String,
    external_id: String,
}

impl Record for Sts {
    const FORMAT: u8 = 1;
}

/// Put the role of an account.
#[derive(Request)]
pub(super) struct WriteSts {
    /// The account's twelve digits.
    #[field(path)]
    account_id: String,
    /// ARN of the role to assume there.
    sts_role: String,
    /// The external id that the role asks for.
    #[field(default)]
    external_id: String,
}

/// Names an account.
#[derive(Request)]
pub(super) struct Account {
    /// The account's twelve digits.
    #[field(path)]
    account_id: String,
}

fn sts_key(account: &str) -> Result<String> {
    if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Error::bad_request("account_id must be twelve digits"));
    }
    Ok(format!("config/sts/{account}"))
}

pub(super) async fn write_sts(cx: Ctx<Aws>, q: WriteSts) -> Result<Reply<()>> {
    if !q.sts_role.starts_with("arn:") {
        return Err(Error::bad_request("sts_role must be the ARN of a role"));
    }
    cx.view.put(&sts_key(&q.account_id)?, &Sts { role: q.sts_role, external_id: q.external_id })?;
    Ok(Reply::empty())
}

/// The role of an account.
#[derive(Response)]
pub(super) struct StsShown {
    /// ARN of the role.
    sts_role: String,
    /// The external id.
    external_id: String,
}

pub(super) async fn read_sts(cx: Ctx<Aws>, q: Account) -> Result<Reply<StsShown>> {
    let kept: Sts = cx.view.get(&sts_key(&q.account_id)?).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(StsShown { sts_role: kept.role, external_id: kept.external_id }))
}

pub(super) async fn sts_exists(cx: Ctx<Aws>, q: Account) -> Result<bool> {
    cx.view.exists(&sts_key(&q.account_id)?).await
}

pub(super) async fn delete_sts(cx: Ctx<Aws>, q: Account) -> Result<Reply<()>> {
    cx.view.delete(&sts_key(&q.account_id)?);
    Ok(Reply::empty())
}

pub(super) async fn list_sts(cx: Ctx<Aws>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(cx.view.children("config/sts/", None, usize::MAX).await?))
}

/// Stored in format 1 under `config/tidy/<what>`.
#[derive(Serialize, Deserialize)]
struct TidyKept {
    safety_buffer: Span,
    disable_periodic_tidy: bool,
}

impl Record for TidyKept {
    const FORMAT: u8 = 1;
}

/// Say how long entries are kept.
#[derive(Request)]
pub(super) struct WriteTidy {
    /// How long past its time an entry is kept.
    safety_buffer: Option<Span>,
    /// Don't tidy by the clock.
    disable_periodic_tidy: Option<bool>,
}

/// How long entries are kept.
#[derive(Response)]
pub(super) struct TidyShown {
    /// How long past its time an entry is kept, in seconds.
    safety_buffer: Span,
    /// Whether the clock does not tidy.
    disable_periodic_tidy: bool,
}

const MACHINES: &str = "config/tidy/identities";
const TAGS: &str = "config/tidy/tags";

async fn write_tidy(cx: &Ctx<Aws>, key: &str, q: WriteTidy) -> Result<Reply<()>> {
    let kept: Option<TidyKept> = cx.view.get(key).await?;
    let mut kept = kept.unwrap_or(TidyKept { safety_buffer: Span::from_secs(72 * 3600), disable_periodic_tidy: false });
    kept.safety_buffer = q.safety_buffer.unwrap_or(kept.safety_buffer);
    kept.disable_periodic_tidy = q.disable_periodic_tidy.unwrap_or(kept.disable_periodic_tidy);
    if kept.safety_buffer.is_negative() {
        return Err(Error::bad_request("safety_buffer must not be negative"));
    }
    cx.view.put(key, &kept)?;
    Ok(Reply::empty())
}

async fn read_tidy(cx: &Ctx<Aws>, key: &str) -> Result<Reply<TidyShown>> {
    let kept: TidyKept = cx.view.get(key).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(TidyShown { safety_buffer: kept.safety_buffer, disable_periodic_tidy: kept.disable_periodic_tidy }))
}

pub(super) async fn write_tidy_identities(cx: Ctx<Aws>, q: WriteTidy) -> Result<Reply<()>> {
    write_tidy(&cx, MACHINES, q).await
}

pub(super) async fn read_tidy_identities(cx: Ctx<Aws>, _: NoInput) -> Result<Reply<TidyShown>> {
    read_tidy(&cx, MACHINES).await
}

pub(super) async fn delete_tidy_identities(cx: Ctx<Aws>, _: NoInput) -> Result<Reply<()>> {
    cx.view.delete(MACHINES);
    Ok(Reply::empty())
}

pub(super) async fn write_tidy_tags(cx: Ctx<Aws>, q: WriteTidy) -> Result<Reply<()>> {
    write_tidy(&cx, TAGS, q).await
}

pub(super) async fn read_tidy_tags(cx: Ctx<Aws>, _: NoInput) -> Result<Reply<TidyShown>> {
    read_tidy(&cx, TAGS).await
}

pub(super) async fn delete_tidy_tags(cx: Ctx<Aws>, _: NoInput) -> Result<Reply<()>> {
    cx.view.delete(TAGS);
    Ok(Reply::empty())
}
