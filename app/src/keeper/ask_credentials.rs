//! Configured credentials: storing and removing keys, and what is known of each: since when, lent to whom, used for what.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_authority::{Class, Entry, Journal as _, KeyChange, Record, Verdict};
use selvedge_credentials::{AppKey, Secret, Standing};
use selvedge_domain::{Actor, CredentialName, Description, Field, Method, Person, Reach, Time, Verb};
use selvedge_factory::ports::Clock;
use selvedge_gateway::SecretText;
use serde_json::{Value, json};

use super::hall::Keeper;
use super::message::{Reply, SecretWord};
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
    let history = History::read(keeper)?;
    let live = live_loans(keeper)?;
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
        let used = history.used.get(name);
        let surplus = credential.uses.iter().filter(|uses| !used.is_some_and(|used| used.contains(*uses)));
        let shown = json!({
            "credential": name.as_str(),
            "kind": if credential.credential.is_stored { "static" } else { "minted" },
            "needs_key": kept != KeyKept::None,
            "owner": credential.credential.owner.as_str(),
            "stored_since": since.map(|since| since.to_string()),
            "leaked_at": leaked.map(|at| at.to_string()),
            "uses": credential.uses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "never_used": surplus.map(ToString::to_string).collect::<Vec<_>>(),
            "agents": borrowers.map(|agent| agent.agent.name.as_str()).collect::<Vec<_>>(),
            "last_lent": history.lent.get(name).map(ToString::to_string),
            "last_used": history.last_used.get(name).map(ToString::to_string),
            "live": live.get(name).cloned().unwrap_or_default(),
            "dies": match (credential.credential.is_stored, credential.source.only_expires()) {
                (true, _) => "the loan ends with its run; the key lives on until its issuer is told to end it",
                (false, true) => "the loan ends with its run; nobody can end it before its time, and its run settles after that",
                (false, false) => "with its run",
            },
        });
        each(&Reply::element("credentials", shown));
    }
    Ok(json!({ "credentials": [] }))
}

/// What the log says of credentials.
#[derive(Default)]
struct History {
    lent: BTreeMap<CredentialName, Time>,
    last_used: BTreeMap<CredentialName, Time>,
    /// Which of the configured uses were ever made.
    used: BTreeMap<CredentialName, BTreeSet<Reach>>,
}

impl History {
    /// One pass over the log.
    fn read(keeper: &Keeper) -> Result<Self, CliError> {
        let config = keeper.works.config();
        let mut history = Self::default();
        for recorded in keeper.works.ledger.entries(0, None) {
            let entry = recorded.map_err(|error| CliError::caused(Kind::Ledger, &error))?.entry;
            let Record::Decided { order, verdict: Verdict::Allow { .. }, .. } = entry.record else { continue };
            match order.verb {
                Verb::CredentialMint => {
                    if let Some(name) = minted(&order) {
                        history.lent.insert(name, entry.at);
                    }
                }
                Verb::HttpRequest => {
                    let Some((name, credential)) =
                        used(&order).and_then(|name| config.credentials.get_key_value(&name))
                    else {
                        continue;
                    };
                    history.last_used.insert(name.clone(), entry.at);
                    let made = credential.uses.iter().filter(|uses| covers(uses, &order)).cloned();
                    history.used.entry(name.clone()).or_default().extend(made);
                }
                _ => {}
            }
        }
        Ok(history)
    }
}

/// The credential a mint was about; none for an identity document.
fn minted(order: &Description) -> Option<CredentialName> {
    (order.resource.kind == selvedge_domain::ResourceKind::Credential)
        .then(|| CredentialName::parse(&order.resource.name).ok())
        .flatten()
}

/// The credential that went into a request.
fn used(order: &Description) -> Option<CredentialName> {
    order.text("credential").filter(|name| *name != "none").and_then(|name| CredentialName::parse(name).ok())
}

fn covers(uses: &Reach, order: &Description) -> bool {
    let port = order.fields.iter().find_map(|(name, field)| match field {
        Field::Number(port) if *name == "port" => Some(*port),
        _ => None,
    });
    let is_there =
        order.text("host") == Some(uses.endpoint.host.as_str()) && port == Some(i64::from(uses.endpoint.port));
    match (order.text("method").and_then(Method::parse), order.text("path")) {
        (Some(method), Some(path)) if is_there => uses.covers(&uses.endpoint, method, path),
        _ => false,
    }
}

/// Leases that may live, by the credential they lend.
fn live_loans(keeper: &Keeper) -> Result<BTreeMap<CredentialName, Vec<Value>>, CliError> {
    let works = &keeper.works;
    let mut live: BTreeMap<CredentialName, Vec<Value>> = BTreeMap::new();
    let open = works.ledger.open_runs().map_err(|error| CliError::caused(Kind::Ledger, &error))?;
    for run in open {
        let Ok(run) = works.run(&run.id) else { continue };
        let alive: BTreeSet<&str> =
            run.leases().iter().filter(|(_, state)| state.may_live()).map(|(lease, _)| lease.as_str()).collect();
        if alive.is_empty() {
            continue;
        }
        for recorded in works.ledger.entries(0, Some(run.id().clone())).filter_map(Result::ok) {
            let Record::Decided { order, verdict: Verdict::Allow { .. }, .. } = recorded.entry.record else { continue };
            let lease = order.text("lease").filter(|lease| alive.contains(lease)).map(str::to_owned);
            if let (Some(name), Some(lease)) = (minted(&order), lease) {
                let shown = json!({ "lease": lease, "run": run.id().as_str(), "until": order.text("until") });
                live.entry(name).or_default().push(shown);
            }
        }
    }
    Ok(live)
}

fn configured(keeper: &Keeper, name: &str) -> Result<(CredentialName, CredentialConfig), CliError> {
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
