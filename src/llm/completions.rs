//! OpenAI's requests that are no conversation: completions, the form before chat, and embeddings.

use crate::base::ask::{Api, ChatAsk};
use crate::base::json::Value;
use crate::base::text::{Channel, Text, Trust};
use crate::llm::chat::choices;
use crate::llm::request::{ChatFault, ChatRequest, count_edit, flag, model, required, whole};
use crate::llm::walk::{Walk, Who, place};

const CALLER: Who = Who { channel: Channel::User, trust: Trust::Caller };

/// Reads a completion's request.
pub fn read(root: Value<'_>) -> Result<ChatRequest, ChatFault> {
    let (name, at) = model(root)?;
    required(root, "prompt")?;
    let stream = flag(root, "stream")?;
    let count = if stream { count_edit(root)? } else { None };
    let ask = ChatAsk {
        api: Api::Completions,
        model: name,
        stream,
        include_usage: stream && count.is_none(),
        tools: Vec::new(),
        max_tokens: whole(root, "max_tokens")?,
        choices: choices(root)?,
    };
    Ok(ChatRequest { ask, text: texts(root), model: at, count })
}

/// Reads a request for embeddings.
pub fn read_embeddings(root: Value<'_>) -> Result<ChatRequest, ChatFault> {
    let (name, at) = model(root)?;
    required(root, "input")?;
    let ask = ChatAsk { api: Api::Embeddings, model: name, choices: 1, ..ChatAsk::default() };
    Ok(ChatRequest { ask, text: texts(root), model: at, count: None })
}

fn texts(root: Value<'_>) -> Text {
    let mut walk = Walk::default();
    for (key, value) in root.members() {
        match key.as_str().unwrap_or_default() {
            "model" | "stream" | "stream_options" | "logit_bias" => {}
            "input" => said(value, "input", "input[#]", &mut walk),
            "prompt" => said(value, "prompt", "prompt[#]", &mut walk),
            _ if value.is_number() => {}
            _ => walk.value(value, CALLER, place("request", 0)),
        }
    }
    walk.into_text()
}

/// A text or a list of texts. Tokens, which are lists of numbers, say nothing that can be read.
fn said(value: Value<'_>, alone: &'static str, listed: &'static str, walk: &mut Walk) {
    if !value.is_array() {
        walk.value(value, CALLER, place(alone, 0));
    }
    for (index, item) in value.items().enumerate() {
        walk.value(item, CALLER, place(listed, index));
    }
}

#[cfg(test)]
mod tests {
    use crate::base::ask::Api;
    use crate::base::json::Reader;
    use crate::llm::api::read;
    use crate::llm::request::{ChatFault, ChatRequest};

    fn ask(api: Api, text: &str) -> Result<ChatRequest, ChatFault> {
        let json = Reader::default().read(text.as_bytes()).unwrap();
        read(api, text.as_bytes(), &json)
    }

    #[test]
    fn prompts_and_inputs_are_texts_and_tokens_are_not() {
        let read = ask(Api::Completions, r#"{"model":"m","prompt":["a","b"],"suffix":"c","n":2}"#);
        let read = read.unwrap();
        assert_eq!(read.text.joined(), "a\0b\0c");
        assert_eq!(read.text.segments()[1].place.to_string(), "prompt[1]");
        assert_eq!(read.ask.choices, 2);
        let read = ask(Api::Embeddings, r#"{"model":"m","input":[[1,2],[3]]}"#).unwrap();
        assert_eq!((read.text.joined(), read.ask.api), ("", Api::Embeddings));
        let read = ask(Api::Embeddings, r#"{"model":"m","input":"one"}"#).unwrap();
        assert_eq!(read.text.joined(), "one");
    }

    #[test]
    fn a_completion_that_streams_is_counted() {
        let read = ask(Api::Completions, r#"{"model":"m","prompt":"p","stream":true}"#).unwrap();
        assert!(read.count.is_some() && !read.ask.include_usage);
        assert_eq!(ask(Api::Completions, r#"{"model":"m"}"#).unwrap_err().param, Some("prompt"));
        assert_eq!(ask(Api::Embeddings, r#"{"model":"m"}"#).unwrap_err().param, Some("input"));
    }
}
