//! The tree to text, byte for byte as sops has go-yaml v3 write it.
//!
//! go-yaml keeps comments back until a place comes where they can be written; that place can be past the node they belong to. The
//! fields of [`Emitter`] are those comments, and what is done to them is done in its order.

mod scalar;

use zeroize::Zeroizing;

pub(super) use scalar::{Written, token};

use crate::tree::{Branch, Comment, Element, Entry, Item, Key, Value};

/// Documents, separated by `---`; `indent` outside 2 to 9 is 2.
pub(super) fn documents<'a>(documents: impl Iterator<Item = &'a Branch>, indent: usize) -> Zeroizing<String> {
    let mut emitter = Emitter::new(indent);
    for (number, branch) in documents.enumerate() {
        if number > 0 {
            emitter.write_indent();
            emitter.indicator("---", true, false, false);
            emitter.write_indent();
        }
        emitter.document(Node::Map(Members::of(branch)));
    }
    emitter.out
}

/// One value as a document.
pub(super) fn value(value: &Value, indent: usize) -> Zeroizing<String> {
    let mut emitter = Emitter::new(indent);
    emitter.document(Node::of(value));
    emitter.out
}

/// A text in double quotes.
pub(super) fn double(text: &str) -> Zeroizing<String> {
    let mut emitter = Emitter::new(4);
    emitter.double(text);
    emitter.out
}

/// Comments in front of what they go with.
#[derive(Default)]
struct Comments {
    head: String,
    line: String,
    foot: String,
    tail: String,
}

enum Node<'a> {
    Scalar(Written<'a>),
    List(Elements<'a>),
    Map(Members<'a>),
}

impl<'a> Node<'a> {
    fn of(value: &'a Value) -> Self {
        match value {
            Value::Map(branch) => Self::Map(Members::of(branch)),
            Value::List(list) => Self::List(Elements::of(list)),
            leaf => Self::Scalar(token(leaf)),
        }
    }

    fn own_head(&mut self) -> String {
        match self {
            Self::Scalar(_) => String::new(),
            Self::List(list) => std::mem::take(&mut list.head),
            Self::Map(map) => std::mem::take(&mut map.head),
        }
    }
}

/// A map's entries with the comments that go with each.
struct Members<'a> {
    head: String,
    /// Entry, its key's head, its value's line.
    entries: Vec<(&'a Entry, String, String)>,
    /// Behind the last key.
    foot: String,
}

impl<'a> Members<'a> {
    fn of(branch: &'a Branch) -> Self {
        let mut out = Self { head: String::new(), entries: Vec::new(), foot: String::new() };
        let mut own = String::new();
        let mut inline = String::new();
        for item in &branch.items {
            match item {
                Item::Comment(comment) => append(comment, if comment.inline { &mut inline } else { &mut own }),
                Item::Entry(entry) => {
                    if out.entries.is_empty() {
                        out.head = std::mem::take(&mut own);
                    }
                    out.entries.push((entry, std::mem::take(&mut own), std::mem::take(&mut inline)));
                }
            }
        }
        let rest = joined(own, inline);
        *(if out.entries.is_empty() { &mut out.head } else { &mut out.foot }) = rest;
        out
    }
}

struct Elements<'a> {
    head: String,
    /// Value, its head, its line.
    values: Vec<(&'a Value, String, String)>,
    /// Behind the last value.
    foot: String,
}

impl<'a> Elements<'a> {
    fn of(list: &'a [Element]) -> Self {
        let mut out = Self { head: String::new(), values: Vec::new(), foot: String::new() };
        let mut own = String::new();
        let mut inline = String::new();
        for element in list {
            match element {
                Element::Comment(comment) => append(comment, if comment.inline { &mut inline } else { &mut own }),
                Element::Value(value, _) => {
                    if out.values.is_empty() {
                        out.head = std::mem::take(&mut own);
                    }
                    out.values.push((value, std::mem::take(&mut own), std::mem::take(&mut inline)));
                }
            }
        }
        let rest = joined(own, inline);
        *(if out.values.is_empty() { &mut out.head } else { &mut out.foot }) = rest;
        out
    }
}

fn append(comment: &Comment, to: &mut String) {
    if !to.is_empty() {
        to.push('\n');
    }
    to.push('#');
    to.push_str(&comment.text.lossy());
}

fn joined(mut first: String, second: String) -> String {
    if !first.is_empty() && !second.is_empty() {
        first.push('\n');
    }
    first.push_str(&second);
    first
}

struct Emitter {
    out: Zeroizing<String>,
    column: i32,
    best: i32,
    indent: i32,
    /// The last thing written is white space or begins a line.
    whitespace: bool,
    /// Only indentation and indicators stand on this line.
    indention: bool,
    /// The column of a foot comment just written: what follows there is set off by a blank line.
    foot_indent: i32,
    pending: Comments,
    key_line: String,
}

impl Emitter {
    fn new(indent: usize) -> Self {
        Self {
            out: Zeroizing::new(String::new()),
            column: 0,
            best: if (2..=9).contains(&indent) { i32::try_from(indent).unwrap_or(2) } else { 2 },
            indent: -1,
            whitespace: true,
            indention: true,
            foot_indent: -1,
            pending: Comments::default(),
            key_line: String::new(),
        }
    }

    fn document(&mut self, mut root: Node<'_>) {
        let head = root.own_head();
        self.event(Comments { head, ..Comments::default() });
        self.write_head();
        self.node(&root, false, false, String::new());
        self.foot_indent = 0;
        self.write_foot();
        self.foot_indent = -1;
        self.write_indent();
    }

    /// The comments of what comes next.
    fn event(&mut self, comments: Comments) {
        let Comments { head, line, foot, tail } = comments;
        for (new, kept) in [
            (head, &mut self.pending.head),
            (line, &mut self.pending.line),
            (foot, &mut self.pending.foot),
            (tail, &mut self.pending.tail),
        ] {
            if !new.is_empty() {
                *kept = new;
            }
        }
    }

    /// A node and the comments after its beginning; `end_line` is the line comment of a collection, which waits for its end.
    fn node(&mut self, node: &Node<'_>, in_list: bool, simple_key: bool, end_line: String) {
        match node {
            Node::Scalar(written) => {
                self.scalar(written, in_list, simple_key);
                if !simple_key {
                    self.write_line();
                    self.write_foot();
                }
            }
            Node::Map(map) => {
                self.write_line();
                self.write_foot();
                self.map(map, in_list, end_line);
            }
            Node::List(list) => {
                self.write_line();
                self.write_foot();
                self.list(list, in_list, end_line);
            }
        }
    }

    fn deeper(&mut self, flow: bool, in_list: bool) -> i32 {
        let before = self.indent;
        self.indent = if before < 0 {
            if flow { self.best } else { 0 }
        } else if in_list {
            before + 2
        } else {
            self.best * ((before + self.best) / self.best)
        };
        before
    }

    fn map(&mut self, map: &Members<'_>, in_list: bool, end_line: String) {
        if map.entries.is_empty() {
            self.indicator("{", true, true, false);
            let before = self.deeper(true, in_list);
            self.event(Comments { line: end_line, ..Comments::default() });
            self.write_head();
            self.indent = before;
            self.indicator("}", false, false, false);
            self.write_line();
            self.write_foot();
            return;
        }
        let before = self.deeper(false, in_list);
        for (entry, head, line) in &map.entries {
            self.event(Comments { head: head.clone(), ..Comments::default() });
            self.write_head();
            self.entry(entry, line.clone());
        }
        self.event(Comments { tail: map.foot.clone(), line: end_line, ..Comments::default() });
        self.write_head();
        self.indent = before;
    }

    fn entry(&mut self, entry: &Entry, line: String) {
        let key = match &entry.key {
            Key::Text(text) => scalar::text(text),
            Key::Other { text, .. } => Written::plain(text),
        };
        self.write_indent();
        if !self.pending.line.is_empty() {
            self.key_line = std::mem::take(&mut self.pending.line);
        }
        let simple = key.is_simple_key();
        if simple {
            self.node(&Node::Scalar(key), false, true, String::new());
            self.indicator(":", false, false, false);
        } else {
            self.indicator("?", true, false, true);
            // Comments wait for the value.
            self.scalar(&key, false, false);
        }
        let mut value = Node::of(&entry.value);
        let head = value.own_head();
        let is_scalar = matches!(value, Node::Scalar(_));
        let (now, end_line) = if is_scalar { (line, String::new()) } else { (String::new(), line) };
        self.event(Comments { head, line: now, ..Comments::default() });
        if !simple {
            self.write_indent();
            self.indicator(":", true, false, true);
        }
        if !self.key_line.is_empty() {
            if !is_scalar {
                std::mem::swap(&mut self.key_line, &mut self.pending.line);
                self.write_line();
                std::mem::swap(&mut self.key_line, &mut self.pending.line);
            } else if self.pending.line.is_empty() {
                self.pending.line = std::mem::take(&mut self.key_line);
            }
        }
        self.node(&value, false, false, end_line);
    }

    fn list(&mut self, list: &Elements<'_>, in_list: bool, end_line: String) {
        if list.values.is_empty() {
            self.indicator("[", true, true, false);
            let before = self.deeper(true, in_list);
            self.event(Comments { line: end_line, ..Comments::default() });
            self.indent = before;
            if self.column == 0 {
                self.write_indent();
            }
            self.indicator("]", false, false, false);
            self.write_line();
            self.write_foot();
            return;
        }
        let before = self.deeper(false, in_list);
        let last = list.values.len() - 1;
        for (number, (value, head, line)) in list.values.iter().enumerate() {
            let mut node = Node::of(value);
            let head = joined(head.clone(), node.own_head());
            let foot = if number == last { list.foot.clone() } else { String::new() };
            let (mut now, mut end) = (Comments { head, ..Comments::default() }, String::new());
            let mut end_foot = String::new();
            if matches!(node, Node::Scalar(_)) {
                now.line = line.clone();
                now.foot = foot;
            } else {
                end = line.clone();
                end_foot = foot;
            }
            self.event(now);
            self.write_head();
            self.write_indent();
            self.indicator("-", true, false, true);
            match node {
                Node::Map(ref mut map) if !end_foot.is_empty() => {
                    self.node_with_foot(&Node::Map(std::mem::replace(map, Members::of(&Branch::new()))), end, end_foot);
                }
                Node::List(ref mut inner) if !end_foot.is_empty() => {
                    self.node_with_foot(&Node::List(std::mem::replace(inner, Elements::of(&[]))), end, end_foot);
                }
                _ => self.node(&node, true, false, end),
            }
        }
        self.event(Comments { line: end_line, ..Comments::default() });
        self.indent = before;
    }

    /// A collection in a list, whose foot comment waits for its end.
    fn node_with_foot(&mut self, node: &Node<'_>, end_line: String, foot: String) {
        let empty = match node {
            Node::Map(map) => map.entries.is_empty(),
            Node::List(list) => list.values.is_empty(),
            Node::Scalar(_) => false,
        };
        if empty {
            // The end comes at once, so the foot is written where it is.
            self.write_line();
            self.write_foot();
            let open = if matches!(node, Node::Map(_)) { ("{", "}") } else { ("[", "]") };
            self.indicator(open.0, true, true, false);
            let before = self.deeper(true, true);
            self.event(Comments { line: end_line, foot, ..Comments::default() });
            if open.0 == "{" {
                self.write_head();
            }
            self.indent = before;
            if open.0 == "[" && self.column == 0 {
                self.write_indent();
            }
            self.indicator(open.1, false, false, false);
            self.write_line();
            self.write_foot();
        } else {
            self.node(node, true, false, end_line);
            self.event(Comments { foot, ..Comments::default() });
        }
    }

    fn write_head(&mut self) {
        if !self.pending.tail.is_empty() {
            self.write_indent();
            let tail = std::mem::take(&mut self.pending.tail);
            self.write_comment(&tail);
            self.foot_indent = self.indent.max(0);
        }
        if !self.pending.head.is_empty() {
            self.write_indent();
            let head = std::mem::take(&mut self.pending.head);
            self.write_comment(&head);
        }
    }

    fn write_line(&mut self) {
        if !self.pending.line.is_empty() {
            if !self.whitespace {
                self.put(" ");
            }
            let line = std::mem::take(&mut self.pending.line);
            self.write_comment(&line);
        }
    }

    fn write_foot(&mut self) {
        if !self.pending.foot.is_empty() {
            self.write_indent();
            let foot = std::mem::take(&mut self.pending.foot);
            self.write_comment(&foot);
            self.foot_indent = self.indent.max(0);
        }
    }

    fn write_comment(&mut self, comment: &str) {
        let mut after_break = false;
        let mut signed = false;
        for c in comment.chars() {
            if scalar::is_break(c) {
                self.put_break(c);
                after_break = true;
                signed = false;
                continue;
            }
            if after_break {
                self.write_indent();
            }
            if !signed && c != '#' {
                self.put("# ");
            }
            signed = true;
            self.put_char(c);
            self.indention = false;
            after_break = false;
        }
        if !after_break {
            self.put_break('\n');
        }
        self.whitespace = true;
    }

    fn write_indent(&mut self) {
        let indent = self.indent.max(0);
        if !self.indention || self.column > indent || self.column == indent && !self.whitespace {
            self.put_break('\n');
        }
        if self.foot_indent == indent {
            self.put_break('\n');
        }
        while self.column < indent {
            self.put(" ");
        }
        self.whitespace = true;
        self.foot_indent = -1;
    }

    fn indicator(&mut self, text: &str, need_space: bool, is_space: bool, is_indention: bool) {
        if need_space && !self.whitespace {
            self.put(" ");
        }
        self.put(text);
        self.whitespace = is_space;
        self.indention = self.indention && is_indention;
    }

    /// ASCII.
    fn put(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += i32::try_from(text.len()).unwrap_or(0);
    }

    fn put_char(&mut self, c: char) {
        self.out.push(c);
        self.column += 1;
    }

    fn put_break(&mut self, c: char) {
        self.out.push(if c == '\n' { '\n' } else { c });
        self.column = 0;
        self.indention = true;
    }
}
