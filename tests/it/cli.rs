//! The command line: what it prints for wrong configurations, and what it exits with.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use proptest::prelude::{ProptestConfig, any, prop, prop_assert, proptest};
use ringwall::cli::check::draw;
use ringwall::config::fault::Faults;
use ringwall::config::model::Config;
use ringwall::config::{load, reference, schema};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Compares with a file that is kept; `UPDATE=1` writes it.
fn golden(path: &Path, fresh: &str) {
    if std::env::var("UPDATE").is_ok_and(|value| value == "1") {
        std::fs::write(path, fresh).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(kept, fresh, "{} differs; UPDATE=1 writes it", path.display());
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Parses with a small world: one variable, two PEM files.
fn parse(name: &str, text: &str, sets: &[String]) -> Result<Config, Faults> {
    let environment = |name: &str| match name {
        "EMPTY" => Some(" \n".to_owned()),
        _ => None,
    };
    let read = |path: &Path| match path.to_str() {
        Some("/chain.pem") => Ok(b"-----BEGIN CERTIFICATE-----".to_vec()),
        Some("/not-a-key.pem") => Ok(b"what?".to_vec()),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    load::parse(name, text, sets, &environment, &read)
}

fn ringwall(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringwall")).args(words).current_dir(here("")).output().unwrap()
}

#[test]
fn every_message_is_as_it_is_kept() {
    let mut seen = 0;
    for entry in std::fs::read_dir(here("tests/golden/check")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|kind| kind != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let sets = std::fs::read_to_string(path.with_extension("sets")).unwrap_or_default();
        let sets: Vec<String> = sets.lines().map(str::to_owned).collect();
        let name = path.file_name().unwrap().to_str().unwrap();
        let faults = parse(name, &text, &sets).unwrap_err();
        let drawn = draw(&faults, false);
        for shown in [&drawn, &draw(&faults, true), &faults.to_string(), &format!("{faults:?}")] {
            assert!(!shown.contains("HIDDEN"), "{shown}");
        }
        golden(&path.with_extension("txt"), &drawn);
        seen += 1;
    }
    assert!(seen >= 7, "only {seen} cases");
}

#[test]
fn the_reference_and_the_schema_are_those_of_the_keys() {
    golden(&here("config/README.md"), &reference::markdown());
    golden(&here("config/ringwall.schema.json"), &schema::json());
}

#[test]
fn check_exits_with_what_it_found() {
    let code = |words: &[&str]| ringwall(words).status.code();
    assert_eq!(code(&["check", "config/quickstart.toml"]), Some(0));
    assert_eq!(code(&["check", "config/suites.toml"]), Some(0));
    assert_eq!(code(&["check", "tests/golden/check/units.toml"]), Some(1));
    assert_eq!(code(&["check", "config/nothing.toml"]), Some(2));
    assert_eq!(code(&["check"]), Some(2));
    assert_eq!(code(&["chekc"]), Some(2));
    assert_eq!(code(&["check", "config/quickstart.toml", "--set", "gateway.workers=0"]), Some(1));
    assert_eq!(code(&["serve", "--config", "tests/golden/check/units.toml"]), Some(1));
}

#[test]
fn the_example_is_right_where_its_secrets_are() {
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    std::fs::write(&chain, "-----BEGIN CERTIFICATE-----\n").unwrap();
    std::fs::write(&key, "-----BEGIN PRIVATE KEY-----\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ringwall"))
        .args(["check", "config/example.toml"])
        .args(["--set", &format!("listener.0.certificate={}", chain.display())])
        .args(["--set", &format!("listener.0.private_key={}", key.display())])
        .args(["--set", &format!("listener.0.client_ca={}", chain.display())])
        .args(["--set", &format!("listener.0.sni.0.certificate={}", chain.display())])
        .args(["--set", &format!("listener.0.sni.0.private_key={}", key.display())])
        .envs([
            ("OPENAI_API_KEY", "x"),
            ("ANTHROPIC_API_KEY", "x"),
            ("AZURE_API_KEY", "x"),
            ("GITHUB_MCP_TOKEN", "x"),
            ("AIRS_API_KEY", "x"),
        ])
        .current_dir(here(""))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn answers_go_to_stdout_and_mistakes_to_stderr() {
    let version = ringwall(&["--version"]);
    assert_eq!(version.stdout, format!("ringwall {}\n", env!("CARGO_PKG_VERSION")).as_bytes());
    assert!(ringwall(&["reference"]).stdout.starts_with(b"# Configuration reference"));
    assert!(ringwall(&["schema"]).stdout.starts_with(b"{"));
    let bash = ringwall(&["completions", "bash"]);
    assert!(String::from_utf8(bash.stdout).unwrap().contains("--config"));
    let wrong = ringwall(&["check", "tests/golden/check/units.toml"]);
    assert!(wrong.stdout.is_empty() && !wrong.stderr.is_empty());
    let usage = ringwall(&["chekc"]);
    assert!(String::from_utf8(usage.stderr).unwrap().contains("check"));
}

#[test]
fn every_example_names_its_schema() {
    for entry in std::fs::read_dir(here("config")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "toml") {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("#:schema ./ringwall.schema.json\n"), "{}", path.display());
        }
    }
}

#[test]
fn no_forgotten_sign_shows_a_secret() {
    let letters: Vec<char> = LEAKY.chars().collect();
    let check = |letters: &[char]| {
        let text: String = letters.iter().collect();
        let drawn = draw(&parse("leaky.toml", &text, &[]).unwrap_err(), false);
        assert!(!drawn.contains("HIDDEN"), "{drawn}");
    };
    for at in 0..letters.len() {
        let mut without = letters.clone();
        without.remove(at);
        check(&without);
        for sign in ['"', '\n'] {
            let mut with = letters.clone();
            with.insert(at, sign);
            check(&with);
        }
    }
}

/// A file with secrets in it where they must not be.
const LEAKY: &str = include_str!("../golden/check/secrets.toml");

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_slip_of_the_finger_shows_a_secret(
        place in any::<prop::sample::Index>(), typed in any::<char>(), removes in any::<bool>(),
    ) {
        let mut letters: Vec<char> = LEAKY.chars().collect();
        let at = place.index(letters.len());
        if removes {
            letters.remove(at);
        } else {
            letters.insert(at, typed);
        }
        let text: String = letters.into_iter().collect();
        let drawn = parse("leaky.toml", &text, &[]).map_err(|faults| draw(&faults, false));
        prop_assert!(drawn.as_ref().is_err_and(|drawn| !drawn.contains("HIDDEN")), "{drawn:?}");
    }

    #[test]
    fn no_text_breaks_check(text in any::<String>(), set in any::<String>()) {
        let drawn = parse("any.toml", &text, &[set]).map_err(|faults| draw(&faults, true));
        prop_assert!(drawn.is_err());
    }
}

#[test]
fn the_guard_is_tried_and_measured_from_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let plain = write("plain.txt", "nothing to see here");
    let card = write("card.txt", "pay 4111 1111 1111 1111 now");
    let code = |words: &[&str]| ringwall(words).status.code();
    assert_eq!(code(&["guard", "test", &plain]), Some(0));
    assert_eq!(code(&["guard", "test", &card]), Some(1));
    assert_eq!(code(&["guard", "test", "/nothing/there"]), Some(2));
    assert_eq!(code(&["guard", "test", &card, "--channel", "aside"]), Some(2));
    let off = write("off.toml", "version = 1\n[guard]\nenabled = false\n");
    assert_eq!(code(&["guard", "test", &card, "--config", &off]), Some(0));

    let rows = write(
        "pii.jsonl",
        "{\"id\": \"a\", \"text\": \"4111 1111 1111 1111\", \"label\": 1, \"source\": \"s\",          \"spans\": [{\"type\": \"CREDIT_CARD\", \"start\": 0, \"end\": 19}]}\n         {\"id\": \"b\", \"text\": \"4111 1111 1111 1112\", \"label\": 0, \"source\": \"s\"}\n",
    );
    let scored = ringwall(&["guard", "score", &rows]);
    let lines: Vec<serde_json::Value> = String::from_utf8(scored.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!((lines[0]["id"].as_str(), lines[1]["id"].as_str()), (Some("a"), Some("b")));
    assert_eq!(lines[0]["hits"][0]["end"].as_u64(), Some(19));
    assert_eq!(lines[1]["hits"].as_array().map(Vec::len), Some(0));
    let report = ringwall(&["guard", "bench", "--json", &rows]);
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!(report["tasks"][0]["name"].as_str(), Some("pii"));
    assert_eq!(report["tasks"][0]["sources"][0]["recall_at_1"].as_f64(), Some(1.0));
    let table = ringwall(&["guard", "bench", &rows]);
    assert!(String::from_utf8(table.stdout).unwrap().contains("| CREDIT_CARD | 1 | 1.000 |"));
    let broken = write("broken.jsonl", "{\"text\": 1}\n");
    assert_eq!(code(&["guard", "score", &broken]), Some(2));
}

#[test]
fn a_data_set_is_scanned_and_copied_from_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, text: &str| {
        std::fs::write(path(name), text).unwrap();
        path(name)
    };
    let code = |words: &[&str]| ringwall(words).status.code();
    let clean = write("clean.jsonl", "{\"text\": \"nothing to see here\", \"label\": 0}\n");
    let dirty = write("dirty.jsonl", "{\"text\": \"mail ada@example.com\", \"label\": 0}\n");
    assert_eq!(code(&["scan", "dataset", &clean]), Some(0));
    assert_eq!(code(&["scan", "dataset", "/nothing/there.csv"]), Some(2));
    assert_eq!(code(&["scan", "dataset", &write("a.parquet", "PAR1....")]), Some(2));
    let (masked, report) = (path("masked.jsonl"), path("report.json"));
    let words = ["scan", "dataset", &dirty, "--masked", &masked, "--report", &report];
    let scanned = ringwall(&words);
    assert_eq!(scanned.status.code(), Some(1));
    let said = String::from_utf8(scanned.stdout).unwrap();
    assert!(said.contains("pii.email") && !said.contains("ada@"), "{said}");
    let copy = std::fs::read_to_string(&masked).unwrap();
    assert_eq!(copy, "{\"text\": \"mail [EMAIL]\", \"label\": 0}\n");
    let report = std::fs::read_to_string(&report).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["rules"][0]["rule"].as_str(), Some("pii.email"));
    assert_eq!(code(&words), Some(2), "a copy is never written over");
    let canary = ringwall(&["guard", "canary"]).stdout;
    assert!(canary.starts_with(b"cn-") && canary.len() > 20);
}
