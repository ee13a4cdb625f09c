//! What an attempt came to, read from how its program ended, what it wrote and what it left. All of it is a claim: what was left becomes a
//! commit of the factory's own, and nothing else of it is believed.

use selvedge_authority::ActError;
use selvedge_domain::orders::StartWork;
use selvedge_domain::{ChangeSet, Digest, Effect, EffectKind, Intent, Task, TreeId};
use selvedge_factory::ports::{Clock as _, Doorkeeper};
use selvedge_forge::local::Draft;
use selvedge_sandbox::Exit;
use selvedge_workers::acp;
use selvedge_workers::agents::{Outcome, Report};

use super::Works;
use super::inside::{status_of, told};
use crate::config::Runtime;

/// Longest last words of an agent: more than a proposal shows of them.
const LAST_WORDS_BYTES_MAX: usize = 8 << 10;

/// Why what an agent says it is done with is not taken for that.
const CUT_SHORT: &str = "the agent says it is done, and what it asked its model last was not answered to the end";

/// An attempt whose program has ended, and what it left.
#[derive(Clone, Copy)]
pub(super) struct Left<'a> {
    pub(super) order: &'a StartWork,
    pub(super) task: &'a Task,
    /// The tree it began with.
    pub(super) tree: &'a TreeId,
    pub(super) exit: &'a Exit,
    /// What it wrote to standard output.
    pub(super) output: &'a [u8],
    /// What it said of its work where it was asked to, for whoever reads the proposal.
    pub(super) words: &'a str,
    pub(super) changes: &'a ChangeSet,
    /// Whether the last answer of its model did not arrive, or not to its end.
    pub(super) is_cut_short: bool,
}

/// What an attempt came to, or why to nothing.
pub(super) type CameTo = Result<Effect, String>;

impl Works {
    /// What an attempt came to, and what is to be done after it.
    pub(super) fn came_to(
        &self,
        runtime: &Runtime,
        left: &Left<'_>,
        doors: &dyn Doorkeeper,
    ) -> Result<(CameTo, Vec<String>), ActError> {
        match runtime {
            Runtime::Remediate => self.remediated(left, doors),
            Runtime::Command(_) => Ok((self.commanded(left)?, Vec::new())),
            Runtime::Agent(adapter) => Ok((self.reported(&adapter.read(left.output), left)?, Vec::new())),
            Runtime::Acp(_) => Ok((self.reported(&acp::read(left.output), left)?, Vec::new())),
            Runtime::Install(_) => Ok((Err("nothing was to be installed".to_owned()), Vec::new())),
        }
    }

    /// What a coding agent came to. Its word that it is done is a claim, and what it left is looked at like any program's.
    fn reported(&self, report: &Report, left: &Left<'_>) -> Result<CameTo, ActError> {
        match report.outcome(status_of(left.exit)) {
            // Some take an answer that breaks off for the end of their work, and say nothing of it.
            Outcome::Finished if left.is_cut_short => Ok(Err(CUT_SHORT.to_owned())),
            Outcome::Finished => {
                // What it is heard by in a pipeline is its last message, and not everything that its program wrote.
                let output = if left.task.trigger.part().is_some() { report.text.as_bytes() } else { left.output };
                let words = if left.words.is_empty() { last_words(&report.text) } else { left.words };
                self.commanded(&Left { output, words, ..*left })
            }
            // Where it did not end by itself, what ended it is the reason.
            outcome => Ok(Err(match status_of(left.exit) {
                Some(_) => outcome.to_string(),
                None => format!("{outcome}: {}", told(left.exit)),
            })),
        }
    }

    fn commanded(&self, left: &Left<'_>) -> Result<CameTo, ActError> {
        let Left { order, task, tree, exit, output, words, changes, .. } = *left;
        if !exit.success() {
            return Ok(Err(format!("the program ended with {}", told(exit))));
        }
        let report = |digest| Ok(Ok(Effect::Document { kind: EffectKind::Report, digest }));
        match (task.trigger.part(), task.intent) {
            (Some(part), _) if part.reviews => self.review_of(order, tree, output, changes),
            (Some(_), Intent::RunCommand) => report(self.keep_report(output)?),
            (None, Intent::RunCommand) => report(Digest::of_parts([output])),
            (_, _) => {
                // Its words do not go into the commit: forges and pipelines do what a commit's message says (`[skip ci]`, `Closes #1`).
                let mut effect = self.committed(order, tree, changes, "")?;
                if let Ok(Effect::Tree { summary, .. }) = &mut effect {
                    words.clone_into(summary);
                }
                Ok(effect)
            }
        }
    }

    /// The factory's own commit of what was collected.
    pub(super) fn committed(
        &self,
        order: &StartWork,
        base: &TreeId,
        changes: &ChangeSet,
        summary: &str,
    ) -> Result<CameTo, ActError> {
        let message = format!("{}: work of run {}\n\n{summary}\n", order.agent, order.run);
        let author = self.author()?;
        let draft = Draft { base: &order.base, changes, message: &message, author: &author, when: self.now() };
        let commit = match self.repository_of(&order.repo)?.commit_tree(&draft) {
            Ok(commit) => commit,
            Err(error) => return Ok(Err(format!("the change cannot be committed: {error}"))),
        };
        if commit.tree == *base {
            return Ok(Ok(Effect::Nothing { because: "the agent changed nothing".to_owned() }));
        }
        Ok(Ok(Effect::Tree { tree: commit.tree, commit: commit.commit, summary: summary.to_owned() }))
    }
}

/// As much of an agent's last words as is kept on record. A proposal shows them as not ours and not checked.
fn last_words(text: &str) -> &str {
    let text = text.trim();
    text.get(..text.floor_char_boundary(LAST_WORDS_BYTES_MAX)).unwrap_or_default()
}
