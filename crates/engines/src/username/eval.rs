//! Works out a template's value.

use super::parse::{Command, Function, Node, Operand, Pipeline};
use super::{MAX_NAME, Source, layout};
use base64::Engine as _;
use coffer_crypto::{mac, random};

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Text(String),
    Number(i64),
    Truth(bool),
}

pub(super) fn run(nodes: &[Node], fields: &[(&str, &str)], source: &Source<'_>) -> Result<String, String> {
    let mut run = Run { fields, source, out: String::new() };
    run.nodes(nodes)?;
    Ok(run.out)
}

struct Run<'a> {
    fields: &'a [(&'a str, &'a str)],
    source: &'a Source<'a>,
    out: String,
}

impl Run<'_> {
    fn nodes(&mut self, nodes: &[Node]) -> Result<(), String> {
        for node in nodes {
            match node {
                Node::Text(text) => self.out.push_str(text),
                Node::Action(pipeline) => {
                    let text = self.pipeline(pipeline)?.text();
                    self.out.push_str(&text);
                }
                Node::If { branches, otherwise } => {
                    let mut chosen = otherwise;
                    for (condition, nodes) in branches {
                        if self.pipeline(condition)?.is_true() {
                            chosen = nodes;
                            break;
                        }
                    }
                    self.nodes(chosen)?;
                }
            }
            if self.out.len() > MAX_NAME {
                return Err(format!("it makes a name of over {MAX_NAME} bytes"));
            }
        }
        Ok(())
    }

    fn pipeline(&self, commands: &Pipeline) -> Result<Value, String> {
        let mut last = None;
        for command in commands {
            last = Some(match command {
                Command::Value(operand) => self.operand(operand)?,
                Command::Call { function, args } => {
                    let mut values = args.iter().map(|a| self.operand(a)).collect::<Result<Vec<_>, _>>()?;
                    values.extend(last.take());
                    self.call(*function, values)?
                }
            });
        }
        last.ok_or_else(|| "an empty pipeline".into())
    }

    fn operand(&self, operand: &Operand) -> Result<Value, String> {
        match operand {
            Operand::Text(text) => Ok(Value::Text(text.clone())),
            Operand::Number(number) => Ok(Value::Number(*number)),
            Operand::Field(name) => {
                let found = self.fields.iter().find(|(n, _)| n == name);
                found.map(|(_, value)| Value::Text((*value).to_owned())).ok_or_else(|| format!("there is no field .{name}"))
            }
            Operand::Call(function) => self.call(*function, Vec::new()),
            Operand::Inner(pipeline) => self.pipeline(pipeline),
        }
    }

    fn call(&self, function: Function, args: Vec<Value>) -> Result<Value, String> {
        let mut args = Args { function, values: args.into_iter() };
        let value = match function {
            Function::Random => {
                let length = args.length(1, 512)?;
                Value::Text(random::base62(self.source.random, length).to_string())
            }
            Function::Truncate => {
                let length = args.length(1, usize::MAX)?;
                Value::Text(cut(&args.text()?, length).to_owned())
            }
            Function::TruncateSha256 => {
                let length = args.length(9, usize::MAX)?;
                Value::Text(cut_with_digest(args.text()?, length))
            }
            Function::Uppercase => Value::Text(args.text()?.to_uppercase()),
            Function::Lowercase => Value::Text(args.text()?.to_lowercase()),
            Function::Replace => {
                let (find, put, text) = (args.text()?, args.text()?, args.text()?);
                if text.len().saturating_mul(put.len() + 1) > 1 << 20 {
                    return Err("replace would make a text that is too long".into());
                }
                Value::Text(text.replace(&find, &put))
            }
            Function::Sha256 => Value::Text(hex(&mac::sha256(&[args.text()?.as_bytes()]))),
            Function::Base64 => Value::Text(base64::engine::general_purpose::STANDARD.encode(args.text()?)),
            Function::UnixTime => Value::Text(self.source.now.secs().to_string()),
            Function::UnixTimeMillis => Value::Text(self.source.now.0.div_euclid(1_000_000).to_string()),
            Function::Timestamp => Value::Text(layout::format(&args.text()?, self.source.now)),
            Function::Uuid => Value::Text(random::uuid(self.source.random)),
            Function::Printf => Value::Text(printf(&args.text()?, &mut args)?),
            Function::Len => Value::Number(i64::try_from(args.text()?.len()).unwrap_or(i64::MAX)),
            Function::Eq => Value::Truth(args.equal()?),
            Function::Ne => Value::Truth(!args.equal()?),
            Function::And => args.fold(false)?,
            Function::Or => args.fold(true)?,
            Function::Not => Value::Truth(!args.next()?.is_true()),
        };
        if args.values.next().is_some() {
            return Err(format!("{} got too many arguments", function.name()));
        }
        Ok(value)
    }
}

impl Value {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
            Self::Truth(truth) => truth.to_string(),
        }
    }

    fn is_true(&self) -> bool {
        match self {
            Self::Text(text) => !text.is_empty(),
            Self::Number(number) => *number != 0,
            Self::Truth(truth) => *truth,
        }
    }
}

struct Args {
    function: Function,
    values: std::vec::IntoIter<Value>,
}

impl Args {
    fn next(&mut self) -> Result<Value, String> {
        self.values.next().ok_or_else(|| format!("{} got too few arguments", self.function.name()))
    }

    fn text(&mut self) -> Result<String, String> {
        match self.next()? {
            Value::Text(text) => Ok(text),
            _ => Err(format!("{} wants a text", self.function.name())),
        }
    }

    fn length(&mut self, least: usize, most: usize) -> Result<usize, String> {
        let Value::Number(number) = self.next()? else { return Err(format!("{} wants a number first", self.function.name())) };
        let length = usize::try_from(number).ok().filter(|n| (least..=most).contains(n));
        length.ok_or_else(|| format!("the length for {} must be at least {least} and at most {most}", self.function.name()))
    }

    fn equal(&mut self) -> Result<bool, String> {
        let (a, b) = (self.next()?, self.next()?);
        if std::mem::discriminant(&a) != std::mem::discriminant(&b) {
            return Err(format!("{} got values of different kinds", self.function.name()));
        }
        Ok(a == b)
    }

    /// The first whose truth is `stop`, else the last.
    fn fold(&mut self, stop: bool) -> Result<Value, String> {
        let mut last = self.next()?;
        for next in self.values.by_ref() {
            if last.is_true() != stop {
                last = next;
            }
        }
        Ok(last)
    }
}

fn printf(format: &str, args: &mut Args) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('%') => out.push('%'),
            Some('v') => out.push_str(&args.next()?.text()),
            Some('s') => out.push_str(&args.text()?),
            Some('d') => match args.next()? {
                Value::Number(number) => out.push_str(&number.to_string()),
                _ => return Err("printf's %d wants a number".into()),
            },
            _ => return Err("printf knows %s, %d, %v and %% only".into()),
        }
    }
    Ok(out)
}

/// At most this many bytes, and whole characters.
fn cut(text: &str, length: usize) -> &str {
    &text[..text.floor_char_boundary(length.min(text.len()))]
}

/// What does not fit gives way to the first eight hexadecimal digits of its own SHA-256.
fn cut_with_digest(text: String, length: usize) -> String {
    if text.len() <= length {
        return text;
    }
    let head = cut(&text, length - 8);
    let digest = hex(&mac::sha256(&[&text.as_bytes()[head.len()..]]));
    format!("{head}{}", &digest[..8])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
