//! Stored form of an order laid open.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use selvedge_domain::{Description, Field, RepoName, Resource, ResourceKind, Verb};
use serde::{Deserialize, Serialize};

use super::{Malformed, word};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::entry) struct DescriptionV1 {
    verb: String,
    kind: ResourceKindV1,
    name: String,
    repo: String,
    fields: Vec<(String, FieldV1)>,
}

#[derive(Serialize, Deserialize)]
enum ResourceKindV1 {
    Repository,
    Endpoint,
    Audience,
    Credential,
    Proposal,
    Approval,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FieldV1 {
    Text(String),
    Number(i64),
    Flag(bool),
    Words(Vec<String>),
}

impl DescriptionV1 {
    pub(in crate::entry) fn store(order: &Description) -> Self {
        let Description { verb, resource: Resource { kind, name, repo }, fields } = order;
        let fields = fields.iter().map(|(name, field)| ((*name).to_owned(), FieldV1::store(field)));
        Self {
            verb: verb.as_str().to_owned(),
            kind: ResourceKindV1::store(*kind),
            name: name.clone(),
            repo: repo.to_string(),
            fields: fields.collect(),
        }
    }

    pub(in crate::entry) fn restore(self) -> Result<Description, Malformed> {
        let fields = self.fields.into_iter().map(|(name, field)| Ok((field_name(&name)?, field.restore())));
        Ok(Description {
            verb: word("a verb", &self.verb, Verb::parse)?,
            resource: Resource { kind: self.kind.restore(), name: self.name, repo: RepoName::parse(&self.repo)? },
            fields: fields.collect::<Result<_, Malformed>>()?,
        })
    }
}

impl ResourceKindV1 {
    fn store(kind: ResourceKind) -> Self {
        match kind {
            ResourceKind::Repository => Self::Repository,
            ResourceKind::Endpoint => Self::Endpoint,
            ResourceKind::Audience => Self::Audience,
            ResourceKind::Credential => Self::Credential,
            ResourceKind::Proposal => Self::Proposal,
            ResourceKind::Approval => Self::Approval,
        }
    }

    fn restore(self) -> ResourceKind {
        match self {
            Self::Repository => ResourceKind::Repository,
            Self::Endpoint => ResourceKind::Endpoint,
            Self::Audience => ResourceKind::Audience,
            Self::Credential => ResourceKind::Credential,
            Self::Proposal => ResourceKind::Proposal,
            Self::Approval => ResourceKind::Approval,
        }
    }
}

impl FieldV1 {
    fn store(field: &Field) -> Self {
        match field.clone() {
            Field::Text(text) => Self::Text(text),
            Field::Number(number) => Self::Number(number),
            Field::Flag(flag) => Self::Flag(flag),
            Field::Words(words) => Self::Words(words),
        }
    }

    fn restore(self) -> Field {
        match self {
            Self::Text(text) => Field::Text(text),
            Self::Number(number) => Field::Number(number),
            Self::Flag(flag) => Field::Flag(flag),
            Self::Words(words) => Field::Words(words),
        }
    }
}

/// How many distinct field names a process may read. Orders are a closed list with about a dozen fields each; more
/// than this is a forged log, and each name is kept for the life of the process.
const FIELD_NAMES_MAX: usize = 1024;
/// Longest field name; they are words in our own source.
const FIELD_NAME_BYTES_MAX: usize = 64;

/// The one copy of a field name. Orders name their fields in source text, so each is read back as a static string.
fn field_name(name: &str) -> Result<&'static str, Malformed> {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return Ok(known);
    }
    if name.len() > FIELD_NAME_BYTES_MAX || names.len() >= FIELD_NAMES_MAX {
        return Err(Malformed(format!("`{}` is no order's field", name.chars().take(80).collect::<String>())));
    }
    let kept: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.insert(kept);
    Ok(kept)
}
