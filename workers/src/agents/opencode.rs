//! OpenCode.

use serde_json::{Value, json};

use super::rehearsal::{Commands, Rehearses, command};
use super::report::{Report, Tokens, kind, number, text};
use super::tools::{Tool, ToolKind};
use super::{Adapter, Beside, CalledAs, Furnishing, HasHooks, Job, Laid, Pin, Start, hooks, pairs, words};

pub(super) static ADAPTER: Adapter = Adapter {
    name: "opencode",
    protocol: "openai-chat",
    pin: Pin { manager: "npm", package: "opencode-ai", version: "1.18.33", beside: Beside::Nothing },
    tools: &[
        Tool::shell("bash", "command"),
        Tool::at("edit", ToolKind::Edit, &["filePath"]),
        Tool::at("write", ToolKind::Edit, &["filePath"]),
        Tool::patch("apply_patch", "patchText"),
        Tool::at("read", ToolKind::Read, &["filePath"]),
        Tool::at("glob", ToolKind::Search, &["path"]),
        Tool::at("grep", ToolKind::Search, &["path"]),
        Tool::fetch("webfetch", "url"),
        Tool::new("websearch", ToolKind::Search),
        Tool::new("task", ToolKind::Child),
        Tool::new("todowrite", ToolKind::Plan),
        Tool::new("todoread", ToolKind::Plan),
        Tool::new("skill", ToolKind::Other),
    ],
    calls: &[CalledAs::Joined, CalledAs::Mcp],
    start: Start::Native([
        ("x86_64", "node_modules/opencode-linux-x64/bin/opencode"),
        ("aarch64", "node_modules/opencode-linux-arm64/bin/opencode"),
    ]),
    hooks: HasHooks::Itself,
    rehearses: Rehearses::Commands(&[Commands { tool: "bash", call: command, ends: None }]),
    furnish,
    acp: Some(acp),
    read,
};

/// Its configuration. The repository's own is not read, which could allow what this forbids.
const CONFIGURATION: &str = "/etc/selvedge/opencode.json";

fn furnish(_: &Adapter, job: &Job<'_>) -> Furnishing {
    let model = format!("factory/{}", job.model);
    let mut configuration = json!({
        "autoupdate": false,
        "share": "disabled",
        "enabled_providers": ["factory"],
        "model": model,
        // Titles are made by the same model: another one nobody granted.
        "small_model": model,
        "permission": { "*": "allow" },
        "provider": { "factory": {
            "npm": "@ai-sdk/openai-compatible",
            "options": { "baseURL": format!("{}/v1", job.door), "apiKey": "{env:SELVEDGE_MODEL_KEY}" },
            "models": { job.model: { "name": job.model, "limit": { "context": 200_000, "output": 8_192 } } },
        } },
    });
    if let (Some(settings), false) = (configuration.as_object_mut(), job.servers.is_empty()) {
        let server = |(name, url): &(String, String)| {
            (name.clone(), json!({ "type": "remote", "url": url, "enabled": true, "oauth": false }))
        };
        settings.insert("mcp".to_owned(), Value::Object(job.servers.iter().map(server).collect()));
    }
    let mut more = Vec::new();
    let mut files = Vec::new();
    if let (Some(settings), Some(to)) = (configuration.as_object_mut(), job.hooks) {
        let plugin = hooks::plugin();
        settings.insert("plugin".to_owned(), json!([format!("file://{}", plugin.path)]));
        more = hooks::env(to);
        files.push(plugin);
    }
    files.push(Laid { path: CONFIGURATION.to_owned(), text: format!("{configuration:#}\n") });
    let set = pairs(&[
        ("OPENCODE_CONFIG", CONFIGURATION),
        ("OPENCODE_DISABLE_AUTOUPDATE", "1"),
        ("OPENCODE_DISABLE_DEFAULT_PLUGINS", "1"),
        ("OPENCODE_DISABLE_LSP_DOWNLOAD", "1"),
        ("OPENCODE_DISABLE_MODELS_FETCH", "1"),
        ("OPENCODE_DISABLE_PROJECT_CONFIG", "1"),
        ("SELVEDGE_MODEL_KEY", job.placeholder),
    ]);
    Furnishing {
        argv: words(&["run", "--format", "json", "--model", &model, "--", job.prompt]),
        env: set.into_iter().chain(more).collect(),
        files,
    }
}

/// It takes its model from its configuration, which lets all be done that it would ask about.
fn acp(_: &Job<'_>) -> Vec<String> {
    words(&["acp"])
}

fn read(event: &Value, report: &mut Report) {
    match kind(event) {
        Some("step_start") => report.goes_on(),
        Some("text") => report.said(text(event, &["part", "text"]).unwrap_or_default()),
        Some("tool_use") => report.used(text(event, &["part", "tool"]).unwrap_or_default()),
        Some("step_finish") => {
            let from_cache = number(event, &["part", "tokens", "cache", "read"]);
            report.tokens += Tokens {
                input: number(event, &["part", "tokens", "input"]).saturating_add(from_cache),
                cached: from_cache,
                output: number(event, &["part", "tokens", "output"]),
            };
            match text(event, &["part", "reason"]) {
                Some("stop") => report.ended_well(),
                Some("tool-calls") => report.goes_on(),
                reason => report.ended_badly(reason.unwrap_or("no reason given")),
            }
        }
        Some("error") => {
            let message = text(event, &["error", "data", "message"]).or_else(|| text(event, &["error", "name"]));
            report.ended_badly(message.unwrap_or("no reason given"));
        }
        _ => {}
    }
}
