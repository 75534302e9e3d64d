//! `identity/`: the mount is there from the first start, so that its path is taken and stores need no migration when
//! entities, groups and identity tokens come. Until then each of its paths says that it is not built.

use coffer_engine::{Ctx, Declare, Engine, Mount, NoInput, Reply, Request};
use coffer_types::{Error, Kind, Result};

/// The engine.
pub struct Identity;

impl Engine for Identity {
    const KIND: &'static str = "identity";

    fn open(_: &Mount) -> Result<Self> {
        Ok(Self)
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Entities, groups and identity tokens. Not built yet.");
        for folder in ["entity", "entity-alias", "group", "group-alias", "lookup", "oidc", "mfa", "persona", "alias"] {
            d.at(folder).about("Not built yet.").read(not_built).write(not_built).list(not_built);
        }
        for below in [
            "entity/{path...}",
            "entity-alias/{path...}",
            "group/{path...}",
            "group-alias/{path...}",
            "lookup/{path...}",
            "oidc/{path...}",
            "mfa/{path...}",
            "persona/{path...}",
            "alias/{path...}",
        ] {
            d.at(below).about("Not built yet.").read(not_built_at).write(not_built_at).list(not_built_at).delete(not_built_at);
        }
    }
}

/// Any path below.
#[derive(Request)]
struct Below {
    /// The path.
    #[field(path, rename = "path")]
    _path: String,
}

async fn not_built(_cx: Ctx<Identity>, _: NoInput) -> Result<Reply> {
    Err(Error::new(
        Kind::NotImplemented,
        "the identity engine is mounted but not built yet: entities, groups and identity tokens are not supported",
    ))
}

async fn not_built_at(cx: Ctx<Identity>, _: Below) -> Result<Reply> {
    not_built(cx, NoInput).await
}
