//! What an agent does, and what that makes it: the ladder of autonomy, read off facts of its runs (requirements B5, B7, B8).
//! Knows no record and no configuration: whoever keeps the record counts, and nothing an agent says is counted.

use std::collections::BTreeSet;

use crate::{Actor, Autonomy, Trigger, TriggerSource, Trust};

/// The most tool calls, all of one kind, of something that looks a thing up to answer. With more it goes where one look leads it to
/// the next.
const LOOKED_UP_MAX: u32 = 3;

/// What made a run begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Started {
    /// A person, who has its answer.
    Person,
    /// The clock.
    Clock,
    /// Something that happened outside.
    Event,
    /// Another run.
    Run,
}

/// What makes a workload an autonomous one, whatever it is called (requirement B7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Power {
    /// It can trigger a deployment.
    Deploy,
    /// It can change infrastructure.
    Infrastructure,
    /// It can use a secret, other than the one its model is asked with.
    Secret,
}

/// What one run could do and did, up to now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// What made it begin.
    pub started: Started,
    /// How many runs of ours lie behind it.
    pub chain_depth: u32,
    /// How often it had a model answer. Without one, what it does was written down before it began.
    pub model_calls: u32,
    /// How many tool calls of its model it was given.
    pub tool_calls: u32,
    /// How many kinds of tools those were.
    pub tools: u32,
    /// How many runs it queued.
    pub queued: u32,
    /// Acts of it that others feel.
    pub changes: u32,
    /// How many of them a person said yes to, or has before them to say yes or no to.
    pub confirmed: u32,
    /// What of it makes it autonomous whatever else it does.
    pub powers: BTreeSet<Power>,
}

impl Started {
    /// Every cause.
    pub const ALL: &'static [Self] = &[Self::Person, Self::Clock, Self::Event, Self::Run];

    /// What made the run of this trigger begin.
    pub fn by(trigger: &Trigger) -> Self {
        match (&trigger.by, trigger.source) {
            (Actor::Person(_), _) => Self::Person,
            (Actor::Workload(_), _) => Self::Run,
            (Actor::Factory, TriggerSource::Schedule) => Self::Clock,
            (Actor::Factory, _) => Self::Event,
        }
    }

    /// The word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Clock => "clock",
            Self::Event => "event",
            Self::Run => "run",
        }
    }

    /// Reads the word in records.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|started| started.as_str() == word)
    }
}

impl Power {
    /// Every one.
    pub const ALL: &'static [Self] = &[Self::Deploy, Self::Infrastructure, Self::Secret];

    /// The word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Infrastructure => "infrastructure",
            Self::Secret => "secret",
        }
    }

    /// Reads the word in records.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|power| power.as_str() == word)
    }
}

impl Capabilities {
    /// A run of this trigger that did nothing yet.
    pub fn begun(trigger: &Trigger) -> Self {
        Self {
            started: Started::by(trigger),
            // Which stages a pipeline has, and in which order, nobody in it chooses.
            chain_depth: match trigger.part() {
                Some(_) => 0,
                None => u32::try_from(trigger.lineage.depth()).unwrap_or(u32::MAX),
            },
            model_calls: 0,
            tool_calls: 0,
            tools: 0,
            queued: 0,
            changes: 0,
            confirmed: 0,
            powers: BTreeSet::new(),
        }
    }

    /// The ladder. The first line that fits decides:
    ///
    /// | the run | is |
    /// |---|---|
    /// | can deploy, change infrastructure or use a secret | autonomous (B7) |
    /// | asked no model, so a fixed program ran, and did what others feel or is a link of a chain | bounded automation |
    /// | queued a run, or was queued by one: it chooses when | autonomous |
    /// | did what others feel, and nobody confirmed all of it | autonomous |
    /// | did what others feel, all of it confirmed | supervised |
    /// | chose among tools, or went from one call to the next, or asked a model and began without a person | supervised |
    /// | answered, or left nothing | assistant |
    pub fn autonomy(&self) -> Autonomy {
        match (self.powers.is_empty(), self.chooses_actions(), self.chooses_timing(), self.acts()) {
            (false, _, _, _) => Autonomy::Autonomous,
            // Every run begins like this, whatever it asks a model later.
            (true, false, false, Acts::None) => Autonomy::Assistant,
            (true, false, _, _) => Autonomy::BoundedAutomation,
            (true, true, true, _) | (true, true, false, Acts::Unconfirmed) => Autonomy::Autonomous,
            (true, true, false, Acts::Confirmed) => Autonomy::Supervised,
            (true, true, false, Acts::None) if self.chooses_tools() || self.is_background() => Autonomy::Supervised,
            (true, true, false, Acts::None) => Autonomy::Assistant,
        }
    }

    /// Whether what it does is chosen while it runs.
    pub fn chooses_actions(&self) -> bool {
        self.model_calls > 0
    }

    /// Whether it decides what to do next with what it has: more than one kind of tool, or one again and again.
    pub fn chooses_tools(&self) -> bool {
        self.tools > 1 || self.tool_calls > LOOKED_UP_MAX
    }

    /// Whether runs begin because a run of ours wanted it.
    pub fn chooses_timing(&self) -> bool {
        self.queued > 0 || self.chain_depth > 0
    }

    /// Whether nobody asked for it who has its answer.
    pub fn is_background(&self) -> bool {
        self.started != Started::Person
    }

    fn acts(&self) -> Acts {
        match (self.changes, self.changes > self.confirmed) {
            (0, _) => Acts::None,
            (_, false) => Acts::Confirmed,
            (_, true) => Acts::Unconfirmed,
        }
    }

    /// The facts, a word for each that stands out: for people, beside the grade they made.
    pub fn words(&self) -> Vec<String> {
        let mut words = vec![format!("started by {}", article(self.started))];
        let counted = [
            (self.chain_depth, "runs behind it"),
            (self.model_calls, "calls of its model"),
            (self.tool_calls, "tool calls"),
            (self.tools, "kinds of tools"),
            (self.queued, "runs queued"),
            (self.changes, "acts that others feel"),
            (self.confirmed, "of them confirmed"),
        ];
        words.extend(counted.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
        words.extend(self.powers.iter().map(|power| format!("reaches {}", power.as_str())));
        words
    }
}

fn article(started: Started) -> &'static str {
    match started {
        Started::Person => "a person",
        Started::Clock => "the clock",
        Started::Event => "an event",
        Started::Run => "a run",
    }
}

/// What others feel of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Acts {
    None,
    Confirmed,
    Unconfirmed,
}

impl Autonomy {
    /// The furthest trust that what an agent is registered as can bear. Rights follow the lower of this and what was granted.
    ///
    /// An assistant answers, so nothing it makes leaves. Under supervision somebody confirms, so nothing lands by itself. What a fixed
    /// program does is known beforehand, and what is registered as autonomous is governed as that: both go as far as they are trusted.
    pub fn bears(self) -> Trust {
        match self {
            Self::Assistant => Trust::Draft,
            Self::Supervised => Trust::Propose,
            Self::BoundedAutomation | Self::Autonomous => Trust::Release,
        }
    }
}

impl Trust {
    /// One grade less; the lowest stays.
    #[must_use]
    pub fn lowered(self) -> Self {
        match self {
            Self::Observe | Self::Draft => Self::Observe,
            Self::Propose => Self::Draft,
            Self::Land => Self::Propose,
            Self::Release => Self::Land,
        }
    }
}

/// What the record shows of an agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// The highest grade of its recent runs and of those at work; none before the first.
    pub autonomy: Option<Autonomy>,
    /// The highest grade somebody vouched for after it was seen.
    pub certified: Option<Autonomy>,
    /// Whether it left what is usual for it, and nobody vouched for it since.
    pub departed: bool,
}

/// How an agent is graded: by its owner, and by what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conduct {
    /// What its owner registered it as.
    pub registered: Autonomy,
    /// What the record shows.
    pub seen: Seen,
}

impl Conduct {
    /// An agent of which nothing was seen.
    pub fn unseen(registered: Autonomy) -> Self {
        Self { registered, seen: Seen::default() }
    }

    /// What it is governed as: controls follow the stricter of what it is registered as and what it was seen to be.
    pub fn autonomy(&self) -> Autonomy {
        self.seen.autonomy.map_or(self.registered, |seen| seen.max(self.registered))
    }

    /// Whether it became more than its owner knows of: more than they registered, and more than anybody vouched for.
    pub fn has_drifted(&self) -> bool {
        self.seen.autonomy.is_some_and(|seen| seen > self.registered && self.seen.certified < Some(seen))
    }

    /// How far it may go of what it was granted: no further than what it is registered as bears, and a grade less while what it does
    /// is not what it usually does.
    pub fn trust(&self, granted: Trust) -> Trust {
        let borne = granted.min(self.registered.bears());
        if self.seen.departed { borne.lowered() } else { borne }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answered() -> Capabilities {
        Capabilities {
            started: Started::Person,
            chain_depth: 0,
            model_calls: 1,
            tool_calls: 0,
            tools: 0,
            queued: 0,
            changes: 0,
            confirmed: 0,
            powers: BTreeSet::new(),
        }
    }

    fn program() -> Capabilities {
        Capabilities { model_calls: 0, ..answered() }
    }

    #[test]
    fn each_rung_of_the_ladder_is_told_by_its_facts_b5_b7_b8() {
        use Autonomy::{Assistant, Autonomous, BoundedAutomation, Supervised};
        let secret: BTreeSet<Power> = [Power::Secret].into();
        for (name, facts, grade) in [
            ("answers", answered(), Assistant),
            ("answers at length", Capabilities { model_calls: 40, ..answered() }, Assistant),
            ("looks something up", Capabilities { tool_calls: 3, tools: 1, ..answered() }, Assistant),
            ("uses a tool again and again", Capabilities { tool_calls: 4, tools: 1, ..answered() }, Supervised),
            ("chooses among tools", Capabilities { tool_calls: 2, tools: 2, ..answered() }, Supervised),
            ("begins by the clock", Capabilities { started: Started::Clock, ..answered() }, Supervised),
            ("begins by an event", Capabilities { started: Started::Event, ..answered() }, Supervised),
            ("all confirmed", Capabilities { changes: 2, confirmed: 2, ..answered() }, Supervised),
            ("one unconfirmed", Capabilities { changes: 2, confirmed: 1, ..answered() }, Autonomous),
            ("queues a run", Capabilities { queued: 1, ..answered() }, Autonomous),
            ("is a link of a chain", Capabilities { chain_depth: 1, started: Started::Run, ..answered() }, Autonomous),
            ("reaches a secret", Capabilities { powers: secret.clone(), ..answered() }, Autonomous),
            ("a program that leaves nothing", program(), Assistant),
            (
                "a program by the clock that leaves nothing",
                Capabilities { started: Started::Clock, ..program() },
                Assistant,
            ),
            ("a program that acts", Capabilities { changes: 1, ..program() }, BoundedAutomation),
            ("a program that queues another run", Capabilities { queued: 1, ..program() }, BoundedAutomation),
            (
                "a program by the clock, with follow-ups",
                Capabilities {
                    started: Started::Clock,
                    chain_depth: 2,
                    queued: 1,
                    changes: 1,
                    confirmed: 1,
                    ..program()
                },
                BoundedAutomation,
            ),
            ("a program that reaches a secret", Capabilities { powers: secret, ..program() }, Autonomous),
        ] {
            assert_eq!(facts.autonomy(), grade, "{name}");
        }
        for power in Power::ALL {
            let facts = Capabilities { powers: [*power].into(), ..answered() };
            assert_eq!(facts.autonomy(), Autonomous, "{power:?}");
        }
    }

    #[test]
    fn words_read_back() {
        assert!(Started::ALL.iter().all(|started| Started::parse(started.as_str()) == Some(*started)));
        assert!(Power::ALL.iter().all(|power| Power::parse(power.as_str()) == Some(*power)));
    }

    #[test]
    fn rights_follow_the_lower_and_controls_the_stricter_b5() {
        use Autonomy::{Assistant, Autonomous, BoundedAutomation, Supervised};
        for (registered, granted, trust) in [
            (Assistant, Trust::Observe, Trust::Observe),
            (Assistant, Trust::Release, Trust::Draft),
            (Supervised, Trust::Release, Trust::Propose),
            (Supervised, Trust::Draft, Trust::Draft),
            (BoundedAutomation, Trust::Land, Trust::Land),
            (Autonomous, Trust::Release, Trust::Release),
        ] {
            let conduct = Conduct::unseen(registered);
            assert_eq!((conduct.trust(granted), conduct.autonomy()), (trust, registered), "{registered} {granted}");
        }
        let seen = |autonomy, certified| Conduct {
            registered: Supervised,
            seen: Seen { autonomy, certified, departed: false },
        };
        let drifted = seen(Some(Autonomous), None);
        assert!(drifted.has_drifted() && drifted.autonomy() == Autonomous);
        assert_eq!(drifted.trust(Trust::Release), Trust::Propose, "it gains nothing by it");
        assert!(!seen(Some(Autonomous), Some(Autonomous)).has_drifted(), "somebody looked");
        assert!(seen(Some(Autonomous), Some(Supervised)).has_drifted(), "they looked at less");
        let lower = seen(Some(BoundedAutomation), None);
        assert!(!lower.has_drifted() && lower.autonomy() == Supervised);
        let departed = Conduct { seen: Seen { departed: true, ..Seen::default() }, ..Conduct::unseen(Autonomous) };
        assert_eq!(
            Trust::ALL.iter().map(|trust| departed.trust(*trust)).collect::<Vec<_>>(),
            [Trust::Observe, Trust::Observe, Trust::Draft, Trust::Propose, Trust::Land]
        );
    }

    fn facts() -> impl Strategy<Value = Capabilities> {
        let counts = proptest::array::uniform7(0_u32..4);
        (prop::sample::select(Started::ALL), counts, prop::bool::ANY).prop_map(|(started, counts, powerful)| {
            let [chain_depth, model_calls, tool_calls, tools, queued, changes, confirmed] = counts;
            let powers = if powerful { [Power::Deploy].into() } else { BTreeSet::new() };
            Capabilities { started, chain_depth, model_calls, tool_calls, tools, queued, changes, confirmed, powers }
        })
    }

    proptest! {
        #[test]
        fn doing_more_never_makes_less_of_an_agent_b5(facts in facts(), which in 0_usize..7) {
            let mut more = facts.clone();
            match which {
                0 => more.chain_depth += 1,
                1 => more.tool_calls += 1,
                2 => more.tools += 1,
                3 => more.queued += 1,
                4 => more.changes += 1,
                5 => more.model_calls += 1,
                _ => drop(more.powers.insert(Power::Secret)),
            }
            prop_assert!(more.autonomy() >= facts.autonomy(), "{facts:?} {more:?}");
        }

        #[test]
        fn a_yes_never_makes_more_of_an_agent_b5(facts in facts()) {
            let yes = Capabilities { confirmed: facts.confirmed + 1, ..facts.clone() };
            prop_assert!(yes.autonomy() <= facts.autonomy());
        }

        #[test]
        fn nothing_that_is_seen_gives_trust_b5(
            registered in prop::sample::select(Autonomy::ALL),
            granted in prop::sample::select(Trust::ALL),
            seen in prop::option::of(prop::sample::select(Autonomy::ALL)),
            departed in prop::bool::ANY,
        ) {
            let conduct = Conduct { registered, seen: Seen { autonomy: seen, certified: None, departed } };
            prop_assert!(conduct.trust(granted) <= granted);
            prop_assert!(conduct.trust(granted) <= Conduct::unseen(registered).trust(granted));
            prop_assert!(conduct.autonomy() >= registered);
        }
    }
}
