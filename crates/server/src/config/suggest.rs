//! The known name that a mistyped one is nearest to.

/// The nearest of `known` to `name` by edit distance, if it is near enough to be what was meant: at most a third of the letters
/// are wrong.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    known
        .into_iter()
        .map(|candidate| (distance(&name, candidate), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= (name.len().max(candidate.len()) / 3).max(1))
        .map(|(_, candidate)| candidate)
}

/// How many letters must be inserted, removed, replaced or swapped with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        for (a, b, n) in
            [("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("ui", "iu", 1), ("path", "path", 0), ("ab", "xy", 2)]
        {
            assert_eq!(distance(a, b), n, "{a} {b}");
            assert_eq!(distance(b, a), n, "{b} {a}");
        }
    }

    #[test]
    fn suggests_what_is_near_and_nothing_that_is_far() {
        let known = ["api_addr", "cluster_addr", "ui", "max_lease_ttl"];
        for (typed, meant) in [
            ("api_adr", Some("api_addr")),
            ("API_ADDR", Some("api_addr")),
            ("max_leese_tll", Some("max_lease_ttl")),
            ("iu", Some("ui")),
        ] {
            assert_eq!(nearest(typed, known), meant, "{typed}");
        }
        for typed in ["zebra", "x", "a_long_word_of_no_meaning", ""] {
            assert_eq!(nearest(typed, known), None, "{typed}");
        }
        assert_eq!(nearest("x", []), None);
    }
}
