//! Other key services, and several in order.

use crate::map::to_wire;
use coffer_client::keyservice::{Caller, Place, Status};
use coffer_sops::{Error, KeyService, MasterKey, Result};
use zeroize::Zeroizing;

/// A key service over gRPC.
pub struct Remote(Caller);

impl Remote {
    /// `tcp://HOST:PORT` or `unix:///PATH`; connected to when first asked.
    ///
    /// # Errors
    /// Another form.
    pub fn new(uri: &str) -> Result<Self> {
        let place = Place::parse(uri).map_err(Error::generic)?;
        Caller::new(place).map(Self).map_err(|status| error(&status))
    }
}

impl KeyService for Remote {
    fn wrap(&self, key: &MasterKey, data_key: &[u8]) -> Result<String> {
        self.0.encrypt(&to_wire(&key.id)?, data_key).map_err(|status| error(&status))
    }

    fn unwrap(&self, key: &MasterKey) -> Result<Zeroizing<Vec<u8>>> {
        self.0.decrypt(&to_wire(&key.id)?, &key.enc).map_err(|status| error(&status))
    }
}

fn error(status: &Status) -> Error {
    Error::generic(status.to_string())
}

/// Key services in the order in which they are asked: the first that can does it.
#[derive(Default)]
pub struct Chain(Vec<Box<dyn KeyService + Send + Sync>>);

impl Chain {
    #[must_use]
    pub fn with(mut self, service: impl KeyService + Send + 'static) -> Self {
        self.0.push(Box::new(service));
        self
    }

    /// What the first service gives, or what all said, one line each.
    fn first<T>(&self, mut ask: impl FnMut(&dyn KeyService) -> Result<T>) -> Result<T> {
        let mut errors = Vec::new();
        for service in &self.0 {
            match ask(&**service) {
                Ok(found) => return Ok(found),
                Err(error) => errors.push(error),
            }
        }
        match errors.len() {
            0 => Err(Error::generic(
                "there is no key service: the local one is switched off (--enable-local-keyservice) and no other is named (--keyservice)",
            )),
            1 => Err(errors.remove(0)),
            _ => {
                let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
                Err(Error::new(errors[0].fault, lines.join("\n")))
            }
        }
    }
}

impl KeyService for Chain {
    fn wrap(&self, key: &MasterKey, data_key: &[u8]) -> Result<String> {
        self.first(|service| service.wrap(key, data_key))
    }

    fn unwrap(&self, key: &MasterKey) -> Result<Zeroizing<Vec<u8>>> {
        self.first(|service| service.unwrap(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_sops::keys::KeyId;

    struct Says(Result<&'static str, &'static str>);

    impl KeyService for Says {
        fn wrap(&self, _: &MasterKey, _: &[u8]) -> Result<String> {
            self.0.map(str::to_owned).map_err(Error::generic)
        }

        fn unwrap(&self, _: &MasterKey) -> Result<Zeroizing<Vec<u8>>> {
            self.0.map(|text| Zeroizing::new(text.into())).map_err(Error::generic)
        }
    }

    #[test]
    fn the_first_that_can_does_it_and_all_refusals_are_told() {
        let key = MasterKey::new(KeyId::pgp("AB"));
        let chain = Chain::default().with(Says(Err("one"))).with(Says(Ok("two"))).with(Says(Ok("three")));
        assert_eq!(chain.wrap(&key, b"").unwrap(), "two");
        assert_eq!(&**chain.unwrap(&key).unwrap(), b"two");
        let chain = Chain::default().with(Says(Err("one"))).with(Says(Err("two")));
        assert_eq!(chain.unwrap(&key).unwrap_err().message, "one\ntwo");
        assert!(Chain::default().wrap(&key, b"").unwrap_err().message.contains("no key service"));
    }

    #[test]
    fn a_service_that_is_nowhere() {
        for uri in ["", "here", "http://h:1"] {
            assert!(Remote::new(uri).is_err(), "{uri}");
        }
        let remote = Remote::new("unix:///nowhere/s").unwrap();
        let error = remote.unwrap(&MasterKey::new(KeyId::pgp("AB"))).unwrap_err();
        assert!(error.message.contains("Unavailable") && error.message.contains("unix:///nowhere/s"), "{error}");
    }
}
