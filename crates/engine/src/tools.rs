//! Digests and random bytes, which `sys/tools` and transit both offer.

use crate::{Ctx, Engine, Reply, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coffer_crypto::digest::Algorithm;
use coffer_types::json::Text;
use coffer_types::{Error, Object, Result};

/// Fields that the audit log may show.
pub const PLAIN: &[&str] = &["algorithm", "format", "bytes", "source"];
/// The most random bytes at once, as in the reference.
const MOST: i64 = 128 * 1024;

/// Make a digest.
#[derive(Request)]
pub struct Hash {
    /// The algorithm, in the path.
    #[field(path, default)]
    urlalgorithm: String,
    /// The algorithm: sha2-224, sha2-256, sha2-384, sha2-512, sha3-…
    #[field(default)]
    algorithm: String,
    /// The bytes, in base64.
    input: Option<Text>,
    /// `hex` or `base64`.
    #[field(default)]
    format: String,
}

/// Make random bytes.
#[derive(Request)]
pub struct Random {
    /// A source, or how many bytes, in the path.
    #[field(path, default)]
    source: String,
    /// How many bytes, in the path.
    #[field(path, default)]
    urlbytes: String,
    /// How many bytes.
    bytes: Option<i64>,
    /// `hex` or `base64`.
    #[field(default)]
    format: String,
}

fn render(bytes: &[u8], format: &str, usual: &str) -> Result<String> {
    match if format.is_empty() { usual } else { format } {
        "hex" => Ok(hex::encode(bytes)),
        "base64" => Ok(STANDARD.encode(bytes)),
        _ => Err(Error::bad_request("unsupported encoding format; must be \"hex\" or \"base64\"")),
    }
}

/// The digest of some bytes.
///
/// # Errors
/// Bytes that are no base64, an unknown algorithm or format.
pub async fn hash<E: Engine>(_cx: Ctx<E>, ask: Hash) -> Result<Reply> {
    // No input is the empty one, as for the reference.
    let input = ask.input.unwrap_or_default();
    let input = STANDARD.decode(input.as_str()).map_err(|_| Error::bad_request("unable to decode input as base64"))?;
    let named = [ask.urlalgorithm, ask.algorithm].into_iter().find(|n| !n.is_empty()).unwrap_or_else(|| "sha2-256".to_owned());
    let algorithm = Algorithm::from_name(&named)
        .ok_or_else(|| Error::bad_request("unsupported algorithm; use sha2-256, sha2-512, sha3-256, …"))?;
    let sum = render(&algorithm.digest(&[&input]), &ask.format, "hex")?;
    Ok(Reply::data(Object::new().with("sum", sum)))
}

/// Random bytes, 32 unless another number is asked.
///
/// # Errors
/// A number out of bounds, an unknown source or format.
pub async fn random<E: Engine>(cx: Ctx<E>, ask: Random) -> Result<Reply> {
    let number = |text: &str| text.parse::<i64>().ok();
    let in_path = if ask.urlbytes.is_empty() { number(&ask.source) } else { number(&ask.urlbytes) };
    let names_source = ["", "platform", "seal", "all"].contains(&ask.source.as_str());
    if !names_source && (in_path.is_none() || !ask.urlbytes.is_empty()) || !ask.urlbytes.is_empty() && in_path.is_none() {
        return Err(Error::bad_request("error parsing url-set byte count, or unsupported entropy source"));
    }
    let count = in_path.or(ask.bytes).unwrap_or(32);
    if count < 1 {
        return Err(Error::bad_request("\"bytes\" cannot be less than 1"));
    }
    if count > MOST {
        return Err(Error::bad_request(format!("\"bytes\" should be less than {MOST}")));
    }
    let mut bytes = zeroize::Zeroizing::new(vec![0u8; usize::try_from(count).unwrap_or(0)]);
    cx.fill_random(&mut bytes);
    Ok(Reply::data(Object::new().with("random_bytes", render(&bytes, &ask.format, "base64")?)))
}
