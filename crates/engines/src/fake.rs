//! A system outside that a test answers for.

use coffer_engine::BoxFuture;
use coffer_engine::outside::{Fault, FaultKind, Http, HttpReply, HttpRequest, Outside, Pod, Roots};
use coffer_types::Secret;
use std::fmt;
use std::sync::{Arc, Mutex};
use zeroize::Zeroizing;

type Answer = Box<dyn Fn(&Asked) -> Result<HttpReply, Fault> + Send + Sync>;

pub(crate) struct Fake {
    answer: Mutex<Answer>,
    asked: Mutex<Vec<Asked>>,
    pod: Mutex<Option<(&'static str, &'static str)>>,
}

/// One request, as it went out.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: &'static str,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// The authorities that alone are trusted, PEM; empty for the system's.
    pub(crate) pem: String,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    /// What follows the host: path and query.
    pub(crate) fn path(&self) -> &str {
        let rest = self.url.split_once("://").unwrap().1;
        &rest[rest.find('/').unwrap()..]
    }
}

impl Fake {
    pub(crate) fn new(answer: impl Fn(&Asked) -> Result<HttpReply, Fault> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { answer: Mutex::new(Box::new(answer)), asked: Mutex::default(), pod: Mutex::default() })
    }

    /// From now on it answers like this.
    pub(crate) fn becomes(&self, answer: impl Fn(&Asked) -> Result<HttpReply, Fault> + Send + Sync + 'static) {
        *self.answer.lock().unwrap() = Box::new(answer);
    }

    /// From now on it runs in a pod with this token and authority.
    pub(crate) fn in_pod(&self, token: &'static str, ca: &'static str) {
        *self.pod.lock().unwrap() = Some((token, ca));
    }

    /// What was asked since this was last called.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

pub(crate) fn reply(status: u16, body: &str) -> Result<HttpReply, Fault> {
    Ok(HttpReply { status, headers: Vec::new(), body: Zeroizing::new(body.as_bytes().to_vec()) })
}

pub(crate) fn down() -> Result<HttpReply, Fault> {
    Err(Fault::new(FaultKind::Unreachable, "127.0.0.1: connection refused"))
}

impl Outside for Fake {
    fn http(&self) -> &dyn Http {
        self
    }

    fn pod(&self) -> Result<Pod, Fault> {
        let (token, ca) = self.pod.lock().unwrap().ok_or_else(|| Fault::new(FaultKind::Settings, "in no pod"))?;
        Ok(Pod { token: Secret::from(token), ca: ca.to_owned() })
    }
}

impl Http for Fake {
    fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpReply, Fault>> {
        let asked = Asked {
            method: request.method.as_str(),
            url: request.url.clone(),
            headers: request.headers.iter().map(|(n, v)| (n.clone(), v.expose().clone())).collect(),
            body: String::from_utf8_lossy(&request.body).into_owned(),
            pem: if let Roots::Pem(pem) = &request.tls.roots { pem.clone() } else { String::new() },
        };
        let answer = (self.answer.lock().unwrap())(&asked);
        self.asked.lock().unwrap().push(asked);
        Box::pin(std::future::ready(answer))
    }
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fake")
    }
}
