//! The stored form of records: kind, version and JSON body, converted explicitly to and from the types the factory thinks in.
//!
//! Owns what is on disk and nothing else does: a domain type may change its shape, a stored one only gets a successor.
//! Bodies are never rewritten; a body of an old version is upcast when it is read. Knows no database and no hashing.

mod approval_asked;
mod approval_denied;
mod behaved;
mod decided;
mod done;
mod happened;
mod held;
mod keeper_started;
mod key_changed;
mod not_done;
mod observed;
mod parts;
mod relinquished;
#[cfg(test)]
mod roundtrip;
mod rules_changed;
mod run_began;
mod tenure_changed;
mod triggered;

use selvedge_authority::Record;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A record as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Which kind of record.
    pub(crate) kind: &'static str,
    /// Which version of that kind's form.
    pub(crate) version: u32,
    /// The form, as JSON.
    pub(crate) body: String,
}

/// Why a stored record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It has a kind or version this program does not know.
    #[error("a `{kind}` entry of version {version} was written by a newer Selvedge")]
    Newer {
        /// Its kind.
        kind: String,
        /// Its version.
        version: u32,
    },
    /// It does not hold what its kind and version promise.
    #[error("a `{kind}` entry cannot be read: {because}")]
    Malformed {
        /// Its kind.
        kind: String,
        /// What is wrong.
        because: String,
    },
}

/// A value inside a body that is not what it should be.
#[derive(Debug)]
struct Malformed(String);

macro_rules! malformed_from {
    ($($error:ty),*) => {$(
        impl From<$error> for Malformed {
            fn from(error: $error) -> Self {
                Self(error.to_string())
            }
        }
    )*};
}
malformed_from!(selvedge_domain::BadId, selvedge_domain::BadName, selvedge_domain::BadDigest, serde_json::Error);

/// Reads a word of a closed list.
fn word<T>(what: &str, text: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, Malformed> {
    parse(text)
        .ok_or_else(|| Malformed(format!("`{}` is not {what}", text.escape_debug().take(80).collect::<String>())))
}

/// One kind of record: its name, its current form, and how to read every form it ever had.
trait Kind: Serialize {
    const NAME: &'static str;
    const VERSION: u32;

    /// The version this one is written as: one that holds nothing new is written as it always was, and an older program goes
    /// on reading it.
    fn version(&self) -> u32 {
        Self::VERSION
    }

    /// The record that `body` of `version` stands for; none when the version is newer than this program.
    fn read(version: u32, body: &str) -> Option<Result<Record, Malformed>>;
}

/// Reads `body` as the form `F` and turns it into a record.
fn read_as<F: DeserializeOwned>(
    body: &str,
    restore: impl FnOnce(F) -> Result<Record, Malformed>,
) -> Option<Result<Record, Malformed>> {
    Some(serde_json::from_str::<F>(body).map_err(Malformed::from).and_then(restore))
}

/// The record as it is stored from now on.
pub(crate) fn encode(record: &Record) -> Result<Stored, DecodeError> {
    match record {
        Record::Triggered(trigger) => stored(&triggered::V1::store(trigger)),
        Record::RunBegan { trigger } => stored(&run_began::V1::store(trigger)),
        Record::Happened(event) => stored(&happened::V1::store(event)),
        Record::Decided { order, verdict, approval } => stored(&decided::V1::store(order, verdict, approval.as_ref())),
        Record::Done { order, verb, deed } => stored(&done::V1::store(order, *verb, deed)),
        Record::NotDone { order, verb, because } => stored(&not_done::V1::store(order, *verb, because)),
        Record::ApprovalAsked { approval, order, until } => stored(&approval_asked::V1::store(approval, order, *until)),
        Record::ApprovalDenied { approval } => stored(&approval_denied::V1::store(approval)),
        Record::Held(hold) => stored(&held::V1::store(hold)),
        Record::Relinquished(relinquished) => stored(&relinquished::V1::store(relinquished)),
        Record::Observed(observation) => stored(&observed::V1::store(observation)),
        Record::KeeperStarted { version, configuration, policies } => {
            stored(&keeper_started::V1::store(version, configuration, policies.as_ref()))
        }
        Record::KeyChanged { credential, change } => stored(&key_changed::V1::store(credential, *change)),
        Record::Behaved { agent, behaviour } => stored(&behaved::V1::store(agent, behaviour)),
        Record::TenureChanged { of, owner, change } => stored(&tenure_changed::V1::store(of, owner, *change)),
        Record::RulesChanged { configuration, policies } => {
            stored(&rules_changed::V1::store(configuration, policies.as_ref()))
        }
    }
}

fn stored<K: Kind>(form: &K) -> Result<Stored, DecodeError> {
    let body = serde_json::to_string(form)
        .map_err(|error| DecodeError::Malformed { kind: K::NAME.to_owned(), because: error.to_string() })?;
    Ok(Stored { kind: K::NAME, version: form.version(), body })
}

/// The record a stored body stands for.
pub(crate) fn decode(kind: &str, version: u32, body: &str) -> Result<Record, DecodeError> {
    let read = match kind {
        triggered::V1::NAME => triggered::V1::read(version, body),
        run_began::V1::NAME => run_began::V1::read(version, body),
        happened::V1::NAME => happened::V1::read(version, body),
        decided::V1::NAME => decided::V1::read(version, body),
        done::V1::NAME => done::V1::read(version, body),
        not_done::V1::NAME => not_done::V1::read(version, body),
        approval_asked::V1::NAME => approval_asked::V1::read(version, body),
        approval_denied::V1::NAME => approval_denied::V1::read(version, body),
        held::V1::NAME => held::V1::read(version, body),
        relinquished::V1::NAME => relinquished::V1::read(version, body),
        observed::V1::NAME => observed::V1::read(version, body),
        keeper_started::V1::NAME => keeper_started::V1::read(version, body),
        key_changed::V1::NAME => key_changed::V1::read(version, body),
        tenure_changed::V1::NAME => tenure_changed::V1::read(version, body),
        behaved::V1::NAME => behaved::V1::read(version, body),
        rules_changed::V1::NAME => rules_changed::V1::read(version, body),
        _ => None,
    };
    match read {
        None => Err(DecodeError::Newer { kind: kind.to_owned(), version }),
        Some(Err(Malformed(because))) => Err(DecodeError::Malformed { kind: kind.to_owned(), because }),
        Some(Ok(record)) => Ok(record),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_kind_or_version_is_from_a_newer_selvedge() {
        let newer = |kind: &str, version| decode(kind, version, "{}");
        assert!(matches!(newer("dreamt", 1), Err(DecodeError::Newer { .. })));
        let known = encode(&Record::RunBegan { trigger: selvedge_domain::TriggerId::from_entropy(1) }).unwrap();
        assert!(matches!(newer(known.kind, known.version + 1), Err(DecodeError::Newer { .. })));
        assert!(newer(known.kind, 99).unwrap_err().to_string().contains("newer Selvedge"));
    }

    #[test]
    fn a_body_that_breaks_its_promise_is_refused() {
        for body in ["", "{}", "null", r#"{"trigger":"../../etc"}"#, r#"{"trigger":"g-0000000000001","extra":1}"#] {
            assert!(matches!(decode("run_began", 1, body), Err(DecodeError::Malformed { .. })), "{body}");
        }
    }
}
