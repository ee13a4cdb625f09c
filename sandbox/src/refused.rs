//! Owns how a start is refused: which layer is missing, why, and what would mend it.

use std::fmt;

use selvedge_jail::Failed;

/// A sandbox that was not started. Nothing of it is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The layer that could not be had.
    pub layer: Layer,
    /// What was seen.
    pub reason: String,
    /// What a person can do about it.
    pub remedy: &'static str,
}

impl Refused {
    pub(crate) fn new(layer: Layer, reason: impl Into<String>) -> Self {
        Self { layer, reason: reason.into(), remedy: layer.remedy() }
    }

    pub(crate) fn io(layer: Layer, doing: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self::new(layer, format!("{doing}: {error}"))
    }
}

impl From<&Failed> for Refused {
    fn from(failed: &Failed) -> Self {
        Self::new(Layer::of_step(&failed.step), failed.to_string())
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sandbox refused, {} is missing: {}", self.layer, self.reason)
    }
}

impl std::error::Error for Refused {}

macro_rules! layers {
    ($($(#[$doc:meta])* $name:ident $shown:literal $remedy:literal;)*) => {
        /// The layers of a native sandbox.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Layer { $($(#[$doc])* $name),* }

        impl Layer {
            /// Every layer, from the request to the proof.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            fn shown(self) -> &'static str {
                match self { $(Self::$name => $shown),* }
            }

            /// What a person can do when it is missing.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy),* }
            }
        }
    };
}

layers! {
    /// What was asked for makes sense.
    Request "a sound request" "correct the request";
    /// Room in the state directory.
    State "a state directory" "make the state directory writable for the keeper and free some space";
    /// The launcher.
    Launcher "the launcher" "install `selvedge-jail` beside `selvedge`, or run the main executable, which contains it";
    /// A host user per sandbox.
    HostUser "a host user of its own" "as an ordinary user: install the package `uidmap` and give this user a range in /etc/subuid and /etc/subgid (`usermod --add-subuids 200000-265535 --add-subgids 200000-265535 USER`); as root: take ids above 1,899,999,998 out of /etc/subuid and /etc/subgid";
    /// User, mount, process, network, message, name and control group namespaces.
    Namespaces "namespaces" "allow user namespaces: `sysctl user.max_user_namespaces=10000`; on Ubuntu 24.04 or newer also allow them for the launcher in AppArmor (`userns,`), or run the keeper as root";
    /// Limits on memory, processors and processes.
    ControlGroups "control groups" "delegate a control group with memory, pids and cpu to the keeper, for example `systemd-run --user --scope -p Delegate=yes`, or run the keeper as root";
    /// The file tree.
    Mounts "its own file tree" "use a kernel from 6.6 on with overlayfs and tmpfs, and a host where /proc is not masked (a container without nesting masks it)";
    /// Listeners on a loopback of its own.
    Loopback "its own network" "use a kernel with network namespaces";
    /// Landlock.
    Landlock "Landlock" "boot a kernel from 6.2 on with `landlock` in the `lsm=` list";
    /// The system call filter.
    Filter "the system call filter" "use a kernel with seccomp filters and user notification (5.0 or newer)";
    /// The proof from inside.
    SelfTest "the proof from inside" "report this: a layer was set up and does not hold on this kernel";
    /// The program itself.
    Program "the program" "check that the program exists inside the sandbox and may be executed";
}

impl Layer {
    /// Which layer a step of the launcher belongs to.
    fn of_step(step: &str) -> Self {
        const STEPS: &[(&str, Layer)] = &[
            ("self-test", Layer::SelfTest),
            ("landlock", Layer::Landlock),
            ("install filter", Layer::Filter),
            ("execute program", Layer::Program),
            ("enter directory", Layer::Program),
            ("find program", Layer::Program),
            ("clone into", Layer::Namespaces),
            ("fork the payload", Layer::Namespaces),
            ("forbid user namespaces", Layer::Namespaces),
            ("make translation", Layer::Namespaces),
            ("write id map", Layer::HostUser),
            ("run", Layer::HostUser),
            ("/", Layer::HostUser),
            ("become", Layer::HostUser),
            ("open control group", Layer::ControlGroups),
            ("join control group", Layer::ControlGroups),
            ("limit resource", Layer::ControlGroups),
            ("listen on", Layer::Loopback),
            ("turn the loopback", Layer::Loopback),
            ("read spec", Layer::Launcher),
            ("read message", Layer::Launcher),
            ("send message", Layer::Launcher),
            ("receive message", Layer::Launcher),
            ("wait", Layer::Launcher),
        ];
        let known = STEPS.iter().find(|(prefix, _)| step.starts_with(prefix));
        known.map_or(Self::Mounts, |(_, layer)| *layer)
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_names_its_layer_and_a_remedy() {
        let failed = |step: &str| Failed { step: step.to_owned(), errno: 1, detail: String::new() };
        assert_eq!(Refused::from(&failed("clone into namespaces")).layer, Layer::Namespaces);
        assert_eq!(Refused::from(&failed("self-test: no way to the network")).layer, Layer::SelfTest);
        assert_eq!(Refused::from(&failed("/usr/bin/newuidmap")).layer, Layer::HostUser);
        for layer in Layer::ALL {
            assert!(!layer.remedy().is_empty());
        }
    }
}
