//! Chat completions as OpenAI has them: the question, and checks of whole answers and of streams.
//! Pure.

use crate::mistake::Mistake;
use crate::prompt::Prompt;
use ringwall::http::sse::SseDecoder;
use serde::Deserialize;

/// What the demo model puts before an echo.
const ECHO: &str = "You said: ";
/// One event of a stream; larger than the largest prompt, which a server may send back in one.
const EVENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Checks a stream while it comes.
#[derive(Debug)]
pub struct StreamCheck {
    events: SseDecoder,
    text: String,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Text may come.
    Open,
    /// The model gave its reason to stop; usage may follow.
    Finished,
    /// `[DONE]` came: nothing may follow.
    Done,
}

#[derive(Deserialize)]
struct Whole {
    choices: Vec<WholeChoice>,
}

#[derive(Deserialize)]
struct WholeChoice {
    message: Piece,
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<ChunkChoice>,
    error: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct ChunkChoice {
    delta: Piece,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Piece {
    content: Option<String>,
}

/// The body of a request.
pub fn body(model: &str, prompt: &Prompt, is_stream: bool) -> Vec<u8> {
    let stream = if is_stream { ",\"stream\":true" } else { "" };
    let model = serde_json::Value::from(model);
    // The prompt needs no escape, by its making.
    let content = &prompt.text;
    format!(
        "{{\"model\":{model}{stream},\
         \"messages\":[{{\"role\":\"user\",\"content\":\"{content}\"}}]}}"
    )
    .into_bytes()
}

/// Checks a whole answer; `true`: it was an echo.
pub fn check(body: &[u8], prompt: &Prompt) -> Result<bool, Mistake> {
    let answer: Whole = serde_json::from_slice(body).map_err(|_form| Mistake::NotJson)?;
    let first = answer.choices.into_iter().next().ok_or(Mistake::NoAnswer)?;
    if prompt.has_card() {
        // The card may stand in any other place of the answer too.
        prompt.keeps_card(&String::from_utf8_lossy(body))?;
    }
    prompt.judge(ECHO, &first.message.content.unwrap_or_default())
}

impl Default for StreamCheck {
    fn default() -> Self {
        let events = SseDecoder::new(EVENT_BYTES_MAX);
        Self { events, text: String::new(), state: State::Open }
    }
}

impl StreamCheck {
    /// Takes in the next bytes.
    pub fn push(&mut self, bytes: &[u8], prompt: &Prompt) -> Result<(), Mistake> {
        self.events.push(bytes);
        while let Some(event) = self.events.next().map_err(|_bound| Mistake::TooLong)? {
            if !event.is_comment {
                self.take(&event.data, prompt)?;
            }
        }
        Ok(())
    }

    /// Whether text came already.
    pub fn has_text(&self) -> bool {
        !self.text.is_empty()
    }

    /// Checks that the stream may end here, and what it said; `true`: it was an echo.
    pub fn finish(mut self, prompt: &Prompt) -> Result<bool, Mistake> {
        // What lacks its empty line is told to no reader, but a card in it came back.
        if let Some(rest) = self.events.finish().map_err(|_bound| Mistake::TooLong)? {
            prompt.keeps_card(&rest.data)?;
            return Err(if self.state == State::Done {
                Mistake::OutOfOrder
            } else {
                Mistake::NoDone
            });
        }
        if self.state != State::Done {
            return Err(Mistake::NoDone);
        }
        prompt.judge(ECHO, &self.text)
    }

    fn take(&mut self, data: &str, prompt: &Prompt) -> Result<(), Mistake> {
        if self.state == State::Done {
            return Err(Mistake::OutOfOrder);
        }
        if data == "[DONE]" {
            if self.state == State::Open {
                return Err(Mistake::NoFinish);
            }
            self.state = State::Done;
            return Ok(());
        }
        let chunk: Chunk = serde_json::from_str(data).map_err(|_form| Mistake::NotJson)?;
        if chunk.error.is_some() {
            return Err(Mistake::StreamError);
        }
        prompt.keeps_card(data)?;
        for choice in chunk.choices {
            let text = choice.delta.content.unwrap_or_default();
            if self.state == State::Finished && !text.is_empty() {
                return Err(Mistake::OutOfOrder);
            }
            self.text.push_str(&text);
            if choice.finish_reason.is_some() {
                self.state = State::Finished;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{StreamCheck, body, check};
    use crate::mistake::Mistake;
    use crate::prompt::{Prompt, Prompts};
    use serde_json::json;

    fn prompt() -> Prompt {
        Prompts::new(1, 200, None).make(1)
    }

    fn whole(content: &str) -> Vec<u8> {
        json!({"choices": [{"message": {"content": content}}]}).to_string().into_bytes()
    }

    fn delta(content: &str) -> String {
        let chunk = json!({"choices": [{"delta": {"content": content}, "finish_reason": null}]});
        format!("data: {chunk}\n\n")
    }

    const FINISH: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    const DONE: &str = "data: [DONE]\n\n";

    fn stream(events: &[&str]) -> Result<bool, Mistake> {
        let prompt = prompt();
        let mut stream = StreamCheck::default();
        for event in events {
            // In two reads, that split anywhere.
            let (head, tail) = event.as_bytes().split_at(event.len() / 2);
            stream.push(head, &prompt)?;
            stream.push(tail, &prompt)?;
        }
        stream.finish(&prompt)
    }

    #[test]
    fn the_question_is_json_with_the_prompt_in_it() {
        let prompt = prompt();
        let ask: serde_json::Value = serde_json::from_slice(&body("m\"1", &prompt, true)).unwrap();
        assert_eq!((&ask["model"], &ask["stream"]), (&json!("m\"1"), &json!(true)));
        assert_eq!(ask["messages"][0]["content"], prompt.text.as_str());
    }

    #[test]
    fn a_whole_answer_is_judged() {
        let prompt = prompt();
        assert_eq!(check(&whole(&format!("You said: {}", prompt.text)), &prompt), Ok(true));
        assert_eq!(check(&whole("Fine."), &prompt), Ok(false));
        assert_eq!(check(b"{\"choices\":[]}", &prompt), Err(Mistake::NoAnswer));
        assert_eq!(check(b"{\"choices\":", &prompt), Err(Mistake::NotJson));
        assert_eq!(check(b"{}", &prompt), Err(Mistake::NotJson));
    }

    #[test]
    fn a_card_is_found_outside_of_the_text_too() {
        let prompt = Prompts::new(1, 200, Some(1)).make(0);
        let answer = json!({
            "choices": [{"message": {"content": "Fine."}}],
            "debug": "4242-4242-4242-4242",
        });
        assert_eq!(check(answer.to_string().as_bytes(), &prompt), Err(Mistake::CardCameBack));
    }

    #[test]
    fn a_card_in_pieces_is_found() {
        let prompt = Prompts::new(1, 200, Some(1)).make(0);
        let mut check = StreamCheck::default();
        for piece in ["It is 4242 42", "42 42", "42 4242"] {
            check.push(delta(piece).as_bytes(), &prompt).unwrap();
        }
        check.push([FINISH, DONE].concat().as_bytes(), &prompt).unwrap();
        assert_eq!(check.finish(&prompt), Err(Mistake::CardCameBack));
    }

    #[test]
    fn a_stream_in_order_passes() {
        let prompt = prompt();
        let (first, second) = prompt.text.split_at(50);
        let usage = "data: {\"choices\":[],\"usage\":{}}\n\n";
        let events = [": hi\n\n", &delta(""), &delta("You said: "), &delta(first), &delta(second)];
        let whole = [&events[..], &[FINISH, usage, DONE]].concat();
        assert_eq!(stream(&whole), Ok(true));
    }

    #[test]
    fn a_stream_out_of_order_does_not() {
        let prompt = prompt();
        let (first, second) = prompt.text.split_at(50);
        let (lead, first, second) = (delta("You said: "), &delta(first), &delta(second));
        assert_eq!(stream(&[&lead, second, first, FINISH, DONE]), Err(Mistake::EchoDiffers));
        assert_eq!(stream(&[&lead, first, FINISH, second, DONE]), Err(Mistake::OutOfOrder));
        assert_eq!(stream(&[&lead, first, first, second, FINISH, DONE]), Err(Mistake::EchoDiffers));
        assert_eq!(stream(&[&lead, first, second, DONE]), Err(Mistake::NoFinish));
        assert_eq!(stream(&[&lead, first, second, FINISH]), Err(Mistake::NoDone));
        assert_eq!(stream(&[&lead, first, second, FINISH, DONE, DONE]), Err(Mistake::OutOfOrder));
        assert_eq!(stream(&["data: {\"error\":{}}\n\n"]), Err(Mistake::StreamError));
        assert_eq!(stream(&["data: no\n\n"]), Err(Mistake::NotJson));
        assert_eq!(stream(&[]), Err(Mistake::NoDone));
    }
}
