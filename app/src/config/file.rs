//! The file as it is written: keys, defaults, and errors that say where and what was probably meant.

pub(super) mod acp;
pub(super) mod aws;
pub(super) mod effects;
pub(super) mod federation;
pub(super) mod forge;
pub(super) mod mcp;
pub(super) mod pipeline;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Budget, ConfigError};

/// `selvedge.toml`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct File {
    /// The factory as a whole.
    pub(crate) factory: Factory,
    /// Repositories, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) repo: BTreeMap<String, Repo>,
    /// Agents, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) agent: BTreeMap<String, Agent>,
    /// Pipelines, by name: agents that work on one task in turn.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) pipeline: BTreeMap<String, pipeline::Pipeline>,
    /// Work that starts by itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) when: Vec<When>,
    /// Registries that `reach` may name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) registry: BTreeMap<String, Registry>,
    /// Credentials that doors use for agents, by name. Their secrets are never here.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) credential: BTreeMap<String, Credential>,
    /// Models that agents may have answer, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) model: BTreeMap<String, Model>,
    /// Servers of tools that are brokered for agents, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) mcp: BTreeMap<String, mcp::Server>,
    /// How doors and couriers leave.
    #[serde(skip_serializing_if = "Network::is_empty")]
    pub(crate) network: Network,
    /// Where GraphQL is spoken, as `<host>/<path>`: a door reads what requests to it would do, and refuses what it cannot read.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) graphql: BTreeMap<String, Graphql>,
    /// Where advisories come from.
    #[serde(skip_serializing_if = "Advisories::is_empty")]
    pub(crate) advisories: Advisories,
    /// What weakens safety.
    #[serde(skip_serializing_if = "DangerTable::is_empty")]
    pub(crate) danger: DangerTable,
}

/// How doors and couriers leave.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Network {
    /// A proxy that everything leaves through but what `danger.addresses` names: `http://proxy.example:3128`. It resolves names in
    /// our place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) proxy: Option<String>,
    /// The user the proxy knows us as. Its password is stored with `selvedge credentials store --proxy`, never here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) proxy_user: Option<String>,
    /// What a run may send to a host in all, in heads and bodies, such as `1MiB`; `64MiB` where nothing is said.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) send: BTreeMap<String, String>,
}

/// The factory as a whole.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Factory {
    /// The SPIFFE trust domain identities are made in.
    pub(crate) trust_domain: String,
    /// The URL that identity tokens name as their issuer, `https://` and a host. The trust domain's own when absent.
    /// Taken up when the keeper starts, not while it serves; until then `selvedge ps` says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) issuer: Option<String>,
    /// A directory that a web server serves under that URL: the keys of identities are written there for relying parties.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) publish: Option<PathBuf>,
    /// The person or team that answers for the factory's own keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<String>,
    /// How long a person's word for an agent, a credential or the factory's own keys is good, where nothing else is said: `90d`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) recertify: Option<String>,
    /// The level of sandbox every run needs: `full` or `user`. Chosen by who runs the keeper when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sandbox: Option<String>,
    /// The group whose members may use the control socket: they can trigger, merge, and approve what others asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) people: Option<String>,
    /// How many runs may go on at the same time.
    #[schemars(range(min = 1))]
    pub(crate) slots: usize,
    /// Directories outside `/usr` that hold toolchains, mounted read-only; each holds a `bin`.
    pub(crate) toolchains: Vec<PathBuf>,
}

/// A repository.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Repo {
    /// Where the original lies; the factory works on a bare clone of its own.
    pub(crate) path: PathBuf,
    /// The branch proposals are meant for.
    pub(crate) branch: String,
    /// Commands that must succeed on a change. None means that nothing is ever proposed.
    #[serde(default)]
    pub(crate) checks: Vec<String>,
    /// Further paths that judge a change, besides tests and what `checks` name: taken from the base. `ci/` is a directory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) gate: Vec<String>,
    /// Files whose reading is recorded and told to policy, besides those known by name, such as `.env`: `config/production/**`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) sensitive: Vec<String>,
    /// What the project needs around it.
    #[serde(default)]
    pub(crate) environment: Environment,
    /// `public`, `internal`, `restricted` or `secret`.
    #[serde(default = "internal")]
    pub(crate) sensitivity: String,
    /// How long a chain of follow-ups may get.
    #[serde(default = "chain")]
    pub(crate) chain: u32,
    /// How long a person has to answer a request for approval; then it is a no.
    #[serde(default = "approval_within")]
    pub(crate) approval_within: String,
    /// How long a turn of an agent is held for a person, its sandbox frozen, when a tool call needs a yes: `3m` where nothing is said,
    /// `10m` at most, `never` for no turn at all. Nobody's answer is a no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hold_at_most: Option<String>,
}

/// What a project needs around it, prepared in a sandbox of its own.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Environment {
    /// Run once per tree with the registries in reach; what it leaves in the cache is given to the checks as a copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) setup: Option<String>,
    /// Commands that run beside the checks, in the same sandbox.
    pub(crate) services: Vec<String>,
}

/// An agent.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Agent {
    /// `remediate`, `command` for any program, `acp` for any that speaks the Agent Client Protocol on its standard streams, or a coding
    /// agent that `selvedge agents install` installed: `claude-code`, `codex`, `opencode`, `gemini-cli`, `qwen-code`, `mini-swe-agent`,
    /// `aider`.
    pub(crate) runtime: String,
    /// The program and its arguments, for `runtime = "command"` and `runtime = "acp"`. In the first, `{text}` stands for what the task
    /// asks; the second is told by the protocol.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) command: Vec<String>,
    /// What is added to the environment of that program. `{model}` stands for what its model is called, `{model_url}` for where that is
    /// asked, `{key}` for what stands in a key's place.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) env: BTreeMap<String, String>,
    /// How it is spoken to by the Agent Client Protocol. `opencode`, `gemini-cli` and `qwen-code` are spoken to in it where this is
    /// written, be it `acp = {}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) acp: Option<acp::Acp>,
    /// The person or team that answers for it.
    pub(crate) owner: String,
    /// What it is for.
    pub(crate) purpose: String,
    /// Where trouble goes.
    pub(crate) escalate: String,
    /// `draft`, `propose`, `land` or `release`; with `observe`, which only tokens and children can be held to, no run starts.
    pub(crate) trust: String,
    /// What it may do: `read` and `write`, without which no run starts, `open-pr`, `follow-up`, `push` (commits to its own
    /// branch, with git), `delegate` (hand on a part of its grant, as a token).
    #[serde(default)]
    pub(crate) may: Vec<String>,
    /// Where it may reach: `<registry>:read`, or `GET https://<host>/<path>`.
    #[serde(default)]
    pub(crate) reach: Vec<String>,
    /// What it may ask to reach while it works, each as `GET https://<host>/<path>`: decided when it asks, for that attempt alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) may_ask: Vec<String>,
    /// Credentials that its doors may use for it; their `uses` are within its reach then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) credentials: Vec<String>,
    /// For whom it may have an identity: URLs or names of services, and `spiffe://<trust domain>` for a certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) audiences: Vec<String>,
    /// The model it may have answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<String>,
    /// Tool servers it may ask, each as `<server>` for all of its tools that were taken on, or `<server>:<tool>` for one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) mcp: Vec<String>,
    /// What its model, the tokens it hands on and its children may spend in all, for each run: `"5 USD"`, in the unit that prices are in.
    #[serde(default, skip_serializing_if = "Budget::is_zero")]
    pub(crate) budget: Budget,
    /// Agents it may give work to, with `delegate`: each is a run of its own, with no more than the part it is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) children: Vec<String>,
    /// Whether the hooks of a coding agent tell what it says of its tool calls; nothing is decided by that.
    #[serde(default = "hooks", skip_serializing_if = "is_set")]
    pub(crate) hooks: bool,
    /// How much of what it does it chooses by itself, as its owner answers for it: `assistant`, `bounded-automation`, `supervised`,
    /// `autonomous`. Without it, `bounded-automation` for a fixed program and `autonomous` for what has a model, credentials or trust
    /// `release`. What is seen to be more asks a person before it changes anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) autonomy: Option<String>,
    /// How long one attempt, and so its credentials, may last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) attempt_at_most: Option<String>,
    /// How long a person's word for it is good: `90d`. `selvedge identities certify` gives it anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recertify: Option<String>,
    /// How old a release must be before it is taken up.
    #[serde(default = "release_age")]
    pub(crate) minimum_release_age_days: u32,
    /// What it does on the way, where that is to be compared with what it is seen to do.
    #[serde(default, skip_serializing_if = "effects::Effects::is_empty")]
    pub(crate) effects: effects::Effects,
    /// What one attempt may use.
    #[serde(default)]
    pub(crate) limits: Limits,
}

/// What one attempt may use.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Memory, in MiB.
    #[schemars(range(min = 1))]
    pub(crate) memory_mib: u64,
    /// Processes and threads.
    #[schemars(range(min = 1))]
    pub(crate) processes: u32,
    /// What it may write, in MiB; counted as memory.
    #[schemars(range(min = 1))]
    pub(crate) disk_mib: u64,
    /// How many files it may make.
    #[schemars(range(min = 1))]
    pub(crate) files: u64,
}

/// Work that starts by itself.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct When {
    /// How often: `24h`, counted from its last start.
    pub(crate) every: String,
    /// Which agent. Either this, or `pipeline`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<String>,
    /// Which pipeline, from its first stage on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pipeline: Option<String>,
    /// On which repository.
    pub(crate) repo: String,
    /// What is to be done, in words, as after `selvedge run`. A coding agent and a pipeline need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) task: Option<String>,
}

/// A model that agents may have answer through their model door. An agent is never given its key.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Model {
    /// Where it is, up to its protocol's own paths: `https://<host>`. Of Vertex up to its location,
    /// `https://<location>-aiplatform.googleapis.com/v1/projects/<project>/locations/<location>`; of Azure's deployments
    /// `https://<resource>.openai.azure.com/openai`.
    pub(crate) upstream: String,
    /// Who runs it: `vendor`, which is whoever speaks as its vendor does; `bedrock`, `vertex`, or `azure` for its deployments. Without it,
    /// `vendor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hosting: Option<String>,
    /// The version of Azure's API: `2024-10-21`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) api_version: Option<String>,
    /// What they are called where they are run, of those that have another name there: a deployment, an inference profile, a model with
    /// its version.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) called: BTreeMap<String, String>,
    /// How it is spoken to: `anthropic-messages`, `openai-responses`, `openai-chat`, `gemini`.
    pub(crate) protocols: Vec<String>,
    /// The credential its requests carry; `POST https://<host>/` is among its `uses`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) credential: Option<String>,
    /// What agents call the models that may be asked, and what each costs; agents are told to use the first. Several prices of one model
    /// hold one after the other, each from its `since` on.
    pub(crate) price: Vec<ModelPrice>,
    /// How long it may be silent, before its answer and within it; without it, `10m`. A model that reasons says nothing for minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) patience: Option<String>,
    /// What the vendor may do on its side, which no door sees: `vendor-tools`, `connectors`, `url-sources`, `stored-state`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) egress: Vec<String>,
}

/// What a million tokens of a model cost, in the unit that budgets are in.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelPrice {
    /// What agents call it.
    pub(crate) of: String,
    /// The day from which this holds, in UTC: `2026-11-01`. Without it, from the beginning on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<String>,
    /// Tokens it reads.
    pub(crate) input: f64,
    /// Tokens it reads from the vendor's cache; without it, as `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cached: Option<f64>,
    /// Tokens it writes to the vendor's cache; without it, as `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cache_write: Option<f64>,
    /// Tokens it writes, reasoning included.
    pub(crate) output: f64,
}

/// A registry.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registry {
    /// Its hosts, as `host` or `host:port`.
    pub(crate) hosts: Vec<String>,
    /// Use this address in place of the client's default registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replace_with: Option<String>,
}

/// A credential that doors use for agents. The agent never has it: a door puts it into the requests named here, and into no
/// other.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credential {
    /// `static`: a key that `selvedge credentials store` keeps sealed. `openbao`, `oauth`, `anthropic`, `openai`: made for each run, with the run's own
    /// identity document. `github-app`, `gitlab`, `forgejo`: made for each run, with a key that `selvedge credentials store` keeps sealed and that is
    /// lent to nobody. `aws`: made for each run, with its own identity document, and signs requests.
    pub(crate) kind: String,
    /// The person or team that answers for it.
    pub(crate) owner: String,
    /// What it is for: `PUT https://<host>/<path>`, one method and one path prefix each.
    pub(crate) uses: Vec<String>,
    /// The header it goes into; without it, `authorization`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) header: Option<String>,
    /// How it is written there: `bearer`, `basic`, or `plain` for the bare secret; without it, `bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scheme: Option<String>,
    /// The user of `scheme = "basic"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// The environment variable in which a program that insists on a credential finds a placeholder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) env: Option<String>,
    /// How long it may be lent.
    #[serde(default = "lent_at_most")]
    pub(crate) lent_at_most: String,
    /// How long one answer of whoever makes it is waited for, `45s` at most; without it, `20s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) patience: Option<String>,
    /// One harmless request within its uses, with which `selvedge doctor NAME` tries it: `GET https://<host>/<path>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) probe: Option<String>,
    /// How long a person's word for its key is good: `90d`. `selvedge identities certify` gives it anew, and so does storing a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recertify: Option<String>,
    /// For `kind = "openbao"`: an OpenBao or Vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) openbao: Option<OpenBao>,
    /// For `kind = "oauth"`: an authorisation server that exchanges tokens (RFC 8693).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) oauth: Option<OAuth>,
    /// For `kind = "github-app"`: an installation of a GitHub App.
    #[serde(default, rename = "github-app", skip_serializing_if = "Option::is_none")]
    pub(crate) github_app: Option<forge::GithubApp>,
    /// For `kind = "gitlab"`: a project of a GitLab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gitlab: Option<forge::Gitlab>,
    /// For `kind = "forgejo"`: an account at a Forgejo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) forgejo: Option<forge::Forgejo>,
    /// For `kind = "anthropic"`: a federation rule at Anthropic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) anthropic: Option<federation::Anthropic>,
    /// For `kind = "openai"`: a workload identity provider at OpenAI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) openai: Option<federation::OpenAi>,
    /// For `kind = "aws"`: a role at AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) aws: Option<aws::Aws>,
}

/// An OpenBao or Vault, with a `jwt` auth method that trusts the factory's issuer.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenBao {
    /// Where it listens: `https://<host>`, or with a port.
    pub(crate) url: String,
    /// Where its `jwt` auth method is mounted.
    #[serde(default = "jwt")]
    pub(crate) mount: String,
    /// The role there.
    pub(crate) role: String,
    /// The audience that role is bound to.
    pub(crate) audience: String,
    /// What is read, such as `database/creds/readonly`.
    pub(crate) path: String,
    /// Which field of it is the secret.
    pub(crate) field: String,
    /// The longest a token of that role lives; a login whose answer is lost keeps its run open this long.
    #[serde(default = "lent_at_most")]
    pub(crate) token_lives_at_most: String,
}

/// An authorisation server that exchanges tokens.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OAuth {
    /// Its token endpoint: `https://<host>/<path>`.
    pub(crate) token: String,
    /// Its revocation endpoint (RFC 7009). Without it, tokens only expire, and their runs stay open until they have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revocation: Option<String>,
    /// Its introspection endpoint (RFC 7662), where a revoked token is tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) introspection: Option<String>,
    /// The audience it expects in the run's identity document.
    pub(crate) server: String,
    /// The audience the token is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) audience: Option<String>,
    /// The scopes asked for, separated by spaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scope: Option<String>,
    /// The longest a token lives; an exchange whose answer is lost keeps its run open this long.
    #[serde(default = "lent_at_most")]
    pub(crate) token_lives_at_most: String,
}

/// What may be asked of a service that speaks GraphQL, by whoever reaches it. Queries may be.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Graphql {
    /// Root fields of mutations that may be carried out, such as `addComment`.
    pub(crate) mutations: Vec<String>,
    /// Documents that a request may name by their hash alone (SHA-256).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) persisted: Vec<String>,
}

/// Where advisories come from.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Advisories {
    /// A directory in RustSec or OSV form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<PathBuf>,
    /// A git remote that `selvedge advisories update` refreshes the directory from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remote: Option<String>,
}

/// What weakens safety.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DangerTable {
    /// Hosts that are dialled at these addresses, although they are not global; nobody is asked where they are.
    pub(crate) addresses: BTreeMap<String, Addresses>,
}

/// Addresses a host may resolve to.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Addresses {
    /// The addresses.
    pub(crate) allow: Vec<IpAddr>,
    /// Speak plain HTTP to this port instead of TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) plain_port: Option<u16>,
}

impl Default for Factory {
    fn default() -> Self {
        Self {
            trust_domain: "selvedge.internal".to_owned(),
            issuer: None,
            publish: None,
            owner: None,
            recertify: None,
            sandbox: None,
            people: None,
            slots: 2,
            toolchains: Vec::new(),
        }
    }
}

impl Agent {
    /// The built-in agent for programs named at the command line. Whoever answers for the first agent answers for it.
    pub(super) fn ad_hoc(file: &File) -> Self {
        let said = file.factory.owner.clone().filter(|owner| !owner.trim().is_empty());
        let owner = said.unwrap_or_else(|| "the operator".to_owned());
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self {
            runtime: "command".to_owned(),
            command: Vec::new(),
            escalate: owner.clone(),
            env: BTreeMap::new(),
            acp: None,
            owner,
            purpose: "programs named at the command line".to_owned(),
            trust: "draft".to_owned(),
            may: words(&["read", "write"]),
            reach: Vec::new(),
            may_ask: Vec::new(),
            model: None,
            mcp: Vec::new(),
            credentials: Vec::new(),
            audiences: Vec::new(),
            budget: Budget::default(),
            children: Vec::new(),
            hooks: hooks(),
            attempt_at_most: None,
            autonomy: None,
            recertify: None,
            minimum_release_age_days: release_age(),
            effects: effects::Effects::default(),
            limits: Limits::default(),
        }
    }
}

impl Advisories {
    fn is_empty(&self) -> bool {
        self.path.is_none() && self.remote.is_none()
    }
}

impl Network {
    fn is_empty(&self) -> bool {
        self.proxy.is_none() && self.proxy_user.is_none() && self.send.is_empty()
    }
}

impl DangerTable {
    fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_mib: 4096, processes: 512, disk_mib: 2048, files: 200_000 }
    }
}

fn internal() -> String {
    "internal".to_owned()
}

fn chain() -> u32 {
    10
}

fn approval_within() -> String {
    "24h".to_owned()
}

fn jwt() -> String {
    "jwt".to_owned()
}

fn lent_at_most() -> String {
    "15m".to_owned()
}

fn hooks() -> bool {
    true
}

fn is_set(hooks: &bool) -> bool {
    *hooks
}

fn release_age() -> u32 {
    7
}

impl File {
    /// Parses the text; an error says where, and what was probably meant.
    pub(super) fn parse(path: &str, text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| {
            let place = error.span().map_or(String::new(), |span| line_of(text, span.start));
            let suggestion = suggest(error.message());
            let message = in_toml(error.message());
            ConfigError::Syntax { path: path.to_owned(), place, message, suggestion }
        })
    }

    /// The text of this file. What is empty is left out, so that tables can be written behind it: after `when = []` no
    /// `[[when]]` would load.
    pub(crate) fn to_text(&self) -> Result<String, toml::ser::Error> {
        toml::to_string_pretty(self)
    }
}

/// The JSON Schema (draft 2020-12) of `selvedge.toml`.
pub(crate) fn schema() -> schemars::Schema {
    schemars::schema_for!(File)
}

/// A message about types in the words of TOML instead of Rust's.
fn in_toml(message: &str) -> String {
    let words = [
        ("a sequence", "a list, in brackets"),
        ("a map", "a table"),
        ("invalid type: map", "invalid type: table"),
        ("invalid type: sequence", "invalid type: list"),
        ("expected struct ", "expected the table "),
        ("expected usize", "expected a whole number"),
        ("expected u64", "expected a whole number"),
        ("expected u32", "expected a whole number"),
        ("expected u16", "expected a whole number"),
        ("expected f64", "expected a number"),
    ];
    words.iter().fold(message.to_owned(), |message, (from, to)| message.replace(from, to))
}

/// How much of a line is shown.
const LINE_CHARS_MAX: usize = 80;

/// Which line, and which key or table stands in it. What the key is set to may be a secret that was pasted there, and is not shown.
fn line_of(text: &str, offset: usize) -> String {
    let number = text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1;
    let line = text.lines().nth(number - 1).and_then(|line| line.split('=').next()).unwrap_or_default().trim();
    let shown: String = line.chars().filter(|c| !selvedge_domain::is_deceptive(*c)).take(LINE_CHARS_MAX).collect();
    if shown.is_empty() { format!(" line {number}") } else { format!(" line {number}, `{shown}`") }
}

/// The known key closest to the unknown one that serde names.
fn suggest(message: &str) -> Option<String> {
    let mut words = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let unknown = words.next()?;
    words
        .map(|known| (strsim::damerau_levenshtein(unknown, known), known))
        .filter(|(distance, _)| *distance <= 3)
        .min()
        .map(|(_, known)| known.to_owned())
}
