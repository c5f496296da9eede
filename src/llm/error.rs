//! Refusals in the OpenAI dialect: `{"error":{"message","type","param","code"}}`.
//!
//! Official clients choose their exception by the HTTP status and show `message`; programs look at
//! `code`, which is stable.

use crate::base::json::escape_into;

/// The `type` of an error object: whose doing it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The key is missing, unknown or expired (401).
    Authentication,
    /// The request cannot be served as it is (400, 404, 405, 413, 415 …).
    InvalidRequest,
    /// The caller may not do that (403).
    Permission,
    /// Too much, for now (429).
    RateLimit,
    /// The gateway or the provider failed (5xx).
    Server,
}

impl ErrorKind {
    /// The kind that goes with an HTTP status.
    pub const fn of_status(status: u16) -> Self {
        match status {
            401 => Self::Authentication,
            403 => Self::Permission,
            429 => Self::RateLimit,
            500.. => Self::Server,
            _ => Self::InvalidRequest,
        }
    }

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authentication => "authentication_error",
            Self::InvalidRequest => "invalid_request_error",
            Self::Permission => "permission_error",
            Self::RateLimit => "rate_limit_error",
            Self::Server => "server_error",
        }
    }
}

/// The body of a refusal. `param` names the request's field that is at fault.
pub fn body(kind: ErrorKind, message: &str, code: &str, param: Option<&str>) -> Vec<u8> {
    let mut out = Vec::with_capacity(96 + message.len());
    out.extend_from_slice(b"{\"error\":{\"message\":\"");
    escape_into(message, &mut out);
    out.extend_from_slice(b"\",\"type\":\"");
    out.extend_from_slice(kind.name().as_bytes());
    out.extend_from_slice(b"\",\"param\":");
    if let Some(param) = param {
        out.push(b'"');
        escape_into(param, &mut out);
        out.push(b'"');
    } else {
        out.extend_from_slice(b"null");
    }
    out.extend_from_slice(b",\"code\":\"");
    escape_into(code, &mut out);
    out.extend_from_slice(b"\"}}");
    out
}

#[cfg(test)]
mod tests {
    use super::{ErrorKind, body};

    #[test]
    fn an_error_is_valid_json_whatever_the_message_holds() {
        let bytes = body(ErrorKind::InvalidRequest, "say \"no\"\n", "invalid_type", Some("n"));
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["error"]["message"], "say \"no\"\n");
        assert_eq!(value["error"]["type"], "invalid_request_error");
        assert_eq!(value["error"]["param"], "n");
        assert_eq!(value["error"]["code"], "invalid_type");
    }

    #[test]
    fn an_absent_param_is_null_and_a_status_has_its_kind() {
        let bytes = body(ErrorKind::of_status(429), "later", "rate_limited", None);
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"error":{"message":"later","type":"rate_limit_error","#,
                r#""param":null,"code":"rate_limited"}}"#
            )
        );
        for (status, name) in [
            (400, "invalid_request_error"),
            (401, "authentication_error"),
            (403, "permission_error"),
            (404, "invalid_request_error"),
            (502, "server_error"),
        ] {
            assert_eq!(ErrorKind::of_status(status).name(), name);
        }
    }
}
