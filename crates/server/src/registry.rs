//! The engines and auth methods of this server: one line each.

use crate::start::StartError;
use coffer_auth::approle::AppRole;
use coffer_auth::cert::Cert;
use coffer_auth::clouds;
use coffer_auth::github::GitHub;
use coffer_auth::jwt::{Jwt, Oidc};
use coffer_auth::kubernetes::Kubernetes;
use coffer_auth::ldap::Ldap;
use coffer_auth::okta::Okta;
use coffer_auth::radius::Radius;
use coffer_auth::userpass::Userpass;
use coffer_core::Registry;
use coffer_engines::aws::Aws;
use coffer_engines::cubbyhole::Cubbyhole;
use coffer_engines::database::Database;
use coffer_engines::kubernetes::Kubernetes as KubernetesSecrets;
use coffer_engines::kv;
use coffer_engines::pki::Pki;
use coffer_engines::rabbitmq::RabbitMq;
use coffer_engines::ssh::Ssh;
use coffer_engines::totp::Totp;
use coffer_engines::transit::Transit;

/// Everything that can be mounted.
///
/// # Errors
/// An engine is declared wrongly; a test shows it.
pub fn registry() -> Result<Registry, StartError> {
    build().map_err(StartError::Registry)
}

fn build() -> Result<Registry, Vec<String>> {
    Registry::new()
        // A mount of kv that names no version is the first.
        .engine::<kv::V1>()?
        .engine::<kv::V2>()?
        .engine::<Database>()?
        .engine::<Aws>()?
        .engine::<KubernetesSecrets>()?
        .engine::<RabbitMq>()?
        .engine::<Transit>()?
        .engine::<Totp>()?
        .engine::<Pki>()?
        .engine::<Ssh>()?
        .engine::<Cubbyhole>()?
        .auth::<clouds::aws::Aws>()?
        .auth::<clouds::azure::Azure>()?
        .auth::<Cert>()?
        .auth::<clouds::gcp::Gcp>()?
        .auth::<GitHub>()?
        .auth::<Okta>()?
        .auth::<Jwt>()?
        .auth::<Oidc>()?
        .auth::<Kubernetes>()?
        .auth::<Userpass>()?
        .auth::<Ldap>()?
        .auth::<Radius>()?
        .auth::<AppRole>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_engine_is_declared_rightly() {
        registry().unwrap();
    }
}
