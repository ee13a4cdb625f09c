//! What is recorded. One list for the whole factory, so that an auditor reads one log.

use selvedge_domain::{
    Actor, AgentName, ApprovalId, Behaviour, CredentialName, Deed, Description, Digest, Event, LeaseId, Owner,
    RepoName, RunId, SideEffects, TenureChange, Time, ToldCall, Trigger, TriggerId, Verb, Vouchee,
};

use crate::Verdict;

/// One line of the log: what, in which run, by whom, and who answers for it (requirements G1, G6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When, by the factory's clock.
    pub at: Time,
    /// In which run.
    pub run: Option<RunId>,
    /// By whom.
    pub actor: Actor,
    /// Who answers for the actor; none for a person, who answers for themselves, and for the factory.
    pub owner: Option<Owner>,
    /// What.
    pub record: Record,
}

/// What can be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A trigger arrived and was queued.
    Triggered(Box<Trigger>),
    /// A run began to serve a trigger.
    RunBegan {
        /// Which trigger.
        trigger: TriggerId,
    },
    /// Something happened to a run.
    Happened(Event),
    /// A question was answered.
    Decided {
        /// The order, laid open.
        order: Description,
        /// The answer.
        verdict: Verdict,
        /// The approval it rests on.
        approval: Option<ApprovalId>,
    },
    /// An order was carried out.
    Done {
        /// The order's fingerprint.
        order: Digest,
        /// Its verb.
        verb: Verb,
        /// What it came to.
        deed: Deed,
    },
    /// An order was allowed and could not be carried out.
    NotDone {
        /// The order's fingerprint.
        order: Digest,
        /// Its verb.
        verb: Verb,
        /// Why not.
        because: String,
    },
    /// A person is asked for their yes.
    ApprovalAsked {
        /// Which request.
        approval: ApprovalId,
        /// The order, laid open.
        order: Description,
        /// When the request lapses; a lapse is a no.
        until: Time,
    },
    /// A person said no.
    ApprovalDenied {
        /// Which request.
        approval: ApprovalId,
    },
    /// A turn of an agent stands still until people have answered, or goes on (requirement C8).
    Held(Hold),
    /// Authority was taken away. Needs no permit, and is recorded afterwards.
    Relinquished(Relinquished),
    /// Something was seen inside a sandbox or at a door.
    Observed(Observation),
    /// A keeper took the state directory over.
    KeeperStarted {
        /// The version that runs.
        version: String,
        /// Fingerprint of the configuration.
        configuration: Digest,
        /// Fingerprint of the policies; none when they do not load, and then nothing is allowed.
        policies: Option<Digest>,
    },
    /// A person stored or removed the key of a configured credential.
    KeyChanged {
        /// Which credential.
        credential: CredentialName,
        /// What happened to its key.
        change: KeyChange,
    },
    /// A person vouched for what stands when no run does, or said that whoever answered for it has left (requirement B6).
    TenureChanged {
        /// Whom or what it is about.
        of: Vouchee,
        /// Who answered for it then.
        owner: Owner,
        /// What they said.
        change: TenureChange,
    },
    /// What a run of an agent came to, and what that means for the agent (requirements B5, G8).
    Behaved {
        /// Which agent.
        agent: AgentName,
        /// What.
        behaviour: Behaviour,
    },
    /// The operator changed the policies or the configuration, and from here on the new ones decide (requirement D12).
    RulesChanged {
        /// Fingerprint of the configuration in force.
        configuration: Digest,
        /// Fingerprint of the policies in force; none when they do not load, and then nothing is allowed.
        policies: Option<Digest>,
    },
}

/// What happens to a stored key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyChange {
    /// It was stored, in place of an earlier one.
    Stored,
    /// An App was made, and the key that came with it stored.
    Made {
        /// The App's number at its forge.
        app: u64,
    },
    /// It was removed.
    Removed,
}

/// What becomes of a turn that waits for people inside an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// The sandbox is frozen, and what it was lent is taken back.
    Began {
        /// What people are asked: whoever answers all of it ends the hold.
        approvals: Vec<ApprovalId>,
        /// When it ends at the latest, and what nobody answered is denied.
        until: Time,
    },
    /// A request came to an end without an answer that counts; one that comes now changes nothing.
    Lapsed {
        /// Which request.
        approval: ApprovalId,
        /// Why.
        lapse: Lapse,
    },
    /// The sandbox goes on.
    Ended,
}

/// Why a request came to its end without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lapse {
    /// Nobody answered in time.
    TimedOut,
    /// The hold was ended otherwise.
    Ended {
        /// How.
        because: String,
    },
}

/// Acts that only take authority away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relinquished {
    /// Dispatch stopped and everything in scope was killed.
    Halted(HaltScope),
    /// Dispatch goes on.
    Resumed(HaltScope),
    /// A sandbox was killed and found empty.
    SandboxKilled {
        /// What was found to kill.
        found: String,
    },
    /// The run's doors closed.
    DoorsClosed,
    /// A credential was withdrawn from a run, which goes on without it.
    Withdrawn {
        /// Which.
        credential: CredentialName,
        /// Under which lease it was lent.
        lease: LeaseId,
    },
}

/// How far a halt reaches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HaltScope {
    /// Everything.
    All,
    /// One agent's runs.
    Agent(AgentName),
    /// One repository's runs.
    Repo(RepoName),
    /// One run.
    Run(RunId),
}

/// What was seen. Never permitted one by one; bounded in number by whoever observes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// A sandbox started with these layers.
    SandboxStarted {
        /// The level demanded and met.
        level: String,
        /// Each layer, and the proof that it holds.
        layers: Vec<String>,
        /// What mounts and namespaces make unreachable, listed once.
        unreachable: Vec<String>,
    },
    /// A system call that seccomp refused.
    CallRefused {
        /// The call.
        call: String,
        /// How often since the last report.
        count: u64,
    },
    /// Something a door refused by itself.
    DoorRefused {
        /// Which door.
        door: String,
        /// Why, as a stable code.
        code: String,
        /// What was asked, bounded and escaped.
        detail: String,
        /// How often since the last report.
        count: u64,
    },
    /// A sandbox ended.
    SandboxEnded {
        /// What it was for.
        purpose: String,
        /// How.
        exit: String,
        /// Bytes of output.
        output_bytes: u64,
    },
    /// What an attempt did in its sandbox, seen without its help (requirement E2).
    SideEffects(Box<SideEffects>),
    /// A program opened a file that is sensitive. What it then did with it is not known, so it counts as read.
    SensitiveRead {
        /// Where, in the workspace.
        path: String,
    },
    /// What an attempt's agent says of its tool calls, through its hooks. Nothing is decided by it.
    Told {
        /// Calls, in the order in which it told of them.
        calls: Vec<ToldCall>,
        /// Of how many more it told.
        more: u64,
    },
    /// An agent showed, before its task was handed over, how it takes a call that is denied.
    Rehearsed {
        /// Which one, and its version.
        agent: String,
        /// What it showed.
        shown: Vec<String>,
    },
    /// Something worth an auditor's eye: a secret in a change, a credential that is not ours.
    Finding {
        /// What kind.
        code: String,
        /// Where, never the secret itself.
        detail: String,
    },
}
