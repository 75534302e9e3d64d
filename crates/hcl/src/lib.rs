//! HCL as Vault's policies and configuration files use it, over hcl-edit.
