//! AWS's configuration files: `~/.aws/config` and `~/.aws/credentials` (AWS SDKs and Tools Reference Guide, "Shared config and
//! credentials files"), and where a service's endpoint is.

use super::fault::{Fault, Result};
use crate::{Environment, Tls};
use std::collections::BTreeMap;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// The settings of one profile, `credentials` before `config`.
#[derive(Default)]
pub(super) struct Profile {
    pub(super) name: String,
    values: BTreeMap<String, Zeroizing<String>>,
    /// `[services NAME]` of the profile's `services`: `kms.endpoint_url` and the like.
    services: BTreeMap<String, Zeroizing<String>>,
    /// Whether either file has the profile.
    pub(super) exists: bool,
}

impl Profile {
    /// The profile that is asked for, else `AWS_PROFILE`, else `default`.
    ///
    /// # Errors
    /// Where a file that is there can't be read, or a profile that was named is in neither file.
    pub(super) fn load(env: &Environment, asked: Option<&str>) -> Result<Self> {
        let named = asked.map(str::to_owned).or_else(|| env.raw("AWS_PROFILE")).or_else(|| env.raw("AWS_DEFAULT_PROFILE"));
        let name = named.clone().unwrap_or_else(|| "default".to_owned());
        let config = sections(&file(env, "AWS_CONFIG_FILE", "config")?);
        let credentials = sections(&file(env, "AWS_SHARED_CREDENTIALS_FILE", "credentials")?);
        let mut profile = Self { name: name.clone(), ..Self::default() };
        let in_config = config.get(&format!("profile {name}")).or_else(|| config.get(&name).filter(|_| name == "default"));
        for section in [in_config, credentials.get(&name)].into_iter().flatten() {
            profile.exists = true;
            profile.values.extend(section.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        if let (Some(name), false) = (named, profile.exists) {
            return Err(Fault::setup(format!("AWS: there is no profile {name:?} in the files of configuration and credentials"))
                .hint("Add it with \"aws configure --profile\", or name another (aws_profile of the key, --aws-profile, AWS_PROFILE)"));
        }
        if let Some(services) = profile.get("services").and_then(|name| config.get(&format!("services {name}"))) {
            profile.services = services.clone();
        }
        Ok(profile)
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(|value| value.as_str()).filter(|value| !value.is_empty())
    }

    /// `kms` or `sts` in a region: what the environment says, what the profile says, else AWS's own.
    pub(super) fn endpoint(&self, env: &Environment, service: &str, region: &str) -> Result<String> {
        let is_true = |text: Option<String>| text.is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let ignored = is_true(env.raw("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"))
            || is_true(self.get("ignore_configured_endpoint_urls").map(str::to_owned));
        let configured = || {
            env.raw(&format!("AWS_ENDPOINT_URL_{}", service.to_ascii_uppercase()))
                .or_else(|| env.raw("AWS_ENDPOINT_URL"))
                .or_else(|| self.services.get(&format!("{service}.endpoint_url")).map(|url| url.to_string()))
                .or_else(|| self.get("endpoint_url").map(str::to_owned))
        };
        if let Some(url) = configured().filter(|_| !ignored) {
            return Ok(url.trim_end_matches('/').to_owned());
        }
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if region.is_empty() || !region.chars().all(fits) {
            return Err(Fault::input(format!("AWS: {region:?} is no region")));
        }
        let setting = |variable: &str, key: &str| is_true(env.raw(variable).or_else(|| self.get(key).map(str::to_owned)));
        let fips = if setting("AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint") { "-fips" } else { "" };
        let dual = setting("AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint");
        let suffix = match region {
            r if r.starts_with("cn-") => {
                if dual {
                    "api.amazonwebservices.com.cn"
                } else {
                    "amazonaws.com.cn"
                }
            }
            r if r.starts_with("us-isob-") => "sc2s.sgov.gov",
            r if r.starts_with("us-iso-") => "c2s.ic.gov",
            r if r.starts_with("eusc-") => "amazonaws.eu",
            _ => {
                if dual {
                    "api.aws"
                } else {
                    "amazonaws.com"
                }
            }
        };
        Ok(format!("https://{service}{fips}.{region}.{suffix}"))
    }

    /// `AWS_CA_BUNDLE` or the profile's `ca_bundle`.
    pub(super) fn tls(&self, env: &Environment) -> Tls {
        Tls { ca_file: env.raw("AWS_CA_BUNDLE").or_else(|| self.get("ca_bundle").map(str::to_owned)), ..Tls::default() }
    }
}

fn file(env: &Environment, variable: &str, name: &str) -> Result<Zeroizing<String>> {
    let (path, named) = match env.raw(variable) {
        Some(path) => (PathBuf::from(path), true),
        None => match env.home() {
            Some(home) => (home.join(".aws").join(name), false),
            None => return Ok(Zeroizing::default()),
        },
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !named => Ok(Zeroizing::default()),
        // The SDKs pass over a named file that isn't there, too; other errors would hide a wrong set-up.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Zeroizing::default()),
        Err(e) => Err(Fault::setup(format!("AWS: {}: {e}", path.display()))),
    }
}

/// `[name]`, `key = value`, and below a key without value indented `key = value`, which becomes `outer.key`. A `#` or `;` at the
/// start of a line, or after white space, begins a comment.
fn sections(text: &str) -> BTreeMap<String, BTreeMap<String, Zeroizing<String>>> {
    let mut all: BTreeMap<String, BTreeMap<String, Zeroizing<String>>> = BTreeMap::new();
    let mut section = None;
    let mut outer = String::new();
    for line in text.lines() {
        let bare = line.trim();
        if bare.is_empty() || bare.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = bare.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            let name = name.0.split_whitespace().collect::<Vec<_>>().join(" ");
            all.entry(name.clone()).or_default();
            section = Some(name);
            outer.clear();
            continue;
        }
        let (Some(section), Some((key, value))) = (&section, bare.split_once('=')) else { continue };
        let key = key.trim().to_ascii_lowercase();
        let value = value.trim();
        let cut = [" #", " ;", "\t#", "\t;"].iter().filter_map(|mark| value.find(mark)).min().unwrap_or(value.len());
        let value = value[..cut].trim_end();
        let key = if line.starts_with([' ', '\t']) && !outer.is_empty() {
            format!("{outer}.{key}")
        } else {
            outer = if value.is_empty() { key.clone() } else { String::new() };
            key
        };
        all.entry(section.clone()).or_default().insert(key, Zeroizing::new(value.to_owned()));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "[default]\nregion=eu-central-1\nca_bundle = /ca.pem\n# note\n[profile  dev ]\nendpoint_url = http://one/ ; why\nservices = local\n[services local]\ns3 =\n  endpoint_url = http://s3\nkms =\n  endpoint_url = http://kms\n[other]\nregion = never\n";
    const CREDENTIALS: &str = "[dev]\naws_access_key_id = AK\naws_secret_access_key = a=b/c+d\n[other]\naws_access_key_id=O\n";

    fn with(pairs: &[(&str, &str)]) -> (tempfile::TempDir, Environment) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(".aws")).unwrap();
        std::fs::write(folder.path().join(".aws/config"), CONFIG).unwrap();
        std::fs::write(folder.path().join(".aws/credentials"), CREDENTIALS).unwrap();
        let home = folder.path().display().to_string();
        let mut pairs = pairs.to_vec();
        pairs.push(("HOME", &home));
        let env = Environment::fixed(&pairs);
        (folder, env)
    }

    #[test]
    fn both_files_make_a_profile() {
        let (_folder, env) = with(&[]);
        let dev = Profile::load(&env, Some("dev")).unwrap();
        assert_eq!((dev.get("aws_access_key_id"), dev.get("aws_secret_access_key")), (Some("AK"), Some("a=b/c+d")));
        assert_eq!(dev.endpoint(&env, "kms", "eu-west-1").unwrap(), "http://kms");
        assert_eq!(dev.endpoint(&env, "sts", "eu-west-1").unwrap(), "http://one");
        let default = Profile::load(&env, None).unwrap();
        assert_eq!((default.get("region"), default.tls(&env).ca_file.as_deref()), (Some("eu-central-1"), Some("/ca.pem")));
        // Only the default profile stands without the word `profile` in config.
        assert_eq!(Profile::load(&env, Some("other")).unwrap().get("region"), None);
    }

    #[test]
    fn a_profile_that_is_nowhere_is_refused_where_it_was_named() {
        let (_folder, env) = with(&[("AWS_PROFILE", "gone")]);
        assert!(Profile::load(&env, None).err().unwrap().text.contains("\"gone\""));
        let empty = Environment::fixed(&[("HOME", "/nowhere")]);
        assert!(!Profile::load(&empty, None).unwrap().exists);
        assert!(Profile::load(&empty, Some("dev")).is_err());
    }

    #[test]
    fn endpoints_by_region_and_by_variable() {
        let (_folder, env) = with(&[]);
        let plain = Profile::load(&env, None).unwrap();
        let at = |pairs: &[(&str, &str)], region: &str| plain.endpoint(&Environment::fixed(pairs), "kms", region);
        for (pairs, region, want) in [
            (&[][..], "us-east-1", "https://kms.us-east-1.amazonaws.com"),
            (&[], "cn-north-1", "https://kms.cn-north-1.amazonaws.com.cn"),
            (&[], "us-gov-west-1", "https://kms.us-gov-west-1.amazonaws.com"),
            (&[("AWS_USE_FIPS_ENDPOINT", "true")], "us-east-1", "https://kms-fips.us-east-1.amazonaws.com"),
            (&[("AWS_USE_DUALSTACK_ENDPOINT", "true")], "us-east-1", "https://kms.us-east-1.api.aws"),
            (&[("AWS_ENDPOINT_URL", "http://a/"), ("AWS_ENDPOINT_URL_KMS", "http://b")], "us-east-1", "http://b"),
            (&[("AWS_ENDPOINT_URL", "http://a/")], "x.evil", "http://a"),
            (
                &[("AWS_ENDPOINT_URL", "http://a/"), ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")],
                "us-east-1",
                "https://kms.us-east-1.amazonaws.com",
            ),
        ] {
            assert_eq!(at(pairs, region).unwrap(), want);
        }
        for region in ["", "evil.example/", "a@b", "EU"] {
            assert!(at(&[], region).is_err(), "{region}");
        }
    }
}
