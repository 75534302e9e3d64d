//! The OpenAPI document, from the declarations.
