//! Barrier, seal, mounts, router, tokens, policies, leases, audit, wrapping, quotas, sys and the pipeline.
