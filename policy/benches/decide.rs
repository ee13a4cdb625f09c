//! How long a decision over a thousand policies takes: ours, and Cedar as it ships, in the same run.
//!
//! Prints a table; nothing passes or fails by it. As shipped means one set of all policies and a request built from JSON,
//! both checked against the same schema; the answers are compared while they are timed.

use std::collections::BTreeSet;
use std::error::Error;
use std::str::FromStr as _;
use std::time::{Duration, Instant};

use cedar_policy::{Authorizer, Context as CedarContext, Decision, Entities, EntityUid, PolicySet, Request, Schema};
use selvedge_authority::{Context, Judge as _, Question, Subject, Verdict, risk_of};
use selvedge_domain::orders::HttpRequest;
use selvedge_domain::{
    AgentName, Autonomy, Conduct, Description, Digest, Endpoint, Grant, HostPattern, Intent, Method, Order as _, Owner,
    RepoName, RunId, Secrets, Sensitivity, Time, Trust, WorkloadId,
};
use selvedge_policy::{Policies, SCHEMA};

const GROUPS: u64 = 120;
const QUESTIONS: u64 = 20_000;
const QUESTIONS_AS_SHIPPED: u64 = 2_000;

fn main() -> Result<(), Box<dyn Error>> {
    let text = corpus();
    let ours = Policies::from_sources(vec![("bench.cedar".to_owned(), text.clone())])?;
    let schema = Schema::from_str(SCHEMA)?;
    let all = PolicySet::from_str(&text)?;
    let asked: Vec<Asked> = (0..QUESTIONS).map(Asked::draw).collect::<Result<_, _>>()?;

    let mut allowed = Vec::new();
    let typed = timed(&asked, |asked| {
        allowed.push(matches!(ours.judge(&asked.question()), Verdict::Allow { .. }));
        Ok(())
    })?;
    let few = asked.get(..usize::try_from(QUESTIONS_AS_SHIPPED)?).ok_or("too few questions")?;
    let mut agreed = allowed.iter();
    let shipped = timed(few, |asked| {
        let allows = asked.as_shipped(&schema, &all)?;
        if agreed.next() == Some(&allows) { Ok(()) } else { Err("the two disagree".into()) }
    })?;
    let rate = allowed.iter().filter(|allowed| **allowed).count() * 100 / allowed.len().max(1);
    report(ours.len(), rate, typed, shipped);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]
fn report(policies: usize, allowed_percent: usize, typed: Spread, shipped: Spread) {
    println!("{policies} policies, {allowed_percent} % allowed, one thread");
    println!("{:<44} {:>10} {:>10}", "", "p50", "p99");
    println!("{:<44} {:>10.1?} {:>10.1?}", "typed request, indexed, both answers if denied", typed.p50, typed.p99);
    println!("{:<44} {:>10.1?} {:>10.1?}", "Cedar as shipped, request from JSON", shipped.p50, shipped.p99);
}

struct Spread {
    p50: Duration,
    p99: Duration,
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn timed<T>(items: &[T], mut decide: impl FnMut(&T) -> Result<(), Box<dyn Error>>) -> Result<Spread, Box<dyn Error>> {
    let mut taken = Vec::with_capacity(items.len());
    for item in items {
        let start = Instant::now();
        decide(item)?;
        taken.push(start.elapsed());
    }
    taken.sort();
    let at = |percent: usize| taken.get(taken.len() * percent / 100).copied().unwrap_or_default();
    Ok(Spread { p50: at(50), p99: at(99) })
}

/// One thousand policies: eight for each of 120 repositories, 32 freezes, eight guardrails for all.
fn corpus() -> String {
    let verbs = [
        "task.admit",
        "sandbox.start",
        "http.request",
        "proposal.open",
        "proposal.merge",
        "credential.mint",
        "task.enqueue",
        "approval.grant",
    ];
    let of_teams = (0..GROUPS).flat_map(|group| {
        verbs.into_iter().map(move |verb| {
            format!(
                "@id(\"t{group}/{verb}\") @owner(\"team-{group}\") permit (principal is Agent, action == \
                 Action::\"{verb}\", resource in Repository::\"acme/r{group}\") when {{ principal.trust_rank >= 1 && \
                 context.home.sensitivity_rank < 3 && context.run.intent != \"run-command\" }};\n"
            )
        })
    });
    let freezes = (0..32).map(|group| {
        format!(
            "@id(\"freeze-{group}\") @owner(\"release\") forbid (principal, action == Action::\"proposal.merge\", \
             resource in Repository::\"acme/r{group}\") unless {{ context.approved }};\n"
        )
    });
    let guards = (0..8).map(|number| {
        format!(
            "@id(\"guard-{number}\") @owner(\"security\") forbid (principal is Agent, action, resource) when {{ \
             principal.autonomy_rank > 3 || context.run.chain_depth > {} }};\n",
            40 + number
        )
    });
    of_teams.chain(freezes).chain(guards).collect()
}

/// A question, and the same as JSON.
struct Asked {
    subject: Subject,
    order: Description,
    context: Context,
    json: String,
    entities: String,
}

impl Asked {
    fn draw(number: u64) -> Result<Self, Box<dyn Error>> {
        let run = RunId::from_entropy(number);
        let name = AgentName::parse("fixer")?;
        let repo = RepoName::parse(&format!("acme/r{}", number % GROUPS))?;
        let trust = if number.is_multiple_of(4) { Trust::Observe } else { Trust::Propose };
        let host = HostPattern::parse("registry.example").ok_or("host")?;
        let order = HttpRequest {
            run: run.clone(),
            repo: repo.clone(),
            serial: number,
            endpoint: Endpoint { host, port: 443 },
            method: Method::Get,
            path: format!("/api/v1/crates/{number}"),
            query_bytes: 0,
            body_bytes_max: 0,
            credential: None,
            graphql: BTreeSet::new(),
            danger: BTreeSet::new(),
            secrets: Secrets::default(),
        };
        let workload = WorkloadId::new("factory.example", run.clone(), name.clone());
        let grant = Grant {
            trust,
            may: BTreeSet::new(),
            reach: BTreeSet::new(),
            audiences: BTreeSet::new(),
            may_ask: BTreeSet::new(),
            models: BTreeSet::new(),
            tools: BTreeSet::new(),
            loans: BTreeSet::new(),
            until: Time::from_millis(0),
        };
        let owner = Owner::parse("team@acme.example").ok_or("owner")?;
        let (json, entities) = as_json(&order, &workload, trust);
        let autonomy = Autonomy::BoundedAutomation;
        let context = Context {
            run: Some(run),
            intent: Some(Intent::ProposeChange),
            sensitivity: Sensitivity::Internal,
            chain_depth: 0,
            follow_ups_left: 2,
            tainted: false,
            read_sensitive: false,
            lands_unattended: false,
            configuration: Digest::of_parts([]),
        };
        let subject =
            Subject::Agent { workload, name, owner, trust, conduct: Conduct::unseen(autonomy), grant: Box::new(grant) };
        Ok(Self { subject, order: order.describe(), context, json, entities })
    }

    fn question(&self) -> Question<'_> {
        let (subject, order, context) = (&self.subject, &self.order, &self.context);
        Question { subject, order, context, approved: false, risk: risk_of(order.verb) }
    }

    fn as_shipped(&self, schema: &Schema, all: &PolicySet) -> Result<bool, Box<dyn Error>> {
        let action = EntityUid::from_str(r#"Action::"http.request""#)?;
        let context = CedarContext::from_json_str(&self.json, Some((schema, &action)))?;
        let entities = Entities::from_json_str(&self.entities, Some(schema))?;
        let principal = EntityUid::from_str(r#"Agent::"fixer""#)?;
        let resource = EntityUid::from_str(r#"Endpoint::"registry.example:443""#)?;
        let request = Request::new(principal, action, resource, context, Some(schema))?;
        Ok(Authorizer::new().is_authorized(&request, all, &entities).decision() == Decision::Allow)
    }
}

fn as_json(order: &HttpRequest, workload: &WorkloadId, trust: Trust) -> (String, String) {
    let HttpRequest { run, repo, serial, path, .. } = order;
    let rank = if trust == Trust::Observe { 0 } else { 2 };
    let context = format!(
        r#"{{"approved":false,"risk":"medium","risk_rank":1,
           "run":{{"id":"{run}","intent":"propose-change","chain_depth":0,"follow_ups_left":2,"tainted":false,"read_sensitive":false,"configuration":"{}"}},
           "home":{{"sensitivity":"internal","sensitivity_rank":1,"lands_unattended":false}},
           "order":{{"run":"{run}","serial":{serial},"host":"registry.example","port":443,"method":"GET","path":"{path}","query_bytes":0,"body_bytes_max":0,"forge_act":"none","credential":"none","graphql":[],"danger":"none"}}}}"#,
        Digest::of_parts([])
    );
    let entities = format!(
        r#"[{{"uid":{{"type":"Agent","id":"fixer"}},"parents":[],"attrs":{{"owner":"team@acme.example","workload":"{workload}",
            "trust":"{trust}","trust_rank":{rank},"autonomy":"bounded-automation","autonomy_rank":1,
            "registered":"bounded-automation","registered_rank":1,"drifted":false,"departed":false}}}},
           {{"uid":{{"type":"Repository","id":"{repo}"}},"parents":[],"attrs":{{}}}},
           {{"uid":{{"type":"Endpoint","id":"registry.example:443"}},"parents":[{{"type":"Repository","id":"{repo}"}}],"attrs":{{}}}}]"#
    );
    (context, entities)
}
