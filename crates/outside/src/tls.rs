//! TLS towards what lies outside.

use coffer_engine::outside::{Fault, FaultKind, Roots, TlsClient};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::sync::Arc;

/// The configuration of one connection.
///
/// # Errors
/// [`FaultKind::Settings`] where a certificate or key does not parse.
pub fn config(tls: &TlsClient) -> Result<ClientConfig, Fault> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone());
    let versions = match (tls.only_tls12, tls.only_tls13) {
        (false, false) => rustls::DEFAULT_VERSIONS,
        (false, true) => &[&rustls::version::TLS13][..],
        (true, false) => &[&rustls::version::TLS12][..],
        (true, true) => return Err(settings("no version of TLS is left")),
    };
    let builder = builder.with_protocol_versions(versions).map_err(|e| settings(format!("TLS: {e}")))?;
    let builder = if tls.skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider)))
    } else {
        builder.with_root_certificates(roots(&tls.roots)?)
    };
    let Some((chain, key)) = &tls.identity else { return Ok(builder.with_no_client_auth()) };
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| settings("the client certificate is no PEM"))?;
    let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).map_err(|_| settings("the client's key is no PEM"))?;
    builder.with_client_auth_cert(chain, key).map_err(|e| settings(format!("the client certificate can't be used: {e}")))
}

fn roots(roots: &Roots) -> Result<RootCertStore, Fault> {
    let mut store = RootCertStore::empty();
    match roots {
        Roots::System => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if store.is_empty() {
                return Err(settings("the system has no certificate authorities; name them in the configuration"));
            }
        }
        Roots::Pem(pem) => {
            for cert in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let cert = cert.map_err(|_| settings("the certificate authority is no PEM"))?;
                store.add(cert).map_err(|e| settings(format!("the certificate authority can't be used: {e}")))?;
            }
            if store.is_empty() {
                return Err(settings("no certificate stands in the certificate authority's PEM"));
            }
        }
    }
    Ok(store)
}

fn settings(text: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
    Fault::new(FaultKind::Settings, text)
}

/// Any certificate will do, as an administrator wrote. Signatures are checked all the same.
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
