//! `audit` stanzas: audit devices that the configuration declares.

use super::setting::{Reading, Setting, labelled, stanza};
use super::tree::{At, Node, Value};
use std::collections::BTreeMap;

/// One declared audit device.
#[derive(Debug)]
pub struct Audit {
    /// Where the stanza stands.
    pub at: At,
    /// `file`, `socket` or `syslog`.
    pub kind: String,
    /// The device's path below `audit/`, with its trailing slash.
    pub path: String,
    pub keys: AuditKeys,
}

stanza! {
    /// An audit device's keys.
    pub struct AuditKeys in "audit" {
        /// What the device is for.
        description: String = "";
        /// The device's options, as `audit enable` takes them: `file_path`, `address`, `log_raw`, `mode`, …
        options: BTreeMap<String, String> = "";
        /// The kind of device, where the stanza's labels don't say it.
        kind / type: Option<String> = "";
        /// The device's path, where the stanza's labels don't say it.
        path: Option<String> = "";
    }
    ignored {
        /// Whether the device is kept from other clusters.
        local = "every device is local";
    }
}

/// Kinds that Coffer can open.
const KINDS: [&str; 3] = ["file", "socket", "syslog"];

impl Audit {
    /// A file device that no stanza declares.
    pub fn file(path: &str, file: &std::path::Path) -> Self {
        let options = BTreeMap::from([("file_path".to_owned(), file.display().to_string())]);
        let at = At { file: "built in".into(), line: 0 };
        Self { at, kind: "file".to_owned(), path: path.to_owned(), keys: AuditKeys { options, ..AuditKeys::default() } }
    }

    /// The option `name`.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.keys.options.get(name).map(String::as_str)
    }
}

impl Setting for Vec<Audit> {
    const KIND: &'static str = "blocks";
    const ADDS_UP: bool = true;

    /// `audit "file" "name" { … }`, `audit "file" { … }` (the path is the kind then), or, as JSON may write it, a list of blocks
    /// with the keys `type` and `path`.
    fn read(key: &str, node: &Node, cx: &mut Reading) -> Option<Self> {
        let mut devices = Self::new();
        let mut failed = false;
        for stanza in stanzas(key, node, cx)? {
            match device(key, &stanza, cx) {
                Some(device) if devices.iter().any(|other: &Audit| other.path == device.path) => {
                    cx.error(&device.at, format!("an audit device at {} is declared already", device.path));
                    failed = true;
                }
                Some(device) => devices.push(device),
                None => failed = true,
            }
        }
        (!failed).then_some(devices)
    }

    fn unset(_: &str, _: &str, _: &mut Reading) -> Option<Self> {
        Some(Self::new())
    }

    /// A device of a later stanza or file takes the place of one with the same path.
    fn merge(mut self, later: Self) -> Self {
        self.retain(|device| later.iter().all(|other| other.path != device.path));
        self.extend(later);
        self
    }
}

/// One stanza before its keys are read.
struct Stanza<'a> {
    at: &'a At,
    labels: Vec<&'a str>,
    body: &'a Node,
}

fn stanzas<'a>(key: &str, node: &'a Node, cx: &mut Reading) -> Option<Vec<Stanza<'a>>> {
    if let Value::List(items) = &node.value {
        let found: Option<Vec<Vec<Stanza<'a>>>> = items.iter().map(|item| stanzas(key, item, cx)).collect();
        return Some(found?.into_iter().flatten().collect());
    }
    let keyed =
        |node: &Node| matches!(&node.value, Value::Object(entries) if entries.iter().any(|entry| AuditKeys::knows(&entry.name)));
    if keyed(node) {
        return Some(vec![Stanza { at: &node.at, labels: Vec::new(), body: node }]);
    }
    let mut found = Vec::new();
    for (kind, block) in labelled(key, node, cx)? {
        let empty = matches!(&block.value, Value::Object(entries) if entries.is_empty());
        if empty || keyed(block) {
            found.push(Stanza { at: &kind.at, labels: vec![&kind.name], body: block });
            continue;
        }
        for (path, body) in labelled(key, block, cx)? {
            found.push(Stanza { at: &kind.at, labels: vec![&kind.name, &path.name], body });
        }
    }
    Some(found)
}

fn device(key: &str, stanza: &Stanza<'_>, cx: &mut Reading) -> Option<Audit> {
    let keys = AuditKeys::read(key, stanza.body, cx)?;
    let Some(kind) = stanza.labels.first().map(|label| (*label).to_owned()).or_else(|| keys.kind.clone()) else {
        cx.error(stanza.at, "audit must name its kind: audit \"file\" \"name\" { ... }");
        return None;
    };
    if !KINDS.contains(&kind.as_str()) {
        let why = if kind == "http" { "is not built yet" } else { "is unknown" };
        cx.error(stanza.at, format!("the kind of audit device {kind:?} {why}; there are {}", KINDS.join(", ")));
        return None;
    }
    if kind == "file" && !["file_path", "path"].iter().any(|option| keys.options.contains_key(*option)) {
        cx.error(stanza.at, "audit \"file\" needs the option file_path");
        return None;
    }
    let path =
        stanza.labels.get(1).map(|label| (*label).to_owned()).or_else(|| keys.path.clone()).unwrap_or_else(|| kind.clone());
    let path = format!("{}/", path.trim_matches('/'));
    if path == "/" {
        cx.error(stanza.at, "audit: the device's path is empty");
        return None;
    }
    Some(Audit { at: stanza.at.clone(), kind, path, keys })
}
