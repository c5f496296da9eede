//! Gate *route*: which leg a request takes, by its listener, method and path alone.
//!
//! Paths match byte for byte; nothing is normalised, so policy and upstream see what the client
//! sent. A path that passes to an upstream must have one reading only: one that another server
//! could read as a path of another leg is refused.

use crate::base::ask::Api;
use crate::config::model::Route;
use crate::guard::airs;
use crate::http::coding;
use crate::http::path::fold;
use crate::http::request::RequestHead;
use http::Method;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leg {
    /// `POST` to an endpoint of models, such as `/v1/chat/completions`.
    Model(Api),
    /// `POST`, `GET` or `DELETE /mcp/{server}`; the server's name.
    Mcp(String),
    /// `GET /v1/models`
    Models,
    /// Anything below the prefix of a passthrough route; its index.
    Route(usize),
    /// `POST /v1/scan/sync/request`
    Scan,
    /// `OPTIONS *`: the server itself (RFC 9110 §9.3.7).
    Server,
}

/// Why a request takes no leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteFault {
    /// A path that servers read in different ways.
    Ambiguous,
    /// A content coding that is not taken (RFC 9110 §15.5.16).
    Encoding,
    /// A body that is not JSON.
    MediaType,
    /// The path takes other methods, as the `Allow` field names them.
    Method(&'static str),
    /// Nothing is there.
    NotFound,
}

/// What the paths of models begin with.
const VERSION: &str = "/v1";
/// What a passthrough route takes: `CONNECT` and `TRACE` speak to us, and what nobody registered
/// may mean anything to an upstream.
pub const ROUTE_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// The routes as one listener sees them.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    /// All routes.
    pub routes: &'a [Route],
    /// The listener of the connection.
    pub listener: usize,
}

impl Table<'_> {
    /// Finds the leg of a request.
    pub fn find(&self, head: &RequestHead) -> Result<Leg, RouteFault> {
        let leg = self.leg_of(&head.path).ok_or(RouteFault::NotFound)?;
        let allowed = match leg {
            Leg::Model(_) | Leg::Scan => "POST",
            Leg::Mcp(_) => "POST, GET, DELETE",
            Leg::Models => "GET",
            Leg::Route(_) | Leg::Server => ROUTE_METHODS,
        };
        if !allowed.split(", ").any(|method| method == head.method.as_str()) {
            return Err(RouteFault::Method(allowed));
        }
        if matches!(leg, Leg::Route(_)) {
            let folded = fold(&head.path).and_then(|folded| self.leg(&folded, same_letters));
            return if folded.as_ref() == Some(&leg) {
                Ok(leg)
            } else {
                Err(RouteFault::Ambiguous)
            };
        }
        if head.method == Method::POST {
            check_body_form(head)?;
        }
        Ok(leg)
    }

    /// Which leg a path belongs to, whatever the method: refusals are answered in its dialect.
    pub fn leg_of(&self, path: &str) -> Option<Leg> {
        self.leg(path, |one, other| one == other)
    }

    /// A listener that a route names serves the routes that name it and nothing else.
    fn leg(&self, path: &str, same: fn(&str, &str) -> bool) -> Option<Leg> {
        if path == "*" {
            return Some(Leg::Server);
        }
        let is_own = self.routes.iter().any(|route| route.listeners.contains(&self.listener));
        if !is_own && let Some(leg) = own_leg(path, same) {
            return Some(leg);
        }
        let serves = |route: &Route| {
            if is_own {
                route.listeners.contains(&self.listener)
            } else {
                route.listeners.is_empty()
            }
        };
        let fitting = self
            .routes
            .iter()
            .enumerate()
            .filter(|(_, route)| serves(route) && is_below(path, &route.prefix, same));
        fitting.max_by_key(|(_, route)| route.prefix.len()).map(|(index, _)| Leg::Route(index))
    }
}

/// The legs that Ringwall models itself.
fn own_leg(path: &str, same: fn(&str, &str) -> bool) -> Option<Leg> {
    if same(path, airs::PATH) {
        return Some(Leg::Scan);
    }
    if let Some((version, endpoint)) = path.split_at_checked(VERSION.len())
        && same(version, VERSION)
    {
        if same(endpoint, "/models") {
            return Some(Leg::Models);
        }
        let api = Api::ALL.into_iter().find(|api| same(endpoint, api.path()));
        if let Some(api) = api {
            return Some(Leg::Model(api));
        }
    }
    let server = path.strip_prefix("/mcp/")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (!server.is_empty() && server.bytes().all(plain)).then(|| Leg::Mcp(server.to_owned()))
}

/// Whether the path is the prefix or stands below it.
fn is_below(path: &str, prefix: &str, same: fn(&str, &str) -> bool) -> bool {
    let Some((front, rest)) = path.split_at_checked(prefix.len()) else { return false };
    same(front, prefix) && (rest.is_empty() || rest.starts_with('/'))
}

fn same_letters(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

fn check_body_form(head: &RequestHead) -> Result<(), RouteFault> {
    let is_json = head
        .fields
        .media_type()
        .is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/json"));
    if !is_json || head.fields.count("content-type") > 1 {
        return Err(RouteFault::MediaType);
    }
    coding::listed(&head.fields).map(drop).map_err(|_unknown| RouteFault::Encoding)
}

#[cfg(test)]
mod tests {
    use super::{Leg, RouteFault, Table};
    use crate::base::ask::Api;
    use crate::config::model::Route;
    use crate::http::head::{HeadBounds, Parsed};
    use crate::http::request::parse_request;

    fn on(routes: &[Route], listener: usize, head: &str) -> Result<Leg, RouteFault> {
        let text = format!("{head}\r\nhost: x\r\n\r\n").replace('\n', "\r\n").replace("\r\r", "\r");
        let bounds = HeadBounds { bytes: 4096, count: 20 };
        let Parsed::Complete { head, .. } = parse_request(text.as_bytes(), &bounds).unwrap() else {
            return Err(RouteFault::NotFound);
        };
        Table { routes, listener }.find(&head)
    }

    fn route(head: &str) -> Result<Leg, RouteFault> {
        on(&[], 0, head)
    }

    /// A route of these listeners.
    fn entry(prefix: &str, listeners: &[usize]) -> Route {
        Route {
            name: prefix.into(),
            prefix: prefix.into(),
            target: 0,
            guard: true,
            listeners: listeners.to_vec(),
            identity: Vec::new(),
        }
    }

    #[test]
    fn each_path_takes_its_methods_and_only_json() {
        let json = "content-type: application/json; charset=utf-8";
        for api in Api::ALL {
            let head = format!("POST /v1{} HTTP/1.1\n{json}", api.path());
            assert_eq!(route(&head), Ok(Leg::Model(api)));
        }
        assert_eq!(route("GET /v1/models HTTP/1.1"), Ok(Leg::Models));
        assert_eq!(route("DELETE /mcp/a.b-c HTTP/1.1"), Ok(Leg::Mcp("a.b-c".into())));
        assert_eq!(route("GET /v1/chat/completions HTTP/1.1"), Err(RouteFault::Method("POST")));
        assert_eq!(route("POST /mcp/x HTTP/1.1"), Err(RouteFault::MediaType));
        let twice = format!("POST /mcp/x HTTP/1.1\n{json}\ncontent-type: text/plain");
        assert_eq!(route(&twice), Err(RouteFault::MediaType));
        for coding in ["gzip", "x-gzip", "identity, gzip", "identity\ncontent-encoding: br"] {
            let zipped = format!("POST /mcp/x HTTP/1.1\n{json}\ncontent-encoding: {coding}");
            assert_eq!(route(&zipped), Ok(Leg::Mcp("x".into())), "{coding}");
        }
        for coding in ["compress", "gzip, compress", "gzip;q=1", "gzip\ncontent-encoding: dcb"] {
            let odd = format!("POST /mcp/x HTTP/1.1\n{json}\ncontent-encoding: {coding}");
            assert_eq!(route(&odd), Err(RouteFault::Encoding), "{coding}");
        }
        for lost in [
            "/",
            "/v1/messages/",
            "/v1/responses/x",
            "/v1/models/",
            "/V1/models",
            "/mcp/",
            "/mcp/a/b",
            "/mcp/a%2fb",
        ] {
            let head = format!("GET {lost} HTTP/1.1");
            assert_eq!(route(&head), Err(RouteFault::NotFound), "{lost}");
        }
    }

    #[test]
    fn the_longest_prefix_wins_and_ends_at_a_slash() {
        let routes = [entry("/v1", &[]), entry("/v1/files", &[])];
        let to = |path: &str| on(&routes, 0, &format!("PUT {path} HTTP/1.1"));
        assert_eq!(to("/v1/files"), Ok(Leg::Route(1)));
        assert_eq!(to("/v1/files/a?b=%2f"), Ok(Leg::Route(1)));
        assert_eq!(to("/v1/filesystem"), Ok(Leg::Route(0)));
        assert_eq!(to("/v2"), Err(RouteFault::NotFound));
        assert_eq!(to("/v1/models"), Err(RouteFault::Method("GET")), "ours wins");
        let trace = on(&routes, 0, "TRACE /v1/x HTTP/1.1");
        assert!(matches!(trace, Err(RouteFault::Method(_))), "{trace:?}");
        assert_eq!(on(&routes, 0, "OPTIONS * HTTP/1.1"), Ok(Leg::Server));
    }

    #[test]
    fn a_path_that_another_server_reads_as_another_leg_is_refused() {
        let routes = [entry("", &[]), entry("/admin", &[])];
        let to = |path: &str| on(&routes, 0, &format!("GET {path} HTTP/1.1"));
        assert_eq!(to("/"), Ok(Leg::Route(0)));
        assert_eq!(to("/x%20y"), Ok(Leg::Route(0)));
        assert_eq!(to("/admin/x"), Ok(Leg::Route(1)));
        for path in [
            "/ADMIN",
            "/%61dmin",
            "/admin.",
            "/admin%20/x",
            "/x/../admin",
            "//admin",
            "/x%2f..%2fadmin",
            "/V1/models",
            "/v1/chat/completions%20",
            "/MCP/git",
            "/a;b",
            "/a/%2e",
        ] {
            assert_eq!(to(path), Err(RouteFault::Ambiguous), "{path}");
        }
    }

    #[test]
    fn a_listener_that_routes_name_serves_nothing_else() {
        let routes = [entry("", &[1]), entry("/v1/files", &[])];
        let to = |listener, path: &str| on(&routes, listener, &format!("GET {path} HTTP/1.1"));
        assert_eq!(to(1, "/v1/models"), Ok(Leg::Route(0)));
        assert_eq!(to(1, "/v1/files"), Ok(Leg::Route(0)));
        assert_eq!(to(0, "/v1/files"), Ok(Leg::Route(1)));
        assert_eq!(to(0, "/v1/models"), Ok(Leg::Models));
        assert_eq!(to(0, "/x"), Err(RouteFault::NotFound));
    }
}
