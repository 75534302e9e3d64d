//! One server under measurement: started by us, given the same state as the other, ended by its own id.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::wire::{self, Client};

type Result<T> = std::result::Result<T, String>;

const POLICY: &str = r#"path \"bench/*\" { capabilities = [\"create\", \"read\", \"update\", \"delete\", \"list\"] }"#;

/// Whose program it is: where the two differ, they differ here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Product {
    Coffer,
    Peer,
}

pub(crate) struct Server {
    pub(super) port: u16,
    pub(super) token: String,
    child: Child,
    program: PathBuf,
    args: Vec<String>,
    folder: PathBuf,
    key: Option<String>,
}

impl Server {
    /// In memory, as `server -dev` makes it.
    pub(crate) fn dev(program: &Path, folder: &Path) -> Result<Self> {
        let port = wire::free_port()?;
        let args = [
            "server",
            "-dev",
            "-dev-root-token-id=root",
            "-dev-no-store-token",
            &format!("-dev-listen-address=127.0.0.1:{port}"),
        ];
        let mut server = Self::spawn(program, folder, port, args.map(str::to_owned).to_vec())?;
        server.token = "root".into();
        server.wait_for(200)?;
        Ok(server)
    }

    /// With the product's durable store in `folder`, and a file audit device where asked; initialised and unsealed.
    pub(super) fn durable(product: Product, program: &Path, folder: &Path, audit: bool) -> Result<Self> {
        let (port, cluster) = (wire::free_port()?, wire::free_port()?);
        let data = folder.join("data");
        fs::create_dir_all(&data).map_err(|e| e.to_string())?;
        let storage = match product {
            Product::Coffer => format!("storage \"embedded\" {{\n  path = \"{}\"\n}}\n", data.display()),
            Product::Peer => format!("storage \"raft\" {{\n  path = \"{}\"\n  node_id = \"n1\"\n}}\n", data.display()),
        };
        let device = format!(
            "audit \"file\" \"bench\" {{\n  options = {{\n    file_path = \"{}\"\n  }}\n}}\n",
            folder.join("audit.log").display()
        );
        let config = format!(
            "{storage}{}api_addr = \"http://127.0.0.1:{port}\"\ncluster_addr = \"http://127.0.0.1:{cluster}\"\ndisable_mlock = true\n\
             listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  tls_disable = true\n}}\n",
            if audit { device.as_str() } else { "" }
        );
        let file = folder.join("server.hcl");
        fs::write(&file, config).map_err(|e| e.to_string())?;
        let mut server = Self::spawn(program, folder, port, vec!["server".into(), format!("-config={}", file.display())])?;
        server.wait_for(501)?;
        let made = Client::connect(port, "")?.must("PUT", "sys/init", r#"{"secret_shares":1,"secret_threshold":1}"#)?;
        server.token = made["root_token"].as_str().unwrap_or_default().to_owned();
        server.key = made["keys_base64"][0].as_str().map(str::to_owned);
        server.unseal()?;
        Ok(server)
    }

    /// Any other program that listens where its one argument says.
    pub(super) fn bare(program: &Path, folder: &Path) -> Result<Self> {
        let port = wire::free_port()?;
        let server = Self::spawn(program, folder, port, vec![format!("127.0.0.1:{port}")])?;
        server.wait_for(200)?;
        Ok(server)
    }

    fn spawn(program: &Path, folder: &Path, port: u16, args: Vec<String>) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|e| e.to_string())?;
        let child = start(program, &args, folder)?;
        Ok(Self { port, token: String::new(), child, program: program.to_owned(), args, folder: folder.to_owned(), key: None })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn client(&self) -> Result<Client> {
        Client::connect(self.port, &self.token)
    }

    /// A mount `bench/` of kv version 2 with `count` secrets of three fields, and a token whose policy may use it.
    pub(super) fn fill(&self, count: usize) -> Result<String> {
        let mut client = self.client()?;
        client.must("POST", "sys/mounts/bench", r#"{"type":"kv","options":{"version":"2"}}"#)?;
        let end = Instant::now() + Duration::from_secs(20);
        while client.must("POST", "bench/data/0", &secret(0)).is_err() {
            if Instant::now() > end {
                return Err("the mount never became ready".into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        for number in 1..count {
            client.must("POST", &format!("bench/data/{number}"), &secret(number))?;
        }
        client.must("PUT", "sys/policies/acl/bench", &format!("{{\"policy\":\"{POLICY}\"}}"))?;
        let made = client.must("POST", "auth/token/create", r#"{"policies":["bench"],"ttl":"24h"}"#)?;
        Ok(made["auth"]["client_token"].as_str().unwrap_or_default().to_owned())
    }

    /// Ends it as a power cut would and starts it again on its data; from exec to the first answer 200 on `path`.
    pub(super) fn restart_until(&mut self, path: &str) -> Result<Duration> {
        self.stop();
        let began = Instant::now();
        self.child = start(&self.program, &self.args, &self.folder)?;
        self.wait_for(503)?;
        self.unseal()?;
        while wire::status(self.port, &self.token, path) != Some(200) {
            if began.elapsed() > Duration::from_secs(300) {
                return Err(format!("no answer on {path}"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(began.elapsed())
    }

    fn unseal(&self) -> Result<()> {
        let key = self.key.as_deref().unwrap_or_default();
        Client::connect(self.port, "")?.must("PUT", "sys/unseal", &format!("{{\"key\":\"{key}\"}}"))?;
        self.wait_for(200)
    }

    fn wait_for(&self, wanted: u16) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(60);
        while wire::status(self.port, "", "sys/health") != Some(wanted) {
            if Instant::now() > end {
                let log = fs::read_to_string(self.folder.join("server.log")).unwrap_or_default();
                let from = log.len().saturating_sub(600);
                return Err(format!(
                    "{} never answered {wanted}: {}",
                    self.program.display(),
                    log.get(from..).unwrap_or_default()
                ));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn stop(&mut self) {
        // It may have ended by itself; what counts is that it is gone.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(super) fn secret(number: usize) -> String {
    format!(r#"{{"data":{{"username":"user{number}","password":"{number:032}","url":"postgres://db.example:5432/app"}}}}"#)
}

fn start(program: &Path, args: &[String], folder: &Path) -> Result<Child> {
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("server.log")).map_err(|e| e.to_string())?;
    let errors = log.try_clone().map_err(|e| e.to_string())?;
    let mut command = Command::new(program);
    command.args(args).env_clear().env("HOME", folder).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.stdin(Stdio::null()).stdout(log).stderr(errors);
    command.spawn().map_err(|e| format!("{}: {e}", program.display()))
}
