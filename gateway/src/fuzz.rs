//! What holds of whatever is read of bytes that an agent, a client, a server or a provider wrote, as functions from bytes: for
//! the fuzz targets in `fuzz/`, and with their corpora for the tests. Owns the promises; never part of a door.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a broken promise has to be seen")]

mod dns;
mod git;
mod graphql;
mod http;
mod identity;
mod link;
mod model;
mod model_openai;
mod tools;

/// Whether the bytes were read. Panics where a promise about what was read is broken.
pub type Promise = fn(&[u8]) -> bool;

/// Every promise, by the name of its fuzz target.
pub const TARGETS: &[(&str, Promise)] = &[
    ("authority", http::authority),
    ("aws_chunked", http::aws_chunked),
    ("aws_frames", model::aws_frames),
    ("body", http::body),
    ("chat_answer", model_openai::chat_answer),
    ("chat_request", model_openai::chat_request),
    ("courier_answer", link::courier_answer),
    ("courier_xml", link::courier_xml),
    ("dns_message", dns::message),
    ("event_stream", model::event_stream),
    ("fields", http::fields),
    ("from_courier", link::from_courier),
    ("from_door", link::from_door),
    ("gemini_answer", model::gemini_answer),
    ("gemini_request", model::gemini_request),
    ("gemini_target", model::gemini_target),
    ("git_packet", git::packet),
    ("git_push", git::push),
    ("graphql_call", graphql::call),
    ("graphql_document", graphql::document),
    ("identity_request", identity::request),
    ("identity_wire", identity::wire),
    ("link_frame", link::frame),
    ("messages_answer", model::messages_answer),
    ("messages_request", model::messages_request),
    ("path", http::path),
    ("plain_json", model::plain_json),
    ("request_head", http::request_head),
    ("response_head", http::response_head),
    ("responses_answer", model_openai::responses_answer),
    ("responses_request", model_openai::responses_request),
    ("to_door", link::to_door),
    ("tool_description", tools::description),
    ("tool_message", tools::message),
    ("told", model::told),
];

/// Looks at `bytes` as the fuzz target of this name does.
pub fn run(target: &str, bytes: &[u8]) -> bool {
    let named = TARGETS.iter().find(|(name, _)| *name == target);
    named.map(|(_, promise)| promise(bytes)).unwrap_or_else(|| panic!("there is no target `{target}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a file is called says what becomes of it: `read-…` is read and `refused-…` is not. The others were found by a
    /// fuzzer and only have to keep the promises.
    #[test]
    fn a42_every_corpus_is_read_and_refused_as_its_names_say() {
        let mut wrong = Vec::new();
        for (target, promise) in TARGETS {
            let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
            let (mut read, mut refused) = (0, 0);
            for file in std::fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display())) {
                let path = file.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                let is_read = promise(&std::fs::read(&path).unwrap());
                let (is_said_read, is_said_refused) = (name.starts_with("read-"), name.starts_with("refused-"));
                if (is_said_read && !is_read) || (is_said_refused && is_read) {
                    wrong.push(format!("{target}/{name}"));
                }
                read += usize::from(is_said_read);
                refused += usize::from(is_said_refused);
            }
            assert!(
                read > 0 && refused > 0,
                "the corpus of `{target}` needs something to read and something to refuse"
            );
        }
        assert!(wrong.is_empty(), "not as their names say: {wrong:#?}");
    }
}
