//! The rules in force: policies and configuration, taken up again when the operator changes them (requirement D12).

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use selvedge_authority::{Class, Entry, Journal, Judge, Observation, Question, Record, Verdict};
use selvedge_domain::{Actor, Digest};
use selvedge_factory::ports::Clock;

use super::secrets::masked;
use super::{Works, load_policies};
use crate::config::{CONFIG_BYTES_MAX, Config, ConfigError};
use crate::errors::{CliError, Kind};
use crate::keeper::State;

/// Decides by whatever policies are in force at that moment, however long whoever asks has been at work.
pub(crate) struct CurrentJudge<'a>(pub(crate) &'a Works);

impl Judge for CurrentJudge<'_> {
    fn judge(&self, question: &Question<'_>) -> Verdict {
        self.0.judge().judge(question)
    }
}

/// What the files of the rules looked like: when they were written, how long they are, which they are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen(BTreeMap<PathBuf, (i64, i64, u64, u64)>);

impl Seen {
    pub(super) fn of(state: &State) -> Self {
        let policies = std::fs::read_dir(state.at("policies")).into_iter().flatten().flatten();
        let files = policies.map(|entry| entry.path()).chain([state.config()]);
        Self(files.filter_map(|path| Some((path.clone(), Self::look(&path)?))).collect())
    }

    fn look(path: &Path) -> Option<(i64, i64, u64, u64)> {
        let found = std::fs::metadata(path).ok()?;
        Some((found.mtime(), found.mtime_nsec(), found.size(), found.ino()))
    }
}

/// A configuration that was looked at and not taken up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotInForce {
    /// The file, the key and the reason, in one line.
    pub(crate) because: String,
    /// Fingerprint of what stood in the file.
    content: Digest,
    /// Whether an earlier one of the operator's is in force. Otherwise what is held only lets things be stopped.
    pub(crate) another_is: bool,
}

impl NotInForce {
    pub(super) fn new(state: &State, error: &ConfigError) -> Self {
        let lines = CliError::caused(Kind::Config, error).message;
        let mut bytes = Vec::new();
        // What cannot be read is told from other contents by why it cannot.
        let _read =
            std::fs::File::open(state.config()).and_then(|file| file.take(CONFIG_BYTES_MAX).read_to_end(&mut bytes));
        let content = Digest::of_parts([bytes.as_slice(), lines.as_bytes()]);
        // It is recorded, and somebody may have pasted a secret where none belongs (C7).
        let because = masked(&lines.split_whitespace().collect::<Vec<_>>().join(" "));
        Self { because, content, another_is: true }
    }

    pub(super) fn without_another(self) -> Self {
        Self { another_is: false, ..self }
    }
}

impl Works {
    /// Takes up policies and configuration that changed. Says so, in words for the operator; none when nothing changed.
    ///
    /// Policies that do not load deny everything. A configuration that does not load changes nothing: the one in force was
    /// sound, and what takes authority away does not need it.
    pub(crate) fn refresh_rules(&self) -> Option<String> {
        let now = Seen::of(&self.state);
        let mut seen = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == now {
            return None;
        }
        *seen = now;
        drop(seen);
        let (judge, policies) = load_policies(&self.state);
        *self.judge.write().unwrap_or_else(PoisonError::into_inner) = judge;
        let policies_before =
            std::mem::replace(&mut *self.policies.write().unwrap_or_else(PoisonError::into_inner), policies);
        let trouble = match Config::load(&self.state.config(), self.now()) {
            Ok(config) => {
                let before = self.config().issuer.clone();
                *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                self.configure_lending();
                self.withdraw_what_is_not_given();
                *self.not_in_force.write().unwrap_or_else(PoisonError::into_inner) = None;
                if before != self.config().issuer
                    && let Some(detail) = self.awaits_restart()
                {
                    let code = "restart_needed".to_owned();
                    self.record_of_rules(Record::Observed(Observation::Finding { code, detail }));
                }
                None
            }
            Err(error) => {
                self.refuse_configuration(NotInForce::new(&self.state, &error));
                Some(CliError::from(error))
            }
        };
        // A configuration that was refused is no change; the policies beside it may be one.
        if trouble.is_none() || policies != policies_before {
            self.record_of_rules(Record::RulesChanged { configuration: self.config().digest, policies });
        }
        Some(match (trouble, policies) {
            (Some(error), _) => format!("the configuration is not taken up until it is mended: {error}"),
            (None, None) => {
                "the policies do not load, so everything is denied; `selvedge policy check` says why".to_owned()
            }
            (None, Some(_)) => match self.awaits_restart() {
                Some(because) => format!("policies and configuration were read again; {because}"),
                None => "policies and configuration were read again".to_owned(),
            },
        })
    }

    /// What of the configuration in force waits for a keeper to start, and what is so until then; none when nothing does. Under one
    /// issuer keys are opened, published and checked, so it does not change under runs that have its documents.
    pub(crate) fn awaits_restart(&self) -> Option<String> {
        let config = self.config();
        let (wanted, used) = (&config.issuer, self.lending.identities.issuer.name());
        (wanted != used).then(|| {
            format!(
                "`[factory]` names the issuer {} of trust domain `{}`, and identities are made by {} of `{}` until \
                 `selvedge serve` is started anew",
                wanted.as_str(),
                wanted.trust_domain(),
                used.as_str(),
                used.trust_domain()
            )
        })
    }

    /// Remembers why it is not in force, and records that once for each content.
    fn refuse_configuration(&self, refused: NotInForce) {
        let mut current = self.not_in_force.write().unwrap_or_else(PoisonError::into_inner);
        let before = current.take();
        let another_is = before.as_ref().is_none_or(|before| before.another_is);
        let is_new = before.is_none_or(|before| before.content != refused.content);
        let detail = format!("{}; the configuration before it stays in force", refused.because);
        *current = Some(NotInForce { another_is, ..refused });
        drop(current);
        if is_new {
            let code = "configuration_refused".to_owned();
            self.record_of_rules(Record::Observed(Observation::Finding { code, detail }));
        }
    }

    fn record_of_rules(&self, record: Record) {
        let entry = Entry { at: self.now(), run: None, actor: Actor::Factory, owner: None, record };
        // What cannot be recorded now decides all the same: the next decision fails on the same record.
        let _unrecorded = self.ledger.append(entry, Class::Durable);
    }
}
