//! Vouching for what stands when no run does, and saying that whoever answered for it has left (requirement B6). Both are recorded:
//! vouching before it counts, for it gives authority back; leaving after it counts, for it only takes authority away.

use std::collections::BTreeSet;
use std::sync::Arc;

use selvedge_authority::{Class, Entry, Record};
use selvedge_credentials::Standing;
use selvedge_domain::{Actor, AgentName, CredentialName, Owner, Person, RunId, Tenure, TenureChange, Vouchee};
use selvedge_factory::ports::Clock;
use serde_json::{Value, json};

use super::ask_stop;
use super::hall::{Keeper, Listener};
use crate::config::Config;
use crate::errors::{CliError, Kind};
use crate::wiring::{LiveLoan, Word};

/// Where names of accounts are looked up. Directory services are not asked: a keeper that waits for one that does not answer could
/// not be told that somebody has left.
const ACCOUNTS: &str = "/etc/passwd";

/// A person answers for it from now on.
pub(super) fn certify(keeper: &Keeper, name: &str, uid: u32) -> Result<Value, CliError> {
    let (of, owner) = resolve(&keeper.works.config(), name)?;
    let has_left = |of: &Vouchee| {
        let word = keeper.works.word_about(of);
        word.is_some_and(|word| word.change == TenureChange::Offboarded && word.owner == owner)
    };
    let left = has_left(&of) || has_left(&Vouchee::Owner(owner.clone()));
    if left {
        is_somebody_else(uid, &owner, &of)?;
    }
    let change = TenureChange::Certified;
    let seq = record(keeper, &of, &owner, change, uid).map_err(|error| error.hint("nobody vouches for it yet"))?;
    let (at, by) = (keeper.works.now(), Actor::Person(Person::from_uid(uid)));
    keeper.works.take_word(of.clone(), Word { seq, at, by: by.clone(), owner: owner.clone(), change });
    if let Vouchee::Agent(agent) = &of {
        keeper.works.certify_conduct(agent);
    }
    keeper.moved();
    // A person's word does not bring back a key that leaked.
    let leaked = match &of {
        Vouchee::Credential(name) => match keeper.works.lending.keys.standing(name) {
            Ok(Some(Standing::LeakedAt(at))) => Some(json!({ "credential": name.as_str(), "at": at.to_string() })),
            Ok(Some(Standing::StoredSince(_)) | None) | Err(_) => None,
        },
        Vouchee::Agent(_) | Vouchee::Factory | Vouchee::Owner(_) => None,
    };
    Ok(json!({
        "identity": of.to_string(), "owner": owner.as_str(), "by": by.to_string(), "at": at.to_string(), "leaked": leaked,
    }))
}

/// Whoever answered for it has left: it is not used any more, and what uses it now is ended.
pub(super) fn offboard(keeper: &Arc<Keeper>, name: &str, uid: u32, listener: &dyn Listener) -> Result<Value, CliError> {
    let works = &keeper.works;
    let (of, owner) = resolve(&works.config(), name)?;
    let change = TenureChange::Offboarded;
    let (at, by) = (works.now(), Actor::Person(Person::from_uid(uid)));
    let word = |seq| Word { seq, at, by: by.clone(), owner: owner.clone(), change };
    // Before it is recorded, and so after everything that is.
    works.take_word(of.clone(), word(u64::MAX));
    let (agents, credentials) = ended(keeper);
    let loans = withdrawn(keeper, &credentials);
    let recorded = record(keeper, &of, &owner, change, uid);
    if let Ok(seq) = &recorded {
        works.take_word(of.clone(), word(*seq));
    }
    let (runs, is_listed) = using(keeper, &agents, &credentials, &loans);
    let mut stopped = ask_stop::stop_runs(keeper, &runs, uid, listener);
    stopped.log_read &= is_listed;
    stopped.recorded &= works.record_withdrawn(&loans, &by);
    recorded.map_err(|error| {
        let what = match runs.len() {
            0 => "it is in force".to_owned(),
            count => format!("it is in force, and what was under way was stopped ({count})"),
        };
        error.hint(format!("{what}, until this keeper ends; say it again when the log can be written"))
    })?;
    let names = agents.iter().map(|name| format!("agent:{name}"));
    let names: Vec<String> = names.chain(credentials.iter().map(|name| format!("credential:{name}"))).collect();
    let mut told = stopped.told();
    if let Some(fields) = told.as_object_mut() {
        let runs: Vec<&str> = runs.iter().map(RunId::as_str).collect();
        fields.insert("offboarded".to_owned(), json!(of.to_string()));
        fields.insert("owner".to_owned(), json!(owner.as_str()));
        fields.insert("ended".to_owned(), json!(names));
        fields.insert("stopped".to_owned(), json!(runs));
    }
    Ok(told)
}

/// Takes these credentials out of every door that has one, all at once; what was lent of them.
fn withdrawn(keeper: &Keeper, credentials: &BTreeSet<CredentialName>) -> Vec<LiveLoan> {
    let because = "the credential was withdrawn: whoever answered for it has left";
    std::thread::scope(|threads| {
        let take = |name| threads.spawn(move || keeper.works.withdraw_from_doors(name, None, because));
        let threads: Vec<_> = credentials.iter().map(take).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).flatten().collect()
    })
}

/// Every agent and credential that nobody answers for any more.
fn ended(keeper: &Keeper) -> (BTreeSet<AgentName>, BTreeSet<CredentialName>) {
    let (works, config) = (&keeper.works, keeper.works.config());
    let agents = config.agents.values().filter(|agent| works.agent_vouched(agent).tenure == Tenure::Offboarded);
    let credentials =
        config.credentials.values().filter(|config| works.credential_vouched(config).tenure == Tenure::Offboarded);
    (
        agents.map(|config| config.agent.name.clone()).collect(),
        credentials.map(|config| config.credential.name.clone()).collect(),
    )
}

/// Runs under way that are of these agents, that were lent these credentials, or that may borrow them; and whether the log
/// lists any. When it could not, nobody knows which of those that are alive these are, so it is all of them.
fn using(
    keeper: &Keeper,
    agents: &BTreeSet<AgentName>,
    credentials: &BTreeSet<CredentialName>,
    loans: &[LiveLoan],
) -> (BTreeSet<RunId>, bool) {
    let (works, config) = (&keeper.works, keeper.works.config());
    let borrows = |agent: &AgentName| {
        let loans = config.agents.get(agent).map(|config| &config.agent.loans);
        loans.is_some_and(|loans| loans.iter().any(|loan| credentials.contains(&loan.credential)))
    };
    // What was lent counts, whatever the configuration has said since.
    let mut runs: BTreeSet<RunId> = loans.iter().map(|loan| loan.run.clone()).collect();
    let live = works.live_runs();
    let Ok(open) = works.ledger.open_runs() else {
        runs.extend(live);
        return (runs, false);
    };
    // What is alive in this process, and what the log says is not over: either may know of a run that the other does not.
    for id in live.into_iter().chain(open.into_iter().map(|run| run.id)) {
        // One that cannot be read may be any of these.
        if works.run(&id).map_or(true, |run| agents.contains(&run.trigger().agent) || borrows(&run.trigger().agent)) {
            runs.insert(id);
        }
    }
    (runs, true)
}

/// What is meant, and who answers for it: `agent:NAME`, `credential:NAME`, `factory`, an owner, or a name that is only one of these.
fn resolve(config: &Config, name: &str) -> Result<(Vouchee, Owner), CliError> {
    let known = known(config);
    let is_meant = |(of, _): &&(Vouchee, Owner)| match of {
        Vouchee::Agent(agent) => agent.as_str() == name || of.to_string() == name,
        Vouchee::Credential(credential) => credential.as_str() == name || of.to_string() == name,
        Vouchee::Owner(owner) => owner.as_str() == name || of.to_string() == name,
        Vouchee::Factory => of.to_string() == name,
    };
    let found: Vec<&(Vouchee, Owner)> = known.iter().filter(is_meant).collect();
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => {
            let all: Vec<String> = known.iter().map(|(of, _)| of.to_string()).collect();
            Err(CliError::new(Kind::NotFound, format!("nothing that stands is called `{name}`"))
                .hint(format!("there are: {}", all.join(", "))))
        }
        more => {
            let all: Vec<String> = more.iter().map(|(of, _)| of.to_string()).collect();
            Err(CliError::new(Kind::Usage, format!("`{name}` could be more than one"))
                .hint(format!("write one of: {}", all.join(", "))))
        }
    }
}

/// Everything that somebody answers for, and everybody who does.
fn known(config: &Config) -> Vec<(Vouchee, Owner)> {
    let agents = config.agents.values().filter(|config| config.tries.is_none());
    let agents = agents.map(|config| (Vouchee::Agent(config.agent.name.clone()), config.agent.owner.clone()));
    let credentials = config.credentials.values().map(|config| &config.credential);
    let credentials = credentials.map(|own| (Vouchee::Credential(own.name.clone()), own.owner.clone()));
    let mut known: Vec<(Vouchee, Owner)> = agents.chain(credentials).collect();
    known.push((Vouchee::Factory, config.owner.clone()));
    let owners: BTreeSet<Owner> = known.iter().map(|(_, owner)| owner.clone()).collect();
    known.extend(owners.into_iter().map(|owner| (Vouchee::Owner(owner.clone()), owner)));
    known
}

/// Whether this uid is certainly not the account of that owner: whose name is the owner, or what stands before the owner's `@`.
/// An account that only a directory service knows could be theirs under any name.
fn is_somebody_else(uid: u32, owner: &Owner, of: &Vouchee) -> Result<(), CliError> {
    const ANOTHER: &str = "or `selvedge.toml` names another owner";
    let accounts = std::fs::read_to_string(ACCOUNTS).unwrap_or_default();
    let name = |line: &str| match line.split(':').collect::<Vec<_>>().as_slice() {
        [name, _, number, ..] if number.parse() == Ok(uid) => Some((*name).to_owned()),
        _ => None,
    };
    // One uid may have several names.
    let names: Vec<String> = accounts.lines().filter_map(name).collect();
    let is_owner = |name: &String| {
        let owner = owner.as_str();
        owner == name || owner.split_once('@').is_some_and(|(local, _)| local == name)
    };
    if names.is_empty() {
        let whose = format!("cannot tell whose account uid {uid} is, and {owner} was offboarded: it could be theirs");
        return Err(CliError::new(Kind::Refused, format!("{whose}, so it does not vouch for {of}"))
            .hint(format!("somebody whose account is in `{ACCOUNTS}` of this machine vouches for it, {ANOTHER}")));
    }
    if names.iter().any(is_owner) {
        return Err(CliError::new(Kind::Refused, format!("{owner} was offboarded, and does not vouch for {of}"))
            .hint(format!("somebody else vouches for it, {ANOTHER}")));
    }
    Ok(())
}

fn record(keeper: &Keeper, of: &Vouchee, owner: &Owner, change: TenureChange, uid: u32) -> Result<u64, CliError> {
    let record = Record::TenureChanged { of: of.clone(), owner: owner.clone(), change };
    let actor = Actor::Person(Person::from_uid(uid));
    let entry = Entry { at: keeper.works.now(), run: None, actor, owner: None, record };
    keeper.works.ledger.append_entry(entry, Class::Durable).map_err(|error| CliError::caused(Kind::Ledger, &error))
}
