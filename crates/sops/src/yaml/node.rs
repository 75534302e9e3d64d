//! Nodes: what stands in a document, with its comments and its place.

use std::ops::Range;

use super::scan::{Lines, Mark, Style};
use super::source::Piece;

/// Where a node is among all of a file.
pub(super) type Id = usize;

pub(super) struct Node<'a> {
    pub(super) kind: NodeKind<'a>,
    /// In its short form (`!!str`); `None` if there is none, or `!`.
    pub(super) tag: Option<Piece<'a>>,
    pub(super) head: Lines,
    pub(super) line: Lines,
    pub(super) foot: Lines,
    /// Where it begins, its anchor and tag included.
    pub(super) start: Mark,
    /// The bytes it stands in, anchor and tag included. Of a scalar to its end; of a collection to the end of what was read of it.
    pub(super) span: Range<usize>,
}

pub(super) enum NodeKind<'a> {
    Scalar {
        style: Style,
        value: Piece<'a>,
    },
    Sequence {
        items: Vec<Id>,
        flow: bool,
    },
    /// Keys and values in turn.
    Mapping {
        items: Vec<Id>,
        flow: bool,
    },
    Alias {
        name: &'a str,
        target: Id,
    },
}

pub(super) struct Document {
    pub(super) root: Id,
    pub(super) head: Lines,
    pub(super) foot: Lines,
    /// The place behind everything of the document: that of the marker of the next, of its own end, or of the end of the text.
    pub(super) end: usize,
}

/// A file, read.
pub(super) struct Stream<'a> {
    pub(super) text: &'a str,
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) documents: Vec<Document>,
}

impl<'a> Node<'a> {
    /// A scalar that is a text whatever it reads like: quoted, or tagged so.
    pub(super) fn is_indicated_text(&self) -> bool {
        match (&self.kind, self.tag.as_deref()) {
            (NodeKind::Scalar { .. }, Some(tag)) => tag == "!!str",
            (NodeKind::Scalar { style, .. }, None) => *style != Style::Plain,
            _ => false,
        }
    }

    /// `<<`, neither quoted nor tagged as something else.
    pub(super) fn is_merge(&self) -> bool {
        matches!(&self.kind, NodeKind::Scalar { style, value } if value == "<<"
            && match self.tag.as_deref() { None => *style == Style::Plain, Some(tag) => tag == "!!merge" })
    }
}
