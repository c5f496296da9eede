//! Passthrough routes: which paths lead to which upstream as they are, and what it is told of who
//! asks.

use crate::base::endpoint::Endpoint;
use crate::config::fault::Mistake;
use crate::config::keys::{Table, needed, optional, usual};
use crate::config::kinds::Kind;
use crate::config::model::{CallerPart, IdentityHeader, Listener, Route};
use crate::config::pass::{Names, Pass, Section};
use crate::config::tree::{Place, Value};
use crate::config::upstreams::{Upstreams, bare_target, header_name};
use std::sync::Arc;

/// The routes and their names.
#[derive(Debug, Default)]
pub struct Routes {
    /// In the order of the file.
    pub list: Vec<Route>,
    /// Their names, for rules.
    pub names: Names,
}

/// Paths that pass as they are.
pub static ROUTE: Table = Table {
    path: "route",
    many: true,
    about: "Paths that lead to an upstream as they are: endpoints that Ringwall does not model, \
            such as files, images and batches. Method, path, query and body pass; who asks, what \
            they may and how much is decided as everywhere. The longest prefix wins, and what \
            Ringwall models itself wins over every route.",
    keys: &[
        needed("name", Kind::Name, "Its name in rules, records and metrics. Unique."),
        needed(
            "prefix",
            Kind::Prefix,
            "The paths it takes: this one and all below it. A path that some server could read as \
             another one (`..`, `//`, `%2F`, other letter case of another prefix) is refused.",
        ),
        needed(
            "upstream",
            Kind::Upstream,
            "Where they lead. Of a provider only its address, TLS and key count: the path is the \
             client's.",
        ),
        usual(
            "guard",
            Kind::Flag,
            ("true", "a guard that did not run is no pass"),
            "Whether JSON that is sent is inspected, every string of it. What is no JSON, and \
             every answer, passes unseen, and the record says how much.",
        ),
        optional(
            "listeners",
            Kind::Endpoints,
            "Listeners that serve it, by their addresses. A listener that any route names serves \
             the routes that name it and nothing else. Absent: every listener that none names.",
        ),
        optional(
            "identity_headers",
            Kind::Identity,
            "What the upstream is told of the caller, besides `x-ringwall-user`. What a client \
             sends under such a name, however it writes it, does not pass.",
        ),
    ],
};

/// Reads the routes; one with a URL adds a target.
pub fn read(
    pass: &mut Pass<'_>,
    top: &Section<'_>,
    known: &[Listener],
    upstreams: &mut Upstreams,
) -> Routes {
    let mut routes = Routes::default();
    let mut places: Vec<Place> = Vec::new();
    for section in pass.sections(top, &ROUTE) {
        let name = pass.text(&section, "name");
        if let Some(name) = &name {
            routes.names.add(pass, "route", name.value, (name.place, routes.list.len()));
        }
        let name: Arc<str> = name.map_or_else(|| Arc::from(""), |name| Arc::from(name.value));
        let target = target(pass, &section, &name, upstreams);
        let route = Route {
            prefix: prefix(pass, &section),
            target: target.unwrap_or_default(),
            guard: pass.flag(&section, "guard"),
            listeners: listeners(pass, &section, known),
            identity: identity(pass, &section),
            name,
        };
        let place = section.at("prefix");
        let same = routes.list.iter().position(|other| meets(other, &route));
        if let Some(first) = same.and_then(|index| places.get(index)) {
            pass.note(place, Mistake::Twice("prefix", *first));
        }
        places.push(place);
        routes.list.push(route);
    }
    routes
}

/// Whether two routes take the same paths of the same listener.
fn meets(one: &Route, other: &Route) -> bool {
    let both_open = one.listeners.is_empty() && other.listeners.is_empty();
    let shared = one.listeners.iter().any(|listener| other.listeners.contains(listener));
    one.prefix.eq_ignore_ascii_case(&other.prefix) && (both_open || shared)
}

fn target(
    pass: &mut Pass<'_>,
    section: &Section<'_>,
    name: &Arc<str>,
    upstreams: &mut Upstreams,
) -> Option<usize> {
    let upstream = pass.text(section, "upstream")?;
    if !upstream.value.contains("://") {
        return upstreams.provider_names.find(pass, "provider", &upstream);
    }
    let target = bare_target(pass, section, Arc::clone(name), "upstream")?;
    upstreams.targets.push(target);
    Some(upstreams.targets.len() - 1)
}

fn prefix(pass: &mut Pass<'_>, section: &Section<'_>) -> Arc<str> {
    let Some(prefix) = pass.text(section, "prefix") else { return Arc::from("") };
    let bare = prefix.value.strip_suffix('/').unwrap_or(prefix.value);
    if !prefix.value.starts_with('/') || !is_plain(bare) {
        pass.note(prefix.place, Mistake::Invalid(section.key("prefix")));
    }
    Arc::from(bare)
}

/// A path without a slash at its end that no server reads in two ways.
fn is_plain(path: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-.~".contains(&byte);
    let is_name = |segment: &str| segment.bytes().any(|byte| byte != b'.');
    path.bytes().all(is_plain) && path.split('/').skip(1).all(is_name)
}

fn listeners(pass: &mut Pass<'_>, section: &Section<'_>, known: &[Listener]) -> Vec<usize> {
    let mut found = Vec::new();
    for spot in pass.texts(section, "listeners") {
        let named = Endpoint::parse(spot.value);
        let index = known.iter().position(|listener| Some(&listener.address) == named.as_ref());
        if let Some(index) = index {
            found.push(index);
            continue;
        }
        let known = known.iter().map(|listener| listener.address.to_string()).collect();
        let name = spot.value.to_owned();
        pass.note(spot.place, Mistake::NoSuch { what: "listener", name, known });
    }
    found
}

fn identity(pass: &mut Pass<'_>, section: &Section<'_>) -> Vec<IdentityHeader> {
    let (key, Some(node)) = (section.key("identity_headers"), section.node("identity_headers"))
    else {
        return Vec::new();
    };
    let Value::Table(table) = &node.value else {
        pass.wrong_type(node, key);
        return Vec::new();
    };
    let mut headers = Vec::with_capacity(table.0.len());
    for entry in &table.0 {
        let part = if let Value::Text(word) = &entry.node.value { part_of(word) } else { None };
        match (header_name(&entry.name), part) {
            (Some(name), Some(part)) => headers.push(IdentityHeader { name, part }),
            _ => pass.note(entry.node.place, Mistake::InvalidItem(key)),
        }
    }
    headers
}

fn part_of(word: &str) -> Option<CallerPart> {
    Some(match word {
        "app" => CallerPart::App,
        "name" => CallerPart::Name,
        "team" => CallerPart::Team,
        "user" => CallerPart::User,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::is_plain;
    use crate::config::fault::{Faults, Mistake};
    use crate::config::load::parse;
    use crate::config::model::{CallerPart, Config};
    use std::io::ErrorKind;

    fn check(routes: &str) -> Result<Config, Faults> {
        let text = format!(
            "version = 1\n[gateway]\nlisten = [\":81\", \":82\"]\n[[provider]]\nname = \"p\"\n\
             url = \"https://api.example/v1\"\nkey = \"env:K\"\n{routes}"
        );
        let environment = |_: &str| Some("secret".to_owned());
        parse("test.toml", &text, &[], &environment, &|_| Err(ErrorKind::NotFound.into()))
    }

    fn mistakes(routes: &str) -> Vec<Mistake> {
        check(routes).unwrap_err().list.into_iter().map(|fault| fault.mistake).collect()
    }

    #[test]
    fn a_route_leads_to_a_provider_or_to_an_upstream_of_its_own() {
        let config = check(
            "[[route]]\nname = \"files\"\nprefix = \"/v1/files/\"\nupstream = \"p\"\n\
             [[route]]\nname = \"all\"\nprefix = \"/\"\nupstream = \"http://a:8000\"\n\
             guard = false\nlisteners = [\":82\"]\nidentity_headers = { X-Team = \"team\" }\n\
             [[rule]]\nname = \"r\"\neffect = \"allow\"\nroutes = [\"files\"]\n",
        )
        .unwrap();
        let [files, all] = &*config.routes else { panic!("{:?}", config.routes) };
        assert_eq!((&*files.prefix, files.target, files.guard), ("/v1/files", 0, true));
        assert!(files.listeners.is_empty() && files.identity.is_empty());
        assert_eq!((&*all.prefix, all.guard, &*all.listeners), ("", false, &[1_usize][..]));
        assert_eq!(
            (all.identity[0].name.as_str(), all.identity[0].part),
            ("x-team", CallerPart::Team)
        );
        let own = &config.targets[all.target];
        assert_eq!(
            (&*own.name, &*own.host, own.port, own.credential.is_none()),
            ("all", "a", 8000, true)
        );
        assert_eq!(config.rules[0].routes.len(), 1);
    }

    #[test]
    fn what_a_route_cannot_mean_is_a_mistake() {
        let route = |keys: &str| {
            let mistakes = mistakes(&format!("[[route]]\nname = \"r\"\n{keys}\n"));
            assert_eq!(mistakes.len(), 1, "{mistakes:?}");
            mistakes.into_iter().next().unwrap()
        };
        let said = |prefix: &str, more: &str| {
            route(&format!("prefix = \"{prefix}\"\nupstream = \"p\"\n{more}"))
        };
        for prefix in ["files", "/a//b", "/a/../b", "/%41", "/a;b", "/a b"] {
            assert!(matches!(said(prefix, ""), Mistake::Invalid(_)), "{prefix}");
        }
        let unknown = said("/a", "listeners = [\":83\"]");
        assert!(matches!(unknown, Mistake::NoSuch { what: "listener", .. }), "{unknown:?}");
        for header in ["{ host = \"user\" }", "{ x-user = \"shoe\" }", "{ x-user = 1 }"] {
            let found = said("/a", &format!("identity_headers = {header}"));
            assert!(matches!(found, Mistake::InvalidItem(_)), "{header}");
        }
        let other = route("prefix = \"/a\"\nupstream = \"q\"");
        assert!(matches!(other, Mistake::NoSuch { what: "provider", .. }), "{other:?}");
        let below = route("prefix = \"/a\"\nupstream = \"http://a/b\"");
        assert!(matches!(below, Mistake::Invalid(_)), "{below:?}");
    }

    #[test]
    fn two_routes_do_not_take_the_same_paths() {
        let two = |first: &str, second: &str| {
            let one = |name: &str, more: &str| {
                format!("[[route]]\nname = \"{name}\"\nupstream = \"p\"\n{more}\n")
            };
            check(&format!("{}{}", one("a", first), one("b", second))).is_ok()
        };
        assert!(two("prefix = \"/a\"", "prefix = \"/a/b\""));
        assert!(!two("prefix = \"/a\"", "prefix = \"/A/\""));
        let on = |port: u16| format!("prefix = \"/\"\nlisteners = [\":{port}\"]");
        assert!(two(&on(81), &on(82)) && two(&on(81), "prefix = \"/\""));
        assert!(!two(&on(81), &on(81)));
    }

    #[test]
    fn a_prefix_has_one_form() {
        for plain in ["", "/v1", "/v1/a.b~c_d-e", "/.well-known"] {
            assert!(is_plain(plain), "{plain}");
        }
        for other in ["/", "/.", "/a/..", "/a//b", "/a/", "/:", "/é"] {
            assert!(!is_plain(other), "{other}");
        }
    }
}
