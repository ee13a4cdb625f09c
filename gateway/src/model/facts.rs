//! What a tool call names: the command, paths and addresses in its arguments, by the table of the agent's adapter. Owns that what cannot
//! be shown to a keeper in bounded plain text is not passed over in silence.

use std::collections::BTreeSet;

use selvedge_domain::Digest;
use selvedge_domain::orders::CUT;
use serde_json::Value;

use super::answer::Call;
use super::wanted::{Tool, ToolAsk};
use crate::tools;
use crate::tools::describe::{canonical, digest_of};
use crate::tools::wanted::TakenOn;

/// Longest tool name.
const NAME_CHARS_MAX: usize = 128;

/// Longest command that is shown; what is longer is cut, and ends with [`CUT`], which a guard denies by default.
const COMMAND_CHARS_MAX: usize = 4_096;

/// Longest path or address that is shown; a call that names a longer one is refused.
const WORD_CHARS_MAX: usize = 1_024;

/// Most paths, and most addresses, of one call; a patch over more files is refused.
pub const WORDS_MAX: usize = 256;

/// Most bytes of paths and addresses together: with a command beside them they fit a message to the keeper, whatever is escaped.
const TOLD_BYTES_MAX: usize = 4 * 1024;

/// How the lines of a patch begin that name a file.
const PATCHED: [&str; 4] = ["*** Add File:", "*** Update File:", "*** Delete File:", "*** Move to:"];

/// A call whose facts cannot be told. It is denied without being asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untold {
    /// It names too much.
    #[error("the call names more than {WORDS_MAX} files or addresses: do it in several calls")]
    TooMany,
    /// A path or an address in it is too long to be judged whole.
    #[error("the call names a path or an address of more than {WORD_CHARS_MAX} characters: write it shorter")]
    TooLong,
    /// Nobody declared the tool in the request that this answers, so that nobody knows what its agent would do with it.
    #[error("there is no such tool: call one of those that were declared")]
    Undeclared,
    /// Its arguments are not one plain JSON object, so that an agent might read them otherwise than they were judged.
    #[error("the arguments are not one plain JSON object: write each once")]
    Unreadable,
    /// It is of a server's tool, which would not be told of them either.
    #[error(transparent)]
    OfServer(#[from] tools::facts::Untold),
}

/// The facts of a call, to be asked about. `declared` are the tools that its request declared.
pub fn facts(
    call: &Call,
    declared: &BTreeSet<String>,
    tools: &[Tool],
    serial: u64,
    index: u64,
) -> Result<ToolAsk, Untold> {
    // Some agents take a name in other letters for their own.
    if !declared.iter().any(|name| name.eq_ignore_ascii_case(&call.name)) {
        return Err(Untold::Undeclared);
    }
    let unknown = Tool { kind: "other".to_owned(), ..Tool::default() };
    let exactly = tools.iter().find(|tool| tool.name == call.name);
    let alike = || tools.iter().find(|tool| tool.name.eq_ignore_ascii_case(&call.name));
    let tool = exactly.or_else(alike).unwrap_or(&unknown);
    let looks_like_json = call.arguments.trim_start().starts_with('{');
    let arguments: Value = match call.is_json {
        false if call.arguments.trim().is_empty() => Value::Null,
        // What is no plain object, one with a member twice say, might be read as another by the agent.
        false if looks_like_json && tool != &unknown && tool.command.as_deref() != Some("") => {
            return Err(Untold::Unreadable);
        }
        true => serde_json::from_str(&call.arguments).map_err(|_| Untold::Unreadable)?,
        false if !takes_text(tool) && tool != &unknown => return Err(Untold::Unreadable),
        false => Value::Null,
    };
    if tool.of_server.is_some() {
        return of_server(call, tool, arguments, serial, index);
    }
    let mut paths = Vec::new();
    for name in &tool.paths {
        paths.extend(texts(arguments.get(name)));
    }
    let patch = match tool.patch.as_deref() {
        // A tool that takes text takes the patch itself.
        Some(_) if !call.is_json => Some(call.arguments.as_str()),
        Some(name) => arguments.get(name).and_then(Value::as_str),
        None => None,
    };
    let patched: Vec<_> = patch.into_iter().flat_map(patched).collect();
    paths.extend(patched);
    let mut addresses = Vec::new();
    for name in &tool.addresses {
        addresses.extend(texts(arguments.get(name)));
    }
    // What stands behind a cut would not be judged: where the path leads, or whose address it is.
    if paths.iter().chain(&addresses).any(|word| word.chars().nth(WORD_CHARS_MAX).is_some()) {
        return Err(Untold::TooLong);
    }
    let words = |words: Vec<&str>| words.into_iter().map(|word| shown(word, WORD_CHARS_MAX)).collect::<Vec<_>>();
    let (paths, addresses) = (words(paths), words(addresses));
    let told: usize = paths.iter().chain(&addresses).map(String::len).sum();
    if paths.len() > WORDS_MAX || addresses.len() > WORDS_MAX || told > TOLD_BYTES_MAX {
        return Err(Untold::TooMany);
    }
    // An agent may run what is no text as well.
    let named = tool.command.as_deref().filter(|name| !name.is_empty()).and_then(|name| arguments.get(name));
    let also = tool.paths.iter().chain(&tool.addresses).filter_map(|name| arguments.get(name));
    if named.into_iter().chain(also.filter(|value| !value.is_null())).any(|value| !tools::facts::is_texts(value)) {
        return Err(Untold::Unreadable);
    }
    let command: Vec<&str> = match tool.command.as_deref() {
        Some("") => vec![&call.arguments],
        name => name.into_iter().flat_map(|name| texts(arguments.get(name))).collect(),
    };
    let values = match (&arguments, tool.command.as_deref()) {
        (Value::Object(arguments), name) => {
            let is_told = |name: &str| tool.paths.iter().chain(&tool.addresses).any(|told| told == name);
            let rest = arguments.iter().filter(|(known, _)| Some(known.as_str()) != name && !is_told(known));
            tools::facts::values(rest)
        }
        // All of it is the command.
        (_, Some("")) => Vec::new(),
        _ if call.arguments.trim().is_empty() => Vec::new(),
        _ => tools::facts::values([(&String::new(), &Value::from(call.arguments.as_str()))]),
    };
    Ok(ToolAsk {
        serial,
        index,
        tool: shown(&call.name, NAME_CHARS_MAX),
        kind: tool.kind.clone(),
        command: shown(&command.join(" "), COMMAND_CHARS_MAX),
        paths,
        addresses,
        arguments: Digest::of_parts([call.arguments.as_bytes()]),
        argument_bytes: u64::try_from(call.arguments.len()).unwrap_or(u64::MAX),
        of_server: None,
        values,
    })
}

/// The facts of a call of a server's tool: those that the tool door would tell of it, so that both orders say the same.
fn of_server(call: &Call, tool: &Tool, arguments: Value, serial: u64, index: u64) -> Result<ToolAsk, Untold> {
    let arguments = match arguments {
        Value::Object(arguments) => arguments,
        Value::Null => serde_json::Map::new(),
        _ => return Err(Untold::Unreadable),
    };
    let (of, told) = (Digest::of_parts([]), tool.clone());
    let taken = TakenOn { described: of, command: told.command, paths: told.paths, addresses: told.addresses };
    let facts = tools::facts::facts(&taken, &arguments)?;
    let text = canonical(&Value::Object(arguments));
    Ok(ToolAsk {
        serial,
        index,
        tool: shown(&call.name, NAME_CHARS_MAX),
        kind: tool.kind.clone(),
        command: facts.command,
        paths: facts.paths,
        addresses: facts.addresses,
        arguments: digest_of(text.as_bytes()),
        argument_bytes: u64::try_from(text.len()).unwrap_or(u64::MAX),
        of_server: told.of_server,
        values: facts.values,
    })
}

/// Whether a tool's call may be something else than arguments by name.
fn takes_text(tool: &Tool) -> bool {
    tool.patch.is_some() || tool.command.as_deref() == Some("")
}

/// A text, or each text of a list.
fn texts(value: Option<&Value>) -> impl Iterator<Item = &str> {
    let one = value.and_then(Value::as_str);
    let many = value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    one.into_iter().chain(many)
}

/// The files a patch names.
fn patched(patch: &str) -> impl Iterator<Item = &str> {
    let named = |line| PATCHED.iter().find_map(|begins| str::strip_prefix(line, begins));
    patch.lines().filter_map(move |line| named(line.trim_start())).map(str::trim)
}

/// A text that can be shown: no control characters but line ends and tabs, no characters that turn text around, bounded.
pub(crate) fn shown(text: &str, chars_max: usize) -> String {
    let plain = |c: char| match c {
        '\n' | '\t' => c,
        c if c.is_control() || selvedge_domain::is_deceptive(c) => '\u{fffd}',
        c => c,
    };
    let mut shown: String = text.chars().take(chars_max).map(plain).collect();
    if text.chars().nth(chars_max).is_some() {
        shown.push_str(CUT);
    }
    shown
}

#[cfg(test)]
mod tests {
    use selvedge_domain::{ServerName, ToolName};

    use super::*;

    fn tools() -> Vec<Tool> {
        let tool = |name: &str, kind: &str| Tool { name: name.into(), kind: kind.into(), ..Tool::default() };
        vec![
            Tool { command: Some("command".into()), ..tool("Bash", "shell") },
            Tool { paths: vec!["file_path".into()], ..tool("Write", "edit") },
            Tool { addresses: vec!["url".into()], ..tool("WebFetch", "fetch") },
            Tool { patch: Some("input".into()), ..tool("apply_patch", "edit") },
            Tool { command: Some(String::new()), ..tool("functions/exec", "shell") },
        ]
    }

    fn asked(call: &Call) -> Result<ToolAsk, Untold> {
        let declared = tools().into_iter().map(|tool| tool.name).chain(["Mystery".to_owned()]).collect();
        facts(call, &declared, &tools(), 7, 1)
    }

    fn of(name: &str, arguments: &str, is_json: bool) -> ToolAsk {
        let call = Call { id: "c".into(), name: name.into(), arguments: arguments.into(), is_json };
        asked(&call).unwrap()
    }

    #[test]
    fn what_a_call_names_is_told_e3() {
        assert_eq!(of("Bash", r#"{"command":"cat .env"}"#, true).command, "cat .env");
        assert_eq!(of("Bash", r#"{"command":["bash","-lc","ls"]}"#, true).command, "bash -lc ls");
        assert_eq!(
            of("Write", r#"{"file_path":".claude/settings.json","content":"{}"}"#, true).paths,
            [".claude/settings.json"]
        );
        assert_eq!(of("WebFetch", r#"{"url":"https://a.example"}"#, true).addresses, ["https://a.example"]);
        let patch = "*** Begin Patch\n*** Update File: src/a.rs\n*** Move to: src/b.rs\n@@\n+x\n*** End Patch";
        assert_eq!(of("apply_patch", patch, false).paths, ["src/a.rs", "src/b.rs"]);
        let program = "await tools.exec_command({ cmd: \"env\" })";
        assert_eq!(of("functions/exec", program, false).command, program);
        assert_eq!(of("functions/exec", r#"{"input":"env"}"#, true).command, r#"{"input":"env"}"#, "in whatever form");
        assert_eq!(of("apply_patch", "*** Add File:.opencode/x", false).paths, [".opencode/x"]);
        assert_eq!(of("wRITE", r#"{"file_path":".mcp.json"}"#, true).paths, [".mcp.json"], "a name in other letters");
        let unknown = of("Mystery", r#"{"command":"env"}"#, true);
        assert_eq!((unknown.kind.as_str(), unknown.command.as_str()), ("other", ""));
    }

    #[test]
    fn a_call_of_a_server_s_tool_is_told_as_the_tool_door_would_d3_a72() {
        let named = (ServerName::parse("tracker").unwrap(), ToolName::parse("delete").unwrap());
        let tool = Tool {
            name: "mcp__tracker__delete".into(),
            kind: "other".into(),
            paths: vec!["at".into()],
            of_server: Some(named.clone()),
            ..Tool::default()
        };
        let asked = |name: &str, arguments: &str, is_json: bool| {
            let call = Call { id: "c".into(), name: name.into(), arguments: arguments.into(), is_json };
            facts(&call, &[name.to_owned()].into(), std::slice::from_ref(&tool), 7, 1)
        };
        let written = r#"{ "why": {"a": [1, "https://x.example"]}, "at": "src" }"#;
        let ask = asked("mcp__tracker__delete", written, true).unwrap();
        let sent = serde_json::from_str::<Value>(written).unwrap();
        let taken = TakenOn { described: ask.arguments, command: None, paths: tool.paths.clone(), addresses: vec![] };
        let at_the_door = tools::facts::facts(&taken, sent.as_object().unwrap()).unwrap();
        assert_eq!(
            (ask.values, ask.paths, ask.addresses, ask.command),
            (at_the_door.values, at_the_door.paths, at_the_door.addresses, at_the_door.command)
        );
        assert_eq!((ask.arguments, ask.of_server), (digest_of(canonical(&sent).as_bytes()), Some(named)));
        assert_eq!(asked("mcp__tracker__delete", "", false).unwrap().arguments, digest_of(b"{}"));
        for unread in ["[1]", "\"x\"", "{\"a\":1,\"a\":2}", "at src"] {
            let is_json = unread.starts_with(['[', '"']);
            assert_eq!(asked("mcp__tracker__delete", unread, is_json), Err(Untold::Unreadable), "{unread}");
        }
        let many = format!("{{\"a\":[{}1]}}", "1,".repeat(300));
        assert!(matches!(asked("mcp__tracker__delete", &many, true), Err(Untold::OfServer(_))));
    }

    #[test]
    fn what_is_told_is_bounded_and_cannot_deceive_a70() {
        let long = format!(r#"{{"command":"{}"}}"#, "a".repeat(10_000));
        assert_eq!(of("Bash", &long, true).command.len(), COMMAND_CHARS_MAX + CUT.len());
        assert_eq!(of("Bash", "{\"command\":\"a\\u202eb\\u001b[2J\"}", true).command, "a\u{fffd}b\u{fffd}[2J");
        let many: Vec<String> = (0..=WORDS_MAX).map(|n| format!("*** Add File: f{n}")).collect();
        let call = Call { id: "c".into(), name: "apply_patch".into(), arguments: many.join("\n"), is_json: false };
        assert_eq!(asked(&call), Err(Untold::TooMany));
        let few_and_long = format!("{{\"file_path\":[{}\"a\"]}}", format!("\"{}\",", "a".repeat(1_000)).repeat(8));
        let call = Call { name: "Write".into(), arguments: few_and_long, is_json: true, ..call };
        assert_eq!(asked(&call), Err(Untold::TooMany));
        let twice = Call {
            name: "Bash".into(),
            arguments: r#"{"command":"ls","command":"env"}"#.into(),
            is_json: false,
            ..call
        };
        assert_eq!(asked(&twice), Err(Untold::Unreadable), "read by a reader as no plain JSON");
        let patched = r#"{"input":"x","input":"*** Begin Patch\n*** Update File: .claude/a"}"#;
        let patched = Call { name: "apply_patch".into(), arguments: patched.into(), ..twice };
        assert_eq!(asked(&patched), Err(Untold::Unreadable), "a patch is no object");
    }

    #[test]
    fn what_an_own_tool_is_given_is_told_and_a_command_that_is_no_text_is_not_judged_c8_e3() {
        let written = of("Write", r#"{"file_path":"src/a","content":"x = 1\n","mode":{"force":true}}"#, true);
        assert_eq!(
            (written.paths, written.values),
            (vec!["src/a".to_owned()], vec!["content=x = 1\n".to_owned(), "mode.force=true".to_owned()])
        );
        let run = of("Bash", r#"{"command":"ls","workdir":"/etc"}"#, true);
        assert_eq!((run.command.as_str(), run.values), ("ls", vec!["workdir=/etc".to_owned()]));
        assert_eq!(of("apply_patch", "*** Add File: a\n+b", false).values, ["=*** Add File: a\n+b"]);
        assert_eq!(of("functions/exec", "ls", false).values, [""; 0]);
        assert_eq!(of("Mystery", r#"{"to":"everybody"}"#, true).values, ["to=everybody"]);
        let long = of("Write", &format!(r#"{{"file_path":"a","content":"{}"}}"#, "é".repeat(20_000)), true);
        assert!(long.values.iter().all(|value| value.ends_with(CUT)), "{:?}", long.values);
        for command in [r#"["ls",["&&","env"]]"#, r#"{"sh":"env"}"#, "3"] {
            let call = Call {
                id: "c".into(),
                name: "Bash".into(),
                arguments: format!("{{\"command\":{command}}}"),
                is_json: true,
            };
            assert_eq!(asked(&call), Err(Untold::Unreadable), "{command}");
        }
    }

    #[test]
    fn d0014_a_tool_that_nobody_declared_is_no_tool() {
        let call = |name: &str| Call { id: "c".into(), name: name.into(), arguments: "{}".into(), is_json: true };
        let of = |declared: &[&str], name: &str| {
            facts(&call(name), &declared.iter().map(|name| (*name).to_owned()).collect(), &tools(), 7, 1)
                .map(|ask| ask.kind)
        };
        assert_eq!(of(&["Bash"], "bash"), Ok("shell".to_owned()), "a name in other letters");
        assert_eq!(of(&["Mystery"], "Mystery"), Ok("other".to_owned()), "declared, and in no table");
        for undeclared in ["Write", "Bash ", "", "web_search"] {
            assert_eq!(of(&["Bash"], undeclared), Err(Untold::Undeclared), "{undeclared}");
        }
        assert_eq!(of(&[], "Bash"), Err(Untold::Undeclared), "whatever the table of its agent has");
    }

    /// Where a path leads is told by its end.
    #[test]
    fn a25_a_path_is_judged_whole_or_not_at_all() {
        let hidden = format!("{}.claude/settings.json", "a/../".repeat(WORD_CHARS_MAX / 5 + 1));
        let arguments = format!("{{\"file_path\":\"{hidden}\"}}");
        let call = Call { id: "c".into(), name: "Write".into(), arguments, is_json: true };
        assert_eq!(asked(&call), Err(Untold::TooLong));
        let patch = format!("*** Begin Patch\n*** Add File: {hidden}\n+x\n*** End Patch");
        let call = Call { name: "apply_patch".into(), arguments: patch, is_json: false, ..call };
        assert_eq!(asked(&call), Err(Untold::TooLong));
    }
}
