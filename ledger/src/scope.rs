//! Scopes of halts as one word each, for keys of tables.

use selvedge_authority::HaltScope;
use selvedge_domain::{AgentName, RepoName, RunId};

/// The scope as a key.
pub(crate) fn scope_text(scope: &HaltScope) -> String {
    match scope {
        HaltScope::All => "all".to_owned(),
        HaltScope::Agent(name) => format!("agent:{name}"),
        HaltScope::Repo(name) => format!("repo:{name}"),
        HaltScope::Run(id) => format!("run:{id}"),
    }
}

/// Reads a key.
pub(crate) fn parse_scope(text: &str) -> Option<HaltScope> {
    match text.split_once(':') {
        None => (text == "all").then_some(HaltScope::All),
        Some(("agent", name)) => AgentName::parse(name).ok().map(HaltScope::Agent),
        Some(("repo", name)) => RepoName::parse(name).ok().map(HaltScope::Repo),
        Some(("run", id)) => RunId::parse(id).ok().map(HaltScope::Run),
        Some(_) => None,
    }
}
