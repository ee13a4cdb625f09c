//! What an agent is declared to do on the way, and which files of a repository are sensitive besides those we know by name.

use std::collections::BTreeSet;

use selvedge_domain::{BadPattern, Declared, PathPattern, ProgramPattern};

use super::{ConfigError, Reader, file};

impl Reader<'_> {
    pub(super) fn declared(&self, key: &str, written: &file::effects::Effects) -> Result<Declared, ConfigError> {
        let file::effects::Effects { runs, writes } = written;
        Ok(Declared {
            runs: runs
                .as_ref()
                .map(|words| self.patterns(key, "effects.runs", words, ProgramPattern::parse))
                .transpose()?,
            writes: writes
                .as_ref()
                .map(|words| self.patterns(key, "effects.writes", words, PathPattern::parse))
                .transpose()?,
        })
    }

    /// Each word as a pattern; the first that is none is named with its key.
    pub(super) fn patterns<P: Ord>(
        &self,
        key: &str,
        of: &str,
        words: &[String],
        parse: impl Fn(&str) -> Result<P, BadPattern>,
    ) -> Result<BTreeSet<P>, ConfigError> {
        words.iter().map(|word| parse(word).or_else(|bad| self.bad(format!("{key}.{of}"), bad.to_string()))).collect()
    }
}
