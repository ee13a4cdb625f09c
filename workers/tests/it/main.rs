//! The crate from outside: real advisories, the real cargo, a registry on loopback.

#[cfg(test)]
mod acp;
#[cfg(test)]
mod advisories;
mod agents;
#[cfg(test)]
mod checks;
#[cfg(test)]
mod remediate;
#[cfg(test)]
mod support;
