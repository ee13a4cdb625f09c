//! What is usual for an agent, by its own recent runs, and what leaves that (requirement G8). Pure: numbers in, sentences out.
//! Knows no record and no clock.

use std::collections::BTreeSet;

use crate::{Autonomy, Capabilities};

/// Fewer runs say nothing about what is usual.
pub const RUNS_MIN: usize = 5;

/// How many runs are looked back on. An agent whose work changes has another baseline after as many.
pub const RUNS_MAX: usize = 20;

/// Most names of tools, and most of hosts, that are kept of one run; each is bounded where it comes from. Whoever reaches more is
/// told apart by the amount.
const NAMES_MAX: usize = 256;

/// How many times the usual amount is too much.
const TIMES: u64 = 3;

/// What a run was and did, in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// What it could do and did.
    pub facts: Capabilities,
    /// The kinds of tools it was given.
    pub tools: BTreeSet<String>,
    /// The hosts it reached.
    pub hosts: BTreeSet<String>,
    /// How much of each it took.
    pub amounts: Amounts,
}

/// How much a run took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Requests, calls of its model and tool calls.
    pub calls: u64,
    /// Bytes it sent.
    pub bytes: u64,
    /// What its model cost, in millionths of the unit that budgets are in.
    pub cost: u64,
    /// How long its attempts lasted.
    pub millis: u64,
}

/// One of the amounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Amount {
    /// Requests, calls of its model and tool calls.
    Calls,
    /// Bytes it sent.
    Bytes,
    /// What its model cost.
    Cost,
    /// How long its attempts lasted.
    Time,
}

/// What is usual for an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Baseline {
    /// By how many runs.
    pub runs: usize,
    /// The kinds of tools any of them was given.
    pub tools: BTreeSet<String>,
    /// The hosts any of them reached.
    pub hosts: BTreeSet<String>,
    /// The middle of each amount, and how far half of the runs lie from it at most.
    pub usual: Vec<(Amount, Usual)>,
}

/// The middle of an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usual {
    /// Half of the runs took this or less.
    pub median: u64,
    /// Half of the runs lie no further from it.
    pub spread: u64,
}

/// How a run left what is usual.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Departure {
    /// It was given a kind of tool that none before was.
    Tool(String),
    /// It reached a host that none before did.
    Host(String),
    /// It took much more of something.
    Amount {
        /// Of what.
        what: Amount,
        /// How much.
        seen: u64,
        /// What half of the runs before took at most.
        median: u64,
        /// How far half of them lie from that at most.
        spread: u64,
    },
}

/// What is recorded of an agent beside its acts: what they came to, run by run, and what that means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// A run is over.
    Settled(Box<Profile>),
    /// It is more than its owner registered it as, from here on (requirement B5).
    Drifted {
        /// What they registered it as.
        registered: Autonomy,
        /// What it was seen to be.
        seen: Autonomy,
        /// What of one run made it that.
        facts: Capabilities,
    },
    /// A run leaves what is usual for it (requirement G8).
    Departed {
        /// How.
        departures: Vec<Departure>,
        /// Whether it is trusted a grade less from here on, until somebody vouches for it.
        lowers_trust: bool,
    },
}

impl Profile {
    /// Of a run that did nothing yet.
    pub fn begun(facts: Capabilities) -> Self {
        Self { facts, tools: BTreeSet::new(), hosts: BTreeSet::new(), amounts: Amounts::default() }
    }

    /// It was given this kind of tool.
    pub fn uses_tool(&mut self, kind: &str) {
        keep(&mut self.tools, kind);
        self.facts.tool_calls = self.facts.tool_calls.saturating_add(1);
        self.facts.tools = u32::try_from(self.tools.len()).unwrap_or(u32::MAX);
    }

    /// It reached this host.
    pub fn reaches(&mut self, host: &str) {
        keep(&mut self.hosts, host);
    }
}

fn keep(names: &mut BTreeSet<String>, name: &str) {
    if names.len() < NAMES_MAX && !names.contains(name) {
        names.insert(name.to_owned());
    }
}

impl Amount {
    /// Every one.
    pub const ALL: &'static [Self] = &[Self::Calls, Self::Bytes, Self::Cost, Self::Time];

    /// The word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Bytes => "bytes",
            Self::Cost => "cost",
            Self::Time => "time",
        }
    }

    /// Reads the word in records.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|amount| amount.as_str() == word)
    }

    /// How much more than usual is never too much, so that what usually takes next to nothing may take a little.
    fn leeway(self) -> u64 {
        match self {
            Self::Calls => 20,
            Self::Bytes => 1 << 20,
            // A tenth of a unit.
            Self::Cost => 100_000,
            // A busy machine.
            Self::Time => 60_000,
        }
    }
}

impl Amounts {
    /// How much of this.
    pub fn of(&self, what: Amount) -> u64 {
        match what {
            Amount::Calls => self.calls,
            Amount::Bytes => self.bytes,
            Amount::Cost => self.cost,
            Amount::Time => self.millis,
        }
    }
}

impl Usual {
    fn of(mut values: Vec<u64>) -> Self {
        let median = middle(&mut values);
        let mut distances: Vec<u64> = values.iter().map(|value| value.abs_diff(median)).collect();
        Self { median, spread: middle(&mut distances) }
    }
}

/// The lower one of two.
fn middle(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

impl Baseline {
    /// What these runs have in common; none when they are too few to say.
    pub fn of<'a>(runs: impl IntoIterator<Item = &'a Profile>) -> Option<Self> {
        let runs: Vec<&Profile> = runs.into_iter().collect();
        if runs.len() < RUNS_MIN {
            return None;
        }
        let usual = |what: Amount| Usual::of(runs.iter().map(|run| run.amounts.of(what)).collect());
        Some(Self {
            runs: runs.len(),
            tools: runs.iter().flat_map(|run| run.tools.iter().cloned()).collect(),
            hosts: runs.iter().flat_map(|run| run.hosts.iter().cloned()).collect(),
            usual: Amount::ALL.iter().map(|what| (*what, usual(*what))).collect(),
        })
    }

    /// How this run, or what there is of it, leaves what is usual. What is governed as bounded automation does what was written for it,
    /// as often as there is to do: its amounts follow what it is given, and say nothing (requirement B8).
    pub fn departures(&self, run: &Profile, governed_as: Autonomy) -> Vec<Departure> {
        let tools = run.tools.difference(&self.tools).cloned().map(Departure::Tool);
        let hosts = run.hosts.difference(&self.hosts).cloned().map(Departure::Host);
        let amounts = self.usual.iter().filter_map(|(what, usual)| {
            let (seen, Usual { median, spread }) = (run.amounts.of(*what), *usual);
            let most = median.saturating_mul(TIMES).max(median.saturating_add(what.leeway()));
            (seen > most).then_some(Departure::Amount { what: *what, seen, median, spread })
        });
        let counts_amounts = governed_as != Autonomy::BoundedAutomation;
        tools.chain(hosts).chain(amounts.filter(|_| counts_amounts)).collect()
    }
}

impl Departure {
    /// Whether two are about the same, however much it was.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Amount { what, .. }, Self::Amount { what: other, .. }) => what == other,
            _ => self == other,
        }
    }

    /// The sentence.
    pub fn words(&self) -> String {
        match self {
            Self::Tool(kind) => format!("was given a tool of kind `{kind}`, as no run before"),
            Self::Host(host) => format!("reached {host}, as no run before"),
            Self::Amount { what, seen, median, spread } => {
                let unit = match what {
                    Amount::Calls => "calls",
                    Amount::Bytes => "bytes sent",
                    Amount::Cost => "millionths paid to its model",
                    Amount::Time => "milliseconds",
                };
                format!("took {seen} {unit}, where {median} are usual, give or take {spread}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Started;

    fn run(hosts: &[&str], tools: &[&str], amounts: Amounts) -> Profile {
        let facts = Capabilities {
            started: Started::Person,
            chain_depth: 0,
            model_calls: 1,
            tool_calls: 0,
            tools: 0,
            queued: 0,
            changes: 0,
            confirmed: 0,
            powers: BTreeSet::new(),
        };
        let mut profile = Profile::begun(facts);
        hosts.iter().for_each(|host| profile.reaches(host));
        tools.iter().for_each(|tool| profile.uses_tool(tool));
        Profile { amounts, ..profile }
    }

    fn usual() -> Profile {
        run(&["a.example"], &["read"], Amounts { calls: 100, bytes: 4 << 20, cost: 1_000_000, millis: 600_000 })
    }

    #[test]
    fn what_four_runs_did_is_not_usual_yet_g8() {
        let four = vec![usual(); RUNS_MIN - 1];
        assert_eq!(Baseline::of(&four), None);
        assert_eq!(Baseline::of(&vec![usual(); RUNS_MIN]).unwrap().runs, RUNS_MIN);
    }

    #[test]
    fn a_new_host_a_new_tool_and_three_times_as_much_leave_what_is_usual_g8() {
        let baseline = Baseline::of(&vec![usual(); RUNS_MIN]).unwrap();
        let left = |run: &Profile| baseline.departures(run, Autonomy::Supervised);
        assert_eq!(left(&usual()), []);
        let most = Amounts { calls: 300, bytes: 12 << 20, cost: 3_000_000, millis: 1_800_000 };
        assert_eq!(left(&run(&["a.example"], &["read"], most)), [], "three times as much is no more than that");
        assert_eq!(left(&run(&["a.example", "b.example"], &[], most)), [Departure::Host("b.example".to_owned())]);
        assert_eq!(left(&run(&[], &["read", "edit"], most)), [Departure::Tool("edit".to_owned())]);
        let over = |amounts| left(&run(&[], &[], amounts));
        let amount = |what, seen, median| [Departure::Amount { what, seen, median, spread: 0 }];
        assert_eq!(over(Amounts { calls: 301, ..most }), amount(Amount::Calls, 301, 100));
        assert_eq!(over(Amounts { bytes: (12 << 20) + 1, ..most }), amount(Amount::Bytes, (12 << 20) + 1, 4 << 20));
        assert_eq!(over(Amounts { cost: 3_000_001, ..most }), amount(Amount::Cost, 3_000_001, 1_000_000));
        assert_eq!(over(Amounts { millis: 1_800_001, ..most }), amount(Amount::Time, 1_800_001, 600_000));
    }

    #[test]
    fn what_takes_next_to_nothing_may_take_a_little_g8() {
        let baseline = Baseline::of(&vec![run(&[], &[], Amounts::default()); RUNS_MIN]).unwrap();
        let little = Amounts { calls: 20, bytes: 1 << 20, cost: 100_000, millis: 60_000 };
        assert_eq!(baseline.departures(&run(&[], &[], little), Autonomy::Autonomous), []);
        let more = Amounts { calls: 21, bytes: (1 << 20) + 1, cost: 100_001, millis: 60_001 };
        assert_eq!(baseline.departures(&run(&[], &[], more), Autonomy::Autonomous).len(), 4);
    }

    #[test]
    fn the_amounts_of_a_fixed_program_follow_its_input_b8() {
        let baseline = Baseline::of(&vec![run(&[], &[], Amounts::default()); RUNS_MIN]).unwrap();
        let much = Amounts { calls: 1_000, bytes: 1 << 30, cost: 1 << 30, millis: 1 << 30 };
        let busy = run(&["new.example"], &[], much);
        let left = baseline.departures(&busy, Autonomy::BoundedAutomation);
        assert_eq!(left, [Departure::Host("new.example".to_owned())]);
        assert!(left.iter().all(|departure| departure.words().contains("new.example")));
    }

    #[test]
    fn the_middle_is_not_moved_by_one_that_stands_out_g8() {
        assert_eq!(Usual::of(vec![5, 1, 1_000_000, 3, 4]), Usual { median: 4, spread: 1 });
        assert_eq!(Usual::of(vec![2, 1]), Usual { median: 1, spread: 0 });
        assert_eq!(Usual::of(Vec::new()), Usual { median: 0, spread: 0 });
    }

    #[test]
    fn a_run_that_names_very_many_hosts_is_kept_within_bounds_a107() {
        let mut profile = usual();
        (0..10 * NAMES_MAX).for_each(|n| profile.reaches(&format!("h{n}.example")));
        assert_eq!(profile.hosts.len(), NAMES_MAX);
    }

    proptest! {
        #[test]
        fn a_run_that_was_usual_stays_so_g8(calls in prop::collection::vec(0_u64..1_000, RUNS_MIN..RUNS_MAX), which: prop::sample::Index) {
            let runs: Vec<Profile> =
                calls.iter().map(|calls| run(&["a.example"], &["read"], Amounts { calls: *calls, ..Amounts::default() })).collect();
            let baseline = Baseline::of(&runs).unwrap();
            let one = &runs[which.index(runs.len())];
            // Only an amount can set a run of the baseline apart from it, and then it is far from the middle.
            for departure in baseline.departures(one, Autonomy::Autonomous) {
                let Departure::Amount { seen, median, .. } = departure else { panic!("{departure:?}") };
                prop_assert!(seen > median * TIMES && seen > median + 20);
            }
        }

        #[test]
        fn more_of_anything_never_leaves_less_g8(calls in 0_u64..2_000, more in 0_u64..2_000) {
            let baseline = Baseline::of(&vec![usual(); RUNS_MIN]).unwrap();
            let left = |calls| baseline.departures(&run(&[], &[], Amounts { calls, ..Amounts::default() }), Autonomy::Supervised).len();
            prop_assert!(left(calls + more) >= left(calls));
        }
    }
}
