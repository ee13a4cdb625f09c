//! Qwen Code.

use serde_json::{Value, json};

use super::rehearsal::{Commands, Rehearses};
use super::report::{Report, Tokens, kind, number};
use super::tools::{Tool, ToolKind};
use super::{
    Adapter, Beside, CalledAs, Furnishing, HasHooks, Job, Laid, Pin, Start, claude_code, gemini_cli, pairs, words,
};

pub(super) static ADAPTER: Adapter = Adapter {
    name: "qwen-code",
    protocol: "openai-chat",
    pin: Pin { manager: "npm", package: "@qwen-code/qwen-code", version: "0.24.4", beside: Beside::Node("22.23.3") },
    tools: &[
        Tool::shell("run_shell_command", "command"),
        Tool::shell("monitor", "command"),
        Tool::at("write_file", ToolKind::Edit, &["file_path"]),
        Tool::at("edit", ToolKind::Edit, &["file_path"]),
        Tool::at("notebook_edit", ToolKind::Edit, &["notebook_path"]),
        Tool::at("read_file", ToolKind::Read, &["file_path"]),
        Tool::at("list_directory", ToolKind::Read, &["path"]),
        Tool::at("glob", ToolKind::Search, &["path"]),
        Tool::at("grep_search", ToolKind::Search, &["path"]),
        Tool::at("lsp", ToolKind::Search, &["filePath"]),
        Tool::fetch("web_fetch", "url"),
        // The vendor searches, on its side.
        Tool::new("web_search", ToolKind::Search),
        Tool::new("tool_search", ToolKind::Other),
        Tool::new("todo_write", ToolKind::Plan),
        Tool::new("save_memory", ToolKind::Plan),
        Tool::new("enter_plan_mode", ToolKind::Plan),
        Tool::new("exit_plan_mode", ToolKind::Plan),
        // Prompts for later: what they ask for is called for then, and decided then.
        Tool::new("cron_create", ToolKind::Plan),
        Tool::new("cron_delete", ToolKind::Plan),
        Tool::new("cron_list", ToolKind::Plan),
        Tool::new("loop_wakeup", ToolKind::Plan),
        Tool::new("task_create", ToolKind::Plan),
        Tool::new("task_update", ToolKind::Plan),
        Tool::new("task_list", ToolKind::Plan),
        Tool::new("task_stop", ToolKind::Other),
        Tool::new("agent", ToolKind::Child),
        Tool::new("create_sub_session", ToolKind::Child),
        Tool::new("list_agents", ToolKind::Child),
        Tool::new("send_message", ToolKind::Child),
        Tool::at("workflow", ToolKind::Child, &["scriptPath"]),
        Tool::new("enter_worktree", ToolKind::Other),
        Tool::new("exit_worktree", ToolKind::Other),
        Tool::new("skill", ToolKind::Other),
        Tool::new("ask_user_question", ToolKind::Other),
        Tool::new("report_findings", ToolKind::Other),
    ],
    // Not the entry beside it, which starts this one in a second process.
    calls: &[CalledAs::Mcp],
    start: Start::Node("node_modules/@qwen-code/qwen-code/cli.js", include_str!("scripts/qwen_code.cjs")),
    hooks: HasHooks::No,
    rehearses: Rehearses::Commands(&[Commands { tool: "run_shell_command", call: in_front, ends: None }]),
    furnish,
    acp: Some(acp),
    read,
};

/// It has to be said that nothing is left running.
fn in_front(command: &str) -> String {
    json!({ "command": command, "description": "rehearse", "is_background": false }).to_string()
}

/// Where settings lie that no other settings outrank.
const SETTINGS: &str = "/etc/qwen-code/settings.json";

fn furnish(_: &Adapter, job: &Job<'_>) -> Furnishing {
    let mut settings = json!({
        "security": {
            "auth": { "selectedType": "openai", "enforcedType": "openai" },
            // Where nobody can be asked whether a directory is trusted, its widest mode needs that nobody asks.
            "folderTrust": { "enabled": false },
        },
        "privacy": { "usageStatisticsEnabled": false },
        "telemetry": { "enabled": false },
        "general": { "enableAutoUpdate": false, "gitCoAuthor": { "commit": false, "pr": false }, "chatRecording": false },
        "tools": {
            "sandbox": false, "shell": { "enableInteractiveShell": false }, "exclude": ["web_search"],
            // Tools of servers are declared like its own, from the first request on: what is called without that is denied.
            "toolSearch": { "enabled": false },
        },
        // Small tasks of its own would otherwise go to a model nobody granted.
        "fastModel": job.model,
        "model": { "skipLoopDetection": true, "generationConfig": { "maxRetries": 1 } },
        "memory": { "enableManagedAutoMemory": false, "enableManagedAutoDream": false, "enableAutoSkill": false },
        // What the repository would have run when it starts.
        "disableAllHooks": true,
    });
    gemini_cli::name_servers(&mut settings, job);
    let unproxied = gemini_cli::unproxied(job);
    // The task is one word with its option, so that it never becomes another one.
    let prompt = format!("--prompt={}", job.prompt);
    let mut argv = words(&["--auth-type", "openai", "--model", job.model, "--yolo"]);
    argv.extend(words(&["--output-format", "stream-json", &prompt]));
    Furnishing {
        argv,
        env: pairs(&[
            ("OPENAI_API_KEY", job.placeholder),
            ("OPENAI_BASE_URL", &format!("{}/v1", job.door)),
            ("OPENAI_MODEL", job.model),
            ("NO_PROXY", &unproxied),
            ("no_proxy", &unproxied),
            ("QWEN_CODE_NO_RELAUNCH", "true"),
            ("QWEN_CODE_SUPPRESS_YOLO_WARNING", "1"),
        ]),
        files: vec![Laid { path: SETTINGS.to_owned(), text: format!("{settings:#}\n") }],
    }
}

fn acp(job: &Job<'_>) -> Vec<String> {
    words(&["--auth-type", "openai", "--model", job.model, "--yolo", "--acp"])
}

/// Its stream is Claude Code's, but for how it counts: what came from a cache is among what was read.
fn read(event: &Value, report: &mut Report) {
    claude_code::read(event, report);
    if kind(event) == Some("result") {
        report.tokens = Tokens {
            input: number(event, &["usage", "input_tokens"]),
            cached: number(event, &["usage", "cache_read_input_tokens"]),
            output: number(event, &["usage", "output_tokens"]),
        };
    }
}
