//! The courier: a process that asks a credential's provider one thing and ends. It stands behind the fences of a door, holds
//! only what it was sent with, and brings back a few named values. So what a provider answers is read where no other secret
//! is (invariant 11), and the keeper never speaks HTTP.

pub(crate) mod answer;
mod process;
pub(crate) mod xml;

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use selvedge_domain::{Endpoint, Method};
use zeroize::Zeroizing;

use crate::danger;
use crate::dial::proxy::UpstreamProxy;
use crate::keeper::{RunAs, spawn};
use crate::loan::FieldName;
use crate::wire::errand::{FromCourier, WireErrand};
use crate::wire::frame::{self, FROM_DOOR_BYTES_MAX, FrameError, TO_DOOR_BYTES_MAX};
use crate::wire::message::ToDoor;

pub(crate) use process::run;

/// How long an errand may take at most, whatever its patience: a name, a connection and a slow service. A keeper that ends has
/// to wait for what is under way.
pub const PATIENCE_MAX: Duration = Duration::from_secs(45);

/// How long it takes beyond the patience it was given: for a process to start, and to say that nobody answered.
const STARTS_WITHIN: Duration = Duration::from_secs(5);

/// One request to a provider. Everything in it may be secret.
#[derive(Clone)]
pub struct Errand {
    /// Where to.
    pub endpoint: Endpoint,
    /// How.
    pub method: Method,
    /// The path, and the query if there is one.
    pub target: String,
    /// Fields besides those the courier writes itself.
    pub fields: Vec<(FieldName, Zeroizing<String>)>,
    /// The body and its media type.
    pub body: Option<(String, Zeroizing<Vec<u8>>)>,
    /// How the answer is written.
    pub reads: Reads,
    /// JSON pointers (RFC 6901) to the values that are wanted of the answer; in XML, the names of elements on the way to one.
    pub wants: Vec<String>,
    /// JSON pointers to the lists and objects of the answer whose members are to be counted.
    pub counts: Vec<String>,
    /// Upstreams that are not on the open internet, as the operator named them.
    pub dangers: Vec<danger::Upstream>,
    /// Certificates that the provider is verified against, in PEM.
    pub roots_pem: String,
    /// The proxy that leads there, unless `dangers` name it.
    pub proxy: Option<UpstreamProxy>,
    /// How long the provider may take, from looking its name up to the last byte of its answer. No longer than [`PATIENCE_MAX`].
    pub patience: Duration,
}

/// How a provider writes its answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reads {
    /// JSON. What refuses may say so with whatever it likes, and is not read.
    Json,
    /// XML, and of a refusal the text at this path is wanted.
    Xml {
        /// Where a refusal says which it is.
        why: String,
    },
}

/// What came back.
#[derive(Clone, PartialEq, Eq)]
pub struct Brought {
    /// The provider's status.
    pub status: u16,
    /// How long it asks us to wait.
    pub retry_after: Option<Duration>,
    /// The wanted values that were there: text as it is, numbers in digits, and of what is counted how many members it
    /// has, in the brackets of a list or the braces of an object.
    pub found: BTreeMap<String, String>,
}

/// Why nothing came back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// The provider was not asked.
    #[error("{0}")]
    NotAsked(String),
    /// It may have been asked, and its answer is lost.
    #[error("{0}")]
    AnswerLost(String),
}

/// Runs an errand to its end. `program` is an executable that becomes a door by its name.
pub fn carry(program: &Path, run_as: RunAs, errand: &Errand) -> Result<Brought, Failed> {
    let not_asked = |error: &dyn fmt::Display| Failed::NotAsked(format!("the courier did not start: {error}"));
    let (mut keeper, courier) = UnixStream::pair().map_err(|error| not_asked(&error))?;
    let mut child = spawn(program, run_as, courier).map_err(|error| not_asked(&error))?;
    let answer = exchange(&mut keeper, errand);
    // It ends by itself; one that does not is ended. Both fail only for one that is reaped already.
    let _ = child.kill();
    let _ = child.wait();
    match answer {
        Ok(FromCourier::Brought(brought)) => Ok(brought.into()),
        Ok(FromCourier::NotAsked { why }) => Err(Failed::NotAsked(why)),
        Ok(FromCourier::AnswerLost { why }) => Err(Failed::AnswerLost(why)),
        Err(error) => Err(Failed::AnswerLost(format!("the courier did not come back: {error}"))),
    }
}

fn exchange(keeper: &mut UnixStream, errand: &Errand) -> Result<FromCourier, FrameError> {
    let within = errand.patience.min(PATIENCE_MAX).saturating_add(STARTS_WITHIN);
    keeper.set_read_timeout(Some(within)).map_err(FrameError::Closed)?;
    keeper.set_write_timeout(Some(within)).map_err(FrameError::Closed)?;
    frame::write(keeper, &ToDoor::Errand(Box::new(WireErrand::from(errand))), TO_DOOR_BYTES_MAX)?;
    frame::read(keeper, FROM_DOOR_BYTES_MAX)
}

impl fmt::Debug for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.target.split('?').next().unwrap_or_default();
        write!(f, "Errand({} {}:{}{path})", self.method.as_str(), self.endpoint.host, self.endpoint.port)
    }
}

impl fmt::Debug for Brought {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found: Vec<&String> = self.found.keys().collect();
        write!(f, "Brought({}, {found:?})", self.status)
    }
}
