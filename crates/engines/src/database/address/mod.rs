//! Where a database is, out of the `connection_url` that an administrator wrote.
//!
//! The address is taken apart first and filled in afterwards, piece by piece: no password can make it another address.

mod mongodb;
mod sqlserver;

pub(super) use mongodb::mongodb;
pub(super) use sqlserver::sqlserver;

use coffer_types::Secret;
use std::time::Duration;

/// An address, not yet filled in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Address {
    pub hosts: Vec<(String, u16)>,
    pub database: Piece,
    pub user: Piece,
    pub password: Piece,
    pub tls: Mode,
    pub parameters: Vec<(String, Piece)>,
    pub connect_timeout: Option<Duration>,
}

/// A part as it was written; `encoded` where `%41` stands for a letter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Piece {
    text: String,
    encoded: bool,
}

/// How TLS is asked for, in libpq's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    Off,
    /// If the server offers it, unverified.
    #[default]
    Offered,
    /// Always, unverified unless an authority is named.
    Required,
    Verified,
}

impl Piece {
    fn new(text: &str, encoded: bool) -> Self {
        Self { text: text.to_owned(), encoded }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether a secret stands in it as it is.
    pub(super) fn is_written_out(&self) -> bool {
        !self.text.is_empty() && self.text != "{{password}}"
    }

    /// The piece with the account in it. `escaped` says that user and password are written as addresses want them.
    pub(super) fn fill(&self, user: &str, password: &Secret<String>, escaped: bool) -> Result<Secret<String>, String> {
        let put = |text: String| {
            // One pass: what was put in is not looked at again.
            let mut out = String::new();
            let mut rest = text.as_str();
            while let Some(place) = rest.find("{{") {
                out.push_str(&rest[..place]);
                rest = &rest[place..];
                if let Some(after) = rest.strip_prefix("{{username}}") {
                    out.push_str(user);
                    rest = after;
                } else if let Some(after) = rest.strip_prefix("{{password}}") {
                    out.push_str(password.expose());
                    rest = after;
                } else {
                    out.push_str("{{");
                    rest = &rest[2..];
                }
            }
            out.push_str(rest);
            out
        };
        let text = match (self.encoded, escaped) {
            (true, true) => decode(&put(self.text.clone()))?,
            (true, false) => put(decode(&self.text)?),
            (false, _) => put(self.text.clone()),
        };
        Ok(Secret::new(text))
    }
}

/// `postgresql://user:password@host:port,host:port/database?sslmode=require`, or `host=… port=… user=…`.
pub(super) fn postgres(text: &str) -> Result<Address, String> {
    let mut address = Address::default();
    let rest = text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://"));
    let mut hosts = Vec::new();
    let settings = match rest {
        Some(rest) => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, rest) = rest.split_at(end);
            let (account, places) = authority.rsplit_once('@').unwrap_or(("", authority));
            let (user, password) = account.split_once(':').unwrap_or((account, ""));
            address.user = Piece::new(user, true);
            address.password = Piece::new(password, true);
            for place in places.split(',').filter(|p| !p.is_empty()) {
                hosts.push(host_and_port(place, 5432)?);
            }
            let (database, query) = rest.split_once('?').unwrap_or((rest, ""));
            address.database = Piece::new(database.trim_start_matches('/'), true);
            query
                .split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    Ok((decode(name)?, Piece::new(value, true)))
                })
                .collect::<Result<Vec<_>, String>>()?
        }
        None => words(text)?.into_iter().map(|(name, value)| (name, Piece::new(&value, false))).collect(),
    };
    let (mut named, mut port) = (None, None);
    for (name, value) in settings {
        let plain = || if value.encoded { decode(&value.text) } else { Ok(value.text.clone()) };
        match name.as_str() {
            "host" | "hostaddr" => named = Some(plain()?),
            "port" => port = Some(plain()?.parse().map_err(|_| "port is no port number".to_owned())?),
            "user" => address.user = value,
            "password" => address.password = value,
            "dbname" | "database" => address.database = value,
            "sslmode" => {
                address.tls = match plain()?.as_str() {
                    "disable" => Mode::Off,
                    "allow" | "prefer" => Mode::Offered,
                    "require" => Mode::Required,
                    "verify-ca" | "verify-full" => Mode::Verified,
                    _ => return Err("sslmode must be disable, allow, prefer, require, verify-ca or verify-full".into()),
                }
            }
            "connect_timeout" => {
                let seconds: u64 = plain()?.parse().map_err(|_| "connect_timeout is no number of seconds".to_owned())?;
                address.connect_timeout = (seconds > 0).then(|| Duration::from_secs(seconds));
            }
            "sslrootcert" | "sslcert" | "sslkey" | "sslcrl" | "passfile" | "service" | "servicefile" => {
                return Err(format!("{name} names a file, which is not read: give tls_ca, tls_certificate and private_key"));
            }
            "target_session_attrs" | "gssencmode" | "channel_binding" | "sslsni" | "keepalives" => {}
            _ if name.starts_with("pool_") => {}
            _ => address.parameters.push((name, value)),
        }
    }
    if let Some(named) = named {
        hosts = named.split(',').map(|host| (host.to_owned(), port.unwrap_or(5432))).collect();
    }
    if hosts.iter().any(|(host, _)| host.is_empty() || host.starts_with('/')) || hosts.is_empty() {
        return Err("it names no host (a path to a socket is not taken)".into());
    }
    address.hosts = hosts;
    Ok(address)
}

/// `user:password@tcp(host:port)/database?tls=true`, as Go's MySQL driver writes it.
pub(super) fn mysql(text: &str) -> Result<Address, String> {
    let (left, right) = text.rsplit_once('/').ok_or("the slash before the database's name is missing")?;
    let (account, place) = left.rsplit_once('@').unwrap_or(("", left));
    let (user, password) = account.split_once(':').unwrap_or((account, ""));
    let host = match place.split_once('(') {
        None if place.is_empty() || place == "tcp" => "127.0.0.1:3306",
        Some(("tcp" | "tcp4" | "tcp6", rest)) => rest.strip_suffix(')').ok_or("the address is not closed by a parenthesis")?,
        _ => return Err("only tcp(host:port) is taken".into()),
    };
    let (database, query) = right.split_once('?').unwrap_or((right, ""));
    let mut address = Address {
        hosts: vec![host_and_port(host, 3306)?],
        database: Piece::new(database, true),
        user: Piece::new(user, false),
        password: Piece::new(password, false),
        tls: Mode::Off,
        ..Address::default()
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if name == "tls" {
            address.tls = match value {
                "false" | "" => Mode::Off,
                "preferred" => Mode::Offered,
                "skip-verify" => Mode::Required,
                _ => Mode::Verified,
            };
        }
    }
    Ok(address)
}

/// The address as it may be read: a password that stands in it is crossed out.
pub(super) fn redacted(text: &str, password: &Piece) -> String {
    if password.is_written_out() {
        let crossed = text.replacen(&format!(":{}@", password.text), ":xxxxx@", 1);
        if crossed != text {
            return crossed;
        }
        return text.replace(&password.text, "xxxxx");
    }
    text.to_owned()
}

pub(super) fn host_and_port(place: &str, usual: u16) -> Result<(String, u16), String> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("an IPv6 address is not closed by a bracket")?;
            (host, port.strip_prefix(':'))
        }
        None => place.rsplit_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        None | Some("") => usual,
        Some(port) => port.parse().map_err(|_| "the port is no port number".to_owned())?,
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("the host is missing".into());
    }
    Ok((host.to_owned(), port))
}

/// libpq's `name=value name='va lue'`.
fn words(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or("it is neither a URL nor name=value pairs")?;
        let after = after.trim_start();
        let quoted = after.starts_with('\'');
        let mut value = String::new();
        let mut chars = after.char_indices().skip(usize::from(quoted));
        let mut end = after.len();
        while let Some((place, c)) = chars.next() {
            match c {
                '\\' => value.extend(chars.next().map(|(_, c)| c)),
                '\'' if quoted => {
                    end = place + 1;
                    break;
                }
                c if !quoted && c.is_whitespace() => {
                    end = place;
                    break;
                }
                c => value.push(c),
            }
        }
        out.push((name.trim().to_owned(), value));
        rest = after[end..].trim_start();
    }
    Ok(out)
}

fn decode(text: &str) -> Result<String, String> {
    let wrong = || "a % in the address is followed by no two hexadecimal digits".to_owned();
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16)).ok_or_else(wrong);
            let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
            out.push(u8::try_from(high * 16 + low).map_err(|_| wrong())?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).map_err(|_| "the address is no UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(piece: &Piece, escaped: bool) -> String {
        piece.fill("ad:min", &Secret::from("p@ss/{{username}}%41"), escaped).unwrap().expose().clone()
    }

    #[test]
    fn addresses_of_postgres() {
        let a = postgres(
            "postgresql://{{username}}:{{password}}@db.example.com:5433/production?sslmode=require&application_name=x%20y",
        )
        .unwrap();
        assert_eq!((a.hosts.as_slice(), a.tls), (&[("db.example.com".to_owned(), 5433)][..], Mode::Required));
        assert_eq!(filled(&a.user, false), "ad:min");
        assert_eq!(filled(&a.password, false), "p@ss/{{username}}%41", "neither decoded nor read again");
        assert_eq!(filled(&a.password, true), "p@ss/{{username}}A");
        assert_eq!((filled(&a.database, false), filled(&a.parameters[0].1, false)), ("production".into(), "x y".into()));
        assert!(!a.password.is_written_out());
        let a = postgres("postgres://u:p%40x@[::1]:1,b/db").unwrap();
        assert_eq!(a.hosts, [("::1".to_owned(), 1), ("b".to_owned(), 5432)]);
        assert_eq!((filled(&a.password, false).as_str(), a.tls, a.password.is_written_out()), ("p@x", Mode::Offered, true));
        let a = postgres("host=h port=7 user={{username}} password='a\\'b c' dbname=d sslmode=verify-full").unwrap();
        assert_eq!((a.hosts.as_slice(), a.tls), (&[("h".to_owned(), 7)][..], Mode::Verified));
        assert_eq!((filled(&a.password, false).as_str(), filled(&a.user, true).as_str()), ("a'b c", "ad:min"));
    }

    #[test]
    fn addresses_of_mysql() {
        let a = mysql("{{username}}:{{password}}@tcp(127.0.0.1:3307)/app?tls=skip-verify&timeout=5s").unwrap();
        assert_eq!((a.hosts.as_slice(), a.tls), (&[("127.0.0.1".to_owned(), 3307)][..], Mode::Required));
        assert_eq!(filled(&a.password, false), "p@ss/{{username}}%41");
        let a = mysql("u:p@/").unwrap();
        assert_eq!((a.hosts.as_slice(), a.tls), (&[("127.0.0.1".to_owned(), 3306)][..], Mode::Off));
        assert!(mysql("root@tcp([::1]:1)/").is_ok());
    }

    #[test]
    fn refuses() {
        for text in [
            "garbage",
            "",
            "postgresql://",
            "postgresql:///db",
            "postgresql://h:port/d",
            "postgresql://h/d?sslmode=maybe",
            "postgresql://h/d?sslrootcert=/etc/x",
            "postgresql://h/d?port=%zz",
            "host=/run/postgresql",
            "user=u",
            "postgresql://[::1/db",
            "postgresql://h:70000/",
        ] {
            assert!(postgres(text).is_err(), "{text}");
        }
        for text in ["", "u:p@unix(/run/s)/", "u:p@tcp(h:1/", "u:p@tcp(h:x)/", "nothing", "u@tcp()/"] {
            assert!(mysql(text).is_err(), "{text}");
        }
        let errors = postgres("postgresql://u:canary@h:x/").unwrap_err();
        assert!(!errors.contains("canary"));
    }

    #[test]
    fn a_password_in_the_address_is_crossed_out() {
        let shown = |text: &str, parse: fn(&str) -> Result<Address, String>| redacted(text, &parse(text).unwrap().password);
        assert_eq!(shown("postgresql://u:p@127.0.0.1:1/db", postgres), "postgresql://u:xxxxx@127.0.0.1:1/db");
        assert_eq!(shown("postgresql://{{username}}:{{password}}@h/db", postgres), "postgresql://{{username}}:{{password}}@h/db");
        assert_eq!(shown("u:p%4:x@tcp(h:1)/p", mysql), "u:xxxxx@tcp(h:1)/p");
        assert_eq!(shown("host=h password=canary user=x", postgres), "host=h password=xxxxx user=x");
    }
}
