//! Who the agents are and which repositories there are: the configuration, behind the factory's port.

use selvedge_domain::{AgentName, CredentialName, Digest, RepoName};
use selvedge_factory::ports::{Agent, Credential, Registry, Repository};

use super::Works;

impl Registry for Works {
    fn agent(&self, name: &AgentName) -> Option<Agent> {
        let config = self.config();
        let mut agent = config.agents.get(name)?.agent.clone();
        agent.level = self.driver_level().to_string();
        Some(agent)
    }

    fn repository(&self, name: &RepoName) -> Option<Repository> {
        self.config().repos.get(name).map(|repo| repo.repository.clone())
    }

    fn credential(&self, name: &CredentialName) -> Option<Credential> {
        self.config().credentials.get(name).map(|config| config.credential.clone())
    }

    fn configuration(&self) -> Digest {
        self.config().digest
    }

    fn trust_domain(&self) -> &str {
        &self.trust_domain
    }
}
