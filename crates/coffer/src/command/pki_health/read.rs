//! What the checks read of a mount, each thing once, and of their settings.

use super::{Finding, Status};
use crate::cli::{Call, Failure};
use crate::command::pki::first;
use crate::output;
use coffer_client::{Answer, Request};
use coffer_crypto::x509::Certificate;
use coffer_types::{Json, Object, Span, Timestamp};

/// Something could not be read: the check says so in place of its findings.
#[derive(Debug)]
pub(super) enum Unread {
    /// Refused, or unknown to the server.
    Finding(Finding),
    /// Nothing can be said at all.
    Failure(Failure),
}

impl From<Failure> for Unread {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// An issuer of the mount.
pub(super) struct Issuer {
    pub(super) id: String,
    pub(super) certificate: Certificate,
}

/// What has been read of the mount, each thing once.
pub(super) struct Mount<'m, 'c> {
    pub(super) call: &'m Call<'c>,
    pub(super) path: String,
    pub(super) now: Timestamp,
    issuers: Option<Vec<Issuer>>,
    roles: Option<Vec<(String, Answer)>>,
}

impl<'m, 'c> Mount<'m, 'c> {
    pub(super) fn new(call: &'m Call<'c>, path: String, now: Timestamp) -> Self {
        Self { call, path, now, issuers: None, roles: None }
    }
}

impl Mount<'_, '_> {
    pub(super) fn finding(&self, status: Status, endpoint: &str, message: impl Into<String>) -> Finding {
        Finding { status, endpoint: format!("/{}/{endpoint}", self.path), message: message.into() }
    }

    pub(super) fn tune(&self, status: Status, message: impl Into<String>) -> Finding {
        Finding { status, endpoint: format!("/sys/mounts/{}/tune", self.path), message: message.into() }
    }

    /// `None` where there is nothing.
    pub(super) fn read(&self, request: &Request) -> Result<Option<Answer>, Unread> {
        match self.call.ask(request) {
            Ok(answer) => Ok(answer),
            Err(failure) => {
                let endpoint = format!("/{}", request.path());
                match failure.status {
                    404 => Ok(None),
                    403 => Err(Unread::Finding(Finding {
                        status: Status::InsufficientPermissions,
                        endpoint,
                        message: "The token may not read this, so the check could not be made. Use one whose policy allows it."
                            .into(),
                    })),
                    405 | 501 => Err(Unread::Finding(Finding {
                        status: Status::InvalidVersion,
                        endpoint,
                        message: "The server does not know this, so the check could not be made.".into(),
                    })),
                    _ => Err(failure.into()),
                }
            }
        }
    }

    pub(super) fn get(&self, path: &str) -> Result<Option<Answer>, Unread> {
        self.read(&Request::get(format!("{}/{path}", self.path)))
    }

    pub(super) fn names(&self, path: &str) -> Result<Vec<String>, Unread> {
        let found = self.read(&Request::list(format!("{}/{path}", self.path)))?.unwrap_or_default();
        Ok(found.keys().unwrap_or_default().into_iter().map(str::to_owned).collect())
    }

    pub(super) fn issuers(&mut self) -> Result<&[Issuer], Unread> {
        if self.issuers.is_none() {
            let mut all = Vec::new();
            for id in self.names("issuers")? {
                let about = self.get(&format!("issuer/{id}"))?.unwrap_or_default();
                if let Some(certificate) = first(about.text("certificate")) {
                    all.push(Issuer { id, certificate });
                }
            }
            if all.is_empty() {
                return Err(Failure::usage("this mount lacks any configured issuers, limiting health check usefulness").into());
            }
            self.issuers = Some(all);
        }
        Ok(self.issuers.as_deref().unwrap_or_default())
    }

    pub(super) fn roles(&mut self) -> Result<&[(String, Answer)], Unread> {
        if self.roles.is_none() {
            let mut all = Vec::new();
            for name in self.names("roles")? {
                if let Some(role) = self.get(&format!("roles/{name}"))? {
                    all.push((name, role));
                }
            }
            self.roles = Some(all);
        }
        Ok(self.roles.as_deref().unwrap_or_default())
    }

    pub(super) fn only_roots(&mut self) -> Result<bool, Unread> {
        Ok(self.issuers()?.iter().all(|issuer| issuer.certificate.is_self_signed()))
    }

    pub(super) fn tuned(&self) -> Result<Answer, Unread> {
        Ok(self.read(&Request::get(format!("sys/mounts/{}/tune", self.path)))?.unwrap_or_default())
    }

    /// One finding a role that `wrong` speaks of, or that all are well.
    pub(super) fn of_roles(
        &mut self,
        well: &str,
        wrong: impl Fn(&str, &Answer) -> Option<(Status, String)>,
    ) -> Result<Vec<Finding>, Unread> {
        let bad: Vec<_> =
            self.roles()?.iter().filter_map(|(name, role)| Some((format!("roles/{name}"), wrong(name, role)?))).collect();
        if bad.is_empty() {
            return Ok(vec![self.finding(Status::Ok, "roles", well)]);
        }
        Ok(bad.into_iter().map(|(endpoint, (status, message))| self.finding(status, &endpoint, message)).collect())
    }
}

pub(super) fn is(answer: &Answer, field: &str) -> bool {
    answer.get(field).and_then(Json::as_bool).unwrap_or_default()
}

pub(super) fn texts(answer: &Answer, field: &str) -> Vec<String> {
    let list = answer.get(field).and_then(Json::as_array).unwrap_or_default();
    list.iter().filter_map(Json::as_str).map(str::to_owned).collect()
}

pub(super) fn has(list: &[String], name: &str) -> bool {
    list.iter().any(|one| one.eq_ignore_ascii_case(name))
}

/// A setting that is a time: `30d`, or seconds.
pub(super) fn span(own: &Object, name: &str) -> Result<Span, Unread> {
    let text = own.get(name).map(|value| value.as_str().map_or_else(|| output::json::pretty(value), str::to_owned));
    let text = text.unwrap_or_default();
    let read = if text.is_empty() { None } else { Span::parse(&text).ok() };
    read.ok_or_else(|| Failure::usage(format!("{name} in the health configuration must be a time like 30d, not {text:?}")).into())
}

/// A setting that is a number, as one or as its text.
pub(super) fn number(own: &Object, name: &str) -> Result<i64, Unread> {
    let value = own.get(name);
    let read = value.and_then(Json::as_i64).or_else(|| value.and_then(Json::as_str)?.parse().ok());
    read.ok_or_else(|| Failure::usage(format!("{name} in the health configuration must be a number")).into())
}

pub(super) fn list(own: &Object, name: &str) -> Vec<String> {
    let list = own.get(name).and_then(Json::as_array).unwrap_or_default();
    list.iter().filter_map(Json::as_str).map(str::to_owned).collect()
}

pub(super) fn day(time: Timestamp) -> String {
    time.to_string().chars().take(10).collect()
}
