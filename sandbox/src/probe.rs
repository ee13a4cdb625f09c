//! Owns the report on a host: which layers it has, and what would mend those it lacks. The last word is a sandbox that
//! was really built.

use std::fmt;

use crate::driver::NativeDriver;
use crate::place::{Level, Network, Place};
use crate::refused::Layer;

/// What a host can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The level asked for.
    pub level: Level,
    /// Each layer.
    pub rows: Vec<Row>,
}

/// One layer of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The layer.
    pub layer: Layer,
    /// What was seen, or why it is missing.
    pub seen: Result<String, String>,
}

impl Report {
    /// Whether a sandbox of this level can be had.
    pub fn complete(&self) -> bool {
        self.rows.iter().all(|row| row.seen.is_ok())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| layer | level {} |\n|---|---|", self.level)?;
        for row in &self.rows {
            match &row.seen {
                Ok(seen) => writeln!(f, "| {} | {seen} |", row.layer)?,
                Err(reason) => writeln!(f, "| {} | missing: {reason}; {} |", row.layer, row.layer.remedy())?,
            }
        }
        Ok(())
    }
}

impl NativeDriver {
    /// Looks at every layer, builds a sandbox, runs `true` in it, and takes it away again.
    pub fn probe(&self) -> Report {
        let id = format!("probe-{}", std::process::id());
        let place = Place { network: Network::Doors, ..Place::new(["true"]) };
        let built = self.run_tool(&id, &place);
        let refused = built.as_ref().err();
        let row = |layer: Layer| {
            let seen = match refused {
                Some(refused) if refused.layer == layer => Err(refused.reason.clone()),
                // The launcher stops at the first layer that fails; those it never came to are not known to hold.
                Some(refused) if refused.layer < layer => Err("not reached".to_owned()),
                _ => Ok(self.described(layer)),
            };
            Row { layer, seen }
        };
        let mut rows: Vec<Row> = Layer::ALL.iter().copied().map(row).collect();
        if let Some(exit) = built.ok().map(|output| output.exit).filter(|exit| !exit.success())
            && let Some(row) = rows.iter_mut().find(|row| row.layer == Layer::Program)
        {
            row.seen = Err(format!("`true` ended with {:?}", exit.ended));
        }
        Report { level: self.setup.level, rows }
    }

    fn described(&self, layer: Layer) -> String {
        let level = self.setup.level;
        match layer {
            Layer::Request | Layer::Program => "accepted".to_owned(),
            Layer::State => self.setup.state.display().to_string(),
            Layer::Launcher => self.setup.launcher.display().to_string(),
            Layer::HostUser => match level {
                Level::Full => format!(
                    "one of {} to {} for each live sandbox",
                    self.setup.host_ids.start,
                    self.setup.host_ids.end - 1
                ),
                Level::User => {
                    "a subordinate id for each live sandbox; the keeper's own for places with read-write binds"
                        .to_owned()
                }
            },
            Layer::Namespaces => {
                "user, mount, process, network, message, name, control group; none can be made inside".to_owned()
            }
            Layer::ControlGroups => format!("memory, processors, processes by {}", self.hierarchies.shown()),
            Layer::Mounts => match level {
                Level::Full => {
                    "read-only system, scratch bounded in bytes and files, workspace with mapped owners".to_owned()
                }
                Level::User => {
                    "read-only system, scratch bounded in bytes and files, workspace copied to its owner".to_owned()
                }
            },
            Layer::Loopback => "loopback only; doors are sockets made inside and accepted on outside".to_owned(),
            Layer::Landlock => {
                format!("version {} spoken by the kernel, fully enforced", selvedge_jail::landlock_version())
            }
            Layer::Filter => "allow list; the rest refused and recorded".to_owned(),
            Layer::SelfTest => "each layer seen to hold from inside before every start".to_owned(),
        }
    }
}
