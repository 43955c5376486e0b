"""Streams of chat completions, read."""

import json
from typing import Any

import pytest

from gateway.dialects.conversation import (
    ChatResponse,
    Citation,
    Reasoning,
    Refusal,
    Text,
    TokenLogprob,
    ToolCall,
    Usage,
)
from gateway.dialects.openai_chat import CHAT_COMPLETIONS
from tests.dialects.openai_chat.reading import Read, answer, chunk, delta, streamed

STREAMS = {
    "chat_text.sse": ChatResponse(
        id="chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
        model="gpt-5.4-mini-2026-03-17",
        created=1790000000,
        finish_reasons=["stop"],
        output_messages=[answer(Text(content="Grüß dich 👋 東京"), finish_reason="stop")],
        usage=Usage(
            input_tokens=1219, output_tokens=74, total_tokens=1293, cache_read_tokens=1024, reasoning_tokens=64
        ),
    ),
    "chat_tools.sse": ChatResponse(
        id="chatcmpl-tools",
        model="gpt-5.4-2026-03-05",
        created=1790000001,
        finish_reasons=["tool_calls"],
        output_messages=[
            answer(
                ToolCall(id="call_paris", name="get_weather", arguments={"city": "Paris"}),
                ToolCall(id="call_oslo", name="get_weather", arguments={"city": "Oslo"}),
                finish_reason="tool_calls",
            )
        ],
    ),
    "chat_two_choices.sse": ChatResponse(
        id="chatcmpl-two",
        model="gpt-5.4-2026-03-05",
        created=1790000002,
        finish_reasons=["stop", "length"],
        output_messages=[
            answer(Text(content="Heads"), finish_reason="stop"),
            answer(Text(content="Tails"), finish_reason="length"),
        ],
        usage=Usage(input_tokens=9, output_tokens=4, total_tokens=13),
    ),
    "chat_reasoning.sse": ChatResponse(
        id="gen-1",
        model="deepseek-reasoner",
        created=1790000003,
        finish_reasons=["stop"],
        output_messages=[
            answer(Reasoning(content="Two and two."), Text(content="4"), finish_reason="stop"),
        ],
        usage=Usage(input_tokens=12, output_tokens=9, total_tokens=21, cache_read_tokens=0, reasoning_tokens=7),
    ),
    "chat_refusal.sse": ChatResponse(
        id="chatcmpl-no",
        model="gpt-5.4-2026-03-05",
        created=1790000004,
        finish_reasons=["stop"],
        output_messages=[answer(Refusal(content="I can't help with that."), finish_reason="stop")],
    ),
    "chat_cited.sse": ChatResponse(
        id="chatcmpl-cited",
        model="gpt-5.4-search-preview",
        created=1790000011,
        finish_reasons=["stop"],
        output_messages=[
            answer(
                Text(
                    content="Twice a day.",
                    citations=[Citation(uri="https://example.com/tides", title="Tides", start=0, end=12)],
                    logprobs=[
                        TokenLogprob(
                            token="Twice",
                            logprob=-0.1,
                            top=[TokenLogprob(token="Twice", logprob=-0.1), TokenLogprob(token="Two", logprob=-2.5)],
                        ),
                        TokenLogprob(token=" a", logprob=-0.01, top=[TokenLogprob(token=" a", logprob=-0.01)]),
                        TokenLogprob(token=" day.", logprob=-0.2, top=[TokenLogprob(token=" day.", logprob=-0.2)]),
                    ],
                ),
                finish_reason="stop",
            )
        ],
        usage=Usage(input_tokens=11, output_tokens=3, total_tokens=14, cache_read_tokens=0, reasoning_tokens=0),
    ),
    "chat_calls.sse": ChatResponse(
        id="chatcmpl-calls",
        model="gpt-5.4-2026-03-05",
        created=1790000012,
        finish_reasons=["tool_calls"],
        output_messages=[
            answer(
                ToolCall(id="call_w", name="get_weather", arguments={"city": "Paris"}),
                ToolCall(id="call_t", name="get_time", arguments={}),
                ToolCall(id="call_o", name="get_weather", arguments={"city": "Oslo"}),
                finish_reason="tool_calls",
            )
        ],
    ),
    "chat_error.sse": ChatResponse(
        id="chatcmpl-bad",
        model="gpt-5.4-2026-03-05",
        created=1790000005,
        output_messages=[answer(Text(content="Once upon"), finish_reason=None)],
        error_type="server_error",
        error_message="The server had an error while processing your request.",
    ),
    "completion.sse": ChatResponse(
        id="cmpl-1",
        model="gpt-3.5-turbo-instruct",
        created=1790000006,
        finish_reasons=["length"],
        output_messages=[answer(Text(content="is blue"), finish_reason="length")],
        usage=Usage(input_tokens=3, output_tokens=2, total_tokens=5),
    ),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_read_whole(read: Read, name: str) -> None:
    """All content of a stream is in the record."""
    assert STREAMS[name] == streamed(read(name))


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_ends_with_its_last_event_only(read: Read, name: str) -> None:
    """`ended` turns true with [DONE] or an error, not before."""
    reader = CHAT_COMPLETIONS.stream_reader()
    events = [event + b"\n\n" for event in read(name).split(b"\n\n")[:-1]]
    ended = []
    for event in events:
        reader.feed(event)
        ended.append(reader.ended)
    assert [*[False] * (len(events) - 1), True] == ended


def test_output_begins_with_content(read: Read) -> None:
    """`first_output` turns true with the first piece of content, not with the role or a comment."""
    first, second = read("chat_text.sse").split(b"\n\n")[:2]
    reader = CHAT_COMPLETIONS.stream_reader()
    reader.feed(b": waiting\n\n" + first + b"\n\n")
    assert not reader.first_output
    reader.feed(second + b"\n\n")
    assert reader.first_output


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"refusal": "no"},
        {"tool_calls": [{"index": 0, "function": {"name": "f"}}]},
        {"function_call": {"name": "f"}},
        {"audio": {"transcript": "hi"}},
    ],
)
def test_every_kind_of_content_is_output(fields: dict[str, Any]) -> None:
    """Reasoning, refusals, tool calls and speech count as a first output, too."""
    reader = CHAT_COMPLETIONS.stream_reader()
    reader.feed(delta(**fields))
    assert reader.first_output


def test_a_broken_stream_tells_what_came() -> None:
    """Without an end the parts are there, the finish reason is not, and a cut argument stays text."""
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a": '}}
    data = delta(role="assistant", content="So") + delta(tool_calls=[call])
    expected = answer(Text(content="So"), ToolCall(id="c", name="f", arguments='{"a": '), finish_reason=None)
    assert ChatResponse(output_messages=[expected]) == streamed(data + b'data: {"choices":[{"delta"')


def test_the_older_function_call_is_a_tool_call() -> None:
    """`function_call` deltas and their finish reason are read in the one vocabulary."""
    data = delta(function_call={"name": "f", "arguments": '{"a"'}) + delta(function_call={"arguments": ":1}"})
    data += chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "function_call"}])
    expected = answer(ToolCall(name="f", arguments={"a": 1}), finish_reason="tool_calls", finish_word="function_call")
    assert [expected] == streamed(data).output_messages


def test_content_may_come_as_parts() -> None:
    """Mistral's reasoning models stream lists of parts."""
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
    data = delta(content=[thinking]) + delta(content=[{"type": "text", "text": "Yes"}]) + delta(content=".")
    expected = answer(Reasoning(content="Hm."), Text(content="Yes."), finish_reason=None)
    assert [expected] == streamed(data).output_messages


TOKENS = {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29}
PLACES = {
    "its own": {"choices": [], "usage": TOKENS},
    "groq": {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "x_groq": {"id": "r", "usage": TOKENS}},
    "moonshot": {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": TOKENS}]},
}


@pytest.mark.parametrize("place", PLACES)
def test_usage_is_read_in_every_place(place: str) -> None:
    """Of the last chunk and of a whole response, in its own member, in Groq's and in a choice."""
    first = chunk(choices=[{"delta": {"content": "a"}}], usage=None, x_groq={"id": "r"})
    read = streamed(first + chunk(**PLACES[place]))
    usage = Usage(input_tokens=20, output_tokens=9, total_tokens=29)
    assert read.usage == usage
    assert CHAT_COMPLETIONS.read_response(json.dumps(PLACES[place]).encode()).usage == usage


ZEROS = {"content": "", "refusal": "", "function_call": {"name": "", "arguments": ""}, "audio": {"id": "", "data": ""}}
FUNCTION, CUSTOM = {"name": "f", "arguments": '{"a":1}'}, {"name": "g", "input": "x"}


@pytest.mark.parametrize(
    ("call", "part"),
    [
        ({"function": FUNCTION, "custom": {"name": "", "input": ""}}, {"name": "f", "arguments": {"a": 1}}),
        (
            {"function": {"name": "", "arguments": ""}, "custom": CUSTOM},
            {"name": "g", "arguments": "x", "custom": True},
        ),
    ],
)
def test_members_that_are_empty_are_no_parts(call: dict[str, Any], part: dict[str, Any]) -> None:
    """Snowflake writes all members of its structs, streamed or not."""
    message = {**ZEROS, "tool_calls": [{"index": 0, "id": "t", **call}]}
    parts = [ToolCall(id="t", **part)]
    assert streamed(delta(**message) + delta(**ZEROS)).output_messages[0].parts == parts
    whole = json.dumps({"choices": [{"message": message}]}).encode()
    assert CHAT_COMPLETIONS.read_response(whole).output_messages[0].parts == parts


def test_later_usage_wins_field_by_field() -> None:
    """Usage in several chunks is merged; counts that the later leaves out stay."""
    data = chunk(choices=[], usage={"prompt_tokens": 7, "completion_tokens": 1})
    data += chunk(choices=[], usage={"completion_tokens": 5, "total_tokens": 12, "prompt_tokens_details": None})
    assert Usage(input_tokens=7, output_tokens=5, total_tokens=12) == streamed(data).usage


def test_an_event_that_cannot_be_read_costs_only_itself() -> None:
    """Unreadable events are counted; those around them are in the record."""
    reader = CHAT_COMPLETIONS.stream_reader()
    for bad in (b"data: {\n\n", b"data: []\n\n", b'data: {"choices":{}}\n\n', b"data: " + b"[" * 9999 + b"\n\n"):
        reader.feed(delta(content="a") + bad)
    assert reader.unread == 4
    assert [answer(Text(content="aaaa"), finish_reason=None)] == reader.response().output_messages
    assert repr(reader) == "<ChatStreamReader reading unread=4>"


def test_an_endless_event_counts_as_unread() -> None:
    """Events that the decoder drops for their length are counted as unreadable."""
    reader = CHAT_COMPLETIONS.stream_reader()
    for _ in range(17):
        reader.feed(b"x" * 1024 * 1024)
    assert reader.unread == 1


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (b'data: {"error":{"type":"a","code":"b","message":"c"}}\n\n', ("a", "c")),
        (b'data: {"error":{"type":null,"code":429,"message":"c"}}\n\n', ("429", "c")),
        (b'data: {"error":"c"}\n\n', (None, "c")),
        (b'event: error\ndata: {"message":"c"}\n\n', (None, "c")),
    ],
)
def test_errors_in_a_stream_are_told_in_many_shapes(event: bytes, error: tuple[str | None, str]) -> None:
    """Whatever shape an error event has, its type and message are kept and the stream has ended."""
    reader = CHAT_COMPLETIONS.stream_reader()
    reader.feed(event)
    assert reader.ended
    assert error == (reader.response().error_type, reader.response().error_message)
