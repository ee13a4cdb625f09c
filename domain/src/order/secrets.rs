//! What looks like a secret in the words of an order. Policy judges an order with it; the record, people and the fingerprint have the
//! order without. Never knows what looks like one.

use std::collections::BTreeSet;
use std::fmt;

use super::{Description, Field};

/// The facts of a tool call or a request that an agent wrote.
const AGENT_S: [&str; 7] = ["tool", "command", "paths", "steers", "addresses", "values", "path"];

/// Secrets that stand in an order, each with what it looks like.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(BTreeSet<Secret>);

/// The longest first: one that lies in another is masked with it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Secret {
    length: std::cmp::Reverse<usize>,
    text: String,
    kind: &'static str,
}

impl Secrets {
    /// Those found, each with its kind.
    pub fn found<'a>(found: impl IntoIterator<Item = (&'static str, &'a str)>) -> Self {
        let secret =
            |(kind, text): (_, &str)| Secret { length: std::cmp::Reverse(text.len()), text: text.to_owned(), kind };
        Self(found.into_iter().filter(|(_, text)| !text.is_empty()).map(secret).collect())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What they look like, each kind once.
    pub fn kinds(&self) -> Vec<String> {
        let kinds: BTreeSet<&str> = self.0.iter().map(|secret| secret.kind).collect();
        kinds.into_iter().map(str::to_owned).collect()
    }

    /// A text with its kind in each secret's place.
    pub fn mask(&self, text: &str) -> String {
        self.0
            .iter()
            .fold(text.to_owned(), |text, Secret { text: secret, kind, .. }| text.replace(secret, &format!("[{kind}]")))
    }

    /// A description without them where an agent wrote it: what is ours, such as a host, is read again from the record. Its other facts
    /// have to tell two orders apart that only these do.
    pub(super) fn mask_all(&self, mut description: Description) -> Description {
        let by_an_agent = description.fields.iter_mut().filter(|(name, _)| AGENT_S.contains(name));
        for (_, field) in by_an_agent {
            match field {
                Field::Text(text) => *text = self.mask(text),
                Field::Words(words) => words.iter_mut().for_each(|word| *word = self.mask(word)),
                Field::Number(_) | Field::Flag(_) => {}
            }
        }
        description
    }
}

impl fmt::Debug for Secrets {
    /// Nothing of them is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Secrets").field(&self.kinds()).finish()
    }
}

#[cfg(test)]
mod tests {
    use crate::RepoName;
    use crate::order::{Resource, ResourceKind, Verb};

    use super::*;

    #[test]
    fn what_is_ours_is_recorded_as_it_is_whatever_an_agent_calls_a_secret_a20() {
        let fields = ["host", "values"].map(|name| (name, Field::Text("task-tracker.example".to_owned())));
        let repo = RepoName::parse("acme/shop").unwrap();
        let resource = Resource { kind: ResourceKind::Repository, name: "acme/shop".to_owned(), repo };
        let description = Description { verb: Verb::ToolCall, resource, fields: fields.to_vec() };
        let masked = Secrets::found([("key", "sk-")]).mask_all(description);
        assert_eq!(masked.text("host"), Some("task-tracker.example"));
        assert_eq!(masked.text("values"), Some("ta[key]tracker.example"));
    }

    #[test]
    fn a_secret_is_told_by_its_kind_and_never_shown_c7() {
        let secrets = Secrets::found([("token", "abc"), ("key", "xabcx"), ("token", "def")]);
        assert_eq!(secrets.mask("echo xabcx abc def"), "echo [key] [token] [token]");
        assert_eq!(secrets.kinds(), ["key", "token"]);
        assert_eq!(format!("{secrets:?}"), r#"Secrets(["key", "token"])"#);
        assert_eq!(Secrets::found([("token", "")]).mask("a"), "a");
    }
}
