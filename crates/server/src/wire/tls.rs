//! TLS by rustls: 1.2 and 1.3, certificates read again on SIGHUP without touching connections.

use crate::config::{ClientCertificates, TlsFiles, TlsVersion};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme, SupportedProtocolVersion};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Why a listener can't speak TLS. Files are named, their contents are not shown.
#[derive(Debug)]
pub enum TlsError {
    Unreadable {
        file: PathBuf,
        why: std::io::Error,
    },
    /// No certificate or key is in the file, in PEM.
    Empty {
        file: PathBuf,
        wanted: &'static str,
    },
    /// The certificate and key don't fit together, or are of no use.
    Unusable {
        file: PathBuf,
        why: rustls::Error,
    },
    Authorities {
        why: String,
    },
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, why } => write!(f, "{}: {why}", file.display()),
            Self::Empty { file, wanted } => write!(f, "{}: holds no {wanted} in PEM", file.display()),
            Self::Unusable { file, why } => write!(f, "{}: {why}", file.display()),
            Self::Authorities { why } => write!(f, "the authorities of client certificates: {why}"),
        }
    }
}

impl std::error::Error for TlsError {}

/// Reads the files and makes what new connections shake hands with.
pub(super) fn server_config(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain = certificates(&files.certificates)?;
    let key = private_key(&files.key)?;
    // The key by itself first, so that the error names the right file.
    let usable = provider.key_provider.load_private_key(key.clone_key());
    usable.map_err(|why| TlsError::Unusable { file: files.key.clone(), why })?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions(files.min, files.max))
        .map_err(|why| TlsError::Unusable { file: files.certificates.clone(), why })?;
    let builder = match &files.clients {
        ClientCertificates::Refused => builder.with_no_client_auth(),
        ClientCertificates::Asked => builder.with_client_cert_verifier(Arc::new(AnyClient::new(&provider))),
        ClientCertificates::Required { authorities } => {
            let roots = Arc::new(roots(authorities.as_deref())?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                .build()
                .map_err(|why| TlsError::Authorities { why: why.to_string() })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config =
        builder.with_single_cert(chain, key).map_err(|why| TlsError::Unusable { file: files.certificates.clone(), why })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn versions(min: TlsVersion, max: TlsVersion) -> Vec<&'static SupportedProtocolVersion> {
    [(TlsVersion::V13, &rustls::version::TLS13), (TlsVersion::V12, &rustls::version::TLS12)]
        .into_iter()
        .filter(|(version, _)| (min..=max).contains(version))
        .map(|(_, version)| version)
        .collect()
}

fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    std::fs::read(file).map(Zeroizing::new).map_err(|why| TlsError::Unreadable { file: file.to_owned(), why })
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(file)?).collect();
    match found {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(TlsError::Empty { file: file.to_owned(), wanted: "certificate" }),
    }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(file)?)
        .map_err(|_| TlsError::Empty { file: file.to_owned(), wanted: "unencrypted private key" })
}

fn roots(authorities: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(file) => {
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|why| TlsError::Unusable { file: file.to_owned(), why })?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(TlsError::Authorities { why: "the system trusts none; set tls_client_ca_file".to_owned() });
    }
    Ok(roots)
}

/// Asks for a certificate and takes any whose key the client holds, or none: whom it stands for is a question for
/// the auth method that reads it.
#[derive(Debug)]
struct AnyClient(WebPkiSupportedAlgorithms);

impl AnyClient {
    fn new(provider: &CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_a_range() {
        use TlsVersion::{V12, V13};
        let numbers = |min, max| versions(min, max).iter().map(|v| v.version).collect::<Vec<_>>();
        assert_eq!(numbers(V12, V13), [rustls::ProtocolVersion::TLSv1_3, rustls::ProtocolVersion::TLSv1_2]);
        assert_eq!(numbers(V13, V13), [rustls::ProtocolVersion::TLSv1_3]);
        assert_eq!(numbers(V12, V12), [rustls::ProtocolVersion::TLSv1_2]);
    }

    fn files(folder: &Path, certificate: &str, key: &str) -> TlsFiles {
        std::fs::write(folder.join("c.pem"), certificate).unwrap();
        std::fs::write(folder.join("k.pem"), key).unwrap();
        TlsFiles {
            certificates: folder.join("c.pem"),
            key: folder.join("k.pem"),
            min: TlsVersion::V12,
            max: TlsVersion::V13,
            clients: ClientCertificates::Refused,
        }
    }

    #[test]
    fn bad_files_are_named_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let one = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key, stranger) = (one.cert.pem(), one.signing_key.serialize_pem(), other.signing_key.serialize_pem());
        assert!(server_config(&files(folder.path(), &certificate, &key)).is_ok());
        for (certificate, key, file) in [
            ("", &*key, "c.pem"),
            ("canary", &key, "c.pem"),
            (&certificate, "canary", "k.pem"),
            (&certificate, "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n", "k.pem"),
            (&certificate, &certificate, "k.pem"),
            (&certificate, &stranger, "c.pem"),
        ] {
            let message = server_config(&files(folder.path(), certificate, key)).unwrap_err().to_string();
            assert!(message.contains(file) && !message.contains("canary") && !message.contains("PRIVATE"), "{message}");
        }
        let missing = TlsFiles { key: folder.path().join("none"), ..files(folder.path(), &certificate, &key) };
        assert!(matches!(server_config(&missing), Err(TlsError::Unreadable { .. })));
        let authorities = Some(folder.path().join("k.pem"));
        let required =
            TlsFiles { clients: ClientCertificates::Required { authorities }, ..files(folder.path(), &certificate, &key) };
        assert!(matches!(server_config(&required), Err(TlsError::Empty { .. })));
    }
}
