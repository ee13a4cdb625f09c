//! How long a turn of an agent may be held for a person.

use selvedge_domain::Duration;

use super::{ConfigError, Reader};

/// Where nothing is said: long enough to read a command and what it is for.
const HOLD_AT_MOST_DEFAULT: Duration = Duration::from_seconds(180);

/// And at most: agents give up on an answer that takes ten minutes, and a run that waits for longer is better parked.
const HOLD_AT_MOST_LONGEST: Duration = Duration::from_seconds(600);

/// What is written where no turn is held.
const NEVER: &str = "never";

impl Reader<'_> {
    /// Reads `hold_at_most`; no time at all where no turn is held.
    pub(super) fn hold_at_most(&self, key: &str, written: Option<&str>) -> Result<Duration, ConfigError> {
        let span = match written {
            None => return Ok(HOLD_AT_MOST_DEFAULT),
            Some(NEVER) => return Ok(Duration::ZERO),
            Some(text) => self.span(key, text)?,
        };
        if span > HOLD_AT_MOST_LONGEST {
            return self.bad(
                key,
                "is longer than 10 minutes, for which a turn is held at most; have `task.admit` ask who needs longer",
            );
        }
        Ok(span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn read(line: &str) -> Result<Duration, ConfigError> {
        let text = format!("[repo.r]\npath = \"/r\"\nbranch = \"main\"\n{line}\n");
        let config = Config::parse("selvedge.toml", &text)?;
        Ok(config.repos.values().next().unwrap().repository.hold_at_most)
    }

    #[test]
    fn a_turn_is_held_for_minutes_at_most_c8() {
        let seconds = |line: &str| read(line).unwrap().as_millis() / 1000;
        assert_eq!((seconds(""), seconds("hold_at_most = \"1s\""), seconds("hold_at_most = \"10m\"")), (180, 1, 600));
        assert_eq!(read("hold_at_most = \"never\"").unwrap(), Duration::ZERO);
        for line in ["hold_at_most = \"11m\"", "hold_at_most = \"0s\"", "hold_at_most = \"1h\"", "hold_at_most = \"\""]
        {
            assert!(read(line).unwrap_err().to_string().contains("hold_at_most"), "{line}");
        }
    }
}
