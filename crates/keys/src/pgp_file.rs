//! PGP keys in exported files, for machines without gpg: `COFFER_PGP_KEY_FILE` names one file or more, between colons, each with what
//! `gpg --export` or `gpg --export-secret-keys` printed, armored or not. Messages are those of RFC 9580 that gpg reads and writes.

use crate::Ask;
use coffer_client::Environment;
use coffer_crypto::random::{Random, SystemRandom};
use coffer_sops::{Error, Result};
use coffer_types::{Clock, SystemClock};
use pgp::composed::{
    ArmorOptions, DecryptionOptions, Esk, Message, MessageBuilder, PublicOrSecret, SignedPublicKey, SignedPublicSubKey,
    SignedSecretKey, TheRing,
};
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::packet::SignatureType;
use pgp::types::{EncryptionKey, KeyDetails, KeyVersion, Password};
use std::io::Read;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use zeroize::Zeroizing;

const VARIABLE: &str = "COFFER_PGP_KEY_FILE";
/// What one file may hold.
const MOST: u64 = 16 << 20;

/// The keys of the files, read when first needed.
pub(crate) struct PgpFiles {
    env: Environment,
    ask: Arc<dyn Ask>,
    keys: OnceLock<Result<Vec<Held>>>,
}

struct Held {
    public: SignedPublicKey,
    secret: Option<SignedSecretKey>,
    /// What was answered, or why nothing was: a passphrase is asked for once.
    passphrase: Mutex<Option<Result<Zeroizing<String>>>>,
}

impl PgpFiles {
    pub(crate) fn new(env: Environment, ask: Arc<dyn Ask>) -> Self {
        Self { env, ask, keys: OnceLock::new() }
    }

    /// An armored message for this key; nothing where it is in none of the files.
    pub(crate) fn wrap(&self, fingerprint: &str, data_key: &[u8]) -> Result<Option<String>> {
        let failed = |why: &str| {
            Error::generic(format!("failed to encrypt sops data key with the PGP key {fingerprint} of {VARIABLE}: {why}"))
        };
        let (wanted, exact) = fingerprint.strip_suffix('!').map_or((fingerprint, false), |bare| (bare, true));
        let Some(held) = self.keys()?.iter().find(|held| held.is(wanted)) else { return Ok(None) };
        let key = held.encryption_key(exact.then_some(wanted)).map_err(&failed)?;
        encrypt(&key.key, data_key).map(Some).map_err(|_| failed("its algorithm can't be encrypted with"))
    }

    /// The data key; nothing where the message is for none of the keys.
    pub(crate) fn unwrap(&self, enc: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let failed = |why: &str| Error::generic(format!("failed to decrypt sops data key with {VARIABLE}: {why}"));
        let keys = self.keys()?;
        if keys.is_empty() {
            return Ok(None);
        }
        let mut errors = Vec::new();
        for held in keys {
            let (message, _) = Message::from_armor(enc.trim().as_bytes())
                .map_err(|_| failed("the encrypted data key is no armored PGP message"))?;
            let Message::Encrypted { esk, .. } = &message else { return Err(failed("the message is not encrypted")) };
            let Some(secret) = held.secret.as_ref().filter(|secret| esk.iter().any(|esk| is_for(esk, secret))) else { continue };
            match self.passphrase(held, secret).and_then(|passphrase| decrypt(message, secret, &passphrase).map_err(&failed)) {
                Ok(data_key) => return Ok(Some(data_key)),
                Err(error) => errors.push(error),
            }
        }
        errors.into_iter().next().map_or(Ok(None), Err)
    }

    fn keys(&self) -> Result<&[Held]> {
        let read = || {
            let Some(list) = self.env.raw(VARIABLE) else { return Ok(Vec::new()) };
            list.split(':')
                .filter(|path| !path.is_empty())
                .map(read)
                .collect::<Result<Vec<_>>>()
                .map(|all| all.into_iter().flatten().collect())
        };
        self.keys.get_or_init(read).as_deref().map_err(Clone::clone)
    }

    /// Empty where the key is not locked.
    fn passphrase(&self, held: &Held, secret: &SignedSecretKey) -> Result<Zeroizing<String>> {
        let is_locked = secret.primary_key.secret_params().is_encrypted()
            || secret.secret_subkeys.iter().any(|subkey| subkey.key.secret_params().is_encrypted());
        if !is_locked {
            return Ok(Zeroizing::default());
        }
        let mut kept = held.passphrase.lock().unwrap_or_else(PoisonError::into_inner);
        let ask = || {
            let name = format!("{:X}", secret.primary_key.fingerprint());
            self.ask.secret(&format!("Enter passphrase for the PGP key {name}:")).ok_or_else(|| {
                Error::generic(format!(
                    "could not read the passphrase of the PGP key {name}: there is no terminal, or the question was given up"
                ))
            })
        };
        kept.get_or_insert_with(ask).clone()
    }
}

impl Held {
    /// Whether this is the key, or one of its subkeys, of that fingerprint or its last digits.
    fn is(&self, wanted: &str) -> bool {
        names(&self.public.primary_key, wanted) || self.public.public_subkeys.iter().any(|subkey| names(&subkey.key, wanted))
    }

    /// The newest subkey that is for encryption, bound to its key, neither revoked nor expired; `exact` takes that one only.
    fn encryption_key(&self, exact: Option<&str>) -> Result<&SignedPublicSubKey, &'static str> {
        let key = &self.public.primary_key;
        if key.version() != KeyVersion::V4 {
            return Err("keys of that version are not supported");
        }
        if !self.public.details.revocation_signatures.is_empty() {
            return Err("the key is revoked");
        }
        self.public.details.verify_bindings(key).map_err(|_| "its own signatures are wrong")?;
        let users = self.public.details.users.iter().flat_map(|user| &user.signatures);
        let newest = users
            .chain(&self.public.details.direct_signatures)
            .max_by_key(|signature| signature.created().map(|at| at.as_secs()));
        let now = SystemClock.now().secs();
        let has_expired =
            |made: u32, lasts: Option<u32>| lasts.is_some_and(|lasts| lasts > 0 && i64::from(made) + i64::from(lasts) <= now);
        if has_expired(
            key.created_at().as_secs(),
            newest.and_then(|s| s.key_expiration_time()).map(pgp::types::Duration::as_secs),
        ) {
            return Err("the key has expired");
        }
        let usable = |subkey: &&SignedPublicSubKey| {
            let bindings = || subkey.signatures.iter().filter(|s| s.typ() == Some(SignatureType::SubkeyBinding));
            let is_revoked = subkey.signatures.iter().any(|s| s.typ() == Some(SignatureType::SubkeyRevocation));
            let newest = bindings().max_by_key(|s| s.created().map(|at| at.as_secs()));
            newest.is_some_and(|binding| {
                let flags = binding.key_flags();
                let lasts = binding.key_expiration_time().map(pgp::types::Duration::as_secs);
                (flags.encrypt_comms() || flags.encrypt_storage())
                    && !is_revoked
                    && !has_expired(subkey.key.created_at().as_secs(), lasts)
                    && subkey.verify_bindings(key).is_ok()
            })
        };
        let mut subkeys =
            self.public.public_subkeys.iter().filter(|subkey| exact.is_none_or(|wanted| names(&subkey.key, wanted)));
        if exact.is_some() {
            return subkeys.find(usable).ok_or("exactly that key is not a usable one for encryption");
        }
        subkeys.filter(usable).max_by_key(|subkey| subkey.key.created_at().as_secs()).ok_or("it has no usable key for encryption")
    }
}

fn names(key: &impl KeyDetails, wanted: &str) -> bool {
    let fingerprint = format!("{:X}", key.fingerprint());
    wanted.len() >= 16 && fingerprint.ends_with(&wanted.to_ascii_uppercase())
}

fn is_for(esk: &Esk, secret: &SignedSecretKey) -> bool {
    let Esk::PublicKeyEncryptedSessionKey(esk) = esk else { return false };
    esk.match_identity(&secret.primary_key.public_key())
        || secret.secret_subkeys.iter().any(|subkey| esk.match_identity(&subkey.key.public_key()))
}

fn read(path: &str) -> Result<Vec<Held>> {
    let failed = |why: &dyn std::fmt::Display| Error::generic(format!("{VARIABLE}: {path}: {why}"));
    let mut bytes = Zeroizing::new(Vec::with_capacity(64 << 10));
    let file = std::fs::File::open(path).map_err(|e| failed(&e))?;
    file.take(MOST).read_to_end(&mut bytes).map_err(|e| failed(&e))?;
    let (keys, _) = PublicOrSecret::from_reader_many(bytes.as_slice()).map_err(|_| failed(&"no exported PGP key"))?;
    let mut found = Vec::new();
    for key in keys {
        let (public, secret) = match key.map_err(|_| failed(&"a key in it is damaged or of a kind that is not known"))? {
            PublicOrSecret::Public(key) => (key, None),
            PublicOrSecret::Secret(key) => (key.to_public_key(), Some(key)),
        };
        found.push(Held { public, secret, passphrase: Mutex::default() });
    }
    if found.is_empty() { Err(failed(&"it holds no PGP key")) } else { Ok(found) }
}

/// What every gpg reads: AES-256 with a modification code.
fn encrypt(key: &impl EncryptionKey, data_key: &[u8]) -> pgp::errors::Result<String> {
    let mut builder = MessageBuilder::from_bytes("", data_key.to_vec()).seipd_v1(Generator, SymmetricKeyAlgorithm::AES256);
    builder.encrypt_to_key(Generator, key)?;
    builder.to_armored_string(Generator, ArmorOptions::default()).map(|text| text.trim_end().to_owned())
}

fn decrypt(message: Message<'_>, secret: &SignedSecretKey, passphrase: &str) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let password = Password::from(passphrase);
    let ring = TheRing {
        secret_keys: vec![secret],
        key_passwords: vec![&password],
        decrypt_options: DecryptionOptions::new().enable_gnupg_aead(),
        ..TheRing::default()
    };
    let (mut message, _) = message
        .decrypt_the_ring(ring, true)
        .map_err(|_| if passphrase.is_empty() { "the message or the key is damaged" } else { "incorrect passphrase" })?;
    if message.is_compressed() {
        message = message.decompress().map_err(|_| "the message is damaged")?;
    }
    message.as_data_vec().map(Zeroizing::new).map_err(|_| "the message was changed")
}

/// The one source of randomness, as the library takes it.
struct Generator;

impl rand_core_of_pgp::CryptoRng for Generator {}

impl rand_core_of_pgp::RngCore for Generator {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        SystemRandom.fill(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        SystemRandom.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        SystemRandom.fill(out);
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core_of_pgp::Error> {
        SystemRandom.fill(out);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Nobody;
    use crate::ask::testing::Scripted;

    const SECRET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/pgp_secret.asc");
    const PUBLIC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/pgp_public.asc");
    const FINGERPRINT: &str = "632DCBDA604F0933BD0292C151200593B519F225";

    fn with(files: &str) -> PgpFiles {
        PgpFiles::new(Environment::fixed(&[(VARIABLE, files)]), Arc::new(Nobody))
    }

    #[test]
    fn what_is_wrapped_for_a_key_it_unwraps() {
        for fingerprint in [FINGERPRINT, &FINGERPRINT.to_lowercase(), &FINGERPRINT[24..]] {
            let enc = with(PUBLIC).wrap(fingerprint, b"data").unwrap().unwrap();
            assert!(enc.starts_with("-----BEGIN PGP MESSAGE-----") && enc.ends_with("-----END PGP MESSAGE-----"));
            assert_eq!(&**with(SECRET).unwrap(&enc).unwrap().unwrap(), b"data", "{fingerprint}");
            assert_eq!(&**with(&format!("{PUBLIC}:{SECRET}")).unwrap(&enc).unwrap().unwrap(), b"data");
            assert!(with(PUBLIC).unwrap(&enc).unwrap().is_none());
            assert!(with("").unwrap(&enc).unwrap().is_none());
        }
    }

    #[test]
    fn other_keys_are_not_here() {
        assert!(with(SECRET).wrap("0000000000000000000000000000000000000000", b"d").unwrap().is_none());
        // Too short to mean one key, or none at all.
        for short in ["", "B519F225", "!"] {
            assert!(with(SECRET).wrap(short, b"d").unwrap().is_none(), "{short}");
        }
        let exact = with(SECRET).wrap(&format!("{FINGERPRINT}!"), b"d").unwrap_err();
        assert!(exact.message.contains("exactly that key"), "{exact}");
    }

    #[test]
    fn damaged_messages_and_files_are_refused() {
        let enc = with(SECRET).wrap(FINGERPRINT, b"data").unwrap().unwrap();
        let cut: String = enc.chars().take(enc.len() / 2).collect();
        let public = std::fs::read_to_string(PUBLIC).unwrap();
        for bad in ["garbage", "-----BEGIN PGP MESSAGE-----\n\n-----END PGP MESSAGE-----", &cut, &public] {
            assert!(with(SECRET).unwrap(bad).is_err(), "{bad}");
        }
        let lines: Vec<&str> = enc.lines().collect();
        let mut changed: Vec<String> = lines.iter().map(|l| (*l).to_owned()).collect();
        let at = changed.len() - 4;
        let flipped = if changed[at].as_bytes()[5] == b'A' { "B" } else { "A" };
        changed[at].replace_range(5..6, flipped);
        assert!(!matches!(with(SECRET).unwrap(&changed.join("\n")), Ok(Some(_))));
        let folder = tempfile::tempdir().unwrap();
        let odd = folder.path().join("odd").display().to_string();
        for content in
            ["", "garbage", &enc, "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\ncanary\n-----END PGP PRIVATE KEY BLOCK-----"]
        {
            std::fs::write(&odd, content).unwrap();
            let error = with(&odd).wrap(FINGERPRINT, b"d").unwrap_err();
            assert!(error.message.contains(&odd) && !error.message.contains("canary"), "{error}");
        }
        assert!(with("/nowhere/key").unwrap(&enc).unwrap_err().message.contains("/nowhere/key"));
    }

    #[test]
    fn nobody_is_asked_for_a_key_without_a_passphrase() {
        let ask = Arc::new(Scripted::of(&[]));
        let files = PgpFiles::new(Environment::fixed(&[(VARIABLE, SECRET)]), ask.clone());
        let enc = files.wrap(FINGERPRINT, b"data").unwrap().unwrap();
        files.unwrap(&enc).unwrap().unwrap();
        assert!(ask.asked().is_empty());
    }
}
