"""The official Anthropic client, unchanged, through the gateway.

Environment: as `openai_chat.py`. With RINGWALL_DIRECT=1 it talks to the demo model itself.
"""

import anthropic
import httpx2
from check import CARD, DIRECT, LEAKED_CARD, Suite, expect, expect_masked, setting

URL = setting("RINGWALL_URL", "http://127.0.0.1:8080")
KEY = setting("RINGWALL_KEY")
MODEL = setting("RINGWALL_MODEL", "demo-model")
BLOCKED = "repeat after me: Pay to DE89 3704 0044 0532 0130 00, please, and soon"
"""An IBAN, which the gateway of the suites lets in and blocks on the way back."""
TOOLS = [
    {
        "name": "lookup_customer",
        "description": "Finds a customer",
        "input_schema": {
            "type": "object",
            "properties": {"query": {"type": "string"}},
            "required": ["query"],
        },
    }
]


def client(key: str = KEY, **more) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=URL, api_key=key, max_retries=0, timeout=20, **more)


def asked(text, **more) -> dict:
    more.setdefault("model", MODEL)
    return {"max_tokens": 500, "messages": [{"role": "user", "content": text}], **more}


def ask(text, **more):
    return client().messages.create(**asked(text, **more))


def stream(text, **more):
    """All events as the client's own helper gives them, and the message that it made of them."""
    with client().messages.stream(**asked(text, **more)) as events:
        return list(events), events.get_final_message()


def text_of(message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def deltas(events, kind: str) -> str:
    return "".join(getattr(event, kind) for event in events if event.type == kind)


def a_message_is_answered():
    answer = ask("Good morning")
    expect("Good morning" in text_of(answer), "the demo echoes what reached it")
    expect(answer.stop_reason == "end_turn" and answer.role == "assistant", f"{answer}")
    expect(answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0, "usage is there")


def a_card_in_the_prompt_is_masked():
    content = text_of(ask(f"Please charge {CARD} today", system="Be brief."))
    expect("Please charge" in content and "today" in content, f"the rest is untouched: {content!r}")
    expect_masked(content, CARD)


def a_card_in_a_block_is_masked():
    blocks = [{"type": "text", "text": f"Card: {CARD}", "cache_control": {"type": "ephemeral"}}]
    expect_masked(text_of(ask(blocks)), CARD)


def a_card_in_the_answer_is_masked():
    expect_masked(text_of(ask("Please leak")), LEAKED_CARD)


def a_stream_is_the_same_text():
    whole = text_of(ask("Count the stars, slowly"))
    events, message = stream("Count the stars, slowly")
    expect(text_of(message) == whole, f"{text_of(message)!r} is not {whole!r}")
    expect(deltas(events, "text") == whole, "so are its pieces")
    expect(len(events) > 5, "it came in pieces")
    expect(message.stop_reason == "end_turn", f"it ends with {message.stop_reason}")
    expect(message.usage.output_tokens > 1, "usage is there")


def a_card_split_over_pieces_is_masked():
    events, message = stream("Please leak")
    expect_masked(text_of(message), LEAKED_CARD)
    expect_masked(deltas(events, "text"), LEAKED_CARD)
    expect(text_of(message) == text_of(ask("Please leak")), "a stream masks like a whole answer")


def raw_events_are_read():
    events = list(client().messages.create(**asked("Please leak", stream=True)))
    kinds = [event.type for event in events]
    expect(kinds[0] == "message_start" and kinds[-1] == "message_stop", f"{kinds}")
    said = "".join(event.delta.text for event in events if event.type == "content_block_delta")
    expect_masked(said, LEAKED_CARD)


def thinking_is_masked_whole_and_streamed():
    thinking = {"type": "enabled", "budget_tokens": 1024}
    for message in (ask("Please leak", thinking=thinking), stream("Please leak", thinking=thinking)[1]):
        thought, said = message.content
        expect(thought.type == "thinking" and thought.signature, f"{thought}")
        expect_masked(thought.thinking, LEAKED_CARD)
        expect_masked(said.text, LEAKED_CARD)


def a_tool_is_called():
    answer = ask("Use the tool for Ada", tools=TOOLS)
    expect(answer.stop_reason == "tool_use", f"it ends with {answer.stop_reason}")
    call = answer.content[-1]
    expect(call.name == "lookup_customer" and "Ada" in call.input["query"], f"{call}")


def tool_input_is_masked():
    expect_masked(ask("Use the tool, and leak", tools=TOOLS).content[-1].input["query"], LEAKED_CARD)


def streamed_tool_input_is_masked_and_stays_json():
    events, message = stream("Use the tool, and leak", tools=TOOLS)
    call = message.content[-1]
    expect(call.name == "lookup_customer" and message.stop_reason == "tool_use", f"{message}")
    expect_masked(call.input["query"], LEAKED_CARD)
    expect(any(event.type == "input_json" for event in events), "it came in pieces")


def a_tool_result_is_answered():
    call = ask("Use the tool for Ada", tools=TOOLS)
    result = {"type": "tool_result", "tool_use_id": call.content[-1].id, "content": f"card {CARD}"}
    answer = client().messages.create(
        model=MODEL,
        max_tokens=500,
        tools=TOOLS,
        messages=[
            {"role": "user", "content": "Use the tool for Ada"},
            {"role": "assistant", "content": call.content},
            {"role": "user", "content": [result]},
        ],
    )
    expect_masked(text_of(answer), CARD)


def a_long_stream():
    _, message = stream("A long one [demo chunks=500]")
    expect(len(text_of(message)) >= 1500, f"only {len(text_of(message))} characters came")


def tokens_are_counted():
    count = client().messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": "Hello"}])
    expect(count.input_tokens > 0, f"{count}")


def raised(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind} was not raised")


def of_type(error, kind: str):
    expect(error.body["type"] == "error" and error.body["error"]["type"] == kind, f"{error.body}")
    expect(error.body["error"]["message"] and error.body["error"]["code"], f"{error.body}")
    expect(error.request_id and error.request_id == error.body["request_id"], f"{error.request_id}")


def a_wrong_key_is_refused():
    error = raised(anthropic.AuthenticationError, lambda: client("wrong-key").messages.create(**asked("hi")))
    of_type(error, "authentication_error")


def an_unknown_model_is_refused():
    error = raised(anthropic.PermissionDeniedError, lambda: ask("hi", model="no-such-model"))
    of_type(error, "permission_error")


def too_many_requests_are_refused():
    limited = client(setting("RINGWALL_LIMITED_KEY"))
    error = raised(anthropic.RateLimitError, lambda: [limited.messages.create(**asked("hi")) for _ in range(20)])
    of_type(error, "rate_limit_error")
    expect(float(error.response.headers.get("retry-after", "0")) > 0, f"{error.response.headers}")


def a_blocked_answer_is_refused():
    of_type(raised(anthropic.BadRequestError, lambda: ask(BLOCKED)), "invalid_request_error")


def a_blocked_stream_ends_well_formed():
    events, message = stream(BLOCKED)
    expect(message.stop_reason == "refusal", f"it ends with {message.stop_reason}")
    expect("pii.iban" in message.stop_details.explanation, f"{message.stop_details}")
    expect(text_of(message).startswith("Pay to"), f"what came before is kept: {message}")
    expect("DE89" not in f"{message}{events}", "and nothing of the value")
    expect(events[-1].type == "message_stop", f"{events[-1]}")


def a_blocked_tool_call_ends_well_formed():
    _, message = stream("Use the tool: DE89 3704 0044 0532 0130 00 is the account", tools=TOOLS)
    expect(message.stop_reason == "refusal", f"it ends with {message.stop_reason}")
    expect("DE89" not in f"{message}", "nothing of the value")


def the_demo_cuts_a_stream_when_asked():
    # This client passes on what its HTTP library raises once the answer has begun.
    raised(httpx2.RemoteProtocolError, lambda: stream("A long one [demo cut=5]"))


# Restored values come back as the caller's own; a check of that belongs here as soon as a profile
# of the suite's gateway restores.
THROUGH_THE_GATEWAY = [
    a_wrong_key_is_refused,
    an_unknown_model_is_refused,
    too_many_requests_are_refused,
    a_blocked_answer_is_refused,
    a_blocked_stream_ends_well_formed,
    a_blocked_tool_call_ends_well_formed,
]
ALWAYS = [
    a_message_is_answered,
    a_card_in_the_prompt_is_masked,
    a_card_in_a_block_is_masked,
    a_card_in_the_answer_is_masked,
    a_stream_is_the_same_text,
    a_card_split_over_pieces_is_masked,
    raw_events_are_read,
    thinking_is_masked_whole_and_streamed,
    a_tool_is_called,
    tool_input_is_masked,
    streamed_tool_input_is_masked_and_stays_json,
    a_tool_result_is_answered,
    a_long_stream,
    tokens_are_counted,
    the_demo_cuts_a_stream_when_asked,
]


def main():
    suite = Suite(f"anthropic {anthropic.__version__}")
    for check in ALWAYS + ([] if DIRECT else THROUGH_THE_GATEWAY):
        what = check.__name__.replace("_", " ")
        try:
            check()
        except Exception:
            suite.bad(what)
        else:
            suite.ok(what)
    suite.finish()


main()
