//! How a trial of a credential went, read from the record of its run: permit, mint, use, revoke, probe, each with its time. Knows
//! nothing that the record does not say.

use selvedge_authority::{Observation, Record, Verdict};
use selvedge_credentials::Trouble;
use selvedge_domain::{
    CredentialName, Deed, Description, Digest, Event, LeaseEvent, LeaseId, ResourceKind, Revocation, RunId, Time, Verb,
};
use serde_json::{Value, json};

use super::hall::Keeper;
use crate::errors::{CliError, Kind};

/// One step of a trial.
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) state: State,
    pub(super) took_ms: Option<u64>,
    pub(super) said: String,
    /// A stable word for what went wrong.
    pub(super) reason: Option<String>,
    pub(super) remedy: Option<String>,
}

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Ok,
    Failed,
    /// A person has to say yes first.
    Waits,
    /// It was not come to.
    NotReached,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Waits => "waits",
            Self::NotReached => "not_reached",
        }
    }
}

impl Step {
    fn ok(name: &'static str, from: Option<Time>, to: Time, said: impl Into<String>) -> Self {
        let took_ms = from.map(|from| to.since(from).as_millis());
        Self { name, state: State::Ok, took_ms, said: said.into(), reason: None, remedy: None }
    }

    fn failed(name: &'static str, reason: &str, said: impl Into<String>, remedy: impl Into<String>) -> Self {
        let (reason, remedy) = (Some(reason.to_owned()), Some(remedy.into()));
        Self { name, state: State::Failed, took_ms: None, said: said.into(), reason, remedy }
    }

    fn not_reached(name: &'static str, said: &str) -> Self {
        Self { name, state: State::NotReached, took_ms: None, said: said.to_owned(), reason: None, remedy: None }
    }

    fn lasting(self, from: Option<Time>, to: Time) -> Self {
        Self { took_ms: from.map(|from| to.since(from).as_millis()), ..self }
    }

    /// As a client gets it: what to do, with the names in it that are meant.
    pub(super) fn shown(&self, credential: &CredentialName, run: &RunId) -> Value {
        let meant = |remedy: &String| remedy.replace("NAME", credential.as_str()).replace("RUN", run.as_str());
        json!({
            "step": self.name, "state": self.state.as_str(), "took_ms": self.took_ms, "said": self.said,
            "reason": self.reason, "remedy": self.remedy.as_ref().map(meant),
        })
    }
}

/// What the record of a run says of one credential. The last attempt counts.
#[derive(Default)]
pub(super) struct Trial {
    permit: Option<Step>,
    mint: Option<Step>,
    usage: Option<Step>,
    lease: Option<LeaseId>,
    orders: Vec<(Digest, Verb)>,
    asked_at: Option<Time>,
    used_at: Option<Time>,
    ended_at: Option<Time>,
    revocation: Option<Revocation>,
    died_at: Option<Time>,
    failed_to_die: bool,
    is_stored: bool,
    /// How its program ended, when it did not end well.
    client: Option<String>,
    /// What its door refused by itself.
    refused: Option<String>,
    /// The proxy that everything leaves through.
    proxy: Option<String>,
}

/// What a proxy's trouble is called, and who can mend it; none when these words are not about the proxy.
fn trouble_of_proxy(because: &str, proxy: Option<&str>) -> Option<(&'static str, String)> {
    let proxy = proxy?;
    let says = |words: &[&str]| words.iter().any(|word| because.contains(word));
    if says(&["the proxy wants another user or password", "of the proxy; ", "the password of the proxy"]) {
        let remedy = format!(
            "the proxy {proxy} of `[network]` wants a user and a password: name the user in `proxy_user`, and store the password \
             with `selvedge credentials store --proxy < password`"
        );
        Some(("proxy_login", remedy))
    } else if says(&["the proxy refuses to connect"]) {
        let remedy = format!(
            "ask whoever runs the proxy {proxy} of `[network]` to let this machine connect to that server; the proxy says no, and \
             nobody asked the server"
        );
        Some(("proxy_refused", remedy))
    } else if says(&[
        "the proxy does not take the connection",
        "the proxy takes too long",
        "the proxy's answer is none",
    ]) {
        let remedy = format!(
            "see whether the proxy {proxy} of `[network]` runs, whether this machine reaches it by that name, and whether it is a \
             proxy that speaks `CONNECT`"
        );
        Some(("proxy_not_reached", remedy))
    } else {
        None
    }
}

impl Trial {
    /// Reads the record of `run`.
    pub(super) fn read(keeper: &Keeper, run: &RunId, credential: &CredentialName) -> Result<Self, CliError> {
        let proxy = keeper.works.config().proxy.as_ref().map(|proxy| format!("http://{}:{}", proxy.host, proxy.port));
        let mut trial = Self { proxy, ..Self::default() };
        for recorded in keeper.works.ledger.entries(0, Some(run.clone())) {
            let entry = recorded.map_err(|error| CliError::caused(Kind::Ledger, &error))?.entry;
            trial.take(credential, entry.at, &entry.record);
        }
        Ok(trial)
    }

    /// Its steps in order. `because` is what its run says of its end.
    pub(super) fn steps(self, because: &str) -> Vec<Step> {
        let not = |name, said: &str| Step::not_reached(name, said);
        let was_made = self.revocation.is_some();
        let permit = self.permit.unwrap_or_else(|| not("permit", because));
        let is_permitted = permit.state == State::Ok;
        let mint = self.mint.unwrap_or_else(|| match (is_permitted, Trouble::of(because)) {
            (true, _) => Step::failed("mint", "other", because, Trouble::Other.remedy()),
            // It is looked whether there is a key before anybody is asked.
            (false, trouble @ (Trouble::KeyNotStored | Trouble::KeyLeaked)) => {
                Step::failed("mint", trouble.as_str(), because, trouble.remedy())
            }
            (false, _) => not("mint", "nothing was asked of anybody"),
        });
        let usage = self.usage.unwrap_or_else(|| match (&self.refused, &self.client) {
            _ if mint.state != State::Ok => not("use", "there is nothing to use"),
            (Some(refused), _) => {
                Step::failed("use", "door_refused", refused.clone(), "the words say what to change in `selvedge.toml`")
            }
            (None, Some(exit)) => Step::failed(
                "use",
                "no_request",
                format!("`curl` in the sandbox made no request and ended with {exit}"),
                "install curl on this machine; `selvedge output RUN` prints what it wrote",
            ),
            (None, None) => Step::failed(
                "use",
                "no_request",
                because,
                "install curl on this machine if it is missing; `selvedge show RUN` has every step",
            ),
        });
        let [revoke, probe] = match (self.died_at, self.revocation) {
            // Nobody knows it, so nobody can use it: the lease is closed, and what may have been made is waited for.
            (Some(at), None) => [
                Step::ok("revoke", None, at, "its lease is closed, and nothing that was made under it lives"),
                not("probe", "there is nothing to try"),
            ],
            (Some(at), Some(_)) if self.is_stored => [
                Step::ok(
                    "revoke",
                    self.ended_at,
                    at,
                    "the loan is ended; the key itself lives on until its issuer ends it",
                ),
                Step::ok("probe", None, at, "tried after that: no door is given the key under this lease"),
            ],
            (Some(at), Some(_)) => [
                Step::ok("revoke", self.ended_at, at, "it was ended where it was made"),
                Step::ok("probe", None, at, "tried after that: it is dead"),
            ],
            (None, Some(Revocation::ExpiryOnly(dies))) => [
                Step::failed(
                    "revoke",
                    "expires_only",
                    format!("nothing can end it; it dies at {dies}, and its run ends after it"),
                    "configure a `revocation` endpoint, or let it live shorter with `lent_at_most`",
                ),
                not("probe", "it may be alive until then"),
            ],
            (None, _) if was_made || self.failed_to_die => [
                Step::failed(
                    "revoke",
                    "may_still_live",
                    because,
                    "keep `selvedge serve` running, which goes on trying; end it at its provider by hand if that fails, too",
                ),
                not("probe", "it may be alive"),
            ],
            (None, _) if self.lease.is_some() => [
                Step::failed(
                    "revoke",
                    "answer_lost",
                    because,
                    "keep `selvedge serve` running: what may have been made is ended, or waited for until it is certainly dead",
                ),
                not("probe", "nobody knows whether there is anything"),
            ],
            (None, _) => [not("revoke", "nothing was made"), not("probe", "nothing was made")],
        };
        vec![permit, mint, usage, revoke, probe]
    }

    fn take(&mut self, credential: &CredentialName, at: Time, record: &Record) {
        match record {
            Record::Decided { order, verdict, .. } => self.decided(credential, at, order, verdict),
            Record::Done { order, deed, .. } => self.done(at, order, deed),
            Record::NotDone { order, because, .. } => self.not_done(at, order, because),
            Record::Happened(Event::LeaseChanged(lease, change)) if Some(lease) == self.lease.as_ref() => {
                match change {
                    LeaseEvent::Minted { revocation, .. } => self.revocation = Some(*revocation),
                    LeaseEvent::Died => self.died_at = Some(at),
                    LeaseEvent::RevokeFailed => self.failed_to_die = true,
                }
            }
            Record::Observed(Observation::SandboxEnded { .. }) => self.ended_at = Some(at),
            Record::Observed(Observation::DoorRefused { code, detail, .. }) => {
                self.refused = Some(format!("its door refused {detail}: {code}"));
            }
            _ => {}
        }
    }

    fn decided(&mut self, credential: &CredentialName, at: Time, order: &Description, verdict: &Verdict) {
        let is_ours = order.resource.kind == ResourceKind::Credential && order.resource.name == credential.as_str();
        let name = match order.verb {
            Verb::SecretUse if is_ours => "permit",
            Verb::CredentialMint if is_ours => "mint",
            Verb::HttpRequest => "use",
            // Whatever else is refused keeps the trial from coming to its point.
            _ if !matches!(verdict, Verdict::Allow { .. }) => "permit",
            _ => return,
        };
        let step = match verdict {
            Verdict::Allow { .. } => {
                self.begun(at, order, name);
                return;
            }
            Verdict::NeedsApproval(denial) => Step {
                state: State::Waits,
                ..Step::failed(
                    name,
                    "needs_approval",
                    format!("{} needs a person's yes: {}", order.verb, denial.next_step),
                    "`selvedge approvals` lists it; after the yes, `selvedge doctor NAME --of RUN` says how it went",
                )
            },
            Verdict::Deny(denial) => {
                Step::failed(name, "denied", format!("{}: {denial}", order.verb), denial.next_step.clone())
            }
        };
        match name {
            "mint" => self.mint = Some(step),
            "use" => self.usage = Some(step),
            _ => self.permit = Some(step),
        }
    }

    /// Something was allowed. What the record said of it before was another attempt.
    fn begun(&mut self, at: Time, order: &Description, name: &'static str) {
        if name == "mint" {
            let (lease, is_stored) = (order.text("lease").and_then(|lease| LeaseId::parse(lease).ok()), self.is_stored);
            *self = Self { lease, is_stored, proxy: self.proxy.take(), ..Self::default() };
        }
        self.orders.push((order.digest(), order.verb));
        match name {
            "use" => self.used_at = Some(at),
            "mint" => {
                self.asked_at = Some(at);
                let said = if self.is_stored {
                    "lending its key to the trial is allowed"
                } else {
                    "making it for the trial is allowed"
                };
                self.permit = Some(Step::ok("permit", None, at, said));
            }
            _ => {
                self.is_stored = true;
                self.permit = Some(Step::ok("permit", None, at, "lending its key to the trial is allowed"));
            }
        }
    }

    fn verb_of(&self, order: &Digest) -> Option<Verb> {
        self.orders.iter().find(|(known, _)| known == order).map(|(_, verb)| *verb)
    }

    fn done(&mut self, at: Time, order: &Digest, deed: &Deed) {
        match (deed, self.verb_of(order)) {
            (Deed::Minted(minted), Some(Verb::CredentialMint)) => {
                let said = format!("lease {} has it, until {} at the latest", minted.lease, minted.expires);
                self.mint = Some(Step::ok("mint", self.asked_at, at, said));
            }
            (Deed::Answered(answer), Some(Verb::HttpRequest)) => {
                self.usage = Some(answered(answer.status, self.used_at, at));
            }
            (Deed::Ran(ran), _) if ran.status != Some(0) => self.client = Some(ran.exit.clone()),
            _ => {}
        }
    }

    fn not_done(&mut self, at: Time, order: &Digest, because: &str) {
        let of_proxy = trouble_of_proxy(because, self.proxy.as_deref());
        match self.verb_of(order) {
            Some(Verb::CredentialMint) => {
                let trouble = Trouble::of(because);
                let (reason, remedy) = of_proxy.unwrap_or_else(|| (trouble.as_str(), trouble.remedy().to_owned()));
                let step = Step::failed("mint", reason, because, remedy);
                self.mint = Some(step.lasting(self.asked_at, at));
            }
            Some(Verb::HttpRequest) => {
                let remedy =
                    "see whether the service of `probe` runs, and whether this machine reaches it by that name";
                let (reason, remedy) = of_proxy.unwrap_or_else(|| ("service_not_reached", remedy.to_owned()));
                let step = Step::failed("use", reason, because, remedy);
                self.usage = Some(step.lasting(self.used_at, at));
            }
            _ => {}
        }
    }
}

/// What an answer to the probe means.
fn answered(status: u16, from: Option<Time>, at: Time) -> Step {
    let said = format!("the service answered with status {status}");
    let (reason, remedy) = match status {
        200..=299 => return Step::ok("use", from, at, said),
        301 | 302 | 303 | 307 | 308 => (
            "redirected",
            "mostly that is a login page, for whoever is not known there: see whether the key has expired or was ended there, and whether `probe` names the address that the service answers at itself",
        ),
        401 | 403 => (
            "not_accepted",
            "the service does not accept it: see whether the key has expired or was ended there, and whether it may do what `probe` asks",
        ),
        404 | 405 | 410 => ("probe_not_known", "the service does not know the path of `probe`: name one that is there"),
        429 => ("too_many_requests", "wait, then try once more"),
        500..=599 => ("service_in_trouble", "the service fails by itself: tell whoever runs it, and try once more"),
        _ => ("not_expected", "ask whoever runs the service what it means"),
    };
    Step::failed("use", reason, said, remedy).lasting(from, at)
}
