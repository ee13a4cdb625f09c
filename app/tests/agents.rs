//! Coding agents, from the registry to a proposal. Two packages stand in for Codex's, small and hostile, in a registry of the test's own;
//! the real ones are installed where a test is asked for by name.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use common::asking::first;
use common::models::{ask, cost};
use common::service::answered;
use common::{Scene, agent};
use selvedge_scripted::{Fault, Script, Server, Times, Turn};
use serde_json::{Value, json};

/// A host nobody else has (RFC 6761).
const HOST: &str = "npm.selvedge.test";
const VERSION: &str = "0.169.0";

/// What npm and vendors call this processor.
fn processor() -> (&'static str, &'static str) {
    match std::env::consts::ARCH {
        "aarch64" => ("linux-arm64", "aarch64-unknown-linux-musl"),
        _ => ("linux-x64", "x86_64-unknown-linux-musl"),
    }
}

/// The program in the package: it says its version, rehearses, and otherwise does what its task says.
const PROGRAM: &str = "#!/bin/sh\n[ \"$1\" = --version ] && echo codex-cli 0.169.0 && exit 0\nfor task; do :; done\n\
                       case \"$task\" in \"This is a rehearsal.\"*) exec python3 /opt/agents/codex/node_modules/@openai/codex/bin/rehearse.py well ;; esac\n\
                       eval \"$task\"\n";

/// What it does in a rehearsal.
const REHEARSES: &str = include_str!("rehearsal/agent.py");

/// A registry with the two packages that make Codex, as a registry shows them.
struct Registry {
    port: u16,
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

impl Registry {
    fn start() -> Self {
        let files = Arc::<Mutex<BTreeMap<String, Vec<u8>>>>::default();
        let kept = Arc::clone(&files);
        let port = answered(move |asked| {
            let path = asked.target().replace("%40", "@").replace("%2F", "/").replace("%2f", "/");
            let found = kept.lock().unwrap().get(&path).cloned();
            Some(found.map_or((404, b"{}".to_vec()), |body| (200, body)))
        });
        let registry = Self { port, files };
        registry.publish(PROGRAM);
        registry
    }

    /// Publishes the packages; each would leave a mark if one of its scripts ran anywhere.
    fn publish(&self, program: &str) {
        let (platform, target) = processor();
        let of_platform = format!("{VERSION}-{platform}");
        let scripts = json!({ "preinstall": "touch MARK", "install": "touch MARK", "postinstall": "touch MARK", "prepare": "touch MARK" });
        let alias = json!({ format!("@openai/codex-{platform}"): format!("npm:@openai/codex@{of_platform}") });
        let main = json!({ "name": "@openai/codex", "version": VERSION, "scripts": scripts, "optionalDependencies": alias, "bin": { "codex": "bin/codex.js" } });
        let native = json!({ "name": "@openai/codex", "version": of_platform, "scripts": scripts });
        let mut files = self.files.lock().unwrap();
        files.insert(
            "/main.tgz".to_owned(),
            packed(&main, &[("bin/codex.js", "process.exit(1)\n"), ("bin/rehearse.py", REHEARSES)]),
        );
        files.insert("/native.tgz".to_owned(), packed(&native, &[(&format!("vendor/{target}/bin/codex"), program)]));
        let listed = |mut manifest: Value, file: &str| {
            manifest["dist"] = json!({ "tarball": format!("https://{HOST}/{file}") });
            manifest["hasInstallScript"] = json!(true);
            manifest
        };
        let packument = json!({
            "name": "@openai/codex", "dist-tags": { "latest": VERSION },
            "versions": { VERSION: listed(main, "main.tgz"), of_platform: listed(native, "native.tgz") },
        });
        files.insert("/@openai/codex".to_owned(), packument.to_string().into_bytes());
    }
}

/// A tarball as npm publishes it.
fn packed(manifest: &Value, files: &[(&str, &str)]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let package = dir.path().join("package");
    for (name, content) in files.iter().copied().chain([("package.json", manifest.to_string().as_str())]) {
        let path = package.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut tar = Command::new("tar");
    let output = tar.args(["-czf", "-", "-C"]).arg(dir.path()).arg("package").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// A factory with an agent `coder` that is Codex.
fn scene(registry: &Registry) -> Scene {
    let scene = Scene::ready();
    let coder = agent("coder", "propose")
        .replace("runtime = \"command\"", "runtime = \"codex\"\nmodel = \"main\"\nbudget = \"10\"");
    let coder: Vec<&str> = coder.lines().filter(|line| !line.starts_with("command")).collect();
    scene.configure(
        "checks = [\"sh tests/run.sh\"]",
        &format!(
            "{}\n[registry.npm]\nhosts = [\"{HOST}\"]\nreplace_with = \"https://{HOST}/\"\n\
             [model.main]\nupstream = \"https://models.example\"\nprotocols = [\"openai-responses\"]\n\
             price = [{{ of = \"some-model\", input = 1.0, output = 2.0 }}]\n\
             [danger.addresses.\"{HOST}\"]\nallow = [\"127.0.0.1\"]\nplain_port = {}\n",
            coder.join("\n"),
            registry.port
        ),
    );
    scene
}

/// Installs Codex, or shows what npm wrote.
fn install(scene: &Scene) -> common::Said {
    let said = scene.run(&["agents", "install", "codex"]);
    if said.status != 0 {
        let run = said.out.split("`selvedge output ").nth(1).and_then(|rest| rest.split('`').next()).unwrap_or("");
        panic!("{said:?}\n{:?}", scene.run(&["output", run]));
    }
    said
}

fn standing(scene: &Scene) -> Value {
    let listed = scene.run(&["agents", "--json"]).document();
    listed["runtimes"].as_array().unwrap().iter().find(|runtime| runtime["name"] == "codex").unwrap().clone()
}

fn work(scene: &Scene, task: &str) -> Value {
    scene.run(&["run", "--agent", "coder", "--wait", "--json", task]).document()["runs"][0].clone()
}

fn marks(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let count = |entry: std::fs::DirEntry| match entry.file_type().unwrap().is_dir() {
        true => marks(&entry.path()),
        false => usize::from(entry.file_name() == "MARK"),
    };
    entries.map(count).sum()
}

const SAYS_DONE: &str = "echo '{\"type\":\"item.completed\",\"item\":{\"type\":\"agent_message\",\"text\":\"done\"}}'; echo '{\"type\":\"turn.completed\"}'";

#[test]
fn an_agent_is_installed_in_a_sandbox_without_its_scripts_and_then_works_a5_b3_e5_a111() {
    let registry = Registry::start();
    let scene = scene(&registry);
    let said = scene.run(&["agents"]).ok();
    assert!(said.out.contains("next: `selvedge agents install NAME`"), "{}", said.out);
    let early = scene.run(&["run", "--agent", "coder", "do it"]);
    early.refused(107, &["`coder` is codex, which is not installed", "selvedge agents install codex"]);
    let said = install(&scene);
    assert!(said.out.contains("codex 0.169.0 is installed and started"), "{}", said.out);
    let tree = scene.state().join("agents/codex").join(VERSION);
    let (platform, target) = processor();
    let program = tree.join(format!("node_modules/@openai/codex-{platform}/vendor/{target}/bin/codex"));
    assert_eq!(std::fs::read_to_string(&program).unwrap(), PROGRAM);
    // Each package has four scripts that would have left one, in the sandbox or on the host.
    assert_eq!(marks(scene.state().as_path()) + marks(&scene.path("home")), 0);
    let standing_now = standing(&scene);
    assert_eq!(standing_now["is_installed"], true, "{standing_now}");
    assert!(said.out.contains(standing_now["digest"].as_str().unwrap()), "{}", said.out);

    let run = work(&scene, &format!("echo more > src/new; {SAYS_DONE}"));
    assert_eq!(run["outcome"], "proposed", "{run}");
    assert!(scene.run(&["diff", run["run"].as_str().or(run["id"].as_str()).unwrap()]).ok().out.contains("src/new"));

    // An exit status of 0 is not success, and neither is being told of it.
    for (task, because) in [
        ("echo more > src/new", "nothing in the output is an event"),
        ("echo '{\"type\":\"turn.started\"}'", "output ends before its work does"),
        ("echo '{\"type\":\"turn.completed\"}'", "neither used a tool nor said a word"),
        ("echo '{\"type\":\"turn.failed\",\"error\":{\"message\":\"no model\"}}'", "says it failed: no model"),
        (&format!("{SAYS_DONE}; exit 3"), "exit status 3"),
    ] {
        let run = work(&scene, task);
        assert_eq!(run["outcome"], "failed", "{run}");
        assert!(run["because"].as_str().unwrap().contains(because), "{run}");
    }
    // What ended one that did not end by itself is said.
    let patient = std::fs::read_to_string(scene.config()).unwrap();
    let impatient = patient.replace("model = \"main\"", "model = \"main\"\nattempt_at_most = \"3s\"");
    std::fs::write(scene.config(), impatient).unwrap();
    assert_eq!(work(&scene, "sleep 600")["because"], "the agent was ended before it was done: the wall limit");
    std::fs::write(scene.config(), patient).unwrap();
    // It cannot change what it runs from, nor the settings it is given.
    let inside = format!(
        "if echo x >> /opt/agents/codex/node_modules/@openai/codex/package.json || echo x >> /etc/codex/requirements.toml; then exit 9; fi; {SAYS_DONE}"
    );
    assert_eq!(work(&scene, &inside)["outcome"], "nothing_to_do");
}

const NOT_ANSWERED: &str = "the agent says it is done, and what it asked its model last was not answered to the end";

/// Gemini CLI ends well where a stream of its model's breaks off. Whatever an agent says, the door knows how the last answer ended.
#[test]
fn an_agent_that_takes_a_broken_answer_for_its_end_is_not_believed_e3() {
    let registry = Registry::start();
    let scene = scene(&registry);
    install(&scene);
    let turn = || Turn::new().text("Half of a sentence that comes in several pieces.").costs(cost(9, 9));
    let breaks_off = turn().fails(Fault::Cut { after_events: 4 }, Times::First(1));
    let refuses = turn().fails(Fault::Status { status: 500, retry_after_seconds: None }, Times::First(1));
    for what in [breaks_off, refuses] {
        let config = std::fs::read_to_string(scene.config()).unwrap();
        let _server = answers_here(&scene, Script::open().turn(what));
        let (path, mut body) = first("openai-responses", true);
        body["model"] = json!("some-model");
        let task = format!("{}; echo more > src/new; {SAYS_DONE}", ask((path, &body)));
        let run = work(&scene, &task);
        assert_eq!((&run["outcome"], &run["because"]), (&"failed".into(), &NOT_ANSWERED.into()), "{run}");
        // The very same, answered to the end.
        assert_eq!(work(&scene, &task)["outcome"], "proposed");
        std::fs::write(scene.config(), config).unwrap();
    }
    // Nor is one that nothing was left to be answered for.
    let config = std::fs::read_to_string(scene.config()).unwrap();
    std::fs::write(scene.config(), config.replace("budget = \"10\"", "budget = \"0.000001\"")).unwrap();
    let (path, mut body) = first("openai-responses", true);
    body["model"] = json!("some-model");
    let run = work(&scene, &format!("{}; echo more > src/new; {SAYS_DONE}", ask((path, &body))));
    let because = format!("the budget is spent: {NOT_ANSWERED}");
    assert_eq!((&run["outcome"], &run["because"]), (&"failed".into(), &because.into()), "{run}");
}

/// Which call decides whether an agent heard its model to the end: the last that has it work, not one on the side, and whether or not the
/// door was done with it.
#[test]
fn no_call_on_the_side_hides_or_makes_a_broken_answer_and_no_denied_or_dropped_call_is_an_answer_e3() {
    let registry = Registry::start();
    let scene = scene(&registry);
    install(&scene);
    let text = std::fs::read_to_string(scene.config()).unwrap();
    let text = text.replace("[\"openai-responses\"]", "[\"openai-responses\", \"anthropic-messages\"]");
    std::fs::write(scene.config(), &text).unwrap();
    let (path, mut body) = first("anthropic-messages", true);
    body["model"] = json!("some-model");
    let [mut counted, mut title] = [body.clone(), body.clone()];
    title.as_object_mut().unwrap().remove("tools");
    for member in ["max_tokens", "stream"] {
        counted.as_object_mut().unwrap().remove(member);
    }
    let [asks, counts, titles] =
        [ask((&path, &body)), ask((format!("{path}/count_tokens"), &counted)), ask((&path, &title))];
    let turn = || Turn::new().text("Half of a sentence that comes in several pieces.").costs(cost(9, 9));
    let came_to = |calls: &[&str]| {
        let run = work(&scene, &format!("{}; echo more > src/new; {SAYS_DONE}", calls.join("; ")));
        let because = run["because"].as_str().unwrap_or_default().to_owned();
        (run["outcome"].as_str().unwrap().to_owned(), because, wrote(&scene, &run))
    };
    let is_believed = |calls: &[&str]| match came_to(calls) {
        (outcome, _, _) if outcome == "proposed" => true,
        (outcome, because, out) => {
            assert_eq!((outcome.as_str(), because.as_str()), ("failed", NOT_ANSWERED), "{out}");
            false
        }
    };
    let breaks_off = || turn().fails(Fault::Cut { after_events: 4 }, Times::First(1));
    // It waits no longer, long before the door gives the vendor up.
    let hangs = || turn().fails(Fault::Hang { after_events: 0 }, Times::First(1));
    let gives_up = asks.replace("-sSN", "-sSN -m 2");
    let mut believed = Vec::new();
    for (what, turn, calls) in [
        ("tokens are counted after an answer that broke off", breaks_off(), [&asks, &counts]),
        ("a title is asked for after it", breaks_off(), [&asks, &titles]),
        ("nobody answered in time", hangs(), [&titles, &gives_up]),
    ] {
        let _server = answers_here(&scene, Script::open().turn(turn));
        believed.extend(is_believed(&calls.map(String::as_str)).then_some(what));
        std::fs::write(scene.config(), &text).unwrap();
    }
    let _server = answers_here(&scene, Script::open().turn(turn()));
    scene.forbid("model.call", "context.order.tools > 0", "do without");
    believed.extend(is_believed(&[&titles, &asks]).then_some("it was denied"));
    assert_eq!(believed, [""; 0]);
    scene.forbid("model.call", "context.order.tools == 0", "ask for no title");
    let (outcome, because, out) = came_to(&[&asks, &titles]);
    assert!(outcome == "proposed" && out.contains("status 403"), "{because}: {out}");
}

/// A server in the vendor's place.
fn answers_here(scene: &Scene, script: Script) -> Server {
    let server = Server::start(script).unwrap();
    let config = std::fs::read_to_string(scene.config()).unwrap();
    let port = server.address().port();
    let address = format!("[danger.addresses.\"models.example\"]\nallow = [\"127.0.0.1\"]\nplain_port = {port}\n");
    std::fs::write(scene.config(), format!("{config}\n{address}")).unwrap();
    server
}

/// What a run wrote, by what it was written in.
fn wrote(scene: &Scene, run: &Value) -> String {
    scene.run(&["output", run["run"].as_str().unwrap()]).out
}

#[test]
fn a_task_is_handed_over_when_its_agent_has_shown_that_a_denied_call_does_not_happen_e5() {
    let registry = Registry::start();
    let scene = scene(&registry);
    install(&scene);
    let run = work(&scene, &format!("echo the task; echo more > src/new; {SAYS_DONE}"));
    assert_eq!(run["outcome"], "proposed", "{run}");
    let id = run["run"].as_str().unwrap();
    let entries = scene.json(&["show", id])["entries"].as_array().unwrap().clone();
    let place = |wanted: &str| entries.iter().position(|entry| entry["kind"] == wanted);
    let rehearsed = place("rehearsed").unwrap_or_else(|| panic!("{entries:#?}"));
    let detail = &entries[rehearsed]["detail"];
    assert_eq!(detail["agent"], "codex 0.169.0", "{detail}");
    assert!(detail["shown"].to_string().contains("a denied call did not happen"), "{detail}");
    let work_ended = entries.iter().position(|entry| entry["detail"]["purpose"] == "work").unwrap();
    assert!(rehearsed < work_ended, "{entries:#?}");
    // Nothing of it is the run's: no call of a model, no tool call, no file, no program.
    let verbs: Vec<&Value> = entries.iter().map(|entry| &entry["detail"]["verb"]).collect();
    assert!(!verbs.iter().any(|verb| **verb == "model.call" || **verb == "tool.call"), "{verbs:?}");
    assert!(!scene.run(&["diff", id]).ok().out.contains("selvedge-rehearsal"));
    let seen = entries.iter().find(|entry| entry["kind"] == "side_effects").unwrap().to_string();
    assert!(!seen.contains("selvedge-rehearsal"), "{seen}");
    assert!(scene.run(&["agents"]).ok().out.contains("before each task it rehearses"));
}

#[test]
fn an_agent_that_does_not_rehearse_as_it_should_is_not_given_its_task_e5() {
    let registry = Registry::start();
    for (how, because) in [
        ("does-it-all-the-same", "a call that was denied happened all the same"),
        ("does-nothing", "a call that was allowed did not happen"),
        ("forgets", "was not sent back"),
        ("says-it-is-done", "did not ask its model at the door"),
        ("asks-elsewhere", "did not ask its model at the door"),
        ("breaks-off", "did not go on to its end"),
    ] {
        registry.publish(&PROGRAM.replace("rehearse.py well", &format!("rehearse.py {how}")));
        let scene = scene(&registry);
        install(&scene);
        let run = work(&scene, &format!("echo the task was told; echo more > src/new; {SAYS_DONE}"));
        assert_eq!(run["outcome"], "failed", "{how}: {run}");
        let said = run["because"].as_str().unwrap();
        assert!(said.contains("mediation_not_proved") && said.contains(because), "{how}: {said}");
        assert!(said.contains("another `selvedge run` rehearses anew"), "{how}: {said}");
        assert!(!wrote(&scene, &run).contains("the task was told"), "{how}");
        let entries = scene.json(&["show", run["run"].as_str().unwrap()])["entries"].to_string();
        assert!(entries.contains("finding") && entries.contains(because), "{how}: {entries}");
        assert!(!entries.contains("work ended with"), "{how}: {entries}");
    }
}

/// Slow is not unmediated: what ran into a limit is tried again, and nobody is accused.
#[test]
fn a_rehearsal_that_is_not_done_in_time_is_a_lost_attempt_and_no_task_is_handed_over_e5() {
    let registry = Registry::start();
    registry.publish(&PROGRAM.replace("rehearse.py well", "rehearse.py hangs"));
    let scene = scene(&registry);
    install(&scene);
    let text = std::fs::read_to_string(scene.config()).unwrap();
    let text = text.replacen("runtime = \"codex\"", "runtime = \"codex\"\nattempt_at_most = \"2s\"", 1);
    std::fs::write(scene.config(), text).unwrap();
    let run = work(&scene, &format!("echo the task was told; echo more > src/new; {SAYS_DONE}"));
    assert_eq!(run["outcome"], "failed", "{run}");
    assert!(run["because"].as_str().unwrap().starts_with("3 attempts were lost"), "{run}");
    assert!(!wrote(&scene, &run).contains("the task was told"));
    let entries = scene.json(&["show", run["run"].as_str().unwrap()])["entries"].clone();
    let findings = entries.as_array().unwrap().iter().filter(|entry| entry["kind"] == "finding").map(Value::to_string);
    let (slow, others) = findings.partition::<Vec<_>, _>(|finding| {
        finding.contains("rehearsal_not_done") && finding.contains("too slow: not done within 2 seconds")
    });
    assert!(slow.len() == 3 && others.is_empty(), "{slow:?} {others:?}");
    let entries = entries.to_string();
    assert!(!entries.contains("work ended with"), "{entries}");
}

#[test]
fn a_version_with_another_digest_is_refused_and_so_is_a_tree_that_changed_a111() {
    let registry = Registry::start();
    let scene = scene(&registry);
    install(&scene);
    let first = standing(&scene)["digest"].clone();
    registry.publish(&format!("{PROGRAM}# something else\n"));
    let said = scene.run(&["agents", "install", "codex"]);
    assert!(said.status != 0 && said.out.contains("is not what it was"), "{said:?}");
    assert_eq!(standing(&scene)["digest"], first);
    assert_eq!(work(&scene, SAYS_DONE)["outcome"], "nothing_to_do", "the one that was tested is still there");

    let tree = scene.state().join("agents/codex").join(VERSION);
    std::fs::write(tree.join("node_modules/more"), "x").unwrap();
    let run = work(&scene, SAYS_DONE);
    assert!(run["because"].as_str().unwrap().contains("is not what was tested"), "{run}");
    registry.publish(PROGRAM);
    install(&scene);
    assert_eq!(work(&scene, SAYS_DONE)["outcome"], "nothing_to_do");
}

#[test]
fn a_program_that_does_not_start_or_is_another_version_is_not_installed() {
    let registry = Registry::start();
    let scene = scene(&registry);
    for (program, because) in [
        ("#!/bin/sh\nexit 3\n", "exit status 3"),
        ("#!/bin/sh\necho codex-cli 0.168.0\n", "does not say that it is version 0.169.0"),
        ("\u{7f}ELF", "does not start"),
    ] {
        registry.publish(program);
        let said = scene.run(&["agents", "install", "codex"]);
        assert!(said.status != 0 && said.out.contains(because), "{said:?}");
    }
    assert_eq!(standing(&scene)["is_installed"], false);
    assert!(scene.run(&["agents", "install", "nobody"]).err.contains("claude-code, codex, opencode"));
}

#[test]
fn without_a_registry_it_is_said_what_to_write_and_that_loads_a105() {
    let scene = Scene::ready();
    let said = scene.run(&["agents"]).ok();
    assert!(said.out.contains("next: add `[registry.npm]`"), "{}", said.out);
    std::fs::write(scene.path("home/.npmrc"), format!("registry=https://{HOST}/npm/\n")).unwrap();
    std::fs::write(scene.repo().join(".npmrc"), "registry=https://evil.selvedge.test/\n").unwrap();
    let refused = scene.run(&["agents", "install", "codex", "--json"]);
    let error: Value = serde_json::from_str(refused.err.lines().chain(refused.out.lines()).next().unwrap()).unwrap();
    let hint = error.to_string();
    assert!(hint.contains(HOST) && !hint.contains("evil"), "{hint}");
}

/// The real packages, from the registry that the npm of whoever runs this uses: some 400 MB each.
#[test]
#[ignore = "fetches 1.2 GB; run it by name before a pinned version changes"]
fn the_real_agents_are_installed_and_say_their_versions_a111() {
    let scene = Scene::ready();
    for name in ["codex", "claude-code", "opencode"] {
        common::coders::install(&scene, name);
    }
}
