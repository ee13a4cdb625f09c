//! What is seen of a sandbox without its help: programs, however they are started, and files, however they are opened.

use std::collections::BTreeSet;
use std::fs;

use selvedge_sandbox::{Observe, Place, Started, Workspace};

use crate::stage::{Ran, Stage, wait};

/// Every way to start a program that we know of, each with a word of its own.
const WAYS: &str = r##"
import ctypes, os, threading, time
TRUE = "/usr/bin/true"
def child(act):
    pid = os.fork()
    if pid == 0:
        try:
            act()
        finally:
            os._exit(9)
    os.waitpid(pid, 0)
def run(word):
    os.execv(TRUE, ["true", word])
child(lambda: run("forked"))
def detached():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execv("/usr/bin/touch", ["touch", "/tmp/detached"])
        os._exit(0)
    os._exit(0)
child(detached)
while not os.path.exists("/tmp/detached"):
    time.sleep(0.01)
def renamed():
    ctypes.CDLL(None).prctl(15, b"x) R 1 1 (y", 0, 0, 0)
    run("renamed")
child(renamed)
with open("/tmp/script", "w") as script:
    script.write("#!/bin/sh\n:\n")
os.chmod("/tmp/script", 0o700)
child(lambda: os.execv("/tmp/script", ["script", "interpreted"]))
def in_memory():
    fd = os.memfd_create("hidden", 0)
    with open("/usr/bin/sleep", "rb") as program:
        os.write(fd, program.read())
    os.execve(fd, ["sleep", "0.4"], {})
child(in_memory)
def by_thread():
    thread = threading.Thread(target=lambda: run("by a thread"))
    thread.start()
    time.sleep(60)
child(by_thread)
def closed():
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
    run("closed")
child(closed)
child(lambda: os.chdir("/usr/bin") or os.execv("./true", ["true", "relative"]))
os.posix_spawn(TRUE, ["true", "spawned"], {})
os.wait()
child(lambda: os.execv("/tmp/nothing", ["nothing", "not there"]))
child(lambda: os.execv("/usr/bin/sleep", ["sleep", "0.5"]))
"##;

fn observed(place: Place) -> Ran {
    let stage = Stage::full();
    let ran = stage.run(&Place { observe: Some(Observe { programs: true, ..Observe::default() }), ..place });
    assert!(ran.exit.success(), "{ran:?}");
    ran
}

/// What was asked for with this word.
fn with<'a>(ran: &'a Ran, word: &str) -> &'a Started {
    let found = ran.started.iter().find(|started| started.arguments.iter().any(|given| given.bytes == word.as_bytes()));
    found.unwrap_or_else(|| panic!("`{word}` was not seen: {:#?}", ran.started))
}

fn program(started: &Started) -> String {
    String::from_utf8_lossy(&started.program).into_owned()
}

#[test]
fn however_a_program_is_started_it_is_seen_and_with_what_it_came_under_e2_a21() {
    let ran = observed(Place::new(["python3", "-c", WAYS]));
    for (word, path) in [
        ("forked", "/usr/bin/true"),
        ("/tmp/detached", "/usr/bin/touch"),
        ("renamed", "/usr/bin/true"),
        ("interpreted", "/tmp/script"),
        ("by a thread", "/usr/bin/true"),
        ("closed", "/usr/bin/true"),
        ("relative", "/usr/bin/true"),
        ("spawned", "/usr/bin/true"),
        ("not there", "/tmp/nothing"),
    ] {
        assert_eq!(program(with(&ran, word)), path, "{word}");
    }
    let in_memory = with(&ran, "0.4");
    assert!(program(in_memory).starts_with("descriptor "), "what it stands for is known when it runs: {in_memory:?}");
    assert_eq!(
        ran.became.get(&in_memory.serial).map(String::as_str),
        Some("/memfd:hidden (deleted)"),
        "{:?}",
        ran.became
    );
    let own = with(&ran, WAYS);
    assert_eq!((own.serial, own.under, program(own).as_str()), (1, 0, "python3"), "what the place names");
    for word in ["forked", "renamed", "interpreted", "0.4", "by a thread", "closed", "relative", "spawned"] {
        assert_eq!(with(&ran, word).under, own.serial, "{word}");
    }
    assert_eq!(with(&ran, "/tmp/detached").under, 0, "nobody knows any more where it came from");
    // What ran is told of what lives long enough to be looked at.
    assert!(ran.became.get(&1).is_some_and(|ran| ran.contains("/usr/bin/python3")), "{:?}", ran.became);
    let sleep = with(&ran, "0.5");
    assert_eq!(ran.became.get(&sleep.serial).map(String::as_str), Some("/usr/bin/sleep"), "{:?}", ran.became);
    assert!(!ran.became.contains_key(&with(&ran, "not there").serial), "it never ran: {:?}", ran.became);
}

#[test]
fn a_script_is_seen_beside_what_interprets_it_e2() {
    let script = "printf '#!/bin/sh\\nsleep 0.5\\n' > /tmp/tool; chmod +x /tmp/tool; /tmp/tool word";
    let ran = observed(Place::new(["sh", "-c", script]));
    let tool = with(&ran, "word");
    assert_eq!(program(tool), "/tmp/tool");
    let became = ran.became.get(&tool.serial).expect("it slept");
    assert!(became.starts_with("/usr/bin/"), "the kernel knows the interpreter: {became}");
    assert_eq!(with(&ran, "0.5").under, tool.serial);
}

#[test]
fn a_thousand_programs_are_all_seen_and_long_arguments_are_cut_e2_s37() {
    let script = "i=0; while [ $i -lt 1000 ]; do /usr/bin/true n$i; i=$((i+1)); done; /usr/bin/true \"$(head -c 100000 /dev/zero | tr '\\0' x)\" end";
    let ran = observed(Place::new(["sh", "-c", script]));
    let numbered = ran.started.iter().filter(|started| program(started) == "/usr/bin/true");
    let words: BTreeSet<Vec<u8>> =
        numbered.filter_map(|started| Some(started.arguments.get(1)?.bytes.clone())).collect();
    assert_eq!(words.len(), 1001);
    let long = ran.started.iter().filter_map(|started| started.arguments.get(1)).find(|given| given.length > 5_000);
    let long = long.expect("the long one");
    assert_eq!((long.length, long.bytes.len()), (100_000, 4096));
}

#[test]
fn where_nothing_is_observed_nothing_is_told() {
    let ran = Stage::full().shell("/usr/bin/true");
    assert!(ran.exit.success() && ran.started.is_empty() && ran.became.is_empty(), "{ran:?}");
}

#[test]
fn however_a_sensitive_file_is_opened_it_is_seen_and_looking_at_its_name_is_not_reading_a78() {
    let stage = Stage::full();
    let tree = stage.dir.path().join("tree");
    fs::create_dir_all(tree.join("deploy")).unwrap();
    for file in [".env", "deploy/server.key", "README"] {
        fs::write(tree.join(file), "a secret of some length\n").unwrap();
    }
    let observe = Some(Observe { programs: true, files: vec![".env".to_owned(), "deploy/server.key".to_owned()] });
    let reads = |script: &str| {
        let workspace = Some(Workspace { pristine: tree.clone() });
        let mut sandbox =
            stage.start(&Place { workspace, observe: observe.clone(), ..Place::new(["bash", "-ec", script]) });
        let reads = sandbox.reads().expect("two files are watched");
        let ran = wait(&mut sandbox);
        assert!(ran.exit.success(), "{script}: {ran:?}");
        sandbox.destroy().expect("destroy");
        let read = reads.since();
        assert!(reads.since().is_empty(), "each is told once");
        read
    };
    let map = "python3 -c 'import mmap; f = open(\".env\"); mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)[0]'";
    for script in [
        "cat .env",
        "cat .env; cat .env",
        "read -r line < /workspace/./deploy/../.env",
        "ln .env other; cat other",
        "ln -s .env other; cat other",
        "mv .env other; cat other",
        "cp .env /tmp/copy",
        "echo more >> .env",
        // A link more and a link less are told alike.
        "rm .env",
        map,
    ] {
        assert_eq!(reads(script), [".env"], "{script}");
    }
    assert_eq!(reads("grep -r secret . > /tmp/found").len(), 2, "a search reads everything");
    for script in ["ls -la . deploy; stat .env; test -r .env", "cat README; touch other"] {
        assert!(reads(script).is_empty(), "{script}");
    }
}
