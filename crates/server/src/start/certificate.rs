//! `-dev-tls`: an authority and a certificate of its own, made anew for each start.

use super::StartError;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The files of a certificate made for this start.
#[derive(Debug)]
pub(super) struct DevCertificate {
    pub(super) authority: PathBuf,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    /// A directory that goes with the server.
    temporary: Option<PathBuf>,
}

impl DevCertificate {
    /// Writes `vault-ca.pem`, `vault-cert.pem` and `vault-key.pem` into `directory`, or into a new temporary one. The certificate
    /// holds for localhost, the loopback addresses, `host` and `names`.
    pub(super) fn make(directory: Option<&Path>, host: &str, names: &[String], unique: &str) -> Result<Self, StartError> {
        let mut sans = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        sans.extend([host.to_owned()].into_iter().chain(names.iter().cloned()).filter(|name| !name.is_empty()));
        sans.dedup();
        let made =
            certificates(sans).map_err(|error| StartError::Usage(format!("-dev-tls: no certificate could be made: {error}")))?;
        let (directory, temporary) = match directory {
            Some(directory) => (directory.to_owned(), None),
            None => {
                let directory = std::env::temp_dir().join(format!("coffer-tls-{unique}"));
                (directory.clone(), Some(directory))
            }
        };
        let failed = |cause| StartError::Io { what: format!("-dev-tls: {}", directory.display()), cause };
        // A directory of our own must be new: in a shared place somebody else could have put one there.
        DirBuilder::new().recursive(temporary.is_none()).mode(0o700).create(&directory).map_err(failed)?;
        let write = |name: &str, text: &str| -> Result<PathBuf, StartError> {
            let path = directory.join(name);
            replace(&path, text).map_err(failed)?;
            Ok(path)
        };
        Ok(Self {
            authority: write("vault-ca.pem", &made.authority)?,
            certificate: write("vault-cert.pem", &made.certificate)?,
            key: write("vault-key.pem", &made.key)?,
            temporary,
        })
    }
}

impl Drop for DevCertificate {
    fn drop(&mut self) {
        if let Some(directory) = &self.temporary {
            // What stays behind holds the key of a certificate that nobody trusts any more.
            std::fs::remove_dir_all(directory).unwrap_or_default();
        }
    }
}

struct Made {
    authority: String,
    certificate: String,
    key: String,
}

fn certificates(names: Vec<String>) -> Result<Made, rcgen::Error> {
    let authority_key = KeyPair::generate()?;
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority.distinguished_name.push(DnType::CommonName, "Coffer dev authority");
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);

    let key = KeyPair::generate()?;
    let mut leaf = CertificateParams::new(names)?;
    leaf.distinguished_name.push(DnType::CommonName, "localhost");
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = leaf.signed_by(&key, &issuer)?.pem();
    Ok(Made { authority: authority_pem, certificate, key: key.serialize_pem() })
}

/// Writes a file of an earlier start anew, without following a link in its place.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn three_private_files_are_made_and_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("tls");
        let names = ["vault.local".to_owned()];
        let first = DevCertificate::make(Some(&directory), "127.0.0.1", &names, "x").unwrap();
        let key = std::fs::read_to_string(&first.key).unwrap();
        assert!(key.contains("PRIVATE KEY"));
        for file in [&first.authority, &first.certificate, &first.key] {
            assert_eq!(std::fs::metadata(file).unwrap().mode() & 0o077, 0, "{}", file.display());
        }
        let second = DevCertificate::make(Some(&directory), "127.0.0.1", &[], "x").unwrap();
        assert_ne!(std::fs::read_to_string(&second.key).unwrap(), key);
        drop(second);
        assert!(first.key.exists(), "a directory that was named stays");
    }

    #[test]
    fn a_temporary_directory_is_new_and_goes_with_the_server() {
        let unique = format!("test-{}", std::process::id());
        let made = DevCertificate::make(None, "127.0.0.1", &[], &unique).unwrap();
        let directory = made.key.parent().unwrap().to_owned();
        assert_eq!(std::fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);
        assert!(DevCertificate::make(None, "127.0.0.1", &[], &unique).is_err(), "taken already");
        drop(made);
        assert!(!directory.exists());
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = DevCertificate::make(Some(dir.path()), "", &["ümlaut".to_owned()], "x").unwrap_err();
        assert!(error.to_string().contains("-dev-tls"), "{error}");
    }
}
