//! Recorded texts with what the reference's loader and emitter make of them, and texts of any kind.

use proptest::prelude::*;
use serde_json::Value as Json;

use super::{emit, load};
use crate::error::Fault;

/// One case a line: `in`, `indent` unless it is 4, and `out`, or `refused`.
const RECORDED: &str = include_str!("../../tests/data/yaml-reference.jsonl");

fn recorded() -> impl Iterator<Item = Json> {
    RECORDED.lines().map(|line| serde_json::from_str(line).unwrap())
}

#[test]
fn texts_are_read_and_written_as_the_reference_does() {
    let mut read = 0;
    let mut refused = 0;
    for case in recorded() {
        let source = case["in"].as_str().unwrap();
        let indent = usize::try_from(case["indent"].as_u64().unwrap_or(4)).unwrap();
        match (load(source.as_bytes()), case["out"].as_str()) {
            (Ok(documents), Some(out)) => {
                let own = emit(&documents, indent);
                assert_eq!(std::str::from_utf8(&own).unwrap(), out, "{source:?}");
                read += 1;
            }
            (Err(error), None) => {
                assert_eq!(error.fault, Fault::Reading, "{source:?}");
                refused += 1;
            }
            (Ok(_), None) => panic!("the reference refuses {source:?}"),
            (Err(error), Some(_)) => panic!("{error}: {source:?}"),
        }
    }
    assert!(read > 200 && refused > 50, "{read} read, {refused} refused");
}

#[test]
fn refusals_name_line_and_column() {
    for (source, line, column) in [
        ("a: 1\nb: \"x\n", 2, 4),
        ("a: 1\na: 2\n", 2, 1),
        ("- a\n", 1, 1),
        ("a\n", 1, 1),
        ("a: *nowhere\n", 1, 4),
        ("a: &a\n  b: *a\n", 2, 6),
        ("a: !!int x\n", 1, 4),
        ("a: !!binary '*'\n", 1, 4),
        ("a: {b: 1\nc: 2\n", 2, 2),
        ("a: 1\n b: 2\n", 2, 3),
        ("a: @x\n", 1, 4),
        ("<<: 1\n", 1, 5),
        ("? [x]\n: 1\n", 1, 3),
        ("%YAML 1.2\n---\na: 1\n", 1, 1),
    ] {
        let error = load(source.as_bytes()).unwrap_err();
        assert_eq!(error.line, Some(line), "{source:?}: {error}");
        assert!(error.message.starts_with(&format!("column {column}:")), "{source:?}: {error}");
    }
}

#[test]
fn a_text_of_nothing_has_no_document_and_comments_alone_are_refused() {
    assert!(load(b"").unwrap().is_empty());
    for source in ["\n", "# only\n", "\u{feff}"] {
        assert_eq!(load(source.as_bytes()).unwrap_err().fault, Fault::Reading, "{source:?}");
    }
}

#[test]
fn hostile_texts_end_soon() {
    let deep = "[".repeat(100_000);
    assert!(load(deep.as_bytes()).is_err());
    let deep: String = (0..5_000).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    assert!(load(deep.as_bytes()).is_err());
    assert!(load("- ".repeat(50_000).as_bytes()).is_err());
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let alias = format!("*a{}, ", level - 1).repeat(9);
        laughs.push_str(&format!("a{level}: &a{level} [{alias}]\n"));
    }
    assert!(load(laughs.as_bytes()).is_err());
    let second = format!("k: 1\n---\n{laughs}");
    assert!(load(second.as_bytes()).is_err());
    assert!(load(b"k: 1\n---\na: &a\n  b: *a\n").is_err());
    let many: String = (0..20_000).map(|n| format!("k{n}: v # c\n")).collect();
    assert_eq!(load(many.as_bytes()).unwrap()[0].items.len(), 40_000);
    let keys = format!("{{{}}}", "a, ".repeat(100_000));
    assert!(load(keys.as_bytes()).is_err());
    assert!(load(format!("a: '{}", "x ".repeat(200_000)).as_bytes()).is_err());
    assert!(load(format!("a: 1 {}\n", "#\n".repeat(100_000)).as_bytes()).is_ok());
}

#[test]
fn other_encodings_are_read() {
    let utf16: Vec<u8> = [0xfeff].into_iter().chain("a: é\n".encode_utf16()).flat_map(u16::to_le_bytes).collect();
    assert_eq!(load(&utf16).unwrap(), load("a: é\n".as_bytes()).unwrap());
    assert_eq!(load(b"\xef\xbb\xbfa: 1\n").unwrap(), load(b"a: 1\n").unwrap());
}

proptest! {
    #[test]
    fn no_text_panics(source in "[-a:#?|>&*!%{},\\[\\]'\" \t\n\\\\0-9é~.<]{0,60}") {
        if let Ok(documents) = load(source.as_bytes()) {
            emit(&documents, 4);
        }
    }

    #[test]
    fn changed_texts_do_not_panic(case in 0usize..400, at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let case = recorded().nth(case).unwrap_or_default();
        let mut source = case["in"].as_str().unwrap_or("a: 1").as_bytes().to_vec();
        if !source.is_empty() {
            let at = at.index(source.len());
            if cut { source.truncate(at) } else { source[at] = byte }
        }
        if let Ok(documents) = load(&source) {
            emit(&documents, 2);
        }
    }

    #[test]
    fn texts_come_back(key in "[ -~é🔐\u{85}\u{2028}\u{feff}]{1,20}", value in "[ -~\n\t\r\u{1}é🔐\u{85}\u{2028}\u{feff}]{0,60}") {
        prop_assume!(key != "<<");
        let mut inner = crate::tree::Branch::new();
        inner.push(key, value.as_str());
        let list = crate::tree::Value::List(vec![
            crate::tree::Element::Value(value.as_str().into(), crate::tree::Line(0)),
            crate::tree::Element::Value(inner.clone().into(), crate::tree::Line(0)),
        ]);
        let mut branch = crate::tree::Branch::new();
        branch.push("list", list);
        branch.push("map", inner);
        branch.push("text", value.as_str());
        for indent in [2, 4, 9] {
            let text = emit(std::slice::from_ref(&branch), indent);
            let back = load(&text);
            prop_assert!(back.as_deref() == Ok(std::slice::from_ref(&branch)), "{}", String::from_utf8_lossy(&text));
        }
    }
}
