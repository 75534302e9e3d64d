//! A certificate authority and a certificate of its own for `server -dev-tls`: good for one machine and one trial.

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The files that were written, PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DevTls {
    /// What clients are to trust (`VAULT_CACERT`). Its key was forgotten.
    pub authority: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Makes new ones in `folder`, under the names that Vault gives them, for loopback and for `names` (names or addresses).
pub fn make(folder: &Path, names: &[String]) -> io::Result<DevTls> {
    let broken = |error: rcgen::Error| io::Error::other(error);
    let authority_key = KeyPair::generate().map_err(broken)?;
    let mut params = CertificateParams::new(Vec::new()).map_err(broken)?;
    params.distinguished_name.push(DnType::CommonName, "Coffer development authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = params.self_signed(&authority_key).map_err(broken)?;
    let issuer = Issuer::new(params, authority_key);

    let key = KeyPair::generate().map_err(broken)?;
    let mut all = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    all.extend(names.iter().filter(|name| !name.is_empty()).cloned());
    let mut params = CertificateParams::new(all).map_err(broken)?;
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.signed_by(&key, &issuer).map_err(broken)?;

    let files = DevTls {
        authority: folder.join("vault-ca.pem"),
        certificate: folder.join("vault-cert.pem"),
        key: folder.join("vault-key.pem"),
    };
    write(&files.authority, authority.pem().as_bytes())?;
    write(&files.certificate, certificate.pem().as_bytes())?;
    write(&files.key, Zeroizing::new(key.serialize_pem()).as_bytes())?;
    Ok(files)
}

/// For the owner alone, in the place of what an earlier trial left there.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn files_are_for_the_owner_and_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let first = make(folder.path(), &[]).unwrap();
        let key = std::fs::read(&first.key).unwrap();
        assert!(key.starts_with(b"-----BEGIN PRIVATE KEY-----"));
        for file in [&first.authority, &first.certificate, &first.key] {
            assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(make(folder.path(), &["vault.test".to_owned()]).unwrap(), first);
        assert_ne!(std::fs::read(&first.key).unwrap(), key);
        assert!(make(&folder.path().join("none"), &[]).is_err());
        assert!(make(folder.path(), &["b\u{e4}d".to_owned()]).is_err());
    }
}
