use super::Totp;
use coffer_engine::testing::{Bench, Failed, text};
use coffer_types::{Kind, Operation, Span};

fn bench() -> Bench {
    Bench::new::<Totp>("totp/", &[])
}

fn refused(bench: &Bench, path: &str, body: &str) -> String {
    match bench.call(Operation::Update, path, body) {
        Err(Failed { kind: Kind::BadRequest, public }) => public,
        Err(other) => panic!("{body}: {other:?}"),
        Ok(answer) => panic!("{body}: {}", text(&answer)),
    }
}

/// As the reference answers.
#[test]
fn keys_that_make_no_sense_are_refused() {
    let bench = bench();
    for (body, why) in [
        ("{}", "the key value is required"),
        (r#"{"generate":true}"#, "the account_name value is required for generated keys"),
        (r#"{"generate":true,"account_name":"u"}"#, "the issuer value is required for generated keys"),
        (r#"{"generate":true,"account_name":"u","issuer":"V","digits":7}"#, "the digits value can only be 6 or 8"),
        (r#"{"generate":true,"account_name":"u","issuer":"V","algorithm":"MD5"}"#, "the algorithm value is not valid"),
        (r#"{"generate":true,"account_name":"u","issuer":"V","period":0}"#, "the period value must be greater than zero"),
        (r#"{"generate":true,"account_name":"u","issuer":"V","skew":2}"#, "the skew value must be 0 or 1"),
        (r#"{"generate":true,"account_name":"u","issuer":"V","skew":-1}"#, "the skew value must be 0 or 1"),
        (r#"{"generate":true,"account_name":"u","issuer":"V","key_size":0}"#, "the key_size value must be greater than zero"),
        (r#"{"generate":true,"account_name":"u","issuer":"V","key_size":99999999}"#, "the key_size value must be at most 1024"),
        (
            r#"{"generate":true,"account_name":"u","issuer":"V","qr_size":-1}"#,
            "the qr_size value must be greater than or equal to zero",
        ),
        (r#"{"generate":true,"account_name":"u","issuer":"V","key":"ABCD"}"#, "a key should not be passed if generate is true"),
        (
            r#"{"generate":true,"url":"otpauth://totp/V:u?secret=JBSWY3DPEHPK3PXP"}"#,
            "a url should not be passed if generate is true",
        ),
        (r#"{"key":"not base32"}"#, "invalid key value: illegal base32 data at input byte 3"),
        (r#"{"url":"otpauth://totp/V:u?issuer=V"}"#, "the key value is required"),
        (r#"{"url":"otpauth://totp/V:u","key":"JBSWY3DPEHPK3PXP"}"#, "the key value is required"),
        (
            r#"{"url":"otpauth://totp/V:u?secret=JBSWY3DPEHPK3PXP&digits=x"}"#,
            "an error occurred while parsing digits value in url",
        ),
        (r#"{"url":"otpauth://totp/V:u?secret=JBSWY3DPEHPK3PXP&period=-4"}"#, "the period value must be greater than zero"),
        (r#"{"url":":::"}"#, "an error occurred while parsing url string"),
    ] {
        assert_eq!(refused(&bench, "keys/k", body), why, "{body}");
    }
    assert_eq!(bench.keys(), Vec::<String>::new());
    let small = bench.call(Operation::Update, "keys/k", r#"{"generate":true,"account_name":"u","issuer":"V","qr_size":5}"#);
    assert_eq!(small.err().map(|failed| failed.kind), Some(Kind::Internal));
    for name in ["a b", "-a", "a-", "ä"] {
        let failed = bench.call(Operation::Update, &format!("keys/{name}"), r#"{"key":"JBSWY3DPEHPK3PXP"}"#).err();
        assert_eq!(failed.map(|failed| failed.kind), Some(Kind::NotFound), "{name}");
    }
    for path in ["code/none", "keys/none"] {
        assert!(bench.call(Operation::Read, path, "").is_err());
    }
    assert_eq!(refused(&bench, "code/none", r#"{"code":"123456"}"#), "unknown key: none");
}

#[test]
fn a_drawn_key_is_shown_once_and_never_again() {
    let bench = bench();
    let body = r#"{"generate":true,"account_name":"u@x","issuer":"V","algorithm":"SHA256","digits":8,"period":"1m"}"#;
    let made = text(&bench.call(Operation::Update, "keys/k", body).unwrap());
    let secret = made.split("secret=").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    assert_eq!(secret.len(), 32);
    assert!(made.contains("otpauth://totp/V:u@x?algorithm=SHA256&digits=8&issuer=V&period=60&secret="), "{made}");
    assert!(made.contains("\"barcode\":\"iVBORw0KGgo"));
    let read = text(&bench.call(Operation::Read, "keys/k", "").unwrap());
    assert_eq!(read, r#"{"account_name":"u@x","algorithm":"SHA256","digits":8,"issuer":"V","period":60}"#);
    let bare = bench.call(Operation::Update, "keys/n", r#"{"generate":true,"account_name":"u","issuer":"V","qr_size":0}"#);
    assert!(!text(&bare.unwrap()).contains("barcode"));
    let hidden = bench.call(Operation::Update, "keys/h", r#"{"generate":true,"account_name":"u","issuer":"V","exported":false}"#);
    assert_eq!(text(&hidden.unwrap()), "");
    // The drawn key, taken along elsewhere, gives the same codes.
    let import = format!(r#"{{"key":"{secret}","algorithm":"SHA256","digits":8,"period":60}}"#);
    bench.call(Operation::Update, "keys/again", &import).unwrap();
    let code = |name: &str| text(&bench.call(Operation::Read, &format!("code/{name}"), "").unwrap());
    assert_eq!(code("k"), code("again"));
}

/// RFC 6238, appendix B, at the bench's own clock: the step of 1795404202.
#[test]
fn codes_are_taken_once() {
    let bench = bench();
    bench.call(Operation::Update, "keys/k", r#"{"key":"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ","digits":8}"#).unwrap();
    let now = || {
        let shown = text(&bench.call(Operation::Read, "code/k", "").unwrap());
        shown[9..17].to_owned()
    };
    let check = |code: &str| bench.call(Operation::Update, "code/k", &format!(r#"{{"code":"{code}"}}"#));
    let used = "code already used; wait until the next time period";
    let first = now();
    assert_eq!(text(&check(&first).unwrap()), r#"{"valid":true}"#);
    assert_eq!(refused(&bench, "code/k", &format!(r#"{{"code":"{first}"}}"#)), used);
    // With a space in it, it is no code at all, and not the same one either (GHSA on codes used twice).
    for odd in [format!(" {first}"), format!("{first} "), format!("{} {}", &first[..4], &first[4..]), first[1..].to_owned()] {
        assert_eq!(
            refused(&bench, "code/k", &format!(r#"{{"code":"{odd}"}}"#)),
            "invalid number of digits for the code",
            "{odd:?}"
        );
    }
    assert_eq!(text(&check(&format!(" {}", &first[1..])).unwrap()), r#"{"valid":false}"#);
    assert_eq!(refused(&bench, "code/k", "{}"), "the code value is required");
    // A step later it would still be in time, and is still used; two later it is too late.
    bench.pass(Span::from_secs(30));
    assert_eq!(refused(&bench, "code/k", &format!(r#"{{"code":"{first}"}}"#)), used);
    let second = now();
    assert_ne!(first, second);
    assert_eq!(text(&check(&second).unwrap()), r#"{"valid":true}"#);
    bench.pass(Span::from_secs(30));
    assert_eq!(text(&check(&first).unwrap()), r#"{"valid":false}"#);
    assert_eq!(refused(&bench, "code/k", &format!(r#"{{"code":"{second}"}}"#)), used);
    // The same key brought again is not a new one.
    bench.call(Operation::Update, "keys/k", r#"{"key":"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ","digits":8}"#).unwrap();
    assert_eq!(refused(&bench, "code/k", &format!(r#"{{"code":"{second}"}}"#)), used);
    bench.call(Operation::Update, "keys/k", r#"{"key":"JBSWY3DPEHPK3PXP"}"#).unwrap();
    assert_eq!(bench.keys(), ["key/k"], "what another key's steps were means nothing");
}

#[test]
fn without_skew_a_code_holds_its_own_step_alone() {
    let bench = bench();
    bench.call(Operation::Update, "keys/k", r#"{"key":"JBSWY3DPEHPK3PXP","skew":0}"#).unwrap();
    let shown = text(&bench.call(Operation::Read, "code/k", "").unwrap());
    bench.pass(Span::from_secs(30));
    let late = bench.call(Operation::Update, "code/k", &format!(r#"{{"code":"{}"}}"#, &shown[9..15])).unwrap();
    assert_eq!(text(&late), r#"{"valid":false}"#);
}

#[test]
fn keys_are_listed_and_go() {
    let bench = bench();
    assert!(bench.call(Operation::List, "keys", "").is_ok_and(|answer| answer.status == Some(404)));
    bench.call(Operation::Update, "keys/a@b.c", r#"{"key":"JBSWY3DPEHPK3PXP"}"#).unwrap();
    assert_eq!(text(&bench.call(Operation::List, "keys", "").unwrap()), r#"{"keys":["a@b.c"]}"#);
    bench.call(Operation::Delete, "keys/a@b.c", "").unwrap();
    bench.call(Operation::Delete, "keys/a@b.c", "").unwrap();
    assert_eq!(bench.keys(), Vec::<String>::new());
}
