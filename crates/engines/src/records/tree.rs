//! Names as a tree of folders: lists of one folder, and of all below it.

use coffer_engine::View;
use coffer_types::Result;
use std::collections::BTreeSet;

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

    /// All names below a folder, relative to it: first its own children, then its folders' from the last to the first,
    /// each whole. (The order in which the reference walks.) Only names in folders that `shows` lets through. `after`
    /// is a name in that same order.
    pub async fn descend(&self, folder: &str, page: &Page, shows: impl Fn(&str) -> bool) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let mut waiting = vec![String::new()];
        while let Some(below) = waiting.pop() {
            let whole = format!("{folder}{below}");
            let shown = shows(&whole);
            for child in self.children(&whole, &Page::default()).await? {
                let name = format!("{below}{child}");
                if child.ends_with('/') {
                    waiting.push(name);
                } else if shown && page.after.as_deref().is_none_or(|after| walked_before(after, &name)) {
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
fn walked_before(a: &str, b: &str) -> bool {
    match (a.split_once('/'), b.split_once('/')) {
        (None, None) => a < b,
        (None, Some(_)) => true,
        (Some(_), None) => false,
        (Some((x, a)), Some((y, b))) if x == y => walked_before(a, b),
        // As folders stand in a list: with their slashes.
        (Some((x, _)), Some((y, _))) => format!("{x}/") > format!("{y}/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::V1;
    use coffer_engine::testing::Bench;
    use coffer_types::Operation;
    use proptest::prelude::*;

    proptest! {
        /// Pages put together are the whole, whatever their size.
        #[test]
        fn pages_lose_nothing(names in prop::collection::btree_set("[ab!-]{1,2}(/[ab!-]{1,2}){0,3}", 1..12), size in 1usize..4) {
            let b = Bench::new::<V1>("kv/", &[]);
            for name in &names {
                b.call(Operation::Update, name, r#"{"a":1}"#).unwrap();
            }
            let walk = |page: Page| {
                b.within(async |view, _| Tree::of(&view, &["v1/"]).descend("", &page, |_| true).await).unwrap()
            };
            let whole = walk(Page::default());
            prop_assert_eq!(whole.len(), names.len());
            let mut pages = Vec::new();
            loop {
                let page = walk(Page { after: pages.last().cloned(), limit: Some(size) });
                if page.is_empty() {
                    break;
                }
                pages.extend(page);
            }
            prop_assert_eq!(pages, whole);
        }
    }
}
