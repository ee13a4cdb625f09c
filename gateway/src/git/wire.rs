//! The git door's messages as they are written, and their conversion from and into [`super::wanted`].

use selvedge_domain::CommitId;
use serde::{Deserialize, Serialize};

use super::wanted::{GitAnswer, GitCall, GitHost, GitService, GitWanted};
use crate::wire::message::{BadMessage, endpoint};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireGitHost {
    host: String,
    port: u16,
    path: String,
    reference: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireGitCall {
    lane: usize,
    wanted: WireGitWanted,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum WireGitWanted {
    AdvertiseUploadPack {},
    AdvertiseReceivePack {},
    Fetch { bytes: u64 },
    Push { old: Option<String>, new: String, pack_at: u64, bytes: u64 },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum WireGitAnswer {
    Served { bytes: u64, at: Option<String> },
    Pushed {},
    Refused { code: String, because: String },
}

impl From<&GitHost> for WireGitHost {
    fn from(git: &GitHost) -> Self {
        let GitHost { endpoint, path, reference } = git;
        let (host, port) = (endpoint.host.to_string(), endpoint.port);
        Self { host, port, path: path.clone(), reference: reference.clone() }
    }
}

impl TryFrom<WireGitHost> for GitHost {
    type Error = BadMessage;

    fn try_from(wire: WireGitHost) -> Result<Self, BadMessage> {
        let WireGitHost { host, port, path, reference } = wire;
        Ok(Self { endpoint: endpoint(&host, port)?, path, reference })
    }
}

impl From<GitCall> for WireGitCall {
    fn from(call: GitCall) -> Self {
        let wanted = match call.wanted {
            GitWanted::Advertise(GitService::UploadPack) => WireGitWanted::AdvertiseUploadPack {},
            GitWanted::Advertise(GitService::ReceivePack) => WireGitWanted::AdvertiseReceivePack {},
            GitWanted::Fetch { bytes } => WireGitWanted::Fetch { bytes },
            GitWanted::Push { old, new, pack_at, bytes } => {
                let old = old.map(|commit| commit.to_string());
                WireGitWanted::Push { old, new: new.to_string(), pack_at, bytes }
            }
        };
        Self { lane: call.lane, wanted }
    }
}

impl TryFrom<WireGitCall> for GitCall {
    type Error = BadMessage;

    fn try_from(wire: WireGitCall) -> Result<Self, BadMessage> {
        let wanted = match wire.wanted {
            WireGitWanted::AdvertiseUploadPack {} => GitWanted::Advertise(GitService::UploadPack),
            WireGitWanted::AdvertiseReceivePack {} => GitWanted::Advertise(GitService::ReceivePack),
            WireGitWanted::Fetch { bytes } => GitWanted::Fetch { bytes },
            WireGitWanted::Push { old, new, pack_at, bytes } => {
                let old = old.as_deref().map(commit).transpose()?;
                GitWanted::Push { old, new: commit(&new)?, pack_at, bytes }
            }
        };
        Ok(Self { lane: wire.lane, wanted })
    }
}

impl From<GitAnswer> for WireGitAnswer {
    fn from(answer: GitAnswer) -> Self {
        match answer {
            GitAnswer::Served { bytes, at } => Self::Served { bytes, at: at.map(|commit| commit.to_string()) },
            GitAnswer::Pushed => Self::Pushed {},
            GitAnswer::Refused { code, because } => Self::Refused { code, because },
        }
    }
}

impl TryFrom<WireGitAnswer> for GitAnswer {
    type Error = BadMessage;

    fn try_from(wire: WireGitAnswer) -> Result<Self, BadMessage> {
        Ok(match wire {
            WireGitAnswer::Served { bytes, at } => Self::Served { bytes, at: at.as_deref().map(commit).transpose()? },
            WireGitAnswer::Pushed {} => Self::Pushed,
            WireGitAnswer::Refused { code, because } => Self::Refused { code, because },
        })
    }
}

fn commit(text: &str) -> Result<CommitId, BadMessage> {
    CommitId::parse(text).map_err(|_| BadMessage("commit"))
}
