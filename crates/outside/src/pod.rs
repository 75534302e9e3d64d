//! What Kubernetes puts into a pod's file system.

use coffer_engine::outside::{Fault, FaultKind, Pod};
use coffer_types::Secret;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use zeroize::Zeroize;

pub(crate) const FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

const LARGEST: u64 = 1 << 20;

/// Token and authority, as the files say now. They lie in memory (tmpfs): reading them holds up nobody.
pub(crate) fn read(folder: &Path) -> Result<Pod, Fault> {
    let mut token = text(&folder.join("token"), "token")?;
    let trimmed = Secret::new(token.trim().to_owned());
    token.zeroize();
    Ok(Pod { token: trimmed, ca: text(&folder.join("ca.crt"), "ca.crt")? })
}

fn text(path: &Path, name: &str) -> Result<String, Fault> {
    let fault = |why: String| Fault::new(FaultKind::Settings, format!("the service account's {name}: {why}"));
    let mut text = String::new();
    let file = File::open(path).map_err(|e| fault(e.kind().to_string()))?;
    file.take(LARGEST).read_to_string(&mut text).map_err(|e| fault(e.kind().to_string()))?;
    if text.trim().is_empty() { Err(fault("is empty".to_owned())) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_has_both_files_or_is_none() {
        let folder = std::env::temp_dir().join(format!("coffer-pod-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert_eq!(read(&folder).unwrap_err().kind, FaultKind::Settings);
        std::fs::write(folder.join("token"), "canary\n").unwrap();
        let fault = read(&folder).unwrap_err();
        assert!(!fault.text.contains("canary") && fault.text.contains("ca.crt"), "{fault}");
        std::fs::write(folder.join("ca.crt"), " ").unwrap();
        assert!(read(&folder).unwrap_err().text.contains("empty"));
        std::fs::write(folder.join("ca.crt"), "pem").unwrap();
        let pod = read(&folder).unwrap();
        assert_eq!((pod.token.expose().as_str(), &*pod.ca), ("canary", "pem"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
