//! The binary: one table of commands.
fn main() {}
