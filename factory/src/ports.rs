//! What the loop needs of the world, as small traits. Acts that add authority take a permit and nothing else can make one;
//! acts that only take authority away need none and are safe to call twice.

use std::collections::BTreeSet;

pub use selvedge_authority::Clock;
use selvedge_authority::{ActError, Code, Denial, Journal, JournalError, Observation, Permit, Stop};
use selvedge_domain::orders::{
    AdmitTask, BrokeredCall, CheckTree, Delegate, EnqueueTask, GitServed, HttpAnswered, HttpRequest, MergeProposal,
    Merged, MintCredential, Minted, ModelAnswered, ModelCall, OpenProposal, PushGit, Pushed, Ran, ReadGit,
    RequestAccess, StartWork, ToolAnswered, ToolCall, Widened,
};
use selvedge_domain::{
    AgentName, ApprovalId, Autonomy, Ceiling, CheckReport, CommitId, CredentialName, Declared, Digest, Duration,
    Handed, Intent, LeaseId, Loan, May, ModelName, Owner, PartName, Person, PipelineName, ProposalNumber, Reach,
    RepoName, Run, RunId, Sensitivity, Task, Tenure, Time, ToolScope, TreeId, Trigger, TriggerId, Trust, Verified,
};

use crate::access::{Access, nothing_to_ask};
pub use crate::hold::{Asked, Heard, HeldCall, Holdable, Holding, Ruled};

/// Draws random bits.
pub trait Entropy: Sync {
    /// 64 of them.
    fn draw(&self) -> u64;
}

/// Remembers runs, beyond what the funnel asks of a journal.
pub trait Store: Journal {
    /// The run, as its events made it.
    fn load(&self, run: &RunId) -> Result<Run, JournalError>;

    /// Why this run may not go on, when a halt covers it.
    fn halted(&self, run: &Run) -> Result<Option<String>, JournalError>;

    /// What a person answered.
    fn answer(&self, approval: &ApprovalId) -> Result<Answer, JournalError>;
}

/// A person's answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// None so far.
    Pending,
    /// Yes.
    Granted,
    /// No.
    Denied,
    /// It was a question, and this is what they say.
    Words(Reply),
}

/// A person's words on a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Whose.
    pub by: Person,
    /// When.
    pub at: Time,
    /// What they say: data, whoever says it.
    pub words: String,
}

/// Whether an agent is shown a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    /// It is.
    Yes,
    /// Where a person can say yes to a call of it.
    WherePeopleAnswer,
    /// It is not.
    No,
}

/// Knows the agents and the repositories, as the operator configured them.
pub trait Registry: Sync {
    /// The agent with this name.
    fn agent(&self, name: &AgentName) -> Option<Agent>;

    /// The repository with this name.
    fn repository(&self, name: &RepoName) -> Option<Repository>;

    /// The credential with this name.
    fn credential(&self, name: &CredentialName) -> Option<Credential>;

    /// The pipeline with this name; none where nobody configured any.
    fn pipeline(&self, name: &PipelineName) -> Option<Pipeline> {
        let _unknown = name;
        None
    }

    /// Fingerprint of the configuration in force.
    fn configuration(&self) -> Digest;

    /// The trust domain identities are made in.
    fn trust_domain(&self) -> &str;
}

/// A registered worker. Owner, purpose and escalation are not optional (requirement B3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its name.
    pub name: AgentName,
    /// Who answers for it.
    pub owner: Owner,
    /// What it is for.
    pub purpose: String,
    /// Where trouble goes.
    pub escalate: String,
    /// What its tasks are for.
    pub intent: Intent,
    /// How far it may go.
    pub trust: Trust,
    /// What its owner registered it as.
    pub autonomy: Autonomy,
    /// What it may do.
    pub may: BTreeSet<May>,
    /// Where it may reach.
    pub reach: BTreeSet<Reach>,
    /// Where it may ask to reach (requirement E7).
    pub may_ask: BTreeSet<Reach>,
    /// Models it may have answer.
    pub models: BTreeSet<ModelName>,
    /// Tools of brokered servers it may list and call.
    pub tools: BTreeSet<ToolScope>,
    /// For whom it may have an identity.
    pub audiences: BTreeSet<String>,
    /// Credentials its doors may use for it.
    pub loans: BTreeSet<Loan>,
    /// The level of sandbox it needs.
    pub level: String,
    /// How long one attempt, and so its credentials, may last.
    pub attempt_at_most: Duration,
    /// Whether somebody answers for it.
    pub tenure: Tenure,
    /// What it does on the way; what it is seen to do is compared with that (requirement D10).
    pub declared: Declared,
}

/// A configured pipeline: who works on one task, in which order (requirement A5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    /// Its name.
    pub name: PipelineName,
    /// Fingerprint of all of it.
    pub definition: Digest,
    /// Its parts, in order.
    pub parts: Vec<PipelinePart>,
}

/// One part of a configured pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelinePart {
    /// What it is called.
    pub name: PartName,
    /// Who works on it.
    pub agent: AgentName,
    /// Whether it says yes or no to the change of the part before it.
    pub reviews: bool,
}

/// A configured credential. Whoever owns it answers for it when it leaks (requirement B6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its name.
    pub name: CredentialName,
    /// Who answers for it.
    pub owner: Owner,
    /// Whether it is a key that is stored, and lives on when a run has ended.
    pub is_stored: bool,
    /// How long it may be lent.
    pub lent_at_most: Duration,
    /// Whether somebody answers for its key.
    pub tenure: Tenure,
    /// Why it cannot be lent as things are, and what to do, so that no person is asked in vain; none when it can.
    pub unlent: Option<String>,
}

/// A repository the factory looks after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Its name.
    pub name: RepoName,
    /// The branch proposals are meant for.
    pub target: String,
    /// How sensitive it is.
    pub sensitivity: Sensitivity,
    /// Whether it may land without a person.
    pub lands_unattended: bool,
    /// How long a chain of follow-ups may get.
    pub chain_depth_max: u32,
    /// How long a person has to answer.
    pub approval_within: Duration,
    /// How long a turn is held for a person; no time at all, and none is.
    pub hold_at_most: Duration,
}

/// Lends credentials and takes them back.
pub trait Lender: Sync {
    /// Makes the credential and keeps it for the run's doors.
    fn mint(&self, permit: &Permit<MintCredential>) -> Result<Minted, ActError>;

    /// Revokes and probes. Also for a lease whose mint was never answered. Safe to repeat.
    fn take_back(&self, lease: &LeaseId) -> TakenBack;
}

/// What taking a lease back came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TakenBack {
    /// A probe says it is dead.
    Dead,
    /// Nothing can revoke it, and it has not expired yet. Nothing failed: it dies by itself.
    Expires {
        /// When.
        at: Time,
    },
    /// It may still work somewhere.
    Stuck {
        /// Why.
        because: String,
    },
}

/// Runs agents and checks.
pub trait Workplace: Sync {
    /// Runs the agent to its end and collects what it left. Every request at a door goes through `doors`.
    fn work(&self, permit: &Permit<StartWork>, task: &Task, doors: &dyn Doorkeeper) -> Result<Ran, ActError>;

    /// Runs the base's checks on a recorded tree, in a fresh sandbox without credentials.
    fn check(&self, permit: &Permit<CheckTree>, doors: &dyn Doorkeeper) -> Result<CheckReport, ActError>;

    /// Kills whatever is left of the run and closes its doors; says what was found. Safe to repeat.
    fn kill(&self, run: &RunId) -> Option<String>;
}

/// A credential was not made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unrenewed {
    /// Why, in words for the agent: nothing of a provider's.
    pub because: String,
    /// Whether asking again is of any use.
    pub again: Again,
}

/// Whether asking again is of any use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// It may work later.
    Later,
    /// Not in this attempt.
    Never,
}

impl Unrenewed {
    /// It may work later.
    pub(crate) fn for_now(because: &str) -> Self {
        Self { because: because.to_owned(), again: Again::Later }
    }

    /// It will not in this attempt.
    pub(crate) fn for_good(because: &str) -> Self {
        Self { because: because.to_owned(), again: Again::Never }
    }
}

/// What a run wants a child for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildWish {
    /// Which agent is to do it.
    pub agent: AgentName,
    /// What it is to do, in the asker's words.
    pub text: String,
    /// What it is given, all of it the asker's own.
    pub handed: Handed,
}

/// Answers the doors of one run.
pub trait Doorkeeper: Sync {
    /// May this request go out? The caller forwards it only on `Ok`, and then reports with [`Self::answered`].
    fn ask(&self, request: HttpRequest) -> Result<(), Denial>;

    /// The request with this serial number came to this.
    fn answered(&self, serial: u64, answer: HttpAnswered);

    /// Lends the run an identity document for this audience, under a lease that nobody used before. The secret stays with
    /// the lender, to be fetched under the lease. Nothing is lent by a doorkeeper that does not say how.
    fn lend(&self, lease: &LeaseId, audience: &str) -> Result<Minted, Denial> {
        let _unlent = (lease, audience);
        let next_step = "this sandbox has no identity to ask for; work without it".to_owned();
        Err(Denial { code: Code::OutsideGrant, policies: Vec::new(), next_step })
    }

    /// Hands on a part of what the run holds, if it may; `sign` runs at most once, after the order's lease was announced.
    /// Nothing is handed on by a doorkeeper that does not say how.
    fn delegate(
        &self,
        order: Delegate,
        sign: &mut dyn FnMut(&Permit<Delegate>) -> Result<Minted, ActError>,
    ) -> Result<Minted, Denial> {
        let _unsigned = (order, sign);
        let next_step = "this sandbox has nothing to hand on; work without it".to_owned();
        Err(Denial { code: Code::OutsideGrant, policies: Vec::new(), next_step })
    }

    /// Queues a child that has a part of what the run holds, if it may; it is taken on, and works, like any other run. Nothing
    /// is queued by a doorkeeper that does not say how.
    fn child(&self, wish: ChildWish) -> Result<TriggerId, Denial> {
        let _unqueued = wish;
        let next_step = "this sandbox has nothing to give to a child; work without one".to_owned();
        Err(Denial { code: Code::OutsideGrant, policies: Vec::new(), next_step })
    }

    /// Lets the run reach more, if it may; `widen` runs at most once, and what it widens is asked by requests from then on.
    /// Nothing is given by a doorkeeper that does not say how.
    fn request_access(
        &self,
        order: RequestAccess,
        widen: &mut dyn FnMut(&Permit<RequestAccess>) -> Result<Widened, ActError>,
    ) -> Result<Access, Denial> {
        let _ungiven = (order, widen);
        Err(nothing_to_ask())
    }

    /// May this call of a model go out? The caller sends it only on `Ok`, and then reports with [`Self::model_answered`]. None does
    /// by a doorkeeper that does not say how.
    fn call_model(&self, call: ModelCall) -> Result<(), Denial> {
        let _uncalled = call;
        Err(no_model())
    }

    /// The call of a model with this serial number came to this.
    fn model_answered(&self, serial: u64, answer: ModelAnswered) {
        let _uncalled = (serial, answer);
    }

    /// May the agent have this tool call? None may by a doorkeeper that does not say how.
    fn call_tool(&self, call: ToolCall) -> Result<(), Denial> {
        let _uncalled = call;
        Err(no_model())
    }

    /// How a turn of this sandbox is held for people; none where none is.
    fn holding(&self) -> Option<&dyn Holding> {
        None
    }

    /// May this go to a tool server? The caller sends it only on `Ok`, and then reports with [`Self::server_answered`]. Nothing does by a
    /// doorkeeper that does not say how.
    fn call_server(&self, call: BrokeredCall) -> Result<(), Denial> {
        let _uncalled = call;
        Err(no_tools())
    }

    /// The call of a tool server with this serial number came to this.
    fn server_answered(&self, serial: u64, answer: ToolAnswered) {
        let _uncalled = (serial, answer);
    }

    /// Is the agent shown this tool? Nothing follows from it but that.
    fn shows(&self, call: &BrokeredCall) -> Shows {
        let _unshown = call;
        Shows::No
    }

    /// Whoever answers for the sandbox of a tool server that works for this run: its requests, within this reach, and nothing else. None
    /// by a doorkeeper that does not say who.
    fn beside(&self, reach: BTreeSet<Reach>) -> Option<Box<dyn Doorkeeper + '_>> {
        let _unanswered = reach;
        None
    }

    /// Makes a credential anew for a door that has one of it that is about to end, under a lease of its own. The secret stays
    /// with the lender, to be fetched for the door; the lease before is the caller's to [retire](Self::retire). Nothing is
    /// renewed by a doorkeeper that does not say how.
    fn renew(&self, credential: &CredentialName) -> Result<Minted, Unrenewed> {
        let _unrenewed = credential;
        Err(Unrenewed::for_good("this sandbox is lent nothing"))
    }

    /// Ends a lease that no door uses any more, while its run goes on, and records that it is dead. Whether it is: what may
    /// still live is ended with the run's other leases.
    fn retire(&self, credential: &CredentialName, lease: &LeaseId) -> bool {
        let _unknown = (credential, lease);
        false
    }

    /// Serves the run's repository, if it may be; `serve` runs at most once.
    fn read_git(
        &self,
        order: ReadGit,
        serve: &mut dyn FnMut(&Permit<ReadGit>) -> Result<GitServed, ActError>,
    ) -> Result<GitServed, Stop>;

    /// Moves the run's branch, if it may be; `land` runs at most once.
    fn push_git(
        &self,
        order: PushGit,
        land: &mut dyn FnMut(&Permit<PushGit>) -> Result<Pushed, ActError>,
    ) -> Result<Pushed, Stop>;

    /// Something was seen.
    fn saw(&self, observation: Observation);
}

/// What a sandbox without a model is told.
fn no_model() -> Denial {
    let next_step = "this sandbox has no model to ask; work without one".to_owned();
    Denial { code: Code::OutsideGrant, policies: Vec::new(), next_step }
}

/// What a sandbox without tool servers is told.
fn no_tools() -> Denial {
    let next_step = "this sandbox has no tool servers; work without one".to_owned();
    Denial { code: Code::OutsideGrant, policies: Vec::new(), next_step }
}

/// Keeps repositories and proposals.
pub trait Repositories: Sync {
    /// The commit the task starts from, frozen now.
    fn base(&self, permit: &Permit<AdmitTask>) -> Result<CommitId, ActError>;

    /// The tree of a commit.
    fn tree_of(&self, repo: &RepoName, commit: &CommitId) -> Result<TreeId, ActError>;

    /// How a verified commit would be offered: texts templated by us, paths from the objects themselves.
    fn offer(&self, task: &Task, summary: &str, verified: &Verified) -> Result<Offer, ActError>;

    /// Opens the proposal; the same permit twice opens it once.
    fn propose(&self, permit: &Permit<OpenProposal>) -> Result<ProposalNumber, ActError>;

    /// Merges a proposal at exactly the head that was reviewed; the same permit twice merges once.
    fn merge(&self, permit: &Permit<MergeProposal>) -> Result<Merged, ActError>;
}

/// A proposal, before anyone was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its title.
    pub title: String,
    /// Its body.
    pub body: String,
    /// The paths it changes.
    pub paths: Vec<String>,
    /// Those that run elsewhere later.
    pub executes_elsewhere: Vec<String>,
    /// Those that alter what judges changes, and were not judged with. Bounded.
    pub changes_gate: Vec<String>,
    /// Secrets seen in it: kind and place, never the secret. Any of them holds the run (requirement C7).
    pub secrets: Vec<String>,
}

/// Takes follow-ups.
pub trait Queue: Sync {
    /// Queues the trigger; the same trigger twice is queued once.
    fn enqueue(&self, permit: &Permit<EnqueueTask>) -> Result<TriggerId, ActError>;
}

impl Agent {
    /// This agent as it may work on `trigger`: what lies both in its configuration and in what a run of the chain handed on when
    /// it asked for a child (requirement B4).
    #[must_use]
    pub fn within(self, trigger: &Trigger) -> Self {
        let trust = self.trust_for(trigger);
        let Some(handed) = &trigger.lineage.within else { return Self { trust, ..self } };
        let own = Ceiling { trust, may: self.may, reach: self.reach, audiences: self.audiences, loans: self.loans };
        let Ceiling { trust, may, reach, audiences, loans } = own.meet(&handed.ceiling);
        // A child asks for no more than it was handed (E7).
        Self {
            trust,
            may,
            reach,
            audiences,
            loans,
            may_ask: BTreeSet::new(),
            models: BTreeSet::new(),
            tools: BTreeSet::new(),
            ..self
        }
    }

    /// How far this agent may go for this trigger: the lower of what was granted and what its lineage allows.
    pub fn trust_for(&self, trigger: &Trigger) -> Trust {
        self.trust.min(trigger.lineage.ceiling)
    }
}
