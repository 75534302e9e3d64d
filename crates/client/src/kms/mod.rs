//! Key services over the network: AWS KMS, GCP KMS, Azure Key Vault, Vault's transit engine and Huawei Cloud KMS wrap and unwrap one
//! short secret, the data key of an encrypted file. Each needs two calls and a way to credentials; there is no SDK here.
//!
//! [`Kms`] holds what they share: the environment, the clock, how long to wait, and the credentials and tokens that were fetched, so
//! that many files need one log-in. The text forms of wrapped keys are those of SOPS files.

mod aws;
mod aws_credentials;
mod aws_profile;
mod azure;
mod azure_token;
mod fault;
mod gcp;
mod huawei;
#[cfg(test)]
mod scripted;
mod vault;
mod web;

pub use aws::AwsKey;
pub use azure::AzureKey;
pub use fault::{Fault, FaultKind, Result};
pub use gcp::GcpKey;
pub use huawei::HuaweiKey;
pub use vault::VaultKey;

use crate::Environment;
use coffer_types::{Clock, Secret, SystemClock, Timestamp};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use zeroize::Zeroizing;

/// A key that some service keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteKey {
    Aws(AwsKey),
    Gcp(GcpKey),
    Azure(AzureKey),
    Vault(VaultKey),
    Huawei(HuaweiKey),
}

/// The clients of all services.
pub struct Kms {
    env: Environment,
    clock: Arc<dyn Clock>,
    /// To the last byte of one answer.
    timeout: Duration,
    /// How long to wait before a request is sent again; twice as long each time.
    pause: Duration,
    aws: Cache<aws_credentials::Credentials>,
    tokens: Cache<Secret<String>>,
}

impl Kms {
    /// With the process's own clock.
    pub fn new(env: Environment) -> Self {
        Self {
            env,
            clock: Arc::new(SystemClock),
            timeout: Duration::from_secs(30),
            pause: Duration::from_millis(200),
            aws: Cache::default(),
            tokens: Cache::default(),
        }
    }

    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// How long one answer may take.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long to wait before a request is sent again.
    #[must_use]
    pub const fn with_pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Encrypts a data key; gives the text that stands as `enc` in a file.
    ///
    /// # Errors
    /// A [`Fault`] that names the service and what it said.
    pub async fn wrap(&self, key: &RemoteKey, plaintext: &[u8]) -> Result<String> {
        match key {
            RemoteKey::Aws(key) => self.aws_encrypt(key, plaintext).await,
            RemoteKey::Gcp(key) => self.gcp_encrypt(key, plaintext).await,
            RemoteKey::Azure(key) => self.azure_encrypt(key, plaintext).await,
            RemoteKey::Vault(key) => self.vault_encrypt(key, plaintext).await,
            RemoteKey::Huawei(key) => self.huawei_encrypt(key, plaintext).await,
        }
    }

    /// Decrypts what [`Kms::wrap`] gave.
    ///
    /// # Errors
    /// As there; and [`FaultKind::Input`] where the text is no ciphertext of that service.
    pub async fn unwrap(&self, key: &RemoteKey, enc: &str) -> Result<Zeroizing<Vec<u8>>> {
        match key {
            RemoteKey::Aws(key) => self.aws_decrypt(key, enc).await,
            RemoteKey::Gcp(key) => self.gcp_decrypt(key, enc).await,
            RemoteKey::Azure(key) => self.azure_decrypt(key, enc).await,
            RemoteKey::Vault(key) => self.vault_decrypt(key, enc).await,
            RemoteKey::Huawei(key) => self.huawei_decrypt(key, enc).await,
        }
    }

    fn web(&self) -> web::Web<'_> {
        web::Web { env: &self.env, timeout: self.timeout, pause: self.pause }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// What was fetched once and holds for a while. A value is handed out as an `Arc`, so that it is wiped when the last user is done.
struct Cache<T>(Mutex<BTreeMap<String, Kept<T>>>);

/// A value, and until when it holds.
type Kept<T> = (Arc<T>, Option<Timestamp>);

/// Nothing is used in the last moments of its life: the request would arrive too late.
const MARGIN: Duration = Duration::from_secs(60);

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Cache<T> {
    fn get(&self, name: &str, now: Timestamp) -> Option<Arc<T>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (value, until) = kept.get(name)?;
        until.is_none_or(|until| now.plus(MARGIN) < until).then(|| value.clone())
    }

    fn put(&self, name: &str, value: T, until: Option<Timestamp>) -> Arc<T> {
        let value = Arc::new(value);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), (value.clone(), until));
        value
    }
}

/// The same for callers without a runtime, from any thread.
pub struct BlockingKms {
    runtime: tokio::runtime::Runtime,
    kms: Kms,
}

impl BlockingKms {
    /// # Errors
    /// [`FaultKind::Setup`] where the system gives no event loop.
    pub fn new(kms: Kms) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|e| Fault::setup(format!("the system gives no event loop: {e}")))?;
        Ok(Self { runtime, kms })
    }

    /// [`Kms::wrap`].
    ///
    /// # Errors
    /// As there.
    pub fn wrap(&self, key: &RemoteKey, plaintext: &[u8]) -> Result<String> {
        self.runtime.block_on(self.kms.wrap(key, plaintext))
    }

    /// [`Kms::unwrap`].
    ///
    /// # Errors
    /// As there.
    pub fn unwrap(&self, key: &RemoteKey, enc: &str) -> Result<Zeroizing<Vec<u8>>> {
        self.runtime.block_on(self.kms.unwrap(key, enc))
    }

    /// [`Kms::pin`].
    ///
    /// # Errors
    /// As there.
    pub fn pin(&self, key: &AzureKey) -> Result<AzureKey> {
        self.runtime.block_on(self.kms.pin(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_used_in_its_last_minute() {
        let cache = Cache::default();
        let at = Timestamp::from_secs;
        cache.put("a", 1, Some(at(1000)));
        cache.put("b", 2, None);
        assert_eq!(cache.get("a", at(939)).as_deref(), Some(&1));
        assert_eq!(cache.get("a", at(940)), None);
        assert_eq!(cache.get("b", at(i64::MAX / 2_000_000_000)).as_deref(), Some(&2));
        assert_eq!(cache.get("c", at(0)), None);
    }
}
