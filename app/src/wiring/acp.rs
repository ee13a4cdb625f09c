//! The place of an agent that is spoken to by the Agent Client Protocol: the client of ours is its program, and starts the agent.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use selvedge_authority::ActError;
use selvedge_domain::Task;
use selvedge_factory::ports::Entropy as _;
use selvedge_sandbox::{Bind, Input, Place};
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
                let place = asks_itself(self.furnished(Place::new(command)));
                let mut place = self.with_environment(agent, model, place);
                // The client starts this very file, so that what is seen to start is known to be it.
                if let Some(program) = place.argv.first_mut() {
                    *program = found(program, &place.env, &place.binds);
                }
                Ok(place)
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

/// Where a program of this name lies inside, looked for as the launcher does; the name itself where it lies nowhere.
fn found(name: &str, env: &[(String, String)], binds: &[Bind]) -> String {
    if name.contains('/') {
        let from_workspace = |name: &str| format!("{}/{}", selvedge_jail::WORKSPACE, name.trim_start_matches("./"));
        return if name.starts_with('/') { name.to_owned() } else { from_workspace(name) };
    }
    let outside = |path: &str| {
        let bound =
            binds.iter().find_map(|bind| Some(bind.source.join(Path::new(path).strip_prefix(&bind.target).ok()?)));
        bound.unwrap_or_else(|| path.into())
    };
    let is_program = |path: &String| {
        outside(path).metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    let path = env.iter().find(|(key, _)| key == "PATH").map(|(_, path)| path.as_str()).unwrap_or_default();
    path.split(':').map(|directory| format!("{directory}/{name}")).find(is_program).unwrap_or_else(|| name.to_owned())
}

pub(super) fn asks_itself(place: Place) -> Place {
    place.with_env("NO_PROXY", WITHOUT_PROXY).with_env("no_proxy", WITHOUT_PROXY)
}

#[cfg(test)]
mod tests {
    use selvedge_sandbox::Access;

    use super::*;

    #[test]
    fn a_program_is_found_where_the_launcher_would_look_for_it() {
        let tool = tempfile::tempdir().unwrap();
        for (name, mode) in [("bin/agent", 0o755), ("bin/sh", 0o644)] {
            let path = tool.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "x").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let target = "/opt/toolchain/0".to_owned();
        let binds = [Bind { source: tool.path().to_owned(), target, access: Access::ReadOnly }];
        let env = [("PATH".to_owned(), "/opt/toolchain/0/bin:/usr/bin".to_owned())];
        for (name, place) in [
            ("agent", "/opt/toolchain/0/bin/agent"),
            ("sh", "/usr/bin/sh"),
            ("nowhere-to-be-found", "nowhere-to-be-found"),
            ("/usr/bin/env", "/usr/bin/env"),
            ("./bin/agent", "/workspace/bin/agent"),
            ("bin/agent", "/workspace/bin/agent"),
        ] {
            assert_eq!(found(name, &env, &binds), place);
        }
    }
}
