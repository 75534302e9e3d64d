//! `sys/internal/specs/openapi`: the document of what this server answers, from the declarations.

use super::Sys;
use coffer_engine::openapi::{Document, Mounted};
use coffer_engine::{Ctx, Declare, Reply, Request};
use coffer_types::Result;

pub(super) fn declare(d: &mut Declare<Sys>) {
    d.at("internal/specs/openapi").about("The OpenAPI document of this server.").public().read(openapi).write(openapi);
}

/// Ask for the document.
#[derive(Request)]
struct Ask {
    /// Name mounts by a parameter instead of by their paths.
    #[field(query, default)]
    generic_mount_paths: bool,
    /// Kept for clients.
    #[field(rename = "context", default)]
    _context: String,
}

async fn openapi(cx: Ctx<Sys>, ask: Ask) -> Result<Reply> {
    let live = cx.engine.core()?.unsealed()?;
    let compiled = match cx.principal() {
        Some(principal) => Some(live.compiled(principal, cx.now()).await?),
        None => None,
    };
    let mut document = Document::new(ask.generic_mount_paths);
    let router = live.router.load_full();
    for mounted in router.all() {
        // What is mounted where is only for who reaches it; the server's own paths are no secret.
        let reaches = compiled.as_ref().is_some_and(|c| c.reaches_into(&mounted.mount.path));
        if reaches || mounted.record.is_system() {
            document.add(&Mounted {
                class: mounted.record.class,
                path: &mounted.mount.path,
                kind: &mounted.mount.kind,
                routes: mounted.engine.routes(),
            });
        }
    }
    Ok(Reply::data(document.finish()).bare())
}
