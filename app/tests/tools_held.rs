//! Calls that wait for a person at the tool door, as those of a model wait at its own: held, decided once more with the yes, and never asked
//! about twice for one yes (C8, D3, D4, E3; ). What a server is at work on when a turn is held is not lost.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use common::models::{self, KEY, cost};
use common::{Scene, agent, eventually, is_root, text};
use selvedge_scripted::{Script, Server, Turn};
use serde_json::{Value, json};

const SERVER: &str = include_str!("tools/server.py");
const CLIENT: &str = include_str!("tools/client.py");

/// Of `search` as the server describes it at first.
const SEARCH: &str = "597b3e58841b3aceb195fee53073c1e05dcec51ed85993e6cb672ca8e0f2c21b";

/// One streamed answer of the scripted model, as it comes: what the agent is given of it.
const ASK_MODEL: &str = "curl -sSN -H 'content-type: application/json' -H 'anthropic-version: 2023-06-01' -d @turn.json \"$SELVEDGE_MODEL_URL/v1/messages\"; echo\n";

/// A factory whose agent `asker` has the tool `search` of the server `files`, a program that behaves like this, and the factory's own tools.
/// People are asked about such calls. `repo` is added to its repository's table, `more` to the agent's, `rest` to the end.
fn scene(behaviour: &str, when: &str, (repo, more, rest): (&str, &str, &str)) -> Scene {
    let scene = Scene::ready();
    let tool = scene.path("tool");
    std::fs::create_dir_all(tool.join("bin")).unwrap();
    std::fs::write(tool.join("server.py"), SERVER).unwrap();
    let words =
        ["/usr/bin/python3", "-u", "/opt/toolchain/0/server.py"].into_iter().chain(behaviour.split_whitespace());
    let words: Vec<String> = words.map(|word| format!("{word:?}")).collect();
    scene.configure(
        &format!("checks = [\"sh tests/run.sh\"]\n{repo}"),
        &format!(
            "{}mcp = [\"files\", \"factory\"]\n{more}\n[factory]\ntoolchains = [{tool:?}]\n\
             [mcp.files]\nowner = \"team-files@example.org\"\ncommand = [{}]\npatience = \"6s\"\n\
             [mcp.files.tools.search]\ndigest = \"{SEARCH}\"\nrisk = \"low\"\n{rest}",
            agent("asker", "draft"),
            words.join(", ")
        ),
    );
    scene.commit("client.py", CLIENT);
    scene.commit("calls.json", &json!([["ask_person", { "question": "Which one?" }]]).to_string());
    scene.ask_first(when);
    scene
}

/// The same with a model, which calls `mcp__files__search` with this query.
fn with_model(query: &str) -> (Scene, Server) {
    let call = Turn::new().call("mcp__files__search", json!({ "query": query }));
    let server = Server::start(Script::new(KEY).turn(call.costs(cost(9, 9)))).unwrap();
    let rest = models::tables("anthropic-messages", "scripted-1", server.address().port());
    let scene = scene(
        "",
        "context.order.server == \"files\" && context.order.values.contains(\"query=needle\")",
        ("", "model = \"main\"\nbudget = \"10\"", &rest),
    );
    let schema = json!({ "type": "object", "properties": {} });
    let turn = json!({
        "model": "scripted-1", "max_tokens": 1000, "stream": true, "messages": [{ "role": "user", "content": "search" }],
        "tools": [{ "name": "mcp__files__search", "input_schema": schema }],
    });
    scene.commit("turn.json", &turn.to_string());
    models::give_key(&scene);
    (scene, server)
}

/// Waits until the run is over, and gives what its programs printed, the server among them.
fn settled(scene: &Scene, run: &str) -> String {
    scene.settled(run);
    scene.printed(run)
}

/// Decisions on calls of `search`, a model's and the server's: kind, verdict, and whether on somebody's yes.
fn decided(scene: &Scene, run: &str) -> Vec<(String, String, Value)> {
    let calls = scene.decided(run, "tool.call").into_iter();
    let calls = calls.filter(|detail| text(&detail["facts"], "tool").ends_with("search"));
    let word = |detail: &Value| (text(&detail["facts"], "kind").to_owned(), text(detail, "verdict").to_owned());
    calls.map(|detail| (word(&detail).0, word(&detail).1, detail["approval"].clone())).collect()
}

fn verdicts(scene: &Scene, run: &str) -> Vec<String> {
    decided(scene, run).into_iter().map(|(_, verdict, _)| verdict).collect()
}

/// What the server was asked.
fn sent(out: &str) -> usize {
    out.lines().filter(|line| line.starts_with("asked call")).count()
}

const BROKERED: &str = "context.order.server == \"files\" && context.order.tool == \"search\"";

#[test]
fn a_call_that_needs_a_yes_waits_for_it_and_is_called_once_c8_d4_a72() {
    if !is_root() {
        return;
    }
    for (accepts, sign) in
        [("", "signs comment"), ("progress", "'progressToken': 't1'"), ("plain", "signs white space")]
    {
        let scene = scene("", BROKERED, ("", "", ""));
        let _keeper = scene.serve();
        let run =
            scene.begin(&format!("python3 client.py files list {accepts} search=first search=second search=second"));
        let request = scene.held(&run, None);
        assert_eq!(request["facts"]["values"], json!(["query=first"]), "{request}");
        // Whoever asked for the run does not approve it (D6).
        assert_ne!(scene.run(&["approve", text(&request, "approval")]).status, 0);
        assert!(scene.run(&["answer", text(&request, "approval"), "yes"]).err.contains("asks for a yes or a no"));
        // Longer than it takes to say once that there is more to come.
        std::thread::sleep(std::time::Duration::from_secs(6));
        assert_eq!(sent(&scene.printed(&run)), 0, "the server has nothing of it");
        scene.approve(&request).ok();
        let second = scene.held(&run, Some(&request));
        assert_eq!(second["facts"]["values"], json!(["query=second"]), "another call is another question: {second}");
        scene.run(&["deny", text(&second, "approval")]).ok();
        let out = settled(&scene, &run);
        assert!(out.contains("\"name\": \"search\""), "it is shown, as people can say yes to it: {out}");
        assert!(out.contains("search ok found first") && out.contains(sign), "{accepts}: {out}");
        assert!(out.contains("search failed denied (forbidden): a person said no"), "{out}");
        assert!(out.contains("this very call was refused in this attempt"), "and is not asked again: {out}");
        assert_eq!(sent(&out), 1, "{out}");
        assert_eq!(verdicts(&scene, &run), ["needs_approval", "allow", "needs_approval", "needs_approval"]);
        assert_ne!(scene.approve(&request).status, 0, "the yes is spent");
        scene.run(&["audit", "verify"]).ok();
    }
}

#[test]
fn silence_and_whatever_else_ends_it_leave_the_server_unasked_c8_d12_a75() {
    if !is_root() {
        return;
    }
    for what in ["silence", "halt", "policy", "kill"] {
        let repo = if what == "silence" { "hold_at_most = \"1s\"" } else { "" };
        let scene = scene("", BROKERED, (repo, "", ""));
        let keeper = scene.serve();
        let run = scene.begin("python3 client.py files search=first");
        let request = eventually("a person is asked", || {
            scene.entries(&run).into_iter().find(|entry| entry["kind"] == "approval_asked")
        });
        let request = json!({ "approval": request["detail"]["approval"] });
        let mut keeper = Some(keeper);
        match what {
            "halt" => drop(scene.run(&["halt", "run", &run]).ok()),
            "policy" => scene.touch_policies(),
            "kill" => {
                scene.held(&run, None);
                keeper.take().unwrap().kill();
                eventually("nothing of it lives", || common::processes_with("client.py").is_empty().then_some(()));
                keeper = Some(scene.serve());
                let next = scene.held(&run, Some(&request));
                assert_ne!(next["approval"], request["approval"], "the next attempt asks anew");
                scene.run(&["halt", "run", &run]).ok();
            }
            _ => {}
        }
        let out = settled(&scene, &run);
        assert_eq!((sent(&out), out.contains("search ok")), (0, false), "{what}: {out}");
        if what == "silence" {
            assert!(out.contains("search failed denied (needs_approval): nobody answered in time"), "{out}");
        }
        if what != "kill" {
            assert_ne!(scene.approve(&request).status, 0, "{what}: a later yes does nothing");
        }
        assert!(!decided(&scene, &run).iter().any(|(_, verdict, yes)| verdict == "allow" && yes.is_string()), "{what}");
        drop(keeper);
    }
}

#[test]
fn a_yes_to_what_a_model_wrote_covers_that_call_once_and_no_other_d3_a72_a76() {
    if !is_root() {
        return;
    }
    let (scene, _server) = with_model("needle");
    let _keeper = scene.serve();
    let run = scene.begin(&format!("{ASK_MODEL}python3 client.py files search=needle search=needle search=other\n"));
    let request = scene.held(&run, None);
    let facts = &request["facts"];
    for (name, value) in [
        ("server", json!("files")),
        ("tool", json!("mcp__files__search")),
        ("values", json!(["query=needle"])),
        ("described", json!(SEARCH)),
    ] {
        assert_eq!(facts[name], value, "people see what it comes to: {request}");
    }
    scene.approve(&request).ok();
    // The first is covered; the second, as like it as can be, is another call.
    let second = scene.held(&run, Some(&request));
    assert_eq!(second["facts"]["kind"], "brokered", "{second}");
    scene.run(&["deny", text(&second, "approval")]).ok();
    let out = settled(&scene, &run);
    assert!(
        out.contains("search ok found needle") && out.contains("search failed denied (forbidden): a person said no"),
        "{out}"
    );
    assert!(out.contains("search ok found other"), "which nobody is asked about: {out}");
    let yes = request["approval"].clone();
    let expected = [
        ("other", "needs_approval", Value::Null),
        ("other", "allow", yes.clone()),
        ("brokered", "allow", yes),
        ("brokered", "needs_approval", Value::Null),
        ("brokered", "allow", Value::Null),
    ];
    let expected = expected.map(|(kind, verdict, yes)| (kind.to_owned(), verdict.to_owned(), yes));
    assert_eq!(decided(&scene, &run), expected);
    scene.run(&["audit", "verify"]).ok();
}

#[test]
fn a_yes_to_what_a_model_wrote_is_not_spent_on_another_call_d3_a72() {
    if !is_root() {
        return;
    }
    let (scene, _server) = with_model("needle");
    // Any search of the server needs a yes, so that the agent's other words are asked about anew.
    let path = scene.state().join("policies/more.cedar");
    let policy = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        policy.replace(" && context.order.values.contains(\"query=needle\")", " && context.order.kind != \"list\""),
    )
    .unwrap();
    let _keeper = scene.serve();
    let run = scene.begin(&format!("{ASK_MODEL}python3 client.py files search=needles\n"));
    let request = scene.held(&run, None);
    scene.approve(&request).ok();
    let other = scene.held(&run, Some(&request));
    assert_eq!(other["facts"]["values"], json!(["query=needles"]), "{other}");
    assert_ne!(other["facts"]["arguments"], request["facts"]["arguments"]);
    scene.run(&["deny", text(&other, "approval")]).ok();
    let out = settled(&scene, &run);
    assert_eq!(sent(&out), 0, "{out}");

    // A no to what the model wrote is a no to the call itself.
    let (scene, _server) = with_model("needle");
    let _keeper = scene.serve();
    let run = scene.begin(&format!("{ASK_MODEL}python3 client.py files search=needle\n"));
    let request = scene.held(&run, None);
    scene.run(&["deny", text(&request, "approval")]).ok();
    let out = settled(&scene, &run);
    assert!(out.contains("this very call was refused in this attempt") && sent(&out) == 0, "{out}");
}

#[test]
fn a_server_at_work_when_a_turn_is_held_ends_first_and_is_believed_e5() {
    if !is_root() {
        return;
    }
    let scene = scene("slow", "context.order.tool == \"nothing\"", ("", "", ""));
    let _keeper = scene.serve();
    // The question comes while the server is at work; its patience would be over long before anybody answers.
    let run = scene.begin("python3 client.py files search=needle & sleep 1; python3 client.py factory calls; wait");
    let request = scene.held(&run, None);
    assert_eq!(request["verb"], "question.ask");
    std::thread::sleep(std::time::Duration::from_secs(8));
    scene.run(&["answer", text(&request, "approval"), "The first."]).ok();
    let out = settled(&scene, &run);
    assert!(out.contains("search ok found needle") && !out.contains("server_silent"), "{out}");
    assert!(out.contains("The first."), "{out}");
}
