//! What scripts rely on: exit statuses, which stream says what, and the fields of every JSON document.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use common::{Said, Scene, fields, text};

/// What `ps`, `show` and `run` say of a run.
const RUN_FIELDS: &[&str] = &[
    "agent",
    "attempts",
    "because",
    "began_at",
    "changed_at",
    "intent",
    "outcome",
    "pipeline",
    "repo",
    "run",
    "stage",
    "trigger",
    "waiting",
];

#[test]
fn init_writes_only_into_the_state_directory_and_adds_one_remote() {
    let scene = Scene::new();
    let (before, config) = (scene.repository_files(), scene.repo().join(".git/config"));
    scene.run(&["init", "--yes"]).ok();
    let after = scene.repository_files();
    let changed: Vec<_> = after.iter().filter(|file| !before.contains(file)).map(|(path, _)| path.clone()).collect();
    assert_eq!(changed, [config], "nothing but git's own list of remotes");
    assert_eq!(before.len(), after.len());
    assert_eq!(scene.git(&["remote"]), "selvedge");
    assert_eq!(scene.git(&["status", "--porcelain"]), "");
    assert!(scene.config().is_file() && scene.state().join("policies/guardrails.cedar").is_file());
    assert_eq!(scene.landed("main"), scene.git(&["rev-parse", "HEAD"]), "the bare clone holds the branch");
}

#[test]
fn nothing_that_runs_later_writes_into_the_repository() {
    let scene = Scene::ready();
    let before = scene.repository_files();
    assert_eq!(scene.task("echo more >> src/greeting")["outcome"], "proposed");
    scene.run(&["merge", "1"]).ok();
    scene.run(&["run", "--command", "--wait", "--", "sh", "-c", "echo x > src/greeting; echo y > new"]).ok();
    assert_eq!(before, scene.repository_files());
}

#[test]
fn init_without_a_yes_and_without_a_person_writes_nothing() {
    let scene = Scene::new();
    scene.run(&["init"]).refused(100, &["nobody is there to agree", "--yes"]);
    assert!(!scene.state().exists());
    assert_eq!(scene.git(&["remote"]), "");
}

#[test]
fn init_twice_is_refused_and_leaves_what_is_there() {
    let scene = Scene::ready();
    let before = std::fs::read(scene.config()).unwrap();
    scene.run(&["init", "--yes"]).refused(101, &["is set up already", "selvedge.toml"]);
    assert_eq!(std::fs::read(scene.config()).unwrap(), before);
}

#[test]
fn the_demonstration_leaves_the_factory_of_the_environment_alone() {
    let scene = Scene::ready();
    let before = std::fs::read(scene.config()).unwrap();
    // A place where nothing can be made shows where the demonstration would have been, and takes no time.
    let said = Said::of(&scene.command(&["demo"]).env("TMPDIR", "/proc/nowhere").output().unwrap());
    said.refused(104, &["cannot make `/proc/nowhere/selvedge-demo-", "--state DIR"]);
    let state = scene.state();
    scene.run(&["demo", "--state", state.to_str().unwrap()]).refused(104, &["exists", "--state DIR"]);
    assert_eq!(std::fs::read(scene.config()).unwrap(), before);
}

#[test]
fn a_dry_run_says_what_would_be_found_and_asked_and_writes_nothing() {
    let scene = Scene::new();
    scene.commit("Cargo.toml", "[package]\nname = \"repo\"\nversion = \"1.0.0\"\n");
    let registry = "registry+https://github.com/rust-lang/crates.io-index";
    let package =
        format!("version = 4\n\n[[package]]\nname = \"time\"\nversion = \"0.1.42\"\nsource = \"{registry}\"\n");
    scene.commit("Cargo.lock", &package);
    let before = scene.repository_files();
    let document = scene.json(&["demo", "--on", "."]);
    let expected = ["advisories", "agents", "branch", "notes", "packages", "path", "repo", "would_ask", "would_find"];
    assert_eq!(fields(&document), expected);
    assert_eq!(fields(&document["would_find"][0]), ["advisory", "package", "version"], "{document}");
    assert_eq!(document["agents"].as_array().unwrap().len(), 2, "{document}");
    for agent in document["agents"].as_array().unwrap() {
        assert_eq!(fields(agent), ["agent", "may", "reach", "trust"]);
    }
    let said = scene.run(&["demo", "--on", "."]).ok();
    assert!(said.out.contains("the demonstration's own snapshot of"), "{said:?}");
    assert!(!said.out.contains(env!("CARGO_MANIFEST_DIR")), "where it was built is nobody's business: {said:?}");
    assert!(!scene.state().exists());
    assert_eq!(scene.repository_files(), before);
}

#[test]
fn the_state_directory_is_named_by_option_or_by_variable() {
    let scene = Scene::ready();
    let (state, empty) = (scene.state(), scene.path("nothing"));
    std::fs::create_dir(&empty).unwrap();
    for arguments in [vec!["ps"], vec!["proposals"], vec!["approvals"], vec!["audit", "verify"], vec!["can", "writer"]]
    {
        let with = |option: &std::path::Path, variable: &std::path::Path, after: bool| {
            let option = ["--state", option.to_str().unwrap()];
            let words: Vec<&str> = if after {
                arguments.iter().copied().chain(option).collect()
            } else {
                option.into_iter().chain(arguments.iter().copied()).collect()
            };
            Said::of(&scene.command(&words).env("SELVEDGE_STATE", variable).output().unwrap())
        };
        with(&state, &empty, false).ok();
        with(&state, &empty, true).ok();
        with(&empty, &state, false).refused(104, &["holds no factory", "selvedge init"]);
        assert_eq!(scene.run(&arguments).status, 0, "{arguments:?} by variable");
    }
}

#[test]
fn an_ad_hoc_program_keeps_its_output_its_streams_and_its_status() {
    let scene = Scene::ready();
    for status in [0, 1, 7, 99, 255] {
        let program = format!("echo to-out; echo to-err >&2; exit {status}");
        let said = scene.run(&["run", "--command", "--wait", "--", "sh", "-c", &program]);
        assert_eq!((said.status, said.out.as_str()), (status, "to-out\n"), "{said:?}");
        assert!(said.err.starts_with("to-err\n"), "{said:?}");
    }
    assert_eq!(scene.json(&["proposals"])["proposals"].as_array().unwrap().len(), 0, "ad-hoc work never proposes");
}

#[test]
fn an_ad_hoc_program_sees_the_committed_tree_has_no_input_and_changes_nothing() {
    let scene = Scene::ready();
    std::fs::write(scene.repo().join("uncommitted"), "x").unwrap();
    let program = "cat src/greeting; ls; cat; echo changed > src/greeting; rm -rf tests";
    let mut command = scene.command(&["run", "--command", "--wait", "--", "sh", "-c", program]);
    let output = command.stdin(std::fs::File::open("/dev/zero").unwrap()).output().unwrap();
    let said = Said::of(&output).ok();
    assert_eq!(said.out, "hello\nsrc\ntests\n", "what is committed, and no byte of our input");
    assert_eq!(scene.landed("main"), scene.git(&["rev-parse", "HEAD"]));
    let again = scene.run(&["run", "--command", "--wait", "--", "cat", "src/greeting"]).ok();
    assert_eq!(again.out, "hello\n");
}

#[test]
fn bytes_of_a_program_are_passed_on_as_they_are() {
    let scene = Scene::ready();
    let mut command = scene.command(&["run", "--command", "--wait", "--", "printf", r"\000\377\033[2J\n"]);
    assert_eq!(command.output().unwrap().stdout, b"\0\xff\x1b[2J\n");
}

#[test]
fn a_program_that_does_not_exist_is_the_factory_s_own_error() {
    let scene = Scene::ready();
    let said = scene.run(&["run", "--command", "--wait", "--", "no-such-program"]);
    assert_eq!(said.status, 112, "{said:?}");
    assert_eq!(said.out, "");
    assert!(said.err.contains("no-such-program") || said.err.contains("did not run"), "{said:?}");
}

#[test]
fn usage_errors_have_the_factory_s_status() {
    let scene = Scene::ready();
    for wrong in [&["no-such-command"][..], &["ps", "--no-such-option"], &["run", "--wait"], &["halt", "planet", "x"]] {
        assert_eq!(scene.run(wrong).status, 100, "{wrong:?}");
    }
    assert_eq!(scene.run(&["--help"]).status, 0);
    assert_eq!(scene.run(&["--version"]).status, 0);
    scene.run(&["show", "r-0000000000000"]).refused(107, &["no run"]);
    scene.run(&["run", "--agent", "nobody", "x"]).refused(107, &["no agent `nobody`", "writer"]);
    scene.run(&["merge", "7"]).refused(107, &["no proposal"]);
}

#[test]
fn every_exit_status_of_the_factory_is_documented_and_between_100_and_119() {
    let scene = Scene::new();
    let listed = scene.json(&["exit-codes"]);
    let listed: Vec<(u64, &str)> = listed["exit_codes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["status"].as_u64().unwrap(), text(one, "code")))
        .collect();
    assert!(listed.iter().all(|(status, _)| (100..120).contains(status)), "{listed:?}");
    for expected in [
        (100, "usage"),
        (101, "config"),
        (102, "refused"),
        (103, "waiting"),
        (104, "state"),
        (105, "ledger"),
        (106, "sandbox"),
        (107, "not_found"),
        (108, "git"),
        (109, "advisories"),
        (110, "policy"),
        (111, "held"),
        (112, "failed"),
        (113, "halted"),
        (116, "unanswered"),
        (119, "internal"),
    ] {
        assert!(listed.contains(&expected), "{expected:?}");
    }
}

#[test]
fn every_document_has_the_fields_scripts_rely_on() {
    let scene = Scene::ready();
    let said = scene.run(&["run", "--agent", "writer", "--wait", "--json", "echo more >> src/greeting"]).ok();
    let result = said.document();
    assert_eq!(fields(&result), ["program_status", "runs", "trigger"]);
    let run = text(&result["runs"][0], "run").to_owned();

    // A person is shown what is settled only when they ask for it; a script gets all of it.
    assert!(!scene.run(&["ps"]).ok().out.contains(&run));
    assert!(scene.run(&["ps", "--all"]).ok().out.contains(&run));
    let ps = scene.json(&["ps"]);
    assert_eq!(
        fields(&ps),
        ["conduct", "configuration", "halts", "queued", "restart", "runs", "settled_halts", "unvouched"]
    );
    assert_eq!(fields(&ps["runs"][0]), RUN_FIELDS);
    assert_eq!(ps["runs"][0], result["runs"][0], "`run` and `ps` say the same");

    let show = scene.json(&["show", &run]);
    assert_eq!(fields(&show), [RUN_FIELDS, &["entries", "owner", "spent"]].concat().tap_sorted());
    for entry in show["entries"].as_array().unwrap() {
        assert_eq!(fields(entry), ["actor", "at", "detail", "kind", "owner", "run", "seq", "summary"]);
    }

    let proposal = scene.json(&["proposals"])["proposals"][0].clone();
    let expected = ["body", "branch", "commit", "number", "opened_at", "repo", "run", "state", "target", "title"];
    assert_eq!(fields(&proposal), expected);
    assert_eq!((text(&proposal, "state"), proposal["number"].as_u64()), ("open", Some(1)));
    assert_eq!(scene.landed(text(&proposal, "branch")), text(&proposal, "commit"), "its branch is in the bare clone");

    assert_eq!(fields(&scene.json(&["audit", "verify"])), ["checkpoint", "entries", "head", "signed"]);
    assert_eq!(fields(&scene.json(&["approvals"])), ["approvals"]);
    assert_eq!(fields(&scene.json(&["policy", "check"])), ["digest", "missing_defaults", "policies", "warnings"]);
    let card = [
        "agent",
        "budget",
        "can_do",
        "can_reach",
        "dies_at_the_end",
        "escalate",
        "model",
        "owner",
        "purpose",
        "trust",
        "unit",
    ];
    assert_eq!(fields(&scene.json(&["can", "writer"])), card);
}

#[test]
fn an_error_as_json_is_one_document_too() {
    let scene = Scene::ready();
    let said = scene.run(&["show", "r-0000000000000", "--json"]);
    assert_eq!((said.status, said.err.as_str()), (107, ""), "{said:?}");
    let error = said.document();
    assert_eq!(fields(&error["error"]), ["code", "hints", "message"]);
    assert_eq!(error["error"]["code"], "not_found");
    for wrong in [&["ps", "--json", "--no-such-option"][..], &["--json", "no-such-command"], &["--json"]] {
        let said = scene.run(wrong);
        assert_eq!((said.status, said.err.as_str()), (100, ""), "{said:?}");
        let error = said.document();
        assert_eq!(fields(&error["error"]), ["code", "hints", "message"]);
        assert_eq!(error["error"]["code"], "usage");
        assert!(!text(&error["error"], "message").contains('\n'), "{error}");
    }
    assert!(scene.run(&["ps", "--no-such-option"]).err.starts_with("error: "));
}

#[test]
fn what_has_no_result_is_an_object_all_the_same() {
    let scene = Scene::ready();
    scene.run(&["halt", "agent", "writer"]).ok();
    let resumed = scene.json(&["resume", "agent", "writer"]);
    assert_eq!(resumed, serde_json::json!({ "resumed": "agent writer", "still_halted": [] }));
}

#[test]
fn the_output_of_a_program_is_told_from_the_document_about_it() {
    let scene = Scene::ready();
    let program = ["run", "--command", "--wait", "--json", "--", "sh", "-c", "echo one; echo two >&2; exit 3"];
    let said = scene.run(&program);
    assert_eq!(said.status, 3, "{said:?}");
    let document = said.document();
    assert_eq!(fields(&document), ["program_status", "program_stderr", "program_stdout", "runs", "trigger"]);
    assert_eq!((text(&document, "program_stdout"), text(&document, "program_stderr")), ("one\n", "two\n"));
    assert_eq!(document["program_status"], 3);
}

#[test]
fn a_run_is_reconstructed_with_its_actors_and_owners() {
    let scene = Scene::ready();
    let run = text(&scene.task("echo more >> src/greeting"), "run").to_owned();
    let show = scene.json(&["show", &run]);
    let entries = show["entries"].as_array().unwrap();
    let kinds: Vec<&str> = entries.iter().map(|entry| text(entry, "kind")).collect();
    assert_eq!(kinds[..2], ["triggered", "run_began"], "it begins with what asked for it");
    let uid = rustix::process::getuid().as_raw();
    assert_eq!(
        text(&entries[0], "actor"),
        format!("person:uid-{uid}"),
        "the uid on the socket, not a name anyone gave"
    );
    let acts: Vec<_> = entries.iter().filter(|entry| entry["kind"] == "decided").collect();
    for verb in ["task.admit", "credential.mint", "sandbox.start", "proposal.open"] {
        assert!(acts.iter().any(|act| act["detail"]["verb"] == verb), "no decision on {verb}");
    }
    for act in acts.iter().filter(|act| text(act, "actor").starts_with("spiffe://")) {
        assert_eq!(act["owner"], "team@example.org", "every act of an agent names who answers for it: {act}");
    }
    assert!(acts.iter().any(|act| text(act, "actor").contains(&run)), "the agent acts under an identity of this run");
    for act in acts.iter().filter(|act| act["detail"]["verdict"] == "allow") {
        let digest = &act["detail"]["order_digest"];
        let after = entries.iter().filter(|entry| entry["seq"].as_u64() > act["seq"].as_u64());
        let done = after.filter(|entry| entry["kind"] == "done" || entry["kind"] == "not_done");
        assert!(done.into_iter().any(|entry| entry["detail"]["order_digest"] == *digest), "what came of {act}");
    }
}

#[test]
fn the_exported_log_is_whole_and_verifies_against_a_checkpoint_somebody_kept() {
    let scene = Scene::ready();
    scene.task("echo more >> src/greeting");
    let verified = scene.json(&["audit", "verify"]);
    let checkpoint = scene.path("checkpoint");
    std::fs::write(&checkpoint, text(&verified, "checkpoint")).unwrap();
    let export = scene.run(&["audit", "export", "--json"]).ok();
    let lines: Vec<serde_json::Value> = export.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["selvedge_export"], 1);
    let seqs: Vec<u64> = lines.iter().filter_map(|line| line["seq"].as_u64()).collect();
    // Asking is itself recorded: a keeper that starts for one command says so in the log.
    let entries = verified["entries"].as_u64().unwrap();
    assert!(seqs.len() as u64 >= entries && seqs.iter().copied().eq(0..seqs.len() as u64), "{seqs:?}");
    let against = ["audit", "verify", "--against", checkpoint.to_str().unwrap()];
    scene.task("echo even more >> src/greeting");
    scene.run(&against).ok();

    let other = Scene::ready();
    other.task("true");
    let foreign = scene.path("foreign");
    std::fs::write(&foreign, text(&other.json(&["audit", "verify"]), "checkpoint")).unwrap();
    scene.run(&["audit", "verify", "--against", foreign.to_str().unwrap()]).refused(105, &[]);
    scene.run(&["audit", "verify", "--against", "/nonexistent"]).refused(107, &["cannot read checkpoint"]);
}

#[test]
fn a_file_that_holds_no_checkpoint_is_a_slip_of_the_hand_and_no_alarm() {
    let scene = Scene::ready();
    let export = scene.run(&["audit", "export"]).ok().out;
    let anchor = std::fs::read_dir(scene.path("anchor")).unwrap().next().unwrap().unwrap().path();
    let (file, anchor) = (scene.path("kept"), std::fs::read_to_string(anchor).unwrap());
    let document = scene.run(&["audit", "verify", "--json"]).ok().out;
    for text in [&export, &anchor, &document, "junk\n", ""] {
        std::fs::write(&file, text).unwrap();
        let said = scene.run(&["audit", "verify", "--against", file.to_str().unwrap()]);
        said.refused(100, &["holds no checkpoint", "audit verify --json"]);
        assert!(!said.err.contains("keep a copy"), "{said:?}");
    }
}

#[test]
fn a_decision_is_explained_by_its_policies() {
    let scene = Scene::ready();
    let run = text(&scene.task("echo more >> src/greeting"), "run").to_owned();
    let show = scene.json(&["show", &run]);
    let decided = show["entries"].as_array().unwrap().iter().find(|entry| entry["detail"]["verb"] == "proposal.open");
    let explained = scene.json(&["policy", "explain", &decided.unwrap()["seq"].to_string()]);
    assert_eq!(explained["verdict"], "allow");
    assert_eq!(explained["policies"][0]["id"], "factory.propose");
    scene.run(&["policy", "explain", "0"]).refused(107, &["is not a decision"]);
}

#[test]
fn doctor_lists_every_layer_and_what_is_missing_has_a_remedy() {
    let scene = Scene::new();
    let said = scene.run(&["doctor", "--json"]);
    let report: serde_json::Value = serde_json::from_str(said.out.lines().next().unwrap()).unwrap();
    assert_eq!(fields(&report), ["configuration", "git", "layers", "level"]);
    for layer in report["layers"].as_array().unwrap() {
        assert_eq!(fields(layer), ["holds", "layer", "missing", "remedy", "seen"]);
        assert_eq!(layer["holds"].as_bool(), Some(layer["remedy"].is_null()), "{layer}");
    }
    let holds = report["layers"].as_array().unwrap().iter().all(|layer| layer["holds"] == true);
    assert_eq!(said.status, if holds { 0 } else { 106 });
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let scene = Scene::ready();
    let left = |arguments: &[&str]| {
        let mut command = scene.command(arguments);
        let mut child =
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ended = Said::of(&child.wait_with_output().unwrap());
        assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{arguments:?}");
    };
    left(&["audit", "export"]);
    left(&["completions", "bash"]);
    let _keeper = scene.serve();
    left(&["audit", "export"]);
}

/// Sorting where an expression is wanted.
trait Sorted {
    fn tap_sorted(self) -> Self;
}

impl Sorted for Vec<&str> {
    fn tap_sorted(mut self) -> Self {
        self.sort_unstable();
        self
    }
}

#[test]
fn what_policies_name_that_is_not_configured_and_guards_without_a_next_step_are_warned_of_d2() {
    let scene = Scene::ready();
    let guard = |name: &str| {
        format!(
            "@id(\"ours.a\") @owner(\"team@example.org\")\nforbid (principal == Agent::\"{name}\", action, resource in Repository::\"repo\");\n"
        )
    };
    let path = scene.state().join("policies/ours.cedar");
    std::fs::write(&path, guard("writr")).unwrap();
    let said = scene.run(&["policy", "check"]).ok().out;
    assert!(
        said.contains("ours.cedar:1:1: `ours.a` names Agent::\"writr\", which is not configured; known are: "),
        "{said}"
    );
    assert!(said.contains("`ours.a` forbids and has no `@next_step`"), "{said}");
    assert_eq!(scene.json(&["policy", "check"])["warnings"].as_array().unwrap().len(), 2);
    std::fs::write(&path, format!("@next_step(\"ask the team\") {}", guard("writer"))).unwrap();
    assert_eq!(scene.json(&["policy", "check"])["warnings"], serde_json::json!([]));
    std::fs::write(scene.config(), "broken").unwrap();
    let said = scene.run(&["policy", "check"]).ok().out;
    assert!(said.contains("`selvedge.toml` does not load, so whether"), "{said}");
}

#[test]
fn a_default_guard_that_is_missing_is_named_with_what_brings_it_back() {
    let scene = Scene::ready();
    let path = scene.state().join("policies/guardrails.cedar");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, guard) = text.split_once("@id(\"guard.no-own-merge\")").unwrap();
    let (_, after) = guard.split_once(';').unwrap();
    std::fs::write(&path, [before, after].concat()).unwrap();
    let said = scene.run(&["policy", "check"]).ok().out;
    assert!(said.contains("the default guard `guard.no-own-merge` is missing"), "{said}");
    assert!(said.contains("selvedge policy check --missing >> ") && said.contains("guardrails.cedar"), "{said}");
    assert_eq!(scene.json(&["policy", "check"])["missing_defaults"], serde_json::json!(["guard.no-own-merge"]));
    let missing = scene.run(&["policy", "check", "--missing"]).ok().out;
    let less = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, less + &missing).unwrap();
    let said = scene.run(&["policy", "check"]).ok().out;
    assert!(!said.contains("missing"), "{said}");
}
