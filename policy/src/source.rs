//! Policy sources as text: where one policy ends and the next begins, and which line an offset lies on.

use std::ops::Range;

use crate::Place;

/// One named text of policies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
}

/// One policy's stretch of a source, annotations included; comments before it are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Statement<'a> {
    /// Where it begins in the source, in bytes.
    pub(crate) offset: usize,
    /// Its text, from its first token to its semicolon.
    pub(crate) text: &'a str,
    /// How deep brackets nest in it, outside comments and strings.
    pub(crate) nesting: usize,
}

/// How deep brackets may nest. Cedar's parser descends once per bracket and has no bound of its own: some 400 levels
/// exhaust a thread's stack and abort the process.
pub(crate) const NESTING_MAX: usize = 32;

/// What the scanner is in the middle of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Code,
    Comment,
    Text,
    Escape,
}

impl<'a> Source<'a> {
    /// Cuts the source at each semicolon outside comments and strings, as Cedar's own lexer sees them.
    ///
    /// Nothing is lost: whatever follows the last semicolon, unless it is blank or comment, is a last statement, which
    /// then fails to parse.
    pub(crate) fn statements(self) -> Vec<Statement<'a>> {
        let mut statements = Vec::new();
        let (mut within, mut start, mut slash, mut nesting) = (Within::Code, None, None, Nesting::default());
        for (at, c) in self.text.char_indices() {
            let next = match (within, c) {
                (Within::Code, '/') if slash.is_some_and(|before| before + 1 == at) => Within::Comment,
                (Within::Code, '"') => Within::Text,
                (Within::Text, '\\') => Within::Escape,
                (Within::Text, '"') | (Within::Comment, '\n' | '\r') => Within::Code,
                (Within::Escape, _) => Within::Text,
                (Within::Code | Within::Comment | Within::Text, _) => within,
            };
            if next == Within::Comment && start == slash {
                start = None;
            }
            slash = (within == Within::Code && c == '/').then_some(at);
            if within == Within::Code && next != Within::Comment {
                nesting.see(c);
                start = start.or_else(|| (!c.is_whitespace()).then_some(at));
                if c == ';' {
                    statements.extend(start.and_then(|from| self.statement(from..at + 1, nesting.deepest)));
                    (start, nesting) = (None, Nesting::default());
                }
            }
            within = next;
        }
        statements.extend(start.and_then(|from| self.statement(from..self.text.len(), nesting.deepest)));
        statements
    }

    fn statement(self, range: Range<usize>, nesting: usize) -> Option<Statement<'a>> {
        let offset = range.start;
        self.text.get(range).map(|text| Statement { offset, text, nesting })
    }

    /// The first character that makes text look other than it is (bidirectional controls and invisible marks), comments
    /// included: a reviewer sees them too.
    pub(crate) fn deceptive(self) -> Option<(usize, char)> {
        self.text.char_indices().find(|(_, c)| is_deceptive(*c))
    }

    /// The line and column of a byte offset.
    pub(crate) fn place(self, offset: usize) -> Place {
        self.cursor().to(offset)
    }

    /// For the places of offsets that only grow: each line is counted once, however many policies there are.
    pub(crate) fn cursor(self) -> Cursor<'a> {
        Cursor { source: self, at: 0, line: 1, line_start: 0 }
    }
}

/// How far a source's lines have been counted.
pub(crate) struct Cursor<'a> {
    source: Source<'a>,
    at: usize,
    line: usize,
    line_start: usize,
}

impl Cursor<'_> {
    /// The place of an offset at or after the last one asked for.
    pub(crate) fn to(&mut self, offset: usize) -> Place {
        let text = self.source.text;
        let to = if text.is_char_boundary(offset) { offset } else { text.len() };
        let passed = text.get(self.at..to).unwrap_or_default();
        self.line += passed.matches('\n').count();
        self.line_start = passed.rfind('\n').map_or(self.line_start, |newline| self.at + newline + 1);
        self.at = self.at.max(to);
        let column = text.get(self.line_start..to).map_or(0, |before| before.chars().count()) + 1;
        Place { source: self.source.name.to_owned(), line: self.line, column }
    }
}

/// Unicode's bidirectional controls, zero-width characters and byte order mark (UTS 39, UAX 9).
pub(crate) fn is_deceptive(c: char) -> bool {
    matches!(u32::from(c), 0x061c | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x2069 | 0xfeff)
}

/// How deep brackets nest.
#[derive(Clone, Copy, Default)]
struct Nesting {
    depth: usize,
    deepest: usize,
}

impl Nesting {
    fn see(&mut self, c: char) {
        match c {
            '(' | '[' | '{' => self.depth += 1,
            ')' | ']' | '}' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.deepest = self.deepest.max(self.depth);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        Source { name: "x", text }.statements().iter().map(|statement| statement.text).collect()
    }

    #[test]
    fn semicolons_in_comments_and_strings_end_nothing() {
        assert_eq!(texts("a; // b; c\n d;"), ["a;", "d;"]);
        assert_eq!(texts(r#"@x("a;b\";c") a;b;"#), [r#"@x("a;b\";c") a;"#, "b;"]);
        assert_eq!(texts("a // it's \"open; \n ;"), ["a // it's \"open; \n ;"]);
        assert_eq!(texts("// only a comment"), Vec::<&str>::new());
        assert_eq!(texts("a / b; /"), ["a / b;", "/"]);
        assert_eq!(texts("\"// not a comment\";b"), ["\"// not a comment\";", "b"]);
        assert_eq!(texts("a;;"), ["a;", ";"]);
    }

    #[test]
    fn nothing_after_the_last_semicolon_is_lost() {
        assert_eq!(texts("a; forbid (principal, action, resource)"), ["a;", "forbid (principal, action, resource)"]);
        assert_eq!(texts("a; \"open"), ["a;", "\"open"]);
    }

    #[test]
    fn brackets_in_comments_and_strings_neither_deepen_nor_hide_depth() {
        let depth = |text| Source { name: "x", text }.statements().first().map(|statement| statement.nesting);
        assert_eq!(depth("a ( [ { } ] );"), Some(3));
        assert_eq!(depth("( \")))\" ( // ))))\n ( ))) ;"), Some(3));
        assert_eq!(depth("\"((((\" ( ) ;"), Some(1));
        assert_eq!(Source { name: "x", text: "((( ))); ( );" }.statements()[1].nesting, 1);
    }

    #[test]
    fn places_count_from_one_in_characters() {
        let source = Source { name: "x.cedar", text: "aä\nbb\ncc" };
        assert_eq!(source.place(0).to_string(), "x.cedar:1:1");
        assert_eq!(source.place(3).to_string(), "x.cedar:1:3");
        assert_eq!(source.place(4).to_string(), "x.cedar:2:1");
        assert_eq!(source.place(999).to_string(), "x.cedar:3:3");
        let mut cursor = source.cursor();
        let places = [0, 3, 4, 5, 8].map(|offset| cursor.to(offset));
        assert_eq!(places, [0, 3, 4, 5, 8].map(|offset| source.place(offset)));
    }
}
