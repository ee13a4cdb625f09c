//! Running the real cargo on a workspace, bounded in time and output.
//!
//! cargo is started outside the workspace and pointed at its manifest: cargo reads configuration from the directory it
//! is started in and those above, so a repository's own `.cargo/config.toml` cannot open another registry.
//! The operator's configuration, in cargo's home, applies.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::Package;
use crate::releases::{Dependency, Requirement};

/// Why cargo did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum CargoError {
    /// It could not be started or waited for.
    #[error("cannot run cargo: {0}")]
    Run(#[from] std::io::Error),
    /// It took too long.
    #[error("cargo did not end within {} seconds", TIME_MAX.as_secs())]
    Late,
    /// It refused; the text is its own.
    #[error("cargo refused: {0}")]
    Refused(String),
    /// What it printed is not what we know.
    #[error("cargo's metadata cannot be read: {0}")]
    Metadata(String),
}

/// Resolving a large workspace over a slow registry takes a minute; ten are certainly a hang.
const TIME_MAX: Duration = Duration::from_secs(600);

/// Waiting is by polling, because the standard library has no wait with a deadline.
const POLL: Duration = Duration::from_millis(10);

/// `cargo metadata --no-deps` of a workspace of 1,000 members has some 10 MiB.
const OUTPUT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How much of cargo's explanation is passed on.
const MESSAGE_CHARS_MAX: usize = 600;

/// cargo for one workspace.
#[derive(Debug)]
pub(super) struct Cargo {
    manifest: PathBuf,
    home: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Member>,
}

#[derive(Deserialize)]
struct Member {
    name: String,
    version: String,
    dependencies: Vec<Dependency>,
}

impl Cargo {
    pub(super) fn new(workspace: &Path, home: &Path) -> Self {
        Self { manifest: workspace.join("Cargo.toml"), home: home.to_owned() }
    }

    /// cargo's home, beneath which its index cache lies.
    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    /// Has cargo ask its registry about every package of the workspace, so that its cache is fresh. Changes nothing.
    pub(super) fn ask_registry(&self, about: &Package) -> Result<(), CargoError> {
        self.run(&["update", "--dry-run", "--package", &about.to_string()]).map(|_| ())
    }

    /// Moves one locked package to exactly `to`, and others only as far as that needs.
    pub(super) fn move_to(&self, package: &Package, to: &semver::Version) -> Result<(), CargoError> {
        self.run(&["update", "--package", &package.to_string(), "--precise", &to.to_string()]).map(|_| ())
    }

    /// What the members of the workspace need, by member.
    pub(super) fn members(&self) -> Result<Vec<(Package, Vec<Requirement>)>, CargoError> {
        let output = self.run(&["metadata", "--no-deps", "--format-version", "1"])?;
        let metadata: Metadata =
            serde_json::from_slice(&output).map_err(|cause| CargoError::Metadata(cause.to_string()))?;
        metadata.packages.iter().map(|member| member.read().map_err(CargoError::Metadata)).collect()
    }

    fn run(&self, arguments: &[&str]) -> Result<Vec<u8>, CargoError> {
        let (command, options) = arguments.split_first().ok_or_else(|| CargoError::Refused("no command".to_owned()))?;
        let mut child = Command::new("cargo")
            .arg(command)
            .arg("--manifest-path")
            .arg(&self.manifest)
            .args(options)
            .current_dir("/")
            .env("CARGO_HOME", &self.home)
            .env("CARGO_TERM_COLOR", "never")
            .env("CARGO_TERM_PROGRESS_WHEN", "never")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
        let ended = wait(&mut child);
        // The pipes end with the process, so the readers do too.
        let (stdout, stderr) = (stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default());
        if ended? { Ok(stdout) } else { Err(CargoError::Refused(explanation(&stderr))) }
    }
}

impl Member {
    fn read(&self) -> Result<(Package, Vec<Requirement>), String> {
        let package = Package {
            name: crate::PackageName::parse(&self.name).map_err(|bad| bad.to_string())?,
            version: crate::package::parse_version(&self.version).map_err(|bad| bad.to_string())?,
        };
        Ok((package, self.dependencies.iter().map(Dependency::read).collect::<Result<_, _>>()?))
    }
}

/// Waits for the end and tells whether it was a success; kills what takes too long.
fn wait(child: &mut Child) -> Result<bool, CargoError> {
    let deadline = Instant::now() + TIME_MAX;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Err(CargoError::Late);
        }
        thread::sleep(POLL);
    }
}

/// Keeps the beginning of a stream and reads the rest away, so that the writer never blocks.
fn drain(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut kept = Vec::new();
        if let Some(mut stream) = stream {
            // A broken pipe ends the stream; what was read until then is all there is.
            let _ = stream.by_ref().take(OUTPUT_BYTES_MAX).read_to_end(&mut kept);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
        kept
    })
}

/// What cargo says is wrong, from its first `error:` on, as one line.
fn explanation(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let from = text.find("error:").and_then(|at| text.get(at..)).unwrap_or(&text);
    let words: Vec<&str> = from.split_whitespace().collect();
    words.join(" ").chars().filter(|c| !c.is_control()).take(MESSAGE_CHARS_MAX).collect()
}
