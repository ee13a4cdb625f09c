//! What a door lends and how that changes, as it is written. Owns the format; what does not convert is refused, and no secret shows.

use std::time::Duration;

use selvedge_domain::Reach;
use serde::{Deserialize, Serialize};

use super::message::{BadMessage, WireReach, credential};
use super::wiped::Wiped;
use crate::loan::{FieldName, Loan, LoanChange, Placeholder, Scheme, SecretText, SignedFor, Way};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireLoan {
    credential: String,
    uses: Vec<WireReach>,
    way: WireWay,
    placeholder: String,
    /// The secret, and for how many seconds.
    secret: Option<(Wiped<String>, u64)>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum WireLoanChange {
    Withdrawn { because: String },
    Renewed { secret: Wiped<String>, seconds: u64 },
    Paused { because: String },
    Lapses { because: String },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireWay {
    Field { name: String, scheme: WireScheme },
    Signature { service: String, region: String },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireScheme {
    Bearer,
    Basic { user: String },
    Plain,
}

impl From<&Loan> for WireLoan {
    fn from(loan: &Loan) -> Self {
        Self {
            credential: loan.credential.to_string(),
            uses: loan.uses.iter().map(WireReach::from).collect(),
            way: WireWay::from(&loan.way),
            placeholder: loan.placeholder.as_str().to_owned(),
            secret: loan.secret.as_ref().map(|(secret, lasts)| (secret.expose().to_owned().into(), lasts.as_secs())),
        }
    }
}

impl TryFrom<WireLoan> for Loan {
    type Error = BadMessage;

    fn try_from(wire: WireLoan) -> Result<Self, BadMessage> {
        let secret = wire.secret.map(|(secret, seconds)| {
            let secret = SecretText::parse(secret.0.as_bytes()).map_err(|_| BadMessage("secret"))?;
            Ok((secret, Duration::from_secs(seconds)))
        });
        Ok(Self {
            credential: credential(&wire.credential)?,
            uses: wire.uses.into_iter().map(Reach::try_from).collect::<Result<_, _>>()?,
            way: Way::try_from(wire.way)?,
            placeholder: Placeholder::parse(&wire.placeholder).ok_or(BadMessage("placeholder"))?,
            secret: secret.transpose()?,
        })
    }
}

impl From<&Way> for WireWay {
    fn from(way: &Way) -> Self {
        match way {
            Way::Field(name, scheme) => Self::Field {
                name: name.as_str().to_owned(),
                scheme: match scheme {
                    Scheme::Bearer => WireScheme::Bearer,
                    Scheme::Plain => WireScheme::Plain,
                    Scheme::Basic(user) => WireScheme::Basic { user: user.as_str().to_owned() },
                },
            },
            Way::Signature(signed_for) => {
                Self::Signature { service: signed_for.service().to_owned(), region: signed_for.region().to_owned() }
            }
        }
    }
}

impl TryFrom<WireWay> for Way {
    type Error = BadMessage;

    fn try_from(wire: WireWay) -> Result<Self, BadMessage> {
        Ok(match wire {
            WireWay::Field { name, scheme } => Self::Field(
                FieldName::parse(&name).ok_or(BadMessage("field"))?,
                match scheme {
                    WireScheme::Bearer => Scheme::Bearer,
                    WireScheme::Plain => Scheme::Plain,
                    WireScheme::Basic { user } => Scheme::basic(&user).ok_or(BadMessage("user"))?,
                },
            ),
            WireWay::Signature { service, region } => {
                Self::Signature(SignedFor::parse(&service, &region).map_err(|_| BadMessage("signature"))?)
            }
        })
    }
}

impl std::fmt::Debug for WireLoan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WireLoan({})", self.credential)
    }
}

impl From<&LoanChange> for WireLoanChange {
    fn from(change: &LoanChange) -> Self {
        match change {
            LoanChange::Withdrawn { because } => Self::Withdrawn { because: because.clone() },
            LoanChange::Renewed { secret, lasts } => {
                Self::Renewed { secret: secret.expose().to_owned().into(), seconds: lasts.as_secs() }
            }
            LoanChange::Paused { because } => Self::Paused { because: because.clone() },
            LoanChange::Lapses { because } => Self::Lapses { because: because.clone() },
        }
    }
}

impl TryFrom<WireLoanChange> for LoanChange {
    type Error = BadMessage;

    fn try_from(wire: WireLoanChange) -> Result<Self, BadMessage> {
        Ok(match wire {
            WireLoanChange::Withdrawn { because } => Self::Withdrawn { because },
            WireLoanChange::Renewed { secret, seconds } => Self::Renewed {
                secret: SecretText::parse(secret.0.as_bytes()).map_err(|_| BadMessage("secret"))?,
                lasts: Duration::from_secs(seconds),
            },
            WireLoanChange::Paused { because } => Self::Paused { because },
            WireLoanChange::Lapses { because } => Self::Lapses { because },
        })
    }
}

impl std::fmt::Debug for WireLoanChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Withdrawn { .. } => "Withdrawn",
            Self::Renewed { .. } => "Renewed",
            Self::Paused { .. } => "Paused",
            Self::Lapses { .. } => "Lapses",
        })
    }
}
