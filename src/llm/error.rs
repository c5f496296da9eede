//! Refusals in the OpenAI dialect: `{"error":{"message","type","param","code"}}`, and in
//! Anthropic's: `{"type":"error","error":{"type","message","code"},"request_id"}`.
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

/// The body of a refusal in Anthropic's dialect. Its `code` is ours: programs may look at it.
pub fn anthropic_body(status: u16, message: &str, code: &str, request_id: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(128 + message.len());
    out.extend_from_slice(b"{\"type\":\"error\",\"error\":{\"type\":\"");
    out.extend_from_slice(anthropic_type(status).as_bytes());
    out.extend_from_slice(b"\",\"message\":\"");
    escape_into(message, &mut out);
    out.extend_from_slice(b"\",\"code\":\"");
    escape_into(code, &mut out);
    out.extend_from_slice(b"\"},\"request_id\":\"");
    escape_into(request_id, &mut out);
    out.extend_from_slice(b"\"}");
    out
}

/// The `type` that Anthropic's dialect has for an HTTP status.
const fn anthropic_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        503 | 529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

#[cfg(test)]
mod tests {
    use super::{ErrorKind, anthropic_body, body};

    #[test]
    fn anthropics_error_names_its_kind_and_the_request() {
        for (status, kind) in [
            (400, "invalid_request_error"),
            (403, "permission_error"),
            (404, "not_found_error"),
            (502, "api_error"),
            (503, "overloaded_error"),
        ] {
            let bytes = anthropic_body(status, "say \"no\"", "guard_blocked", "req_1");
            let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(value["type"], "error");
            assert_eq!(value["error"]["type"], kind);
            assert_eq!(value["error"]["message"], "say \"no\"");
            assert_eq!(value["error"]["code"], "guard_blocked");
            assert_eq!(value["request_id"], "req_1");
        }
    }

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
