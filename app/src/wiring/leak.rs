//! What a run is halted for without anybody asking. A secret is seen where it must not be, in a request, in what a sandbox writes
//! or in what it leaves (requirement C7): it went no further, and from here on the key is lent to nobody, the run is halted, and its
//! owner has a clock running. Or it is denied so often that it is no mistake. Taking away comes first, the record after.

use std::collections::BTreeSet;

use selvedge_authority::{Class, Entry, HaltScope, Journal as _, Observation, Record, Relinquished};
use selvedge_domain::{Actor, CredentialName, RunId};
use selvedge_factory::ports::Clock as _;

use super::Works;

/// The code a door gives a request that held a secret.
pub(super) const SECRET_IN_REQUEST: &str = "secret_in_request";

impl Works {
    /// A secret was seen where a run must never have it.
    pub(super) fn secret_leaked(&self, run: &RunId, credential: &CredentialName, place: &str) {
        let barred = self.lending.keys.bar(credential, self.now());
        self.end_now(run);
        let config = self.config();
        let configured = config.credentials.get(credential).map(|config| &config.credential);
        let is_made_for_each_run = configured.is_some_and(|configured| !configured.is_stored);
        if !is_made_for_each_run {
            // The same key is in the doors of every other run that was lent it.
            self.withdraw_from_all(credential, "the credential was withdrawn from every run: it leaked");
        }
        let owner = configured.map_or("its owner", |configured| configured.owner.as_str());
        let clock = match (is_made_for_each_run, &barred) {
            (true, _) => format!("it was made for this run, and is revoked; {owner} sees to it that it is dead"),
            (false, Ok(())) => format!("it is lent no more until a new one is stored; {owner} ends it at its issuer"),
            (false, Err(_)) => format!(
                "it could not be barred here: remove it with `selvedge credentials remove`; {owner} ends it at its issuer"
            ),
        };
        let detail = format!("credential `{credential}` turned up in {place}; {clock}");
        self.record_ended(run, "secret_leaked", detail);
    }

    /// A run was denied more than any honest one is: it is stopped, rather than answered for ever.
    pub(super) fn denied_too_often(&self, run: &RunId, denials: u64) {
        self.end_now(run);
        let detail = format!("{denials} requests of one attempt were refused or denied; the run was halted");
        self.record_ended(run, "denied_too_often", detail);
    }

    /// Halts one run for what it did: its doors and sandboxes first, then what it was lent.
    fn end_now(&self, run: &RunId) {
        self.set_halt(&HaltScope::Run(run.clone()));
        // Its children hang on it.
        let covered = |live: &RunId| self.run(live).is_ok_and(|live| self.halt_covering(&live).is_some());
        let ended: BTreeSet<RunId> =
            [run.clone()].into_iter().chain(self.live_runs().into_iter().filter(covered)).collect();
        for run in &ended {
            self.kill_run(run);
            let _what_may_live_is_asked_again_by_its_turn = self.take_leases_back(run);
        }
    }

    fn record_ended(&self, run: &RunId, code: &str, detail: String) {
        for record in [
            Record::Observed(Observation::Finding { code: code.to_owned(), detail }),
            Record::Relinquished(Relinquished::Halted(HaltScope::Run(run.clone()))),
        ] {
            let entry = Entry { at: self.now(), run: Some(run.clone()), actor: Actor::Factory, owner: None, record };
            // Halted whether or not it can be recorded.
            let _unrecorded = self.ledger.append(entry, Class::Durable);
        }
    }
}
