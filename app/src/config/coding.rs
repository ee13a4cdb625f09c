//! Coding agents as a runtime, and the built-in agents that install them: each may ask a package registry, to read, and may do
//! nothing else.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_domain::{AgentName, Autonomy, Declared, Duration, Intent, May, Tenure, Trust};
use selvedge_factory::ports::Agent;
use selvedge_workers::agents::Adapter;

use super::file::{File, Limits};
use super::{
    AgentConfig, AgentFile, Budget, ConfigError, RECERTIFY_DEFAULT, Reader, RegistryConfig, Runtime, one_of, read_all,
};

/// How the name of such an agent begins; the rest is the coding agent's.
pub(crate) const INSTALL: &str = "install-";

/// How long an installation may take: some hundred megabytes over a slow line.
const LASTS_AT_MOST: Duration = Duration::from_seconds(1800);

/// What `runtime` may say.
pub(super) fn runtimes() -> impl Iterator<Item = &'static str> {
    ["remediate", "command", "acp"].into_iter().chain(Adapter::ALL.into_iter().map(|adapter| adapter.name))
}

impl Reader<'_> {
    /// A coding agent needs a model, and everything else has none.
    pub(super) fn coding_agent(
        &self,
        key: &str,
        adapter: &'static Adapter,
        written: &AgentFile,
    ) -> Result<Runtime, ConfigError> {
        if !written.command.is_empty() {
            return self.bad(format!("{key}.command"), "belongs to `runtime = \"command\"` and `runtime = \"acp\"`");
        }
        match (&written.model, &written.acp) {
            (Some(_), None) => Ok(Runtime::Agent(adapter)),
            (Some(_), Some(_)) => self.installed_acp(key, adapter, written),
            (None, _) => self.bad(
                format!("{key}.model"),
                format!("is missing; name the `[model.NAME]` that `{}` asks", adapter.name),
            ),
        }
    }

    /// The agents that install coding agents; none without a registry to fetch them from.
    pub(super) fn installers(
        &self,
        file: &File,
        registries: &BTreeMap<String, RegistryConfig>,
    ) -> Result<Vec<AgentConfig>, ConfigError> {
        let mut installers = Vec::new();
        for adapter in Adapter::ALL {
            let Some(registry) = registries.get(adapter.pin.manager) else { continue };
            let key = format!("{INSTALL}{}", adapter.name);
            let name = AgentName::parse(&key).or_else(|bad| self.bad(&key, bad.to_string()))?;
            if file.agent.contains_key(name.as_str()) {
                return self.bad(format!("agent.{name}"), "is the name of a built-in agent; choose another one");
            }
            let owner = self.owner(&file.factory)?;
            let limits = Limits::default();
            installers.push(AgentConfig {
                agent: Agent {
                    name,
                    owner: owner.clone(),
                    purpose: format!("installs {} for `selvedge agents install`", adapter.name),
                    escalate: owner.as_str().to_owned(),
                    intent: Intent::RunCommand,
                    trust: Trust::Draft,
                    autonomy: Autonomy::BoundedAutomation,
                    may: [May::Read, May::Write].into(),
                    reach: registry.endpoints.iter().map(read_all).collect(),
                    audiences: BTreeSet::new(),
                    may_ask: BTreeSet::new(),
                    loans: BTreeSet::new(),
                    models: BTreeSet::new(),
                    tools: BTreeSet::new(),
                    level: String::new(),
                    attempt_at_most: LASTS_AT_MOST,
                    tenure: Tenure::Active,
                    declared: Declared::default(),
                },
                budget: Budget::default(),
                children: BTreeSet::new(),
                rights: Vec::new(),
                for_servers: BTreeSet::new(),
                recertify: RECERTIFY_DEFAULT,
                tries: None,
                runtime: Runtime::Install(adapter),
                env: BTreeMap::new(),
                hooks: false,
                minimum_release_age_days: 0,
                memory_bytes: limits.memory_mib.saturating_mul(1 << 20),
                processes: limits.processes,
                disk_bytes: limits.disk_mib.saturating_mul(1 << 20),
                disk_files: limits.files,
            });
        }
        Ok(installers)
    }

    /// A runtime nobody knows.
    pub(super) fn no_runtime(&self, key: &str, written: &str) -> Result<Runtime, ConfigError> {
        self.bad(format!("{key}.runtime"), one_of(written, runtimes()))
    }
}
