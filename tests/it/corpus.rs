//! The fuzzer's properties over its corpora, and over what is near to them: what `make fuzz` looks
//! for at length is looked for here in short, with nothing to install and so with nothing to skip.

#![expect(clippy::indexing_slicing, reason = "a test may stop where it stands")]

use std::fs;
use std::path::{Path, PathBuf};

#[path = "../fuzz/properties/chunked.rs"]
mod chunked;
#[path = "../fuzz/properties/head.rs"]
mod head;
#[path = "../fuzz/properties/json.rs"]
mod json;
#[path = "../fuzz/properties/masker.rs"]
mod masker;
#[path = "../fuzz/properties/message.rs"]
mod message;
#[path = "../fuzz/properties/proxy.rs"]
mod proxy;
#[path = "../fuzz/properties/sse.rs"]
mod sse;

/// Inputs for each property, made from its corpus.
const INPUTS: usize = 20_000;
/// Bytes that mean something to one reader or another.
const TELLING: &[u8] = b"\r\n \t\0:;,=\"\\{}[]019aA_-+.%/\xc3\xff";

type Property = fn(&[u8]);

const PROPERTIES: [(&str, Property); 7] = [
    ("chunked", chunked::check),
    ("head", head::check),
    ("json", json::check),
    ("masker", masker::check),
    ("message", message::check),
    ("proxy", proxy::check),
    ("sse", sse::check),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

#[expect(clippy::disallowed_methods, reason = "a test may wait for the disk")]
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = fs::read_dir(root().join("corpus").join(name)).expect("every target has a corpus");
    let mut files: Vec<PathBuf> = folder.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).expect("it can be read")).collect()
}

/// A sequence that is the same in each run (xorshift64).
struct Steps(u64);

impl Steps {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let bound = u64::try_from(bound.max(1)).expect("it fits");
        usize::try_from(self.0 % bound).expect("it is below one")
    }
}

/// One of the corpus with up to four changes.
fn near(corpus: &[Vec<u8>], steps: &mut Steps) -> Vec<u8> {
    let mut bytes = corpus[steps.below(corpus.len())].clone();
    for _ in 0..=steps.below(4) {
        let at = steps.below(bytes.len() + 1);
        let to = at + steps.below(bytes.len() - at + 1).min(12);
        let telling = TELLING[steps.below(TELLING.len())];
        match steps.below(6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..to)),
            2 => bytes.insert(at, telling),
            3 => bytes.extend_from_within(at..to),
            4 => {
                let other = &corpus[steps.below(corpus.len())];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[steps.below(other.len() + 1)..]);
            }
            _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = telling),
        }
    }
    bytes
}

#[test]
fn every_property_holds_over_its_corpus_and_near_it() {
    for (name, property) in PROPERTIES {
        let corpus = corpus(name);
        assert!(corpus.len() >= 5, "{name}: a corpus of {}", corpus.len());
        for bytes in &corpus {
            property(bytes);
        }
        let mut steps = Steps(0x5eed);
        for nth in 0..INPUTS {
            let bytes = near(&corpus, &mut steps);
            let held = std::panic::catch_unwind(|| property(&bytes));
            assert!(held.is_ok(), "{name}, input {nth}: \"{}\"", bytes.escape_ascii());
        }
    }
}

#[test]
fn the_fuzzer_knows_every_property() {
    let makefile = fs::read_to_string(root().join("../../Makefile")).expect("a Makefile");
    let line = makefile.lines().find_map(|line| line.strip_prefix("FUZZ_TARGETS = "));
    let mut targets: Vec<&str> = line.expect("the targets").split(' ').collect();
    targets.sort_unstable();
    assert_eq!(targets, PROPERTIES.map(|(name, _)| name));
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("a manifest");
    for name in targets {
        assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "{name}");
        assert!(root().join(format!("targets/{name}.rs")).exists(), "{name}");
    }
}
