//! Armored age files of one data key.

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::{DecryptError, Decryptor, EncryptError, Encryptor};
use coffer_sops::{Error, Result};
use std::io::{Read, Write};
use zeroize::Zeroizing;

/// What one file may hold. A data key has 32 bytes, a share of one 33.
const MOST: u64 = 1 << 20;

pub(super) fn encrypt(recipient: &dyn age::Recipient, data_key: &[u8]) -> Result<String> {
    let failed = |why: &dyn std::fmt::Display| Error::generic(format!("failed to encrypt sops data key with age: {why}"));
    let encryptor = Encryptor::with_recipients(std::iter::once(recipient)).map_err(|e| failed(&encrypt_words(&e)))?;
    let write = || {
        let armor = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?;
        let mut writer = encryptor.wrap_output(armor)?;
        writer.write_all(data_key)?;
        writer.finish()?.finish()
    };
    let bytes = write().map_err(|e| failed(&e))?;
    // The armor is ASCII.
    String::from_utf8(bytes).map_err(|e| failed(&e))
}

/// The data key; nothing where the file is not for this identity.
pub(super) fn decrypt(enc: &str, identity: &dyn age::Identity) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let failed = |e: &DecryptError| Error::generic(format!("failed to decrypt sops data key with age: {}", decrypt_words(e)));
    let reader = match open(enc).and_then(|file| file.decrypt(std::iter::once(identity))) {
        Ok(reader) => reader,
        Err(DecryptError::NoMatchingKeys) => return Ok(None),
        Err(e) => return Err(failed(&e)),
    };
    // Room for any data key, so that no copy is left behind by growing.
    let mut data_key = Zeroizing::new(Vec::with_capacity(256));
    reader.take(MOST).read_to_end(&mut data_key).map_err(|e| failed(&DecryptError::Io(e)))?;
    Ok(Some(data_key))
}

/// Whether this is an age file at all.
pub(super) fn check(enc: &str) -> Result<()> {
    match open(enc) {
        Ok(_) => Ok(()),
        Err(e) => Err(Error::generic(format!("the encrypted data key is no armored age file: {}", decrypt_words(&e)))),
    }
}

fn open(enc: &str) -> Result<Decryptor<ArmoredReader<std::io::BufReader<&[u8]>>>, DecryptError> {
    // Go's reader passes over white space before and after the armor; so do files that people have edited.
    let text = enc.trim();
    if !text.starts_with("-----BEGIN AGE ENCRYPTED FILE-----") {
        return Err(DecryptError::InvalidHeader);
    }
    Decryptor::new(ArmoredReader::new(text.as_bytes()))
}

/// In words of our own where the library's would be of no help.
pub(super) fn decrypt_words(error: &DecryptError) -> String {
    match error {
        DecryptError::DecryptionFailed => "the file is damaged, or was made for another key".into(),
        DecryptError::InvalidMac => "the header of the file was changed".into(),
        DecryptError::InvalidHeader => "the header or the armor of the file is damaged".into(),
        DecryptError::UnknownFormat => "the file is of a newer form of age".into(),
        DecryptError::KeyDecryptionFailed => "the passphrase is wrong".into(),
        DecryptError::ExcessiveWork { required, .. } => {
            format!("its passphrase is stretched with a work factor of {required}, which is too much")
        }
        DecryptError::NoMatchingKeys => "no identity fits".into(),
        other => one_line(other),
    }
}

fn encrypt_words(error: &EncryptError) -> String {
    one_line(error)
}

fn one_line(error: &dyn std::fmt::Display) -> String {
    error.to_string().lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_age_file_is_refused() {
        let good = encrypt(&age::x25519::Identity::generate().to_public(), b"data").unwrap();
        check(&good).unwrap();
        check(&format!("\n  {good}\n\n")).unwrap();
        let cut = &good[..good.len() / 2];
        let header = good.replacen("YWdl", "YWdm", 1);
        for bad in ["", "garbage", "-----BEGIN AGE ENCRYPTED FILE-----", cut, &header, "age-encryption.org/v1\n"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_damaged_body_and_a_damaged_header_are_told() {
        let identity = age::x25519::Identity::generate();
        let good = encrypt(&identity.to_public(), b"data").unwrap();
        assert_eq!(&**decrypt(&good, &identity).unwrap().unwrap(), b"data");
        assert!(decrypt(&good, &age::x25519::Identity::generate()).unwrap().is_none());
        let lines: Vec<&str> = good.lines().collect();
        for line in 1..lines.len() - 1 {
            let mut changed: Vec<String> = lines.iter().map(|l| (*l).to_owned()).collect();
            let flipped = if changed[line].as_bytes()[3] == b'A' { "B" } else { "A" };
            changed[line].replace_range(3..4, flipped);
            let outcome = decrypt(&(changed.join("\n") + "\n"), &identity);
            assert!(!matches!(outcome, Ok(Some(_))), "line {line}");
        }
    }
}
