//! Both roles over real connections.

use super::*;
use std::io::{Read, Write};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Reverses; refuses the recipient `no`.
struct Reverse;

impl Keys for Reverse {
    fn encrypt(&self, key: &Key, plaintext: &[u8]) -> Result<String, Status> {
        if *key == Key::Age("no".into()) {
            return Err(Status::new(Code::PermissionDenied, "Request rejected by user: 100 %\n"));
        }
        if *key == Key::Age("panic".into()) {
            panic!("a key that fails");
        }
        Ok(plaintext.iter().rev().map(|b| char::from(*b)).collect())
    }

    fn decrypt(&self, _: &Key, enc: &str) -> Result<Zeroizing<Vec<u8>>, Status> {
        Ok(Zeroizing::new(enc.bytes().rev().collect()))
    }
}

/// Runs a service until the sender is dropped.
fn running(place: &Place) -> (Place, tokio::sync::oneshot::Sender<()>, std::thread::JoinHandle<()>) {
    let bound = Bound::new(place).unwrap();
    let place = bound.place().clone();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        bound.serve(Arc::new(Reverse), async {
            stopped.await.unwrap_or_default();
        });
    });
    (place, stop, thread)
}

#[test]
fn both_roles_agree_over_tcp_and_over_a_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    for place in [Place::Tcp("127.0.0.1:0".into()), Place::Unix(socket.clone())] {
        let (place, stop, thread) = running(&place);
        let caller = Caller::new(place.clone()).unwrap();
        let key = Key::Age("age1x".into());
        assert_eq!(caller.encrypt(&key, b"data").unwrap(), "atad");
        assert_eq!(&**caller.decrypt(&key, &"x".repeat(100_000)).unwrap(), "x".repeat(100_000).as_bytes());
        let refused = caller.encrypt(&Key::Age("no".into()), b"data").unwrap_err();
        assert_eq!(refused.code, Code::PermissionDenied);
        assert!(
            refused.message.ends_with("Request rejected by user: 100 %\n") && refused.message.contains(&place.to_string()),
            "{refused}"
        );
        assert_eq!(caller.encrypt(&Key::Age("panic".into()), b"d").unwrap_err().code, Code::Internal);
        assert_eq!(caller.decrypt(&key, &"x".repeat(2 << 20)).unwrap_err().code, Code::ResourceExhausted);
        assert_eq!(caller.encrypt(&key, b"").unwrap_err().code, Code::Internal);
        drop(stop);
        thread.join().unwrap();
        assert_eq!(caller.encrypt(&key, b"data").unwrap_err().code, Code::Unavailable);
    }
    assert!(!socket.exists(), "the socket is removed");
}

#[test]
fn a_socket_is_its_owners_and_replaces_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let bound = Bound::new(&Place::Unix(path.clone())).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(Bound::new(&Place::Unix(path.clone())).err().unwrap().kind(), std::io::ErrorKind::AddrInUse);
    drop(bound);
    assert!(!path.exists());
    std::fs::write(&path, "mine").unwrap();
    assert!(Bound::new(&Place::Unix(path.clone())).is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    assert!(Bound::new(&Place::Unix("/nowhere/s".into())).is_err());
}

#[test]
fn nobody_there_and_somebody_else_there() {
    let caller = Caller::new(Place::Tcp("127.0.0.1:1".into())).unwrap();
    assert_eq!(caller.encrypt(&Key::Age("a".into()), b"d").unwrap_err().code, Code::Unavailable);
    let caller = Caller::new(Place::Unix("/nowhere/s".into())).unwrap();
    assert_eq!(caller.decrypt(&Key::Age("a".into()), "d").unwrap_err().code, Code::Unavailable);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut got = [0; 512];
        assert!(stream.read(&mut got).unwrap() > 0);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let caller = Caller::new(Place::Tcp(address)).unwrap();
    assert_eq!(caller.encrypt(&Key::Age("a".into()), b"d").unwrap_err().code, Code::Unavailable);
    thread.join().unwrap();
}

#[test]
fn other_calls_and_other_content_are_refused() {
    use http_body_util::{BodyExt, Full};
    let (place, stop, thread) = running(&Place::Tcp("127.0.0.1:0".into()));
    let Place::Tcp(address) = place else { unreachable!() };
    let ask = |path: &'static str, content_type: &'static str, body: &'static [u8]| {
        let address = address.clone();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async move {
            let stream = tokio::net::TcpStream::connect(&address).await.unwrap();
            let executor = hyper_util::rt::TokioExecutor::new();
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(executor, hyper_util::rt::TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            let request = http::Request::post(format!("http://{address}{path}")).header("content-type", content_type);
            let reply = sender.send_request(request.body(Full::new(bytes::Bytes::from_static(body))).unwrap()).await.unwrap();
            let body = reply.into_body().collect().await.unwrap();
            body.trailers().unwrap().get("grpc-status").unwrap().to_str().unwrap().to_owned()
        })
    };
    for (path, content_type, body, status) in [
        ("/KeyService/Other", "application/grpc", &b"\0\0\0\0\0"[..], "12"),
        ("/", "application/grpc", b"\0\0\0\0\0", "12"),
        ("/KeyService/Encrypt", "application/json", b"{}", "3"),
        ("/KeyService/Encrypt", "application/grpc", b"\0\0\0\0\0", "5"),
        ("/KeyService/Encrypt", "application/grpc+proto", b"", "13"),
        ("/KeyService/Encrypt", "application/grpc", b"\x01\0\0\0\0", "12"),
        ("/KeyService/Decrypt", "application/grpc", b"\0\0\0\0\x0d\x0a\x06\x32\x04\x0a\x02ab\x12\x03\xff\xfe", "13"),
        ("/KeyService/Decrypt", "application/grpc", b"\0\0\0\0\x0c\x0a\x06\x32\x04\x0a\x02ab\x12\x02\xff\xfe", "3"),
        ("/KeyService/Decrypt", "application/grpc", b"\0\0\0\0\x0c\x0a\x06\x32\x04\x0a\x02ab\x12\x02xy", "0"),
    ] {
        assert_eq!(ask(path, content_type, body), status, "{path} {content_type} {body:?}");
    }
    drop(stop);
    thread.join().unwrap();
}

#[test]
fn the_forms_of_a_place() {
    assert_eq!(Place::parse("tcp://127.0.0.1:5000").unwrap(), Place::Tcp("127.0.0.1:5000".into()));
    assert_eq!(Place::parse("unix:///run/s").unwrap(), Place::Unix("/run/s".into()));
    assert_eq!(Place::of("tcp", "[::1]:5000").unwrap().to_string(), "tcp://[::1]:5000");
    for uri in [
        "",
        "127.0.0.1:5000",
        "tcp://",
        "tcp://h",
        "tcp://h:x",
        "tcp://h:99999",
        "tcp://h:1/x",
        "unix://",
        "http://h:1",
        "udp://h:1",
    ] {
        assert!(Place::parse(uri).is_err(), "{uri}");
    }
}
