//! `[mcp.NAME]`: a server of tools that is brokered for agents, and the tools of it that were taken on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use selvedge_domain::{
    AgentName, Autonomy, CredentialName, Digest, Endpoint, Loan, Method, Owner, Reach, Risk, ServerName, ToolName,
    ToolScope,
};
use selvedge_gateway::Way;
use selvedge_gateway::tools::describe::Described;
use selvedge_gateway::tools::factory;

use super::{AgentConfig, ConfigError, CredentialConfig, File, Reader, RegistryConfig, file, one_of};

/// How long a server may take where nobody says.
const PATIENCE_DEFAULT: Duration = Duration::from_secs(60);

/// How long it may take at most: whoever waits holds a connection of the door.
const PATIENCE_MAX: Duration = Duration::from_secs(600);

/// Servers that one agent may have as programs: each is a sandbox beside its own, and two descriptors of its door.
const PROGRAMS_MAX: usize = 8;

/// A server of tools.
#[derive(Debug, Clone)]
pub(crate) struct ServerConfig {
    pub(crate) name: ServerName,
    /// Who answers for its being used.
    pub(crate) owner: Owner,
    pub(crate) way: ServerAt,
    /// What the door puts into its requests.
    pub(crate) credential: Option<CredentialName>,
    pub(crate) patience: Duration,
    /// Where it reaches, if it is a program.
    pub(crate) reach: BTreeSet<Reach>,
    /// The tools that were taken on.
    pub(crate) tools: BTreeMap<ToolName, ToolConfig>,
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ServerAt {
    /// It takes requests.
    Url {
        /// Where.
        upstream: Endpoint,
        /// Under this path.
        path: String,
    },
    /// This program is it.
    Program(Vec<String>),
    /// It is the factory itself.
    Factory,
}

/// A tool that was taken on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ToolConfig {
    pub(crate) described: Digest,
    pub(crate) risk: Risk,
    pub(crate) command: Option<String>,
    pub(crate) paths: Vec<String>,
    pub(crate) addresses: Vec<String>,
}

impl ServerConfig {
    /// What an agent's door is lent for it.
    pub(crate) fn loan(&self) -> Option<Loan> {
        let (Some(credential), ServerAt::Url { upstream, path }) = (&self.credential, &self.way) else { return None };
        let uses = Reach { endpoint: upstream.clone(), methods: [Method::Post].into(), path_prefix: path.clone() };
        Some(Loan { credential: credential.clone(), uses })
    }

    /// What an agent that has the whole server may do with it.
    fn scopes(&self) -> impl Iterator<Item = ToolScope> {
        self.tools.iter().map(|(tool, taken)| ToolScope::Call {
            server: self.name.clone(),
            tool: tool.clone(),
            described: taken.described,
        })
    }
}

impl Reader<'_> {
    pub(super) fn servers(
        &self,
        file: &File,
        credentials: &BTreeMap<CredentialName, CredentialConfig>,
        registries: &BTreeMap<String, RegistryConfig>,
    ) -> Result<BTreeMap<ServerName, ServerConfig>, ConfigError> {
        let read = |(name, written): (&String, &file::mcp::Server)| {
            let mut server = self.server(&format!("mcp.{name}"), name, written, credentials)?;
            server.reach = self.reach(&format!("mcp.{name}"), &written.reach, registries)?;
            if let (ServerAt::Url { .. }, false) = (&server.way, server.reach.is_empty()) {
                return self.bad(format!("mcp.{name}.reach"), "is for a program: what a `url` reaches is its own");
            }
            Ok((server.name.clone(), server))
        };
        let mut servers: BTreeMap<_, _> = file.mcp.iter().map(read).collect::<Result<_, _>>()?;
        let own = self.own_server(file)?;
        if servers.contains_key(&own.name) {
            return self.bad(format!("mcp.{}", own.name), "is the name of the factory's own tools: choose another one");
        }
        servers.insert(own.name.clone(), own);
        Ok(servers)
    }

    /// The factory's own tools: nobody has to take them on, and an agent has them where it names them.
    fn own_server(&self, file: &File) -> Result<ServerConfig, ConfigError> {
        let name = factory::NAME;
        let tool = |tool: Described| {
            // What each comes to is an order of its own, or words.
            let taken = ToolConfig {
                described: tool.digest,
                risk: Risk::Low,
                command: None,
                paths: Vec::new(),
                addresses: Vec::new(),
            };
            (tool.name, taken)
        };
        Ok(ServerConfig {
            name: ServerName::parse(name).or_else(|bad| self.bad("mcp", bad.to_string()))?,
            owner: self.owner(&file.factory)?,
            way: ServerAt::Factory,
            credential: None,
            patience: PATIENCE_DEFAULT,
            reach: BTreeSet::new(),
            tools: factory::tools().into_iter().map(tool).collect(),
        })
    }

    fn server(
        &self,
        key: &str,
        name: &str,
        written: &file::mcp::Server,
        credentials: &BTreeMap<CredentialName, CredentialConfig>,
    ) -> Result<ServerConfig, ConfigError> {
        let name = ServerName::parse(name).or_else(|bad| self.bad(key, bad.to_string()))?;
        let Some(owner) = Owner::parse(&written.owner) else {
            return self
                .bad(format!("{key}.owner"), "is empty: name the person or team that answers for its being used");
        };
        let way = match (&written.url, written.command.as_slice()) {
            (Some(url), []) => {
                let (upstream, path) = self.upstream(&format!("{key}.url"), url)?;
                ServerAt::Url { upstream, path: if path.is_empty() { "/".to_owned() } else { path } }
            }
            (None, [_, ..]) => ServerAt::Program(written.command.clone()),
            (Some(_), _) => return self.bad(key, "has both `url` and `command`: a server is reached in one way"),
            (None, []) => return self.bad(key, "needs a `url`, or a `command` that is the server"),
        };
        let tool = |(tool, taken): (&String, &file::mcp::Tool)| {
            let key = format!("{key}.tools.{tool}");
            let Some(name) = ToolName::parse(tool) else {
                return self.bad(key, "is no name of a tool: letters, digits, `_`, `-`, `.` and `/`, 128 at most");
            };
            Ok((name, self.tool(&key, taken)?))
        };
        let server = ServerConfig {
            name,
            owner,
            way,
            credential: self.credential_of_server(key, written, credentials)?,
            patience: match &written.patience {
                None => PATIENCE_DEFAULT,
                Some(text) => self.server_patience(&format!("{key}.patience"), text)?,
            },
            reach: BTreeSet::new(),
            tools: written.tools.iter().map(tool).collect::<Result<_, _>>()?,
        };
        if let Some(loan) = server.loan() {
            let uses = credentials.get(&loan.credential).map(|credential| &credential.uses);
            if !uses.is_some_and(|uses| uses.iter().any(|uses| uses.contains(&loan.uses))) {
                let because = format!("`{}` is not for `{}`: add that to its `uses`", loan.credential, loan.uses);
                return self.bad(format!("{key}.credential"), because);
            }
        }
        Ok(server)
    }

    fn credential_of_server(
        &self,
        key: &str,
        written: &file::mcp::Server,
        credentials: &BTreeMap<CredentialName, CredentialConfig>,
    ) -> Result<Option<CredentialName>, ConfigError> {
        let (key, Some(word)) = (format!("{key}.credential"), &written.credential) else { return Ok(None) };
        if written.url.is_none() {
            return self.bad(key, "goes into requests, and this server is a program that takes none");
        }
        let found = credentials.iter().find(|(name, _)| name.as_str() == word);
        match found {
            None => self.bad(key, one_of(word, credentials.keys().map(CredentialName::as_str))),
            Some((_, CredentialConfig { way: Way::Signature(_), .. })) => {
                self.bad(key, format!("`{word}` signs requests, and no tool server takes a signature"))
            }
            Some((name, _)) => Ok(Some(name.clone())),
        }
    }

    fn server_patience(&self, key: &str, text: &str) -> Result<Duration, ConfigError> {
        let patience = Duration::from_millis(self.span(key, text)?.as_millis());
        match patience > PATIENCE_MAX {
            true => self.bad(key, "is more than `10m`"),
            false => Ok(patience),
        }
    }

    fn tool(&self, key: &str, written: &file::mcp::Tool) -> Result<ToolConfig, ConfigError> {
        let described =
            Digest::parse(&written.digest).or_else(|bad| self.bad(format!("{key}.digest"), bad.to_string()))?;
        let risk = Risk::parse(&written.risk).map_or_else(
            || self.bad(format!("{key}.risk"), one_of(&written.risk, Risk::ALL.iter().map(|risk| risk.as_str()))),
            Ok,
        )?;
        let file::mcp::Tool { command, paths, addresses, .. } = written.clone();
        Ok(ToolConfig { described, risk, command, paths, addresses })
    }

    /// Gives each agent the tools it names, and its door the credentials for their servers and for nothing else.
    pub(super) fn give_tools(
        &self,
        file: &File,
        servers: &BTreeMap<ServerName, ServerConfig>,
        agents: &mut BTreeMap<AgentName, AgentConfig>,
    ) -> Result<(), ConfigError> {
        for (name, written) in &file.agent {
            let key = format!("agent.{name}.mcp");
            let mut tools = BTreeSet::new();
            let mut loans = BTreeSet::new();
            let mut programs = BTreeSet::new();
            for word in &written.mcp {
                let (server, tool) =
                    word.split_once(':').map_or((word.as_str(), None), |(server, tool)| (server, Some(tool)));
                let found = servers.values().find(|known| known.name.as_str() == server);
                let Some(server) = found else {
                    return self.bad(key, one_of(server, servers.keys().map(ServerName::as_str)));
                };
                tools.insert(ToolScope::List { server: server.name.clone() });
                match tool {
                    None => tools.extend(server.scopes()),
                    Some(tool) => {
                        let Some((tool, taken)) = server.tools.iter().find(|(known, _)| known.as_str() == tool) else {
                            return self.bad(key, one_of(tool, server.tools.keys().map(ToolName::as_str)));
                        };
                        let (server, tool) = (server.name.clone(), tool.clone());
                        tools.insert(ToolScope::Call { server, tool, described: taken.described });
                    }
                }
                loans.extend(server.loan());
                if let ServerAt::Program(_) = server.way {
                    programs.insert(&server.name);
                }
            }
            if programs.len() > PROGRAMS_MAX {
                return self.bad(key, format!("has more than {PROGRAMS_MAX} servers that are programs"));
            }
            if let Some(agent) = agents.values_mut().find(|agent| agent.agent.name.as_str() == name) {
                agent.agent.tools = tools;
                agent.for_servers = loans.iter().map(|loan: &Loan| loan.credential.clone()).collect();
                agent.agent.loans.extend(loans);
                // What reaches a key through a server reaches a secret (B7).
                if written.autonomy.is_none() && !agent.for_servers.is_empty() {
                    agent.agent.autonomy = Autonomy::Autonomous;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use selvedge_domain::Autonomy;

    use crate::config::Config;

    const DIGEST: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn parse(servers: &str, mcp: &str) -> Result<Config, String> {
        let agent = format!(
            "[agent.a]\nruntime = \"command\"\ncommand = [\"true\"]\nowner = \"o@example.org\"\npurpose = \"p\"\nescalate = \"o@example.org\"\n\
             trust = \"draft\"\nmay = [\"read\", \"write\"]\nmcp = {mcp}\n"
        );
        let credential = "[credential.key]\nkind = \"static\"\nowner = \"o@example.org\"\nuses = [\"POST https://mcp.example/mcp\"]\n";
        Config::parse("selvedge.toml", &format!("{agent}{credential}{servers}")).map_err(|error| error.to_string())
    }

    fn server(more: &str) -> String {
        format!(
            "[mcp.tracker]\nowner = \"o@example.org\"\nurl = \"https://mcp.example/mcp\"\n{more}\n\
             [mcp.tracker.tools.search]\ndigest = \"{DIGEST}\"\nrisk = \"low\"\n\
             [mcp.tracker.tools.create]\ndigest = \"{DIGEST}\"\n"
        )
    }

    #[test]
    fn an_agent_has_the_tools_it_names_and_the_key_for_their_server_alone_e1() {
        let config = parse(&server("credential = \"key\""), "[\"tracker:search\"]").unwrap();
        let agent = &config.agents.values().find(|agent| agent.agent.name.as_str() == "a").unwrap().agent;
        assert_eq!(agent.tools.len(), 2, "to list, and to call one: {:?}", agent.tools);
        assert_eq!(
            agent.loans.iter().map(|loan| loan.uses.to_string()).collect::<Vec<_>>(),
            ["POST mcp.example:443/mcp"]
        );
        assert!(agent.reach.is_empty(), "it is asked at the tool door and nowhere else");
        let config = parse(&server(""), "[\"tracker\"]").unwrap();
        let agent = &config.agents.values().find(|agent| agent.agent.name.as_str() == "a").unwrap().agent;
        assert_eq!((agent.tools.len(), agent.loans.len()), (3, 0));
    }

    #[test]
    fn what_has_a_key_through_a_server_is_autonomous_unless_its_owner_says_otherwise_b7() {
        let graded = |servers: &str| {
            let config = parse(servers, "[\"tracker\"]").unwrap();
            let agent = config.agents.values().find(|agent| agent.agent.name.as_str() == "a").unwrap().clone();
            (agent.agent.autonomy, agent.for_servers.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(graded(&server("")), (Autonomy::BoundedAutomation, vec![]));
        assert_eq!(graded(&server("credential = \"key\"")), (Autonomy::Autonomous, vec!["key".to_owned()]));
    }

    #[test]
    fn what_is_no_server_or_no_tool_is_refused_by_its_key() {
        let program = |more: &str| format!("[mcp.files]\nowner = \"o@example.org\"\ncommand = [\"server\"]\n{more}\n");
        assert!(parse(&program(""), "[\"files\"]").is_ok());
        for (servers, mcp, words) in [
            (server(""), "[\"tracer\"]", "agent.a.mcp"),
            (server("").replace("tracker", "factory"), "[]", "choose another one"),
            (server(""), "[\"tracker:serch\"]", "agent.a.mcp"),
            (server("command = [\"x\"]"), "[]", "one way"),
            (server("patience = \"11m\""), "[]", "more than `10m`"),
            (server("credential = \"kee\""), "[]", "mcp.tracker.credential"),
            (
                server("").replace("/mcp\"", "/other\"").replace("\n\n", "\ncredential = \"key\"\n"),
                "[]",
                "add that to its `uses`",
            ),
            (server("").replace("https://", "http://"), "[]", "`mcp.tracker.url` "),
            (server("").replace("\"low\"", "\"none\""), "[]", "mcp.tracker.tools.search.risk"),
            (server("").replace(DIGEST, "abc"), "[]", "digest"),
            (program("credential = \"key\""), "[]", "a program that takes none"),
            (program("").replace("command = [\"server\"]", ""), "[]", "needs a `url`"),
            (server("reach = [\"GET https://a.example/\"]"), "[]", "mcp.tracker.reach"),
            (program("reach = [\"GET http://a.example/\"]"), "[]", "mcp.files.reach"),
        ] {
            let said = parse(&servers, mcp).unwrap_err();
            assert!(said.contains(words), "{said}");
        }
    }
}
