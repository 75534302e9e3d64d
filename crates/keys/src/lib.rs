//! Master keys of SOPS files: what wraps and unwraps their data keys, filled with what this machine and the network have.
//!
//! [`Local`] is a [`coffer_sops::KeyService`] over age (keys, SSH keys, plugins, locked key files), gpg, and the key services of clouds
//! and of Vault in `coffer_client::kms`. [`Remote`] asks another key service over gRPC, [`Chain`] several in order, and
//! [`Served`] answers others. Who a person or a terminal is needed for is [`Ask`].

mod age;
mod ask;
mod chain;
mod gpg;
mod local;
mod map;
mod pgp_file;
mod program;
mod served;
mod words;

pub use crate::age::check_recipient;
pub use ask::{Ask, Nobody, Standard, Terminal};
pub use chain::{Chain, Remote};
pub use local::Local;
pub use served::Served;
pub use words::split as split_words;
