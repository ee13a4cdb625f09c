//! Owns the lines the prober writes and reads, and running an attack apart.
#![expect(clippy::print_stdout, reason = "the lines on standard output are what the prober is for")]

use crate::outcome::Outcome;
use crate::{Attack, Control, attacks, raw};

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The attack.
    pub id: String,
    /// What it came to: `succeeded`, `refused` or `untestable`.
    pub outcome: String,
    /// What was seen.
    pub detail: String,
}

impl Line {
    /// Reads a line the prober wrote. Anything else is no line: the sandbox it comes from is not trusted.
    pub fn parse(line: &str) -> Option<Self> {
        let field = |name: &str| {
            let (_, rest) = line.split_once(&format!("\"{name}\":\""))?;
            let mut text = String::new();
            let mut characters = rest.chars();
            loop {
                match characters.next()? {
                    '"' => return Some(text),
                    '\\' => text.push(characters.next()?),
                    other => text.push(other),
                }
            }
        };
        Some(Self { id: field("id")?, outcome: field("outcome")?, detail: field("detail")? })
    }
}

/// Writes one line for each attack there is.
pub(crate) fn list() {
    for attack in attacks() {
        let control = match attack.control {
            Control::Arena => "arena",
            Control::None(why) => why,
        };
        println!(
            "{{{}}}",
            fields(&[
                ("id", attack.id),
                ("what", attack.title),
                ("family", &format!("{:?}", attack.family)),
                ("control", control)
            ])
        );
    }
}

/// Writes what an attack came to.
pub(crate) fn print(attack: &Attack, outcome: &Outcome) {
    println!(
        "{{{}}}",
        fields(&[("id", attack.id), ("what", attack.title), ("outcome", outcome.word()), ("detail", outcome.detail())])
    );
}

fn fields(fields: &[(&str, &str)]) -> String {
    let escape = |text: &str| -> String {
        text.chars()
            .filter(|c| !c.is_control())
            .flat_map(|c| if matches!(c, '"' | '\\') { vec!['\\', c] } else { vec![c] })
            .collect()
    };
    fields.iter().map(|(name, value)| format!("\"{name}\":\"{}\"", escape(value))).collect::<Vec<_>>().join(",")
}

/// Tries an attack in a process of its own: being killed is an answer too.
pub(crate) fn try_apart(attack: &Attack) -> Outcome {
    let tried = raw::apart(|writer| {
        let outcome = (attack.act)();
        let _ = writeln!(writer, "{}\t{}", outcome.word(), outcome.detail());
    });
    match tried {
        Err(error) => Outcome::Untestable(format!("no process for it: {error}")),
        Ok((text, ended)) => match text.trim_end().split_once('\t') {
            Some(("succeeded", detail)) => Outcome::Succeeded(detail.to_owned()),
            Some(("refused", detail)) => Outcome::Refused(detail.to_owned()),
            Some((_, detail)) => Outcome::Untestable(detail.to_owned()),
            None => raw::outcome_of_end(ended),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_and_half_a_line_does_not() {
        let line = format!("{{{}}}", fields(&[("id", "S-1"), ("outcome", "refused"), ("detail", "a \"b\" \\ c")]));
        let read = Line::parse(&line).unwrap();
        assert_eq!((read.id.as_str(), read.detail.as_str()), ("S-1", "a \"b\" \\ c"));
        for end in 0..line.len() - 2 {
            assert_eq!(line.get(..end).and_then(Line::parse), None);
        }
    }
}
