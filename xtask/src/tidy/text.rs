//! Rules on the texts themselves: sizes, words, and a few calls that only one place may make.

use std::path::Path;

const MOST_LINES: usize = 700;
const MOST_LINES_OF_THE_MAP: usize = 300;

/// One fault a line.
pub(crate) fn faults(root: &Path, files: &[String]) -> Vec<String> {
    let mut faults = tests_that_are_not_there(root, files);
    for file in files {
        // Recorded data is not ours to word; what is no text has no words.
        let Some(text) = (!file.contains("/golden/")).then(|| std::fs::read_to_string(root.join(file)).ok()).flatten() else {
            continue;
        };
        faults.extend(words(file, &text));
        if file.ends_with(".rs") {
            faults.extend(rust(file, &text));
        } else if file.ends_with(".md") {
            faults.extend(page(root, file, &text));
        }
    }
    faults
}

/// A page that says which test shows something names tests that exist.
fn tests_that_are_not_there(root: &Path, files: &[String]) -> Vec<String> {
    const PAGE: &str = "docs/past-vulnerabilities.md";
    let Ok(page) = std::fs::read_to_string(root.join(PAGE)) else { return Vec::new() };
    let sources: String = files
        .iter()
        .filter(|file| file.ends_with(".rs") || file.ends_with(".py"))
        .filter_map(|file| std::fs::read_to_string(root.join(file)).ok())
        .collect();
    unknown_tests(&page, &sources).map(|name| format!("{PAGE}: no test is called {name}")).collect()
}

/// The names of tests in a page (words in backticks with three or more parts) that no source defines.
fn unknown_tests<'a>(page: &'a str, sources: &'a str) -> impl Iterator<Item = &'a str> {
    let named = page.split('`').skip(1).step_by(2);
    named
        .filter(|name| name.matches('_').count() >= 2 || name.starts_with("test_"))
        .filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'))
        .filter(|name| {
            !sources.contains(&format!("fn {name}("))
                && !sources.contains(&format!("def {name}("))
                && !sources.contains(&format!("def test_{name}("))
        })
}

/// Words that do not belong in the project: places of one person's machine, and trailers of commits.
fn words(file: &str, text: &str) -> Vec<String> {
    // Written in two parts, so that this file does not hold them.
    let barred: Vec<String> = [("/root", "/."), ("/Users", "/"), ("C:", "\\Users"), ("Co-Authored", "-By")]
        .map(|(one, other)| format!("{one}{other}"))
        .into();
    numbered(text)
        .flat_map(|(number, line)| barred.iter().filter(move |word| line.contains(word.as_str())).map(move |word| (number, word)))
        .map(|(number, word)| format!("{file}:{number}: {word:?} does not belong in the project"))
        .collect()
}

fn rust(file: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let lines = text.lines().count();
    if lines > MOST_LINES {
        faults.push(format!("{file}: {lines} lines; split it by concept at {MOST_LINES}"));
    }
    faults.extend(lints_without_reason(file, text));
    let product = before_tests(file, text);
    for rule in CALLS {
        let allowed =
            rule.only_in.iter().any(|place| file.starts_with(place)) || !rule.rooms.iter().any(|room| file.starts_with(room));
        if allowed {
            continue;
        }
        for (number, line) in numbered(product) {
            let code = line.split("//").next().unwrap_or_default();
            if rule.calls.iter().any(|call| code.contains(call)) {
                faults.push(format!("{file}:{number}: {}", rule.why));
            }
        }
    }
    faults
}

/// A call that only some places make.
struct Calls {
    why: &'static str,
    calls: &'static [&'static str],
    /// Where the rule holds, by the start of the path.
    rooms: &'static [&'static str],
    only_in: &'static [&'static str],
}

const CALLS: &[Calls] = &[
    Calls {
        why: "only the decider makes a Permit",
        calls: &["granted_by_the_decider("],
        rooms: &["crates/"],
        only_in: &[
            "crates/engine/src/call.rs",
            "crates/engine/src/testing.rs",
            "crates/core/src/policy/decide",
            "crates/core/src/policies/decide",
            "crates/core/src/decide",
            "crates/testkit/",
        ],
    },
    Calls {
        why: "the clock is an argument (types::Clock)",
        calls: &["SystemTime::now(", "now_utc(", "now_local("],
        rooms: &[
            "crates/types/",
            "crates/crypto/",
            "crates/engine/",
            "crates/core/",
            "crates/engines/",
            "crates/auth/",
            "crates/dialects/",
            "crates/hcl/",
        ],
        only_in: &["crates/types/src/clock.rs"],
    },
];

/// Every `allow` and `expect` of a lint says why.
fn lints_without_reason(file: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for opening in ["[allow(", "[expect("] {
        for (at, _) in text.match_indices(opening).filter(|(at, _)| text[..*at].ends_with('#') || text[..*at].ends_with("#!")) {
            let attribute = text[at..].split(")]").next().unwrap_or_default();
            if !attribute.contains("reason") {
                faults.push(format!("{file}:{}: a lint is let off without a reason", line_of(text, at)));
            }
        }
    }
    faults
}

/// Pages: the map stays small, and links lead somewhere.
fn page(root: &Path, file: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let lines = text.lines().count();
    if file == "ARCHITECTURE.md" && lines > MOST_LINES_OF_THE_MAP {
        faults.push(format!("{file}: {lines} lines; it is a map, at most {MOST_LINES_OF_THE_MAP}"));
    }
    let folder = Path::new(file).parent().unwrap_or(Path::new(""));
    for (at, _) in text.match_indices("](") {
        let target = text[at + 2..].split([')', '#']).next().unwrap_or_default();
        let outside = target.is_empty() || target.contains("://") || target.contains(char::is_whitespace);
        if !outside && !root.join(folder).join(target).exists() {
            faults.push(format!("{file}:{}: {target} is not there", line_of(text, at)));
        }
    }
    faults
}

/// The part of a file that is the product: all before its tests, nothing of a test's own file.
fn before_tests<'a>(file: &str, text: &'a str) -> &'a str {
    if file.contains("/tests/") || file.contains("/benches/") || file.ends_with("/tests.rs") {
        return "";
    }
    text.split("#[cfg(test)]").next().unwrap_or_default()
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "#";

    #[test]
    fn a_file_that_grew_past_its_concept_is_named() {
        assert!(rust("crates/a/src/lib.rs", &"\n".repeat(700)).is_empty());
        assert_eq!(rust("crates/a/src/lib.rs", &"\n".repeat(701)).len(), 1);
    }

    #[test]
    fn a_lint_is_let_off_only_with_a_reason() {
        let bare = format!("{HEAD}[allow(dead_code)]\nfn a() {{}}\n");
        assert_eq!(rust("crates/a/src/lib.rs", &bare), ["crates/a/src/lib.rs:1: a lint is let off without a reason"]);
        let inner = format!("\n{HEAD}![expect(\n    dead_code,\n    unused\n)]\n");
        assert_eq!(rust("crates/a/src/lib.rs", &inner), ["crates/a/src/lib.rs:2: a lint is let off without a reason"]);
        let said = format!("{HEAD}[allow(\n    dead_code,\n    reason = \"the wire has it\"\n)]\n");
        assert!(rust("crates/a/src/lib.rs", &said).is_empty());
    }

    #[test]
    fn only_the_decider_and_tests_make_a_permit() {
        let call = "let p = Permit::granted_by_the_decider(op, by);\n";
        assert_eq!(rust("crates/core/src/pipeline.rs", call).len(), 1);
        assert_eq!(rust("crates/engines/src/kv/mod.rs", call).len(), 1);
        assert!(rust("crates/core/src/policy/decide.rs", call).is_empty());
        assert!(rust("crates/core/tests/it/main.rs", call).is_empty());
        assert!(rust("crates/core/src/pipeline.rs", &format!("{HEAD}[cfg(test)]\n{call}")).is_empty());
    }

    #[test]
    fn no_room_below_the_server_reads_the_clock() {
        assert_eq!(rust("crates/core/src/tokens.rs", "let t = SystemTime::now();").len(), 1);
        assert_eq!(rust("crates/engines/src/kv.rs", "let t = OffsetDateTime::now_utc();").len(), 1);
        assert!(rust("crates/types/src/clock.rs", "let t = SystemTime::now();").is_empty());
        assert!(rust("crates/core/src/tokens.rs", "// SystemTime::now() is for the server").is_empty());
    }

    #[test]
    fn words_of_one_machine_are_named_with_their_line() {
        let text = format!("fine\nsee {}{}/README\n", "/root", "/.cargo");
        assert_eq!(words("a.md", &text).len(), 1);
        assert!(words("a.md", &text)[0].starts_with("a.md:2:"));
        assert!(words("a.md", "it does work /work-dir").is_empty());
    }

    #[test]
    fn a_test_that_a_page_names_must_exist() {
        let sources = "fn one_that_is_there() {}\n    def test_other_in_python(self):";
        let page = "see `one_that_is_there`, `test_other_in_python`, `other_in_python`, `types::Path` and `one_that_was_renamed`";
        assert_eq!(unknown_tests(page, sources).collect::<Vec<_>>(), ["one_that_was_renamed"]);
    }

    #[test]
    fn a_link_that_leads_nowhere_and_a_map_too_large_are_faults() {
        let root = crate::root();
        assert_eq!(page(&root, "crates/a.md", "see [this](../nowhere.md#part)").len(), 1);
        assert!(
            page(&root, "crates/a.md", "see [this](../Cargo.toml) and [that](https://example.com) and [here](#top)").is_empty()
        );
        assert_eq!(page(&root, "ARCHITECTURE.md", &"\n".repeat(301)).len(), 1);
    }
}
