//! Declared keys, and how their values are read.
//!
//! A stanza is declared once with [`stanza!`]: from that come its struct, its parser, its errors and suggestions, and its part of
//! `docs/configuration.md`.

use super::suggest::nearest;
use super::tree::{At, Entry, Node, Value};
use coffer_types::{Json, Secret, Span, lenient};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// One key of a stanza, for the documentation and for messages.
pub struct Key {
    /// As it is written in a file.
    pub name: &'static str,
    /// An older name for the same.
    pub alias: Option<&'static str>,
    /// The kind of its value, in a word or two.
    pub kind: &'static str,
    /// As it would be written; empty where the key is unset by default.
    pub default: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Whether Coffer does it.
    pub status: Status,
}

/// Whether a known key does something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    Built,
    /// Setting it is an error.
    Later,
    /// Setting it changes nothing, and the note says why that is no harm.
    Ignored(&'static str),
}

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Worth knowing.
    Note,
    /// Probably a mistake; the server starts.
    Warning,
    /// The server does not start.
    Error,
}

/// Something to tell the operator about the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    pub level: Level,
    pub at: At,
    /// Without the place. Never holds a value that could be a secret.
    pub text: String,
}

/// Collects what is found on the way through the files.
#[derive(Default)]
pub(crate) struct Reading {
    pub(crate) findings: Vec<Finding>,
}

impl Reading {
    pub(crate) fn error(&mut self, at: &At, text: impl Into<String>) {
        self.tell(Level::Error, at, text.into());
    }

    pub(crate) fn warn(&mut self, at: &At, text: impl Into<String>) {
        self.tell(Level::Warning, at, text.into());
    }

    pub(crate) fn note(&mut self, at: &At, text: impl Into<String>) {
        self.tell(Level::Note, at, text.into());
    }

    fn tell(&mut self, level: Level, at: &At, text: String) {
        self.findings.push(Finding { level, at: at.clone(), text });
    }

    /// Reports that `key` does not take what `node` is; reads as "nothing was read".
    pub(crate) fn wrong<T>(&mut self, key: &str, node: &Node, expected: &str) -> Option<T> {
        self.error(&node.at, format!("{key} takes {expected}, and {} stands here", node.kind()));
        None
    }
}

/// A kind of value that a key can have.
pub(crate) trait Setting: Sized {
    /// For messages ("takes a duration") and the documentation.
    const KIND: &'static str;
    /// Whether the key may come several times in one file, and adds up over all.
    const ADDS_UP: bool = false;

    /// The value of `node`; `None` after an error was reported.
    fn read(key: &str, node: &Node, cx: &mut Reading) -> Option<Self>;

    /// The value when the key is not set.
    fn unset(key: &str, default: &str, cx: &mut Reading) -> Option<Self> {
        Self::read(key, &Node::text("default", default), cx)
    }

    /// The value when a later file sets the key again, as Vault merges its files: the last wins.
    fn merge(self, later: Self) -> Self {
        later
    }
}

/// The entries of one stanza on their way into its struct.
pub(crate) struct Fields<'a> {
    stanza: &'a str,
    entries: Vec<&'a Entry>,
    keys: &'static [Key],
}

impl<'a> Fields<'a> {
    /// Reports every entry that no built key takes: unknown ones with the nearest known name, ignored ones, ones not built yet.
    pub(crate) fn new(
        stanza: &'a str,
        entries: impl IntoIterator<Item = &'a Entry>,
        keys: &'static [Key],
        cx: &mut Reading,
    ) -> Self {
        let entries: Vec<&Entry> = entries.into_iter().collect();
        for entry in &entries {
            let name = qualified(stanza, &entry.name);
            match keys.iter().find(|key| key.is(&entry.name)).map(|key| key.status) {
                Some(Status::Built) => {}
                // `proxy_protocol_behavior = ""` asks for nothing that is missing.
                Some(Status::Later) if entry.node.is_off() => {}
                Some(Status::Later) => {
                    cx.error(&entry.at, format!("{name} is not built yet: Coffer knows the key and can't do it"))
                }
                Some(Status::Ignored(why)) => cx.note(&entry.at, format!("{name} has no effect: {why}")),
                None => {
                    let names = keys.iter().map(|key| key.name);
                    let hint = nearest(&entry.name, names).map_or(String::new(), |near| format!("; did you mean {near}?"));
                    cx.warn(&entry.at, format!("unknown key {name} has no effect{hint}"));
                }
            }
        }
        Self { stanza, entries, keys }
    }

    /// The value of a declared key: what the files say, merged, or its default.
    pub(crate) fn take<T: Setting>(&mut self, name: &str, default: &str, cx: &mut Reading) -> Option<T> {
        let qualified = qualified(self.stanza, name);
        let key = self.keys.iter().find(|key| key.name == name);
        let mut value: Option<T> = None;
        let mut last: Option<&At> = None;
        let mut failed = false;
        for entry in self.entries.iter().filter(|entry| key.is_some_and(|key| key.is(&entry.name))) {
            if let Some(last) = last.filter(|last| !T::ADDS_UP && last.file == entry.at.file) {
                cx.error(&entry.at, format!("{qualified} is set twice in this file; the first is on line {}", last.line));
                failed = true;
                continue;
            }
            last = Some(&entry.at);
            match (T::read(&qualified, &entry.node, cx), value.take()) {
                (Some(later), Some(earlier)) => value = Some(earlier.merge(later)),
                (Some(first), None) => value = Some(first),
                (None, _) => failed = true,
            }
        }
        match (failed, value) {
            (true, _) => None,
            (false, Some(value)) => Some(value),
            (false, None) => T::unset(&qualified, default, cx),
        }
    }
}

impl Key {
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name == name || self.alias == Some(name)
    }
}

fn qualified(stanza: &str, name: &str) -> String {
    if stanza.is_empty() { name.to_owned() } else { format!("{stanza}.{name}") }
}

/// Declares a stanza: its struct, its keys and its parser.
///
/// `key: kind = "default"` is built (`key / alias:` has an older name), `later` keys are known and refused, `ignored` keys are known
/// and change nothing. The doc comments are the help.
macro_rules! stanza {
    (
        $(#[doc = $doc:literal])+
        pub struct $name:ident in $stanza:literal {
            $($(#[doc = $about:literal])+ $key:ident $(/ $alias:ident)? : $kind:ty = $default:literal;)*
        }
        $(later { $($(#[doc = $later_about:literal])+ $later:ident $(: $later_kind:literal)?;)* })?
        $(ignored { $($(#[doc = $ignored_about:literal])+ $ignored:ident = $why:literal;)* })?
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug)]
        pub struct $name {
            $($(#[doc = $about])+ pub $key: $kind,)*
        }

        impl $name {
            /// The stanza's name in messages; empty for the top level.
            pub const STANZA: &'static str = $stanza;

            /// All keys that are known, built or not.
            pub const KEYS: &'static [$crate::config::Key] = &[
                $($crate::config::Key {
                    name: stringify!($key),
                    alias: $crate::config::setting::alias!($($alias)?),
                    kind: <$kind as $crate::config::setting::Setting>::KIND,
                    default: $default,
                    about: concat!($($about),+),
                    status: $crate::config::Status::Built,
                },)*
                $($($crate::config::Key {
                    name: stringify!($later),
                    alias: None,
                    kind: concat!($($later_kind)?),
                    default: "",
                    about: concat!($($later_about),+),
                    status: $crate::config::Status::Later,
                },)*)?
                $($($crate::config::Key {
                    name: stringify!($ignored),
                    alias: None,
                    kind: "",
                    default: "",
                    about: concat!($($ignored_about),+),
                    status: $crate::config::Status::Ignored($why),
                },)*)?
            ];

            /// Whether a key of this name is known.
            #[allow(dead_code, reason = "not every stanza is asked")]
            pub(crate) fn knows(name: &str) -> bool {
                Self::KEYS.iter().any(|key| key.is(name))
            }

            /// Reads the stanza from its entries; `None` after an error was reported.
            #[allow(unused_mut, unused_variables, reason = "a stanza may have no built key")]
            pub(crate) fn from_entries<'a>(
                entries: impl IntoIterator<Item = &'a $crate::config::tree::Entry>,
                cx: &mut $crate::config::setting::Reading,
            ) -> Option<Self> {
                let mut fields = $crate::config::setting::Fields::new($stanza, entries, Self::KEYS, cx);
                // All keys are read before any failure counts, so that one run reports every mistake.
                $(let $key = fields.take::<$kind>(stringify!($key), $default, cx);)*
                Some(Self { $($key: $key?,)* })
            }
        }

        impl Default for $name {
            fn default() -> Self {
                let mut cx = $crate::config::setting::Reading::default();
                // The test `every_default_reads` proves it for every stanza.
                Self::from_entries([], &mut cx).expect("the declared defaults read")
            }
        }

        impl $crate::config::setting::Setting for $name {
            const KIND: &'static str = "a block";

            fn read(
                key: &str,
                node: &$crate::config::tree::Node,
                cx: &mut $crate::config::setting::Reading,
            ) -> Option<Self> {
                Self::from_entries($crate::config::setting::block(key, node, cx)?, cx)
            }

            fn unset(_: &str, _: &str, cx: &mut $crate::config::setting::Reading) -> Option<Self> {
                Self::from_entries([], cx)
            }
        }
    };
}

macro_rules! alias {
    () => {
        None
    };
    ($alias:ident) => {
        Some(stringify!($alias))
    };
}

/// Declares a value that is one of a few words.
macro_rules! choice {
    ($(#[doc = $doc:literal])+ pub enum $name:ident { $($(#[doc = $about:literal])* $variant:ident = $($word:literal)|+,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum $name { $($(#[doc = $about])* $variant,)+ }

        impl $name {
            const WORDS: &'static [&'static str] = &[$($($word,)+)+];

            /// The value that a word means.
            pub fn from_word(word: &str) -> Option<Self> {
                match word.to_ascii_lowercase().as_str() {
                    $($($word)|+ => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl $crate::config::setting::Setting for $name {
            const KIND: &'static str = concat!("one of", $($(" ", $word,)+)+);

            fn read(
                key: &str,
                node: &$crate::config::tree::Node,
                cx: &mut $crate::config::setting::Reading,
            ) -> Option<Self> {
                let word = String::read(key, node, cx)?;
                let value = Self::from_word(&word);
                if value.is_none() {
                    cx.error(&node.at, format!("{key} takes one of {}", Self::WORDS.join(", ")));
                }
                value
            }
        }
    };
}

pub(crate) use {alias, choice, stanza};

/// The entries of a block, also where it stands alone in a list (as JSON and `key = [{…}]` write it).
pub(crate) fn block<'a>(key: &str, node: &'a Node, cx: &mut Reading) -> Option<&'a [Entry]> {
    match &node.value {
        Value::Object(entries) => Some(entries),
        Value::List(items) if items.len() == 1 => block(key, &items[0], cx),
        _ => cx.wrong(key, node, "a block"),
    }
}

/// The blocks `key "label" { … }`, in whichever form they stand: (label, block).
pub(crate) fn labelled<'a>(key: &str, node: &'a Node, cx: &mut Reading) -> Option<Vec<(&'a Entry, &'a Node)>> {
    let mut found = Vec::new();
    match &node.value {
        Value::Object(entries) => {
            for entry in entries {
                match &entry.node.value {
                    Value::Object(_) => found.push((entry, &entry.node)),
                    Value::List(items)
                        if !items.is_empty() && items.iter().all(|item| matches!(item.value, Value::Object(_))) =>
                    {
                        found.extend(items.iter().map(|item| (entry, item)));
                    }
                    _ => {
                        cx.error(&entry.at, format!("{key} must name its kind: {key} \"...\" {{ ... }}"));
                        return None;
                    }
                }
            }
        }
        Value::List(items) => {
            for item in items {
                if !matches!(item.value, Value::Object(_)) {
                    return cx.wrong(key, item, "blocks");
                }
                found.extend(labelled(key, item, cx)?);
            }
        }
        _ => return cx.wrong(key, node, "a block"),
    }
    Some(found)
}

/// A scalar or a list of scalars as the lenient conversions take it.
fn json(key: &str, node: &Node, expected: &str, cx: &mut Reading) -> Option<Json> {
    Some(match &node.value {
        Value::Null => Json::Null,
        Value::Bool(b) => Json::Bool(*b),
        Value::Number(text) => Json::Number(text.clone()),
        Value::String(text) => Json::String(text.clone()),
        Value::List(items) => {
            let items: Option<Vec<Json>> = items.iter().map(|item| json(key, item, expected, cx)).collect();
            Json::Array(items?)
        }
        Value::Object(_) => return cx.wrong(key, node, expected),
    })
}

fn convert<T>(
    key: &str,
    node: &Node,
    expected: &str,
    cx: &mut Reading,
    f: impl FnOnce(&Json) -> coffer_types::Result<T>,
) -> Option<T> {
    let value = json(key, node, expected, cx)?;
    match f(&value) {
        Ok(value) => Some(value),
        // The value itself may be a secret in the wrong place, so that it is not repeated.
        Err(_) if matches!(node.value, Value::String(_) | Value::Number(_)) => {
            cx.error(&node.at, format!("{key} takes {expected}, and what stands here can't be read as one"));
            None
        }
        Err(_) => cx.wrong(key, node, expected),
    }
}

impl Setting for bool {
    const KIND: &'static str = "a boolean";

    fn read(key: &str, node: &Node, cx: &mut Reading) -> Option<Self> {
        convert(key, node, Self::KIND, cx, lenient::bool)
    }

    /// Vault's rule: a switch that any file turns on is on.
    fn merge(self, later: Self) -> Self {
        self || later
    }
}

impl Setting for Span {
    const KIND: &'static str = "a duration";

    fn read(key: &str, node: &Node, cx: &mut Reading) -> Option<Self> {
        let span = convert(key, node, Self::KIND, cx, lenient::span)?;
        if span.is_negative() {
            cx.error(&node.at, format!("{key} takes a duration that is not negative"));
            return None;
        }
        Some(span)
    }

    /// Vault's rule: the longest wins.
    fn merge(self, later: Self) -> Self {
        self.max(later)
    }
}

impl Setting for u64 {
    const KIND: &'static str = "a whole number";

    fn read(key: &str, node: &Node, cx: &mut Reading) -> Option<Self> {
        let number = convert(key, node, Self::KIND, cx, lenient::int)?;
        let number = Self::try_from(number).ok();
        if number.is_none() {
            cx.error(&node.at, format!("{key} takes a whole number that is not negative"));
        }
        number
    }
}

/// A limit: 0 means its default, negative none at all, as in Vault.
impl Setting for i64 {
    const KIND: &'static str = "a whole number";

    fn read(key: &str, node: &Node, cx: &mut Reading) -> Option<Self> {
        convert(key, node, Self::KIND, cx, lenient::int)
    }
}

impl Setting for String {
    const KIND: &'static str = "a string";

    fn read(key: &str, node: &Node, cx: &mut Reading) -> Option<Self> {
        match &node.value {
            Value::String(text) | Value::Number(text) => Some(text.as_str().to_owned()),
            Value::Bool(b) => Some(b.to_string()),
            _ => cx.wrong(key, node, Self::KIND),
        }
    }
}

impl Setting for Secret<String> {
    const KIND: &'static str = "a string";

    fn read(key: &str, node: &Node, cx: &mut Reading) -> Option<Self> {
        String::read(key, node, cx).map(Self::new)
    }
}

impl Setting for PathBuf {
    const KIND: &'static str = "a path";

    fn read(key: &str, node: &Node, cx: &mut Reading) -> Option<Self> {
        String::read(key, node, cx).map(Self::from)
    }
}

impl Setting for Vec<String> {
    const KIND: &'static str = "a list of strings";

    fn read(key: &str, node: &Node, cx: &mut Reading) -> Option<Self> {
        convert(key, node, Self::KIND, cx, lenient::comma_strings)
    }
}

impl Setting for BTreeMap<String, String> {
    const KIND: &'static str = "a map of strings";

    fn read(key: &str, node: &Node, cx: &mut Reading) -> Option<Self> {
        if node.is_off() {
            return Some(Self::new());
        }
        block(key, node, cx)?
            .iter()
            .map(|entry| Some((entry.name.clone(), String::read(&format!("{key}.{}", entry.name), &entry.node, cx)?)))
            .collect()
    }
}

/// Names and their values, which may be many: the form of `custom_response_headers`.
impl Setting for BTreeMap<String, BTreeMap<String, Vec<String>>> {
    const KIND: &'static str = "maps of lists of strings";

    fn read(key: &str, node: &Node, cx: &mut Reading) -> Option<Self> {
        if node.is_off() {
            return Some(Self::new());
        }
        let mut outer = Self::new();
        for entry in block(key, node, cx)? {
            let key = format!("{key}.{}", entry.name);
            let inner: &mut BTreeMap<String, Vec<String>> = outer.entry(entry.name.clone()).or_default();
            for value in block(&key, &entry.node, cx)? {
                let key = format!("{key}.{}", value.name);
                // A header's text may hold commas, so that only lists are taken apart.
                let texts = match &value.node.value {
                    Value::List(items) => items.iter().map(|item| String::read(&key, item, cx)).collect::<Option<Vec<_>>>()?,
                    _ => vec![String::read(&key, &value.node, cx)?],
                };
                inner.entry(value.name.clone()).or_default().extend(texts);
            }
        }
        Some(outer)
    }
}

/// `""` unsets.
impl<T: Setting> Setting for Option<T> {
    const KIND: &'static str = T::KIND;

    fn read(key: &str, node: &Node, cx: &mut Reading) -> Option<Self> {
        match &node.value {
            Value::Null => Some(None),
            Value::String(text) if text.as_str().is_empty() => Some(None),
            _ => T::read(key, node, cx).map(Some),
        }
    }

    fn merge(self, later: Self) -> Self {
        match (self, later) {
            (Some(earlier), Some(later)) => Some(earlier.merge(later)),
            (earlier, later) => later.or(earlier),
        }
    }
}
