//! Who the agents are and which repositories there are: the configuration, behind the factory's port.

use selvedge_domain::{AgentName, CredentialName, Digest, RepoName};
use selvedge_factory::ports::{Agent, Credential, Registry, Repository};

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
        Some(Credential { tenure: self.credential_vouched(configured).tenure, ..configured.credential.clone() })
    }

    fn configuration(&self) -> Digest {
        self.config().digest
    }

    fn trust_domain(&self) -> &str {
        &self.trust_domain
    }
}
