//! Owns the second fence around files: what the mounts show read-only, Landlock also refuses to write, and no signal or
//! abstract socket leaves the sandbox. It must be enforced in full for the version the kernel speaks, or nothing runs.

use ::landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetStatus, Scope, path_beneath_rules,
};

use crate::error::{Failed, Step};
use crate::spec::{self, Spec};
use crate::sys;

/// The oldest version accepted: the first that also governs truncation, without which "read-only" is not.
pub const VERSION_MIN: i32 = 3;
/// The newest version this code was tried with; a newer kernel still speaks it.
const VERSION_MAX: i32 = 6;
/// The first version with scopes for signals and abstract sockets.
pub(crate) const VERSION_WITH_SCOPES: i32 = 6;

/// Fences this process and all it will start.
pub(crate) fn restrict(spec: &Spec) -> Step<()> {
    const STEP: &str = "landlock";
    let version = sys::landlock_version();
    if version < VERSION_MIN {
        return Err(Failed::because(STEP, format!("the kernel speaks version {version}, {VERSION_MIN} is needed")));
    }
    let status = enforce(spec, version.min(VERSION_MAX)).map_err(|error| Failed::because(STEP, error.to_string()))?;
    if status.ruleset != RulesetStatus::FullyEnforced || !status.no_new_privs {
        return Err(Failed::because(STEP, format!("not fully enforced: {:?}", status.ruleset)));
    }
    Ok(())
}

fn enforce(spec: &Spec, version: i32) -> Result<RestrictionStatus, ::landlock::RulesetError> {
    let abi = ABI::from(version);
    let (all, read) = (AccessFs::from_all(abi), AccessFs::from_read(abi));
    let mut rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(all)?;
    if version >= VERSION_WITH_SCOPES {
        rules = rules.scope(Scope::from_all(abi))?;
    }
    let writable = ["/tmp", "/var/tmp", spec::HOME, "/dev", "/proc"].into_iter().map(str::to_owned);
    let workspace = spec.workspace.iter().map(|_| spec::WORKSPACE.to_owned());
    let binds = spec.binds.iter().filter(|bind| bind.access != spec::Access::ReadOnly).map(|bind| bind.target.clone());
    rules
        .create()?
        .add_rules(path_beneath_rules(["/"], read))?
        .add_rules(path_beneath_rules(writable.chain(workspace).chain(binds), all))?
        .restrict_self()
}
