//! The place of an agent that is spoken to by the Agent Client Protocol: the client of ours is its program, and starts the agent.

use selvedge_authority::ActError;
use selvedge_domain::Task;
use selvedge_factory::ports::Entropy as _;
use selvedge_sandbox::{Input, Place};
use selvedge_workers::acp::{Assignment, PROGRAM};

use super::Works;
use super::agents::Speaks;
use super::model::ModelDesk;
use super::place::WORKER_DIR;
use super::repositories::permanent;
use super::tools::ToolDesk;
use crate::config::{AcpConfig, AcpProgram, AgentConfig, MODEL};

/// What is asked without the proxy: doors, as some clients make a tunnel even for plain HTTP, which a door ends; and the agent itself,
/// as some are a server and its client.
const WITHOUT_PROXY: &str = "model.selvedge.internal,tools.selvedge.internal,127.0.0.1,localhost";

impl Works {
    /// Where it works, its program the agent's own.
    pub(super) fn place_for_acp(
        &self,
        agent: &AgentConfig,
        acp: &AcpConfig,
        (model, tools): (Option<&ModelDesk>, Option<&ToolDesk>),
        task: &Task,
    ) -> Result<Place, ActError> {
        match &acp.program {
            AcpProgram::Installed(adapter) => {
                let model = model.ok_or_else(|| permanent("this task was given no model, and its agent needs one"))?;
                Ok(asks_itself(self.place_for_agent(adapter, Speaks::Acp, model, tools, (task, false))?))
            }
            AcpProgram::Command(command) => {
                Ok(self.with_environment(agent, model, asks_itself(self.furnished(Place::new(command)))))
            }
        }
    }

    /// The same place with the client as its program, which starts the agent and is told on its standard input what to say to it.
    pub(super) fn spoken_to(&self, acp: &AcpConfig, tools: Option<&ToolDesk>, task: String, mut place: Place) -> Place {
        let assignment = Assignment {
            command: std::mem::replace(&mut place.argv, vec![format!("{WORKER_DIR}/{PROGRAM}")]),
            task,
            workspace: selvedge_jail::WORKSPACE.to_owned(),
            mode: acp.mode.clone(),
            servers: match acp.program {
                // In its settings.
                AcpProgram::Installed(_) => Vec::new(),
                AcpProgram::Command(_) => tools.map(ToolDesk::places).unwrap_or_default(),
            },
            silence_seconds: acp.silence_at_most.as_millis() / 1_000,
        };
        place.stdin = Input::Bytes(assignment.to_bytes());
        place.binds.push(self.bind_executable(PROGRAM));
        place
    }

    /// A place with what the operator adds to its environment.
    pub(super) fn with_environment(&self, agent: &AgentConfig, model: Option<&ModelDesk>, mut place: Place) -> Place {
        let placeholder = format!("selvedge-{:016x}{:016x}", self.draw(), self.draw());
        let (asked, url) = (model.map(ModelDesk::asked).unwrap_or_default(), ModelDesk::url());
        let stand_for = [asked, &url, &placeholder];
        for (name, value) in &agent.env {
            let words = MODEL.iter().zip(stand_for);
            let value = words.fold(value.clone(), |value, (word, stands_for)| value.replace(word, stands_for));
            place = place.with_env(name, &value);
        }
        place
    }
}

pub(super) fn asks_itself(place: Place) -> Place {
    place.with_env("NO_PROXY", WITHOUT_PROXY).with_env("no_proxy", WITHOUT_PROXY)
}
