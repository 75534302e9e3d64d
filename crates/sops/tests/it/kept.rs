//! The default style: what a file looks like stays, and comes back to the last byte.

use coffer_crypto::random::SeededRandom;
use coffer_sops::file::{Given, Style, encrypt, open};
use coffer_sops::keys::KeyId;
use coffer_sops::metadata::{DEFAULT_UNENCRYPTED_SUFFIX, Selector};
use coffer_sops::{Kind, MasterKey, Metadata};
use coffer_types::Timestamp;

use crate::golden::{Known, cases};

/// Wraps by writing the data key down, so that it can be unwrapped again.
struct Hex;

impl coffer_sops::KeyService for Hex {
    fn wrap(&self, _: &MasterKey, key: &[u8]) -> coffer_sops::Result<String> {
        Ok(key.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn unwrap(&self, key: &MasterKey) -> coffer_sops::Result<zeroize::Zeroizing<Vec<u8>>> {
        let pairs = key.enc.as_bytes().chunks(2);
        Ok(zeroize::Zeroizing::new(
            pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect(),
        ))
    }
}

fn metadata() -> Metadata {
    Metadata {
        groups: vec![vec![MasterKey::new(KeyId::Age { recipient: "age1x".into() })]],
        selector: Some(Selector::UnencryptedSuffix(DEFAULT_UNENCRYPTED_SUFFIX.into())),
        ..Metadata::default()
    }
}

#[test]
fn files_come_back_to_the_last_byte() {
    let mut changed = Vec::new();
    let random = SeededRandom::for_tests_only(1);
    let mut seen = 0;
    for case in cases() {
        let format = case.format().unwrap();
        if matches!(format.kind(), Kind::Ini) {
            continue;
        }
        let plain = case.plain();
        let now = Timestamp::from_secs(1_700_000_000);
        let sealed = encrypt(&plain, &*format, &*format, metadata(), &Hex, Style::Kept, Given { random: &random, now }).unwrap();
        // Without the spellings, as for the reference, the values are the same.
        let opened = open(&sealed, &*format, &Hex, &[], &random, false).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let back = opened.emit(Some(&sealed), &*format, &random).unwrap();
        // Compared as they are written, since a NaN equals nothing.
        let written = |source: &[u8]| format.emit(&format.load_plain(source).unwrap(), None).unwrap();
        assert_eq!(String::from_utf8_lossy(&written(&back)), String::from_utf8_lossy(&written(&plain)), "{}", case.name);
        if *back != plain {
            changed.push(case.name.clone());
        }
        seen += 1;
    }
    assert!(seen >= 40, "{seen}");
    assert_eq!(changed, [""; 0]);
}

#[test]
fn a_wrong_selector_and_a_second_encryption_are_refused() {
    let random = SeededRandom::for_tests_only(1);
    let now = Timestamp::from_secs(1_700_000_000);
    let json = coffer_sops::format::Json::default();
    let code = |source: &[u8], metadata: Metadata| {
        encrypt(source, &json, &json, metadata, &Hex, Style::Kept, Given { random: &random, now })
            .err()
            .map(|error| error.exit_code())
    };
    let malformed = Metadata { selector: Some(Selector::EncryptedRegex("(".into())), ..metadata() };
    assert_eq!(code(b"{\"a\":1}", malformed), Some(1));
    assert_eq!(code(b"{\"a\":1}", Metadata { groups: Vec::new(), ..metadata() }), Some(1));
    assert_eq!(code(b"{\"a\":1,\"sops\":{}}", metadata()), Some(203));
    assert_eq!(code(b"{\"a\":", metadata()), Some(2));
    let known = Known(Vec::new());
    assert_eq!(open(b"{\"a\":1}", &json, &known, &[], &random, false).err().map(|error| error.exit_code()), Some(1));
}
