//! What a command is: one declaration, from which parsing, help, completion and documents come.

use super::flag::Flag;
use super::options::{FIELD_AND_FORMAT, HTTP};
use super::{Call, Outcome};

/// One command, or a group of them.
pub(crate) struct Command {
    /// The words that call it: `kv metadata put`.
    pub(crate) path: &'static str,
    /// One line for lists.
    pub(crate) synopsis: &'static str,
    /// What stands behind the flags in the usage line.
    pub(crate) args: &'static str,
    /// Paragraphs.
    pub(crate) about: &'static str,
    pub(crate) examples: &'static [Example],
    /// Its own flags, beside those that come with `output` and `http`.
    pub(crate) own: &'static [Flag],
    pub(crate) output: Output,
    /// Whether it talks to a server, and so takes the address, the token and the rest.
    pub(crate) http: bool,
    pub(crate) arity: Arity,
    pub(crate) run: Run,
}

/// What it shows, and the command line behind the program's name.
pub(crate) type Example = (&'static str, &'static str);

/// Which output flags there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Output {
    None,
    Format,
    /// `-field` too.
    Field,
}

/// How many arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arity {
    Exactly(usize),
    AtLeast(usize),
    Between(usize, usize),
    /// The command checks for itself.
    Any,
}

pub(crate) enum Run {
    Group,
    Call(fn(&Call<'_>) -> Outcome),
}

impl Command {
    /// All flags, in the order of help.
    pub(crate) fn flags(&self) -> impl Iterator<Item = &'static Flag> {
        self.groups().into_iter().flat_map(|(_, flags)| flags)
    }

    /// The flags under their headings.
    pub(crate) fn groups(&self) -> [(&'static str, &'static [Flag]); 3] {
        let output = match self.output {
            Output::None => &[],
            Output::Format => &FIELD_AND_FORMAT[1..],
            Output::Field => FIELD_AND_FORMAT,
        };
        [("Options", self.own), ("Output options", output), ("Connection options", if self.http { HTTP } else { &[] })]
    }

    /// The last word of its path.
    pub(crate) fn name(&self) -> &'static str {
        self.path.rsplit(' ').next().unwrap_or(self.path)
    }

    /// The commands right below a group.
    pub(crate) fn children(&self) -> impl Iterator<Item = &'static Command> {
        let prefix = format!("{} ", self.path);
        all().filter(move |c| c.path.strip_prefix(&prefix).is_some_and(|rest| !rest.contains(' ')))
    }
}

/// Every command.
pub(crate) fn all() -> impl Iterator<Item = &'static Command> {
    crate::command::COMMANDS.iter().chain(crate::command::operator::COMMANDS).flat_map(|group| group.iter()).copied()
}

/// The command that the first words name, and how many words that took.
pub(crate) fn find(words: &[String]) -> Option<(&'static Command, usize)> {
    let mut best = None;
    for command in all() {
        let steps = command.path.split(' ');
        let count = steps.clone().count();
        if count <= words.len() && steps.zip(words).all(|(step, word)| step == word) && best.is_none_or(|(_, n)| count > n) {
            best = Some((command, count));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Kind;
    use std::collections::BTreeSet;

    #[test]
    fn every_declaration_is_whole() {
        let mut paths = BTreeSet::new();
        for command in all() {
            assert!(paths.insert(command.path), "{} twice", command.path);
            assert!(!command.synopsis.is_empty() && !command.synopsis.ends_with('.'), "{}: synopsis", command.path);
            assert!(!command.about.is_empty(), "{}: about", command.path);
            if let Some((parent, _)) = command.path.rsplit_once(' ') {
                assert!(all().any(|c| c.path == parent), "{}: no group", command.path);
            }
            if let Run::Call(_) = command.run {
                assert!(!command.examples.is_empty(), "{}: no example", command.path);
            } else {
                assert!(command.children().next().is_some(), "{}: empty group", command.path);
            }
            let mut names = BTreeSet::new();
            for flag in command.flags() {
                for name in std::iter::once(&flag.name).chain(flag.aliases) {
                    assert!(names.insert(*name), "{}: -{name} twice", command.path);
                }
                assert!(flag.help.ends_with('.'), "{}: -{}: help", command.path, flag.name);
                assert!(
                    flag.kind != Kind::Switch || flag.default.is_empty() || flag.default == "true",
                    "{}: -{}",
                    command.path,
                    flag.name
                );
            }
        }
    }

    /// An example that does not parse would teach what does not work.
    #[test]
    fn every_example_parses() {
        for command in all() {
            for (_, line) in command.examples {
                let line = line.rsplit(" | ").next().unwrap_or(line).replacen("PROGRAM ", "", 1);
                let words: Vec<String> =
                    line.split(' ').filter(|w| !w.is_empty()).map(|w| w.trim_matches('"').to_owned()).collect();
                let (found, used) = find(&words).unwrap_or_else(|| panic!("{line}"));
                assert!(found.path.starts_with(command.path), "{line}");
                if let Run::Call(_) = found.run {
                    let parsed = crate::cli::flag::parse(found, &words[used..], &coffer_client::Environment::fixed(&[]));
                    let (values, args) = parsed.unwrap_or_else(|e| panic!("{line}: {e:?}"));
                    let context = crate::cli::Context::new("coffer", coffer_client::Environment::fixed(&[]));
                    let call = Call::new(&context, found, values, args);
                    assert!(call.check().is_ok(), "{line}");
                }
            }
        }
    }

    #[test]
    fn the_longest_path_wins() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(find(&words("kv metadata get x")).map(|(c, n)| (c.path, n)), Some(("kv metadata get", 3)));
        assert_eq!(find(&words("kv nope")).map(|(c, n)| (c.path, n)), Some(("kv", 1)));
        assert!(find(&words("nope")).is_none());
    }
}
