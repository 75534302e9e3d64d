//! Where a server is: `http://`, `https://` or `unix://`.

use std::fmt;
use std::path::PathBuf;

/// A parsed address. What stands behind the host (`https://lb/coffer`) is put before every path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    Net { tls: bool, host: String, port: u16, prefix: String },
    Unix(PathBuf),
}

impl Address {
    /// Reads an address; the error says which forms there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong = |why: &str| {
            Err(format!(
                "the address {text:?} {why}; write it as http://127.0.0.1:8200, https://HOST:PORT or unix:///path/to/socket"
            ))
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            return wrong("has no scheme");
        };
        let tls = match scheme {
            "http" => false,
            "https" => true,
            "unix" if rest.starts_with('/') => return Ok(Self::Unix(rest.into())),
            "unix" => return wrong("names no absolute path"),
            _ => return wrong("has a scheme that is not known"),
        };
        let (authority, prefix) = rest.find(['/', '?', '#']).map_or((rest, ""), |at| rest.split_at(at));
        if prefix.contains(['?', '#']) {
            return wrong("holds a query or fragment");
        }
        if authority.contains('@') {
            return wrong("holds a user name; tokens go into the environment or the token file");
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => match v6.split_once(']') {
                Some((host, port)) => (host, port.strip_prefix(':')),
                None => return wrong("lacks the closing bracket of an IPv6 address"),
            },
            None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() || (host.contains(':') && !authority.starts_with('[')) {
            return wrong("names no host");
        }
        let port = match port {
            None | Some("") => {
                if tls {
                    443
                } else {
                    80
                }
            }
            Some(port) => match port.parse() {
                Ok(port) if port > 0 => port,
                _ => return wrong("has a port that is not between 1 and 65535"),
            },
        };
        Ok(Self::Net { tls, host: host.to_owned(), port, prefix: prefix.trim_end_matches('/').to_owned() })
    }

    /// What stands before `/v1/…` in a URL.
    pub fn base(&self) -> String {
        match self {
            Self::Net { prefix, .. } => format!("{self}{prefix}"),
            // A socket has no host; this one is a placeholder in the Host header and in messages.
            Self::Unix(_) => "http://localhost".to_owned(),
        }
    }

    /// What the Host header says.
    pub fn authority(&self) -> String {
        match self {
            Self::Net { tls, host, port, .. } => {
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                if *port == if *tls { 443 } else { 80 } { host } else { format!("{host}:{port}") }
            }
            Self::Unix(_) => "localhost".to_owned(),
        }
    }

    pub const fn is_tls(&self) -> bool {
        matches!(self, Self::Net { tls: true, .. })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net { tls, .. } => write!(f, "{}://{}", if *tls { "https" } else { "http" }, self.authority()),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_three_forms() {
        for (text, base, authority) in [
            ("http://127.0.0.1:8200", "http://127.0.0.1:8200", "127.0.0.1:8200"),
            ("https://vault.example/", "https://vault.example", "vault.example"),
            ("https://lb:8443/coffer/", "https://lb:8443/coffer", "lb:8443"),
            ("http://[::1]:8200", "http://[::1]:8200", "[::1]:8200"),
            ("unix:///run/coffer.sock", "http://localhost", "localhost"),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!((address.base().as_str(), address.authority().as_str()), (base, authority), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest_and_says_what_would_be_right() {
        for text in [
            "",
            "localhost:8200",
            "ftp://x",
            "http://",
            "http://:80",
            "http://h:0",
            "http://h:99999",
            "http://h:x",
            "http://u:p@h",
            "http://[::1",
            "http://::1",
            "unix://rel",
            "http://h?x=1",
        ] {
            let error = Address::parse(text).unwrap_err();
            assert!(error.contains("http://127.0.0.1:8200"), "{text}: {error}");
        }
    }
}
