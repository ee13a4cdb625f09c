//! A run's token endpoint, the keeper's side: every exchange an order of its own, under a lease of its own, out of what the run
//! holds and of the budget that is left. Forms are read here, strictly and bounded, as tokens to be verified are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use selvedge_authority::{ActError, Observation};
use selvedge_credentials::{
    Inquirer, Issued, NotHandedOn, Parent, Refusal, Reply, Served, TaskContext, TokenEndpoint, metadata,
};
use selvedge_domain::orders::StartWork;
use selvedge_domain::{Description, Endpoint, Field, HostPattern, LeaseId, Task, TriggerSource, Verb, WorkloadId};
use selvedge_factory::ports::{Clock as _, Doorkeeper, Entropy as _};
use selvedge_gateway::{Given, Lease, TokenCall};
use selvedge_sandbox::Place;

use super::Works;
use super::children::Seat;
use super::denied::outside_grant;
use super::purse::{Account, Purse};
use super::repositories::permanent;

/// Where it is served: nowhere, the door answers.
const HOST: &str = "token.selvedge.internal";

/// One attempt's token endpoint.
pub(super) struct TokenDesk {
    parent: Parent,
    /// What it may spend. Held through an exchange, so that two cannot both spend what is left.
    purse: Arc<Purse>,
    /// That it may wait for a child, once it asked for one.
    seat: Mutex<Option<Seat>>,
    refused: Mutex<BTreeMap<&'static str, Refused>>,
}

/// What a run handed on in all its attempts, by the record.
#[derive(Debug, Default)]
pub(crate) struct HandedOn {
    /// Of its budget.
    budget: u64,
    /// Of each token that it was given.
    of_tokens: BTreeMap<LeaseId, u64>,
    /// To how many children.
    pub(super) children: u64,
}

/// How often something was refused, and how often the record says so.
#[derive(Default)]
struct Refused {
    total: u64,
    told: u64,
}

impl HandedOn {
    /// Counts a token that was made of another.
    pub(super) fn add(&mut self, from: &LeaseId, budget: u64) {
        self.budget = self.budget.saturating_add(budget);
        let of_token = self.of_tokens.entry(from.clone()).or_default();
        *of_token = of_token.saturating_add(budget);
    }

    /// What was handed on of the budget.
    pub(crate) fn budget(&self) -> u64 {
        self.budget
    }

    /// Counts an order that was allowed.
    pub(super) fn count(&mut self, order: &Description) {
        if let (Verb::Delegate, Some(Ok(from))) = (order.verb, order.text("from").map(LeaseId::parse)) {
            self.add(&from, budget_of(order));
        }
        if order.verb == Verb::TaskEnqueue && order.text("source") == Some(TriggerSource::Child.as_str()) {
            self.budget = self.budget.saturating_add(budget_of(order));
            self.children = self.children.saturating_add(1);
        }
    }
}

impl Works {
    /// The token endpoint of an attempt that may hand on what it holds.
    pub(super) fn token_desk(&self, order: &StartWork, task: &Task, purse: &Arc<Purse>) -> TokenDesk {
        let handed = task.trigger.lineage.within.as_deref();
        let parent = Parent {
            workload: WorkloadId::new(&self.trust_domain, order.run.clone(), order.agent.clone()),
            repo: order.repo.clone(),
            grant: order.grant.clone(),
            // What a run holds comes from its agent's configuration; a child's, out of another's hands.
            depth: handed.map_or(0, |handed| handed.depth),
            budget_left: purse.budget(),
            handed_on: BTreeMap::new(),
            context: TaskContext {
                task: task.id.clone(),
                intent: task.intent,
                lineage: task.trigger.lineage.ancestors.clone(),
            },
        };
        TokenDesk { parent, purse: Arc::clone(purse), seat: Mutex::default(), refused: Mutex::default() }
    }
}

fn budget_of(order: &Description) -> u64 {
    let budget = order.fields.iter().find(|(name, _)| *name == "budget");
    match budget {
        Some((_, Field::Number(budget))) => u64::try_from(*budget).unwrap_or(u64::MAX),
        _ => 0,
    }
}

impl TokenDesk {
    /// Where its door serves it.
    pub(super) fn place(&self) -> Result<Endpoint, ActError> {
        let host = HostPattern::parse(HOST).ok_or_else(|| permanent("the name of the token host is none"))?;
        Ok(Endpoint { host, port: 443 })
    }

    /// Says in the sandbox where it is.
    pub(super) fn announce(&self, place: Place) -> Place {
        place
            .with_env("SELVEDGE_TOKEN_URL", &format!("https://{HOST}/token"))
            .with_env("SELVEDGE_CHILD_URL", &format!("https://{HOST}/child"))
    }

    /// Who asks.
    pub(super) fn workload(&self) -> &WorkloadId {
        &self.parent.workload
    }

    /// What was spent so far; one at a time changes it.
    pub(super) fn account(&self) -> MutexGuard<'_, Account> {
        self.purse.account()
    }

    /// Whether it may wait for a child.
    pub(super) fn seat(&self) -> MutexGuard<'_, Option<Seat>> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run that asks, with what is left of its budget.
    pub(super) fn parent(&self, account: &Account) -> Parent {
        let (budget_left, handed_on) = (self.purse.left(account), account.handed_on.of_tokens.clone());
        Parent { budget_left, handed_on, ..self.parent.clone() }
    }

    /// Answers one call of the run this is for.
    pub(super) fn answer(&self, works: &Works, doors: &dyn Doorkeeper, call: TokenCall, form: &Lease) -> Given {
        let (endpoint, form, now) = (&works.lending.identities.tokens, form.bytes(), works.now());
        let answered = match call {
            TokenCall::Metadata => {
                return given(200, metadata(&works.lending.identities.issuer, &served()).into_bytes());
            }
            TokenCall::Exchange => self.exchange(works, doors, form),
            TokenCall::Child => self.child(works, doors, form),
            TokenCall::ChildStanding => self.child_standing(works, form),
            TokenCall::Introspect => {
                let told = endpoint.introspect(form, Inquirer::Run(&self.parent.workload), now);
                told.map(|told| told.reply())
            }
            TokenCall::Revoke => endpoint.revoke(form, &self.parent.workload, now).map(|revoked| {
                if let Some(lease) = revoked {
                    let (code, detail) =
                        ("token_revoked".to_owned(), format!("lease {lease}, by who gave or holds it"));
                    doors.saw(Observation::Finding { code, detail });
                }
                Reply::revoked()
            }),
        };
        let Reply { status, body } = answered.unwrap_or_else(|refusal| {
            self.count(doors, &refusal);
            refusal.reply()
        });
        given(status, body.expose().to_vec())
    }

    /// Tells of a refusal: the first of its kind, and then each time there are ten times as many.
    fn count(&self, doors: &dyn Doorkeeper, refusal: &Refusal) {
        let code = refusal.code().as_str();
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = refused.entry(code).or_default();
        refused.total = refused.total.saturating_add(1);
        if refused.total >= refused.told.saturating_mul(10) {
            let (code, detail) = (code.to_owned(), refusal.to_string());
            let count = refused.total - refused.told;
            refused.told = refused.total;
            doors.saw(Observation::DoorRefused { door: "token".to_owned(), code, detail, count });
        }
    }

    fn exchange(&self, works: &Works, doors: &dyn Doorkeeper, form: &[u8]) -> Result<Reply, Refusal> {
        let mut account = self.account();
        let parent = self.parent(&account);
        let endpoint: &TokenEndpoint = &works.lending.identities.tokens;
        let considered = endpoint.consider(form, &parent, LeaseId::from_entropy(works.draw()), works.now())?;
        let order = considered.order().clone();
        let (from, budget) = (order.from.clone(), order.budget);
        let mut considered = Some(considered);
        let mut said = None;
        let handed_on = doors.delegate(order, &mut |permit| {
            // What was permitted is spent, whatever becomes of it: the record says no more than that.
            account.handed_on.add(&from, budget);
            let considered = considered.take().ok_or_else(|| permanent("it was signed before"))?;
            let signed = works.lending.leases.hand_on(permit, considered, endpoint, works.now());
            let outcome = signed.as_ref().map(Issued::minted).map_err(|error| ActError::Transient(error.to_string()));
            said = Some(signed);
            outcome
        });
        match (handed_on, said) {
            (Ok(_), Some(Ok(issued))) => Ok(issued.reply(works.now())),
            (_, Some(Err(NotHandedOn::Refused(refusal)))) => Err(refusal),
            // One that was signed before its record failed is nobody's, and dies with the run's other leases.
            (Err(denial), _) => Err(Refusal::denied(&denial)),
            (Ok(_), Some(Err(NotHandedOn::Lease(_))) | None) => Err(Refusal::unavailable()),
        }
    }
}

fn served() -> Served {
    let at = |path: &str| format!("https://{HOST}/{path}");
    Served { token: at("token"), introspection: Some(at("introspect")), revocation: Some(at("revoke")) }
}

fn given(status: u16, body: Vec<u8>) -> Given {
    Given::Token { status, body: Lease::new(body) }
}

/// What a sandbox without a token endpoint is told.
pub(super) fn nothing_to_hand_on() -> Given {
    outside_grant("this sandbox has nothing to hand on; work without it")
}
