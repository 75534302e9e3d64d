//! Which engine a path of `kv` is in, its version, and the path of the API that stands for it.

use crate::cli::call::{sanitize, with_slash};
use crate::cli::{Call, Failure, Flag, Kind, Outcome};
use coffer_client::Request;
use coffer_types::Json;

pub(crate) const MOUNT: Flag = Flag::new(
    "mount",
    Kind::Text,
    "The path of the engine. The argument is then the path inside it; without this flag the argument begins with the engine's path.",
);

/// A path of `kv`, understood.
#[derive(Debug)]
pub(crate) struct Place {
    /// With a slash behind it.
    pub(crate) mount: String,
    pub(crate) v2: bool,
    /// As typed, with the mount before it.
    path: String,
}

impl Place {
    /// Asks the server which engine the first argument is in.
    pub(crate) fn find(call: &Call<'_>) -> Outcome<Self> {
        let typed = sanitize(call.arg(0));
        let mount = call.text("mount");
        if mount.is_empty() {
            let (mount, v2) = preflight(call, &typed)?;
            return Ok(Self { mount, v2, path: typed });
        }
        let (_, v2) = preflight(call, &sanitize(mount))?;
        let mount = with_slash(mount);
        let path = format!("{mount}{typed}");
        Ok(Self { mount, v2, path })
    }

    /// As [`Place::find`] for commands that only versioned engines know.
    pub(crate) fn find_versioned(call: &Call<'_>, what: &str) -> Outcome<Self> {
        let place = Self::find(call)?;
        if place.v2 { Ok(place) } else { Err(Failure::usage(format!("{what} not supported on KV Version 1"))) }
    }

    /// The path under `data`, `metadata`, …; as typed where the engine has no versions.
    pub(crate) fn under(&self, word: &str) -> String {
        if !self.v2 {
            return self.path.clone();
        }
        let inside = self.inside();
        if inside.is_empty() { format!("{}{word}", self.mount) } else { format!("{}{word}/{inside}", self.mount) }
    }

    /// The path inside the engine.
    pub(crate) fn inside(&self) -> &str {
        if self.path == self.mount.trim_end_matches('/') {
            return "";
        }
        self.path.strip_prefix(&self.mount).unwrap_or(&self.path)
    }
}

/// The engine's path, with a slash, and whether it has versions. A server that does not know the question is older than versions.
fn preflight(call: &Call<'_>, path: &str) -> Outcome<(String, bool)> {
    let request = Request::get(format!("sys/internal/ui/mounts/{path}")).aside();
    let answer = match call.ask(&request) {
        Ok(answer) => answer.unwrap_or_default(),
        Err(failure) if failure.not_found.is_some() => return Ok((String::new(), false)),
        Err(failure) => return Err(failure),
    };
    let v2 = answer.get("options").and_then(|o| o.get("version")).and_then(Json::as_str) == Some("2");
    Ok((answer.text("path").to_owned(), v2))
}
