//! Wraps or unwraps one data key, or serves keys, from the command line: what the tests with the real sops drive.
//!
//! ```text
//! datakey wrap KEY < data key          datakey unwrap KEY < enc          datakey pin KEY
//! datakey serve NETWORK ADDRESS [--prompt]
//! ```
//! KEY is `age:…`, `pgp:…`, `kms:ARN[+ROLE]`, `gcp:…`, `azure:…`, `vault:…` or `huawei:…`; `KMS_CONTEXT=k:v,…` and `KMS_PROFILE` belong to `kms`.
//! With `KEYSERVICE=URI` that service is asked in place of the local keys.

use coffer_client::Environment;
use coffer_client::keyservice::Place;
use coffer_keys::{Ask, Chain, Local, Remote, Served, Standard, Terminal};
use coffer_sops::keys::KeyId;
use coffer_sops::{KeyService, MasterKey};
use std::io::{Read, Write};
use std::sync::Arc;

fn main() {
    if let Err(why) = run() {
        eprintln!("{why}");
        std::process::exit(1);
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let local = || Local::new(Environment::Process, Arc::new(Terminal::default()));
    let chain = || match std::env::var("KEYSERVICE") {
        Ok(uri) => Ok(Chain::default().with(Remote::new(&uri)?)),
        Err(_) => Ok::<_, coffer_sops::Error>(Chain::default().with(local())),
    };
    let mut out = std::io::stdout();
    match args[..] {
        ["wrap", key] => out.write_all(chain()?.wrap(&MasterKey::new(id(key)?), &input()?)?.as_bytes())?,
        ["unwrap", key] => {
            let enc = String::from_utf8(input()?)?;
            out.write_all(&chain()?.unwrap(&MasterKey { enc, ..MasterKey::new(id(key)?) })?)?;
        }
        ["pin", key] => write!(out, "{}", local().pin(&id(key)?)?)?,
        ["serve", network, address, ref rest @ ..] => {
            let prompt = rest.contains(&"--prompt").then(|| Arc::new(Standard) as Arc<dyn Ask>);
            Served::new(local(), prompt).serve(&Place::of(network, address)?, |place| eprintln!("listening on {place}"))?;
        }
        _ => return Err("wrap KEY, unwrap KEY, pin KEY, or serve NETWORK ADDRESS".into()),
    }
    Ok(())
}

fn input() -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn id(text: &str) -> Result<KeyId, Box<dyn std::error::Error>> {
    let (kind, name) = text.split_once(':').ok_or("KIND:NAME expected")?;
    Ok(match kind {
        "age" => KeyId::Age { recipient: name.to_owned() },
        "pgp" => KeyId::pgp(name),
        "kms" => {
            let context = std::env::var("KMS_CONTEXT").unwrap_or_default();
            let pairs = context.split(',').filter_map(|pair| pair.split_once(':')).map(|(k, v)| (k.to_owned(), v.to_owned()));
            KeyId::kms(name, pairs.collect(), &std::env::var("KMS_PROFILE").unwrap_or_default())
        }
        "gcp" => KeyId::GcpKms { resource_id: name.to_owned() },
        "azure" => KeyId::azure_kv(name)?,
        "vault" => KeyId::hc_vault(name)?,
        "huawei" => KeyId::hckms(name)?,
        other => return Err(format!("{other:?} is no kind of key").into()),
    })
}
