//! `clients/golden/sops/cases`: a plain file, the same encrypted by the real sops, decrypted by it, and decrypted to other formats. The data
//! keys were unwrapped once with the throw-away identities beside them, since this room knows no kind of key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use coffer_crypto::random::SeededRandom;
use coffer_sops::error::{Error, Result};
use coffer_sops::file::{Given, check_plain, open, seal};
use coffer_sops::format::{Binary, Dotenv, Format, Ini, Json};
use coffer_sops::yaml::Yaml;
use coffer_sops::{KeyService, Kind, MasterKey};
use serde_json::Value as Json_;
use zeroize::Zeroizing;

/// Gives the data key that it was made with, whatever the master key.
pub(crate) struct Known(pub(crate) Vec<u8>);

impl KeyService for Known {
    fn wrap(&self, _: &MasterKey, _: &[u8]) -> Result<String> {
        Ok("wrapped".to_owned())
    }

    fn unwrap(&self, _: &MasterKey) -> Result<Zeroizing<Vec<u8>>> {
        if self.0.is_empty() { Err(Error::generic("no identity")) } else { Ok(Zeroizing::new(self.0.clone())) }
    }
}

pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) ext: String,
    folder: PathBuf,
    pub(crate) key: Vec<u8>,
    about: Json_,
}

impl Case {
    pub(crate) fn file(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.folder.join(name)).ok()
    }

    pub(crate) fn plain(&self) -> Vec<u8> {
        self.file(&format!("plain.{}", self.ext)).unwrap()
    }

    pub(crate) fn format(&self) -> Option<Box<dyn Format>> {
        let kind = Kind::of_path(&format!("plain.{}", self.ext));
        // The recorded configurations that say how to write.
        match &*self.name {
            "json-indent2" => Some(Box::new(Json { indent: 2 })),
            "yaml-indent2" => Some(Box::new(Yaml { indent: 2 })),
            _ => format_of(kind),
        }
    }
}

fn format_of(kind: Kind) -> Option<Box<dyn Format>> {
    Some(match kind {
        Kind::Json => Box::new(Json::default()),
        Kind::Dotenv => Box::new(Dotenv),
        Kind::Ini => Box::new(Ini),
        Kind::Binary => Box::new(Binary::default()),
        Kind::Yaml => Box::new(Yaml::default()),
        Kind::Toml => return None,
    })
}

pub(crate) fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../clients/golden/sops");
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let keys: BTreeMap<String, String> = serde_json::from_str(&read("datakeys.json")).unwrap();
    let cases: Vec<Json_> = serde_json::from_str(&read("cases.json")).unwrap();
    let bytes = |hex: &String| {
        hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    };
    cases
        .into_iter()
        .map(|about| {
            let name = about["name"].as_str().unwrap().to_owned();
            Case {
                ext: about["ext"].as_str().unwrap().to_owned(),
                folder: root.join("cases").join(&name),
                key: keys.get(&name).map(bytes).unwrap_or_default(),
                name,
                about,
            }
        })
        .filter(|case| !case.key.is_empty())
        .collect()
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn what_the_reference_encrypted_decrypts_to_what_it_decrypts() {
    let random = SeededRandom::for_tests_only(1);
    let mut seen = 0;
    for case in cases() {
        let format = case.format().unwrap();
        let source = case.file(&format!("enc.{}", case.ext)).unwrap();
        let opened = open(&source, &*format, &Known(case.key.clone()), &[], &random, false)
            .unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let plain = opened.emit(None, &*format, &random).unwrap();
        assert_eq!(shown(&plain), shown(&case.file(&format!("dec.{}", case.ext)).unwrap()), "{}", case.name);
        for (kind, outcome) in case.about["out_types"].as_object().unwrap() {
            let Some(kind_of) = Kind::from_name(kind) else { continue };
            let Some(output) = (if kind_of == format.kind() { case.format() } else { format_of(kind_of) }) else { continue };
            let code = opened.emit(None, &*output, &random).map_or_else(
                |error| error.exit_code(),
                |written| {
                    assert_eq!(shown(&written), shown(&case.file(&format!("dec_as.{kind}")).unwrap()), "{} as {kind}", case.name);
                    0
                },
            );
            assert_eq!(u64::from(code), outcome["rc"].as_u64().unwrap(), "{} as {kind}", case.name);
            seen += 1;
        }
    }
    assert!(seen > 60, "{seen}");
}

#[test]
fn what_is_encrypted_here_has_the_reference_s_bytes() {
    let random = SeededRandom::for_tests_only(1);
    for case in cases() {
        let format = case.format().unwrap();
        let recorded = case.file(&format!("enc.{}", case.ext)).unwrap();
        let opened = open(&recorded, &*format, &Known(case.key.clone()), &[], &random, false).unwrap();
        let documents = format.load_plain(&case.plain()).unwrap();
        check_plain(&*format, &documents).unwrap();
        let given = Given { random: &random, now: opened.metadata.last_modified };
        // With the nonces of the recorded file every value must come out as it stands there; the MAC has a nonce of its own.
        let written = seal(documents, opened.metadata.clone(), &opened.data_key, opened.stash, None, &*format, given).unwrap();
        let again = open(&written, &*format, &Known(case.key.clone()), &[], &random, false).unwrap();
        let written = shown(&written).replace(&again.metadata.mac, &opened.metadata.mac);
        assert_eq!(written, shown(&recorded), "{}", case.name);
    }
}

#[test]
fn a_change_anywhere_in_a_value_is_found() {
    let random = SeededRandom::for_tests_only(1);
    for case in cases() {
        let format = case.format().unwrap();
        let source = shown(&case.file(&format!("enc.{}", case.ext)).unwrap());
        let code = |source: &str| {
            open(source.as_bytes(), &*format, &Known(case.key.clone()), &[], &random, false).err().map(|error| error.exit_code())
        };
        let Some(at) = source.find(",tag:") else { continue };
        let mut changed = source.clone();
        changed.replace_range(at + 5..at + 7, if &source[at + 5..at + 7] == "AA" { "BB" } else { "AA" });
        assert!(matches!(code(&changed), None | Some(25 | 51)), "{}", case.name);
        let mut key = case.key.clone();
        key[0] ^= 1;
        let error = open(source.as_bytes(), &*format, &Known(key), &[], &random, false).err().unwrap();
        assert!(matches!(error.exit_code(), 25 | 51), "{}", case.name);
        let none = open(source.as_bytes(), &*format, &Known(Vec::new()), &[], &random, false).err().unwrap();
        assert_eq!(none.exit_code(), 128, "{}", case.name);
        // A value that was planted changes the MAC, unless that is over encrypted values alone.
        if format.kind() != Kind::Ini && case.name != "yaml-mac-only-encrypted" {
            let mut opened = format.load_encrypted(source.as_bytes()).unwrap();
            opened.documents[0].push("planted_unencrypted", "x");
            let planted = format.emit(&opened.documents, Some(&opened.metadata)).unwrap();
            assert!(matches!(code(&shown(&planted)), Some(25 | 51)), "{}", case.name);
        }
    }
}

/// Bytes of recorded files are changed, taken out and doubled: everything is answered, nothing panics.
#[test]
fn mutations_of_recorded_files_are_answered() {
    let random = SeededRandom::for_tests_only(7);
    let draw = |below: usize| {
        let mut bytes = [0; 8];
        coffer_crypto::random::Random::fill(&random, &mut bytes);
        usize::try_from(u64::from_le_bytes(bytes) % below.max(1) as u64).unwrap()
    };
    let mut refused = 0;
    for case in cases() {
        let format = case.format().unwrap();
        let source = case.file(&format!("enc.{}", case.ext)).unwrap();
        for _ in 0..60 {
            let mut mutant = source.clone();
            for _ in 0..=draw(3) {
                let at = draw(mutant.len());
                match draw(4) {
                    0 => mutant[at] = b"\"{}[],:=\n#;\\\x00\xff09a_"[draw(18)],
                    1 => drop(mutant.drain(at..(at + draw(40)).min(source.len()).min(mutant.len()).max(at))),
                    2 => {
                        let part = mutant[at..(at + draw(60)).min(mutant.len())].to_vec();
                        let to = draw(mutant.len());
                        mutant.splice(to..to, part);
                    }
                    _ => mutant.truncate(at.max(1)),
                }
                if mutant.is_empty() {
                    mutant.push(b'{');
                }
            }
            let opened = open(&mutant, &*format, &Known(case.key.clone()), &[], &random, false);
            refused += usize::from(opened.is_err());
            if let Ok(opened) = opened {
                opened.emit(Some(&mutant), &*format, &random).unwrap();
            }
            let _unused = format.load_plain(&mutant).is_ok();
        }
    }
    assert!(refused > 100, "{refused}");
}
