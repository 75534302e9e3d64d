//! Which route answers a path.

use coffer_engine::declare::Declared;
use coffer_engine::route::Factory;
use coffer_engine::{Ctx, Declare, Engine, Miss, Mount, NoInput, Reply};
use coffer_types::{Operation, Result};
use proptest::prelude::*;

struct Routes;

async fn nothing(_: Ctx<Routes>, _: NoInput) -> Result<Reply<()>> {
    Ok(Reply::empty())
}

async fn never(_: Ctx<Routes>, _: NoInput) -> Result<bool> {
    Ok(false)
}

impl Engine for Routes {
    const KIND: &'static str = "routes";
    fn open(_: &Mount) -> Result<Self> {
        Ok(Self)
    }
    fn declare(d: &mut Declare<Self>) {
        d.at("").read(nothing);
        d.at("cert/ca").read(nothing);
        d.at("cert/{serial}").read(nothing).write(nothing).exists(never);
        d.at("cert/{serial}/raw").read(nothing);
        d.at("cert/ca/chain").read(nothing);
        d.at("certs").list(nothing);
        d.at("data/{path...}").read(nothing).write(nothing).exists(never).list(nothing).scan(nothing);
        d.at("data/fixed").read(nothing);
        d.at("keys/{name}/{version}").read(nothing);
        d.at("keys/{rest...}").delete(nothing);
        d.at("data/{path...}/chain").read(nothing).delete(nothing);
        d.at("keys/{rest...}/raw/x").patch(nothing);
        d.verb("GetThing").read(nothing);
    }
}

/// The pattern that answers, with what its variables hold.
fn find(operation: Operation, path: &str) -> std::result::Result<(String, Vec<String>), Miss> {
    let declared = Declared::<Routes>::new().unwrap();
    let found = declared.routes().find(path, operation)?;
    let captures = found.captures.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Ok((found.endpoint.pattern.to_owned(), captures))
}

#[track_caller]
fn finds(operation: Operation, path: &str, pattern: &str, captures: &[&str]) {
    assert_eq!(find(operation, path), Ok((pattern.to_owned(), captures.iter().map(|c| (*c).to_owned()).collect())), "{path}");
}

#[test]
fn literal_beats_variable_beats_tail() {
    finds(Operation::Read, "cert/ca", "cert/ca", &[]);
    finds(Operation::Read, "cert/01:ab", "cert/{serial}", &["serial=01:ab"]);
    finds(Operation::Read, "data/fixed", "data/fixed", &[]);
    finds(Operation::Read, "data/fixed/more", "data/{path...}", &["path=fixed/more"]);
    finds(Operation::Read, "keys/a/1", "keys/{name}/{version}", &["name=a", "version=1"]);
    finds(Operation::Read, "", "", &[]);
}

#[test]
fn goes_back_where_a_literal_leads_nowhere() {
    finds(Operation::Read, "cert/ca/raw", "cert/{serial}/raw", &["serial=ca"]);
    finds(Operation::Read, "cert/ca/chain", "cert/ca/chain", &[]);
    // The literal cannot be written; the variable can.
    finds(Operation::Update, "cert/ca", "cert/{serial}", &["serial=ca"]);
    finds(Operation::Update, "data/fixed", "data/{path...}", &["path=fixed"]);
    finds(Operation::Delete, "keys/a/1", "keys/{rest...}", &["rest=a/1"]);
    finds(Operation::Delete, "keys/a/1/2", "keys/{rest...}", &["rest=a/1/2"]);
}

#[test]
fn a_tail_with_an_ending_beats_one_without() {
    finds(Operation::Read, "data/a/b/chain", "data/{path...}/chain", &["path=a/b"]);
    finds(Operation::Read, "data/chain/chain", "data/{path...}/chain", &["path=chain"]);
    finds(Operation::Read, "data/chain", "data/{path...}", &["path=chain"]);
    finds(Operation::Update, "data/a/chain", "data/{path...}", &["path=a/chain"]);
    finds(Operation::Patch, "keys/a/b/raw/x", "keys/{rest...}/raw/x", &["rest=a/b"]);
    assert_eq!(find(Operation::Patch, "keys/raw/x"), Err(Miss::NoOperation));
}

#[test]
fn tells_a_missing_path_from_a_missing_operation() {
    for path in ["nothing", "cert", "cert/a/b/c", "certs/x", "datas/x", "data"] {
        assert_eq!(find(Operation::Read, path), Err(Miss::NoPath), "{path}");
    }
    for (operation, path) in [
        (Operation::Delete, "cert/ca"),
        (Operation::Read, "certs"),
        (Operation::Patch, "data/x"),
        (Operation::List, "cert/ca"),
        (Operation::Read, "keys/a"),
        (Operation::Update, ""),
    ] {
        assert_eq!(find(operation, path), Err(Miss::NoOperation), "{operation} {path}");
    }
}

#[test]
fn empty_segments_are_nobodys_value() {
    for path in ["cert/", "/", "//", "cert//", "cert//raw", "keys//1", "cert/ca/"] {
        let found = find(Operation::Read, path);
        assert!(found.is_err(), "{path}: {found:?}");
    }
    // A tail takes a trailing slash as it stands: its engine decides.
    finds(Operation::Update, "data/x/", "data/{path...}", &["path=x/"]);
    finds(Operation::Read, "data/", "data/{path...}", &["path="]);
}

#[test]
fn lists_come_with_and_without_the_slash() {
    for operation in [Operation::List, Operation::Scan] {
        for path in ["data", "data/"] {
            finds(operation, path, "data/{path...}", &["path="]);
        }
        finds(operation, "data/a/b/", "data/{path...}", &["path=a/b"]);
    }
    for path in ["certs", "certs/"] {
        finds(Operation::List, path, "certs", &[]);
    }
    finds(Operation::Help, "data", "data/{path...}", &["path="]);
    finds(Operation::Help, "certs", "certs", &[]);
}

#[test]
fn create_and_update_are_one_route() {
    finds(Operation::Create, "data/x", "data/{path...}", &["path=x"]);
    finds(Operation::Create, "cert/x", "cert/{serial}", &["serial=x"]);
}

#[test]
fn verbs_are_no_paths() {
    let declared = Declared::<Routes>::new().unwrap();
    assert!(declared.routes().find_verb("GetThing").is_some());
    assert!(declared.routes().find_verb("getthing").is_none());
    assert!(declared.routes().find_verb("cert/ca").is_none());
    assert_eq!(find(Operation::Read, "GetThing"), Err(Miss::NoPath));
}

/// The rule, said once more without a trie: of all patterns that match and have the operation, the one whose segments,
/// from the left, are literal before variable before tail, a tail with an ending before one without.
fn by_rule(operation: Operation, path: &str) -> Option<String> {
    let declared = Declared::<Routes>::new().unwrap();
    let segments: Vec<&str> = if path.is_empty() { Vec::new() } else { path.split('/').collect() };
    let rank = |pattern: &str| -> Option<Vec<u8>> {
        let wanted: Vec<&str> = if pattern.is_empty() { Vec::new() } else { pattern.split('/').collect() };
        let mut ranks = Vec::new();
        for (n, want) in wanted.iter().enumerate() {
            if want.ends_with("...}") && n + 1 == wanted.len() {
                ranks.push(3);
                return (segments.len() > n).then_some(ranks);
            }
            if want.ends_with("...}") {
                // The rest of the pattern is the path's ending, with at least one segment before it.
                let ending = &wanted[n + 1..];
                ranks.push(2);
                let inner = segments.len().checked_sub(n + ending.len())?;
                let some = inner > 0 && segments[n..n + inner] != [""];
                return (some && segments.ends_with(ending)).then_some(ranks);
            }
            let have = segments.get(n)?;
            match want.starts_with('{') {
                true if have.is_empty() => return None,
                true => ranks.push(1),
                false if want == have => ranks.push(0),
                false => return None,
            }
        }
        (segments.len() == wanted.len()).then_some(ranks)
    };
    let endpoints = declared.routes().endpoints().iter().filter(|e| !e.verb && e.has(operation));
    endpoints.filter_map(|e| Some((rank(e.pattern)?, e.pattern))).min().map(|(_, pattern)| pattern.to_owned())
}

proptest! {
    #[test]
    fn the_trie_keeps_the_rule(
        path in "(cert|ca|data|fixed|keys|x|raw|chain|certs|)(/(cert|ca|data|fixed|raw|chain|x|)){0,4}",
        operation in prop::sample::select(vec![Operation::Read, Operation::Update, Operation::Patch, Operation::Delete]),
    ) {
        prop_assert_eq!(find(operation, &path).ok().map(|(pattern, _)| pattern), by_rule(operation, &path));
    }
}
