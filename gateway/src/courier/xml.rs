//! Takes the wanted values out of an answer in XML, as AWS writes them. Total and bounded; never keeps the rest.

use std::collections::BTreeMap;

use roxmltree::{Document, Node, ParsingOptions};

use super::answer::{BadAnswer, VALUE_BYTES_MAX};

/// Most nodes of an answer that is read; what we want of one has some twenty. No document type is read, so none is made of
/// others (XML's entities).
const NODES_MAX: u32 = 1000;

/// The texts of the elements at these paths, such as `/Answer/Result/Token`, that are there. A path that leads to two is an error:
/// who reads the other one would have read another answer.
pub(crate) fn wanted(body: &[u8], paths: &[String]) -> Result<BTreeMap<String, String>, BadAnswer> {
    if paths.is_empty() || body.trim_ascii().is_empty() {
        return Ok(BTreeMap::new());
    }
    let text = std::str::from_utf8(body).map_err(|_| BadAnswer::NotXml)?;
    let options = ParsingOptions { nodes_limit: NODES_MAX, ..ParsingOptions::default() };
    let answer = Document::parse_with_options(text, options).map_err(|_| BadAnswer::NotXml)?;
    let mut found = BTreeMap::new();
    for path in paths {
        let Some(element) = at(answer.root(), path)? else { continue };
        // Elements within it would make its text part of something else.
        let Some(text) = only_text(element) else { continue };
        if text.len() > VALUE_BYTES_MAX {
            return Err(BadAnswer::TooLong);
        }
        found.insert(path.clone(), text);
    }
    Ok(found)
}

fn at<'a, 'input>(root: Node<'a, 'input>, path: &str) -> Result<Option<Node<'a, 'input>>, BadAnswer> {
    let mut node = root;
    for name in path.split('/').skip(1) {
        let mut named = node.children().filter(|child| child.is_element() && child.tag_name().name() == name);
        match (named.next(), named.next()) {
            (Some(child), None) => node = child,
            (None, _) => return Ok(None),
            (Some(_), Some(_)) => return Err(BadAnswer::Twice),
        }
    }
    Ok(node.is_element().then_some(node))
}

fn only_text(element: Node<'_, '_>) -> Option<String> {
    element.children().map(|child| child.text().filter(|_| child.is_text())).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn paths(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn only_what_is_wanted_is_found() {
        let body = br#"<?xml version="1.0"?><A xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><B><Key>k&amp;1</Key><Other>secret</Other></B>
            <C><Key>another</Key></C><Empty/></A>"#;
        let found = wanted(body, &paths(&["/A/B/Key", "/A/B", "/A/None", "/A/Empty", "/B/Key", ""])).unwrap();
        let expected = [("/A/B/Key", "k&1"), ("/A/Empty", "")];
        assert_eq!(found, expected.map(|(path, value)| (path.to_owned(), value.to_owned())).into());
        assert_eq!(wanted(b"", &paths(&["/A"])), Ok(BTreeMap::new()));
        assert_eq!(wanted(b"nonsense", &[]), Ok(BTreeMap::new()));
    }

    #[test]
    fn what_has_two_readings_no_end_or_a_document_type_is_refused() {
        let long = format!("<A>{}</A>", "x".repeat(VALUE_BYTES_MAX + 1));
        let many = format!("<A>{}</A>", "<B/>".repeat(2000));
        let deep = "<A>".repeat(80_000);
        for (body, why) in [
            ("{\"A\":1}", BadAnswer::NotXml),
            ("<A>k", BadAnswer::NotXml),
            ("<A>k</B>", BadAnswer::NotXml),
            ("<A>k</A><A>k</A>", BadAnswer::NotXml),
            ("<!DOCTYPE A [<!ENTITY e \"x\">]><A>&e;</A>", BadAnswer::NotXml),
            ("<!DOCTYPE A SYSTEM \"file:///etc/passwd\"><A/>", BadAnswer::NotXml),
            ("<A>&undefined;</A>", BadAnswer::NotXml),
            (&many, BadAnswer::NotXml),
            (&deep, BadAnswer::NotXml),
            (&long, BadAnswer::TooLong),
        ] {
            assert_eq!(wanted(body.as_bytes(), &paths(&["/A"])), Err(why), "{}", body.get(..40).unwrap_or(body));
        }
        assert_eq!(wanted(b"<A><K>1</K><K>2</K></A>", &paths(&["/A/K"])), Err(BadAnswer::Twice));
        assert_eq!(wanted(b"<A>\xff</A>", &paths(&["/A"])), Err(BadAnswer::NotXml));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..200), text in "[<>/A-C&;! \"=]{0,60}", path in "[/A-C]{0,6}") {
            let _ = wanted(&body, std::slice::from_ref(&path));
            let _ = wanted(text.as_bytes(), std::slice::from_ref(&path));
        }
    }
}
