//! YAML as the reference reads and writes it, and edits that leave a file's text as it is.
//!
//! The reference is sops over go-yaml v3: what a scalar is, where a comment belongs and how a tree is written are theirs. See
//! docs/design/sops-yaml.md.

mod emit;
mod example;
mod load;
mod node;
mod parse;
mod patch;
#[cfg(test)]
mod patch_tests;
mod resolve;
mod scan;
mod source;
#[cfg(test)]
mod tests;

use zeroize::Zeroizing;

use crate::error::{Error, Fault as Class, Result};
use crate::format::{Format, Kind, Loaded, Patch, Patched};
use crate::tree::{Branch, Entry, Item, Key, Line, Value};

use source::Source;

/// YAML with sops' options.
#[derive(Debug, Clone, Copy)]
pub struct Yaml {
    /// Columns that a level is indented by; outside 2 to 9 it is 2.
    pub indent: usize,
}

impl Default for Yaml {
    fn default() -> Self {
        Self { indent: 4 }
    }
}

/// What is wrong with a text, and where.
#[derive(Debug)]
struct Fault {
    line: u32,
    column: u32,
    problem: &'static str,
    /// The line on which what is not finished began.
    since: Option<u32>,
}

impl Fault {
    const fn new(line: u32, column: u32, problem: &'static str) -> Self {
        Self { line, column, problem, since: None }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        let since = fault.since.filter(|since| *since != fault.line);
        let since = since.map_or_else(String::new, |line| format!(" (of what begins on line {line})"));
        Self::reading(fault.line, format!("column {}: {}{since}", fault.column, fault.problem))
    }
}

/// Reads all documents of a text. A file of no bytes has none.
///
/// # Errors
/// `Fault::Reading`, with line and column, for what is no YAML that sops would take; so too for a text without any document.
pub fn load(source: &[u8]) -> Result<Vec<Branch>> {
    if source.is_empty() {
        return Ok(Vec::new());
    }
    let source = Source::new(source)?;
    let stream = parse::parse(source.text())?;
    let Some(first) = stream.documents.first() else {
        return Err(Error::new(Class::Reading, "there is no document in this file (EOF); a file to encrypt holds a map"));
    };
    load::check_first(&stream, first.root)?;
    let documents = stream.documents.iter().map(|document| Ok(load::document(&stream, document)?.0));
    documents.collect()
}

/// Writes documents in the reference's style.
pub fn emit(documents: &[Branch], indent: usize) -> Zeroizing<Vec<u8>> {
    bytes(emit::documents(documents.iter(), indent))
}

fn bytes(mut text: Zeroizing<String>) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(std::mem::take(&mut *text).into_bytes())
}

impl Format for Yaml {
    fn kind(&self) -> Kind {
        Kind::Yaml
    }

    fn load_plain(&self, source: &[u8]) -> Result<Vec<Branch>> {
        let documents = load(source)?;
        if documents.is_empty() {
            return Err(Error::new(Class::NoDocument, "there is no document in this file; a file to encrypt holds a map"));
        }
        Ok(documents)
    }

    fn load_encrypted(&self, source: &[u8]) -> Result<Loaded> {
        let mut documents = load(source)?;
        let mut metadata = None;
        for (number, branch) in documents.iter_mut().enumerate() {
            let found = branch.items.iter().filter(|item| is_metadata(item)).count();
            if number == 0 && found > 1 {
                return Err(Error::new(Class::Reading, "the first document has 'sops' twice; it is to be there once"));
            }
            branch.items.retain_mut(|item| match item {
                Item::Entry(entry) if entry.key.is("sops") => {
                    if number == 0 {
                        metadata = Some(std::mem::replace(&mut entry.value, Value::Null));
                    }
                    false
                }
                _ => true,
            });
        }
        match metadata {
            Some(Value::Map(metadata)) => Ok(Loaded { documents, metadata }),
            Some(_) => Err(Error::new(Class::Reading, "what stands under 'sops' is no map; this file is damaged")),
            None => Err(Error::new(Class::Reading, "sops metadata not found: this file is not encrypted")),
        }
    }

    fn emit(&self, documents: &[Branch], metadata: Option<&Branch>) -> Result<Zeroizing<Vec<u8>>> {
        let Some(metadata) = metadata else { return Ok(emit(documents, self.indent)) };
        let documents: Vec<Branch> = documents.iter().map(|branch| with_metadata(branch, metadata)).collect();
        Ok(emit(&documents, self.indent))
    }

    fn emit_value(&self, value: &Value) -> Result<Zeroizing<Vec<u8>>> {
        Ok(bytes(emit::value(value, 4)))
    }

    fn example(&self) -> Vec<Branch> {
        example::documents()
    }

    fn patch(&self, source: &[u8], patch: &Patch<'_>) -> Result<Option<Patched>> {
        patch::patch(*self, source, patch)
    }
}

fn is_metadata(item: &Item) -> bool {
    matches!(item, Item::Entry(entry) if entry.key.is("sops"))
}

fn with_metadata(branch: &Branch, metadata: &Branch) -> Branch {
    let mut branch = branch.clone();
    let entry = Entry { key: Key::Text("sops".into()), value: Value::Map(metadata.clone()), line: Line(0) };
    branch.items.push(Item::Entry(entry));
    branch
}
