//! The OpenAPI 3.0.2 document of `sys/internal/specs/openapi`, from the declarations.
//!
//! One path item a declared pattern, below its mount's path. Beside the standard there are the marks that tools of
//! Vault's API read: `x-vault-unauthenticated` (answers without a token), `x-vault-sudo` (needs that capability)
//! and `x-vault-createSupported` (a write asks for `create` where nothing was). Verbs of protocols without paths
//! do not stand here: their own protocols describe them.

use crate::context::MountClass;
use crate::field::{Field, FieldKind, Source};
use crate::route::{Compiled, Endpoint, OperationInfo};
use coffer_types::{Json, Object, Operation, version};
use std::collections::BTreeMap;

/// One mount in a document.
#[derive(Clone, Copy)]
pub struct Mounted<'m> {
    pub class: MountClass,
    /// The whole path with its trailing slash: `secret/`, `auth/userpass/`; empty for help on one engine.
    pub path: &'m str,
    pub kind: &'m str,
    pub routes: &'m Compiled,
}

/// A document under way.
pub struct Document {
    generic_mount_paths: bool,
    paths: BTreeMap<String, Object>,
    schemas: BTreeMap<String, Object>,
}

impl Document {
    /// With `generic_mount_paths`, the path of a mount that an operator chose is a parameter with the chosen path as
    /// its default: `/{secret_mount_path}/data/{path}`.
    pub const fn new(generic_mount_paths: bool) -> Self {
        Self { generic_mount_paths, paths: BTreeMap::new(), schemas: BTreeMap::new() }
    }

    /// Adds all routes of a mount.
    pub fn add(&mut self, mounted: &Mounted<'_>) {
        for endpoint in mounted.routes.endpoints() {
            self.add_endpoint(mounted, endpoint);
        }
    }

    /// Adds one route: what help shows.
    pub fn add_endpoint(&mut self, mounted: &Mounted<'_>, endpoint: &Endpoint) {
        if endpoint.verb {
            return;
        }
        let variable = if self.generic_mount_paths { mount_parameter(mounted) } else { None };
        let (prefix, mount_parameter) = match variable {
            Some((prefix, parameter)) => (prefix, Some(parameter)),
            None => (format!("/{}", mounted.path), None),
        };
        let path = format!("{prefix}{}", endpoint.pattern.replace("...}", "}"));
        let item = self.item(mounted, endpoint, mount_parameter);
        // Two patterns may be one path to OpenAPI, which knows no tails: the first keeps its operations.
        let whole = self.paths.entry(path).or_default();
        for (name, value) in item {
            if !whole.contains(&name) {
                whole.insert(name, value);
            }
        }
    }

    pub fn finish(self) -> Object {
        let title = Object::new()
            .with("title", "Coffer API")
            .with("description", "The HTTP API of Vault, as Coffer speaks it. All paths stand below `/v1/`.")
            .with("version", version::API_LEVEL)
            .with("license", Object::new().with("name", "Apache-2.0").with("url", "https://www.apache.org/licenses/LICENSE-2.0"));
        let schemas: Object = self.schemas.into_iter().collect();
        Object::new()
            .with("openapi", "3.0.2")
            .with("info", title)
            .with("paths", self.paths.into_iter().collect::<Object>())
            .with("components", Object::new().with("schemas", schemas))
    }

    fn item(&mut self, mounted: &Mounted<'_>, endpoint: &Endpoint, mount_parameter: Option<Object>) -> Object {
        let mut item = Object::new();
        if !endpoint.about.is_empty() {
            item.insert("description", endpoint.about);
        }
        let mut parameters: Vec<Object> =
            captured(endpoint).into_iter().map(|(name, help)| parameter(name, "path", help, "string", true)).collect();
        parameters.extend(mount_parameter);
        if !parameters.is_empty() {
            item.insert("parameters", parameters);
        }
        for (mark, set) in [
            ("x-vault-unauthenticated", endpoint.public),
            ("x-vault-sudo", endpoint.sudo),
            ("x-vault-createSupported", endpoint.asks_existence),
        ] {
            if set {
                item.insert(mark, true);
            }
        }
        let reads =
            [Operation::Read, Operation::List, Operation::Scan].into_iter().filter_map(|op| endpoint.operation(op)).next();
        if let Some(info) = reads {
            let mut get = self.operation(mounted, endpoint, "read", info);
            let query = query_parameters(endpoint);
            if !query.is_empty() {
                get.insert("parameters", query);
            }
            item.insert("get", get);
        }
        for (operation, method, word) in [(Operation::Update, "post", "write"), (Operation::Patch, "patch", "patch")] {
            if let Some(info) = endpoint.operation(operation) {
                let mut write = self.operation(mounted, endpoint, word, info);
                if let Some(body) = self.request_body(mounted, endpoint, word, info) {
                    write.insert("requestBody", body);
                }
                item.insert(method, write);
            }
        }
        if let Some(info) = endpoint.operation(Operation::Delete) {
            let delete = self.operation(mounted, endpoint, "delete", info);
            item.insert("delete", delete);
        }
        item
    }

    fn operation(&mut self, mounted: &Mounted<'_>, endpoint: &Endpoint, word: &str, info: &OperationInfo) -> Object {
        let id = operation_id(mounted, endpoint, word);
        let mut operation = Object::new();
        if !info.about.is_empty() {
            operation.insert("summary", info.about);
        }
        let mut response = Object::new().with("description", if word == "delete" { "empty body" } else { "OK" });
        if !info.response.is_empty() {
            response.insert("content", self.content(format!("{}Response", camel(&id)), &info.response, &[]));
        }
        let status = if word == "delete" && info.response.is_empty() { "204" } else { "200" };
        operation.with("operationId", id).with("tags", vec![tag(mounted)]).with("responses", Object::new().with(status, response))
    }

    /// The body of a write: the fields of every operation on this path, as all of them may stand in it.
    fn request_body(&mut self, mounted: &Mounted<'_>, endpoint: &Endpoint, word: &str, info: &OperationInfo) -> Option<Object> {
        let mut fields: BTreeMap<&str, &Field> = BTreeMap::new();
        for field in endpoint.operations.values().flat_map(|i| &i.fields).chain(&info.fields) {
            if matches!(field.source, Source::Body | Source::Query) {
                fields.insert(field.name, field);
            }
        }
        let free = info.fields.iter().any(|f| f.source == Source::Rest);
        if fields.is_empty() && !free {
            return None;
        }
        let required: Vec<&str> = info.fields.iter().filter(|f| f.required && f.source == Source::Body).map(|f| f.name).collect();
        let fields: Vec<Field> = fields.into_values().cloned().collect();
        let content = if free {
            let any = Object::new().with("type", "object").with("additionalProperties", true);
            Object::new().with("application/json", Object::new().with("schema", any))
        } else {
            self.content(format!("{}Request", camel(&operation_id(mounted, endpoint, word))), &fields, &required)
        };
        Some(Object::new().with("required", !required.is_empty()).with("content", content))
    }

    fn content(&mut self, name: String, fields: &[Field], required: &[&str]) -> Object {
        let properties: Object = fields.iter().map(|field| (field.name, schema(field))).collect();
        let mut schema = Object::new().with("type", "object").with("properties", properties);
        if !required.is_empty() {
            schema.insert("required", required.to_vec());
        }
        let reference = Object::new().with("$ref", format!("#/components/schemas/{name}"));
        self.schemas.insert(name, schema);
        Object::new().with("application/json", Object::new().with("schema", reference))
    }
}

/// The prefix with its variable, and the variable; `None` for mounts that stand where they stand.
fn mount_parameter(mounted: &Mounted<'_>) -> Option<(String, Object)> {
    if matches!(mounted.kind, "system" | "sys" | "identity" | "cubbyhole" | "token" | "ns_cubbyhole" | "ns_system") {
        return None;
    }
    let (above, own) = match mounted.class {
        MountClass::Engine => ("/", mounted.path),
        MountClass::Auth => ("/auth/", mounted.path.strip_prefix("auth/")?),
    };
    let own = own.trim_end_matches('/');
    let name: String = own.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let name = format!("{name}_mount_path");
    let parameter = Object::new()
        .with("name", name.as_str())
        .with("description", "Path that the engine is mounted at")
        .with("in", "path")
        .with("schema", Object::new().with("type", "string").with("default", own))
        .with("required", true);
    Some((format!("{above}{{{name}}}/"), parameter))
}

/// The variables of a pattern with what any operation says of them.
fn captured(endpoint: &Endpoint) -> Vec<(&'static str, &'static str)> {
    let names = endpoint.pattern.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}'));
    names
        .map(|name| {
            let name = name.trim_end_matches("...");
            let known = endpoint.operations.values().flat_map(|i| &i.fields).find(|f| f.name == name && f.source == Source::Path);
            (name, known.map_or("", |f| f.help))
        })
        .collect()
}

fn query_parameters(endpoint: &Endpoint) -> Vec<Object> {
    let mut parameters = Vec::new();
    let only = !endpoint.has(Operation::Read);
    for (operation, name, help) in
        [(Operation::List, "list", "Return a list if `true`"), (Operation::Scan, "scan", "Return a recursive list if `true`")]
    {
        if endpoint.has(operation) {
            let must = only && operation == Operation::List && !endpoint.has(Operation::Scan);
            let help = if must { "Must be set to `true`" } else { help };
            parameters.push(parameter(name, "query", help, "string", must));
        }
    }
    let mut seen: Vec<&str> = Vec::new();
    for operation in [Operation::Read, Operation::List, Operation::Scan] {
        for field in endpoint.operation(operation).iter().flat_map(|i| &i.fields).filter(|f| f.source == Source::Query) {
            if !seen.contains(&field.name) {
                seen.push(field.name);
                parameters.push(parameter(field.name, "query", field.help, field.kind.openapi().0, false));
            }
        }
    }
    parameters
}

fn parameter(name: &str, place: &str, help: &str, kind: &str, required: bool) -> Object {
    let mut parameter = Object::new().with("name", name).with("in", place);
    if !help.is_empty() {
        parameter.insert("description", help);
    }
    parameter.insert("schema", Object::new().with("type", kind));
    if required {
        parameter.insert("required", true);
    }
    parameter
}

fn schema(field: &Field) -> Object {
    let (kind, format, items) = field.kind.openapi();
    let mut schema = Object::new().with("type", kind);
    if let Some(format) = format {
        schema.insert("format", format);
    }
    if let Some(items) = items {
        schema.insert("items", Object::new().with("type", items));
    }
    if !field.help.is_empty() {
        schema.insert("description", field.help);
    }
    schema
}

fn tag(mounted: &Mounted<'_>) -> &'static str {
    match (mounted.class, mounted.kind) {
        (MountClass::Auth, _) => "auth",
        (_, "system" | "sys") => "system",
        (_, "identity") => "identity",
        _ => "secrets",
    }
}

/// `kv-read-data-path`.
fn operation_id(mounted: &Mounted<'_>, endpoint: &Endpoint, word: &str) -> String {
    let mut id = format!("{}-{word}", mounted.kind);
    for part in endpoint.pattern.split(|c: char| !c.is_ascii_alphanumeric()).filter(|p| !p.is_empty()) {
        id.push('-');
        id.push_str(part);
    }
    id
}

fn camel(id: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
    };
    id.split('-').map(capital).collect()
}

impl FieldKind {
    /// (type, format, type of items) in OpenAPI's words.
    pub const fn openapi(self) -> (&'static str, Option<&'static str>, Option<&'static str>) {
        match self {
            Self::String => ("string", None, None),
            Self::Integer => ("integer", None, None),
            Self::Boolean => ("boolean", None, None),
            Self::Seconds => ("integer", Some("seconds"), None),
            Self::Strings => ("array", None, Some("string")),
            Self::Integers => ("array", None, Some("integer")),
            Self::Map => ("object", Some("map"), None),
            Self::Any => ("object", Some("any"), None),
        }
    }
}

impl From<Document> for Json {
    fn from(document: Document) -> Self {
        Self::Object(document.finish())
    }
}
