//! What is on record of how agents behave is found for each of them, last first to go, and believed only where the log has it.

use rusqlite::Connection;
use selvedge_authority::{Class, Entry, Record};
use selvedge_domain::{AgentName, Autonomy, Behaviour, Capabilities, Departure, Started};

use crate::support::*;

fn drifted(agent: &str, seen: Autonomy) -> Record {
    let facts = Capabilities {
        started: Started::Clock,
        chain_depth: 0,
        model_calls: 1,
        tool_calls: 0,
        tools: 0,
        queued: 0,
        changes: 0,
        confirmed: 0,
        powers: std::collections::BTreeSet::new(),
    };
    let behaviour = Behaviour::Drifted { registered: Autonomy::Assistant, seen, facts };
    Record::Behaved { agent: AgentName::parse(agent).unwrap(), behaviour }
}

fn departed(agent: &str, host: &str) -> Record {
    let behaviour = Behaviour::Departed { departures: vec![Departure::Host(host.to_owned())], lowers_trust: true };
    Record::Behaved { agent: AgentName::parse(agent).unwrap(), behaviour }
}

#[test]
fn the_last_of_each_sort_are_found_for_each_agent_and_only_what_the_log_has_b5_g8_a106() {
    let place = Place::new();
    let ledger = place.open();
    let append = |at, record| ledger.append_entry(entry(at, None, record), Class::Durable).unwrap();
    append(1, departed("fixer", "a.example"));
    let second = append(2, departed("fixer", "b.example"));
    let third = append(3, departed("fixer", "c.example"));
    let step = append(4, drifted("fixer", Autonomy::Supervised));
    let other = append(5, drifted("other", Autonomy::Autonomous));
    let found = ledger.behaviours(2).unwrap();
    let seqs = |found: &[(u64, Entry)]| found.iter().map(|(seq, _)| *seq).collect::<Vec<_>>();
    assert_eq!(seqs(&found), [second, third, step, other]);
    ledger.rebuild_projections().unwrap();
    assert_eq!(ledger.behaviours(2).unwrap(), found);

    let db = Connection::open(place.database()).unwrap();
    db.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
    for forged in
        ["UPDATE p_behaviour SET agent = 'other' WHERE seq = 2", "UPDATE p_behaviour SET seq = 99 WHERE seq = 4"]
    {
        ledger.rebuild_projections().unwrap();
        assert_eq!(db.execute(forged, []).unwrap(), 1);
        assert!(ledger.behaviours(2).is_err(), "{forged}");
    }
}
