//! What agents have to call programs of others around their tool calls, used to hear what an agent says of them. Telemetry and nothing else:
//! hooks fail open, and can be switched off in many ways (`docs/decisions/0017-observed.md`).

use super::{LAID, Laid, pairs};

/// Whether an agent has hooks that are known, so that they are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HasHooks {
    /// None that are used.
    No,
    /// It tells by itself.
    Itself,
    /// It starts our script by this program of the host's.
    Through(&'static str),
}

impl HasHooks {
    /// Whether it can tell on a host that has these programs.
    pub fn tell_where(self, is_there: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::No => false,
            Self::Itself => true,
            Self::Through(program) => is_there(program),
        }
    }
}

/// Where hooks tell what they are given.
#[derive(Debug, Clone, Copy)]
pub struct Hooks<'a> {
    /// The address.
    pub url: &'a str,
    /// The proxy that leads there, as an address of loopback and a port.
    pub proxy: &'a str,
}

/// The script that agents call which can only call a program: it tells what it reads.
const SCRIPT: &str = "/etc/selvedge/told.sh";

/// The shell that runs it. There is none of this name on some hosts, where no hook is laid.
pub(super) const SHELL: &str = "/usr/bin/bash";

/// How it is called.
pub(super) const COMMAND: &str = "/usr/bin/bash /etc/selvedge/told.sh";

/// How long an agent waits for a hook, in seconds.
pub(super) const PATIENCE_SECONDS: u64 = 5;

pub(super) fn script() -> Laid {
    Laid { path: SCRIPT.to_owned(), text: include_str!("scripts/told.sh").to_owned() }
}

pub(super) fn plugin() -> Laid {
    Laid { path: format!("{LAID}/told.js"), text: include_str!("scripts/told.js").to_owned() }
}

pub(super) fn env(hooks: Hooks<'_>) -> Vec<(String, String)> {
    pairs(&[("SELVEDGE_TOLD_AT", hooks.url), ("SELVEDGE_TOLD_BY", hooks.proxy)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_hook_is_used_where_the_host_has_no_program_for_it() {
        assert!(HasHooks::Through(SHELL).tell_where(|program| program == SHELL));
        assert!(!HasHooks::Through(SHELL).tell_where(|_| false));
        assert!(HasHooks::Itself.tell_where(|_| false) && !HasHooks::No.tell_where(|_| true));
        assert!(COMMAND.starts_with(SHELL) && COMMAND.ends_with(SCRIPT));
    }
}
