//! What OpenAI's two protocols share: how members are picked, names read and tokens counted. Never knows which of the two it reads.

use serde_json::{Map, Value};

use super::request::Unfit;
use super::shape::Builder;
use super::{Egress, Usage};

/// Longest name of a tool or of a namespace of tools.
const NAME_BYTES_MAX: usize = 128;

/// What denies a call that a model makes under the name of denied calls: only an agent can have told it that name.
pub(super) const NO_SUCH_TOOL: &str = "denied: there is no such tool. Call one of the tools that were declared.";

/// Longest key of a vendor's cache of prompts that passes. Agents use an id of their session.
const CACHE_KEY_BYTES_MAX: usize = 64;

/// Members that name an image or a sound: by its bytes, in an address of the scheme `data`, or by where it lies.
const SOURCES: &[&str] = &["image_url", "audio_url"];

/// Members that are bytes.
const BYTES: &[&str] = &["data", "file_data"];

/// The members of `object` that are listed.
pub(super) fn kept(object: &Map<String, Value>, members: &[&str]) -> Map<String, Value> {
    object
        .iter()
        .filter(|(name, _)| members.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// What `object` says it is.
pub(super) fn kind_of(object: &Map<String, Value>) -> &str {
    text(object, "type").unwrap_or_default()
}

/// A member that is text.
pub(super) fn text<'a>(object: &'a Map<String, Value>, member: &str) -> Option<&'a str> {
    object.get(member).and_then(Value::as_str)
}

/// A member that is an array; nothing of it where it is none.
pub(super) fn array<'a>(object: &'a Map<String, Value>, member: &str) -> &'a [Value] {
    object.get(member).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Whether a tool or a namespace can be called so. A `/` is none of it: it holds the two apart where both are named.
pub(super) fn is_tool_name(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':');
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(is_part)
}

/// The tokens of `usage`, whose sums are called `input` and `output` in one protocol and otherwise in the other. They include what was
/// cached and what was reasoning; ours count each token once. Some compatible servers put reasoning beside what was written instead: there
/// the total says more than the two sums, or there is more reasoning than writing.
pub(super) fn usage(usage: Option<&Value>, input: &str, output: &str) -> Option<Usage> {
    let usage = usage?.as_object()?;
    let detail = |of: &str, member: &str| {
        let details = usage.get(&format!("{of}_details")).and_then(Value::as_object);
        details.and_then(|details| details.get(member)).and_then(Value::as_u64).unwrap_or(0)
    };
    let (cached, cache_write) = (detail(input, "cached_tokens"), detail(input, "cache_write_tokens"));
    let (read, said) = (usage.get(input)?.as_u64()?, usage.get(output)?.as_u64()?);
    let reasoning = detail(output, "reasoning_tokens");
    let total = usage.get("total_tokens").and_then(Value::as_u64);
    let written = match total {
        // What no sum accounts for was written, which is the dearer of the two.
        Some(total) => total.saturating_sub(read).max(said),
        None if reasoning > said => said.saturating_add(reasoning),
        None => said,
    };
    Some(Usage {
        input: read.saturating_sub(cached).saturating_sub(cache_write),
        cached,
        cache_write,
        output: written.max(reasoning),
        reasoning,
    })
}

/// A bound on tokens. What is no whole number is none that could be reserved for.
pub(super) fn tokens(request: &Map<String, Value>, member: &str) -> Result<Option<u64>, Unfit> {
    match request.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(tokens) => tokens.as_u64().map(Some).ok_or_else(|| Unfit::Shape(member.to_owned())),
    }
}

/// Leaves the key of the vendor's cache of prompts out where it is more than an id.
pub(super) fn drop_long_cache_key(request: &mut Map<String, Value>, builder: &mut Builder<'_>) {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':');
    let is_id = |key: &str| key.len() <= CACHE_KEY_BYTES_MAX && key.bytes().all(is_part);
    if text(request, "prompt_cache_key").is_some_and(|key| !is_id(key)) {
        request.remove("prompt_cache_key");
        builder.leaves_out("prompt_cache_key".into());
    }
}

/// Notes each image and sound below `value` that the vendor would fetch.
pub(super) fn images(builder: &mut Builder<'_>, at: &str, value: Option<&Value>) -> Result<(), Unfit> {
    match value {
        Some(Value::Array(values)) => {
            let at = format!("{at}[]");
            values.iter().try_for_each(|value| images(builder, &at, Some(value)))
        }
        Some(Value::Object(object)) => object.iter().try_for_each(|(name, value)| {
            let at = format!("{at}.{name}");
            // Some servers fetch what stands where the bytes should.
            if BYTES.contains(&name.as_str()) && value.as_str().is_some_and(|text| text.contains("://")) {
                return builder.uses(Egress::UrlSources, &at);
            }
            let address = value.as_str().or_else(|| value.get("url").and_then(Value::as_str));
            match address.filter(|_| SOURCES.contains(&name.as_str())) {
                Some(address) if !is_data(address) => builder.uses(Egress::UrlSources, &at),
                Some(_) => Ok(()),
                None => images(builder, &at, Some(value)),
            }
        }),
        _ => Ok(()),
    }
}

fn is_data(address: &str) -> bool {
    address.split_once(':').is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("data"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn e3_reasoning_counts_once_wherever_a_server_puts_it() {
        let of = |usage_of: Value| {
            let usage = usage(Some(&usage_of), "prompt_tokens", "completion_tokens").unwrap();
            (usage.input, usage.output, usage.reasoning)
        };
        let reasons = json!({ "reasoning_tokens": 300 });
        let usage = |completion: u64, total: Value| {
            json!({ "prompt_tokens": 100, "completion_tokens": completion, "total_tokens": total,
                "completion_tokens_details": reasons })
        };
        assert_eq!(of(usage(340, json!(440))), (100, 340, 300), "as the vendor does: it is part of it");
        assert_eq!(of(usage(40, json!(440))), (100, 340, 300), "beside it, as the total says");
        assert_eq!(of(usage(40, Value::Null)), (100, 340, 300), "beside it, for it cannot be part of it");
        assert_eq!(of(usage(340, json!(400))), (100, 340, 300), "a total that is too low takes nothing away");
        assert_eq!(of(usage(40, json!(150))), (100, 300, 300), "never below what it says it reasoned");
    }
}
