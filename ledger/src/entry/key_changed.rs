//! `key_changed`: a person stored or removed the key, or had an App made that came with one, of a configured credential. Never the key.

use selvedge_authority::{KeyChange, Record};
use selvedge_domain::CredentialName;
use serde::{Deserialize, Serialize};

use super::{Kind, Malformed, read_as};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct V1 {
    credential: String,
    change: ChangeV1,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
enum ChangeV1 {
    Stored {},
    Made { app: u64 },
    Removed {},
}

impl V1 {
    pub(super) fn store(credential: &CredentialName, change: KeyChange) -> Self {
        let change = match change {
            KeyChange::Stored => ChangeV1::Stored {},
            KeyChange::Made { app } => ChangeV1::Made { app },
            KeyChange::Removed => ChangeV1::Removed {},
        };
        Self { credential: credential.to_string(), change }
    }

    fn restore(self) -> Result<Record, Malformed> {
        let change = match self.change {
            ChangeV1::Stored {} => KeyChange::Stored,
            ChangeV1::Made { app } => KeyChange::Made { app },
            ChangeV1::Removed {} => KeyChange::Removed,
        };
        Ok(Record::KeyChanged { credential: CredentialName::parse(&self.credential)?, change })
    }
}

impl Kind for V1 {
    const NAME: &'static str = "key_changed";
    const VERSION: u32 = 1;

    fn read(version: u32, body: &str) -> Option<Result<Record, Malformed>> {
        match version {
            1 => read_as(body, Self::restore),
            _ => None,
        }
    }
}
