//! What an agent is granted, word by word as the configuration has it: so that what nobody used can be named by the key that
//! takes it out (requirement B6).

use std::collections::{BTreeMap, BTreeSet};

use selvedge_domain::{CredentialName, May, ModelName, Reach, Trust};

use super::{AgentFile, ConfigError, Reader, RegistryConfig, parse_rule};

/// One word of an agent's grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Right {
    /// Where it is written: `agent.NAME.reach`.
    pub(crate) key: String,
    /// What is written there.
    pub(crate) word: String,
    /// What it permits.
    pub(crate) what: What,
}

/// What a word of a grant permits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// How far the agent may go.
    Trust(Trust),
    /// Acts of one kind.
    May(May),
    /// Requests.
    Reach(BTreeSet<Reach>),
    /// To ask for requests.
    Asking(Reach),
    /// An identity for one audience.
    Audience(String),
    /// Requests that carry this credential.
    Credential(CredentialName),
    /// To have this model answer.
    Model(ModelName),
    /// To call the tools of a server, or one of them: `<server>` or `<server>:<tool>`.
    Tools(String),
}

impl Reader<'_> {
    /// Everything `agent` is granted. What it says was read before, so nothing here is refused anew.
    pub(super) fn rights(
        &self,
        key: &str,
        agent: &AgentFile,
        registries: &BTreeMap<String, RegistryConfig>,
    ) -> Result<Vec<Right>, ConfigError> {
        let right = |of: &str, word: &String, what| Right { key: format!("{key}.{of}"), word: word.clone(), what };
        let mut rights = Vec::new();
        rights.extend(Trust::parse(&agent.trust).map(|trust| right("trust", &agent.trust, What::Trust(trust))));
        for word in &agent.may {
            rights.extend(May::parse(word).map(|may| right("may", word, What::May(may))));
        }
        for word in &agent.reach {
            let reach = self.reach(key, std::slice::from_ref(word), registries)?;
            rights.push(right("reach", word, What::Reach(reach)));
        }
        for word in &agent.may_ask {
            rights.extend(parse_rule(word).map(|reach| right("may_ask", word, What::Asking(reach))));
        }
        rights.extend(agent.audiences.iter().map(|word| right("audiences", word, What::Audience(word.clone()))));
        for word in &agent.credentials {
            let name =
                CredentialName::parse(word).or_else(|bad| self.bad(format!("{key}.credentials"), bad.to_string()))?;
            rights.push(right("credentials", word, What::Credential(name)));
        }
        if let Some(word) = &agent.model {
            rights.extend(ModelName::parse(word).map(|name| right("model", word, What::Model(name))));
        }
        rights.extend(agent.mcp.iter().map(|word| right("mcp", word, What::Tools(word.clone()))));
        Ok(rights)
    }
}
