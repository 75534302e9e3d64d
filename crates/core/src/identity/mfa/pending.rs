//! Logins that wait for their second factor.

use coffer_engine::view::Record;
use coffer_engine::{Login, View};
use coffer_types::{Result, Span, Timestamp};
use serde::{Deserialize, Serialize};

/// How long a login waits.
pub const PATIENCE: Span = Span::from_secs(300);
/// `identity/mfa/login/<digest of the request's id>`: the store names no request.
const LOGINS: &str = "identity/mfa/login/";
/// `identity/mfa/login-time/<seconds>-<digest>`: when it ends.
const TIMES: &str = "identity/mfa/login-time/";
/// Ended logins taken away at a time.
const BATCH: usize = 256;

/// A login that its method vouched for.
#[derive(Serialize, Deserialize)]
pub struct PendingLogin {
    /// The uuid of the mount.
    pub mount: String,
    /// The path that was called.
    pub path: String,
    pub entity: String,
    pub login: Login,
    expires: Timestamp,
}

impl Record for PendingLogin {
    const FORMAT: u8 = 1;
}

#[derive(Serialize, Deserialize)]
struct Ends {}

impl Record for Ends {
    const FORMAT: u8 = 1;
}

fn digest(request: &str) -> String {
    hex::encode(coffer_crypto::mac::sha256(&[b"coffer/mfa-request/v1\0", request.as_bytes()]))
}

fn time_key(expires: Timestamp, digest: &str) -> String {
    format!("{TIMES}{:012}-{digest}", expires.secs())
}

impl PendingLogin {
    pub fn new(mount: &str, path: &str, entity: &str, login: Login, now: Timestamp) -> Self {
        let (mount, path, entity) = (mount.to_owned(), path.to_owned(), entity.to_owned());
        Self { mount, path, entity, login, expires: now.plus(PATIENCE.duration()) }
    }

    pub fn keep(&self, view: &View, request: &str) -> Result<()> {
        let digest = digest(request);
        view.put(&format!("{LOGINS}{digest}"), self)?;
        view.put(&time_key(self.expires, &digest), &Ends {})
    }

    /// The login of a request that has not ended.
    pub async fn find(view: &View, request: &str, now: Timestamp) -> Result<Option<Self>> {
        let found: Option<Self> = view.get(&format!("{LOGINS}{}", digest(request))).await?;
        Ok(found.filter(|login| login.expires > now))
    }

    /// It goes with the commit that hands its token out: no request gives two.
    pub fn end(&self, view: &View, request: &str) {
        let digest = digest(request);
        view.delete(&format!("{LOGINS}{digest}"));
        view.delete(&time_key(self.expires, &digest));
    }
}

/// Takes away what has ended, a batch at a time; true when there may be more.
pub async fn sweep(view: &View, now: Timestamp) -> Result<bool> {
    let ended = view.children(TIMES, None, BATCH).await?;
    let all = ended.len() == BATCH;
    let mut gone = 0;
    for name in ended {
        let Some((secs, digest)) = name.split_once('-') else { continue };
        if secs.parse::<i64>().is_ok_and(|secs| secs > now.secs()) {
            break;
        }
        view.delete(&format!("{LOGINS}{digest}"));
        view.delete(&format!("{TIMES}{name}"));
        gone += 1;
    }
    Ok(all && gone == BATCH)
}
