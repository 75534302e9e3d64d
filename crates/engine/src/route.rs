//! Routes, compiled: a trie of segments in which a literal beats a variable and a variable beats a tail;
//! a tail with a literal ending beats one without.

use crate::BoxFuture;
use crate::call::RawFields;
use crate::context::{Inner, Mount};
use crate::field::Field;
use crate::lease::Terms;
use crate::reply::{Answer, Login};
use crate::view::View;
use coffer_types::{Operation, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One declared pattern, without its handlers: what routing, policies, help, OpenAPI and audit need to know.
pub struct Endpoint {
    /// As declared: `keys/{name}/rotate`, `data/{path...}`.
    pub pattern: &'static str,
    pub about: &'static str,
    /// Answers without a token.
    pub public: bool,
    /// Needs the `sudo` capability besides.
    pub sudo: bool,
    /// Takes bodies that are not JSON.
    pub raw_body: bool,
    /// Body fields that the audit log shows as they are: names of things, never secrets.
    pub plain: &'static [&'static str],
    /// A create-or-update question is asked before the policy is.
    pub asks_existence: bool,
    /// A verb of a protocol without paths.
    pub verb: bool,
    pub operations: BTreeMap<Operation, OperationInfo>,
}

/// What is known of one operation of a route.
pub struct OperationInfo {
    pub about: &'static str,
    pub fields: Vec<Field>,
    pub response: Vec<Field>,
    /// The handler's index, for [`Erased::prepare`].
    pub(crate) handler: usize,
}

/// Why no handler was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Miss {
    NoPath,
    NoOperation,
}

/// A route that matched.
pub struct Found<'t, 'p> {
    pub endpoint: &'t Endpoint,
    pub index: usize,
    pub captures: Vec<(&'static str, &'p str)>,
}

/// A route that matches, with its captures, and whether it has the operation.
type Candidate<'p> = (usize, Vec<(&'static str, &'p str)>, bool);

/// All routes of an engine.
#[derive(Default)]
pub struct Compiled {
    pub about: &'static str,
    endpoints: Vec<Endpoint>,
    root: Node,
    verbs: BTreeMap<&'static str, usize>,
}

#[derive(Default)]
struct Node {
    literal: BTreeMap<&'static str, Node>,
    variable: Option<(&'static str, Box<Node>)>,
    tail: Option<(&'static str, usize)>,
    /// Tails with literal segments after them: name, `/suffix`, route.
    ending: Vec<(&'static str, &'static str, usize)>,
    here: Option<usize>,
}

impl Compiled {
    pub(crate) fn new(about: &'static str) -> Self {
        Self { about, ..Self::default() }
    }

    /// Adds a route; a declaration that could be read two ways is refused here, so in the engine's first test.
    pub(crate) fn add(&mut self, endpoint: Endpoint) -> std::result::Result<usize, String> {
        let pattern = endpoint.pattern;
        let index = self.endpoints.len();
        if endpoint.verb {
            if self.verbs.insert(pattern, index).is_some() {
                return Err(format!("verb {pattern} is declared twice"));
            }
            self.endpoints.push(endpoint);
            return Ok(index);
        }
        let mut node = &mut self.root;
        let segments: Vec<&'static str> = if pattern.is_empty() { Vec::new() } else { pattern.split('/').collect() };
        for (n, segment) in segments.iter().enumerate() {
            match segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) {
                None if segment.is_empty() || segment.contains(['{', '}']) => {
                    return Err(format!("{pattern}: a malformed segment"));
                }
                None => node = node.literal.entry(segment).or_default(),
                Some(name) => {
                    if let Some(tail) = name.strip_suffix("...") {
                        // What follows a tail is literal: `mounts/{path...}/tune`.
                        let suffix = &pattern[pattern.len() - after_tail(&segments, n)..];
                        if suffix.contains(['{', '}']) {
                            return Err(format!("{pattern}: only literal segments may follow a tail"));
                        }
                        let twice = if suffix.is_empty() {
                            node.tail.replace((tail, index)).is_some()
                        } else {
                            node.ending.push((tail, suffix, index));
                            node.ending.iter().filter(|(_, s, _)| *s == suffix).count() > 1
                        };
                        if twice {
                            return Err(format!("{pattern}: this path is declared twice"));
                        }
                        self.endpoints.push(endpoint);
                        return Ok(index);
                    }
                    let (known, next) = node.variable.get_or_insert_with(|| (name, Box::default()));
                    if *known != name {
                        return Err(format!("{pattern}: {{{name}}} is called {{{known}}} by another route"));
                    }
                    node = next;
                }
            }
        }
        if node.here.replace(index).is_some() {
            return Err(format!("{pattern}: this path is declared twice"));
        }
        self.endpoints.push(endpoint);
        Ok(index)
    }

    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The route of a path inside the mount. Lists ask with or without the trailing slash; for everything
    /// else a trailing slash is part of the path, and only a tail takes it.
    pub fn find<'p>(&self, path: &'p str, operation: Operation) -> std::result::Result<Found<'_, 'p>, Miss> {
        let listing = matches!(operation, Operation::List | Operation::Scan | Operation::Help);
        let path = if listing { path.strip_suffix('/').unwrap_or(path) } else { path };
        let mut captures = Vec::new();
        let mut best = None;
        self.descend(&self.root, path, path.is_empty(), operation, listing, &mut captures, &mut best);
        match best {
            Some((index, captures, true)) => Ok(Found { endpoint: &self.endpoints[index], index, captures }),
            Some((_, _, false)) => Err(Miss::NoOperation),
            None => Err(Miss::NoPath),
        }
    }

    /// Depth first, literal before variable before tail; the first route that has the operation wins, else
    /// the first that matches at all is remembered to tell "no such operation" from "no such path".
    #[allow(clippy::too_many_arguments, reason = "the state of one recursive walk")]
    fn descend<'p>(
        &self,
        node: &Node,
        rest: &'p str,
        done: bool,
        operation: Operation,
        empty_tail: bool,
        captures: &mut Vec<(&'static str, &'p str)>,
        best: &mut Option<Candidate<'p>>,
    ) -> bool {
        if done {
            if let Some(index) = node.here
                && self.offer(index, operation, captures, best)
            {
                return true;
            }
        } else {
            let (segment, next, last) = match rest.split_once('/') {
                Some((segment, next)) => (segment, next, false),
                None => (rest, "", true),
            };
            if let Some(node) = node.literal.get(segment)
                && self.descend(node, next, last, operation, empty_tail, captures, best)
            {
                return true;
            }
            if let Some((name, node)) = &node.variable
                && !segment.is_empty()
            {
                captures.push((name, segment));
                if self.descend(node, next, last, operation, empty_tail, captures, best) {
                    return true;
                }
                captures.pop();
            }
        }
        for (name, suffix, index) in &node.ending {
            let inner = rest.strip_suffix(suffix).filter(|inner| !inner.is_empty());
            if let Some(inner) = inner {
                captures.push((name, inner));
                if self.offer(*index, operation, captures, best) {
                    return true;
                }
                captures.pop();
            }
        }
        if let Some((name, index)) = node.tail
            && (!done || empty_tail)
        {
            captures.push((name, rest));
            if self.offer(index, operation, captures, best) {
                return true;
            }
            captures.pop();
        }
        false
    }

    fn offer<'p>(
        &self,
        index: usize,
        operation: Operation,
        captures: &[(&'static str, &'p str)],
        best: &mut Option<Candidate<'p>>,
    ) -> bool {
        let has = operation == Operation::Help || self.endpoints[index].has(operation);
        if has || best.is_none() {
            *best = Some((index, captures.to_vec(), has));
        }
        has
    }

    pub fn find_verb(&self, verb: &str) -> Option<Found<'_, 'static>> {
        let index = *self.verbs.get(verb)?;
        Some(Found { endpoint: &self.endpoints[index], index, captures: Vec::new() })
    }
}

impl Endpoint {
    /// A write route answers create and update alike; which of the two it was is decided per call.
    pub fn has(&self, operation: Operation) -> bool {
        self.operation(operation).is_some()
    }

    /// Whether any operation on this path has a field of this name.
    pub fn knows(&self, field: &str) -> bool {
        self.operations.values().flat_map(|info| &info.fields).any(|f| f.name == field)
    }

    pub fn operation(&self, operation: Operation) -> Option<&OperationInfo> {
        let wanted = if operation == Operation::Create { Operation::Update } else { operation };
        self.operations.get(&wanted)
    }
}

/// A bound handler, waiting for its transaction.
pub type Start = Box<dyn FnOnce(View, Arc<Inner>) -> BoxFuture<'static, Result<Answer>> + Send>;

/// How many bytes of the pattern stand after its tail, the slash included.
fn after_tail(segments: &[&str], tail: usize) -> usize {
    segments[tail + 1..].iter().map(|s| s.len() + 1).sum()
}

/// A call made ready: its request is read, its handler is bound, its resources are known.
pub struct Prepared {
    /// For verbs: the operation and the path below the mount that policies decide on. Empty: the call's own.
    pub resources: Vec<(Operation, String)>,
    pub run: Start,
}

/// An engine on a mount, without its type.
pub trait Erased: Send + Sync {
    fn routes(&self) -> &Compiled;
    /// Reads the typed request. `index` and `operation` are of a route found in [`Erased::routes`].
    fn prepare(&self, index: usize, operation: Operation, raw: RawFields<'_>) -> Result<Prepared>;
    /// The existence check of a write route; `None` where it has none.
    fn exists(&self, index: usize, raw: RawFields<'_>, view: View, inner: Arc<Inner>)
    -> Option<BoxFuture<'static, Result<bool>>>;
    /// The engine's own answer for paths that it does not have (KV v2's hint); `None` for the usual 404.
    fn otherwise(&self, path: &str, view: View, inner: Arc<Inner>) -> Option<BoxFuture<'static, Result<Answer>>>;
    /// One batch of the mount's own work; false when nothing is left. `None` if it has none.
    fn upkeep(&self, view: View, inner: Arc<Inner>) -> Option<BoxFuture<'static, Result<bool>>>;
    /// What the mount does by the clock; true when there is more. `None` if it does nothing.
    fn beat(&self, view: View, inner: Arc<Inner>) -> Option<BoxFuture<'static, Result<bool>>>;
    fn has_beat(&self) -> bool;
    fn renew_lease(&self, kind: &str, record: &[u8], view: View, inner: Arc<Inner>) -> Option<BoxFuture<'static, Result<Terms>>>;
    fn revoke_lease(&self, kind: &str, record: &[u8], view: View, inner: Arc<Inner>) -> Option<BoxFuture<'static, Result<()>>>;
    fn roll_back(&self, intent: &str, record: &[u8], view: View, inner: Arc<Inner>) -> Option<BoxFuture<'static, Result<()>>>;
    fn renew_login(&self, login: Login, view: View, inner: Arc<Inner>) -> Option<BoxFuture<'static, Result<Login>>>;
    /// Names of the declared intents: the rollback manager looks for them.
    fn intents(&self) -> Vec<&'static str>;
}

/// Makes engines for mounts: one per kind (and version) in the registry.
pub trait Factory: Send + Sync {
    fn kind(&self) -> &'static str;
    fn version(&self) -> Option<&'static str>;
    fn about(&self) -> &'static str;
    fn routes(&self) -> &Compiled;
    fn open(&self, mount: &Mount) -> Result<Arc<dyn Erased>>;
}
