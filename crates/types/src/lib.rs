//! The words every room shares: paths, operations, durations, secrets, JSON, errors, the clock.
//!
//! Nothing here does I/O, links cryptography or knows a protocol. What is parsed here is parsed once,
//! at the edge, and carried as a type from then on.

pub mod cidr;
pub mod clock;
pub mod error;
pub mod json;
pub mod lenient;
pub mod op;
pub mod path;
pub mod secret;
pub mod span;
pub mod version;

pub use cidr::Cidr;
pub use clock::{Clock, SystemClock, Timestamp};
pub use error::{Error, Kind, Result};
pub use json::{Json, Object};
pub use op::{Dialect, Operation};
pub use path::{MountPath, Name, Path};
pub use secret::Secret;
pub use span::Span;
