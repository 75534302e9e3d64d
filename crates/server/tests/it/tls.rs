//! TLS: versions, client certificates, reload, HTTP/2 by ALPN.

use crate::http2;
use crate::standin::{Server, read_reply, read_to_close, start};
use coffer_server::config::{Listener, TlsVersion};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A certificate authority and its files.
struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        Self { certificate: certificate.der().clone(), issuer: Issuer::new(params, key), folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `NAME.pem` and `NAME.key`.
    fn issue(&self, name: &str, client: bool) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let usage = if client { ExtendedKeyUsagePurpose::ClientAuth } else { ExtendedKeyUsagePurpose::ServerAuth };
        params.extended_key_usages = vec![usage];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn listen(&self, name: &str) -> impl FnOnce(&mut Listener) + use<> {
        let (certificate, key) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        move |listener| {
            listener.keys.tls_disable = false;
            listener.keys.tls_cert_file = Some(certificate);
            listener.keys.tls_key_file = Some(key);
        }
    }

    fn client(&self, certificate: Option<(&Path, &Path)>, alpn: &[&str]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap()).unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }
}

async fn connect(server: &Server, connector: &TlsConnector) -> std::io::Result<TlsStream<TcpStream>> {
    connector.connect(ServerName::try_from("localhost").unwrap(), server.connect().await).await
}

/// The status of one request, or `None` where the server would not talk: TLS 1.3 tells only after the handshake.
async fn get(stream: std::io::Result<TlsStream<TcpStream>>) -> Option<serde_json::Value> {
    let mut stream = stream.ok()?;
    stream.write_all(b"GET /v1/a HTTP/1.1\r\nHost: h\r\n\r\n").await.ok()?;
    read_reply(&mut stream).await.map(|reply| reply.json())
}

#[tokio::test]
async fn serves_and_names_no_certificate_that_did_not_come() {
    let authority = Authority::new();
    authority.issue("server", false);
    let server = start(authority.listen("server")).await;
    let json = get(connect(&server, &authority.client(None, &[])).await).await.unwrap();
    assert_eq!((&json["data"]["certificate"], &json["data"]["ip"]), (&0.into(), &"127.0.0.1".into()));
}

#[tokio::test]
async fn http2_is_chosen_by_alpn() {
    let authority = Authority::new();
    authority.issue("server", false);
    let server = start(authority.listen("server")).await;
    let stream = connect(&server, &authority.client(None, &["h2", "http/1.1"])).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut sender = http2::client(stream).await;
    assert_eq!(http2::ask(&mut sender, "PUT", "/v1/a", "{\"k\":1}").await.1["data"]["body"]["k"], 1);
    let stream = connect(&server, &authority.client(None, &["http/1.1"])).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn old_versions_are_refused() {
    let authority = Authority::new();
    authority.issue("server", false);
    let server = start(authority.listen("server")).await;
    // A ClientHello of TLS 1.1 (RFC 4346 §7.4.1.2): version, random, no session, one suite, no compression, and
    // the extensions that a client of today sends all the same.
    let groups = [0, 10, 0, 4, 0, 2, 0, 23];
    let signatures = [0, 13, 0, 4, 0, 2, 4, 3];
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0, 0, 16]);
    hello.extend(groups);
    hello.extend(signatures);
    let mut record = vec![22, 3, 1, 0, u8::try_from(hello.len() + 4).unwrap(), 1, 0, 0, u8::try_from(hello.len()).unwrap()];
    record.extend(hello);
    let mut stream = server.connect().await;
    stream.write_all(&record).await.unwrap();
    let mut alert = [0; 7];
    stream.read_exact(&mut alert).await.unwrap();
    assert_eq!((alert[0], alert[5], alert[6]), (21, 2, 70), "a fatal protocol_version alert");
    let newest = start(|l| {
        authority.listen("server")(l);
        l.keys.tls_min_version = TlsVersion::V13;
    })
    .await;
    let roots = Arc::new(RootCertStore {
        roots: vec![rustls::pki_types::TrustAnchor {
            subject: vec![].into(),
            subject_public_key_info: vec![].into(),
            name_constraints: None,
        }],
    });
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let old = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS12]).unwrap();
    let old = old.with_root_certificates(roots).with_no_client_auth();
    let error = connect(&newest, &TlsConnector::from(Arc::new(old))).await.unwrap_err();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
    assert_eq!(server.calls() + newest.calls(), 0);
}

#[tokio::test]
async fn client_certificates_are_demanded_and_verified() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.issue("server", false);
    authority.issue("client", true);
    authority.issue("wrong-use", false);
    stranger.issue("client", true);
    let server = start(|l| {
        authority.listen("server")(l);
        l.keys.tls_require_and_verify_client_cert = true;
        l.keys.tls_client_ca_file = Some(authority.path("ca.pem"));
    })
    .await;
    let with = |of: &Authority, name: &str| {
        authority.client(Some((&of.path(&format!("{name}.pem")), &of.path(&format!("{name}.key")))), &[])
    };
    let json = get(connect(&server, &with(&authority, "client")).await).await.unwrap();
    assert!(json["data"]["certificate"].as_u64().unwrap() > 100);
    assert_eq!(server.calls(), 1);
    assert!(get(connect(&server, &authority.client(None, &[])).await).await.is_none());
    assert!(get(connect(&server, &with(&stranger, "client")).await).await.is_none());
    assert!(get(connect(&server, &with(&authority, "wrong-use")).await).await.is_none());
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn any_client_certificate_is_handed_on_where_none_is_demanded() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.issue("server", false);
    stranger.issue("client", true);
    let client = authority.client(Some((&stranger.path("client.pem"), &stranger.path("client.key"))), &[]);
    let server = start(authority.listen("server")).await;
    let json = get(connect(&server, &client).await).await.unwrap();
    assert!(json["data"]["certificate"].as_u64().unwrap() > 100);
    let deaf = start(|l| {
        authority.listen("server")(l);
        l.keys.tls_disable_client_certs = true;
    })
    .await;
    assert_eq!(get(connect(&deaf, &client).await).await.unwrap()["data"]["certificate"], 0);
}

#[tokio::test]
async fn a_resumed_session_has_the_certificates_of_its_first() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.issue("server", false);
    stranger.issue("client", true);
    let server = start(authority.listen("server")).await;
    let own = CertificateDer::from_pem_file(stranger.path("client.pem")).unwrap();
    let length = own.len();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let chain = vec![own.clone(), stranger.certificate.clone()];
        let key = PrivateKeyDer::from_pem_file(stranger.path("client.key")).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
        let config = config.with_root_certificates(roots).with_client_auth_cert(chain, key).unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        for kind in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
            let mut stream = connect(&server, &connector).await.unwrap();
            stream.write_all(b"GET /v1/a HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
            let json = read_reply(&mut stream).await.unwrap().json();
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(kind), "{version:?}");
            assert_eq!((&json["data"]["certificate"], &json["data"]["beside"]), (&length.into(), &1.into()), "{kind:?}");
        }
    }
}

/// Shows one certificate and signs with the key of another.
#[derive(Debug)]
struct Borrowed(Arc<rustls::sign::CertifiedKey>);

impl rustls::client::ResolvesClientCert for Borrowed {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_certificate_without_its_key_is_worth_nothing() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.issue("server", false);
    stranger.issue("client", true);
    stranger.issue("thief", true);
    let server = start(authority.listen("server")).await;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::from_pem_file(stranger.path("thief.key")).unwrap();
    let key = provider.key_provider.load_private_key(key).unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let chain = vec![CertificateDer::from_pem_file(stranger.path("client.pem")).unwrap()];
        let pair = Arc::new(rustls::sign::CertifiedKey::new(chain, key.clone()));
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[version]).unwrap();
        let config = config.with_root_certificates(roots).with_client_cert_resolver(Arc::new(Borrowed(pair)));
        assert!(get(connect(&server, &TlsConnector::from(Arc::new(config))).await).await.is_none(), "{version:?}");
    }
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn certificates_are_reloaded_without_dropping_connections() {
    let authority = Authority::new();
    authority.issue("server", false);
    let server = start(authority.listen("server")).await;
    let connector = authority.client(None, &[]);
    let mut old = connect(&server, &connector).await.unwrap();
    let shown = |stream: &TlsStream<TcpStream>| stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    let before = shown(&old);
    // A half-written file: the old certificate goes on being shown, and the error names the file.
    std::fs::write(authority.path("server.pem"), "-----BEGIN CERT").unwrap();
    let errors = server.wire.reload(std::slice::from_ref(&server.listener));
    assert!(errors.len() == 1 && errors[0].to_string().contains("server.pem"), "{errors:?}");
    assert_eq!(shown(&connect(&server, &connector).await.unwrap()), before);
    authority.issue("server", false);
    assert!(server.wire.reload(std::slice::from_ref(&server.listener)).is_empty());
    assert_ne!(shown(&connect(&server, &authority.client(None, &[])).await.unwrap()), before);
    old.write_all(b"GET /v1/a HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    assert_eq!(read_reply(&mut old).await.unwrap().status, 200);
}

#[tokio::test]
async fn plain_http_is_told_so_and_silence_is_cut_off() {
    let authority = Authority::new();
    authority.issue("server", false);
    let server = start(|l| {
        authority.listen("server")(l);
        l.keys.http_read_header_timeout = coffer_types::Span::from_secs(1);
    })
    .await;
    let mut plain = server.connect().await;
    plain.write_all(b"GET /v1/sys/health HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let reply = read_to_close(&mut plain, Duration::from_secs(5)).await.unwrap();
    assert!(reply.starts_with("HTTP/1.0 400 ") && reply.contains("HTTP request to an HTTPS server"), "{reply}");
    let mut silent = server.connect().await;
    assert!(read_to_close(&mut silent, Duration::from_secs(5)).await.is_some());
    let mut halfway = server.connect().await;
    halfway.write_all(&[22, 3, 1, 1]).await.unwrap();
    assert!(read_to_close(&mut halfway, Duration::from_secs(5)).await.is_some());
    assert_eq!(server.calls(), 0);
}
