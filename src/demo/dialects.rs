//! What the demo model says in other dialects than OpenAI's chat: the same answers, written as
//! messages, responses, completions and embeddings. Pure.
//!
//! A request is read as the chat that it would be. Where it asks for thinking or reasoning, what
//! was said is thought first, so that masking there can be seen too.

use crate::base::ask::Api;
use crate::demo::chat::{Chat, Said, pieces};
use crate::demo::knobs::Knobs;
use serde_json::{Value, json};

/// What stands for a signature of the thinking.
const SIGNATURE: &str = "ZGVtbw==";
/// Numbers of one embedding.
const DIMENSIONS: u32 = 8;

/// A request that was read, and what will be said to it.
#[derive(Debug)]
pub struct Spoken {
    api: Api,
    chat: Chat,
    thinks: bool,
    /// Whether completions are to say at the end of a stream what they cost.
    wants_usage: bool,
}

/// Gathers the events of one stream.
struct Events {
    blocks: Vec<Vec<u8>>,
    /// Numbers them, where the dialect does.
    number: Option<u64>,
}

impl Spoken {
    /// Reads a request body.
    pub fn read(api: Api, body: &[u8]) -> Result<Self, serde_json::Error> {
        let ask: Value = serde_json::from_slice(body)?;
        let thinks =
            ["thinking", "reasoning"].into_iter().any(|name| member(&ask, name).is_object());
        let chat = Chat::read(as_chat(api, &ask).to_string().as_bytes())?;
        let asks = ask.pointer("/stream_options/include_usage").and_then(Value::as_bool);
        Ok(Self { api, chat, thinks, wants_usage: asks == Some(true) })
    }

    /// How to behave.
    pub fn knobs(&self) -> &Knobs {
        &self.chat.knobs
    }

    /// Whether a stream was asked for.
    pub fn is_stream(&self) -> bool {
        self.chat.is_stream
    }

    /// The answer as one body. `created` counts seconds since the Unix epoch.
    pub fn whole(&self, id: u64, created: u64) -> Vec<u8> {
        let body = match self.api {
            Api::Chat | Api::Completions => json!({
                "id": format!("cmpl-demo{id}"),
                "object": "text_completion",
                "created": created,
                "model": self.chat.model,
                "choices": [{"index": 0, "text": self.text(), "logprobs": null,
                    "finish_reason": "stop"}],
                "usage": self.openai_usage(),
            }),
            Api::CountTokens => json!({"input_tokens": self.chat.prompt_tokens}),
            Api::Embeddings => json!({
                "object": "list",
                "data": [{"object": "embedding", "index": 0, "embedding": self.embedding()}],
                "model": self.chat.model,
                "usage": {"prompt_tokens": self.chat.prompt_tokens,
                    "total_tokens": self.chat.prompt_tokens},
            }),
            Api::Messages => self.message(id, &self.blocks(id), true),
            Api::Responses => self.response(id, created, &self.items(id), "completed"),
        };
        body.to_string().into_bytes()
    }

    /// The answer as the blocks of a stream, each of which is sent by itself.
    pub fn stream(&self, id: u64, created: u64) -> Vec<Vec<u8>> {
        match self.api {
            Api::Responses => self.response_events(id, created),
            Api::Messages => self.message_events(id),
            Api::Chat | Api::Completions | Api::CountTokens | Api::Embeddings => {
                self.completion_events(id, created)
            }
        }
    }

    fn text(&self) -> &str {
        match &self.chat.said {
            Said::Text(text) => text,
            Said::Call { arguments, .. } => arguments,
        }
    }

    fn embedding(&self) -> Vec<f64> {
        let length = f64::from(u32::try_from(self.text().len()).unwrap_or(u32::MAX));
        (1..=DIMENSIONS).map(|order| (length / f64::from(order)).fract()).collect()
    }

    fn openai_usage(&self) -> Value {
        let (input, output) = (self.chat.prompt_tokens, self.chat.completion_tokens());
        json!({"prompt_tokens": input, "completion_tokens": output,
            "total_tokens": input + output})
    }

    fn thought(&self) -> String {
        format!("They want to hear: {}", self.text())
    }

    /// The content of a message.
    fn blocks(&self, id: u64) -> Vec<Value> {
        let mut blocks = Vec::new();
        if self.thinks {
            let thought = self.thought();
            blocks.push(json!({"type": "thinking", "thinking": thought, "signature": SIGNATURE}));
        }
        blocks.push(match &self.chat.said {
            Said::Text(text) => json!({"type": "text", "text": text}),
            Said::Call { tool, arguments } => json!({
                "type": "tool_use",
                "id": format!("toolu_demo{id}"),
                "name": tool,
                "input": serde_json::from_str::<Value>(arguments).unwrap_or_default(),
            }),
        });
        blocks
    }

    fn message(&self, id: u64, blocks: &[Value], ended: bool) -> Value {
        let reason = match self.chat.said {
            Said::Text(_) => "end_turn",
            Said::Call { .. } => "tool_use",
        };
        let output = if ended { self.chat.completion_tokens() } else { 1 };
        json!({
            "id": format!("msg_demo{id}"),
            "type": "message",
            "role": "assistant",
            "model": self.chat.model,
            "content": blocks,
            "stop_reason": if ended { Value::from(reason) } else { Value::Null },
            "stop_sequence": null,
            "usage": {"input_tokens": self.chat.prompt_tokens, "output_tokens": output},
        })
    }

    fn message_events(&self, id: u64) -> Vec<Vec<u8>> {
        let mut out = Events { blocks: Vec::new(), number: None };
        let whole = self.message(id, &[], true);
        out.push("message_start", json!({"message": self.message(id, &[], false)}));
        out.push("ping", json!({}));
        for (index, block) in self.blocks(id).into_iter().enumerate() {
            let (empty, deltas) = taken_apart(&block, self.text());
            out.push("content_block_start", json!({"index": index, "content_block": empty}));
            for delta in deltas {
                out.push("content_block_delta", json!({"index": index, "delta": delta}));
            }
            out.push("content_block_stop", json!({"index": index}));
        }
        let delta = json!({"stop_reason": member(&whole, "stop_reason"), "stop_sequence": null});
        let usage = json!({"output_tokens": self.chat.completion_tokens()});
        out.push("message_delta", json!({"delta": delta, "usage": usage}));
        out.push("message_stop", json!({}));
        out.blocks
    }

    /// The output of a response.
    fn items(&self, id: u64) -> Vec<Value> {
        let mut items = Vec::new();
        if self.thinks {
            items.push(json!({"id": format!("rs_demo{id}"), "type": "reasoning",
                "summary": [{"type": "summary_text", "text": self.thought()}]}));
        }
        items.push(match &self.chat.said {
            Said::Text(text) => json!({"id": format!("msg_demo{id}"), "type": "message",
                "role": "assistant", "status": "completed", "content": [{"type": "output_text",
                "text": text, "annotations": [], "logprobs": []}]}),
            Said::Call { tool, arguments } => json!({"id": format!("fc_demo{id}"),
                "type": "function_call", "call_id": format!("call_demo{id}"), "name": tool,
                "arguments": arguments, "status": "completed"}),
        });
        items
    }

    fn response(&self, id: u64, created: u64, items: &[Value], status: &str) -> Value {
        let (input, output) = (self.chat.prompt_tokens, self.chat.completion_tokens());
        let usage = json!({"input_tokens": input, "output_tokens": output,
            "total_tokens": input + output, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0}});
        let usage = if status == "completed" { usage } else { Value::Null };
        json!({
            "id": format!("resp_demo{id}"),
            "object": "response",
            "created_at": created,
            "status": status,
            "error": null,
            "incomplete_details": null,
            "instructions": null,
            "model": self.chat.model,
            "output": items,
            "parallel_tool_calls": true,
            "tool_choice": "auto",
            "tools": [],
            "usage": usage,
            "metadata": {},
        })
    }

    fn response_events(&self, id: u64, created: u64) -> Vec<Vec<u8>> {
        let mut out = Events { blocks: Vec::new(), number: Some(0) };
        let begun = self.response(id, created, &[], "in_progress");
        out.push("response.created", json!({"response": begun}));
        out.push("response.in_progress", json!({"response": begun}));
        let items = self.items(id);
        for (index, item) in items.iter().enumerate() {
            out.item(index, item);
        }
        let ended = self.response(id, created, &items, "completed");
        out.push("response.completed", json!({"response": ended}));
        out.blocks
    }

    fn completion_events(&self, id: u64, created: u64) -> Vec<Vec<u8>> {
        let chunk = |text: &str, reason: Value| {
            let choice = json!({"index": 0, "text": text, "logprobs": null,
                "finish_reason": reason});
            let chunk = json!({"id": format!("cmpl-demo{id}"), "object": "text_completion",
                "created": created, "model": self.chat.model, "choices": [choice]});
            format!("data: {chunk}\n\n").into_bytes()
        };
        let mut blocks: Vec<Vec<u8>> =
            pieces(self.text()).map(|piece| chunk(piece, Value::Null)).collect();
        blocks.push(chunk("", Value::from("stop")));
        if self.wants_usage {
            let count = json!({"choices": [], "usage": self.openai_usage()});
            blocks.push(format!("data: {count}\n\n").into_bytes());
        }
        blocks.push(b"data: [DONE]\n\n".to_vec());
        blocks
    }
}

impl Events {
    fn push(&mut self, kind: &str, mut data: Value) {
        if let Some(object) = data.as_object_mut() {
            object.insert("type".to_owned(), Value::from(kind));
            if let Some(number) = &mut self.number {
                object.insert("sequence_number".to_owned(), Value::from(*number));
                *number += 1;
            }
        }
        self.blocks.push(format!("event: {kind}\ndata: {data}\n\n").into_bytes());
    }

    /// One item of a response: its beginning, its text in pieces and again as a whole, its end.
    fn item(&mut self, index: usize, item: &Value) {
        let mut empty = item.clone();
        let (stem, name) = match item["type"].as_str() {
            Some("function_call") => ("response.function_call_arguments", "arguments"),
            Some("reasoning") => ("response.reasoning_summary_text", "text"),
            _ => ("response.output_text", "text"),
        };
        let list = if name == "arguments" {
            set(&mut empty, "arguments", Value::from(""));
            None
        } else {
            let list = if item["type"] == "reasoning" { "summary" } else { "content" };
            set(&mut empty, list, json!([]));
            Some(list)
        };
        self.push("response.output_item.added", json!({"output_index": index, "item": empty}));
        let part = list.and_then(|list| member(item, list).get(0)).unwrap_or(&Value::Null);
        let text = if list.is_some() { &part["text"] } else { &item["arguments"] };
        let text = text.as_str().unwrap_or_default();
        let is_summary = list == Some("summary");
        let place = if is_summary { "summary_index" } else { "content_index" };
        let about = |more: Value| {
            let mut about = json!({"item_id": item["id"], "output_index": index});
            if let (Some(about), Value::Object(more)) = (about.as_object_mut(), more) {
                if list.is_some() {
                    about.insert(place.to_owned(), Value::from(0));
                }
                about.extend(more);
            }
            about
        };
        let stem_of_part =
            if is_summary { "response.reasoning_summary_part" } else { "response.content_part" };
        if list.is_some() {
            let mut empty = part.clone();
            set(&mut empty, "text", Value::from(""));
            self.push(&format!("{stem_of_part}.added"), about(json!({"part": empty})));
        }
        for piece in pieces(text) {
            self.push(&format!("{stem}.delta"), about(json!({"delta": piece, "logprobs": []})));
        }
        self.push(&format!("{stem}.done"), about(json!({name: text, "logprobs": []})));
        if list.is_some() {
            self.push(&format!("{stem_of_part}.done"), about(json!({"part": part})));
        }
        self.push("response.output_item.done", json!({"output_index": index, "item": item}));
    }
}

/// A block as it begins, and the pieces that make it whole.
fn taken_apart(block: &Value, text: &str) -> (Value, Vec<Value>) {
    let mut empty = block.clone();
    let all = |text: &str, kind: &str, name: &str| -> Vec<Value> {
        pieces(text).map(|piece| json!({"type": kind, name: piece})).collect()
    };
    let deltas = match block["type"].as_str() {
        Some("thinking") => {
            set(&mut empty, "thinking", Value::from(""));
            set(&mut empty, "signature", Value::from(""));
            let thought = block["thinking"].as_str().unwrap_or_default();
            let mut deltas = all(thought, "thinking_delta", "thinking");
            deltas.push(json!({"type": "signature_delta", "signature": block["signature"]}));
            deltas
        }
        Some("tool_use") => {
            set(&mut empty, "input", json!({}));
            all(text, "input_json_delta", "partial_json")
        }
        _ => {
            set(&mut empty, "text", Value::from(""));
            all(text, "text_delta", "text")
        }
    };
    (empty, deltas)
}

/// The chat that a request of another dialect would be.
fn as_chat(api: Api, ask: &Value) -> Value {
    let user = |content: &Value| json!({"role": "user", "content": content});
    let last = match api {
        Api::Chat | Api::CountTokens | Api::Messages => {
            let message = ask["messages"].as_array().and_then(|all| all.last()).cloned();
            let message = message.unwrap_or_default();
            let result = list(&message, "content").find(|block| block["type"] == "tool_result");
            match result {
                Some(result) => json!({"role": "tool", "content": result["content"]}),
                None => message,
            }
        }
        Api::Completions => user(&ask["prompt"]),
        Api::Embeddings => user(&ask["input"]),
        Api::Responses => match ask["input"].as_array().and_then(|items| items.last()) {
            Some(item) if item["type"] == "function_call_output" => {
                json!({"role": "tool", "content": item["output"]})
            }
            Some(item) => user(&item["content"]),
            None => user(&ask["input"]),
        },
    };
    let tools: Vec<Value> = list(ask, "tools")
        .map(|tool| {
            let schema = tool.get("input_schema").or_else(|| tool.get("parameters"));
            json!({"type": "function", "function": {"name": tool["name"], "parameters": schema}})
        })
        .collect();
    json!({"model": ask["model"], "messages": [last], "stream": ask["stream"], "tools": tools})
}

/// A member; null where there is none.
fn member<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.get(name).unwrap_or(&Value::Null)
}

fn set(value: &mut Value, name: &str, new: Value) {
    if let Some(object) = value.as_object_mut() {
        object.insert(name.to_owned(), new);
    }
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::Spoken;
    use crate::base::ask::Api;
    use crate::demo::chat::LEAK;
    use serde_json::{Value, json};

    fn spoken(api: Api, ask: &Value) -> Spoken {
        Spoken::read(api, ask.to_string().as_bytes()).unwrap()
    }

    fn whole(spoken: &Spoken) -> Value {
        serde_json::from_slice(&spoken.whole(7, 1)).unwrap()
    }

    fn events(spoken: &Spoken) -> Vec<Value> {
        let data = |block: &Vec<u8>| {
            let text = String::from_utf8(block.clone()).unwrap();
            let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
            serde_json::from_str::<Value>(data).unwrap()
        };
        spoken.stream(7, 1).iter().map(data).collect()
    }

    fn joined(events: &[Value], pointer: &str) -> String {
        events.iter().filter_map(|event| event.pointer(pointer)?.as_str()).collect()
    }

    #[test]
    fn a_message_thinks_speaks_and_calls() {
        let messages = json!([{"role": "user", "content": [{"type": "text", "text": "leak"}]}]);
        let thinking = json!({"type": "enabled", "budget_tokens": 1024});
        let ask = json!({"model": "m", "messages": messages, "thinking": thinking});
        let spoken = spoken(Api::Messages, &ask);
        let answer = whole(&spoken);
        assert_eq!(answer["content"][1]["text"], LEAK);
        assert!(answer["content"][0]["thinking"].as_str().unwrap().contains(LEAK));
        let events = events(&spoken);
        assert_eq!(joined(&events, "/delta/text"), LEAK);
        assert!(joined(&events, "/delta/thinking").ends_with(LEAK));
        assert_eq!(events.last().unwrap()["type"], "message_stop");
        let tools = json!([{"name": "find", "input_schema":
            {"type": "object", "properties": {"q": {"type": "string"}}}}]);
        let messages = json!([{"role": "user", "content": "use the tool"}]);
        let ask = json!({"model": "m", "messages": messages, "tools": tools});
        let spoken = Spoken::read(Api::Messages, ask.to_string().as_bytes()).unwrap();
        assert_eq!(whole(&spoken)["content"][0]["input"]["q"], "use the tool");
        let events = self::events(&spoken);
        let arguments = joined(&events, "/delta/partial_json");
        assert_eq!(serde_json::from_str::<Value>(&arguments).unwrap()["q"], "use the tool");
    }

    #[test]
    fn a_response_says_its_text_again_and_numbers_its_events() {
        let ask = json!({"model": "m", "input": "leak", "reasoning": {"effort": "low"}});
        let spoken = spoken(Api::Responses, &ask);
        let answer = whole(&spoken);
        assert_eq!(answer["output"][1]["content"][0]["text"], LEAK);
        let events = events(&spoken);
        let deltas = events.iter().filter(|event| event["type"] == "response.output_text.delta");
        let said: String = deltas.filter_map(|event| event["delta"].as_str()).collect();
        assert_eq!(said, LEAK);
        let last = events.last().unwrap();
        assert_eq!(last["response"]["output"], answer["output"]);
        for (order, event) in events.iter().enumerate() {
            assert_eq!(event["sequence_number"], order);
        }
    }

    #[test]
    fn results_of_tools_completions_and_embeddings_are_answered() {
        let result = json!([{"type": "tool_result", "tool_use_id": "1", "content": "42"}]);
        let ask = json!({"model": "m", "messages": [{"role": "user", "content": result}]});
        assert_eq!(whole(&spoken(Api::Messages, &ask))["content"][0]["text"], "The tool said: 42");
        let input = json!([{"type": "function_call_output", "call_id": "1", "output": "42"}]);
        let ask = json!({"model": "m", "input": input});
        let answer = whole(&spoken(Api::Responses, &ask));
        assert_eq!(answer["output"][0]["content"][0]["text"], "The tool said: 42");
        let ask = json!({"model": "m", "prompt": "hi", "input": "hi"});
        let completion = whole(&spoken(Api::Completions, &ask));
        assert_eq!(completion["choices"][0]["text"], "You said: hi");
        let embedded = whole(&spoken(Api::Embeddings, &ask));
        assert_eq!(embedded["data"][0]["embedding"].as_array().unwrap().len(), 8);
    }
}
