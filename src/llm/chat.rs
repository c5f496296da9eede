//! An OpenAI chat request: what it asks and the texts in it.

use crate::base::ask::{Api, ChatAsk};
use crate::base::json::{Kind, Value};
use crate::base::text::{Channel, Text, Trust};
use crate::llm::request::{
    ChatFault, ChatRequest, count_edit, flag, list, missing, model, required, whole, wrong,
};
use crate::llm::walk::{REQUEST, Walk, Who, place};

/// More answers to one prompt than any provider gives.
pub const CHOICES_MAX: u64 = 128;

/// Reads a request whose outermost value is an object.
pub fn read(root: Value<'_>) -> Result<ChatRequest, ChatFault> {
    let (name, at) = model(root)?;
    check_messages(required(root, "messages")?)?;
    let stream = flag(root, "stream")?;
    let count = if stream { count_edit(root)? } else { None };
    let ceiling = whole(root, "max_completion_tokens")?;
    let ask = ChatAsk {
        api: Api::Chat,
        model: name,
        stream,
        include_usage: stream && count.is_none(),
        tools: tool_names(root)?,
        max_tokens: ceiling.or(whole(root, "max_tokens")?),
        choices: choices(root)?,
    };
    Ok(ChatRequest { ask, text: texts(root), model: at, count })
}

/// Messages are objects with a role, whose content is a text or parts.
pub fn check_messages(messages: Value<'_>) -> Result<(), ChatFault> {
    if !messages.is_array() {
        return Err(wrong("messages", "messages", "an array of objects"));
    }
    let mut any = false;
    for (index, message) in messages.items().enumerate() {
        any = true;
        check_message(message, index)?;
    }
    if any {
        return Ok(());
    }
    Err(ChatFault {
        code: "empty_array",
        param: Some("messages"),
        message: "`messages` must hold at least one message.".into(),
    })
}

fn check_message(message: Value<'_>, index: usize) -> Result<(), ChatFault> {
    let fault = |rest: &str, wanted| wrong("messages", &format!("messages[{index}]{rest}"), wanted);
    if !message.is_object() {
        return Err(fault("", "an object"));
    }
    match message.member("role") {
        None => return Err(missing("messages", &format!("messages[{index}].role"))),
        Some(role) if role.as_str().is_none() => return Err(fault(".role", "a string")),
        Some(_) => {}
    }
    match message.member("content").map(|content| (content, content.kind())) {
        None | Some((_, Kind::Null | Kind::String)) => {}
        Some((content, Kind::Array)) => {
            if let Some(part) = content.items().position(|part| !part.is_object()) {
                return Err(fault(&format!(".content[{part}]"), "an object"));
            }
        }
        Some(_) => return Err(fault(".content", "a string or an array of parts")),
    }
    if let Some(calls) = message.member("tool_calls").filter(|calls| !calls.is_null()) {
        if !calls.is_array() {
            return Err(fault(".tool_calls", "an array of objects"));
        }
        if let Some(call) = calls.items().position(|call| !call.is_object()) {
            return Err(fault(&format!(".tool_calls[{call}]"), "an object"));
        }
    }
    Ok(())
}

/// The names under which policy knows the tools. One that the provider brings along has no name
/// of its own: its type stands for it.
fn tool_names(root: Value<'_>) -> Result<Vec<String>, ChatFault> {
    let mut names = Vec::new();
    for (index, tool) in list(root, "tools")?.enumerate() {
        let fault = |rest: &str, wanted| wrong("tools", &format!("tools[{index}]{rest}"), wanted);
        if !tool.is_object() {
            return Err(fault("", "an object"));
        }
        let (rest, name) = match (tool.member("function"), tool.member("custom")) {
            (Some(function), _) => (".function.name", function.member("name")),
            (None, Some(custom)) => (".custom.name", custom.member("name")),
            (None, None) => match tool.member("type") {
                Some(kind) if kind.as_str() != Some("function") => (".type", Some(kind)),
                Some(_) | None => (".function.name", None),
            },
        };
        let Some(name) = name else {
            return Err(missing("tools", &format!("tools[{index}]{rest}")));
        };
        names.push(name.as_str().ok_or_else(|| fault(rest, "a string"))?.to_owned());
    }
    for (index, function) in list(root, "functions")?.enumerate() {
        let at = format!("functions[{index}].name");
        let name = function.member("name").ok_or_else(|| missing("functions", &at))?;
        let name = name.as_str().ok_or_else(|| wrong("functions", &at, "a string"))?;
        names.push(name.to_owned());
    }
    Ok(names)
}

/// How many answers.
pub fn choices(root: Value<'_>) -> Result<u64, ChatFault> {
    let Some(number) = whole(root, "n")? else { return Ok(1) };
    if (1..=CHOICES_MAX).contains(&number) {
        return Ok(number);
    }
    Err(ChatFault {
        code: "invalid_value",
        param: Some("n"),
        message: format!("`n` must be a whole number from 1 to {CHOICES_MAX}."),
    })
}

fn texts(root: Value<'_>) -> Text {
    let tools = Who { channel: Channel::ToolDefinition, trust: Trust::Caller };
    let caller = Who { channel: Channel::User, trust: Trust::Caller };
    let mut walk = Walk::default();
    for (key, value) in root.members() {
        match key.as_str().unwrap_or_default() {
            "messages" => {
                for (index, message) in value.items().enumerate() {
                    let role = message.member("role").and_then(Value::as_str).unwrap_or_default();
                    walk.message(message, Who::of_role(role), index, &REQUEST);
                }
            }
            "model" | "stream" | "stream_options" => {}
            "tools" => {
                for (index, tool) in value.items().enumerate() {
                    walk.value(tool, tools, place("tools[#]", index));
                }
            }
            "functions" => {
                for (index, function) in value.items().enumerate() {
                    walk.value(function, tools, place("functions[#]", index));
                }
            }
            "response_format" => walk.value(value, tools, place("response_format", 0)),
            "prediction" => walk.value(value, caller, place("prediction", 0)),
            "metadata" => walk.value(value, caller, place("metadata", 0)),
            "user" => walk.value(value, caller, place("user", 0)),
            // Settings say nothing: a seed of 16 digits is no card, and token ids are no phone.
            "logit_bias" => {}
            _ if value.is_number() => {}
            _ => walk.value(value, caller, place("request", 0)),
        }
    }
    walk.into_text()
}

#[cfg(test)]
mod tests {
    use crate::base::ask::Api;
    use crate::base::json::Reader;
    use crate::base::splice::Splices;
    use crate::base::text::{Form, Segment, Trust};
    use crate::llm::api::read;
    use crate::llm::request::{ChatFault, ChatRequest};
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::{Just, Strategy, prop_oneof, proptest};
    use serde_json::Value as Body;

    fn ask(text: &str) -> Result<ChatRequest, ChatFault> {
        let json = Reader::default().read(text.as_bytes()).unwrap();
        read(Api::Chat, text.as_bytes(), &json)
    }

    fn with(members: &str) -> String {
        format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}]{members}}}"#)
    }

    /// Each segment as `trust channel place: text`.
    fn lines(request: &ChatRequest) -> Vec<String> {
        let words = request.text.joined().split('\0');
        let line = |(one, word): (&Segment, &str)| {
            let trust = if one.trust == Trust::Caller { "caller" } else { "retrieved" };
            format!("{trust} {} {}: {word}", one.channel.name(), one.place)
        };
        request.text.segments().iter().zip(words).map(line).collect()
    }

    fn rewritten(text: &str, model: &str) -> String {
        let mut splices = Splices::default();
        ask(text).unwrap().rewrite(model, &mut splices);
        String::from_utf8(splices.apply(text.as_bytes())).unwrap()
    }

    #[test]
    fn the_ask_is_read_and_null_is_absent() {
        let text = with(
            r#","stream":true,"n":2,"max_tokens":9,"max_completion_tokens":7,"odd":{"x":1},
            "tools":[{"type":"function","function":{"name":"f"}},{"type":"web_search"},
            {"type":"custom","custom":{"name":"c"}}],"functions":[{"name":"g"}],
            "stream_options":{"include_usage":true}"#,
        );
        let ask1 = ask(&text).unwrap().ask;
        assert_eq!(ask1.model, "m");
        assert!(ask1.stream && ask1.include_usage);
        assert_eq!(ask1.tools, ["f", "web_search", "c", "g"]);
        assert_eq!((ask1.max_tokens, ask1.choices), (Some(7), 2));
        let nulls = with(
            r#","stream":null,"n":null,"max_tokens":5,"max_completion_tokens":null,"tools":null"#,
        );
        let ask2 = ask(&nulls).unwrap().ask;
        assert!(!ask2.stream && !ask2.include_usage && ask2.tools.is_empty());
        assert_eq!((ask2.max_tokens, ask2.choices), (Some(5), 1));
    }

    #[test]
    fn the_texts_of_a_content_are_read_as_one_whatever_stands_between_them() {
        let text = r#"{"model":"m","messages":[{"role":"user","content":[
            {"type":"text","text":"a"},{"type":"text","text":"","note":"b"},
            {"type":"text","text":"c"},{"type":"text","text":"d"}]},
            {"role":"user","content":[{"type":"text","text":"e"}]}]}"#;
        let request = ask(text).unwrap();
        let follows: Vec<_> = request.text.segments().iter().map(|one| one.follows).collect();
        assert_eq!(follows, [None, None, Some(0), Some(2), None]);
    }

    #[test]
    fn what_a_gate_reads_must_have_its_type() {
        for (text, code, param, place) in [
            ("[]".to_owned(), "invalid_type", None, "body"),
            (r#"{"messages":[]}"#.into(), "missing_required_parameter", Some("model"), "`model`"),
            (r#"{"model":1,"messages":[]}"#.into(), "invalid_type", Some("model"), "`model`"),
            (r#"{"model":"","messages":[]}"#.into(), "invalid_type", Some("model"), "`model`"),
            (
                r#"{"model":"m"}"#.into(),
                "missing_required_parameter",
                Some("messages"),
                "is missing",
            ),
            (r#"{"model":"m","messages":{}}"#.into(), "invalid_type", Some("messages"), "array"),
            (
                r#"{"model":"m","messages":[]}"#.into(),
                "empty_array",
                Some("messages"),
                "one message",
            ),
            (
                r#"{"model":"m","messages":[{"role":"user"},{"role":1}]}"#.into(),
                "invalid_type",
                Some("messages"),
                "`messages[1].role` must be a string.",
            ),
            (
                r#"{"model":"m","messages":[{}]}"#.into(),
                "missing_required_parameter",
                Some("messages"),
                "`messages[0].role` is missing.",
            ),
            (
                r#"{"model":"m","messages":[{"role":"user","content":[{},1]}]}"#.into(),
                "invalid_type",
                Some("messages"),
                "`messages[0].content[1]`",
            ),
            (
                r#"{"model":"m","messages":[{"role":"user","content":1}]}"#.into(),
                "invalid_type",
                Some("messages"),
                "`messages[0].content`",
            ),
            (with(r#","stream":"yes""#), "invalid_type", Some("stream"), "`true` or `false`"),
            (with(r#","n":0"#), "invalid_value", Some("n"), "from 1 to 128"),
            (with(r#","n":129"#), "invalid_value", Some("n"), "from 1 to 128"),
            (with(r#","n":1.5"#), "invalid_type", Some("n"), "whole number"),
            (with(r#","max_tokens":-1"#), "invalid_type", Some("max_tokens"), "whole number"),
            (with(r#","tools":{}"#), "invalid_type", Some("tools"), "array"),
            (
                with(r#","tools":[{"type":"function","function":{}}]"#),
                "missing_required_parameter",
                Some("tools"),
                "`tools[0].function.name`",
            ),
            (
                with(r#","stream":true,"stream_options":{"include_usage":1}"#),
                "invalid_type",
                Some("stream_options"),
                "`stream_options.include_usage`",
            ),
        ] {
            let fault = ask(&text).unwrap_err();
            assert_eq!((fault.code, fault.param), (code, param), "{text}");
            assert!(fault.message.contains(place), "{text}: {}", fault.message);
        }
    }

    #[test]
    fn every_text_is_found_with_its_channel_and_place() {
        let text = r#"{"model":"m","messages":[
            {"role":"developer","content":"rules"},
            {"role":"user","name":"ann","content":[{"type":"text","text":"a\nb"},
              {"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}},
              {"type":"image_url","image_url":{"url":"https://x.example/i.png"}},
              {"type":"input_audio","input_audio":{"data":"QUJD","format":"wav"}},
              {"type":"file","file":{"filename":"cv.pdf",
                "file_data":"data:application/pdf;base64,JVBE"}},
              {"type":"new_kind","new":{"deep":["unknown"]}}]},
            {"role":"assistant","content":null,"reasoning_content":"think","refusal":"nay",
              "tool_calls":[{"id":"call_1","type":"function",
                "function":{"name":"f","arguments":"{\"q\":4111111111111111}"}}]},
            {"role":"tool","tool_call_id":"call_1","content":"fetched"}],
            "tools":[{"type":"function","function":{"name":"f","description":"does f",
              "parameters":{"type":"object","properties":{"a@b.example":{"type":"string",
              "description":"the a","const":12345678}}}}}],
            "prediction":{"type":"content","content":"guess"},"metadata":{"k":"meta"},
            "user":"ann@x.example","seed":1234567890,"stop":["halt"]}"#;
        let request = ask(text).unwrap();
        let found = lines(&request);
        for expected in [
            "caller system messages[0].content: rules",
            "caller user messages[1]: ann",
            "caller user messages[1].content[0].text: a\nb",
            "caller user messages[1].content[2]: https://x.example/i.png",
            "retrieved document messages[1].content[4]: cv.pdf",
            "caller user messages[1].content[5]: unknown",
            "caller reasoning messages[2].reasoning: think",
            "caller refusal messages[2].refusal: nay",
            "caller tool_arguments messages[2].tool_calls[0].function.arguments: \
             {\"q\":4111111111111111}",
            "retrieved tool_result messages[3].content: fetched",
            "caller tool_definition tools[0]: does f",
            "caller tool_definition tools[0]: a@b.example",
            "caller tool_definition tools[0]: 12345678",
            "caller user prediction: guess",
            "caller user metadata: meta",
            "caller user user: ann@x.example",
            "caller user request: halt",
        ] {
            assert!(found.iter().any(|one| one == expected), "{expected} in {found:#?}");
        }
        for hidden in ["data:", "QUJD", "call_1", "1234567890", "object", "properties"] {
            assert!(!request.text.joined().contains(hidden), "{hidden}");
        }
    }

    #[test]
    fn a_segment_knows_its_raw_span_and_form() {
        let text = with(r#","metadata":{"a":"x\ty","b":"plain","n":123456789}"#);
        let request = ask(&text).unwrap();
        let forms: Vec<(&str, Form)> = request
            .text
            .segments()
            .iter()
            .map(|one| (text.get(one.source.raw.clone()).unwrap(), one.source.form))
            .collect();
        assert_eq!(
            forms,
            [
                ("hi", Form::PlainString),
                (r"x\ty", Form::EscapedString),
                ("plain", Form::PlainString),
                ("123456789", Form::Number),
            ]
        );
    }

    #[test]
    fn a_long_id_is_read_as_text() {
        let id = "x".repeat(65);
        let request = ask(&with(&format!(r#","odd":{{"id":"{id}","type":"{id}"}}"#))).unwrap();
        assert_eq!(request.text.segments().len(), 3);
    }

    #[test]
    fn a_rewrite_changes_the_model_and_asks_for_usage_once() {
        let body = |options: &str| with(&format!(r#", "stream" : true{options}"#));
        for (options, expected) in [
            (r#","stream_options":{}"#, r#","stream_options":{"include_usage":true}"#),
            (r#","stream_options":{ "x":1}"#, r#","stream_options":{"include_usage":true, "x":1}"#),
            (r#","stream_options":null"#, r#","stream_options":{"include_usage":true}"#),
            (
                r#","stream_options":{"include_usage": false }"#,
                r#","stream_options":{"include_usage": true }"#,
            ),
            (
                r#","stream_options":{"include_usage":null}"#,
                r#","stream_options":{"include_usage":true}"#,
            ),
            (
                r#","stream_options":{"include_usage":true}"#,
                r#","stream_options":{"include_usage":true}"#,
            ),
        ] {
            assert_eq!(rewritten(&body(options), "m"), body(expected), "{options}");
        }
        let absent = rewritten(&body(""), "m");
        let inserted = body("").replacen('{', r#"{"stream_options":{"include_usage":true},"#, 1);
        assert_eq!(absent, inserted);
        assert_eq!(rewritten(&with(""), "m"), with(""));
        assert_eq!(rewritten(&with(""), "a\"b"), with("").replacen(r#""m""#, r#""a\"b""#, 1));
    }

    proptest! {
        #[test]
        fn a_rewrite_always_reads_back_as_asked(
            options in prop_oneof![
                Just(String::new()),
                Just(r#","stream_options":null"#.to_owned()),
                "[ \n]{0,2}".prop_map(|blank| format!(r#","stream_options":{{{blank}}}"#)),
                "(true|false|null)".prop_map(|is| format!(
                    r#","stream_options":{{"a":[{{}}],"include_usage" : {is} ,"b":1}}"#)),
            ],
            model in "[a-z\"\\\\/é]{1,9}",
        ) {
            let text = rewritten(&with(&format!(r#","stream":true{options}"#)), &model);
            let read_back = ask(&text).unwrap().ask;
            assert_eq!(read_back.model, model);
            assert!(read_back.include_usage);
        }

        #[test]
        fn no_body_makes_it_panic(body in shape()) {
            let text = body.to_string();
            let json = Reader::default().read(text.as_bytes()).unwrap();
            match read(Api::Chat, text.as_bytes(), &json) {
                Ok(_) => assert!(body["messages"][0]["role"].is_string()),
                Err(fault) => assert!(fault.message.ends_with('.')),
            }
        }
    }

    /// Bodies that look like a request, with anything in any place.
    fn shape() -> impl Strategy<Value = Body> {
        let leaf = prop_oneof![
            Just(Body::Null),
            Just(Body::Bool(true)),
            (0_u64..200).prop_map(Body::from),
            "[a-z]{0,3}".prop_map(Body::from),
        ];
        let name = "(content|role|type|text|function|name|arguments|tool_calls|file|image_url|url)";
        let inner = leaf.prop_recursive(5, 40, 4, move |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(Body::from),
                btree_map(name, inner, 0..5).prop_map(|map| map.into_iter().collect()),
            ]
        });
        let role = prop_oneof![Just(Body::from("user")), inner.clone()];
        let message = (role, inner.clone()).prop_map(|(role, content)| {
            let calls = content["tool_calls"].clone();
            serde_json::json!({"role": role, "content": content, "tool_calls": calls})
        });
        let root = "(stream|stream_options|tools|functions|n|max_tokens|metadata|prediction)";
        (vec(message, 0..3), btree_map(root, inner, 0..3)).prop_map(|(messages, rest)| {
            let mut body = serde_json::json!({"model": "m", "messages": messages});
            body.as_object_mut().unwrap().extend(rest);
            body
        })
    }
}
