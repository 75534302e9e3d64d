//! Keys: reading, listing, settings, deletion.

use super::create::{auto_rotate, create};
use super::{Cx, Settings, Transit, keyring, settings, show};
use crate::keyring::{KeyRecord, Origin};
use coffer_engine::{Declare, NoInput, Reply, Request};
use coffer_types::{Error, Object, Result, Span};

pub(super) fn declare(d: &mut Declare<Transit>) {
    d.at("keys").about("The names of the keys.").list(list);
    d.at("keys/{name}").about("A key, without its material.").read(read).write(create).delete(delete);
    d.at("keys/{name}/config").about("What may be done with a key.").write(configure);
    d.at("keys/{name}/trim").about("Removes old versions for good.").write(trim);
    d.at("keys/{name}/soft-delete").about("Puts a key away.").delete(put_away);
    d.at("keys/{name}/soft-delete-restore").about("Takes a key that was put away back.").write(take_back);
    d.at("config/keys").about("Settings for all keys.").read(read_settings).write(write_settings);
    d.at("cache-config")
        .about("How many keys the reference would keep in memory; accepted and shown.")
        .read(read_cache)
        .write(write_cache);
}

/// List the keys.
#[derive(Request)]
struct List {
    /// Start behind this name.
    #[field(query, default)]
    after: String,
    /// At most so many.
    #[field(query, default)]
    limit: i64,
}

async fn list(cx: Cx, ask: List) -> Result<Reply> {
    let limit = usize::try_from(ask.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let after = (!ask.after.is_empty()).then_some(ask.after.as_str());
    Ok(Reply::list(keyring(&cx).names(after, limit).await?))
}

/// A key by its name.
#[derive(Request)]
struct Named {
    /// The key's name.
    #[field(path)]
    name: String,
    /// The context to show a derived key's public half for, in base64.
    #[field(query, default)]
    context: String,
}

async fn read(cx: Cx, ask: Named) -> Result<Reply> {
    let ring = keyring(&cx);
    let key = ring.find(&ask.name).await?.ok_or_else(Error::not_found)?;
    show::key(&ring, &key, &ask.context).await
}

async fn delete(cx: Cx, ask: Named) -> Result<Reply<()>> {
    let ring = keyring(&cx);
    let refused = |why: &str| Error::bad_request(format!("error deleting policy {}: {why}", ask.name));
    let key = ring.find(&ask.name).await?.ok_or_else(|| refused("could not delete key; not found"))?;
    if !key.deletion_allowed {
        return Err(refused("deletion is not allowed for this key"));
    }
    ring.delete(&key).await?;
    Ok(Reply::empty())
}

/// Set what may be done with a key.
#[derive(Request)]
struct Configure {
    /// The key's name.
    #[field(path)]
    name: String,
    /// Nothing older is decrypted or verified.
    min_decryption_version: Option<i64>,
    /// Nothing older encrypts or signs; 0 is the latest alone.
    min_encryption_version: Option<i64>,
    /// The key may be deleted.
    deletion_allowed: Option<bool>,
    /// The key may be exported. Can't be taken back.
    exportable: Option<bool>,
    /// The key may be backed up in plaintext. Can't be taken back.
    allow_plaintext_backup: Option<bool>,
    /// Adds a version by itself after this.
    auto_rotate_period: Option<Span>,
}

async fn configure(cx: Cx, ask: Configure) -> Result<Reply> {
    let ring = keyring(&cx);
    let missing = || Error::bad_request(format!("no existing key named {} could be found", ask.name));
    let mut key = ring.find(&ask.name).await?.ok_or_else(missing)?;
    let mut warnings = Vec::new();
    if let Some(asked) = ask.min_decryption_version {
        key.min_decryption = match bounded(&key, asked, "decryption")? {
            0 => {
                warnings.push("since Vault 0.3, transit key numbering starts at 1; forcing minimum to 1".to_owned());
                1
            }
            version => version,
        };
    }
    if let Some(asked) = ask.min_encryption_version {
        key.min_encryption = bounded(&key, asked, "encryption")?;
    }
    if key.min_encryption > 0 && key.min_encryption < key.min_decryption {
        return Err(Error::bad_request(format!(
            "cannot set min encryption/decryption values; min encryption version of {} must be greater than or equal to min \
             decryption version of {}",
            key.min_encryption, key.min_decryption
        )));
    }
    if key.min_decryption < key.min_available || key.min_encryption > 0 && key.min_encryption < key.min_available {
        return Err(Error::bad_request("minimum versions should not be less than the minimum available version"));
    }
    if let Some(allowed) = ask.deletion_allowed {
        key.deletion_allowed = allowed;
    }
    if let Some(period) = ask.auto_rotate_period {
        key.auto_rotate = auto_rotate(period)?;
        if !key.auto_rotate.is_zero() && key.origin == (Origin::Imported { rotation_allowed: false }) {
            return Err(Error::bad_request("cannot set auto_rotate_period on an imported key that does not allow rotation"));
        }
    }
    // Only ever set: what went out once can't be taken back.
    key.exportable |= ask.exportable.unwrap_or_default();
    key.plaintext_backup |= ask.allow_plaintext_backup.unwrap_or_default();
    ring.save(&mut key)?;
    Ok(show::key(&ring, &key, "").await?.warnings(warnings))
}

fn bounded(key: &KeyRecord, asked: i64, what: &str) -> Result<u32> {
    if asked < 0 {
        return Err(Error::bad_request(format!("min {what} version cannot be negative")));
    }
    u32::try_from(asked).ok().filter(|version| *version <= key.latest).ok_or_else(|| {
        Error::bad_request(format!("cannot set min {what} version of {asked}, latest key version is {}", key.latest))
    })
}

/// Remove old versions.
#[derive(Request)]
struct Trim {
    /// The key's name.
    #[field(path)]
    name: String,
    /// The oldest version that stays.
    min_available_version: Option<i64>,
}

async fn trim(cx: Cx, ask: Trim) -> Result<Reply> {
    let asked = ask.min_available_version.ok_or_else(|| Error::bad_request("missing min_available_version"))?;
    let ring = keyring(&cx);
    let mut key = ring.find(&ask.name).await?.ok_or_else(|| Error::bad_request("invalid key name"))?;
    let refused = |why: &str| Err(Error::bad_request(why.to_owned()));
    if key.min_encryption == 0 {
        return refused("minimum available version cannot be set when minimum encryption version is not set");
    }
    let Ok(version) = u32::try_from(asked) else { return refused("minimum available version cannot be negative") };
    if version < key.min_available {
        return refused("minimum available version cannot be decremented");
    }
    if version > key.min_decryption || version > key.min_encryption {
        return refused("minimum available version cannot be higher than the minimum encryption or decryption version");
    }
    ring.trim(&mut key, version).await?;
    show::key(&ring, &key, "").await
}

async fn put_away(cx: Cx, ask: Named) -> Result<Reply> {
    set_away(cx, ask, true).await
}

async fn take_back(cx: Cx, ask: Named) -> Result<Reply> {
    set_away(cx, ask, false).await
}

async fn set_away(cx: Cx, ask: Named, away: bool) -> Result<Reply> {
    let ring = keyring(&cx);
    let mut key = ring.find(&ask.name).await?.ok_or_else(|| Error::bad_request("key not found"))?;
    if key.soft_deleted == away {
        let state = if away { "already soft-deleted" } else { "not soft-deleted" };
        return Ok(show::key(&ring, &key, "").await?.warn(format!("key is {state}; no changes made")));
    }
    key.soft_deleted = away;
    ring.save(&mut key)?;
    show::key(&ring, &key, "").await
}

async fn read_settings(cx: Cx, _: NoInput) -> Result<Reply> {
    Ok(Reply::data(Object::new().with("disable_upsert", settings(&cx).await?.disable_upsert)))
}

/// Set what holds for all keys.
#[derive(Request)]
struct WriteSettings {
    /// Encrypting with a key that is not there does not make it.
    disable_upsert: Option<bool>,
}

async fn write_settings(cx: Cx, ask: WriteSettings) -> Result<Reply> {
    let old = settings(&cx).await?;
    let new = Settings { disable_upsert: ask.disable_upsert.unwrap_or(old.disable_upsert), ..old };
    cx.view.put("settings", &new)?;
    Ok(Reply::data(Object::new().with("disable_upsert", new.disable_upsert)))
}

async fn read_cache(cx: Cx, _: NoInput) -> Result<Reply> {
    Ok(Reply::data(Object::new().with("size", settings(&cx).await?.cache_size)))
}

/// Set the cache's size. Coffer bounds its cache by itself; the number is kept and shown.
#[derive(Request)]
struct WriteCache {
    /// 0 for no bound, else 10 or more.
    #[field(default)]
    size: i64,
}

async fn write_cache(cx: Cx, ask: WriteCache) -> Result<Reply> {
    if ask.size != 0 && ask.size < 10 {
        return Err(Error::bad_request("size must be 0 or a value greater or equal to 10"));
    }
    let new = Settings { cache_size: ask.size, ..settings(&cx).await? };
    cx.view.put("settings", &new)?;
    Ok(Reply::data(Object::new().with("size", new.cache_size)))
}
