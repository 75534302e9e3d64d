//! Flags in Go's style: `-name value`, `-name=value`, `--name`, before the arguments; switches take a value
//! only behind `=`.

use super::table::Command;
use coffer_client::{Environment, parse_bool};
use coffer_types::Span;

/// What a flag's value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// True when it stands alone.
    Switch,
    /// Must be given as true or false; absent is a third state.
    Choice,
    Text,
    Int,
    Span,
    /// May stand several times.
    List,
    /// `key=value`, may stand several times.
    Pairs,
}

/// One declared flag. Parsing, help, completion and the documents come from it.
#[derive(Debug)]
pub(crate) struct Flag {
    pub(crate) name: &'static str,
    pub(crate) aliases: &'static [&'static str],
    pub(crate) kind: Kind,
    /// The environment variable that stands in for it, without its prefix.
    pub(crate) env: &'static str,
    pub(crate) default: &'static str,
    pub(crate) help: &'static str,
    /// The values to complete with.
    pub(crate) values: &'static [&'static str],
}

impl Flag {
    pub(crate) const fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self { name, aliases: &[], kind, env: "", default: "", help, values: &[] }
    }
    pub(crate) const fn alias(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }
    pub(crate) const fn env(mut self, name: &'static str) -> Self {
        self.env = name;
        self
    }
    pub(crate) const fn default(mut self, value: &'static str) -> Self {
        self.default = value;
        self
    }
    pub(crate) const fn values(mut self, values: &'static [&'static str]) -> Self {
        self.values = values;
        self
    }

    /// The same declaration for another command's list.
    pub(crate) const fn copy(&self) -> Self {
        Self {
            name: self.name,
            aliases: self.aliases,
            kind: self.kind,
            env: self.env,
            default: self.default,
            help: self.help,
            values: self.values,
        }
    }

    fn is(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }
}

/// A value as it was read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Switch(bool),
    Text(String),
    Int(i64),
    Span(Span),
    List(Vec<String>),
    Pairs(Vec<(String, String)>),
}

/// The flags of one call, by their declared names.
#[derive(Debug, Default)]
pub(crate) struct Values(Vec<(&'static str, Value)>);

impl Values {
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    fn set(&mut self, name: &'static str, value: Value) {
        let at = self.0.iter().position(|(n, _)| *n == name);
        match (at, value) {
            (Some(at), Value::List(more)) => {
                if let Value::List(list) = &mut self.0[at].1 {
                    list.extend(more);
                }
            }
            (Some(at), Value::Pairs(more)) => {
                if let Value::Pairs(list) = &mut self.0[at].1 {
                    list.extend(more);
                }
            }
            (Some(at), value) => self.0[at].1 = value,
            (None, value) => self.0.push((name, value)),
        }
    }
}

/// Why there are no values.
#[derive(Debug, PartialEq)]
pub(crate) enum Refusal {
    /// `-h` stood there.
    Help,
    Wrong(String),
}

/// Reads flags up to the first argument, then the environment for those not given. The second part are the arguments.
pub(crate) fn parse(command: &'static Command, words: &[String], env: &Environment) -> Result<(Values, Vec<String>), Refusal> {
    let mut values = Values::default();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let Some(rest) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) else {
            break;
        };
        at += 1;
        if rest == "-" {
            break;
        }
        let body = rest.strip_prefix('-').unwrap_or(rest);
        if body.is_empty() || body.starts_with('-') || body.starts_with('=') {
            return Err(Refusal::Wrong(format!("bad flag syntax: {word}")));
        }
        let (name, inline) = body.split_once('=').map_or((body, None), |(n, v)| (n, Some(v)));
        let Some(flag) = command.flags().find(|f| f.is(name)) else {
            if matches!(name, "h" | "help") {
                return Err(Refusal::Help);
            }
            return Err(Refusal::Wrong(format!("flag provided but not defined: -{name}{}", super::suggest::flag(command, name))));
        };
        let value = match (flag.kind, inline) {
            (Kind::Switch, None) => Value::Switch(true),
            (_, Some(text)) => read(flag, text)?,
            (_, None) => {
                let Some(text) = words.get(at) else {
                    return Err(Refusal::Wrong(format!("flag needs an argument: -{name}")));
                };
                at += 1;
                read(flag, text)?
            }
        };
        values.set(flag.name, value);
    }
    for flag in command.flags() {
        if values.get(flag.name).is_none()
            && !flag.env.is_empty()
            && let Some((full, text)) = env.named(flag.env)
        {
            let value = read(flag, &text).map_err(|refusal| match refusal {
                Refusal::Wrong(text) => Refusal::Wrong(format!("{full}: {text}")),
                Refusal::Help => Refusal::Help,
            })?;
            values.set(flag.name, value);
        }
    }
    for flag in command.flags() {
        if values.get(flag.name).is_none() && !flag.default.is_empty() {
            values.set(flag.name, read(flag, flag.default)?);
        }
    }
    Ok((values, words[at..].to_vec()))
}

fn read(flag: &Flag, text: &str) -> Result<Value, Refusal> {
    let wrong = |why: &str| Refusal::Wrong(format!("invalid value {text:?} for flag -{}: {why}", flag.name));
    Ok(match flag.kind {
        Kind::Switch | Kind::Choice => Value::Switch(parse_bool(text).ok_or_else(|| {
            Refusal::Wrong(format!("invalid boolean value {text:?} for -{}: true or false expected", flag.name))
        })?),
        Kind::Text => Value::Text(text.to_owned()),
        Kind::Int => Value::Int(text.parse().map_err(|_| wrong("a whole number expected"))?),
        Kind::Span => Value::Span(Span::parse(text).map_err(|e| wrong(&format!("{e}; write it as 30s, 5m, 1h30m or 2d")))?),
        Kind::List => Value::List(vec![text.to_owned()]),
        Kind::Pairs => match text.split_once('=') {
            Some((key, value)) => Value::Pairs(vec![(key.to_owned(), value.to_owned())]),
            None => return Err(wrong(&format!("missing = in KV pair: {text:?}"))),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Arity, Output, Run};

    const FLAGS: &[Flag] = &[
        Flag::new("field", Kind::Text, ""),
        Flag::new("detailed", Kind::Switch, "").env("DETAILED"),
        Flag::new("cas-required", Kind::Choice, ""),
        Flag::new("version", Kind::Int, "").default("-1"),
        Flag::new("ttl", Kind::Span, "").env("TEST_TTL"),
        Flag::new("policy", Kind::List, ""),
        Flag::new("metadata", Kind::Pairs, ""),
        Flag::new("force", Kind::Switch, "").alias(&["f"]),
    ];
    static COMMAND: Command = Command {
        path: "test",
        synopsis: "",
        args: "",
        about: "",
        examples: &[],
        own: FLAGS,
        output: Output::None,
        http: false,
        arity: Arity::Any,
        run: Run::Group,
    };

    fn parsed(words: &[&str], env: &[(&str, &str)]) -> Result<(Values, Vec<String>), Refusal> {
        let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        parse(&COMMAND, &words, &Environment::fixed(env))
    }

    #[test]
    fn gos_forms_are_read() {
        let (values, args) = parsed(
            &["-field=a", "--detailed", "-policy", "x", "-policy=y", "-f", "-metadata", "k=v=w", "-ttl=90", "path", "-late"],
            &[],
        )
        .unwrap();
        assert_eq!(values.get("field"), Some(&Value::Text("a".into())));
        assert_eq!(values.get("detailed"), Some(&Value::Switch(true)));
        assert_eq!(values.get("policy"), Some(&Value::List(vec!["x".into(), "y".into()])));
        assert_eq!(values.get("force"), Some(&Value::Switch(true)));
        assert_eq!(values.get("metadata"), Some(&Value::Pairs(vec![("k".into(), "v=w".into())])));
        assert_eq!(values.get("ttl"), Some(&Value::Span(Span::from_secs(90))));
        assert_eq!(values.get("version"), Some(&Value::Int(-1)));
        assert_eq!(args, ["path", "-late"]);
    }

    #[test]
    fn a_dash_and_two_dashes_end_the_flags() {
        assert_eq!(parsed(&["-", "-field=a"], &[]).unwrap().1, ["-", "-field=a"]);
        assert_eq!(parsed(&["--", "-field=a"], &[]).unwrap().1, ["-field=a"]);
        let (values, args) = parsed(&["-field", "-"], &[]).unwrap();
        assert_eq!((values.get("field"), args.len()), (Some(&Value::Text("-".into())), 0));
    }

    #[test]
    fn a_switch_takes_no_following_word() {
        let (values, args) = parsed(&["-detailed", "false"], &[]).unwrap();
        assert_eq!((values.get("detailed"), args), (Some(&Value::Switch(true)), vec!["false".to_owned()]));
        assert_eq!(parsed(&["-detailed=false"], &[]).unwrap().0.get("detailed"), Some(&Value::Switch(false)));
    }

    #[test]
    fn the_environment_stands_in_and_the_flag_wins() {
        assert_eq!(parsed(&[], &[("VAULT_DETAILED", "1")]).unwrap().0.get("detailed"), Some(&Value::Switch(true)));
        assert_eq!(parsed(&["-detailed=0"], &[("VAULT_DETAILED", "1")]).unwrap().0.get("detailed"), Some(&Value::Switch(false)));
        let Err(Refusal::Wrong(text)) = parsed(&[], &[("VAULT_TEST_TTL", "soon")]) else { panic!() };
        assert!(text.contains("VAULT_TEST_TTL"), "{text}");
    }

    #[test]
    fn refusals_name_what_is_wrong() {
        for (words, want) in [
            (&["-nope"][..], "flag provided but not defined: -nope"),
            (&["-feild=x"], "Did you mean -field?"),
            (&["-field"], "flag needs an argument: -field"),
            (&["---field=a"], "bad flag syntax: ---field=a"),
            (&["-=a"], "bad flag syntax: -=a"),
            (&["-version=abc"], "invalid value \"abc\" for flag -version"),
            (&["-ttl=1x"], "invalid value \"1x\" for flag -ttl"),
            (&["-metadata=abc"], "missing = in KV pair: \"abc\""),
            (&["-detailed=maybe"], "invalid boolean value \"maybe\" for -detailed"),
            (&["-cas-required"], "flag needs an argument: -cas-required"),
        ] {
            let Err(Refusal::Wrong(text)) = parsed(words, &[]) else { panic!("{words:?}") };
            assert!(text.contains(want), "{text}");
        }
        assert_eq!(parsed(&["-h"], &[]).unwrap_err(), Refusal::Help);
        assert_eq!(parsed(&["-field=a", "-help"], &[]).unwrap_err(), Refusal::Help);
    }
}
