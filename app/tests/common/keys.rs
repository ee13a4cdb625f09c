//! What an operator does with keys and rules before a run.

use std::io::Write as _;
use std::process::Stdio;

use super::{Said, Scene};

impl Scene {
    /// Stores a key under the name of its credential.
    pub(crate) fn store(&self, credential: &str, key: &str) -> Said {
        let mut child = self.command(&["credentials", "store", credential]);
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(format!("{key}\n").as_bytes()).unwrap();
        Said::of(&child.wait_with_output().unwrap())
    }

    /// As it is for who trusts all uses of a key without being asked each time.
    pub(crate) fn trust(&self, credential: &str) {
        let path = self.state().join("policies/guardrails.cedar");
        let text = std::fs::read_to_string(&path).unwrap();
        let guard = "forbid (principal, action == Action::\"secret.use\", resource)\nunless { context.approved";
        assert!(text.contains(guard));
        let narrower = format!("{guard} || resource == Credential::\"{credential}\"");
        std::fs::write(&path, text.replace(guard, &narrower)).unwrap();
    }

    /// Adds a rule to the operator's own that forbids a verb when this holds, and says what to do instead.
    pub(crate) fn forbid(&self, verb: &str, when: &str, instead: &str) {
        let rule = format!(
            "@id(\"test.forbidden\")\n@owner(\"tests\")\n@next_step(\"{instead}\")\n\
             forbid (principal, action == Action::\"{verb}\", resource)\nwhen {{ {when} }}"
        );
        std::fs::write(self.state().join("policies/more.cedar"), format!("{rule};\n")).unwrap();
    }
}
