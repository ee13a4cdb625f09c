//! Signature Version 4, as whoever checks one reads it: written from the published description, apart from the house's own signer.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::http::Request;
use crate::protocol::Refusal;

/// Block of SHA-256, in bytes.
const BLOCK_BYTES: usize = 64;

/// Whether a request is signed for Bedrock with the keys of a session, `<id>:<secret>:<token>`.
pub(crate) fn signed(request: &Request, keys: &str) -> Result<(), Refusal> {
    let refused = |why: &str| Refusal::of(why).with(403);
    let [id, secret, token] = keys.split(':').collect::<Vec<_>>()[..] else {
        return Err(refused("The security token included in the request is invalid."));
    };
    if request.field("x-amz-security-token") != Some(token) {
        return Err(refused("The security token included in the request is invalid."));
    }
    let incomplete = || refused("Authorization header requires 'Credential', 'SignedHeaders' and 'Signature'.");
    let said = request.field("authorization").and_then(|value| value.strip_prefix("AWS4-HMAC-SHA256 "));
    let parts: BTreeMap<&str, &str> =
        said.ok_or_else(incomplete)?.split(',').filter_map(|part| part.trim().split_once('=')).collect();
    let part = |name: &str| parts.get(name).copied().ok_or_else(incomplete);
    let (credential, names, signature) = (part("Credential")?, part("SignedHeaders")?, part("Signature")?);
    let [by, day, region, "bedrock", "aws4_request"] = credential.split('/').collect::<Vec<_>>()[..] else {
        return Err(refused("Credential should be scoped to correct service: 'bedrock'."));
    };
    if by != id {
        return Err(refused("The security token included in the request is invalid."));
    }
    let stamp = request.field("x-amz-date").unwrap_or_default();
    let names: Vec<&str> = names.split(';').collect();
    if !stamp.starts_with(day)
        || !["host", "x-amz-date", "x-amz-security-token"].iter().all(|name| names.contains(name))
    {
        return Err(refused(
            "'host', 'x-amz-date' and 'x-amz-security-token' must be signed, on the day of the credential.",
        ));
    }
    let mut fields = String::new();
    for name in &names {
        let value = request.field(name).unwrap_or_default();
        let _ = writeln!(fields, "{name}:{}", value.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    let canonical = format!(
        "{}\n{}\n{}\n{fields}\n{}\n{}",
        request.method,
        encoded(&request.path),
        request.query,
        names.join(";"),
        hex(&Sha256::digest(&request.body))
    );
    let scope = format!("{day}/{region}/bedrock/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}", hex(&Sha256::digest(canonical.as_bytes())));
    let steps = [day, region, "bedrock", "aws4_request", to_sign.as_str()];
    let expected = steps.iter().fold(format!("AWS4{secret}").into_bytes(), |key, step| mac(&key, step.as_bytes()));
    if hex(&expected) == signature {
        Ok(())
    } else {
        Err(refused("The request signature we calculated does not match the signature you provided."))
    }
}

/// Every byte of a path as it came percent-encoded, but slashes and unreserved ones.
fn encoded(path: &str) -> String {
    let is_kept = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let byte = |byte: u8| if is_kept(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    path.bytes().map(byte).collect()
}

/// HMAC with SHA-256 (RFC 2104).
fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = if key.len() > BLOCK_BYTES { Sha256::digest(key).to_vec() } else { key.to_vec() };
    block.resize(BLOCK_BYTES, 0);
    let padded = |with: u8| block.iter().map(|byte| byte ^ with).collect::<Vec<_>>();
    let inner = Sha256::digest([padded(0x36).as_slice(), text].concat());
    Sha256::digest([padded(0x5c).as_slice(), inner.as_slice()].concat()).to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_the_one_that_is_published() {
        let published = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex(&mac(b"Jefe", b"what do ya want for nothing?")), published);
        let long = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54";
        assert_eq!(hex(&mac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First")), long);
    }
}
