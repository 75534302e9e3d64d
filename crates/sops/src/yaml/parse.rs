//! Tokens to nodes, each with the comments that go with it.

use std::borrow::Cow;
use std::collections::HashMap;

use super::Fault;
use super::node::{Document, Id, Node, NodeKind, Stream};
use super::scan::{Kind, Lines, Mark, Scanner, Style, Token};
use super::source::Piece;

/// Reads a text.
///
/// # Errors
/// What is no YAML, with its place.
pub(super) fn parse(text: &str) -> Result<Stream<'_>, Fault> {
    let mut parser = Parser {
        scanner: Scanner::new(text),
        out: Stream { text, nodes: Vec::new(), documents: Vec::new() },
        anchors: HashMap::new(),
        handles: Vec::new(),
        head: Lines::new(),
        line: Lines::new(),
        foot: Lines::new(),
        stem: None,
        last_end: 0,
    };
    parser.stream()?;
    Ok(parser.out)
}

struct Parser<'a> {
    scanner: Scanner<'a>,
    out: Stream<'a>,
    /// They last through all documents.
    anchors: HashMap<&'a str, Id>,
    handles: Vec<(&'a str, Piece<'a>)>,
    /// Comments seen that no node has yet.
    head: Lines,
    line: Lines,
    foot: Lines,
    /// Comment before a dash that opens a collection of its own.
    stem: Option<Lines>,
    last_end: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Block,
    /// Where a list may stand without indentation of its own.
    BlockOrEntries,
    Flow,
}

impl<'a> Parser<'a> {
    fn stream(&mut self) -> Result<(), Fault> {
        let mut first = true;
        loop {
            if !first {
                while self.peek()?.kind == Kind::DocumentEnd {
                    self.skip()?;
                }
            }
            let token = self.peek()?;
            let start = token.start;
            let mut head = Lines::new();
            let root = match &token.kind {
                Kind::StreamEnd => return Ok(()),
                Kind::Version { .. } | Kind::TagDirective { .. } | Kind::DocumentStart => {
                    self.directives()?;
                    self.expect(|kind| *kind == Kind::DocumentStart, "here '---' must stand, before the document")?;
                    self.document_content()?
                }
                _ if first => {
                    self.handles.clear();
                    head = self.document_head();
                    self.node(Place::Block)?
                }
                _ => return Err(fault(start, "a second document begins with '---'")),
            };
            first = false;
            let token = self.peek()?;
            let end = token.start.at;
            if token.kind == Kind::DocumentEnd {
                self.skip()?;
            }
            self.handles.clear();
            let (head_left, _, mut foot) = self.comments();
            if foot.is_empty() {
                foot = head_left;
            }
            self.out.documents.push(Document { root, head, foot, end });
        }
    }

    /// Of the comments before the first document those above the last blank line are the document's.
    fn document_head(&mut self) -> Lines {
        let Some(blank) = self.head.iter().skip(1).rposition(Lines1::is_blank) else { return Lines::new() };
        let rest = self.head.split_off(blank + 2);
        let mut head = std::mem::replace(&mut self.head, rest);
        head.pop();
        head
    }

    fn directives(&mut self) -> Result<(), Fault> {
        self.handles.clear();
        let mut version = false;
        loop {
            let token = self.peek()?;
            let start = token.start;
            match &token.kind {
                Kind::Version { right } => {
                    if version || !right {
                        return Err(fault(start, "%YAML stands once, and only YAML 1.1 can be read"));
                    }
                    version = true;
                }
                Kind::TagDirective { handle, prefix } => {
                    let (handle, prefix) = (*handle, prefix.clone());
                    if self.handles.iter().any(|(known, _)| *known == handle) {
                        return Err(fault(start, "%TAG for a handle that has one"));
                    }
                    self.handles.push((handle, prefix));
                }
                _ => return Ok(()),
            }
            self.skip()?;
        }
    }

    fn document_content(&mut self) -> Result<Id, Fault> {
        let token = self.peek()?;
        let start = token.start;
        match token.kind {
            Kind::Version { .. } | Kind::TagDirective { .. } | Kind::DocumentStart | Kind::DocumentEnd | Kind::StreamEnd => {
                Ok(self.empty(start))
            }
            _ => self.node(Place::Block),
        }
    }

    fn node(&mut self, place: Place) -> Result<Id, Fault> {
        let token = self.peek()?;
        let start = token.start;
        if let Kind::Alias(name) = token.kind {
            let span = start.at..token.end.at;
            let Some(&target) = self.anchors.get(name) else {
                return Err(fault(start, "an alias without an anchor of its name before it"));
            };
            let comments = self.comments();
            self.skip()?;
            return Ok(self.add(NodeKind::Alias { name, target }, None, start, span, comments));
        }
        let mut anchor = None;
        let mut tag = None;
        let mut end = start.at;
        loop {
            let token = self.peek()?;
            match &token.kind {
                Kind::Anchor(name) if anchor.is_none() => anchor = Some(*name),
                Kind::Tag { handle, suffix } if tag.is_none() => {
                    let (handle, suffix, at) = (*handle, suffix.clone(), token.start);
                    tag = Some(self.full_tag(handle, suffix, at)?);
                }
                _ => break,
            }
            end = self.peek()?.end.at;
            self.skip()?;
        }
        let marked = anchor.is_some() || tag.is_some();
        let tag = tag.filter(|tag| tag != "!").map(short);
        let token = self.peek()?;
        let here = token.start;
        match &token.kind {
            Kind::BlockEntry if place == Place::BlockOrEntries => {
                let id = self.open(NodeKind::Sequence { items: Vec::new(), flow: false }, tag, start, anchor, Default::default());
                let items = self.entries_without_indent()?;
                Ok(self.close(id, items, Lines::new(), Lines::new()))
            }
            Kind::Scalar { .. } => {
                let comments = self.comments();
                let Some(Token { kind: Kind::Scalar { style, value }, end, .. }) = self.take()? else {
                    return Err(fault(here, "a value is missing here"));
                };
                let id = self.add(NodeKind::Scalar { style, value }, tag, start, start.at..end.at, comments);
                self.anchors.extend(anchor.map(|name| (name, id)));
                Ok(id)
            }
            Kind::FlowSequenceStart => {
                let comments = self.comments();
                let id = self.open(NodeKind::Sequence { items: Vec::new(), flow: true }, tag, start, anchor, comments);
                self.flow_sequence(id, here)
            }
            Kind::FlowMappingStart => {
                let comments = self.comments();
                let id = self.open(NodeKind::Mapping { items: Vec::new(), flow: true }, tag, start, anchor, comments);
                self.flow_mapping(id, here)
            }
            Kind::BlockSequenceStart if place != Place::Flow => {
                let head = self.stem.take().unwrap_or_default();
                let kind = NodeKind::Sequence { items: Vec::new(), flow: false };
                let id = self.open(kind, tag, start, anchor, (head, Lines::new(), Lines::new()));
                self.block_sequence(id, here)
            }
            Kind::BlockMappingStart if place != Place::Flow => {
                let head = self.stem.take().unwrap_or_default();
                let kind = NodeKind::Mapping { items: Vec::new(), flow: false };
                let id = self.open(kind, tag, start, anchor, (head, Lines::new(), Lines::new()));
                self.block_mapping(id, here)
            }
            _ if marked => {
                let kind = NodeKind::Scalar { style: Style::Plain, value: Cow::Borrowed("") };
                let id = self.add(kind, tag, start, start.at..end, Default::default());
                self.anchors.extend(anchor.map(|name| (name, id)));
                Ok(id)
            }
            _ => Err(fault(here, "a value is missing here, or what stands here is indented wrongly")),
        }
    }

    fn block_sequence(&mut self, id: Id, opened: Mark) -> Result<Id, Fault> {
        self.skip()?;
        let mut items = Vec::new();
        loop {
            let token = self.peek()?;
            let start = token.start;
            match token.kind {
                Kind::BlockEntry => {
                    items.push(self.entry(|kind| matches!(kind, Kind::BlockEntry | Kind::BlockEnd))?);
                }
                Kind::BlockEnd => {
                    self.skip()?;
                    return Ok(self.close(id, items, Lines::new(), Lines::new()));
                }
                _ => return Err(not_expected(start, opened, "a list goes on with '-'")),
            }
        }
    }

    fn entries_without_indent(&mut self) -> Result<Vec<Id>, Fault> {
        let mut items = Vec::new();
        while self.peek()?.kind == Kind::BlockEntry {
            let ends = |kind: &Kind<'_>| matches!(kind, Kind::BlockEntry | Kind::Key | Kind::Value | Kind::BlockEnd);
            items.push(self.entry(ends)?);
        }
        Ok(items)
    }

    /// `-` and its value, which is nothing where one of these kinds of token follows.
    fn entry(&mut self, ends: fn(&Kind<'_>) -> bool) -> Result<Id, Fault> {
        let mark = self.peek()?.end;
        let before = self.head.len();
        self.skip()?;
        // A comment before the dash is the collection's that opens behind it; one after the dash its first member's.
        let opens = matches!(self.peek()?.kind, Kind::BlockSequenceStart | Kind::BlockMappingStart);
        if before > 0 && opens {
            let rest = self.head.split_off(before);
            self.stem = Some(std::mem::replace(&mut self.head, rest));
        }
        if ends(&self.peek()?.kind) { Ok(self.empty(mark)) } else { self.node(Place::Block) }
    }

    fn block_mapping(&mut self, id: Id, opened: Mark) -> Result<Id, Fault> {
        let no_value = |kind: &Kind<'_>| matches!(kind, Kind::Key | Kind::Value | Kind::BlockEnd);
        self.skip()?;
        let mut items: Vec<Id> = Vec::new();
        loop {
            let token = self.peek()?;
            let (start, mark) = (token.start, token.end);
            match token.kind {
                Kind::Key => {
                    self.skip()?;
                    let key = if no_value(&self.peek()?.kind) { self.empty(mark) } else { self.node(Place::BlockOrEntries)? };
                    items.push(key);
                    // A foot before a key is that of the key before, whose value was deeper.
                    if !self.out.nodes[key].foot.is_empty() && items.len() > 2 {
                        let foot = std::mem::take(&mut self.out.nodes[key].foot);
                        let before = items[items.len() - 3];
                        self.out.nodes[before].foot = foot;
                    }
                    let token = self.peek()?;
                    let (start, mark) = (token.start, token.end);
                    let value = if token.kind == Kind::Value {
                        self.skip()?;
                        if no_value(&self.peek()?.kind) { self.empty(mark) } else { self.node(Place::BlockOrEntries)? }
                    } else {
                        self.empty(start)
                    };
                    items.push(value);
                    self.foot_to_key(key, value);
                }
                Kind::BlockEnd => {
                    let (_, line, mut foot) = self.comments();
                    self.skip()?;
                    if !foot.is_empty() && items.len() > 1 {
                        let key = items[items.len() - 2];
                        self.out.nodes[key].foot = std::mem::take(&mut foot);
                    }
                    return Ok(self.close(id, items, line, foot));
                }
                _ => return Err(not_expected(start, opened, "a map goes on with a key; is the indentation right?")),
            }
        }
    }

    fn foot_to_key(&mut self, key: Id, value: Id) {
        if self.out.nodes[key].foot.is_empty() && !self.out.nodes[value].foot.is_empty() {
            self.out.nodes[key].foot = std::mem::take(&mut self.out.nodes[value].foot);
        }
    }

    fn flow_sequence(&mut self, id: Id, opened: Mark) -> Result<Id, Fault> {
        self.skip()?;
        let mut items = Vec::new();
        loop {
            if self.peek()?.kind == Kind::FlowSequenceEnd {
                break;
            }
            if !items.is_empty() {
                let start = self.peek()?.start;
                self.expect(|kind| *kind == Kind::FlowEntry, "")
                    .map_err(|_| not_expected(start, opened, "here ',' or ']' must stand"))?;
            }
            let token = self.peek()?;
            let (start, end) = (token.start, token.end);
            match token.kind {
                Kind::Key => {
                    let kind = NodeKind::Mapping { items: Vec::new(), flow: true };
                    let pair = self.open(kind, None, start, None, Default::default());
                    self.skip()?;
                    let ends = |kind: &Kind<'_>| matches!(kind, Kind::Value | Kind::FlowEntry | Kind::FlowSequenceEnd);
                    let key = if ends(&self.peek()?.kind) {
                        // The reference takes the token that ends the empty key with it.
                        self.skip()?;
                        self.empty(end)
                    } else {
                        self.node(Place::Flow)?
                    };
                    let value = self.flow_value(Kind::FlowSequenceEnd)?;
                    self.foot_to_key(key, value);
                    items.push(self.close(pair, vec![key, value], Lines::new(), Lines::new()));
                }
                Kind::FlowSequenceEnd => break,
                _ => items.push(self.node(Place::Flow)?),
            }
        }
        let (_, line, foot) = self.comments();
        self.skip()?;
        Ok(self.close(id, items, line, foot))
    }

    fn flow_mapping(&mut self, id: Id, opened: Mark) -> Result<Id, Fault> {
        self.skip()?;
        let mut items = Vec::new();
        loop {
            if self.peek()?.kind == Kind::FlowMappingEnd {
                break;
            }
            if !items.is_empty() {
                let start = self.peek()?.start;
                self.expect(|kind| *kind == Kind::FlowEntry, "")
                    .map_err(|_| not_expected(start, opened, "here ',' or '}' must stand"))?;
            }
            let (key, value) = match self.peek()?.kind {
                Kind::Key => {
                    self.skip()?;
                    let ends = |kind: &Kind<'_>| matches!(kind, Kind::Value | Kind::FlowEntry | Kind::FlowMappingEnd);
                    let token = self.peek()?;
                    let start = token.start;
                    let key = if ends(&token.kind) { self.empty(start) } else { self.node(Place::Flow)? };
                    (key, self.flow_value(Kind::FlowMappingEnd)?)
                }
                Kind::FlowMappingEnd => break,
                _ => {
                    let key = self.node(Place::Flow)?;
                    let start = self.peek()?.start;
                    (key, self.empty(start))
                }
            };
            self.foot_to_key(key, value);
            items.extend([key, value]);
        }
        let (_, line, foot) = self.comments();
        self.skip()?;
        Ok(self.close(id, items, line, foot))
    }

    fn flow_value(&mut self, closing: Kind<'static>) -> Result<Id, Fault> {
        if self.peek()?.kind == Kind::Value {
            self.skip()?;
            let token = self.peek()?;
            if token.kind != Kind::FlowEntry && token.kind != closing {
                return self.node(Place::Flow);
            }
        }
        let start = self.peek()?.start;
        Ok(self.empty(start))
    }

    /// The next token; comments that stand before it are gathered.
    fn peek(&mut self) -> Result<&Token<'a>, Fault> {
        self.scanner.fill()?;
        let Some((at, is_end)) = self.scanner.head().map(|token| (token.start.at, token.kind == Kind::BlockEnd)) else {
            return Err(Fault::new(1, 1, "the text ends too early"));
        };
        while let Some(comment) = self.scanner.comments.front() {
            // A head is never that of an end.
            if at < comment.token.at || is_end && !comment.head.is_empty() {
                break;
            }
            if let Some(comment) = self.scanner.comments.pop_front() {
                self.head.extend(comment.head);
                self.line.extend(comment.line);
                self.foot.extend(comment.foot);
            }
        }
        self.scanner.head().ok_or_else(|| Fault::new(1, 1, "the text ends too early"))
    }

    fn take(&mut self) -> Result<Option<Token<'a>>, Fault> {
        self.peek()?;
        let token = self.scanner.take();
        if let Some(token) = &token
            && token.kind != Kind::BlockEnd
        {
            self.last_end = token.end.at;
        }
        Ok(token)
    }

    fn skip(&mut self) -> Result<(), Fault> {
        self.take().map(drop)
    }

    fn expect(&mut self, is: fn(&Kind<'_>) -> bool, problem: &'static str) -> Result<(), Fault> {
        let token = self.peek()?;
        if !is(&token.kind) {
            return Err(fault(token.start, problem));
        }
        self.skip()
    }

    /// All comments gathered: head, line and foot.
    fn comments(&mut self) -> (Lines, Lines, Lines) {
        self.stem = None;
        (std::mem::take(&mut self.head), std::mem::take(&mut self.line), std::mem::take(&mut self.foot))
    }

    fn add(
        &mut self,
        kind: NodeKind<'a>,
        tag: Option<Piece<'a>>,
        start: Mark,
        span: std::ops::Range<usize>,
        (head, line, foot): (Lines, Lines, Lines),
    ) -> Id {
        self.out.nodes.push(Node { kind, tag, head, line, foot, start, span });
        self.out.nodes.len() - 1
    }

    fn empty(&mut self, mark: Mark) -> Id {
        let kind = NodeKind::Scalar { style: Style::Plain, value: Cow::Borrowed("") };
        self.add(kind, None, mark, mark.at..mark.at, Default::default())
    }

    /// A collection; an alias to it within itself is found out when it is followed.
    fn open(
        &mut self,
        kind: NodeKind<'a>,
        tag: Option<Piece<'a>>,
        start: Mark,
        anchor: Option<&'a str>,
        comments: (Lines, Lines, Lines),
    ) -> Id {
        let id = self.add(kind, tag, start, start.at..start.at, comments);
        self.anchors.extend(anchor.map(|name| (name, id)));
        id
    }

    fn close(&mut self, id: Id, content: Vec<Id>, line: Lines, foot: Lines) -> Id {
        let end = self.last_end;
        let node = &mut self.out.nodes[id];
        if let NodeKind::Sequence { items, .. } | NodeKind::Mapping { items, .. } = &mut node.kind {
            *items = content;
        }
        node.line = line;
        node.foot = foot;
        node.span.end = end.max(node.span.start);
        id
    }

    fn full_tag(&self, handle: &str, suffix: Piece<'a>, at: Mark) -> Result<Piece<'a>, Fault> {
        if handle.is_empty() {
            return Ok(suffix);
        }
        let own = self.handles.iter().find(|(known, _)| *known == handle).map(|(_, prefix)| prefix.as_ref());
        let prefix = match (own, handle) {
            (Some(prefix), _) => prefix,
            (None, "!") => "!",
            (None, "!!") => LONG,
            (None, _) => return Err(fault(at, "a tag whose handle no %TAG defines")),
        };
        Ok(Cow::Owned(format!("{prefix}{suffix}")))
    }
}

const LONG: &str = "tag:yaml.org,2002:";

fn short(tag: Piece<'_>) -> Piece<'_> {
    match tag.strip_prefix(LONG) {
        Some(name) => Cow::Owned(format!("!!{name}")),
        None => tag,
    }
}

fn fault(mark: Mark, problem: &'static str) -> Fault {
    Fault::new(mark.line + 1, u32::try_from(mark.column).unwrap_or(0) + 1, problem)
}

fn not_expected(mark: Mark, opened: Mark, problem: &'static str) -> Fault {
    let mut fault = fault(mark, problem);
    fault.since = Some(opened.line + 1);
    fault
}

/// What is asked of one line of a comment.
struct Lines1;

impl Lines1 {
    const fn is_blank(line: &std::ops::Range<usize>) -> bool {
        line.start == line.end
    }
}
