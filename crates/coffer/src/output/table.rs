//! Columns.

/// Rows in columns, four spaces apart. An empty cell is shown as `n/a`; the last column is not padded.
pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    spaced(rows, 4)
}

/// [`columns`] with another gap.
pub(crate) fn spaced(rows: &[Vec<String>], gap: usize) -> String {
    let shown = |cell: &str| if cell.is_empty() { "n/a".to_owned() } else { cell.to_owned() };
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        for (i, cell) in row.iter().enumerate() {
            let width = shown(cell).chars().count();
            if i == widths.len() {
                widths.push(width);
            } else {
                widths[i] = widths[i].max(width);
            }
        }
    }
    let mut out = String::new();
    for row in rows {
        for (i, cell) in row.iter().enumerate() {
            let cell = shown(cell);
            out.push_str(&cell);
            if i + 1 < row.len() {
                out.extend(std::iter::repeat_n(' ', widths[i] - cell.chars().count() + gap));
            }
        }
        out.push('\n');
    }
    out
}

/// A heading over each column, and dashes under it.
pub(crate) fn headed<const N: usize>(heading: [&str; N], rows: impl IntoIterator<Item = Vec<String>>) -> Vec<Vec<String>> {
    let mut all = vec![heading.iter().map(|h| (*h).to_owned()).collect(), heading.iter().map(|h| "-".repeat(h.len())).collect()];
    all.extend(rows);
    all
}

/// `Key` and `Value`.
pub(crate) fn pairs(rows: impl IntoIterator<Item = (String, String)>) -> Vec<Vec<String>> {
    headed(["Key", "Value"], rows.into_iter().map(|(k, v)| vec![k, v]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_characters() {
        let rows = pairs([
            ("token".to_owned(), "∞".to_owned()),
            ("ü".to_owned(), String::new()),
            ("long_key".to_owned(), "v w".to_owned()),
        ]);
        assert_eq!(columns(&rows), "Key         Value\n---         -----\ntoken       ∞\nü           n/a\nlong_key    v w\n");
    }

    #[test]
    fn no_rows_no_text() {
        assert_eq!(columns(&[]), "");
    }
}
