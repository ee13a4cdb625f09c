//! Knows a credential by where it is written. The factory lends credentials through doors only, so one that a client
//! brings is somebody else's: in a field it is stripped, in a query the request is refused. Never sees a value.

/// Whether a request field carries a credential. Names are many and new ones come, so whole families are meant; a field
/// stripped by mistake costs little.
pub fn is_credential_field(name: &str) -> bool {
    const FAMILIES: &[&str] = &[
        "auth",
        "cookie",
        "token",
        "api-key",
        "apikey",
        "access-key",
        "secret",
        "password",
        "credential",
        "signature",
        "jwt",
        "dpop",
    ];
    // npm says with every request how it would log in.
    name != "npm-auth-type" && FAMILIES.iter().any(|family| name.contains(family))
}

/// Whether a response field would lend the client a credential to bring back.
pub fn is_credential_response_field(name: &str) -> bool {
    matches!(name, "set-cookie" | "set-cookie2")
}

/// Whether a query parameter carries a credential, presigned requests included. Exact names: `page_token` is none.
pub fn is_credential_parameter(name: &str) -> bool {
    matches!(
        name,
        "access_token"
            | "auth"
            | "auth_token"
            | "id_token"
            | "job_token"
            | "oauth_token"
            | "private_token"
            | "refresh_token"
            | "token"
            | "jwt"
            | "api_key"
            | "api-key"
            | "apikey"
            | "key"
            | "sig"
            | "signature"
            | "secret"
            | "client_secret"
            | "password"
            | "awsaccesskeyid"
            | "googleaccessid"
            | "x-amz-credential"
            | "x-amz-security-token"
            | "x-amz-signature"
            | "x-goog-credential"
            | "x-goog-signature"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a57_fields_that_carry_credentials_are_known() {
        for name in [
            "authorization",
            "proxy-authorization",
            "cookie",
            "x-api-key",
            "x-goog-api-key",
            "private-token",
            "job-token",
            "x-vault-token",
            "x-auth-token",
            "x-registry-auth",
            "x-amz-security-token",
            "npm-auth-token",
            "dpop",
        ] {
            assert!(is_credential_field(name), "{name}");
        }
        for name in ["accept", "user-agent", "content-type", "if-none-match", "npm-command", "npm-auth-type", "range"] {
            assert!(!is_credential_field(name), "{name}");
        }
    }

    #[test]
    fn a20_presigned_queries_are_known() {
        assert!(is_credential_parameter("x-amz-signature"));
        assert!(!is_credential_parameter("page_token"));
    }
}
