//! What every test needs: a driver with a state directory of its own, and the stage executable, which Cargo builds
//! beside the tests because it is an example.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use selvedge_sandbox::{Event, Exit, HOST_IDS, Level, NativeDriver, Place, Sandbox, Setup, Started, Stream};

/// Deadlines never stand for performance: the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The launcher, prober and keeper of the tests.
pub(crate) fn executable() -> PathBuf {
    let own = std::env::current_exe().expect("own executable");
    let profile = own.parent().and_then(Path::parent).expect("target directory");
    let stage = profile.join("examples/stage");
    assert!(stage.exists(), "`{}` is missing: run `cargo test -p selvedge-sandbox` with its examples", stage.display());
    stage
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A driver of level `full` with a state directory that goes with it.
pub(crate) struct Stage {
    pub(crate) driver: NativeDriver,
    pub(crate) dir: tempfile::TempDir,
}

impl Stage {
    pub(crate) fn full() -> Self {
        assert!(
            is_root(),
            "level `full` is what is tested, and it needs a keeper that is root: run these tests as root"
        );
        let dir = tempfile::tempdir().expect("state directory");
        Self { driver: NativeDriver::new(setup(dir.path(), Level::Full)).expect("driver"), dir }
    }

    /// Starts a sandbox under a name that no other test uses.
    pub(crate) fn start(&self, place: &Place) -> Sandbox {
        self.driver.start(&unique("t"), place).unwrap_or_else(|refused| panic!("{refused}; {}", refused.remedy))
    }

    /// Runs a place to its end.
    pub(crate) fn run(&self, place: &Place) -> Ran {
        let mut sandbox = self.start(place);
        let ran = wait(&mut sandbox);
        sandbox.destroy().expect("destroy");
        ran
    }

    /// Runs a shell script to its end.
    pub(crate) fn shell(&self, script: &str) -> Ran {
        self.run(&Place::new(["sh", "-c", script]))
    }
}

impl Deref for Stage {
    type Target = NativeDriver;

    fn deref(&self) -> &NativeDriver {
        &self.driver
    }
}

pub(crate) fn setup(state: &Path, level: Level) -> Setup {
    // Tests run side by side, each with its own state: without a range of their own two would use one host user.
    let offset = std::process::id() % 20_000;
    let first = HOST_IDS.start + 10_000 + offset * 16;
    Setup { state: state.into(), launcher: executable(), level, host_ids: first..first + 16 }
}

pub(crate) fn unique(what: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{what}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// What a sandbox did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) exit: Exit,
    pub(crate) output: String,
    pub(crate) error: String,
    pub(crate) refused: Vec<String>,
    pub(crate) started: Vec<Started>,
    /// By the number of what was asked for.
    pub(crate) became: BTreeMap<u64, String>,
}

pub(crate) fn wait(sandbox: &mut Sandbox) -> Ran {
    let (mut output, mut error, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    let (mut started, mut became) = (Vec::new(), BTreeMap::new());
    let exit = sandbox.wait(&mut |event| match event {
        Event::Output { stream: Stream::Output, bytes } => output.extend(bytes),
        Event::Output { stream: Stream::Error, bytes } => error.extend(bytes),
        Event::RefusedCall { name, .. } => refused.push(name),
        Event::Started(program) => started.push(program),
        Event::Became { serial, program } => {
            became.insert(serial, String::from_utf8_lossy(&program).into_owned());
        }
        Event::Unkept { programs } => panic!("{programs} programs were not kept"),
    });
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { exit, output: text(output), error: text(error), refused, started, became }
}

/// Looks until something holds, or says what did not.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = std::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(std::time::Instant::now() < until, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Every control group directory on this host whose name holds `id`.
pub(crate) fn groups_of(id: &str) -> Vec<PathBuf> {
    fn walk(dir: &Path, id: &str, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy().contains(id) {
                    found.push(entry.path());
                }
                walk(&entry.path(), id, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), id, &mut found);
    found
}
