//! One run's doors: started before its sandbox, given the sandbox's listeners, answered through the funnel, closed first.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use selvedge_authority::{ActError, Observation};
use selvedge_domain::orders::{HttpAnswered, HttpRequest};
use selvedge_domain::{AgentName, CredentialName, Endpoint, Grant, NamedUpstream, Reach, RepoName, RunId};
use selvedge_factory::ports::{Clock, Doorkeeper, Entropy};
use selvedge_gateway::danger::{Transport, Upstream};
use selvedge_gateway::model::door::MEMBER_LEFT_OUT;
use selvedge_gateway::model::wanted::BUDGET_IN_USE;
use selvedge_gateway::{
    Ask, Done, Door, Fence, GitAnswer, GitCall, Given, Hello, Judge, Layer, Lease, Limits, ListenerKind, Loan,
    LoanChange, Outcome, Placeholder, Ready, Refused, SecretText, SecretWatch, Verdict, Wanted,
};
use selvedge_sandbox::Listeners;

use super::Works;
use super::access::AccessDesk;
use super::courier::door_rights;
use super::git::GitDesk;
use super::hold::HoldDesk;
use super::identity::nothing_to_hand_on;
use super::leak::SECRET_IN_REQUEST;
use super::lender::Kept;
use super::loans::{LoanWatch, OnDoor, WITHDRAWN};
use super::model::ModelDesk;
use super::narrowed::{Narrowed, danger_narrowed, narrowed};
use super::send::Chain;
use super::tokens::TokenDesk;
use super::tool_rooms::ToolRooms;
use super::tools::ToolDesk;
use super::witness::Witness;
use crate::config::{Config, CredentialConfig, Danger};

/// Threads that answer one door: a package client opens a handful of connections at a time.
const ANSWERERS: usize = 4;

/// Room for one door's requests above its random beginning; one bit less, so that serials fit a signed number.
const SERIAL_BITS: u32 = 24;

/// Requests of one attempt that may be denied or refused. A program that asks once a second for an hour gets there in three
/// quarters of that; whoever gets there sooner does not mean to be answered.
const DENIALS_MAX: u64 = 5_000;

/// What a door must stand behind before it is given a credential's worth of trust.
const FENCES: [Fence; 3] = [Fence::NotDumpable, Fence::Landlock, Fence::Seccomp];

/// A run's doors, open.
pub(super) struct OpenDoor {
    door: Arc<Door>,
    /// Where this door's count of requests begins, so that no two orders of a run are the same.
    serials_from: u64,
    /// The certificate the sandbox must trust.
    pub(super) ca_pem: String,
    /// What it was told at its start, and by which configuration; that in force may say otherwise by now.
    dangers: Vec<Upstream>,
    told: Arc<Config>,
    /// What it sends from.
    chain: Arc<Chain>,
    loans: Vec<OnDoor>,
    secrets: Option<Arc<SecretWatch>>,
}

/// What a run is lent for one sandbox, before its door has it.
#[derive(Default)]
pub(super) struct Lent {
    identity: Lease,
    loans: Vec<Loan>,
    /// Under which leases.
    on_door: Vec<OnDoor>,
    /// Where programs inside find the placeholders.
    pub(super) env: Vec<(String, Placeholder)>,
    /// What is looked for in what the sandbox writes and leaves.
    pub(super) watch: Option<Arc<SecretWatch>>,
}

/// What a door answers for beside the requests it forwards; none of it where the run has no business there.
#[derive(Clone, Copy, Default)]
pub(super) struct Desks<'a> {
    /// The repository it may ask for.
    pub(super) git: Option<&'a GitDesk>,
    /// The token endpoint.
    pub(super) tokens: Option<&'a TokenDesk>,
    /// Where it asks to reach more.
    pub(super) access: Option<&'a AccessDesk>,
    /// The model it may have answer.
    pub(super) model: Option<&'a ModelDesk>,
    /// Who sees what it does, where somebody looks.
    pub(super) witness: Option<&'a Witness>,
    /// The tool servers it may ask.
    pub(super) tools: Option<&'a ToolDesk>,
}

/// On whose behalf a door is open.
#[derive(Clone)]
pub(super) struct Behalf {
    pub(super) run: RunId,
    pub(super) repo: RepoName,
    pub(super) agent: AgentName,
    /// Whether it has the Workload API.
    pub(super) identity: HasIdentity,
}

/// Whether a sandbox may ask for identity documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HasIdentity {
    /// The run's grant names somebody it may have an identity for.
    Yes,
    /// It does not, or this sandbox is none of the agent's.
    No,
}

impl Works {
    /// Starts the door process of a run.
    pub(super) fn open_door(
        &self,
        behalf: &Behalf,
        reach: Vec<Reach>,
        lending: Lent,
        Desks { git, tokens, access, model, tools, .. }: Desks<'_>,
        life: Duration,
    ) -> Result<OpenDoor, ActError> {
        let config = self.config();
        let asking = access.map(AccessDesk::asking).transpose()?;
        let model = model.map(ModelDesk::host).transpose()?;
        let servers: Vec<Endpoint> = tools.iter().flat_map(|tools| tools.upstreams()).cloned().collect();
        let tools = tools.map(ToolDesk::host).transpose()?;
        let askable = asking.iter().flat_map(|asking| &asking.within);
        let reached = reach.iter().chain(askable.clone()).map(|reach| &reach.endpoint.host);
        let hosts = reached.chain(servers.iter().map(|server| &server.host));
        let chain = self.chain_of(&behalf.run)?;
        let budgets = chain.left(&config.send, hosts);
        let endpoints = reach.iter().chain(askable).map(|reach| &reach.endpoint);
        let hello = Hello {
            run: behalf.run.clone(),
            dangers: dangers(&config, endpoints.chain(model.iter().map(|model| &model.upstream)).chain(&servers)),
            reach,
            roots_pem: self.roots_pem.clone(),
            ca_common_name: format!("selvedge {}", behalf.run),
            life,
            lease: lending.identity,
            loans: lending.loans,
            git: git.map(GitDesk::host).transpose()?,
            tokens: tokens.map(TokenDesk::place).transpose()?,
            asking,
            model,
            tools,
            graphql: config.graphql.clone(),
            limits: Limits::default(),
            budgets,
            proxy: self.way_out().upstream().map_err(ActError::Permanent)?,
        };
        let started = Door::start(&self.executable, door_rights(), &hello);
        let (door, Ready { ca_pem, fences }) = started.map_err(|error| ActError::Transient(format!("{error}")))?;
        if let Some(missing) = FENCES.iter().find(|fence| !fences.contains(fence)) {
            return Err(ActError::Permanent(format!(
                "the door process has no {missing:?} fence here; it needs Linux 6.7 or later"
            )));
        }
        let door = Arc::new(door);
        self.remember_door(&behalf.run, &door);
        // A withdrawal that came before it was remembered did not find it; one that comes now does.
        for loan in lending.on_door.iter().filter(|loan| self.on_loan.is_withdrawn(&loan.lease)) {
            let change = LoanChange::Withdrawn { because: WITHDRAWN.to_owned() };
            let changed = door.change_loan(&loan.credential, &change);
            changed.map_err(|error| ActError::Transient(error.to_string()))?;
        }
        let serials_from = self.draw() >> SERIAL_BITS << (SERIAL_BITS - 1);
        let (dangers, loans, secrets) = (hello.dangers, lending.on_door, lending.watch);
        Ok(OpenDoor { door, serials_from, ca_pem, dangers, told: config, chain, loans, secrets })
    }
}

impl Works {
    /// What the run's doors may use while its agent works, taken out of the vault.
    pub(super) fn lending_for_work(&self, run: &RunId, grant: &Grant) -> Result<Lent, ActError> {
        let mut lent = self.take_lent(run);
        let identity = lent.remove(&None).map_or_else(Lease::default, |kept| Lease::new(kept.secret.expose().to_vec()));
        Ok(Lent { identity, ..self.lending(&grant.loans, &mut lent)? })
    }

    /// For a sandbox that is lent nothing. What a credential would go into is refused there, rather than sent without.
    pub(super) fn lending_nothing(&self, loans: &BTreeSet<selvedge_domain::Loan>) -> Result<Lent, ActError> {
        Ok(Lent { env: Vec::new(), ..self.lending(loans, &mut BTreeMap::new())? })
    }

    fn lending(
        &self,
        granted: &BTreeSet<selvedge_domain::Loan>,
        lent: &mut BTreeMap<Option<CredentialName>, Kept>,
    ) -> Result<Lent, ActError> {
        let config = self.config();
        let mut uses: BTreeMap<&CredentialName, Vec<Reach>> = BTreeMap::new();
        for loan in granted {
            uses.entry(&loan.credential).or_default().push(loan.uses.clone());
        }
        let mut lending = Lent::default();
        for (name, uses) in uses {
            let gone = || ActError::Permanent(format!("credential `{name}` is no longer configured"));
            let CredentialConfig { way, env, .. } = config.credentials.get(name).ok_or_else(gone)?;
            let placeholder = Placeholder::of_bits(u128::from(self.draw()) << 64 | u128::from(self.draw()));
            lending.env.extend(env.iter().map(|env| (env.clone(), placeholder.clone())));
            let kept = lent.remove(&Some(name.clone()));
            lending.on_door.extend(kept.as_ref().map(|kept| OnDoor::new(name, kept)));
            let secret = kept.map(|kept| self.lent_secret(name, &kept)).transpose()?;
            let way = way.clone();
            lending.loans.push(Loan { credential: name.clone(), uses, way, placeholder, secret });
        }
        let salt = u128::from(self.draw()) << 64 | u128::from(self.draw());
        lending.watch = SecretWatch::of(&lending.loans, salt).map(Arc::new);
        Ok(lending)
    }

    fn lent_secret(&self, name: &CredentialName, kept: &Kept) -> Result<(SecretText, Duration), ActError> {
        let secret = SecretText::parse(kept.secret.expose()).map_err(|error| {
            ActError::Permanent(format!("credential `{name}` cannot be put into a request: {error}"))
        })?;
        Ok((secret, Duration::from_millis(kept.ends.since(self.now()).as_millis())))
    }
}

/// What the operator named under `danger`, for the endpoints this run may reach, or ask to.
fn dangers<'a>(config: &Config, endpoints: impl Iterator<Item = &'a Endpoint>) -> Vec<Upstream> {
    let endpoints: BTreeSet<&Endpoint> = endpoints.collect();
    endpoints.into_iter().flat_map(|endpoint| dangers_at(&config.danger, endpoint)).collect()
}

/// What the operator named under `danger`, for this endpoint.
pub(super) fn dangers_at(danger: &[Danger], endpoint: &Endpoint) -> Vec<Upstream> {
    let named = danger.iter().filter(|danger| danger.host == endpoint.host);
    let upstream = |danger: &Danger| Upstream {
        endpoint: endpoint.clone(),
        address: danger.address,
        port: danger.plain_port.unwrap_or(endpoint.port),
        transport: if danger.plain_port.is_some() { Transport::Clear } else { Transport::Tls },
    };
    named.map(upstream).collect()
}

/// The words for it that policy and the record have.
fn said(upstream: &Upstream) -> NamedUpstream {
    let address = SocketAddr::new(upstream.address, upstream.port);
    match upstream.transport {
        Transport::Tls => NamedUpstream::Tls(address),
        Transport::Clear => NamedUpstream::Plain(address),
    }
}

/// The authority card's lines on it, for what an agent reaches, or may once it has asked.
pub(crate) fn dangers_for<'a>(config: &Config, reach: impl Iterator<Item = &'a Reach>) -> Vec<String> {
    let line = |named: Upstream| {
        let to = match said(&named) {
            NamedUpstream::Tls(address) => format!("at {address}"),
            NamedUpstream::Plain(address) => format!("at {address}, in clear text"),
        };
        format!("by `danger`, {}:{} is reached {to}", named.endpoint.host, named.endpoint.port)
    };
    dangers(config, reach.map(|reach| &reach.endpoint)).into_iter().map(line).collect()
}

impl OpenDoor {
    /// Gives the door its listeners. What it is not given is closed when the listeners are dropped.
    pub(super) fn attach(
        &self,
        behalf: &Behalf,
        git: Option<&GitDesk>,
        rooms: &ToolRooms,
        listeners: &Listeners,
    ) -> Result<(), ActError> {
        let mut pairs = vec![
            (ListenerKind::Proxy, listeners.http.as_fd()),
            (ListenerKind::Dns, listeners.dns.as_fd()),
            (ListenerKind::CapturedTls, listeners.tls.as_fd()),
            (ListenerKind::CapturedClear, listeners.plain.as_fd()),
        ];
        if behalf.identity == HasIdentity::Yes {
            pairs.push((ListenerKind::Identity, listeners.identity.as_fd()));
        }
        pairs.extend(git.into_iter().flat_map(GitDesk::descriptors));
        pairs.extend(rooms.descriptors());
        self.door.attach(&pairs).map_err(|error| ActError::Transient(error.to_string()))
    }

    /// Answers the door, and watches what it was lent, while `inside` goes on, then closes it. Returns what `inside` did.
    pub(super) fn while_open<T>(
        &mut self,
        works: &Works,
        behalf: &Behalf,
        desks: Desks<'_>,
        doors: &dyn Doorkeeper,
        inside: impl FnOnce() -> T,
    ) -> T {
        let (serials_from, denials) = (self.serials_from, AtomicU64::new(0));
        let (door, dangers, secrets) = (&self.door, self.dangers.as_slice(), self.secrets.as_deref());
        let (loans, is_over) = (Mutex::new(std::mem::take(&mut self.loans)), AtomicBool::new(false));
        let holds = HoldDesk::new(works, &behalf.run, door, doors, secrets, &loans);
        let (told, chain) = (self.told.as_ref(), self.chain.as_ref());
        let desk =
            Desk { works, behalf, desks, door, doors, holds: &holds, dangers, told, chain, serials_from, denials };
        let watch = LoanWatch { works, run: &behalf.run, door, doors, secrets };
        let done = std::thread::scope(|scope| {
            for _ in 0..ANSWERERS {
                // A door that speaks nonsense is dead by the time serving returns; the sandbox then has no way out.
                scope.spawn(|| self.door.serve(&desk).inspect_err(|error| desk.broke(error)));
            }
            scope.spawn(|| watch.keep(&loans, &is_over));
            if desks.model.is_some() {
                scope.spawn(|| holds.keep(&is_over));
            }
            let done = inside();
            is_over.store(true, Ordering::Release);
            works.on_loan.ring();
            holds.ring();
            if let Some(git) = desks.git {
                git.end();
            }
            self.door.close();
            done
        });
        // Nobody settles anything any more.
        if let Some(model) = desks.model {
            model.settle_the_rest(doors, serials_from);
        }
        done
    }
}

/// Translates between the door's words and the factory's.
struct Desk<'a> {
    works: &'a Works,
    behalf: &'a Behalf,
    desks: Desks<'a>,
    door: &'a Door,
    doors: &'a dyn Doorkeeper,
    holds: &'a HoldDesk<'a>,
    dangers: &'a [Upstream],
    told: &'a Config,
    chain: &'a Chain,
    serials_from: u64,
    denials: AtomicU64,
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
        narrowed(self.told, &now, ask).or_else(|| {
            let (told, limit) = (self.told.send.at(host), now.send.at(host));
            let is_left = self.chain.set_aside((&self.behalf.run, serial), ask, told, limit);
            (!is_left).then(|| Narrowed {
                code: "send_budget_spent",
                detail: host.to_string(),
                next_step: "send less: this task and those that share its budget may send no more to this host; a smaller request may still fit",
            })
        })
    }

    /// Tells the agent, and the record.
    fn deny_narrowed(&self, Narrowed { code, detail, next_step }: Narrowed) -> (String, String) {
        self.denied(1);
        let code = code.to_owned();
        self.doors.saw(Observation::DoorRefused { door: "http".to_owned(), code: code.clone(), detail, count: 1 });
        (code, next_step.to_owned())
    }

    /// What the sandbox read before it asked is known before anything is decided on.
    fn look(&self) {
        if let Some(witness) = self.desks.witness {
            witness.look(self.doors);
        }
    }

    fn broke(&self, error: &selvedge_gateway::ServeError) {
        let finding = Observation::Finding { code: "door_broke".to_owned(), detail: error.to_string() };
        self.doors.saw(finding);
    }
}

impl Judge for Desk<'_> {
    fn ask(&self, ask: &Ask) -> Verdict {
        self.look();
        let serial = self.serials_from.wrapping_add(ask.serial);
        if let Some(narrowed) = self.outdated(serial, ask) {
            let (code, next_step) = self.deny_narrowed(narrowed);
            return Verdict::Deny { code, next_step };
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
        if let Wanted::Token { call, form } = &wanted {
            let answer = |tokens: &TokenDesk| tokens.answer(self.works, self.doors, *call, form);
            let given = self.desks.tokens.map_or_else(nothing_to_hand_on, answer);
            if matches!(given, Given::Denied { .. } | Given::Token { status: 400.., .. }) {
                self.denied(1);
            }
            return given;
        }
        if let (Wanted::Access { asked }, Some(access)) = (&wanted, self.desks.access) {
            let given = access.answer(self.doors, self.door, asked);
            if matches!(given, Given::Denied { .. }) {
                self.denied(1);
            }
            return given;
        }
        if let Some(model) = self.desks.model {
            let gone = || danger_narrowed(self.told, &self.works.config(), model.upstream());
            if let (Wanted::Model(_), Some(narrowed)) = (&wanted, gone()) {
                let (code, next_step) = self.deny_narrowed(narrowed);
                return Given::Denied { code, next_step };
            }
            let given = match &wanted {
                Wanted::Model(ask) => Some(model.call(self.works, self.doors, self.serials_from, ask.clone())),
                Wanted::ModelDone(done) => Some(model.done(self.doors, self.serials_from, *done)),
                Wanted::Tool(ask) => Some(model.tool(self.holds, self.desks.witness, self.serials_from, ask.clone())),
                Wanted::Held { serial, index } => Some(self.holds.answer((*serial, *index))),
                Wanted::Unheld { serial } => {
                    self.holds.forget(*serial);
                    Some(Given::Allowed)
                }
                _ => None,
            };
            if let Some(given) = given {
                // What is only to wait is no denial.
                if matches!(&given, Given::Denied { code, .. } if code != BUDGET_IN_USE) {
                    self.denied(1);
                }
                return given;
            }
        }
        if let Some(tools) = self.desks.tools {
            if let Wanted::Server(ask) = &wanted
                && let Some(narrowed) = tools.narrowed(self.told, &self.works.config(), ask)
            {
                let (code, next_step) = self.deny_narrowed(narrowed);
                return Given::Denied { code, next_step };
            }
            let given = match &wanted {
                Wanted::Server(ask) => Some(tools.ask(self.doors, self.serials_from, ask.clone())),
                Wanted::ServerDone(done) => Some(tools.done(self.doors, self.serials_from, done.clone())),
                Wanted::Shown { server } => Some(tools.shown(self.doors, server)),
                Wanted::NotTakenOn(tool) => Some(tools.note(self.doors, tool)),
                Wanted::Words { words, is_proposal } => Some(tools.say(words.clone(), *is_proposal)),
                _ => None,
            };
            if let Some(given) = given {
                if matches!(given, Given::Denied { .. }) {
                    self.denied(1);
                }
                return given;
            }
        }
        match self.behalf.identity {
            HasIdentity::Yes => self.works.identify(self.behalf, self.doors, wanted),
            HasIdentity::No => Given::Denied {
                code: "outside_grant".to_owned(),
                next_step: "this sandbox has no identity to ask for; work without it".to_owned(),
            },
        }
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
        self.doors.saw(Observation::DoorRefused { door: door.to_owned(), code, detail, count });
    }
}
