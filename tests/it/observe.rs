//! What tests look at from outside: meters, audit records, and chats asked over a raw connection.

#![expect(unreachable_pub, reason = "`pub(crate)` says no more in a test binary")]

use crate::support::{Client, Gateway, KEY, get, until};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// Records reach the disk within their window, and tests run on busy machines.
const WRITTEN: Duration = Duration::from_secs(10);

/// The value of a meter without labels.
pub fn meter(gateway: &Gateway, name: &str) -> u64 {
    let page = get(gateway.admin, "/metrics").text();
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {page}"))
}

/// The body of a chat; `more` is JSON such as `,"stream":true`.
pub fn chat_body(prompt: &str, more: &str) -> String {
    let prompt = Value::from(prompt);
    let messages = format!("[{{\"role\":\"user\",\"content\":{prompt}}}]");
    format!("{{\"model\":\"demo-model\",\"messages\":{messages}{more}}}")
}

/// Asks for a chat over a connection that stays; its answer is still to be read.
pub fn ask_chat(client: &mut Client, prompt: &str, more: &str) {
    let key = format!("Bearer {KEY}");
    let fields = [("authorization", key.as_str()), ("content-type", "application/json")];
    client.ask("POST", "/v1/chat/completions", &fields, chat_body(prompt, more).as_bytes());
}

/// The audit records of the log on disk, oldest first; what a crash tore off is no part of it.
pub fn records(gateway: &Gateway) -> Vec<Value> {
    let entries = fs::read_dir(gateway.audit_folder()).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|file| !file.to_string_lossy().contains("torn-"));
    files.sort();
    let texts = files.iter().filter_map(|file| fs::read_to_string(file).ok());
    let text: String = texts.collect();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line.get("outcome").is_some()).collect()
}

/// The record of a request, once it is on disk.
pub fn record(gateway: &Gateway, id: &str) -> Value {
    let mut found = None;
    until(WRITTEN, || {
        found = records(gateway).into_iter().find(|record| record["id"] == id);
        found.is_some()
    });
    found.unwrap_or_else(|| panic!("{id} has no record in {}", gateway.audit_text()))
}
