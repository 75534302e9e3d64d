//! sign, verify, hmac.

use super::batch::{Failing, Items, context_of, decoded as plain, prefix, text, unprefix};
use super::cipher::Used;
use super::{Cx, Transit, failed, keyring, usable};
use crate::keyring::{KeyRecord, Spec};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use coffer_crypto::Zeroizing;
use coffer_crypto::digest::Algorithm;
use coffer_crypto::mac::{ct_eq, hmac, hmac_sha1};
use coffer_crypto::pk::{Message, PkError, PublicKey, Scheme};
use coffer_engine::{Declare, Reply, Request};
use coffer_types::json::Text;
use coffer_types::{Error, Json, Object, Result};

pub(super) fn declare(d: &mut Declare<Transit>) {
    for pattern in ["sign/{name}", "sign/{name}/{urlalgorithm}"] {
        d.at(pattern).about("Signs.").plain(PLAIN).write(sign);
    }
    for pattern in ["verify/{name}", "verify/{name}/{urlalgorithm}"] {
        d.at(pattern).about("Checks a signature or an HMAC.").plain(PLAIN).write(verify);
    }
    for pattern in ["hmac/{name}", "hmac/{name}/{urlalgorithm}"] {
        d.at(pattern).about("The HMAC of some bytes.").plain(PLAIN).write(mac);
    }
}

const PLAIN: &[&str] =
    &["algorithm", "hash_algorithm", "key_version", "marshaling_algorithm", "prehashed", "salt_length", "signature_algorithm"];

/// Sign, verify or make an HMAC.
#[derive(Request)]
struct Ask {
    /// The key's name.
    #[field(path)]
    name: String,
    /// The digest, in the path.
    #[field(path, default)]
    urlalgorithm: String,
    /// The digest: sha2-224, sha2-256, sha2-384, sha2-512, sha3-…, or none for a prehashed value that RSA signs as it is.
    #[field(default)]
    hash_algorithm: String,
    /// The older name of hash_algorithm.
    #[field(default)]
    algorithm: String,
    /// The message, in base64.
    input: Option<Text>,
    /// The message's digest is given instead of the message.
    #[field(default)]
    prehashed: bool,
    /// RSA: pss or pkcs1v15.
    #[field(default)]
    signature_algorithm: String,
    /// ECDSA: asn1, or jws for `r || s` in base64url.
    #[field(default)]
    marshaling_algorithm: String,
    /// RSA-PSS: auto, hash, or so many bytes.
    #[field(default)]
    salt_length: String,
    /// The context of a derived key, in base64.
    #[field(default)]
    context: String,
    /// The version; 0 is the latest.
    #[field(default)]
    key_version: i64,
    /// The signature to check.
    #[field(default)]
    signature: String,
    /// The HMAC to check.
    #[field(default)]
    hmac: String,
    /// Many at once: objects with input and context, to check also signature or hmac.
    batch_input: Option<Json>,
}

/// How the messages of a call are signed.
struct How {
    /// Nothing is signed with the value as it is given.
    algorithm: Option<Algorithm>,
    prehashed: bool,
    pkcs1: bool,
    jws: bool,
    salt: Salt,
}

#[derive(Clone, Copy)]
enum Salt {
    /// The longest in signing, any in checking.
    Auto,
    AsDigest,
    Bytes(usize),
}

impl Ask {
    fn digest_name(&self) -> &str {
        [&self.urlalgorithm, &self.hash_algorithm, &self.algorithm]
            .into_iter()
            .find(|name| !name.is_empty())
            .map_or("sha2-256", |name| name)
    }

    /// What counts for keys of this kind, and no more.
    fn how(&self, spec: Spec) -> Result<How> {
        let name = self.digest_name();
        let pkcs1 = match self.signature_algorithm.as_str() {
            "" | "pss" => false,
            "pkcs1v15" => true,
            other if spec.is_rsa() => return Err(failed(&format!("unsupported rsa signature algorithm {other}"))),
            _ => false,
        };
        let algorithm = match Algorithm::from_name(name) {
            Some(algorithm) => Some(algorithm),
            None if name == "none" => None,
            None if name == "sha1" && spec.hashes_itself() => None,
            None if name == "sha1" => return Err(Error::bad_request("sha1 is not supported: signatures over it can be forged")),
            None if name == "mldsa-mu" && self.prehashed => {
                return Err(Error::bad_request("hash_algorithm=mldsa-mu is not supported; give the message itself"));
            }
            None if name == "mldsa-mu" => {
                return Err(Error::bad_request("hash_algorithm=mldsa-mu requires prehashed=true and a ML-DSA compatible key"));
            }
            None => return Err(Error::bad_request(format!("invalid hash algorithm {name:?}"))),
        };
        let jws = match self.marshaling_algorithm.as_str() {
            "" | "asn1" => false,
            "jws" => true,
            other => return Err(Error::bad_request(format!("invalid marshaling type {other:?}"))),
        };
        let salt = match self.salt_length.as_str() {
            "" | "auto" => Salt::Auto,
            "hash" => Salt::AsDigest,
            // As Go counts: 0 is auto, -1 is hash.
            length => match length.parse::<i64>() {
                Ok(0) => Salt::Auto,
                Ok(-1) => Salt::AsDigest,
                Ok(bytes) => {
                    let refused = |_| Error::bad_request(format!("salt length is invalid: {bytes} is below zero"));
                    Salt::Bytes(usize::try_from(bytes).map_err(refused)?)
                }
                Err(_) => return Err(Error::bad_request(format!("salt length neither 'auto', 'hash', nor an int: {length}"))),
            },
        };
        Ok(How { algorithm, prehashed: self.prehashed, pkcs1, jws, salt })
    }

    fn one(&mut self) -> Object {
        let one = Object::new()
            .with("context", self.context.as_str())
            .with("signature", self.signature.as_str())
            .with("hmac", self.hmac.as_str())
            .with("key_version", self.key_version);
        match self.input.take() {
            Some(input) => one.with("input", Json::String(input)),
            None => one,
        }
    }
}

impl How {
    fn scheme(&self, spec: Spec) -> Result<Scheme> {
        if spec.hashes_itself() {
            return Ok(if spec.is_ml_dsa() { Scheme::MlDsa } else { Scheme::Ed25519 });
        }
        let Some(algorithm) = self.algorithm else {
            if !self.prehashed || !self.pkcs1 {
                return Err(Error::bad_request(
                    "hash_algorithm=none requires both prehashed=true and signature_algorithm=pkcs1v15",
                ));
            }
            // ECDSA signs a digest of whatever kind: the algorithm is only a name here.
            return Ok(match (spec.is_rsa(), self.jws) {
                (true, _) => Scheme::Pkcs1Bare,
                (false, true) => Scheme::EcdsaFixed(Algorithm::Sha256),
                (false, false) => Scheme::EcdsaAsn1(Algorithm::Sha256),
            });
        };
        Ok(match spec {
            spec if spec.is_ec() && self.jws => Scheme::EcdsaFixed(algorithm),
            spec if spec.is_ec() => Scheme::EcdsaAsn1(algorithm),
            _ if self.pkcs1 => Scheme::Pkcs1(algorithm),
            _ => match self.salt {
                Salt::Auto => Scheme::PssAnySalt(algorithm),
                Salt::AsDigest => Scheme::Pss(algorithm),
                Salt::Bytes(bytes) => Scheme::PssSalt(algorithm, bytes),
            },
        })
    }

    fn message<'a>(&self, spec: Spec, input: &'a [u8]) -> Message<'a> {
        // Ed25519 and ML-DSA hash by themselves; the reference lets the flag pass.
        if self.prehashed && !spec.hashes_itself() { Message::Digest(input) } else { Message::Whole(input) }
    }
}

async fn sign(cx: Cx, mut ask: Ask) -> Result<Reply> {
    let ring = keyring(&cx);
    let key = usable(&ring, &ask.name, "signing key not found").await?;
    let how = ask.how(key.spec)?;
    if !key.spec.signs() {
        return Err(Error::bad_request(format!("key type {} does not support signing", key.spec.name())));
    }
    let one = ask.one();
    let items = Items::read(ask.batch_input.take(), one)?;
    let alone = items.is_one();
    let mut used = Used::new(&ring, &key).alone(alone);
    let version = used.outgoing(ask.key_version, "signing").map_err(|error| used.refused(error.public()))?;
    used.load([version]).await?;
    items.run(Failing::Quiet, &Object::new().with("key_version", i64::from(version)), |item| {
        let input = decoded(item, alone)?;
        let material = used.material(version)?;
        let (scheme, message) = (how.scheme(key.spec)?, how.message(key.spec, &input));
        let mut reply = Object::new();
        let signature = if key.derived {
            let private = material.derived_ed25519(&needed_context(&key, item)?)?;
            let public = STANDARD.encode(private.public().map_err(Error::internal)?.bits());
            if !alone {
                // As the reference spells it in batches.
                reply.insert("publickey", public.as_str());
            }
            reply.insert("public_key", public);
            private.sign(scheme, message)
        } else {
            let private =
                material.private.as_ref().ok_or_else(|| Error::bad_request("the private half of this key is not here"))?;
            private.sign(scheme, message)
        };
        let signature = signature.map_err(|error| refused(error, &how, &used))?;
        let encoded = if how.jws { URL_SAFE_NO_PAD.encode(signature) } else { STANDARD.encode(signature) };
        Ok(reply.with("signature", format!("{}{encoded}", prefix(version))).with("key_version", i64::from(version)))
    })
}

async fn verify(cx: Cx, mut ask: Ask) -> Result<Reply> {
    let ring = keyring(&cx);
    let digest = ask.digest_name().to_owned();
    let one = ask.one();
    let items = Items::read(ask.batch_input.take(), one)?;
    let key = usable(&ring, &ask.name, "signature verification key not found").await?;
    let how = ask.how(key.spec);
    let alone = items.is_one();
    if !alone {
        agree_on_what(&items, key.spec)?;
    }
    let mut used = Used::new(&ring, &key).alone(alone);
    // Few versions are live; the items are read once.
    used.load(key.min_decryption.max(key.min_available).max(1)..=key.latest).await?;
    items.run(Failing::Quiet, &Object::new().with("valid", false), |item| {
        let (signature, tag) = (text(item, "signature")?, text(item, "hmac")?);
        if signature.is_empty() && tag.is_empty() {
            return Err(Error::bad_request("neither a 'signature' nor an 'hmac' were given to verify"));
        }
        if !signature.is_empty() && !tag.is_empty() {
            return Err(Error::bad_request("provide one of 'signature' or 'hmac'"));
        }
        let input = decoded(item, alone)?;
        let valid = if signature.is_empty() {
            checks_mac(&used, &digest, &input, tag)?
        } else {
            checks_signature(&used, how.as_ref().map_err(copy)?, item, &input, signature)?
        };
        Ok(Object::new().with("valid", valid))
    })
}

/// All items of a batch have a signature, or all have an HMAC.
fn agree_on_what(items: &Items, spec: Spec) -> Result<()> {
    let given = |name| items.any(|item| !matches!(item.get(name), None | Some(Json::Null)) && text(item, name).ok() != Some(""));
    match (given("signature"), given("hmac")) {
        (true, true) => Err(Error::bad_request("elements of batch_input must all provide 'signature' or all provide 'hmac'")),
        (false, false) => Err(Error::bad_request("no batch_input elements have 'signature' or 'hmac'")),
        (true, false) if !spec.signs() => {
            Err(Error::bad_request(format!("key type {} does not support verification", spec.name())))
        }
        _ => Ok(()),
    }
}

fn checks_signature(used: &Used<'_>, how: &How, item: &Object, input: &[u8], signature: &str) -> Result<bool> {
    let key = used.key;
    if !key.spec.signs() {
        return Err(Error::bad_request(format!("key type {} does not support verification", key.spec.name())));
    }
    let (version, body) = numbered(signature, "signature")?;
    used.incoming(version, "signature")?;
    let decoded = plain(if how.jws { &URL_SAFE_NO_PAD } else { &STANDARD }, body);
    let bytes = decoded.map_err(|_| Error::bad_request("invalid base64 signature value"))?;
    if key.spec.is_ec() && !how.jws {
        two_numbers(&bytes)?;
    }
    let derived;
    let public: &PublicKey = if key.derived {
        derived = used.material(version)?.derived_ed25519(&needed_context(key, item)?)?.public().map_err(Error::internal)?;
        &derived
    } else {
        used.material(version)?.public.as_ref().ok_or_else(|| Error::internal("a signing key without its public half"))?
    };
    public.verify(how.scheme(key.spec)?, how.message(key.spec, input), &bytes).map_err(|error| refused(error, how, used))
}

/// As [`unprefix`], but that nothing was ever signed with version 0.
fn numbered<'a>(text: &'a str, what: &str) -> Result<(u32, &'a str)> {
    let (version, body) = unprefix(text, what)?;
    let zero = text.strip_prefix("vault:v").and_then(|rest| rest.split_once(':')).is_some_and(|(n, _)| n.parse() == Ok(0u32));
    if zero {
        return Err(Error::bad_request("ciphertext or signature version is disallowed by policy (too old)"));
    }
    Ok((version, body))
}

/// `SEQUENCE { INTEGER, INTEGER }` in outline; what the numbers are the library judges.
fn two_numbers(signature: &[u8]) -> Result<()> {
    let invalid = || Error::bad_request("supplied signature is invalid");
    let [0x30, rest @ ..] = signature else { return Err(invalid()) };
    let (length, body) = match rest {
        [length @ 0..=0x7f, body @ ..] | [0x81, length @ 0x80..=0xff, body @ ..] => (usize::from(*length), body),
        _ => return Err(invalid()),
    };
    match body.len().checked_sub(length) {
        None => Err(invalid()),
        Some(0) => Ok(()),
        Some(_) => Err(Error::bad_request("supplied signature contains extra data")),
    }
}

fn checks_mac(used: &Used<'_>, digest: &str, input: &[u8], tag: &str) -> Result<bool> {
    let algorithm = mac_algorithm(digest)?;
    let (version, body) = numbered(tag, "HMAC to verify")?;
    used.incoming(version, "HMAC to verify")?;
    let bytes = plain(&STANDARD, body).map_err(|_| Error::bad_request("invalid HMAC to verify: could not decode base64"))?;
    Ok(ct_eq(&algorithm(&used.material(version)?.hmac, input), &bytes))
}

async fn mac(cx: Cx, mut ask: Ask) -> Result<Reply> {
    let algorithm = mac_algorithm(ask.digest_name())?;
    let ring = keyring(&cx);
    if ask.batch_input.is_none() && ask.input.is_none() {
        return Err(Error::bad_request("missing input for HMAC"));
    }
    let one = ask.one();
    let items = Items::read(ask.batch_input.take(), one)?;
    let alone = items.is_one();
    let key = usable(&ring, &ask.name, "encryption key not found").await?;
    let mut used = Used::new(&ring, &key);
    let version = match u32::try_from(ask.key_version) {
        Ok(0) => key.latest,
        Ok(version) if version <= key.latest => version,
        Ok(_) => return Err(Error::bad_request(format!("key version does not exist; latest key version is {}", key.latest))),
        Err(_) => return Err(Error::bad_request("requested version for HMAC is negative")),
    };
    if version < key.min_encryption {
        return Err(Error::bad_request("cannot generate HMAC: version is too old (disallowed by policy)"));
    }
    used.load([version]).await?;
    items.run(Failing::Quiet, &Object::new(), |item| {
        let input = decoded(item, alone)?;
        let tag = algorithm(&used.material(version)?.hmac, &input);
        Ok(Object::new().with("hmac", format!("{}{}", prefix(version), STANDARD.encode(tag))))
    })
}

/// The function that makes an HMAC, by the digest's name.
fn mac_algorithm(name: &str) -> Result<impl Fn(&[u8], &[u8]) -> Vec<u8> + use<>> {
    let algorithm = Algorithm::from_name(name);
    if algorithm.is_none() && name != "sha1" {
        return Err(Error::bad_request(format!("unsupported algorithm {name:?}")));
    }
    Ok(move |key: &[u8], data: &[u8]| match algorithm {
        Some(algorithm) => hmac(algorithm, key, data),
        None => hmac_sha1(key, data),
    })
}

/// The bytes of `input`. Where one item is asked for alone, no input is the empty message.
fn decoded(item: &Object, alone: bool) -> Result<Zeroizing<Vec<u8>>> {
    if !alone && matches!(item.get("input"), None | Some(Json::Null)) {
        return Err(Error::bad_request("missing input"));
    }
    super::batch::base64(text(item, "input")?)
        .map_err(|error| Error::bad_request(format!("unable to decode input as base64: {}", error.public())))
}

fn needed_context(key: &KeyRecord, item: &Object) -> Result<Zeroizing<Vec<u8>>> {
    let context = text(item, "context")?;
    if key.derived && context.is_empty() {
        return Err(Error::bad_request(
            "error deriving key: missing 'context' for key derivation; the key was created using a derived key, which means \
             additional, per-request information must be included in order to perform operations with the key",
        ));
    }
    context_of(context)
}

fn refused(error: PkError, how: &How, used: &Used<'_>) -> Error {
    match (error, how.algorithm) {
        (PkError::Mismatch, Some(algorithm)) if how.prehashed => {
            used.refused(&format!("the input must be a digest of {} bytes, as hash_algorithm says", algorithm.bytes()))
        }
        (PkError::Mismatch, _) => Error::bad_request("the algorithm does not fit the key"),
        (PkError::Refused, _) => used.refused("the input, or the salt, is too long for the key"),
        (other, _) => Error::internal(other),
    }
}

fn copy(error: &Error) -> Error {
    Error::bad_request(error.public().to_owned())
}
