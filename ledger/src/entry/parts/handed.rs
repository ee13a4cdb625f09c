//! Stored form of what a run handed its child.

use std::collections::BTreeSet;

use selvedge_domain::{Ceiling, CredentialName, Endpoint, Handed, HostPattern, Loan, May, Method, Reach, Trust};
use serde::{Deserialize, Serialize};

use super::{Malformed, word};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::entry) struct HandedV1 {
    trust: String,
    may: Vec<String>,
    reach: Vec<ReachV1>,
    audiences: Vec<String>,
    loans: Vec<LoanV1>,
    depth: u32,
    budget: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReachV1 {
    host: String,
    port: u16,
    methods: Vec<String>,
    path_prefix: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LoanV1 {
    credential: String,
    uses: ReachV1,
}

impl HandedV1 {
    pub(in crate::entry) fn store(handed: &Handed) -> Self {
        let Handed { ceiling: Ceiling { trust, may, reach, audiences, loans }, depth, budget } = handed;
        Self {
            trust: trust.as_str().to_owned(),
            may: may.iter().map(|may| may.as_str().to_owned()).collect(),
            reach: reach.iter().map(ReachV1::store).collect(),
            audiences: audiences.iter().cloned().collect(),
            loans: loans.iter().map(LoanV1::store).collect(),
            depth: *depth,
            budget: *budget,
        }
    }

    pub(in crate::entry) fn restore(self) -> Result<Handed, Malformed> {
        let may = self.may.iter().map(|may| word("a word of `may`", may, May::parse));
        let ceiling = Ceiling {
            trust: word("a level of trust", &self.trust, Trust::parse)?,
            may: may.collect::<Result<_, _>>()?,
            reach: self.reach.into_iter().map(ReachV1::restore).collect::<Result<_, _>>()?,
            audiences: self.audiences.into_iter().collect(),
            loans: self.loans.into_iter().map(LoanV1::restore).collect::<Result<_, _>>()?,
        };
        Ok(Handed { ceiling, depth: self.depth, budget: self.budget })
    }
}

impl ReachV1 {
    fn store(reach: &Reach) -> Self {
        let Reach { endpoint: Endpoint { host, port }, methods, path_prefix } = reach;
        Self {
            host: host.as_str().to_owned(),
            port: *port,
            methods: methods.iter().map(|method| method.as_str().to_owned()).collect(),
            path_prefix: path_prefix.clone(),
        }
    }

    fn restore(self) -> Result<Reach, Malformed> {
        let methods = self.methods.iter().map(|method| word("a method", method, Method::parse));
        Ok(Reach {
            endpoint: Endpoint { host: word("a host", &self.host, HostPattern::parse)?, port: self.port },
            methods: methods.collect::<Result<BTreeSet<_>, _>>()?,
            path_prefix: self.path_prefix,
        })
    }
}

impl LoanV1 {
    fn store(loan: &Loan) -> Self {
        Self { credential: loan.credential.to_string(), uses: ReachV1::store(&loan.uses) }
    }

    fn restore(self) -> Result<Loan, Malformed> {
        Ok(Loan { credential: CredentialName::parse(&self.credential)?, uses: self.uses.restore()? })
    }
}
