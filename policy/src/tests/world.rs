//! A small world to ask questions in: subjects, circumstances and real orders.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_authority::{Code, Context, Judge as _, PolicyName, Question, Subject, Verdict, risk_of};
use selvedge_domain::orders::{
    AdmitTask, AnswerQuestion, AskPerson, BrokeredCall, CheckTree, Delegate, EnqueueTask, GrantApproval, HttpRequest,
    MergeProposal, MintCredential, ModelCall, OpenProposal, PushGit, ReadGit, RequestAccess, ServerTool, StartWork,
    ToolCall, UseSecret,
};
use selvedge_domain::{
    Actor, AgentName, ApprovalId, Authorship, Autonomy, Ceiling, CheckReport, CommitId, Conduct, CredentialName,
    Description, Digest, Endpoint, Grant, Handed, HostPattern, Intent, LeaseId, Lineage, Method, ModelName, Order as _,
    Owner, Part, PartName, Person, PipelineName, ProposalNumber, Reach, RepoName, Resource, ResourceKind, Risk, Run,
    RunId, Secrets, Seen, Sensitivity, ServerName, Tenure, TestName, Time, ToolName, ToolScope, TreeId, Trigger,
    TriggerId, TriggerSource, Trust, Verb, Verified, WorkloadId,
};

use crate::Policies;

pub(crate) fn repo() -> RepoName {
    RepoName::parse("acme/shop").unwrap()
}

pub(crate) fn run() -> RunId {
    RunId::from_entropy(1)
}

pub(crate) fn agent(trust: Trust, autonomy: Autonomy) -> Subject {
    let name = AgentName::parse("fixer").unwrap();
    Subject::Agent {
        workload: WorkloadId::new("factory.example", run(), name.clone()),
        name,
        owner: Owner::parse("team-shop@acme.example").unwrap(),
        trust,
        conduct: Conduct::unseen(autonomy),
        grant: Box::new(grant(trust)),
    }
}

/// An agent that was seen to be more than it is registered as.
pub(crate) fn drifted(trust: Trust, registered: Autonomy, seen: Autonomy) -> Subject {
    agent(trust, registered).as_seen(Seen { autonomy: Some(seen), ..Seen::default() })
}

pub(crate) fn fixer() -> Subject {
    agent(Trust::Propose, Autonomy::BoundedAutomation)
}

pub(crate) fn person() -> Subject {
    Subject::Person(Person::from_uid(1000))
}

fn grant(trust: Trust) -> Grant {
    let until = Time::from_millis(1_000_000);
    Grant {
        trust,
        may: BTreeSet::new(),
        reach: BTreeSet::new(),
        audiences: BTreeSet::new(),
        may_ask: BTreeSet::new(),
        models: BTreeSet::new(),
        tools: BTreeSet::new(),
        loans: BTreeSet::new(),
        until,
    }
}

pub(crate) fn plain() -> Context {
    Context {
        run: Some(run()),
        intent: Some(Intent::ProposeChange),
        sensitivity: Sensitivity::Internal,
        chain_depth: 0,
        follow_ups_left: 2,
        tainted: false,
        read_sensitive: false,
        lands_unattended: false,
        configuration: Digest::of_parts([b"configuration".as_slice()]),
    }
}

pub(crate) fn trigger() -> Trigger {
    Trigger {
        id: TriggerId::from_entropy(2),
        source: TriggerSource::Command,
        by: Actor::Person(Person::from_uid(1000)),
        repo: repo(),
        agent: AgentName::parse("fixer").unwrap(),
        text: "please fix \"it\"\n; forbid".to_owned(),
        argv: vec!["make".to_owned(), "test".to_owned(), "test".to_owned()],
        lineage: Lineage::outside(),
    }
}

pub(crate) fn admit() -> Description {
    admit_for(Tenure::Active)
}

/// For an agent that stands like this.
pub(crate) fn admit_for(tenure: Tenure) -> Description {
    let declared = vec!["runs cargo".to_owned(), "writes src/**".to_owned()];
    AdmitTask { trigger: trigger(), intent: Intent::ProposeChange, tenure, declared }.describe()
}

pub(crate) fn enqueue(depth: usize) -> Description {
    let mut trigger = trigger();
    for entropy in 0..depth {
        let run = RunId::from_entropy(u64::try_from(entropy).unwrap());
        trigger.lineage = trigger.lineage.child(&run, &trigger.agent, Trust::Propose);
    }
    EnqueueTask { trigger }.describe()
}

/// A child, to which authority was handed on this often.
pub(crate) fn child(depth: u32) -> Description {
    let mut trigger = handed_on(depth);
    trigger.source = TriggerSource::Child;
    EnqueueTask { trigger }.describe()
}

/// What a child leaves for later.
pub(crate) fn enqueue_of_a_child() -> Description {
    let mut trigger = handed_on(1);
    trigger.source = TriggerSource::FollowUp;
    EnqueueTask { trigger }.describe()
}

pub(crate) fn admit_child() -> Description {
    let mut trigger = handed_on(1);
    trigger.source = TriggerSource::Child;
    let (tenure, declared) = (Tenure::Active, Vec::new());
    AdmitTask { trigger, intent: Intent::ProposeChange, tenure, declared }.describe()
}

/// The last stage of a pipeline, after one by this agent.
pub(crate) fn admit_review(author: &str) -> Description {
    AdmitTask { declared: Vec::new(), trigger: review(author), intent: Intent::ProposeChange, tenure: Tenure::Active }
        .describe()
}

pub(crate) fn enqueue_stage() -> Description {
    EnqueueTask { trigger: review("author") }.describe()
}

fn review(author: &str) -> Trigger {
    let part = Part {
        pipeline: PipelineName::parse("fix").unwrap(),
        definition: Digest::of_parts([b"fix".as_slice()]),
        name: PartName::parse("review").unwrap(),
        number: 2,
        of: 2,
        reviews: true,
    };
    let agent = AgentName::parse(author).unwrap();
    let lineage = Run::begin(run(), Trigger { agent, ..trigger() }).begets_part(part);
    Trigger { argv: Vec::new(), source: TriggerSource::Stage, lineage, ..trigger() }
}

fn handed_on(depth: u32) -> Trigger {
    let mut trigger = trigger();
    trigger.lineage = trigger.lineage.child(&run(), &trigger.agent, Trust::Propose);
    let ceiling = Ceiling::from(&grant(Trust::Draft));
    trigger.lineage.within = Some(Box::new(Handed { ceiling, depth, budget: 0 }));
    trigger
}

pub(crate) fn mint(ttl_seconds: u64) -> Description {
    mint_for("registry.example", ttl_seconds)
}

pub(crate) fn mint_for(audience: &str, ttl_seconds: u64) -> Description {
    let (lease, audience, until) = (LeaseId::from_entropy(3), audience.to_owned(), Time::from_millis(9));
    let (credential, uses, is_stored) = (None, Vec::new(), false);
    let tenure = Tenure::Active;
    MintCredential {
        lease,
        run: run(),
        repo: repo(),
        credential,
        audience,
        uses,
        is_stored,
        until,
        ttl_seconds,
        tenure,
    }
    .describe()
}

/// A configured credential that stands like this, or an identity document of an agent that does.
pub(crate) fn mint_standing(credential: Option<CredentialName>, tenure: Tenure) -> Description {
    let (lease, until) = (LeaseId::from_entropy(3), Time::from_millis(9));
    let audience = if credential.is_some() { "" } else { "selvedge" }.to_owned();
    let (uses, is_stored, ttl_seconds) = (Vec::new(), false, 900);
    MintCredential {
        lease,
        run: run(),
        repo: repo(),
        credential,
        audience,
        uses,
        is_stored,
        until,
        ttl_seconds,
        tenure,
    }
    .describe()
}

pub(crate) fn delegate(ttl_seconds: u64) -> Description {
    let to = WorkloadId::new("factory.example", RunId::from_entropy(2), AgentName::parse("reader").unwrap());
    let (lease, audience, grant) = (LeaseId::from_entropy(3), "cloud".to_owned(), grant(Trust::Observe));
    Delegate {
        lease,
        from: LeaseId::from_entropy(4),
        run: run(),
        repo: repo(),
        to,
        audience,
        grant,
        ttl_seconds,
        depth: 1,
        budget: 0,
    }
    .describe()
}

/// A rule that an attempt asks to reach too.
pub(crate) fn access() -> Description {
    let endpoint = Endpoint { host: HostPattern::parse("docs.example").unwrap(), port: 443 };
    let reach = Reach { endpoint, methods: [Method::Get].into(), path_prefix: "/guide".to_owned() };
    RequestAccess { run: run(), repo: repo(), attempt: 1, reach, reason: "the guide\"; permit".to_owned() }.describe()
}

/// A call of a model that may cost as much as is left.
pub(crate) fn model_call() -> ModelCall {
    ModelCall {
        run: run(),
        repo: repo(),
        serial: 1,
        model: ModelName::parse("main").unwrap(),
        asked: "claude-sonnet-4-5\"; permit".to_owned(),
        endpoint: Endpoint { host: HostPattern::parse("models.example").unwrap(), port: 443 },
        protocol: "anthropic-messages".to_owned(),
        request_bytes: 40_000,
        tools: 12,
        egress: Vec::new(),
        price_since: "2026-11-01".to_owned(),
        reserves: 5_000,
        budget_left: 5_000,
        credential: Some(credential()),
    }
}

/// A tool call of an agent.
pub(crate) fn tool_call() -> ToolCall {
    ToolCall {
        run: run(),
        repo: repo(),
        serial: 1,
        index: 0,
        tool: "Write".to_owned(),
        kind: "edit".to_owned(),
        command: String::new(),
        paths: vec!["src/lib.rs".to_owned()],
        steers: Vec::new(),
        addresses: Vec::new(),
        values: Vec::new(),
        arguments: Digest::of_parts([b"{}".as_slice()]),
        argument_bytes: 2,
        of_server: None,
        secrets: Secrets::default(),
    }
}

/// What a model writes of a brokered tool.
pub(crate) fn call_of_server(risk: Risk) -> Description {
    let BrokeredCall { scope, risk, values, .. } = brokered_call(risk);
    let of_server = Some(ServerTool { scope, risk });
    let (tool, kind) = ("mcp__tracker__search".to_owned(), "other".to_owned());
    ToolCall { tool, kind, paths: Vec::new(), values, of_server, ..tool_call() }.describe()
}

pub(crate) fn ask_person() -> Description {
    AskPerson { run: run(), repo: repo(), serial: 1, question: "Which one\"; permit?".to_owned() }.describe()
}

pub(crate) fn answer(by_requester: bool) -> Description {
    AnswerQuestion {
        approval: ApprovalId::from_entropy(4),
        run: run(),
        repo: repo(),
        order: Digest::of_parts([]),
        answer: "The first.".to_owned(),
        by: Person::from_uid(1000),
        by_requester,
    }
    .describe()
}

/// A call of a brokered tool.
pub(crate) fn brokered_call(risk: Risk) -> BrokeredCall {
    BrokeredCall {
        run: run(),
        repo: repo(),
        serial: 1,
        scope: ToolScope::Call {
            server: ServerName::parse("tracker").unwrap(),
            tool: ToolName::parse("search").unwrap(),
            described: Digest::of_parts([b"search".as_slice()]),
        },
        risk,
        command: String::new(),
        paths: Vec::new(),
        addresses: Vec::new(),
        values: vec!["query=a\"; permit".to_owned()],
        arguments: Digest::of_parts([b"{}".as_slice()]),
        argument_bytes: 2,
        credential: None,
        host: None,
        request_bytes_max: 0,
        secrets: Secrets::default(),
    }
}

pub(crate) fn credential() -> CredentialName {
    CredentialName::parse("crates").unwrap()
}

pub(crate) fn borrow(ttl_seconds: u64) -> Description {
    borrow_standing(ttl_seconds, Tenure::Active)
}

/// A stored key that stands like this.
pub(crate) fn borrow_standing(ttl_seconds: u64, tenure: Tenure) -> Description {
    UseSecret { run: run(), repo: repo(), credential: credential(), uses: Vec::new(), ttl_seconds, tenure }.describe()
}

fn commit(letter: &str) -> CommitId {
    CommitId::parse(&letter.repeat(40)).unwrap()
}

pub(crate) fn work() -> Description {
    StartWork {
        run: run(),
        attempt: 1,
        repo: repo(),
        agent: AgentName::parse("fixer").unwrap(),
        base: commit("a"),
        grant: grant(Trust::Propose),
        level: "full".to_owned(),
        configuration: Digest::of_parts([]),
    }
    .describe()
}

pub(crate) fn check() -> Description {
    let tree = TreeId::parse(&"b".repeat(40)).unwrap();
    CheckTree { run: run(), repo: repo(), tree, base: commit("a") }.describe()
}

pub(crate) fn http(method: Method, path: &str) -> Description {
    let endpoint = Endpoint { host: HostPattern::parse("registry.example").unwrap(), port: 443 };
    let path = path.to_owned();
    let (run, repo, serial, query_bytes, body_bytes_max, credential) = (run(), repo(), 1, 0, 0, None);
    let (graphql, danger, secrets) = (BTreeSet::new(), BTreeSet::new(), Secrets::default());
    HttpRequest {
        run,
        repo,
        serial,
        endpoint,
        method,
        path,
        query_bytes,
        body_bytes_max,
        credential,
        graphql,
        danger,
        secrets,
    }
    .describe()
}

pub(crate) fn read_git() -> Description {
    ReadGit { run: run(), repo: repo(), serial: 1, base: commit("a"), request_bytes: 0 }.describe()
}

pub(crate) fn push_git() -> Description {
    push(&[], &[])
}

/// A push whose commits touch these workflows, and add these secrets.
pub(crate) fn push(automation: &[&str], secrets: &[&str]) -> Description {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    PushGit {
        run: run(),
        repo: repo(),
        reference: format!("refs/heads/selvedge/{}", run()),
        old: None,
        new: commit("c"),
        commits: 1,
        pack_bytes: 100,
        paths: vec!["src/lib.rs".to_owned()],
        automation: texts(automation),
        secrets: texts(secrets),
    }
    .describe()
}

fn report(tests: usize) -> CheckReport {
    let names = (0..tests).map(|n| (TestName::from_output(&format!("test {n}")), true));
    CheckReport {
        tree: TreeId::parse(&"b".repeat(40)).unwrap(),
        commands: 1,
        failed: None,
        tests: (tests > 0).then(|| names.collect::<BTreeMap<_, _>>()),
    }
}

/// `tests` that were counted; 0 means that they could not be.
pub(crate) fn propose(tests: usize, executes_elsewhere: &[&str]) -> Description {
    proposal(tests, executes_elsewhere, &[]).describe()
}

/// One whose change alters these files of the gate.
pub(crate) fn propose_with_gate(changes_gate: &[&str]) -> Description {
    proposal(3, &[], changes_gate).describe()
}

/// One whose run was seen to do this, and not declared to.
pub(crate) fn propose_beyond(undeclared: &[&str]) -> Description {
    let undeclared = undeclared.iter().map(|words| (*words).to_owned()).collect();
    OpenProposal { undeclared, ..proposal(3, &[], &[]) }.describe()
}

/// One that a reviewing stage offers, of which this is known of the author.
pub(crate) fn propose_made_by(author: Authorship) -> Description {
    OpenProposal { author, ..proposal(3, &[], &[]) }.describe()
}

fn proposal(tests: usize, executes_elsewhere: &[&str], changes_gate: &[&str]) -> OpenProposal {
    let verified = Verified::judge(commit("c"), commit("a"), &report(tests), &report(tests)).unwrap();
    OpenProposal {
        run: run(),
        repo: repo(),
        verified,
        target: "main".to_owned(),
        title: "a title".to_owned(),
        body: "a body".to_owned(),
        paths: vec!["src/lib.rs".to_owned()],
        executes_elsewhere: executes_elsewhere.iter().map(|path| (*path).to_owned()).collect(),
        changes_gate: changes_gate.iter().map(|path| (*path).to_owned()).collect(),
        undeclared: Vec::new(),
        author: Authorship::default(),
    }
}

pub(crate) fn merge_own() -> Description {
    merge(true)
}

pub(crate) fn merge_others() -> Description {
    merge(false)
}

fn merge(asked_by_author: bool) -> Description {
    let (number, target) = (ProposalNumber::new(7), "main".to_owned());
    MergeProposal { repo: repo(), number, run: run(), head: commit("c"), target, asked_by_author }.describe()
}

pub(crate) fn approve_own() -> Description {
    approve(true)
}

pub(crate) fn approve_others() -> Description {
    approve(false)
}

fn approve(by_requester: bool) -> Description {
    GrantApproval {
        approval: ApprovalId::from_entropy(4),
        run: run(),
        order: Digest::of_parts([]),
        verb: Verb::ProposalOpen,
        by: Person::from_uid(1000),
        until: Time::from_millis(9),
        repo: repo(),
        by_requester,
    }
    .describe()
}

/// An order whose facts are not typed yet.
pub(crate) fn untyped(verb: Verb) -> Description {
    let kind = match verb {
        Verb::ModelCall => ResourceKind::Endpoint,
        Verb::ProposalClose => ResourceKind::Proposal,
        _ => ResourceKind::Repository,
    };
    let name = if kind == ResourceKind::Repository { repo().to_string() } else { "it".to_owned() };
    Description { verb, resource: Resource { kind, name, repo: repo() }, fields: Vec::new() }
}

/// One order of every verb: typed orders as they are, the rest bare.
pub(crate) fn one_of_each_verb() -> Vec<Description> {
    let typed = vec![
        admit(),
        enqueue(1),
        mint(900),
        work(),
        check(),
        http(Method::Get, "/"),
        propose(3, &[]),
        merge_others(),
        approve_others(),
        borrow(900),
        read_git(),
        push_git(),
        delegate(300),
        child(1),
        enqueue_of_a_child(),
        admit_child(),
        enqueue_stage(),
        admit_review("author"),
        access(),
        model_call().describe(),
        tool_call().describe(),
        call_of_server(Risk::Medium),
        brokered_call(Risk::Medium).describe(),
        ask_person(),
        answer(true),
    ];
    let bare = Verb::ALL.iter().filter(|verb| !typed.iter().any(|order| order.verb == **verb));
    let bare: Vec<Description> = bare.map(|verb| untyped(*verb)).collect();
    typed.into_iter().chain(bare).collect()
}

pub(crate) fn question<'a>(subject: &'a Subject, order: &'a Description, context: &'a Context) -> Question<'a> {
    Question { subject, order, context, approved: false, risk: risk_of(order.verb) }
}

pub(crate) fn judge(policies: &Policies, subject: &Subject, order: &Description, context: &Context) -> Verdict {
    policies.judge(&question(subject, order, context))
}

pub(crate) fn load(text: &str) -> Policies {
    Policies::from_sources(vec![("test.cedar".to_owned(), text.to_owned())]).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn code(verdict: &Verdict) -> Option<Code> {
    match verdict {
        Verdict::Allow { .. } => None,
        Verdict::Deny(denial) | Verdict::NeedsApproval(denial) => Some(denial.code),
    }
}

pub(crate) fn names(names: &[PolicyName]) -> Vec<&str> {
    names.iter().map(PolicyName::as_str).collect()
}
