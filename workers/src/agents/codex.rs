//! Codex.

use serde_json::{Value, json};

use super::rehearsal::{Commands, Rehearses};
use super::report::{Report, Tokens, kind, number, text};
use super::tools::{Tool, ToolKind};
use super::{Adapter, Beside, CalledAs, Furnishing, HasHooks, Job, Laid, Pin, Start, hooks, pairs, words};

pub(super) static ADAPTER: Adapter = Adapter {
    name: "codex",
    protocol: "openai-responses",
    pin: Pin { manager: "npm", package: "@openai/codex", version: "0.169.0", beside: Beside::Nothing },
    tools: &[
        Tool::shell("exec_command", "cmd"),
        Tool::shell("shell", "command"),
        Tool::shell("shell_command", "command"),
        Tool::shell("local_shell", "command"),
        // To a program that runs already: a shell, as a rule.
        Tool::shell("write_stdin", "chars"),
        Tool::patch("apply_patch", "input"),
        Tool::at("view_image", ToolKind::Read, &["path"]),
        // A model that it knows is given one tool for a program in JavaScript, in which it calls the others: nobody sees those calls one
        // by one, and a command may be put together there. The program's text is what can be judged.
        Tool::program("functions/exec"),
        Tool::new("functions/wait", ToolKind::Other),
        Tool::new("functions/request_user_input", ToolKind::Other),
        Tool::new("functions/request_user_input_async", ToolKind::Other),
        Tool::new("clock/sleep", ToolKind::Other),
        Tool::new("collaboration/spawn_agent", ToolKind::Child),
        Tool::new("collaboration/send_message", ToolKind::Child),
        Tool::new("collaboration/followup_task", ToolKind::Child),
        Tool::new("collaboration/interrupt_agent", ToolKind::Child),
        Tool::new("collaboration/list_agents", ToolKind::Child),
        Tool::new("collaboration/wait_agent", ToolKind::Child),
        Tool::new("update_plan", ToolKind::Plan),
        Tool::new("get_goal", ToolKind::Plan),
        Tool::new("create_goal", ToolKind::Plan),
        Tool::new("update_goal", ToolKind::Plan),
        Tool::new("spawn_agent", ToolKind::Child),
        Tool::new("send_input", ToolKind::Child),
        // The vendor searches, on its side.
        Tool::new("web_search", ToolKind::Search),
        Tool::new("request_user_input", ToolKind::Other),
    ],
    calls: &[CalledAs::Mcp],
    start: Start::Native([
        ("x86_64", "node_modules/@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex"),
        ("aarch64", "node_modules/@openai/codex-linux-arm64/vendor/aarch64-unknown-linux-musl/bin/codex"),
    ]),
    hooks: HasHooks::Through(hooks::SHELL),
    rehearses: Rehearses::Commands(&[
        Commands { tool: "exec_command", call: |command| json!({ "cmd": command }).to_string(), ends: None },
        Commands { tool: "functions/exec", call: program, ends: None },
    ]),
    furnish,
    acp: None,
    read,
};

/// A program that runs a command and tells what it wrote.
fn program(command: &str) -> String {
    format!("text((await tools.exec_command({{ cmd: {} }})).output);", json!(command))
}

/// Settings as arguments: its own file lies in its home, which the agent can write, and arguments outrank it.
const SETTINGS: &[&str] = &[
    "model_provider=factory",
    "approval_policy=\"never\"",
    "analytics.enabled=false",
    "check_for_update_on_startup=false",
    "otel.metrics_exporter=\"none\"",
    "features.plugins=false",
    "features.apps=false",
    // Its helpers come behind a search for tools, which is a kind of content that the model door does not know.
    "features.multi_agent=false",
    // It searches on the vendor's side, which a request may not ask for.
    "web_search=\"disabled\"",
];

/// Requirements that no settings outrank.
const REQUIREMENTS: &str = "/etc/codex/requirements.toml";

fn furnish(_: &Adapter, job: &Job<'_>) -> Furnishing {
    // Its own sandbox would stand within ours, where the namespaces it needs are refused.
    let mut argv =
        words(&["exec", "--json", "--skip-git-repo-check", "--sandbox", "danger-full-access", "--cd", job.workspace]);
    let door = toml::Value::String(format!("{}/v1", job.door));
    // Retried once: a spent budget would otherwise be asked for six times.
    let provider = format!(
        "model_providers.factory={{name=\"factory\",base_url={door},env_key=\"SELVEDGE_MODEL_KEY\",wire_api=\"responses\",request_max_retries=1,stream_max_retries=1}}"
    );
    for setting in SETTINGS.iter().copied().chain([provider.as_str()]) {
        argv.extend(words(&["-c", setting]));
    }
    if !job.servers.is_empty() {
        // The whole table at once: what its home or the repository has of servers is gone with it.
        let server = |(name, url): &(String, String)| {
            let text = |text: &str| toml::Value::String(text.to_owned());
            format!("{}={{url={}}}", text(name), text(url))
        };
        let servers: Vec<String> = job.servers.iter().map(server).collect();
        argv.extend(words(&["-c", &format!("mcp_servers={{{}}}", servers.join(","))]));
    }
    argv.extend(words(&["--model", job.model, "--", job.prompt]));
    let (mut requirements, mut env) =
        ("[features]\nhooks = true\n".to_owned(), pairs(&[("SELVEDGE_MODEL_KEY", job.placeholder)]));
    let mut files = Vec::new();
    if let Some(to) = job.hooks {
        requirements.push_str("[hooks]\nmanaged_dir = \"/etc/selvedge\"\n");
        for event in ["PreToolUse", "PostToolUse"] {
            let (command, seconds) = (hooks::COMMAND, hooks::PATIENCE_SECONDS);
            requirements.push_str(&format!(
                "[[hooks.{event}]]\nmatcher = \".*\"\n[[hooks.{event}.hooks]]\ntype = \"command\"\ncommand = \"{command}\"\ntimeout = {seconds}\n"
            ));
        }
        env.extend(hooks::env(to));
        files.push(hooks::script());
    }
    files.push(Laid { path: REQUIREMENTS.to_owned(), text: requirements });
    Furnishing { argv, env, files }
}

fn read(event: &Value, report: &mut Report) {
    match kind(event) {
        Some("turn.started") => report.goes_on(),
        Some("item.completed") => item(event, report),
        Some("turn.completed") => {
            report.tokens += Tokens {
                input: number(event, &["usage", "input_tokens"]),
                cached: number(event, &["usage", "cached_input_tokens"]),
                output: number(event, &["usage", "output_tokens"]),
            };
            report.ended_well();
        }
        Some("turn.failed") => report.ended_badly(text(event, &["error", "message"]).unwrap_or("no reason given")),
        Some("error") => report.failed(text(event, &["message"]).unwrap_or("no reason given")),
        _ => {}
    }
}

/// Something it did. A command that was kept from running at all is in no event.
fn item(event: &Value, report: &mut Report) {
    match text(event, &["item", "type"]) {
        Some("agent_message") => report.said(text(event, &["item", "text"]).unwrap_or_default()),
        // Warnings are called errors, too; the end of the turn says whether it came of anything.
        Some("reasoning" | "error") | None => {}
        Some(tool) => report.used(tool),
    }
}
