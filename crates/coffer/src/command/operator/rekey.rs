//! `operator rotate-keys`, and `operator rekey` as it was called: new shares by those who hold the old ones.

use super::quorum::{pgp_keys, share};
use crate::cli::help::wrap;
use crate::cli::{Arity, Because, Call, Command, Failure, Flag, Kind, Outcome, Output, Run};
use crate::output::{self, Format, go, json, table};
use coffer_client::Request;
use coffer_types::Json;
use coffer_types::json::Object;

pub(super) const COMMANDS: &[&Command] = &[&ROTATE_KEYS, &REKEY];

const FLAGS: &[Flag] = &[
    Flag::new("backup", Kind::Switch, "With -init and -pgp-keys: keep the encrypted shares on the server too."),
    Flag::new("backup-delete", Kind::Switch, "Delete the shares that were kept."),
    Flag::new("backup-retrieve", Kind::Switch, "Print the shares that were kept."),
    Flag::new("cancel", Kind::Switch, "Give up; shares provided so far are forgotten."),
    Flag::new("init", Kind::Switch, "Begin."),
    Flag::new("key-shares", Kind::Int, "How many new shares there are.").default("5").alias(&["n"]),
    Flag::new("key-threshold", Kind::Int, "How many of them unseal.").default("3").alias(&["t"]),
    Flag::new("nonce", Kind::Text, "The nonce that -init printed; each share must come with it."),
    Flag::new(
        "pgp-keys",
        Kind::List,
        "Files of public PGP keys, one a share, to which the new shares are encrypted. With commas between them.",
    ),
    Flag::new("status", Kind::Switch, "Print how far it is."),
    Flag::new("target", Kind::Text, "barrier, or recovery for the recovery keys of auto-unseal.")
        .default("barrier")
        .values(&["barrier", "recovery"]),
    Flag::new(
        "verify",
        Kind::Switch,
        "With -init: the new shares count only once they were provided too. Else: the command is about that.",
    ),
];

static ROTATE_KEYS: Command = Command {
    path: "operator rotate-keys",
    synopsis: "Make new shares of the unseal key",
    args: "[KEY]",
    about: "Makes new shares, as many as -key-shares says. One person begins with -init, enough holders of old shares provide theirs, the last one gets the new ones. The server goes on serving meanwhile.",
    examples: &[
        ("Begin, with three shares of which two unseal:", "operator rotate-keys -init -key-shares=3 -key-threshold=2"),
        ("Provide an old share, asked for:", "operator rotate-keys"),
        ("How far is it:", "operator rotate-keys -status"),
    ],
    own: FLAGS,
    output: Output::Format,
    http: true,
    arity: Arity::Between(0, 1),
    run: Run::Call(|call| run(call, &Style { words: ["rotation", "rotation", "rotated"], new: true })),
};

static REKEY: Command = Command {
    path: "operator rekey",
    synopsis: "Make new shares of the unseal key (older name of rotate-keys)",
    args: "[KEY]",
    about: "As \"operator rotate-keys\", by the paths of the API that need no token. Servers may have them turned off.",
    examples: &[
        ("Begin, with three shares of which two unseal:", "operator rekey -init -key-shares=3 -key-threshold=2"),
        ("How far is it:", "operator rekey -status"),
    ],
    own: FLAGS,
    output: Output::Format,
    http: true,
    arity: Arity::Between(0, 1),
    run: Run::Call(|call| run(call, &Style { words: ["rekey", "rekeying", "rekeyed"], new: false })),
};

/// The two names of one operation.
struct Style {
    words: [&'static str; 3],
    new: bool,
}

impl Style {
    fn path(&self, recovery: bool, word: &str) -> String {
        match (self.new, recovery) {
            (true, false) => format!("sys/rotate/root/{word}"),
            (true, true) => format!("sys/rotate/recovery/{word}"),
            (false, false) => format!("sys/rekey/{word}"),
            // The old name of the backup is another.
            (false, true) if word == "backup" => "sys/rekey/recovery-key-backup".to_owned(),
            (false, true) => format!("sys/rekey-recovery-key/{word}"),
        }
    }

    fn put(&self, path: String) -> Request {
        if self.new { Request::post(path) } else { Request::put(path) }
    }
}

fn run(call: &Call<'_>, style: &Style) -> Outcome {
    let recovery = match call.text("target").trim().to_lowercase().as_str() {
        "barrier" => false,
        "recovery" => true,
        other => return Err(Failure::usage(format!("Unknown target: {other}"))),
    };
    let path = |word: &str| style.path(recovery, word);
    let verify = call.on("verify");
    let [name, naming, _] = style.words;
    if call.on("backup-delete") {
        call.send(&Request::delete(path("backup"))).because(|| format!("Error deleting backed up keys ({name})"))?;
        call.line("Success! Delete backup keys (if they existed)");
        return Ok(0);
    }
    if call.on("backup-retrieve") {
        let found = call.ask_data(&Request::get(path("backup"))).because(|| "Error retrieving stored keys".into())?;
        return output::value(call, &json::sorted(&found), |found| {
            table::pairs(found.as_object().map(output::answer::data_rows).unwrap_or_default())
        });
    }
    if call.on("cancel") {
        let target = path(if verify { "verify" } else { "init" });
        call.send(&Request::delete(target)).because(|| format!("Error canceling {name}"))?;
        call.line(&format!("Success! Canceled {naming} (if it was started)"));
        return Ok(0);
    }
    if call.on("init") {
        return init(call, style, path("init"));
    }
    let status = status(call, &path(if verify { "verify" } else { "init" }), name)?;
    if call.on("status") {
        return show(call, &status);
    }
    provide(call, style, &status, &path, verify)
}

fn status(call: &Call<'_>, path: &str, name: &str) -> Outcome<Json> {
    call.ask_data(&Request::get(path)).because(|| format!("Error getting {name} status"))
}

fn init(call: &Call<'_>, style: &Style, path: String) -> Outcome {
    let keys = pgp_keys(call, "pgp-keys")?;
    let body = Object::new()
        .with("secret_shares", call.int("key-shares"))
        .with("secret_threshold", call.int("key-threshold"))
        .with("pgp_keys", if keys.is_empty() { Json::Null } else { Json::from(keys.clone()) })
        .with("backup", call.on("backup"))
        .with("require_verification", call.on("verify"));
    let begun =
        call.ask_data(&style.put(path.clone()).json(body)).because(|| format!("Error initializing {}", style.words[0]))?;
    // Older servers answer with nothing.
    let begun = if begun.get("nonce").is_some() { begun } else { status(call, &path, style.words[0])? };
    if call.format()? == Format::Table {
        if keys.is_empty() {
            call.note(&wrap("WARNING! If you lose the keys after they are returned, there is no recovery. Consider canceling this operation and re-initializing with the -pgp-keys flag to protect the returned unseal keys along with -backup to allow recovery of the encrypted keys in case of emergency. You can delete the stored keys later using the -delete flag.", 0));
        }
        call.print("\n");
    }
    show(call, &begun)
}

fn provide(call: &Call<'_>, style: &Style, status: &Json, path: &dyn Fn(&str) -> String, verify: bool) -> Outcome {
    let [name, _, done] = style.words;
    if status.get("started").and_then(Json::as_bool) != Some(true) {
        let word = if style.new { "rotate-keys" } else { "rekey" };
        return Err(Failure::usage(format!(
            "No {name} is in progress. Start a {name} process by running \"{} operator {word} -init\".",
            call.context.program
        )));
    }
    let nonce = status
        .get(if verify { "verification_nonce" } else { "nonce" })
        .or_else(|| status.get("nonce"))
        .and_then(Json::as_str)
        .unwrap_or_default();
    let (key, nonce) = share(call, nonce)?;
    let body = Object::new().with("key", key.as_str()).with("nonce", nonce);
    let target = path(if verify { "verify" } else { "update" });
    let updated = call.ask_data(&style.put(target).json(body)).because(|| "Error posting unseal key".into())?;
    let complete = updated.get("complete").and_then(Json::as_bool) == Some(true);
    if !complete {
        let now = self::status(call, &path(if verify { "verify" } else { "init" }), name)?;
        return show(call, &now);
    }
    if verify {
        call.line(&format!("Success! The new keys are verified and in use; the {name} is done."));
        return Ok(0);
    }
    finished(call, &updated, status, done)
}

/// The new shares.
fn finished(call: &Call<'_>, updated: &Json, before: &Json, done: &str) -> Outcome {
    if call.format()? != Format::Table {
        return output::value(call, &json::sorted(updated), |_| Vec::new());
    }
    let list = |name: &str| updated.get(name).and_then(Json::as_array).unwrap_or_default();
    let (keys, prints) = (list("keys_base64"), list("pgp_fingerprints"));
    call.print("\n");
    for (i, key) in keys.iter().enumerate() {
        let print =
            prints.get(i).and_then(Json::as_str).map(|p| format!(" fingerprint: {p}; value:")).unwrap_or_else(|| ":".into());
        call.line(&format!("Key {}{print} {}", i + 1, key.as_str().unwrap_or_default()));
    }
    let text = |from: &Json, name: &str| from.get(name).map(go::text).unwrap_or_default();
    let nonce = Some(text(updated, "nonce")).filter(|n| !n.is_empty()).unwrap_or_else(|| text(before, "nonce"));
    call.line(&format!("\nOperation nonce: {nonce}\n"));
    let (n, t, product, program) = (text(before, "n"), text(before, "t"), call.context.product(), &call.context.program);
    if updated.get("verification_required").and_then(Json::as_bool) == Some(true) {
        call.line(&wrap(&format!("The new shares are not in use yet. Provide {t} of them with \"{program} {} -verify\" and the nonce {}; until then the old ones unseal {product}.", call.command.path, text(updated, "verification_nonce")), 0));
        return Ok(0);
    }
    call.line(&format!(
        "{product} unseal keys {done} to {n} key shares and a key threshold of {t}. Please\n\
         securely distribute the key shares printed above. When {product} is re-sealed,\n\
         restarted, or stopped, you must supply at least {t} of these keys to unseal it\n\
         before it can start servicing requests."
    ));
    Ok(0)
}

/// All fields, also those that a server leaves out where nothing is going on, in the order in which they were always shown.
fn whole(status: &Json, verification: bool) -> Json {
    let empty = || -> Vec<(&str, Json)> {
        let mut all = vec![
            ("nonce", Json::from("")),
            ("started", Json::from(false)),
            ("t", Json::from(0)),
            ("n", Json::from(0)),
            ("progress", Json::from(0)),
        ];
        if !verification {
            all.extend([
                ("required", Json::from(0)),
                ("pgp_fingerprints", Json::Null),
                ("backup", Json::from(false)),
                ("verification_required", Json::from(false)),
                ("verification_nonce", Json::from("")),
            ]);
        }
        all
    };
    Json::Object(empty().into_iter().map(|(name, none)| (name, status.get(name).cloned().unwrap_or(none))).collect())
}

fn show(call: &Call<'_>, status: &Json) -> Outcome {
    let text = |name: &str| status.get(name).filter(|v| !v.is_null()).map(go::text).unwrap_or_default();
    let verification = call.on("verify") && !call.on("init");
    output::value(call, &whole(status, verification), |_| {
        let started = text("started") == "true";
        let mut rows = vec![];
        if verification {
            rows.push(("Started", text("started")));
            rows.extend([
                ("New Shares", text("n")),
                ("New Threshold", text("t")),
                ("Verification Nonce", text("nonce")),
                ("Verification Progress", format!("{}/{}", text("progress"), text("t"))),
            ]);
        } else {
            rows.extend([("Nonce", text("nonce")), ("Started", text("started"))]);
            if started {
                rows.extend([
                    ("Progress", format!("{}/{}", text("progress"), text("required"))),
                    ("New Shares", text("n")),
                    ("New Threshold", text("t")),
                    ("Verification Required", text("verification_required")),
                ]);
            }
            if !text("pgp_fingerprints").is_empty() && text("pgp_fingerprints") != "[]" {
                rows.extend([("PGP Fingerprints", text("pgp_fingerprints")), ("Backup", text("backup"))]);
            }
        }
        table::pairs(rows.into_iter().map(|(k, v)| (k.to_owned(), v)))
    })
}
