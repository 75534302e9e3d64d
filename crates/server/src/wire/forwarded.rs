//! `X-Forwarded-For`: whom to believe that a call came from someone else.

use crate::config::parse_network;
use coffer_dialects::vault::Refusal;
use http::{HeaderMap, StatusCode};
use std::net::IpAddr;

/// The rules of a listener; without authorized networks the header means nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Forwarded {
    pub(super) authorized: Vec<(IpAddr, u8)>,
    /// How many addresses at the end of the list are proxies of ours.
    pub(super) hop_skips: usize,
    pub(super) reject_not_present: bool,
    pub(super) reject_not_authorized: bool,
}

impl Forwarded {
    /// Reads the networks; the configuration has checked them.
    pub(super) fn networks(texts: &[String]) -> Vec<(IpAddr, u8)> {
        texts.iter().filter_map(|text| parse_network(text)).collect()
    }

    /// The address that a call counts as from, when the connection is from `peer` (`None`: a unix socket).
    pub(super) fn client(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Result<Option<IpAddr>, Refusal> {
        if self.authorized.is_empty() {
            return Ok(peer);
        }
        let refused = |message| Err(Refusal::by_listener(StatusCode::BAD_REQUEST, message));
        let mut chain = headers.get_all("x-forwarded-for").iter().peekable();
        if chain.peek().is_none() {
            return if self.reject_not_present {
                refused("missing x-forwarded-for header and configured to reject when not present")
            } else {
                Ok(peer)
            };
        }
        if !peer.is_some_and(|peer| self.authorized.iter().any(|network| contains(*network, peer))) {
            return if self.reject_not_authorized {
                refused("client address not authorized for x-forwarded-for and configured to reject connection")
            } else {
                Ok(peer)
            };
        }
        let mut addresses = Vec::new();
        for value in chain {
            let Ok(value) = value.to_str() else { return refused("malformed x-forwarded-for header") };
            addresses.extend(value.split(',').map(|address| address.trim().to_owned()));
        }
        let Some(at) = addresses.len().checked_sub(1 + self.hop_skips) else {
            return refused("malformed x-forwarded-for configuration or request: more hops to skip than addresses");
        };
        match parse_address(&addresses[at]) {
            Some(address) => Ok(Some(address)),
            None => refused("malformed x-forwarded-for header"),
        }
    }
}

/// An address, in brackets and with a port or without.
fn parse_address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()))
}

fn contains((network, bits): (IpAddr, u8), address: IpAddr) -> bool {
    // An IPv4 client on a socket for both families.
    let address = address.to_canonical();
    let bits = u32::from(bits);
    match (network.to_canonical(), address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let bits = bits.min(32);
            u32::from(network).checked_shr(32 - bits) == u32::from(address).checked_shr(32 - bits)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            u128::from(network).checked_shr(128 - bits) == u128::from(address).checked_shr(128 - bits)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: fn() -> Forwarded = || Forwarded {
        authorized: Forwarded::networks(&["10.0.0.0/8".to_owned(), "fd00::/8".to_owned(), "192.0.2.7".to_owned()]),
        hop_skips: 0,
        reject_not_present: true,
        reject_not_authorized: true,
    };

    fn ask(rules: &Forwarded, peer: &str, values: &[&str]) -> Result<String, String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("x-forwarded-for", http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        match rules.client(peer.parse().ok(), &headers) {
            Ok(address) => Ok(address.map_or_else(|| "unix".to_owned(), |a| a.to_string())),
            Err(Refusal::Error { status, message }) => {
                assert_eq!(status, 400);
                Err(message.into_owned())
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_rules_the_header_means_nothing() {
        assert_eq!(ask(&Forwarded::default(), "203.0.113.9", &["198.51.100.1"]).unwrap(), "203.0.113.9");
        assert_eq!(ask(&Forwarded::default(), "", &["198.51.100.1"]).unwrap(), "unix");
    }

    #[test]
    fn authorized_proxies_are_believed() {
        for (peer, values, client) in [
            ("10.1.2.3", &["198.51.100.1"][..], "198.51.100.1"),
            ("192.0.2.7", &["198.51.100.1, 203.0.113.5"], "203.0.113.5"),
            ("fd00::1", &["2001:db8::1"], "2001:db8::1"),
            ("::ffff:10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("10.1.2.3", &["[2001:db8::1]:443"], "2001:db8::1"),
            ("10.1.2.3", &["198.51.100.1", "203.0.113.5"], "203.0.113.5"),
        ] {
            assert_eq!(ask(&STRICT(), peer, values).as_deref(), Ok(client), "{peer}");
        }
        let skipping = Forwarded { hop_skips: 1, ..STRICT() };
        assert_eq!(ask(&skipping, "10.1.2.3", &["6.6.6.6, 198.51.100.1, 10.9.9.9"]).as_deref(), Ok("198.51.100.1"));
    }

    #[test]
    fn others_are_refused_or_not_heard() {
        for peer in ["203.0.113.9", "11.0.0.1", "192.0.2.8", "fe80::1", ""] {
            assert!(ask(&STRICT(), peer, &["198.51.100.1"]).unwrap_err().contains("not authorized"), "{peer}");
        }
        assert!(ask(&STRICT(), "10.0.0.1", &[]).unwrap_err().contains("missing x-forwarded-for"));
        let lenient = Forwarded { reject_not_present: false, reject_not_authorized: false, ..STRICT() };
        assert_eq!(ask(&lenient, "203.0.113.9", &["198.51.100.1"]).as_deref(), Ok("203.0.113.9"));
        assert_eq!(ask(&lenient, "10.0.0.1", &[]).as_deref(), Ok("10.0.0.1"));
    }

    #[test]
    fn nonsense_from_a_proxy_is_refused() {
        for value in ["", "unknown", "198.51.100.1,", "198.51.100.1 203.0.113.5", "300.1.1.1", "\u{e9}", "[::1"] {
            assert!(ask(&STRICT(), "10.0.0.1", &[value]).is_err(), "{value}");
        }
        let skipping = Forwarded { hop_skips: 2, ..STRICT() };
        assert!(ask(&skipping, "10.0.0.1", &["198.51.100.1, 203.0.113.5"]).unwrap_err().contains("more hops"));
    }

    #[test]
    fn whole_and_no_prefixes() {
        let any = Forwarded { authorized: Forwarded::networks(&["0.0.0.0/0".to_owned(), "::/0".to_owned()]), ..STRICT() };
        assert!(ask(&any, "203.0.113.9", &["1.2.3.4"]).is_ok() && ask(&any, "2001:db8::9", &["1.2.3.4"]).is_ok());
        let one = Forwarded { authorized: Forwarded::networks(&["::1/128".to_owned()]), ..STRICT() };
        assert!(ask(&one, "::1", &["1.2.3.4"]).is_ok() && ask(&one, "::2", &["1.2.3.4"]).is_err());
    }
}
