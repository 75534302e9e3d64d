//! The engines and the kernels under them, one folder each.
