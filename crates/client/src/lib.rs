//! The HTTP client of the command line and of everything that talks to a Coffer or Vault server.
