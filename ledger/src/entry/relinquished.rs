//! `relinquished`: authority was taken away.

use selvedge_authority::{HaltScope, Record, Relinquished};
use selvedge_domain::{AgentName, CredentialName, LeaseId, RepoName, RunId};
use serde::{Deserialize, Serialize};

use super::{Kind, Malformed, read_as};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct V1 {
    act: ActV1,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
enum ActV1 {
    Halted { scope: ScopeV1 },
    Resumed { scope: ScopeV1 },
    SandboxKilled { found: String },
    DoorsClosed {},
    Withdrawn { credential: String, lease: String },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
enum ScopeV1 {
    All {},
    Agent { name: String },
    Repo { name: String },
    Run { id: String },
}

impl V1 {
    pub(super) fn store(relinquished: &Relinquished) -> Self {
        let act = match relinquished {
            Relinquished::Halted(scope) => ActV1::Halted { scope: ScopeV1::store(scope) },
            Relinquished::Resumed(scope) => ActV1::Resumed { scope: ScopeV1::store(scope) },
            Relinquished::SandboxKilled { found } => ActV1::SandboxKilled { found: found.clone() },
            Relinquished::DoorsClosed => ActV1::DoorsClosed {},
            Relinquished::Withdrawn { credential, lease } => {
                ActV1::Withdrawn { credential: credential.to_string(), lease: lease.to_string() }
            }
        };
        Self { act }
    }

    fn restore(self) -> Result<Record, Malformed> {
        Ok(Record::Relinquished(match self.act {
            ActV1::Halted { scope } => Relinquished::Halted(scope.restore()?),
            ActV1::Resumed { scope } => Relinquished::Resumed(scope.restore()?),
            ActV1::SandboxKilled { found } => Relinquished::SandboxKilled { found },
            ActV1::DoorsClosed {} => Relinquished::DoorsClosed,
            ActV1::Withdrawn { credential, lease } => Relinquished::Withdrawn {
                credential: CredentialName::parse(&credential)?,
                lease: LeaseId::parse(&lease)?,
            },
        }))
    }
}

impl ScopeV1 {
    fn store(scope: &HaltScope) -> Self {
        match scope {
            HaltScope::All => Self::All {},
            HaltScope::Agent(name) => Self::Agent { name: name.to_string() },
            HaltScope::Repo(name) => Self::Repo { name: name.to_string() },
            HaltScope::Run(id) => Self::Run { id: id.to_string() },
        }
    }

    fn restore(self) -> Result<HaltScope, Malformed> {
        Ok(match self {
            Self::All {} => HaltScope::All,
            Self::Agent { name } => HaltScope::Agent(AgentName::parse(&name)?),
            Self::Repo { name } => HaltScope::Repo(RepoName::parse(&name)?),
            Self::Run { id } => HaltScope::Run(RunId::parse(&id)?),
        })
    }
}

impl Kind for V1 {
    const NAME: &'static str = "relinquished";
    const VERSION: u32 = 1;

    fn read(version: u32, body: &str) -> Option<Result<Record, Malformed>> {
        match version {
            1 => read_as(body, Self::restore),
            _ => None,
        }
    }
}
