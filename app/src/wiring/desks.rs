//! What a door answers for beside the requests it forwards, each at a desk of its own: made for an attempt as its grant says, announced in
//! its place. Never answers anything itself.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use selvedge_authority::ActError;
use selvedge_domain::orders::StartWork;
use selvedge_domain::{May, RepoName, Task};
use selvedge_gateway::model::wanted::Tool;
use selvedge_sandbox::Place;
use selvedge_workers::agents::{self, Adapter, CalledAs};

use super::Works;
use super::access::AccessDesk;
use super::git::GitDesk;
use super::model::ModelDesk;
use super::purse::Purse;
use super::rehearsal::RehearsalDesk;
use super::repositories::transient;
use super::tokens::TokenDesk;
use super::told::ToldDesk;
use super::tools::ToolDesk;
use super::witness::Witness;
use crate::config::{AgentConfig, Runtime};

/// What a door has somebody to answer for; none of it where the run has no business there.
#[derive(Clone, Copy, Default)]
pub(super) struct Desks<'a> {
    /// The repository it may ask for.
    pub(super) git: Option<&'a GitDesk>,
    /// The token endpoint.
    pub(super) tokens: Option<&'a TokenDesk>,
    /// Where it asks to reach more.
    pub(super) access: Option<&'a AccessDesk>,
    /// The model it may have answer.
    pub(super) model: Option<&'a ModelDesk>,
    /// Who sees what it does, where somebody looks.
    pub(super) witness: Option<&'a Witness>,
    /// The tool servers it may ask.
    pub(super) tools: Option<&'a ToolDesk>,
    /// Where the agent's hooks tell of its calls.
    pub(super) told: Option<&'a ToldDesk>,
    /// Who answers instead of all of them, where an agent rehearses.
    pub(super) rehearsal: Option<&'a RehearsalDesk>,
}

/// The desks of one attempt.
pub(super) struct OwnDesks {
    pub(super) purse: Arc<Purse>,
    pub(super) git: Option<GitDesk>,
    pub(super) tokens: Option<TokenDesk>,
    pub(super) tools: Option<ToolDesk>,
    pub(super) witness: Witness,
    /// None where no hooks were laid.
    pub(super) told: Option<ToldDesk>,
    access: Option<AccessDesk>,
    model: Option<ModelDesk>,
}

impl Works {
    /// What the doors of an attempt answer for, as its grant says.
    pub(super) fn desks_for_work(
        &self,
        order: &StartWork,
        task: &Task,
        agent: &AgentConfig,
        pristine: &Path,
    ) -> Result<OwnDesks, ActError> {
        let purse = Arc::new(self.purse(order, task)?);
        let may = |may: May| order.grant.may.contains(&may);
        let tools = self.tool_desk(order)?;
        Ok(OwnDesks {
            model: self.model_desk(order, tools_of(agent, tools.as_ref()), &purse)?,
            tools,
            tokens: may(May::Delegate).then(|| self.token_desk(order, task, &purse)),
            git: may(May::Push).then(|| self.git_desk(order)).transpose()?,
            access: AccessDesk::of(order),
            witness: self.witness(&order.repo, pristine)?,
            told: agent.tells().then(ToldDesk::default),
            purse,
        })
    }

    /// Who sees what an attempt on this tree does.
    pub(super) fn witness(&self, repo: &RepoName, pristine: &Path) -> Result<Witness, ActError> {
        let config = self.config();
        let named = config.repos.get(repo).map(|repo| &repo.sensitive);
        Witness::of(pristine, named.into_iter().flatten()).map_err(transient)
    }
}

impl OwnDesks {
    /// The same for its door.
    pub(super) fn all(&self) -> Desks<'_> {
        Desks {
            git: self.git.as_ref(),
            tokens: self.tokens.as_ref(),
            access: self.access.as_ref(),
            model: self.model.as_ref(),
            witness: Some(&self.witness),
            tools: self.tools.as_ref(),
            told: self.told.as_ref(),
            rehearsal: None,
        }
    }
}

impl Desks<'_> {
    /// Whether there is nothing to ask for. Who only looks on answers nothing.
    pub(super) fn are_closed(&self) -> bool {
        let Self { git, tokens, access, model, tools, rehearsal, witness: _, told: _ } = self;
        let answers_nobody = access.is_none() && model.is_none() && rehearsal.is_none();
        git.is_none() && tokens.is_none() && tools.is_none() && answers_nobody
    }

    /// Says in the sandbox where each of them is.
    pub(super) fn announce(&self, mut place: Place) -> Place {
        let Self { git, tokens, access, model, tools, rehearsal, witness: _, told: _ } = self;
        if let Some(git) = git {
            place = git.announce(place);
        }
        if let Some(tokens) = tokens {
            place = tokens.announce(place);
        }
        if let Some(access) = access {
            place = access.announce(place);
        }
        if let Some(model) = model {
            place = model.announce(place);
        }
        if let Some(tools) = tools {
            place = tools.announce(place);
        }
        if let Some(rehearsal) = rehearsal {
            place = rehearsal.announce(place);
        }
        place
    }
}

/// The tools that the agent is known to have. What an agent of somebody's own calls like some that are known, does what those do.
fn tools_of(agent: &AgentConfig, servers: Option<&ToolDesk>) -> Vec<Tool> {
    let known = match agent.runtime {
        Runtime::Remediate | Runtime::Install(_) => Vec::new(),
        Runtime::Agent(_) | Runtime::Acp(_) | Runtime::Command(_) => {
            agent.runtime.adapter().map_or_else(|| Adapter::ALL.to_vec(), |adapter| vec![adapter])
        }
    };
    let text = |text: &str| text.to_owned();
    let tool = |tool: &agents::Tool| Tool {
        name: text(tool.name),
        kind: text(tool.kind.as_str()),
        command: tool.command.map(text),
        paths: tool.paths.iter().map(|path| text(path)).collect(),
        addresses: tool.address.iter().map(|address| text(address)).collect(),
        patch: tool.patch.map(text),
        of_server: None,
    };
    let ways: BTreeSet<CalledAs> = known.iter().flat_map(|adapter| adapter.calls).copied().collect();
    let of_servers = servers.map(|servers| servers.as_called(&ways)).unwrap_or_default();
    let mut tools = by_name(known.into_iter().flat_map(|adapter| adapter.tools).map(tool));
    // An agent's own come first: a server cannot have one of its tools taken for another.
    tools.extend(of_servers);
    tools
}

/// Each name once: agents differ in what they call an argument, and what is a path to one of them is looked at as one.
fn by_name(tools: impl Iterator<Item = Tool>) -> Vec<Tool> {
    let mut merged: Vec<Tool> = Vec::new();
    for tool in tools {
        match merged.iter_mut().find(|known| known.name.eq_ignore_ascii_case(&tool.name)) {
            Some(known) => {
                known
                    .paths
                    .extend(tool.paths.into_iter().filter(|path| !known.paths.contains(path)).collect::<Vec<_>>());
                let new = |address: &String| !known.addresses.contains(address);
                known.addresses.extend(tool.addresses.into_iter().filter(new).collect::<Vec<_>>());
                known.command = known.command.take().or(tool.command);
                known.patch = known.patch.take().or(tool.patch);
            }
            None => merged.push(tool),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of two commands were meant could not be told.
    #[test]
    fn tools_of_one_name_are_of_one_kind_and_take_their_commands_alike_e3() {
        for tool in Adapter::ALL.into_iter().flat_map(|adapter| adapter.tools) {
            for other in Adapter::ALL.into_iter().flat_map(|adapter| adapter.tools) {
                let is_one = tool.name.eq_ignore_ascii_case(other.name);
                assert!(!is_one || (tool.kind, tool.command) == (other.kind, other.command), "{tool:?} {other:?}");
            }
        }
    }

    #[test]
    fn what_any_agent_takes_for_a_path_is_one_e3() {
        let tool = |name: &str, path: &str| Tool {
            name: name.to_owned(),
            kind: "edit".to_owned(),
            paths: vec![path.to_owned()],
            ..Tool::default()
        };
        let merged =
            by_name([tool("Edit", "file_path"), tool("edit", "filePath"), tool("edit", "file_path")].into_iter());
        assert_eq!(merged.len(), 1);
        assert_eq!(merged[0].paths, ["file_path", "filePath"]);
    }
}
