//! Calls that the server makes to itself while it starts. They take the one way through, like everybody's.

use coffer_core::Core;
use coffer_engine::Answer;
use coffer_engine::call::{Call, Credential, Fields, Remote};
use coffer_types::{Dialect, Error, Object, Operation, Path, Result, Secret};
use std::sync::Arc;

/// One call of the Vault dialect with `token`.
pub(super) async fn call(
    core: &Arc<Core>,
    token: &Secret<String>,
    operation: Operation,
    path: &str,
    body: Object,
) -> Result<Answer> {
    let path = Path::parse(path).map_err(|_| Error::internal("a path of the server's own does not parse"))?;
    core.serve(Call {
        id: coffer_crypto::random::uuid(&*core.random).into(),
        dialect: Dialect::Vault,
        credential: Credential::Token(token.duplicate()),
        operation,
        path,
        verb: None,
        fields: Fields { body, ..Fields::default() },
        wrap: None,
        remote: Remote { ip: None, port: 0, certificate: None },
        listener: Arc::default(),
        headers: Vec::new(),
    })
    .await
}
