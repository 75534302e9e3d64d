//! No server of SQL Server's can be had for tests: what is read here stands byte for byte in MS-TDS' own examples (section 4) or is
//! built as its section 2.2 says, and TLS inside of the protocol is spoken with a server of the tests' own.

use super::super::testing::{answers, refused as refusal, says, target as plain};
use super::*;
use coffer_engine::outside::{Protocol, Roots, TlsClient};
use coffer_types::Secret;
use std::sync::Arc;
use tokio::net::TcpListener;

fn target(port: u16) -> Target {
    Target { timeout: std::time::Duration::from_secs(5), ..plain(Protocol::SqlServer, port) }
}

fn packet(status: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + HEADER).unwrap().to_be_bytes();
    let mut out = vec![kind::ANSWER, status, length[0], length[1], 0, 0, 1, 0];
    out.extend_from_slice(body);
    out
}

/// An answer to PRELOGIN with this word on encryption.
fn hello(encryption: u8) -> Vec<u8> {
    packet(LAST, &[0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xff, 16, 0, 0, 0, 0, 0, encryption])
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

const DONE: [u8; 13] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// LOGINACK of SQL Server, and DONE.
fn welcome() -> Vec<u8> {
    let mut body = vec![0xad, 0x14, 0, 1, 0x74, 0, 0, 4, 5];
    body.extend(wide("Micro"));
    body.extend_from_slice(&[0x10, 0, 0x10, 0]);
    body[1] = u8::try_from(body.len() - 3).unwrap();
    body.extend_from_slice(&DONE);
    body
}

fn error(number: i32, class: u8, text: &str) -> Vec<u8> {
    let mut inside = number.to_le_bytes().to_vec();
    inside.extend_from_slice(&[1, class]);
    inside.extend_from_slice(&u16::try_from(text.len()).unwrap().to_le_bytes());
    inside.extend(wide(text));
    inside.extend_from_slice(&[0, 0, 1, 0, 0, 0]);
    let mut body = vec![0xaa];
    body.extend_from_slice(&u16::try_from(inside.len()).unwrap().to_le_bytes());
    body.extend(inside);
    body.extend_from_slice(&[0xfd, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    body
}

/// Two columns (a Unicode text and a whole number) and two rows, the second with nulls.
fn rows() -> Vec<u8> {
    let mut body = vec![0x81, 2, 0];
    body.extend_from_slice(&[0, 0, 0, 0, 9, 0, 0xe7, 0, 1, 9, 4, 0xd0, 0, 0x34, 1, b'n', 0]);
    body.extend_from_slice(&[0, 0, 0, 0, 9, 0, 0x26, 4, 0]);
    body.extend_from_slice(&[0xd1, 4, 0, b'd', 0, 0xe9, 0, 4, 0xff, 0xff, 0xff, 0xff]);
    body.extend_from_slice(&[0xd2, 0b10, 2, 0, b'x', 0]);
    body.extend_from_slice(&DONE);
    body
}

/// The SQL batch response of MS-TDS 4.5 ("SQL Batch Server Response").
#[test]
fn the_answer_of_the_specification() {
    let body = [
        &[0x81, 1, 0, 0, 0, 0, 0, 0x20, 0, 0xa7, 3, 0, 9, 4, 0xd0, 0, 0x34, 3, 0x62, 0, 0x61, 0, 0x72, 0][..],
        &[0xd1, 3, 0, 0x66, 0x6f, 0x6f],
        &[0xfd, 0x10, 0, 0xc1, 0, 1, 0, 0, 0, 0, 0, 0, 0],
    ]
    .concat();
    let answer = tokens::read(&body).unwrap();
    assert_eq!(answer.rows, [vec![Some("foo".to_owned())]]);
    assert!(answer.refusal.is_none());
}

#[test]
fn reads_rows_and_no_half_of_them() {
    let whole = rows();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(tokens::read(&whole).unwrap().rows, [vec![text("dé"), text("-1")], vec![text("x"), None]]);
    // Where tokens end, an answer may.
    let ends = [0, 29, 41, 47];
    for short in 0..whole.len() {
        assert_eq!(tokens::read(&whole[..short]).is_some(), ends.contains(&short), "{short}");
    }
    for bad in [&b"\x00"[..], b"\xd1", b"\x81\x01\0\0\0\0\0\0\0\x99\0", b"\xe3\x02\0\x08\x08", b"\xae\x01\xff\xff\xff\xff"] {
        assert!(tokens::read(bad).is_none(), "{bad:?}");
    }
}

#[test]
fn skips_every_type() {
    // Type and value: money, uniqueidentifier, decimal, datetime2, varbinary(max) in pieces, text, xml, sql_variant.
    for (kind, value) in [
        (&b"\x3c"[..], &[0; 8][..]),
        (b"\x24\x10", &[16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]),
        (b"\x6a\x05\x09\x02", &[5, 1, 1, 0, 0, 0]),
        (b"\x2a\x07", &[8, 0, 0, 0, 0, 0, 0, 0, 0]),
        (b"\xa5\xff\xff", &[2, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 7, 7, 0, 0, 0, 0]),
        (b"\xf1\0", &[0xff; 8]),
        (b"\x62\0\0\0\0", &[2, 0, 0, 0, 0x32, 0]),
    ] {
        let body = [&b"\x81\x01\0\0\0\0\0\0\0"[..], kind, b"\0\xd1", value, &DONE].concat();
        assert_eq!(tokens::read(&body).map(|answer| answer.rows.len()), Some(1), "{kind:?}");
        let body = [&b"\x81\x01\0\0\0\0\0\0\0"[..], kind, b"\0\xd1", &value[..value.len() - 1]].concat();
        assert!(tokens::read(&body).is_none(), "{kind:?}");
    }
    let body =
        [&b"\x81\x01\0\0\0\0\0\0\0\x23\xff\0\0\0\0\0\0\0\0\x01\x01\0t\0\0\xd1\x01p12345678\x02\0\0\0ab"[..], &DONE].concat();
    assert_eq!(tokens::read(&body).unwrap().rows, [vec![Some("ab".to_owned())]]);
}

#[tokio::test]
async fn logs_in_and_speaks_in_transactions() {
    let begun = [&b"\xe3\x0b\0\x08\x08\x01\x02\x03\x04\x05\x06\x07\x08\0"[..], &DONE].concat();
    let ended = [&b"\xe3\x0b\0\x09\0\x08\x01\x02\x03\x04\x05\x06\x07\x08"[..], &DONE].concat();
    let fails = error(15_025, 16, "The server principal 'x' already exists.");
    let (first, second) = begun.split_at(5);
    let (port, heard) = answers(
        false,
        vec![
            hello(2),
            packet(LAST, &welcome()),
            packet(LAST, &DONE),
            // One answer in two packets.
            [packet(0, first), packet(LAST, second)].concat(),
            packet(LAST, &rows()),
            packet(LAST, &ended),
            packet(LAST, &begun),
            packet(LAST, &fails),
            packet(LAST, &ended),
        ],
    )
    .await;
    let target = Target { database: "app".into(), ..target(port) };
    let mut connection = Connection::open(&target).await.unwrap();
    let script = || Script::atomic([Secret::from("CREATE LOGIN [é]")]);
    assert_eq!(connection.run(&script()).await.unwrap()[0].len(), 2);
    let fault = connection.run(&script()).await.unwrap_err();
    assert_eq!((fault.kind, fault.text.as_ref()), (FaultKind::Refused, "The server principal 'x' already exists. (error 15025)"));
    let heard = heard.await.unwrap();
    assert_eq!(heard[0], b"\x12\x01\0\x1a\0\0\x01\0\0\0\x0b\0\x06\x01\0\x11\0\x01\xff\0\0\0\0\0\0\x02");
    let login = &heard[1][HEADER..];
    assert_eq!((heard[1][0], usize::from(login[0])), (kind::LOGIN, login.len() & 0xff));
    let field = |number: usize| {
        let at = |place: usize| usize::from(u16::from_le_bytes([login[place], login[place + 1]]));
        let (start, length) = (at(36 + number * 4), at(38 + number * 4) * 2);
        login[start..start + length].to_vec()
    };
    assert_eq!((field(1), field(8)), (wide("canary-user"), wide("app")));
    // The rule of MS-TDS 2.2.6.4: halves of a byte change places, then XOR with 0xA5.
    assert_eq!((&field(2)[..4], field(2).len()), (&[0x93, 0xa5, 0xb3, 0xa5][..], 30), "\"ca…\"");
    let batch = |number: usize, transaction: &[u8; 8], text: &str| {
        let mut body = vec![22, 0, 0, 0, 18, 0, 0, 0, 2, 0];
        body.extend_from_slice(transaction);
        body.extend_from_slice(&[1, 0, 0, 0]);
        body.extend(wide(text));
        assert_eq!(&heard[number][HEADER..], body, "{text}");
    };
    let open = [1, 2, 3, 4, 5, 6, 7, 8];
    batch(3, &[0; 8], "BEGIN TRANSACTION");
    batch(4, &open, "CREATE LOGIN [é]");
    batch(5, &open, "COMMIT TRANSACTION");
    batch(8, &open, "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION");
}

#[tokio::test]
async fn refuses() {
    for (replies, kind) in [
        (vec![hello(2), packet(LAST, &error(18_456, 14, "Login failed for user 'x'."))], FaultKind::Credentials),
        (vec![hello(2), packet(LAST, &error(17_188, 16, "starting"))], FaultKind::Unreachable),
        (vec![hello(2), packet(LAST, &error(50_000, 20, "fatal"))], FaultKind::Unreachable),
        // TLS that is not to be, a word on it that is none, no word, another packet, one shorter than its header, no login.
        (vec![hello(3)], FaultKind::Unreachable),
        (vec![hello(1)], FaultKind::Unreachable),
        (vec![hello(9)], FaultKind::Protocol),
        (vec![packet(LAST, &[0, 0, 6, 0, 6, 0xff])], FaultKind::Protocol),
        (vec![packet(LAST, &[1, 0xff, 0xff, 0, 1])], FaultKind::Protocol),
        (vec![b"\x01\x01\0\x08\0\0\0\0".to_vec()], FaultKind::Protocol),
        (vec![b"\x04\x01\0\x07\0\0\0\0".to_vec()], FaultKind::Protocol),
        (vec![hello(2), packet(LAST, &DONE)], FaultKind::Protocol),
        (vec![hello(2), packet(LAST, &welcome()[..9])], FaultKind::Protocol),
        // Sent on to another server.
        (vec![hello(2), packet(LAST, b"\xe3\x0a\0\x14\x07\0\0\x01\0\x01\0h\0")], FaultKind::Unreachable),
    ] {
        let port = says(false, replies.clone()).await;
        assert_eq!(refusal(&target(port)).await, kind, "{replies:?}");
    }
    for bad in [Target { user: "x".repeat(129), ..target(1) }, Target { database: "a\0b".into(), ..target(1) }] {
        let port = says(false, vec![hello(2)]).await;
        assert_eq!(refusal(&Target { hosts: vec![("127.0.0.1".into(), port)], ..bad }).await, FaultKind::Settings);
    }
    // Packet after packet, and never the last.
    let port = says(false, vec![packet(0, &[0; 60_000]).repeat(300)]).await;
    assert_eq!(refusal(&target(port)).await, FaultKind::Protocol);
    let port = says(false, vec![hello(2)]).await;
    let tls = Target { tls: Tls::On(TlsClient { skip_verify: true, ..TlsClient::default() }), ..target(port) };
    assert_eq!(refusal(&tls).await, FaultKind::Unreachable, "no password goes out in clear");
}

/// A server that speaks TLS in packets, as MS-TDS 2.2.6.5 says, for one client.
async fn in_tls(strict: bool) -> (u16, String, tokio::task::JoinHandle<Vec<u8>>) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    if strict {
        config.alpn_protocols = vec![b"tds/8.0".to_vec()];
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream: Box<dyn Stream> = Box::new(stream);
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let mut heard = [0; 4096];
        if strict {
            stream = Box::new(acceptor.accept(stream).await.unwrap());
            assert!(stream.read(&mut heard).await.unwrap() > 0);
            stream.write_all(&hello(2)).await.unwrap();
        } else {
            assert!(stream.read(&mut heard).await.unwrap() > 0);
            stream.write_all(&hello(1)).await.unwrap();
            let (tunnel, switch) = tunnel::Tunnel::new(stream);
            stream = Box::new(acceptor.accept(tunnel).await.unwrap());
            switch.open();
        }
        let length = stream.read(&mut heard).await.unwrap();
        stream.write_all(&packet(LAST, &welcome())).await.unwrap();
        stream.flush().await.unwrap();
        let login = heard[..length].to_vec();
        assert!(stream.read(&mut heard).await.unwrap() > 0);
        stream.write_all(&packet(LAST, &DONE)).await.unwrap();
        stream.flush().await.unwrap();
        login
    });
    (port, made.cert.pem(), task)
}

#[tokio::test]
async fn speaks_tls_inside_of_packets() {
    let (port, pem, heard) = in_tls(false).await;
    let settings = TlsClient { roots: Roots::Pem(pem), only_tls12: true, ..TlsClient::default() };
    Connection::open(&Target { tls: Tls::On(settings), ..target(port) }).await.unwrap();
    assert_eq!(heard.await.unwrap()[0], kind::LOGIN);
    let (port, _, heard) = in_tls(false).await;
    let (_, other, _) = in_tls(false).await;
    let settings = TlsClient { roots: Roots::Pem(other), only_tls12: true, ..TlsClient::default() };
    assert_eq!(
        refusal(&Target { tls: Tls::On(settings), ..target(port) }).await,
        FaultKind::Credentials,
        "another's certificate"
    );
    assert!(heard.await.is_err());
}

#[tokio::test]
async fn speaks_in_tls_where_that_is_strict() {
    let (port, pem, heard) = in_tls(true).await;
    let settings = TlsClient { roots: Roots::Pem(pem), ..TlsClient::default() };
    let mut target = Target { tls: Tls::On(settings), ..target(port) };
    target.parameters.push(("encrypt".into(), "strict".into()));
    Connection::open(&target).await.unwrap();
    assert_eq!(&heard.await.unwrap()[HEADER + 4..HEADER + 8], [0, 0, 0, 8], "TDS 8.0");
}
