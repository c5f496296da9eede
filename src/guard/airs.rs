//! The synchronous scan API of Prisma AIRS (`/v1/scan/sync/request`), both ways: what an outside
//! judge is asked and answers, and what a client asks of us and reads.
//!
//! Field names are those of its published client library. A verdict is its `action`; what it
//! detected are reasons; its masked data is compared with what was sent.

use crate::base::judge::Event;
use crate::guard::judge::{Question, Unreadable, Verdict, differences, reasons};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where it is served, below its host.
pub const PATH: &str = "/v1/scan/sync/request";
/// The header that carries its key.
pub const KEY_HEADER: &str = "x-pan-token";
/// What we call the place of a tool call.
const ECOSYSTEM: &str = "mcp";

/// What is asked.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Scan {
    /// The asker's own name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tr_id: Option<String>,
    /// The asker's own name for a conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// By which profile.
    #[serde(default)]
    pub ai_profile: Profile,
    /// Who asks.
    #[serde(default)]
    pub metadata: Metadata,
    /// The texts, at least one.
    pub contents: Vec<Content>,
}

/// A profile at the judge's side.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Profile {
    /// By its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile_id: Option<String>,
    /// By its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile_name: Option<String>,
}

/// Who asks, for the judge's reports.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Metadata {
    /// The service or agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_name: Option<String>,
    /// The human.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_user: Option<String>,
    /// The model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ai_model: Option<String>,
}

/// Texts that belong together.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Content {
    /// What was said to a model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// What it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<String>,
    /// Code that was said to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_prompt: Option<String>,
    /// Code that it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_response: Option<String>,
    /// What the answer should rest on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// A tool that was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_event: Option<ToolEvent>,
}

/// One call of a tool.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct ToolEvent {
    /// Which.
    #[serde(default)]
    pub metadata: ToolMetadata,
    /// What it was called with, as JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// What it answered, as JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

/// Which tool.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct ToolMetadata {
    /// The protocol: `mcp`.
    #[serde(default)]
    pub ecosystem: String,
    /// The protocol's method.
    #[serde(default)]
    pub method: String,
    /// The server's name.
    #[serde(default)]
    pub server_name: String,
    /// The tool's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_invoked: Option<String>,
}

/// What was detected: by the name of the detection.
pub type Detected = BTreeMap<String, bool>;

/// What is answered.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Report {
    /// What may be done with it: `allow` or `block`.
    pub action: String,
    /// `benign` or `malicious`.
    #[serde(default)]
    pub category: String,
    /// The scan's id.
    #[serde(default)]
    pub scan_id: String,
    /// The report's id.
    #[serde(default)]
    pub report_id: String,
    /// The asker's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tr_id: Option<String>,
    /// The asker's name for the conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The profile's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile_id: Option<String>,
    /// The profile's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile_name: Option<String>,
    /// What was detected in prompts.
    #[serde(default)]
    pub prompt_detected: Detected,
    /// What was detected in responses.
    #[serde(default)]
    pub response_detected: Detected,
    /// The prompt without what was masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_masked_data: Option<Masked>,
    /// The response without what was masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_masked_data: Option<Masked>,
    /// What was detected in a tool's call.
    #[serde(default)]
    pub tool_detected: Tool,
    /// Whether some detection took too long.
    #[serde(default)]
    pub timeout: bool,
    /// Whether some detection failed.
    #[serde(default)]
    pub error: bool,
    /// Which.
    #[serde(default)]
    pub errors: Vec<serde_json::Value>,
}

/// A text without what was masked.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Masked {
    /// The text.
    #[serde(default)]
    pub data: String,
    /// Which patterns, and where in code points of what was sent.
    #[serde(default)]
    pub pattern_detections: Vec<Pattern>,
}

/// One pattern that was masked.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Pattern {
    /// Its name.
    #[serde(default)]
    pub pattern: String,
    /// Where.
    #[serde(default)]
    pub locations: Vec<[u64; 2]>,
}

/// What was detected in a tool's call.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Tool {
    /// `benign` or `malicious`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// Which tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<ToolMetadata>,
    /// In what it was called with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_detected: Option<Entries>,
    /// In what it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_detected: Option<Entries>,
}

/// What was detected, tool by tool.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Entries {
    /// One for each tool.
    #[serde(default)]
    pub detection_entries: Vec<Entry>,
}

/// What was detected in one tool's call.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Entry {
    /// The tool's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_invoked: Option<String>,
    /// What.
    #[serde(default)]
    pub detections: Detected,
    /// The text without what was masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masked_data: Option<Masked>,
}

/// The body of a question.
pub fn ask(question: &Question<'_>) -> Vec<u8> {
    let own = |text: Option<&str>| text.map(ToOwned::to_owned);
    let said = Some(question.text.to_owned());
    let tool_event = |input, output| ToolEvent {
        metadata: ToolMetadata {
            ecosystem: ECOSYSTEM.to_owned(),
            method: question.method.unwrap_or_default().to_owned(),
            server_name: question.server.unwrap_or_default().to_owned(),
            tool_invoked: own(question.tool),
        },
        input,
        output,
    };
    let content = match question.event {
        Event::Prompt => Content { prompt: said, ..Content::default() },
        Event::Response => Content { response: said, ..Content::default() },
        Event::ToolInput => {
            Content { tool_event: Some(tool_event(said, None)), ..Content::default() }
        }
        Event::ToolOutput => {
            Content { tool_event: Some(tool_event(None, said)), ..Content::default() }
        }
    };
    let scan = Scan {
        tr_id: Some(question.id.to_owned()),
        session_id: None,
        ai_profile: Profile { profile_id: None, profile_name: Some(question.profile.to_owned()) },
        metadata: Metadata {
            app_name: own(question.app),
            app_user: own(question.user),
            ai_model: own(question.model),
        },
        contents: vec![content],
    };
    // Texts always can be written.
    serde_json::to_vec(&scan).unwrap_or_default()
}

/// What an answer about `text` says. One that was not finished is none.
pub fn verdict(event: Event, text: &str, body: &[u8]) -> Result<Verdict, Unreadable> {
    let report: Report = serde_json::from_slice(body).map_err(|_wrong| Unreadable)?;
    let block = match report.action.as_str() {
        "allow" => false,
        "block" => true,
        _ => return Err(Unreadable),
    };
    if !block && (report.timeout || report.error) {
        return Err(Unreadable);
    }
    let entries = match event {
        Event::ToolInput => report.tool_detected.input_detected.unwrap_or_default(),
        Event::ToolOutput => report.tool_detected.output_detected.unwrap_or_default(),
        Event::Prompt | Event::Response => Entries::default(),
    };
    let masked = match event {
        Event::Prompt => report.prompt_masked_data,
        Event::Response => report.response_masked_data,
        Event::ToolInput | Event::ToolOutput => None,
    };
    let in_tools = entries.detection_entries.iter();
    let detections = [&report.prompt_detected, &report.response_detected]
        .into_iter()
        .chain(in_tools.clone().map(|entry| &entry.detections));
    let names = detections.flatten().filter(|(_, is)| **is).map(|(name, _)| name.as_str());
    let reasons = reasons(names);
    let mut in_tools = entries.detection_entries.into_iter();
    let masked = masked.or_else(|| in_tools.find_map(|entry| entry.masked_data));
    let masks = masked
        .filter(|masked| !masked.data.is_empty())
        .map(|masked| differences(text, &masked.data))
        .unwrap_or_default();
    Ok(Verdict { block, reasons, masks })
}

#[cfg(test)]
mod tests {
    use super::{Scan, ask, verdict};
    use crate::base::judge::Event;
    use crate::guard::judge::{Question, Unreadable};

    fn question(event: Event) -> Question<'static> {
        Question {
            id: "req_1",
            event,
            text: "said",
            profile: "strict",
            user: Some("ada"),
            app: Some("crm"),
            team: None,
            model: Some("m"),
            server: Some("git"),
            method: Some("tools/call"),
            tool: Some("push"),
        }
    }

    #[test]
    fn each_event_stands_where_the_api_wants_it() {
        for event in Event::ALL {
            let body = ask(&question(event));
            let scan: Scan = serde_json::from_slice(&body).unwrap();
            assert_eq!(scan.ai_profile.profile_name.as_deref(), Some("strict"));
            assert_eq!(scan.metadata.app_user.as_deref(), Some("ada"));
            let [content] = &*scan.contents else { panic!("one content") };
            let tool = content.tool_event.as_ref();
            let said = [
                content.prompt.as_deref(),
                content.response.as_deref(),
                tool.and_then(|tool| tool.input.as_deref()),
                tool.and_then(|tool| tool.output.as_deref()),
            ];
            let at = Event::ALL.iter().position(|own| *own == event).unwrap();
            for (order, said) in said.into_iter().enumerate() {
                assert_eq!(said, (order == at).then_some("said"), "{event:?}");
            }
            if let Some(tool) = tool {
                assert_eq!(
                    (&*tool.metadata.server_name, &*tool.metadata.ecosystem),
                    ("git", "mcp")
                );
            }
        }
    }

    #[test]
    fn a_report_allows_blocks_or_masks() {
        let allowed = r#"{"action":"allow","category":"benign","prompt_detected":{"dlp":false},
            "scan_id":"s","report_id":"r","timeout":false,"error":false,"errors":[]}"#;
        let said = verdict(Event::Prompt, "x", allowed.as_bytes()).unwrap();
        assert!(!said.block && said.reasons.is_empty() && said.masks.is_empty());
        let blocked = r#"{"action":"block","category":"malicious",
            "prompt_detected":{"injection":true,"dlp":false,"agent":true}}"#;
        let said = verdict(Event::Prompt, "x", blocked.as_bytes()).unwrap();
        assert_eq!((said.block, said.reasons), (true, vec!["agent".into(), "injection".into()]));
        let masked = r#"{"action":"allow","response_detected":{"dlp":true},
            "response_masked_data":{"data":"card XXXX","pattern_detections":[{"pattern":"Card",
            "locations":[[5,9]]}]}}"#;
        let said = verdict(Event::Response, "card 4111", masked.as_bytes()).unwrap();
        assert_eq!((said.masks.first(), said.masks.len()), (Some(&(5..9)), 1));
        assert_eq!(said.reasons, ["dlp"]);
        let tool = r#"{"action":"allow","tool_detected":{"verdict":"malicious","output_detected":
            {"detection_entries":[{"tool_invoked":"t","detections":{"dlp":true},
            "masked_data":{"data":"a XX"}}]}}}"#;
        let said = verdict(Event::ToolOutput, "a 12", tool.as_bytes()).unwrap();
        assert_eq!((said.masks.first(), said.masks.len()), (Some(&(2..4)), 1));
        assert_eq!(said.reasons, ["dlp"]);
    }

    #[test]
    fn what_was_not_finished_is_no_pass() {
        for wrong in [
            "",
            "{}",
            r#"{"action":"maybe"}"#,
            r#"{"action":"allow","timeout":true}"#,
            r#"{"action":"allow","error":true}"#,
            r#"{"action":"allow","prompt_detected":7}"#,
        ] {
            assert_eq!(verdict(Event::Prompt, "x", wrong.as_bytes()), Err(Unreadable), "{wrong}");
        }
        let late = br#"{"action":"block","timeout":true}"#;
        assert!(verdict(Event::Prompt, "x", late).unwrap().block);
    }
}
