//! A web of a test's own: what it answers is a function of what it is asked, and it remembers what that was.

use coffer_engine::outside::{Fault, FaultKind, Http, HttpReply, HttpRequest};
use coffer_engine::{BoxFuture, Outside};
use std::fmt;
use std::sync::{Arc, Mutex};

type Answer = dyn Fn(&HttpRequest) -> Option<HttpReply> + Send + Sync;

/// See the module.
pub(crate) struct Web {
    answer: Box<Answer>,
    asked: Mutex<Vec<String>>,
}

impl Web {
    /// `None` is nobody there.
    pub(crate) fn new(answer: impl Fn(&HttpRequest) -> Option<HttpReply> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { answer: Box::new(answer), asked: Mutex::default() })
    }

    /// Method and address of each request since the last time.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

/// A reply with this body.
pub(crate) fn reply(status: u16, body: impl AsRef<[u8]>) -> HttpReply {
    HttpReply { status, headers: Vec::new(), body: body.as_ref().to_vec().into() }
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Web")
    }
}

impl Outside for Web {
    fn http(&self) -> &dyn Http {
        self
    }
}

impl Http for Web {
    fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpReply, Fault>> {
        self.asked.lock().unwrap().push(format!("{} {}", request.method.as_str(), request.url));
        let answer = (self.answer)(&request).ok_or_else(|| Fault::new(FaultKind::Unreachable, "nobody is there"));
        Box::pin(async { answer })
    }
}
