//! What a door is told of what it may not have, for its agent to read.

use selvedge_authority::{Code, Denial};
use selvedge_gateway::Given;

/// It was decided.
pub(super) fn denied(Denial { code, next_step, .. }: Denial) -> Given {
    Given::Denied { code: code.as_str().to_owned(), next_step }
}

/// There is nothing of the kind here.
pub(super) fn outside_grant(next_step: &str) -> Given {
    denied(Denial { code: Code::OutsideGrant, policies: Vec::new(), next_step: next_step.to_owned() })
}
