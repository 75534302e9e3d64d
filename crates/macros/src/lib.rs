//! The pair of derives for typed requests and responses.
