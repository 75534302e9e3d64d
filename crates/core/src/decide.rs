//! The one decision point. Nothing else makes a [`Permit`].

use crate::live::Live;
use crate::policies::{Compiled, ask};
use crate::policy::{ListFilter, PageLimit};
use crate::tokens::Authenticated;
use coffer_engine::{Call, Permit};
use coffer_types::{Error, Operation, Result, Timestamp};
use std::sync::Arc;

/// What the policies of a principal say of one operation on one path.
pub struct Decided {
    pub permit: Result<Permit>,
    /// Whether a policy was asked: not on a public route without a token.
    pub asked: bool,
    pub compiled: Option<Arc<Compiled>>,
    /// A limit that the rule puts on lists.
    pub page_limit: Option<u32>,
    /// What the rule hides from lists.
    pub list_filter: Option<ListFilter>,
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
    let verdict = ask(compiled, question);
    verdict.allowed.then(|| Permit::granted_by_the_decider(question.operation, verdict.granting().cloned().unwrap_or_default()))
}

/// Decides. A principal that failed to authenticate is refused in the same words as one that was never there.
pub async fn decide(
    live: &Live,
    principal: &Result<Option<Authenticated>>,
    question: &Question<'_>,
    now: Timestamp,
) -> Result<Decided> {
    let open = || Ok(Permit::granted_by_the_decider(question.operation, Arc::from([])));
    let authenticated = match principal {
        Ok(Some(authenticated)) => authenticated,
        _ => {
            let permit = if question.public { open() } else { Err(Error::denied()) };
            return Ok(Decided { permit, asked: false, compiled: None, page_limit: None, list_filter: None });
        }
    };
    let compiled =
        live.policies.compiled(&live.barrier, &authenticated.principal.policies, authenticated.identity.as_deref(), now).await?;
    let verdict = ask(&compiled, question);
    let page_limit = match verdict.page_limit {
        PageLimit::Set(limit) if verdict.allowed => Some(limit),
        _ => None,
    };
    let list_filter = verdict.list_filter().cloned();
    let permit = if verdict.allowed {
        Ok(Permit::granted_by_the_decider(question.operation, verdict.granting().cloned().unwrap_or_default()))
    } else if question.public {
        open()
    } else {
        Err(refused())
    };
    Ok(Decided { permit, asked: !question.public, compiled: Some(compiled), page_limit, list_filter })
}
