//! Policy sources as text: where one policy ends and the next begins, and which line an offset lies on.

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
}

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
        let (mut within, mut start, mut slash) = (Within::Code, None, None);
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
            let code = within == Within::Code && next != Within::Comment;
            if code && start.is_none() && !c.is_whitespace() {
                start = Some(at);
            }
            if code && c == ';' {
                statements.extend(start.and_then(|from| self.statement(from, at + 1)));
                start = None;
            }
            within = next;
        }
        statements.extend(start.and_then(|from| self.statement(from, self.text.len())));
        statements
    }

    fn statement(self, from: usize, to: usize) -> Option<Statement<'a>> {
        self.text.get(from..to).map(|text| Statement { offset: from, text })
    }

    /// The line and column of a byte offset.
    pub(crate) fn place(self, offset: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        Place { source: self.name.to_owned(), line, column }
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
    fn places_count_from_one_in_characters() {
        let source = Source { name: "x.cedar", text: "aä\nbb\ncc" };
        assert_eq!(source.place(0).to_string(), "x.cedar:1:1");
        assert_eq!(source.place(3).to_string(), "x.cedar:1:3");
        assert_eq!(source.place(4).to_string(), "x.cedar:2:1");
        assert_eq!(source.place(999).to_string(), "x.cedar:3:3");
    }
}
