//! A registry on loopback and a workspace that uses it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use selvedge_domain::Time;
use selvedge_workers::remediate::Arguments;
use tempfile::TempDir;

/// The moment of every test: 2026-11-20T00:00:00Z.
pub(crate) const NOW: u64 = 1_795_132_800_000;

/// A directory served over HTTP, as cargo's sparse protocol wants it, until it is dropped.
pub(crate) struct Registry {
    pub(crate) files: TempDir,
    address: String,
    ended: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl Registry {
    /// An empty registry.
    pub(crate) fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        fs::create_dir_all(files.path().join("index")).unwrap();
        let download = format!("{{\"dl\":\"http://{address}/crates/{{crate}}-{{version}}.crate\"}}");
        fs::write(files.path().join("index/config.json"), download).unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let (root, stop) = (files.path().to_owned(), Arc::clone(&ended));
        let server = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let _ = answer(stream.unwrap(), &root);
            }
        });
        Self { files, address, ended, server: Some(server) }
    }

    /// The registry of the demonstration.
    pub(crate) fn demo() -> Self {
        let registry = Self::start();
        copy(&demo("registry"), registry.files.path());
        registry
    }

    /// Adds a release: its dependencies as name and requirement, and when it was published.
    pub(crate) fn release(&self, name: &str, version: &str, needs: &[(&str, &str)], published: &str) -> &Self {
        let deps: Vec<String> = needs
            .iter()
            .map(|(name, range)| {
                format!(r#"{{"name":"{name}","req":"{range}","features":[],"optional":false,"default_features":true,"target":null,"kind":"normal"}}"#)
            })
            .collect();
        let published = if published.is_empty() { String::new() } else { format!(r#","pubtime":"{published}""#) };
        let checksum = format!("{:0>64}", version.bytes().map(|b| format!("{b:02x}")).collect::<String>());
        let line = format!(
            r#"{{"name":"{name}","vers":"{version}","deps":[{}],"cksum":"{checksum}","features":{{}},"yanked":false{published}}}"#,
            deps.join(",")
        );
        let path = self.files.path().join("index").join(prefix(name)).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let before = fs::read_to_string(&path).unwrap_or_default();
        fs::write(path, format!("{before}{line}\n")).unwrap();
        self
    }

    /// Takes a release back.
    pub(crate) fn yank(&self, name: &str, version: &str) {
        let path = self.files.path().join("index").join(prefix(name)).join(name);
        let lines = fs::read_to_string(&path).unwrap();
        let is_it = |line: &&str| line.contains(&format!(r#""vers":"{version}""#));
        let yanked = lines.lines().map(|line| {
            if is_it(&line) { line.replace("\"yanked\":false", "\"yanked\":true") } else { line.to_owned() }
        });
        fs::write(&path, yanked.map(|line| line + "\n").collect::<String>()).unwrap();
    }

    /// A home for cargo that is configured to use this registry and no other.
    pub(crate) fn cargo_home(&self) -> TempDir {
        let home = tempfile::tempdir().unwrap();
        let config = format!(
            "[source.crates-io]\nreplace-with = \"test\"\n[source.test]\nregistry = \"sparse+http://{}/index/\"\n[net]\nretry = 0\n[http]\nproxy = \"\"\n",
            self.address
        );
        fs::write(home.path().join("config.toml"), config).unwrap();
        home
    }

    /// The same configuration as a repository would bring it.
    pub(crate) fn configure_repository(&self, workspace: &Path) {
        fs::create_dir_all(workspace.join(".cargo")).unwrap();
        fs::copy(self.cargo_home().path().join("config.toml"), workspace.join(".cargo/config.toml")).unwrap();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the server from waiting for a connection.
        let _ = TcpStream::connect(&self.address);
        let _ = self.server.take().unwrap().join();
    }
}

fn answer(mut stream: TcpStream, root: &Path) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let path = request.split(' ').nth(1).unwrap_or("/").trim_start_matches('/');
    let file = if path.contains("..") { None } else { fs::read(root.join(path)).ok() };
    let (status, body) = file.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len())?;
    stream.write_all(&body)
}

fn prefix(name: &str) -> PathBuf {
    match name.len() {
        1 => PathBuf::from("1"),
        2 => PathBuf::from("2"),
        3 => Path::new("3").join(name.split_at(1).0),
        _ => Path::new(name.split_at(2).0).join(name.split_at(4).0.split_at(2).1),
    }
}

/// A workspace with a lock file, an advisory database, and cargo's home.
pub(crate) struct Bench {
    pub(crate) workspace: TempDir,
    pub(crate) advisories: TempDir,
    pub(crate) home: TempDir,
}

impl Bench {
    /// A package `app` that needs these, locked to these versions by having cargo choose and then move.
    pub(crate) fn new(registry: &Registry, needs: &[(&str, &str)], locked: &[(&str, &str)]) -> Self {
        let bench = Self {
            workspace: tempfile::tempdir().unwrap(),
            advisories: tempfile::tempdir().unwrap(),
            home: registry.cargo_home(),
        };
        let needs: String = needs.iter().map(|(name, range)| format!("{name} = {range}\n")).collect();
        let manifest =
            format!("[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[dependencies]\n{needs}");
        fs::write(bench.workspace.path().join("Cargo.toml"), manifest).unwrap();
        fs::create_dir(bench.workspace.path().join("src")).unwrap();
        fs::write(bench.workspace.path().join("src/lib.rs"), "").unwrap();
        bench.cargo(&["generate-lockfile"]);
        for (package, version) in locked {
            bench.cargo(&["update", "--package", package, "--precise", version]);
        }
        bench
    }

    /// The demonstration's package, with its advisories.
    pub(crate) fn demo(registry: &Registry) -> Self {
        let bench = Self {
            workspace: tempfile::tempdir().unwrap(),
            advisories: tempfile::tempdir().unwrap(),
            home: registry.cargo_home(),
        };
        copy(&demo("yasna"), bench.workspace.path());
        copy(&demo("advisories"), bench.advisories.path());
        bench
    }

    /// Runs cargo in the workspace, as a person would.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> String {
        let output = Command::new("cargo")
            .args(arguments)
            .current_dir(self.workspace.path())
            .env("CARGO_HOME", self.home.path())
            .env("CARGO_TARGET_DIR", self.home.path().join("target"))
            .output()
            .unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "cargo {arguments:?}: {text}");
        text
    }

    /// Adds an advisory.
    pub(crate) fn advisory(&self, id: &str, package: &str, patched: &str) -> &Self {
        let directory = self.advisories.path().join("crates").join(package);
        fs::create_dir_all(&directory).unwrap();
        let text = format!(
            "```toml\n[advisory]\nid = \"{id}\"\npackage = \"{package}\"\ndate = \"2026-11-01\"\n[versions]\npatched = [{patched}]\n```\n\n# Text\n"
        );
        fs::write(directory.join(format!("{id}.md")), text).unwrap();
        self
    }

    pub(crate) fn arguments(&self) -> Arguments {
        Arguments {
            advisories: self.advisories.path().to_owned(),
            workspace: self.workspace.path().to_owned(),
            only: None,
            release_age_days_min: 3,
            database_age_days_max: 30,
            now: Time::from_millis(NOW),
            cargo_home: self.home.path().to_owned(),
        }
    }

    pub(crate) fn lock(&self) -> String {
        fs::read_to_string(self.workspace.path().join("Cargo.lock")).unwrap()
    }

    /// Every file of the workspace and its content.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut waiting = vec![self.workspace.path().to_owned()];
        while let Some(path) = waiting.pop() {
            if path.is_dir() {
                waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else {
                files.insert(path.clone(), fs::read(&path).unwrap());
            }
        }
        files
    }
}

/// A part of the demonstration's data.
pub(crate) fn demo(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo").join(part)
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
