//! Gate *route*: which leg a request takes, by method and path alone.
//!
//! Paths match byte for byte; nothing is normalised, so policy and upstream see what the client
//! sent. What matches no leg is refused here.

use crate::http::coding;
use crate::http::request::RequestHead;
use http::Method;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leg {
    /// `POST /v1/chat/completions`
    Chat,
    /// `POST`, `GET` or `DELETE /mcp/{server}`; the server's name.
    Mcp(String),
    /// `GET /v1/models`
    Models,
}

/// Why a request takes no leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteFault {
    /// A content coding that is not taken (RFC 9110 §15.5.16).
    Encoding,
    /// A body that is not JSON.
    MediaType,
    /// The path takes other methods, as the `Allow` field names them.
    Method(&'static str),
    /// Nothing is there.
    NotFound,
}

/// Finds the leg of a request.
pub fn find(head: &RequestHead) -> Result<Leg, RouteFault> {
    let leg = leg_of(&head.path).ok_or(RouteFault::NotFound)?;
    let allowed = match leg {
        Leg::Chat => "POST",
        Leg::Mcp(_) => "POST, GET, DELETE",
        Leg::Models => "GET",
    };
    if !allowed.split(", ").any(|method| method == head.method.as_str()) {
        return Err(RouteFault::Method(allowed));
    }
    if head.method == Method::POST {
        check_body_form(head)?;
    }
    Ok(leg)
}

/// Which leg a path belongs to, whatever the method: refusals are answered in its dialect.
pub fn leg_of(path: &str) -> Option<Leg> {
    match path {
        "/v1/chat/completions" => Some(Leg::Chat),
        "/v1/models" => Some(Leg::Models),
        _ => {
            let server = path.strip_prefix("/mcp/")?;
            let plain =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            (!server.is_empty() && server.bytes().all(plain)).then(|| Leg::Mcp(server.to_owned()))
        }
    }
}

fn check_body_form(head: &RequestHead) -> Result<(), RouteFault> {
    let is_json = head
        .fields
        .media_type()
        .is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/json"));
    if !is_json {
        return Err(RouteFault::MediaType);
    }
    coding::listed(&head.fields).map(drop).map_err(|_unknown| RouteFault::Encoding)
}

#[cfg(test)]
mod tests {
    use super::{Leg, RouteFault, find};
    use crate::http::head::{HeadBounds, Parsed};
    use crate::http::request::parse_request;

    fn route(head: &str) -> Result<Leg, RouteFault> {
        let text = format!("{head}\r\nhost: x\r\n\r\n").replace('\n', "\r\n").replace("\r\r", "\r");
        let bounds = HeadBounds { bytes: 4096, count: 20 };
        let Parsed::Complete { head, .. } = parse_request(text.as_bytes(), &bounds).unwrap() else {
            return Err(RouteFault::NotFound);
        };
        find(&head)
    }

    #[test]
    fn each_path_takes_its_methods_and_only_json() {
        let json = "content-type: application/json; charset=utf-8";
        assert_eq!(route(&format!("POST /v1/chat/completions HTTP/1.1\n{json}")), Ok(Leg::Chat));
        assert_eq!(route("GET /v1/models HTTP/1.1"), Ok(Leg::Models));
        assert_eq!(route("DELETE /mcp/a.b-c HTTP/1.1"), Ok(Leg::Mcp("a.b-c".into())));
        assert_eq!(route("GET /v1/chat/completions HTTP/1.1"), Err(RouteFault::Method("POST")));
        assert_eq!(route("POST /mcp/x HTTP/1.1"), Err(RouteFault::MediaType));
        let zipped = format!("POST /mcp/x HTTP/1.1\n{json}\ncontent-encoding: gzip");
        assert_eq!(route(&zipped), Ok(Leg::Mcp("x".into())));
        let odd = format!("POST /mcp/x HTTP/1.1\n{json}\ncontent-encoding: compress");
        assert_eq!(route(&odd), Err(RouteFault::Encoding));
        for lost in ["/", "/v1/models/", "/V1/models", "/mcp/", "/mcp/a/b", "/mcp/a%2fb"] {
            let head = format!("GET {lost} HTTP/1.1");
            assert_eq!(route(&head), Err(RouteFault::NotFound), "{lost}");
        }
    }
}
