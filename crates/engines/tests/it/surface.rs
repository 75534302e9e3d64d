//! The OpenAPI document against the recorded surface of the reference (clients/golden/vault-surface.jsonl): for every
//! path of the engines that are here, each method, each field with its type, each mark.

use coffer_engine::declare::Declared;
use coffer_engine::openapi::{Document, Mounted};
use coffer_engine::route::Factory;
use coffer_engine::testing::Bench;
use coffer_engine::{Engine, MountClass, help};
use coffer_engines::cubbyhole::Cubbyhole;
use coffer_engines::kv::{V1, V2};
use coffer_types::json::{Limits, parse};
use coffer_types::{Json, Object};

const SURFACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../clients/golden/vault-surface.jsonl");

#[test]
fn every_recorded_path_is_declared() {
    assert_eq!(compare::<V2>("secret/"), 15);
    assert_eq!(compare::<V1>("kv1/"), 3);
    assert_eq!(compare::<Cubbyhole>("cubbyhole/"), 3);
}

/// How many recorded operations of this mount were compared.
fn compare<E: Engine>(mount: &str) -> usize {
    let document = document::<E>(mount, false);
    let mut rows = 0;
    for line in std::fs::read_to_string(SURFACE).unwrap().lines() {
        let row = parse(line.as_bytes(), &Limits::NONE).unwrap();
        let path = row.get("path").and_then(Json::as_str).unwrap();
        if !path.starts_with(&format!("/{mount}")) {
            continue;
        }
        rows += 1;
        let method = row.get("method").and_then(Json::as_str).unwrap().to_lowercase();
        let at = format!("{method} {path}");
        let item = document.get("paths").unwrap().get(path).unwrap_or_else(|| panic!("{at}"));
        let operation = item.get(&method).unwrap_or_else(|| panic!("{at}"));
        let flag = |of: &Json, name: &str| of.get(name).and_then(Json::as_bool).unwrap_or_default();
        assert_eq!(flag(&row, "create"), flag(item, "x-vault-createSupported"), "{at}");
        assert_eq!(flag(&row, "sudo"), flag(item, "x-vault-sudo"), "{at}");
        assert_eq!(flag(&row, "unauthenticated"), flag(item, "x-vault-unauthenticated"), "{at}");
        let named = |place: &str, of: &Json| -> Vec<String> {
            let parameters = of.get("parameters").and_then(Json::as_array).unwrap_or_default();
            let here = parameters.iter().filter(|p| p.get("in").and_then(Json::as_str) == Some(place));
            here.map(|p| p.get("name").and_then(Json::as_str).unwrap().to_owned()).collect()
        };
        assert_eq!(named("path", item), texts(&row, "path_fields"), "{at}");
        let query = named("query", operation);
        for name in texts(&row, "query") {
            assert!(query.contains(&name), "{at}?{name}");
        }
        for (name, kind) in row.get("fields").and_then(Json::as_object).unwrap().iter() {
            let schema = body_field(&document, operation, name).unwrap_or_else(|| panic!("{at}: {name}"));
            let shown = schema.get("format").or_else(|| schema.get("type")).and_then(Json::as_str);
            assert_eq!(shown, kind.as_str(), "{at}: {name}");
        }
        assert!(operation.get("summary").and_then(Json::as_str).is_some_and(|s| !s.is_empty()), "{at} has no help");
    }
    rows
}

fn document<E: Engine>(mount: &str, generic: bool) -> Object {
    let declared = Declared::<E>::new().unwrap();
    let mut document = Document::new(generic);
    document.add(&Mounted { class: MountClass::Engine, path: mount, kind: E::KIND, routes: declared.routes() });
    document.finish()
}

fn texts(row: &Json, name: &str) -> Vec<String> {
    row.get(name).and_then(Json::as_array).unwrap().iter().map(|t| t.as_str().unwrap().to_owned()).collect()
}

fn body_field<'d>(document: &'d Object, operation: &Json, name: &str) -> Option<&'d Json> {
    let content = operation.at("requestBody/content")?.get("application/json")?;
    let reference = content.get("schema")?.get("$ref").and_then(Json::as_str)?;
    let schema = reference.strip_prefix("#/components/schemas/")?;
    document.get("components")?.get("schemas")?.get(schema)?.get("properties")?.get(name)
}

#[test]
fn the_mount_can_be_a_parameter() {
    let document = document::<V2>("team/kv-2/", true);
    let item = document.get("paths").unwrap().get("/{team_kv_2_mount_path}/data/{path}").unwrap();
    let parameter = &item.get("parameters").and_then(Json::as_array).unwrap()[1];
    assert_eq!(parameter.get("name").and_then(Json::as_str), Some("team_kv_2_mount_path"));
    assert_eq!(parameter.at("schema/default").and_then(Json::as_str), Some("team/kv-2"));
    // Mounts that stand where they stand have none.
    let document = self::document::<Cubbyhole>("cubbyhole/", true);
    assert!(document.get("paths").unwrap().get("/cubbyhole/{path}").is_some());
}

#[test]
fn helps() {
    let bench = Bench::new::<V2>("secret/", &[]);
    let help = |path: &str| {
        let answer = help::answer(&bench.mount, bench.engine.routes(), path);
        assert!(answer.bare && answer.data.as_ref().unwrap().get("see_also").unwrap().is_null());
        answer.data.unwrap()
    };
    let text = |data: &Object| data.get("help").and_then(Json::as_str).unwrap().to_owned();
    let root = help("");
    for path in ["config", "data/{path...}", "metadata/{path...}", "subkeys/{path...}"] {
        assert!(text(&root).contains(&format!("\n    {path}\n")), "{path}");
    }
    assert_eq!(text(&help("not/here")), text(&root));
    let data = help("data/app");
    assert!(text(&data).starts_with("Request:        data/app\nMatching Route: data/{path...}\n"));
    for part in ["version (int)", "data (map)", "options (map)", "patch: Write a new version"] {
        assert!(text(&data).contains(part), "{part} in {}", text(&data));
    }
    let paths = data.get("openapi").unwrap().get("paths").and_then(Json::as_object).unwrap();
    assert_eq!(paths.names().collect::<Vec<_>>(), ["/data/{path}"]);
}
