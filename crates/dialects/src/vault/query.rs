//! Query strings and form bodies: `application/x-www-form-urlencoded` (<https://url.spec.whatwg.org/#urlencoded-parsing>).

use super::path::escape;
use super::refusal::Refusal;
use std::collections::BTreeMap;

/// What a query says besides fields.
#[derive(Default, Debug)]
pub(super) struct Query {
    pub(super) list: bool,
    pub(super) scan: bool,
    pub(super) help: bool,
    pub(super) fields: BTreeMap<Box<str>, Box<str>>,
}

/// Reads a query. A parameter that stands twice is refused: which of the two was meant is anyone's guess.
pub(super) fn parse(text: &str) -> Result<Query, Refusal> {
    let mut query = Query::default();
    pairs(text.as_bytes(), |name, value| {
        match name.as_str() {
            "list" => query.list = flag("list", &value)?,
            "scan" => query.scan = flag("scan", &value)?,
            "help" => query.help = !value.is_empty(),
            _ => {
                if query.fields.insert(name.into_boxed_str(), value.into_boxed_str()).is_some() {
                    return Err(Refusal::bad_request("a query parameter stands twice"));
                }
            }
        }
        Ok(())
    })?;
    if query.list && query.scan {
        return Err(Refusal::bad_request("a request either lists or scans"));
    }
    Ok(query)
}

/// Go's `strconv.ParseBool`, absence if empty.
fn flag(name: &str, value: &str) -> Result<bool, Refusal> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "" | "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(Refusal::bad_request(format!("query parameter {name:?}: true or false expected"))),
    }
}

/// Calls `take` with each name and value.
pub(super) fn pairs(text: &[u8], mut take: impl FnMut(String, String) -> Result<(), Refusal>) -> Result<(), Refusal> {
    for pair in text.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
        let split = pair.iter().position(|b| *b == b'=');
        let (name, value) = split.map_or((pair, &b""[..]), |at| (&pair[..at], &pair[at + 1..]));
        take(decode(name)?, decode(value)?)?;
    }
    Ok(())
}

fn decode(text: &[u8]) -> Result<String, Refusal> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'+' => out.push(b' '),
            b'%' => {
                let byte =
                    escape(&text[at..]).ok_or_else(|| Refusal::bad_request("a malformed percent escape in the query or form"))?;
                out.push(byte);
                at += 2;
            }
            byte => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8(out).map_err(|_| Refusal::bad_request("the query or form is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_fields_and_flags() {
        let query = parse("version=1&after=a%2Fb+c&list=TRUE&empty&x=1=2&").unwrap();
        assert!(query.list && !query.scan && !query.help);
        let fields: Vec<(&str, &str)> = query.fields.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(fields, [("after", "a/b c"), ("empty", ""), ("version", "1"), ("x", "1=2")]);
        assert!(parse("help=1").unwrap().help && parse("help=0").unwrap().help && !parse("help=").unwrap().help);
        assert!(!parse("list=false").unwrap().list && !parse("list").unwrap().list && parse("scan=1").unwrap().scan);
    }

    #[test]
    fn refuses_without_echo() {
        for text in ["list=canary", "scan=2", "a=1&a=2", "a=1&%61=2", "a=%zz", "%=1", "a=%e", "a=%ff", "list=1&scan=1"] {
            match parse(text) {
                Err(Refusal::Error { status, message }) => {
                    assert_eq!(status, 400, "{text}");
                    assert!(!message.contains("canary"), "{message}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[a=&%+2fé]{0,24}") {
            if let Ok(query) = parse(&text) {
                prop_assert!(!(query.list && query.scan));
            }
        }
    }
}
