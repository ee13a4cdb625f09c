//! Everything that stands: agents, the keys and credentials that doors use, the factory's own keys. Each with who answers for
//! it, its age and its last use, and what it was granted beside what was used.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use selvedge_authority::TO_START;
use selvedge_credentials::Standing as Stored;
use selvedge_domain::{AgentName, CredentialName, Duration, Owner, Time, Trust};
use serde_json::{Value, json};

use super::ask_credentials::PROXY;
use super::hall::Keeper;
use super::usage::{AgentUse, CredentialUse, Usage};
use crate::config::{AD_HOC, AgentConfig, Config, CredentialConfig, KeyKept, Runtime, What};
use crate::errors::{CliError, Kind};
use crate::wiring::Vouched;

/// What is there to be counted.
pub(super) struct Census<'a> {
    pub(super) keeper: &'a Keeper,
    pub(super) config: &'a Config,
    pub(super) usage: &'a Usage,
}

/// An identity or a secret that lives on when a run has ended.
pub(super) struct Standing {
    /// `agent:NAME`, `credential:NAME` or `factory:KEY`.
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) owner: Owner,
    /// What it is for.
    pub(super) purpose: String,
    /// Since when it is there; none when nothing was ever seen of it.
    pub(super) since: Option<Time>,
    pub(super) last_used: Option<Time>,
    /// When the one that is there replaced another.
    pub(super) rotated: Option<Time>,
    /// When the next one takes over by itself.
    pub(super) rotates: Option<Time>,
    pub(super) vouched: Vouched,
    /// When its key was seen where it must not be; it is not lent any more.
    pub(super) leaked: Option<Time>,
    /// What was granted, and when it was used last.
    pub(super) rights: Vec<Value>,
    /// What was granted and not used, each with what to take out.
    pub(super) surplus: Vec<Value>,
    /// How many runs there were in the window; none for what is no agent.
    pub(super) runs: Option<u64>,
}

/// The keys the factory made for itself.
struct OwnKey<'a> {
    name: &'static str,
    purpose: &'a str,
    since: Option<Time>,
    last_used: Option<Time>,
    /// Since when the one in use signs, and when the next takes over; none where nothing takes over.
    rotation: Option<(Time, Time)>,
}

impl Census<'_> {
    /// Everything, in the order of its names.
    pub(super) fn standing(&self) -> Result<Vec<Standing>, CliError> {
        let mut all: Vec<Standing> = self.config.agents.iter().map(|(name, agent)| self.agent(name, agent)).collect();
        for (name, credential) in &self.config.credentials {
            all.push(self.credential(name, credential)?);
        }
        all.extend(self.own_keys());
        Ok(all)
    }

    /// Stored keys whose credential is not configured any more, so that nobody answers for them.
    pub(super) fn keys_without_owner(&self) -> Vec<&CredentialName> {
        let takes_password = self.config.proxy.as_ref().is_some_and(|proxy| proxy.user.is_some());
        let is_configured = |name: &CredentialName| {
            self.config.credentials.contains_key(name) || (takes_password && name.as_str() == PROXY)
        };
        self.usage.keys.keys().filter(|name| !is_configured(name)).collect()
    }

    /// Whether a pipeline has it at work: what it needs to be a stage says the pipeline, and not what its own runs did.
    fn is_a_stage(&self, name: &AgentName) -> bool {
        let mut stages = self.config.pipelines.values().flat_map(|found| &found.pipeline.parts);
        stages.any(|stage| stage.agent == *name)
    }

    fn agent(&self, name: &AgentName, config: &AgentConfig) -> Standing {
        let unseen = AgentUse::default();
        let used = self.usage.agents.get(name).unwrap_or(&unseen);
        let (mut rights, mut surplus) = (Vec::new(), Vec::new());
        for (right, last) in config.rights.iter().zip(&used.rights) {
            let (last, enough) = match &right.what {
                What::Trust(trust) => (*last, used.trust.unwrap_or(Trust::Observe).min(*trust)),
                What::May(_)
                | What::Reach(_)
                | What::Asking(_)
                | What::Audience(_)
                | What::Credential(_)
                | What::Model(_)
                | What::Tools(_) => (*last, config.agent.trust),
            };
            let is_used = last.is_some() && enough == config.agent.trust;
            let last_used = last.map(|at| at.to_string());
            rights.push(json!({ "key": right.key, "word": right.word, "used": is_used, "last_used": last_used }));
            if is_used {
                continue;
            }
            surplus.push(match &right.what {
                What::Trust(trust) if enough.max(least_trust()) >= *trust || self.is_a_stage(name) => {
                    indispensable(&right.key, &right.word)
                }
                What::Trust(_) => excess(&right.key, &right.word, Some(enough.max(least_trust()).as_str())),
                What::May(may) if TO_START.iter().any(|(word, _)| word == may) => {
                    indispensable(&right.key, &right.word)
                }
                _ => excess(&right.key, &right.word, None),
            });
        }
        let is_built_in = config.tries.is_some()
            || matches!(config.runtime, Runtime::Install(_))
            || (name.as_str() == AD_HOC && config.rights.is_empty());
        Standing {
            name: format!("agent:{name}"),
            kind: if is_built_in { "built-in agent" } else { "agent" },
            owner: config.agent.owner.clone(),
            purpose: config.agent.purpose.clone(),
            since: used.first,
            last_used: used.last,
            rotated: None,
            rotates: None,
            vouched: self.keeper.works.agent_vouched(config),
            leaked: None,
            rights,
            surplus,
            runs: Some(used.runs),
        }
    }

    fn credential(&self, name: &CredentialName, config: &CredentialConfig) -> Result<Standing, CliError> {
        let unseen = CredentialUse::default();
        let used = self.usage.credentials.get(name).unwrap_or(&unseen);
        let (kind, (kept, leaked)) = match config.source.key_kept() {
            KeyKept::Lent => ("stored key", self.stored(name)?),
            KeyKept::OfApp => ("minting key of an app", (self.minting(name)?, None)),
            KeyKept::OfAccount => ("minting key of an account", (self.minting(name)?, None)),
            // There is nothing of it here that lives on: each run shows its own identity.
            KeyKept::None => ("made with each run's identity", (None, None)),
        };
        let key = format!("credential.{name}.uses");
        let (mut rights, mut surplus) = (Vec::new(), Vec::new());
        for uses in &config.uses {
            let last = used.uses.get(uses).map(ToString::to_string);
            rights.push(json!({ "key": key, "word": uses.to_string(), "used": last.is_some(), "last_used": last }));
            if last.is_none() {
                surplus.push(excess(&key, &uses.to_string(), None));
            }
        }
        Ok(Standing {
            name: format!("credential:{name}"),
            kind,
            owner: config.credential.owner.clone(),
            purpose: config.uses.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            since: kept.or(used.first_lent),
            last_used: used.last_used,
            rotated: kept.and(self.usage.keys.get(name).copied().flatten()),
            rotates: None,
            vouched: self.keeper.works.credential_vouched(config),
            leaked,
            rights,
            surplus,
            runs: None,
        })
    }

    /// Since when the key that is lent is there, or when it leaked.
    fn stored(&self, name: &CredentialName) -> Result<(Option<Time>, Option<Time>), CliError> {
        let standing = self.keeper.works.lending.keys.standing(name);
        match standing.map_err(|error| CliError::caused(Kind::State, &error))? {
            Some(Stored::StoredSince(since)) => Ok((Some(since), None)),
            Some(Stored::LeakedAt(at)) => Ok((None, Some(at))),
            None => Ok((None, None)),
        }
    }

    fn minting(&self, name: &CredentialName) -> Result<Option<Time>, CliError> {
        let since = self.keeper.works.lending.minting.stored_since(name);
        since.map_err(|error| CliError::caused(Kind::State, &error))
    }

    fn own_keys(&self) -> Vec<Standing> {
        let works = &self.keeper.works;
        let ([tokens, certificates], state) = (works.lending.rotations(), &works.state);
        let last = works.ledger.last_at();
        let keys = [
            OwnKey {
                name: "log",
                purpose: "signing the checkpoints of the log; the log is named by it, so it is never replaced",
                since: made_at(&state.at("ledger").join("log.key")).or(self.usage.begins),
                last_used: last,
                rotation: None,
            },
            OwnKey {
                name: "master",
                purpose: "sealing every other secret; kept in the file `master.key` of the state directory",
                since: made_at(&state.at("master.key")),
                last_used: last,
                rotation: None,
            },
            OwnKey {
                name: "identity-tokens",
                purpose: "signing the JWT-SVIDs of runs; the next one takes over by itself",
                since: Some(tokens.0),
                last_used: self.usage.last_identity,
                rotation: Some(tokens),
            },
            OwnKey {
                name: "identity-certificates",
                purpose: "signing the X.509-SVIDs of runs; the next one takes over by itself",
                since: Some(certificates.0),
                last_used: self.usage.last_identity,
                rotation: Some(certificates),
            },
        ];
        keys.map(|key| self.own_key(&key)).into()
    }

    fn own_key(&self, key: &OwnKey<'_>) -> Standing {
        // What changes by itself needs nobody's word; what stays for ever does.
        let word = if key.rotation.is_some() { None } else { key.since };
        Standing {
            name: format!("factory:{}", key.name),
            kind: "the factory's own key",
            owner: self.config.owner.clone(),
            purpose: key.purpose.to_owned(),
            since: key.since,
            last_used: key.last_used,
            rotated: key.rotation.map(|(since, _)| since),
            rotates: key.rotation.map(|(_, due)| due),
            vouched: self.keeper.works.factory_vouched(word),
            leaked: None,
            rights: Vec::new(),
            surplus: Vec::new(),
            runs: None,
        }
    }
}

/// The least trust with which a run starts.
fn least_trust() -> Trust {
    TO_START.iter().map(|(_, trust)| *trust).max().unwrap_or(Trust::Observe)
}

/// A right that nobody used, and that the configuration does not load without.
fn indispensable(key: &str, word: &str) -> Value {
    let agent = key.rsplit_once('.').map_or(key, |(agent, _)| agent);
    let trim = format!("no run starts with less than \"{word}\" in `{key}`: take `[{agent}]` out if nobody needs it");
    json!({ "key": key, "word": word, "trim": trim })
}

/// A right that nobody used, and how the configuration is trimmed of it.
fn excess(key: &str, word: &str, enough: Option<&str>) -> Value {
    let trim = match enough {
        Some(enough) => format!("set `{key}` to \"{enough}\", which was enough"),
        None => format!("take \"{word}\" out of `{key}`"),
    };
    json!({ "key": key, "word": word, "trim": trim })
}

/// When a file was written last: our keys are written once.
fn made_at(path: &Path) -> Option<Time> {
    let written = std::fs::metadata(path).ok()?;
    let seconds = u64::try_from(written.mtime()).ok()?;
    Some(Time::from_millis(0).after(Duration::from_seconds(seconds)))
}
