//! Canary keys, used in a whole run: found in no process but the run's own door, in no file, and in no core of what dies.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;
#[path = "common/memory.rs"]
mod memory;

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};

use common::service::{Asked, answered};
use common::{Scene, Serving, agent, eventually, is_root, text};
use memory::{Needle, Process, processes_below};
use rustix::process::{Pid, Resource, Rlimit, Signal};

/// Hosts nobody else has (RFC 6761): one that takes the stored key, one that takes what the third makes.
const API: &str = "api.selvedge.test";
const OTHER: &str = "other.selvedge.test";
const BAO: &str = "bao.selvedge.test";

/// A key that is stored, and what a service makes for the run.
const KEY: &str = "canary-key-5f0c7be21d9a4e6688c3";
const TOKEN: &str = "hvs.canary-token-b81f64c20a7e4d95";
const PASSWORD: &str = "canary-password-0e3d9b7714fa42c8";

/// Services behind one port, told apart by their host. What asks for one of `held` gets no answer before that is let go.
struct Services {
    port: u16,
    desk: Arc<(Mutex<Desk>, Condvar)>,
}

#[derive(Default)]
struct Desk {
    held: BTreeSet<&'static str>,
    /// Lines of requests, with what they carried.
    seen: Vec<(String, String)>,
}

impl Services {
    fn start(held: &[&'static str]) -> Self {
        let desk =
            Arc::new((Mutex::new(Desk { held: held.iter().copied().collect(), seen: Vec::new() }), Condvar::new()));
        let kept = Arc::clone(&desk);
        Self { port: answered(move |asked| Some(attend(asked, &kept))), desk }
    }

    /// Whether this was asked for.
    fn was_asked(&self, line: &str) -> Option<()> {
        self.desk.0.lock().unwrap().seen.iter().any(|(seen, _)| seen == line).then_some(())
    }

    fn let_go(&self, line: &str) {
        self.desk.0.lock().unwrap().held.remove(line);
        self.desk.1.notify_all();
    }
}

/// What a service says, once it is let go.
fn attend(asked: &Asked, (desk, let_go): &(Mutex<Desk>, Condvar)) -> (u16, String) {
    let line = asked.line();
    let carried = [asked.field("authorization"), asked.field("x-vault-token")].concat();
    let mut desk = desk.lock().unwrap();
    desk.seen.push((line.to_owned(), carried.clone()));
    while desk.held.contains(line) {
        desk = let_go.wait(desk).unwrap();
    }
    let is_revoked = desk.seen.iter().any(|(line, _)| line == "POST /v1/auth/token/revoke-self");
    drop(desk);
    answer(line, &carried, &asked.head, is_revoked)
}

/// What a service says: an OpenBao what its API says, the others all that they were sent, as a careless service would.
fn answer(line: &str, carried: &str, head: &str, is_revoked: bool) -> (u16, String) {
    let denied = || (403, r#"{"errors":["permission denied"]}"#.to_owned());
    match line {
        _ if is_revoked && carried == TOKEN => denied(),
        "POST /v1/auth/jwt/login" => (200, format!(r#"{{"auth":{{"client_token":"{TOKEN}","lease_duration":900}}}}"#)),
        "GET /v1/secret/creds/made" if carried == TOKEN => (
            200,
            format!(r#"{{"lease_id":"secret/creds/made/1","lease_duration":600,"data":{{"password":"{PASSWORD}"}}}}"#),
        ),
        "PUT /v1/sys/leases/revoke" | "POST /v1/auth/token/revoke-self" => (204, String::new()),
        "GET /v1/auth/token/lookup-self" if carried == TOKEN => (200, r#"{"data":{}}"#.to_owned()),
        _ => (200, head.to_owned()),
    }
}

/// A factory with an agent `caller` that may push, borrow the stored key `api` and have `made` made for it.
fn scene(services: &Services) -> Scene {
    let scene = Scene::ready();
    let may = "may = [\"read\", \"write\", \"open-pr\"]";
    let caller = agent("caller", "propose").replace(may, "may = [\"read\", \"write\", \"open-pr\", \"push\"]");
    let danger = |host: &str| {
        format!("[danger.addresses.\"{host}\"]\nallow = [\"127.0.0.1\"]\nplain_port = {}\n", services.port)
    };
    scene.configure(
        "checks = [\"sh tests/run.sh\"]",
        &format!(
            "{caller}credentials = [\"api\", \"made\"]\n\
             [credential.api]\nkind = \"static\"\nowner = \"team@example.org\"\nuses = [\"GET https://{API}/v1\"]\n\
             env = \"API_TOKEN\"\n\
             [credential.made]\nkind = \"openbao\"\nowner = \"team@example.org\"\nuses = [\"GET https://{OTHER}/v1\"]\n\
             [credential.made.openbao]\nurl = \"https://{BAO}\"\nrole = \"factory\"\naudience = \"https://bao.example\"\n\
             path = \"secret/creds/made\"\nfield = \"password\"\n{}{}{}",
            danger(API),
            danger(OTHER),
            danger(BAO)
        ),
    );
    scene.trust("api");
    scene
}

/// Uses both credentials, pushes, and then keeps its door and the jail of its repository at work until it is let go.
fn script() -> String {
    format!(
        "set -e\n\
         export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example\n\
         git clone -q \"$SELVEDGE_GIT_URL\" /tmp/c; cd /tmp/c\n\
         curl -sS -H \"Authorization: Bearer $API_TOKEN\" https://{API}/v1/items; curl -sS https://{OTHER}/v1/items\n\
         echo hello again >src/greeting; git commit -q -a -m again; git push -q origin HEAD:refs/heads/$SELVEDGE_BRANCH\n\
         curl -sS https://{API}/v1/held >/dev/null & held=$!\n\
         while kill -0 $held; do git ls-remote -q origin >/dev/null; done; wait $held"
    )
}

/// The doors and couriers below a keeper; a courier is a door by its name.
fn doors(keeper: &Serving) -> Vec<Process> {
    processes_below(keeper.pid()).into_iter().filter(|process| process.name == "selvedge-door").collect()
}

/// Whether this is git at work for a door, and not the agent's own, which speaks HTTP.
fn serves_git(pid: u32) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.windows(11).any(|word| word == b"upload-pack")
}

/// Insists that a process of the keeper's tree has none of these anywhere.
fn has_none(pid: u32, secrets: &[&str], when: &str) {
    for secret in secrets {
        let places = Needle::new(secret).places_in(pid).unwrap_or_default();
        assert!(places.is_empty(), "{when}, process {pid} has `{secret}` in {places:#?}");
    }
}

/// Insists that a keeper, which had these for a moment, has wiped them.
fn has_wiped(keeper: &Serving, secrets: &[&str], when: &str) {
    for secret in secrets {
        let needle = Needle::new(secret);
        eventually(&format!("{when}, `{secret}` is wiped from the keeper"), || {
            needle.places_in(keeper.pid()).unwrap().is_empty().then_some(())
        });
    }
}

#[test]
fn in_a_live_run_no_process_but_its_own_door_has_the_key_c5_a54() {
    if !is_root() {
        println!("skipped: only root may read the memory of processes that are not dumpable, which is the point of it");
        return;
    }
    let services = Services::start(&["GET /v1/secret/creds/made", "GET /v1/held"]);
    let scene = scene(&services);
    let keeper = scene.serve();
    scene.store("api", KEY).ok();
    has_wiped(&keeper, &[KEY], "once the key is stored");
    scene.run(&["run", "--agent", "caller", &script()]).ok();

    // A courier knows what it was sent with and what it brings, and nothing of any other credential.
    eventually("a courier asks", || services.was_asked("GET /v1/secret/creds/made"));
    let couriers = doors(&keeper);
    assert_eq!(couriers.len(), 1, "{couriers:?}");
    let places = Needle::new(TOKEN).places_in(couriers[0].pid).unwrap();
    assert!(places.iter().any(|place| place.starts_with("memory")), "the search finds what is there: {places:?}");
    has_none(couriers[0].pid, &[KEY], "at an errand");
    services.let_go("GET /v1/secret/creds/made");

    eventually("the key is in use", || services.was_asked("GET /v1/held"));
    let door = doors(&keeper);
    assert_eq!(door.len(), 1, "{door:?}");
    for secret in [KEY, PASSWORD] {
        let places = Needle::new(secret).places_in(door[0].pid).unwrap();
        assert!(!places.is_empty(), "the search finds what is there");
        assert!(places.iter().all(|place| place.starts_with("memory")), "{places:?}");
    }
    has_none(door[0].pid, &[TOKEN], "what ends a credential is not for a door:");
    let for_git = eventually("git works for the door", || {
        let all = processes_below(keeper.pid()).into_iter();
        all.filter(|process| serves_git(process.pid)).find_map(|process| Needle::new(KEY).places_in(process.pid))
    });
    assert!(for_git.is_empty(), "git in its jail has the key in {for_git:?}");
    has_wiped(&keeper, &[KEY, TOKEN, PASSWORD], "once the door has what it needs");
    let others: Vec<Process> = processes_below(keeper.pid()).into_iter().filter(|it| it.pid != door[0].pid).collect();
    for process in &others {
        has_none(process.pid, &[KEY, TOKEN, PASSWORD], &format!("while the run works, as `{}`", process.name));
    }
    for name in ["selvedge", "selvedge-jail", "sh", "curl"] {
        assert!(others.iter().any(|process| process.name == name), "`{name}` was not looked at: {others:?}");
    }

    services.let_go("GET /v1/held");
    eventually("the run settles", || (scene.runs()[0]["stage"] == "settled").then_some(()));
    let show = scene.json(&["show", text(&scene.runs()[0], "run")]);
    assert_eq!(show["outcome"], "proposed", "{show}");
    assert_eq!(doors(&keeper), [], "the door is gone, and its memory with it");
    has_wiped(&keeper, &[KEY, TOKEN, PASSWORD], "once the run has settled");
    for secret in [KEY, TOKEN, PASSWORD] {
        assert_eq!(Needle::new(secret).file_below(&scene.path(".")), None, "no secret byte anywhere");
    }
}

/// Cores lie where a process worked, and are called `core` with whatever the machine adds.
fn cores_in(places: &[PathBuf]) -> Vec<PathBuf> {
    let files = places.iter().flat_map(|place| std::fs::read_dir(place).unwrap().flatten());
    let is_core = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b"core");
    files
        .filter(|file| is_core(&file.file_name()) && file.file_type().unwrap().is_file())
        .map(|file| file.path())
        .collect()
}

/// A program that has the key in its environment and breaks, where cores are allowed: what the others would leave.
fn control(dir: &Path) -> Vec<PathBuf> {
    let breaks = Command::new("sh")
        .args(["-c", "ulimit -c unlimited; kill -SEGV $$"])
        .current_dir(dir)
        .env("A_KEY", KEY)
        .status()
        .unwrap();
    assert!(!breaks.success());
    cores_in(&[dir.to_owned()])
}

/// Breaks a process that allows itself no core, after somebody else allowed it one where this machine's root may: it leaves none
/// all the same.
fn breaks_without_a_core(pid: u32, signal: Signal, what: &str, places: &[PathBuf]) {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    assert_eq!(
        limit.split_whitespace().take(2).collect::<Vec<_>>(),
        ["1", "1"],
        "{what}: what keeps a crash from being piped anywhere, core(5)"
    );
    // What another user's process keeps in `/proc` belongs to root where it is not dumpable, and to that user else.
    let owner = std::fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid();
    assert_eq!(owner, 0, "{what} is dumpable");
    let before = cores_in(places);
    let process = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    let raised = rustix::process::prlimit(Some(process), Resource::Core, Rlimit { current: None, maximum: None });
    if raised.is_err() {
        println!("here not even root raises the limit that {what} set itself");
    }
    eventually("it is dead", || {
        // The first of these is only noted by a Rust program, which looks whether its stack overflowed; the second breaks it.
        let _broken_already = rustix::process::kill_process(process, signal);
        // A process that nobody waited for yet has no memory any more, and its core would be written.
        std::fs::read(format!("/proc/{pid}/maps")).unwrap_or_default().is_empty().then_some(())
    });
    assert_eq!(cores_in(places), before, "{what} left a core");
}

#[test]
fn what_breaks_while_it_has_a_key_leaves_no_core_c5() {
    if !is_root() {
        println!(
            "skipped: only root may raise the limit that a process set itself, and so show that another one holds"
        );
        return;
    }
    let services = Services::start(&["GET /v1/secret/creds/made", "GET /v1/held"]);
    let scene = scene(&services);
    // Doors and couriers work in the root directory, the keeper where it was started.
    let places = [PathBuf::from("/"), scene.repo()];
    let cores = control(&scene.path("home"));
    match cores.as_slice() {
        [core] => assert!(Needle::new(KEY).is_in(&std::fs::read(core).unwrap()), "a core has what its process had"),
        _ => println!("this machine keeps cores elsewhere: what is shown here is the limits of each process"),
    }
    cores.iter().for_each(|core| std::fs::remove_file(core).unwrap());

    let keeper = scene.serve();
    scene.store("api", KEY).ok();
    scene.run(&["run", "--agent", "caller", &script()]).ok();
    eventually("a courier asks", || services.was_asked("GET /v1/secret/creds/made"));
    breaks_without_a_core(doors(&keeper)[0].pid, Signal::SEGV, "a courier", &places);

    let services = Services::start(&["GET /v1/held"]);
    let scene = self::scene(&services);
    let places = [PathBuf::from("/"), scene.repo()];
    let keeper = scene.serve();
    scene.store("api", KEY).ok();
    scene.run(&["run", "--agent", "caller", &script()]).ok();
    eventually("the key is in use", || services.was_asked("GET /v1/held"));
    breaks_without_a_core(doors(&keeper)[0].pid, Signal::ABORT, "its door", &places);
    eventually("the keeper saw it", || doors(&keeper).is_empty().then_some(()));
    breaks_without_a_core(keeper.pid(), Signal::SEGV, "the keeper", &places);
    assert_eq!(Needle::new(KEY).file_below(&scene.path(".")), None, "no secret byte anywhere");
}
