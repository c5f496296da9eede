//! Who may ask and for what: callers and rules, with what they refer to.

use crate::base::caller::{Caller, Metadata};
use crate::base::clock::Wall;
use crate::base::map::Map;
use crate::config::fault::Mistake;
use crate::config::keys::{CALLER, Key, RULE};
use crate::config::kinds::Kind;
use crate::config::listeners::is_host_name;
use crate::config::model::{CallerEntry, Effect, KeyDigest, Limits, Pattern, Rule};
use crate::config::pass::{Names, Pass, Section, Spot, is_name};
use crate::config::routes::Routes;
use crate::config::tree::{Place, Value};
use crate::config::upstreams::Upstreams;
use std::sync::Arc;

/// The callers and the names that rules may use of them.
#[derive(Debug, Default)]
pub struct Callers {
    /// In the order of the file.
    pub entries: Vec<CallerEntry>,
    /// Their names.
    pub names: Names,
    /// Their apps.
    pub apps: Names,
    /// Their teams.
    pub teams: Names,
}

/// Reads the callers.
pub fn callers(pass: &mut Pass<'_>, top: &Section<'_>) -> Callers {
    let mut callers = Callers::default();
    let mut digests: Map<[u8; 32], Place> = Map::default();
    let mut certificate_names = Names::default();
    let mut anonymous: Option<Place> = None;
    for section in pass.sections(top, &CALLER) {
        let index = callers.entries.len();
        let name = pass.text(&section, "name");
        if let Some(name) = &name {
            callers.names.add(pass, "caller", name.value, (name.place, index));
        }
        let caller = Caller {
            name: name.map_or_else(|| Arc::from(""), |name| Arc::from(name.value)),
            index,
            user: pass.shared(&section, "user"),
            app: pass.shared(&section, "app"),
            team: pass.shared(&section, "team"),
            expires: expires(pass, &section),
            metadata: metadata(pass, &section),
        };
        for (names, value) in [(&mut callers.apps, &caller.app), (&mut callers.teams, &caller.team)]
        {
            if let Some(value) = value.as_ref().filter(|value| !names.has(value)) {
                names.add(pass, "name", value, (section.place, index));
            }
        }
        let keys = keys(pass, &section, &mut digests);
        let certificates = certificates(pass, &section, &mut certificate_names);
        let is_anonymous = pass.flag(&section, "anonymous");
        if is_anonymous {
            let at = section.at("anonymous");
            match anonymous {
                Some(first) => pass.note(at, Mistake::AnonymousTwice(first)),
                None => anonymous = Some(at),
            }
            for proof in ["keys", "certificates"].iter().filter(|proof| section.has(proof)) {
                pass.note(section.at(proof), Mistake::AnonymousWithKeys);
            }
        } else if !section.has("keys") && !section.has("certificates") {
            pass.note(section.place, Mistake::Unprovable);
        }
        let limits = Limits {
            requests_per_minute: pass.limit(&section, "requests_per_minute"),
            in_flight: pass.limit(&section, "in_flight"),
        };
        let caller = Arc::new(caller);
        let anonymous = is_anonymous;
        callers.entries.push(CallerEntry { caller, keys, certificates, limits, anonymous });
    }
    callers
}

/// Reads the rules, which name callers, models and servers that must be there.
pub fn rules(
    pass: &mut Pass<'_>,
    top: &Section<'_>,
    callers: &Callers,
    (upstreams, routes): (&Upstreams, &Routes),
) -> Vec<Rule> {
    let (mut rules, mut names) = (Vec::new(), Names::default());
    for section in pass.sections(top, &RULE) {
        let name = pass.text(&section, "name");
        if let Some(name) = &name {
            names.add(pass, "rule", name.value, (name.place, rules.len()));
        }
        let effect = match pass.choice(&section, "effect") {
            Some("allow") => Effect::Allow,
            _ => Effect::Deny,
        };
        let Who { callers: only, apps, teams } = who(pass, &section, callers);
        let rule = Rule {
            name: name.map_or_else(|| Arc::from(""), |name| Arc::from(name.value)),
            effect,
            callers: only,
            apps,
            teams,
            models: patterns(pass, &section, "models", Some(("model", &upstreams.model_names))),
            servers: patterns(
                pass,
                &section,
                "servers",
                Some(("MCP server", &upstreams.server_names)),
            ),
            tools: patterns(pass, &section, "tools", None),
            routes: patterns(pass, &section, "routes", Some(("route", &routes.names))),
        };
        let about = |key: &str| section.has(key);
        if !["models", "servers", "tools", "routes"].into_iter().any(about) {
            pass.note(section.place, Mistake::RuleAboutNothing);
        }
        if about("tools") && !about("servers") {
            pass.note(section.at("tools"), Mistake::ToolsWithoutServers);
        }
        rules.push(rule);
    }
    rules
}

/// A name, or the beginning of names.
pub fn pattern(pass: &mut Pass<'_>, spot: &Spot<&str>, key: &'static Key) -> Option<Pattern> {
    let (text, is_prefix) = match spot.value.strip_suffix('*') {
        Some(prefix) => (prefix, true),
        None => (spot.value, false),
    };
    let is_free = matches!(key.name, "apps" | "teams" | "tools");
    let fits = (is_prefix && text.is_empty())
        || (is_free && !text.is_empty() && !text.contains('*'))
        || is_name(text, Kind::ModelName);
    if !fits {
        let is_item = key.kind == Kind::Patterns;
        let mistake = if is_item { Mistake::InvalidItem(key) } else { Mistake::Invalid(key) };
        pass.note(spot.place, mistake);
        return None;
    }
    let text = Arc::from(text);
    Some(if is_prefix { Pattern::Prefix(text) } else { Pattern::Exact(text) })
}

/// Notes a pattern that fits nothing there is: it guards or grants nothing, which nobody writes on
/// purpose.
pub fn refuse_unknown(
    pass: &mut Pass<'_>,
    what: &'static str,
    names: &Names,
    (pattern, spot): (&Pattern, &Spot<&str>),
) {
    let fits = match pattern {
        Pattern::Exact(name) => names.has(name),
        Pattern::Prefix(prefix) => prefix.is_empty() || names.any_begins(prefix),
    };
    if !fits {
        names.refuse(pass, what, spot);
    }
}

/// Entries of one caller's metadata.
const METADATA_MOST: usize = 32;
/// Characters of a metadata value.
const METADATA_VALUE_MOST: usize = 256;
/// Bytes of a name in a certificate; a SPIFFE id may have as many (SPIFFE-ID §2.3).
const CERTIFICATE_NAME_MOST: usize = 2048;

/// Whom a table is about.
#[derive(Debug, Default)]
pub struct Who {
    /// By the caller's name.
    pub callers: Vec<Pattern>,
    /// By app.
    pub apps: Vec<Pattern>,
    /// By team.
    pub teams: Vec<Pattern>,
}

/// Reads `callers`, `apps` and `teams`, each of which names some that are there.
pub fn who(pass: &mut Pass<'_>, section: &Section<'_>, known: &Callers) -> Who {
    Who {
        callers: patterns(pass, section, "callers", Some(("caller", &known.names))),
        apps: patterns(pass, section, "apps", Some(("app", &known.apps))),
        teams: patterns(pass, section, "teams", Some(("team", &known.teams))),
    }
}

/// The patterns of a list; each must fit something there, where it is known what there is.
pub fn patterns(
    pass: &mut Pass<'_>,
    section: &Section<'_>,
    name: &str,
    known: Option<(&'static str, &Names)>,
) -> Vec<Pattern> {
    let key = section.key(name);
    let mut patterns = Vec::new();
    for spot in pass.texts(section, name) {
        let Some(pattern) = pattern(pass, &spot, key) else { continue };
        if let Some((what, names)) = known {
            refuse_unknown(pass, what, names, (&pattern, &spot));
        }
        patterns.push(pattern);
    }
    patterns
}

fn expires(pass: &mut Pass<'_>, section: &Section<'_>) -> Option<Wall> {
    let (key, node) = (section.key("expires"), section.node("expires")?);
    let (Value::Text(text) | Value::Date(text)) = &node.value else {
        pass.wrong_type(node, key);
        return None;
    };
    let expires = Wall::parse(text);
    if expires.is_none() {
        pass.note(node.place, Mistake::Invalid(key));
    }
    expires
}

/// The entries of a table of texts.
pub fn metadata(pass: &mut Pass<'_>, section: &Section<'_>) -> Vec<Metadata> {
    let (key, Some(node)) = (section.key("metadata"), section.node("metadata")) else {
        return Vec::new();
    };
    let Value::Table(table) = &node.value else {
        pass.wrong_type(node, key);
        return Vec::new();
    };
    if table.0.len() > METADATA_MOST {
        pass.note(node.place, Mistake::Invalid(key));
    }
    let mut metadata = Vec::with_capacity(table.0.len());
    for entry in &table.0 {
        if let Value::Text(text) = &entry.node.value
            && text.chars().count() <= METADATA_VALUE_MOST
        {
            metadata.push((Arc::from(&*entry.name), Arc::from(&**text)));
        } else {
            pass.note(entry.node.place, Mistake::InvalidItem(key));
        }
    }
    metadata
}

fn keys(
    pass: &mut Pass<'_>,
    section: &Section<'_>,
    seen: &mut Map<[u8; 32], Place>,
) -> Vec<KeyDigest> {
    let mut keys = Vec::new();
    for spot in pass.texts(section, "keys") {
        let Some(digest) = digest(spot.value) else {
            pass.note(spot.place, Mistake::LiteralKey);
            pass.hidden.push(spot.place);
            continue;
        };
        if let Some(first) = seen.get(&digest) {
            pass.note(spot.place, Mistake::Twice("key digest", *first));
            continue;
        }
        seen.insert(digest, spot.place);
        keys.push(KeyDigest(digest));
    }
    keys
}

/// Names in certificates, of which each is one caller's.
fn certificates(pass: &mut Pass<'_>, section: &Section<'_>, seen: &mut Names) -> Vec<Arc<str>> {
    let key = section.key("certificates");
    let mut names = Vec::new();
    for spot in pass.texts(section, "certificates") {
        if let Some(name) = certificate_name(spot.value) {
            seen.add(pass, "name in certificates", &name, (spot.place, 0));
            names.push(Arc::from(name));
        } else {
            pass.note(spot.place, Mistake::InvalidItem(key));
        }
    }
    names
}

/// A name as `wire::names` writes those of a certificate. A trust domain is in lower case
/// (SPIFFE-ID §2.1), and so is a DNS name here; a path and a common name are as they are.
fn certificate_name(text: &str) -> Option<String> {
    let is_short = text.len() <= CERTIFICATE_NAME_MOST && !text.contains(char::is_control);
    if let Some(rest) = text.strip_prefix("spiffe://") {
        let (domain, path) = rest.split_once('/')?;
        let fits =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
        let is_domain = !domain.is_empty() && domain.bytes().all(fits);
        let is_path = !path.is_empty() && path.bytes().all(|byte| byte.is_ascii_graphic());
        return (is_short && is_domain && is_path).then(|| text.to_owned());
    }
    if let Some(name) = text.strip_prefix("dns:") {
        return (is_short && is_host_name(name)).then(|| text.to_ascii_lowercase());
    }
    let name = text.strip_prefix("cn:")?;
    (is_short && !name.is_empty()).then(|| text.to_owned())
}

fn digest(text: &str) -> Option<[u8; 32]> {
    let hex = text.strip_prefix("sha256:")?;
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok()?;
    <[u8; 32]>::try_from(bytes).ok()
}
