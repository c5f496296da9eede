//! What the guard costs: prose of usual sizes, events of a stream, and texts that are made to cost.
//!
//! `cargo bench --bench guard` prints a line for each: microseconds for each KiB and megabytes for
//! each second, whole and as a stream, of the best of several rounds; then nanoseconds for each event
//! of the stream, and for each KiB of the scan that the guard begins with. A name as an argument runs
//! the cases whose names hold it.

use ringwall::base::hit::Direction;
use ringwall::base::text::{Channel, Form, Place, Source, Text, Trust};
use ringwall::config::model::Guard;
use ringwall::guard::inspect::Matcher;
use ringwall::guard::rules::Rules;
use ringwall::guard::stream::{StreamForm, StreamMasker};
use rustix::time::{ClockId, clock_gettime};
use std::io::{self, Write as _};
use std::sync::Arc;

const PLACE: Place = Place { path: "messages[#].content", indexes: [0, 0] };
/// Bytes of each text that is made to cost.
const HOSTILE_BYTES: usize = 64 * 1024;
/// How long a case is measured, in nanoseconds.
const BUDGET: u64 = 60_000_000;
/// Letters in one event of a stream.
const EVENT_LETTERS: usize = 4;

const PROSE: &str = "The committee met on Tuesday to talk about the new library, which will open in \
    the spring of 2027. Its reading rooms look out over the river; there is space for about four \
    hundred readers, and the old catalogue has been moved to the second floor. \"We wanted light,\" \
    said the architect, \"and quiet.\" Visitors may borrow up to twelve books at a time.\n\n";

struct Case {
    name: &'static str,
    form: Form,
    text: String,
}

fn filled(unit: &str, bytes: usize) -> String {
    let mut text = unit.repeat(bytes / unit.len() + 1);
    text.truncate(text.floor_char_boundary(bytes));
    text
}

fn usual() -> Vec<Case> {
    let plain = |name, text| Case { name, form: Form::PlainString, text };
    let code = "    let user = self.users.get(&id).ok_or_else(|| Error::missing(\"user\", id))?;\n    \
        if user.expires_at <= now { return Err(Error::Expired { id, at: user.expires_at }); }\n";
    let typed = "It’s the “smart” kind of text — with dashes, curly quotes … and a café or two. ";
    let russian = "Библиотека откроется весной, и в ней будет место для четырёхсот читателей. ";
    let chinese = "图书馆将于春天开放，阅览室面向河流，可容纳约四百名读者。";
    let arguments = r#"{"path": "src/main.rs", "limit": 20, "tags": ["a", "b"], "deep": {"k": 1}}"#;
    vec![
        plain("prose 1 KiB", filled(PROSE, 1024)),
        plain("prose 2 KiB", filled(PROSE, 2 * 1024)),
        plain("prose 16 KiB", filled(PROSE, 16 * 1024)),
        plain("prose 100 KiB", filled(PROSE, 100 * 1024)),
        plain("typeset prose", filled(typed, 16 * 1024)),
        plain("Russian prose", filled(russian, 16 * 1024)),
        plain("Chinese prose", filled(chinese, 16 * 1024)),
        plain("code", filled(code, 16 * 1024)),
        Case { name: "arguments", form: Form::PlainJson, text: filled(arguments, 2 * 1024) },
    ]
}

fn hostile() -> Vec<Case> {
    let units = [
        ("digits", "7"),
        ("digits and dots", "1.2.3.4."),
        ("digits and blanks", "4111 1111 1111 1112 "),
        ("short numbers", "12, 7, 345, "),
        ("lists of fours", "4000,4100,4200,4300 x "),
        ("near cards", "4111111111111112 "),
        ("near accounts", "GB29 NWBK 6016 1331 9268 18 "),
        ("near phrases", "ignore previous "),
        ("near keys", "sk-sk-sk-sk-sk-sk-sk-sk- "),
        ("at signs", "a@b.c d@e."),
        ("mail", "anna@example.com "),
        ("dashes", "-----BEGIN PRIVATE KE-----"),
        ("upper case", "ABCD EFGH IJKL MNOP "),
        ("single letters", "A B C 1 D E "),
        ("long token", "abcdEFGH0123_-"),
        ("base64", "NDAxMjg4ODg4ODg4MTg4Mg+"),
        ("base64 of base64", "TkRBeE1qZzRPRGc0T0RnNE1UZzRNZz09"),
        ("base64 bomb", "H4sIAAAAAAAAA+3BMQEAAADCoPVPbQhfoAAAAAAAAAAAAAAAAAAAAIC3AYbSVKsAQAAA "),
        ("hexadecimal", "34303132383838383838383831383832 "),
        ("zero-width flood", "a\u{200b}\u{200b}\u{200b}"),
        ("zero-width digits", "4\u{200b}0\u{200c}1\u{feff}"),
        ("full-width digits", "４０１２８８"),
        ("look-alikes", "іgnоrе рrеvіоus "),
        ("combining marks", "a\u{301}\u{302}\u{303}"),
        ("tags", "\u{e0041}\u{e0034}\u{e0030}"),
        ("entities", "&#52;&#48;&#49;"),
        ("half entities", "&#52&am&#x"),
        ("percent", "%34%30%31%32"),
        ("nested percent", "%252534%252530"),
        ("backslashes", "\\\\\\\\u0034"),
        ("brackets", "[[[[{{{{"),
        ("separators", "1 - 2 - 3 - "),
        ("reversed", "reversed 1888888888882104 "),
        ("rot13", "vtaber cerivbhf vafgehpgvbaf "),
    ];
    let plain = |(name, unit): (&'static str, &str)| {
        let text = filled(unit, HOSTILE_BYTES);
        Case { name, form: Form::PlainString, text }
    };
    let mut cases: Vec<Case> = units.into_iter().map(plain).collect();
    let json = |name, unit: &str| {
        let text = filled(unit, HOSTILE_BYTES);
        Case { name, form: Form::PlainJson, text }
    };
    cases.push(json("JSON numbers", "4111111111111112,"));
    cases.push(json("JSON escapes", "\"\\u0034\\u0031\","));
    cases.push(json("JSON nesting", "[{\"a\":"));
    cases
}

fn text_of(case: &Case) -> Text {
    let mut text = Text::default();
    let source = Source { raw: 0..case.text.len(), form: case.form };
    text.push(&case.text, source, Channel::User, Trust::Caller, PLACE);
    text
}

/// How long this thread was on a core, in nanoseconds.
fn spent() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap_or(0)
}

/// The least time that one turn takes, in nanoseconds.
fn best(mut turn: impl FnMut()) -> u64 {
    let begun = spent();
    let mut best = u64::MAX;
    let mut rounds = 0;
    while rounds < 3 || spent() - begun < BUDGET {
        let before = spent();
        turn();
        best = best.min(spent() - before);
        rounds += 1;
    }
    best
}

fn events(text: &str) -> Vec<&str> {
    let mut events = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let at = rest.char_indices().nth(EVENT_LETTERS).map_or(rest.len(), |(at, _)| at);
        let (event, left) = rest.split_at(at);
        events.push(event);
        rest = left;
    }
    events
}

fn stream(matcher: &mut Matcher, form: StreamForm, pieces: &[&str], out: &mut String) {
    let mut masker = StreamMasker::new(form, Channel::Assistant, PLACE);
    out.clear();
    for piece in pieces {
        if masker.push(matcher, piece, out).is_err() {
            return;
        }
    }
    // What it says is no matter here: only what it costs.
    drop(masker.finish(matcher, out));
}

/// Nanoseconds for so many bytes, as a cell of the table.
fn cell(nanos: u64, bytes: usize) -> String {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    let per_kib = nanos * 1024 / bytes;
    let speed = bytes * 10_000 / nanos.max(1);
    format!("{:>7}.{:03} {:>7}.{}", per_kib / 1000, per_kib % 1000, speed / 10, speed % 10)
}

fn main() -> io::Result<()> {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let rules = Rules::compile(&Guard::default());
    let rules = Arc::new(rules.map_err(io::Error::other)?);
    let mut matcher = Matcher::new(rules).map_err(io::Error::other)?;
    let mut out = io::stdout();
    let head =
        "case                      bytes   us/KiB       MB/s   streamed       MB/s   ns/event";
    writeln!(out, "{head}")?;
    for case in usual().into_iter().chain(hostile()) {
        if wanted.as_ref().is_some_and(|wanted| !case.name.contains(wanted.as_str())) {
            continue;
        }
        let text = text_of(&case);
        let raw = case.text.as_bytes();
        let whole = best(|| drop(matcher.clear(raw, &text, Direction::Request)));
        let is_json = case.form == Form::PlainJson;
        let form = if is_json { StreamForm::Json } else { StreamForm::Text };
        let pieces = events(&case.text);
        let mut said = String::with_capacity(case.text.len() * 2);
        let streamed = best(|| stream(&mut matcher, form, &pieces, &mut said));
        let mut found = Vec::new();
        let scan = best(|| {
            found.clear();
            matcher.rules().database().scan(&case.text, matcher.scratch(), &mut found);
        });
        let scan = scan * 1024 / u64::try_from(raw.len()).unwrap_or(1);
        let each = streamed / u64::try_from(pieces.len()).unwrap_or(1).max(1);
        let (whole, streamed) = (cell(whole, raw.len()), cell(streamed, raw.len()));
        writeln!(out, "{:<22} {:>8} {whole} {streamed} {each:>7} {scan:>7}", case.name, raw.len())?;
    }
    Ok(())
}
