//! YAML as the reference reads and writes it.
