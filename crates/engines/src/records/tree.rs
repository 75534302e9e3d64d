//! Names as a tree of folders: lists of one folder, and of all below it.

use coffer_engine::View;
use coffer_types::Result;
use std::collections::{BTreeSet, VecDeque};

/// Which part of a list is wanted.
#[derive(Clone, Default, Debug)]
pub struct Page {
    /// Strictly after this name, which need not exist.
    pub after: Option<String>,
    /// `None` for all.
    pub limit: Option<usize>,
}

impl Page {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(usize::MAX)
    }
}

/// Names that stand below one or more roots of a view, seen as one tree. (Two while a KV mount is upgraded.)
pub struct Tree<'v> {
    view: &'v View,
    roots: &'static [&'static str],
}

impl<'v> Tree<'v> {
    /// The names of records.
    pub const fn records(view: &'v View) -> Self {
        Self { view, roots: &["meta/"] }
    }

    /// The names below all of `roots`; each ends in `/`.
    pub const fn of(view: &'v View, roots: &'static [&'static str]) -> Self {
        Self { view, roots }
    }

    /// The children of a folder (empty, or ending in `/`) in byte order, folders with a trailing slash. A name that
    /// is both gives both: `a` and `a/`.
    pub async fn children(&self, folder: &str, page: &Page) -> Result<Vec<String>> {
        if let [root] = self.roots {
            return self.view.children(&format!("{root}{folder}"), page.after.as_deref(), page.limit()).await;
        }
        let mut all = BTreeSet::new();
        for root in self.roots {
            all.extend(self.view.children(&format!("{root}{folder}"), page.after.as_deref(), page.limit()).await?);
        }
        Ok(all.into_iter().take(page.limit()).collect())
    }

    /// All names below a folder, relative to it, level by level: first its own children, then its folders'. Only
    /// names in folders that `shows` lets through. `after` is a name in that same order.
    pub async fn descend(&self, folder: &str, page: &Page, shows: impl Fn(&str) -> bool) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let mut waiting = VecDeque::from([String::new()]);
        while let Some(below) = waiting.pop_front() {
            let whole = format!("{folder}{below}");
            let shown = shows(&whole);
            for child in self.children(&whole, &Page::default()).await? {
                let name = format!("{below}{child}");
                if child.ends_with('/') {
                    waiting.push_back(name);
                } else if shown && page.after.as_deref().is_none_or(|after| by_level(after, &name)) {
                    names.push(name);
                    if names.len() >= page.limit() {
                        return Ok(names);
                    }
                }
            }
        }
        Ok(names)
    }
}

/// Whether `a` stands before `b` in the order of [`Tree::descend`].
fn by_level(a: &str, b: &str) -> bool {
    let depth = |name: &str| name.bytes().filter(|b| *b == b'/').count();
    (depth(a), a) < (depth(b), b)
}
