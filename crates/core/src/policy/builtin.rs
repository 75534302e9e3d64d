//! The policy that every token has unless it is asked not to.

/// The text of `default` in a new server. Its owner may change it. It grants what Vault's grants: what a token may do with itself.
pub const DEFAULT_POLICY: &str = r#"
# A token may look at itself, renew itself and end itself.
path "auth/token/lookup-self" {
    capabilities = ["read"]
}
path "auth/token/renew-self" {
    capabilities = ["update"]
}
path "auth/token/revoke-self" {
    capabilities = ["update"]
}

# It may ask what it may do: on some paths, and altogether (as user interfaces do).
path "sys/capabilities-self" {
    capabilities = ["update"]
}
path "sys/internal/ui/resultant-acl" {
    capabilities = ["read"]
}

# It may ask why a request of its own was refused.
path "sys/policies/explain" {
    capabilities = ["update"]
}

# It may read the entity that it belongs to.
path "identity/entity/id/{{identity.entity.id}}" {
    capabilities = ["read"]
}
path "identity/entity/name/{{identity.entity.name}}" {
    capabilities = ["read"]
}

# Who knows the id of a lease may look it up and renew it. The first path is that of older clients.
path "sys/renew" {
    capabilities = ["update"]
}
path "sys/leases/renew" {
    capabilities = ["update"]
}
path "sys/leases/lookup" {
    capabilities = ["update"]
}

# Its cubbyhole is its own.
path "cubbyhole/*" {
    capabilities = ["create", "read", "update", "delete", "list"]
}

# It may wrap values, and look into and open what was wrapped for it.
path "sys/wrapping/wrap" {
    capabilities = ["update"]
}
path "sys/wrapping/lookup" {
    capabilities = ["update"]
}
path "sys/wrapping/unwrap" {
    capabilities = ["update"]
}

# Digests, and the state of a request that waits for a second person.
path "sys/tools/hash" {
    capabilities = ["update"]
}
path "sys/tools/hash/*" {
    capabilities = ["update"]
}
path "sys/control-group/request" {
    capabilities = ["update"]
}

# It may sign in to applications through an OpenID Connect provider.
path "identity/oidc/provider/+/authorize" {
    capabilities = ["read", "update"]
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    #[test]
    fn it_parses() {
        let policy = Policy::parse("default", DEFAULT_POLICY).expect("reads");
        assert_eq!(policy.paths().len(), 19);
        assert!(policy.is_templated());
    }
}
