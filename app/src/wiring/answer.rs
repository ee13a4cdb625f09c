//! Answers a run's door: translates between its words and the factory's, sends each question to the desk it is for, and counts what was
//! denied. Never decides anything itself.

use std::sync::atomic::{AtomicU64, Ordering};

use selvedge_authority::Observation;
use selvedge_domain::orders::{HttpAnswered, HttpRequest};
use selvedge_domain::{CredentialName, HostPattern};
use selvedge_factory::ports::{Clock as _, Doorkeeper};
use selvedge_gateway::danger::Upstream;
use selvedge_gateway::model::door::MEMBER_LEFT_OUT;
use selvedge_gateway::model::wanted::BUDGET_IN_USE;
use selvedge_gateway::tools::wanted::{ServerAsk, ServerDone};
use selvedge_gateway::{Ask, Done, Door, GitAnswer, GitCall, Given, Judge, Layer, Outcome, Refused, Verdict, Wanted};

use super::Works;
use super::access::nothing_to_ask;
use super::behalf::{Behalf, HasIdentity};
use super::danger::said;
use super::denied::outside_grant;
use super::desks::Desks;
use super::hold::HoldDesk;
use super::leak::SECRET_IN_REQUEST;
use super::model::{Unheard, no_model};
use super::narrowed::{Narrowed, danger_narrowed, narrowed};
use super::secrets::{masked, secrets_in};
use super::send::Chain;
use super::tokens::nothing_to_hand_on;
use super::tools::{ToolDesk, no_tools};
use crate::config::Config;

/// Requests of one attempt that may be denied or refused. A program that asks once a second for an hour gets there in three
/// quarters of that; whoever gets there sooner does not mean to be answered.
const DENIALS_MAX: u64 = 5_000;

/// Translates between the door's words and the factory's.
pub(super) struct Desk<'a> {
    pub(super) works: &'a Works,
    pub(super) behalf: &'a Behalf,
    pub(super) desks: Desks<'a>,
    pub(super) door: &'a Door,
    pub(super) doors: &'a dyn Doorkeeper,
    pub(super) holds: &'a HoldDesk<'a>,
    pub(super) dangers: &'a [Upstream],
    pub(super) told: &'a Config,
    pub(super) chain: &'a Chain,
    pub(super) serials_from: u64,
    pub(super) denials: AtomicU64,
}

impl Desk<'_> {
    fn denied(&self, count: u64) {
        let before = self.denials.fetch_add(count, Ordering::Relaxed);
        let now = before.saturating_add(count);
        // Once: the door is closed by it.
        if before < DENIALS_MAX && now >= DENIALS_MAX {
            self.works.denied_too_often(&self.behalf.run, now);
        }
    }

    /// Why a request is denied before any policy is asked: the configuration in force lets less through than its door was told of, or
    /// the runs it shares its budget with have sent what there is.
    fn outdated(&self, serial: u64, ask: &Ask) -> Option<Narrowed> {
        let (now, host) = (self.works.config(), &ask.endpoint.host);
        narrowed(self.told, &now, ask).or_else(|| self.overdrawn(serial, host, ask.sent_at_most()))
    }

    /// Sets aside what a request may send; why it is denied, where that may be more than is left.
    fn overdrawn(&self, serial: u64, host: &HostPattern, most: u64) -> Option<Narrowed> {
        let (told, limit) = (self.told.send.at(host), self.works.config().send.at(host));
        let is_left = self.chain.set_aside((&self.behalf.run, serial), (host, most), told, limit);
        (!is_left).then(|| Narrowed {
            code: "send_budget_spent",
            detail: host.to_string(),
            next_step: "send less: this task and those that share its budget may send no more to this host; a smaller request may still fit",
        })
    }

    /// The same for a question to a tool server, which is decided on then.
    fn ask_server(&self, tools: &ToolDesk, ask: ServerAsk) -> Given {
        let serial = self.serials_from.wrapping_add(ask.serial);
        let overdrawn = || tools.host_of(&ask).and_then(|host| self.overdrawn(serial, host, ask.sent_at_most()));
        if let Some(narrowed) = tools.narrowed(self.told, &self.works.config(), &ask).or_else(overdrawn) {
            return self.withdrawn(narrowed);
        }
        let given = tools.ask(self.holds, self.serials_from, ask);
        if is_denial(&given) {
            self.chain.settle((&self.behalf.run, serial), 0);
        }
        given
    }

    /// How a call stands that waits for people. One that is denied sends nothing.
    fn held(&self, serial: u64, index: u64) -> Given {
        let given = self.holds.answer((serial, index));
        if is_denial(&given) {
            self.chain.settle((&self.behalf.run, self.serials_from.wrapping_add(serial)), 0);
        }
        given
    }

    /// What a tool server came to.
    fn server_done(&self, tools: &ToolDesk, done: ServerDone) -> Given {
        let serial = self.serials_from.wrapping_add(done.serial);
        self.chain.settle((&self.behalf.run, serial), done.request_bytes);
        tools.done(self.doors, self.serials_from, done)
    }

    fn note(&self, Narrowed { code, detail, .. }: &Narrowed) {
        let (code, detail) = ((*code).to_owned(), detail.clone());
        self.doors.saw(Observation::DoorRefused { door: "http".to_owned(), code, detail, count: 1 });
    }

    /// Tells the agent, and the record.
    fn withdrawn(&self, narrowed: Narrowed) -> Given {
        self.note(&narrowed);
        Given::Denied { code: narrowed.code.to_owned(), next_step: narrowed.next_step.to_owned() }
    }

    fn identified(&self, give: impl FnOnce(&Works) -> Given) -> Given {
        match self.behalf.identity {
            HasIdentity::Yes => give(self.works),
            HasIdentity::No => outside_grant("this sandbox has no identity to ask for; work without it"),
        }
    }

    /// What the sandbox read before it asked is known before anything is decided on.
    fn look(&self) {
        if let Some(witness) = self.desks.witness {
            witness.look(self.doors);
        }
    }

    /// A door that speaks nonsense is dead by now.
    pub(super) fn broke(&self, error: &selvedge_gateway::ServeError) {
        let finding = Observation::Finding { code: "door_broke".to_owned(), detail: error.to_string() };
        self.doors.saw(finding);
    }
}

impl Judge for Desk<'_> {
    fn ask(&self, ask: &Ask) -> Verdict {
        self.look();
        let serial = self.serials_from.wrapping_add(ask.serial);
        if let Some(narrowed) = self.outdated(serial, ask) {
            self.denied(1);
            self.note(&narrowed);
            return Verdict::Deny { code: narrowed.code.to_owned(), next_step: narrowed.next_step.to_owned() };
        }
        let request = HttpRequest {
            run: self.behalf.run.clone(),
            repo: self.behalf.repo.clone(),
            serial,
            endpoint: ask.endpoint.clone(),
            method: ask.method,
            path: ask.path.clone(),
            query_bytes: ask.query_bytes,
            body_bytes_max: ask.body_bytes_max(),
            credential: ask.credential.clone(),
            graphql: ask.graphql.clone(),
            secrets: secrets_in([&ask.path]),
            danger: self.dangers.iter().filter(|named| named.endpoint == ask.endpoint).map(said).collect(),
        };
        match self.doors.ask(request) {
            Ok(()) => Verdict::Allow,
            Err(denial) => {
                self.chain.settle((&self.behalf.run, serial), 0);
                self.denied(1);
                Verdict::Deny { code: denial.code.as_str().to_owned(), next_step: denial.next_step }
            }
        }
    }

    fn done(&self, done: Done) {
        let status = match done.outcome {
            Outcome::Answered { status } => status,
            Outcome::Failed { .. } => 0,
        };
        let Done { serial, request_bytes, response_bytes, .. } = done;
        let serial = self.serials_from.wrapping_add(serial);
        self.chain.settle((&self.behalf.run, serial), request_bytes);
        self.doors.answered(serial, HttpAnswered { status, request_bytes, response_bytes });
    }

    fn identity(&self, wanted: Wanted) -> Given {
        self.look();
        let Desks { tokens, access, model, tools, witness, told, rehearsal, git: _ } = self.desks;
        if let Some(rehearsal) = rehearsal {
            return rehearsal.answer(&wanted);
        }
        let (works, doors, serials_from) = (self.works, self.doors, self.serials_from);
        let is_call = matches!(wanted, Wanted::Tool(_) | Wanted::Held { .. });
        let given = match wanted {
            // Clients of the Workload API go on asking: that they are denied is no sign of anything.
            Wanted::Jwt { audience } => {
                return self.identified(|works| works.jwt(self.behalf, doors, &audience));
            }
            Wanted::X509 { key } => return self.identified(|works| works.x509(self.behalf, doors, &key)),
            Wanted::Bundles => return self.identified(Works::bundles),
            Wanted::Valid { audience, token } => return self.identified(|works| works.validate(&audience, &token)),
            Wanted::Token { call, form } => match tokens {
                Some(tokens) => tokens.answer(works, doors, call, &form),
                None => nothing_to_hand_on(),
            },
            Wanted::Access { asked } => match access {
                Some(access) => access.answer(doors, self.door, &asked),
                None => nothing_to_ask(),
            },
            Wanted::Model(ask) => match model {
                Some(model) => match danger_narrowed(self.told, &works.config(), model.upstream()) {
                    Some(narrowed) => {
                        model.refused(Unheard::of(&ask));
                        self.withdrawn(narrowed)
                    }
                    None => model.call(works, doors, serials_from, ask),
                },
                None => no_model(),
            },
            Wanted::ModelDone(done) => model.map_or_else(no_model, |model| model.done(doors, serials_from, done)),
            Wanted::Tool(ask) => {
                model.map_or_else(no_model, |model| model.tool(self.holds, (witness, tools), serials_from, ask))
            }
            Wanted::Held { serial, index } => self.held(serial, index),
            Wanted::Unheld { serial } => {
                // Of a call that its door heard of, the door says itself what was sent.
                if self.holds.forget(serials_from, serial) {
                    self.chain.settle((&self.behalf.run, serials_from.wrapping_add(serial)), 0);
                }
                Given::Allowed
            }
            Wanted::Told(what) => {
                if let Some(told) = told {
                    told.hear(&what, serials_from, works.now());
                }
                Given::Allowed
            }
            Wanted::Rehearsed => no_model(),
            Wanted::Server(ask) => tools.map_or_else(no_tools, |tools| self.ask_server(tools, ask)),
            Wanted::ServerDone(done) => tools.map_or_else(no_tools, |tools| self.server_done(tools, done)),
            Wanted::Shown { server } => tools.map_or_else(no_tools, |tools| tools.shown(self.holds, doors, &server)),
            Wanted::Question { serial, question } => {
                tools.map_or_else(no_tools, |tools| tools.question(self.holds, serials_from, serial, question))
            }
            Wanted::NotTakenOn(tool) => tools.map_or_else(no_tools, |tools| tools.note(doors, &tool)),
            Wanted::Words { words, is_proposal } => tools.map_or_else(no_tools, |tools| tools.say(words, is_proposal)),
        };
        if let (true, Given::Allowed, Some(told)) = (is_call, &given, told) {
            told.passed();
        }
        if is_denial(&given) {
            self.denied(1);
        }
        given
    }

    fn git(&self, call: GitCall) -> GitAnswer {
        self.look();
        match self.desks.git {
            Some(git) => git.answer(self.doors, &call),
            None => GitAnswer::Refused {
                code: "outside_grant".to_owned(),
                because: "this sandbox has no repository to ask for; work with the files it has".to_owned(),
            },
        }
    }

    fn refused(&self, refused: Refused) {
        if let Some(rehearsal) = self.desks.rehearsal {
            return rehearsal.refused(&refused);
        }
        let door = match refused.layer {
            Layer::Dns => "dns",
            Layer::Tls => "tls",
            Layer::Http => "http",
            Layer::Identity => "identity",
            Layer::Git => "git",
            Layer::Model => "model",
            Layer::Tools => "tools",
        };
        // Names that nobody has are looked up by honest programs all the time.
        if !matches!(refused.layer, Layer::Dns) && refused.code != MEMBER_LEFT_OUT {
            self.denied(refused.count);
        }
        let Refused { code, detail, count, .. } = refused;
        if let (SECRET_IN_REQUEST, Ok(credential)) = (code.as_str(), CredentialName::parse(&detail)) {
            self.works.secret_leaked(&self.behalf.run, &credential, "a request");
        }
        let detail = masked(&detail);
        self.doors.saw(Observation::DoorRefused { door: door.to_owned(), code, detail, count });
    }
}

/// What is only to wait is no denial.
fn is_denial(given: &Given) -> bool {
    match given {
        Given::Denied { code, .. } => code != BUDGET_IN_USE,
        Given::Token { status, .. } => *status >= 400,
        _ => false,
    }
}
