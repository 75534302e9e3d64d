//! `sqlserver://user:password@host:port?database=name&encrypt=true`, or `server=host;port=1433;user id=…;password=…`, as Go's driver for SQL
//! Server reads them (<https://github.com/microsoft/go-mssqldb#connection-parameters-and-dsn>).

use super::{Address, Mode, Piece, decode, host_and_port};
use std::time::Duration;

const PORT: u16 = 1433;

/// # Errors
/// What of it is not understood, or not here.
pub(in super::super) fn sqlserver(text: &str) -> Result<Address, String> {
    match text.strip_prefix("sqlserver://").or_else(|| text.strip_prefix("mssql://")) {
        Some(rest) => of_url(rest),
        None => of_pairs(text.strip_prefix("odbc:").unwrap_or(text)),
    }
}

fn of_url(rest: &str) -> Result<Address, String> {
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (account, place) = before.rsplit_once('@').unwrap_or(("", before));
    let (place, instance) = place.split_once('/').unwrap_or((place, ""));
    if !instance.is_empty() {
        return Err("it names an instance, whose port is not asked for here: name the port".into());
    }
    let (user, password) = account.split_once(':').unwrap_or((account, ""));
    let mut address = Address {
        hosts: vec![host_and_port(place, PORT)?],
        user: Piece::new(user, true),
        password: Piece::new(password, true),
        ..Address::default()
    };
    let mut wishes = Wishes::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(&name.replace('+', " "))?;
        wishes.take(&mut address, &name, Piece::new(&value.replace('+', " "), true))?;
    }
    wishes.finish(address)
}

fn of_pairs(text: &str) -> Result<Address, String> {
    let mut address = Address::default();
    let mut wishes = Wishes::default();
    let (mut server, mut port) = (String::new(), None);
    for pair in pairs(text)? {
        let (name, value) = pair;
        match name.to_ascii_lowercase().as_str() {
            "server" | "data source" | "address" | "addr" | "network address" => server = value,
            "port" => port = Some(value.parse().map_err(|_| "port is no port number".to_owned())?),
            "user id" | "uid" | "user" => address.user = Piece::new(&value, false),
            "password" | "pwd" => address.password = Piece::new(&value, false),
            _ => wishes.take(&mut address, &name, Piece::new(&value, false))?,
        }
    }
    let server = server.strip_prefix("tcp:").unwrap_or(&server);
    let (host, named) = match server.split_once(',') {
        Some((host, named)) => (host, Some(named.trim().parse().map_err(|_| "the port is no port number".to_owned())?)),
        None => (server, None),
    };
    if host.contains('\\') {
        return Err("it names an instance, whose port is not asked for here: name the port".into());
    }
    let host = if matches!(host, "." | "(local)") { "localhost" } else { host };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("it names no server".into());
    }
    address.hosts = vec![(host.to_owned(), named.or(port).unwrap_or(PORT))];
    wishes.finish(address)
}

/// What is asked for besides who and where.
#[derive(Default)]
struct Wishes {
    encrypt: Option<String>,
    trusts: Option<bool>,
}

impl Wishes {
    fn take(&mut self, address: &mut Address, name: &str, value: Piece) -> Result<(), String> {
        let plain = || if value.encoded { decode(&value.text) } else { Ok(value.text.clone()) };
        match name.to_ascii_lowercase().as_str() {
            "database" | "initial catalog" => address.database = value,
            "encrypt" => self.encrypt = Some(plain()?.to_ascii_lowercase()),
            "trustservercertificate" | "trust server certificate" => {
                self.trusts = Some(match plain()?.to_ascii_lowercase().as_str() {
                    "true" | "yes" | "1" | "t" => true,
                    "false" | "no" | "0" | "f" => false,
                    _ => return Err("TrustServerCertificate must be true or false".into()),
                });
            }
            "certificate" => return Err("certificate names a file, which is not read: give tls_ca".into()),
            "hostnameincertificate" => address.parameters.push(("server name".into(), value)),
            "app name" | "application name" => address.parameters.push(("app name".into(), value)),
            "dial timeout" | "connection timeout" => {
                let seconds: u64 = plain()?.parse().map_err(|_| format!("{name} is no number of seconds"))?;
                address.connect_timeout = (seconds > 0).then(|| Duration::from_secs(seconds));
            }
            "fedauth" | "authenticator" | "trusted_connection" | "integrated security" => {
                return Err(format!("{name}: logins here are by name and password alone"));
            }
            // Logging, keep-alive, packets, failover: nothing that a statement now and then would need.
            _ => {}
        }
        Ok(())
    }

    fn finish(self, mut address: Address) -> Result<Address, String> {
        let verified = if self.trusts == Some(true) { Mode::Required } else { Mode::Verified };
        address.tls = match self.encrypt.as_deref() {
            Some("disable") => Mode::Off,
            // Better than what Go's driver does, which then encrypts the login alone.
            None | Some("" | "false" | "no" | "0" | "f" | "optional") => Mode::Offered,
            Some("true" | "yes" | "1" | "t" | "mandatory") => verified,
            Some("strict") => {
                address.parameters.push(("encrypt".into(), Piece::new("strict", false)));
                verified
            }
            _ => return Err("encrypt must be disable, false, true or strict".into()),
        };
        Ok(address)
    }
}

/// `name=value;name={va;lue}`: a brace or a quote around a value holds semicolons, twice it is one.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut out = Vec::new();
    let mut rest = text.trim_start_matches([';', ' ']);
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or("it is neither a URL nor name=value pairs")?;
        let after = after.trim_start();
        // `{{username}}` is no brace of this kind.
        let quote = match after.chars().next() {
            Some('{') if !after.starts_with("{{") => Some('}'),
            Some('"') => Some('"'),
            Some('\'') => Some('\''),
            _ => None,
        };
        let mut value = String::new();
        let mut end = after.len();
        match quote {
            Some(quote) => {
                let mut chars = after.char_indices().skip(1).peekable();
                let mut closed = false;
                while let Some((place, c)) = chars.next() {
                    if c == quote {
                        if chars.peek().is_some_and(|(_, next)| *next == quote) {
                            chars.next();
                        } else {
                            (closed, end) = (true, place + 1);
                            break;
                        }
                    }
                    value.push(c);
                }
                if !closed {
                    return Err("a quoted value does not end".into());
                }
            }
            None => {
                end = after.find(';').unwrap_or(after.len());
                after[..end].trim_end().clone_into(&mut value);
            }
        }
        out.push((name.trim().to_owned(), value));
        rest = after[end..].trim_start_matches([';', ' ']);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_types::Secret;

    fn filled(piece: &Piece) -> String {
        piece.fill("ad;min", &Secret::from("p;w%41'"), false).unwrap().expose().clone()
    }

    #[test]
    fn reads_addresses() {
        let a = sqlserver("sqlserver://{{username}}:{{password}}@db.example.com:1444?database=app&encrypt=true&app+name=a%20b")
            .unwrap();
        assert_eq!((a.hosts.as_slice(), a.tls), (&[("db.example.com".to_owned(), 1444)][..], Mode::Verified));
        assert_eq!(
            (filled(&a.user), filled(&a.password), filled(&a.database)),
            ("ad;min".into(), "p;w%41'".into(), "app".into())
        );
        assert_eq!((a.parameters[0].0.as_str(), filled(&a.parameters[0].1)), ("app name", "a b".into()));
        let a = sqlserver("server=tcp:h,7;user id={{username}};password={{password}};database={a;b}};c};Encrypt=yes;TrustServerCertificate=true").unwrap();
        assert_eq!((a.hosts.as_slice(), a.tls), (&[("h".to_owned(), 7)][..], Mode::Required));
        assert_eq!(
            (filled(&a.user), filled(&a.password), filled(&a.database)),
            ("ad;min".into(), "p;w%41'".into(), "a;b};c".into())
        );
        assert_eq!(sqlserver("sqlserver://h").unwrap().tls, Mode::Offered);
        assert_eq!(sqlserver("sqlserver://h?encrypt=disable").unwrap().tls, Mode::Off);
        assert_eq!(sqlserver("sqlserver://h?encrypt=strict").unwrap().parameters[0].0, "encrypt");
        assert_eq!(sqlserver("odbc:server=(local);port=9").unwrap().hosts, [("localhost".to_owned(), 9)]);
    }

    #[test]
    fn refuses() {
        for text in [
            "",
            "garbage",
            "sqlserver://",
            "sqlserver://h:port",
            "sqlserver://h/SQLEXPRESS",
            "server=h\\SQLEXPRESS",
            "server=h,x",
            "server=h;port=x",
            "server=;database=a",
            "server=h;password={open",
            "sqlserver://h?encrypt=maybe",
            "sqlserver://h?TrustServerCertificate=maybe",
            "sqlserver://h?certificate=/etc/x",
            "sqlserver://h?fedauth=ActiveDirectoryMSI",
            "sqlserver://h?dial+timeout=soon",
            "sqlserver://h?encrypt=%zz",
        ] {
            assert!(sqlserver(text).is_err(), "{text}");
        }
        assert!(!sqlserver("sqlserver://u:canary@h:x").unwrap_err().contains("canary"));
    }
}
