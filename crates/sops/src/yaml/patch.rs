//! A text changed where it must: value tokens, comments and the metadata; every other byte stays.
//!
//! What comes out is read again and compared with what it should hold, so that no oddity of YAML can make a patch say anything
//! else; where it would, there is no patch and the caller writes the whole file anew.

use std::ops::Range;

use zeroize::Zeroizing;

use super::load::{self, Origin, Origins};
use super::node::{Document, Id, NodeKind, Stream};
use super::scan::Style;
use super::source::Source;
use super::{Yaml, bytes, emit, parse};
use crate::error::Result;
use crate::format::{Format as _, Patch, Patched, Spellings};
use crate::tree::{Branch, Comment, Element, Item, Value};

/// See [`crate::format::Format::patch`].
pub(super) fn patch(yaml: Yaml, source: &[u8], patch: &Patch<'_>) -> Result<Option<Patched>> {
    let decoded = Source::new(source)?;
    if !decoded.in_place {
        return Ok(None);
    }
    let stream = parse::parse(decoded.text())?;
    let mut read = Vec::with_capacity(stream.documents.len());
    for document in &stream.documents {
        read.push(load::document(&stream, document)?);
    }
    if read.len() != patch.documents.len() {
        return Ok(None);
    }
    for spellings in [patch.spellings, &Spellings::new()] {
        let mut work = Work { stream: &stream, yaml, spellings, edits: Vec::new(), lost: Spellings::new(), leaf: 0 };
        let done = read.iter().zip(patch.documents).zip(&stream.documents).try_for_each(|(((before, origins), after), place)| {
            work.document(before, origins, after)?;
            work.metadata(before, origins, place, patch.metadata)
        });
        let text = done.and_then(|()| work.end(patch.metadata.is_some())).and_then(|()| work.apply());
        if let Some(text) = text {
            let mut whole = Zeroizing::new(String::with_capacity(decoded.skipped + text.len()));
            whole.push_str(if decoded.skipped > 0 { "\u{feff}" } else { "" });
            whole.push_str(&text);
            if says(yaml, whole.as_bytes(), patch) {
                return Ok(Some(Patched { bytes: bytes(whole), lost: work.lost }));
            }
        }
    }
    Ok(None)
}

/// The text holds exactly what the patch wants.
fn says(yaml: Yaml, text: &[u8], patch: &Patch<'_>) -> bool {
    let Some(metadata) = patch.metadata else {
        return super::load(text).is_ok_and(|documents| same_all(&documents, patch.documents));
    };
    yaml.load_encrypted(text).is_ok_and(|loaded| same_all(&loaded.documents, patch.documents) && same(&loaded.metadata, metadata))
}

fn same_all(one: &[Branch], other: &[Branch]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
}

/// Equal but for which comments stand behind a value: the text keeps their place.
fn same(one: &Branch, other: &Branch) -> bool {
    one.items.len() == other.items.len()
        && one.items.iter().zip(&other.items).all(|pair| match pair {
            (Item::Comment(one), Item::Comment(other)) => one.text == other.text,
            (Item::Entry(one), Item::Entry(other)) => one.key == other.key && same_value(&one.value, &other.value),
            _ => false,
        })
}

fn same_value(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Map(one), Value::Map(other)) => same(one, other),
        (Value::List(one), Value::List(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|pair| match pair {
                    (Element::Comment(one), Element::Comment(other)) => one.text == other.text,
                    (Element::Value(one, _), Element::Value(other, _)) => same_value(one, other),
                    _ => false,
                })
        }
        (Value::Float(one), Value::Float(other)) => one == other || one.is_nan() && other.is_nan(),
        _ => one == other,
    }
}

struct Work<'s, 'a> {
    stream: &'s Stream<'a>,
    yaml: Yaml,
    spellings: &'s Spellings,
    edits: Vec<(Range<usize>, Zeroizing<String>)>,
    lost: Spellings,
    /// The number of the next leaf.
    leaf: usize,
}

/// Nothing means: not by a patch.
impl Work<'_, '_> {
    fn document(&mut self, before: &Branch, origins: &[Origin], after: &Branch) -> Option<()> {
        let kept = || before.items.iter().zip(origins).filter(|(item, _)| !super::is_metadata(item));
        if kept().count() != after.items.len() {
            return None;
        }
        kept().zip(&after.items).try_for_each(|((before, origin), after)| self.item(before, origin, after, false))
    }

    fn item(&mut self, before: &Item, origin: &Origin, after: &Item, flow: bool) -> Option<()> {
        match (before, after) {
            (Item::Comment(before), Item::Comment(after)) => self.comment(before, origin, after),
            (Item::Entry(before), Item::Entry(after)) if before.key == after.key => {
                self.value(&before.value, origin, &after.value, flow)
            }
            _ => None,
        }
    }

    fn comment(&mut self, before: &Comment, origin: &Origin, after: &Comment) -> Option<()> {
        self.leaf += 1;
        if before.text == after.text {
            return Some(());
        }
        let Origins::Comment(range) = &origin.place else { return None };
        let text = after.text.as_str().filter(|text| !text.contains(['\n', '\r']))?;
        self.edits.push((range.clone(), Zeroizing::new(format!("#{text}"))));
        Some(())
    }

    fn value(&mut self, before: &Value, origin: &Origin, after: &Value, flow: bool) -> Option<()> {
        let id = match origin.place {
            Origins::Value { value, .. } => Some(value),
            _ => None,
        };
        let flow = flow || id.is_some_and(|id| self.is_flow(id));
        match (before, after) {
            (Value::Map(from), Value::Map(to)) => {
                if let Some(id) = id.filter(|id| self.is_alias(*id)) {
                    return self.unfold(id, origin, before, after, flow);
                }
                if let Some(name) = self.alias_spelling(after, id) {
                    return self.fold(id?, origin, after, &name);
                }
                if from.items.len() != to.items.len() {
                    return None;
                }
                from.items.iter().zip(&origin.parts).zip(&to.items).try_for_each(|((b, o), a)| self.item(b, o, a, flow))
            }
            (Value::List(from), Value::List(to)) => {
                if let Some(id) = id.filter(|id| self.is_alias(*id)) {
                    return self.unfold(id, origin, before, after, flow);
                }
                if let Some(name) = self.alias_spelling(after, id) {
                    return self.fold(id?, origin, after, &name);
                }
                if from.len() != to.len() {
                    return None;
                }
                from.iter().zip(&origin.parts).zip(to).try_for_each(|((before, origin), after)| match (before, after) {
                    (Element::Comment(before), Element::Comment(after)) => self.comment(before, origin, after),
                    (Element::Value(before, _), Element::Value(after, _)) => self.value(before, origin, after, flow),
                    (Element::Comment(before), Element::Value(after, _)) if !before.inline && !flow => {
                        self.comment_to_element(origin, id?, after)
                    }
                    (Element::Value(_, _), Element::Comment(after)) if !flow => self.element_to_comment(origin, id?, after),
                    _ => None,
                })
            }
            (Value::Map(_) | Value::List(_), _) | (_, Value::Map(_) | Value::List(_)) => None,
            _ => {
                self.leaf += 1;
                if same_value(before, after) { Some(()) } else { self.scalar(before, origin, after, flow) }
            }
        }
    }

    fn scalar(&mut self, before: &Value, origin: &Origin, after: &Value, flow: bool) -> Option<()> {
        let Origins::Value { key, value } = origin.place else { return None };
        let column = usize::try_from(self.stream.nodes[key.unwrap_or(value)].start.column).ok()?;
        // Behind a dash, what is around the value is the dash's column.
        let around = if key.is_some() { column } else { column.checked_sub(2)? };
        let span = self.token_span(value);
        let old = &self.stream.text[span.clone()];
        let number = self.leaf - 1;
        if self.render(before, around, flow)?.as_str() != old {
            self.lost.insert(number, Zeroizing::new(old.to_owned()));
        }
        let mut new = match self.spellings.get(&number) {
            Some(token) => token.clone(),
            None => self.render(after, around, flow)?,
        };
        if span.is_empty() && !self.stream.text[..span.start].ends_with([' ', '\t']) {
            new.insert(0, ' ');
        }
        self.edits.push((span, new));
        Some(())
    }

    /// A comment in a list is an element once it is encrypted.
    fn comment_to_element(&mut self, origin: &Origin, list: Id, after: &Value) -> Option<()> {
        self.leaf += 1;
        let Origins::Comment(range) = &origin.place else { return None };
        let line = self.line_start(range.start);
        let dash = self.dash_column(list)?;
        let token = self.render(after, 0, true)?;
        let shown = &self.stream.text[line..range.end];
        if range.start - line != dash {
            self.lost.insert(self.leaf - 1, Zeroizing::new(shown.to_owned()));
        }
        if !shown.trim_start().starts_with('#') {
            return None;
        }
        let plain = token.trim_matches('"');
        self.edits.push((line..range.end, Zeroizing::new(format!("{}- {plain}", " ".repeat(dash)))));
        Some(())
    }

    fn element_to_comment(&mut self, origin: &Origin, list: Id, after: &Comment) -> Option<()> {
        self.leaf += 1;
        let Origins::Value { value, .. } = origin.place else { return None };
        let span = self.token_span(value);
        let line = self.line_start(span.start);
        let dash = self.dash_column(list)?;
        if self.stream.text[line..span.start].trim() != "-" {
            return None;
        }
        let text = after.text.as_str().filter(|text| !text.contains(['\n', '\r']))?;
        let shown = match self.spellings.get(&(self.leaf - 1)) {
            Some(shown) if shown.trim_start().strip_prefix('#') == Some(text) => shown.clone(),
            _ => Zeroizing::new(format!("{}#{text}", " ".repeat(dash))),
        };
        self.edits.push((line..span.end, shown));
        Some(())
    }

    /// An alias whose members differ from now on is written out.
    fn unfold(&mut self, id: Id, origin: &Origin, before: &Value, after: &Value, flow: bool) -> Option<()> {
        let first = self.leaf;
        self.leaf += leaves(after);
        if same_value(before, after) {
            return Some(());
        }
        let Origins::Value { key: Some(key), .. } = origin.place else { return None };
        if flow || leaves(after) == 0 {
            return None;
        }
        let span = self.stream.nodes[id].span.clone();
        // The number is that of its first leaf, so it says how far above that it stands.
        let name = &self.stream.text[span.clone()];
        self.lost.insert(first, Zeroizing::new(format!("^{}{name}", depth_of_first(after))));
        let column = usize::try_from(self.stream.nodes[key].start.column).ok()? + self.yaml.indent.clamp(2, 9);
        let mut text = Zeroizing::new(String::new());
        for line in emit::value(after, self.yaml.indent).lines() {
            text.push('\n');
            if !line.is_empty() {
                text.push_str(&" ".repeat(column));
                text.push_str(line);
            }
        }
        let blanks = self.stream.text[..span.start].bytes().rev().take_while(|&b| b == b' ').count();
        self.edits.push((span.start - blanks..span.end, text));
        Some(())
    }

    /// The alias that stood for this collection before it was encrypted.
    fn alias_spelling(&self, after: &Value, id: Option<Id>) -> Option<Zeroizing<String>> {
        id?;
        if leaves(after) == 0 {
            return None;
        }
        let name = self.spellings.get(&self.leaf)?.strip_prefix(format!("^{}*", depth_of_first(after)).as_str())?;
        Some(Zeroizing::new(format!("*{name}")))
    }

    fn fold(&mut self, id: Id, origin: &Origin, after: &Value, name: &str) -> Option<()> {
        self.leaf += leaves(after);
        let Origins::Value { key: Some(key), .. } = origin.place else { return None };
        let key_end = self.stream.nodes[key].span.end;
        let colon = key_end + self.stream.text[key_end..].find(':')? + 1;
        let end = self.stream.nodes[id].span.end;
        self.edits.push((colon..end, Zeroizing::new(format!(" {name}"))));
        Some(())
    }

    /// Puts the metadata where it is or at the document's end, or takes it out.
    fn metadata(&mut self, before: &Branch, origins: &[Origin], place: &Document, metadata: Option<&Branch>) -> Option<()> {
        let text = self.stream.text;
        let mut new = Zeroizing::new(String::new());
        if let Some(metadata) = metadata {
            new = emit::documents(std::iter::once(&super::with_metadata(&Branch::new(), metadata)), self.yaml.indent);
            if text.contains("\r\n") {
                new = Zeroizing::new(new.replace('\n', "\r\n"));
            }
        }
        let mut found = false;
        for (item, origin) in before.items.iter().zip(origins).filter(|(item, _)| super::is_metadata(item)) {
            let (Item::Entry(_), Origins::Value { key: Some(key), value }) = (item, &origin.place) else { return None };
            let start = self.stream.nodes[*key].span.start;
            if self.line_start(start) != start || found {
                return None;
            }
            found = true;
            let value = &self.stream.nodes[*value];
            let last = text[..value.span.end].trim_end().len();
            let end = text[last..].find('\n').map_or(text.len(), |newline| last + newline + 1);
            self.edits.push((start..end, std::mem::take(&mut new)));
        }
        if !found && metadata.is_some() {
            match &self.stream.nodes[place.root].kind {
                NodeKind::Mapping { flow: false, .. } if self.stream.nodes[place.root].start.column == 0 => {}
                NodeKind::Scalar { .. } => {}
                _ => return None,
            }
            if place.end > 0 && !text[..place.end].ends_with('\n') {
                new.insert(0, '\n');
            }
            self.edits.push((place.end..place.end, new));
        }
        Some(())
    }

    /// A text that didn't end with a line break gets that back: the number after all leaves stands for it.
    fn end(&mut self, encrypted: bool) -> Option<()> {
        let text = self.stream.text;
        if encrypted && !text.is_empty() && !text.ends_with('\n') {
            self.lost.insert(self.leaf, Zeroizing::new("no line break".into()));
        }
        Some(())
    }

    fn apply(&mut self) -> Option<Zeroizing<String>> {
        self.edits.sort_by_key(|(range, _)| (range.start, range.end));
        let text = self.stream.text;
        let mut out =
            Zeroizing::new(String::with_capacity(text.len() + self.edits.iter().map(|(_, new)| new.len()).sum::<usize>()));
        let mut at = 0;
        for (range, new) in &self.edits {
            if range.start < at {
                return None;
            }
            out.push_str(&text[at..range.start]);
            out.push_str(new);
            at = range.end;
        }
        out.push_str(&text[at..]);
        if self.spellings.contains_key(&self.leaf) && out.ends_with('\n') {
            out.pop();
        }
        Some(out)
    }

    /// A leaf as a token in its place; `around` is the column of the block that it stands in.
    fn render(&self, value: &Value, around: usize, flow: bool) -> Option<Zeroizing<String>> {
        if flow {
            return Some(in_flow(value));
        }
        let whole = emit::value(value, 4);
        let written = whole.strip_suffix('\n').unwrap_or(&whole);
        let mut out = Zeroizing::new(String::with_capacity(written.len()));
        for (number, line) in written.split('\n').enumerate() {
            if number > 0 {
                out.push('\n');
                if !line.is_empty() {
                    out.push_str(&" ".repeat(around));
                }
            }
            out.push_str(line);
        }
        Some(out)
    }

    /// Where a scalar or alias is written; of block text without the breaks after it that are not its own.
    fn token_span(&self, id: Id) -> Range<usize> {
        let node = &self.stream.nodes[id];
        let mut span = node.span.clone();
        if let NodeKind::Scalar { style: Style::Literal | Style::Folded, .. } = node.kind {
            let text = &self.stream.text[span.clone()];
            let header = text.lines().next().unwrap_or_default();
            let kept = if header.contains('+') {
                text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text))
            } else {
                text.trim_end_matches(['\n', '\r', ' ', '\t'])
            };
            span.end = span.start + kept.len();
        }
        span
    }

    fn line_start(&self, at: usize) -> usize {
        self.stream.text[..at].rfind('\n').map_or(0, |newline| newline + 1)
    }

    /// The column in which a list's dashes stand.
    fn dash_column(&self, list: Id) -> Option<usize> {
        let NodeKind::Sequence { items, flow: false } = &self.stream.nodes[list].kind else { return None };
        let first = self.stream.nodes[*items.first()?].span.start;
        let line = self.line_start(first);
        let before = &self.stream.text[line..first];
        let dash = before.rfind('-')?;
        Some(before[..dash].chars().count())
    }

    fn is_flow(&self, id: Id) -> bool {
        matches!(self.stream.nodes[id].kind, NodeKind::Sequence { flow: true, .. } | NodeKind::Mapping { flow: true, .. })
    }

    fn is_alias(&self, id: Id) -> bool {
        matches!(self.stream.nodes[id].kind, NodeKind::Alias { .. })
    }
}

/// A token that needs no more than one line and can stand between brackets.
fn in_flow(value: &Value) -> Zeroizing<String> {
    let written = emit::token(value);
    let simple = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_./+-".contains(&b));
    let text = matches!(value, Value::Text(_) | Value::Bytes(_));
    if !text || written.style == Style::Plain && simple(&written.text) {
        return Zeroizing::new(written.text.into_owned());
    }
    emit::double(&written.text)
}

/// Scalars and comments below a value.
fn leaves(value: &Value) -> usize {
    match value {
        Value::Map(branch) => branch
            .items
            .iter()
            .map(|item| match item {
                Item::Entry(entry) => leaves(&entry.value),
                Item::Comment(_) => 1,
            })
            .sum(),
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

/// How far below a collection its first leaf is.
fn depth_of_first(value: &Value) -> usize {
    let inner = match value {
        Value::Map(branch) => branch.items.iter().find_map(|item| match item {
            Item::Entry(entry) if leaves(&entry.value) > 0 => Some(depth_of_first(&entry.value)),
            Item::Entry(_) => None,
            Item::Comment(_) => Some(0),
        }),
        Value::List(list) => list.iter().find_map(|element| match element {
            Element::Value(value, _) if leaves(value) > 0 => Some(depth_of_first(value)),
            Element::Value(_, _) => None,
            Element::Comment(_) => Some(0),
        }),
        _ => return 0,
    };
    inner.map_or(0, |inner| inner + 1)
}
