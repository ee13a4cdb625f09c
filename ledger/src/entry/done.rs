//! `done`: an order was carried out, and what it came to.

use selvedge_authority::Record;
use selvedge_domain::orders::{
    GitServed, HttpAnswered, Merged, Minted, ModelAnswered, Pushed, Ran, Tokens, ToolAnswered,
};
use selvedge_domain::{CommitId, Deed, Digest, LeaseId, ProposalNumber, Time, TriggerId, Verb};
use serde::{Deserialize, Serialize};

use super::parts::check::CheckReportV1;
use super::parts::effect::EffectV1;
use super::parts::lease::RevocationV1;
use super::parts::observed::SeenV1;
use super::parts::task::TaskV1;
use super::{Kind, Malformed, read_as, word};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct V1 {
    order: String,
    verb: String,
    deed: DeedV1,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
enum DeedV1 {
    Admitted {
        task: Box<TaskV1>,
    },
    Minted {
        lease: String,
        revocation: RevocationV1,
        expires: u64,
    },
    Ran {
        exit: String,
        status: Option<i32>,
        left: LeftV1,
        follow_ups: Vec<String>,
        #[serde(default, skip_serializing_if = "SeenV1::is_empty")]
        seen: SeenV1,
    },
    Checked {
        report: CheckReportV1,
    },
    Opened {
        number: u64,
    },
    Merged {
        commit: String,
    },
    Enqueued {
        trigger: String,
    },
    Approved {},
    MayBorrow {},
    GitServed {
        response_bytes: u64,
    },
    Pushed {
        commit: String,
    },
    Widened {},
    Replied {},
    ModelAnswered {
        status: u16,
        tokens: TokensV1,
        is_estimated: bool,
        cost: u64,
    },
    ToolPassed {},
    ToolAnswered {
        code: String,
        answer: String,
        answer_bytes: u64,
        /// Since version 4.
        #[serde(default, skip_serializing_if = "is_none")]
        request_bytes: u64,
    },
    Answered {
        status: u16,
        request_bytes: u64,
        response_bytes: u64,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokensV1 {
    input: u64,
    cached: u64,
    cache_write: u64,
    output: u64,
    reasoning: u64,
}

/// What an attempt left: an effect, or why nothing can be used.
#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
enum LeftV1 {
    Effect { effect: EffectV1 },
    Unusable { because: String },
}

impl V1 {
    pub(super) fn store(order: &Digest, verb: Verb, deed: &Deed) -> Self {
        Self { order: order.to_string(), verb: verb.as_str().to_owned(), deed: DeedV1::store(deed) }
    }

    fn restore(self) -> Result<Record, Malformed> {
        let verb = word("a verb", &self.verb, Verb::parse)?;
        Ok(Record::Done { order: Digest::parse(&self.order)?, verb, deed: self.deed.restore()? })
    }
}

impl DeedV1 {
    fn store(deed: &Deed) -> Self {
        match deed {
            Deed::Admitted(task) => Self::Admitted { task: Box::new(TaskV1::store(task)) },
            Deed::Minted(Minted { lease, revocation, expires }) => Self::Minted {
                lease: lease.to_string(),
                revocation: RevocationV1::store(*revocation),
                expires: expires.as_millis(),
            },
            Deed::Ran(ran) => {
                let Ran { exit, status, effect, follow_ups, seen } = &**ran;
                let left = match effect {
                    Ok(effect) => LeftV1::Effect { effect: EffectV1::store(effect) },
                    Err(because) => LeftV1::Unusable { because: because.clone() },
                };
                let (exit, seen) = (exit.clone(), SeenV1::store(seen));
                Self::Ran { exit, status: *status, left, follow_ups: follow_ups.clone(), seen }
            }
            Deed::Checked(report) => Self::Checked { report: CheckReportV1::store(report) },
            Deed::Opened(number) => Self::Opened { number: number.get() },
            Deed::Merged(Merged { commit }) => Self::Merged { commit: commit.to_string() },
            Deed::Enqueued(trigger) => Self::Enqueued { trigger: trigger.to_string() },
            Deed::Approved => Self::Approved {},
            Deed::MayBorrow => Self::MayBorrow {},
            Deed::GitServed(GitServed { response_bytes }) => Self::GitServed { response_bytes: *response_bytes },
            Deed::Pushed(Pushed { commit }) => Self::Pushed { commit: commit.to_string() },
            Deed::Widened => Self::Widened {},
            Deed::Replied => Self::Replied {},
            Deed::ToolPassed => Self::ToolPassed {},
            Deed::ToolAnswered(ToolAnswered { code, answer, answer_bytes, request_bytes }) => Self::ToolAnswered {
                code: code.clone(),
                answer: answer.to_string(),
                answer_bytes: *answer_bytes,
                request_bytes: *request_bytes,
            },
            Deed::ModelAnswered(ModelAnswered { status, tokens, is_estimated, cost }) => {
                let Tokens { input, cached, cache_write, output, reasoning } = *tokens;
                let tokens = TokensV1 { input, cached, cache_write, output, reasoning };
                Self::ModelAnswered { status: *status, tokens, is_estimated: *is_estimated, cost: *cost }
            }
            Deed::Answered(HttpAnswered { status, request_bytes, response_bytes }) => {
                Self::Answered { status: *status, request_bytes: *request_bytes, response_bytes: *response_bytes }
            }
        }
    }

    fn restore(self) -> Result<Deed, Malformed> {
        Ok(match self {
            Self::Admitted { task } => Deed::Admitted(Box::new(task.restore()?)),
            Self::Minted { lease, revocation, expires } => Deed::Minted(Minted {
                lease: LeaseId::parse(&lease)?,
                revocation: revocation.restore(),
                expires: Time::from_millis(expires),
            }),
            Self::Ran { exit, status, left, follow_ups, seen } => {
                let effect = match left {
                    LeftV1::Effect { effect } => Ok(effect.restore()?),
                    LeftV1::Unusable { because } => Err(because),
                };
                Deed::Ran(Box::new(Ran { exit, status, effect, follow_ups, seen: seen.restore() }))
            }
            Self::Checked { report } => Deed::Checked(report.restore()?),
            Self::Opened { number } => Deed::Opened(ProposalNumber::new(number)),
            Self::Merged { commit } => Deed::Merged(Merged { commit: CommitId::parse(&commit)? }),
            Self::Enqueued { trigger } => Deed::Enqueued(TriggerId::parse(&trigger)?),
            Self::Approved {} => Deed::Approved,
            Self::MayBorrow {} => Deed::MayBorrow,
            Self::GitServed { response_bytes } => Deed::GitServed(GitServed { response_bytes }),
            Self::Pushed { commit } => Deed::Pushed(Pushed { commit: CommitId::parse(&commit)? }),
            Self::Widened {} => Deed::Widened,
            Self::Replied {} => Deed::Replied,
            Self::ToolPassed {} => Deed::ToolPassed,
            Self::ToolAnswered { code, answer, answer_bytes, request_bytes } => {
                let answer = Digest::parse(&answer)?;
                Deed::ToolAnswered(ToolAnswered { code, answer, answer_bytes, request_bytes })
            }
            Self::ModelAnswered { status, tokens, is_estimated, cost } => {
                let TokensV1 { input, cached, cache_write, output, reasoning } = tokens;
                let tokens = Tokens { input, cached, cache_write, output, reasoning };
                Deed::ModelAnswered(ModelAnswered { status, tokens, is_estimated, cost })
            }
            Self::Answered { status, request_bytes, response_bytes } => {
                Deed::Answered(HttpAnswered { status, request_bytes, response_bytes })
            }
        })
    }
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

impl Kind for V1 {
    const NAME: &'static str = "done";
    const VERSION: u32 = 4;

    fn version(&self) -> u32 {
        match &self.deed {
            DeedV1::Admitted { task } => task.version(),
            DeedV1::Ran { seen, .. } => seen.version(),
            DeedV1::ToolAnswered { request_bytes: 1.., .. } => 4,
            _ => 1,
        }
    }

    fn read(version: u32, body: &str) -> Option<Result<Record, Malformed>> {
        match version {
            1..=4 => read_as(body, Self::restore),
            _ => None,
        }
    }
}
