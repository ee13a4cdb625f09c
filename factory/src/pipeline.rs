//! Pipelines: one task goes from agent to agent, each part a run of its own, admitted and judged for itself (requirement A5). Owns what
//! follows what and what a review is worth. Nothing that a part leaves is read for rights: the next one has what its own agent has.

use selvedge_authority::{ActError, Observation, Record, Stop, Subject};
use selvedge_domain::orders::EnqueueTask;
use selvedge_domain::{
    Actor, Authorship, Conduct, Effect, EffectKind, Event, Outcome, Part, Run, Task, Trigger, TriggerId, TriggerSource,
    Verb, Verified,
};

use crate::cycle::{Factory, Halt, derived};
use crate::ports::{Pipeline, PipelinePart};

impl Pipeline {
    /// The part with this number, counted from 1, and who works on it.
    pub fn part(&self, number: u32) -> Option<(Part, &PipelinePart)> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        let configured = self.parts.get(index)?;
        let part = Part {
            pipeline: self.name.clone(),
            definition: self.definition,
            name: configured.name.clone(),
            number,
            of: u32::try_from(self.parts.len()).ok()?,
            reviews: configured.reviews,
        };
        Some((part, configured))
    }
}

impl Factory<'_> {
    /// Whether the part that this run is, if it is one, is still what the operator configured. A pipeline that changed is another
    /// one: nobody wrote down that its new parts follow these old ones.
    pub(crate) fn see_that_part_stands(&self, run: &Run) -> Result<(), Halt> {
        let trigger = run.trigger();
        let Some(part) = trigger.part() else { return Ok(()) };
        let pipeline = self.registry.pipeline(&part.pipeline);
        let stands = pipeline.as_ref().and_then(|pipeline| pipeline.part(part.number));
        if !stands.is_some_and(|(now, configured)| now == *part && configured.agent == trigger.agent) {
            return Err(Halt::End(Outcome::Refused { because: changed(part) }));
        }
        // Whoever wrote the configuration was told; whoever made the record was not.
        if part.reviews && trigger.lineage.agents.contains(&trigger.agent) {
            let because = format!(
                "stage `{}` of pipeline `{}` would have agent `{}` review what it had a hand in; name another agent",
                part.name, part.pipeline, trigger.agent
            );
            return Err(Halt::End(Outcome::Refused { because }));
        }
        Ok(())
    }

    /// What a verified change in a pipeline comes to, short of a proposal; none where it is to be proposed. The author's change is
    /// proposed by whoever reviews it, and by nobody that the author asked for a child.
    pub(crate) fn hand_over(&self, run: &Run, verified: &Verified) -> Result<Option<Event>, Halt> {
        // It may have waited for a person since it was verified.
        self.see_that_part_stands(run)?;
        match (run.trigger().part(), &run.trigger().lineage.part) {
            (None, None) => Ok(None),
            (Some(part), _) if part.reviews => Ok(None),
            (Some(_), _) => {
                let what = format!("commit {} passed its checks and is handed over", verified.commit());
                Ok(Some(Event::Delivered(Outcome::Changed { what })))
            }
            (None, Some(part)) => {
                let because = format!(
                    "within pipeline `{}` only what its stages made is proposed, once it was reviewed; look at the change \
                     with `selvedge diff {}`",
                    part.pipeline,
                    run.id()
                );
                Err(Halt::End(Outcome::Held { because }))
            }
        }
    }

    /// What a review is worth: a yes lets the very commit that was verified before go on to be proposed, by policy and whoever has to
    /// approve it; anything else holds it. Whoever reviews changes nothing.
    pub(crate) fn reviewed(&self, run: &Run, task: &Task, effect: &Effect) -> Result<Event, Halt> {
        let held = |because: String| Err(Halt::End(Outcome::Held { because }));
        match effect {
            Effect::Document { kind: EffectKind::Proposal, .. } => {}
            Effect::Unresolved { because } => return held(because.clone()),
            Effect::Tree { .. } => {
                return held(
                    "the reviewing stage changed what it was to look at, so its word counts for nothing".to_owned(),
                );
            }
            Effect::Document { .. } | Effect::Nothing { .. } => {
                return held("the reviewing stage said neither yes nor no".to_owned());
            }
        }
        let author = run.trigger().lineage.ancestors.first().map(|author| self.store.load(author)).transpose()?;
        match author.as_ref().and_then(Run::verified) {
            Some(verified) if *verified.commit() == task.base => Ok(Event::Verified(verified.clone())),
            _ => held("what was reviewed is not what was verified".to_owned()),
        }
    }

    /// What is known by now of whoever made the change that this run reviewed: what would be asked of the author is asked of the run that
    /// speaks for it. What cannot be read is no proposal.
    pub(crate) fn author_of(&self, run: &Run) -> Result<Authorship, Halt> {
        if !run.trigger().part().is_some_and(|part| part.reviews) {
            return Ok(Authorship::default());
        }
        let unknown = |what: &str| {
            Halt::End(Outcome::Refused { because: format!("{what}, so nobody can say what its author is") })
        };
        let author = run.trigger().lineage.ancestors.first().ok_or_else(|| unknown("no run made this change"))?;
        let author = self.store.load(author)?;
        let name = &author.trigger().agent;
        let agent =
            self.registry.agent(name).ok_or_else(|| unknown(&format!("agent `{name}` is no longer configured")))?;
        let conduct = Conduct { registered: agent.autonomy, seen: self.store.seen(name) };
        Ok(Authorship {
            drifted: conduct.has_drifted(),
            departed: conduct.seen.departed,
            read_sensitive: author.has_read(),
        })
    }

    /// Queues the part that follows one that ended well. Once, and safe to repeat, like follow-ups; but on nobody's word: what
    /// follows is what the operator wrote down, so the factory asks.
    pub(crate) fn queue_next_part(&self, run: &Run) -> Result<(), Halt> {
        let (Some(Outcome::Changed { .. }), Some(part)) = (run.outcome(), run.trigger().part()) else { return Ok(()) };
        if part.is_last() {
            return Ok(());
        }
        let desk = match self.desk(run) {
            Ok(desk) => desk,
            Err(Halt::End(outcome)) => return self.pipeline_ended(run, part, &outcome.because()),
            Err(other) => return Err(other),
        };
        let Some(trigger) = self.next_part(run, part) else { return self.pipeline_ended(run, part, &changed(part)) };
        let funnel = self.funnel_of(&Subject::Factory, &desk.context);
        match funnel.perform(EnqueueTask { trigger }, |permit| self.queue.enqueue(permit)) {
            Ok(_) => Ok(()),
            // The run has ended already, and well; that the pipeline ends with it is on record.
            Err(
                stop @ (Stop::Denied(_)
                | Stop::NeedsApproval { .. }
                | Stop::Act(ActError::Permanent(_) | ActError::Halted(_))),
            ) => self.pipeline_ended(run, part, &stop.to_string()),
            Err(stop @ (Stop::Act(ActError::Transient(_)) | Stop::Journal(_))) => Err(stop.into()),
        }
    }

    /// The trigger of what follows; none where the pipeline is another one by now. Its text is that of the first trigger, and it starts
    /// from the same commit as the part before, or from what that one made.
    fn next_part(&self, run: &Run, part: &Part) -> Option<Trigger> {
        let pipeline = self.registry.pipeline(&part.pipeline).filter(|now| now.definition == part.definition)?;
        let (next, configured) = pipeline.part(part.number.checked_add(1)?)?;
        let before = run.trigger();
        let mut lineage = run.begets_part(next);
        lineage.starts_from = run.verified_commit().or(run.task().map(|task| &task.base)).cloned();
        Some(Trigger {
            id: TriggerId::from_entropy(derived(run.id(), "next part")),
            source: TriggerSource::Stage,
            by: Actor::Factory,
            repo: before.repo.clone(),
            agent: configured.agent.clone(),
            text: before.text.clone(),
            argv: Vec::new(),
            lineage,
        })
    }

    fn pipeline_ended(&self, run: &Run, part: &Part, because: &str) -> Result<(), Halt> {
        let detail = format!("pipeline `{}` ends after stage {} of {}: {because}", part.pipeline, part.number, part.of);
        let finding = Observation::Finding { code: "pipeline_ended".to_owned(), detail };
        Ok(self.record(run.id(), Verb::TaskEnqueue, Record::Observed(finding))?)
    }
}

fn changed(part: &Part) -> String {
    format!("pipeline `{}` is no longer what it was when this began; start it anew", part.pipeline)
}
