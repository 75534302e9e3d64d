//! The three ways to start: `-dev`, without configuration, and with one.

mod banner;
mod certificate;
mod dev;
mod error;
mod local;
mod open;
mod plan;
mod private;
mod run;
pub mod solo;

pub use dev::DevOptions;
pub use error::StartError;
pub use open::{FirstKeys, Opened, Prepared, Sources};
pub use plan::{Plan, ServerOptions};
pub use private::PrivateError;
pub use run::{Console, run};
