//! The one decision point. Nothing else makes a [`Permit`].

use crate::live::Live;
use crate::policies::Compiled;
use crate::tokens::Authenticated;
use coffer_engine::view::View;
use coffer_engine::{Call, Permit};
use coffer_types::{Error, Operation, Result};
use std::sync::Arc;

/// What the policies of a principal say of one operation on one path.
pub struct Decided {
    pub permit: Result<Permit>,
    /// For the audit line: the policies that grant it.
    pub granting: Arc<[Box<str>]>,
    pub compiled: Option<Arc<Compiled>>,
}

/// The question.
pub struct Question<'a> {
    pub operation: Operation,
    pub path: &'a str,
    /// The route answers without a token.
    pub public: bool,
    /// The route needs `sudo` besides.
    pub sudo: bool,
    /// The call whose fields and wrapping the policies may bound; `None` when only the path is asked.
    pub call: Option<&'a Call>,
}

/// What a client reads of any refusal by policy.
pub fn refused() -> Error {
    Error::new(coffer_types::Kind::Denied, "1 error occurred:\n\t* permission denied\n\n")
}

/// The decision of policies alone, for lists that show only what may be seen.
pub(crate) fn permit_by(compiled: &Compiled, question: &Question<'_>) -> Option<Permit> {
    compiled.grants(question).map(|granting| Permit::granted_by_the_decider(question.operation, granting))
}

/// Decides. A principal that failed to authenticate is refused in the same words as one that was never there.
pub async fn decide(
    live: &Live,
    view: &View,
    principal: &Result<Option<Authenticated>>,
    question: &Question<'_>,
) -> Result<Decided> {
    let nobody = |permit| Decided { permit, granting: Arc::from([]), compiled: None };
    let authenticated = match principal {
        Ok(Some(authenticated)) => authenticated,
        _ if question.public => return Ok(nobody(Ok(Permit::granted_by_the_decider(question.operation, Arc::from([]))))),
        _ => return Ok(nobody(Err(Error::denied()))),
    };
    let compiled = live.policies.compiled(view, &authenticated.principal.policies).await?;
    let granting = compiled.grants(question);
    let permit = match &granting {
        Some(granting) => Ok(Permit::granted_by_the_decider(question.operation, granting.clone())),
        None if question.public => Ok(Permit::granted_by_the_decider(question.operation, Arc::from([]))),
        None => Err(refused()),
    };
    Ok(Decided { permit, granting: granting.unwrap_or_else(|| Arc::from([])), compiled: Some(compiled) })
}
