//! Addresses, redirects, retries, headers, namespaces, time.

use crate::fake::{Fake, run};
use std::io::{Read, Write};
use std::net::TcpListener;

#[test]
fn nobody_listens() {
    let fake = Fake::answering(&[]);
    let ran = fake.run("read -address=http://127.0.0.1:1 sys/mounts");
    assert_eq!(ran.code, 2);
    assert!(ran.err.starts_with("Error reading sys/mounts: Get \"http://127.0.0.1:1/v1/sys/mounts\": dial tcp 127.0.0.1:1: connect: connection refused"), "{}", ran.err);
    assert!(ran.err.contains("coffer server"), "what would help is said: {}", ran.err);
    let ran = fake.run("status -address=http://no.such.host.invalid:8200");
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("no.such.host.invalid"), "{}", ran.err);
}

#[test]
fn addresses_that_are_none() {
    let fake = Fake::answering(&[]);
    for address in ["127.0.0.1:8200", "ftp://x", "http://", "http://user:pass@host"] {
        let ran = fake.run(&format!("status -address={address}"));
        assert_eq!(ran.code, 2, "{address}");
        assert!(ran.err.contains("http://127.0.0.1:8200"), "{address}: {}", ran.err);
    }
}

#[test]
fn tls_asked_of_a_plain_server_names_the_right_address() {
    let fake = Fake::answering(&[]);
    let secure = fake.address.replace("http", "https");
    let ran = fake.run_with("status", "", &[("VAULT_ADDR", &secure)]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains(&format!("Use the address {}.", fake.address)), "{}", ran.err);
}

#[test]
fn one_redirect_is_followed_and_not_a_second() {
    let there = Fake::answering(&[("GET /v1/sys/mounts?x=1", 200, r#"{"data":{"x":1}}"#)]);
    let location = format!("Location: {}/v1/sys/mounts?x=1\r\n", there.address);
    let here = Fake::with_headers(&[("GET /v1/sys/mounts?x=1", 307, Box::leak(location.into_boxed_str()), String::new())]);
    let ran = here.run("read sys/mounts x=1");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(there.asked()[0].header("x-vault-token"), Some("s.own"));
    let ran = here.run("read -disable-redirects sys/mounts x=1");
    assert_ne!(ran.code, 0);
    let around = Fake::with_headers(&[("GET /v1/a", 307, "Location: /v1/a\r\n", String::new())]);
    assert_ne!(around.run("read a").code, 0);
    assert_eq!(around.lines().len(), 2);
    let away = Fake::with_headers(&[("GET /v1/a", 307, "Location: ftp://x/v1/a\r\n", String::new())]);
    let ran = away.run("read a");
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("redirected to"), "{}", ran.err);
}

#[test]
fn it_tries_again_only_when_asked_to() {
    let answers = [("GET /v1/x", 503, r#"{"errors":["busy"]}"#), ("GET /v1/x", 200, r#"{"data":{"a":1}}"#)];
    let fake = Fake::answering(&answers);
    assert_eq!(fake.run("read x").code, 2);
    assert_eq!(fake.lines().len(), 1);
    let fake = Fake::answering(&answers);
    assert_eq!(fake.run_with("read x", "", &[("VAULT_MAX_RETRIES", "2")]).code, 0);
    assert_eq!(fake.lines().len(), 2);
    let fake = Fake::answering(&[("GET /v1/x", 501, r#"{"errors":["not built"]}"#)]);
    assert_eq!(fake.run_with("read x", "", &[("VAULT_MAX_RETRIES", "2")]).code, 2);
    assert_eq!(fake.lines().len(), 1, "what is not built will not be in a second either");
}

#[test]
fn headers_and_namespace() {
    let fake = Fake::answering(&[("GET /v1/x", 200, r#"{"data":{"a":1}}"#)]);
    assert_eq!(fake.run("read -header=X-Own=v -ns=/team/ -mfa=m1:123,m2 x").code, 0);
    let asked = &fake.asked()[0];
    assert_eq!(
        (asked.header("x-own"), asked.header("x-vault-namespace"), asked.header("x-vault-mfa")),
        (Some("v"), Some("team/"), Some("m1:123"))
    );
    assert!(asked.headers.iter().any(|(n, v)| n.eq_ignore_ascii_case("x-vault-mfa") && v == "m2"));
    let ran = fake.run("read -header=X-Vault-Token=v x");
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("failed to setup Headers[X-Vault-Token]"), "{}", ran.err);
    let refused = Fake::answering(&[("GET /v1/x", 403, r#"{"errors":["permission denied"]}"#)]);
    assert!(refused.run("read -namespace=team x").err.contains("\nNamespace: team/\nURL: GET "));
}

#[test]
fn coffers_variables_win_over_vaults_over_baos() {
    let fake = Fake::answering(&[("GET /v1/x", 200, r#"{"data":{"a":1}}"#)]);
    let env = [
        ("VAULT_ADDR", ""),
        ("VAULT_TOKEN", "s.vault"),
        ("BAO_ADDR", fake.address.as_str()),
        ("BAO_TOKEN", "s.bao"),
        ("COFFER_TOKEN", "s.coffer"),
    ];
    assert_eq!(fake.run_with("read x", "", &env).code, 0);
    assert_eq!(fake.asked()[0].header("x-vault-token"), Some("s.coffer"));
    for name in ["VAULT_CLIENT_TIMEOUT", "VAULT_MAX_RETRIES", "VAULT_SKIP_VERIFY", "VAULT_WRAP_TTL"] {
        let ran = fake.run_with("read x", "", &[(name, "soon")]);
        assert_ne!(ran.code, 0, "{name}");
        assert!(ran.err.contains(name), "{name}: {}", ran.err);
    }
}

#[test]
fn a_server_that_does_not_answer_is_left_after_the_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let kept = std::thread::spawn(move || listener.accept().map(|(stream, _)| stream));
    let folder = tempfile::tempdir().unwrap();
    let began = std::time::Instant::now();
    let ran = run(
        env!("CARGO_BIN_EXE_coffer"),
        "status",
        "",
        &[("VAULT_ADDR", &address), ("VAULT_CLIENT_TIMEOUT", "1s"), ("HOME", folder.path().to_str().unwrap())],
        folder.path(),
    );
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("no whole answer within 1s"), "{}", ran.err);
    assert!(began.elapsed() < std::time::Duration::from_secs(10));
    drop(kept);
}

#[test]
fn an_answer_cut_off_is_an_error_and_not_half_a_secret() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut buffer = [0; 2048];
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"data\":{\"a\":\"half").unwrap();
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let ran = run(
        env!("CARGO_BIN_EXE_coffer"),
        "read x",
        "",
        &[("VAULT_ADDR", &address), ("HOME", folder.path().to_str().unwrap())],
        folder.path(),
    );
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(!ran.err.contains("half"), "{}", ran.err);
}

#[test]
fn a_socket_is_an_address_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 2048];
        let read = stream.read(&mut buffer).unwrap();
        assert!(buffer[..read].starts_with(b"GET /v1/x HTTP/1.1\r\n"));
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"data\":{\"a\":1}}").unwrap();
    });
    let ran = run(
        env!("CARGO_BIN_EXE_coffer"),
        &format!("read -address=unix://{} -field=a x", path.display()),
        "",
        &[("HOME", folder.path().to_str().unwrap())],
        folder.path(),
    );
    assert_eq!((ran.code, ran.out.as_str()), (0, "1"), "{}", ran.err);
}

#[test]
fn certificates_that_can_not_be_used_are_named() {
    let fake = Fake::answering(&[]);
    for (flags, said) in [
        ("-ca-cert=/none.pem", "Error loading CA File: open /none.pem: no such file or directory"),
        ("-client-cert=/none.pem", "both client cert and client key must be provided"),
    ] {
        let ran = fake.run(&format!("status {flags}"));
        assert_eq!(ran.code, 2);
        assert!(ran.err.contains(said), "{}", ran.err);
    }
}

#[test]
fn a_proxy_is_told_where_to() {
    let proxy = Fake::answering(&[("GET http://vault.example:8200/v1/x", 200, r#"{"data":{"a":1}}"#)]);
    let env = [("VAULT_ADDR", "http://vault.example:8200"), ("HTTP_PROXY", proxy.address.as_str())];
    let ran = proxy.run_with("read -field=a x", "", &env);
    assert_eq!((ran.code, ran.out.as_str()), (0, "1"), "{}", ran.err);
    assert_eq!(proxy.asked()[0].header("host"), Some("vault.example:8200"));
    let env = [("VAULT_ADDR", "https://vault.example:8200"), ("HTTPS_PROXY", proxy.address.as_str())];
    let ran = proxy.run_with("read x", "", &env);
    assert_eq!(proxy.lines().last().map(String::as_str), Some("CONNECT vault.example:8200"));
    assert!(ran.code == 2 && ran.err.contains("the proxy answered \"HTTP/1.1 404 X\""), "{}", ran.err);
}

#[test]
fn a_server_that_closes_after_each_answer_is_asked_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut buffer = [0; 2048];
            let read = stream.read(&mut buffer).unwrap();
            let body = if buffer[..read].starts_with(b"GET /v1/sys/internal") {
                r#"{"data":{"path":"kv/","options":null}}"#
            } else {
                r#"{"data":{"a":"b"}}"#
            };
            // It says that it will keep the connection, and does not.
            stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
        }
    });
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..20 {
        let env = [("VAULT_ADDR", address.as_str()), ("HOME", folder.path().to_str().unwrap())];
        let ran = run(env!("CARGO_BIN_EXE_coffer"), "kv get -field=a kv/x", "", &env, folder.path());
        assert_eq!((ran.code, ran.out.as_str()), (0, "b"), "{}", ran.err);
    }
}
