//! What is said before and at the login (MS-TDS 2.2.6.5 and 2.2.6.4).

use coffer_engine::outside::Target;
use zeroize::Zeroizing;

/// Whether a side encrypts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encryption {
    /// It can, and need not (the login is).
    Off,
    On,
    /// It can't.
    NotHere,
    Required,
}

/// The options of PRELOGIN that are spoken of, and what ends them.
const VERSION: u8 = 0;
const ENCRYPTION: u8 = 1;
const END: u8 = 0xff;

/// Our version (all zero: nobody asks) and whether we encrypt.
pub(super) fn prelogin(encryption: Encryption) -> Vec<u8> {
    let encryption = match encryption {
        Encryption::Off => 0,
        Encryption::On => 1,
        Encryption::NotHere => 2,
        Encryption::Required => 3,
    };
    // Each option: what it is, where it stands, how long it is.
    vec![VERSION, 0, 11, 0, 6, ENCRYPTION, 0, 17, 0, 1, END, 0, 0, 0, 0, 0, 0, encryption]
}

/// Whether the server encrypts. `None` where its answer can't be read.
pub(super) fn encryption(answer: &[u8]) -> Option<Encryption> {
    let mut options = answer;
    loop {
        let (kind, rest) = options.split_first()?;
        if *kind == END {
            return None;
        }
        let (place, rest) = rest.split_first_chunk::<4>()?;
        if *kind == ENCRYPTION {
            let start = usize::from(u16::from_be_bytes([place[0], place[1]]));
            return match answer.get(start)? {
                0 => Some(Encryption::Off),
                1 => Some(Encryption::On),
                2 => Some(Encryption::NotHere),
                3 => Some(Encryption::Required),
                _ => None,
            };
        }
        options = rest;
    }
}

/// The longest name, password or database, in UTF-16's units.
const LONGEST: usize = 128;
/// Where the texts of LOGIN7 begin.
const TEXTS: usize = 94;

/// LOGIN7. `None` where a text is too long or holds a zero.
pub(super) fn login(target: &Target, strict: bool) -> Option<Zeroizing<Vec<u8>>> {
    let host = target.hosts.first().map_or("", |(host, _)| host);
    let app = target.parameters.iter().find(|(name, _)| name == "app name").map_or("", |(_, value)| value);
    let password = target.password.expose().as_str();
    let mut head = Zeroizing::new(Vec::with_capacity(TEXTS));
    // TDS 7.4 (or 8.0), packets of 4096 bytes, then our version, process and connection.
    head.extend_from_slice(if strict { &[0, 0, 0, 8] } else { &[4, 0, 0, 0x74] });
    head.extend_from_slice(&[0, 0x10, 0, 0]);
    head.extend_from_slice(&[0; 12]);
    // Told of the database and the language; both must be right; as ODBC, which sets what ANSI asks for; no time zone, no locale.
    head.extend_from_slice(&[0xe0, 0x03, 0, 0]);
    head.extend_from_slice(&[0; 8]);
    let mut texts = Zeroizing::new(Vec::new());
    // This machine, account, password, program, server, extension, library, language, database.
    let fields = ["", &target.user, password, app, host, "", "", "", &target.database];
    for (number, text) in fields.into_iter().enumerate() {
        let units: Zeroizing<Vec<u16>> = Zeroizing::new(text.encode_utf16().collect());
        if units.len() > LONGEST || units.contains(&0) {
            return None;
        }
        head.extend_from_slice(&u16::try_from(TEXTS + texts.len()).ok()?.to_le_bytes());
        head.extend_from_slice(&u16::try_from(units.len()).ok()?.to_le_bytes());
        for byte in units.iter().flat_map(|unit| unit.to_le_bytes()) {
            // The password is not hidden by this, only disguised.
            texts.push(if number == 2 { byte.rotate_left(4) ^ 0xa5 } else { byte });
        }
    }
    // No address of a network card, no SSPI, no file of a database, no new password.
    let end = u16::try_from(TEXTS + texts.len()).ok()?.to_le_bytes();
    head.extend_from_slice(&[0; 6]);
    for _ in 0..3 {
        head.extend_from_slice(&[end[0], end[1], 0, 0]);
    }
    head.extend_from_slice(&[0; 4]);
    let mut whole = Zeroizing::new(Vec::with_capacity(TEXTS + texts.len()));
    whole.extend_from_slice(&u32::try_from(TEXTS + texts.len()).ok()?.to_le_bytes());
    whole.extend_from_slice(&head);
    whole.extend_from_slice(&texts);
    Some(whole)
}
