# app-policy.hcl - Application Policy
path "secret/data/{{identity.entity.name}}/*" {
  capabilities = ["create", "read", "update", "delete", "list"]
}
path "secret/data/shared/*" {
  capabilities = ["read", "list"]
}
path "database/creds/app-readonly" {
  capabilities = ["read"]
}
path "aws/creds/s3-readonly" {
  capabilities = ["read"]
}
# Deny access to admin paths
path "sys/*" {
  capabilities = ["deny"]
}
# Allow token renewal
path "auth/token/renew-self" {
  capabilities = ["update"]
}
