//! The parameters that every method's roles have for the tokens of their logins: `token_ttl`, `token_policies`, …
//! <https://developer.hashicorp.com/vault/api-docs/auth/approle#parameters>

use coffer_engine::{Login, Request, Response, TokenKind};
use coffer_types::{Cidr, Error, Result, Span};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// As stored with a role, and as shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenParams {
    pub bound_cidrs: Vec<String>,
    pub explicit_max_ttl: Span,
    pub max_ttl: Span,
    pub no_default_policy: bool,
    pub num_uses: u64,
    pub period: Span,
    pub policies: Vec<String>,
    pub strictly_bind_ip: bool,
    pub ttl: Span,
    pub kind: Option<TokenKind>,
}

/// What a write says of them; what it leaves out stays as it is.
#[derive(Request, Default)]
pub struct TokenAsk {
    /// Networks that a token may be used from, as CIDR.
    pub token_bound_cidrs: Option<Vec<String>>,
    /// A token's life ends after this, whatever renews it.
    pub token_explicit_max_ttl: Option<Span>,
    /// The longest life of a token.
    pub token_max_ttl: Option<Span>,
    /// Leave out the policy "default".
    pub token_no_default_policy: Option<bool>,
    /// How often a token may be used; 0 is without limit.
    pub token_num_uses: Option<u64>,
    /// A periodic token: each renewal gives this much.
    pub token_period: Option<Span>,
    /// The policies of a token, comma-separated.
    pub token_policies: Option<Vec<String>>,
    /// Bind the token to the address that logged in.
    pub token_strictly_bind_ip: Option<bool>,
    /// A token's first life.
    pub token_ttl: Option<Span>,
    /// "default", "service", "batch", "default-service" or "default-batch".
    pub token_type: Option<String>,
}

/// What a read shows.
#[derive(Response)]
pub struct TokenShown {
    /// Networks that a token may be used from.
    pub token_bound_cidrs: Vec<String>,
    /// A token's life ends after this, in seconds.
    pub token_explicit_max_ttl: Span,
    /// The longest life of a token, in seconds.
    pub token_max_ttl: Span,
    /// Whether the policy "default" is left out.
    pub token_no_default_policy: bool,
    /// How often a token may be used.
    pub token_num_uses: u64,
    /// The period of periodic tokens, in seconds.
    pub token_period: Span,
    /// The policies of a token.
    pub token_policies: Vec<String>,
    /// Whether a token is bound to the address that logged in.
    pub token_strictly_bind_ip: bool,
    /// A token's first life, in seconds.
    pub token_ttl: Span,
    /// The type of tokens.
    pub token_type: String,
}

impl TokenParams {
    /// Takes over what was given.
    ///
    /// # Errors
    /// A network, type or combination that can't be.
    pub fn update(&mut self, ask: TokenAsk) -> Result<()> {
        if let Some(cidrs) = ask.token_bound_cidrs {
            self.bound_cidrs = cidrs.iter().map(|c| one_address(c)).collect();
        }
        if let Some(span) = ask.token_explicit_max_ttl {
            self.explicit_max_ttl = span;
        }
        if let Some(span) = ask.token_max_ttl {
            self.max_ttl = span;
        }
        if let Some(flag) = ask.token_no_default_policy {
            self.no_default_policy = flag;
        }
        if let Some(uses) = ask.token_num_uses {
            self.num_uses = uses;
        }
        if let Some(span) = ask.token_period {
            self.period = span;
        }
        if let Some(policies) = ask.token_policies {
            self.policies = policies;
        }
        if let Some(flag) = ask.token_strictly_bind_ip {
            self.strictly_bind_ip = flag;
        }
        if let Some(span) = ask.token_ttl {
            self.ttl = span;
        }
        if let Some(kind) = ask.token_type {
            self.kind = match kind.as_str() {
                "" | "default" | "default-service" => None,
                "service" => Some(TokenKind::Service),
                "batch" | "default-batch" => Some(TokenKind::Batch),
                _ => return Err(Error::bad_request(format!("invalid 'token_type' value {kind:?}"))),
            };
        }
        self.check()
    }

    fn check(&self) -> Result<()> {
        for cidr in &self.bound_cidrs {
            if Cidr::parse(cidr).is_none() {
                return Err(Error::bad_request("token_bound_cidrs: each must be an address or a network like 10.0.0.0/8"));
            }
        }
        if !self.max_ttl.is_zero() && self.ttl > self.max_ttl {
            return Err(Error::bad_request("'token_ttl' cannot be greater than 'token_max_ttl'"));
        }
        if self.kind == Some(TokenKind::Batch) && (self.num_uses != 0 || !self.period.is_zero()) {
            return Err(Error::bad_request(
                "'token_type' cannot be 'batch' or 'default_batch' when set to generate tokens with limited use count or a period",
            ));
        }
        if self.policies.iter().any(|p| p.trim().eq_ignore_ascii_case("root")) {
            return Err(Error::bad_request("auth methods cannot create root tokens"));
        }
        Ok(())
    }

    pub fn shown(&self) -> TokenShown {
        TokenShown {
            token_bound_cidrs: self.bound_cidrs.clone(),
            token_explicit_max_ttl: self.explicit_max_ttl,
            token_max_ttl: self.max_ttl,
            token_no_default_policy: self.no_default_policy,
            token_num_uses: self.num_uses,
            token_period: self.period,
            token_policies: self.policies.clone(),
            token_strictly_bind_ip: self.strictly_bind_ip,
            token_ttl: self.ttl,
            token_type: self.kind.map_or("default", TokenKind::as_str).to_owned(),
        }
    }

    /// A login with these parameters from this address (`None` for a unix socket); the method adds who it is.
    ///
    /// # Errors
    /// Denied from outside the bound networks, and where a token bound to an address has none to be bound to.
    pub fn login_from(&self, address: Option<IpAddr>) -> Result<Login> {
        if !admits(&self.bound_cidrs, address) {
            return Err(Error::denied());
        }
        let mut login = self.login();
        if self.strictly_bind_ip {
            login.bound_cidrs = vec![address.ok_or_else(Error::denied)?.to_canonical().to_string()];
        }
        Ok(login)
    }

    /// A login with these parameters from wherever; see [`TokenParams::login_from`].
    pub fn login(&self) -> Login {
        Login {
            policies: self.policies.clone(),
            no_default_policy: self.no_default_policy,
            ttl: self.ttl,
            max_ttl: self.max_ttl,
            explicit_max_ttl: self.explicit_max_ttl,
            period: self.period,
            renewable: true,
            num_uses: self.num_uses,
            kind: self.kind.unwrap_or_default(),
            kind_by_mount: self.kind.is_none(),
            bound_cidrs: self.bound_cidrs.clone(),
            ..Login::default()
        }
    }
}

/// A network of one address is shown as the address.
fn one_address(cidr: &str) -> String {
    let bits = if cidr.contains(':') { "/128" } else { "/32" };
    cidr.trim().trim_end_matches(bits).to_owned()
}

/// Whether an address is in one of these networks. No networks admit every address.
pub fn admits(cidrs: &[String], address: Option<IpAddr>) -> bool {
    cidrs.is_empty() || address.is_some_and(|ip| cidrs.iter().filter_map(|c| Cidr::parse(c)).any(|c| c.contains(ip)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask() -> TokenAsk {
        TokenAsk {
            token_bound_cidrs: None,
            token_explicit_max_ttl: None,
            token_max_ttl: None,
            token_no_default_policy: None,
            token_num_uses: None,
            token_period: None,
            token_policies: None,
            token_strictly_bind_ip: None,
            token_ttl: None,
            token_type: None,
        }
    }

    #[test]
    fn what_is_left_out_stays() {
        let mut params = TokenParams::default();
        params
            .update(TokenAsk { token_ttl: Some(Span::from_secs(60)), token_policies: Some(vec!["a".into()]), ..ask() })
            .unwrap();
        params.update(TokenAsk { token_max_ttl: Some(Span::from_secs(90)), ..ask() }).unwrap();
        let login = params.login();
        assert_eq!((login.ttl.secs(), login.max_ttl.secs(), &*login.policies), (60, 90, &["a".to_owned()][..]));
    }

    #[test]
    fn what_can_not_be_is_refused() {
        let span = |s| Some(Span::from_secs(s));
        for bad in [
            TokenAsk { token_bound_cidrs: Some(vec!["10.0.0.0/33".into()]), ..ask() },
            TokenAsk { token_ttl: span(2), token_max_ttl: span(1), ..ask() },
            TokenAsk { token_type: Some("paper".into()), ..ask() },
            TokenAsk { token_type: Some("batch".into()), token_num_uses: Some(1), ..ask() },
            TokenAsk { token_type: Some("batch".into()), token_period: span(1), ..ask() },
            TokenAsk { token_policies: Some(vec!["a".into(), " Root".into()]), ..ask() },
        ] {
            assert!(TokenParams::default().update(bad).is_err());
        }
    }

    #[test]
    fn networks_and_the_callers_own_address_bind() {
        let ip = |text: &str| Some(text.parse().unwrap());
        let bound = TokenParams { bound_cidrs: vec!["10.0.0.0/8".into()], ..TokenParams::default() };
        assert_eq!(bound.login_from(ip("10.1.2.3")).unwrap().bound_cidrs, ["10.0.0.0/8"]);
        assert!(bound.login_from(ip("11.1.2.3")).is_err());
        assert!(bound.login_from(None).is_err());
        let strict = TokenParams { strictly_bind_ip: true, ..bound };
        assert_eq!(strict.login_from(ip("::ffff:10.1.2.3")).unwrap().bound_cidrs, ["10.1.2.3"]);
        assert!(TokenParams { bound_cidrs: Vec::new(), ..strict }.login_from(None).is_err());
    }
}
