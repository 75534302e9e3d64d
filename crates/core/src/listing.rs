//! Lists of the server's own records that may be very long.

use coffer_engine::Reply;
use coffer_engine::view::View;
use coffer_types::Result;

/// Names that one reply holds at most: some megabytes.
pub const MOST: usize = 100_000;
/// Keys counted at a time.
const PAGE: usize = 4096;

/// The names below a folder. A list that does not hold all says so.
pub async fn children(view: &View, folder: &str, after: Option<&str>, limit: Option<usize>) -> Result<Reply> {
    let most = limit.unwrap_or(MOST).min(MOST);
    let mut names = view.children(folder, after, most + 1).await?;
    let more = names.len() > most;
    names.truncate(most);
    let reply = Reply::list(names);
    // Who asked for a page knows that there may be another.
    let cut = more && limit.is_none_or(|l| l > MOST);
    Ok(if cut {
        reply.warn(format!("There are more than these {MOST}: ask again with after=, the last of them."))
    } else {
        reply
    })
}

/// How many keys there are below a prefix, a page at a time.
pub async fn count(view: &View, prefix: &str) -> Result<usize> {
    let (mut total, mut after): (usize, Option<String>) = (0, None);
    loop {
        let page = view.keys(prefix, after.as_deref(), PAGE).await?;
        total += page.len();
        if page.len() < PAGE {
            return Ok(total);
        }
        after = page.into_iter().next_back();
        tokio::task::yield_now().await;
    }
}
