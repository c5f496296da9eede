//! JSON as a flat list of nodes with raw spans, read once by simd-json.
//!
//! A document keeps two texts apart: the raw bytes that arrived and leave untouched, and a decoded
//! copy in which every string stands unescaped at the very place where it began. A node knows its
//! raw span, so a mask or a rewrite is a splice over the pristine bytes.
//!
//! Stricter than simd-json where gate and upstream could read a document differently: duplicate
//! keys at any depth, lone surrogates and too much nesting are refused (RFC 8259 §4, §8.2).

use crate::base::numbers::{to_u32, to_usize};
use crate::base::offsets::hex4;
use simd_json::{Buffers, Node as TapeNode, StaticNode};
use std::collections::BTreeSet;
use std::ops::Range;

/// Nesting beyond this is refused: no provider or MCP message comes near it.
pub const DEPTH_MAX: usize = 96;
/// An object with more members than this is checked for duplicate keys by sorting.
const PAIRWISE_MEMBERS_MAX: usize = 12;

/// Reads documents; owns the buffers that simd-json reuses. One for each worker.
#[derive(Default)]
pub struct Reader {
    buffers: Buffers,
}

/// Why a text is not a document, and where in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// What is wrong.
    pub fault: JsonFault,
    /// Byte offset into the text.
    pub at: usize,
}

/// What can be wrong with a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonFault {
    /// Nested deeper than [`DEPTH_MAX`].
    Deep,
    /// An object names a key twice, after unescaping.
    DuplicateKey,
    /// No text at all.
    Empty,
    /// A `\u` escape is half of a surrogate pair.
    LoneSurrogate,
    /// Larger than four gigabytes.
    Long,
    /// Not JSON, or not UTF-8.
    Syntax,
}

/// A document that was read: its decoded text and its nodes in document order.
#[derive(Debug)]
pub struct Json {
    text: Vec<u8>,
    nodes: Vec<Node>,
}

/// One value of a document.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    json: &'a Json,
    index: usize,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `[…]`
    Array,
    /// `true` or `false`
    Bool(bool),
    /// A number that is not an unsigned integer below 2^64.
    Float,
    /// `null`
    Null,
    /// `{…}`
    Object,
    /// `"…"`
    String,
    /// An unsigned integer.
    Unsigned(u64),
}

#[derive(Clone, Copy, Debug)]
struct Node {
    kind: Kind,
    /// Raw span, quotes and brackets included.
    start: u32,
    end: u32,
    /// Strings: length when decoded.
    decoded: u32,
    /// The first node after this one and all it holds.
    next: u32,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Reader")
    }
}

impl Reader {
    /// Reads one document; nothing but white space may follow it.
    pub fn read(&mut self, raw: &[u8]) -> Result<Json, JsonError> {
        if raw.is_empty() {
            return Err(JsonError { fault: JsonFault::Empty, at: 0 });
        }
        if u32::try_from(raw.len()).is_err() {
            return Err(JsonError { fault: JsonFault::Long, at: 0 });
        }
        check_depth(raw)?;
        check_surrogates(raw)?;
        let mut text = raw.to_vec();
        let tape = simd_json::to_tape_with_buffers(&mut text, &mut self.buffers)
            .map_err(|error| broken(raw, error.index()))?;
        let nodes = place(raw, &tape.0, self.buffers.structural_indexes())?;
        drop(tape);
        let json = Json { text, nodes };
        check_keys(&json)?;
        Ok(json)
    }
}

impl Json {
    /// The outermost value.
    pub fn root(&self) -> Value<'_> {
        Value { json: self, index: 0 }
    }
}

impl std::fmt::Debug for Value<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the text: it may hold what must not be printed.
        out.debug_struct("Value").field("node", &self.node()).finish()
    }
}

impl<'a> Value<'a> {
    /// What it is.
    pub fn kind(self) -> Kind {
        self.node().kind
    }

    /// The string's decoded text.
    pub fn as_str(self) -> Option<&'a str> {
        let node = self.node();
        if node.kind != Kind::String {
            return None;
        }
        let from = to_usize(node.start) + 1;
        let bytes = self.json.text.get(from..from + to_usize(node.decoded))?;
        std::str::from_utf8(bytes).ok()
    }

    /// The unsigned integer.
    pub fn as_u64(self) -> Option<u64> {
        if let Kind::Unsigned(number) = self.kind() { Some(number) } else { None }
    }

    /// A number as it was written: in-place unescaping touches strings only.
    pub fn number_text(self) -> Option<&'a str> {
        let bytes = self.is_number().then(|| self.json.text.get(self.span())).flatten()?;
        std::str::from_utf8(bytes).ok()
    }

    /// The truth value.
    pub fn as_bool(self) -> Option<bool> {
        if let Kind::Bool(value) = self.kind() { Some(value) } else { None }
    }

    /// Whether it is `null`.
    pub fn is_null(self) -> bool {
        self.kind() == Kind::Null
    }

    /// Whether it is an object.
    pub fn is_object(self) -> bool {
        self.kind() == Kind::Object
    }

    /// Whether it is an array.
    pub fn is_array(self) -> bool {
        self.kind() == Kind::Array
    }

    /// Whether it is a number of any form.
    pub fn is_number(self) -> bool {
        matches!(self.kind(), Kind::Unsigned(_) | Kind::Float)
    }

    /// The member of that name; `None` where this is no object or has none.
    pub fn member(self, name: &str) -> Option<Self> {
        self.members().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value)
    }

    /// The members of an object as (key, value); nothing for any other kind.
    pub fn members(self) -> impl Iterator<Item = (Self, Self)> + 'a {
        let node = self.node();
        let end = if node.kind == Kind::Object { to_usize(node.next) } else { 0 };
        let json = self.json;
        let mut at = self.index + 1;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let key = Self { json, index: at };
            let value = Self { json, index: at + 1 };
            at = to_usize(value.node().next);
            Some((key, value))
        })
    }

    /// The elements of an array; nothing for any other kind.
    pub fn items(self) -> impl Iterator<Item = Self> + 'a {
        let node = self.node();
        let end = if node.kind == Kind::Array { to_usize(node.next) } else { 0 };
        let json = self.json;
        let mut at = self.index + 1;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let item = Self { json, index: at };
            at = to_usize(item.node().next);
            Some(item)
        })
    }

    /// Where it stands in the raw text, quotes and brackets included.
    pub fn span(self) -> Range<usize> {
        let node = self.node();
        to_usize(node.start)..to_usize(node.end)
    }

    /// Where a string's content stands in the raw text, without its quotes.
    pub fn inner(self) -> Range<usize> {
        let span = self.span();
        span.start + 1..span.end.saturating_sub(1).max(span.start + 1)
    }

    /// Whether a string holds escapes, so that raw and decoded offsets differ.
    pub fn is_escaped(self) -> bool {
        self.inner().len() != to_usize(self.node().decoded)
    }

    fn node(self) -> Node {
        // Only `root`, `members` and `items` make values, from nodes that exist.
        self.json.nodes.get(self.index).copied().unwrap_or(Node::NOTHING)
    }
}

impl Node {
    const NOTHING: Self = Self { kind: Kind::Null, start: 0, end: 0, decoded: 0, next: u32::MAX };
}

/// Appends `text` in the form it has between the quotes of a JSON string.
pub fn escape_into(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..=0x1f => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                for nibble in [byte >> 4, byte & 15] {
                    out.push(HEX.get(usize::from(nibble)).copied().unwrap_or(b'0'));
                }
            }
            _ => out.push(byte),
        }
    }
}

/// Brackets outside strings, counted; only documents with many brackets pay for the look.
fn check_depth(raw: &[u8]) -> Result<(), JsonError> {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(found) = raw.get(at..).and_then(next_bracket_or_quote) {
        let here = at + found;
        match raw.get(here) {
            Some(b'"') => at = string_end(raw, here + 1),
            Some(b'{' | b'[') => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(JsonError { fault: JsonFault::Deep, at: here });
                }
                at = here + 1;
            }
            _ => {
                depth = depth.saturating_sub(1);
                at = here + 1;
            }
        }
    }
    Ok(())
}

fn next_bracket_or_quote(rest: &[u8]) -> Option<usize> {
    rest.iter().position(|byte| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']'))
}

fn string_end(raw: &[u8], mut at: usize) -> usize {
    while let Some(found) = raw.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += found;
        if raw.get(at) == Some(&b'"') {
            return at + 1;
        }
        at += 2;
    }
    raw.len()
}

/// simd-json reads a lone `\ud800` as U+0000; an upstream may read something else.
fn check_surrogates(raw: &[u8]) -> Result<(), JsonError> {
    let mut at = 0;
    while let Some(found) = raw.get(at..).and_then(|rest| memchr::memchr(b'\\', rest)) {
        at += found;
        if raw.get(at + 1) != Some(&b'u') {
            at += 2;
            continue;
        }
        match hex4(raw, at + 2) {
            Some(0xd800..=0xdbff) => {
                let low = (raw.get(at + 6) == Some(&b'\\') && raw.get(at + 7) == Some(&b'u'))
                    .then(|| hex4(raw, at + 8))
                    .flatten();
                if !matches!(low, Some(0xdc00..=0xdfff)) {
                    return Err(JsonError { fault: JsonFault::LoneSurrogate, at });
                }
                at += 12;
            }
            Some(0xdc00..=0xdfff) => return Err(JsonError { fault: JsonFault::LoneSurrogate, at }),
            Some(_) | None => at += 2,
        }
    }
    Ok(())
}

/// Gives each tape node its raw span: simd-json's structural indexes name, in order, every bracket,
/// colon and comma and the first byte of every string and scalar.
fn place(raw: &[u8], tape: &[TapeNode<'_>], structurals: &[u32]) -> Result<Vec<Node>, JsonError> {
    let mut nodes: Vec<Node> = Vec::with_capacity(tape.len());
    let mut open: Vec<usize> = Vec::new();
    let mut values = tape.iter();
    for (order, &start) in structurals.iter().enumerate() {
        match raw.get(to_usize(start)) {
            Some(b':' | b',') => continue,
            Some(b'}' | b']') => {
                let next = to_u32(nodes.len());
                if let Some(node) = open.pop().and_then(|index| nodes.get_mut(index)) {
                    node.end = start + 1;
                    node.next = next;
                }
                continue;
            }
            _ => {}
        }
        let Some(value) = values.next() else { break };
        let (kind, decoded) = match value {
            TapeNode::String(text) => (Kind::String, to_u32(text.len())),
            TapeNode::Object { .. } => (Kind::Object, 0),
            TapeNode::Array { .. } => (Kind::Array, 0),
            TapeNode::Static(scalar) => (scalar_kind(*scalar), 0),
        };
        if matches!(kind, Kind::Object | Kind::Array) {
            open.push(nodes.len());
        }
        let limit = structurals.get(order + 1).map_or(raw.len(), |next| to_usize(*next));
        let end = to_u32(trim_end(raw, to_usize(start), limit));
        let next = to_u32(nodes.len() + 1);
        nodes.push(Node { kind, start, end, decoded, next });
    }
    if nodes.len() != tape.len() || !open.is_empty() {
        return Err(JsonError { fault: JsonFault::Syntax, at: 0 });
    }
    Ok(nodes)
}

fn scalar_kind(scalar: StaticNode) -> Kind {
    match scalar {
        StaticNode::Null => Kind::Null,
        StaticNode::Bool(value) => Kind::Bool(value),
        StaticNode::U64(number) => Kind::Unsigned(number),
        StaticNode::I64(number) => u64::try_from(number).map_or(Kind::Float, Kind::Unsigned),
        StaticNode::F64(_) => Kind::Float,
    }
}

fn trim_end(raw: &[u8], start: usize, limit: usize) -> usize {
    let text = raw.get(start..limit).unwrap_or_default();
    let blank = text.iter().rev().take_while(|byte| byte.is_ascii_whitespace()).count();
    limit - blank
}

/// Where the first key of an object stands that was there before.
fn repeated_at(object: Value<'_>) -> Option<usize> {
    let mut seen = BTreeSet::new();
    let again = object.members().find(|(key, _)| key.as_str().is_some_and(|key| !seen.insert(key)));
    again.map(|(key, _)| key.span().start)
}

/// The parser knows where a document breaks, but for bytes that are not UTF-8.
fn broken(raw: &[u8], index: usize) -> JsonError {
    let at = std::str::from_utf8(raw).map_or_else(|odd| odd.valid_up_to(), |_| index);
    JsonError { fault: JsonFault::Syntax, at }
}

fn check_keys(json: &Json) -> Result<(), JsonError> {
    let mut keys: Vec<&str> = Vec::new();
    for (index, node) in json.nodes.iter().enumerate() {
        if node.kind != Kind::Object {
            continue;
        }
        keys.clear();
        let object = Value { json, index };
        keys.extend(object.members().filter_map(|(key, _)| key.as_str()));
        if has_duplicate(&mut keys) {
            let at = repeated_at(object).unwrap_or_else(|| to_usize(node.start));
            return Err(JsonError { fault: JsonFault::DuplicateKey, at });
        }
    }
    Ok(())
}

fn has_duplicate(keys: &mut [&str]) -> bool {
    if keys.len() <= PAIRWISE_MEMBERS_MAX {
        let mut rest: &[&str] = keys;
        while let Some((first, others)) = rest.split_first() {
            if others.contains(first) {
                return true;
            }
            rest = others;
        }
        return false;
    }
    keys.sort_unstable();
    keys.array_windows().any(|[one, two]| one == two)
}

impl std::fmt::Display for JsonError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match self.fault {
            JsonFault::Deep => "is nested too deeply",
            JsonFault::DuplicateKey => "names a key of an object twice",
            JsonFault::Empty => "is empty",
            JsonFault::LoneSurrogate => "has half of a surrogate pair",
            JsonFault::Long => "is too long",
            JsonFault::Syntax => "is not valid JSON",
        };
        write!(out, "the body {what}, at byte {}", self.at)
    }
}

impl std::error::Error for JsonError {}

#[cfg(test)]
mod tests {
    use super::{DEPTH_MAX, JsonFault, Kind, Reader, escape_into};

    fn fault(raw: &str) -> JsonFault {
        Reader::default().read(raw.as_bytes()).expect_err(raw).fault
    }

    #[test]
    fn values_know_their_raw_spans() {
        let raw = r#" {"a" : "x\ny" , "b":[1, -2.5 ,"é\u00e9",{}], "c\u0041" : null } "#;
        let json = Reader::default().read(raw.as_bytes()).unwrap();
        let root = json.root();
        let shown = |value: super::Value<'_>| raw.get(value.span()).unwrap();
        assert_eq!(shown(root), raw.trim());
        let a = root.member("a").unwrap();
        assert_eq!((shown(a), a.as_str()), (r#""x\ny""#, Some("x\ny")));
        assert!(a.is_escaped());
        let items: Vec<_> = root.member("b").unwrap().items().collect();
        let texts: Vec<_> = items.iter().map(|item| shown(*item)).collect();
        assert_eq!(texts, ["1", "-2.5", r#""é\u00e9""#, "{}"]);
        assert_eq!(items[0].as_u64(), Some(1));
        assert_eq!(items[1].kind(), Kind::Float);
        assert_eq!(items[2].as_str(), Some("éé"));
        assert!(root.member("cA").unwrap().is_null());
        assert_eq!(root.members().count(), 3);
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_refused() {
        assert_eq!(fault(r#"{"a":{"b":1,"\u0062":2}}"#), JsonFault::DuplicateKey);
        assert_eq!(fault(r#"["\ud800"]"#), JsonFault::LoneSurrogate);
        assert_eq!(fault(r#"["\udc00\ud800"]"#), JsonFault::LoneSurrogate);
        assert_eq!(fault(&"[".repeat(4000)), JsonFault::Deep);
        assert_eq!(fault(""), JsonFault::Empty);
        for bad in ["{}x", "{", "[1,]", "nul", "\"\u{1}\"", "{\"a\":NaN}", "[01]"] {
            assert_eq!(fault(bad), JsonFault::Syntax, "{bad}");
        }
        let many = (0..20).map(|n| format!("\"k{n}\":1")).collect::<Vec<_>>().join(",");
        Reader::default().read(format!("{{{many}}}").as_bytes()).unwrap();
        assert_eq!(fault(&format!("{{{many},\"k7\":2}}")), JsonFault::DuplicateKey);
    }

    #[test]
    fn what_is_refused_is_refused_at_its_place() {
        let at = |raw: &[u8]| Reader::default().read(raw).unwrap_err().at;
        assert_eq!(at(br#"{"a":{"b":1,"\u0062":2}}"#), 12);
        assert_eq!(at(br#"["a","\ud800"]"#), 6);
        assert_eq!(at(b"[\"a\",\"b\xff\"]"), 7);
        assert_eq!(at(&[b'['; 4000]), DEPTH_MAX);
        // The last that fitted, of what fits no grammar.
        assert_eq!(at(br#"{"a":1} x"#), 6);
    }

    #[test]
    fn escapes_survive_a_round_trip() {
        let text = "\" \\ \n \r \t \u{1} \u{1f} é 😀";
        let mut raw = vec![b'"'];
        escape_into(text, &mut raw);
        raw.push(b'"');
        let json = Reader::default().read(&raw).unwrap();
        assert_eq!(json.root().as_str(), Some(text));
    }
}
