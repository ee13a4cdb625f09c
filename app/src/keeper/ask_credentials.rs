//! Configured credentials: storing and removing keys, and what is known of each: since when, lent to whom, used for what.

use selvedge_authority::{Class, Entry, Journal as _, KeyChange, Record};
use selvedge_credentials::{AppKey, Secret, Standing};
use selvedge_domain::{Actor, CredentialName, Person, Time};
use selvedge_factory::ports::Clock;
use selvedge_gateway::SecretText;
use serde_json::{Value, json};

use super::hall::Keeper;
use super::message::{Reply, SecretWord};
use super::usage::{Meant, Usage};
use crate::config::{CredentialConfig, KeyKept};
use crate::errors::{CliError, Kind};

/// Keeps a key for a configured credential. It is recorded first: what cannot be recorded is not kept.
pub(super) fn store(keeper: &Keeper, name: &str, key: &SecretWord, uid: u32) -> Result<Value, CliError> {
    own(uid)?;
    let works = &keeper.works;
    let (name, config) = configured(keeper, name)?;
    let bytes = key.expose().as_bytes();
    let kept = config.source.key_kept();
    let is_read: Result<(), CliError> = match kept {
        KeyKept::None => Err(CliError::new(
            Kind::Usage,
            format!("credential `{name}` is made with each run's own identity and has no key to store"),
        )
        .hint("`kind = \"static\"` has one that is lent, kinds of forges one that makes what is lent")),
        KeyKept::Lent | KeyKept::OfAccount => {
            SecretText::parse(bytes).map(drop).map_err(|error| CliError::caused(Kind::Usage, &error))
        }
        KeyKept::OfApp => AppKey::parse(bytes).map(drop).map_err(|error| {
            CliError::caused(Kind::Usage, &error).hint(format!("selvedge credentials store {name} < private-key.pem"))
        }),
    };
    is_read?;
    record(keeper, &name, KeyChange::Stored, uid)?;
    let secret = Secret::new(bytes.to_vec());
    let failed = |error: &dyn std::error::Error| CliError::caused(Kind::State, error);
    match kept {
        KeyKept::Lent => works.lending.keys.put(&name, &secret, works.now()).map_err(|error| failed(&error))?,
        // Where no loan looks, whatever becomes of the configuration.
        KeyKept::None | KeyKept::OfApp | KeyKept::OfAccount => {
            works.lending.minting.put(&name, &secret, works.now()).map_err(|error| failed(&error))?;
        }
    }
    Ok(json!({ "credential": name.as_str(), "owner": config.credential.owner.as_str() }))
}

/// Forgets a key. Taking authority away comes before its record (invariant 2).
pub(super) fn remove(keeper: &Keeper, name: &str, uid: u32) -> Result<Value, CliError> {
    own(uid)?;
    // A credential that is no longer configured may still have a key.
    let name = CredentialName::parse(name).map_err(|error| CliError::caused(Kind::Usage, &error))?;
    let failed = |error: &dyn std::error::Error| CliError::caused(Kind::State, error);
    let lending = &keeper.works.lending;
    let standing = lending.keys.standing(&name).map_err(|error| failed(&error))?;
    let makes_others = lending.minting.stored_since(&name).map_err(|error| failed(&error))?;
    if standing.is_none() && makes_others.is_none() {
        return Err(CliError::new(Kind::NotFound, format!("no key is stored for credential `{name}`")));
    }
    lending.keys.remove(&name).map_err(|error| failed(&error))?;
    lending.minting.remove(&name).map_err(|error| failed(&error))?;
    record(keeper, &name, KeyChange::Removed, uid)?;
    Ok(json!({ "credential": name.as_str() }))
}

/// Every configured credential.
pub(super) fn list(keeper: &Keeper, each: &mut dyn FnMut(&Reply)) -> Result<Value, CliError> {
    let works = &keeper.works;
    let config = works.config();
    let usage = Usage::read(keeper, &config, Time::from_millis(0))?;
    for (name, credential) in &config.credentials {
        let failed = |error: &dyn std::error::Error| CliError::caused(Kind::State, error);
        let kept = credential.source.key_kept();
        let standing = match kept {
            KeyKept::None | KeyKept::Lent => works.lending.keys.standing(name).map_err(|error| failed(&error))?,
            KeyKept::OfApp | KeyKept::OfAccount => {
                let since = works.lending.minting.stored_since(name).map_err(|error| failed(&error))?;
                since.map(Standing::StoredSince)
            }
        };
        let (since, leaked) = match standing {
            Some(Standing::StoredSince(since)) => (Some(since), None),
            Some(Standing::LeakedAt(at)) => (None, Some(at)),
            None => (None, None),
        };
        let borrowers = config.agents.values().filter(|agent| agent.agent.loans.iter().any(|l| l.credential == *name));
        let used = usage.credentials.get(name);
        let surplus = credential.uses.iter().filter(|uses| !used.is_some_and(|used| used.uses.contains_key(*uses)));
        let live = usage.leases.iter().filter(|(_, lent)| lent.what == Some(Meant::Credential(name.to_string())));
        let live = live.map(|(lease, lent)| {
            let until = lent.expires().map(|until| until.to_string());
            let agent = lent.agent.as_ref().map(|agent| agent.as_str());
            json!({ "lease": lease.as_str(), "run": lent.run.as_str(), "agent": agent, "until": until })
        });
        let shown = json!({
            "credential": name.as_str(),
            "kind": if credential.credential.is_stored { "static" } else { "minted" },
            "needs_key": kept != KeyKept::None,
            "owner": credential.credential.owner.as_str(),
            "state": works.credential_vouched(credential).tenure.as_str(),
            "stored_since": since.map(|since| since.to_string()),
            "leaked_at": leaked.map(|at| at.to_string()),
            "uses": credential.uses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "never_used": surplus.map(ToString::to_string).collect::<Vec<_>>(),
            "agents": borrowers.map(|agent| agent.agent.name.as_str()).collect::<Vec<_>>(),
            "last_lent": used.and_then(|used| used.last_lent).map(|at| at.to_string()),
            "last_used": used.and_then(|used| used.last_used).map(|at| at.to_string()),
            "live": live.collect::<Vec<_>>(),
            "dies": match credential.credential.is_stored {
                true => "the loan ends with its run; the key lives on until its issuer is told to end it",
                false => "with its run",
            },
        });
        each(&Reply::element("credentials", shown));
    }
    Ok(json!({ "credentials": [] }))
}

pub(super) fn configured(keeper: &Keeper, name: &str) -> Result<(CredentialName, CredentialConfig), CliError> {
    let config = keeper.works.config();
    let name = CredentialName::parse(name).map_err(|error| CliError::caused(Kind::Usage, &error))?;
    let found = config.credentials.get(&name).cloned();
    let known: Vec<&str> = config.credentials.keys().map(CredentialName::as_str).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let missing = || {
        CliError::new(Kind::NotFound, format!("credential `{name}` is not configured; known are: {known}"))
            .hint(format!("add `[credential.{name}]` to `selvedge.toml`"))
    };
    found.map(|found| (name.clone(), found)).ok_or_else(missing)
}

/// Keys are the operator's: whoever may use the socket as one of `people` does not change them.
fn own(uid: u32) -> Result<(), CliError> {
    if uid == 0 || uid == rustix::process::getuid().as_raw() {
        return Ok(());
    }
    Err(CliError::new(Kind::Refused, "only the user the factory runs as stores and removes keys"))
}

fn record(keeper: &Keeper, name: &CredentialName, change: KeyChange, uid: u32) -> Result<(), CliError> {
    let record = Record::KeyChanged { credential: name.clone(), change };
    let actor = Actor::Person(Person::from_uid(uid));
    let entry = Entry { at: keeper.works.now(), run: None, actor, owner: None, record };
    keeper.works.ledger.append(entry, Class::Durable).map(drop).map_err(|error| {
        CliError::caused(Kind::Ledger, &error).hint(match change {
            KeyChange::Stored => "the key was not stored",
            KeyChange::Removed => "the key is removed all the same",
        })
    })
}
