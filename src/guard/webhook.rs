//! Our own dialect of outside judges: one JSON object there, one back.
//!
//! ```text
//! {"version":1,"id":"req_…","event":"prompt","text":"…","profile":"…",
//!  "user":…,"app":…,"team":…,"model":…,"server":…,"method":…,"tool":…}
//! {"action":"allow"|"block"|"mask","reasons":["…"],"spans":[[4,19]]}
//! ```
//!
//! Spans count code points of `text`. Fields that one side does not know are passed over.

use crate::guard::judge::{Question, Unreadable, Verdict, bytes_of, reasons};
use serde::{Deserialize, Serialize};

/// The version of this dialect.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Asked<'a> {
    version: u32,
    id: &'a str,
    event: &'static str,
    text: &'a str,
    profile: &'a str,
    user: Option<&'a str>,
    app: Option<&'a str>,
    team: Option<&'a str>,
    model: Option<&'a str>,
    server: Option<&'a str>,
    method: Option<&'a str>,
    tool: Option<&'a str>,
}

#[derive(Deserialize)]
struct Said {
    action: Action,
    #[serde(default)]
    reasons: Vec<String>,
    #[serde(default)]
    spans: Vec<[u64; 2]>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Allow,
    Block,
    Mask,
}

/// The body of a question.
pub fn ask(question: &Question<'_>) -> Vec<u8> {
    let asked = Asked {
        version: VERSION,
        id: question.id,
        event: question.event.name(),
        text: question.text,
        profile: question.profile,
        user: question.user,
        app: question.app,
        team: question.team,
        model: question.model,
        server: question.server,
        method: question.method,
        tool: question.tool,
    };
    // Texts and numbers always can be written.
    serde_json::to_vec(&asked).unwrap_or_default()
}

/// What an answer says.
pub fn verdict(text: &str, body: &[u8]) -> Result<Verdict, Unreadable> {
    let said: Said = serde_json::from_slice(body).map_err(|_wrong| Unreadable)?;
    let masks = match said.action {
        Action::Mask if said.spans.is_empty() => return Err(Unreadable),
        Action::Mask => bytes_of(text, &said.spans)?,
        Action::Allow | Action::Block => Vec::new(),
    };
    Ok(Verdict {
        block: matches!(said.action, Action::Block),
        reasons: reasons(said.reasons.iter()),
        masks,
    })
}

#[cfg(test)]
mod tests {
    use super::{ask, verdict};
    use crate::base::judge::Event;
    use crate::guard::judge::{Question, Unreadable, Verdict};

    #[test]
    fn a_question_says_what_is_known_and_null_for_the_rest() {
        let question = Question {
            id: "req_1",
            event: Event::ToolInput,
            text: "{\"a\":\"\u{1}\"}",
            profile: "",
            user: Some("ada"),
            app: None,
            team: None,
            model: None,
            server: Some("git"),
            method: Some("tools/call"),
            tool: Some("push"),
        };
        let asked: serde_json::Value = serde_json::from_slice(&ask(&question)).unwrap();
        assert_eq!(asked["version"], 1);
        assert_eq!(asked["event"], "tool_input");
        assert_eq!(asked["text"], "{\"a\":\"\u{1}\"}");
        assert_eq!((&asked["user"], &asked["tool"]), (&"ada".into(), &"push".into()));
        assert!(asked["model"].is_null());
    }

    #[test]
    fn an_answer_allows_blocks_or_masks_and_anything_else_is_none() {
        let said = |body: &str| verdict("é 4111", body.as_bytes());
        assert_eq!(said(r#"{"action":"allow","more":1}"#), Ok(Verdict::default()));
        let blocked = said(r#"{"action":"block","reasons":["dlp",""]}"#).unwrap();
        assert_eq!((blocked.block, blocked.reasons), (true, vec!["dlp".to_owned()]));
        let masks = said(r#"{"action":"mask","spans":[[2,6]]}"#).unwrap().masks;
        assert_eq!((masks.first(), masks.len()), (Some(&(3..7)), 1));
        for wrong in [
            "",
            "[]",
            "{}",
            r#"{"action":"deny"}"#,
            r#"{"action":"mask"}"#,
            r#"{"action":"mask","spans":[[2,7]]}"#,
            r#"{"action":"mask","spans":[[-1,7]]}"#,
            r#"{"action":"mask","spans":[[3,2]]}"#,
        ] {
            assert_eq!(said(wrong), Err(Unreadable), "{wrong}");
        }
    }
}
