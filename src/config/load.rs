//! The way from text to a checked configuration, with every mistake of it in one pass.
//!
//! The file is parsed with recovery, `--set` values are laid over it, and the whole is read key by
//! key. Where a part could not be parsed, nothing is said of what seems to be missing.

use crate::config::fault::{Fault, Faults, Mistake, Source};
use crate::config::keys::{AUDIT, GATEWAY};
use crate::config::model::{Audit, Bounds, Config, Deadlines, Encodings, Pinning, Process};
use crate::config::pass::{Environment, Files, Pass, Section};
use crate::config::profiles::Known;
use crate::config::quantities::{BOUNDS, DEADLINES};
use crate::config::tree::{self, Entries, Place};
use crate::config::{guards, judges, listeners, people, recover, redact, routes, sets, upstreams};
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::de::DeTable;

/// Reads and checks a file, with `path.to.key=value` texts laid over it. Secrets are looked up in
/// the process's environment and files.
pub fn load(path: &Path, sets: &[String]) -> Result<Config, Faults> {
    let name = path.display().to_string();
    let unread = |mistake: Mistake| Faults {
        sources: vec![Source { name: name.clone(), text: String::new() }],
        list: vec![Fault {
            source: 0,
            span: 0..0,
            line: 1,
            column: 1,
            text: String::new(),
            mistake,
        }],
    };
    let bytes = read(path).map_err(|error| {
        match Some(error.kind()).filter(|kind| *kind != io::ErrorKind::FileTooLarge) {
            None => unread(Mistake::TooLarge(FILE_BYTES_MOST)),
            Some(kind) => unread(Mistake::Unreadable(kind)),
        }
    })?;
    let text = String::from_utf8(bytes).map_err(|_binary| unread(Mistake::NotText))?;
    parse(&name, &text, sets, &variable, &read)
}

/// Checks a text; where secrets and files come from is handed in.
pub fn parse(
    name: &str,
    text: &str,
    sets: &[String],
    environment: &Environment<'_>,
    read: &Files<'_>,
) -> Result<Config, Faults> {
    let mut pass = Pass { environment, read, mistakes: Vec::new(), hidden: Vec::new() };
    let recovered = recover::recover(text);
    let (table, _) = DeTable::parse_recoverable(&recovered.text);
    let mut top = tree::entries(table.get_ref(), 0, 0);
    for (span, words) in &recovered.errors {
        pass.note(Place::new(0, span), Mistake::Syntax(words.clone()));
    }
    let mut texts = vec![Told { name, text, unread: recovered.unread }];
    for (number, set) in sets.iter().enumerate() {
        let applied = sets::apply(&mut top, number + 1, set);
        let unread = applied.is_err().then_some(0..set.len()).into_iter().collect();
        texts.push(Told { name: "--set", text: set, unread });
        if let Err(refused) = applied {
            pass.note(refused.place, refused.mistake);
        }
    }
    let config = check(&mut pass, &top);
    if pass.mistakes.is_empty() { Ok(config) } else { Err(report(pass, &texts)) }
}

/// Bytes of the largest file that is read; ten thousand callers take two million.
const FILE_BYTES_MOST: usize = 16 << 20;
/// Mistakes that are listed; more help nobody.
const MISTAKES_MOST: usize = 200;
/// Characters of the offending text that a mistake keeps.
const TEXT_MOST: usize = 80;

fn check(pass: &mut Pass<'_>, entries: &Entries) -> Config {
    let top = pass.top(entries);
    pass.count(&top, "version");
    let gateway = pass.section(&top, &GATEWAY);
    let (listeners, admin) = listeners::read(pass, &top, &gateway);
    let mut upstreams = upstreams::read(pass, &top);
    let routes = routes::read(pass, &top, &listeners, &mut upstreams);
    let callers = people::callers(pass, &top);
    let rules = people::rules(pass, &top, &callers, (&upstreams, &routes));
    let known = Known { callers: &callers, upstreams: &upstreams, routes: &routes };
    let guard = guards::read(pass, &top, known);
    let judges = judges::read(pass, &top, &callers, &mut upstreams);
    Config {
        listeners,
        admin,
        process: process(pass, &gateway),
        bounds: bounds(pass, &top),
        deadlines: deadlines(pass, &top),
        callers: callers.entries,
        rules,
        models: upstreams.models,
        mcp_servers: upstreams.mcp_servers,
        routes: routes.list,
        targets: upstreams.targets,
        guard,
        judges,
        audit: audit(pass, &top),
    }
}

fn process(pass: &mut Pass<'_>, gateway: &Section<'_>) -> Process {
    let workers = if gateway.has("workers") {
        pass.capacity(gateway, "workers")
    } else {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        cores.saturating_sub(1).max(1)
    };
    let pin_from = pass.count(gateway, "pin_from").and_then(|cpu| usize::try_from(cpu).ok());
    let pinning = match pin_from {
        _ if !pass.flag(gateway, "pin") => Pinning::Off,
        Some(first) => Pinning::From(first),
        None => Pinning::Last,
    };
    Process { workers, pinning, drain: pass.span(gateway, "drain") }
}

fn bounds(pass: &mut Pass<'_>, top: &Section<'_>) -> Bounds {
    let section = pass.section(top, &BOUNDS);
    Bounds {
        head_bytes: pass.bytes(&section, "head"),
        header_count: pass.capacity(&section, "headers"),
        uri_bytes: pass.bytes(&section, "uri"),
        body_bytes: pass.bytes(&section, "body"),
        encodings: match pass.choice(&section, "encodings") {
            Some("refuse") => Encodings::Refuse,
            _ => Encodings::Decode,
        },
        body_rate: pass.size(&section, "body_rate"),
        write_rate: pass.size(&section, "write_rate"),
        answer_bytes: pass.bytes(&section, "answer"),
        event_bytes: pass.bytes(&section, "event"),
        held_bytes: pass.bytes(&section, "held"),
        upstream_head_bytes: pass.bytes(&section, "upstream_head"),
        upstream_header_count: pass.capacity(&section, "upstream_headers"),
        connections: pass.capacity(&section, "connections"),
        connections_total: pass.capacity(&section, "connections_total"),
        connections_per_address: pass.limit(&section, "connections_per_address").unwrap_or(1),
        streams_per_caller: pass.limit(&section, "streams_per_caller").unwrap_or(1),
        memory_bytes: pass.size(&section, "memory"),
    }
}

fn deadlines(pass: &mut Pass<'_>, top: &Section<'_>) -> Deadlines {
    let section = pass.section(top, &DEADLINES);
    Deadlines {
        first_request: pass.span(&section, "first_request"),
        head: pass.span(&section, "head"),
        body: pass.span(&section, "body"),
        body_grace: pass.span(&section, "body_grace"),
        idle: pass.span(&section, "idle"),
        write: pass.span(&section, "write"),
        connect: pass.span(&section, "connect"),
        first_byte: pass.span(&section, "first_byte"),
        upstream_idle: pass.span(&section, "upstream_idle"),
    }
}

fn audit(pass: &mut Pass<'_>, top: &Section<'_>) -> Audit {
    let section = pass.section(top, &AUDIT);
    let folder = pass.path(&section, "folder");
    Audit {
        folder: folder.map_or_else(PathBuf::new, |spot| spot.value),
        window: pass.span(&section, "window"),
        file_bytes: pass.size(&section, "file_size"),
    }
}

/// A text that was read, and which parts of it could not be.
#[derive(Debug)]
struct Told<'a> {
    name: &'a str,
    text: &'a str,
    unread: Vec<Range<usize>>,
}

/// Sorts the mistakes by their place, blanks what may be secret, and finds lines and columns.
fn report(pass: Pass<'_>, texts: &[Told<'_>]) -> Faults {
    let mut mistakes = pass.mistakes;
    let is_partly_read = texts.iter().any(|told| !told.unread.is_empty());
    let is_file_whole = texts.first().is_none_or(|file| file.unread.is_empty());
    mistakes.retain(|(_, mistake)| {
        let is_told = is_file_whole && matches!(mistake, Mistake::SetNowhere { .. });
        is_told || !(is_partly_read && mistake.is_absence())
    });
    mistakes.sort_by_key(|(place, _)| *place);
    mistakes.dedup();
    if mistakes.len() > MISTAKES_MOST {
        mistakes.truncate(MISTAKES_MOST);
        let last = mistakes.last().map_or_else(Place::default, |(place, _)| *place);
        mistakes.push((last, Mistake::TooMany(MISTAKES_MOST)));
    }
    let source = |(number, told): (usize, &Told<'_>)| {
        let hidden = pass.hidden.iter().filter(|place| place.source == number);
        let mut ranges: Vec<_> = hidden.map(|place| place.start..place.end).collect();
        ranges.extend(redact::doubtful(told.text, &told.unread));
        Source { name: told.name.to_owned(), text: redact::blank(told.text, &ranges) }
    };
    let sources: Vec<Source> = texts.iter().enumerate().map(source).collect();
    let fault = |(place, mistake): (Place, Mistake)| {
        let text = sources.get(place.source).map_or("", |source| &*source.text);
        fault(text, place, mistake, pass.hidden.contains(&place))
    };
    let list = mistakes.into_iter().map(fault).collect();
    Faults { sources, list }
}

fn fault(text: &str, place: Place, mistake: Mistake, is_hidden: bool) -> Fault {
    let whole = place.start.min(text.len())..place.end.min(text.len());
    let whole = text.floor_char_boundary(whole.start)..text.ceil_char_boundary(whole.end);
    let span = if is_hidden { redact::shown(&whole) } else { whole };
    let (line, column) = position(text, span.start);
    let offending = text.get(span.clone()).unwrap_or_default();
    let first_line = offending.lines().next().unwrap_or_default();
    let text = first_line.trim_end().chars().take(TEXT_MOST).collect();
    Fault { source: place.source, span, line, column, text, mistake }
}

/// The line, and the column in characters, of a byte; both from 1.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..text.floor_char_boundary(offset)).unwrap_or_default();
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    (line, before.get(start..).unwrap_or_default().chars().count() + 1)
}

/// A file, if it is not larger than any configuration.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = crate::base::numbers::to_u64(FILE_BYTES_MOST) + 1;
    std::fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    if bytes.len() > FILE_BYTES_MOST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::base::ask::Dialect;
    use crate::config::fault::{Fault, Faults, Mistake};
    use crate::config::keys::{TABLES, TOP};
    use crate::config::model::{Config, Encodings, Pattern, Pinning};
    use std::io;
    use std::net::SocketAddr;
    use std::path::Path;
    use std::time::Duration;

    const QUICKSTART: &str = include_str!("../../config/quickstart.toml");
    const EXAMPLE: &str = include_str!("../../config/example.toml");

    fn check(text: &str, sets: &[&str]) -> Result<Config, Faults> {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        let environment = |name: &str| name.ends_with("_KEY").then(|| format!("{name}-value\n"));
        let environment = |name: &str| {
            environment(name).or_else(|| (name == "GITHUB_MCP_TOKEN").then(|| "ghp".to_owned()))
        };
        let read = |path: &Path| match path.to_str() {
            Some(file) if file.starts_with("/etc/ringwall/tls/") => {
                let is_key = file.ends_with("key.pem");
                let mark = if is_key { "PRIVATE KEY" } else { "CERTIFICATE" };
                Ok(format!("-----BEGIN {mark}-----").into_bytes())
            }
            Some("/secret") => Ok(b"from-a-file\r\n".to_vec()),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        parse("test.toml", text, &sets, &environment, &read)
    }

    #[test]
    fn the_quickstart_is_right() {
        let config = check(QUICKSTART, &[]).unwrap();
        assert_eq!(config.listeners[0].address, SocketAddr::from(([127, 0, 0, 1], 8080)));
        assert_eq!(config.targets.len(), 2);
        assert_eq!(config.models[0].routes[0].target, 0);
        assert_eq!((config.mcp_servers[0].target, &*config.targets[1].path), (1, "/mcp"));
        assert!(config.callers[0].anonymous && config.guard.enabled && config.process.workers >= 1);
        assert_eq!(config.rules[0].models, [Pattern::Prefix("".into())]);
    }

    #[test]
    fn the_example_is_right() {
        let config = check(EXAMPLE, &[]).unwrap();
        assert_eq!(config.listeners.len(), 3);
        let tls = config.listeners[1].tls.as_ref().unwrap();
        assert!(!tls.clients.as_ref().unwrap().required && !tls.refuse_unknown);
        assert_eq!(tls.certificates[1].names[1].as_ref(), "*.gateway.internal");
        let local = &config.listeners[2];
        assert_eq!((local.address.to_string().starts_with("unix:/"), local.mode), (true, 0o660));
        assert!(local.proxy.as_ref().unwrap().trusts(None));
        let alice = &config.callers[1].certificates;
        assert_eq!(alice[0].as_ref(), "spiffe://example.com/people/alice");
        let openai = config.targets[0].credential.as_ref().unwrap();
        assert_eq!(openai.value.expose(), b"Bearer OPENAI_API_KEY-value");
        assert_eq!(config.targets[0].dialects, [Dialect::OpenAi]);
        assert_eq!(config.targets[1].dialects, [Dialect::Anthropic]);
        let azure = config.targets[2].credential.as_ref().unwrap();
        assert_eq!(
            (azure.header.as_str(), azure.value.expose()),
            ("api-key", &b"AZURE_API_KEY-value"[..])
        );
        assert_eq!(config.targets[0].port, 443);
        assert_eq!(config.callers[0].keys.len(), 2);
        assert_eq!(config.models[0].routes.len(), 2);
        assert_eq!(config.deadlines.first_byte, Duration::from_mins(3));
    }

    #[test]
    fn what_is_absent_is_as_the_reference_says() {
        let config = check("version = 1", &[]).unwrap();
        assert_eq!(config.listeners[0].address, SocketAddr::from(([127, 0, 0, 1], 8080)));
        assert_eq!(config.admin, SocketAddr::from(([127, 0, 0, 1], 9090)));
        let process = &config.process;
        assert_eq!((process.pinning, process.drain.as_secs()), (Pinning::Last, 30));
        let bounds = config.bounds;
        assert_eq!((bounds.head_bytes, bounds.header_count), (32 << 10, 100));
        assert_eq!((bounds.body_bytes, bounds.answer_bytes), (10 << 20, 32 << 20));
        assert_eq!((bounds.event_bytes, bounds.connections), (1 << 20, 16_384));
        let rates = (bounds.body_rate, bounds.write_rate, bounds.encodings);
        assert_eq!(rates, (1024, 1024, Encodings::Decode));
        let connections = (bounds.connections_total, bounds.connections_per_address);
        assert_eq!(connections, (65_536, 8192));
        assert_eq!((bounds.uri_bytes, bounds.held_bytes), (8 << 10, 64 << 10));
        let upstream = (bounds.upstream_head_bytes, bounds.upstream_header_count);
        assert_eq!(upstream, (64 << 10, 128));
        assert_eq!((bounds.streams_per_caller, bounds.memory_bytes), (4096, 1 << 30));
        let deadlines = config.deadlines;
        let grace = (deadlines.first_request.as_secs(), deadlines.body_grace.as_secs());
        assert_eq!(grace, (10, 10));
        let seconds = [
            deadlines.head,
            deadlines.body,
            deadlines.idle,
            deadlines.write,
            deadlines.connect,
            deadlines.first_byte,
            deadlines.upstream_idle,
        ];
        assert_eq!(seconds.map(|span| span.as_secs()), [10, 60, 60, 20, 5, 120, 120]);
        assert!(config.guard.enabled && config.guard.actions.is_empty());
        assert_eq!(config.audit.folder, Path::new("audit"));
        assert_eq!((config.audit.window.as_millis(), config.audit.file_bytes), (20, 64 << 20));
    }

    #[test]
    fn every_described_key_is_read() {
        for table in TABLES {
            for key in table.keys {
                let header = table.header().replace(&TOP.header(), "");
                let header = header.replace("[[listener.", "[[listener]]\n[[listener.");
                let faults = check(&format!("{header}\n{} = 1.5\n", key.name), &[]).unwrap_err();
                let is_read = |fault: &Fault| matches!(fault.mistake, Mistake::WrongType(read, _) if read == key);
                assert!(faults.list.iter().any(is_read), "{} {}", table.path, key.name);
            }
        }
    }

    #[test]
    fn values_of_sets_win_over_the_file_and_tell_their_own_place() {
        let config = check(
            QUICKSTART,
            &["gateway.workers=3", "caller.demo.in_flight=3", "caller.0.team=core", "rule=[]"],
        );
        let config = config.unwrap();
        assert_eq!(config.process.workers, 3);
        assert_eq!(config.callers[0].limits.in_flight, Some(3));
        assert_eq!(config.callers[0].caller.team.as_deref(), Some("core"));
        let faults = check(QUICKSTART, &["guard.enabled=true", "gateway.drain=7"]).unwrap_err();
        let fault = &faults.list[0];
        assert_eq!((fault.source, fault.span.clone(), &*fault.text), (2, 14..15, "7"));
    }

    #[test]
    fn lines_and_columns_count_from_one_in_characters() {
        let text = "version = 1\n\n[gateway]\n# ü\n\"ü\" = 1\r\ndrain = 5\n";
        let faults = check(text, &[]).unwrap_err();
        let places: Vec<_> = faults.list.iter().map(|fault| (fault.line, fault.column)).collect();
        assert_eq!(places, [(5, 1), (6, 9)]);
    }

    #[test]
    fn a_secret_is_looked_up_and_never_shown() {
        let text = "version = 1\n[[provider]]\nname = \"p\"\nurl = \"http://[::1]:81/v1/\"\n";
        let config = check(&format!("{text}key = \"file:/secret\"\n"), &[]).unwrap();
        let target = &config.targets[0];
        assert_eq!(target.credential.as_ref().unwrap().value.expose(), b"Bearer from-a-file");
        assert_eq!((&*target.host, target.port, &*target.path), ("::1", 81, "/v1"));
        assert!(!format!("{config:?}").contains("from-a-file"));
    }

    #[test]
    fn addresses_are_loopback_unless_they_say_so() {
        let text = "version = 1\n[gateway]\nlisten = [\":81\", \"0.0.0.0:82\", \"[::1]:83\"]\n";
        let shown = |config: Config| {
            config.listeners.iter().map(|listener| listener.address.to_string()).collect::<Vec<_>>()
        };
        let listeners = shown(check(text, &[]).unwrap());
        assert_eq!(listeners, ["127.0.0.1:81", "0.0.0.0:82", "[::1]:83"]);
        let only = "version = 1\n[[listener]]\naddress = \"127.0.0.1:84\"\n";
        assert_eq!(shown(check(only, &[]).unwrap()), ["127.0.0.1:84"]);
        let faults = check(text, &["gateway.admin=0.0.0.0:82"]).unwrap_err();
        assert!(matches!(faults.list[0].mistake, Mistake::Twice("address", _)), "{faults}");
    }
}
