//! Claude Code.

use serde_json::{Value, json};

use super::rehearsal::{Commands, Rehearses, command};
use super::report::{Report, Tokens, kind, number, text};
use super::tools::{Tool, ToolKind};
use super::{Adapter, Beside, CalledAs, Furnishing, HasHooks, Job, Laid, Pin, Start, hooks, package, pairs, words};

pub(super) static ADAPTER: Adapter = Adapter {
    name: "claude-code",
    protocol: "anthropic-messages",
    pin: Pin { manager: "npm", package: "@anthropic-ai/claude-code", version: "2.1.328", beside: Beside::Nothing },
    tools: &[
        Tool::shell("Bash", "command"),
        Tool::shell("Monitor", "command"),
        Tool::at("Write", ToolKind::Edit, &["file_path"]),
        Tool::at("Edit", ToolKind::Edit, &["file_path"]),
        Tool::at("NotebookEdit", ToolKind::Edit, &["notebook_path"]),
        Tool::at("Read", ToolKind::Read, &["file_path"]),
        Tool::at("Glob", ToolKind::Search, &["path"]),
        Tool::at("Grep", ToolKind::Search, &["path"]),
        Tool::fetch("WebFetch", "url"),
        // The vendor searches, on its side.
        Tool::new("WebSearch", ToolKind::Search),
        Tool::new("ToolSearch", ToolKind::Other),
        // Prompts for later: what they ask for is called for then, and decided then.
        Tool::new("CronCreate", ToolKind::Plan),
        Tool::new("CronDelete", ToolKind::Plan),
        Tool::new("CronList", ToolKind::Plan),
        Tool::new("ScheduleWakeup", ToolKind::Plan),
        Tool::at("EnterWorktree", ToolKind::Other, &["path"]),
        Tool::new("ExitWorktree", ToolKind::Other),
        Tool::new("ListAgents", ToolKind::Child),
        Tool::new("ReportFindings", ToolKind::Other),
        Tool::new("Agent", ToolKind::Child),
        Tool::new("Task", ToolKind::Child),
        Tool::new("SendMessage", ToolKind::Child),
        Tool::at("Workflow", ToolKind::Child, &["scriptPath"]),
        Tool::new("TodoWrite", ToolKind::Plan),
        Tool::new("TaskCreate", ToolKind::Plan),
        Tool::new("TaskUpdate", ToolKind::Plan),
        Tool::new("TaskGet", ToolKind::Plan),
        Tool::new("TaskList", ToolKind::Plan),
        Tool::new("TaskStop", ToolKind::Other),
        Tool::new("Skill", ToolKind::Other),
    ],
    calls: &[CalledAs::Mcp],
    start: Start::Native([
        ("x86_64", "node_modules/@anthropic-ai/claude-code-linux-x64/claude"),
        ("aarch64", "node_modules/@anthropic-ai/claude-code-linux-arm64/claude"),
    ]),
    hooks: HasHooks::Itself,
    rehearses: Rehearses::Commands(&[Commands { tool: "Bash", call: command, ends: None }]),
    furnish,
    acp: None,
    read,
};

/// Where settings lie that no other settings outrank.
const MANAGED: &str = "/etc/claude-code/managed-settings.json";

/// The servers whose tools it has. No other is read: neither the repository's nor its home's.
const SERVERS: &str = "/etc/selvedge/claude-code-mcp.json";

fn furnish(_: &Adapter, job: &Job<'_>) -> Furnishing {
    // What the repository or its own home says is not read: a repository could switch off what is managed (`disableAllHooks`), and
    // the home can be written by the agent itself. Bypassing is its mode for being fenced by somebody else, which it is.
    let mut argv = words(&["--print", "--output-format", "stream-json", "--verbose", "--setting-sources", ""]);
    if !job.servers.is_empty() {
        argv.extend(words(&["--mcp-config", SERVERS]));
    }
    argv.extend(words(&["--strict-mcp-config", "--permission-mode", "bypassPermissions"]));
    // It searches on the vendor's side, which a request may not ask for.
    argv.extend(words(&["--disallowedTools", "WebSearch", "--model", job.model, "--", job.prompt]));
    let mut managed = json!({
        "allowManagedHooksOnly": true,
        "includeCoAuthoredBy": false,
        "sandbox": { "enabled": false },
        // It would ask its vendor about every address first.
        "skipWebFetchPreflight": true,
    });
    if let (Some(settings), Some(to)) = (managed.as_object_mut(), job.hooks) {
        let hook = json!([{ "hooks": [{ "type": "http", "url": to.url, "timeout": hooks::PATIENCE_SECONDS }] }]);
        let events = ["PreToolUse", "PostToolUse", "PostToolUseFailure"];
        let told = events.into_iter().map(|event| (event.to_owned(), hook.clone()));
        settings.insert("hooks".to_owned(), Value::Object(told.collect()));
    }
    let mut files = vec![Laid { path: MANAGED.to_owned(), text: format!("{managed:#}\n") }];
    if !job.servers.is_empty() {
        let server = |(name, url): &(String, String)| (name.clone(), json!({ "type": "http", "url": url }));
        let servers: serde_json::Map<String, Value> = job.servers.iter().map(server).collect();
        files.push(Laid { path: SERVERS.to_owned(), text: format!("{:#}\n", json!({ "mcpServers": servers })) });
    }
    // Through a proxy its hooks make a tunnel even for plain HTTP; without one they are caught on their way to the same door.
    let by = job.hooks.map(|_| package::host_of(job.door));
    let by = by.into_iter().flat_map(|host| pairs(&[("NO_PROXY", host), ("no_proxy", host)]));
    Furnishing {
        argv,
        files,
        env: by
            .chain(pairs(&[
                ("ANTHROPIC_BASE_URL", job.door),
                ("ANTHROPIC_API_KEY", job.placeholder),
                // Small tasks of its own would otherwise go to a model nobody granted.
                ("ANTHROPIC_SMALL_FAST_MODEL", job.model),
                ("ANTHROPIC_DEFAULT_HAIKU_MODEL", job.model),
                ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
                ("CLAUDE_CODE_MAX_RETRIES", "2"),
                // Tools of servers are declared like its own, from the first request on: what is called without that is denied.
                ("ENABLE_TOOL_SEARCH", "false"),
                ("DISABLE_AUTOUPDATER", "1"),
                ("DISABLE_TELEMETRY", "1"),
                ("DISABLE_ERROR_REPORTING", "1"),
                // It refuses to be fenced by others as root unless told so; inside it is never root, and this does no harm.
                ("IS_SANDBOX", "1"),
            ]))
            .collect(),
    }
}

pub(super) fn read(event: &Value, report: &mut Report) {
    match kind(event) {
        Some("assistant") => {
            for block in event.pointer("/message/content").and_then(Value::as_array).into_iter().flatten() {
                match (kind(block), text(block, &["name"]), text(block, &["text"])) {
                    (Some("tool_use"), Some(name), _) => report.used(name),
                    (Some("text"), _, Some(said)) => report.said(said),
                    _ => {}
                }
            }
        }
        Some("system") if text(event, &["subtype"]) == Some("api_retry") => {
            report.failed(&format!("its model answered with status {}", number(event, &["error_status"])));
        }
        Some("result") => result(event, report),
        _ => {}
    }
}

/// The end. Messages before it count tokens too, each of them once for every part: only these numbers are whole.
fn result(event: &Value, report: &mut Report) {
    let said = text(event, &["result"]).or_else(|| text(event, &["error", "message"])).unwrap_or_default();
    let from_cache = number(event, &["usage", "cache_read_input_tokens"]);
    let to_cache = number(event, &["usage", "cache_creation_input_tokens"]);
    report.tokens = Tokens {
        input: number(event, &["usage", "input_tokens"]).saturating_add(from_cache).saturating_add(to_cache),
        cached: from_cache,
        output: number(event, &["usage", "output_tokens"]),
    };
    // It is called a success, too, when the model could not be asked at all.
    let is_error = event.get("is_error").and_then(Value::as_bool).unwrap_or(true);
    match (text(event, &["subtype"]), is_error) {
        (Some("success"), false) => {
            report.said(said);
            report.ended_well();
        }
        (subtype, _) if said.is_empty() => report.ended_badly(subtype.unwrap_or("no reason given")),
        _ => report.ended_badly(said),
    }
}
