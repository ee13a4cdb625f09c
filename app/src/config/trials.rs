//! Trying a credential: a built-in agent for each that names a `probe`, which makes that one request and may do nothing else. It
//! runs like any other agent, so what it is lent is decided, recorded and ended like everything else.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_domain::{AgentName, Autonomy, Declared, Intent, Loan, May, Method, Reach, Tenure, Trust};
use selvedge_factory::ports::Agent;

use super::file::{File, Limits};
use super::{AgentConfig, Budget, ConfigError, CredentialConfig, RECERTIFY_DEFAULT, Reader, Runtime, parse_rule};

/// How the name of such an agent begins; the rest is the credential's.
const NAME: &str = "doctor-";

/// How long a trial may last: one request, to a service that may be slow.
const LASTS_AT_MOST: selvedge_domain::Duration = selvedge_domain::Duration::from_seconds(120);

/// How long the one request may take, in the words of the client.
const REQUEST_SECONDS: &str = "60";

/// One harmless request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Probe {
    /// What the trial may reach, and is lent the credential for.
    pub(crate) reach: Reach,
    /// As the client is told.
    pub(crate) url: String,
}

impl Reader<'_> {
    /// What a credential is tried with: nothing that changes anything, and nothing it is not for.
    pub(super) fn probe(
        &self,
        key: &str,
        written: Option<&str>,
        uses: &BTreeSet<Reach>,
    ) -> Result<Option<Probe>, ConfigError> {
        let Some(written) = written else { return Ok(None) };
        let key = format!("{key}.probe");
        let harmless = |reach: &Reach| reach.methods == BTreeSet::from([Method::Get]);
        match parse_rule(written).filter(harmless) {
            Some(reach) if uses.iter().any(|uses| uses.contains(&reach)) => {
                let url = written.split_once(' ').map_or("", |(_, url)| url.trim()).to_owned();
                Ok(Some(Probe { reach, url }))
            }
            Some(_) => self.bad(key, format!("`{written}` is not within `uses`; a trial uses it for what it is for")),
            None => self.bad(key, format!("`{written}` is not `GET https://<host>/<path>`; a trial changes nothing")),
        }
    }

    /// The agent that tries this credential; none when nothing says with what.
    pub(super) fn trial(&self, file: &File, credential: &CredentialConfig) -> Result<Option<AgentConfig>, ConfigError> {
        let Some(Probe { reach, url }) = &credential.probe else { return Ok(None) };
        let (of, owner) = (&credential.credential.name, &credential.credential.owner);
        let key = format!("credential.{of}.probe");
        let name = AgentName::parse(&format!("{NAME}{of}")).or_else(|bad| self.bad(&key, bad.to_string()))?;
        if file.agent.contains_key(name.as_str()) {
            let because = format!("makes an agent `{name}`, and there is one of that name; rename `[agent.{name}]`");
            return self.bad(key, because);
        }
        // First of all it is told to read no file of settings: the tree it runs in is somebody's.
        let command = [
            "curl",
            "--disable",
            "--silent",
            "--show-error",
            "--globoff",
            "--max-time",
            REQUEST_SECONDS,
            "--output",
            "/dev/null",
            url,
        ];
        let limits = Limits::default();
        Ok(Some(AgentConfig {
            agent: Agent {
                name,
                owner: owner.clone(),
                purpose: format!("tries credential `{of}` for `selvedge doctor`"),
                escalate: owner.as_str().to_owned(),
                // What it writes is discarded, whatever that is.
                intent: Intent::RunCommand,
                trust: Trust::Draft,
                // It asks no model, and uses a secret (requirement B7).
                autonomy: Autonomy::Autonomous,
                may: [May::Read, May::Write].into(),
                reach: [reach.clone()].into(),
                audiences: BTreeSet::new(),
                may_ask: BTreeSet::new(),
                models: BTreeSet::new(),
                tools: BTreeSet::new(),
                loans: [Loan { credential: of.clone(), uses: reach.clone() }].into(),
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
            tries: Some(of.clone()),
            hooks: false,
            runtime: Runtime::Command(command.map(str::to_owned).into()),
            env: BTreeMap::new(),
            minimum_release_age_days: 0,
            memory_bytes: limits.memory_mib.saturating_mul(1 << 20),
            processes: limits.processes,
            disk_bytes: limits.disk_mib.saturating_mul(1 << 20),
            disk_files: limits.files,
        }))
    }
}
