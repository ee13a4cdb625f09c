//! What a request in GraphQL does, in words that policy and people read. Owns the words; never how they were found in a request.

use std::fmt;

/// Longest name of a field: far above what services have, and short enough to be recorded with every decision.
const FIELD_BYTES_MAX: usize = 128;

/// What kind of operation a root field belongs to. Subscriptions are not among them: no door passes one on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GraphqlKind {
    /// It reads.
    Query,
    /// It changes something.
    Mutation,
}

/// One thing that a request in GraphQL does: `mutation addComment`, a root field by its own name, whatever alias it has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GraphqlAct {
    kind: GraphqlKind,
    field: String,
}

impl GraphqlKind {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Mutation => "mutation",
        }
    }
}

impl GraphqlAct {
    /// An act on this root field; none when that is no name (`/[_A-Za-z][_0-9A-Za-z]*/`) or a very long one.
    pub fn new(kind: GraphqlKind, field: &str) -> Option<Self> {
        let begins = |first: u8| first == b'_' || first.is_ascii_alphabetic();
        let is_name = field.len() <= FIELD_BYTES_MAX
            && field.bytes().next().is_some_and(begins)
            && field.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
        is_name.then(|| Self { kind, field: field.to_owned() })
    }

    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, field) = text.split_once(' ')?;
        let kind = [GraphqlKind::Query, GraphqlKind::Mutation].into_iter().find(|known| known.as_str() == kind)?;
        Self::new(kind, field)
    }

    /// Whether it reads or changes something.
    pub fn kind(&self) -> GraphqlKind {
        self.kind
    }

    /// The root field.
    pub fn field(&self) -> &str {
        &self.field
    }
}

impl fmt::Display for GraphqlAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_act_is_one_kind_and_one_name_a47() {
        for text in ["query viewer", "mutation addComment", "query __schema"] {
            assert_eq!(GraphqlAct::parse(text).unwrap().to_string(), text);
        }
        let long = format!("query {}", "a".repeat(FIELD_BYTES_MAX + 1));
        for text in ["", "query", "query ", "query 1a", "query a b", "query a-b", "subscription a", "Query a", &long] {
            assert!(GraphqlAct::parse(text).is_none(), "{text:?}");
        }
    }
}
