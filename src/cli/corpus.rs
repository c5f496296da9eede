//! Rows of labelled text: JSON Lines, plain or gzipped, from a file or standard input.
//!
//! A row says a text, whose it is and what it is labelled as; other fields are context.

use crate::base::text::{Channel, Form, Place, Source, Text, Trust};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// The longest line, in bytes: more is no row.
pub const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// One labelled text.
#[derive(Debug, Default, Deserialize)]
pub struct Row {
    /// Its name in the corpus.
    #[serde(default)]
    pub id: String,
    /// What was said.
    pub text: String,
    /// What it is: 1 or 0, or a class by name.
    #[serde(default)]
    pub label: serde_json::Value,
    /// Where it comes from.
    #[serde(default)]
    pub source: String,
    /// Of which kind it is, such as `benign_hard`.
    #[serde(default)]
    pub kind: String,
    /// Whose text: `user`, `tool`, `document`, `email`, `tool_description`, `assistant`.
    #[serde(default)]
    pub role: Option<String>,
    /// Whose text by the gateway's own name, such as `tool_result`; it wins over the role.
    #[serde(default)]
    pub channel: Option<String>,
    /// What an answer should be grounded in.
    #[serde(default)]
    pub context: Option<String>,
    /// The conversation that the text belongs to.
    #[serde(default)]
    pub turns: Vec<Turn>,
    /// Values in the text.
    #[serde(default)]
    pub spans: Option<Vec<Span>>,
    /// Which rule it was made for.
    #[serde(default)]
    pub rule: Option<String>,
}

/// One message of a conversation.
#[derive(Debug, Deserialize)]
pub struct Turn {
    /// Who.
    #[serde(default)]
    pub role: String,
    /// What.
    #[serde(default)]
    pub content: Option<String>,
}

/// A labelled value.
#[derive(Debug, Deserialize)]
pub struct Span {
    /// What it is, such as `CREDIT_CARD`.
    #[serde(rename = "type")]
    pub entity: String,
    /// Its first code point.
    pub start: usize,
    /// Behind its last code point.
    pub end: usize,
}

/// A row's text as the guard takes it.
#[derive(Debug)]
pub struct Said {
    /// All segments.
    pub text: Text,
    /// The index of the one that is the row's own text; nothing if that is empty.
    pub own: Option<usize>,
    /// Whose text that is.
    pub channel: Channel,
}

/// Opens a file; `-` is standard input. What begins like gzip is unpacked.
pub fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let raw: Box<dyn Read> =
        if path == Path::new("-") { Box::new(io::stdin()) } else { Box::new(File::open(path)?) };
    let mut raw = BufReader::new(raw);
    let is_gzip = raw.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    if !is_gzip {
        return Ok(Box::new(raw));
    }
    Ok(Box::new(BufReader::new(MultiGzDecoder::new(raw))))
}

/// The next line without its end; nothing at the end of the file.
pub fn next_line(from: &mut dyn BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    from.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    let is_whole = line.pop_if(|last| *last == b'\n').is_some();
    if !is_whole && !from.fill_buf()?.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is longer than 64 MiB"));
    }
    line.pop_if(|last| *last == b'\r');
    Ok(Some(line))
}

/// Hands every row to `each`, with the number of its line.
pub fn rows(path: &Path, mut each: impl FnMut(Row) -> io::Result<()>) -> io::Result<()> {
    let mut from = open(path)?;
    let mut number = 0_u64;
    while let Some(line) = next_line(&mut *from)? {
        number += 1;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let row = serde_json::from_slice(&line).map_err(|error| {
            // serde's message may quote the line.
            let column = error.column();
            let why = format!("line {number}, column {column}: not a row");
            io::Error::new(io::ErrorKind::InvalidData, why)
        })?;
        each(row)?;
    }
    Ok(())
}

impl Row {
    /// Whether its label is positive; nothing if it is no yes or no.
    pub fn is_positive(&self) -> Option<bool> {
        match self.label.as_i64() {
            Some(label) => Some(label != 0),
            None => self.label.as_bool(),
        }
    }

    /// Whose text it is.
    pub fn channel(&self) -> Channel {
        let named = self.channel.as_deref().and_then(channel_named);
        let named = named.or_else(|| self.role.as_deref().map(channel_of_role));
        named.unwrap_or(Channel::User)
    }

    /// How long its conversation is.
    pub fn turns_bytes(&self) -> usize {
        let contents = self.turns.iter().filter_map(|turn| turn.content.as_ref());
        contents.map(String::len).sum()
    }

    /// Its text, after the conversation that it belongs to.
    pub fn said(&self) -> Said {
        let (mut text, mut own) = (Text::default(), None);
        let channel = self.channel();
        for turn in &self.turns {
            let content = turn.content.as_deref().unwrap_or_default();
            let at = push(&mut text, content, channel_of_role(&turn.role));
            own = if content == self.text { at } else { own };
        }
        if own.is_none() {
            own = push(&mut text, &self.text, channel);
        }
        Said { text, own, channel }
    }
}

/// Adds a text; its index, if it is not empty.
pub fn push(text: &mut Text, said: &str, channel: Channel) -> Option<usize> {
    let source = Source { raw: 0..said.len(), form: Form::PlainString };
    let place = Place { path: "text", indexes: [0, 0] };
    let before = text.segments().len();
    text.push(said, source, channel, trust_of(channel), place);
    (text.segments().len() > before).then_some(before)
}

/// The channel of that name.
pub fn channel_named(name: &str) -> Option<Channel> {
    Channel::ALL.into_iter().find(|channel| channel.name() == name)
}

fn channel_of_role(role: &str) -> Channel {
    match role {
        "assistant" => Channel::Assistant,
        "document" | "email" => Channel::Document,
        "system" | "developer" => Channel::System,
        "tool" | "function" => Channel::ToolResult,
        "tool_description" => Channel::ToolDefinition,
        named => channel_named(named).unwrap_or(Channel::User),
    }
}

const fn trust_of(channel: Channel) -> Trust {
    match channel {
        Channel::Assistant | Channel::Reasoning | Channel::Refusal => Trust::Upstream,
        Channel::Document | Channel::ToolResult => Trust::Retrieved,
        Channel::System | Channel::ToolArguments | Channel::ToolDefinition | Channel::User => {
            Trust::Caller
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Row, rows};
    use crate::base::text::Channel;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write as _;

    fn read(bytes: &[u8]) -> Result<Vec<Row>, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let mut all = Vec::new();
        let read = rows(file.path(), |row| {
            all.push(row);
            Ok(())
        });
        read.map(|()| all).map_err(|error| error.to_string())
    }

    const ROWS: &str = "{\"text\": \"a\", \"label\": 1, \"role\": \"tool\"}\r\n\n{\"text\": \"b\"}";

    #[test]
    fn rows_are_read_plain_and_gzipped() {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(ROWS.as_bytes()).unwrap();
        for bytes in [ROWS.as_bytes().to_vec(), packed.finish().unwrap()] {
            let all = read(&bytes).unwrap();
            let texts: Vec<&str> = all.iter().map(|row| &*row.text).collect();
            assert_eq!(texts, ["a", "b"]);
            assert_eq!(all[0].channel(), Channel::ToolResult);
            assert_eq!((all[0].is_positive(), all[1].is_positive()), (Some(true), None));
        }
    }

    #[test]
    fn a_line_that_is_no_row_is_named_by_place_and_not_quoted() {
        let fault = read(b"{\"text\": \"a\"}\n{\"text\": s3cret}").unwrap_err();
        assert_eq!(fault, "line 2, column 10: not a row");
    }

    #[test]
    fn the_own_text_is_found_within_its_conversation() {
        let row: Row = serde_json::from_str(
            r#"{"text": "b", "turns": [{"role": "user", "content": "a"},
                {"role": "tool", "content": "b"}, {"role": "assistant", "content": null}]}"#,
        )
        .unwrap();
        let said = row.said();
        assert_eq!((said.text.joined(), said.own), ("a\0b", Some(1)));
        assert_eq!(said.text.segments()[1].channel, Channel::ToolResult);
    }
}
