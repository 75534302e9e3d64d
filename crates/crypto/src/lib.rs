//! The one room that links a cryptography library.
