//! What several methods of the reference share besides: names of fields that `token_…` has taken the place of, and how a role may be
//! called.

use crate::token::TokenAsk;
use coffer_engine::Request;
use coffer_types::{Error, Result, Span};

/// The old names of token parameters. The new ones win where both are given.
#[derive(Request)]
pub(crate) struct OldNames {
    /// Old name of token_policies.
    pub(crate) policies: Option<Vec<String>>,
    /// Old name of token_ttl.
    pub(crate) ttl: Option<Span>,
    /// Old name of token_max_ttl.
    pub(crate) max_ttl: Option<Span>,
    /// Old name of token_period.
    pub(crate) period: Option<Span>,
    /// Old name of token_num_uses.
    pub(crate) num_uses: Option<u64>,
    /// Old name of token_bound_cidrs.
    pub(crate) bound_cidrs: Option<Vec<String>>,
}

impl OldNames {
    /// The parameters by their new names.
    ///
    /// # Errors
    /// A first life longer than the longest one.
    pub(crate) fn under(self, ask: TokenAsk) -> Result<TokenAsk> {
        if let (Some(ttl), Some(max)) = (self.ttl, self.max_ttl)
            && !max.is_zero()
            && ttl > max
        {
            return Err(Error::bad_request("ttl should not be greater than max ttl"));
        }
        Ok(TokenAsk {
            token_policies: ask.token_policies.or(self.policies),
            token_ttl: ask.token_ttl.or(self.ttl),
            token_max_ttl: ask.token_max_ttl.or(self.max_ttl),
            token_period: ask.token_period.or(self.period),
            token_num_uses: ask.token_num_uses.or(self.num_uses),
            token_bound_cidrs: ask.token_bound_cidrs.or(self.bound_cidrs),
            ..ask
        })
    }
}

/// Letters, digits and `_`, inside also `-` and `.`.
pub(crate) fn is_role_name(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.starts_with(word) && name.ends_with(word) && name.chars().all(|c| word(c) || matches!(c, '-' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_roles() {
        for good in ["a", "A-b.c_9", "0"] {
            assert!(is_role_name(good), "{good}");
        }
        for bad in ["", "-a", "a.", "a b", "a/b", "é", "a\u{0}"] {
            assert!(!is_role_name(bad), "{bad}");
        }
    }
}
