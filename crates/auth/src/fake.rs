//! Systems outside, as tests bring them: an HTTP server in memory.

use coffer_engine::BoxFuture;
use coffer_engine::outside::{Fault, FaultKind, Http, HttpReply, HttpRequest, Outside};
use std::sync::{Arc, Mutex};

type Answer = Box<dyn Fn(&HttpRequest) -> Result<(u16, Vec<u8>), Fault> + Send + Sync>;

/// Answers requests with a closure, and keeps what was asked.
pub(crate) struct Fake {
    answer: Mutex<Answer>,
    asked: Mutex<Vec<String>>,
}

impl Fake {
    pub(crate) fn new(answer: impl Fn(&HttpRequest) -> Result<(u16, Vec<u8>), Fault> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { answer: Mutex::new(Box::new(answer)), asked: Mutex::default() })
    }

    pub(crate) fn answers(&self, answer: impl Fn(&HttpRequest) -> Result<(u16, Vec<u8>), Fault> + Send + Sync + 'static) {
        *self.answer.lock().unwrap() = Box::new(answer);
    }

    /// Addresses so far; they are forgotten with this.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

pub(crate) fn down() -> Fault {
    Fault::new(FaultKind::Unreachable, "connection refused")
}

/// A form's value in a body.
pub(crate) fn form<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    let body = std::str::from_utf8(&request.body).ok()?;
    body.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fake")
    }
}

impl Outside for Fake {
    fn http(&self) -> &dyn Http {
        self
    }
}

impl Http for Fake {
    fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpReply, Fault>> {
        self.asked.lock().unwrap().push(request.url.clone());
        let answer = (self.answer.lock().unwrap())(&request);
        Box::pin(async move {
            let (status, body) = answer?;
            if body.len() > request.limit {
                return Err(Fault::new(FaultKind::Protocol, "the reply is too large"));
            }
            Ok(HttpReply { status, headers: Vec::new(), body: body.into() })
        })
    }
}
