//! What a handler's answer still needs: a lease registered, a login's token made, a reply wrapped. All of it is part
//! of the call's own transaction.

use crate::barrier::Transaction;
use crate::core::Core;
use crate::identity::Identity;
use crate::identity::login::{Asserted, on_login};
use crate::identity::mfa::{self, PendingLogin};
use crate::leases::{LeaseRecord, Subject, register};
use crate::live::Unsealed;
use crate::router::Mounted;
use crate::tokens::issue::{NewToken, add_identity, auth, bounded_ttl, issue, normal_policies};
use crate::tokens::{Authenticated, TokenRecord};
use crate::wrapping;
use coffer_crypto::random::{self, base62};
use coffer_engine::reply::{Auth, LeaseAsk, Leased};
use coffer_engine::{Answer, Call, Login, TokenKind, View};
use coffer_types::{Error, Kind, Result, Span, Timestamp};
use std::sync::Arc;

/// The step between handle and commit.
pub struct Settling<'a> {
    pub core: &'a Arc<Core>,
    pub live: &'a Unsealed,
    pub txn: &'a Arc<Transaction>,
    pub call: &'a Arc<Call>,
    pub mounted: &'a Arc<Mounted>,
    pub authenticated: &'a Result<Option<Authenticated>>,
    pub now: Timestamp,
}

impl Settling<'_> {
    pub async fn settle(&self, mut answer: Answer) -> Result<Answer> {
        if let Some(ask) = answer.lease.take() {
            answer.leased = Some(self.lease(ask).await?);
        }
        if let Some(login) = answer.login.take() {
            let warnings = self.login(*login, &mut answer).await?;
            answer.warnings.extend(warnings);
        }
        match self.call.wrap {
            Some(ask) if answer.wrap.is_none() && self.may_wrap(&answer) => wrapping::wrap(self, answer, ask).await,
            _ => Ok(answer),
        }
    }

    /// Failures and misses come back as they are, so do replies in an engine's own form; what handles wrapping tokens
    /// is not wrapped again.
    fn may_wrap(&self, answer: &Answer) -> bool {
        let path = self.call.path.as_str();
        let handles = path.starts_with("sys/wrapping/") && path != "sys/wrapping/wrap";
        let says = answer.data.is_some() || answer.auth.is_some();
        says && !handles && answer.raw.is_none() && answer.status.is_none_or(|s| s < 300)
    }

    async fn lease(&self, ask: LeaseAsk) -> Result<Leased> {
        let mount = &self.mounted.mount;
        let mut max = if ask.terms.max_ttl.is_zero() { mount.max_lease_ttl } else { ask.terms.max_ttl.min(mount.max_lease_ttl) };
        let token = match self.authenticated {
            Ok(Some(a)) if a.token.kind == TokenKind::Service => a.token.key.clone(),
            // A batch token ends without anyone noticing: its leases end by themselves no later, and with its parent.
            Ok(Some(a)) => {
                if !a.token.expires.is_never() {
                    max = max.min(Span(i64::try_from(a.token.expires.since(self.now).as_nanos()).unwrap_or(i64::MAX)));
                }
                a.token.parent.clone()
            }
            _ => return Err(Error::internal("a lease for nobody")),
        };
        let (ttl, _) = bounded_ttl(ask.terms.ttl, mount.default_lease_ttl, max, Span::ZERO);
        let lease = LeaseRecord {
            id: format!("{}/{}", self.call.path.as_str().trim_end_matches('/'), &*base62(&*self.core.random, 24)),
            subject: Subject::Engine { mount: mount.uuid.to_string(), kind: ask.kind.to_owned(), record: ask.internal },
            issued: self.now,
            expires: self.now.plus(ttl.duration()),
            last_renewed: Timestamp::NEVER,
            ttl,
            last_end: self.now.plus(max.duration()),
            renewable: ask.terms.renewable,
            token,
            failures: 0,
            ending: false,
            role: self.call.path.as_str().trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned(),
            due: self.now.plus(ttl.duration()),
        };
        register(self.live, &self.txn.root_view(), &lease).await?;
        Ok(Leased { id: lease.id, seconds: ttl.secs(), renewable: ask.terms.renewable })
    }

    /// A login gives its token, unless it owes a second factor: then the reply asks for that.
    async fn login(&self, login: Login, answer: &mut Answer) -> Result<Vec<String>> {
        let (view, mount) = (self.txn.root_view(), &self.mounted.mount);
        check_policies(&login)?;
        let identity = self.identity(&login).await?;
        let required = mfa::required(&view, &mount.accessor, &mount.kind, identity.as_ref()).await?;
        let path = self.call.path.as_str();
        if let Some(required) = required {
            // Somebody of whom nothing is known has no second factor to give.
            let identity = identity.as_ref().ok_or_else(Error::denied)?;
            let codes = mfa::codes_of(self.call);
            if codes.is_empty() {
                let request = random::uuid(&*self.core.random);
                PendingLogin::new(&mount.uuid, path, &identity.entity.id, login, self.now).keep(&view, &request)?;
                answer.mfa = Some(required.show(&request));
                return Ok(vec![ASKS_FOR_MFA.to_owned()]);
            }
            required.check(self.live, &view, self.call, identity, &codes, self.now).await.map_err(|error| {
                match error.kind() {
                    Kind::Denied => Error::denied(),
                    _ => error,
                }
            })?;
        }
        let handing_out =
            HandingOut { core: self.core, live: self.live, view: &view, mounted: self.mounted, path, now: self.now };
        let (auth, warnings) = handing_out.token(login, identity.as_ref()).await?;
        answer.auth = Some(Box::new(auth));
        Ok(warnings)
    }

    /// Who logs in: the entity of the alias, found or made in this transaction. A method that names no alias has none.
    async fn identity(&self, login: &Login) -> Result<Option<Identity>> {
        if login.alias.is_empty() {
            return Ok(None);
        }
        let (mount, view, store) = (&self.mounted.mount, self.txn.root_view(), &self.live.identities.store);
        let asserted = Asserted {
            accessor: &mount.accessor,
            local: self.mounted.record.local,
            alias: &login.alias,
            metadata: Some(&login.alias_metadata),
            groups: Some(&login.group_aliases),
        };
        let entity = on_login(store, &view, &*self.core.random, &asserted, self.now).await?;
        Identity::load(store, &view, entity).await.map(Some)
    }
}

const ASKS_FOR_MFA: &str = "A login request was issued that is subject to MFA validation. Please make sure to validate the login by \
                            sending another request to mfa/validate endpoint.";

/// The policies of a login's token.
fn check_policies(login: &Login) -> Result<Vec<String>> {
    let policies = normal_policies(&login.policies, !login.no_default_policy);
    if policies.iter().any(|p| p == crate::tokens::record::ROOT_POLICY) {
        return Err(Error::bad_request("auth methods cannot create root tokens"));
    }
    Ok(policies)
}

/// The kind of a login's token: what the mount is tuned to may stand in for what the role leaves open, or over all roles.
fn kind_of(login: &Login, tuned: &str) -> TokenKind {
    match tuned {
        "service" => TokenKind::Service,
        "batch" => TokenKind::Batch,
        // A batch token counts no uses and has no period.
        "default-batch" if login.kind_by_mount && login.num_uses == 0 && login.period.is_zero() => TokenKind::Batch,
        _ => login.kind,
    }
}

/// The last step of a login, when all is proven.
pub(crate) struct HandingOut<'a> {
    pub core: &'a Arc<Core>,
    pub live: &'a Unsealed,
    pub view: &'a View,
    /// The auth method's mount.
    pub mounted: &'a Arc<Mounted>,
    /// The path of the login.
    pub path: &'a str,
    pub now: Timestamp,
}

impl HandingOut<'_> {
    /// Makes the token of a login.
    pub(crate) async fn token(&self, login: Login, identity: Option<&Identity>) -> Result<(Auth, Vec<String>)> {
        let mount = &self.mounted.mount;
        let policies = check_policies(&login)?;
        let max = if login.max_ttl.is_zero() { mount.max_lease_ttl } else { login.max_ttl.min(mount.max_lease_ttl) };
        let (ttl, warning) = if login.period.is_zero() {
            bounded_ttl(login.ttl, mount.default_lease_ttl, max, login.explicit_max_ttl)
        } else {
            bounded_ttl(login.period, login.period, login.period, login.explicit_max_ttl)
        };
        let new = NewToken {
            kind: kind_of(&login, &self.mounted.record.tune.token_type),
            policies,
            path: self.path.to_owned(),
            display_name: display_name(&mount.path, &login.display_name),
            meta: login.metadata.clone(),
            ttl,
            explicit_max_ttl: login.explicit_max_ttl,
            period: login.period,
            num_uses: login.num_uses,
            bound_cidrs: login.bound_cidrs.clone(),
            renewable: login.renewable,
            mount_accessor: mount.accessor.to_string(),
            entity_id: identity.map(|i| i.entity.id.clone()).unwrap_or_default(),
            login: Some(login),
            ..NewToken::default()
        };
        let (text, record): (_, TokenRecord) = issue(self.live, &*self.core.random, self.view, new, self.now).await?;
        let mut auth = auth(text.expose(), &record, ttl.secs());
        if let Some(identity) = identity {
            add_identity(&mut auth, identity);
        }
        Ok((auth, warning.into_iter().collect()))
    }
}

/// The mount's path and who logged in: `userpass-bob`; the path alone where the method names nobody.
fn display_name(mount: &str, who: &str) -> String {
    let path = mount.trim_start_matches("auth/").trim_end_matches('/').replace('/', "-");
    if who.is_empty() { path } else { format!("{path}-{who}") }
}
