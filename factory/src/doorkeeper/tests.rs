//! What was read is known to every decision after it, and what an attempt did is kept however much is seen besides.

use std::collections::BTreeSet;

use selvedge_authority::{
    Approval, Class, Clock, Entry, Journal, JournalError, Judge, PolicyName, Question, Record, Subject, Verdict,
};
use selvedge_domain::orders::{CUT, HttpRequest, ToolCall};
use selvedge_domain::{
    Deed, Digest, Endpoint, HostPattern, Method, Order as _, RepoName, Secrets, Sensitivity, SideEffects, Time,
};

use super::flood::{FINDINGS_MORE, OBSERVATIONS_MAX};
use super::*;
use crate::hold::{Holdable, Holding as _};

/// A record, and policies that allow everything and remember what they were told.
struct World {
    /// What is observed cannot be recorded; all else can.
    is_full: bool,
    /// Tool calls need a yes.
    asks: bool,
    judged: Mutex<Vec<String>>,
    kept: Mutex<Vec<Record>>,
    told_of_reading: Mutex<Vec<bool>>,
    context: Context,
}

impl World {
    fn new() -> Self {
        let context = Context {
            run: Some(run()),
            intent: None,
            sensitivity: Sensitivity::Internal,
            chain_depth: 0,
            follow_ups_left: 0,
            tainted: false,
            read_sensitive: false,
            lands_unattended: false,
            configuration: Digest::of_parts([]),
        };
        Self {
            is_full: false,
            asks: false,
            judged: Mutex::default(),
            kept: Mutex::default(),
            told_of_reading: Mutex::default(),
            context,
        }
    }

    fn funnel(&self) -> Funnel<'_> {
        Funnel { judge: self, journal: self, subject: &Subject::Factory, context: &self.context, clock: self }
    }

    fn kept(&self) -> Vec<Observation> {
        let observation = |record: &Record| match record {
            Record::Observed(observation) => Some(observation.clone()),
            _ => None,
        };
        self.kept.lock().unwrap().iter().filter_map(observation).collect()
    }
}

impl Clock for World {
    fn now(&self) -> Time {
        Time::from_millis(5)
    }
}

impl Journal for World {
    fn append(&self, entry: Entry, _: Class) -> Result<(), JournalError> {
        if self.is_full && matches!(entry.record, Record::Observed(_)) {
            return Err(JournalError::Write("disk full".to_owned()));
        }
        self.kept.lock().unwrap().push(entry.record);
        Ok(())
    }

    fn recall(&self, _: &RunId, _: &Digest) -> Result<Option<Deed>, JournalError> {
        Ok(None)
    }

    fn approval(&self, _: &Digest, _: Time) -> Result<Option<Approval>, JournalError> {
        Ok(None)
    }
}

impl Judge for World {
    fn judge(&self, question: &Question<'_>) -> Verdict {
        self.told_of_reading.lock().unwrap().push(question.context.read_sensitive);
        self.judged.lock().unwrap().extend(question.order.text("command").map(str::to_owned));
        if self.asks {
            let (code, policies, next_step) = (Code::NeedsApproval, Vec::new(), "ask".to_owned());
            return Verdict::NeedsApproval(Denial { code, policies, next_step });
        }
        Verdict::Allow { policies: vec![PolicyName::new("test")] }
    }
}

fn run() -> RunId {
    RunId::from_entropy(1)
}

fn get(doors: &Gatekeeper<'_>, serial: u64) {
    asked(doors, serial).unwrap();
}

fn asked(doors: &Gatekeeper<'_>, serial: u64) -> Result<(), Denial> {
    let endpoint = Endpoint { host: HostPattern::parse("docs.example").unwrap(), port: 443 };
    let request = HttpRequest {
        run: run(),
        repo: RepoName::parse("acme/shop").unwrap(),
        serial,
        endpoint,
        method: Method::Get,
        path: "/".to_owned(),
        query_bytes: 0,
        body_bytes_max: 0,
        credential: None,
        graphql: BTreeSet::new(),
        danger: BTreeSet::new(),
        secrets: Secrets::default(),
    };
    Doorkeeper::ask(doors, request)
}

#[test]
fn from_the_moment_a_sensitive_file_is_read_every_decision_knows_it_a78() {
    let world = World::new();
    let funnel = world.funnel();
    let doors = Gatekeeper::new(&funnel, &run());
    get(&doors, 1);
    doors.saw(Observation::SensitiveRead { path: ".env".to_owned() });
    get(&doors, 2);
    get(&doors, 3);
    assert_eq!(*world.told_of_reading.lock().unwrap(), [false, true, true]);
    assert_eq!(world.kept(), [Observation::SensitiveRead { path: ".env".to_owned() }]);
}

#[test]
fn once_a_read_cannot_be_recorded_nothing_more_goes_out_a78() {
    let world = World { is_full: true, ..World::new() };
    let funnel = world.funnel();
    let doors = Gatekeeper::new(&funnel, &run());
    doors.saw(Observation::CallRefused { call: "mount".to_owned(), count: 1 });
    get(&doors, 1);
    doors.saw(Observation::SensitiveRead { path: ".env".to_owned() });
    assert_eq!(asked(&doors, 2).unwrap_err().code, Code::NotRecorded);
    assert_eq!(world.told_of_reading.lock().unwrap().len(), 1, "policy is not even asked");
}

#[test]
fn an_agent_that_floods_the_record_does_not_hide_what_it_did_a107() {
    let world = World::new();
    let funnel = world.funnel();
    let doors = Gatekeeper::new(&funnel, &run());
    for _ in 0..OBSERVATIONS_MAX + FINDINGS_MORE + 10 {
        doors.saw(Observation::Finding { code: "x".to_owned(), detail: String::new() });
    }
    let kept = world.kept().len();
    doors.saw(Observation::CallRefused { call: "mount".to_owned(), count: 1 });
    assert_eq!(world.kept().len(), kept, "a flood is not kept");
    doors.saw(Observation::SensitiveRead { path: ".env".to_owned() });
    assert_eq!(world.kept().last(), Some(&Observation::SensitiveRead { path: ".env".to_owned() }), "A-78");
    doors.saw(Observation::SideEffects(Box::new(SideEffects { programs_unkept: 312, ..SideEffects::default() })));
    assert!(matches!(world.kept().last(), Some(Observation::SideEffects(effects)) if effects.programs_unkept == 312));
}

#[test]
fn while_the_turn_is_held_nothing_is_decided_for_what_was_asked_before_c8() {
    let world = World::new();
    let funnel = world.funnel();
    let doors = Gatekeeper::new(&funnel, &run());
    doors.begin(&[]).unwrap();
    let denial = asked(&doors, 1).unwrap_err();
    assert!(denial.next_step.contains("the turn waits for a person"), "{denial}");
    assert!(world.told_of_reading.lock().unwrap().is_empty(), "policy is not even asked");
    doors.end();
    asked(&doors, 2).unwrap();
}

fn bash(command: &str) -> ToolCall {
    ToolCall {
        run: run(),
        repo: RepoName::parse("acme/shop").unwrap(),
        serial: 1,
        index: 0,
        tool: "Bash".to_owned(),
        kind: "shell".to_owned(),
        command: command.to_owned(),
        paths: Vec::new(),
        steers: Vec::new(),
        addresses: Vec::new(),
        values: Vec::new(),
        arguments: Digest::of_parts([command.as_bytes()]),
        argument_bytes: command.len() as u64,
        of_server: None,
        secrets: Secrets::default(),
    }
}

#[test]
fn a_call_that_is_too_long_to_be_shown_whole_is_put_before_nobody_c8() {
    let world = World { asks: true, ..World::new() };
    let funnel = world.funnel();
    let doors = Gatekeeper::new(&funnel, &run());
    let values = vec!["path=a".to_owned(), format!("body=hello{CUT}")];
    for call in [bash(&format!("echo hello{CUT}")), ToolCall { values, ..bash("") }] {
        let denial = Holding::ask(&doors, Holdable::Tool(call)).unwrap_err();
        assert!(denial.code == Code::NeedsApproval && denial.next_step.contains("shown whole"), "{denial}");
    }
    let kept = world.kept.lock().unwrap();
    assert!(
        matches!(kept.as_slice(), [Record::Decided { .. }, Record::Decided { .. }]),
        "somebody was asked: {kept:?}"
    );
}

#[test]
fn a_call_that_holds_a_secret_is_judged_as_it_is_and_put_before_nobody_d3_c7() {
    let world = World { asks: true, ..World::new() };
    let funnel = world.funnel();
    let doors = Gatekeeper::new(&funnel, &run());
    let call = ToolCall { secrets: Secrets::found([("key", "abc")]), ..bash("login --key abc") };
    let denial = Holding::ask(&doors, Holdable::Tool(call.clone())).unwrap_err();
    assert!(denial.code == Code::NeedsApproval && denial.next_step.contains("write the call without it"), "{denial}");
    assert_eq!(*world.judged.lock().unwrap(), ["login --key abc"]);
    let kept = world.kept.lock().unwrap();
    let [Record::Decided { order, .. }] = kept.as_slice() else { panic!("somebody was asked: {kept:?}") };
    assert_eq!((order.text("command"), order.words("secrets")), (Some("login --key [key]"), &["key".to_owned()][..]));
    // Another call says the same without its secret, and is another order all the same.
    let other = ToolCall { arguments: Digest::of_parts([b"login --key abd".as_slice()]), ..call };
    assert_ne!(other.recorded().digest(), order.digest());
}
