"""The official OpenAI client, unchanged, through the gateway.

Environment: RINGWALL_URL (http://127.0.0.1:8080), RINGWALL_KEY, RINGWALL_LIMITED_KEY (a caller with a
few requests a minute), RINGWALL_MODEL. With RINGWALL_DIRECT=1 it talks to the demo model itself.
"""

import json

import openai
from check import CARD, DIRECT, LEAKED_CARD, Suite, expect, expect_masked, setting

URL = setting("RINGWALL_URL", "http://127.0.0.1:8080") + "/v1"
KEY = setting("RINGWALL_KEY")
MODEL = setting("RINGWALL_MODEL", "demo-model")
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "lookup_customer",
            "description": "Finds a customer",
            "parameters": {
                "type": "object",
                "properties": {"query": {"type": "string"}},
                "required": ["query"],
            },
        },
    }
]


def client(key: str = KEY) -> openai.OpenAI:
    return openai.OpenAI(base_url=URL, api_key=key, max_retries=0, timeout=20)


def ask(text: str, **more):
    return client().chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": text}], **more
    )


def stream(text: str, **more) -> list:
    return list(ask(text, stream=True, **more))


def text_of(chunks: list, choice: int = 0) -> str:
    return "".join(
        part.delta.content or "" for chunk in chunks for part in chunk.choices if part.index == choice
    )


def models_are_listed():
    names = [model.id for model in client().models.list()]
    expect(MODEL in names, f"{MODEL} is not among {names}")


def a_chat_is_answered():
    answer = ask("Good morning")
    expect("Good morning" in answer.choices[0].message.content, "the demo echoes what reached it")
    expect(answer.choices[0].finish_reason == "stop", "it ends with stop")
    expect(answer.usage.total_tokens > 0, "usage is there")


def a_card_in_the_prompt_is_masked():
    content = ask(f"Please charge {CARD} today").choices[0].message.content
    expect("Please charge" in content and "today" in content, f"the rest is untouched: {content!r}")
    expect_masked(content, CARD)


def a_card_in_an_older_message_and_in_parts_is_masked():
    answer = client().chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": f"Card: {CARD}"}]},
        ],
    )
    expect_masked(answer.choices[0].message.content, CARD)


def a_card_in_the_answer_is_masked():
    expect_masked(ask("Please leak").choices[0].message.content, LEAKED_CARD)


def a_stream_is_the_same_text():
    whole = ask("Count the stars, slowly").choices[0].message.content
    chunks = stream("Count the stars, slowly")
    expect(text_of(chunks) == whole, f"{text_of(chunks)!r} is not {whole!r}")
    expect(len(chunks) > 3, "it came in pieces")
    ends = [part.finish_reason for chunk in chunks for part in chunk.choices if part.finish_reason]
    expect(ends == ["stop"], f"it ends once: {ends}")


def a_card_split_over_chunks_is_masked():
    text = text_of(stream("Please leak"))
    expect_masked(text, LEAKED_CARD)
    expect(text == ask("Please leak").choices[0].message.content, "a stream masks like a whole answer")


def a_card_in_a_streamed_prompt_is_masked():
    expect_masked(text_of(stream(f"Please charge {CARD} today")), CARD)


def usage_is_streamed_when_asked_for():
    chunks = stream("Hello", stream_options={"include_usage": True})
    with_usage = [chunk for chunk in chunks if chunk.usage]
    expect(len(with_usage) == 1 and not with_usage[0].choices, "one last chunk carries usage alone")
    expect(chunks[-1] is with_usage[0], "and it is the last")
    expect(with_usage[0].usage.total_tokens > 0, "with numbers in it")


def usage_is_not_streamed_otherwise():
    chunks = stream("Hello")
    expect(all(chunk.usage is None for chunk in chunks), "no chunk carries usage")
    expect(all(chunk.choices for chunk in chunks), "no chunk is without a choice")


def two_choices():
    answer = ask("Please leak", n=2)
    expect([choice.index for choice in answer.choices] == [0, 1], "both choices, in order")
    for choice in answer.choices:
        expect_masked(choice.message.content, LEAKED_CARD)


def two_streamed_choices():
    chunks = stream("Please leak", n=2)
    for choice in (0, 1):
        expect(len(text_of(chunks, choice)) > 20, f"choice {choice} has text")
        expect_masked(text_of(chunks, choice), LEAKED_CARD)


def a_tool_is_called():
    answer = ask("Use the tool for Ada", tools=TOOLS).choices[0]
    expect(answer.finish_reason == "tool_calls", f"it ends with {answer.finish_reason}")
    call = answer.message.tool_calls[0].function
    expect(call.name == "lookup_customer", f"it calls {call.name}")
    expect("Ada" in json.loads(call.arguments)["query"], f"with {call.arguments}")


def tool_arguments_are_masked_and_stay_json():
    call = ask("Use the tool, and leak", tools=TOOLS).choices[0].message.tool_calls[0].function
    expect_masked(json.loads(call.arguments)["query"], LEAKED_CARD)


def streamed_call(text: str) -> tuple[str, str, list]:
    name, arguments, ends = "", "", []
    for chunk in stream(text, tools=TOOLS):
        for part in chunk.choices:
            ends += [part.finish_reason] if part.finish_reason else []
            for call in part.delta.tool_calls or []:
                expect(call.index == 0, "one call")
                name += call.function.name or ""
                arguments += call.function.arguments or ""
    return name, arguments, ends


def a_streamed_tool_call():
    name, arguments, ends = streamed_call("Use the tool for Ada")
    expect(name == "lookup_customer" and ends == ["tool_calls"], f"{name} {ends}")
    expect("Ada" in json.loads(arguments)["query"], f"with {arguments}")


def streamed_tool_arguments_are_masked_and_stay_json():
    _, arguments, _ = streamed_call("Use the tool, and leak")
    expect_masked(json.loads(arguments)["query"], LEAKED_CARD)


def a_tool_result_is_answered():
    call = ask("Use the tool for Ada", tools=TOOLS).choices[0].message
    answer = client().chat.completions.create(
        model=MODEL,
        tools=TOOLS,
        messages=[
            {"role": "user", "content": "Use the tool for Ada"},
            call.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.tool_calls[0].id, "content": f"card {CARD}"},
        ],
    )
    expect_masked(answer.choices[0].message.content, CARD)


def a_long_stream():
    chunks = stream("A long one [demo chunks=500]")
    expect(len(text_of(chunks)) >= 1500, f"only {len(text_of(chunks))} characters came")


def raised(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind} was not raised")


def a_wrong_key_is_refused():
    error = raised(openai.AuthenticationError, lambda: client("wrong-key").models.list())
    expect(error.code, f"a code: {error.body}")
    expect(error.request_id, "and a request id")


def an_unknown_model_is_refused():
    error = raised(
        (openai.PermissionDeniedError, openai.NotFoundError),
        lambda: client().chat.completions.create(
            model="no-such-model", messages=[{"role": "user", "content": "hi"}]
        ),
    )
    expect(error.code and error.body["message"], f"an error object: {error.body}")
    expect(error.request_id, "and a request id")


def too_many_requests_are_refused():
    limited = client(setting("RINGWALL_LIMITED_KEY"))

    def rush():
        for _ in range(20):
            limited.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hi"}])

    error = raised(openai.RateLimitError, rush)
    headers = error.response.headers
    expect(float(headers.get("retry-after", "0")) > 0, f"retry-after is there: {headers}")
    expect(any(name.startswith("x-ratelimit-") for name in headers), "and x-ratelimit-*")
    expect(error.code, f"a code: {error.body}")


def the_demo_says_429_when_asked():
    error = raised(openai.RateLimitError, lambda: ask("[demo status=429]"))
    expect(error.response.headers["retry-after"], "retry-after is there")


def the_demo_cuts_a_stream_when_asked():
    raised(openai.APIConnectionError, lambda: stream("A long one [demo cut=3]"))


THROUGH_THE_GATEWAY = [a_wrong_key_is_refused, an_unknown_model_is_refused, too_many_requests_are_refused]
DIRECTLY = [the_demo_says_429_when_asked, the_demo_cuts_a_stream_when_asked]
ALWAYS = [
    models_are_listed,
    a_chat_is_answered,
    a_card_in_the_prompt_is_masked,
    a_card_in_an_older_message_and_in_parts_is_masked,
    a_card_in_the_answer_is_masked,
    a_stream_is_the_same_text,
    a_card_split_over_chunks_is_masked,
    a_card_in_a_streamed_prompt_is_masked,
    usage_is_streamed_when_asked_for,
    usage_is_not_streamed_otherwise,
    two_choices,
    two_streamed_choices,
    a_tool_is_called,
    tool_arguments_are_masked_and_stay_json,
    a_streamed_tool_call,
    streamed_tool_arguments_are_masked_and_stay_json,
    a_tool_result_is_answered,
    a_long_stream,
]


def main():
    suite = Suite(f"openai {openai.__version__}")
    for check in ALWAYS + (DIRECTLY if DIRECT else THROUGH_THE_GATEWAY):
        what = check.__name__.replace("_", " ")
        try:
            check()
        except Exception:
            suite.bad(what)
        else:
            suite.ok(what)
    suite.finish()


main()
