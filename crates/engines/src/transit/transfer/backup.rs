//! Backup and restore, in the form of Vault and OpenBao: base64 of a JSON document with the policy, as they call a key, and its
//! versions. What either writes the other reads.

use super::super::certificate::{Link, as_text};
use super::super::create::new_id;
use super::super::show::public_text;
use super::super::{Cx, Transit, check_name, failed, keyring};
use crate::keyring::{KeyRecord, Origin, SecretBytes, Spec, VersionRecord};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coffer_crypto::Zeroizing;
use coffer_crypto::pk::{PrivateKey, PublicKey, RsaNumbers, decimal, from_decimal};
use coffer_crypto::x509;
use coffer_engine::{Declare, Reply, Request};
use coffer_types::json::{Limits, Text, parse};
use coffer_types::{Error, Json, Object, Result, Span, Timestamp};

pub(super) fn declare(d: &mut Declare<Transit>) {
    d.at("backup/{name}").about("A key with all that is in it, in plaintext.").read(backup);
    for pattern in ["restore", "restore/{name}"] {
        d.at(pattern).about("Puts a key back from its backup.").write(restore);
    }
}

/// The number that stands for a kind of key in backups.
const KINDS: [(Spec, i64); 15] = [
    (Spec::Aes256Gcm, 0),
    (Spec::P256, 1),
    (Spec::Ed25519, 2),
    (Spec::Rsa2048, 3),
    (Spec::Rsa4096, 4),
    (Spec::ChaCha20Poly1305, 5),
    (Spec::P384, 6),
    (Spec::P521, 7),
    (Spec::Aes128Gcm, 8),
    (Spec::Rsa3072, 9),
    (Spec::Hmac, 10),
    (Spec::XChaCha20Poly1305, 11),
    (Spec::MlDsa44, 12),
    (Spec::MlDsa65, 13),
    (Spec::MlDsa87, 14),
];

/// Back a key up.
#[derive(Request)]
struct Backup {
    /// The key's name.
    #[field(path)]
    name: String,
}

async fn backup(cx: Cx, ask: Backup) -> Result<Reply> {
    let ring = keyring(&cx);
    let mut key = ring.find(&ask.name).await?.ok_or_else(|| failed(&format!("key {:?} not found", ask.name)))?;
    if !key.exportable {
        return Err(failed("exporting is disallowed on the policy"));
    }
    if !key.plaintext_backup {
        return Err(failed("plaintext backup is disallowed on the policy"));
    }
    key.backed_up = Some((cx.now(), key.latest));
    ring.save(&mut key)?;
    let lowest = key.min_available.max(1);
    let (mut live, mut archived) = (Object::new(), Vec::new());
    for (number, version) in ring.versions(&key, lowest).await? {
        if number >= key.min_decryption {
            live.insert(number.to_string(), Json::Object(entry(&key, &version)?));
        }
        archived.push(Json::Object(entry(&key, &version)?));
    }
    // The reference keeps a place for version 0, which never was.
    if key.min_available == 0 {
        archived.insert(0, Json::Object(Object::new()));
    }
    let document = Object::new()
        .with("policy", Json::Object(policy(&key, live)))
        .with("archived_keys", Json::Object(Object::new().with("keys", Json::Array(archived))));
    let text = STANDARD.encode(&*Json::Object(document).to_bytes());
    Ok(Reply::data(Object::new().with("backup", Json::String(Text::new(text)))))
}

fn policy(key: &KeyRecord, keys: Object) -> Object {
    let mark = |mark: Option<(Timestamp, u32)>| match mark {
        Some((at, version)) => Json::Object(Object::new().with("time", at.rfc3339()).with("version", i64::from(version))),
        None => Json::Null,
    };
    let number = KINDS.into_iter().find(|(spec, _)| *spec == key.spec).map_or(0, |(_, number)| number);
    let imported = matches!(key.origin, Origin::Imported { .. });
    Object::new()
        .with("name", key.name.as_str())
        .with("keys", Json::Object(keys))
        .with("derived", key.derived)
        // 1: HKDF-SHA256.
        .with("kdf", i64::from(key.derived))
        .with("convergent_encryption", key.convergent)
        .with("exportable", key.exportable)
        .with("min_decryption_version", i64::from(key.min_decryption))
        .with("min_encryption_version", i64::from(key.min_encryption))
        .with("latest_version", i64::from(key.latest))
        .with("archive_version", i64::from(key.latest))
        .with("archive_min_version", i64::from(key.min_available))
        .with("min_available_version", i64::from(key.min_available))
        .with("deletion_allowed", key.deletion_allowed)
        .with("convergent_version", if key.convergent { -1 } else { 0 })
        .with("type", number)
        .with("backup_info", mark(key.backed_up))
        .with("restore_info", mark(key.restored))
        .with("allow_plaintext_backup", key.plaintext_backup)
        .with("version_template", "")
        .with("storage_prefix", "")
        .with("auto_rotate_period", key.auto_rotate.0)
        .with("Imported", imported)
        .with("AllowImportedKeyRotation", key.origin == (Origin::Imported { rotation_allowed: true }))
        .with("KeySize", i64::from(key.key_size))
        .with("soft_deleted", key.soft_deleted)
}

/// One version, with its key in the form of its kind.
fn entry(key: &KeyRecord, version: &VersionRecord) -> Result<Object> {
    let spec = key.spec;
    let base64 = |bytes: &[u8]| Json::String(Text::new(STANDARD.encode(bytes)));
    let digits = |bytes: &[u8]| Json::Number(Text::new(decimal(bytes).to_string()));
    let public = public_text(spec, version)?;
    let mut entry = Object::new()
        .with("key", Json::Null)
        .with("hmac_key", base64(&version.hmac.0))
        .with("time", version.created.rfc3339())
        .with("ec_x", Json::Null)
        .with("ec_y", Json::Null)
        .with("ec_d", Json::Null)
        .with("rsa_key", Json::Null)
        .with("rsa_public_key", Json::Null)
        .with("public_key", if spec.is_rsa() { "" } else { public.as_str() })
        // 3: the nonce's key is derived beside the cipher's, the only way here.
        .with("convergent_version", if key.convergent { 3 } else { 0 })
        .with("creation_time", version.created.secs())
        .with("certificate_chain", chain(&version.chain)?)
        .with("external_key_ref", "");
    if spec.kind().is_none() {
        entry.insert("key", base64(&version.secret.0));
        return Ok(entry);
    }
    if version.secret.0.is_empty() {
        return Err(Error::bad_request("a key whose private half is not here cannot be backed up"));
    }
    let private = PrivateKey::from_pkcs8(&version.secret.0).map_err(Error::internal)?;
    if spec == Spec::Ed25519 {
        entry.insert("key", base64(&private.ed25519_bytes().map_err(Error::internal)?));
    } else if spec.is_ml_dsa() {
        entry.insert("key", base64(&private.ml_dsa_seed().map_err(Error::internal)?));
    } else if spec.is_ec() {
        let public = private.public().map_err(Error::internal)?;
        let (x, y) = public.bits().split_at(1 + (public.bits().len() - 1) / 2);
        entry.insert("ec_x", digits(&x[1..]));
        entry.insert("ec_y", digits(y));
        entry.insert("ec_d", digits(&private.ec_scalar().map_err(Error::internal)?));
    } else {
        let numbers = private.rsa_numbers().map_err(Error::internal)?;
        let primes = numbers.primes.iter().map(|prime| digits(prime)).collect();
        let rsa = Object::new()
            .with("N", digits(&numbers.modulus))
            .with("E", digits(&numbers.public_exponent))
            .with("D", digits(&numbers.private_exponent))
            .with("Primes", Json::Array(primes))
            .with(
                "Precomputed",
                Json::Object(
                    Object::new()
                        .with("Dp", Json::Null)
                        .with("Dq", Json::Null)
                        .with("Qinv", Json::Null)
                        .with("CRTValues", Json::Null),
                ),
            );
        entry.insert("rsa_key", Json::Object(rsa));
    }
    Ok(entry)
}

/// The certificates' DER in base64, leaf first.
fn chain(pem: &str) -> Result<Json> {
    if pem.is_empty() {
        return Ok(Json::Null);
    }
    let certificates = x509::pem_blocks(pem).map_err(Error::internal)?;
    Ok(Json::Array(certificates.iter().map(|(_, der)| Json::from(STANDARD.encode(&**der))).collect()))
}

fn chain_of(entry: &Object) -> Result<String> {
    let refused = || broken("a certificate");
    let certificates = match entry.get("certificate_chain") {
        None | Some(Json::Null) => return Ok(String::new()),
        Some(chain) => chain.as_array().ok_or_else(refused)?,
    };
    let read = |one: &Json| {
        let der = one.as_str().and_then(|text| STANDARD.decode(text).ok())?;
        Link::read(&der)
    };
    let certificates = certificates.iter().map(read).collect::<Option<Vec<_>>>().ok_or_else(refused)?;
    Ok(as_text(&certificates))
}

/// Restore a key.
#[derive(Request)]
struct Restore {
    /// The key's name; the backup's own if it is left out.
    #[field(path, default)]
    name: String,
    /// The backup.
    #[field(default)]
    backup: String,
    /// Replace a key of that name.
    #[field(default)]
    force: bool,
}

async fn restore(cx: Cx, ask: Restore) -> Result<Reply<()>> {
    if ask.backup.is_empty() {
        return Err(Error::bad_request("'backup' must be supplied"));
    }
    let bytes = STANDARD.decode(&ask.backup).map(Zeroizing::new).map_err(|_| Error::bad_request("the backup is no base64"))?;
    let limits = Limits { depth: 10, string: 1 << 20, strings: 1 << 20, members: 1 << 20, items: 1 << 20 };
    let document = parse(&bytes, &limits).map_err(|_| broken("no JSON"))?;
    let policy = document.at("policy").and_then(Json::as_object).ok_or_else(|| broken("no policy"))?;
    let (mut key, versions) = read(&cx, policy, &document)?;
    if !ask.name.is_empty() {
        key.name = ask.name;
    }
    check_name(&key.name).map_err(|_| broken("a name that no key can have"))?;
    let ring = keyring(&cx);
    if let Some(there) = ring.find(&key.name).await? {
        if !ask.force {
            return Err(failed(&format!("key {:?} already exists", key.name)));
        }
        ring.delete(&there).await?;
    }
    key.restored = Some((cx.now(), key.latest));
    for (number, version) in &versions {
        ring.put(&key, *number, version)?;
    }
    ring.save(&mut key)?;
    Ok(Reply::empty())
}

fn broken(why: &str) -> Error {
    Error::bad_request(format!("the backup does not read: {why}"))
}

fn read(cx: &Cx, policy: &Object, document: &Json) -> Result<(KeyRecord, Vec<(u32, VersionRecord)>)> {
    let number = |name: &str| policy.get(name).map_or(Ok(0), |v| coffer_types::lenient::int(v).map_err(|_| broken("a number")));
    let version = |name: &str| number(name).and_then(|n| u32::try_from(n).map_err(|_| broken("a version's number")));
    let flag = |name: &str| policy.get(name).and_then(Json::as_bool).unwrap_or_default();
    let kind = number("type")?;
    let spec = KINDS.into_iter().find(|(_, n)| *n == kind).ok_or_else(|| broken("an unknown type of key"))?.0;
    let (latest, min_available) = (version("latest_version")?, version("min_available_version")?);
    let min_decryption = version("min_decryption_version")?.max(1);
    if latest == 0 || latest > 1 << 20 || min_decryption > latest || min_available > min_decryption {
        return Err(broken("versions that contradict each other"));
    }
    if flag("derived") && (number("kdf")? != 1 || !spec.derives()) {
        return Err(broken("an old way to derive keys"));
    }
    let mut versions = Vec::new();
    for number in min_available.max(1)..=latest {
        let live = policy.get("keys").and_then(|keys| keys.get(&number.to_string()));
        // The archive begins with version 0, or where the key was trimmed.
        let place = number - min_available;
        let archived = || document.at(&format!("archived_keys/keys/{place}"));
        let entry = live.or_else(archived).and_then(Json::as_object).ok_or_else(|| broken("a version is missing"))?;
        // Before the third way the nonce's key was the cipher's.
        if flag("convergent_encryption") && entry.get("convergent_version").and_then(Json::as_i64) != Some(3) {
            return Err(broken("an old way of convergent encryption"));
        }
        versions.push((number, version_of(cx, spec, flag("derived"), entry)?));
    }
    let origin = if flag("Imported") {
        Origin::Imported { rotation_allowed: flag("AllowImportedKeyRotation") }
    } else {
        Origin::Generated
    };
    let (first, last) = (&versions[0].1, &versions[versions.len() - 1].1);
    let key = KeyRecord {
        name: policy.get("name").and_then(Json::as_str).unwrap_or_default().to_owned(),
        id: new_id(cx),
        spec,
        origin,
        created: first.created,
        rotated: last.created,
        latest,
        min_decryption,
        min_encryption: version("min_encryption_version")?,
        min_available,
        derived: flag("derived"),
        convergent: flag("convergent_encryption"),
        exportable: flag("exportable"),
        plaintext_backup: flag("allow_plaintext_backup"),
        deletion_allowed: flag("deletion_allowed"),
        soft_deleted: flag("soft_deleted"),
        auto_rotate: Span(number("auto_rotate_period")?.max(0)),
        due: None,
        key_size: if spec == Spec::Hmac { u32::try_from(last.secret.0.len()).unwrap_or(0) } else { 0 },
        backed_up: None,
        restored: None,
    };
    Ok((key, versions))
}

fn version_of(cx: &Cx, spec: Spec, derived: bool, entry: &Object) -> Result<VersionRecord> {
    let base64 = |name: &str| -> Result<Zeroizing<Vec<u8>>> {
        let text = entry.get(name).and_then(Json::as_str).unwrap_or_default();
        STANDARD.decode(text).map(Zeroizing::new).map_err(|_| broken("a key is no base64"))
    };
    let digits = |value: Option<&Json>| match value {
        Some(Json::Number(digits)) => from_decimal(digits.as_str()).ok_or_else(|| broken("a key's number")),
        _ => Err(broken("a key's number is missing")),
    };
    let created = entry
        .get("creation_time")
        .and_then(|v| coffer_types::lenient::int(v).ok())
        .map_or_else(|| cx.now(), Timestamp::from_secs);
    let mut version = VersionRecord {
        created,
        secret: SecretBytes::default(),
        hmac: SecretBytes(base64("hmac_key")?),
        public: Default::default(),
        chain: chain_of(entry)?,
    };
    let refused = |_| broken("a key that is none of its type");
    let private = match spec.kind() {
        None => {
            let secret = base64("key")?;
            let fits = spec.cipher().map_or((32..=512).contains(&secret.len()), |cipher| cipher.key_bytes() == secret.len());
            if !fits {
                return Err(broken("a key has another length than its type's"));
            }
            version.secret = SecretBytes(secret);
            if spec == Spec::Hmac {
                version.hmac = version.secret.clone();
            }
            return Ok(version);
        }
        Some(_) if spec == Spec::Ed25519 => {
            let both = base64("key")?;
            PrivateKey::from_ed25519_seed(both.get(..32).unwrap_or_default()).map_err(refused)?
        }
        Some(kind) if spec.is_ml_dsa() => PrivateKey::from_ml_dsa_seed(kind, &base64("key")?).map_err(refused)?,
        Some(kind) if spec.is_ec() => {
            let length = match spec {
                Spec::P256 => 32,
                Spec::P384 => 48,
                _ => 66,
            };
            let fitted = |digits: Zeroizing<Vec<u8>>| -> Result<Vec<u8>> {
                let mut out = vec![0; length - digits.len().min(length)];
                out.extend_from_slice(&digits);
                if out.len() == length { Ok(out) } else { Err(broken("a key's number")) }
            };
            let (x, y) = (fitted(digits(entry.get("ec_x"))?)?, fitted(digits(entry.get("ec_y"))?)?);
            let public = PublicKey::from_ec(kind, &x, &y).map_err(refused)?;
            PrivateKey::from_ec(kind, &digits(entry.get("ec_d"))?, &public).map_err(refused)?
        }
        Some(_) => {
            let rsa = entry.get("rsa_key").and_then(Json::as_object).ok_or_else(|| broken("an RSA key is missing"))?;
            let prime = |at: usize| digits(rsa.get("Primes").and_then(Json::as_array).and_then(|primes| primes.get(at)));
            let numbers = RsaNumbers {
                modulus: digits(rsa.get("N"))?.to_vec(),
                public_exponent: digits(rsa.get("E"))?.to_vec(),
                private_exponent: digits(rsa.get("D"))?,
                primes: [prime(0)?, prime(1)?],
            };
            PrivateKey::from_rsa(&numbers).map_err(refused)?
        }
    };
    super::held_to(spec, private.kind()).map_err(|_| broken("a key that is none of its type"))?;
    version.secret = SecretBytes(private.to_pkcs8().map_err(Error::internal)?);
    if !derived {
        version.public.0 = private.public().map_err(Error::internal)?.spki().to_vec();
    }
    Ok(version)
}
