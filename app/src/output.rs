//! Everything a user sees passes here: plain lines when piped, a little colour on a terminal, JSON when asked. What an
//! agent said is escaped before it reaches a terminal (S-37).

use std::io::{IsTerminal, Write};

use serde::Serialize;

use crate::errors::CliError;

/// Where a command's words go.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
    colour: bool,
}

impl Output {
    /// To the terminal or pipe this process was given.
    pub(crate) fn new(json: bool) -> Self {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { json, colour }
    }

    /// One line for a person; nothing when JSON was asked for.
    pub(crate) fn line(&self, text: impl AsRef<str>) {
        if !self.json {
            emit(&escape(text.as_ref().as_bytes()));
            emit(b"\n");
        }
    }

    /// A heading for a person.
    pub(crate) fn heading(&self, text: &str) {
        if self.colour && !self.json {
            emit(b"\x1b[1m");
            emit(&escape(text.as_bytes()));
            emit(b"\x1b[0m\n");
        } else {
            self.line(text);
        }
    }

    /// One JSON document on one line, when JSON was asked for.
    pub(crate) fn document(&self, value: &impl Serialize) {
        if self.json {
            let text = serde_json::to_string(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
            emit(text.as_bytes());
            emit(b"\n");
        }
    }

    /// What a governed program wrote, byte for byte when piped and escaped on a terminal.
    pub(crate) fn program(&self, bytes: &[u8], stream: Stream) {
        let terminal = match stream {
            Stream::Out => std::io::stdout().is_terminal(),
            Stream::Err => std::io::stderr().is_terminal(),
        };
        let shown = if terminal { escape(bytes) } else { bytes.to_vec() };
        match stream {
            Stream::Out => emit(&shown),
            Stream::Err => complain(&shown),
        }
    }

    /// An error, as the last thing said.
    pub(crate) fn error(&self, error: &CliError) {
        if self.json {
            let value = serde_json::json!({
                "error": { "code": error.kind.code(), "message": error.message, "hints": error.hints }
            });
            self.document(&value);
        } else {
            complain(&escape(format!("{error}\n").as_bytes()));
        }
    }

    /// A line about progress: to standard error, so that it never mixes with results.
    pub(crate) fn progress(&self, text: &str) {
        if !self.json {
            complain(&escape(format!("{text}\n").as_bytes()));
        }
    }
}

/// Which of a program's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Makes control characters visible, except line breaks and tabs.
pub(crate) fn escape(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => shown.push(character),
            c if selvedge_domain::is_deceptive(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown.into_bytes()
}

/// Writes to standard output. A reader that went away wants no more, and that is not an error.
fn emit(bytes: &[u8]) {
    let _reader_gone = std::io::stdout().lock().write_all(bytes);
}

fn complain(bytes: &[u8]) {
    let _reader_gone = std::io::stderr().lock().write_all(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_be_turned_around_or_hidden_a70() {
        assert_eq!(escape("a\u{202e}b\u{200b}c".as_bytes()), b"a\\u{202e}b\\u{200b}c");
    }

    #[test]
    fn an_agent_cannot_paint_on_the_terminal_s37() {
        let shown = escape(b"ok\x1b[2J\x1b]0;title\x07\ttab\n");
        assert_eq!(shown, b"ok\\u{1b}[2J\\u{1b}]0;title\\u{7}\ttab\n");
    }
}
