//! Reads what carries GraphQL over HTTP: a JSON body, one call or a list of them, a bare document, or a query string. Owns that
//! there is one way to read each; what has two is refused. Never knows what a document says.

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Unfit;

/// Calls in one list; what batches in the field has a few.
const CALLS_MAX: usize = 32;

/// One call, as far as it says what is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// The document.
    pub(crate) query: Option<String>,
    /// What the server may know the document by (SHA-256, in hexadecimal).
    pub(crate) hash: Option<String>,
}

/// What may stand in a call. Another member could name what is carried out (`id`, `documentId`, `doc_id`), and a server that reads
/// names whatever their case would take `Query` for `query`; so it is refused, as is one that stands there twice.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Members {
    query: Option<String>,
    #[serde(rename = "operationName")]
    _operation_name: Option<String>,
    #[serde(rename = "variables")]
    _variables: Option<IgnoredAny>,
    extensions: Option<Object<Extensions>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Extensions {
    persisted_query: Option<Object<Persisted>>,
    #[serde(rename = "clientLibrary")]
    _client_library: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Persisted {
    #[serde(rename = "version")]
    _version: u32,
    sha256_hash: String,
}

/// A value that is written as an object. What serde derives would also read a list of the members' values.
struct Object<T>(T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsObject<T>(std::marker::PhantomData<T>);

        impl<'de, T: DeserializeOwned> Visitor<'de> for AsObject<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(AsObject(std::marker::PhantomData))
    }
}

impl Call {
    /// Reads a body of `application/json`.
    pub(crate) fn from_json(bytes: &[u8]) -> Result<Vec<Self>, Unfit> {
        // What is text to the end: serde passes over what it ignores without looking whether it is UTF-8.
        let text = std::str::from_utf8(bytes).map_err(|_| Unfit::Call)?;
        let is_list = text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('[');
        let read: Result<Vec<Object<Members>>, _> =
            if is_list { serde_json::from_str(text) } else { serde_json::from_str(text).map(|call| vec![call]) };
        let calls = read.map_err(|_| Unfit::Call)?;
        if calls.is_empty() {
            return Err(Unfit::Call);
        }
        if calls.len() > CALLS_MAX {
            return Err(Unfit::TooMuch);
        }
        Ok(calls.into_iter().map(Self::from).collect())
    }

    /// Reads a body of `application/graphql`.
    pub(crate) fn from_document(bytes: &[u8]) -> Result<Vec<Self>, Unfit> {
        let query = std::str::from_utf8(bytes).map_err(|_| Unfit::Call)?.to_owned();
        Ok(vec![Self { query: Some(query), hash: None }])
    }

    /// Reads a query string.
    pub(crate) fn from_query(text: &str) -> Result<Vec<Self>, Unfit> {
        let (mut query, mut extensions, mut names) = (None, None, Vec::new());
        for pair in text.split('&') {
            let (name, value) = pair.split_once('=').ok_or(Unfit::Call)?;
            if names.contains(&name) {
                return Err(Unfit::Call);
            }
            names.push(name);
            match name {
                "query" => query = Some(decoded(value)?),
                "extensions" => extensions = Some(decoded(value)?),
                "operationName" | "variables" => {}
                _ => return Err(Unfit::Call),
            }
        }
        let read = |text: String| serde_json::from_str::<Object<Extensions>>(&text).map_err(|_| Unfit::Call);
        let extensions = extensions.map(read).transpose()?;
        Ok(vec![Self { query, hash: hash_of(extensions) }])
    }
}

impl From<Object<Members>> for Call {
    fn from(Object(Members { query, extensions, .. }): Object<Members>) -> Self {
        Self { query, hash: hash_of(extensions) }
    }
}

fn hash_of(extensions: Option<Object<Extensions>>) -> Option<String> {
    extensions.and_then(|extensions| extensions.0.persisted_query).map(|persisted| persisted.0.sha256_hash)
}

/// Decodes a value as a form's. Whoever takes a plus for itself reads another document, but none in which it is more than a part of
/// a string or a comment, or an error.
fn decoded(value: &str) -> Result<String, Unfit> {
    let mut out = Vec::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16)).ok_or(Unfit::Call);
                let value = digit()? * 16 + digit()?;
                u8::try_from(value).map_err(|_| Unfit::Call)?
            }
            byte => byte,
        });
    }
    String::from_utf8(out).map_err(|_| Unfit::Call)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Call {
        Call { query: Some(text.to_owned()), hash: None }
    }

    #[test]
    fn a47_calls_are_read_however_they_come() {
        let read = Call::from_json(br#"{"query":"{a}","operationName":null,"variables":{"query":"mutation{b}"}}"#);
        assert_eq!(read, Ok(vec![query("{a}")]));
        assert_eq!(Call::from_json(br#" [{"query":"{a}"},{"query":"{b}"}]"#), Ok(vec![query("{a}"), query("{b}")]));
        assert_eq!(Call::from_document(b"{ a }"), Ok(vec![query("{ a }")]));
        assert_eq!(Call::from_query("query=%7B+a%20%7D&operationName=A&variables=x"), Ok(vec![query("{ a }")]));
        let hash = r#"{"persistedQuery":{"version":1,"sha256Hash":"ab"}}"#;
        let by_hash = Ok(vec![Call { query: None, hash: Some("ab".to_owned()) }]);
        assert_eq!(Call::from_json(format!(r#"{{"extensions":{hash}}}"#).as_bytes()), by_hash);
        assert_eq!(Call::from_query(&format!("extensions={}", hash.replace('{', "%7B"))), by_hash);
    }

    #[test]
    fn a47_what_can_be_read_in_two_ways_is_not_read() {
        for text in [
            r#"{"query":"{a}","query":"mutation{b}"}"#,
            r#"{"query":"{a}","\u0071uery":"mutation{b}"}"#,
            r#"{"query":"{a}","Query":"mutation{b}"}"#,
            r#"{"query":"{a}","documentId":"x"}"#,
            r#"{"query":["{a}"]}"#,
            r#"["{a}",null,null,null]"#,
            r#"[["{a}",null,null,null]]"#,
            r#"{"query":"{a}","extensions":[null,null]}"#,
            r#"{"query":"{a}","extensions":{"persistedQuery":{"version":1,"sha256Hash":"a","sha256Hash":"b"}}}"#,
            r#"{"query":"{a}","extensions":{"persistedQuery":{"version":1,"sha256Hash":"a"},"persistedQuery":null}}"#,
            r#"{"query":"{a}"}{"query":"mutation{b}"}"#,
            r#"[{"query":"{a}"}],"#,
            "[]",
            "null",
            "",
        ] {
            assert_eq!(Call::from_json(text.as_bytes()), Err(Unfit::Call), "{text}");
        }
        assert_eq!(Call::from_json(b"\xef\xbb\xbf{\"query\":\"{a}\"}"), Err(Unfit::Call), "a mark of the byte order");
        assert_eq!(Call::from_json(b"{\"query\":\"{a}\",\"variables\":\"\xff\"}"), Err(Unfit::Call));
        let many = format!("[{}]", vec![r#"{"query":"{a}"}"#; CALLS_MAX + 1].join(","));
        assert_eq!(Call::from_json(many.as_bytes()), Err(Unfit::TooMuch));
        for text in [
            "",
            "query",
            "query=%7Ba%7D&query=b",
            "query=a&id=b",
            "Query=a",
            "query=%7",
            "query=%ff",
            "query=a&&",
            "%71uery=a",
        ] {
            assert_eq!(Call::from_query(text), Err(Unfit::Call), "{text}");
        }
    }
}
