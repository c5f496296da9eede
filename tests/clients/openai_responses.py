"""The official OpenAI client's responses, completions and embeddings, unchanged, through the gateway.

Environment: as `openai_chat.py`. With RINGWALL_DIRECT=1 it talks to the demo model itself.
"""

import json

import openai
from check import CARD, DIRECT, LEAKED_CARD, Suite, expect, expect_masked, setting

URL = setting("RINGWALL_URL", "http://127.0.0.1:8080") + "/v1"
KEY = setting("RINGWALL_KEY")
MODEL = setting("RINGWALL_MODEL", "demo-model")
BLOCKED = "repeat after me: Pay to DE89 3704 0044 0532 0130 00, please, and soon"
"""An IBAN, which the gateway of the suites lets in and blocks on the way back."""
TOOLS = [
    {
        "type": "function",
        "name": "lookup_customer",
        "description": "Finds a customer",
        "parameters": {
            "type": "object",
            "properties": {"query": {"type": "string"}},
            "required": ["query"],
        },
    }
]


def client(key: str = KEY) -> openai.OpenAI:
    return openai.OpenAI(base_url=URL, api_key=key, max_retries=0, timeout=20)


def ask(text, **more):
    return client().responses.create(model=MODEL, input=text, **more)


def stream(text, **more):
    """All events as the client's own helper gives them, and the response that it made of them."""
    with client().responses.stream(model=MODEL, input=text, **more) as events:
        return list(events), events.get_final_response()


def joined(events, kind: str) -> str:
    return "".join(event.delta for event in events if event.type == kind)


def a_response_is_answered():
    answer = ask("Good morning", instructions="Be kind.")
    expect("Good morning" in answer.output_text, "the demo echoes what reached it")
    expect(answer.status == "completed" and answer.usage.total_tokens > 0, f"{answer}")


def a_card_in_the_input_is_masked():
    content = ask(f"Please charge {CARD} today").output_text
    expect("Please charge" in content and "today" in content, f"the rest is untouched: {content!r}")
    expect_masked(content, CARD)
    parts = [{"role": "user", "content": [{"type": "input_text", "text": f"Card: {CARD}"}]}]
    expect_masked(ask(parts).output_text, CARD)


def a_card_in_the_answer_is_masked():
    expect_masked(ask("Please leak").output_text, LEAKED_CARD)


def a_stream_is_the_same_text():
    whole = ask("Count the stars, slowly").output_text
    events, response = stream("Count the stars, slowly")
    expect(response.output_text == whole, f"{response.output_text!r} is not {whole!r}")
    expect(joined(events, "response.output_text.delta") == whole, "so are its pieces")
    expect(len(events) > 8, "it came in pieces")


def a_card_split_over_pieces_is_masked_wherever_it_is_said_again():
    events, response = stream("Please leak")
    said = joined(events, "response.output_text.delta")
    expect_masked(said, LEAKED_CARD)
    for event in events:
        if event.type == "response.output_text.done":
            expect(event.text == said, f"{event.text!r} is not {said!r}")
        if event.type == "response.content_part.done":
            expect(event.part.text == said, f"{event.part.text!r} is not {said!r}")
        if event.type == "response.output_item.done":
            expect(event.item.content[0].text == said, f"{event.item} is not {said!r}")
    expect(response.output_text == said, f"{response.output_text!r} is not {said!r}")
    expect(said == ask("Please leak").output_text, "a stream masks like a whole answer")


def events_are_numbered_without_a_gap():
    for text in ("Please leak", "ends with a word"):
        numbers = [event.sequence_number for event in client().responses.create(model=MODEL, input=text, stream=True)]
        expect(numbers == list(range(len(numbers))), f"{numbers}")


def reasoning_is_masked_whole_and_streamed():
    reasoning = {"effort": "low", "summary": "auto"}
    events, streamed = stream("Please leak", reasoning=reasoning)
    expect_masked(joined(events, "response.reasoning_summary_text.delta"), LEAKED_CARD)
    for response in (ask("Please leak", reasoning=reasoning), streamed):
        expect_masked(response.output[0].summary[0].text, LEAKED_CARD)
        expect_masked(response.output_text, LEAKED_CARD)


def a_tool_is_called():
    call = ask("Use the tool for Ada", tools=TOOLS).output[-1]
    expect(call.type == "function_call" and call.name == "lookup_customer", f"{call}")
    expect("Ada" in json.loads(call.arguments)["query"], f"with {call.arguments}")


def tool_arguments_are_masked_and_stay_json():
    call = ask("Use the tool, and leak", tools=TOOLS).output[-1]
    expect_masked(json.loads(call.arguments)["query"], LEAKED_CARD)


def streamed_tool_arguments_are_masked_and_stay_json():
    events, response = stream("Use the tool, and leak", tools=TOOLS)
    arguments = joined(events, "response.function_call_arguments.delta")
    expect(arguments == response.output[-1].arguments, f"{arguments} is not {response.output[-1]}")
    expect_masked(json.loads(arguments)["query"], LEAKED_CARD)


def a_tool_result_is_answered():
    call = ask("Use the tool for Ada", tools=TOOLS).output[-1]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": f"card {CARD}"}
    history = [{"role": "user", "content": "Use the tool for Ada"}, call.model_dump(exclude_none=True), result]
    expect_masked(ask(history, tools=TOOLS).output_text, CARD)


def a_long_stream():
    _, response = stream("A long one [demo chunks=500]")
    expect(len(response.output_text) >= 1500, f"only {len(response.output_text)} characters came")


def a_completion_is_answered_whole_and_streamed():
    whole = client().completions.create(model=MODEL, prompt=f"Please charge {CARD}").choices[0].text
    expect_masked(whole, CARD)
    leaked = client().completions.create(model=MODEL, prompt="Please leak", stream=True)
    text = "".join(part.text for chunk in leaked for part in chunk.choices)
    expect(len(text) > 20, f"it has text: {text!r}")
    expect_masked(text, LEAKED_CARD)


def texts_are_embedded():
    answer = client().embeddings.create(model=MODEL, input=f"My card is {CARD}", encoding_format="float")
    expect(len(answer.data[0].embedding) == 8 and answer.usage.total_tokens > 0, f"{answer}")


def raised(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind} was not raised")


def a_blocked_answer_is_refused():
    error = raised(openai.BadRequestError, lambda: ask(BLOCKED))
    expect(error.code == "guard_blocked", f"{error.body}")


def a_blocked_stream_ends_well_formed():
    events = list(client().responses.create(model=MODEL, input=BLOCKED, stream=True))
    last = events[-1]
    expect(last.type == "response.incomplete", f"it ends with {last.type}")
    expect(last.response.incomplete_details.reason == "content_filter", f"{last}")
    expect("pii.iban" in last.response.output[0].content[0].refusal, f"{last}")
    expect("DE89" not in f"{events}", "and nothing of the value")
    numbers = [event.sequence_number for event in events]
    expect(numbers == list(range(len(numbers))), f"{numbers}")
    with client().responses.stream(model=MODEL, input=BLOCKED) as helper:
        expect([event.type for event in helper][-1] == "response.incomplete", "the helper reads it too")


def a_blocked_completion_ends_well_formed():
    chunks = list(client().completions.create(model=MODEL, prompt=BLOCKED, stream=True))
    reasons = [part.finish_reason for chunk in chunks for part in chunk.choices if part.finish_reason]
    expect(reasons == ["content_filter"], f"{reasons}")
    expect("DE89" not in "".join(part.text for chunk in chunks for part in chunk.choices), f"{chunks}")


def the_demo_cuts_a_stream_when_asked():
    raised(openai.APIConnectionError, lambda: stream("A long one [demo cut=5]"))


# Restored values come back as the caller's own; a check of that belongs here as soon as a profile
# of the suite's gateway restores.
THROUGH_THE_GATEWAY = [
    a_blocked_answer_is_refused,
    a_blocked_stream_ends_well_formed,
    a_blocked_completion_ends_well_formed,
]
ALWAYS = [
    a_response_is_answered,
    a_card_in_the_input_is_masked,
    a_card_in_the_answer_is_masked,
    a_stream_is_the_same_text,
    a_card_split_over_pieces_is_masked_wherever_it_is_said_again,
    events_are_numbered_without_a_gap,
    reasoning_is_masked_whole_and_streamed,
    a_tool_is_called,
    tool_arguments_are_masked_and_stay_json,
    streamed_tool_arguments_are_masked_and_stay_json,
    a_tool_result_is_answered,
    a_long_stream,
    a_completion_is_answered_whole_and_streamed,
    texts_are_embedded,
    the_demo_cuts_a_stream_when_asked,
]


def main():
    suite = Suite(f"openai {openai.__version__} responses")
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
