//! Configured credentials: storing and removing keys, and what is known of each: since when, lent to whom, used for what.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use selvedge_authority::{Class, Entry, Journal as _, KeyChange, Record};
use selvedge_credentials::{AppKey, Secret, Standing, StoredKeyError};
use selvedge_domain::{Actor, CredentialName, Person, RunId, Time};
use selvedge_factory::ports::Clock;
use selvedge_gateway::{ProxyLogin, SecretText};
use serde_json::{Value, json};

use super::ask_stop::REVOKE_WITHIN;
use super::hall::{Keeper, Listener};
use super::message::{Reply, SecretWord};
use super::usage::{Meant, Usage};
use crate::config::{CredentialConfig, KeyKept};
use crate::errors::{CliError, Kind};
use crate::wiring::{LiveLoan, WITHDRAWN};

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
    let secret = Secret::new(bytes.to_vec());
    // Before the record, which must not say that it is stored.
    works.lending.keys.admits(&name, &secret).map_err(|error| {
        let kind = if matches!(error, StoredKeyError::LeakedBefore(..)) { Kind::Refused } else { Kind::State };
        CliError::caused(kind, &error).hint(format!("then: selvedge credentials store {name} < new-key"))
    })?;
    record(keeper, &name, KeyChange::Stored, uid)?;
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

/// What the log calls the password of the proxy.
pub(super) const PROXY: &str = "network.proxy";

/// Keeps the password of the proxy. It is recorded first, like a key.
pub(super) fn store_proxy(keeper: &Keeper, password: &SecretWord, uid: u32) -> Result<Value, CliError> {
    own(uid)?;
    let config = keeper.works.config();
    let user = config.proxy.as_ref().and_then(|proxy| proxy.user.as_deref());
    let Some(user) = user else {
        return Err(CliError::new(Kind::NotFound, "no proxy that wants a password is configured")
            .hint("name it in `selvedge.toml`: `[network] proxy = \"http://<host>:<port>\"` and `proxy_user`"));
    };
    if ProxyLogin::new(user, password.expose()).is_none() {
        let because = "the password of a proxy has 1 to 255 printable ASCII characters";
        return Err(CliError::new(Kind::Usage, because).hint("selvedge credentials store --proxy < password"));
    }
    record(keeper, &proxy_name()?, KeyChange::Stored, uid)?;
    let secret = Secret::new(password.expose().as_bytes().to_vec());
    keeper.works.lending.proxy.put(&secret).map_err(|error| CliError::caused(Kind::State, &error))?;
    Ok(json!({ "user": user }))
}

/// Forgets the password of the proxy. What is open already stays open; nothing new leaves.
pub(super) fn remove_proxy(keeper: &Keeper, uid: u32) -> Result<Value, CliError> {
    own(uid)?;
    keeper.works.lending.proxy.remove().map_err(|error| CliError::caused(Kind::State, &error))?;
    record(keeper, &proxy_name()?, KeyChange::Removed, uid)?;
    Ok(json!({}))
}

fn proxy_name() -> Result<CredentialName, CliError> {
    CredentialName::parse(PROXY).map_err(|error| CliError::caused(Kind::Internal, &error))
}

/// Forgets a key. Taking authority away comes before its record (invariant 2).
pub(super) fn remove(keeper: &Arc<Keeper>, name: &str, uid: u32) -> Result<Value, CliError> {
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
    // A key that makes others may be what ends them, so it goes last.
    let mut taken = take_away(keeper, &name, None, "the credential was withdrawn: its key was removed", uid);
    lending.minting.remove(&name).map_err(|error| failed(&error))?;
    if makes_others.is_some() {
        // What was made meanwhile.
        let more = take_away(keeper, &name, None, WITHDRAWN, uid);
        taken.extend(more);
    }
    record(keeper, &name, KeyChange::Removed, uid)?;
    Ok(taken.told(&name))
}

/// Withdraws a credential from live runs, which go on without it. Anybody who may stop a run may do so: it only takes authority
/// away, and needs no configuration.
pub(super) fn withdraw(keeper: &Arc<Keeper>, name: &str, from: Option<&str>, uid: u32) -> Result<Value, CliError> {
    let name = CredentialName::parse(name).map_err(|error| CliError::caused(Kind::Usage, &error))?;
    let from = from.map(RunId::parse).transpose().map_err(|error| {
        CliError::caused(Kind::Usage, &error).hint("`selvedge credentials list` says which run was lent what")
    })?;
    let taken = take_away(keeper, &name, from.as_ref(), WITHDRAWN, uid);
    let known = || keeper.works.config().credentials.contains_key(&name);
    // A misspelt name must not look like a withdrawal that worked.
    match (&from, taken.loans.is_empty()) {
        (Some(run), true) => {
            let nothing = format!("credential `{name}` is not lent to run {run}, so nothing was withdrawn");
            Err(CliError::new(Kind::NotFound, nothing).hint("`selvedge credentials list` says which run was lent what"))
        }
        (None, true) if !known() && keeper.works.names_unknown().is_none() => {
            let nothing = format!("credential `{name}` is neither configured nor lent, so nothing was withdrawn");
            Err(CliError::new(Kind::NotFound, nothing).hint("`selvedge credentials list` names them"))
        }
        _ => {
            let mut told = taken.told(&name);
            if let Some(fields) = told.as_object_mut() {
                // What is lent is read from the log, which knows it without.
                fields.insert("configuration".to_owned(), json!(keeper.works.names_unknown()));
            }
            Ok(told)
        }
    }
}

/// What was taken away.
struct TakenAway {
    loans: Vec<LiveLoan>,
    may_live: Vec<LiveLoan>,
    is_recorded: bool,
}

impl TakenAway {
    fn extend(&mut self, more: Self) {
        self.loans.extend(more.loans);
        self.may_live.extend(more.may_live);
        self.is_recorded &= more.is_recorded;
    }

    fn told(&self, name: &CredentialName) -> Value {
        let leases = |loans: &[LiveLoan]| loans.iter().map(|loan| loan.lease.to_string()).collect::<Vec<_>>();
        let runs: BTreeSet<String> = self.loans.iter().map(|loan| loan.run.to_string()).collect();
        json!({
            "credential": name.as_str(),
            "withdrawn": leases(&self.loans),
            "runs": runs,
            "may_still_live": leases(&self.may_live),
            "recorded": self.is_recorded,
        })
    }
}

/// Out of the doors, then dead at its provider, then recorded. Whoever takes something away is not kept by a provider that does
/// not answer: what it may still take is said to live, and goes on being ended by its run.
fn take_away(keeper: &Arc<Keeper>, name: &CredentialName, from: Option<&RunId>, because: &str, uid: u32) -> TakenAway {
    let loans = keeper.works.withdraw_from_doors(name, from, because);
    let (tell, told) = std::sync::mpsc::channel();
    for loan in &loans {
        let (keeper, loan, tell) = (Arc::clone(keeper), loan.clone(), tell.clone());
        std::thread::spawn(move || {
            if keeper.works.end_loan(&loan) {
                // Nobody waits for it any more.
                let _unheard = tell.send(loan);
            }
        });
    }
    drop(tell);
    let begun = Instant::now();
    let mut may_live = loans.clone();
    while let Ok(dead) = told.recv_timeout(REVOKE_WITHIN.saturating_sub(begun.elapsed())) {
        may_live.retain(|loan| *loan != dead);
    }
    let is_recorded = keeper.works.record_withdrawn(&loans, &Actor::Person(Person::from_uid(uid)));
    keeper.moved();
    TakenAway { loans, may_live, is_recorded }
}

/// Every configured credential.
pub(super) fn list(
    keeper: &Keeper,
    uid: u32,
    listener: &dyn Listener,
    each: &mut dyn FnMut(&Reply),
) -> Result<Value, CliError> {
    let works = &keeper.works;
    let config = works.config();
    let Some(turn) = keeper.turn_at_the_log(uid, listener) else { return Ok(Value::Null) };
    let usage = Usage::read(keeper, &turn, &config, Time::from_millis(0))?;
    drop(turn);
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
pub(super) fn own(uid: u32) -> Result<(), CliError> {
    if uid == 0 || uid == rustix::process::getuid().as_raw() {
        return Ok(());
    }
    Err(CliError::new(Kind::Refused, "only the user the factory runs as stores and removes keys")
        .hint("ask whoever runs `selvedge serve` to do it"))
}

pub(super) fn record(keeper: &Keeper, name: &CredentialName, change: KeyChange, uid: u32) -> Result<(), CliError> {
    let record = Record::KeyChanged { credential: name.clone(), change };
    let actor = Actor::Person(Person::from_uid(uid));
    let entry = Entry { at: keeper.works.now(), run: None, actor, owner: None, record };
    keeper.works.ledger.append(entry, Class::Durable).map(drop).map_err(|error| {
        CliError::caused(Kind::Ledger, &error).hint(match change {
            KeyChange::Stored | KeyChange::Made { .. } => "the key was not stored",
            KeyChange::Removed => "the key is removed all the same",
        })
    })
}
