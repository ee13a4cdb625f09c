//! How much a run may still send to each host: what bounds an upload through a service it is allowed to use. Owns the count, over
//! every connection and every way in; never knows what the bytes are.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use selvedge_domain::HostPattern;

/// What may still be sent, by host. To a host that is not here nothing may.
#[derive(Debug, Default)]
pub(crate) struct Budgets(BTreeMap<HostPattern, AtomicU64>);

/// It would be more than may be sent to this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than the run may send to this host")]
pub(crate) struct Spent;

impl Budgets {
    /// Begins with what the keeper said is left.
    pub(crate) fn begin(left: BTreeMap<HostPattern, u64>) -> Self {
        Self(left.into_iter().map(|(host, bytes)| (host, AtomicU64::new(bytes))).collect())
    }

    /// Takes these bytes before they leave: all of them, or none. What is taken and not sent after all is not given back: whoever
    /// announces a body can send it.
    pub(crate) fn take(&self, host: &HostPattern, bytes: u64) -> Result<(), Spent> {
        let left = self.0.get(host).ok_or(Spent)?;
        // Nothing else hangs on the order of two requests; each takes what the other left.
        let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        taken.map(|_| ()).map_err(|_| Spent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a20_what_many_take_at_once_is_never_more_than_there_is() {
        let host = HostPattern::parse("a.example").unwrap();
        let budgets = Budgets::begin([(host.clone(), 1000)].into());
        let taken = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        if budgets.take(&host, 7).is_ok() {
                            taken.fetch_add(7, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(taken.into_inner(), 994);
        assert_eq!(budgets.take(&host, 7), Err(Spent));
        assert_eq!(budgets.take(&host, 6), Ok(()), "what did not fit took nothing");
        assert_eq!(budgets.take(&HostPattern::parse("b.example").unwrap(), 0), Err(Spent), "nobody said how much");
    }
}
