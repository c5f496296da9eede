//! The reference of the configuration, `config/README.md`, made from the description of its keys.

use crate::config::keys::{Absent, Key, TABLES, Table};
use crate::config::units::{SIZE_UNITS, SPAN_UNITS};
use std::fmt::Write;

/// The whole reference, in Markdown.
pub fn markdown() -> String {
    let mut out = String::from(HEAD);
    line(&mut out, format_args!("- A duration is a whole number with a unit: {SPAN_UNITS}."));
    line(&mut out, format_args!("- A size is a whole number with a unit: {SIZE_UNITS}."));
    out.push_str(NOTES);
    for table in TABLES {
        describe(&mut out, table);
    }
    out
}

const HEAD: &str = "# Configuration reference

Made by `ringwall reference` from `src/config/keys.rs`; a test keeps it equal. `quickstart.toml` is
the smallest file that does something, `example.toml` shows most keys at work.

`ringwall check FILE` says every mistake of a file at once. An editor completes the keys if the file
begins with `#:schema ./ringwall.schema.json`.

";

const NOTES: &str = "- A secret is never in the file: `\"env:NAME\"` is a variable of the \
environment, `\"file:PATH\"` a file.
- A relative path begins where Ringwall is started.
- Any key can be set for one run: `--set gateway.workers=2`, `--set caller.alice.in_flight=3`,
  `--set caller.0.in_flight=3`. A value that is not TOML is taken as a string. A name with a dot is
  quoted: `--set 'caller.\"a.b\".team=core'`.
";

fn describe(out: &mut String, table: &Table) {
    let title = if table.path.is_empty() {
        "Top of the file".to_owned()
    } else {
        format!("`{}`", table.header())
    };
    line(out, format_args!("\n## {title}\n\n{}\n", table.about));
    line(out, format_args!("| key | takes | if absent | what it is |"));
    line(out, format_args!("|---|---|---|---|"));
    for key in table.keys {
        let takes = escape(&key.kind.allowed());
        let about = escape(key.about);
        line(out, format_args!("| `{}` | {takes} | {} | {about} |", key.name, absent(key)));
    }
}

fn absent(key: &Key) -> String {
    match key.absent {
        Absent::Refused => "**needed**".to_owned(),
        Absent::Nothing => "nothing".to_owned(),
        Absent::Is(text, why) => escape(&format!("`{text}`: {why}")),
    }
}

fn escape(text: &str) -> String {
    text.replace('|', "\\|")
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing into a string cannot fail.
    writeln!(out, "{text}").unwrap_or_default();
}
