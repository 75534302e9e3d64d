//! Finding the most specific rule that matches a path, without trying each.

use std::collections::HashMap;

use super::pattern::Pattern;

/// Patterns by number; among those with wildcards a greater number is more specific.
#[derive(Debug, Default)]
pub(crate) struct Index {
    exact: HashMap<Box<str>, u32>,
    prefixes: PrefixSet,
    segments: SegmentTrie,
}

impl Index {
    /// Numbers the patterns as they come. Those with wildcards must come in ascending order of [`Pattern::compare`].
    pub(crate) fn new<'a>(patterns: impl Iterator<Item = &'a Pattern>) -> Self {
        let mut index = Self::default();
        let mut prefixes = Vec::new();
        for (number, pattern) in (0..).zip(patterns) {
            match pattern {
                Pattern::Exact(text) => {
                    index.exact.insert(text.clone(), number);
                }
                Pattern::Prefix(text) => prefixes.push((text.clone(), number)),
                Pattern::Segments(_) => index.segments.insert(pattern.stem(), pattern.ends_in_glob(), number),
            }
        }
        index.prefixes = PrefixSet::new(prefixes);
        index.segments.finish();
        index
    }

    /// The rule for exactly this path.
    pub(crate) fn exact(&self, path: &str) -> Option<u32> {
        self.exact.get(path).copied()
    }

    /// The most specific rule with wildcards that matches.
    pub(crate) fn wild(&self, path: &str) -> Option<u32> {
        self.prefixes.longest(path).max(self.segments.find(path))
    }
}

/// Finds the longest of many texts that a text begins with.
#[derive(Debug, Default)]
struct PrefixSet {
    /// The empty text, which every text begins with. It stands apart because it is common (`…/*` below a `+`) and comparing
    /// with an empty slice costs ten times what the rest of a decision does on some processors: its dangling address makes the
    /// masked loads of the C library fault.
    empty: Option<u32>,
    sorted: Vec<Prefix>,
}

#[derive(Debug)]
struct Prefix {
    text: Box<str>,
    number: u32,
    /// Where the longest other text stands that this one begins with.
    shorter: Option<usize>,
}

impl PrefixSet {
    fn new(mut texts: Vec<(Box<str>, u32)>) -> Self {
        texts.sort_unstable();
        let mut set = Self::default();
        for (text, number) in texts {
            if text.is_empty() {
                set.empty = Some(number);
                continue;
            }
            // In sorted order, the texts that this one begins with are the one before or among those that that one begins with.
            let mut shorter = set.sorted.len().checked_sub(1);
            while let Some(i) = shorter {
                if text.starts_with(&*set.sorted[i].text) {
                    break;
                }
                shorter = set.sorted[i].shorter;
            }
            set.sorted.push(Prefix { text, number, shorter });
        }
        set
    }

    fn longest(&self, text: &str) -> Option<u32> {
        let mut at = self.sorted.partition_point(|prefix| &*prefix.text <= text).checked_sub(1);
        while let Some(prefix) = at.map(|at| &self.sorted[at]) {
            if text.starts_with(&*prefix.text) {
                return Some(prefix.number);
            }
            at = prefix.shorter;
        }
        self.empty
    }

    fn is_empty(&self) -> bool {
        self.empty.is_none() && self.sorted.is_empty()
    }
}

/// The patterns with `+`, by segments.
#[derive(Debug)]
struct SegmentTrie {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<Box<str>, usize>,
    plus: Option<usize>,
    /// The pattern that ends here.
    end: Option<u32>,
    /// Patterns whose last segment ends in `*`. Between those of one node the longest is the most specific.
    globs: PrefixSet,
    unsorted_globs: Vec<(Box<str>, u32)>,
}

impl Default for SegmentTrie {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl SegmentTrie {
    fn insert(&mut self, stem: &str, glob: bool, number: u32) {
        let (segments, last) = match stem.rsplit_once('/') {
            Some((before, last)) if glob => (Some(before), Some(last)),
            None if glob => (None, Some(stem)),
            _ => (Some(stem), None),
        };
        let mut at = 0;
        for segment in segments.into_iter().flat_map(|text| text.split('/')) {
            let new = self.nodes.len();
            let next = if segment == "+" {
                *self.nodes[at].plus.get_or_insert(new)
            } else {
                *self.nodes[at].literals.entry(segment.into()).or_insert(new)
            };
            if next == new {
                self.nodes.push(Node::default());
            }
            at = next;
        }
        match last {
            Some(last) => self.nodes[at].unsorted_globs.push((last.into(), number)),
            None => self.nodes[at].end = Some(number),
        }
    }

    fn finish(&mut self) {
        for node in &mut self.nodes {
            node.globs = PrefixSet::new(std::mem::take(&mut node.unsorted_globs));
        }
    }

    fn find(&self, path: &str) -> Option<u32> {
        if self.nodes.len() == 1 && self.nodes[0].globs.is_empty() {
            return None;
        }
        self.walk(&self.nodes[0], Some(path))
    }

    /// The best below one node. Recursion is as deep as the shorter of path and patterns; callers bound the path. Each node is
    /// visited at most once.
    fn walk(&self, node: &Node, rest: Option<&str>) -> Option<u32> {
        let Some(rest) = rest else { return node.end };
        let (segment, tail) = match rest.split_once('/') {
            Some((segment, tail)) => (segment, Some(tail)),
            None => (rest, None),
        };
        let literal = node.literals.get(segment).and_then(|next| self.walk(&self.nodes[*next], tail));
        let plus = node.plus.and_then(|next| self.walk(&self.nodes[next], tail));
        literal.max(plus).max(node.globs.longest(segment))
    }
}
