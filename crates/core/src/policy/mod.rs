//! The policy language: Vault's ACL policies and password policies.
//!
//! A text becomes a [`Policy`] ([`Policy::parse`]); the policies of a principal become a [`Compiled`] set ([`compile`]), which
//! answers one question, [`Compiled::decide`]. [`Compiled::explain`] runs that same answer and says in words how it came about.
//!
//! Invariants:
//! - The most specific rule alone decides; an explicit `deny` in any policy on that same path overrides all grants on it.
//! - What can't be decided is refused: no rule, an unfilled identity template, a path longer than any call may have.
//! - Nothing here reads a clock, a store or a request; all of that comes in as arguments.

mod builtin;
mod capability;
mod compile;
mod decide;
mod explain;
mod filter;
mod index;
mod merge;
mod parameters;
mod parse;
pub mod password;
mod pattern;
mod template;

#[cfg(test)]
mod model;
#[cfg(test)]
mod recorded;

pub use builtin::DEFAULT_POLICY;
pub use capability::{Capabilities, Capability};
pub use compile::{CompileError, Compiled, Rule, Skipped, Source, compile};
pub use decide::{Ask, Match, PageLimit, Reason, Verdict};
pub use explain::{Explanation, OtherRule};
pub use filter::ListFilter;
pub use parameters::{NoParameters, Parameter, Parameters};
pub use parse::{MAX_POLICY, PathRule, Policy, PolicyError};
pub use pattern::{BadPattern, Pattern};
pub use template::{Expression, Field, GroupBy, Subject, Template};
