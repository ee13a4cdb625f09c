//! What is told of a conversation, one JSON event a line, as the scripts of ours tell that start other agents. Bounded, so that the end is
//! always told.

use std::io::Write;

use serde_json::{Value, json};

use crate::agents::End;

/// Longest text of what the agent says between two uses of tools.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Longest title of a use.
const TITLE_CHARS_MAX: usize = 200;

/// What is told before the end, in bytes: half of what is kept of an output in memory. More is passed over.
const TOLD_BYTES_MAX: usize = 8 << 20;

/// Writes what is told.
#[derive(Debug)]
pub(crate) struct Told<W> {
    to: W,
    left: usize,
    /// What it is saying.
    saying: String,
}

impl<W: Write> Told<W> {
    pub(super) fn new(to: W) -> Self {
        Self { to, left: TOLD_BYTES_MAX, saying: String::new() }
    }

    /// It says more of what it is saying.
    pub(super) fn says(&mut self, more: &str) {
        let room = TEXT_BYTES_MAX.saturating_sub(self.saying.len());
        self.saying.push_str(more.get(..more.floor_char_boundary(room)).unwrap_or_default());
    }

    /// It uses a tool, and so has said what it was saying.
    pub(super) fn uses(&mut self, tool: &str, title: &str) {
        self.said(false);
        let title: String = title.chars().take(TITLE_CHARS_MAX).collect();
        self.tell(&json!({ "type": "used", "tool": tool, "title": title }), false);
    }

    /// Something to know, which it may get over.
    pub(super) fn notes(&mut self, message: &str) {
        self.tell(&json!({ "type": "failed", "message": message }), false);
    }

    /// How it ended. Nothing is told after that.
    pub(super) fn ends(&mut self, end: &End) {
        self.said(true);
        let (how, because) = match end {
            End::Well => (None, None),
            End::Failed(because) => (Some("failed"), Some(because)),
            End::Stopped(because) => (Some("stopped"), Some(because)),
            End::Misspoke(because) => (Some("misspoke"), Some(because)),
        };
        self.tell(&json!({ "type": "ended", "how": how, "because": because }), true);
    }

    fn said(&mut self, is_last: bool) {
        let said = std::mem::take(&mut self.saying);
        if !said.trim().is_empty() {
            self.tell(&json!({ "type": "said", "text": said }), is_last);
        }
    }

    fn tell(&mut self, event: &Value, is_last: bool) {
        let line = format!("{event}\n");
        let left = self.left.checked_sub(line.len());
        if left.is_none() && !is_last {
            return;
        }
        self.left = left.unwrap_or_default();
        // Where nobody reads it, there is nobody to tell.
        let _ = self.to.write_all(line.as_bytes()).and_then(|()| self.to.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_much_is_told_the_end_is() {
        let mut output = Vec::new();
        let mut told = Told::new(&mut output);
        for _ in 0..300 {
            told.says(&"\u{1f980}".repeat(100_000));
            told.uses("execute", "ls");
        }
        told.says("Done.");
        told.ends(&End::Well);
        assert!(output.len() < TOLD_BYTES_MAX + (1 << 20), "{}", output.len());
        let report = super::super::read(&output);
        assert_eq!((report.text.as_str(), report.outcome(Some(0))), ("Done.", crate::agents::Outcome::Finished));
    }
}
