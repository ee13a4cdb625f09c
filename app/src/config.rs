//! `selvedge.toml`: what the operator writes, in plain words, and what it means.
//!
//! Lives with the state, never in a repository. Unknown keys are errors with a suggestion; every agent names its
//! owner, purpose and escalation, or the file does not load (requirement B3).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use selvedge_authority::TO_START;
use selvedge_credentials::IssuerName;
use selvedge_domain::{
    AgentName, CredentialName, Digest, Duration, Endpoint, HostPattern, Intent, May, Method, ModelName, Owner, Part,
    PathPattern, PipelineName, Reach, RepoName, Sensitivity, ServerName, Tenure, Time, Trust,
};
use selvedge_factory::ports::{Agent, Repository};
use selvedge_gateway::GraphqlService;
use selvedge_gateway::http::path::CanonicalPath;
use selvedge_workers::agents::Adapter;

mod acp;
mod aws;
mod budget;
mod coding;
mod credentials;
mod discover;
mod effects;
mod federation;
mod file;
mod forge_tokens;
mod graphql;
mod hold;
mod hosting;
mod mcp;
mod models;
mod pipelines;
mod prices;
mod propose;
mod rights;
mod schedule;
mod send;
mod trials;
mod values;

pub(crate) use acp::{AcpConfig, AcpProgram, MODEL};
pub(crate) use budget::Budget;
pub(crate) use coding::INSTALL;
pub(crate) use credentials::{CredentialConfig, KeyKept, PATIENCE, Source};
pub(crate) use discover::{discover, registry_tables};
pub(crate) use file::effects::Effects as EffectsFile;
pub(crate) use file::{
    Addresses as AddressesFile, Agent as AgentFile, File, Limits, Model as ModelFile, ModelPrice, schema,
};
pub(crate) use mcp::{ServerAt, ServerConfig, ToolConfig};
pub(crate) use models::ModelConfig;
pub(crate) use pipelines::PipelineConfig;
use prices::Prices;
pub(crate) use prices::{ALWAYS, Price, since};
pub(crate) use propose::{Proposal, propose};
pub(crate) use rights::{Right, What};
pub(crate) use schedule::{Scheduled, Who};
pub(crate) use send::SendLimits;

/// Largest configuration we read.
pub(crate) const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Longest an attempt may last; credentials live no longer (requirement C1).
const ATTEMPT_AT_MOST_DEFAULT: Duration = Duration::from_seconds(900);

/// How long a person's word is good where nobody says: a quarter, as reviews of access commonly are.
const RECERTIFY_DEFAULT: Duration = Duration::from_seconds(90 * 86_400);

/// The agent that runs programs named at the command line. Built in, at trust `draft`; a configuration may narrow it.
pub(crate) const AD_HOC: &str = "ad-hoc";

/// Why a configuration does not load.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read `{path}`: {cause}")]
    Read { path: String, cause: std::io::Error },
    #[error("`{path}` is larger than {CONFIG_BYTES_MAX} bytes")]
    Large { path: String },
    #[error("`{path}`{place}: {message}")]
    Syntax { path: String, place: String, message: String, suggestion: Option<String> },
    #[error("`{key}` in `{path}`: {because}")]
    Meaning { path: String, key: String, because: String },
}

/// A configuration that loaded: everything parsed, nothing left to check.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) issuer: IssuerName,
    /// Who answers for the factory's own keys.
    pub(crate) owner: Owner,
    /// How long a person's word for what the factory itself has is good.
    pub(crate) recertify: Duration,
    /// Where the keys of identities are published.
    pub(crate) publish: Option<PathBuf>,
    pub(crate) level: Option<String>,
    /// The group that may use the control socket, by its number.
    pub(crate) people: Option<u32>,
    pub(crate) slots: usize,
    pub(crate) digest: Digest,
    pub(crate) repos: BTreeMap<RepoName, RepoConfig>,
    pub(crate) agents: BTreeMap<AgentName, AgentConfig>,
    pub(crate) pipelines: BTreeMap<PipelineName, PipelineConfig>,
    pub(crate) schedule: Vec<Scheduled>,
    pub(crate) registries: BTreeMap<String, RegistryConfig>,
    pub(crate) credentials: BTreeMap<CredentialName, CredentialConfig>,
    pub(crate) models: BTreeMap<ModelName, ModelConfig>,
    pub(crate) servers: BTreeMap<ServerName, ServerConfig>,
    pub(crate) danger: Vec<Danger>,
    pub(crate) graphql: Vec<GraphqlService>,
    pub(crate) proxy: Option<Proxy>,
    /// How much a run may send.
    pub(crate) send: SendLimits,
    pub(crate) toolchains: Vec<PathBuf>,
    pub(crate) advisories: Option<PathBuf>,
    pub(crate) advisories_remote: Option<String>,
}

/// A repository, and how to check it.
#[derive(Debug, Clone)]
pub(crate) struct RepoConfig {
    pub(crate) repository: Repository,
    pub(crate) source: PathBuf,
    pub(crate) checks: Vec<String>,
    pub(crate) setup: Option<String>,
    pub(crate) services: Vec<String>,
    pub(crate) gate: Vec<String>,
    /// Files whose reading is observed, besides those known by name.
    pub(crate) sensitive: BTreeSet<PathPattern>,
}

/// An agent, and how to run it.
#[derive(Debug, Clone)]
pub(crate) struct AgentConfig {
    pub(crate) agent: Agent,
    /// Its grant as it is written; empty for the built-in agent that nobody configured.
    pub(crate) rights: Vec<Right>,
    /// The credentials that its tool servers are asked with.
    pub(crate) for_servers: BTreeSet<CredentialName>,
    /// How long a person's word for it is good.
    pub(crate) recertify: Duration,
    /// The credential that this built-in agent tries; none for all others.
    pub(crate) tries: Option<CredentialName>,
    pub(crate) runtime: Runtime,
    /// What is added to its environment.
    pub(crate) env: BTreeMap<String, String>,
    /// Whether its hooks tell what it says of its tool calls, where it has any.
    pub(crate) hooks: bool,
    /// What its model, the tokens a run hands on and its children may spend in all.
    pub(crate) budget: Budget,
    /// Agents it may give work to.
    pub(crate) children: BTreeSet<AgentName>,
    pub(crate) minimum_release_age_days: u32,
    pub(crate) memory_bytes: u64,
    pub(crate) processes: u32,
    pub(crate) disk_bytes: u64,
    pub(crate) disk_files: u64,
}

impl AgentConfig {
    /// Whether it is given hooks on this host, and so is expected to tell of its tool calls.
    pub(crate) fn tells(&self) -> bool {
        let is_there = |program: &str| std::path::Path::new(program).exists();
        self.hooks && matches!(self.runtime, Runtime::Agent(adapter) if adapter.hooks.tell_where(is_there))
    }
}

/// What an agent runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Runtime {
    /// The embedded remediation worker.
    Remediate,
    /// This program; empty for ad-hoc programs named by the trigger.
    Command(Vec<String>),
    /// A coding agent that was installed.
    Agent(&'static Adapter),
    /// An agent that is spoken to by the Agent Client Protocol.
    Acp(AcpConfig),
    /// Installs a coding agent.
    Install(&'static Adapter),
}

impl Runtime {
    /// The installed coding agent that it is.
    pub(crate) fn adapter(&self) -> Option<&'static Adapter> {
        match self {
            Self::Agent(adapter) | Self::Acp(AcpConfig { program: AcpProgram::Installed(adapter), .. }) => {
                Some(adapter)
            }
            Self::Acp(_) | Self::Remediate | Self::Command(_) | Self::Install(_) => None,
        }
    }
}

/// A registry named by `reach`.
#[derive(Debug, Clone)]
pub(crate) struct RegistryConfig {
    pub(crate) endpoints: BTreeSet<Endpoint>,
    /// Replace the client's default registry by this address.
    pub(crate) replace_with: Option<String>,
}

/// An address that is not global and that the operator named all the same.
#[derive(Debug, Clone)]
pub(crate) struct Danger {
    pub(crate) host: HostPattern,
    pub(crate) address: std::net::IpAddr,
    /// Speak plain HTTP to this port instead of TLS to the port that was asked for.
    pub(crate) plain_port: Option<u16>,
}

/// A proxy that everything leaves through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) host: HostPattern,
    pub(crate) port: u16,
    /// Whom it knows us as.
    pub(crate) user: Option<String>,
}

impl Config {
    /// Who works on the first stage of a pipeline, and which part that is.
    pub(crate) fn first_of(&self, pipeline: &PipelineName) -> Option<(AgentName, Part)> {
        let (part, configured) = self.pipelines.get(pipeline)?.pipeline.part(1)?;
        Some((configured.agent.clone(), part))
    }

    /// Reads the file at `path`.
    pub(crate) fn load(path: &Path, now: Time) -> Result<Self, ConfigError> {
        let shown = path.display().to_string();
        let read = |cause| ConfigError::Read { path: shown.clone(), cause };
        if std::fs::metadata(path).map_err(read)?.len() > CONFIG_BYTES_MAX {
            return Err(ConfigError::Large { path: shown });
        }
        let text = std::fs::read_to_string(path).map_err(read)?;
        let config = Self::parse(&shown, &text)?;
        config.priced_by(&shown, now)?;
        Ok(config)
    }

    /// Parses the text of a configuration; `path` is for messages.
    pub(crate) fn parse(path: &str, text: &str) -> Result<Self, ConfigError> {
        let file = File::parse(path, text)?;
        Reader { path }.read(&file, Digest::of_parts([text.as_bytes()]))
    }
}

/// Turns what was written into what it means; every error names its key.
struct Reader<'a> {
    path: &'a str,
}

impl Reader<'_> {
    fn bad<T>(&self, key: impl Into<String>, because: impl Into<String>) -> Result<T, ConfigError> {
        Err(ConfigError::Meaning { path: self.path.to_owned(), key: key.into(), because: because.into() })
    }

    fn read(&self, file: &File, digest: Digest) -> Result<Config, ConfigError> {
        let registries = self.registries(file)?;
        let repos = self.repos(file)?;
        let credentials = self.credentials(file)?;
        let models = self.models(file, &credentials)?;
        let mut agents = self.agents(file, &registries, &credentials)?;
        self.give_models(file, &models, &mut agents)?;
        let servers = self.servers(file, &credentials, &registries)?;
        self.give_tools(file, &servers, &mut agents)?;
        let pipelines = self.pipelines(file, &agents)?;
        let schedule = self.schedule(file, &agents, &pipelines, &repos)?;
        let advisories = file.advisories.path.as_deref().map(|path| self.absolute("advisories.path", path));
        Ok(Config {
            issuer: self.issuer(&file.factory)?,
            owner: self.owner(&file.factory)?,
            recertify: self.recertify("factory", None, file)?,
            publish: self.publish(&file.factory)?,
            level: self.level(&file.factory)?,
            people: self.people(&file.factory)?,
            slots: self.at_least_one("factory.slots", file.factory.slots)?,
            digest,
            repos,
            pipelines,
            agents,
            schedule,
            registries,
            credentials,
            models,
            servers,
            danger: self.danger(file)?,
            graphql: self.graphql(file)?,
            proxy: self.proxy(&file.network)?,
            send: self.send(&file.network.send)?,
            toolchains: self.toolchains(&file.factory)?,
            advisories: advisories.transpose()?,
            advisories_remote: file.advisories.remote.clone(),
        })
    }

    fn repos(&self, file: &File) -> Result<BTreeMap<RepoName, RepoConfig>, ConfigError> {
        let mut repos = BTreeMap::new();
        for (name, repo) in &file.repo {
            let key = format!("repo.\"{name}\"");
            let parsed = RepoName::parse(name).or_else(|bad| self.bad(&key, bad.to_string()))?;
            let sensitivity = match Sensitivity::parse(&repo.sensitivity) {
                Some(sensitivity) => sensitivity,
                None => {
                    return self.bad(
                        key + ".sensitivity",
                        one_of(&repo.sensitivity, Sensitivity::ALL.iter().map(|s| s.as_str())),
                    );
                }
            };
            let repository = Repository {
                name: parsed.clone(),
                target: repo.branch.clone(),
                sensitivity,
                lands_unattended: false,
                chain_depth_max: repo.chain,
                approval_within: self.span(&key, &repo.approval_within)?,
                hold_at_most: self.hold_at_most(&format!("{key}.hold_at_most"), repo.hold_at_most.as_deref())?,
            };
            let config = RepoConfig {
                repository,
                source: self.absolute(&format!("{key}.path"), &repo.path)?,
                checks: self.checks(&format!("{key}.checks"), &repo.checks)?,
                setup: repo.environment.setup.clone(),
                services: repo.environment.services.clone(),
                gate: repo.gate.clone(),
                sensitive: self.patterns(&key, "sensitive", &repo.sensitive, PathPattern::parse)?,
            };
            repos.insert(parsed, config);
        }
        Ok(repos)
    }

    fn agents(
        &self,
        file: &File,
        registries: &BTreeMap<String, RegistryConfig>,
        credentials: &BTreeMap<CredentialName, CredentialConfig>,
    ) -> Result<BTreeMap<AgentName, AgentConfig>, ConfigError> {
        let mut agents = BTreeMap::new();
        for (name, written) in &file.agent {
            let key = format!("agent.{name}");
            let mut agent = self.agent(&key, name, written, registries, credentials)?;
            agent.rights = self.rights(&key, written, registries)?;
            agent.recertify = self.recertify(&key, written.recertify.as_deref(), file)?;
            agents.insert(agent.agent.name.clone(), agent);
        }
        for (name, agent) in &agents {
            if let Some(stranger) = agent.children.iter().find(|child| !file.agent.contains_key(child.as_str())) {
                let because = one_of(stranger.as_str(), file.agent.keys().map(String::as_str));
                return self.bad(format!("agent.{name}.children"), because);
            }
        }
        if !file.agent.contains_key(AD_HOC) {
            let mut agent = self.agent(AD_HOC, AD_HOC, &file::Agent::ad_hoc(file), registries, credentials)?;
            agent.recertify = self.recertify(AD_HOC, None, file)?;
            agents.insert(agent.agent.name.clone(), agent);
        }
        for agent in self.installers(file, registries)? {
            agents.insert(agent.agent.name.clone(), agent);
        }
        for credential in credentials.values() {
            if let Some(agent) = self.trial(file, credential)? {
                agents.insert(agent.agent.name.clone(), agent);
            }
        }
        Ok(agents)
    }

    fn agent(
        &self,
        key: &str,
        name: &str,
        written: &file::Agent,
        registries: &BTreeMap<String, RegistryConfig>,
        credentials: &BTreeMap<CredentialName, CredentialConfig>,
    ) -> Result<AgentConfig, ConfigError> {
        let name = AgentName::parse(name).or_else(|bad| self.bad(key, bad.to_string()))?;
        let Some(owner) = Owner::parse(&written.owner) else {
            return self.bad(format!("{key}.owner"), "is empty: name the person or team that answers for this agent");
        };
        let Some(trust) = Trust::parse(&written.trust) else {
            let because = one_of(&written.trust, Trust::ALL.iter().map(|t| t.as_str()));
            return self.bad(format!("{key}.trust"), because);
        };
        let runtime = self.runtime(key, name.as_str(), written)?;
        let env = self.environment(key, &runtime, written)?;
        let may = self.may(key, &written.may)?;
        self.can_start(key, trust, &may)?;
        let limits = self.limits(key, &written.limits)?;
        let intent = match (&runtime, trust >= Trust::Propose) {
            (Runtime::Remediate, _) => Intent::RemediateDependencies,
            (Runtime::Command(_) | Runtime::Agent(_) | Runtime::Acp(_), true) => Intent::ProposeChange,
            (Runtime::Command(_) | Runtime::Agent(_) | Runtime::Acp(_) | Runtime::Install(_), _) => Intent::RunCommand,
        };
        let loans = self.loans(key, &written.credentials, credentials)?;
        // What a credential is for has to be reached, too.
        let lent = loans.iter().map(|loan| loan.uses.clone());
        let reach = self.reach(key, &written.reach, registries)?.into_iter().chain(lent).collect();
        let agent = Agent {
            name,
            owner,
            purpose: self.said(key, "purpose", &written.purpose)?,
            escalate: self.said(key, "escalate", &written.escalate)?,
            intent,
            trust,
            autonomy: self.autonomy(key, written, trust)?,
            may,
            reach,
            may_ask: self.may_ask(key, &written.may_ask)?,
            models: BTreeSet::new(),
            tools: BTreeSet::new(),
            audiences: self.audiences(key, &written.audiences)?,
            loans,
            level: String::new(),
            attempt_at_most: match &written.attempt_at_most {
                Some(text) => self.span(key, text)?,
                None => ATTEMPT_AT_MOST_DEFAULT,
            },
            tenure: Tenure::Active,
            declared: self.declared(key, &written.effects)?,
        };
        Ok(AgentConfig {
            agent,
            rights: Vec::new(),
            for_servers: BTreeSet::new(),
            recertify: RECERTIFY_DEFAULT,
            tries: None,
            runtime,
            env,
            hooks: written.hooks,
            budget: written.budget.clone(),
            children: self.children(key, &written.children)?,
            minimum_release_age_days: written.minimum_release_age_days,
            memory_bytes: limits.memory_mib.saturating_mul(1 << 20),
            processes: limits.processes,
            disk_bytes: limits.disk_mib.saturating_mul(1 << 20),
            disk_files: limits.files,
        })
    }

    /// Gives each agent the model it names, and its door the credential for that and for nothing else.
    fn give_models(
        &self,
        file: &File,
        models: &BTreeMap<ModelName, ModelConfig>,
        agents: &mut BTreeMap<AgentName, AgentConfig>,
    ) -> Result<(), ConfigError> {
        let mut units: BTreeMap<&ModelName, (&String, String)> = BTreeMap::new();
        for (name, written) in &file.agent {
            let Some(word) = &written.model else { continue };
            let model = models.iter().find(|(name, _)| name.as_str() == word).map(|(_, model)| model);
            let Some(model) = model else {
                let because = one_of(word, models.keys().map(ModelName::as_str));
                return self.bad(format!("agent.{name}.model"), because);
            };
            let agent = agents.values_mut().find(|agent| agent.agent.name.as_str() == name);
            if let Some(agent) = agent {
                if let Some(adapter) = agent.runtime.adapter()
                    && !model.protocols.iter().any(|protocol| protocol.as_str() == adapter.protocol)
                {
                    let because = format!("does not speak `{}`, which `{}` needs", adapter.protocol, adapter.name);
                    return self.bad(format!("agent.{name}.model"), because);
                }
                if agent.budget.is_zero() && model.prices.values().any(Prices::cost) {
                    let because = "is missing or nothing, and its model costs something: no call could be paid; write such as `budget = \"5 USD\"`, for each run";
                    return self.bad(format!("agent.{name}.budget"), because);
                }
                let unit = &agent.budget.unit;
                if let Some((other, theirs)) =
                    units.insert(&model.name, (name, unit.clone())).filter(|(_, theirs)| theirs != unit)
                {
                    let because = format!(
                        "is in `{unit}`, and that of `{other}`, which has the same model, in `{theirs}`: its prices are in one unit"
                    );
                    return self.bad(format!("agent.{name}.budget"), because);
                }
                agent.agent.models.insert(model.name.clone());
                agent.agent.loans.extend(model.loans());
            }
        }
        Ok(())
    }

    /// Names of agents. Whether each is configured is asked once all are read.
    fn children(&self, key: &str, names: &[String]) -> Result<BTreeSet<AgentName>, ConfigError> {
        let parse =
            |name: &String| AgentName::parse(name).or_else(|bad| self.bad(format!("{key}.children"), bad.to_string()));
        names.iter().map(parse).collect()
    }

    fn may(&self, key: &str, words: &[String]) -> Result<BTreeSet<May>, ConfigError> {
        let parse = |word: &String| match May::parse(word) {
            Some(may) => Ok(may),
            None => self.bad(format!("{key}.may"), one_of(word, May::ALL.iter().map(|m| m.as_str()))),
        };
        words.iter().map(parse).collect()
    }

    /// An agent whose work could not start is refused here, and not after its run was asked for and approved.
    fn can_start(&self, key: &str, trust: Trust, may: &BTreeSet<May>) -> Result<(), ConfigError> {
        let missing: Vec<&str> =
            TO_START.iter().filter(|(word, _)| !may.contains(word)).map(|(word, _)| word.as_str()).collect();
        if !missing.is_empty() {
            let because = format!(
                "lacks `{}`, and without it no run starts: write `may = [\"read\", \"write\"]` at least; what it writes \
                 stays in its sandbox unless more is granted",
                missing.join("` and `")
            );
            return self.bad(format!("{key}.may"), because);
        }
        match TO_START.iter().map(|(_, needed)| *needed).max() {
            Some(needed) if trust < needed => {
                let because = format!(
                    "is `{trust}`, and no run starts below `{needed}`: write `trust = \"{needed}\"`, with which nothing it \
                     makes is proposed"
                );
                self.bad(format!("{key}.trust"), because)
            }
            _ => Ok(()),
        }
    }

    /// How far asking can go at all: rules outright, so that nobody asks their way to more than is written here (E7).
    fn may_ask(&self, key: &str, rules: &[String]) -> Result<BTreeSet<Reach>, ConfigError> {
        let parse = |rule: &String| match parse_rule(rule) {
            Some(reach) => Ok(reach),
            None => self
                .bad(format!("{key}.may_ask"), format!("`{rule}` is not `<METHOD> https://<host>/<path>`{PLAIN_PATH}")),
        };
        rules.iter().map(parse).collect()
    }

    /// `cargo:read` names a registry and a right; `GET https://host/path` names a rule outright.
    fn reach(
        &self,
        key: &str,
        words: &[String],
        registries: &BTreeMap<String, RegistryConfig>,
    ) -> Result<BTreeSet<Reach>, ConfigError> {
        let mut reach = BTreeSet::new();
        for word in words {
            match (word.split_once(':'), parse_rule(word)) {
                (_, Some(rule)) => {
                    reach.insert(rule);
                }
                (Some((name, "read")), None) => match registries.get(name) {
                    Some(registry) => reach.extend(registry.endpoints.iter().map(read_all)),
                    None => {
                        return self.bad(
                            format!("{key}.reach"),
                            format!("`{name}` is not a registry; known are: {}", list(registries.keys())),
                        );
                    }
                },
                _ => {
                    return self.bad(
                        format!("{key}.reach"),
                        format!(
                            "`{word}` is neither `<registry>:read` nor `<METHOD> https://<host>/<path>`{PLAIN_PATH}"
                        ),
                    );
                }
            }
        }
        Ok(reach)
    }

    fn registries(&self, file: &File) -> Result<BTreeMap<String, RegistryConfig>, ConfigError> {
        let mut registries = BTreeMap::new();
        for (name, written) in &file.registry {
            let mut endpoints = BTreeSet::new();
            for host in &written.hosts {
                let Some(endpoint) = parse_endpoint(host) else {
                    return self.bad(format!("registry.{name}.hosts"), format!("`{host}` is not a host, or host:port"));
                };
                endpoints.insert(endpoint);
            }
            registries.insert(name.clone(), RegistryConfig { endpoints, replace_with: written.replace_with.clone() });
        }
        Ok(registries)
    }

    fn danger(&self, file: &File) -> Result<Vec<Danger>, ConfigError> {
        let mut danger = Vec::new();
        for (host, written) in &file.danger.addresses {
            let key = format!("danger.addresses.\"{host}\"");
            let Some(host) = HostPattern::parse(host) else { return self.bad(key, "is not a host name") };
            for address in &written.allow {
                danger.push(Danger { host: host.clone(), address: *address, plain_port: written.plain_port });
            }
        }
        Ok(danger)
    }
}

fn one_of<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    format!("`{written}` is not one of: {}", known.into_iter().collect::<Vec<_>>().join(", "))
}

fn list<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn read_all(endpoint: &Endpoint) -> Reach {
    Reach { endpoint: endpoint.clone(), methods: [Method::Get, Method::Head].into(), path_prefix: "/".to_owned() }
}

fn parse_endpoint(text: &str) -> Option<Endpoint> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, port.parse().ok()?),
        _ => (text, 443),
    };
    Some(Endpoint { host: HostPattern::parse(host)?, port })
}

/// What is added where a rule is refused.
const PLAIN_PATH: &str = ", with a path as a door reads it: no `..`, no `//`, no encoded `/`";

/// What a rule names. Its path is as a door reads paths: one that no request can have would permit nothing, silently.
pub(crate) fn parse_rule(text: &str) -> Option<Reach> {
    let (method, url) = text.split_once(' ')?;
    let rest = url.trim().strip_prefix("https://")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path_prefix = format!("/{path}");
    let canonical = CanonicalPath::parse(&path_prefix).ok()?;
    (canonical.as_str() == path_prefix).then_some(())?;
    Some(Reach { endpoint: parse_endpoint(authority)?, methods: [Method::parse(method)?].into(), path_prefix })
}
