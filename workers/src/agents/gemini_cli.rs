//! Gemini CLI.

use serde_json::{Value, json};

use super::rehearsal::{Commands, Rehearses, command};
use super::report::{Report, Tokens, kind, number, text};
use super::tools::{Tool, ToolKind};
use super::{Adapter, Beside, CalledAs, Furnishing, HasHooks, Job, Laid, Pin, Start, package, pairs, words};

pub(super) static ADAPTER: Adapter = Adapter {
    name: "gemini-cli",
    protocol: "gemini",
    pin: Pin { manager: "npm", package: "@google/gemini-cli", version: "0.61.0", beside: Beside::Node("22.23.3") },
    tools: &[
        Tool::shell("run_shell_command", "command"),
        Tool::at("write_file", ToolKind::Edit, &["file_path"]),
        Tool::at("replace", ToolKind::Edit, &["file_path"]),
        Tool::at("read_file", ToolKind::Read, &["file_path"]),
        Tool::at("read_many_files", ToolKind::Read, &["include"]),
        Tool::at("list_directory", ToolKind::Read, &["dir_path"]),
        Tool::at("glob", ToolKind::Search, &["dir_path"]),
        Tool::at("grep_search", ToolKind::Search, &["dir_path"]),
        Tool::fetch("web_fetch", "url"),
        // The vendor searches, on its side.
        Tool::new("google_web_search", ToolKind::Search),
        Tool::new("list_background_processes", ToolKind::Other),
        Tool::new("read_background_output", ToolKind::Other),
        Tool::new("write_todos", ToolKind::Plan),
        Tool::new("update_topic", ToolKind::Plan),
        Tool::new("enter_plan_mode", ToolKind::Plan),
        Tool::new("exit_plan_mode", ToolKind::Plan),
        Tool::new("complete_task", ToolKind::Plan),
        Tool::new("invoke_agent", ToolKind::Child),
        Tool::new("activate_skill", ToolKind::Other),
        Tool::new("get_internal_docs", ToolKind::Other),
        Tool::new("ask_user", ToolKind::Other),
    ],
    calls: &[CalledAs::McpJoined],
    start: Start::Node("node_modules/@google/gemini-cli/bundle/gemini.js", include_str!("scripts/gemini_cli.cjs")),
    hooks: HasHooks::No,
    rehearses: Rehearses::Commands(&[Commands { tool: "run_shell_command", call: command, ends: None }]),
    furnish,
    acp: Some(acp),
    read,
};

/// Where settings lie that no other settings outrank.
const SETTINGS: &str = "/etc/gemini-cli/settings.json";

fn furnish(_: &Adapter, job: &Job<'_>) -> Furnishing {
    let mut settings = json!({
        "security": {
            "auth": { "selectedType": "gemini-api-key", "enforcedType": "gemini-api-key" },
            // Where nobody can be asked whether a directory is trusted, its widest mode needs that nobody asks.
            "folderTrust": { "enabled": false },
        },
        "privacy": { "usageStatisticsEnabled": false },
        "telemetry": { "enabled": false },
        // Retried once: a spent budget would otherwise be asked for again and again.
        "general": { "enableAutoUpdate": false, "enableAutoUpdateNotification": false, "maxAttempts": 2 },
        // It searches on the vendor's side, which a request may not ask for, and asks another model whether it goes round in circles.
        "tools": { "sandbox": false, "shell": { "enableInteractiveShell": false }, "exclude": ["google_web_search"] },
        "model": { "disableLoopDetection": true },
        // It fetches an address itself, through the doors, instead of having the vendor do it.
        "experimental": { "directWebFetch": true },
        // What the repository would have run when it starts.
        "hooksConfig": { "enabled": false },
        "advanced": { "ignoreLocalEnv": true },
    });
    name_servers(&mut settings, job);
    // Its own sandbox would stand within ours. The task is one word with its option, so that it never becomes another one.
    let prompt = format!("--prompt={}", job.prompt);
    let unproxied = unproxied(job);
    Furnishing {
        argv: words(&["--model", job.model, "--yolo", "--output-format", "stream-json", &prompt]),
        env: pairs(&[
            ("GEMINI_API_KEY", job.placeholder),
            ("GOOGLE_GEMINI_BASE_URL", job.door),
            ("NO_PROXY", &unproxied),
            ("no_proxy", &unproxied),
            ("GEMINI_CLI_NO_RELAUNCH", "true"),
            ("GEMINI_CLI_TRUST_WORKSPACE", "true"),
        ]),
        files: vec![Laid { path: SETTINGS.to_owned(), text: format!("{settings:#}\n") }],
    }
}

/// Names the servers whose tools it has, in settings as Gemini CLI and its descendants read them, and lets it ask no other.
pub(super) fn name_servers(settings: &mut Value, job: &Job<'_>) {
    let server = |(name, url): &(String, String)| (name.clone(), json!({ "httpUrl": url }));
    let servers: serde_json::Map<String, Value> = job.servers.iter().map(server).collect();
    // An empty list would allow all.
    let allowed: Vec<&str> = match job.servers {
        [] => vec!["none"],
        servers => servers.iter().map(|(name, _)| name.as_str()).collect(),
    };
    settings["mcp"] = json!({ "allowed": allowed });
    settings["mcpServers"] = Value::Object(servers);
}

/// The hosts that it asks without its proxy. Node.js makes a tunnel through one even for plain HTTP, which a door ends.
pub(super) fn unproxied(job: &Job<'_>) -> String {
    let servers = job.servers.iter().map(|(_, url)| package::host_of(url));
    let mut hosts: Vec<&str> = std::iter::once(package::host_of(job.door)).chain(servers).collect();
    hosts.dedup();
    hosts.join(",")
}

fn acp(job: &Job<'_>) -> Vec<String> {
    words(&["--model", job.model, "--yolo", "--acp"])
}

fn read(event: &Value, report: &mut Report) {
    match kind(event) {
        // What it says comes in parts.
        Some("message") if text(event, &["role"]) == Some("assistant") => {
            let said = text(event, &["content"]).unwrap_or_default();
            match event.get("delta").and_then(Value::as_bool) {
                Some(true) => report.went_on_saying(said),
                _ => report.said(said),
            }
        }
        Some("tool_use") => report.used(text(event, &["tool_name"]).unwrap_or_default()),
        Some("error") => report.failed(text(event, &["message"]).unwrap_or("no reason given")),
        Some("result") => {
            report.tokens = Tokens {
                input: number(event, &["stats", "input_tokens"]),
                cached: number(event, &["stats", "cached"]),
                output: number(event, &["stats", "output_tokens"]),
            };
            match text(event, &["status"]) {
                Some("success") => report.ended_well(),
                _ => {
                    // What was wrong may have been told before.
                    let before = report.errors.last().cloned();
                    let because = text(event, &["error", "message"]).or(before.as_deref());
                    report.ended_badly(because.unwrap_or("no reason given"));
                }
            }
        }
        _ => {}
    }
}
