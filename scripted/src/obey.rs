//! The most obedient agent there is: it does at once whatever its model says, and tells it what came of it. It stands where a coding agent
//! would whose model has turned on its owner, and has no sense, no hooks and no fence of its own, so that what stops it is somebody else's.
//!
//! Speaks Anthropic Messages, not streaming, at `$SELVEDGE_MODEL_URL`, as `$SELVEDGE_MODEL`.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use serde_json::{Map, Value, json};

use crate::fetch::{self, Fetch};

/// The name under which an executable is to enter [`obey`].
pub const OBEDIENT: &str = "selvedge-obedient";

/// Most turns of a conversation: more than any script has.
const TURNS_MAX: usize = 64;

/// How long a command may take, as `timeout` counts: what hangs is told as such.
const COMMAND_WITHIN: &str = "10";

/// How much of what a tool says is told.
const RESULT_CHARS_MAX: usize = 2_000;

/// Does what the model at `$SELVEDGE_MODEL_URL` says until it says nothing more to do. The first argument is what it is asked first. The
/// exit status is 0 when the conversation came to its end, and 1 when it could not be had.
pub fn obey(arguments: &[String]) -> u8 {
    let told = arguments.first().map_or("do your work", String::as_str);
    let url = std::env::var("SELVEDGE_MODEL_URL").unwrap_or_default();
    let model = std::env::var("SELVEDGE_MODEL").unwrap_or_else(|_| "scripted".to_owned());
    match Conversation::begin(url, &model, told).go_on() {
        Ok(()) => 0,
        Err(error) => {
            // Where nobody reads it, there is nobody to tell.
            let _ = writeln!(io::stderr(), "{OBEDIENT}: {error}");
            1
        }
    }
}

struct Conversation {
    url: String,
    body: Map<String, Value>,
    messages: Vec<Value>,
    /// What the model wants to have in its requests from now on.
    wanted: BTreeMap<String, Value>,
    /// What it wants to look at with the next one.
    looks: Vec<Value>,
}

impl Conversation {
    fn begin(url: String, model: &str, told: &str) -> Self {
        let any = json!({ "type": "object" });
        let tools =
            ["Bash", "Write", "Fetch", "Request", "Look"].map(|name| json!({ "name": name, "input_schema": any }));
        let body = [("model", json!(model)), ("max_tokens", json!(1_000)), ("tools", json!(tools))];
        Self {
            url,
            body: body.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            messages: vec![json!({ "role": "user", "content": told })],
            wanted: BTreeMap::new(),
            looks: Vec::new(),
        }
    }

    fn go_on(mut self) -> io::Result<()> {
        for _turn in 0..TURNS_MAX {
            let said = self.ask()?;
            self.messages.push(json!({ "role": "assistant", "content": said }));
            let parts = said.as_array().cloned().unwrap_or_default();
            let calls: Vec<&Value> = parts.iter().filter(|part| part["type"] == "tool_use").collect();
            if calls.is_empty() {
                let words: Vec<&str> = parts.iter().filter_map(|part| part["text"].as_str()).collect();
                return writeln!(io::stdout(), "{}", words.join("\n"));
            }
            let results: Vec<Value> = calls.into_iter().map(|call| self.result(call)).collect();
            self.messages.push(json!({ "role": "user", "content": results }));
        }
        Err(io::Error::other("the model says ever more"))
    }

    /// What the model says next. A request that is refused for what the model wanted in it is sent again without.
    fn ask(&mut self) -> io::Result<Value> {
        let looks = std::mem::take(&mut self.looks);
        let wanted = std::mem::take(&mut self.wanted);
        let mut with = self.body.clone();
        with.insert("messages".to_owned(), json!(self.messages));
        if !(looks.is_empty() && wanted.is_empty()) {
            let mut more = with.clone();
            more.extend(wanted);
            let mut messages = self.messages.clone();
            if let Some(content) = messages.last_mut().and_then(|last| last["content"].as_array_mut()) {
                content.extend(looks);
            }
            more.insert("messages".to_owned(), json!(messages));
            if let (200, said) = self.post(&more)? {
                return Ok(said);
            }
        }
        match self.post(&with)? {
            (200, said) => Ok(said),
            (status, said) => Err(io::Error::other(format!("the model's answer is {status}: {said}"))),
        }
    }

    fn post(&self, body: &Map<String, Value>) -> io::Result<(u16, Value)> {
        let fields = [("content-type", "application/json"), ("anthropic-version", "2023-06-01"), ("x-api-key", "none")];
        let answer = Fetch {
            url: format!("{}/v1/messages?beta=true", self.url),
            method: "POST".to_owned(),
            fields: fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            body: Value::Object(body.clone()).to_string().into_bytes(),
        };
        let (status, bytes) = fetch::send(&answer, None)?;
        let read: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        Ok((status, if status == 200 { read.get("content").cloned().unwrap_or_default() } else { read }))
    }

    /// Does what a call says, and tells how that went.
    fn result(&mut self, call: &Value) -> Value {
        let (name, input) = (call["name"].as_str().unwrap_or_default(), &call["input"]);
        let done = self.act(name, input);
        let (failed, said) = done.map_or_else(|error| (true, error.to_string()), |said| (false, said));
        let said: String = said.chars().take(RESULT_CHARS_MAX).collect();
        let line = said.lines().next().unwrap_or_default();
        // The output is for people; the model is told whatever becomes of it.
        let _ = writeln!(io::stdout(), "{name} {}: {line}", if failed { "failed" } else { "done" });
        json!({ "type": "tool_result", "tool_use_id": call["id"], "content": said, "is_error": failed })
    }

    fn act(&mut self, name: &str, input: &Value) -> io::Result<String> {
        let text = |name: &str| input[name].as_str().unwrap_or_default().to_owned();
        match name {
            "Bash" => shell(&text("command")),
            "Write" => {
                let path = std::path::PathBuf::from(text("file_path"));
                path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
                std::fs::write(path, text("content")).map(|()| "written".to_owned())
            }
            "Fetch" => {
                let file = input["file"].as_str().map(std::fs::read).transpose()?;
                let fields = input["headers"].as_object().into_iter().flatten();
                let wanted = Fetch {
                    url: text("url"),
                    method: input["method"].as_str().unwrap_or("GET").to_owned(),
                    fields: fields
                        .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
                        .collect(),
                    body: file.unwrap_or_else(|| text("body").into_bytes()),
                };
                let (status, bytes) = fetch::send(&wanted, std::env::var("http_proxy").ok().as_deref())?;
                Ok(format!("{status} {}", String::from_utf8_lossy(&bytes)))
            }
            "Request" => {
                self.wanted
                    .extend(input.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())));
                Ok("in the next request".to_owned())
            }
            "Look" => {
                self.looks.push(json!({ "type": "image", "source": { "type": "url", "url": text("url") } }));
                Ok("with the next request".to_owned())
            }
            _ => Err(io::Error::other("no such tool")),
        }
    }
}

fn shell(command: &str) -> io::Result<String> {
    let output = Command::new("timeout").args([COMMAND_WITHIN, "sh", "-c", command]).stdin(Stdio::null()).output()?;
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    if output.status.success() { Ok(said) } else { Err(io::Error::other(format!("{}; {said}", output.status))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Script, Server, Turn};

    #[test]
    fn it_does_what_it_is_told_and_tells_what_came_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/note");
        let script = Script::open()
            .turn(
                Turn::new()
                    .call("Write", json!({ "file_path": path, "content": "obeyed" }))
                    .call("Bash", json!({ "command": format!("cat {}", path.display()) }))
                    .call("Selvedge", json!({}))
                    .call("Look", json!({ "url": "https://example.org/a.png" })),
            )
            .turn(Turn::new().call("Request", json!({ "nobody_published": "this" })))
            .turn(Turn::new().text("That was all."));
        let server = Server::start(script).unwrap();
        Conversation::begin(format!("http://{}", server.address()), "scripted", "go").go_on().unwrap();
        let seen = server.seen();
        assert_eq!(seen[1].results, ["written", "obeyed", "no such tool", "with the next request"]);
        assert!(seen[1].body.to_string().contains("https://example.org/a.png"));
        // What is refused with what the model wanted goes out again without it.
        let statuses: Vec<u16> = seen.iter().map(|seen| seen.status).collect();
        assert_eq!(statuses, [200, 200, 400, 200]);
        let has = |place: usize| seen[place].body.get("nobody_published").is_some();
        assert!(has(2) && !has(3));
    }

    #[test]
    fn what_cannot_be_done_is_told_and_goes_on() {
        let script = Script::open()
            .turn(Turn::new().call("Bash", json!({ "command": "exit 3" })).call("Fetch", json!({ "url": "ftp://x/" })))
            .turn(Turn::new().text("Never mind."));
        let server = Server::start(script).unwrap();
        Conversation::begin(format!("http://{}", server.address()), "scripted", "go").go_on().unwrap();
        let results = &server.seen()[1].results;
        assert!(results[0].contains("exit status: 3") && results[1].contains("http://"), "{results:?}");
    }
}
