//! "Did you mean …?"

use super::table::{self, Command};

/// The nearest of `known`, if it is near enough to be what was meant.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let reach = (word.chars().count() / 3).clamp(1, 3);
    known.map(|k| (distance(word, k), k)).filter(|(d, _)| *d <= reach).min_by_key(|(d, _)| *d).map(|(_, k)| k)
}

pub(crate) fn command(word: &str) -> String {
    say(nearest(word, table::all().filter(|c| !c.path.contains(' ')).map(|c| c.path)), "")
}

pub(crate) fn subcommand(group: &'static Command, word: &str) -> String {
    say(nearest(word, group.children().map(Command::name)), "")
}

pub(crate) fn flag(command: &'static Command, word: &str) -> String {
    say(nearest(word, command.flags().map(|f| f.name)), "-")
}

fn say(near: Option<&str>, dash: &str) -> String {
    near.map(|near| format!("\nDid you mean {dash}{near}?")).unwrap_or_default()
}

/// Insertions, deletions, substitutions and swaps of neighbours between two words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let step = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut best = step.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_offered_and_far_ones_not() {
        let known = ["read", "write", "status", "secrets"];
        for (word, want) in [
            ("raed", Some("read")),
            ("wirte", Some("write")),
            ("stat", None),
            ("statsu", Some("status")),
            ("xyzzy", None),
            ("secret", Some("secrets")),
        ] {
            assert_eq!(nearest(word, known.into_iter()), want, "{word}");
        }
    }
}
