//! `mongodb://user:password@host:port,host:port/database?tls=true`
//! (<https://www.mongodb.com/docs/manual/reference/connection-string/>).

use super::{Address, Mode, Piece, decode, host_and_port};
use std::time::Duration;

/// # Errors
/// What of it is not understood, or not here.
pub(in super::super) fn mongodb(text: &str) -> Result<Address, String> {
    if text.starts_with("mongodb+srv://") {
        return Err("mongodb+srv asks DNS for the hosts, which is not done here: name them in a mongodb:// address".into());
    }
    let rest = text.strip_prefix("mongodb://").ok_or("it does not begin with mongodb://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let (account, places) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = account.split_once(':').unwrap_or((account, ""));
    let (database, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut address = Address {
        hosts: places.split(',').map(|place| host_and_port(place, 27_017)).collect::<Result<_, _>>()?,
        user: Piece::new(user, true),
        password: Piece::new(password, true),
        database: Piece::new(database.trim_start_matches('/'), true),
        tls: Mode::Off,
        ..Address::default()
    };
    let mut anyone = false;
    for pair in query.split(['&', ';']).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or("an option has no value")?;
        let plain = decode(value)?;
        let on = || match plain.as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(format!("{name} must be true or false")),
        };
        match name.to_ascii_lowercase().as_str() {
            "tls" | "ssl" => address.tls = if on()? { Mode::Verified } else { Mode::Off },
            "tlsinsecure" | "tlsallowinvalidcertificates" | "tlsallowinvalidhostnames" | "sslinsecure" => anyone |= on()?,
            "tlscafile" | "tlscertificatekeyfile" | "sslcertificateauthorityfile" | "sslclientcertificatekeyfile" => {
                return Err(format!("{name} names a file, which is not read: give tls_ca and tls_certificate_key"));
            }
            "authsource" => address.parameters.push(("authSource".into(), Piece::new(value, true))),
            "authmechanism" => match plain.as_str() {
                "SCRAM-SHA-1" | "SCRAM-SHA-256" => address.parameters.push(("authMechanism".into(), Piece::new(value, true))),
                _ => return Err("authMechanism must be SCRAM-SHA-256 or SCRAM-SHA-1: no other is here".into()),
            },
            "connecttimeoutms" => {
                let millis = plain.parse().map_err(|_| "connectTimeoutMS is no number".to_owned())?;
                address.connect_timeout = (millis > 0).then(|| Duration::from_millis(millis));
            }
            // What a driver does with many connections and retries means nothing to one that says a command now and then.
            _ => {}
        }
    }
    if anyone && address.tls == Mode::Verified {
        address.tls = Mode::Required;
    }
    if !address.parameters.iter().any(|(name, _)| name == "authSource") && !address.database.is_empty() {
        address.parameters.push(("authSource".into(), address.database.clone()));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_types::Secret;

    #[test]
    fn reads_addresses() {
        let a = mongodb("mongodb://{{username}}:{{password}}@a:1,[::1]/app?tls=true&replicaSet=rs0").unwrap();
        assert_eq!(a.hosts, [("a".to_owned(), 1), ("::1".to_owned(), 27_017)]);
        assert_eq!((a.tls, a.parameters.len()), (Mode::Verified, 1));
        let password = Secret::from("p@:/%41");
        assert_eq!(a.password.fill("u", &password, false).unwrap().expose(), "p@:/%41");
        assert_eq!(a.parameters[0].1.fill("u", &password, false).unwrap().expose(), "app");
        let a = mongodb("mongodb://u:p%40@h/app?authSource=admin&ssl=true&tlsInsecure=true&connectTimeoutMS=1500").unwrap();
        assert_eq!((a.tls, a.parameters.len(), a.connect_timeout), (Mode::Required, 1, Some(Duration::from_millis(1500))));
        assert!(a.password.is_written_out());
        assert_eq!(mongodb("mongodb://h").unwrap().tls, Mode::Off);
    }

    #[test]
    fn refuses() {
        for text in [
            "",
            "h:27017",
            "mongodb://",
            "mongodb+srv://cluster.example.com/",
            "mongodb://h:port/",
            "mongodb://a,,b/",
            "mongodb://h/?tls=maybe",
            "mongodb://h/?tls",
            "mongodb://h/?tlsCAFile=/etc/ca.pem",
            "mongodb://h/?authMechanism=MONGODB-X509",
            "mongodb://h/?connectTimeoutMS=soon",
            "mongodb://h/?tls=%zz",
        ] {
            assert!(mongodb(text).is_err(), "{text}");
        }
        assert!(!mongodb("mongodb://u:canary@h:x/").unwrap_err().contains("canary"));
    }
}
