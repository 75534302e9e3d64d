//! A key service for others: whoever reaches it uses the keys of this machine.

use crate::map::of_wire;
use crate::{Ask, Local};
use coffer_client::keyservice::{Bound, Code, Key, Keys, Place, Status};
use coffer_sops::{KeyService, MasterKey};
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// Answers with the local keys; with `--prompt` only what a person lets through.
pub struct Served {
    local: Local,
    prompt: Option<Arc<dyn Ask>>,
    /// One question at a time.
    turn: Mutex<()>,
}

impl Served {
    /// Asks `prompt` before each answer, where there is one.
    pub fn new(local: Local, prompt: Option<Arc<dyn Ask>>) -> Self {
        Self { local, prompt, turn: Mutex::new(()) }
    }

    /// Listens, tells `ready` where, and answers until the process is interrupted or terminated; the socket is removed then.
    ///
    /// # Errors
    /// Where it can't listen there.
    pub fn serve(self, place: &Place, ready: impl FnOnce(&Place)) -> std::io::Result<()> {
        let bound = Bound::new(place)?;
        ready(bound.place());
        bound.serve(Arc::new(self), ended());
        Ok(())
    }

    fn let_through(&self, what: &str, key: &MasterKey) -> Result<(), Status> {
        let Some(ask) = &self.prompt else { return Ok(()) };
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let question =
            format!("\nReceived {what} request using {} key {}. Respond to request? (y/n):", key.id.kind().name(), key.id);
        loop {
            match ask.line(&question).as_deref() {
                Some("y") => return Ok(()),
                Some("n") | None => return Err(Status::new(Code::PermissionDenied, "Request rejected by user")),
                Some(_) => {}
            }
        }
    }
}

impl Keys for Served {
    fn encrypt(&self, key: &Key, plaintext: &[u8]) -> Result<String, Status> {
        let key = MasterKey::new(of_wire(key));
        self.let_through("encrypt", &key)?;
        self.local.wrap(&key, plaintext).map_err(|error| Status::new(Code::Unknown, error.to_string()))
    }

    fn decrypt(&self, key: &Key, enc: &str) -> Result<Zeroizing<Vec<u8>>, Status> {
        let key = MasterKey { enc: enc.to_owned(), ..MasterKey::new(of_wire(key)) };
        self.let_through("decrypt", &key)?;
        self.local.unwrap(&key).map_err(|error| Status::new(Code::Unknown, error.to_string()))
    }
}

/// SIGINT or SIGTERM.
async fn ended() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        // Without handlers the signals end the process themselves.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Nobody;
    use crate::ask::testing::Scripted;
    use coffer_client::Environment;

    const RECIPIENT: &str = "age1elgjcq9cc720va5327ctgwcqqyczee8dnuprrq0zuxwngr4ctcnqvlmwly";

    fn served(prompt: Option<Arc<dyn Ask>>) -> Served {
        Served::new(Local::new(Environment::fixed(&[]), Arc::new(Nobody)), prompt)
    }

    #[test]
    fn a_person_lets_through_or_not() {
        let ask = Arc::new(Scripted::of(&["what?", "y", "n"]));
        let service = served(Some(ask.clone()));
        let key = Key::Age(RECIPIENT.into());
        assert!(service.encrypt(&key, b"data").unwrap().starts_with("-----BEGIN AGE ENCRYPTED FILE-----"));
        for _ in ["n", "nobody there"] {
            assert_eq!(service.encrypt(&key, b"data").unwrap_err().code, Code::PermissionDenied);
        }
        assert!(ask.asked()[0].contains("encrypt request using age key age1elg"), "{:?}", ask.asked());
        assert_eq!(ask.asked().len(), 4);
    }

    #[test]
    fn failures_reach_the_caller() {
        let service = served(None);
        let status = service.decrypt(&Key::Age(RECIPIENT.into()), "garbage").unwrap_err();
        assert_eq!(status.code, Code::Unknown);
        assert!(service.encrypt(&Key::Age("garbage".into()), b"d").unwrap_err().message.contains("garbage"));
    }
}
