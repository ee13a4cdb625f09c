//! Coding agents at work on one small task, each asked by a scripted model in its own protocol and with its own tools.

use selvedge_scripted::{Script, Server, Turn, Usage, WithoutTools};
use serde_json::{Value, json};

use super::models::{self, KEY, billed};
use super::runs::Tokens;
use super::{Scene, agent, coders, text};

/// What nobody allows here, in the shell.
pub(crate) const FORBIDDEN: &str = "cat /etc/shadow; touch src/was-here";

/// The task.
pub(crate) const TASK: &str = "make the greeting longer, and run the tests";

/// How an agent asks its model, and what it is told there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) runtime: &'static str,
    pub(crate) protocol: &'static str,
    /// What its model is called.
    pub(crate) model: &'static str,
    /// Its tool that runs a command, and what that is called with.
    pub(crate) shell: fn(&str) -> (&'static str, Value),
    /// What its model says: an edit, something forbidden and something else in one turn; then the tests; then that it is done.
    pub(crate) script: fn(&Kind) -> Script,
}

pub(crate) const CLAUDE_CODE: Kind = Kind {
    runtime: "claude-code",
    protocol: "anthropic-messages",
    model: "claude-sonnet-4-5",
    shell: |command| ("Bash", json!({ "command": command })),
    script: |kind| kind.steps("Write", json!({ "file_path": FAREWELL, "content": "hello, world\n" })),
};

/// One that Codex does not know, so that it declares its tools one by one.
pub(crate) const CODEX: Kind = Kind {
    runtime: "codex",
    protocol: "openai-responses",
    model: "scripted-1",
    shell: |command| ("exec_command", json!({ "cmd": command })),
    script: |kind| kind.steps("exec_command", json!({ "cmd": "ls tests" })),
};

/// It asks for a title on the side.
pub(crate) const OPENCODE: Kind = Kind {
    runtime: "opencode",
    protocol: "openai-chat",
    model: "scripted-1",
    shell: |command| ("bash", json!({ "command": command, "description": "work" })),
    script: |kind| kind.steps("write", json!({ "filePath": FAREWELL, "content": "hello, world\n" })),
};

/// It brings its own Node.js, as the next one does.
pub(crate) const GEMINI_CLI: Kind =
    Kind { runtime: "gemini-cli", protocol: "gemini", model: "gemini-2.5-pro", ..QWEN_CODE };

pub(crate) const QWEN_CODE: Kind = Kind {
    runtime: "qwen-code",
    shell: |command| {
        ("run_shell_command", json!({ "command": command, "description": "work", "is_background": false }))
    },
    script: |kind| kind.steps("write_file", json!({ "file_path": FAREWELL, "content": "hello, world\n" })),
    ..OPENCODE
};

/// It is run by the system's Python, as the next one is.
pub(crate) const MINI_SWE_AGENT: Kind = Kind {
    runtime: "mini-swe-agent",
    shell: |command| ("bash", json!({ "command": command })),
    script: |kind| {
        let mut script = kind.steps("bash", json!({ "command": "echo hello, world > src/farewell" }));
        // It is done when it says so in the shell, and only then.
        script.turns[2] = kind.runs(script.turns[2].clone(), SUBMIT);
        script
    },
    ..OPENCODE
};

/// How mini-swe-agent is done.
pub(crate) const SUBMIT: &str =
    "printf 'COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT\\nDone: the greeting is longer, and the test passes.\\n'";

/// What it does stands in the text of its model's answers: no tool is called, and what it is to run it does not.
pub(crate) const AIDER: Kind = Kind {
    runtime: "aider",
    script: |_| {
        let edit = "A longer greeting.\n\nsrc/greeting\n```\n<<<<<<< SEARCH\nhello\n=======\nhello, world\n>>>>>>> REPLACE\n```\n\n\
                    ```bash\ntouch src/was-here\n```\n";
        let mut script = Script::new(KEY).turn(Turn::new().text(edit).costs(cost(2_001, 103)));
        script.without_tools = WithoutTools::Turns;
        script
    },
    ..OPENCODE
};

/// A file beside the one that is to be changed.
const FAREWELL: &str = "/workspace/src/farewell";

pub(crate) fn cost(input: u64, output: u64) -> Usage {
    Usage { cached: 7, ..models::cost(input, output) }
}

/// Three turns, of which the later ones want to have been told of the denial and of the tests.
pub(crate) fn steps(first: Turn, tests: Turn) -> Script {
    let untold = || Turn::new().text("Nobody told me.").costs(cost(1, 1));
    Script::new(KEY)
        .turn(first.costs(cost(2_001, 103)))
        .turn(tests.costs(cost(2_507, 41)).told("denied", untold()))
        .turn(
            Turn::new()
                .text("Done: the greeting is longer, and the test passes.")
                .costs(cost(2_803, 29))
                .told("ok 1 - greets", untold()),
        )
}

/// An agent `coder` in a factory of its own, and its model.
pub(crate) struct Employed {
    pub(crate) scene: Scene,
    pub(crate) server: Server,
    pub(crate) task: &'static str,
    /// Whether it is behind an adapter, and not a program of the operator's.
    pub(crate) is_installed: bool,
}

impl Kind {
    /// A turn with a command for its shell after what it has.
    pub(crate) fn runs(&self, turn: Turn, command: &str) -> Turn {
        let (tool, arguments) = (self.shell)(command);
        turn.call(tool, arguments)
    }

    /// Its task, of which this call is a part.
    fn steps(&self, tool: &str, arguments: Value) -> Script {
        let first = Turn::new().text("A longer greeting.").call(tool, arguments);
        let first = self.runs(self.runs(first, FORBIDDEN), "echo hello, world > src/greeting");
        steps(first, self.runs(Turn::new().text("The tests."), "sh tests/run.sh"))
    }

    /// One that is asked what its script says, with more to spend than it can.
    pub(crate) fn employed(&self) -> Employed {
        self.told((self.script)(self))
    }

    /// One that is asked something else.
    pub(crate) fn told(&self, script: Script) -> Employed {
        let scene = coders::with_agent(self.runtime);
        let server = Server::start(script).unwrap();
        let employed = Employed { scene, server, task: TASK, is_installed: true };
        employed.may_spend(self, 10_000_000);
        models::give_key(&employed.scene);
        employed
    }
}

impl Employed {
    /// Makes `coder` such an agent, with `budget` millionths to spend; in its shell it is not to read what is not its own.
    pub(crate) fn may_spend(&self, kind: &Kind, budget: u64) {
        let table = agent("coder", "propose");
        let table: Vec<&str> = table.lines().filter(|line| !line.starts_with("command")).collect();
        let runtime = format!("runtime = \"{}\"\nmodel = \"main\"\nbudget = {}", kind.runtime, models::amount(budget));
        let model = models::tables(kind.protocol, kind.model, self.server.address().port());
        self.scene.configure(
            "checks = [\"sh tests/run.sh\"]",
            &format!("{}\n{model}", table.join("\n").replace("runtime = \"command\"", &runtime)),
        );
        self.scene.forbid(
            "tool.call",
            "context.order.command like \"*shadow*\"",
            "leave the machine's own files alone",
        );
    }

    /// Adds lines to the tables of the agent and of its model.
    pub(crate) fn with(&self, of_agent: &str, of_model: &str) {
        let text = std::fs::read_to_string(self.scene.config()).unwrap();
        let text = text.replacen("model = \"main\"\n", &format!("model = \"main\"\n{of_agent}\n"), 1);
        let text = text.replacen("[model.main]\n", &format!("[model.main]\n{of_model}\n"), 1);
        std::fs::write(self.scene.config(), text).unwrap();
    }

    /// The task, to where it goes.
    pub(crate) fn works(&self) -> (Value, Account) {
        let run = self.scene.work("coder", self.task);
        let account = Account::of(&self.scene, &run);
        (run, account)
    }

    /// What every agent has to come to that calls tools: all that its model cost is counted, to the token.
    pub(crate) fn completes(&self) -> Account {
        let account = self.proposes();
        self.was_told_of_the_denial(&account);
        assert_eq!(account.metered, (billed(&self.server), (0, 0)), "{account}");
        account
    }

    /// What every agent has to come to that does its task, whatever it is told on the way and whatever was settled.
    pub(crate) fn proposes(&self) -> Account {
        let (run, account) = self.works();
        // What is scripted to fail apart, the vendor has nothing against what it is sent.
        let unscripted = self.server.seen().into_iter().filter(|seen| ![429, 500].contains(&seen.status));
        let refused: Vec<_> = unscripted.filter_map(|seen| Some((seen.refused?, seen.body))).collect();
        assert!(refused.is_empty(), "{refused:?}\n{account}");
        assert_eq!(run["outcome"], "proposed", "{run}\n{account}");
        let diff = self.scene.run(&["diff", text(&run, "run")]).ok().out;
        assert!(diff.contains("+hello, world"), "{diff}");
        assert!(!diff.contains("was-here"), "what was forbidden did not happen: {diff}");
        // It rehearsed, once, unless it is a program of the operator's; and nothing of that is among what was decided, paid or left.
        let rehearsed = account.entries.iter().filter(|entry| entry["kind"] == "rehearsed").count();
        assert_eq!(rehearsed, usize::from(self.is_installed), "{account}");
        assert!(!diff.contains("selvedge-rehearsal"), "{account}");
        assert!(!account.wrote.contains(KEY) && !account.wrote.contains("/etc/shadow"), "{account}");
        let calls: u64 = self.server.totals().by_status.values().sum();
        assert_eq!(account.decided("model.call").len() as u64, calls, "{account}");
        account
    }

    /// Of the calls of one turn the forbidden one was denied, by its own name and no other, and its model was told why.
    pub(crate) fn was_told_of_the_denial(&self, account: &Account) {
        let told: Vec<String> = self.server.seen().into_iter().flat_map(|seen| seen.results).collect();
        assert!(told.iter().any(|result| result.contains("leave the machine's own files alone")), "{told:?}");
        let calls = account.decided("tool.call");
        let denied: Vec<_> = calls.into_iter().filter(|call| call["verdict"] == "deny").collect();
        assert_eq!(denied.len(), 1, "{account}");
        assert_eq!(denied[0]["policies"], json!(["test.forbidden"]), "{account}");
        // Whoever reviews it reads what the agent says of it, in a box.
        let body = text(&account.decided("proposal.open")[0]["facts"], "body");
        assert!(body.contains("The worker says (not checked):\n\n    Done: the greeting is longer"), "{body}");
    }
}

/// What is on record of a run, and all that its programs wrote, for whoever has to find out what went wrong.
pub(crate) struct Account {
    pub(crate) entries: Vec<Value>,
    pub(crate) wrote: String,
    /// Tokens that the record has settled, by the vendor's numbers and by estimates.
    pub(crate) metered: (Tokens, Tokens),
}

impl Account {
    pub(crate) fn of(scene: &Scene, run: &Value) -> Self {
        let id = text(run, "run");
        Self { entries: scene.entries(id), wrote: scene.run(&["output", id]).out, metered: scene.metered(id) }
    }

    /// Decisions on this verb.
    pub(crate) fn decided(&self, verb: &str) -> Vec<&Value> {
        let decided = |entry: &&Value| entry["kind"] == "decided" && entry["detail"]["verb"] == verb;
        self.entries.iter().filter(decided).map(|entry| &entry["detail"]).collect()
    }

    /// The facts of the calls that were allowed, in order: tool, kind, command and paths.
    pub(crate) fn allowed(&self) -> Vec<String> {
        let calls = self.decided("tool.call").into_iter().filter(|call| call["verdict"] == "allow");
        let told = |call: &Value| {
            let facts = &call["facts"];
            let words = [text(facts, "command"), &facts["paths"].to_string()].join(" ");
            format!("{} {}: {}", text(facts, "tool"), text(facts, "kind"), words.trim_start())
        };
        calls.map(told).collect()
    }
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for entry in &self.entries {
            writeln!(f, "{} {}", entry["summary"].as_str().unwrap_or_default(), entry["detail"]["facts"])?;
        }
        write!(f, "{}", self.wrote)
    }
}
