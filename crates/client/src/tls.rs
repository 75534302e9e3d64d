//! TLS to a server: which authorities to trust, which certificate to show.

use crate::{Error, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::Arc;

/// As given by flags and environment; read from disk at the first HTTPS request.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// PEM file of authorities; wins over `ca_dir`.
    pub ca_file: Option<String>,
    /// PEM text of authorities; wins over both.
    pub ca_pem: Option<String>,
    /// Directory of PEM files of authorities.
    pub ca_dir: Option<String>,
    pub client_cert: Option<String>,
    pub client_key: Option<String>,
    /// The name to ask for and to verify, where it is not the address's host.
    pub server_name: Option<String>,
    pub skip_verify: bool,
}

impl Tls {
    /// What can be said without reading a file, so that a wrong combination fails whatever the address is.
    pub(crate) fn check(&self) -> Result<()> {
        if self.client_cert.is_some() != self.client_key.is_some() {
            return Err(Error::setup("failed to setup TLS config: both client cert and client key must be provided"));
        }
        if let Some(file) = &self.ca_file {
            std::fs::metadata(file).map_err(|e| ca_error(file, &e))?;
        }
        Ok(())
    }

    /// The system's authorities are loaded only where no others were named: reading them costs more than a request.
    pub(crate) fn build(&self) -> Result<ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::setup(format!("failed to setup TLS config: {e}")))?;
        let builder = if self.skip_verify {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        let mut config = match (&self.client_cert, &self.client_key) {
            (Some(cert), Some(key)) => {
                let chain = pem_file(cert)?;
                let key = PrivateKeyDer::from_pem_file(key)
                    .map_err(|e| Error::setup(format!("failed to setup TLS config: client key {key}: {e}")))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|e| Error::setup(format!("failed to setup TLS config: client certificate {cert}: {e}")))?
            }
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        if let Some(pem) = &self.ca_pem {
            let certs: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
                .collect::<Result<_, _>>()
                .map_err(|e| Error::setup(format!("failed to setup TLS config: CACERT_BYTES: {e}")))?;
            add(&mut roots, certs, "CACERT_BYTES")?;
        } else if let Some(file) = &self.ca_file {
            add(&mut roots, pem_file(file)?, file)?;
        } else if let Some(dir) = &self.ca_dir {
            let entries = std::fs::read_dir(dir).map_err(|e| ca_error(dir, &e))?;
            for entry in entries {
                let path = entry.map_err(|e| ca_error(dir, &e))?.path();
                if path.is_file() {
                    let name = path.display().to_string();
                    add(&mut roots, pem_file(&name)?, &name)?;
                }
            }
        } else {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
        if roots.is_empty() {
            return Err(Error::setup(
                "failed to setup TLS config: no certificate authority found; name one with -ca-cert or the CACERT variable",
            ));
        }
        Ok(roots)
    }
}

fn add(roots: &mut RootCertStore, certs: Vec<CertificateDer<'static>>, from: &str) -> Result<()> {
    if certs.is_empty() {
        return Err(Error::setup(format!("failed to setup TLS config: Error loading CA File: {from}: no certificates found")));
    }
    for cert in certs {
        roots.add(cert).map_err(|e| Error::setup(format!("failed to setup TLS config: {from}: {e}")))?;
    }
    Ok(())
}

fn pem_file(path: &str) -> Result<Vec<CertificateDer<'static>>> {
    let text = std::fs::read(Path::new(path)).map_err(|e| ca_error(path, &e))?;
    CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|e| Error::setup(format!("failed to setup TLS config: {path}: {e}")))
}

fn ca_error(path: &str, error: &std::io::Error) -> Error {
    Error::setup(format!("failed to setup TLS config: Error loading CA File: open {path}: {}", crate::error::go_words(error)))
}

/// `-tls-skip-verify`: any certificate will do. Signatures are checked all the same.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
