//! `ringwall check`: every mistake of a configuration, drawn as rustc draws its own.

use crate::cli::print;
use crate::config::fault::{Fault, Faults};
use crate::config::load;
use crate::config::model::Config;
use crate::guard::own::failing_examples;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use std::path::Path;
use std::process::ExitCode;

/// Checks a file and says what is wrong with it.
pub fn run(path: &Path, sets: &[String]) -> ExitCode {
    let config = match load_or_tell(path, sets) {
        Ok(config) => config,
        Err(code) => return code,
    };
    // What the file says is right; now what its own guard rules say.
    let name = path.display();
    match failing_examples(&config.guard) {
        Err(fault) => return tell(&format!("{name}: {fault}\n")),
        Ok(failing) if !failing.is_empty() => {
            let lines = failing.iter().map(|fault| format!("{name}: {fault}\n"));
            return tell(&lines.collect::<String>());
        }
        Ok(_) => {}
    }
    print::out(&summary(&name.to_string(), &config))
}

fn tell(lines: &str) -> ExitCode {
    print::err(lines);
    ExitCode::FAILURE
}

/// Reads a configuration; if that fails, prints why and yields the exit code.
pub fn load_or_tell(path: &Path, sets: &[String]) -> Result<Config, ExitCode> {
    let loaded = load::load(path, sets).inspect(|config| {
        if config.guard.lacks_key() {
            print::err(LACKS_KEY);
        }
    });
    loaded.map_err(|faults| {
        print::err(&draw(&faults, print::has_colour()));
        if faults.is_unreadable() { ExitCode::from(UNREADABLE) } else { ExitCode::FAILURE }
    })
}

/// The mistakes as they are printed, with a last line that counts them.
pub fn draw(faults: &Faults, has_colour: bool) -> String {
    let renderer = if has_colour { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for fault in &faults.list {
        for line in renderer.render(&groups(faults, fault)).lines() {
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out.push('\n');
    }
    let name = faults.sources.first().map_or("", |source| &*source.name);
    let count = faults.list.len();
    let word = if count == 1 { "mistake" } else { "mistakes" };
    out + &format!("{name}: {count} {word}\n")
}

/// Names of masked values are made with a key of this process alone.
const LACKS_KEY: &str = "warning: `[guard]` has no `mask_key`, so digests, pseudonyms and marks \
                         change with each start and differ between nodes\n";

/// What `ringwall check` exits with when it can say nothing of the content.
const UNREADABLE: u8 = 2;

fn summary(name: &str, config: &Config) -> String {
    format!(
        "{name}: right ({} callers, {} rules, {} models, {} MCP servers, {} routes)\n",
        config.callers.len(),
        config.rules.len(),
        config.models.len(),
        config.mcp_servers.len(),
        config.routes.len()
    )
}

fn groups<'a>(faults: &'a Faults, fault: &'a Fault) -> [Group<'a>; 1] {
    let title = Level::ERROR.primary_title(fault.mistake.what());
    let mut group = match faults.sources.get(fault.source) {
        Some(source) if !source.text.is_empty() => {
            let mut snippet = Snippet::source(&*source.text)
                .path(&*source.name)
                .annotation(AnnotationKind::Primary.span(fault.span.clone()));
            let first = fault.mistake.first().filter(|first| first.source == fault.source);
            if let Some(first) = first {
                let label = AnnotationKind::Context.span(first.start..first.end);
                snippet = snippet.annotation(label.label("the first is here"));
            }
            title.element(snippet)
        }
        Some(source) => title.element(Origin::path(&*source.name)),
        None => Group::with_title(title),
    };
    if let Some(allowed) = fault.mistake.allowed() {
        group = group.element(Level::NOTE.message(format!("allowed: {allowed}")));
    }
    if let Some(hint) = fault.mistake.hint() {
        group = group.element(Level::HELP.message(hint));
    }
    [group]
}
