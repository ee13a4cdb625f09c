//! Reads one document of GraphQL (October 2021 and later) down to what it does: the root fields of every operation in it, through
//! fragments and whatever their aliases. Sans-I/O and bounded; never knows which of them are allowed.

use std::collections::{BTreeMap, BTreeSet};

use apollo_parser::cst::{Definition, Document, Selection, SelectionSet};
use apollo_parser::{Lexer, Parser, TokenKind};
use selvedge_domain::{GraphqlAct, GraphqlKind};

use super::Unfit;

/// Longest document. Generated clients send some tens of KiB.
pub(crate) const DOCUMENT_BYTES_MAX: usize = 256 * 1024;

/// Tokens of a document, white space included; the parser's memory grows with them.
const TOKENS_MAX: usize = 64 * 1024;

/// How deep selections, lists and objects may nest. The parser recurses; introspection, the deepest that is common, needs 13.
const DEPTH_MAX: usize = 64;

/// Root fields in one request. Each is recorded with the decision.
pub(crate) const ACTS_MAX: usize = 64;

/// What the operations of this document do. All of them, as which is carried out is said elsewhere, in a name that another
/// reader may take from another place.
pub(crate) fn acts_of(text: &str) -> Result<BTreeSet<GraphqlAct>, Unfit> {
    // What some readers take for the end of a line, and so of a comment, is not needed in any document.
    let is_strange =
        |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r') || matches!(c, '\u{2028}' | '\u{2029}');
    if text.len() > DOCUMENT_BYTES_MAX || text.contains(is_strange) || has_another_reading(text) {
        return Err(Unfit::Document);
    }
    let tree = Parser::new(text).recursion_limit(DEPTH_MAX).token_limit(TOKENS_MAX).parse();
    if tree.errors().len() != 0 {
        return Err(Unfit::Document);
    }
    read(&tree.document())
}

/// Whether lines or strings may end elsewhere for a server than for our parser. To the grammar a carriage return ends a line, and so a
/// comment, also without a line feed; to some readers it does not. No string of one line has an end of line in it; our parser lets
/// one be its first character.
fn has_another_reading(text: &str) -> bool {
    let ends_alone = |part: &str| !part.starts_with('\n');
    let is_broken = |token: &str| !token.starts_with("\"\"\"") && token.contains(['\n', '\r']);
    let mut strings = Lexer::new(text).with_limit(TOKENS_MAX).filter_map(Result::ok);
    text.split('\r').skip(1).any(ends_alone)
        || strings.any(|token| token.kind() == TokenKind::StringValue && is_broken(token.data()))
}

fn read(document: &Document) -> Result<BTreeSet<GraphqlAct>, Unfit> {
    let (mut operations, mut fragments) = (Vec::new(), BTreeMap::new());
    for definition in document.definitions() {
        match definition {
            Definition::OperationDefinition(operation) => {
                let kind = match operation.operation_type() {
                    None => GraphqlKind::Query,
                    Some(kind) if kind.query_token().is_some() => GraphqlKind::Query,
                    Some(kind) if kind.mutation_token().is_some() => GraphqlKind::Mutation,
                    Some(_) => return Err(Unfit::Subscription),
                };
                operations.push((kind, operation.selection_set().ok_or(Unfit::Document)?));
            }
            Definition::FragmentDefinition(fragment) => {
                let name = fragment.fragment_name().and_then(|name| name.name()).ok_or(Unfit::Document)?;
                let selections = fragment.selection_set().ok_or(Unfit::Document)?;
                // Of two with one name, a server may take the other one.
                if fragments.insert(name.text().to_string(), selections).is_some() {
                    return Err(Unfit::Document);
                }
            }
            // Definitions of types: no service carries them out, and none has to be told what they are.
            _ => return Err(Unfit::Document),
        }
    }
    let mut acts = BTreeSet::new();
    for (kind, selections) in operations {
        add_roots(kind, selections, &fragments, &mut acts)?;
    }
    if acts.is_empty() { Err(Unfit::Document) } else { Ok(acts) }
}

/// Adds the root fields of one operation. A fragment is looked into once, so that a circle of them ends.
fn add_roots(
    kind: GraphqlKind,
    selections: SelectionSet,
    fragments: &BTreeMap<String, SelectionSet>,
    acts: &mut BTreeSet<GraphqlAct>,
) -> Result<(), Unfit> {
    let (mut open, mut seen) = (vec![selections], BTreeSet::new());
    while let Some(selections) = open.pop() {
        for selection in selections.selections() {
            match selection {
                Selection::Field(field) => {
                    let name = field.name().ok_or(Unfit::Document)?;
                    acts.insert(GraphqlAct::new(kind, &name.text()).ok_or(Unfit::Document)?);
                    if acts.len() > ACTS_MAX {
                        return Err(Unfit::TooMuch);
                    }
                }
                Selection::InlineFragment(inline) => open.push(inline.selection_set().ok_or(Unfit::Document)?),
                Selection::FragmentSpread(spread) => {
                    let name = spread.fragment_name().and_then(|name| name.name()).ok_or(Unfit::Document)?;
                    let name = name.text().to_string();
                    let fragment = fragments.get(&name).ok_or(Unfit::Document)?;
                    if seen.insert(name) {
                        open.push(fragment.clone());
                    }
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acts(text: &str) -> Result<Vec<String>, Unfit> {
        acts_of(text).map(|acts| acts.iter().map(GraphqlAct::to_string).collect())
    }

    fn read(text: &str) -> String {
        acts(text).unwrap_or_else(|unfit| panic!("{text}: {unfit}")).join(", ")
    }

    #[test]
    fn a47_a_root_field_is_found_wherever_it_is_written() {
        for (text, expected) in [
            ("{ viewer { login } }", "query viewer"),
            ("query Q($n: Int = 3) @cached { repository(name: \"a\", n: $n) { id } }", "query repository"),
            ("query A { a } mutation B { b }", "query a, mutation b"),
            ("mutation { viewer: deleteRepository(id: 1) { id } }", "mutation deleteRepository"),
            (
                "mutation { ...F } fragment F on Mutation { deleteRepository(id: 1) { id } }",
                "mutation deleteRepository",
            ),
            (
                "mutation { ... on Mutation { ... { a } } ...F } fragment F on M { ...G } fragment G on M { b }",
                "mutation a, mutation b",
            ),
            ("{ ...F } fragment F on Q { a ...G } fragment G on Q { ...F b }", "query a, query b"),
            ("mutation { a @include(if: false) }", "mutation a"),
            ("#{ a }\r\nmutation { b }", "mutation b"),
            ("{ a(s: \"\", t: \"\"\"\n\"\n\"\"\")\r\n}", "query a"),
            ("# mutation { b }\n{ a }", "query a"),
            ("{ a(s: \"\"\"} mutation { b } \\\"\"\" { \"\"\") }", "query a"),
            ("{ a(s: \"\"\"\\\\\"\"\" } mutation { b } \"\"\") }", "query a"),
            ("{ a(s: \"} mutation { b }\\\"\") }", "query a"),
            ("{,,,a,,,}", "query a"),
            ("{ query: mutation mutation: query }", "query mutation, query query"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn a47_what_is_not_a_document_is_none() {
        for text in [
            "",
            "# nothing",
            "{",
            "{ }",
            "{ a } }",
            "{ a } mutation",
            "mutation { a b",
            "query { ...F }",
            "query { ...F } fragment F on Q { a } fragment F on Q { b }",
            "{ ...F } fragment F on Q { ...F }",
            "fragment F on Q { a }",
            "type Mutation { a: Int }",
            "extend type Query { a: Int }",
            "{ a(s: \"line\n\") }",
            "{ a(s: \"\"\" ) }",
            "{ a # \u{2028} mutation { b }\n}",
            // Where lines and strings end elsewhere for others: the comment, or the string, would hide the rest from one of the readers.
            "#{ a }\rmutation { b }",
            "{ a }#\r{ b }",
            "{ a }\r",
            "{ a(s: \"\"\"\r\"\"\") }",
            "{ a(s: \"\n\") }",
            "{ a(s: \"\r\n} mutation { b }\") }",
            "{ a(s: \"\") b(s: \"\n#\") }",
            "{ a \u{0} }",
            "{ \u{1d41a} }",
            "query { a }; mutation { b }",
            "Mutation { a }",
        ] {
            assert_eq!(acts(text), Err(Unfit::Document), "{text:?}");
        }
        assert_eq!(acts("subscription { a }"), Err(Unfit::Subscription));
    }

    #[test]
    fn a47_how_much_is_read_has_ends() {
        let deep = |depth| format!("{}a{}", "{a".repeat(depth), "}".repeat(depth));
        assert!(acts(&deep(DEPTH_MAX - 1)).is_ok());
        assert_eq!(acts(&deep(100_000)), Err(Unfit::Document));
        let lists = format!("{{ a(l: {}{}) }}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(acts(&lists), Err(Unfit::Document));
        let many = |count: usize| format!("{{ {} }}", (0..count).map(|n| format!("a{n} ")).collect::<String>());
        assert_eq!(acts(&many(ACTS_MAX)).unwrap().len(), ACTS_MAX);
        assert_eq!(acts(&many(ACTS_MAX + 1)), Err(Unfit::TooMuch));
        assert_eq!(acts(&"{a}".repeat(DOCUMENT_BYTES_MAX / 3 + 1)), Err(Unfit::Document));
        let spreads = (0..1_000).map(|n| format!("fragment F{n} on Q {{ ...F{} }} ", n + 1)).collect::<String>();
        assert_eq!(acts(&format!("{{ ...F0 }} {spreads} fragment F1000 on Q {{ a }}")).unwrap(), ["query a"]);
    }
}
