//! Help for people, from the declaration.
