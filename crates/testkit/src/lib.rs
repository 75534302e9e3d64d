//! An in-memory server with a fake clock and seeded randomness, vectors, fault injection.
