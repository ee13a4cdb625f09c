//! Recovery: an attempt never outlives its keeper. What was running is killed and marked lost; the cycle does the rest.

use selvedge_authority::{JournalError, Relinquished};
use selvedge_domain::{Event, Order, Run, RunId, Stage};

use crate::cycle::{Factory, Halt};

impl Factory<'_> {
    /// Makes a run that an earlier keeper left behind fit for its next turn.
    ///
    /// Kills first and asks the record afterwards: taking authority away never waits. An attempt whose deed is on record
    /// is not lost; the next turn recalls it.
    pub fn recover(&self, id: &RunId) -> Result<(), JournalError> {
        let found = self.workplace.kill(id);
        if let Some(found) = found {
            self.relinquished(id, Relinquished::SandboxKilled { found })?;
        }
        let run = self.store.load(id)?;
        self.give_attempt_up(run).map(drop)
    }

    /// Marks the attempt of a run that is found working as lost, unless its deed is on record.
    pub(crate) fn give_attempt_up(&self, run: Run) -> Result<Run, JournalError> {
        if *run.stage() != Stage::Working {
            return Ok(run);
        }
        let recorded = match (self.desk(&run), run.task()) {
            (Ok(desk), Some(task)) => {
                let digest = desk.work_order(&run, task).recorded().digest();
                self.store.recall(run.id(), &digest)?.is_some()
            }
            (Err(Halt::Journal(error)), _) => return Err(error),
            // No longer configured: the attempt is lost, and the next step refuses.
            _ => false,
        };
        if recorded {
            return Ok(run);
        }
        let attempt = run.attempts();
        self.happened(run, Event::AttemptLost { attempt })
    }

    /// Kills what runs for the run and takes back what it was lent, when none of that can be recorded: taking authority away
    /// needs no record and never waits (invariant 2). Whatever this finds is found again, and recorded, by a later turn.
    pub(crate) fn let_go(&self, id: &RunId) {
        let _unrecorded = self.workplace.kill(id);
        // A record that cannot even be read leaves the leases to their expiry and to the next keeper's sweep.
        let Ok(run) = self.store.load(id) else { return };
        for (lease, _) in run.leases().iter().filter(|(_, state)| state.may_live()) {
            let _unrecorded = self.lender.take_back(lease);
        }
    }
}
