//! `lease`: what was lent, looked at, renewed, revoked.

use crate::cli::{Arity, Because, Call, Command, Failure, Flag, Kind, Outcome, Output, Run};
use crate::output::answer;
use coffer_client::Request;
use coffer_types::Span;
use coffer_types::json::Object;

pub(crate) const COMMANDS: &[&Command] = &[&LEASE, &LOOKUP, &RENEW, &REVOKE];

static LEASE: Command = Command {
    path: "lease",
    synopsis: "Look at, renew and revoke leases",
    args: "",
    about: "A lease is the time for which a credential was given out. Its identifier came with the credential.",
    examples: &[("Ask for another hour:", "lease renew -increment=1h database/creds/app/2f6a614c")],
    own: &[],
    output: Output::None,
    http: false,
    arity: Arity::Any,
    run: Run::Group,
};

static LOOKUP: Command = Command {
    path: "lease lookup",
    synopsis: "Look at a lease",
    args: "ID",
    about: "Prints when a lease was given out and when it ends.",
    examples: &[("See when it ends:", "lease lookup database/creds/app/2f6a614c")],
    own: &[],
    output: Output::Format,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(|call| {
        let request = Request::put("sys/leases/lookup").json(Object::new().with("lease_id", call.arg(0).trim()));
        let found = call.ask(&request).because(|| format!("Error looking up lease id {}", call.arg(0)))?;
        answer::print(call, &found.unwrap_or_default())
    }),
};

static RENEW: Command = Command {
    path: "lease renew",
    synopsis: "Make a lease last longer",
    args: "ID",
    about: "Renews a lease, so that its credential can be used for longer. It fails where the lease is not renewable or has ended.",
    examples: &[("Ask for another hour:", "lease renew -increment=1h database/creds/app/2f6a614c")],
    own: &[Flag::new("increment", Kind::Span, "How long it is to last from now. The server may allow less.").alias(&["i"])],
    output: Output::Format,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(|call| {
        let id = call.arg(0).trim();
        let seconds = call.span("increment").unwrap_or(Span::ZERO).secs();
        let request = Request::put("sys/leases/renew").json(Object::new().with("increment", seconds).with("lease_id", id));
        let found = call.ask(&request).because(|| format!("Error renewing {id}"))?;
        answer::print(call, &found.unwrap_or_default())
    }),
};

static REVOKE: Command = Command {
    path: "lease revoke",
    synopsis: "Revoke a lease, or all below a prefix",
    args: "ID",
    about: "Revokes a lease and its credential; with -prefix all whose identifiers begin with ID. The server goes on trying until it has succeeded, unless -sync is given.",
    examples: &[
        ("One:", "lease revoke database/creds/app/2f6a614c"),
        ("All of a role:", "lease revoke -prefix database/creds/app"),
        ("Forget them though the database is gone:", "lease revoke -force -prefix database/creds/app"),
    ],
    own: &[
        Flag::new("force", Kind::Switch, "Forget the leases even where their credentials can't be revoked. Needs -prefix.")
            .alias(&["f"]),
        Flag::new("prefix", Kind::Switch, "Revoke all whose identifiers begin with ID."),
        Flag::new("sync", Kind::Switch, "Wait until it is done, and fail where it can't be."),
    ],
    output: Output::None,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(revoke),
};

fn revoke(call: &Call<'_>) -> Outcome {
    let id = call.arg(0).trim().trim_matches('/');
    let (force, prefix, sync) = (call.on("force"), call.on("prefix"), call.on("sync"));
    if force && !prefix {
        return Err(Failure::usage("Specifying -force requires also specifying -prefix"));
    }
    let body = Object::new().with("sync", sync);
    if force {
        call.note("Warning! Force-removing leases can cause the server to become out of sync with secret engines!");
        call.send(&Request::put(format!("sys/leases/revoke-force/{id}")))
            .because(|| format!("Error force revoking leases with prefix {id}"))?;
        call.line(&format!("Success! Force revoked any leases with prefix: {id}"));
        return Ok(0);
    }
    let (path, what) = if prefix { ("revoke-prefix", "leases with prefix ") } else { ("revoke", "lease ") };
    call.send(&Request::put(format!("sys/leases/{path}/{id}")).json(body)).because(|| format!("Error revoking {what}{id}"))?;
    match (sync, prefix) {
        (false, _) => call.line("All revocation operations queued successfully!"),
        (true, true) => call.line(&format!("Success! Revoked any leases with prefix: {id}")),
        (true, false) => call.line(&format!("Success! Revoked lease: {id}")),
    }
    Ok(0)
}
