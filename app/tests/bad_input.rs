//! What goes wrong around the factory: each is told in a sentence, with a way out and a documented exit status, and
//! taking authority away works all the same.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use std::path::Path;
use std::process::Command;

use common::{Said, Scene, agent, eventually, is_root, text};

/// A change that passes the checks.
const CHANGE: &str = "echo more >> src/greeting";

const TASK: &[&str] = &["run", "--agent", "writer", "--wait", CHANGE];

/// Stopping works whatever else is broken.
fn stops_all_the_same(scene: &Scene) {
    scene.run(&["halt"]).ok();
    let run = text(&scene.runs()[0], "run").to_owned();
    scene.run(&["revoke", &run]).ok();
    scene.run(&["revoke", "r-0000000000000"]).refused(107, &["nothing was stopped"]);
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_what_was_probably_meant() {
    let scene = Scene::ready();
    scene.configure("chekcs = [\"sh tests/run.sh\"]", "");
    scene.run(TASK).refused(101, &["selvedge.toml", "line 4", "chekcs", "did you mean `checks`?"]);
    scene.run(&["ps"]).refused(101, &["chekcs"]);
    scene.configure("checks = [\"sh tests/run.sh\"]", "");
    assert_eq!(scene.task(CHANGE)["outcome"], "proposed");
}

#[test]
fn values_that_mean_nothing_are_refused_by_key_b3() {
    let scene = Scene::ready();
    let good = std::fs::read_to_string(scene.config()).unwrap();
    for (from, to, words) in [
        ("owner = \"team@example.org\"\n", "", &["owner"][..]),
        ("owner = \"team@example.org\"", "owner = \"\"", &["agent.writer.owner", "is empty"]),
        ("purpose = \"small changes\"", "purpose = \" \"", &["agent.writer.purpose", "is empty"]),
        ("trust = \"propose\"", "trust = \"root\"", &["agent.writer.trust", "`root`", "propose"]),
        ("\"open-pr\"", "\"merge-everything\"", &["agent.writer.may", "`merge-everything`", "open-pr"]),
        (
            "[\"read\", \"write\", \"open-pr\"]",
            "[\"read\"]",
            &["agent.writer.may", "`write`", "no run starts", "may = ["],
        ),
        ("[\"read\", \"write\", \"open-pr\"]", "[]", &["agent.writer.may", "`read` and `write`"]),
        ("trust = \"propose\"", "trust = \"observe\"", &["agent.writer.trust", "no run starts", "trust = \"draft\""]),
        ("branch = \"main\"", "branch = \"main\"\napproval_within = \"soon\"", &["`soon`", "24h"]),
        ("runtime = \"command\"", "runtime = \"magic\"", &["agent.writer.runtime", "`magic`", "command"]),
        ("[repo.repo]", "[repo.repo", &["line 1"]),
        ("trust = \"propose\"", "trust = 3", &["line ", "`trust`"]),
        ("owner = \"team@example.org\"\n", "", &["line ", "`[agent.writer]`", "owner"]),
    ] {
        assert!(good.contains(from), "{from}");
        std::fs::write(scene.config(), good.replace(from, to)).unwrap();
        scene.run(&["ps"]).refused(101, words);
    }
}

#[test]
fn values_that_could_never_work_are_refused_by_key_with_what_to_write() {
    let scene = Scene::ready();
    let good = std::fs::read_to_string(scene.config()).unwrap();
    let path = format!("path = {:?}", scene.repo());
    let when = "[[when]]\nevery = \"24h\"\nrun = \"writer\"\nrepo = \"repo\"\n";
    for (from, to, words) in [
        (
            "command = [\"sh\", \"-c\", \"{text}\"]\n",
            "",
            &["agent.writer.command", "names no program", "command = ["][..],
        ),
        ("command = [\"sh\",", "command = [\" \",", &["agent.writer.command", "names no program"]),
        (&path, "path = \"repo\"", &["repo.\"repo\".path", "`repo` is relative", "beginning with `/`"]),
        ("sh tests/run.sh", "", &["repo.\"repo\".checks", "pass anything"]),
        ("", "[factory]\nslots = 0\n", &["factory.slots", "is 0", "write 1 or more"]),
        (
            "",
            "[factory]\ntrust_domain = \"Bad Domain!\"\n",
            &["factory.trust_domain", "`Bad Domain!`", "selvedge.internal"],
        ),
        ("", "[factory]\ntoolchains = [\"rust\"]\n", &["factory.toolchains", "`rust` is relative"]),
        (
            "",
            "[factory]\ntoolchains = [\"/nonexistent\"]\n",
            &["factory.toolchains", "`/nonexistent`", "holds a `bin`"],
        ),
        ("", "[advisories]\npath = \"~/advisory-db\"\n", &["advisories.path", "is relative"]),
        ("", "[agent.writer.limits]\nmemory_mib = 0\n", &["agent.writer.limits.memory_mib", "is 0"]),
        ("", "[agent.writer.limits]\nprocesses = 0\n", &["agent.writer.limits.processes", "is 0"]),
        ("", "[agent.writer.limits]\ndisk_mib = 0\n", &["agent.writer.limits.disk_mib", "is 0"]),
        ("", "[agent.writer.limits]\nfiles = 0\n", &["agent.writer.limits.files", "is 0"]),
        ("", &when.replace("run = \"writer\"", "run = \"nobody\""), &["when[0].run", "`nobody`", "ad-hoc, writer"]),
        ("", &when.replace("run = \"writer\"\n", ""), &["when[0]", "needs either `run`", "`pipeline`"]),
        ("", &when.replace("\"writer\"", "\"ad-hoc\""), &["when[0].run", "names at the command line"]),
        ("", &when.replace("run = ", "pipeline = "), &["when[0].pipeline", "`writer`", "known are: none"]),
        ("", &format!("{when}task = \" \"\n"), &["when[0].task", "is empty"]),
        ("", &when.replace("repo = \"repo\"", "repo = \"other\""), &["when[0].repo", "`other`", "known are: repo"]),
        ("", &when.replace("24h", "often"), &["when[0].every", "`often`", "24h"]),
        ("", &when.repeat(2), &["when[1]", "`writer` on `repo` again", "when[0]"]),
    ] {
        let bad = if from.is_empty() { format!("{good}\n{to}") } else { good.replace(from, to) };
        assert_ne!(bad, good, "{from}");
        std::fs::write(scene.config(), bad).unwrap();
        scene.run(&["ps"]).refused(101, &[words, &["selvedge.toml"]].concat());
    }
}

#[test]
fn a_model_that_costs_needs_a_budget_and_agents_with_one_model_count_in_one_unit_e3() {
    let scene = Scene::ready();
    let spends = |name: &str, budget: &str| format!("{}model = \"main\"\n{budget}\n", agent(name, "draft"));
    let price = |of: &str| {
        format!(
            "[model.main]\nupstream = \"https://models.example\"\nprotocols = [\"openai-chat\"]\n\
             price = [{{ of = \"some-model\", input = {of}, output = {of} }}]\n"
        )
    };
    let set = |first: &str, second: &str, of: &str| {
        scene.configure("", &format!("{}{}{}", spends("first", first), spends("second", second), price(of)));
        scene.run(&["ps"])
    };
    set("budget = \"5 USD\"", "budget = \"2 USD\"", "1.0").ok();
    set("", "", "0.0").ok();
    set("", "budget = \"2 USD\"", "1.0").refused(101, &["agent.first.budget", "is missing or nothing", "5 USD"]);
    set("budget = \"0 USD\"", "budget = \"2 USD\"", "1.0").refused(101, &["agent.first.budget", "nothing"]);
    set("budget = \"5 USD\"", "budget = \"2 EUR\"", "1.0").refused(101, &["agent.second.budget", "`EUR`", "`first`"]);
    set("budget = 5", "budget = \"2 USD\"", "1.0").refused(101, &["`budget`", "an amount in quotes"]);
}

/// A live keeper records why a configuration is not in force, and what is recorded stays.
#[test]
fn a_secret_that_is_pasted_into_the_configuration_is_neither_shown_nor_recorded_c7() {
    let scene = Scene::ready();
    let good = std::fs::read_to_string(scene.config()).unwrap();
    let secret = format!("ghp_{}", "aB3dE5gH7jK9mN1pQ2sT4vW6xY8zA0cDaB3x");
    let _keeper = scene.serve();
    // Where no key is known, and where the message quotes what was written.
    for line in [format!("api_key = \"{secret}\""), format!("trust = \"{secret}\"")] {
        let bad = good.replace("trust = \"propose\"", &line);
        std::fs::write(scene.config(), bad).unwrap();
        eventually("it is not in force", || scene.run(&["ps"]).out.contains("is not in force").then_some(()));
        assert!(!scene.run(&["ps"]).out.contains(&secret));
        std::fs::write(scene.config(), &good).unwrap();
        eventually("it is in force again", || (!scene.run(&["ps"]).out.contains("is not in force")).then_some(()));
    }
    let log = scene.run(&["audit", "show", "--json"]).ok().out;
    assert!(log.matches("configuration_refused").count() >= 2 && !log.contains(&secret), "{log}");
}

#[test]
fn policies_that_do_not_load_deny_everything_and_halt_and_revoke_still_work() {
    let scene = Scene::ready();
    let broken = scene.state().join("policies/broken.cedar");
    std::fs::write(&broken, "@id(\"team.broken\")\n@owner(\"team\")\npermit (principal, actoin, resource);\n").unwrap();
    scene.run(&["policy", "check"]).refused(110, &["broken.cedar:3"]);
    let said = scene.run(TASK);
    assert_eq!(said.status, 102, "{said:?}");
    assert!(said.out.contains("policies do not load"), "{said:?}");
    stops_all_the_same(&scene);
    std::fs::remove_file(&broken).unwrap();
    scene.run(&["policy", "check"]).ok();
    scene.run(&["resume"]).ok();
    assert_eq!(scene.task(CHANGE)["outcome"], "proposed");
}

#[test]
fn a_state_directory_without_policies_denies_everything() {
    let scene = Scene::ready();
    std::fs::remove_dir_all(scene.state().join("policies")).unwrap();
    let said = scene.run(TASK);
    assert_eq!(said.status, 102, "{said:?}");
    scene.run(&["policy", "check"]).refused(110, &["policies"]);
    stops_all_the_same(&scene);
}

/// An agent that remediates, with nothing in reach.
const REMEDIATE: &str = "[agent.remediate]\nruntime = \"remediate\"\nowner = \"team@example.org\"\npurpose = \"fix\"\n\
     escalate = \"team@example.org\"\ntrust = \"propose\"\nmay = [\"read\", \"write\", \"open-pr\", \"follow-up\"]\n";

const LOCK: &str = "version = 4\n\n[[package]]\nname = \"yasna\"\nversion = \"0.6.0\"\n";

#[test]
fn advisories_that_cannot_be_used_are_told_from_clean_ones() {
    let scene = Scene::ready();
    scene.commit("Cargo.lock", LOCK);
    scene.configure("checks = [\"sh tests/run.sh\"]", REMEDIATE);
    scene.run(&["scan", "--wait"]).refused(109, &["no advisory database", "--advisories DIR"]);
    scene.run(&["scan", "--wait", "--advisories", "/nonexistent"]).refused(109, &["/nonexistent", "RustSec or OSV"]);

    let empty = scene.path("empty");
    std::fs::create_dir(&empty).unwrap();
    let said = scene.run(&["scan", "--wait", "--advisories", empty.to_str().unwrap()]);
    assert!((100..120).contains(&said.status), "an empty database is not a clean bill: {said:?}");

    let torn = scene.path("torn");
    std::fs::create_dir_all(torn.join("crates/yasna")).unwrap();
    std::fs::write(torn.join("crates/yasna/RUSTSEC-2026-0001.md"), "```toml\n[advisory\nid = ").unwrap();
    let said = scene.run(&["scan", "--wait", "--advisories", torn.to_str().unwrap()]);
    assert!((100..120).contains(&said.status), "a torn advisory is not a clean bill: {said:?}");
    assert!(format!("{}{}", said.out, said.err).contains("RUSTSEC-2026-0001"), "it names the file: {said:?}");
}

#[test]
fn init_needs_a_repository_with_a_commit_on_a_branch() {
    let scene = Scene::new();
    let plain = scene.path("plain");
    std::fs::create_dir(&plain).unwrap();
    let init = |dir: &Path| Said::of(&scene.command(&["init", "--yes"]).current_dir(dir).output().unwrap());
    init(&plain).refused(108, &["is not in a git repository", "git init"]);
    let fresh = scene.path("fresh");
    assert!(Command::new("git").args(["init", "--quiet"]).arg(&fresh).status().unwrap().success());
    init(&fresh).refused(108, &["no commit", "commit something"]);
    scene.git(&["checkout", "--quiet", "--detach"]);
    scene.run(&["init", "--yes"]).refused(108, &["not on a branch"]);
    assert!(!scene.state().exists(), "nothing is written for a repository that cannot be used");
}

#[test]
fn a_repository_that_went_away_fails_its_runs_and_nothing_else() {
    let scene = Scene::ready();
    let (repo, away) = (scene.repo(), scene.path("away"));
    std::fs::rename(&repo, &away).unwrap();
    std::fs::create_dir(&repo).unwrap();
    let said = scene.run(TASK);
    assert!(said.status == 112 || said.status == 108, "{said:?}");
    assert!(said.out.contains("repo"), "{said:?}");
    scene.run(&["ps"]).ok();
    scene.run(&["audit", "verify"]).ok();
    std::fs::remove_dir(&repo).unwrap();
    std::fs::rename(&away, &repo).unwrap();
    assert_eq!(scene.task(CHANGE)["outcome"], "proposed");
}

#[test]
fn a_branch_that_went_away_fails_the_run_by_name() {
    let scene = Scene::ready();
    let config = std::fs::read_to_string(scene.config()).unwrap();
    std::fs::write(scene.config(), config.replace("branch = \"main\"", "branch = \"trunk\"")).unwrap();
    let said = scene.run(TASK);
    assert_eq!(said.status, 112, "{said:?}");
    assert!(said.out.contains("branch `trunk` does not exist"), "{said:?}");
}

#[test]
fn without_git_the_remedy_is_to_install_it() {
    let scene = Scene::ready();
    let nothing = scene.path("nothing");
    std::fs::create_dir(&nothing).unwrap();
    let without = |arguments: &[&str]| Said::of(&scene.command(arguments).env("PATH", &nothing).output().unwrap());
    without(TASK).refused(108, &["git", "install git"]);
    let other = scene.path("other");
    without(&["--state", other.to_str().unwrap(), "init", "--yes"]).refused(108, &["cannot run git", "install git"]);
}

#[test]
fn an_older_copy_of_the_state_is_never_continued() {
    let scene = Scene::ready();
    scene.task(CHANGE);
    let (state, old) = (scene.state(), scene.path("old"));
    copy(&state, &old);
    scene.task("echo again >> src/greeting");
    let newest = scene.path("newest");
    std::fs::rename(&state, &newest).unwrap();
    std::fs::rename(&old, &state).unwrap();
    for command in [TASK, &["ps"], &["audit", "verify"], &["serve"]] {
        scene.run(command).refused(105, &["restore the newest copy"]);
    }
    std::fs::remove_dir_all(&state).unwrap();
    std::fs::rename(&newest, &state).unwrap();
    scene.run(&["audit", "verify"]).ok();
    std::fs::remove_dir_all(state.join("ledger")).unwrap();
    scene.run(&["ps"]).refused(105, &["was replaced or deleted"]);
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

#[test]
fn a_flipped_byte_is_found_and_its_entry_named() {
    let scene = Scene::ready();
    let words = "a-task-with-words-of-its-own";
    scene.run(&["run", "--command", "--wait", "--", "echo", words]).ok();
    let verified = scene.json(&["audit", "verify"]);
    let entry = scene.run(&["audit", "export"]).ok().out;
    let entry: Vec<serde_json::Value> = entry.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let entry = entry.iter().find(|line| line.to_string().contains(words)).unwrap()["seq"].as_u64().unwrap();
    let mut flipped = 0;
    for file in std::fs::read_dir(scene.state().join("ledger")).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let places: Vec<usize> = (0..bytes.len().saturating_sub(words.len()))
            .filter(|at| bytes[*at..].starts_with(words.as_bytes()))
            .collect();
        for at in places {
            bytes[at] ^= 1;
            flipped += 1;
        }
        std::fs::write(&path, bytes).unwrap();
    }
    assert!(flipped > 0, "the words are stored somewhere");
    let said = scene.run(&["audit", "verify"]);
    said.refused(105, &[&format!("entry {entry}"), "keep a copy"]);
    assert!(verified["entries"].as_u64().unwrap() > entry);
}

#[test]
fn a_read_only_state_directory_is_told_with_its_remedy() {
    let scene = Scene::ready();
    let script = format!("mount --bind {0} {0} && mount -o remount,bind,ro {0} && exec \"$@\"", shown(&scene.state()));
    for command in [TASK, &["ps"], &["serve"]] {
        in_a_world_where(&scene, &script, command).refused(104, &["read-only", "--state DIR"]);
    }
    let fresh = scene.path("home/fresh");
    let script =
        format!("mount --bind {0} {0} && mount -o remount,bind,ro {0} && exec \"$@\"", shown(&scene.path("home")));
    let init = ["--state", fresh.to_str().unwrap(), "init", "--yes"];
    in_a_world_where(&scene, &script, &init).refused(104, &["read-only"]);
}

/// A state directory that was moved to a small file system of its own; `FILL` takes every byte that is left, and `SERVE` starts the
/// keeper. It is the one that listens: a `ps` that is answered may have been its own keeper.
fn on_a_small_disk(scene: &Scene, script: &str) -> Said {
    let (state, selvedge) = (shown(&scene.state()), env!("CARGO_BIN_EXE_selvedge"));
    let run = text(&scene.task("true"), "run").to_owned();
    let script = script
        .replace(
            "FILL",
            "{ dd if=/dev/zero of=STATE/filler bs=4k; dd if=/dev/zero of=STATE/filler2 bs=1 count=4096; } 2>/dev/null",
        )
        .replace(
            "SERVE",
            "SELVEDGE serve & keeper=$!
            until test -S STATE/control.sock || ! kill -0 $keeper; do sleep 0.1; done",
        )
        .replace("SELVEDGE", selvedge)
        .replace("STATE", &state)
        .replace("RUN", &run);
    let script = format!(
        "cp -a {state} {state}.was; mount -t tmpfs -o size=48m tmpfs {state} && cp -a {state}.was/. {state}/\n{script}"
    );
    in_a_world_where(scene, &script, &[])
}

fn statuses(said: &Said) -> Vec<&str> {
    said.out.lines().filter_map(|line| line.strip_prefix("status ")).collect()
}

#[test]
fn with_a_full_disk_nothing_is_allowed_and_halt_and_revoke_still_work() {
    let scene = Scene::ready();
    let script = "FILL
        SELVEDGE run --command --wait -- echo ran; echo status $?
        SELVEDGE halt; echo status $?
        FILL
        SELVEDGE revoke RUN; echo status $?
        rm STATE/filler*
        SELVEDGE ps; echo status $?
        SELVEDGE run --command --wait -- echo ran; echo status $?
        SELVEDGE resume; echo status $?
        SELVEDGE audit verify; echo status $?
        SELVEDGE run --command --wait -- echo at last; echo status $?";
    let said = on_a_small_disk(&scene, script);
    assert_eq!(statuses(&said), ["104", "0", "0", "0", "113", "0", "0", "0"], "{said:?}");
    assert!(!said.out.lines().any(|line| line == "ran"), "what cannot be recorded is not done: {said:?}");
    assert!(said.err.contains("is full") && said.err.contains("free some space"), "{said:?}");
    assert!(said.out.contains("halted: everything"), "the halt was remembered: {said:?}");
    assert!(said.out.ends_with("at last\nstatus 0\n"), "{said:?}");
}

#[test]
fn a_keeper_whose_disk_fills_allows_nothing_more_and_still_halts_and_revokes() {
    let scene = Scene::ready();
    let script = "SERVE
        FILL
        SELVEDGE run --command --wait -- echo ran; echo status $?
        SELVEDGE halt; echo status $?
        SELVEDGE revoke RUN; echo status $?
        kill -9 $keeper; wait $keeper
        rm STATE/filler*
        SELVEDGE ps; echo status $?
        SELVEDGE audit verify; echo status $?";
    let said = on_a_small_disk(&scene, script);
    assert_eq!(statuses(&said), ["104", "0", "0", "0", "0"], "{said:?}");
    assert!(!said.out.lines().any(|line| line == "ran"), "what cannot be recorded is not done: {said:?}");
    assert!(said.out.contains("halted: everything"), "the halt outlived the keeper: {said:?}");
}

/// Its agent ends on the full disk, so what it did cannot be recorded and its run goes no further. Whoever waits for it is told, and
/// the next keeper, or the one that stays, takes it up once there is room.
fn waits_on_a_disk_that_fills(keeper: &str) {
    let scene = Scene::ready();
    let end = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 6;
    let patience = common::PATIENCE.as_secs();
    let script = format!(
        "{keeper}
        timeout {patience} SELVEDGE run --agent writer --wait 'until test $(date +%s) -ge {end}; do sleep 0.1; done' & waiting=$!
        until SELVEDGE ps | grep -q working; do sleep 0.1; done
        FILL
        wait $waiting; echo status $?
        rm STATE/filler*
        test -n \"$keeper\" || {{ SERVE; }}
        for i in $(seq {patience}0); do
            SELVEDGE ps --all --json > STATE/ps
            kill -0 $keeper || break
            test \"$(grep -o '\"stage\":\"settled\"' STATE/ps | wc -l)\" = 2 && break; sleep 0.1
        done
        cat STATE/ps; kill -9 $keeper; wait $keeper
        SELVEDGE audit verify; echo status $?"
    );
    let said = on_a_small_disk(&scene, &script);
    assert_eq!(statuses(&said), ["104", "0"], "{said:?}");
    for words in ["the work does not go on, because nothing can be recorded", "is full", "free some space"] {
        assert!(said.err.contains(words), "{words}: {said:?}");
    }
    let ps = said.out.lines().find(|line| line.contains("\"runs\"")).unwrap();
    let runs = serde_json::from_str::<serde_json::Value>(ps).unwrap()["runs"].clone();
    let stages: Vec<&str> = runs.as_array().unwrap().iter().map(|run| text(run, "stage")).collect();
    assert_eq!(stages, ["settled", "settled"], "what was interrupted goes on by itself: {said:?}");
}

#[test]
fn nobody_waits_for_work_that_a_serving_keeper_cannot_record_and_it_goes_on_once_it_can() {
    waits_on_a_disk_that_fills("SERVE");
}

#[test]
fn nobody_waits_for_work_that_their_own_command_cannot_record_and_the_next_keeper_goes_on() {
    waits_on_a_disk_that_fills("");
}

#[test]
fn a_state_directory_of_somebody_else_is_told_with_its_remedy() {
    assert!(is_root(), "needs root: only root can become somebody else");
    let scene = Scene::ready();
    std::fs::set_permissions(scene.path("."), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65533", "--clear-groups", env!("CARGO_BIN_EXE_selvedge"), "ps"]);
    command.env("SELVEDGE_STATE", scene.state()).env("SELVEDGE_ANCHOR", scene.path("anchor"));
    let said = Said::of(&command.output().unwrap());
    assert_eq!(said.status, 104, "{said:?}");
    assert!(said.err.contains(" hint: "), "{said:?}");
}

#[test]
fn a_torn_request_on_the_socket_harms_nobody() {
    use std::io::{Read, Write};
    let scene = Scene::ready();
    let _keeper = scene.serve();
    for torn in [&b"{\"ask\":"[..], b"\n", b"\xff\xff\xff\n", b"{\"ask\":\"no_such_thing\"}\n", b"[[[[[[[[[[[[[\n"] {
        let mut stream = std::os::unix::net::UnixStream::connect(scene.state().join("control.sock")).unwrap();
        stream.write_all(torn).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let reply: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!((text(&reply, "reply"), text(&reply, "code")), ("failed", "usage"), "{reply}");
    }
    scene.run(&["ps"]).ok();
}

fn shown(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Runs `selvedge` where mounts of our own stand, seen by nobody else; `script` gets it as its arguments.
fn in_a_world_where(scene: &Scene, script: &str, arguments: &[&str]) -> Said {
    assert!(is_root(), "needs root: only root can mount");
    let inner = scene.command(arguments);
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]).arg(inner.get_program());
    command.args(arguments).current_dir(scene.repo()).stdin(std::process::Stdio::null()).env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Said::of(&command.output().unwrap())
}
