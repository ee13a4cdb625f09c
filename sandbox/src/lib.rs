//! The place an agent runs: a driver that builds sandboxes out of the kernel's own namespaces.
//!
//! Owns who a sandbox is on the host, what it may use up, its life from start to removal, and the only way its files come
//! out. Knows no run, no policy, no credential, and holds no privilege of its own beyond the keeper's: what needs `unsafe`
//! or a capability is done by the launcher, the crate `jail`.
//!
//! ```no_run
//! use selvedge_sandbox::{HOST_IDS, Level, NativeDriver, Place, Setup};
//!
//! let driver = NativeDriver::new(Setup {
//!     state: "/var/lib/selvedge/sandboxes".into(),
//!     launcher: "/usr/libexec/selvedge-jail".into(),
//!     level: Level::Full,
//!     host_ids: HOST_IDS,
//! })?;
//! let mut sandbox = driver.start("r-0123456789abc", &Place::new(["make", "test"]))?;
//! sandbox.release()?;
//! let exit = sandbox.wait(&mut |event| println!("{event:?}"));
//! sandbox.destroy()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cgroup;
mod collect;
mod control;
mod driver;
mod footprint;
mod live;
mod owner;
mod place;
mod probe;
mod reads;
mod refused;
mod streams;
mod tool;

pub use collect::{ChangeSet, CollectError, CollectLimits, Ignored};
pub use driver::{Listeners, NativeDriver, Setup};
pub use live::{Dead, Ended, Event, Exit, Handed, Killer, Limit, Sandbox, Stream};
pub use owner::{DOOR_ID, HOST_IDS};
pub use place::{Access, Bind, File, Input, Level, Limits, Network, OBSERVED_FILES_MAX, Observe, Place, Workspace};
pub use probe::{Report, Row};
pub use reads::Reads;
pub use refused::{Layer, Refused};
pub use selvedge_jail::{Argument, Started};
pub use tool::ToolOutput;
