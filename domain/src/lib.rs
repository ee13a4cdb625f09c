//! The nouns of the factory and the law of a run.
//!
//! Owns what the words in `GLOSSARY.md` mean: ids, names, tasks, orders, deeds, effects, and which step of a run may
//! follow which. Knows no clock, no file, no network, no storage format, no policy language; it can be read and tested
//! alone.

mod actor;
mod baseline;
mod ceiling;
mod change;
mod check;
mod conduct;
mod danger;
mod deed;
mod digest;
mod effect;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;
mod grant;
mod graphql;
mod id;
mod lease;
mod name;
mod observed;
mod order;
mod pipeline;
mod run;
mod task;
mod tenure;
mod time;
mod tool;
mod trust;

pub use actor::{Actor, Owner, Person, WorkloadId};
pub use baseline::{Amount, Amounts, Baseline, Behaviour, Departure, Profile, RUNS_MAX, RUNS_MIN, Usual};
pub use ceiling::Ceiling;
pub use change::{BadPath, Change, ChangeSet, FileMode, RepoPath, is_deceptive};
pub use check::{CheckReport, Failure, HeldBecause, TestCount, TestName, Verified};
pub use conduct::{Capabilities, Conduct, Power, Seen, Started};
pub use danger::NamedUpstream;
pub use deed::{Deed, Remembered};
pub use digest::{BadDigest, CommitId, Digest, TreeId};
pub use effect::{Effect, EffectKind, Outcome, ProposalNumber};
pub use grant::{Endpoint, Grant, HostPattern, Loan, May, Method, Reach};
pub use graphql::{GraphqlAct, GraphqlKind};
pub use id::{ApprovalId, BadId, LeaseId, RunId, TaskId, TriggerId};
pub use lease::{IllegalLease, LeaseEvent, LeaseState, Revocation};
pub use name::{AgentName, BadName, CredentialName, ModelName, PartName, PipelineName, RepoName, ServerName};
pub use observed::{
    BadPattern, Cause, Declared, OwnPrograms, PathPattern, ProgramPattern, ProgramRun, SideEffects, ToldCall,
    Witnessed, Writing, Written,
};
pub use order::{Authorship, Description, Field, Order, Resource, ResourceKind, Secrets, Verb, orders};
pub use pipeline::Part;
pub use run::{Event, Illegal, Run, Stage, Wait, WaitKind};
pub use task::{Handed, Intent, Lineage, Task, Trigger, TriggerSource};
pub use tenure::{Tenure, TenureChange, Vouchee};
pub use time::{Date, Duration, Time};
pub use tool::{ToolName, ToolScope};
pub use trust::{Autonomy, Risk, Sensitivity, Trust};
