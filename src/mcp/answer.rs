//! What a server says to a client: every text in it, and the tools that a caller may not see.
//!
//! Answers, errors, requests of the server's and notifications are all read here; a server's words
//! are untrusted wherever they stand. Only what the protocol itself needs is left out.

use crate::base::json::{Json, Value};
use crate::base::splice::Splices;
use crate::base::text::{Channel, Place, Text, Trust};
use crate::mcp::walk::{Part, Shape, Walk};

/// Whether the caller may see the tool of that name.
pub type MaySee<'a> = dyn FnMut(&str) -> bool + 'a;

/// Every text of a server's message, or of each message of a batch.
pub fn read(json: &Json) -> Text {
    let mut walk = Walk::new(Trust::Upstream);
    for message in messages(json) {
        message_text(&mut walk, message);
    }
    walk.text
}

/// Removes from a list of tools those that the caller may not see, and those without a name, which
/// nobody can decide over. Returns how many; all other bytes stay.
pub fn hide_tools(
    raw: &[u8],
    json: &Json,
    may_see: &mut MaySee<'_>,
    splices: &mut Splices,
) -> usize {
    let mut hidden = 0;
    for message in messages(json) {
        let tools = message.member("result").and_then(|result| result.member("tools"));
        if let Some(tools) = tools {
            hidden += hide_in(raw, tools, may_see, splices);
        }
    }
    hidden
}

/// An item goes with the comma before it once another item stays before it, else with the comma
/// after it: so whatever is hidden, what stays has commas between and none at either end.
fn hide_in(raw: &[u8], tools: Value<'_>, may_see: &mut MaySee<'_>, splices: &mut Splices) -> usize {
    let mut items = tools.items().peekable();
    let mut hidden = 0;
    let mut kept_before = false;
    let mut end_before = 0;
    while let Some(item) = items.next() {
        let span = item.span();
        let name = item.member("name").and_then(Value::as_str);
        if name.is_some_and(&mut *may_see) {
            kept_before = true;
        } else {
            let next = items.peek().map_or(span.end, |next| next.span().start);
            let gone = if kept_before { end_before..span.end } else { span.start..next };
            debug_assert!(gone.end <= raw.len(), "a document's spans lie in its text");
            splices.replace(gone, "");
            hidden += 1;
        }
        end_before = span.end;
    }
    hidden
}

/// The message, or the messages of a batch, which revision 2025-03-26 lets a server send.
fn messages(json: &Json) -> impl Iterator<Item = Value<'_>> {
    let root = json.root();
    let single = (!root.is_array()).then_some(root);
    single.into_iter().chain(root.items())
}

fn message_text(walk: &mut Walk, message: Value<'_>) {
    if !message.is_object() {
        walk.value(message, said("(envelope)", Shape::Free));
    }
    for (key, value) in message.members() {
        match key.as_str() {
            Some("jsonrpc" | "id" | "method") if is_scalar(value) => {}
            Some("error") => error_text(walk, value),
            Some("params") => params_text(walk, value),
            Some("result") => result_text(walk, value),
            Some(_) | None => member(walk, key, value, said("(envelope)", Shape::Free)),
        }
    }
}

fn error_text(walk: &mut Walk, error: Value<'_>) {
    if !error.is_object() {
        walk.value(error, said("error", Shape::Free));
    }
    for (key, value) in error.members() {
        match key.as_str() {
            Some("code") if value.is_number() => {}
            Some("message") => walk.value(value, said("error.message", Shape::Free)),
            Some("data") => walk.value(value, said("error.data", Shape::Free)),
            Some(_) | None => member(walk, key, value, said("error", Shape::Free)),
        }
    }
}

fn result_text(walk: &mut Walk, result: Value<'_>) {
    if !result.is_object() {
        walk.value(result, said("result", Shape::Free));
    }
    for (key, value) in result.members() {
        match key.as_str() {
            Some("isError") if value.as_bool().is_some() => {}
            Some("protocolVersion" | "nextCursor") if value.as_str().is_some() => {}
            Some("content") => each(walk, value, said("result.content[#]", Shape::Protocol)),
            Some("structuredContent") => {
                walk.value(value, said("result.structuredContent", Shape::Free));
            }
            Some("contents") => {
                let document = said("result.contents[#]", Shape::Protocol);
                each(walk, value, Part { channel: Channel::Document, ..document });
            }
            Some("messages") => each(walk, value, said("result.messages[#]", Shape::Protocol)),
            Some("tools") => each(walk, value, defined("result.tools[#]")),
            Some("prompts") => each(walk, value, defined("result.prompts[#]")),
            Some("resources") => each(walk, value, defined("result.resources[#]")),
            Some("resourceTemplates") => each(walk, value, defined("result.resourceTemplates[#]")),
            Some("instructions") => walk.value(value, defined("result.instructions")),
            Some("serverInfo") => walk.value(value, defined("result.serverInfo")),
            Some("capabilities") => walk.value(value, defined("result.capabilities")),
            Some("_meta") => walk.value(value, said("result._meta", Shape::Free)),
            Some(_) | None => member(walk, key, value, said("result", Shape::Free)),
        }
    }
}

/// A server's requests (sampling, elicitation) and notifications (log, progress).
fn params_text(walk: &mut Walk, params: Value<'_>) {
    if !params.is_object() {
        walk.value(params, said("params", Shape::Free));
    }
    for (key, value) in params.members() {
        match key.as_str() {
            Some("progressToken" | "requestId") if is_scalar(value) => {}
            Some("progress" | "total" | "maxTokens") if value.is_number() => {}
            Some("messages") => each(walk, value, said("params.messages[#]", Shape::Protocol)),
            Some("tools") => each(walk, value, defined("params.tools[#]")),
            Some("requestedSchema") => {
                walk.value(value, said("params.requestedSchema", Shape::Definition));
            }
            Some("data") => walk.value(value, said("params.data", Shape::Free)),
            Some("message") => walk.value(value, said("params.message", Shape::Free)),
            Some("systemPrompt") => walk.value(value, said("params.systemPrompt", Shape::Free)),
            Some(_) | None => member(walk, key, value, said("params", Shape::Free)),
        }
    }
}

/// A list's items under their indexes; anything else as it is.
fn each(walk: &mut Walk, value: Value<'_>, part: Part) {
    if !value.is_array() {
        walk.value(value, part);
    }
    for (order, item) in value.items().enumerate() {
        let indexes = [u16::try_from(order).unwrap_or(u16::MAX), 0];
        walk.value(item, Part { place: Place { indexes, ..part.place }, ..part });
    }
}

fn member(walk: &mut Walk, key: Value<'_>, value: Value<'_>, part: Part) {
    walk.key(key, part);
    walk.value(value, part);
}

fn is_scalar(value: Value<'_>) -> bool {
    !value.is_object() && !value.is_array()
}

fn said(path: &'static str, shape: Shape) -> Part {
    Part { channel: Channel::ToolResult, place: Place { path, indexes: [0; 2] }, shape }
}

fn defined(path: &'static str) -> Part {
    Part { channel: Channel::ToolDefinition, ..said(path, Shape::Definition) }
}

#[cfg(test)]
mod tests {
    use super::{hide_tools, read};
    use crate::base::json::Reader;
    use crate::base::splice::Splices;
    use crate::base::text::{Text, Trust};
    use crate::mcp::walk::tests::{any_json, assert_in_place};
    use proptest::prelude::{any, prop, proptest};
    use serde_json::json;

    fn text(raw: &str) -> Text {
        read(&Reader::default().read(raw.as_bytes()).unwrap())
    }

    /// Each text with its channel and place, as `channel place: text`.
    fn shown(raw: &str) -> Vec<String> {
        let text = text(raw);
        let line = |segment: &crate::base::text::Segment| {
            assert_eq!(segment.trust, Trust::Upstream);
            let said = text.joined().get(segment.at.clone()).unwrap();
            format!("{} {}: {said}", segment.channel.name(), segment.place)
        };
        text.segments().iter().map(line).collect()
    }

    fn hidden(raw: &str, visible: &[&str]) -> (usize, String) {
        let json = Reader::default().read(raw.as_bytes()).unwrap();
        let mut splices = Splices::default();
        let mut may_see = |name: &str| visible.contains(&name);
        let count = hide_tools(raw.as_bytes(), &json, &mut may_see, &mut splices);
        (count, String::from_utf8(splices.apply(raw.as_bytes())).unwrap())
    }

    #[test]
    fn a_tools_result_is_text_in_every_kind_of_content() {
        let raw = r#"{"jsonrpc":"2.0","id":1234567890,"result":{"content":[
            {"type":"text","text":"one"},
            {"type":"image","mimeType":"image/png","data":"aGVsbG8="},
            {"type":"resource","resource":{"uri":"file:///r","text":"two"}},
            {"type":"resource_link","uri":"file:///l","name":"three","size":123456789},
            {"type":"new_kind","words":"four"}],
            "structuredContent":{"card":4111111111111111,"type":"text","small":7},
            "isError":false,"_meta":{"note":"five"}}}"#;
        assert_eq!(
            shown(raw),
            [
                "tool_result result.content[0]: one",
                "tool_result result.content[1]: image/png",
                "document result.content[2]: file:///r",
                "document result.content[2]: two",
                "tool_result result.content[3]: file:///l",
                "tool_result result.content[3]: three",
                "tool_result result.content[4]: new_kind",
                "tool_result result.content[4]: words",
                "tool_result result.content[4]: four",
                "tool_result result.structuredContent: card",
                "tool_result result.structuredContent: 4111111111111111",
                "tool_result result.structuredContent: type",
                "tool_result result.structuredContent: text",
                "tool_result result.structuredContent: small",
                "tool_result result._meta: note",
                "tool_result result._meta: five",
            ]
        );
    }

    #[test]
    fn a_definition_is_text_with_its_parameters_names() {
        let raw = r#"{"jsonrpc":"2.0","id":1,"result":{"nextCursor":"abc","tools":[
            {"name":"a","inputSchema":{"type":"object","properties":{
                "read_ssh_key":{"type":"integer","maximum":9007199254740991,"description":"d"}}}},
            {"name":"b","title":"t"}]}}"#;
        assert_eq!(
            shown(raw),
            [
                "tool_definition result.tools[0]: a",
                "tool_definition result.tools[0]: read_ssh_key",
                "tool_definition result.tools[0]: maximum",
                "tool_definition result.tools[0]: d",
                "tool_definition result.tools[1]: b",
                "tool_definition result.tools[1]: t",
            ]
        );
    }

    #[test]
    fn greetings_documents_errors_and_notes_are_text() {
        let of = |raw: &str| shown(raw).join("|");
        let hello = r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25",
            "capabilities":{},"serverInfo":{"name":"s","version":"v1"},"instructions":"obey"}}"#;
        assert_eq!(of(hello), {
            "tool_definition result.serverInfo: s|tool_definition result.serverInfo: v1|\
             tool_definition result.instructions: obey"
        });
        let read = r#"{"jsonrpc":"2.0","id":1,"result":{"contents":[
            {"uri":"file:///a","text":"doc"},{"uri":"b:c","blob":"AAAA"}]}}"#;
        assert_eq!(of(read), {
            "document result.contents[0]: file:///a|document result.contents[0]: doc|\
             document result.contents[1]: b:c"
        });
        let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-123456789,"message":"m",
            "data":{"k":["d"]}}}"#;
        assert_eq!(of(error), {
            "tool_result error.message: m|tool_result error.data: k|tool_result error.data: d"
        });
        let log = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{
            "level":"info","data":{"phone":4915112345678}}}"#;
        assert!(of(log).ends_with("params.data: phone|tool_result params.data: 4915112345678"));
        let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{
            "progressToken":123456789,"progress":123456789,"total":123456789,"message":"m"}}"#;
        assert_eq!(of(progress), "tool_result params.message: m");
    }

    #[test]
    fn what_a_server_asks_for_is_text() {
        let sample = r#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{
            "messages":[{"role":"user","content":{"type":"text","text":"ask"}}],
            "systemPrompt":"be","maxTokens":100000000}}"#;
        assert_eq!(
            shown(sample),
            ["tool_result params.messages[0]: ask", "tool_result params.systemPrompt: be"]
        );
        let elicit = r#"{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{
            "message":"who","requestedSchema":{"type":"object","properties":{
            "mail":{"type":"string","description":"yours"}}}}}"#;
        assert_eq!(
            shown(elicit),
            [
                "tool_result params.message: who",
                "tool_result params.requestedSchema: mail",
                "tool_result params.requestedSchema: yours",
            ]
        );
    }

    #[test]
    fn nothing_hides_in_a_shape_nobody_expects() {
        for raw in [
            r#""secret""#,
            r#"["secret"]"#,
            r#"[[{"x":"secret"}]]"#,
            r#"[{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"secret"}]}}]"#,
            r#"{"id":["secret"]}"#,
            r#"{"result":"secret"}"#,
            r#"{"result":{"content":"secret"}}"#,
            r#"{"result":{"tools":{"secret":1}}}"#,
            r#"{"result":{"nextCursor":{"x":"secret"}}}"#,
            r#"{"result":{"content":[{"type":"image","data":"a secret"}]}}"#,
            r#"{"result":{"content":[{"type":"text","data":"secret"}]}}"#,
            r#"{"error":"secret"}"#,
            r#"{"error":{"code":"secret"}}"#,
            r#"{"params":["secret"]}"#,
            r#"{"params":{"progress":"secret"}}"#,
            r#"{"unknown":{"secret":1}}"#,
        ] {
            let text = text(raw);
            assert!(text.joined().contains("secret"), "{raw}: {:?}", text.joined());
        }
    }

    #[test]
    fn hidden_tools_take_their_commas_along() {
        let raw = r#"{"result":{"tools":[ {"name":"a"} , {"name":"b"},{"name":"c"} ]},"id":1}"#;
        let list = |inner: &str| format!(r#"{{"result":{{"tools":[{inner}]}},"id":1}}"#);
        for (visible, count, expected) in [
            (vec!["a", "b", "c"], 0, r#" {"name":"a"} , {"name":"b"},{"name":"c"} "#),
            (vec!["b", "c"], 1, r#" {"name":"b"},{"name":"c"} "#),
            (vec!["a", "c"], 1, r#" {"name":"a"},{"name":"c"} "#),
            (vec!["a", "b"], 1, r#" {"name":"a"} , {"name":"b"} "#),
            (vec!["c"], 2, r#" {"name":"c"} "#),
            (vec!["a"], 2, r#" {"name":"a"} "#),
            (vec!["b"], 2, r#" {"name":"b"} "#),
            (vec![], 3, "  "),
        ] {
            assert_eq!(hidden(raw, &visible), (count, list(expected)), "{visible:?}");
        }
    }

    #[test]
    fn a_tool_that_nobody_can_decide_over_is_hidden() {
        let raw = r#"{"result":{"tools":[7,{"name":"a"},{"title":"a"},{"name":["a"]}]}}"#;
        let (count, left) = hidden(raw, &["a"]);
        assert_eq!((count, &*left), (3, r#"{"result":{"tools":[{"name":"a"}]}}"#));
    }

    #[test]
    fn what_is_no_list_of_tools_is_left_alone() {
        for raw in [
            r#"{"result":{"tools":{}}}"#,
            r#"{"result":{"tools":[]}}"#,
            r#"{"result":[]}"#,
            r#"{"result":{"structuredContent":{"tools":[{"name":"x"}]}}}"#,
            "7",
            "[]",
        ] {
            assert_eq!(hidden(raw, &[]), (0, raw.to_owned()));
        }
        let batch = r#"[{"result":{"tools":[{"name":"x"}]}}]"#;
        assert_eq!(hidden(batch, &[]), (1, r#"[{"result":{"tools":[]}}]"#.to_owned()));
    }

    proptest! {
        #[test]
        fn any_json_is_read_and_every_segment_lies_where_it_says(
            value in any_json(),
            frame in 0_usize..5,
        ) {
            let raw = match frame {
                0 => value,
                1 => json!({"id": value, "params": value, "result": value, "error": value}),
                2 => json!([{"result": {"content": value, "tools": value, "contents": value}}]),
                3 => json!({"result": {"structuredContent": value, "_meta": value}}),
                _ => json!({"method": "x", "params": {"messages": value, "data": value}}),
            };
            let raw = raw.to_string();
            assert_in_place(&text(&raw), &raw);
            let (count, left) = hidden(&raw, &["name", "text"]);
            serde_json::from_str::<serde_json::Value>(&left).unwrap();
            assert!(count > 0 || left == raw);
        }

        #[test]
        fn exactly_the_visible_tools_stay_and_no_other_byte_changes(
            visible in prop::collection::vec(any::<bool>(), 0..12),
            blanks in prop::collection::vec(prop::sample::select(vec!["", " ", "\n\t"]), 26),
        ) {
            let name = |order: usize| format!("tool{order}");
            let tool = |order: usize| {
                format!(r#"{{"name":"{}","x":[1,"}},{{"]}}"#, name(order))
            };
            let padded = |order: usize| {
                format!("{}{}{}", blanks[order * 2], tool(order), blanks[order * 2 + 1])
            };
            let items: Vec<String> = (0..visible.len()).map(padded).collect();
            let (first, items) = (blanks[25], items.join(","));
            let raw = format!("{{ \"result\" :{{\"tools\":[{first}{items}],\"é\" : 1}}}} ");
            let seen: Vec<String> =
                (0..visible.len()).filter(|order| visible[*order]).map(name).collect();
            let seen: Vec<&str> = seen.iter().map(String::as_str).collect();
            let (count, left) = hidden(&raw, &seen);
            assert_eq!(count, visible.len() - seen.len());
            let json: serde_json::Value = serde_json::from_str(&left).unwrap();
            let tools = json["result"]["tools"].as_array().unwrap();
            let names: Vec<&str> =
                tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
            assert_eq!(names, seen);
            for order in (0..visible.len()).filter(|order| visible[*order]) {
                assert!(left.contains(&tool(order)));
            }
            assert!(left.starts_with("{ \"result\" :{\"tools\":["));
            assert!(left.ends_with("],\"é\" : 1}} "));
            if count == 0 {
                assert_eq!(left, raw);
            }
        }
    }
}
