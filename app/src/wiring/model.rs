//! An attempt's model door, the keeper's side: each call of a model and each tool call in its answer an order of its own, what a call may
//! cost set aside before it and settled after. Nothing that an agent or a model wrote is parsed here; the door tells facts.

use std::sync::Arc;
use std::time::Instant;

use selvedge_authority::{ActError, Code, Denial, Observation, PolicyName};
use selvedge_domain::orders::{ModelAnswered, ModelCall, StartWork, Tokens, ToolCall};
use selvedge_domain::{Cause, Endpoint, HostPattern};
use selvedge_factory::ports::{Clock as _, Doorkeeper, Entropy as _};
use selvedge_gateway::Given;
use selvedge_gateway::model::Usage;
use selvedge_gateway::model::wanted::{BUDGET_IN_USE, ModelAsk, ModelDone, ModelHost, Tool, ToolAsk};
use selvedge_sandbox::Place;

use super::Works;
use super::denied::{denied, outside_grant};
use super::hold::HoldDesk;
use super::purse::{Foreseen, Purse, Reserved, Room};
use super::repositories::permanent;
use super::secrets::secrets_in;
use super::tools::ToolDesk;
use super::witness::Witness;
use crate::config::{ModelConfig, Price, since};

/// Where it is served: nowhere, the door answers.
const HOST: &str = "model.selvedge.internal";

/// Plain HTTP, on loopback inside the sandbox: agents differ in whose certificates they trust.
const PORT: u16 = 80;

/// What the model is expected to write at most where the request does not say, in tokens: more than answers with whole files in them.
const OUTPUT_TOKENS_EXPECTED: u64 = 64_000;

/// What current models write at most in one answer, in tokens.
const OUTPUT_TOKENS_MAX: u64 = 128_000;

/// How long is waited for what a door says of the last calls once its sandbox is dead: a message that is on its way.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(1);

/// Bytes of a request that are expected to be one token: text has some four, and code and other scripts fewer. At the most, and for what is
/// settled without the vendor's numbers, each byte is one: no token has less.
const BYTES_PER_TOKEN_EXPECTED: u64 = 3;

/// What a vendor adds to a request on its side, in tokens: how tools are called, some hundreds where it tells.
const INPUT_TOKENS_ADDED: u64 = 1_000;

/// Files and directories that steer an agent's own program, by their first component, or by their name anywhere.
const STEERING: [&str; 10] = [
    ".claude",
    ".claude.json",
    ".codex",
    ".gemini",
    ".mcp.json",
    ".opencode",
    ".pi",
    ".qwen",
    "opencode.json",
    "opencode.jsonc",
];

/// How the names of others begin: they have a file for each kind of setting.
const STEERING_BEGINNINGS: [&str; 2] = [".aider", ".mini-swe-agent"];

/// Directories in a home's `.config` that steer an agent's own program.
const STEERING_IN_CONFIG: [&str; 2] = ["mini-swe-agent", "opencode"];

/// One attempt's model.
pub(super) struct ModelDesk {
    order: StartWork,
    model: ModelConfig,
    tools: Vec<Tool>,
    denied: String,
    purse: Arc<Purse>,
}

impl Works {
    /// The model of an attempt; none where its grant names none.
    pub(super) fn model_desk(
        &self,
        order: &StartWork,
        tools: Vec<Tool>,
        purse: &Arc<Purse>,
    ) -> Result<Option<ModelDesk>, ActError> {
        let Some(name) = order.grant.models.first() else { return Ok(None) };
        let config = self.config();
        let model = config.models.get(name).ok_or_else(|| permanent("the model is no longer configured"))?.clone();
        let denied = format!("selvedge_denied_{:016x}", self.draw());
        Ok(Some(ModelDesk { order: order.clone(), model, tools, denied, purse: Arc::clone(purse) }))
    }
}

impl ModelDesk {
    /// What its door has to know.
    pub(super) fn host(&self) -> Result<ModelHost, ActError> {
        let host = HostPattern::parse(HOST).ok_or_else(|| permanent("the name of the model's host is none"))?;
        let ModelConfig { upstream, base_path, hosting, called, protocols, prices, patience, egress, .. } =
            self.model.clone();
        Ok(ModelHost {
            endpoint: Endpoint { host, port: PORT },
            upstream,
            base_path,
            hosting,
            called,
            protocols,
            names: prices.into_keys().collect(),
            egress,
            tools: self.tools.clone(),
            denied: self.denied.clone(),
            patience: std::time::Duration::from_millis(patience.as_millis()),
            rehearsal: None,
        })
    }

    /// Where it really is.
    pub(super) fn upstream(&self) -> &Endpoint {
        &self.model.upstream
    }

    /// Where the model is, for what runs inside.
    pub(super) fn url() -> String {
        format!("http://{HOST}")
    }

    /// What the vendor calls the model that the agent is to use.
    pub(super) fn asked(&self) -> &str {
        &self.model.first
    }

    /// Says in the sandbox where it is.
    pub(super) fn announce(&self, place: Place) -> Place {
        Self::announced(place, self.asked())
    }

    /// The same for a model that is called this.
    pub(super) fn announced(place: Place, asked: &str) -> Place {
        place.with_env("SELVEDGE_MODEL_URL", &Self::url()).with_env("SELVEDGE_MODEL", asked)
    }

    /// Answers whether a call may go out. Who is refused has not heard its model to the end.
    pub(super) fn call(&self, works: &Works, doors: &dyn Doorkeeper, serials_from: u64, ask: ModelAsk) -> Given {
        let unheard = Unheard::of(&ask);
        let given = self.decide(works, doors, serials_from, ask);
        if !matches!(given, Given::Allowed) {
            self.refused(unheard);
        }
        given
    }

    /// Hears that a call was refused.
    pub(super) fn refused(&self, call: Unheard) {
        if call.generates {
            self.purse.account().heard(call.serial, call.offers_tools, false);
        }
    }

    /// Decides on a call. What it may cost is set aside under the same lock it is decided under, so that two cannot both have what is
    /// left. While that is set aside for others it may be asked again; whoever goes on asking once it is spent is ended.
    fn decide(&self, works: &Works, doors: &dyn Doorkeeper, serials_from: u64, ask: ModelAsk) -> Given {
        let Some((date, price)) = self.model.prices.get(&ask.asked).and_then(|prices| prices.in_force(works.now()))
        else {
            return denied(not_priced());
        };
        let foreseen = foreseen(price, &ask);
        let mut account = self.purse.account();
        let (cost, is_covered) = match self.purse.room(&account, foreseen) {
            Room::Covered(cost) => (cost, true),
            Room::Alone(cost) => (cost, false),
            Room::Later => return in_use(),
            // Decided like any other, so that it is on record.
            Room::Spent => (foreseen.expected, false),
        };
        let (request_bytes, output_max) = (ask.request_bytes, output_max(&ask));
        let Unheard { serial, generates, offers_tools } = Unheard::of(&ask);
        let call = ModelCall {
            run: self.order.run.clone(),
            repo: self.order.repo.clone(),
            serial: serials_from.wrapping_add(serial),
            model: self.model.name.clone(),
            asked: ask.asked,
            endpoint: self.model.upstream.clone(),
            protocol: ask.protocol.to_string(),
            request_bytes: ask.request_bytes,
            tools: ask.tools,
            egress: ask.egress.iter().map(|egress| egress.as_str().to_owned()).collect(),
            price_since: since(date),
            reserves: cost,
            budget_left: self.purse.left(&account),
            credential: ask.credential,
        };
        let is_too_much = call.reserves > call.budget_left;
        match doors.call_model(call) {
            Ok(()) => {
                let reserved = Reserved { price, cost, generates, offers_tools, request_bytes, output_max, is_covered };
                account.reserve(serial, reserved);
                Given::Allowed
            }
            Err(denial) if is_too_much => {
                let is_enough = account.refuse(works.now());
                drop(account);
                if is_enough {
                    let detail = "the budget is spent and the agent went on asking its model; it was ended".to_owned();
                    doors.saw(Observation::Finding { code: BUDGET_SPENT.to_owned(), detail });
                    works.kill_run(&self.order.run);
                }
                Given::Denied { code: BUDGET_SPENT.to_owned(), next_step: denial.next_step }
            }
            Err(denial) => denied(denial),
        }
    }

    /// Waits a moment for what the door has still to say of calls whose agent is dead: one that ends with the last byte of an answer is
    /// over before its door has noted that it had it.
    pub(super) fn hear_the_last(&self) {
        let begun = Instant::now();
        while self.purse.account().is_generating() && begun.elapsed() < LAST_WORDS {
            std::thread::sleep(LAST_WORDS / 100);
        }
    }

    /// Settles what nobody settled before its door was closed: the vendor may have read and written all it was allowed to, and its agent
    /// has no answer.
    pub(super) fn settle_the_rest(&self, doors: &dyn Doorkeeper, serials_from: u64) {
        let under_way = self.purse.account().under_way();
        for serial in under_way {
            let usage = Usage::default();
            let done = ModelDone {
                serial,
                status: 0,
                usage,
                is_final: false,
                written_bytes: 0,
                cut_by_vendor: false,
                broke_off: true,
            };
            let _settled = self.done(doors, serials_from, done);
        }
    }

    /// Settles a call: by the vendor's last numbers, or by an estimate that is not too low.
    pub(super) fn done(&self, doors: &dyn Doorkeeper, serials_from: u64, done: ModelDone) -> Given {
        let mut account = self.purse.account();
        let Some(reserved) = account.take_back(done.serial) else { return denied(not_open()) };
        let (tokens, is_estimated) = settled(&done, &reserved);
        let cost = cost(reserved.price, tokens);
        account.pay(cost);
        if reserved.generates {
            account.heard(done.serial, reserved.offers_tools, !done.broke_off);
        }
        drop(account);
        let answer = ModelAnswered { status: done.status, tokens, is_estimated, cost };
        doors.model_answered(serials_from.wrapping_add(done.serial), answer);
        Given::Allowed
    }

    /// Answers whether the agent may have a tool call.
    pub(super) fn tool(
        &self,
        holds: &HoldDesk<'_>,
        (witness, tools): (Option<&Witness>, Option<&ToolDesk>),
        serials_from: u64,
        ask: ToolAsk,
    ) -> Given {
        let place = (ask.serial, ask.index);
        let of_server = ask.of_server.and_then(|(server, tool)| tools?.of_server(&server, &tool));
        let steers = ask.paths.iter().filter(|path| steers(path)).cloned().collect();
        let named = ask.paths.iter().chain(&ask.addresses).chain(&ask.values);
        let secrets = secrets_in([&ask.tool, &ask.command].into_iter().chain(named));
        let call = ToolCall {
            run: self.order.run.clone(),
            repo: self.order.repo.clone(),
            serial: serials_from.wrapping_add(ask.serial),
            index: ask.index,
            tool: ask.tool,
            kind: ask.kind,
            command: ask.command,
            paths: ask.paths,
            steers,
            addresses: ask.addresses,
            values: ask.values,
            arguments: ask.arguments,
            argument_bytes: ask.argument_bytes,
            of_server,
            secrets,
        };
        // Known before the agent has it: it may be run the moment it is there.
        if let Some(witness) = witness {
            let cause = Cause { serial: call.serial, index: call.index };
            witness.called(cause, &call.command, &call.paths);
        }
        holds.ask(place, call)
    }
}

/// A call that may have no answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unheard {
    serial: u64,
    generates: bool,
    offers_tools: bool,
}

impl Unheard {
    pub(super) fn of(ask: &ModelAsk) -> Self {
        Self { serial: ask.serial, generates: ask.generates, offers_tools: ask.tools > 0 }
    }
}

/// The code of a denial for want of budget; the door answers it with 402.
const BUDGET_SPENT: &str = "budget_spent";

/// What a call came to. A vendor that refused billed nothing, and counting costs nothing. One that broke off may bill all it read and
/// what it wrote until then: every byte is counted as a token then, as none has less. One that nobody listened to any more may have written
/// all it was allowed to.
fn settled(done: &ModelDone, reserved: &Reserved) -> (Tokens, bool) {
    let Reserved { generates, request_bytes, output_max, .. } = *reserved;
    let Usage { input, cached, cache_write, output, reasoning } = done.usage;
    let counted = Tokens { input, cached, cache_write, output, reasoning };
    let is_refused = done.status != 0 && !(200..300).contains(&done.status);
    match (done.is_final, is_refused) {
        (true, _) => (counted, false),
        (false, true) => (Tokens::default(), false),
        (false, false) if !generates => (Tokens::default(), false),
        (false, false) => {
            let read = input.saturating_add(cached).saturating_add(cache_write);
            let input = if read == 0 { request_bytes.saturating_add(INPUT_TOKENS_ADDED) } else { input };
            let unheard = if done.cut_by_vendor { 0 } else { output_max };
            (Tokens { input, output: output.max(done.written_bytes).max(unheard), ..counted }, true)
        }
    }
}

/// The most a model may write. An agent that says 0 may mean that it does not care.
fn output_max(ask: &ModelAsk) -> u64 {
    ask.output_tokens_max.filter(|most| *most > 0).unwrap_or(OUTPUT_TOKENS_MAX)
}

/// What a call may cost. Nobody can say what it costs at most where the vendor is to fetch or to do something for it, or has more to read
/// than text.
fn foreseen(price: Price, ask: &ModelAsk) -> Foreseen {
    if !ask.generates {
        return Foreseen { expected: 0, most: Some(0) };
    }
    let dearest = Price { input: price.input.max(price.cache_write).max(price.cached), ..price };
    let costs = |input, output| cost(dearest, Tokens { input, output, ..Tokens::default() });
    let expected = ask.output_tokens_max.filter(|most| *most > 0).unwrap_or(OUTPUT_TOKENS_EXPECTED);
    let expected = costs(ask.request_bytes / BYTES_PER_TOKEN_EXPECTED, expected);
    let most = costs(ask.request_bytes.saturating_add(INPUT_TOKENS_ADDED), output_max(ask));
    Foreseen { expected, most: (ask.is_all_text && ask.egress.is_empty()).then_some(most) }
}

/// What tokens cost, in millionths; a part of one counts whole.
fn cost(price: Price, tokens: Tokens) -> u64 {
    let each = [
        (tokens.input, price.input),
        (tokens.cached, price.cached),
        (tokens.cache_write, price.cache_write),
        (tokens.output, price.output),
    ];
    let sum = each.iter().map(|(count, price)| u128::from(*count) * u128::from(*price)).sum::<u128>();
    u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// Whether a path steers an agent's own program, wherever it begins. Case does not tell files apart everywhere.
fn steers(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let mut in_config = false;
    lower.split(['/', '\\']).filter(|component| !matches!(*component, "" | ".")).any(|component| {
        let was_config = std::mem::replace(&mut in_config, component == ".config");
        STEERING.contains(&component)
            || STEERING_BEGINNINGS.iter().any(|beginning| component.starts_with(beginning))
            || (was_config && STEERING_IN_CONFIG.contains(&component))
    })
}

/// What is said of a call that would have room, were others not under way.
fn in_use() -> Given {
    let next_step = "what is left of the budget is set aside for calls under way: ask again once they are over";
    Given::Denied { code: BUDGET_IN_USE.to_owned(), next_step: next_step.to_owned() }
}

/// What a sandbox without a model is told.
pub(super) fn no_model() -> Given {
    outside_grant("this sandbox has no model to ask; work without one")
}

fn not_priced() -> Denial {
    let next_step = "use the model that this task was given".to_owned();
    Denial { code: Code::OutsideGrant, policies: Vec::<PolicyName>::new(), next_step }
}

fn not_open() -> Denial {
    let next_step = "this call is not open".to_owned();
    Denial { code: Code::NotPermitted, policies: Vec::<PolicyName>::new(), next_step }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SONNET: Price = Price { input: 3_000_000, cached: 300_000, cache_write: 3_750_000, output: 15_000_000 };

    #[test]
    fn a_price_is_per_million_tokens() {
        let tokens = Tokens { input: 2_000, output: 100, ..Tokens::default() };
        assert_eq!(cost(SONNET, tokens), 7_500, "0.0075 of a unit");
        assert_eq!(cost(SONNET, Tokens { cached: 1, ..Tokens::default() }), 1, "a part counts whole");
        let most = Tokens { input: u64::MAX, output: u64::MAX, ..Tokens::default() };
        assert_eq!(cost(SONNET, most), u64::MAX);
    }

    #[test]
    fn what_a_vendor_did_not_count_is_estimated_and_not_too_low() {
        let done = |status, usage, is_final, cut_by_vendor| {
            let broke_off = cut_by_vendor;
            let done = ModelDone { serial: 1, status, usage, is_final, written_bytes: 40, cut_by_vendor, broke_off };
            let (request_bytes, output_max) = (900, 1_000);
            let (generates, offers_tools) = (true, true);
            let reserved = Reserved {
                price: SONNET,
                cost: 0,
                generates,
                offers_tools,
                request_bytes,
                output_max,
                is_covered: true,
            };
            settled(&done, &reserved)
        };
        let counted = Usage { input: 10, output: 5, ..Usage::default() };
        assert_eq!(done(200, counted, true, false), (Tokens { input: 10, output: 5, ..Tokens::default() }, false));
        let tokens = |input, output| (Tokens { input, output, ..Tokens::default() }, true);
        assert_eq!(done(200, Usage::default(), false, true), tokens(1_900, 40));
        assert_eq!(done(200, Usage { output: 1, ..counted }, false, true), tokens(10, 40), "it told what it read");
        assert_eq!(done(200, counted, false, false), tokens(10, 1_000), "it may have gone on");
        assert_eq!(done(0, Usage::default(), false, false), tokens(1_900, 1_000), "it may have read all of it");
        assert_eq!(done(429, Usage::default(), false, false), (Tokens::default(), false));
    }

    #[test]
    fn what_a_call_costs_at_most_is_foreseen_where_it_can_be_e3() {
        let ask = ModelAsk {
            serial: 1,
            protocol: selvedge_gateway::model::Protocol::Chat,
            asked: "m".to_owned(),
            request_bytes: 900,
            tools: 0,
            generates: true,
            is_all_text: true,
            output_tokens_max: Some(100),
            egress: [].into(),
            credential: None,
        };
        let of = |ask: &ModelAsk| {
            let Foreseen { expected, most } =
                foreseen(Price { input: 1_000_000, cached: 0, cache_write: 0, output: 1_000_000 }, ask);
            (expected, most)
        };
        assert_eq!(of(&ask), (400, Some(2_000)));
        assert_eq!(of(&ModelAsk { output_tokens_max: None, ..ask.clone() }), (64_300, Some(129_900)));
        assert_eq!(of(&ModelAsk { output_tokens_max: Some(0), ..ask.clone() }), (64_300, Some(129_900)));
        assert_eq!(of(&ModelAsk { is_all_text: false, ..ask.clone() }), (400, None));
        let egress = [selvedge_gateway::model::Egress::UrlSources].into();
        assert_eq!(of(&ModelAsk { egress, ..ask.clone() }), (400, None));
        assert_eq!(of(&ModelAsk { generates: false, ..ask }), (0, Some(0)));
    }

    #[test]
    fn files_that_steer_an_agent_are_known_wherever_they_lie_a25() {
        for path in [
            ".claude/settings.json",
            "/workspace/.Claude/hooks.json",
            "sub/.mcp.json",
            "./opencode.json",
            ".codex\\config.toml",
            "/home/agent/.config/opencode/plugins/x.js",
            "~/.config/./OpenCode//agent/x.md",
            ".config/mini-swe-agent/.env",
            "sub/.aider.conf.yml",
            ".aider.model.settings.yml",
            ".gemini/settings.json",
            ".qwen/settings.json",
        ] {
            assert!(steers(path), "{path}");
        }
        for path in
            ["src/claude.rs", "docs/.claude-notes.md", "AGENTS.md", "opencode/x", ".config/x/opencode", "aider.py"]
        {
            assert!(!steers(path), "{path}");
        }
    }
}
