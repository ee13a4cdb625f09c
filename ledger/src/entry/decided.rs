//! `decided`: a question was answered.

use selvedge_authority::{Code, Denial, PolicyName, Record, Verdict};
use selvedge_domain::{ApprovalId, Description};
use serde::{Deserialize, Serialize};

use super::parts::order::DescriptionV1;
use super::{Kind, Malformed, read_as, word};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct V1 {
    order: DescriptionV1,
    verdict: VerdictV1,
    approval: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
enum VerdictV1 {
    Allow { policies: Vec<String> },
    Deny { denial: DenialV1 },
    NeedsApproval { denial: DenialV1 },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DenialV1 {
    code: String,
    policies: Vec<String>,
    next_step: String,
}

impl V1 {
    pub(super) fn store(order: &Description, verdict: &Verdict, approval: Option<&ApprovalId>) -> Self {
        let verdict = match verdict {
            Verdict::Allow { policies } => VerdictV1::Allow { policies: store_policies(policies) },
            Verdict::Deny(denial) => VerdictV1::Deny { denial: DenialV1::store(denial) },
            Verdict::NeedsApproval(denial) => VerdictV1::NeedsApproval { denial: DenialV1::store(denial) },
        };
        Self { order: DescriptionV1::store(order), verdict, approval: approval.map(ToString::to_string) }
    }

    fn restore(self) -> Result<Record, Malformed> {
        let verdict = match self.verdict {
            VerdictV1::Allow { policies } => Verdict::Allow { policies: restore_policies(&policies) },
            VerdictV1::Deny { denial } => Verdict::Deny(denial.restore()?),
            VerdictV1::NeedsApproval { denial } => Verdict::NeedsApproval(denial.restore()?),
        };
        let approval = self.approval.map(|id| ApprovalId::parse(&id)).transpose()?;
        Ok(Record::Decided { order: self.order.restore()?, verdict, approval })
    }
}

impl DenialV1 {
    fn store(denial: &Denial) -> Self {
        Self {
            code: denial.code.as_str().to_owned(),
            policies: store_policies(&denial.policies),
            next_step: denial.next_step.clone(),
        }
    }

    fn restore(self) -> Result<Denial, Malformed> {
        Ok(Denial {
            code: word("a denial code", &self.code, Code::parse)?,
            policies: restore_policies(&self.policies),
            next_step: self.next_step,
        })
    }
}

fn store_policies(policies: &[PolicyName]) -> Vec<String> {
    policies.iter().map(|policy| policy.as_str().to_owned()).collect()
}

fn restore_policies(policies: &[String]) -> Vec<PolicyName> {
    policies.iter().map(|id| PolicyName::new(id)).collect()
}

impl Kind for V1 {
    const NAME: &'static str = "decided";
    const VERSION: u32 = 1;

    fn read(version: u32, body: &str) -> Option<Result<Record, Malformed>> {
        match version {
            1 => read_as(body, Self::restore),
            _ => None,
        }
    }
}
