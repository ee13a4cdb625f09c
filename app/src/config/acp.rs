//! Agents that are spoken to by the Agent Client Protocol, and what is added to the environment of a program that is not installed.

use std::collections::BTreeMap;

use selvedge_domain::Duration;
use selvedge_forge::secret::Scanner;
use selvedge_workers::agents::Adapter;

use super::{AgentFile, ConfigError, Reader, Runtime};

/// How long such an agent may say nothing where nobody says: as long as its model may, and a command of its own besides.
const SILENCE_AT_MOST_DEFAULT: Duration = Duration::from_seconds(1200);

/// Longest name of a mode.
const MODE_BYTES_MAX: usize = 128;

/// How the names of variables begin that are the factory's.
const OURS: &str = "SELVEDGE_";

/// What stands for the model in a value of the environment: what it is called, where it is asked, and what stands in a key's place.
pub(crate) const MODEL: [&str; 3] = ["{model}", "{model_url}", "{key}"];

/// An agent that is spoken to by the Agent Client Protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AcpConfig {
    pub(crate) program: AcpProgram,
    /// The mode it is to work in; without one, that in which it begins.
    pub(crate) mode: Option<String>,
    /// How long it may say nothing while it works.
    pub(crate) silence_at_most: Duration,
}

/// What such an agent is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AcpProgram {
    /// Any program.
    Command(Vec<String>),
    /// A coding agent that was installed.
    Installed(&'static Adapter),
}

impl Reader<'_> {
    /// `runtime = "acp"`: any program that speaks it.
    pub(super) fn any_acp(&self, key: &str, written: &AgentFile) -> Result<Runtime, ConfigError> {
        let because = match written.command.as_slice() {
            [program, ..] if program.trim().is_empty() => "names no program",
            [] => "is missing",
            command if command.iter().any(|word| word.contains("{text}")) => "has `{text}` in it",
            command => return self.acp(key, AcpProgram::Command(command.to_vec()), written),
        };
        self.bad(
            format!("{key}.command"),
            format!(
                "{because}; write the program that speaks the Agent Client Protocol, such as `command = [\"my-agent\", \"--acp\"]`: it is \
                 told its task by the protocol"
            ),
        )
    }

    /// An installed coding agent with an `acp` of its own.
    pub(super) fn installed_acp(
        &self,
        key: &str,
        adapter: &'static Adapter,
        written: &AgentFile,
    ) -> Result<Runtime, ConfigError> {
        if !adapter.speaks_acp() {
            let speak: Vec<&str> =
                Adapter::ALL.iter().filter(|adapter| adapter.speaks_acp()).map(|adapter| adapter.name).collect();
            let because = format!(
                "belongs to `runtime = \"acp\"` and to agents that speak it themselves ({}); leave it out, or run a program that speaks \
                 for `{}` with `runtime = \"acp\"` and `command`",
                speak.join(", "),
                adapter.name
            );
            return self.bad(format!("{key}.acp"), because);
        }
        self.acp(key, AcpProgram::Installed(adapter), written)
    }

    fn acp(&self, key: &str, program: AcpProgram, written: &AgentFile) -> Result<Runtime, ConfigError> {
        let how = written.acp.clone().unwrap_or_default();
        let is_mode =
            |mode: &String| !mode.is_empty() && mode.len() <= MODE_BYTES_MAX && !mode.chars().any(char::is_control);
        if how.mode.as_ref().is_some_and(|mode| !is_mode(mode)) {
            let because =
                "is no name of a mode; leave it out, and a run says which modes the agent has if it is one of none";
            return self.bad(format!("{key}.acp.mode"), because);
        }
        let silence = how.silence_at_most.as_deref();
        let silence = silence.map(|text| self.span(&format!("{key}.acp.silence_at_most"), text)).transpose()?;
        let silence_at_most = silence.unwrap_or(SILENCE_AT_MOST_DEFAULT);
        Ok(Runtime::Acp(AcpConfig { program, mode: how.mode, silence_at_most }))
    }

    /// What is added to the environment. An adapter says what its agent's is, and secrets are lent by doors.
    pub(super) fn environment(
        &self,
        key: &str,
        runtime: &Runtime,
        written: &AgentFile,
    ) -> Result<BTreeMap<String, String>, ConfigError> {
        let is_any_program =
            matches!(runtime, Runtime::Command(_) | Runtime::Acp(AcpConfig { program: AcpProgram::Command(_), .. }));
        if !(is_any_program || written.env.is_empty()) {
            return self.bad(
                format!("{key}.env"),
                "belongs to `runtime = \"command\"` and `runtime = \"acp\"` with a `command`",
            );
        }
        for (name, value) in &written.env {
            let key = format!("{key}.env.{name}");
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(is_word) {
                return self.bad(key, "is no name of a variable; write letters, digits and `_`");
            }
            if name.starts_with(OURS) {
                return self.bad(key, format!("begins with `{OURS}`, as the factory's own do; choose another name"));
            }
            if value.contains('\0') {
                return self.bad(key, "holds a zero byte, which no variable can; leave it out");
            }
            if !Scanner::default().added(b"", value.as_bytes()).is_empty() {
                let because = "looks like a secret, and agents hold none: name it as a `[credential.NAME]`, which a door puts into requests";
                return self.bad(key, because);
            }
            if let Some((word, meant)) = slip(value).filter(|_| written.model.is_some()) {
                return self.bad(key, format!("holds `{word}`; did you mean `{meant}`?"));
            }
            if written.model.is_none() && MODEL.iter().any(|word| value.contains(word)) {
                return self.bad(key, "stands for a model, and this agent has none: name one as its `model`");
            }
        }
        Ok(written.env.clone())
    }
}

/// A word in braces that begins as those that stand for a model and is none of them, and the one that is meant. Other words in braces are
/// the program's own affair.
fn slip(value: &str) -> Option<(String, &'static str)> {
    let in_braces =
        value.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(word, _)| format!("{{{word}}}"));
    let mut slips =
        in_braces.filter(|word| word.starts_with("{model") && word != "{models}" && !MODEL.contains(&word.as_str()));
    let word = slips.next()?;
    let meant = if word.starts_with("{model_") || word.contains("url") { "{model_url}" } else { "{model}" };
    Some((word, meant))
}
