//! Data keys under master keys: one group wraps the whole key, several wrap shares of it.

use coffer_crypto::random::Random;
use coffer_crypto::shamir;
use coffer_types::Timestamp;
use zeroize::Zeroizing;

use crate::error::{Error, Fault, Result};
use crate::keys::{KeyKind, KeyService, MasterKey};
use crate::metadata::Metadata;
use crate::value::DataKey;

/// The kinds that are tried first unless something else was said.
pub const DEFAULT_ORDER: [KeyKind; 2] = [KeyKind::Age, KeyKind::Pgp];

/// Reads `--decryption-order`: names with commas between them. Kinds that it doesn't list come after those that it does.
///
/// # Errors
/// `Fault::DuplicateKeyType`; `Fault::Generic` for a name that is no kind.
pub fn parse_order(text: &str) -> Result<Vec<KeyKind>> {
    let mut order = Vec::new();
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let kind = KeyKind::from_name(name).ok_or_else(|| {
            let known: Vec<&str> = KeyKind::ALL.iter().map(|kind| kind.name()).collect();
            Error::generic(format!("unknown key type {name:?} in the decryption order: the types are {}", known.join(", ")))
        })?;
        if order.contains(&kind) {
            return Err(Error::new(Fault::DuplicateKeyType, format!("Duplicate decryption key type: {name}")));
        }
        order.push(kind);
    }
    Ok(order)
}

/// How many groups it takes to get the data key.
pub fn threshold(metadata: &Metadata) -> usize {
    match (metadata.groups.len(), metadata.shamir_threshold) {
        (0 | 1, _) => 1,
        (groups, 0) => groups,
        (_, said) => said.into(),
    }
}

/// Unwraps the data key. Each group is asked until it gives its part; all groups are asked, as the reference does.
///
/// # Errors
/// `Fault::NoDataKey`, with what each key said.
pub fn unwrap(metadata: &Metadata, service: &dyn KeyService, order: &[KeyKind]) -> Result<DataKey> {
    let mut parts: Vec<Zeroizing<Vec<u8>>> = Vec::new();
    let mut said = String::new();
    for (number, group) in metadata.groups.iter().enumerate() {
        let mut keys: Vec<&MasterKey> = group.iter().collect();
        // Stable: kinds that the order doesn't list keep their places, after the others.
        keys.sort_by_key(|key| order.iter().position(|kind| *kind == key.id.kind()).unwrap_or(order.len()));
        said.push_str(&format!("\nGroup {number}:"));
        for key in keys {
            match service.unwrap(key) {
                Ok(part) => {
                    parts.push(part);
                    said.push_str(" recovered");
                    break;
                }
                Err(error) => said.push_str(&format!(
                    "\n  {}: {}\n    {}",
                    key.id.kind().name(),
                    key.id,
                    error.message.replace('\n', "\n    ")
                )),
            }
        }
    }
    let fault = |what: String| {
        Error::new(Fault::NoDataKey, format!("Failed to get the data key required to decrypt the SOPS file: {what}\n{said}"))
    };
    let needed = threshold(metadata);
    if parts.len() < needed {
        return Err(fault(format!(
            "{} of {} key groups gave their part, and {needed} must. Provide an identity of one of the keys below.",
            parts.len(),
            metadata.groups.len()
        )));
    }
    if metadata.groups.len() > 1 {
        let whole = shamir::combine(&parts).map_err(|error| fault(error.to_string()))?;
        return DataKey::from_bytes(&whole).ok_or_else(|| fault("what the groups gave is no data key of 32 bytes".to_owned()));
    }
    parts
        .first()
        .and_then(|part| DataKey::from_bytes(part))
        .ok_or_else(|| fault("what the key unwrapped is no data key of 32 bytes".to_owned()))
}

/// Wraps the data key under all keys of all groups, those that have wrapped it already too.
///
/// # Errors
/// `Fault::Generic`: a group without keys, a threshold that the groups don't reach, a key that can't wrap.
pub fn wrap(
    metadata: &mut Metadata,
    data_key: &DataKey,
    service: &dyn KeyService,
    random: &dyn Random,
    now: Timestamp,
) -> Result<()> {
    let fault = |what: String| Error::generic(format!("Could not generate data key: [{what}]"));
    if metadata.groups.is_empty() || metadata.groups.iter().any(Vec::is_empty) {
        return Err(fault("empty key group provided".to_owned()));
    }
    let groups = metadata.groups.len();
    let parts = if groups > 1 {
        if metadata.shamir_threshold == 0 {
            metadata.shamir_threshold = u8::try_from(groups).map_err(|_| fault("there can be 255 groups at most".to_owned()))?;
        }
        let shares = u8::try_from(groups).unwrap_or(u8::MAX);
        shamir::split(random, data_key.expose(), shares, metadata.shamir_threshold)
            .map_err(|error| fault(format!("{groups} groups, threshold {}: {error}", metadata.shamir_threshold)))?
    } else {
        vec![Zeroizing::new(data_key.expose().to_vec())]
    };
    let mut faults = Vec::new();
    for (group, part) in metadata.groups.iter_mut().zip(&parts) {
        for key in group {
            if let Err(error) = key.fill(service, part, now) {
                faults.push(format!(
                    "failed to encrypt new data key with master key {:?}: {}",
                    key.id.to_string(),
                    error.message
                ));
            }
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(fault(faults.join(" "))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::KeyId;
    use coffer_crypto::random::SeededRandom;

    /// Wraps by writing hexadecimal; unwraps the keys whose recipient it knows.
    struct Fake(&'static [&'static str]);

    impl KeyService for Fake {
        fn wrap(&self, key: &MasterKey, data_key: &[u8]) -> Result<String> {
            if key.id.to_string() == "broken" {
                return Err(Error::generic("no"));
            }
            Ok(data_key.iter().map(|byte| format!("{byte:02x}")).collect())
        }

        fn unwrap(&self, key: &MasterKey) -> Result<Zeroizing<Vec<u8>>> {
            if !self.0.contains(&key.id.to_string().as_str()) {
                return Err(Error::generic("no identity"));
            }
            let bytes =
                key.enc.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
            Ok(Zeroizing::new(bytes.collect()))
        }
    }

    fn groups(groups: &[&[&str]], threshold: u8) -> Metadata {
        let key = |name: &&str| MasterKey::new(KeyId::Age { recipient: (*name).to_owned() });
        Metadata {
            groups: groups.iter().map(|group| group.iter().map(key).collect()).collect(),
            shamir_threshold: threshold,
            ..Metadata::default()
        }
    }

    fn wrapped(mut metadata: Metadata) -> (Metadata, DataKey) {
        let random = SeededRandom::for_tests_only(3);
        let key = DataKey::generate(&random);
        wrap(&mut metadata, &key, &Fake(&[]), &random, Timestamp::from_secs(1)).unwrap();
        (metadata, key)
    }

    #[test]
    fn any_key_of_one_group_gives_the_data_key() {
        let (metadata, key) = wrapped(groups(&[&["a", "b"]], 0));
        for own in [&["a"], &["b"]] {
            assert!(unwrap(&metadata, &Fake(own), &DEFAULT_ORDER).unwrap() == key);
        }
        let error = unwrap(&metadata, &Fake(&["c"]), &DEFAULT_ORDER).err().unwrap();
        assert_eq!(error.exit_code(), 128);
        assert!(error.message.contains("age: a") && error.message.contains("age: b"), "{error}");
    }

    #[test]
    fn it_takes_as_many_groups_as_the_threshold_says() {
        let (metadata, key) = wrapped(groups(&[&["a"], &["b", "c"], &["d"]], 2));
        for own in [&["a", "b"][..], &["c", "d"], &["a", "d"], &["a", "b", "d"]] {
            assert!(unwrap(&metadata, &Fake(own), &DEFAULT_ORDER).unwrap() == key, "{own:?}");
        }
        for own in [&["a"][..], &["b", "c"], &[]] {
            assert_eq!(unwrap(&metadata, &Fake(own), &DEFAULT_ORDER).err().unwrap().exit_code(), 128, "{own:?}");
        }
        let (all, _) = wrapped(groups(&[&["a"], &["b"], &["c"]], 0));
        assert_eq!(all.shamir_threshold, 3);
        assert!(unwrap(&all, &Fake(&["a", "b"]), &DEFAULT_ORDER).is_err());
    }

    #[test]
    fn a_data_key_of_another_length_is_refused() {
        let (mut metadata, _) = wrapped(groups(&[&["a"]], 0));
        metadata.groups[0][0].enc = "0102".into();
        assert_eq!(unwrap(&metadata, &Fake(&["a"]), &[]).err().unwrap().exit_code(), 128);
        let (mut several, _) = wrapped(groups(&[&["a"], &["b"]], 2));
        several.groups[0][0].enc = several.groups[1][0].enc.clone();
        assert_eq!(unwrap(&several, &Fake(&["a", "b"]), &[]).err().unwrap().exit_code(), 128);
    }

    #[test]
    fn groups_that_cannot_work_are_refused() {
        let random = SeededRandom::for_tests_only(3);
        for mut bad in [
            groups(&[], 0),
            groups(&[&[]], 0),
            groups(&[&["a"], &[]], 0),
            groups(&[&["a"], &["b"]], 3),
            groups(&[&["a"], &["b"]], 1),
            groups(&[&["a", "broken"]], 0),
        ] {
            let error = wrap(&mut bad, &DataKey::generate(&random), &Fake(&[]), &random, Timestamp::from_secs(1)).unwrap_err();
            assert_eq!(error.exit_code(), 1, "{error}");
        }
    }

    #[test]
    fn the_order_is_read_and_a_kind_twice_refused() {
        assert_eq!(parse_order("pgp, age").unwrap(), [KeyKind::Pgp, KeyKind::Age]);
        assert_eq!(parse_order("").unwrap(), []);
        assert_eq!(parse_order("age,age").unwrap_err().exit_code(), 112);
        assert_eq!(parse_order("agee").unwrap_err().exit_code(), 1);
    }
}
