//! A factory whose agent has a model: the vendor's place is taken by a scripted server, and its key is one that no agent has.

use std::fmt::Display;

use selvedge_scripted::{Server, Usage};
use serde_json::Value;

use super::asking::PROTOCOLS;
use super::runs::Tokens;
use super::{Scene, agent};

/// Where the vendor is, for the factory.
pub(crate) const HOST: &str = "models.example";

/// The vendor's key, which no agent has.
pub(crate) const KEY: &str = "sk-scripted-0123456789abcdef";

/// So many millionths, as a configuration has them.
pub(crate) fn amount(millionths: u64) -> String {
    format!("\"{}.{:06}\"", millionths / 1_000_000, millionths % 1_000_000)
}

/// The tables of the model `main` and its vendor: one unit for a million tokens read, five for a million written.
pub(crate) fn tables(protocol: &str, model: &str, port: u16) -> String {
    let carried = PROTOCOLS.iter().find(|(name, _)| *name == protocol).unwrap().1;
    format!(
        "[model.main]\nupstream = \"https://{HOST}\"\nprotocols = [\"{protocol}\"]\ncredential = \"vendor\"\n\
         price = [{{ of = \"{model}\", input = 1.0, cached = 0.1, output = 5.0 }}]\n\
         [credential.vendor]\nkind = \"static\"\nowner = \"team-api@example.org\"\nuses = [\"POST https://{HOST}/\"]\n{carried}\n\
         [danger.addresses.\"{HOST}\"]\nallow = [\"127.0.0.1\"]\nplain_port = {port}\n"
    )
}

/// Stores the vendor's key, and trusts it to its door.
pub(crate) fn give_key(scene: &Scene) {
    scene.store("vendor", KEY).ok();
    scene.trust("vendor");
}

/// An agent `asker` that does what its task says and has a model. What a test says nothing of is as in most: it speaks Anthropic's
/// protocol, has more to spend than it can, and makes drafts.
pub(crate) struct Asker {
    port: u16,
    protocol: String,
    budget: String,
    table: String,
    repo: String,
    model: String,
    rest: String,
}

impl Asker {
    /// One whose model answers by the script.
    pub(crate) fn of(server: &Server) -> Self {
        Self::at(server.address().port())
    }

    /// One whose vendor is at this port.
    pub(crate) fn at(port: u16) -> Self {
        let (protocol, budget) = ("anthropic-messages".to_owned(), amount(10_000_000));
        let [repo, model, rest] = [""; 3].map(str::to_owned);
        Self { port, protocol, budget, table: agent("asker", "draft"), repo, model, rest }
    }

    pub(crate) fn speaks(mut self, protocol: &str) -> Self {
        protocol.clone_into(&mut self.protocol);
        self
    }

    pub(crate) fn may_spend(mut self, millionths: u64) -> Self {
        self.budget = amount(millionths);
        self
    }

    /// The same, as it stands in a configuration.
    pub(crate) fn budget(mut self, written: &str) -> Self {
        written.clone_into(&mut self.budget);
        self
    }

    /// Its table begins like this instead.
    pub(crate) fn is(mut self, table: impl Into<String>) -> Self {
        self.table = table.into();
        self
    }

    /// More of its table.
    pub(crate) fn with(mut self, lines: &str) -> Self {
        self.table.push_str(lines);
        self.table.push('\n');
        self
    }

    /// More of its repository's table.
    pub(crate) fn in_repo(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.repo);
        self
    }

    /// More of its model's table.
    pub(crate) fn in_model(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.model);
        self
    }

    /// More tables.
    pub(crate) fn beside(mut self, tables: &str) -> Self {
        self.rest.push_str(tables);
        self
    }

    /// The factory it is in.
    pub(crate) fn scene(self) -> Scene {
        let scene = Scene::ready();
        let Self { port, protocol, budget, table, repo, model, rest } = self;
        let model =
            tables(&protocol, "scripted-1", port).replacen("[model.main]", &format!("[model.main]\n{model}"), 1);
        scene.configure(
            &format!("checks = [\"sh tests/run.sh\"]\n{repo}"),
            &format!("{table}model = \"main\"\nbudget = {budget}\n{model}{rest}"),
        );
        give_key(&scene);
        scene
    }
}

/// One request by hand, as a command: its answer, and its status.
pub(crate) fn ask((path, body): (impl Display, &Value)) -> String {
    let body = body.to_string().replace('\'', "'\\''");
    format!(
        "curl -sSN -w '\\nstatus %{{http_code}}\\n' -H 'content-type: application/json' -H 'anthropic-version: 2023-06-01' \
         -d '{body}' \"$SELVEDGE_MODEL_URL{path}\""
    )
}

/// What the vendor counts: read, and written.
pub(crate) fn billed(server: &Server) -> Tokens {
    let tokens = server.totals().tokens;
    (tokens.input + tokens.cached + tokens.cache_write, tokens.output + tokens.reasoning)
}

/// So many read, so many written.
pub(crate) fn cost(input: u64, output: u64) -> Usage {
    Usage { input, output, ..Usage::default() }
}
