//! The proxy between us and the server, where the environment names one.
//!
//! `VAULT_HTTP_PROXY` and `VAULT_PROXY_ADDR` hold for every address; `HTTPS_PROXY` and `HTTP_PROXY` (small letters too) as other
//! programs read them: not for this machine itself, and not for what `NO_PROXY` names.

use crate::{Address, Environment, Error, Result};
use base64::Engine as _;
use coffer_types::Secret;
use std::fmt;
use std::net::IpAddr;

/// A proxy that speaks plain HTTP, as they do; TLS to the server goes through it untouched.
pub struct Proxy {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The value of `Proxy-Authorization`.
    pub(crate) authorization: Option<Secret<String>>,
}

impl Proxy {
    /// The proxy for this address, if there is to be one.
    pub fn find(env: &Environment, address: &Address) -> Result<Option<Self>> {
        let Address::Net { tls, host, port, .. } = address else {
            return Ok(None);
        };
        if let Some((name, value)) = env.named("HTTP_PROXY").or_else(|| env.named("PROXY_ADDR")) {
            return Self::parse(&name, &value).map(Some);
        }
        let names = if *tls { ["HTTPS_PROXY", "https_proxy"] } else { ["HTTP_PROXY", "http_proxy"] };
        let Some((name, value)) = names.iter().find_map(|name| Some((*name, env.raw(name)?))) else {
            return Ok(None);
        };
        let except = env.raw("NO_PROXY").or_else(|| env.raw("no_proxy")).unwrap_or_default();
        if is_here(host) || is_excepted(&except, host, *port) {
            return Ok(None);
        }
        Self::parse(name, &value).map(Some)
    }

    fn parse(name: &str, value: &str) -> Result<Self> {
        // The value may hold a password, so errors name the variable only.
        let wrong = |why: &str| Error::Setup(format!("{name}: {why}; write it as http://HOST:PORT"));
        let text = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        let (user, place) = rest.rsplit_once('@').map_or((None, rest), |(user, place)| (Some(user), place));
        match Address::parse(&format!("{scheme}://{place}")) {
            Ok(Address::Net { tls: false, host, port, .. }) => {
                let encode = |user: &str| format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(user));
                Ok(Self { host, port, authorization: user.map(encode).map(Secret::from) })
            }
            Ok(_) => Err(wrong("a proxy is spoken to in plain HTTP")),
            Err(_) => Err(wrong("it is no address of a proxy")),
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({}:{})", self.host, self.port)
    }
}

fn is_here(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// `NO_PROXY`: `*`, a host, `.suffix`, any of them with a port; a host covers what is below it.
fn is_excepted(list: &str, host: &str, port: u16) -> bool {
    list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        if entry == "*" {
            return true;
        }
        let (name, wanted) = match entry.rsplit_once(':') {
            Some((name, digits)) if digits.parse::<u16>().is_ok() && !name.contains(':') => (name, digits.parse().ok()),
            _ => (entry, None),
        };
        let name = name.trim_start_matches('*').trim_start_matches('.').to_ascii_lowercase();
        let host = host.to_ascii_lowercase();
        let below = host.strip_suffix(&name).is_some_and(|rest| rest.ends_with('.'));
        wanted.is_none_or(|w: u16| w == port) && (host == name || below)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(env: &[(&str, &str)], address: &str) -> Option<String> {
        let proxy = Proxy::find(&Environment::fixed(env), &Address::parse(address).unwrap()).unwrap();
        proxy.map(|p| format!("{p:?}"))
    }

    #[test]
    fn which_addresses_go_through_which_proxy() {
        let env = [
            ("HTTPS_PROXY", "http://u:p@proxy:3128"),
            ("http_proxy", "plain:80"),
            ("NO_PROXY", "inside.example, .corp:8200,10.0.0.1"),
        ];
        for (address, want) in [
            ("https://vault.example:8200", Some("Proxy(proxy:3128)")),
            ("http://vault.example:8200", Some("Proxy(plain:80)")),
            ("https://a.inside.example", None),
            ("https://notinside.example", Some("Proxy(proxy:3128)")),
            ("https://a.corp:8200", None),
            ("https://a.corp:8201", Some("Proxy(proxy:3128)")),
            ("https://10.0.0.1:8200", None),
            ("https://127.0.0.1:8200", None),
            ("http://localhost:8200", None),
            ("unix:///s", None),
        ] {
            assert_eq!(found(&env, address).as_deref(), want, "{address}");
        }
        assert_eq!(found(&[("VAULT_PROXY_ADDR", "http://p:1")], "http://127.0.0.1:8200").as_deref(), Some("Proxy(p:1)"));
    }

    #[test]
    fn a_proxy_that_is_none_is_refused_without_its_password() {
        for value in ["https://p:1", "http://u:canary@", "socks5://u:canary@p:1", "http://p:0"] {
            let error = Proxy::find(&Environment::fixed(&[("HTTP_PROXY", value)]), &Address::parse("http://h").unwrap())
                .unwrap_err()
                .to_string();
            assert!(error.contains("HTTP_PROXY") && !error.contains("canary"), "{error}");
        }
    }
}
