//! A device as it is declared, and what its options mean.

use super::remote::{self, Target};
use coffer_types::{Error, Result, Span};
use std::collections::BTreeMap;
use std::time::Duration;

/// A device as `sys/audit/PATH` or an `audit` stanza declares it, unchecked. This is what the store keeps.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct AuditDeviceSpec {
    /// With a trailing slash, as [`AuditDeviceSpec::new`] makes it: `file/`.
    pub path: String,
    /// `file`, `socket`, `syslog`.
    pub kind: String,
    pub description: String,
    /// Kept and listed; every device is a node's own.
    pub local: bool,
    pub options: BTreeMap<String, String>,
}

/// Where a device was declared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A stanza: there before the barrier opens, not to be disabled over the API.
    Configuration,
    Api,
}

impl AuditDeviceSpec {
    /// `path` with or without slashes around it.
    pub fn new(path: &str, kind: &str, description: &str, options: BTreeMap<String, String>) -> Result<Self> {
        let path = path.trim_matches('/');
        if path.is_empty() || path.len() > 512 || path.chars().any(char::is_control) {
            return Err(Error::bad_request("an audit device needs a path: a short name without control characters"));
        }
        Ok(Self { path: format!("{path}/"), kind: kind.to_owned(), description: description.to_owned(), local: false, options })
    }

    /// Checks kind and options without opening anything. The errors name the option and what would be right.
    pub fn check(&self) -> Result<()> {
        Settings::parse(self).map(|_| ())
    }

    /// The options that no device of this kind knows: ignored, as the reference does, but worth a warning.
    pub fn unknown_options(&self) -> Vec<&str> {
        let own: &[&str] = match self.kind.as_str() {
            "file" => &["file_path", "path", "mode"],
            "socket" => &["address", "socket_type", "write_timeout"],
            "syslog" => &["facility", "tag"],
            _ => return Vec::new(),
        };
        self.options.keys().map(String::as_str).filter(|k| !own.contains(k) && !COMMON.contains(k)).collect()
    }
}

const COMMON: &[&str] = &["log_raw", "hmac_accessor", "elide_list_responses", "format"];

/// What a device does, read from its options once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Settings {
    pub(super) raw: bool,
    pub(super) mask_accessors: bool,
    pub(super) elide_lists: bool,
    pub(super) sink: SinkSettings,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum SinkSettings {
    /// `mode` is what the file gets; `None` leaves an existing file's as it is.
    File {
        path: String,
        mode: Option<u32>,
    },
    Stdout,
    /// `patience` is for one attempt to connect or to write.
    Remote {
        target: Target,
        patience: Duration,
    },
}

impl Settings {
    pub(super) fn parse(spec: &AuditDeviceSpec) -> Result<Self> {
        let sink = match spec.kind.as_str() {
            "file" => file(&spec.options)?,
            "socket" => socket(&spec.options)?,
            "syslog" => syslog(&spec.options)?,
            "http" => return Err(not_built("the kind \"http\"", "use file, socket or syslog")),
            other => return Err(Error::bad_request(format!("unknown backend type: {other:?}"))),
        };
        let options = &spec.options;
        match options.get("format").map(String::as_str) {
            None | Some("" | "json") => {}
            Some("jsonx") => return Err(not_built("format \"jsonx\"", "use \"json\"")),
            Some(_) => return Err(Error::bad_request("unknown audit format: it must be \"json\"")),
        }
        if options.get("prefix").is_some_and(|p| !p.is_empty()) {
            // A prefix lets an operator write the first bytes of a file, and so a program (CVE-2025-6000).
            return Err(Error::bad_request("the option \"prefix\" is refused: audit lines carry no prefix"));
        }
        for name in ["filter", "fallback", "exclude"] {
            if options.get(name).is_some_and(|v| !v.is_empty()) {
                return Err(not_built(&format!("the option {name:?}"), "every device gets every line"));
            }
        }
        Ok(Self {
            raw: flag(options, "log_raw", false)?,
            mask_accessors: flag(options, "hmac_accessor", true)?,
            elide_lists: flag(options, "elide_list_responses", false)?,
            sink,
        })
    }
}

fn file(options: &BTreeMap<String, String>) -> Result<SinkSettings> {
    let path = options.get("file_path").or_else(|| options.get("path")).map_or("", String::as_str);
    match path {
        "" => return Err(Error::bad_request("file_path is required")),
        "stdout" => return Ok(SinkSettings::Stdout),
        "discard" => return Err(not_built("file_path \"discard\"", "a device that writes nothing would vouch for every call")),
        _ => {}
    }
    if path.contains('\0') {
        return Err(Error::bad_request("file_path must not contain a NUL character"));
    }
    let mode = match options.get("mode").map(String::as_str) {
        None | Some("") => Some(0o600),
        Some(text) => match u32::from_str_radix(text, 8) {
            Ok(0) => None,
            // No program, nothing set-uid, nothing that strangers can change (CVE-2025-6000).
            Ok(mode) if mode & !0o664 == 0 && mode & 0o600 == 0o600 => Some(mode),
            _ => {
                return Err(Error::bad_request(
                    "mode must be an octal number between 0600 and 0664 without execute bits (0000 keeps an existing file's)",
                ));
            }
        },
    };
    Ok(SinkSettings::File { path: path.to_owned(), mode })
}

fn socket(options: &BTreeMap<String, String>) -> Result<SinkSettings> {
    let address = options.get("address").map_or("", String::as_str).to_owned();
    if address.is_empty() || address.contains('\0') {
        return Err(Error::bad_request("address is required"));
    }
    let target = match options.get("socket_type").map(String::as_str) {
        None | Some("" | "tcp") => Target::Tcp(address),
        Some("udp") => Target::Udp(address),
        Some("unix") => Target::Unix(address),
        Some(_) => return Err(Error::bad_request("socket_type must be tcp, udp or unix")),
    };
    let patience = match options.get("write_timeout") {
        None => Duration::from_secs(2),
        Some(text) => Span::parse(text)?.duration(),
    };
    if patience.is_zero() || patience > Duration::from_secs(60) {
        return Err(Error::bad_request("write_timeout must be more than zero and at most a minute"));
    }
    Ok(SinkSettings::Remote { target, patience })
}

fn syslog(options: &BTreeMap<String, String>) -> Result<SinkSettings> {
    let name = options.get("facility").filter(|f| !f.is_empty()).map_or("AUTH", String::as_str);
    let Some(facility) = remote::facility(name) else {
        return Err(Error::bad_request("facility must be one of syslog's: AUTH, AUTHPRIV, DAEMON, USER, LOCAL0 … LOCAL7, …"));
    };
    let tag = options.get("tag").filter(|t| !t.is_empty()).map_or("vault", String::as_str);
    // What ends a tag for a daemon must not stand in one.
    if tag.len() > 32 || !tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b)) {
        return Err(Error::bad_request("tag must be at most 32 letters, digits, '-', '_', '.' or '/'"));
    }
    let sockets = ["/dev/log", "/var/run/syslog", "/var/run/log"].map(str::to_owned).to_vec();
    let target = Target::Syslog { sockets, header: remote::syslog_header(facility, tag) };
    Ok(SinkSettings::Remote { target, patience: Duration::from_secs(2) })
}

/// As Go's `strconv.ParseBool` reads it.
fn flag(options: &BTreeMap<String, String>, name: &str, default: bool) -> Result<bool> {
    match options.get(name).map(String::as_str) {
        None => Ok(default),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(_) => Err(Error::bad_request(format!("the option {name:?} must be true or false"))),
    }
}

fn not_built(what: &str, instead: &str) -> Error {
    Error::bad_request(format!("{what} of audit devices is not implemented: {instead}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn spec(kind: &str, options: &[(&str, &str)]) -> AuditDeviceSpec {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        AuditDeviceSpec::new("x", kind, "", options).unwrap()
    }

    fn refusal(kind: &str, options: &[(&str, &str)]) -> String {
        spec(kind, options).check().unwrap_err().public().to_owned()
    }

    #[test]
    fn the_reference_s_refusals() {
        assert_eq!(refusal("nope", &[]), "unknown backend type: \"nope\"");
        assert_eq!(refusal("", &[]), "unknown backend type: \"\"");
        assert_eq!(refusal("file", &[]), "file_path is required");
        assert_eq!(refusal("file", &[("file_path", "")]), "file_path is required");
    }

    #[test]
    fn what_could_make_a_program_of_a_log_is_refused() {
        let path = ("file_path", "/tmp/a.log");
        assert!(refusal("file", &[path, ("prefix", "#!/bin/sh\n")]).contains("prefix"));
        for mode in ["0700", "0755", "0777", "0666", "0602", "4600", "0400", "-1", "rw", "0o600", "100600"] {
            assert!(refusal("file", &[path, ("mode", mode)]).contains("mode"), "{mode}");
        }
        for mode in ["0600", "600", "0640", "0644", "0660", "0000", "0", ""] {
            spec("file", &[path, ("mode", mode)]).check().unwrap();
        }
        assert!(refusal("file", &[("file_path", "/tmp/a\0.log")]).contains("NUL"));
    }

    #[test]
    fn sockets_and_syslog_check_their_options() {
        assert_eq!(refusal("socket", &[]), "address is required");
        let address = ("address", "127.0.0.1:9090");
        assert!(refusal("socket", &[address, ("socket_type", "carrier-pigeon")]).contains("socket_type"));
        for time in ["0", "-1s", "2m", "soon"] {
            refusal("socket", &[address, ("write_timeout", time)]);
        }
        assert!(refusal("syslog", &[("facility", "WEATHER")]).contains("facility"));
        for tag in ["a b", "a:", "a[1]", "a\n", &"x".repeat(33)] {
            assert!(refusal("syslog", &[("tag", tag)]).contains("tag"), "{tag}");
        }
        assert!(refusal("http", &[]).contains("not implemented"));
        spec("syslog", &[("facility", "local0"), ("tag", "coffer")]).check().unwrap();
        spec("socket", &[address, ("socket_type", "udp"), ("write_timeout", "500ms")]).check().unwrap();
    }

    #[test]
    fn what_is_known_and_not_built_says_so() {
        let path = ("file_path", "/tmp/a.log");
        assert!(refusal("file", &[path, ("format", "jsonx")]).contains("not implemented"));
        assert!(refusal("file", &[path, ("filter", "operation == read")]).contains("not implemented"));
        assert!(refusal("file", &[("file_path", "discard")]).contains("not implemented"));
        assert!(refusal("file", &[path, ("format", "xml")]).contains("format"));
        assert!(refusal("file", &[path, ("log_raw", "yes")]).contains("log_raw"));
        assert_eq!(spec("file", &[path, ("colour", "red")]).unknown_options(), ["colour"]);
    }

    #[test]
    fn paths_get_their_slash() {
        for path in ["file", "file/", "/file/"] {
            assert_eq!(AuditDeviceSpec::new(path, "file", "", BTreeMap::new()).unwrap().path, "file/");
        }
        for path in ["", "/", "a\nb"] {
            AuditDeviceSpec::new(path, "file", "", BTreeMap::new()).unwrap_err();
        }
    }
}
