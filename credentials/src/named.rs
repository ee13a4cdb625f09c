//! Finding what carries a lease's name in a service's list, page by page: what was made by a request whose answer was lost.

use crate::ProviderError;
use crate::errand::{Courier, Errand};

/// Entries asked for at once. A service may give fewer, so only an empty page is the last one.
const PER_PAGE: usize = 50;

/// Most pages that are looked at. An account with more live tokens than these hold has lost count of them.
const PAGES_MAX: usize = 20;

/// The ids of the live entries of this name. `list` is the request for the list; its target ends where the query's pages go.
pub(crate) fn ids(name: &str, list: impl Fn() -> Errand, courier: &dyn Courier) -> Result<Vec<String>, ProviderError> {
    let mut ids = Vec::new();
    for page in 1..=PAGES_MAX {
        let mut errand = list();
        errand.target.push_str(&format!("per_page={PER_PAGE}&limit={PER_PAGE}&page={page}"));
        errand.counts = vec![String::new()];
        errand.wants = (0..PER_PAGE).flat_map(|at| ["name", "id", "active"].map(|of| format!("/{at}/{of}"))).collect();
        let brought = courier.carry(&errand)?;
        if !brought.is_done() {
            return Err(brought.refusal("the list of tokens was refused"));
        }
        let nonsense = || ProviderError::new("the list of tokens makes no sense");
        let entries = brought.entries("").filter(|entries| *entries <= PER_PAGE).ok_or_else(nonsense)?;
        if entries == 0 {
            return Ok(ids);
        }
        for at in 0..entries {
            let found = brought.text(&format!("/{at}/name")).ok_or_else(nonsense)?;
            // Some services list what is dead, and say so.
            if found == name && brought.text(&format!("/{at}/active")) != Some("false") {
                let id = brought.text(&format!("/{at}/id")).filter(|id| id.parse::<u64>().is_ok());
                ids.push(id.ok_or_else(nonsense)?.to_owned());
            }
        }
    }
    Err(ProviderError::new(format!("there are more than {} tokens: end those that nobody uses", PAGES_MAX * PER_PAGE)))
}
