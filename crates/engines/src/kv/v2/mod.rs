//! Version 2: numbered versions of JSON objects, on the records kernel.

mod config;
mod data;
mod metadata;
mod secrets;
mod settings;
mod subkeys;
mod versions;

use super::upgrade;
use coffer_engine::{Ctx, Declare, Engine, Mount, Reply};
use coffer_types::{Operation, Result};

/// Key-value secrets with versions.
pub struct V2;

impl Engine for V2 {
    const KIND: &'static str = "kv";
    const VERSION: Option<&'static str> = Some("2");

    fn open(_: &Mount) -> Result<Self> {
        Ok(Self)
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Keeps secrets as JSON objects under names of your choice, with numbered versions of each.");
        d.at("config")
            .about("Settings for all secrets of the mount.")
            .read(config::read)
            .write(config::write)
            .exists(config::exists);
        d.at("data/{path...}")
            .about("Reads, writes, patches and deletes versions of a secret.")
            .read(data::read)
            .write(data::write)
            .exists(data::exists)
            .patch(data::patch)
            .delete(data::delete);
        d.at("delete/{path...}")
            .about("Marks versions as deleted; their data can be brought back.")
            .plain(&["versions"])
            .write(versions::delete)
            .exists(versions::exists);
        d.at("undelete/{path...}")
            .about("Brings deleted versions back.")
            .plain(&["versions"])
            .write(versions::undelete)
            .exists(versions::exists);
        d.at("destroy/{path...}")
            .about("Removes the data of versions for good.")
            .plain(&["versions"])
            .write(versions::destroy)
            .exists(versions::exists);
        d.at("metadata/{path...}")
            .about("Reads, changes and lists what is known of secrets besides their data; deletes them whole.")
            .read(metadata::read)
            .write(metadata::write)
            .exists(versions::exists)
            .patch(metadata::patch)
            .delete(metadata::delete)
            .list(metadata::list)
            .scan(metadata::scan);
        d.at("detailed-metadata/{path...}")
            .about("Lists secrets with their metadata.")
            .list(metadata::list_detailed)
            .scan(metadata::scan_detailed);
        d.at("subkeys/{path...}").about("The structure of a secret without its values.").read(subkeys::read);
        d.otherwise(hint);
        d.upkeep(upkeep);
    }
}

/// What version 1 left becomes records.
async fn upkeep(cx: Ctx<V2>) -> Result<bool> {
    upgrade::batch(&cx.view, cx.now(), |out| cx.fill_random(out), upgrade::BATCH).await
}

/// A path of version 1 on a mount of version 2 is the most common slip: say what would be right.
async fn hint(cx: Ctx<V2>, path: String) -> Result<Reply> {
    let command = match cx.operation() {
        Operation::Create | Operation::Update => "put",
        Operation::Patch => "patch",
        Operation::Delete => "delete",
        Operation::List => "list",
        Operation::Scan => "scan",
        Operation::Read | Operation::Help => "get",
    };
    let warning = if matches!(path.as_str(), "data" | "metadata") {
        "Non-listing operations on the root of a K/V v2 mount are not supported.".to_owned()
    } else {
        format!(
            "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. \
             If using the Vault CLI, use 'vault kv {command}' for this operation."
        )
    };
    Ok(Reply::empty().status(404).warn(warning))
}
