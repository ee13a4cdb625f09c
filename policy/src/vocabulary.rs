//! The schema's names as Cedar values, parsed once.

use std::collections::BTreeMap;

use cedar_policy::{EntityId, EntityTypeName, EntityUid, Schema};
use selvedge_domain::{ResourceKind, Verb};

/// The parsed schema, and the names a request is built from.
#[derive(Debug, Clone)]
pub(crate) struct Vocabulary {
    pub(crate) schema: Schema,
    agent: EntityTypeName,
    person: EntityTypeName,
    factory: EntityTypeName,
    resources: BTreeMap<ResourceKind, EntityTypeName>,
    actions: BTreeMap<Verb, EntityUid>,
}

/// The embedded schema is broken; no test of ours lets that pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the built-in policy schema cannot be used: {0}")]
pub struct BadSchema(String);

const KINDS: [ResourceKind; 6] = [
    ResourceKind::Repository,
    ResourceKind::Endpoint,
    ResourceKind::Audience,
    ResourceKind::Credential,
    ResourceKind::Proposal,
    ResourceKind::Approval,
];

impl Vocabulary {
    /// Reads the built-in schema.
    pub(crate) fn built_in() -> Result<Self, BadSchema> {
        let (schema, _) = Schema::from_cedarschema_str(crate::SCHEMA).map_err(|error| BadSchema(error.to_string()))?;
        let action = type_name("Action")?;
        let actions = Verb::ALL.iter().map(|verb| (*verb, uid(&action, verb.as_str())));
        let resources = KINDS.into_iter().map(|kind| Ok((kind, type_name(kind.as_str())?)));
        Ok(Self {
            schema,
            agent: type_name("Agent")?,
            person: type_name("Person")?,
            factory: type_name("Factory")?,
            resources: resources.collect::<Result<_, BadSchema>>()?,
            actions: actions.collect(),
        })
    }

    pub(crate) fn agent(&self, name: &str) -> EntityUid {
        uid(&self.agent, name)
    }

    pub(crate) fn person(&self, person_uid: u32) -> EntityUid {
        uid(&self.person, &format!("uid-{person_uid}"))
    }

    pub(crate) fn factory(&self) -> EntityUid {
        uid(&self.factory, "factory")
    }

    /// None only if a kind is missing from [`KINDS`]; the caller then denies.
    pub(crate) fn resource(&self, kind: ResourceKind, name: &str) -> Option<EntityUid> {
        self.resources.get(&kind).map(|type_name| uid(type_name, name))
    }

    /// None only if a verb is missing from [`Verb::ALL`]; the caller then denies.
    pub(crate) fn action(&self, verb: Verb) -> Option<EntityUid> {
        self.actions.get(&verb).cloned()
    }
}

/// The verb an action entity stands for.
pub(crate) fn verb_of(action: &EntityUid) -> Option<Verb> {
    Verb::parse(action.id().unescaped())
}

/// The repository an entity is, if it is one.
pub(crate) fn repository_of(entity: &EntityUid) -> Option<&str> {
    (entity.type_name().to_string() == ResourceKind::Repository.as_str()).then(|| entity.id().unescaped())
}

fn type_name(text: &str) -> Result<EntityTypeName, BadSchema> {
    text.parse().map_err(|error| BadSchema(format!("`{text}`: {error}")))
}

fn uid(type_name: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(type_name.clone(), EntityId::new(id))
}
