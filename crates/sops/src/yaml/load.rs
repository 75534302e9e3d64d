//! Nodes to the tree, as sops makes it of go-yaml's, with where each part came from.

use std::collections::HashSet;
use std::ops::Range;

use super::Fault;
use super::node::{Document, Id, NodeKind, Stream};
use super::resolve::resolve;
use super::scan::{Lines, MAX_DEPTH};
use crate::tree::{Branch, Comment, Element, Entry, Item, Key, Line, Value};

/// Nodes that aliases may stand for, all counted: a file of a few lines must not grow without bound.
const MAX_EXPANDED: usize = 1_000_000;

/// Where a part of the tree stands in the source. Parts are in the order of the tree's.
pub(super) struct Origin {
    pub(super) place: Origins,
    /// The parts of its value, where that is a list or a map.
    pub(super) parts: Vec<Origin>,
}

#[derive(Clone)]
pub(super) enum Origins {
    /// The `#` and the text after it.
    Comment(Range<usize>),
    /// The key, if it is an entry of a map, and the value.
    Value { key: Option<Id>, value: Id },
    /// It stands elsewhere, and here an alias.
    Alias,
}

/// The document as a map.
///
/// # Errors
/// A document that is no map; aliases that never end or stand for too much.
pub(super) fn document(stream: &Stream<'_>, document: &Document) -> Result<(Branch, Vec<Origin>), Fault> {
    let mut builder = Builder { stream, expanded: 0, aliases: 0, depth: 0 };
    let mut out = Map::default();
    builder.comments(&document.head, &mut out, false);
    builder.root(document.root, &mut out)?;
    builder.comments(&document.foot, &mut out, false);
    Ok((out.branch, out.origins))
}

/// What only the first document is held to: no key twice, tags that say what is there, keys and merges that make sense.
///
/// # Errors
/// The first of these that isn't so.
pub(super) fn check_first(stream: &Stream<'_>, root: Id) -> Result<(), Fault> {
    Checker { stream, active: HashSet::new(), seen: 0, depth: 0 }.node(root)
}

#[derive(Default)]
struct Map {
    branch: Branch,
    origins: Vec<Origin>,
}

struct Builder<'s, 'a> {
    stream: &'s Stream<'a>,
    expanded: usize,
    /// How many aliases this part is within.
    aliases: usize,
    depth: usize,
}

impl Builder<'_, '_> {
    fn root(&mut self, id: Id, out: &mut Map) -> Result<(), Fault> {
        let node = &self.stream.nodes[id];
        match &node.kind {
            NodeKind::Mapping { .. } => self.map(id, out, false),
            NodeKind::Alias { target, .. } => self.followed(id, |builder| builder.root(*target, out)),
            NodeKind::Scalar { .. } if matches!(resolve(node), Some(Value::Null)) => {
                self.comments(&node.head, out, false);
                self.comments(&node.line, out, false);
                Ok(())
            }
            NodeKind::Scalar { .. } => Err(self.fault(id, "a document must be a map; this one is a single value")),
            NodeKind::Sequence { .. } => Err(self.fault(id, "a document must be a map; this one is a list")),
        }
    }

    fn map(&mut self, id: Id, out: &mut Map, handled: bool) -> Result<(), Fault> {
        self.count(id)?;
        let node = &self.stream.nodes[id];
        let NodeKind::Mapping { items, .. } = &node.kind else { return Ok(()) };
        if !handled {
            self.comments(&node.head, out, false);
            self.comments(&node.line, out, false);
        }
        for pair in items.chunks_exact(2) {
            let (key_id, value_id) = (pair[0], pair[1]);
            let (key, value) = (&self.stream.nodes[key_id], &self.stream.nodes[value_id]);
            self.comments(&key.head, out, false);
            self.comments(&key.line, out, false);
            let own = matches!(value.kind, NodeKind::Scalar { .. } | NodeKind::Alias { .. });
            if own {
                self.comments(&value.head, out, false);
                self.comments(&value.line, out, true);
            }
            let name = self.key(key_id)?;
            let place = self.place(Some(key_id), value_id);
            let (tree, parts) = self.value(value_id, own)?;
            out.branch.items.push(Item::Entry(Entry { key: name, value: tree, line: Line(key.start.line + 1) }));
            out.origins.push(Origin { place, parts });
            if own {
                self.comments(&value.foot, out, false);
            }
            self.comments(&key.foot, out, false);
        }
        if !handled {
            self.comments(&node.foot, out, false);
        }
        self.depth -= 1;
        Ok(())
    }

    fn value(&mut self, id: Id, handled: bool) -> Result<(Value, Vec<Origin>), Fault> {
        let node = &self.stream.nodes[id];
        match &node.kind {
            NodeKind::Scalar { .. } => Ok((resolve(node).unwrap_or(Value::Null), Vec::new())),
            NodeKind::Mapping { .. } => {
                let mut out = Map::default();
                self.map(id, &mut out, handled)?;
                Ok((Value::Map(out.branch), out.origins))
            }
            NodeKind::Alias { target, .. } => self.followed(id, |builder| builder.value(*target, false)),
            NodeKind::Sequence { items, .. } => {
                self.count(id)?;
                let mut list = List::default();
                if !handled {
                    self.list_comments(&node.head, &mut list, false);
                    self.list_comments(&node.line, &mut list, false);
                }
                for &item in items {
                    let own = &self.stream.nodes[item];
                    self.list_comments(&own.head, &mut list, false);
                    self.list_comments(&own.line, &mut list, true);
                    let place = self.place(None, item);
                    let (value, parts) = self.value(item, true)?;
                    list.elements.push(Element::Value(value, Line(own.start.line + 1)));
                    list.origins.push(Origin { place, parts });
                    self.list_comments(&own.foot, &mut list, false);
                }
                if !handled {
                    self.list_comments(&node.foot, &mut list, false);
                }
                self.depth -= 1;
                Ok((Value::List(list.elements), list.origins))
            }
        }
    }

    fn key(&self, id: Id) -> Result<Key, Fault> {
        let node = self.target(id);
        let other = |text: &str, kind| Ok(Key::Other { text: text.to_owned(), kind });
        let NodeKind::Scalar { value: text, .. } = &node.kind else {
            return other(
                "",
                if matches!(node.kind, NodeKind::Mapping { .. }) { "map[string]interface {}" } else { "[]interface {}" },
            );
        };
        match resolve(node) {
            Some(Value::Text(key)) => match key.as_str() {
                Some(key) => Ok(Key::Text(key.to_owned())),
                None => Err(self.fault(id, "a key must be text; this one is binary")),
            },
            Some(Value::Int(_)) => other(text, "int"),
            Some(Value::Unsupported { kind, .. }) => other(text, kind),
            Some(Value::Float(_)) => other(text, "float64"),
            Some(Value::Bool(_)) => other(text, "bool"),
            Some(Value::Time(_)) => other(text, "time.Time"),
            _ => other(text, "<nil>"),
        }
    }

    fn target(&self, id: Id) -> &super::node::Node<'_> {
        match self.stream.nodes[id].kind {
            NodeKind::Alias { target, .. } => &self.stream.nodes[target],
            _ => &self.stream.nodes[id],
        }
    }

    fn place(&self, key: Option<Id>, value: Id) -> Origins {
        if self.aliases > 0 { Origins::Alias } else { Origins::Value { key, value } }
    }

    fn followed<T>(&mut self, id: Id, read: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        self.aliases += 1;
        if self.aliases > MAX_DEPTH {
            return Err(self.fault(id, "this alias stands for itself"));
        }
        let done = read(self);
        self.aliases -= 1;
        done
    }

    fn count(&mut self, id: Id) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > 2 * MAX_DEPTH {
            return Err(self.fault(id, "nested too deeply, or an alias that stands for itself"));
        }
        if self.aliases > 0 {
            let node = &self.stream.nodes[id];
            self.expanded += match &node.kind {
                NodeKind::Mapping { items, .. } | NodeKind::Sequence { items, .. } => 1 + items.len(),
                _ => 1,
            };
            if self.expanded > MAX_EXPANDED {
                return Err(self.fault(id, "aliases that stand for more than a million values"));
            }
        }
        Ok(())
    }

    fn comments(&self, lines: &Lines, out: &mut Map, inline: bool) {
        for (comment, origin) in self.lines(lines, inline) {
            out.branch.items.push(Item::Comment(comment));
            out.origins.push(origin);
        }
    }

    fn list_comments(&self, lines: &Lines, out: &mut List, inline: bool) {
        for (comment, origin) in self.lines(lines, inline) {
            out.elements.push(Element::Comment(comment));
            out.origins.push(origin);
        }
    }

    fn lines(&self, lines: &Lines, inline: bool) -> impl Iterator<Item = (Comment, Origin)> {
        lines.iter().filter(|line| !line.is_empty()).map(move |line| {
            let mut comment = Comment::new(&self.stream.text[line.start + 1..line.end], 0);
            comment.inline = inline;
            let place = if self.aliases > 0 { Origins::Alias } else { Origins::Comment(line.clone()) };
            (comment, Origin { place, parts: Vec::new() })
        })
    }

    fn fault(&self, id: Id, problem: &'static str) -> Fault {
        at(self.stream, id, problem)
    }
}

#[derive(Default)]
struct List {
    elements: Vec<Element>,
    origins: Vec<Origin>,
}

fn at(stream: &Stream<'_>, id: Id, problem: &'static str) -> Fault {
    let mark = stream.nodes[id].start;
    Fault::new(mark.line + 1, u32::try_from(mark.column).unwrap_or(0) + 1, problem)
}

struct Checker<'s, 'a> {
    stream: &'s Stream<'a>,
    /// Aliases that are being followed.
    active: HashSet<Id>,
    seen: usize,
    depth: usize,
}

impl Checker<'_, '_> {
    fn node(&mut self, id: Id) -> Result<(), Fault> {
        let node = &self.stream.nodes[id];
        self.depth += 1;
        if !self.active.is_empty() {
            self.seen += 1;
        }
        if self.depth > 2 * MAX_DEPTH || self.seen > MAX_EXPANDED {
            return Err(at(self.stream, id, "aliases that stand for too much"));
        }
        match &node.kind {
            NodeKind::Scalar { .. } if resolve(node).is_none() => {
                return Err(at(self.stream, id, "this value is not what its tag says"));
            }
            NodeKind::Scalar { .. } => {}
            NodeKind::Alias { target, .. } => {
                if !self.active.insert(id) {
                    return Err(at(self.stream, id, "this alias stands for itself"));
                }
                self.node(*target)?;
                self.active.remove(&id);
            }
            NodeKind::Sequence { items, .. } => {
                for &item in items {
                    self.node(item)?;
                }
            }
            NodeKind::Mapping { items, .. } => self.map(items)?,
        }
        self.depth -= 1;
        Ok(())
    }

    fn map(&mut self, items: &[Id]) -> Result<(), Fault> {
        let mut seen = HashSet::with_capacity(items.len() / 2);
        for pair in items.chunks_exact(2) {
            let key = &self.stream.nodes[pair[0]];
            let name = match &key.kind {
                NodeKind::Scalar { value, .. } => (false, &**value),
                NodeKind::Alias { name, .. } => (true, *name),
                _ => return Err(at(self.stream, pair[0], "a key must be a text, not a list or a map")),
            };
            if !seen.insert(name) {
                return Err(at(self.stream, pair[0], "this key stands in this map already"));
            }
        }
        for pair in items.chunks_exact(2) {
            if self.stream.nodes[pair[0]].is_merge() {
                self.merge(pair[1])?;
            } else {
                self.node(pair[0])?;
                if let NodeKind::Alias { target, .. } = self.stream.nodes[pair[0]].kind
                    && !matches!(self.stream.nodes[target].kind, NodeKind::Scalar { .. })
                {
                    return Err(at(self.stream, pair[0], "a key must be a text, not a list or a map"));
                }
            }
            self.node(pair[1])?;
        }
        Ok(())
    }

    fn merge(&self, id: Id) -> Result<(), Fault> {
        let is_map = |id: Id| match self.stream.nodes[id].kind {
            NodeKind::Alias { target, .. } => matches!(self.stream.nodes[target].kind, NodeKind::Mapping { .. }),
            NodeKind::Mapping { .. } => true,
            _ => false,
        };
        let fits = match &self.stream.nodes[id].kind {
            NodeKind::Sequence { items, .. } => items.iter().all(|&item| is_map(item)),
            _ => is_map(id),
        };
        if fits { Ok(()) } else { Err(at(self.stream, id, "'<<' merges a map or a list of maps")) }
    }
}
