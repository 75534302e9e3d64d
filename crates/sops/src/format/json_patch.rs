//! Changes a JSON file as it stands: what doesn't change keeps its bytes.

use zeroize::Zeroizing;

use super::json::{Writer, quote, write_leaf};
use super::json_read::{Held, Node, Pair, parse};
use super::{Patch, Patched, Spellings};
use crate::error::Result;
use crate::tree::{Branch, Element, Value};

pub(super) fn patch(source: &[u8], patch: &Patch<'_>) -> Result<Option<Patched>> {
    let [document] = patch.documents else {
        return Ok(None);
    };
    if has_comments(document) {
        return Ok(None);
    }
    let root = parse(source)?;
    let Held::Map(pairs) = &root.held else {
        return Ok(None);
    };
    let mut work = Work {
        source,
        out: Vec::with_capacity(source.len() * 2),
        spellings: patch.spellings,
        lost: Spellings::new(),
        leaf: 0,
        indent: indent_of(source, pairs),
    };
    work.out.extend_from_slice(&source[..root.span.start]);
    let mut wanted: Vec<Wanted<'_>> =
        document.entries().map(|entry| Wanted { key: entry.key.text(), value: Content::Of(&entry.value) }).collect();
    if let Some(metadata) = patch.metadata {
        // It stays where it is, or is put last.
        let at = pairs.iter().position(|pair| pair.key == "sops").unwrap_or(wanted.len()).min(wanted.len());
        wanted.insert(at, Wanted { key: "sops", value: Content::Metadata(metadata) });
    }
    work.map(&root, pairs, &wanted, 0)?;
    work.out.extend_from_slice(&source[root.span.end..]);
    Ok(Some(Patched { bytes: Zeroizing::new(work.out), lost: work.lost }))
}

/// An entry that the result must have.
struct Wanted<'a> {
    key: &'a str,
    value: Content<'a>,
}

#[derive(Clone, Copy)]
enum Content<'a> {
    Of(&'a Value),
    /// What stands under `sops`: it has no numbered leaves.
    Metadata(&'a Branch),
}

struct Work<'a> {
    source: &'a [u8],
    out: Vec<u8>,
    spellings: &'a Spellings,
    lost: Spellings,
    /// The number of the next leaf of the result.
    leaf: usize,
    /// What a level is indented by; nothing where all stands on one line.
    indent: Option<Vec<u8>>,
}

impl Work<'_> {
    fn value(&mut self, node: &Node, value: &Value, level: usize) -> Result<()> {
        match (&node.held, value) {
            (Held::Map(pairs), Value::Map(branch)) => {
                let wanted: Vec<Wanted<'_>> =
                    branch.entries().map(|entry| Wanted { key: entry.key.text(), value: Content::Of(&entry.value) }).collect();
                self.map(node, pairs, &wanted, level)
            }
            (Held::List(nodes), Value::List(list)) => self.list(node, nodes, list, level),
            (Held::Leaf(old), new) if new.is_leaf() => self.leaf(node, old, new),
            _ => self.fresh(value, level),
        }
    }

    fn leaf(&mut self, node: &Node, old: &Value, new: &Value) -> Result<()> {
        let number = self.leaf;
        self.leaf += 1;
        let token = &self.source[node.span.clone()];
        if same(old, new) {
            self.out.extend_from_slice(token);
            return Ok(());
        }
        let mut own = Zeroizing::new(Vec::new());
        write_leaf(old, &mut own)?;
        if **own != *token
            && let Ok(token) = std::str::from_utf8(token)
        {
            self.lost.insert(number, Zeroizing::new(token.to_owned()));
        }
        self.token(number, new)
    }

    fn token(&mut self, number: usize, value: &Value) -> Result<()> {
        match self.spellings.get(&number).filter(|token| spells(token, value)) {
            Some(token) => self.out.extend_from_slice(token.as_bytes()),
            None => write_leaf(value, &mut self.out)?,
        }
        Ok(())
    }

    /// What has no counterpart in the source, in the source's own indent.
    fn fresh(&mut self, value: &Value, level: usize) -> Result<()> {
        if value.is_leaf() {
            let number = self.leaf;
            self.leaf += 1;
            return self.token(number, value);
        }
        self.leaf += leaves(value);
        let mut writer = Writer {
            out: std::mem::take(&mut self.out),
            indent: self.indent.clone().unwrap_or_default(),
            compact: self.indent.is_none(),
            level,
        };
        let result = writer.value(value);
        self.out = writer.out;
        result
    }

    fn map(&mut self, node: &Node, pairs: &[Pair], wanted: &[Wanted<'_>], level: usize) -> Result<()> {
        self.out.push(b'{');
        let mut next = 0;
        for (number, want) in wanted.iter().enumerate() {
            if number > 0 {
                self.out.push(b',');
            }
            // Entries of the source that lie between are gone, unless this one is new and they come later.
            let found = pairs[next..].iter().position(|pair| pair.key == want.key).map(|at| next + at);
            let found = found
                .filter(|at| !wanted[number + 1..].iter().any(|later| pairs[next..*at].iter().any(|pair| pair.key == later.key)));
            match found {
                Some(at) => {
                    let pair = &pairs[at];
                    self.out.extend_from_slice(&self.source[before(self.source, node, pairs, at)..pair.node.span.start]);
                    match want.value {
                        Content::Of(value) => self.value(&pair.node, value, level + 1)?,
                        Content::Metadata(metadata) => self.metadata(metadata, level + 1)?,
                    }
                    next = at + 1;
                    if next < pairs.len() && number + 1 < wanted.len() {
                        self.before_comma(pair.node.span.end);
                    }
                }
                None => {
                    self.line(level + 1);
                    quote(want.key, &mut self.out);
                    self.out.extend_from_slice(if self.indent.is_some() { b": " } else { b":" });
                    match want.value {
                        Content::Of(value) => self.fresh(value, level + 1)?,
                        Content::Metadata(metadata) => self.metadata(metadata, level + 1)?,
                    }
                }
            }
        }
        self.close(node, pairs.last().map(|pair| pair.node.span.end), wanted.is_empty(), level, b'}');
        Ok(())
    }

    fn list(&mut self, node: &Node, nodes: &[Node], list: &[Element], level: usize) -> Result<()> {
        self.out.push(b'[');
        let values: Vec<&Value> = list
            .iter()
            .filter_map(|element| match element {
                Element::Value(value, _) => Some(value),
                Element::Comment(_) => None,
            })
            .collect();
        // One that was taken out is found by what follows it; otherwise elements are compared place by place.
        let gone = nodes
            .len()
            .checked_sub(1)
            .filter(|short| *short == values.len())
            .map(|_| nodes.iter().zip(&values).position(|(node, value)| !holds(node, value)).unwrap_or(values.len()));
        for (number, value) in values.iter().enumerate() {
            if number > 0 {
                self.out.push(b',');
            }
            let at = number + usize::from(gone.is_some_and(|gone| number >= gone));
            match nodes.get(at) {
                Some(element) => {
                    let from = match at.checked_sub(1) {
                        Some(previous) => after_comma(self.source, nodes[previous].span.end),
                        None => node.span.start + 1,
                    };
                    self.out.extend_from_slice(&self.source[from..element.span.start]);
                    self.value(element, value, level + 1)?;
                    if at + 1 < nodes.len() && number + 1 < values.len() {
                        self.before_comma(element.span.end);
                    }
                }
                None => {
                    self.line(level + 1);
                    self.fresh(value, level + 1)?;
                }
            }
        }
        self.close(node, nodes.last().map(|node| node.span.end), values.is_empty(), level, b']');
        Ok(())
    }

    fn metadata(&mut self, metadata: &Branch, level: usize) -> Result<()> {
        let leaf = self.leaf;
        self.fresh(&Value::Map(metadata.clone()), level)?;
        self.leaf = leaf;
        Ok(())
    }

    /// What stands between a value and its comma.
    fn before_comma(&mut self, end: usize) {
        let rest = &self.source[end..];
        let comma = rest.iter().position(|byte| *byte == b',').unwrap_or(0);
        self.out.extend_from_slice(&rest[..comma]);
    }

    fn line(&mut self, level: usize) {
        if let Some(indent) = &self.indent {
            self.out.push(b'\n');
            for _ in 0..level {
                self.out.extend_from_slice(indent);
            }
        }
    }

    /// What stands before the closing bracket, and the bracket.
    fn close(&mut self, node: &Node, last: Option<usize>, empty: bool, level: usize, bracket: u8) {
        match last {
            Some(last) if !empty => self.out.extend_from_slice(&self.source[last..node.span.end]),
            Some(_) => self.out.push(bracket),
            None if empty => {
                self.out.pop();
                self.out.extend_from_slice(&self.source[node.span.clone()]);
            }
            None => {
                self.line(level);
                self.out.push(bracket);
            }
        }
    }
}

/// Where what belongs to an entry starts: after the comma or the bracket before it.
fn before(source: &[u8], node: &Node, pairs: &[Pair], at: usize) -> usize {
    match at.checked_sub(1) {
        // Between a value and the key that follows it there are spaces and one comma.
        Some(previous) => after_comma(source, pairs[previous].node.span.end),
        None => node.span.start + 1,
    }
}

fn after_comma(source: &[u8], end: usize) -> usize {
    source[end..].iter().position(|byte| *byte == b',').map_or(end, |comma| end + comma + 1)
}

fn same(old: &Value, new: &Value) -> bool {
    match (old, new) {
        // -0 and 0 are equal numbers and different texts.
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
        _ => old == new,
    }
}

fn holds(node: &Node, value: &Value) -> bool {
    match (&node.held, value) {
        (Held::Leaf(old), new) => same(old, new),
        (Held::List(nodes), Value::List(list)) => {
            nodes.len() == list.len()
                && nodes.iter().zip(list).all(|(node, element)| matches!(element, Element::Value(value, _) if holds(node, value)))
        }
        (Held::Map(pairs), Value::Map(branch)) => {
            pairs.len() == branch.items.len()
                && pairs
                    .iter()
                    .zip(branch.entries())
                    .all(|(pair, entry)| entry.key.is(&pair.key) && holds(&pair.node, &entry.value))
        }
        _ => false,
    }
}

/// Whether a token reads as this value: a spelling of another would change the file's meaning.
fn spells(token: &str, value: &Value) -> bool {
    let source = Zeroizing::new(format!("{{\"a\":{token}}}"));
    match parse(source.as_bytes()) {
        Ok(Node { held: Held::Map(pairs), span, .. }) => {
            span.end == source.len()
                && matches!(&pairs[..], [Pair { node: Node { held: Held::Leaf(read), .. }, .. }] if same(read, value))
        }
        _ => false,
    }
}

fn leaves(value: &Value) -> usize {
    match value {
        Value::Map(branch) => branch.entries().map(|entry| leaves(&entry.value)).sum(),
        Value::List(list) => list
            .iter()
            .map(|element| match element {
                Element::Value(value, _) => leaves(value),
                Element::Comment(_) => 1,
            })
            .sum(),
        _ => 1,
    }
}

fn has_comments(branch: &Branch) -> bool {
    fn within(value: &Value) -> bool {
        match value {
            Value::Map(branch) => has_comments(branch),
            Value::List(list) => list.iter().any(|element| match element {
                Element::Comment(_) => true,
                Element::Value(value, _) => within(value),
            }),
            _ => false,
        }
    }
    branch.items.iter().any(|item| match item {
        crate::tree::Item::Comment(_) => true,
        crate::tree::Item::Entry(entry) => within(&entry.value),
    })
}

/// What the first entry is indented by; nothing if it stands on the line of its bracket.
fn indent_of(source: &[u8], pairs: &[Pair]) -> Option<Vec<u8>> {
    let first = pairs.first()?;
    let line = source[..first.start].iter().rposition(|byte| *byte == b'\n')? + 1;
    Some(source[line..first.start].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Format;
    use crate::format::json::Json;
    use crate::tree::Line;

    const SOURCE: &str = "{\n  \"a\" : 1.0 ,\n\n  \"b\": [1, \"x\\/y\" ,2],\n  \"c\": {\"d\": null}\n}\n\n";

    fn patched(source: &str, change: impl FnOnce(&mut Branch)) -> String {
        let mut documents = Json::default().load_plain(source.as_bytes()).unwrap();
        change(&mut documents[0]);
        let made = patch(source.as_bytes(), &Patch { documents: &documents, metadata: None, spellings: &Spellings::new() })
            .unwrap()
            .unwrap();
        assert!(Json::default().load_plain(&made.bytes).unwrap() == documents, "{:?}", String::from_utf8_lossy(&made.bytes));
        String::from_utf8(made.bytes.to_vec()).unwrap()
    }

    #[test]
    fn what_stays_keeps_its_bytes() {
        assert_eq!(patched(SOURCE, |_| {}), SOURCE);
        assert_eq!(patched(SOURCE, |branch| *branch.get_mut("a").unwrap() = "s".into()), SOURCE.replace("1.0", "\"s\""));
        assert_eq!(patched(SOURCE, |branch| branch.push("e", 5)), SOURCE.replace("null}\n", "null},\n  \"e\": 5\n"));
        assert_eq!(patched(SOURCE, |branch| drop(branch.items.remove(0))), SOURCE.replace("\n  \"a\" : 1.0 ,", ""));
        assert_eq!(patched(SOURCE, |branch| drop(branch.items.pop())), SOURCE.replace(",\n  \"c\": {\"d\": null}", ""));
        assert_eq!(patched(SOURCE, |branch| branch.items.clear()), "{}\n\n");
        assert_eq!(patched("{}", |branch| branch.push("e", 5)), "{\"e\":5}");
        let list = |change: fn(&mut Vec<Element>)| {
            patched(SOURCE, |branch| {
                if let Some(Value::List(list)) = branch.get_mut("b") {
                    change(list);
                }
            })
        };
        assert_eq!(list(|list| drop(list.remove(0))), SOURCE.replace("1, \"x", " \"x"));
        assert_eq!(list(|list| drop(list.remove(2))), SOURCE.replace(" ,2]", "]"));
        assert_eq!(list(|list| list.push(Element::Value(true.into(), Line(0)))), SOURCE.replace("2]", "2,\n    true]"));
    }

    #[test]
    fn spellings_that_would_be_lost_are_told_and_used() {
        let plain = Json::default().load_plain(SOURCE.as_bytes()).unwrap();
        let mut sealed = plain.clone();
        *sealed[0].get_mut("a").unwrap() = "ENC".into();
        let none = Spellings::new();
        let there = patch(SOURCE.as_bytes(), &Patch { documents: &sealed, metadata: None, spellings: &none }).unwrap().unwrap();
        assert_eq!(there.lost.iter().map(|(at, token)| (*at, token.as_str())).collect::<Vec<_>>(), [(0, "1.0")]);
        let back = patch(&there.bytes, &Patch { documents: &plain, metadata: None, spellings: &there.lost }).unwrap().unwrap();
        assert_eq!(back.bytes.as_slice(), SOURCE.as_bytes());
        // A spelling of another value is not used.
        let wrong = Spellings::from([(0, Zeroizing::new("2,\"x\":1".to_owned()))]);
        let back = patch(&there.bytes, &Patch { documents: &plain, metadata: None, spellings: &wrong }).unwrap().unwrap();
        assert_eq!(back.bytes.as_slice(), SOURCE.replace("1.0", "1").as_bytes());
    }
}
