//! Who the agents are and which repositories there are: the configuration, behind the factory's port.

use selvedge_credentials::StoredKeyError;
use selvedge_domain::{AgentName, CredentialName, Digest, PipelineName, RepoName};
use selvedge_factory::ports::{Agent, Credential, Pipeline, Registry, Repository};

use super::Works;

impl Registry for Works {
    fn agent(&self, name: &AgentName) -> Option<Agent> {
        let config = self.config();
        let configured = config.agents.get(name)?;
        let mut agent = configured.agent.clone();
        agent.level = self.driver_level().to_string();
        agent.tenure = self.agent_vouched(configured).tenure;
        Some(agent)
    }

    fn repository(&self, name: &RepoName) -> Option<Repository> {
        self.config().repos.get(name).map(|repo| repo.repository.clone())
    }

    fn credential(&self, name: &CredentialName) -> Option<Credential> {
        let config = self.config();
        let configured = config.credentials.get(name)?;
        let credential = configured.credential.clone();
        let unlent = if credential.is_stored { self.why_unlent(name) } else { None };
        Some(Credential { tenure: self.credential_vouched(configured).tenure, unlent, ..credential })
    }

    fn pipeline(&self, name: &PipelineName) -> Option<Pipeline> {
        self.config().pipelines.get(name).map(|configured| configured.pipeline.clone())
    }

    fn configuration(&self) -> Digest {
        self.config().digest
    }

    fn trust_domain(&self) -> &str {
        &self.trust_domain
    }
}

impl Works {
    fn why_unlent(&self, name: &CredentialName) -> Option<String> {
        match self.lending.keys.can_lend(name) {
            // What may pass is met by whoever lends, and tried again.
            Ok(()) | Err(StoredKeyError::Note(_)) => None,
            Err(lasting) => Some(lasting.to_string()),
        }
    }
}
