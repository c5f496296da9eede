//! Checks of markup: text that a reader does not see, fake turns, and links that carry data out.

use crate::base::text::Channel;
use crate::guard::linear::{Sums, Task};
use crate::guard::orders::orders;
use crate::guard::words::tokens;
use memchr::{memchr_iter, memmem};
use std::ops::Range;

/// So much of a hidden text is read.
const HIDDEN_BYTES_MAX: usize = 600;
/// At most so many places of one window are looked at closely.
const PLACES_MAX: usize = 32;

/// Tags that hide or stress an order; compared without case.
const TAGS: [&str; 12] = [
    "important",
    "hidden",
    "secret",
    "system",
    "instruction",
    "instructions",
    "admin",
    "override",
    "system_prompt",
    "assistant_instructions",
    "priority",
    "urgent",
];
/// Styles that hide what they are on, without blanks.
const STYLES: [&str; 8] = [
    "display:none",
    "visibility:hidden",
    "font-size:0",
    "font-size:1px",
    "opacity:0;",
    "opacity:0\"",
    "color:#fff",
    "color:white",
];

/// An order in a comment, in a tag that says it is hidden or important, or in text that is styled
/// away.
pub fn hidden_markup(said: &str) -> Option<Range<usize>> {
    let bytes = said.as_bytes();
    for at in memchr_iter(b'<', bytes).take(PLACES_MAX) {
        let rest = said.get(at..).unwrap_or_default();
        let inner = if let Some(comment) = rest.strip_prefix("<!--") {
            let end = comment.find("-->").unwrap_or(comment.len());
            comment.get(..end).unwrap_or_default()
        } else {
            let Some((tag, content)) = rest.get(1..).and_then(|rest| rest.split_once('>')) else {
                continue;
            };
            if !is_hiding(tag) {
                continue;
            }
            content
        };
        let inner = head(inner, HIDDEN_BYTES_MAX);
        if is_order(inner) {
            let start = at + (inner.as_ptr().addr() - rest.as_ptr().addr());
            return Some(at..start + inner.len());
        }
    }
    None
}

fn is_hiding(tag: &str) -> bool {
    let tag = head(tag, 200);
    if TAGS.iter().any(|name| tag.trim().eq_ignore_ascii_case(name)) {
        return true;
    }
    if !tag.contains("style") && !tag.contains("hidden") {
        return false;
    }
    let plain: String = tag.chars().filter(|letter| !letter.is_whitespace()).collect();
    let plain = plain.to_ascii_lowercase();
    plain.contains("hidden=\"\"") || STYLES.iter().any(|style| plain.contains(style))
}

/// Whether somebody is told to do something: by its words, or by the score of text in data.
fn is_order(said: &str) -> bool {
    let words = tokens(said);
    let mut is_order = false;
    orders(&words, |_| is_order = true);
    is_order
        || Sums::of(&words)
            .score(Task::Injection, Channel::ToolResult)
            .is_some_and(|score| score > 0.8)
}

/// Marks of a chat's turns, as templates of models write them.
const TURNS: [&str; 9] = [
    "<|im_start|>",
    "<|start_header_id|>",
    "<|system|>",
    "<|user|>",
    "[INST]",
    "<<SYS>>",
    "### Instruction:",
    "### System:",
    "### New instruction",
];

/// A mark of a turn, or of an end of the data, with an order behind it.
pub fn fake_turn(said: &str) -> Option<Range<usize>> {
    let marks = TURNS.iter().filter_map(|mark| {
        let at = memmem::find(said.as_bytes(), mark.as_bytes())?;
        Some(at..at + mark.len())
    });
    let mut marks = marks.chain(lines(said));
    marks.find(|mark| {
        let behind = said.get(mark.end..).unwrap_or_default();
        is_order(head(behind, HIDDEN_BYTES_MAX))
    })
}

/// Lines such as `System:` and `--- END OF DOCUMENT ---`.
fn lines(said: &str) -> impl Iterator<Item = Range<usize>> {
    let starts = std::iter::once(0).chain(memchr_iter(b'\n', said.as_bytes()).map(|at| at + 1));
    let is_mark = |at: usize| {
        let line = said.get(at..)?.split('\n').next()?;
        let line = head(line, 48);
        let name = line.trim_start_matches(['#', '*', '-', '=', '[', '<', ' ']);
        let lower = name.to_ascii_lowercase();
        let turn =
            ["system:", "assistant:", "user:", "human:", "new user request", "system message"];
        let end = ["end of ", "end document", "end context", "end_of_"];
        let has_end = name.len() < line.len() && end.iter().any(|word| lower.starts_with(word));
        let has_turn = turn.iter().any(|word| lower.starts_with(word));
        // What is said in a turn may stand on its first line.
        let turn = line.find(':').filter(|_| has_turn).map(|colon| at..at + colon + 1);
        turn.or_else(|| has_end.then(|| at..at + line.len()))
    };
    starts.filter_map(is_mark).take(PLACES_MAX)
}

/// Words that stand for data that is to be filled in.
const BLANKS: [&str; 9] = [
    "data",
    "secret",
    "password",
    "api_key",
    "apikey",
    "history",
    "conversation",
    "payload",
    "token",
];

/// A picture or a link in Markdown or HTML whose address has a place to be filled in.
pub fn leaking_link(said: &str) -> Option<Range<usize>> {
    let finder = memmem::find_iter(said.as_bytes(), "://");
    for at in finder.take(PLACES_MAX) {
        let rest = said.get(at..).unwrap_or_default();
        let length = rest.find([' ', '\n', ')', '"', '\'', '`']).unwrap_or(rest.len());
        let url = head(rest.get(..length).unwrap_or_default(), HIDDEN_BYTES_MAX);
        let before = said.get(..at).unwrap_or_default();
        let scheme = if before.ends_with("https") { 5 } else { 4 };
        let before = before.get(..at.saturating_sub(scheme)).unwrap_or_default();
        let is_picture = before.ends_with("](") && {
            let line = before.rsplit('\n').next().unwrap_or_default();
            line.rfind('[')
                .and_then(|open| line.get(..open))
                .is_some_and(|text| text.ends_with('!'))
        };
        if is_picture && is_open(url) {
            return Some(at.saturating_sub(scheme)..at + url.len());
        }
    }
    None
}

/// Whether an address has a blank, such as `?d={data}` or `?q=DATA`.
fn is_open(url: &str) -> bool {
    let Some((_, query)) = url.split_once('?') else { return false };
    query.split('&').filter_map(|pair| pair.split_once('=')).any(|(_, value)| {
        let framed = value.starts_with(['{', '[', '<', '$']) || value.starts_with("%7B");
        let inner = value.trim_matches(|letter: char| !letter.is_ascii_alphanumeric());
        let lower = inner.to_ascii_lowercase();
        let named = BLANKS.iter().any(|word| lower.contains(word));
        (framed && !inner.is_empty()) || (named && value.len() < 40)
    })
}

fn head(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or_default()
}
