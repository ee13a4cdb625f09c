//! A factory of a test's own: a small repository, a state directory, an anchor and a home, all thrown away at the end.

pub(crate) mod asking;
pub(crate) mod coders;
pub(crate) mod coding;
pub(crate) mod gitlab;
pub(crate) mod keys;
pub(crate) mod models;
pub(crate) mod ordinary;
pub(crate) mod people;
pub(crate) mod runs;
pub(crate) mod service;
pub(crate) mod toolchain;

use std::fs::File;
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take. Never stands for performance: a busy machine with a slow disk is still a machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The check of the little project: reports in TAP, so that its tests are counted by name.
pub(crate) const CHECK: &str = "echo TAP version 13\necho 1..1\nif grep -q hello src/greeting; then echo 'ok 1 - greets'; else echo 'not ok 1 - greets'; exit 1; fi\n";

/// One user with one repository.
pub(crate) struct Scene {
    dir: TempDir,
    /// What starts `selvedge` as somebody else; nothing, as a rule.
    behind: Vec<String>,
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Scene {
    /// A repository with one commit, and nothing else.
    pub(crate) fn new() -> Self {
        let scene =
            Self { dir: tempfile::Builder::new().prefix("selvedge-test-").tempdir().unwrap(), behind: Vec::new() };
        for name in ["home", "anchor", "repo"] {
            std::fs::create_dir(scene.path(name)).unwrap();
        }
        scene.git(&["init", "--quiet", "--initial-branch=main"]);
        scene.git(&["config", "user.email", "tester@example.org"]);
        scene.git(&["config", "user.name", "Tester"]);
        scene.commit("src/greeting", "hello\n");
        scene.commit("tests/run.sh", CHECK);
        scene
    }

    /// The same, set up: its checks are `sh tests/run.sh`, and it has an agent `writer` that does what its task says.
    pub(crate) fn ready() -> Self {
        let scene = Self::new();
        scene.run(&["init", "--yes"]).ok();
        scene.configure("checks = [\"sh tests/run.sh\"]", "");
        scene
    }

    /// One whose files are copies of another one's, which may be gone by now; what lies in `linked` is shared with it.
    pub(crate) fn copied(from: &Path, linked: &str) -> Self {
        let scene =
            Self { dir: tempfile::Builder::new().prefix("selvedge-test-").tempdir().unwrap(), behind: Vec::new() };
        let copy = |how: &[&str], source: &Path, target: &Path| {
            let output = Command::new("cp").args(how).arg(source).arg(target).output().unwrap();
            output.status.success()
        };
        for name in ["home", "anchor", "repo"] {
            assert!(copy(&["-a"], &from.join(name), &scene.path(name)), "{name} of {}", from.display());
        }
        std::fs::create_dir(scene.state()).unwrap();
        for entry in std::fs::read_dir(from.join("state")).unwrap().map(Result::unwrap) {
            let target = scene.state().join(entry.file_name());
            // Links need one file system.
            let is_linked = entry.file_name() == linked && copy(&["-al"], &entry.path(), &target);
            assert!(is_linked || copy(&["-a"], &entry.path(), &target), "{}", entry.path().display());
        }
        let mode = std::fs::metadata(from.join("state")).unwrap().permissions();
        std::fs::set_permissions(scene.state(), mode).unwrap();
        let remote = scene.state().join("repos/repo.git");
        scene.git(&["config", "remote.selvedge.url", remote.to_str().unwrap()]);
        scene
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn repo(&self) -> PathBuf {
        self.path("repo")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.state().join("selvedge.toml")
    }

    /// Writes the configuration: `repo` is added to the repository's table, `more` to the end.
    pub(crate) fn configure(&self, repo: &str, more: &str) {
        let text = format!(
            "[repo.repo]\npath = {:?}\nbranch = \"main\"\n{repo}\n\n{}\n{more}\n",
            self.repo(),
            agent("writer", "propose")
        );
        std::fs::write(self.config(), text).unwrap();
    }

    /// Writes a file of the repository and commits it.
    pub(crate) fn commit(&self, path: &str, content: &str) -> String {
        let file = self.repo().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
        self.git(&["add", "."]);
        self.git(&["commit", "--quiet", "--message", path]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Plain git in the repository, as its owner would call it.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command.arg("-C").arg(self.repo()).args(arguments);
        command.env("HOME", self.path("home")).env("GIT_CONFIG_NOSYSTEM", "1");
        let output = command.output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// `selvedge` with these arguments, for this scene's state and nobody else's.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let command = match self.behind.split_first() {
            None => Command::new(env!("CARGO_BIN_EXE_selvedge")),
            Some((program, words)) => {
                let mut command = Command::new(program);
                command.args(words);
                command
            }
        };
        self.prepared(command, arguments)
    }

    /// The same as another uid, one that may open the keeper's socket all the same.
    pub(crate) fn command_as(&self, uid: u32, arguments: &[&str]) -> Command {
        assert!(is_root(), "needs root: only root can speak to the keeper as somebody else");
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={uid}"), "--clear-groups", "--inh-caps=+dac_override"]);
        command.args(["--ambient-caps=+dac_override", env!("CARGO_BIN_EXE_selvedge")]);
        self.prepared(command, arguments)
    }

    fn prepared(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.args(arguments).current_dir(self.repo()).stdin(Stdio::null()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.path("home"));
        command.env("SELVEDGE_STATE", self.state()).env("SELVEDGE_ANCHOR", self.path("anchor"));
        command
    }

    /// Runs `selvedge` to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        Said::of(&self.command(arguments).output().unwrap())
    }

    /// The one JSON document a command prints.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let said = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(said.status, 0, "{arguments:?}: {said:?}");
        said.document()
    }

    /// Gives the writer a task and waits for it; the run it came to.
    pub(crate) fn task(&self, text: &str) -> Value {
        self.work("writer", text)
    }

    /// Keeps the factory running until the value is dropped.
    pub(crate) fn serve(&self) -> Serving {
        let log = File::options().create(true).append(true).open(self.path("serve.log")).unwrap();
        let mut command = self.command(&["serve"]);
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let serving = Serving { child };
        let socket = self.state().join("control.sock");
        eventually("the keeper answers", || UnixStream::connect(&socket).ok().map(drop));
        serving
    }

    /// Every run the factory knows.
    pub(crate) fn runs(&self) -> Vec<Value> {
        self.json(&["ps", "--all"])["runs"].as_array().unwrap().clone()
    }

    /// What the factory's bare clone says of a branch.
    pub(crate) fn landed(&self, branch: &str) -> String {
        self.git(&["ls-remote", "selvedge", &format!("refs/heads/{branch}")])
            .split_whitespace()
            .next()
            .unwrap_or("")
            .to_owned()
    }

    /// Everything in the repository's directory but the object store and what git itself touches when it looks.
    pub(crate) fn repository_files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        walk(&self.repo(), &mut files);
        files.retain(|(path, _)| path.file_name().is_some_and(|name| name != "index"));
        files.sort();
        files
    }
}

/// The table of an agent that runs its task's words in a shell.
pub(crate) fn agent(name: &str, trust: &str) -> String {
    format!(
        "[agent.{name}]\nruntime = \"command\"\ncommand = [\"sh\", \"-c\", \"{{text}}\"]\nowner = \"team@example.org\"\n\
         purpose = \"small changes\"\nescalate = \"team@example.org\"\ntrust = \"{trust}\"\nmay = [\"read\", \"write\", \"open-pr\"]\n"
    )
}

fn walk(dir: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else {
            files.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
}

impl Said {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Insists that the command went well.
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status, 0, "{self:?}");
        self
    }

    /// Standard output as exactly one JSON document on one line.
    pub(crate) fn document(&self) -> Value {
        assert_eq!(self.out.lines().count(), 1, "one document on one line: {self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Insists on this exit status, on these words in the error, and on a hint that says what to do.
    pub(crate) fn refused(&self, status: i32, words: &[&str]) {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.err.starts_with("error: "), "{self:?}");
        assert!(self.err.contains("\n hint: "), "an error without a remedy: {self:?}");
        for word in words {
            assert!(self.err.contains(word), "`{word}` is not in {self:?}");
        }
    }
}

/// A keeper in a process of its own; killed at the end of its scope.
pub(crate) struct Serving {
    child: Child,
}

impl Serving {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once and without a word, as a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Waits for `look` to find something; fails with `what` when it does not in all patience.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "in {PATIENCE:?} it never came true that {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The names of an object's fields, in order.
pub(crate) fn fields(value: &Value) -> Vec<&str> {
    let mut names: Vec<&str> =
        value.as_object().unwrap_or_else(|| panic!("{value}")).keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// A field that is text.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("`{name}` is not text in {value}"))
}

/// A file below `dir` that holds these bytes.
pub(crate) fn holds(dir: &Path, bytes: &[u8]) -> Option<PathBuf> {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        let found = if path.is_dir() {
            holds(&path, bytes)
        } else {
            let mut content = Vec::new();
            // Sockets and the like hold nothing.
            let read = File::open(&path).and_then(|mut file| file.read_to_end(&mut content));
            (read.is_ok() && content.windows(bytes.len()).any(|part| part == bytes)).then_some(path)
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Processes whose command line holds `marker`.
pub(crate) fn processes_with(marker: &str) -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").contains(marker) && *pid != std::process::id()
    })
    .collect()
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
