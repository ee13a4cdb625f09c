//! Recovery: an attempt never outlives its keeper. What was running is killed and marked lost; the cycle does the rest.

use selvedge_authority::{JournalError, Relinquished};
use selvedge_domain::{Event, Order, RunId, Stage};

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
        if *run.stage() != Stage::Working {
            return Ok(());
        }
        let recorded = match (self.desk(&run), run.task()) {
            (Ok(desk), Some(task)) => {
                let digest = desk.work_order(&run, task).describe().digest();
                self.store.recall(id, &digest)?.is_some()
            }
            (Err(Halt::Journal(error)), _) => return Err(error),
            // No longer configured: the attempt is lost, and the next turn refuses.
            _ => false,
        };
        if !recorded {
            let attempt = run.attempts();
            self.happened(run, Event::AttemptLost { attempt })?;
        }
        Ok(())
    }
}
