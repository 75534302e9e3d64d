//! Hashes of passwords that people choose: bcrypt, as clients and other servers exchange them (`$2a$10$…`).

use std::fmt;
use zeroize::Zeroizing;

/// The cost of hashes made here: 2^10 rounds, as Go's library and so Vault have it.
pub const COST: u32 = 10;
/// bcrypt looks at no more bytes of a password.
pub const LONGEST: usize = 72;
/// A hash of nothing that anyone knows, at [`COST`]: what an unknown name's password is compared with.
const DECOY: &str = "$2a$10$9KkHnPcqpYD0nR5hCtaBQuo6E8wWJ6G8m4F5Y8nYyq1q0Zq6m1N2e";

/// A bcrypt hash in its text form. Does not print itself.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Zeroizing<String>);

/// The password is longer than [`LONGEST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl PasswordHash {
    /// Hashes a password with a random salt. Takes tens of milliseconds.
    ///
    /// # Errors
    /// The password is too long to be told from others.
    pub fn make(password: &str, salt: [u8; 16]) -> Result<Self, TooLong> {
        if password.len() > LONGEST {
            return Err(TooLong);
        }
        let parts = bcrypt_library::hash_with_salt(password, COST, salt).map_err(|_| TooLong)?;
        Ok(Self(Zeroizing::new(parts.format_for_version(bcrypt_library::Version::TwoA))))
    }

    /// Reads a hash that was made elsewhere: `$2a$`, `$2b$`, `$2x$` or `$2y$`, a cost of 4 to 31, 22 characters of salt and 31 of hash.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = ["$2a$", "$2b$", "$2x$", "$2y$"].iter().find_map(|version| text.strip_prefix(version))?;
        let (cost, rest) = rest.split_once('$')?;
        let cost: u32 = (cost.len() == 2).then(|| cost.parse().ok()).flatten()?;
        let known = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'/';
        if !(4..=31).contains(&cost) || rest.len() != 53 || !rest.bytes().all(known) {
            return None;
        }
        // The last characters of salt and hash carry bits that are no part of them; the library refuses what it can't read.
        text.parse::<bcrypt_library::HashParts>().ok()?;
        Some(Self(Zeroizing::new(text.to_owned())))
    }

    /// What a password is compared with where there is no name: never holds, and costs what a hash made here costs.
    pub fn decoy() -> Self {
        Self(Zeroizing::new(DECOY.to_owned()))
    }

    /// Whether this is the hash of `password`. Takes as long as making it, whatever the answer.
    pub fn verify(&self, password: &str) -> bool {
        bcrypt_library::verify(password, &self.0).unwrap_or(false)
    }

    /// As it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_of_its_password_alone() {
        let hash = PasswordHash::make("correct horse", [1; 16]).unwrap();
        assert!(hash.verify("correct horse") && !hash.verify("correct hors") && !hash.verify(""));
        assert!(hash.as_str().starts_with("$2a$10$"));
        assert_ne!(PasswordHash::make("correct horse", [2; 16]).unwrap(), hash);
        assert_eq!(format!("{hash:?}"), "PasswordHash(..)");
        assert!(PasswordHash::parse(hash.as_str()).unwrap().verify("correct horse"));
        assert_eq!(PasswordHash::make(&"x".repeat(73), [1; 16]), Err(TooLong));
    }

    /// From the test vectors of John the Ripper, which every implementation takes for its own.
    #[test]
    fn hashes_of_other_programs_hold() {
        for (hash, password) in [
            ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
            ("$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a", "U*U*U"),
            ("$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
        ] {
            let parsed = PasswordHash::parse(hash).unwrap();
            assert!(parsed.verify(password) && !parsed.verify("u*u"), "{hash}");
        }
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        for bad in [
            "",
            "plain",
            "$1$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
            "$2a$3$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
            "$2a$03$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
            "$2a$32$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
            "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOe",
            "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeWW",
            "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyO W",
        ] {
            assert!(PasswordHash::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn the_decoy_reads_and_holds_for_nothing() {
        let decoy = PasswordHash::decoy();
        assert!(PasswordHash::parse(decoy.as_str()).is_some());
        assert_eq!(&decoy.as_str()[4..6], format!("{COST}"));
        assert!(!decoy.verify("") && !decoy.verify("password"));
    }
}
