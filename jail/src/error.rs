//! Owns how a step of the launch fails: its name and the kernel's answer. Every failure is fatal; nothing is retried
//! and nothing is made weaker instead.

use std::fmt;
use std::io;

/// A step that failed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// What was being done, in words a person can look for.
    pub step: String,
    /// The kernel's error number, 0 when the kernel was not the one to refuse.
    pub errno: i32,
    /// What it was done to, or what was seen instead.
    pub detail: String,
}

impl Failed {
    /// A refusal of our own: the kernel did what was asked, and the result is not what must hold.
    pub(crate) fn because(step: &str, detail: impl Into<String>) -> Self {
        Self { step: step.to_owned(), errno: 0, detail: detail.into() }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.step)?;
        if !self.detail.is_empty() {
            write!(f, " `{}`", self.detail.escape_debug())?;
        }
        if self.errno != 0 {
            write!(f, ": {}", io::Error::from_raw_os_error(self.errno))?;
        }
        Ok(())
    }
}

impl std::error::Error for Failed {}

/// What a step of the launch returns.
pub(crate) type Step<T> = Result<T, Failed>;

/// Names the step an error belongs to.
pub(crate) trait Named<T> {
    /// The step alone.
    fn step(self, step: &str) -> Step<T>;
    /// The step and what it was done to.
    fn step_on(self, step: &str, detail: impl fmt::Display) -> Step<T>;
}

impl<T> Named<T> for io::Result<T> {
    fn step(self, step: &str) -> Step<T> {
        self.step_on(step, "")
    }

    fn step_on(self, step: &str, detail: impl fmt::Display) -> Step<T> {
        self.map_err(|error| Failed {
            step: step.to_owned(),
            errno: error.raw_os_error().unwrap_or(0),
            detail: match error.raw_os_error() {
                Some(_) => detail.to_string(),
                None => format!("{detail} {error}"),
            },
        })
    }
}
