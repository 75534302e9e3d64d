//! What keys are for, by the names of the API, and the ranges of addresses that constraints have.

use coffer_crypto::x509::{AddressRange, KeyUses, Oid};
use std::net::IpAddr;

/// Named uses of a key, in letters of either case, with or without `KeyUsage` or `x509.` around; names that are not known say nothing, as
/// for the reference.
pub(super) fn key_uses(names: &[String]) -> KeyUses {
    let one = |name: &String| match name.trim().to_ascii_lowercase().as_str() {
        "digitalsignature" => KeyUses::DIGITAL_SIGNATURE,
        "contentcommitment" | "nonrepudiation" => KeyUses::CONTENT_COMMITMENT,
        "keyencipherment" => KeyUses::KEY_ENCIPHERMENT,
        "dataencipherment" => KeyUses::DATA_ENCIPHERMENT,
        "keyagreement" => KeyUses::KEY_AGREEMENT,
        "certsign" => KeyUses::CERT_SIGN,
        "crlsign" => KeyUses::CRL_SIGN,
        "encipheronly" => KeyUses::ENCIPHER_ONLY,
        "decipheronly" => KeyUses::DECIPHER_ONLY,
        _ => KeyUses::NONE,
    };
    names.iter().map(one).fold(KeyUses::NONE, |all, one| all | one)
}

pub(super) const SERVER_AUTH: Oid = Oid::of(&[0x2b, 6, 1, 5, 5, 7, 3, 1]);
pub(super) const CLIENT_AUTH: Oid = Oid::of(&[0x2b, 6, 1, 5, 5, 7, 3, 2]);
pub(super) const CODE_SIGNING: Oid = Oid::of(&[0x2b, 6, 1, 5, 5, 7, 3, 3]);
pub(super) const EMAIL_PROTECTION: Oid = Oid::of(&[0x2b, 6, 1, 5, 5, 7, 3, 4]);

/// Named extended uses and those of OIDs, each once; what is not known says nothing.
pub(super) fn extended(names: &[String], oids: &[String]) -> Vec<Oid> {
    let named = |name: &String| {
        let oid = match name.trim().to_ascii_lowercase().as_str() {
            "any" => "2.5.29.37.0",
            "serverauth" => "1.3.6.1.5.5.7.3.1",
            "clientauth" => "1.3.6.1.5.5.7.3.2",
            "codesigning" => "1.3.6.1.5.5.7.3.3",
            "emailprotection" => "1.3.6.1.5.5.7.3.4",
            "ipsecendsystem" => "1.3.6.1.5.5.7.3.5",
            "ipsectunnel" => "1.3.6.1.5.5.7.3.6",
            "ipsecuser" => "1.3.6.1.5.5.7.3.7",
            "timestamping" => "1.3.6.1.5.5.7.3.8",
            "ocspsigning" => "1.3.6.1.5.5.7.3.9",
            "microsoftservergatedcrypto" => "1.3.6.1.4.1.311.10.3.3",
            "netscapeservergatedcrypto" => "2.16.840.1.113730.4.1",
            "microsoftcommercialcodesigning" => "1.3.6.1.4.1.311.2.1.22",
            "microsoftkernelcodesigning" => "1.3.6.1.4.1.311.61.1.1",
            _ => return None,
        };
        Oid::parse(oid)
    };
    let mut all: Vec<Oid> = Vec::new();
    for oid in names.iter().filter_map(named).chain(oids.iter().filter_map(|oid| Oid::parse(oid.trim()))) {
        super::subject::push(&mut all, oid);
    }
    all
}

/// `10.0.0.0/8`.
pub(super) fn address_range(text: &str) -> Option<AddressRange> {
    let (address, prefix) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let prefix: u8 = prefix.parse().ok()?;
    (prefix <= if address.is_ipv4() { 32 } else { 128 }).then_some(AddressRange { address, prefix })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_uses() {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            key_uses(&names(&["DigitalSignature", "keyAgreement", "bogus"])),
            KeyUses::DIGITAL_SIGNATURE | KeyUses::KEY_AGREEMENT
        );
        let uses = extended(&names(&["ServerAuth", "serverauth", "bogus"]), &names(&["1.3.6.1.5.5.7.3.2", "x"]));
        assert_eq!(uses, [SERVER_AUTH, CLIENT_AUTH]);
        for bad in ["", "10.0.0.0", "10.0.0.0/33", "x/8", "::/129", "10.0.0.0/-1"] {
            assert_eq!(address_range(bad), None, "{bad}");
        }
    }
}
