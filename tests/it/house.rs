//! The house rules, held by reading the sources: floors, words at home, file shape, doors.
//!
//! Each fault names the file, the line and the reason, and all faults of one run come together.

use std::fmt::{self, Display};
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms by floor, ground first. A file imports from lower floors and from its own room only.
const FLOORS: [&[&str]; 9] = [
    &["base"],
    &["http", "config"],
    &["wire"],
    &["identity", "policy", "limits", "guard", "llm", "mcp", "audit", "telemetry", "supply"],
    &["gateway"],
    &["coordinator"],
    &["worker", "admin", "redteam", "demo"],
    &["cli"],
    &["main"],
];

/// A word that only some files may say.
struct Word {
    text: &'static str,
    /// Beginnings of the paths below `src` where it is allowed.
    homes: &'static [&'static str],
    why: &'static str,
}

const WORDS: [Word; 13] = [
    Word {
        text: "monoio",
        homes: &["wire/", "worker/", "coordinator/"],
        why: "the runtime stays behind few files, so that it can be exchanged",
    },
    Word {
        text: "unsafe ",
        homes: &["guard/hyperscan.rs"],
        why: "unsafe code is audited in one place",
    },
    Word {
        text: "unsafe_code",
        homes: &["guard/hyperscan.rs"],
        why: "unsafe code is audited in one place",
    },
    Word { text: "println!", homes: &["cli/print.rs"], why: "only `cli::print` speaks" },
    Word { text: "print!", homes: &["cli/print.rs"], why: "only `cli::print` speaks" },
    Word { text: "eprintln!", homes: &["cli/print.rs"], why: "only `cli::print` speaks" },
    Word { text: "eprint!", homes: &["cli/print.rs"], why: "only `cli::print` speaks" },
    Word {
        text: "wire::pool",
        homes: &["wire/", "gateway/upstream.rs", "gateway/shard.rs", "worker/"],
        why: "only `gateway::upstream` sends, and it demands the gates' proofs",
    },
    Word {
        text: "std::fs",
        homes: &[
            "config/load.rs",
            "audit/file.rs",
            "audit/folder.rs",
            "audit/verify.rs",
            "cli/",
            "wire/tls.rs",
        ],
        why: "files block the thread that reads them",
    },
    Word { text: "pub use", homes: &[], why: "a name has one home: import it from there" },
    Word { text: "pub(crate) use", homes: &[], why: "a name has one home: import it from there" },
    Word { text: "pub(super) use", homes: &[], why: "a name has one home: import it from there" },
    Word { text: concat!("FIX", "ME"), homes: &[], why: "finish it or file an issue" },
];

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const COLUMNS_MAX: usize = 100;
const DEPTH: usize = 2;

/// One broken rule.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    file: String,
    line: usize,
    reason: String,
}

impl Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.file, self.line, self.reason)
    }
}

/// A source file, apart from its tests.
struct Source {
    /// Below `src`, with `/`.
    path: String,
    text: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// Its lines before the tests begin, numbered from one.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines()).take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
    }

    /// The same without comments, whether whole lines or tails.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().map(|(number, line)| {
            let is_comment = line.trim_start().starts_with("//");
            let code = if is_comment { "" } else { line.split(" // ").next().unwrap_or(line) };
            (number, code)
        })
    }

    fn room(&self) -> Option<&str> {
        self.path.split_once('/').map(|(room, _)| room)
    }

    fn is_door(&self) -> bool {
        self.path.ends_with("/mod.rs")
    }

    fn fault(&self, line: usize, reason: impl Into<String>) -> Fault {
        Fault { file: format!("src/{}", self.path), line, reason: reason.into() }
    }
}

fn floor_of(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// Imports go down only. `main.rs` and `lib.rs` stand in no room and may know all of them.
fn imports_go_down(source: &Source) -> Vec<Fault> {
    let Some(own) = source.room() else { return Vec::new() };
    let Some(here) = floor_of(own) else {
        return vec![source.fault(1, format!("the room `{own}` stands on no floor"))];
    };
    let mut faults = Vec::new();
    for (number, code) in source.code() {
        for room in rooms_named(code) {
            let fault = match floor_of(room) {
                _ if room == own => continue,
                Some(there) if there < here => continue,
                Some(_) => format!("`{own}` knows `{room}`, which is not below it"),
                None => format!("`crate::{room}` is no room: import from the file that owns it"),
            };
            faults.push(source.fault(number, fault));
        }
    }
    faults
}

/// What follows each `crate::` of a line.
fn rooms_named(code: &str) -> impl Iterator<Item = &str> {
    code.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        end.map_or(rest, |end| &rest[..end])
    })
}

fn words_stay_at_home(source: &Source) -> Vec<Fault> {
    let mut faults = Vec::new();
    for word in &WORDS {
        if word.homes.iter().any(|home| source.path.starts_with(home)) {
            continue;
        }
        for (number, _) in source.code().filter(|(_, code)| says(code, word.text)) {
            faults.push(source.fault(number, format!("`{}` here: {}", word.text, word.why)));
        }
    }
    faults
}

/// Whether the word stands there, and not as a part of a longer one or inside a string.
fn says(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = &code[..at];
        let in_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let after = &code[at + word.len()..];
        let joined =
            before.ends_with(in_word) || word.ends_with(in_word) && after.starts_with(in_word);
        let quoted = before.matches('"').count() % 2 == 1;
        !joined && !quoted
    })
}

/// Time is read in one file; all others may name only lengths of it.
fn time_comes_from_the_clock(source: &Source) -> Vec<Fault> {
    if source.path == "base/clock.rs" {
        return Vec::new();
    }
    let reads = |code: &str| {
        code.contains("std::time") && !code.contains("std::time::Duration")
            || code.contains("Instant::now")
            || code.contains("SystemTime::")
    };
    let found = source.code().filter(|(_, code)| reads(code));
    found.map(|(n, _)| source.fault(n, "time is read through `base::clock` only")).collect()
}

fn file_has_its_shape(source: &Source) -> Vec<Fault> {
    let mut faults = Vec::new();
    if !source.text.starts_with("//! ") {
        faults.push(source.fault(1, "begin with `//!`: what does this file own?"));
    }
    let is_home = ["lib.rs", "main.rs"].contains(&&*source.path);
    if !is_home && source.path.split('/').count() != DEPTH {
        faults.push(source.fault(1, "files stand at `src/<room>/<file>.rs`"));
    }
    let length = source.lines().count();
    if length > FILE_LINES_MAX {
        let reason = format!("{length} lines before the tests; at most {FILE_LINES_MAX}");
        faults.push(source.fault(length, reason));
    }
    for (number, line) in (1..).zip(source.text.lines()) {
        let columns = line.chars().count();
        // Neither an address nor the data of a test can be broken; rustfmt breaks the rest.
        let is_whole = line.contains("://") || number > length;
        if columns > COLUMNS_MAX && !is_whole {
            let reason = format!("{columns} columns; at most {COLUMNS_MAX}");
            faults.push(source.fault(number, reason));
        }
    }
    faults
}

/// A function runs from its `fn` line to the closing brace at the same indentation (rustfmt's).
fn functions_are_short(source: &Source) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut open: Vec<(usize, usize, String)> = Vec::new();
    for (number, code) in source.code() {
        let indent = code.len() - code.trim_start().len();
        if let Some(name) = function_begun(code) {
            open.push((number, indent, name.to_owned()));
        }
        let closes = code.trim_end() == format!("{}}}", " ".repeat(indent));
        if closes && open.last().is_some_and(|(_, begun, _)| *begun == indent) {
            let (begun, _, name) = open.pop().expect("it was looked at");
            let length = number - begun + 1;
            if length > FUNCTION_LINES_MAX {
                let reason = format!("`{name}` has {length} lines; at most {FUNCTION_LINES_MAX}");
                faults.push(source.fault(begun, reason));
            }
        }
    }
    faults
}

/// The name of a function whose body spans lines and begins here.
fn function_begun(code: &str) -> Option<&str> {
    let trimmed = code.trim();
    let (before, after) = trimmed.split_once("fn ")?;
    let is_item = before.split_whitespace().all(|word| {
        matches!(word, "pub" | "async" | "const" | "unsafe" | "extern" | "\"C\"")
            || word.starts_with("pub(")
    });
    let on_one_line = trimmed.ends_with('}') || trimmed.ends_with(';');
    let name = after.split(['(', '<']).next()?;
    (is_item && !on_one_line).then_some(name)
}

/// A door says what the room is and which files it has.
fn doors_are_empty(source: &Source) -> Vec<Fault> {
    if !source.is_door() {
        return Vec::new();
    }
    let is_door_line = |code: &str| {
        code.is_empty()
            || code.ends_with(';') && ["pub mod ", "mod "].iter().any(|m| code.starts_with(m))
    };
    let found = source.code().filter(|(_, code)| !is_door_line(code.trim()));
    found.map(|(n, _)| source.fault(n, "a door holds its words and its `mod` lines")).collect()
}

/// Every direct dependency is a decision, with its reason above it (one reason may serve a pair).
fn dependencies_have_reasons(manifest: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut inside = false;
    let mut reason = false;
    let mut last = String::new();
    for (number, line) in (1..).zip(manifest.lines()) {
        if line.starts_with('[') {
            inside = line.contains("dependencies");
            reason = false;
        } else if inside && line.starts_with('#') {
            reason = true;
        } else if inside && !line.is_empty() {
            let name = line.split(['=', ' ', '.']).next().unwrap_or_default().to_owned();
            let is_kin = !last.is_empty() && name.starts_with(&format!("{last}_"));
            if !reason && !is_kin {
                let reason = format!("say above `{name}` what it is for");
                faults.push(Fault { file: "Cargo.toml".to_owned(), line: number, reason });
            }
            reason = false;
            last = name;
        }
    }
    faults
}

fn faults_of(source: &Source) -> Vec<Fault> {
    let rules = [
        imports_go_down,
        words_stay_at_home,
        time_comes_from_the_clock,
        file_has_its_shape,
        functions_are_short,
        doors_are_empty,
    ];
    rules.iter().flat_map(|rule| rule(source)).collect()
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    paths.sort();
    let read = |path: &PathBuf| {
        let below = path.strip_prefix(&root).expect("it was found there");
        let text = fs::read_to_string(path).expect("sources are UTF-8");
        Source::new(&below.display().to_string(), &text)
    };
    paths.iter().map(read).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("`src` can be read") {
        let path = entry.expect("`src` can be listed").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

#[track_caller]
fn assert_none(faults: &[Fault]) {
    let report: Vec<String> = faults.iter().map(Fault::to_string).collect();
    assert!(faults.is_empty(), "\n{}\n", report.join("\n"));
}

#[test]
fn the_house_is_in_order() {
    let sources = sources();
    assert!(sources.len() > 10, "only {} files were found", sources.len());
    assert_none(&sources.iter().flat_map(faults_of).collect::<Vec<_>>());
}

#[test]
fn dependencies_are_decisions() {
    assert_none(&dependencies_have_reasons(include_str!("../../Cargo.toml")));
}

#[test]
fn every_rule_finds_its_fault() {
    let long = format!("//! Long.\nfn long() {{\n{}}}\n", "    step();\n".repeat(70));
    let tall = format!("//! Tall.\n{}", "const A: u8 = 0;\n".repeat(500));
    let wide = format!("//! Wide.\n// {}\n", "w".repeat(100));
    let cases = [
        ("base/a.rs", "//! A.\nuse crate::guard::rules::Rules;\n", 2, "not below it"),
        ("llm/a.rs", "//! A.\nuse crate::mcp::message::Message;\n", 2, "not below it"),
        ("llm/a.rs", "//! A.\nuse crate::Message;\n", 2, "is no room"),
        ("cellar/a.rs", "//! A.\n", 1, "stands on no floor"),
        ("gateway/a.rs", "//! A.\n\nuse monoio::time;\n", 3, "`monoio` here"),
        ("wire/a.rs", "//! A.\nunsafe { read() }\n", 2, "`unsafe ` here"),
        ("cli/a.rs", "//! A.\nprintln!();\n", 2, "`println!` here"),
        ("mcp/a.rs", "//! A.\nuse std::fs;\n", 2, "`std::fs` here"),
        ("mcp/a.rs", "//! A.\npub(crate) use std::mem;\n", 2, "one home"),
        ("mcp/a.rs", "//! A.\nuse std::time::Instant;\n", 2, "base::clock"),
        ("mcp/a.rs", "use std::mem;\n", 1, "begin with"),
        ("mcp/deep/a.rs", "//! A.\n", 1, "files stand at"),
        ("mcp/mod.rs", "//! A.\npub mod a;\nfn code() {}\n", 3, "a door holds"),
        ("mcp/a.rs", &long, 2, "`long` has 72 lines"),
        ("mcp/a.rs", &tall, 501, "501 lines"),
        ("mcp/a.rs", &wide, 2, "103 columns"),
    ];
    for (path, text, line, reason) in cases {
        let faults = faults_of(&Source::new(path, text));
        let found = faults.iter().any(|fault| fault.line == line && fault.reason.contains(reason));
        assert!(found, "{path}: `{reason}` at {line} is not among {faults:?}");
    }
    let manifest = "[dependencies]\n# Why.\na = \"1\"\na_kin = \"1\"\nb = \"1\"\n";
    assert_eq!(dependencies_have_reasons(manifest).first().map(|fault| fault.line), Some(5));
}

#[test]
fn what_is_allowed_is_no_fault() {
    let cases = [
        ("gateway/a.rs", "//! A.\nuse crate::guard::inspect::Matcher;\n"),
        ("wire/a.rs", "//! A.\nuse monoio::time;\n"),
        ("cli/print.rs", "//! A.\nprintln!();\n"),
        ("mcp/a.rs", "//! A.\nuse std::time::Duration;\n"),
        ("mcp/a.rs", "//! A.\npub user: String,\n"),
        ("mcp/a.rs", "//! A.\n// unsafe { } println! monoio\n"),
        ("mcp/a.rs", "//! A.\nlet word = \"unsafe { }\";\n"),
        ("mcp/a.rs", "//! A.\n#[cfg(test)]\nmod tests { use crate::llm::chat; }\n"),
        ("mcp/mod.rs", "//! A.\n\npub mod a;\nmod b;\n"),
        ("lib.rs", "//! A.\npub mod cli;\n"),
    ];
    for (path, text) in cases {
        let faults = faults_of(&Source::new(path, text));
        assert_none(&faults);
    }
}
